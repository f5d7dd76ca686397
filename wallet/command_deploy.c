/* rill ledger deploy: puts the hub's contract, and the token factory, on an EVM chain.
 *
 * In this order, so that nothing is paid for what cannot work: the settings; the node and its chain; what the chain can
 * execute; coins for gas; the deployment; what the new contract itself answers.
 */
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "crypto/keystore.h"
#include "ledger/contract_code.h"
#include "ledger/quantity.h"
#include "wallet/base_units.h"
#include "wallet/sending.h"

#define ANSWER_TIMEOUT_MS 30000

/* Less leaves an answer no room: the protocol's grace periods are eighths of it. */
#define CHALLENGE_PERIOD_MIN_S 8
#define CHALLENGE_PERIOD_MAX_S UINT32_MAX

struct deploy {
    const char *hub_account, *hub_key_file, *secret_file;
    uint64_t challenge_period, bounty_bps;
    bool wants_hub, wants_factory;

    const struct settings *settings;
    struct session session;
    struct ledger *ledger;
    struct address deployer, hub;
    struct ledger_receipt hub_receipt, factory_receipt;
};

/* ---- what is asked for ---- */

static int read_words(struct deploy *deploy, const struct command_line *line)
{
    for (size_t i = 0; i < line->word_count; i++) {
        if (strcmp(line->words[i], "hub") == 0)
            deploy->wants_hub = true;
        else if (strcmp(line->words[i], "factory") == 0)
            deploy->wants_factory = true;
        else
            return command_fail(deploy->settings, RILL_EXIT_USAGE,
                                "'%s' is nothing that can be deployed: say hub, factory, or both",
                                line->words[i]);
    }
    deploy->wants_hub = deploy->wants_hub || line->word_count == 0;
    return RILL_EXIT_OK;
}

static int read_hub(struct deploy *deploy)
{
    deploy->hub = deploy->deployer;
    if (deploy->hub_account != NULL && deploy->hub_key_file != NULL)
        return command_fail(deploy->settings, RILL_EXIT_USAGE,
                            "--hub-account and --hub-key-file both say whose contract it is: give one");
    if (deploy->hub_account != NULL &&
        (!hex_decode(deploy->hub_account, deploy->hub.bytes, 20) || address_is_zero(&deploy->hub)))
        return command_fail(deploy->settings, RILL_EXIT_USAGE,
                            "--hub-account '%s' is not an address: 0x and 40 digits", deploy->hub_account);
    if (deploy->hub_key_file == NULL)
        return RILL_EXIT_OK;
    enum keystore_error error = keystore_address(deploy->hub_key_file, &deploy->hub);
    if (error != KEYSTORE_OK)
        return command_fail(deploy->settings, RILL_EXIT_KEY, "keystore %s: %s", deploy->hub_key_file,
                            keystore_error_text(error));
    return RILL_EXIT_OK;
}

/* ---- the node ---- */

struct answer {
    bool done;
    enum ledger_error error;
    char *text;
};

static void on_answer(void *context, enum ledger_error error, const char *text)
{
    struct answer *answer = context;
    answer->done = true;
    answer->error = error;
    answer->text = text != NULL ? xstrdup(text) : NULL;
}

static bool answer_arrived(struct session *session)
{
    return ((struct answer *)session->context)->done;
}

static int fail_node(const struct deploy *deploy, enum ledger_error error)
{
    const char *trouble = ledger_trouble(deploy->ledger), *said = ledger_last_error(deploy->ledger);
    if (error == LEDGER_WRONG_CHAIN)
        return command_fail(deploy->settings, RILL_EXIT_UNREACHABLE,
                            "%s; nothing was sent: check --ledger and --chain-id", trouble);
    if (error == LEDGER_UNREACHABLE)
        return command_fail(deploy->settings, RILL_EXIT_UNREACHABLE,
                            "the ledger node at %s cannot be reached (%s); nothing was sent: check --ledger",
                            deploy->settings->ledger, trouble[0] != '\0' ? trouble : said);
    return command_fail(deploy->settings, RILL_EXIT_FAILED, "the ledger node at %s: %s: %s",
                        deploy->settings->ledger, ledger_error_text(error), said);
}

