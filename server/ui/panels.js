// Everything that shows figures of /v1/stats at one time or over the last minutes, tables apart: the head,
// the tiles, the lines, the links. No state but the charts' own.
import {Chart} from './chart.js';
import * as f from './figures.js';

const $ = id => document.getElementById(id);

export function put(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

// ---- lines ----

const half = x => x === 0 || x === 0.5 || x === 1; // what stands on the axis
const percent = x => f.percent(x, half(x) ? 0 : 1);

const CHARTS = {
  'c-throughput': {
    title: 'Throughput', sub: 'tokens/s', format: n => f.number(n), least: 1,
    series: [
      {label: 'output', value: p => p.generation, colour: '--warm', fill: true},
      {label: 'prompt', value: p => p.prompt, colour: '--cool', dash: true},
    ],
  },
  'c-latency': {
    title: 'Latency', sub: 'of the last minute', format: f.duration,
    series: [
      {label: 'first token p50', value: p => p.ttft50, colour: '--cool'},
      {label: 'p99', value: p => p.ttft99, colour: '--cool', dash: true},
      {label: 'between p50', value: p => p.itl50, colour: '--warm'},
      {label: 'p99', value: p => p.itl99, colour: '--warm', dash: true},
    ],
  },
  'c-requests': {
    title: 'Requests', format: f.count, least: 2,
    series: [
      {label: 'running', value: p => p.running, colour: '--cool', fill: true},
      {label: 'waiting', value: p => p.waiting, colour: '--warm', dash: true},
    ],
  },
  'c-hits': {
    title: 'Expert hit rate', sub: 'beside the best that fetching on demand could do',
    format: percent, max: 1,
    series: [
      {label: 'hits', value: p => p.hit, colour: '--good', fill: true},
      {label: 'oracle', value: p => p.oracle, colour: '--text', dash: true},
    ],
  },
  'c-prefetch': {
    title: 'Prefetch', sub: 'pages/s, right above and wrong below', format: n => f.number(n), least: 1,
    series: [
      {label: 'right', value: p => p.right, colour: '--cool', fill: true},
      {label: 'wrong', value: p => p.wrong, colour: '--warm', fill: true, below: true},
    ],
  },
  'c-stall': {
    title: 'Stalled', sub: 'part of step time spent waiting for pages', format: percent, max: 1,
    series: [{label: 'stalled', value: p => p.stall, colour: '--warm', fill: true}],
  },
};

// Hops in the order of `links`.
const HOPS = [
  {title: 'Storage to host', colour: '--cool'},
  {title: 'Storage to device', colour: '--text'},
  {title: 'Host to device', colour: '--warm'},
];

function hopChart({title, colour}, i) {
  return new Chart($(`c-link-${i}`), {
    title, small: true, height: 64, least: 1e5, format: f.bytesPerSecond,
    series: [{label: '', value: p => p.links[i], colour, fill: true}],
  });
}

export class Lines {
  constructor() {
    this.charts = Object.entries(CHARTS).map(([id, options]) => new Chart($(id), options));
    this.hops = HOPS.map(hopChart);
  }

  // Points from `from` to the newest; `point` is the one whose figures are shown, `cursor` its time.
  show(points, from, point, cursor) {
    const newest = points[points.length - 1], links = newest.sample.links;
    for (const chart of [...this.charts, ...this.hops]) chart.show(points, from, newest.t, cursor);
    this.hops.forEach((chart, i) => {
      const link = links?.[i], peak = link?.peak_bytes_per_s, now = point.links[i];
      // Without a host tier there is one hop.
      $(`c-link-${i}`).hidden = Boolean(links?.some(l => l.bytes) && !link.bytes);
      chart.sub.textContent = peak && now != null
        ? `${f.percent(now / peak, 0)} of ${f.bytesPerSecond(peak)} measured at start`
        : link?.bytes ? `${f.bytes(link.bytes)} in all` : 'not in use';
    });
  }
}

// ---- tiles ----

// Of the last minute, or of all time where nothing was in it.
function showLatency(name, p) {
  const idle = p[name + '50'] == null, all = p.sample.latency[name];
  const figure = q => f.duration(idle ? f.percentile(all, q / 100) : p[name + q]);
  put(`t-${name}`, figure(50));
  put(`t-${name}-of`, idle && all.count ? 'median since start' : 'median');
  put(`t-${name}-sub`, `p95 ${figure(95)}, p99 ${figure(99)}`);
}

function showHits(p) {
  const all = p.sample.experts, hit = p.hit ?? (all && f.share(all.hits, all.misses));
  put('t-hit', f.percent(hit));
  put('t-hit-of', p.hit == null ? 'since start' : 'of 10 s');
  $('t-hit-bar').value = hit || 0;
  put('t-hit-sub', p.oracle == null ? 'oracle bound not known yet'
    : `oracle ${f.percent(p.oracle)}, reached ${f.percent(p.windowHit / p.oracle, 0)} of it`);
}

export function showTiles(p) {
  const {requests, kv} = p.sample, bad = requests.failed + requests.rejected;
  put('t-gen', f.number(p.generation));
  put('t-gen-sub', `prompt ${f.number(p.prompt)} tokens/s`);
  showLatency('ttft', p);
  showLatency('itl', p);
  put('t-run', f.count(requests.running));
  put('t-run-sub', `${f.count(requests.waiting)} waiting, ${f.count(requests.finished)} done` +
    (bad ? `, ${f.count(bad)} failed or refused` : ''));
  put('t-kv', f.percent(p.kv, 0));
  $('t-kv-bar').value = p.kv || 0;
  put('t-kv-sub', kv ? `${f.count(kv.blocks_used * kv.block_tokens)} of ` +
    `${f.count(kv.blocks * kv.block_tokens)} tokens, ${f.bytes(kv.bytes)}` : '');
  showHits(p);
}

// ---- head and foot ----

const STATES = {ready: 'serving', loading: 'loading', draining: 'draining', failed: 'failed'};

export function showState(state, text) {
  $('state').dataset.state = state;
  put('state', text);
}

export function notice(text) {
  $('notice').hidden = !text;
  put('notice', text || '');
}

function expertsLine(m, tiers) {
  const holds = tiers.filter(t => t.slots)
    .map(t => `${t.name} holds ${f.count(t.resident_pages)} of ${f.count(m.pages)}`);
  return `${m.layers} layers × ${m.experts}, ${m.top_k} a token, ${f.bytes(m.page_bytes)} a page; ` +
    holds.join(', ');
}

export function showHead(s) {
  const m = s.model, loading = s.loading;
  showState(s.state, STATES[s.state] +
    (loading ? ` ${loading.phase} ${f.percent(loading.progress, 0)}` : ''));
  notice(s.error);
  document.title = m ? `${m.name} · moering` : 'moering';
  put('model', m ? [m.name, `${f.number(m.parameters)} parameters`,
    `${f.number(m.active_parameters)} active`, m.weight_dtype, m.device || m.backend].join(' · ') : '');
  put('experts-sub', m ? expertsLine(m, s.tiers) : '');
  const foot = [`moering ${s.version}`, `up ${f.duration(s.uptime_s)}`];
  if (s.foresight) foot.push(`experts foretold by ${s.foresight.predictor}`);
  if (s.prefetch) foot.push(`prefetch ${s.prefetch.active ? 'on' : 'off'}`);
  put('foot', foot.join(' · '));
}
