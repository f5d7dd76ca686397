#include <string.h>

#include "crypto/hash.h"
#include "wire/decoder.h"

static void read_hash(struct cursor *cursor, struct hash *out)
{
    cursor_bytes(cursor, out->bytes, sizeof out->bytes);
}

static void read_address(struct cursor *cursor, struct address *out)
{
    cursor_bytes(cursor, out->bytes, sizeof out->bytes);
}

static void read_signature(struct cursor *cursor, struct signature *out)
{
    cursor_bytes(cursor, out->bytes, sizeof out->bytes);
}

static void read_payment_id(struct cursor *cursor, struct payment_id *out)
{
    cursor_bytes(cursor, out->bytes, sizeof out->bytes);
}

static uint64_t read_u64(struct cursor *cursor)
{
    return cursor_uint(cursor, UINT64_MAX);
}

static uint32_t read_u32(struct cursor *cursor)
{
    return (uint32_t)cursor_uint(cursor, UINT32_MAX);
}

/* ---- parts that several messages share ---- */

static void read_channel_key(struct cursor *cursor, struct channel_key *out)
{
    read_address(cursor, &out->client);
    read_address(cursor, &out->asset);
    out->salt = read_u64(cursor);
}

/* Opens `[]` (returns false, closed again) or an array of at least `fields` elements (true, *extra more
 * follow). */
static bool read_optional(struct cursor *cursor, size_t fields, size_t *extra)
{
    size_t count = cursor_array(cursor);
    if (count == 0) {
        cursor_close(cursor, 0);
        return false;
    }
    if (count < fields) {
        cursor_fail(cursor, "fields are missing");
        return false;
    }
    *extra = count - fields;
    return cursor->why == NULL;
}

static void read_proof(struct cursor *cursor, struct shown_proof *out)
{
    size_t extra = 0;
    out->present = read_optional(cursor, 6, &extra);
    if (!out->present)
        return;
    out->proof.nonce = read_u64(cursor);
    out->proof.transferred = cursor_amount(cursor);
    out->proof.locked = cursor_amount(cursor);
    read_hash(cursor, &out->proof.locks_root);
    read_hash(cursor, &out->proof.body_hash);
    read_signature(cursor, &out->signature);
    cursor_close(cursor, extra);
}

static void read_revocation(struct cursor *cursor, struct shown_revocation *out)
{
    size_t extra = 0;
    out->present = read_optional(cursor, 2, &extra);
    if (!out->present)
        return;
    out->min_nonce = read_u64(cursor);
    read_signature(cursor, &out->signature);
    cursor_close(cursor, extra);
}

static void read_lock(struct cursor *cursor, struct lock *out)
{
    out->id = read_u64(cursor);
    out->amount = cursor_amount(cursor);
    out->expiry = read_u64(cursor);
    out->kind = (uint8_t)cursor_uint(cursor, LOCK_ATTESTATION);
    read_hash(cursor, &out->condition);
}

static const struct shown_lock *read_locks(struct cursor *cursor, struct scratch *scratch, size_t max,
                                           bool with_payment, size_t *count)
{
    size_t found = cursor_list(cursor, max);
    struct shown_lock *list = scratch_room(scratch, found, sizeof *list);
    for (size_t i = 0; i < found && cursor->why == NULL; i++) {
        size_t extra = cursor_record(cursor, with_payment ? 6 : 5);
        read_lock(cursor, &list[i].lock);
        list[i].payment = PAYMENT_ID_ZERO;
        if (with_payment)
            read_payment_id(cursor, &list[i].payment);
        cursor_close(cursor, extra);
    }
    cursor_close(cursor, 0);
    *count = found;
    return list;
}

/* ---- WELCOME ---- */

static void read_asset_terms(struct cursor *cursor, struct asset_terms *out)
{
    size_t extra = cursor_record(cursor, 8);
    read_address(cursor, &out->asset);
    out->base_fee = cursor_amount(cursor);
    out->fee_ppm = read_u32(cursor);
    out->direct_limit = cursor_amount(cursor);
    out->reserve_bps = (uint16_t)cursor_uint(cursor, UINT16_MAX);
    out->min_lock = cursor_amount(cursor);
    out->max_lock = cursor_amount(cursor);
    out->max_locks_per_payer = read_u32(cursor);
    cursor_close(cursor, extra);
}

static void read_assets(struct cursor *cursor, struct terms *out)
{
    out->asset_count = cursor_list(cursor, ASSETS_MAX);
    for (size_t i = 0; i < out->asset_count && cursor->why == NULL; i++)
        read_asset_terms(cursor, &out->assets[i]);
    cursor_close(cursor, 0);
}

