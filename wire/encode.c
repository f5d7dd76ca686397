#include "base/ensure.h"
#include "wire/decoder.h"
#include "wire/pack.h"

/* ---- parts that several messages share ---- */

static void pack_channel_key(struct buffer *out, const struct channel_key *key)
{
    pack_address(out, &key->client);
    pack_address(out, &key->asset);
    pack_uint(out, key->salt);
}

static void pack_proof(struct buffer *out, const struct shown_proof *shown)
{
    pack_array(out, shown->present ? 6 : 0);
    if (!shown->present)
        return;
    pack_uint(out, shown->proof.nonce);
    pack_amount(out, shown->proof.transferred);
    pack_amount(out, shown->proof.locked);
    pack_hash(out, &shown->proof.locks_root);
    pack_hash(out, &shown->proof.body_hash);
    pack_signature(out, &shown->signature);
}

static void pack_revocation(struct buffer *out, const struct shown_revocation *shown)
{
    pack_array(out, shown->present ? 2 : 0);
    if (!shown->present)
        return;
    pack_uint(out, shown->min_nonce);
    pack_signature(out, &shown->signature);
}

static void pack_optional_signature(struct buffer *out, bool present, const struct signature *signature)
{
    pack_bin(out, signature->bytes, present ? sizeof signature->bytes : 0);
}

static void pack_locks(struct buffer *out, const struct shown_lock *locks, size_t count, bool with_payment)
{
    pack_array(out, count);
    for (size_t i = 0; i < count; i++) {
        const struct lock *lock = &locks[i].lock;
        pack_array(out, with_payment ? 6 : 5);
        pack_uint(out, lock->id);
        pack_amount(out, lock->amount);
        pack_uint(out, lock->expiry);
        pack_uint(out, lock->kind);
        pack_hash(out, &lock->condition);
        if (with_payment)
            pack_payment_id(out, &locks[i].payment);
    }
}

/* ---- WELCOME ---- */

static void pack_key(struct buffer *out, const char *key, size_t length)
{
    pack_text(out, (struct text){key, length});
}
#define PACK_KEY(out, key) pack_key(out, (key), sizeof(key) - 1)

static void pack_terms(struct buffer *out, const struct terms *terms)
{
    ensure(terms->asset_count <= ASSETS_MAX);
    pack_map(out, 6);
    PACK_KEY(out, "confirmations");
    pack_uint(out, terms->confirmations);
    PACK_KEY(out, "reveal_margin_s");
    pack_uint(out, terms->reveal_margin_s);
    PACK_KEY(out, "min_expiry_s");
    pack_uint(out, terms->min_expiry_s);
    PACK_KEY(out, "max_expiry_s");
    pack_uint(out, terms->max_expiry_s);
    PACK_KEY(out, "settle_window_s");
    pack_uint(out, terms->settle_window_s);
    PACK_KEY(out, "assets");
    pack_array(out, terms->asset_count);
    for (size_t i = 0; i < terms->asset_count; i++) {
        const struct asset_terms *asset = &terms->assets[i];
        pack_array(out, 8);
        pack_address(out, &asset->asset);
        pack_amount(out, asset->base_fee);
        pack_uint(out, asset->fee_ppm);
        pack_amount(out, asset->direct_limit);
        pack_uint(out, asset->reserve_bps);
        pack_amount(out, asset->min_lock);
        pack_amount(out, asset->max_lock);
        pack_uint(out, asset->max_locks_per_payer);
    }
}

/* ---- one function for each longer message: the array's head, the type, the fields ---- */

static void begin(struct buffer *out, enum message_type type, size_t fields)
{
    pack_array(out, 1 + fields);
    pack_uint(out, type);
}

static void encode_hello(struct buffer *out, const struct message *message)
{
    ensure(message->hello.agent.length <= AGENT_BYTES_MAX);
    begin(out, message->type, 4);
    pack_uint(out, message->hello.version);
    pack_address(out, &message->hello.client);
    pack_hash(out, &message->hello.nonce);
    pack_text(out, message->hello.agent);
}

static void encode_challenge(struct buffer *out, const struct message *message)
{
    begin(out, message->type, 5);
    pack_hash(out, &message->challenge.challenge);
    pack_address(out, &message->challenge.hub);
    pack_uint(out, message->challenge.chain_id);
    pack_address(out, &message->challenge.contract);
    pack_signature(out, &message->challenge.signature);
}

static void encode_redirect(struct buffer *out, const struct message *message)
{
    ensure(message->redirect.host.length <= HOST_BYTES_MAX);
    begin(out, message->type, 2);
    pack_text(out, message->redirect.host);
    pack_uint(out, message->redirect.port);
}

static void encode_update(struct buffer *out, const struct update *update)
{
    begin(out, MESSAGE_UPDATE, 7);
    pack_hash(out, &update->channel);
    pack_uint(out, update->proof.nonce);
    pack_amount(out, update->proof.transferred);
    pack_amount(out, update->proof.locked);
    pack_hash(out, &update->proof.locks_root);
    pack_bin(out, update->body, update->body_length);
    pack_signature(out, &update->signature);
}

