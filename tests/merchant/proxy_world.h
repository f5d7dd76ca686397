/* A proxy with all around it, for tests: real ledger, hub, wallet and rill-merchantd, and a service of the test's own, a
 * process that does what the path says and writes down what it was asked. */
#ifndef RILL_TESTS_MERCHANT_PROXY_WORLD_H
#define RILL_TESTS_MERCHANT_PROXY_WORLD_H

#include "tests/e2e/hub_fixture.h"

#include <jansson.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "rill.h"
#include "wallet/fetch_offer.h"
#include "wire/http.h"

#ifndef PROXY_PATIENCE_S
#define PROXY_PATIENCE_S "6" /* with a service that is silent */
#endif
#define PRICE 100u /* units, of /paid and all that has no row of its own */

struct proxy_world {
    struct hub_stage *stage;
    pid_t service;
    uint16_t service_port, proxy_port;
    int gate[2]; /* the service's /hold waits until the test writes here */
    struct process proxy;
    char home[160], log[160], asked[160], prices[160], port_text[16];
    struct rill_ledger *ledger;
    struct rill_wallet *wallet; /* the payer's */
    bool ready, outcome;
    struct rill_payment payment;
};

/* ---- the service ---- */

static inline void write_all(int descriptor, const void *bytes, size_t length)
{
    for (size_t at = 0; at < length;) {
        ssize_t written = write(descriptor, (const char *)bytes + at, length - at);
        if (written <= 0)
            return;
        at += (size_t)written;
    }
}

static inline void say(int descriptor, const char *text)
{
    write_all(descriptor, text, strlen(text));
}

static inline void say_many(int descriptor, size_t length)
{
    static char x[16384];
    memset(x, 'x', sizeof x);
    for (size_t part; length > 0; length -= part) {
        part = length < sizeof x ? length : sizeof x;
        write_all(descriptor, x, part);
    }
}

/* Reads the request: its head, then (told) how many bytes of content its body has. */
static inline size_t service_read(int descriptor, struct buffer *all, struct http_head *head)
{
    size_t used = 0, content = 0, step;
    struct http_text piece;
    char part[16384];
    while (all->length == 0 ||
           http_read_request((const char *)all->data, all->length, head, &used) != HTTP_DONE) {
        ssize_t got = read(descriptor, part, sizeof part);
        if (got <= 0)
            _exit(0);
        buffer_append(all, part, (size_t)got);
    }
    struct http_body body = http_body_of(head);
    size_t at = used;
    while (!body.ended) {
        if (at == all->length) {
            ssize_t got = read(descriptor, part, sizeof part);
            if (got <= 0)
                break;
            all->length = at = used; /* only the head is kept */
            buffer_append(all, part, (size_t)got);
        }
        if (!http_body_read(&body, (const char *)all->data + at, all->length - at, &step, &piece))
            break;
        at += step;
        content += piece.length;
    }
    bool again = http_read_request((const char *)all->data, used, head, &used) == HTTP_DONE;
    ensure(again);
    all->length = used;
    return body.ended ? content : SIZE_MAX;
}

