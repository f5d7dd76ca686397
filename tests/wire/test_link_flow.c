/* Time and room: silence, slow handshakes, readers that stall, limits of connections and output. */
#include "tests/wire/link_world.h"

static struct link *server_end(struct world *world)
{
    return world->server_owner.links[0];
}

static struct link *client_end(struct world *world)
{
    return world->client_owner.links[0];
}

static void both_ready(struct world *world)
{
    if (world->server == NULL)
        start_server(world);
    connect_client(world);
    RUN_UNTIL(world, world->client_owner.ready == 1 && world->server_owner.ready == 1);
}

static void part(struct world *world)
{
    link_close(client_end(world));
    RUN_UNTIL(world, link_server_connections(world->server) == 0);
}

/* ---- time ---- */

static void a_slow_handshake_is_ended(void **state)
{
    struct world *world = *state;
    struct link_times times = link_times_default();
    times.handshake_ms = 100;
    start_server(world);
    link_server_set_times(world->server, &times);
    int silent = tcp_connect(link_server_port(world->server)); /* no TLS at all */
    struct raw *no_hello = raw_connect(world, link_server_port(world->server));
    struct raw *no_auth = raw_connect(world, link_server_port(world->server));
    RUN_UNTIL(world, no_auth->secured);
    raw_hello(no_auth, 1, &world->client);
    uint64_t start_us = clock_monotonic_us();
    RUN_UNTIL(world, world->server_owner.closed == 3 && no_auth->ended && no_hello->ended);
    assert_true(clock_monotonic_us() - start_us < 2000000);
    assert_int_equal(world->server_owner.why, LINK_CLOSED_TIMEOUT);
    assert_int_equal(link_server_connections(world->server), 0);
    close(silent);
    raw_free(no_hello);
    raw_free(no_auth);
}

static void a_client_does_not_wait_for_ever(void **state)
{
    struct world *world = *state;
    uint16_t port;
    struct raw *raw = raw_listen(world, world->identity, &port); /* never answers */
    struct link_client_options options = client_options(world, port);
    struct link *link = connect_with(world, &options);
    struct link_times times = link_times_default();
    times.handshake_ms = 100;
    link_set_times(link, &times);
    RUN_UNTIL(world, world->client_owner.closed == 1);
    assert_int_equal(world->client_owner.why, LINK_CLOSED_TIMEOUT);
    assert_non_null(strstr(world->client_owner.reason, "100 ms"));
    raw_free(raw);
}

static void quiet_links_are_kept_by_pings(void **state)
{
    struct world *world = *state;
    both_ready(world);
    struct link_times times = link_times_default();
    times.ping_after_ms = 50;
    times.drop_after_ms = 1500; /* far more than a busy machine keeps this process waiting */
    link_set_times(client_end(world), &times);
    link_set_times(server_end(world), &times);
    run_for(world, 2000);
    assert_int_equal(world->client_owner.closed + world->server_owner.closed, 0);
    assert_int_equal(world->client_owner.messages + world->server_owner.messages, 0);
    assert_true(client_end(world)->pinged_us > 0 || server_end(world)->pinged_us > 0);
    part(world);
}

static void a_dead_peer_is_dropped(void **state)
{
    struct world *world = *state;
    start_server(world);
    struct raw *raw = raw_client_ready(world);
    struct link_times times = link_times_default();
    times.ping_after_ms = 40;
    times.drop_after_ms = 120;
    link_set_times(server_end(world), &times);
    size_t before = raw->frames;
    uint64_t start_us = clock_monotonic_us();
    RUN_UNTIL(world, world->server_owner.closed == 1 && raw->ended);
    assert_true(clock_monotonic_us() - start_us >= 100000);
    assert_int_equal(world->server_owner.why, LINK_CLOSED_TIMEOUT);
    /* It was asked before: 30 s and 60 s after it was last heard, in real life. */
    assert_true(raw->frames >= before + 1 && raw->frames <= before + 3);
    assert_int_equal(raw->last.type, MESSAGE_PING);
    raw_free(raw);
}

