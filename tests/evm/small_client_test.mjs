// The wallet of small_client.mjs against the real hub, two shards of it, and the wallet of the command line.
// Usage: node --test tests/evm/small_client_test.mjs      (bin/ programs and compile.mjs first)
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import tls from 'node:tls';
import { SmallClient } from './small_client.mjs';
import { Stage } from './stage.mjs';
import { ethers, project } from './twins.mjs';
import * as wire from './wire.mjs';
import { wallets as accounts } from './world.mjs';

const [ADA, CARL, SHOP, BEA, EVE, OTHER] = [1, 2, 3, 4, 5, 6];
const DOLLAR = 1_000_000n;
const LIMIT = { timeout: 120_000 }; // of a hang; nothing here is measured
const feeOf = (amount) => 1n + (amount + 999n) / 1000n; // the hub's defaults
const written = (state) => JSON.stringify(state, (_, one) => (typeof one === 'bigint' ? { $: `${one}` } : one));
const read = (text) => JSON.parse(text, (_, value) => (value?.$ ? BigInt(value.$) : value));

test('it has under 300 lines, of at most 120 columns', () => {
  const lines = readFileSync(join(project, 'tests', 'evm', 'small_client.mjs'), 'utf8').trimEnd().split('\n');
  assert.ok(lines.length < 300, `${lines.length} lines`);
  assert.deepEqual(lines.filter((line) => line.length > 120), []);
});

