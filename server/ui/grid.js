// The map of experts on a canvas: a row for each layer, a column for each expert.
//
//     3 ■ ▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮  ▬▬▬▬▬     number and state of the layer, its experts, its hit rate
//
// Cells are whole device pixels, so that their colours are exactly those of palette.js; narrow ones may
// differ by one in width, so that a row fills its place. Where experts do not fit side by side a layer takes
// several lines ("fold"). A picture of pixels is kept and only cells
// that look different are painted again; the gutters are drawn when the layout or the figures change.
import * as palette from './palette.js';
import {USED} from './touch.js';

const GUTTER_LEFT = 34, GUTTER_RIGHT = 52, ABOVE = 6, AXIS = 16; // CSS pixels
const HEIGHT_WANTED = 480;
const CELL_MIN = 2, CELL_EVEN = 8, CELL_WIDTH_MAX = 40, CELL_HEIGHT_MAX = 40, FOLD_MAX = 8;
const FLASH_MS = 90, FLASH_LIT = 144; // of 256

export class Grid {
  // `told(cell)` when another cell is looked at: {layer, expert} or null.
  constructor(canvas, told) {
    this.canvas = canvas;
    this.context = canvas.getContext('2d');
    this.told = told;
    this.layers = this.experts = 0;
    this.cells = null;   // what is shown
    this.flash = null;   // [cell] 0..255, how freshly it was routed to
    this.painted = null; // [cell] the pixel it has now; 0: none yet
    this.marks = null;   // of a Touch: what it did not use is faded
    this.states = [];
    this.hits = [];
    this.focus = null;
    this.timer = 0;
    this.calm = matchMedia('(prefers-reduced-motion: reduce)');
    this.themed();
    document.addEventListener('themechange', () => { this.themed(); this.layout(); });
    new ResizeObserver(() => this.layout()).observe(canvas.parentElement);
    this.listen();
  }

  themed() {
    this.theme = document.documentElement.dataset.theme || 'light';
    this.pixels = palette.cellPixels(this.theme);
    this.flashPixel = palette.pack(palette.FLASH[this.theme]);
    this.pagePixel = palette.pack(palette.PAGE[this.theme]);
  }

  // ---- what to show ----

  show(layers, experts, cells, live) {
    if (layers !== this.layers || experts !== this.experts) {
      this.layers = layers;
      this.experts = experts;
      this.cells = new Uint8Array(layers * experts);
      this.flash = new Uint8Array(layers * experts);
      this.focus = null;
      this.layout();
    }
    if (live && !this.calm.matches) this.spark(cells);
    else this.flash.fill(0);
    this.cells.set(cells);
    this.paint();
  }

  // Cells that became hotter flash, older flashes fade.
  spark(cells) {
    const {flash, cells: old} = this;
    let lit = false;
    for (let i = 0; i < cells.length; i++) {
      flash[i] = (cells[i] & 63) > (old[i] & 63) ? FLASH_LIT : flash[i] >> 1 & 0xf8;
      lit ||= flash[i] > 0;
    }
    clearTimeout(this.timer);
    if (lit) this.timer = setTimeout(() => this.fade(), FLASH_MS * 1.6);
  }

  // No frame came: flashes fade all the same.
  fade() {
    let lit = false;
    for (let i = 0; i < this.flash.length; i++) {
      this.flash[i] = this.flash[i] >> 1 & 0xf8;
      lit ||= this.flash[i] > 0;
    }
    this.paint();
    if (lit) this.timer = setTimeout(() => this.fade(), FLASH_MS);
  }

  setMarks(marks) {
    this.marks = marks;
    this.paint();
  }

  // Of each layer: "stable", "transient" or null; hit rate 0..1 or null.
  setLayers(states, hits) {
    this.states = states;
    this.hits = hits;
    this.paint();
  }

  // ---- where it is ----

