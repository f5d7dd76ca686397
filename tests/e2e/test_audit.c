/* What wallets and auditors can check of a hub, with the real programs: payments proven in settled batches, balances
 * counted in what the hub says it owes; and hubs that lie, which stand between the wallet and the real one. */
#include <dirent.h>
#include <event2/buffer.h>
#include <event2/http.h>
#include <pthread.h>
#include <sys/eventfd.h>

#include "crypto/liabilities.h"
#include "hub/publication.h"
#include "hub/transfer.h"
#include "rill_day.h"
#include "tests/support/slow_server.h"
#include "wallet/hub_http.h"
#include "wallet/statement.h"

/* Two shards, and no batch but those that are asked for. */
static const char *const seldom[] = {
    "--shards", "2", "--settle-interval-s", "3600", "--min-expiry-s", "600", "--min-lock", "1000", NULL};

#define PAYER_DEPOSIT "0.00005"

struct stand {
    struct day *day;
    char payer[160], shop[160];
    struct address payer_address, shop_address;
};

/* ---- the stand ---- */

/* A wallet in the shard; `name` says where it lives. */
static struct address wallet_in(struct day *day, uint32_t shard, const char *name, char home[160])
{
    for (int i = 0; i < 64; i++) {
        char numbered[40];
        snprintf(numbered, sizeof(numbered), "%s%d", name, i);
        home_of(day, numbered, home);
        struct address address = make_wallet(day, home);
        if (shard_of_client(&address, 2) == shard)
            return address;
    }
    fail_msg("no key of 64 fell into shard %u", shard);
    return ADDRESS_ZERO;
}

static void hub_comes_back(struct day *day)
{
    hub_kill(day->stage);
    hub_start(day->stage, seldom);
    day_hub_moved(day);
}

static void pay(struct stand *stand, const char *amount, const char *mode)
{
    day_pay(stand->day, stand->payer, stand->shop, amount, mode);
}

/* One batch, that pays the shop something out. */
static void settle(struct stand *stand)
{
    struct day *day = stand->day;
    char path[256], log[200];
    const char *const withdraw[] = {
        process_path("rill", path, sizeof(path)), "withdraw", "0.0000001", "--home", stand->shop, NULL};
    struct process process;
    snprintf(log, sizeof(log), "%s/withdraw.err", day->stage->folder);
    ensure(process_start(&process, withdraw, log));
    uint64_t until = clock_monotonic_us() + PATIENCE_MS * 1000;
    struct pollfd done = {.fd = process.output, .events = POLLIN};
    while (poll(&done, 1, 200) == 0 && clock_monotonic_us() < until)
        free(http_ask(day->stage->http_port, "POST", "/settle"));
    assert_int_equal(process_end(&process, 0), 0);
}

static int stand_open(void **state)
{
    struct stand *stand = xcalloc(1, sizeof(*stand));
    struct day *day = stand->day = day_open(seldom);
    char out[65536];
    stand->payer_address = wallet_in(day, 0, "payer", stand->payer);
    stand->shop_address = wallet_in(day, 1, "shop", stand->shop);
    expect(day, 0, RILL(day, out, "deposit", PAYER_DEPOSIT, "--home", stand->payer), out);
    expect(day, 0, RILL(day, out, "open", "0.00003", "--home", stand->shop), out);
    *state = stand;
    return 0;
}

static int stand_close(void **state)
{
    struct stand *stand = *state;
    day_close(stand->day);
    free(stand);
    return 0;
}

#define STAND_TEST(function) cmocka_unit_test_setup_teardown(function, stand_open, stand_close)

/* ---- a hub that lies: what the real one says, changed ---- */

