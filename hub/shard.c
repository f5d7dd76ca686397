/* A shard: one thread with an event loop, an engine, a journal, a port. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "hub/hub_state.h"
#include "hub/journals.h"

#define TICK_MS       ENGINE_IDLE_MS
#define DRAIN_MS      300  /* at the end: the last frames leave */
#define COUNT_SLICE   1000 /* channels counted at a time: some 0.2 ms */
#define BATCHES_AHEAD 1    /* batches that may be on their way to the disk while the next one gathers */

void shard_fail(struct shard *shard, const char *format, ...)
{
    char line[LOG_LINE_MAX / 2];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    mailbox_post(shard->hub->mailbox, mail_new(MAIL_FAILED, shard->index, line, strlen(line) + 1));
}

/* ---- what waits for the disk ---- */

static void post_durable(struct shard *shard, uint64_t sequence, struct mailbox *to, struct mail *mail)
{
    mail->sequence = sequence;
    mail->to = to;
    mail->next = NULL;
    if (shard->waiting_last == NULL)
        shard->waiting_first = mail;
    else
        shard->waiting_last->next = mail;
    shard->waiting_last = mail;
}

/* Persist before you reveal: to other shards and to the ledger as to peers (wire/outbox.h). */
static void release(struct shard *shard)
{
    uint64_t durable = journal_durable(shard->journal);
    outbox_release(shard->outbox, durable);
    engine_durable(shard->engine, durable);
    while (shard->waiting_first != NULL && shard->waiting_first->sequence <= durable) {
        struct mail *mail = shard->waiting_first;
        shard->waiting_first = mail->next;
        if (shard->waiting_first == NULL)
            shard->waiting_last = NULL;
        mailbox_post(mail->to, mail);
    }
}

/* ---- turns ---- */

/* One batch per turn. While a batch is on its way to the disk, inputs are judged and booked and gather: whatever
 * arrived meanwhile makes the next batch, and each channel is signed for once. A second batch ahead would only
 * queue behind the first, and what comes after it would wait for both. */
static void end_turn(struct shard *shard)
{
    if (shard->appended - journal_durable(shard->journal) >= BATCHES_AHEAD)
        return; /* on_wake ends it */
    shard->turn_pending = false;
    engine_flush(shard->engine);
    release(shard);
    const struct timeval wait = {0, ENGINE_ACKS_MS * 1000};
    if (engine_acks_wait(shard->engine) && !event_pending(shard->acks, EV_TIMEOUT, NULL))
        event_add(shard->acks, &wait);
}

static void on_acks(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    struct shard *shard = context;
    if (shard->is_broken)
        return;
    engine_acks(shard->engine);
    shard_turn_soon(shard);
}

static void on_turn(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    struct shard *shard = context;
    if (shard->turn_pending)
        end_turn(shard);
}

void shard_turn_soon(struct shard *shard)
{
    if (shard->turn_pending || shard->engine == NULL || shard->is_broken)
        return;
    shard->turn_pending = true;
    event_active(shard->turn, EV_TIMEOUT, 0);
}

static void on_wake(evutil_socket_t descriptor, short what, void *context)
{
    (void)what;
    struct shard *shard = context;
    uint64_t count;
    if (read((int)descriptor, &count, sizeof(count)) < 0)
        return; /* another wake took it */
    release(shard);
    if (shard->turn_pending)
        end_turn(shard);
}

static void publish_figures(struct shard *shard)
{
    struct shard_figures figures = {.engine = engine_figures(shard->engine),
                                    .store = store_figures(shard->journal),
                                    .outbox_bytes = outbox_bytes(shard->outbox)};
    if (shard->server != NULL)
        figures.connections = link_server_connections(shard->server);
    pthread_mutex_lock(&shard->figures_mutex);
    shard->figures = figures;
    pthread_mutex_unlock(&shard->figures_mutex);
}

struct shard_figures shard_figures_now(struct shard *shard)
{
    pthread_mutex_lock(&shard->figures_mutex);
    struct shard_figures figures = shard->figures;
    pthread_mutex_unlock(&shard->figures_mutex);
    return figures;
}

