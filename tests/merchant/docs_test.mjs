// docs/merchants.md as a newcomer follows it: the commands of its ten minutes are run as they stand, and the receivers in
// JavaScript and Python take real web hooks and refuse what is not genuine.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { project } from '../evm/twins.mjs';
import { Desk, ask } from './desk.mjs';

const page = readFileSync(join(project, 'docs/merchants.md'), 'utf8');
const blocks = (kind) => [...page.matchAll(new RegExp(`\`\`\`${kind}\n([^]*?)\`\`\``, 'g'))].map(([, text]) => text);

let desk, shop;
before(async () => {
  desk = await Desk.open();
  shop = await desk.merchant('shop', ['--webhook-allow', '127.0.0.1']);
  await shop.connected();
});
after(() => desk?.stop());

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/** The receiver of the page, as a program of its own. */
async function receiver(command, file, source, secret, port) {
  const path = join(desk.folder, file);
  writeFileSync(path, source);
  const running = spawn(command, [path], { env: { ...process.env, RILL_WEBHOOK_SECRET: secret, PORT: String(port) } });
  const end = () => running.kill('SIGKILL');
  process.once('exit', end);
  const said = { text: '' };
  for (const stream of [running.stdout, running.stderr]) stream.on('data', (part) => { said.text += part; });
  for (let answer; answer === undefined;)
    answer = await ask(`http://127.0.0.1:${port}`, 'POST', '/', { body: '{}' }).catch(() => new Promise((again) => setTimeout(again, 50)));
  return { said, stop: async () => { const gone = once(running, 'exit'); end(); await gone; process.off('exit', end); } };
}

for (const [language, command, file] of [['js', 'node', 'hook.mjs'], ['python', 'python3', 'hook.py']])
  test(`the receiver in ${language} takes what is genuine, once, and nothing else`, async () => {
    const [source] = blocks(language);
    assert.ok(source.trim().split('\n').length <= 34, 'some thirty lines');
    const port = await freePort(), url = `http://127.0.0.1:${port}`;
    const { id, secret } = await shop.must('POST', '/v1/webhooks', { url: `${url}/rill`, events: ['invoice.paid'] });
    const hook = await receiver(command, file, source, secret, port);
    const invoice = await shop.invoice({ amount: '1.5', external_id: `order ${language}` });
    await desk.pay(invoice);
    await shop.paid(invoice.id);
    while (!hook.said.text.includes('paid:')) await new Promise((again) => setTimeout(again, 20));
    assert.match(hook.said.text, new RegExp(`paid: order ${language} 1.5\n`));
    const paid = () => hook.said.text.match(/^paid: .*$/gm);
    const before = paid();

    const now = Math.floor(Date.now() / 1000);
    const body = JSON.stringify({ id: 'x', type: 'invoice.paid', invoice: { external_id: 'forged', amount: '1' } });
    const sign = (time, text, by = secret) => `t=${time},v1=${createHmac('sha256', by).update(`${time}.${text}`).digest('hex')}`;
    const send = (signature) => ask(url, 'POST', '/', { body, headers: signature ? { 'rill-signature': signature } : {} });
    for (const [name, signature] of [['none', undefined], ['nonsense', 'x'], ['another secret', sign(now, body, 'whsec_x')],
      ['another body', sign(now, `${body} `)], ['old', sign(now - 400, body)], ['from the future', sign(now + 400, body)]])
      assert.equal((await send(signature)).status, 400, name);
    assert.deepEqual(paid(), before);
    assert.equal((await send(sign(now, body))).status, 204);
    assert.equal((await send(sign(now, body))).status, 204);
    while (!hook.said.text.includes('forged')) await new Promise((again) => setTimeout(again, 20));
    assert.equal(hook.said.text.match(/paid: forged/g).length, 1);
    await shop.must('DELETE', `/v1/webhooks/${id}`);
    await hook.stop();
  });

test('the ten minutes, typed as they stand', async () => {
  // Where a reader of quick-start.md is: programs in bin/, Ada's wallet and a passphrase in day/.
  const folder = join(desk.folder, 'newcomer');
  mkdirSync(join(folder, 'day'), { recursive: true });
  symlinkSync(resolve(project, process.env.RILL_BIN ?? 'bin'), join(folder, 'bin'));
  symlinkSync(desk.home.ada, join(folder, 'day/ada'));
  const port = await freePort();
  const ours = blocks('sh').map((text) => text.replaceAll('127.0.0.1:9780', `127.0.0.1:${port}`)
    .replace('bin/rill-merchantd --home day/web ', `bin/rill-merchantd --home day/web --listen 127.0.0.1:${port} `)
    .replace('timeout 60', 'timeout 1'));
  const [wallet, server, invoice, pay, live, out] = ours;
  const script = ['set -e', wallet, server, 'echo', invoice, 'echo', pay, 'echo', `{ ${live} } || true`, out, 'echo', 'kill %1; wait'].join('\n');
  const running = spawn('bash', ['-c', script], { cwd: folder, env: { ...process.env, RILL_PASSPHRASE: 'of the tests', RILL_LEDGER: desk.ledger.url,
    RILL_HUB: `127.0.0.1:${desk.port}`, RILL_CONTRACT: desk.address, RILL_CONFIRMATIONS: '1' } });
  let said = '';
  for (const stream of [running.stdout, running.stderr]) stream.on('data', (part) => { said += part; });
  const [code] = await once(running, 'close');
  assert.equal(code, 0, said);
  assert.match(said, /\{"status":"ok"\}/);
  assert.match(said, /"external_id":"order-1001"/);
  assert.match(said, /paid 2\.5 USDT/);
  assert.match(said, /"state":"paid"/);
  assert.match(said, /"id":"out_[0-9a-f]{32}","amount":"2\.[0-9]+"/);
});
