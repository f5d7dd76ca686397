#include "hub/hub_state.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"

#define JOURNAL_VERSION 2
#define TICK_MS         50
#define LEDGER_RETRY_MS 1000
#define BATCHES_AHEAD   2 /* batches that may be on their way to the disk while the next one gathers */

void hub_fail(struct hub *hub, const char *format, ...)
{
    char line[LOG_LINE_MAX / 2];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    log_error("%s", line);
    hub->exit_code = 1;
    event_base_loopbreak(hub->base);
}

/* ---- turns ---- */

static void send_errands(struct hub *hub);

static void release(struct hub *hub)
{
    uint64_t durable = journal_durable(hub->journal);
    outbox_release(hub->outbox, durable);
    send_errands(hub);
}

/* One batch per turn. While the disk is behind, inputs gather: whatever arrived during the last syncs makes
 * the next batch, and each channel is signed for once. */
static void end_turn(struct hub *hub)
{
    if (hub->appended - journal_durable(hub->journal) >= BATCHES_AHEAD)
        return; /* on_wake ends it */
    hub->turn_pending = false;
    engine_flush(hub->engine);
    release(hub);
}

static void on_turn(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    struct hub *hub = context;
    if (hub->turn_pending)
        end_turn(hub);
}

void hub_turn_soon(struct hub *hub)
{
    if (hub->turn_pending || hub->engine == NULL)
        return;
    hub->turn_pending = true;
    event_active(hub->turn, EV_TIMEOUT, 0);
}

static void on_wake(evutil_socket_t descriptor, short what, void *context)
{
    (void)what;
    struct hub *hub = context;
    uint64_t count;
    if (read((int)descriptor, &count, sizeof(count)) < 0)
        return; /* another wake took it */
    release(hub);
    if (hub->turn_pending)
        end_turn(hub);
}

static void on_tick(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    struct hub *hub = context;
    if (hub->engine == NULL)
        return;
    engine_time(hub->engine, clock_monotonic_us() / 1000);
    hub_turn_soon(hub);
}

/* ---- the engine's effects ---- */

static uint64_t effect_journal(void *context, const uint8_t *batch, size_t length)
{
    struct hub *hub = context;
    hub->appended = journal_append(hub->journal, batch, length);
    return hub->appended;
}

static void effect_send(void *context, uint64_t sequence, uint64_t peer, const uint8_t *frame, size_t length)
{
    struct hub *hub = context;
    outbox_put_frame(hub->outbox, sequence, peer, frame, length);
}

static void effect_call(void *context, uint64_t sequence, enum engine_call call, uint64_t reference,
                        const uint8_t *data, size_t length)
{
    struct hub *hub = context;
    struct errand *errand = xcalloc(1, sizeof(*errand));
    errand->hub = hub;
    errand->call = call;
    errand->reference = reference;
    errand->sequence = sequence;
    buffer_append(&errand->data, data, length);
    if (hub->errands_last == NULL)
        hub->errands_first = errand;
    else
        hub->errands_last->next = errand;
    hub->errands_last = errand;
}

static void effect_disconnect(void *context, uint64_t peer, enum code code)
{
    links_disconnect(context, peer, code);
}

static void on_sent(void *context, enum ledger_error error, const struct ledger_receipt *receipt)
{
    struct errand *errand = context;
    struct hub *hub = errand->hub;
    if (error != LEDGER_STOPPED && hub->engine != NULL) {
        if (error != LEDGER_OK)
            log_info("a transaction ended with: %s %s", ledger_error_text(error),
                     receipt != NULL ? contract_error_name(receipt->reverted) : "");
        engine_call_done(hub->engine, errand->call, errand->reference, error, receipt);
        hub_turn_soon(hub);
    }
    buffer_free(&errand->data);
    free(errand);
}

static void send_errands(struct hub *hub)
{
    uint64_t durable = journal_durable(hub->journal);
    while (hub->errands_first != NULL && hub->errands_first->sequence <= durable) {
        struct errand *errand = hub->errands_first;
        hub->errands_first = errand->next;
        if (hub->errands_first == NULL)
            hub->errands_last = NULL;
        ledger_send(hub->ledger, &hub->engine_settings.key, NULL, 0, errand->data.data, errand->data.length,
                    on_sent, errand);
    }
}

/* ---- the ledger ---- */

static void on_event(void *context, const struct contract_event *event)
{
    struct hub *hub = context;
    engine_event(hub->engine, event);
    hub_turn_soon(hub);
}

static void on_head(void *context, const struct ledger_head *head)
{
    struct hub *hub = context;
    engine_head(hub->engine, head);
    hub_turn_soon(hub);
    if (hub->serving || hub->stopping || head->number > head->confirmed_number + hub->settings->confirmations)
        return;
    /* All that the ledger knows has been read: now clients may come. */
    hub->serving = true;
    if (!links_listen(hub))
        return;
    tower_connect(hub);
}

