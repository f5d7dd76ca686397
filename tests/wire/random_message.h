/* Random messages of every type, from a seed: the same seed gives the same messages. */
#ifndef RILL_TESTS_WIRE_RANDOM_MESSAGE_H
#define RILL_TESTS_WIRE_RANDOM_MESSAGE_H

#include <string.h>

#include "wire/message.h"

static const enum message_type all_types[] = {MESSAGE_HELLO,
                                              MESSAGE_CHALLENGE,
                                              MESSAGE_AUTH,
                                              MESSAGE_WELCOME,
                                              MESSAGE_REDIRECT,
                                              MESSAGE_UPDATE,
                                              MESSAGE_ACK,
                                              MESSAGE_REVEAL,
                                              MESSAGE_FAIL,
                                              MESSAGE_REVOKE,
                                              MESSAGE_SETTLE_REQUEST,
                                              MESSAGE_SETTLE_PROPOSE,
                                              MESSAGE_SETTLE_SIGN,
                                              MESSAGE_SETTLED,
                                              MESSAGE_PING,
                                              MESSAGE_PONG,
                                              MESSAGE_ERROR,
                                              MESSAGE_FUNDED,
                                              MESSAGE_RESUME,
                                              MESSAGE_CHANNEL,
                                              MESSAGE_LOCKS,
                                              MESSAGE_OPEN_REQUEST,
                                              MESSAGE_APPOINT,
                                              MESSAGE_RECEIPT,
                                              MESSAGE_FETCH,
                                              MESSAGE_KEPT};

/* Where a random message's lists live. */
struct random_source {
    uint64_t state;
    struct terms terms;
    struct revealed revealed[8];
    struct failed failed[8];
    struct payment_id ids[8];
    struct shown_drop drops[2][8];
    struct shown_lock locks[8];
    struct witness witnesses[8];
    struct operation operations[16];
    struct buffer body;
};

