/* A stage for the tower as a process: a ledger process, a hub and a client with keys, a tower that is started on it, and
 * what they do with each other. Needs build/debug/bin/rill-ledgerd and rill-towerd, or others in the folder RILL_BIN. */
#ifndef RILL_TESTS_E2E_TOWER_STAGE_H
#define RILL_TESTS_E2E_TOWER_STAGE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "channel/lock_set.h"
#include "crypto/hash.h"
#include "crypto/keystore.h"
#include "crypto/lock.h"
#include "ledger/client.h"
#include "tests/e2e/ledger_views.h"
#include "tests/support/process.h"
#include "wire/link.h"

#define UNUSED      __attribute__((unused))
#define PERIOD      4000
#define BOUNTY_BPS  1000
#define UNIT        1000000000u
#define PASSPHRASE  "a passphrase"
#define PATIENCE_MS 20000
#define EVENTS_MAX  256

struct stage {
    char folder[64];
    char contract_text[ADDRESS_TEXT_SIZE];
    char url[64];
    char tower_folder[128], tower_log[160], key_file[128], passphrase_file[128];
    struct process ledgerd, towerd;
    uint16_t tower_port, metrics_port;
    struct event_base *base;
    struct ledger *ledger;
    struct secret_key hub, client, tower;
    struct address contract;
    struct domain domain;
    struct channel_key key; /* a fresh channel for each test */
    struct hash channel;
    struct contract_event events[EVENTS_MAX];
    size_t event_count;
    bool got_receipt, refused;
    uint64_t chain_id;     /* of the ledger; 0: its default */
    const char *extra[12]; /* the tower's further arguments, up to NULL */
    uint64_t receipt_nonce;
    struct hash receipt_digest;
    struct signature receipt_signature;
    char port_file[160];
};

/* ---- the ledger ---- */

UNUSED static void on_event(void *context, const struct contract_event *event)
{
    struct stage *stage = context;
    if (!event->confirmed || stage->event_count == EVENTS_MAX)
        return;
    stage->events[stage->event_count++] = *event;
}

UNUSED static void on_head(void *context, const struct ledger_head *head)
{
    (void)context;
    (void)head;
}

UNUSED static const struct contract_event *find_event(const struct stage *stage,
                                                      enum contract_event_type type)
{
    for (size_t i = 0; i < stage->event_count; i++)
        if (stage->events[i].type == type && hash_equal(&stage->events[i].channel, &stage->channel))
            return &stage->events[i];
    return NULL;
}

UNUSED static void send_value(struct stage *stage, const struct secret_key *key,
                              const struct contract_call *call, uint64_t units)
{
    struct buffer data = {0};
    struct ledger_receipt receipt = {0};
    contract_encode_call(&data, call);
    enum ledger_error error = ledger_send_wait(stage->ledger, key, NULL, (unsigned_wide)units * UNIT,
                                               data.data, data.length, &receipt);
    buffer_free(&data);
    if (error != LEDGER_OK || !receipt.success)
        fail_msg("%s: %s %s: %s", contract_function_signature(call->function), ledger_error_text(error),
                 contract_error_name(receipt.reverted), ledger_last_error(stage->ledger));
}

UNUSED static void send_call(struct stage *stage, const struct secret_key *key,
                             const struct contract_call *call)
{
    send_value(stage, key, call, 0);
}

struct request {
    bool done, good;
};

UNUSED static void on_request(void *context, enum ledger_error error, const char *text)
{
    struct request *request = context;
    (void)text;
    request->done = true;
    request->good = error == LEDGER_OK;
}

UNUSED static void request_wait(struct stage *stage, const char *method, const char *params)
{
    struct request request = {0};
    ledger_request(stage->ledger, method, params, on_request, &request);
    while (!request.done)
        event_base_loop(stage->base, EVLOOP_ONCE);
    if (!request.good)
        fail_msg("%s: %s", method, ledger_last_error(stage->ledger));
}