static const char *const terms_keys[] = {"confirmations", "reveal_margin_s", "min_expiry_s",
                                         "max_expiry_s",  "settle_window_s", "assets"};
enum { TERMS_ALL = (1 << 6) - 1 };

static size_t terms_key_index(struct text key)
{
    size_t i = 0;
    while (i < ARRAY_LENGTH(terms_keys) &&
           !(strlen(terms_keys[i]) == key.length && memcmp(terms_keys[i], key.data, key.length) == 0))
        i++;
    return i;
}

static void read_terms_value(struct cursor *cursor, size_t key, struct terms *out)
{
    switch (key) {
    case 0:
        out->confirmations = read_u32(cursor);
        break;
    case 1:
        out->reveal_margin_s = read_u64(cursor);
        break;
    case 2:
        out->min_expiry_s = read_u64(cursor);
        break;
    case 3:
        out->max_expiry_s = read_u64(cursor);
        break;
    case 4:
        out->settle_window_s = read_u64(cursor);
        break;
    case 5:
        read_assets(cursor, out);
        break;
    default:
        cursor_skip(cursor);
    }
}

static void read_terms(struct cursor *cursor, struct terms *out)
{
    memset(out, 0, sizeof *out);
    size_t pairs = cursor_map(cursor);
    unsigned seen = 0;
    for (size_t i = 0; i < pairs && cursor->why == NULL; i++) {
        size_t key = terms_key_index(cursor_text(cursor, TEXT_BYTES_MAX));
        if (cursor->why != NULL)
            return;
        if (key < ARRAY_LENGTH(terms_keys)) {
            if (seen & 1u << key)
                cursor_fail(cursor, "a key of the terms is there twice");
            seen |= 1u << key;
        }
        read_terms_value(cursor, key, out);
    }
    if (seen != TERMS_ALL)
        cursor_fail(cursor, "a key of the terms is missing");
    cursor_close(cursor, 0);
}

/* ---- ERROR ---- */

static void read_reference(struct cursor *cursor, struct error_reference *out)
{
    size_t count = cursor_array(cursor);
    if (count > 0) {
        out->present = true;
        out->type = read_u64(cursor);
    }
    if (count > 1) {
        out->has_channel = true;
        read_hash(cursor, &out->channel);
    }
    if (count > 2) {
        /* A nonce is a number, an id a bin: the next byte tells. */
        bool is_bin = cursor->at != cursor->end && *cursor->at >= 0xc4 && *cursor->at <= 0xc6;
        out->has_id = is_bin;
        out->has_nonce = !is_bin;
        if (is_bin)
            read_payment_id(cursor, &out->id);
        else
            out->nonce = read_u64(cursor);
    }
    cursor_close(cursor, count > 3 ? count - 3 : 0);
}

/* ---- CHANNEL ---- */

static void read_settlement(struct cursor *cursor, struct shown_settlement *out)
{
    size_t extra = 0;
    out->present = read_optional(cursor, 6, &extra);
    if (!out->present)
        return;
    out->seq = read_u32(cursor);
    out->client_out = cursor_amount(cursor);
    out->hub_out = cursor_amount(cursor);
    out->deadline = read_u64(cursor);
    out->close = cursor_bool(cursor);
    out->has_signature = cursor_optional_bytes(cursor, out->signature.bytes, sizeof out->signature.bytes);
    cursor_close(cursor, extra);
}

static void read_stream(struct cursor *cursor, struct scratch *scratch, struct shown_stream *out)
{
    size_t extra = cursor_record(cursor, 4);
    read_proof(cursor, &out->newest);
    out->last_lock_id = read_u64(cursor);
    read_revocation(cursor, &out->revocation);
    size_t found = cursor_list(cursor, DROPS_PER_STREAM_MAX);
    struct shown_drop *drops = scratch_room(scratch, found, sizeof *drops);
    for (size_t i = 0; i < found && cursor->why == NULL; i++) {
        size_t more = cursor_record(cursor, 2);
        drops[i].nonce = read_u64(cursor);
        drops[i].amount = cursor_amount(cursor);
        cursor_close(cursor, more);
    }
    cursor_close(cursor, 0);
    out->drops = drops;
    out->drop_count = found;
    cursor_close(cursor, extra);
}

/* ---- one function for each longer message; what follows its type ---- */

