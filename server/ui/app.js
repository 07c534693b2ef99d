// The dashboard: asks for figures, follows the map, shows both at the time chosen.
//
//     /v1/stats, once a second ──► Samples ──┐
//                                            ├── at(cursor) ──► tiles, charts, map, tables
//     /v1/experts/stream ────────► Maps ─────┘
//
// `cursor` is null (live) or a time of the server's clock. The map is followed only while somebody looks
// at the page; figures are then asked for less often, so that the lines have no long holes.
import * as f from './figures.js';
import {ask, followMap, forgetKey, key} from './feed.js';
import {Grid} from './grid.js';
import {KEPT_MS, Maps, Samples} from './history.js';
import {cellColour, css, TIERS} from './palette.js';
import {Lines, notice, put, showHead, showState, showTiles} from './panels.js';
import {Prompt} from './prompt.js';
import {layerHits, layerStates, showExperts, showLayers} from './tables.js';
import {Touch} from './touch.js';

const $ = id => document.getElementById(id);
const samples = new Samples(), maps = new Maps();
let cursor = null;
let touch = null, touching = false, others = 0; // requests seen beside the prompt
let tableAt = 0, toldAt = 0; // when the words about the map were last written

export const grid = new Grid($('grid'), showReadout);
const lines = new Lines();

// ---- map ----

function shownCells() {
  return maps.at(cursor);
}

function showMap() {
  const now = maps.now, cells = shownCells();
  if (!now || !cells) return;
  grid.show(now.layers, now.experts, cells, cursor == null);
  if (grid.focus && performance.now() - toldAt > 900) showReadout(grid.focus); // it is read aloud
  if (!$('table-box').hidden && performance.now() - tableAt > 900) showTable();
}

function showReadout(cell) {
  const now = maps.now, cells = shownCells();
  if (!cell || !now || !cells) {
    put('readout', 'Point at a cell, or focus the map and use the arrow keys.');
    return;
  }
  toldAt = performance.now();
  const byte = cells[cell.layer * now.experts + cell.expert], heat = byte & 63;
  const uses = heat ? `about ${f.number(f.usesPerSecond(heat), 2)} uses a second` : 'not used lately';
  put('readout', `Layer ${cell.layer}, expert ${cell.expert}: ${TIERS[byte >> 6]}, heat ${heat}, ${uses}`);
}

function showTable() {
  const now = maps.now, cells = shownCells();
  if (!now || !cells) return;
  tableAt = performance.now();
  const select = $('table-layer');
  if (select.options.length !== now.layers)
    select.replaceChildren(...Array.from({length: now.layers}, (_, l) => new Option(l, l)));
  showExperts(Number(select.value), now.experts, cells);
}

function showLegend() {
  const theme = document.documentElement.dataset.theme || 'light';
  const entries = [2, 1, 0].map(tier => {
    const entry = document.createElement('span'), ramp = document.createElement('i');
    ramp.className = 'ramp';
    ramp.style.background = 'linear-gradient(90deg, ' +
      [0, 1, 21, 42, 63].map(heat => css(cellColour(theme, tier, heat))).join(', ') + ')';
    entry.append(ramp, TIERS[tier]);
    return entry;
  });
  const words = ['cold to hot; a flash: just routed', '■ stable layer', '○ transient layer'].map(text => {
    const entry = document.createElement('span');
    entry.textContent = text;
    return entry;
  });
  $('legend').replaceChildren(...entries, ...words);
}

// ---- what a prompt touched ----

function beginTouch() {
  touch = maps.now && new Touch(maps.now.layers, maps.now.experts, maps.now.cells, maps.now.t);
  touching = Boolean(touch);
  others = 0;
  $('show-touched').disabled = !touch;
  setTouched(false);
  put('prompt-touched', '');
}

function endTouch() {
  const mine = touch;
  if (!mine) return;
  // What the last step routed to is in the next snapshot.
  setTimeout(() => {
    if (touch !== mine) return; // another prompt, or another server
    touching = false;
    tellTouch();
  }, 250);
}

function tellTouch() {
  const sum = touch.summary();
  put('prompt-touched', `Touched ${f.count(sum.used)} of ${f.count(sum.pages)} experts; ` +
    `${f.count(sum.came)} came to the device meanwhile, ${f.count(sum.left)} left.` +
    (others > 0 ? ' Other requests ran beside it; theirs are among these.' : ''));
}

function setTouched(on) {
  $('show-touched').setAttribute('aria-pressed', String(on));
  grid.setMarks(on && touch ? touch.marks : null);
}

