/* From the queue to the first broadcast: estimate, newest block, tip, nonce, signature, broadcast. */
#include <stdio.h>
#include <string.h>
#include <utlist.h>

#include "base/ensure.h"
#include "base/log.h"
#include "ledger/quantity.h"
#include "ledger/send_parts.h"
#include "ledger/transaction.h"
#include "ledger/urgency.h"

#define GAS_SPARE       50000 /* beside a quarter: the state may change before it is mined */
#define GAS_MAX         ((uint64_t)1 << 40)
#define TIP_UNKNOWN_WEI 1000000000 /* for nodes that do not say */

static void on_estimate(void *context, const struct rpc_answer *answer);
static void on_block(void *context, const struct rpc_answer *answer);
static void on_tip(void *context, const struct rpc_answer *answer);
static void on_nonce(void *context, const struct rpc_answer *answer);
static void on_broadcast(void *context, const struct rpc_answer *answer);
static void on_rebroadcast(void *context, const struct rpc_answer *answer);

static void ask(struct send *send, const char *method, json_t *params, rpc_done *done)
{
    struct ledger *ledger = send->account->senders->ledger;
    rpc_call(ledger->rpc, method, params, ledger->options.tries + LEDGER_SEND_MORE_TRIES, done, send);
}

void send_give_up(struct send *send, enum ledger_error error, enum contract_error reverted)
{
    struct ledger_receipt receipt = {.success = false, .reverted = reverted};
    send_finish(send, error, error == LEDGER_REVERTED ? &receipt : NULL);
}

/* What an error object means: the contract's refusal, no money, or another refusal. */
static enum ledger_error refusal_of(const json_t *error_object, enum contract_error *reverted)
{
    *reverted = CONTRACT_OK;
    if (says_no_funds(error_object))
        return LEDGER_NO_FUNDS;
    if (!rpc_is_revert(error_object))
        return LEDGER_REFUSED;
    struct buffer data = {0};
    *reverted = rpc_revert_data(error_object, &data) ? contract_decode_error(data.data, data.length, NULL)
                                                     : CONTRACT_UNNAMED;
    buffer_free(&data);
    return LEDGER_REVERTED;
}

json_t *send_call_json(const struct send *send)
{
    json_t *call = json_pack("{s:o, s:o, s:o}", "from", address_json(&send->account->address), "value",
                             quantity_of(send->value), "data", hex_of(send->data, send->data_length));
    if (!send->creates)
        json_object_set_new(call, "to", address_json(&send->to));
    return call;
}

void send_prepare(struct send *send)
{
    struct account *account = send->account;
    send->state = SEND_PREPARING;
    send->is_doubted = false;
    send->had_unmined = account_unmined(account) > 0;
    json_t *params = json_pack("[o]", send_call_json(send));
    json_decref(send->message);
    send->message = json_incref(json_array_get(params, 0));
    ask(send, "eth_estimateGas", params, on_estimate);
}

/* An estimate or a broadcast that failed may succeed once earlier ones are mined. Returns true if that is
 * waited for. */
static bool wait_for_earlier(struct send *send)
{
    if (!send->had_unmined)
        return false;
    send->state = SEND_BLOCKED;
    /* All mined while the question was under way: nobody else would wake it. */
    if (account_unmined(send->account) == 0)
        account_advance(send->account);
    return true;
}

/* Handles an answer that is no success. Returns true if there was one. */
static bool step_failed(struct send *send, const struct rpc_answer *answer)
{
    if (answer->error == LEDGER_OK)
        return false;
    if (answer->error == LEDGER_STOPPED)
        return true;
    enum ledger_error error = answer->error;
    enum contract_error reverted = CONTRACT_OK;
    if (error == LEDGER_REFUSED) {
        error = refusal_of(answer->error_object, &reverted);
        if (!send->fills &&
            (wait_for_earlier(send) || (error == LEDGER_REVERTED && send_doubt(send, reverted))))
            return true;
    }
    send_give_up(send, error, reverted);
    return true;
}

static void on_estimate(void *context, const struct rpc_answer *answer)
{
    struct send *send = context;
    if (step_failed(send, answer))
        return;
    uint64_t gas;
    if (!quantity_u64(answer->result, &gas) || gas > GAS_MAX) {
        send_give_up(send, LEDGER_MALFORMED, CONTRACT_OK);
        return;
    }
    send->gas_limit = gas + gas / 4 + (send->fills ? 0 : GAS_SPARE);
    json_t *params = json_pack("[s, b]", "latest", 0);
    ask(send, "eth_getBlockByNumber", params, on_block);
}

static void on_block(void *context, const struct rpc_answer *answer)
{
    struct send *send = context;
    if (step_failed(send, answer))
        return;
    if (!block_of_json(answer->result, NULL, &send->block)) {
        send_give_up(send, LEDGER_MALFORMED, CONTRACT_OK);
        return;
    }
    /* What the spare adds must not make it larger than a block. */
    if (send->block.gas_limit != 0 && send->gas_limit > send->block.gas_limit)
        send->gas_limit = send->block.gas_limit;
    ask(send, "eth_maxPriorityFeePerGas", json_array(), on_tip);
}

unsigned_wide send_fee_most(const struct send *send)
{
    return urgency_fee_most(send->account->senders->ledger->options.max_fee_per_gas, send->terms.budget_wei,
                            send->gas_limit);
}