  layout() {
    if (!this.layers) return;
    const dpr = window.devicePixelRatio || 1;
    const room = this.canvas.parentElement.clientWidth;
    const width = Math.max(1, Math.floor((room - GUTTER_LEFT - GUTTER_RIGHT) * dpr));
    let fold = 1;
    while (fold < FOLD_MAX && width / Math.ceil(this.experts / fold) < CELL_MIN * dpr) fold++;
    const columns = Math.ceil(this.experts / fold), rows = this.layers * fold;
    const clamp = (x, low, high) => Math.max(low, Math.min(high, Math.floor(x)));
    let w = Math.min(width / columns, CELL_WIDTH_MAX * dpr);
    if (w >= CELL_EVEN * dpr) w = Math.floor(w); // where there is room all are alike
    w = Math.max(1, w);
    const h = clamp(HEIGHT_WANTED * dpr / rows, CELL_MIN * dpr, CELL_HEIGHT_MAX * dpr);
    const gap = size => size >= 12 * dpr ? 2 : size >= 4 ? 1 : 0;
    const band = fold > 1 ? Math.round(2 * dpr) : 0; // between layers of several lines
    this.place = {
      dpr, fold, columns, w, h, gapX: gap(w), gapY: gap(h), pitch: h * fold + band,
      left: Math.round(GUTTER_LEFT * dpr), top: Math.round(ABOVE * dpr),
      width: Math.floor(columns * w), height: this.layers * (h * fold + band),
    };
    const p = this.place;
    this.canvas.width = p.left + p.width + Math.round(GUTTER_RIGHT * dpr);
    this.canvas.height = p.top + p.height + Math.round(AXIS * dpr);
    this.canvas.style.width = this.canvas.width / dpr + 'px';
    this.canvas.style.height = this.canvas.height / dpr + 'px';
    this.image = this.context.createImageData(p.width, p.height);
    this.raster = new Uint32Array(this.image.data.buffer);
    this.painted = new Uint32Array(this.layers * this.experts);
    this.paint();
  }

  // Of the coloured part of a cell, in device pixels of the canvas.
  rectOf(layer, expert) {
    const p = this.place, line = Math.floor(expert / p.columns), column = expert % p.columns;
    const x = Math.floor(column * p.w), end = Math.floor((column + 1) * p.w);
    return {
      x: p.left + x, y: p.top + layer * p.pitch + line * p.h,
      width: end - x - p.gapX, height: p.h - p.gapY,
    };
  }

  cellAt(clientX, clientY) {
    const p = this.place, box = this.canvas.getBoundingClientRect();
    if (!p) return null;
    const x = (clientX - box.left) * p.dpr - p.left, y = (clientY - box.top) * p.dpr - p.top;
    const layer = Math.floor(y / p.pitch), column = Math.floor(x / p.w);
    const line = Math.floor((y - layer * p.pitch) / p.h);
    const expert = line * p.columns + column;
    const inside = x >= 0 && y >= 0 && layer < this.layers && column < p.columns &&
                   line < p.fold && expert < this.experts;
    return inside ? {layer, expert} : null;
  }

  // ---- painting ----

  paint() {
    if (!this.place || !this.cells || this.queued) return;
    this.queued = requestAnimationFrame(() => {
      this.queued = 0;
      this.paintCells();
      this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
      this.context.putImageData(this.image, this.place.left, this.place.top);
      this.paintGutters();
      this.paintFocus();
    });
  }

  pixelOf(i) {
    let pixel = this.pixels[this.cells[i]];
    if (this.marks && !(this.marks[i] & USED)) return palette.blend(pixel, this.pagePixel, 200);
    if (this.flash[i]) pixel = palette.blend(pixel, this.flashPixel, this.flash[i]);
    return pixel;
  }

  paintCells() {
    const p = this.place, {raster, painted} = this;
    for (let layer = 0, i = 0; layer < this.layers; layer++) {
      for (let expert = 0; expert < this.experts; expert++, i++) {
        const pixel = this.pixelOf(i);
        if (pixel === painted[i]) continue;
        painted[i] = pixel;
        const r = this.rectOf(layer, expert);
        let at = (r.y - p.top) * p.width + r.x - p.left;
        for (let y = 0; y < r.height; y++, at += p.width) raster.fill(pixel, at, at + r.width);
      }
    }
  }

