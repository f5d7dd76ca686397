/* The connections of a wallet: to its hub and its towers, made again with backoff whenever they are lost. */
#include <event2/event.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "crypto/hash.h"
#include "wallet/shell.h"

#define RETRY_FIRST_MS 250
#define RETRY_LAST_MS  30000
#define LASTED_MS      10000

/* ---- the hub's connection ---- */

/* A connection that did not last does not count as success: two wallets with one key, each replacing the other, would
 * otherwise never come to rest. */
static void retry_later(struct event *event, uint32_t *failures, uint64_t ready_ms)
{
    if (ready_ms != 0 && clock_monotonic_us() / 1000 - ready_ms >= LASTED_MS)
        *failures = 0;
    uint64_t wait_ms = (uint64_t)RETRY_FIRST_MS << (*failures < 7 ? *failures : 7);
    if (wait_ms > RETRY_LAST_MS)
        wait_ms = RETRY_LAST_MS;
    /* A little at random, so that a thousand wallets do not come back in one moment. */
    uint16_t spread;
    random_bytes(&spread, sizeof(spread));
    wait_ms += wait_ms * spread / UINT16_MAX / 4;
    (*failures)++;
    struct timeval wait = rill_timeval(wait_ms);
    event_add(event, &wait);
}

/* The link is closed already. */
void rill_wallet_lose_link(struct rill_wallet *wallet, const char *why)
{
    wallet->link = NULL;
    if (wallet->link_ready)
        wallet_unlinked(wallet->core);
    wallet->link_ready = false;
    retry_later(wallet->retry, &wallet->failures, wallet->ready_ms);
    wallet->ready_ms = 0;
    rill_wallet_run_soon(wallet);
    if (wallet->callbacks.offline != NULL)
        wallet->callbacks.offline(wallet->context, wallet, why);
}

static void on_ready(void *context, struct link *link, const struct address *peer,
                     const struct message *welcome)
{
    (void)peer;
    (void)link;
    struct rill_wallet *wallet = context;
    wallet->link_ready = true;
    wallet->generation++;
    wallet->ready_ms = clock_monotonic_us() / 1000;
    wallet_linked(wallet->core, welcome->welcome.terms, welcome->welcome.channels);
    rill_wallet_run_soon(wallet);
}

static void on_message(void *context, struct link *link, const struct message *message)
{
    (void)link;
    struct rill_wallet *wallet = context;
    wallet_message(wallet->core, message);
    rill_wallet_run_soon(wallet);
}

static void on_closed(void *context, struct link *link, enum link_closed why, const char *reason)
{
    (void)link;
    (void)why;
    struct rill_wallet *wallet = context;
    rill_wallet_enter(wallet);
    rill_wallet_lose_link(wallet, reason);
    (void)rill_wallet_leave(wallet);
}

static void connect_hub(struct rill_wallet *wallet)
{
    static const struct link_callbacks callbacks = {
        .ready = on_ready, .message = on_message, .closed = on_closed};
    if (wallet->link != NULL || wallet->hub_host == NULL || !rill_ledger_verified(wallet->ledger))
        return;
    struct domain domain = rill_ledger_domain(wallet->ledger);
    struct link_client_options options = {.host = wallet->hub_host,
                                          .port = wallet->hub_port,
                                          .key = wallet->key,
                                          .chain_id = domain.chain_id,
                                          .contract = domain.contract,
                                          .agent = wallet->agent};
    rill_ledger_hub(wallet->ledger, options.server.bytes);
    wallet->link = link_connect(wallet->base, &options, &callbacks, wallet);
    bytes_wipe(&options.key, sizeof(options.key));
}

static void on_retry(evutil_socket_t socket, short what, void *argument)
{
    (void)socket;
    (void)what;
    connect_hub(argument);
}

/* ---- towers' connections ---- */

