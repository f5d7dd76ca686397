/* After the day: hub, tower, ledger and the main shop go on for whoever wants to try them by hand, with a customer's wallet
 * that can pay. Where they are stands in FOLDER/env, which a shell reads, while they run.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ensure.h"
#include "bench/demo.h"

#define POOL_COINS     "2000" /* the day leaves the hub little to open channels with */
#define SHOP_ROOM      (100 * DEMO_COIN)
#define CUSTOMER_COINS 50u
#define CUSTOMER_UNITS (CUSTOMER_COINS * DEMO_COIN)
#define CUSTOMER       "Ada"
#define ENV_FILE       "env"

/* ---- opening ---- */

static bool shop_can_be_paid(struct demo *demo, const struct demo_shop_balance *balance)
{
    return demo_shop_connected(demo, balance) && balance->inbound >= SHOP_ROOM;
}

static bool shop_is_open(struct demo *demo, char *progress, size_t size)
{
    return demo_shop_is(demo, shop_can_be_paid, progress, size);
}

static bool fill_pool(struct demo *demo)
{
    const char *const words[] = {"ledger", "pool", "deposit", POOL_COINS, NULL};
    json_t *answer = demo_command(demo, words);
    json_decref(answer);
    return answer != NULL;
}

static bool open_customer(struct demo *demo)
{
    struct address address;
    char amount[AMOUNT_TEXT_SIZE];
    const char *const words[] = {"deposit", amount_text(amount_of(CUSTOMER_UNITS), DEMO_DECIMALS, amount),
                                 NULL};
    if (!demo_make_wallet(demo, DEMO_HOME, &address) || !demo_give(demo, &address, CUSTOMER_UNITS))
        return false;
    json_t *answer = demo_command_at(demo, "rill", DEMO_HOME, words);
    json_decref(answer);
    return answer != NULL;
}

/* The day's hub and shop were set for forty customers and for batches on demand. */
static bool restart_for_stay(struct demo *demo)
{
    demo->staying = true;
    return demo_stop(demo, &demo->shop.child) && demo_stop(demo, &demo->hubd) && demo_start_hub(demo) &&
           fill_pool(demo) && demo_shop_room(demo, SHOP_ROOM) && demo_start_shop(demo);
}

/* ---- saying where ---- */

struct place {
    char home[DEMO_PATH], shop_home[DEMO_PATH], passphrase[DEMO_PATH], env[DEMO_PATH];
    char contract[ADDRESS_TEXT_SIZE], tower[ADDRESS_TEXT_SIZE];
};

static bool find_place(struct demo *demo, struct place *place)
{
    char path[DEMO_PATH], *folder = realpath(demo->folder, NULL);
    if (folder == NULL)
        return demo_fail(demo, "%s: %s", demo->folder, strerror(errno));
    snprintf(place->home, sizeof(place->home), "%.900s/%s", folder, DEMO_HOME);
    snprintf(place->shop_home, sizeof(place->shop_home), "%.900s/%s", folder, demo->clients[DEMO_SHOP].name);
    snprintf(place->passphrase, sizeof(place->passphrase), "%.900s/passphrase", folder);
    snprintf(place->env, sizeof(place->env), "%s", demo_path(demo, ENV_FILE, path));
    address_text(&demo->contract, place->contract);
    address_text(&demo->tower, place->tower);
    free(folder);
    return true;
}

/* 'it'\''s': one word for every shell. */
static void put_variable(FILE *file, const char *name, const char *value)
{
    fprintf(file, "export %s='", name);
    for (; *value != '\0'; value++)
        fprintf(file, *value == '\'' ? "'\\''" : "%c", *value);
    fputs("'\n", file);
}

static void put_address(FILE *file, const char *name, const char *before, uint16_t port)
{
    char text[128];
    snprintf(text, sizeof(text), "%s127.0.0.1:%u", before, port);
    put_variable(file, name, text);
}

