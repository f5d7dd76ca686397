/* One fetch: asked, paid within the limits, asked again with the receipt.
 *
 *     ASKING ─ 402, an offer ─▶ the limits, the books ─▶ PAYING ─ receipt ─▶ SENDING ─ answer ─▶ done
 *        │                                                          └─ failed ─▶ done
 *        ├─ a receipt or a budget is there already: it is sent along at once
 *        ├─ a payment for it is under way since a process of before: its outcome is waited for
 *        └─ budgets are wanted: ASKING the host for one (POST /.rill/budget), PAYING it, and SENDING with it
 *
 * Only one payment is made for a fetch, whatever it is answered.
 */
#include "wallet/fetch_state.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/text.h"
#include "wire/http.h"

#define OFFER_BYTES_MAX  (64 * 1024)
#define HEADER_BYTES_MAX 16384
#define BUDGET_PATH      "/.rill/budget?amountUnits="
/* So long after its lock has expired a hub may take to show the secret of a payment that was collected: then the same is paid
 * anew. */
#define SECRET_WAIT_S 86400

enum fetch_step { STEP_ASKING, STEP_PAYING, STEP_SENDING };

struct fetch {
    struct rill_fetcher *fetcher;
    struct rill_fetch_request request; /* texts are copies */
    char *method, *text_url, *headers;
    void *body;
    struct http_url url;
    char origin[FETCH_ORIGIN_MAX];
    struct hash place;
    uint32_t day;

    enum fetch_step step;
    bool buying;    /* what is asked for and paid just now is a budget */
    bool resent;    /* the paid request has been sent once more */
    bool no_budget; /* no budget is tried any more */

    struct fetch_call *call;
    struct event *refused; /* the wallet does not pay: said from the loop */
    struct buffer answer;  /* of a 402 */
    json_t *said;          /* the same, read; NULL: it is no JSON */
    unsigned status;
    bool served;   /* the answer says that the payment was taken */
    bool returned; /* and that it was given back */
    char code[32]; /* of a 402 */

    struct fetch_offer offer;
    uint64_t reserved; /* in the books: price and fee */
    bool has_payment;
    uint8_t payment[16];
    struct kept_receipt *receipt;
    struct hash budget;    /* in use for this request; zero: none */
    bool left_said;        /* of it, by this answer */
    struct hash too_small; /* the budget that was tried before; zero: none */
    uint64_t short_of;     /* so much would not do: what the budgets had left that were too small */
    struct hash earlier;   /* a payment of a process of before whose outcome is waited for; zero: none */

    struct rill_fetch_result result;
    char message[400];
    UT_hash_handle hh; /* by payment */
    struct fetch *prev, *next;
};

/* A payment that has failed, and that the hub may collect yet: the limits count it until it cannot. */
struct held_payment {
    uint8_t payment[16];
    struct hash secret_hash;
    uint32_t day;
    char host[FETCH_HOST_MAX];
    uint64_t reserved;
    UT_hash_handle hh;
};

struct rill_fetcher {
    struct rill_fetcher_options options;
    struct fetch_pool *pool;
    struct fetch_books *books;
    struct fetch *all, *paying;
    struct held_payment *held;
    struct next_offers *next_offers;
    bool damaged; /* a note is not understood */
};

static void ask(struct fetch *fetch);

/* ---- payments of a process of before ---- */

static bool replay(void *context, uint64_t number, const void *bytes, size_t length)
{
    struct rill_fetcher *fetcher = context;
    struct fetch_note note = {number, bytes, length};
    fetcher->damaged = !fetch_note_replay(fetcher->books, &note);
    return !fetcher->damaged;
}

/* What it reserved and its books had not on disk yet lies beside the payments. */
static bool recall(struct rill_fetcher *fetcher)
{
    const uint8_t *owner = fetch_books_owner(fetcher->books);
    rill_notes(fetcher->options.wallet, owner, replay, fetcher);
    return !fetcher->damaged;
}

/* It has not come back and is not lost either, and there is no secret: it has yet to end, or the payee has collected it on the
 * ledger and the hub has not shown by what. */
static bool is_undecided(const struct rill_payment *payment)
{
    return !payment->has_secret && strcmp(payment->state, "failed") != 0 &&
           strcmp(payment->state, "lost") != 0;
}

/* It may have stopped between paying and hearing of it: the wallet knows how that ended, or will. */
static bool visit_payment(void *context, const struct rill_payment *payment)
{
    struct rill_fetcher *fetcher = context;
    struct hash id;
    memcpy(id.bytes, payment->secret_hash, 32);
    struct kept_receipt *receipt = fetch_receipt_of(fetcher->books, &id);
    struct kept_budget *budget = fetch_budget_find(fetcher->books, &id);
    bool under_way =
        is_undecided(payment) && (!payment->is_final || payment->expiry + SECRET_WAIT_S > clock_unix_s());
    if (!payment->outgoing)
        return true;
    if (receipt != NULL && receipt->state == KEPT_PAYING) {
        receipt->under_way = under_way;
        if (payment->has_secret)
            fetch_receipt_paid(fetcher->books, receipt, payment->secret);
    }
    if (budget != NULL && !budget->paid) {
        budget->under_way = under_way;
        if (payment->has_secret)
            fetch_budget_paid(fetcher->books, budget, payment->secret);
    }
    return true;
}

