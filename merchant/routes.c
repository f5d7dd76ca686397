#include "merchant/routes.h"

#include <string.h>

static const struct route routes[] = {
    {EVHTTP_REQ_POST, "v1/invoices", SCOPE_INVOICE, true, false, api_invoice_create},
    {EVHTTP_REQ_GET, "v1/invoices", SCOPE_READ, false, false, api_invoice_list},
    {EVHTTP_REQ_GET, "v1/invoices/*", SCOPE_READ, false, false, api_invoice_get},
    {EVHTTP_REQ_POST, "v1/invoices/*/cancel", SCOPE_INVOICE, true, false, api_invoice_cancel},
    {EVHTTP_REQ_GET, "v1/payments", SCOPE_READ, false, false, api_payment_list},
    {EVHTTP_REQ_GET, "v1/payments/*", SCOPE_READ, false, false, api_payment_get},
    {EVHTTP_REQ_POST, "v1/payments/*/refund", SCOPE_PAYOUT, true, true, api_payment_refund},
    {EVHTTP_REQ_GET, "v1/balance", SCOPE_READ, false, false, api_balance},
    {EVHTTP_REQ_GET, "v1/payouts", SCOPE_READ, false, false, api_payout_list},
    {EVHTTP_REQ_POST, "v1/payouts", SCOPE_PAYOUT, true, true, api_payout_create},
    {EVHTTP_REQ_GET, "v1/payouts/policy", SCOPE_READ, false, false, api_policy_get},
    {EVHTTP_REQ_PUT, "v1/payouts/policy", SCOPE_PAYOUT, true, false, api_policy_put},
    {EVHTTP_REQ_GET, "v1/history", SCOPE_READ, false, false, api_history},
    {EVHTTP_REQ_POST, "v1/webhooks", SCOPE_INVOICE, true, false, api_webhook_create},
    {EVHTTP_REQ_GET, "v1/webhooks", SCOPE_READ, false, false, api_webhook_list},
    {EVHTTP_REQ_POST, "v1/webhooks/replay", SCOPE_INVOICE, true, false, api_webhook_replay},
    {EVHTTP_REQ_DELETE, "v1/webhooks/*", SCOPE_INVOICE, true, false, api_webhook_delete},
    {EVHTTP_REQ_GET, "v1/webhooks/*/deliveries", SCOPE_READ, false, false, api_webhook_deliveries},
    {EVHTTP_REQ_GET, "v1/events", SCOPE_READ, false, false, api_events},
    {EVHTTP_REQ_GET, "openapi.json", 0, false, false, api_openapi},
    {EVHTTP_REQ_GET, "healthz", 0, false, false, api_health},
    {EVHTTP_REQ_GET, "metrics", SCOPE_READ, false, false, api_metrics},
    {EVHTTP_REQ_GET, "pay/*/events", 0, false, false, api_public_events},
};

static bool matches(const char *pattern, const char *const *parts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t length = strcspn(pattern, "/");
        bool any = length == 1 && pattern[0] == '*';
        if (any ? parts[i][0] == '\0' : strlen(parts[i]) != length || memcmp(parts[i], pattern, length) != 0)
            return false;
        pattern += length;
        if ((*pattern == '/') != (i + 1 < count))
            return false;
        pattern += *pattern == '/';
    }
    return count > 0;
}

const struct route *route_find(enum evhttp_cmd_type method, const char *const *parts, size_t count,
                               bool *path_known)
{
    if (method == EVHTTP_REQ_HEAD)
        method = EVHTTP_REQ_GET;
    for (size_t i = 0; i < ARRAY_LENGTH(routes); i++) {
        if (!matches(routes[i].path, parts, count))
            continue;
        if (routes[i].method == method)
            return &routes[i];
        *path_known = true;
    }
    return NULL;
}
