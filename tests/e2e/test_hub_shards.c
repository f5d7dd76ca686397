/* A hub of two shards, a payer in one and a payee in the other: both kinds of payment, an absent payee, kill -9 on the
 * way, the wrong door; and the number of shards changed while the hub is stopped, with payments of every state in the
 * journals. */
#include "tests/e2e/hub_pair.h"

#include <jansson.h>
#include <sys/stat.h>

#include "hub/transfer.h"

#define SHARDS_AT_FIRST 2

static const char *const two_shards[] = {"--base-fee",
                                         "2",
                                         "--fee-ppm",
                                         "1000",
                                         "--min-lock",
                                         "100",
                                         "--max-lock",
                                         "20000",
                                         "--locks-per-payer",
                                         "3",
                                         "--waiting-max",
                                         "2",
                                         "--inbound-max",
                                         "50000",
                                         "--unrevealed-max",
                                         "3",
                                         "--shards",
                                         "2",
                                         NULL};
static const uint8_t secret[32] = {9, 8, 7};

/* A name whose key belongs to this shard of two. */
static void name_in(uint32_t shard, const char *what, unsigned test, char name[32])
{
    for (unsigned i = 0;; i++) {
        snprintf(name, 32, "%s %u-%u", what, test, i);
        struct secret_key key = key_of(name);
        struct address address = secret_key_address(&key);
        if (shard_of_client(&address, SHARDS_AT_FIRST) == shard)
            return;
    }
}

static int shards_open(void **state)
{
    struct world *world = xcalloc(1, sizeof *world);
    world->stage = stage_open(NULL);
    hub_start(world->stage, two_shards);
    name_in(1, "payer", 0, world->names[0]); /* not the shard whose door it knows */
    name_in(0, "payee", 0, world->names[1]);
    pair_begin(world);
    *state = world;
    return 0;
}

static int shards_close(void **state)
{
    struct world *world = *state;
    pair_close(state);
    hub_stop(world->stage);
    stage_close(world->stage);
    free(world);
    return 0;
}

#define SHARDS_TEST(function) cmocka_unit_test_setup_teardown(function, shards_open, shards_close)

static void come_back(struct world *world, const char *const *flags)
{
    wire_leave(world->payer);
    wire_leave(world->payee);
    hub_start(world->stage, flags);
    wire_connect(world->payer);
    wire_connect(world->payee);
}

static struct payment_id payee_id(const struct world *world, const struct operation *operation)
{
    return payment_id_of_payee(&world->payer->channel->id, &operation->id);
}

static struct operation pay(struct world *world, uint64_t units)
{
    struct hash condition = condition_of_secret(secret);
    struct operation operation = payment_of(world->payer, world->payee, OPERATION_PAY, units, &condition);
    wire_do(world->payer, &operation, NULL);
    return operation;
}

static void arrives(struct world *world, const struct operation *operation)
{
    struct payment_id id = payee_id(world, operation);
    assert_int_equal(wire_operation(world->payee, operation->type, &id)->operation.amount.units,
                     operation->amount.units);
}

static void receipt_comes(struct world *world, const struct operation *operation)
{
    struct payment_id id = payee_id(world, operation);
    wire_reveal(world->payee, &id, secret);
    const struct seen *seen = wire_wait(world->payer, false, MESSAGE_REVEAL, &operation->id);
    assert_memory_equal(seen->revealed.witness.bytes, secret, sizeof secret);
}

/* ---- between shards ---- */

static void test_a_direct_payment(void **state)
{
    struct world *world = *state;
    assert_int_equal(hub_figure(world->stage, "shards"), 2);
    struct operation one = pay(world, 50);
    arrives(world, &one);
    receipt_comes(world, &one);
    assert_int_equal(hub_figure(world->stage, "payments_direct_total"), 1);
    assert_int_equal(hub_figure(world->stage, "payments_completed_total"), 1);
    shown_as_known(world->payer);
    shown_as_known(world->payee);
}

static void test_a_refund_by_the_payee(void **state)
{
    struct world *world = *state;
    struct operation one = pay(world, 60);
    arrives(world, &one);
    struct operation back = {
        .type = OPERATION_REFUND, .id = payee_id(world, &one), .amount = one.amount, .code = CODE_INVOICE};
    wire_do(world->payee, &back, NULL);
    const struct seen *seen = wire_operation(world->payer, OPERATION_REFUND, &one.id);
    assert_int_equal(seen->operation.amount.units, one.amount.units + one.fee.units);
    assert_int_equal(hub_figure(world->stage, "payments_refunded_total"), 1);
}

