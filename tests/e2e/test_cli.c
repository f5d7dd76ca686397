/* Every command of `rill` against a real ledger, hub and tower, in a token with 6 decimals: what each prints as JSON, what
 * money moves, and which exit code tells what. test_rill.c has the day of a payer and a shop in plain text. */
#include "tests/e2e/hub_fixture.h"
#include "tests/e2e/tower_process.h"

#include <fcntl.h>
#include <jansson.h>

#include "wallet/command.h"

#define WORDS_MAX   28
#define TOKEN       "USDT"
#define COINS       1000000000u /* units of the coin, for gas */
#define OUTPUT_SIZE 65536

struct world {
    struct hub_stage *stage;
    char error_file[160], hub[32], http[32], token[ADDRESS_TEXT_SIZE];
    char output[OUTPUT_SIZE]; /* stdout of the last run */
    char payer[160], shop[160], payer_address[ADDRESS_TEXT_SIZE], shop_address[ADDRESS_TEXT_SIZE];
    struct tower_process towers[2];
    struct process
        lost; /* a command that waits for a ledger that is not there; test_a_ledger_… looks at its end */
    char lost_home[160], lost_errors[160];
};

/* ---- running it ---- */

static void launch_aside(struct process *process, const char *error_file, const char *const *words)
{
    char path[256];
    const char *argv[WORDS_MAX + 2] = {process_path("rill", path, sizeof path)};
    for (size_t i = 0; words[i] != NULL; i++) {
        ensure(i < WORDS_MAX);
        argv[i + 1] = words[i];
    }
    remove(error_file);
    ensure(process_start(process, argv, error_file));
}

static void launch(struct world *world, struct process *process, const char *const *words)
{
    launch_aside(process, world->error_file, words);
}

static int finish(struct world *world, struct process *process)
{
    size_t length = 0;
    ssize_t got;
    while (length + 1 < sizeof world->output &&
           (got = read(process->output, world->output + length, sizeof world->output - 1 - length)) > 0)
        length += (size_t)got;
    world->output[length] = '\0';
    return process_end(process, 0);
}

static void expect_code(struct world *world, int wanted, int code, const char *const *words)
{
    if (wanted == code)
        return;
    char *errors = file_text(world->error_file);
    fail_msg("rill %s %s: exit code %d, expected %d\n%s%s", words[0], words[1] != NULL ? words[1] : "", code,
             wanted, world->output, errors);
}

static void runs(struct world *world, int code, const char *const *words)
{
    struct process process;
    launch(world, &process, words);
    expect_code(world, code, finish(world, &process), words);
}

#define WORDS(...)             ((const char *const[]){__VA_ARGS__, NULL})
#define RUNS(world, code, ...) runs(world, code, WORDS(__VA_ARGS__))

/* The one JSON object that it printed; let it go. */
static json_t *printed(struct world *world)
{
    json_error_t error;
    json_t *value = json_loads(world->output, 0, &error);
    if (!json_is_object(value))
        fail_msg("not one JSON object (%s): %s", error.text, world->output);
    assert_int_equal(strcspn(world->output, "\n") + 1, strlen(world->output));
    return value;
}

static json_t *object_of(struct world *world, const char *const *words)
{
    runs(world, 0, words);
    return printed(world);
}

#define JSON(world, ...) object_of(world, WORDS(__VA_ARGS__, "--json"))

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    if (text == NULL)
        fail_msg("no text '%s'", name);
    return text;
}

/* {"units": …, "amount": …, "symbol": …}. */
static json_int_t units_of(const json_t *object, const char *name)
{
    const json_t *units = json_object_get(json_object_get(object, name), "units");
    if (!json_is_integer(units))
        fail_msg("no amount '%s'", name);
    return json_integer_value(units);
}

static void expect_error(struct world *world, const char *words)
{
    char *errors = file_text(world->error_file);
    if (strstr(errors, words) == NULL)
        fail_msg("'%s' does not say '%s'", errors, words);
    free(errors);
}

/* ---- the set ---- */

