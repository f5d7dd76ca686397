/* A real hub on a real node (anvil, with the contract's bytecode): deposits that a reorganisation takes before they
 * count, reorganisations too deep for it, a node that falls behind, a chain that is another one. */
#include "tests/e2e/wire_client.h"

#include "base/log.h"
#include "tests/support/anvil_node.h"
#include "tests/support/anvil_proxy.h"

#define DEPTH     "6" /* of the hub's confirmations */
#define DEPTH_N   6
#define PERIOD_S  4000
#define DEPOSIT   50000u
#define GENESIS_S "1700000000"

struct world {
    struct anvil node;
    struct proxy *proxy;
    struct hub_stage *stage;
    char state[160];
    uint64_t confirmations; /* the hub's */
};

/* The hub, and the test's own client, ask through the proxy. */
static struct hub_stage *hub_stage_on(struct world *world)
{
    struct hub_stage *stage = xcalloc(1, sizeof *stage);
    folder_make(stage->folder, sizeof stage->folder);
    stage->hub = key_of("end to end hub");
    stage->base = event_base_new();
    snprintf(stage->hub_folder, sizeof stage->hub_folder, "%s/hub", stage->folder);
    snprintf(stage->hub_log, sizeof stage->hub_log, "%s/hub.log", stage->folder);
    snprintf(stage->key_file, sizeof stage->key_file, "%s/hub.json", stage->folder);
    snprintf(stage->passphrase_file, sizeof stage->passphrase_file, "%s/hub.pass", stage->folder);
    snprintf(stage->port_file, sizeof stage->port_file, "%s/hub.ports", stage->folder);
    write_file(stage->passphrase_file, PASSPHRASE "\n");
    ensure(keystore_create(stage->key_file, PASSPHRASE, &stage->hub, 2) == KEYSTORE_OK);
    world->proxy = proxy_new(stage->base, world->node.port);
    snprintf(stage->url, sizeof stage->url, "%s", proxy_url(world->proxy));
    return stage;
}

/* The contract on the chain, the coin listed, money in the hub's pool; the hub not started. */
static struct world *world_new(void)
{
    struct world *world = xcalloc(1, sizeof *world);
    char folder[64];
    folder_make(folder, sizeof folder);
    snprintf(world->state, sizeof world->state, "%s/state.json", folder);
    const char *const flags[] = {"--dump-state", world->state, NULL};
    anvil_start(&world->node, flags);
    struct hub_stage *stage = world->stage = hub_stage_on(world);
    struct address hub = secret_key_address(&stage->hub);
    anvil_fund(&world->node, &hub, 1000);
    stage->contract = anvil_deploy(&world->node, &hub, PERIOD_S);
    address_text(&stage->contract, stage->contract_text);
    ledger_connect(stage);
    ledger_call_as(stage, &stage->hub, &(struct contract_call){.function = CONTRACT_LIST_ASSET, .unit = UNIT},
                   0);
    ledger_call_as(stage, &stage->hub,
                   &(struct contract_call){.function = CONTRACT_DEPOSIT_POOL, .amount = amount_of(1000000)},
                   1000000);
    return world;
}

static void world_free(struct world *world)
{
    struct hub_stage *stage = world->stage;
    process_end(&stage->hubd, SIGKILL);
    ledger_free(stage->ledger);
    proxy_free(world->proxy);
    event_base_dispatch(stage->base);
    event_base_free(stage->base);
    folder_remove(stage->folder);
    anvil_end(&world->node, SIGKILL);
    *strrchr(world->state, '/') = '\0';
    folder_remove(world->state);
    free(stage);
    free(world);
}

static bool is_calm(void *context)
{
    return proxy_under_way(context) == 0;
}

/* Nobody else asks the node anything while the test changes its chain. */
static void calm(struct world *world)
{
    assert_true(holds_in_time(world->stage, is_calm, world->proxy));
}

static void blocks(struct world *world, unsigned count)
{
    calm(world);
    anvil_mine(&world->node, count);
}

static bool hub_is_at_head(void *context)
{
    struct world *world = context;
    uint64_t height = anvil_height(&world->node);
    return hub_figure(world->stage, "block_confirmed") + world->confirmations >= height;
}

/* The hub has worked through the newest block. */
static void hub_catches_up(struct world *world)
{
    if (!holds_in_time(world->stage, hub_is_at_head, world))
        fail_with_log(world->stage, "the newest block");
}

static const char *const deep_flags[] = {"--confirmations", DEPTH, NULL};

/* The hub serves once it has seen all there is. */
static void start_hub(struct world *world, const char *const *flags)
{
    world->confirmations = flags == deep_flags ? DEPTH_N : 1;
    blocks(world, DEPTH_N + 1);
    hub_start(world->stage, flags);
}

/* ---- deposits that come and go ---- */

