// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {SignedMath} from "@openzeppelin/contracts/utils/math/SignedMath.sol";
import {IRillHub} from "./IRillHub.sol";

/// A close that the two sides do not agree on, as it is stored, and what it pays (protocol.md, section 7). All sums
/// are taken in int256, far from its ends: every operand is below 2^64 in size.
library Closings {
    using SafeCast for int256;
    using SafeCast for uint256;

    /// The closer's claim is stored once: `chosen` is only written by a challenge. The first six fields share a slot.
    struct Dispute {
        bool byHub;
        bool challenged;
        bool byPartner;
        bool fraud;
        uint64 deadline;
        address tower;
        uint64 minNonceOfClient;
        uint64 minNonceOfHub;
        IRillHub.Claim own;
        IRillHub.Claim partner;
        IRillHub.Claim chosen;
    }

    struct Payout {
        uint64 toClient; // free money, penalty included
        uint64 toHub;
        uint64 heldClient; // stays for the client's locks
        uint64 heldHub;
        uint64 penalty; // poolPays included
        uint64 bounty; // to the tower, out of the penalty
        uint64 poolPays; // from the free pool, where the hub's share did not cover what it hid
    }

    /// What each stream stands at, as observers see it.
    function view_(Dispute storage dispute) internal view returns (IRillHub.Closing memory closing) {
        closing.byHub = dispute.byHub;
        closing.challenged = dispute.challenged;
        closing.byPartner = dispute.byPartner;
        closing.fraud = dispute.fraud;
        closing.deadline = dispute.deadline;
        closing.tower = dispute.tower;
        closing.minNonceOfClient = dispute.minNonceOfClient;
        closing.minNonceOfHub = dispute.minNonceOfHub;
        closing.own = dispute.own;
        IRillHub.Claim memory closers = closing.challenged ? dispute.chosen : closing.own;
        IRillHub.Claim memory partners = dispute.partner;
        (closing.ofClient, closing.ofHub) = closing.byHub ? (partners, closers) : (closers, partners);
    }

    /// The closer claims to have sent or locked more than it can have had. ownBase: `base`, or `total - base`.
    function isBadClaim(IRillHub.Claim memory own, int256 ownBase, uint64 partnerTransferred)
        internal
        pure
        returns (bool)
    {
        return _int(own.transferred) + _int(own.locked) > ownBase + _int(partnerTransferred);
    }

    /// The claim that the receiver chose contradicts what the closer said of the same stream.
    function isFraud(IRillHub.Claim memory chosen, IRillHub.Claim memory own) internal pure returns (bool) {
        if (chosen.nonce > own.nonce || chosen.transferred > own.transferred) return true;
        return chosen.nonce == own.nonce
            && (chosen.transferred != own.transferred || chosen.locked != own.locked || chosen.locksRoot != own.locksRoot);
    }

    /// Whether a stream's locks are void: its shown proof is older than what its receiver revoked. An own claim that
    /// nobody challenged is not a shown proof.
    function isVoid(IRillHub.Closing memory closing, bool ofClient) internal pure returns (bool) {
        bool isClosers = closing.byHub != ofClient;
        if (isClosers && !closing.challenged) return false;
        return ofClient
            ? closing.ofClient.nonce < closing.minNonceOfClient
            : closing.ofHub.nonce < closing.minNonceOfHub;
    }

    /// The root that unlock proves against: zero where the locks are void.
    function root(IRillHub.Closing memory closing, bool ofClient) internal pure returns (bytes32) {
        if (isVoid(closing, ofClient)) return bytes32(0);
        return ofClient ? closing.ofClient.locksRoot : closing.ofHub.locksRoot;
    }

    /// Divides `total`: the parts sum to total + poolPays. towerIsVictim: no bounty.
    function settle(
        IRillHub.Closing memory closing,
        int64 base,
        uint64 total,
        uint64 pool,
        uint16 bountyBps,
        bool towerIsVictim
    ) internal pure returns (Payout memory payout) {
        int256 freeClient;
        int256 freeHub;
        {
            int256 lockedClient = isVoid(closing, true) ? int256(0) : _int(closing.ofClient.locked);
            int256 lockedHub = isVoid(closing, false) ? int256(0) : _int(closing.ofHub.locked);
            int256 mostClient = int256(base) - _int(closing.ofClient.transferred) - lockedClient
                + _int(closing.ofHub.transferred) + lockedHub;
            mostClient = SignedMath.max(0, SignedMath.min(mostClient, _int(total)));
            int256 mostHub = _int(total) - mostClient;
            payout.heldHub = _narrow(SignedMath.min(mostClient, lockedHub));
            payout.heldClient = _narrow(SignedMath.min(mostHub, lockedClient));
            freeClient = mostClient - _int(payout.heldHub);
            freeHub = mostHub - _int(payout.heldClient);
        }
        if (closing.fraud) {
            int256 hidden = _hidden(closing);
            int256 penalty = SignedMath.min(hidden, closing.byHub ? freeHub : freeClient);
            int256 poolPays = closing.byHub ? SignedMath.min(hidden - penalty, _int(pool)) : int256(0);
            int256 whole = penalty + poolPays;
            int256 bounty = towerIsVictim ? int256(0) : (whole * int256(uint256(bountyBps))) / 10_000;
            if (closing.byHub) {
                freeHub -= penalty;
                freeClient += whole - bounty;
            } else {
                freeClient -= penalty;
                freeHub += whole - bounty;
            }
            payout.penalty = _narrow(whole);
            payout.bounty = _narrow(bounty);
            payout.poolPays = _narrow(poolPays);
        }
        payout.toClient = _narrow(freeClient);
        payout.toHub = _narrow(freeHub);
    }

    /// What the closer left out of its claim, and the challenge brought back.
    function _hidden(IRillHub.Closing memory closing) private pure returns (int256 hidden) {
        IRillHub.Claim memory chosen = closing.byHub ? closing.ofHub : closing.ofClient;
        hidden = SignedMath.max(0, _int(chosen.transferred) - _int(closing.own.transferred));
        if (chosen.locksRoot != closing.own.locksRoot && !isVoid(closing, !closing.byHub)) {
            hidden += _int(chosen.locked);
        }
    }

    function _int(uint64 amount) private pure returns (int256) {
        return int256(uint256(amount));
    }

    function _narrow(int256 amount) private pure returns (uint64) {
        return amount.toUint256().toUint64();
    }
}
