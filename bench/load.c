#include "bench/load.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"

#define SETUP_TIMEOUT_S 60
#define DRAIN_TIMEOUT_S 30

struct flight {
    uint8_t id[16];
    uint64_t started_us;
    uint64_t payee;
};

struct bench_client {
    struct load *load;
    struct rill_wallet *wallet;
    struct flight *flights;
    uint32_t flight_count;
    bool asked, able;
    uint64_t paid, fees, received, start;
};

struct load {
    struct event_base *base;
    struct load_settings settings;
    struct bench_client *clients;
    uint64_t random, started_us, ended_us, deadline_us;
    uint32_t able, in_flight;
    bool running, drawing, draining, gave_up;
    uint32_t *latency_us;
    uint64_t paid, failed, fees, latency_capacity;
    struct event *watchdog, *progress;
    char trouble[512];
};

/* xorshift64*: the workload's own sequence, so that a seed gives the same one everywhere. */
static uint64_t draw(struct load *load)
{
    load->random ^= load->random >> 12;
    load->random ^= load->random << 25;
    load->random ^= load->random >> 27;
    return load->random * 0x2545f4914f6cdd1dull;
}

static void finish(struct load *load, const char *trouble)
{
    if (trouble != NULL && load->trouble[0] == '\0')
        snprintf(load->trouble, sizeof(load->trouble), "%s", trouble);
    load->gave_up = load->gave_up || trouble != NULL;
    event_base_loopbreak(load->base);
}

/* ---- paying ---- */

static void pay_one(struct bench_client *client)
{
    struct load *load = client->load;
    uint32_t self = (uint32_t)(client - load->clients);
    uint32_t payee = (uint32_t)(draw(load) % (load->settings.clients - 1));
    payee += payee >= self;
    struct rill_wallet *to = load->clients[payee].wallet;
    struct rill_request request = {.amount = load->settings.amount,
                                   .mode = load->settings.locked ? RILL_LOCKED : RILL_DIRECT};
    char text[RILL_INVOICE_TEXT_MAX];
    int code = rill_invoice_create(to, load->settings.asset, load->settings.amount, 3600, "", text,
                                   request.secret_hash);
    rill_address(to, request.payee);
    memcpy(request.asset, load->settings.asset, sizeof(request.asset));
    struct flight *flight = &client->flights[client->flight_count];
    if (code == 0) {
        *flight = (struct flight){.started_us = clock_monotonic_us(), .payee = payee};
        code = rill_pay(client->wallet, &request, flight->id);
    }
    if (code != 0) {
        char line[400];
        snprintf(line, sizeof(line), "a payment was refused: %.300s", rill_refusal(client->wallet));
        finish(load, line);
        return;
    }
    client->flight_count++;
    load->in_flight++;
}

static void keep_paying(struct bench_client *client)
{
    struct load *load = client->load;
    if (clock_monotonic_us() >= load->ended_us)
        load->drawing = false;
    while (load->drawing && !load->gave_up && client->flight_count < load->settings.window)
        pay_one(client);
    if (!load->drawing && load->in_flight == 0)
        finish(load, NULL);
}

static bool land(struct bench_client *client, const struct rill_payment *payment)
{
    struct load *load = client->load;
    for (uint32_t i = 0; i < client->flight_count; i++) {
        struct flight *flight = &client->flights[i];
        if (memcmp(flight->id, payment->id, sizeof(flight->id)) != 0)
            continue;
        if (load->paid < load->latency_capacity)
            load->latency_us[load->paid] = (uint32_t)(clock_monotonic_us() - flight->started_us);
        *flight = client->flights[--client->flight_count];
        load->in_flight--;
        return true;
    }
    return false;
}

static void on_paid(void *context, struct rill_wallet *wallet, const struct rill_payment *payment)
{
    struct bench_client *client = context;
    struct load *load = client->load;
    (void)wallet;
    if (!land(client, payment)) {
        finish(load, "a payment was reported twice");
        return;
    }
    load->paid++;
    load->fees += payment->fee;
    client->paid += payment->amount;
    client->fees += payment->fee;
    keep_paying(client);
}

static void on_failed(void *context, struct rill_wallet *wallet, const struct rill_payment *payment)
{
    struct bench_client *client = context;
    (void)wallet;
    (void)land(client, payment);
    if (client->load->failed++ == 0)
        log_warn("a payment failed with %s: %s", rill_code_name(payment->code),
                 rill_code_text(payment->code));
    keep_paying(client);
}

