/* Following the contract's events. Each new head is worked through in one round, one question at a time:
 *
 *     anchor    is the last block given as confirmed still in the chain? no → too_deep, said once
 *     chunks    from `next` to the confirmed head, a range of blocks each: its last block, its logs, the
 *               times of the blocks that have any, its last block again. If that is the same, the logs in
 *               between were this chain's, and are given as confirmed; if not, the round begins afresh
 *     boundary  the confirmed head itself, where no chunk has shown it
 *     early     the logs of the blocks above it, given unconfirmed, each once while its block stands
 *     head      the owner is told how far all this went
 *
 * Whatever goes wrong ends the round; the pulse begins another. A refused range of logs is halved, and grows
 * again after some good ones. A lower head than seen before is either a node that lags (waited for) or, if a
 * block is known to have had another hash, a reorganisation. A node that lags and has another first block is
 * another chain's, and said to be.
 *
 * Behind one address there may be several nodes, some of them behind: such a one answers for a range as if its
 * missing blocks had no logs. Young blocks are therefore confirmed one by one, and their logs asked for by the
 * block's hash: that a node can only answer if it has the block.
 *
 * Some nodes show a block before its logs. Where the block's bloom says there may be some, and none come,
 * the round is repeated a few times before that is believed (a bloom may be wrong in this direction). What
 * was seen while it was young must be among what is confirmed, or its block must be gone: otherwise the node
 * is not believed.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/log.h"
#include "ledger/client_parts.h"
#include "ledger/follow_logs.h"
#include "ledger/quantity.h"

#define RECENT_MAX      64 /* heads remembered by hash */
#define RANGE_GROWS_AT  8  /* good chunks in a row */
#define BLOOM_WAITS_MAX 3  /* rounds */
#define BLOOM_YOUNG     2  /* blocks: an older one has its logs */
#define LOGS_TRIES      1  /* a range that fails is asked for again in a smaller one */
#define SINGLY_YOUNG    16 /* blocks: younger ones are asked for by hash */

struct follower {
    struct ledger *ledger;
    struct ledger_follow callbacks;
    void *context;

    uint64_t next;   /* first block not yet given as confirmed */
    bool has_anchor; /* anchor: the last block given as confirmed */
    struct block anchor;
    bool asked_first, has_first; /* first: block 0, where the node has it */
    struct block first;
    struct {
        uint64_t number;
        struct hash hash;
    } recent[RECENT_MAX]; /* a ring of heads */
    size_t recent_count;

    /* the round */
    bool in_round;
    struct block latest;
    bool differs; /* its number was seen with another hash */
    bool is_done; /* the last round was finished, for the head done_hash */
    struct hash done_hash;
    bool head_given;
    struct hash head_hash;

    /* the chunk, or the early look */
    bool is_early;
    bool is_by_hash;    /* asked for by the block's hash */
    bool takes_no_hash; /* the node does not know that way of asking */
    unsigned absences;  /* rounds in which the node did not have what it had shown */
    uint64_t chunk_from, chunk_end;
    struct block chunk_block;
    struct event_list list;
    size_t untimed; /* events before this one have their time */
    uint64_t range;
    unsigned good_chunks;
    unsigned bloom_waits;

    struct seen_set seen;
    struct hash missing_hash; /* of the block whose young events the confirmed logs do not show */
    uint64_t missing_block;
    char lag_text[160];
    char trouble[320];
};

static void round_chunks(struct follower *follower);
static void round_boundary(struct follower *follower);
static void round_early(struct follower *follower);
static void round_head(struct follower *follower);
static bool head_give_if_new(struct follower *follower);
static void times_fetch(struct follower *follower);

/* ---- ends of a round ---- */

static void trouble_set(struct follower *follower, const char *text)
{
    char line[sizeof(follower->trouble)];
    snprintf(line, sizeof(line), "following the ledger: %s", text);
    if (strcmp(line, follower->trouble) != 0)
        log_warn("%s", line);
    memcpy(follower->trouble, line, sizeof(line));
}

