// The frame: which page is shown, what keys do, and what to say when the server is away or wants a token.
import { address, href, go } from './address.js';
import { Unreachable, get, keepToken, takeToken, whenItWaits, whenTokenIsWanted } from './ask.js';
import { button, el, empty, line, parts, sentence, wrong } from './draw.js';
import * as tray from './tray.js';
import { prompt } from './prompt.js';
import { feature } from './feature.js';
import { search } from './search.js';
import { steer } from './steer.js';
import { compare } from './compare.js';
import { dictionaries } from './dictionaries.js';
import { runs } from './runs.js';

const byId = (id) => document.getElementById(id);
const [main, news, said, tip, keys] = ['main', 'news', 'said', 'tip', 'keys'].map(byId);
const PAGES = { prompt, search, steer, compare, dictionaries, runs, feature };
const SHOWN = [['prompt', 'Prompt', 'p'], ['search', 'Search', '/'], ['steer', 'Steer', 's'], ['compare', 'Compare', 'c'], ['dictionaries', 'Dictionary', 'd'], ['runs', 'Runs', 'r']];

// What is served; the pages read it and change nothing of it.
const world = { model: '', context: 0, chat: false, dictionaries: [], tool: '' };
let open = null; // the page that is shown: its name, and what it does when it is left or its address changes

world.named = (name) => world.dictionaries.find((one) => one.name === name) || world.dictionaries[0] || null;
world.several = () => world.dictionaries.length > 1;
// A dictionary as addresses and interventions name it: not at all, where there is one.
world.tag = (name) => (world.several() ? name : null);
world.say = (text) => { said.textContent = text; };
world.pointing = parts.pointing(main, tip, () => (open && open.chart ? open.chart() : null));
tray.measuredBy((name) => { const one = world.named(name); return Boolean(one && one.described); });

function frame() {
  const { page, asked } = address();
  byId('pages').replaceChildren(...SHOWN.map(([name, text]) => {
    const count = name === 'steer' && tray.all().length > 0 ? el('b', { class: 'count', 'aria-label': `, ${tray.all().length} at hand` }, String(tray.all().length)) : null;
    const current = name === page || (name === 'search' && page === 'feature');
    return el('a', { href: href(name, { d: world.tag(asked.get('d')) }), 'aria-current': current ? 'page' : null }, text, count);
  }));
  byId('model').textContent = line(world.model);
  byId('model').title = line(world.model);
  byId('which-label').hidden = !world.several();
  const now = world.named(asked.get('d'));
  byId('which').replaceChildren(...world.dictionaries.map((one) => el('option', { value: one.name, selected: one === now }, line(one.name))));
}

async function follow() {
  const { page, rest, asked } = address();
  const shows = PAGES[page];
  frame();
  world.pointing.hush();
  if (!shows) {
    leave();
    document.title = 'Untangle';
    main.replaceChildren(el('h1', { class: 'away' }, 'Nothing here'), empty('There is no such page.', `The address asks for “${line(page)}”.`, el('p', {}, el('a', { href: '#/prompt' }, 'Begin with a prompt'))));
    return;
  }
  const place = { rest, asked, dictionary: world.named(asked.get('d')) };
  if (open && open.page === page && open.moved && open.moved(place)) return;
  leave();
  document.title = `${shows.title} · ${line(world.model)}`;
  window.scrollTo(0, 0);
  const mine = { page };
  open = mine;
  main.replaceChildren();
  main.className = `page-${page}`;
  try {
    Object.assign(mine, await shows.open(main, place, world) || {});
    if (open !== mine && mine.close) mine.close();
  } catch (error) {
    if (open === mine) { main.replaceChildren(wrong(error)); if (error instanceof Unreachable) away(); }
  }
}

function leave() {
  if (open && open.close) open.close();
  open = null;
}

// The server is away: it is asked until it is back, and the page is then made anew.
let waits = false;
async function away() {
  if (waits) return;
  waits = true;
  news.hidden = false;
  news.textContent = new Unreachable().message;
  for (;;) {
    await new Promise((done) => setTimeout(done, 1500));
    try { await load(); break; } catch (error) { if (!(error instanceof Unreachable)) break; }
  }
  waits = false;
  news.hidden = true;
  follow();
}
window.addEventListener('unhandledrejection', (event) => {
  if (event.reason instanceof Unreachable) { event.preventDefault(); away(); }
});
world.away = away;