static void decode_hello(struct cursor *cursor, struct message *out)
{
    out->hello.version = read_u64(cursor);
    read_address(cursor, &out->hello.client);
    read_hash(cursor, &out->hello.nonce);
    out->hello.agent = cursor_text(cursor, AGENT_BYTES_MAX);
}

static void decode_challenge(struct cursor *cursor, struct message *out)
{
    read_hash(cursor, &out->challenge.challenge);
    read_address(cursor, &out->challenge.hub);
    out->challenge.chain_id = read_u64(cursor);
    read_address(cursor, &out->challenge.contract);
    read_signature(cursor, &out->challenge.signature);
}

static void decode_redirect(struct cursor *cursor, struct message *out)
{
    out->redirect.host = cursor_text(cursor, HOST_BYTES_MAX);
    out->redirect.port = (uint16_t)cursor_uint(cursor, UINT16_MAX);
    if (out->redirect.host.length == 0 || out->redirect.port == 0)
        cursor_fail(cursor, "a host or port is empty");
}

static void decode_update(struct cursor *cursor, struct update *out)
{
    read_hash(cursor, &out->channel);
    out->proof.nonce = read_u64(cursor);
    out->proof.transferred = cursor_amount(cursor);
    out->proof.locked = cursor_amount(cursor);
    read_hash(cursor, &out->proof.locks_root);
    /* A body that is too long is body_decode's to refuse: that is a broken proof rule, not the end of the
     * link. */
    out->body = cursor_bin(cursor, FRAME_BYTES_MAX, &out->body_length);
    read_signature(cursor, &out->signature);
    if (cursor->why == NULL)
        out->proof.body_hash = keccak256(out->body, out->body_length);
}

static void decode_reveal(struct cursor *cursor, struct decoder *decoder, struct message *out)
{
    read_hash(cursor, &out->reveal.channel);
    size_t found = cursor_list(cursor, OUTCOMES_PER_MESSAGE_MAX);
    struct revealed *items = scratch_room(&decoder->lists[0], found, sizeof *items);
    for (size_t i = 0; i < found && cursor->why == NULL; i++) {
        size_t extra = cursor_record(cursor, 2);
        read_payment_id(cursor, &items[i].id);
        cursor_witness(cursor, &items[i].witness);
        cursor_close(cursor, extra);
    }
    cursor_close(cursor, 0);
    out->reveal.items = items;
    out->reveal.count = found;
}

static void decode_fail(struct cursor *cursor, struct decoder *decoder, struct message *out)
{
    read_hash(cursor, &out->fail.channel);
    size_t found = cursor_list(cursor, OUTCOMES_PER_MESSAGE_MAX);
    struct failed *items = scratch_room(&decoder->lists[0], found, sizeof *items);
    for (size_t i = 0; i < found && cursor->why == NULL; i++) {
        size_t extra = cursor_record(cursor, 2);
        read_payment_id(cursor, &items[i].id);
        items[i].code = read_u64(cursor);
        cursor_close(cursor, extra);
    }
    cursor_close(cursor, 0);
    out->fail.items = items;
    out->fail.count = found;
}

static void decode_settle_propose(struct cursor *cursor, struct message *out)
{
    read_hash(cursor, &out->settle_propose.channel);
    out->settle_propose.seq = read_u32(cursor);
    out->settle_propose.client_out = cursor_amount(cursor);
    out->settle_propose.hub_out = cursor_amount(cursor);
    out->settle_propose.deadline = read_u64(cursor);
    out->settle_propose.close = cursor_bool(cursor);
}

static void decode_settled(struct cursor *cursor, struct message *out)
{
    read_hash(cursor, &out->settled.channel);
    out->settled.seq = read_u32(cursor);
    out->settled.outcome = (uint8_t)cursor_uint(cursor, 6);
    read_hash(cursor, &out->settled.transaction);
    out->settled.block = read_u64(cursor);
}

static void decode_error(struct cursor *cursor, struct message *out)
{
    out->error.code = read_u64(cursor);
    out->error.text = cursor_text(cursor, TEXT_BYTES_MAX);
    out->error.fatal = cursor_bool(cursor);
    read_reference(cursor, &out->error.reference);
}

static void decode_funded(struct cursor *cursor, struct message *out)
{
    read_hash(cursor, &out->funded.channel);
    out->funded.total = cursor_amount(cursor);
    out->funded.base = cursor_int(cursor);
    out->funded.seq = read_u32(cursor);
    out->funded.block = read_u64(cursor);
}

