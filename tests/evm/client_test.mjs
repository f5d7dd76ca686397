// Any EVM wallet can take part: a wallet written in JavaScript, whose only key is a signer of ethers, against the real
// hub and the wallet of the command line, on the embedded ledger and on anvil with the real contract.
// Usage: node --test tests/evm/client_test.mjs      (bin/ programs and compile.mjs first)
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Stage } from './stage.mjs';
import { ethers, project } from './twins.mjs';
import * as wire from './wire.mjs';
import { wallets as accounts } from './world.mjs';

const [ADA, CARL, SHOP, BEA, EVE, OTHER] = [1, 2, 3, 4, 5, 6];
const DOLLAR = 1_000_000n;
const LIMIT = { timeout: 120_000 }; // of a hang; nothing here is measured
const feeOf = (amount) => 1n + (amount + 999n) / 1000n; // the hub's defaults
const copyOf = (value) => JSON.stringify(value, (_, one) => (typeof one === 'bigint' ? `${one}` : one));
const until = async (found) => {
  const end = Date.now() + LIMIT.timeout;
  while (!await found()) {
    assert.ok(Date.now() < end, `waited in vain for ${found}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
};

describe('vectors', () => {
  const vectors = JSON.parse(readFileSync(join(project, 'tests', 'vectors', 'vectors.json'), 'utf8'));

  test('ethers digests and signs all eight types as Rill does', async () => {
    assert.equal(new Set(vectors.typed.map(({ type }) => type)).size, 8);
    for (const { type, chainId, verifyingContract, message, digest, signer, secretKey, signature } of vectors.typed) {
      const domain = wire.domainOf(chainId, verifyingContract);
      assert.equal(ethers.TypedDataEncoder.hash(domain, wire.TYPES[type], message), digest, type);
      assert.equal(await wire.sign(new ethers.Wallet(secretKey), domain, type, message), signature, type);
      assert.ok(wire.isSignedBy(signer.toLowerCase(), domain, type, message, signature), type);
      assert.ok(!wire.isSignedBy(accounts[0].address.toLowerCase(), domain, type, message, signature), type);
    }
  });

  test('frames come out as they went in, byte for byte', () => {
    const frames = [...vectors.frames, ...vectors.updates.stream].map((one) => one.frame);
    for (const text of frames)
      assert.equal(ethers.hexlify(wire.frame(wire.unpack(ethers.dataSlice(text, 4)))), text);
  });

  test('an invoice is its one text, and a signature over it', async () => {
    for (const { text, chainId, contract, payee, amount, memo } of vectors.invoices) {
      const domain = wire.domainOf(chainId, contract), invoice = wire.readInvoice(text, domain);
      assert.deepEqual([invoice.payee, invoice.amount, invoice.memo.text], [payee.toLowerCase(), BigInt(amount), memo]);
      assert.throws(() => wire.readInvoice(text, wire.domainOf(1, contract)), { code: 'INVOICE' });
      for (const damaged of [text.toLowerCase(), `${text}A`, text.slice(0, -1), text.slice(0, -2) + 'AA', 'rill:', ''])
        assert.throws(() => wire.readInvoice(damaged, domain), { code: 'INVOICE' }, damaged);
    }
  });
});

for (const kind of ['rill-ledgerd', 'anvil']) describe(`on ${kind}`, () => {
  let stage, ada, bea, shop;

  before(async () => {
    stage = await Stage.start(kind);
    for (const [name, index] of [['carl', CARL], ['shop', SHOP]]) await stage.wallet(name, index);
  }, LIMIT);
  after(() => stage?.stop());

  const rill = async (name, ...words) => {
    const { code, output, errors } = await stage.rill(name, [...words, '--json']);
    assert.equal(code, 0, `rill ${words.join(' ')}: ${errors}\n${stage.hubd.output}`);
    return JSON.parse(output);
  };
  const typed = async (line) => {
    shop.type(line);
    return (await shop.next()).trim();
  };
  const hashOf = (text) => wire.readInvoice(text, stage.domain).secretHash;
  const issued = (text) => bea.state.invoices[hashOf(text)];
  const forget = (text) => delete bea.state.invoices[hashOf(text)];
  const holdings = (wallet) => stage.token.balanceOf(wallet.client);

  /** A signer that signs one type with another key, or for another domain, while `liar.lies`. */
  const liarOf = (index, type, { key = accounts[index], domain = {} }) => {
    const signer = stage.account(index);
    const liar = { address: signer.address, lies: true, connect: (provider) => signer.connect(provider) };
    liar.signTypedData = (own, types, message) => (types[type] && liar.lies
      ? key.signTypedData({ ...own, ...domain }, types, message) : signer.signTypedData(own, types, message));
    return liar;
  };

  test('a client of another shard is sent on to it', LIMIT, async () => {
    const ports = new Set();
    for (let index = ADA; index <= OTHER; index++) ports.add(await stage.shardOf(index));
    assert.deepEqual([ports.size, ports.has(stage.port)], [2, true]);
  });

  test('a session is accepted, and a deposit and a wish open channels', LIMIT, async () => {
    ada = await stage.client(ADA);
    await ada.connect();
    await ada.deposit(100n * DOLLAR);
    assert.equal(ada.spendable, 99n * DOLLAR); // one percent stays as the reserve
    bea = await stage.client(BEA);
    await bea.connect();
    await bea.open(50n * DOLLAR);
    assert.deepEqual([...await stage.contract.channel(bea.key)], [50n * DOLLAR, 0n, 0n, 1n]);
    assert.equal(bea.spendable, 0n);
    await rill('carl', 'deposit', '100');
    await rill('shop', 'open', '50');
    shop = stage.listen('shop');
  });

  test('the command line pays an invoice signed with ethers, direct and locked', LIMIT, async () => {
    for (const mode of ['direct', 'locked']) {
      const before = bea.balance, received = once(bea, 'received');
      const text = await bea.invoice(2n * DOLLAR, { memo: `zwei Kaffee, ${mode} ☕` });
      const { receipt } = await rill('carl', 'pay', text, '--mode', mode);
      const [payment] = await received;
      assert.equal(receipt, payment.secret);
      assert.deepEqual([payment.isLocked, payment.memo.text], [mode === 'locked', `zwei Kaffee, ${mode} ☕`]);
      assert.equal(bea.balance - before, 2n * DOLLAR);
      const again = await stage.rill('carl', ['pay', text]);
      assert.equal(again.code, 1);
    }
  });

  test('JavaScript pays an invoice of the command line, direct and locked', LIMIT, async () => {
    for (const isLocked of [false, true]) {
      const before = ada.balance;
      const receipt = await ada.pay(await typed('2.50 two coffees'), { isLocked });
      assert.match(await shop.next(), /received 2\.50?0* .*two coffees/);
      assert.match(receipt, /^0x[0-9a-f]{64}$/);
      assert.equal(before - ada.balance, 2_500_000n + (isLocked ? feeOf(2_500_000n) : feeOf(2_500_000n)));
    }
    const text = await typed('12 dinner'); // from the hub's direct limit up, locked without asking
    await ada.pay(text);
    await shop.next();
    assert.ok(Object.values(ada.state.payments).at(-1).isLocked);
    await assert.rejects(ada.pay(text), { code: 'PAID' });
  });

  test('payments both ways at once, each with its receipt', LIMIT, async () => {
    const before = ada.balance + bea.balance;
    const there = await Promise.all(Array.from({ length: 10 }, (_, i) => bea.invoice(100_000n + BigInt(i))));
    const back = await Promise.all(Array.from({ length: 10 }, (_, i) => ada.invoice(50_000n + BigInt(i))));
    await Promise.all([...there.map((text) => ada.pay(text)), ...back.map((text) => bea.pay(text))]);
    const fees = [100_000n, 50_000n].flatMap((from) => Array.from({ length: 10 }, (_, i) => feeOf(from + BigInt(i))));
    assert.equal(before - ada.balance - bea.balance, fees.reduce((a, b) => a + b));
  });

  test('what is no answer to an invoice goes back: a refund, or FAIL, cancel and REVOKE', LIMIT, async () => {
    for (const isLocked of [false, true]) {
      const before = ada.spendable, text = await bea.invoice(3n * DOLLAR);
      forget(text);
      await assert.rejects(ada.pay(text, { isLocked }), { code: 'INVOICE' });
      assert.equal(ada.spendable, before);
      assert.deepEqual([ada.state.own.drops, ada.state.own.locks], [[], {}]);
    }
    await until(() => bea.channel.isAtRest);
    assert.ok(bea.state.hub.revoked[0] > 0n && ada.state.own.revoked[0] > 0n);
    const text = await bea.invoice(DOLLAR);
    forget(text);
    const { code, errors } = await stage.rill('carl', ['pay', text, '--mode', 'locked']);
    assert.equal(code, 1);
    assert.match(errors, /INVOICE/);
  });

  test('a cut connection loses nothing: what the hub took, and what it never got', LIMIT, async () => {
    // The hub has the payment, the payer does not know; then the payer's words do not reach the hub.
    for (const deafness of ['isDeafToHub', 'isDeafToClient']) for (const isLocked of [false, true]) {
      const before = [ada.balance, bea.balance], paid = 1_500_000n;
      const text = await bea.invoice(paid), received = once(bea, 'received');
      ada.cable[deafness] = true;
      const receipt = ada.pay(text, { isLocked });
      await until(() => ada.state.kept.length === 1);
      if (deafness === 'isDeafToHub') await until(() => issued(text).paidBy);
      const ended = once(ada, 'ended');
      ada.cable.cut();
      await ended;
      await ada.connect();
      assert.match(await receipt, /^0x/);
      await received;
      await until(() => ada.channel.isAtRest && bea.channel.isAtRest);
      assert.deepEqual([before[0] - ada.balance, bea.balance - before[1]], [paid + feeOf(paid), paid]);
    }
  });

  test('a payee whose answer was lost answers again', LIMIT, async () => {
    for (const mode of ['direct', 'locked']) {
      const before = bea.balance, text = await bea.invoice(1_200_000n);
      bea.cable.isDeafToClient = true;
      const paying = rill('carl', 'pay', text, '--mode', mode);
      await until(() => issued(text).paidBy);
      const ended = once(bea, 'ended');
      bea.cable.cut();
      await ended;
      await bea.connect();
      assert.equal((await paying).state, 'paid');
      await until(() => bea.channel.isAtRest);
      assert.equal(bea.balance - before, 1_200_000n);
    }
  });

  test('a wallet started again from its file goes on where it was', LIMIT, async () => {
    const before = bea.balance, text = await bea.invoice(DOLLAR);
    ada.cable.isDeafToHub = true;
    const paying = ada.pay(text);
    paying.catch(() => {});
    await until(() => bea.balance - before === DOLLAR);
    const known = copyOf(ada.state);
    await ada.stop();
    ada = await stage.client(ADA);
    assert.equal(copyOf(ada.state), known);
    await ada.connect();
    const id = Object.keys(ada.state.payments).at(-1);
    await ada.until(() => ada.state.payments[id].state === 'paid');
    await until(() => ada.channel.isAtRest);
    await ada.disconnect();
    await ada.connect();
    assert.equal(ada.shown.known, ada.state.own.nonce);
  });

  test('what the hub signs against the rules is refused by name, and changes nothing', LIMIT, async () => {
    const { handlers, channel } = bea, take = handlers[wire.UPDATE], seen = [], wanted = [];
    const forge = async (update, changes, signer = stage.hub) => {
      const [nonce, transferred, locked, locksRoot, body] = Object.assign([...update], changes);
      const message = { channel: channel.id, nonce, transferred, locked, locksRoot, bodyHash: ethers.keccak256(body) };
      const signature = await wire.sign(signer, stage.domain, 'BalanceProof', message);
      return [nonce, transferred, locked, locksRoot, body, signature];
    };
    const bodyOf = (...operations) => ({ 4: ethers.hexlify(wire.pack(operations)) });
    const payment = (amount) => [wire.PAY, ethers.hexlify(ethers.randomBytes(16)), ethers.ZeroAddress, amount, 0n, 1n,
      ethers.ZeroHash, { text: '' }];
    handlers[wire.UPDATE] = async (...update) => {
      const [nonce, transferred, locked] = update, much = 1n << 40n;
      for (const [code, changes, signer] of [
        ['NONCE', { 0: nonce + 1n }], ['NONCE', { 0: nonce - 1n }], ['SIGNATURE', {}, accounts[OTHER]],
        ['BODY', { 4: '0x90' }], ['BODY', { 4: '0x91c0' }],
        ['TRANSFERRED', { 1: transferred + 1n }], ['LOCKED', { 2: locked + 1n }],
        ['ROOT', { 3: ethers.id('another') }], ['NO_LOCK', bodyOf([wire.UNLOCK, 999n, ethers.ZeroHash])],
        ['AVAILABLE', { 1: bea.state.hub.transferred + much, ...bodyOf(payment(much)) }],
        ['TRANSFERRED', bodyOf(payment((1n << 63n) - 1n), payment(5n))],
      ]) {
        const before = copyOf(bea.state), forged = await forge(update, changes, signer);
        const verdict = await channel.judge(forged).then(() => 'accepted', (error) => error.code ?? error.message);
        seen.push(copyOf(bea.state) === before ? verdict : `${verdict}, and the state has changed`);
        wanted.push(code);
      }
      handlers[wire.UPDATE] = take;
      return take.apply(bea, update);
    };
    await ada.pay(await bea.invoice(DOLLAR), { isLocked: false });
    assert.equal(seen.length, 11);
    assert.deepEqual(seen, wanted);
  });

  test('a wrong chain, contract, hub or key is refused by name, on either side', LIMIT, async () => {
    const { domain } = stage, other = accounts[OTHER];
    const refused = async (how, text, options) => {
      const client = await stage.client(EVE, options);
      await assert.rejects(client.connect(), (error) => error.code === 'AUTH' && text.test(error.message), how);
      await client.stop();
    };
    await refused('hub on another chain', /chain 31337, not 1$/, { domain: { ...domain, chainId: 1 } });
    await refused('another hub', /did not prove/, { hub: other.address });
    const lies = [{ key: other }, { domain: { chainId: 1 } }, { domain: { verifyingContract: other.address } }];
    for (const lie of lies)
      await refused(Object.keys(lie), /the hub says: .*did not prove/, { signer: liarOf(EVE, 'Session', lie) });
    const expiry = bea.channel.view.now + 3600n, secretHash = ethers.id('a secret'), memo = { text: '' };
    const invoice = { payee: bea.client, asset: bea.asset, amount: DOLLAR, secretHash, expiry, memo };
    const refusedInvoice = async (signer, ofDomain, why) => {
      const text = await wire.writeInvoice(signer, ofDomain, '127.0.0.1:1', invoice);
      const { code, errors } = await stage.rill('carl', ['pay', text]);
      assert.equal(code, 1);
      assert.match(errors, why);
      await assert.rejects(ada.pay(text), { code: 'INVOICE' });
    };
    for (const lie of lies) await refusedInvoice(liarOf(BEA, 'Invoice', lie), domain, /sign/);
    await refusedInvoice(stage.account(BEA), { ...domain, chainId: 1 }, /another hub or ledger/);
  });

  test('an update with a wrong signature is refused by name; the same nonce, good, goes on', LIMIT, async () => {
    const signer = liarOf(EVE, 'BalanceProof', { key: accounts[OTHER] }), eve = await stage.client(EVE, { signer });
    await eve.connect();
    await eve.deposit(10n * DOLLAR);
    const refused = once(eve, 'refused'), paying = eve.pay(await bea.invoice(DOLLAR));
    const [error, reference] = await refused;
    assert.equal(error.code, 'SIGNATURE');
    assert.deepEqual(reference, [BigInt(wire.UPDATE), eve.channel.id, 1n]);
    await eve.disconnect();
    const [id, nonce, transferred, locked, locksRoot, body] = eve.state.kept[0];
    signer.lies = false;
    eve.state.own.signature = eve.state.kept[0][6] = await wire.sign(signer, stage.domain, 'BalanceProof',
      { channel: id, nonce, transferred, locked, locksRoot, bodyHash: ethers.keccak256(body) });
    await eve.connect();
    assert.equal(eve.shown.known, 0n);
    await paying;
    await until(() => eve.channel.isAtRest);
    // And a settlement that is not signed by the client.
    signer.signTypedData = liarOf(EVE, 'Settlement', { key: accounts[OTHER] }).signTypedData;
    const about = once(eve, 'refused');
    eve.settle(DOLLAR).catch(() => {});
    const [no, [type]] = await about;
    assert.deepEqual([no.code, type], ['SETTLE', BigInt(wire.SETTLE_SIGN)]);
    assert.deepEqual([...await stage.contract.channel(eve.key)].slice(1), [10n * DOLLAR, 0n, 1n]);
    await eve.stop();
  });

  test('a lock that nobody answers expires; one whose answer is lost is registered on the ledger', LIMIT, async () => {
    // Time leaps to a little before what is to happen, and walks from there: hub and wallet do not see one block at
    // once, and an hour between them is more than the margin allows.
    const leapBeforeExpiry = async (seconds) => {
      const { timestamp } = await stage.provider.getBlock('latest');
      const { expiry } = Object.values(ada.state.payments).at(-1);
      await stage.ledger.ask('evm_increaseTime', Number(expiry) - timestamp - seconds);
    };
    const before = [ada.spendable, bea.balance], { handlers } = bea, take = handlers[wire.UPDATE];
    handlers[wire.UPDATE] = () => {}; // asleep
    const unanswered = ada.pay(await bea.invoice(2n * DOLLAR), { isLocked: true });
    unanswered.catch(() => {});
    await until(() => ada.state.own.locked > 0n && ada.state.kept.length === 0);
    await leapBeforeExpiry(3);
    await assert.rejects(unanswered, { code: 'EXPIRED' });
    assert.equal(ada.spendable, before[0]);
    handlers[wire.UPDATE] = take;
    await bea.disconnect();
    await bea.connect();
    await until(() => Object.values(bea.state.received).at(-1).state === 'dropped' && bea.channel.isAtRest);

    bea.cable.isDeafToClient = true;
    const received = once(bea, 'received'), paying = ada.pay(await bea.invoice(2n * DOLLAR), { isLocked: true });
    await until(() => bea.state.hub.locked > 0n);
    await leapBeforeExpiry(50); // within the margin of 60
    assert.match(await paying, /^0x/);
    const [{ secretHash }] = await received;
    assert.ok(await stage.contract.registeredAt(0, secretHash) > 0n);
    bea.cable.cut();
    await until(() => !bea.socket);
    await bea.connect();
    await until(() => ada.channel.isAtRest && bea.channel.isAtRest);
    assert.equal(bea.balance - before[1], 2n * DOLLAR);
  });

  test('a settlement signed with ethers is settled on the ledger; so is a close', LIMIT, async () => {
    for (const wallet of [ada, bea]) {
      const [, base, seq] = await stage.contract.channel(wallet.key), before = await holdings(wallet);
      await wallet.settle(4n * DOLLAR);
      const settled = await stage.contract.channel(wallet.key);
      assert.deepEqual([base - settled[1], settled[2] > seq, settled[3]], [4n * DOLLAR, true, 1n]);
      assert.equal(await holdings(wallet) - before, 4n * DOLLAR);
      await assert.rejects(wallet.settle(1000n * DOLLAR), { code: 'AVAILABLE' });
    }
    await ada.pay(await bea.invoice(DOLLAR)); // payments go on
    for (const wallet of [ada, bea]) {
      await until(() => wallet.channel.isAtRest);
      const { balance } = wallet, before = await holdings(wallet);
      await wallet.settle(0n, true);
      assert.equal(await holdings(wallet) - before, balance);
      assert.deepEqual([...await stage.contract.channel(wallet.key)].filter((_, i) => i !== 2), [0n, 0n, 3n]);
    }
    assert.deepEqual([ada, bea].flatMap(({ troubles }) => troubles.map(String)), []);
  });
});
