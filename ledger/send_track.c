/* From the first broadcast to finality: receipts, replacements, reorganisations. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <utlist.h>

#include "base/log.h"
#include "ledger/follow_logs.h"
#include "ledger/quantity.h"
#include "ledger/send_parts.h"

#define WHY_TRIES 3 /* of asking why a mined transaction reverted */

static void on_count(void *context, const struct rpc_answer *answer);
static void on_receipt(void *context, const struct rpc_answer *answer);
static void on_why(void *context, const struct rpc_answer *answer);

void account_look(struct account *account, const struct block *latest)
{
    bool has_any = false;
    struct send *send;
    DL_FOREACH(account->sends, send)
    {
        has_any =
            has_any || send->state == SEND_PENDING || send->state == SEND_MINED || send_is_in_doubt(send);
        if (send->is_doubted)
            send_prepare(send);
    }
    if (!has_any || account->is_counting)
        return;
    account->is_counting = true;
    account->counting_head = latest->number;
    json_t *params = json_pack("[o, s]", address_json(&account->address), "latest");
    rpc_call(account->senders->ledger->rpc, "eth_getTransactionCount", params,
             account->senders->ledger->options.tries, on_count, account);
}

/* ---- not mined yet ---- */

static unsigned_wide raised(unsigned_wide fee)
{
    return fee + fee / 8 + 1; /* nodes ask for a tenth */
}

/* Clearly more is called for than is offered. */
static bool is_pressing(const struct send *send, const struct press *press)
{
    return press->tip > send->priority_fee + send->priority_fee / 4;
}

static bool is_late(const struct send *send, const struct press *press, const struct block *latest)
{
    return latest->number >= send->broadcast_head + press->pace.blocks &&
           latest->time >= send->broadcast_time + press->pace.seconds;
}

/* Raises the fees. Returns false at the owners' cap, or when there have been too many. */
static bool fees_raise(struct send *send, const struct press *press, const struct block *latest)
{
    unsigned_wide most = press->most, due = press->tip;
    unsigned_wide tip = raised(send->priority_fee), fee = raised(send->max_fee);
    if (tip < due)
        tip = due;
    unsigned_wide market = 2 * (unsigned_wide)latest->base_fee + tip;
    if (fee < market)
        fee = market < most ? market : most;
    if (fee > most || fee < raised(send->max_fee) || send->variant_count >= VARIANTS_MAX) {
        char text[224];
        snprintf(text, sizeof(text),
                 "transaction with nonce %" PRIu64
                 " is not mined, and its fee cannot be raised further: it offers %" PRIu64
                 " wei per gas, the limit is %" PRIu64 ", the block's base fee %" PRIu64,
                 send->nonce, (uint64_t)send->max_fee, (uint64_t)most, latest->base_fee);
        senders_trouble_set(send->account->senders, text);
        return false;
    }
    send->max_fee = fee;
    send->priority_fee = tip < fee ? tip : fee;
    send_cover(send, press->payer);
    return true;
}

/* `is_first`: it is the one the chain waits for. */
static void pending_look(struct send *send, bool is_first, const struct block *latest)
{
    const struct press press = send_press(send, is_first || send->fills, latest);
    bool late = is_late(send, &press, latest),
         pressing = latest->number > send->broadcast_head && is_pressing(send, &press);
    bool is_raised =
        (send->is_underpriced || ((late || pressing) && is_first)) && fees_raise(send, &press, latest);
    if (is_raised)
        log_info("ledger: transaction with nonce %" PRIu64 " is not mined; fee raised", send->nonce);
    send->is_underpriced = false;
    /* Unchanged, it is shown again from time to time. */
    if (is_raised || late || ++send->looks >= SHOW_AGAIN_LOOKS)
        send_broadcast(send, false);
}

static void on_count(void *context, const struct rpc_answer *answer)
{
    struct account *account = context;
    struct ledger *ledger = account->senders->ledger;
    account->is_counting = false;
    uint64_t count;
    if (answer->error == LEDGER_STOPPED || account_release(account))
        return;
    if (answer->error != LEDGER_OK || !quantity_u64(answer->result, &count))
        return; /* the next pulse asks again */
    struct send *send;
    DL_FOREACH(account->sends, send)
    {
        if (send->is_asking)
            continue;
        bool is_mined = send->state == SEND_PENDING && send->nonce < count;
        if (is_mined && send->fills)
            continue; /* whichever used the nonce */
        bool is_deeper = send->state == SEND_MINED && !hash_equal(&ledger->latest.hash, &send->asked_hash);
        if (is_mined || is_deeper || send_is_in_doubt(send))
            send_ask_receipt(send, account->counting_head);
        else if (send->state == SEND_PENDING)
            pending_look(send, send->nonce == count, &ledger->latest);
    }
    account_gap_look(account, count);
}

