#include "watchtower/tower_state.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "crypto/hash.h"
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
                                              .register_margin_s = options->register_margin_s,
                                              .key = &tower->options.key};
    tower->budget =
        (struct budget){.response_wei = options->budget_response_wei, .day_wei = options->budget_day_wei};
    struct hash seed = keccak256(options->key.bytes, sizeof options->key.bytes);
    tower->seed = load_be64(seed.bytes);
    tower->next_register = UINT64_MAX;
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

const char *tower_alarm_name(enum tower_alarm_kind kind)
{
    static const char *const names[TOWER_ALARM_KIND_COUNT] = {"deadline", "missed",      "gas-money",
                                                              "budget",   "reorganised", "blind"};
    ensure(kind < TOWER_ALARM_KIND_COUNT);
    return names[kind];
}

void tower_raise(struct tower *tower, struct tower_alarm alarm, const char *format, ...)
{
    char line[LOG_LINE_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    tower_say(tower, LOG_ERROR, "ALARM: %s", line);
    alarm.line = line;
    tower->effects.alarm(tower->context, &alarm);
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
    case QUESTION_CANDIDATE_CLOSING:
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
                   enum contract_error reverted, unsigned_wide cost_wei)
{
    respond_outcome(tower, submission, error, success, reverted, cost_wei);
    watch_run(tower);
}

/* ---- the journal ---- */

bool tower_cursor(const struct tower *tower, uint64_t *block, struct hash *before)
{
    *block = tower->cursor;
    if (before != NULL)
        *before = tower->cursor_hash;
    return tower->has_cursor;
}

void tower_begin(struct tower *tower, uint64_t block)
{
    ensure(!tower->has_cursor && !tower->has_identity);
    tower->has_cursor = tower->has_identity = true;
    tower->cursor = block;
    struct buffer batch = {0};
    disk_write_identity(&batch, tower);
    disk_write_cursor(&batch, tower);
    tower_append(tower, &batch);
    buffer_free(&batch);
}

/* Everything up to the confirmed head has been seen. */
static void move_cursor(struct tower *tower, const struct ledger_head *head,
                        const struct hash *confirmed_hash)
{
    if (!tower->has_cursor || head->confirmed_number < tower->cursor)
        return;
    tower->cursor = head->confirmed_number + 1;
    tower->cursor_hash = *confirmed_hash;
    struct buffer batch = {0};
    disk_write_cursor(&batch, tower);
    tower_append(tower, &batch);
    buffer_free(&batch);
}

/* ---- inputs ---- */

void tower_message(struct tower *tower, uint64_t peer, const struct address *user,
                   const struct message *message)
{
    if (message->type == MESSAGE_APPOINT) {
        struct appointment_verdict verdict;
        appointment_judge(&tower->rules, user, message, &verdict);
        tower_appoint(tower, peer, &verdict);
        return;
    }
    if (message->type == MESSAGE_FETCH)
        desk_fetch(tower, peer, user, message);
    watch_run(tower);
}

const struct appointment_rules *tower_rules(const struct tower *tower)
{
    return &tower->rules;
}

void tower_appoint(struct tower *tower, uint64_t peer, struct appointment_verdict *verdict)
{
    desk_appoint(tower, peer, verdict);
    watch_run(tower);
}

uint64_t tower_refused(const struct tower *tower)
{
    return tower->figures.refused;
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

void tower_reorganised(struct tower *tower, uint64_t block)
{
    tower->figures.reorganised++;
    tower_raise(
        tower, (struct tower_alarm){.kind = TOWER_ALARM_REORGANISED},
        "the ledger reorganised block %llu, which was confirmed: all %zu channels are looked at anew; "
        "look at the node, and raise --confirmations if this chain does that",
        (unsigned long long)block, tower->appointments.count);
    size_t at = 0;
    struct appointment *each;
    while ((each = desk_each(tower, &at)) != NULL) {
        for (size_t i = 0; i < each->lock_count; i++)
            each->locks[i].registered_at = 0;
        appointment_schedule(each, tower->options.register_margin_s, 0);
        desk_scheduled(tower, each);
        watch_open(tower, &each->channel, false);
    }
    watch_run(tower);
}

void tower_blind(struct tower *tower, uint64_t seconds, const char *why)
{
    tower->figures.alarms_raised++;
    tower_raise(
        tower, (struct tower_alarm){.kind = TOWER_ALARM_BLIND},
        "the ledger node has given no good answer for %llu s (%s): %u channels in dispute cannot be seen",
        (unsigned long long)seconds, why, HASH_COUNT(tower->watches));
}

void tower_head(struct tower *tower, const struct ledger_head *head, const struct hash *confirmed_hash)
{
    bool first = !tower->has_head;
    tower->has_head = true;
    tower->head = *head;
    tower->head_ms = tower->now_ms;
    move_cursor(tower, head, confirmed_hash);
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
    figures.appointments = tower->appointments.count;
    figures.spent_today_wei = budget_spent(&tower->budget, tower->head.time);
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
