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
#include "hub/journals.h"
#include "hub/publish.h"
#include "hub/reshard.h"

#define LEDGER_RETRY_MS 1000

void hub_fail(struct hub *hub, const char *format, ...)
{
    if (hub->exit_code != 0)
        return; /* the first reason counts; shards may find the same one */
    char line[LOG_LINE_MAX / 2];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    log_error("%s", line);
    hub->exit_code = 1;
    event_base_loopbreak(hub->base);
}

void hub_post_all(struct hub *hub, enum mail_type type, bool flag)
{
    for (uint32_t i = 0; i < hub->shard_count; i++) {
        struct mail *mail = mail_new(type, 0, NULL, 0);
        mail->flag = flag;
        mailbox_post(hub->shards[i].mailbox, mail);
    }
}

/* ---- the ledger ---- */

static void on_event(void *context, const struct contract_event *event)
{
    struct hub *hub = context;
    size_t waiting = atomic_fetch_add(&hub->events_waiting, hub->shard_count);
    for (uint32_t i = 0; i < hub->shard_count; i++) {
        struct mail *mail = mail_new(MAIL_EVENT, 0, NULL, 0);
        mail->event = *event;
        mailbox_post(hub->shards[i].mailbox, mail);
    }
    if (waiting < EVENTS_WAITING_MAX || hub->events_held)
        return;
    hub->events_held = true;
    ledger_follow_hold(hub->ledger, true);
}

void hub_events_read(struct hub *hub)
{
    if (!hub->events_held || hub->stopping)
        return;
    hub->events_held = false;
    ledger_follow_hold(hub->ledger, false);
}

/* The last one first: whoever comes to the first can then be sent on to any. */
static void serve_next(struct hub *hub)
{
    struct shard *next = &hub->shards[hub->shard_count - 1 - hub->serving_shards];
    mailbox_post(next->mailbox, mail_new(MAIL_SERVE, 0, NULL, 0));
}

static void on_head(void *context, const struct ledger_head *head)
{
    struct hub *hub = context;
    const struct hash confirmed = ledger_confirmed_hash(hub->ledger);
    for (uint32_t i = 0; i < hub->shard_count; i++) {
        struct mail *mail = mail_new(MAIL_HEAD, 0, confirmed.bytes, sizeof(confirmed.bytes));
        mail->head = *head;
        mail->number = ledger_block_gas(hub->ledger);
        mailbox_post(hub->shards[i].mailbox, mail);
    }
    if (hub->asked_to_serve || hub->stopping ||
        head->number > head->confirmed_number + hub->settings->confirmations)
        return;
    /* All that the ledger knows has been read: now clients may come. */
    hub->asked_to_serve = true;
    serve_next(hub);
}

