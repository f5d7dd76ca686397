/* rill-merchantd proxy end to end: what is paid is served once, what is not is refused with its reason, whatever the
 * client, the service and the power do. */
#include "tests/merchant/proxy_world.h"

#define MANY 8

static void test_paid_once(void **state)
{
    struct proxy_world *world = *state;
    expect(world, "GET", "/free/a", NULL, 200, "body ");
    expect(world, "GET", "/secret/a", NULL, 404, "not_offered");
    expect(world, "GET", "/paid", NULL, 402, "\"code\":\"payment_required\"");
    assert_int_equal(asked(world, "GET /paid"), 0);

    struct fetch_offer offer;
    char *payment = pay_for(world, "GET", "/paid?q=1", &offer);
    assert_int_equal(offer.units, PRICE);
    expect(world, "GET", "/paid?q=2", payment, 402, "\"wrong_resource\"");
    expect(world, "POST", "/paid?q=1", payment, 402, "\"wrong_resource\"");
    expect(world, "GET", "/paid?q=1", payment, 200, "X-PAYMENT-RESPONSE: ");
    expect(world, "GET", "/paid?q=1", payment, 402, "\"receipt_spent\"");
    assert_int_equal(asked(world, "GET /paid?q=1"), 1);
    assert_int_equal(asked(world, "GET /paid?q=2"), 0);
    free(payment);
}

/* Changes one character of the JSON inside. */
static char *forged(const char *payment, const char *of, const char *into)
{
    uint8_t text[4096];
    size_t length;
    struct buffer out = {0};
    ensure(http_base64_read((struct http_text){payment, strlen(payment)}, text, sizeof(text) - 1, &length));
    text[length] = '\0';
    char *at = strstr((char *)text, of);
    assert_non_null(at);
    assert_int_equal(strlen(of), strlen(into));
    memcpy(at, into, strlen(into));
    http_base64(&out, text, length);
    return (char *)out.data;
}

static void expect_forged(struct proxy_world *world, const char *payment, const char *of, const char *into,
                          const char *code)
{
    char *other = forged(payment, of, into);
    expect(world, "GET", "/paid", other, 402, code);
    free(other);
}

static void test_payments_refused(void **state)
{
    struct proxy_world *world = *state;
    char *payment = pay_for(world, "GET", "/paid", NULL), headers[2048];
    uint8_t text[4096];
    size_t length;
    ensure(http_base64_read((struct http_text){payment, strlen(payment)}, text, sizeof(text), &length));
    text[length] = '\0';
    const char *secret = strstr((const char *)text, "\"receipt\":\"0x") + 13,
               *offer = strstr((const char *)text, "\"offer\":\"") + 9;
    char digit[] = {secret[0], secret[1], '\0'},
         other_digit[] = {secret[0] == 'a' ? 'b' : 'a', secret[1], '\0'};
    char of[32], into[32];
    snprintf(of, sizeof(of), "\"0x%s", digit);
    snprintf(into, sizeof(into), "\"0x%s", other_digit);
    expect_forged(world, payment, of, into, "\"receipt_unknown\"");
    snprintf(of, sizeof(of), "%.12s", offer);
    snprintf(into, sizeof(into), "%.11s%c", offer, offer[11] == 'A' ? 'B' : 'A');
    expect_forged(world, payment, of, into, "\"receipt_unknown\"");
    expect_forged(world, payment, "rill-channel", "rill-chammel", "\"payment_malformed\"");
    expect_forged(world, payment, "eip155:", "eip156:", "\"payment_malformed\"");
    expect_forged(world, payment, "{\"x402", "{x\"402", "\"payment_malformed\"");
    expect(world, "GET", "/paid", "not base64!", 402, "\"payment_malformed\"");
    snprintf(headers, sizeof(headers), "X-PAYMENT: %s\r\n", payment);
    char *answer = read_all(send_request(world, "GET", "/paid", headers, payment)); /* twice in one request */
    assert_true(says(answer, "\"payment_malformed\""));
    free(answer);

    /* An amount that is said must be the offer's. */
    struct buffer json = {0}, coded = {0};
    text[length - 2] = '\0';
    buffer_printf(&json, "%s,\"amountUnits\":%u}}", (const char *)text, PRICE - 1);
    http_base64(&coded, json.data, json.length);
    expect(world, "GET", "/paid", (const char *)coded.data, 402, "\"wrong_amount\"");
    buffer_free(&json);
    buffer_free(&coded);
    assert_int_equal(asked(world, "GET /paid"), 0);
    expect(world, "GET", "/paid", payment, 200, NULL); /* none of it has spent it */
    free(payment);
}

