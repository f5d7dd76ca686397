#include "base/ensure.h"
#include "wire/decoder.h"
#include "wire/pack.h"

/* ---- parts that several messages share ---- */

static void pack_channel_key(msgpack_packer *packer, const struct channel_key *key)
{
    pack_address(packer, &key->client);
    pack_address(packer, &key->asset);
    pack_uint(packer, key->salt);
}

static void pack_proof(msgpack_packer *packer, const struct shown_proof *shown)
{
    pack_array(packer, shown->present ? 6 : 0);
    if (!shown->present)
        return;
    pack_uint(packer, shown->proof.nonce);
    pack_amount(packer, shown->proof.transferred);
    pack_amount(packer, shown->proof.locked);
    pack_hash(packer, &shown->proof.locks_root);
    pack_hash(packer, &shown->proof.body_hash);
    pack_signature(packer, &shown->signature);
}

static void pack_revocation(msgpack_packer *packer, const struct shown_revocation *shown)
{
    pack_array(packer, shown->present ? 2 : 0);
    if (!shown->present)
        return;
    pack_uint(packer, shown->min_nonce);
    pack_signature(packer, &shown->signature);
}

static void pack_optional_signature(msgpack_packer *packer, bool present, const struct signature *signature)
{
    pack_bin(packer, signature->bytes, present ? sizeof signature->bytes : 0);
}

static void pack_locks(msgpack_packer *packer, const struct shown_lock *locks, size_t count,
                       bool with_payment)
{
    pack_array(packer, count);
    for (size_t i = 0; i < count; i++) {
        const struct lock *lock = &locks[i].lock;
        pack_array(packer, with_payment ? 6 : 5);
        pack_uint(packer, lock->id);
        pack_amount(packer, lock->amount);
        pack_uint(packer, lock->expiry);
        pack_uint(packer, lock->kind);
        pack_hash(packer, &lock->condition);
        if (with_payment)
            pack_payment_id(packer, &locks[i].payment);
    }
}

/* ---- WELCOME ---- */

static void pack_key(msgpack_packer *packer, const char *key, size_t length)
{
    pack_text(packer, (struct text){key, length});
}
#define PACK_KEY(packer, key) pack_key(packer, key, sizeof key - 1)

static void pack_terms(msgpack_packer *packer, const struct terms *terms)
{
    ensure(terms->asset_count <= ASSETS_MAX);
    msgpack_pack_map(packer, 6);
    PACK_KEY(packer, "confirmations");
    pack_uint(packer, terms->confirmations);
    PACK_KEY(packer, "reveal_margin_s");
    pack_uint(packer, terms->reveal_margin_s);
    PACK_KEY(packer, "min_expiry_s");
    pack_uint(packer, terms->min_expiry_s);
    PACK_KEY(packer, "max_expiry_s");
    pack_uint(packer, terms->max_expiry_s);
    PACK_KEY(packer, "settle_window_s");
    pack_uint(packer, terms->settle_window_s);
    PACK_KEY(packer, "assets");
    pack_array(packer, terms->asset_count);
    for (size_t i = 0; i < terms->asset_count; i++) {
        const struct asset_terms *asset = &terms->assets[i];
        pack_array(packer, 8);
        pack_address(packer, &asset->asset);
        pack_amount(packer, asset->base_fee);
        pack_uint(packer, asset->fee_ppm);
        pack_amount(packer, asset->direct_limit);
        pack_uint(packer, asset->reserve_bps);
        pack_amount(packer, asset->min_lock);
        pack_amount(packer, asset->max_lock);
        pack_uint(packer, asset->max_locks_per_payer);
    }
}

/* ---- one function for each longer message: the array's head, the type, the fields ---- */

static void begin(msgpack_packer *packer, enum message_type type, size_t fields)
{
    pack_array(packer, 1 + fields);
    pack_uint(packer, type);
}

