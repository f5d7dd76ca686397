/* Who says who it is: the handshake with a hub, and a wallet's with what is not its hub. */
#include "tests/adversary/arena.h"

#include <errno.h>
#include <sys/stat.h>

/* ---- towards the hub ---- */

static struct raw *raw_hub(struct arena *arena)
{
    return raw_open(arena->stage, arena->stage->hub_port);
}

static void hello_with(struct arena *arena, uint64_t version, struct address client, enum code code)
{
    struct raw *raw = raw_hub(arena);
    struct message hello = {.type = MESSAGE_HELLO};
    hello.hello.version = version;
    hello.hello.client = client;
    raw_send_message(raw, &hello);
    raw_expect_refusal(raw, code);
    raw_close(raw);
}

static void other_version(struct arena *arena)
{
    hello_with(arena, 0, arena->world.payer->address, CODE_VERSION);
    hello_with(arena, 2, arena->world.payer->address, CODE_VERSION);
    hello_with(arena, UINT64_MAX, arena->world.payer->address, CODE_VERSION);
}

static void as_nobody(struct arena *arena)
{
    hello_with(arena, 1, ADDRESS_ZERO, CODE_AUTH);
}

static void as_the_hub(struct arena *arena)
{
    hello_with(arena, 1, secret_key_address(&arena->stage->hub), CODE_AUTH);
}

struct proof {
    struct secret_key key;
    struct domain domain;
    struct address client;
    bool other_challenge, other_certificate;
};

/* HELLO as the victim, then an AUTH that proves something else. The victim's link goes on. */
static void auth_with(struct arena *arena, const struct proof *proof)
{
    struct raw *raw = raw_hub(arena);
    struct message challenge;
    raw_hello(&raw, &arena->honest.payer->address, &challenge);
    struct hash asked = challenge.challenge.challenge, certificate = raw_certificate(raw);
    if (proof->other_challenge)
        asked.bytes[0] ^= 1;
    if (proof->other_certificate)
        certificate.bytes[0] ^= 1;
    raw_send_auth(raw, &proof->key, &proof->domain, &proof->client, &asked, &certificate);
    raw_expect_refusal(raw, CODE_AUTH);
    raw_close(raw);
    assert_false(arena->honest.payer->closed);
}

static struct proof right_proof(struct arena *arena)
{
    return (struct proof){.key = arena->honest.payer->key,
                          .domain = arena->stage->domain,
                          .client = arena->honest.payer->address};
}

static void as_another_client(struct arena *arena)
{
    struct proof proof = right_proof(arena);
    proof.key = arena->world.payer->key;
    auth_with(arena, &proof);
}

static void challenge_of_another_session(struct arena *arena)
{
    struct proof proof = right_proof(arena);
    proof.other_challenge = true;
    auth_with(arena, &proof);
}

/* What someone in between would have: a proof of the victim's for the certificate it was shown. */
static void certificate_of_another_server(struct arena *arena)
{
    struct proof proof = right_proof(arena);
    proof.other_certificate = true;
    auth_with(arena, &proof);
}

static void session_of_another_chain(struct arena *arena)
{
    struct proof proof = right_proof(arena);
    proof.domain = domain_make(arena->stage->domain.chain_id + 1, &arena->stage->contract);
    auth_with(arena, &proof);
}

static void session_of_another_client(struct arena *arena)
{
    struct proof proof = right_proof(arena);
    proof.key = arena->world.payer->key;
    proof.client = arena->world.payer->address;
    auth_with(arena, &proof);
}

/* The AUTH of one session, shown in the next. */
static void auth_replayed(struct arena *arena)
{
    struct message challenge;
    struct raw *first = raw_hub(arena);
    raw_hello(&first, &arena->honest.payer->address, &challenge);
    struct hash asked = challenge.challenge.challenge, certificate = raw_certificate(first);
    raw_close(first);
    struct raw *second = raw_hub(arena);
    raw_hello(&second, &arena->honest.payer->address, &challenge);
    assert_false(hash_equal(&asked, &challenge.challenge.challenge));
    raw_send_auth(second, &arena->honest.payer->key, &arena->stage->domain, &arena->honest.payer->address,
                  &asked, &certificate);
    raw_expect_refusal(second, CODE_AUTH);
    raw_close(second);
}

/* ---- out of order ---- */

