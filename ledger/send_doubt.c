/* Where a node's word is not enough: behind one address there may be several, some of them behind. */
#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "ledger/quantity.h"
#include "ledger/send_parts.h"

#define DOUBT_TRIES 3

/* ---- an estimate that reverts ---- */

/* The same call at the newest block known: a node that is behind cannot answer, one that is not says what counts. */
static void on_second_opinion(void *context, const struct rpc_answer *answer)
{
    struct send *send = context;
    if (answer->error == LEDGER_STOPPED)
        return;
    if (answer->error == LEDGER_REFUSED && rpc_is_revert(answer->error_object)) {
        send_give_up(send, LEDGER_REVERTED, send->doubted);
        return;
    }
    log_debug("ledger: an estimate reverts, but not at the newest block known; asking again");
    send->is_doubted = true;
    pulse_start(send->account->senders->ledger);
}

bool send_doubt(struct send *send, enum contract_error reverted)
{
    struct ledger *ledger = send->account->senders->ledger;
    if (!ledger->has_latest || send->doubts >= ESTIMATE_DOUBTS_MAX)
        return false;
    send->doubts++;
    send->doubted = reverted;
    json_t *params = json_pack("[O, o]", send->message, quantity_of(ledger->highest));
    rpc_call(ledger->rpc, "eth_call", params, DOUBT_TRIES, on_second_opinion, send);
    return true;
}

/* ---- a nonce that is used up ---- */

static void search_ask(struct send *send);

enum nonce_user { USED_BY_NOBODY, USED_BY_US, USED_BY_ANOTHER, USED_BELOW };

/* Who used the send's nonce, as far as this block tells. */
static enum nonce_user nonce_user_in(const struct send *send, const json_t *transactions)
{
    enum nonce_user user = USED_BELOW;
    for (size_t i = 0; i < json_array_size(transactions); i++) {
        const json_t *transaction = json_array_get(transactions, i);
        struct address from;
        struct hash hash;
        uint64_t nonce;
        if (!address_of_json(json_object_get(transaction, "from"), &from) ||
            !address_equal(&from, &send->account->address) ||
            !quantity_u64(json_object_get(transaction, "nonce"), &nonce) ||
            !hash_of_json(json_object_get(transaction, "hash"), &hash))
            continue;
        if (nonce < send->nonce)
            user = USED_BY_NOBODY; /* it would have to come after this one */
        if (nonce != send->nonce)
            continue;
        for (size_t v = 0; v < send->variant_count; v++)
            if (hash_equal(&send->variants[v], &hash))
                return USED_BY_US;
        return USED_BY_ANOTHER;
    }
    return user;
}

/* Nothing is known for sure: the receipts are asked for again, and then the search begins anew. */
static void search_in_vain(struct send *send)
{
    char text[192];
    snprintf(text, sizeof(text),
             "nonce %" PRIu64
             " is used up, but the node shows neither our transaction nor another one with it: "
             "not sent again before that is clear",
             send->nonce);
    senders_trouble_set(send->account->senders, text);
}

static void send_once_more(struct send *send)
{
    log_warn("ledger: nonce %" PRIu64 " was used by another transaction of the same key; sending again",
             send->nonce);
    send->state = SEND_WAITING;
    send->has_nonce = false;
    send->variant_count = 0;
    send->doubts = 0;
    account_advance(send->account);
}

static void on_search_block(void *context, const struct rpc_answer *answer)
{
    struct send *send = context;
    send->is_asking = false;
    if (answer->error == LEDGER_STOPPED)
        return;
    const json_t *transactions = json_object_get(answer->result, "transactions");
    if (answer->error != LEDGER_OK || !json_is_array(transactions)) {
        search_in_vain(send);
        return;
    }
    uint64_t first = send->block.number;
    switch (nonce_user_in(send, transactions)) {
    case USED_BY_US:
        return; /* a receipt will come */
    case USED_BY_ANOTHER:
        send_once_more(send);
        return;
    case USED_BY_NOBODY:
        search_in_vain(send);
        return;
    case USED_BELOW:
        break;
    }
    if (send->search_block == 0 || ++send->searched >= CONFLICT_BLOCKS ||
        send->search_block + CONFLICT_BLOCKS_BELOW <= first) {
        search_in_vain(send);
        return;
    }
    send->search_block--;
    search_ask(send);
}

static void search_ask(struct send *send)
{
    struct ledger *ledger = send->account->senders->ledger;
    send->is_asking = true;
    json_t *params = json_pack("[o, b]", quantity_of(send->search_block), 1);
    rpc_call(ledger->rpc, "eth_getBlockByNumber", params, ledger->options.tries, on_search_block, send);
}

void send_search_conflict(struct send *send)
{
    send->search_block = send->asked_head;
    send->searched = 0;
    search_ask(send);
}
