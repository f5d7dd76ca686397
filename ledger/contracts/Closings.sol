// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {SignedMath} from "@openzeppelin/contracts/utils/math/SignedMath.sol";
import {IRillHub} from "./IRillHub.sol";

/// A close that the two sides do not agree on, as it is stored, and what it pays (protocol.md, section 7). All sums
/// are taken in int256, far from its ends: every operand is below 2^64 in size.
///
/// A new slot costs as much as a payment's worth of everything else, so few are written. Deadline and flags live in
/// the channel's own slot. Claims are packed: two share a slot where their numbers are below 2^42, and the one that a
/// challenge shows shares with the tower's address where its numbers are below 2^32 (NARROW_…); larger numbers take a slot
/// more. Zeros are not written, nor is the tower where it is the partner itself.
library Closings {
    using SafeCast for int256;
    using SafeCast for uint256;

    uint8 internal constant BY_HUB = 1;
    uint8 internal constant CHALLENGED = 2;
    uint8 internal constant BY_PARTNER = 4;
    uint8 internal constant FRAUD = 8;
    uint8 internal constant NARROW_CLAIMS = 16; // own and partner in one slot
    uint8 internal constant NARROW_CHOSEN = 32; // chosen and tower in one slot
    uint8 internal constant REVOKED = 64; // there is a minNonce

    uint256 private constant WIDE = 64;
    uint256 private constant NARROW = 42;
    uint256 private constant NARROWER = 32;

    /// The closer's claim is stored once: `chosen` is only written by a challenge.
    struct Dispute {
        uint256 own; // and, if narrow, partner above it
        uint256 partner;
        uint256 chosen; // and, if narrow, the tower above it
        address tower;
        uint64 minNonceOfClient;
        uint64 minNonceOfHub;
        bytes32 ownRoot;
        bytes32 partnerRoot;
        bytes32 chosenRoot;
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

    /// Stores what startClose says. Returns flags.
    function begin(Dispute storage dispute, IRillHub.Claim memory own, IRillHub.Claim memory partner)
        internal
        returns (uint8 flags)
    {
        if (_fits(own, NARROW) && _fits(partner, NARROW)) {
            flags = NARROW_CLAIMS;
            _write(dispute, _pack(own, NARROW) | _pack(partner, NARROW) << (3 * NARROW));
        } else {
            _write(dispute, _pack(own, WIDE));
            uint256 partners = _pack(partner, WIDE);
            if (partners != 0) dispute.partner = partners;
        }
        if (own.locksRoot != 0) dispute.ownRoot = own.locksRoot;
        if (partner.locksRoot != 0) dispute.partnerRoot = partner.locksRoot;
    }

    /// Stores what a challenge chooses, over an earlier choice if isAgain. tower: zero if it is the partner. Returns flags.
    function choose(Dispute storage dispute, IRillHub.Claim memory chosen, address tower, bool isAgain)
        internal
        returns (uint8 flags)
    {
        if (_fits(chosen, NARROWER)) {
            flags = NARROW_CHOSEN;
            dispute.chosen = _pack(chosen, NARROWER) | uint256(uint160(tower)) << (3 * NARROWER);
        } else {
            dispute.chosen = _pack(chosen, WIDE);
            if (isAgain || tower != address(0)) dispute.tower = tower;
        }
        if (isAgain || chosen.locksRoot != 0) dispute.chosenRoot = chosen.locksRoot;
    }

    /// What each stream stands at, but for the roots. partner: the closer's partner.
    function load(Dispute storage dispute, uint8 flags, uint64 deadline, address partner)
        internal
        view
        returns (IRillHub.Closing memory closing)
    {
        bool byHub = flags & BY_HUB != 0;
        IRillHub.Claim memory partners;
        (closing.own, partners) = loadClaims(dispute, flags);
        IRillHub.Claim memory closers = closing.own;
        if (flags & CHALLENGED != 0) {
            (closers, closing.tower) = loadChosen(dispute, flags);
            if (flags & BY_PARTNER != 0) closing.tower = partner;
        }
        closing.byHub = byHub;
        closing.challenged = flags & CHALLENGED != 0;
        closing.byPartner = flags & BY_PARTNER != 0;
        closing.fraud = flags & FRAUD != 0;
        closing.deadline = deadline;
        if (flags & REVOKED != 0) {
            (closing.minNonceOfClient, closing.minNonceOfHub) = (dispute.minNonceOfClient, dispute.minNonceOfHub);
        }
        (closing.ofClient, closing.ofHub) = byHub ? (partners, closers) : (closers, partners);
    }

    /// Adds the roots to what was loaded. The closer's claim may be `own` itself: the chosen root comes last.
    function loadRoots(Dispute storage dispute, IRillHub.Closing memory closing) internal view {
        (IRillHub.Claim memory closers, IRillHub.Claim memory partners) =
            closing.byHub ? (closing.ofHub, closing.ofClient) : (closing.ofClient, closing.ofHub);
        closing.own.locksRoot = dispute.ownRoot;
        partners.locksRoot = dispute.partnerRoot;
        if (closing.challenged) closers.locksRoot = dispute.chosenRoot;
    }

    /// The claims of startClose without their roots.
    function loadClaims(Dispute storage dispute, uint8 flags)
        internal
        view
        returns (IRillHub.Claim memory own, IRillHub.Claim memory partner)
    {
        uint256 word = dispute.own;
        if (flags & NARROW_CLAIMS != 0) {
            return (_unpack(word, NARROW), _unpack(word >> (3 * NARROW), NARROW));
        }
        return (_unpack(word, WIDE), _unpack(dispute.partner, WIDE));
    }

    /// What the last challenge chose, without its root, and for whom; the tower is zero if that is the partner.
    function loadChosen(Dispute storage dispute, uint8 flags)
        internal
        view
        returns (IRillHub.Claim memory chosen, address tower)
    {
        uint256 word = dispute.chosen;
        if (flags & NARROW_CHOSEN != 0) return (_unpack(word, NARROWER), address(uint160(word >> (3 * NARROWER))));
        return (_unpack(word, WIDE), dispute.tower);
    }

    function _write(Dispute storage dispute, uint256 own) private {
        if (own != 0) dispute.own = own;
    }

    function _fits(IRillHub.Claim memory claim, uint256 width) private pure returns (bool) {
        return (claim.nonce | claim.transferred | claim.locked) >> width == 0;
    }

    /// The three numbers in `width` bits each.
    function _pack(IRillHub.Claim memory claim, uint256 width) private pure returns (uint256) {
        return claim.nonce | uint256(claim.transferred) << width | uint256(claim.locked) << (2 * width);
    }

    function _unpack(uint256 word, uint256 width) private pure returns (IRillHub.Claim memory claim) {
        uint256 mask = (1 << width) - 1;
        claim.nonce = uint64(word & mask);
        claim.transferred = uint64(word >> width & mask);
        claim.locked = uint64(word >> (2 * width) & mask);
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
    function isFraud(Dispute storage dispute, IRillHub.Claim memory chosen, IRillHub.Claim memory own)
        internal
        view
        returns (bool)
    {
        if (chosen.nonce > own.nonce || chosen.transferred > own.transferred) return true;
        if (chosen.nonce < own.nonce) return false;
        return chosen.transferred != own.transferred || chosen.locked != own.locked
            || chosen.locksRoot != dispute.ownRoot;
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

    /// Whether `settle` asks for the roots.
    function needsRoots(IRillHub.Closing memory closing) internal pure returns (bool) {
        return closing.fraud && (closing.byHub ? closing.ofHub : closing.ofClient).locked != 0;
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
        // What is locked, at first; then what of it there is money for.
        payout.heldClient = isVoid(closing, true) ? 0 : closing.ofClient.locked;
        payout.heldHub = isVoid(closing, false) ? 0 : closing.ofHub.locked;
        int256 most = int256(base) - _int(closing.ofClient.transferred) - _int(payout.heldClient)
            + _int(closing.ofHub.transferred) + _int(payout.heldHub);
        uint64 mostClient = _narrow(SignedMath.max(0, SignedMath.min(most, _int(total))));
        uint64 mostHub = total - mostClient;
        payout.heldHub = _lesser(mostClient, payout.heldHub);
        payout.heldClient = _lesser(mostHub, payout.heldClient);
        payout.toClient = mostClient - payout.heldHub;
        payout.toHub = mostHub - payout.heldClient;
        if (closing.fraud) _punish(payout, closing, pool, towerIsVictim ? 0 : bountyBps);
    }

    /// Moves the penalty from the closer's free money, and from the pool where that of the hub is not enough.
    function _punish(Payout memory payout, IRillHub.Closing memory closing, uint64 pool, uint16 bountyBps) private pure {
        int256 hidden = _hidden(closing);
        uint64 penalty = _narrow(SignedMath.min(hidden, _int(closing.byHub ? payout.toHub : payout.toClient)));
        if (closing.byHub) payout.poolPays = _narrow(SignedMath.min(hidden - _int(penalty), _int(pool)));
        payout.penalty = penalty + payout.poolPays;
        payout.bounty = uint64(uint256(payout.penalty) * bountyBps / 10_000);
        uint64 rest = payout.penalty - payout.bounty;
        if (closing.byHub) {
            payout.toHub -= penalty;
            payout.toClient += rest;
        } else {
            payout.toClient -= penalty;
            payout.toHub += rest;
        }
    }

    /// What the closer left out of its claim, and the challenge brought back.
    function _hidden(IRillHub.Closing memory closing) private pure returns (int256 hidden) {
        IRillHub.Claim memory chosen = closing.byHub ? closing.ofHub : closing.ofClient;
        hidden = SignedMath.max(0, _int(chosen.transferred) - _int(closing.own.transferred));
        if (chosen.locksRoot != closing.own.locksRoot && !isVoid(closing, !closing.byHub)) {
            hidden += _int(chosen.locked);
        }
    }

    function _lesser(uint64 one, uint64 other) private pure returns (uint64) {
        return one < other ? one : other;
    }

    function _int(uint64 amount) private pure returns (int256) {
        return int256(uint256(amount));
    }

    function _narrow(int256 amount) private pure returns (uint64) {
        return amount.toUint256().toUint64();
    }
}