static void test_unknown_payees_are_refused_by_their_shard(void **state)
{
    struct world *world = *state;
    struct operation operation = payment_of(world->payer, world->payee, OPERATION_PAY, 70, &no_condition);
    char name[32];
    name_in(0, "nobody", 0, name);
    struct secret_key nobody = key_of(name);
    operation.peer = secret_key_address(&nobody);
    wire_do(world->payer, &operation, NULL);
    assert_int_equal(wire_operation(world->payer, OPERATION_REFUND, &operation.id)->operation.code,
                     CODE_PAYEE);
}

static struct operation lock(struct world *world, uint64_t units, struct pending_lock *pending)
{
    struct hash condition = condition_of_secret(secret);
    struct operation operation = payment_of(world->payer, world->payee, OPERATION_LOCK, units, &condition);
    wire_do(world->payer, &operation, pending);
    return operation;
}

/* Killed at each step: with both locks standing, and with the secret shown but the payer not unlocked. */
static void test_a_lock_over_two_kills(void **state)
{
    struct world *world = *state;
    struct pending_lock pending;
    struct operation one = lock(world, 400, &pending);
    arrives(world, &one);
    hub_kill(world->stage);
    come_back(world, two_shards);
    receipt_comes(world, &one);
    (void)wire_operation(world->payee, OPERATION_UNLOCK, NULL);
    hub_kill(world->stage);
    come_back(world, two_shards);
    struct operation unlock = {.type = OPERATION_UNLOCK, .lock_id = pending.lock.id};
    unlock.witness.length = WITNESS_SECRET_BYTES;
    memcpy(unlock.witness.bytes, secret, sizeof secret);
    wire_do(world->payer, &unlock, NULL);
    wire_settle_down(world->payer);
    shown_as_known(world->payer);
    shown_as_known(world->payee);
    assert_int_equal(channel_own(world->payer->channel)->locked.units, 0);
}

static void test_a_failed_lock(void **state)
{
    struct world *world = *state;
    struct pending_lock pending;
    struct operation one = lock(world, 500, &pending);
    arrives(world, &one);
    struct payment_id id = payee_id(world, &one);
    assert_true(channel_mark_failed(world->payee->channel, &id));
    wire_fail(world->payee, &id, CODE_INVOICE);
    const struct seen *seen = wire_wait(world->payer, false, MESSAGE_FAIL, &one.id);
    assert_int_equal(seen->failed.code, CODE_INVOICE);
}

static void test_locks_to_one_who_is_away_fail(void **state)
{
    struct world *world = *state;
    wire_leave(world->payee);
    uint64_t online = 2;
    for (unsigned i = 0; online == 2 && i < 1000; i++) {
        turn(world->stage);
        online = hub_figure(world->stage, "clients_online");
    }
    struct operation one = lock(world, 300, NULL);
    assert_int_equal(wire_wait(world->payer, false, MESSAGE_FAIL, &one.id)->failed.code, CODE_OFFLINE);
}

/* ---- another number of shards ---- */

static int run_reshard(const struct world *world, const char *shards)
{
    char path[256], log[256];
    const char *argv[] = {process_path("rill-hubd", path, sizeof path),
                          "reshard",
                          "--data",
                          world->stage->hub_folder,
                          "--shards",
                          shards,
                          NULL};
    struct process process;
    snprintf(log, sizeof log, "%s/reshard.log", world->stage->folder);
    ensure(process_start(&process, argv, log));
    return process_end(&process, 0);
}

static void reshard_with(struct world *world, const char *shards, const char *const *flags)
{
    hub_stop(world->stage);
    assert_int_equal(run_reshard(world, shards), 0);
    for (unsigned i = 0; i < 8; i++) {
        char old[300];
        if (i == 0)
            snprintf(old, sizeof old, "%s/journal.old", world->stage->hub_folder);
        else
            snprintf(old, sizeof old, "%s/journal-%u.old", world->stage->hub_folder, i);
        folder_remove(old);
    }
    come_back(world, flags); /* as many as the journal says */
    char text[8];
    snprintf(text, sizeof text, "%llu", (unsigned long long)hub_figure(world->stage, "shards"));
    assert_string_equal(text, shards);
}

