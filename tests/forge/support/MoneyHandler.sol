// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IRillHub} from "rill/IRillHub.sol";
import {vm} from "./Cheats.sol";
import {Fixture, Party} from "./Fixture.sol";
import {LockTree} from "./LockTree.sol";
import {Protocol, Signature} from "./Protocol.sol";
import {Random, Randoms} from "./Random.sol";
import {GasBurner, Reenterer, Refuser} from "./Receivers.sol";

/// People without manners: everybody signs whatever is wanted and calls whatever there is, in any order. Keeps count of
/// what went in, and of how each channel moved. A call that must not fail, and fails, reverts here.
contract MoneyHandler is Fixture {
    using Randoms for Random;

    uint256 private constant SALTS = 3;
    uint256 private constant SETS = 4;

    Party[] internal clients;
    address[] internal people; // whoever may be paid
    IRillHub.Key[] internal keys;
    uint8[] internal lastStatus;
    IRillHub.Lock[][SETS] internal locks; // sets of locks that streams may have pending
    bytes32[SETS] internal roots;
    uint256[2] public deposited; // base units, per asset
    uint256[2] public forced;
    uint256[2] internal wealthAtStart;
    mapping(string => uint256) public count;

    constructor() {
        setUp();
        clients.push(alice);
        clients.push(bob);
        clients.push(_party(0xA6));
        people = [hub.who, alice.who, bob.who, clients[2].who, tower.who, stranger.who];
        _enrich(clients[2].who);
        for (uint256 i = 0; i < clients.length * SALTS * 2; i++) {
            address asset = i % 2 == 0 ? COIN : address(token);
            keys.push(_key(clients[i / 2 % 3], asset, uint64(i / 6)));
            lastStatus.push(NONE);
        }
        for (uint256 set = 1; set < SETS; set++) {
            for (uint64 id = 1; id <= set; id++) {
                uint64 expiry = uint64(START + id * PERIOD);
                locks[set].push(IRillHub.Lock(id * 700, id * 40, expiry, 0, Protocol.conditionOf(bytes32(set))));
            }
            roots[set] = LockTree.root(locks[set]);
        }
        for (uint256 i = 0; i < 2; i++) {
            wealthAtStart[i] = wealth(i);
        }
    }

    // ------------------------------------------------------------------------------------ what the invariants ask

    function assetOf(uint256 i) public view returns (address) {
        return i == 0 ? COIN : address(token);
    }

    function wealth(uint256 asset) public view returns (uint256 sum) {
        for (uint256 i = 0; i < people.length; i++) {
            sum += _wealth(people[i], assetOf(asset));
        }
    }

    /// Base units that people have got out of the contract.
    function paidOut(uint256 asset) external view returns (uint256) {
        return wealth(asset) + deposited[asset] - wealthAtStart[asset];
    }

    function contractHas(uint256 asset) external view returns (uint256) {
        return _wealth(address(rill), assetOf(asset));
    }

    /// Base units that the contract owes to anybody: pool, channels, held, owed.
    function contractOwes(uint256 asset) external view returns (uint256 sum) {
        address a = assetOf(asset);
        sum = rill.pool(a);
        for (uint256 i = 0; i < keys.length; i++) {
            if (keys[i].asset != a) continue;
            (uint64 total,,,) = rill.channel(keys[i]);
            (uint64 ofClient, uint64 ofHub) = rill.held(keys[i]);
            sum += uint256(total) + ofClient + ofHub;
        }
        for (uint256 i = 0; i < people.length; i++) {
            sum += rill.owed(people[i], a);
        }
        return sum * _unit(a);
    }

    function channels() external view returns (uint256) {
        return keys.length;
    }

    function stateOf(uint256 i) external view returns (uint64 total, int64 base, uint8 status, uint64 held) {
        (total, base,, status) = rill.channel(keys[i]);
        (uint64 ofClient, uint64 ofHub) = rill.held(keys[i]);
        held = ofClient + ofHub;
    }

    /// Each close that has begun is brought to its end, whatever was done before.
    function finishAll() external {
        for (uint256 i = 0; i < keys.length; i++) {
            if (_status(keys[i]) == CLOSING) _finish(keys[i]);
        }
        _statusesMove();
    }

    // ----------------------------------------------------------------------------------------------------- moves

    /// Runs a move that may be refused, and holds each channel's status against where it was.
    function _moves(string memory what, address from, uint256 value, bytes memory data) private returns (bool success) {
        (success,) = _try(from, value, data);
        if (success) count[what]++;
        _statusesMove();
    }

    function _statusesMove() private {
        for (uint256 i = 0; i < keys.length; i++) {
            uint8 from = lastStatus[i];
            uint8 to = _status(keys[i]);
            if (from == to) continue;
            bool isGood = to == from + 1 || (from == OPEN && to == CLOSED);
            vm.assertTrue(isGood, "status moves 0, 1, 2, 3 or 1, 3");
            lastStatus[i] = to;
        }
    }

    function _pick(Random memory random, uint8 status) private view returns (IRillHub.Key memory key) {
        uint256 first = random.below(keys.length);
        for (uint256 i = 0; i < keys.length; i++) {
            key = keys[(first + i) % keys.length];
            if (_status(key) == status) return key;
        }
    }

    function _clientOf(IRillHub.Key memory key) private view returns (Party memory) {
        for (uint256 i = 0; i < 2; i++) {
            if (clients[i].who == key.client) return clients[i];
        }
        return clients[2];
    }

    function _anyAmount(Random memory random) private pure returns (uint64) {
        return random.amount(random.chance(8) ? AMOUNT_MAX : 1000);
    }

    function _in(address asset, uint64 amount) private {
        deposited[asset == COIN ? 0 : 1] += amount * _unit(asset);
    }

    function depositPool(uint256 seed) external {
        Random memory random = Random(seed);
        address asset = assetOf(random.below(2));
        uint64 amount = _anyAmount(random);
        bytes memory call = abi.encodeCall(rill.depositPool, (asset, amount));
        if (_moves("depositPool", hub.who, asset == COIN ? amount : 0, call)) _in(asset, amount);
    }

    function withdrawPool(uint256 seed) external {
        Random memory random = Random(seed);
        address asset = assetOf(random.below(2));
        address to = people[random.below(people.length)];
        uint64 amount = random.amount(rill.pool(asset));
        _moves("withdrawPool", hub.who, 0, abi.encodeCall(rill.withdrawPool, (asset, to, amount)));
    }

    function deposit(uint256 seed) external {
        Random memory random = Random(seed);
        IRillHub.Key memory key = random.chance(40) ? _pick(random, NONE) : _pick(random, OPEN);
        uint64 amount = _anyAmount(random);
        bytes memory call = abi.encodeCall(rill.deposit, (key, amount));
        if (_moves("deposit", hub.who, key.asset == COIN ? amount : 0, call)) _in(key.asset, amount);
    }

    function settle(uint256 seed) external {
        Random memory random = Random(seed);
        IRillHub.SettleItem[] memory items = new IRillHub.SettleItem[](random.below(4));
        for (uint256 i = 0; i < items.length; i++) {
            items[i] = _anyItem(random);
        }
        IRillHub.Fund[] memory funds = new IRillHub.Fund[](random.below(3));
        for (uint256 i = 0; i < funds.length; i++) {
            IRillHub.Key memory key = _pick(random, random.chance(70) ? OPEN : NONE);
            funds[i] = IRillHub.Fund(key, random.amount(rill.pool(key.asset)));
        }
        bytes memory call = abi.encodeCall(rill.settleBatch, (items, funds, bytes32(seed)));
        vm.assertTrue(_moves("settleBatch", hub.who, 0, call), "no batch sinks");
    }

    function _anyItem(Random memory random) private view returns (IRillHub.SettleItem memory item) {
        IRillHub.Key memory key = _pick(random, OPEN);
        (uint64 total,, uint32 seq,) = rill.channel(key);
        item = _itemOf(key, 0, 0);
        item.clientOut = random.chance(10) ? uint64(random.next()) : random.amount(total);
        item.hubOut = random.amount(total > item.clientOut ? total - item.clientOut : total);
        if (random.chance(10)) item.deadline = uint64(block.timestamp) - 1;
        item.close = random.chance(15);
        _signItem(random.chance(95) ? _clientOf(key) : stranger, item, seq + 1);
    }

    function startClose(uint256 seed) external {
        Random memory random = Random(seed);
        IRillHub.Key memory key = _pick(random, OPEN);
        bool byHub = random.chance(50);
        (uint64 total, int64 base,,) = rill.channel(key);
        IRillHub.Proof memory shown = random.chance(30) ? _noProof() : _anyProof(random, total);
        int256 most = (byHub ? int256(uint256(total)) - base : int256(base)) + int256(uint256(shown.transferred));
        IRillHub.Claim memory own = Protocol.claim(_anyProof(random, most < 0 ? 0 : uint256(most)));
        if (most >= 0 && uint256(own.transferred) + own.locked > uint256(most)) own.transferred = 0;
        Signature memory by = _signProof(byHub ? _clientOf(key) : hub, key, shown);
        _moves("startClose", byHub ? hub.who : key.client, 0, _startClose(key, shown, by, own));
    }

    /// Whatever: a few hundred, or the most there can be, and the locks of one of the sets.
    function _anyProof(Random memory random, uint256 around) private view returns (IRillHub.Proof memory proof) {
        uint256 set = random.below(SETS);
        proof = _proof(1 + uint64(random.below(6)), random.amount(around > FAR ? FAR : around), 0, roots[set]);
        proof.locked = set == 0 ? 0 : random.amount(random.chance(80) ? 200 : around > FAR ? FAR : around);
        if (random.chance(5)) (proof.transferred, proof.locked) = (FAR, FAR);
    }

    function challenge(uint256 seed) external {
        Random memory random = Random(seed);
        IRillHub.Key memory key = _pick(random, CLOSING);
        bool byHub = rill.closing(key).byHub;
        Party memory closer = byHub ? hub : _clientOf(key);
        Party memory partner = byHub ? _clientOf(key) : hub;
        (uint64 total,,,) = rill.channel(key);
        IRillHub.Proof memory proof = _anyProof(random, total);
        Signature memory by = _signProof(closer, key, proof);
        if (random.chance(50)) {
            _moves("challenge of the partner", partner.who, 0, _challenge(key, proof, by));
            return;
        }
        address tower_ = people[random.below(people.length)];
        Signature memory choice = _signChoice(partner, key, proof, tower_);
        _moves("challenge of a tower", stranger.who, 0, _challenge(key, proof, by, tower_, choice));
    }

    function voidLocks(uint256 seed) external {
        Random memory random = Random(seed);
        IRillHub.Key memory key = _pick(random, CLOSING);
        bool ofClient = random.chance(50);
        Party memory receiver = ofClient ? hub : _clientOf(key);
        _moves("voidLocks", stranger.who, 0, _voidLocks(receiver, key, ofClient, uint64(random.below(8))));
    }

    function finish(uint256 seed) external {
        Random memory random = Random(seed);
        IRillHub.Key memory key = _pick(random, CLOSING);
        if (_status(key) != CLOSING) return;
        uint256 end = _limit(rill.closing(key).deadline, 3);
        if (random.chance(60) && block.timestamp < end) vm.warp(end);
        bool success = _moves("finish", stranger.who, 0, abi.encodeCall(rill.finish, (key)));
        vm.assertEq(success, block.timestamp >= end, "finish works from the end of the window on, and not before");
    }

    function registerSecret(uint256 seed) external {
        _moves("registerSecret", stranger.who, 0, abi.encodeCall(rill.registerSecret, (bytes32(seed % SETS))));
    }

    function unlock(uint256 seed) external {
        Random memory random = Random(seed);
        IRillHub.Key memory key = _pick(random, CLOSED);
        IRillHub.Closing memory closing = rill.closing(key);
        bool ofClient = random.chance(50);
        bytes32 root = ofClient ? closing.ofClient.locksRoot : closing.ofHub.locksRoot;
        for (uint256 set = 1; set < SETS; set++) {
            if (roots[set] != root) continue;
            IRillHub.Lock memory lock = locks[set][random.below(set)];
            bytes32[] memory proof = LockTree.proof(LockTree.build(locks[set]), lock.id);
            _moves("unlock", stranger.who, 0, abi.encodeCall(rill.unlock, (key, ofClient, lock, proof)));
        }
    }

    function withdrawOwed(uint256 seed) external {
        Random memory random = Random(seed);
        address asset = assetOf(random.below(2));
        address to = people[random.below(people.length)];
        for (uint256 i = 0; i < people.length; i++) {
            if (rill.owed(people[i], asset) == 0) continue;
            _moves("withdrawOwed", people[i], 0, abi.encodeCall(rill.withdrawOwed, (asset, to)));
        }
    }

    /// One of the first two clients turns into code that takes no coins, or back.
    function behave(uint256 seed) external {
        bytes[4] memory codes =
            [bytes(hex""), type(Refuser).runtimeCode, type(GasBurner).runtimeCode, type(Reenterer).runtimeCode];
        address who = clients[seed % 2].who;
        uint256 manner = seed / 2 % 4;
        vm.etch(who, codes[manner]);
        if (manner == 3) Reenterer(payable(who)).prepare(abi.encodeCall(rill.withdrawOwed, (COIN, who)));
        count["behave"]++;
    }

    function force(uint256 seed) external {
        uint256 coins = seed % 1000;
        vm.deal(address(rill), address(rill).balance + coins);
        forced[0] += coins;
        count["force"]++;
    }

    function pass(uint256 seed) external {
        vm.warp(block.timestamp + 1 + seed % (PERIOD / 3));
        count["pass"]++;
    }
}