/* ---- receipts ---- */

static void receipt_ask_variant(struct send *send)
{
    json_t *params = json_pack("[o]", hash_json(&send->variants[send->asked_variant]));
    rpc_call(send->account->senders->ledger->rpc, "eth_getTransactionReceipt", params, RPC_TRIES_ENDLESS,
             on_receipt, send);
}

void send_ask_receipt(struct send *send, uint64_t head)
{
    send->is_asking = true;
    send->asked_head = head;
    send->asked_hash = send->account->senders->ledger->latest.hash;
    send->asked_variant = send->variant_count - 1;
    receipt_ask_variant(send);
}

/* The token a factory made in this transaction. */
static struct address created_token(const json_t *logs)
{
    struct buffer data = {0};
    struct address token = ADDRESS_ZERO;
    for (size_t i = 0; i < json_array_size(logs); i++) {
        struct contract_log log;
        struct contract_event event = {.block = 0};
        if (contract_log_of_json(json_array_get(logs, i), &log, &data) &&
            contract_decode_event(&log, &event) && event.type == EVENT_TOKEN_CREATED)
            token = event.address;
    }
    buffer_free(&data);
    return token;
}

static bool receipt_read(const json_t *json, const struct send *send, struct ledger_receipt *out)
{
    const struct hash *transaction = &send->variants[send->asked_variant];
    struct ledger_receipt receipt = {.success = false};
    uint64_t status;
    if (!hash_of_json(json_object_get(json, "transactionHash"), &receipt.transaction) ||
        !hash_equal(&receipt.transaction, transaction) ||
        !quantity_u64(json_object_get(json, "blockNumber"), &receipt.block) ||
        !quantity_u64(json_object_get(json, "status"), &status) || status > 1 ||
        !quantity_u64(json_object_get(json, "gasUsed"), &receipt.gas_used))
        return false;
    if (!quantity_u64(json_object_get(json, "effectiveGasPrice"), &receipt.effective_gas_price))
        receipt.effective_gas_price = 0;
    receipt.success = status == 1;
    receipt.reverted = receipt.success ? CONTRACT_OK : CONTRACT_UNNAMED;
    if (!send->creates)
        receipt.created = created_token(json_object_get(json, "logs"));
    else if (receipt.success && !address_of_json(json_object_get(json, "contractAddress"), &receipt.created))
        return false;
    *out = receipt;
    return true;
}

/* Final, or not deep enough yet. The head was known before the receipt was asked for: it stood that deep. */
static void receipt_judge(struct send *send)
{
    struct ledger *ledger = send->account->senders->ledger;
    if (send->receipt.block + ledger->options.confirmations <= send->asked_head)
        send_finish(send, send->receipt.success ? LEDGER_OK : LEDGER_REVERTED, &send->receipt);
    else
        pulse_start(ledger);
}

/* Why a mined transaction reverted: the same call at its block, or against the newest state. */
static void why_ask(struct send *send, bool at_its_block)
{
    send->is_asking = true;
    send->asked_newest_why = !at_its_block;
    json_t *block = at_its_block ? quantity_of(send->receipt.block) : json_string("latest");
    json_t *params = json_pack("[o, o]", send_call_json(send), block);
    rpc_call(send->account->senders->ledger->rpc, "eth_call", params, WHY_TRIES, on_why, send);
}

/* If the call fails as the transaction did, its answer says why. A node that keeps the newest state only is
 * asked about that: the receipt is fresh, so little has changed since. */
static void on_why(void *context, const struct rpc_answer *answer)
{
    struct send *send = context;
    send->is_asking = false;
    if (answer->error == LEDGER_STOPPED)
        return;
    struct buffer data = {0};
    if (answer->error == LEDGER_REFUSED && rpc_revert_data(answer->error_object, &data))
        send->receipt.reverted = contract_decode_error(data.data, data.length, NULL);
    buffer_free(&data);
    bool is_refused = answer->error == LEDGER_REFUSED && !rpc_is_revert(answer->error_object);
    if (is_refused && !send->asked_newest_why)
        why_ask(send, false);
    else
        receipt_judge(send);
}

