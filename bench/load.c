#include "bench/load_state.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"

#define CONNECTING_MAX 64 /* handshakes at once: the hub takes only so many from strangers */
#define POLL_MS        5
#define LEDGER_POLL_MS 250
#define LEAVE_MS       1200 /* links that were closed send their last bytes */

void load_fail(struct load *load, const char *format, ...)
{
    if (load->failed || load->leaving)
        return;
    load->failed = true;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(load->share->trouble, sizeof(load->share->trouble), format, arguments);
    va_end(arguments);
    atomic_store(&load->share->state, LOAD_FAILED);
    event_base_loopbreak(load->base);
}

static uint64_t no_registration(void *context, uint8_t kind, const struct hash *condition)
{
    (void)context;
    (void)kind;
    (void)condition;
    return 0;
}

struct channel_view load_view(const struct load *load)
{
    return (struct channel_view){.domain = &load->domain,
                                 .now = load->head.confirmed_time,
                                 .reveal_margin_s = load->terms.reveal_margin_s,
                                 .peer = load->settings.hub,
                                 .registered_at = no_registration};
}

/* ---- turns ---- */

void load_touch(struct player *player)
{
    struct load *load = player->load;
    if (player->touched)
        return;
    player->touched = true;
    player->next_touched = load->touched;
    if (load->touched == NULL)
        event_active(load->turn, EV_TIMEOUT, 0);
    load->touched = player;
}

static void on_turn(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    struct load *load = context;
    while (load->touched != NULL && !load->failed) {
        struct player *player = load->touched;
        load->touched = player->next_touched;
        player->touched = false;
        player_turn(player);
    }
}

static void on_arrival(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    plan_arrival(context);
}

/* ---- coming online ---- */

static void connect_some(struct load *load)
{
    while (load->connecting < CONNECTING_MAX && load->next_to_connect < load->settings.player_count) {
        load->connecting++;
        player_connect(&load->players[load->next_to_connect++]);
    }
}

void load_player_online(struct player *player)
{
    struct load *load = player->load;
    player->stage = PLAYER_ONLINE;
    load->connecting--;
    atomic_store(&load->share->online, ++load->online);
    if (load->online == load->settings.player_count)
        atomic_store(&load->share->state, LOAD_AT_REST);
    else
        connect_some(load);
}

/* ---- the ledger ---- */

static void on_event(void *context, const struct contract_event *event)
{
    struct load *load = context;
    struct player *player;
    if (!event->confirmed || event->type != EVENT_FUNDED)
        return;
    HASH_FIND(hh, load->by_channel, &event->channel, sizeof(event->channel), player);
    if (player == NULL)
        return;
    struct channel_funds funds = player->channel->funds;
    load->funded += funds.stage == STAGE_NONE;
    funds.stage = STAGE_OPEN;
    ensure(amount_add(funds.total, event->client_amount, &funds.total) &&
           amount_add(funds.total, event->hub_amount, &funds.total));
    funds.base += (int64_t)event->client_amount.units;
    player->deposit += event->client_amount.units;
    channel_set_funds(player->channel, &funds);
}

static void on_head(void *context, const struct ledger_head *head)
{
    struct load *load = context;
    load->head = *head;
    uint32_t awaited = load->settings.channels ? load->settings.player_count : 0;
    if (load->funded < awaited || load->domain.chain_id != 0)
        return;
    load->domain = domain_make(ledger_chain_id(load->ledger), &load->settings.contract);
    connect_some(load);
}

static void on_too_deep(void *context, uint64_t block)
{
    load_fail(context, "the ledger was reorganised below block %llu", (unsigned long long)block);
}

/* ---- rounds ---- */

static bool is_at_rest(const struct load *load)
{
    if (load->drawing || load->open_flights > 0 || load->touched != NULL)
        return false;
    for (uint32_t i = 0; i < load->settings.player_count; i++) {
        const struct channel *channel = load->players[i].channel;
        if (channel != NULL && channel->acknowledged != channel->streams[SIDE_CLIENT].proof.nonce)
            return false;
    }
    return true;
}