static void on_received(void *context, struct rill_wallet *wallet, const struct rill_payment *payment)
{
    struct bench_client *client = context;
    (void)wallet;
    client->received += payment->amount;
}

/* ---- setting up ---- */

static void look_at_room(struct bench_client *client)
{
    struct load *load = client->load;
    struct rill_balance balance;
    if (client->able || load->running || !rill_balance_of(client->wallet, load->settings.asset, &balance) ||
        !balance.synced)
        return;
    if (balance.inbound >= load->settings.inbound && balance.available > 0) {
        client->able = true;
        client->start = balance.balance;
        if (++load->able == load->settings.clients)
            finish(load, NULL);
    } else if (!client->asked && balance.inbound < load->settings.inbound) {
        client->asked = true;
        if (rill_open_request(client->wallet, load->settings.asset, load->settings.inbound) != 0)
            finish(load, rill_refusal(client->wallet));
    }
}

static void on_ready(void *context, struct rill_wallet *wallet)
{
    (void)wallet;
    look_at_room(context);
}

static void on_funds(void *context, struct rill_wallet *wallet, const uint8_t asset[20])
{
    (void)wallet;
    (void)asset;
    look_at_room(context);
}

static void on_trouble(void *context, struct rill_wallet *wallet, const char *text)
{
    struct bench_client *client = context;
    (void)wallet;
    snprintf(client->load->trouble, sizeof(client->load->trouble), "%s", text);
}

static void on_offline(void *context, struct rill_wallet *wallet, const char *reason)
{
    struct bench_client *client = context;
    (void)wallet;
    if (client->load->running)
        finish(client->load, reason);
}

static void on_watchdog(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    struct load *load = context;
    char line[512];
    if (load->running && !load->draining) {
        load->drawing = false; /* the time is over; the last ones come in */
        load->draining = true;
        const struct timeval drain = {DRAIN_TIMEOUT_S, 0};
        event_add(load->watchdog, &drain);
        if (load->in_flight == 0)
            finish(load, NULL);
        return;
    }
    if (load->running)
        snprintf(line, sizeof(line), "%u payments are still under way after %d s", load->in_flight,
                 DRAIN_TIMEOUT_S);
    else
        snprintf(line, sizeof(line), "only %u of %u clients got ready in %d s (%.300s)", load->able,
                 load->settings.clients, SETUP_TIMEOUT_S, load->trouble);
    load->trouble[0] = '\0';
    finish(load, line);
}

static void on_progress(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    const struct load *load = context;
    if (!isatty(STDERR_FILENO))
        return;
    if (load->running)
        fprintf(stderr, "\r%6.1f s  %10llu payments ",
                (double)(clock_monotonic_us() - load->started_us) / 1e6, (unsigned long long)load->paid);
    else
        fprintf(stderr, "\r%u of %u clients ready ", load->able, load->settings.clients);
}

static bool open_clients(struct load *load, struct rill_ledger *ledger, const uint8_t *keys, char *message,
                         size_t message_size)
{
    static const struct rill_callbacks callbacks = {.ready = on_ready,
                                                    .offline = on_offline,
                                                    .paid = on_paid,
                                                    .failed = on_failed,
                                                    .received = on_received,
                                                    .funds = on_funds,
                                                    .trouble = on_trouble};
    for (uint32_t i = 0; i < load->settings.clients; i++) {
        struct bench_client *client = &load->clients[i];
        struct rill_options options = {.ledger = ledger,
                                       .hub_host = load->settings.hub_host,
                                       .hub_port = load->settings.hub_port,
                                       .max_unsecured = RILL_UNLIMITED,
                                       .max_unsecured_per_payee = RILL_UNLIMITED,
                                       .agent = "rill-bench"};
        memcpy(options.key, keys + 32 * (size_t)i, 32);
        client->load = load;
        client->flights = xcalloc(load->settings.window, sizeof(struct flight));
        client->wallet = rill_open(load->base, &options, &callbacks, client, message, message_size);
        if (client->wallet == NULL)
            return false;
    }
    return true;
}