static void receipt_found(struct send *send, const struct ledger_receipt *receipt)
{
    bool was_mined = send->state == SEND_MINED;
    bool is_known = was_mined && send->receipt.block == receipt->block &&
                    hash_equal(&send->receipt.transaction, &receipt->transaction);
    enum contract_error reverted = send->receipt.reverted;
    send->receipt = *receipt;
    if (is_known && !receipt->success)
        send->receipt.reverted = reverted;
    send->state = SEND_MINED;
    send->refusal = LEDGER_OK;
    send->conflict_looks = 0;
    if (!was_mined)
        account_advance(send->account); /* those that waited for it */
    if (receipt->success || is_known)
        receipt_judge(send);
    else
        why_ask(send, true);
}

/* Its nonce is used up and no variant has a receipt, again and again: it seems that another transaction of the
 * same key took it. */
static void conflict_look(struct send *send)
{
    struct ledger *ledger = send->account->senders->ledger;
    if (send->conflict_looks++ == 0)
        send->conflict_head = send->asked_head;
    if (send->conflict_looks < CONFLICT_LOOKS ||
        send->asked_head < send->conflict_head + ledger->options.confirmations)
        return;
    send->conflict_looks = 0;
    send_search_conflict(send);
}

/* Refused, never mined and not known: it did not leave. */
static void refused_for_good(struct send *send)
{
    struct ledger_receipt receipt = {.transaction = send->variants[0], .reverted = send->refusal_reverted};
    enum ledger_error refusal = send->refusal;
    /* Its nonce is the newest given: nothing is prepared behind it meanwhile. */
    send->account->next_nonce = send->nonce;
    send->has_nonce = false;
    send->variant_count = 0;
    send->refusal = LEDGER_OK;
    if (refusal == LEDGER_NO_FUNDS && send->had_unmined) {
        /* Earlier ones still hold their worst-case cost. */
        send->state = SEND_BLOCKED;
        if (account_unmined(send->account) == 0)
            account_advance(send->account);
        return;
    }
    send_finish(send, refusal, refusal == LEDGER_REVERTED ? &receipt : NULL);
}

/* An answer that is none: the question is asked again at the next look. */
static void question_failed(struct send *send, const char *method)
{
    char text[128];
    snprintf(text, sizeof(text), "the ledger node gives no good answer to %s", method);
    senders_trouble_set(send->account->senders, text);
    pulse_start(send->account->senders->ledger);
}

/* It may lie in the pool all the same: the first time it was shown its answer was lost, or the refusal was another
 * node's behind the same address. */
static void on_known(void *context, const struct rpc_answer *answer)
{
    struct send *send = context;
    struct hash hash;
    send->is_asking = false;
    if (answer->error == LEDGER_STOPPED)
        return;
    if (answer->error == LEDGER_OK && json_is_null(answer->result))
        refused_for_good(send);
    else if (answer->error == LEDGER_OK && hash_of_json(json_object_get(answer->result, "hash"), &hash) &&
             hash_equal(&hash, &send->variants[0]))
        send_left(send);
    else
        question_failed(send, "eth_getTransactionByHash");
}

static void known_ask(struct send *send)
{
    send->is_asking = true;
    json_t *params = json_pack("[o]", hash_json(&send->variants[0]));
    rpc_call(send->account->senders->ledger->rpc, "eth_getTransactionByHash", params, RPC_TRIES_ENDLESS,
             on_known, send);
}

static void receipt_missing(struct send *send)
{
    if (send->asked_variant > 0) {
        send->asked_variant--;
        send->is_asking = true;
        receipt_ask_variant(send);
    } else if (send->refusal != LEDGER_OK) {
        known_ask(send);
    } else if (send->state == SEND_MINED) {
        log_warn("ledger: transaction with nonce %" PRIu64 " was mined and reorganised away; sent again",
                 send->nonce);
        send->state = SEND_PENDING;
        send_broadcast(send, false);
    } else {
        conflict_look(send);
    }
}

static void on_receipt(void *context, const struct rpc_answer *answer)
{
    struct send *send = context;
    send->is_asking = false;
    if (answer->error == LEDGER_STOPPED)
        return;
    struct ledger_receipt receipt;
    if (answer->error == LEDGER_OK && json_is_null(answer->result))
        receipt_missing(send);
    else if (answer->error == LEDGER_OK && receipt_read(answer->result, send, &receipt))
        receipt_found(send, &receipt);
    else
        question_failed(send, "eth_getTransactionReceipt");
}
