/* The ledger as the wallet sees it: events and heads come in, transactions and questions go out. */
#include "wallet/core_state.h"

#include <stdio.h>
#include <string.h>

void wallet_ledger_free(struct wallet_core *core)
{
    wallet_conditions_free(core);
    struct submission *submission, *next_submission;
    HASH_ITER(hh, core->submissions, submission, next_submission)
    {
        HASH_DEL(core->submissions, submission);
        free(submission);
    }
    struct duty *duty, *next_duty;
    HASH_ITER(hh, core->duties, duty, next_duty)
    {
        HASH_DEL(core->duties, duty);
        free(duty);
    }
    struct question *question, *next_question;
    HASH_ITER(hh, core->questions, question, next_question)
    {
        HASH_DEL(core->questions, question);
        free(question);
    }
    struct owed_asset *owed, *next_owed;
    DL_FOREACH_SAFE(core->owed, owed, next_owed)
    {
        free(owed);
    }
}

/* ---- funds ---- */

#define IN_VIEW_BLOCKS 2 /* that may come while the newest is asked for */

enum funds_change wallet_funds_apply(struct channel_funds *funds, const struct contract_event *event)
{
    switch (event->type) {
    case EVENT_OPENED:
        funds->stage = STAGE_OPEN;
        return FUNDS_CHANGED;
    case EVENT_FUNDED:
        return funds_pay_in(funds, event->client_amount, event->hub_amount) ? FUNDS_CHANGED
                                                                            : FUNDS_IMPOSSIBLE;
    case EVENT_SETTLED:
        if (!event->close)
            return funds_pay_out(funds, event->client_out, event->hub_out, event->seq) ? FUNDS_CHANGED
                                                                                       : FUNDS_IMPOSSIBLE;
        *funds = (struct channel_funds){.seq = event->seq, .stage = STAGE_CLOSED};
        return FUNDS_CHANGED;
    case EVENT_CLOSE_STARTED:
        funds->stage = STAGE_CLOSING;
        return FUNDS_CHANGED;
    case EVENT_FINISHED:
        *funds = (struct channel_funds){.seq = funds->seq, .stage = STAGE_CLOSED};
        return FUNDS_CHANGED;
    default:
        return FUNDS_SAME;
    }
}

static void tell_impossible(struct wallet_core *core, const struct wallet_channel *own)
{
    wallet_trouble(
        core, own,
        "the ledger node reports funds of a channel that cannot be: ignored; check the node, or use "
        "another");
}

/* The hub's word about a block that both have seen must agree with the ledger. */
static void compare_told(struct wallet_core *core, struct wallet_channel *own)
{
    const struct channel_funds *funds = &own->channel->funds, *told = &own->channel->told;
    if (own->told_block == 0 || own->told_block > core->head.confirmed_number ||
        own->mark_block > own->told_block)
        return;
    if (funds->seq == told->seq &&
        (funds->base != told->base || amount_compare(funds->total, told->total) != 0))
        wallet_trouble(
            core, own,
            "the hub's word about the channel's funds differs from the ledger; the smaller counts");
    own->told_block = 0;
}

static void channel_event(struct wallet_core *core, struct wallet_channel *own,
                          const struct contract_event *event)
{
    if (!event->confirmed) {
        wallet_close_event(core, own, event);
        return;
    }
    /* Exactly once, whatever the follower repeats after a restart. */
    if (event->block < own->mark_block ||
        (event->block == own->mark_block && event->log_index < own->mark_log))
        return;
    own->mark_block = event->block;
    own->mark_log = event->log_index + 1;
    own->book_dirty = true;
    struct channel_funds funds = own->channel->funds;
    enum funds_change change = wallet_funds_apply(&funds, event);
    if (change == FUNDS_IMPOSSIBLE) {
        tell_impossible(core, own);
        return;
    }
    if (change == FUNDS_CHANGED) {
        (void)channel_set_funds(own->channel, &funds);
        own->held_retry = true;
        wallet_tell_channel(core, WALLET_NEWS_FUNDS, own, "");
    }
    if (event->type == EVENT_SETTLED) {
        wallet_settle_found(core, own, event);
        if (event->close)
            wallet_payments_stop(core, own, CODE_STATUS);
    }
    wallet_close_event(core, own, event);
}