/* A peer that was refused and does not close its end is not waited for. */
static void closing_takes_a_second_at_most(void **state)
{
    struct world *world = *state;
    start_server(world);
    struct raw *raw = raw_client_ready(world);
    raw_send_bytes(raw, "\0\0\0\1\xc0", 5);
    uint64_t start_us = clock_monotonic_us();
    RUN_UNTIL(world, world->server_owner.closed == 1);
    uint64_t took_us = clock_monotonic_us() - start_us;
    assert_true(took_us > 800000 && took_us < 3000000);
    assert_int_equal(world->server_owner.why, LINK_CLOSED_MALFORMED);
    raw_free(raw);
}

/* Bytes that never become a frame are silence. */
static void a_trickle_is_silence(void **state)
{
    struct world *world = *state;
    start_server(world);
    struct raw *raw = raw_client_ready(world);
    struct link_times times = link_times_default();
    times.ping_after_ms = 40;
    times.drop_after_ms = 120;
    link_set_times(server_end(world), &times);
    raw_send_bytes(raw, "\0\3\0\0", 4);
    for (int i = 0; i < 40 && world->server_owner.closed == 0; i++) {
        raw_send_bytes(raw, "x", 1);
        run_for(world, 10);
    }
    assert_int_equal(world->server_owner.closed, 1);
    assert_int_equal(world->server_owner.why, LINK_CLOSED_TIMEOUT);
    raw_free(raw);
}

/* ---- room ---- */

/* A client that asks and asks, and reads no answer. */
static void flood_acks(struct raw *raw, size_t count)
{
    struct buffer bytes = {0};
    struct message ack = {.type = MESSAGE_ACK};
    for (size_t i = 0; i < count; i++)
        message_encode(&bytes, &ack);
    raw_send_bytes(raw, bytes.data, bytes.length);
    buffer_free(&bytes);
}

/* Answers each ACK with 4 KiB. */
static void answer_at_length(struct owner *owner, struct link *link, const struct message *message)
{
    static const uint8_t body[4096];
    (void)owner;
    (void)message;
    struct message update = {.type = MESSAGE_UPDATE};
    update.update.body = body;
    update.update.body_length = sizeof body;
    link_send(link, &update);
}

static void a_stalled_reader_is_not_read_from(void **state)
{
    struct world *world = *state;
    start_server(world);
    world->server_owner.on_message = answer_at_length;
    struct raw *raw = raw_client_ready(world);
    size_t before = raw->frames;
    bufferevent_disable(raw->bev, EV_READ);
    enum { ASKED = 8000 }; /* 32 MiB of answers; kernel buffers hold a few */
    flood_acks(raw, ASKED);
    RUN_UNTIL(world, server_end(world)->choked);
    run_for(world, 200);
    size_t served = world->server_owner.messages;
    assert_true(served < ASKED);
    /* What waits is bounded by the limit and one frame; the requests wait in the peer's own buffers. */
    assert_true(link_output_bytes(server_end(world)) <= PEER_OUTPUT_BYTES_MAX + 2 * 4300);
    assert_true(link_input_bytes(server_end(world)) <= FRAME_BYTES_MAX + STREAM_RECEIVE_BYTES_MAX + 16384);
    run_for(world, 100);
    assert_int_equal(world->server_owner.messages, served);
    assert_int_equal(world->server_owner.drained, 0);

    /* It reads again: everything goes on from where it stood. */
    bufferevent_enable(raw->bev, EV_READ);
    RUN_UNTIL(world, raw->frames == before + ASKED);
    assert_int_equal(world->server_owner.messages, ASKED);
    assert_true(world->server_owner.drained >= 1);
    raw_free(raw);
    RUN_UNTIL(world, world->server_owner.closed == 1);
}