static void round_end(struct follower *follower)
{
    event_list_free(&follower->list);
    follower->in_round = false;
}

/* The round cannot go on; the next look at the head begins another. */
static void round_fail(struct follower *follower, const char *text)
{
    trouble_set(follower, text);
    round_end(follower);
}

/* The chain changed under the round: nothing wrong, it begins again. */
static void round_again(struct follower *follower)
{
    round_end(follower);
    pulse_now(follower->ledger);
}

/* What a failed question means to the round. Returns true if there is nothing to go on with. */
static bool answer_failed(struct follower *follower, const struct rpc_answer *answer)
{
    if (answer->error == LEDGER_OK)
        return false;
    if (answer->error != LEDGER_STOPPED)
        round_fail(follower, answer->text);
    return true;
}

/* Reads a block that was asked for. Returns false when the round was ended. */
static bool block_read(struct follower *follower, const struct rpc_answer *answer, uint64_t number,
                       struct block *out)
{
    if (answer_failed(follower, answer))
        return false;
    char text[96];
    if (json_is_null(answer->result)) {
        snprintf(text, sizeof(text), "the node no longer shows block %" PRIu64, number);
        round_fail(follower, text);
        return false;
    }
    if (!block_of_json(answer->result, &number, out)) {
        snprintf(text, sizeof(text), "the node's block %" PRIu64 " is malformed", number);
        round_fail(follower, text);
        return false;
    }
    return true;
}

/* ---- anchor ---- */

static void recent_add(struct follower *follower, const struct block *block)
{
    size_t place = follower->recent_count++ % RECENT_MAX;
    follower->recent[place].number = block->number;
    follower->recent[place].hash = block->hash;
}

/* True if a block of this number was last seen with another hash. */
static bool recent_differs(const struct follower *follower, const struct block *block)
{
    for (size_t age = 1; age <= RECENT_MAX && age <= follower->recent_count; age++) {
        size_t place = (follower->recent_count - age) % RECENT_MAX;
        if (follower->recent[place].number == block->number)
            return !hash_equal(&follower->recent[place].hash, &block->hash);
    }
    return false;
}

static void too_deep(struct follower *follower, uint64_t block)
{
    log_error("ledger: block %" PRIu64 " was given as confirmed and is no longer in the chain", block);
    if (follower->callbacks.too_deep != NULL)
        follower->callbacks.too_deep(follower->context, block);
}

static void anchor_judge(struct follower *follower, const struct block *now)
{
    bool is_gone = !hash_equal(&now->hash, &follower->anchor.hash);
    follower->anchor = *now; /* said once; from here on this is the chain */
    if (is_gone) {
        too_deep(follower, now->number);
        if (follower->ledger->stopped)
            return;
    }
    round_chunks(follower);
}

static void on_anchor(void *context, const struct rpc_answer *answer)
{
    struct follower *follower = context;
    struct block now;
    if (block_read(follower, answer, follower->anchor.number, &now))
        anchor_judge(follower, &now);
}

/* Why the node is behind: by its first block it may be another chain's. */
static void on_first_again(void *context, const struct rpc_answer *answer)
{
    struct follower *follower = context;
    struct block first;
    if (!block_read(follower, answer, 0, &first))
        return;
    char text[224];
    if (hash_equal(&first.hash, &follower->first.hash)) {
        round_fail(follower, follower->lag_text);
        return;
    }
    char now[HASH_TEXT_SIZE], before[HASH_TEXT_SIZE];
    hash_text(&first.hash, now);
    hash_text(&follower->first.hash, before);
    snprintf(
        text, sizeof(text),
        "the node has another chain than before (its first block is %.18s…, not %.18s…): nothing of it is "
        "believed; bring the former one back",
        now, before);
    round_fail(follower, text);
}

