// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// What forge calls in an invariant test: its name for it.
struct FuzzSelector {
    address addr;
    bytes4[] selectors;
}
