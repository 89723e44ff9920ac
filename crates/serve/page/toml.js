// Recipes: files of `untangle steer --recipe`, in the part of TOML that they are made of. What only this page knows, such as the
// prompt, stands in comments that begin with #: and is passed over by the command line.

const KEYS = ['model', 'sae', 'features', 'steer', 'at', 'when', 'other_model'];
const LISTS = ['sae', 'features', 'steer'];
const OWN = ['prompt', 'max_tokens', 'temperature', 'seed', 'chat'];
const quoted = (text) => JSON.stringify(String(text)).replace(/\u007f/g, '\\u007F');
const value = (one) => (one === true ? 'true' : Array.isArray(one) ? (one.length < 2 ? `[${one.map(quoted).join(', ')}]` : `[\n${one.map((text) => `    ${quoted(text)},\n`).join('')}]`) : quoted(one));

// A recipe as a text; what is empty is left out, but for what is steered.
export function write(recipe, own) {
  const rows = KEYS.filter((key) => key === 'steer' || (recipe[key] && recipe[key].length !== 0)).map((key) => `${key} = ${value(recipe[key] || [])}`);
  return [...rows, ...OWN.filter((key) => own[key] !== undefined && own[key] !== '' && own[key] !== false).map((key) => `#: ${key} = ${JSON.stringify(own[key])}`)].join('\n') + '\n';
}

// The other way round; says what is wrong and in which line.
export function read(text) {
  const own = {};
  for (const found of text.matchAll(/^#:\s*([a-z_]+)\s*=\s*(.+)$/gm)) {
    if (OWN.includes(found[1])) try { own[found[1]] = JSON.parse(found[2]); } catch { throw new Error(`${found[1]} is no value: ${found[2]}`); }
  }
  const scan = scanner(text);
  const recipe = {};
  for (scan.blank(); !scan.end(); scan.blank()) {
    const key = scan.word();
    if (!KEYS.includes(key)) throw scan.wrong(key ? `there is no key ${key}; there are ${KEYS.join(', ')}` : 'a key and a value were expected, such as steer = ["12:add=2x"]');
    if (key in recipe) throw scan.wrong(`${key} stands there twice`);
    scan.take('=');
    recipe[key] = scan.value();
    const isList = LISTS.includes(key);
    const isBoolean = key === 'other_model';
    if (Array.isArray(recipe[key]) !== isList || (typeof recipe[key] === 'boolean') !== isBoolean) {
      throw scan.wrong(isList ? `${key} is a list, such as ["…"]` : isBoolean ? `${key} is true or false` : `${key} is one text`);
    }
  }
  if (!recipe.steer) throw new Error('this is no recipe: it has no steer = ["12:add=2x"]');
  return { recipe, own };
}

const ESCAPES = { b: '\b', t: '\t', n: '\n', f: '\f', r: '\r', e: '\u001b', '"': '"', '\\': '\\' };

function scanner(text) {
  let at = 0;
  const wrong = (says) => new Error(`line ${text.slice(0, at).split('\n').length}: ${says}`);
  const blank = () => { at += /^(?:\s|#[^\n]*)*/.exec(text.slice(at))[0].length; };
  const take = (sign) => { blank(); if (text[at] !== sign) throw wrong(`${sign} was expected`); at += 1; };
  const word = () => { const found = /^[A-Za-z_-]*/.exec(text.slice(at))[0]; at += found.length; return found; };
  function string() {
    blank();
    const quote = text[at];
    if (quote !== '"' && quote !== "'") throw wrong('a text in quotation marks was expected');
    let out = '';
    for (at += 1; text[at] !== quote; at += 1) {
      if (at >= text.length || text[at] === '\n') throw wrong('a quotation mark is missing');
      if (quote === "'" || text[at] !== '\\') { out += text[at]; continue; }
      at += 1;
      const long = /^(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))/.exec(text.slice(at));
      const point = long && parseInt(long[1] || long[2], 16);
      if (long && point <= 0x10ffff) { out += String.fromCodePoint(point); at += long[0].length - 1; } else if (text[at] in ESCAPES) out += ESCAPES[text[at]]; else throw wrong('there is no such escape');
    }
    at += 1;
    return out;
  }
  function list() {
    const all = [];
    take('[');
    for (;;) {
      blank();
      if (text[at] === ']') break;
      all.push(string());
      blank();
      if (text[at] === ',') at += 1; else if (text[at] !== ']') throw wrong('a comma or ] was expected');
    }
    at += 1;
    return all;
  }
  function value() {
    blank();
    const plain = /^(?:true|false)\b/.exec(text.slice(at));
    if (plain) { at += plain[0].length; return plain[0] === 'true'; }
    return text[at] === '[' ? list() : string();
  }
  return { wrong, blank, take, word, end: () => at >= text.length, value };
}
