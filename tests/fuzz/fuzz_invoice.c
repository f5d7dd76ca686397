/* An invoice's text, as a payer gets it from anybody; and invoices made from the input, signed for real.
 *
 *     input: mode u8; even: the text, odd: the fields
 *
 * A text that is taken is the only spelling of its invoice. What a payee signs is taken, and with one letter changed
 * it is not, but for what is not signed. */
#include "tests/fuzz/input.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/base32.h"
#include "wire/invoice.h"

static void read_text(const uint8_t *data, size_t size)
{
    struct invoice invoice;
    char *text = xmalloc(size + 1), again[INVOICE_TEXT_MAX];
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    enum invoice_error error = invoice_decode(text, &invoice);
    ensure(invoice_error_text(error) != NULL);
    if (error == INVOICE_OK) {
        invoice_encode(&invoice, again);
        ensure(strcmp(text, again) == 0);
    }
    free(text);
}

/* Text of the input's letters, as long as they are UTF-8. */
static void take_memo(struct input *input, char out[MEMO_BYTES_MAX + 1])
{
    size_t length;
    const uint8_t *bytes = input_bytes(input, MEMO_BYTES_MAX, &length);
    while (length > 0 && !utf8_is_valid(bytes, length))
        length--;
    memcpy(out, bytes, length);
    out[length] = '\0';
}

static void change_a_letter(struct input *input, const struct invoice *made, const char *text)
{
    struct invoice invoice;
    char other[INVOICE_TEXT_MAX];
    size_t at = input_u16(input) % strlen(text);
    memcpy(other, text, strlen(text) + 1);
    other[at] = (char)input_u8(input);
    if (other[at] == text[at] || invoice_decode(other, &invoice) != INVOICE_OK)
        return;
    /* Not signed: the hub's endpoint (who is there proves itself), and the parity, which is a hint. */
    memcpy(invoice.endpoint, made->endpoint, sizeof(invoice.endpoint));
    invoice.signature.bytes[32] =
        (uint8_t)((invoice.signature.bytes[32] & 0x7f) | (made->signature.bytes[32] & 0x80));
    invoice_encode(&invoice, other);
    ensure(strcmp(other, text) == 0);
}

static void make_one(struct input *input)
{
    struct secret_key key = {{1, [31] = 5}};
    struct invoice invoice, reread;
    char text[INVOICE_TEXT_MAX], again[INVOICE_TEXT_MAX];
    memset(&invoice, 0, sizeof(invoice));
    invoice.chain_id = input_number(input);
    invoice.contract.bytes[0] = input_u8(input);
    snprintf(invoice.endpoint, sizeof(invoice.endpoint), "h%u:%u", input_u8(input),
             1 + input_u16(input) % 65535u);
    invoice.payee = secret_key_address(&key);
    invoice.asset.bytes[19] = input_u8(input);
    invoice.amount.units = input_number(input) % AMOUNT_LIMIT;
    invoice.secret_hash.bytes[0] = input_u8(input);
    invoice.expiry = input_number(input);
    take_memo(input, invoice.memo);
    invoice_sign(&invoice, &key);
    invoice_encode(&invoice, text);
    ensure(invoice_decode(text, &reread) == INVOICE_OK);
    invoice_encode(&reread, again);
    ensure(strcmp(text, again) == 0 && strcmp(invoice.memo, reread.memo) == 0);
    change_a_letter(input, &invoice, text);
}

static void read_base32(const uint8_t *data, size_t size)
{
    uint8_t bytes[512];
    char text[1024], *given = xmalloc(size + 1);
    size_t length;
    if (size > 0)
        memcpy(given, data, size);
    given[size] = '\0';
    if (base32_decode(given, bytes, sizeof(bytes), &length)) {
        base32_encode(bytes, length, text);
        ensure(strcmp(text, given) == 0);
    }
    free(given);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = input_of(data, size);
    if (input_u8(&input) % 2 == 1) {
        make_one(&input);
        return 0;
    }
    read_text(input.at, input.left);
    read_base32(input.at, input.left);
    return 0;
}
