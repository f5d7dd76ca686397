/* The hub as its operator meets it: what cannot run says why in one line and ends with the right exit code; what can be
 * waited for is waited for; ledgers and disks that go away while it runs. */
#include "tests/e2e/wire_client.h"

#include <fcntl.h>
#include <jansson.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "store/store.h"

struct world {
    struct hub_stage *stage;
    char folder[160]; /* a fresh data folder and log for each test */
    unsigned tests;
};

static int world_open(void **state)
{
    struct world *world = xcalloc(1, sizeof *world);
    world->stage = stage_open(NULL);
    *state = world;
    return 0;
}

static int world_close(void **state)
{
    struct world *world = *state;
    stage_close(world->stage);
    free(world);
    return 0;
}

static int fresh_hub(void **state)
{
    struct world *world = *state;
    struct hub_stage *stage = world->stage;
    world->tests++;
    snprintf(stage->hub_folder, sizeof stage->hub_folder, "%s/hub-%u", stage->folder, world->tests);
    snprintf(stage->hub_log, sizeof stage->hub_log, "%s/hub-%u.log", stage->folder, world->tests);
    return 0;
}

static int no_hub(void **state)
{
    struct world *world = *state;
    process_end(&world->stage->hubd, SIGKILL);
    return 0;
}

/* ---- what cannot run ---- */

static size_t count_of(const char *text, const char *words)
{
    size_t count = 0;
    for (const char *at = strstr(text, words); at != NULL; at = strstr(at + 1, words))
        count++;
    return count;
}

static bool hub_has_ended(void *context)
{
    return !hub_is_running(context);
}

/* Starts the hub with these flags over the usual ones; it must end by itself with this code, after one line that says
 * these words. Wrong usage is one line in all, anything later one line of level error. */
static void refuses(struct world *world, const char *const *flags, int code, const char *words)
{
    struct hub_stage *stage = world->stage;
    remove(stage->hub_log);
    hub_launch(stage, flags);
    if (!holds_in_time(stage, hub_has_ended, stage))
        fail_with_log(stage, words);
    int ended = process_end(&stage->hubd, 0);
    char *text = file_text(stage->hub_log);
    size_t errors =
        code == 2 && strstr(text, " error ") == NULL ? count_of(text, "\n") : count_of(text, " error ");
    if (ended != code || strstr(text, words) == NULL || errors != 1)
        fail_msg("exit %d, not %d with '%s' in one line:\n%s", ended, code, words, text);
    free(text);
}

#define REFUSES(world, code, words, ...) refuses(world, (const char *const[]){__VA_ARGS__, NULL}, code, words)

static void test_wrong_flags(void **state)
{
    struct world *world = *state;
    REFUSES(world, 2, "--listen", "--lissten", "127.0.0.1:0");
    REFUSES(world, 2, "--fee-ppm", "--fee-pm", "3");
    REFUSES(world, 2, "from 0 to 10000", "--confirmations", "10001");
    REFUSES(world, 2, "from 0 to 10000", "--confirmations", "three");
    REFUSES(world, 2, "from 0 to 10000", "--confirmations", "-1");
    REFUSES(world, 2, "--poll-ms", "--poll-ms");
    REFUSES(world, 2, "none of debug|info|warn|error", "--log-level", "loud");
    REFUSES(world, 2, "word", "word");
    REFUSES(world, 2, "--min-lock", "--min-lock", "10", "--max-lock", "9");
    REFUSES(world, 2, "--reveal-margin-s", "--reveal-margin-s", "300");
    REFUSES(world, 2, "--tower-address", "--tower", "127.0.0.1:1");
    REFUSES(world, 2, "--contract", "--contract", "0x1234");
    REFUSES(world, 2, "nowhere.conf", "--config", "/nowhere.conf");
    REFUSES(world, 1, "ADDRESS:PORT", "--http", "here");
}

