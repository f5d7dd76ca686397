/* What the operator sees, over HTTP on loopback: /metrics (Prometheus), /healthz, /balances,
 * POST /settle, which plans a batch now; and what has files of its own: http_*.c. */
#include <event2/buffer.h>
#include <event2/http.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "hub/http_job.h"
#include "hub/hub_state.h"

#define REQUEST_BYTES_MAX 4096

static void put(struct evbuffer *out, const char *name, const char *type, const char *help, uint64_t value)
{
    evbuffer_add_printf(out, "# HELP rill_%s %s\n# TYPE rill_%s %s\nrill_%s %" PRIu64 "\n", name, help, name,
                        type, name, value);
}

/* The sums of all shards; of maxima the largest. */
static struct shard_figures figures_of(struct hub *hub)
{
    struct shard_figures sum = {0};
    for (uint32_t i = 0; i < hub->shard_count; i++) {
        shard_ask(&hub->shards[i], NULL, NULL);
        struct shard_figures one = shard_figures_now(&hub->shards[i]);
        shard_figures_add(&sum, &one);
    }
    return sum;
}

static void put_process(struct evbuffer *out, const struct hub *hub, const struct shard_figures *figures)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    uint64_t cpu_us = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000u +
                      (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    put(out, "cpu_microseconds_total", "counter", "User and system time of this process.", cpu_us);
    put(out, "resident_peak_kib", "gauge", "Highest resident memory.", (uint64_t)usage.ru_maxrss);
    put(out, "uptime_seconds", "gauge", "Since start.", (clock_monotonic_us() - hub->started_us) / 1000000);
    put(out, "shards", "gauge", "Shards of this hub; the figures are sums over them.", hub->shard_count);
    const struct store_figures *store = &figures->store;
    put(out, "journal_batches_total", "counter", "Batches written.", store->batches);
    put(out, "journal_bytes_total", "counter", "Bytes written.", store->bytes);
    put(out, "journal_syncs_total", "counter", "fsyncs.", store->syncs);
    put(out, "journal_sync_microseconds_total", "counter", "Time in fsync.", store->sync_us_total);
    put(out, "journal_sync_microseconds_max", "gauge", "Longest fsync.", store->sync_us_max);
    put(out, "journal_checkpoints_total", "counter", "Foldings.", store->checkpoints);
    put(out, "journal_unfolded_bytes", "gauge", "Batches that no checkpoint has yet.", store->unfolded_bytes);
    put(out, "history_records", "gauge", "Records of past payments, about.", store->archive_records);
    put(out, "history_bytes", "gauge", "Their size on disk.", store->archive_bytes);
    put(out, "history_looks_total", "counter",
        "Payment ids that the filter in memory could not tell to be new: looked for on the disk.",
        store->index_looks);
    put(out, "outbox_bytes", "gauge", "Frames that wait for the disk.", figures->outbox_bytes);
    put(out, "connections", "gauge", "Connections, handshakes included.", figures->connections);
}

static void put_engine(struct evbuffer *out, const struct engine_figures *figures)
{
    put(out, "clients", "gauge", "Clients known.", figures->clients);
    put(out, "clients_online", "gauge", "Clients connected.", figures->clients_online);
    put(out, "channels", "gauge", "Channels known.", figures->channels);
    put(out, "channels_open", "gauge", "Channels open.", figures->channels_open);
    put(out, "payments_direct_total", "counter", "Direct payments taken.", figures->payments_direct);
    put(out, "payments_locked_total", "counter", "Locked payments taken.", figures->payments_locked);
    put(out, "payments_completed_total", "counter", "Payments with a receipt.", figures->payments_revealed);
    put(out, "payments_failed_total", "counter", "Locked payments failed.", figures->payments_failed);
    put(out, "payments_refunded_total", "counter", "Direct payments refunded.", figures->payments_refunded);
    put(out, "payments_kept", "gauge", "Payments in memory.", figures->payments_kept);
    put(out, "updates_received_total", "counter", "Updates accepted.", figures->updates_received);
    put(out, "updates_sent_total", "counter", "Updates signed.", figures->updates_sent);
    put(out, "updates_refused_total", "counter", "Updates that broke a rule.", figures->updates_refused);
    put(out, "updates_held_total", "counter", "Updates held back for a while.", figures->updates_held);
    put(out, "volume_units_total", "counter", "Sum of completed payments.", figures->volume_units);
    put(out, "fees_units_total", "counter", "Sum of their fees.", figures->fees_units);
    put(out, "batches_settled_total", "counter", "Batches on the ledger.", figures->batches_settled);
    put(out, "settle_items_total", "counter", "Items settled.", figures->settle_items);
    put(out, "settle_skipped_total", "counter", "Items or funds skipped.", figures->settle_skipped);
    put(out, "closes_seen_total", "counter", "Unilateral closes seen.", figures->closes_seen);
    put(out, "challenges_total", "counter", "Closes challenged by the hub itself.", figures->challenges);
    put(out, "block_confirmed", "gauge", "Newest confirmed block.", figures->block_confirmed);
}