static void make_wallet(struct world *world, const char *name, char home[160],
                        char address_out[ADDRESS_TEXT_SIZE])
{
    struct address address;
    snprintf(home, 160, "%s/%s", world->stage->folder, name);
    json_t *made = JSON(world, "init", "--home", home, "--light");
    snprintf(address_out, ADDRESS_TEXT_SIZE, "%s", text_of(made, "address"));
    assert_string_equal(text_of(made, "home"), home);
    assert_int_equal(json_integer_value(json_object_get(made, "chain_id")), world->stage->domain.chain_id);
    json_decref(made);
    assert_true(hex_decode(address_out, address.bytes, 20));
    send_coins(world->stage, &world->stage->hub, &address, COINS);
}

static void issue(struct world *world)
{
    struct hub_stage *stage = world->stage;
    json_t *issued = JSON(world, "ledger", "issue", TOKEN, "--decimals", "6", "--supply", "1000000", "--pool",
                          "5000", "--key-file", stage->key_file, "--passphrase-file", stage->passphrase_file,
                          "--home", stage->folder);
    assert_string_equal(text_of(issued, "symbol"), TOKEN);
    assert_true(json_is_true(json_object_get(issued, "listed")));
    assert_int_equal(json_integer_value(json_object_get(issued, "pool_units")), 5000000000);
    snprintf(world->token, sizeof world->token, "%s", text_of(issued, "asset"));
    json_decref(issued);
    json_t *sent =
        JSON(world, "ledger", "send", world->payer_address, "200.5", "--asset", TOKEN, "--key-file",
             stage->key_file, "--passphrase-file", stage->passphrase_file, "--home", stage->folder);
    assert_int_equal(strlen(text_of(sent, "transaction")), 66);
    json_decref(sent);
}

static int world_open(void **state)
{
    static const char *const ledger_flags[] = {"--idle-block-ms", "60", NULL};
    static const char *const hub_flags[] = {
        "--settle-interval-s", "1",       "--settle-collect-ms", "300",       "--base-fee", "1000",
        "--direct-limit",      "5000000", "--inbound-max",       "500000000", NULL};
    struct world *world = xcalloc(1, sizeof *world);
    struct hub_stage *stage = world->stage = stage_open(ledger_flags);
    *state = world;
    hub_start(stage, hub_flags);
    snprintf(world->error_file, sizeof world->error_file, "%s/rill.err", stage->folder);
    snprintf(world->hub, sizeof world->hub, "127.0.0.1:%u", stage->hub_port);
    snprintf(world->http, sizeof world->http, "127.0.0.1:%u", stage->http_port);
    snprintf(world->lost_home, sizeof world->lost_home, "%s/never", stage->folder);
    snprintf(world->lost_errors, sizeof world->lost_errors, "%s/lost.err", stage->folder);
    launch_aside(&world->lost, world->lost_errors,
                 WORDS("init", "--home", world->lost_home, "--ledger", "http://127.0.0.1:1"));
    setenv("RILL_HUB", world->hub, 1);
    setenv("RILL_LEDGER", stage->url, 1);
    setenv("RILL_CONTRACT", stage->contract_text, 1);
    setenv("RILL_CONFIRMATIONS", "1", 1);
    setenv("RILL_PASSPHRASE", PASSPHRASE, 1);
    make_wallet(world, "payer", world->payer, world->payer_address);
    make_wallet(world, "shop", world->shop, world->shop_address);
    issue(world);
    return 0;
}

static int world_close(void **state)
{
    struct world *world = *state;
    for (size_t i = 0; i < 2; i++)
        process_end(&world->towers[i].process, SIGKILL);
    process_end(&world->lost, SIGKILL);
    stage_close(world->stage);
    free(world);
    return 0;
}

/* What an address holds of the token, as text with its decimals. */
static void expect_holds(struct world *world, const char *address, const char *amount)
{
    json_t *shown = JSON(world, "ledger", "balance", address);
    assert_string_equal(text_of(json_object_get(shown, "balances"), TOKEN), amount);
    json_decref(shown);
}

/* ---- help ---- */