static bool any_in_doubt(const struct rill_fetcher *fetcher)
{
    for (const struct kept_receipt *receipt = fetch_receipts(fetcher->books); receipt != NULL;
         receipt = receipt->hh.next)
        if (receipt->state == KEPT_PAYING)
            return true;
    for (const struct kept_budget *budget = fetch_budgets(fetcher->books); budget != NULL;
         budget = budget->hh.next)
        if (!budget->paid)
            return true;
    return false;
}

/* Paid twice is worse than late. False: nothing for this request is being paid since before. */
static bool await_earlier(struct fetch *fetch)
{
    struct fetch_books *books = fetch->fetcher->books;
    struct kept_receipt *receipt = fetch_receipt_under_way(books, &fetch->place);
    struct kept_budget *budget = receipt == NULL ? fetch_budget_under_way(books, fetch->origin) : NULL;
    if (receipt != NULL)
        receipt->in_use = true;
    fetch->earlier = receipt != NULL  ? receipt->secret_hash
                     : budget != NULL ? budget->secret_hash
                                      : HASH_ZERO;
    return receipt != NULL || budget != NULL;
}

/* Whatever came of it: whoever waited asks again, with what was bought or without. */
static void earlier_ended(struct rill_fetcher *fetcher, const struct rill_payment *payment)
{
    struct hash id;
    memcpy(id.bytes, payment->secret_hash, 32);
    struct kept_receipt *receipt = fetch_receipt_of(fetcher->books, &id);
    struct kept_budget *budget = fetch_budget_find(fetcher->books, &id);
    if (is_undecided(payment) ||
        ((receipt == NULL || !receipt->under_way) && (budget == NULL || !budget->under_way)))
        return;
    if (receipt != NULL && receipt->under_way)
        receipt->in_use = false;
    (void)visit_payment(fetcher, payment);
    struct fetch *fetch, *next;
    DL_FOREACH_SAFE(fetcher->all, fetch, next)
    {
        if (!hash_equal(&fetch->earlier, &id))
            continue;
        fetch->earlier = HASH_ZERO;
        fetch->no_budget = false;
        ask(fetch);
    }
}

/* ---- the end ---- */

static void leave_budget(struct fetch *fetch)
{
    struct kept_budget *budget = fetch_budget_find(fetch->fetcher->books, &fetch->budget);
    if (budget != NULL)
        fetch_budget_used(fetch->fetcher->books, budget, fetch->left_said);
    fetch->budget = HASH_ZERO;
}

static void free_fetch(struct fetch *fetch)
{
    struct rill_fetcher *fetcher = fetch->fetcher;
    fetch_call_cancel(fetch->call);
    leave_budget(fetch);
    if (fetch->refused != NULL)
        event_free(fetch->refused);
    if (fetch->receipt != NULL)
        fetch->receipt->in_use = false;
    if (fetch->has_payment)
        HASH_DEL(fetcher->paying, fetch);
    DL_DELETE(fetcher->all, fetch);
    buffer_free(&fetch->answer);
    json_decref(fetch->said);
    free(fetch->method);
    free(fetch->text_url);
    free(fetch->headers);
    free(fetch->body);
    free(fetch);
}

static void finish(struct fetch *fetch, enum rill_fetch_outcome outcome, const char *format, ...)
    PRINTF_LIKE(3, 4);
static void finish(struct fetch *fetch, enum rill_fetch_outcome outcome, const char *format, ...)
{
    struct rill_fetch_result result = fetch->result;
    char message[sizeof(fetch->message)];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    result.outcome = outcome;
    result.status = fetch->status;
    result.message = text_make_utf8(message); /* servers' words are in it, and were cut to size */
    void (*done)(void *, const struct rill_fetch_result *) = fetch->request.done;
    void *context = fetch->request.context;
    free_fetch(fetch);
    if (done != NULL)
        done(context, &result);
}

/* ---- paying ---- */

static void drop_receipt(struct fetch *fetch)
{
    if (fetch->receipt != NULL)
        fetch_receipt_drop(fetch->fetcher->books, fetch->receipt);
    fetch->receipt = NULL;
}

static struct kept_budget *budget_offered(const struct fetch *fetch)
{
    struct hash id;
    memcpy(id.bytes, fetch->offer.secret_hash, 32);
    return fetch_budget_find(fetch->fetcher->books, &id);
}

/* A server may give one offer to several, or another's: it is paid once, for one request. */
static bool is_used(const struct fetch *fetch)
{
    struct hash id;
    memcpy(id.bytes, fetch->offer.secret_hash, 32);
    return fetch_books_know(fetch->fetcher->books, &id);
}

static void drop_unpaid(struct fetch *fetch)
{
    if (fetch->offer.budget) {
        struct kept_budget *budget = budget_offered(fetch);
        if (budget != NULL && !budget->paid)
            fetch_budget_drop(fetch->fetcher->books, budget);
    }
    drop_receipt(fetch);
}

static void unpaid(struct fetch *fetch, const char *why)
{
    fetch_books_unspend(fetch->fetcher->books, fetch->day, fetch->url.authority, fetch->reserved, true);
    drop_unpaid(fetch);
    finish(fetch, RILL_FETCH_UNPAID, "not paid: %s", why);
}

/* The money is gone and no secret came for it: the limits go on counting it. */
static void lost(struct fetch *fetch, const struct rill_payment *payment)
{
    fetch->result.paid += payment->amount;
    fetch->result.fee = payment->fee;
    drop_unpaid(fetch);
    finish(fetch, RILL_FETCH_UNPAID, "the payment is lost: nobody ever answered it; it counts as spent");
}