/* *result: the JSON value; to be decref'd. */
static enum ledger_error ask(struct deploy *deploy, const char *method, const char *params, json_t **result)
{
    struct answer answer = {.done = false};
    deploy->session.context = &answer;
    ledger_request(deploy->ledger, method, params, on_answer, &answer);
    bool arrived = session_wait(&deploy->session, answer_arrived, ANSWER_TIMEOUT_MS, "the ledger node");
    enum ledger_error error = arrived ? answer.error : LEDGER_UNREACHABLE;
    if (!arrived) {
        /* Nothing may write to `answer` once it is gone. */
        ledger_free(deploy->ledger);
        deploy->ledger = NULL;
    }
    *result = answer.text != NULL ? json_loads(answer.text, JSON_DECODE_ANY, NULL) : NULL;
    free(answer.text);
    return error;
}

static int check_chain(struct deploy *deploy)
{
    struct buffer probe = {0};
    contract_code_probe(&probe);
    json_t *code = hex_of(probe.data, probe.length), *result = NULL;
    json_t *params = json_pack("[{s:o}, s]", "data", code, "latest");
    char *text = json_dumps(params, JSON_COMPACT);
    enum ledger_error error = ask(deploy, "eth_call", text, &result);
    free(text);
    json_decref(params);
    json_decref(result);
    buffer_free(&probe);
    if (error == LEDGER_OK)
        return RILL_EXIT_OK;
    if (deploy->ledger == NULL)
        return command_fail(deploy->settings, RILL_EXIT_UNREACHABLE,
                            "the ledger node at %s gave no answer; nothing was sent",
                            deploy->settings->ledger);
    if (error != LEDGER_REFUSED)
        return fail_node(deploy, error);
    return command_fail(deploy->settings, RILL_EXIT_FAILED,
                        "this ledger cannot run the contract: it needs an EVM chain with the instructions of "
                        "Ethereum's Cancun upgrade (the node says: %s). rill-ledgerd has the contract built "
                        "in, and needs none",
                        ledger_last_error(deploy->ledger));
}

static int check_funds(struct deploy *deploy)
{
    char text[ADDRESS_TEXT_SIZE], params[ADDRESS_TEXT_SIZE + 24];
    json_t *result = NULL;
    unsigned_wide balance = 0;
    snprintf(params, sizeof(params), "[\"%s\",\"latest\"]", address_text(&deploy->deployer, text));
    enum ledger_error error = ask(deploy, "eth_getBalance", params, &result);
    bool is_number = quantity_wide(result, &balance);
    json_decref(result);
    if (deploy->ledger == NULL)
        return command_fail(deploy->settings, RILL_EXIT_UNREACHABLE,
                            "the ledger node at %s gave no answer; nothing was sent",
                            deploy->settings->ledger);
    if (error != LEDGER_OK || !is_number)
        return fail_node(deploy, error != LEDGER_OK ? error : LEDGER_MALFORMED);
    if (balance > 0)
        return RILL_EXIT_OK;
    return command_fail(deploy->settings, RILL_EXIT_FAILED,
                        "%s has no coins to pay for gas on chain %" PRIu64
                        "; nothing was sent: send it some first",
                        address_text(&deploy->deployer, text), ledger_chain_id(deploy->ledger));
}

/* ---- creating ---- */

static int fail_creation(const struct deploy *deploy, const char *what, const struct sent *sent)
{
    char text[ADDRESS_TEXT_SIZE];
    const char *said = ledger_last_error(deploy->ledger);
    switch (sent->error) {
    case LEDGER_NO_FUNDS:
        return command_fail(
            deploy->settings, RILL_EXIT_FAILED,
            "%s cannot pay the gas for %s, or a block has not room for it (the node says: %s); "
            "nothing was sent",
            address_text(&deploy->deployer, text), what, said);
    case LEDGER_REVERTED:
        if (sent->receipt.block != 0)
            return command_fail(deploy->settings, RILL_EXIT_FAILED,
                                "creating %s failed in block %" PRIu64 " after %" PRIu64
                                " gas: nothing was created",
                                what, sent->receipt.block, sent->receipt.gas_used);
        break;
    case LEDGER_UNREACHABLE:
    case LEDGER_WRONG_CHAIN:
        return fail_node(deploy, sent->error);
    case LEDGER_OK:
    case LEDGER_MALFORMED:
    case LEDGER_REFUSED:
    case LEDGER_STOPPED:
        break;
    }
    return command_fail(deploy->settings, RILL_EXIT_FAILED,
                        "the chain does not take %s: %s (the node says: %s); nothing was sent. Its limits on "
                        "code size (24576 bytes) and on a block's gas must be Ethereum's or wider",
                        what, ledger_error_text(sent->error), said);
}

