// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {vm} from "./Cheats.sol";
import {Random, Randoms} from "./Random.sol";

/// What forge calls in an invariant test: its name for it.
struct FuzzSelector {
    address addr;
    bytes4[] selectors;
}

interface ICounts {
    function count(string calldata what) external view returns (uint256);
}

/// Tells forge what to call, and can play the same moves by itself.
abstract contract Driver {
    using Randoms for Random;

    /// The handler whose functions are the moves.
    function _target() internal view virtual returns (address);

    /// A move that is named twice is made twice as often.
    function _moves() internal view virtual returns (bytes4[] memory);

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = _target();
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(_target(), _moves());
    }

    /// So many moves at random, from one seed. Reverts with what a move reverts with.
    function _drive(uint256 seed, uint256 howMany) internal {
        bytes4[] memory moves = _moves();
        Random memory random = Random(seed);
        for (uint256 i = 0; i < howMany; i++) {
            bytes memory call = abi.encodeWithSelector(moves[random.below(moves.length)], random.next());
            (bool success, bytes memory answer) = _target().call(call);
            if (success) continue;
            assembly ("memory-safe") {
                revert(add(answer, 32), mload(answer))
            }
        }
    }

    function _happened(string memory what) internal view {
        vm.assertGe(ICounts(_target()).count(what), 3, what);
    }
}
