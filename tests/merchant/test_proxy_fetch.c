/* `rill fetch` against a real proxy: limits that outlive the process, receipts that are kept, a budget that is bought once;
 * and its library against servers that give one real offer more than once. */
#define PROXY_PATIENCE_S "60" /* longer than `rill fetch` is made to wait */
#include "tests/merchant/proxy_world.h"

#include <event2/buffer.h>
#include <event2/http.h>

#include "rill_fetch.h"

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

    /* The proxy knows it no more: it is let go, and not sent in vain again. */
    char folder[200];
    proxy_kill(world);
    snprintf(folder, sizeof(folder), "%s/proxy", world->home);
    folder_remove(folder);
    proxy_start(world);
    ended(world, RILL(world, out, "fetch", url, "--home", home, "--max-price", "0.0000002", "--json"), 0);
    assert_true(says(out, "\"from_budget\":false"));
    ended(world, RILL(world, out, "fetch", "--spent", "--home", home), 0);
    assert_true(says(out, "in 4 payments"));
    assert_false(says(out, "coin left of"));
}

/* The length of an answer is not known before: of a budget is kept what it did not cost, to the last unit. */
static void test_budget_per_kib(void **state)
{
    struct proxy_world *world = *state;
    char out[65536], url[128], home[160], error[200];
    payer_make(world, "kim", home, error);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/kib/chunk/41000", world->proxy_port);
    /* 10 units, and 2 for each of 64 KiB: all of it is charged until the answer has ended. */
    ended(
        world,
        RILL(world, out, "fetch", url, "--home", home, "--max-price", "0.000001", "--budget", "0.000000138"),
        0);
    assert_true(file_says(error, "by the length of the answer"));
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/kib/chunk/3000", world->proxy_port);
    for (unsigned i = 0; i < 2; i++) { /* 138 - 10 - 82 - 16 - 16 = 14, of which 4 pay for the last 2 KiB */
        ended(world, RILL(world, out, "fetch", url, "--home", home, "--json"), 0);
        assert_true(says(out, "\"from_budget\":true"));
        assert_true(says(out, "\"budget_left\":null"));
    }
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/kib/chunk/2000", world->proxy_port);
    ended(world, RILL(world, out, "fetch", url, "--home", home, "--json"), 0);
    ended(world, RILL(world, out, "fetch", "--spent", "--home", home), 0);
    assert_true(says(out, "in 1 payments"));
    /* Used up: said by its refusal, and another is bought, once. */
    for (unsigned i = 0; i < 2; i++)
        ended(world,
              RILL(world, out, "fetch", url, "--home", home, "--max-price", "0.000001", "--budget",
                   "0.000000138"),
              0);
    ended(world, RILL(world, out, "fetch", "--spent", "--home", home), 0);
    assert_true(says(out, "in 2 payments"));
}

/* ---- servers that give one offer more than once ---- */

/* Two hosts with one offer, which the proxy made for another: a signed invoice names method and path, not the host. */
struct reseller {
    struct proxy_world *world;
    struct evhttp *http;
    uint16_t ports[2];
    json_t *offer;   /* the 402 */
    json_t *budget;  /* the 402 to POST; NULL: it sells none */
    bool gives_back; /* fails, returns the receipt, and gives the same offer as the next one */
    uint64_t budget_units;
    struct rill_fetcher *fetcher;
};

struct fetched {
    bool done;
    unsigned shown; /* heads, and bytes of bodies */
    struct rill_fetch_result result;
    char message[200];
};

static void sell_budget(struct reseller *reseller, struct evhttp_request *request)
{
    char *text = json_dumps(reseller->budget, 0);
    struct evbuffer *body = evbuffer_new();
    evbuffer_add_printf(body, "%s", text != NULL ? text : "none is sold here");
    evhttp_send_reply(request, text != NULL ? 402 : 404, "budget", body);
    evbuffer_free(body);
    free(text);
}

