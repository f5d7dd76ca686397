/* `rill ledger deploy`, and what an operator does next, against a real EVM node. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <event2/event.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>

#include "base/ensure.h"
#include "ledger/client.h"
#include "ledger/contract_code.h"
#include "ledger/embedded/accounts.h"
#include "ledger/quantity.h"
#include "tests/support/anvil_node.h"
#include "wallet/command.h"

#define WORDS_MAX 32
#define HUB_TEXT  "0x00000000000000000000000000000000000000b0"

struct place {
    struct anvil anvil;
    char folder[64], rich[96], poor[96], error_file[96], home[96];
    struct address developer;
};

static void write_key(const char *path, const struct secret_key *key)
{
    char text[65];
    hex_encode(key->bytes, sizeof(key->bytes), text);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fprintf(file, "%s\n", text);
    fclose(file);
}

static void open_place(struct place *place, const char *const *flags)
{
    memset(place, 0, sizeof(*place));
    anvil_start(&place->anvil, flags);
    folder_make(place->folder, sizeof(place->folder));
    snprintf(place->rich, sizeof(place->rich), "%s/rich", place->folder);
    snprintf(place->poor, sizeof(place->poor), "%s/poor", place->folder);
    snprintf(place->home, sizeof(place->home), "%s/home", place->folder);
    snprintf(place->error_file, sizeof(place->error_file), "%s/errors", place->folder);
    struct secret_key rich = development_key(0), poor = {{[31] = 77}};
    place->developer = secret_key_address(&rich);
    write_key(place->rich, &rich);
    write_key(place->poor, &poor);
    setenv("RILL_LEDGER", place->anvil.url, 1);
    setenv("RILL_HOME", place->home, 1);
    setenv("RILL_PASSPHRASE", "open", 1);
    setenv("RILL_CONFIRMATIONS", "0", 1); /* blocks come only with transactions */
    unsetenv("RILL_CONTRACT");
    unsetenv("RILL_CONTRACT_BLOCK");
}

static void close_place(struct place *place)
{
    anvil_end(&place->anvil, SIGTERM);
    folder_remove(place->folder);
}

/* Runs `rill words… --json` to its end. Returns its answer, to be decref'd. */
static json_t *rill(struct place *place, int code, const char *const *words)
{
    char path[256], out[16384];
    const char *argv[WORDS_MAX + 3] = {process_path("rill", path, sizeof(path))};
    size_t count = 1;
    for (; *words != NULL; words++) {
        assert_true(count < WORDS_MAX);
        argv[count++] = *words;
    }
    argv[count] = "--json";
    struct process process;
    size_t length = 0;
    ssize_t got;
    remove(place->error_file);
    assert_true(process_start(&process, argv, place->error_file));
    while ((got = read(process.output, out + length, sizeof(out) - 1 - length)) > 0)
        length += (size_t)got;
    out[length] = '\0';
    int ended = process_end(&process, 0);
    if (ended != code)
        fail_msg("rill %s %s ended with %d, not %d: %s", argv[1], argv[2], ended, code, out);
    return json_loads(out, 0, NULL);
}

#define RILL(place, code, ...) rill(place, code, (const char *const[]){__VA_ARGS__, NULL})

/* It fails with this code, and says these words. */
static void refused(struct place *place, int code, const char *says, const char *const *words)
{
    char text[4096];
    json_decref(rill(place, code, words));
    FILE *file = fopen(place->error_file, "re");
    size_t length = file == NULL ? 0 : fread(text, 1, sizeof(text) - 1, file);
    if (file != NULL)
        fclose(file);
    text[length] = '\0';
    if (strstr(text, says) == NULL)
        fail_msg("'%s' is not in: %s", says, text);
}

#define REFUSED(place, code, says, ...) refused(place, code, says, (const char *const[]){__VA_ARGS__, NULL})

static const char *text_at(const json_t *json, const char *object, const char *name)
{
    const char *text = json_string_value(json_object_get(json_object_get(json, object), name));
    assert_non_null(text);
    return text;
}

/* ---- the node, asked directly ---- */

struct question {
    bool done;
    json_t *result;
};

static void on_result(void *context, enum ledger_error error, const char *text)
{
    struct question *question = context;
    question->done = true;
    if (error == LEDGER_OK)
        question->result = json_loads(text, JSON_DECODE_ANY, NULL);
}

