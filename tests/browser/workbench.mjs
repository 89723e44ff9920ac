// Uses the workbench as a reader does: workbench.mjs CHROMIUM UNTANGLE FOLDER SHOTS, with sae, plain.db and nasty.db in the folder.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const { chromium } = await import(pathToFileURL(process.env.PLAYWRIGHT_CORE).href);
const axe = fs.readFileSync(process.env.AXE_CORE, 'utf8');
const [executablePath, untangle, folder, shots] = process.argv.slice(2);
// The sandbox of a browser does not start for root.
const browser = await chromium.launch({ executablePath, args: process.getuid() === 0 ? ['--no-sandbox'] : [] });
const WIDE = { viewport: { width: 1280, height: 900 } };
const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };
const PROMPT = 'One day, Anna and Ben went out together. Above the bay the red bridge gleamed in the fog.';
const BEGINNING = 'One day, Anna and Ben went out together.';
const TOKEN = 'a-secret-of-many-letters';
const q = encodeURIComponent;
let [passed, failed] = [0, 0];

async function test(name, work) {
  try {
    await work();
    passed += 1;
    console.log(`ok      ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  ${name}\n${error.stack}`);
  }
}

// A server of these words; `url` is what it prints.
async function serve(words, port = 0, env = {}) {
  const child = spawn(untangle, ['--quiet', 'serve', ...words, '--port', String(port)], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
  let said = '';
  child.stderr.on('data', (text) => { said += text; });
  const url = await new Promise((done, fail) => {
    let line = '';
    child.stdout.on('data', (text) => { line += text; if (line.includes('\n')) done(line.trim()); });
    child.on('exit', () => fail(new Error(`no server: ${said}`)));
  });
  const end = () => new Promise((done) => { child.removeAllListeners('exit'); child.on('exit', done); child.kill('SIGTERM'); });
  return { url, end };
}

// Opens a page; what it asks other hosts for, and what goes wrong in it, ends up in `page.faults`.
async function open(server, hash = '', more = WIDE) {
  const context = await browser.newContext({ colorScheme: 'light', ...more });
  const page = await context.newPage();
  page.faults = [];
  page.bytes = 0;
  page.on('request', (request) => { if (!request.url().startsWith(server.url + '/')) page.faults.push(`asks for ${request.url()}`); });
  page.on('response', async (response) => {
    const isPage = /^\/(assets\/.*)?$/.test(new URL(response.url()).pathname);
    // A page that is left takes its answers along.
    const body = isPage ? await response.body().catch(() => '') : '';
    page.bytes += body.length;
  });
  page.on('pageerror', (error) => page.faults.push(error.stack));
  page.on('console', (message) => { if (['error', 'warning'].includes(message.type())) page.faults.push(message.text()); });
  page.on('dialog', (dialog) => { page.faults.push(`dialog ${dialog.message()}`); dialog.dismiss(); });
  await page.goto(`${server.url}/${hash}`);
  return page;
}

async function close(page) {
  assert.deepEqual(page.faults, []);
  await page.context().close();
}

// What axe finds fault with. The page lets no strange script in, so that axe comes by the inspector and not by the page.
async function accessible(page) {
  await page.evaluate(axe);
  const found = await page.evaluate(() => axe.run(document, { resultTypes: ['violations'] }));
  return found.violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.target.join(' ')).slice(0, 3).join(', ')}`);
}

const written = (page) => page.waitForFunction(() => /Written|are the same/.test(document.querySelector('.written > [role=status]')?.textContent ?? ''));
const stories = (page) => page.$$eval('.story', (all) => all.map((one) => one.textContent));
const numbers = (page, list) => page.$$eval(`${list} a b`, (all) => all.map((one) => Number(one.textContent)));

const dictionary = ['--sae', 'sae', '--features', 'plain.db'];
const plain = await serve(['organism', ...dictionary, '--runs', 'runs']);

const PAGES = [
  ['begin', '#/prompt', '.chip'], ['prompt', `#/prompt?text=${q(PROMPT)}`, '.next li'], ['tokens', `#/prompt?text=${q(PROMPT)}&at=3,4&shade=loss`, '.next li'],
  ['feature', `#/feature/7?test=${q(PROMPT)}`, '.tested .example'], ['search', '#/search?q=b', '.lines li'], ['nothing-found', '#/search?q=zzzz', '.out .empty'],
  ['steer', `#/steer?prompt=${q(BEGINNING)}&s=7%3Aadd%3D2x&n=30`, '.story mark'], ['empty-tray', '#/steer', '.tray .empty'],
  ['compare', `#/compare?a=${q('The red bridge shone.')}&b=${q('The cow ate grass.')}`, '.differences li:nth-child(4)'], ['dictionary', '#/dictionaries', '.best li'], ['quality', '#/dictionaries', '.dot'], ['runs', '#/runs', '.run-line'], ['run-hidden', '#/runs?hide=frozen', '.run-line'],
  ['no-such-page', '#/elsewhere', '.empty'], ['no-such-feature', '#/feature/99999', '.empty'],
];
for (const [kind, more] of [['light', WIDE], ['dark', { ...WIDE, colorScheme: 'dark' }], ['phone', PHONE]]) {
  await test(`every page, ${kind}: nothing goes wrong, axe finds nothing, nothing is too wide`, async () => {
    for (const [name, hash, ready] of PAGES) {
      const page = await open(plain, hash, more);
      await page.waitForSelector(ready);
      if (name === 'steer') await written(page);
      assert.deepEqual(await accessible(page), [], name);
      const wide = await page.$$eval('body *', (all) => all.filter((one) => one.getClientRects().length > 0 && one.getBoundingClientRect().right > window.innerWidth + 1 && !one.closest('pre, svg, .scrolls, .away, .skip')).map((one) => `${one.tagName}.${one.className}`));
      assert.deepEqual(wide, [], name);
      await page.screenshot({ path: path.join(shots, `workbench-${name}-${kind}.png`), fullPage: kind === 'phone' });
      await close(page);
    }
  });
}

