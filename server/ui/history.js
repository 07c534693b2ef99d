// What the page remembers: samples of /v1/stats and frames of the map, over the last minutes.
//
// Times are the server's clock (now_ms), so that figures and maps of one moment meet. A server that
// started anew has another clock: then both are emptied. Bounded by time and, for maps, by bytes.
import {growth, histogramBetween, percentile, rate, share} from './figures.js';

export const KEPT_MS = 300000;     // what the time slider reaches back to
const LOOK_BACK_MS = 60000;        // percentiles are of so long a time
const MAP_BYTES_MAX = 48 << 20;
const MAP_INTERVAL_MS = 500;

// The last item at or before a time; items are in order of `t`.
function before(items, t) {
  let low = 0, high = items.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (items[middle].t <= t) low = middle + 1;
    else high = middle;
  }
  return low ? items[low - 1] : null;
}

export class Samples {
  constructor() {
    this.points = []; // {t, sample, and the figures of derive()}
  }

  // Returns true if the server has started anew.
  add(sample) {
    const last = this.latest();
    const anew = last && (sample.now_ms < last.t || sample.uptime_s < last.sample.uptime_s);
    if (anew) this.points = [];
    if (!anew && last && sample.now_ms === last.t) return false;
    this.points.push(derive(this, sample));
    const oldest = sample.now_ms - KEPT_MS - LOOK_BACK_MS;
    while (this.points[0].t < oldest) this.points.shift();
    return Boolean(anew);
  }

  latest() {
    return this.points.length ? this.points[this.points.length - 1] : null;
  }

  at(t) {
    return t == null ? this.latest() : before(this.points, t) || this.points[0] || null;
  }

  // A sample at least so much older than t, or the oldest.
  sampleBefore(t, ms) {
    const point = before(this.points, t - ms) || this.points[0];
    return point && point.t < t ? point.sample : null;
  }
}

const of = (part, key) => s => s[part] && s[part][key];

// The figures of one moment that the page draws over time.
function derive(samples, now) {
  const t = now.now_ms;
  const second = samples.sampleBefore(t, 1800);
  const ten = samples.sampleBefore(t, 10000);
  const minute = samples.sampleBefore(t, LOOK_BACK_MS);
  const latency = name => minute && histogramBetween(minute.latency[name], now.latency[name]);
  const ttft = latency('ttft'), itl = latency('itl');
  const steps = growth(second, now, of('engine', 'step_ms'));
  return {
    t, sample: now, ten,
    generation: rate(second, now, of('tokens', 'generation')),
    prompt: rate(second, now, of('tokens', 'prompt')),
    ttft50: percentile(ttft, 0.5), ttft95: percentile(ttft, 0.95), ttft99: percentile(ttft, 0.99),
    itl50: percentile(itl, 0.5), itl95: percentile(itl, 0.95), itl99: percentile(itl, 0.99),
    running: now.requests.running, waiting: now.requests.waiting,
    kv: now.kv && now.kv.blocks ? now.kv.blocks_used / now.kv.blocks : null,
    hit: share(growth(ten, now, of('experts', 'hits')), growth(ten, now, of('experts', 'misses'))),
    windowHit: now.oracle ? now.oracle.hit_rate : null,
    oracle: now.oracle ? now.oracle.oracle_hit_rate : null,
    links: [0, 1, 2].map(i => rate(second, now, s => s.links && s.links[i].bytes)),
    right: rate(second, now, of('prefetch', 'used')),
    wrong: rate(second, now, of('prefetch', 'wasted')),
    stall: steps ? growth(second, now, of('engine', 'stall_ms')) / steps : steps === 0 ? 0 : null,
  };
}

export class Maps {
  constructor() {
    this.clear();
  }

  clear() {
    this.frames = []; // {t, cells}
    this.now = null;  // the newest, {t, cells, layers, experts}; its cells are reused
  }

  // The newest map; a copy is remembered now and then.
  add(frame) {
    if (this.now && frame.t < this.now.t) this.frames = [];
    this.now = frame;
    const interval = Math.max(MAP_INTERVAL_MS, KEPT_MS * frame.cells.length / MAP_BYTES_MAX);
    const last = this.frames[this.frames.length - 1];
    if (last && frame.t - last.t < interval) return;
    this.frames.push({t: frame.t, cells: frame.cells.slice()});
    while (this.frames[0].t < frame.t - KEPT_MS) this.frames.shift();
  }

  at(t) {
    if (t == null) return this.now && this.now.cells;
    const frame = before(this.frames, t) || this.frames[0];
    return frame ? frame.cells : null;
  }
}