/* A block, `seconds` after the last. */
UNUSED static void advance(struct stage *stage, uint64_t seconds)
{
    char params[32];
    snprintf(params, sizeof params, "[%llu]", (unsigned long long)seconds);
    request_wait(stage, "evm_increaseTime", params);
    request_wait(stage, "evm_mine", "[]");
}

UNUSED static struct channel_state channel_now(struct stage *stage)
{
    return view_channel(stage->ledger, &stage->key);
}

UNUSED static struct closing closing_now(struct stage *stage)
{
    return view_closing(stage->ledger, &stage->key);
}

UNUSED static void on_nothing(evutil_socket_t descriptor, short events, void *context)
{
    (void)descriptor;
    (void)events;
    (void)context;
}

UNUSED static void turn(struct stage *stage)
{
    struct timeval wait = {0, 20000};
    event_base_once(stage->base, -1, EV_TIMEOUT, on_nothing, NULL, &wait);
    event_base_loop(stage->base, EVLOOP_ONCE);
}

/* The folder goes when the test ends, so what the tower said is shown. */
UNUSED static void fail_with_log(const struct stage *stage, const char *what)
{
    char text[8192] = "";
    FILE *file = fopen(stage->tower_log, "r");
    if (file != NULL) {
        text[fread(text, 1, sizeof text - 1, file)] = '\0';
        fclose(file);
    }
    fail_msg("in vain: %s. The tower says:\n%s", what, text);
}

/* Lets blocks of a second go by until it holds. */
UNUSED static void until(struct stage *stage, bool (*holds)(struct stage *), const char *what)
{
    uint64_t end_us = clock_monotonic_us() + PATIENCE_MS * 1000ull;
    while (!holds(stage)) {
        if (clock_monotonic_us() > end_us)
            fail_with_log(stage, what);
        advance(stage, 1);
        turn(stage);
    }
}

UNUSED static bool is_challenged(struct stage *stage)
{
    return closing_now(stage).challenged;
}

UNUSED static bool is_closed(struct stage *stage)
{
    return channel_now(stage).status == CHANNEL_CLOSED;
}

UNUSED static bool finish_is_seen(struct stage *stage)
{
    return find_event(stage, EVENT_FINISHED) != NULL;
}

UNUSED static bool unlock_is_seen(struct stage *stage)
{
    return find_event(stage, EVENT_UNLOCKED) != NULL;
}

UNUSED static bool is_void(struct stage *stage)
{
    return closing_now(stage).min_nonce_of_client != 0;
}

/* ---- proofs ---- */

UNUSED static struct balance_proof proof_of(uint64_t nonce, uint64_t transferred, const struct lock *locks,
                                            size_t count)
{
    struct balance_proof proof = {.nonce = nonce, .transferred = amount_of(transferred)};
    struct lock_set *set = lock_set_new();
    for (size_t i = 0; i < count; i++) {
        struct pending_lock pending = {.lock = locks[i]};
        assert_true(lock_set_add(set, &pending));
        proof.locked.units += locks[i].amount.units;
    }
    proof.locks_root = lock_set_root(set);
    lock_set_free(set);
    return proof;
}

UNUSED static struct signature sign_proof(const struct stage *stage, const struct secret_key *key,
                                          const struct balance_proof *proof)
{
    struct hash digest = digest_balance_proof(&stage->domain, &stage->channel, proof);
    return key_sign(key, &digest);
}

UNUSED static struct claim claim_of(const struct balance_proof *proof)
{
    return (struct claim){proof->nonce, proof->transferred, proof->locked, proof->locks_root};
}

UNUSED static void start_close(struct stage *stage, const struct secret_key *closer,
                               const struct balance_proof *own, const struct secret_key *other,
                               const struct balance_proof *shown)
{
    struct contract_call call = {
        .function = CONTRACT_START_CLOSE, .key = stage->key, .proof = *shown, .own = claim_of(own)};
    if (shown->nonce > 0)
        call.signature = sign_proof(stage, other, shown);
    send_call(stage, closer, &call);
}

/* ---- the tower ---- */

