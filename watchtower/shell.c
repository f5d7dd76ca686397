#include "watchtower/shell_state.h"

#include <errno.h>
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

#define RECORDS_VERSION 1
#define LEDGER_RETRY_MS 1000
#define DRAIN_TURN_MS   20
#define DRAIN_TURNS_MAX 50 /* a second for the last frames to leave */

void shell_fail(struct shell *shell, const char *format, ...)
{
    char line[LOG_LINE_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    log_error("%s", line);
    shell->exit_code = 1;
    event_base_loopbreak(shell->base);
}

void shell_flush(struct shell *shell)
{
    outbox_release(shell->outbox, journal_durable(shell->journal));
    peers_resume(shell);
}

/* ---- the core's effects ---- */

static uint64_t effect_append(void *context, const uint8_t *batch, size_t length)
{
    struct shell *shell = context;
    shell->last_appended = journal_append(shell->journal, batch, length);
    return shell->last_appended;
}

static void effect_send(void *context, uint64_t sequence, uint64_t peer, const struct message *message)
{
    struct shell *shell = context;
    outbox_put(shell->outbox, sequence, peer, message);
}

static void effect_say(void *context, enum log_level level, const char *line)
{
    (void)context;
    log_line(level, "%s", line);
}

/* What an answer of the ledger client belongs to. */
struct errand {
    struct shell *shell;
    uint64_t id;
};

static struct errand *errand_new(struct shell *shell, uint64_t id)
{
    struct errand *errand = xmalloc(sizeof *errand);
    *errand = (struct errand){shell, id};
    return errand;
}

static void on_answer(void *context, enum ledger_error error, enum contract_error reverted,
                      const uint8_t *data, size_t length)
{
    struct errand errand = *(struct errand *)context;
    (void)reverted;
    free(context);
    if (error == LEDGER_STOPPED)
        return;
    tower_answer(errand.shell->tower, errand.id, error == LEDGER_OK, data, length);
    shell_flush(errand.shell);
}

static void effect_ask(void *context, uint64_t question, const struct contract_call *view)
{
    struct shell *shell = context;
    struct buffer data = {0};
    contract_encode_call(&data, view);
    ledger_call(shell->ledger, NULL, data.data, data.length, on_answer, errand_new(shell, question));
    buffer_free(&data);
}

static void on_sent(void *context, enum ledger_error error, const struct ledger_receipt *receipt)
{
    struct errand errand = *(struct errand *)context;
    free(context);
    if (error == LEDGER_STOPPED)
        return;
    bool success = error == LEDGER_OK && receipt != NULL && receipt->success;
    tower_outcome(errand.shell->tower, errand.id, error, success,
                  receipt != NULL ? receipt->reverted : CONTRACT_UNNAMED);
    shell_flush(errand.shell);
}

static void effect_submit(void *context, uint64_t submission, const struct contract_call *call)
{
    struct shell *shell = context;
    struct buffer data = {0};
    contract_encode_call(&data, call);
    ledger_send(shell->ledger, &shell->settings->key, NULL, 0, data.data, data.length, on_sent,
                errand_new(shell, submission));
    buffer_free(&data);
}

/* ---- following ---- */

static void on_event(void *context, const struct contract_event *event)
{
    struct shell *shell = context;
    tower_event(shell->tower, event);
    shell_flush(shell);
}

static void on_head(void *context, const struct ledger_head *head)
{
    struct shell *shell = context;
    tower_head(shell->tower, head);
    shell_flush(shell);
}

static void on_too_deep(void *context, uint64_t block)
{
    (void)context;
    log_error("ALARM: the ledger reorganised block %" PRIu64 ", which was confirmed: look at the node",
              block);
}

/* ---- the start: what must be asked of the ledger ---- */

static void ask_hub(struct shell *shell);

static void retry_later(struct shell *shell, enum ledger_error error)
{
    const char *trouble = ledger_trouble(shell->ledger);
    log_warn("waiting for the ledger at %s: %s", shell->settings->ledger_url,
             *trouble != '\0' ? trouble : ledger_error_text(error));
    struct timeval wait = {LEDGER_RETRY_MS / 1000, LEDGER_RETRY_MS % 1000 * 1000};
    evtimer_add(shell->retry, &wait);
}

static void on_retry(evutil_socket_t descriptor, short events, void *context)
{
    (void)descriptor;
    (void)events;
    ask_hub(context);
}

/* Returns true if the answer can be used; else it has been dealt with. */
static bool answer_is_good(struct shell *shell, enum ledger_error error, size_t length)
{
    char text[ADDRESS_TEXT_SIZE];
    if (error == LEDGER_STOPPED)
        return false;
    if (error != LEDGER_OK && error != LEDGER_REVERTED) {
        retry_later(shell, error);
        return false;
    }
    if (error == LEDGER_REVERTED || length != 32) {
        shell_fail(shell, "there is no Rill contract at %s on this ledger: check --contract and --ledger",
                   address_text(&shell->settings->contract, text));
        return false;
    }
    return true;
}

static void ask_view(struct shell *shell, enum contract_function function, ledger_answer *answer)
{
    struct buffer data = {0};
    contract_encode_call(&data, &(struct contract_call){.function = function});
    ledger_call(shell->ledger, NULL, data.data, data.length, answer, shell);
    buffer_free(&data);
}

/* Whole or not at all: a reader never sees half of it. */
static bool write_ports(struct shell *shell)
{
    const char *path = shell->settings->port_file;
    char temporary[4096];
    if (path == NULL)
        return true;
    FILE *file = NULL;
    if (snprintf(temporary, sizeof temporary, "%s.new", path) < (int)sizeof temporary)
        file = fopen(temporary, "we");
    bool good =
        file != NULL && fprintf(file, "%u %u\n", link_server_port(shell->server), shell->http_port) > 0;
    if (file != NULL && fclose(file) != 0)
        good = false;
    if (good && rename(temporary, path) == 0)
        return true;
    shell_fail(shell, "cannot write the port file %s: %s", path, strerror(errno));
    return false;
}

static void start_serving(struct shell *shell)
{
    static const struct ledger_follow follow = {.event = on_event, .head = on_head, .too_deep = on_too_deep};
    char message[512], contract[ADDRESS_TEXT_SIZE], self[ADDRESS_TEXT_SIZE];
    if (shell->stopping)
        return;
    struct domain domain = domain_make(ledger_chain_id(shell->ledger), &shell->settings->contract);
    if (!peers_listen(shell, &domain, message, sizeof message)) {
        shell_fail(shell, "%s", message);
        return;
    }
    uint64_t cursor;
    ensure(tower_cursor(shell->tower, &cursor));
    ledger_follow(shell->ledger, cursor, &follow, shell);
    struct timeval second = {1, 0};
    event_add(shell->tick, &second);
    log_info("tower %s for contract %s on chain %" PRIu64 ", following from block %" PRIu64,
             address_text(&shell->self, self), address_text(&shell->settings->contract, contract),
             ledger_chain_id(shell->ledger), cursor);
    if (!write_ports(shell))
        return;
    /* One line for whoever started it: where it is. */
    printf("rill-towerd ready: address %s listen %s:%u http %s:%u\n", self, shell->settings->listen_host,
           link_server_port(shell->server), shell->settings->http_host, shell->http_port);
    fflush(stdout);
}

/* A new journal: nothing before this block can concern it, for a channel's state is asked when it is first
 * appointed. */
static void on_block_number(void *context, enum ledger_error error, const char *text)
{
    struct shell *shell = context;
    if (error == LEDGER_STOPPED)
        return;
    char *end = NULL;
    uint64_t block = text == NULL ? 0 : strtoull(text + (*text == '"'), &end, 16);
    if (error != LEDGER_OK || end == NULL || *end != '"') {
        retry_later(shell, error == LEDGER_OK ? LEDGER_MALFORMED : error);
        return;
    }
    tower_begin(shell->tower, block);
    start_serving(shell);
}

static bool visit(void *context, const struct record *record)
{
    return tower_read(context, record);
}

static void recover(struct shell *shell)
{
    static const struct tower_effects effects = {.append = effect_append,
                                                 .send = effect_send,
                                                 .ask = effect_ask,
                                                 .submit = effect_submit,
                                                 .say = effect_say};
    const struct shell_settings *settings = shell->settings;
    struct tower_options options = {.chain_id = ledger_chain_id(shell->ledger),
                                    .contract = settings->contract,
                                    .hub = shell->hub,
                                    .challenge_period_s = shell->challenge_period_s,
                                    .confirmations = settings->confirmations,
                                    .register_margin_s = settings->register_margin_s,
                                    .key = settings->key,
                                    .quotas = settings->quotas};
    shell->tower = tower_new(&options, &effects, shell);
    bytes_wipe(&options.key, sizeof options.key);
    tower_tick(shell->tower, clock_monotonic_us() / 1000);
    char message[256] = "the journal holds a record that this version does not understand";
    if (!journal_recover(shell->journal, visit, shell->tower) ||
        !tower_recovered(shell->tower, message, sizeof message)) {
        shell_fail(shell, "%s: %s", settings->data, message);
        return;
    }
    struct tower_figures figures = tower_figures(shell->tower);
    uint64_t cursor;
    log_info("recovered %" PRIu64 " appointments of %" PRIu64 " users, %" PRIu64 " channels in dispute",
             figures.appointments, figures.users, figures.watches);
    if (tower_cursor(shell->tower, &cursor))
        start_serving(shell);
    else
        ledger_request(shell->ledger, "eth_blockNumber", "[]", on_block_number, shell);
}

static void on_separator(void *context, enum ledger_error error, enum contract_error reverted,
                         const uint8_t *data, size_t length)
{
    struct shell *shell = context;
    (void)reverted;
    if (!answer_is_good(shell, error, length))
        return;
    struct domain domain = domain_make(ledger_chain_id(shell->ledger), &shell->settings->contract);
    if (memcmp(data, domain.separator.bytes, sizeof domain.separator.bytes) != 0) {
        shell_fail(shell, "the contract's EIP-712 domain is not Rill version 1 on chain %" PRIu64,
                   domain.chain_id);
        return;
    }
    if (shell->tower == NULL)
        recover(shell);
    else /* the journal was new, and the node failed in between */
        ledger_request(shell->ledger, "eth_blockNumber", "[]", on_block_number, shell);
}

static void on_period(void *context, enum ledger_error error, enum contract_error reverted,
                      const uint8_t *data, size_t length)
{
    struct shell *shell = context;
    (void)reverted;
    unsigned_wide period;
    if (!answer_is_good(shell, error, length))
        return;
    if (!contract_decode_word(data, length, 0, &period) || period == 0 || period > UINT64_MAX) {
        shell_fail(shell, "the contract's challenge period makes no sense");
        return;
    }
    shell->challenge_period_s = (uint64_t)period;
    ask_view(shell, CONTRACT_DOMAIN_SEPARATOR, on_separator);
}

static void on_hub(void *context, enum ledger_error error, enum contract_error reverted, const uint8_t *data,
                   size_t length)
{
    struct shell *shell = context;
    (void)reverted;
    if (!answer_is_good(shell, error, length))
        return;
    if (!contract_decode_address(data, length, 0, &shell->hub)) {
        shell_fail(shell, "the contract's hub() is not an address");
        return;
    }
    if (address_equal(&shell->hub, &shell->self))
        log_warn("this tower has the hub's own key: give it one of its own");
    ask_view(shell, CONTRACT_CHALLENGE_PERIOD, on_period);
}

static void ask_hub(struct shell *shell)
{
    ask_view(shell, CONTRACT_HUB, on_hub);
}

/* ---- time, disk, signals ---- */

static void on_tick(evutil_socket_t descriptor, short events, void *context)
{
    struct shell *shell = context;
    (void)descriptor;
    (void)events;
    tower_tick(shell->tower, clock_monotonic_us() / 1000);
    shell_flush(shell);
}

static void on_wake(evutil_socket_t descriptor, short events, void *context)
{
    uint64_t count;
    (void)events;
    if (read(descriptor, &count, sizeof count) < 0 && errno != EAGAIN)
        shell_fail(context, "the journal's descriptor: %s", strerror(errno));
    shell_flush(context);
}

static void on_drain(evutil_socket_t descriptor, short events, void *context)
{
    struct shell *shell = context;
    (void)descriptor;
    (void)events;
    if (shell->server == NULL || link_server_connections(shell->server) == 0 ||
        ++shell->drain_turns >= DRAIN_TURNS_MAX)
        event_base_loopbreak(shell->base);
}

static void on_stop(evutil_socket_t signal_number, short events, void *context)
{
    struct shell *shell = context;
    (void)events;
    if (shell->stopping) {
        event_base_loopbreak(shell->base);
        return;
    }
    shell->stopping = true;
    log_info("signal %d: stopping", (int)signal_number);
    event_del(shell->tick);
    evtimer_del(shell->retry);
    if (shell->server != NULL)
        link_server_stop(shell->server);
    if (shell->last_appended > 0)
        journal_wait(shell->journal, shell->last_appended);
    outbox_release(shell->outbox, journal_durable(shell->journal));
    peers_dismiss(shell);
    struct timeval turn = {0, DRAIN_TURN_MS * 1000};
    event_add(shell->drain, &turn);
}

/* ---- life ---- */

static bool open_disk(struct shell *shell)
{
    char path[4096], message[512];
    const char *folder = shell->settings->data;
    if (snprintf(path, sizeof path, "%s/journal", folder) >= (int)sizeof path) {
        log_error("--data: the path is too long");
        return false;
    }
    if (mkdir(folder, 0700) != 0 && errno != EEXIST) {
        log_error("cannot make the folder %s: %s", folder, strerror(errno));
        return false;
    }
    struct store_options options = {.path = path, .application = "tower", .version = RECORDS_VERSION};
    if (store_open(&options, &shell->journal, message, sizeof message) != STORE_OK) {
        log_error("%s", message);
        return false;
    }
    shell->identity = tls_identity_open(folder, message, sizeof message);
    if (shell->identity == NULL)
        log_error("%s", message);
    return shell->identity != NULL;
}

static void make_events(struct shell *shell)
{
    shell->tick = event_new(shell->base, -1, EV_PERSIST, on_tick, shell);
    shell->drain = event_new(shell->base, -1, EV_PERSIST, on_drain, shell);
    shell->retry = evtimer_new(shell->base, on_retry, shell);
    shell->on_term = evsignal_new(shell->base, SIGTERM, on_stop, shell);
    shell->on_interrupt = evsignal_new(shell->base, SIGINT, on_stop, shell);
    shell->wake =
        event_new(shell->base, journal_wake_descriptor(shell->journal), EV_READ | EV_PERSIST, on_wake, shell);
    ensure(shell->tick && shell->drain && shell->retry && shell->on_term && shell->on_interrupt &&
           shell->wake);
    event_add(shell->on_term, NULL);
    event_add(shell->on_interrupt, NULL);
    event_add(shell->wake, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void open_ledger(struct shell *shell)
{
    const struct shell_settings *settings = shell->settings;
    struct ledger_options options = {.url = settings->ledger_url,
                                     .chain_id = settings->chain_id,
                                     .contract = settings->contract,
                                     .confirmations = settings->confirmations,
                                     .poll_ms = settings->poll_ms,
                                     .max_fee_per_gas = settings->max_fee_per_gas};
    shell->ledger = ledger_new(shell->base, &options);
    shell->waiting_for = "waiting for the ledger";
}

static void free_event(struct event *event)
{
    if (event != NULL)
        event_free(event);
}

static void shell_close(struct shell *shell)
{
    metrics_free(shell);
    if (shell->ledger != NULL)
        ledger_free(shell->ledger);
    peers_free(shell);
    if (shell->outbox != NULL)
        outbox_free(shell->outbox);
    tower_free(shell->tower);
    free_event(shell->tick);
    free_event(shell->drain);
    free_event(shell->retry);
    free_event(shell->on_term);
    free_event(shell->on_interrupt);
    free_event(shell->wake);
    journal_close(shell->journal);
    if (shell->identity != NULL)
        tls_identity_free(shell->identity);
    event_base_free(shell->base);
}

int shell_run(const struct shell_settings *settings)
{
    struct shell shell = {.settings = settings, .self = secret_key_address(&settings->key)};
    char message[512];
    shell.base = event_base_new();
    ensure(shell.base != NULL);
    if (!open_disk(&shell)) {
        shell_close(&shell);
        return 1;
    }
    shell.outbox = outbox_new(peers_deliver, &shell);
    make_events(&shell);
    open_ledger(&shell);
    if (!metrics_listen(&shell, message, sizeof message)) {
        log_error("%s", message);
        shell_close(&shell);
        return 1;
    }
    ask_hub(&shell);
    event_base_dispatch(shell.base);
    shell_close(&shell);
    if (shell.exit_code == 0)
        log_info("stopped");
    return shell.exit_code;
}