static void encode_hello(msgpack_packer *packer, const struct message *message)
{
    ensure(message->hello.agent.length <= AGENT_BYTES_MAX);
    begin(packer, message->type, 4);
    pack_uint(packer, message->hello.version);
    pack_address(packer, &message->hello.client);
    pack_hash(packer, &message->hello.nonce);
    pack_text(packer, message->hello.agent);
}

static void encode_challenge(msgpack_packer *packer, const struct message *message)
{
    begin(packer, message->type, 5);
    pack_hash(packer, &message->challenge.challenge);
    pack_address(packer, &message->challenge.hub);
    pack_uint(packer, message->challenge.chain_id);
    pack_address(packer, &message->challenge.contract);
    pack_signature(packer, &message->challenge.signature);
}

static void encode_redirect(msgpack_packer *packer, const struct message *message)
{
    ensure(message->redirect.host.length <= HOST_BYTES_MAX);
    begin(packer, message->type, 2);
    pack_text(packer, message->redirect.host);
    pack_uint(packer, message->redirect.port);
}

static void encode_update(msgpack_packer *packer, const struct update *update)
{
    begin(packer, MESSAGE_UPDATE, 7);
    pack_hash(packer, &update->channel);
    pack_uint(packer, update->proof.nonce);
    pack_amount(packer, update->proof.transferred);
    pack_amount(packer, update->proof.locked);
    pack_hash(packer, &update->proof.locks_root);
    pack_bin(packer, update->body, update->body_length);
    pack_signature(packer, &update->signature);
}

static void encode_reveal(msgpack_packer *packer, const struct message *message)
{
    ensure(message->reveal.count <= OUTCOMES_PER_MESSAGE_MAX);
    begin(packer, message->type, 2);
    pack_hash(packer, &message->reveal.channel);
    pack_array(packer, message->reveal.count);
    for (size_t i = 0; i < message->reveal.count; i++) {
        pack_array(packer, 2);
        pack_payment_id(packer, &message->reveal.items[i].id);
        pack_witness(packer, &message->reveal.items[i].witness);
    }
}

static void encode_fail(msgpack_packer *packer, const struct message *message)
{
    ensure(message->fail.count <= OUTCOMES_PER_MESSAGE_MAX);
    begin(packer, message->type, 2);
    pack_hash(packer, &message->fail.channel);
    pack_array(packer, message->fail.count);
    for (size_t i = 0; i < message->fail.count; i++) {
        pack_array(packer, 2);
        pack_payment_id(packer, &message->fail.items[i].id);
        pack_uint(packer, message->fail.items[i].code);
    }
}

static void encode_settle_propose(msgpack_packer *packer, const struct message *message)
{
    begin(packer, message->type, 6);
    pack_hash(packer, &message->settle_propose.channel);
    pack_uint(packer, message->settle_propose.seq);
    pack_amount(packer, message->settle_propose.client_out);
    pack_amount(packer, message->settle_propose.hub_out);
    pack_uint(packer, message->settle_propose.deadline);
    pack_bool(packer, message->settle_propose.close);
}

static void encode_settled(msgpack_packer *packer, const struct message *message)
{
    begin(packer, message->type, 5);
    pack_hash(packer, &message->settled.channel);
    pack_uint(packer, message->settled.seq);
    pack_uint(packer, message->settled.outcome);
    pack_hash(packer, &message->settled.transaction);
    pack_uint(packer, message->settled.block);
}

static void encode_error(msgpack_packer *packer, const struct message *message)
{
    const struct error_reference *reference = &message->error.reference;
    ensure(message->error.text.length <= TEXT_BYTES_MAX);
    begin(packer, message->type, 4);
    pack_uint(packer, message->error.code);
    pack_text(packer, message->error.text);
    pack_bool(packer, message->error.fatal);
    bool third = reference->has_channel && (reference->has_nonce || reference->has_id);
    pack_array(packer, !reference->present ? 0 : (size_t)1 + reference->has_channel + third);
    if (!reference->present)
        return;
    pack_uint(packer, reference->type);
    if (reference->has_channel)
        pack_hash(packer, &reference->channel);
    if (third && reference->has_id)
        pack_payment_id(packer, &reference->id);
    else if (third)
        pack_uint(packer, reference->nonce);
}

