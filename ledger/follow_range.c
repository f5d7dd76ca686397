/* The logs of one range of blocks: asked for, in smaller ranges where the node refuses; given their blocks' times; and
 * shown to be this chain's. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/ensure.h"
#include "ledger/follow_parts.h"
#include "ledger/quantity.h"

#define RANGE_GROWS_AT  8  /* good chunks in a row */
#define BLOOM_WAITS_MAX 3  /* rounds */
#define BLOOM_YOUNG     2  /* blocks: an older one has its logs */
#define LOGS_TRIES      1  /* a range that fails is asked for again in a smaller one */
#define SINGLY_YOUNG    16 /* blocks: younger ones are asked for by hash */

/* ---- logs ---- */

static void on_logs(void *context, const struct rpc_answer *answer);
static void on_bound_logs(void *context, const struct rpc_answer *answer);
static void times_fetch(struct follower *follower);

bool follow_is_young(const struct follower *follower, uint64_t block)
{
    return !follower->takes_no_hash && block + SINGLY_YOUNG > follower->latest.number;
}

void follow_logs_ask(struct follower *follower)
{
    struct ledger *ledger = follower->ledger;
    json_t *address = address_json(&ledger->options.contract), *params;
    follower->is_by_hash = !follower->is_early && follower->chunk_from == follower->chunk_end &&
                           follow_is_young(follower, follower->chunk_end);
    if (follower->is_by_hash)
        params = json_pack("[{s:o, s:o}]", "address", address, "blockHash",
                           hash_json(&follower->chunk_block.hash));
    else
        params = json_pack("[{s:o, s:o, s:o}]", "address", address, "fromBlock",
                           quantity_of(follower->chunk_from), "toBlock", quantity_of(follower->chunk_end));
    if (!follower->is_bound) {
        rpc_call(ledger->rpc, "eth_getLogs", params, LOGS_TRIES, on_logs, follower);
        return;
    }
    /* The head comes last: a chain that changes between the answers does so before it. */
    const struct rpc_question questions[] = {follow_block_question(follower->chunk_end),
                                             {"eth_getLogs", params},
                                             follow_block_question(follower->latest.number)};
    rpc_batch(ledger->rpc, questions, 3, LOGS_TRIES, on_bound_logs, follower);
}

/* The node did not manage this range. Returns true if a smaller one was asked for. */
static bool range_shrink(struct follower *follower)
{
    uint64_t length = follower->chunk_end - follower->chunk_from + 1;
    if (length <= 1)
        return false;
    if (follower->is_early) { /* the newest are the ones to be early for */
        follower->chunk_from = follower->chunk_end - length / 2 + 1;
        follow_logs_ask(follower);
        return true;
    }
    follower->good_chunks = 0;
    follower->range = length / 2;
    follow_chunks(follower);
    return true;
}

/* Without the early look the head is still true; the look is tried again at the next pulse. */
static void early_failed(struct follower *follower, const char *text)
{
    char line[sizeof(follower->trouble)];
    snprintf(line, sizeof(line), "young blocks cannot be looked at: %s", text);
    follow_fail(follower, line);
    (void)follow_head_if_new(follower);
}

/* The node does not have blocks that it showed. Once that happens when they are reorganised away; again and
 * again when it has several minds, or has thrown them away. */
static void logs_absent(struct follower *follower, const char *reason)
{
    char text[256];
    if (follower->absences++ == 0) {
        follow_end(follower);
        return;
    }
    snprintf(text, sizeof(text),
             "the node does not have the logs of blocks %" PRIu64 " to %" PRIu64
             " (%.100s): waiting; if it has thrown them away, another node is needed",
             follower->chunk_from, follower->chunk_end, reason);
    if (follower->is_early)
        early_failed(follower, text);
    else
        follow_fail(follower, text);
}

