/* Links whose other end lies, babbles, or says the right thing at the wrong time. */
#include "tests/wire/link_world.h"

/* The raw client hears a fatal ERROR of this code, then the end; the owner is told why. */
static void expect_refused(struct world *world, struct raw *raw, enum code code, enum link_closed why,
                           const char *words)
{
    RUN_UNTIL(world, raw->ended);
    assert_int_equal(raw->last.type, MESSAGE_ERROR);
    assert_int_equal(raw->last.error.code, code);
    assert_true(raw->last.error.fatal);
    raw_free(raw);
    RUN_UNTIL(world, world->server_owner.closed == 1);
    assert_int_equal(world->server_owner.why, why);
    if (strstr(world->server_owner.reason, words) == NULL)
        fail_msg("%s", world->server_owner.reason);
    assert_int_equal(link_server_connections(world->server), 0);
    world->server_owner.closed = 0;
}

static struct raw *secured_client(struct world *world)
{
    if (world->server == NULL)
        start_server(world);
    struct raw *raw = raw_connect(world, link_server_port(world->server));
    RUN_UNTIL(world, raw->secured);
    return raw;
}

/* ---- the handshake, seen by the server ---- */

static void a_wrong_version_is_refused(void **state)
{
    struct world *world = *state;
    struct raw *raw = secured_client(world);
    raw_hello(raw, 2, &world->client);
    expect_refused(world, raw, CODE_VERSION, LINK_CLOSED_HANDSHAKE, "version 2");
}

static void client_zero_is_refused(void **state)
{
    struct world *world = *state;
    struct raw *raw = secured_client(world);
    raw_hello(raw, 1, &ADDRESS_ZERO);
    expect_refused(world, raw, CODE_AUTH, LINK_CLOSED_HANDSHAKE, "zero or the server's own");
}

static void the_hub_itself_is_refused_as_a_client(void **state)
{
    struct world *world = *state;
    struct raw *raw = secured_client(world);
    raw_hello(raw, 1, &world->hub);
    expect_refused(world, raw, CODE_AUTH, LINK_CLOSED_HANDSHAKE, "zero or the server's own");
}

static void another_clients_name_is_refused(void **state)
{
    struct world *world = *state;
    struct raw *raw = secured_client(world);
    raw_hello(raw, 1, &world->client);
    RUN_UNTIL(world, raw->frames == 1);
    raw_auth(raw, &world->other_key);
    expect_refused(world, raw, CODE_AUTH, LINK_CLOSED_HANDSHAKE, "did not prove");
    assert_int_equal(world->server_owner.ready, 0);
}

/* As expect_refused, while another link stays. */
static void expect_refused_beside(struct world *world, struct raw *raw)
{
    RUN_UNTIL(world, raw->ended);
    assert_int_equal(raw->last.error.code, CODE_AUTH);
    raw_free(raw);
    RUN_UNTIL(world, world->server_owner.closed == 1);
}

static void an_auth_of_another_connection_is_refused(void **state)
{
    struct world *world = *state;
    struct raw *first = secured_client(world);
    raw_hello(first, 1, &world->client);
    RUN_UNTIL(world, first->frames == 1);
    struct raw *second = secured_client(world);
    raw_hello(second, 1, &world->client);
    RUN_UNTIL(world, second->frames == 1);
    second->last.challenge.challenge = first->last.challenge.challenge;
    raw_auth(second, &world->client_key);
    expect_refused_beside(world, second);
    raw_auth(first, &world->client_key);
    RUN_UNTIL(world, world->server_owner.ready == 1);
    raw_free(first);
    RUN_UNTIL(world, world->server_owner.closed == 2);
}

