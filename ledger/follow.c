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
 * missing blocks had no logs. So the logs come in one batch with the range's last block and the head, which only a
 * node can answer that has both (follow_under.c); a last look at the range's last block is then not needed. Young
 * blocks are moreover confirmed one by one, and their logs asked for by the block's hash, which holds also where
 * something takes batches apart. One that is stuck on a block that was reorganised away shows another anchor: that the
 * anchor is gone is believed only when round after round finds so (follow_chain.c).
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
#include "ledger/follow_parts.h"

/* Rounds in a row that may begin again at once; after more than RESTARTS_MAX it is said. */
#define RESTARTS_AT_ONCE 3
#define RESTARTS_MAX     16

static void round_boundary(struct follower *follower);
static void round_early(struct follower *follower);
static void round_head(struct follower *follower);

/* ---- ends of a round ---- */

static void trouble_set(struct follower *follower, const char *text)
{
    char line[sizeof(follower->trouble)];
    snprintf(line, sizeof(line), "following the ledger: %s", text);
    if (strcmp(line, follower->trouble) != 0)
        log_warn("%s", line);
    memcpy(follower->trouble, line, sizeof(line));
}

void follow_end(struct follower *follower)
{
    event_list_free(&follower->list);
    follower->in_round = false;
}

void follow_fail(struct follower *follower, const char *text)
{
    trouble_set(follower, text);
    follow_end(follower);
}

void follow_again(struct follower *follower)
{
    if (++follower->restarts > RESTARTS_MAX) {
        follow_fail(follower,
                    "the node shows now one chain and now another: waiting until it is of one mind");
        return;
    }
    follow_end(follower);
    if (follower->restarts <= RESTARTS_AT_ONCE)
        pulse_now(follower->ledger);
}

bool follow_answer_failed(struct follower *follower, const struct rpc_answer *answer)
{
    if (answer->error == LEDGER_OK)
        return false;
    if (answer->error != LEDGER_STOPPED)
        follow_fail(follower, answer->text);
    return true;
}

bool follow_block_read(struct follower *follower, const struct rpc_answer *answer, uint64_t number,
                       struct block *out)
{
    if (follow_answer_failed(follower, answer))
        return false;
    char text[96];
    if (json_is_null(answer->result)) {
        snprintf(text, sizeof(text), "the node no longer shows block %" PRIu64, number);
        follow_fail(follower, text);
        return false;
    }
    if (!block_of_json(answer->result, &number, out)) {
        snprintf(text, sizeof(text), "the node's block %" PRIu64 " is malformed", number);
        follow_fail(follower, text);
        return false;
    }
    return true;
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

bool follow_head_if_new(struct follower *follower)
{
    if (follower->head_given && hash_equal(&follower->head_hash, &follower->latest.hash))
        return true;
    follower->head_given = true;
    follower->head_hash = follower->latest.hash;
    follow_remember_head(follower);
    return head_give(follower);
}

void follow_give(struct follower *follower)
{
    if (!events_give(follower))
        return;
    if (follower->is_early) {
        round_head(follower);
        return;
    }
    follower->next = follower->chunk_end + 1;
    follower->anchor = follower->chunk_block;
    follower->has_anchor = true;
    follower->absences = 0;
    follower->restarts = 0;
    seen_forget(&follower->seen, follower->chunk_end);
    follow_chunks(follower);
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
    follower->has_chunk_block =
        follow_block_read(follower, answer, follower->chunk_end, &follower->chunk_block);
    if (follower->has_chunk_block)
        follow_logs_ask(follower);
}

void follow_chunk_block_ask(struct follower *follower)
{
    ledger_get_block(follower->ledger, follower->chunk_end, on_chunk_block, follower);
}

static void chunk_ask(struct follower *follower, bool is_early, uint64_t from, uint64_t end)
{
    follower->is_early = is_early;
    follower->chunk_from = from;
    follower->chunk_end = end;
    if (follower->is_held) {
        follower->waits = true;
        return;
    }
    follower->is_bound = rpc_may_batch(follower->ledger->rpc);
    follower->has_chunk_block = end == follower->latest.number;
    if (follower->has_chunk_block)
        follower->chunk_block = follower->latest;
    /* Where its hash is not needed to ask, the block comes with the logs. */
    if (follower->has_chunk_block || (follower->is_bound && !follow_is_young(follower, end)))
        follow_logs_ask(follower);
    else
        follow_chunk_block_ask(follower);
}

void follow_chunks(struct follower *follower)
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
                      !follow_is_young(follower, follower->next);
    if (is_between && follower->anchor.number + 1 == follower->next && !head_give(follower))
        return;
    uint64_t length = target - follower->next + 1;
    length = length < follower->range ? length : follower->range;
    if (follow_is_young(follower, follower->next))
        length = 1;
    while (length > 1 && follow_is_young(follower, follower->next + length - 1))
        length--;
    chunk_ask(follower, false, follower->next, follower->next + length - 1);
}

static void on_boundary(void *context, const struct rpc_answer *answer)
{
    struct follower *follower = context;
    if (!follow_under_read(follower, answer, follower->next - 1, on_boundary, &follower->anchor))
        return;
    follower->has_anchor = true;
    round_early(follower);
}

/* All up to next - 1 is given: the cursor may be further than `confirmations` asks for, never behind. */
static void round_boundary(struct follower *follower)
{
    uint64_t boundary = follower->next - 1;
    if (boundary > follower->latest.number) {
        follow_lags(follower, boundary);
    } else if (follower->has_anchor && follower->anchor.number == boundary) {
        round_early(follower);
    } else if (boundary == follower->latest.number) {
        follower->anchor = follower->latest;
        follower->has_anchor = true;
        round_early(follower);
    } else {
        follow_under_ask(follower, boundary, on_boundary);
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
    follower->restarts = 0;
    follower->is_done = true;
    follower->done_hash = follower->latest.hash;
    follow_end(follower);
    (void)follow_head_if_new(follower);
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

void ledger_follow_hold(struct ledger *ledger, bool is_held)
{
    struct follower *follower = ledger->follower;
    follower->is_held = is_held;
    if (is_held || !follower->waits)
        return;
    follower->waits = false;
    chunk_ask(follower, follower->is_early, follower->chunk_from, follower->chunk_end);
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
