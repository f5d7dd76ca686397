#include "ledger/contract_parts.h"

enum { CHANNEL_WORDS = 4, CLOSING_WORDS = 8 + 3 * CLAIM_WORDS };

void contract_encode_channel(struct buffer *out, const struct channel_state *state)
{
    abi_put_amount(out, state->total);
    abi_put_int64(out, state->base);
    abi_put_wide(out, state->seq);
    abi_put_wide(out, state->status);
}

bool contract_decode_channel(const uint8_t *data, size_t length, struct channel_state *out)
{
    struct abi_reader reader = abi_reader_of(data, length, CHANNEL_WORDS * ABI_WORD);
    struct channel_state state = {.total = abi_amount(&reader)};
    state.base = abi_int64(&reader);
    state.seq = abi_u32(&reader);
    state.status = abi_u8(&reader);
    if (!reader.ok)
        return false;
    *out = state;
    return true;
}

void contract_encode_closing(struct buffer *out, const struct closing *closing)
{
    abi_put_bool(out, closing->by_hub);
    abi_put_bool(out, closing->challenged);
    abi_put_bool(out, closing->by_partner);
    abi_put_bool(out, closing->fraud);
    abi_put_u64(out, closing->deadline);
    abi_put_address(out, &closing->tower);
    abi_put_u64(out, closing->min_nonce_of_client);
    abi_put_u64(out, closing->min_nonce_of_hub);
    put_claim(out, &closing->own);
    put_claim(out, &closing->of_client);
    put_claim(out, &closing->of_hub);
}

bool contract_decode_closing(const uint8_t *data, size_t length, struct closing *out)
{
    struct abi_reader reader = abi_reader_of(data, length, CLOSING_WORDS * ABI_WORD);
    struct closing closing = {.by_hub = abi_bool(&reader)};
    closing.challenged = abi_bool(&reader);
    closing.by_partner = abi_bool(&reader);
    closing.fraud = abi_bool(&reader);
    closing.deadline = abi_u64(&reader);
    closing.tower = abi_address(&reader);
    closing.min_nonce_of_client = abi_u64(&reader);
    closing.min_nonce_of_hub = abi_u64(&reader);
    closing.own = get_claim(&reader);
    closing.of_client = get_claim(&reader);
    closing.of_hub = get_claim(&reader);
    if (!reader.ok)
        return false;
    *out = closing;
    return true;
}

void contract_encode_word(struct buffer *out, unsigned_wide value)
{
    abi_put_wide(out, value);
}

/* A reader that stands at the word with this index. */
static struct abi_reader reader_at(const uint8_t *data, size_t length, size_t index)
{
    size_t words = length / ABI_WORD;
    struct abi_reader reader = abi_reader_of(data, length, 0);
    reader.ok = index < words;
    reader.at = reader.ok ? index * ABI_WORD : 0;
    return reader;
}

bool contract_decode_word(const uint8_t *data, size_t length, size_t index, unsigned_wide *out)
{
    struct abi_reader reader = reader_at(data, length, index);
    unsigned_wide value = abi_wide(&reader);
    if (!reader.ok)
        return false;
    *out = value;
    return true;
}

bool contract_decode_address(const uint8_t *data, size_t length, size_t index, struct address *out)
{
    struct abi_reader reader = reader_at(data, length, index);
    struct address address = abi_address(&reader);
    if (!reader.ok)
        return false;
    *out = address;
    return true;
}