static void encode_reveal(struct buffer *out, const struct message *message)
{
    ensure(message->reveal.count <= OUTCOMES_PER_MESSAGE_MAX);
    begin(out, message->type, 2);
    pack_hash(out, &message->reveal.channel);
    pack_array(out, message->reveal.count);
    for (size_t i = 0; i < message->reveal.count; i++) {
        pack_array(out, 2);
        pack_payment_id(out, &message->reveal.items[i].id);
        pack_witness(out, &message->reveal.items[i].witness);
    }
}

static void encode_fail(struct buffer *out, const struct message *message)
{
    ensure(message->fail.count <= OUTCOMES_PER_MESSAGE_MAX);
    begin(out, message->type, 2);
    pack_hash(out, &message->fail.channel);
    pack_array(out, message->fail.count);
    for (size_t i = 0; i < message->fail.count; i++) {
        pack_array(out, 2);
        pack_payment_id(out, &message->fail.items[i].id);
        pack_uint(out, message->fail.items[i].code);
    }
}

static void encode_settle_propose(struct buffer *out, const struct message *message)
{
    begin(out, message->type, 6);
    pack_hash(out, &message->settle_propose.channel);
    pack_uint(out, message->settle_propose.seq);
    pack_amount(out, message->settle_propose.client_out);
    pack_amount(out, message->settle_propose.hub_out);
    pack_uint(out, message->settle_propose.deadline);
    pack_bool(out, message->settle_propose.close);
}

static void encode_settled(struct buffer *out, const struct message *message)
{
    begin(out, message->type, 5);
    pack_hash(out, &message->settled.channel);
    pack_uint(out, message->settled.seq);
    pack_uint(out, message->settled.outcome);
    pack_hash(out, &message->settled.transaction);
    pack_uint(out, message->settled.block);
}

static void encode_error(struct buffer *out, const struct message *message)
{
    const struct error_reference *reference = &message->error.reference;
    ensure(message->error.text.length <= TEXT_BYTES_MAX);
    begin(out, message->type, 4);
    pack_uint(out, message->error.code);
    pack_text(out, message->error.text);
    pack_bool(out, message->error.fatal);
    bool third = reference->has_channel && (reference->has_nonce || reference->has_id);
    pack_array(out, !reference->present ? 0 : (size_t)1 + reference->has_channel + third);
    if (!reference->present)
        return;
    pack_uint(out, reference->type);
    if (reference->has_channel)
        pack_hash(out, &reference->channel);
    if (third && reference->has_id)
        pack_payment_id(out, &reference->id);
    else if (third)
        pack_uint(out, reference->nonce);
}

static void encode_funded(struct buffer *out, const struct message *message)
{
    begin(out, message->type, 5);
    pack_hash(out, &message->funded.channel);
    pack_amount(out, message->funded.total);
    pack_int(out, message->funded.base);
    pack_uint(out, message->funded.seq);
    pack_uint(out, message->funded.block);
}

static void encode_resume(struct buffer *out, const struct message *message)
{
    ensure(message->resume.count <= OUTCOMES_PER_MESSAGE_MAX);
    begin(out, message->type, 4);
    pack_hash(out, &message->resume.channel);
    pack_uint(out, message->resume.received);
    pack_uint(out, message->resume.own);
    pack_array(out, message->resume.count);
    for (size_t i = 0; i < message->resume.count; i++)
        pack_payment_id(out, &message->resume.ids[i]);
}

static void pack_settlement(struct buffer *out, const struct shown_settlement *shown)
{
    pack_array(out, shown->present ? 6 : 0);
    if (!shown->present)
        return;
    pack_uint(out, shown->seq);
    pack_amount(out, shown->client_out);
    pack_amount(out, shown->hub_out);
    pack_uint(out, shown->deadline);
    pack_bool(out, shown->close);
    pack_optional_signature(out, shown->has_signature, &shown->signature);
}

static void pack_stream(struct buffer *out, const struct shown_stream *stream)
{
    ensure(stream->drop_count <= DROPS_PER_STREAM_MAX);
    pack_array(out, 4);
    pack_proof(out, &stream->newest);
    pack_uint(out, stream->last_lock_id);
    pack_revocation(out, &stream->revocation);
    pack_array(out, stream->drop_count);
    for (size_t i = 0; i < stream->drop_count; i++) {
        pack_array(out, 2);
        pack_uint(out, stream->drops[i].nonce);
        pack_amount(out, stream->drops[i].amount);
    }
}

static void encode_channel(struct buffer *out, const struct message *message)
{
    begin(out, message->type, 10);
    pack_channel_key(out, &message->channel.key);
    pack_amount(out, message->channel.total);
    pack_int(out, message->channel.base);
    pack_uint(out, message->channel.seq);
    pack_uint(out, message->channel.status);
    pack_settlement(out, &message->channel.settlement);
    for (size_t side = 0; side < 2; side++)
        pack_stream(out, &message->channel.streams[side]);
}