static inline void service_answer(struct proxy_world *world, int descriptor, const char *path,
                                  const char *method, const struct buffer *head, size_t content)
{
    char text[256];
    size_t number = strrchr(path, '/') != NULL ? strtoul(strrchr(path, '/') + 1, NULL, 10) : 0;
    bool is_head = strcmp(method, "HEAD") == 0;
    if (strncmp(path, "/n/", 3) == 0 || strncmp(path, "/kib/n/", 7) == 0) {
        snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
                 number);
        say(descriptor, text);
        say_many(descriptor, is_head ? 0 : number);
    } else if (strncmp(path, "/kib/grown/", 11) == 0) { /* longer than HEAD has said */
        snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
                 is_head ? 1000 : number);
        say(descriptor, text);
    } else if (strncmp(path, "/chunk/", 7) == 0 || strncmp(path, "/kib/chunk/", 11) == 0) {
        say(descriptor, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n");
        for (size_t part; number > 0 && !is_head; number -= part) {
            part = number < 5000 ? number : 5000;
            snprintf(text, sizeof text, "%zx\r\n", part);
            say(descriptor, text);
            say_many(descriptor, part);
            say(descriptor, "\r\n");
        }
        say(descriptor, is_head ? "" : "0\r\n\r\n");
    } else if (strncmp(path, "/close/", 7) == 0) {
        say(descriptor, "HTTP/1.1 200 OK\r\n\r\n");
        say_many(descriptor, number);
    } else if (strncmp(path, "/half/", 6) == 0) {
        snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", number);
        say(descriptor, text);
        say_many(descriptor, number / 2);
    } else if (strncmp(path, "/fail", 5) == 0) {
        say(descriptor, "HTTP/1.1 500 Oh\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
    } else if (strncmp(path, "/junk", 5) == 0) {
        say(descriptor, "SSH-2.0-not HTTP\r\n\r\n");
    } else if (strncmp(path, "/two", 4) == 0) {
        say(descriptor, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nno");
    } else if (strncmp(path, "/hold", 5) == 0) {
        char byte;
        ssize_t got = read(world->gate[0], &byte, 1);
        (void)got;
        if (strcmp(path, "/hold/fail") == 0) {
            say(descriptor, "HTTP/1.1 500 Oh\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
            return;
        }
        if (number > 0) {
            snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
                     number);
            say(descriptor, text);
            say_many(descriptor, number);
            return;
        }
        say(descriptor, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nheld");
    } else if (strncmp(path, "/drop", 5) != 0) {
        snprintf(
            text, sizeof text,
            "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\nRill-Charged-Units: 0\r\n\r\n",
            head->length + 32);
        say(descriptor, text);
        snprintf(text, sizeof text, "body %27zu", content);
        say(descriptor, text);
        write_all(descriptor, head->data, head->length);
    }
}

/* One connection, one request, in a process of its own. */
static inline void service_one(struct proxy_world *world, int descriptor)
{
    struct buffer all = {0};
    struct http_head head;
    char target[512], method[32], line[600];
    size_t content = service_read(descriptor, &all, &head);
    snprintf(target, sizeof target, "%.*s", (int)head.target.length, head.target.data);
    snprintf(method, sizeof method, "%.*s", (int)head.method.length, head.method.data);
    FILE *file = fopen(world->asked, "a");
    ensure(file != NULL);
    snprintf(line, sizeof line, "%s %s\n", method, target);
    fputs(line, file);
    fclose(file);
    service_answer(world, descriptor, target, method, &all, content);
    shutdown(descriptor, SHUT_WR);
    char rest[4096];
    while (read(descriptor, rest, sizeof rest) > 0)
        continue;
}

/* A server on a port of its own; each connection is a process. */
static inline pid_t server_start(struct proxy_world *world, uint16_t *port,
                                 void (*serve)(struct proxy_world *world, int descriptor))
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ensure(bind(listener, (struct sockaddr *)&address, sizeof address) == 0 && listen(listener, 64) == 0);
    ensure(getsockname(listener, (struct sockaddr *)&address, &length) == 0);
    *port = ntohs(address.sin_port);
    fflush(NULL);
    pid_t server = fork();
    ensure(server >= 0);
    if (server == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGCHLD, SIG_IGN);
        signal(SIGPIPE, SIG_IGN);
        for (;;) {
            int descriptor = accept(listener, NULL, NULL);
            if (descriptor < 0)
                continue;
            if (fork() == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                serve(world, descriptor);
                _exit(0);
            }
            close(descriptor);
        }
    }
    close(listener);
    return server;
}

/* How often the service was asked for this ("GET /paid"). */
static inline unsigned asked(const struct proxy_world *world, const char *what)
{
    char *text = file_text(world->asked);
    unsigned count = 0;
    for (char *rest, *line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest))
        count += strcmp(line, what) == 0;
    free(text);
    return count;
}

/* ---- the programs ---- */

static inline int rill_run(struct proxy_world *world, char *out, size_t size, const char *const *words)
{
    char path[256], error[200];
    const char *argv[32] = {process_path("rill", path, sizeof path)};
    size_t count = 1, length = 0;
    for (; *words != NULL; words++)
        argv[count++] = *words;
    struct process process;
    snprintf(error, sizeof error, "%s/rill.err", world->stage->folder);
    ensure(process_start(&process, argv, error));
    ssize_t got;
    while (length + 1 < size && (got = read(process.output, out + length, size - 1 - length)) > 0)
        length += (size_t)got;
    out[length] = '\0';
    return process_end(&process, 0);
}

