// A hub on anvil that is measured: the real contract, deployed and called by real signed transactions, with the same
// keys, salts and amounts in every run, so that gas is the same to the unit.
import { CHAIN_ID, artifact, ethers, startAnvil } from './twins.mjs';
import { COIN, factoryAbi, hubAbi, wallets } from './world.mjs';
import { channelId, digestOf, domainOf, rootOf, sign, treeOf } from './protocol.mjs';

export const CHALLENGE_PERIOD = 86_400;
const GENESIS_TIME = 1_800_000_000, FOREVER = 1_900_000_000;
// A block has room for a batch of 500; one transaction may not take more than 2^24 since Osaka.
const BLOCK_GAS = 60_000_000, TRANSACTION_GAS = 16_000_000;
const CLIENTS = 500, WARM_SIZE = 250;
const COIN_UNIT = 10n ** 9n, POOL = 10n ** 12n;
const FUND = 10_000_000n, OUT = 2_500_000n;
const NO_SIGNATURE = [ethers.ZeroHash, ethers.ZeroHash];

const clients = Array.from({ length: CLIENTS }, (_, i) => new ethers.Wallet(ethers.id(`rill gas client ${i}`)));
const [hub, tower] = wallets;

export class GasHub {
  /** hardfork: undefined is anvil's newest. traced: keep what debug_traceTransaction needs, which is slow. */
  static async start({ hardfork, traced = false } = {}) {
    const self = new GasHub();
    self.node = await startAnvil(['--block-base-fee-per-gas', '0', '--gas-price', '0', '--gas-limit', String(BLOCK_GAS),
      '--timestamp', String(GENESIS_TIME), ...(hardfork ? ['--hardfork', hardfork] : []), ...(traced ? ['--steps-tracing'] : [])]);
    self.nonces = new Map();
    try {
      self.hardfork = (await self.node.ask('anvil_nodeInfo')).hardFork.toLowerCase();
      self.contract = await self.deploy('RillHub', ['address', 'uint64', 'uint16'], [hub.address, CHALLENGE_PERIOD, 1000]);
      self.domain = domainOf(self.contract);
      await self.list(COIN, COIN_UNIT);
      await self.call(hub, 'setTower', [tower.address, true]);
    } catch (error) {
      await self.stop();
      throw error;
    }
    return self;
  }

  stop() { return this.node.stop(); }

  /** Sends a transaction signed by its sender, which must succeed. Returns {receipt, data}. */
  async transact(from, to, data, value = 0n, accessList = undefined) {
    const nonce = this.nonces.get(from.address) ?? 0;
    this.nonces.set(from.address, nonce + 1);
    const raw = await from.signTransaction({
      type: 2, chainId: CHAIN_ID, nonce, to, data, value, accessList, gasLimit: TRANSACTION_GAS, maxFeePerGas: 0, maxPriorityFeePerGas: 0,
    });
    const hash = await this.node.ask('eth_sendRawTransaction', raw);
    const receipt = await this.node.receipt(hash);
    if (receipt.status !== '0x1') throw new Error(`a transaction to be measured failed: ${hash}`);
    return { receipt, data, hash, gas: Number(receipt.gasUsed) };
  }

  call(from, name, values, value) {
    return this.transact(from, this.contract, hubAbi.encodeFunctionData(name, values), value);
  }

  async deploy(name, types = [], values = []) {
    const data = artifact(name).bytecode + ethers.AbiCoder.defaultAbiCoder().encode(types, values).slice(2);
    const { receipt } = await this.transact(hub, null, data);
    return ethers.getAddress(receipt.contractAddress);
  }

  async list(asset, unit) {
    await this.call(hub, 'listAsset', [asset, unit]);
    await this.call(hub, 'depositPool', [asset, POOL], asset === COIN ? POOL * unit : 0n);
  }

  /** A plain ERC-20 token, listed, of which the hub has all. */
  async listToken() {
    const factory = await this.deploy('RillTokenFactory');
    const token = ethers.getCreateAddress({ from: factory, nonce: 1 });
    await this.transact(hub, factory, factoryAbi.encodeFunctionData('create', ['Euro', 'EUR', 6, 1n << 100n]));
    await this.transact(hub, token, new ethers.Interface(artifact('RillToken').abi)
      .encodeFunctionData('approve', [this.contract, (1n << 256n) - 1n]));
    await this.list(token, 1n);
    return token;
  }

