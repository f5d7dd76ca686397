// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IRillHub} from "rill/IRillHub.sol";
import {vm} from "./Cheats.sol";
import {Fixture, Party} from "./Fixture.sol";
import {LockTree} from "./LockTree.sol";
import {Protocol} from "./Protocol.sol";
import {Random, Randoms} from "./Random.sol";

/// Channels as protocol.md, sections 3, 4 and 8 have them, each between somebody honest and a cheat. Sides and streams are
/// indexed 0 client, 1 hub. A proof's nonce is its index in its stream.
abstract contract HonestWorld is Fixture {
    using Randoms for Random;

    struct Version {
        uint64 transferred;
        uint256 pending; // a bit per lock
    }

    struct Stream {
        uint64 minNonce; // what the receiver's newest Revocation says
        uint256 frozen; // locks dropped, not revoked yet
        Version[] versions;
        IRillHub.Lock[] locks; // id: index + 1
    }

    enum Watch {
        Self,
        Tower, // the honest side sleeps
        Nobody
    }

    struct Channel {
        IRillHub.Key key;
        Party client;
        uint256 honest; // which side
        Watch watch;
        uint256[2] out; // a settlement that is signed and not yet on the ledger
        IRillHub.SettleItem item;
        Stream[2] streams;
    }

    uint256 internal constant CHANNELS = 4;
    uint256 internal constant LOCKS_MAX = 200;
    uint256 internal constant SECRETS = 40;

    Party internal friend = _party(0xA7); // of the cheats: a tower whose Choices it also has
    Channel[] internal channels; // all there ever were
    uint256[CHANNELS] internal current;
    bytes32[] internal secrets; // in the order of their locks; whoever learns one registers it, or not
    uint64 internal salt;
    mapping(string => uint256) public count;

    // --------------------------------------------------------------------------------------------- histories

    function _begin(uint256 slot, Random memory random) internal {
        current[slot] = channels.length;
        Channel storage c = channels.push();
        c.client = _party(0xC000 + channels.length);
        c.key = _key(c.client, random.chance(50) ? COIN : address(token), ++salt);
        c.honest = random.below(2);
        c.watch = Watch(random.below(3));
        for (uint256 i = 0; i < 2; i++) {
            c.streams[i].versions.push();
        }
        _deposit(hub.who, c.key, 1 + uint64(random.below(200)));
        _fund(c.key, 1 + uint64(random.below(300)));
    }

    /// A channel with this status, where there is one.
    function _pick(Random memory random, uint8 status) internal view returns (Channel storage c) {
        uint256 first = random.below(CHANNELS);
        c = channels[current[first]];
        for (uint256 i = 1; i < CHANNELS && _status(c.key) != status; i++) {
            c = channels[current[(first + i) % CHANNELS]];
        }
    }

    function _party(Channel storage c, uint256 side) internal view returns (Party memory) {
        return side == 0 ? c.client : hub;
    }

    function _newest(Channel storage c, uint256 stream) internal view returns (Version storage) {
        return c.streams[stream].versions[c.streams[stream].versions.length - 1];
    }

    function _sum(Stream storage stream, uint256 bits) internal view returns (uint256 sum) {
        for (uint256 i = 0; bits >> i != 0; i++) {
            if (bits >> i & 1 == 1) sum += stream.locks[i].amount;
        }
    }

    function _ownBase(Channel storage c, uint256 side) internal view returns (int256) {
        (uint64 total, int64 base,,) = rill.channel(c.key);
        return side == 0 ? int256(base) : int256(uint256(total)) - base;
    }

    function _balance(Channel storage c, uint256 side) internal view returns (int256) {
        return _ownBase(c, side) - int256(uint256(_newest(c, side).transferred))
            + int256(uint256(_newest(c, 1 - side).transferred));
    }

    function _available(Channel storage c, uint256 side) internal view returns (uint256) {
        Stream storage stream = c.streams[side];
        int256 left = _balance(c, side) - int256(_sum(stream, _newest(c, side).pending | stream.frozen) + c.out[side]);
        vm.assertGe(left, 0, "an honest history never overspends");
        return uint256(left);
    }

    function _isOpen(Channel storage c) internal view returns (bool) {
        return _status(c.key) == OPEN;
    }

    function _oneOf(uint256 bits, Random memory random) internal pure returns (uint256 index) {
        index = random.below(256);
        while (bits >> index & 1 == 0) index = (index + 1) % 256;
    }

    /// Mostly a part, so that something is left for what comes after.
    function _part(uint256 most, Random memory random) internal pure returns (uint64) {
        return random.amount(random.chance(10) ? most : (most + 3) / 4);
    }

    /// A stream of the channel; the other one, if there is nothing in this one's bits.
    function _streamWith(Channel storage c, bool frozen, Random memory random) internal view returns (Stream storage) {
        uint256 side = random.below(2);
        uint256 bits = frozen ? c.streams[side].frozen : _newest(c, side).pending;
        return c.streams[bits == 0 ? 1 - side : side];
    }

    function pay(uint256 seed) external {
        Random memory random = Random(seed);
        Channel storage c = _pick(random, OPEN);
        uint256 side = random.below(2);
        if (!_isOpen(c) || _available(c, side) == 0) return;
        Version memory next = _newest(c, side);
        next.transferred += _part(_available(c, side), random);
        c.streams[side].versions.push(next);
        count["pay"]++;
    }

    function lock(uint256 seed) external {
        Random memory random = Random(seed);
        Channel storage c = _pick(random, OPEN);
        uint256 side = random.below(2);
        Stream storage stream = c.streams[side];
        uint256 index = stream.locks.length;
        if (!_isOpen(c) || _available(c, side) == 0 || index >= LOCKS_MAX) return;
        uint64 amount = _part(_available(c, side), random);
        // No lock outlives the window of a close begun now: section 7's rule for challenges leaves out locks whose witness is
        // not known yet, and one that became known later would be lost (docs/contract.md).
        uint64 expiry = uint64(block.timestamp + random.below(PERIOD));
        bytes32 secret = bytes32(1 + random.below(SECRETS) + SECRETS * salt);
        stream.locks.push(IRillHub.Lock(uint64(index + 1), amount, expiry, 0, Protocol.conditionOf(secret)));
        Version memory next = _newest(c, side);
        next.pending |= 1 << index;
        stream.versions.push(next);
        count["lock"]++;
        secrets.push(secret);
    }

    /// A pending lock becomes transferred money, or is dropped: its sender may then not use the amount until revoked.
    function resolve(uint256 seed) external {
        Random memory random = Random(seed);
        Channel storage c = _pick(random, OPEN);
        Stream storage stream = _streamWith(c, false, random);
        Version memory next = stream.versions[stream.versions.length - 1];
        if (!_isOpen(c) || next.pending == 0) return;
        uint256 index = _oneOf(next.pending, random);
        next.pending &= ~(1 << index);
        if (random.chance(50)) {
            next.transferred += stream.locks[index].amount;
            count["unlock off the ledger"]++;
        } else {
            stream.frozen |= 1 << index;
            count["drop"]++;
        }
        stream.versions.push(next);
    }

    function revoke(uint256 seed) external {
        Random memory random = Random(seed);
        Channel storage c = _pick(random, OPEN);
        Stream storage stream = _streamWith(c, true, random);
        if (!_isOpen(c) || stream.frozen == 0) return;
        stream.minNonce = uint64(stream.versions.length - 1);
        stream.frozen = 0;
        count["revoke"]++;
    }

    function settle(uint256 seed) external {
        Random memory random = Random(seed);
        Channel storage c = _pick(random, OPEN);
        if (!_isOpen(c)) return;
        if (c.item.deadline == 0) {
            (,, uint32 seq,) = rill.channel(c.key);
            IRillHub.SettleItem memory item = _itemOf(c.key, 0, 0);
            item.clientOut = _part(_available(c, 0), random);
            item.hubOut = _part(_available(c, 1), random);
            item.deadline = uint64(block.timestamp + random.below(PERIOD));
            _signItem(c.client, item, seq + 1);
            c.item = item;
            c.out = [uint256(item.clientOut), item.hubOut];
            if (random.chance(40)) return; // later, or never
        }
        _submit(c);
    }

    function _submit(Channel storage c) internal {
        (,, uint32 before,) = rill.channel(c.key);
        _does(hub.who, _batchOf(c.item));
        (,, uint32 seq,) = rill.channel(c.key);
        bool isGood = block.timestamp <= c.item.deadline;
        vm.assertEq(seq, isGood ? before + 1 : before, "an honest settlement is skipped only after its deadline");
        count[isGood ? "settle" : "settle too late"]++;
        delete c.item;
        delete c.out;
    }

    /// Both sides agree on the end, with nothing pending: the client gets its balance and whatever strays in, the hub the rest.
    function closeAgreed(uint256 seed) external {
        Random memory random = Random(seed);
        uint256 slot = random.below(CHANNELS);
        Channel storage c = channels[current[slot]];
        bool isQuiet = _newest(c, 0).pending | _newest(c, 1).pending | c.streams[0].frozen | c.streams[1].frozen == 0;
        if (!_isOpen(c) || !isQuiet || c.item.deadline != 0) return;
        IRillHub.SettleItem memory item = _itemOf(c.key, uint64(_available(c, 0)), uint64(_available(c, 1)));
        item.close = true;
        (,, uint32 seq,) = rill.channel(c.key);
        _signItem(c.client, item, seq + 1);
        uint64 stray = uint64(random.below(3));
        if (stray != 0) _deposit(stranger.who, c.key, stray);
        uint256 wealth = _wealth(c.client.who, c.key.asset);
        uint64 pool = rill.pool(c.key.asset);
        _does(hub.who, _batchOf(item));
        vm.assertEq(_status(c.key), CLOSED, "an agreed close cannot be blocked");
        uint256 paid = (_wealth(c.client.who, c.key.asset) - wealth) / _unit(c.key.asset);
        vm.assertEq(paid, uint256(item.clientOut) + stray, "the client has its balance");
        vm.assertEq(rill.pool(c.key.asset) - pool, item.hubOut, "the hub has the rest");
        count["agreed close"]++;
        _begin(slot, random);
    }

    function fund(uint256 seed) external {
        Random memory random = Random(seed);
        Channel storage c = _pick(random, OPEN);
        if (!_isOpen(c)) return;
        if (random.chance(50)) _fund(c.key, 1 + uint64(random.below(50)));
        else _deposit(hub.who, c.key, 1 + uint64(random.below(50)));
        count["fund"]++;
    }

    function register(uint256 seed) external {
        if (secrets.length == 0) return;
        uint256 recent = secrets.length < 12 ? secrets.length : 12;
        bytes32 secret = secrets[secrets.length - 1 - seed % recent];
        _does(stranger.who, abi.encodeCall(rill.registerSecret, (secret)));
        count["register"]++;
    }

    // ------------------------------------------------------------------------------------ what is signed, and due

    function _lockList(Stream storage stream, uint256 bits) internal view returns (IRillHub.Lock[] memory list) {
        list = new IRillHub.Lock[](_bitCount(bits));
        uint256 n = 0;
        for (uint256 i = 0; bits >> i != 0; i++) {
            if (bits >> i & 1 == 1) list[n++] = stream.locks[i];
        }
    }

    function _bitCount(uint256 bits) internal pure returns (uint256 n) {
        for (; bits != 0; bits &= bits - 1) {
            n++;
        }
    }

    function _proofAt(Channel storage c, uint256 side, uint256 nonce) internal view returns (IRillHub.Proof memory) {
        if (nonce == 0) return _noProof();
        Stream storage stream = c.streams[side];
        Version storage version = stream.versions[nonce];
        bytes32 root = LockTree.root(_lockList(stream, version.pending));
        return _proof(uint64(nonce), version.transferred, uint64(_sum(stream, version.pending)), root);
    }

    function _lastNonce(Channel storage c, uint256 side) internal view returns (uint256) {
        return c.streams[side].versions.length - 1;
    }

    function _isMet(IRillHub.Lock storage l) internal view returns (bool) {
        uint64 when = rill.registeredAt(l.kind, l.condition);
        return when != 0 && when <= l.expiry;
    }

    function _met(Stream storage stream, uint256 bits) internal view returns (int256 sum) {
        for (uint256 i = 0; bits >> i != 0; i++) {
            if (bits >> i & 1 == 1 && _isMet(stream.locks[i])) sum += int256(uint256(stream.locks[i].amount));
        }
    }

    /// What the newest durable state entitles a side to, once all expiries are past: its balance, less its own locks that
    /// pay (dropped ones too, until revoked), plus the other side's that pay.
    function _due(Channel storage c, uint256 side) internal view returns (int256) {
        Stream storage own = c.streams[side];
        return _balance(c, side) - _met(own, _newest(c, side).pending | own.frozen)
            + _met(c.streams[1 - side], _newest(c, 1 - side).pending);
    }

    /// What it is left with at worst, where nobody watches: its funds, less the most it ever sent and locked.
    function _promise(Channel storage c, uint256 side) internal view returns (int256) {
        Stream storage own = c.streams[side];
        uint256 most = 0;
        for (uint256 i = 0; i < own.versions.length; i++) {
            uint256 sent = own.versions[i].transferred + _sum(own, own.versions[i].pending);
            if (sent > most) most = sent;
        }
        return _ownBase(c, side) - int256(most);
    }
}
