/* Connecting: WELCOME, then every CHANNEL with its LOCKS, then RESUME; and where the hub's messages go from
 * then on. */
#include "wallet/core_state.h"

#include <stdio.h>
#include <string.h>

#define YEAR_S ((uint64_t)366 * 24 * 3600)

/* Times that no sum can overflow with, in the relations that section 3 demands. */
static bool terms_make_sense(const struct terms *terms)
{
    return terms->max_expiry_s <= YEAR_S && terms->settle_window_s <= YEAR_S &&
           terms->min_expiry_s <= terms->max_expiry_s && terms->reveal_margin_s <= YEAR_S &&
           terms->min_expiry_s > 3 * terms->reveal_margin_s;
}

void wallet_linked(struct wallet_core *core, const struct terms *terms, uint64_t channels)
{
    if (!terms_make_sense(terms)) {
        core->linked = true;
        wallet_trouble(core, NULL,
                       "the hub's terms make no sense (expiries and margins): nothing is done with it");
        core->disconnect = "the hub's terms make no sense";
        return;
    }
    core->linked = true;
    core->welcomed = true;
    core->channels_expected = channels;
    core->channels_shown = 0;
    core->showing = NULL;
    core->passed.active = false;
    core->has_terms = true;
    core->terms = *terms;
    for (size_t i = 0; i < terms->asset_count; i++)
        wallet_pin_limit(core, &terms->assets[i].asset, terms->assets[i].direct_limit);
    wallet_disk_write_terms(core);
    struct wallet_channel *own, *next;
    HASH_ITER(hh, core->channels, own, next)
    {
        const struct asset_terms *asset = wallet_asset_terms(core, &own->channel->key.asset);
        if (asset != NULL && asset->reserve_bps != own->channel->reserve_bps) {
            own->channel->reserve_bps = asset->reserve_bps;
            own->channel->dirty = true;
        }
    }
    struct open_wish *wish;
    DL_FOREACH(core->opens, wish)
    {
        wish->sent = false;
    }
    core->recover_told = false;
}

void wallet_unlinked(struct wallet_core *core)
{
    core->linked = core->welcomed = core->ready_told = false;
    core->showing = NULL;
    core->passed.active = false;
    core->error_count = 0;
    core->disconnect = NULL;
    if (core->paused) {
        core->paused = false;
        core->effects.pause(core->context, false);
    }
    struct wallet_channel *own, *next;
    HASH_ITER(hh, core->channels, own, next)
    {
        own->synced = own->resume_send = own->ack_due = own->revoke_send = own->answer_send = false;
        own->ask_send = own->offer_again = false;
        own->ack_count = 0;
        own->hub_expect_by_ms = 0;
        wallet_incoming_unsay(own);
        own->wish.asked = false;
        wallet_updates_drop_held(core, own);
        wallet_shown_clear(&own->shown);
    }
}

static bool locks_are_coming(const struct wallet_core *core)
{
    return core->showing != NULL || core->passed.active;
}

bool wallet_is_ready(const struct wallet_core *core)
{
    if (!core->linked || !core->welcomed || !core->in_view || locks_are_coming(core))
        return false;
    if (core->channels_shown < core->channels_expected || wallet_recover_waiting(core))
        return false;
    const struct wallet_channel *own, *next;
    HASH_ITER(hh, core->channels, own, next)
    {
        bool expects = own->hub_expect_by_ms != 0 && own->blocked == NULL && own->held == NULL;
        if (own->shown.active || (own->synced && expects))
            return false;
    }
    return true;
}

/* ---- CHANNEL and LOCKS ---- */

void wallet_shown_clear(struct shown_channel *shown)
{
    for (int side = 0; side < 2; side++) {
        free(shown->drops[side]);
        free(shown->locks[side]);
    }
    memset(shown, 0, sizeof(*shown));
}

static void out_of_order(struct wallet_core *core)
{
    wallet_error(core, CODE_MALFORMED, &(struct error_reference){.present = false});
    core->disconnect = "the hub's messages came in a wrong order";
}