static void test_every_command_explains_itself(void **state)
{
    static const char *const commands[][2] = {
        {"init", NULL},         {"deposit", NULL},     {"open", NULL},       {"balance", NULL},
        {"invoice", NULL},      {"pay", NULL},         {"listen", NULL},     {"history", NULL},
        {"withdraw", NULL},     {"close", NULL},       {"dispute", NULL},    {"recover", NULL},
        {"tower", "add"},       {"tower", "remove"},   {"tower", "list"},    {"tower", "status"},
        {"tower", "prove"},     {"tower", "verify"},   {"hub", "status"},    {"ledger", "issue"},
        {"ledger", "send"},     {"ledger", "balance"}, {"ledger", "deploy"}, {"ledger", "list"},
        {"ledger", "pool"},     {"hub", "history"},    {"hub", "close"},     {"hub", "settlements"},
        {"hub", "tower-prove"}, {"prove", NULL},       {"audit", NULL},      {"merchant", "webhooks"},
    };
    struct world *world = *state;
    RUNS(world, 0, "--help");
    char *help = xstrdup(world->output);
    for (size_t i = 0; i < ARRAY_LENGTH(commands); i++) {
        char name[64], line[80];
        const char *second = commands[i][1];
        snprintf(name, sizeof name, "%s%s%s", commands[i][0], second != NULL ? " " : "",
                 second != NULL ? second : "");
        if (strstr(help, name) == NULL)
            fail_msg("rill --help does not list '%s'", name);
        runs(world, 0,
             second != NULL ? WORDS(commands[i][0], second, "--help") : WORDS(commands[i][0], "--help"));
        snprintf(line, sizeof line, "usage: rill %s", name);
        if (strncmp(world->output, line, strlen(line)) != 0 ||
            strstr(world->output, "Example: rill ") == NULL ||
            strstr(world->output, "Exit codes: ") == NULL || strstr(world->output, "--json") == NULL ||
            strstr(world->output, "--passphrase-file FILE") == NULL)
            fail_msg("rill %s --help: %s", name, world->output);
    }
    free(help);
    RUNS(world, 0, "--version");
    assert_int_equal(strncmp(world->output, "rill ", 5), 0);
    RUNS(world, 2, "ledger");
    expect_error(world, "deploy issue list pool balance send");
    RUNS(world, 2, "dance");
    expect_error(world, "rill --help");
    RUNS(world, 2, "balance", "--jsn");
    expect_error(world, "--json");
    RUNS(world, 2, "balance", "--timeout-s", "0", "--home", world->payer);
    expect_error(world, "--timeout-s");
    RUNS(world, 2, "pay");
}

/* ---- money in ---- */

static void test_deposit_and_open(void **state)
{
    struct world *world = *state;
    RUNS(world, 2, "deposit", "100", "--home", world->payer); /* which asset? */
    expect_error(world, "--asset");
    RUNS(world, 2, "deposit", "1.0000001", "--asset", TOKEN, "--home", world->payer);
    expect_error(world, "at most 6 decimals");
    RUNS(world, 2, "deposit", "1", "--asset", "GOLD", "--home", world->payer);
    expect_error(world, "GOLD");
    RUNS(world, 1, "deposit", "1000", "--asset", TOKEN, "--home", world->payer); /* more than it holds */
    /* The approve never counts: what has not been sent is not promised. */
    RUNS(world, 6, "deposit", "1", "--asset", TOKEN, "--confirmations", "10000", "--timeout-s", "1", "--home",
         world->payer);
    expect_error(world, "the deposit was not sent");
    json_t *deposited = JSON(world, "deposit", "100", "--asset", TOKEN, "--home", world->payer);
    assert_int_equal(units_of(deposited, "deposited"), 100000000);
    assert_string_equal(text_of(deposited, "asset"), world->token);
    assert_true(json_is_true(json_object_get(deposited, "counted")));
    json_decref(deposited);
    expect_holds(world, world->payer_address, "100.5");
    json_t *opened = JSON(world, "open", "200", "--asset", TOKEN, "--home", world->shop);
    assert_true(units_of(opened, "inbound") >= 200000000);
    json_decref(opened);

    json_t *balance = JSON(world, "balance", "--home", world->payer);
    assert_string_equal(text_of(balance, "address"), world->payer_address);
    assert_true(json_is_true(json_object_get(balance, "connected")));
    json_t *channel = json_array_get(json_object_get(balance, "channels"), 0);
    assert_string_equal(text_of(channel, "status"), "open");
    assert_int_equal(units_of(channel, "balance"), 100000000);
    assert_int_equal(units_of(channel, "reserve"), 1000000);
    assert_int_equal(units_of(channel, "available"), 99000000);
    assert_string_equal(text_of(json_object_get(channel, "balance"), "symbol"), TOKEN);
    assert_string_equal(text_of(json_object_get(channel, "balance"), "amount"), "100");
    json_decref(balance);
}