static int create(struct deploy *deploy, const char *what, const struct buffer *code,
                  struct ledger_receipt *receipt)
{
    struct sent *sent = sending_begin();
    ledger_create(deploy->ledger, &deploy->session.key, code->data, code->length, sending_told, sent);
    int code_exit = sending_wait(&deploy->session, sent, what);
    if (code_exit == RILL_EXIT_OK && sent->error != LEDGER_OK)
        code_exit = fail_creation(deploy, what, sent);
    *receipt = sent->receipt;
    sending_end(sent);
    return code_exit;
}

static int create_hub(struct deploy *deploy)
{
    struct buffer code = {0};
    contract_code_hub(&code, &deploy->hub, deploy->challenge_period, (uint16_t)deploy->bounty_bps);
    int code_exit = create(deploy, "the hub's contract", &code, &deploy->hub_receipt);
    buffer_free(&code);
    return code_exit;
}

static int create_factory(struct deploy *deploy)
{
    struct buffer code = {0};
    contract_code_factory(&code);
    int code_exit = create(deploy, "the token factory", &code, &deploy->factory_receipt);
    buffer_free(&code);
    return code_exit;
}

/* ---- what is there now ---- */

static bool view(struct deploy *deploy, enum contract_function function, struct buffer *result)
{
    struct buffer data = {0};
    enum contract_error reverted;
    contract_encode_call(&data, &(struct contract_call){.function = function});
    bool good = ledger_call_wait(deploy->ledger, &deploy->hub_receipt.created, data.data, data.length, result,
                                 &reverted) == LEDGER_OK &&
                result->length == 32;
    buffer_free(&data);
    return good;
}

static bool answers_number(struct deploy *deploy, enum contract_function function, uint64_t expected)
{
    struct buffer result = {0};
    unsigned_wide value;
    bool good = view(deploy, function, &result) &&
                contract_decode_word(result.data, result.length, 0, &value) && value == expected;
    buffer_free(&result);
    return good;
}

static bool answers_hub(struct deploy *deploy)
{
    struct buffer result = {0};
    struct address hub;
    bool good = view(deploy, CONTRACT_HUB, &result) &&
                contract_decode_address(result.data, result.length, 0, &hub) &&
                address_equal(&hub, &deploy->hub);
    buffer_free(&result);
    return good;
}

/* The separator of all that hub and clients will sign: the same here and there, or no signature would count. */
static bool answers_domain(struct deploy *deploy)
{
    struct buffer result = {0};
    struct domain domain = domain_make(ledger_chain_id(deploy->ledger), &deploy->hub_receipt.created);
    bool good = view(deploy, CONTRACT_DOMAIN_SEPARATOR, &result) &&
                memcmp(result.data, domain.separator.bytes, 32) == 0;
    buffer_free(&result);
    return good;
}

static int check_hub(struct deploy *deploy)
{
    char text[ADDRESS_TEXT_SIZE];
    const char *wrong = !answers_hub(deploy) ? "hub()"
                        : !answers_number(deploy, CONTRACT_CHALLENGE_PERIOD, deploy->challenge_period)
                            ? "challengePeriod()"
                        : !answers_number(deploy, CONTRACT_BOUNTY_BPS, deploy->bounty_bps) ? "bountyBps()"
                        : !answers_domain(deploy) ? "domainSeparator()"
                                                  : NULL;
    if (wrong == NULL)
        return RILL_EXIT_OK;
    return command_fail(deploy->settings, RILL_EXIT_FAILED,
                        "the contract at %s does not answer %s as it was deployed: do not use it (%s)",
                        address_text(&deploy->hub_receipt.created, text), wrong,
                        ledger_last_error(deploy->ledger));
}