async function load() {
  const [list, models] = await Promise.all([get('/api/v1/dictionaries'), get('/v1/models')]);
  const card = models.data[0];
  Object.assign(world, { model: list.model, dictionaries: list.dictionaries, tool: list.tool_version, origin: list.origin, context: card.context_length, chat: card.chat, vectors: card.vectors });
  tray.begin(list.tray);
}

// The token, asked for once.
let asking = null;
whenTokenIsWanted((wasWrong) => {
  asking = asking || new Promise((done) => {
    const dialog = byId('asks');
    const input = el('input', { id: 'token', type: 'password', autocomplete: 'off', required: true, 'aria-describedby': 'why' });
    const form = el('form', { method: 'dialog' }, el('h2', {}, 'This server asks for a token'),
      el('p', { id: 'why' }, wasWrong ? 'That was not it. ' : '', 'Whoever started the server has it: the content of the file behind --token-file. It is kept for this tab alone.'),
      el('label', { class: 'field', for: 'token' }, el('span', {}, 'Token'), input), el('p', {}, el('button', { class: 'main' }, 'go on')));
    form.addEventListener('submit', () => { keepToken(input.value.trim()); asking = null; done(); });
    dialog.replaceChildren(form);
    dialog.addEventListener('cancel', (event) => event.preventDefault());
    dialog.showModal();
  });
  return asking;
});
whenItWaits((message) => world.say(sentence(message)));

// Keys.
const KEYS = [['p', 'a prompt'], ['/', 'search'], ['s', 'steer'], ['c', 'compare'], ['d', 'the dictionary'], ['r', 'trainings'], ['Ctrl Enter', 'read, or write'],
  ['j  k', 'the next feature, the one before'], ['a', 'take the feature into the tray, or out'], ['←  →', 'through tokens or bins'], ['?', 'this']];
const WORDS = [['feature', 'A direction that the dictionary found in the model’s activations. Most fire rarely, on something that can be said in a few words.'],
  ['fires', 'Its activation is above zero on a token. Shading says how strongly, as a part of the strongest that was seen.'],
  ['loss', 'How surprised the model is by a token, in nats; 0 is not at all.'],
  ['missed', 'The part of the activation that the dictionary does not explain.'],
  ['F1', 'How well “it fires exactly where the label says” holds on text that the labeller never saw: 1 is always, 0 never.'],
  ['2x', 'Twice the largest activation of the feature that was seen.']];
const pairs = (all, tag) => all.flatMap(([word, means]) => [el('dt', {}, tag ? el('kbd', {}, word) : word), el('dd', {}, means)]);
keys.append(el('h2', {}, 'Keys'), el('dl', { class: 'keys' }, ...pairs(KEYS, true)), el('h2', {}, 'Words'), el('dl', { class: 'words' }, ...pairs(WORDS, false)),
  el('form', { method: 'dialog' }, el('button', {}, 'close')));
keys.addEventListener('click', (event) => { if (event.target === keys) keys.close(); });
byId('help').addEventListener('click', () => keys.showModal());

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]')) return;
  if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) { if (event.key === 'Escape') event.target.blur(); return; }
  if (open && open.key && open.key(event.key)) { event.preventDefault(); return; }
  const page = SHOWN.find(([, , key]) => key === event.key);
  if (event.key === '?') { event.preventDefault(); keys.showModal(); }
  else if (page) {
    event.preventDefault();
    if (address().page === page[0]) { const first = main.querySelector('input[type=search], textarea'); if (first) first.focus(); }
    else go(page[0], { d: world.tag(address().asked.get('d')) });
  }
});

byId('which').addEventListener('change', (event) => {
  const { page, asked } = address();
  const kept = Object.fromEntries([...asked.keys()].map((name) => [name, asked.getAll(name)]));
  go(page === 'feature' ? 'search' : page, { ...kept, d: event.target.value });
});
tray.whenChanged(frame);
window.addEventListener('hashchange', () => { takeToken(); follow(); });

takeToken();
load().then(follow, (error) => {
  if (error instanceof Unreachable) { away(); return; }
  main.replaceChildren(wrong(error), el('p', {}, button('try again', () => location.reload())));
});
