/* One tower process for several contracts; alarms to a real HTTP server; a broken promise proven to a third party. Needs
 * build/debug/bin/rill-ledgerd, rill-towerd and rill, or others in the folder RILL_BIN. */
#include "tests/e2e/tower_stage.h"

#include <event2/buffer.h>
#include <event2/http.h>
#include <jansson.h>
#include <sys/wait.h>

#include "base/endpoint.h"
#include "ledger/evidence.h"

/* ---- two ledgers, two hubs, one tower ---- */

/* The tower serves the first stage's contract, and the others' beside it. */
static void serve_also(struct stage *first, struct stage *const others[], size_t count, char also[1024])
{
    also[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        size_t used = strlen(also);
        snprintf(also + used, 1024 - used, "%sother-%zu %s %s 127.0.0.1:0", i > 0 ? "; " : "", i + 1,
                 others[i]->url, others[i]->contract_text);
    }
    first->extra[0] = "--also";
    first->extra[1] = also;
    first->extra[2] = "--port-file";
    first->extra[3] = first->port_file;
    first->extra[4] = NULL;
    snprintf(first->port_file, sizeof first->port_file, "%s/ports", first->folder);
    remove(first->port_file);
}

/* Waits until all posts serve, and tells the others where. */
static void learn_ports(struct stage *first, struct stage *const others[], size_t count)
{
    char line[256] = "";
    uint64_t end_us = clock_monotonic_us() + PATIENCE_MS * 1000ull;
    while (line[0] == '\0') {
        FILE *file = fopen(first->port_file, "r");
        if (file != NULL) {
            if (fgets(line, sizeof line, file) == NULL)
                line[0] = '\0';
            fclose(file);
        }
        if (clock_monotonic_us() > end_us)
            fail_with_log(first, "the port file");
        turn(first);
    }
    char *at = line;
    first->tower_port = (uint16_t)strtoul(at, &at, 10);
    first->metrics_port = (uint16_t)strtoul(at, &at, 10);
    for (size_t i = 0; i < count; i++)
        others[i]->tower_port = (uint16_t)strtoul(at, &at, 10);
}

static void cheat(struct stage *stage, const struct balance_proof *old)
{
    static const struct balance_proof none;
    start_close(stage, &stage->client, old, NULL, &none);
}

static void test_two_ledgers_and_a_kill(void **state)
{
    struct stage *first = *state, *second = stage_new(4242), *const others[] = {second};
    struct balance_proof old, old_second;
    char also[1024], text[32768];
    new_channel(first, 0);
    new_channel(second, 0);
    snprintf(second->tower_log, sizeof second->tower_log, "%s", first->tower_log);
    serve_also(first, others, 1, also);
    tower_start(first);
    learn_ports(first, others, 1);
    hub_appoints(first, &old);
    hub_appoints(second, &old_second);
    http_get(first->metrics_port, "/metrics", text, sizeof text);
    assert_non_null(strstr(text, "\nrill_tower_appointments{name=\"main\"} 1\n"));
    assert_non_null(strstr(text, "\nrill_tower_appointments{name=\"other-1\"} 1\n"));
    cheat(second, &old_second);
    until(second, is_challenged, "the challenge on the second ledger");
    assert_int_equal(process_end(&first->towerd, SIGKILL), -SIGKILL);
    cheat(first, &old);
    past_the_window(second);
    serve_also(first, others, 1, also);
    tower_start(first);
    until(first, is_challenged, "the challenge on the first ledger");
    until(second, is_closed, "the finish on the second ledger");
    expect_penalty(second);
    past_the_window(first);
    until(first, is_closed, "the finish on the first ledger");
    expect_penalty(first);
    assert_int_equal(process_end(&first->towerd, SIGTERM), 0);
    void *ended = second;
    stage_close(&ended);
}

/* A node that is down holds up nobody but its own contract. */
static void test_a_dead_node_holds_up_only_its_own(void **state)
{
    struct stage *first = *state, *second = stage_new(4243), *const others[] = {second};
    struct balance_proof old;
    char also[1024], text[8192];
    process_end(&second->ledgerd, SIGTERM);
    new_channel(first, 0);
    serve_also(first, others, 1, also);
    tower_start(first);
    hub_appoints(first, &old);
    cheat(first, &old);
    until(first, is_challenged, "the challenge");
    http_get(first->metrics_port, "/healthz", text, sizeof text);
    assert_non_null(strstr(text, " 503 "));
    assert_non_null(strstr(text, "other-1: "));
    assert_null(strstr(text, "main: "));
    assert_int_equal(process_end(&first->towerd, SIGTERM), 0);
    void *ended = second;
    stage_close(&ended);
}