/* Every figure of both is a uint64_t, and a sum but for these. */
void shard_figures_add(struct shard_figures *sum, const struct shard_figures *one)
{
    _Static_assert(sizeof(*sum) % sizeof(uint64_t) == 0, "nothing but uint64_t");
    uint64_t longest =
        sum->store.sync_us_max > one->store.sync_us_max ? sum->store.sync_us_max : one->store.sync_us_max;
    uint64_t block =
        sum->engine.block_confirmed == 0 || one->engine.block_confirmed < sum->engine.block_confirmed
            ? one->engine.block_confirmed
            : sum->engine.block_confirmed;
    uint64_t *into = (uint64_t *)sum;
    const uint64_t *from = (const uint64_t *)one;
    for (size_t i = 0; i < sizeof(*sum) / sizeof(uint64_t); i++)
        into[i] += from[i];
    sum->store.sync_us_max = longest;
    sum->engine.block_confirmed = block;
}

static void on_tick(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    struct shard *shard = context;
    engine_time(shard->engine, clock_monotonic_us() / 1000);
    publish_figures(shard);
    shard_turn_soon(shard);
}

/* ---- the engine's effects ---- */

static uint64_t effect_journal(void *context, const uint8_t *batch, size_t length)
{
    struct shard *shard = context;
    shard->appended = journal_append(shard->journal, batch, length);
    return shard->appended;
}

static void effect_send(void *context, uint64_t sequence, uint64_t peer, const uint8_t *frame, size_t length)
{
    struct shard *shard = context;
    outbox_put_frame(shard->outbox, sequence, peer, frame, length);
}

static void effect_secret(void *context, uint32_t to, const struct leg *payer, const struct witness *witness)
{
    struct shard *shard = context;
    struct mail *mail = mail_new(MAIL_SECRET, shard->index, NULL, 0);
    mail->secret.payer = *payer;
    mail->secret.witness = *witness;
    mailbox_post(shard->hub->shards[to].mailbox, mail);
}

static void effect_call(void *context, uint64_t sequence, enum engine_call call, uint64_t reference,
                        const uint8_t *data, size_t length)
{
    struct shard *shard = context;
    struct mail *mail = mail_new(MAIL_CALL, shard->index, data, length);
    mail->call.call = call;
    mail->call.reference = reference;
    post_durable(shard, sequence, shard->hub->mailbox, mail);
}

static bool effect_find(void *context, uint8_t type, const void *rest, size_t rest_length,
                        journal_visit *visit, void *visit_context)
{
    struct shard *shard = context;
    return journal_find(shard->journal, type, rest, rest_length, visit, visit_context);
}

static void effect_have(void *context, uint8_t type, const uint8_t *rests, size_t rest_length, size_t count,
                        bool *out)
{
    struct shard *shard = context;
    journal_have(shard->journal, type, rests, rest_length, count, out);
}

static void effect_disconnect(void *context, uint64_t peer, enum code code)
{
    links_disconnect(context, peer, code);
}

static void effect_parcel(void *context, uint64_t sequence, uint32_t to, uint64_t number,
                          const uint8_t *bytes, size_t length)
{
    struct shard *shard = context;
    struct mail *mail = mail_new(MAIL_PARCEL, shard->index, bytes, length);
    mail->number = number;
    mail->flag = bytes == NULL;
    post_durable(shard, sequence, shard->hub->shards[to].mailbox, mail);
}

static void effect_settle_turn(void *context, bool wanted)
{
    struct shard *shard = context;
    if (!wanted) {
        shard->turn_given_back = true;
        return;
    }
    struct mail *mail = mail_new(MAIL_TURN_WANTED, shard->index, NULL, 0);
    mail->flag = true;
    mailbox_post(shard->hub->mailbox, mail);
}

/* Whoever settles next must know what the last batch did to the pool: first the pools, then the turn. */
static void tell_pools(struct shard *shard)
{
    struct engine_pool pools[ASSETS_MAX];
    size_t count = engine_pools(shard->engine, pools);
    mailbox_post(shard->hub->mailbox,
                 mail_new(MAIL_OWN_POOLS, shard->index, pools, count * sizeof(pools[0])));
    if (shard->turn_given_back)
        mailbox_post(shard->hub->mailbox, mail_new(MAIL_TURN_WANTED, shard->index, NULL, 0));
    shard->turn_given_back = false;
}

/* ---- life ---- */

static bool visit_record(void *context, const struct record *record)
{
    return engine_read(context, record);
}

