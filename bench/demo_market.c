/* The market day: who pays whom and how much (drawn from bench/mobile_money.h), and the payments themselves.
 *
 * A payment: PLANNED ─its payer's turn─▶ SENT ─receipt─▶ PAID
 *               ▲                         └─failed──▶ FAILED, where that is part of the story
 *               └─ payee not connected ───┘
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/code.h"
#include "base/ensure.h"
#include "bench/demo.h"
#include "crypto/hash.h"

#define UNITS_PER_CURRENCY 1000 /* a thousand of the service's currency are one coin */
#define CENT               (DEMO_COIN / 100)
#define INVOICE_LIFETIME_S 7200
#define ATTEMPTS_MAX       200
#define PLENTY             (AMOUNT_LIMIT / 1024)

/* ---- planning ---- */

struct plan {
    struct demo *demo;
    uint64_t left[DEMO_CLIENTS]; /* can still pay */
    uint64_t room[DEMO_CLIENTS]; /* can still receive */
    uint64_t spent[DEMO_CLIENTS], earned[DEMO_CLIENTS];
};

static uint64_t fee_of(uint64_t amount)
{
    struct amount fee;
    ensure(amount_fee(amount_of(amount), amount_of(DEMO_BASE_FEE), DEMO_FEE_PPM, &fee));
    return fee.units;
}

size_t demo_add_payment(struct demo *demo, size_t payer, size_t payee, uint64_t amount, enum rill_mode mode)
{
    if (demo->payment_count == demo->payment_capacity) {
        demo->payment_capacity = demo->payment_capacity == 0 ? 256 : 2 * demo->payment_capacity;
        demo->payments = xrealloc(demo->payments, demo->payment_capacity * sizeof(*demo->payments));
    }
    struct demo_client *client = &demo->clients[payer];
    if (client->queue_length == client->queue_capacity) {
        client->queue_capacity = client->queue_capacity == 0 ? 16 : 2 * client->queue_capacity;
        client->queue = xrealloc(client->queue, client->queue_capacity * sizeof(*client->queue));
    }
    size_t index = demo->payment_count++;
    demo->payments[index] =
        (struct demo_payment){.payer = payer, .payee = payee, .amount = amount, .mode = mode};
    client->queue[client->queue_length++] = index;
    return index;
}

static uint64_t draw_units(struct demo *demo, const struct mobile_money_habit *habit)
{
    uint64_t units = (uint64_t)llround(mobile_money_draw_amount(&demo->random, habit) * UNITS_PER_CURRENCY);
    units -= units % CENT;
    return units < CENT ? CENT : units;
}

/* The first merchants are the busier ones. */
static size_t draw_merchant(struct demo *demo)
{
    uint64_t at = mobile_money_below(&demo->random, DEMO_MERCHANTS * (DEMO_MERCHANTS + 1) / 2);
    size_t merchant = 0;
    for (; at >= DEMO_MERCHANTS - merchant; merchant++)
        at -= DEMO_MERCHANTS - merchant;
    return DEMO_WALLETS + merchant;
}

/* Another wallet with room; DEMO_CLIENTS: nobody has any. */
static size_t draw_person(const struct plan *plan, size_t payer, uint64_t amount)
{
    size_t start = (size_t)mobile_money_below(&plan->demo->random, DEMO_WALLETS);
    for (size_t i = 0; i < DEMO_WALLETS; i++) {
        size_t person = (start + i) % DEMO_WALLETS;
        if (person != payer && person != plan->demo->cheater && plan->room[person] >= amount)
            return person;
    }
    return DEMO_CLIENTS;
}

/* What cannot be paid is not planned: people look into their purse first. */
static void plan_one(struct plan *plan, size_t payer, size_t payee, uint64_t amount)
{
    uint64_t all = amount + fee_of(amount);
    if (payee == DEMO_CLIENTS || plan->left[payer] < all || plan->room[payee] < amount)
        return;
    plan->left[payer] -= all;
    plan->room[payee] -= amount;
    plan->spent[payer] += all;
    plan->earned[payee] += amount;
    demo_add_payment(plan->demo, payer, payee, amount, RILL_AUTO);
}

static void plan_wallet(struct plan *plan, size_t payer, uint32_t shopping_max, uint32_t transfers_max)
{
    struct demo *demo = plan->demo;
    struct mobile_money_habit shopping =
        mobile_money_draw_habit(&demo->random, MOBILE_MONEY_PAYMENT, shopping_max);
    struct mobile_money_habit sending =
        mobile_money_draw_habit(&demo->random, MOBILE_MONEY_TRANSFER, transfers_max);
    for (uint32_t i = 0; i < shopping.count || i < sending.count; i++) {
        if (i < sending.count) {
            uint64_t amount = draw_units(demo, &sending);
            plan_one(plan, payer, draw_person(plan, payer, amount), amount);
        }
        if (i < shopping.count) {
            uint64_t amount = draw_units(demo, &shopping);
            plan_one(plan, payer, draw_merchant(demo), amount);
        }
    }
}