static void test_given_back_when_the_service_fails(void **state)
{
    struct proxy_world *world = *state;
    static const struct {
        const char *target;
        unsigned status;
    } cases[] = {{"/fail", 500}, {"/drop", 502}, {"/junk", 502}, {"/two", 502}};
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        char *payment = pay_for(world, "GET", cases[i].target, NULL);
        for (int again = 0; again < 2; again++)
            expect(world, "GET", cases[i].target, payment, cases[i].status, "Rill-Receipt: returned");
        free(payment);
    }
    char *payment = pay_for(world, "GET", "/fail/often", NULL);
    for (int i = 0; i < 7; i++)
        expect(world, "GET", "/fail/often", payment, 500, "Rill-Receipt: returned");
    expect(world, "GET", "/fail/often", payment, 500, NULL);
    expect(world, "GET", "/fail/often", payment, 402, "\"receipt_returned_often\"");
    free(payment);
    /* Silence: 504, and given back. */
    payment = pay_for(world, "GET", "/hold", NULL);
    expect(world, "GET", "/hold", payment, 504, "Rill-Receipt: returned");
    write_all(world->gate[1], "x", 1);
    free(payment);
    /* Half an answer: the connection ends early, the receipt is good again. */
    payment = pay_for(world, "GET", "/half/1000", NULL);
    for (int again = 0; again < 2; again++) {
        char *answer = ask(world, "GET", "/half/1000", payment);
        assert_int_equal(strlen(body_of(answer)), 500);
        assert_true(says(answer, "Content-Length: 1000"));
        free(answer);
    }
    free(payment);
}

/* The same receipt on many connections at once: one is served. */
static void test_one_receipt_many_connections(void **state)
{
    struct proxy_world *world = *state;
    int descriptors[MANY];
    unsigned served = 0, refused = 0;
    char *payment = pay_for(world, "GET", "/hold", NULL);
    for (size_t i = 0; i < MANY; i++)
        descriptors[i] = send_request(world, "GET", "/hold", "", payment);
    write_all(world->gate[1], "x", 1);
    for (size_t i = 0; i < MANY; i++) {
        char *answer = read_all(descriptors[i]);
        served += status_of(answer) == 200;
        refused += status_of(answer) == 402 &&
                   (says(answer, "\"receipt_under_way\"") || says(answer, "\"receipt_spent\""));
        free(answer);
    }
    assert_int_equal(served, 1);
    assert_int_equal(refused, MANY - 1);
    assert_int_equal(asked(world, "GET /hold"), 1);
    free(payment);
}

static void test_budget(void **state)
{
    struct proxy_world *world = *state;
    char *token = pay_for(world, "POST", "/.rill/budget?amountUnits=350", NULL);
    expect(world, "GET", "/paid/1", token, 200, "Rill-Budget-Left-Units: 250\r\n");
    expect(world, "POST", "/paid/2", token, 200, "Rill-Charged-Units: 100\r\n");
    expect(world, "GET", "/fail", token, 500, "Rill-Receipt: returned");
    expect(world, "GET", "/.rill/budget", token, 200, "\"leftUnits\":150");
    expect(world, "GET", "/paid/3", token, 200, "Rill-Budget-Left-Units: 50\r\n");
    expect(world, "GET", "/paid/4", token, 402, "\"budget_too_small\"");
    expect(world, "GET", "/.rill/budget", token, 200, "\"leftUnits\":50");
    expect(world, "POST", "/.rill/budget?amountUnits=0", NULL, 422, "\"amount\"");
    expect(world, "POST", "/.rill/budget", NULL, 422, "\"amount\"");
    expect(world, "GET", "/.rill/budget", NULL, 402, "payment_required");
    expect(world, "GET", "/.rill/terms", NULL, 200, "\"rill-channel\"");
    assert_int_equal(asked(world, "GET /paid/4"), 0);
    free(token);
}

/* Requests at once cannot overspend it. */
static void test_budget_many_connections(void **state)
{
    struct proxy_world *world = *state;
    int descriptors[MANY];
    unsigned served = 0, refused = 0;
    char *token = pay_for(world, "POST", "/.rill/budget?amountUnits=399", NULL);
    for (size_t i = 0; i < MANY; i++)
        descriptors[i] = send_request(world, "GET", "/hold", "", token);
    write_all(world->gate[1], "xxx", 3);
    for (size_t i = 0; i < MANY; i++) {
        char *answer = read_all(descriptors[i]);
        served += status_of(answer) == 200;
        refused += status_of(answer) == 402 && says(answer, "\"budget_too_small\"");
        free(answer);
    }
    assert_int_equal(served, 3);
    assert_int_equal(refused, MANY - 3);
    expect(world, "GET", "/.rill/budget", token, 200, "\"leftUnits\":99");
    free(token);
}