static void test_help_and_version(void **state)
{
    struct world *world = *state;
    struct process process;
    char path[256], line[256];
    const char *const help[] = {process_path("rill-hubd", path, sizeof path), "--help", NULL};
    const char *const version[] = {path, "--version", NULL};
    (void)world;
    assert_true(process_start(&process, help, ""));
    assert_true(process_line(&process, "  --settle-window-s SECONDS", line, sizeof line, PATIENCE_MS));
    assert_true(process_line(&process, "A flag wins", line, sizeof line, PATIENCE_MS));
    assert_int_equal(process_end(&process, 0), 0);
    assert_true(process_start(&process, version, ""));
    assert_true(process_line(&process, "rill-hubd ", line, sizeof line, PATIENCE_MS));
    assert_int_equal(process_end(&process, 0), 0);
}

static void test_keys_and_passphrases(void **state)
{
    struct world *world = *state;
    struct hub_stage *stage = world->stage;
    char wrong[160], stranger[160], broken[160];
    struct secret_key key = key_of("not the hub");
    snprintf(wrong, sizeof wrong, "%s/wrong.pass", stage->folder);
    snprintf(stranger, sizeof stranger, "%s/stranger.json", stage->folder);
    snprintf(broken, sizeof broken, "%s/broken.json", stage->folder);
    write_file(wrong, "not it\n");
    write_file(broken, "{\"version\":3");
    ensure(keystore_create(stranger, PASSPHRASE, &key, 2) == KEYSTORE_OK);
    REFUSES(world, 1, "/nowhere.json", "--key-file", "/nowhere.json");
    REFUSES(world, 1, "broken.json", "--key-file", broken);
    REFUSES(world, 1, "passphrase", "--passphrase-file", wrong);
    REFUSES(world, 1, "/nowhere.pass", "--passphrase-file", "/nowhere.pass");
    REFUSES(world, 1, "the contract belongs to hub", "--key-file", stranger);
}

static void test_ports_that_are_taken(void **state)
{
    struct world *world = *state;
    char taken[64];
    snprintf(taken, sizeof taken, "127.0.0.1:%s", world->stage->ledger_port);
    REFUSES(world, 1, world->stage->ledger_port, "--http", taken);
    REFUSES(world, 1, world->stage->ledger_port, "--listen", taken, "--shards", "1");
    REFUSES(world, 1, "192.0.2.1", "--listen", "192.0.2.1:0"); /* an address of no interface here */
}

static void test_folders_that_cannot_be_used(void **state)
{
    struct world *world = *state;
    struct hub_stage *stage = world->stage;
    char inside_a_file[160], journal[200], taken[128];
    snprintf(inside_a_file, sizeof inside_a_file, "%s/data", stage->passphrase_file);
    REFUSES(world, 1, inside_a_file, "--data", inside_a_file);
    REFUSES(world, 1, "/proc/none", "--data", "/proc/none");
    snprintf(journal, sizeof journal, "%s/journal", stage->hub_folder);
    folder_remove(stage->hub_folder); /* an earlier attempt has made it */
    ensure(mkdir(stage->hub_folder, 0700) == 0);
    write_file(journal, "not a journal\n");
    REFUSES(world, 1, journal, "--log-level", "info");
    remove(journal);
    hub_start(stage, NULL);
    struct process first = stage->hubd;
    snprintf(taken, sizeof taken, "%s", stage->hub_folder);
    snprintf(stage->hub_log, sizeof stage->hub_log, "%s/second.log", stage->folder);
    REFUSES(world, 1, "already open", "--data", taken);
    stage->hubd = first;
    hub_stop(stage);
}

static void test_a_contract_that_is_none(void **state)
{
    struct world *world = *state;
    REFUSES(world, 1, "no Rill contract", "--contract", "0x00000000000000000000000000000000000000ff");
}

/* What a hub wrote for one chain is not taken for another's. */
static void test_a_journal_of_another_chain(void **state)
{
    struct world *world = *state;
    struct hub_stage *stage = world->stage;
    struct process other;
    char path[256], folder[128], hub[ADDRESS_TEXT_SIZE], line[256], url[64];
    struct address address = secret_key_address(&stage->hub);
    hub_start(stage, NULL);
    hub_stop(stage);
    snprintf(folder, sizeof folder, "%s/other-ledger", stage->folder);
    const char *const argv[] = {process_path("rill-ledgerd", path, sizeof path),
                                "--folder",
                                folder,
                                "--port",
                                "0",
                                "--hub",
                                address_text(&address, hub),
                                "--chain-id",
                                "4242",
                                NULL};
    assert_true(process_start(&other, argv, stage->ledger_log));
    assert_true(process_line(&other, "listening on", line, sizeof line, PATIENCE_MS));
    assert_int_equal(sscanf(line, "listening on %63s", url), 1);
    REFUSES(world, 1, "journal", "--ledger", url);
    process_end(&other, SIGTERM);
}