static void begin(struct shard *shard)
{
    char message[512];
    const struct engine_effects effects = {
        .journal = effect_journal,
        .find = effect_find,
        .have = effect_have,
        .send = effect_send,
        .pass = links_deliver, /* into the link's buffer: it calls nothing back */
        .secret = effect_secret,
        .call = effect_call,
        .disconnect = effect_disconnect,
        .parcel = effect_parcel,
        .settle_turn = effect_settle_turn,
        .context = shard};
    struct engine_settings settings = shard->hub->engine_settings;
    uint64_t before = clock_monotonic_us();
    settings.shards = shard->hub->shard_count;
    settings.shard = shard->index;
    settings.acks_wait = true;
    struct engine *engine = engine_new(&settings, &effects);
    bytes_wipe(&settings.key, sizeof(settings.key));
    bool read = journal_recover(shard->journal, visit_record, engine);
    if (!read || !engine_recovered(engine, message, sizeof(message))) {
        shard_fail(shard, "%s", read ? message : engine_read_trouble(engine));
        engine_free(engine);
        return;
    }
    shard->engine = engine;
    shard->appended = journal_durable(shard->journal);
    struct engine_figures figures = engine_figures(engine);
    log_info("journal read: %" PRIu64 " channels, %" PRIu64 " payments, in %" PRIu64 " ms", figures.channels,
             figures.payments_kept, (clock_monotonic_us() - before) / 1000);
    engine_time(engine, clock_monotonic_us() / 1000);
    shard->wake =
        event_new(shard->base, journal_wake_descriptor(shard->journal), EV_READ | EV_PERSIST, on_wake, shard);
    event_add(shard->wake, NULL);
    const struct hash last = engine_cursor_before(engine);
    struct mail *mail = mail_new(MAIL_RECOVERED, shard->index, last.bytes, sizeof(last.bytes));
    mail->number = engine_cursor(engine);
    mailbox_post(shard->hub->mailbox, mail);
}

static void follow(struct shard *shard)
{
    const struct timeval tick = {0, TICK_MS * 1000};
    event_add(shard->tick, &tick);
    shard_turn_soon(shard); /* what was left for other shards leaves again */
}

static void serve(struct shard *shard)
{
    if (!links_listen(shard))
        return;
    struct mail *mail = mail_new(MAIL_SERVING, shard->index, NULL, 0);
    mail->number = shard->port;
    mailbox_post(shard->hub->mailbox, mail);
}

static void on_end(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    struct shard *shard = context;
    if (shard->engine != NULL && !shard->is_broken) {
        journal_wait(shard->journal, engine_flush(shard->engine));
        release(shard);
    }
    mailbox_post(shard->hub->mailbox, mail_new(MAIL_STOPPED, shard->index, NULL, 0));
    event_base_loopbreak(shard->base);
}

static void stop(struct shard *shard, bool at_once)
{
    if (at_once) {
        event_base_loopbreak(shard->base);
        return;
    }
    shard->stopping = true;
    if (shard->engine != NULL && !shard->is_broken) {
        journal_wait(shard->journal, engine_flush(shard->engine));
        release(shard);
    }
    links_stop(shard);
    const struct timeval drain = {0, DRAIN_MS * 1000};
    event_add(shard->end, &drain);
}

/* ---- questions ---- */

struct question {
    void (*answer)(const struct engine *engine, void *context);
    /* In its place; what it does is durable before it is done. */
    void (*act)(struct engine *engine, void *context);
    void *context;
    pthread_mutex_t mutex;
    pthread_cond_t done;
    bool is_done;
};

static void answer_question(struct shard *shard, struct question *question)
{
    if (shard->engine != NULL)
        publish_figures(shard);
    if (shard->engine != NULL && question->answer != NULL)
        question->answer(shard->engine, question->context);
    if (shard->engine != NULL && question->act != NULL && !shard->is_broken && !shard->stopping) {
        question->act(shard->engine, question->context);
        journal_wait(shard->journal, engine_flush(shard->engine));
        release(shard);
    }
    pthread_mutex_lock(&question->mutex);
    question->is_done = true;
    pthread_cond_signal(&question->done);
    pthread_mutex_unlock(&question->mutex);
}

static void ask(struct shard *shard, struct question *question)
{
    if (shard->hub->stopping || shard->hub->recovered < shard->hub->shard_count)
        return; /* busy reading its journal, or about to end */
    ensure(pthread_mutex_init(&question->mutex, NULL) == 0 && pthread_cond_init(&question->done, NULL) == 0);
    struct mail *mail = mail_new(MAIL_QUESTION, 0, NULL, 0);
    mail->question = question;
    mailbox_post(shard->mailbox, mail);
    pthread_mutex_lock(&question->mutex);
    while (!question->is_done)
        pthread_cond_wait(&question->done, &question->mutex);
    pthread_mutex_unlock(&question->mutex);
    pthread_cond_destroy(&question->done);
    pthread_mutex_destroy(&question->mutex);
}

