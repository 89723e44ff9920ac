// Questions to the server: JSON, and answers that come as events. A token that it wants is asked for once and kept for this tab.

const TOKEN = 'untangle.token';
const AGAIN = 8; // times that a full queue is asked again

// What the server says is wrong.
export class Fault extends Error {
  constructor(status, told) {
    super(told.message || `the server answers with status ${status}`);
    Object.assign(this, { status, code: told.code || null, param: told.param || null });
  }
}

// The server does not answer: it has ended, or the network is away.
export class Unreachable extends Error {
  constructor() { super('The server does not answer. If it has ended, start it again; this page goes on when it is back.'); }
}

// A link may carry the token behind its #, once; the address forgets it.
export function takeToken() {
  const found = location.hash.match(/[#&?]token=([^&]+)/);
  if (!found) return;
  sessionStorage.setItem(TOKEN, decodeURIComponent(found[1]));
  const rest = location.hash.replace(found[0], (whole) => (whole[0] === '#' ? '#' : whole[0] === '?' ? '?' : '')).replace(/[?&#]$/, '');
  history.replaceState(null, '', rest || '#/prompt');
}

export const keepToken = (token) => sessionStorage.setItem(TOKEN, token);

let forToken = null; // set by the page: asks the reader, resolves when there is one
export function whenTokenIsWanted(ask) { forToken = ask; }
let whenBusy = () => {};
export function whenItWaits(tell) { whenBusy = tell; }

const pause = (ms, signal) => new Promise((done, fail) => {
  const timer = setTimeout(done, ms);
  if (signal) signal.addEventListener('abort', () => { clearTimeout(timer); fail(new DOMException('left', 'AbortError')); }, { once: true });
});

async function send(path, body, signal, again = AGAIN) {
  const headers = {};
  const token = sessionStorage.getItem(TOKEN);
  if (token) headers.authorization = `Bearer ${token}`;
  if (body !== undefined) headers['content-type'] = 'application/json';
  let answer;
  try {
    answer = await fetch(path, { method: body === undefined ? 'GET' : 'POST', headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Unreachable();
  }
  if (answer.ok) return answer;
  const told = await answer.json().then((body) => body.error || {}, () => ({}));
  if (answer.status === 401 && forToken) {
    await forToken(Boolean(token));
    return send(path, body, signal, again);
  }
  if (answer.status === 429 && again > 0) {
    whenBusy(told.message);
    await pause(1000 * Number(answer.headers.get('retry-after') || 1), signal);
    return send(path, body, signal, again - 1);
  }
  throw new Fault(answer.status, told);
}

export const get = async (path) => (await send(path)).json();
export const post = async (path, body, signal) => (await send(path, body, signal)).json();

// Asks for an answer in events, each told to `heard` as it comes; `place(n)` hears how many wait before.
export async function events(path, body, heard, { signal, place } = {}) {
  const answer = await send(path, body, signal);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  let whole = false;
  for (;;) {
    let part;
    try { part = await reader.read(); } catch (error) { if (error.name === 'AbortError') throw error; throw new Unreachable(); }
    if (part.done) break;
    const all = (rest + part.value).split('\n\n');
    rest = all.pop();
    for (const event of all) {
      if (event.startsWith(': ')) { if (place) place(parseInt(event.slice(2), 10)); continue; }
      const data = event.replace(/^data: /, '');
      if (data === '[DONE]') { whole = true; continue; }
      const value = JSON.parse(data);
      if (value.error) throw new Fault(0, value.error);
      heard(value);
    }
  }
  if (!whole) throw new Unreachable();
}

// What is known of features, remembered: lines of the server's lists by dictionary and number.
const lines = new Map();
const key = (dictionary, feature) => `${dictionary}#${feature}`;
export function learn(dictionary, all) { for (const one of all) lines.set(key(dictionary, one.feature), one); }
export const known = (dictionary, feature) => lines.get(key(dictionary, feature)) || null;

// The same, asked for where it is not known; null where nothing is.
export async function line(dictionary, feature) {
  const found = known(dictionary, feature);
  if (found) return found;
  try {
    const { feature: one } = await post('/api/v1/feature', { dictionary, feature });
    const first = one.labels[0];
    const told = { feature, label: first ? first.text : null, label_score: null, density: one.density, max_activation: one.max };
    lines.set(key(dictionary, feature), told);
    return told;
  } catch { return null; }
}
