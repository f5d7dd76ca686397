// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IRillHub} from "rill/IRillHub.sol";
import {vm} from "./support/Cheats.sol";
import {Protocol, Signature} from "./support/Protocol.sol";
import {Fixture} from "./support/Fixture.sol";
import {GasBurner, Refuser} from "./support/Receivers.sol";

/// settleBatch (protocol.md, section 8): what is skipped, for which reason, and what is paid.
contract SettlementTest is Fixture {
    IRillHub.Key internal key;
    bytes32 internal id;

    function setUp() public override {
        super.setUp();
        key = _key(alice, COIN, 1);
        id = Protocol.channelId(key);
        _open(key, 100, 50);
    }

    function _skips(IRillHub.SettleItem memory item, uint8 reason) private {
        bytes32 before = _stateOf(item.key);
        _expects();
        emit IRillHub.SettleSkipped(Protocol.channelId(item.key), false, reason);
        _does(hub.who, _batchOf(item));
        vm.assertEq(_stateOf(item.key), before, "a skipped item changes nothing");
    }

    function _skips(IRillHub.Fund memory fund, uint8 reason) private {
        bytes32 before = _stateOf(fund.key);
        _expects();
        emit IRillHub.SettleSkipped(Protocol.channelId(fund.key), true, reason);
        _does(hub.who, _batchOf(fund));
        vm.assertEq(_stateOf(fund.key), before, "a skipped fund changes nothing");
    }

    function _stateOf(IRillHub.Key memory key_) private view returns (bytes32) {
        (uint64 total, int64 base, uint32 seq, uint8 status) = rill.channel(key_);
        return keccak256(abi.encode(total, base, seq, status, rill.pool(key_.asset), key_.client.balance));
    }

    // ------------------------------------------------------------------------------------------------ the batch

    function test_onlyTheHubSettles() public {
        bytes memory call = _batchOf(_fundOf(key, 1));
        _refuses(alice.who, call, _error(IRillHub.NotHub.selector));
        _refuses(stranger.who, call, _error(IRillHub.NotHub.selector));
    }

    function test_batchesAreCountedFromOneAndCarryTheJournalRoot() public {
        // The fixture's fund was the first.
        for (uint64 batch = 2; batch < 5; batch++) {
            _expects();
            emit IRillHub.BatchSettled(batch, bytes32(uint256(batch)));
            bytes memory call = abi.encodeCall(
                rill.settleBatch, (new IRillHub.SettleItem[](0), new IRillHub.Fund[](0), bytes32(uint256(batch)))
            );
            _does(hub.who, call);
        }
    }

    // --------------------------------------------------------------------------------------------------- items

    function test_aSettlementPaysTheClientAndThePool() public {
        IRillHub.SettleItem memory item = _itemOf(key, 120, 10);
        _signItem(alice, item, 1);
        uint256 before = alice.who.balance;
        _expects();
        emit IRillHub.Settled(id, 1, 120, 10, false);
        _does(hub.who, _batchOf(item));
        vm.assertEq(alice.who.balance - before, 120, "client paid");
        vm.assertEq(rill.pool(COIN), 10, "pool");
        _expectChannel(key, 20, -20, 1, OPEN);
        // The same signature again is for a sequence number that is past.
        _skips(item, 2);
        _signItem(alice, item, 2);
        _skips(item, 4);
    }

    function test_aClosingSettlementPaysTheClientAllTheRest() public {
        IRillHub.SettleItem memory item = _itemOf(key, 100, 30);
        item.close = true;
        _signItem(alice, item, 1);
        _deposit(bob.who, key, 7); // stray
        uint256 before = alice.who.balance;
        _expects();
        emit IRillHub.Settled(id, 1, 127, 30, true);
        _does(hub.who, _batchOf(item));
        vm.assertEq(alice.who.balance - before, 127, "client paid");
        vm.assertEq(rill.pool(COIN), 30, "pool");
        _expectChannel(key, 0, 0, 1, CLOSED);
        _skips(item, 1);
        _skips(_fundOf(key, 1), 1);
        _refuses(alice.who, 1, abi.encodeCall(rill.deposit, (key, 1)), _badStatus(CLOSED));
    }

    /// Reasons in order: an item that breaks several rules is skipped for the first.
    function test_itemsAreSkippedForTheFirstReason() public {
        IRillHub.SettleItem memory item = _itemOf(_key(alice, COIN, 2), FAR, FAR);
        item.deadline = uint64(block.timestamp) - 1;
        _skips(item, 1);
        item.key = key;
        _skips(item, 2);
        _signItem(bob, item, 1);
        _skips(item, 2);
        _signItem(alice, item, 2);
        _skips(item, 2);
        _signItem(alice, item, 1);
        _skips(item, 3);
        item.deadline = uint64(block.timestamp);
        _signItem(alice, item, 1);
        _skips(item, 4);
        (item.clientOut, item.hubOut) = (100, 51);
        _signItem(alice, item, 1);
        _skips(item, 4);
        (item.clientOut, item.hubOut) = (100, 50);
        _signItem(alice, item, 1);
        _does(hub.who, _batchOf(item));
        _expectChannel(key, 0, 0, 1, OPEN);
    }

    function test_itemsOfClosingChannelsAreSkipped() public {
        IRillHub.SettleItem memory item = _itemOf(key, 1, 1);
        _signItem(alice, item, 1);
        _closeBare(key, _noClaim());
        _skips(item, 1);
        _skips(_fundOf(key, 1), 1);
        _finish(key);
        _skips(item, 1);
    }

    function test_theDeadlineIsTheLastGoodSecond() public {
        IRillHub.SettleItem memory item = _itemOf(key, 1, 0);
        item.deadline = uint64(block.timestamp) + 10;
        _signItem(alice, item, 1);
        vm.warp(item.deadline + 1);
        _skips(item, 3);
        vm.warp(item.deadline);
        _does(hub.who, _batchOf(item));
        _expectChannel(key, 149, 99, 1, OPEN);
    }

    function test_baseStaysWithinInt64() public {
        IRillHub.Key memory merchant = _key(bob, COIN, 9);
        // Twice 2^63 - 1 paid out of the hub's money: base is -2^64 + 2, were it allowed.
        _fund(merchant, AMOUNT_MAX);
        IRillHub.SettleItem memory item = _itemOf(merchant, AMOUNT_MAX, 0);
        _signItem(bob, item, 1);
        _does(hub.who, _batchOf(item));
        _expectChannel(merchant, 0, -int64(AMOUNT_MAX), 1, OPEN);
        _fund(merchant, 2);
        item = _itemOf(merchant, 2, 0);
        _signItem(bob, item, 2);
        _skips(item, 4);
        item = _itemOf(merchant, 1, 1);
        _signItem(bob, item, 2);
        _does(hub.who, _batchOf(item));
        _expectChannel(merchant, 0, type(int64).min, 2, OPEN);
        _claimsAtTheLowestBase(merchant);
    }

    /// base is -2^63: only what the hub's proof shows can cover a claim, even that of nothing.
    function _claimsAtTheLowestBase(IRillHub.Key memory merchant) private {
        IRillHub.Proof memory shown = _proof(1, AMOUNT_MAX, 0, 0);
        bytes memory refusal = _error(IRillHub.BadClaim.selector);
        Signature memory by;
        _refuses(bob.who, _startClose(merchant, _noProof(), by, _noClaim()), refusal);
        by = _signProof(hub, merchant, shown);
        _refuses(bob.who, _startClose(merchant, shown, by, _noClaim()), refusal);
        shown.transferred = AMOUNT_MAX + 1;
        by = _signProof(hub, merchant, shown);
        _does(bob.who, _startClose(merchant, shown, by, _noClaim()));
    }

    function test_aClientThatRefusesItsMoneyDoesNotSinkTheBatch() public {
        vm.etch(alice.who, type(Refuser).runtimeCode);
        IRillHub.Key memory second = _key(bob, COIN, 1);
        _open(second, 10, 0);
        IRillHub.SettleItem[] memory items = new IRillHub.SettleItem[](2);
        items[0] = _itemOf(key, 20, 0);
        _signItem(alice, items[0], 1);
        items[1] = _itemOf(second, 10, 0);
        _signItem(bob, items[1], 1);
        uint256 before = bob.who.balance;
        for (uint256 i = 0; i < 2; i++) {
            uint256 snapshot = vm.snapshotState();
            _expects();
            emit IRillHub.OwedRecorded(alice.who, COIN, 20);
            _does(hub.who, abi.encodeCall(rill.settleBatch, (items, new IRillHub.Fund[](0), bytes32(0))));
            vm.assertEq(rill.owed(alice.who, COIN), 20, "owed");
            vm.assertEq(bob.who.balance - before, 10, "the other is paid");
            vm.revertToState(snapshot);
            vm.etch(alice.who, type(GasBurner).runtimeCode);
        }
    }

    function test_whatThePoolCannotTakeIsOwedToTheHub() public {
        _depositPool(COIN, AMOUNT_MAX - 5);
        IRillHub.SettleItem memory item = _itemOf(key, 0, 6);
        _signItem(alice, item, 1);
        _does(hub.who, _batchOf(item));
        vm.assertEq(rill.owed(hub.who, COIN), 6, "owed");
        item = _itemOf(key, 0, 5);
        _signItem(alice, item, 2);
        _does(hub.who, _batchOf(item));
        vm.assertEq(rill.pool(COIN), AMOUNT_MAX, "pool is at its limit");
        _does(hub.who, abi.encodeCall(rill.withdrawOwed, (COIN, hub.who)));
    }

    // --------------------------------------------------------------------------------------------------- funds

    function test_fundsAreSkippedForTheFirstReason() public {
        address unlisted = address(0xBEEF);
        _skips(_fundOf(IRillHub.Key(address(0), unlisted, 1), 0), 1);
        _skips(_fundOf(_key(hub, unlisted, 1), 0), 1);
        _skips(_fundOf(_key(bob, unlisted, 1), 0), 4);
        _skips(_fundOf(_key(bob, unlisted, 1), AMOUNT_MAX + 1), 4);
        _skips(_fundOf(_key(bob, unlisted, 1), 1), 5);
        _skips(_fundOf(_key(bob, COIN, 1), 1), 5);
        _skips(_fundOf(key, AMOUNT_MAX - 149), 4);
        _skips(_fundOf(key, AMOUNT_MAX - 150), 5);
        _depositPool(COIN, 9);
        _skips(_fundOf(_key(bob, COIN, 1), 10), 5);
        _does(hub.who, _batchOf(_fundOf(_key(bob, COIN, 1), 9)));
        _expectChannel(_key(bob, COIN, 1), 9, 0, 0, OPEN);
    }

    function test_aFundOpensAndAddsToTotalOnly() public {
        IRillHub.Key memory merchant = _key(bob, address(token), 3);
        bytes32 merchantId = Protocol.channelId(merchant);
        _depositPool(address(token), 30);
        _expects();
        emit IRillHub.Opened(merchantId, bob.who, address(token), 3);
        _expects();
        emit IRillHub.Funded(merchantId, 0, 20);
        _does(hub.who, _batchOf(_fundOf(merchant, 20)));
        _expects();
        emit IRillHub.Funded(merchantId, 0, 10);
        _does(hub.who, _batchOf(_fundOf(merchant, 10)));
        _expectChannel(merchant, 30, 0, 0, OPEN);
        vm.assertEq(rill.pool(address(token)), 0, "pool");
    }

    /// Funds come after items, and may use what the items brought.
    function test_collateralMovesWithinOneBatch() public {
        IRillHub.SettleItem[] memory items = new IRillHub.SettleItem[](1);
        items[0] = _itemOf(key, 0, 50);
        _signItem(alice, items[0], 1);
        IRillHub.Fund[] memory funds = new IRillHub.Fund[](1);
        funds[0] = _fundOf(_key(bob, COIN, 1), 50);
        _does(hub.who, abi.encodeCall(rill.settleBatch, (items, funds, bytes32(0))));
        _expectChannel(key, 100, 100, 1, OPEN);
        _expectChannel(funds[0].key, 50, 0, 0, OPEN);
        vm.assertEq(rill.pool(COIN), 0, "pool");
    }

    /// Amounts at random: exactly what section 8 says, or skipped.
    function testFuzz_amounts(uint64 ofClient, uint64 ofHub, uint64 clientOut, uint64 hubOut, bool close) public {
        IRillHub.Key memory fresh = _key(bob, address(token), 4);
        (ofClient, ofHub) = (ofClient / 4, ofHub / 4);
        if (clientOut % 4 != 0) clientOut = uint64(clientOut % (uint256(ofClient) + ofHub + 2));
        if (hubOut % 4 != 0) hubOut = uint64(hubOut % (uint256(ofHub) + 2));
        _open(fresh, ofClient, ofHub);
        uint256 total = uint256(ofClient) + ofHub;
        vm.assume(total != 0);
        IRillHub.SettleItem memory item = _itemOf(fresh, clientOut, hubOut);
        item.close = close;
        _signItem(bob, item, 1);
        uint256 before = token.balanceOf(bob.who);
        _does(hub.who, _batchOf(item));
        uint256 paid = (token.balanceOf(bob.who) - before) / TOKEN_UNIT;
        if (uint256(clientOut) + hubOut > total) {
            vm.assertEq(paid, 0, "skipped");
            _expectChannel(fresh, uint64(total), int64(ofClient), 0, OPEN);
            return;
        }
        vm.assertEq(paid, close ? total - hubOut : clientOut, "paid");
        vm.assertEq(rill.pool(address(token)), hubOut, "pool");
        if (close) _expectChannel(fresh, 0, 0, 1, CLOSED);
        else _expectChannel(fresh, uint64(total - clientOut - hubOut), int64(ofClient) - int64(clientOut), 1, OPEN);
    }
}