static json_t *ask_node(const struct place *place, const char *method, const char *params)
{
    struct event_base *base = event_base_new();
    struct ledger *ledger = ledger_new(base, &(struct ledger_options){.url = place->anvil.url});
    struct question question = {.done = false};
    ledger_request(ledger, method, params, on_result, &question);
    while (!question.done)
        ensure(event_base_loop(base, EVLOOP_ONCE) == 0);
    ledger_free(ledger);
    event_base_free(base);
    assert_non_null(question.result);
    return question.result;
}

static uint64_t sent_count(const struct place *place)
{
    char address[ADDRESS_TEXT_SIZE], params[96];
    uint64_t count = UINT64_MAX;
    snprintf(params, sizeof(params), "[\"%s\",\"pending\"]", address_text(&place->developer, address));
    json_t *result = ask_node(place, "eth_getTransactionCount", params);
    assert_true(quantity_u64(result, &count));
    json_decref(result);
    return count;
}

static struct buffer code_at(const struct place *place, const char *address)
{
    char params[96];
    struct buffer code = {0};
    snprintf(params, sizeof(params), "[\"%s\",\"latest\"]", address);
    json_t *result = ask_node(place, "eth_getCode", params);
    assert_true(bytes_of_json(result, &code));
    json_decref(result);
    return code;
}

/* What the compiler made. */
static struct buffer compiled(const char *contract, const char *member)
{
    char path[96];
    struct buffer code = {0};
    snprintf(path, sizeof(path), "build/contracts/%s.json", contract);
    json_t *artifact = json_load_file(path, 0, NULL);
    if (artifact == NULL)
        fail_msg("%s is not there: run `make contracts` first", path);
    assert_true(bytes_of_json(json_object_get(artifact, member), &code));
    json_decref(artifact);
    return code;
}

/* ---- tests ---- */

static void the_code_is_what_the_compiler_makes(void **state)
{
    (void)state;
    struct buffer hub = compiled("RillHub", "bytecode"), factory = compiled("RillTokenFactory", "bytecode");
    struct buffer code = {0};
    const size_t arguments = 96;
    contract_code_hub(&code, &ADDRESS_ZERO, 1, 0);
    if (code.length != hub.length + arguments || memcmp(code.data, hub.data, hub.length) != 0)
        fail_msg("ledger/contracts/RillHub.inc is not what the sources make: run `make contract-code`");
    buffer_clear(&code);
    contract_code_factory(&code);
    if (code.length != factory.length || memcmp(code.data, factory.data, factory.length) != 0)
        fail_msg(
            "ledger/contracts/RillTokenFactory.inc is not what the sources make: run `make contract-code`");
    buffer_free(&code);
    buffer_free(&hub);
    buffer_free(&factory);
}

static void deployed_as_asked_for(void **state)
{
    (void)state;
    struct place place;
    open_place(&place, NULL);
    json_t *answer =
        RILL(&place, 0, "ledger", "deploy", "hub", "factory", "--secret-file", place.rich, "--hub-account",
             HUB_TEXT, "--challenge-period", "1234", "--bounty-bps", "250", "--chain-id", "31337");
    assert_int_equal(json_integer_value(json_object_get(answer, "chain_id")), 31337);
    assert_string_equal(text_at(answer, "contract", "hub"), HUB_TEXT);
    const json_t *contract = json_object_get(answer, "contract");
    assert_int_equal(json_integer_value(json_object_get(contract, "challenge_period")), 1234);
    assert_int_equal(json_integer_value(json_object_get(contract, "bounty_bps")), 250);
    assert_int_equal(json_integer_value(json_object_get(contract, "block")), 2);
    assert_true(json_integer_value(json_object_get(contract, "gas_used")) > 1000000);
    assert_int_equal(sent_count(&place), 2);

    /* The compiler leaves zeros where the constructor writes what never changes. */
    struct buffer code = code_at(&place, text_at(answer, "contract", "address"));
    struct buffer expected = compiled("RillHub", "deployedBytecode");
    size_t others = 0;
    assert_int_equal(code.length, expected.length);
    for (size_t i = 0; i < code.length; i++) {
        assert_true(code.data[i] == expected.data[i] || expected.data[i] == 0);
        others += code.data[i] != expected.data[i];
    }
    assert_true(others > 0);
    buffer_free(&code);
    buffer_free(&expected);
    code = code_at(&place, text_at(answer, "factory", "address"));
    expected = compiled("RillTokenFactory", "deployedBytecode");
    assert_int_equal(code.length, expected.length);
    assert_memory_equal(code.data, expected.data, expected.length);
    buffer_free(&code);
    buffer_free(&expected);
    json_decref(answer);

    /* Whoever deploys is the hub, if nothing else is said. */
    answer = RILL(&place, 0, "ledger", "deploy", "--secret-file", place.rich);
    char developer[ADDRESS_TEXT_SIZE];
    assert_string_equal(text_at(answer, "contract", "hub"), address_text(&place.developer, developer));
    assert_null(json_object_get(answer, "factory"));
    json_decref(answer);
    close_place(&place);
}