static void before_hello(struct arena *arena)
{
    static const struct message early[] = {{.type = MESSAGE_AUTH},
                                           {.type = MESSAGE_PING},
                                           {.type = MESSAGE_SETTLE_REQUEST},
                                           {.type = MESSAGE_CHALLENGE},
                                           {.type = MESSAGE_RESUME}};
    for (size_t i = 0; i < ARRAY_LENGTH(early); i++) {
        struct raw *raw = raw_hub(arena);
        raw_send_message(raw, &early[i]);
        raw_expect_refusal(raw, CODE_MALFORMED);
        raw_close(raw);
    }
}

static void update_in_place_of_auth(struct arena *arena)
{
    struct raw *raw = raw_hub(arena);
    struct message challenge, message = {.type = MESSAGE_UPDATE};
    raw_hello(&raw, &arena->honest.payer->address, &challenge);
    struct operation pay =
        payment_of(arena->honest.payer, arena->world.payee, OPERATION_PAY, 20, &no_condition);
    struct forged forged = forge(arena->honest.payer, &pay, 1, 22, 0);
    message.update = (struct update){.channel = forged.channel,
                                     .proof = forged.proof,
                                     .signature = forged_sign(&forged, &arena->stage->domain),
                                     .body = forged.body.data,
                                     .body_length = forged.body.length};
    raw_send_message(raw, &message);
    buffer_free(&forged.body);
    raw_expect_refusal(raw, CODE_MALFORMED);
    raw_close(raw);
}

static void hello_twice(struct arena *arena)
{
    struct raw *raw = raw_hub(arena);
    struct message challenge, hello = {.type = MESSAGE_HELLO};
    raw_hello(&raw, &arena->world.payer->address, &challenge);
    hello.hello.version = 1;
    hello.hello.client = arena->honest.payer->address;
    raw_send_message(raw, &hello);
    raw_expect_refusal(raw, CODE_MALFORMED);
    raw_close(raw);
}

/* A stranger may not make the hub buffer what only clients may send. */
static void large_frame_before_auth(struct arena *arena)
{
    struct raw *raw = raw_hub(arena);
    static const uint8_t head[] = {0, 0, 0x10, 0x01};
    raw_send(raw, head, sizeof head);
    raw_expect_refusal(raw, CODE_MALFORMED);
    raw_close(raw);
}

static void not_tls(struct arena *arena)
{
    static const char *const texts[] = {"GET / HTTP/1.1\r\nHost: hub\r\n\r\n", "\x16\x03\x01\xff\xff\x01",
                                        "\x00\x00\x00\x05\x95\x01\x01\xc0\xc0",
                                        "\x15\x03\x03\x00\x02\x02\x28"};
    static const size_t lengths[] = {27, 6, 9, 7};
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
        int descriptor = tcp_connect(arena->stage->hub_port);
        ensure(write(descriptor, texts[i], lengths[i]) == (ssize_t)lengths[i]);
        if (i == 1)
            shutdown(descriptor, SHUT_WR); /* a record that never comes whole */
        tcp_expect_end(arena->stage, descriptor);
    }
}

static void older_tls(struct arena *arena)
{
    raw_expect_no_older_tls(arena->stage, arena->stage->hub_port);
}

/* ---- towards a wallet ---- */

/* Runs a wallet against a server at this port; `between` may be NULL. Its exit code; what it says is in *said (free it).
 */
