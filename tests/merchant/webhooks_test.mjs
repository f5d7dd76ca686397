// Web hooks as their receivers see them: signed, in the order of one invoice, told again until they are taken, to allowed
// places only, and a receiver that is dead slows nobody.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:https';
import { after, before, test } from 'node:test';
import { Desk } from './desk.mjs';
import { Receiver } from './receiver.mjs';

let desk, shop;
const open = [];
const receiver = async () => {
  const one = await new Receiver().open();
  open.push(one);
  return one;
};

before(async () => {
  desk = await Desk.open();
  shop = await desk.merchant('shop', ['--webhook-allow', '127.0.0.1,0.0.0.0', '--rate-per-s', '1000', '--rate-burst', '1000']);
  await shop.connected();
});
after(async () => {
  for (const one of open) one.close();
  await desk?.stop();
});

const remove = (hook) => shop.must('DELETE', `/v1/webhooks/${hook.id}`);

test('signed over time and body, and whole', async () => {
  const hook = await receiver();
  const made = await shop.must('POST', '/v1/webhooks', { url: hook.url, events: ['invoice.created'] });
  const invoice = await shop.invoice({ amount: '1', memo: 'Käse' });
  await hook.until('the event', (events) => events.length === 1);
  const [{ headers, body, event, path }] = hook.told;
  const [, t, v1] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(headers['rill-signature']);
  assert.equal(v1, createHmac('sha256', made.secret).update(`${t}.${body}`).digest('hex'));
  assert.ok(Math.abs(Date.now() / 1000 - Number(t)) < 30);
  assert.equal(path, '/hook?a=b');
  assert.equal(headers['rill-event-id'], event.id);
  assert.deepEqual(event.invoice, invoice);
  await remove(made);
});

test('the events of one invoice keep their order; those of others do not wait', async () => {
  const hook = await receiver();
  const made = await shop.must('POST', '/v1/webhooks', { url: hook.url });
  let stubborn;
  const refused = new Set();
  hook.answer = ({ id, invoice }) => {
    if (invoice?.id !== stubborn || refused.has(id)) return 200;
    refused.add(id);
    return 500;
  };
  stubborn = (await shop.invoice({ amount: '1' })).id;
  await shop.must('POST', `/v1/invoices/${stubborn}/cancel`, {});
  const other = await shop.invoice({ amount: '1' });
  await hook.until('the other', (events) => events.some(({ invoice }) => invoice?.id === other.id));
  assert.ok(!hook.taken().some(({ invoice }) => invoice.id === stubborn));
  const events = await hook.until('all', (taken) => taken.filter(({ invoice }) => invoice.id === stubborn).length === 2);
  assert.deepEqual(events.filter(({ invoice }) => invoice.id === stubborn).map(({ type }) => type), ['invoice.created', 'invoice.cancelled']);
  // Not before the first was taken was the second told at all.
  const told = hook.told.filter(({ event }) => event.invoice.id === stubborn).map(({ event, status }) => [event.type, status]);
  assert.deepEqual(told.slice(0, 2), [['invoice.created', 500], ['invoice.created', 200]]);
  await remove(made);
});

test('redirects are not followed', async () => {
  const [hook, elsewhere] = [await receiver(), await receiver()];
  hook.redirect = elsewhere.url;
  hook.answer = () => (hook.told.length === 0 ? 302 : 200);
  const made = await shop.must('POST', '/v1/webhooks', { url: hook.url, events: ['invoice.created'] });
  await shop.invoice({ amount: '1' });
  await hook.until('the second try', (events) => events.length === 1);
  assert.equal(elsewhere.told.length, 0);
  await remove(made);
});

