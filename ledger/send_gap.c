/* A nonce that the chain waits for and that none of our sends has, with ours behind it: a former run of this program, or
 * another one with the same key, sent something that is not mined or that the node has lost. Nobody presses it, and ours
 * are never the first.
 *
 *     seen ──as long as twice what a fee waits for──▶ said ──if the owner wants that──▶ filled ──▶ used: next one, at once
 *
 * It is filled with an empty transaction to ourselves, pressed like any other that is first. A nonce is used once: whichever
 * is mined, the old one or the empty one, nothing of ours is done twice, and ours keep the nonces that they have. Whoever
 * lives and has the nonce raises its fee before that, and if it comes too late nevertheless finds its nonce used by another.
 * What it costs is taken from the budgets of those behind it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <utlist.h>

#include "base/ensure.h"
#include "base/log.h"
#include "ledger/send_parts.h"

#define GAP_PACES 2

/* ---- is there one? ---- */

/* Ours with the lowest nonce above the count; NULL: the count is one of ours, or an old one that a node behind gave. */
static struct send *first_behind(const struct account *account, uint64_t count)
{
    struct send *first = NULL, *send;
    DL_FOREACH(account->sends, send)
    {
        if (!send->has_nonce || send->nonce < count)
            continue;
        if (send->nonce == count || send->state == SEND_MINED)
            return NULL;
        if (send->state == SEND_PENDING && !send->fills && (first == NULL || send->nonce < first->nonce))
            first = send;
    }
    return first;
}

static bool is_being_filled(const struct account *account, uint64_t count)
{
    const struct send *send;
    DL_FOREACH(account->sends, send)
    {
        if (send->fills && send->nonce == count)
            return true;
    }
    return false;
}

static void gap_begin(struct account *account, uint64_t count, const struct block *latest)
{
    account->has_gap = true;
    account->gap_nonce = count;
    account->gap_head = latest->number;
    account->gap_time = latest->time;
}

static void gap_over(struct account *account)
{
    account->has_gap = false;
    if (account->gap_said)
        senders_trouble_set(account->senders, "");
    account->gap_said = false;
}

static bool is_long(const struct account *account, struct send *first, const struct block *latest)
{
    const struct urgency_pace pace = send_press(first, true, latest).pace;
    return latest->number >= account->gap_head + (uint64_t)GAP_PACES * pace.blocks &&
           latest->time >= account->gap_time + (uint64_t)GAP_PACES * pace.seconds;
}

/* ---- what is done ---- */

static void gap_say(struct account *account, const struct send *first, bool fills)
{
    char text[320], address[ADDRESS_TEXT_SIZE];
    snprintf(text, sizeof(text),
             "transaction with nonce %" PRIu64 " of %s waits behind nonce %" PRIu64
             ", which was sent earlier or by another program and is not mined, or lost: %s",
             first->nonce, address_text(&account->address, address), account->gap_nonce,
             fills ? "an empty one is sent in its place"
                   : "wait until fees fall, or send it again with a higher fee where it came from");
    senders_trouble_set(account->senders, text);
    account->gap_said = true;
}

static void on_filler_over(void *context, enum ledger_error error, const struct ledger_receipt *receipt)
{
    (void)context;
    (void)receipt;
    if (error != LEDGER_OK && error != LEDGER_STOPPED)
        log_warn("ledger: no empty transaction could be sent: %s", ledger_error_text(error));
}

static void gap_fill(struct account *account, uint64_t count)
{
    struct send *filler = xcalloc(1, sizeof(*filler));
    filler->account = account;
    filler->fills = true;
    filler->to = account->address;
    filler->terms.budget_wei = 1; /* 0 would be no limit: what it may cost is to come from those behind it */
    filler->data = xmalloc(1);
    filler->has_nonce = true;
    filler->nonce = count;
    filler->sent = on_filler_over;
    DL_PREPEND(account->sends, filler);
    account->count++;
    account_advance(account);
}

/* Ends one whose nonce is used. Returns false if there was none. */
static bool filler_end(struct account *account, uint64_t count)
{
    struct send *send;
    DL_FOREACH(account->sends, send)
    {
        if (!send->fills || send->nonce >= count || send->state != SEND_PENDING || send->is_asking)
            continue;
        account->gap_head = account->gap_time = 0; /* of a row of them only the first is waited for */
        account->gap_nonce = count;
        send_finish(send, LEDGER_OK, NULL);
        return true;
    }
    return false;
}

void account_gap_look(struct account *account, uint64_t count)
{
    struct ledger *ledger = account->senders->ledger;
    const struct block *latest = &ledger->latest;
    bool fills = ledger->options.fills_gaps;
    if (filler_end(account, count))
        return; /* the rest at the next look: the account may be gone */
    if (is_being_filled(account, count))
        return;
    struct send *first = first_behind(account, count);
    if (first == NULL) {
        gap_over(account);
        return;
    }
    if (!account->has_gap || account->gap_nonce != count)
        gap_begin(account, count, latest);
    if (!is_long(account, first, latest))
        return;
    gap_say(account, first, fills);
    if (!fills)
        return;
    gap_begin(account, count, latest); /* if it fails, the next one waits as long */
    gap_fill(account, count);
}