static void on_asked(struct evhttp_request *request, void *context)
{
    struct reseller *reseller = context;
    if (evhttp_request_get_command(request) == EVHTTP_REQ_POST) {
        sell_budget(reseller, request);
        return;
    }
    struct evkeyvalq *out = evhttp_request_get_output_headers(request);
    const struct evkeyvalq *in = evhttp_request_get_input_headers(request);
    json_t *entry = json_array_get(json_object_get(reseller->offer, "accepts"), 0);
    char resource[128];
    snprintf(resource, sizeof(resource), "http://%s/paid", evhttp_find_header(in, "Host"));
    json_object_set_new(entry, "resource", json_string(resource));
    if (evhttp_find_header(in, "X-PAYMENT") == NULL) {
        char *text = json_dumps(reseller->offer, 0);
        struct evbuffer *body = evbuffer_new();
        evbuffer_add(body, text, strlen(text));
        evhttp_send_reply(request, 402, "pay", body);
        evbuffer_free(body);
        free(text);
    } else if (reseller->gives_back) {
        char *text = json_dumps(entry, 0);
        struct buffer coded = {0};
        http_base64(&coded, text, strlen(text));
        evhttp_add_header(out, "Rill-Receipt", "returned");
        evhttp_add_header(out, "Rill-Next-Offer", (const char *)coded.data);
        evhttp_send_reply(request, 500, "failed", NULL);
        buffer_free(&coded);
        free(text);
    } else {
        evhttp_send_reply(request, 200, "served", NULL);
    }
}

static void new_offer(struct reseller *reseller)
{
    char *answer = ask(reseller->world, "GET", "/paid", NULL);
    json_decref(reseller->offer);
    reseller->offer = json_loads(body_of(answer), 0, NULL);
    assert_non_null(reseller->offer);
    reseller->world->outcome = false;
    free(answer);
}

/* folder: NULL: in memory only. */
static void fetcher_open(struct reseller *reseller, const char *folder)
{
    struct proxy_world *world = reseller->world;
    struct rill_fetcher_options options = {.base = world->stage->base,
                                           .wallet = world->wallet,
                                           .ledger = world->ledger,
                                           .folder = folder,
                                           .host_day_limit = 1000000,
                                           .day_limit = 1000000,
                                           .budget_units = reseller->budget_units,
                                           .next_offers = true};
    char message[200];
    rill_fetcher_free(reseller->fetcher);
    reseller->fetcher = rill_fetcher_new(&options, message, sizeof(message));
    if (reseller->fetcher == NULL)
        fail_msg("%s", message);
}

static struct reseller *reseller_open(struct proxy_world *world)
{
    struct reseller *reseller = xcalloc(1, sizeof(*reseller));
    reseller->world = world;
    reseller->http = evhttp_new(world->stage->base);
    for (size_t i = 0; i < 2; i++) {
        struct sockaddr_in address;
        socklen_t length = sizeof(address);
        struct evhttp_bound_socket *bound = evhttp_bind_socket_with_handle(reseller->http, "127.0.0.1", 0);
        assert_non_null(bound);
        ensure(getsockname(evhttp_bound_socket_get_fd(bound), (struct sockaddr *)&address, &length) == 0);
        reseller->ports[i] = ntohs(address.sin_port);
    }
    evhttp_set_gencb(reseller->http, on_asked, reseller);
    fetcher_open(reseller, NULL);
    new_offer(reseller);
    return reseller;
}

static void reseller_close(struct reseller *reseller)
{
    rill_fetcher_free(reseller->fetcher);
    evhttp_free(reseller->http);
    json_decref(reseller->offer);
    json_decref(reseller->budget);
    free(reseller);
}

static void on_fetched(void *context, const struct rill_fetch_result *result)
{
    struct fetched *fetched = context;
    fetched->result = *result;
    snprintf(fetched->message, sizeof(fetched->message), "%s", result->message);
    fetched->done = true;
}

