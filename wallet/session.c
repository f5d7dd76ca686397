/* A session of a command: the loop, the ledger and the wallet, and waiting for what is to come. */
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/endpoint.h"
#include "base/ensure.h"
#include "wallet/command.h"

#define CONNECT_TIMEOUT_MS 12000
#define FIRST_LOOK_MS      2000
#define REFUSED_TIMEOUT_MS 4000
#define SAY_AFTER_MS       2000
#define GOODBYE_MS         1000 /* a hub that does not take it is left without */
#define CLOSE_STEP_MS      10000
#define HISTORY_MAX        100000

/* ---- what the wallet tells ---- */

static void on_ready(void *context, struct rill_wallet *wallet)
{
    (void)wallet;
    struct session *session = context;
    session->ready = true;
}

static void on_offline(void *context, struct rill_wallet *wallet, const char *reason)
{
    (void)wallet;
    struct session *session = context;
    session->ready = false;
    snprintf(session->offline_reason, sizeof(session->offline_reason), "%s", reason);
}

static void on_secret(void *context, struct rill_wallet *wallet, const struct rill_payment *payment)
{
    (void)wallet;
    struct session *session = context;
    if (session->on_outcome != NULL)
        session->on_outcome(session, payment);
}

static void on_payment(void *context, struct rill_wallet *wallet, const struct rill_payment *payment)
{
    struct session *session = context;
    on_secret(context, wallet, payment);
    if (memcmp(session->waited_id, payment->id, sizeof(session->waited_id)) != 0)
        return;
    session->payment = *payment;
    session->payment.memo = NULL;
    session->outcome = true;
}

/* Not what is waited for, as long as the hub may still collect it: `returned` follows, or `paid`. */
static void on_failed(void *context, struct rill_wallet *wallet, const struct rill_payment *payment)
{
    struct session *session = context;
    if (payment->is_final) {
        on_payment(context, wallet, payment);
        return;
    }
    on_secret(context, wallet, payment);
    if (memcmp(session->waited_id, payment->id, sizeof(session->waited_id)) == 0)
        session->failing_code = payment->code;
}

static void on_received(void *context, struct rill_wallet *wallet, const struct rill_payment *payment)
{
    (void)wallet;
    struct session *session = context;
    if (session->on_received != NULL)
        session->on_received(session, payment);
}

static void on_settlement(void *context, struct rill_wallet *wallet, const struct rill_settlement *settlement)
{
    (void)wallet;
    struct session *session = context;
    if (settlement->settled && settlement->amount == 0 && !settlement->close)
        return; /* the hub took back what lay idle: nobody asked for it */
    if (session->waits_settlement && settlement->close == session->waits_close &&
        memcmp(settlement->channel, session->waited_channel, sizeof(session->waited_channel)) == 0) {
        session->settlement = *settlement;
        session->has_settlement = true;
    }
    if (session->on_settlement != NULL)
        session->on_settlement(session, settlement);
}

static void on_open_refused(void *context, struct rill_wallet *wallet, const uint8_t asset[20], int code,
                            const char *text)
{
    (void)wallet;
    (void)asset;
    struct session *session = context;
    session->code = code;
    session->outcome = true;
    snprintf(session->text, sizeof(session->text), "%s", text);
}

static void on_closing(void *context, struct rill_wallet *wallet, const uint8_t channel[32], const char *text,
                       bool done, uint64_t paid_out)
{
    (void)wallet;
    (void)channel;
    struct session *session = context;
    command_say(stderr, "rill: %s", text);
    if (done) {
        session->closed = true;
        session->paid_out = paid_out;
    }
}

static void on_recovered(void *context, struct rill_wallet *wallet)
{
    (void)wallet;
    ((struct session *)context)->recovered = true;
}

static void on_trouble(void *context, struct rill_wallet *wallet, const char *text)
{
    (void)wallet;
    struct session *session = context;
    snprintf(session->trouble, sizeof(session->trouble), "%s", text);
    if (!session->quiet_trouble)
        command_say(stderr, "rill: note: %s", text);
}