/* Whoever asks for the same waits for what becomes of the payment. */
static void outcome_comes_later(struct fetch *fetch)
{
    struct kept_budget *budget = fetch->offer.budget ? budget_offered(fetch) : NULL;
    if (budget != NULL)
        budget->under_way = true;
    if (fetch->receipt != NULL)
        fetch->receipt->under_way = true;
}

/* The payee has the money, by a secret that the hub has yet to show: that is the receipt. */
static void await_secret(struct fetch *fetch, const struct rill_payment *payment)
{
    fetch->result.paid += payment->amount;
    fetch->result.fee = payment->fee;
    outcome_comes_later(fetch);
    finish(fetch, RILL_FETCH_UNDER_WAY,
           "paid, and the hub has not shown the receipt yet: it is kept when it comes; try again later");
}

static void hold(struct fetch *fetch, const struct rill_payment *payment)
{
    struct rill_fetcher *fetcher = fetch->fetcher;
    struct held_payment *held = xcalloc(1, sizeof(*held));
    memcpy(held->payment, payment->id, sizeof(held->payment));
    memcpy(held->secret_hash.bytes, payment->secret_hash, sizeof(held->secret_hash.bytes));
    held->day = fetch->day;
    held->reserved = fetch->reserved;
    snprintf(held->host, sizeof(held->host), "%.*s", FETCH_HOST_MAX - 1, fetch->url.authority);
    HASH_ADD(hh, fetcher->held, payment, sizeof(held->payment), held);
    outcome_comes_later(fetch);
    finish(fetch, RILL_FETCH_UNPAID,
           "not paid: %s; it counts as spent until the hub has given the money back",
           rill_code_text(payment->code));
}

/* It has come back, and the limits are free of it. */
static void give_back(struct rill_fetcher *fetcher, const struct held_payment *held)
{
    struct fetch_books *books = fetcher->books;
    struct kept_receipt *receipt = fetch_receipt_of(books, &held->secret_hash);
    struct kept_budget *budget = fetch_budget_find(books, &held->secret_hash);
    fetch_books_unspend(books, held->day, held->host, held->reserved, true);
    if (receipt != NULL && receipt->state == KEPT_PAYING)
        fetch_receipt_drop(books, receipt);
    if (budget != NULL && !budget->paid)
        fetch_budget_drop(books, budget);
}

/* It is known at last what became of one that was held. */
static void settle_held(struct rill_fetcher *fetcher, const struct rill_payment *payment)
{
    struct held_payment *held;
    HASH_FIND(hh, fetcher->held, payment->id, sizeof(payment->id), held);
    if (held == NULL)
        return;
    if (!payment->has_secret && strcmp(payment->state, "failed") == 0)
        give_back(fetcher, held);
    HASH_DEL(fetcher->held, held);
    free(held);
}

static void on_refused(evutil_socket_t socket, short what, void *context)
{
    (void)socket;
    (void)what;
    struct fetch *fetch = context;
    char why[sizeof(fetch->message)];
    snprintf(why, sizeof(why), "%s", fetch->message);
    unpaid(fetch, why);
}

static void refuse_soon(struct fetch *fetch, const char *why)
{
    snprintf(fetch->message, sizeof(fetch->message), "%s", why);
    fetch->refused = evtimer_new(fetch->fetcher->options.base, on_refused, fetch);
    ensure(fetch->refused != NULL);
    event_active(fetch->refused, EV_TIMEOUT, 0);
}

static void pay_reserved(struct fetch *fetch, const struct fetch_note *note)
{
    struct rill_fetcher *fetcher = fetch->fetcher;
    struct rill_wallet *wallet = fetcher->options.wallet;
    const uint8_t *owner = fetch_books_owner(fetcher->books);
    /* The hub carries the payment; what it is for is between the two ends. */
    struct rill_request request = {.amount = fetch->offer.units,
                                   .expiry = fetch->offer.expires,
                                   .fee_max = fetch->result.fee,
                                   .memo = ""};
    memcpy(request.payee, fetch->offer.payee, sizeof(request.payee));
    memcpy(request.asset, fetch->offer.asset, sizeof(request.asset));
    memcpy(request.secret_hash, fetch->offer.secret_hash, sizeof(request.secret_hash));
    rill_notes_forget(wallet, owner, fetch_books_settled(fetcher->books));
    if (note->bytes != NULL && !rill_note_keep(wallet, owner, note->number, note->bytes, note->length))
        fetch_books_sync(fetcher->books);
    if (rill_pay(wallet, &request, fetch->payment) != 0) {
        refuse_soon(fetch, rill_refusal(wallet));
        return;
    }
    fetch->has_payment = true;
    HASH_ADD(hh, fetcher->paying, payment, sizeof(fetch->payment), fetch);
}

static bool fee_of(const struct rill_fetcher *fetcher, uint64_t units, uint64_t *fee)
{
    struct rill_terms terms;
    struct amount amount;
    if (!rill_terms_of(fetcher->options.wallet, fetcher->options.asset, &terms) ||
        !amount_fee(amount_of(units), amount_of(terms.base_fee), (uint32_t)terms.fee_ppm, &amount))
        return false;
    *fee = amount.units;
    return true;
}