await test('the page is under 300 KiB and is there at once', async () => {
  const page = await open(plain, '#/prompt');
  await page.waitForSelector('.chip');
  const { paint, all } = await page.evaluate(() => ({ paint: performance.getEntriesByName('first-contentful-paint')[0].startTime, all: performance.now() }));
  assert.ok(page.bytes > 50_000 && page.bytes < 300 * 1024, `${page.bytes} bytes`);
  console.log(`        ${page.bytes} bytes, first paint ${paint.toFixed(0)} ms, beginnings ${all.toFixed(0)} ms`);
  await close(page);
});

await test('a whole journey: a prompt, a feature, a steered text, its address in another window', async () => {
  const page = await open(plain, '');
  await page.waitForSelector('.chip');
  await page.fill('#text', PROMPT);
  await page.press('#text', 'Control+Enter');
  await page.waitForSelector('.next li');
  const all = await numbers(page, '.fires');
  const tokens = await page.$$eval('.tok', (all) => all.map((one) => one.textContent));
  await page.click(`.tok[data-at="${tokens.findIndex((one) => one === 'bridge' || one.startsWith('bri'))}"]`);
  await page.waitForFunction((n) => document.querySelectorAll('.fires li').length < n, all.length);
  const [first] = await numbers(page, '.fires');
  assert.ok(all.includes(first));
  assert.match(page.url(), /at=\d+/);
  await page.click('.fires li:first-child a');
  await page.waitForSelector('.of-top');
  assert.ok((await page.title()).startsWith(`${first} `));
  await page.mouse.move(0, 0);
  await page.fill('#test', PROMPT);
  await page.waitForFunction(() => /fires most on/.test(document.querySelector('.tested').textContent));
  assert.equal(await page.getAttribute('.mark', 'visibility'), 'visible', 'its place in the histogram');
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press('a');
  assert.equal(await page.textContent('#pages .count'), '1');
  await page.keyboard.press('s');
  await page.waitForSelector('.tray .controls');
  await page.selectOption('.controls select >> nth=0', 'set');
  await page.fill('.amount-in', '1.5');
  await page.press('.amount-in', 'Tab');
  await page.fill('#prompt', BEGINNING);
  await page.fill('#tokens', '40');
  await page.press('#prompt', 'Control+Enter');
  await written(page);
  const [plainly, turned] = await stories(page);
  assert.ok(plainly !== turned && plainly.startsWith(BEGINNING) && turned.startsWith(BEGINNING));
  assert.ok(page.url().includes(q(`${first}:set=1.5x`)), page.url());
  const shared = page.url().slice(plain.url.length + 1);
  await close(page);
  const other = await open(plain, shared);
  await written(other);
  assert.deepEqual(await stories(other), [plainly, turned], 'the seed is in the address');
  await other.reload();
  await written(other);
  assert.deepEqual(await stories(other), [plainly, turned]);
  await close(other);
});

