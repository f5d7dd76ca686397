/* Settlements as the client sees them (protocol.md, section 8): asked for, judged, signed, followed to their
 * end.
 *
 *     wish ─SETTLE_REQUEST─▶ asked ─SETTLE_PROPOSE, good─▶ SIGNED ─own view: settled─▶ told 0, wish ends
 *          ◀─────────── refused for now (ERROR 60) ──┘            ─deadline passed──▶ told 6, wish ends
 *
 * The hub's own proposals (moving what lies idle) are judged alike, with nothing asked for.
 */
#include "wallet/core_state.h"

#include <stdio.h>

#define ASK_AGAIN_MS 1000

/* ---- wishes ---- */

static enum code wish(struct wallet_core *core, const struct hash *id, struct amount amount, bool close)
{
    struct wallet_channel *own = wallet_channel_by_id(core, id);
    if (own == NULL)
        return CODE_CHANNEL;
    if (!wallet_channel_live(own))
        return CODE_STATUS;
    /* What a policy asked for gives way to a close: for the hub the newest counts. */
    bool yields = close && own->wish.by_policy && channel_settlement(own->channel)->phase == SETTLEMENT_NONE;
    if (own->wish.active && !yields)
        return CODE_SETTLE;
    if (!close &&
        (amount_is_zero(amount) || channel_available(own->channel, SIDE_CLIENT) < (wide)amount.units))
        return CODE_AMOUNT;
    own->wish = (struct settlement_wish){.active = true, .close = close, .amount = amount};
    own->book_dirty = true;
    if (close)
        wallet_payments_stop(core, own, CODE_STATUS);
    return CODE_OK;
}

enum code wallet_withdraw(struct wallet_core *core, const struct hash *channel, struct amount amount)
{
    return wish(core, channel, amount, false);
}

enum code wallet_close(struct wallet_core *core, const struct hash *channel)
{
    return wish(core, channel, amount_of(0), true);
}

static void end_wish(struct wallet_channel *own)
{
    own->wish = (struct settlement_wish){.active = false};
    own->book_dirty = true;
}

static void came_to_nothing(struct wallet_core *core, struct wallet_channel *own)
{
    if (own->wish.by_policy)
        wallet_payout_failed(core, own);
    end_wish(own);
}

struct amount wallet_withdrawal(const struct wallet_core *core, const struct hash *channel)
{
    const struct wallet_channel *own = wallet_channel_by_id(core, channel);
    if (own == NULL)
        return amount_of(0);
    if (own->wish.active && !own->wish.close)
        return own->wish.amount;
    const struct settlement *settlement = channel_settlement(own->channel);
    return settlement->phase == SETTLEMENT_SIGNED && !settlement->close ? settlement->client_out
                                                                        : amount_of(0);
}

void wallet_withdraw_cancel(struct wallet_core *core, const struct hash *channel)
{
    struct wallet_channel *own = wallet_channel_by_id(core, channel);
    if (own != NULL && own->wish.active && channel_settlement(own->channel)->phase != SETTLEMENT_SIGNED)
        end_wish(own);
}

static void tell_outcome(struct wallet_core *core, const struct wallet_channel *own, uint8_t outcome,
                         struct amount amount, bool close, uint64_t code, const struct hash *transaction)
{
    struct wallet_news news = {.type = WALLET_NEWS_SETTLEMENT,
                               .channel = own->id,
                               .asset = own->channel->key.asset,
                               .amount = amount,
                               .close = close,
                               .outcome = outcome,
                               .code = code};
    if (transaction != NULL)
        news.transaction = *transaction;
    wallet_tell(core, &news);
}

/* ---- proposals ---- */

static bool same_settlement(const struct settlement *signed_one, const struct settlement *proposal)
{
    return signed_one->seq == proposal->seq && signed_one->close == proposal->close &&
           signed_one->deadline == proposal->deadline &&
           amount_compare(signed_one->client_out, proposal->client_out) == 0 &&
           amount_compare(signed_one->hub_out, proposal->hub_out) == 0;
}

static enum code sign(struct wallet_core *core, struct wallet_channel *own, const struct settlement *proposal)
{
    struct channel_view view = wallet_view(core);
    bool wants_close = own->wish.active && own->wish.close;
    struct amount wanted = own->wish.active && !own->wish.close ? own->wish.amount : amount_of(0);
    struct signature signature;
    if (!wallet_channel_live(own))
        return CODE_STATUS;
    enum code code = channel_settle_sign(own->channel, &view, proposal, wanted, wants_close,
                                         core->terms.settle_window_s, &core->options.key, &signature);
    /* A proposal of the hub's own may be under way while a payout is wished for. */
    if (code != CODE_OK && !amount_is_zero(wanted) && amount_is_zero(proposal->client_out))
        code = channel_settle_sign(own->channel, &view, proposal, amount_of(0), wants_close,
                                   core->terms.settle_window_s, &core->options.key, &signature);
    return code;
}