#define RILL(world, out, ...) rill_run(world, out, sizeof(out), (const char *const[]){__VA_ARGS__, NULL})

static inline void proxy_start(struct proxy_world *world)
{
    char path[256], upstream[64], listen[32], line[256];
    snprintf(upstream, sizeof upstream, "http://127.0.0.1:%u", world->service_port);
    snprintf(listen, sizeof listen, "127.0.0.1:%u", world->proxy_port);
    const char *argv[] = {process_path("rill-merchantd", path, sizeof path),
                          "proxy",
                          "--home",
                          world->home,
                          "--upstream",
                          upstream,
                          "--listen",
                          listen,
                          "--prices",
                          world->prices,
                          "--upstream-timeout-s",
                          PROXY_PATIENCE_S,
                          "--trusted-front",
                          "127.0.0.2,10.0.0.0/8",
                          "--log-level",
                          "debug",
                          NULL};
    ensure(process_start(&world->proxy, argv, world->log));
    if (!process_line(&world->proxy, "listening on http://127.0.0.1:", line, sizeof line, PATIENCE_MS)) {
        char *text = file_text(world->log);
        fail_msg("the proxy did not start: %s", text);
    }
    world->proxy_port = (uint16_t)strtoul(strrchr(line, ':') + 1, NULL, 10);
}

static inline void proxy_kill(struct proxy_world *world)
{
    assert_int_equal(process_end(&world->proxy, SIGKILL), -SIGKILL);
}

/* ---- asking ---- */

/* from: an address of loopback. */
static inline int connect_from(in_addr_t from, uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(from)};
    struct timeval patience = {PATIENCE_MS / 1000, 0};
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ensure(setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0);
    ensure(from == INADDR_LOOPBACK || bind(descriptor, (const struct sockaddr *)&own, sizeof own) == 0);
    ensure(connect(descriptor, (struct sockaddr *)&address, sizeof address) == 0);
    return descriptor;
}

static inline int connect_to(uint16_t port)
{
    return connect_from(INADDR_LOOPBACK, port);
}

/* All that comes until the end; free it. */
static inline char *read_all(int descriptor)
{
    struct buffer all = {0};
    char part[65536];
    ssize_t got;
    while ((got = read(descriptor, part, sizeof part)) > 0)
        buffer_append(&all, part, (size_t)got);
    buffer_u8(&all, '\0');
    close(descriptor);
    return (char *)all.data;
}

/* Sends bytes as they are and returns all that is answered; free it. */
static inline char *raw(struct proxy_world *world, const void *bytes, size_t length)
{
    int descriptor = connect_to(world->proxy_port);
    write_all(descriptor, bytes, length);
    return read_all(descriptor);
}

static inline int send_request(struct proxy_world *world, const char *method, const char *target,
                               const char *headers, const char *payment)
{
    struct buffer text = {0};
    int descriptor = connect_to(world->proxy_port);
    buffer_printf(&text, "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nConnection: close\r\n%s", method, target,
                  world->proxy_port, headers);
    if (payment != NULL)
        buffer_printf(&text, "X-PAYMENT: %s\r\n", payment);
    buffer_printf(&text, "\r\n");
    write_all(descriptor, text.data, text.length);
    buffer_free(&text);
    return descriptor;
}

static inline char *ask(struct proxy_world *world, const char *method, const char *target,
                        const char *payment)
{
    return read_all(send_request(world, method, target, "", payment));
}

static inline unsigned status_of(const char *answer)
{
    return strncmp(answer, "HTTP/1.1 ", 9) == 0 ? (unsigned)strtoul(answer + 9, NULL, 10) : 0;
}

static inline const char *body_of(const char *answer)
{
    const char *end = strstr(answer, "\r\n\r\n");
    return end != NULL ? end + 4 : "";
}

static inline bool says(const char *answer, const char *words)
{
    return strstr(answer, words) != NULL;
}