/* ---- payments ---- */

/* The shop waits with an invoice; the payer pays it. Returns what each printed. */
static void trade(struct world *world, const char *amount, const char *mode, json_t **paid, json_t **received)
{
    struct process shop;
    char line[8192];
    launch(world, &shop,
           WORDS("invoice", amount, "--asset", TOKEN, "--memo", "a \"trade\" é", "--wait", "--home",
                 world->shop, "--json"));
    if (!process_line(&shop, "{", line, sizeof line, PATIENCE_MS))
        expect_code(world, 0, finish(world, &shop), WORDS("invoice"));
    json_t *invoice = json_loads(line, 0, NULL);
    assert_string_equal(text_of(invoice, "asset"), world->token);
    *paid = JSON(world, "pay", text_of(invoice, "invoice"), "--mode", mode, "--home", world->payer);
    assert_string_equal(text_of(*paid, "secret_hash"), text_of(invoice, "secret_hash"));
    json_decref(invoice);
    expect_code(world, 0, finish(world, &shop), WORDS("invoice", "--wait"));
    *received = printed(world);
}

static void expect_receipt(const json_t *paid)
{
    uint8_t secret[32];
    struct hash hash;
    assert_true(hex_decode(text_of(paid, "receipt"), secret, 32));
    assert_true(hex_decode(text_of(paid, "secret_hash"), hash.bytes, 32));
    struct hash of_secret = sha256(secret, 32);
    assert_true(hash_equal(&of_secret, &hash));
}

static void one_trade(struct world *world, const char *amount, const char *mode, json_int_t units)
{
    json_t *paid, *received;
    trade(world, amount, mode, &paid, &received);
    assert_string_equal(text_of(paid, "direction"), "out");
    assert_string_equal(text_of(paid, "mode"), mode);
    assert_string_equal(text_of(paid, "state"), "paid");
    assert_string_equal(text_of(paid, "payee"), world->shop_address);
    assert_int_equal(units_of(paid, "amount"), units);
    assert_int_equal(units_of(paid, "fee"), 1000 + units / 1000);
    expect_receipt(paid);
    assert_string_equal(text_of(received, "direction"), "in");
    assert_string_equal(text_of(received, "memo"), "a \"trade\" é");
    assert_int_equal(units_of(received, "amount"), units);
    json_decref(paid);
    json_decref(received);
}

static void test_direct_and_locked_payments(void **state)
{
    struct world *world = *state;
    one_trade(world, "0.25", "direct", 250000);
    one_trade(world, "7", "locked", 7000000);
    RUNS(world, 1, "pay", "--payee", world->payer_address, "--secret-hash",
         "0x1111111111111111111111111111111111111111111111111111111111111111", "1", "--asset", TOKEN,
         "--home", world->payer);
    RUNS(world, 1, "pay", "--payee", world->shop_address, "--secret-hash",
         "0x1111111111111111111111111111111111111111111111111111111111111111", "5000", "--asset", TOKEN,
         "--home", world->payer);
    expect_error(world, "rill: ");
    RUNS(world, 2, "pay", "--payee", world->shop_address, "1", "--home", world->payer);
    expect_error(world, "--secret-hash");
}

