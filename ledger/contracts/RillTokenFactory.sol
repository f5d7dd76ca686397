// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {ITokenFactory} from "./IRillHub.sol";
import {RillToken} from "./RillToken.sol";

/// Where an operator issues an asset. The supply belongs to whoever calls.
contract RillTokenFactory is ITokenFactory {
    function create(string calldata name, string calldata symbol, uint8 decimals, uint256 supply)
        external
        returns (address)
    {
        RillToken token = new RillToken(name, symbol, decimals, supply, msg.sender);
        emit TokenCreated(address(token), msg.sender, symbol, decimals, supply);
        return address(token);
    }
}
