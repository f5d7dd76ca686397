/* struct rill_ledger: one follower for any number of wallets.
 *
 *     asking ─chain id, hub(), challengePeriod()─▶ verified ─first wallet attached─▶ following
 *
 * Following starts at the first wallet's cursor. A wallet that comes later gets what the channels of its
 * address came to so far, if the story was followed from its beginning, and every event from then on.
 */
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "wallet/shell.h"

#define ASK_AGAIN_MS        1000
#define REGISTERED_KEPT_MAX 65536

/* A channel of the contract, whoever's, as confirmed. */
struct known_channel {
    struct hash id;
    struct channel_key key;
    struct channel_funds state;
    UT_hash_handle hh;
};

/* Whose channel an event is about. */
struct route {
    struct hash channel;
    struct rill_wallet *wallet;
    UT_hash_handle hh;
};

struct met_condition {
    struct contract_event event;
    struct met_condition *prev, *next;
};

struct rill_ledger {
    struct event_base *base;
    struct ledger *client;
    struct rill_ledger_options options;
    char *url;
    struct address contract, hub;
    uint64_t chain_id;
    struct domain domain;
    bool known;    /* chain and hub: told, or asked */
    bool verified; /* the node agrees */
    bool waiting;  /* rill_ledger_wait runs the loop */
    uint64_t challenge_period;
    unsigned asking;
    struct event *again;
    char wrong[200]; /* it is another ledger than expected: for good */

    bool following;
    bool from_beginning;
    bool has_head;
    struct ledger_head head;
    struct known_channel *channels;
    struct route *routes;
    struct rill_wallet *wallets; /* by address */
    struct met_condition *met;
    size_t met_count;
};

/* ---- who is it ---- */

static void ask(struct rill_ledger *ledger);

static void ask_again(evutil_socket_t socket, short what, void *argument)
{
    (void)socket;
    (void)what;
    ask(argument);
}

static void later(struct rill_ledger *ledger)
{
    struct timeval wait = {.tv_sec = ASK_AGAIN_MS / 1000, .tv_usec = (ASK_AGAIN_MS % 1000) * 1000};
    event_add(ledger->again, &wait);
}

static void judge(struct rill_ledger *ledger, const struct address *hub)
{
    uint64_t chain_id = ledger_chain_id(ledger->client);
    if (ledger->known && chain_id != ledger->chain_id)
        snprintf(ledger->wrong, sizeof(ledger->wrong), "the ledger at %s is chain %llu, expected %llu",
                 ledger->url, (unsigned long long)chain_id, (unsigned long long)ledger->chain_id);
    else if (!address_is_zero(&ledger->hub) && !address_equal(hub, &ledger->hub))
        snprintf(ledger->wrong, sizeof(ledger->wrong),
                 "the contract at the ledger %s belongs to another hub than expected", ledger->url);
    else if (address_is_zero(hub))
        snprintf(ledger->wrong, sizeof(ledger->wrong),
                 "there is no Rill contract at the given address on the ledger %s", ledger->url);
    if (ledger->wrong[0] != '\0')
        return;
    ledger->chain_id = chain_id;
    ledger->hub = *hub;
    ledger->domain = domain_make(chain_id, &ledger->contract);
    ledger->known = true;
}

static void all_answered(struct rill_ledger *ledger)
{
    if (ledger->verified || ledger->challenge_period == 0 || !ledger->known)
        return;
    ledger->verified = true;
    struct rill_wallet *wallet, *next;
    HASH_ITER(hh, ledger->wallets, wallet, next)
    {
        wallet_challenge_period(wallet->core, ledger->challenge_period);
        rill_wallet_ledger_ready(wallet);
    }
    if (ledger->options.ready != NULL)
        ledger->options.ready(ledger->options.context, ledger);
}

static void on_hub(void *context, enum ledger_error error, enum contract_error reverted, const uint8_t *data,
                   size_t length)
{
    (void)reverted;
    struct rill_ledger *ledger = context;
    struct address hub = ADDRESS_ZERO;
    if (error == LEDGER_STOPPED)
        return;
    ledger->asking--;
    if (error == LEDGER_WRONG_CHAIN) {
        snprintf(ledger->wrong, sizeof(ledger->wrong), "%s", ledger_trouble(ledger->client));
        return;
    }
    /* No contract there answers with nothing at all, or reverts. */
    bool answered = error == LEDGER_OK || error == LEDGER_REVERTED;
    if (!answered || (length >= 32 && !contract_decode_address(data, length, 0, &hub))) {
        later(ledger);
        return;
    }
    judge(ledger, &hub);
    if (ledger->wrong[0] == '\0')
        all_answered(ledger);
}