static void reshard_to(struct world *world, const char *shards)
{
    reshard_with(world, shards, hub_flags);
}

/* Payments under way, of both kinds, go on over 2 -> 1 -> 3 -> 2 shards. */
static void test_payments_go_on_over_other_numbers_of_shards(void **state)
{
    struct world *world = *state;
    struct pending_lock pending;
    struct operation locked = lock(world, 700, &pending);
    arrives(world, &locked);
    struct operation open = pay(world, 80); /* without its receipt yet */
    arrives(world, &open);
    wire_settle_down(world->payer);
    wire_settle_down(world->payee);
    reshard_to(world, "1");
    shown_as_known(world->payer);
    shown_as_known(world->payee);
    receipt_comes(world, &open);
    struct operation more = pay(world, 81);
    arrives(world, &more);
    wire_settle_down(world->payer);
    wire_settle_down(world->payee);
    reshard_to(world, "3");
    receipt_comes(world, &more);
    receipt_comes(world, &locked);
    (void)wire_operation(world->payee, OPERATION_UNLOCK, NULL);
    wire_settle_down(world->payee);
    reshard_to(world, "2");
    struct operation unlock = {.type = OPERATION_UNLOCK, .lock_id = pending.lock.id};
    unlock.witness.length = WITNESS_SECRET_BYTES;
    memcpy(unlock.witness.bytes, secret, sizeof secret);
    wire_do(world->payer, &unlock, NULL);
    wire_settle_down(world->payer);
    shown_as_known(world->payer);
    struct operation last = pay(world, 82);
    arrives(world, &last);
    receipt_comes(world, &last);
}

/* How many of a client's past payments are in each of two states, by what the hub says. */
struct past {
    const struct world *world;
    const struct wire_client *client;
    unsigned completed, refunded;
    char *answer; /* the last one */
};

static bool past_is(void *context)
{
    struct past *past = context;
    char path[128], address[ADDRESS_TEXT_SIZE];
    snprintf(path, sizeof path, "/history?client=%s", address_text(&past->client->address, address));
    char *text = http_ask(past->world->stage->http_port, "GET", path);
    const char *body = strstr(text, "\r\n\r\n");
    json_t *page = json_loads(body == NULL ? text : body, 0, NULL), *item;
    assert_non_null(page);
    unsigned seen[2] = {0};
    size_t i;
    json_array_foreach(json_object_get(page, "payments"), i, item)
    {
        const char *state = json_string_value(json_object_get(item, "state"));
        seen[0] += strcmp(state, "completed") == 0;
        seen[1] += strcmp(state, "refunded") == 0;
    }
    json_decref(page);
    free(past->answer);
    past->answer = text;
    return seen[0] == past->completed && seen[1] == past->refunded;
}

/* A receipt is there before the history, which waits for the disk. */
static void past_becomes(const struct world *world, const struct wire_client *client, unsigned completed,
                         unsigned refunded)
{
    struct past past = {world, client, completed, refunded, NULL};
    if (!holds_in_time(world->stage, past_is, &past))
        fail_msg("%u and %u expected in: %s", completed, refunded, past.answer);
    free(past.answer);
}

static void comes_back(struct world *world, uint64_t units)
{
    struct operation operation = pay(world, units);
    const struct seen *seen = wire_operation(world->payer, OPERATION_REFUND, &operation.id);
    assert_int_equal(seen->operation.code, CODE_LIMIT);
    wire_settle_down(world->payer);
}

/* The limit is its own shard's to know, after a crash and with another number of shards too. */
static void test_a_payee_that_never_reveals(void **state)
{
    static const char *const again[] = {"--base-fee",       "2", "--fee-ppm", "1000",
                                        "--unrevealed-max", "3", NULL};
    struct world *world = *state;
    struct operation first = pay(world, 30);
    arrives(world, &first);
    for (uint64_t units = 31; units < 33; units++) {
        struct operation one = pay(world, units);
        arrives(world, &one);
    }
    comes_back(world, 33);
    hub_kill(world->stage);
    come_back(world, two_shards);
    comes_back(world, 34);
    wire_settle_down(world->payee);
    reshard_with(world, "1", again);
    comes_back(world, 35);
    receipt_comes(world, &first);
    past_becomes(world, world->payer, 1, 3); /* and the hub has written it */
    struct operation last = pay(world, 36);
    arrives(world, &last);
    comes_back(world, 37);
}

