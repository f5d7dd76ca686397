/* What happens on the market day beside paying: a merchant away from its terminal, an invoice paid twice, the batch, the
 * cheat. */
#include <stdlib.h>
#include <string.h>

#include "base/code.h"
#include "base/ensure.h"
#include "bench/demo.h"
#include "crypto/hash.h"

#define AWAY_DIRECT   8 /* payments that wait for the merchant */
#define CLOSE_WAIT_MS 40000
#define WITHDRAW_BPS  9000
#define RESTOCK_UNITS (DEMO_COIN / 10)
#define ASK_AGAIN_S   3

/* ---- an invoice for two ---- */

static void share_invoice(struct demo *demo, size_t from, size_t to)
{
    demo->payments[to].invoice = xstrdup(demo->payments[from].invoice);
    memcpy(demo->payments[to].secret_hash, demo->payments[from].secret_hash, 32);
}

static bool make_invoice(struct demo *demo, size_t index, const char *memo)
{
    struct demo_payment *payment = &demo->payments[index];
    struct demo_client *payee = &demo->clients[payment->payee];
    char text[RILL_INVOICE_TEXT_MAX];
    if (rill_invoice_create(payee->wallet, demo->asset.bytes, payment->amount, 7200, memo, text,
                            payment->secret_hash) != 0)
        return demo_fail(demo, "%s cannot make an invoice: %s", payee->name, rill_refusal(payee->wallet));
    payment->invoice = xstrdup(text);
    return true;
}

bool demo_act_paid_twice(struct demo *demo)
{
    demo->round_first = demo->payment_count;
    size_t first = demo_add_payment(demo, 0, DEMO_WALLETS, 2 * DEMO_COIN, RILL_DIRECT);
    demo_start_round(demo);
    if (!demo_wait(demo, demo_round_done, 20000, "an invoice that two pay"))
        return false;
    size_t second = demo_add_payment(demo, 1, DEMO_WALLETS, 2 * DEMO_COIN, RILL_DIRECT);
    share_invoice(demo, first, second);
    demo->payments[second].may_fail = true;
    demo_start_round(demo);
    if (!demo_wait(demo, demo_round_done, 20000, "an invoice that two pay"))
        return false;
    const struct demo_payment *good = &demo->payments[first], *late = &demo->payments[second];
    if (late->state != PAYMENT_FAILED || late->code != CODE_PAID)
        return demo_fail(demo, "an invoice that was paid already was not sent back with PAID");
    demo_say(demo, "two pay one invoice of the grocer: %s is paid, %s gets its %s back (\"%s\")",
             demo->clients[good->payer].name, demo->clients[late->payer].name, demo_coins(late->amount),
             rill_code_text(late->code));
    return true;
}

/* ---- a merchant that is away ---- */

static bool wait_online(struct demo *demo, long long clients)
{
    static const char *const words[] = {"hub", "status", "--http", NULL, NULL};
    char http[32];
    const char *arguments[ARRAY_LENGTH(words)];
    memcpy(arguments, words, sizeof(words));
    snprintf(http, sizeof(http), "127.0.0.1:%u", demo->hub_http_port);
    arguments[3] = http;
    for (int i = 0; i < 50; i++) {
        json_t *status = demo_command(demo, arguments);
        if (status == NULL)
            return false;
        long long online =
            json_integer_value(json_object_get(json_object_get(status, "metrics"), "clients_online"));
        json_decref(status);
        if (online == clients)
            return true;
        event_base_loop(demo->base, EVLOOP_ONCE);
    }
    return demo_fail(demo, "`rill hub status` never shows %lld clients online", clients);
}

