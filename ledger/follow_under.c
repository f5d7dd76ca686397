/* Behind one address there may be several nodes, some of them behind, or stuck on a block that was reorganised away. Of
 * such a node a block, or its absence, or the logs of a range say nothing. So what is given as confirmed is asked for in
 * one batch together with the head of the round: one node answers a batch, and if it has that head, by its hash, then all
 * else that it answered is of the chain that leads there.
 *
 * A node that takes no batches is asked for one after the other, and believed. */
#include <inttypes.h>
#include <stdio.h>

#include "ledger/follow_parts.h"
#include "ledger/quantity.h"

/* Rounds in which a node lacked the head that another has: so many are nothing but the time a block needs to get around. */
#define HEAD_ABSENCES_MAX 8

struct rpc_question follow_block_question(uint64_t number)
{
    return (struct rpc_question){"eth_getBlockByNumber", json_pack("[o, b]", quantity_of(number), 0)};
}

bool follow_is_absent(const struct rpc_answer *answer)
{
    return (answer->error == LEDGER_OK && json_is_null(answer->result)) ||
           (answer->error == LEDGER_REFUSED && rpc_is_missing_block(answer->error_object));
}

static void head_absent(struct follower *follower)
{
    char text[160];
    if (follower->absences++ < HEAD_ABSENCES_MAX) {
        follow_end(follower);
        return;
    }
    snprintf(text, sizeof(text),
             "the node does not have block %" PRIu64
             " that was seen as the head: waiting for it to catch up; behind one "
             "address some nodes may be behind others",
             follower->latest.number);
    follow_fail(follower, text);
    if (follower->is_early) /* nothing but the early look is missing: the head is still true */
        (void)follow_head_if_new(follower);
}

bool follow_under_holds(struct follower *follower, const struct rpc_answer *head)
{
    struct block block;
    if (follow_is_absent(head)) {
        head_absent(follower);
        return false;
    }
    if (!follow_block_read(follower, head, follower->latest.number, &block))
        return false;
    if (hash_equal(&block.hash, &follower->latest.hash))
        return true;
    follow_again(follower);
    return false;
}

void follow_under_ask(struct follower *follower, uint64_t number, rpc_done *done)
{
    struct ledger *ledger = follower->ledger;
    if (!rpc_may_batch(ledger->rpc)) {
        ledger_get_block(ledger, number, done, follower);
        return;
    }
    const struct rpc_question questions[] = {follow_block_question(number),
                                             follow_block_question(follower->latest.number)};
    rpc_batch(ledger->rpc, questions, 2, RPC_TRIES_ENDLESS, done, follower);
}

bool follow_under_read(struct follower *follower, const struct rpc_answer *answer, uint64_t number,
                       rpc_done *done, struct block *out)
{
    if (answer->takes_no_batches) {
        ledger_get_block(follower->ledger, number, done, follower);
        return false;
    }
    if (answer->parts == NULL)
        return follow_block_read(follower, answer, number, out);
    return follow_under_holds(follower, &answer->parts[1]) &&
           follow_block_read(follower, &answer->parts[0], number, out);
}
