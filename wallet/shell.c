/* struct rill_wallet: the loop, the journal and the connections around the core.
 *
 *     input (link, ledger, command, timer) ─▶ core ─▶ run event ─▶ wallet_run ─▶ journal
 *                                                      durable ─▶ outbox_release, deferred effects
 *                                                                   ─▶ links, callbacks
 */
#include "wallet/shell.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "crypto/hash.h"
#include "store/store.h"

static void release(struct rill_wallet *wallet);

struct timeval rill_timeval(uint64_t ms)
{
    return (struct timeval){.tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
}

void rill_wallet_run_soon(struct rill_wallet *wallet)
{
    if (wallet->run_wanted)
        return;
    wallet->run_wanted = true;
    event_active(wallet->run, EV_TIMEOUT, 0);
}

static void destroy(struct rill_wallet *wallet);

/* Callbacks may close the wallet they are about. */
void rill_wallet_enter(struct rill_wallet *wallet)
{
    wallet->busy++;
}

/* Returns false if the wallet is gone. */
bool rill_wallet_leave(struct rill_wallet *wallet)
{
    ensure(wallet->busy > 0);
    if (--wallet->busy > 0 || !wallet->closed)
        return true;
    destroy(wallet);
    return false;
}

/* ---- running ---- */

static void run(struct rill_wallet *wallet)
{
    wallet->run_wanted = false;
    uint64_t now = clock_monotonic_us() / 1000;
    rill_wallet_enter(wallet);
    wallet_run(wallet->core, now, clock_unix_s());
    release(wallet);
    if (!rill_wallet_leave(wallet))
        return;
    uint64_t next = wallet_next_ms(wallet->core);
    if (next == UINT64_MAX) {
        event_del(wallet->timer);
        return;
    }
    struct timeval wait = rill_timeval(next > now ? next - now : 1);
    event_add(wallet->timer, &wait);
}

static void on_run(evutil_socket_t socket, short what, void *argument)
{
    (void)socket;
    (void)what;
    run(argument);
}

static uint64_t durable(const struct rill_wallet *wallet)
{
    return wallet->journal != NULL ? journal_durable(wallet->journal) : wallet->appended;
}

static void on_wake(evutil_socket_t socket, short what, void *argument)
{
    (void)what;
    uint64_t count;
    struct rill_wallet *wallet = argument;
    ssize_t taken = read(socket, &count, sizeof(count));
    (void)taken;
    rill_wallet_enter(wallet);
    release(wallet);
    (void)rill_wallet_leave(wallet);
}

/* ---- effects ---- */

static uint64_t effect_append(void *context, const uint8_t *batch, size_t length)
{
    struct rill_wallet *wallet = context;
    if (wallet->journal == NULL)
        return ++wallet->appended;
    return journal_append(wallet->journal, batch, length);
}

#define PEER_BITS 3 /* low bits of an outbox peer: enum wallet_peer; above them the connection's number */
_Static_assert(WALLET_PEER_TOWER + WALLET_TOWERS_MAX <= 1 << PEER_BITS, "each peer has its number");

static void effect_send(void *context, uint64_t sequence, uint64_t peer, const struct message *message)
{
    struct rill_wallet *wallet = context;
    uint64_t generation =
        peer == WALLET_PEER_HUB ? wallet->generation : wallet->towers[peer - WALLET_PEER_TOWER].generation;
    outbox_put(wallet->outbox, sequence, generation << PEER_BITS | peer, message);
}

static void deliver(void *context, uint64_t peer, const uint8_t *frame, size_t length)
{
    struct rill_wallet *wallet = context;
    uint64_t index = peer & ((1 << PEER_BITS) - 1), generation = peer >> PEER_BITS;
    if (index == WALLET_PEER_HUB) {
        if (wallet->link_ready && generation == wallet->generation)
            link_send_frame(wallet->link, frame, length);
        return;
    }
    struct tower_link *tower = &wallet->towers[index - WALLET_PEER_TOWER];
    if (tower->ready && generation == tower->generation)
        link_send_frame(tower->link, frame, length);
}

static void defer(struct deferred_list *list, struct deferred *deferred)
{
    if (list->last != NULL)
        list->last->next = deferred;
    else
        list->first = deferred;
    list->last = deferred;
}

/* NULL: there is none. */
static struct deferred *take_first(struct deferred_list *list)
{
    struct deferred *first = list->first;
    if (first == NULL)
        return NULL;
    list->first = first->next;
    if (first->next == NULL)
        list->last = NULL;
    return first;
}

static void effect_submit(void *context, uint64_t sequence, uint64_t submission,
                          const struct contract_call *call)
{
    struct deferred *deferred = xcalloc(1, sizeof(*deferred));
    deferred->kind = DEFERRED_SUBMIT;
    deferred->sequence = sequence;
    deferred->submission = submission;
    deferred->call = *call;
    ensure(call->merkle_count <= LOCK_TREE_DEPTH);
    if (call->merkle_count > 0)
        memcpy(deferred->merkle, call->merkle, call->merkle_count * sizeof(struct hash));
    deferred->call.merkle = deferred->merkle;
    defer(&((struct rill_wallet *)context)->deferred, deferred);
}

static void defer_news(struct deferred_list *list, uint64_t sequence, const struct wallet_news *news)
{
    struct deferred *deferred = xcalloc(1, sizeof(*deferred));
    deferred->kind = DEFERRED_NEWS;
    deferred->sequence = sequence;
    deferred->news = xmalloc(sizeof(*news));
    *deferred->news = *news;
    if (news->payment.memo != NULL) {
        deferred->memo = xstrdup(news->payment.memo);
        deferred->news->payment.memo = deferred->memo;
    }
    defer(list, deferred);
}

static void effect_tell(void *context, uint64_t sequence, const struct wallet_news *news)
{
    struct rill_wallet *wallet = context;
    if (news->type == WALLET_NEWS_PAID && wallet->callbacks.secret != NULL)
        defer_news(&wallet->shown, 0, news);
    defer_news(&wallet->deferred, sequence, news);
}

void rill_wallet_defer_call(struct rill_wallet *wallet, void (*done)(void *context), void *context)
{
    struct deferred *deferred = xcalloc(1, sizeof(*deferred));
    deferred->kind = DEFERRED_CALL;
    deferred->sequence = wallet->core->appended;
    deferred->done = done;
    deferred->context = context;
    defer(&wallet->deferred, deferred);
}

/* A question under way; the wallet may close before it is answered. */
struct pending_call {
    struct rill_wallet *wallet;
    uint64_t id;
    struct pending_call *prev, *next;
};

static void on_answer(void *context, enum ledger_error error, enum contract_error reverted,
                      const uint8_t *data, size_t length)
{
    (void)reverted;
    struct pending_call *call = context;
    struct rill_wallet *wallet = call->wallet;
    uint64_t id = call->id;
    if (wallet != NULL)
        DL_DELETE(wallet->calls, call);
    free(call);
    if (wallet == NULL)
        return;
    wallet_answer(wallet->core, id, error == LEDGER_OK, data, length);
    rill_wallet_run_soon(wallet);
}

static struct pending_call *pending_call(struct rill_wallet *wallet, uint64_t id)
{
    struct pending_call *call = xcalloc(1, sizeof(*call));
    call->wallet = wallet;
    call->id = id;
    DL_APPEND(wallet->calls, call);
    return call;
}

static void effect_ask(void *context, uint64_t question, const struct contract_call *view)
{
    struct rill_wallet *wallet = context;
    struct buffer data = {0};
    contract_encode_call(&data, view);
    ledger_call(rill_ledger_client(wallet->ledger), NULL, data.data, data.length, on_answer,
                pending_call(wallet, question));
    buffer_free(&data);
}

static void effect_pause(void *context, bool pause)
{
    struct rill_wallet *wallet = context;
    if (wallet->link_ready)
        link_pause(wallet->link, pause);
}

static void effect_disconnect(void *context, const char *why)
{
    struct rill_wallet *wallet = context;
    if (wallet->link == NULL)
        return;
    link_close(wallet->link);
    rill_wallet_lose_link(wallet, why);
}

static const struct wallet_effects effects = {
    .append = effect_append,
    .send = effect_send,
    .submit = effect_submit,
    .ask = effect_ask,
    .tell = effect_tell,
    .pause = effect_pause,
    .disconnect = effect_disconnect,
};

/* ---- what waited for the journal ---- */

static void on_sent(void *context, enum ledger_error error, const struct ledger_receipt *receipt)
{
    struct pending_call *call = context;
    struct rill_wallet *wallet = call->wallet;
    uint64_t id = call->id;
    if (wallet != NULL)
        DL_DELETE(wallet->calls, call);
    free(call);
    if (wallet == NULL)
        return;
    wallet_outcome(wallet->core, id, error, receipt != NULL && receipt->success,
                   receipt != NULL ? receipt->reverted : CONTRACT_OK);
    rill_wallet_run_soon(wallet);
}

static void submit(struct rill_wallet *wallet, const struct deferred *deferred)
{
    struct buffer data = {0};
    contract_encode_call(&data, &deferred->call);
    ledger_send(rill_ledger_client(wallet->ledger), &wallet->key, NULL, 0, data.data, data.length, on_sent,
                pending_call(wallet, deferred->submission));
    buffer_free(&data);
}

static void tell_settlement(struct rill_wallet *wallet, const struct wallet_news *news)
{
    struct rill_settlement settlement = {.amount = news->amount.units,
                                         .close = news->close,
                                         .settled = news->outcome == 0,
                                         .code = (int)news->code};
    memcpy(settlement.channel, news->channel.bytes, sizeof(settlement.channel));
    memcpy(settlement.asset, news->asset.bytes, sizeof(settlement.asset));
    memcpy(settlement.transaction, news->transaction.bytes, sizeof(settlement.transaction));
    wallet->callbacks.settlement(wallet->context, wallet, &settlement);
}

static void tell_payment(struct rill_wallet *wallet, const struct wallet_news *news,
                         void (*callback)(void *, struct rill_wallet *, const struct rill_payment *))
{
    if (callback == NULL)
        return;
    struct rill_payment payment = rill_payment_of(&news->payment);
    callback(wallet->context, wallet, &payment);
}

static void tell(struct rill_wallet *wallet, const struct wallet_news *news)
{
    const struct rill_callbacks *callbacks = &wallet->callbacks;
    switch (news->type) {
    case WALLET_NEWS_READY:
        if (callbacks->ready != NULL)
            callbacks->ready(wallet->context, wallet);
        return;
    case WALLET_NEWS_PAID:
        tell_payment(wallet, news, callbacks->paid);
        return;
    case WALLET_NEWS_FAILED:
    case WALLET_NEWS_LOST:
        tell_payment(wallet, news, callbacks->failed);
        return;
    case WALLET_NEWS_RETURNED:
        tell_payment(wallet, news, callbacks->returned);
        return;
    case WALLET_NEWS_RECEIVED:
        tell_payment(wallet, news, callbacks->received);
        return;
    case WALLET_NEWS_FUNDS:
        if (callbacks->funds != NULL)
            callbacks->funds(wallet->context, wallet, news->asset.bytes);
        return;
    case WALLET_NEWS_SETTLEMENT:
        if (callbacks->settlement != NULL)
            tell_settlement(wallet, news);
        return;
    case WALLET_NEWS_CLOSE:
    case WALLET_NEWS_CLOSED:
        if (callbacks->closing != NULL)
            callbacks->closing(wallet->context, wallet, news->channel.bytes, news->text,
                               news->type == WALLET_NEWS_CLOSED, news->amount.units);
        return;
    case WALLET_NEWS_OPEN_REFUSED:
        if (callbacks->open_refused != NULL)
            callbacks->open_refused(wallet->context, wallet, news->asset.bytes, (int)news->code, news->text);
        return;
    case WALLET_NEWS_RECOVERED:
        if (callbacks->recovered != NULL)
            callbacks->recovered(wallet->context, wallet);
        return;
    case WALLET_NEWS_TROUBLE:
        rill_wallet_trouble(wallet, news->text);
        return;
    }
}

void rill_wallet_trouble(struct rill_wallet *wallet, const char *text)
{
    if (wallet->callbacks.trouble != NULL)
        wallet->callbacks.trouble(wallet->context, wallet, text);
}

void rill_wallet_trouble_soon(struct rill_wallet *wallet, const char *text)
{
    struct wallet_news news = {.type = WALLET_NEWS_TROUBLE};
    snprintf(news.text, sizeof(news.text), "%s", text);
    effect_tell(wallet, wallet->core->appended, &news);
    rill_wallet_run_soon(wallet);
}

static void free_deferred(struct deferred *deferred)
{
    free(deferred->news);
    free(deferred->memo);
    free(deferred);
}

static void free_list(struct deferred_list *list)
{
    struct deferred *deferred;
    while ((deferred = take_first(list)) != NULL)
        free_deferred(deferred);
}

static void release(struct rill_wallet *wallet)
{
    uint64_t until = durable(wallet);
    outbox_release(wallet->outbox, until);
    while (wallet->shown.first != NULL && !wallet->closed) {
        struct deferred *deferred = take_first(&wallet->shown);
        tell_payment(wallet, deferred->news, wallet->callbacks.secret);
        free_deferred(deferred);
    }
    while (wallet->deferred.first != NULL && wallet->deferred.first->sequence <= until && !wallet->closed) {
        struct deferred *deferred = take_first(&wallet->deferred);
        switch (deferred->kind) {
        case DEFERRED_SUBMIT:
            submit(wallet, deferred);
            break;
        case DEFERRED_CALL:
            deferred->done(deferred->context);
            break;
        case DEFERRED_NEWS:
            tell(wallet, deferred->news);
            break;
        }
        free_deferred(deferred);
    }
}

/* ---- opening and closing ---- */

static bool visit(void *context, const struct record *record)
{
    return wallet_read(context, record);
}

static bool open_journal(struct rill_wallet *wallet, const char *folder, char *message, size_t message_size)
{
    struct store_options options = {
        .path = folder, .application = "wallet", .version = WALLET_JOURNAL_VERSION};
    if (store_open(&options, &wallet->journal, message, message_size) != STORE_OK)
        return false;
    bool understood = journal_recover(wallet->journal, visit, wallet->core);
    bool whole = wallet_recovered(wallet->core, message, message_size);
    if (understood && whole)
        return true;
    if (whole)
        snprintf(message, message_size, "the journal in %s is damaged: a record in it is not understood",
                 folder);
    return false;
}

static struct wallet_core *make_core(const struct rill_wallet *wallet, const struct rill_options *options,
                                     struct rill_wallet *context)
{
    struct wallet_core_options core = {.key = wallet->key,
                                       .domain = rill_ledger_domain(wallet->ledger),
                                       .confirmations = rill_ledger_confirmations(wallet->ledger),
                                       .limits = {options->max_unsecured, options->max_unsecured_per_payee},
                                       .history_max = options->history_max,
                                       .reveal_margin_s = options->reveal_margin_s,
                                       .recover = options->recover,
                                       .tower_count = options->tower_count};
    rill_ledger_hub(wallet->ledger, core.hub.bytes);
    if (options->hub_host != NULL)
        snprintf(core.endpoint, sizeof(core.endpoint), "%s:%u", options->hub_host, options->hub_port);
    for (size_t i = 0; i < options->tower_count; i++)
        core.towers[i] = rill_bytes_address(options->towers[i].address);
    struct wallet_core *made = wallet_new(&core, &effects, context);
    bytes_wipe(&core.key, sizeof(core.key));
    return made;
}

static void make_events(struct rill_wallet *wallet, const struct rill_options *options)
{
    wallet->run = evtimer_new(wallet->base, on_run, wallet);
    wallet->timer = evtimer_new(wallet->base, on_run, wallet);
    ensure(wallet->run != NULL && wallet->timer != NULL);
    rill_wallet_make_links(wallet, options);
    if (wallet->journal == NULL)
        return;
    wallet->wake = event_new(wallet->base, journal_wake_descriptor(wallet->journal), EV_READ | EV_PERSIST,
                             on_wake, wallet);
    ensure(wallet->wake != NULL && event_add(wallet->wake, NULL) == 0);
}

struct rill_wallet *rill_open(struct event_base *base, const struct rill_options *options,
                              const struct rill_callbacks *callbacks, void *context, char *message,
                              size_t message_size)
{
    struct domain domain = rill_ledger_domain(options->ledger);
    if (domain.chain_id == 0) {
        snprintf(message, message_size,
                 "the ledger has not answered yet: wait for it before a wallet is opened");
        return NULL;
    }
    if (options->tower_count > RILL_TOWERS_MAX) {
        snprintf(message, message_size, "at most %d towers", RILL_TOWERS_MAX);
        return NULL;
    }
    struct rill_wallet *wallet = xcalloc(1, sizeof(*wallet));
    wallet->base = base;
    wallet->ledger = options->ledger;
    memcpy(wallet->key.bytes, options->key, sizeof(wallet->key.bytes));
    if (!secret_key_is_valid(&wallet->key)) {
        snprintf(message, message_size, "the key is not a secp256k1 secret key");
        destroy(wallet);
        return NULL;
    }
    wallet->self = secret_key_address(&wallet->key);
    if (callbacks != NULL)
        wallet->callbacks = *callbacks;
    wallet->context = context;
    wallet->core = make_core(wallet, options, wallet);
    wallet->outbox = outbox_new(deliver, wallet);
    wallet->hub_host = options->hub_host != NULL ? xstrdup(options->hub_host) : NULL;
    wallet->hub_port = options->hub_port;
    wallet->agent = xstrdup(options->agent != NULL ? options->agent : "rill/0.1");
    if (options->folder != NULL && !open_journal(wallet, options->folder, message, message_size)) {
        destroy(wallet);
        return NULL;
    }
    make_events(wallet, options);
    if (!rill_ledger_attach(wallet->ledger, wallet, message, message_size)) {
        destroy(wallet);
        return NULL;
    }
    wallet->attached = true;
    rill_wallet_run_soon(wallet);
    if (rill_ledger_verified(wallet->ledger))
        rill_wallet_ledger_ready(wallet);
    return wallet;
}

static void free_event(struct event *event)
{
    if (event != NULL)
        event_free(event);
}

static void destroy(struct rill_wallet *wallet)
{
    if (wallet->attached)
        rill_ledger_detach(wallet->ledger, wallet);
    struct pending_call *call, *next;
    DL_FOREACH_SAFE(wallet->calls, call, next)
    {
        call->wallet = NULL;
    }
    rill_deposits_forget(wallet);
    rill_wallet_free_links(wallet);
    free_event(wallet->run);
    free_event(wallet->timer);
    free_event(wallet->wake);
    free_list(&wallet->shown);
    free_list(&wallet->deferred);
    outbox_free(wallet->outbox);
    wallet_free(wallet->core);
    journal_close(wallet->journal);
    free(wallet->hub_host);
    free(wallet->agent);
    bytes_wipe(&wallet->key, sizeof(wallet->key));
    free(wallet);
}

void rill_close_handle(struct rill_wallet *wallet)
{
    if (wallet == NULL)
        return;
    if (wallet->busy > 0) {
        wallet->closed = true;
        return;
    }
    /* What the last inputs called for still leaves, once it is durable. */
    rill_wallet_enter(wallet);
    wallet_run(wallet->core, clock_monotonic_us() / 1000, clock_unix_s());
    if (wallet->journal != NULL && wallet->core->appended > 0)
        journal_wait(wallet->journal, wallet->core->appended);
    outbox_release(wallet->outbox, durable(wallet));
    wallet->closed = true;
    (void)rill_wallet_leave(wallet);
}
