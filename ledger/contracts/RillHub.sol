// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {Closings} from "./Closings.sol";
import {Digests} from "./Digests.sol";
import {IRillHub} from "./IRillHub.sol";
import {Payouts} from "./Payouts.sol";

/// The Rill contract (protocol.md, sections 6-8): one per hub. Nobody can change or stop it. Its twin in C is the
/// embedded ledger; tests/evm/differential.mjs compares the two call by call.
///
/// Every function checks in the order of protocol.md's table, then changes its own state, and pays last.
/// Arguments are memory where a check of all their fields must come before everything else.
contract RillHub is IRillHub, EIP712, ReentrancyGuardTransient {
    using Closings for Closings.Dispute;

    uint8 private constant NONE = 0;
    uint8 private constant OPEN = 1;
    uint8 private constant CLOSING = 2;
    uint8 private constant CLOSED = 3;

    uint8 private constant SKIP_STATUS = 1;
    uint8 private constant SKIP_SIGNATURE = 2;
    uint8 private constant SKIP_DEADLINE = 3;
    uint8 private constant SKIP_AMOUNTS = 4;
    uint8 private constant SKIP_POOL = 5;

    uint8 private constant SECRET = 0;
    uint8 private constant ATTESTATION = 1;

    uint256 private constant AMOUNT_LIMIT = 1 << 63;
    uint256 private constant BOUNTY_BPS_MAX = 5000;

    /// One slot.
    struct Channel {
        uint64 total;
        int64 base;
        uint32 seq;
        uint8 status;
    }

    /// unit 0: not listed. One slot.
    struct Asset {
        uint128 unit;
        uint64 pool;
    }

    struct Held {
        uint64 ofClient;
        uint64 ofHub;
    }

    address public immutable hub;
    uint64 public immutable challengePeriod;
    uint16 public immutable bountyBps;

    uint64 private _batches;
    mapping(address asset => Asset) private _assets;
    mapping(bytes32 id => Channel) private _channels;
    mapping(bytes32 id => Closings.Dispute) private _disputes;
    mapping(bytes32 id => Held) private _held;
    mapping(bytes32 id => mapping(bool ofClient => mapping(bytes32 leaf => bool))) private _unlocked;
    mapping(address to => mapping(address asset => uint128)) public owed;
    mapping(address tower => bool) public isTower;
    mapping(uint8 kind => mapping(bytes32 condition => uint64)) public registeredAt;

    constructor(address hub_, uint64 challengePeriod_, uint16 bountyBps_) EIP712("Rill", "1") {
        require(bountyBps_ <= BOUNTY_BPS_MAX);
        hub = hub_;
        challengePeriod = challengePeriod_;
        bountyBps = bountyBps_;
    }

    // ---------------------------------------------------------------------------------------------- views

    function domainSeparator() external view returns (bytes32) {
        return _domainSeparatorV4();
    }

    function unit(address asset) external view returns (uint128) {
        return _assets[asset].unit;
    }

    function pool(address asset) external view returns (uint64) {
        return _assets[asset].pool;
    }

    function channel(Key memory key) external view returns (uint64 total, int64 base, uint32 seq, uint8 status) {
        Channel memory state = _channels[_id(key)];
        return (state.total, state.base, state.seq, state.status);
    }

    function closing(Key memory key) external view returns (Closing memory) {
        return _disputes[_id(key)].view_();
    }

    function held(Key memory key) external view returns (uint64 ofClient, uint64 ofHub) {
        Held memory left = _held[_id(key)];
        return (left.ofClient, left.ofHub);
    }

    function unlocked(Key memory key, bool ofClient, bytes32 leaf) external view returns (bool) {
        return _unlocked[_id(key)][ofClient][leaf];
    }

    // ------------------------------------------------------------------------------- assets, pool, deposits

    function listAsset(address asset, uint128 unit_) external nonReentrant {
        if (msg.sender != hub) revert NotHub();
        if (_assets[asset].unit != 0) revert AssetAlreadyListed();
        if (unit_ == 0) revert WrongValue();
        _assets[asset].unit = unit_;
        emit AssetListed(asset, unit_);
    }

    function depositPool(address asset, uint64 amount) external payable nonReentrant {
        Asset storage listed = _assets[asset];
        uint128 unit_ = listed.unit;
        if (unit_ == 0) revert AssetUnknown();
        uint256 sum = uint256(listed.pool) + amount;
        if (sum >= AMOUNT_LIMIT) revert AmountTooLarge();
        if (!Payouts.pull(asset, uint256(amount) * unit_)) revert WrongValue();
        listed.pool = uint64(sum);
        emit PoolDeposited(asset, msg.sender, amount);
    }

    function withdrawPool(address asset, address to, uint64 amount) external nonReentrant {
        if (msg.sender != hub) revert NotHub();
        Asset storage listed = _assets[asset];
        if (listed.unit == 0) revert AssetUnknown();
        if (amount > listed.pool) revert PoolTooLow();
        listed.pool -= amount;
        emit PoolWithdrawn(asset, to, amount);
        if (!Payouts.send(asset, to, uint256(amount) * listed.unit)) revert TransferFailed();
    }

    function deposit(Key memory key, uint64 amount) external payable nonReentrant {
        if (_isBadKey(key.client)) revert BadKey();
        uint128 unit_ = _assets[key.asset].unit;
        if (unit_ == 0) revert AssetUnknown();
        bytes32 id = _id(key);
        Channel memory state = _channels[id];
        if (state.status >= CLOSING) revert BadStatus(state.status);
        uint256 total = uint256(state.total) + amount;
        int256 base = int256(state.base) + _int(amount);
        if (total >= AMOUNT_LIMIT || base > type(int64).max) revert AmountTooLarge();
        if (!Payouts.pull(key.asset, uint256(amount) * unit_)) revert WrongValue();
        if (state.status == NONE) emit Opened(id, key.client, key.asset, key.salt);
        _channels[id] = Channel(uint64(total), int64(base), state.seq, OPEN);
        emit Funded(id, amount, 0);
    }

    function withdrawOwed(address asset, address to) external nonReentrant {
        uint128 amount = owed[msg.sender][asset];
        if (amount == 0) revert NothingOwed();
        owed[msg.sender][asset] = 0;
        emit OwedWithdrawn(msg.sender, asset, to, amount);
        if (!Payouts.send(asset, to, uint256(amount) * _assets[asset].unit)) revert TransferFailed();
    }

    // ------------------------------------------------------------------------------------ netted settlement

    function settleBatch(SettleItem[] calldata items, Fund[] calldata funds, bytes32 journalRoot)
        external
        nonReentrant
    {
        _requireClean(items, funds);
        if (msg.sender != hub) revert NotHub();
        bytes32 domain = _domainSeparatorV4();
        for (uint256 i = 0; i < items.length; i++) {
            _settle(items[i], domain);
        }
        for (uint256 i = 0; i < funds.length; i++) {
            _fund(funds[i]);
        }
        uint64 batch = _batches + 1;
        _batches = batch;
        emit BatchSettled(batch, journalRoot);
    }

    function _settle(SettleItem calldata item, bytes32 domain) private {
        bytes32 id = _id(item.key);
        Channel memory state = _channels[id];
        uint8 reason = _skipsItem(item, id, state, domain);
        if (reason != 0) {
            emit SettleSkipped(id, false, reason);
            return;
        }
        uint64 clientOut = item.clientOut;
        uint64 hubOut = item.hubOut;
        state.seq += 1;
        if (item.close) {
            // The client gets all the rest: a stray deposit cannot block a close.
            clientOut = state.total - hubOut;
            state.total = 0;
            state.base = 0;
            state.status = CLOSED;
        } else {
            state.total -= clientOut + hubOut;
            state.base = int64(int256(state.base) - _int(clientOut));
        }
        _channels[id] = state;
        emit Settled(id, state.seq, clientOut, hubOut, item.close);
        _pay(item.key.asset, item.key.client, clientOut);
        _payHub(item.key.asset, hubOut);
    }

    /// Why the item is skipped; 0: it is not.
    function _skipsItem(SettleItem calldata item, bytes32 id, Channel memory state, bytes32 domain)
        private
        view
        returns (uint8)
    {
        if (state.status != OPEN) return SKIP_STATUS;
        // After 2^32 - 1 settlements there is no next sequence number that anybody could have signed.
        if (state.seq == type(uint32).max) return SKIP_SIGNATURE;
        bytes32 digest = Digests.settlement(domain, id, state.seq + 1, item);
        if (!Digests.isBy(digest, item.r, item.vs, item.key.client)) return SKIP_SIGNATURE;
        if (block.timestamp > item.deadline) return SKIP_DEADLINE;
        if (uint256(item.clientOut) + item.hubOut > state.total) return SKIP_AMOUNTS;
        if (int256(state.base) - _int(item.clientOut) < type(int64).min) return SKIP_AMOUNTS;
        return 0;
    }

    function _fund(Fund calldata fund) private {
        bytes32 id = _id(fund.key);
        Channel memory state = _channels[id];
        Asset storage listed = _assets[fund.key.asset];
        uint64 amount = fund.amount;
        uint256 total = uint256(state.total) + amount;
        uint8 reason;
        if (state.status >= CLOSING || _isBadKey(fund.key.client)) reason = SKIP_STATUS;
        else if (amount == 0 || total >= AMOUNT_LIMIT) reason = SKIP_AMOUNTS;
        else if (listed.unit == 0 || amount > listed.pool) reason = SKIP_POOL;
        if (reason != 0) {
            emit SettleSkipped(id, true, reason);
            return;
        }
        if (state.status == NONE) emit Opened(id, fund.key.client, fund.key.asset, fund.key.salt);
        listed.pool -= amount;
        state.total = uint64(total);
        state.status = OPEN;
        _channels[id] = state;
        emit Funded(id, 0, amount);
    }

    /// Refuses malformed items before anything else, also where a field is never looked at: calldata is otherwise
    /// checked only as far as it is read.
    function _requireClean(SettleItem[] calldata items, Fund[] calldata funds) private pure {
        uint256 dirt;
        for (uint256 i = 0; i < items.length; i++) {
            SettleItem calldata item = items[i];
            assembly ("memory-safe") {
                dirt := or(dirt, or(shr(160, calldataload(item)), shr(160, calldataload(add(item, 32)))))
                // salt, clientOut, hubOut and deadline are 64 bits wide, and close is one.
                let wide := or(calldataload(add(item, 64)), calldataload(add(item, 96)))
                wide := or(wide, or(calldataload(add(item, 128)), calldataload(add(item, 160))))
                dirt := or(dirt, or(shr(64, wide), shr(1, calldataload(add(item, 192)))))
            }
        }
        for (uint256 i = 0; i < funds.length; i++) {
            Fund calldata fund = funds[i];
            assembly ("memory-safe") {
                dirt := or(dirt, or(shr(160, calldataload(fund)), shr(160, calldataload(add(fund, 32)))))
                dirt := or(dirt, shr(64, or(calldataload(add(fund, 64)), calldataload(add(fund, 96)))))
            }
        }
        require(dirt == 0);
    }

    // ---------------------------------------------------------------------------------------------- closing

    function setTower(address tower, bool allowed) external nonReentrant {
        if (msg.sender != hub) revert NotHub();
        isTower[tower] = allowed;
        emit TowerSet(tower, allowed);
    }

    function startClose(Key memory key, Proof memory partner, bytes32 r, bytes32 vs, Claim memory own)
        external
        nonReentrant
    {
        bytes32 id = _id(key);
        Channel memory state = _channels[id];
        if (state.status != OPEN) revert BadStatus(state.status);
        bool byHub = msg.sender == hub;
        if (!byHub && msg.sender != key.client) revert NotParty();
        if (!_isShownBy(id, partner, r, vs, byHub ? key.client : hub)) revert BadSignature();
        int256 ownBase = byHub ? _int(state.total) - state.base : int256(state.base);
        if (Closings.isBadClaim(own, ownBase, partner.transferred)) revert BadClaim();
        uint64 deadline = uint64(block.timestamp) + challengePeriod;
        Closings.Dispute storage dispute = _disputes[id];
        dispute.byHub = byHub;
        dispute.deadline = deadline;
        dispute.own = own;
        Claim memory partners = _claim(partner);
        if (partner.nonce != 0) dispute.partner = partners;
        _channels[id].status = CLOSING;
        (Claim memory ofClient, Claim memory ofHub) = byHub ? (partners, own) : (own, partners);
        emit CloseStarted(id, byHub, deadline, ofClient, ofHub);
    }

    function challenge(
        Key memory key,
        Proof memory proof,
        bytes32 r,
        bytes32 vs,
        address tower,
        bytes32 choiceR,
        bytes32 choiceVs
    ) external nonReentrant {
        bytes32 id = _id(key);
        _requireClosing(id);
        Closings.Dispute storage dispute = _disputes[id];
        (address closer, address partner) = dispute.byHub ? (hub, key.client) : (key.client, hub);
        bytes32 digest = Digests.balanceProof(_domainSeparatorV4(), id, proof);
        if (!Digests.isBy(digest, r, vs, closer)) revert BadSignature();
        bool byPartner = msg.sender == partner;
        if (byPartner || (partner == hub && isTower[msg.sender])) {
            tower = msg.sender;
        } else {
            bytes32 chosen = Digests.choice(_domainSeparatorV4(), digest, tower);
            if (tower == address(0) || !Digests.isBy(chosen, choiceR, choiceVs, partner)) revert NotAuthorised();
        }
        _requireTurn(dispute, byPartner, proof.nonce);
        Claim memory claim = _claim(proof);
        bool fraud = Closings.isFraud(claim, dispute.own);
        dispute.challenged = true;
        dispute.byPartner = byPartner;
        dispute.fraud = fraud;
        dispute.tower = tower;
        dispute.chosen = claim;
        emit Challenged(id, tower, byPartner, claim, fraud);
    }

    /// TooLate, then NotNewer.
    function _requireTurn(Closings.Dispute storage dispute, bool byPartner, uint64 nonce) private view {
        if (!dispute.challenged) {
            if (!_isBefore(dispute, 0)) revert TooLate();
            return;
        }
        if (!_isBefore(dispute, byPartner ? 2 : 1)) revert TooLate();
        bool isNewer = nonce > dispute.chosen.nonce;
        // The partner overrides a tower whatever the nonce; a tower never overrides the partner.
        if (byPartner ? (dispute.byPartner && !isNewer) : (dispute.byPartner || !isNewer)) revert NotNewer();
    }

    function voidLocks(Key memory key, bool ofClient, uint64 minNonce, bytes32 r, bytes32 vs) external nonReentrant {
        bytes32 id = _id(key);
        _requireClosing(id);
        Closings.Dispute storage dispute = _disputes[id];
        if (!_isBefore(dispute, 3)) revert TooLate();
        bytes32 digest = Digests.revocation(_domainSeparatorV4(), id, minNonce);
        if (!Digests.isBy(digest, r, vs, ofClient ? hub : key.client)) revert BadSignature();
        if (minNonce <= (ofClient ? dispute.minNonceOfClient : dispute.minNonceOfHub)) revert NotNewer();
        if (ofClient) dispute.minNonceOfClient = minNonce;
        else dispute.minNonceOfHub = minNonce;
        emit LocksVoided(id, ofClient, minNonce);
    }

    function finish(Key memory key) external nonReentrant {
        bytes32 id = _id(key);
        _requireClosing(id);
        if (_isBefore(_disputes[id], 3)) revert TooEarly();
        Channel memory state = _channels[id];
        Closing memory closing_ = _disputes[id].view_();
        Asset storage listed = _assets[key.asset];
        bool towerIsVictim = closing_.tower == (closing_.byHub ? key.client : hub);
        Closings.Payout memory payout =
            Closings.settle(closing_, state.base, state.total, listed.pool, bountyBps, towerIsVictim);
        _channels[id] = Channel(0, 0, state.seq, CLOSED);
        if (payout.heldClient != 0 || payout.heldHub != 0) _held[id] = Held(payout.heldClient, payout.heldHub);
        if (payout.poolPays != 0) listed.pool -= payout.poolPays;
        emit Finished(
            id, payout.toClient, payout.toHub, payout.heldClient, payout.heldHub, payout.penalty, payout.bounty
        );
        _pay(key.asset, key.client, payout.toClient);
        _payHub(key.asset, payout.toHub);
        _pay(key.asset, closing_.tower, payout.bounty);
    }

    // -------------------------------------------------------------------------------- conditions and locks

    function registerSecret(bytes32 secret) external nonReentrant {
        _register(SECRET, sha256(abi.encode(secret)), secret);
    }

    function registerAttestation(address attester, bytes32 eventId, bytes32 r, bytes32 vs) external nonReentrant {
        bytes32 digest = Digests.attestation(_domainSeparatorV4(), eventId);
        if (!Digests.isBy(digest, r, vs, attester)) revert BadSignature();
        _register(ATTESTATION, keccak256(abi.encode(attester, eventId)), eventId);
    }

    /// The first time is kept; again: nothing happens.
    function _register(uint8 kind, bytes32 condition, bytes32 witness) private {
        if (registeredAt[kind][condition] != 0) return;
        registeredAt[kind][condition] = uint64(block.timestamp);
        emit ConditionMet(kind, condition, witness);
    }

    function unlock(Key memory key, bool ofClient, Lock memory lock, bytes32[] memory proof) external nonReentrant {
        bytes32 id = _id(key);
        _requireStatus(id, CLOSED);
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(lock))));
        if (lock.kind > ATTESTATION || !MerkleProof.verify(proof, Closings.root(_disputes[id].view_(), ofClient), leaf))
        {
            revert BadLockProof();
        }
        if (_unlocked[id][ofClient][leaf]) revert AlreadyUnlocked();
        uint64 met = registeredAt[lock.kind][lock.condition];
        bool toReceiver = met != 0 && met <= lock.expiry;
        if (!toReceiver && block.timestamp <= lock.expiry) revert NotUnlockable();
        _unlocked[id][ofClient][leaf] = true;
        uint64 paid = _takeHeld(id, ofClient, lock.amount);
        emit Unlocked(id, ofClient, lock.id, paid, toReceiver);
        if (toReceiver != ofClient) _pay(key.asset, key.client, paid);
        else _payHub(key.asset, paid);
    }

    /// Takes at most `amount` of what is still held of the stream. Returns how much.
    function _takeHeld(bytes32 id, bool ofClient, uint64 amount) private returns (uint64 taken) {
        Held storage left = _held[id];
        uint64 most = ofClient ? left.ofClient : left.ofHub;
        taken = amount < most ? amount : most;
        if (ofClient) left.ofClient = most - taken;
        else left.ofHub = most - taken;
    }

    // ---------------------------------------------------------------------------------------------- shared

    /// Pays with limited gas, or records as owed what cannot be delivered: never stops anybody else.
    function _pay(address asset, address to, uint64 amount) private {
        if (amount == 0) return;
        if (!Payouts.push(asset, to, uint256(amount) * _assets[asset].unit)) _owe(asset, to, amount);
    }

    /// Adds to the pool, or records as owed to the hub what would take the pool to 2^63.
    function _payHub(address asset, uint64 amount) private {
        if (amount == 0) return;
        Asset storage listed = _assets[asset];
        uint256 sum = uint256(listed.pool) + amount;
        if (sum < AMOUNT_LIMIT) listed.pool = uint64(sum);
        else _owe(asset, hub, amount);
    }

    function _owe(address asset, address to, uint64 amount) private {
        owed[to][asset] += amount;
        emit OwedRecorded(to, asset, amount);
    }

    /// Whether the other side's proof is what it signed; nonce 0 stands for "none", and then there is nothing in it.
    function _isShownBy(bytes32 id, Proof memory proof, bytes32 r, bytes32 vs, address signer)
        private
        view
        returns (bool)
    {
        if (proof.nonce == 0) {
            return proof.transferred == 0 && proof.locked == 0 && proof.locksRoot == 0 && proof.bodyHash == 0;
        }
        return Digests.isBy(Digests.balanceProof(_domainSeparatorV4(), id, proof), r, vs, signer);
    }

    /// now < deadline + eighths x challengePeriod / 8, rounded down.
    function _isBefore(Closings.Dispute storage dispute, uint256 eighths) private view returns (bool) {
        return block.timestamp < uint256(dispute.deadline) + uint256(challengePeriod) * eighths / 8;
    }

    function _requireClosing(bytes32 id) private view {
        _requireStatus(id, CLOSING);
    }

    function _requireStatus(bytes32 id, uint8 wanted) private view {
        uint8 status = _channels[id].status;
        if (status != wanted) revert BadStatus(status);
    }

    function _isBadKey(address client) private view returns (bool) {
        return client == address(0) || client == hub;
    }

    function _id(Key memory key) private pure returns (bytes32) {
        return keccak256(abi.encode(key));
    }

    function _claim(Proof memory proof) private pure returns (Claim memory) {
        return Claim(proof.nonce, proof.transferred, proof.locked, proof.locksRoot);
    }

    function _int(uint64 amount) private pure returns (int256) {
        return int256(uint256(amount));
    }
}