static void on_shown_head(void *context, unsigned status, const char *content_type)
{
    (void)status;
    (void)content_type;
    ((struct fetched *)context)->shown++;
}

static void on_shown(void *context, const void *bytes, size_t length)
{
    (void)bytes;
    ((struct fetched *)context)->shown += (unsigned)length;
}

static void fetch_at(struct reseller *reseller, const char *method, uint16_t port, const char *path,
                     struct fetched *fetched)
{
    char url[128];
    snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", port, path);
    *fetched = (struct fetched){.done = false};
    struct rill_fetch_request request = {.method = method,
                                         .url = url,
                                         .max_price = 1000000,
                                         .head = on_shown_head,
                                         .data = on_shown,
                                         .done = on_fetched,
                                         .context = fetched};
    assert_true(rill_fetch(reseller->fetcher, &request));
}

static void fetch_from(struct reseller *reseller, size_t host, struct fetched *fetched)
{
    fetch_at(reseller, "GET", reseller->ports[host], "/paid", fetched);
}

static void outcome_comes(struct reseller *reseller)
{
    if (!holds_in_time(reseller->world->stage, has_outcome, reseller->world))
        fail_with_log(reseller->world->stage, "a payment's outcome");
}

static bool is_fetched(void *context)
{
    return ((struct fetched *)context)->done;
}

static void assert_fetched(struct reseller *reseller, struct fetched *fetched,
                           enum rill_fetch_outcome outcome, const char *words)
{
    if (!holds_in_time(reseller->world->stage, is_fetched, fetched))
        fail_msg("the fetch does not end");
    if (fetched->result.outcome != outcome || !says(fetched->message, words))
        fail_msg("outcome %d, %s", (int)fetched->result.outcome, fetched->message);
}

static bool add_spent(void *context, const struct rill_fetch_spent *spent)
{
    *(uint64_t *)context += spent->units;
    return true;
}

static uint64_t spent_by(const struct reseller *reseller)
{
    uint64_t units = 0;
    rill_fetch_spent(reseller->fetcher, add_spent, &units);
    return units;
}

static void test_one_offer_for_two_requests(void **state)
{
    struct reseller *reseller = reseller_open(*state);
    const struct rill_payment *payment = &reseller->world->payment;
    struct fetched two[2];
    for (size_t i = 0; i < 2; i++)
        fetch_from(reseller, 0, &two[i]);
    outcome_comes(reseller);
    rill_fetcher_payment(reseller->fetcher, payment);
    struct fetched *first = two[0].done ? &two[1] : &two[0], *second = two[0].done ? &two[0] : &two[1];
    assert_fetched(reseller, second, RILL_FETCH_NO_OFFER, "used before");
    assert_fetched(reseller, first, RILL_FETCH_ANSWERED, "");
    assert_int_equal(first->result.status, 200);
    assert_int_equal(spent_by(reseller), payment->amount + payment->fee);
    reseller_close(reseller);
}

static void test_a_kept_receipt_stays_its_hosts(void **state)
{
    struct reseller *reseller = reseller_open(*state);
    struct fetched fetched;
    reseller->gives_back = true;
    fetch_from(reseller, 0, &fetched);
    outcome_comes(reseller);
    rill_fetcher_payment(reseller->fetcher, &reseller->world->payment);
    assert_fetched(reseller, &fetched, RILL_FETCH_ANSWERED, "");
    assert_int_equal(fetched.result.status, 500);
    reseller->gives_back = false;
    fetch_from(reseller, 1, &fetched);
    assert_fetched(reseller, &fetched, RILL_FETCH_NO_OFFER, "used before");
    fetch_from(reseller, 0, &fetched); /* nor is it paid because it came as the next offer */
    assert_fetched(reseller, &fetched, RILL_FETCH_ANSWERED, "");
    assert_int_equal(fetched.result.status, 200);
    assert_true(fetched.result.kept_receipt);
    assert_int_equal(fetched.result.paid, 0);
    reseller_close(reseller);
}

