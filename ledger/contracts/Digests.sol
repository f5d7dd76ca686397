// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {IRillHub} from "./IRillHub.sol";

/// What is signed (protocol.md, section 2): EIP-712 digests of each type, and the rule that says whose signature it is.
/// `domain` is the domain separator.
library Digests {
    bytes32 private constant BALANCE_PROOF = keccak256(
        "BalanceProof(bytes32 channel,uint64 nonce,uint64 transferred,uint64 locked,bytes32 locksRoot,bytes32 bodyHash)"
    );
    bytes32 private constant SETTLEMENT =
        keccak256("Settlement(bytes32 channel,uint32 seq,uint64 clientOut,uint64 hubOut,uint64 deadline,bool close)");
    bytes32 private constant REVOCATION = keccak256("Revocation(bytes32 channel,uint64 minNonce)");
    bytes32 private constant CHOICE = keccak256("Choice(bytes32 proofDigest,address tower)");
    bytes32 private constant ATTESTATION = keccak256("Attestation(bytes32 eventId)");
    bytes32 private constant PARITY = bytes32(uint256(1) << 255);

    function balanceProof(bytes32 domain, bytes32 channel, IRillHub.Proof memory proof) internal pure returns (bytes32) {
        bytes32 message = keccak256(
            abi.encode(
                BALANCE_PROOF, channel, proof.nonce, proof.transferred, proof.locked, proof.locksRoot, proof.bodyHash
            )
        );
        return MessageHashUtils.toTypedDataHash(domain, message);
    }

    function settlement(bytes32 domain, bytes32 channel, uint32 seq, IRillHub.SettleItem calldata item)
        internal
        pure
        returns (bytes32)
    {
        bytes32 message = keccak256(
            abi.encode(SETTLEMENT, channel, seq, item.clientOut, item.hubOut, item.deadline, item.close)
        );
        return MessageHashUtils.toTypedDataHash(domain, message);
    }

    function revocation(bytes32 domain, bytes32 channel, uint64 minNonce) internal pure returns (bytes32) {
        return MessageHashUtils.toTypedDataHash(domain, keccak256(abi.encode(REVOCATION, channel, minNonce)));
    }

    function choice(bytes32 domain, bytes32 proofDigest, address tower) internal pure returns (bytes32) {
        return MessageHashUtils.toTypedDataHash(domain, keccak256(abi.encode(CHOICE, proofDigest, tower)));
    }

    function attestation(bytes32 domain, bytes32 eventId) internal pure returns (bytes32) {
        return MessageHashUtils.toTypedDataHash(domain, keccak256(abi.encode(ATTESTATION, eventId)));
    }

    /// True if either parity of the compact signature recovers `signer`, which is never address zero; s must be low.
    function isBy(bytes32 digest, bytes32 r, bytes32 vs, address signer) internal pure returns (bool) {
        if (signer == address(0)) return false;
        (address recovered,,) = ECDSA.tryRecover(digest, r, vs);
        if (recovered == signer) return true;
        (recovered,,) = ECDSA.tryRecover(digest, r, vs ^ PARITY);
        return recovered == signer;
    }
}