/* Two posts on one ledger have one account: its nonces are given once. */
static void test_two_posts_on_one_ledger_share_the_account(void **state)
{
    struct stage *stage = *state, *const others[] = {stage};
    struct balance_proof old;
    char also[1024];
    serve_also(stage, others, 1, also);
    tower_start(stage);
    struct stage twin = *stage, *const twins[] = {&twin};
    learn_ports(stage, twins, 1);
    uint16_t ports[2] = {stage->tower_port, twin.tower_port};
    assert_true(ports[0] != 0 && ports[1] != 0 && ports[0] != ports[1]);
    struct channel_key keys[2];
    for (unsigned i = 0; i < 2; i++) {
        new_channel(stage, 0);
        stage->tower_port = ports[i];
        hub_appoints(stage, &old);
        keys[i] = stage->key;
        cheat(stage, &old);
    }
    for (unsigned i = 0; i < 2; i++) {
        stage->key = keys[i];
        stage->channel = channel_id(&stage->key);
        until(stage, is_challenged, "the challenge");
    }
    past_the_window(stage);
    for (unsigned i = 0; i < 2; i++) {
        stage->key = keys[i];
        stage->channel = channel_id(&stage->key);
        until(stage, is_closed, "the finish");
    }
    assert_int_equal(process_end(&stage->towerd, SIGTERM), 0);
}