/* ---- ledgers that are away, or wrong ---- */

struct log_wait {
    struct hub_stage *stage;
    const char *words;
};

static bool log_says(void *context)
{
    const struct log_wait *wait = context;
    return !hub_is_running(wait->stage) || file_says(wait->stage->hub_log, wait->words);
}

static void until_log_says(struct hub_stage *stage, const char *words)
{
    struct log_wait wait = {stage, words};
    if (!holds_in_time(stage, log_says, &wait) || !file_says(stage->hub_log, words))
        fail_with_log(stage, words);
}

/* The operator's port is up before the ledger is: it stands in the log. */
static uint16_t http_port_of(const struct hub_stage *stage)
{
    unsigned port = 0;
    char *text = file_text(stage->hub_log);
    const char *at = strstr(text, "metrics on http://127.0.0.1:");
    if (at == NULL || sscanf(at, "metrics on http://127.0.0.1:%u", &port) != 1)
        fail_msg("no port in: %s", text);
    free(text);
    return (uint16_t)port;
}

static void expect_answer(uint16_t port, const char *method, const char *path, int status, const char *words)
{
    char head[16], *answer = http_ask(port, method, path);
    snprintf(head, sizeof head, " %d ", status);
    if (strstr(answer, head) == NULL || strstr(answer, words) == NULL)
        fail_msg("%s %s: not %d with '%s' but: %s", method, path, status, words, answer);
    free(answer);
}

static void test_a_ledger_on_another_chain(void **state)
{
    struct world *world = *state;
    struct hub_stage *stage = world->stage;
    const char *const flags[] = {"--chain-id", "5", NULL};
    hub_launch(stage, flags);
    until_log_says(stage, "trying again");
    assert_true(file_says(stage->hub_log, "chain"));
    uint16_t port = http_port_of(stage);
    expect_answer(port, "GET", "/healthz", 503, "\"serving\":false");
    expect_answer(port, "GET", "/balances", 503, "");
    expect_answer(port, "POST", "/settle", 503, "{\"planned\":false}");
    expect_answer(port, "GET", "/metrics", 200, "rill_uptime_seconds");
    assert_int_equal(process_end(&stage->hubd, SIGTERM), 0);
}

static void test_a_ledger_that_is_down_at_the_start(void **state)
{
    struct world *world = *state;
    struct hub_stage *stage = world->stage;
    process_end(&stage->ledgerd, SIGTERM);
    hub_launch(stage, NULL);
    until_log_says(stage, "trying again");
    assert_true(file_says(stage->hub_log, stage->url));
    expect_answer(http_port_of(stage), "GET", "/healthz", 503, "\"serving\":false");
    assert_true(hub_is_running(stage));
    ledger_start(stage);
    hub_wait(stage);
    expect_answer(stage->http_port, "GET", "/healthz", 200, "{\"serving\":true,\"ledger\":\"\"}");
    hub_stop(stage);
}

/* ---- two clients that pay each other ---- */

static const struct hash no_condition = {{7}};

static struct wire_client *client_with_money(struct hub_stage *stage, const char *name)
{
    struct wire_client *client = wire_new(stage, name);
    wire_deposit(client, 50000);
    struct fund fund = {client->channel_key, amount_of(5000)};
    ledger_call_as(
        stage, &stage->hub,
        &(struct contract_call){.function = CONTRACT_SETTLE_BATCH, .funds = &fund, .fund_count = 1}, 0);
    mine(stage);
    return client;
}

static bool has_room(void *context)
{
    const struct wire_client *client = context;
    return client->closed || (client->in_step && client->channel->funds.total.units == 55000);
}

