// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {vm} from "./support/Cheats.sol";
import {Driver} from "./support/Driver.sol";
import {MoneyHandler} from "./support/MoneyHandler.sol";

/// Whatever anybody calls, in whatever order: no unit appears or is lost, and no channel goes back.
contract MoneyInvariants is Driver {
    uint256 private constant MOVES = 15;

    MoneyHandler private handler;

    function setUp() external {
        handler = new MoneyHandler();
    }

    function _target() internal view override returns (address) {
        return address(handler);
    }

    function _moves() internal view override returns (bytes4[] memory moves) {
        moves = new bytes4[](MOVES);
        (moves[0], moves[1], moves[2]) =
        (handler.depositPool.selector, handler.withdrawPool.selector, handler.deposit.selector);
        (moves[3], moves[4], moves[5]) =
        (handler.settle.selector, handler.startClose.selector, handler.challenge.selector);
        (moves[6], moves[7], moves[8]) =
        (handler.voidLocks.selector, handler.finish.selector, handler.registerSecret.selector);
        (moves[9], moves[10], moves[11]) =
        (handler.unlock.selector, handler.withdrawOwed.selector, handler.behave.selector);
        (moves[12], moves[13], moves[14]) = (handler.force.selector, handler.pass.selector, handler.deposit.selector);
    }

    /// The contract never owes more than it holds; pool + channels + held + owed = what came in - what was paid, exactly.
    function invariant_everyUnitIsAccountedFor() external view {
        _everyUnitIsAccountedFor();
        _closedChannelsAreEmpty();
    }

    function _everyUnitIsAccountedFor() private view {
        for (uint256 asset = 0; asset < 2; asset++) {
            uint256 owes = handler.contractOwes(asset);
            vm.assertGe(handler.contractHas(asset), owes, "never owes more than it holds");
            vm.assertEq(handler.contractHas(asset), owes + handler.forced(asset), "holds no more than was forced on it");
            vm.assertEq(owes, handler.deposited(asset) - handler.paidOut(asset), "came in less what was paid");
        }
    }

    function _closedChannelsAreEmpty() private view {
        for (uint256 i = 0; i < handler.channels(); i++) {
            (uint64 total, int64 base, uint8 status, uint64 held) = handler.stateOf(i);
            if (status == 0 || status == 3) vm.assertEq(abs(base) + total, 0, "nothing is in it");
            if (status != 3) vm.assertEq(held, 0, "nothing is held before the end");
        }
    }

    function abs(int64 value) private pure returns (uint256) {
        return value < 0 ? uint256(-int256(value)) : uint256(int256(value));
    }

    function afterInvariant() external {
        handler.finishAll();
        _everyUnitIsAccountedFor();
    }

    /// The moves above, at random from one seed: each of them is known to have been made, so that none of the invariants
    /// holds for want of anything happening.
    function test_everyMoveIsMade() external {
        _drive(1, 1500);
        _everyUnitIsAccountedFor();
        string[15] memory names = [
            "depositPool",
            "withdrawPool",
            "deposit",
            "settleBatch",
            "startClose",
            "challenge of the partner",
            "challenge of a tower",
            "voidLocks",
            "finish",
            "registerSecret",
            "unlock",
            "withdrawOwed",
            "behave",
            "force",
            "pass"
        ];
        for (uint256 i = 0; i < names.length; i++) {
            _happened(names[i]);
        }
    }
}
