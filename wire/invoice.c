#include "wire/invoice.h"

#include <string.h>

#include "base/ensure.h"
#include "crypto/hash.h"
#include "wire/base32.h"
#include "wire/cursor.h"
#include "wire/pack.h"

#define INVOICE_PREFIX         "rill:"
#define INVOICE_VERSION_NUMBER 1
#define INVOICE_FIELDS         11
#define PREFIX_LENGTH          (sizeof INVOICE_PREFIX - 1)
/* What fits the longest text. */
#define PACKED_MAX ((INVOICE_TEXT_MAX - 1 - PREFIX_LENGTH) * 5 / 8)

/* The longest of all: heads and numbers in their longest forms. */
#define PACKED_LONGEST                                                                                       \
    (1 + 1 + 9 + 22 + (3 + HOST_BYTES_MAX + 7) + 22 + 22 + 9 + 34 + 9 + (3 + MEMO_BYTES_MAX) + 66)
_Static_assert(PACKED_LONGEST <= PACKED_MAX, "valid invoices always fit");

const char *invoice_error_text(enum invoice_error error)
{
    switch (error) {
    case INVOICE_OK:
        return "no error";
    case INVOICE_NOT_ONE:
        return "this is not an invoice: it should be rill: and capital letters and digits, complete";
    case INVOICE_MALFORMED:
        return "the invoice is damaged: ask for it again";
    case INVOICE_VERSION:
        return "the invoice is of a version that is not spoken here";
    case INVOICE_SIGNATURE:
        return "the invoice is not signed by its payee: do not pay it";
    }
    return "unknown error";
}

static struct hash invoice_digest(const struct invoice *invoice)
{
    struct domain domain = domain_make(invoice->chain_id, &invoice->contract);
    struct hash memo_hash = keccak256(invoice->memo, strlen(invoice->memo));
    return digest_invoice(&domain, &invoice->payee, &invoice->asset, invoice->amount, &invoice->secret_hash,
                          invoice->expiry, &memo_hash);
}

void invoice_sign(struct invoice *invoice, const struct secret_key *payee)
{
    invoice->payee = secret_key_address(payee);
    struct hash digest = invoice_digest(invoice);
    invoice->signature = key_sign(payee, &digest);
}

static struct text text_of(const char *text)
{
    return (struct text){text, strlen(text)};
}

void invoice_encode(const struct invoice *invoice, char out[INVOICE_TEXT_MAX])
{
    struct buffer packed = {0};
    pack_array(&packed, INVOICE_FIELDS);
    pack_uint(&packed, INVOICE_VERSION_NUMBER);
    pack_uint(&packed, invoice->chain_id);
    pack_address(&packed, &invoice->contract);
    pack_text(&packed, text_of(invoice->endpoint));
    pack_address(&packed, &invoice->payee);
    pack_address(&packed, &invoice->asset);
    pack_amount(&packed, invoice->amount);
    pack_hash(&packed, &invoice->secret_hash);
    pack_uint(&packed, invoice->expiry);
    pack_text(&packed, text_of(invoice->memo));
    pack_signature(&packed, &invoice->signature);
    ensure(packed.length <= PACKED_MAX);
    memcpy(out, INVOICE_PREFIX, PREFIX_LENGTH);
    base32_encode(packed.data, packed.length, out + PREFIX_LENGTH);
    buffer_free(&packed);
}

/* The text into an array of `size` characters, with a NUL. cursor_text has refused NULs inside. */
static void read_text(struct cursor *cursor, char *out, size_t size)
{
    struct text text = cursor_text(cursor, size - 1);
    memcpy(out, text.data, text.length);
    out[text.length] = '\0';
}

/* "host:port", the host not empty, the port 1…65535. */
static bool endpoint_is_valid(const char *endpoint)
{
    const char *colon = strrchr(endpoint, ':');
    if (colon == NULL || colon == endpoint || colon - endpoint > HOST_BYTES_MAX)
        return false;
    size_t digits = strlen(colon + 1);
    if (digits < 1 || digits > 5 || strspn(colon + 1, "0123456789") != digits || colon[1] == '0')
        return false;
    unsigned port = 0;
    for (const char *at = colon + 1; *at != '\0'; at++)
        port = port * 10 + (unsigned)(*at - '0');
    return port <= UINT16_MAX;
}

/* All fields after the version. */
static void read_fields(struct cursor *cursor, struct invoice *out)
{
    out->chain_id = cursor_uint(cursor, UINT64_MAX);
    cursor_bytes(cursor, out->contract.bytes, sizeof out->contract.bytes);
    read_text(cursor, out->endpoint, sizeof out->endpoint);
    cursor_bytes(cursor, out->payee.bytes, sizeof out->payee.bytes);
    cursor_bytes(cursor, out->asset.bytes, sizeof out->asset.bytes);
    out->amount = amount_of(cursor_uint(cursor, AMOUNT_LIMIT - 1));
    cursor_bytes(cursor, out->secret_hash.bytes, sizeof out->secret_hash.bytes);
    out->expiry = cursor_uint(cursor, UINT64_MAX);
    read_text(cursor, out->memo, sizeof out->memo);
    cursor_bytes(cursor, out->signature.bytes, sizeof out->signature.bytes);
}

enum invoice_error invoice_decode(const char *text, struct invoice *out)
{
    uint8_t packed[PACKED_MAX];
    size_t length = 0;
    if (strnlen(text, INVOICE_TEXT_MAX) == INVOICE_TEXT_MAX ||
        strncmp(text, INVOICE_PREFIX, PREFIX_LENGTH) != 0 ||
        !base32_decode(text + PREFIX_LENGTH, packed, sizeof packed, &length) || length == 0)
        return INVOICE_NOT_ONE;

    struct cursor cursor = cursor_of(packed, length);
    size_t extra = cursor_record(&cursor, 1);
    uint64_t version = cursor_uint(&cursor, UINT64_MAX);
    if (cursor.why == NULL && version != INVOICE_VERSION_NUMBER)
        return INVOICE_VERSION;
    struct invoice invoice;
    memset(&invoice, 0, sizeof invoice);
    if (extra != INVOICE_FIELDS - 1)
        cursor_fail(&cursor, "not the fields of an invoice");
    read_fields(&cursor, &invoice);
    cursor_close(&cursor, 0);
    if (!cursor_finish(&cursor) || !endpoint_is_valid(invoice.endpoint))
        return INVOICE_MALFORMED;

    /* One invoice has one text: numbers in a longer form than needed are refused here. */
    char again[INVOICE_TEXT_MAX];
    invoice_encode(&invoice, again);
    if (strcmp(again, text) != 0)
        return INVOICE_MALFORMED;
    struct hash digest = invoice_digest(&invoice);
    if (!signature_is_by(&invoice.signature, &digest, &invoice.payee))
        return INVOICE_SIGNATURE;
    *out = invoice;
    return INVOICE_OK;
}
