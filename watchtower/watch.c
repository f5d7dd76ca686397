/* Watches: channels that need attention, and the looks at them.
 *
 *     open ─▶ queued ─▶ looking: channel, closing, then held, registrations, unlocks (as needed) ─▶ decide
 *               ▲         └─ a question unanswered: again after a pause ─▶ waiting ◀──────────────────┘
 *               └─ block, time or pause reached; event; outcome of a transaction ─┘
 *
 *     decide finds nothing left, at two looks `confirmations` blocks apart or more ─▶ the watch is closed
 */
#include "watchtower/tower_state.h"

#include <stdlib.h>
#include <utlist.h>

#include "base/ensure.h"

/* ---- the table ---- */

struct watch *watch_find(const struct tower *tower, const struct hash *channel)
{
    struct watch *watch;
    HASH_FIND(hh, tower->watches, channel->bytes, sizeof channel->bytes, watch);
    return watch;
}

struct watch *watch_insert(struct tower *tower, const struct hash *channel)
{
    ensure(watch_find(tower, channel) == NULL);
    struct watch *watch = xcalloc(1, sizeof *watch);
    watch->channel = *channel;
    watch->look_at_block = watch->look_at_time = watch->look_at_ms = UINT64_MAX;
    HASH_ADD(hh, tower->watches, channel.bytes, sizeof watch->channel.bytes, watch);
    return watch;
}

void watch_remove(struct tower *tower, struct watch *watch)
{
    ensure(!watch->looking);
    if (watch->queued)
        DL_DELETE(tower->queue, watch);
    HASH_DEL(tower->watches, watch);
    free(watch);
}

void watch_free_all(struct tower *tower)
{
    struct watch *watch, *next;
    HASH_ITER(hh, tower->watches, watch, next)
    {
        watch->looking = false;
        watch_remove(tower, watch);
    }
}

void watch_look_soon(struct tower *tower, struct watch *watch)
{
    if (watch->looking) {
        watch->again = true;
    } else if (!watch->queued) {
        watch->queued = true;
        DL_APPEND(tower->queue, watch);
    }
}

void watch_open(struct tower *tower, const struct hash *channel, bool record)
{
    if (!desk_serves(tower, channel))
        return;
    struct watch *watch = watch_find(tower, channel);
    if (watch == NULL)
        watch = watch_insert(tower, channel);
    if (record && !watch->recorded) {
        struct buffer batch = {0};
        disk_write_watch(&batch, channel, false);
        tower_append(tower, &batch);
        buffer_free(&batch);
        watch->recorded = true;
    }
    watch->quiet = false;
    watch_look_soon(tower, watch);
}

/* Deletes the appointments of a closed channel, and the watch, in one batch. */
static void watch_close(struct tower *tower, struct watch *watch)
{
    struct buffer batch = {0};
    for (unsigned side = SIDE_CLIENT; watch->state.status == CHANNEL_CLOSED && side <= SIDE_HUB; side++) {
        struct appointment *appointment = desk_find(tower, &watch->channel, (enum side)side);
        if (appointment == NULL)
            continue;
        disk_write_appointment_gone(&batch, appointment);
        desk_remove(tower, appointment);
    }
    if (watch->recorded)
        disk_write_watch(&batch, &watch->channel, true);
    if (batch.length > 0)
        tower_append(tower, &batch);
    buffer_free(&batch);
    if (watch->state.status == CHANNEL_CLOSED) {
        char text[HASH_TEXT_SIZE];
        tower_say(tower, LOG_INFO, "channel %s is closed and done with: appointment deleted",
                  hash_text(&watch->channel, text));
    }
    respond_forget(tower, &watch->channel);
    watch_remove(tower, watch);
}

/* ---- looks ---- */

static void look_begin(struct tower *tower, struct watch *watch)
{
    DL_DELETE(tower->queue, watch);
    watch->queued = false;
    watch->looking = true;
    watch->again = watch->failed = false;
    watch->asked_state = watch->asked_held = false;
    watch->look_at_block = watch->look_at_time = watch->look_at_ms = UINT64_MAX;
    tower->looks++;
    for (unsigned side = SIDE_CLIENT; side <= SIDE_HUB; side++) {
        struct appointment *appointment = desk_find(tower, &watch->channel, (enum side)side);
        for (size_t i = 0; appointment != NULL && i < appointment->lock_count; i++)
            appointment->locks[i].asked_registered = appointment->locks[i].asked_unlocked = false;
    }
}

static void look_failed(struct tower *tower, struct watch *watch)
{
    watch->failures++;
    watch->look_at_ms = tower->now_ms + retry_after_ms(watch->failures);
}

