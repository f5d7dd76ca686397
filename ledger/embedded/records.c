#include "ledger/embedded/records.h"

#include <string.h>

#include "base/ensure.h"

bool record_is_state(uint8_t type)
{
    return (type >= RECORD_ACCOUNT && type <= RECORD_ALLOWANCE) ||
           (type >= RECORD_ASSET && type <= RECORD_COINS);
}

/* A value being written; each is far below the room. */
struct writer {
    uint8_t bytes[STATE_VALUE_MAX];
    size_t length;
};

static uint8_t *writer_extend(struct writer *writer, size_t length)
{
    ensure(writer->length + length <= sizeof(writer->bytes));
    uint8_t *at = writer->bytes + writer->length;
    writer->length += length;
    return at;
}

static void put_u8(struct writer *writer, uint8_t value)
{
    *writer_extend(writer, 1) = value;
}

static void put_u64(struct writer *writer, uint64_t value)
{
    store_be64(writer_extend(writer, 8), value);
}

static void put_wide(struct writer *writer, unsigned_wide value)
{
    wide_store(writer_extend(writer, 16), value);
}

static void put_bytes(struct writer *writer, const void *data, size_t length)
{
    if (length > 0)
        memcpy(writer_extend(writer, length), data, length);
}

static void put_number(struct writer *writer, struct uint256 value)
{
    uint256_store(writer_extend(writer, 32), value);
}

static unsigned_wide take_wide(struct reader *reader)
{
    uint8_t bytes[16];
    reader_copy(reader, bytes, sizeof(bytes));
    return wide_load(bytes);
}

static struct uint256 take_number(struct reader *reader)
{
    uint8_t bytes[32];
    reader_copy(reader, bytes, sizeof(bytes));
    return uint256_load(bytes);
}

/* Reads zeros, with ok false, where there is no value. */
static struct reader value_of(const struct state *state, uint8_t type, const void *key, size_t key_length)
{
    size_t length;
    const uint8_t *value = state_get(state, type, key, key_length, &length);
    if (value == NULL)
        return (struct reader){NULL, 0, false};
    return reader_of(value, length);
}

static void save(struct state *state, uint8_t type, const void *key, size_t key_length,
                 const struct writer *value)
{
    state_put(state, type, key, key_length, value->bytes, value->length);
}

/* Keys of two or three addresses, and of a channel's stream and leaf. */
struct pair_key {
    struct address a, b;
};
struct triple_key {
    struct address a, b, c;
};
struct leaf_key {
    struct hash channel;
    uint8_t stream;
    struct hash leaf;
};
struct condition_key {
    uint8_t kind;
    struct hash condition;
};
_Static_assert(sizeof(struct triple_key) == 60 && sizeof(struct leaf_key) == 65 &&
                   sizeof(struct condition_key) == 33,
               "keys have no padding");
_Static_assert(sizeof(struct leaf_key) <= STATE_KEY_MAX, "the longest key fits");

/* What the saves below write: bytes of key and value. */
static const struct shape {
    uint8_t type, key_length;
    uint16_t value_length;
} shapes[] = {
    {RECORD_ACCOUNT, 20, 40}, {RECORD_TOKEN_BALANCE, 40, 32}, {RECORD_ALLOWANCE, 60, 32},
    {RECORD_ASSET, 20, 88},   {RECORD_CHANNEL, 32, 41},       {RECORD_CLOSING, 32, 216},
    {RECORD_HELD, 32, 36},    {RECORD_UNLOCKED, 65, 1},       {RECORD_OWED, 40, 16},
    {RECORD_TOWER, 20, 1},    {RECORD_REGISTERED, 33, 8},     {RECORD_COUNTER, 1, 8},
    {RECORD_COINS, 0, 64},
};

static bool text_is_sound(struct reader *reader)
{
    size_t length = reader_u8(reader);
    const uint8_t *text = reader_take(reader, length);
    return reader->ok && length <= TOKEN_TEXT_MAX && (length == 0 || memchr(text, '\0', length) == NULL);
}