static void on_tower_ready(void *context, struct link *link, const struct address *peer,
                           const struct message *welcome)
{
    (void)peer;
    (void)link;
    (void)welcome;
    struct tower_link *tower = context;
    tower->ready = true;
    tower->generation++;
    tower->ready_ms = clock_monotonic_us() / 1000;
    wallet_tower_linked(tower->wallet->core, tower->index);
    rill_wallet_run_soon(tower->wallet);
}

static void on_tower_message(void *context, struct link *link, const struct message *message)
{
    (void)link;
    struct tower_link *tower = context;
    wallet_tower_message(tower->wallet->core, tower->index, message);
    rill_wallet_run_soon(tower->wallet);
}

static void on_tower_closed(void *context, struct link *link, enum link_closed why, const char *reason)
{
    (void)link;
    (void)why;
    struct tower_link *tower = context;
    struct rill_wallet *wallet = tower->wallet;
    bool first = tower->failures == 0;
    tower->link = NULL;
    if (tower->ready)
        wallet_tower_unlinked(wallet->core, tower->index);
    tower->ready = false;
    retry_later(tower->retry, &tower->failures, tower->ready_ms);
    tower->ready_ms = 0;
    rill_wallet_run_soon(wallet);
    if (!first)
        return;
    char text[TEXT_BYTES_MAX];
    snprintf(text, sizeof(text), "the tower at %s is not connected: %s", tower->host, reason);
    rill_wallet_enter(wallet);
    rill_wallet_trouble(wallet, text);
    (void)rill_wallet_leave(wallet);
}

static void connect_tower(struct tower_link *tower)
{
    static const struct link_callbacks callbacks = {
        .ready = on_tower_ready, .message = on_tower_message, .closed = on_tower_closed};
    struct rill_wallet *wallet = tower->wallet;
    if (tower->link != NULL || !rill_ledger_verified(wallet->ledger))
        return;
    struct domain domain = rill_ledger_domain(wallet->ledger);
    struct link_client_options options = {.host = tower->host,
                                          .port = tower->port,
                                          .key = wallet->key,
                                          .chain_id = domain.chain_id,
                                          .contract = domain.contract,
                                          .server = tower->address,
                                          .tower = true,
                                          .agent = wallet->agent};
    tower->link = link_connect(wallet->base, &options, &callbacks, tower);
    bytes_wipe(&options.key, sizeof(options.key));
}

static void on_tower_retry(evutil_socket_t socket, short what, void *argument)
{
    (void)socket;
    (void)what;
    connect_tower(argument);
}

void rill_wallet_ledger_ready(struct rill_wallet *wallet)
{
    connect_hub(wallet);
    for (size_t i = 0; i < wallet->tower_count && wallet->hub_host != NULL; i++)
        connect_tower(&wallet->towers[i]);
}

/* ---- making and ending them ---- */

static struct event *timer(struct rill_wallet *wallet, event_callback_fn callback, void *argument)
{
    struct event *event = evtimer_new(wallet->base, callback, argument);
    ensure(event != NULL);
    return event;
}

void rill_wallet_make_links(struct rill_wallet *wallet, const struct rill_options *options)
{
    wallet->retry = timer(wallet, on_retry, wallet);
    wallet->tower_count = options->tower_count;
    for (size_t i = 0; i < options->tower_count; i++) {
        struct tower_link *tower = &wallet->towers[i];
        tower->wallet = wallet;
        tower->index = i;
        tower->host = xstrdup(options->towers[i].host);
        tower->port = options->towers[i].port;
        tower->address = rill_bytes_address(options->towers[i].address);
        tower->retry = timer(wallet, on_tower_retry, tower);
    }
}

void rill_wallet_free_links(struct rill_wallet *wallet)
{
    if (wallet->link != NULL)
        link_close(wallet->link);
    if (wallet->retry != NULL)
        event_free(wallet->retry);
    for (size_t i = 0; i < wallet->tower_count; i++) {
        if (wallet->towers[i].link != NULL)
            link_close(wallet->towers[i].link);
        event_free(wallet->towers[i].retry);
        free(wallet->towers[i].host);
    }
}