/* A merchant's terminal: a line typed makes an invoice, each payment is a line of JSON. */
static void test_listen(void **state)
{
    struct world *world = *state;
    struct process terminal;
    char line[8192];
    int ends[2], before = dup(STDIN_FILENO);
    assert_int_equal(pipe(ends), 0);
    assert_true(dup2(ends[0], STDIN_FILENO) == STDIN_FILENO);
    launch(world, &terminal,
           WORDS("listen", "--asset", TOKEN, "--count", "2", "--home", world->shop, "--json"));
    assert_true(dup2(before, STDIN_FILENO) == STDIN_FILENO);
    close(before);
    close(ends[0]);
    assert_true(write(ends[1], "0.5 first coffee\nnonsense\nany\n", 30) == 30);
    assert_true(process_line(&terminal, "{", line, sizeof line, PATIENCE_MS));
    json_t *first = json_loads(line, 0, NULL);
    assert_true(process_line(&terminal, "{\"error\":", line, sizeof line, PATIENCE_MS));
    assert_non_null(strstr(line, "nonsense"));
    assert_true(process_line(&terminal, "{\"invoice\":", line, sizeof line, PATIENCE_MS));
    json_t *any = json_loads(line, 0, NULL);
    assert_int_equal(units_of(first, "amount"), 500000);
    assert_int_equal(units_of(any, "amount"), 0);
    /* The terminal has the folder. */
    RUNS(world, 5, "balance", "--home", world->shop, "--json");
    json_t *refused = printed(world);
    assert_int_equal(json_integer_value(json_object_get(refused, "exit_code")), 5);
    json_decref(refused);
    json_t *paid = JSON(world, "pay", text_of(first, "invoice"), "--home", world->payer);
    expect_receipt(paid);
    json_decref(paid);
    RUNS(world, 2, "pay", text_of(any, "invoice"), "--home", world->payer); /* how much? */
    paid = JSON(world, "pay", text_of(any, "invoice"), "0.75", "--home", world->payer);
    assert_int_equal(units_of(paid, "amount"), 750000);
    json_decref(paid);
    assert_true(process_line(&terminal, "{", line, sizeof line, PATIENCE_MS));
    json_t *received = json_loads(line, 0, NULL);
    assert_string_equal(text_of(received, "memo"), "first coffee");
    json_decref(received);
    expect_code(world, 0, finish(world, &terminal), WORDS("listen"));
    close(ends[1]);
    json_decref(first);
    json_decref(any);
}

static void test_history(void **state)
{
    struct world *world = *state;
    json_t *all = JSON(world, "history", "--home", world->payer);
    const json_t *payments = json_object_get(all, "payments");
    size_t index, paid = 0;
    json_t *payment;
    json_array_foreach((json_t *)payments, index, payment)
    {
        assert_string_equal(text_of(payment, "direction"), "out");
        paid += strcmp(text_of(payment, "state"), "paid") == 0;
    }
    assert_int_equal(paid, 4);
    json_decref(all);
    json_t *newest = JSON(world, "history", "--limit", "1", "--home", world->payer);
    payment = json_array_get(json_object_get(newest, "payments"), 0);
    assert_int_equal(json_array_size(json_object_get(newest, "payments")), 1);
    assert_int_equal(units_of(payment, "amount"), 750000);
    expect_receipt(payment);
    json_decref(newest);
    json_t *in = JSON(world, "history", "--direction", "in", "--home", world->payer);
    assert_int_equal(json_array_size(json_object_get(in, "payments")), 0);
    json_decref(in);
    RUNS(world, 2, "history", "--direction", "up", "--home", world->payer);
    RUNS(world, 0, "history", "--home", world->shop);
    assert_non_null(strstr(world->output, "first coffee"));
}

/* ---- the hub, and money out ---- */

