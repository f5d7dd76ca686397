#include "wallet/core_state.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "crypto/hash.h"

#define CURSOR_EVERY_BLOCKS 32
#define ERRORS_MAX          256 /* to the hub, in one run: more than that is a flood that gets no answers */

struct wallet_core *wallet_new(const struct wallet_core_options *options,
                               const struct wallet_effects *effects, void *context)
{
    ensure(options->tower_count <= WALLET_TOWERS_MAX);
    struct wallet_core *core = xcalloc(1, sizeof(*core));
    core->options = *options;
    if (core->options.tower_silence_s == 0)
        core->options.tower_silence_s = 600;
    if (core->options.reveal_margin_s == 0)
        core->options.reveal_margin_s = 30;
    core->effects = *effects;
    core->context = context;
    core->self = secret_key_address(&options->key);
    core->decoder = decoder_new();
    core->next_due_ms = UINT64_MAX;
    static const char label[] = "rill invoice secrets 1";
    struct hash seed = hmac_sha256(options->key.bytes, sizeof(options->key.bytes), label, sizeof(label) - 1);
    memcpy(core->invoice_seed, seed.bytes, sizeof(core->invoice_seed));
    bytes_wipe(&seed, sizeof(seed));
    return core;
}

void wallet_free(struct wallet_core *core)
{
    if (core == NULL)
        return;
    wallet_payments_free(core);
    struct wallet_channel *own, *next;
    HASH_ITER(hh, core->channels, own, next)
    {
        wallet_channel_remove(core, own);
    }
    wallet_payouts_free(core);
    wallet_notes_free(core);
    wallet_ledger_free(core);
    wallet_recover_free(core);
    struct open_wish *wish, *later;
    DL_FOREACH_SAFE(core->opens, wish, later)
    {
        free(wish);
    }
    decoder_free(core->decoder);
    buffer_free(&core->batch);
    free(core->errors);
    free(core->drafted);
    free(core->news);
    bytes_wipe(core->invoice_seed, sizeof(core->invoice_seed));
    bytes_wipe(&core->options.key, sizeof(core->options.key));
    free(core);
}

/* ---- channels ---- */

struct wallet_channel *wallet_channel_by_id(const struct wallet_core *core, const struct hash *id)
{
    struct wallet_channel *own;
    HASH_FIND(hh, core->channels, id, sizeof(*id), own);
    return own;
}

static bool hub_has_funds(const struct channel_funds *funds)
{
    return (wide)funds->total.units > (wide)funds->base;
}

static bool shown_is_used(const struct shown_channel *shown)
{
    return shown->active && (shown->streams[SIDE_CLIENT].newest.present ||
                             shown->streams[SIDE_HUB].newest.present || hub_has_funds(&shown->funds));
}

/* Anybody may open channels for this address. Such a one: nothing was ever signed in it, the hub has put nothing in, and
 * nothing is wished of it. */
static bool is_unused(const struct wallet_core *core, const struct wallet_channel *own)
{
    const struct channel *channel = own->channel;
    return channel->begun == 0 && !hub_has_funds(&channel->funds) && !hub_has_funds(&channel->told) &&
           channel->funds.seq == 0 && channel->settlement == NULL && !own->wish.active && !own->dispute &&
           !own->watch.active && !own->closing_seen && own->ending.by == 0 && own->waiting == NULL &&
           core->showing != own && !shown_is_used(&own->shown);
}

/* Deposits, the hub's money and payments go to the lowest salt that is not closed. */
static bool is_first_of_asset(const struct wallet_core *core, const struct wallet_channel *own)
{
    const struct wallet_channel *other, *next;
    HASH_ITER(hh, core->channels, other, next)
    {
        if (address_equal(&other->channel->key.asset, &own->channel->key.asset) &&
            other->channel->funds.stage != STAGE_CLOSED && other->channel->key.salt < own->channel->key.salt)
            return false;
    }
    return true;
}

/* The unused channel with the highest salt between the two; NULL: there is none. */
static struct wallet_channel *last_unused(const struct wallet_core *core, uint64_t above, uint64_t below)
{
    struct wallet_channel *own, *next, *last = NULL;
    HASH_ITER(hh, core->channels, own, next)
    {
        uint64_t salt = own->channel->key.salt;
        if (salt > (last != NULL ? last->channel->key.salt : above) && salt < below && is_unused(core, own))
            last = own;
    }
    return last;
}