static bool token_is_sound(const struct record *record)
{
    struct reader reader = reader_of(record->value, record->value_length);
    (void)reader_take(&reader, 32 + 1); /* supply, decimals */
    return record->key_length == sizeof(struct address) && text_is_sound(&reader) && text_is_sound(&reader) &&
           reader_done(&reader);
}

bool record_is_sound(const struct record *record)
{
    if (record->type == RECORD_TOKEN)
        return token_is_sound(record);
    for (size_t i = 0; i < ARRAY_LENGTH(shapes); i++)
        if (shapes[i].type == record->type)
            return record->key_length == shapes[i].key_length &&
                   record->value_length == shapes[i].value_length;
    return false;
}

uint64_t counter_load(const struct state *state, enum counter which)
{
    uint8_t key = (uint8_t)which;
    struct reader value = value_of(state, RECORD_COUNTER, &key, 1);
    return reader_u64(&value);
}

void counter_save(struct state *state, enum counter which, uint64_t number)
{
    uint8_t key = (uint8_t)which;
    struct writer value = {.length = 0};
    put_u64(&value, number);
    save(state, RECORD_COUNTER, &key, 1, &value);
}

struct coins coins_load(const struct state *state)
{
    struct reader value = value_of(state, RECORD_COINS, NULL, 0);
    struct coins coins;
    coins.issued = take_number(&value);
    coins.burned = take_number(&value);
    return coins;
}

void coins_save(struct state *state, const struct coins *coins)
{
    struct writer value = {.length = 0};
    put_number(&value, coins->issued);
    put_number(&value, coins->burned);
    save(state, RECORD_COINS, NULL, 0, &value);
}

struct account account_load(const struct state *state, const struct address *address)
{
    struct reader value = value_of(state, RECORD_ACCOUNT, address, sizeof(*address));
    struct account account;
    account.balance = take_number(&value);
    account.nonce = reader_u64(&value);
    return account;
}

void account_save(struct state *state, const struct address *address, const struct account *account)
{
    struct writer value = {.length = 0};
    put_number(&value, account->balance);
    put_u64(&value, account->nonce);
    save(state, RECORD_ACCOUNT, address, sizeof(*address), &value);
}

static void take_text(struct reader *reader, char out[TOKEN_TEXT_MAX + 1])
{
    size_t length = reader_u8(reader);
    ensure(length <= TOKEN_TEXT_MAX);
    reader_copy(reader, out, length);
    out[length] = '\0';
}

bool token_exists(const struct state *state, const struct address *address)
{
    size_t length;
    return state_get(state, RECORD_TOKEN, address, sizeof(*address), &length) != NULL;
}

bool token_load(const struct state *state, const struct address *address, struct token *out)
{
    if (!token_exists(state, address))
        return false;
    struct reader value = value_of(state, RECORD_TOKEN, address, sizeof(*address));
    out->supply = take_number(&value);
    out->decimals = reader_u8(&value);
    take_text(&value, out->name);
    take_text(&value, out->symbol);
    ensure(reader_done(&value));
    return true;
}

void token_save(struct state *state, const struct address *address, const struct token *token)
{
    struct writer value = {.length = 0};
    put_number(&value, token->supply);
    put_u8(&value, token->decimals);
    put_u8(&value, (uint8_t)strlen(token->name));
    put_bytes(&value, token->name, strlen(token->name));
    put_u8(&value, (uint8_t)strlen(token->symbol));
    put_bytes(&value, token->symbol, strlen(token->symbol));
    save(state, RECORD_TOKEN, address, sizeof(*address), &value);
}

struct uint256 token_balance_load(const struct state *state, const struct address *token,
                                  const struct address *owner)
{
    struct pair_key key = {*token, *owner};
    struct reader value = value_of(state, RECORD_TOKEN_BALANCE, &key, sizeof(key));
    return take_number(&value);
}

