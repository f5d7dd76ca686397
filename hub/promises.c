/* What the hub's watchtowers have signed for: of each channel a tower's newest receipt and the client's proof that it is for,
 * constant in size whatever the number of payments. It is kept to be shown if the tower does not act
 * (ledger/evidence.h judges that), and for nothing else: what a tower holds it is asked for anew after each start.
 *
 * A receipt is written with whatever the hub writes next, a second later at the latest. A revocation that a receipt allows
 * is such a batch: it does not leave before the receipt is durable. When the channel has ended, a promise that was kept is
 * let go. One that was not stays.
 */
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/log.h"
#include "channel/signed_proof.h"
#include "hub/engine_state.h"

#define PROMISE_RECORD_VERSION 1

struct promise_key {
    struct hash channel;
    struct address tower;
};

struct watch *promise_watch(const struct engine *engine, struct hub_channel *channel, size_t tower)
{
    if (channel->watch == NULL)
        channel->watch = xcalloc(engine->settings.tower_count, sizeof(*channel->watch));
    return &channel->watch[tower];
}

static void mark_dirty(struct engine *engine, struct hub_channel *channel, size_t tower)
{
    struct promise *promise = channel->watch[tower].promise;
    if (promise->is_dirty)
        return;
    promise->is_dirty = true;
    promise->next_dirty = engine->towers[tower].promises_dirty;
    engine->towers[tower].promises_dirty = channel;
}

void promise_keep(struct engine *engine, const struct appointed *reason, size_t tower,
                  const struct signature *receipt)
{
    struct hub_channel *channel = reason->channel;
    struct watch *watch = promise_watch(engine, channel, tower);
    if (reason->proof.nonce == 0 || channel->channel->funds.stage == STAGE_CLOSED)
        return; /* nothing that a tower could fail at */
    if (watch->promise == NULL)
        watch->promise = xcalloc(1, sizeof(*watch->promise));
    else if (watch->promise->proof.nonce >= reason->proof.nonce)
        return; /* asked for anew, after a start */
    watch->promise->receipt = *receipt;
    watch->promise->proof = reason->proof;
    watch->promise->signature = reason->signature;
    mark_dirty(engine, channel, tower);
}

/* By a close of the client's that ended with less than the tower had. */
static bool is_broken(const struct dispute *dispute, const struct promise *promise)
{
    return dispute != NULL && dispute->confirmed && !dispute->by_hub &&
           evidence_falls_short(&dispute->confirmed_claim, &promise->proof);
}

void promises_over(struct engine *engine, struct hub_channel *channel)
{
    for (size_t i = 0; channel->watch != NULL && i < engine->settings.tower_count; i++) {
        struct promise *promise = channel->watch[i].promise;
        if (promise == NULL)
            continue;
        if (!is_broken(channel->dispute, promise)) {
            promise->is_over = true;
            mark_dirty(engine, channel, i);
            continue;
        }
        log_warn("tower %s had signed for proof %llu of channel %s, which has ended with %llu: see rill hub "
                 "tower-prove",
                 address_text(&engine->settings.towers[i].address, (char[ADDRESS_TEXT_SIZE]){0}),
                 (unsigned long long)promise->proof.nonce,
                 hash_text(&channel->channel->id, (char[HASH_TEXT_SIZE]){0}),
                 (unsigned long long)channel->dispute->confirmed_claim.nonce);
    }
}

size_t engine_tower_evidence(const struct engine *engine, const struct hash *id,
                             struct evidence out[ENGINE_TOWERS_MAX])
{
    const struct hub_channel *channel = engine_channel(engine, id);
    const struct domain *domain = &engine->settings.domain;
    size_t count = 0;
    for (size_t i = 0; channel != NULL && channel->watch != NULL && i < engine->settings.tower_count; i++) {
        const struct promise *promise = channel->watch[i].promise;
        if (promise == NULL || promise->is_over)
            continue;
        out[count++] = (struct evidence){.chain_id = domain->chain_id,
                                         .contract = domain->contract,
                                         .tower = engine->settings.towers[i].address,
                                         .key = channel->channel->key,
                                         .digest = digest_balance_proof(domain, id, &promise->proof),
                                         .receipt = promise->receipt,
                                         .proof = promise->proof,
                                         .signature = promise->signature};
    }
    return count;
}

void promises_free(const struct engine *engine, struct hub_channel *channel)
{
    for (size_t i = 0; channel->watch != NULL && i < engine->settings.tower_count; i++)
        free(channel->watch[i].promise);
}

/* ---- on disk ---- */

static void write_one(struct engine *engine, struct hub_channel *channel, size_t tower)
{
    struct promise *promise = channel->watch[tower].promise;
    struct buffer *batch = &engine->batch;
    const struct promise_key key = {channel->channel->id, engine->settings.towers[tower].address};
    _Static_assert(sizeof(key) == sizeof(key.channel) + sizeof(key.tower), "no gap in a key");
    if (promise->is_over) {
        record_gone(batch, RECORD_PROMISE, &key, sizeof(key));
        free(promise);
        channel->watch[tower].promise = NULL;
        return;
    }
    size_t mark = record_begin(batch, RECORD_PROMISE, &key, sizeof(key));
    buffer_u8(batch, PROMISE_RECORD_VERSION);
    buffer_append(batch, promise->receipt.bytes, sizeof(promise->receipt.bytes));
    buffer_u64(batch, promise->proof.nonce);
    signed_proof_write(batch, &promise->proof, &promise->signature);
    record_end(batch, mark);
    promise->is_dirty = false;
}

void promises_write(struct engine *engine)
{
    if (engine->batch.length == 0 && engine->archive.length == 0 && !engine->promises_due)
        return;
    engine->promises_due = false;
    for (size_t i = 0; i < engine->settings.tower_count; i++) {
        struct hub_channel *channel = engine->towers[i].promises_dirty, *next;
        for (; channel != NULL; channel = next) {
            next = channel->watch[i].promise->next_dirty;
            write_one(engine, channel, i);
        }
        engine->towers[i].promises_dirty = NULL;
    }
}

/* What a tower signed that is not set any more stays on disk, and is not read. */
bool promise_read(struct engine *engine, const struct record *record)
{
    struct promise_key key;
    if (record->key_length != sizeof(key))
        return false;
    memcpy(&key, record->key, sizeof(key));
    struct hub_channel *channel = engine_channel(engine, &key.channel);
    size_t tower = 0;
    while (tower < engine->settings.tower_count &&
           !address_equal(&engine->settings.towers[tower].address, &key.tower))
        tower++;
    if (channel == NULL || tower == engine->settings.tower_count)
        return channel != NULL || record->gone;
    struct watch *watch = promise_watch(engine, channel, tower);
    if (record->gone) {
        free(watch->promise);
        watch->promise = NULL;
        return true;
    }
    struct reader reader = reader_of(record->value, record->value_length);
    if (watch->promise == NULL)
        watch->promise = xcalloc(1, sizeof(*watch->promise));
    struct promise *promise = watch->promise;
    bool known = reader_u8(&reader) == PROMISE_RECORD_VERSION;
    reader_copy(&reader, promise->receipt.bytes, sizeof(promise->receipt.bytes));
    promise->proof.nonce = reader_u64(&reader);
    signed_proof_read(&reader, &promise->proof, &promise->signature);
    return known && reader_done(&reader) && promise->proof.nonce > 0;
}
