// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IRillHub} from "rill/IRillHub.sol";
import {Vm, vm} from "./support/Cheats.sol";
import {CloseModel} from "./support/CloseModel.sol";
import {Signature} from "./support/Protocol.sol";
import {Fixture, Party} from "./support/Fixture.sol";

/// What a close pays, at random, against section 7 written anew (support/CloseModel.sol).
contract ArithmeticTest is Fixture {
    struct Case {
        uint64 deposited;
        uint64 funded;
        uint64 paidOut; // by a settlement: takes base down, below zero too
        uint64 pool;
        bool byHub;
        bool hasPartner;
        bool isChallenged;
        uint8 tower; // of the challenge: the partner, or by a Choice a stranger, the hub, the client
        IRillHub.Claim own;
        IRillHub.Claim partner;
        IRillHub.Claim chosen;
        uint64[2] minNonce;
    }

    /// What Finished says.
    struct Finish {
        uint256[6] values;
    }

    IRillHub.Key internal key;

    function setUp() public override {
        super.setUp();
        key = _key(alice, COIN, 1);
    }

    /// Small numbers: the limits meet each other often.
    function testFuzz_small(Case memory c) public {
        (c.deposited, c.funded, c.paidOut, c.pool) = (c.deposited % 60, c.funded % 60, c.paidOut % 40, c.pool % 40);
        _shrink(c.own);
        _shrink(c.partner);
        _shrink(c.chosen);
        for (uint256 i = 0; i < 2; i++) {
            c.minNonce[i] %= 8;
        }
        _plays(c);
    }

    /// Any numbers at all.
    function testFuzz_any(Case memory c) public {
        (c.deposited, c.funded, c.pool) = (c.deposited >> 1, c.funded >> 1, c.pool >> 1);
        if (c.own.nonce % 2 == 0) (c.own.transferred, c.own.locked) = (c.own.transferred >> 3, c.own.locked >> 3);
        if (c.own.nonce % 3 == 0) c.chosen.nonce = c.own.nonce;
        _plays(c);
    }

    function _shrink(IRillHub.Claim memory claim) private pure {
        claim.nonce %= 8;
        claim.transferred %= 80;
        claim.locked %= 40;
        claim.locksRoot = bytes32(uint256(claim.locksRoot) % 3);
    }

    function _plays(Case memory c) private {
        if (!_opens(c)) return;
        CloseModel.Facts memory facts = _facts(c);
        if (!_starts(c, facts)) return;
        if (c.isChallenged) _challenges(c, facts);
        _voids(c, facts);
        _checks(facts, CloseModel.settle(facts));
    }

    function _opens(Case memory c) private returns (bool) {
        if (c.deposited == 0) return false;
        if (uint256(c.deposited) + c.funded > AMOUNT_MAX) c.funded = AMOUNT_MAX - c.deposited;
        _open(key, c.deposited, c.funded);
        if (c.pool != 0) _depositPool(COIN, c.pool);
        c.paidOut %= c.deposited + c.funded + 1;
        IRillHub.SettleItem memory item = _itemOf(key, c.paidOut, 0);
        _signItem(alice, item, 1);
        _does(hub.who, _batchOf(item));
        return true;
    }

    function _facts(Case memory c) private pure returns (CloseModel.Facts memory facts) {
        facts.byHub = c.byHub;
        facts.base = int256(uint256(c.deposited)) - int256(uint256(c.paidOut));
        facts.total = int256(uint256(c.deposited) + c.funded) - int256(uint256(c.paidOut));
        facts.pool = int256(uint256(c.pool));
        facts.bountyBps = int256(uint256(BOUNTY_BPS));
        facts.own = c.own;
        uint256 closer = c.byHub ? 1 : 0;
        facts.stands[closer] = c.own;
        if (!c.hasPartner || c.partner.nonce == 0) c.partner = IRillHub.Claim(0, 0, 0, 0);
        facts.stands[1 - closer] = c.partner;
    }

    function _starts(Case memory c, CloseModel.Facts memory facts) private returns (bool) {
        Party memory closer = c.byHub ? hub : alice;
        IRillHub.Proof memory proof = _proofOf(c.partner);
        if (c.partner.nonce == 0) proof.bodyHash = 0;
        bytes memory call = _startClose(key, proof, _signProof(c.byHub ? alice : hub, key, proof), c.own);
        int256 ownBase = c.byHub ? facts.total - facts.base : facts.base;
        int256 most = ownBase + int256(uint256(c.partner.transferred));
        bool isBad = int256(uint256(c.own.transferred) + c.own.locked) > most;
        if (isBad) _refuses(closer.who, call, _error(IRillHub.BadClaim.selector));
        else _does(closer.who, call);
        return !isBad;
    }

    function _proofOf(IRillHub.Claim memory claim) private pure returns (IRillHub.Proof memory) {
        return IRillHub.Proof(claim.nonce, claim.transferred, claim.locked, claim.locksRoot, keccak256("body"));
    }

    function _challenges(Case memory c, CloseModel.Facts memory facts) private {
        (Party memory closer, Party memory partner) = c.byHub ? (hub, alice) : (alice, hub);
        IRillHub.Proof memory proof = _proofOf(c.chosen);
        Signature memory by = _signProof(closer, key, proof);
        Party[3] memory towers = [stranger, hub, alice];
        if (c.tower % 4 == 3) {
            _does(partner.who, _challenge(key, proof, by));
            facts.towerIsVictim = true;
        } else {
            address tower_ = towers[c.tower % 4].who;
            _does(bob.who, _challenge(key, proof, by, tower_, _signChoice(partner, key, proof, tower_)));
            facts.towerIsVictim = tower_ == partner.who;
        }
        facts.isChallenged = true;
        facts.stands[c.byHub ? 1 : 0] = c.chosen;
    }

    function _voids(Case memory c, CloseModel.Facts memory facts) private {
        for (uint256 stream = 0; stream < 2; stream++) {
            if (c.minNonce[stream] == 0) continue;
            bool ofClient = stream == 0;
            _does(stranger.who, _voidLocks(ofClient ? hub : alice, key, ofClient, c.minNonce[stream]));
            facts.minNonce[stream] = c.minNonce[stream];
        }
    }

    function _checks(CloseModel.Facts memory facts, CloseModel.Outcome memory out) private {
        vm.assertEq(rill.closing(key).fraud, out.fraud, "fraud");
        uint256 wealth = _everybodys();
        vm.recordLogs();
        _finish(key);
        Finish memory said = _finished();
        vm.assertEq(int256(said.values[0]), out.gets[0], "toClient");
        vm.assertEq(int256(said.values[1]), out.gets[1], "toHub");
        vm.assertEq(int256(said.values[2]), out.held[0], "heldClient");
        vm.assertEq(int256(said.values[3]), out.held[1], "heldHub");
        vm.assertEq(int256(said.values[4]), out.penalty, "penalty");
        vm.assertEq(int256(said.values[5]), out.bounty, "bounty");
        vm.assertEq(
            out.gets[0] + out.gets[1] + out.held[0] + out.held[1] + out.bounty, facts.total + out.fromPool, "all of it"
        );
        vm.assertEq(
            int256(uint256(rill.pool(COIN)) + rill.owed(hub.who, COIN)),
            facts.pool - out.fromPool + out.gets[1],
            "the pool, and what it could not take"
        );
        vm.assertEq(int256(_everybodys() - wealth), out.gets[0] + out.bounty, "paid");
        (uint64 ofClient, uint64 ofHub) = rill.held(key);
        vm.assertEq(int256(uint256(ofClient)), out.held[0], "held");
        vm.assertEq(int256(uint256(ofHub)), out.held[1], "held");
    }

    function _finished() private returns (Finish memory said) {
        bytes32 topic = IRillHub.Finished.selector;
        bool found = false;
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i = 0; i < logs.length; i++) {
            if (logs[i].topics[0] != topic) continue;
            said = abi.decode(logs[i].data, (Finish));
            found = true;
        }
        vm.assertTrue(found, "Finished was emitted");
    }

    function _everybodys() private view returns (uint256) {
        return alice.who.balance + hub.who.balance + stranger.who.balance;
    }
}