/* ---- telling ---- */

static const char *cost_text(const struct ledger_receipt *receipt, char out[BASE_UNITS_TEXT_SIZE])
{
    return base_units_text((unsigned_wide)receipt->gas_used * receipt->effective_gas_price, COIN_DECIMALS,
                           out);
}

static json_t *receipt_json(const struct ledger_receipt *receipt)
{
    char hash[HASH_TEXT_SIZE], cost[BASE_UNITS_TEXT_SIZE];
    return json_pack("{s:o, s:s, s:I, s:I, s:s}", "address", json_address(receipt->created.bytes),
                     "transaction", hash_text(&receipt->transaction, hash), "block",
                     (json_int_t)receipt->block, "gas_used", (json_int_t)receipt->gas_used, "cost",
                     cost_text(receipt, cost));
}

static void print_json(const struct deploy *deploy)
{
    json_t *all = json_pack("{s:I, s:o}", "chain_id", (json_int_t)ledger_chain_id(deploy->ledger), "deployer",
                            json_address(deploy->deployer.bytes));
    if (deploy->wants_hub) {
        json_t *contract = receipt_json(&deploy->hub_receipt);
        json_object_set_new(contract, "hub", json_address(deploy->hub.bytes));
        json_object_set_new(contract, "challenge_period", json_units(deploy->challenge_period));
        json_object_set_new(contract, "bounty_bps", json_units(deploy->bounty_bps));
        json_object_set_new(all, "contract", contract);
    }
    if (deploy->wants_factory)
        json_object_set_new(all, "factory", receipt_json(&deploy->factory_receipt));
    command_print_json(all);
}

static void print_receipt(const char *name, const struct ledger_receipt *receipt)
{
    char text[ADDRESS_TEXT_SIZE], cost[BASE_UNITS_TEXT_SIZE];
    printf("%-17s %s\n", name, address_text(&receipt->created, text));
    printf("  block %" PRIu64 ", %" PRIu64 " gas, %s coins\n", receipt->block, receipt->gas_used,
           cost_text(receipt, cost));
}

static void print_next(const struct deploy *deploy)
{
    char contract[ADDRESS_TEXT_SIZE], factory[ADDRESS_TEXT_SIZE];
    uint64_t chain_id = ledger_chain_id(deploy->ledger);
    address_text(&deploy->factory_receipt.created, factory);
    if (deploy->wants_hub)
        printf("\nNext: rill-hubd, rill-towerd and every wallet's `rill init` take\n"
               "  --ledger %s --chain-id %" PRIu64 " --contract %s\n"
               "and rill-hubd and wallets, so that they need not read the chain from its beginning,\n"
               "  --contract-block %" PRIu64 "\n",
               deploy->settings->ledger, chain_id, address_text(&deploy->hub_receipt.created, contract),
               deploy->hub_receipt.block);
    if (deploy->wants_hub)
        printf("The hub's key then lists what it deals in, and fills its pool:\n"
               "  rill ledger list ASSET --contract %s\n"
               "  rill ledger pool deposit AMOUNT --asset ASSET --contract %s\n",
               contract, contract);
    if (deploy->wants_factory)
        printf("%s a token of your own:\n  rill ledger issue SYMBOL --factory %s\n",
               deploy->wants_hub ? "or issues" : "\nNext: issue", factory);
}

static void print_text(const struct deploy *deploy)
{
    char text[ADDRESS_TEXT_SIZE];
    printf("%-17s %" PRIu64 "\n", "chain", ledger_chain_id(deploy->ledger));
    if (deploy->wants_hub) {
        print_receipt("contract", &deploy->hub_receipt);
        printf("%-17s %s\n", "hub", address_text(&deploy->hub, text));
        printf("%-17s %" PRIu64 " s\n%-17s %" PRIu64 "/10000\n", "challenge period", deploy->challenge_period,
               "bounty", deploy->bounty_bps);
        printf("%-17s hub(), challengePeriod(), bountyBps() and domainSeparator() answer so\n", "checked");
    }
    if (deploy->wants_factory)
        print_receipt("token factory", &deploy->factory_receipt);
    print_next(deploy);
}