/* Lets go one that is of no use, with a salt above this. False: there is none. */
static bool make_room(struct wallet_core *core, uint64_t above)
{
    struct wallet_channel *last = last_unused(core, above, UINT64_MAX);
    while (last != NULL && is_first_of_asset(core, last))
        last = last_unused(core, above, last->channel->key.salt);
    if (last == NULL)
        return false;
    wallet_disk_forget_channel(core, &last->id);
    wallet_channel_remove(core, last);
    return true;
}

struct wallet_channel *wallet_channel_make(struct wallet_core *core, const struct channel_key *key, bool used)
{
    struct hash id = channel_id(key);
    struct wallet_channel *own = wallet_channel_by_id(core, &id);
    if (own != NULL)
        return own;
    if (core->channel_count >= WALLET_CHANNELS_MAX && !make_room(core, used ? 0 : key->salt))
        return NULL;
    own = xcalloc(1, sizeof(*own));
    own->id = id;
    const struct asset_terms *terms = wallet_asset_terms(core, &key->asset);
    own->channel = channel_new(key, SIDE_CLIENT, terms != NULL ? terms->reserve_bps : 0);
    own->book_dirty = true;
    HASH_ADD(hh, core->channels, id, sizeof(own->id), own);
    core->channel_count++;
    return own;
}

void wallet_crowd(struct wallet_core *core)
{
    if (!core->crowd_told)
        wallet_trouble(
            core, NULL,
            "there are more than %d channels of this address: those that nobody uses are left alone",
            WALLET_CHANNELS_MAX);
    core->crowd_told = true;
}

void wallet_channel_remove(struct wallet_core *core, struct wallet_channel *own)
{
    HASH_DEL(core->channels, own);
    core->channel_count--;
    wallet_updates_drop_held(core, own);
    wallet_shown_clear(&own->shown);
    struct unsecured *payee, *next;
    HASH_ITER(hh, own->payees, payee, next)
    {
        HASH_DEL(own->payees, payee);
        free(payee);
    }
    channel_free(own->channel);
    free(own->reveals);
    free(own->fails);
    free(own);
}

bool wallet_channel_live(const struct wallet_channel *own)
{
    return own->channel->funds.stage == STAGE_OPEN && !own->channel->stopped && !own->closing_seen &&
           own->blocked == NULL;
}

struct channel_view wallet_view(struct wallet_core *core)
{
    return (struct channel_view){
        .domain = &core->options.domain,
        .now = core->head.confirmed_time,
        .reveal_margin_s = core->terms.reveal_margin_s,
        .peer = core->options.hub,
        .registered_at = wallet_ledger_registered_at,
        .context = core,
    };
}

const struct asset_terms *wallet_asset_terms(const struct wallet_core *core, const struct address *asset)
{
    if (!core->has_terms)
        return NULL;
    for (size_t i = 0; i < core->terms.asset_count; i++)
        if (address_equal(&core->terms.assets[i].asset, asset))
            return &core->terms.assets[i];
    return NULL;
}

struct amount wallet_pinned_limit(const struct wallet_core *core, const struct address *asset)
{
    for (size_t i = 0; i < core->pinned_count; i++)
        if (address_equal(&core->pinned[i].asset, asset))
            return core->pinned[i].direct_limit;
    return amount_of(0);
}

void wallet_pin_limit(struct wallet_core *core, const struct address *asset, struct amount direct_limit)
{
    for (size_t i = 0; i < core->pinned_count; i++)
        if (address_equal(&core->pinned[i].asset, asset))
            return;
    if (core->pinned_count < ASSETS_MAX)
        core->pinned[core->pinned_count++] = (struct pinned_limit){*asset, direct_limit};
}

/* ---- what waits for the end of a run ---- */

struct error_reference wallet_reference(enum message_type type, const struct hash *channel, uint64_t nonce)
{
    return (struct error_reference){.present = true,
                                    .type = type,
                                    .has_channel = true,
                                    .channel = *channel,
                                    .has_nonce = true,
                                    .nonce = nonce};
}

void wallet_error(struct wallet_core *core, enum code code, const struct error_reference *reference)
{
    if (core->error_count == ERRORS_MAX)
        return;
    if (core->error_count == core->error_capacity) {
        core->error_capacity = core->error_capacity == 0 ? 8 : core->error_capacity * 2;
        core->errors = xrealloc(core->errors, core->error_capacity * sizeof(*core->errors));
    }
    core->errors[core->error_count++] = (struct pending_error){code, *reference};
}