  paintGutters() {
    const p = this.place, c = this.context, style = getComputedStyle(document.documentElement);
    const colour = name => style.getPropertyValue(name).trim();
    const muted = colour('--muted'), size = 10 * p.dpr;
    c.font = `${size}px system-ui, sans-serif`;
    c.textBaseline = 'middle';
    c.textAlign = 'right';
    const every = Math.max(1, Math.ceil(13 * p.dpr / p.pitch));
    const barLeft = p.left + p.width + 8 * p.dpr, barWidth = (GUTTER_RIGHT - 10) * p.dpr;
    for (let layer = 0; layer < this.layers; layer++) {
      const middle = p.top + layer * p.pitch + (p.pitch - p.gapY) / 2;
      c.fillStyle = muted;
      if (layer % every === 0) c.fillText(String(layer), p.left - 14 * p.dpr, middle);
      this.paintState(this.states[layer], p.left - 7 * p.dpr, middle, colour);
      if (this.hits[layer] == null) continue;
      const thick = Math.max(1, Math.min(p.pitch - p.gapY, 8 * p.dpr) * 0.7);
      c.fillStyle = colour('--line');
      c.fillRect(barLeft, middle - thick / 2, barWidth, thick);
      c.fillStyle = colour('--good');
      c.fillRect(barLeft, middle - thick / 2, barWidth * this.hits[layer], thick);
    }
    this.paintAxis(muted);
  }

  // Stable: a filled square. Transient: an orange ring. So they differ in shape, too.
  paintState(state, x, y, colour) {
    const p = this.place, c = this.context;
    const r = Math.max(1, Math.min(3 * p.dpr, (p.pitch - p.gapY) * 0.35));
    if (state === 'stable') {
      c.fillStyle = colour('--muted');
      c.fillRect(x - r * 0.7, y - r * 0.7, r * 1.4, r * 1.4);
    } else if (state === 'transient') {
      c.strokeStyle = colour('--warm');
      c.lineWidth = Math.max(1, r * 0.6);
      c.beginPath();
      c.arc(x, y, r, 0, 2 * Math.PI);
      c.stroke();
    }
  }

  paintAxis(muted) {
    const p = this.place, c = this.context, y = p.top + p.height + AXIS * p.dpr / 2;
    c.fillStyle = muted;
    c.textAlign = 'left';
    const last = p.columns - 1;
    c.fillText('0', p.left, y);
    c.textAlign = 'right';
    const end = p.fold > 1 ? `${last}, ${p.fold} lines a layer` : `${last}`;
    c.fillText(end, p.left + p.width, y);
    c.textAlign = 'left';
    c.fillText('hits', p.left + p.width + 8 * p.dpr, y);
  }

  paintFocus() {
    if (!this.focus) return;
    const r = this.rectOf(this.focus.layer, this.focus.expert), c = this.context, d = this.place.dpr;
    c.lineWidth = 2 * d;
    c.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue('--text').trim();
    c.strokeRect(r.x - d, r.y - d, r.width + 2 * d, r.height + 2 * d);
  }

  // ---- looking at one cell ----

  look(cell) {
    const same = cell === this.focus || cell && this.focus && cell.layer === this.focus.layer &&
                 cell.expert === this.focus.expert;
    if (same) return;
    this.focus = cell;
    this.told(cell);
    this.paint();
  }

  listen() {
    const canvas = this.canvas;
    canvas.addEventListener('pointermove', e => this.look(this.cellAt(e.clientX, e.clientY)));
    canvas.addEventListener('pointerdown', e => this.look(this.cellAt(e.clientX, e.clientY)));
    canvas.addEventListener('pointerleave', () => {
      if (document.activeElement !== canvas) this.look(null);
    });
    canvas.addEventListener('focus', () => {
      if (!this.focus && this.layers) this.look({layer: 0, expert: 0});
    });
    canvas.addEventListener('blur', () => this.look(null));
    canvas.addEventListener('keydown', e => this.key(e));
  }

  key(event) {
    if (!this.layers || event.ctrlKey || event.altKey || event.metaKey) return;
    const at = this.focus || {layer: 0, expert: 0};
    const moves = {
      ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0],
      PageUp: [-8, 0], PageDown: [8, 0], Home: [0, -this.experts], End: [0, this.experts],
    };
    if (event.key === 'Escape') {
      this.look(null);
      return;
    }
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    const keep = (x, n) => Math.max(0, Math.min(n - 1, x));
    this.look({layer: keep(at.layer + move[0], this.layers),
               expert: keep(at.expert + move[1], this.experts)});
  }
}
