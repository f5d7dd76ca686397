// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// Clients that are contracts and take no coins, each in its own way. Their code may be put at any address.
contract Refuser {
    receive() external payable {
        revert("no coins here");
    }
}

contract GasBurner {
    receive() external payable {
        while (true) {}
    }
}

/// Calls back whoever pays: what it calls must not happen, and it refuses the coins when the call fails.
contract Reenterer {
    bytes public data;

    function prepare(bytes calldata data_) external {
        data = data_;
    }

    receive() external payable {
        (bool success,) = msg.sender.call(data);
        require(success, "the call back failed");
    }
}

/// Answers with more bytes than the payer should ever copy.
contract Babbler {
    receive() external payable {
        assembly {
            return(0, 100000)
        }
    }
}

/// A token that does as it is told.
contract OddToken {
    enum Manner {
        Good,
        TakesFee,
        Reverts,
        SaysNo,
        SaysNothing,
        SaysTwo
    }

    Manner public manner;
    mapping(address => uint256) public balanceOf;

    function behave(Manner manner_) external {
        manner = manner_;
    }

    function mint(address to, uint256 value) external {
        balanceOf[to] += value;
    }

    function transfer(address to, uint256 value) external returns (bool) {
        return _move(msg.sender, to, value);
    }

    function transferFrom(address from, address to, uint256 value) external returns (bool) {
        return _move(from, to, value);
    }

    function _move(address from, address to, uint256 value) private returns (bool) {
        if (manner == Manner.Reverts) revert("no");
        if (manner == Manner.SaysNo) return false;
        balanceOf[from] -= value;
        balanceOf[to] += manner == Manner.TakesFee ? value - 1 : value;
        assembly {
            if eq(sload(manner.slot), 4) { return(0, 0) }
            if eq(sload(manner.slot), 5) {
                mstore(0, 2)
                return(0, 32)
            }
        }
        return true;
    }
}
