#include "merchant/render.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/ensure.h"
#include "wallet/command.h"

static json_t *made(json_t *object)
{
    ensure(object != NULL);
    return object;
}

static const struct asset_info *info_of(const struct shop *shop, const struct address *asset)
{
    return asset_by_address(shop->session, asset->bytes);
}

json_t *render_asset(const struct shop *shop, const struct address *asset)
{
    const struct asset_info *info = info_of(shop, asset);
    return made(json_pack("{s:o, s:s, s:i}", "address", json_address(asset->bytes), "symbol",
                          info != NULL ? info->symbol : "", "decimals", info != NULL ? info->decimals : 0));
}

json_t *render_amount(const struct shop *shop, const struct address *asset, uint64_t units)
{
    char text[AMOUNT_TEXT_SIZE];
    const struct asset_info *info = info_of(shop, asset);
    return made(json_string(amount_text(amount_of(units), info != NULL ? info->decimals : 0, text)));
}

json_t *render_units(uint64_t units)
{
    char text[24];
    snprintf(text, sizeof(text), "%" PRIu64, units);
    return made(json_string(text));
}

json_t *render_id(const char *prefix, const struct object_id *id)
{
    char text[OBJECT_TEXT_SIZE];
    if (object_equal(id, &OBJECT_NONE))
        return json_null();
    return made(json_string(object_text(prefix, id, text)));
}

json_t *render_text(const char *text)
{
    return text != NULL ? made(json_string(text)) : json_null();
}

json_t *render_time(uint64_t unix_s)
{
    return unix_s != 0 ? made(json_integer((json_int_t)unix_s)) : json_null();
}

json_t *render_refund(const struct shop *shop, const struct refund *refund)
{
    const struct address *asset = &refund->payment->invoice->asset;
    bool failed = refund->state == REFUND_FAILED;
    return made(json_pack("{s:o, s:o, s:o, s:o, s:o, s:s, s:I, s:o, s:o, s:o, s:o}", "id",
                          render_id(PREFIX_REFUND, &refund->id), "payment",
                          render_id(PREFIX_PAYMENT, &refund->payment->id), "amount",
                          render_amount(shop, asset, refund->amount), "amount_units",
                          render_units(refund->amount), "asset", render_asset(shop, asset), "state",
                          refund_state_name(refund->state), "created", (json_int_t)refund->created, "ended",
                          render_time(refund->ended), "secret_hash", json_hash(refund->secret_hash.bytes),
                          "secret", refund->state == REFUND_PAID ? json_hash(refund->secret) : json_null(),
                          "reason", failed ? made(json_string(rill_code_text(refund->code))) : json_null()));
}

json_t *render_payment(const struct shop *shop, const struct payment *payment)
{
    const struct shop_invoice *invoice = payment->invoice;
    const struct refund *refund;
    json_t *refunds = json_array();
    DL_FOREACH(payment->refunds, refund)
    {
        json_array_append_new(refunds, render_refund(shop, refund));
    }
    return made(json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:s, s:o}", "id", render_id(PREFIX_PAYMENT, &payment->id),
        "invoice", render_id(PREFIX_INVOICE, &invoice->id), "amount",
        render_amount(shop, &invoice->asset, payment->amount), "amount_units", render_units(payment->amount),
        "asset", render_asset(shop, &invoice->asset), "secret_hash", json_hash(invoice->secret_hash.bytes),
        "secret", payment->has_secret ? json_hash(payment->secret) : json_null(), "received",
        (json_int_t)payment->received, "memo", payment->memo != NULL ? payment->memo : "", "refunds",
        refunds));
}

static json_t *metadata_of(const struct shop_invoice *invoice)
{
    return invoice->metadata == NULL ? json_object() : made(json_loads(invoice->metadata, 0, NULL));
}

static json_t *url_of(const struct shop *shop, const struct shop_invoice *invoice, const char *end)
{
    char id[OBJECT_TEXT_SIZE];
    return made(json_sprintf("%s/pay/%s%s", shop->options.base_url,
                             object_text(PREFIX_INVOICE, &invoice->id, id), end));
}

json_t *render_invoice(const struct shop *shop, const struct shop_invoice *invoice)
{
    const struct payment *payment = invoice->payment;
    bool fixed = invoice->amount != 0;
    json_t *payments = json_array();
    if (payment != NULL)
        json_array_append_new(payments, render_payment(shop, payment));
    json_t *object = made(json_pack(
        "{s:o, s:s, s:o, s:o, s:o, s:s, s:s, s:o, s:o}", "id", render_id(PREFIX_INVOICE, &invoice->id),
        "state", invoice_state_name(invoice->state), "amount",
        fixed ? render_amount(shop, &invoice->asset, invoice->amount) : json_null(), "amount_units",
        fixed ? render_units(invoice->amount) : json_null(), "asset", render_asset(shop, &invoice->asset),
        "text", invoice->text, "memo", invoice->memo != NULL ? invoice->memo : "", "external_id",
        render_text(invoice->external_id), "metadata", metadata_of(invoice)));
    json_t *more = made(json_pack(
        "{s:I, s:I, s:o, s:o, s:o, s:o, s:o}", "created", (json_int_t)invoice->created, "expires",
        (json_int_t)invoice->expires, "paid", render_time(payment != NULL ? payment->received : 0),
        "paid_units", payment != NULL ? render_units(payment->amount) : json_null(), "payments", payments,
        "pay_url", url_of(shop, invoice, ""), "qr_url", url_of(shop, invoice, "/qr.svg")));
    ensure(json_object_update(object, more) == 0);
    json_decref(more);
    return object;
}

json_t *render_payout(const struct shop *shop, const struct payout *payout)
{
    bool failed = payout->state == PAYOUT_FAILED;
    return made(json_pack(
        "{s:o, s:o, s:o, s:o, s:s, s:s, s:I, s:o, s:o, s:o}", "id", render_id(PREFIX_PAYOUT, &payout->id),
        "amount", render_amount(shop, &payout->asset, payout->amount), "amount_units",
        render_units(payout->amount), "asset", render_asset(shop, &payout->asset), "state",
        payout_state_name(payout->state), "origin", payout->asked ? "request" : "policy", "created",
        (json_int_t)payout->created, "ended", render_time(payout->ended), "transaction",
        payout->state == PAYOUT_SETTLED ? json_hash(payout->transaction.bytes) : json_null(), "reason",
        failed ? made(json_string(rill_code_text(payout->code))) : json_null()));
}