static bool hold_was_asked(void *context)
{
    return asked(context, "GET /hold") >= 1;
}

/* Killed between spending and answering: never served twice, a budget keeps its charge, other receipts stay good. */
static void test_killed_while_serving(void **state)
{
    struct proxy_world *world = *state;
    char *payment = pay_for(world, "GET", "/hold", NULL), *other = pay_for(world, "GET", "/paid", NULL);
    char *token = pay_for(world, "POST", "/.rill/budget?amountUnits=300", NULL);
    expect(world, "GET", "/paid/1", token, 200, NULL);
    int descriptor = send_request(world, "GET", "/hold", "", payment);
    if (!holds_in_time(world->stage, hold_was_asked, world))
        fail_msg("the service was not asked");
    proxy_kill(world);
    free(read_all(descriptor));
    write_all(world->gate[1], "x", 1);
    proxy_start(world);
    if (!holds_in_time(world->stage, proxy_offers, world))
        fail_msg("the proxy makes no offers after its restart");
    expect(world, "GET", "/hold", payment, 402, "\"receipt_in_doubt\"");
    assert_int_equal(asked(world, "GET /hold"), 1);
    expect(world, "GET", "/paid", other, 200, NULL);
    expect(world, "GET", "/.rill/budget", token, 200, "\"leftUnits\":200");
    expect(world, "GET", "/paid/2", token, 200, "Rill-Budget-Left-Units: 100\r\n");
    free(payment);
    free(other);
    free(token);
}

/* ---- clients that do not wait ---- */

struct late {
    struct proxy_world *world;
    const char *method, *target;
    char *payment, *answer;
    char line[64];
};

static bool late_was_asked(void *context)
{
    const struct late *late = context;
    return asked(late->world, late->line) >= 1;
}

/* Sends the paid request, and the service has it. Returns the connection. */
static int late_begin(struct late *late)
{
    snprintf(late->line, sizeof(late->line), "%s %s", late->method, late->target);
    write_file(late->world->asked, "");
    late->payment = pay_for(late->world, late->method, late->target, NULL);
    late->answer = NULL;
    int descriptor = send_request(late->world, late->method, late->target, "", late->payment);
    if (!holds_in_time(late->world->stage, late_was_asked, late))
        fail_msg("the service was not asked");
    return descriptor;
}

/* As long as the proxy is at work on it the receipt is under way. */
static bool late_is_over(void *context)
{
    struct late *late = context;
    free(late->answer);
    late->answer = ask(late->world, late->method, late->target, late->payment);
    return !says(late->answer, "\"receipt_under_way\"");
}

static void late_again(struct late *late, unsigned status, const char *text)
{
    if (!holds_in_time(late->world->stage, late_is_over, late))
        fail_msg("the receipt stays under way");
    if (status_of(late->answer) != status || !says(late->answer, text))
        fail_msg("%s %s: %.400s", late->method, late->target, late->answer);
}

static void late_end(struct late *late)
{
    free(late->answer);
    free(late->payment);
}

/* What the service answers after that is kept, and served to the same receipt: once, and the service is not asked again. */
static void test_gone_before_the_answer(void **state)
{
    static const char *const methods[] = {"GET", "POST"};
    struct proxy_world *world = *state;
    for (size_t i = 0; i < ARRAY_LENGTH(methods); i++) {
        struct late late = {.world = world, .method = methods[i], .target = "/hold"};
        close(late_begin(&late));
        expect(world, late.method, "/hold?other", late.payment, 402, "\"wrong_resource\"");
        write_all(world->gate[1], "x", 1);
        late_again(&late, 200, "held");
        assert_true(says(late.answer, "X-PAYMENT-RESPONSE: "));
        assert_int_equal(asked(world, late.line), 1);
        expect(world, late.method, "/hold", late.payment, 402, "\"receipt_spent\"");
        late_end(&late);
    }
}

/* Too long to be kept: what was merely read may be read again, what was done is done. */
static void test_gone_before_a_long_answer(void **state)
{
    struct proxy_world *world = *state;
    struct late read = {.world = world, .method = "GET", .target = "/hold/3000000"};
    struct late done = {.world = world, .method = "POST", .target = "/hold/3000000"};
    close(late_begin(&read));
    write_all(world->gate[1], "xx", 2);
    late_again(&read, 200, "xxxxxxxx");
    assert_int_equal(asked(world, read.line), 2);
    late_end(&read);
    close(late_begin(&done));
    write_all(world->gate[1], "x", 1);
    late_again(&done, 402, "\"receipt_spent\"");
    assert_int_equal(asked(world, done.line), 1);
    late_end(&done);
}

