/* GET /settlements: what each batch did and cost. A batch whose receipt a restart has hidden is shown without its cost,
 * and the ledger is asked for it: the next answer has it. */
#include <event2/buffer.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "hub/hub_state.h"
#include "ledger/quantity.h"

#define RECEIPTS_ASKED_MAX 16 /* by one request */

struct reports {
    struct batch_report *reports;
    size_t count;
};

static void gather_reports(const struct engine *engine, void *context)
{
    struct reports *all = context;
    size_t count;
    const struct batch_report *reports = engine_reports(engine, &count);
    if (count == 0)
        return;
    all->reports = xrealloc(all->reports, (all->count + count) * sizeof(*reports));
    memcpy(all->reports + all->count, reports, count * sizeof(*reports));
    all->count += count;
}

static int report_compare(const void *left, const void *right)
{
    const struct batch_report *a = left, *b = right;
    return (a->number > b->number) - (a->number < b->number);
}

static void put_report(struct evbuffer *body, const struct batch_report *report)
{
    uint64_t touched = report->items + report->funds;
    evbuffer_add_printf(
        body,
        "{\"batch\":%" PRIu64 ",\"block\":%" PRIu64 ",\"time\":%" PRIu64
        ",\"transaction\":\"%s\",\"channels\":%" PRIu64 ",\"items\":%" PRIu64 ",\"funds\":%" PRIu64
        ",\"skipped\":%" PRIu64 ",\"gross\":%" PRIu64 ",\"paid_out\":%" PRIu64 ",\"returned\":%" PRIu64
        ",\"funded\":%" PRIu64 ",\"net_moved\":%" PRIu64 ",\"gas\":%" PRIu64 ",\"gas_per_channel\":%" PRIu64
        ",\"gas_price\":%" PRIu64 ",\"proofs\":%" PRIu64 ",\"journal_root\":\"%s\"}",
        report->number, report->block, report->time,
        hash_text(&report->transaction, (char[HASH_TEXT_SIZE]){0}), touched, report->items, report->funds,
        report->skipped, report->gross_units, report->payout_units, report->returned_units,
        report->funded_units, report->payout_units + report->funded_units, report->gas_used,
        touched == 0 ? 0 : report->gas_used / touched, report->gas_price, report->leaves,
        hash_text(&report->root, (char[HASH_TEXT_SIZE]){0}));
}

/* ---- receipts that are missing ---- */

static void on_receipt(void *context, enum ledger_error error, const char *text)
{
    struct hub *hub = context;
    struct ledger_receipt receipt = {.success = true};
    if (error == LEDGER_STOPPED)
        return;
    hub->receipts_asked--;
    json_t *answer = error == LEDGER_OK ? json_loads(text, 0, NULL) : NULL;
    bool good = hash_of_json(json_object_get(answer, "transactionHash"), &receipt.transaction) &&
                quantity_u64(json_object_get(answer, "blockNumber"), &receipt.block) &&
                quantity_u64(json_object_get(answer, "gasUsed"), &receipt.gas_used) &&
                quantity_u64(json_object_get(answer, "effectiveGasPrice"), &receipt.effective_gas_price);
    json_decref(answer);
    for (uint32_t i = 0; i < hub->shard_count && good; i++) {
        struct mail *mail = mail_new(MAIL_RECEIPT, 0, NULL, 0);
        mail->call.receipt = receipt;
        mailbox_post(hub->shards[i].mailbox, mail);
    }
}

static void ask_receipts(struct hub *hub, const struct reports *all)
{
    char text[HASH_TEXT_SIZE], params[HASH_TEXT_SIZE + 8];
    if (hub->ledger == NULL || hub->receipts_asked > 0)
        return;
    for (size_t i = all->count; i-- > 0 && hub->receipts_asked < RECEIPTS_ASKED_MAX;) {
        if (all->reports[i].gas_used != 0)
            continue;
        hub->receipts_asked++;
        snprintf(params, sizeof(params), "[\"%s\"]", hash_text(&all->reports[i].transaction, text));
        ledger_request(hub->ledger, "eth_getTransactionReceipt", params, on_receipt, hub);
    }
}

void http_on_settlements(struct evhttp_request *request, void *context)
{
    struct hub *hub = context;
    struct evbuffer *body = evbuffer_new();
    struct reports all = {0};
    ensure(body != NULL);
    for (uint32_t i = 0; i < hub->shard_count; i++)
        shard_ask(&hub->shards[i], gather_reports, &all);
    if (all.count > 0)
        qsort(all.reports, all.count, sizeof(*all.reports), report_compare);
    evbuffer_add_printf(body, "[");
    for (size_t i = 0; i < all.count; i++) {
        evbuffer_add_printf(body, "%s", i == 0 ? "" : ",");
        put_report(body, &all.reports[i]);
    }
    evbuffer_add_printf(body, "]\n");
    ask_receipts(hub, &all);
    free(all.reports);
    http_reply(request, hub->recovered < hub->shard_count ? 503 : 200, "application/json", body);
}