test('a name is looked at where it leads', async () => {
  // localhost is a name, and not one that is allowed.
  const made = await shop.must('POST', '/v1/webhooks', { url: 'https://localhost:1/' });
  await shop.invoice({ amount: '1' });
  await shop.until('the try', `/v1/webhooks/${made.id}/deliveries`, ({ deliveries }) => deliveries[0]?.attempts > 0);
  assert.match(shop.running.output, /localhost.*not one of the public Internet/);
  await remove(made);
});

test('a certificate must be good, and for this name', async () => {
  const { readFileSync } = await import('node:fs');
  const pem = (name) => readFileSync(`${desk.folder}/hub-data/tls/tls-${name}.pem`);
  const told = [];
  const server = createServer({ cert: pem('cert'), key: pem('key') }, (request, response) => { told.push(request.url); response.end(); });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const made = await shop.must('POST', '/v1/webhooks', { url: `https://127.0.0.1:${server.address().port}/` });
  const tried = async () => {
    await shop.invoice({ amount: '1' });
    await shop.until('a try', `/v1/webhooks/${made.id}/deliveries`, ({ deliveries }) => deliveries.length > 0 && deliveries.every(({ attempts }) => attempts > 0));
  };
  await tried(); // nobody vouches for it
  await shop.running.stop();
  shop.flags.push('--webhook-ca', `${desk.folder}/hub-data/tls/tls-cert.pem`);
  await shop.start();
  await shop.connected();
  await tried(); // vouched for, but it is for another name
  assert.deepEqual(told, []);
  await remove(made);
  server.close();
});

test('a receiver that is dead, or never answers, slows nobody', async () => {
  const [silent, quick] = [await receiver(), await receiver()];
  silent.answer = () => undefined;
  const hooks = [];
  for (const url of [silent.url, 'http://0.0.0.0:1/', quick.url]) hooks.push(await shop.must('POST', '/v1/webhooks', { url, events: ['invoice.created'] }));
  for (let i = 0; i < 40; i++) await shop.invoice({ amount: '1' });
  await quick.until('all', (events) => events.length === 40);
  // At most so many at a time, of one hook.
  assert.ok(silent.told.length <= 8, String(silent.told.length));
  for (const hook of hooks) await remove(hook);
});

test('told again from a time on, also after a restart', async () => {
  const hook = await receiver();
  const since = Math.floor(Date.now() / 1000);
  hook.answer = () => 503;
  const made = await shop.must('POST', '/v1/webhooks', { url: hook.url, events: ['invoice.created'] });
  const ids = [];
  for (let i = 0; i < 5; i++) ids.push((await shop.invoice({ amount: '1' })).id);
  await shop.until('tries', `/v1/webhooks/${made.id}/deliveries`, ({ deliveries }) => deliveries.length === 5 && deliveries.every(({ attempts }) => attempts > 0));
  await shop.kill();
  hook.answer = () => 200;
  await shop.start();
  await hook.until('all', (events) => ids.every((id) => events.some(({ invoice }) => invoice.id === id)));
  const said = await desk.command('shop', ['merchant', 'webhooks', 'replay', '--since', String(since), '--url', shop.url, '--api-key-file', await keyFile()]);
  assert.equal(JSON.parse(said).webhooks, 1);
  const shown = async (word) => JSON.parse(await desk.command('shop', ['merchant', 'webhooks', word, '--url', shop.url, '--api-key-file', await keyFile()]));
  assert.deepEqual((await shown('list')).webhooks.map(({ id, url, secret }) => [id, url, secret]), [[made.id, hook.url, undefined]]);
  const of = (events, id) => events.filter(({ invoice }) => invoice.id === id);
  await hook.until('once more', (events) => ids.every((id) => of(events, id).length >= 2));
  for (const id of ids) assert.equal(new Set(of(hook.taken(), id).map((event) => event.id)).size, 1, 'a replay tells the same ids');
  await remove(made);
});

async function keyFile() {
  const { writeFile } = await import('node:fs/promises');
  const path = `${desk.folder}/api-key`;
  await writeFile(path, `${shop.key}\n`);
  return path;
}