await test('features are searched by words and by number, with keys alone', async () => {
  const page = await open(plain, '#/search');
  await page.waitForSelector('.lines li');
  await page.keyboard.press('Escape');
  await page.keyboard.press('/');
  await page.keyboard.type('bridge');
  await page.waitForFunction(() => document.querySelector('.card h2').textContent.includes('bridge'));
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('j');
  const second = Number(await page.textContent('.lines li:nth-child(2) .value'));
  await page.keyboard.press('Enter');
  await page.waitForFunction((id) => document.title.startsWith(`${id} `), second);
  await page.keyboard.press('j');
  await page.waitForFunction((id) => document.title.startsWith(`${id} `), second + 1);
  await page.goBack();
  await page.goBack();
  await page.waitForSelector('.lines li');
  assert.equal(await page.inputValue('#find'), 'bridge');
  await page.fill('#find', '9');
  await page.press('#find', 'Enter');
  await page.waitForFunction(() => document.title.startsWith('9 '));
  await page.keyboard.press('?');
  assert.ok(await page.isVisible('#keys'));
  await page.keyboard.press('Escape');
  await close(page);
});

await test('a feature is found that makes it talk about something, and taken', async () => {
  const page = await open(plain, `#/steer?prompt=${q(BEGINNING)}`);
  await page.fill('#concept', 'bridge');
  await page.press('#concept', 'Enter');
  await page.waitForSelector('.best-of', { timeout: 120_000 });
  assert.match(await page.textContent('.tried li:first-child'), /the model by itself/);
  await page.click('text=take it');
  await written(page);
  assert.equal(await page.locator('.tray .controls').count(), 1);
  await page.fill('#concept', 'qqqqq');
  await page.press('#concept', 'Enter');
  await page.waitForSelector('.wrong');
  assert.match(await page.textContent('.wrong'), /no feature has words/i);
  // What is refused is told where the page asks, and in the console by the browser itself.
  assert.ok(page.faults.every((fault) => fault.includes('404')), `${page.faults}`);
  await page.context().close();
});

