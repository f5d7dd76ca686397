// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

/// How coins (asset zero) and tokens move. Nothing here reverts because of what a token or a receiver does.
library Payouts {
    /// What a receiver's code, or a token, may spend on being paid without its consent.
    uint256 private constant COIN_GAS = 30_000;
    uint256 private constant TOKEN_GAS = 150_000;
    /// What the call itself may cost beside that: a cold address, a value, a new account; and some instructions.
    uint256 private constant CALL_GAS = 45_000;

    /// Takes exactly `due` from the caller: the coins sent along, or tokens by transferFrom. False: it was not that.
    function pull(address asset, uint256 due) internal returns (bool) {
        if (due == 0) return false;
        if (asset == address(0)) return msg.value == due;
        if (msg.value != 0) return false;
        (bool known, uint256 before) = _balance(asset);
        if (!known || !SafeERC20.trySafeTransferFrom(IERC20(asset), msg.sender, address(this), due)) return false;
        uint256 afterwards;
        (known, afterwards) = _balance(asset);
        return known && afterwards >= before && afterwards - before == due;
    }

    /// Sends `due` at the cost of the caller, who asked for it: no limit but its own. 0 does nothing and succeeds.
    function send(address asset, address to, uint256 due) internal returns (bool) {
        if (due == 0) return true;
        if (asset == address(0)) return _sendCoins(to, due, gasleft());
        return SafeERC20.trySafeTransfer(IERC20(asset), to, due);
    }

    /// Sends `due`, which is not 0, with limited gas, copying no more than one word of what comes back. False: not delivered. Reverts if
    /// so little gas is left that the limit could not be granted: a caller cannot make a good payout fail.
    function push(address asset, address to, uint256 due) internal returns (bool success) {
        // The EVM keeps back a 64th of what is left when it calls.
        if (asset == address(0)) {
            require(gasleft() >= CALL_GAS + COIN_GAS + COIN_GAS / 32);
            success = _sendCoins(to, due, COIN_GAS);
        } else {
            require(gasleft() >= CALL_GAS + TOKEN_GAS + TOKEN_GAS / 32);
            success = _sendTokens(asset, to, due, TOKEN_GAS);
        }
    }

    function _sendCoins(address to, uint256 due, uint256 limit) private returns (bool success) {
        assembly ("memory-safe") {
            success := call(limit, to, due, 0, 0, 0, 0)
        }
    }

    /// As SafeERC20's trySafeTransfer, with a limit: tokens that return nothing are good if there is code at all.
    function _sendTokens(address token, address to, uint256 due, uint256 limit) private returns (bool success) {
        bytes4 selector = IERC20.transfer.selector;
        assembly ("memory-safe") {
            // transfer(to, due), put together beyond the free pointer.
            let scratch := mload(0x40)
            mstore(scratch, selector)
            mstore(add(scratch, 4), to)
            mstore(add(scratch, 36), due)
            mstore(0, 0)
            success := call(limit, token, 0, scratch, 68, 0, 32)
            if success {
                switch returndatasize()
                case 0 { success := gt(extcodesize(token), 0) }
                default { success := and(gt(returndatasize(), 31), eq(mload(0), 1)) }
            }
        }
    }

    function _balance(address token) private view returns (bool known, uint256 amount) {
        bytes memory data = abi.encodeCall(IERC20.balanceOf, (address(this)));
        assembly ("memory-safe") {
            known := staticcall(gas(), token, add(data, 32), mload(data), 0, 32)
            known := and(known, gt(returndatasize(), 31))
            amount := mload(0)
        }
    }
}
