#include "ledger/embedded/block.h"

#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "crypto/hash.h"
#include "ledger/rlp.h"

struct block *block_new(uint64_t number, uint64_t time, unsigned_wide base_fee, const struct hash *parent)
{
    struct block *block = xcalloc(1, sizeof(*block));
    block->number = number;
    block->time = time;
    block->base_fee = base_fee;
    block->parent = *parent;
    return block;
}

void block_free(struct block *block)
{
    if (block == NULL)
        return;
    for (size_t i = 0; i < block->count; i++) {
        buffer_free(&block->transactions[i].raw);
        logs_free(&block->transactions[i].logs);
    }
    free(block->transactions);
    free(block);
}

struct mined *block_add(struct block *block)
{
    /* Powers of two: room is made whenever the count reaches one. */
    if ((block->count & (block->count + 1)) == 0)
        block->transactions =
            xrealloc(block->transactions, 2 * (block->count + 1) * sizeof(*block->transactions));
    struct mined *mined = &block->transactions[block->count++];
    memset(mined, 0, sizeof(*mined));
    return mined;
}

static void put_wide(struct buffer *out, unsigned_wide value)
{
    wide_store(buffer_extend(out, 16), value);
}

static void encode_logs(const struct logs *logs, struct buffer *out)
{
    buffer_u32(out, (uint32_t)logs->count);
    for (size_t i = 0; i < logs->count; i++) {
        struct contract_log log = logs_at(logs, i);
        buffer_append(out, &log.address, sizeof(log.address));
        buffer_u8(out, (uint8_t)log.topic_count);
        buffer_append(out, log.topics, log.topic_count * sizeof(*log.topics));
        buffer_u32(out, (uint32_t)log.data_length);
        buffer_append(out, log.data, log.data_length);
    }
}

static void encode_receipt(const struct mined *mined, struct buffer *out)
{
    buffer_u8(out, mined->success);
    buffer_u64(out, mined->gas_used);
    put_wide(out, mined->effective_gas_price);
    encode_logs(&mined->logs, out);
}

void block_header(const struct block *block, struct buffer *out)
{
    size_t list = rlp_list_begin(out);
    rlp_put_bytes(out, &block->parent, sizeof(block->parent));
    rlp_put_bytes(out, &block->state_root, sizeof(block->state_root));
    rlp_put_bytes(out, &block->transactions_root, sizeof(block->transactions_root));
    rlp_put_bytes(out, &block->receipts_root, sizeof(block->receipts_root));
    rlp_put_u64(out, block->number);
    rlp_put_u64(out, BLOCK_GAS_LIMIT);
    rlp_put_u64(out, block->gas_used);
    rlp_put_u64(out, block->time);
    rlp_put_wide(out, block->base_fee);
    rlp_list_end(out, list);
}

void block_seal(struct block *block)
{
    struct buffer hashes = {0}, receipts = {0};
    uint32_t log_index = 0;
    block->gas_used = 0;
    for (size_t i = 0; i < block->count; i++) {
        struct mined *mined = &block->transactions[i];
        block->gas_used += mined->gas_used;
        mined->cumulative_gas = block->gas_used;
        mined->first_log = log_index;
        log_index += (uint32_t)mined->logs.count;
        buffer_append(&hashes, &mined->hash, sizeof(mined->hash));
        encode_receipt(mined, &receipts);
    }
    if (block->count > 0) {
        block->transactions_root = keccak256(hashes.data, hashes.length);
        block->receipts_root = keccak256(receipts.data, receipts.length);
    }
    buffer_clear(&hashes);
    block_header(block, &hashes);
    block->hash = keccak256(hashes.data, hashes.length);
    buffer_free(&hashes);
    buffer_free(&receipts);
}

void block_encode(const struct block *block, struct buffer *out)
{
    buffer_u64(out, block->time);
    put_wide(out, block->base_fee);
    buffer_append(out, &block->parent, sizeof(block->parent));
    buffer_append(out, &block->state_root, sizeof(block->state_root));
    buffer_u32(out, (uint32_t)block->count);
    for (size_t i = 0; i < block->count; i++) {
        const struct mined *mined = &block->transactions[i];
        buffer_append(out, &mined->hash, sizeof(mined->hash));
        buffer_append(out, &mined->from, sizeof(mined->from));
        buffer_append(out, &mined->to, sizeof(mined->to));
        buffer_u32(out, (uint32_t)mined->raw.length);
        buffer_append(out, mined->raw.data, mined->raw.length);
        encode_receipt(mined, out);
    }
}

static unsigned_wide take_wide(struct reader *reader)
{
    uint8_t bytes[16];
    reader_copy(reader, bytes, sizeof(bytes));
    return wide_load(bytes);
}

static void decode_logs(struct reader *reader, struct logs *logs)
{
    uint32_t count = reader_u32(reader);
    for (uint32_t i = 0; i < count && reader->ok; i++) {
        struct address address;
        struct hash topics[4];
        reader_copy(reader, &address, sizeof(address));
        uint8_t topic_count = reader_u8(reader);
        if (topic_count > 4)
            reader->ok = false;
        else
            reader_copy(reader, topics, topic_count * sizeof(*topics));
        uint32_t length = reader_u32(reader);
        const uint8_t *data = reader_take(reader, length);
        if (reader->ok)
            logs_add(logs, &address, topics, topic_count, data, length);
    }
}

static void decode_transaction(struct reader *reader, struct mined *mined)
{
    reader_copy(reader, &mined->hash, sizeof(mined->hash));
    reader_copy(reader, &mined->from, sizeof(mined->from));
    reader_copy(reader, &mined->to, sizeof(mined->to));
    uint32_t length = reader_u32(reader);
    const uint8_t *raw = reader_take(reader, length);
    if (raw != NULL)
        buffer_append(&mined->raw, raw, length);
    mined->success = reader_u8(reader) != 0;
    mined->gas_used = reader_u64(reader);
    mined->effective_gas_price = take_wide(reader);
    decode_logs(reader, &mined->logs);
}

struct block *block_decode(uint64_t number, const uint8_t *data, size_t length)
{
    struct reader reader = reader_of(data, length);
    uint64_t time = reader_u64(&reader);
    unsigned_wide base_fee = take_wide(&reader);
    struct hash parent;
    reader_copy(&reader, &parent, sizeof(parent));
    struct block *block = block_new(number, time, base_fee, &parent);
    reader_copy(&reader, &block->state_root, sizeof(block->state_root));
    uint32_t count = reader_u32(&reader);
    for (uint32_t i = 0; i < count && reader.ok; i++)
        decode_transaction(&reader, block_add(block));
    if (!reader_done(&reader)) {
        block_free(block);
        return NULL;
    }
    block_seal(block);
    return block;
}

static void bloom_add(struct bloom *bloom, const void *data, size_t length)
{
    struct hash hash = keccak256(data, length);
    for (int i = 0; i < 6; i += 2) {
        unsigned bit = load_be16(hash.bytes + i) & 2047u;
        bloom->bytes[255 - bit / 8] |= (uint8_t)(1u << (bit % 8));
    }
}

void bloom_add_logs(struct bloom *bloom, const struct logs *logs)
{
    for (size_t i = 0; i < logs->count; i++) {
        bloom_add(bloom, &logs->entries[i].address, sizeof(struct address));
        for (size_t t = 0; t < logs->entries[i].topic_count; t++)
            bloom_add(bloom, &logs->entries[i].topics[t], sizeof(struct hash));
    }
}