enum lie {
    LIE_NONE,
    LIE_PATH,     /* another hash in the path */
    LIE_BATCH,    /* another batch's number */
    LIE_SUM,      /* a statement with another sum */
    LIE_LEFT_OUT, /* a signed statement without the client's channel */
    LIE_LESS,     /* one that counts it with less */
    LIE_AHEAD,    /* with less, as if by a proof of the hub's that is still on its way */
    LIE_GONE,     /* the statement that it shows is said to be gone when the client asks for its leaf */
    LIE_OLD,      /* a statement of some time ago, liar.kept, is shown as if it were the newest */
    LIE_TIME,     /* one signed with another time than its block's */
    LIE_FUTURE,   /* one signed of a block that will not come for long */
    LIE_RUBBISH,  /* no statement at all, with status 200 */
    LIE_REPLACED, /* a newer statement each time that it is looked at, and the one asked about is gone */
    LIE_TWICE     /* another signed one of a number that was shown already: liar.number */
};

struct liar {
    struct stand *stand;
    enum lie lie;
    uint64_t number;
    char *kept;
    struct event_base *base;
    struct evhttp *http;
    struct event *end;
    pthread_t thread;
    int ended;
    char at[32];
    struct publication *publication; /* of its own, signed with the hub's key */
};

/* The first digit behind these words becomes another one. */
static void change_behind(char *text, const char *words)
{
    char *at = strstr(text, words);
    if (at != NULL) {
        at += strlen(words);
        *at = *at == '1' ? '2' : '1';
    }
}

/* Counts the payer with less or not at all, and gives itself what is missing: else the sums would betray it. */
static void make_publication(struct liar *liar, const json_t *real)
{
    struct stand *stand = liar->stand;
    const json_t *asset = json_array_get(json_object_get(real, "assets"), 0);
    struct channel_key payer = {.client = stand->payer_address}, shop = {.client = stand->shop_address};
    uint64_t clients = json_number_at(asset, "clients"), hub = json_number_at(asset, "hub");
    uint64_t less = 5000; /* more than the shop has, which goes to the payer */
    struct engine_counted entries[] = {
        {.channel = channel_id(&shop), .balance = amount_of(0), .nonce_hub = 1},
        {.channel = channel_id(&payer), .balance = amount_of(clients - less), .nonce_client = 1},
    };
    if (liar->lie == LIE_LEFT_OUT) {
        entries[0].balance = amount_of(clients);
        entries[1].channel = HASH_ZERO; /* nobody's: the number of channels would betray it, too */
        entries[1].balance = amount_of(0);
        less = 0;
    }
    if (liar->lie == LIE_AHEAD)
        entries[1].nonce_hub = 1;
    struct engine_count count = {.block = json_number_at(real, "block"),
                                 .time = json_number_at(real, "time"),
                                 .asset_count = 1,
                                 .entries = entries,
                                 .length = ARRAY_LENGTH(entries)};
    struct engine_count *const counts[] = {&count};
    struct hash previous;
    assert_true(json_hash_at(real, "previous", &previous));
    count.assets[0].asset = ADDRESS_ZERO;
    count.assets[0].hub = amount_of(hub + less);
    publication_free(liar->publication);
    liar->publication = publication_build(counts, 1, json_number_at(real, "number"), &previous,
                                          &stand->day->stage->domain, &stand->day->stage->hub);
    assert_non_null(liar->publication);
}

static char *own_statement(struct liar *liar, char *real_text)
{
    json_t *real = json_loads(real_text, 0, NULL);
    free(real_text);
    if (liar->lie == LIE_TWICE)
        json_object_set_new(real, "number", json_integer((json_int_t)liar->number));
    json_t *asset = json_array_get(json_object_get(real, "assets"), 0);
    if (asset == NULL || json_number_at(asset, "channels") == 0) {
        /* The answer to a POST, or a statement older than the channels: nothing to lie about. */
        char *as_it_is = json_dumps(real, 0);
        json_decref(real);
        return as_it_is;
    }
    make_publication(liar, real);
    const struct liability *sums = &liar->publication->statement.assets[0];
    char text[HASH_TEXT_SIZE], signature[2 * 64 + 3] = "0x";
    json_object_set_new(asset, "channels", json_integer((json_int_t)sums->channels));
    json_object_set_new(asset, "clients", json_integer((json_int_t)sums->clients.units));
    json_object_set_new(asset, "hub", json_integer((json_int_t)sums->hub.units));
    json_object_set_new(asset, "in_transit", json_integer((json_int_t)sums->in_transit.units));
    json_object_set_new(asset, "root", json_string(hash_text(&sums->root, text)));
    hex_encode(liar->publication->signature.bytes, 64, signature + 2);
    json_object_set_new(real, "signature", json_string(signature));
    char *out = json_dumps(real, 0);
    json_decref(real);
    return out;
}