static inline uint64_t random_u64(struct random_source *source)
{
    /* splitmix64 */
    uint64_t z = source->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static inline uint64_t random_below(struct random_source *source, uint64_t limit)
{
    return random_u64(source) % limit;
}

/* Numbers of every width, and the edges of the widths. */
static inline uint64_t random_number(struct random_source *source)
{
    static const uint64_t edges[] = {0,          1,
                                     31,         32,
                                     127,        128,
                                     255,        256,
                                     65535,      65536,
                                     UINT32_MAX, (uint64_t)UINT32_MAX + 1,
                                     INT64_MAX,  (uint64_t)INT64_MAX + 1,
                                     UINT64_MAX};
    if (random_below(source, 3) == 0)
        return edges[random_below(source, ARRAY_LENGTH(edges))];
    return random_u64(source) >> random_below(source, 64);
}

static inline int64_t random_signed(struct random_source *source)
{
    return (int64_t)random_number(source);
}

static inline bool random_bool(struct random_source *source)
{
    return random_below(source, 2) == 1;
}

static inline struct amount random_amount(struct random_source *source)
{
    return amount_of(random_number(source));
}

static inline void random_fill(struct random_source *source, void *out, size_t length)
{
    uint8_t *bytes = out;
    for (size_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)random_u64(source);
}
#define RANDOM_FILL(source, field) random_fill(source, &(field), sizeof(field))

/* Text of up to max bytes, with characters of one to four bytes. */
static inline struct text random_text(struct random_source *source, size_t max)
{
    static const char letters[] =
        "a quick note \xc3\xa9t\xc3\xa9 \xe8\xb2\xb8\xe6\xac\xbe \xf0\x9f\x8d\x89 and much more of it, "
        "so that texts of several lengths can be cut out of this one; "
        "it goes on for a while, as some people do when they write to each other about money, "
        "and ends some time after the two hundred and fifty-sixth byte, not sooner";
    size_t length = random_below(source, (max < sizeof letters - 1 ? max : sizeof letters - 1) + 1);
    while (!utf8_is_valid((const uint8_t *)letters, length))
        length--;
    return (struct text){letters, length};
}

static inline void random_witness(struct random_source *source, struct witness *out)
{
    static const uint8_t lengths[] = {0, WITNESS_SECRET_BYTES, WITNESS_ATTESTATION_BYTES};
    memset(out, 0, sizeof *out);
    out->length = lengths[random_below(source, 3)];
    random_fill(source, out->bytes, out->length);
}

static inline struct operation random_operation(struct random_source *source)
{
    struct operation out = {.type = (enum operation_type)(1 + random_below(source, 6))};
    if (out.type == OPERATION_PAY || out.type == OPERATION_LOCK || out.type == OPERATION_REFUND) {
        RANDOM_FILL(source, out.id);
        out.amount = random_amount(source);
    }
    if (out.type == OPERATION_PAY || out.type == OPERATION_LOCK) {
        RANDOM_FILL(source, out.peer);
        out.fee = random_amount(source);
        out.expiry = random_number(source);
        RANDOM_FILL(source, out.condition);
        out.memo = random_text(source, MEMO_BYTES_MAX);
    }
    if (out.type == OPERATION_LOCK)
        out.kind = (uint8_t)random_below(source, 2);
    if (out.type == OPERATION_REFUND)
        out.code = random_number(source);
    else if (out.type != OPERATION_PAY)
        out.lock_id = random_number(source);
    if (out.type == OPERATION_UNLOCK)
        random_witness(source, &out.witness);
    return out;
}

static inline void random_body(struct random_source *source)
{
    size_t count = 1 + random_below(source, ARRAY_LENGTH(source->operations));
    for (size_t i = 0; i < count; i++)
        source->operations[i] = random_operation(source);
    buffer_clear(&source->body);
    body_encode(&source->body, source->operations, count);
}

static inline struct balance_proof random_proof(struct random_source *source)
{
    struct balance_proof out = {.nonce = random_number(source)};
    out.transferred = random_amount(source);
    out.locked = random_amount(source);
    RANDOM_FILL(source, out.locks_root);
    RANDOM_FILL(source, out.body_hash);
    return out;
}

static inline void random_shown_proof(struct random_source *source, struct shown_proof *out)
{
    out->present = random_bool(source);
    if (!out->present)
        return;
    out->proof = random_proof(source);
    RANDOM_FILL(source, out->signature);
}

static inline void random_revocation(struct random_source *source, struct shown_revocation *out)
{
    out->present = random_bool(source);
    if (!out->present)
        return;
    out->min_nonce = random_number(source);
    RANDOM_FILL(source, out->signature);
}

static inline size_t random_locks(struct random_source *source, bool with_payment)
{
    size_t count = random_below(source, ARRAY_LENGTH(source->locks) + 1);
    for (size_t i = 0; i < count; i++) {
        struct shown_lock *shown = &source->locks[i];
        memset(shown, 0, sizeof *shown);
        shown->lock = (struct lock){.id = random_number(source), .amount = random_amount(source)};
        shown->lock.expiry = random_number(source);
        shown->lock.kind = (uint8_t)random_below(source, 2);
        RANDOM_FILL(source, shown->lock.condition);
        if (with_payment)
            RANDOM_FILL(source, shown->payment);
    }
    return count;
}

static inline void random_terms(struct random_source *source)
{
    struct terms *terms = &source->terms;
    memset(terms, 0, sizeof *terms);
    terms->confirmations = (uint32_t)random_number(source);
    terms->reveal_margin_s = random_number(source);
    terms->min_expiry_s = random_number(source);
    terms->max_expiry_s = random_number(source);
    terms->settle_window_s = random_number(source);
    terms->asset_count = random_below(source, 4);
    for (size_t i = 0; i < terms->asset_count; i++) {
        struct asset_terms *asset = &terms->assets[i];
        RANDOM_FILL(source, asset->asset);
        asset->base_fee = random_amount(source);
        asset->fee_ppm = (uint32_t)random_number(source);
        asset->direct_limit = random_amount(source);
        asset->reserve_bps = (uint16_t)random_number(source);
        asset->min_lock = random_amount(source);
        asset->max_lock = random_amount(source);
        asset->max_locks_per_payer = (uint32_t)random_number(source);
    }
}

static inline void random_reference(struct random_source *source, struct error_reference *out)
{
    uint64_t count = random_below(source, 4);
    out->present = count > 0;
    if (count > 0)
        out->type = random_number(source);
    out->has_channel = count > 1;
    if (count > 1)
        RANDOM_FILL(source, out->channel);
    out->has_id = count > 2 && random_bool(source);
    out->has_nonce = count > 2 && !out->has_id;
    if (out->has_id)
        RANDOM_FILL(source, out->id);
    if (out->has_nonce)
        out->nonce = random_number(source);
}

static inline void random_channel(struct random_source *source, struct message *out)
{
    RANDOM_FILL(source, out->channel.key.client);
    RANDOM_FILL(source, out->channel.key.asset);
    out->channel.key.salt = random_number(source);
    out->channel.total = random_amount(source);
    out->channel.base = random_signed(source);
    out->channel.seq = (uint32_t)random_number(source);
    out->channel.status = (uint8_t)random_below(source, 4);
    struct shown_settlement *settlement = &out->channel.settlement;
    settlement->present = random_bool(source);
    if (settlement->present) {
        settlement->seq = (uint32_t)random_number(source);
        settlement->client_out = random_amount(source);
        settlement->hub_out = random_amount(source);
        settlement->deadline = random_number(source);
        settlement->close = random_bool(source);
        settlement->has_signature = random_bool(source);
        if (settlement->has_signature)
            RANDOM_FILL(source, settlement->signature);
    }
    for (size_t side = 0; side < 2; side++) {
        struct shown_stream *stream = &out->channel.streams[side];
        random_shown_proof(source, &stream->newest);
        stream->last_lock_id = random_number(source);
        random_revocation(source, &stream->revocation);
        stream->drop_count = random_below(source, ARRAY_LENGTH(source->drops[side]) + 1);
        stream->drops = source->drops[side];
        for (size_t i = 0; i < stream->drop_count; i++)
            source->drops[side][i] = (struct shown_drop){random_number(source), random_amount(source)};
    }
}

static inline void random_appoint(struct random_source *source, struct message *out)
{
    RANDOM_FILL(source, out->appoint.key.client);
    RANDOM_FILL(source, out->appoint.key.asset);
    out->appoint.key.salt = random_number(source);
    random_shown_proof(source, &out->appoint.proof);
    out->appoint.has_choice = random_bool(source);
    if (out->appoint.has_choice)
        RANDOM_FILL(source, out->appoint.choice);
    out->appoint.lock_count = random_locks(source, false);
    out->appoint.locks = source->locks;
    out->appoint.witness_count = random_below(source, ARRAY_LENGTH(source->witnesses) + 1);
    out->appoint.witnesses = source->witnesses;
    for (size_t i = 0; i < out->appoint.witness_count; i++)
        random_witness(source, &source->witnesses[i]);
    random_revocation(source, &out->appoint.revocation);
}

static inline void random_lists(struct random_source *source, struct message *out)
{
    size_t count = random_below(source, ARRAY_LENGTH(source->ids) + 1);
    for (size_t i = 0; i < count; i++) {
        RANDOM_FILL(source, source->ids[i]);
        source->revealed[i].id = source->failed[i].id = source->ids[i];
        random_witness(source, &source->revealed[i].witness);
        source->failed[i].code = random_number(source);
    }
    if (out->type == MESSAGE_REVEAL) {
        RANDOM_FILL(source, out->reveal.channel);
        out->reveal.items = source->revealed;
        out->reveal.count = count;
    } else if (out->type == MESSAGE_FAIL) {
        RANDOM_FILL(source, out->fail.channel);
        out->fail.items = source->failed;
        out->fail.count = count;
    } else {
        RANDOM_FILL(source, out->resume.channel);
        out->resume.received = random_number(source);
        out->resume.own = random_number(source);
        out->resume.ids = source->ids;
        out->resume.count = count;
    }
}

static inline void random_update(struct random_source *source, struct update *out)
{
    random_body(source);
    RANDOM_FILL(source, out->channel);
    out->proof = random_proof(source);
    out->body = source->body.data;
    out->body_length = source->body.length;
    RANDOM_FILL(source, out->signature);
}

static inline void random_settlement_message(struct random_source *source, struct message *out)
{
    switch (out->type) {
    case MESSAGE_SETTLE_REQUEST:
        RANDOM_FILL(source, out->settle_request.channel);
        out->settle_request.amount = random_amount(source);
        out->settle_request.close = random_bool(source);
        break;
    case MESSAGE_SETTLE_PROPOSE:
        RANDOM_FILL(source, out->settle_propose.channel);
        out->settle_propose.seq = (uint32_t)random_number(source);
        out->settle_propose.client_out = random_amount(source);
        out->settle_propose.hub_out = random_amount(source);
        out->settle_propose.deadline = random_number(source);
        out->settle_propose.close = random_bool(source);
        break;
    case MESSAGE_SETTLE_SIGN:
        RANDOM_FILL(source, out->settle_sign.channel);
        out->settle_sign.seq = (uint32_t)random_number(source);
        RANDOM_FILL(source, out->settle_sign.signature);
        break;
    default:
        RANDOM_FILL(source, out->settled.channel);
        out->settled.seq = (uint32_t)random_number(source);
        out->settled.outcome = (uint8_t)random_below(source, 7);
        RANDOM_FILL(source, out->settled.transaction);
        out->settled.block = random_number(source);
    }
}

static inline void random_handshake_message(struct random_source *source, struct message *out)
{
    switch (out->type) {
    case MESSAGE_HELLO:
        out->hello.version = 1;
        RANDOM_FILL(source, out->hello.client);
        RANDOM_FILL(source, out->hello.nonce);
        out->hello.agent = random_text(source, AGENT_BYTES_MAX);
        break;
    case MESSAGE_CHALLENGE:
        RANDOM_FILL(source, out->challenge.challenge);
        RANDOM_FILL(source, out->challenge.hub);
        out->challenge.chain_id = random_number(source);
        RANDOM_FILL(source, out->challenge.contract);
        RANDOM_FILL(source, out->challenge.signature);
        break;
    case MESSAGE_AUTH:
        RANDOM_FILL(source, out->auth.signature);
        break;
    case MESSAGE_WELCOME:
        random_terms(source);
        out->welcome.terms = &source->terms;
        out->welcome.channels = random_number(source);
        break;
    default:
        out->redirect.host = (struct text){"hub.example.org", 1 + random_below(source, 15)};
        out->redirect.port = (uint16_t)(1 + random_below(source, UINT16_MAX));
    }
}

/* The message's lists, texts and body live in source, until the next one. */
static inline struct message random_message(struct random_source *source, enum message_type type)
{
    struct message out;
    memset(&out, 0, sizeof out);
    out.type = type;
    switch (type) {
    case MESSAGE_HELLO:
    case MESSAGE_CHALLENGE:
    case MESSAGE_AUTH:
    case MESSAGE_WELCOME:
    case MESSAGE_REDIRECT:
        random_handshake_message(source, &out);
        break;
    case MESSAGE_UPDATE:
        random_update(source, &out.update);
        break;
    case MESSAGE_ACK:
        RANDOM_FILL(source, out.ack.channel);
        out.ack.nonce = random_number(source);
        break;
    case MESSAGE_REVEAL:
    case MESSAGE_FAIL:
    case MESSAGE_RESUME:
        random_lists(source, &out);
        break;
    case MESSAGE_REVOKE:
        RANDOM_FILL(source, out.revoke.channel);
        out.revoke.min_nonce = random_number(source);
        RANDOM_FILL(source, out.revoke.signature);
        break;
    case MESSAGE_SETTLE_REQUEST:
    case MESSAGE_SETTLE_PROPOSE:
    case MESSAGE_SETTLE_SIGN:
    case MESSAGE_SETTLED:
        random_settlement_message(source, &out);
        break;
    case MESSAGE_PING:
    case MESSAGE_PONG:
        RANDOM_FILL(source, out.ping);
        break;
    case MESSAGE_ERROR:
        out.error.code = random_number(source);
        out.error.text = random_text(source, TEXT_BYTES_MAX);
        out.error.fatal = random_bool(source);
        random_reference(source, &out.error.reference);
        break;
    case MESSAGE_FUNDED:
        RANDOM_FILL(source, out.funded.channel);
        out.funded.total = random_amount(source);
        out.funded.base = random_signed(source);
        out.funded.seq = (uint32_t)random_number(source);
        out.funded.block = random_number(source);
        break;
    case MESSAGE_CHANNEL:
        random_channel(source, &out);
        break;
    case MESSAGE_LOCKS:
        RANDOM_FILL(source, out.locks.channel);
        out.locks.stream = (uint8_t)random_below(source, 2);
        out.locks.count = random_locks(source, true);
        out.locks.locks = source->locks;
        out.locks.last = random_bool(source);
        break;
    case MESSAGE_OPEN_REQUEST:
        RANDOM_FILL(source, out.open_request.asset);
        out.open_request.inbound = random_amount(source);
        break;
    case MESSAGE_APPOINT:
    case MESSAGE_KEPT:
        random_appoint(source, &out);
        break;
    case MESSAGE_RECEIPT:
        RANDOM_FILL(source, out.receipt.channel);
        out.receipt.nonce = random_number(source);
        RANDOM_FILL(source, out.receipt.proof_digest);
        RANDOM_FILL(source, out.receipt.signature);
        break;
    case MESSAGE_FETCH:
        RANDOM_FILL(source, out.fetch.channel);
        break;
    }
    return out;
}

#endif