static void pays(struct wire_client *payer, struct wire_client *payee, uint64_t units)
{
    struct operation pay = {.type = OPERATION_PAY,
                            .id = wire_id(payer),
                            .peer = payee->address,
                            .amount = amount_of(units),
                            .fee = fee_of(payer, units),
                            .expiry = payer->stage->now + 3600,
                            .condition = no_condition};
    struct channel_view view = view_of(payer);
    struct buffer body = {0};
    assert_int_equal(channel_add(payer->channel, &view, &pay, NULL), CODE_OK);
    body_encode(&body, &pay, 1);
    wire_send_kept(payer,
                   channel_seal(payer->channel, &payer->stage->domain, &payer->key, body.data, body.length));
    buffer_free(&body);
    struct payment_id id = payment_id_of_payee(&payer->channel->id, &pay.id);
    assert_int_equal(wire_operation(payee, OPERATION_PAY, &id)->operation.amount.units, units);
    wire_settle_down(payer);
}

static bool health_is_bad(void *context)
{
    struct hub_stage *stage = context;
    char *answer = http_ask(stage->http_port, "GET", "/healthz");
    bool bad = strstr(answer, " 503 ") != NULL;
    free(answer);
    return bad;
}

static bool health_is_good(void *context)
{
    return !health_is_bad(context);
}

static bool settled_came(void *context)
{
    const struct wire_client *client = context;
    for (size_t i = 0; i < client->seen_count; i++)
        if (!client->seen[i].is_operation && client->seen[i].message.type == MESSAGE_SETTLED)
            return true;
    return client->closed;
}

/* Its ledger node dies while it runs: payments go on, health says so, and a settlement that was signed meanwhile goes
 * through when the node is back. */
static void test_a_ledger_killed_while_the_hub_runs(void **state)
{
    struct world *world = *state;
    struct hub_stage *stage = world->stage;
    const char *const flags[] = {"--settle-collect-ms", "200", "--base-fee", "2", NULL};
    hub_start(stage, flags);
    struct wire_client *payer = client_with_money(stage, "payer one"),
                       *payee = client_with_money(stage, "payee one");
    wire_connect(payer);
    wire_connect(payee);
    assert_true(holds_in_time(stage, has_room, payer) && holds_in_time(stage, has_room, payee));
    (void)block_time(stage);
    pays(payer, payee, 100);
    struct message request = {.type = MESSAGE_SETTLE_REQUEST};
    request.settle_request.channel = payer->channel->id;
    request.settle_request.amount = amount_of(700);
    link_send(payer->link, &request);
    assert_int_equal(process_end(&stage->ledgerd, SIGKILL), -SIGKILL);
    pays(payer, payee, 101);
    if (!holds_in_time(stage, health_is_bad, stage))
        fail_with_log(stage, "health that says the ledger is away");
    pays(payer, payee, 102);
    expect_answer(stage->http_port, "POST", "/settle", 200, "{\"planned\":true}");
    const struct seen *seen = wire_expect(payer, MESSAGE_SETTLE_PROPOSE);
    struct settlement proposal = {.seq = seen->message.settle_propose.seq,
                                  .client_out = seen->message.settle_propose.client_out,
                                  .hub_out = seen->message.settle_propose.hub_out,
                                  .deadline = seen->message.settle_propose.deadline};
    struct message answer = {.type = MESSAGE_SETTLE_SIGN};
    struct channel_view view = view_of(payer);
    assert_int_equal(channel_settle_sign(payer->channel, &view, &proposal, amount_of(700), false,
                                         payer->terms.settle_window_s, &payer->key,
                                         &answer.settle_sign.signature),
                     CODE_OK);
    answer.settle_sign.channel = payer->channel->id;
    answer.settle_sign.seq = proposal.seq;
    link_send(payer->link, &answer);
    pays(payer, payee, 103);
    ledger_start(stage);
    if (!holds_in_time(stage, health_is_good, stage))
        fail_with_log(stage, "health after the ledger is back");
    uint64_t end_us = clock_monotonic_us() + PATIENCE_MS * 1000ull;
    for (unsigned turns = 0; !settled_came(payer) && clock_monotonic_us() < end_us; turns++) {
        if (turns % 50 == 49)
            expect_answer(stage->http_port, "POST", "/settle", 200, "");
        mine(stage);
        turn(stage);
    }
    assert_int_equal(wire_expect(payer, MESSAGE_SETTLED)->message.settled.outcome, 0);
    pays(payer, payee, 104);
    wire_free(payer);
    wire_free(payee);
    hub_stop(stage);
}