UNUSED static void tower_start(struct stage *stage)
{
    char path[256], line[256], listen[64], metrics[64];
    const char *argv[40] = {process_path("rill-towerd", path, sizeof path),
                            "--contract",
                            stage->contract_text,
                            "--ledger",
                            stage->url,
                            "--key-file",
                            stage->key_file,
                            "--passphrase-file",
                            stage->passphrase_file,
                            "--data",
                            stage->tower_folder,
                            "--confirmations",
                            "1",
                            "--poll-ms",
                            "20",
                            "--listen",
                            "127.0.0.1:0",
                            "--http",
                            "127.0.0.1:0",
                            NULL};
    size_t count = 0;
    while (argv[count] != NULL)
        count++;
    for (size_t i = 0; stage->extra[i] != NULL; i++)
        argv[count++] = stage->extra[i];
    assert_true(process_start(&stage->towerd, argv, stage->tower_log));
    if (!process_line(&stage->towerd, "rill-towerd ready", line, sizeof line, PATIENCE_MS))
        fail_with_log(stage, "the tower's start");
    unsigned port, metrics_port;
    char address[64];
    assert_int_equal(sscanf(line, "rill-towerd ready: address %63s listen %63[^:]:%u http %63[^:]:%u",
                            address, listen, &port, metrics, &metrics_port),
                     5);
    stage->tower_port = (uint16_t)port;
    stage->metrics_port = (uint16_t)metrics_port;
}

UNUSED static void on_tower_message(void *context, struct link *link, const struct message *message)
{
    struct stage *stage = context;
    (void)link;
    if (message->type == MESSAGE_RECEIPT) {
        stage->got_receipt = true;
        stage->receipt_nonce = message->receipt.nonce;
        stage->receipt_digest = message->receipt.proof_digest;
        stage->receipt_signature = message->receipt.signature;
    } else {
        stage->refused = true;
        fprintf(stderr, "the tower says %s %s\n", message_name(message->type),
                message->type == MESSAGE_ERROR ? code_name(message->error.code) : "");
    }
}

UNUSED static void on_tower_ready(void *context, struct link *link, const struct address *peer,
                                  const struct message *welcome)
{
    (void)peer;
    (void)welcome;
    link_send(link, link_user(link));
    (void)context;
}

UNUSED static void on_tower_closed(void *context, struct link *link, enum link_closed why, const char *reason)
{
    struct stage *stage = context;
    (void)link;
    (void)why;
    stage->refused = true;
    fprintf(stderr, "the tower's link closed: %s\n", reason);
}

/* Leaves the message with the tower as `user` and waits for its RECEIPT. */
UNUSED static void appoint(struct stage *stage, const struct secret_key *user, struct message *message)
{
    static const struct link_callbacks callbacks = {
        .ready = on_tower_ready, .message = on_tower_message, .closed = on_tower_closed};
    struct link_client_options options = {.host = "127.0.0.1",
                                          .port = stage->tower_port,
                                          .key = *user,
                                          .chain_id = stage->domain.chain_id,
                                          .contract = stage->contract,
                                          .server = secret_key_address(&stage->tower),
                                          .tower = true,
                                          .agent = "test"};
    struct hash digest = HASH_ZERO;
    if (message->appoint.proof.present)
        digest = digest_balance_proof(&stage->domain, &stage->channel, &message->appoint.proof.proof);
    struct hash choice = digest_choice(&stage->domain, &digest, &options.server);
    message->type = MESSAGE_APPOINT;
    message->appoint.key = stage->key;
    message->appoint.has_choice = true;
    message->appoint.choice = key_sign(user, &choice);
    stage->got_receipt = stage->refused = false;
    struct link *link = link_connect(stage->base, &options, &callbacks, stage);
    link_set_user(link, message);
    while (!stage->got_receipt && !stage->refused)
        turn(stage);
    assert_true(stage->got_receipt);
    assert_int_equal(stage->receipt_nonce, message->appoint.proof.proof.nonce);
    link_close(link);
}

/* ---- the set ---- */