static void open_wish_granted(struct wallet_core *core, const struct wallet_channel *own)
{
    struct open_wish *wish, *next;
    DL_FOREACH_SAFE(core->opens, wish, next)
    {
        if (wish->sent && address_equal(&wish->asset, &own->channel->key.asset)) {
            DL_DELETE(core->opens, wish);
            free(wish);
        }
    }
}

bool wallet_shown_whole(const struct shown_channel *shown)
{
    return shown->active && shown->stream_done[SIDE_CLIENT] && shown->stream_done[SIDE_HUB];
}

static bool has_locks(const struct shown_stream *stream)
{
    return stream->newest.present && !hash_is_zero(&stream->newest.proof.locks_root);
}

static void show_stream(struct shown_channel *shown, int side, const struct shown_stream *stream)
{
    shown->streams[side] = *stream;
    if (stream->drop_count > 0) {
        shown->drops[side] = xmalloc(stream->drop_count * sizeof(struct shown_drop));
        memcpy(shown->drops[side], stream->drops, stream->drop_count * sizeof(struct shown_drop));
    }
    shown->streams[side].drops = shown->drops[side];
    shown->stream_done[side] = !has_locks(stream);
}

/* Whether more than whoever opened it has a use for it. */
static bool is_used(const struct message *message)
{
    return message->channel.streams[SIDE_CLIENT].newest.present ||
           message->channel.streams[SIDE_HUB].newest.present ||
           (wide)message->channel.total.units > (wide)message->channel.base;
}

static void pass_channel(struct wallet_core *core, const struct message *message)
{
    wallet_crowd(core);
    core->passed.id = channel_id(&message->channel.key);
    core->passed.active = false;
    for (int side = 0; side < 2; side++) {
        core->passed.stream_done[side] = !has_locks(&message->channel.streams[side]);
        core->passed.active |= !core->passed.stream_done[side];
    }
}

static void pass_locks(struct wallet_core *core, const struct message *message)
{
    uint8_t side = message->locks.stream;
    if (side > SIDE_HUB || !hash_equal(&core->passed.id, &message->locks.channel) ||
        core->passed.stream_done[side]) {
        out_of_order(core);
        return;
    }
    core->passed.stream_done[side] = message->locks.last;
    core->passed.active = !core->passed.stream_done[SIDE_CLIENT] || !core->passed.stream_done[SIDE_HUB];
}

void wallet_link_channel_shown(struct wallet_core *core, const struct message *message)
{
    if (locks_are_coming(core) || !address_equal(&message->channel.key.client, &core->self)) {
        out_of_order(core);
        return;
    }
    if (core->channels_shown < core->channels_expected)
        core->channels_shown++;
    struct wallet_channel *own = wallet_channel_make(core, &message->channel.key, is_used(message));
    if (own == NULL) {
        pass_channel(core, message);
        return;
    }
    wallet_shown_clear(&own->shown);
    struct shown_channel *shown = &own->shown;
    shown->active = true;
    shown->funds = (struct channel_funds){.total = message->channel.total,
                                          .base = message->channel.base,
                                          .seq = message->channel.seq,
                                          .stage = message->channel.status};
    shown->settlement = message->channel.settlement;
    show_stream(shown, SIDE_CLIENT, &message->channel.streams[SIDE_CLIENT]);
    show_stream(shown, SIDE_HUB, &message->channel.streams[SIDE_HUB]);
    core->showing = wallet_shown_whole(shown) ? NULL : own;
    open_wish_granted(core, own);
}

void wallet_link_locks_shown(struct wallet_core *core, const struct message *message)
{
    if (core->passed.active) {
        pass_locks(core, message);
        return;
    }
    struct wallet_channel *own = core->showing;
    uint8_t side = message->locks.stream;
    if (own == NULL || side > SIDE_HUB || !hash_equal(&own->id, &message->locks.channel) ||
        own->shown.stream_done[side] ||
        own->shown.lock_count[side] + message->locks.count > LOCKS_PER_STREAM_MAX) {
        out_of_order(core);
        return;
    }
    struct shown_channel *shown = &own->shown;
    size_t count = shown->lock_count[side] + message->locks.count;
    shown->locks[side] = xrealloc(shown->locks[side], (count + 1) * sizeof(struct shown_lock));
    if (message->locks.count > 0)
        memcpy(shown->locks[side] + shown->lock_count[side], message->locks.locks,
               message->locks.count * sizeof(struct shown_lock));
    shown->lock_count[side] = count;
    shown->stream_done[side] = message->locks.last;
    if (wallet_shown_whole(shown))
        core->showing = NULL;
}