static int run(struct deploy *deploy)
{
    char text[ADDRESS_TEXT_SIZE];
    const struct settings *settings = deploy->settings;
    session_start(&deploy->session, settings);
    deploy->ledger = ledger_new(deploy->session.base,
                                &(struct ledger_options){.url = settings->ledger,
                                                         .chain_id = settings->chain_id,
                                                         .confirmations = (uint32_t)settings->confirmations});
    int code = check_chain(deploy);
    if (code == RILL_EXIT_OK)
        code = check_funds(deploy);
    /* The factory first: it serves anybody, so that a failure after it wastes nothing. */
    if (code == RILL_EXIT_OK && deploy->wants_factory)
        code = create_factory(deploy);
    if (code == RILL_EXIT_OK && deploy->wants_hub)
        code = create_hub(deploy);
    if (code == RILL_EXIT_OK && deploy->wants_hub)
        code = check_hub(deploy);
    if (code != RILL_EXIT_OK && !address_is_zero(&deploy->factory_receipt.created))
        fprintf(stderr, "rill: the token factory is there, at %s: another try need not make one\n",
                address_text(&deploy->factory_receipt.created, text));
    if (code == RILL_EXIT_OK && settings->json)
        print_json(deploy);
    else if (code == RILL_EXIT_OK)
        print_text(deploy);
    ledger_free(deploy->ledger);
    return code;
}

int command_ledger_deploy(int argc, char **argv)
{
    struct deploy deploy = {.wants_hub = false};
    struct command_line line = {
        .name = "ledger deploy",
        .usage = "[hub] [factory] [OPTIONS]",
        .about =
            "For the operator: creates the hub's contract (default, or `hub`) on an EVM chain, and with "
            "`factory` the\n"
            "token factory that `rill ledger issue` uses. Whose contract it is, the challenge period and the "
            "bounty are\n"
            "fixed for ever. The wallet's key pays; it needs coins for about six million units of gas. "
            "Afterwards the\n"
            "contract is asked whether it is what was wanted. (rill-ledgerd has both built in.)\n"
            "Example: rill ledger deploy hub factory --ledger http://127.0.0.1:8545 --chain-id 31337 "
            "--hub-key-file hub.json\n"
            "Exit codes: 0 deployed and checked, 1 refused, 2 wrong usage, 3 node not reached or wrong "
            "chain, "
            "4 keystore,\n"
            "6 sent, outcome not known in time.",
        .rows =
            (const struct option_row[]){
                {"hub-account", OPTION_TEXT, &deploy.hub_account, NULL, 0, 0, "ADDRESS",
                 "The address of the hub's key; default: whoever deploys."},
                {"hub-key-file", OPTION_TEXT, &deploy.hub_key_file, NULL, 0, 0, "FILE",
                 "The hub's keystore, to take that address from; it is not opened."},
                {"challenge-period", OPTION_NUMBER, &deploy.challenge_period, "86400", CHALLENGE_PERIOD_MIN_S,
                 CHALLENGE_PERIOD_MAX_S, "SECONDS", "How long a close can be answered."},
                {"bounty-bps", OPTION_NUMBER, &deploy.bounty_bps, "1000", 0, CONTRACT_BOUNTY_BPS_MAX, "BPS",
                 "A tower's part of a penalty, in hundredths of a percent; at most half."},
                {"secret-file", OPTION_TEXT, &deploy.secret_file, NULL, 0, 0, "FILE", sending_secret_help},
            },
        .row_count = 5,
        .words_max = 2,
    };
    int code;
    if (!command_read(&line, argc, argv, &code))
        return code;
    deploy.settings = deploy.session.settings = &line.settings;
    code = read_words(&deploy, &line);
    if (code == RILL_EXIT_OK)
        code = sending_key(&deploy.session, deploy.secret_file);
    if (code == RILL_EXIT_OK) {
        deploy.deployer = secret_key_address(&deploy.session.key);
        code = read_hub(&deploy);
    }
    if (code == RILL_EXIT_OK)
        code = run(&deploy);
    session_close(&deploy.session);
    bytes_wipe(&deploy.session.key, sizeof(deploy.session.key));
    return code;
}