/* Asks, and expects status and (if not NULL) words in the answer. */
static inline void expect(struct proxy_world *world, const char *method, const char *target,
                          const char *payment, unsigned status, const char *words)
{
    char *answer = ask(world, method, target, payment);
    if (status_of(answer) != status || (words != NULL && !says(answer, words))) {
        char *log = file_text(world->log);
        size_t length = strlen(log);
        print_error("%s\n", length > 3000 ? log + length - 3000 : log);
        fail_msg("%s %s: expected %u with '%s', got: %.1200s", method, target, status,
                 words != NULL ? words : "", answer);
    }
    free(answer);
}

/* ---- paying ---- */

static inline void on_wallet_ready(void *context, struct rill_wallet *wallet)
{
    (void)wallet;
    ((struct proxy_world *)context)->ready = true;
}

static inline void on_wallet_outcome(void *context, struct rill_wallet *wallet,
                                     const struct rill_payment *payment)
{
    (void)wallet;
    struct proxy_world *world = context;
    world->payment = *payment;
    world->outcome = true;
}

static inline bool is_funded(void *context)
{
    static const uint8_t coin[20];
    struct proxy_world *world = context;
    struct rill_balance balance;
    return world->ready && rill_balance_of(world->wallet, coin, &balance) && balance.synced &&
           balance.available > 0;
}

static inline bool has_outcome(void *context)
{
    return ((struct proxy_world *)context)->outcome;
}

/* What X-PAYMENT has to be for this, paid just now; free it. The offer is judged as `rill fetch` judges it. */
static inline char *pay_for(struct proxy_world *world, const char *method, const char *target,
                            struct fetch_offer *offer)
{
    char url[600], message[300] = "no offer";
    struct fetch_offer own;
    if (offer == NULL)
        offer = &own;
    char *answer = ask(world, method, target, NULL);
    if (status_of(answer) != 402)
        fail_msg("%s %s: no 402 but %.300s", method, target, answer);
    json_t *body = json_loads(body_of(answer), 0, NULL);
    snprintf(url, sizeof url, "http://127.0.0.1:%u%s", world->proxy_port, target);
    if (!fetch_offer_read(json_array_get(json_object_get(body, "accepts"), 0), world->wallet,
                          rill_ledger_chain_id(world->ledger), method, url, offer, message, sizeof message))
        fail_msg("%s", message);
    json_decref(body);
    free(answer);
    struct rill_request request = {.invoice = offer->invoice};
    world->outcome = false;
    if (rill_pay(world->wallet, &request, NULL) != 0)
        fail_msg("%s", rill_refusal(world->wallet));
    if (!holds_in_time(world->stage, has_outcome, world))
        fail_with_log(world->stage, "a payment's outcome");
    assert_true(world->payment.has_secret);
    return fetch_offer_payment(offer, world->payment.secret);
}

/* ---- the set ---- */

static inline void wallet_open(struct proxy_world *world)
{
    static const struct rill_callbacks callbacks = {
        .ready = on_wallet_ready, .paid = on_wallet_outcome, .failed = on_wallet_outcome};
    struct rill_ledger_options ledger = {.url = world->stage->url, .confirmations = 1, .poll_ms = 20};
    struct secret_key key = key_of("proxy payer");
    char message[300];
    ledger_call_as(world->stage, &world->stage->hub,
                   &(struct contract_call){.function = CONTRACT_DEPOSIT,
                                           .key = {.client = secret_key_address(&key)},
                                           .amount = amount_of(100000000)},
                   100000000);
    memcpy(ledger.contract, world->stage->contract.bytes, sizeof ledger.contract);
    world->ledger = rill_ledger_new(world->stage->base, &ledger);
    assert_true(rill_ledger_wait(world->ledger, PATIENCE_MS));
    struct rill_options options = {
        .ledger = world->ledger, .hub_host = "127.0.0.1", .hub_port = world->stage->hub_port};
    memcpy(options.key, key.bytes, sizeof options.key);
    world->wallet = rill_open(world->stage->base, &options, &callbacks, world, message, sizeof message);
    if (world->wallet == NULL)
        fail_msg("%s", message);
    if (!holds_in_time(world->stage, is_funded, world))
        fail_with_log(world->stage, "the payer's money");
}