/* ---- opening ---- */

static int parse_address(const struct settings *settings, const char *name, const char *text, uint8_t out[20])
{
    if (text == NULL || !hex_decode(text, out, 20))
        return command_fail(settings, RILL_EXIT_USAGE, "--%s '%s' is not an address: 0x and 40 digits", name,
                            text != NULL ? text : "");
    return RILL_EXIT_OK;
}

static int open_ledger(struct session *session, unsigned needs)
{
    const struct settings *settings = session->settings;
    struct rill_ledger_options options = {.url = settings->ledger,
                                          .confirmations = (uint32_t)settings->confirmations,
                                          .chain_id = settings->chain_id,
                                          .from_block = settings->contract_block};
    int code = parse_address(settings, "contract", settings->contract, options.contract);
    if (code == RILL_EXIT_OK && settings->hub_address != NULL)
        code = parse_address(settings, "hub-address", settings->hub_address, options.hub);
    if (code != RILL_EXIT_OK)
        return code;
    session->ledger = rill_ledger_new(session->base, &options);
    bool known = settings->chain_id != 0 && settings->hub_address != NULL;
    if ((needs & SESSION_OFFLINE) != 0 && known)
        return RILL_EXIT_OK;
    bool patient = (needs & SESSION_PATIENT) != 0 && known;
    if (!rill_ledger_wait(session->ledger, patient ? FIRST_LOOK_MS : CONNECT_TIMEOUT_MS)) {
        if (patient)
            return RILL_EXIT_OK;
        const char *trouble = rill_ledger_trouble(session->ledger);
        return command_fail(settings, RILL_EXIT_UNREACHABLE, "the ledger at %s cannot be used: %s",
                            settings->ledger, trouble[0] != '\0' ? trouble : "no answer");
    }
    return RILL_EXIT_OK;
}

/* "ADDRESS@HOST:PORT,…" */
static int parse_towers(const struct settings *settings, struct rill_options *options, char *hosts,
                        size_t size)
{
    if (settings->towers == NULL)
        return RILL_EXIT_OK;
    char *copy = xstrdup(settings->towers), *rest = copy, *entry;
    int code = RILL_EXIT_OK;
    while (code == RILL_EXIT_OK && (entry = strsep(&rest, ",")) != NULL) {
        char host[HOST_BYTES_MAX + 1];
        char *at = strchr(entry, '@');
        if (entry[0] == '\0')
            continue;
        if (options->tower_count == RILL_TOWERS_MAX) {
            code = command_fail(settings, RILL_EXIT_USAGE, "--towers names more than %d", RILL_TOWERS_MAX);
            break;
        }
        struct rill_tower *tower = &options->towers[options->tower_count];
        if (at != NULL)
            *at = '\0';
        if (at == NULL || !hex_decode(entry, tower->address, 20) ||
            !endpoint_split(at + 1, host, &tower->port)) {
            code = command_fail(settings, RILL_EXIT_USAGE,
                                "--towers wants ADDRESS@HOST:PORT, separated by commas");
            break;
        }
        char *kept = hosts + options->tower_count * (HOST_BYTES_MAX + 1);
        ensure((options->tower_count + 1) * (HOST_BYTES_MAX + 1) <= size);
        memcpy(kept, host, sizeof(host));
        tower->host = kept;
        options->tower_count++;
    }
    free(copy);
    return code;
}

static int parse_limit(const struct settings *settings, const char *name, const char *text, uint64_t *out)
{
    struct amount amount;
    if (text == NULL)
        return RILL_EXIT_OK;
    if (!amount_parse(text, 0, &amount))
        return command_fail(settings, RILL_EXIT_USAGE, "--%s '%s' is not a whole number of units", name,
                            text);
    *out = amount.units;
    return RILL_EXIT_OK;
}