static void put_variables(const struct demo *demo, const struct place *place, FILE *file)
{
    char tower[ADDRESS_TEXT_SIZE + 1];
    snprintf(tower, sizeof(tower), "%s@", place->tower);
    fprintf(file, "# What rill-demo --stay runs, while it runs; it ends with it.\n");
    put_address(file, "SHOP", "http://", demo->shop.port);
    put_variable(file, "KEY", demo->shop.key);
    fprintf(file, "# The same for bin/rill merchant webhooks.\n");
    put_address(file, "RILL_URL", "http://", demo->shop.port);
    put_variable(file, "RILL_API_KEY", demo->shop.key);
    fprintf(file, "# For bin/rill: the wallet of " CUSTOMER ", a customer.\n");
    put_variable(file, "RILL_HOME", place->home);
    put_variable(file, "RILL_PASSPHRASE_FILE", place->passphrase);
    fprintf(file, "# For wallets of your own: bin/rill init --home FOLDER\n");
    put_address(file, "RILL_HUB", "", demo->hub_port);
    put_address(file, "RILL_HTTP", "", demo->hub_http_port);
    put_address(file, "RILL_HUB_HTTP", "", demo->hub_http_port);
    put_variable(file, "RILL_LEDGER", demo->ledger_url);
    put_variable(file, "RILL_CONTRACT", place->contract);
    put_variable(file, "RILL_CONFIRMATIONS", "1");
    put_address(file, "RILL_TOWERS", tower, demo->tower_port);
}

/* Whole or not there: somebody may wait for it. It has an API key. */
static bool write_variables(struct demo *demo, const struct place *place)
{
    char part[DEMO_PATH + 8];
    snprintf(part, sizeof(part), "%s.part", place->env);
    FILE *file = fopen(part, "we");
    bool written = file != NULL && fchmod(fileno(file), 0600) == 0;
    if (written)
        put_variables(demo, place, file);
    written = written && ferror(file) == 0;
    if (file != NULL)
        written = fclose(file) == 0 && written;
    return (written && rename(part, place->env) == 0) ||
           demo_fail(demo, "%s cannot be written: %s", place->env, strerror(errno));
}

static void tell(const struct demo *demo, const struct place *place)
{
    FILE *story = demo->story;
    fprintf(
        story,
        "\nThe market stays open until Ctrl-C. Go on in another terminal, as docs/merchants.md says:\n\n");
    fprintf(story, "    . %s\n", place->env);
    fprintf(
        story,
        "    curl -s $SHOP/v1/invoices -H \"Authorization: Bearer $KEY\" \\\n"
        "        -H 'Content-Type: application/json' -d '{\"amount\":\"2.50\",\"memo\":\"two coffees\"}'\n");
    fprintf(story, "    bin/rill pay rill:…    # the invoice's \"text\"\n\n");
    fprintf(story, "shop        http://127.0.0.1:%u (its till: /till; its API: /openapi.json), --home %s\n",
            demo->shop.port, place->shop_home);
    fprintf(story, "API key     %s (read, invoice, payout)\n", demo->shop.key);
    fprintf(story, "customer    --home %s --passphrase-file %s: %u %s in her channel\n", place->home,
            place->passphrase, CUSTOMER_COINS, DEMO_SYMBOL);
    fprintf(story, "hub         127.0.0.1:%u, for its operator http://127.0.0.1:%u\n", demo->hub_port,
            demo->hub_http_port);
    fprintf(story, "tower       %s@127.0.0.1:%u\n", place->tower, demo->tower_port);
    fprintf(story, "ledger      %s, contract %s\n\n", demo->ledger_url, place->contract);
    fprintf(story, "ready: %s says the same as variables\n", place->env);
    fflush(story);
}

/* ---- staying ---- */

static bool wait_for_leave(struct demo *demo)
{
    while (!demo->leave)
        if (!demo_processes_live(demo) || event_base_loop(demo->base, EVLOOP_ONCE) != 0)
            return demo_fail(demo, "the event loop has nothing left to wait for");
    return true;
}

bool demo_stay(struct demo *demo)
{
    struct place place;
    if (!demo_processes_live(demo) || !find_place(demo, &place))
        return false;
    demo_say(demo, "everybody goes home; hub and shop start once more, for you, and %s opens a wallet",
             CUSTOMER);
    demo_go_home(demo);
    if (!restart_for_stay(demo) || !open_customer(demo) ||
        !demo_wait(demo, shop_is_open, 40000, "the shop's server") || !write_variables(demo, &place))
        return false;
    demo->market_is_open = true;
    bool good = demo_write_figures(demo);
    if (good) {
        fprintf(demo->story, "demo: ok\n");
        tell(demo, &place);
        good = wait_for_leave(demo);
    }
    remove(place.env); /* nobody shall be led to ports that are somebody else's by then */
    if (good)
        demo_say(demo, "the market closes");
    return good;
}