static void on_too_deep(void *context, uint64_t block)
{
    hub_fail(context,
             "the ledger was reorganised below block %" PRIu64
             ", deeper than --confirmations: stopping, since "
             "money that was counted may be gone. Compare the ledger with the journal, then start with more "
             "confirmations",
             block);
}

static bool visit_record(void *context, const struct record *record)
{
    return engine_read(context, record);
}

static bool open_journal(struct hub *hub)
{
    char path[4096], message[512];
    snprintf(path, sizeof(path), "%s/journal", hub->settings->data);
    struct store_options options = {
        .path = path,
        .application = "hub",
        .version = JOURNAL_VERSION,
        .checkpoint_bytes = hub->settings->checkpoint_bytes,
    };
    if (store_open(&options, &hub->journal, message, sizeof(message)) != STORE_OK) {
        hub_fail(hub, "%s", message);
        return false;
    }
    return true;
}

static bool start_engine(struct hub *hub)
{
    char message[512];
    const struct engine_effects effects = {effect_journal, effect_send, effect_call, effect_disconnect, hub};
    uint64_t before = clock_monotonic_us();
    hub->engine = engine_new(&hub->engine_settings, &effects);
    if (!journal_recover(hub->journal, visit_record, hub->engine)) {
        hub_fail(hub, "%s", engine_read_trouble(hub->engine));
        return false;
    }
    if (!engine_recovered(hub->engine, message, sizeof(message))) {
        hub_fail(hub, "%s", message);
        return false;
    }
    hub->appended = journal_durable(hub->journal);
    struct engine_figures figures = engine_figures(hub->engine);
    log_info("journal read: %" PRIu64 " channels, %" PRIu64 " payments, in %" PRIu64 " ms", figures.channels,
             figures.payments_kept, (clock_monotonic_us() - before) / 1000);
    engine_time(hub->engine, clock_monotonic_us() / 1000);
    hub->wake =
        event_new(hub->base, journal_wake_descriptor(hub->journal), EV_READ | EV_PERSIST, on_wake, hub);
    event_add(hub->wake, NULL);
    static const struct ledger_follow callbacks = {on_event, on_head, on_too_deep};
    uint64_t cursor = engine_cursor(hub->engine), first = hub->settings->contract_block;
    ledger_follow(hub->ledger, cursor > first ? cursor : first, &callbacks, hub);
    return true;
}

static void ask_ledger(struct hub *hub);

static void retry_ledger(struct hub *hub, enum ledger_error error)
{
    const char *text = ledger_trouble(hub->ledger);
    log_warn("the ledger at %s: %s; trying again", hub->settings->ledger_url,
             text[0] != '\0' ? text : ledger_error_text(error));
    const struct timeval pause = {LEDGER_RETRY_MS / 1000, 0};
    event_add(hub->retry, &pause);
}

static void on_is_tower(void *context, enum ledger_error error, enum contract_error reverted,
                        const uint8_t *data, size_t length)
{
    struct hub *hub = context;
    unsigned_wide value;
    (void)reverted;
    if (error == LEDGER_STOPPED)
        return;
    if (error != LEDGER_OK || !contract_decode_word(data, length, 0, &value)) {
        retry_ledger(hub, error);
        return;
    }
    hub->engine_settings.tower_is_set = value != 0;
    start_engine(hub);
}

static void on_hub_address(void *context, enum ledger_error error, enum contract_error reverted,
                           const uint8_t *data, size_t length)
{
    struct hub *hub = context;
    struct address owner, self = secret_key_address(&hub->engine_settings.key);
    (void)reverted;
    if (error == LEDGER_STOPPED)
        return;
    if (error != LEDGER_OK) {
        retry_ledger(hub, error);
        return;
    }
    if (!contract_decode_address(data, length, 0, &owner)) {
        hub_fail(hub, "there is no Rill contract at %s on this ledger: check --contract and --ledger",
                 address_text(&hub->settings->contract, (char[ADDRESS_TEXT_SIZE]){0}));
        return;
    }
    if (!address_equal(&owner, &self)) {
        hub_fail(hub, "the contract belongs to hub %s, but this key is %s: start with that hub's --key-file",
                 address_text(&owner, (char[ADDRESS_TEXT_SIZE]){0}),
                 address_text(&self, (char[ADDRESS_TEXT_SIZE]){0}));
        return;
    }
    hub->engine_settings.domain = domain_make(ledger_chain_id(hub->ledger), &hub->settings->contract);
    struct buffer call = {0};
    struct contract_call is_tower = {.function = CONTRACT_IS_TOWER, .address = hub->engine_settings.tower};
    contract_encode_call(&call, &is_tower);
    ledger_call(hub->ledger, NULL, call.data, call.length, on_is_tower, hub);
    buffer_free(&call);
}

