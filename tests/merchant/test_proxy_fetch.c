/* `rill fetch` against a real proxy: limits that outlive the process, receipts that are kept, a budget that is bought once. */
#define PROXY_PATIENCE_S "60" /* longer than `rill fetch` is made to wait */
#include "tests/merchant/proxy_world.h"

static void ended(struct proxy_world *world, int code, int wanted)
{
    char path[200];
    snprintf(path, sizeof(path), "%s/rill.err", world->stage->folder);
    char *text = file_text(path);
    if (code != wanted)
        fail_msg("exit code %d, expected %d: %s", code, wanted, text);
    free(text);
}

/* A payer of its own for a test: its home, and money in its channel. */
static void payer_make(struct proxy_world *world, const char *name, char home[160], char error[200])
{
    snprintf(home, 160, "%s/%s", world->stage->folder, name);
    snprintf(error, 200, "%s/rill.err", world->stage->folder);
    struct secret_key key = key_of(name);
    home_make(home, &key);
    ledger_call_as(world->stage, &world->stage->hub,
                   &(struct contract_call){.function = CONTRACT_DEPOSIT,
                                           .key = {.client = secret_key_address(&key)},
                                           .amount = amount_of(100000)},
                   100000);
}

static void test_fetch(void **state)
{
    struct proxy_world *world = *state;
    char out[65536], url[128], home[160], error[200];
    payer_make(world, "ada", home, error);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/paid", world->proxy_port);
    ended(world, RILL(world, out, "fetch", url, "--home", home, "--max-price", "0.0000001"), 8); /* the fee */
    assert_true(file_says(error, "above the limit of 0.0000001"));
    assert_int_equal(asked(world, "GET /paid"), 0);
    ended(world, RILL(world, out, "fetch", url, "--home", home, "--max-price", "0.0000002"), 0);
    assert_true(says(out, "Rill-Paid-Units: 100"));
    assert_true(file_says(error, "paid 0.0000001 coin"));
    assert_int_equal(asked(world, "GET /paid"), 1);
    /* The day's limit counts what was spent by the process before. */
    ended(world,
          RILL(world, out, "fetch", url, "--home", home, "--max-price", "0.0000002", "--day-limit",
               "0.0000002"),
          8);
    assert_true(file_says(error, "may be spent today"));
    ended(world,
          RILL(world, out, "fetch", url, "--home", home, "--max-price", "0.0000002", "--host-limit",
               "0.0000002"),
          8);

    /* Given back: kept, and used by the next one instead of a second payment. */
    char fail[128];
    snprintf(fail, sizeof(fail), "http://127.0.0.1:%u/fail", world->proxy_port);
    ended(world, RILL(world, out, "fetch", fail, "--home", home, "--max-price", "0.0000002"), 1);
    assert_int_equal(asked(world, "GET /fail"), 2);
    ended(world, RILL(world, out, "fetch", fail, "--home", home, "--json"), 1);
    assert_true(says(out, "\"kept_receipt\":true"));

    /* A budget is bought once. */
    assert_int_equal(
        RILL(world, out, "fetch", url, "--home", home, "--max-price", "0.000001", "--budget", "0.0000005"),
        0);
    ended(world, RILL(world, out, "fetch", url, "--home", home, "--json"), 0);
    assert_true(says(out, "\"from_budget\":true"));
    ended(world, RILL(world, out, "fetch", "--spent", "--home", home), 0);
    assert_true(says(out, "in 3 payments"));
    assert_true(says(out, "0.0000003 coin left of 0.0000005 coin"));
}

/* What has been paid is not paid again while its request is under way. */
static void test_slow_service(void **state)
{
    struct proxy_world *world = *state;
    char out[65536], url[128], home[160], error[200];
    payer_make(world, "bob", home, error);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/hold", world->proxy_port);
    ended(world,
          RILL(world, out, "fetch", url, "--home", home, "--max-price", "0.0000002", "--timeout-s", "3"), 6);
    for (int i = 0; i < 2; i++) {
        ended(world, RILL(world, out, "fetch", url, "--home", home, "--max-price", "0.0000002"), 6);
        assert_true(file_says(error, "still at work"));
    }
    assert_int_equal(asked(world, "GET /hold"), 1);
    ended(world, RILL(world, out, "fetch", "--spent", "--home", home), 0);
    assert_true(says(out, "in 1 payments"));
    write_all(world->gate[1], "x", 1);
}

