// The figures as tables: layers, and the experts of one layer. For reading exactly, for screen readers,
// and for whoever cannot use the map. Rows are made once and their texts changed.
import * as f from './figures.js';
import {TIERS} from './palette.js';

const $ = id => document.getElementById(id);

// rows: arrays of strings; the first of each names its row.
export function fill(body, rows) {
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach((cells, i) => {
    let row = body.rows[i];
    if (!row) {
      row = body.insertRow();
      cells.forEach((_, k) => {
        const cell = document.createElement(k ? 'td' : 'th');
        if (!k) cell.scope = 'row';
        row.append(cell);
      });
    }
    cells.forEach((text, k) => {
      if (row.cells[k].textContent !== text) row.cells[k].textContent = text;
    });
  });
}

// Of each layer: the part of its requests that hit, over the ten seconds before the point.
export function layerHits(point) {
  const now = point?.sample.layers?.device, then = point?.ten?.layers?.device;
  if (!now) return [];
  return now.hits.map((_, l) => {
    const hits = now.hits[l] - (then ? then.hits[l] : 0);
    const misses = now.misses[l] - (then ? then.misses[l] : 0);
    return f.share(hits, misses);
  });
}

export function layerStates(point) {
  const layers = point?.sample.layers;
  if (!layers) return [];
  return layers.decode.state.map((state, l) => state || layers.prefill.state[l]);
}

export function showLayers(point) {
  const layers = point?.sample.layers;
  if (!layers) {
    fill($('layers-rows'), []);
    return;
  }
  const {now_ms} = point.sample, then = point.ten;
  const device = layers.device, host = layers.host, hits = layerHits(point);
  const seconds = then ? (now_ms - then.now_ms) / 1000 : 0;
  const perSecond = (key, l) => {
    const before = then?.layers?.device;
    return before && seconds ? f.number((device[key][l] - before[key][l]) / seconds) : '–';
  };
  const state = (phase, l) => {
    const cv = layers[phase].cv[l];
    return layers[phase].state[l] ? `${layers[phase].state[l]}${cv == null ? '' : `, cv ${f.number(cv, 2)}`}`
      : '–';
  };
  fill($('layers-rows'), device.hits.map((_, l) => [
    String(l), state('decode', l), state('prefill', l), f.count(device.resident[l]),
    host ? f.count(host.resident[l]) : '–', f.percent(hits[l]), perSecond('misses', l),
    perSecond('evictions', l), perSecond('prefetch_used', l), perSecond('prefetch_wasted', l),
  ]));
}

// The experts of one layer, hottest first.
export function showExperts(layer, experts, cells) {
  const rows = Array.from({length: experts}, (_, e) => ({e, cell: cells[layer * experts + e]}));
  rows.sort((a, b) => (b.cell & 63) - (a.cell & 63) || a.e - b.e);
  fill($('table-rows'), rows.map(({e, cell}) => [
    String(e), TIERS[cell >> 6], String(cell & 63), cell & 63 ? f.number(f.usesPerSecond(cell & 63), 2) : '0',
  ]));
  const on = [0, 0, 0];
  for (const {cell} of rows) on[cell >> 6]++;
  $('table-sub').textContent = `${on[2]} on device, ${on[1]} on host, ${on[0]} in storage`;
}
