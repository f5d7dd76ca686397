// What the calls of the differential test reached: function by function each outcome, each event, each path. What the
// interface names and no call reached is a failure of the test itself: nothing was compared there.
import { artifact, ethers } from './twins.mjs';
import { hubAbi } from './world.mjs';

const contract = new ethers.Interface(artifact('IRillHub').abi);
const namesOf = (type) => contract.fragments.filter((one) => one.type === type).map((one) => one.name);

/** protocol.md, section 6: every error that each function may answer with. */
const REFUSALS = {
  listAsset: ['NotHub', 'AssetAlreadyListed', 'WrongValue'],
  depositPool: ['AssetUnknown', 'AmountTooLarge', 'WrongValue'],
  withdrawPool: ['NotHub', 'AssetUnknown', 'PoolTooLow', 'TransferFailed'],
  deposit: ['BadKey', 'AssetUnknown', 'BadStatus', 'AmountTooLarge', 'WrongValue'],
  settleBatch: ['NotHub'],
  setTower: ['NotHub'],
  startClose: ['BadStatus', 'NotParty', 'BadSignature', 'BadClaim'],
  challenge: ['BadStatus', 'BadSignature', 'NotAuthorised', 'TooLate', 'NotNewer'],
  voidLocks: ['BadStatus', 'TooLate', 'BadSignature', 'NotNewer'],
  finish: ['BadStatus', 'TooEarly'],
  registerSecret: [],
  registerAttestation: ['BadSignature'],
  unlock: ['BadStatus', 'BadLockProof', 'AlreadyUnlocked', 'NotUnlockable'],
  withdrawOwed: ['NothingOwed', 'TransferFailed'],
};

const FINISHED_PARTS = ['toClient', 'toHub', 'heldClient', 'heldHub', 'penalty', 'bounty'];
/** Ways through one function that its events tell apart. */
const PATHS = [
  ...[1, 2, 3, 4].map((reason) => `item skipped ${reason}`), ...[1, 4, 5].map((reason) => `fund skipped ${reason}`),
  'settled', 'settled and closed', 'close by hub', 'close by client', 'challenged fraud', 'challenged no fraud',
  'challenged by partner', 'challenged by tower', 'unlocked to receiver', 'unlocked to sender',
  ...FINISHED_PARTS.map((part) => `finished with ${part}`),
];

function pathsOf({ name, args }) {
  switch (name) {
    case 'SettleSkipped': return [`${args.fund ? 'fund' : 'item'} skipped ${args.reason}`];
    case 'Settled': return [args.close ? 'settled and closed' : 'settled'];
    case 'CloseStarted': return [`close by ${args.byHub ? 'hub' : 'client'}`];
    case 'Challenged': return [`challenged ${args.fraud ? 'fraud' : 'no fraud'}`, `challenged by ${args.byPartner ? 'partner' : 'tower'}`];
    case 'Unlocked': return [args.toReceiver ? 'unlocked to receiver' : 'unlocked to sender'];
    case 'Finished': return FINISHED_PARTS.filter((part) => args[part] > 0n).map((part) => `finished with ${part}`);
    default: return [];
  }
}

const add = (map, key, more) => map.set(key, (map.get(key) ?? 0) + more);

export class Coverage {
  outcomes = new Map(); // 'function outcome' -> how often
  gas = new Map(); // function -> gas of all that succeeded
  seen = new Map(); // event or path -> how often

  count(name, { name: outcome, gas, events }) {
    add(this.outcomes, `${name} ${outcome}`, 1);
    if (outcome === 'ok') add(this.gas, name, gas);
    for (const event of events) {
      const parsed = hubAbi.parseLog(event);
      if (parsed) for (const one of [parsed.name, ...pathsOf(parsed)]) add(this.seen, one, 1);
    }
  }

  toJSON() { return { outcomes: [...this.outcomes], gas: [...this.gas], seen: [...this.seen] }; }

  /** Adds what another process counted. */
  merge(other) {
    for (const part of ['outcomes', 'gas', 'seen']) for (const [key, more] of other[part]) add(this[part], key, more);
  }

  /** Everything that the interface names and no call reached. */
  missing() {
    const functions = contract.fragments.filter((one) => one.type === 'function' && !one.constant).map((one) => one.name);
    const refusals = new Set(Object.values(REFUSALS).flat());
    return [
      ...namesOf('error').filter((error) => !refusals.has(error)).map((error) => `${error}: no function is listed with it`),
      ...functions.flatMap((name) => ['ok', ...REFUSALS[name] ?? ['its errors']].map((outcome) => `${name} ${outcome}`))
        .filter((one) => !this.outcomes.has(one)),
      ...[...namesOf('event'), ...PATHS].filter((one) => !this.seen.has(one)),
    ];
  }

  report() {
    const rows = new Map();
    for (const [key, times] of this.outcomes) {
      const [name, ...outcome] = key.split(' ');
      if (!rows.has(name)) rows.set(name, []);
      rows.get(name).push([outcome.join(' '), times]);
    }
    for (const [name, row] of [...rows].sort())
      console.log(`${name.padEnd(20)} ${row.sort((a, b) => b[1] - a[1]).map(([outcome, times]) =>
        `${outcome} ${times}${outcome === 'ok' ? ` (gas ${Math.round(this.gas.get(name) / times)})` : ''}`).join(', ')}`);
    console.log([...this.seen].sort().map(([one, times]) => `${one} ${times}`).join(', '));
  }
}