static const struct rill_callbacks session_callbacks = {.ready = on_ready,
                                                        .offline = on_offline,
                                                        .secret = on_secret,
                                                        .paid = on_payment,
                                                        .failed = on_failed,
                                                        .returned = on_payment,
                                                        .received = on_received,
                                                        .settlement = on_settlement,
                                                        .open_refused = on_open_refused,
                                                        .closing = on_closing,
                                                        .recovered = on_recovered,
                                                        .trouble = on_trouble};

static int open_wallet(struct session *session, unsigned needs, bool recover,
                       const struct rill_callbacks *callbacks, void *context)
{
    const struct settings *settings = session->settings;
    char folder[1200], host[HOST_BYTES_MAX + 1], message[400];
    static char tower_hosts[RILL_TOWERS_MAX * (HOST_BYTES_MAX + 1)];
    struct rill_options options = {
        .ledger = session->ledger, .history_max = HISTORY_MAX, .recover = recover, .agent = "rill/0.1"};
    options.reveal_margin_s = settings->reveal_margin_s;
    command_path(settings, "journal", folder, sizeof(folder));
    options.folder = folder;
    memcpy(options.key, session->key.bytes, sizeof(options.key));
    int code = parse_towers(settings, &options, tower_hosts, sizeof(tower_hosts));
    if (code == RILL_EXIT_OK)
        code = parse_limit(settings, "max-unsecured", settings->max_unsecured, &options.max_unsecured);
    if (code == RILL_EXIT_OK)
        code = parse_limit(settings, "max-unsecured-per-payee", settings->max_unsecured_per_payee,
                           &options.max_unsecured_per_payee);
    if (code == RILL_EXIT_OK && !endpoint_split(settings->hub, host, &options.hub_port))
        code = command_fail(settings, RILL_EXIT_USAGE, "--hub '%s' is not HOST:PORT", settings->hub);
    if (code == RILL_EXIT_OK) {
        options.hub_host = (needs & SESSION_OFFLINE) != 0 ? NULL : host;
        session->wallet = rill_open(session->base, &options, callbacks, context, message, sizeof(message));
        if (session->wallet == NULL) {
            bool in_use = strstr(message, "already open in") != NULL;
            code = command_fail(settings, in_use ? RILL_EXIT_IN_USE : RILL_EXIT_FAILED, "%s%s", message,
                                in_use ? " (a running `rill listen` or rill-merchantd holds it)" : "");
        }
    }
    bytes_wipe(options.key, sizeof(options.key));
    return code;
}

static void on_signal(evutil_socket_t number, short what, void *argument)
{
    (void)number;
    (void)what;
    struct session *session = argument;
    session->interrupted = true;
    event_base_loopbreak(session->base);
}

static void watch_signals(struct session *session)
{
    static const int numbers[] = {SIGINT, SIGTERM};
    for (size_t i = 0; i < ARRAY_LENGTH(numbers); i++) {
        session->signals[i] = evsignal_new(session->base, numbers[i], on_signal, session);
        ensure(session->signals[i] != NULL && event_add(session->signals[i], NULL) == 0);
    }
    signal(SIGPIPE, SIG_IGN);
}

void session_start(struct session *session, const struct settings *settings)
{
    session->settings = settings;
    session->base = event_base_new();
    ensure(session->base != NULL);
    watch_signals(session);
}

int session_open(struct session *session, const struct settings *settings, unsigned needs, bool recover)
{
    return session_open_with(session, settings, needs, recover, &session_callbacks, session);
}

