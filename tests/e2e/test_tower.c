/* The tower as a process against the ledger as a process: cheats are challenged, penalised, finished and paid
 * while nobody else acts; the tower is killed, restarted, and started late. Needs
 * build/debug/bin/rill-ledgerd and rill-towerd, or others in the folder RILL_BIN. */
#include "tests/e2e/tower_stage.h"

/* No block comes but those that the tower's transactions make: it needs none to see the close. */
static void until_without_a_block(struct stage *stage, bool (*holds)(struct stage *), const char *what)
{
    uint64_t end_us = clock_monotonic_us() + PATIENCE_MS * 1000ull;
    while (!holds(stage)) {
        if (clock_monotonic_us() > end_us)
            fail_with_log(stage, what);
        turn(stage);
    }
}

static void test_cheat_is_challenged_penalised_finished_and_paid(void **state)
{
    struct stage *stage = *state;
    struct balance_proof old, none = {0};
    new_channel(stage, 0);
    tower_start(stage);
    hub_appoints(stage, &old);
    start_close(stage, &stage->client, &old, NULL, &none);
    until_without_a_block(stage, is_challenged, "the challenge in the first block after the close");
    past_the_window(stage);
    until(stage, is_closed, "the finish");
    until(stage, finish_is_seen, "its event");
    const struct contract_event *close = find_event(stage, EVENT_CLOSE_STARTED),
                                *challenge = find_event(stage, EVENT_CHALLENGED);
    assert_int_equal(challenge->block, close->block + 1);
    expect_penalty(stage);
    assert_int_equal(process_end(&stage->towerd, SIGTERM), 0);
}

static void test_killed_in_the_middle(void **state)
{
    struct stage *stage = *state;
    struct balance_proof old, none = {0};
    new_channel(stage, 0);
    tower_start(stage);
    hub_appoints(stage, &old);
    start_close(stage, &stage->client, &old, NULL, &none);
    assert_int_equal(process_end(&stage->towerd, SIGKILL), -SIGKILL);
    advance(stage, 1);
    advance(stage, 1);
    tower_start(stage);
    until(stage, is_challenged, "the challenge");
    assert_int_equal(process_end(&stage->towerd, SIGKILL), -SIGKILL);
    past_the_window(stage);
    tower_start(stage);
    until(stage, is_closed, "the finish");
    expect_penalty(stage);
    assert_int_equal(process_end(&stage->towerd, SIGTERM), 0);
}

static void test_started_after_the_close(void **state)
{
    struct stage *stage = *state;
    struct balance_proof old, none = {0};
    new_channel(stage, 0);
    tower_start(stage);
    hub_appoints(stage, &old);
    assert_int_equal(process_end(&stage->towerd, SIGTERM), 0);
    start_close(stage, &stage->client, &old, NULL, &none);
    for (unsigned i = 0; i < 10; i++)
        advance(stage, 100);
    tower_start(stage);
    until(stage, is_challenged, "the challenge");
    past_the_window(stage);
    until(stage, is_closed, "the finish");
    expect_penalty(stage);
    assert_int_equal(process_end(&stage->towerd, SIGTERM), 0);
}

/* The hub closes on an offline client: an old claim of its own stream, an old proof of the client's whose
 * lock was dropped since, and a lock in the client's favour whose secret the tower knows. */
static void test_the_hub_closes_on_an_offline_client(void **state)
{
    struct stage *stage = *state;
    new_channel(stage, 500);
    tower_start(stage);
    struct witness witness = {.length = WITNESS_SECRET_BYTES, .bytes = {1, 2, 3, (uint8_t)stage->key.salt}};
    uint64_t expiry = ledger_head(stage->ledger).time + 20 * PERIOD;
    struct lock lock = {.id = 1, .amount = amount_of(30), .expiry = expiry};
    lock.condition = condition_of_secret(witness.bytes);
    struct lock dropped = {.id = 9, .amount = amount_of(25), .expiry = expiry, .condition = lock.condition};
    struct balance_proof newest = proof_of(5, 100, &lock, 1), claim = proof_of(4, 60, NULL, 0);
    struct balance_proof shown = proof_of(2, 10, &dropped, 1);
    struct shown_lock shown_lock = {.lock = lock};
    struct message message = {0};
    message.appoint.proof = (struct shown_proof){true, newest, sign_proof(stage, &stage->hub, &newest)};
    message.appoint.locks = &shown_lock;
    message.appoint.lock_count = 1;
    message.appoint.witnesses = &witness;
    message.appoint.witness_count = 1;
    struct hash revocation = digest_revocation(&stage->domain, &stage->channel, 3);
    message.appoint.revocation = (struct shown_revocation){true, 3, key_sign(&stage->hub, &revocation)};
    appoint(stage, &stage->client, &message);

    start_close(stage, &stage->hub, &claim, &stage->client, &shown);
    until(stage, is_challenged, "the challenge");
    until(stage, is_void, "the voiding of the old lock");
    past_the_window(stage);
    until(stage, is_closed, "the finish");
    until(stage, unlock_is_seen, "the unlock");
    const struct contract_event *unlocked = find_event(stage, EVENT_UNLOCKED);
    assert_true(unlocked->to_receiver);
    assert_false(unlocked->of_client);
    assert_int_equal(unlocked->amount.units, 30);
    const struct contract_event *finished = find_event(stage, EVENT_FINISHED);
    assert_int_equal(finished->held_client.units, 0);
    assert_int_equal(finished->held_hub.units, 30);
    assert_int_equal(process_end(&stage->towerd, SIGTERM), 0);
}