static void put_of_pools(struct evbuffer *out, const char *name, const char *help,
                         const struct pool_foreseen *pools, size_t count,
                         uint64_t (*value)(const struct pool_foreseen *pool))
{
    evbuffer_add_printf(out, "# HELP rill_%s %s\n# TYPE rill_%s gauge\n", name, help, name);
    for (size_t i = 0; i < count; i++)
        evbuffer_add_printf(out, "rill_%s{asset=\"%s\"} %" PRIu64 "\n", name,
                            address_text(&pools[i].asset, (char[ADDRESS_TEXT_SIZE]){0}), value(&pools[i]));
}

static uint64_t pool_units(const struct pool_foreseen *pool)
{
    return pool->units;
}

static uint64_t pool_lacking(const struct pool_foreseen *pool)
{
    return pool->verdict.lacking;
}

static uint64_t pool_lasts_s(const struct pool_foreseen *pool)
{
    return pool->verdict.short_in_s == OUTLOOK_FOREVER ? OUTLOOK_DAY_S : pool->verdict.short_in_s;
}

static void put_pools(struct evbuffer *out, const struct hub *hub)
{
    struct pool_foreseen pools[ASSETS_MAX];
    size_t count = foresee(hub, pools);
    put_of_pools(out, "pool_units", "What the pool has, confirmed.", pools, count, pool_units);
    put_of_pools(out, "pool_lasts_seconds", "How long it lasts at the present demand; 86400: a day or more.",
                 pools, count, pool_lasts_s);
    put_of_pools(out, "pool_lacking_units", "What it lacks to last for a day.", pools, count, pool_lacking);
}

void http_reply(struct evhttp_request *request, int code, const char *type, struct evbuffer *body)
{
    evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type", type);
    evhttp_send_reply(request, code, code == 200 ? "OK" : code == 400 ? "Bad request" : "Not now", body);
    evbuffer_free(body);
}

static void on_metrics(struct evhttp_request *request, void *context)
{
    struct hub *hub = context;
    struct evbuffer *body = evbuffer_new();
    ensure(body != NULL);
    struct shard_figures figures = figures_of(hub);
    put_process(body, hub, &figures);
    put_engine(body, &figures.engine);
    put_pools(body, hub);
    http_reply(request, 200, "text/plain; version=0.0.4", body);
}

static void on_health(struct evhttp_request *request, void *context)
{
    struct hub *hub = context;
    struct evbuffer *body = evbuffer_new();
    ensure(body != NULL);
    const char *trouble = hub->ledger == NULL ? "" : ledger_trouble(hub->ledger);
    bool good = hub->serving && trouble[0] == '\0' && !hub->stopping;
    evbuffer_add_printf(body, "{\"serving\":%s,\"ledger\":\"", hub->serving ? "true" : "false");
    for (const char *at = trouble; *at != '\0'; at++)
        if (*at != '"' && *at != '\\' && (unsigned char)*at >= 0x20)
            evbuffer_add(body, at, 1);
    evbuffer_add_printf(body, "\"}\n");
    http_reply(request, good ? 200 : 503, "application/json", body);
}

/* ---- what shards are asked for ---- */

struct balances {
    struct engine_balance sums[ASSETS_MAX];
    size_t count;
};

static void add_balances(const struct engine *engine, void *context)
{
    struct balances *all = context;
    struct engine_balance own[ASSETS_MAX];
    size_t count = engine_balances(engine, own);
    for (size_t i = 0; i < count; i++) {
        size_t at = 0;
        while (at < all->count && !address_equal(&all->sums[at].asset, &own[i].asset))
            at++;
        ensure(at < ASSETS_MAX);
        if (at == all->count)
            all->sums[all->count++] = (struct engine_balance){.asset = own[i].asset};
        all->sums[at].channels += own[i].channels;
        all->sums[at].pool += own[i].pool;
        all->sums[at].clients += own[i].clients;
        all->sums[at].hub += own[i].hub;
    }
}