/* ---- RESUME ---- */

#define RESEND_WAIT_MS 5000

static const char lost_records[] =
    "the hub knows payments of this wallet that its folder does not: run `rill recover`";

/* The hub re-sends what was never acknowledged. What does not come was acknowledged once, by a wallet that has lost it
 * since. */
void wallet_link_expect(struct wallet_core *core, struct wallet_channel *own)
{
    if (own->hub_expect_by_ms == 0)
        return;
    if (channel_peer(own->channel)->proof.nonce >= own->hub_nonce) {
        own->hub_expect_by_ms = 0;
        if (own->blocked == lost_records)
            own->blocked = NULL;
    } else if (core->now_ms < own->hub_expect_by_ms) {
        wallet_due(core, own->hub_expect_by_ms);
    } else if (own->held == NULL && own->blocked == NULL) {
        own->blocked = lost_records;
        wallet_trouble(core, own, "%s", lost_records);
    }
}

static uint64_t shown_nonce(const struct wallet_channel *own, enum side side)
{
    const struct shown_proof *newest = &own->shown.streams[side].newest;
    return newest->present ? newest->proof.nonce : 0;
}

/* A hub that shows less than it has signed or acknowledged has lost its memory, or hides it: with such a hub no stream
 * can go on, and what is held here is what counts on the ledger. */
static const char *forgetful(const struct wallet_channel *own)
{
    if (shown_nonce(own, SIDE_HUB) < channel_peer(own->channel)->proof.nonce)
        return "the hub has forgotten proofs that it signed: what this wallet holds stands, use `rill "
               "dispute`";
    if (shown_nonce(own, SIDE_CLIENT) < own->channel->acknowledged)
        return "the hub has forgotten updates that it acknowledged: use `rill dispute`";
    return NULL;
}

static void resume_channel(struct wallet_core *core, struct wallet_channel *own)
{
    struct shown_channel *shown = &own->shown;
    channel_set_told(own->channel, &shown->funds);
    own->held_retry = true;
    own->blocked = NULL;
    if (wallet_recover_needed(core, own)) {
        if (core->options.recover)
            wallet_recover_channel(core, own);
        else
            own->blocked = lost_records;
    }
    if (own->blocked == NULL)
        own->blocked = forgetful(own);
    uint64_t received = shown_nonce(own, SIDE_CLIENT);
    if (own->blocked == NULL && channel_acknowledged(own->channel, received) != CODE_OK)
        own->blocked = lost_records;
    if (own->blocked != NULL) {
        wallet_trouble(core, own, "%s", own->blocked);
        wallet_shown_clear(shown);
        return;
    }
    own->sent_nonce = received;

    struct channel_view view = wallet_view(core);
    const struct shown_revocation *theirs = &shown->streams[SIDE_CLIENT].revocation;
    if (theirs->present && theirs->min_nonce > stream_dropped(channel_own(own->channel))->revoked_nonce) {
        if (channel_revocation_received(own->channel, &view, theirs->min_nonce, &theirs->signature, NULL) ==
            CODE_OK)
            wallet_payments_revoked(core, own);
    }
    const struct shown_revocation *ours = &shown->streams[SIDE_HUB].revocation;
    uint64_t known = ours->present ? ours->min_nonce : 0;
    own->revoke_send = stream_dropped(channel_peer(own->channel))->revoked_nonce > known;
    own->hub_nonce = shown_nonce(own, SIDE_HUB);
    own->hub_expect_by_ms =
        own->hub_nonce > channel_peer(own->channel)->proof.nonce ? core->now_ms + RESEND_WAIT_MS : 0;
    wallet_settle_shown(core, own, &shown->settlement);
    wallet_incoming_resume(core, own);
    own->resume_send = true;
    own->synced = true;
    wallet_tell_channel(core, WALLET_NEWS_FUNDS, own, "");
    wallet_shown_clear(shown);
}