static void on_period(void *context, enum ledger_error error, enum contract_error reverted,
                      const uint8_t *data, size_t length)
{
    (void)reverted;
    struct rill_ledger *ledger = context;
    unsigned_wide seconds;
    if (error == LEDGER_STOPPED)
        return;
    ledger->asking--;
    if (error != LEDGER_OK || !contract_decode_word(data, length, 0, &seconds) || seconds == 0 ||
        seconds > UINT32_MAX) {
        later(ledger);
        return;
    }
    ledger->challenge_period = (uint64_t)seconds;
    all_answered(ledger);
}

static void ask(struct rill_ledger *ledger)
{
    if (ledger->verified || ledger->asking > 0 || ledger->wrong[0] != '\0')
        return;
    struct buffer data = {0};
    ledger->asking = 2;
    contract_encode_call(&data, &(struct contract_call){.function = CONTRACT_HUB});
    ledger_call(ledger->client, NULL, data.data, data.length, on_hub, ledger);
    buffer_clear(&data);
    contract_encode_call(&data, &(struct contract_call){.function = CONTRACT_CHALLENGE_PERIOD});
    ledger_call(ledger->client, NULL, data.data, data.length, on_period, ledger);
    buffer_free(&data);
}

struct rill_ledger *rill_ledger_new(struct event_base *base, const struct rill_ledger_options *options)
{
    struct rill_ledger *ledger = xcalloc(1, sizeof(*ledger));
    ledger->base = base;
    ledger->options = *options;
    ledger->url = xstrdup(options->url);
    ledger->contract = rill_bytes_address(options->contract);
    ledger->hub = rill_bytes_address(options->hub);
    ledger->chain_id = options->chain_id;
    ledger->known = options->chain_id != 0 && !address_is_zero(&ledger->hub);
    ledger->domain = domain_make(ledger->chain_id, &ledger->contract);
    ledger->client = ledger_new(base, &(struct ledger_options){.url = ledger->url,
                                                               .chain_id = options->chain_id,
                                                               .contract = ledger->contract,
                                                               .confirmations = options->confirmations,
                                                               .poll_ms = options->poll_ms});
    ledger->again = evtimer_new(base, ask_again, ledger);
    ensure(ledger->again != NULL);
    ask(ledger);
    return ledger;
}

void rill_ledger_free(struct rill_ledger *ledger)
{
    if (ledger == NULL)
        return;
    ensure(ledger->wallets == NULL);
    ledger_free(ledger->client);
    event_free(ledger->again);
    struct known_channel *channel, *next_channel;
    HASH_ITER(hh, ledger->channels, channel, next_channel)
    {
        HASH_DEL(ledger->channels, channel);
        free(channel);
    }
    struct route *route, *next_route;
    HASH_ITER(hh, ledger->routes, route, next_route)
    {
        HASH_DEL(ledger->routes, route);
        free(route);
    }
    struct met_condition *met, *next_met;
    DL_FOREACH_SAFE(ledger->met, met, next_met)
    {
        DL_DELETE(ledger->met, met);
        free(met);
    }
    free(ledger->url);
    free(ledger);
}

bool rill_ledger_is_ready(const struct rill_ledger *ledger)
{
    return ledger->verified;
}

static void time_is_up(evutil_socket_t socket, short what, void *argument)
{
    (void)socket;
    (void)what;
    ((struct rill_ledger *)argument)->waiting = false;
}

bool rill_ledger_wait(struct rill_ledger *ledger, uint32_t timeout_ms)
{
    struct event *timer = evtimer_new(ledger->base, time_is_up, ledger);
    struct timeval wait = {.tv_sec = timeout_ms / 1000, .tv_usec = (timeout_ms % 1000) * 1000};
    ensure(timer != NULL);
    event_add(timer, &wait);
    ledger->waiting = true;
    while (ledger->waiting && !ledger->verified && ledger->wrong[0] == '\0')
        event_base_loop(ledger->base, EVLOOP_ONCE);
    event_free(timer);
    return ledger->verified;
}