static void on_too_deep(void *context, uint64_t block)
{
    hub_fail(context,
             "the ledger was reorganised below block %" PRIu64
             ", deeper than --confirmations: stopping, since "
             "money that was counted may be gone. Compare the ledger with the journal, then start with more "
             "confirmations, and once with --accept-reorganisation",
             block);
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

static void ask_about_towers(struct hub *hub);

static void on_is_tower(void *context, enum ledger_error error, enum contract_error reverted,
                        const uint8_t *data, size_t length)
{
    struct hub *hub = context;
    unsigned_wide value;
    (void)reverted;
    if (error == LEDGER_STOPPED)
        return;
    if (error != LEDGER_OK || !contract_decode_word(data, length, 0, &value)) {
        hub->towers_asked = 0;
        retry_ledger(hub, error);
        return;
    }
    hub->engine_settings.towers[hub->towers_asked++].is_set = value != 0;
    ask_about_towers(hub);
}

/* One after another: which of the towers the contract knows. */
static void ask_about_towers(struct hub *hub)
{
    if (hub->towers_asked == hub->engine_settings.tower_count) {
        hub_post_all(hub, MAIL_BEGIN, false);
        return;
    }
    struct buffer call = {0};
    struct contract_call is_tower = {.function = CONTRACT_IS_TOWER,
                                     .address = hub->engine_settings.towers[hub->towers_asked].address};
    contract_encode_call(&call, &is_tower);
    ledger_call(hub->ledger, NULL, call.data, call.length, on_is_tower, hub);
    buffer_free(&call);
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
    ask_about_towers(hub);
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

/* ---- the shards' lives ---- */

void hub_opened(struct hub *hub)
{
    if (++hub->opened < hub->shard_count || hub->stopping)
        return;
    const struct ledger_options options = {
        .url = hub->settings->ledger_url,
        .chain_id = hub->settings->chain_id,
        .contract = hub->settings->contract,
        .confirmations = (uint32_t)hub->settings->confirmations,
        .poll_ms = (uint32_t)hub->settings->poll_ms,
        .max_fee_per_gas = hub->settings->max_fee_gwei * 1000000000u,
        .fills_gaps = true,
    };
    hub->ledger = ledger_new(hub->base, &options);
    ask_ledger(hub);
}

/* Each shard skips what it has read: the ledger is followed from where the one furthest behind stopped. */
void hub_recovered(struct hub *hub, uint64_t cursor, const struct hash *before)
{
    if (hub->recovered == 0 || cursor < hub->cursor) {
        hub->cursor = cursor;
        hub->cursor_before = *before;
    }
    if (++hub->recovered < hub->shard_count || hub->stopping)
        return;
    static const struct ledger_follow callbacks = {on_event, on_head, on_too_deep};
    hub_post_all(hub, MAIL_FOLLOW, false);
    uint64_t first = hub->settings->contract_block; /* there is nothing of ours before it */
    if (hub->cursor > first && !hub->settings->accept_reorganisation)
        ledger_follow_on(hub->ledger, hub->cursor, &hub->cursor_before, &callbacks, hub);
    else
        ledger_follow(hub->ledger, hub->cursor > first ? hub->cursor : first, &callbacks, hub);
}

static void write_port_file(const struct hub *hub)
{
    if (hub->settings->port_file == NULL)
        return;
    char temporary[4096];
    snprintf(temporary, sizeof(temporary), "%s.new", hub->settings->port_file);
    FILE *file = fopen(temporary, "w");
    bool written = file != NULL && fprintf(file, "%u %u\n", hub->shards[0].port, hub->http_port) > 0;
    if (file != NULL)
        written = fclose(file) == 0 && written;
    if (!written || rename(temporary, hub->settings->port_file) != 0)
        log_warn("the port file %s could not be written", hub->settings->port_file);
}

void hub_serving(struct hub *hub)
{
    if (++hub->serving_shards < hub->shard_count) {
        serve_next(hub);
        return;
    }
    hub->serving = true;
    write_port_file(hub);
    tower_connect_all(hub);
}

void hub_stopped(struct hub *hub)
{
    if (++hub->stopped == hub->shard_count)
        event_base_loopbreak(hub->base);
}

static void on_signal(evutil_socket_t number, short what, void *context)
{
    (void)what;
    struct hub *hub = context;
    if (hub->stopping)
        return;
    log_info("%s: stopping", number == SIGTERM ? "SIGTERM" : "SIGINT");
    hub->stopping = true;
    hub_post_all(hub, MAIL_STOP, false);
}

/* ---- life ---- */

static bool make_folder(struct hub *hub, const char *path)
{
    struct stat status;
    if (mkdir(path, 0700) == 0 || (stat(path, &status) == 0 && S_ISDIR(status.st_mode)))
        return true;
    hub_fail(hub, "the folder %s cannot be made: choose another with --data", path);
    return false;
}

static uint32_t cores(void)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online < 1 ? 1 : online > SHARDS_MAX ? SHARDS_MAX : (uint32_t)online;
}

/* As many as the journal is made for; a new one: as asked, or one a core. */
static bool count_shards(struct hub *hub)
{
    if (reshard_is_half_done(hub->settings->data)) {
        hub_fail(hub,
                 "a change of the number of shards of %s was cut short: finish it with 'rill-hubd reshard "
                 "--data %s'",
                 hub->settings->data, hub->settings->data);
        return false;
    }
    uint32_t made_for = journals_count(hub->settings->data), asked = (uint32_t)hub->settings->shards;
    if (made_for != 0 && asked != 0 && asked != made_for) {
        hub_fail(
            hub,
            "the journal in %s is one of %u shards, and --shards says %u: leave --shards out, or change the "
            "journal first with 'rill-hubd reshard --shards %u' while the hub is stopped",
            hub->settings->data, made_for, asked, asked);
        return false;
    }
    hub->shard_count = made_for != 0 ? made_for : asked != 0 ? asked : cores();
    return true;
}

/* Where each shard listens, as far as --listen says so: one port after another. */
static bool choose_ports(struct hub *hub)
{
    char host[HOST_BYTES_MAX + 1];
    uint16_t port;
    if (!endpoint_split(hub->settings->listen, host, &port)) {
        hub_fail(hub, "--listen %s is not ADDRESS:PORT", hub->settings->listen);
        return false;
    }
    if (port != 0 && port > UINT16_MAX - hub->shard_count) {
        hub_fail(hub, "--listen %s leaves no room for the ports of %u shards: choose a lower one",
                 hub->settings->listen, hub->shard_count);
        return false;
    }
    bool is_any = strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0 || strcmp(host, "[::]") == 0;
    if (is_any && hub->shard_count > 1 && hub->settings->public_host == NULL) {
        hub_fail(hub,
                 "with --listen %s, say by --public-host under which name or address wallets reach the ports "
                 "of the %u shards, or start with --shards 1",
                 hub->settings->listen, hub->shard_count);
        return false;
    }
    snprintf(hub->public_host, sizeof(hub->public_host), "%s",
             hub->settings->public_host != NULL ? hub->settings->public_host : host);
    for (uint32_t i = 0; i < hub->shard_count && port != 0; i++)
        hub->shards[i].port = (uint16_t)(port + i);
    return true;
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
    if (!count_shards(hub))
        return false;
    hub->shards = xcalloc(hub->shard_count, sizeof(*hub->shards));
    hub->pools = xcalloc((size_t)hub->shard_count * ASSETS_MAX, sizeof(*hub->pools));
    hub->pool_counts = xcalloc(hub->shard_count, sizeof(*hub->pool_counts));
    for (uint32_t i = 0; i < hub->shard_count; i++)
        shard_init(&hub->shards[i], hub, i);
    if (!choose_ports(hub) || !http_listen(hub))
        return false;
    /* The first shard's folder comes last: where it is, the others are. */
    for (uint32_t i = hub->shard_count; i-- > 0;)
        shard_start(&hub->shards[i]);
    hub->threads_run = true;
    return true;
}

static void stop_threads(struct hub *hub)
{
    if (!hub->threads_run)
        return;
    hub_post_all(hub, MAIL_STOP, true);
    for (uint32_t i = 0; i < hub->shard_count; i++)
        pthread_join(hub->shards[i].thread, NULL);
}

static void free_all(struct hub *hub)
{
    stop_threads(hub);
    tower_close_all(hub);
    http_free(hub);
    ledger_free(hub->ledger);
    for (uint32_t i = 0; i < hub->shard_count && hub->shards != NULL; i++)
        shard_free(&hub->shards[i]);
    mailbox_free(hub->mailbox);
    free(hub->shards);
    free(hub->pools);
    free(hub->pool_counts);
    tls_identity_free(hub->identity);
    publisher_free(hub->publisher);
    struct event *const events[] = {hub->term, hub->interrupt, hub->retry};
    for (size_t i = 0; i < ARRAY_LENGTH(events); i++)
        event_free(events[i]);
    event_base_free(hub->base);
    bytes_wipe(&hub->engine_settings.key, sizeof(hub->engine_settings.key));
}

int hub_run(const struct hub_settings *settings)
{
    struct hub hub = {
        .settings = settings, .engine_settings = settings->engine, .started_us = clock_monotonic_us()};
    signal(SIGPIPE, SIG_IGN);
    hub.base = event_base_new();
    ensure(hub.base != NULL && event_base_priority_init(hub.base, 3) == 0);
    hub.mailbox = mailbox_new(hub.base, conduct_mail, &hub);
    hub.publisher = publisher_new(&hub);
    hub.retry = event_new(hub.base, -1, 0, on_retry, &hub);
    hub.term = evsignal_new(hub.base, SIGTERM, on_signal, &hub);
    hub.interrupt = evsignal_new(hub.base, SIGINT, on_signal, &hub);
    event_add(hub.term, NULL);
    event_add(hub.interrupt, NULL);
    if (start(&hub))
        event_base_dispatch(hub.base);
    log_info("stopped");
    free_all(&hub);
    return hub.exit_code;
}