static void messages_out_of_order_are_refused(void **state)
{
    struct world *world = *state;
    static const enum message_type first[] = {MESSAGE_AUTH, MESSAGE_ACK, MESSAGE_PING, MESSAGE_WELCOME,
                                              MESSAGE_CHALLENGE};
    for (size_t i = 0; i < ARRAY_LENGTH(first); i++) {
        struct raw *raw = secured_client(world);
        struct terms terms = {0};
        struct message message = {.type = first[i]};
        if (first[i] == MESSAGE_WELCOME)
            message.welcome.terms = &terms;
        raw_send(raw, &message);
        expect_refused(world, raw, CODE_MALFORMED, LINK_CLOSED_MALFORMED, "out of order");
    }
    struct raw *raw = secured_client(world);
    raw_hello(raw, 1, &world->client);
    raw_hello(raw, 1, &world->client);
    expect_refused(world, raw, CODE_MALFORMED, LINK_CLOSED_MALFORMED, "HELLO is out of order");
}

static void frames_before_the_handshake_are_small(void **state)
{
    struct world *world = *state;
    struct raw *raw = secured_client(world);
    static const uint8_t head[] = {0, 0, 0x10, 1};
    raw_send_bytes(raw, head, sizeof head); /* refused at the head, before a byte of it has come */
    expect_refused(world, raw, CODE_MALFORMED, LINK_CLOSED_MALFORMED, "a frame of 4097 bytes");
}

static void a_client_that_gives_up_is_told_to_the_owner(void **state)
{
    struct world *world = *state;
    struct raw *raw = secured_client(world);
    raw_free(raw);
    RUN_UNTIL(world, world->server_owner.closed == 1);
    assert_int_equal(world->server_owner.why, LINK_CLOSED_PEER);
    assert_null(world->server_owner.links[0]);
}

/* ---- TLS ---- */

static void what_is_not_tls_is_refused(void **state)
{
    struct world *world = *state;
    start_server(world);
    int fd = tcp_connect(link_server_port(world->server));
    static const char text[] = "GET / HTTP/1.1\r\nHost: hub\r\n\r\n";
    assert_int_equal(write(fd, text, sizeof text - 1), sizeof text - 1);
    RUN_UNTIL(world, world->server_owner.closed == 1);
    assert_int_equal(world->server_owner.why, LINK_CLOSED_TLS);
    close(fd);
}

static void tls_1_2_is_refused(void **state)
{
    struct world *world = *state;
    start_server(world);
    struct raw *raw = calloc(1, sizeof *raw);
    raw->world = world;
    raw->context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_max_proto_version(raw->context, TLS1_2_VERSION);
    raw_begin(raw, tcp_connect(link_server_port(world->server)), BUFFEREVENT_SSL_CONNECTING);
    RUN_UNTIL(world, raw->ended && world->server_owner.closed == 1);
    assert_int_equal(world->server_owner.why, LINK_CLOSED_TLS);
    assert_false(raw->secured);
    raw_free(raw);
}

static void a_client_wants_tls_1_3_too(void **state)
{
    struct world *world = *state;
    uint16_t port;
    struct raw *raw = raw_listen(world, world->identity, &port);
    SSL_CTX_set_min_proto_version(raw->context, TLS1_2_VERSION);
    SSL_CTX_set_max_proto_version(raw->context, TLS1_2_VERSION);
    struct link_client_options options = client_options(world, port);
    connect_with(world, &options);
    RUN_UNTIL(world, world->client_owner.closed == 1);
    assert_int_equal(world->client_owner.why, LINK_CLOSED_TLS);
    raw_free(raw);
}

/* ---- after the handshake ---- */