// ---- time ----

// How far back the page looks: whole minutes, as far as it has something to show.
function span() {
  const newest = samples.latest(), oldest = samples.points[0];
  const minutes = newest ? Math.ceil((newest.t - oldest.t) / 60000) : 1;
  return Math.min(KEPT_MS, Math.max(1, minutes) * 60000);
}

function setCursor(t) {
  cursor = t;
  $('live').setAttribute('aria-pressed', String(t == null));
  document.body.classList.toggle('past', t != null);
  showTime();
  showAll();
}

function showTime() {
  const newest = samples.latest();
  if (!newest) return;
  if (cursor != null && cursor < newest.t - KEPT_MS) cursor = newest.t - KEPT_MS;
  $('scrub').min = String(-span() / 1000);
  const ago = cursor == null ? 0 : Math.round((newest.t - cursor) / 1000);
  if (document.activeElement !== $('scrub') || cursor != null) $('scrub').value = String(-ago);
  const text = ago ? `${ago} s ago` : 'now';
  put('when', text);
  $('scrub').setAttribute('aria-valuetext', text);
}

function showAll() {
  const newest = samples.latest(), point = samples.at(cursor);
  if (!newest) return;
  showHead(newest.sample);
  showTiles(point);
  lines.show(samples.points, newest.t - span(), point, cursor);
  showLayers(point);
  grid.setLayers(layerStates(point), layerHits(point));
  showMap();
}

// ---- news ----

// The server started anew, perhaps with another model: nothing that was is comparable.
function forget() {
  maps.clear();
  touch = null;
  touching = false;
  $('show-touched').disabled = true;
  setTouched(false);
  setCursor(null);
}

let failures = 0;

async function poll() {
  let wait = document.hidden ? 5000 : 1000;
  try {
    const sample = await (await ask('/v1/stats', {signal: AbortSignal.timeout(8000)})).json();
    failures = 0;
    if (samples.add(sample)) forget();
    if (touching) others = Math.max(others, sample.requests.running - 1);
    showTime();
    showAll();
    follow();
  } catch (error) {
    failures++;
    wait = Math.min(1000 * failures, 5000);
    if (error.status === 401) {
      showState('failed', 'key wanted');
      notice('This server wants a key. Load the page again to be asked for it.');
      wait = 5000;
    } else {
      showState('failed', 'no answer');
      notice(`No figures: ${error.message}. Trying again.`);
    }
  }
  setTimeout(poll, wait);
}

const SILENCE_MS = 25000; // a map comes every ten seconds
let following = null;

async function follow() {
  const state = samples.latest()?.sample.state;
  if (following || document.hidden || state !== 'ready') return;
  following = new AbortController();
  const mine = following;
  let heard = performance.now();
  const watch = setInterval(() => {
    if (performance.now() - heard > SILENCE_MS) mine.abort(); // its connection is lost without a word
  }, 5000);
  try {
    await followMap(mine.signal, frame => {
      heard = performance.now();
      maps.add(frame);
      if (touching) touch.observe(frame.cells, frame.t);
      if (cursor == null) showMap();
    });
  } catch { /* draining or gone: /v1/stats tells which, and when to follow again */ }
  clearInterval(watch);
  await new Promise(resolve => setTimeout(resolve, 1000)); // a server that refuses is not asked in a loop
  if (following === mine) following = null;
}

function visibility() {
  if (document.hidden) {
    following?.abort();
    following = null;
  } else {
    follow();
  }
}

// ---- begin ----

$('live').addEventListener('click', () => setCursor(null));
$('scrub').addEventListener('input', () => {
  const newest = samples.latest(), ago = -Number($('scrub').value);
  if (newest) setCursor(ago ? newest.t - ago * 1000 : null);
});
$('show-touched').addEventListener('click', () =>
  setTouched($('show-touched').getAttribute('aria-pressed') !== 'true'));
$('show-table').addEventListener('click', () => {
  $('table-box').hidden = !$('table-box').hidden;
  $('show-table').setAttribute('aria-pressed', String(!$('table-box').hidden));
  showTable();
});
$('table-layer').addEventListener('change', showTable);
$('forget').addEventListener('click', forgetKey);
document.addEventListener('keychange', () => { $('forget').hidden = !key(); });
document.addEventListener('visibilitychange', visibility);
document.addEventListener('themechange', showLegend);

$('forget').hidden = !key();
showLegend();
showReadout(null);
new Prompt({begun: beginTouch, ended: endTouch}).figures();
poll();