unsigned_wide send_tip_due(const struct send *send, const struct ledger_terms *terms, unsigned_wide most,
                           const struct block *latest)
{
    unsigned_wide base = 2 * (unsigned_wide)latest->base_fee;
    uint64_t left = terms->deadline > latest->time ? terms->deadline - latest->time : 0;
    return urgency_tip(send->market_tip, most > base ? most - base : 0, left,
                       terms->deadline == 0 ? 0 : terms->whole_s);
}

static void on_tip(void *context, const struct rpc_answer *answer)
{
    struct send *send = context;
    if (answer->error != LEDGER_REFUSED && step_failed(send, answer))
        return;
    unsigned_wide tip;
    if (answer->error == LEDGER_REFUSED || !quantity_wide(answer->result, &tip) || tip > UINT64_MAX)
        tip = TIP_UNKNOWN_WEI;
    send->market_tip = tip;
    const struct press press = send_press(send, send->fills, &send->block);
    send->max_fee = 2 * (unsigned_wide)send->block.base_fee + press.tip;
    if (send->max_fee > press.most)
        send->max_fee = press.most;
    send->priority_fee = press.tip < send->max_fee ? press.tip : send->max_fee;
    send_cover(send, press.payer);
    if (send->fills) { /* has its nonce */
        send->state = SEND_PENDING;
        send_broadcast(send, false);
        account_advance(send->account);
        return;
    }
    json_t *params = json_pack("[o, s]", address_json(&send->account->address), "pending");
    ask(send, "eth_getTransactionCount", params, on_nonce);
}

static void on_nonce(void *context, const struct rpc_answer *answer)
{
    struct send *send = context;
    struct account *account = send->account;
    if (step_failed(send, answer))
        return;
    uint64_t nonce;
    if (!quantity_u64(answer->result, &nonce)) {
        send_give_up(send, LEDGER_MALFORMED, CONTRACT_OK);
        return;
    }
    /* While others of ours are on their way, ours is the better count: the node may not have seen them all,
     * or may have lost them. Another process with this key may be ahead. */
    bool has_others = false;
    const struct send *other;
    DL_FOREACH(account->sends, other)
    has_others = has_others || (other != send && other->has_nonce);
    if (has_others && account->next_nonce > nonce)
        nonce = account->next_nonce;
    send->nonce = nonce;
    send->has_nonce = true;
    account->next_nonce = nonce + 1;
    send_broadcast(send, true);
}

void send_broadcast(struct send *send, bool first)
{
    struct account *account = send->account;
    struct ledger *ledger = account->senders->ledger;
    struct transaction transaction = {.chain_id = rpc_chain_id(ledger->rpc),
                                      .nonce = send->nonce,
                                      .max_priority_fee_per_gas = send->priority_fee,
                                      .max_fee_per_gas = send->max_fee,
                                      .gas_limit = send->gas_limit,
                                      .creates = send->creates,
                                      .to = send->to,
                                      .value = send->value,
                                      .data = send->data,
                                      .data_length = send->data_length};
    ensure(transaction.chain_id != 0);
    buffer_clear(&send->raw);
    struct hash hash = transaction_sign(&transaction, &account->key, &send->raw);
    /* Signing is deterministic: the same fees give the same transaction. */
    if (send->variant_count == 0 || !hash_equal(&send->variants[send->variant_count - 1], &hash)) {
        ensure(send->variant_count < VARIANTS_MAX);
        send->variants[send->variant_count++] = hash;
    }
    const struct block *newest = &send->block;
    if (ledger->has_latest && ledger->latest.number > newest->number)
        newest = &ledger->latest;
    send->broadcast_head = newest->number;
    send->broadcast_time = newest->time;
    send->looks = 0;
    json_t *params = json_pack("[o]", hex_of(send->raw.data, send->raw.length));
    send->is_asking = true;
    rpc_call(ledger->rpc, "eth_sendRawTransaction", params, RPC_TRIES_ENDLESS,
             first ? on_broadcast : on_rebroadcast, send);
}

void send_left(struct send *send)
{
    struct ledger *ledger = send->account->senders->ledger;
    send->state = SEND_PENDING;
    send->refusal = LEDGER_OK;
    account_advance(send->account);
    pulse_now(ledger); /* it may be mined already */
}

static void on_broadcast(void *context, const struct rpc_answer *answer)
{
    struct send *send = context;
    send->is_asking = false;
    if (answer->error == LEDGER_STOPPED)
        return;
    if (answer->error == LEDGER_REFUSED && !says_known(answer->error_object)) {
        send->is_underpriced = says_underpriced(answer->error_object);
        if (!send->is_underpriced && !says_nonce_used(answer->error_object) &&
            !says_nonce_gap(answer->error_object)) {
            /* Some nodes mine a transaction and then report its revert as an error: the receipt decides. */
            send->refusal = refusal_of(answer->error_object, &send->refusal_reverted);
            send_ask_receipt(send, send->broadcast_head);
            return;
        }
    }
    send_left(send);
}

static void on_rebroadcast(void *context, const struct rpc_answer *answer)
{
    struct send *send = context;
    send->is_asking = false;
    if (answer->error == LEDGER_REFUSED)
        send->is_underpriced = says_underpriced(answer->error_object);
    if (answer->error != LEDGER_STOPPED)
        pulse_start(send->account->senders->ledger);
}