void wallet_event(struct wallet_core *core, const struct contract_event *event)
{
    if (event->type == EVENT_CONDITION_MET) {
        wallet_condition_met(core, event);
        return;
    }
    if (event->type == EVENT_OWED_RECORDED) {
        if (event->confirmed && address_equal(&event->address, &core->self))
            wallet_owed_check(core, &event->other);
        return;
    }
    struct wallet_channel *own = NULL;
    if (event->type == EVENT_OPENED && event->confirmed && address_equal(&event->address, &core->self)) {
        struct channel_key key = {core->self, event->other, event->salt};
        own = wallet_channel_make(core, &key, false);
        if (own == NULL)
            wallet_crowd(core);
    } else {
        own = wallet_channel_by_id(core, &event->channel);
    }
    if (own != NULL)
        channel_event(core, own, event);
}

void wallet_channel_state(struct wallet_core *core, const struct channel_key *key,
                          const struct channel_funds *state, uint64_t block)
{
    struct wallet_channel *own = wallet_channel_make(core, key, false);
    if (own == NULL)
        wallet_crowd(core);
    if (own == NULL || block < own->mark_block)
        return;
    struct channel_funds funds = *state;
    if (funds.total.units >= AMOUNT_LIMIT || funds.stage > STAGE_CLOSED) {
        tell_impossible(core, own);
        return;
    }
    own->mark_block = block;
    own->mark_log = UINT32_MAX;
    own->book_dirty = true;
    (void)channel_set_funds(own->channel, &funds);
    own->held_retry = true;
    if (funds.stage == STAGE_CLOSING)
        wallet_close_seen(core, own);
}

#define BLOCK_MS_MAX 30000 /* a chain that stood still for longer had nothing to do */

/* Over the young blocks, or since the head of before where none is young. */
static void observe_blocks(struct wallet_core *core, const struct ledger_head *head)
{
    uint64_t number = head->confirmed_number, time = head->confirmed_time;
    if (number == head->number) {
        number = core->head.number;
        time = core->head.time;
    }
    if (!core->has_head || head->number <= number || head->time < time)
        return;
    uint64_t each_s = (head->time - time) / (head->number - number);
    uint64_t each_ms = each_s < BLOCK_MS_MAX / 1000 ? each_s * 1000 : BLOCK_MS_MAX;
    core->block_ms = core->block_ms == 0 ? each_ms : (7 * core->block_ms + each_ms) / 8;
}

void wallet_head(struct wallet_core *core, const struct ledger_head *head)
{
    observe_blocks(core, head);
    core->head = *head;
    core->has_head = true;
    core->in_view |= head->confirmed_number + core->options.confirmations + IN_VIEW_BLOCKS >= head->number;
    core->head_moved = true;
    core->cursor = head->confirmed_number + 1;
    struct wallet_channel *own, *next;
    HASH_ITER(hh, core->channels, own, next)
    {
        if (own->held != NULL)
            own->held_retry = true;
        compare_told(core, own);
        wallet_settle_head(core, own);
    }
    wallet_payments_head(core);
    wallet_invoices_head(core);
    wallet_conditions_head(core);
}

void wallet_challenge_period(struct wallet_core *core, uint64_t seconds)
{
    core->options.challenge_period_s = seconds;
}

/* ---- transactions and questions ---- */

static struct duty *find_duty(const struct wallet_core *core, enum duty_kind kind, const struct hash *subject)
{
    struct duty *duty, probe;
    memset(&probe, 0, sizeof(probe));
    probe.key.kind = (uint32_t)kind;
    probe.key.subject = *subject;
    HASH_FIND(hh, core->duties, &probe.key, sizeof(probe.key), duty);
    return duty;
}

bool wallet_duty_done(const struct wallet_core *core, enum duty_kind kind, const struct hash *subject)
{
    const struct duty *duty = find_duty(core, kind, subject);
    return duty != NULL && duty->done;
}

bool wallet_duty_submit(struct wallet_core *core, enum duty_kind kind, const struct hash *subject,
                        const struct hash *channel, const struct contract_call *call)
{
    struct duty *duty = find_duty(core, kind, subject);
    if (duty != NULL && (duty->in_flight || duty->done))
        return false;
    if (duty != NULL && core->now_ms < duty->not_before_ms) {
        wallet_due(core, duty->not_before_ms);
        return false;
    }
    if (duty == NULL) {
        duty = xcalloc(1, sizeof(*duty));
        duty->key.kind = (uint32_t)kind;
        duty->key.subject = *subject;
        HASH_ADD(hh, core->duties, key, sizeof(duty->key), duty);
    }
    struct submission *submission = xcalloc(1, sizeof(*submission));
    submission->id = ++core->next_id;
    submission->kind = kind;
    submission->subject = *subject;
    if (channel != NULL)
        submission->channel = *channel;
    HASH_ADD(hh, core->submissions, id, sizeof(submission->id), submission);
    duty->in_flight = true;
    core->effects.submit(core->context, core->appended, submission->id, call);
    return true;
}