int session_open_with(struct session *session, const struct settings *settings, unsigned needs, bool recover,
                      const struct rill_callbacks *callbacks, void *context)
{
    memset(session, 0, sizeof(*session));
    session->settings = settings;
    if ((needs & SESSION_WALLET) != 0) {
        int code = command_key(settings, &session->key);
        if (code != RILL_EXIT_OK)
            return code;
        struct address self = secret_key_address(&session->key);
        memcpy(session->address, self.bytes, sizeof(session->address));
    }
    session_start(session, settings);
    int code = open_ledger(session, needs);
    session->follows_ledger = (needs & SESSION_OFFLINE) == 0;
    /* Before the wallet, which may call back as soon as the loop runs. */
    if (code == RILL_EXIT_OK && !assets_load(session))
        code = command_fail(settings, RILL_EXIT_FAILED, "%s", session->assets_trouble);
    if (code == RILL_EXIT_OK && (needs & SESSION_WALLET) != 0)
        code = open_wallet(session, needs, recover, callbacks, context);
    return code;
}

static bool closes_rest(struct session *session)
{
    return !rill_close_is_busy(session->wallet);
}

void session_close(struct session *session)
{
    if (session->base == NULL)
        return;
    /* Whatever the command was for: a close that needs an answer, or holds what is the wallet's, goes on. */
    if (session->follows_ledger && session->wallet != NULL && !closes_rest(session))
        (void)session_wait(session, closes_rest, CLOSE_STEP_MS, "a step of a close on the ledger");
    rill_close_handle(session->wallet);
    rill_ledger_free(session->ledger);
    for (size_t i = 0; i < ARRAY_LENGTH(session->signals); i++)
        if (session->signals[i] != NULL)
            event_free(session->signals[i]);
    /* What is left on the loop is the connections: their last bytes, and their goodbye. */
    uint64_t until = clock_monotonic_us() + GOODBYE_MS * 1000;
    while (clock_monotonic_us() < until && event_base_loop(session->base, EVLOOP_NONBLOCK) == 0)
        usleep(1000); /* allowed: the loop is run in between, bounded by `until` */
    event_base_free(session->base);
    bytes_wipe(&session->key, sizeof(session->key));
    session->base = NULL;
}

/* ---- waiting ---- */

static void wake(evutil_socket_t socket, short what, void *argument)
{
    (void)socket;
    (void)what;
    (void)argument; /* only to let event_base_loop return */
}

bool session_wait(struct session *session, bool (*done)(struct session *session), uint64_t timeout_ms,
                  const char *what)
{
    uint64_t start = clock_monotonic_us() / 1000, now = start;
    bool said = false;
    struct event *tick = event_new(session->base, -1, EV_PERSIST, wake, NULL);
    struct timeval every = {.tv_usec = 100000};
    ensure(tick != NULL && event_add(tick, &every) == 0);
    while (!done(session) && !session->interrupted && now - start < timeout_ms) {
        event_base_loop(session->base, EVLOOP_ONCE);
        now = clock_monotonic_us() / 1000;
        if (!said && now - start >= SAY_AFTER_MS && isatty(STDERR_FILENO) && !done(session)) {
            fprintf(stderr, "rill: waiting for %s …\n", what);
            said = true;
        }
    }
    event_free(tick);
    return done(session);
}

bool session_is_ready(struct session *session)
{
    return session->ready;
}

bool session_is_idle(struct session *session)
{
    return rill_is_idle(session->wallet);
}

int session_ready(struct session *session)
{
    if (session_wait(session, session_is_ready, REFUSED_TIMEOUT_MS, "the hub"))
        return RILL_EXIT_OK;
    /* Refused again and again is an answer; silence may be a slow network. */
    if (session->offline_reason[0] == '\0' && !session->interrupted &&
        session_wait(session, session_is_ready, CONNECT_TIMEOUT_MS - REFUSED_TIMEOUT_MS, "the hub"))
        return RILL_EXIT_OK;
    const char *trouble = rill_ledger_trouble(session->ledger);
    return command_fail(session->settings, RILL_EXIT_UNREACHABLE, "the hub at %s cannot be reached: %s",
                        session->settings->hub,
                        session->offline_reason[0] != '\0' ? session->offline_reason
                        : trouble[0] != '\0'               ? trouble
                                                           : "no answer yet");
}