static void test_hub_status(void **state)
{
    struct world *world = *state;
    json_t *status = JSON(world, "hub", "status", "--http", world->http);
    assert_true(json_is_true(json_object_get(status, "healthy")));
    const json_t *metrics = json_object_get(status, "metrics");
    assert_true(json_integer_value(json_object_get(metrics, "payments_completed_total")) >= 4);
    assert_true(json_integer_value(json_object_get(metrics, "payments_locked_total")) >= 1);
    json_decref(status);
    RUNS(world, 0, "hub", "status", "--http", world->http);
    assert_non_null(strstr(world->output, "ok"));
    RUNS(world, 3, "hub", "status", "--http", "127.0.0.1:1");
    RUNS(world, 2, "hub", "status", "--http", "nowhere");
    json_t *past = JSON(world, "hub", "history", "--http", world->http, "--client", world->shop_address);
    assert_true(json_array_size(json_object_get(past, "payments")) >= 4);
    json_decref(past);
    RUNS(world, 0, "hub", "history", "--http", world->http, "--client", world->shop_address);
    assert_non_null(strstr(world->output, "completed"));
    RUNS(world, 0, "hub", "history", "--http", world->http, "--client",
         "0x00000000000000000000000000000000000000aa");
    assert_non_null(strstr(world->output, "no past payments"));
    RUNS(world, 1, "hub", "history", "--http", world->http, "--client", world->shop_address, "--cursor",
         "00");
    RUNS(world, 3, "hub", "history", "--http", "127.0.0.1:1", "--client", world->shop_address);
    RUNS(world, 2, "hub", "history", "--client", "me");
    RUNS(world, 2, "hub", "history");
}

static void test_withdraw_and_close(void **state)
{
    struct world *world = *state;
    RUNS(world, 1, "withdraw", "5000", "--asset", TOKEN, "--home", world->shop);
    json_t *out = JSON(world, "withdraw", "3.5", "--asset", TOKEN, "--home", world->shop);
    assert_int_equal(units_of(out, "paid_out"), 3500000);
    assert_true(json_is_false(json_object_get(out, "closed")));
    json_decref(out);
    expect_holds(world, world->shop_address, "3.5");
    json_t *closed = JSON(world, "close", "--asset", TOKEN, "--home", world->shop);
    assert_true(json_is_true(json_object_get(closed, "closed")));
    assert_int_equal(units_of(closed, "paid_out"), 250000 + 7000000 + 500000 + 750000 - 3500000);
    json_decref(closed);
    expect_holds(world, world->shop_address, "8.5");
    json_t *balance = JSON(world, "balance", "--home", world->shop);
    assert_int_equal(json_array_size(json_object_get(balance, "channels")), 0);
    json_decref(balance);
    balance = JSON(world, "balance", "--all", "--home", world->shop);
    assert_string_equal(text_of(json_array_get(json_object_get(balance, "channels"), 0), "status"), "closed");
    json_decref(balance);
}

/* ---- towers ---- */

static void expect_towers(struct world *world, const json_t *list, const char *first, const char *second)
{
    const json_t *towers = json_object_get(list, "towers");
    assert_int_equal(json_array_size(towers), 1 + (second != NULL));
    assert_string_equal(text_of(json_array_get(towers, 0), "address"), first);
    if (second != NULL)
        assert_string_equal(text_of(json_array_get(towers, 1), "address"), second);
    (void)world;
}

