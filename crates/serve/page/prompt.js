// A prompt: what fires on which of its tokens, how surprised the model is, and what the dictionary misses.
import { href, keep } from './address.js';
import { Unreachable, known, learn, post } from './ask.js';
import { area, bar, button, card, el, empty, field, gaveUp, latest, later, line, nats, number, often, percent, select, shade, shown, strip, wrong } from './draw.js';
import * as tray from './tray.js';

const BY = [['strength', 'strongest first'], ['share', 'by share of its largest'], ['rarity', 'rarest first'], ['tokens', 'on most tokens']];
const SHADES = [['loss', 'loss'], ['features', 'features'], ['cost', 'cost of reconstruction'], ['missing', 'missed']];
const SHOWN = 40; // features that are listed at first
const DENSE = 0.1;

export const prompt = { title: 'Prompt', open };

async function open(main, place, world) {
  const { asked, dictionary } = place;
  if (!dictionary) { main.append(noDictionary()); return {}; }
  const state = {
    text: asked.get('text') || '', by: asked.get('by') || 'strength', shading: asked.get('shade') || 'loss', dense: asked.get('dense') === '1',
    chosen: new Set((asked.get('at') || '').split(',').filter(Boolean).map(Number)), more: SHOWN,
  };
  const tell = () => keep('prompt', { d: world.tag(dictionary.name), text: state.text, by: state.by === 'strength' ? '' : state.by,
    shade: state.shading === 'loss' ? '' : state.shading, dense: state.dense, at: [...state.chosen].sort((a, b) => a - b).join(',') });
  const asks = latest();
  let reading = null; // the newest answer
  let lit = null; // the feature whose activations shade the tokens
  const out = el('div', { class: 'out' });
  const box = area('text', 'Prompt', state.text, (text) => { state.text = text; state.chosen.clear(); tell(); soon(); }, { placeholder: 'Type or paste a text', autofocus: true });
  const form = el('form', { class: 'ask' }, box, el('div', { class: 'row' }, el('button', { class: 'main' }, 'Read'),
    el('span', { class: 'soft', id: 'about-text' }, `read with ${line(dictionary.name)}${dictionary.hook ? ' at ' + line(dictionary.hook) : ''}`)));
  form.addEventListener('submit', (event) => { event.preventDefault(); read(); });
  box.addEventListener('keydown', (event) => { if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) { event.preventDefault(); read(); } });
  main.append(el('h1', { class: 'away' }, 'Prompt'), form, out);
  const soon = later(250, read);

  // Features first, which come quickly; then the same with losses.
  async function read() {
    if (state.text.trim() === '') { reading = null; asks.stop(); beginnings(); return; }
    const signal = asks.begin();
    const question = { dictionary: dictionary.name, prompt: state.text };
    out.setAttribute('aria-busy', 'true');
    try {
      for (const losses of [false, true]) {
        const answer = await post('/api/v1/read', { ...question, losses }, signal);
        learn(dictionary.name, answer.features);
        reading = prepared(answer, losses);
        state.chosen = new Set([...state.chosen].filter((at) => at < answer.tokens.length));
        draw();
      }
      world.say(`${reading.tokens.length} tokens, ${reading.features.length} features fire.`);
    } catch (error) {
      if (gaveUp(error)) return;
      out.replaceChildren(wrong(error));
      if (error instanceof Unreachable) world.away();
    }
    out.removeAttribute('aria-busy');
  }

  function prepared(answer, whole) {
    const features = new Map();
    answer.tokens.forEach((token, at) => token.features.forEach(({ feature, activation }) => {
      const found = features.get(feature) || { feature, values: new Array(answer.tokens.length).fill(0), most: 0, at };
      found.values[at] = activation;
      if (Math.abs(activation) > Math.abs(found.most)) { found.most = activation; found.at = at; }
      features.set(feature, found);
    }));
    return { ...answer, whole, features: [...features.values()] };
  }

  const largest = (feature) => { const told = known(dictionary.name, feature); return told && told.max_activation > 0 ? told.max_activation : 0; };

  function draw() {
    const tokens = el('div', { class: 'tokens', role: 'group', 'aria-label': 'Tokens; choose some to see what fires there', dir: 'auto' });
    reading.tokens.forEach((token, at) => tokens.append(...tokenButton(token, at)));
    const list = el('div', { class: 'list' });
    const beside = el('div', { class: 'beside' });
    out.replaceChildren(
      card('Tokens', el('div', { class: 'row spread' }, summary(), shading()), tokens, el('p', { class: 'row spread soft small' }, el('span', {}, 'Choose tokens to see what fires on them; with Shift a stretch.'), el('a', { href: href('steer', { d: world.tag(dictionary.name), prompt: state.text }) }, 'have the model go on with this text ›'))),
      el('div', { class: 'two' }, list, beside));
    drawList(list);
    drawBeside(beside);
    paint();
  }

  function summary() {
    const { mean_loss: loss, mean_spliced_loss: spliced, missing, tokens, whole } = reading;
    const one = (value, text, why) => el('span', { class: 'figure', title: why }, el('b', {}, value), ' ' + text);
    return el('p', { class: 'figures' }, one(String(tokens.length), tokens.length === 1 ? 'token' : 'tokens', ''),
      loss === null ? (whole ? null : el('span', { class: 'soft' }, 'losses follow …')) : one(nats(loss), 'nats a token', 'How surprised the model is, on the mean'),
      spliced === null || loss === null ? null : one((spliced >= loss ? '+' : '−') + nats(Math.abs(spliced - loss)), 'when reconstructed', 'What the model loses more with the dictionary’s reconstruction in the activation’s place'),
      missing === null ? null : one(percent(missing), 'missed', 'The part of the activation’s squared length that the dictionary does not explain'));
  }

  function shading() {
    return field('Shade by', select('shade', SHADES, state.shading, (value) => { state.shading = value; tell(); paint(); }), 'inline');
  }

  function tokenButton(token, at) {
    const text = shown(token.text);
    const blank = text.length - text.trimStart().length;
    const node = el('button', { type: 'button', class: 'tok' + (token.special ? ' special' : ''), 'aria-pressed': String(state.chosen.has(at)), 'data-at': at }, text.slice(blank));
    node.setAttribute('aria-label', spoken(token));
    node.addEventListener('click', (event) => choose(at, event.shiftKey));
    node.addEventListener('keydown', (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const next = step && out.querySelector(`.tok[data-at="${at + step}"]`);
      if (next) { event.preventDefault(); next.focus(); }
    });
    node.addEventListener('pointerenter', () => drawBeside(out.querySelector('.beside'), at));
    node.addEventListener('focus', () => drawBeside(out.querySelector('.beside'), at));
    return [blank > 0 && at > 0 ? ' ' : '', node, token.text.includes('\n') ? el('br') : ''];
  }

  function spoken(token) {
    const loss = token.loss === null ? '' : `, loss ${nats(token.loss)}`;
    return `${line(token.text).trim() || 'blank'}${token.special ? ', special, left alone' : ''}${loss}, ${token.features.length} features`;
  }

  let from = null; // where a stretch begins
  function choose(at, stretch) {
    if (stretch && from !== null) {
      for (let i = Math.min(from, at); i <= Math.max(from, at); i += 1) state.chosen.add(i);
    } else {
      if (state.chosen.has(at)) state.chosen.delete(at); else state.chosen.add(at);
      from = at;
    }
    state.more = SHOWN;
    tell();
    for (const node of out.querySelectorAll('.tok')) node.setAttribute('aria-pressed', String(state.chosen.has(Number(node.dataset.at))));
    drawList(out.querySelector('.list'));
    drawBeside(out.querySelector('.beside'));
  }

  // How strongly each token is shaded, and why.
  function paint() {
    const values = reading.tokens.map((token, at) => {
      if (lit !== null) return lit.values[at];
      if (state.shading === 'loss') return token.loss || 0;
      if (state.shading === 'cost') return token.loss === null ? 0 : token.spliced_loss - token.loss;
      if (state.shading === 'missing') return token.missing || 0;
      const first = token.features.find(({ feature }) => state.dense || !isDense(feature));
      return first ? first.activation / (largest(first.feature) || first.activation) : 0;
    });
    // Of features something is always near its largest: what is told is where more fires than elsewhere in the text.
    const own = lit === null && state.shading === 'features' ? values.filter((value) => value > 0) : [];
    const least = own.length > 0 ? 0.8 * Math.min(...own) : 0;
    const most = lit !== null ? largest(lit.feature) || lit.most : Math.max(...values.map(Math.abs), 1e-9) - least;
    out.querySelectorAll('.tok').forEach((node, at) => {
      node.style.setProperty('--a', (values[at] === 0 ? 0 : shade(values[at] - least, most)).toFixed(3));
      node.classList.toggle('less', values[at] < 0);
    });
  }

  const isDense = (feature) => { const told = known(dictionary.name, feature); return told !== null && told.density > DENSE; };

  function sorted() {
    const chosen = state.chosen;
    let all = reading.features.filter(({ feature }) => state.dense || !isDense(feature));
    if (chosen.size > 0) all = all.filter((one) => [...chosen].some((at) => one.values[at] !== 0));
    const peak = (one) => (chosen.size === 0 ? Math.abs(one.most) : Math.max(...[...chosen].map((at) => Math.abs(one.values[at]))));
    const density = (one) => { const told = known(dictionary.name, one.feature); return told ? told.density : 1; };
    const by = {
      strength: (one) => -peak(one), share: (one) => -peak(one) / (largest(one.feature) || Infinity), rarity: density,
      tokens: (one) => -one.values.filter((value) => value !== 0).length,
    }[state.by] || ((one) => -peak(one));
    return all.map((one) => ({ one, peak: peak(one), rank: by(one) })).sort((a, b) => a.rank - b.rank || a.one.feature - b.one.feature);
  }

  function drawList(list) {
    const all = sorted();
    const where = state.chosen.size === 0 ? 'in the text' : state.chosen.size === 1 ? `on “${shown(reading.tokens[[...state.chosen][0]].text).trim()}”` : `on ${state.chosen.size} tokens`;
    const top = Math.max(...all.map(({ peak }) => peak), 1e-9);
    const hide = el('input', { type: 'checkbox', id: 'dense', checked: !state.dense });
    hide.addEventListener('change', () => { state.dense = !hide.checked; tell(); drawList(list); paint(); });
    const rows = all.slice(0, state.more).map(({ one, peak }) => row(one, peak, top));
    const more = all.length - state.more;
    const head = el('div', { class: 'row spread' }, el('p', { class: 'soft' }, `${all.length.toLocaleString('en')} ${all.length === 1 ? 'feature fires' : 'features fire'} ${where}`),
      el('div', { class: 'row' }, dictionary.described ? el('label', { class: 'check' }, hide, ' leave out those on over 10 %') : null,
        field('Order', select('by', BY, state.by, (value) => { state.by = value; tell(); drawList(list); }), 'inline')));
    list.replaceChildren(card('What fires', head,
      all.length === 0 ? empty('Nothing fires here.', state.chosen.size > 0 ? 'Choose other tokens, or none.' : 'The dictionary is silent on this text.') : el('ol', { class: 'fires' }, ...rows),
      more > 0 ? button(`show ${Math.min(more, 100)} more`, () => { state.more += 100; drawList(list); }) : null));
  }

  function row(one, peak, top) {
    const told = known(dictionary.name, one.feature);
    const most = largest(one.feature);
    const link = el('a', { href: href(`feature/${one.feature}`, { d: world.tag(dictionary.name) }), dir: 'auto' }, el('b', {}, String(one.feature)), ' ', told && told.label ? line(told.label) : el('i', {}, 'no label'));
    const node = el('li', {}, el('span', { class: 'value', title: most ? `${percent(peak / most)} of its largest` : '' }, number(peak)), bar(peak / (most || top), 'fire'),
      el('div', { class: 'name' }, link, el('span', { class: 'soft small' }, `at “${shown(reading.tokens[one.at].text).trim()}”`, told ? ` · ${often(told.density)}` : '')),
      strip(one.values, most || Math.abs(one.most)), toTray(world, dictionary, one.feature));
    const light = (on) => { lit = on ? one : null; paint(); };
    node.addEventListener('pointerenter', () => light(true));
    node.addEventListener('pointerleave', () => light(false));
    node.addEventListener('focusin', () => light(true));
    node.addEventListener('focusout', () => light(false));
    return node;
  }

  // What is known of one token: the one that is pointed at, the one that is chosen, or the last.
  function drawBeside(node, pointed) {
    if (!node) return;
    const at = pointed ?? (state.chosen.size > 0 ? [...state.chosen].at(-1) : reading.tokens.length - 1);
    const token = reading.tokens[at];
    const fact = (name, value) => el('div', {}, el('dt', {}, name), el('dd', {}, value));
    const next = token.next.map(({ token: text, probability }) => el('li', {}, el('code', { dir: 'auto' }, `"${line(text)}"`), bar(probability, 'calm'), el('span', { class: 'value' }, percent(probability))));
    node.replaceChildren(card('Token', el('p', { class: 'tokname', dir: 'auto' }, el('code', {}, `"${line(token.text)}"`), el('span', { class: 'soft' }, ` ${at + 1} of ${reading.tokens.length}`)),
      token.special ? el('p', { class: 'soft' }, 'A special token: it is left alone, and nothing is read from it.') : null,
      el('dl', { class: 'facts' }, fact('Loss', nats(token.loss)),
        fact('Reconstructed', token.loss === null || token.spliced_loss === null ? '–' : (token.spliced_loss >= token.loss ? '+' : '−') + nats(Math.abs(token.spliced_loss - token.loss))),
        fact('Missed', token.missing === null ? '–' : percent(token.missing)), fact('Features', String(token.features.length))),
      next.length === 0 ? null : el('h3', {}, 'What the model expects next'), next.length === 0 ? null : el('ol', { class: 'next' }, ...next)));
  }

  // Nothing is typed: texts to begin with, in which features that are understood well fire.
  async function beginnings() {
    const box = el('div', { class: 'chips' });
    out.replaceChildren(empty('Which features fire in a text?', 'Type one above. Below it stand the features that fire on its tokens, and how surprised the model is by each; point at a feature, and the tokens on which it fires light up. Or begin with a text in which one is at its strongest:', box));
    if (!dictionary.described) { box.replaceChildren(el('p', { class: 'soft' }, 'This dictionary has no database of features yet, so that they have numbers and no labels: make one with untangle features, and start the server with --features.')); return; }
    const signal = asks.begin();
    try {
      // What whole passages are about says more than what single words are.
      const { features: passages } = await post('/api/v1/search', { dictionary: dictionary.name, text: 'in passages', sort: 'score', limit: 4, max_density: DENSE }, signal);
      const { best } = await post('/api/v1/overview', { dictionary: dictionary.name }, signal);
      const all = [...passages.filter(({ label }) => label && label.startsWith('in passages')), ...best];
      for (const { feature, label } of all.slice(0, 8)) {
        const { feature: one, tokens } = await post('/api/v1/feature', { dictionary: dictionary.name, feature }, signal);
        if (one.top.length === 0) continue;
        const text = around(one.top[0], tokens);
        box.append(button('', () => { state.text = text; box.closest('main').querySelector('#text').put(text); tell(); read(); }, { class: 'chip' }));
        box.lastChild.append(el('span', { class: 'soft small' }, line(label || `feature ${feature}`)), el('span', { dir: 'auto' }, line(text)));
      }
    } catch (error) { if (!gaveUp(error)) throw error; }
  }

  if (state.text.trim() === '') beginnings().catch((error) => out.append(wrong(error))); else read();
  const deaf = tray.whenChanged(() => { for (const node of out.querySelectorAll('.to-tray')) node.renew(); });
  return { close() { asks.stop(); deaf(); } };
}