static size_t told_of(const struct wire_client *client, enum message_type type)
{
    size_t count = 0;
    for (size_t i = 0; i < client->seen_count; i++)
        count += !client->seen[i].is_operation && client->seen[i].message.type == type;
    return count;
}

static bool has_channel(void *context)
{
    const struct wire_client *client = context;
    return client->closed || client->channel != NULL;
}

static void a_deposit_taken_back_is_never_counted(void **state)
{
    (void)state;
    struct world *world = world_new();
    start_hub(world, deep_flags);
    for (unsigned depth = 1; depth <= 5; depth++) {
        char name[32];
        snprintf(name, sizeof name, "client %u", depth);
        struct wire_client *client = wire_new(world->stage, name);
        wire_connect(client); /* a stranger so far */
        wire_deposit(client, DEPOSIT);
        /* The deposit's block is the one before the newest. */
        for (unsigned more = 2; more < depth; more++)
            blocks(world, 1);
        hub_catches_up(world); /* seen, and young */
        calm(world);
        anvil_reorganise(&world->node, depth < 2 ? 2 : depth);
        blocks(world, DEPTH_N + 2);
        hub_catches_up(world);
        assert_int_equal(hub_figure(world->stage, "channels"), 0);
        assert_int_equal(told_of(client, MESSAGE_FUNDED) + told_of(client, MESSAGE_CHANNEL), 0);
        assert_null(client->channel); /* nothing to pay from */
        wire_leave(client);
        wire_connect(client);
        assert_null(client->channel);
        wire_free(client);
    }
    hub_stop(world->stage);
    world_free(world);
}

static void a_deposit_that_comes_back_counts_once(void **state)
{
    (void)state;
    struct world *world = world_new();
    start_hub(world, deep_flags);
    struct wire_client *client = wire_new(world->stage, "client");
    wire_connect(client);
    wire_deposit(client, DEPOSIT);
    hub_catches_up(world);
    calm(world);
    anvil_reorganise(&world->node, 2);
    blocks(world, 1);
    ledger_call_as(world->stage, &client->key,
                   &(struct contract_call){.function = CONTRACT_DEPOSIT,
                                           .key = client->channel_key,
                                           .amount = amount_of(DEPOSIT)},
                   DEPOSIT);
    blocks(world, DEPTH_N - 1);
    hub_catches_up(world);
    assert_int_equal(hub_figure(world->stage, "channels"), 0); /* one block is missing */
    blocks(world, 1);
    assert_true(holds_in_time(world->stage, has_channel, client) && !client->closed);
    blocks(world, 2 * DEPTH_N);
    hub_catches_up(world);
    assert_int_equal(hub_figure(world->stage, "channels"), 1);
    assert_int_equal(client->channel->funds.total.units, DEPOSIT);
    /* And the same after a restart. */
    wire_leave(client);
    hub_stop(world->stage);
    hub_start(world->stage, deep_flags);
    wire_connect(client);
    assert_int_equal(client->channel->funds.total.units, DEPOSIT);
    wire_free(client);
    hub_stop(world->stage);
    world_free(world);
}

/* ---- too deep ---- */

static bool hub_has_ended(void *context)
{
    return !hub_is_running(context);
}

static void a_hub_stops_when_what_it_counted_is_gone(void **state)
{
    (void)state;
    struct world *world = world_new();
    const char *const flags[] = {"--confirmations", "1", NULL};
    start_hub(world, flags);
    struct wire_client *client = wire_new(world->stage, "client");
    wire_deposit(client, DEPOSIT);
    wire_connect(client);
    if (!holds_in_time(world->stage, has_channel, client))
        fail_with_log(world->stage, "the channel");
    blocks(world, 1);
    hub_catches_up(world);
    calm(world);
    anvil_reorganise(&world->node, 4);
    blocks(world, 1);
    assert_true(holds_in_time(world->stage, hub_has_ended, world->stage));
    assert_int_equal(process_end(&world->stage->hubd, SIGTERM), 1);
    assert_true(file_says(world->stage->hub_log, "the ledger was reorganised below block"));
    assert_true(file_says(world->stage->hub_log, "deeper than --confirmations: stopping"));
    assert_true(file_says(world->stage->hub_log, "then start with more confirmations"));
    /* Nor does it start on another chain than the one it has read, until it is told to. */
    hub_launch(world->stage, flags);
    assert_true(holds_in_time(world->stage, hub_has_ended, world->stage));
    assert_int_equal(process_end(&world->stage->hubd, SIGTERM), 1);
    const char *const accepting[] = {"--confirmations", "1", "--accept-reorganisation", NULL};
    start_hub(world, accepting);
    blocks(world, 2);
    hub_catches_up(world);
    wire_free(client);
    world_free(world);
}

/* ---- nodes that are behind, and others ---- */

struct health {
    struct world *world;
    const char *words;
};