await test('a recipe is written and read again; one of something else is not', async () => {
  const page = await open(plain, `#/steer?prompt=${q(BEGINNING)}&s=7%3Aadd%3D2x%20at%20generated&s=!9%3Aablate&seed=5&n=20`);
  await written(page);
  await page.click('summary >> text=Recipe');
  const recipe = await page.inputValue('#recipe');
  assert.ok(recipe.includes('#: seed = 5\n') && recipe.includes(`#: prompt = ${JSON.stringify(BEGINNING)}`), recipe);
  // What the page writes, the command line reads, with nothing added but a prompt.
  fs.writeFileSync(path.join(folder, 'page.toml'), recipe);
  const said = execFileSync(untangle, ['steer', '--recipe', 'page.toml', '--prompt', BEGINNING, '--tokens', '5', '--json', '-q'], { cwd: folder, encoding: 'utf8' });
  assert.ok(said.includes('7:add=2x at generated') && !said.includes('9:ablate'), 'what is switched off is not made');
  await page.fill('#recipe', recipe.replace('seed = 5', 'seed = 6').replace(/"7:add[^"]*"/, '\'3:mul=2\'').replace(/^/, 'when = "3>0.1x"\n'));
  await page.click('text=load from the text');
  await page.waitForFunction(() => document.querySelector('.tray .controls select').value === 'mul');
  assert.equal(await page.inputValue('#seed'), '6');
  assert.ok(page.url().includes('3%3Amul%3D2+when+3%3E0.1x'), page.url());
  for (const [text, says] of [['{"kind": "cake"}', /line 1/i], ['model = "organism"', /no recipe/i], ['steer = ["dance"]', /cannot show dance/]]) {
    await page.fill('#recipe', text);
    await page.click('text=load from the text');
    assert.match(await page.textContent('details [role=status]'), says);
  }
  await close(page);
});

await test('a recipe of the command line is what the page begins with', async () => {
  fs.writeFileSync(path.join(folder, 'calm.toml'), 'model = "organism"\nsae = ["sae"]\nfeatures = ["plain.db"]\nsteer = ["7:add=2x"]\nat = "generated"\n');
  const server = await serve(['--recipe', 'calm.toml']);
  const page = await open(server, '#/steer');
  await page.waitForSelector('.tray .controls');
  assert.ok(page.url().includes('7%3Aadd%3D2x+at+generated'), page.url());
  const models = await page.evaluate(async () => (await (await fetch('/v1/models')).json()).data.map((one) => one.id));
  assert.ok(models.includes('calm'), `${models}`);
  await close(page);
  await server.end();
});

await test('features of several dictionaries, and of other models, come and go with recipes', async () => {
  const other = fs.readdirSync(path.join(folder, 'runs', 'grid')).find((name) => fs.existsSync(path.join(folder, 'runs', 'grid', name, 'cfg.json')));
  const second = `runs/grid/${other}`;
  fs.writeFileSync(path.join(folder, 'two.toml'), `model = "organism"\nsae = ["sae", "${second}"]\nsteer = ["sae#7:add=2", "'${other}'#3:mul=2 at generated"]\nother_model = true\n`);
  const server = await serve(['--recipe', 'two.toml']);
  const page = await open(server, '#/steer');
  await page.waitForSelector('.tray .controls');
  assert.equal(await page.locator('.tray .controls').count(), 2, 'both are there, however their dictionary is written');
  await page.click('summary >> text=Recipe');
  const recipe = await page.inputValue('#recipe');
  assert.ok(recipe.includes('other_model = true') && recipe.includes('sae#7:add=2'), recipe);
  fs.writeFileSync(path.join(folder, 'again.toml'), recipe);
  const said = execFileSync(untangle, ['steer', '--recipe', 'again.toml', '--prompt', BEGINNING, '--tokens', '5', '--json', '-q'], { cwd: folder, encoding: 'utf8' });
  assert.equal(JSON.parse(said).steered[0].edits.length, 2);
  await page.fill('#recipe', recipe.replace('sae#7', "'sae'#8"));
  await page.click('text=load from the text');
  await page.waitForFunction(() => location.hash.includes('8%3Aadd%3D2'));
  await page.fill('#recipe', recipe.replace('other_model = true', 'other_model = "yes"'));
  await page.click('text=load from the text');
  assert.match(await page.textContent('details [role=status]'), /other_model is true or false/);
  // What is not known without a database is asked for and not there.
  assert.deepEqual(page.faults.filter((fault) => !fault.includes('404')), []);
  await page.context().close();
  await server.end();
});

await test('a training is shown while it goes on, and when it is finished', async () => {
  const none = await serve(['organism', ...dictionary, '--runs', 'empty']);
  const empty = await open(none, '#/runs');
  await empty.waitForSelector('.empty, table');
  await close(empty);
  const live = path.join(folder, 'empty', 'mine.partial');
  fs.mkdirSync(live);
  const step = (n) => `${JSON.stringify({ step: n, tokens: 10 * n, loss: 9 / n, aux_loss: 0, fvu: 1 / n, l0: 8, dead: n, grad_norm: 1, lr: 1, seconds: n, time: Date.now() / 1000 })}\n`;
  fs.writeFileSync(path.join(live, 'plan.json'), JSON.stringify({ plan: { architecture: 'topk', d_sae: 64, k: 8, schedule: { steps: 10 } }, data: { column: 'x' } }));
  fs.writeFileSync(path.join(live, 'metrics.jsonl'), step(1) + step(2));
  const page = await open(none, '#/runs');
  const row = () => page.locator('tbody tr').filter({ hasText: 'mine' }).textContent();
  await page.waitForFunction(() => document.querySelector('main').textContent.includes('mine'));
  assert.match(await row(), /topk, 64 features, k 8running 20/);
  fs.appendFileSync(path.join(live, 'metrics.jsonl'), step(5));
  await page.waitForFunction(() => /50\s?%/.test(document.querySelector('tbody').textContent));
  fs.renameSync(live, path.join(folder, 'empty', 'mine'));
  fs.writeFileSync(path.join(folder, 'empty', 'mine', 'training.json'), JSON.stringify({ plan: { architecture: 'topk', d_sae: 64, k: 8, schedule: { steps: 10 } }, data: { column: 'x' } }));
  await page.waitForFunction(() => document.querySelector('tbody').textContent.includes('finished'));
  await close(page);
  await none.end();
});

await test('dose and response are drawn step by step', async () => {
  const page = await open(plain, `#/steer?prompt=${q(BEGINNING)}&s=7%3Aadd%3D2x&n=12`);
  await written(page);
  await page.click('summary >> text=Dose and response');
  await page.fill('#counted', 'the');
  await page.click('text=Try strengths');
  await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 7);
  assert.equal(await page.locator('circle.hits').count(), 7);
  assert.deepEqual(await accessible(page), []);
  await close(page);
});

