// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {vm} from "./support/Cheats.sol";
import {Driver} from "./support/Driver.sol";
import {HonestHandler} from "./support/HonestHandler.sol";

/// Nobody honest and watched loses a unit; nobody honest and unwatched loses more than it ever received or locked; who
/// lacks the receiver's authority changes nothing; every close reaches its end. The handler asserts each where it
/// happens, and forge fails on what reverts.
contract HonestInvariants is Driver {
    uint256 private constant MOVES = 25;

    HonestHandler private handler;

    function setUp() external {
        handler = new HonestHandler();
    }

    function _target() internal view override returns (address) {
        return address(handler);
    }

    function _moves() internal view override returns (bytes4[] memory moves) {
        moves = new bytes4[](MOVES);
        moves[0] = moves[1] = handler.pay.selector;
        moves[2] = moves[3] = moves[4] = handler.lock.selector;
        moves[5] = moves[6] = moves[7] = moves[8] = handler.resolve.selector;
        moves[9] = moves[10] = handler.revoke.selector;
        moves[11] = handler.settle.selector;
        moves[12] = handler.fund.selector;
        moves[13] = handler.register.selector;
        moves[14] = handler.honestCloses.selector;
        moves[15] = handler.cheatCloses.selector;
        moves[16] = moves[17] = moves[18] = handler.cheatMeddles.selector;
        moves[19] = handler.strangerMeddles.selector;
        moves[20] = handler.watch.selector;
        moves[21] = handler.pass.selector;
        moves[22] = moves[23] = handler.conclude.selector;
        moves[24] = handler.closeAgreed.selector;
    }

    function invariant_whoIsHonestLosesNothing() external view {
        _whoIsHonestLosesNothing();
    }

    function _whoIsHonestLosesNothing() private view {
        vm.assertGe(handler.leastGain(), 0, "who is honest has what it is due");
    }

    function afterInvariant() external {
        handler.concludeAll();
        _whoIsHonestLosesNothing();
    }

    /// The moves above, at random from one seed: each kind of end, answer and attack is known to have happened.
    function test_everyMoveIsMade() external {
        _drive(1, 9000);
        _whoIsHonestLosesNothing();
        string[25] memory names = [
            "pay",
            "lock",
            "unlock off the ledger",
            "drop",
            "revoke",
            "settle",
            "settle too late",
            "fund",
            "register",
            "agreed close",
            "honest close",
            "cheat's close",
            "cheat's challenge",
            "bad tower's challenge",
            "stranger",
            "honest challenge",
            "honest over a bad tower",
            "set tower's challenge",
            "chosen tower's challenge",
            "void",
            "unlock on the ledger",
            "end unwatched",
            "end, client honest",
            "end, hub honest",
            "pass"
        ];
        for (uint256 i = 0; i < names.length; i++) {
            _happened(names[i]);
        }
    }
}