/* A wallet's home with its key, as `rill init` leaves it. */
static inline void home_make(const char *home, const struct secret_key *key)
{
    char path[200];
    snprintf(path, sizeof path, "%s/key.json", home);
    ensure(mkdir(home, 0700) == 0 && keystore_create(path, PASSPHRASE, key, 2) == KEYSTORE_OK);
}

/* The shop's channel has the hub's money in it, and none of its own. */
static inline void shop_make(struct proxy_world *world)
{
    struct secret_key key = key_of("proxy shop");
    struct fund fund = {.key = {.client = secret_key_address(&key)},
                        .amount = amount_of(900000)}; /* of the pool's million */
    home_make(world->home, &key);
    ledger_call_as(
        world->stage, &world->stage->hub,
        &(struct contract_call){.function = CONTRACT_SETTLE_BATCH, .funds = &fund, .fund_count = 1}, 0);
}

static inline bool proxy_offers(void *context)
{
    struct proxy_world *world = context;
    char *answer = ask(world, "GET", "/paid", NULL);
    bool offers = status_of(answer) == 402;
    free(answer);
    return offers;
}

static inline struct proxy_world *proxy_world_open(void)
{
    struct proxy_world *world = xcalloc(1, sizeof *world);
    char hub[32];
    signal(SIGPIPE, SIG_IGN);
    world->stage = stage_open((const char *const[]){"--idle-block-ms", "60", NULL});
    snprintf(world->home, sizeof world->home, "%s/shop", world->stage->folder);
    snprintf(world->log, sizeof world->log, "%s/proxy.log", world->stage->folder);
    snprintf(world->asked, sizeof world->asked, "%s/asked", world->stage->folder);
    snprintf(world->prices, sizeof world->prices, "%s/prices", world->stage->folder);
    write_file(world->asked, "");
    write_file(world->prices,
               "GET /free/ 0\n* /secret/ closed\nGET /kib/ 0.00000001 0.000000002\n* /* 0.0000001\n");
    ensure(pipe(world->gate) == 0);
    world->service = server_start(world, &world->service_port, service_one);
    shop_make(world); /* before the hub starts: what it has not funded itself it reads from the ledger then */
    hub_start(world->stage, (const char *const[]){"--min-lock", "1000", NULL});
    snprintf(hub, sizeof hub, "127.0.0.1:%u", world->stage->hub_port);
    setenv("RILL_HUB", hub, 1);
    setenv("RILL_LEDGER", world->stage->url, 1);
    setenv("RILL_CONTRACT", world->stage->contract_text, 1);
    setenv("RILL_CONFIRMATIONS", "1", 1);
    setenv("RILL_PASSPHRASE", PASSPHRASE, 1);
    proxy_start(world);
    wallet_open(world);
    if (!holds_in_time(world->stage, proxy_offers, world))
        fail_msg("the proxy makes no offers");
    write_file(world->asked, "");
    return world;
}

static inline void proxy_world_close(struct proxy_world *world)
{
    rill_close_handle(world->wallet);
    rill_ledger_free(world->ledger);
    int code = process_end(&world->proxy, SIGTERM);
    if (code != 0) {
        char *log = file_text(world->log);
        size_t length = strlen(log);
        print_error("%s\n", length > 6000 ? log + length - 6000 : log);
        free(log);
    }
    assert_int_equal(code, 0);
    kill(world->service, SIGKILL);
    waitpid(world->service, NULL, 0);
    close(world->gate[0]);
    close(world->gate[1]);
    stage_close(world->stage);
    free(world);
}

static inline int proxy_world_set_up(void **state)
{
    *state = proxy_world_open();
    return 0;
}

static inline int proxy_world_tear_down(void **state)
{
    proxy_world_close(*state);
    return 0;
}

/* Each test counts what the service is asked from its own beginning. */
static inline int forget_asked(void **state)
{
    write_file(((struct proxy_world *)*state)->asked, "");
    return 0;
}

#define PROXY_TEST(test) cmocka_unit_test_setup(test, forget_asked)

#endif