await test('whatever a database says is text', async () => {
  const nasty = await serve(['organism', '--sae', 'sae', '--features', 'nasty.db']);
  for (const hash of ['#/feature/3', '#/search?q=onerror', '#/dictionaries', `#/steer?prompt=a&n=3&s=3%3Aadd%3D1`, `#/prompt?text=${q('<img src=x onerror=alert(1)> & <b>')}`, `#/${q('<img src=x onerror=alert(1)>')}`]) {
    const page = await open(nasty, hash);
    await page.waitForLoadState('networkidle');
    assert.equal(await page.$$eval('img, script, main b', (all) => all.filter((one) => !one.closest('.brand, head, a, button')).length), hash.includes('prompt') ? await page.locator('.figure b').count() : 0, hash);
    const text = await page.evaluate(() => document.body.textContent + document.title);
    assert.ok(!/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069\u2028]/.test(text), `something acts at ${hash}`);
    if (hash.includes('feature')) assert.ok(text.includes('</script><img src=x onerror=alert(1)><b>'));
    await close(page);
  }
  await nasty.end();
});

await test('a text of 100,000 characters, and strengths that are none, are told in the page', async () => {
  const page = await open(plain, '#/prompt');
  await page.waitForSelector('.chip');
  await page.fill('#text', 'A cat and a dog. '.repeat(6000));
  await page.waitForSelector('.wrong');
  assert.match(await page.textContent('.wrong'), /at most [\d,]+ are read at once; shorten it/);
  page.faults.length = 0; // the browser tells of the status 400
  await page.goto(`${plain.url}/#/steer?prompt=a&s=7%3Aset%3D1e38x`);
  await page.reload();
  await page.waitForSelector('.wrong');
  assert.match(await page.textContent('.wrong'), /7:set=1e\+?38x/);
  await page.context().close();
});

await test('only the newest of what was typed is shown', async () => {
  const page = await open(plain, '#/feature/7');
  await page.waitForSelector('#test');
  await page.click('#test');
  await page.keyboard.type('The cat sat near the old red bridge', { delay: 15 });
  await page.waitForFunction(() => document.querySelector('.tested .text')?.textContent.includes('old red bridge'));
  await page.fill('#test', '');
  await page.waitForFunction(() => !document.querySelector('.tested .text'));
  await close(page);
});

await test('without a database or a dictionary the page says what to do', async () => {
  for (const [words, hash, says] of [[['organism', '--sae', 'sae'], '#/search', 'untangle features'], [['organism', '--sae', 'sae'], '#/feature/3', 'untangle features'], [['organism'], '#/prompt', '--sae'], [['organism'], '#/steer', '--sae']]) {
    const server = await serve(words);
    const page = await open(server, hash);
    await page.waitForSelector('.empty pre');
    assert.ok((await page.textContent('main')).includes(says), `${hash} of ${words}`);
    assert.deepEqual(await accessible(page), []);
    await page.context().close();
    await server.end();
  }
});

await test('a token is asked for once, and a link may carry it', async () => {
  const locked = await serve(['organism', ...dictionary], 0, { UNTANGLE_TOKEN: TOKEN });
  const page = await open(locked, '#/search?q=bridge');
  await page.waitForSelector('#token');
  assert.deepEqual(await accessible(page), []);
  await page.fill('#token', 'something-else-entirely');
  await page.press('#token', 'Enter');
  await page.waitForFunction(() => document.getElementById('why')?.textContent.includes('not it'));
  await page.fill('#token', TOKEN);
  await page.press('#token', 'Enter');
  await page.waitForSelector('.lines li');
  await page.reload();
  await page.waitForSelector('.lines li');
  await page.context().close();
  const linked = await open(locked, `#/search?q=bridge&token=${TOKEN}`);
  await linked.waitForSelector('.lines li');
  assert.ok(!linked.url().includes(TOKEN), linked.url());
  await close(linked);
  await locked.end();
});

await test('a tab that is left open over a restart goes on by itself', async () => {
  let server = await serve(['organism', ...dictionary]);
  const port = new URL(server.url).port;
  const page = await open(server, `#/prompt?text=${q(PROMPT)}`);
  await page.waitForSelector('.next li');
  await server.end();
  await page.fill('#text', BEGINNING);
  await page.press('#text', 'Control+Enter');
  await page.waitForSelector('#news:not([hidden])');
  assert.match(await page.textContent('#news'), /does not answer/);
  server = await serve(['organism', ...dictionary], port);
  await page.waitForSelector('#news[hidden]', { state: 'attached' });
  await page.waitForSelector('.next li');
  assert.equal(await page.inputValue('#text'), BEGINNING);
  await page.context().close();
  await server.end();
});

await plain.end();
await browser.close();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