/* Returns false if the watch is no more. */
static bool look_decided(struct tower *tower, struct watch *watch)
{
    watch->failures = 0;
    bool quiet = decide(tower, watch) && !respond_in_flight(tower, &watch->channel) && !watch->again;
    if (!quiet) {
        watch->quiet = false;
        return true;
    }
    if (!watch->quiet) {
        watch->quiet = true;
        watch->quiet_since = tower->head.number;
    }
    if (tower->head.number >= watch->quiet_since + tower->options.confirmations) {
        watch_close(tower, watch);
        return false;
    }
    watch->look_at_block = watch->quiet_since + tower->options.confirmations;
    return true;
}

/* Asks what is still missing; with nothing missing, decides and ends the look. */
static void look_step(struct tower *tower, struct watch *watch)
{
    ensure(watch->looking && watch->waiting == 0);
    if (!watch->failed && decide_questions(tower, watch) > 0)
        return;
    watch->looking = false;
    ensure(tower->looks > 0);
    tower->looks--;
    if (watch->failed)
        look_failed(tower, watch);
    else if (!look_decided(tower, watch))
        return;
    if (watch->again)
        watch_look_soon(tower, watch);
}

static bool take_answer(struct tower *tower, struct watch *watch, const struct question *question,
                        const uint8_t *data, size_t length)
{
    unsigned_wide value = 0, other = 0;
    switch (question->kind) {
    case QUESTION_CHANNEL:
        return contract_decode_channel(data, length, &watch->state);
    case QUESTION_CLOSING:
        return contract_decode_closing(data, length, &watch->closing);
    case QUESTION_HELD:
        if (!contract_decode_word(data, length, 0, &value) || !contract_decode_word(data, length, 1, &other))
            return false;
        watch->held[SIDE_CLIENT] = amount_of((uint64_t)value);
        watch->held[SIDE_HUB] = amount_of((uint64_t)other);
        return true;
    case QUESTION_REGISTERED:
    case QUESTION_UNLOCKED:
        break;
    case QUESTION_IS_TOWER:
    case QUESTION_CANDIDATE:
    case QUESTION_CANDIDATE_CLOSING:
    case QUESTION_CANDIDATE_TOWER:
        ensure(false);
    }
    if (!contract_decode_word(data, length, 0, &value))
        return false;
    struct appointment *appointment = desk_find(tower, &question->channel, question->side);
    struct held_lock *held = appointment == NULL ? NULL : appointment_lock(appointment, question->lock_id);
    if (held == NULL)
        return true; /* replaced since; the new locks are asked for in the next step */
    if (question->kind == QUESTION_REGISTERED) {
        held->asked_registered = true;
        held->registered_at = value > UINT64_MAX ? UINT64_MAX : (uint64_t)value;
    } else {
        held->asked_unlocked = true;
        held->unlocked = value != 0;
    }
    return true;
}

void watch_answer(struct tower *tower, const struct question *question, bool ok, const uint8_t *data,
                  size_t length)
{
    struct watch *watch = watch_find(tower, &question->channel);
    ensure(watch != NULL && watch->looking && watch->waiting > 0);
    watch->waiting--;
    if (!ok || !take_answer(tower, watch, question, data, length))
        watch->failed = true;
    if (watch->waiting == 0)
        look_step(tower, watch);
}

void watch_condition_met(struct tower *tower, uint8_t kind, const struct hash *condition)
{
    for (struct watch *watch = tower->watches; watch != NULL; watch = watch->hh.next) {
        for (unsigned side = SIDE_CLIENT; side <= SIDE_HUB; side++) {
            const struct appointment *appointment = desk_find(tower, &watch->channel, (enum side)side);
            for (size_t i = 0; appointment != NULL && i < appointment->lock_count; i++)
                if (appointment->locks[i].lock.kind == kind &&
                    hash_equal(&appointment->locks[i].lock.condition, condition)) {
                    watch_look_soon(tower, watch);
                    break;
                }
        }
    }
}

/* ---- when ---- */

static bool watch_is_due(const struct tower *tower, const struct watch *watch)
{
    return tower->head.number >= watch->look_at_block || tower_time_estimate(tower) >= watch->look_at_time ||
           tower->now_ms >= watch->look_at_ms;
}

void watch_schedule(struct tower *tower)
{
    if (!tower->has_head)
        return;
    for (struct watch *watch = tower->watches; watch != NULL; watch = watch->hh.next)
        if (!watch->queued && watch_is_due(tower, watch))
            watch_look_soon(tower, watch);
    uint64_t now = tower_time_estimate(tower);
    if (now < tower->next_register)
        return;
    size_t at = 0;
    struct appointment *each;
    tower->next_register = UINT64_MAX;
    while ((each = desk_each(tower, &at)) != NULL) {
        desk_scheduled(tower, each);
        if (each->register_from <= now && watch_find(tower, &each->channel) == NULL)
            watch_open(tower, &each->channel, false);
    }
}

void watch_run(struct tower *tower)
{
    while (tower->has_head && tower->looks < LOOKS_MAX && tower->queue != NULL) {
        struct watch *watch = tower->queue;
        look_begin(tower, watch);
        look_step(tower, watch);
    }
}