/* False: a limit forbids it; the fetch's message and figures say which. */
static bool within_limits(struct fetch *fetch, uint64_t total)
{
    const struct rill_fetcher *fetcher = fetch->fetcher;
    const struct {
        const char *what;
        uint64_t spent, limit;
    } limits[] = {
        {"this request may cost", 0, fetch->request.max_price},
        {"may be spent on this host today",
         fetch_books_host_units(fetcher->books, fetch->day, fetch->url.authority),
         fetcher->options.host_day_limit},
        {"may be spent today", fetch_books_day_units(fetcher->books, fetch->day), fetcher->options.day_limit},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(limits); i++) {
        uint64_t sum;
        if (!__builtin_add_overflow(limits[i].spent, total, &sum) && sum <= limits[i].limit)
            continue;
        fetch->result.price = total;
        fetch->result.limit = limits[i].limit;
        snprintf(fetch->message, sizeof(fetch->message),
                 "%.150s costs %llu units with the hub's fee; %llu %s, and %llu are spent already",
                 fetch->text_url, (unsigned long long)total, (unsigned long long)limits[i].limit,
                 limits[i].what, (unsigned long long)limits[i].spent);
        return false;
    }
    return true;
}

/* The offer's price with the hub's fee. */
static bool total_of(const struct fetch *fetch, uint64_t *fee, uint64_t *total)
{
    return fee_of(fetch->fetcher, fetch->offer.units, fee) &&
           !__builtin_add_overflow(fetch->offer.units, *fee, total);
}

static void reserve(struct fetch *fetch, uint64_t fee, uint64_t total)
{
    struct rill_fetcher *fetcher = fetch->fetcher;
    fetch->step = STEP_PAYING;
    fetch->reserved = total;
    fetch->result.fee = fee;
    fetch_note_begin(fetcher->books);
    fetch_books_spend(fetcher->books, fetch->day, fetch->url.authority, total);
    if (fetch->offer.budget)
        (void)fetch_budget_add(fetcher->books, fetch->origin, &fetch->offer);
    else
        fetch->receipt = fetch_receipt_add(fetcher->books, &fetch->place, &fetch->offer);
    struct fetch_note note = fetch_note_end(fetcher->books);
    pay_reserved(fetch, &note);
}

static void pay(struct fetch *fetch)
{
    struct rill_fetcher *fetcher = fetch->fetcher;
    uint64_t fee, total;
    if (memcmp(fetch->offer.asset, fetcher->options.asset, 20) != 0)
        finish(fetch, RILL_FETCH_NO_OFFER, "the offer is in another asset than the one that may be paid");
    else if (!total_of(fetch, &fee, &total))
        finish(fetch, RILL_FETCH_UNPAID,
               "the hub does not say its fee: it is not connected, or serves another asset");
    else if (!within_limits(fetch, total))
        finish(fetch, RILL_FETCH_TOO_DEAR, "%s", fetch->message);
    else
        reserve(fetch, fee, total);
}

static void paid(struct fetch *fetch, const struct rill_payment *payment)
{
    struct rill_fetcher *fetcher = fetch->fetcher;
    fetch->result.paid += payment->amount;
    fetch->result.fee = payment->fee;
    uint64_t cost = payment->amount + payment->fee;
    if (cost < fetch->reserved)
        fetch_books_unspend(fetcher->books, fetch->day, fetch->url.authority, fetch->reserved - cost, false);
    if (fetch->offer.budget) {
        struct kept_budget *budget = budget_offered(fetch);
        if (budget != NULL)
            fetch_budget_paid(fetcher->books, budget, payment->secret);
    } else {
        fetch_receipt_paid(fetcher->books, fetch->receipt, payment->secret);
    }
    fetch->buying = false;
    fetch->step = STEP_SENDING;
    ask(fetch);
}

void rill_fetcher_payment(struct rill_fetcher *fetcher, const struct rill_payment *payment)
{
    struct fetch *fetch;
    HASH_FIND(hh, fetcher->paying, payment->id, sizeof(payment->id), fetch);
    if (fetch == NULL) {
        if (!payment->has_secret && !payment->is_final)
            return;
        earlier_ended(fetcher, payment);
        settle_held(fetcher, payment);
        return;
    }
    HASH_DEL(fetcher->paying, fetch);
    fetch->has_payment = false;
    if (payment->has_secret)
        paid(fetch, payment);
    else if (!payment->is_final)
        hold(fetch, payment);
    else if (is_undecided(payment))
        await_secret(fetch, payment);
    else if (strcmp(payment->state, "failed") == 0)
        unpaid(fetch, rill_code_text(payment->code));
    else
        lost(fetch, payment);
}

/* ---- offers ---- */

/* The first good one; false: none is, and message says why of the last. */
static bool choose_offer(struct fetch *fetch)
{
    const json_t *accepts = json_object_get(fetch->said, "accepts");
    const char *method = fetch->buying ? "POST" : fetch->method;
    uint64_t budget_units = fetch->fetcher->options.budget_units;
    char url[sizeof(fetch->url.target) + HOST_BYTES_MAX + 32];
    if (fetch->buying)
        snprintf(url, sizeof(url), "%s" BUDGET_PATH "%llu", fetch->origin, (unsigned long long)budget_units);
    else
        snprintf(url, sizeof(url), "%s", fetch->text_url);
    snprintf(fetch->message, sizeof(fetch->message), "it answers 402 without an offer");
    for (size_t i = 0; i < json_array_size(accepts); i++) {
        if (!fetch_offer_read(json_array_get(accepts, i), fetch->fetcher->options.wallet,
                              rill_ledger_chain_id(fetch->fetcher->options.ledger), method, url,
                              &fetch->offer, fetch->message, sizeof(fetch->message)))
            continue;
        if (fetch->buying && (!fetch->offer.budget || fetch->offer.units != budget_units))
            snprintf(fetch->message, sizeof(fetch->message),
                     "the offer is not of the budget of %llu units that was asked for",
                     (unsigned long long)budget_units);
        else if (is_used(fetch))
            snprintf(fetch->message, sizeof(fetch->message), "the offer was used before");
        else
            return true;
    }
    return false;
}