void wallet_link_resume_all(struct wallet_core *core)
{
    /* Until the ledger is in view nothing can be judged; the hub's proofs least of all. */
    if (locks_are_coming(core) || core->channels_shown < core->channels_expected || !core->in_view)
        return;
    if (wallet_recover_waiting(core))
        return;
    struct wallet_channel *own, *next;
    HASH_ITER(hh, core->channels, own, next)
    {
        if (own->shown.active)
            resume_channel(core, own);
    }
    wallet_recover_done(core);
}

bool wallet_link_send_resume(struct wallet_core *core, struct wallet_channel *own)
{
    if (!own->resume_send)
        return false;
    own->resume_send = false;
    struct payment_id *ids = xmalloc(OUTCOMES_PER_MESSAGE_MAX * sizeof(*ids));
    size_t count = 0;
    const struct payment_out *payment;
    DL_FOREACH(own->open, payment)
    {
        if (count == OUTCOMES_PER_MESSAGE_MAX)
            break;
        if (payment->state == OUT_DIRECT || payment->state == OUT_LOCKED)
            ids[count++] = payment->id;
    }
    struct message message = {.type = MESSAGE_RESUME,
                              .resume = {.channel = own->id,
                                         .received = channel_peer(own->channel)->proof.nonce,
                                         .own = channel_own(own->channel)->proof.nonce,
                                         .ids = ids,
                                         .count = count}};
    core->effects.send(core->context, core->appended, WALLET_PEER_HUB, &message);
    free(ids);
    return true;
}

/* ---- all other messages ---- */

static void acknowledged(struct wallet_core *core, const struct message *message)
{
    struct wallet_channel *own = wallet_channel_by_id(core, &message->ack.channel);
    struct error_reference reference =
        wallet_reference(MESSAGE_ACK, &message->ack.channel, message->ack.nonce);
    if (own == NULL)
        wallet_error(core, CODE_CHANNEL, &reference);
    else if (channel_acknowledged(own->channel, message->ack.nonce) != CODE_OK)
        wallet_error(core, CODE_NONCE, &reference);
}

static void revealed(struct wallet_core *core, const struct message *message)
{
    struct wallet_channel *own = wallet_channel_by_id(core, &message->reveal.channel);
    for (size_t i = 0; own != NULL && i < message->reveal.count; i++)
        wallet_payments_secret_shown(core, own, &message->reveal.items[i]);
}

static void failed(struct wallet_core *core, const struct message *message)
{
    struct wallet_channel *own = wallet_channel_by_id(core, &message->fail.channel);
    for (size_t i = 0; own != NULL && i < message->fail.count; i++)
        wallet_payments_failed(core, own, &message->fail.items[i]);
}

static void revoked(struct wallet_core *core, const struct message *message)
{
    struct wallet_channel *own = wallet_channel_by_id(core, &message->revoke.channel);
    struct error_reference reference =
        wallet_reference(MESSAGE_REVOKE, &message->revoke.channel, message->revoke.min_nonce);
    if (own == NULL) {
        wallet_error(core, CODE_CHANNEL, &reference);
        return;
    }
    struct channel_view view = wallet_view(core);
    enum code code = channel_revocation_received(own->channel, &view, message->revoke.min_nonce,
                                                 &message->revoke.signature, NULL);
    if (code != CODE_OK) {
        wallet_error(core, code, &reference);
        return;
    }
    own->change++;
    wallet_payments_revoked(core, own);
}

static void funded(struct wallet_core *core, const struct message *message)
{
    struct wallet_channel *own = wallet_channel_by_id(core, &message->funded.channel);
    if (own == NULL) {
        struct error_reference reference =
            wallet_reference(MESSAGE_FUNDED, &message->funded.channel, message->funded.block);
        wallet_error(core, CODE_CHANNEL, &reference);
        return;
    }
    /* It comes after a CHANNEL that has been shown and not been taken over yet: then that one is no longer true. */
    struct channel_funds told = own->shown.active ? own->shown.funds : own->channel->told;
    told.total = message->funded.total;
    told.base = message->funded.base;
    told.seq = message->funded.seq;
    if (told.stage == STAGE_NONE)
        told.stage = STAGE_OPEN;
    if (own->shown.active)
        own->shown.funds = told;
    else
        channel_set_told(own->channel, &told);
    own->told_block = message->funded.block;
    own->held_retry = true;
    open_wish_granted(core, own);
    wallet_tell_channel(core, WALLET_NEWS_FUNDS, own, "");
}