static void lags(struct follower *follower, uint64_t wanted)
{
    snprintf(follower->lag_text, sizeof(follower->lag_text),
             "the node is at block %" PRIu64 ", behind block %" PRIu64
             " that was seen before: waiting for it to catch up",
             follower->latest.number, wanted);
    if (follower->has_first)
        ledger_get_block(follower->ledger, 0, on_first_again, follower);
    else
        round_fail(follower, follower->lag_text);
}

static void round_anchor(struct follower *follower)
{
    if (!follower->has_anchor) {
        round_chunks(follower);
    } else if (follower->anchor.number == follower->latest.number) {
        anchor_judge(follower, &follower->latest);
    } else if (follower->anchor.number < follower->latest.number) {
        ledger_get_block(follower->ledger, follower->anchor.number, on_anchor, follower);
    } else if (!follower->differs) {
        lags(follower, follower->anchor.number);
    } else {
        /* Shorter and other: what was confirmed above here is gone. */
        follower->has_anchor = false;
        too_deep(follower, follower->latest.number);
        if (!follower->ledger->stopped)
            round_chunks(follower);
    }
}

static void on_first(void *context, const struct rpc_answer *answer)
{
    struct follower *follower = context;
    uint64_t number = 0;
    if (answer->error != LEDGER_OK) {
        (void)answer_failed(follower, answer);
        return;
    }
    /* A node that has thrown its old blocks away goes without. */
    follower->asked_first = true;
    follower->has_first = block_of_json(answer->result, &number, &follower->first);
    round_anchor(follower);
}

void follower_head(struct follower *follower, const struct block *latest)
{
    if (follower->in_round || (follower->is_done && hash_equal(&latest->hash, &follower->done_hash)))
        return;
    follower->differs = recent_differs(follower, latest);
    recent_add(follower, latest);
    follower->in_round = true;
    follower->is_done = false;
    follower->latest = *latest;
    if (follower->asked_first)
        round_anchor(follower);
    else
        ledger_get_block(follower->ledger, 0, on_first, follower);
}

/* ---- logs ---- */

static void on_logs(void *context, const struct rpc_answer *answer);

static bool is_young(const struct follower *follower, uint64_t block)
{
    return !follower->takes_no_hash && block + SINGLY_YOUNG > follower->latest.number;
}

static void logs_ask(struct follower *follower)
{
    struct ledger *ledger = follower->ledger;
    json_t *address = address_json(&ledger->options.contract), *params;
    follower->is_by_hash = !follower->is_early && follower->chunk_from == follower->chunk_end &&
                           is_young(follower, follower->chunk_end);
    if (follower->is_by_hash)
        params = json_pack("[{s:o, s:o}]", "address", address, "blockHash",
                           hash_json(&follower->chunk_block.hash));
    else
        params = json_pack("[{s:o, s:o, s:o}]", "address", address, "fromBlock",
                           quantity_of(follower->chunk_from), "toBlock", quantity_of(follower->chunk_end));
    rpc_call(ledger->rpc, "eth_getLogs", params, LOGS_TRIES, on_logs, follower);
}

/* The node did not manage this range. Returns true if a smaller one was asked for. */
static bool range_shrink(struct follower *follower)
{
    uint64_t length = follower->chunk_end - follower->chunk_from + 1;
    if (length <= 1)
        return false;
    if (follower->is_early) { /* the newest are the ones to be early for */
        follower->chunk_from = follower->chunk_end - length / 2 + 1;
        logs_ask(follower);
        return true;
    }
    follower->good_chunks = 0;
    follower->range = length / 2;
    round_chunks(follower);
    return true;
}

/* Without the early look the head is still true; the look is tried again at the next pulse. */
static void early_failed(struct follower *follower, const char *text)
{
    char line[sizeof(follower->trouble)];
    snprintf(line, sizeof(line), "young blocks cannot be looked at: %s", text);
    round_fail(follower, line);
    (void)head_give_if_new(follower);
}

/* The node does not have blocks that it showed. Once that happens when they are reorganised away; again and
 * again when it has several minds, or has thrown them away. */