static void judge_proposal(struct wallet_core *core, struct wallet_channel *own,
                           const struct settlement *proposal)
{
    const struct settlement *current = channel_settlement(own->channel);
    own->answer_send = true;
    own->answer_seq = proposal->seq;
    own->answer_signs = true;
    if (current->phase == SETTLEMENT_SIGNED && same_settlement(current, proposal))
        return;
    /* Another of the same number: to the hub the one that was signed is dead. It is, once the own view agrees. */
    if (current->phase == SETTLEMENT_SIGNED && current->seq == proposal->seq && !current->said_dead) {
        own->channel->settlement->said_dead = true;
        own->channel->dirty = true;
        wallet_settle_head(core, own);
    }
    own->answer_signs = sign(core, own, proposal) == CODE_OK;
    if (!own->answer_signs && own->wish.active) {
        own->wish.asked = false;
        own->wish.ask_at_ms = core->now_ms + ASK_AGAIN_MS;
    }
}

void wallet_settle_proposed(struct wallet_core *core, const struct message *message)
{
    struct wallet_channel *own = wallet_channel_by_id(core, &message->settle_propose.channel);
    if (own == NULL || !own->synced) {
        struct error_reference reference = wallet_reference(
            MESSAGE_SETTLE_PROPOSE, &message->settle_propose.channel, message->settle_propose.seq);
        wallet_error(core, CODE_CHANNEL, &reference);
        return;
    }
    judge_proposal(core, own,
                   &(struct settlement){.phase = SETTLEMENT_PROPOSED,
                                        .close = message->settle_propose.close,
                                        .seq = message->settle_propose.seq,
                                        .client_out = message->settle_propose.client_out,
                                        .hub_out = message->settle_propose.hub_out,
                                        .deadline = message->settle_propose.deadline});
}

/* A signature of ours that only the hub remembers: it binds all the same, until the hub too has seen it settled. */
static void adopt(struct wallet_core *core, struct wallet_channel *own, const struct shown_settlement *shown)
{
    struct hash digest = digest_settlement(&core->options.domain, &own->id, shown->seq, shown->client_out,
                                           shown->hub_out, shown->deadline, shown->close);
    if (own->channel->funds.stage == STAGE_CLOSED || shown->seq != own->channel->told.seq + 1 ||
        !signature_is_by(&shown->signature, &digest, &core->self))
        return;
    channel_settle_adopt(own->channel, &(struct settlement){.phase = SETTLEMENT_SIGNED,
                                                            .close = shown->close,
                                                            .seq = shown->seq,
                                                            .client_out = shown->client_out,
                                                            .hub_out = shown->hub_out,
                                                            .deadline = shown->deadline,
                                                            .signature = shown->signature});
}

void wallet_settle_shown(struct wallet_core *core, struct wallet_channel *own,
                         const struct shown_settlement *shown)
{
    const struct settlement *current = channel_settlement(own->channel);
    struct settlement proposal = {.phase = SETTLEMENT_PROPOSED,
                                  .close = shown->close,
                                  .seq = shown->seq,
                                  .client_out = shown->client_out,
                                  .hub_out = shown->hub_out,
                                  .deadline = shown->deadline};
    if (shown->present && shown->has_signature) {
        if (current->phase == SETTLEMENT_NONE)
            adopt(core, own, shown);
        return;
    }
    /* None, or another: the one signed here never reached the hub, and its SETTLED 6 was lost with a connection. */
    if (!shown->present || !same_settlement(current, &proposal)) {
        (void)channel_settle_said_dead(own->channel);
        wallet_settle_head(core, own);
    }
    if (shown->present)
        judge_proposal(core, own, &proposal);
}

/* ---- outcomes ---- */

void wallet_settle_said(struct wallet_core *core, const struct message *message)
{
    struct wallet_channel *own = wallet_channel_by_id(core, &message->settled.channel);
    if (own == NULL)
        return;
    const struct settlement *current = channel_settlement(own->channel);
    bool ours = current->phase == SETTLEMENT_SIGNED && current->seq == message->settled.seq;
    own->held_retry = true;
    if (message->settled.outcome == 0) {
        struct channel_funds told = own->channel->told;
        if (!ours || told.seq >= message->settled.seq)
            return;
        told.seq = message->settled.seq;
        if (__builtin_sub_overflow(told.base, (int64_t)current->client_out.units, &told.base))
            return; /* what the hub said it was is no sum of deposits */
        uint64_t outs = current->client_out.units + current->hub_out.units;
        told.total = amount_of(told.total.units > outs ? told.total.units - outs : 0);
        if (current->close)
            told = (struct channel_funds){.seq = told.seq, .stage = STAGE_CLOSED};
        channel_set_told(own->channel, &told);
    } else if (message->settled.outcome == 6) {
        if (ours && channel_settle_said_dead(own->channel))
            wallet_settle_head(core, own);
    } else if (ours) {
        /* Skipped kills nothing: the item may come again until its deadline. */
        wallet_trouble(core, own, "the settlement was skipped by the ledger (reason %u); it may come again",
                       message->settled.outcome);
    }
}

