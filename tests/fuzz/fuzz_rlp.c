/* RLP, and raw transactions as anybody may send them to the ledger.
 *
 *     input: mode u8; 0: any RLP, 1: a raw transaction, 2: the fields of one that is signed for real
 *
 * There is one spelling of every value: what was read as a tree of items is written again as the same bytes. A
 * transaction that decodes is spelt by its parts. One that was signed decodes to itself, and with a bit changed never
 * to the same sender and hash. */
#include "tests/fuzz/input.h"

#include <stdlib.h>
#include <string.h>

#include "ledger/rlp.h"
#include "ledger/transaction.h"

#define DEPTH_MAX 64

/* Copies the items one after another; false where something is malformed, or deeper than this looks. */
static bool copy_items(struct rlp_reader *reader, struct buffer *out, unsigned depth)
{
    while (reader->ok && reader->left > 0) {
        if (reader->at[0] >= 0xc0) {
            struct rlp_reader list = rlp_list(reader);
            if (!list.ok || depth == DEPTH_MAX)
                return false;
            size_t mark = rlp_list_begin(out);
            if (!copy_items(&list, out, depth + 1))
                return false;
            rlp_list_end(out, mark);
        } else {
            size_t length;
            const uint8_t *bytes = rlp_bytes(reader, &length);
            if (bytes == NULL)
                return false;
            rlp_put_bytes(out, bytes, length);
        }
    }
    return reader->ok;
}

static void read_items(const uint8_t *data, size_t size)
{
    struct buffer again = {0};
    struct rlp_reader reader = rlp_reader_of(data, size);
    if (copy_items(&reader, &again, 0)) {
        ensure(again.length == size && (size == 0 || memcmp(again.data, data, size) == 0));
        ensure(rlp_done(&reader));
    }
    buffer_free(&again);
}

/* The numbers of every width, each from a reader of its own. */
static void read_numbers(const uint8_t *data, size_t size)
{
    struct buffer again = {0};
    struct rlp_reader wide_reader = rlp_reader_of(data, size), narrow_reader = rlp_reader_of(data, size);
    unsigned_wide value = rlp_wide(&wide_reader);
    uint64_t narrow = rlp_u64(&narrow_reader);
    ensure(wide_reader.ok || (value == 0 && !narrow_reader.ok));
    if (rlp_done(&wide_reader)) {
        rlp_put_wide(&again, value);
        ensure(again.length == size && memcmp(again.data, data, size) == 0);
        ensure(narrow_reader.ok == (value <= UINT64_MAX) && (!narrow_reader.ok || narrow == value));
    }
    buffer_free(&again);
}

/* What the sender signed, as bytes, from the parts: 02 || rlp([…]), without the signature. */
static void put_unsigned(struct buffer *out, const struct transaction *transaction)
{
    buffer_u8(out, 2);
    size_t mark = rlp_list_begin(out);
    rlp_put_u64(out, transaction->chain_id);
    rlp_put_u64(out, transaction->nonce);
    rlp_put_wide(out, transaction->max_priority_fee_per_gas);
    rlp_put_wide(out, transaction->max_fee_per_gas);
    rlp_put_u64(out, transaction->gas_limit);
    rlp_put_bytes(out, transaction->to.bytes, transaction->creates ? 0 : sizeof(transaction->to.bytes));
    rlp_put_wide(out, transaction->value);
    rlp_put_bytes(out, transaction->data, transaction->data_length);
    size_t list = rlp_list_begin(out);
    buffer_append(out, transaction->access_list, transaction->access_list_length);
    rlp_list_end(out, list);
    rlp_list_end(out, mark);
}

static enum transaction_error read_raw(const uint8_t *raw, size_t size, struct address *sender,
                                       struct hash *hash)
{
    struct transaction transaction;
    enum transaction_error error = transaction_decode(raw, size, &transaction, sender, hash);
    ensure(transaction_error_text(error) != NULL);
    if (error != TRANSACTION_OK)
        return error;
    struct buffer parts = {0};
    put_unsigned(&parts, &transaction);
    /* Behind the lists' headers, which differ in length, the raw bytes begin with the parts. */
    struct rlp_reader whole = rlp_reader_of(raw + 1, size - 1),
                      unsigned_part = rlp_reader_of(parts.data + 1, parts.length - 1);
    struct rlp_reader in_raw = rlp_list(&whole), in_parts = rlp_list(&unsigned_part);
    ensure(in_raw.ok && in_parts.ok && rlp_done(&unsigned_part) && in_raw.left > in_parts.left);
    ensure(memcmp(in_raw.at, in_parts.at, in_parts.left) == 0);
    buffer_free(&parts);
    return TRANSACTION_OK;
}

static void make_one(struct input *input)
{
    struct secret_key key = {{1, [31] = 9}};
    struct address signer = secret_key_address(&key), sender;
    struct transaction transaction = {.chain_id = input_number(input),
                                      .nonce = input_number(input) % UINT64_MAX};
    transaction.max_priority_fee_per_gas = input_number(input);
    transaction.max_fee_per_gas = transaction.max_priority_fee_per_gas + input_number(input);
    transaction.gas_limit = input_number(input);
    transaction.creates = input_u8(input) == 1;
    if (!transaction.creates)
        transaction.to.bytes[3] = input_u8(input);
    transaction.value = (unsigned_wide)input_number(input) * input_number(input);
    transaction.data = input_bytes(input, 4096, &transaction.data_length);
    struct buffer raw = {0};
    struct hash made = transaction_sign(&transaction, &key, &raw), hash;
    ensure(read_raw(raw.data, raw.length, &sender, &hash) == TRANSACTION_OK);
    ensure(address_equal(&sender, &signer) && hash_equal(&hash, &made));
    raw.data[input_u16(input) % raw.length] ^= (uint8_t)(1u << input_below(input, 8));
    if (read_raw(raw.data, raw.length, &sender, &hash) == TRANSACTION_OK)
        ensure(!hash_equal(&hash, &made) && !address_equal(&sender, &signer));
    buffer_free(&raw);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = input_of(data, size);
    unsigned mode = input_below(&input, 3);
    if (mode == 2) {
        make_one(&input);
        return 0;
    }
    struct address sender;
    struct hash hash;
    size_t length = input.left;
    uint8_t *copy = input_copy(input.at, length);
    if (mode == 1) {
        (void)read_raw(copy, length, &sender, &hash);
    } else {
        read_items(copy, length);
        read_numbers(copy, length);
    }
    free(copy);
    return 0;
}