const char *rill_ledger_trouble(const struct rill_ledger *ledger)
{
    return ledger->wrong[0] != '\0' ? ledger->wrong : ledger_trouble(ledger->client);
}

uint64_t rill_ledger_chain_id(const struct rill_ledger *ledger)
{
    return ledger->chain_id;
}

void rill_ledger_hub(const struct rill_ledger *ledger, uint8_t out[20])
{
    memcpy(out, ledger->hub.bytes, 20);
}

/* While an old story is still being read, its time is not the present. */
uint64_t rill_ledger_time(const struct rill_ledger *ledger)
{
    bool present = ledger->has_head &&
                   ledger->head.confirmed_number + ledger->options.confirmations + 2 >= ledger->head.number;
    return present ? ledger->head.confirmed_time : 0;
}

uint32_t rill_ledger_confirmations(const struct rill_ledger *ledger)
{
    return ledger->options.confirmations;
}

struct ledger *rill_ledger_client(struct rill_ledger *ledger)
{
    return ledger->client;
}

uint64_t rill_ledger_challenge_period(const struct rill_ledger *ledger)
{
    return ledger->challenge_period;
}

struct domain rill_ledger_domain(const struct rill_ledger *ledger)
{
    return ledger->domain;
}

bool rill_ledger_verified(const struct rill_ledger *ledger)
{
    return ledger->verified;
}

/* ---- the story so far ---- */

static struct known_channel *known_channel(struct rill_ledger *ledger, const struct contract_event *event)
{
    struct known_channel *known;
    HASH_FIND(hh, ledger->channels, &event->channel, sizeof(event->channel), known);
    if (known == NULL && event->type == EVENT_OPENED) {
        known = xcalloc(1, sizeof(*known));
        known->id = event->channel;
        known->key = (struct channel_key){event->address, event->other, event->salt};
        HASH_ADD(hh, ledger->channels, id, sizeof(known->id), known);
    }
    return known;
}

static void remember_channel(struct rill_ledger *ledger, const struct contract_event *event)
{
    struct known_channel *known = known_channel(ledger, event);
    if (known != NULL && wallet_funds_apply(&known->state, event) == FUNDS_IMPOSSIBLE)
        log_error("the ledger node reports funds of a channel that cannot be: ignored");
}

static void remember_condition(struct rill_ledger *ledger, const struct contract_event *event)
{
    struct met_condition *met = xcalloc(1, sizeof(*met));
    met->event = *event;
    DL_APPEND(ledger->met, met);
    if (++ledger->met_count > REGISTERED_KEPT_MAX) {
        struct met_condition *oldest = ledger->met;
        DL_DELETE(ledger->met, oldest);
        free(oldest);
        ledger->met_count--;
    }
}

/* ---- to whom it matters ---- */

static void add_route(struct rill_ledger *ledger, const struct hash *channel, struct rill_wallet *wallet)
{
    struct route *route;
    HASH_FIND(hh, ledger->routes, channel, sizeof(*channel), route);
    if (route == NULL) {
        route = xcalloc(1, sizeof(*route));
        route->channel = *channel;
        HASH_ADD(hh, ledger->routes, channel, sizeof(route->channel), route);
    }
    route->wallet = wallet;
}

static struct rill_wallet *wallet_of(struct rill_ledger *ledger, const struct address *address)
{
    struct rill_wallet *wallet;
    HASH_FIND(hh, ledger->wallets, address, sizeof(*address), wallet);
    return wallet;
}

static struct rill_wallet *addressee(struct rill_ledger *ledger, const struct contract_event *event)
{
    if (event->type == EVENT_OPENED || event->type == EVENT_OWED_RECORDED) {
        struct rill_wallet *wallet = wallet_of(ledger, &event->address);
        if (wallet != NULL && event->type == EVENT_OPENED)
            add_route(ledger, &event->channel, wallet);
        return wallet;
    }
    struct route *route;
    HASH_FIND(hh, ledger->routes, &event->channel, sizeof(event->channel), route);
    return route != NULL ? route->wallet : NULL;
}

