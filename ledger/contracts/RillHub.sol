// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {Batches} from "./Batches.sol";
import {Closings} from "./Closings.sol";
import {Digests} from "./Digests.sol";
import {HubState} from "./HubState.sol";
import {Payouts} from "./Payouts.sol";

/// The Rill contract (protocol.md, sections 6-8): one per hub. Nobody can change or stop it. Its twin in C is the
/// embedded ledger; tests/evm/differential.mjs compares the two call by call. HubState.sol has what is stored,
/// Batches.sol the netted settlement.
///
/// Every function checks in the order of protocol.md's table, then changes its own state, and pays last.
/// Arguments are memory where a check of all their fields must come before everything else.
contract RillHub is Batches {
    using Closings for Closings.Dispute;

    uint8 private constant SECRET = 0;
    uint8 private constant ATTESTATION = 1;

    uint256 private constant BOUNTY_BPS_MAX = 5000;

    constructor(address hub_, uint64 challengePeriod_, uint16 bountyBps_)
        HubState(hub_, challengePeriod_, bountyBps_)
    {
        require(bountyBps_ <= BOUNTY_BPS_MAX);
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
        if (state.status == CLOSED) return (0, 0, state.seq, CLOSED);
        return (state.total, state.base, state.seq, state.status);
    }

    function closing(Key memory key) external view returns (Closing memory closing_) {
        bytes32 id = _id(key);
        closing_ = _closing(id, key, _channels[id]);
        _disputes[id].loadRoots(closing_);
    }

    function held(Key memory key) external view returns (uint64 ofClient, uint64 ofHub) {
        Channel memory state = _channels[_id(key)];
        return state.status == CLOSED ? (state.total, uint64(state.base)) : (0, 0);
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
        _channels[id] = Channel(uint64(total), int64(base), state.seq, OPEN, 0, 0);
        emit Funded(id, amount, 0);
    }

    function withdrawOwed(address asset, address to) external nonReentrant {
        uint128 amount = owed[msg.sender][asset];
        if (amount == 0) revert NothingOwed();
        owed[msg.sender][asset] = 0;
        emit OwedWithdrawn(msg.sender, asset, to, amount);
        if (!Payouts.send(asset, to, uint256(amount) * _assets[asset].unit)) revert TransferFailed();
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
        Claim memory partners = _claim(partner);
        state.status = CLOSING;
        state.deadline = uint64(block.timestamp) + challengePeriod;
        state.flags = _disputes[id].begin(own, partners) | (byHub ? Closings.BY_HUB : 0);
        _channels[id] = state;
        (Claim memory ofClient, Claim memory ofHub) = byHub ? (partners, own) : (own, partners);
        emit CloseStarted(id, byHub, state.deadline, ofClient, ofHub);
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
        Channel memory state = _closingChannel(id);
        (address closer, address partner) = state.flags & Closings.BY_HUB != 0 ? (hub, key.client) : (key.client, hub);
        bytes32 digest = Digests.balanceProof(_domainSeparatorV4(), id, proof);
        if (!Digests.isBy(digest, r, vs, closer)) revert BadSignature();
        bool byPartner = msg.sender == partner;
        if (byPartner || (partner == hub && isTower[msg.sender])) {
            tower = msg.sender;
        } else {
            bytes32 chosen = Digests.choice(_domainSeparatorV4(), digest, tower);
            if (tower == address(0) || !Digests.isBy(chosen, choiceR, choiceVs, partner)) revert NotAuthorised();
        }
        _challenge(id, state, _claim(proof), tower, byPartner);
    }

    /// What is left of a challenge once its authority is known.
    function _challenge(bytes32 id, Channel memory state, Claim memory claim, address tower, bool byPartner) private {
        Closings.Dispute storage dispute = _disputes[id];
        _requireTurn(dispute, state, byPartner, claim.nonce);
        (Claim memory own,) = dispute.loadClaims(state.flags);
        bool fraud = dispute.isFraud(claim, own);
        bool isAgain = state.flags & Closings.CHALLENGED != 0;
        uint8 kept = state.flags & (Closings.BY_HUB | Closings.NARROW_CLAIMS | Closings.REVOKED);
        uint8 given = dispute.choose(claim, byPartner ? address(0) : tower, isAgain);
        state.flags = kept | given | Closings.CHALLENGED | (byPartner ? Closings.BY_PARTNER : 0)
            | (fraud ? Closings.FRAUD : 0);
        _channels[id] = state;
        emit Challenged(id, tower, byPartner, claim, fraud);
    }

    /// TooLate, then NotNewer.
    function _requireTurn(Closings.Dispute storage dispute, Channel memory state, bool byPartner, uint64 nonce)
        private
        view
    {
        if (state.flags & Closings.CHALLENGED == 0) {
            if (!_isBefore(state, 0)) revert TooLate();
            return;
        }
        if (!_isBefore(state, byPartner ? 2 : 1)) revert TooLate();
        (Claim memory chosen,) = dispute.loadChosen(state.flags);
        bool isNewer = nonce > chosen.nonce;
        bool byPartnerBefore = state.flags & Closings.BY_PARTNER != 0;
        // The partner overrides a tower whatever the nonce; a tower never overrides the partner.
        if (byPartner ? (byPartnerBefore && !isNewer) : (byPartnerBefore || !isNewer)) revert NotNewer();
    }

    function voidLocks(Key memory key, bool ofClient, uint64 minNonce, bytes32 r, bytes32 vs) external nonReentrant {
        bytes32 id = _id(key);
        Channel memory state = _closingChannel(id);
        if (!_isBefore(state, 3)) revert TooLate();
        bytes32 digest = Digests.revocation(_domainSeparatorV4(), id, minNonce);
        if (!Digests.isBy(digest, r, vs, ofClient ? hub : key.client)) revert BadSignature();
        Closings.Dispute storage dispute = _disputes[id];
        if (minNonce <= (ofClient ? dispute.minNonceOfClient : dispute.minNonceOfHub)) revert NotNewer();
        if (ofClient) dispute.minNonceOfClient = minNonce;
        else dispute.minNonceOfHub = minNonce;
        if (state.flags & Closings.REVOKED == 0) _channels[id].flags = state.flags | Closings.REVOKED;
        emit LocksVoided(id, ofClient, minNonce);
    }

    function finish(Key memory key) external nonReentrant {
        bytes32 id = _id(key);
        Channel memory state = _closingChannel(id);
        if (_isBefore(state, 3)) revert TooEarly();
        Closing memory closing_ = _closing(id, key, state);
        if (Closings.needsRoots(closing_)) _disputes[id].loadRoots(closing_);
        Purse memory purse;
        _openPurse(purse, key.asset);
        bool towerIsVictim = closing_.tower == (closing_.byHub ? key.client : hub);
        Closings.Payout memory payout =
            Closings.settle(closing_, state.base, state.total, uint64(purse.pool), bountyBps, towerIsVictim);
        (state.total, state.base, state.status) = (payout.heldClient, int64(payout.heldHub), CLOSED);
        _channels[id] = state;
        purse.pool -= payout.poolPays;
        emit Finished(
            id, payout.toClient, payout.toHub, payout.heldClient, payout.heldHub, payout.penalty, payout.bounty
        );
        _pay(purse, key.client, payout.toClient, payout.toHub);
        _pay(purse, closing_.tower, payout.bounty, 0);
        _savePurse(purse);
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

    function unlock(Key memory key, bool ofClient, Lock memory lock, bytes32[] calldata proof) external nonReentrant {
        bytes32 id = _id(key);
        Channel memory state = _channels[id];
        if (state.status != CLOSED) revert BadStatus(state.status);
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(lock))));
        if (lock.kind > ATTESTATION || !MerkleProof.verifyCalldata(proof, _root(id, key, state, ofClient), leaf)) {
            revert BadLockProof();
        }
        if (_unlocked[id][ofClient][leaf]) revert AlreadyUnlocked();
        uint64 met = registeredAt[lock.kind][lock.condition];
        bool toReceiver = met != 0 && met <= lock.expiry;
        if (!toReceiver && block.timestamp <= lock.expiry) revert NotUnlockable();
        _unlocked[id][ofClient][leaf] = true;
        uint64 paid = _takeHeld(state, ofClient, lock.amount);
        _channels[id] = state;
        emit Unlocked(id, ofClient, lock.id, paid, toReceiver);
        Purse memory purse;
        _openPurse(purse, key.asset);
        (uint64 toClient, uint64 toHub) = toReceiver != ofClient ? (paid, uint64(0)) : (uint64(0), paid);
        _pay(purse, key.client, toClient, toHub);
        _savePurse(purse);
    }

    /// The root of the stream's locks that count.
    function _root(bytes32 id, Key memory key, Channel memory state, bool ofClient) private view returns (bytes32) {
        Closing memory closing_ = _closing(id, key, state);
        _disputes[id].loadRoots(closing_);
        return Closings.root(closing_, ofClient);
    }

    /// Takes at most `amount` of what is still held of the stream. Returns how much.
    function _takeHeld(Channel memory state, bool ofClient, uint64 amount) private pure returns (uint64 taken) {
        uint64 most = ofClient ? state.total : uint64(state.base);
        taken = amount < most ? amount : most;
        if (ofClient) state.total = most - taken;
        else state.base = int64(most - taken);
    }

    // ---------------------------------------------------------------------------------------------- shared

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
    function _isBefore(Channel memory state, uint256 eighths) private view returns (bool) {
        return block.timestamp < uint256(state.deadline) + uint256(challengePeriod) * eighths / 8;
    }

    function _closingChannel(bytes32 id) private view returns (Channel memory state) {
        state = _channels[id];
        if (state.status != CLOSING) revert BadStatus(state.status);
    }

    /// The closing but for its roots.
    function _closing(bytes32 id, Key memory key, Channel memory state) private view returns (Closing memory) {
        address partner = state.flags & Closings.BY_HUB != 0 ? key.client : hub;
        return _disputes[id].load(state.flags, state.deadline, partner);
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
