// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// Numbers out of one seed that forge chose.
struct Random {
    uint256 state;
}

library Randoms {
    function next(Random memory random) internal pure returns (uint256) {
        random.state = uint256(keccak256(abi.encode(random.state)));
        return random.state;
    }

    function below(Random memory random, uint256 limit) internal pure returns (uint256) {
        return next(random) % limit;
    }

    function chance(Random memory random, uint256 percent) internal pure returns (bool) {
        return below(random, 100) < percent;
    }

    /// An amount up to `most`: often small, sometimes the most itself. 0 only where most is.
    function amount(Random memory random, uint256 most) internal pure returns (uint64) {
        if (most == 0) return 0;
        uint256 kind = below(random, 4);
        if (kind == 0) return uint64(most);
        uint256 range = kind == 1 ? most : most < 1000 ? most : 1000;
        return uint64(1 + below(random, range));
    }
}