  // ------------------------------------------------------------------------------------------- batches

  /** Opens a channel of the hub's money with each of `count` clients. */
  open(asset, salt, count, more = {}) {
    const funds = this.some(count, more).map(({ address }) => [[address, asset, salt], FUND]);
    return this.batch([], funds, more);
  }

  /** Settles them: with a payout, or moving the hub's money back to the pool. */
  settle(asset, salt, count, { seq, payout, ...more }) {
    const items = this.some(count, more).map((client) => {
      const key = [client.address, asset, salt];
      const [clientOut, hubOut] = payout ? [OUT, 0n] : [0n, OUT];
      const message = { channel: channelId(key), seq, clientOut, hubOut, deadline: FOREVER, close: false };
      return [key, clientOut, hubOut, FOREVER, false, ...sign(client, digestOf('Settlement', message, this.domain))];
    });
    return this.batch(items, [], more);
  }

  some(count, { from = 0 }) { return clients.slice(from, from + count); }

  /** accessList: name beforehand what the batch will touch (EIP-2930), as the node finds it. */
  async batch(items, funds, { accessList = false } = {}) {
    const data = hubAbi.encodeFunctionData('settleBatch', [items, funds, ethers.id('journal')]);
    const message = { from: hub.address, to: this.contract, data };
    const list = accessList ? (await this.node.ask('eth_createAccessList', message, 'latest')).accessList : undefined;
    return this.transact(hub, this.contract, data, 0n, list);
  }

  /** Makes `count` clients holders of the asset, and the counter of batches one that has counted. */
  async warm(asset, count) {
    const salt = 1_000_000n;
    for (let from = 0; from < count; from += WARM_SIZE) {
      const size = Math.min(WARM_SIZE, count - from);
      await this.open(asset, salt, size, { from });
      await this.settle(asset, salt, size, { seq: 1, payout: true, from });
    }
  }

  // ------------------------------------------------------------------------------------------- disputes

  /**
   * A client closes with an old claim, showing the hub's proof; hub or tower challenges with a newer one; then it is
   * finished, with a penalty (and a bounty for a tower). Returns the gas of each transaction.
   */
  async dispute(asset, salt, { byTower = false, locks = false }) {
    const client = clients[0], key = [client.address, asset, salt];
    await this.batch([], [[key, FUND]]);
    const tokenOrCoin = asset === COIN ? FUND * COIN_UNIT : 0n;
    await this.call(hub, 'deposit', [key, FUND], tokenOrCoin);
    const lock = (id) => [id, 50_000n, BigInt(FOREVER), 0, ethers.id('condition')];
    const stream = (nonce, transferred, ids) => [nonce, transferred, BigInt(ids.length) * 50_000n,
      rootOf(treeOf(ids.map(lock)))];
    const own = stream(3n, 1_000_000n, locks ? [1n] : []);
    const hubs = [...stream(7n, 2_000_000n, locks ? [1n, 2n] : []), ethers.id('body of the hub')];
    const newer = [...stream(5n, 1_500_000n, locks ? [2n] : []), ethers.id('body of the client')];
    const signed = (signer, [nonce, transferred, locked, locksRoot, bodyHash]) =>
      sign(signer, digestOf('BalanceProof', { channel: channelId(key), nonce, transferred, locked, locksRoot, bodyHash }, this.domain));
    const startClose = (await this.call(client, 'startClose', [key, hubs, ...signed(hub, hubs), own])).gas;
    const challenger = byTower ? tower : hub;
    const challenge = (await this.call(challenger, 'challenge',
      [key, newer, ...signed(client, newer), ethers.ZeroAddress, ...NO_SIGNATURE])).gas;
    await this.node.ask('evm_increaseTime', CHALLENGE_PERIOD * 2);
    const finish = (await this.call(challenger, 'finish', [key])).gas;
    return { startClose, challenge, finish, total: startClose + challenge + finish };
  }
}
