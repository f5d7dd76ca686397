// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {Closings} from "./Closings.sol";
import {IRillHub} from "./IRillHub.sol";
import {Payouts} from "./Payouts.sol";

/// What the contract keeps, and how money leaves it: shared by RillHub and its batches.
///
/// Whenever control is given away (a payout runs the receiver's or a token's code) storage is whole: channels, pool,
/// held and owed add up to what will remain. Views may be called then, and tell the state after the payout;
/// nothing that changes state can be.
abstract contract HubState is IRillHub, EIP712, ReentrancyGuardTransient {
    uint8 internal constant NONE = 0;
    uint8 internal constant OPEN = 1;
    uint8 internal constant CLOSING = 2;
    uint8 internal constant CLOSED = 3;

    uint256 internal constant AMOUNT_LIMIT = 1 << 63;

    /// One slot for as long as the channel lives, and its tombstone. Batches.sol knows the place of each field.
    struct Channel {
        uint64 total; // once closed: what is held for the client's locks
        int64 base; // once closed: what is held for the hub's locks
        uint32 seq;
        uint8 status;
        uint8 flags; // of the closing, see Closings
        uint64 deadline; // of the closing
    }

    /// unit 0: not listed. One slot. Batches.sol and Purse know the place of each field.
    struct Asset {
        uint128 unit;
        uint64 pool;
    }

    /// An asset's row while it is worked on: read once, written at most once before each payout and at the end.
    struct Purse {
        uint256 asset; // its address; NO_ASSET: not listed, or none yet
        uint256 unit;
        uint256 pool;
        uint256 stored; // the pool as storage has it
    }

    uint256 internal constant NO_ASSET = type(uint256).max;

    address public immutable hub;
    uint64 public immutable challengePeriod;
    uint16 public immutable bountyBps;

    uint64 internal _batches;
    mapping(address asset => Asset) internal _assets;
    mapping(bytes32 id => Channel) internal _channels;
    mapping(bytes32 id => Closings.Dispute) internal _disputes;
    mapping(bytes32 id => mapping(bool ofClient => mapping(bytes32 leaf => bool))) internal _unlocked;
    mapping(address to => mapping(address asset => uint128)) public owed;
    mapping(address tower => bool) public isTower;
    mapping(uint8 kind => mapping(bytes32 condition => uint64)) public registeredAt;

    constructor(address hub_, uint64 challengePeriod_, uint16 bountyBps_) EIP712("Rill", "1") {
        hub = hub_;
        challengePeriod = challengePeriod_;
        bountyBps = bountyBps_;
    }

    function _openPurse(Purse memory purse, address asset) internal view {
        Asset memory listed = _assets[asset];
        purse.asset = listed.unit == 0 ? NO_ASSET : uint160(asset);
        purse.unit = listed.unit;
        purse.pool = listed.pool;
        purse.stored = listed.pool;
    }

    function _savePurse(Purse memory purse) internal {
        if (purse.pool == purse.stored) return;
        // Both are as wide as their fields: unit came from storage, and pool is below AMOUNT_LIMIT.
        _assets[address(uint160(purse.asset))] = Asset(uint128(purse.unit), uint64(purse.pool));
        purse.stored = purse.pool;
    }

    /// Pays what leaves a channel: `toClient` to the client, `toHub` into the pool, or to what the hub is owed if it would
    /// take the pool to the limit. The client is paid with limited gas, and what cannot be delivered is recorded as
    /// owed: it never stops anybody else. The purse may be left unsaved. Amounts are units.
    function _pay(Purse memory purse, address client, uint256 toClient, uint256 toHub) internal {
        unchecked {
            uint256 pool_ = purse.pool + toHub;
            bool isFull = pool_ >= AMOUNT_LIMIT;
            if (!isFull) purse.pool = pool_;
            if (toClient != 0) {
                if (purse.pool != purse.stored) _savePurse(purse);
                address asset = address(uint160(purse.asset));
                // 64 bits by 128: this fits.
                if (!Payouts.push(asset, client, toClient * purse.unit)) _owe(asset, client, toClient);
            }
            if (isFull) _owe(address(uint160(purse.asset)), hub, toHub);
        }
    }

    function _owe(address asset, address to, uint256 amount) private {
        owed[to][asset] += uint128(amount);
        emit OwedRecorded(to, asset, uint64(amount));
    }

    function _isBadKey(address client) internal view returns (bool) {
        return client == address(0) || client == hub;
    }
}