/* A wallet with two towers: both get the hub's newest proof, and each signs for it by itself. */
static void test_towers(void **state)
{
    struct world *world = *state;
    const char *first = world->towers[0].name, *second = world->towers[1].name;
    const char *first_address = world->towers[0].address, *second_address = world->towers[1].address;
    char file[200];
    RUNS(world, 2, "tower", "list", "--home", world->shop);
    expect_error(world, "tower add");
    tower_process_start(world->stage, &world->towers[0], 0);
    tower_process_start(world->stage, &world->towers[1], 1);
    snprintf(file, sizeof file, "%s/config", world->shop);
    char *config = file_text(file);
    config[strlen(config) - 1] = '\0'; /* its last line ends without a newline, as some editors leave it */
    write_file(file, config);
    free(config);
    RUNS(world, 0, "tower", "add", first, "--home", world->shop);
    RUNS(world, 0, "tower", "add", second, "--home", world->shop);
    RUNS(world, 0, "tower", "add", second, "--home", world->shop); /* again: where it is now */
    json_t *list = JSON(world, "tower", "list", "--home", world->shop);
    expect_towers(world, list, first_address, second_address);
    json_decref(list);
    json_t *status = JSON(world, "tower", "status", "--home", world->shop);
    expect_towers(world, status, first_address, second_address);
    for (size_t i = 0; i < 2; i++) {
        const json_t *tower = json_array_get(json_object_get(status, "towers"), i);
        assert_true(json_is_true(json_object_get(tower, "connected")));
        assert_true(json_is_true(json_object_get(tower, "covered")));
        const char *channel;
        json_t *nonce;
        json_object_foreach(json_object_get(tower, "receipts"), channel, nonce)
        {
            assert_true(json_integer_value(nonce) > 0);
        }
    }
    json_decref(status);
    RUNS(world, 0, "tower", "prove", "--home", world->shop);
    const char *line_end = strchr(world->output, '\n');
    assert_non_null(line_end);
    assert_non_null(strchr(line_end + 1, '\n')); /* one line of each tower */
    snprintf(file, sizeof file, "%s/evidence.json", world->stage->folder);
    FILE *evidence = fopen(file, "w");
    assert_non_null(evidence);
    fputs(world->output, evidence);
    fclose(evidence);
    RUNS(world, 1, "tower", "verify", file, "--home", world->shop); /* neither has broken its word */
    assert_int_equal(strncmp(world->output, "kept", 4), 0);
    RUNS(world, 2, "tower", "verify", world->error_file, "--home", world->shop);
    RUNS(world, 0, "tower", "remove", first_address, "--home", world->shop);
    RUNS(world, 1, "tower", "remove", first_address, "--home", world->shop);
    list = JSON(world, "tower", "list", "--home", world->shop);
    expect_towers(world, list, second_address, NULL);
    json_decref(list);
    RUNS(world, 0, "tower", "remove", second_address, "--home", world->shop);
    RUNS(world, 2, "tower", "add", "nonsense", "--home", world->shop);
    RUNS(world, 2, "tower", "list", "--towers", "nonsense", "--home", world->shop);
}

/* ---- without the hub ---- */

static bool has_ended(const struct process *process)
{
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)process->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid != 0;
}

/* Lets the ledger's time run while a command waits for it. */
static void runs_while_time_flies(struct world *world, int code, const char *const *words)
{
    struct process process;
    uint64_t end_us = clock_monotonic_us() + PATIENCE_MS * 1000ull;
    launch(world, &process, words);
    while (!has_ended(&process) && clock_monotonic_us() < end_us) {
        (void)ledger_ask(world->stage, "evm_increaseTime", "[1000]");
        mine(world->stage);
        for (unsigned i = 0; i < 12; i++)
            turn(world->stage);
    }
    expect_code(world, code, finish(world, &process), words);
}

static void test_dispute_without_the_hub(void **state)
{
    struct world *world = *state;
    json_t *balance = JSON(world, "balance", "--home", world->payer);
    json_int_t mine_units = units_of(json_array_get(json_object_get(balance, "channels"), 0), "balance");
    json_decref(balance);
    assert_int_equal(mine_units,
                     100000000 - (250000 + 1250) - (7000000 + 8000) - (500000 + 1500) - (750000 + 1750));
    hub_kill(world->stage);
    struct process other;
    char other_errors[200];
    snprintf(other_errors, sizeof other_errors, "%s/other.err", world->stage->folder);
    launch_aside(&other, other_errors, WORDS("open", "1", "--asset", TOKEN, "--home", world->shop, "--json"));
    balance = JSON(world, "balance", "--home", world->payer, "--offline");
    assert_true(json_is_false(json_object_get(balance, "connected")));
    assert_int_equal(units_of(json_array_get(json_object_get(balance, "channels"), 0), "balance"),
                     mine_units);
    json_decref(balance);
    RUNS(world, 6, "dispute", "--asset", TOKEN, "--home", world->payer, "--timeout-s", "2");
    expect_error(world, "again");
    runs_while_time_flies(
        world, 0, WORDS("dispute", "--asset", TOKEN, "--home", world->payer, "--timeout-s", "60", "--json"));
    json_t *closed = printed(world);
    assert_int_equal(units_of(closed, "paid_out"), mine_units);
    json_decref(closed);
    expect_holds(world, world->payer_address, "191.9875");
    RUNS(world, 1, "dispute", "--asset", TOKEN, "--home", world->payer);
    expect_code(world, 3, finish(world, &other), WORDS("open"));
    json_t *refused = printed(world);
    assert_int_equal(json_integer_value(json_object_get(refused, "exit_code")), 3);
    assert_non_null(strstr(text_of(refused, "error"), world->hub));
    json_decref(refused);
}