/* ---- stopping ---- */

static void test_signals_stop_it_cleanly(void **state)
{
    struct world *world = *state;
    struct hub_stage *stage = world->stage;
    hub_start(stage, NULL);
    struct wire_client *client = wire_new(stage, "someone");
    wire_connect(client);
    assert_int_equal(kill(stage->hubd.pid, SIGTERM), 0);
    wire_expect_closed(client, LINK_CLOSED_ERROR, "STOPPING");
    assert_int_equal(process_end(&stage->hubd, SIGTERM), 0); /* a second one changes nothing */
    assert_true(file_says(stage->hub_log, "SIGTERM: stopping"));
    assert_false(file_says(stage->hub_log, " error "));
    hub_start(stage, NULL);
    assert_int_equal(process_end(&stage->hubd, SIGINT), 0);
    wire_free(client);
}

/* ---- what the operator reads ---- */

static json_t *json_answer(struct hub_stage *stage, const char *path)
{
    char *answer = http_ask(stage->http_port, "GET", path);
    const char *body = strstr(answer, "\r\n\r\n");
    json_error_t error;
    json_t *value = body == NULL ? NULL : json_loads(body + 4, 0, &error);
    if (value == NULL)
        fail_msg("%s is not JSON: %s", path, answer);
    free(answer);
    return value;
}

static json_int_t member(json_t *object, const char *name)
{
    json_t *value = json_object_get(object, name);
    if (!json_is_integer(value))
        fail_msg("no number '%s'", name);
    return json_integer_value(value);
}

static void test_what_the_operator_reads(void **state)
{
    struct world *world = *state;
    struct hub_stage *stage = world->stage;
    hub_start(stage, NULL);
    struct wire_client *payer = client_with_money(stage, "payer two"),
                       *payee = client_with_money(stage, "payee two");
    wire_connect(payer);
    wire_connect(payee);
    assert_true(holds_in_time(stage, has_room, payer) && holds_in_time(stage, has_room, payee));
    (void)block_time(stage);
    json_t *before = json_answer(stage, "/balances");
    pays(payer, payee, 1000);
    json_t *after = json_answer(stage, "/balances");
    assert_int_equal(json_array_size(after), 1);
    json_t *was = json_array_get(before, 0), *is = json_array_get(after, 0);
    assert_string_equal(json_string_value(json_object_get(is, "asset")),
                        "0x0000000000000000000000000000000000000000");
    /* The fee, 1 + 0.1 %, is the hub's now; all else is where it was. */
    assert_int_equal(member(is, "hub_units"), member(was, "hub_units") + 2);
    assert_int_equal(member(is, "clients_units"), member(was, "clients_units") - 2);
    assert_int_equal(member(is, "pool"), member(was, "pool"));
    json_decref(before);
    json_decref(after);
    json_t *settlements = json_answer(stage, "/settlements");
    assert_true(json_is_array(settlements));
    json_decref(settlements);
    assert_int_equal(hub_figure(stage, "clients_online"), 2);
    assert_int_equal(hub_figure(stage, "payments_direct_total"), 1);
    assert_int_equal(hub_figure(stage, "updates_received_total"), 1);
    assert_true(hub_figure(stage, "journal_syncs_total") > 0);
    expect_answer(stage->http_port, "GET", "/settle", 405, "POST /settle");
    expect_answer(stage->http_port, "GET", "/other", 404, "");
    expect_answer(stage->http_port, "PUT", "/metrics", 501, "");
    /* A request whose head never ends is cut off. */
    char longest[8192];
    memset(longest, 'x', sizeof longest - 1);
    longest[0] = '/';
    longest[sizeof longest - 1] = '\0';
    char *answer = http_ask(stage->http_port, "GET", longest);
    assert_null(strstr(answer, " 200 "));
    free(answer);
    expect_answer(stage->http_port, "GET", "/healthz", 200, "\"serving\":true");
    wire_free(payer);
    wire_free(payee);
    hub_stop(stage);
}

