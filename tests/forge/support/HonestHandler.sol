// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IRillHub} from "rill/IRillHub.sol";
import {vm} from "./Cheats.sol";
import {Party} from "./Fixture.sol";
import {HonestWorld} from "./HonestWorld.sol";
import {LockTree} from "./LockTree.sol";
import {Protocol, Signature} from "./Protocol.sol";
import {Random, Randoms} from "./Random.sol";

/// How those channels end. A cheat closes with whatever it likes, or answers a close with whatever it likes, helped by a
/// tower that kept old Choices; the honest side, or its tower, answers by section 7's rule, at the last second that counts
/// if not before. `conclude` then adds up whether the honest side has what it is due.
contract HonestHandler is HonestWorld {
    using Randoms for Random;

    int256 public leastGain = type(int256).max; // over all closes: what the honest side got, less what it was due

    constructor() {
        setUp();
        _does(hub.who, abi.encodeCall(rill.setTower, (tower.who, true)));
        _depositPool(COIN, 100_000);
        _depositPool(address(token), 100_000);
        for (uint256 slot = 0; slot < CHANNELS; slot++) {
            _begin(slot, Random(slot + 1));
        }
    }

    function _isClosing(Channel storage c) internal view returns (bool) {
        return _status(c.key) == CLOSING;
    }

    // ------------------------------------------------------------------------------------------------ closing

    function honestCloses(uint256 seed) external {
        Random memory random = Random(seed);
        Channel storage c = _pick(random, OPEN);
        if (!_isOpen(c) || random.chance(70)) return;
        IRillHub.Claim memory own = Protocol.claim(_proofAt(c, c.honest, _lastNonce(c, c.honest)));
        uint256 shown = _lastNonce(c, 1 - c.honest);
        _does(_party(c, c.honest).who, _closeCall(c, c.honest, own, shown));
        count["honest close"]++;
    }

    function _closeCall(Channel storage c, uint256 closer, IRillHub.Claim memory own, uint256 shown)
        internal
        view
        returns (bytes memory)
    {
        IRillHub.Proof memory proof = _proofAt(c, 1 - closer, shown);
        return _startClose(c.key, proof, _signProof(_party(c, 1 - closer), c.key, proof), own);
    }

    /// With any old proof of the honest stream, and any claim that the ledger lets pass.
    function cheatCloses(uint256 seed) external {
        Random memory random = Random(seed);
        Channel storage c = _pick(random, OPEN);
        if (!_isOpen(c) || random.chance(40)) return;
        uint256 cheat = 1 - c.honest;
        uint256 shown = _oldProof(c, c.honest, random);
        int256 limit = _ownBase(c, cheat) + int256(uint256(c.streams[c.honest].versions[shown].transferred));
        bytes memory call = _closeCall(c, cheat, _lie(c, random, limit), shown);
        (bool success,) = _try(_party(c, cheat).who, 0, call);
        vm.assertTrue(success || limit < 0, "a claim within the limit is taken");
        if (success) count["cheat's close"]++;
    }

    /// Any proof of the honest stream, or greedily the one that brings the most if every lock of it pays: then the cheat
    /// sees to it that they do.
    function _oldProof(Channel storage c, uint256 side, Random memory random) internal returns (uint256 nonce) {
        Stream storage stream = c.streams[side];
        uint256 last = _lastNonce(c, side);
        if (random.chance(40)) return random.below(last + 1);
        uint256 most = 0;
        for (uint256 i = last; i > 0; i--) {
            uint256 brings = stream.versions[i].transferred + _sum(stream, stream.versions[i].pending);
            if (brings > most) (most, nonce) = (brings, i);
        }
        uint256 pending = stream.versions[nonce].pending;
        for (uint256 i = 0; pending >> i != 0; i++) {
            bool isLive = pending >> i & 1 == 1 && stream.locks[i].expiry >= block.timestamp;
            if (isLive) _registerConditionOf(stream.locks[i]);
        }
    }

    /// An old claim, or numbers made up, with the locks of an old proof or of none.
    function _lie(Channel storage c, Random memory random, int256 limit)
        internal
        view
        returns (IRillHub.Claim memory own)
    {
        uint256 cheat = 1 - c.honest;
        own = Protocol.claim(_proofAt(c, cheat, random.below(_lastNonce(c, cheat) + 1)));
        if (limit < 0) return own;
        if (random.chance(40)) own.nonce = uint64(random.chance(30) ? FAR : random.below(_lastNonce(c, cheat) + 4));
        if (random.chance(40)) own.transferred = uint64(random.below(uint256(limit) + 1));
        if (random.chance(30)) own.locked = uint64(random.below(uint256(limit) + 1));
        if (random.chance(20)) own.locksRoot = keccak256("made up");
        if (own.transferred > uint256(limit)) own.transferred = uint64(uint256(limit));
        if (own.locked > uint256(limit) - own.transferred) own.locked = uint64(uint256(limit) - own.transferred);
    }

    /// The cheat, as the partner of an honest closer, challenges with any proof; as the closer, it has a friend among the
    /// honest side's towers, who shows any proof that was once chosen.
    function cheatMeddles(uint256 seed) external {
        Random memory random = Random(seed);
        Channel storage c = _pick(random, CLOSING);
        if (!_isClosing(c)) return;
        bool byHonest = rill.closing(c.key).byHub == (c.honest == 1);
        uint256 closer = byHonest ? c.honest : 1 - c.honest;
        uint256 nonce = byHonest ? _oldProof(c, closer, random) : random.below(_lastNonce(c, closer) + 1);
        if (nonce == 0 || (!byHonest && c.watch == Watch.Nobody)) return;
        IRillHub.Proof memory proof = _proofAt(c, closer, nonce);
        Signature memory by = _signProof(_party(c, closer), c.key, proof);
        Signature memory choice = _signChoice(_party(c, 1 - closer), c.key, proof, friend.who);
        address caller = byHonest ? _party(c, 1 - closer).who : stranger.who;
        (bool success,) = _try(caller, 0, _challenge(c.key, proof, by, friend.who, choice));
        if (success) count[byHonest ? "cheat's challenge" : "bad tower's challenge"]++;
    }

    /// Without the receiver's authority nothing moves, whatever is shown and whoever has signed it.
    function strangerMeddles(uint256 seed) external {
        Random memory random = Random(seed);
        Channel storage c = _pick(random, CLOSING);
        if (!_isClosing(c)) return;
        bytes memory before = abi.encode(rill.closing(c.key));
        uint256 closer = rill.closing(c.key).byHub ? 1 : 0;
        IRillHub.Proof memory proof = _proofAt(c, closer, random.below(_lastNonce(c, closer) + 1));
        if (random.chance(50)) proof = _proof(FAR - uint64(random.below(9)), uint64(random.below(500)), 0, 0);
        Party[3] memory people = [stranger, friend, _party(c, closer)];
        Signature memory by = _signProof(random.chance(80) ? people[2] : people[0], c.key, proof);
        address tower_ = random.chance(20) ? address(0) : people[random.below(3)].who;
        Signature memory choice = _signChoice(people[random.below(3)], c.key, proof, tower_);
        (bool success,) = _try(people[random.below(3)].who, 0, _challenge(c.key, proof, by, tower_, choice));
        vm.assertFalse(success, "a stranger's challenge");
        vm.assertEq(abi.encode(rill.closing(c.key)), before, "changes nothing");
        count["stranger"]++;
    }

    // ----------------------------------------------------------------------------------------------- watching

    function watch(uint256 seed) external {
        Random memory random = Random(seed);
        Channel storage c = _pick(random, CLOSING);
        if (_isClosing(c) && c.watch != Watch.Nobody && random.chance(30)) _answer(c);
    }

    /// Time moves, and whoever watches takes each last chance on the way.
    function pass(uint256 seed) external {
        _passTo(block.timestamp + 1 + seed % (PERIOD / 2));
        count["pass"]++;
    }

    function _passTo(uint256 time) internal {
        for (uint256 next = _nextChance(time); next != 0; next = _nextChance(time)) {
            vm.warp(next);
            for (uint256 slot = 0; slot < CHANNELS; slot++) {
                Channel storage c = channels[current[slot]];
                if (_isClosing(c) && c.watch != Watch.Nobody && _isChance(c, next)) _answer(c);
            }
        }
        if (time > block.timestamp) vm.warp(time);
    }

    /// The second before each limit at which the watcher has a last word.
    function _chances(Channel storage c) internal view returns (uint256[4] memory) {
        uint256 d = rill.closing(c.key).deadline;
        return [d - 1, _limit(d, 1) - 1, _limit(d, 2) - 1, _limit(d, 3) - 1];
    }

    function _isChance(Channel storage c, uint256 time) internal view returns (bool) {
        uint256[4] memory chances = _chances(c);
        return time == chances[0] || time == chances[1] || time == chances[2] || time == chances[3];
    }

    function _nextChance(uint256 time) internal view returns (uint256 next) {
        for (uint256 slot = 0; slot < CHANNELS; slot++) {
            Channel storage c = channels[current[slot]];
            if (!_isClosing(c)) continue;
            uint256[4] memory chances = _chances(c);
            for (uint256 i = 0; i < 4; i++) {
                if (chances[i] <= block.timestamp || chances[i] > time) continue;
                if (next == 0 || chances[i] < next) next = chances[i];
            }
        }
    }

    function _answer(Channel storage c) internal {
        _registerKnown(c);
        IRillHub.Closing memory closing = rill.closing(c.key);
        bool byHonest = closing.byHub == (c.honest == 1);
        if (!byHonest) _answerCheat(c, closing);
        _voidDropped(c, byHonest, closing);
    }

    /// The honest side knows every second secret of the locks towards it.
    function _registerKnown(Channel storage c) internal {
        Stream storage theirs = c.streams[1 - c.honest];
        uint256 pending = _newest(c, 1 - c.honest).pending;
        for (uint256 i = 0; pending >> i != 0; i++) {
            if (pending >> i & 1 == 0 || !_isKnown(theirs.locks[i])) continue;
            if (theirs.locks[i].expiry >= block.timestamp) _registerConditionOf(theirs.locks[i]);
        }
    }

    function _isKnown(IRillHub.Lock storage l) internal view returns (bool) {
        return l.amount % 2 == 0 || rill.registeredAt(l.kind, l.condition) != 0;
    }

    function _registerConditionOf(IRillHub.Lock storage l) internal {
        for (uint256 i = secrets.length; i > 0; i--) {
            if (Protocol.conditionOf(secrets[i - 1]) != l.condition) continue;
            _does(tower.who, abi.encodeCall(rill.registerSecret, (secrets[i - 1])));
            return;
        }
    }

    /// Section 7: at a nonce no higher than mine on any difference, else where less is transferred than I can show.
    function _answerCheat(Channel storage c, IRillHub.Closing memory closing) internal {
        uint256 cheat = 1 - c.honest;
        IRillHub.Proof memory newest = _proofAt(c, cheat, _lastNonce(c, cheat));
        IRillHub.Claim memory stands = closing.byHub ? closing.ofHub : closing.ofClient;
        if (newest.nonce == 0 || keccak256(abi.encode(Protocol.claim(newest))) == keccak256(abi.encode(stands))) {
            return;
        }
        if (stands.nonce > newest.nonce) {
            uint256 shows = newest.transferred + _known(c.streams[cheat], _newest(c, cheat).pending);
            if (stands.transferred >= shows) return;
        }
        uint256 eighths = !closing.challenged ? 0 : c.watch == Watch.Self ? 2 : 1;
        if (block.timestamp >= _limit(closing.deadline, eighths)) return;
        Signature memory by = _signProof(_party(c, cheat), c.key, newest);
        Party memory honest = _party(c, c.honest);
        if (c.watch == Watch.Self) {
            _does(honest.who, _challenge(c.key, newest, by));
            count[closing.challenged ? "honest over a bad tower" : "honest challenge"]++;
        } else if (c.honest == 1) {
            _does(tower.who, _challenge(c.key, newest, by));
            count["set tower's challenge"]++;
        } else {
            Signature memory choice = _signChoice(honest, c.key, newest, tower.who);
            _does(tower.who, _challenge(c.key, newest, by, tower.who, choice));
            count["chosen tower's challenge"]++;
        }
    }

    function _known(Stream storage stream, uint256 bits) internal view returns (uint256 sum) {
        for (uint256 i = 0; bits >> i != 0; i++) {
            if (bits >> i & 1 == 1 && _isKnown(stream.locks[i])) sum += stream.locks[i].amount;
        }
    }

    /// Old locks of one's own stream shown: the other side's Revocation voids them.
    function _voidDropped(Channel storage c, bool byHonest, IRillHub.Closing memory closing) internal {
        bool ofClient = c.honest == 0;
        uint64 minNonce = c.streams[c.honest].minNonce;
        uint64 stored = ofClient ? closing.minNonceOfClient : closing.minNonceOfHub;
        uint64 shown = ofClient ? closing.ofClient.nonce : closing.ofHub.nonce;
        bool isShown = !byHonest || closing.challenged;
        if (!isShown || shown >= minNonce || stored >= minNonce) return;
        if (block.timestamp >= _limit(closing.deadline, 3)) return;
        _does(tower.who, _voidLocks(_party(c, 1 - c.honest), c.key, ofClient, minNonce));
        count["void"]++;
    }

    // ------------------------------------------------------------------------------------------------- the end

    function conclude(uint256 seed) external {
        Random memory random = Random(seed);
        uint256 slot = random.below(CHANNELS);
        if (_isClosing(channels[current[slot]]) && random.chance(60)) _conclude(slot, random);
    }

    /// Brings every close to its end.
    function concludeAll() external {
        for (uint256 slot = 0; slot < CHANNELS; slot++) {
            if (_isClosing(channels[current[slot]])) _conclude(slot, Random(slot));
        }
    }

    function _conclude(uint256 slot, Random memory random) internal {
        Channel storage c = channels[current[slot]];
        uint256 end = _limit(rill.closing(c.key).deadline, 3);
        if (end > block.timestamp) _passTo(end);
        uint256 before = _has(c);
        int256 ownBase = _ownBase(c, c.honest);
        int256 worst = _promise(c, c.honest);
        (bool success,) = _try(stranger.who, 0, abi.encodeCall(rill.finish, (c.key)));
        vm.assertTrue(success, "a close reaches its end");
        if (random.chance(50)) _registerSome(c, random);
        _passTo(_lastExpiry(c) + 1);
        _unlockAll(c, random);
        // The ledger has forgotten the base: what is due is counted from nothing, and the base added.
        int256 due = c.watch == Watch.Nobody ? worst : _due(c, c.honest) + ownBase;
        int256 gain = int256(_has(c) - before) - due;
        if (gain < leastGain) leastGain = gain;
        count[c.watch == Watch.Nobody ? "end unwatched" : c.honest == 0 ? "end, client honest" : "end, hub honest"]++;
        _begin(slot, random);
    }

    /// What the honest side has outside its channels.
    function _has(Channel storage c) internal view returns (uint256) {
        if (c.honest == 1) return uint256(rill.pool(c.key.asset)) + rill.owed(hub.who, c.key.asset);
        uint256 paid = _wealth(c.client.who, c.key.asset) / _unit(c.key.asset);
        return paid + rill.owed(c.client.who, c.key.asset);
    }

    function _registerSome(Channel storage c, Random memory random) internal {
        for (uint256 side = 0; side < 2; side++) {
            Stream storage stream = c.streams[side];
            for (uint256 i = 0; i < stream.locks.length; i++) {
                if (random.chance(20)) _registerConditionOf(stream.locks[i]);
            }
        }
    }

    function _lastExpiry(Channel storage c) internal view returns (uint256 last) {
        last = block.timestamp;
        for (uint256 side = 0; side < 2; side++) {
            for (uint256 i = 0; i < c.streams[side].locks.length; i++) {
                if (c.streams[side].locks[i].expiry > last) last = c.streams[side].locks[i].expiry;
            }
        }
    }

    function _unlockAll(Channel storage c, Random memory random) internal {
        IRillHub.Closing memory closing = rill.closing(c.key);
        for (uint256 side = 0; side < 2; side++) {
            bytes32 root = side == 0 ? closing.ofClient.locksRoot : closing.ofHub.locksRoot;
            if (root == 0) continue;
            for (uint256 nonce = _lastNonce(c, side); nonce > 0; nonce--) {
                IRillHub.Lock[] memory locks = _lockList(c.streams[side], c.streams[side].versions[nonce].pending);
                if (locks.length == 0 || LockTree.root(locks) != root) continue;
                _unlockEach(c, side == 0, locks, random.next());
                break;
            }
        }
    }

    function _unlockEach(Channel storage c, bool ofClient, IRillHub.Lock[] memory locks, uint256 first) internal {
        bytes32[] memory nodes = LockTree.build(locks);
        for (uint256 i = 0; i < locks.length; i++) {
            IRillHub.Lock memory l = locks[(first % locks.length + i) % locks.length];
            bytes32[] memory proof = LockTree.proof(nodes, l.id);
            (bool success,) = _try(stranger.who, 0, abi.encodeCall(rill.unlock, (c.key, ofClient, l, proof)));
            // Void locks are refused.
            if (success) count["unlock on the ledger"]++;
        }
    }
}