static void on_balances(struct evhttp_request *request, void *context)
{
    struct hub *hub = context;
    struct evbuffer *body = evbuffer_new();
    struct balances all = {.count = 0};
    struct pool_foreseen pools[ASSETS_MAX];
    ensure(body != NULL);
    for (uint32_t i = 0; i < hub->shard_count; i++)
        shard_ask(&hub->shards[i], add_balances, &all);
    size_t pool_count = foresee(hub, pools);
    evbuffer_add_printf(body, "[");
    for (size_t i = 0; i < all.count; i++) {
        evbuffer_add_printf(body,
                            "%s{\"asset\":\"%s\",\"pool\":%" PRId64 ",\"channels\":%" PRIu64
                            ",\"clients_units\":%" PRId64 ",\"hub_units\":%" PRId64,
                            i == 0 ? "" : ",", address_text(&all.sums[i].asset, (char[ADDRESS_TEXT_SIZE]){0}),
                            (int64_t)all.sums[i].pool, all.sums[i].channels, (int64_t)all.sums[i].clients,
                            (int64_t)all.sums[i].hub);
        for (size_t at = 0; at < pool_count; at++)
            if (address_equal(&pools[at].asset, &all.sums[i].asset))
                evbuffer_add_printf(body, ",\"pool_lasts_s\":%" PRIu64 ",\"pool_lacking\":%" PRIu64,
                                    pool_lasts_s(&pools[at]), pool_lacking(&pools[at]));
        evbuffer_add_printf(body, "}");
    }
    evbuffer_add_printf(body, "]\n");
    http_reply(request, hub->recovered < hub->shard_count ? 503 : 200, "application/json", body);
}

static void on_settle(struct evhttp_request *request, void *context)
{
    struct hub *hub = context;
    struct evbuffer *body = evbuffer_new();
    ensure(body != NULL);
    if (evhttp_request_get_command(request) != EVHTTP_REQ_POST) {
        evbuffer_add_printf(body, "{\"error\":\"POST /settle plans a batch\"}\n");
        http_reply(request, 405, "application/json", body);
        return;
    }
    if (hub->serving)
        hub_post_all(hub, MAIL_SETTLE, false);
    evbuffer_add_printf(body, "{\"planned\":%s}\n", hub->serving ? "true" : "false");
    http_reply(request, hub->serving ? 200 : 503, "application/json", body);
}

bool http_listen(struct hub *hub)
{
    char host[HOST_BYTES_MAX + 1];
    uint16_t port;
    if (!endpoint_split(hub->settings->http, host, &port)) {
        hub_fail(hub, "--http %s is not ADDRESS:PORT", hub->settings->http);
        return false;
    }
    hub->http = evhttp_new(hub->base);
    ensure(hub->http != NULL);
    evhttp_set_max_body_size(hub->http, REQUEST_BYTES_MAX);
    evhttp_set_max_headers_size(hub->http, REQUEST_BYTES_MAX);
    evhttp_set_timeout(hub->http, 10);
    evhttp_set_allowed_methods(hub->http, EVHTTP_REQ_GET | EVHTTP_REQ_POST);
    evhttp_set_cb(hub->http, "/metrics", on_metrics, hub);
    evhttp_set_cb(hub->http, "/healthz", on_health, hub);
    evhttp_set_cb(hub->http, "/settlements", http_on_settlements, hub);
    evhttp_set_cb(hub->http, "/balances", on_balances, hub);
    evhttp_set_cb(hub->http, "/settle", on_settle, hub);
    evhttp_set_cb(hub->http, "/close", http_on_close, hub);
    evhttp_set_cb(hub->http, "/tower-evidence", http_on_tower_evidence, hub);
    evhttp_set_cb(hub->http, "/history", http_on_history, hub);
    evhttp_set_cb(hub->http, "/prove", http_on_prove, hub);
    evhttp_set_cb(hub->http, "/liabilities", http_on_liabilities, hub);
    evhttp_set_cb(hub->http, "/liabilities/proof", http_on_liability_proof, hub);
    struct evhttp_bound_socket *bound = evhttp_bind_socket_with_handle(hub->http, host, port);
    if (bound == NULL) {
        hub_fail(hub, "%s:%u for --http cannot be had: is it in use? Choose another port", host, port);
        return false;
    }
    hub->http_port = endpoint_bound_port(evhttp_bound_socket_get_fd(bound));
    log_info("metrics on http://%s:%u/metrics", host, hub->http_port);
    return true;
}

void http_free(struct hub *hub)
{
    http_job_end(hub);
    if (hub->http != NULL)
        evhttp_free(hub->http);
}