static void encode_funded(msgpack_packer *packer, const struct message *message)
{
    begin(packer, message->type, 5);
    pack_hash(packer, &message->funded.channel);
    pack_amount(packer, message->funded.total);
    pack_int(packer, message->funded.base);
    pack_uint(packer, message->funded.seq);
    pack_uint(packer, message->funded.block);
}

static void encode_resume(msgpack_packer *packer, const struct message *message)
{
    ensure(message->resume.count <= OUTCOMES_PER_MESSAGE_MAX);
    begin(packer, message->type, 4);
    pack_hash(packer, &message->resume.channel);
    pack_uint(packer, message->resume.received);
    pack_uint(packer, message->resume.own);
    pack_array(packer, message->resume.count);
    for (size_t i = 0; i < message->resume.count; i++)
        pack_payment_id(packer, &message->resume.ids[i]);
}

static void pack_settlement(msgpack_packer *packer, const struct shown_settlement *shown)
{
    pack_array(packer, shown->present ? 6 : 0);
    if (!shown->present)
        return;
    pack_uint(packer, shown->seq);
    pack_amount(packer, shown->client_out);
    pack_amount(packer, shown->hub_out);
    pack_uint(packer, shown->deadline);
    pack_bool(packer, shown->close);
    pack_optional_signature(packer, shown->has_signature, &shown->signature);
}

static void pack_stream(msgpack_packer *packer, const struct shown_stream *stream)
{
    ensure(stream->drop_count <= DROPS_PER_STREAM_MAX);
    pack_array(packer, 4);
    pack_proof(packer, &stream->newest);
    pack_uint(packer, stream->last_lock_id);
    pack_revocation(packer, &stream->revocation);
    pack_array(packer, stream->drop_count);
    for (size_t i = 0; i < stream->drop_count; i++) {
        pack_array(packer, 2);
        pack_uint(packer, stream->drops[i].nonce);
        pack_amount(packer, stream->drops[i].amount);
    }
}

static void encode_channel(msgpack_packer *packer, const struct message *message)
{
    begin(packer, message->type, 10);
    pack_channel_key(packer, &message->channel.key);
    pack_amount(packer, message->channel.total);
    pack_int(packer, message->channel.base);
    pack_uint(packer, message->channel.seq);
    pack_uint(packer, message->channel.status);
    pack_settlement(packer, &message->channel.settlement);
    for (size_t side = 0; side < 2; side++)
        pack_stream(packer, &message->channel.streams[side]);
}

static void encode_locks(msgpack_packer *packer, const struct message *message)
{
    ensure(message->locks.count <= LOCKS_PER_MESSAGE_MAX);
    begin(packer, message->type, 4);
    pack_hash(packer, &message->locks.channel);
    pack_uint(packer, message->locks.stream);
    pack_locks(packer, message->locks.locks, message->locks.count, true);
    pack_bool(packer, message->locks.last);
}

static void encode_appoint(msgpack_packer *packer, const struct message *message)
{
    ensure(message->appoint.lock_count <= LOCKS_PER_STREAM_MAX &&
           message->appoint.witness_count <= LOCKS_PER_STREAM_MAX);
    begin(packer, message->type, 8);
    pack_channel_key(packer, &message->appoint.key);
    pack_proof(packer, &message->appoint.proof);
    pack_optional_signature(packer, message->appoint.has_choice, &message->appoint.choice);
    pack_locks(packer, message->appoint.locks, message->appoint.lock_count, false);
    pack_array(packer, message->appoint.witness_count);
    for (size_t i = 0; i < message->appoint.witness_count; i++)
        pack_witness(packer, &message->appoint.witnesses[i]);
    pack_revocation(packer, &message->appoint.revocation);
}