void wallet_tell(struct wallet_core *core, const struct wallet_news *news)
{
    if (core->news_count == core->news_capacity) {
        core->news_capacity = core->news_capacity == 0 ? 4 : core->news_capacity * 2;
        core->news = xrealloc(core->news, core->news_capacity * sizeof(*core->news));
    }
    core->news[core->news_count++] = *news;
}

void wallet_tell_channel(struct wallet_core *core, enum wallet_news_type type,
                         const struct wallet_channel *own, const char *text)
{
    struct wallet_news news = {.type = type, .channel = own->id, .asset = own->channel->key.asset};
    snprintf(news.text, sizeof(news.text), "%s", text);
    if (type == WALLET_NEWS_CLOSED)
        news.amount = own->ending.to_client;
    wallet_tell(core, &news);
}

void wallet_trouble(struct wallet_core *core, const struct wallet_channel *own, const char *format, ...)
{
    struct wallet_news news = {.type = WALLET_NEWS_TROUBLE};
    if (own != NULL) {
        news.channel = own->id;
        news.asset = own->channel->key.asset;
    }
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(news.text, sizeof(news.text), format, arguments);
    va_end(arguments);
    wallet_tell(core, &news);
}

void wallet_due(struct wallet_core *core, uint64_t at_ms)
{
    if (at_ms < core->next_due_ms)
        core->next_due_ms = at_ms;
}

uint64_t wallet_next_ms(const struct wallet_core *core)
{
    return core->next_due_ms;
}

/* ---- one run ---- */

/* REVOKE for what the hub has dropped, as far as every tower knows that it did. */
static void sign_revocation(struct wallet_core *core, struct wallet_channel *own)
{
    uint64_t due = channel_revocation_due(own->channel);
    if (due == 0 || !wallet_channel_live(own))
        return;
    uint64_t covered = wallet_towers_covered(core, own);
    uint64_t newest = channel_peer(own->channel)->proof.nonce;
    /* Any nonce from the dropping update on will do: the locks of all older proofs are given up alike. */
    uint64_t nonce = covered < newest ? covered : newest;
    if (nonce < due)
        return;
    (void)channel_revoke(own->channel, &core->options.domain, &core->options.key, nonce);
    own->revoke_send = true;
    own->change++;
}

static void change_state(struct wallet_core *core)
{
    struct wallet_channel *own, *next;
    wallet_payouts_run(core);
    HASH_ITER(hh, core->channels, own, next)
    {
        if (own->held != NULL && own->held_retry)
            wallet_updates_retry_held(core, own);
        if (own->synced)
            wallet_link_expect(core, own);
        wallet_settle_run(core, own);
        if (own->synced && wallet_channel_live(own))
            wallet_updates_sign(core, own);
        wallet_incoming_trim(core, own);
        sign_revocation(core, own);
        wallet_towers_run(core, own);
    }
}

static void append_batch(struct wallet_core *core)
{
    struct wallet_channel *own, *next;
    HASH_ITER(hh, core->channels, own, next)
    {
        wallet_conditions_keep(core, own);
        channel_write(own->channel, &core->batch);
        if (own->book_dirty) {
            wallet_disk_write_book(core, own);
            own->book_dirty = false;
        }
    }
    /* The cursor may lag: events that come again after a restart find their channel's mark. */
    if (core->cursor != core->cursor_written &&
        (core->batch.length > 0 || core->cursor > core->cursor_written + CURSOR_EVERY_BLOCKS))
        wallet_disk_write_cursor(core);
    wallet_notes_write(core);
    if (core->batch.length == 0)
        return;
    uint64_t sequence = core->effects.append(core->context, core->batch.data, core->batch.length);
    ensure(sequence > core->appended);
    core->appended = sequence;
    buffer_clear(&core->batch);
}

static void send_to_hub(struct wallet_core *core, const struct message *message)
{
    core->effects.send(core->context, core->appended, WALLET_PEER_HUB, message);
}

static size_t update_bytes(const struct wallet_channel *own, uint64_t nonce)
{
    static const size_t head = 256; /* all that is not the body: rather too much */
    const struct kept_update *kept = channel_kept(own->channel, nonce);
    ensure(kept != NULL);
    return head + kept->body_length;
}