static void test_metrics_and_health(void **state)
{
    struct stage *stage = *state;
    struct balance_proof old;
    char text[16384];
    new_channel(stage, 0);
    tower_start(stage);
    hub_appoints(stage, &old);
    http_get(stage->metrics_port, "/metrics", text, sizeof text);
    assert_non_null(strstr(text, "\nrill_tower_appointments 1\n"));
    assert_non_null(strstr(text, "\nrill_tower_receipts_total 1\n"));
    assert_non_null(strstr(text, "\nrill_tower_responses_sent_total{kind=\"challenge\"} 0\n"));
    http_get(stage->metrics_port, "/healthz", text, sizeof text);
    assert_non_null(strstr(text, " 200 "));
    http_get(stage->metrics_port, "/other", text, sizeof text);
    assert_non_null(strstr(text, " 404 "));
    assert_int_equal(process_end(&stage->towerd, SIGTERM), 0);
}

/* Starts a tower that must end by itself with this code, having said this. */
static void expect_refusal(struct stage *stage, const char *const argv[], int code, const char *words)
{
    char log[160], text[8192] = "";
    snprintf(log, sizeof log, "%s/refused.log", stage->folder);
    remove(log);
    struct process process;
    char line[16];
    assert_true(process_start(&process, argv, log));
    assert_false(process_line(&process, "rill-towerd ready", line, sizeof line, PATIENCE_MS));
    assert_int_equal(process_end(&process, 0), code);
    FILE *file = fopen(log, "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    if (strstr(text, words) == NULL)
        fail_msg("'%s' does not say '%s'", text, words);
}

static void test_what_cannot_run_says_why(void **state)
{
    struct stage *stage = *state;
    char path[256], other[128], wrong[160], metrics[32];
    stage->key.salt++;
    tower_start(stage);
    process_path("rill-towerd", path, sizeof path);
    snprintf(other, sizeof other, "%s/other", stage->folder);
    snprintf(wrong, sizeof wrong, "%s/wrong.pass", stage->folder);
    snprintf(metrics, sizeof metrics, "127.0.0.1:%u", stage->metrics_port);
    write_file(wrong, "not it\n");
#define COMMON                                                                                               \
    path, "--ledger", stage->url, "--key-file", stage->key_file, "--listen", "127.0.0.1:0", "--contract"
    const char *const locked[] = {COMMON,
                                  stage->contract_text,
                                  "--passphrase-file",
                                  stage->passphrase_file,
                                  "--data",
                                  stage->tower_folder,
                                  "--http",
                                  "127.0.0.1:0",
                                  NULL};
    expect_refusal(stage, locked, 1, "journal");
    const char *const passphrase[] = {
        COMMON, stage->contract_text, "--passphrase-file", wrong, "--data", other, NULL};
    expect_refusal(stage, passphrase, 1, "passphrase");
    const char *const contract[] = {COMMON,
                                    "0x00000000000000000000000000000000000000ff",
                                    "--passphrase-file",
                                    stage->passphrase_file,
                                    "--data",
                                    other,
                                    "--http",
                                    "127.0.0.1:0",
                                    NULL};
    expect_refusal(stage, contract, 1, "no Rill contract");
    const char *const port[] = {COMMON,
                                stage->contract_text,
                                "--passphrase-file",
                                stage->passphrase_file,
                                "--data",
                                other,
                                "--http",
                                metrics,
                                NULL};
    expect_refusal(stage, port, 1, "cannot listen");
#undef COMMON
    assert_int_equal(process_end(&stage->towerd, SIGTERM), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tower_folder, tower_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_cheat_is_challenged_penalised_finished_and_paid),
        TEST(test_killed_in_the_middle),
        TEST(test_started_after_the_close),
        TEST(test_the_hub_closes_on_an_offline_client),
        TEST(test_metrics_and_health),
        TEST(test_what_cannot_run_says_why),
    };
    return cmocka_run_group_tests(tests, stage_open, stage_close);
}
