// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IRillHub} from "rill/IRillHub.sol";
import {vm} from "./Cheats.sol";
import {Protocol, Signature} from "./Protocol.sol";

struct Party {
    uint256 key;
    address who;
}

interface IToken {
    function balanceOf(address who) external view returns (uint256);
    function transfer(address to, uint256 value) external returns (bool);
    function approve(address spender, uint256 value) external returns (bool);
}

/// The deployed contract, with the coin (unit 1) and a token (unit 10^9) listed, and people who have plenty of both.
/// The challenge period is no multiple of eight: its fractions have to be rounded as the protocol says.
abstract contract Fixture {
    uint64 internal constant PERIOD = 807;
    uint16 internal constant BOUNTY_BPS = 1000;
    uint64 internal constant AMOUNT_MAX = (1 << 63) - 1;
    uint64 internal constant FAR = type(uint64).max;
    uint128 internal constant TOKEN_UNIT = 1e9;
    address internal constant COIN = address(0);
    uint8 internal constant NONE = 0;
    uint8 internal constant OPEN = 1;
    uint8 internal constant CLOSING = 2;
    uint8 internal constant CLOSED = 3;
    uint256 internal constant CALL_GAS = 10_000_000;
    uint256 internal constant START = 1_700_000_000;

    IRillHub internal rill;
    IToken internal token;
    bytes32 internal domain;
    Party internal hub = _party(0xA1);
    Party internal alice = _party(0xA2);
    Party internal bob = _party(0xA3);
    Party internal tower = _party(0xA4);
    Party internal stranger = _party(0xA5);

    function setUp() public virtual {
        vm.warp(START);
        rill = IRillHub(_deploy("RillHub", abi.encode(hub.who, PERIOD, BOUNTY_BPS)));
        domain = Protocol.domain(block.chainid, address(rill));
        token = IToken(_deploy("RillToken", abi.encode("Token", "TKN", uint8(18), uint256(1) << 120, address(this))));
        _enrich(hub.who);
        _enrich(alice.who);
        _enrich(bob.who);
        _enrich(stranger.who);
        _does(hub.who, abi.encodeCall(rill.listAsset, (COIN, 1)));
        _does(hub.who, abi.encodeCall(rill.listAsset, (address(token), TOKEN_UNIT)));
    }

    // ---------------------------------------------------------------------------------------------- people

    function _party(uint256 key) internal pure returns (Party memory) {
        return Party(key, vm.addr(key));
    }

    function _enrich(address who) internal {
        vm.deal(who, 1 << 100);
        token.transfer(who, 1 << 110);
        vm.prank(who);
        token.approve(address(rill), type(uint256).max);
    }

    /// Deploys what ledger/contracts/compile.mjs made.
    function _deploy(string memory name, bytes memory arguments) internal returns (address made) {
        made = _tryDeploy(name, arguments);
        vm.assertTrue(made != address(0), string.concat("deploys ", name));
    }

    function _tryDeploy(string memory name, bytes memory arguments) internal returns (address made) {
        bytes memory code = vm.getCode(string.concat("../../build/contracts/", name, ".json"));
        code = bytes.concat(code, arguments);
        assembly ("memory-safe") {
            made := create(0, add(code, 32), mload(code))
        }
    }

    // ----------------------------------------------------------------------------------------------- calls

    function _try(address from, uint256 value, bytes memory data) internal returns (bool success, bytes memory answer) {
        vm.prank(from);
        return address(rill).call{value: value, gas: CALL_GAS}(data);
    }

    function _does(address from, bytes memory data) internal {
        _pays(from, 0, data);
    }

    function _pays(address from, uint256 value, bytes memory data) internal {
        (bool success, bytes memory answer) = _try(from, value, data);
        vm.assertEq(answer, hex"", "the call is answered without an error");
        vm.assertTrue(success, "the call succeeds");
    }

    /// Asserts that the call reverts with exactly this error; no bytes: without one.
    function _refuses(address from, bytes memory data, bytes memory refusal) internal {
        _refuses(from, 0, data, refusal);
    }

    function _refuses(address from, uint256 value, bytes memory data, bytes memory refusal) internal {
        (bool success, bytes memory answer) = _try(from, value, data);
        vm.assertFalse(success, "the call is refused");
        vm.assertEq(answer, refusal, "the error is the one that the protocol names");
    }

    function _error(bytes4 selector) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(selector);
    }

    function _badStatus(uint8 status) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(IRillHub.BadStatus.selector, status);
    }

    /// The next call emits this event of the contract, as the test emits it now.
    function _expects() internal {
        vm.expectEmit(address(rill));
    }

    // ------------------------------------------------------------------------------------------- channels

    function _key(Party memory client, address asset, uint64 salt) internal pure returns (IRillHub.Key memory) {
        return IRillHub.Key(client.who, asset, salt);
    }

    function _unit(address asset) internal pure returns (uint256) {
        return asset == COIN ? 1 : TOKEN_UNIT;
    }

    function _deposit(address from, IRillHub.Key memory key, uint64 amount) internal {
        _pays(from, key.asset == COIN ? amount : 0, abi.encodeCall(rill.deposit, (key, amount)));
    }

    function _depositPool(address asset, uint64 amount) internal {
        _pays(hub.who, asset == COIN ? amount : 0, abi.encodeCall(rill.depositPool, (asset, amount)));
    }

    function _fund(IRillHub.Key memory key, uint64 amount) internal {
        _depositPool(key.asset, amount);
        _does(hub.who, _batchOf(_fundOf(key, amount)));
    }

    /// A channel of the client's `ofClient` and the hub's `ofHub`.
    function _open(IRillHub.Key memory key, uint64 ofClient, uint64 ofHub) internal {
        if (ofClient != 0) _deposit(key.client, key, ofClient);
        if (ofHub != 0) _fund(key, ofHub);
    }

    function _status(IRillHub.Key memory key) internal view returns (uint8 status) {
        (,,, status) = rill.channel(key);
    }

    function _expectChannel(IRillHub.Key memory key, uint64 total, int64 base, uint32 seq, uint8 status) internal view {
        (uint64 total_, int64 base_, uint32 seq_, uint8 status_) = rill.channel(key);
        vm.assertEq(total_, total, "total");
        vm.assertEq(base_, base, "base");
        vm.assertEq(seq_, seq, "seq");
        vm.assertEq(status_, status, "status");
    }

    function _wealth(address who, address asset) internal view returns (uint256) {
        return asset == COIN ? who.balance : token.balanceOf(who);
    }

    // ------------------------------------------------------------------------------- settlements and funds

    function _itemOf(IRillHub.Key memory key, uint64 clientOut, uint64 hubOut)
        internal
        pure
        returns (IRillHub.SettleItem memory item)
    {
        item.key = key;
        item.clientOut = clientOut;
        item.hubOut = hubOut;
        item.deadline = FAR;
    }

    function _signItem(Party memory by, IRillHub.SettleItem memory item, uint32 seq) internal view {
        Signature memory signature = Protocol.sign(by.key, Protocol.settlement(domain, seq, item));
        (item.r, item.vs) = (signature.r, signature.vs);
    }

    function _fundOf(IRillHub.Key memory key, uint64 amount) internal pure returns (IRillHub.Fund memory) {
        return IRillHub.Fund(key, amount);
    }

    function _batchOf(IRillHub.Fund memory fund) internal view returns (bytes memory) {
        IRillHub.Fund[] memory funds = new IRillHub.Fund[](1);
        funds[0] = fund;
        return abi.encodeCall(rill.settleBatch, (new IRillHub.SettleItem[](0), funds, bytes32(0)));
    }

    function _batchOf(IRillHub.SettleItem memory item) internal view returns (bytes memory) {
        IRillHub.SettleItem[] memory items = new IRillHub.SettleItem[](1);
        items[0] = item;
        return abi.encodeCall(rill.settleBatch, (items, new IRillHub.Fund[](0), bytes32(0)));
    }

    // --------------------------------------------------------------------------------------------- closing

    function _proof(uint64 nonce, uint64 transferred, uint64 locked, bytes32 root)
        internal
        pure
        returns (IRillHub.Proof memory)
    {
        return IRillHub.Proof(nonce, transferred, locked, root, keccak256(abi.encode(nonce, transferred)));
    }

    function _noProof() internal pure returns (IRillHub.Proof memory proof) {}

    function _noClaim() internal pure returns (IRillHub.Claim memory claim) {}

    function _signProof(Party memory by, IRillHub.Key memory key, IRillHub.Proof memory proof)
        internal
        view
        returns (Signature memory)
    {
        return Protocol.sign(by.key, Protocol.proof(domain, Protocol.channelId(key), proof));
    }

    function _startClose(
        IRillHub.Key memory key,
        IRillHub.Proof memory partner,
        Signature memory by,
        IRillHub.Claim memory own
    ) internal view returns (bytes memory) {
        return abi.encodeCall(rill.startClose, (key, partner, by.r, by.vs, own));
    }

    /// The client closes with nothing but a claim about its own stream.
    function _closeBare(IRillHub.Key memory key, IRillHub.Claim memory own) internal {
        Signature memory none;
        _does(key.client, _startClose(key, _noProof(), none, own));
    }

    function _challenge(IRillHub.Key memory key, IRillHub.Proof memory proof, Signature memory by)
        internal
        view
        returns (bytes memory)
    {
        Signature memory none;
        return _challenge(key, proof, by, address(0), none);
    }

    function _challenge(
        IRillHub.Key memory key,
        IRillHub.Proof memory proof,
        Signature memory by,
        address tower_,
        Signature memory choice
    ) internal view returns (bytes memory) {
        return abi.encodeCall(rill.challenge, (key, proof, by.r, by.vs, tower_, choice.r, choice.vs));
    }

    function _signChoice(Party memory by, IRillHub.Key memory key, IRillHub.Proof memory proof, address tower_)
        internal
        view
        returns (Signature memory)
    {
        bytes32 digest = Protocol.proof(domain, Protocol.channelId(key), proof);
        return Protocol.sign(by.key, Protocol.choice(domain, digest, tower_));
    }

    function _voidLocks(Party memory by, IRillHub.Key memory key, bool ofClient, uint64 minNonce)
        internal
        view
        returns (bytes memory)
    {
        bytes32 digest = Protocol.revocation(domain, Protocol.channelId(key), minNonce);
        Signature memory signature = Protocol.sign(by.key, digest);
        return abi.encodeCall(rill.voidLocks, (key, ofClient, minNonce, signature.r, signature.vs));
    }

    /// Deadline and so many eighths of the challenge period.
    function _limit(uint256 deadline, uint256 eighths) internal pure returns (uint256) {
        return deadline + PERIOD * eighths / 8;
    }

    function _finish(IRillHub.Key memory key) internal {
        uint256 end = _limit(rill.closing(key).deadline, 3);
        if (block.timestamp < end) vm.warp(end);
        _does(stranger.who, abi.encodeCall(rill.finish, (key)));
    }
}