static void every_wrong_direction_is_refused(void **state)
{
    struct world *world = *state;
    static const enum message_type wrong[] = {
        MESSAGE_SETTLE_PROPOSE, MESSAGE_SETTLED,   MESSAGE_FUNDED,  MESSAGE_CHANNEL, MESSAGE_LOCKS,
        MESSAGE_WELCOME,        MESSAGE_CHALLENGE, MESSAGE_AUTH,    MESSAGE_HELLO,   MESSAGE_REDIRECT,
        MESSAGE_APPOINT,        MESSAGE_FETCH,     MESSAGE_RECEIPT, MESSAGE_KEPT};
    start_server(world);
    for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++) {
        struct raw *raw = raw_client_ready(world);
        struct terms terms = {0};
        struct message message = {.type = wrong[i]};
        if (wrong[i] == MESSAGE_WELCOME)
            message.welcome.terms = &terms;
        if (wrong[i] == MESSAGE_HELLO)
            message.hello.version = 1;
        if (wrong[i] == MESSAGE_REDIRECT) {
            message.redirect.host = (struct text){"x", 1};
            message.redirect.port = 1;
        }
        raw_send(raw, &message);
        expect_refused(world, raw, CODE_MALFORMED, LINK_CLOSED_MALFORMED, message_name(wrong[i]));
    }
    assert_int_equal(world->server_owner.messages, 0);
}

static void every_right_direction_is_taken(void **state)
{
    struct world *world = *state;
    static const enum message_type right[] = {
        MESSAGE_UPDATE,         MESSAGE_ACK,         MESSAGE_REVEAL, MESSAGE_FAIL,   MESSAGE_REVOKE,
        MESSAGE_SETTLE_REQUEST, MESSAGE_SETTLE_SIGN, MESSAGE_ERROR,  MESSAGE_RESUME, MESSAGE_OPEN_REQUEST};
    start_server(world);
    struct raw *raw = raw_client_ready(world);
    for (size_t i = 0; i < ARRAY_LENGTH(right); i++) {
        struct message message = {.type = right[i]};
        raw_send(raw, &message);
        RUN_UNTIL(world, world->server_owner.messages == i + 1);
        assert_int_equal(world->server_owner.last.type, right[i]);
    }
    raw_free(raw);
    RUN_UNTIL(world, world->server_owner.closed == 1);
    assert_int_equal(world->server_owner.why, LINK_CLOSED_PEER);
}

static void garbage_is_refused(void **state)
{
    struct world *world = *state;
    static const struct {
        uint8_t bytes[12];
        size_t length;
        const char *words;
    } garbage[] = {{{0, 0, 0, 0}, 4, "cut short"},
                   {{0, 0, 0, 1, 0xc0}, 5, "nil, float or ext"},
                   {{0, 0, 0, 2, 0x91, 99}, 6, "unknown type"},
                   {{0, 0, 0, 3, 0x91, 7, 0}, 7, "missing"},
                   {{0, 4, 0, 1}, 4, "262145 bytes"},
                   {{0xff, 0xff, 0xff, 0xff}, 4, "4294967295 bytes"}};
    start_server(world);
    for (size_t i = 0; i < ARRAY_LENGTH(garbage); i++) {
        struct raw *raw = raw_client_ready(world);
        raw_send_bytes(raw, garbage[i].bytes, garbage[i].length);
        expect_refused(world, raw, CODE_MALFORMED, LINK_CLOSED_MALFORMED, garbage[i].words);
    }
}

static void frames_after_a_bad_one_are_not_looked_at(void **state)
{
    struct world *world = *state;
    start_server(world);
    struct raw *raw = raw_client_ready(world);
    struct buffer bytes = {0};
    struct message ack = {.type = MESSAGE_ACK, .ack = {.nonce = 1}};
    message_encode(&bytes, &ack);
    buffer_append(&bytes, "\0\0\0\1\xc0", 5);
    for (int i = 0; i < 1000; i++)
        message_encode(&bytes, &ack);
    raw_send_bytes(raw, bytes.data, bytes.length);
    buffer_free(&bytes);
    expect_refused(world, raw, CODE_MALFORMED, LINK_CLOSED_MALFORMED, "malformed frame");
    assert_int_equal(world->server_owner.messages, 1);
}

