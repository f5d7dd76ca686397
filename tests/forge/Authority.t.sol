// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IRillHub} from "rill/IRillHub.sol";
import {vm} from "./support/Cheats.sol";
import {Protocol, Signature} from "./support/Protocol.sol";
import {Fixture, Party} from "./support/Fixture.sol";

/// Whose word counts: signatures, who may challenge, and calldata with bits where none belong.
contract AuthorityTest is Fixture {
    uint256 private constant ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;
    bytes32 private constant PARITY = bytes32(uint256(1) << 255);
    bytes32 private constant EVENT = keccak256("event");

    IRillHub.Key internal key;

    function setUp() public override {
        super.setUp();
        key = _key(alice, COIN, 1);
        _open(key, 100, 50);
    }

    // ---------------------------------------------------------------------------------------------- signatures

    function _attest(address attester, bytes32 r, bytes32 vs) private view returns (bytes memory) {
        return abi.encodeCall(rill.registerAttestation, (attester, EVENT, r, vs));
    }

    function testFuzz_theParityIsAHint(uint256 secret, bool flip) public {
        secret = 1 + secret % (ORDER - 1);
        Signature memory by = Protocol.sign(secret, Protocol.attestation(domain, EVENT));
        _does(bob.who, _attest(vm.addr(secret), by.r, flip ? by.vs ^ PARITY : by.vs));
    }

    /// Whatever r and s are, they are somebody's signature: good with a low s, refused with a high one.
    function testFuzz_aHighSIsRefused(uint256 seed, bool isHigh) public {
        (bytes32 r,) = vm.signCompact(1 + seed % 1000, keccak256(abi.encode(seed)));
        uint256 half = ORDER / 2;
        uint256 s = isHigh ? half + 1 + seed % ((1 << 255) - 1 - half) : 1 + seed % half;
        address signer = ecrecover(Protocol.attestation(domain, EVENT), 27, r, bytes32(s));
        vm.assume(signer != address(0));
        if (isHigh) _refuses(bob.who, _attest(signer, r, bytes32(s)), _error(IRillHub.BadSignature.selector));
        else _does(bob.who, _attest(signer, r, bytes32(s)));
    }

    function test_theLastLowSAndTheFirstHighOne() public {
        (bytes32 r,) = vm.signCompact(7, EVENT);
        bytes32 s = bytes32(ORDER / 2);
        bytes32 digest = Protocol.attestation(domain, EVENT);
        _does(bob.who, _attest(ecrecover(digest, 27, r, s), r, s));
        s = bytes32(ORDER / 2 + 1);
        _refuses(bob.who, _attest(ecrecover(digest, 27, r, s), r, s), _error(IRillHub.BadSignature.selector));
    }

    function test_zeroIsNobodysSignature() public {
        bytes memory refusal = _error(IRillHub.BadSignature.selector);
        Signature memory by = Protocol.sign(alice.key, Protocol.attestation(domain, EVENT));
        address[2] memory attesters = [address(0), alice.who];
        for (uint256 i = 0; i < 2; i++) {
            _refuses(bob.who, _attest(attesters[i], 0, by.vs), refusal);
            _refuses(bob.who, _attest(attesters[i], by.r, 0), refusal);
            _refuses(bob.who, _attest(attesters[i], by.r, PARITY), refusal);
            _refuses(bob.who, _attest(attesters[i], 0, 0), refusal);
            _refuses(bob.who, _attest(attesters[i], bytes32(ORDER), by.vs), refusal);
            _refuses(bob.who, _attest(attesters[i], bytes32(type(uint256).max), bytes32(type(uint256).max)), refusal);
        }
    }

    /// One bit anywhere in the proof or its signature, but the parity: not what was signed.
    function testFuzz_oneBitWrong(uint256 bit) public {
        IRillHub.Proof memory proof = _proof(3, 10, 5, keccak256("root"));
        Signature memory by = _signProof(hub, key, proof);
        bytes memory call = _startClose(key, proof, by, _noClaim());
        bit %= 5 * 256 + 512;
        uint256 word = 3 + bit / 256;
        if (word == 9 && bit % 256 == 255) return;
        if (word < 6) bit %= 64; // the upper bits are not calldata at all: below
        _flip(call, word, bit % 256);
        _refuses(alice.who, call, _error(IRillHub.BadSignature.selector));
    }

    function test_aSignatureIsForOneChainOneContractOneChannel() public {
        IRillHub.Proof memory proof = _proof(3, 10, 0, 0);
        bytes32 id = Protocol.channelId(key);
        bytes memory refusal = _error(IRillHub.BadSignature.selector);
        bytes32 elsewhere = Protocol.domain(block.chainid + 1, address(rill));
        Signature memory by = Protocol.sign(hub.key, Protocol.proof(elsewhere, id, proof));
        _refuses(alice.who, _startClose(key, proof, by, _noClaim()), refusal);
        elsewhere = Protocol.domain(block.chainid, address(token));
        by = Protocol.sign(hub.key, Protocol.proof(elsewhere, id, proof));
        _refuses(alice.who, _startClose(key, proof, by, _noClaim()), refusal);
        by = _signProof(hub, _key(alice, COIN, 2), proof);
        _refuses(alice.who, _startClose(key, proof, by, _noClaim()), refusal);
        by = _signProof(hub, key, proof);
        vm.chainId(block.chainid + 1); // the chain split, and this is the other half
        _refuses(alice.who, _startClose(key, proof, by, _noClaim()), refusal);
    }

    // ------------------------------------------------------------------------------------- who may challenge

    /// Every combination of closer, caller, what setTower says, who signed a Choice, for which tower, which one is named.
    function test_whoMayChallenge() public {
        uint256 good = 0;
        for (uint256 byHub = 0; byHub < 2; byHub++) {
            _startsBare(byHub == 1);
            uint256 closing = vm.snapshotState();
            for (uint256 combination = 0; combination < 5 * 2 * 5 * 3 * 3; combination++) {
                if (_challengesAs(byHub == 1, combination)) good++;
                vm.revertToState(closing);
                closing = vm.snapshotState();
            }
            _reopens();
        }
        vm.assertEq(good, _expectedGood(), "as many combinations as the rule says");
    }

    /// Each closer: 450 combinations, 90 of a caller that is the partner. Of the 360 others a Choice is good if the partner
    /// signed it (one of five) and the tower named is the one chosen and not zero (two of nine): 16. Where the hub is the
    /// partner, 45 combinations come from the set tower, of which 2 have been counted.
    function _expectedGood() private pure returns (uint256) {
        return (90 + 16) + (90 + 16 + 45 - 2);
    }

    function _startsBare(bool byHub) private {
        Signature memory none;
        bytes memory call = _startClose(key, _noProof(), none, IRillHub.Claim(1, 5, 0, 0));
        _does(byHub ? hub.who : alice.who, call);
    }

    function _reopens() private {
        key.salt += 1;
        _open(key, 100, 50);
    }

    function _challengesAs(bool byHub, uint256 combination) private returns (bool success) {
        Party[5] memory people = [alice, hub, tower, stranger, bob];
        address[3] memory towers = [stranger.who, tower.who, address(0)];
        Party memory caller = people[combination % 5];
        bool isSet = combination / 5 % 2 == 1;
        Party memory signer = people[combination / 10 % 5];
        address chosen = towers[combination / 50 % 3];
        address named = towers[combination / 150];
        if (isSet) _does(hub.who, abi.encodeCall(rill.setTower, (tower.who, true)));
        Party memory partner = byHub ? alice : hub;
        bool may = caller.who == partner.who || (!byHub && isSet && caller.who == tower.who)
            || (signer.who == partner.who && chosen == named && named != address(0));
        IRillHub.Proof memory proof = _proof(7, 20, 0, 0);
        Signature memory by = _signProof(byHub ? hub : alice, key, proof);
        bytes memory call = _challenge(key, proof, by, named, _signChoice(signer, key, proof, chosen));
        if (may) _does(caller.who, call);
        else _refuses(caller.who, call, _error(IRillHub.NotAuthorised.selector));
        return may;
    }

    // ------------------------------------------------------------------------------------------------ calldata

    function _flip(bytes memory call, uint256 word, uint256 bit) private pure {
        uint256 index = 4 + word * 32 + 31 - bit / 8;
        call[index] = call[index] ^ bytes1(uint8(1 << (bit % 8)));
    }

    /// A bit above a field's type, or a byte too few: refused without a name, before anything else is looked at.
    function _holdsTypes(bytes memory call, uint8[14] memory widths, uint256 bit) private {
        for (uint256 word = 0; word < 14 && 4 + word * 32 < call.length; word++) {
            if (widths[word] == 0) continue;
            bytes memory dirty = bytes.concat(call);
            _flip(dirty, word, widths[word] + bit % (256 - uint256(widths[word])));
            _refuses(stranger.who, dirty, hex"");
        }
        bytes memory short = bytes.concat(call);
        assembly ("memory-safe") {
            mstore(short, sub(mload(short), add(1, mod(bit, 31))))
        }
        _refuses(stranger.who, short, hex"");
        (bool success, bytes memory answer) = _try(stranger.who, 0, call);
        vm.assertTrue(success || answer.length >= 4, "the clean call is refused by name, if at all");
    }

    function testFuzz_typesOfMoneyFunctions(uint256 bit) public {
        uint8[14] memory w = [160, 128, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        _holdsTypes(abi.encodeCall(rill.listAsset, (COIN, 1)), w, bit);
        w = [160, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        _holdsTypes(abi.encodeCall(rill.depositPool, (COIN, 1)), w, bit);
        w = [160, 160, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        _holdsTypes(abi.encodeCall(rill.withdrawPool, (COIN, bob.who, 1)), w, bit);
        _holdsTypes(abi.encodeCall(rill.finish, (key)), w, bit);
        w = [160, 160, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        _holdsTypes(abi.encodeCall(rill.deposit, (key, 1)), w, bit);
        w = [160, 160, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        _holdsTypes(abi.encodeCall(rill.withdrawOwed, (COIN, bob.who)), w, bit);
        w = [160, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        _holdsTypes(abi.encodeCall(rill.setTower, (COIN, true)), w, bit);
        w = [160, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        _holdsTypes(_attest(bob.who, 0, 0), w, bit);
    }

    function testFuzz_typesOfClosingFunctions(uint256 bit) public {
        Signature memory none;
        uint8[14] memory w = [160, 160, 64, 64, 64, 64, 0, 0, 0, 0, 64, 64, 64, 0];
        _holdsTypes(_startClose(key, _noProof(), none, _noClaim()), w, bit);
        w = [160, 160, 64, 64, 64, 64, 0, 0, 0, 0, 160, 0, 0, 0];
        _holdsTypes(_challenge(key, _noProof(), none), w, bit);
        w = [160, 160, 64, 1, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        _holdsTypes(abi.encodeCall(rill.voidLocks, (key, true, 1, 0, 0)), w, bit);
        IRillHub.Lock memory lock;
        w = [160, 160, 64, 1, 64, 64, 64, 8, 0, 64, 0, 0, 0, 0];
        _holdsTypes(abi.encodeCall(rill.unlock, (key, true, lock, new bytes32[](0))), w, bit);
    }

    /// Also in items that are skipped before the field is looked at.
    function testFuzz_typesOfBatches(uint256 bit) public {
        uint8[9] memory items = [160, 160, 64, 64, 64, 64, 1, 0, 0];
        bytes memory clean = _batchOf(_itemOf(_key(alice, COIN, 99), 1, 1));
        _does(hub.who, clean);
        for (uint256 i = 0; i < 7; i++) {
            bytes memory dirty = bytes.concat(clean);
            _flip(dirty, 4 + i, items[i] + bit % (256 - uint256(items[i])));
            _refuses(hub.who, dirty, hex"");
        }
        uint8[4] memory funds = [160, 160, 64, 64];
        clean = _batchOf(_fundOf(_key(hub, COIN, 99), 1));
        _does(hub.who, clean);
        for (uint256 i = 0; i < 4; i++) {
            bytes memory dirty = bytes.concat(clean);
            _flip(dirty, 5 + i, funds[i] + bit % (256 - uint256(funds[i])));
            _refuses(hub.who, dirty, hex"");
        }
    }
}