/* Before there are channels: only those with money of their own pay, only those with the hub's room receive. */
static void plan_from_nothing(struct plan *plan)
{
    for (size_t i = 0; i < DEMO_CLIENTS; i++) {
        bool deposits = plan->demo->clients[i].deposits;
        plan->left[i] = deposits ? PLENTY : 0;
        plan->room[i] = deposits ? 0 : PLENTY;
    }
}

static bool plan_from_channels(struct plan *plan)
{
    struct demo *demo = plan->demo;
    for (size_t i = 0; i < DEMO_CLIENTS; i++) {
        struct demo_client *client = &demo->clients[i];
        struct rill_balance balance;
        struct demo_shop_balance shop;
        if (i == DEMO_SHOP) {
            if (!demo_shop_balance(demo, &shop))
                return false;
            plan->room[i] = shop.inbound;
        }
        if (client->wallet == NULL)
            continue;
        if (!rill_balance_of(client->wallet, demo->asset.bytes, &balance))
            return demo_fail(demo, "%s has no open channel", client->name);
        plan->left[i] = client->merchant ? 0 : balance.available;
        plan->room[i] = balance.inbound;
    }
    return true;
}

static uint64_t whole_coins(uint64_t units)
{
    return (units + DEMO_COIN - 1) / DEMO_COIN * DEMO_COIN;
}

/* Everybody begins with somewhat more than the morning takes. */
static void size_channels(const struct plan *plan)
{
    struct demo *demo = plan->demo;
    uint64_t room = 0;
    for (size_t i = 0; i < DEMO_CLIENTS; i++) {
        struct demo_client *client = &demo->clients[i];
        if (client->deposits) {
            client->deposit_units = whole_coins(plan->spent[i] + plan->spent[i] / 4 + 60 * DEMO_COIN);
        } else {
            client->room_units = whole_coins(plan->earned[i] + plan->earned[i] / 4 + 50 * DEMO_COIN);
            room += client->room_units;
        }
    }
    /* Little is left in the pool: the day's batch has to move what is idle. */
    demo->pool_units = whole_coins(room + room / 50);
}

bool demo_plan_round(struct demo *demo, enum demo_round round)
{
    static const uint32_t shopping_max[] = {40, 40, 8}, transfers_max[] = {12, 4, 1};
    struct plan plan = {.demo = demo};
    demo->round_first = demo->payment_count;
    if (round == DEMO_MORNING)
        plan_from_nothing(&plan);
    else if (!demo_wait(demo, demo_books_agree, 15000, "wallets and books") || !plan_from_channels(&plan))
        return false;
    for (size_t i = 0; i < DEMO_WALLETS; i++)
        if (plan.left[i] > 0)
            plan_wallet(&plan, i, shopping_max[round], transfers_max[round]);
    if (round == DEMO_MORNING)
        size_channels(&plan);
    return true;
}

/* ---- paying ---- */

static bool make_invoice(struct demo *demo, struct demo_payment *payment)
{
    struct demo_client *payee = &demo->clients[payment->payee];
    char text[RILL_INVOICE_TEXT_MAX], memo[64];
    if (payment->invoice != NULL)
        return true;
    snprintf(memo, sizeof(memo), "%s %zu", payee->merchant ? "basket" : "for you",
             (size_t)(payment - demo->payments));
    if (payee->wallet == NULL)
        return demo_fail(demo, "%s is switched off and cannot make an invoice", payee->name);
    if (rill_invoice_create(payee->wallet, demo->asset.bytes, payment->amount, INVOICE_LIFETIME_S, memo, text,
                            payment->secret_hash) != 0)
        return demo_fail(demo, "%s cannot make an invoice: %s", payee->name, rill_refusal(payee->wallet));
    payment->invoice = xstrdup(text);
    return true;
}

void demo_pay_next(struct demo_client *client)
{
    struct demo *demo = client->demo;
    if (client->wallet == NULL || client->paying || client->queue_next == client->queue_length ||
        demo->why[0] != '\0')
        return;
    struct demo_payment *payment = &demo->payments[client->queue[client->queue_next]];
    if (payment->payee == DEMO_SHOP && payment->invoice == NULL) {
        demo_shop_invoice(client);
        return;
    }
    if (!make_invoice(demo, payment))
        return;
    const struct rill_request request = {.invoice = payment->invoice, .mode = payment->mode};
    int code = rill_pay(client->wallet, &request, NULL);
    client->retrying = code == CODE_DUPLICATE && payment->attempts > 0;
    if (client->retrying)
        return; /* the hub has not revoked the failed try yet: its money is not certainly back */
    if (code != 0) {
        demo_fail(demo, "%s may not pay %s %s: %s", client->name, demo->clients[payment->payee].name,
                  demo_coins(payment->amount), rill_refusal(client->wallet));
        return;
    }
    payment->state = PAYMENT_SENT;
    client->paying = true;
}

