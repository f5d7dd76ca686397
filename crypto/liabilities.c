#include "crypto/liabilities.h"

#include <string.h>

#include "crypto/hash.h"

#define STATEMENT_VERSION 1

static const char statement_tag[] = "rill liabilities";
static const char request_tag[] = "rill liabilities request";

void liabilities_write(const struct liabilities *statement, struct buffer *out)
{
    buffer_u8(out, STATEMENT_VERSION);
    buffer_u64(out, statement->number);
    buffer_u64(out, statement->block);
    buffer_u64(out, statement->time);
    buffer_append(out, statement->previous.bytes, sizeof(statement->previous.bytes));
    buffer_u16(out, (uint16_t)statement->asset_count);
    for (size_t i = 0; i < statement->asset_count; i++) {
        const struct liability *asset = &statement->assets[i];
        buffer_append(out, asset->asset.bytes, sizeof(asset->asset.bytes));
        buffer_u64(out, asset->channels);
        buffer_u64(out, asset->clients.units);
        buffer_u64(out, asset->hub.units);
        buffer_u64(out, asset->in_transit.units);
        buffer_append(out, asset->root.bytes, sizeof(asset->root.bytes));
    }
}

static bool read_amount(struct reader *in, struct amount *out)
{
    *out = amount_of(reader_u64(in));
    return out->units < AMOUNT_LIMIT;
}

bool liabilities_read(struct reader *in, struct liabilities *out)
{
    bool good = reader_u8(in) == STATEMENT_VERSION;
    *out = (struct liabilities){.number = reader_u64(in)};
    out->block = reader_u64(in);
    out->time = reader_u64(in);
    reader_copy(in, out->previous.bytes, sizeof(out->previous.bytes));
    out->asset_count = reader_u16(in);
    if (out->asset_count > ASSETS_MAX)
        return false;
    for (size_t i = 0; i < out->asset_count; i++) {
        struct liability *asset = &out->assets[i];
        reader_copy(in, asset->asset.bytes, sizeof(asset->asset.bytes));
        asset->channels = reader_u64(in);
        good = read_amount(in, &asset->clients) && good;
        good = read_amount(in, &asset->hub) && good;
        good = read_amount(in, &asset->in_transit) && good;
        reader_copy(in, asset->root.bytes, sizeof(asset->root.bytes));
    }
    return good && reader_done(in);
}

struct hash liabilities_event(const struct liabilities *statement)
{
    struct buffer text = {0};
    liabilities_write(statement, &text);
    struct hash event = keccak256_pair(statement_tag, sizeof(statement_tag) - 1, text.data, text.length);
    buffer_free(&text);
    return event;
}

struct hash liabilities_digest(const struct domain *domain, const struct liabilities *statement)
{
    struct hash event = liabilities_event(statement);
    return digest_attestation(domain, &event);
}

struct sum_node liabilities_leaf(const struct liability_leaf *leaf)
{
    uint8_t content[32 + 3 * 8 + 32];
    memcpy(content, leaf->channel.bytes, 32);
    store_be64(content + 32, leaf->balance.units);
    store_be64(content + 40, leaf->nonce_client);
    store_be64(content + 48, leaf->nonce_hub);
    memcpy(content + 56, leaf->salt.bytes, 32);
    return sum_leaf(content, sizeof(content), leaf->balance);
}

struct hash liabilities_request_digest(const struct domain *domain, const struct channel_key *key,
                                       uint64_t number)
{
    uint8_t wanted[32 + 8];
    struct hash id = channel_id(key);
    memcpy(wanted, id.bytes, 32);
    store_be64(wanted + 32, number);
    struct hash challenge = keccak256_pair(request_tag, sizeof(request_tag) - 1, wanted, sizeof(wanted));
    return digest_session(domain, &key->client, &challenge, &HASH_ZERO);
}
