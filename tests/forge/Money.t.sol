// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IRillHub} from "rill/IRillHub.sol";
import {vm} from "./support/Cheats.sol";
import {Protocol} from "./support/Protocol.sol";
import {Fixture} from "./support/Fixture.sol";
import {Babbler, GasBurner, OddToken, Reenterer, Refuser} from "./support/Receivers.sol";

/// Assets, the pool, deposits, and what is owed. Each function's errors are tried in the order of protocol.md's table: a call
/// that breaks several rules is refused for the first, then for the next.
contract MoneyTest is Fixture {
    OddToken internal odd;

    function setUp() public override {
        super.setUp();
        odd = new OddToken();
        odd.mint(alice.who, 1 << 80);
        odd.mint(hub.who, 1 << 80);
    }

    // ------------------------------------------------------------------------------------- views, constructor

    function test_theConstructorSetsWhatTheViewsSay() public view {
        vm.assertEq(rill.hub(), hub.who, "hub");
        vm.assertEq(rill.challengePeriod(), PERIOD, "challengePeriod");
        vm.assertEq(rill.bountyBps(), BOUNTY_BPS, "bountyBps");
        vm.assertEq(rill.domainSeparator(), domain, "domainSeparator");
        vm.assertEq(rill.unit(COIN), 1, "unit of the coin");
        vm.assertEq(rill.unit(address(token)), TOKEN_UNIT, "unit of the token");
        vm.assertEq(rill.unit(address(odd)), 0, "unit of what is not listed");
    }

    function test_aBountyAboveHalfIsRefusedAtTheStart() public {
        vm.assertTrue(_tryDeploy("RillHub", abi.encode(hub.who, PERIOD, uint16(5000))) != address(0), "5000 is good");
        vm.assertTrue(_tryDeploy("RillHub", abi.encode(hub.who, PERIOD, uint16(5001))) == address(0), "5001 is not");
    }

    function test_aChannelThatNeverWasIsAllZero() public view {
        IRillHub.Key memory key = _key(alice, COIN, 1);
        _expectChannel(key, 0, 0, 0, NONE);
        IRillHub.Closing memory nothing;
        vm.assertEq(abi.encode(rill.closing(key)), abi.encode(nothing), "closing");
        (uint64 ofClient, uint64 ofHub) = rill.held(key);
        vm.assertEq(uint256(ofClient) + ofHub, 0, "held");
        vm.assertFalse(rill.unlocked(key, true, bytes32(uint256(1))), "unlocked");
    }

    function test_coinsSentToFunctionsThatTakeNoneAreRefusedWithoutAName() public {
        _refuses(hub.who, 1, hex"", hex"");
        _refuses(hub.who, 1, abi.encodeCall(rill.listAsset, (address(odd), 1)), hex"");
        _refuses(hub.who, 1, abi.encodeCall(rill.setTower, (tower.who, true)), hex"");
        _refuses(hub.who, 1, abi.encodeCall(rill.registerSecret, (bytes32(0))), hex"");
        _refuses(hub.who, 1, _batchOf(_fundOf(_key(alice, COIN, 1), 1)), hex"");
        _refuses(hub.who, 0, hex"12345678", hex"");
    }

    // --------------------------------------------------------------------------------------------- listAsset

    function test_listAssetErrorsInOrder() public {
        _refuses(stranger.who, abi.encodeCall(rill.listAsset, (COIN, 0)), _error(IRillHub.NotHub.selector));
        _refuses(hub.who, abi.encodeCall(rill.listAsset, (COIN, 0)), _error(IRillHub.AssetAlreadyListed.selector));
        _refuses(hub.who, abi.encodeCall(rill.listAsset, (address(odd), 0)), _error(IRillHub.WrongValue.selector));
        _expects();
        emit IRillHub.AssetListed(address(odd), type(uint128).max);
        _does(hub.who, abi.encodeCall(rill.listAsset, (address(odd), type(uint128).max)));
        vm.assertEq(rill.unit(address(odd)), type(uint128).max, "unit");
    }

    // ---------------------------------------------------------------------------------- depositPool, withdrawPool

    function test_depositPoolErrorsInOrder() public {
        _refuses(
            alice.who, 5, abi.encodeCall(rill.depositPool, (address(odd), FAR)), _error(IRillHub.AssetUnknown.selector)
        );
        _refuses(alice.who, 5, abi.encodeCall(rill.depositPool, (COIN, FAR)), _error(IRillHub.AmountTooLarge.selector));
        _refuses(alice.who, 5, abi.encodeCall(rill.depositPool, (COIN, 6)), _error(IRillHub.WrongValue.selector));
        _refuses(alice.who, 5, abi.encodeCall(rill.depositPool, (COIN, 4)), _error(IRillHub.WrongValue.selector));
        _refuses(alice.who, 0, abi.encodeCall(rill.depositPool, (COIN, 0)), _error(IRillHub.WrongValue.selector));
        _refuses(
            alice.who, 1, abi.encodeCall(rill.depositPool, (address(token), 1)), _error(IRillHub.WrongValue.selector)
        );
        _expects();
        emit IRillHub.PoolDeposited(COIN, alice.who, 5);
        _pays(alice.who, 5, abi.encodeCall(rill.depositPool, (COIN, 5)));
        _does(alice.who, abi.encodeCall(rill.depositPool, (address(token), 7)));
        vm.assertEq(rill.pool(COIN), 5, "pool of coins");
        vm.assertEq(rill.pool(address(token)), 7, "pool of tokens");
        vm.assertEq(token.balanceOf(address(rill)), 7 * TOKEN_UNIT, "tokens arrived");
    }

    function test_thePoolEndsBelowTwoToThe63() public {
        _depositPool(COIN, AMOUNT_MAX - 1);
        _refuses(hub.who, 2, abi.encodeCall(rill.depositPool, (COIN, 2)), _error(IRillHub.AmountTooLarge.selector));
        _depositPool(COIN, 1);
        _refuses(hub.who, 0, abi.encodeCall(rill.depositPool, (COIN, 1)), _error(IRillHub.AmountTooLarge.selector));
        _depositPool(address(token), AMOUNT_MAX);
        _refuses(
            hub.who, abi.encodeCall(rill.depositPool, (address(token), 1)), _error(IRillHub.AmountTooLarge.selector)
        );
    }

    function test_withdrawPoolErrorsInOrder() public {
        address refuser = address(new Refuser());
        _refuses(
            stranger.who,
            abi.encodeCall(rill.withdrawPool, (address(odd), refuser, 9)),
            _error(IRillHub.NotHub.selector)
        );
        _refuses(
            hub.who,
            abi.encodeCall(rill.withdrawPool, (address(odd), refuser, 0)),
            _error(IRillHub.AssetUnknown.selector)
        );
        _depositPool(COIN, 8);
        _refuses(hub.who, abi.encodeCall(rill.withdrawPool, (COIN, refuser, 9)), _error(IRillHub.PoolTooLow.selector));
        _refuses(
            hub.who, abi.encodeCall(rill.withdrawPool, (COIN, refuser, 8)), _error(IRillHub.TransferFailed.selector)
        );
        uint256 before = bob.who.balance;
        _expects();
        emit IRillHub.PoolWithdrawn(COIN, bob.who, 8);
        _does(hub.who, abi.encodeCall(rill.withdrawPool, (COIN, bob.who, 8)));
        vm.assertEq(bob.who.balance - before, 8, "paid");
        vm.assertEq(rill.pool(COIN), 0, "pool");
    }

    function test_withdrawingNothingDoesNothing() public {
        _does(hub.who, abi.encodeCall(rill.withdrawPool, (COIN, address(new Refuser()), 0)));
    }

    // ------------------------------------------------------------------------------------------------ deposit

    function test_depositErrorsInOrder() public {
        bytes memory call = abi.encodeCall(rill.deposit, (IRillHub.Key(address(0), address(odd), 1), FAR));
        _refuses(bob.who, 5, call, _error(IRillHub.BadKey.selector));
        call = abi.encodeCall(rill.deposit, (_key(hub, address(odd), 1), FAR));
        _refuses(bob.who, 5, call, _error(IRillHub.BadKey.selector));
        call = abi.encodeCall(rill.deposit, (_key(alice, address(odd), 1), FAR));
        _refuses(bob.who, 5, call, _error(IRillHub.AssetUnknown.selector));
        IRillHub.Key memory key = _key(alice, COIN, 1);
        for (uint8 status = CLOSING; status <= CLOSED; status++) {
            if (status == CLOSING) {
                _deposit(bob.who, key, 1);
                _closeBare(key, _noClaim());
            } else {
                _finish(key);
            }
            _refuses(bob.who, 5, abi.encodeCall(rill.deposit, (key, FAR)), _badStatus(status));
        }
        key.salt = 2;
        _refuses(bob.who, 5, abi.encodeCall(rill.deposit, (key, FAR)), _error(IRillHub.AmountTooLarge.selector));
        _refuses(bob.who, 5, abi.encodeCall(rill.deposit, (key, 6)), _error(IRillHub.WrongValue.selector));
        _refuses(bob.who, 0, abi.encodeCall(rill.deposit, (key, 0)), _error(IRillHub.WrongValue.selector));
        key.asset = address(token);
        _refuses(bob.who, 1, abi.encodeCall(rill.deposit, (key, 1)), _error(IRillHub.WrongValue.selector));
        _expectChannel(key, 0, 0, 0, NONE);
    }

    function test_theFirstDepositOpensAndAnybodyMayAdd() public {
        IRillHub.Key memory key = _key(alice, address(token), type(uint64).max);
        bytes32 id = Protocol.channelId(key);
        _expects();
        emit IRillHub.Opened(id, alice.who, address(token), type(uint64).max);
        _expects();
        emit IRillHub.Funded(id, 10, 0);
        _deposit(bob.who, key, 10);
        _expectChannel(key, 10, 10, 0, OPEN);
        _expects();
        emit IRillHub.Funded(id, 5, 0);
        _deposit(stranger.who, key, 5);
        _expectChannel(key, 15, 15, 0, OPEN);
        vm.assertEq(token.balanceOf(address(rill)), 15 * TOKEN_UNIT, "tokens arrived");
    }

    function test_totalAndBaseEndBelowTwoToThe63() public {
        IRillHub.Key memory key = _key(alice, COIN, 1);
        _deposit(alice.who, key, AMOUNT_MAX);
        _expectChannel(key, AMOUNT_MAX, type(int64).max, 0, OPEN);
        _refuses(alice.who, 1, abi.encodeCall(rill.deposit, (key, 1)), _error(IRillHub.AmountTooLarge.selector));
        // hubOut takes total down and leaves base: now base is the limit.
        IRillHub.SettleItem memory item = _itemOf(key, 0, AMOUNT_MAX);
        _signItem(alice, item, 1);
        _does(hub.who, _batchOf(item));
        _expectChannel(key, 0, type(int64).max, 1, OPEN);
        _refuses(alice.who, 1, abi.encodeCall(rill.deposit, (key, 1)), _error(IRillHub.AmountTooLarge.selector));
        _refuses(alice.who, 1, abi.encodeCall(rill.deposit, (key, FAR)), _error(IRillHub.AmountTooLarge.selector));
    }

    function test_aTokenThatDoesNotBringWhatItSaysIsWrongValue() public {
        _does(hub.who, abi.encodeCall(rill.listAsset, (address(odd), 1)));
        IRillHub.Key memory key = _key(alice, address(odd), 1);
        OddToken.Manner[4] memory bad =
            [OddToken.Manner.TakesFee, OddToken.Manner.Reverts, OddToken.Manner.SaysNo, OddToken.Manner.SaysTwo];
        for (uint256 i = 0; i < bad.length; i++) {
            odd.behave(bad[i]);
            _refuses(alice.who, abi.encodeCall(rill.deposit, (key, 9)), _error(IRillHub.WrongValue.selector));
            _refuses(
                alice.who, abi.encodeCall(rill.depositPool, (address(odd), 9)), _error(IRillHub.WrongValue.selector)
            );
        }
        odd.behave(OddToken.Manner.SaysNothing);
        _deposit(alice.who, key, 9);
        // No allowance, no balance, no code.
        _refuses(tower.who, abi.encodeCall(rill.depositPool, (address(token), 1)), _error(IRillHub.WrongValue.selector));
        _does(hub.who, abi.encodeCall(rill.listAsset, (address(0xdead), 1)));
        _refuses(
            alice.who, abi.encodeCall(rill.depositPool, (address(0xdead), 1)), _error(IRillHub.WrongValue.selector)
        );
    }

    // --------------------------------------------------------------------------------------------- what is owed

    /// Each manner of refusing coins, at the end of a close: recorded as owed, and withdrawn to somewhere else later.
    function test_whatCannotBeDeliveredIsOwedAndCanBeWithdrawnElsewhere() public {
        Reenterer reenterer = new Reenterer();
        reenterer.prepare(abi.encodeCall(rill.registerSecret, (bytes32("inner"))));
        address[3] memory receivers = [address(new Refuser()), address(new GasBurner()), address(reenterer)];
        for (uint64 i = 0; i < receivers.length; i++) {
            _owedTo(receivers[i], i);
        }
        vm.assertEq(rill.registeredAt(0, Protocol.conditionOf(bytes32("inner"))), 0, "nothing was done within");
        _refuses(alice.who, abi.encodeCall(rill.withdrawOwed, (COIN, alice.who)), _error(IRillHub.NothingOwed.selector));
    }

    function _owedTo(address receiver, uint64 salt) private {
        IRillHub.Key memory key = IRillHub.Key(receiver, COIN, salt);
        _deposit(alice.who, key, 70);
        _closeBare(key, _noClaim());
        vm.warp(_limit(rill.closing(key).deadline, 3));
        _expects();
        emit IRillHub.Finished(Protocol.channelId(key), 70, 0, 0, 0, 0, 0);
        _expects();
        emit IRillHub.OwedRecorded(receiver, COIN, 70);
        _does(stranger.who, abi.encodeCall(rill.finish, (key)));
        vm.assertEq(rill.owed(receiver, COIN), 70, "owed");
        _refuses(
            receiver, abi.encodeCall(rill.withdrawOwed, (COIN, receiver)), _error(IRillHub.TransferFailed.selector)
        );
        vm.assertEq(rill.owed(receiver, COIN), 70, "still owed");
        uint256 before = bob.who.balance;
        _expects();
        emit IRillHub.OwedWithdrawn(receiver, COIN, bob.who, 70);
        _does(receiver, abi.encodeCall(rill.withdrawOwed, (COIN, bob.who)));
        vm.assertEq(bob.who.balance - before, 70, "paid");
        _refuses(receiver, abi.encodeCall(rill.withdrawOwed, (COIN, bob.who)), _error(IRillHub.NothingOwed.selector));
    }

    function test_aReceiverThatSaysALotIsPaid() public {
        IRillHub.Key memory key = IRillHub.Key(address(new Babbler()), COIN, 0);
        _deposit(alice.who, key, 70);
        _closeBare(key, _noClaim());
        _finish(key);
        vm.assertEq(key.client.balance, 70, "paid");
    }

    function test_aTokenThatFailsOnPayingIsOwedInUnits() public {
        _does(hub.who, abi.encodeCall(rill.listAsset, (address(odd), 3)));
        OddToken.Manner[2] memory bad = [OddToken.Manner.Reverts, OddToken.Manner.SaysNo];
        for (uint64 i = 0; i < bad.length; i++) {
            odd.behave(OddToken.Manner.Good);
            IRillHub.Key memory key = _key(alice, address(odd), i);
            _deposit(alice.who, key, 70);
            _closeBare(key, _noClaim());
            odd.behave(bad[i]);
            _finish(key);
            vm.assertEq(rill.owed(alice.who, address(odd)), 70 * (i + 1), "owed");
        }
        odd.behave(OddToken.Manner.SaysNothing);
        _does(alice.who, abi.encodeCall(rill.withdrawOwed, (address(odd), bob.who)));
        vm.assertEq(odd.balanceOf(bob.who), 70 * 2 * 3, "paid in base units");
    }

    function test_whatTheFullPoolCannotTakeIsOwedToTheHub() public {
        IRillHub.Key memory key = _key(alice, COIN, 1);
        _open(key, 10, 20);
        _depositPool(COIN, AMOUNT_MAX - 19);
        _closeBare(key, _noClaim());
        vm.warp(_limit(rill.closing(key).deadline, 3));
        _expects();
        emit IRillHub.OwedRecorded(hub.who, COIN, 20);
        _does(stranger.who, abi.encodeCall(rill.finish, (key)));
        vm.assertEq(rill.pool(COIN), AMOUNT_MAX - 19, "pool");
        vm.assertEq(rill.owed(hub.who, COIN), 20, "owed");
    }

    /// At any gas: the call fails whole, or the good receiver is paid.
    function test_littleGasNeverMakesAGoodPayoutFail() public {
        IRillHub.Key memory key = _key(alice, address(token), 1);
        _open(key, 10, 20);
        _closeBare(key, _noClaim());
        vm.warp(_limit(rill.closing(key).deadline, 3));
        uint256 done = 0;
        bytes memory call = abi.encodeCall(rill.finish, (key));
        for (uint256 gas_ = 20_000; gas_ < 500_000; gas_ += 1_500) {
            uint256 snapshot = vm.snapshotState();
            vm.prank(stranger.who);
            (bool success,) = address(rill).call{gas: gas_}(call);
            vm.assertEq(rill.owed(alice.who, address(token)), 0, "nothing is owed");
            vm.assertEq(_status(key), success ? CLOSED : CLOSING, "all or nothing");
            if (success) done++;
            vm.revertToState(snapshot);
        }
        vm.assertTrue(done > 0 && done < 320, "some gas is enough, some is not");
    }
}