/* The wallet's word for it is a day after the expiry; here it comes at once. */
static void test_what_is_lost_is_spent(void **state)
{
    struct reseller *reseller = reseller_open(*state);
    struct rill_payment *payment = &reseller->world->payment;
    struct fetched fetched;
    fetch_from(reseller, 0, &fetched);
    outcome_comes(reseller);
    uint64_t cost = payment->amount + payment->fee;
    payment->has_secret = false;
    payment->state = "lost";
    rill_fetcher_payment(reseller->fetcher, payment);
    assert_fetched(reseller, &fetched, RILL_FETCH_UNPAID, "counts as spent");
    assert_int_equal(fetched.result.paid, PRICE);
    assert_int_equal(spent_by(reseller), cost);

    new_offer(reseller);
    fetch_from(reseller, 0, &fetched);
    outcome_comes(reseller);
    payment->has_secret = false;
    payment->state = "failed";
    rill_fetcher_payment(reseller->fetcher, payment);
    assert_fetched(reseller, &fetched, RILL_FETCH_UNPAID, "not paid");
    assert_int_equal(spent_by(reseller), cost);
    reseller_close(reseller);
}

/* Failed, and the hub may collect it yet: the limits count it until the money is back. */
static void test_what_may_be_collected_is_spent(void **state)
{
    struct reseller *reseller = reseller_open(*state);
    struct rill_payment *payment = &reseller->world->payment;
    struct fetched fetched;
    fetch_from(reseller, 0, &fetched);
    outcome_comes(reseller);
    uint64_t cost = payment->amount + payment->fee;
    payment->has_secret = payment->is_final = false;
    payment->state = "failing";
    rill_fetcher_payment(reseller->fetcher, payment);
    assert_fetched(reseller, &fetched, RILL_FETCH_UNPAID, "until the hub has given the money back");
    assert_int_equal(spent_by(reseller), cost);
    rill_fetcher_payment(reseller->fetcher, payment);
    assert_int_equal(spent_by(reseller), cost);
    payment->state = "failed";
    payment->is_final = true;
    rill_fetcher_payment(reseller->fetcher, payment);
    assert_int_equal(spent_by(reseller), 0);
    rill_fetcher_payment(reseller->fetcher, payment);
    assert_int_equal(spent_by(reseller), 0);
    reseller_close(reseller);
}

/* Collected all the same: spent for good, and its receipt is kept for the next request. */
static void test_what_was_collected_is_served(void **state)
{
    struct reseller *reseller = reseller_open(*state);
    struct rill_payment paid, *payment = &reseller->world->payment;
    struct fetched fetched;
    fetch_from(reseller, 0, &fetched);
    outcome_comes(reseller);
    paid = *payment;
    payment->has_secret = payment->is_final = false;
    payment->state = "failing";
    rill_fetcher_payment(reseller->fetcher, payment);
    assert_fetched(reseller, &fetched, RILL_FETCH_UNPAID, "not paid");
    fetch_from(reseller, 0, &fetched); /* waits for what becomes of it */
    rill_fetcher_payment(reseller->fetcher, &paid);
    assert_fetched(reseller, &fetched, RILL_FETCH_ANSWERED, "");
    assert_true(fetched.result.kept_receipt);
    assert_int_equal(spent_by(reseller), paid.amount + paid.fee);
    reseller_close(reseller);
}