static char *own_proof(struct liar *liar, char *real_text, int *status)
{
    struct channel_key payer = {.client = liar->stand->payer_address};
    struct publication_proof proof;
    free(real_text);
    if (liar->publication == NULL || !publication_find(liar->publication, &payer, &proof)) {
        *status = 404;
        return xstrdup("{\"error\":\"this statement does not count that channel\"}");
    }
    char hash[HASH_TEXT_SIZE], salt[HASH_TEXT_SIZE];
    json_t *path = json_array();
    for (size_t i = 0; i < proof.length; i++)
        json_array_append_new(path, json_pack("{s:s, s:I}", "hash", hash_text(&proof.path[i].hash, hash),
                                              "sum", (json_int_t)proof.path[i].sum));
    json_t *answer = json_pack(
        "{s:I, s:I, s:I, s:s, s:I, s:o}", "balance", (json_int_t)proof.leaf.balance.units, "nonce_client",
        (json_int_t)proof.leaf.nonce_client, "nonce_hub", (json_int_t)proof.leaf.nonce_hub, "salt",
        hash_text(&proof.leaf.salt, salt), "index", (json_int_t)proof.index, "path", path);
    char *out = json_dumps(answer, 0);
    json_decref(answer);
    *status = 200;
    return out;
}

/* As if it had come just now: the one that was asked about is gone. */
static char *renumbered(char *real_text)
{
    json_t *real = json_loads(real_text, 0, NULL);
    free(real_text);
    json_object_set_new(real, "number", json_integer((json_int_t)json_number_at(real, "number") + 1));
    char *out = json_dumps(real, 0);
    json_decref(real);
    return out;
}

/* Every second request for a statement follows one for a leaf. */
static char *replace(struct liar *liar, char *text, bool is_proof, int *status)
{
    if (is_proof) {
        *status = 410;
        liar->number = 1;
    } else if (liar->number == 1) {
        liar->number = 0;
        return renumbered(text);
    }
    return text;
}

/* The real one with another block or time, signed anew. */
static char *another_moment(const struct liar *liar, char *real_text)
{
    json_t *real = json_loads(real_text, 0, NULL);
    struct statement statement;
    const struct hub_stage *stage = liar->stand->day->stage;
    free(real_text);
    if (statement_of_json(real, &statement)) {
        if (liar->lie == LIE_TIME)
            statement.content.time += 2 * 3600;
        else
            statement.content.block += 1000000;
        char text[2 * 64 + 3] = "0x";
        struct hash digest = liabilities_digest(&stage->domain, &statement.content);
        struct signature signature = key_sign(&stage->hub, &digest);
        hex_encode(signature.bytes, sizeof(signature.bytes), text + 2);
        json_object_set_new(real, "time", json_integer((json_int_t)statement.content.time));
        json_object_set_new(real, "block", json_integer((json_int_t)statement.content.block));
        json_object_set_new(real, "signature", json_string(text));
    }
    char *out = json_dumps(real, 0);
    json_decref(real);
    return out;
}

static char *rubbish(char *real_text)
{
    free(real_text);
    return xstrdup("<p>It works!</p>");
}

static char *remember(struct liar *liar, char *text, bool is_proof, int *status)
{
    if (!is_proof) {
        free(text);
        return xstrdup(liar->kept);
    }
    *status = 404;
    return text;
}

