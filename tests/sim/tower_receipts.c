/* A tower's RECEIPT is a promise: what it was given for is there after every crash, until the channel is over. */
#include "tests/sim/observer.h"
#include "watchtower/tower_state.h"

struct receipt_seen {
    struct {
        struct hash channel;
        uint64_t tower, side;
    } key;
    uint64_t nonce;
    UT_hash_handle hh;
};

void receipt_leaves(struct sim *sim, const struct sim_link *link, const uint8_t *frame, size_t length)
{
    struct message message;
    const char *why;
    ensure(message_decode(sim->observing, frame + 4, length - 4, &message, &why) == CODE_OK);
    if (message.type != MESSAGE_RECEIPT)
        return;
    struct receipt_seen probe, *seen;
    memset(&probe, 0, sizeof(probe));
    probe.key.channel = message.receipt.channel;
    probe.key.tower = link->tower;
    probe.key.side = link->kind == LINK_HUB_TOWER ? SIDE_HUB : SIDE_CLIENT;
    HASH_FIND(hh, sim->receipts, &probe.key, sizeof(probe.key), seen);
    if (seen == NULL) {
        seen = xcalloc(1, sizeof(*seen));
        seen->key = probe.key;
        HASH_ADD(hh, sim->receipts, key, sizeof(seen->key), seen);
    }
    if (message.receipt.nonce > seen->nonce)
        seen->nonce = message.receipt.nonce;
}

void receipts_check(struct sim *sim)
{
    struct receipt_seen *seen, *next;
    HASH_ITER(hh, sim->receipts, seen, next)
    {
        const struct sim_tower *tower = &sim->towers[seen->key.tower];
        if (!tower->party.is_up ||
            vault_channel(sim->chain.vault, &seen->key.channel).status == CHANNEL_CLOSED)
            continue;
        const struct appointment *held =
            desk_find(tower->core, &seen->key.channel, (enum side)seen->key.side);
        uint64_t nonce = held == NULL ? 0 : held->proof.nonce;
        if (nonce < seen->nonce)
            sim_fail(sim, "tower %u gave a receipt for update %llu and has %llu", tower->party.index,
                     (unsigned long long)seen->nonce, (unsigned long long)nonce);
    }
}

void receipts_free(struct sim *sim)
{
    struct receipt_seen *seen, *next;
    HASH_ITER(hh, sim->receipts, seen, next)
    {
        HASH_DELETE(hh, sim->receipts, seen);
        free(seen);
    }
}