static bool open_refused(struct wallet_core *core, const struct message *message)
{
    struct open_wish *wish, *next;
    DL_FOREACH_SAFE(core->opens, wish, next)
    {
        if (!wish->sent)
            continue;
        struct wallet_news news = {
            .type = WALLET_NEWS_OPEN_REFUSED, .asset = wish->asset, .code = message->error.code};
        snprintf(news.text, sizeof(news.text), "%.*s", (int)message->error.text.length,
                 message->error.text.data);
        wallet_tell(core, &news);
        DL_DELETE(core->opens, wish);
        free(wish);
        return true;
    }
    return false;
}

static void error_received(struct wallet_core *core, const struct message *message)
{
    const struct error_reference *about = &message->error.reference;
    if (about->present && about->type == MESSAGE_OPEN_REQUEST && open_refused(core, message))
        return;
    if (about->present && (about->type == MESSAGE_SETTLE_REQUEST || about->type == MESSAGE_SETTLE_SIGN)) {
        wallet_settle_refused(core, message);
        return;
    }
    struct wallet_channel *own = about->has_channel ? wallet_channel_by_id(core, &about->channel) : NULL;
    wallet_trouble(core, own, "the hub refuses %s: %s (%.*s)",
                   about->present ? message_name(about->type) : "", code_name(message->error.code),
                   (int)message->error.text.length, message->error.text.data);
    if (!about->present || about->type != MESSAGE_UPDATE)
        return;
    /* The update that the hub refused stays the next one it takes: offer its bytes again. Where the hub sees a close
     * that is not seen here, with the next block: connecting anew would disturb the other channels until it is over. */
    if (message->error.code == CODE_STATUS && own != NULL)
        own->offer_again = true;
    else
        core->disconnect = "the hub refused an update: connecting anew to send it again";
}

void wallet_message(struct wallet_core *core, const struct message *message)
{
    if (!core->linked)
        return;
    switch (message->type) {
    case MESSAGE_CHANNEL:
        wallet_link_channel_shown(core, message);
        return;
    case MESSAGE_LOCKS:
        wallet_link_locks_shown(core, message);
        return;
    case MESSAGE_UPDATE:
        wallet_updates_received(core, message);
        return;
    case MESSAGE_ACK:
        acknowledged(core, message);
        return;
    case MESSAGE_REVEAL:
        revealed(core, message);
        return;
    case MESSAGE_FAIL:
        failed(core, message);
        return;
    case MESSAGE_REVOKE:
        revoked(core, message);
        return;
    case MESSAGE_SETTLE_PROPOSE:
        wallet_settle_proposed(core, message);
        return;
    case MESSAGE_SETTLED:
        wallet_settle_said(core, message);
        return;
    case MESSAGE_FUNDED:
        funded(core, message);
        return;
    case MESSAGE_ERROR:
        error_received(core, message);
        return;
    default:
        wallet_error(core, CODE_MALFORMED, &(struct error_reference){.present = true, .type = message->type});
    }
}

enum code wallet_open_request(struct wallet_core *core, const struct address *asset, struct amount inbound)
{
    if (core->has_terms && wallet_asset_terms(core, asset) == NULL && core->terms.asset_count > 0)
        return CODE_CHANNEL;
    struct open_wish *wish;
    size_t count = 0;
    DL_FOREACH(core->opens, wish)
    {
        if (address_equal(&wish->asset, asset)) {
            wish->inbound = inbound;
            wish->sent = false;
            return CODE_OK;
        }
        count++;
    }
    if (count >= ASSETS_MAX)
        return CODE_LIMIT;
    wish = xcalloc(1, sizeof(*wish));
    wish->asset = *asset;
    wish->inbound = inbound;
    DL_APPEND(core->opens, wish);
    return CODE_OK;
}