static void on_lie(struct evhttp_request *request, void *context)
{
    struct liar *liar = context;
    const char *uri = evhttp_request_get_uri(request);
    int status;
    char *text = hub_http_text(NULL, liar->stand->day->http, uri,
                               evhttp_request_get_command(request) == EVHTTP_REQ_POST, &status);
    ensure(text != NULL);
    bool is_proof = strncmp(uri, "/liabilities/proof", 18) == 0;
    if (liar->lie == LIE_PATH)
        change_behind(text, "\"path\":[\"0x");
    else if (liar->lie == LIE_BATCH)
        change_behind(text, "\"batch\":");
    else if (liar->lie == LIE_SUM)
        change_behind(text, "\"clients\":");
    else if (liar->lie == LIE_GONE)
        status = is_proof ? 410 : status;
    else if (liar->lie == LIE_REPLACED)
        text = replace(liar, text, is_proof, &status);
    else if (liar->lie == LIE_TIME || liar->lie == LIE_FUTURE)
        text = is_proof ? text : another_moment(liar, text);
    else if (liar->lie == LIE_RUBBISH)
        text = rubbish(text);
    else if (liar->lie == LIE_OLD)
        text = remember(liar, text, is_proof, &status);
    else if (liar->lie >= LIE_LEFT_OUT && is_proof)
        text = own_proof(liar, text, &status);
    else if (liar->lie >= LIE_LEFT_OUT)
        text = own_statement(liar, text);
    struct evbuffer *body = evbuffer_new();
    evbuffer_add(body, text, strlen(text));
    evhttp_send_reply(request, status, "as it is", body);
    evbuffer_free(body);
    free(text);
}

static void on_end(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    event_base_loopbreak(((struct liar *)context)->base);
}

static void *liar_run(void *context)
{
    event_base_dispatch(((struct liar *)context)->base);
    return NULL;
}

static void liar_open(struct liar *liar, struct stand *stand)
{
    *liar = (struct liar){.stand = stand, .base = event_base_new(), .ended = eventfd(0, EFD_CLOEXEC)};
    liar->http = evhttp_new(liar->base);
    struct evhttp_bound_socket *bound = evhttp_bind_socket_with_handle(liar->http, "127.0.0.1", 0);
    ensure(bound != NULL);
    struct sockaddr_in address;
    socklen_t length = sizeof(address);
    ensure(getsockname(evhttp_bound_socket_get_fd(bound), (struct sockaddr *)&address, &length) == 0);
    snprintf(liar->at, sizeof(liar->at), "127.0.0.1:%u", ntohs(address.sin_port));
    evhttp_set_gencb(liar->http, on_lie, liar);
    liar->end = event_new(liar->base, liar->ended, EV_READ, on_end, liar);
    event_add(liar->end, NULL);
    ensure(pthread_create(&liar->thread, NULL, liar_run, liar) == 0);
}

static void liar_close(struct liar *liar)
{
    ensure(eventfd_write(liar->ended, 1) == 0);
    pthread_join(liar->thread, NULL);
    evhttp_free(liar->http);
    event_free(liar->end);
    event_base_free(liar->base);
    close(liar->ended);
    publication_free(liar->publication);
    free(liar->kept);
}

/* ---- payments ---- */

static void test_payments_between_shards_are_proven(void **state)
{
    struct stand *stand = *state;
    struct day *day = stand->day;
    char out[65536];
    expect(day, 1, RILL(day, out, "prove", "--home", stand->payer), out);
    pay(stand, "0.000004", "direct");
    expect(day, 6, RILL(day, out, "prove", "--home", stand->payer), out);
    assert_true(error_says(day, "not settled yet"));
    pay(stand, "0.00002", "locked");
    settle(stand); /* the shop's shard */
    expect(day, 0, RILL(day, out, "prove", "--home", stand->shop), out);
    assert_non_null(strstr(out, "proven: payment"));
    assert_non_null(strstr(out, "you received 0.00002 coin"));

    hub_comes_back(day); /* killed */
    expect(day, 0, RILL(day, out, "prove", "--home", stand->shop, "--json"), out);
    assert_non_null(strstr(out, "\"proven\":true"));
    expect(day, 6, RILL(day, out, "prove", "--home", stand->payer), out); /* the other shard's batch */
    expect(day, 0, RILL(day, out, "history", "--home", stand->payer, "--json"), out);
    json_t *history = json_loads(out, 0, NULL);
    const json_t *payments = json_object_get(history, "payments");
    assert_int_equal(json_array_size(payments), 2);
    const char *first = json_string_value(json_object_get(json_array_get(payments, 0), "id"));
    expect(day, 6, RILL(day, out, "prove", first, "--home", stand->payer), out);
    expect(day, 1, RILL(day, out, "prove", "00112233445566778899aabbccddeeff", "--home", stand->payer), out);
    expect(day, 3, RILL(day, out, "prove", first, "--home", stand->payer, "--hub-http", "127.0.0.1:1"), out);
    json_decref(history);
}

