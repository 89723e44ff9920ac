// What the pages draw beside features: cards, states that teach, tokens on a line, small strips. Text becomes text nodes.

export const parts = window.untangle.parts;
export const { el, svg, line, number, percent, shade } = parts;

export const button = (text, does, more = {}) => {
  const node = el('button', { type: 'button', ...more }, text);
  node.addEventListener('click', does);
  return node;
};

export const card = (title, ...children) => {
  const id = 'c' + Math.random().toString(36).slice(2);
  return el('section', { class: 'card', 'aria-labelledby': id }, el('h2', { id }, title), ...children);
};

// A state in which there is nothing yet: what would be here, and what to do.
export const empty = (title, text, ...more) => el('div', { class: 'empty' }, el('p', { class: 'big' }, title), el('p', {}, text), ...more);

// What went wrong, where it would have been.
export const wrong = (error) => el('p', { class: 'wrong', role: 'alert' }, line(sentence(error.message)));
export const sentence = (text) => { const all = text.charAt(0).toUpperCase() + text.slice(1); return /[.!?]$/.test(all) ? all : all + '.'; };

export const field = (label, control, more) => el('label', { class: 'field' + (more ? ' ' + more : '') }, el('span', {}, label), control);

export const select = (id, options, value, changed, label) => {
  const node = el('select', { id, 'aria-label': label }, ...options.map(([name, text]) => el('option', { value: name, selected: name === value }, text)));
  node.addEventListener('change', () => changed(node.value));
  return node;
};

export const range = (attributes, moved) => {
  const node = el('input', { type: 'range', ...attributes });
  node.addEventListener('input', () => moved(Number(node.value)));
  return node;
};

// A text field that grows with its text.
export const area = (id, label, value, changed, more = {}) => {
  const node = el('textarea', { id, 'aria-label': label, rows: 2, spellcheck: 'false', dir: 'auto', ...more });
  node.value = value;
  const grow = () => { node.style.setProperty('height', 'auto'); node.style.setProperty('height', Math.min(node.scrollHeight + 2, 360) + 'px'); };
  node.addEventListener('input', () => { grow(); changed(node.value); });
  requestAnimationFrame(grow);
  node.put = (text) => { node.value = text; grow(); };
  return node;
};

// The newest call after a pause; those before are forgotten.
export const later = (ms, does) => {
  let timer = 0;
  return (...all) => { clearTimeout(timer); timer = setTimeout(() => does(...all), ms); };
};

// One question at a time: a new one has the one before it given up.
export const latest = () => {
  let running = null;
  return {
    begin() { if (running) running.abort(); running = new AbortController(); return running.signal; },
    stop() { if (running) running.abort(); running = null; },
  };
};

export const gaveUp = (error) => error.name === 'AbortError';

// A token as a line shows it: its blank before it, breaks as signs.
export const shown = (text) => { const all = line(text); return all === '' ? '∅' : all.trim() === '' ? all.replace(/ /g, '␣') : all; };

// Where in a text a feature fires: a bar for each token.
export function strip(values, most) {
  const n = values.length;
  return svg('svg', { class: 'strip', viewBox: `0 0 ${n} 10`, preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    ...values.map((value, at) => (value === 0 ? null : svg('rect', { x: at, y: 0, width: 1, height: 10, 'fill-opacity': shade(value, most).toFixed(2) }))));
}

export const bar = (part, kind = '') => {
  const node = el('span', { class: 'amount ' + kind, 'aria-hidden': 'true' });
  node.style.setProperty('--w', (100 * Math.min(1, Math.max(0, part))).toFixed(1) + '%');
  return node;
};

export const copied = async (text, node, done) => {
  try { await navigator.clipboard.writeText(text); node.textContent = done; } catch { node.textContent = 'copy it from the address bar'; }
};

export const nats = (value) => (value === null || value === undefined ? '–' : value.toFixed(2));

// How often a feature fires.
export const often = (density) => (density === 0 ? 'never fires' : density < 0.0001 ? 'on under 0.01 %' : `on ${percent(density)}`);