static void refused_before_anything_is_sent(void **state)
{
    (void)state;
    struct place place;
    open_place(&place, NULL);
    REFUSED(&place, 2, "from 0 to 5000", "ledger", "deploy", "--secret-file", place.rich, "--bounty-bps",
            "5001");
    REFUSED(&place, 2, "from 8", "ledger", "deploy", "--secret-file", place.rich, "--challenge-period", "7");
    REFUSED(&place, 2, "say hub, factory", "ledger", "deploy", "moon", "--secret-file", place.rich);
    REFUSED(&place, 2, "not an address", "ledger", "deploy", "--secret-file", place.rich, "--hub-account",
            "0x00");
    REFUSED(&place, 2, "not an address", "ledger", "deploy", "--secret-file", place.rich, "--hub-account",
            "0x0000000000000000000000000000000000000000");
    REFUSED(&place, 2, "give one", "ledger", "deploy", "--secret-file", place.rich, "--hub-account", HUB_TEXT,
            "--hub-key-file", place.rich);
    REFUSED(&place, 4, "keystore", "ledger", "deploy", "--secret-file", place.rich, "--hub-key-file",
            place.rich);
    REFUSED(&place, 4, "rill init", "ledger", "deploy");
    REFUSED(&place, 1, "no coins", "ledger", "deploy", "--secret-file", place.poor);
    REFUSED(&place, 3, "expected chain id 1, found chain id 31337", "ledger", "deploy", "--secret-file",
            place.rich, "--chain-id", "1");
    REFUSED(&place, 3, "cannot be reached", "ledger", "deploy", "--secret-file", place.rich, "--ledger",
            "http://127.0.0.1:1");
    assert_int_equal(sent_count(&place), 0);
    close_place(&place);
}

/* Some coins, and too few. */
static void refused_for_want_of_gas_money(void **state)
{
    (void)state;
    struct place place;
    char params[128], address[ADDRESS_TEXT_SIZE];
    open_place(&place, NULL);
    snprintf(params, sizeof(params), "[\"%s\",\"0x5af3107a4000\"]", address_text(&place.developer, address));
    json_decref(ask_node(&place, "anvil_setBalance", params));
    REFUSED(&place, 1, "cannot pay the gas", "ledger", "deploy", "--secret-file", place.rich);
    assert_int_equal(sent_count(&place), 0);
    close_place(&place);
}

static void refused_by_chains_that_cannot_have_it(void **state)
{
    (void)state;
    static const struct {
        const char *flag, *value, *says;
    } chains[] = {{"--hardfork", "shanghai", "Cancun"},
                  {"--code-size-limit", "10000", "code size"},
                  {"--gas-limit", "2000000", "a block has not room"}};
    for (size_t i = 0; i < ARRAY_LENGTH(chains); i++) {
        struct place place;
        open_place(&place, (const char *const[]){chains[i].flag, chains[i].value, NULL});
        REFUSED(&place, 1, chains[i].says, "ledger", "deploy", "--secret-file", place.rich);
        assert_int_equal(sent_count(&place), 0);
        close_place(&place);
    }
}

/* anvil puts the bytes of a revert into its message, zeros and all. */
static void a_refusal_with_arguments_is_understood(void **state)
{
    (void)state;
    struct place place;
    struct address contract;
    open_place(&place, NULL);
    json_t *answer = RILL(&place, 0, "ledger", "deploy", "--secret-file", place.rich);
    assert_true(hex_decode(text_at(answer, "contract", "address"), contract.bytes, 20));
    json_decref(answer);
    struct event_base *base = event_base_new();
    struct ledger *ledger =
        ledger_new(base, &(struct ledger_options){.url = place.anvil.url, .contract = contract});
    struct buffer data = {0}, result = {0};
    struct ledger_receipt receipt;
    struct secret_key key = development_key(1);
    enum contract_error reverted = CONTRACT_OK;
    contract_encode_call(&data, &(struct contract_call){.function = CONTRACT_FINISH}); /* of no channel */
    assert_int_equal(ledger_call_wait(ledger, NULL, data.data, data.length, &result, &reverted),
                     LEDGER_REVERTED);
    assert_int_equal(reverted, CONTRACT_BAD_STATUS);
    assert_int_equal(ledger_send_wait(ledger, &key, NULL, 0, data.data, data.length, &receipt),
                     LEDGER_REVERTED);
    assert_int_equal(receipt.reverted, CONTRACT_BAD_STATUS);
    buffer_free(&data);
    buffer_free(&result);
    ledger_free(ledger);
    event_base_free(base);
    close_place(&place);
}