/* Sent on this connection and not acknowledged, of all channels. */
static size_t bytes_under_way(const struct wallet_core *core)
{
    size_t bytes = 0;
    for (const struct wallet_channel *own = core->channels; own != NULL; own = own->hh.next)
        for (uint64_t nonce = own->channel->acknowledged + 1; own->synced && nonce <= own->sent_nonce;
             nonce++)
            bytes += update_bytes(own, nonce);
    return bytes;
}

/* Updates signed and not yet sent on this connection: new ones, and after a reconnect those the hub lacks,
 * with their bytes as first signed. None once the channel closes. As many as fit a link well: one on which too much waits
 * is dropped, and the same would wait on the next; the others follow as ACKs come. Returns whether anything was sent. */
static bool send_updates(struct wallet_core *core, struct wallet_channel *own)
{
    bool any = false;
    if (own->channel->funds.stage >= STAGE_CLOSING || own->channel->stopped || own->closing_seen)
        return false;
    if (own->offer_again && core->head_moved) {
        own->offer_again = false;
        own->sent_nonce = own->channel->acknowledged;
    }
    uint64_t newest = channel_own(own->channel)->proof.nonce;
    if (own->sent_nonce < own->channel->acknowledged)
        own->sent_nonce = own->channel->acknowledged;
    size_t under_way = own->sent_nonce < newest ? bytes_under_way(core) : 0;
    while (own->sent_nonce < newest && under_way < CLIENT_UNDER_WAY_BYTES_MAX) {
        const struct kept_update *kept = channel_kept(own->channel, ++own->sent_nonce);
        under_way += update_bytes(own, own->sent_nonce);
        struct message message = {.type = MESSAGE_UPDATE,
                                  .update = {.channel = own->id,
                                             .proof = kept->proof,
                                             .signature = kept->signature,
                                             .body = kept->body,
                                             .body_length = kept->body_length}};
        send_to_hub(core, &message);
        any = true;
    }
    return any;
}

#define REVEALS_PER_RUN 2048 /* of a long backlog after a reconnect */
#define REVEAL_PAUSE_MS 50

static bool send_reveals(struct wallet_core *core, struct wallet_channel *own)
{
    if (own->reveal_count == 0)
        return false;
    struct revealed items[64];
    size_t sent = 0;
    while (sent < own->reveal_count && sent < REVEALS_PER_RUN) {
        size_t count = 0;
        while (count < ARRAY_LENGTH(items) && sent < own->reveal_count) {
            struct payment_in *payment = own->reveals[sent++];
            payment->revealing = false;
            struct revealed *item = &items[count];
            item->id = payment->key.id;
            item->witness.length = WITNESS_SECRET_BYTES;
            if (wallet_payment_in_secret(core, payment, item->witness.bytes))
                count++;
        }
        struct message message = {.type = MESSAGE_REVEAL,
                                  .reveal = {.channel = own->id, .items = items, .count = count}};
        if (count > 0)
            send_to_hub(core, &message);
    }
    own->reveal_count -= sent;
    if (own->reveal_count > 0) {
        memmove(own->reveals, own->reveals + sent, own->reveal_count * sizeof(*own->reveals));
        wallet_due(core, core->now_ms + REVEAL_PAUSE_MS);
    }
    return true;
}

static bool send_fails(struct wallet_core *core, struct wallet_channel *own)
{
    for (size_t sent = 0; sent < own->fail_count; sent += OUTCOMES_PER_MESSAGE_MAX) {
        size_t left = own->fail_count - sent;
        struct message message = {
            .type = MESSAGE_FAIL,
            .fail = {.channel = own->id,
                     .items = own->fails + sent,
                     .count = left < OUTCOMES_PER_MESSAGE_MAX ? left : OUTCOMES_PER_MESSAGE_MAX}};
        send_to_hub(core, &message);
    }
    bool any = own->fail_count > 0;
    own->fail_count = 0;
    return any;
}

static bool send_revocation(struct wallet_core *core, struct wallet_channel *own)
{
    const struct dropped *dropped = stream_dropped(channel_peer(own->channel));
    if (!own->revoke_send || dropped->revoked_nonce == 0)
        return false;
    own->revoke_send = false;
    struct message message = {.type = MESSAGE_REVOKE,
                              .revoke = {.channel = own->id,
                                         .min_nonce = dropped->revoked_nonce,
                                         .signature = dropped->revocation}};
    send_to_hub(core, &message);
    return true;
}

#define ACK_COUNT_MAX (UNACKNOWLEDGED_MAX / 4) /* so many at the latest, or the hub's window would close */

