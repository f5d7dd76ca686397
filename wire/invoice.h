/* Invoices: `rill:` and RFC 4648 base32 (upper case, no padding) of a signed MessagePack array (section 4).
 */
#ifndef RILL_WIRE_INVOICE_H
#define RILL_WIRE_INVOICE_H

#include "base/buffer.h"
#include "base/payment.h"
#include "crypto/key.h"
#include "crypto/typed.h"

struct invoice {
    uint64_t chain_id;
    struct address contract;
    char endpoint[HOST_BYTES_MAX + 8]; /* host:port of the hub */
    struct address payee, asset;
    struct amount amount; /* 0: the payer chooses */
    struct hash secret_hash;
    uint64_t expiry;
    char memo[MEMO_BYTES_MAX + 1];
    struct signature signature;
};
#define INVOICE_TEXT_MAX 2048

enum invoice_error {
    INVOICE_OK = 0,
    INVOICE_NOT_ONE,   /* not "rill:" and base32 */
    INVOICE_MALFORMED, /* the array is not an invoice's */
    INVOICE_VERSION,   /* of another version */
    INVOICE_SIGNATURE  /* not signed by its payee */
};
const char *invoice_error_text(enum invoice_error error);

void invoice_sign(struct invoice *invoice, const struct secret_key *payee);
/* NUL-terminated text; valid invoices always fit. */
void invoice_encode(const struct invoice *invoice, char out[INVOICE_TEXT_MAX]);
/* Decodes and checks the signature. */
enum invoice_error invoice_decode(const char *text, struct invoice *out) MUST_USE;

#endif
