// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IRillHub} from "rill/IRillHub.sol";
import {vm} from "./Cheats.sol";

struct Signature {
    bytes32 r;
    bytes32 vs;
}

/// What is signed and hashed in Rill (protocol.md, section 2), written from the page and without the contract's code.
library Protocol {
    bytes32 private constant DOMAIN_TYPE =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant PROOF_TYPE = keccak256(
        "BalanceProof(bytes32 channel,uint64 nonce,uint64 transferred,uint64 locked,bytes32 locksRoot,bytes32 bodyHash)"
    );
    bytes32 private constant SETTLEMENT_TYPE =
        keccak256("Settlement(bytes32 channel,uint32 seq,uint64 clientOut,uint64 hubOut,uint64 deadline,bool close)");
    bytes32 private constant REVOCATION_TYPE = keccak256("Revocation(bytes32 channel,uint64 minNonce)");
    bytes32 private constant CHOICE_TYPE = keccak256("Choice(bytes32 proofDigest,address tower)");
    bytes32 private constant ATTESTATION_TYPE = keccak256("Attestation(bytes32 eventId)");

    function domain(uint256 chainId, address verifyingContract) internal pure returns (bytes32) {
        return keccak256(abi.encode(DOMAIN_TYPE, keccak256("Rill"), keccak256("1"), chainId, verifyingContract));
    }

    function channelId(IRillHub.Key memory key) internal pure returns (bytes32) {
        return keccak256(abi.encode(key.client, key.asset, key.salt));
    }

    function proof(bytes32 domain_, bytes32 channel, IRillHub.Proof memory p) internal pure returns (bytes32) {
        return
            _typed(domain_, abi.encode(PROOF_TYPE, channel, p.nonce, p.transferred, p.locked, p.locksRoot, p.bodyHash));
    }

    function settlement(bytes32 domain_, uint32 seq, IRillHub.SettleItem memory item) internal pure returns (bytes32) {
        bytes32 channel = channelId(item.key);
        return _typed(
            domain_, abi.encode(SETTLEMENT_TYPE, channel, seq, item.clientOut, item.hubOut, item.deadline, item.close)
        );
    }

    function revocation(bytes32 domain_, bytes32 channel, uint64 minNonce) internal pure returns (bytes32) {
        return _typed(domain_, abi.encode(REVOCATION_TYPE, channel, minNonce));
    }

    function choice(bytes32 domain_, bytes32 proofDigest, address tower) internal pure returns (bytes32) {
        return _typed(domain_, abi.encode(CHOICE_TYPE, proofDigest, tower));
    }

    function attestation(bytes32 domain_, bytes32 eventId) internal pure returns (bytes32) {
        return _typed(domain_, abi.encode(ATTESTATION_TYPE, eventId));
    }

    function conditionOf(bytes32 secret) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(secret));
    }

    function conditionOf(address attester, bytes32 eventId) internal pure returns (bytes32) {
        return keccak256(abi.encode(attester, eventId));
    }

    function leaf(IRillHub.Lock memory lock) internal pure returns (bytes32) {
        return
            keccak256(abi.encode(keccak256(abi.encode(lock.id, lock.amount, lock.expiry, lock.kind, lock.condition))));
    }

    function claim(IRillHub.Proof memory p) internal pure returns (IRillHub.Claim memory) {
        return IRillHub.Claim(p.nonce, p.transferred, p.locked, p.locksRoot);
    }

    function sign(uint256 key, bytes32 digest) internal pure returns (Signature memory signature) {
        (signature.r, signature.vs) = vm.signCompact(key, digest);
    }

    function _typed(bytes32 domain_, bytes memory message) private pure returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", domain_, keccak256(message)));
    }
}
