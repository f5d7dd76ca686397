// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {IRillHub} from "./IRillHub.sol";

/// A token that misbehaves as it is told.
contract HostileToken is ERC20 {
    enum Manner {
        Good,
        Fee, // one unit less arrives
        Reverts,
        ReturnsFalse,
        ReturnsNothing,
        ReturnsALot, // what comes back would cost the caller its gas to copy
        BurnsGas,
        Reenters // and reverts if that did not work
    }

    Manner public manner;
    address private _target;
    bytes private _call;

    constructor() ERC20("Hostile", "HOST") {
        _mint(msg.sender, 1 << 128);
    }

    function behave(Manner manner_) external {
        manner = manner_;
    }

    /// Whom it calls when it re-enters, and with what.
    function aim(address target, bytes calldata call) external {
        _target = target;
        _call = call;
    }

    function transfer(address to, uint256 value) public override returns (bool) {
        return _misbehave(msg.sender, to, value);
    }

    function transferFrom(address from, address to, uint256 value) public override returns (bool) {
        _spendAllowance(from, msg.sender, value);
        return _misbehave(from, to, value);
    }

    function _misbehave(address from, address to, uint256 value) private returns (bool) {
        if (manner == Manner.Reverts) revert("no");
        if (manner == Manner.ReturnsFalse) return false;
        if (manner == Manner.BurnsGas) while (true) {}
        if (manner == Manner.Reenters) {
            (bool success,) = _target.call(_call);
            require(success);
        }
        if (manner == Manner.ReturnsALot) {
            assembly {
                revert(0, 40000)
            }
        }
        _transfer(from, to, value);
        if (manner == Manner.Fee) _burn(to, 1);
        if (manner == Manner.ReturnsNothing) {
            assembly {
                return(0, 0)
            }
        }
        return true;
    }
}

/// A client that is a contract: it takes part by calling, and on being paid does what it is told.
contract HostileClient {
    enum Manner {
        Accepts,
        Reverts,
        Reenters, // and reverts if that did not work
        BurnsGas,
        Watches // looks at a view while it is being paid
    }

    IRillHub private immutable _hub;
    Manner public manner;
    bytes private _call;

    event Saw(bytes answer);

    constructor(IRillHub hub) payable {
        _hub = hub;
    }

    function behave(Manner manner_, bytes calldata call) external {
        manner = manner_;
        _call = call;
    }

    function forward(bytes calldata call, uint256 value) external {
        (bool success, bytes memory answer) = address(_hub).call{value: value}(call);
        if (!success) {
            assembly {
                revert(add(answer, 32), mload(answer))
            }
        }
    }

    receive() external payable {
        if (manner == Manner.Reverts) revert("no");
        if (manner == Manner.Watches) {
            (, bytes memory answer) = address(_hub).staticcall(_call);
            emit Saw(answer);
        }
        if (manner == Manner.BurnsGas) while (true) {}
        if (manner == Manner.Reenters) {
            (bool success,) = address(_hub).call(_call);
            require(success);
        }
    }
}
