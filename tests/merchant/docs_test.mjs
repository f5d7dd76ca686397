// docs/merchants.md as a newcomer follows it: `rill-demo --stay` plays its day and stays, the commands of the page are run as
// they stand, the receivers in JavaScript and Python take real web hooks and refuse what is not genuine, and Ctrl-C ends it.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { project } from '../evm/twins.mjs';
import { ask } from './desk.mjs';

const run = promisify(execFile);
const page = readFileSync(join(project, 'docs/merchants.md'), 'utf8');
const blocks = (kind) => [...page.matchAll(new RegExp(`\`\`\`${kind}\n([^]*?)\`\`\``, 'g'))].map(([, text]) => text);
const [opening, arriving, ...typed] = blocks('sh');
const programs = resolve(project, process.env.RILL_BIN ?? 'bin');
const pause = () => new Promise((again) => setTimeout(again, 50));

/** A program with what it says, which ends with this one. */
function start(command, words, { cwd, env = process.env }) {
  const running = { process: spawn(command, words, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] }), said: '' };
  const end = () => running.process.kill('SIGTERM');
  process.once('exit', end);
  for (const stream of [running.process.stdout, running.process.stderr]) stream.on('data', (part) => { running.said += part; });
  running.closed = once(running.process, 'close').then(([code]) => { process.off('exit', end); return code; });
  running.stop = () => { end(); return running.closed; };
  running.says = async (text) => {
    while (!running.said.includes(text)) {
      assert.equal(running.process.exitCode, null, running.said);
      await pause();
    }
  };
  return running;
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

// Where a newcomer is: the programs in bin/, and nothing else.
const folder = mkdtempSync(join(tmpdir(), 'rill-newcomer-'));
symlinkSync(programs, join(folder, 'bin'));
let demo, env;

