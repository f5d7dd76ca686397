// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IRillHub} from "rill/IRillHub.sol";
import {Protocol} from "./Protocol.sol";

/// The tree over a stream's pending locks (protocol.md, section 3): 1,024 places, an empty place is zero. Kept as a heap:
/// the root is node 1, the children of node n are 2n and 2n + 1.
library LockTree {
    uint256 internal constant PLACES = 1024;
    uint256 private constant LEVELS = 10;

    function build(IRillHub.Lock[] memory locks) internal pure returns (bytes32[] memory nodes) {
        nodes = new bytes32[](2 * PLACES);
        uint256[] memory place = new uint256[](locks.length);
        for (uint256 i = 0; i < locks.length; i++) {
            place[i] = PLACES + locks[i].id % PLACES;
            require(nodes[place[i]] == 0, "two locks in one place");
            nodes[place[i]] = Protocol.leaf(locks[i]);
        }
        for (uint256 level = 0; level < LEVELS; level++) {
            for (uint256 i = 0; i < place.length; i++) {
                uint256 parent = place[i] / 2;
                nodes[parent] = join(nodes[2 * parent], nodes[2 * parent + 1]);
                place[i] = parent;
            }
        }
    }

    function join(bytes32 left, bytes32 right) internal pure returns (bytes32) {
        if (left == 0) return right;
        if (right == 0) return left;
        return left < right ? keccak256(abi.encodePacked(left, right)) : keccak256(abi.encodePacked(right, left));
    }

    function root(IRillHub.Lock[] memory locks) internal pure returns (bytes32) {
        return locks.length == 0 ? bytes32(0) : build(locks)[1];
    }

    function proof(bytes32[] memory nodes, uint64 id) internal pure returns (bytes32[] memory siblings) {
        siblings = new bytes32[](LEVELS);
        uint256 count = 0;
        for (uint256 node = PLACES + id % PLACES; node > 1; node /= 2) {
            if (nodes[node ^ 1] != 0) siblings[count++] = nodes[node ^ 1];
        }
        assembly ("memory-safe") {
            mstore(siblings, count)
        }
    }
}