/* The ledger says that the payee has it, and the hub shows by what later. */
static void test_a_receipt_comes_late(void **state)
{
    struct reseller *reseller = reseller_open(*state);
    struct rill_payment paid, *payment = &reseller->world->payment;
    struct fetched fetched;
    fetch_from(reseller, 0, &fetched);
    outcome_comes(reseller);
    paid = *payment;
    payment->has_secret = false;
    payment->is_final = true;
    payment->state = "paid";
    rill_fetcher_payment(reseller->fetcher, payment);
    assert_fetched(reseller, &fetched, RILL_FETCH_UNDER_WAY, "has not shown the receipt");
    assert_int_equal(fetched.result.paid, paid.amount);
    fetch_from(reseller, 0, &fetched); /* waits for it */
    rill_fetcher_payment(reseller->fetcher, payment);
    assert_false(fetched.done);
    rill_fetcher_payment(reseller->fetcher, &paid);
    assert_fetched(reseller, &fetched, RILL_FETCH_ANSWERED, "");
    assert_true(fetched.result.kept_receipt);
    assert_int_equal(spent_by(reseller), paid.amount + paid.fee);
    reseller_close(reseller);
}

/* ---- budgets ---- */

static bool is_holding(void *context)
{
    return asked(context, "GET /hold/fail") == 1;
}

static void pay_and_fetch(struct reseller *reseller, const char *path, struct fetched *fetched)
{
    reseller->world->outcome = false;
    fetch_at(reseller, "GET", reseller->world->proxy_port, path, fetched);
    outcome_comes(reseller);
    rill_fetcher_payment(reseller->fetcher, &reseller->world->payment);
    assert_fetched(reseller, fetched, RILL_FETCH_ANSWERED, "");
}

/* Nothing is left, an answer says, while another request is under way: what that did not cost is used yet. */
static void test_budget_credited_late(void **state)
{
    struct reseller *reseller = reseller_open(*state);
    struct proxy_world *world = reseller->world;
    struct fetched held, fetched;
    reseller->budget_units = 3 * PRICE;
    fetcher_open(reseller, NULL);
    pay_and_fetch(reseller, "/paid/1", &fetched);
    uint64_t cost = world->payment.amount + world->payment.fee;
    assert_int_equal(fetched.result.budget_left, 2 * PRICE);
    fetch_at(reseller, "GET", world->proxy_port, "/hold/fail", &held);
    if (!holds_in_time(world->stage, is_holding, world))
        fail_msg("the service is not asked");
    fetch_at(reseller, "GET", world->proxy_port, "/paid/2", &fetched);
    assert_fetched(reseller, &fetched, RILL_FETCH_ANSWERED, "");
    assert_int_equal(fetched.result.budget_left, 0);
    write_all(world->gate[1], "x", 1);
    assert_fetched(reseller, &held, RILL_FETCH_ANSWERED, "");
    assert_int_equal(held.result.status, 500);
    fetch_at(reseller, "GET", world->proxy_port, "/paid/3", &fetched);
    assert_fetched(reseller, &fetched, RILL_FETCH_ANSWERED, "");
    assert_int_equal(fetched.result.status, 200);
    assert_true(fetched.result.from_budget);
    assert_int_equal(fetched.result.budget_left, 0);
    assert_int_equal(spent_by(reseller), cost);
    pay_and_fetch(reseller, "/paid/4", &fetched); /* now it is used up */
    assert_int_equal(fetched.result.paid, 3 * PRICE);
    assert_int_equal(spent_by(reseller), 2 * cost);
    reseller_close(reseller);
}

/* One that is smaller than the price is not bought again and again. */
static void test_budget_smaller_than_the_price(void **state)
{
    struct reseller *reseller = reseller_open(*state);
    struct proxy_world *world = reseller->world;
    struct fetched fetched;
    reseller->budget_units = PRICE / 2;
    fetcher_open(reseller, NULL);
    world->outcome = false;
    fetch_at(reseller, "GET", world->proxy_port, "/paid/5", &fetched);
    outcome_comes(reseller);
    rill_fetcher_payment(reseller->fetcher, &world->payment);
    assert_fetched(reseller, &fetched, RILL_FETCH_REFUSED, "budget_too_small");
    pay_and_fetch(reseller, "/paid/5", &fetched);
    assert_int_equal(fetched.result.status, 200);
    assert_int_equal(fetched.result.paid, PRICE);
    assert_false(fetched.result.from_budget);
    reseller_close(reseller);
}