/* Every direct payment is durable at the hub, the locked one has failed. */
static bool all_parked(struct demo *demo, char *progress, size_t size)
{
    size_t parked = 0, all = demo->payment_count - demo->round_first;
    for (size_t i = demo->round_first; i < demo->payment_count; i++) {
        const struct demo_payment *payment = &demo->payments[i];
        const struct rill_wallet *wallet = demo->clients[payment->payer].wallet;
        parked += payment->may_fail ? payment->state != PAYMENT_SENT : rill_is_idle(wallet);
    }
    snprintf(progress, size, "%zu of %zu are with the hub", parked, all);
    return parked == all;
}

bool demo_act_offline_merchant(struct demo *demo)
{
    struct demo_client *kiosk = &demo->clients[DEMO_CLIENTS - 1];
    uint64_t sum = 0;
    demo->round_first = demo->payment_count;
    for (size_t i = 0; i <= AWAY_DIRECT; i++) {
        bool locked = i == AWAY_DIRECT;
        uint64_t cents = locked ? 600 : 20 + mobile_money_below(&demo->random, 180);
        size_t index = demo_add_payment(demo, i + 2, kiosk->index, cents * (DEMO_COIN / 100),
                                        locked ? RILL_LOCKED : RILL_DIRECT);
        demo->payments[index].may_fail = locked;
        sum += locked ? 0 : demo->payments[index].amount;
        if (!make_invoice(demo, index, "left at the counter"))
            return false;
    }
    rill_close_handle(kiosk->wallet);
    kiosk->wallet = NULL;
    kiosk->ready = false;
    if (!wait_online(demo, DEMO_CLIENTS - 1))
        return false;
    demo_start_round(demo);
    if (!demo_wait(demo, all_parked, 20000, "paying a merchant that is away"))
        return false;
    const struct demo_payment *locked = &demo->payments[demo->payment_count - 1];
    if (locked->state != PAYMENT_FAILED || locked->code != CODE_OFFLINE)
        return demo_fail(demo, "a locked payment to a merchant that is away did not fail with OFFLINE");
    demo_say(
        demo,
        "the kiosk's terminal is off; %d small payments (%s %s) wait for it at the hub, a locked one of %s "
        "comes back at once",
        AWAY_DIRECT, demo_coins(sum), DEMO_SYMBOL, demo_coins(locked->amount));
    if (!demo_open_client(demo, kiosk) ||
        !demo_wait(demo, demo_round_done, 20000, "the merchant that is back"))
        return false;
    demo_say(demo, "the kiosk is on again, on its own journal: all %d arrive, each payer has its receipt",
             AWAY_DIRECT);
    return true;
}

/* ---- the batch ---- */

static bool withdrawals_done(struct demo *demo, char *progress, size_t size)
{
    size_t open = 0;
    for (size_t i = 0; i < DEMO_CLIENTS; i++)
        open += demo->clients[i].withdrawing;
    snprintf(progress, size, "%zu merchants are not paid out yet", open);
    return open == 0;
}

static bool merchants_idle(struct demo *demo, char *progress, size_t size)
{
    size_t busy = 0;
    for (size_t i = DEMO_WALLETS; i < DEMO_CLIENTS; i++)
        busy += i != DEMO_SHOP && !rill_is_idle(demo->clients[i].wallet);
    snprintf(progress, size, "%zu merchants are busy", busy);
    return busy == 0;
}

/* Each merchant orders from the next one, the last one from the shop. A hub reads a link in order: once a merchant has its
 * receipt, or has given one as the shop does, the hub has read the wish for a payout that left before. */
static bool restock(struct demo *demo)
{
    demo->round_first = demo->payment_count;
    for (size_t i = 0; i < DEMO_MERCHANTS; i++) {
        size_t merchant = DEMO_WALLETS + i, next = DEMO_WALLETS + (i + 1) % DEMO_MERCHANTS;
        bool asks = demo->clients[merchant].withdrawing ||
                    (next == DEMO_SHOP && demo->clients[DEMO_SHOP].withdrawing);
        if (merchant != DEMO_SHOP && asks)
            demo_add_payment(demo, merchant, next, RESTOCK_UNITS, RILL_DIRECT);
    }
    demo_start_round(demo);
    return demo_wait(demo, demo_round_done, 20000, "merchants restocking");
}

