// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

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
    uint256 private constant S_MASK = 0x7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff;
    /// Half of secp256k1's order: of the two s that are good, the low one.
    uint256 private constant S_MAX = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;

    function balanceProof(bytes32 domain, bytes32 channel, IRillHub.Proof memory proof) internal pure returns (bytes32) {
        bytes32 message = keccak256(
            abi.encode(
                BALANCE_PROOF, channel, proof.nonce, proof.transferred, proof.locked, proof.locksRoot, proof.bodyHash
            )
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

    /// What a batch hashes in place: see Batches.
    function settlementType() internal pure returns (bytes32) {
        return SETTLEMENT;
    }

    /// True if either parity of the compact signature recovers `signer`, which is never address zero; s must be low.
    function isBy(bytes32 digest, bytes32 r, bytes32 vs, address signer) internal view returns (bool good) {
        uint256 frame;
        assembly ("memory-safe") {
            frame := mload(0x40) // and what is beyond it, as scratch
            mstore(frame, digest)
            mstore(add(frame, 0x40), r)
            mstore(add(frame, 0x60), vs)
        }
        return isByInPlace(frame, signer);
    }

    /// The same, of four words of memory: digest, one that may be overwritten, r, vs. That is where the precompile at
    /// address 1 wants digest, v, r and s. It answers nothing where there is no signer: then the ones stay, which are
    /// nobody's address. The parity that the signature names is tried first: the second is rarely paid for.
    function isByInPlace(uint256 frame, address signer) internal view returns (bool good) {
        assembly ("memory-safe") {
            let vs := mload(add(frame, 0x60))
            let v := add(27, shr(255, vs))
            let s := and(vs, S_MASK)
            mstore(add(frame, 0x60), s)
            for { let tries := shl(1, iszero(gt(s, S_MAX))) } tries { tries := sub(tries, 1) } {
                mstore(add(frame, 0x20), v)
                mstore(0, not(0))
                pop(staticcall(gas(), 1, frame, 0x80, 0, 0x20))
                good := eq(mload(0), signer)
                if good { break }
                v := sub(55, v)
            }
        }
    }
}