/* Returns true if a refusal has been dealt with. */
static bool logs_refused(struct follower *follower, const struct rpc_answer *answer)
{
    if (answer->error == LEDGER_REFUSED && rpc_is_missing_block(answer->error_object)) {
        logs_absent(follower, answer->text);
        return true;
    }
    if (answer->error == LEDGER_REFUSED && follower->is_by_hash && rpc_is_unknown_way(answer->error_object)) {
        follower->takes_no_hash = true;
        follow_logs_ask(follower);
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

/* Returns true if there are no logs to go on with. */
static bool logs_failed(struct follower *follower, const struct rpc_answer *answer)
{
    if (logs_refused(follower, answer))
        return true;
    if (follower->is_early && answer->error != LEDGER_OK && answer->error != LEDGER_STOPPED) {
        early_failed(follower, answer->text);
        return true;
    }
    return follow_answer_failed(follower, answer);
}

static void logs_take(struct follower *follower, const json_t *logs)
{
    const char *problem = event_list_read(logs, &follower->ledger->options.contract, follower->chunk_from,
                                          follower->chunk_end, &follower->list);
    if (problem != NULL) {
        follow_fail(follower, problem);
        return;
    }
    if (logs_are_late(follower)) {
        follow_end(follower); /* as if the block had not been seen yet */
        return;
    }
    follower->untimed = 0;
    times_fetch(follower);
}

static void on_logs(void *context, const struct rpc_answer *answer)
{
    if (!logs_failed(context, answer))
        logs_take(context, answer->result);
}

/* Reads the chunk's last block as the node has it that answered with the logs. Returns false when the round was
 * ended. */
static bool bound_block_read(struct follower *follower, const struct rpc_answer *answer)
{
    struct block block;
    if (follow_is_absent(answer) && follower->chunk_end != follower->latest.number) {
        logs_absent(follower, "it lacks the last of them");
        return false;
    }
    if (follower->chunk_end == follower->latest.number)
        return follow_under_holds(follower, answer);
    if (!follow_block_read(follower, answer, follower->chunk_end, &block))
        return false;
    if (follower->has_chunk_block && !hash_equal(&block.hash, &follower->chunk_block.hash)) {
        follow_again(follower);
        return false;
    }
    follower->chunk_block = block;
    return true;
}

static void on_bound_logs(void *context, const struct rpc_answer *answer)
{
    struct follower *follower = context;
    if (answer->takes_no_batches) {
        follower->is_bound = false;
        if (follower->has_chunk_block)
            follow_logs_ask(follower);
        else
            follow_chunk_block_ask(follower);
        return;
    }
    const struct rpc_answer *parts = answer->parts;
    if (logs_failed(follower, parts != NULL ? &parts[1] : answer))
        return;
    ensure(parts != NULL); /* an answer without an error has them */
    if (bound_block_read(follower, &parts[0]) && follow_under_holds(follower, &parts[2]))
        logs_take(follower, parts[1].result);
}

/* ---- times, and that the logs are this chain's ---- */

static void on_time(void *context, const struct rpc_answer *answer);
static void on_verified(void *context, const struct rpc_answer *answer);
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
                follow_again(follower);
                return;
            }
        } else if (event->block_time != 0) {
            follower->untimed++;
        } else {
            ledger_get_block(follower->ledger, event->block, on_time, follower);
            return;
        }
    }
    if (follower->is_bound)
        seen_check(follower);
    else
        ledger_get_block(follower->ledger, follower->chunk_end, on_verified, follower);
}

static void on_time(void *context, const struct rpc_answer *answer)
{
    struct follower *follower = context;
    struct block block;
    if (!follow_block_read(follower, answer, follower->list.events[follower->untimed].block, &block))
        return;
    if (time_set(follower, &block))
        times_fetch(follower);
    else
        follow_again(follower);
}

static void on_verified(void *context, const struct rpc_answer *answer)
{
    struct follower *follower = context;
    struct block block;
    if (!follow_block_read(follower, answer, follower->chunk_end, &block))
        return;
    if (hash_equal(&block.hash, &follower->chunk_block.hash))
        seen_check(follower);
    else
        follow_again(follower);
}

static void on_missing(void *context, const struct rpc_answer *answer)
{
    struct follower *follower = context;
    struct block block;
    if (!follow_block_read(follower, answer, follower->missing_block, &block))
        return;
    if (hash_equal(&block.hash, &follower->missing_hash)) {
        char text[96];
        snprintf(text, sizeof(text), "the node no longer gives logs of block %" PRIu64 " that it gave before",
                 follower->missing_block);
        follow_fail(follower, text);
        return;
    }
    seen_orphan(&follower->seen, &follower->missing_hash);
    seen_check(follower);
}

static void range_give(struct follower *follower)
{
    range_was_good(follower);
    follow_give(follower);
}

/* Events seen while they were young are there now, unless their block is gone. */
static void seen_check(struct follower *follower)
{
    if (follower->is_early ||
        !seen_missing(&follower->seen, &follower->list, follower->chunk_from, follower->chunk_end,
                      &follower->missing_block, &follower->missing_hash))
        range_give(follower);
    else
        ledger_get_block(follower->ledger, follower->missing_block, on_missing, follower);
}