static uint64_t ledger_totals[DEMO_CLIENTS];

/* The API tells no total: what is the shop's and what it can still receive make it. */
static bool shop_sees_it(struct demo *demo, const struct demo_shop_balance *balance)
{
    (void)demo;
    return balance->balance + balance->inbound == ledger_totals[DEMO_SHOP] && balance->settling == 0;
}

static bool all_see_it(struct demo *demo, char *progress, size_t size)
{
    size_t behind = 0;
    for (size_t i = 0; i < DEMO_CLIENTS; i++) {
        struct rill_balance balance = {0};
        if (i == DEMO_SHOP)
            continue;
        bool any = rill_balance_of(demo->clients[i].wallet, demo->asset.bytes, &balance);
        behind += !any || balance.total != ledger_totals[i] || balance.settling != 0;
    }
    snprintf(progress, size, "%zu have not seen the newest block", behind);
    return behind == 0 && demo_shop_is(demo, shop_sees_it, progress, size);
}

static bool read_totals(struct demo *demo)
{
    for (size_t i = 0; i < DEMO_CLIENTS; i++) {
        struct channel_state state;
        if (!demo_read_channel(demo, &(struct channel_key){demo->clients[i].address, demo->asset, 0}, &state))
            return false;
        ledger_totals[i] = state.total.units;
    }
    return true;
}

static bool available_of(struct demo *demo, const struct demo_client *merchant, uint64_t *units)
{
    struct demo_shop_balance shop = {0};
    struct rill_balance balance = {0};
    bool good = merchant->index == DEMO_SHOP ? demo_shop_balance(demo, &shop)
                                             : rill_balance_of(merchant->wallet, demo->asset.bytes, &balance);
    *units = merchant->index == DEMO_SHOP ? shop.available : balance.available;
    return good || demo_fail(demo, "%s has no open channel", merchant->name);
}

static bool ask_withdrawals(struct demo *demo, uint64_t *sum)
{
    for (size_t i = DEMO_WALLETS; i < DEMO_CLIENTS; i++) {
        struct demo_client *merchant = &demo->clients[i];
        uint64_t available;
        if (!available_of(demo, merchant, &available))
            return false;
        uint64_t units = available / 10000 * WITHDRAW_BPS;
        if (available < 20 * RESTOCK_UNITS)
            continue; /* a bad day */
        if (i == DEMO_SHOP) {
            if (!demo_shop_payout(demo, units))
                return false;
        } else if (rill_withdraw(merchant->wallet, demo->asset.bytes, units) != 0)
            return demo_fail(demo, "%s cannot withdraw: %s", merchant->name, rill_refusal(merchant->wallet));
        merchant->withdrawing = true;
        *sum += units;
    }
    return true;
}

static uint64_t patience_until_us;

static uint64_t paid_out_expected;

static bool paid_out_seen(struct demo *demo, char *progress, size_t size)
{
    snprintf(progress, size, "the demo's own view is a block behind");
    return demo->events.paid_out >= paid_out_expected;
}

static bool withdrawn_or_tired(struct demo *demo, char *progress, size_t size)
{
    return withdrawals_done(demo, progress, size) || demo_seconds(demo) * 1e6 > (double)patience_until_us;
}

/* A wish that reaches the hub after its plan was made waits for the next POST /settle. */
static bool settle_until_paid(struct demo *demo)
{
    char progress[128];
    for (int turn = 0; turn < 5; turn++) {
        json_t *answer = demo_ask_hub(demo, "/settle", true);
        if (answer == NULL)
            return false;
        json_decref(answer);
        patience_until_us = (uint64_t)((demo_seconds(demo) + ASK_AGAIN_S) * 1e6);
        if (!demo_wait(demo, withdrawn_or_tired, 20000, "the batch on the ledger"))
            return false;
        if (withdrawals_done(demo, progress, sizeof(progress)))
            return true;
    }
    return demo_fail(demo, "merchants were not paid out: %s", progress);
}