// Some words around where an example fires most.
function around(example, tokens) {
  const from = Math.max(0, example.k - 12);
  return example.t.slice(from, example.k + 8).map((t) => tokens[t]).join('').replace(/\s+/g, ' ').replace(/^[^\p{L}\p{N}"“]+/u, '').trim();
}

export const noDictionary = () => el('div', {}, el('h1', { class: 'away' }, 'No dictionary'), empty('No dictionary is served.', 'Features are those of a sparse autoencoder. Start the server with one, and with what is known of its features:',
  el('pre', { tabindex: '0' }, el('code', {}, 'untangle serve MODEL --sae SAE --features FEATURES.db')),
  el('p', {}, 'Or run ', el('code', {}, 'untangle demo'), ' first, and then ', el('code', {}, 'untangle serve'), ' alone.')));

// A button that takes a feature into the tray, or out of it.
export function toTray(world, dictionary, feature, long = false) {
  const name = world.tag(dictionary.name);
  const node = button('', () => {
    if (tray.has(name, feature)) tray.remove(tray.all().find((item) => item.feature === feature && item.dictionary === name));
    else tray.add(name, feature);
    node.renew();
    world.say(tray.has(name, feature) ? `Feature ${feature} is in the tray.` : `Feature ${feature} is out of the tray.`);
  }, { class: 'to-tray' + (long ? ' main' : '') });
  node.renew = () => {
    const inside = tray.has(name, feature);
    node.textContent = long ? (inside ? 'in the tray ✓' : 'Steer with it') : inside ? '✓' : '+';
    node.setAttribute('aria-pressed', String(inside));
    if (!long) node.setAttribute('aria-label', inside ? `Take feature ${feature} out of the tray` : `Steer with feature ${feature}`);
    node.title = inside ? 'in the tray' : 'steer with it';
  };
  node.renew();
  return node;
}