static int wallet_meets(struct arena *arena, uint16_t port, struct between *between, char **said)
{
    struct hub_stage *stage = arena->stage;
    char path[256], home[160], errors[176], hub[32];
    struct process process;
    snprintf(home, sizeof home, "%s/wallet-%u", stage->folder, port);
    snprintf(errors, sizeof errors, "%s.err", home);
    snprintf(hub, sizeof hub, "127.0.0.1:%u", port);
    setenv("RILL_HUB", hub, 1);
    setenv("RILL_LEDGER", stage->url, 1);
    setenv("RILL_CONTRACT", stage->contract_text, 1);
    setenv("RILL_CONFIRMATIONS", "1", 1);
    setenv("RILL_PASSPHRASE", PASSPHRASE, 1);
    const char *const init[] = {
        process_path("rill", path, sizeof path), "init", "--home", home, "--light", NULL};
    ensure(process_start(&process, init, errors));
    assert_int_equal(process_end(&process, 0), 0);
    const char *const open[] = {path, "open", "0.000001", "--home", home, "--timeout-s", "1", NULL};
    ensure(process_start(&process, open, errors));
    siginfo_t info = {0};
    uint64_t end_us = clock_monotonic_us() + PATIENCE_MS * 1000ull;
    while (waitid(P_PID, (id_t)process.pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0 &&
           clock_monotonic_us() < end_us) {
        if (between != NULL)
            between_turn(between);
        turn(stage);
    }
    int code = process_end(&process, 0);
    *said = file_text(errors);
    return code;
}

static void on_false_ready(void *context, struct link *link, const struct address *peer,
                           const struct message *welcome)
{
    (void)link;
    (void)peer;
    (void)welcome;
    *(bool *)context = true;
}

static void on_false_message(void *context, struct link *link, const struct message *message)
{
    (void)context;
    (void)link;
    (void)message;
}

static void on_false_closed(void *context, struct link *link, enum link_closed why, const char *reason)
{
    (void)context;
    (void)link;
    (void)why;
    (void)reason;
}

/* A server that does everything right, but with a key that is not the contract's hub's. */
static void false_hub(struct arena *arena)
{
    static const struct link_callbacks callbacks = {
        .ready = on_false_ready, .message = on_false_message, .closed = on_false_closed};
    char folder[160], message[256], *said;
    bool was_believed = false;
    snprintf(folder, sizeof folder, "%s/false-hub", arena->stage->folder);
    ensure(mkdir(folder, 0700) == 0);
    struct tls_identity *identity = tls_identity_open(folder, message, sizeof message);
    assert_non_null(identity);
    struct link_server_options options = {.host = "127.0.0.1",
                                          .identity = identity,
                                          .key = key_of("a false hub"),
                                          .domain = arena->stage->domain};
    struct link_server *server =
        link_server_new(arena->stage->base, &options, &callbacks, &was_believed, message, sizeof message);
    assert_non_null(server);
    int code = wallet_meets(arena, link_server_port(server), NULL, &said);
    link_server_free(server);
    tls_identity_free(identity);
    if (code != 3 || strstr(said, "the server says it is") == NULL)
        fail_msg("exit code %d: %s", code, said);
    free(said);
    assert_false(was_believed);
}

/* Someone in between shows a certificate of its own and passes everything on: the hub's signature is over another one. */
static void certificate_swapped(struct arena *arena)
{
    char folder[160], *said;
    snprintf(folder, sizeof folder, "%s/between", arena->stage->folder);
    ensure(mkdir(folder, 0700) == 0);
    struct between *between = between_open(arena->stage, folder);
    int code = wallet_meets(arena, between_port(between), between, &said);
    unsigned answer = between_answer(between);
    between_close(between);
    if (code != 3 || strstr(said, "listening in between") == NULL)
        fail_msg("exit code %d: %s", code, said);
    free(said);
    assert_int_equal(answer, MESSAGE_ERROR);
}

const struct attack attacks_handshake[] = {
    {"handshake", "protocol versions 0, 2, 2^64 - 1", "ERROR VERSION, closed", other_version, false},
    {"handshake", "HELLO as address zero", "ERROR AUTH, closed", as_nobody, false},
    {"handshake", "HELLO as the hub itself", "ERROR AUTH, closed", as_the_hub, false},
    {"handshake", "AUTH as a client whose key one has not", "ERROR AUTH, closed", as_another_client, false},
    {"handshake", "AUTH over another challenge", "ERROR AUTH, closed", challenge_of_another_session, false},
    {"handshake", "AUTH for another certificate", "ERROR AUTH, closed", certificate_of_another_server, false},
    {"handshake", "AUTH for another chain", "ERROR AUTH, closed", session_of_another_chain, false},
    {"handshake", "AUTH for oneself after HELLO as another", "ERROR AUTH, closed", session_of_another_client,
     false},
    {"handshake", "the AUTH of an earlier session", "ERROR AUTH, closed", auth_replayed, false},
    {"handshake", "anything else before HELLO", "ERROR MALFORMED, closed", before_hello, false},
    {"handshake", "an UPDATE in place of AUTH", "ERROR MALFORMED, closed", update_in_place_of_auth, false},
    {"handshake", "a second HELLO, as another", "ERROR MALFORMED, closed", hello_twice, false},
    {"handshake", "a frame of 4,097 bytes before AUTH", "ERROR MALFORMED, closed", large_frame_before_auth,
     false},
    {"handshake", "HTTP, half a record, a bare frame, an alert", "closed", not_tls, false},
    {"handshake", "TLS 1.2", "closed", older_tls, false},
    {"false hub", "a server with another key meets a wallet", "the wallet leaves, exit code 3", false_hub,
     false},
    {"false hub", "a certificate swapped in between", "the wallet leaves, exit code 3", certificate_swapped,
     false},
    {0},
};