/* What was not settled when the number of shards changes lies in a tree under a tree. */
static void test_proofs_outlive_a_change_of_shards(void **state)
{
    struct stand *stand = *state;
    struct day *day = stand->day;
    char out[65536];
    pay(stand, "0.000004", "direct");
    settle(stand);
    pay(stand, "0.000002", "direct");
    pay(stand, "0.000003", "direct");
    hub_stop(day->stage);
    day_reshard(day, "1");
    static const char *const one[] = {
        "--settle-interval-s", "3600", "--min-expiry-s", "600", "--min-lock", "1000", NULL};
    hub_start(day->stage, one);
    day_hub_moved(day);
    expect(day, 6, RILL(day, out, "prove", "--home", stand->payer), out);
    settle(stand);
    const char *const homes[] = {stand->payer, stand->shop};
    for (size_t i = 0; i < ARRAY_LENGTH(homes); i++) {
        expect(day, 0, RILL(day, out, "history", "--home", homes[i], "--json"), out);
        json_t *history = json_loads(out, 0, NULL);
        const json_t *payments = json_object_get(history, "payments");
        assert_int_equal(json_array_size(payments), 3);
        for (size_t k = 0; k < 3; k++)
            expect(day, 0,
                   RILL(day, out, "prove",
                        json_string_value(json_object_get(json_array_get(payments, k), "id")), "--home",
                        homes[i]),
                   out);
        json_decref(history);
    }
    expect(day, 0, RILL(day, out, "audit", "--home", stand->payer), out);
}

static void test_a_path_that_is_made_up(void **state)
{
    struct stand *stand = *state;
    struct day *day = stand->day;
    struct liar liar;
    char out[65536];
    pay(stand, "0.000004", "direct");
    pay(stand, "0.000003", "direct");
    settle(stand);
    liar_open(&liar, stand);
    expect(day, 0, RILL(day, out, "prove", "--home", stand->shop, "--hub-http", liar.at), out);
    liar.lie = LIE_PATH;
    expect(day, 7, RILL(day, out, "prove", "--home", stand->shop, "--hub-http", liar.at), out);
    assert_true(error_says(day, "THE HUB LIES"));
    liar.lie = LIE_BATCH;
    expect(day, 7, RILL(day, out, "prove", "--home", stand->shop, "--hub-http", liar.at), out);
    assert_true(error_says(day, "did not settle a batch"));
    liar_close(&liar);
}

/* ---- what is owed ---- */

static void test_what_is_owed_is_counted_and_covered(void **state)
{
    struct stand *stand = *state;
    struct day *day = stand->day;
    char out[65536], file[200], copy[65536];
    expect(day, 0, RILL(day, out, "audit", "--home", stand->payer), out);
    assert_non_null(strstr(out, "counted with your true balance"));
    pay(stand, "0.000004", "direct");
    settle(stand);
    expect(day, 0, RILL(day, out, "audit", "--home", stand->payer), out);
    expect(day, 0, RILL(day, copy, "audit", "--home", stand->shop, "--json"), copy);
    assert_non_null(strstr(copy, "\"good\":true"));
    hub_comes_back(day);
    expect(day, 0, RILL(day, out, "audit", "--public", "--home", "/nonexistent"), out);
    assert_non_null(strstr(out, "covered"));
    snprintf(file, sizeof(file), "%s/other.json", day->stage->folder);
    write_file(file, copy);
    expect(day, 0, RILL(day, out, "audit", "--home", stand->shop, "--against", file), out);
}