void shard_ask(struct shard *shard, void (*answer)(const struct engine *engine, void *context), void *context)
{
    ask(shard, &(struct question){.answer = answer, .context = context});
}

void shard_act(struct shard *shard, void (*act)(struct engine *engine, void *context), void *context)
{
    ask(shard, &(struct question){.act = act, .context = context});
}

/* ---- what is whose ---- */

static void count_later(struct shard *shard)
{
    const struct timeval soon = {0, 1000};
    event_add(shard->count, &soon);
}

static void count_done(struct shard *shard, struct engine_count *counted)
{
    shard->counted = counted;
    post_durable(shard, shard->count_sequence, shard->hub->mailbox,
                 mail_new(MAIL_COUNTED, shard->index, NULL, 0));
    release(shard);
}

static void on_count(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    struct shard *shard = context;
    if (shard->is_broken || shard->stopping)
        return;
    if (engine_count_more(shard->engine, COUNT_SLICE))
        count_done(shard, engine_count_take(shard->engine));
    else
        count_later(shard);
}

/* A statement says nothing that a crash could undo: it waits for the batch that ends the turn before it. */
static void count(struct shard *shard)
{
    bool begun = engine_count_begin(shard->engine);
    shard->count_sequence = shard->appended;
    if (begun)
        count_later(shard);
    else
        count_done(shard, NULL);
}

static void keep_statement(struct shard *shard, const struct mail *mail)
{
    engine_keep_statement(shard->engine, mail->bytes, mail->length);
    uint64_t sequence = engine_flush(shard->engine);
    post_durable(shard, sequence, shard->hub->mailbox, mail_new(MAIL_KEPT, shard->index, NULL, 0));
    release(shard);
}

/* ---- mail ---- */

static void take_pools(struct shard *shard, const struct mail *mail)
{
    struct engine_pool pool;
    for (size_t at = 0; at < mail->length; at += sizeof(pool)) {
        memcpy(&pool, mail->bytes + at, sizeof(pool));
        engine_pool_of_others(shard->engine, &pool.asset, pool.units);
    }
}

/* What could not be read may have been applied in part: this shard writes nothing more, and the hub stops. */
static void give_up(struct shard *shard)
{
    shard->is_broken = true;
    shard->turn_pending = false;
    event_del(shard->tick);
}

static void take_parcel(struct shard *shard, const struct mail *mail)
{
    if (mail->flag) {
        engine_parcel_acknowledged(shard->engine, mail->shard, mail->number);
        return;
    }
    if (engine_parcel(shard->engine, mail->shard, mail->number, mail->bytes, mail->length))
        return;
    give_up(shard);
    shard_fail(shard,
               "shard %u cannot read parcel %" PRIu64
               " of shard %u: the journals do not fit together: restore them from one backup",
               shard->index, mail->number, mail->shard);
}

/* Mail for the engine: before it has been read back, only parcels could come, and none is sent before FOLLOW. */
static void take_input(struct shard *shard, struct mail *mail)
{
    switch (mail->type) {
    case MAIL_EVENT:
        /* The ledger is followed from the cursor of the shard that lies furthest back. */
        if (!mail->event.confirmed || mail->event.block >= engine_cursor(shard->engine))
            engine_event(shard->engine, &mail->event);
        break;
    case MAIL_HEAD:
        engine_block_gas(shard->engine, mail->number);
        engine_confirmed_hash(shard->engine, (const struct hash *)mail->bytes);
        engine_head(shard->engine, &mail->head);
        tell_pools(shard);
        break;
    case MAIL_CALL_DONE:
        engine_call_done(shard->engine, mail->call.call, mail->call.reference, mail->call.error,
                         mail->call.has_receipt ? &mail->call.receipt : NULL);
        tell_pools(shard);
        break;
    case MAIL_RECEIPT:
        engine_receipt(shard->engine, &mail->call.receipt);
        break;
    case MAIL_TOWER:
        engine_tower(shard->engine, mail->number, mail->flag);
        break;
    case MAIL_TOWER_MESSAGE:
        engine_message(shard->engine, ENGINE_PEER_TOWER + mail->number, &mail->message);
        break;
    case MAIL_POOLS:
        take_pools(shard, mail);
        break;
    case MAIL_SETTLE:
        engine_settle(shard->engine);
        break;
    case MAIL_SETTLE_TURN:
        engine_settle_turn(shard->engine);
        tell_pools(shard);
        break;
    case MAIL_PARCEL:
        take_parcel(shard, mail);
        break;
    case MAIL_SECRET:
        engine_secret(shard->engine, &mail->secret.payer, &mail->secret.witness);
        return; /* nothing to write */
    default:
        ensure(false);
    }
    shard_turn_soon(shard);
}