static void take_offer(struct fetch *fetch)
{
    if (choose_offer(fetch))
        pay(fetch);
    else
        finish(fetch, RILL_FETCH_NO_OFFER, "%s", fetch->message);
}

/* ---- offers that came with an answer ---- */

static void keep_next(struct fetch *fetch, const struct http_head *head)
{
    struct rill_fetcher *fetcher = fetch->fetcher;
    const struct http_text *value = http_find(head, "rill-next-offer", NULL);
    uint8_t text[HTTP_HEAD_BYTES_MAX];
    struct fetch_offer offer;
    size_t length;
    if (!fetcher->options.next_offers || value == NULL ||
        !next_offers_have_room(fetcher->next_offers, rill_ledger_time(fetcher->options.ledger)) ||
        !http_base64_read(*value, text, sizeof(text), &length))
        return;
    json_t *entry = json_loadb((const char *)text, length, JSON_REJECT_DUPLICATES, NULL);
    if (fetch_offer_read(entry, fetcher->options.wallet, rill_ledger_chain_id(fetcher->options.ledger),
                         fetch->method, fetch->text_url, &offer, fetch->message, sizeof(fetch->message)) &&
        !offer.budget)
        next_offers_keep(fetcher->next_offers, &fetch->place, &offer);
    json_decref(entry);
}

/* Takes one that can still be paid. */
static bool take_next(struct fetch *fetch)
{
    struct rill_fetcher *fetcher = fetch->fetcher;
    uint64_t now_s = rill_ledger_time(fetcher->options.ledger);
    while (next_offers_take(fetcher->next_offers, &fetch->place, now_s, &fetch->offer))
        if (!is_used(fetch))
            return true;
    return false;
}

/* ---- refusals ---- */

static void read_refusal(struct fetch *fetch)
{
    json_decref(fetch->said);
    fetch->said =
        json_loadb((const char *)fetch->answer.data, fetch->answer.length, JSON_REJECT_DUPLICATES, NULL);
    const char *why = json_string_value(json_object_get(fetch->said, "error"));
    const char *code = json_string_value(json_object_get(fetch->said, "code"));
    snprintf(fetch->code, sizeof(fetch->code), "%s", code != NULL ? code : "402");
    snprintf(fetch->message, sizeof(fetch->message), "%s: %.200s", fetch->code,
             why != NULL ? why : "the answer does not say why");
}

/* As a refusal says it; UINT64_MAX: it does not. */
static uint64_t units_left(const struct fetch *fetch)
{
    const json_t *left = json_object_get(fetch->said, "leftUnits");
    return json_is_integer(left) && json_integer_value(left) >= 0 ? (uint64_t)json_integer_value(left)
                                                                  : UINT64_MAX;
}

/* The receipt that was sent will never be served. Whatever else is answered may come from a server in front of the
 * proxy, or pass: the receipt is kept until it has expired. */
static bool receipt_is_dead(const struct fetch *fetch)
{
    static const char *const codes[] = {"receipt_spent", "receipt_expired", "receipt_unknown",
                                        "receipt_in_doubt", "receipt_returned_often"};
    for (size_t i = 0; i < ARRAY_LENGTH(codes); i++)
        if (strcmp(fetch->code, codes[i]) == 0)
            return true;
    return false;
}

static void refused(struct fetch *fetch)
{
    bool dead = receipt_is_dead(fetch), kept = fetch->receipt != NULL && !dead;
    if (dead)
        drop_receipt(fetch);
    finish(fetch, RILL_FETCH_REFUSED, "paid, and refused all the same%s: %s",
           kept ? " (the receipt is kept)" : "", fetch->message);
}

/* One budget of a host is bought at a time: what comes meanwhile pays for itself. */
static bool is_bought(const struct fetch *fetch)
{
    const struct fetch *other;
    DL_FOREACH(fetch->fetcher->all, other)
    {
        if (other->buying && strcmp(other->origin, fetch->origin) == 0)
            return true;
    }
    return false;
}

/* Answered 402, and nothing to pay with: a budget is bought, or this request is paid. */
static void obtain(struct fetch *fetch)
{
    if (!fetch->buying && await_earlier(fetch))
        return;
    /* A new one of which as much is left as of one that was too small would be bought in vain. */
    if (fetch->fetcher->options.budget_units > fetch->short_of && !fetch->buying && !is_bought(fetch)) {
        fetch->buying = true;
        ask(fetch);
    } else {
        take_offer(fetch);
    }
}

/* A budget that was sent along is not taken. One that has expired, or that the host does not know any more, would be sent in
 * vain with every request. */
