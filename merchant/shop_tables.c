/* What a shop holds in memory: tables by id, lists in order, and the open invoices by expiry. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "crypto/hash.h"
#include "merchant/shop.h"

struct expiry {
    uint64_t at;
    struct object_id invoice;
};

const struct object_id OBJECT_NONE;

/* ---- names ---- */

struct object_id object_id_random(void)
{
    struct object_id id;
    random_bytes(id.bytes, sizeof(id.bytes));
    return id;
}

const char *object_text(const char *prefix, const struct object_id *id, char out[OBJECT_TEXT_SIZE])
{
    size_t length = strlen(prefix);
    ensure(length + 2 * sizeof(id->bytes) < OBJECT_TEXT_SIZE);
    snprintf(out, OBJECT_TEXT_SIZE, "%s", prefix);
    hex_encode(id->bytes, sizeof(id->bytes), out + length);
    return out;
}

bool object_parse(const char *prefix, const char *text, struct object_id *out)
{
    size_t length = strlen(prefix);
    if (text == NULL || strncmp(text, prefix, length) != 0 ||
        strspn(text + length, "0123456789abcdef") != 2 * sizeof(out->bytes))
        return false;
    return hex_decode(text + length, out->bytes, sizeof(out->bytes));
}

bool object_equal(const struct object_id *a, const struct object_id *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

const char *invoice_state_name(enum invoice_state state)
{
    static const char *const names[] = {"open", "paid", "expired", "cancelled"};
    return names[state];
}

const char *refund_state_name(enum refund_state state)
{
    static const char *const names[] = {"pending", "paid", "failed", "unknown"};
    return names[state];
}

const char *payout_state_name(enum payout_state state)
{
    static const char *const names[] = {"pending", "settled", "failed", "unknown"};
    return names[state];
}

/* ---- tables ---- */

struct shop_invoice *shop_invoice_find(const struct shop *shop, const struct object_id *id)
{
    struct shop_invoice *invoice;
    HASH_FIND(hh, shop->invoices, id, sizeof(*id), invoice);
    return invoice;
}

struct payment *shop_payment_find(const struct shop *shop, const struct object_id *id)
{
    struct payment *payment;
    HASH_FIND(hh, shop->payments, id, sizeof(*id), payment);
    return payment;
}

/* Room for one more pointer. */
static void *list_room(void *list, size_t count, size_t *capacity)
{
    if (count < *capacity)
        return list;
    *capacity = *capacity == 0 ? 64 : *capacity * 2;
    return xrealloc(list, *capacity * sizeof(void *));
}

static void list_invoice(struct shop *shop, struct shop_invoice *invoice)
{
    shop->invoice_list = list_room(shop->invoice_list, shop->invoice_count, &shop->invoice_capacity);
    shop->invoice_list[shop->invoice_count++] = invoice;
}

static void list_payment(struct shop *shop, struct payment *payment)
{
    shop->payment_list = list_room(shop->payment_list, shop->payment_count, &shop->payment_capacity);
    shop->payment_list[shop->payment_count++] = payment;
}

static void list_payout(struct shop *shop, struct payout *payout)
{
    shop->payout_list = list_room(shop->payout_list, shop->payout_count, &shop->payout_capacity);
    shop->payout_list[shop->payout_count++] = payout;
}

void shop_add_invoice(struct shop *shop, struct shop_invoice *invoice)
{
    HASH_ADD(hh, shop->invoices, id, sizeof(invoice->id), invoice);
    HASH_ADD(hh_hash, shop->invoices_by_hash, secret_hash, sizeof(invoice->secret_hash), invoice);
    if (shop->listed)
        list_invoice(shop, invoice);
}

void shop_add_payment(struct shop *shop, struct payment *payment)
{
    HASH_ADD(hh, shop->payments, id, sizeof(payment->id), payment);
    payment->invoice->payment = payment;
    if (shop->listed)
        list_payment(shop, payment);
}

void shop_add_payout(struct shop *shop, struct payout *payout)
{
    HASH_ADD(hh, shop->payouts, id, sizeof(payout->id), payout);
    if (shop->listed)
        list_payout(shop, payout);
}

static int by_number(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int invoice_order(const void *a, const void *b)
{
    return by_number((*(struct shop_invoice *const *)a)->number, (*(struct shop_invoice *const *)b)->number);
}

static int payment_order(const void *a, const void *b)
{
    return by_number((*(struct payment *const *)a)->number, (*(struct payment *const *)b)->number);
}

static int payout_order(const void *a, const void *b)
{
    return by_number((*(struct payout *const *)a)->number, (*(struct payout *const *)b)->number);
}

void shop_sort_lists(struct shop *shop)
{
    for (struct shop_invoice *each = shop->invoices; each != NULL; each = each->hh.next) {
        list_invoice(shop, each);
        if (each->state == INVOICE_OPEN)
            shop_watch_expiry(shop, each, each->expires);
    }
    for (struct payment *each = shop->payments; each != NULL; each = each->hh.next)
        list_payment(shop, each);
    for (struct payout *each = shop->payouts; each != NULL; each = each->hh.next)
        list_payout(shop, each);
    if (shop->invoice_count > 1)
        qsort(shop->invoice_list, shop->invoice_count, sizeof(void *), invoice_order);
    if (shop->payment_count > 1)
        qsort(shop->payment_list, shop->payment_count, sizeof(void *), payment_order);
    if (shop->payout_count > 1)
        qsort(shop->payout_list, shop->payout_count, sizeof(void *), payout_order);
    shop->listed = true;
}

/* The first of [0, count) whose number is above `number`. */
#define FIRST_AFTER(list, count, wanted)                                                                     \
    size_t low = 0, high = (count);                                                                          \
    while (low < high) {                                                                                     \
        size_t middle = low + (high - low) / 2;                                                              \
        if ((list)[middle]->number > (wanted))                                                               \
            high = middle;                                                                                   \
        else                                                                                                 \
            low = middle + 1;                                                                                \
    }                                                                                                        \
    return low

size_t shop_invoice_after(const struct shop *shop, uint64_t number)
{
    FIRST_AFTER(shop->invoice_list, shop->invoice_count, number);
}

size_t shop_payment_after(const struct shop *shop, uint64_t number)
{
    FIRST_AFTER(shop->payment_list, shop->payment_count, number);
}

size_t shop_payout_after(const struct shop *shop, uint64_t number)
{
    FIRST_AFTER(shop->payout_list, shop->payout_count, number);
}

/* ---- expiry ---- */

static void swap(struct expiry *a, struct expiry *b)
{
    struct expiry kept = *a;
    *a = *b;
    *b = kept;
}

void shop_watch_expiry(struct shop *shop, struct shop_invoice *invoice, uint64_t at)
{
    if (shop->expiry_count == shop->expiry_capacity) {
        shop->expiry_capacity = shop->expiry_capacity == 0 ? 64 : shop->expiry_capacity * 2;
        shop->expiries = xrealloc(shop->expiries, shop->expiry_capacity * sizeof(*shop->expiries));
    }
    size_t place = shop->expiry_count++;
    shop->expiries[place] = (struct expiry){at, invoice->id};
    for (; place > 0 && shop->expiries[(place - 1) / 2].at > shop->expiries[place].at;
         place = (place - 1) / 2)
        swap(&shop->expiries[(place - 1) / 2], &shop->expiries[place]);
}

static void drop_first(struct shop *shop)
{
    struct expiry *heap = shop->expiries;
    size_t count = --shop->expiry_count, place = 0;
    heap[0] = heap[count];
    for (;;) {
        size_t least = place, left = 2 * place + 1;
        if (left < count && heap[left].at < heap[least].at)
            least = left;
        if (left + 1 < count && heap[left + 1].at < heap[least].at)
            least = left + 1;
        if (least == place)
            return;
        swap(&heap[place], &heap[least]);
        place = least;
    }
}

struct shop_invoice *shop_next_expired(struct shop *shop, uint64_t now)
{
    while (shop->expiry_count > 0 && shop->expiries[0].at < now) {
        struct shop_invoice *invoice = shop_invoice_find(shop, &shop->expiries[0].invoice);
        drop_first(shop);
        if (invoice != NULL && invoice->state == INVOICE_OPEN)
            return invoice;
    }
    return NULL;
}

/* ---- letting go ---- */

static void free_refund(struct refund *refund)
{
    free(refund->invoice);
    free(refund);
}

static void free_payment(struct shop *shop, struct payment *payment)
{
    struct refund *refund, *next;
    DL_FOREACH_SAFE(payment->refunds, refund, next)
    {
        HASH_DELETE(hh, shop->refunds, refund);
        free_refund(refund);
    }
    HASH_DELETE(hh, shop->payments, payment);
    free(payment->memo);
    free(payment);
}

static void free_invoice(struct shop *shop, struct shop_invoice *invoice)
{
    if (invoice->payment != NULL)
        free_payment(shop, invoice->payment);
    HASH_DELETE(hh, shop->invoices, invoice);
    HASH_DELETE(hh_hash, shop->invoices_by_hash, invoice);
    free(invoice->text);
    free(invoice->memo);
    free(invoice->external_id);
    free(invoice->metadata);
    free(invoice);
}

bool shop_forget_invoice(struct shop *shop, const struct object_id *id)
{
    struct shop_invoice *invoice = shop_invoice_find(shop, id);
    if (invoice != NULL)
        free_invoice(shop, invoice);
    return true;
}

bool shop_forget_payout(struct shop *shop, const struct object_id *id)
{
    struct payout *payout;
    HASH_FIND(hh, shop->payouts, id, sizeof(*id), payout);
    if (payout == NULL)
        return true;
    HASH_DELETE(hh, shop->payouts, payout);
    free(payout);
    return true;
}

static bool invoice_is_over(const struct shop_invoice *invoice, uint64_t before)
{
    if (invoice->state == INVOICE_OPEN || invoice->ended >= before)
        return false;
    const struct refund *refund;
    if (invoice->payment != NULL)
        DL_FOREACH(invoice->payment->refunds, refund)
        {
            if (refund->state == REFUND_PENDING || refund->ended >= before)
                return false;
        }
    return true;
}

static void write_invoice_gone(struct shop *shop, const struct shop_invoice *invoice)
{
    const struct refund *refund;
    if (invoice->payment != NULL) {
        DL_FOREACH(invoice->payment->refunds, refund)
        {
            shop_write_gone(shop, RECORD_REFUND, &refund->id);
        }
        shop_write_gone(shop, RECORD_PAYMENT, &invoice->payment->id);
    }
    shop_write_gone(shop, RECORD_INVOICE, &invoice->id);
}

void shop_prune(struct shop *shop, uint64_t before)
{
    size_t kept = 0;
    for (size_t i = 0; i < shop->payment_count; i++)
        if (!invoice_is_over(shop->payment_list[i]->invoice, before))
            shop->payment_list[kept++] = shop->payment_list[i];
    shop->payment_count = kept;
    kept = 0;
    for (size_t i = 0; i < shop->invoice_count; i++) {
        struct shop_invoice *invoice = shop->invoice_list[i];
        if (invoice_is_over(invoice, before)) {
            write_invoice_gone(shop, invoice);
            free_invoice(shop, invoice);
        } else {
            shop->invoice_list[kept++] = invoice;
        }
    }
    shop->invoice_count = kept;
    kept = 0;
    for (size_t i = 0; i < shop->payout_count; i++) {
        struct payout *payout = shop->payout_list[i];
        if (payout->state != PAYOUT_PENDING && payout->ended < before) {
            shop_write_gone(shop, RECORD_PAYOUT, &payout->id);
            (void)shop_forget_payout(shop, &payout->id);
        } else {
            shop->payout_list[kept++] = payout;
        }
    }
    shop->payout_count = kept;
}

void shop_tables_free(struct shop *shop)
{
    struct shop_invoice *invoice, *next;
    struct payout *payout, *next_payout;
    HASH_ITER(hh, shop->invoices, invoice, next)
    {
        free_invoice(shop, invoice);
    }
    HASH_ITER(hh, shop->payouts, payout, next_payout)
    {
        HASH_DELETE(hh, shop->payouts, payout);
        free(payout);
    }
    free(shop->invoice_list);
    free(shop->payment_list);
    free(shop->payout_list);
    free(shop->expiries);
}
