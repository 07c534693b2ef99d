// The prompt box: one request at a time through the public API, its text as it comes, its figures.
//
// Times are measured here, so they hold the network. What the experts cost comes with the last chunk
// ("experts"); tokens from the usage chunk. Which experts it touched is told by maps (touch.js).
import {ask, events, Refusal} from './feed.js';
import * as f from './figures.js';

const $ = id => document.getElementById(id);

export class Prompt {
  // `begun()` and `ended()` bracket a request.
  constructor({begun, ended}) {
    this.begun = begun;
    this.ended = ended;
    this.abort = null;
    this.model = null;
    this.seen = {chunks: 0};
    $('prompt-form').addEventListener('submit', e => { e.preventDefault(); this.send(); });
    $('prompt-stop').addEventListener('click', () => this.abort?.abort());
    $('prompt-text').addEventListener('keydown', e => {
      if (e.key === 'Enter' && (e.ctrlKey || e.metaKey)) this.send();
    });
    this.remember();
  }

  // What was chosen last; the text itself is never stored.
  remember() {
    for (const id of ['prompt-mode', 'prompt-tokens', 'prompt-temperature']) {
      try {
        const kept = localStorage.getItem('moering-' + id);
        if (kept) $(id).value = kept;
        $(id).addEventListener('change', () => localStorage.setItem('moering-' + id, $(id).value));
      } catch { /* no storage: the defaults */ }
    }
  }

  body(text) {
    const shared = {
      model: this.model, stream: true, stream_options: {include_usage: true},
      temperature: Number($('prompt-temperature').value),
    };
    const tokens = Math.max(1, Math.floor(Number($('prompt-tokens').value)) || 1);
    return $('prompt-mode').value === 'chat'
      ? {path: '/v1/chat/completions',
         json: {...shared, messages: [{role: 'user', content: text}], max_completion_tokens: tokens}}
      : {path: '/v1/completions', json: {...shared, prompt: text, max_tokens: tokens}};
  }

  async send() {
    const text = $('prompt-text').value;
    if (this.abort || !text) return;
    this.abort = new AbortController();
    this.busy(true);
    this.seen = {sent: performance.now(), first: null, last: null, chunks: 0, end: null};
    $('prompt-out').textContent = '';
    $('prompt-out').className = 'answer';
    this.figures();
    this.begun();
    try {
      this.model ||= (await (await ask('/v1/models')).json()).data[0].id;
      const {path, json} = this.body(text);
      this.seen.sent = performance.now();
      await this.read(await ask(path, {
        method: 'POST', signal: this.abort.signal, body: JSON.stringify(json),
        headers: {'Content-Type': 'application/json', Accept: 'text/event-stream'},
      }));
    } catch (error) {
      this.failed(error);
    } finally {
      this.abort = null;
      this.busy(false);
      this.figures();
      this.ended();
    }
  }

  async read(response) {
    for await (const {data} of events(response)) {
      if (data === '[DONE]') return;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new Refusal(500, chunk.error.message, 0);
      this.take(chunk);
    }
    throw new Error('the answer broke off');
  }

  take(chunk) {
    const choice = chunk.choices[0], seen = this.seen;
    const text = choice && (choice.text || choice.delta?.content || choice.delta?.reasoning_content);
    if (text) {
      seen.last = performance.now();
      seen.first ??= seen.last;
      seen.chunks++;
      const out = $('prompt-out'), atEnd = out.scrollHeight - out.scrollTop - out.clientHeight < 24;
      out.append(text);
      if (atEnd) out.scrollTop = out.scrollHeight;
    }
    if (choice?.finish_reason) seen.end = choice.finish_reason;
    if (chunk.usage) seen.usage = chunk.usage;
    if (chunk.timings) seen.timings = chunk.timings;
    if (chunk.experts) seen.experts = chunk.experts;
    this.figures();
  }

  failed(error) {
    const out = $('prompt-out');
    if (error.name === 'AbortError') {
      this.seen.end = 'stopped';
      return;
    }
    if (error.status === 404) this.model = null; // it serves another one now
    out.className = 'answer failed';
    out.append((out.textContent ? '\n' : '') + error.message);
    this.seen.end = 'error';
  }

  busy(is) {
    $('prompt-send').disabled = is;
    $('prompt-stop').disabled = !is;
    $('prompt-out').setAttribute('aria-busy', String(is));
  }

  figures() {
    const s = this.seen, tokens = s.usage?.completion_tokens ?? s.chunks;
    const seconds = s.first == null ? 0 : (s.last - s.first) / 1000;
    const e = s.experts, asked = e && e.hits + e.misses;
    const rows = [
      ['First token', s.first == null ? '–' : f.duration((s.first - s.sent) / 1000)],
      ['Tokens', s.chunks ? f.count(tokens) + (s.end ? `, ${s.end}` : '') : s.end || '–'],
      ['Rate', tokens > 1 && seconds ? f.number((tokens - 1) / seconds) + ' tokens/s' : '–'],
      ['Expert hits', asked ? `${f.percent(e.hits / asked)} of ${f.count(asked)}` : '–'],
      ['Read', e ? f.bytes(e.bytes) : '–'],
      ['Stalled', e ? f.duration(e.stall_ms / 1000) : '–'],
    ];
    $('prompt-figures').replaceChildren(...rows.map(([name, value]) => {
      const row = document.createElement('div'), dt = document.createElement('dt');
      const dd = document.createElement('dd');
      dt.textContent = name;
      dd.textContent = value;
      row.append(dt, dd);
      return row;
    }));
  }
}