struct load *load_open(struct event_base *base, struct rill_ledger *ledger,
                       const struct load_settings *settings, const uint8_t *keys, char *message,
                       size_t message_size)
{
    struct load *load = xcalloc(1, sizeof(*load));
    load->base = base;
    load->settings = *settings;
    load->random = settings->seed * 2 + 1;
    load->clients = xcalloc(settings->clients, sizeof(*load->clients));
    load->latency_capacity = 1u << 24;
    load->latency_us = xcalloc(load->latency_capacity, sizeof(*load->latency_us));
    load->watchdog = event_new(base, -1, 0, on_watchdog, load);
    load->progress = event_new(base, -1, EV_PERSIST, on_progress, load);
    const struct timeval limit = {SETUP_TIMEOUT_S, 0}, often = {0, 500000};
    event_add(load->watchdog, &limit);
    event_add(load->progress, &often);
    if (!open_clients(load, ledger, keys, message, message_size)) {
        load_close(load);
        return NULL;
    }
    event_base_dispatch(base);
    event_del(load->watchdog);
    if (load->gave_up) {
        snprintf(message, message_size, "%s", load->trouble);
        load_close(load);
        return NULL;
    }
    return load;
}

static int by_value(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

static bool is_at_rest(const struct load *load)
{
    struct rill_balance balance;
    for (uint32_t i = 0; i < load->settings.clients; i++)
        if (!rill_is_idle(load->clients[i].wallet) ||
            !rill_balance_of(load->clients[i].wallet, load->settings.asset, &balance) || balance.locked > 0 ||
            balance.incoming > 0)
            return false;
    return true;
}

/* Receipts are in; the last unlocks and acknowledgements may still be on their way. */
static bool come_to_rest(struct load *load)
{
    const struct timeval moment = {0, 20000};
    for (unsigned turn = 0; turn < DRAIN_TIMEOUT_S * 50; turn++) {
        if (is_at_rest(load))
            return true;
        event_base_loopexit(load->base, &moment);
        event_base_dispatch(load->base);
    }
    return false;
}

bool load_run(struct load *load, struct load_figures *out, char *message, size_t message_size)
{
    const struct timeval limit = {(time_t)load->settings.seconds, 0};
    load->running = load->drawing = true;
    load->started_us = clock_monotonic_us();
    load->ended_us = load->started_us + load->settings.seconds * 1000000;
    event_add(load->watchdog, &limit);
    for (uint32_t i = 0; i < load->settings.clients && !load->gave_up; i++)
        keep_paying(&load->clients[i]);
    if (!load->gave_up)
        event_base_dispatch(load->base);
    event_del(load->watchdog);
    event_del(load->progress);
    uint64_t last_us = clock_monotonic_us();
    load->running = false;
    if (!load->gave_up && !come_to_rest(load))
        finish(load, "some updates were not acknowledged, or some locks not unlocked, in time");
    if (load->gave_up) {
        snprintf(message, message_size, "%s", load->trouble);
        return false;
    }
    uint64_t count = load->paid < load->latency_capacity ? load->paid : load->latency_capacity;
    qsort(load->latency_us, count, sizeof(*load->latency_us), by_value);
    *out = (struct load_figures){.seconds = (double)(last_us - load->started_us) / 1e6,
                                 .payments = load->paid,
                                 .failed = load->failed,
                                 .fees_units = load->fees};
    if (count > 0) {
        out->p50_us = load->latency_us[count / 2];
        out->p99_us = load->latency_us[count * 99 / 100];
        out->max_us = load->latency_us[count - 1];
    }
    return true;
}

bool load_check(const struct load *load, uint64_t *balances, char *message, size_t message_size)
{
    uint64_t start = 0, end = 0, paid = 0, received = 0;
    for (uint32_t i = 0; i < load->settings.clients; i++) {
        const struct bench_client *client = &load->clients[i];
        struct rill_balance balance = {0};
        if (!rill_balance_of(client->wallet, load->settings.asset, &balance) ||
            balance.balance != client->start - client->paid - client->fees + client->received) {
            snprintf(message, message_size, "client %u has %llu units, its payments say %llu", i,
                     (unsigned long long)balance.balance,
                     (unsigned long long)(client->start - client->paid - client->fees + client->received));
            return false;
        }
        start += client->start;
        end += balance.balance;
        paid += client->paid;
        received += client->received;
    }
    *balances = end;
    if (paid != received || start != end + load->fees) {
        snprintf(message, message_size, "paid %llu, received %llu; before %llu, after %llu and fees %llu",
                 (unsigned long long)paid, (unsigned long long)received, (unsigned long long)start,
                 (unsigned long long)end, (unsigned long long)load->fees);
        return false;
    }
    return true;
}

void load_close(struct load *load)
{
    for (uint32_t i = 0; i < load->settings.clients; i++) {
        rill_close_handle(load->clients[i].wallet);
        free(load->clients[i].flights);
    }
    event_free(load->watchdog);
    event_free(load->progress);
    free(load->clients);
    free(load->latency_us);
    free(load);
}