static void ask_ledger(struct hub *hub)
{
    struct buffer call = {0};
    struct contract_call whose = {.function = CONTRACT_HUB};
    contract_encode_call(&call, &whose);
    ledger_call(hub->ledger, NULL, call.data, call.length, on_hub_address, hub);
    buffer_free(&call);
}

static void on_retry(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    ask_ledger(context);
}

/* ---- life ---- */

static void on_signal(evutil_socket_t number, short what, void *context)
{
    (void)what;
    struct hub *hub = context;
    if (hub->stopping)
        return;
    log_info("%s: stopping", number == SIGTERM ? "SIGTERM" : "SIGINT");
    hub->stopping = true;
    if (hub->engine != NULL && hub->journal != NULL) {
        journal_wait(hub->journal, engine_flush(hub->engine));
        release(hub);
    }
    links_stop(hub);
    const struct timeval drain = {0, 300000}; /* the last frames leave; then the loop ends */
    event_base_loopexit(hub->base, &drain);
}

static bool make_folder(struct hub *hub, const char *path)
{
    struct stat status;
    if (mkdir(path, 0700) == 0 || (stat(path, &status) == 0 && S_ISDIR(status.st_mode)))
        return true;
    hub_fail(hub, "the folder %s cannot be made: choose another with --data", path);
    return false;
}

static struct event *timer(struct hub *hub, event_callback_fn callback)
{
    return event_new(hub->base, -1, 0, callback, hub);
}

static void on_tower_retry(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    tower_connect(context);
}

static bool start(struct hub *hub)
{
    char path[4096], message[512];
    if (!make_folder(hub, hub->settings->data))
        return false;
    snprintf(path, sizeof(path), "%s/tls", hub->settings->data);
    if (!make_folder(hub, path))
        return false;
    hub->identity = tls_identity_open(path, message, sizeof(message));
    if (hub->identity == NULL) {
        hub_fail(hub, "%s", message);
        return false;
    }
    if (!open_journal(hub) || !http_listen(hub))
        return false;
    const struct ledger_options options = {
        .url = hub->settings->ledger_url,
        .chain_id = hub->settings->chain_id,
        .contract = hub->settings->contract,
        .confirmations = (uint32_t)hub->settings->confirmations,
        .poll_ms = (uint32_t)hub->settings->poll_ms,
    };
    hub->ledger = ledger_new(hub->base, &options);
    ask_ledger(hub);
    return true;
}

static void free_all(struct hub *hub)
{
    links_free(hub);
    http_free(hub);
    ledger_free(hub->ledger);
    while (hub->errands_first != NULL) {
        struct errand *errand = hub->errands_first;
        hub->errands_first = errand->next;
        buffer_free(&errand->data);
        free(errand);
    }
    engine_free(hub->engine);
    outbox_free(hub->outbox);
    journal_close(hub->journal);
    tls_identity_free(hub->identity);
    struct event *const events[] = {hub->wake,      hub->turn,  hub->tick,       hub->term,
                                    hub->interrupt, hub->retry, hub->tower_retry};
    for (size_t i = 0; i < ARRAY_LENGTH(events); i++)
        if (events[i] != NULL)
            event_free(events[i]);
    event_base_free(hub->base);
    bytes_wipe(&hub->engine_settings.key, sizeof(hub->engine_settings.key));
}

int hub_run(const struct hub_settings *settings)
{
    struct hub hub = {.settings = settings,
                      .engine_settings = settings->engine,
                      .next_handle = ENGINE_PEER_TOWER + 1,
                      .started_us = clock_monotonic_us()};
    signal(SIGPIPE, SIG_IGN);
    hub.base = event_base_new();
    ensure(hub.base != NULL && event_base_priority_init(hub.base, 3) == 0);
    hub.outbox = outbox_new(links_deliver, &hub);
    hub.turn = timer(&hub, on_turn);
    hub.retry = timer(&hub, on_retry);
    hub.tower_retry = timer(&hub, on_tower_retry);
    hub.tick = event_new(hub.base, -1, EV_PERSIST, on_tick, &hub);
    hub.term = evsignal_new(hub.base, SIGTERM, on_signal, &hub);
    hub.interrupt = evsignal_new(hub.base, SIGINT, on_signal, &hub);
    event_add(hub.term, NULL);
    event_add(hub.interrupt, NULL);
    const struct timeval tick = {0, TICK_MS * 1000};
    event_add(hub.tick, &tick);
    if (start(&hub))
        event_base_dispatch(hub.base);
    log_info("stopped");
    free_all(&hub);
    return hub.exit_code;
}