/* A server in front of the proxy, as one with TLS is. The file says what it does with requests that are paid. */
static void front_serve(struct proxy_world *world, int descriptor)
{
    struct buffer all = {0};
    struct http_head head;
    char path[200];
    (void)service_read(descriptor, &all, &head);
    snprintf(path, sizeof(path), "%s/front", world->stage->folder);
    char *mode = file_text(path);
    if (http_find(&head, "x-payment", NULL) != NULL && strcmp(mode, "relay") != 0) {
        say(descriptor, mode);
    } else {
        int proxy = connect_to(world->proxy_port);
        write_all(proxy, all.data, all.length - 2);
        say(proxy, "Connection: close\r\n\r\n");
        char *answer = read_all(proxy);
        if (status_of(answer) == 402 && strcmp(mode, "stop") == 0)
            kill(world->proxy.pid, SIGSTOP);
        say(descriptor, answer);
    }
    shutdown(descriptor, SHUT_RDWR);
}

static void front_says(const struct proxy_world *world, const char *text)
{
    char path[200];
    snprintf(path, sizeof(path), "%s/front", world->stage->folder);
    write_file(path, text);
}

/* The proxy never saw the receipt: it is kept, whatever the server in front of it says. */
static void test_server_in_front(void **state)
{
    static const char *const answers[] = {
        "HTTP/1.1 503 Away\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 402 Pay\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno",
    };
    struct proxy_world *world = *state;
    char out[65536], url[128], home[160], error[200];
    uint16_t port;
    payer_make(world, "eve", home, error);
    pid_t front = server_start(world, &port, front_serve);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/paid", port);
    for (size_t i = 0; i < ARRAY_LENGTH(answers); i++) {
        front_says(world, answers[i]);
        ended(world, RILL(world, out, "fetch", url, "--home", home, "--max-price", "0.0000002"),
              i == 1 ? 0 : 1);
        assert_true(file_says(error, "kept"));
        front_says(world, "relay");
        ended(world, RILL(world, out, "fetch", url, "--home", home, "--json"), 0);
        assert_true(says(out, "\"kept_receipt\":true"));
    }
    ended(world, RILL(world, out, "fetch", "--spent", "--home", home), 0);
    assert_true(says(out, "in 3 payments"));
    kill(front, SIGKILL);
    waitpid(front, NULL, 0);
}

/* The shop's wallet says nothing until the payer has gone: the next run waits for what came of that payment. */
static void test_payment_under_way(void **state)
{
    struct proxy_world *world = *state;
    char out[65536], url[128], home[160], error[200];
    uint16_t port;
    payer_make(world, "joe", home, error);
    pid_t front = server_start(world, &port, front_serve);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/paid", port);
    for (int budget = 0; budget < 2; budget++) {
        const char *option = budget ? "--budget" : "--day-limit", *units = budget ? "0.0000005" : "0.01";
        front_says(world, "stop");
        ended(world,
              RILL(world, out, "fetch", url, "--home", home, "--max-price", "0.000001", option, units,
                   "--timeout-s", "3"),
              6);
        kill(world->proxy.pid, SIGCONT);
        front_says(world, "relay");
        ended(world,
              RILL(world, out, "fetch", url, "--home", home, "--max-price", "0.000001", option, units,
                   "--json"),
              0);
        assert_true(says(out, budget ? "\"from_budget\":true" : "\"kept_receipt\":true"));
    }
    ended(world, RILL(world, out, "fetch", "--spent", "--home", home), 0);
    assert_true(says(out, "in 2 payments"));
    kill(front, SIGKILL);
    waitpid(front, NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {PROXY_TEST(test_fetch), PROXY_TEST(test_slow_service),
                                       PROXY_TEST(test_server_in_front), PROXY_TEST(test_payment_under_way)};
    return cmocka_run_group_tests(tests, proxy_world_set_up, proxy_world_tear_down);
}