/* Read, or thrown away: it waits no longer. */
static void event_is_read(struct hub *hub)
{
    if (atomic_fetch_sub(&hub->events_waiting, 1) == EVENTS_WAITING_FEW)
        mailbox_post(hub->mailbox, mail_new(MAIL_EVENTS_READ, 0, NULL, 0));
}

static void on_mail(void *context, struct mail *mail)
{
    struct shard *shard = context;
    if (mail->type == MAIL_STOP)
        stop(shard, mail->flag);
    else if (mail->type == MAIL_QUESTION)
        answer_question(shard, mail->question);
    else if (shard->is_broken)
        ; /* it writes nothing more; the hub is about to stop */
    else if (shard->stopping && (mail->type != MAIL_PARCEL || shard->engine == NULL))
        ; /* what comes now is not needed any more, or comes again; what shards owe each other still arrives */
    else if (mail->type == MAIL_BEGIN)
        begin(shard);
    else if (mail->type == MAIL_FOLLOW)
        follow(shard);
    else if (mail->type == MAIL_SERVE)
        serve(shard);
    else if (mail->type == MAIL_COUNT)
        count(shard);
    else if (mail->type == MAIL_STATEMENT)
        keep_statement(shard, mail);
    else if (shard->engine != NULL)
        take_input(shard, mail);
    if (mail->type == MAIL_EVENT)
        event_is_read(shard->hub);
    free(mail);
}

/* ---- the thread ---- */

static void *run(void *context)
{
    struct shard *shard = context;
    char message[512];
    shard->journal = journals_open(shard->hub->settings, shard->index, message, sizeof(message));
    if (shard->journal == NULL)
        shard_fail(shard, "%s", message);
    else
        mailbox_post(shard->hub->mailbox, mail_new(MAIL_OPENED, shard->index, NULL, 0));
    event_base_dispatch(shard->base);
    links_free(shard);
    return NULL;
}

void shard_init(struct shard *shard, struct hub *hub, uint32_t index)
{
    *shard = (struct shard){.hub = hub, .index = index, .next_handle = ENGINE_PEER_TOWER_LAST + 1};
    ensure(pthread_mutex_init(&shard->figures_mutex, NULL) == 0);
    shard->base = event_base_new();
    ensure(shard->base != NULL && event_base_priority_init(shard->base, 3) == 0);
    shard->mailbox = mailbox_new(shard->base, on_mail, shard);
    shard->outbox = outbox_new(links_deliver, shard);
    shard->turn = event_new(shard->base, -1, 0, on_turn, shard);
    shard->end = event_new(shard->base, -1, 0, on_end, shard);
    shard->tick = event_new(shard->base, -1, EV_PERSIST, on_tick, shard);
    shard->acks = event_new(shard->base, -1, 0, on_acks, shard);
    shard->count = event_new(shard->base, -1, 0, on_count, shard);
    ensure(shard->turn != NULL && shard->end != NULL && shard->tick != NULL && shard->acks != NULL &&
           shard->count != NULL);
}

void shard_start(struct shard *shard)
{
    ensure(pthread_create(&shard->thread, NULL, run, shard) == 0);
}

void shard_free(struct shard *shard)
{
    while (shard->waiting_first != NULL) {
        struct mail *mail = shard->waiting_first;
        shard->waiting_first = mail->next;
        free(mail);
    }
    engine_free(shard->engine);
    outbox_free(shard->outbox);
    journal_close(shard->journal);
    mailbox_free(shard->mailbox);
    engine_count_free(shard->counted);
    struct event *const events[] = {shard->wake, shard->turn, shard->tick,
                                    shard->acks, shard->end,  shard->count};
    for (size_t i = 0; i < ARRAY_LENGTH(events); i++)
        if (events[i] != NULL)
            event_free(events[i]);
    event_base_free(shard->base);
    pthread_mutex_destroy(&shard->figures_mutex);
}