UNUSED static void new_channel(struct stage *stage, uint64_t hub_amount)
{
    stage->key.salt++;
    stage->channel = channel_id(&stage->key);
    stage->event_count = 0;
    send_value(
        stage, &stage->client,
        &(struct contract_call){.function = CONTRACT_DEPOSIT, .key = stage->key, .amount = amount_of(1000)},
        1000);
    if (hub_amount == 0)
        return;
    send_value(stage, &stage->hub,
               &(struct contract_call){.function = CONTRACT_DEPOSIT_POOL, .amount = amount_of(hub_amount)},
               hub_amount);
    struct fund fund = {stage->key, amount_of(hub_amount)};
    send_call(stage, &stage->hub,
              &(struct contract_call){.function = CONTRACT_SETTLE_BATCH, .funds = &fund, .fund_count = 1});
}

/* The hub has left the client's proof 7 (400 sent) with the tower. The client will claim its proof 3 (50
 * sent). */
UNUSED static void hub_appoints(struct stage *stage, struct balance_proof *old)
{
    struct balance_proof newest = proof_of(7, 400, NULL, 0);
    struct message message = {0};
    message.appoint.proof = (struct shown_proof){true, newest, sign_proof(stage, &stage->client, &newest)};
    appoint(stage, &stage->hub, &message);
    *old = proof_of(3, 50, NULL, 0);
}

/* What the cheat hid, 350, is lost to the hub, less the tower's bounty. */
UNUSED static void expect_penalty(struct stage *stage)
{
    until(stage, finish_is_seen, "the Finished event");
    const struct contract_event *finished = find_event(stage, EVENT_FINISHED);
    assert_int_equal(finished->penalty.units, 350);
    assert_int_equal(finished->bounty.units, 35);
    assert_int_equal(finished->to_client.units, 250);
    assert_int_equal(finished->to_hub.units, 715);
    const struct contract_event *challenged = find_event(stage, EVENT_CHALLENGED);
    struct address tower = secret_key_address(&stage->tower);
    assert_true(address_equal(&challenged->address, &tower));
    assert_true(challenged->is_fraud && !challenged->by_partner);
}

UNUSED static void past_the_window(struct stage *stage)
{
    struct closing closing = closing_now(stage);
    assert_true(closing.deadline > 0);
    advance(stage, PERIOD + 3 * PERIOD / 8 + 1);
}

/* ---- what it tells operators ---- */

/* One GET of 127.0.0.1; the whole answer in out. */
UNUSED static void http_get(uint16_t port, const char *path, char *out, size_t size)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(descriptor, (struct sockaddr *)&address, sizeof address), 0);
    char request[128];
    int length = snprintf(request, sizeof request, "GET %s HTTP/1.0\r\n\r\n", path);
    assert_int_equal(write(descriptor, request, (size_t)length), length);
    size_t used = 0;
    ssize_t got;
    while (used + 1 < size && (got = read(descriptor, out + used, size - 1 - used)) > 0)
        used += (size_t)got;
    out[used] = '\0';
    close(descriptor);
}

UNUSED static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    ensure(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
}

UNUSED static struct secret_key key_of(const char *name)
{
    struct secret_key key;
    struct hash hash = sha256(name, strlen(name));
    memcpy(key.bytes, hash.bytes, sizeof key.bytes);
    return key;
}