bool demo_act_batch(struct demo *demo)
{
    uint64_t asked = 0;
    struct demo_events before = demo->events;
    if (!demo_wait(demo, demo_books_agree, 15000, "wallets and books") || !ask_withdrawals(demo, &asked) ||
        !demo_wait(demo, merchants_idle, 10000, "merchants asking for their money") || !restock(demo) ||
        !settle_until_paid(demo) || !read_totals(demo) ||
        !demo_wait(demo, all_see_it, 10000, "wallets reading the batch on the ledger"))
        return false;
    paid_out_expected = before.paid_out + asked;
    if (!demo_wait(demo, paid_out_seen, 10000, "the batch's events"))
        return false;
    const struct demo_events *after = &demo->events;
    uint64_t batches = after->batches - before.batches;
    if (after->paid_out - before.paid_out != asked)
        return demo_fail(demo, "merchants asked for %s and the ledger paid %s", demo_coins(asked),
                         demo_coins(after->paid_out - before.paid_out));
    demo_say(
        demo,
        "%llu batch%s on the ledger: the merchants are paid out %s %s; %s idle in %llu channels move to %llu "
        "that run short of room",
        (unsigned long long)batches, batches == 1 ? "" : "es", demo_coins(asked), DEMO_SYMBOL,
        demo_coins(after->hub_returned - before.hub_returned),
        (unsigned long long)(after->returns - before.returns),
        (unsigned long long)(after->funds - before.funds));
    return true;
}

/* ---- the cheat ---- */

/* The hub has sent it something, a payment or a refund: a close that shows none of the hub's proofs gives that up, which
 * would blur the story. */
static bool hub_has_paid(const struct demo *demo, const struct demo_client *client)
{
    for (size_t i = 0; i < demo->payment_count; i++) {
        const struct demo_payment *payment = &demo->payments[i];
        if ((payment->payee == client->index && payment->received) ||
            (payment->payer == client->index && payment->state == PAYMENT_FAILED && !payment->locked))
            return true;
    }
    return false;
}

/* Whoever spent much and still has much to lose. */
static size_t choose_cheater(struct demo *demo, uint64_t *spent)
{
    size_t best = SIZE_MAX;
    uint64_t best_loss = 0;
    for (size_t i = 0; i < DEMO_DEPOSITORS; i++) {
        const struct demo_client *client = &demo->clients[i];
        struct rill_balance balance;
        if (hub_has_paid(demo, client) || !rill_balance_of(client->wallet, demo->asset.bytes, &balance))
            continue;
        uint64_t out = client->paid + client->fees;
        uint64_t loss = out < balance.available ? out : balance.available;
        if (loss > best_loss) {
            best = i;
            best_loss = loss;
            *spent = out;
        }
    }
    return best;
}

/* startClose with the claim of the first minute: "I have sent nothing", and no proof of the hub's. */
static bool submit_old_claim(struct demo *demo, const struct demo_client *cheater)
{
    const struct contract_call call = {.function = CONTRACT_START_CLOSE,
                                       .key = {cheater->address, demo->asset, 0}};
    struct buffer data = {0};
    struct ledger_receipt receipt = {.success = false};
    contract_encode_call(&data, &call);
    enum ledger_error error =
        ledger_send_wait(demo->ledger, &cheater->key, NULL, 0, data.data, data.length, &receipt);
    buffer_free(&data);
    if (error == LEDGER_OK && receipt.success)
        return true;
    return demo_fail(demo, "the cheat's startClose: %s (%s)", ledger_error_text(error),
                     contract_error_name(receipt.reverted));
}

