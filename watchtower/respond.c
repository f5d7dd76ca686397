/* Transactions of the tower. Each kind of response runs at most once at a time for what it concerns; a
 * refused one is tried again after a pause that doubles, if the next look still finds it due. */
#include "watchtower/tower_state.h"

#include <stdlib.h>
#include <utlist.h>

#include "base/ensure.h"

const char *response_name(enum response_kind kind)
{
    static const char *const names[RESPONSE_KIND_COUNT] = {"challenge", "void", "register", "finish",
                                                           "unlock"};
    ensure(kind < RESPONSE_KIND_COUNT);
    return names[kind];
}

/* One registration serves every lock on the condition, in every channel. */
static bool same_response(const struct response *a, const struct response *b)
{
    if (a->kind != b->kind)
        return false;
    if (a->kind == RESPONSE_REGISTER)
        return hash_equal(&a->condition, &b->condition);
    return hash_equal(&a->channel, &b->channel) && a->side == b->side && a->lock_id == b->lock_id;
}

static void say_response(struct tower *tower, enum log_level level, const struct response *response,
                         const char *what, const char *detail)
{
    char text[HASH_TEXT_SIZE];
    tower_say(tower, level, "channel %s: %s %s%s%s", hash_text(&response->channel, text),
              response_name(response->kind), what, *detail == '\0' ? "" : ": ", detail);
}

/* False, and said once, if the response must wait for the next day. */
static bool within_budget(struct tower *tower, struct response *response)
{
    char text[HASH_TEXT_SIZE];
    if (budget_take(&tower->budget, tower_block_time(tower), response->deadline != 0)) {
        response->over_budget = false;
        return true;
    }
    if (response->over_budget)
        return false;
    response->over_budget = true;
    tower->figures.over_budget++;
    const char *name = response_name(response->kind);
    hash_text(&response->channel, text);
    if (response->deadline == 0)
        tower_say(tower, LOG_WARN, "channel %s: %s waits: the day's budget for gas is used up", text, name);
    else
        tower_raise(
            tower,
            (struct tower_alarm){.kind = TOWER_ALARM_BUDGET, .channel = &response->channel, .duty = name},
            "channel %s: no %s: the day's budget for gas is used up; raise --budget-day-gwei", text, name);
    return false;
}

uint64_t respond(struct tower *tower, const struct response *wanted, const struct contract_call *call)
{
    struct response *response;
    DL_FOREACH(tower->responses, response)
    {
        if (same_response(response, wanted))
            break;
    }
    if (response != NULL && response->in_flight)
        return UINT64_MAX;
    if (response != NULL && response->not_before_ms > tower->now_ms)
        return response->not_before_ms;
    if (tower->in_flight >= RESPONSES_MAX)
        return tower->now_ms + RETRY_MS_FIRST;
    if (response == NULL) {
        response = xcalloc(1, sizeof *response);
        *response = *wanted;
        DL_APPEND(tower->responses, response);
    }
    response->deadline = wanted->deadline;
    response->whole_s = wanted->whole_s;
    if (!within_budget(tower, response))
        return tower->now_ms + RETRY_MS_MAX;
    response->id = tower->next_id++;
    response->in_flight = true;
    tower->in_flight++;
    tower->figures.sent[response->kind]++;
    say_response(tower, LOG_INFO, response, "sent", "");
    const struct ledger_terms terms = {.budget_wei = tower->options.budget_response_wei,
                                       .deadline = response->deadline,
                                       .whole_s = response->whole_s};
    tower->effects.submit(tower->context, response->id, call, &terms);
    return UINT64_MAX;
}

static void respond_delete(struct tower *tower, struct response *response)
{
    DL_DELETE(tower->responses, response);
    free(response);
}

/* Looks at whoever waited for this. */
static void look_after(struct tower *tower, const struct response *response)
{
    struct watch *watch = watch_find(tower, &response->channel);
    if (watch != NULL && !respond_in_flight(tower, &response->channel))
        watch_look_soon(tower, watch);
    for (watch = tower->watches; response->kind == RESPONSE_REGISTER && watch != NULL; watch = watch->hh.next)
        if (!hash_equal(&watch->channel, &response->channel) && !respond_in_flight(tower, &watch->channel))
            watch_look_soon(tower, watch);
}

static void note_funds(struct tower *tower, bool lacking)
{
    if (lacking && !tower->figures.out_of_gas_money)
        tower_raise(tower, (struct tower_alarm){.kind = TOWER_ALARM_GAS_MONEY},
                    "this tower's account cannot pay for gas: send native coin to it");
    tower->figures.out_of_gas_money = lacking;
}

/* What was spent must survive a restart, or each one would begin with a full budget. */
static void note_cost(struct tower *tower, unsigned_wide cost_wei)
{
    budget_settle(&tower->budget, tower_block_time(tower), cost_wei);
    if (cost_wei == 0)
        return;
    struct buffer batch = {0};
    disk_write_spending(&batch, &tower->budget);
    tower_append(tower, &batch);
    buffer_free(&batch);
}

void respond_outcome(struct tower *tower, uint64_t submission, enum ledger_error error, bool success,
                     enum contract_error reverted, unsigned_wide cost_wei)
{
    struct response *response;
    DL_FOREACH(tower->responses, response)
    {
        if (response->in_flight && response->id == submission)
            break;
    }
    ensure(response != NULL && tower->in_flight > 0);
    response->in_flight = false;
    tower->in_flight--;
    note_cost(tower, cost_wei);
    if (error == LEDGER_OK || error == LEDGER_NO_FUNDS)
        note_funds(tower, error == LEDGER_NO_FUNDS);
    struct response done = *response;
    if (error == LEDGER_OK && success) {
        tower->figures.mined[done.kind]++;
        say_response(tower, LOG_INFO, &done, "confirmed", "");
        respond_delete(tower, response);
    } else {
        tower->figures.failed[done.kind]++;
        bool refused = error == LEDGER_REVERTED || error == LEDGER_OK;
        /* Others race for the same thing: a revert mostly means that somebody was faster. The next look
         * tells. */
        say_response(tower, refused ? LOG_INFO : LOG_WARN, &done, "not done",
                     refused ? contract_error_name(reverted) : ledger_error_text(error));
        response->failures++;
        response->not_before_ms = tower->now_ms + retry_after_ms(response->failures);
    }
    look_after(tower, &done);
}

bool respond_in_flight(const struct tower *tower, const struct hash *channel)
{
    const struct response *response;
    DL_FOREACH(tower->responses, response)
    {
        if (response->in_flight && hash_equal(&response->channel, channel))
            return true;
    }
    return false;
}

void respond_forget(struct tower *tower, const struct hash *channel)
{
    struct response *response, *next;
    DL_FOREACH_SAFE(tower->responses, response, next)
    {
        if (!response->in_flight && hash_equal(&response->channel, channel))
            respond_delete(tower, response);
    }
}

void respond_free_all(struct tower *tower)
{
    struct response *response, *next;
    DL_FOREACH_SAFE(tower->responses, response, next)
    {
        respond_delete(tower, response);
    }
}