static void test_two_nodes_of_one_chain_are_refused(void **state)
{
    struct stage *first = *state, *second = stage_new(0), *const others[] = {second};
    char also[1024], text[8192] = "";
    serve_also(first, others, 1, also);
    tower_start(first);
    uint64_t end_us = clock_monotonic_us() + PATIENCE_MS * 1000ull;
    int status;
    while (waitpid(first->towerd.pid, &status, WNOHANG) == 0 && clock_monotonic_us() < end_us)
        turn(first);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    first->towerd.pid = 0;
    FILE *file = fopen(first->tower_log, "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    assert_non_null(strstr(text, "at two nodes"));
    void *ended = second;
    stage_close(&ended);
}

/* ---- alarms ---- */

struct pager {
    unsigned asked;
    json_t *alarms;
};

/* The first two posts are not taken: they come again. */
static void on_alarm(struct evhttp_request *request, void *context)
{
    struct pager *pager = context;
    struct evbuffer *body = evhttp_request_get_input_buffer(request);
    if (pager->asked++ < 2) {
        evhttp_send_error(request, 503, "busy");
        return;
    }
    json_t *alarm = json_loadb((const char *)evbuffer_pullup(body, -1), evbuffer_get_length(body), 0, NULL);
    assert_non_null(alarm);
    json_array_append_new(pager->alarms, alarm);
    evhttp_send_reply(request, 204, "taken", NULL);
}

static const json_t *alarm_of(const struct pager *pager, const char *kind)
{
    for (size_t i = 0; i < json_array_size(pager->alarms); i++) {
        const json_t *alarm = json_array_get(pager->alarms, i);
        if (strcmp(json_string_value(json_object_get(alarm, "alarm")), kind) == 0)
            return alarm;
    }
    return NULL;
}

static struct pager *the_pager;

static bool deadline_is_told(struct stage *stage)
{
    (void)stage;
    return alarm_of(the_pager, "deadline") != NULL;
}

static bool miss_is_told(struct stage *stage)
{
    (void)stage;
    return alarm_of(the_pager, "missed") != NULL;
}

/* A budget that pays for nothing: the challenge is not mined, and somebody is told before it is too late. */
static void test_an_alarm_reaches_a_real_server(void **state)
{
    struct stage *stage = *state;
    struct balance_proof old;
    char url[64], text[32768], channel[HASH_TEXT_SIZE];
    struct pager pager = {.alarms = json_array()};
    struct evhttp *server = evhttp_new(stage->base);
    struct evhttp_bound_socket *socket = evhttp_bind_socket_with_handle(server, "127.0.0.1", 0);
    assert_non_null(socket);
    evhttp_set_cb(server, "/alarms", on_alarm, &pager);
    snprintf(url, sizeof url, "http://127.0.0.1:%u/alarms",
             endpoint_bound_port(evhttp_bound_socket_get_fd(socket)));
    the_pager = &pager;
    stage->extra[0] = "--alarm-url";
    stage->extra[1] = url;
    stage->extra[2] = "--budget-response-gwei";
    stage->extra[3] = "1";
    stage->extra[4] = "--budget-day-gwei";
    stage->extra[5] = "2";
    stage->extra[6] = NULL;
    new_channel(stage, 0);
    tower_start(stage);
    hub_appoints(stage, &old);
    cheat(stage, &old);
    advance(stage, PERIOD - PERIOD / 4);
    until(stage, deadline_is_told, "the alarm");
    const json_t *alarm = alarm_of(&pager, "deadline");
    assert_string_equal(json_string_value(json_object_get(alarm, "channel")),
                        hash_text(&stage->channel, channel));
    assert_string_equal(json_string_value(json_object_get(alarm, "duty")), "challenge");
    assert_true(json_integer_value(json_object_get(alarm, "left_s")) <= PERIOD / 4);
    assert_string_equal(json_string_value(json_object_get(alarm, "contract")), stage->contract_text);
    assert_true(pager.asked > 2); /* it was not taken at once */
    assert_false(is_challenged(stage));
    http_get(stage->metrics_port, "/metrics", text, sizeof text);
    assert_non_null(strstr(text, "\nrill_tower_alarm_posts_failed_total 2\n"));
    advance(stage, PERIOD);
    until(stage, miss_is_told, "the alarm that it is too late");
    assert_int_equal(process_end(&stage->towerd, SIGTERM), 0);
    evhttp_free(server);
    json_decref(pager.alarms);
}

/* ---- a promise, broken ---- */

static int run_verify(struct stage *stage, const char *file, char *out, size_t size)
{
    char path[256], log[160];
    const char *const argv[] = {process_path("rill", path, sizeof path),
                                "tower",
                                "verify",
                                file,
                                "--ledger",
                                stage->url,
                                "--contract",
                                stage->contract_text,
                                "--home",
                                stage->folder,
                                NULL};
    struct process process;
    snprintf(log, sizeof log, "%s/verify.log", stage->folder);
    assert_true(process_start(&process, argv, log));
    if (!process_line(&process, "", out, size, PATIENCE_MS))
        out[0] = '\0';
    return process_end(&process, 0);
}

/* The tower gave its receipt for proof 7 and died; the client closed with proof 3, and nobody answered. */
static void test_a_third_party_sees_that_the_tower_failed(void **state)
{
    struct stage *stage = *state;
    struct balance_proof old;
    char file[160], line[512];
    new_channel(stage, 0);
    tower_start(stage);
    hub_appoints(stage, &old);
    struct balance_proof newest = proof_of(7, 400, NULL, 0);
    struct evidence evidence = {.chain_id = stage->domain.chain_id,
                                .contract = stage->contract,
                                .tower = secret_key_address(&stage->tower),
                                .key = stage->key,
                                .digest = stage->receipt_digest,
                                .receipt = stage->receipt_signature,
                                .proof = newest,
                                .signature = sign_proof(stage, &stage->client, &newest)};
    json_t *json = evidence_json(&evidence);
    snprintf(file, sizeof file, "%s/evidence.json", stage->folder);
    assert_int_equal(json_dump_file(json, file, JSON_COMPACT), 0);
    json_decref(json);
    assert_int_equal(run_verify(stage, file, line, sizeof line), 1); /* the channel is open */
    assert_int_equal(strncmp(line, "kept", 4), 0);
    process_end(&stage->towerd, SIGKILL);
    struct address tower = secret_key_address(&stage->tower);
    send_call(stage, &stage->hub,
              &(struct contract_call){.function = CONTRACT_SET_TOWER, .address = tower, .flag = true});
    cheat(stage, &old);
    assert_int_equal(run_verify(stage, file, line, sizeof line), 6); /* there is time */
    assert_int_equal(strncmp(line, "not over", 8), 0);
    advance(stage, PERIOD + 3 * PERIOD / 8 + 1);
    assert_int_equal(run_verify(stage, file, line, sizeof line), 0);
    assert_int_equal(strncmp(line, "FAILED", 6), 0);
    struct contract_call finish = {.function = CONTRACT_FINISH, .key = stage->key};
    send_call(stage, &stage->client, &finish);
    assert_int_equal(run_verify(stage, file, line, sizeof line), 0); /* and for ever */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tower_folder, tower_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_two_ledgers_and_a_kill),
        TEST(test_a_dead_node_holds_up_only_its_own),
        TEST(test_two_posts_on_one_ledger_share_the_account),
        TEST(test_two_nodes_of_one_chain_are_refused),
        TEST(test_an_alarm_reaches_a_real_server),
        TEST(test_a_third_party_sees_that_the_tower_failed),
    };
    return cmocka_run_group_tests(tests, stage_open, stage_close);
}