void token_balance_save(struct state *state, const struct address *token, const struct address *owner,
                        struct uint256 balance)
{
    struct pair_key key = {*token, *owner};
    struct writer value = {.length = 0};
    put_number(&value, balance);
    save(state, RECORD_TOKEN_BALANCE, &key, sizeof(key), &value);
}

struct uint256 allowance_load(const struct state *state, const struct address *token,
                              const struct address *owner, const struct address *spender)
{
    struct triple_key key = {*token, *owner, *spender};
    struct reader value = value_of(state, RECORD_ALLOWANCE, &key, sizeof(key));
    return take_number(&value);
}

void allowance_save(struct state *state, const struct address *token, const struct address *owner,
                    const struct address *spender, struct uint256 allowance)
{
    struct triple_key key = {*token, *owner, *spender};
    struct writer value = {.length = 0};
    put_number(&value, allowance);
    save(state, RECORD_ALLOWANCE, &key, sizeof(key), &value);
}

struct asset_record asset_load(const struct state *state, const struct address *asset)
{
    struct reader value = value_of(state, RECORD_ASSET, asset, sizeof(*asset));
    struct asset_record record;
    record.unit = take_wide(&value);
    record.pool = amount_of(reader_u64(&value));
    record.in_channels = take_wide(&value);
    record.in_held = take_wide(&value);
    record.in_owed = take_wide(&value);
    record.custody = take_wide(&value);
    return record;
}

void asset_save(struct state *state, const struct address *asset, const struct asset_record *record)
{
    struct writer value = {.length = 0};
    put_wide(&value, record->unit);
    put_u64(&value, record->pool.units);
    put_wide(&value, record->in_channels);
    put_wide(&value, record->in_held);
    put_wide(&value, record->in_owed);
    put_wide(&value, record->custody);
    save(state, RECORD_ASSET, asset, sizeof(*asset), &value);
}

struct channel_state channel_load(const struct state *state, const struct hash *channel)
{
    struct reader value = value_of(state, RECORD_CHANNEL, channel, sizeof(*channel));
    struct address asset;
    reader_copy(&value, &asset, sizeof(asset));
    struct channel_state out;
    out.total = amount_of(reader_u64(&value));
    out.base = (int64_t)reader_u64(&value);
    out.seq = reader_u32(&value);
    out.status = reader_u8(&value);
    return out;
}

void channel_save(struct state *state, const struct hash *channel, const struct address *asset,
                  const struct channel_state *now)
{
    struct writer value = {.length = 0};
    put_bytes(&value, asset, sizeof(*asset));
    put_u64(&value, now->total.units);
    put_u64(&value, (uint64_t)now->base);
    store_be32(writer_extend(&value, 4), now->seq);
    put_u8(&value, now->status);
    save(state, RECORD_CHANNEL, channel, sizeof(*channel), &value);
}

static struct claim take_claim(struct reader *reader)
{
    struct claim claim;
    claim.nonce = reader_u64(reader);
    claim.transferred = amount_of(reader_u64(reader));
    claim.locked = amount_of(reader_u64(reader));
    reader_copy(reader, &claim.locks_root, sizeof(claim.locks_root));
    return claim;
}

static void put_claim(struct writer *value, const struct claim *claim)
{
    put_u64(value, claim->nonce);
    put_u64(value, claim->transferred.units);
    put_u64(value, claim->locked.units);
    put_bytes(value, &claim->locks_root, sizeof(claim->locks_root));
}

struct closing closing_load(const struct state *state, const struct hash *channel)
{
    struct reader value = value_of(state, RECORD_CLOSING, channel, sizeof(*channel));
    struct closing closing;
    closing.by_hub = reader_u8(&value) != 0;
    closing.challenged = reader_u8(&value) != 0;
    closing.by_partner = reader_u8(&value) != 0;
    closing.fraud = reader_u8(&value) != 0;
    closing.deadline = reader_u64(&value);
    reader_copy(&value, &closing.tower, sizeof(closing.tower));
    closing.min_nonce_of_client = reader_u64(&value);
    closing.min_nonce_of_hub = reader_u64(&value);
    closing.own = take_claim(&value);
    closing.of_client = take_claim(&value);
    closing.of_hub = take_claim(&value);
    return closing;
}