static void encode_locks(struct buffer *out, const struct message *message)
{
    ensure(message->locks.count <= LOCKS_PER_MESSAGE_MAX);
    begin(out, message->type, 4);
    pack_hash(out, &message->locks.channel);
    pack_uint(out, message->locks.stream);
    pack_locks(out, message->locks.locks, message->locks.count, true);
    pack_bool(out, message->locks.last);
}

static void encode_appoint(struct buffer *out, const struct message *message)
{
    ensure(message->appoint.lock_count <= LOCKS_PER_STREAM_MAX &&
           message->appoint.witness_count <= LOCKS_PER_STREAM_MAX);
    begin(out, message->type, 8);
    pack_channel_key(out, &message->appoint.key);
    pack_proof(out, &message->appoint.proof);
    pack_optional_signature(out, message->appoint.has_choice, &message->appoint.choice);
    pack_locks(out, message->appoint.locks, message->appoint.lock_count, false);
    pack_array(out, message->appoint.witness_count);
    for (size_t i = 0; i < message->appoint.witness_count; i++)
        pack_witness(out, &message->appoint.witnesses[i]);
    pack_revocation(out, &message->appoint.revocation);
}

static void encode_receipt(struct buffer *out, const struct message *message)
{
    begin(out, message->type, 4);
    pack_hash(out, &message->receipt.channel);
    pack_uint(out, message->receipt.nonce);
    pack_hash(out, &message->receipt.proof_digest);
    pack_signature(out, &message->receipt.signature);
}

/* ---- all ---- */

static void encode_fields(struct buffer *out, const struct message *message)
{
    switch (message->type) {
    case MESSAGE_HELLO:
        encode_hello(out, message);
        break;
    case MESSAGE_CHALLENGE:
        encode_challenge(out, message);
        break;
    case MESSAGE_AUTH:
        begin(out, message->type, 1);
        pack_signature(out, &message->auth.signature);
        break;
    case MESSAGE_WELCOME:
        begin(out, message->type, 2);
        pack_terms(out, message->welcome.terms);
        pack_uint(out, message->welcome.channels);
        break;
    case MESSAGE_REDIRECT:
        encode_redirect(out, message);
        break;
    case MESSAGE_UPDATE:
        encode_update(out, &message->update);
        break;
    case MESSAGE_ACK:
        begin(out, message->type, 2);
        pack_hash(out, &message->ack.channel);
        pack_uint(out, message->ack.nonce);
        break;
    case MESSAGE_REVEAL:
        encode_reveal(out, message);
        break;
    case MESSAGE_FAIL:
        encode_fail(out, message);
        break;
    case MESSAGE_REVOKE:
        begin(out, message->type, 3);
        pack_hash(out, &message->revoke.channel);
        pack_uint(out, message->revoke.min_nonce);
        pack_signature(out, &message->revoke.signature);
        break;
    case MESSAGE_SETTLE_REQUEST:
        begin(out, message->type, 3);
        pack_hash(out, &message->settle_request.channel);
        pack_amount(out, message->settle_request.amount);
        pack_bool(out, message->settle_request.close);
        break;
    case MESSAGE_SETTLE_PROPOSE:
        encode_settle_propose(out, message);
        break;
    case MESSAGE_SETTLE_SIGN:
        begin(out, message->type, 3);
        pack_hash(out, &message->settle_sign.channel);
        pack_uint(out, message->settle_sign.seq);
        pack_signature(out, &message->settle_sign.signature);
        break;
    case MESSAGE_SETTLED:
        encode_settled(out, message);
        break;
    case MESSAGE_PING:
    case MESSAGE_PONG:
        begin(out, message->type, 1);
        pack_bin(out, message->ping.bytes, sizeof message->ping.bytes);
        break;
    case MESSAGE_ERROR:
        encode_error(out, message);
        break;
    case MESSAGE_FUNDED:
        encode_funded(out, message);
        break;
    case MESSAGE_RESUME:
        encode_resume(out, message);
        break;
    case MESSAGE_CHANNEL:
        encode_channel(out, message);
        break;
    case MESSAGE_LOCKS:
        encode_locks(out, message);
        break;
    case MESSAGE_OPEN_REQUEST:
        begin(out, message->type, 2);
        pack_address(out, &message->open_request.asset);
        pack_amount(out, message->open_request.inbound);
        break;
    case MESSAGE_APPOINT:
    case MESSAGE_KEPT:
        encode_appoint(out, message);
        break;
    case MESSAGE_RECEIPT:
        encode_receipt(out, message);
        break;
    case MESSAGE_FETCH:
        begin(out, message->type, 1);
        pack_hash(out, &message->fetch.channel);
        break;
    }
}

void message_encode(struct buffer *out, const struct message *message)
{
    ensure(message_name(message->type)[0] != '?');
    size_t start = out->length;
    buffer_u32(out, 0);
    encode_fields(out, message);
    size_t length = out->length - start - 4;
    ensure(length <= FRAME_BYTES_MAX);
    store_be32(out->data + start, (uint32_t)length);
}