/* The statements that it was shown: those of one lie would betray the next. */
static void wallet_forgets(const char *home)
{
    char folder[200], path[500];
    snprintf(folder, sizeof(folder), "%s/statements", home);
    DIR *statements = opendir(folder);
    assert_non_null(statements);
    for (const struct dirent *entry; (entry = readdir(statements)) != NULL;) {
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        if (entry->d_name[0] != '.')
            assert_int_equal(remove(path), 0);
    }
    closedir(statements);
}

static void test_who_is_left_out_finds_it(void **state)
{
    struct stand *stand = *state;
    struct day *day = stand->day;
    struct liar liar;
    char out[65536];
    liar_open(&liar, stand);
    expect(day, 0, RILL(day, out, "audit", "--home", stand->payer, "--hub-http", liar.at), out);
    liar.lie = LIE_SUM;
    expect(day, 7, RILL(day, out, "audit", "--home", stand->payer, "--hub-http", liar.at), out);
    assert_true(error_says(day, "not signed"));
    liar.lie = LIE_LEFT_OUT;
    expect(day, 7, RILL(day, out, "audit", "--home", stand->payer, "--hub-http", liar.at), out);
    assert_non_null(strstr(out, "LEFT OUT"));
    expect(day, 0, RILL(day, out, "audit", "--public", "--hub-http", liar.at),
           out); /* nobody else can see it */
    liar.lie = LIE_GONE;
    wallet_forgets(stand->payer);
    expect(day, 7, RILL(day, out, "audit", "--home", stand->payer, "--hub-http", liar.at), out);
    assert_non_null(strstr(out, "LEFT OUT"));
    liar_close(&liar);
}

static void test_who_is_counted_with_less_finds_it(void **state)
{
    struct stand *stand = *state;
    struct day *day = stand->day;
    struct liar liar;
    char out[65536];
    liar_open(&liar, stand);
    pay(stand, "0.000004", "direct"); /* the shop's newest proof is the hub's first, the payer's his first */
    liar.lie = LIE_LESS;
    expect(day, 7, RILL(day, out, "audit", "--home", stand->payer, "--hub-http", liar.at), out);
    assert_non_null(strstr(out, "another balance than the signed proofs"));
    liar.lie = LIE_AHEAD; /* nothing that the hub signs to him can take from him */
    wallet_forgets(stand->payer);
    expect(day, 7, RILL(day, out, "audit", "--home", stand->payer, "--hub-http", liar.at), out);
    assert_non_null(strstr(out, "another balance than the signed proofs"));
    liar_close(&liar);
}

/* The liar has a good statement to show later, one that counts both wallets. */
static void liar_keeps_one(struct liar *liar)
{
    struct day *day = liar->stand->day;
    char out[65536];
    int status;
    expect(day, 0, RILL(day, out, "audit", "--home", liar->stand->payer), out);
    liar->kept = hub_http_text(NULL, day->http, "/liabilities", false, &status);
    assert_int_equal(status, 200);
}

/* What keeps somebody waiting is said, and whether it is the hub. */
static void test_who_is_kept_waiting_hears_why(void **state)
{
    struct stand *stand = *state;
    struct day *day = stand->day;
    struct liar liar;
    char out[65536];
    liar_open(&liar, stand);
    liar_keeps_one(&liar);
    expect(day, 0, RILL(day, out, "deposit", "0.00001", "--home", stand->payer), out);
    liar.lie = LIE_OLD;
    wallet_forgets(stand->payer);
    expect(day, 6, RILL(day, out, "audit", "--home", stand->payer, "--hub-http", liar.at), out);
    assert_true(error_says(day, "your channel has changed there since: try again in a minute"));
    assert_non_null(strstr(out, "the statement is of an older block"));
    advance(day->stage, 2 * 3600);
    expect(day, 1, RILL(day, out, "audit", "--home", stand->payer, "--hub-http", liar.at, "--json"), out);
    assert_non_null(strstr(out, "take it for a refusal"));
    assert_non_null(strstr(out, "\"good\":false"));
    expect(day, 0, RILL(day, out, "audit", "--home", stand->shop, "--hub-http", day->http), out);

    liar.lie = LIE_REPLACED;
    wallet_forgets(stand->payer);
    expect(day, 1, RILL(day, out, "audit", "--home", stand->payer, "--hub-http", liar.at), out);
    assert_true(error_says(day, "the hub replaced 3 statements"));
    liar_close(&liar);
}

