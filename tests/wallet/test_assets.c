/* What assets are called and how they are counted, read from a node that fails or lies: one wrong answer about decimals would
 * make every amount wrong by powers of ten. */
#include "tests/ledger/scripted_node.h"

#include <unistd.h>

#include "ledger/erc20.h"
#include "tests/support/capture.h"
#include "wallet/command.h"

#define UNREVERTED "{\"code\":-32603,\"message\":\"internal error\"}"
#define REVERTED   "{\"code\":3,\"message\":\"execution reverted\",\"data\":\"0x\"}"

static const struct address hub = {{0xaa, 1}}, token = {{0x70, 1}}, second = {{0x70, 2}};

/* What the node says of tokens; NULL: 6 decimals, "USDT". An object is an error. */
static const char *decimals_answer, *symbol_answer;

static json_t *word(unsigned_wide value)
{
    uint8_t bytes[32] = {0};
    store_be64(bytes + 24, (uint64_t)value);
    return hex_of(bytes, sizeof(bytes));
}

static json_t *scripted(const char *answer)
{
    return answer[0] == '{' ? json_loads(answer, 0, NULL) : json_string(answer);
}

static json_t *answers_call(const json_t *call)
{
    struct buffer data = {0};
    uint8_t bytes[32] = {0};
    json_t *answer = NULL;
    ensure(bytes_of_json(json_object_get(call, "data"), &data) && data.length >= 4);
    uint32_t selector = load_be32(data.data);
    if (selector == contract_selector(CONTRACT_HUB)) {
        memcpy(bytes + 12, hub.bytes, sizeof(hub.bytes));
        answer = hex_of(bytes, sizeof(bytes));
    } else if (selector == contract_selector(CONTRACT_CHALLENGE_PERIOD)) {
        answer = word(3600);
    } else if (selector == erc20_selector(ERC20_DECIMALS)) {
        answer = decimals_answer != NULL ? scripted(decimals_answer) : word(6);
    } else if (selector == erc20_selector(ERC20_SYMBOL) && symbol_answer != NULL) {
        answer = scripted(symbol_answer);
    } else if (selector == erc20_selector(ERC20_SYMBOL)) {
        memcpy(bytes, "USDT", 4);
        answer = hex_of(bytes, sizeof(bytes));
    }
    buffer_free(&data);
    ensure(answer != NULL);
    return answer;
}

struct stage {
    struct node *node;
    struct settings settings;
    char home[64];
};

static void list(struct node *node, const struct address *address, unsigned_wide unit)
{
    struct contract_event event = {.type = EVENT_ASSET_LISTED, .address = *address, .wide_amount = unit};
    node_event_add(node, &event);
}

static void stage_open(struct stage *stage)
{
    log_setup("rill-test", LOG_WARN, false);
    decimals_answer = symbol_answer = NULL;
    *stage = (struct stage){.node = node_new(), .home = "/tmp/rill-assets-XXXXXX"};
    ensure(mkdtemp(stage->home) != NULL);
    stage->node->answers_call = answers_call;
    list(stage->node, &token, 1);
    stage->settings = (struct settings){.home = stage->home, .ledger = stage->node->url};
}

static void assets_path(const struct stage *stage, char out[96])
{
    snprintf(out, 96, "%s/assets.json", stage->home);
}

static void stage_close(struct stage *stage)
{
    char path[96];
    assets_path(stage, path);
    (void)remove(path);
    assert_int_equal(rmdir(stage->home), 0); /* nothing else is left there */
    node_free(stage->node);
}

/* A command's session with this node, as far as its assets; to be ended. */
static bool load(struct stage *stage, struct session *session)
{
    struct rill_ledger_options options = {.url = stage->node->url, .chain_id = NODE_CHAIN_ID, .poll_ms = 5};
    memcpy(options.contract, stage->node->contract.bytes, 20);
    memcpy(options.hub, hub.bytes, 20);
    memset(session, 0, sizeof(*session));
    session->settings = &stage->settings;
    session->base = stage->node->base;
    session->ledger = rill_ledger_new(session->base, &options);
    assert_true(rill_ledger_wait(session->ledger, 10000));
    return assets_load(session);
}