describe('a hub of two shards', () => {
  let stage, ada, bea, shop;
  const troubles = [];

  /** Saves what any wallet would have on disk; `more` may say otherwise what its options are. */
  const client = async (index, more = {}) => {
    const wallet = new SmallClient({
      signer: stage.account(index), provider: stage.provider, domain: stage.domain, host: '127.0.0.1', port: stage.port,
      asset: stage.asset, confirmations: 1, pollMs: 50, save: (state) => { wallet.saved = written(state); }, ...more,
    });
    wallet.on('trouble', (error) => troubles.push(error));
    stage.stopped.push(() => wallet.stop());
    await wallet.connect();
    return wallet;
  };
  const rill = async (name, ...words) => {
    const { code, output, errors } = await stage.rill(name, [...words, '--json']);
    assert.equal(code, 0, `rill ${words.join(' ')}: ${errors}\n${stage.hubd.output}`);
    return JSON.parse(output);
  };
  const typed = async (line) => {
    shop.type(line);
    return (await shop.next()).trim();
  };
  const deposit = async (wallet, index, amount) => {
    const { token, contract, address } = stage;
    await (await token.connect(stage.account(index)).approve(address, amount)).wait();
    await (await contract.connect(stage.account(index)).deposit(wallet.key, amount)).wait();
    await wallet.until(() => wallet.isInStep && wallet.spendable > 0n);
  };
  /** The hub has all that it sent. */
  const atRest = (wallet) => wallet.until(() => wallet.state.kept.length === 0);

  before(async () => {
    stage = await Stage.start('rill-ledgerd', { shards: 2 });
    for (const [name, index] of [['carl', CARL], ['shop', SHOP]]) await stage.wallet(name, index);
  }, LIMIT);
  after(() => stage?.stop());

  test('REDIRECT is followed; a deposit and a wish open channels', LIMIT, async () => {
    ada = await client(ADA);
    bea = await client(BEA);
    const ports = [ada, bea].map(({ socket }) => socket.remotePort);
    assert.ok(ports.includes(stage.port) && new Set(ports).size === 2, `both shards serve: ${ports}`);
    await deposit(ada, ADA, 100n * DOLLAR);
    await bea.open(50n * DOLLAR);
    assert.deepEqual([...await stage.contract.channel(ada.key)], [100n * DOLLAR, 100n * DOLLAR, 0n, 1n]);
    assert.deepEqual([...await stage.contract.channel(bea.key)], [50n * DOLLAR, 0n, 0n, 1n]);
    assert.deepEqual([ada.spendable, bea.spendable], [99n * DOLLAR, 0n]); // one percent stays as the reserve
    await rill('carl', 'deposit', '100');
    await rill('shop', 'open', '50');
    shop = stage.listen('shop');
  });

  test('it pays an invoice of the command line, and has the receipt', LIMIT, async () => {
    const text = await typed('2.50 two coffees'), { secretHash } = wire.readInvoice(text, stage.domain);
    const receipt = await ada.pay(text);
    assert.equal(ethers.sha256(receipt), secretHash);
    assert.match(await shop.next(), /received 2\.50?0* .*two coffees/);
    assert.equal(100n * DOLLAR - ada.balance, 2_500_000n + feeOf(2_500_000n));
    assert.equal(await ada.pay(text), receipt); // and nothing is paid twice
    assert.equal(100n * DOLLAR - ada.balance, 2_500_000n + feeOf(2_500_000n));
  });

  test('the command line pays its invoice, once', LIMIT, async () => {
    const text = await bea.invoice(3n * DOLLAR, 'drei Kaffee ☕'), received = once(bea, 'received');
    const { receipt } = await rill('carl', 'pay', text);
    const [invoice] = await received;
    assert.deepEqual([invoice.secret, invoice.memo, bea.balance], [receipt, 'drei Kaffee ☕', 3n * DOLLAR]);
    assert.equal((await stage.rill('carl', ['pay', text])).code, 1);
  });

  test('two of them pay each other, many at once', LIMIT, async () => {
    const before = [ada.balance, bea.balance], amounts = Array.from({ length: 12 }, (_, i) => 100_000n + BigInt(i));
    const there = await Promise.all(amounts.map((amount) => bea.invoice(amount)));
    const back = await Promise.all(amounts.map((amount) => ada.invoice(amount)));
    await Promise.all([...there.map((text) => ada.pay(text)), ...back.map((text) => bea.pay(text))]);
    const fees = amounts.map(feeOf).reduce((a, b) => a + b);
    assert.deepEqual([ada.balance, bea.balance], before.map((balance) => balance - fees));
  });

  test('what nobody asked for is sent back, and the payer is told why', LIMIT, async () => {
    const text = await bea.invoice(2n * DOLLAR), before = [ada.balance, bea.balance];
    delete bea.state.invoices[wire.readInvoice(text, stage.domain).secretHash];
    await assert.rejects(ada.pay(text), { code: 'INVOICE' });
    assert.deepEqual([ada.balance, bea.balance], before);
    await assert.rejects(ada.pay(`${text}A`), { code: 'INVOICE' });
    await assert.rejects(ada.pay(await bea.invoice(9n * DOLLAR + 999_999n).then((one) => one.slice(0, -8) + 'AAAAAAAA')),
      { code: 'INVOICE' });
    await assert.rejects(bea.invoice(10n * DOLLAR), { code: 'AMOUNT' }); // the hub's direct limit
  });

  test('from what it saved it goes on: the receipt comes, and the update that the hub never got', LIMIT, async () => {
    for (const isHeard of [true, false]) {
      const text = await bea.invoice(DOLLAR), before = [ada.balance, bea.balance], { socket } = ada;
      if (isHeard) ada.take = async () => {}; // deaf: nothing that the hub says arrives
      else socket.write = () => true; // mute: nothing that it says leaves
      const paying = ada.pay(text), received = isHeard && once(bea, 'received');
      paying.catch(() => {});
      await ada.until(() => ada.state.kept.length === 1);
      if (isHeard) await received;
      await ada.stop();
      await assert.rejects(paying, { code: 'OFFLINE' });
      ada = await client(ADA, { state: read(ada.saved) });
      assert.match(await ada.pay(text), /^0x[0-9a-f]{64}$/);
      await atRest(ada);
      assert.deepEqual([before[0] - ada.balance, bea.balance - before[1]], [DOLLAR + feeOf(DOLLAR), DOLLAR]);
    }
  });

  test('what the hub signs against the rules is refused by name, and changes nothing', LIMIT, async () => {
    const { judge } = bea, seen = [];
    const bodyOf = (...operations) => ({ 4: ethers.hexlify(wire.pack(operations)) });
    const id = ethers.ZeroHash.slice(0, 34), much = 1n << 40n, lock = [wire.LOCK, id, ethers.ZeroAddress, 1n, DOLLAR, 0n,
      1n << 33n, 0n, ethers.ZeroHash, { text: '' }];
    const payment = (amount) => [wire.PAY, id, ethers.ZeroAddress, amount, 0n, 1n, ethers.ZeroHash, { text: '' }];
    bea.judge = async (update) => {
      const [nonce, transferred] = update;
      for (const [code, changes, signer = stage.hub] of [
        ['NONCE', { 0: nonce + 1n }], ['NONCE', { 0: nonce - 1n }], ['SIGNATURE', {}, accounts[OTHER]],
        ['BODY', { 4: '0x90' }], ['BODY', { 4: '0x91c0' }], ['BODY', { 4: '0xc1' }], ['BODY', bodyOf(lock)],
        ['TRANSFERRED', { 1: transferred + 1n }], ['LOCKED', { 2: 1n }], ['LOCKED', { 3: ethers.id('a lock') }],
        ['AVAILABLE', { 1: bea.state.hub.transferred + much, ...bodyOf(payment(much)) }],
      ]) {
        const forged = Object.assign([...update], changes), before = written(bea.state);
        const proof = { channel: bea.id, nonce: forged[0], transferred: forged[1], locked: forged[2],
          locksRoot: forged[3], bodyHash: ethers.keccak256(forged[4]) };
        forged[5] = await wire.sign(signer, stage.domain, 'BalanceProof', proof);
        await assert.rejects(judge.call(bea, forged), { code }, code);
        assert.equal(written(bea.state), before);
        seen.push(code);
      }
      return judge.call(bea, update);
    };
    await ada.pay(await bea.invoice(DOLLAR));
    delete bea.judge;
    assert.equal(seen.length, 11);
  });

  test('it hangs up on another certificate, chain or contract than the hub signed', LIMIT, async () => {
    const { prototype } = tls.TLSSocket, { getPeerCertificate } = prototype;
    prototype.getPeerCertificate = () => ({ raw: Buffer.from('of somebody in between') });
    try {
      await assert.rejects(client(EVE), { code: 'AUTH' });
    } finally {
      prototype.getPeerCertificate = getPeerCertificate;
    }
    await assert.rejects(client(EVE, { domain: { ...stage.domain, chainId: 1 } }), { code: 'AUTH' });
    const eve = stage.account(EVE), liar = { address: eve.address, connect: (provider) => eve.connect(provider),
      signTypedData: (...what) => accounts[OTHER].signTypedData(...what) };
    await assert.rejects(client(EVE, { signer: liar }), (error) => error.code === 'AUTH' && /the hub says/.test(error.message));
  });

  test('a settlement signed with ethers is settled on the ledger, and payments go on', LIMIT, async () => {
    for (const wallet of [ada, bea]) {
      const [, base, seq] = await stage.contract.channel(wallet.key), before = await stage.token.balanceOf(wallet.client);
      const { balance } = wallet;
      await wallet.settle(2n * DOLLAR);
      const settled = await stage.contract.channel(wallet.key);
      assert.deepEqual([base - settled[1], settled[2] > seq, settled[3]], [2n * DOLLAR, true, 1n]);
      assert.equal(await stage.token.balanceOf(wallet.client) - before, 2n * DOLLAR);
      assert.equal(balance - wallet.balance, 2n * DOLLAR);
      await assert.rejects(wallet.settle(1000n * DOLLAR), { code: 'AVAILABLE' });
    }
    await ada.pay(await bea.invoice(DOLLAR));
    assert.deepEqual(troubles.map(String), []);
  });
});