/* Without a block nothing is confirmed: said so in time, not waited for. */
static void an_outcome_that_does_not_come(void **state)
{
    (void)state;
    struct place place;
    open_place(&place, (const char *const[]){"--no-mining", NULL});
    REFUSED(&place, 6, "no outcome in time", "ledger", "deploy", "--secret-file", place.rich, "--timeout-s",
            "1");
    assert_int_equal(sent_count(&place), 1);
    close_place(&place);
}

/* The embedded ledger has the contract built in, and says so. */
static void not_on_the_embedded_ledger(void **state)
{
    (void)state;
    struct place place;
    char path[256], folder[96], line[128], url[64];
    unsigned port = 0;
    open_place(&place, NULL);
    snprintf(folder, sizeof(folder), "%s/ledger", place.folder);
    const char *const argv[] = {
        process_path("rill-ledgerd", path, sizeof(path)), "--folder", folder, "--port", "0", NULL};
    struct process ledgerd;
    assert_true(process_start(&ledgerd, argv, place.error_file));
    assert_true(process_line(&ledgerd, "listening on", line, sizeof(line), 20000));
    assert_int_equal(sscanf(line, "listening on http://127.0.0.1:%u", &port), 1);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", port);
    REFUSED(&place, 1, "built in", "ledger", "deploy", "--secret-file", place.rich, "--ledger", url);
    assert_int_equal(process_end(&ledgerd, SIGTERM), 0);
    close_place(&place);
}

/* ---- from an empty chain to a hub ---- */

static bool wait_for_file(struct process *process, const char *path)
{
    for (int waited = 0; waited < 30000; waited += 20) {
        if (access(path, R_OK) == 0)
            return true;
        if (waitpid(process->pid, NULL, WNOHANG) != 0)
            return false;
        poll(NULL, 0, 20);
    }
    return false;
}

static void start_hub(struct place *place, const char *contract, const char *block)
{
    char path[256], key[128], pass[96], data[96], port[96];
    snprintf(key, sizeof(key), "%s/key.json", place->home);
    snprintf(pass, sizeof(pass), "%s/pass", place->folder);
    snprintf(data, sizeof(data), "%s/hub", place->folder);
    snprintf(port, sizeof(port), "%s/port", place->folder);
    FILE *file = fopen(pass, "we");
    assert_non_null(file);
    fputs("open\n", file);
    fclose(file);
    const char *const argv[] = {process_path("rill-hubd", path, sizeof(path)),
                                "--data",
                                data,
                                "--key-file",
                                key,
                                "--passphrase-file",
                                pass,
                                "--ledger",
                                place->anvil.url,
                                "--chain-id",
                                "31337",
                                "--contract",
                                contract,
                                "--contract-block",
                                block,
                                "--confirmations",
                                "0",
                                "--listen",
                                "127.0.0.1:0",
                                "--http",
                                "127.0.0.1:0",
                                "--port-file",
                                port,
                                NULL};
    struct process hub;
    assert_true(process_start(&hub, argv, place->error_file));
    assert_true(wait_for_file(&hub, port));
    assert_int_equal(process_end(&hub, SIGTERM), 0);
}

static void assert_pool(json_t *answer, const char *symbol, const char *amount)
{
    const json_t *pool = json_object_get(answer, "pool");
    assert_string_equal(json_string_value(json_object_get(pool, "symbol")), symbol);
    assert_string_equal(json_string_value(json_object_get(pool, "amount")), amount);
    json_decref(answer);
}

