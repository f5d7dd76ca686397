// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {vm} from "./support/Cheats.sol";
import {HonestHandler} from "./support/HonestHandler.sol";
import {Random, Randoms} from "./support/Random.sol";
import {FuzzSelector} from "./support/Targets.sol";

/// Nobody honest and watched loses a unit; nobody honest and unwatched loses more than it ever received or locked; who
/// lacks the receiver's authority changes nothing; every close reaches its end. The handler asserts each where it
/// happens, and forge fails on what reverts.
contract HonestInvariants {
    using Randoms for Random;

    uint256 private constant MOVES = 24;

    HonestHandler internal handler;

    function setUp() public {
        handler = new HonestHandler();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(handler), _moves());
    }

    function _moves() private view returns (bytes4[] memory moves) {
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
    }

    function invariant_whoIsHonestLosesNothing() external pure {}

    function afterInvariant() external {
        handler.concludeAll();
    }

    /// The moves above, at random from one seed: each kind of end, answer and attack is known to have happened.
    function test_everyMoveIsMade() external {
        bytes4[] memory moves = _moves();
        Random memory random = Random(1);
        for (uint256 i = 0; i < 4000; i++) {
            bytes memory call = abi.encodeWithSelector(moves[random.below(MOVES)], random.next());
            (bool success, bytes memory answer) = address(handler).call(call);
            if (!success) {
                assembly ("memory-safe") {
                    revert(add(answer, 32), mload(answer))
                }
            }
        }
        string[24] memory names = [
            "pay",
            "lock",
            "unlock off the ledger",
            "drop",
            "revoke",
            "settle",
            "settle too late",
            "fund",
            "register",
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
            vm.assertGe(handler.count(names[i]), 3, names[i]);
        }
    }
}