static bool evening_is_busy(struct demo *demo, char *progress, size_t size)
{
    (void)demo_round_done(demo, progress, size);
    return demo->done * 4 >= demo->payment_count - demo->round_first;
}

static bool cheat_challenged(struct demo *demo, char *progress, size_t size)
{
    snprintf(progress, size, "%s",
             demo->events.close_started ? "the close is seen" : "the close is not seen yet");
    return demo->events.cheat_challenged;
}

static bool cheat_finished(struct demo *demo, char *progress, size_t size)
{
    /* After its deadline the close waits three more eighths of the period (section 6 of the protocol). */
    uint64_t end = demo->events.close_deadline + 3 * DEMO_CHALLENGE_S / 8,
             now = ledger_head(demo->ledger).time;
    snprintf(progress, size, "%llu s until it can be finished",
             (unsigned long long)(end > now ? end - now : 0));
    return demo->events.finished;
}

static bool cheater_idle(struct demo *demo, char *progress, size_t size)
{
    snprintf(progress, size, "it is busy");
    return rill_is_idle(demo->clients[demo->cheater].wallet);
}

static bool cheat(struct demo *demo, struct demo_client *cheater, uint64_t spent)
{
    if (!submit_old_claim(demo, cheater))
        return false;
    demo_say(demo, "%s closes its channel on the ledger and claims to have spent nothing (it spent %s)",
             cheater->name, demo_coins(spent));
    if (!demo_wait(demo, cheat_challenged, CLOSE_WAIT_MS, "the tower's challenge"))
        return false;
    if (!demo->events.fraud || !address_equal(&demo->events.challenger, &demo->tower))
        return demo_fail(demo, "the close was challenged, but not as a fraud by the tower");
    demo_say(demo, "the tower shows the contract what %s really signed: fraud", cheater->name);
    if (!demo_wait(demo, cheat_finished, CLOSE_WAIT_MS, "the end of the close"))
        return false;
    if (demo->events.penalty == 0)
        return demo_fail(demo, "the cheat was not penalised");
    demo_say(demo,
             "the close is finished: it pays the %s it hid, a penalty of %s on top (%s to the tower), and "
             "keeps %s",
             demo_coins(spent), demo_coins(demo->events.penalty), demo_coins(demo->events.bounty),
             demo_coins(demo->events.to_client));
    return true;
}

bool demo_act_cheat(struct demo *demo)
{
    uint64_t spent = 0;
    struct rill_balance balance;
    demo->cheater = choose_cheater(demo, &spent);
    if (demo->cheater == SIZE_MAX)
        return demo_fail(demo, "nobody has anything to cheat with");
    struct demo_client *cheater = &demo->clients[demo->cheater];
    if (!demo_wait(demo, cheater_idle, 10000, "the cheat's wallet"))
        return false;
    ensure(rill_balance_of(cheater->wallet, demo->asset.bytes, &balance));
    demo->cheater_units_before = balance.balance;
    demo->events.watched = demo_channel_id(demo, cheater);
    rill_close_handle(cheater->wallet);
    cheater->wallet = NULL;
    if (!demo_plan_round(demo, DEMO_EVENING))
        return false;
    demo_start_round(demo);
    if (!demo_wait(demo, evening_is_busy, 20000, "the evening"))
        return false;
    demo->hub_is_down = demo->offline_expected = true;
    child_kill(&demo->hubd);
    demo_say(demo, "the hub is killed (kill -9) in the middle of the evening, %zu of %zu payments are done",
             demo->done, demo->payment_count - demo->round_first);
    if (!cheat(demo, cheater, spent) || !demo_start_hub(demo))
        return false;
    demo->hub_is_down = false;
    demo_say(demo, "the hub is back on its journal; wallets find it by themselves");
    if (!demo_wait(demo, demo_all_ready, 45000, "wallets coming back"))
        return false;
    demo->offline_expected = false;
    return demo_wait(demo, demo_round_done, 30000, "the rest of the evening");
}