static void logs_absent(struct follower *follower, const char *reason)
{
    char text[256];
    if (follower->absences++ == 0) {
        round_end(follower);
        return;
    }
    snprintf(text, sizeof(text),
             "the node does not have the logs of blocks %" PRIu64 " to %" PRIu64
             " (%.100s): waiting; if it has thrown them away, another node is needed",
             follower->chunk_from, follower->chunk_end, reason);
    if (follower->is_early)
        early_failed(follower, text);
    else
        round_fail(follower, text);
}

/* Returns true if a refusal has been dealt with. */
static bool logs_refused(struct follower *follower, const struct rpc_answer *answer)
{
    if (answer->error == LEDGER_REFUSED && rpc_is_missing_block(answer->error_object)) {
        logs_absent(follower, answer->text);
        return true;
    }
    if (answer->error == LEDGER_REFUSED && follower->is_by_hash) {
        follower->takes_no_hash = true;
        logs_ask(follower);
        return true;
    }
    bool is_too_much =
        answer->error == LEDGER_REFUSED || answer->error == LEDGER_MALFORMED || answer->too_much;
    return is_too_much && range_shrink(follower);
}

static void range_was_good(struct follower *follower)
{
    uint64_t most = follower->ledger->options.logs_range_max;
    if (follower->is_by_hash || ++follower->good_chunks < RANGE_GROWS_AT)
        return;
    follower->good_chunks = 0;
    follower->range = follower->range * 2 < most ? follower->range * 2 : most;
}

/* True if the last block's logs seem not to be there yet. The waits are counted until a round is finished: a
 * chain whose blooms are full delays each round by that many pulses and no more. */
static bool logs_are_late(struct follower *follower)
{
    const struct block *last = &follower->chunk_block;
    bool is_newest = last->number + BLOOM_YOUNG >= follower->latest.number;
    if (!is_newest || !last->has_bloom || follower->list.has_last ||
        !block_may_log(last, &follower->ledger->options.contract))
        return false;
    return ++follower->bloom_waits <= BLOOM_WAITS_MAX;
}

static void on_logs(void *context, const struct rpc_answer *answer)
{
    struct follower *follower = context;
    if (logs_refused(follower, answer))
        return;
    if (follower->is_early && answer->error != LEDGER_OK && answer->error != LEDGER_STOPPED) {
        early_failed(follower, answer->text);
        return;
    }
    if (answer_failed(follower, answer))
        return;
    const char *problem = event_list_read(answer->result, &follower->ledger->options.contract,
                                          follower->chunk_from, follower->chunk_end, &follower->list);
    if (problem != NULL) {
        round_fail(follower, problem);
        return;
    }
    if (logs_are_late(follower)) {
        round_end(follower); /* as if the block had not been seen yet */
        return;
    }
    follower->untimed = 0;
    times_fetch(follower);
}

/* ---- times, and that the logs are this chain's ---- */

static void on_time(void *context, const struct rpc_answer *answer);
static void on_verified(void *context, const struct rpc_answer *answer);
static void list_give(struct follower *follower);
static void seen_check(struct follower *follower);

/* Gives a block's time to its events. Returns false if they are of another block with that number. */
static bool time_set(struct follower *follower, const struct block *block)
{
    struct event_list *list = &follower->list;
    while (follower->untimed < list->count && list->events[follower->untimed].block == block->number) {
        struct contract_event *event = &list->events[follower->untimed++];
        if (!hash_equal(&event->block_hash, &block->hash))
            return false;
        event->block_time = block->time;
    }
    return true;
}

static void times_fetch(struct follower *follower)
{
    struct event_list *list = &follower->list;
    while (follower->untimed < list->count) {
        const struct contract_event *event = &list->events[follower->untimed];
        if (event->block == follower->chunk_end) {
            if (!time_set(follower, &follower->chunk_block)) {
                round_again(follower);
                return;
            }
        } else if (event->block_time != 0) {
            follower->untimed++;
        } else {
            ledger_get_block(follower->ledger, event->block, on_time, follower);
            return;
        }
    }
    ledger_get_block(follower->ledger, follower->chunk_end, on_verified, follower);
}

