/* Is it still the chain that was followed? A round begins with the head, which may be of a node that lags, of a
 * reorganisation, or of another chain. */
#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "ledger/follow_parts.h"

/* That what was given as confirmed is gone is believed after so many rounds, with none between that finds it in place:
 * a node that is stuck on a block that was reorganised away says the same, as long as it is asked. Fewer are enough
 * where the head is as high as any seen, for a chain that goes on leaves such a node behind. */
#define HIGH_DOUBTS_MAX 16
#define DOUBTS_MAX      600

void follow_remember_head(struct follower *follower)
{
    size_t place = follower->recent_count++ % FOLLOW_RECENT_MAX;
    follower->recent[place].number = follower->latest.number;
    follower->recent[place].hash = follower->latest.hash;
}

/* True if a block of this number was last seen with another hash. */
static bool recent_differs(const struct follower *follower, const struct block *block)
{
    for (size_t age = 1; age <= FOLLOW_RECENT_MAX && age <= follower->recent_count; age++) {
        size_t place = (follower->recent_count - age) % FOLLOW_RECENT_MAX;
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

static void doubts_end(struct follower *follower)
{
    follower->doubts = 0;
    follower->high_doubts = 0;
}

/* This round finds what was given as confirmed gone. Returns true if that is believed now; else it was ended. */
static bool doubts_are_over(struct follower *follower, const char *text)
{
    follower->doubts++;
    follower->high_doubts += follower->latest.number >= follower->ledger->highest;
    if (follower->doubts < DOUBTS_MAX && follower->high_doubts < HIGH_DOUBTS_MAX) {
        follow_fail(follower, text);
        return false;
    }
    doubts_end(follower);
    return true;
}

static void anchor_judge(struct follower *follower, const struct block *now)
{
    if (hash_equal(&now->hash, &follower->anchor.hash)) {
        doubts_end(follower);
        follower->anchor = *now; /* with its time, where only its hash was known */
        follow_chunks(follower);
        return;
    }
    char text[224];
    snprintf(text, sizeof(text),
             "the node has another block %" PRIu64 " than the one that was given as confirmed: nothing more "
             "is, until that has been looked at several times",
             now->number);
    if (!doubts_are_over(follower, text))
        return;
    follower->anchor = *now; /* said once; from here on this is the chain */
    too_deep(follower, now->number);
    if (!follower->ledger->stopped)
        follow_chunks(follower);
}

static void on_anchor(void *context, const struct rpc_answer *answer)
{
    struct follower *follower = context;
    struct block now;
    if (follow_under_read(follower, answer, follower->anchor.number, on_anchor, &now))
        anchor_judge(follower, &now);
}

/* Shorter and other: what was confirmed above here is gone, if it is so. */
static void shorter_judge(struct follower *follower)
{
    char text[256];
    snprintf(text, sizeof(text),
             "the node is at block %" PRIu64 ", below block %" PRIu64
             " that was given as confirmed, and has another block there than was seen before: nothing more "
             "is given "
             "as confirmed, until that has been looked at many times",
             follower->latest.number, follower->anchor.number);
    if (!doubts_are_over(follower, text))
        return;
    follower->has_anchor = false;
    too_deep(follower, follower->latest.number);
    if (!follower->ledger->stopped)
        follow_chunks(follower);
}

/* Why the node is behind: by its first block it may be another chain's. */
static void on_first_again(void *context, const struct rpc_answer *answer)
{
    struct follower *follower = context;
    struct block first;
    if (answer->error == LEDGER_REFUSED) { /* it may have thrown it away meanwhile */
        follow_fail(follower, follower->lag_text);
        return;
    }
    if (!follow_block_read(follower, answer, 0, &first))
        return;
    char text[224];
    if (hash_equal(&first.hash, &follower->first.hash)) {
        follow_fail(follower, follower->lag_text);
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
    follow_fail(follower, text);
}

void follow_lags(struct follower *follower, uint64_t wanted)
{
    snprintf(follower->lag_text, sizeof(follower->lag_text),
             "the node is at block %" PRIu64 ", behind block %" PRIu64
             " that was seen before: waiting for it to catch up",
             follower->latest.number, wanted);
    if (follower->has_first)
        ledger_get_block(follower->ledger, 0, on_first_again, follower);
    else
        follow_fail(follower, follower->lag_text);
}

static void round_anchor(struct follower *follower)
{
    if (!follower->has_anchor) {
        follow_chunks(follower);
    } else if (follower->anchor.number == follower->latest.number) {
        anchor_judge(follower, &follower->latest);
    } else if (follower->anchor.number < follower->latest.number) {
        follow_under_ask(follower, follower->anchor.number, on_anchor);
    } else if (!follower->differs) {
        follow_lags(follower, follower->anchor.number);
    } else {
        shorter_judge(follower);
    }
}

static void on_first(void *context, const struct rpc_answer *answer)
{
    struct follower *follower = context;
    uint64_t number = 0;
    if (answer->error != LEDGER_REFUSED && follow_answer_failed(follower, answer))
        return;
    /* A node that has thrown its old blocks away goes without, in whatever words it says so. */
    follower->asked_first = true;
    follower->has_first =
        answer->error == LEDGER_OK && block_of_json(answer->result, &number, &follower->first);
    round_anchor(follower);
}

void follower_head(struct follower *follower, const struct block *latest)
{
    if (follower->in_round || (follower->is_done && hash_equal(&latest->hash, &follower->done_hash)))
        return;
    follower->differs = recent_differs(follower, latest);
    follower->in_round = true;
    follower->is_early = false;
    follower->is_done = false;
    follower->latest = *latest;
    if (follower->asked_first)
        round_anchor(follower);
    else
        ledger_get_block(follower->ledger, 0, on_first, follower);
}
