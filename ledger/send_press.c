/* The chain mines a key's transactions in the order of their nonces, so whoever waits is held up by all before it. The
 * lowest nonce is pressed by the terms of the most pressing one that waits, and that one's budget may pay for it.
 *
 * Budget moves, it is never made: what a send takes over, another has lost, so all of them together never cost more than
 * their owners allowed.
 */
#include <utlist.h>

#include "base/ensure.h"
#include "ledger/send_parts.h"

static bool waits_behind(const struct send *other, const struct send *send)
{
    return other != send && other->state != SEND_MINED && (!other->has_nonce || other->nonce > send->nonce);
}

/* What it would cost at this price beyond its own budget. */
static unsigned_wide beyond_budget(const struct send *send, unsigned_wide price)
{
    unsigned_wide cost = price * send->gas_limit, budget = send->terms.budget_wei;
    return budget == 0 || cost <= budget ? 0 : cost - budget;
}

/* Could the payer keep this price for itself, and what it has offered already, and add what all from `first` up to it
 * lack? */
static bool affords(const struct send *first, const struct send *payer, unsigned_wide price)
{
    if (payer->terms.budget_wei == 0)
        return true;
    unsigned_wide own = price > payer->max_fee ? price : payer->max_fee;
    unsigned_wide needed = own * payer->gas_limit + beyond_budget(first, price);
    const struct send *other;
    DL_FOREACH(payer->account->sends, other)
    {
        if (other->state == SEND_PENDING && waits_behind(other, first) && other->nonce < payer->nonce)
            needed += beyond_budget(other, price);
    }
    return needed <= payer->terms.budget_wei;
}

/* The highest price per gas that all from `first` to the payer can offer with the payer's help; 0: none. */
static unsigned_wide price_with(const struct send *first, const struct send *payer)
{
    unsigned_wide low = 0, high = payer->account->senders->ledger->options.max_fee_per_gas;
    while (low < high) {
        unsigned_wide middle = high - (high - low) / 2;
        if (affords(first, payer, middle))
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

static struct urgency_pace pace_of(const struct ledger_terms *terms, const struct block *latest)
{
    uint64_t left = terms->deadline > latest->time ? terms->deadline - latest->time : 0;
    return urgency_pace(left, terms->deadline == 0 ? 0 : terms->whole_s);
}

/* One whose gas is not known yet presses, but cannot say what it has to spare. */
static struct press press_for(struct send *send, struct send *other, const struct block *latest)
{
    struct press press = {.most = send_fee_most(send), .pace = pace_of(&other->terms, latest)};
    unsigned_wide price = other->state == SEND_PENDING ? price_with(send, other) : 0;
    if (price > press.most) {
        press.most = price;
        press.payer = other;
    }
    press.tip = send_tip_due(send, &other->terms, press.most, latest);
    return press;
}

struct press send_press(struct send *send, bool is_first, const struct block *latest)
{
    unsigned_wide most = send_fee_most(send);
    struct press press = {.most = most,
                          .tip = send_tip_due(send, &send->terms, most, latest),
                          .pace = pace_of(&send->terms, latest)};
    struct send *other;
    DL_FOREACH(send->account->sends, other)
    {
        bool presses = other->terms.deadline != 0 || send->fills;
        if (!is_first || !presses || !waits_behind(other, send))
            continue;
        struct press by = press_for(send, other, latest);
        struct urgency_pace pace = by.pace.blocks < press.pace.blocks ? by.pace : press.pace;
        if (by.tip > press.tip || (by.tip == press.tip && by.most > press.most))
            press = by;
        press.pace = pace;
    }
    return press;
}

void send_cover(struct send *send, struct send *payer)
{
    unsigned_wide lacking = beyond_budget(send, send->max_fee);
    if (lacking == 0)
        return;
    ensure(payer != NULL);
    if (payer->terms.budget_wei != 0) {
        ensure(payer->terms.budget_wei > lacking); /* nothing left would mean: no limit */
        payer->terms.budget_wei -= lacking;
    }
    payer->lent_wei += lacking;
    send->terms.budget_wei += lacking;
    send->taken_wei += lacking;
}