static void pass_budget(struct fetch *fetch)
{
    struct kept_budget *budget = fetch_budget_find(fetch->fetcher->books, &fetch->budget);
    if (budget != NULL && fetch->left_said && budget->left > fetch->short_of)
        fetch->short_of = budget->left;
    /* One more is tried: of a host's budgets the one that was last used may be all but used up. */
    fetch->no_budget = !hash_is_zero(&fetch->too_small);
    fetch->too_small = fetch->budget;
    if (budget != NULL && receipt_is_dead(fetch))
        fetch_budget_drop(fetch->fetcher->books, budget);
    leave_budget(fetch);
}

/* What is there to pay with already; NULL: nothing. */
static struct kept_budget *budget_at_hand(const struct fetch *fetch)
{
    return fetch->no_budget ? NULL
                            : fetch_budget_best(fetch->fetcher->books, fetch->origin, &fetch->too_small);
}

/* A budget or a receipt of earlier was sent along, and is not taken: the next one, or it is paid anew, once. */
static void try_without(struct fetch *fetch)
{
    bool dead = fetch->receipt != NULL && receipt_is_dead(fetch), was_budget = !hash_is_zero(&fetch->budget);
    if (was_budget)
        pass_budget(fetch);
    else if (dead)
        drop_receipt(fetch);
    fetch->result.kept_receipt = fetch->result.from_budget = false;
    if (fetch->receipt != NULL)
        fetch->receipt->in_use = false;
    fetch->receipt = NULL;
    if ((dead && fetch_receipt_find(fetch->fetcher->books, &fetch->place) != NULL) ||
        (was_budget && budget_at_hand(fetch) != NULL))
        ask(fetch);
    else
        obtain(fetch);
}

/* ---- the answer ---- */

static uint64_t header_number(const struct http_head *head, const char *name, uint64_t otherwise)
{
    const struct http_text *value = http_find(head, name, NULL);
    uint64_t number = 0;
    if (value == NULL || value->length == 0 || value->length > 19)
        return otherwise;
    for (size_t i = 0; i < value->length; i++) {
        if (value->data[i] < '0' || value->data[i] > '9')
            return otherwise;
        number = number * 10 + (uint64_t)(value->data[i] - '0');
    }
    return number;
}

/* Of the budget that was sent along. UINT64_MAX: the answer does not say it. */
static void hear_left(struct fetch *fetch, uint64_t left)
{
    struct kept_budget *budget = fetch_budget_find(fetch->fetcher->books, &fetch->budget);
    fetch->left_said = budget != NULL && left != UINT64_MAX;
    if (fetch->left_said)
        fetch_budget_left(fetch->fetcher->books, budget, left);
}

/* The service's answer is the user's; a refusal, what a host says to the wish for a budget, and what is asked once more are
 * not. */
static bool is_shown(const struct fetch *fetch)
{
    bool again = fetch->returned && fetch->step == STEP_SENDING && !fetch->resent;
    return fetch->status != 402 && !fetch->buying && !again;
}

static void on_head(void *context, const struct http_head *head)
{
    struct fetch *fetch = context;
    fetch->status = head->status;
    const struct http_text *returned = http_find(head, "rill-receipt", NULL);
    fetch->returned = returned != NULL && http_text_is(*returned, "returned");
    fetch->served =
        head->status != 402 && !fetch->returned && http_find(head, "x-payment-response", NULL) != NULL;
    fetch->result.charged = header_number(head, "rill-charged-units", 0);
    if (head->status != 402)
        hear_left(fetch, header_number(head, "rill-budget-left-units", UINT64_MAX));
    if (!is_shown(fetch))
        return;
    keep_next(fetch, head);
    const struct http_text *type = http_find(head, "content-type", NULL);
    char text[128] = "";
    if (type != NULL)
        snprintf(text, sizeof(text), "%.*s", (int)(type->length < 120 ? type->length : 120), type->data);
    for (char *at = text; *at != '\0'; at++) /* what else the field may hold is no media type */
        *at = (char)(*at >= ' ' && *at <= '~' ? *at : '?');
    if (fetch->request.head != NULL)
        fetch->request.head(fetch->request.context, head->status, text);
}

static void answered(struct fetch *fetch)
{
    struct kept_budget *budget = fetch_budget_find(fetch->fetcher->books, &fetch->budget);
    fetch->result.from_budget = !hash_is_zero(&fetch->budget);
    if (budget != NULL)
        fetch->result.budget_left = budget->left;
    fetch->result.budget_left_known = fetch->left_said;
    bool kept = fetch->receipt != NULL && !fetch->served;
    if (fetch->served)
        drop_receipt(fetch);
    finish(
        fetch, RILL_FETCH_ANSWERED, "%s",
        kept ? "the answer does not say that the receipt was taken: it is kept, and the same request uses it"
             : "");
}

static void on_done(void *context, bool whole, const char *why)
{
    struct fetch *fetch = context;
    fetch->call = NULL;
    bool paying_now = fetch->step == STEP_SENDING;
    if (whole && fetch->status == 402)
        read_refusal(fetch);
    if (whole && fetch->status == 402 && strcmp(fetch->code, "budget_too_small") == 0)
        hear_left(fetch, units_left(fetch));
    /* Given back: the service failed. Once more with the same receipt. */
    bool lost = !whole && fetch->status == 0 && fetch->receipt != NULL;
    if (paying_now && !fetch->resent && (lost || (whole && fetch->returned && fetch->status != 402))) {
        fetch->resent = true;
        ask(fetch);
        return;
    }
    bool metered = fetch->status != 0 && !hash_is_zero(&fetch->budget) && !fetch->left_said;
    if (!whole)
        finish(fetch, RILL_FETCH_FAILED, "%s: %s%s", fetch->url.authority, why,
               metered ? " (it was paid from a budget, which may be used up)" : "");
    else if (fetch->status != 402 && fetch->buying)
        finish(fetch, RILL_FETCH_NO_OFFER, "%s sells no budget of %llu units (status %u)",
               fetch->url.authority, (unsigned long long)fetch->fetcher->options.budget_units, fetch->status);
    else if (fetch->status != 402)
        answered(fetch);
    else if (fetch->receipt != NULL && strcmp(fetch->code, "receipt_under_way") == 0)
        finish(fetch, RILL_FETCH_UNDER_WAY,
               "the service is still at work on the request that was paid for: nothing more is paid, the "
               "receipt is kept; try again later");
    else if (paying_now)
        refused(fetch);
    else if (!hash_is_zero(&fetch->budget) || fetch->receipt != NULL)
        try_without(fetch);
    else
        obtain(fetch);
}