static bool health_says(void *context)
{
    const struct health *health = context;
    char *answer = http_ask(health->world->stage->http_port, "GET", "/healthz");
    bool says = strstr(answer, health->words) != NULL;
    free(answer);
    return says;
}

static void until_health_says(struct world *world, const char *words)
{
    struct health health = {world, words};
    if (!holds_in_time(world->stage, health_says, &health))
        fail_with_log(world->stage, words);
}

/* The operators' port of the newest start: it is open before the hub serves. */
static bool operators_port_is_known(void *context)
{
    struct world *world = context;
    unsigned port = 0;
    char *text = file_text(world->stage->hub_log), *at = text, *last = NULL;
    while ((at = strstr(at, "metrics on http://127.0.0.1:")) != NULL)
        last = at++;
    bool known = last != NULL && sscanf(last, "metrics on http://127.0.0.1:%u", &port) == 1 &&
                 port != world->stage->http_port;
    if (known)
        world->stage->http_port = (uint16_t)port;
    free(text);
    return known;
}

static void a_hub_waits_for_a_node_behind(void **state)
{
    (void)state;
    struct world *world = world_new();
    struct anvil behind;
    calm(world);
    anvil_end(&world->node, SIGINT); /* writes its state */
    const char *const load[] = {"--load-state", world->state, NULL};
    anvil_start(&world->node, load);
    anvil_start(&behind, load);
    proxy_port_set(world->proxy, world->node.port);
    start_hub(world, deep_flags);
    struct wire_client *client = wire_new(world->stage, "client");
    wire_deposit(client, DEPOSIT);
    blocks(world, DEPTH_N);
    hub_catches_up(world);
    proxy_port_set(world->proxy, behind.port);
    until_health_says(world, "behind block");
    until_health_says(world, " 503 ");
    proxy_port_set(world->proxy, world->node.port);
    until_health_says(world, "\"ledger\":\"\"");
    wire_connect(client);
    assert_int_equal(client->channel->funds.total.units, DEPOSIT);

    /* Restarted while the node is behind: not served before it has caught up. */
    wire_leave(client);
    hub_stop(world->stage);
    proxy_port_set(world->proxy, behind.port);
    hub_launch(world->stage, deep_flags);
    if (!holds_in_time(world->stage, operators_port_is_known, world))
        fail_with_log(world->stage, "the operators' port");
    until_health_says(world, "behind block");
    until_health_says(world, "\"serving\":false");
    assert_true(hub_is_running(world->stage));
    assert_false(file_says(world->stage->port_file, " "));
    proxy_port_set(world->proxy, world->node.port);
    hub_wait(world->stage);
    wire_connect(client);
    assert_int_equal(client->channel->funds.total.units, DEPOSIT);
    wire_free(client);
    hub_stop(world->stage);
    anvil_end(&behind, SIGKILL);
    world_free(world);
}

static void a_hub_believes_no_other_chain(void **state)
{
    (void)state;
    struct world *world = world_new();
    struct anvil other;
    const char *const flags[] = {"--timestamp", GENESIS_S, NULL};
    start_hub(world, deep_flags);
    anvil_start(&other, flags);
    proxy_port_set(world->proxy, other.port);
    until_health_says(world, "the node has another chain than before");
    until_health_says(world, " 503 ");
    assert_true(hub_is_running(world->stage));
    hub_stop(world->stage);
    /* At its start it finds no contract there. */
    hub_launch(world->stage, deep_flags);
    assert_true(holds_in_time(world->stage, hub_has_ended, world->stage));
    assert_int_equal(process_end(&world->stage->hubd, SIGTERM), 1);
    assert_true(file_says(world->stage->hub_log, "there is no Rill contract at"));
    anvil_end(&other, SIGKILL);
    world_free(world);
}

static bool log_names_chains(void *context)
{
    struct world *world = context;
    return file_says(world->stage->hub_log, "wrong chain: expected chain id 5, found chain id 31337");
}

static void a_hub_does_not_serve_on_the_wrong_chain(void **state)
{
    (void)state;
    struct world *world = world_new();
    const char *const flags[] = {"--chain-id", "5", NULL};
    hub_launch(world->stage, flags);
    if (!holds_in_time(world->stage, log_names_chains, world))
        fail_with_log(world->stage, "the chains' ids");
    assert_false(file_says(world->stage->port_file, " "));
    assert_int_equal(process_end(&world->stage->hubd, SIGTERM), 0);
    world_free(world);
}

int main(void)
{
    log_setup("test_manners_hub", LOG_ERROR, false);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_deposit_taken_back_is_never_counted),
        cmocka_unit_test(a_deposit_that_comes_back_counts_once),
        cmocka_unit_test(a_hub_stops_when_what_it_counted_is_gone),
        cmocka_unit_test(a_hub_waits_for_a_node_behind),
        cmocka_unit_test(a_hub_believes_no_other_chain),
        cmocka_unit_test(a_hub_does_not_serve_on_the_wrong_chain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