static void on_time(void *context, const struct rpc_answer *answer)
{
    struct follower *follower = context;
    struct block block;
    if (!block_read(follower, answer, follower->list.events[follower->untimed].block, &block))
        return;
    if (time_set(follower, &block))
        times_fetch(follower);
    else
        round_again(follower);
}

static void on_verified(void *context, const struct rpc_answer *answer)
{
    struct follower *follower = context;
    struct block block;
    if (!block_read(follower, answer, follower->chunk_end, &block))
        return;
    if (hash_equal(&block.hash, &follower->chunk_block.hash))
        seen_check(follower);
    else
        round_again(follower);
}

static void on_missing(void *context, const struct rpc_answer *answer)
{
    struct follower *follower = context;
    struct block block;
    if (!block_read(follower, answer, follower->missing_block, &block))
        return;
    if (hash_equal(&block.hash, &follower->missing_hash)) {
        char text[96];
        snprintf(text, sizeof(text), "the node no longer gives logs of block %" PRIu64 " that it gave before",
                 follower->missing_block);
        round_fail(follower, text);
        return;
    }
    seen_orphan(&follower->seen, &follower->missing_hash);
    seen_check(follower);
}

/* Events seen while they were young are there now, unless their block is gone. */
static void seen_check(struct follower *follower)
{
    if (follower->is_early ||
        !seen_missing(&follower->seen, &follower->list, follower->chunk_from, follower->chunk_end,
                      &follower->missing_block, &follower->missing_hash))
        list_give(follower);
    else
        ledger_get_block(follower->ledger, follower->missing_block, on_missing, follower);
}

/* ---- giving ---- */

/* Tells the owner of the list's events. Returns false if the client was freed meanwhile. */
static bool events_give(struct follower *follower)
{
    for (size_t i = 0; i < follower->list.count; i++) {
        struct contract_event *event = &follower->list.events[i];
        event->confirmed = !follower->is_early;
        if (follower->is_early && !seen_add(&follower->seen, event))
            continue;
        follower->callbacks.event(follower->context, event);
        if (follower->ledger->stopped)
            return false;
    }
    event_list_free(&follower->list);
    return true;
}

/* Returns false if the client was freed meanwhile. */
static bool head_give(struct follower *follower)
{
    follower->ledger->head = (struct ledger_head){.number = follower->latest.number,
                                                  .time = follower->latest.time,
                                                  .confirmed_number = follower->anchor.number,
                                                  .confirmed_time = follower->anchor.time};
    follower->ledger->confirmed_hash = follower->anchor.hash;
    if (follower->callbacks.head != NULL)
        follower->callbacks.head(follower->context, &follower->ledger->head);
    return !follower->ledger->stopped;
}

static bool head_give_if_new(struct follower *follower)
{
    if (follower->head_given && hash_equal(&follower->head_hash, &follower->latest.hash))
        return true;
    follower->head_given = true;
    follower->head_hash = follower->latest.hash;
    return head_give(follower);
}

static void list_give(struct follower *follower)
{
    range_was_good(follower);
    if (!events_give(follower))
        return;
    if (follower->is_early) {
        round_head(follower);
        return;
    }
    follower->next = follower->chunk_end + 1;
    follower->anchor = follower->chunk_block;
    follower->has_anchor = true;
    seen_forget(&follower->seen, follower->chunk_end);
    round_chunks(follower);
}

/* ---- chunks ---- */

static uint64_t confirmed_target(const struct follower *follower)
{
    uint64_t depth = follower->ledger->options.confirmations, head = follower->latest.number;
    return head > depth ? head - depth : 0;
}

static void on_chunk_block(void *context, const struct rpc_answer *answer)
{
    struct follower *follower = context;
    if (block_read(follower, answer, follower->chunk_end, &follower->chunk_block))
        logs_ask(follower);
}