void wallet_ledger_register(struct wallet_core *core, const struct hash *condition, const uint8_t secret[32])
{
    struct contract_call call = {.function = CONTRACT_REGISTER_SECRET};
    memcpy(call.hash.bytes, secret, sizeof(call.hash.bytes));
    if (wallet_duty_submit(core, DUTY_REGISTER, condition, NULL, &call))
        wallet_trouble(core, NULL, "a payment was not unlocked in time: its secret goes to the ledger");
}

/* What the contract says when somebody else has done it already. */
static bool already_done(enum duty_kind kind, enum contract_error reverted)
{
    switch (kind) {
    case DUTY_UNLOCK:
        return reverted == CONTRACT_ALREADY_UNLOCKED;
    case DUTY_WITHDRAW_OWED:
        return reverted == CONTRACT_NOTHING_OWED;
    case DUTY_START_CLOSE:
    case DUTY_FINISH:
        return reverted == CONTRACT_BAD_STATUS;
    case DUTY_CHALLENGE:
    case DUTY_VOID:
    case DUTY_REGISTER:
        return false;
    }
    return false;
}

static const char *duty_name(enum duty_kind kind)
{
    static const char *const names[] = {"startClose", "challenge", "voidLocks",   "finish",
                                        "unlock",     "register",  "withdrawOwed"};
    return names[kind];
}

void wallet_outcome(struct wallet_core *core, uint64_t id, enum ledger_error error, bool success,
                    enum contract_error reverted)
{
    struct submission *submission;
    HASH_FIND(hh, core->submissions, &id, sizeof(id), submission);
    if (submission == NULL)
        return;
    struct duty *duty = find_duty(core, submission->kind, &submission->subject);
    ensure(duty != NULL);
    duty->in_flight = false;
    if (error == LEDGER_OK && success) {
        duty->failures = 0;
        /* Once is enough for these; the others are judged anew at each look. */
        duty->done = submission->kind == DUTY_UNLOCK || submission->kind == DUTY_REGISTER;
    } else if (error == LEDGER_REVERTED && already_done(submission->kind, reverted)) {
        duty->failures = 0;
        duty->done = submission->kind == DUTY_UNLOCK;
    } else {
        uint64_t wait = (uint64_t)1000 << (duty->failures < 5 ? duty->failures : 5);
        duty->failures++;
        duty->not_before_ms = core->now_ms + wait;
        wallet_due(core, duty->not_before_ms);
        if (duty->failures == 1)
            wallet_trouble(core, NULL, "%s: %s%s%s; it is tried again", duty_name(submission->kind),
                           error == LEDGER_NO_FUNDS ? "this wallet's address has no coins for gas"
                                                    : ledger_error_text(error),
                           error == LEDGER_REVERTED ? ": " : "",
                           error == LEDGER_REVERTED ? contract_error_name(reverted) : "");
    }
    struct wallet_channel *own = wallet_channel_by_id(core, &submission->channel);
    if (own != NULL)
        own->watch.looked_head = 0;
    HASH_DEL(core->submissions, submission);
    free(submission);
}

void wallet_ask(struct wallet_core *core, enum question_kind kind, const struct hash *channel,
                const struct address *asset, const struct contract_call *view)
{
    struct question *question = xcalloc(1, sizeof(*question));
    question->id = ++core->next_id;
    question->kind = kind;
    question->lock_kind = view->kind;
    if (channel != NULL)
        question->channel = *channel;
    if (asset != NULL)
        question->asset = *asset;
    HASH_ADD(hh, core->questions, id, sizeof(question->id), question);
    core->effects.ask(core->context, question->id, view);
}

void wallet_answer(struct wallet_core *core, uint64_t id, bool ok, const uint8_t *data, size_t length)
{
    struct question *question;
    HASH_FIND(hh, core->questions, &id, sizeof(id), question);
    if (question == NULL)
        return;
    if (question->kind == ASK_OWED)
        wallet_owed_answer(core, &question->asset, ok, data, length);
    else if (question->kind == ASK_REGISTERED)
        wallet_condition_answer(core, question->lock_kind, &question->channel, ok, data, length);
    else
        wallet_close_answer(core, question, ok, data, length);
    HASH_DEL(core->questions, question);
    free(question);
}
