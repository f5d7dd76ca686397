#include "watchtower/tower_state.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "crypto/key.h"

struct tower *tower_new(const struct tower_options *options, const struct tower_effects *effects,
                        void *context)
{
    ensure(secret_key_is_valid(&options->key) && options->challenge_period_s > 0);
    struct tower *tower = xcalloc(1, sizeof *tower);
    tower->options = *options;
    tower->effects = *effects;
    tower->context = context;
    tower->domain = domain_make(options->chain_id, &options->contract);
    tower->self = secret_key_address(&options->key);
    tower->rules = (struct appointment_rules){.domain = tower->domain,
                                              .tower = tower->self,
                                              .hub = options->hub,
                                              .register_margin_s = options->register_margin_s};
    tower->next_id = 1;
    return tower;
}

void tower_free(struct tower *tower)
{
    if (tower == NULL)
        return;
    struct question *question, *next;
    HASH_ITER(hh, tower->questions, question, next)
    {
        HASH_DEL(tower->questions, question);
        free(question);
    }
    desk_free(tower);
    watch_free_all(tower);
    respond_free_all(tower);
    bytes_wipe(&tower->options.key, sizeof tower->options.key);
    free(tower);
}

void tower_say(struct tower *tower, enum log_level level, const char *format, ...)
{
    char line[LOG_LINE_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    tower->effects.say(tower->context, level, line);
}

void tower_append(struct tower *tower, const struct buffer *batch)
{
    ensure(batch->length > 0);
    uint64_t sequence = tower->effects.append(tower->context, batch->data, batch->length);
    ensure(sequence > tower->appended);
    tower->appended = sequence;
}

uint64_t tower_block_time(const struct tower *tower)
{
    return tower->head.time;
}

uint64_t tower_time_estimate(const struct tower *tower)
{
    return tower->head.time + (tower->now_ms - tower->head_ms) / 1000;
}

uint64_t retry_after_ms(uint32_t failures)
{
    uint64_t wait = RETRY_MS_FIRST;
    while (failures-- > 1 && wait < RETRY_MS_MAX)
        wait *= 2;
    return wait < RETRY_MS_MAX ? wait : RETRY_MS_MAX;
}

/* ---- questions ---- */

void tower_ask(struct tower *tower, const struct question *question, const struct contract_call *view)
{
    struct question *open = xcalloc(1, sizeof *open);
    *open = *question;
    open->id = tower->next_id++;
    HASH_ADD(hh, tower->questions, id, sizeof open->id, open);
    tower->effects.ask(tower->context, open->id, view);
}

static void ask_standing(struct tower *tower)
{
    tower_ask(tower, &(struct question){.kind = QUESTION_IS_TOWER},
              &(struct contract_call){.function = CONTRACT_IS_TOWER, .address = tower->self});
}

static void standing_answered(struct tower *tower, bool ok, const uint8_t *data, size_t length)
{
    unsigned_wide allowed;
    if (!ok || !contract_decode_word(data, length, 0, &allowed))
        return; /* it is asked again where it matters */
    if (tower->is_tower != (allowed != 0))
        tower_say(tower, LOG_INFO, "the hub's setTower %s this tower",
                  allowed != 0 ? "allows" : "no longer allows");
    tower->is_tower = allowed != 0;
}

void tower_answer(struct tower *tower, uint64_t id, bool ok, const uint8_t *data, size_t length)
{
    struct question *found;
    HASH_FIND(hh, tower->questions, &id, sizeof id, found);
    ensure(found != NULL);
    struct question question = *found;
    HASH_DEL(tower->questions, found);
    free(found);
    switch (question.kind) {
    case QUESTION_IS_TOWER:
        standing_answered(tower, ok, data, length);
        break;
    case QUESTION_CANDIDATE:
    case QUESTION_CANDIDATE_TOWER:
        if (question.kind == QUESTION_CANDIDATE_TOWER)
            standing_answered(tower, ok, data, length);
        desk_answer(tower, &question, ok, data, length);
        break;
    case QUESTION_CHANNEL:
    case QUESTION_CLOSING:
    case QUESTION_HELD:
    case QUESTION_REGISTERED:
    case QUESTION_UNLOCKED:
        watch_answer(tower, &question, ok, data, length);
        break;
    }
    watch_run(tower);
}

void tower_outcome(struct tower *tower, uint64_t submission, enum ledger_error error, bool success,
                   enum contract_error reverted)
{
    respond_outcome(tower, submission, error, success, reverted);
    watch_run(tower);
}

/* ---- the journal ---- */

bool tower_cursor(const struct tower *tower, uint64_t *block)
{
    *block = tower->cursor;
    return tower->has_cursor;
}

void tower_begin(struct tower *tower, uint64_t block)
{
    ensure(!tower->has_cursor && !tower->has_identity);
    tower->has_cursor = tower->has_identity = true;
    tower->cursor = block;
    struct buffer batch = {0};
    disk_write_identity(&batch, tower);
    disk_write_cursor(&batch, block);
    tower_append(tower, &batch);
    buffer_free(&batch);
}

/* Everything before `block` has been seen, confirmed. */
static void move_cursor(struct tower *tower, uint64_t block)
{
    if (!tower->has_cursor || block <= tower->cursor)
        return;
    tower->cursor = block;
    struct buffer batch = {0};
    disk_write_cursor(&batch, block);
    tower_append(tower, &batch);
    buffer_free(&batch);
}

/* ---- inputs ---- */

void tower_message(struct tower *tower, uint64_t peer, const struct address *user,
                   const struct message *message)
{
    if (message->type == MESSAGE_APPOINT)
        desk_appoint(tower, peer, user, message);
    else if (message->type == MESSAGE_FETCH)
        desk_fetch(tower, peer, user, message);
    watch_run(tower);
}

/* An event may tell of a block that the head callback has not announced yet. */
static void note_block(struct tower *tower, uint64_t number, uint64_t time)
{
    if (tower->has_head && number > tower->head.number && time >= tower->head.time) {
        tower->head.number = number;
        tower->head.time = time;
        tower->head_ms = tower->now_ms;
    }
}

void tower_event(struct tower *tower, const struct contract_event *event)
{
    note_block(tower, event->block, event->block_time);
    switch (event->type) {
    case EVENT_CLOSE_STARTED:
    case EVENT_CHALLENGED:
    case EVENT_LOCKS_VOIDED:
    case EVENT_FINISHED:
    case EVENT_UNLOCKED:
        watch_open(tower, &event->channel, true);
        break;
    case EVENT_SETTLED:
        if (event->close)
            watch_open(tower, &event->channel, true);
        break;
    case EVENT_CONDITION_MET:
        watch_condition_met(tower, event->kind, &event->condition);
        break;
    case EVENT_TOWER_SET:
        if (address_equal(&event->address, &tower->self))
            ask_standing(tower);
        break;
    case EVENT_ASSET_LISTED:
    case EVENT_POOL_DEPOSITED:
    case EVENT_POOL_WITHDRAWN:
    case EVENT_OPENED:
    case EVENT_FUNDED:
    case EVENT_SETTLE_SKIPPED:
    case EVENT_BATCH_SETTLED:
    case EVENT_OWED_RECORDED:
    case EVENT_OWED_WITHDRAWN:
    case EVENT_TOKEN_CREATED:
    case EVENT_TYPE_COUNT:
        break;
    }
    watch_run(tower);
}

void tower_head(struct tower *tower, const struct ledger_head *head)
{
    bool first = !tower->has_head;
    tower->has_head = true;
    tower->head = *head;
    tower->head_ms = tower->now_ms;
    move_cursor(tower, head->confirmed_number + 1);
    if (first)
        ask_standing(tower);
    watch_schedule(tower);
    watch_run(tower);
}

void tower_tick(struct tower *tower, uint64_t now_ms)
{
    ensure(now_ms >= tower->now_ms);
    if (tower->now_ms == 0)
        tower->head_ms = now_ms;
    tower->now_ms = now_ms;
    watch_schedule(tower);
    watch_run(tower);
}

struct tower_figures tower_figures(const struct tower *tower)
{
    struct tower_figures figures = tower->figures;
    figures.users = HASH_COUNT(tower->users);
    figures.appointments = HASH_COUNT(tower->appointments);
    figures.watches = HASH_COUNT(tower->watches);
    figures.responses_in_flight = tower->in_flight;
    figures.alarms = 0;
    for (const struct watch *watch = tower->watches; watch != NULL; watch = watch->hh.next)
        for (unsigned i = 0; i < ALARM_KIND_COUNT; i++)
            figures.alarms += watch->alarm[i];
    figures.head = tower->head.number;
    figures.confirmed = tower->head.confirmed_number;
    return figures;
}