/* What GET /history says of a client's only payment, as text that the caller frees. */
static char *past_payment(struct hub_stage *stage, const struct wire_client *client, const char *direction)
{
    char path[128], text[ADDRESS_TEXT_SIZE];
    snprintf(path, sizeof path, "/history?client=%s", address_text(&client->address, text));
    json_t *answer = json_answer(stage, path), *payments = json_object_get(answer, "payments");
    assert_int_equal(json_array_size(payments), 1);
    json_t *payment = json_array_get(payments, 0);
    assert_int_equal(member(payment, "amount"), 1234);
    assert_string_equal(json_string_value(json_object_get(payment, "direction")), direction);
    assert_true(json_is_null(json_object_get(answer, "next")));
    char *dump = json_dumps(payment, JSON_SORT_KEYS);
    json_decref(answer);
    return dump;
}

/* The payment has left the hub's memory, and the batch that says so is durable. */
static bool is_past(void *context)
{
    const struct wire_client *client = context;
    char path[128], text[ADDRESS_TEXT_SIZE];
    snprintf(path, sizeof path, "/history?client=%s", address_text(&client->address, text));
    char *answer = http_ask(client->stage->http_port, "GET", path);
    bool found = strstr(answer, "\"direction\"") != NULL;
    free(answer);
    return found;
}

static void test_past_payments_can_be_looked_up(void **state)
{
    struct world *world = *state;
    struct hub_stage *stage = world->stage;
    hub_start(stage, NULL);
    struct wire_client *payer = client_with_money(stage, "payer of the past"),
                       *payee = client_with_money(stage, "payee of the past");
    wire_connect(payer);
    wire_connect(payee);
    assert_true(holds_in_time(stage, has_room, payer) && holds_in_time(stage, has_room, payee));
    (void)block_time(stage);
    pays(payer, payee, 1234);
    advance(stage, 2 * 86400 + 60);
    assert_true(holds_in_time(stage, is_past, payer));
    assert_int_equal(hub_figure(stage, "payments_kept"), 0);
    char *out = past_payment(stage, payer, "out"), *in = past_payment(stage, payee, "in");
    hub_kill(stage);
    hub_start(stage, NULL);
    char *out_again = past_payment(stage, payer, "out"), *in_again = past_payment(stage, payee, "in");
    assert_string_equal(out, out_again);
    assert_string_equal(in, in_again);
    free(out);
    free(in);
    free(out_again);
    free(in_again);
    expect_answer(stage->http_port, "GET", "/history", 400, "client=0x");
    expect_answer(stage->http_port, "GET",
                  "/history?client=0x00000000000000000000000000000000000000aa&limit=5", 200,
                  "\"payments\":[]");
    wire_free(payer);
    wire_free(payee);
    hub_stop(stage);
}

static void test_the_log_as_json(void **state)
{
    struct world *world = *state;
    struct hub_stage *stage = world->stage;
    const char *const flags[] = {"--log-format", "json", NULL};
    hub_start(stage, flags);
    hub_stop(stage);
    char *text = file_text(stage->hub_log), *rest = text, *line;
    size_t count = 0;
    while ((line = strsep(&rest, "\n")) != NULL && *line != '\0') {
        json_t *entry = json_loads(line, 0, NULL);
        assert_non_null(json_string_value(json_object_get(entry, "level")));
        assert_string_equal(json_string_value(json_object_get(entry, "program")), "rill-hubd");
        json_decref(entry);
        count++;
    }
    assert_true(count >= 4);
    free(text);
}

static void test_settings_from_file_and_environment(void **state)
{
    struct world *world = *state;
    struct hub_stage *stage = world->stage;
    char config[160];
    snprintf(config, sizeof config, "%s/hub.conf", stage->folder);
    write_file(config, "# the hub\nbase-fee = 5\nfee-ppm = 7 # of a million\nmin-lock = 11\n");
    const char *const flags[] = {"--config", config, "--min-lock", "12", NULL};
    setenv("RILL_HUBD_FEE_PPM", "8", 1);
    hub_start(stage, flags);
    unsetenv("RILL_HUBD_FEE_PPM");
    struct wire_client *client = wire_new(stage, "reader");
    wire_connect(client);
    assert_int_equal(client->terms.assets[0].base_fee.units, 5);  /* file */
    assert_int_equal(client->terms.assets[0].fee_ppm, 8);         /* environment over file */
    assert_int_equal(client->terms.assets[0].min_lock.units, 12); /* flag over all */
    wire_free(client);
    hub_stop(stage);
    write_file(config, "base-fee = 5\nbase-fie = 6\n");
    REFUSES(world, 2, "base-fie", "--config", config);
}

