// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IRillHub} from "rill/IRillHub.sol";
import {vm} from "./support/Cheats.sol";
import {Protocol, Signature} from "./support/Protocol.sol";
import {Fixture} from "./support/Fixture.sol";

/// setTower, startClose, challenge, voidLocks and finish: who, when, and in which order they are refused.
contract ClosingTest is Fixture {
    using Protocol for IRillHub.Proof;

    bytes32 internal constant ROOT = keccak256("some locks");

    IRillHub.Key internal key;
    bytes32 internal id;
    Signature internal none;

    function setUp() public override {
        super.setUp();
        key = _key(alice, COIN, 1);
        id = Protocol.channelId(key);
        _open(key, 100, 50);
    }

    /// The client closes and says it sent `transferred`, as of nonce 5.
    function _clientCloses(uint64 transferred) internal returns (uint256 deadline) {
        _closeBare(key, IRillHub.Claim(5, transferred, 0, 0));
        return rill.closing(key).deadline;
    }

    function _clientProof(uint64 nonce, uint64 transferred)
        internal
        view
        returns (IRillHub.Proof memory proof, Signature memory by)
    {
        proof = _proof(nonce, transferred, 0, 0);
        by = _signProof(alice, key, proof);
    }

    function _challengeOf(uint64 nonce, uint64 transferred) internal view returns (bytes memory) {
        (IRillHub.Proof memory proof, Signature memory by) = _clientProof(nonce, transferred);
        return _challenge(key, proof, by);
    }

    // ------------------------------------------------------------------------------------------------ setTower

    function test_setTower() public {
        _refuses(alice.who, abi.encodeCall(rill.setTower, (tower.who, true)), _error(IRillHub.NotHub.selector));
        for (uint256 i = 0; i < 2; i++) {
            bool allowed = i == 0;
            _expects();
            emit IRillHub.TowerSet(tower.who, allowed);
            _does(hub.who, abi.encodeCall(rill.setTower, (tower.who, allowed)));
            vm.assertEq(rill.isTower(tower.who), allowed, "isTower");
        }
    }

    // ---------------------------------------------------------------------------------------------- startClose

    function test_startCloseErrorsInOrder() public {
        IRillHub.Proof memory partner = _proof(3, 40, 10, ROOT);
        IRillHub.Claim memory own = IRillHub.Claim(9, 141, 0, 0);
        bytes memory call = _startClose(_key(alice, COIN, 2), partner, none, own);
        _refuses(stranger.who, call, _badStatus(NONE));
        call = _startClose(key, partner, none, own);
        _refuses(stranger.who, call, _error(IRillHub.NotParty.selector));
        _refuses(tower.who, call, _error(IRillHub.NotParty.selector));
        _refuses(alice.who, call, _error(IRillHub.BadSignature.selector));
        Signature memory by = _signProof(alice, key, partner); // her own: not the other side's
        _refuses(alice.who, _startClose(key, partner, by, own), _error(IRillHub.BadSignature.selector));
        by = _signProof(hub, key, partner);
        call = _startClose(key, partner, by, own);
        _refuses(alice.who, call, _error(IRillHub.BadClaim.selector));
        own = IRillHub.Claim(9, 130, 11, ROOT);
        _refuses(alice.who, _startClose(key, partner, by, own), _error(IRillHub.BadClaim.selector));
        own.locked = 10;
        call = _startClose(key, partner, by, own);
        _expects();
        emit IRillHub.CloseStarted(id, false, uint64(block.timestamp) + PERIOD, own, partner.claim());
        _does(alice.who, call);
        _refuses(alice.who, call, _badStatus(CLOSING));
        _refuses(hub.who, call, _badStatus(CLOSING));
        _finish(key);
        _refuses(alice.who, call, _badStatus(CLOSED));
    }

    function test_aCloseOfTheHub() public {
        IRillHub.Proof memory partner = _proof(3, 40, 0, 0);
        Signature memory by = _signProof(alice, key, partner);
        IRillHub.Claim memory own = IRillHub.Claim(9, 91, 0, 0);
        _refuses(hub.who, _startClose(key, partner, by, own), _error(IRillHub.BadClaim.selector));
        own.transferred = 90; // total - base + what the client's proof shows
        _expects();
        emit IRillHub.CloseStarted(id, true, uint64(block.timestamp) + PERIOD, partner.claim(), own);
        _does(hub.who, _startClose(key, partner, by, own));
        IRillHub.Closing memory closing = rill.closing(key);
        vm.assertTrue(closing.byHub && !closing.challenged && !closing.byPartner && !closing.fraud, "flags");
        vm.assertEq(closing.deadline, block.timestamp + PERIOD, "deadline");
        vm.assertEq(closing.tower, address(0), "tower");
        vm.assertEq(abi.encode(closing.own), abi.encode(own), "own");
        vm.assertEq(abi.encode(closing.ofHub), abi.encode(own), "ofHub");
        vm.assertEq(abi.encode(closing.ofClient), abi.encode(partner.claim()), "ofClient");
        _expectChannel(key, 150, 100, 0, CLOSING);
    }

    function test_withNonceZeroThePartnersProofIsEmpty() public {
        IRillHub.Proof[4] memory bad;
        bad[0].transferred = 1;
        bad[1].locked = 1;
        bad[2].locksRoot = ROOT;
        bad[3].bodyHash = ROOT;
        for (uint256 i = 0; i < bad.length; i++) {
            Signature memory by = _signProof(hub, key, bad[i]);
            _refuses(alice.who, _startClose(key, bad[i], by, _noClaim()), _error(IRillHub.BadSignature.selector));
        }
        // r and vs are ignored.
        Signature memory noise = Signature(ROOT, ROOT);
        _does(alice.who, _startClose(key, _noProof(), noise, _noClaim()));
    }

    function test_aClaimOfEveryBitIsBadNotAnOverflow() public {
        IRillHub.Claim memory own = IRillHub.Claim(FAR, FAR, FAR, ROOT);
        _refuses(alice.who, _startClose(key, _noProof(), none, own), _error(IRillHub.BadClaim.selector));
        IRillHub.Proof memory partner = _proof(FAR, FAR, FAR, ROOT);
        Signature memory by = _signProof(hub, key, partner);
        _refuses(alice.who, _startClose(key, partner, by, own), _error(IRillHub.BadClaim.selector));
        own.locked = 100;
        _does(alice.who, _startClose(key, partner, by, own));
        _finish(key);
        (uint64 ofClient, uint64 ofHub) = rill.held(key);
        vm.assertEq(ofClient, 0, "held for the client's locks");
        vm.assertEq(ofHub, 150, "all of it is held for the hub's locks");
    }

    // ----------------------------------------------------------------------------------------------- challenge

    function test_challengeErrorsInOrder() public {
        (IRillHub.Proof memory proof, Signature memory by) = _clientProof(6, 60);
        _refuses(stranger.who, _challenge(key, proof, none), _badStatus(OPEN));
        uint256 deadline = _clientCloses(10);
        vm.warp(deadline);
        _refuses(stranger.who, _challenge(key, proof, none), _error(IRillHub.BadSignature.selector));
        Signature memory wrong = _signProof(hub, key, proof);
        _refuses(hub.who, _challenge(key, proof, wrong), _error(IRillHub.BadSignature.selector));
        _refuses(stranger.who, _challenge(key, proof, by), _error(IRillHub.NotAuthorised.selector));
        _refuses(hub.who, _challenge(key, proof, by), _error(IRillHub.TooLate.selector));
        vm.warp(deadline - 1);
        _expects();
        emit IRillHub.Challenged(id, hub.who, true, proof.claim(), true);
        _does(hub.who, _challenge(key, proof, by));
        _refuses(hub.who, _challenge(key, proof, by), _error(IRillHub.NotNewer.selector));
        vm.warp(_limit(deadline, 2));
        _refuses(hub.who, _challenge(key, proof, by), _error(IRillHub.TooLate.selector));
        _finish(key);
        _refuses(stranger.who, _challenge(key, proof, none), _badStatus(CLOSED));
    }

    function test_aChoiceNamesItsTowerAndItsProof() public {
        _clientCloses(10);
        (IRillHub.Proof memory proof, Signature memory by) = _clientProof(6, 60);
        bytes memory refusal = _error(IRillHub.NotAuthorised.selector);
        Signature memory choice = _signChoice(hub, key, proof, tower.who);
        _refuses(stranger.who, _challenge(key, proof, by, stranger.who, choice), refusal);
        (IRillHub.Proof memory other, Signature memory otherBy) = _clientProof(7, 60);
        _refuses(stranger.who, _challenge(key, other, otherBy, tower.who, choice), refusal);
        _refuses(
            stranger.who, _challenge(key, proof, by, tower.who, _signChoice(alice, key, proof, tower.who)), refusal
        );
        _refuses(
            stranger.who, _challenge(key, proof, by, address(0), _signChoice(hub, key, proof, address(0))), refusal
        );
        // Anybody may bring it: the bounty is the tower's.
        _expects();
        emit IRillHub.Challenged(id, tower.who, false, proof.claim(), true);
        _does(stranger.who, _challenge(key, proof, by, tower.who, choice));
        vm.assertEq(rill.closing(key).tower, tower.who, "tower");
    }

    function test_aSetTowerNeedsNoChoiceWhereTheHubIsThePartner() public {
        _clientCloses(10);
        bytes memory call = _challengeOf(6, 60);
        _refuses(tower.who, call, _error(IRillHub.NotAuthorised.selector));
        _does(hub.who, abi.encodeCall(rill.setTower, (tower.who, true)));
        _does(tower.who, call);
        vm.assertEq(rill.closing(key).tower, tower.who, "tower");
        _does(hub.who, abi.encodeCall(rill.setTower, (tower.who, false)));
        _refuses(tower.who, _challengeOf(7, 60), _error(IRillHub.NotAuthorised.selector));
    }

    function test_aSetTowerHasNoSayAgainstTheHub() public {
        _does(hub.who, abi.encodeCall(rill.setTower, (tower.who, true)));
        _does(hub.who, _startClose(key, _noProof(), none, IRillHub.Claim(1, 5, 0, 0)));
        IRillHub.Proof memory proof = _proof(2, 7, 0, 0);
        Signature memory by = _signProof(hub, key, proof);
        _refuses(tower.who, _challenge(key, proof, by), _error(IRillHub.NotAuthorised.selector));
        _refuses(hub.who, _challenge(key, proof, by), _error(IRillHub.NotAuthorised.selector));
        _does(alice.who, _challenge(key, proof, by));
    }

    /// The argument `tower` is ignored where the caller's own authority counts.
    function test_theCallersOwnAuthorityComesFirst() public {
        _clientCloses(10);
        (IRillHub.Proof memory proof, Signature memory by) = _clientProof(6, 60);
        Signature memory choice = _signChoice(hub, key, proof, stranger.who);
        _does(hub.who, _challenge(key, proof, by, stranger.who, choice));
        vm.assertEq(rill.closing(key).tower, hub.who, "tower");
        vm.assertTrue(rill.closing(key).byPartner, "byPartner");
    }

    function test_theFirstChallengeEndsAtTheDeadline() public {
        uint256 deadline = _clientCloses(10);
        vm.warp(deadline);
        _refuses(hub.who, _challengeOf(6, 60), _error(IRillHub.TooLate.selector));
        vm.warp(deadline - 1);
        _does(hub.who, _challengeOf(6, 60));
        vm.assertEq(rill.closing(key).deadline, deadline, "the deadline never moves");
    }

    function test_aTowerMayFollowATowerForAnEighth() public {
        _does(hub.who, abi.encodeCall(rill.setTower, (tower.who, true)));
        uint256 deadline = _clientCloses(10);
        _does(tower.who, _challengeOf(6, 60));
        _refuses(tower.who, _challengeOf(6, 61), _error(IRillHub.NotNewer.selector));
        _refuses(tower.who, _challengeOf(5, 61), _error(IRillHub.NotNewer.selector));
        vm.warp(_limit(deadline, 1));
        _refuses(tower.who, _challengeOf(7, 61), _error(IRillHub.TooLate.selector));
        vm.warp(_limit(deadline, 1) - 1);
        _does(tower.who, _challengeOf(7, 61));
    }

    function test_thePartnerMayFollowForAQuarter() public {
        _does(hub.who, abi.encodeCall(rill.setTower, (tower.who, true)));
        uint256 deadline = _clientCloses(10);
        _does(tower.who, _challengeOf(6, 60));
        vm.warp(_limit(deadline, 2));
        _refuses(hub.who, _challengeOf(7, 61), _error(IRillHub.TooLate.selector));
        vm.warp(_limit(deadline, 2) - 1);
        // Over a tower whatever the nonce, over itself with a higher one.
        _does(hub.who, _challengeOf(2, 30));
        _refuses(hub.who, _challengeOf(2, 31), _error(IRillHub.NotNewer.selector));
        _refuses(tower.who, _challengeOf(9, 99), _error(IRillHub.TooLate.selector));
        _does(hub.who, _challengeOf(3, 31));
        vm.assertEq(rill.closing(key).ofClient.nonce, 3, "what stands");
    }

    function test_aTowerNeverOverridesThePartner() public {
        _does(hub.who, abi.encodeCall(rill.setTower, (tower.who, true)));
        uint256 deadline = _clientCloses(10);
        _does(hub.who, _challengeOf(2, 30));
        _refuses(tower.who, _challengeOf(9, 99), _error(IRillHub.NotNewer.selector));
        vm.warp(_limit(deadline, 1) - 1);
        _refuses(tower.who, _challengeOf(9, 99), _error(IRillHub.NotNewer.selector));
        vm.warp(_limit(deadline, 1));
        _refuses(tower.who, _challengeOf(9, 99), _error(IRillHub.TooLate.selector));
    }

    /// Each field that makes a challenge a proof of fraud, and those that do not.
    function test_whatIsFraud() public {
        IRillHub.Claim memory own = IRillHub.Claim(5, 20, 10, ROOT);
        _closeBare(key, own);
        _judges(_proof(5, 20, 10, ROOT), false);
        _judges(_proof(4, 20, 10, ROOT), false);
        _judges(_proof(4, 19, 99, 0), false);
        _judges(_proof(6, 20, 10, ROOT), true);
        _judges(_proof(4, 21, 10, ROOT), true);
        _judges(_proof(5, 19, 10, ROOT), true);
        _judges(_proof(5, 20, 9, ROOT), true);
        _judges(_proof(5, 20, 10, 0), true);
    }

    function _judges(IRillHub.Proof memory proof, bool fraud) private {
        uint256 snapshot = vm.snapshotState();
        Signature memory by = _signProof(alice, key, proof);
        _expects();
        emit IRillHub.Challenged(id, hub.who, true, proof.claim(), fraud);
        _does(hub.who, _challenge(key, proof, by));
        vm.assertEq(rill.closing(key).fraud, fraud, "fraud");
        vm.revertToState(snapshot);
    }

    function test_fraudIsJudgedAnewEachTime() public {
        _does(hub.who, abi.encodeCall(rill.setTower, (tower.who, true)));
        _clientCloses(10);
        _does(tower.who, _challengeOf(6, 60));
        vm.assertTrue(rill.closing(key).fraud, "fraud at first");
        _does(hub.who, _challengeOf(5, 10));
        vm.assertFalse(rill.closing(key).fraud, "then not");
    }

    // ----------------------------------------------------------------------------------------------- voidLocks

    function test_voidLocksErrorsInOrder() public {
        _refuses(stranger.who, _voidLocks(stranger, key, true, 0), _badStatus(OPEN));
        uint256 deadline = _clientCloses(10);
        vm.warp(_limit(deadline, 3));
        _refuses(stranger.who, _voidLocks(stranger, key, true, 0), _error(IRillHub.TooLate.selector));
        vm.warp(_limit(deadline, 3) - 1);
        // The receiver signs: the hub for the client's stream, the client for the hub's.
        _refuses(stranger.who, _voidLocks(alice, key, true, 4), _error(IRillHub.BadSignature.selector));
        _refuses(stranger.who, _voidLocks(hub, key, false, 4), _error(IRillHub.BadSignature.selector));
        _refuses(stranger.who, _voidLocks(hub, key, true, 0), _error(IRillHub.NotNewer.selector));
        _expects();
        emit IRillHub.LocksVoided(id, true, 4);
        _does(stranger.who, _voidLocks(hub, key, true, 4));
        _expects();
        emit IRillHub.LocksVoided(id, false, 2);
        _does(stranger.who, _voidLocks(alice, key, false, 2));
        _refuses(stranger.who, _voidLocks(hub, key, true, 4), _error(IRillHub.NotNewer.selector));
        _refuses(stranger.who, _voidLocks(hub, key, true, 3), _error(IRillHub.NotNewer.selector));
        _does(stranger.who, _voidLocks(hub, key, true, 5));
        vm.assertEq(rill.closing(key).minNonceOfClient, 5, "minNonceOfClient");
        vm.assertEq(rill.closing(key).minNonceOfHub, 2, "minNonceOfHub");
        _finish(key);
        _refuses(stranger.who, _voidLocks(hub, key, true, 9), _badStatus(CLOSED));
    }

    // -------------------------------------------------------------------------------------------------- finish

    function test_finishErrorsInOrder() public {
        bytes memory call = abi.encodeCall(rill.finish, (key));
        _refuses(stranger.who, call, _badStatus(OPEN));
        uint256 deadline = _clientCloses(10);
        vm.warp(_limit(deadline, 3) - 1);
        _refuses(stranger.who, call, _error(IRillHub.TooEarly.selector));
        vm.warp(_limit(deadline, 3));
        uint256 before = alice.who.balance;
        _expects();
        emit IRillHub.Finished(id, 90, 60, 0, 0, 0, 0);
        _does(stranger.who, call);
        vm.assertEq(alice.who.balance - before, 90, "client");
        vm.assertEq(rill.pool(COIN), 60, "hub");
        _expectChannel(key, 0, 0, 0, CLOSED);
        _refuses(stranger.who, call, _badStatus(CLOSED));
    }

    function test_closingStaysAsFinishFoundIt() public {
        _clientCloses(10);
        _does(hub.who, _challengeOf(7, 60));
        bytes memory before = abi.encode(rill.closing(key));
        _finish(key);
        vm.assertEq(abi.encode(rill.closing(key)), before, "closing");
    }

    /// A client that hid 50 of its 100: 50 penalty out of what is left, a tenth of it to the tower.
    function test_aLyingClientPaysAsMuchAsItHid() public {
        _clientCloses(10);
        (IRillHub.Proof memory proof, Signature memory by) = _clientProof(6, 60);
        _does(stranger.who, _challenge(key, proof, by, tower.who, _signChoice(hub, key, proof, tower.who)));
        vm.warp(_limit(rill.closing(key).deadline, 3));
        _expects();
        emit IRillHub.Finished(id, 0, 146, 0, 0, 40, 4);
        _does(stranger.who, abi.encodeCall(rill.finish, (key)));
    }

    /// A hub that hid 90 and has 10 of it left in the channel pays the rest from the free pool, as far as it goes.
    function test_aLyingHubPaysFromThePoolToo() public {
        _depositPool(COIN, 30);
        _fund(key, 50); // the hub's share: 100
        _does(hub.who, _startClose(key, _noProof(), none, _noClaim()));
        IRillHub.Proof memory proof = _proof(6, 90, 0, 0);
        Signature memory by = _signProof(hub, key, proof);
        uint256 before = alice.who.balance;
        _does(alice.who, _challenge(key, proof, by));
        vm.warp(_limit(rill.closing(key).deadline, 3));
        _expects();
        emit IRillHub.Finished(id, 230, 0, 0, 0, 40, 0);
        _does(stranger.who, abi.encodeCall(rill.finish, (key)));
        vm.assertEq(alice.who.balance - before, 230, "paid; as its own tower it gets no bounty");
        vm.assertEq(rill.pool(COIN), 0, "pool");
    }

    /// A bounty to the hub's own address is paid to that address, not to the pool.
    function test_aBountyToTheHubIsPaidToItsAddress() public {
        _does(hub.who, _startClose(key, _noProof(), none, _noClaim()));
        IRillHub.Proof memory proof = _proof(6, 20, 0, 0);
        Signature memory by = _signProof(hub, key, proof);
        _does(stranger.who, _challenge(key, proof, by, hub.who, _signChoice(alice, key, proof, hub.who)));
        uint256 before = hub.who.balance;
        _finish(key);
        vm.assertEq(hub.who.balance - before, 2, "bounty");
        vm.assertEq(rill.pool(COIN), 10, "the pool has what was left of the hub's share");
    }
}
