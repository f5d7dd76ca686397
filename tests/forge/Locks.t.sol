// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IRillHub} from "rill/IRillHub.sol";
import {vm} from "./support/Cheats.sol";
import {LockTree} from "./support/LockTree.sol";
import {Protocol, Signature} from "./support/Protocol.sol";
import {Fixture} from "./support/Fixture.sol";

/// Conditions and locks: registerSecret, registerAttestation and unlock.
contract LocksTest is Fixture {
    bytes32 internal constant SECRET = keccak256("secret");
    bytes32 internal constant EVENT = keccak256("event");

    IRillHub.Key internal key;
    bytes32 internal id;
    IRillHub.Lock[] internal locks;

    function setUp() public override {
        super.setUp();
        key = _key(alice, COIN, 1);
        id = Protocol.channelId(key);
        _open(key, 100, 50);
        uint64 expiry = uint64(block.timestamp) + 2 * PERIOD;
        locks.push(IRillHub.Lock(1, 10, expiry, 0, Protocol.conditionOf(SECRET)));
        locks.push(IRillHub.Lock(2, 20, expiry, 1, Protocol.conditionOf(stranger.who, EVENT)));
        locks.push(IRillHub.Lock(1027, 30, expiry, 0, keccak256("nobody knows"))); // place 3
    }

    /// The client closes, its stream's locks pending.
    function _closeWithLocks() internal {
        _closeBare(key, IRillHub.Claim(1, 0, 60, LockTree.root(locks)));
        _finish(key);
    }

    function _unlock(uint256 i) internal view returns (bytes memory) {
        return _unlock(true, locks[i], LockTree.proof(LockTree.build(locks), locks[i].id));
    }

    function _unlock(bool ofClient, IRillHub.Lock memory lock, bytes32[] memory proof)
        internal
        view
        returns (bytes memory)
    {
        return abi.encodeCall(rill.unlock, (key, ofClient, lock, proof));
    }

    function _registerAttestation() internal view returns (bytes memory) {
        Signature memory by = Protocol.sign(stranger.key, Protocol.attestation(domain, EVENT));
        return abi.encodeCall(rill.registerAttestation, (stranger.who, EVENT, by.r, by.vs));
    }

    // ---------------------------------------------------------------------------------------------- conditions

    function test_aSecretKeepsItsFirstTime() public {
        bytes32 condition = Protocol.conditionOf(SECRET);
        vm.assertEq(rill.registeredAt(0, condition), 0, "not yet");
        _expects();
        emit IRillHub.ConditionMet(0, condition, SECRET);
        _does(stranger.who, abi.encodeCall(rill.registerSecret, (SECRET)));
        vm.warp(START + 9);
        vm.recordLogs();
        _does(alice.who, abi.encodeCall(rill.registerSecret, (SECRET)));
        vm.assertEq(vm.getRecordedLogs().length, 0, "no event the second time");
        vm.assertEq(rill.registeredAt(0, condition), START, "the first time is kept");
        vm.assertEq(rill.registeredAt(1, condition), 0, "the other kind is not met");
    }

    function test_anAttestationKeepsItsFirstTimeAndIsAlwaysVerified() public {
        bytes32 condition = Protocol.conditionOf(stranger.who, EVENT);
        Signature memory by = Protocol.sign(alice.key, Protocol.attestation(domain, EVENT));
        bytes memory bad = abi.encodeCall(rill.registerAttestation, (stranger.who, EVENT, by.r, by.vs));
        _refuses(bob.who, bad, _error(IRillHub.BadSignature.selector));
        _expects();
        emit IRillHub.ConditionMet(1, condition, EVENT);
        _does(bob.who, _registerAttestation());
        vm.warp(START + 9);
        _does(bob.who, _registerAttestation());
        _refuses(bob.who, bad, _error(IRillHub.BadSignature.selector));
        vm.assertEq(rill.registeredAt(1, condition), START, "the first time is kept");
    }

    // -------------------------------------------------------------------------------------------------- unlock

    function test_unlockErrorsInOrder() public {
        IRillHub.Lock memory lock = locks[0];
        bytes32[] memory proof = LockTree.proof(LockTree.build(locks), 1);
        _refuses(bob.who, _unlock(true, lock, new bytes32[](0)), _badStatus(OPEN));
        _closeBare(key, IRillHub.Claim(1, 0, 60, LockTree.root(locks)));
        _refuses(bob.who, _unlock(0), _badStatus(CLOSING));
        _finish(key);
        bytes memory refusal = _error(IRillHub.BadLockProof.selector);
        _refuses(bob.who, _unlock(false, lock, proof), refusal);
        _refuses(bob.who, _unlock(true, lock, new bytes32[](0)), refusal);
        lock.amount += 1;
        _refuses(bob.who, _unlock(true, lock, proof), refusal);
        lock = locks[0];
        lock.expiry -= 1;
        _refuses(bob.who, _unlock(true, lock, proof), refusal);
        _refuses(bob.who, _unlock(0), _error(IRillHub.NotUnlockable.selector));
        _does(bob.who, abi.encodeCall(rill.registerSecret, (SECRET)));
        _does(bob.who, _unlock(0));
        _refuses(bob.who, _unlock(0), _error(IRillHub.AlreadyUnlocked.selector));
        vm.assertTrue(rill.unlocked(key, true, Protocol.leaf(locks[0])), "unlocked");
        vm.assertFalse(rill.unlocked(key, false, Protocol.leaf(locks[0])), "not of the other stream");
    }

    function test_aKindAboveOneIsABadProof() public {
        locks[0].kind = 2;
        _closeWithLocks();
        _refuses(bob.who, _unlock(0), _error(IRillHub.BadLockProof.selector));
    }

    function test_aMetLockPaysItsReceiver() public {
        _closeWithLocks();
        _does(bob.who, _registerAttestation());
        uint64 before = rill.pool(COIN);
        _expects();
        emit IRillHub.Unlocked(id, true, 2, 20, true);
        _does(bob.who, _unlock(1));
        vm.assertEq(rill.pool(COIN) - before, 20, "the hub receives");
        (uint64 ofClient,) = rill.held(key);
        vm.assertEq(ofClient, 40, "held");
    }

    function test_theExpiryIsTheLastGoodSecondAndTheSenderWaitsOneMore() public {
        _closeWithLocks();
        vm.warp(locks[0].expiry);
        _refuses(bob.who, _unlock(2), _error(IRillHub.NotUnlockable.selector));
        _does(bob.who, abi.encodeCall(rill.registerSecret, (SECRET)));
        vm.warp(locks[0].expiry + 1);
        _does(bob.who, _registerAttestation()); // a second too late
        uint256 before = alice.who.balance;
        uint64 pool = rill.pool(COIN);
        _expects();
        emit IRillHub.Unlocked(id, true, 1, 10, true);
        _does(bob.who, _unlock(0));
        _expects();
        emit IRillHub.Unlocked(id, true, 2, 20, false);
        _does(bob.who, _unlock(1));
        _does(bob.who, _unlock(2));
        vm.assertEq(alice.who.balance - before, 50, "the sender has two back");
        vm.assertEq(rill.pool(COIN) - pool, 10, "the receiver one");
    }

    /// The hub's locks: held for the client, back to the pool.
    function test_locksOfTheHub() public {
        Signature memory none;
        _does(hub.who, _startClose(key, _noProof(), none, IRillHub.Claim(1, 0, 30, LockTree.root(locks))));
        _finish(key);
        _does(bob.who, abi.encodeCall(rill.registerSecret, (SECRET)));
        bytes32[] memory nodes = LockTree.build(locks);
        uint256 before = alice.who.balance;
        _does(bob.who, _unlock(false, locks[0], LockTree.proof(nodes, 1)));
        vm.assertEq(alice.who.balance - before, 10, "the client receives");
        vm.warp(locks[0].expiry + 1);
        uint64 pool = rill.pool(COIN);
        // 30 were said to be locked, and 10 are gone: the second lock brings its 20, the third finds nothing left.
        _does(bob.who, _unlock(false, locks[1], LockTree.proof(nodes, 2)));
        _expects();
        emit IRillHub.Unlocked(id, false, 1027, 0, false);
        _does(bob.who, _unlock(false, locks[2], LockTree.proof(nodes, 1027)));
        vm.assertEq(rill.pool(COIN) - pool, 20, "the hub has the rest back");
    }

    function test_revokedLocksAreVoid() public {
        IRillHub.Proof memory proof = _proof(4, 0, 60, LockTree.root(locks));
        Signature memory by = _signProof(alice, key, proof);
        Signature memory none;
        uint256 snapshot = vm.snapshotState();
        for (uint64 minNonce = 4; minNonce <= 5; minNonce++) {
            _does(hub.who, _startClose(key, proof, by, _noClaim()));
            _does(bob.who, _voidLocks(hub, key, true, minNonce));
            _finish(key);
            (uint64 ofClient,) = rill.held(key);
            vm.assertEq(ofClient, minNonce == 4 ? 60 : 0, "held");
            vm.warp(locks[0].expiry + 1);
            if (minNonce == 4) _does(bob.who, _unlock(0));
            else _refuses(bob.who, _unlock(0), _error(IRillHub.BadLockProof.selector));
            vm.revertToState(snapshot);
        }
        // An own claim that nobody challenged is not a proof shown: it cannot be void.
        _does(alice.who, _startClose(key, _noProof(), none, IRillHub.Claim(4, 0, 60, LockTree.root(locks))));
        _does(bob.who, _voidLocks(hub, key, true, 9));
        _finish(key);
        (uint64 held,) = rill.held(key);
        vm.assertEq(held, 60, "held");
    }

    function test_aFullTreeOf1024() public {
        _proves(1024, 0);
    }

    /// Any number of locks, their ids anywhere: each is proven once, in any order, and all of it is paid.
    function testFuzz_trees(uint256 count, uint256 seed) public {
        _proves(1 + count % (seed % 8 == 0 ? LockTree.PLACES : 40), seed);
    }

    function _proves(uint256 count, uint256 seed) private {
        IRillHub.Lock[] memory many = new IRillHub.Lock[](count);
        uint64 id_ = uint64(seed % (1 << 60));
        uint256 step = seed % 8 == 0 ? 1 : 1 + 2 * (seed % 500); // odd: no two in one place
        uint64 expiry = uint64(block.timestamp) + 1;
        for (uint256 i = 0; i < count; i++) {
            id_ += uint64(step);
            many[i] = IRillHub.Lock(id_, uint64(1 + i % 3), expiry, uint8(i % 2), keccak256(abi.encode(seed, i)));
        }
        bytes32[] memory nodes = LockTree.build(many);
        IRillHub.Key memory other = _key(bob, address(token), 2);
        _open(other, 4096, 0);
        _closeBare(other, IRillHub.Claim(1, 0, 4096, nodes[1]));
        _finish(other);
        uint256 before = token.balanceOf(bob.who);
        uint256 due = 0;
        for (uint256 i = 0; i < 5 && i < count; i++) {
            IRillHub.Lock memory lock = many[(i * 211 + seed % count) % count];
            if (rill.unlocked(other, true, Protocol.leaf(lock))) continue;
            _does(stranger.who, abi.encodeCall(rill.unlock, (other, true, lock, LockTree.proof(nodes, lock.id))));
            due += lock.amount;
        }
        vm.assertEq((token.balanceOf(bob.who) - before) / TOKEN_UNIT, due, "paid");
    }
}
