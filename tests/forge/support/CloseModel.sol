// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IRillHub} from "rill/IRillHub.sol";

/// Section 7 of protocol.md once more, from the page, for comparison. Sides and streams are indexed: 0 the client's, 1 the
/// hub's. held[i] backs the locks of stream i.
library CloseModel {
    struct Facts {
        bool byHub;
        bool isChallenged;
        bool towerIsVictim;
        int256 base;
        int256 total;
        int256 pool;
        int256 bountyBps;
        IRillHub.Claim own; // what the closer said first
        IRillHub.Claim[2] stands; // what each stream stands at
        uint64[2] minNonce;
    }

    struct Outcome {
        bool fraud;
        int256[2] gets;
        int256[2] held;
        int256 penalty;
        int256 bounty;
        int256 fromPool;
    }

    function settle(Facts memory facts) internal pure returns (Outcome memory out) {
        int256[2] memory locked = [pending(facts, 0), pending(facts, 1)];
        int256 most = facts.base;
        most -= int256(uint256(facts.stands[0].transferred)) + locked[0];
        most += int256(uint256(facts.stands[1].transferred)) + locked[1];
        if (most < 0) most = 0;
        if (most > facts.total) most = facts.total;
        int256[2] memory has = [most, facts.total - most];
        for (uint256 side = 0; side < 2; side++) {
            uint256 other = 1 - side;
            out.held[side] = least(has[other], locked[side]);
            out.gets[other] = has[other] - out.held[side];
        }
        if (facts.isChallenged) _punish(facts, out, locked);
    }

    /// The locks of a stream that count: none, where the proof shown of it is older than what was revoked.
    function pending(Facts memory facts, uint256 stream) internal pure returns (int256) {
        uint256 closer = facts.byHub ? 1 : 0;
        bool isShown = stream != closer || facts.isChallenged;
        if (isShown && facts.stands[stream].nonce < facts.minNonce[stream]) return 0;
        return int256(uint256(facts.stands[stream].locked));
    }

    function _punish(Facts memory facts, Outcome memory out, int256[2] memory locked) private pure {
        uint256 closer = facts.byHub ? 1 : 0;
        IRillHub.Claim memory truth = facts.stands[closer];
        IRillHub.Claim memory said = facts.own;
        bool differs =
            truth.transferred != said.transferred || truth.locked != said.locked || truth.locksRoot != said.locksRoot;
        out.fraud =
            truth.nonce > said.nonce || truth.transferred > said.transferred || (truth.nonce == said.nonce && differs);
        if (!out.fraud) return;
        int256 hidden = 0;
        if (truth.transferred > said.transferred) hidden = int256(uint256(truth.transferred - said.transferred));
        if (truth.locksRoot != said.locksRoot) hidden += locked[closer];
        int256 ownPart = least(hidden, out.gets[closer]);
        if (closer == 1) out.fromPool = least(hidden - ownPart, facts.pool);
        out.penalty = ownPart + out.fromPool;
        if (!facts.towerIsVictim) out.bounty = out.penalty * facts.bountyBps / 10_000;
        out.gets[closer] -= ownPart;
        out.gets[1 - closer] += out.penalty - out.bounty;
    }

    function least(int256 a, int256 b) internal pure returns (int256) {
        return a < b ? a : b;
    }
}