/* One that only stops sending is answered all the same. */
static void test_half_closed_client(void **state)
{
    static const char *const targets[] = {"/hold", "/hold/3000000"};
    struct proxy_world *world = *state;
    for (size_t i = 0; i < ARRAY_LENGTH(targets); i++) {
        struct late late = {.world = world, .method = "GET", .target = targets[i]};
        int descriptor = late_begin(&late);
        assert_int_equal(shutdown(descriptor, SHUT_WR), 0);
        write_all(world->gate[1], "x", 1);
        char *answer = read_all(descriptor);
        assert_int_equal(status_of(answer), 200);
        assert_int_equal(strlen(body_of(answer)), i == 0 ? 4 : 3000000);
        free(answer);
        late_end(&late);
    }
}

static bool is_refused(void *context)
{
    const struct proxy_world *world = context;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(world->proxy_port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool refused = connect(descriptor, (struct sockaddr *)&address, sizeof address) != 0;
    close(descriptor);
    return refused;
}

/* Asks for /hold with this payment, has the proxy told to stop while the service has it, and starts another. answered: the
 * service answers meanwhile; else the proxy is told a second time. What the client got; free it. */
static char *stop_while_serving(struct proxy_world *world, const char *payment, bool answered)
{
    write_file(world->asked, "");
    int descriptor = send_request(world, "GET", "/hold", "", payment);
    if (!holds_in_time(world->stage, hold_was_asked, world))
        fail_msg("the service was not asked");
    assert_int_equal(kill(world->proxy.pid, SIGTERM), 0);
    if (!holds_in_time(world->stage, is_refused, world))
        fail_msg("it still listens");
    if (answered)
        write_all(world->gate[1], "x", 1);
    assert_int_equal(process_end(&world->proxy, answered ? 0 : SIGTERM), 0);
    if (!answered)
        write_all(world->gate[1], "x", 1);
    proxy_start(world);
    if (!holds_in_time(world->stage, proxy_offers, world))
        fail_msg("the proxy makes no offers after its restart");
    return read_all(descriptor);
}

static void test_stopped_while_serving(void **state)
{
    struct proxy_world *world = *state;
    char *payment = pay_for(world, "GET", "/hold", NULL);
    char *answer = stop_while_serving(world, payment, true);
    assert_int_equal(status_of(answer), 200);
    assert_true(says(answer, "held"));
    expect(world, "GET", "/hold", payment, 402, "\"receipt_spent\"");
    free(answer);
    free(payment);
    payment = pay_for(world, "GET", "/hold", NULL);
    answer = stop_while_serving(world, payment, false);
    assert_string_equal(answer, "");
    expect(world, "GET", "/hold", payment, 402, "\"receipt_in_doubt\"");
    free(answer);
    free(payment);
}

/* ---- a receipt that is shown too late ---- */

static bool is_past(void *context)
{
    return clock_unix_s() > *(const uint64_t *)context;
}

static void test_expired(void **state)
{
    struct proxy_world *world = *state;
    proxy_kill(world);
    setenv("RILL_OFFER_LIFETIME_S", "5", 1);
    setenv("RILL_RECEIPT_LIFETIME_S", "10", 1);
    proxy_start(world);
    unsetenv("RILL_OFFER_LIFETIME_S");
    unsetenv("RILL_RECEIPT_LIFETIME_S");
    if (!holds_in_time(world->stage, proxy_offers, world))
        fail_msg("the proxy makes no offers after its restart");
    char *payment = pay_for(world, "GET", "/paid/late", NULL);
    uint64_t end = clock_unix_s() + 10;
    if (!holds_in_time(world->stage, is_past, &end))
        fail_msg("time does not pass");
    expect(world, "GET", "/paid/late", payment, 402, "\"receipt_expired\"");
    assert_int_equal(asked(world, "GET /paid/late"), 0);
    free(payment);
}

int main(void)
{
    const struct CMUnitTest tests[] = {PROXY_TEST(test_paid_once),
                                       PROXY_TEST(test_payments_refused),
                                       PROXY_TEST(test_given_back_when_the_service_fails),
                                       PROXY_TEST(test_one_receipt_many_connections),
                                       PROXY_TEST(test_budget),
                                       PROXY_TEST(test_budget_many_connections),
                                       PROXY_TEST(test_killed_while_serving),
                                       PROXY_TEST(test_gone_before_the_answer),
                                       PROXY_TEST(test_gone_before_a_long_answer),
                                       PROXY_TEST(test_half_closed_client),
                                       PROXY_TEST(test_stopped_while_serving),
                                       PROXY_TEST(test_expired)};
    return cmocka_run_group_tests(tests, proxy_world_set_up, proxy_world_tear_down);
}