void closing_save(struct state *state, const struct hash *channel, const struct closing *closing)
{
    struct writer value = {.length = 0};
    put_u8(&value, closing->by_hub);
    put_u8(&value, closing->challenged);
    put_u8(&value, closing->by_partner);
    put_u8(&value, closing->fraud);
    put_u64(&value, closing->deadline);
    put_bytes(&value, &closing->tower, sizeof(closing->tower));
    put_u64(&value, closing->min_nonce_of_client);
    put_u64(&value, closing->min_nonce_of_hub);
    put_claim(&value, &closing->own);
    put_claim(&value, &closing->of_client);
    put_claim(&value, &closing->of_hub);
    save(state, RECORD_CLOSING, channel, sizeof(*channel), &value);
}

struct held held_load(const struct state *state, const struct hash *channel)
{
    struct reader value = value_of(state, RECORD_HELD, channel, sizeof(*channel));
    struct address asset;
    reader_copy(&value, &asset, sizeof(asset));
    struct held held;
    held.of_client = amount_of(reader_u64(&value));
    held.of_hub = amount_of(reader_u64(&value));
    return held;
}

void held_save(struct state *state, const struct hash *channel, const struct address *asset,
               const struct held *held)
{
    struct writer value = {.length = 0};
    put_bytes(&value, asset, sizeof(*asset));
    put_u64(&value, held->of_client.units);
    put_u64(&value, held->of_hub.units);
    save(state, RECORD_HELD, channel, sizeof(*channel), &value);
}

bool unlocked_load(const struct state *state, const struct hash *channel, enum side stream,
                   const struct hash *leaf)
{
    struct leaf_key key = {*channel, (uint8_t)stream, *leaf};
    struct reader value = value_of(state, RECORD_UNLOCKED, &key, sizeof(key));
    return reader_u8(&value) != 0;
}

void unlocked_save(struct state *state, const struct hash *channel, enum side stream, const struct hash *leaf)
{
    struct leaf_key key = {*channel, (uint8_t)stream, *leaf};
    struct writer value = {.length = 0};
    put_u8(&value, 1);
    save(state, RECORD_UNLOCKED, &key, sizeof(key), &value);
}

unsigned_wide owed_load(const struct state *state, const struct address *to, const struct address *asset)
{
    struct pair_key key = {*to, *asset};
    struct reader value = value_of(state, RECORD_OWED, &key, sizeof(key));
    return take_wide(&value);
}

void owed_save(struct state *state, const struct address *to, const struct address *asset,
               unsigned_wide units)
{
    struct pair_key key = {*to, *asset};
    struct writer value = {.length = 0};
    put_wide(&value, units);
    save(state, RECORD_OWED, &key, sizeof(key), &value);
}

bool tower_load(const struct state *state, const struct address *tower)
{
    struct reader value = value_of(state, RECORD_TOWER, tower, sizeof(*tower));
    return reader_u8(&value) != 0;
}

void tower_save(struct state *state, const struct address *tower, bool allowed)
{
    struct writer value = {.length = 0};
    put_u8(&value, allowed);
    save(state, RECORD_TOWER, tower, sizeof(*tower), &value);
}

uint64_t registered_load(const struct state *state, uint8_t kind, const struct hash *condition)
{
    struct condition_key key = {kind, *condition};
    struct reader value = value_of(state, RECORD_REGISTERED, &key, sizeof(key));
    return reader_u64(&value);
}

void registered_save(struct state *state, uint8_t kind, const struct hash *condition, uint64_t time)
{
    struct condition_key key = {kind, *condition};
    struct writer value = {.length = 0};
    put_u64(&value, time);
    save(state, RECORD_REGISTERED, &key, sizeof(key), &value);
}