/* ---- keys, and what is not there ---- */

static void test_keys(void **state)
{
    struct world *world = *state;
    char home[160], secret_file[200], text[65];
    struct secret_key key = key_of("imported");
    struct address address = secret_key_address(&key);
    char address_hex[ADDRESS_TEXT_SIZE];
    snprintf(home, sizeof home, "%s/imported", world->stage->folder);
    snprintf(secret_file, sizeof secret_file, "%s/secret.hex", world->stage->folder);
    hex_encode(key.bytes, sizeof key.bytes, text);
    write_file(secret_file, text);
    json_t *made = JSON(world, "init", "--home", home, "--light", "--import-key", secret_file);
    assert_string_equal(text_of(made, "address"), address_text(&address, address_hex));
    json_decref(made);
    RUNS(world, 4, "init", "--home", home);
    write_file(secret_file, "not a key\n");
    char other[200];
    snprintf(other, sizeof other, "%s/other", world->stage->folder);
    RUNS(world, 4, "init", "--home", other, "--import-key", secret_file);
    assert_true(access(other, F_OK) != 0 || access(strcat(other, "/key.json"), F_OK) != 0);
    setenv("RILL_PASSPHRASE", "wrong", 1);
    RUNS(world, 4, "balance", "--home", home, "--json");
    json_t *refused = printed(world);
    assert_non_null(strstr(text_of(refused, "error"), "passphrase"));
    json_decref(refused);
    unsetenv("RILL_PASSPHRASE");
    RUNS(world, 4, "balance", "--home", home, "--passphrase-file", "/nowhere.pass");
    RUNS(world, 0, "history", "--home", home, "--passphrase-file", world->stage->passphrase_file);
    assert_non_null(strstr(world->output, "no payments yet"));
    setenv("RILL_PASSPHRASE", PASSPHRASE, 1);
    RUNS(world, 4, "balance", "--home", "/nowhere");
    RUNS(world, 1, "init", "--home", "/proc/nowhere");
}

static void test_a_ledger_that_is_another_or_none(void **state)
{
    struct world *world = *state;
    RUNS(world, 3, "balance", "--home", world->payer, "--chain-id", "5");
    expect_error(world, "chain");
    RUNS(world, 3, "ledger", "balance", world->payer_address, "--hub-address", world->payer_address);
    expect_error(world, "hub");
    process_end(&world->stage->ledgerd, SIGTERM);
    RUNS(world, 0, "history", "--home", world->payer); /* needs neither */
    expect_code(world, 3, finish(world, &world->lost), WORDS("init"));
    assert_true(file_says(world->lost_errors, "http://127.0.0.1:1"));
    assert_true(access(world->lost_home, F_OK) != 0);
    ledger_start(world->stage);
}

int main(void)
{
    /* In this order: one story. */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_command_explains_itself),
        cmocka_unit_test(test_deposit_and_open),
        cmocka_unit_test(test_direct_and_locked_payments),
        cmocka_unit_test(test_listen),
        cmocka_unit_test(test_history),
        cmocka_unit_test(test_hub_status),
        cmocka_unit_test(test_towers),
        cmocka_unit_test(test_withdraw_and_close),
        cmocka_unit_test(test_dispute_without_the_hub),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_a_ledger_that_is_another_or_none),
    };
    return cmocka_run_group_tests(tests, world_open, world_close);
}