static void from_an_empty_chain_to_a_hub(void **state)
{
    (void)state;
    struct place place;
    char key[128];
    open_place(&place, NULL);
    json_t *made = RILL(&place, 0, "init", "--offline", "--light");
    const char *hub = json_string_value(json_object_get(made, "address"));
    assert_non_null(hub);
    snprintf(key, sizeof(key), "%s/key.json", place.home);
    json_t *deployed = RILL(&place, 0, "ledger", "deploy", "hub", "factory", "--secret-file", place.rich,
                            "--hub-key-file", key);
    assert_string_equal(text_at(deployed, "contract", "hub"), hub);
    const char *contract = text_at(deployed, "contract", "address");
    const char *factory = text_at(deployed, "factory", "address");
    char block[24];
    snprintf(block, sizeof(block), "%lld",
             (long long)json_integer_value(json_object_get(json_object_get(deployed, "contract"), "block")));
    setenv("RILL_CONTRACT", contract, 1);
    setenv("RILL_CONTRACT_BLOCK", block, 1); /* what is listed later is found from there on */

    json_decref(RILL(&place, 0, "ledger", "send", hub, "100", "--secret-file", place.rich));
    REFUSED(&place, 1, "rill ledger deploy factory", "ledger", "issue", "USDT");
    json_t *issued = RILL(&place, 0, "ledger", "issue", "USDT", "--factory", factory, "--supply", "1000");
    const char *token = json_string_value(json_object_get(issued, "asset"));
    assert_non_null(token);

    REFUSED(&place, 1, "NotHub", "ledger", "list", token, "--secret-file", place.rich);
    REFUSED(&place, 1, "decimals()", "ledger", "list", hub);
    REFUSED(&place, 2, "not an address", "ledger", "list", "USDT");
    REFUSED(&place, 2, "--unit", "ledger", "list", token, "--unit", "0");
    REFUSED(&place, 1, "no assets yet", "ledger", "pool", "deposit", "1");
    json_t *listed = RILL(&place, 0, "ledger", "list", token);
    assert_string_equal(json_string_value(json_object_get(listed, "unit")), "1");
    json_decref(listed);
    listed = RILL(&place, 0, "ledger", "list", "coin");
    assert_string_equal(json_string_value(json_object_get(listed, "unit")), "1000000000");
    json_decref(listed);
    REFUSED(&place, 1, "AssetAlreadyListed", "ledger", "list", "coin");

    REFUSED(&place, 2, "choose one", "ledger", "pool", "deposit", "1");
    REFUSED(&place, 2, "withdraw AMOUNT", "ledger", "pool", "deposit");
    assert_pool(RILL(&place, 0, "ledger", "pool", "deposit", "600.5", "--asset", "USDT"), "USDT", "600.5");
    assert_pool(RILL(&place, 0, "ledger", "pool", "deposit", "2.5", "--asset", "coin"), "coin", "2.5");
    assert_pool(RILL(&place, 0, "ledger", "pool", "withdraw", "0.5", "--asset", "USDT"), "USDT", "600");
    assert_pool(RILL(&place, 0, "ledger", "pool", "withdraw", "1", "--asset", "coin", "--to", HUB_TEXT),
                "coin", "1.5");
    REFUSED(&place, 1, "PoolTooLow", "ledger", "pool", "withdraw", "601", "--asset", "USDT");
    REFUSED(&place, 1, "NotHub", "ledger", "pool", "withdraw", "1", "--asset", "USDT", "--secret-file",
            place.rich);
    json_t *pools = RILL(&place, 0, "ledger", "pool");
    assert_int_equal(json_array_size(json_object_get(pools, "pools")), 2);
    json_decref(pools);
    json_t *balance = RILL(&place, 0, "ledger", "balance", HUB_TEXT);
    assert_string_equal(text_at(balance, "balances", "coin"), "1");
    json_decref(balance);
    balance = RILL(&place, 0, "ledger", "balance");
    assert_string_equal(text_at(balance, "balances", "USDT"), "400");
    json_decref(balance);

    start_hub(&place, contract, block);
    json_decref(issued);
    json_decref(deployed);
    json_decref(made);
    close_place(&place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_code_is_what_the_compiler_makes),
        cmocka_unit_test(deployed_as_asked_for),
        cmocka_unit_test(refused_before_anything_is_sent),
        cmocka_unit_test(refused_for_want_of_gas_money),
        cmocka_unit_test(refused_by_chains_that_cannot_have_it),
        cmocka_unit_test(a_refusal_with_arguments_is_understood),
        cmocka_unit_test(an_outcome_that_does_not_come),
        cmocka_unit_test(not_on_the_embedded_ledger),
        cmocka_unit_test(from_an_empty_chain_to_a_hub),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