static void on_data(void *context, const void *bytes, size_t length)
{
    struct fetch *fetch = context;
    if (is_shown(fetch)) {
        if (fetch->request.data != NULL)
            fetch->request.data(fetch->request.context, bytes, length);
    } else if (fetch->answer.length + length <= OFFER_BYTES_MAX) {
        buffer_append(&fetch->answer, bytes, length);
    } else {
        /* No refusal is so long: it is taken for one that says nothing, however much were to come. */
        fetch_call_cancel(fetch->call);
        on_done(fetch, true, "");
    }
}

/* ---- asking ---- */

/* What is there to pay with already, or was paid just now: X-PAYMENT's value, or NULL. */
static char *payment_text(struct fetch *fetch)
{
    struct rill_fetcher *fetcher = fetch->fetcher;
    struct fetch_offer offer = {.budget = false};
    const uint8_t *secret = NULL;
    if (fetch->buying)
        return NULL;
    if (fetch->receipt == NULL && fetch->step == STEP_ASKING) {
        fetch->receipt = fetch_receipt_find(fetcher->books, &fetch->place);
        fetch->result.kept_receipt = fetch->receipt != NULL;
    }
    if (fetch->receipt != NULL && fetch->receipt->state == KEPT_PAID) {
        fetch->receipt->in_use = true;
        memcpy(offer.network, fetch->receipt->network, sizeof(offer.network));
        memcpy(offer.ticket, fetch->receipt->ticket, sizeof(offer.ticket));
        secret = fetch->receipt->secret;
    } else {
        struct kept_budget *budget =
            fetch->step == STEP_SENDING ? budget_offered(fetch) : budget_at_hand(fetch);
        if (budget == NULL || !budget->paid)
            return NULL;
        /* Sent once more, it is in use already. */
        if (!hash_equal(&fetch->budget, &budget->secret_hash))
            fetch_budget_use(budget);
        fetch->budget = budget->secret_hash;
        memcpy(offer.network, budget->network, sizeof(offer.network));
        memcpy(offer.ticket, budget->ticket, sizeof(offer.ticket));
        secret = budget->secret;
    }
    return fetch_offer_payment(&offer, secret);
}

static void ask(struct fetch *fetch)
{
    static const struct fetch_callbacks callbacks = {.head = on_head, .data = on_data, .done = on_done};
    struct buffer out = {0};
    const char *method = fetch->buying ? "POST" : fetch->method;
    char *payment = payment_text(fetch);
    if (fetch->buying)
        buffer_printf(&out, "POST " BUDGET_PATH "%llu HTTP/1.1\r\n",
                      (unsigned long long)fetch->fetcher->options.budget_units);
    else
        buffer_printf(&out, "%s %s HTTP/1.1\r\n", method, fetch->url.target);
    buffer_printf(&out, "Host: %s\r\nUser-Agent: rill-fetch\r\nAccept: */*\r\n", fetch->url.authority);
    if (payment != NULL)
        buffer_printf(&out, "X-PAYMENT: %s\r\n", payment);
    if (payment != NULL && fetch->receipt != NULL && fetch->fetcher->options.next_offers)
        buffer_printf(&out, "Rill-Next-Offer: 1\r\n");
    if (fetch->headers != NULL && !fetch->buying)
        buffer_printf(&out, "%s", fetch->headers);
    if (fetch->buying || (fetch->body == NULL && strcmp(method, "POST") == 0))
        buffer_printf(&out, "Content-Length: 0\r\n");
    else if (fetch->body != NULL)
        buffer_printf(&out, "Content-Length: %zu\r\n", fetch->request.body_length);
    buffer_append(&out, "\r\n", 2);
    if (fetch->body != NULL && !fetch->buying)
        buffer_append(&out, fetch->body, fetch->request.body_length);
    bool is_head = strcmp(method, "HEAD") == 0;
    /* What changes something is done once: to ask for a budget's price changes nothing, and a proxy takes a receipt once. A
     * budget would be charged again. */
    bool repeatable =
        is_head || fetch->buying || strcmp(method, "GET") == 0 || (payment != NULL && fetch->receipt != NULL);
    struct fetch_ask what = {.url = &fetch->url,
                             .request = &out,
                             .is_head = is_head,
                             .repeatable = repeatable,
                             .timeout_ms = fetch->request.timeout_ms};
    free(payment);
    buffer_clear(&fetch->answer);
    fetch->status = 0;
    fetch->served = fetch->returned = fetch->left_said = false;
    fetch->call = fetch_call_begin(fetch->fetcher->pool, &what, &callbacks, fetch);
    buffer_free(&out);
}

