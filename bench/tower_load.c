#include "bench/tower_load.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/index.h"
#include "crypto/hash.h"
#include "wire/link.h"

#define UNITS      1000
#define TIMEOUT_MS 600000

struct appointed {
    struct secret_key key; /* the client's */
    struct channel_key channel;
    struct hash id, digest;
    struct buffer frame;
    uint64_t answered; /* nonce */
};

struct tower_load {
    struct world *world;
    struct domain domain;
    uint64_t count;
    struct appointed *all;
    struct index by_id;
    struct link *link;
    bool ready, verify, failed;
    uint32_t window;
    uint64_t nonce, sent, answered;
};

static bool open_channels(struct tower_load *load)
{
    struct world *world = load->world;
    if (!world_add_pool(world, load->count * UNITS))
        return false;
    for (uint64_t i = 0; i < load->count; i++) {
        struct appointed *each = &load->all[i];
        struct hash hash = keccak256_pair("tower client", 12, &i, sizeof(i));
        memcpy(each->key.bytes, hash.bytes, sizeof(each->key.bytes));
        each->channel = (struct channel_key){.client = secret_key_address(&each->key)};
        each->id = channel_id(&each->channel);
        index_add(&load->by_id, load_be64(each->id.bytes), each);
        if (!world_open_funded(world, &each->channel, UNITS))
            return false;
    }
    return world_open_end(world);
}

struct tower_load *tower_load_new(struct world *world, uint64_t channels)
{
    struct tower_load *load = xcalloc(1, sizeof(*load));
    load->world = world;
    load->count = channels;
    load->all = xcalloc(channels, sizeof(*load->all));
    if (open_channels(load)) {
        load->domain = domain_make(ledger_chain_id(world->ledger), &world->contract);
        return load;
    }
    tower_load_free(load);
    return NULL;
}

void tower_load_free(struct tower_load *load)
{
    if (load == NULL)
        return;
    for (uint64_t i = 0; i < load->count; i++)
        buffer_free(&load->all[i].frame);
    index_free(&load->by_id);
    free(load->all);
    free(load);
}

static void sign_all(struct tower_load *load)
{
    for (uint64_t i = 0; i < load->count; i++) {
        struct appointed *each = &load->all[i];
        struct message message = {.type = MESSAGE_APPOINT};
        struct balance_proof proof = {.nonce = load->nonce, .transferred = amount_of(load->nonce)};
        proof.body_hash = keccak256(&load->nonce, sizeof(load->nonce));
        each->digest = digest_balance_proof(&load->domain, &each->id, &proof);
        message.appoint.key = each->channel;
        message.appoint.proof = (struct shown_proof){true, proof, key_sign(&each->key, &each->digest)};
        buffer_clear(&each->frame);
        message_encode(&each->frame, &message);
    }
}

/* ---- the link ---- */

static void send_more(struct tower_load *load)
{
    while (load->sent < load->count && load->sent - load->answered < load->window) {
        const struct buffer *frame = &load->all[load->sent++].frame;
        link_send_frame(load->link, frame->data, frame->length);
    }
}

static void on_ready(void *context, struct link *link, const struct address *peer,
                     const struct message *welcome)
{
    struct tower_load *load = context;
    (void)link;
    (void)peer;
    (void)welcome;
    load->ready = true;
}

static struct appointed *find(const struct tower_load *load, const struct hash *channel)
{
    struct appointed *each;
    for (struct index_walk walk = index_walk(&load->by_id, load_be64(channel->bytes));
         (each = index_next(&load->by_id, &walk)) != NULL;)
        if (hash_equal(&each->id, channel))
            return each;
    return NULL;
}

/* The first one for this proof. */
static bool receipt_is_good(const struct tower_load *load, const struct message *message)
{
    struct appointed *each = find(load, &message->receipt.channel);
    if (each == NULL || each->answered == load->nonce || message->receipt.nonce != load->nonce ||
        !hash_equal(&message->receipt.proof_digest, &each->digest))
        return false;
    each->answered = load->nonce;
    if (!load->verify)
        return true;
    struct hash digest = digest_receipt(&load->domain, &each->id, load->nonce, &each->digest);
    return signature_is_by(&message->receipt.signature, &digest, &load->world->tower);
}

static void refused(struct tower_load *load, const struct message *message)
{
    if (message->type == MESSAGE_ERROR)
        world_fail(load->world, "the tower answered appointment %llu with %s: %.*s",
                   (unsigned long long)load->answered, code_name(message->error.code),
                   (int)message->error.text.length, message->error.text.data);
    else
        world_fail(load->world, "the tower answered appointment %llu with %s",
                   (unsigned long long)load->answered, message_name(message->type));
}

static void on_message(void *context, struct link *link, const struct message *message)
{
    struct tower_load *load = context;
    (void)link;
    if (load->failed)
        return;
    if (message->type != MESSAGE_RECEIPT || !receipt_is_good(load, message)) {
        load->failed = true;
        refused(load, message);
        return;
    }
    load->answered++;
    if (load->answered == load->count)
        event_base_loopbreak(load->world->base);
    else
        send_more(load);
}

static void on_closed(void *context, struct link *link, enum link_closed why, const char *reason)
{
    struct tower_load *load = context;
    (void)link;
    (void)why;
    load->link = NULL;
    load->failed = true;
    world_fail(load->world, "the tower's link closed: %s", reason);
}

static bool is_ready(void *context)
{
    const struct tower_load *load = context;
    return load->ready || load->failed;
}

static bool is_done(void *context)
{
    const struct tower_load *load = context;
    return load->answered == load->count || load->failed;
}

static bool connect_link(struct tower_load *load)
{
    static const struct link_callbacks callbacks = {
        .ready = on_ready, .message = on_message, .closed = on_closed};
    struct world *world = load->world;
    struct link_client_options options = {.host = "127.0.0.1",
                                          .port = world->tower_port,
                                          .key = world->hub_key,
                                          .chain_id = load->domain.chain_id,
                                          .contract = world->contract,
                                          .server = world->tower,
                                          .tower = true,
                                          .agent = "rill-bench"};
    load->ready = load->failed = false;
    load->link = link_connect(world->base, &options, &callbacks, load);
    return world_wait(world, is_ready, load, 20000, "the tower's handshake") && !load->failed;
}

bool tower_load_run(struct tower_load *load, uint64_t nonce, uint32_t window, bool verify,
                    struct tower_load_result *out)
{
    struct world *world = load->world;
    load->nonce = nonce;
    load->window = window;
    load->verify = verify;
    load->sent = load->answered = 0;
    world_progress(world, "signing %llu proofs", (unsigned long long)load->count);
    sign_all(load);
    if (!connect_link(load))
        return false;
    uint64_t cpu = child_cpu_us(&world->towerd), begun = clock_monotonic_us();
    send_more(load);
    bool good = world_wait(world, is_done, load, TIMEOUT_MS, "the tower's receipts") && !load->failed;
    *out = (struct tower_load_result){(double)(clock_monotonic_us() - begun) / 1e6,
                                      child_cpu_us(&world->towerd) - cpu};
    if (load->link != NULL)
        link_close(load->link);
    load->link = NULL;
    return good;
}