static void both_past_are(struct world *world, unsigned completed, unsigned refunded)
{
    wire_settle_down(world->payer);
    wire_settle_down(world->payee);
    past_becomes(world, world->payer, completed, refunded);
    past_becomes(world, world->payee, completed, refunded);
}

static void send_back(struct world *world, const struct operation *operation)
{
    struct operation back = {.type = OPERATION_REFUND,
                             .id = payee_id(world, operation),
                             .amount = operation->amount,
                             .code = CODE_INVOICE};
    wire_do(world->payee, &back, NULL);
    (void)wire_operation(world->payer, OPERATION_REFUND, &operation->id);
}

static struct operation pay_whole(struct world *world, uint64_t units)
{
    struct operation operation = pay(world, units);
    arrives(world, &operation);
    receipt_comes(world, &operation);
    return operation;
}

/* What is over goes along, can still be sent back, and its ids stay taken: 2 -> 1 -> 3 -> 2 shards. */
static void test_past_payments_move_along(void **state)
{
    struct world *world = *state;
    struct operation first = pay_whole(world, 91);
    (void)pay_whole(world, 92);
    both_past_are(world, 2, 0);
    reshard_to(world, "1");
    both_past_are(world, 2, 0);
    send_back(world, &first);
    struct operation third = pay_whole(world, 93);
    both_past_are(world, 2, 1);
    reshard_to(world, "3");
    both_past_are(world, 2, 1);
    struct operation again = third;
    wire_do(world->payer, &again, NULL);
    const struct seen *seen = wire_operation(world->payer, OPERATION_REFUND, &third.id);
    assert_int_equal(seen->operation.code, CODE_DUPLICATE);
    send_back(world, &third);
    both_past_are(world, 1, 2);
    reshard_to(world, "2");
    both_past_are(world, 1, 2);
}

static void refuses_reshard(const struct world *world, const char *shards, const char *words)
{
    char log[256];
    snprintf(log, sizeof log, "%s/reshard.log", world->stage->folder);
    remove(log);
    assert_int_equal(run_reshard(world, shards), 1);
    if (!file_says(log, words))
        fail_msg("it does not say '%s': %s", words, file_text(log));
}

static void test_when_the_number_cannot_be_changed(void **state)
{
    struct world *world = *state;
    refuses_reshard(world, "3", "already open");
    hub_stop(world->stage);
    refuses_reshard(world, "2", "has that number of shards already");
    const char *flags[] = {"--shards", "3", NULL};
    hub_launch(world->stage, flags);
    assert_int_equal(process_end(&world->stage->hubd, 0), 1);
    assert_true(file_says(world->stage->hub_log, "rill-hubd reshard --shards 3"));
    /* An exchange that was cut short: the hub waits for it, and the next call finishes it. */
    char mark[300], from[300], to[300];
    assert_int_equal(run_reshard(world, "3"), 0);
    snprintf(mark, sizeof mark, "%s/reshard", world->stage->hub_folder);
    write_file(mark, "2 3\n");
    snprintf(from, sizeof from, "%s/journal-2", world->stage->hub_folder);
    snprintf(to, sizeof to, "%s/journal-2.new", world->stage->hub_folder);
    assert_int_equal(rename(from, to), 0);
    hub_launch(world->stage, hub_flags);
    assert_int_equal(process_end(&world->stage->hubd, 0), 1);
    assert_true(file_says(world->stage->hub_log, "was cut short"));
    assert_int_equal(run_reshard(world, "3"), 0);
    come_back(world, hub_flags);
    assert_int_equal(hub_figure(world->stage, "shards"), 3);
    shown_as_known(world->payer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SHARDS_TEST(test_a_direct_payment),
        SHARDS_TEST(test_a_refund_by_the_payee),
        SHARDS_TEST(test_unknown_payees_are_refused_by_their_shard),
        SHARDS_TEST(test_a_lock_over_two_kills),
        SHARDS_TEST(test_a_failed_lock),
        SHARDS_TEST(test_locks_to_one_who_is_away_fail),
        SHARDS_TEST(test_a_payee_that_never_reveals),
        SHARDS_TEST(test_payments_go_on_over_other_numbers_of_shards),
        SHARDS_TEST(test_past_payments_move_along),
        SHARDS_TEST(test_when_the_number_cannot_be_changed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