static void give(struct rill_wallet *wallet, const struct contract_event *event)
{
    wallet_event(wallet->core, event);
    rill_wallet_run_soon(wallet);
}

static void on_event(void *context, const struct contract_event *event)
{
    struct rill_ledger *ledger = context;
    if (event->confirmed && ledger->from_beginning) {
        if (event->type == EVENT_CONDITION_MET)
            remember_condition(ledger, event);
        else
            remember_channel(ledger, event);
    }
    struct rill_wallet *wallet, *next;
    if (event->type == EVENT_CONDITION_MET) {
        HASH_ITER(hh, ledger->wallets, wallet, next)
        {
            give(wallet, event);
        }
        return;
    }
    wallet = addressee(ledger, event);
    if (wallet != NULL)
        give(wallet, event);
}

static void on_head(void *context, const struct ledger_head *head)
{
    struct rill_ledger *ledger = context;
    ledger->head = *head;
    ledger->has_head = true;
    struct rill_wallet *wallet, *next;
    HASH_ITER(hh, ledger->wallets, wallet, next)
    {
        wallet_head(wallet->core, head);
        rill_wallet_run_soon(wallet);
    }
}

static void on_too_deep(void *context, uint64_t block)
{
    struct rill_ledger *ledger = context;
    char text[200];
    snprintf(
        text, sizeof(text),
        "the ledger was reorganised below block %llu, deeper than `confirmations`: look before you go on",
        (unsigned long long)block);
    struct rill_wallet *wallet, *next;
    HASH_ITER(hh, ledger->wallets, wallet, next)
    {
        rill_wallet_trouble_soon(wallet, text);
    }
}

/* ---- attaching ---- */

static void catch_up(struct rill_ledger *ledger, struct rill_wallet *wallet)
{
    struct known_channel *known, *next;
    HASH_ITER(hh, ledger->channels, known, next)
    {
        if (!address_equal(&known->key.client, &wallet->self))
            continue;
        add_route(ledger, &known->id, wallet);
        wallet_channel_state(wallet->core, &known->key, &known->state, ledger->head.confirmed_number);
    }
    const struct met_condition *met;
    DL_FOREACH(ledger->met, met)
    {
        wallet_event(wallet->core, &met->event);
    }
    wallet_head(wallet->core, &ledger->head);
}

static void follow(struct rill_ledger *ledger, uint64_t cursor)
{
    static const struct ledger_follow callbacks = {
        .event = on_event, .head = on_head, .too_deep = on_too_deep};
    ledger->following = true;
    ledger->from_beginning = cursor <= ledger->options.from_block;
    ledger_follow(ledger->client, cursor > ledger->options.from_block ? cursor : ledger->options.from_block,
                  &callbacks, ledger);
}

bool rill_ledger_attach(struct rill_ledger *ledger, struct rill_wallet *wallet, char *message,
                        size_t message_size)
{
    if (wallet_of(ledger, &wallet->self) != NULL) {
        snprintf(message, message_size, "a wallet with this key is open already");
        return false;
    }
    if (ledger->following && !ledger->from_beginning) {
        snprintf(message, message_size,
                 "the ledger is followed from a later block on: open wallets that share a ledger while it "
                 "has followed "
                 "from the beginning, or give each its own");
        return false;
    }
    HASH_ADD(hh, ledger->wallets, self, sizeof(wallet->self), wallet);
    struct wallet_channel_view channel;
    for (size_t i = 0; wallet_channel_at(wallet->core, i, &channel); i++)
        add_route(ledger, &channel.id, wallet);
    if (ledger->challenge_period != 0)
        wallet_challenge_period(wallet->core, ledger->challenge_period);
    if (!ledger->following)
        follow(ledger, wallet_cursor(wallet->core));
    else if (ledger->has_head)
        catch_up(ledger, wallet);
    return true;
}

void rill_ledger_detach(struct rill_ledger *ledger, struct rill_wallet *wallet)
{
    HASH_DEL(ledger->wallets, wallet);
    struct route *route, *next;
    HASH_ITER(hh, ledger->routes, route, next)
    {
        if (route->wallet == wallet) {
            HASH_DEL(ledger->routes, route);
            free(route);
        }
    }
}