static void encode_receipt(msgpack_packer *packer, const struct message *message)
{
    begin(packer, message->type, 4);
    pack_hash(packer, &message->receipt.channel);
    pack_uint(packer, message->receipt.nonce);
    pack_hash(packer, &message->receipt.proof_digest);
    pack_signature(packer, &message->receipt.signature);
}

/* ---- all ---- */

static void encode_fields(msgpack_packer *packer, const struct message *message)
{
    switch (message->type) {
    case MESSAGE_HELLO:
        encode_hello(packer, message);
        break;
    case MESSAGE_CHALLENGE:
        encode_challenge(packer, message);
        break;
    case MESSAGE_AUTH:
        begin(packer, message->type, 1);
        pack_signature(packer, &message->auth.signature);
        break;
    case MESSAGE_WELCOME:
        begin(packer, message->type, 2);
        pack_terms(packer, message->welcome.terms);
        pack_uint(packer, message->welcome.channels);
        break;
    case MESSAGE_REDIRECT:
        encode_redirect(packer, message);
        break;
    case MESSAGE_UPDATE:
        encode_update(packer, &message->update);
        break;
    case MESSAGE_ACK:
        begin(packer, message->type, 2);
        pack_hash(packer, &message->ack.channel);
        pack_uint(packer, message->ack.nonce);
        break;
    case MESSAGE_REVEAL:
        encode_reveal(packer, message);
        break;
    case MESSAGE_FAIL:
        encode_fail(packer, message);
        break;
    case MESSAGE_REVOKE:
        begin(packer, message->type, 3);
        pack_hash(packer, &message->revoke.channel);
        pack_uint(packer, message->revoke.min_nonce);
        pack_signature(packer, &message->revoke.signature);
        break;
    case MESSAGE_SETTLE_REQUEST:
        begin(packer, message->type, 3);
        pack_hash(packer, &message->settle_request.channel);
        pack_amount(packer, message->settle_request.amount);
        pack_bool(packer, message->settle_request.close);
        break;
    case MESSAGE_SETTLE_PROPOSE:
        encode_settle_propose(packer, message);
        break;
    case MESSAGE_SETTLE_SIGN:
        begin(packer, message->type, 3);
        pack_hash(packer, &message->settle_sign.channel);
        pack_uint(packer, message->settle_sign.seq);
        pack_signature(packer, &message->settle_sign.signature);
        break;
    case MESSAGE_SETTLED:
        encode_settled(packer, message);
        break;
    case MESSAGE_PING:
    case MESSAGE_PONG:
        begin(packer, message->type, 1);
        pack_bin(packer, message->ping.bytes, sizeof message->ping.bytes);
        break;
    case MESSAGE_ERROR:
        encode_error(packer, message);
        break;
    case MESSAGE_FUNDED:
        encode_funded(packer, message);
        break;
    case MESSAGE_RESUME:
        encode_resume(packer, message);
        break;
    case MESSAGE_CHANNEL:
        encode_channel(packer, message);
        break;
    case MESSAGE_LOCKS:
        encode_locks(packer, message);
        break;
    case MESSAGE_OPEN_REQUEST:
        begin(packer, message->type, 2);
        pack_address(packer, &message->open_request.asset);
        pack_amount(packer, message->open_request.inbound);
        break;
    case MESSAGE_APPOINT:
    case MESSAGE_KEPT:
        encode_appoint(packer, message);
        break;
    case MESSAGE_RECEIPT:
        encode_receipt(packer, message);
        break;
    case MESSAGE_FETCH:
        begin(packer, message->type, 1);
        pack_hash(packer, &message->fetch.channel);
        break;
    }
}

void message_encode(struct buffer *out, const struct message *message)
{
    ensure(message_name(message->type)[0] != '?');
    size_t start = out->length;
    buffer_u32(out, 0);
    msgpack_packer packer = packer_of(out);
    encode_fields(&packer, message);
    size_t length = out->length - start - 4;
    ensure(length <= FRAME_BYTES_MAX);
    store_be32(out->data + start, (uint32_t)length);
}
