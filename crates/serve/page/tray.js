// Interventions that are at hand: features, what is done to each, how strongly and where. They outlive a change of page, and
// stand in the address of the steering page in the words of the command line: 12:add=2x at generated.

const KEPT = 'untangle.tray';
const heard = new Set();

// What can be done to a feature: the word of the grammar, what people read, and what a slider goes over, in multiples of the
// feature's largest activation.
export const OPERATORS = {
  add: { name: 'add', says: 'add to it', low: -3, high: 3, step: 0.05, usual: 1 },
  set: { name: 'set', says: 'set it to', low: 0, high: 3, step: 0.05, usual: 1 },
  min: { name: 'at least', says: 'have it be at least', low: 0, high: 3, step: 0.05, usual: 1 },
  max: { name: 'at most', says: 'have it be at most', low: 0, high: 2, step: 0.05, usual: 0.25 },
  mul: { name: 'multiply', says: 'multiply it by', low: 0, high: 8, step: 0.1, usual: 2, factor: true },
  'add-direction': { name: 'along', says: 'go along its direction by', low: -1, high: 1, step: 0.02, usual: 0.3, unit: 'n' },
  ablate: { name: 'take out', says: 'take it out', none: true },
};
export const PLACES = [['', 'every token'], ['generated', 'what is written'], ['prompt', 'the prompt'], ['prompt[-1]', 'its last token']];

let items = [];
try { items = JSON.parse(sessionStorage.getItem(KEPT) || '[]').map(read).filter(Boolean); } catch { items = []; }

export const all = () => items;
export const whenChanged = (tell) => { heard.add(tell); return () => heard.delete(tell); };

function changed() {
  sessionStorage.setItem(KEPT, JSON.stringify(items.map(words)));
  heard.forEach((tell) => tell());
}

export const has = (dictionary, feature) => items.some((item) => item.feature === feature && item.dictionary === dictionary);

export function add(dictionary, feature, operator = 'add', amount = OPERATORS[operator].usual) {
  items = [...items, { dictionary, feature, operator, amount, at: '', when: '', on: true }];
  changed();
}

export function change(item, to) { Object.assign(item, to); changed(); }
export function remove(item) { items = items.filter((one) => one !== item); changed(); }
export function clear() { items = []; changed(); }
export function put(all) { items = all.map(read).filter(Boolean); changed(); }

// What the server was started with stands in the tray of a tab that is new.
export function begin(all) {
  if (sessionStorage.getItem(KEPT) === null && all.length > 0) put(all);
}

// Whether strengths are multiples of largest activations: without a database nobody knows these.
let inMultiples = () => true;
export function measuredBy(known) { inMultiples = known; }

// In quotation marks only where it needs them, as the server writes it.
const name = (dictionary) => (dictionary ? (/^[A-Za-z0-9_.-]+$/.test(dictionary) ? `${dictionary}#` : `'${dictionary.replace(/'/g, "''")}'#`) : '');

export function unit(item) {
  const { factor, unit: own, none } = OPERATORS[item.operator];
  return none || factor ? '' : own || (inMultiples(item.dictionary) ? 'x' : '');
}

// An intervention in the words of the command line; one that is switched off has a ! before it, which the server never sees.
export function words(item) {
  const { none } = OPERATORS[item.operator];
  const amount = none ? '' : `=${Number(item.amount.toFixed(4))}${item.plain ? '' : unit(item)}`;
  return `${item.on ? '' : '!'}${name(item.dictionary)}${item.feature}:${item.operator}${amount}${item.at ? ' at ' + item.at : ''}${item.when ? ' when ' + item.when : ''}`;
}

export const steering = () => items.filter((item) => item.on).map((item) => words(item));

// The other way round; null where a text is none that the tray can show.
export function read(text) {
  const found = /^(!?)(?:(?:'((?:[^']|'')*)'|([A-Za-z0-9_.-]+))#)?(\d+):([a-z-]+)(?:=(-?[\d.]+(?:e[-+]?\d+)?)([xn]?))?(?: at (.+?))?(?: when (.+))?$/.exec(String(text).trim());
  if (!found) return null;
  const [, off, quoted, plain, feature, operator, amount, measure, at, when] = found;
  const known = OPERATORS[operator];
  if (!known || (!known.none && amount === undefined)) return null;
  return {
    dictionary: quoted !== undefined ? quoted.replace(/''/g, "'") : plain ?? null, feature: Number(feature), operator,
    amount: known.none ? 0 : Number(amount), plain: !known.none && !known.factor && measure === '', at: at || '', when: when || '', on: off === '',
  };
}