/* A good statement, kept while the money goes: anybody is told that it is old. */
static void test_an_old_statement_is_no_cover(void **state)
{
    struct stand *stand = *state;
    struct day *day = stand->day;
    struct liar liar;
    char out[65536];
    liar_open(&liar, stand);
    liar_keeps_one(&liar);
    liar.lie = LIE_OLD;
    expect(day, 0, RILL(day, out, "audit", "--public", "--hub-http", liar.at), out);
    advance(day->stage, 2 * 3600);
    expect(day, 1, RILL(day, out, "audit", "--public", "--hub-http", liar.at, "--json"), out);
    assert_non_null(strstr(out, "take it for a refusal"));
    assert_non_null(strstr(out, "\"good\":false"));
    /* The hub itself has been quiet all the time: it is asked for a new one. */
    expect(day, 0, RILL(day, out, "audit", "--public"), out);
    liar_close(&liar);
}

static void test_a_statement_of_no_real_moment(void **state)
{
    struct stand *stand = *state;
    struct day *day = stand->day;
    struct liar liar;
    char out[65536];
    liar_open(&liar, stand);
    liar.lie = LIE_TIME;
    expect(day, 7, RILL(day, out, "audit", "--public", "--hub-http", liar.at), out);
    assert_true(error_says(day, "gives it the time"));
    liar.lie = LIE_FUTURE;
    expect(day, 1, RILL(day, out, "audit", "--public", "--hub-http", liar.at, "--timeout-s", "1"), out);
    assert_true(error_says(day, "a block that does not exist"));
    liar.lie = LIE_RUBBISH;
    expect(day, 1, RILL(day, out, "audit", "--public", "--hub-http", liar.at), out);
    assert_true(error_says(day, "makes no sense"));
    liar_close(&liar);
}

/* A file of its own that a wallet cannot use, half of one or of a contract before this one, is not in its way. */
static void test_a_kept_statement_that_is_none(void **state)
{
    struct stand *stand = *state;
    struct day *day = stand->day;
    char out[65536], path[300];
    expect(day, 0, RILL(day, out, "audit", "--home", stand->payer, "--json"), out);
    json_t *shown = json_loads(out, 0, NULL);
    snprintf(path, sizeof(path), "%s/statements/%llu.json", stand->payer,
             (unsigned long long)json_number_at(shown, "number"));
    json_decref(shown);
    write_file(path, "{\"number\":");
    expect(day, 0, RILL(day, out, "audit", "--home", stand->payer), out);
    assert_true(error_says(day, "not compared"));
}

/* Whatever a hub does with a question, the wallet can be had back from it: a close may have to be answered. */
static void test_a_hub_that_holds_the_line(void **state)
{
    struct stand *stand = *state;
    struct day *day = stand->day;
    struct slow_server server;
    char out[65536], path[256], at[32], log[200];
    pay(stand, "0.000004", "direct");
    slow_server_open(&server);
    snprintf(at, sizeof(at), "127.0.0.1:%u", server.port);
    snprintf(log, sizeof(log), "%s/held.err", day->stage->folder);
    const char *const commands[] = {"prove", "audit"};
    for (unsigned i = 0; i < ARRAY_LENGTH(commands); i++) {
        const char *const words[] = {process_path("rill", path, sizeof(path)),
                                     commands[i],
                                     "--home",
                                     stand->payer,
                                     "--hub-http",
                                     at,
                                     NULL};
        struct process process;
        ensure(process_start(&process, words, log));
        uint64_t until = clock_monotonic_us() + PATIENCE_MS * 1000;
        while (atomic_load(&server.answers) <= i && clock_monotonic_us() < until)
            poll(NULL, 0, 20);
        assert_int_equal(atomic_load(&server.answers), i + 1);
        assert_int_equal(process_end(&process, SIGTERM), 1);
        assert_true(file_says(log, "stopped before the hub"));
        expect(day, 0, RILL(day, out, "balance", "--offline", "--home", stand->payer), out);
    }
    slow_server_close(&server);
}