static void decode_resume(struct cursor *cursor, struct decoder *decoder, struct message *out)
{
    read_hash(cursor, &out->resume.channel);
    out->resume.received = read_u64(cursor);
    out->resume.own = read_u64(cursor);
    size_t found = cursor_list(cursor, OUTCOMES_PER_MESSAGE_MAX);
    struct payment_id *ids = scratch_room(&decoder->lists[0], found, sizeof *ids);
    for (size_t i = 0; i < found && cursor->why == NULL; i++)
        read_payment_id(cursor, &ids[i]);
    cursor_close(cursor, 0);
    out->resume.ids = ids;
    out->resume.count = found;
}

static void decode_channel(struct cursor *cursor, struct decoder *decoder, struct message *out)
{
    read_channel_key(cursor, &out->channel.key);
    out->channel.total = cursor_amount(cursor);
    out->channel.base = cursor_int(cursor);
    out->channel.seq = read_u32(cursor);
    out->channel.status = (uint8_t)cursor_uint(cursor, 3);
    read_settlement(cursor, &out->channel.settlement);
    for (size_t side = 0; side < 2; side++)
        read_stream(cursor, &decoder->lists[side], &out->channel.streams[side]);
}

static void decode_locks(struct cursor *cursor, struct decoder *decoder, struct message *out)
{
    read_hash(cursor, &out->locks.channel);
    out->locks.stream = (uint8_t)cursor_uint(cursor, 1);
    out->locks.locks = read_locks(cursor, &decoder->lists[0], LOCKS_PER_MESSAGE_MAX, true, &out->locks.count);
    out->locks.last = cursor_bool(cursor);
}

static void decode_appoint(struct cursor *cursor, struct decoder *decoder, struct message *out)
{
    read_channel_key(cursor, &out->appoint.key);
    read_proof(cursor, &out->appoint.proof);
    out->appoint.has_choice =
        cursor_optional_bytes(cursor, out->appoint.choice.bytes, sizeof out->appoint.choice.bytes);
    out->appoint.locks =
        read_locks(cursor, &decoder->lists[0], LOCKS_PER_STREAM_MAX, false, &out->appoint.lock_count);
    size_t found = cursor_list(cursor, LOCKS_PER_STREAM_MAX);
    struct witness *witnesses = scratch_room(&decoder->lists[1], found, sizeof *witnesses);
    for (size_t i = 0; i < found && cursor->why == NULL; i++)
        cursor_witness(cursor, &witnesses[i]);
    cursor_close(cursor, 0);
    out->appoint.witnesses = witnesses;
    out->appoint.witness_count = found;
    read_revocation(cursor, &out->appoint.revocation);
}

static void decode_receipt(struct cursor *cursor, struct message *out)
{
    read_hash(cursor, &out->receipt.channel);
    out->receipt.nonce = read_u64(cursor);
    read_hash(cursor, &out->receipt.proof_digest);
    read_signature(cursor, &out->receipt.signature);
}

/* ---- all ---- */

/* The fields after the type; 0 for a type that is none. */
static size_t field_count(uint64_t type)
{
    static const uint8_t counts[] = {
        [MESSAGE_HELLO] = 4,        [MESSAGE_CHALLENGE] = 5,      [MESSAGE_AUTH] = 1,
        [MESSAGE_WELCOME] = 2,      [MESSAGE_REDIRECT] = 2,       [MESSAGE_UPDATE] = 7,
        [MESSAGE_ACK] = 2,          [MESSAGE_REVEAL] = 2,         [MESSAGE_FAIL] = 2,
        [MESSAGE_REVOKE] = 3,       [MESSAGE_SETTLE_REQUEST] = 3, [MESSAGE_SETTLE_PROPOSE] = 6,
        [MESSAGE_SETTLE_SIGN] = 3,  [MESSAGE_SETTLED] = 5,        [MESSAGE_PING] = 1,
        [MESSAGE_PONG] = 1,         [MESSAGE_ERROR] = 4,          [MESSAGE_FUNDED] = 5,
        [MESSAGE_RESUME] = 4,       [MESSAGE_CHANNEL] = 10,       [MESSAGE_LOCKS] = 4,
        [MESSAGE_OPEN_REQUEST] = 2, [MESSAGE_APPOINT] = 8,        [MESSAGE_RECEIPT] = 4,
        [MESSAGE_FETCH] = 1,        [MESSAGE_KEPT] = 8,
    };
    return type < ARRAY_LENGTH(counts) ? counts[type] : 0;
}