/* Nothing in it may end a line or begin a second request. */
static bool headers_are_good(const char *headers)
{
    struct http_head head;
    struct buffer text = {0};
    size_t used;
    if (headers == NULL || headers[0] == '\0')
        return true;
    if (strlen(headers) > HEADER_BYTES_MAX)
        return false;
    buffer_printf(&text, "GET / HTTP/1.1\r\nHost: h\r\n%s\r\n", headers);
    bool good = http_read_request((const char *)text.data, text.length, &head, &used) == HTTP_DONE &&
                used == text.length && head.framing == HTTP_BODY_NONE;
    for (size_t i = 1; good && i < head.header_count; i++)
        good = !http_text_is_caseless(head.headers[i].name, "x-payment");
    buffer_free(&text);
    return good;
}

/* What has been paid for goes first. */
static void begin(struct fetch *fetch)
{
    struct rill_fetcher *fetcher = fetch->fetcher;
    uint64_t fee, total;
    bool bought = fetch_receipt_find(fetcher->books, &fetch->place) != NULL || budget_at_hand(fetch) != NULL;
    if (!bought && await_earlier(fetch))
        return;
    if (!bought && take_next(fetch) && memcmp(fetch->offer.asset, fetcher->options.asset, 20) == 0 &&
        total_of(fetch, &fee, &total) && within_limits(fetch, total))
        reserve(fetch, fee, total);
    else
        ask(fetch);
}

bool rill_fetch(struct rill_fetcher *fetcher, const struct rill_fetch_request *request)
{
    const char *method = request->method != NULL ? request->method : request->body != NULL ? "POST" : "GET";
    struct http_url url;
    size_t length = strlen(method);
    if (!http_url_read(request->url, &url) || strlen(url.authority) >= FETCH_HOST_MAX || length == 0 ||
        length > 24 || strspn(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-_") != length ||
        !headers_are_good(request->headers))
        return false;
    struct fetch *fetch = xcalloc(1, sizeof(*fetch));
    fetch->fetcher = fetcher;
    fetch->request = *request;
    fetch->url = url;
    fetch->method = xstrdup(method);
    fetch->text_url = xstrdup(request->url);
    fetch->headers = request->headers != NULL ? xstrdup(request->headers) : NULL;
    if (request->body != NULL) {
        fetch->body = xmalloc(request->body_length + 1);
        memcpy(fetch->body, request->body, request->body_length);
    }
    fetch->day = (uint32_t)(clock_unix_s() / 86400);
    fetch_origin(&url, fetch->origin);
    fetch->place = fetch_place(fetch->origin, method, url.target);
    DL_APPEND(fetcher->all, fetch);
    begin(fetch);
    return true;
}

/* ---- the fetcher ---- */

struct rill_fetcher *rill_fetcher_new(const struct rill_fetcher_options *options, char *message,
                                      size_t message_size)
{
    struct fetch_pool *pool =
        fetch_pool_new(options->base, options->ca_file, options->connections_max, message, message_size);
    if (pool == NULL)
        return NULL;
    struct fetch_books *books =
        fetch_books_open(options->base, options->folder, options->asset, message, message_size);
    if (books == NULL) {
        fetch_pool_free(pool);
        return NULL;
    }
    struct rill_fetcher *fetcher = xcalloc(1, sizeof(*fetcher));
    fetcher->options = *options;
    fetcher->options.folder = fetcher->options.ca_file = NULL;
    fetcher->pool = pool;
    fetcher->books = books;
    fetcher->next_offers = next_offers_new();
    if (!recall(fetcher)) {
        snprintf(message, message_size,
                 "the wallet's notes of what was spent are damaged: one of them is not understood");
        rill_fetcher_free(fetcher);
        return NULL;
    }
    if (any_in_doubt(fetcher))
        rill_history(options->wallet, visit_payment, fetcher);
    return fetcher;
}

void rill_fetcher_free(struct rill_fetcher *fetcher)
{
    if (fetcher == NULL)
        return;
    while (fetcher->all != NULL)
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): each that is freed has been taken off the list */
        free_fetch(fetcher->all);
    next_offers_free(fetcher->next_offers);
    struct held_payment *held, *next_held;
    HASH_ITER(hh, fetcher->held, held, next_held)
    {
        HASH_DEL(fetcher->held, held);
        free(held);
    }
    fetch_books_close(fetcher->books);
    fetch_pool_free(fetcher->pool);
    free(fetcher);
}

void rill_fetch_spent(const struct rill_fetcher *fetcher,
                      bool (*visit)(void *context, const struct rill_fetch_spent *spent), void *context)
{
    for (const struct spent_day *day = fetch_books_days(fetcher->books); day != NULL; day = day->hh.next) {
        struct rill_fetch_spent spent = {
            .day = day->key.day, .host = day->key.host, .units = day->units, .payments = day->payments};
        if (!visit(context, &spent))
            return;
    }
}

void rill_fetch_budgets(const struct rill_fetcher *fetcher,
                        bool (*visit)(void *context, const struct rill_fetch_budget *budget), void *context)
{
    for (const struct kept_budget *kept = fetch_budgets(fetcher->books); kept != NULL; kept = kept->hh.next) {
        struct rill_fetch_budget budget = {.origin = kept->origin, .left = kept->left, .paid = kept->units};
        if (kept->paid && !visit(context, &budget))
            return;
    }
}
