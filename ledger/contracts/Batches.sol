// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {Digests} from "./Digests.sol";
import {HubState} from "./HubState.sol";
import {IRillHub} from "./IRillHub.sol";

/// Netted settlement (protocol.md, section 8). This is where gas is spent every day, so each item is copied once from
/// calldata into a frame of memory, in which it is hashed, its signature recovered and its event logged, nearly without
/// moving a word; a channel's slot is read and written once, as one word. docs/gas.md has what each part costs.
///
///     frame   copied        to hash the message    to recover    to log Settled
///     0x000   client        type hash              .             .
///     0x020   asset         channel id             .             .
///     0x040   salt          seq                    .             seq
///     0x060   clientOut     clientOut              .             clientOut
///     0x080   hubOut        hubOut                 .             hubOut
///     0x0a0   deadline      deadline               digest        close
///     0x0c0   close         close                  v             .
///     0x0e0   r             .                      r             .
///     0x100   vs            .                      s             .
///     0x120   0x1901 (its last two bytes, hashed with the two words below: the digest)
///     0x140   domain
///     0x160   hash of the message
///
/// A fund has the first four words. What was overwritten is read from calldata again.
abstract contract Batches is HubState {
    uint8 private constant SKIP_STATUS = 1;
    uint8 private constant SKIP_SIGNATURE = 2;
    uint8 private constant SKIP_DEADLINE = 3;
    uint8 private constant SKIP_AMOUNTS = 4;
    uint8 private constant SKIP_POOL = 5;

    /// Sizes in calldata: neither type holds anything of variable length.
    uint256 private constant ITEM_SIZE = 9 * 32;
    uint256 private constant FUND_SIZE = 4 * 32;

    /// Places in a channel's slot, as HubState.Channel has them.
    uint256 private constant BASE_AT = 64;
    uint256 private constant SEQ_AT = 128;
    uint256 private constant STATUS_AT = 160;
    uint256 private constant U64 = type(uint64).max;
    uint256 private constant U32 = type(uint32).max;
    uint256 private constant U8 = type(uint8).max;

    /// Places in an item and in its frame and, as far as it has them, in a fund.
    uint256 private constant CLIENT = 0x00;
    uint256 private constant ASSET = 0x20;
    uint256 private constant SALT = 0x40;
    uint256 private constant CLIENT_OUT = 0x60;
    uint256 private constant FUND_AMOUNT = 0x60;
    uint256 private constant HUB_OUT = 0x80;
    uint256 private constant DEADLINE = 0xa0;
    uint256 private constant CLOSE = 0xc0;
    uint256 private constant SIGNATURE = 0xa0; // what Digests.isByInPlace wants begins here
    uint256 private constant PREFIX = 0x120;
    uint256 private constant FRAME_SIZE = 0x180;

    function settleBatch(SettleItem[] calldata items, Fund[] calldata funds, bytes32 journalRoot)
        external
        nonReentrant
    {
        Purse memory purse;
        purse.asset = NO_ASSET;
        uint256 frame = _newFrame(_domainSeparatorV4());
        // Malformed calldata is refused before anything else, whoever sends it: others than the hub get no further.
        bool byHub = msg.sender == hub;
        unchecked {
            uint256 item = _startOf(items);
            for (uint256 end = item + items.length * ITEM_SIZE; item != end; item += ITEM_SIZE) {
                _copy(frame, item, ITEM_SIZE);
                require(_isCleanItem(frame));
                if (byHub) _settle(item, frame, purse);
            }
            uint256 fund = _startOf(funds);
            for (uint256 end = fund + funds.length * FUND_SIZE; fund != end; fund += FUND_SIZE) {
                _copy(frame, fund, FUND_SIZE);
                require(_isCleanFund(frame));
                if (byHub) _fund(frame, purse);
            }
        }
        if (!byHub) revert NotHub();
        _savePurse(purse);
        uint64 batch = _batches + 1;
        _batches = batch;
        emit BatchSettled(batch, journalRoot);
    }

    function _settle(uint256 item, uint256 frame, Purse memory purse) private {
        (bytes32 id, uint256 slot) = _locate(frame);
        uint256 state = _load(slot);
        uint8 reason = _skipsItem(item, frame, id, state);
        if (reason != 0) {
            emit SettleSkipped(id, false, reason);
        } else {
            unchecked {
                uint256 hubOut = _at(frame, HUB_OUT);
                state += 1 << SEQ_AT; // there is a next one: _skipsItem
                if (_word(item, CLOSE) != 0) {
                    // The client gets all the rest: a stray deposit cannot block a close.
                    _set(frame, CLIENT_OUT, (state & U64) - hubOut);
                    state = state & (U32 << SEQ_AT) | (uint256(CLOSED) << STATUS_AT);
                } else {
                    uint256 clientOut = _at(frame, CLIENT_OUT);
                    state -= clientOut + hubOut; // no more than the total, which is the lowest field
                    uint256 base = (state >> BASE_AT) - clientOut; // and what is above, which is cut off
                    state = state & ~(U64 << BASE_AT) | (base & U64) << BASE_AT;
                }
            }
            _store(slot, state);
            _logSettled(frame, id, _word(item, CLOSE));
            if (purse.asset != _word(item, ASSET)) _turnTo(purse, _word(item, ASSET));
            _pay(purse, address(uint160(_word(item, CLIENT))), _at(frame, CLIENT_OUT), _at(frame, HUB_OUT));
        }
    }

    /// Why the item is skipped; 0: it is not. Leaves the next seq in the frame, where the event wants it.
    function _skipsItem(uint256 item, uint256 frame, bytes32 id, uint256 state) private view returns (uint8 reason) {
        uint256 seq = state >> SEQ_AT & U32;
        if (state >> STATUS_AT & U8 != OPEN) reason = SKIP_STATUS;
        // After 2^32 - 1 settlements there is no next sequence number that anybody could have signed.
        else if (seq == U32) reason = SKIP_SIGNATURE;
        else if (!_isSigned(item, frame, id, seq)) reason = SKIP_SIGNATURE;
        else if (block.timestamp > _word(item, DEADLINE)) reason = SKIP_DEADLINE;
        else if (_isTooMuch(frame, state)) reason = SKIP_AMOUNTS;
    }

    /// Whether the client signed what is in the frame as the settlement after `seq`.
    function _isSigned(uint256 item, uint256 frame, bytes32 id, uint256 seq) private view returns (bool) {
        bytes32 typeHash = Digests.settlementType();
        assembly ("memory-safe") {
            mstore(frame, typeHash)
            mstore(add(frame, 0x20), id)
            mstore(add(frame, 0x40), add(seq, 1))
            mstore(add(frame, 0x160), keccak256(frame, 0xe0))
            mstore(add(frame, SIGNATURE), keccak256(add(frame, 0x13e), 0x42))
        }
        unchecked {
            return Digests.isByInPlace(frame + SIGNATURE, address(uint160(_word(item, CLIENT))));
        }
    }

    /// More than the channel has, or the base would leave its type.
    function _isTooMuch(uint256 frame, uint256 state) private pure returns (bool) {
        unchecked {
            uint256 clientOut = _at(frame, CLIENT_OUT);
            int256 base = int64(uint64(state >> BASE_AT)) - int256(clientOut);
            return _either(clientOut + _at(frame, HUB_OUT) > state & U64, base < type(int64).min);
        }
    }

    function _fund(uint256 frame, Purse memory purse) private {
        (bytes32 id, uint256 slot) = _locate(frame);
        uint256 state = _load(slot);
        uint256 client = _at(frame, CLIENT);
        uint256 amount = _at(frame, FUND_AMOUNT);
        uint256 status = state >> STATUS_AT & U8;
        if (purse.asset != _at(frame, ASSET)) _turnTo(purse, _at(frame, ASSET));
        unchecked {
            uint8 reason;
            if (_either(status >= CLOSING, _either(client == 0, client == uint160(hub)))) reason = SKIP_STATUS;
            else if (_either(amount == 0, (state & U64) + amount >= AMOUNT_LIMIT)) reason = SKIP_AMOUNTS;
            else if (amount > purse.pool) reason = SKIP_POOL; // the pool of what is not listed is empty
            if (reason != 0) {
                emit SettleSkipped(id, true, reason);
            } else {
                purse.pool -= amount;
                if (status == NONE) {
                    _logOpened(frame, id);
                    state = uint256(OPEN) << STATUS_AT;
                }
                _store(slot, state + amount);
                _logFunded(id, amount);
            }
        }
    }

    /// Leaves the purse of one asset for that of another.
    function _turnTo(Purse memory purse, uint256 asset) private {
        _savePurse(purse);
        _openPurse(purse, address(uint160(asset)));
    }

    // ------------------------------------------------------------------------------------------------ events

    function _logSettled(uint256 frame, bytes32 id, uint256 close) private {
        bytes32 topic = Settled.selector;
        assembly ("memory-safe") {
            mstore(add(frame, 0xa0), close)
            log2(add(frame, 0x40), 0x80, topic, id)
        }
    }

    function _logOpened(uint256 frame, bytes32 id) private {
        bytes32 topic = Opened.selector;
        assembly ("memory-safe") {
            log4(add(frame, SALT), 0x20, topic, id, mload(frame), mload(add(frame, ASSET)))
        }
    }

    /// Of a batch's fund: the hub's amount alone.
    function _logFunded(bytes32 id, uint256 hubAmount) private {
        bytes32 topic = Funded.selector;
        assembly ("memory-safe") {
            mstore(0, 0)
            mstore(0x20, hubAmount)
            log2(0, 0x40, topic, id)
        }
    }

    // ------------------------------------------------------------------------------- words of calldata, slots

    /// Whether every word is as wide as its type: Solidity checks calldata only as far as it is read by name.
    function _isCleanItem(uint256 frame) private pure returns (bool) {
        uint256 numbers = _at(frame, SALT) | _at(frame, CLIENT_OUT) | _at(frame, HUB_OUT) | _at(frame, DEADLINE);
        return (_at(frame, CLIENT) | _at(frame, ASSET)) >> 160 | numbers >> 64 | _at(frame, CLOSE) >> 1 == 0;
    }

    function _isCleanFund(uint256 frame) private pure returns (bool) {
        uint256 numbers = _at(frame, SALT) | _at(frame, FUND_AMOUNT);
        return (_at(frame, CLIENT) | _at(frame, ASSET)) >> 160 | numbers >> 64 == 0;
    }

    function _startOf(SettleItem[] calldata items) private pure returns (uint256 start) {
        assembly ("memory-safe") {
            start := items.offset
        }
    }

    function _startOf(Fund[] calldata funds) private pure returns (uint256 start) {
        assembly ("memory-safe") {
            start := funds.offset
        }
    }

    function _newFrame(bytes32 domain) private pure returns (uint256 frame) {
        assembly ("memory-safe") {
            frame := mload(0x40)
            mstore(0x40, add(frame, FRAME_SIZE))
            mstore(add(frame, PREFIX), 0x1901)
            mstore(add(frame, 0x140), domain)
        }
    }

    /// The decoder has checked that the whole array is inside calldata.
    function _copy(uint256 frame, uint256 from, uint256 size) private pure {
        assembly ("memory-safe") {
            calldatacopy(frame, from, size)
        }
    }

    /// A word of calldata.
    function _word(uint256 item, uint256 place) private pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := calldataload(add(item, place))
        }
    }

    /// A word of the frame.
    function _at(uint256 frame, uint256 place) private pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := mload(add(frame, place))
        }
    }

    function _set(uint256 frame, uint256 place, uint256 word) private pure {
        assembly ("memory-safe") {
            mstore(add(frame, place), word)
        }
    }

    /// The id of the channel whose key the frame begins with, and its slot in `_channels`.
    function _locate(uint256 frame) private pure returns (bytes32 id, uint256 slot) {
        assembly ("memory-safe") {
            id := keccak256(frame, 0x60)
            mstore(0, id)
            mstore(0x20, _channels.slot)
            slot := keccak256(0, 0x40)
        }
    }

    function _load(uint256 slot) private view returns (uint256 state) {
        assembly ("memory-safe") {
            state := sload(slot)
        }
    }

    function _store(uint256 slot, uint256 state) private {
        assembly ("memory-safe") {
            sstore(slot, state)
        }
    }

    /// Or, without a jump.
    function _either(bool one, bool other) private pure returns (bool both) {
        assembly ("memory-safe") {
            both := or(one, other)
        }
    }
}