before(async () => {
  demo = start('bin/rill-demo', ['--stay'], { cwd: folder });
  await demo.says('\nready: ');
  const { stdout } = await run('bash', ['-c', `set -e; ${arriving} env -0`], { cwd: folder });
  assert.match(stdout, /^\{"status":"ok"\}/);
  env = Object.fromEntries(stdout.replace(/^\{[^}]*\}/, '').split('\0').filter(Boolean).map((line) => /^([^=]+)=([^]*)$/.exec(line).slice(1)));
});
after(async () => {
  await demo?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const api = async (method, path, body) => {
  const answer = await ask(env.SHOP, method, path, { key: env.KEY, body });
  assert.ok(answer.status < 300, `${method} ${path}: ${answer.status} ${answer.text}`);
  return answer.json;
};

/** The receiver of the page, as a program of its own. */
async function receiver(command, file, source, secret, port) {
  writeFileSync(join(folder, file), source);
  const hook = start(command, [file], { cwd: folder, env: { ...process.env, RILL_WEBHOOK_SECRET: secret, PORT: String(port) } });
  while (await ask(`http://127.0.0.1:${port}`, 'POST', '/', { body: '{}' }).catch(() => undefined) === undefined) await pause();
  return hook;
}

test('make demo STAY=1 is what the page begins with', async () => {
  assert.equal(opening, 'make demo STAY=1\n');
  const { stdout } = await run('make', ['--no-print-directory', '-n', 'demo', 'STAY=1'], { cwd: project, maxBuffer: 1 << 26 });
  assert.match(stdout, /^bin\/rill-demo --ledger embedded --stay$/m);
  assert.match(demo.said, /\ndemo: ok\n[^]*\nready: build\/demo\/env /);
  assert.ok(JSON.parse(readFileSync(join(folder, 'build/demo.json'))).ok);
});

for (const [language, command, file] of [['js', 'node', 'hook.mjs'], ['python', 'python3', 'hook.py']])
  test(`the receiver in ${language} takes what is genuine, once, and nothing else`, async () => {
    const [source] = blocks(language);
    assert.ok(source.trim().split('\n').length <= 34, 'some thirty lines');
    const port = await freePort(), url = `http://127.0.0.1:${port}`;
    const { id, secret } = await api('POST', '/v1/webhooks', { url: `${url}/rill`, events: ['invoice.paid'] });
    const hook = await receiver(command, file, source, secret, port);
    const { text } = await api('POST', '/v1/invoices', { amount: '1.5', external_id: `order ${language}` });
    await run('bin/rill', ['pay', text], { cwd: folder, env });
    await hook.says(`paid: order ${language} 1.5\n`);
    const paid = () => hook.said.match(/^paid: .*$/gm);
    const before = paid();

    const now = Math.floor(Date.now() / 1000);
    const body = JSON.stringify({ id: 'x', type: 'invoice.paid', invoice: { external_id: 'forged', amount: '1' } });
    const sign = (time, said, by = secret) => `t=${time},v1=${createHmac('sha256', by).update(`${time}.${said}`).digest('hex')}`;
    const send = (signature) => ask(url, 'POST', '/', { body, headers: signature ? { 'rill-signature': signature } : {} });
    for (const [name, signature] of [['none', undefined], ['nonsense', 'x'], ['another secret', sign(now, body, 'whsec_x')],
      ['another body', sign(now, `${body} `)], ['old', sign(now - 400, body)], ['from the future', sign(now + 400, body)]])
      assert.equal((await send(signature)).status, 400, name);
    assert.deepEqual(paid(), before);
    assert.equal((await send(sign(now, body))).status, 204);
    assert.equal((await send(sign(now, body))).status, 204);
    await hook.says('forged');
    assert.equal(hook.said.match(/paid: forged/g).length, 1);
    await api('DELETE', `/v1/webhooks/${id}`);
    await hook.stop();
  });

test('the ten minutes, typed as they stand', async () => {
  const port = await freePort(), hook = await freePort(), seen = 'receiver.log';
  const ours = typed.map((text) => text.replaceAll('127.0.0.1:9780', `127.0.0.1:${port}`)
    .replaceAll('127.0.0.1:8000', `127.0.0.1:${hook}`)
    .replace('--home day/web --webhook-allow', `--home day/web --listen 127.0.0.1:${port} --webhook-allow`)
    .replace('node hook.mjs &', `PORT=${hook} node hook.mjs > ${seen} & HOOK_PID=$!`));
  const [invoice, pay, register, receive, another, out, own] = ours;
  assert.equal(ours.length, 7);
  assert.match(receive, /HOOK_PID/);
  assert.match(own, /--listen/);
  writeFileSync(join(folder, 'hook.mjs'), blocks('js')[0]);
  const script = ['set -e', arriving, invoice, pay, register, receive, another,
    `until grep -q '^paid: order-1002 1.2$' ${seen}; do read -t 0.1 < <(:) || true; done`, 'kill $HOOK_PID', out,
    `until curl -s "$SHOP/v1/payouts?limit=1" -H "Authorization: Bearer $KEY" | grep '"state":"settled"'; do read -t 0.1 < <(:) || true; done`,
    own, 'kill %%; wait'].join('\n');
  const newcomer = start('bash', ['-c', script], { cwd: folder });
  assert.equal(await newcomer.closed, 0, newcomer.said);
  assert.match(newcomer.said, /"external_id":"order-1001"/);
  assert.match(newcomer.said, /paid 2\.5 SHIL/);
  assert.match(newcomer.said, /"state":"paid"/);
  assert.match(newcomer.said, /"id":"out_[0-9a-f]{32}","amount":"[0-9.]+"[^\n]*"state":"settled"/);
  assert.equal(newcomer.said.match(/\{"status":"ok"\}/g).length, 2);
});

test('SIGTERM ends it with 0, and nothing is left', async () => {
  const { stdout } = await run('ps', ['-o', 'pid=,comm=', '--ppid', String(demo.process.pid)]);
  const children = stdout.trim().split('\n').map((line) => line.trim().split(/\s+/));
  assert.deepEqual(children.map(([, name]) => name).sort(), ['rill-hubd', 'rill-ledgerd', 'rill-merchantd', 'rill-towerd']);
  assert.equal(await demo.stop(), 0, demo.said);
  assert.match(demo.said, /the market closes\ndemo: ok\n$/);
  for (const [pid, name] of children) assert.ok(!existsSync(`/proc/${pid}`), name);
  assert.ok(!existsSync(join(folder, 'build/demo/env')));
});