/* The ledger shows a settlement of this channel. */
void wallet_settle_found(struct wallet_core *core, struct wallet_channel *own,
                         const struct contract_event *event)
{
    tell_outcome(core, own, 0, event->client_out, event->close, CODE_OK, &event->transaction);
    if (event->close)
        wallet_close_ended(own, CLOSED_BY_BOTH, event->client_out, event);
    if (own->wish.active && (event->close || (!own->wish.close && !amount_is_zero(event->client_out))))
        end_wish(own);
}

void wallet_settle_head(struct wallet_core *core, struct wallet_channel *own)
{
    struct settlement before = *channel_settlement(own->channel);
    if (!channel_settle_expire(own->channel, core->head.confirmed_time))
        return;
    own->held_retry = true;
    if (before.phase != SETTLEMENT_SIGNED)
        return;
    bool wished = own->wish.active && (before.close == own->wish.close) &&
                  (before.close || !amount_is_zero(before.client_out));
    if (wished) {
        came_to_nothing(core, own);
        tell_outcome(core, own, 6, before.client_out, before.close, CODE_SETTLE, NULL);
    }
}

void wallet_settle_refused(struct wallet_core *core, const struct message *error)
{
    const struct error_reference *about = &error->error.reference;
    struct wallet_channel *own = about->has_channel ? wallet_channel_by_id(core, &about->channel) : NULL;
    if (own == NULL || about->type == MESSAGE_SETTLE_SIGN) {
        wallet_trouble(core, own, "the hub refuses the signature of a settlement: %s",
                       code_text(error->error.code));
        return;
    }
    if (!own->wish.active || !own->wish.asked)
        return;
    struct settlement_wish ended = own->wish;
    came_to_nothing(core, own);
    tell_outcome(core, own, WALLET_SETTLEMENT_REFUSED, ended.amount, ended.close, error->error.code, NULL);
}

/* ---- running ---- */

static bool quiet_enough_to_close(const struct wallet_channel *own)
{
    const struct channel *channel = own->channel;
    return lock_set_count(channel->streams[0].locks) == 0 && lock_set_count(channel->streams[1].locks) == 0 &&
           amount_is_zero(stream_dropped(&channel->streams[0])->frozen) &&
           amount_is_zero(stream_dropped(&channel->streams[1])->frozen) &&
           channel->streams[SIDE_CLIENT].proof.nonce == channel->acknowledged && own->held == NULL &&
           own->refunds == NULL && own->due == NULL && own->repeats == NULL && !own->ack_due;
}

void wallet_settle_run(struct wallet_core *core, struct wallet_channel *own)
{
    struct settlement_wish *wished = &own->wish;
    if (!wished->active || wished->asked || !own->synced || !wallet_channel_live(own) ||
        channel_settlement(own->channel)->phase != SETTLEMENT_NONE)
        return;
    if (core->now_ms < wished->ask_at_ms) {
        wallet_due(core, wished->ask_at_ms);
        return;
    }
    if (wished->close && !quiet_enough_to_close(own))
        return;
    wished->asked = true;
    own->ask_send = true;
}

/* Every proposal has an answer: without one the hub makes no other on this connection. What was signed may be dead or
 * settled by the time that its answer can leave; then it is refused. */
static void send_answer(struct wallet_core *core, const struct wallet_channel *own)
{
    static const char text[] = "not asked for, or not possible now";
    const struct settlement *current = channel_settlement(own->channel);
    struct message message;
    if (own->answer_signs && current->phase == SETTLEMENT_SIGNED && current->seq == own->answer_seq)
        message = (struct message){
            .type = MESSAGE_SETTLE_SIGN,
            .settle_sign = {.channel = own->id, .seq = current->seq, .signature = current->signature}};
    else
        message = (struct message){
            .type = MESSAGE_ERROR,
            .error = {.code = CODE_SETTLE,
                      .text = {text, sizeof(text) - 1},
                      .fatal = false,
                      .reference = wallet_reference(MESSAGE_SETTLE_PROPOSE, &own->id, own->answer_seq)}};
    core->effects.send(core->context, core->appended, WALLET_PEER_HUB, &message);
}

void wallet_settle_send(struct wallet_core *core, struct wallet_channel *own)
{
    if (own->ask_send) {
        struct message message = {
            .type = MESSAGE_SETTLE_REQUEST,
            .settle_request = {.channel = own->id, .amount = own->wish.amount, .close = own->wish.close}};
        core->effects.send(core->context, core->appended, WALLET_PEER_HUB, &message);
    }
    if (own->answer_send)
        send_answer(core, own);
    own->ask_send = own->answer_send = false;
}