static void decode_fields(struct cursor *cursor, struct decoder *decoder, struct message *out)
{
    switch (out->type) {
    case MESSAGE_HELLO:
        decode_hello(cursor, out);
        break;
    case MESSAGE_CHALLENGE:
        decode_challenge(cursor, out);
        break;
    case MESSAGE_AUTH:
        read_signature(cursor, &out->auth.signature);
        break;
    case MESSAGE_WELCOME:
        read_terms(cursor, &decoder->terms);
        out->welcome.terms = &decoder->terms;
        out->welcome.channels = read_u64(cursor);
        break;
    case MESSAGE_REDIRECT:
        decode_redirect(cursor, out);
        break;
    case MESSAGE_UPDATE:
        decode_update(cursor, &out->update);
        break;
    case MESSAGE_ACK:
        read_hash(cursor, &out->ack.channel);
        out->ack.nonce = read_u64(cursor);
        break;
    case MESSAGE_REVEAL:
        decode_reveal(cursor, decoder, out);
        break;
    case MESSAGE_FAIL:
        decode_fail(cursor, decoder, out);
        break;
    case MESSAGE_REVOKE:
        read_hash(cursor, &out->revoke.channel);
        out->revoke.min_nonce = read_u64(cursor);
        read_signature(cursor, &out->revoke.signature);
        break;
    case MESSAGE_SETTLE_REQUEST:
        read_hash(cursor, &out->settle_request.channel);
        out->settle_request.amount = cursor_amount(cursor);
        out->settle_request.close = cursor_bool(cursor);
        break;
    case MESSAGE_SETTLE_PROPOSE:
        decode_settle_propose(cursor, out);
        break;
    case MESSAGE_SETTLE_SIGN:
        read_hash(cursor, &out->settle_sign.channel);
        out->settle_sign.seq = read_u32(cursor);
        read_signature(cursor, &out->settle_sign.signature);
        break;
    case MESSAGE_SETTLED:
        decode_settled(cursor, out);
        break;
    case MESSAGE_PING:
    case MESSAGE_PONG:
        cursor_bytes(cursor, out->ping.bytes, sizeof out->ping.bytes);
        break;
    case MESSAGE_ERROR:
        decode_error(cursor, out);
        break;
    case MESSAGE_FUNDED:
        decode_funded(cursor, out);
        break;
    case MESSAGE_RESUME:
        decode_resume(cursor, decoder, out);
        break;
    case MESSAGE_CHANNEL:
        decode_channel(cursor, decoder, out);
        break;
    case MESSAGE_LOCKS:
        decode_locks(cursor, decoder, out);
        break;
    case MESSAGE_OPEN_REQUEST:
        read_address(cursor, &out->open_request.asset);
        out->open_request.inbound = cursor_amount(cursor);
        break;
    case MESSAGE_APPOINT:
    case MESSAGE_KEPT:
        decode_appoint(cursor, decoder, out);
        break;
    case MESSAGE_RECEIPT:
        decode_receipt(cursor, out);
        break;
    case MESSAGE_FETCH:
        read_hash(cursor, &out->fetch.channel);
        break;
    }
}

/* A HELLO of another version may have other fields: only its version counts. */
static bool decode_other_version(struct cursor *cursor, size_t *extra, struct message *out)
{
    struct cursor ahead = *cursor;
    uint64_t version = *extra == 0 ? 1 : cursor_uint(&ahead, UINT64_MAX);
    if (ahead.why != NULL || version == 1)
        return false;
    out->hello.version = version;
    *cursor = ahead;
    *extra -= 1;
    return true;
}

enum code message_decode(struct decoder *decoder, const uint8_t *payload, size_t length, struct message *out,
                         const char **why)
{
    if (length > FRAME_BYTES_MAX) {
        *why = "a frame is too long";
        return CODE_MALFORMED;
    }
    struct cursor cursor = cursor_of(payload, length);
    memset(out, 0, sizeof *out);
    size_t extra = cursor_record(&cursor, 1);
    uint64_t type = cursor_uint(&cursor, UINT64_MAX);
    size_t fields = field_count(type);
    if (fields == 0)
        cursor_fail(&cursor, "a message of an unknown type");
    out->type = (enum message_type)type;
    if (cursor.why == NULL && !(type == MESSAGE_HELLO && decode_other_version(&cursor, &extra, out))) {
        if (extra < fields) {
            cursor_fail(&cursor, "fields are missing");
        } else {
            extra -= fields;
            decode_fields(&cursor, decoder, out);
        }
    }
    cursor_close(&cursor, extra);
    if (!cursor_finish(&cursor)) {
        *why = cursor.why;
        return CODE_MALFORMED;
    }
    *why = NULL;
    return CODE_OK;
}