static void a_reader_that_takes_nothing_is_dropped(void **state)
{
    struct world *world = *state;
    start_server(world);
    world->server_owner.on_message = answer_at_length;
    struct raw *raw = raw_client_ready(world);
    struct link_times times = link_times_default();
    times.ping_after_ms = 50;
    times.drop_after_ms = 150;
    link_set_times(server_end(world), &times);
    bufferevent_disable(raw->bev, EV_READ);
    flood_acks(raw, 4000);
    RUN_UNTIL(world, world->server_owner.closed == 1);
    assert_int_equal(world->server_owner.why, LINK_CLOSED_TIMEOUT);
    assert_non_null(strstr(world->server_owner.reason, "took nothing"));
    raw_free(raw);
}

static void twice_the_limit_drops_the_peer(void **state)
{
    struct world *world = *state;
    start_server(world);
    struct raw *raw = raw_client_ready(world);
    bufferevent_disable(raw->bev, EV_READ);
    struct link *link = server_end(world);
    size_t sent = 0;
    for (; sent < 2000 && link->stage == LINK_READY; sent++) {
        answer_at_length(NULL, link, NULL);
        event_base_loop(world->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
        if (world->server_owner.closed > 0)
            break;
    }
    /* It was not told from within link_send. */
    RUN_UNTIL(world, world->server_owner.closed == 1);
    assert_int_equal(world->server_owner.why, LINK_CLOSED_LIMIT);
    assert_true(sent > 2 * PEER_OUTPUT_BYTES_MAX / 4300);
    RUN_UNTIL(world, link_server_connections(world->server) == 0);
    raw_free(raw);
}

static void too_much_at_once_drops_the_peer_later(void **state)
{
    struct world *world = *state;
    both_ready(world);
    struct link *link = server_end(world);
    for (int i = 0; i < 600; i++)
        answer_at_length(NULL, link, NULL);
    assert_int_equal(world->server_owner.closed, 0);
    assert_true(link_output_bytes(link) <= 2 * PEER_OUTPUT_BYTES_MAX + 4300);
    RUN_UNTIL(world, world->server_owner.closed == 1 && world->client_owner.closed == 1);
    assert_int_equal(world->server_owner.why, LINK_CLOSED_LIMIT);
}

static void a_paused_peer_waits(void **state)
{
    struct world *world = *state;
    both_ready(world);
    struct link_times times = link_times_default();
    times.ping_after_ms = 30;
    times.drop_after_ms = 90;
    link_set_times(server_end(world), &times);
    link_pause(server_end(world), true);
    for (uint64_t nonce = 1; nonce <= 2000; nonce++)
        send_ack(client_end(world), nonce);
    run_for(world, 300); /* a silence of our own making is nobody's fault */
    assert_int_equal(world->server_owner.messages, 0);
    assert_int_equal(world->server_owner.closed, 0);
    link_pause(server_end(world), false);
    RUN_UNTIL(world, world->server_owner.messages == 2000);
    assert_true(world->server_owner.in_order);
    part(world);
}

static void charge(struct owner *owner, struct link *link, const struct message *message)
{
    (void)owner;
    (void)message;
    link_charge(link);
}

/* Who makes us work for nothing has a few free, then waits for each; nothing of what it says is lost. */
static void whoever_is_charged_waits(void **state)
{
    struct world *world = *state;
    world->server_owner.on_message = charge;
    both_ready(world);
    uint64_t start_us = clock_monotonic_us();
    for (uint64_t nonce = 1; nonce <= 40; nonce++)
        send_ack(client_end(world), nonce);
    RUN_UNTIL(world, world->server_owner.messages == 40);
    assert_true(clock_monotonic_us() - start_us >= 23 * 10000);
    assert_true(world->server_owner.in_order);
    part(world);
}

/* A PING is for a link at rest: a flood of them is answered as slowly, and holds nobody else up. */
static void pings_without_end_are_answered_slowly(void **state)
{
    struct world *world = *state;
    both_ready(world);
    struct message ping = {.type = MESSAGE_PING};
    for (int i = 0; i < 1000; i++)
        link_send(client_end(world), &ping);
    send_ack(client_end(world), 1);
    run_for(world, 200);
    assert_int_equal(world->server_owner.messages, 0);
    assert_true(link_input_bytes(server_end(world)) > 0);
    assert_int_equal(world->server_owner.closed, 0);
}

static void pause_after_ten(struct owner *owner, struct link *link, const struct message *message)
{
    (void)message;
    if (owner->messages % 10 == 0)
        link_pause(link, true);
}

/* However the pauses fall into TLS records and frames, nothing gets stuck or lost. */
static void pausing_in_the_middle_loses_nothing(void **state)
{
    struct world *world = *state;
    world->server_owner.on_message = pause_after_ten;
    both_ready(world);
    for (uint64_t nonce = 1; nonce <= 1000; nonce++)
        send_ack(client_end(world), nonce);
    for (size_t round = 1; round <= 100; round++) {
        RUN_UNTIL(world, world->server_owner.messages == 10 * round);
        run_for(world, 1);
        assert_int_equal(world->server_owner.messages, 10 * round);
        link_pause(server_end(world), false);
    }
    assert_true(world->server_owner.in_order);
    part(world);
}

/* A peer that says its last words and goes, while its owner has it pause in the middle of them. */
static void the_last_words_of_a_paused_peer_are_heard(void **state)
{
    struct world *world = *state;
    world->server_owner.on_message = pause_after_ten;
    both_ready(world);
    for (uint64_t nonce = 1; nonce <= 25; nonce++)
        send_ack(client_end(world), nonce);
    link_close(client_end(world));
    for (size_t round = 1; round <= 2; round++) {
        RUN_UNTIL(world, world->server_owner.messages == 10 * round);
        run_for(world, 20);
        assert_int_equal(world->server_owner.messages, 10 * round);
        assert_int_equal(world->server_owner.closed, 0);
        link_pause(server_end(world), false);
    }
    RUN_UNTIL(world, world->server_owner.closed == 1);
    assert_int_equal(world->server_owner.messages, 25);
    assert_true(world->server_owner.in_order);
    assert_int_equal(world->server_owner.why, LINK_CLOSED_PEER);
}

/* Large frames fill the input to its limit; reading stops and goes on. */
static void large_frames_and_pauses(void **state)
{
    struct world *world = *state;
    both_ready(world);
    struct message update = {.type = MESSAGE_UPDATE};
    update.update.body_length = 100000;
    uint8_t *body = calloc(1, update.update.body_length);
    update.update.body = body;
    link_pause(server_end(world), true);
    for (int i = 0; i < 10; i++)
        link_send(client_end(world), &update);
    run_for(world, 100);
    assert_int_equal(world->server_owner.messages, 0);
    assert_true(link_input_bytes(server_end(world)) <= FRAME_BYTES_MAX + STREAM_RECEIVE_BYTES_MAX + 16384);
    link_pause(server_end(world), false);
    RUN_UNTIL(world, world->server_owner.messages == 10);
    free(body);
    part(world);
}

/* Many frames of one peer do not keep the others waiting. */
static void a_busy_peer_leaves_others_their_turn(void **state)
{
    struct world *world = *state;
    both_ready(world);
    struct raw *raw = raw_client_ready(world);
    assert_int_equal(world->server_owner.ready, 2);
    link_pause(server_end(world), true);
    for (uint64_t nonce = 1; nonce <= 3000; nonce++)
        send_ack(client_end(world), nonce);
    run_for(world, 50); /* all of it is in the server's input now */
    flood_acks(raw, 1);
    link_pause(server_end(world), false);
    struct link *other = world->server_owner.links[1];
    uint64_t heard_us = other->heard_us;
    RUN_UNTIL(world, other->heard_us != heard_us);
    assert_true(world->server_owner.messages < 1500);
    RUN_UNTIL(world, world->server_owner.messages == 3001);
    raw_free(raw);
    part(world);
}

/* ---- connections ---- */

static void connections_over_the_limit_are_closed_at_once(void **state)
{
    struct world *world = *state;
    struct link_server_options options = server_options(world);
    options.connections_max = 20;
    options.handshakes_max = 20;
    start_server_with(world, &options);
    enum { WITHIN = 20, OVER = 500 };
    int fds[WITHIN + OVER];
    for (size_t i = 0; i < ARRAY_LENGTH(fds); i++) {
        fds[i] = tcp_connect(link_server_port(world->server));
        if (i % 16 == 0)
            event_base_loop(world->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    }
    run_for(world, 50);
    assert_int_equal(link_server_connections(world->server), WITHIN);
    size_t closed = 0;
    for (size_t i = 0; i < ARRAY_LENGTH(fds); i++) {
        char byte;
        ssize_t got = recv(fds[i], &byte, 1, MSG_DONTWAIT);
        closed += got == 0 || (got < 0 && errno == ECONNRESET);
        close(fds[i]);
    }
    assert_int_equal(closed, OVER);
    RUN_UNTIL(world, link_server_connections(world->server) == 0);
    assert_int_equal(world->server_owner.closed, WITHIN);
    /* And there is room again. */
    both_ready(world);
    link_close(client_end(world));
    RUN_UNTIL(world, link_server_connections(world->server) == 0);
}

static bool is_closed(int fd)
{
    char byte;
    ssize_t got = recv(fd, &byte, 1, MSG_DONTWAIT);
    return got == 0 || (got < 0 && errno == ECONNRESET);
}

/* Connections that come to nothing are accepted at a bounded rate; whoever comes behind them gets in. */
static void silent_connections_are_taken_in_turn(void **state)
{
    struct world *world = *state;
    struct link_server_options options = server_options(world);
    enum { SILENT = 200, BURST = 10, PER_SECOND = 500 };
    options.handshakes_max = 3;
    start_server_with(world, &options);
    link_server_set_newcomers(world->server, PER_SECOND, BURST);
    int fds[SILENT];
    uint64_t from_us = clock_monotonic_us();
    for (size_t i = 0; i < SILENT; i++)
        fds[i] = tcp_connect(link_server_port(world->server));
    connect_client(world);
    RUN_UNTIL(world, world->server_owner.closed == SILENT - 2 && world->client_owner.ready == 1);
    /* However fast the machine is; at least the client's own has been given back. */
    assert_true(clock_monotonic_us() - from_us >= (uint64_t)(SILENT - BURST - 1) * 1000000 / PER_SECOND);
    for (size_t i = 0; i < SILENT; i++)
        close(fds[i]);
    link_close(client_end(world));
    RUN_UNTIL(world, link_server_connections(world->server) == 0);
}

/* Clients that get in count for nothing, however many: with room for one that does not, all of them do. */
static void clients_that_get_in_are_not_held_up(void **state)
{
    struct world *world = *state;
    start_server(world);
    link_server_set_newcomers(world->server, 1, 1);
    for (size_t i = 0; i < 30; i++) {
        connect_client(world);
        RUN_UNTIL(world, world->client_owner.ready == i + 1);
        assert_true(throttle_allows(&world->server->newcomers, clock_monotonic_us()));
        link_close(world->client_owner.links[i]);
        RUN_UNTIL(world, link_server_connections(world->server) == 0);
    }
}

/* Silent connections keep nobody out: of those in the handshake the oldest gives way. */
static void the_oldest_handshake_gives_way(void **state)
{
    struct world *world = *state;
    struct link_server_options options = server_options(world);
    options.connections_max = 100;
    options.handshakes_max = 3;
    start_server_with(world, &options);
    both_ready(world); /* not counted any more */
    int fds[3];
    for (size_t i = 0; i < ARRAY_LENGTH(fds); i++) {
        fds[i] = tcp_connect(link_server_port(world->server));
        RUN_UNTIL(world, link_server_connections(world->server) == 2 + i);
    }
    assert_int_equal(world->server_owner.closed, 0);

    struct owner late = {0};
    struct link_client_options client = client_options(world, link_server_port(world->server));
    link_connect(world->base, &client, &owner_callbacks, &late);
    RUN_UNTIL(world, late.ready == 1);
    assert_int_equal(world->server_owner.closed, 1);
    assert_int_equal(world->server_owner.why, LINK_CLOSED_LIMIT);
    assert_non_null(strstr(world->server_owner.reason, "gave way"));
    RUN_UNTIL(world, is_closed(fds[0]));
    assert_false(is_closed(fds[1]) || is_closed(fds[2]));
    assert_int_equal(link_server_connections(world->server), 4);

    /* However many there are, those that are ready stay. */
    int more[50];
    for (size_t i = 0; i < ARRAY_LENGTH(more); i++)
        more[i] = tcp_connect(link_server_port(world->server));
    /* The late one has left the handshake: one of these takes its place, each of the others pushes one out. */
    RUN_UNTIL(world, world->server_owner.closed == 1 + ARRAY_LENGTH(more) - 1);
    assert_int_equal(link_server_connections(world->server), 2 + 3);
    send_ack(client_end(world), 1);
    send_ack(late.links[0], 2);
    RUN_UNTIL(world, world->server_owner.messages == 2);
    for (size_t i = 0; i < ARRAY_LENGTH(fds); i++)
        close(fds[i]);
    for (size_t i = 0; i < ARRAY_LENGTH(more); i++)
        close(more[i]);
    link_close(late.links[0]);
    link_close(client_end(world));
    RUN_UNTIL(world, link_server_connections(world->server) == 0);
}

static void many_links_at_once(void **state)
{
    struct world *world = *state;
    start_server(world);
    enum { MANY = 60 };
    for (size_t i = 0; i < MANY; i++)
        connect_client(world);
    RUN_UNTIL(world, world->client_owner.ready == MANY && world->server_owner.ready == MANY);
    for (size_t i = 0; i < MANY; i++)
        send_ack(world->client_owner.links[i], 1);
    RUN_UNTIL(world, world->server_owner.messages == MANY);
    for (size_t i = 0; i < MANY; i++)
        link_close(world->client_owner.links[i]);
    RUN_UNTIL(world, link_server_connections(world->server) == 0);
    assert_int_equal(world->server_owner.closed, MANY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(a_slow_handshake_is_ended),
        WORLD_TEST(a_client_does_not_wait_for_ever),
        WORLD_TEST(quiet_links_are_kept_by_pings),
        WORLD_TEST(a_dead_peer_is_dropped),
        WORLD_TEST(closing_takes_a_second_at_most),
        WORLD_TEST(a_trickle_is_silence),
        WORLD_TEST(a_stalled_reader_is_not_read_from),
        WORLD_TEST(a_reader_that_takes_nothing_is_dropped),
        WORLD_TEST(twice_the_limit_drops_the_peer),
        WORLD_TEST(too_much_at_once_drops_the_peer_later),
        WORLD_TEST(a_paused_peer_waits),
        WORLD_TEST(whoever_is_charged_waits),
        WORLD_TEST(pings_without_end_are_answered_slowly),
        WORLD_TEST(pausing_in_the_middle_loses_nothing),
        WORLD_TEST(the_last_words_of_a_paused_peer_are_heard),
        WORLD_TEST(large_frames_and_pauses),
        WORLD_TEST(a_busy_peer_leaves_others_their_turn),
        WORLD_TEST(connections_over_the_limit_are_closed_at_once),
        WORLD_TEST(the_oldest_handshake_gives_way),
        WORLD_TEST(silent_connections_are_taken_in_turn),
        WORLD_TEST(clients_that_get_in_are_not_held_up),
        WORLD_TEST(many_links_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