static void chunk_ask(struct follower *follower, bool is_early, uint64_t from, uint64_t end)
{
    follower->is_early = is_early;
    follower->chunk_from = from;
    follower->chunk_end = end;
    if (end != follower->latest.number) {
        ledger_get_block(follower->ledger, end, on_chunk_block, follower);
        return;
    }
    follower->chunk_block = follower->latest;
    logs_ask(follower);
}

static void round_chunks(struct follower *follower)
{
    uint64_t target = confirmed_target(follower);
    if (follower->next > target) {
        round_boundary(follower);
        return;
    }
    /* Between the chunks of a long way the owner is told how far it got, so that it can persist its cursor.
     */
    bool is_between = follower->has_anchor &&
                      follower->ledger->head.confirmed_number < follower->anchor.number &&
                      !is_young(follower, follower->next);
    if (is_between && follower->anchor.number + 1 == follower->next && !head_give(follower))
        return;
    uint64_t length = target - follower->next + 1;
    length = length < follower->range ? length : follower->range;
    if (is_young(follower, follower->next))
        length = 1;
    while (length > 1 && is_young(follower, follower->next + length - 1))
        length--;
    chunk_ask(follower, false, follower->next, follower->next + length - 1);
}

static void on_boundary(void *context, const struct rpc_answer *answer)
{
    struct follower *follower = context;
    if (!block_read(follower, answer, follower->next - 1, &follower->anchor))
        return;
    follower->has_anchor = true;
    round_early(follower);
}

/* All up to next - 1 is given: the cursor may be further than `confirmations` asks for, never behind. */
static void round_boundary(struct follower *follower)
{
    uint64_t boundary = follower->next - 1;
    if (boundary > follower->latest.number) {
        lags(follower, boundary);
    } else if (follower->has_anchor && follower->anchor.number == boundary) {
        round_early(follower);
    } else if (boundary == follower->latest.number) {
        follower->anchor = follower->latest;
        follower->has_anchor = true;
        round_early(follower);
    } else {
        ledger_get_block(follower->ledger, boundary, on_boundary, follower);
    }
}

static void round_early(struct follower *follower)
{
    uint64_t head = follower->latest.number;
    if (follower->next > head) {
        round_head(follower);
        return;
    }
    uint64_t length = head - follower->next + 1;
    if (length > follower->range)
        length = follower->range;
    chunk_ask(follower, true, head - length + 1, head);
}

static void round_head(struct follower *follower)
{
    if (follower->trouble[0] != '\0')
        log_info("following the ledger: all is well again");
    follower->trouble[0] = '\0';
    follower->bloom_waits = 0;
    follower->absences = 0;
    follower->is_done = true;
    follower->done_hash = follower->latest.hash;
    round_end(follower);
    (void)head_give_if_new(follower);
}

/* ---- what the client calls ---- */

void ledger_follow(struct ledger *ledger, uint64_t from, const struct ledger_follow *callbacks, void *context)
{
    ledger_follow_on(ledger, from, &HASH_ZERO, callbacks, context);
}

void ledger_follow_on(struct ledger *ledger, uint64_t from, const struct hash *before,
                      const struct ledger_follow *callbacks, void *context)
{
    ensure(ledger->follower == NULL && callbacks->event != NULL);
    struct follower *follower = xcalloc(1, sizeof(*follower));
    follower->ledger = ledger;
    follower->callbacks = *callbacks;
    follower->context = context;
    follower->next = from;
    follower->range = ledger->options.logs_range_max;
    if (from > 0 && !hash_is_zero(before)) {
        follower->has_anchor = true;
        follower->anchor = (struct block){.number = from - 1, .hash = *before};
    }
    ledger->follower = follower;
    pulse_now(ledger);
}

const char *follower_trouble(const struct follower *follower)
{
    return follower->trouble;
}

void follower_free(struct follower *follower)
{
    event_list_free(&follower->list);
    seen_free(&follower->seen);
    free(follower);
}
