/* The people of the demo: forty wallets and four merchants, each with its own key, journal and connection. The fifth
 * merchant, the shop, is demo_shop.c's. */
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "bench/demo.h"

static const char *const merchant_names[DEMO_MERCHANTS] = {"grocer", "bakery", "pharmacy", "tailor", "kiosk"};

void demo_make_clients(struct demo *demo)
{
    for (size_t i = 0; i < DEMO_CLIENTS; i++) {
        struct demo_client *client = &demo->clients[i];
        client->demo = demo;
        client->index = i;
        client->merchant = i >= DEMO_WALLETS;
        client->deposits = i < DEMO_DEPOSITORS;
        if (i != DEMO_SHOP) { /* the shop's key is its own server's */
            client->key = secret_key_random();
            client->address = secret_key_address(&client->key);
        }
        if (client->merchant)
            snprintf(client->name, sizeof(client->name), "%s", merchant_names[i - DEMO_WALLETS]);
        else
            snprintf(client->name, sizeof(client->name), "wallet-%02zu", i + 1);
    }
}

/* ---- what the library tells ---- */

static void note(struct demo_client *client, const char *text)
{
    fprintf(client->demo->wallet_log, "%8.3f %s: %s\n", demo_seconds(client->demo), client->name, text);
    fflush(client->demo->wallet_log);
}

static void look_at_channel(struct demo_client *client)
{
    struct demo *demo = client->demo;
    struct rill_balance balance;
    bool any = rill_balance_of(client->wallet, demo->asset.bytes, &balance) && balance.synced;
    client->funded = any && (client->deposits ? balance.balance > 0 : balance.inbound > 0);
    if (client->funded || client->deposits || client->asked)
        return;
    client->asked = true;
    if (rill_open_request(client->wallet, demo->asset.bytes, client->room_units) != 0)
        demo_fail(demo, "%s may not ask for a channel: %s", client->name, rill_refusal(client->wallet));
}

static void on_ready(void *context, struct rill_wallet *wallet)
{
    struct demo_client *client = context;
    (void)wallet;
    client->ready = true;
    note(client, "in step with the hub");
    if (!client->funded)
        look_at_channel(client);
}

static void on_offline(void *context, struct rill_wallet *wallet, const char *reason)
{
    struct demo_client *client = context;
    (void)wallet;
    client->ready = false;
    note(client, reason);
    if (!client->demo->offline_expected && client->funded)
        demo_fail(client->demo, "%s lost the hub: %s", client->name, reason);
}

static void on_funds(void *context, struct rill_wallet *wallet, const uint8_t asset[20])
{
    struct demo_client *client = context;
    (void)wallet;
    (void)asset;
    if (!client->funded)
        look_at_channel(client);
}

static void on_paid(void *context, struct rill_wallet *wallet, const struct rill_payment *payment)
{
    (void)wallet;
    demo_payment_paid(context, payment);
}

static void on_failed(void *context, struct rill_wallet *wallet, const struct rill_payment *payment)
{
    (void)wallet;
    demo_payment_failed(context, payment);
}

static void on_received(void *context, struct rill_wallet *wallet, const struct rill_payment *payment)
{
    (void)wallet;
    demo_payment_received(context, payment);
}

static void on_settlement(void *context, struct rill_wallet *wallet, const struct rill_settlement *settlement)
{
    struct demo_client *client = context;
    (void)wallet;
    if (!settlement->settled)
        demo_fail(client->demo, "%s was not paid out: %s", client->name, rill_code_text(settlement->code));
    client->withdrawn += settlement->amount;
    client->withdrawing = false;
}

static void on_open_refused(void *context, struct rill_wallet *wallet, const uint8_t asset[20], int code,
                            const char *text)
{
    struct demo_client *client = context;
    (void)wallet;
    (void)asset;
    demo_fail(client->demo, "the hub opens no channel for %s: %s %s", client->name, rill_code_name(code),
              text);
}

static void on_trouble(void *context, struct rill_wallet *wallet, const char *text)
{
    struct demo_client *client = context;
    (void)wallet;
    client->troubles++;
    note(client, text);
}

bool demo_open_client(struct demo *demo, struct demo_client *client)
{
    static const struct rill_callbacks callbacks = {.ready = on_ready,
                                                    .offline = on_offline,
                                                    .paid = on_paid,
                                                    .failed = on_failed,
                                                    .received = on_received,
                                                    .funds = on_funds,
                                                    .settlement = on_settlement,
                                                    .open_refused = on_open_refused,
                                                    .trouble = on_trouble};
    char folder[DEMO_PATH], message[400];
    demo_path(demo, client->name, folder);
    struct rill_options options = {.folder = folder,
                                   .ledger = demo->followed,
                                   .hub_host = "127.0.0.1",
                                   .hub_port = demo->hub_port,
                                   .agent = "rill-demo"};
    memcpy(options.key, client->key.bytes, sizeof(options.key));
    /* Merchants cannot watch the ledger all night: the tower does it for them. */
    if (client->merchant) {
        options.towers[0] = (struct rill_tower){.host = "127.0.0.1", .port = demo->tower_port};
        memcpy(options.towers[0].address, demo->tower.bytes, sizeof(demo->tower.bytes));
        options.tower_count = 1;
    }
    client->wallet = rill_open(demo->base, &options, &callbacks, client, message, sizeof(message));
    bytes_wipe(options.key, sizeof(options.key));
    return client->wallet != NULL || demo_fail(demo, "%s cannot be opened: %s", client->name, message);
}

bool demo_all_ready(struct demo *demo, char *progress, size_t size)
{
    size_t on = 0, ready = 0;
    for (size_t i = 0; i < DEMO_CLIENTS; i++) {
        on += demo->clients[i].wallet != NULL;
        ready += demo->clients[i].wallet != NULL && demo->clients[i].ready;
    }
    snprintf(progress, size, "%zu of %zu wallets and merchants are connected", ready, on);
    return ready == on && demo_shop_is(demo, demo_shop_connected, progress, size);
}

static bool all_funded(struct demo *demo, char *progress, size_t size)
{
    size_t funded = 0;
    for (size_t i = 0; i < DEMO_CLIENTS; i++)
        funded += demo->clients[i].funded;
    snprintf(progress, size, "%zu of %d channels are open", funded, DEMO_CLIENTS);
    return funded == DEMO_CLIENTS;
}

static void on_deposited(void *context, struct rill_wallet *wallet, bool ok, const char *text)
{
    struct demo_client *client = context;
    (void)wallet;
    if (!ok)
        demo_fail(client->demo, "%s cannot deposit: %s", client->name, text);
}

bool demo_open_channels(struct demo *demo)
{
    for (size_t i = 0; i < DEMO_CLIENTS; i++) {
        struct demo_client *client = &demo->clients[i];
        if (i == DEMO_SHOP)
            continue;
        if (!demo_open_client(demo, client))
            return false;
        if (client->deposits)
            rill_deposit(client->wallet, demo->asset.bytes, client->deposit_units, on_deposited, client);
    }
    return demo_open_shop(demo) && demo_wait(demo, all_funded, 40000, "opening channels");
}

void demo_close_clients(struct demo *demo)
{
    for (size_t i = 0; i < DEMO_CLIENTS; i++) {
        struct demo_client *client = &demo->clients[i];
        rill_close_handle(client->wallet);
        client->wallet = NULL;
        free(client->queue);
        client->queue = NULL;
        bytes_wipe(&client->key, sizeof(client->key));
    }
}