static void send_acknowledgement(struct wallet_core *core, struct wallet_channel *own, bool with_other)
{
    if (!own->ack_due)
        return;
    /* Half of what is allowed: the other half is for timers that come late. */
    uint64_t at = own->ack_since_ms + ACK_DELAY_MAX_MS / 2;
    if (!with_other && core->now_ms < at && own->ack_count < ACK_COUNT_MAX) {
        wallet_due(core, at);
        return;
    }
    own->ack_due = false;
    own->ack_count = 0;
    struct message message = {.type = MESSAGE_ACK,
                              .ack = {.channel = own->id, .nonce = channel_peer(own->channel)->proof.nonce}};
    send_to_hub(core, &message);
}

static void send_opens(struct wallet_core *core)
{
    struct open_wish *wish;
    DL_FOREACH(core->opens, wish)
    {
        if (wish->sent)
            continue;
        wish->sent = true;
        struct message message = {.type = MESSAGE_OPEN_REQUEST,
                                  .open_request = {.asset = wish->asset, .inbound = wish->inbound}};
        send_to_hub(core, &message);
    }
}

static void send_errors(struct wallet_core *core)
{
    for (size_t i = 0; i < core->error_count && core->linked; i++) {
        const char *text = code_text(core->errors[i].code);
        struct message message = {.type = MESSAGE_ERROR,
                                  .error = {.code = core->errors[i].code,
                                            .text = {text, strlen(text)},
                                            .fatal = false,
                                            .reference = core->errors[i].reference}};
        send_to_hub(core, &message);
    }
    core->error_count = 0;
}

static void send_all(struct wallet_core *core)
{
    struct wallet_channel *own, *next;
    bool any = core->error_count > 0;
    send_errors(core);
    HASH_ITER(hh, core->channels, own, next)
    {
        if (own->synced) {
            any |= wallet_link_send_resume(core, own);
            any |= send_updates(core, own);
            any |= send_reveals(core, own);
            any |= send_fails(core, own);
            any |= send_revocation(core, own);
            wallet_settle_send(core, own);
        }
    }
    HASH_ITER(hh, core->channels, own, next)
    {
        if (own->synced)
            send_acknowledgement(core, own, any);
        wallet_towers_send(core, own);
    }
    if (core->linked && core->welcomed)
        send_opens(core);
}

static void tell_all(struct wallet_core *core)
{
    /* What is told may lead to commands, and those to more news: only what was there at the start is told
     * now. */
    size_t count = core->news_count;
    struct wallet_news *news = core->news;
    core->news = NULL;
    core->news_count = core->news_capacity = 0;
    for (size_t i = 0; i < count; i++)
        core->effects.tell(core->context, core->appended, &news[i]);
    free(news);
    if (core->news_count > 0)
        wallet_due(core, core->now_ms);
}

/* Updates that wait for the ledger: beyond a bound the hub is not read from. */
static void judge_pause(struct wallet_core *core)
{
    size_t bytes = 0;
    struct wallet_channel *own, *next;
    HASH_ITER(hh, core->channels, own, next)
    {
        bytes += own->held_bytes;
    }
    bool pause = core->paused ? bytes > WALLET_HELD_BYTES_MAX / 2 : bytes > WALLET_HELD_BYTES_MAX;
    if (pause != core->paused) {
        core->paused = pause;
        core->effects.pause(core->context, pause);
    }
}

void wallet_run(struct wallet_core *core, uint64_t now_ms, uint64_t unix_s)
{
    core->now_ms = now_ms;
    core->unix_s = unix_s;
    core->next_due_ms = UINT64_MAX;
    if (!core->has_identity) {
        core->has_identity = true;
        wallet_disk_write_identity(core);
    }
    wallet_recover_run(core);
    if (core->linked && core->welcomed)
        wallet_link_resume_all(core);
    change_state(core);
    append_batch(core);
    send_all(core);
    struct wallet_channel *own, *next;
    HASH_ITER(hh, core->channels, own, next)
    {
        wallet_close_run(core, own);
    }
    wallet_incoming_register(core);
    wallet_owed_run(core);
    core->head_moved = false;
    judge_pause(core);
    if (wallet_is_ready(core) && !core->ready_told) {
        core->ready_told = true;
        wallet_tell(core, &(struct wallet_news){.type = WALLET_NEWS_READY});
    }
    tell_all(core);
    if (core->disconnect != NULL) {
        const char *why = core->disconnect;
        core->disconnect = NULL;
        core->effects.disconnect(core->context, why);
    }
}