void demo_start_round(struct demo *demo)
{
    for (size_t i = 0; i < DEMO_CLIENTS; i++)
        demo_pay_next(&demo->clients[i]);
}

static struct demo_payment *find(struct demo *demo, const struct demo_client *client, bool as_payer,
                                 const uint8_t secret_hash[32])
{
    for (size_t i = demo->payment_count; i-- > 0;) {
        struct demo_payment *payment = &demo->payments[i];
        size_t who = as_payer ? payment->payer : payment->payee;
        if (who == client->index && memcmp(payment->secret_hash, secret_hash, 32) == 0)
            return payment;
    }
    return NULL;
}

static void end_turn(struct demo_client *client)
{
    client->paying = false;
    client->queue_next++;
    demo_pay_next(client);
}

void demo_payment_paid(struct demo_client *client, const struct rill_payment *paid)
{
    struct demo *demo = client->demo;
    struct demo_payment *payment = find(demo, client, true, paid->secret_hash);
    struct hash hash = sha256(paid->secret, sizeof(paid->secret));
    if (payment == NULL || payment->state != PAYMENT_SENT || paid->amount != payment->amount) {
        demo_fail(demo, "%s reports a payment of %s that it did not make", client->name,
                  demo_coins(paid->amount));
        return;
    }
    if (!paid->has_secret || memcmp(hash.bytes, payment->secret_hash, sizeof(hash.bytes)) != 0) {
        demo_fail(demo, "%s has no good receipt from %s", client->name, demo->clients[payment->payee].name);
        return;
    }
    if (paid->fee != fee_of(paid->amount)) {
        demo_fail(demo, "%s paid a fee of %llu units, not %llu", client->name, (unsigned long long)paid->fee,
                  (unsigned long long)fee_of(paid->amount));
        return;
    }
    payment->state = PAYMENT_PAID;
    payment->fee = paid->fee;
    payment->locked = paid->locked;
    client->paid += paid->amount;
    client->fees += paid->fee;
    end_turn(client);
}

void demo_payment_failed(struct demo_client *client, const struct rill_payment *failed)
{
    struct demo *demo = client->demo;
    struct demo_payment *payment = find(demo, client, true, failed->secret_hash);
    if (payment == NULL || payment->state != PAYMENT_SENT) {
        demo_fail(demo, "%s reports the failure of a payment that it did not make", client->name);
        return;
    }
    payment->locked = failed->locked;
    payment->code = failed->code;
    /* After the hub's restart a payer may be back before its payee: the money has come back, the same invoice is tried
     * again by the tick. */
    if (!payment->may_fail && failed->code == CODE_OFFLINE && payment->attempts++ < ATTEMPTS_MAX) {
        payment->state = PAYMENT_PLANNED;
        client->paying = false;
        client->retrying = true;
        return;
    }
    payment->state = PAYMENT_FAILED;
    if (!payment->may_fail)
        demo_fail(demo, "%s could not pay %s %s: %s", client->name, demo->clients[payment->payee].name,
                  demo_coins(payment->amount), rill_code_text(failed->code));
    end_turn(client);
}

void demo_payment_received(struct demo_client *client, const struct rill_payment *received)
{
    struct demo *demo = client->demo;
    struct demo_payment *payment = find(demo, client, false, received->secret_hash);
    if (payment == NULL || payment->received || payment->amount != received->amount) {
        demo_fail(demo, "%s received %s that nobody sent", client->name, demo_coins(received->amount));
        return;
    }
    payment->received = true;
    client->received += received->amount;
}

bool demo_round_done(struct demo *demo, char *progress, size_t size)
{
    size_t done = 0, all = demo->payment_count - demo->round_first;
    for (size_t i = demo->round_first; i < demo->payment_count; i++) {
        const struct demo_payment *payment = &demo->payments[i];
        done += payment->state == PAYMENT_FAILED || (payment->state == PAYMENT_PAID && payment->received);
    }
    snprintf(progress, size, "%zu of %zu payments have their receipt", done, all);
    demo->done = done;
    return done == all;
}

uint64_t demo_round_sum(const struct demo *demo, size_t *locked)
{
    uint64_t sum = 0;
    *locked = 0;
    for (size_t i = demo->round_first; i < demo->payment_count; i++) {
        if (demo->payments[i].state != PAYMENT_PAID)
            continue;
        sum += demo->payments[i].amount;
        *locked += demo->payments[i].locked;
    }
    return sum;
}