static void frames_may_come_in_any_pieces(void **state)
{
    struct world *world = *state;
    start_server(world);
    struct raw *raw = raw_client_ready(world);
    struct buffer bytes = {0};
    for (uint64_t nonce = 1; nonce <= 3; nonce++) {
        struct message ack = {.type = MESSAGE_ACK};
        ack.ack.nonce = nonce;
        message_encode(&bytes, &ack);
    }
    for (size_t i = 0; i < bytes.length; i++) {
        raw_send_bytes(raw, bytes.data + i, 1);
        event_base_loop(world->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    }
    buffer_free(&bytes);
    RUN_UNTIL(world, world->server_owner.messages == 3);
    assert_true(world->server_owner.in_order);
    raw_free(raw);
    RUN_UNTIL(world, world->server_owner.closed == 1);
}

static void the_last_words_before_the_end_are_heard(void **state)
{
    struct world *world = *state;
    start_server(world);
    struct raw *raw = raw_client_ready(world);
    for (uint64_t nonce = 1; nonce <= 300; nonce++) {
        struct message ack = {.type = MESSAGE_ACK};
        ack.ack.nonce = nonce;
        raw_send(raw, &ack);
    }
    struct message error = {.type = MESSAGE_ERROR, .error = {.code = CODE_STOPPING, .fatal = true}};
    error.error.text = (struct text){"bye", 3};
    raw_send(raw, &error);
    RUN_UNTIL(world, evbuffer_get_length(bufferevent_get_output(raw->bev)) == 0);
    raw_free(raw);
    RUN_UNTIL(world, world->server_owner.closed == 1);
    assert_int_equal(world->server_owner.messages, 300);
    assert_int_equal(world->server_owner.why, LINK_CLOSED_ERROR);
    assert_string_equal(world->server_owner.reason, "the other side said STOPPING: bye");
}

/* ---- the handshake, seen by the client ---- */

/* How a false server answers HELLO. */
struct false_answer {
    struct secret_key key;
    struct hash certificate_hash;
    bool other_client, other_nonce;
};

static void answer_hello(struct raw *raw, const struct message *message)
{
    const struct false_answer *answer = raw->argument;
    const struct world *world = raw->world;
    if (message->type != MESSAGE_HELLO)
        return;
    struct address client = message->hello.client;
    client.bytes[0] ^= answer->other_client;
    struct hash nonce_hash = keccak256(message->hello.nonce.bytes, 32);
    nonce_hash.bytes[0] ^= answer->other_nonce;
    struct hash digest = digest_session(&world->domain, &client, &nonce_hash, &answer->certificate_hash);
    struct message out = {.type = MESSAGE_CHALLENGE};
    out.challenge.hub = world->hub;
    out.challenge.chain_id = world->domain.chain_id;
    out.challenge.contract = world->domain.contract;
    out.challenge.signature = key_sign(&answer->key, &digest);
    raw_send(raw, &out);
}

static void expect_unproven(struct world *world, struct false_answer *answer)
{
    uint16_t port;
    struct raw *raw = raw_listen(world, world->identity, &port);
    raw->on_frame = answer_hello;
    raw->argument = answer;
    struct link_client_options options = client_options(world, port);
    world->client_owner.closed = 0;
    connect_with(world, &options);
    RUN_UNTIL(world, raw->ended);
    assert_int_equal(raw->last.type, MESSAGE_ERROR);
    assert_int_equal(raw->last.error.code, CODE_AUTH);
    raw_free(raw);
    RUN_UNTIL(world, world->client_owner.closed == 1);
    assert_int_equal(world->client_owner.why, LINK_CLOSED_HANDSHAKE);
    assert_non_null(strstr(world->client_owner.reason, "did not prove"));
}

static void a_server_without_the_hubs_key_is_refused(void **state)
{
    struct world *world = *state;
    struct false_answer answer = {.key = world->other_key,
                                  .certificate_hash = tls_identity_hash(world->identity)};
    expect_unproven(world, &answer);
}

/* Someone in between passes the true hub's answer on, over a TLS connection of his own. */
static void a_swapped_certificate_is_refused(void **state)
{
    struct world *world = *state;
    struct false_answer answer = {.key = world->hub_key,
                                  .certificate_hash = tls_identity_hash(world->other_identity)};
    expect_unproven(world, &answer);
}

static void an_answer_to_another_question_is_refused(void **state)
{
    struct world *world = *state;
    struct false_answer answer = {.key = world->hub_key,
                                  .certificate_hash = tls_identity_hash(world->identity)};
    answer.other_nonce = true;
    expect_unproven(world, &answer);
    answer.other_nonce = false;
    answer.other_client = true;
    expect_unproven(world, &answer);
}

static void answer_with_a_message(struct raw *raw, const struct message *message)
{
    if (message->type == MESSAGE_HELLO)
        raw_send(raw, raw->argument);
}

static void expect_answer_refused(struct world *world, struct message *answer, enum link_closed why)
{
    uint16_t port;
    struct raw *raw = raw_listen(world, world->identity, &port);
    raw->on_frame = answer_with_a_message;
    raw->argument = answer;
    struct link_client_options options = client_options(world, port);
    world->client_owner.closed = 0;
    connect_with(world, &options);
    RUN_UNTIL(world, raw->ended);
    raw_free(raw);
    RUN_UNTIL(world, world->client_owner.closed == 1);
    assert_int_equal(world->client_owner.why, why);
}

static void a_server_that_answers_out_of_order_is_refused(void **state)
{
    struct world *world = *state;
    struct terms terms = {0};
    struct message welcome = {.type = MESSAGE_WELCOME, .welcome = {.terms = &terms}};
    expect_answer_refused(world, &welcome, LINK_CLOSED_MALFORMED);
    struct message ack = {.type = MESSAGE_ACK};
    expect_answer_refused(world, &ack, LINK_CLOSED_MALFORMED);
    struct message redirect = {.type = MESSAGE_REDIRECT, .redirect = {{"a b\x1b[2J", 7}, 1}};
    expect_answer_refused(world, &redirect, LINK_CLOSED_MALFORMED);
    struct message error = {.type = MESSAGE_ERROR, .error = {.code = CODE_LIMIT, .fatal = true}};
    expect_answer_refused(world, &error, LINK_CLOSED_ERROR);
}

static void a_server_may_close_without_a_word(void **state)
{
    struct world *world = *state;
    uint16_t port;
    struct raw *raw = raw_listen(world, world->identity, &port);
    struct link_client_options options = client_options(world, port);
    connect_with(world, &options);
    RUN_UNTIL(world, raw->frames == 1);
    bufferevent_free(raw->bev);
    raw->bev = NULL;
    RUN_UNTIL(world, world->client_owner.closed == 1);
    assert_int_equal(world->client_owner.why, LINK_CLOSED_PEER);
    raw_free(raw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(a_wrong_version_is_refused),
        WORLD_TEST(client_zero_is_refused),
        WORLD_TEST(the_hub_itself_is_refused_as_a_client),
        WORLD_TEST(another_clients_name_is_refused),
        WORLD_TEST(an_auth_of_another_connection_is_refused),
        WORLD_TEST(messages_out_of_order_are_refused),
        WORLD_TEST(frames_before_the_handshake_are_small),
        WORLD_TEST(a_client_that_gives_up_is_told_to_the_owner),
        WORLD_TEST(what_is_not_tls_is_refused),
        WORLD_TEST(tls_1_2_is_refused),
        WORLD_TEST(a_client_wants_tls_1_3_too),
        WORLD_TEST(every_wrong_direction_is_refused),
        WORLD_TEST(every_right_direction_is_taken),
        WORLD_TEST(garbage_is_refused),
        WORLD_TEST(frames_after_a_bad_one_are_not_looked_at),
        WORLD_TEST(frames_may_come_in_any_pieces),
        WORLD_TEST(the_last_words_before_the_end_are_heard),
        WORLD_TEST(a_server_without_the_hubs_key_is_refused),
        WORLD_TEST(a_swapped_certificate_is_refused),
        WORLD_TEST(an_answer_to_another_question_is_refused),
        WORLD_TEST(a_server_that_answers_out_of_order_is_refused),
        WORLD_TEST(a_server_may_close_without_a_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
