/* What a stream dropped stays frozen until its receiver has revoked: the observer's own account of it, by the operations
 * of the updates that left. */
#include "tests/sim/observer.h"

static void add_lock(struct observed_locks *locks, const struct operation *operation)
{
    if (locks->count == locks->capacity) {
        locks->capacity = locks->capacity == 0 ? 16 : 2 * locks->capacity;
        locks->all = xrealloc(locks->all, locks->capacity * sizeof(*locks->all));
    }
    locks->all[locks->count++] = (struct observed_lock){
        .id = operation->lock_id, .amount = operation->amount.units + operation->fee.units};
}

static void end_lock(struct observed_locks *locks, const struct operation *operation, uint64_t nonce)
{
    size_t at = 0;
    while (at < locks->count && (locks->all[at].id != operation->lock_id || locks->all[at].dropped != 0))
        at++;
    if (at == locks->count)
        return;
    if (operation->type == OPERATION_UNLOCK)
        locks->all[at] = locks->all[--locks->count];
    else
        locks->all[at].dropped = nonce;
}

void frozen_update(struct sim *sim, struct sim_stream *stream, enum side side, const struct update *update)
{
    const struct operation *operations;
    size_t count;
    ensure(body_decode(sim->bodies, update->body, update->body_length, &operations, &count));
    for (size_t i = 0; i < count; i++) {
        if (operations[i].type == OPERATION_LOCK)
            add_lock(&stream->locks[side], &operations[i]);
        else if (operations[i].type == OPERATION_UNLOCK || operations[i].type == OPERATION_EXPIRE ||
                 operations[i].type == OPERATION_CANCEL)
            end_lock(&stream->locks[side], &operations[i], update->proof.nonce);
    }
}

void frozen_revoked(struct sim_stream *stream, enum side side, uint64_t min_nonce)
{
    struct observed_locks *locks = &stream->locks[side];
    for (size_t i = locks->count; i-- > 0;)
        if (locks->all[i].dropped != 0 && locks->all[i].dropped <= min_nonce)
            locks->all[i] = locks->all[--locks->count];
}

uint64_t frozen_units(const struct sim_stream *stream, enum side side)
{
    uint64_t units = 0;
    for (size_t i = 0; i < stream->locks[side].count; i++)
        units += stream->locks[side].all[i].dropped != 0 ? stream->locks[side].all[i].amount : 0;
    return units;
}