/* The statement that a wallet was shown stays with it: another of the same number is evidence. */
static void test_two_statements_of_one_number(void **state)
{
    struct stand *stand = *state;
    struct day *day = stand->day;
    struct liar liar;
    char out[65536], file[200], copy[65536];
    liar_open(&liar, stand);
    /* The first statement of all may be older than the channels: this one waits for one that counts them. */
    expect(day, 0, RILL(day, out, "audit", "--home", stand->payer), out);
    expect(day, 0, RILL(day, copy, "audit", "--public", "--json"), copy);
    snprintf(file, sizeof(file), "%s/mine.json", day->stage->folder);
    write_file(file, copy);
    expect(day, 0, RILL(day, out, "audit", "--public", "--against", file), out);
    json_t *mine = json_loads(copy, 0, NULL);
    liar.number = json_number_at(mine, "number");
    assert_true(liar.number > 0);
    json_decref(mine);
    liar.lie = LIE_TWICE;
    expect(day, 7, RILL(day, out, "audit", "--public", "--against", file, "--hub-http", liar.at), out);
    assert_true(error_says(day, "two statements of one number"));
    liar_close(&liar);
}

/* ---- the report ---- */

static void test_the_report_of_batches(void **state)
{
    struct stand *stand = *state;
    struct day *day = stand->day;
    char out[65536];
    pay(stand, "0.000004", "direct");
    settle(stand);
    expect(day, 0, RILL(day, out, "hub", "settlements", "--http", day->http), out);
    assert_non_null(strstr(out, "gross:net"));
    hub_comes_back(day);
    /* A receipt that the kill hid is asked for by the first, and is in the journal from then on. */
    json_t *answer = NULL;
    uint64_t until = clock_monotonic_us() + PATIENCE_MS * 1000;
    do {
        json_decref(answer);
        expect(day, 0, RILL(day, out, "hub", "settlements", "--http", day->http, "--json"), out);
        answer = json_loads(out, 0, NULL);
    } while (strstr(out, "\"gas\":0,") != NULL && clock_monotonic_us() < until);
    const json_t *batches = json_object_get(answer, "batches");
    size_t count = json_array_size(batches);
    uint64_t proofs = 0;
    assert_true(count >= 2);
    for (size_t i = 0; i < count; i++) {
        const json_t *batch = json_array_get(batches, i);
        assert_int_equal(json_number_at(batch, "batch"), i + 1);
        assert_true(json_number_at(batch, "gas") > 0 && json_number_at(batch, "gas_price") > 0);
        assert_true(json_number_at(batch, "channels") > 0 && json_number_at(batch, "time") > 0);
        proofs += json_number_at(batch, "proofs");
    }
    assert_true(proofs > 0);
    json_decref(answer);
    expect(day, 0, RILL(day, out, "hub", "settlements", "--http", day->http, "--csv"), out);
    assert_int_equal(strncmp(out, "batch,time,block,", 17), 0);
    expect(day, 2, RILL(day, out, "hub", "settlements", "--csv", "--json"), out);
    expect(day, 3, RILL(day, out, "hub", "settlements", "--http", "127.0.0.1:1"), out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STAND_TEST(test_payments_between_shards_are_proven),
        STAND_TEST(test_proofs_outlive_a_change_of_shards),
        STAND_TEST(test_a_path_that_is_made_up),
        STAND_TEST(test_what_is_owed_is_counted_and_covered),
        STAND_TEST(test_who_is_left_out_finds_it),
        STAND_TEST(test_who_is_counted_with_less_finds_it),
        STAND_TEST(test_who_is_kept_waiting_hears_why),
        STAND_TEST(test_an_old_statement_is_no_cover),
        STAND_TEST(test_a_statement_of_no_real_moment),
        STAND_TEST(test_a_kept_statement_that_is_none),
        STAND_TEST(test_a_hub_that_holds_the_line),
        STAND_TEST(test_two_statements_of_one_number),
        STAND_TEST(test_the_report_of_batches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