UNUSED static void ledger_start(struct stage *stage)
{
    char path[256], folder[128], log[160], fund[256], hub[ADDRESS_TEXT_SIZE], line[256];
    char client[ADDRESS_TEXT_SIZE], tower[ADDRESS_TEXT_SIZE], period[16], bounty[16], chain[24];
    struct address hub_address = secret_key_address(&stage->hub);
    struct address client_address = secret_key_address(&stage->client);
    struct address tower_address = secret_key_address(&stage->tower);
    address_text(&hub_address, hub);
    snprintf(folder, sizeof folder, "%s/ledger", stage->folder);
    snprintf(log, sizeof log, "%s/ledger.log", stage->folder);
    snprintf(fund, sizeof fund, "%s=100,%s=100,%s=100", hub, address_text(&client_address, client),
             address_text(&tower_address, tower));
    snprintf(period, sizeof period, "%d", PERIOD);
    snprintf(bounty, sizeof bounty, "%d", BOUNTY_BPS);
    snprintf(chain, sizeof chain, "%llu",
             (unsigned long long)(stage->chain_id == 0 ? 31337 : stage->chain_id));
    const char *const argv[] = {process_path("rill-ledgerd", path, sizeof path),
                                "--folder",
                                folder,
                                "--port",
                                "0",
                                "--hub",
                                hub,
                                "--fund",
                                fund,
                                "--challenge-period",
                                period,
                                "--bounty-bps",
                                bounty,
                                "--chain-id",
                                chain,
                                NULL};
    assert_true(process_start(&stage->ledgerd, argv, log));
    assert_true(process_line(&stage->ledgerd, "contract ", line, sizeof line, PATIENCE_MS));
    assert_int_equal(sscanf(line, "contract %42s", stage->contract_text), 1);
    assert_true(hex_decode(stage->contract_text, stage->contract.bytes, 20));
    assert_true(process_line(&stage->ledgerd, "listening on", line, sizeof line, PATIENCE_MS));
    assert_int_equal(sscanf(line, "listening on %63s", stage->url), 1);
}

UNUSED static void ledger_follow_it(struct stage *stage)
{
    static const struct ledger_follow follow = {.event = on_event, .head = on_head};
    struct ledger_options options = {.url = stage->url, .contract = stage->contract, .poll_ms = 20};
    stage->ledger = ledger_new(stage->base, &options);
    request_wait(stage, "eth_blockNumber", "[]");
    stage->domain = domain_make(ledger_chain_id(stage->ledger), &stage->contract);
    ledger_follow(stage->ledger, 0, &follow, stage);
}

UNUSED static struct stage *stage_new(uint64_t chain_id)
{
    struct stage *stage = xcalloc(1, sizeof *stage);
    stage->chain_id = chain_id;
    folder_make(stage->folder, sizeof stage->folder);
    stage->base = event_base_new();
    stage->hub = key_of("tower test hub");
    stage->client = key_of("tower test client");
    stage->tower = key_of("tower test tower");
    snprintf(stage->key_file, sizeof stage->key_file, "%s/tower.json", stage->folder);
    snprintf(stage->passphrase_file, sizeof stage->passphrase_file, "%s/tower.pass", stage->folder);
    write_file(stage->passphrase_file, PASSPHRASE "\n");
    ensure(keystore_create(stage->key_file, PASSPHRASE, &stage->tower, 2) == KEYSTORE_OK);
    stage->key.client = secret_key_address(&stage->client);
    ledger_start(stage);
    ledger_follow_it(stage);
    send_call(stage, &stage->hub, &(struct contract_call){.function = CONTRACT_LIST_ASSET, .unit = UNIT});
    return stage;
}

UNUSED static int stage_open(void **state)
{
    *state = stage_new(0);
    return 0;
}

UNUSED static int stage_close(void **state)
{
    struct stage *stage = *state;
    ledger_free(stage->ledger);
    event_base_free(stage->base);
    process_end(&stage->ledgerd, SIGTERM);
    folder_remove(stage->folder);
    free(stage);
    return 0;
}

/* Each test's tower has a journal of its own. */
UNUSED static int tower_folder(void **state)
{
    struct stage *stage = *state;
    stage->extra[0] = NULL;
    unsigned long long number = stage->key.salt + 1;
    snprintf(stage->tower_folder, sizeof stage->tower_folder, "%s/tower-%llu", stage->folder, number);
    snprintf(stage->tower_log, sizeof stage->tower_log, "%s/tower-%llu.log", stage->folder, number);
    return 0;
}

UNUSED static int tower_end(void **state)
{
    struct stage *stage = *state;
    process_end(&stage->towerd, SIGKILL);
    return 0;
}

#endif