static void end(struct session *session)
{
    rill_ledger_free(session->ledger);
}

static uint64_t units_of(struct session *session, const char *amount)
{
    uint64_t units = 0;
    const struct asset_info *asset = asset_named(session, NULL);
    assert_non_null(asset);
    assert_true(asset_parse(session, asset, amount, &units));
    return units;
}

static void assert_kept(const struct stage *stage, size_t count, int decimals)
{
    char path[96];
    assets_path(stage, path);
    json_t *kept = json_load_file(path, 0, NULL);
    assert_int_equal(json_array_size(kept), count);
    if (count > 0)
        assert_int_equal(json_integer_value(json_object_get(json_array_get(kept, 0), "decimals")), decimals);
    json_decref(kept);
}

/* No asset is known, and the command says why. */
static void assert_refused(struct session *session, const char *why)
{
    struct capture capture = capture_begin(STDERR_FILENO);
    const struct asset_info *asset = asset_named(session, NULL);
    char *said = capture_end(&capture);
    assert_null(asset);
    if (strstr(said, why) == NULL)
        fail_msg("'%s' does not say '%s'", said, why);
    free(said);
}

static void test_decimals_are_read_and_kept(void **state)
{
    (void)state;
    struct stage stage;
    struct session session;
    stage_open(&stage);
    assert_true(load(&stage, &session));
    assert_int_equal(units_of(&session, "25"), 25000000);
    assert_string_equal(asset_named(&session, "usdt")->symbol, "USDT");
    assert_kept(&stage, 1, 6);
    end(&session);
    stage_close(&stage);
}

static void test_no_answer_is_no_decimals(void **state)
{
    (void)state;
    static const char *const answers[] = {
        UNREVERTED, "0x06", "{\"code\":-32000,\"message\":\"header not found\"}",
        "0x000000000000000000000000000000000000000000000000000000000000004e", /* 78 */
        "0x0000000000000000000000000000000100000000000000000000000000000006"};
    struct stage stage;
    struct session session;
    stage_open(&stage);
    for (size_t i = 0; i < ARRAY_LENGTH(answers); i++) {
        decimals_answer = answers[i];
        assert_true(load(&stage, &session));
        assert_int_equal(session.asset_count, 0);
        assert_refused(&session, "does not say the decimals of the token 0x7001");
        assert_kept(&stage, 0, 0);
        end(&session);
    }
    decimals_answer = NULL;
    symbol_answer = UNREVERTED;
    assert_true(load(&stage, &session));
    assert_refused(&session, "does not say the symbol of the token 0x7001");
    end(&session);
    symbol_answer = NULL;
    assert_true(load(&stage, &session));
    assert_int_equal(units_of(&session, "25"), 25000000);
    end(&session);
    stage_close(&stage);
}

static void test_what_was_kept_counts_when_the_ledger_fails(void **state)
{
    (void)state;
    struct stage stage;
    struct session session;
    stage_open(&stage);
    assert_true(load(&stage, &session));
    end(&session);
    decimals_answer = UNREVERTED;
    assert_true(load(&stage, &session));
    assert_int_equal(units_of(&session, "25"), 25000000);
    end(&session);

    /* Of a token that is new there is nothing to fall back on; of the other there is. */
    list(stage.node, &second, 1);
    struct capture capture = capture_begin(STDERR_FILENO);
    assert_true(load(&stage, &session));
    char *said = capture_end(&capture);
    assert_non_null(strstr(said, "does not say the decimals of the token 0x7002"));
    free(said);
    assert_int_equal(session.asset_count, 1);
    assert_int_equal(units_of(&session, "25"), 25000000);
    end(&session);

    stage.node->fault = FAULT_ERROR;
    stage.node->error_json = UNREVERTED;
    stage.node->fault_method = "eth_getLogs";
    stage.node->fault_count = 1;
    capture = capture_begin(STDERR_FILENO);
    assert_true(load(&stage, &session));
    said = capture_end(&capture);
    assert_non_null(strstr(said, "does not say which assets the hub lists"));
    free(said);
    assert_int_equal(units_of(&session, "25"), 25000000);
    end(&session);
    assert_kept(&stage, 1, 6);
    stage_close(&stage);
}