/* What a host says to the wish for a budget is not the answer; nor is something else a budget because it is offered for
 * one. */
static void test_no_budget_sold(void **state)
{
    struct reseller *reseller = reseller_open(*state);
    char target[64], resource[128];
    struct fetched fetched;
    reseller->budget_units = 3 * PRICE;
    fetcher_open(reseller, NULL);
    fetch_from(reseller, 0, &fetched);
    assert_fetched(reseller, &fetched, RILL_FETCH_NO_OFFER, "sells no budget");
    assert_int_equal(fetched.shown, 0);

    snprintf(target, sizeof(target), "/.rill/budget?amountUnits=%u", 3 * PRICE);
    char *answer = ask(reseller->world, "POST", target, NULL);
    reseller->budget = json_loads(body_of(answer), 0, NULL);
    json_t *entry = json_array_get(json_object_get(reseller->budget, "accepts"), 0);
    snprintf(resource, sizeof(resource), "http://127.0.0.1:%u%s", reseller->ports[0], target);
    assert_int_equal(json_object_set_new(entry, "resource", json_string(resource)), 0);
    assert_int_equal(json_object_set_new(json_object_get(entry, "extra"), "kind", json_string("request")), 0);
    fetch_from(reseller, 0, &fetched);
    assert_fetched(reseller, &fetched, RILL_FETCH_NO_OFFER, "not of the budget");
    assert_int_equal(spent_by(reseller), 0);
    free(answer);
    reseller_close(reseller);
}

/* ---- servers that break off, or never end ---- */