/* ---- a disk that is full ---- */

/* The journal's file may grow no further: the write fails as on a full disk. Nothing that was not durable is answered;
 * when there is room again, the hub goes on from what was. */
static void test_a_disk_that_fills_up(void **state)
{
    struct world *world = *state;
    struct hub_stage *stage = world->stage;
    struct rlimit full = {1, 1};
    char said[16384] = "";
    /* Its log goes into a pipe, which no limit of a file's size stops. */
    assert_int_equal(mkfifo(stage->hub_log, 0600), 0);
    int log = open(stage->hub_log, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    assert_true(log >= 0);
    signal(SIGXFSZ, SIG_IGN); /* the hub inherits it: a write beyond the limit fails with EFBIG */
    const char *const quiet[] = {"--log-level", "warn", NULL};
    hub_start(stage, quiet);
    struct wire_client *payer = client_with_money(stage, "payer three"),
                       *payee = client_with_money(stage, "payee three");
    wire_connect(payer);
    wire_connect(payee);
    assert_true(holds_in_time(stage, has_room, payer) && holds_in_time(stage, has_room, payee));
    (void)block_time(stage);
    pays(payer, payee, 200);
    struct operation pay = payment_of(payer, payee, OPERATION_PAY, 201, &no_condition);
    struct pending_lock touched;
    const struct kept_update *kept = wire_seal(payer, &pay, 1, &touched);
    assert_int_equal(prlimit(stage->hubd.pid, RLIMIT_FSIZE, &full, NULL), 0);
    wire_send_kept(payer, kept);
    assert_true(holds_in_time(stage, hub_has_ended, stage));
    assert_int_equal(process_end(&stage->hubd, 0), STORE_EXIT_FATAL);
    assert_true(read(log, said, sizeof said - 1) > 0);
    assert_int_equal(count_of(said, "\n"), 1);
    assert_non_null(strstr(said, "make the disk usable, then start again"));
    assert_int_equal(payer->channel->acknowledged, 1);
    wire_leave(payer);
    wire_leave(payee);
    hub_start(stage, quiet);
    wire_connect(payer);
    wire_connect(payee);
    assert_int_equal(payer->shown.message.channel.streams[SIDE_CLIENT].newest.proof.nonce, 1);
    wire_settle_down(payer); /* the update comes again, and arrives */
    struct payment_id id = payment_id_of_payee(&payer->channel->id, &pay.id);
    (void)wire_operation(payee, OPERATION_PAY, &id);
    wire_free(payer);
    wire_free(payee);
    hub_stop(stage);
    close(log);
    signal(SIGXFSZ, SIG_DFL);
}

#define HUB_TEST(function) cmocka_unit_test_setup_teardown(function, fresh_hub, no_hub)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HUB_TEST(test_wrong_flags),
        HUB_TEST(test_help_and_version),
        HUB_TEST(test_keys_and_passphrases),
        HUB_TEST(test_ports_that_are_taken),
        HUB_TEST(test_folders_that_cannot_be_used),
        HUB_TEST(test_a_contract_that_is_none),
        HUB_TEST(test_a_journal_of_another_chain),
        HUB_TEST(test_a_ledger_on_another_chain),
        HUB_TEST(test_a_ledger_that_is_down_at_the_start),
        HUB_TEST(test_a_ledger_killed_while_the_hub_runs),
        HUB_TEST(test_signals_stop_it_cleanly),
        HUB_TEST(test_what_the_operator_reads),
        HUB_TEST(test_past_payments_can_be_looked_up),
        HUB_TEST(test_the_log_as_json),
        HUB_TEST(test_settings_from_file_and_environment),
        HUB_TEST(test_a_disk_that_fills_up),
    };
    return cmocka_run_group_tests(tests, world_open, world_close);
}
