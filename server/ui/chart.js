// Lines over the last minutes, on a canvas, with a legend that tells the values at the time looked at.
//
// A series is {label, value(point), colour: name of a CSS variable, dash, fill, below}; `below` draws it
// downwards from zero. Charts share the time under the pointer: the event "looktime" on document carries
// it (null: none), so that one moment can be read off all of them.

const LEFT = 4, RIGHT = 4, TOP = 6, BOTTOM = 16; // CSS pixels
const HOLE_MS = 7000; // no line across a longer silence

let looked = null;

function look(t) {
  looked = t;
  document.dispatchEvent(new Event('looktime'));
}

// A value on the axis: the zeros that align values in a legend are noise there.
function short(text) {
  return text.replace(/(\.\d*?)0+(?!\d)/, '$1').replace(/\.(?!\d)/, '');
}

// The next of 1, 2, 4, 6, 10, 20, ... that is not below x: halves of these are short, too.
function roundUp(x) {
  if (!(x > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(x));
  return [1, 2, 4, 6, 10].map(n => n * power).find(n => n >= x * 0.999);
}

export class Chart {
  // {title, sub, series, format(value), max: fixed top, least: smallest top, height, small}
  constructor(figure, options) {
    this.options = {height: 120, least: 0, ...options};
    this.data = {points: [], from: 0, to: 1, cursor: null};
    const head = document.createElement('figcaption');
    this.title = document.createElement(options.small ? 'h3' : 'h2');
    this.title.textContent = options.title;
    this.sub = document.createElement('span');
    this.sub.className = 'sub';
    this.sub.textContent = options.sub || '';
    head.append(this.title, this.sub);
    this.canvas = document.createElement('canvas');
    this.canvas.setAttribute('role', 'img');
    this.canvas.style.height = this.options.height + 'px';
    this.legend = document.createElement('div');
    this.legend.className = 'legend';
    this.values = this.options.series.map(series => this.legendEntry(series));
    figure.append(head, this.canvas, this.legend);
    this.context = this.canvas.getContext('2d');
    new ResizeObserver(() => this.draw()).observe(this.canvas);
    document.addEventListener('themechange', () => this.draw());
    document.addEventListener('looktime', () => this.draw());
    this.canvas.addEventListener('pointermove', e => look(this.timeAt(e.clientX)));
    this.canvas.addEventListener('pointerleave', () => look(null));
  }

  legendEntry(series) {
    const entry = document.createElement('span'), line = document.createElement('i');
    const value = document.createElement('b');
    line.style.borderTopColor = `var(${series.colour})`;
    line.style.borderTopStyle = series.dash ? 'dashed' : 'solid';
    entry.append(line, series.label + ' ', value);
    this.legend.append(entry);
    return value;
  }

  timeAt(clientX) {
    const box = this.canvas.getBoundingClientRect(), {from, to} = this.data;
    const x = (clientX - box.left - LEFT) / (box.width - LEFT - RIGHT);
    return from + Math.max(0, Math.min(1, x)) * (to - from);
  }

  show(points, from, to, cursor) {
    this.data = {points, from, to, cursor};
    this.draw();
  }

  draw() {
    if (this.queued) return;
    this.queued = requestAnimationFrame(() => {
      this.queued = 0;
      this.drawNow();
    });
  }

  drawNow() {
    const dpr = window.devicePixelRatio || 1, c = this.context;
    const width = this.canvas.clientWidth, height = this.canvas.clientHeight;
    if (!width) return;
    this.canvas.width = Math.round(width * dpr);
    this.canvas.height = Math.round(height * dpr);
    c.scale(dpr, dpr);
    const style = getComputedStyle(document.documentElement);
    this.colour = name => style.getPropertyValue(name).trim();
    this.scale(width, height);
    this.drawFrame(width, height);
    for (const series of this.options.series) this.drawSeries(series);
    const t = looked ?? this.data.cursor;
    if (t != null) this.drawTime(t, height);
    this.tell(t);
  }

  visible() {
    const {points, from, to} = this.data;
    return points.filter(p => p.t >= from - HOLE_MS && p.t <= to);
  }

  scale(width, height) {
    let top = this.options.least, bottom = 0;
    for (const p of this.visible()) {
      for (const series of this.options.series) {
        const v = series.value(p);
        if (v == null) continue;
        if (series.below) bottom = Math.max(bottom, v);
        else top = Math.max(top, v);
      }
    }
    const {from, to} = this.data;
    this.top = this.options.max || roundUp(top);
    this.bottom = bottom ? -roundUp(bottom) : 0;
    const span = this.top - this.bottom;
    this.x = t => LEFT + (t - from) / (to - from) * (width - LEFT - RIGHT);
    this.y = v => TOP + (this.top - v) / span * (height - TOP - BOTTOM);
  }

  drawFrame(width, height) {
    const c = this.context, {from, to} = this.data;
    c.font = '10px system-ui, sans-serif';
    c.lineWidth = 1;
    c.strokeStyle = this.colour('--line');
    c.fillStyle = this.colour('--muted');
    const marks = this.bottom ? [this.top, 0, this.bottom] : [this.top, this.top / 2, 0];
    c.textAlign = 'left';
    c.textBaseline = 'top';
    for (const v of marks) {
      const y = Math.round(this.y(v)) + 0.5;
      c.beginPath();
      c.moveTo(LEFT, y);
      c.lineTo(width - RIGHT, y);
      c.stroke();
      if (v !== 0 && !(this.options.small && v !== this.top))
        c.fillText(short(this.options.format(Math.abs(v))), LEFT + 2, v < 0 ? y - 12 : y + 2);
    }
    c.textBaseline = 'alphabetic';
    for (let minute = 1; minute * 60000 < to - from; minute++) {
      c.textAlign = 'center';
      c.fillText(`−${minute} min`, this.x(to - minute * 60000), height - 4);
    }
    c.textAlign = 'right';
    c.fillText('now', width - RIGHT, height - 4);
  }

  // Pieces of a series without holes, as [[x, y], ...].
  pieces(series) {
    const pieces = [];
    let piece = null, last = 0;
    for (const p of this.visible()) {
      const v = series.value(p);
      if (v == null || piece && p.t - last > HOLE_MS) piece = null;
      last = p.t;
      if (v == null) continue;
      if (!piece) pieces.push(piece = []);
      const shown = Math.min(v, this.top);
      piece.push([this.x(p.t), this.y(series.below ? -v : shown)]);
    }
    return pieces;
  }

  drawSeries(series) {
    const c = this.context, colour = this.colour(series.colour);
    c.save();
    c.beginPath();
    c.rect(LEFT, 0, this.canvas.clientWidth - LEFT - RIGHT, this.canvas.clientHeight);
    c.clip();
    c.strokeStyle = c.fillStyle = colour;
    c.lineJoin = 'round';
    c.lineWidth = 1.6;
    c.setLineDash(series.dash ? [5, 3] : []);
    for (const piece of this.pieces(series)) {
      c.beginPath();
      piece.forEach(([x, y], i) => i ? c.lineTo(x, y) : c.moveTo(x, y));
      if (piece.length === 1) c.lineTo(piece[0][0] + 1, piece[0][1]);
      c.stroke();
      if (!series.fill) continue;
      c.lineTo(piece[piece.length - 1][0], this.y(0));
      c.lineTo(piece[0][0], this.y(0));
      c.globalAlpha = 0.16;
      c.fill();
      c.globalAlpha = 1;
    }
    c.restore();
  }

  drawTime(t, height) {
    const c = this.context, x = this.x(t);
    c.strokeStyle = this.colour('--text');
    c.globalAlpha = 0.6;
    c.beginPath();
    c.moveTo(x, TOP);
    c.lineTo(x, height - BOTTOM);
    c.stroke();
    c.globalAlpha = 1;
  }

  // Values at the time looked at, in the legend and for those who do not see the lines.
  tell(t) {
    const {points} = this.data;
    let point = points[points.length - 1];
    if (t != null) {
      for (const p of points) if (p.t <= t) point = p;
    }
    const said = this.options.series.map((series, i) => {
      const text = point ? this.options.format(series.value(point)) : '–';
      this.values[i].textContent = text;
      return `${series.label} ${text}`;
    });
    this.canvas.setAttribute('aria-label', `${this.options.title}: ${said.join(', ')}`);
  }
}