/* Answers the first request of a connection, and closes it at the second. */
static void one_a_connection(struct proxy_world *world, int descriptor)
{
    for (unsigned i = 0; i < 2; i++) {
        struct buffer all = {0};
        struct http_head head;
        (void)service_read(descriptor, &all, &head);
        FILE *file = fopen(world->asked, "a");
        ensure(file != NULL);
        fprintf(file, "%.*s %.*s\n", (int)head.method.length, head.method.data, (int)head.target.length,
                head.target.data);
        fclose(file);
        if (i == 0)
            say(descriptor, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    }
}

/* A connection that was kept closes before the answer: who knows what the server has done. */
static void test_what_acts_is_sent_once(void **state)
{
    struct reseller *reseller = reseller_open(*state);
    struct proxy_world *world = reseller->world;
    struct fetched fetched;
    uint16_t port;
    pid_t server = server_start(world, &port, one_a_connection);
    fetch_at(reseller, "GET", port, "/first", &fetched);
    assert_fetched(reseller, &fetched, RILL_FETCH_ANSWERED, "");
    fetch_at(reseller, "GET", port, "/read", &fetched); /* on a new one, which is kept */
    assert_fetched(reseller, &fetched, RILL_FETCH_ANSWERED, "");
    assert_int_equal(asked(world, "GET /read"), 2);
    fetch_at(reseller, "POST", port, "/act", &fetched);
    assert_fetched(reseller, &fetched, RILL_FETCH_FAILED, "");
    assert_int_equal(asked(world, "POST /act"), 1);
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    reseller_close(reseller);
}

static void refuse_without_end(struct proxy_world *world, int descriptor)
{
    struct buffer all = {0};
    struct http_head head;
    (void)world;
    (void)service_read(descriptor, &all, &head);
    say(descriptor, "HTTP/1.1 402 Pay\r\n\r\n");
    char x[4096];
    memset(x, 'x', sizeof(x));
    while (write(descriptor, x, sizeof(x)) > 0)
        continue;
}

static void test_refusal_without_end(void **state)
{
    struct reseller *reseller = reseller_open(*state);
    struct fetched fetched;
    uint16_t port;
    pid_t server = server_start(reseller->world, &port, refuse_without_end);
    fetch_at(reseller, "GET", port, "/", &fetched);
    assert_fetched(reseller, &fetched, RILL_FETCH_NO_OFFER, "without an offer");
    assert_int_equal(fetched.shown, 0);
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    reseller_close(reseller);
}

static bool note_sent(void *context, const struct rill_payment *payment)
{
    *(bool *)context |= strcmp(payment->state, "sent") == 0;
    return true;
}

static bool is_sent(void *context)
{
    bool sent = false;
    rill_history(((struct proxy_world *)context)->wallet, note_sent, &sent);
    return sent;
}

/* The shop's wallet is silent until the fetcher that paid has gone: the next one waits for what comes of that payment. */
static void test_payment_under_way(void **state)
{
    struct proxy_world *world = *state;
    struct reseller *reseller = reseller_open(world);
    struct fetched given_up, fetched;
    char folder[200];
    snprintf(folder, sizeof(folder), "%s/fetch", world->stage->folder);
    fetcher_open(reseller, folder);
    kill(world->proxy.pid, SIGSTOP);
    fetch_from(reseller, 0, &given_up);
    if (!holds_in_time(world->stage, is_sent, world))
        fail_with_log(world->stage, "a payment that is under way");
    fetcher_open(reseller, folder);
    fetch_from(reseller, 0, &fetched);
    kill(world->proxy.pid, SIGCONT);
    outcome_comes(reseller);
    rill_fetcher_payment(reseller->fetcher, &world->payment);
    assert_fetched(reseller, &fetched, RILL_FETCH_ANSWERED, "");
    assert_true(fetched.result.kept_receipt);
    assert_int_equal(fetched.result.paid, 0);
    assert_int_equal(spent_by(reseller), world->payment.amount + world->payment.fee);
    assert_false(given_up.done);
    reseller_close(reseller);
}

struct patient {
    struct proxy_world *world;
    const char *home, *url;
    char *out; /* 65536 bytes */
};

static bool is_answered_late(void *context)
{
    const struct patient *patient = context;
    int code = rill_run(patient->world, patient->out, 65536,
                        (const char *const[]){"fetch", patient->url, "--home", patient->home, NULL});
    if (code != 0 && code != 6)
        fail_msg("exit code %d: %s", code, patient->out);
    return code == 0;
}

/* The books' folder as it was, put back after a crash: what came later was not on disk yet. */
static void copy_folder(const struct proxy_world *world, const char *from, const char *to)
{
    char error[200];
    struct process copy;
    snprintf(error, sizeof(error), "%s/cp.err", world->stage->folder);
    folder_remove(to);
    ensure(process_start(&copy, (const char *const[]){"/bin/cp", "-a", from, to, NULL}, error));
    assert_int_equal(process_end(&copy, 0), 0);
}

/* What has been paid is not paid again while its request is under way, nor after a crash that the books of what was spent
 * did not survive whole: the wallet's notes have it. */
static void test_slow_service(void **state)
{
    struct proxy_world *world = *state;
    char out[65536], url[128], home[160], error[200], books[200], before[200];
    payer_make(world, "bob", home, error);
    snprintf(books, sizeof(books), "%s/fetch", home);
    snprintf(before, sizeof(before), "%s/before", home);
    ended(world, RILL(world, out, "fetch", "--spent", "--home", home), 0);
    copy_folder(world, books, before);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/hold", world->proxy_port);
    ended(world,
          RILL(world, out, "fetch", url, "--home", home, "--max-price", "0.0000002", "--timeout-s", "3"), 6);
    copy_folder(world, before, books);
    for (int i = 0; i < 2; i++) {
        ended(world, RILL(world, out, "fetch", url, "--home", home, "--max-price", "0.0000002"), 6);
        assert_true(file_says(error, "still at work"));
    }
    assert_int_equal(asked(world, "GET /hold"), 1);
    ended(world, RILL(world, out, "fetch", "--spent", "--home", home), 0);
    assert_true(says(out, "in 1 payments"));
    write_all(world->gate[1], "x", 1);
    /* What the service answers late is there for whoever asks again. */
    struct patient patient = {world, home, url, out};
    if (!holds_in_time(world->stage, is_answered_late, &patient))
        fail_msg("the late answer is lost: %s", out);
    assert_true(says(out, "held"));
    assert_int_equal(asked(world, "GET /hold"), 1);
    ended(world, RILL(world, out, "fetch", "--spent", "--home", home), 0);
    assert_true(says(out, "in 1 payments"));
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
        say(descriptor, read_all(proxy));
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

/* Whatever bytes a server answers with, after it was paid too: programs are told in JSON, people one line. */
static void test_what_a_server_writes(void **state)
{
    static const char words[] = "no\\nrill: paid 5 coin (fee 0 coin)\\u001b[2J";
    struct proxy_world *world = *state;
    char out[65536], url[128], home[160], error[200], body[1024] = "{\"error\":\"x", answer[1400];
    uint16_t port;
    payer_make(world, "kay", home, error);
    pid_t front = server_start(world, &port, front_serve);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/paid", port);
    const char *const fetch[] = {"fetch", url, "--home", home, "--max-price", "0.0000002", "--json", NULL};
    front_says(world, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: "
                      "text/\xff\tplain\xc3\xa9\r\nX-PAYMENT-RESPONSE: e30=\r\n"
                      "Content-Length: 2\r\n\r\nno");
    ended(world, rill_run(world, out, sizeof(out), fetch), 0);
    assert_true(says(out, "\"content_type\":\"text/??plain??\""));
    assert_true(says(out, "\"body\":\"no\""));

    /* Longer than what is shown of it, so that it is cut inside a character. */
    for (size_t i = 0; i < 150; i++)
        strcat(body, "\xc3\xa9");
    strcat(body, "\",\"code\":\"");
    for (size_t i = 0; i < 30; i++)
        strcat(body, "\xc3\xa9");
    strcat(body, "\"}");
    snprintf(answer, sizeof(answer), "HTTP/1.1 402 Pay\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s",
             strlen(body), body);
    front_says(world, answer);
    ended(world, rill_run(world, out, sizeof(out), fetch), 1);
    json_t *said = json_loads(out, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(said);
    assert_true(says(json_string_value(json_object_get(said, "message")), "x\xc3\xa9\xc3\xa9"));
    json_decref(said);
    front_says(world, "relay"); /* what was paid for is had */
    ended(world, rill_run(world, out, sizeof(out), fetch), 0);

    snprintf(body, sizeof(body), "{\"error\":\"%s\"}", words);
    snprintf(answer, sizeof(answer), "HTTP/1.1 402 Pay\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s",
             strlen(body), body);
    front_says(world, answer);
    ended(world, RILL(world, out, "fetch", url, "--home", home, "--max-price", "0.0000002"), 1);
    assert_true(file_says(error, "402: no?rill: paid 5 coin (fee 0 coin)?[2J"));
    kill(front, SIGKILL);
    waitpid(front, NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PROXY_TEST(test_fetch),
        PROXY_TEST(test_what_a_server_writes),
        PROXY_TEST(test_budget_per_kib),
        PROXY_TEST(test_slow_service),
        PROXY_TEST(test_server_in_front),
        PROXY_TEST(test_one_offer_for_two_requests),
        PROXY_TEST(test_a_kept_receipt_stays_its_hosts),
        PROXY_TEST(test_what_is_lost_is_spent),
        PROXY_TEST(test_what_may_be_collected_is_spent),
        PROXY_TEST(test_what_was_collected_is_served),
        PROXY_TEST(test_payment_under_way),
        PROXY_TEST(test_a_receipt_comes_late),
        PROXY_TEST(test_budget_credited_late),
        PROXY_TEST(test_budget_smaller_than_the_price),
        PROXY_TEST(test_no_budget_sold),
        PROXY_TEST(test_what_acts_is_sent_once),
        PROXY_TEST(test_refusal_without_end),
    };
    return cmocka_run_group_tests(tests, proxy_world_set_up, proxy_world_tear_down);
}
