/* Updates and answers that nobody may take: a field changed, another's signature, a second update with a nonce. */
#include "crypto/typed.h"
#include "tests/sim/cheat.h"
#include "tests/sim/observer.h"

static struct sim_stream *some_stream(struct sim *sim, int client)
{
    struct sim_stream *found = NULL, *stream, *next;
    uint64_t count = 0;
    HASH_ITER(hh, sim->streams, stream, next)
    {
        if ((client < 0 || stream->client == (unsigned)client) && sim_roll(sim, ++count) == 0)
            found = stream;
    }
    return found;
}

/* Past the observer: what a cheat says binds nobody. */
static void slip_in(struct sim_link *link, bool to_server, const struct message *message)
{
    struct buffer frame = {0};
    struct sim_pipe *pipe = to_server ? &link->to_server : &link->to_client;
    message_encode(&frame, message);
    if (!pipe->is_lost)
        buffer_append(&pipe->bytes, frame.data, frame.length);
    buffer_free(&frame);
}

static struct sim_link *link_of(struct sim *sim, unsigned client)
{
    for (size_t i = 0; i < sim->link_count; i++) {
        struct sim_link *link = sim->links[i];
        if (link->kind == LINK_HUB && link->client == client && link->is_welcomed && link->client_up &&
            link->server_up && !link->is_cut)
            return link;
    }
    return NULL;
}

static void some_body(struct sim *sim, struct buffer *body, bool by_hub)
{
    struct operation operation = {.type = OPERATION_PAY,
                                  .amount = amount_of(1 + sim_roll(sim, 1000)),
                                  .expiry = SIM_START_S + sim->now_ms / 1000 + 1500,
                                  .memo = {"x", 1}};
    store_be64(operation.id.bytes, random_next(&sim->random));
    store_be64(operation.condition.bytes, random_next(&sim->random));
    if (!by_hub)
        operation.peer = sim->wallets[sim_roll(sim, sim->client_count)].party.address;
    if (sim_roll(sim, 3) == 0)
        operation.type = OPERATION_REFUND;
    else if (sim_roll(sim, 3) == 0)
        operation = (struct operation){.type = OPERATION_EXPIRE, .lock_id = 1 + sim_roll(sim, 6)};
    body_encode(body, &operation, 1);
}

/* One thing wrong, or several. */
static void spoil(struct sim *sim, struct balance_proof *proof)
{
    switch (sim_roll(sim, 7)) {
    case 0:
        proof->nonce += sim_roll(sim, 4);
        return;
    case 1:
        proof->nonce = random_next(&sim->random);
        return;
    case 2:
        proof->transferred.units -=
            proof->transferred.units > 0 ? 1 + sim_roll(sim, proof->transferred.units) : 0;
        return;
    case 3:
        proof->transferred.units = AMOUNT_LIMIT - 1 - sim_roll(sim, 1000);
        return;
    case 4:
        proof->locked.units += 1 + sim_roll(sim, 100);
        return;
    case 5:
        proof->locks_root.bytes[3] ^= 1;
        return;
    default:
        return;
    }
}

static void forge_update(struct sim *sim, const struct sim_stream *stream, struct sim_link *link, bool by_hub,
                         bool same_nonce, const struct secret_key *key)
{
    struct buffer body = {0};
    struct balance_proof proof = stream->left[by_hub ? SIDE_HUB : SIDE_CLIENT].proof;
    some_body(sim, &body, by_hub);
    if (same_nonce)
        proof.transferred.units += 1 + sim_roll(sim, 5);
    else
        proof.nonce++;
    if (!same_nonce || sim_roll(sim, 2) == 0)
        spoil(sim, &proof);
    if (proof.nonce == 0)
        proof.nonce = 1;
    proof.body_hash = keccak256(body.data, body.length);
    struct hash digest = digest_balance_proof(&sim->domain, &stream->channel, &proof);
    struct message message = {.type = MESSAGE_UPDATE};
    message.update = (struct update){.channel = stream->channel,
                                     .proof = proof,
                                     .signature = key_sign(key, &digest),
                                     .body = body.data,
                                     .body_length = body.length};
    if (sim_roll(sim, 4) == 0)
        message.update.signature.bytes[7] ^= 1;
    slip_in(link, !by_hub, &message);
    buffer_free(&body);
}

static void forge_answer(struct sim *sim, const struct sim_stream *stream, struct sim_link *link, bool by_hub)
{
    struct revealed revealed = {.witness = {.length = 32}};
    struct failed failed = {.code = CODE_INVOICE};
    struct message message = {.type = MESSAGE_ACK};
    message.ack.channel = stream->channel;
    message.ack.nonce = random_next(&sim->random);
    store_be64(revealed.id.bytes, random_next(&sim->random));
    if (sim->payment_count > 0)
        revealed.id = failed.id = sim->payments[sim_roll(sim, sim->payment_count)].id;
    switch (sim_roll(sim, 4)) {
    case 0:
        message = (struct message){.type = MESSAGE_REVEAL};
        message.reveal.channel = stream->channel;
        message.reveal.items = &revealed;
        message.reveal.count = 1;
        break;
    case 1:
        message = (struct message){.type = MESSAGE_REVOKE};
        message.revoke.channel = stream->channel;
        message.revoke.min_nonce = 1 + sim_roll(sim, 20);
        break;
    case 2:
        if (by_hub)
            break;
        message = (struct message){.type = MESSAGE_SETTLE_SIGN};
        message.settle_sign.channel = stream->channel;
        message.settle_sign.seq = 1;
        break;
    default:
        break;
    }
    slip_in(link, !by_hub, &message);
}

bool forge_by_client(struct sim *sim, struct sim_wallet *wallet)
{
    bool of_another = sim_roll(sim, 5) == 0;
    const struct sim_stream *stream = some_stream(sim, of_another ? -1 : (int)wallet->party.index);
    struct sim_link *link = link_of(sim, wallet->party.index);
    if (stream == NULL || link == NULL)
        return false;
    if (sim_roll(sim, 3) == 0)
        forge_answer(sim, stream, link, false);
    else
        forge_update(sim, stream, link, false, sim_roll(sim, 3) == 0, &wallet->party.key);
    return true;
}

bool forge_by_hub(struct sim *sim, enum sim_fault how)
{
    const struct sim_stream *stream = some_stream(sim, -1);
    struct sim_link *link = stream == NULL ? NULL : link_of(sim, stream->client);
    if (link == NULL)
        return false;
    if (how == HUB_EQUIVOCATES)
        forge_update(sim, stream, link, true, true, &sim->hub.party.key);
    else if (sim_roll(sim, 3) == 0)
        forge_answer(sim, stream, link, true);
    else
        forge_update(sim, stream, link, true, false, &sim->hub.party.key);
    return true;
}