static void test_a_token_without_decimals(void **state)
{
    (void)state;
    static const char *const answers[] = {"0x", REVERTED};
    struct stage stage;
    struct session session;
    for (size_t i = 0; i < ARRAY_LENGTH(answers); i++) {
        stage_open(&stage);
        decimals_answer = symbol_answer = answers[i];
        assert_true(load(&stage, &session));
        assert_int_equal(units_of(&session, "25"), 25);
        assert_string_equal(asset_named(&session, NULL)->symbol, "?");
        assert_kept(&stage, 1, 0);
        end(&session);
        stage_close(&stage);
    }
}

static void test_decimals_and_unit_are_kept_from_the_first_sight(void **state)
{
    (void)state;
    static const char *const lies[] = {"0x", REVERTED,
                                       "0x0000000000000000000000000000000000000000000000000000000000000009"};
    struct stage stage;
    struct session session;
    stage_open(&stage);
    assert_true(load(&stage, &session));
    end(&session);
    for (size_t i = 0; i < ARRAY_LENGTH(lies); i++) {
        decimals_answer = lies[i];
        assert_false(load(&stage, &session));
        assert_int_equal(session.asset_count, 0);
        assert_non_null(strstr(session.assets_trouble, "assets.json in the wallet's home says 6 and 1"));
        assert_non_null(strstr(session.assets_trouble, "or remove that file"));
        end(&session);
    }
    decimals_answer = NULL;

    /* A token that the node leaves out for a while is not seen for the first time afterwards. */
    stage.node->logs_hidden = 1;
    assert_true(load(&stage, &session));
    assert_int_equal(session.asset_count, 0);
    end(&session);
    decimals_answer = lies[2];
    assert_false(load(&stage, &session));
    end(&session);
    decimals_answer = NULL;
    assert_kept(&stage, 1, 6);
    assert_true(load(&stage, &session));
    end(&session);

    json_array_clear(stage.node->blocks[0].logs);
    list(stage.node, &token, 1000);
    assert_false(load(&stage, &session));
    assert_non_null(strstr(session.assets_trouble, "has 6 decimals and the unit 1000"));
    end(&session);
    stage_close(&stage);
}

/* The message of a refusal for people and for programs, whatever a stranger's text is in it. */
static void test_a_refusal_with_a_strangers_text(void **state)
{
    (void)state;
    const struct settings settings = {.json = true};
    char text[3001] = "";
    for (size_t i = 0; i < 1500; i++)
        memcpy(text + 2 * i, "\xc3\xa9", 3);
    struct capture error = capture_begin(STDERR_FILENO), out = capture_begin(STDOUT_FILENO);
    int code = command_fail(&settings, RILL_EXIT_FAILED, "the hub says: %s", text);
    char *object = capture_end(&out);
    free(capture_end(&error));
    assert_int_equal(code, RILL_EXIT_FAILED);
    json_t *said = json_loads(object, JSON_REJECT_DUPLICATES, NULL);
    assert_true(strncmp(json_string_value(json_object_get(said, "error")), "the hub says: é", 16) == 0);
    json_decref(said);
    free(object);

    error = capture_begin(STDERR_FILENO);
    out = capture_begin(STDOUT_FILENO);
    (void)command_fail(&settings, RILL_EXIT_FAILED, "%s", "no\nrill: paid\x1b[2J \xff");
    object = capture_end(&out);
    char *line = capture_end(&error);
    assert_string_equal(line, "rill: no?rill: paid?[2J ?\n");
    said = json_loads(object, JSON_REJECT_DUPLICATES, NULL);
    assert_string_equal(json_string_value(json_object_get(said, "error")), "no\nrill: paid\x1b[2J ?");
    json_decref(said);
    free(object);
    free(line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decimals_are_read_and_kept),
        cmocka_unit_test(test_no_answer_is_no_decimals),
        cmocka_unit_test(test_what_was_kept_counts_when_the_ledger_fails),
        cmocka_unit_test(test_a_token_without_decimals),
        cmocka_unit_test(test_decimals_and_unit_are_kept_from_the_first_sight),
        cmocka_unit_test(test_a_refusal_with_a_strangers_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
