/* Payments and refunds.
 *
 * A payee cannot know its payer: the hub's update says how much and for which secret hash, not from whom (protocol.md,
 * section 4). So the customer makes an invoice for the refund with his own wallet and gives it to the shop.
 */
#include <string.h>

#include "base/code.h"
#include "base/ensure.h"
#include "merchant/api.h"
#include "merchant/render.h"

static struct payment *payment_named(struct call *call, const char *name)
{
    struct object_id id;
    struct payment *payment =
        object_parse(PREFIX_PAYMENT, name, &id) ? shop_payment_find(call->api->shop, &id) : NULL;
    if (payment == NULL)
        (void)call_fail(call, 404, "payment_not_found", "there is no such payment");
    return payment;
}

void api_payment_list(struct call *call)
{
    static const char *const parameters[] = {"invoice", "since", "until", "limit", "cursor", NULL};
    const struct shop *shop = call->api->shop;
    struct page page;
    struct object_id of;
    const char *invoice = call_query(call, "invoice");
    if (!call_query_members(call, parameters) || !call_page(call, &page))
        return;
    if (invoice != NULL && !object_parse(PREFIX_INVOICE, invoice, &of)) {
        (void)call_fail(call, 400, "invalid_request", "'invoice' is not an invoice's id");
        return;
    }
    json_t *list = json_array();
    uint64_t next = 0, looked = 0;
    for (size_t i = shop_payment_after(shop, page.before - 1); i > 0; i--) {
        const struct payment *payment = shop->payment_list[i - 1];
        if (payment->received < page.since)
            break;
        if (json_array_size(list) == page.limit || looked++ == PAGE_LOOKED_AT_MAX) {
            next = payment->number + 1;
            break;
        }
        if (payment->received < page.until && (invoice == NULL || object_equal(&payment->invoice->id, &of)))
            json_array_append_new(list, render_payment(shop, payment));
    }
    call_answer(call, 200, json_pack("{s:o, s:o}", "payments", list, "next", page_next(next)));
}

void api_payment_get(struct call *call)
{
    const struct payment *payment = payment_named(call, call->parts[2]);
    if (payment != NULL)
        call_answer(call, 200, render_payment(call->api->shop, payment));
}

/* ---- refunds ---- */

static bool is_used(const struct shop *shop, const uint8_t secret_hash[32])
{
    for (const struct refund *each = shop->refunds; each != NULL; each = each->hh.next)
        if (memcmp(each->secret_hash.bytes, secret_hash, 32) == 0)
            return true;
    return false;
}

/* How much the refund is: the invoice's amount, else the one asked for, else all that is left. */
static bool refund_amount(struct call *call, const struct payment *payment,
                          const struct rill_invoice *invoice, const char *wanted, uint64_t *out)
{
    const struct asset_info *asset = asset_by_address(call->api->session, payment->invoice->asset.bytes);
    uint64_t left = payment->amount - shop_refunded(payment), asked = 0;
    if (asset == NULL)
        return call_fail(call, 503, "assets_unknown", "the hub no longer lists this payment's asset");
    if (wanted != NULL && !call_amount(call, asset, "amount", wanted, &asked))
        return false;
    if (invoice->amount != 0 && asked != 0 && asked != invoice->amount)
        return call_fail(call, 400, "invalid_amount",
                         "the customer's invoice names another amount than 'amount'");
    *out = invoice->amount != 0 ? invoice->amount : asked != 0 ? asked : left;
    if (left == 0 || *out > left)
        return call_fail(call, 409, "refund_exceeds_payment",
                         "refunds of this payment would be more than was paid (those under way count)");
    return true;
}

static bool refund_target(struct call *call, const struct payment *payment, const char *text,
                          struct rill_invoice *out)
{
    char message[200];
    const struct session *session = call->api->session;
    if (text == NULL)
        return call_fail(
            call, 400, "invoice_missing",
            "'invoice' is missing: a payee does not know its payer, so ask the customer for an invoice "
            "from his own wallet");
    if (!rill_invoice_read(session->wallet, text, out, message, sizeof(message)))
        return call_fail(call, 400, "invalid_invoice", "%s", message);
    if (memcmp(out->asset, payment->invoice->asset.bytes, 20) != 0)
        return call_fail(call, 400, "invalid_invoice",
                         "the customer's invoice is in another asset than the payment");
    if (out->expiry <= rill_ledger_time(session->ledger))
        return call_fail(call, 400, "invalid_invoice",
                         "the customer's invoice has expired: ask for a new one");
    if (memcmp(out->payee, session->address, 20) == 0)
        return call_fail(call, 400, "invalid_invoice", "this is an invoice of the shop's own");
    if (is_used(call->api->shop, out->secret_hash))
        return call_fail(call, 409, "invoice_used",
                         "a refund has used this invoice already: ask for a new one");
    return true;
}

/* On disk first: a crash must not let a refund be forgotten that was sent, nor sent twice. */
void api_payment_refund(struct call *call)
{
    static const char *const members[] = {"amount", "invoice", NULL};
    struct shop *shop = call->api->shop;
    struct payment *payment = payment_named(call, call->parts[2]);
    struct rill_invoice target = {.amount = 0};
    const char *amount = NULL, *text = NULL;
    uint64_t units = 0;
    if (payment == NULL || !call_members(call, members) || !call_text(call, "amount", 40, &amount) ||
        !call_text(call, "invoice", RILL_INVOICE_TEXT_MAX - 1, &text) ||
        !refund_target(call, payment, text, &target) ||
        !refund_amount(call, payment, &target, amount, &units))
        return;
    struct refund *refund = shop_refund_create(shop, payment, units, text, target.secret_hash);
    call_answer(call, 201, render_refund(shop, refund));
    call_commit(call);
    if (shop_refund_send(shop, refund) != 0)
        (void)call_fail(call, 409, "refund_refused", "%s", rill_refusal(call->api->session->wallet));
}