static void count_money(struct load *load)
{
    struct load_money money = {0};
    for (uint32_t i = 0; i < load->settings.player_count; i++) {
        const struct player *player = &load->players[i];
        if (player->channel == NULL)
            continue;
        wide balance = channel_balance(player->channel, SIDE_CLIENT);
        wide expected = (wide)player->deposit - player->paid - player->fees + player->received;
        if (balance != expected) {
            load_fail(load, "client %u has %lld units by its proofs and %lld by its payments", i,
                      (long long)balance, (long long)expected);
            return;
        }
        money.balance += balance;
        money.expected += expected;
        money.paid += player->paid;
        money.fees += player->fees;
        money.received += player->received;
        money.total += player->channel->funds.total.units;
    }
    load->share->money = money;
}

static void on_poll(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    struct load *load = context;
    struct load_share *share = load->share;
    uint32_t phase = atomic_load(&share->phase), round = atomic_load(&share->round);
    if (phase == LOAD_LEAVE) {
        event_base_loopbreak(load->base);
    } else if (load->online == load->settings.player_count && round != load->round) {
        load->round = round;
        load->plan = share->plan;
        atomic_store(&share->state, LOAD_PAYING);
        plan_begin(load);
    } else if (load->round != atomic_load(&share->round_done)) {
        if (phase == LOAD_DRAIN)
            load->drawing = false;
        if (is_at_rest(load)) {
            count_money(load);
            if (load->failed)
                return;
            atomic_store(&share->state, LOAD_AT_REST);
            atomic_store(&share->round_done, load->round);
        }
    }
}

/* ---- the process ---- */

static void make_players(struct load *load)
{
    const struct load_settings *settings = &load->settings;
    load->players = xcalloc(settings->player_count, sizeof(*load->players));
    for (uint32_t i = 0; i < settings->player_count; i++) {
        struct player *player = &load->players[i];
        player->load = load;
        player->who = &settings->players[i];
        player->address = secret_key_address(&player->who->key);
        if (!settings->channels)
            continue;
        player->channel = channel_new(&player->who->channel, SIDE_CLIENT, 0);
        HASH_ADD_KEYPTR(hh, load->by_channel, &player->channel->id, sizeof(player->channel->id), player);
    }
}

static void leave(struct load *load)
{
    load->leaving = true;
    for (uint32_t i = 0; i < load->settings.player_count; i++)
        if (load->players[i].link != NULL)
            link_close(load->players[i].link);
    event_del(load->poll);
    ledger_free(load->ledger);
    const struct timeval moment = {LEAVE_MS / 1000, LEAVE_MS % 1000 * 1000};
    event_base_loopexit(load->base, &moment);
    event_base_dispatch(load->base);
}

static void run(const struct load_settings *settings, struct load_share *share)
{
    static struct load load; /* ends with the process */
    load.settings = *settings;
    load.share = share;
    struct event_config *config = event_config_new();
    ensure(config != NULL && event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER) == 0 &&
           event_config_set_flag(config, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST) == 0);
    load.base = event_base_new_with_config(config);
    event_config_free(config);
    ensure(load.base != NULL);
    load.turn = event_new(load.base, -1, 0, on_turn, &load);
    load.arrival = event_new(load.base, -1, 0, on_arrival, &load);
    load.poll = event_new(load.base, -1, EV_PERSIST, on_poll, &load);
    const struct timeval often = {0, POLL_MS * 1000};
    event_add(load.poll, &often);
    load.decoder = decoder_new();
    load.pending = xcalloc(OPERATIONS_MAX, sizeof(*load.pending));
    load.revealed = xcalloc(OUTCOMES_PER_MESSAGE_MAX, sizeof(*load.revealed));
    flights_init(&load);
    make_players(&load);
    const struct ledger_options options = {.url = settings->ledger_url,
                                           .contract = settings->contract,
                                           .confirmations = 1,
                                           .poll_ms = LEDGER_POLL_MS};
    load.ledger = ledger_new(load.base, &options);
    static const struct ledger_follow callbacks = {on_event, on_head, on_too_deep};
    ledger_follow(load.ledger, settings->ledger_block, &callbacks, &load);
    event_base_dispatch(load.base);
    leave(&load);
}

struct load_share *load_share_new(void)
{
    struct load_share *share =
        mmap(NULL, sizeof(struct load_share), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ensure(share != MAP_FAILED);
    return share;
}

pid_t load_start(const struct load_settings *settings, struct load_share *share)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid != 0)
        return pid < 0 ? 0 : pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGINT, SIG_IGN); /* a person at the terminal means the bench, which ends this one */
    signal(SIGTERM, SIG_DFL);
    run(settings, share);
    _exit(0);
}
