// The wire: answers and event streams of this server, with the key where one is wanted.
//
// EventSource cannot send a header, so event streams are read from fetch. The key lives in sessionStorage,
// that is in this tab until it closes, and nowhere else. One dialog at a time asks for it, however many
// answers said 401; cancelled, nobody asks again before the page is loaded anew.

const KEY = 'moering-key';
let memory = null;   // where storage is switched off
let asking = null;   // a promise while the dialog is open
let refused = false; // it was cancelled

export function key() {
  try { return sessionStorage.getItem(KEY) || memory; } catch { return memory; }
}

export function setKey(value) {
  memory = value;
  refused = false;
  try {
    if (value) sessionStorage.setItem(KEY, value);
    else sessionStorage.removeItem(KEY);
  } catch { /* in `memory`, then */ }
  document.dispatchEvent(new Event('keychange'));
}

export function forgetKey() {
  setKey(null);
  location.reload();
}

function askKey() {
  if (refused) return Promise.resolve(false);
  asking ||= new Promise(resolve => {
    const dialog = document.getElementById('key-dialog');
    const input = document.getElementById('key-input');
    if (key()) document.getElementById('key-why').textContent = 'The server does not know that key.';
    input.value = '';
    const end = value => {
      document.getElementById('key-form').onsubmit = null;
      dialog.oncancel = document.getElementById('key-cancel').onclick = null;
      input.value = '';
      dialog.close();
      asking = null;
      if (value) setKey(value);
      refused = !value;
      resolve(Boolean(value));
    };
    document.getElementById('key-form').onsubmit = event => {
      event.preventDefault();
      end(input.value.trim());
    };
    dialog.oncancel = document.getElementById('key-cancel').onclick = () => end(null);
    dialog.showModal();
    input.focus();
  });
  return asking;
}

export class Refusal extends Error {
  constructor(status, message, retryAfter) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

async function refusal(response) {
  let message = `the server answered ${response.status}`;
  try {
    message = (await response.json()).error.message || message;
  } catch { /* not JSON: the number says enough */ }
  return new Refusal(response.status, message, Number(response.headers.get('Retry-After')) || 0);
}

// An answer of 200. Throws a Refusal, or what fetch throws.
export async function ask(path, init = {}) {
  for (;;) {
    const used = key();
    const headers = {...init.headers};
    if (used) headers.Authorization = 'Bearer ' + used;
    const response = await fetch(path, {...init, headers, cache: 'no-store'});
    if (response.ok) return response;
    const why = await refusal(response);
    if (response.status !== 401) throw why;
    if (used !== key()) continue; // somebody has been told a key meanwhile
    if (!await askKey()) throw why;
  }
}

// Events of a text/event-stream: {event, data}. Ends when the stream does.
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  try {
    for (;;) {
      const {done, value} = await reader.read();
      if (done) return;
      text += value;
      const blocks = text.split(/\r?\n\r?\n/);
      text = blocks.pop();
      for (const block of blocks) {
        const found = parseEvent(block);
        if (found) yield found;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function parseEvent(block) {
  let event = 'message';
  const data = [];
  for (const line of block.split(/\r?\n/)) {
    const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line);
    if (field === 'event') event = value;
    if (field === 'data') data.push(value);
  }
  return data.length ? {event, data: data.join('\n')} : null; // else a comment: the server is there
}

function fromBase64(text) {
  const raw = atob(text);
  const out = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
  return out;
}

// FORMATS.md: pairs of (cells to skip, LEB128; new byte).
export function applyChanges(cells, changes) {
  let at = 0;
  for (let i = 0; i < changes.length;) {
    let skip = 0, scale = 1, byte;
    do {
      byte = changes[i++];
      skip += (byte & 127) * scale;
      scale *= 128;
    } while (byte & 128);
    at += skip;
    if (!(at < cells.length && i < changes.length)) throw new Error('a delta does not fit its map');
    cells[at++] = changes[i++];
  }
}

// Follows /v1/experts/stream until `signal` ends it. `told(frame)` for each event; a frame's cells are
// the same array each time.
export async function followMap(signal, told) {
  const response = await ask('/v1/experts/stream', {signal});
  let frame = null;
  for await (const {event, data} of events(response)) {
    const news = JSON.parse(data);
    if (event === 'map') {
      const cells = fromBase64(news.cells);
      if (cells.length !== news.layers * news.experts) throw new Error('a map has the wrong size');
      frame = {t: news.now_ms, layers: news.layers, experts: news.experts, cells};
    } else if (event === 'delta' && frame) {
      applyChanges(frame.cells, fromBase64(news.changes));
      frame.t = news.now_ms;
    } else {
      continue; // of a newer server
    }
    told(frame);
  }
}
