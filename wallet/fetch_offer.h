/* Offers of the scheme rill-channel, as an x402 `accepts` entry has them: what both sides must read alike.
 * docs/pay-per-request.md has the fields.
 */
#ifndef RILL_WALLET_FETCH_OFFER_H
#define RILL_WALLET_FETCH_OFFER_H

#include <jansson.h>

#include "base/amount.h"
#include "base/bytes.h"
#include "rill.h"

#define FETCH_SCHEME "rill-channel"

/* An invoice's memo binds it to one request: method, and the hash of method and target. The hub that carries the payment
 * learns no path from it. */
#define FETCH_MEMO_SIZE 96
void fetch_offer_memo(const char *method, const struct hash *resource, char out[FETCH_MEMO_SIZE]);
/* SHA-256 of "METHOD\ntarget". */
struct hash fetch_offer_resource(const char *method, const char *target, size_t target_length);

struct fetch_offer {
    bool budget; /* pays for many requests */
    char invoice[RILL_INVOICE_TEXT_MAX];
    char ticket[256];
    char network[64];
    uint8_t asset[20], payee[20], secret_hash[32];
    uint64_t units;
    uint64_t expires; /* of the invoice, by the ledger's clock */
};
/* Reads an entry and holds it against what was asked: scheme, network, resource (whose place must be the URL's; its scheme
 * may differ, as a proxy behind a TLS server sees http), and its invoice, which the payee has signed for this wallet's hub,
 * this amount, this asset and this request. False, and one line. */
bool fetch_offer_read(const json_t *entry, const struct rill_wallet *wallet, uint64_t chain_id,
                      const char *method, const char *url, struct fetch_offer *out, char *message,
                      size_t message_size) MUST_USE;
/* The value of X-PAYMENT, to be freed. */
char *fetch_offer_payment(const struct fetch_offer *offer, const uint8_t receipt[32]);

#endif
