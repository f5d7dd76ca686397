/* Links between honest ends: the handshake, messages, redirects, closing. */
#include "tests/wire/link_world.h"

static void both_ready(struct world *world)
{
    start_server(world);
    connect_client(world);
    RUN_UNTIL(world, world->client_owner.ready == 1 && world->server_owner.ready == 1);
}

static struct link *server_end(struct world *world)
{
    return world->server_owner.links[0];
}

static struct link *client_end(struct world *world)
{
    return world->client_owner.links[0];
}

/* Closes the client's end and waits until the server has seen it. */
static void part(struct world *world)
{
    link_close(client_end(world));
    RUN_UNTIL(world, world->server_owner.closed == 1);
    assert_int_equal(world->server_owner.why, LINK_CLOSED_PEER);
    assert_int_equal(world->client_owner.closed, 0);
    assert_int_equal(link_server_connections(world->server), 0);
}

static void handshake_proves_both_ends(void **state)
{
    struct world *world = *state;
    both_ready(world);
    assert_true(address_equal(&world->server_owner.peers[0], &world->client));
    assert_true(address_equal(&world->client_owner.peers[0], &world->hub));
    assert_int_equal(world->client_owner.channels, 7);
    assert_int_equal(link_server_connections(world->server), 1);
    assert_int_equal(world->client_owner.messages + world->server_owner.messages, 0);
    part(world);
}

static void messages_go_both_ways_in_order(void **state)
{
    struct world *world = *state;
    both_ready(world);
    for (uint64_t nonce = 1; nonce <= 1000; nonce++) {
        send_ack(client_end(world), nonce);
        send_ack(server_end(world), nonce);
    }
    RUN_UNTIL(world, world->client_owner.messages == 1000 && world->server_owner.messages == 1000);
    assert_true(world->client_owner.in_order && world->server_owner.in_order);
    assert_int_equal(link_output_bytes(client_end(world)), 0);
    part(world);
}

static void the_largest_frames_pass(void **state)
{
    struct world *world = *state;
    both_ready(world);
    struct message update = {.type = MESSAGE_UPDATE};
    update.update.body_length = FRAME_BYTES_MAX - 200;
    uint8_t *body = calloc(1, update.update.body_length);
    update.update.body = body;
    for (int i = 0; i < 3; i++) {
        link_send(client_end(world), &update);
        link_send(server_end(world), &update);
    }
    RUN_UNTIL(world, world->client_owner.messages == 3 && world->server_owner.messages == 3);
    assert_int_equal(world->server_owner.last.update.body_length, update.update.body_length);
    free(body);
    part(world);
}

static void the_owners_pointer_stays(void **state)
{
    struct world *world = *state;
    both_ready(world);
    assert_null(link_user(server_end(world)));
    link_set_user(server_end(world), world);
    assert_ptr_equal(link_user(server_end(world)), world);
    part(world);
}

static void a_name_is_looked_up(void **state)
{
    struct world *world = *state;
    start_server(world);
    struct link_client_options options = client_options(world, link_server_port(world->server));
    options.host = "localhost";
    connect_with(world, &options);
    RUN_UNTIL(world, world->client_owner.ready == 1 && world->server_owner.ready == 1);
    part(world);
}

static void an_unknown_name_is_told(void **state)
{
    struct world *world = *state;
    struct link_client_options options = client_options(world, 9);
    options.host = "no-such-host.invalid";
    connect_with(world, &options);
    RUN_UNTIL(world, world->client_owner.closed == 1);
    assert_int_equal(world->client_owner.why, LINK_CLOSED_CONNECT);
    assert_non_null(strstr(world->client_owner.reason, "no-such-host.invalid"));
}

static void a_refused_connection_is_told_later(void **state)
{
    struct world *world = *state;
    start_server(world);
    uint16_t port = link_server_port(world->server);
    link_server_stop(world->server);
    struct link_client_options options = client_options(world, port);
    connect_with(world, &options);
    assert_int_equal(world->client_owner.closed, 0);
    RUN_UNTIL(world, world->client_owner.closed == 1);
    assert_int_equal(world->client_owner.why, LINK_CLOSED_CONNECT);
    assert_non_null(strstr(world->client_owner.reason, "refused"));
}

static void a_link_may_be_closed_before_it_is_ready(void **state)
{
    struct world *world = *state;
    start_server(world);
    link_close(connect_client(world)); /* at once */
    struct link_client_options options = client_options(world, 9);
    options.host = "localhost";
    struct link *looking = connect_with(world, &options);
    event_base_loop(world->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    link_close(looking); /* while its name is looked up, or later */
    struct link *link = connect_client(world);
    RUN_UNTIL(world, link->stage >= LINK_TLS);
    link_close(link);
    link = connect_client(world);
    RUN_UNTIL(world, link->stage >= LINK_WAIT_CHALLENGE);
    link_close(link);
    RUN_UNTIL(world, link_server_connections(world->server) == 0);
    assert_int_equal(world->client_owner.closed + world->client_owner.ready, 0);
}

/* ---- the server is not who it should be ---- */

static void expect_refused_by_client(struct world *world, const char *words)
{
    RUN_UNTIL(world, world->client_owner.closed == 1 && world->server_owner.closed == 1);
    assert_int_equal(world->client_owner.why, LINK_CLOSED_HANDSHAKE);
    if (strstr(world->client_owner.reason, words) == NULL)
        fail_msg("%s", world->client_owner.reason);
    assert_int_equal(world->client_owner.ready + world->server_owner.ready, 0);
    /* The server has heard why. */
    assert_int_equal(world->server_owner.why, LINK_CLOSED_ERROR);
    assert_non_null(strstr(world->server_owner.reason, "AUTH"));
    assert_int_equal(link_server_connections(world->server), 0);
}

static void another_hub_is_refused(void **state)
{
    struct world *world = *state;
    struct link_server_options options = server_options(world);
    options.key = world->other_key;
    start_server_with(world, &options);
    connect_client(world);
    expect_refused_by_client(world, "the server says it is");
}

static void another_chain_is_refused(void **state)
{
    struct world *world = *state;
    struct link_server_options options = server_options(world);
    options.domain = domain_make(1, &world->domain.contract);
    start_server_with(world, &options);
    connect_client(world);
    expect_refused_by_client(world, "chain 1");
}

static void another_contract_is_refused(void **state)
{
    struct world *world = *state;
    struct link_server_options options = server_options(world);
    struct address contract = {{9}};
    options.domain = domain_make(world->domain.chain_id, &contract);
    start_server_with(world, &options);
    connect_client(world);
    expect_refused_by_client(world, "contract 0x09");
}

/* ---- redirects ---- */

static void redirect(struct raw *raw, const struct message *message)
{
    if (message->type != MESSAGE_HELLO)
        return;
    struct message out = {.type = MESSAGE_REDIRECT};
    out.redirect.host = (struct text){"127.0.0.1", 9};
    out.redirect.port = raw->redirect_port;
    raw_send(raw, &out);
}

/* `count` doors, each sending to the next, the last to the server. */
static void through_doors(struct world *world, size_t count, struct raw **doors)
{
    start_server(world);
    uint16_t port = link_server_port(world->server);
    for (size_t i = 0; i < count; i++) {
        uint16_t next = port;
        doors[i] = raw_listen(world, world->other_identity, &port);
        doors[i]->redirect_port = next;
        doors[i]->on_frame = redirect;
    }
    struct link_client_options options = client_options(world, port);
    connect_with(world, &options);
}

static void three_redirects_are_followed(void **state)
{
    struct world *world = *state;
    struct raw *doors[REDIRECTS_MAX];
    through_doors(world, ARRAY_LENGTH(doors), doors);
    RUN_UNTIL(world, world->client_owner.ready == 1 && world->server_owner.ready == 1);
    for (size_t i = 0; i < ARRAY_LENGTH(doors); i++) {
        RUN_UNTIL(world, doors[i]->ended); /* the old connection was closed */
        raw_free(doors[i]);
    }
    part(world);
}

static void a_fourth_redirect_is_refused(void **state)
{
    struct world *world = *state;
    struct raw *doors[REDIRECTS_MAX + 1];
    through_doors(world, ARRAY_LENGTH(doors), doors);
    RUN_UNTIL(world, world->client_owner.closed == 1);
    assert_int_equal(world->client_owner.why, LINK_CLOSED_HANDSHAKE);
    assert_non_null(strstr(world->client_owner.reason, "redirected more than 3 times"));
    RUN_UNTIL(world, doors[0]->frames == 2 && doors[0]->last.type == MESSAGE_ERROR);
    assert_int_equal(doors[0]->last.error.code, CODE_LIMIT);
    for (size_t i = 0; i < ARRAY_LENGTH(doors); i++)
        raw_free(doors[i]);
    assert_int_equal(world->server_owner.ready, 0);
}

/* ---- closing ---- */

static void close_it(struct owner *owner, struct link *link, const struct message *message)
{
    (void)owner;
    (void)message;
    link_close(link);
}

static void closing_in_a_message_callback_ends_the_callbacks(void **state)
{
    struct world *world = *state;
    world->server_owner.on_message = close_it;
    both_ready(world);
    for (uint64_t nonce = 1; nonce <= 100; nonce++)
        send_ack(client_end(world), nonce);
    RUN_UNTIL(world, world->client_owner.closed == 1);
    assert_int_equal(world->server_owner.messages, 1);
    assert_int_equal(world->server_owner.closed, 0);
    assert_int_equal(world->client_owner.why, LINK_CLOSED_PEER);
    RUN_UNTIL(world, link_server_connections(world->server) == 0);
}

static void answer_and_close(struct owner *owner, struct link *link, const struct message *message)
{
    (void)owner;
    (void)message;
    for (uint64_t nonce = 1; nonce <= 5000; nonce++)
        send_ack(link, nonce);
    link_close(link);
    send_ack(link, 9999); /* ignored */
}

static void what_was_queued_before_closing_arrives(void **state)
{
    struct world *world = *state;
    world->server_owner.on_message = answer_and_close;
    both_ready(world);
    /* The client goes on sending: the server's end must not answer that with a reset. */
    for (uint64_t nonce = 1; nonce <= 3000; nonce++)
        send_ack(client_end(world), nonce);
    RUN_UNTIL(world, world->client_owner.closed == 1);
    assert_int_equal(world->server_owner.messages, 1);
    assert_int_equal(world->client_owner.messages, 5000);
    assert_true(world->client_owner.in_order);
    RUN_UNTIL(world, link_server_connections(world->server) == 0);
    assert_int_equal(world->server_owner.closed, 0);
}

static void close_in_ready(struct owner *owner, struct link *link)
{
    (void)owner;
    link_close(link);
}

static void closing_in_ready_is_safe_at_both_ends(void **state)
{
    struct world *world = *state;
    world->client_owner.on_ready = close_in_ready;
    start_server(world);
    connect_client(world);
    RUN_UNTIL(world, world->server_owner.closed == 1);
    assert_int_equal(world->client_owner.closed, 0);
    world->client_owner.on_ready = NULL;
    world->server_owner.on_ready = close_in_ready;
    connect_client(world);
    RUN_UNTIL(world, world->client_owner.closed == 1);
    assert_int_equal(world->client_owner.ready, 2); /* the WELCOME that was queued came through */
    RUN_UNTIL(world, link_server_connections(world->server) == 0);
    assert_int_equal(world->server_owner.closed, 1);
}

static void close_again(struct owner *owner, struct link *link)
{
    (void)owner;
    link_close(link); /* harmless */
}

static void closing_in_closed_is_harmless(void **state)
{
    struct world *world = *state;
    world->server_owner.on_closed = close_again;
    both_ready(world);
    part(world);
}

static void errors_arrive_with_code_and_text(void **state)
{
    struct world *world = *state;
    both_ready(world);
    struct error_reference reference = {.present = true, .type = MESSAGE_UPDATE, .has_channel = true};
    link_send_error(server_end(world), CODE_NONCE, NULL, false, &reference);
    RUN_UNTIL(world, world->client_owner.messages == 1);
    assert_int_equal(world->client_owner.last.type, MESSAGE_ERROR);
    assert_int_equal(world->client_owner.last.error.code, CODE_NONCE);
    assert_true(world->client_owner.last.error.reference.has_channel);
    assert_int_equal(world->client_owner.closed, 0);

    link_send_error(server_end(world), CODE_STOPPING, "until tomorrow\nmorning", true, NULL);
    RUN_UNTIL(world, world->client_owner.closed == 1 && world->server_owner.closed == 1);
    assert_int_equal(world->client_owner.why, LINK_CLOSED_ERROR);
    assert_string_equal(world->client_owner.reason, "the other side said STOPPING: until tomorrow?morning");
    assert_int_equal(world->server_owner.why, LINK_CLOSED_SELF);
}

static void a_long_error_text_is_cut_between_characters(void **state)
{
    struct world *world = *state;
    both_ready(world);
    char text[600] = "x";
    while (strlen(text) < 500)
        strcat(text, "\xc3\xa9");
    link_send_error(server_end(world), CODE_LIMIT, text, false, NULL);
    RUN_UNTIL(world, world->client_owner.messages == 1);
    assert_int_equal(world->client_owner.last.error.text.length, 255);
    part(world);
}

static void fatal_then_close(struct owner *owner, struct link *link, const struct message *message)
{
    (void)owner;
    (void)message;
    link_send_error(link, CODE_STOPPING, NULL, true, NULL);
    link_close(link);
}

static void closing_after_a_fatal_error_is_silent(void **state)
{
    struct world *world = *state;
    world->server_owner.on_message = fatal_then_close;
    both_ready(world);
    send_ack(client_end(world), 1);
    RUN_UNTIL(world, world->client_owner.closed == 1 && link_server_connections(world->server) == 0);
    assert_int_equal(world->client_owner.why, LINK_CLOSED_ERROR);
    assert_int_equal(world->server_owner.closed, 0);
}

/* A newer connection of the same client takes over: the hub does this in ready. */
static void replace_older(struct owner *owner, struct link *link)
{
    for (size_t i = 0; i + 1 < owner->ready; i++)
        if (owner->links[i] != NULL && owner->links[i] != link &&
            address_equal(&owner->peers[i], &link->peer))
            link_send_error(owner->links[i], CODE_REPLACED, NULL, true, NULL);
}

static void a_newer_link_replaces_the_older(void **state)
{
    struct world *world = *state;
    world->server_owner.on_ready = replace_older;
    both_ready(world);
    connect_client(world);
    RUN_UNTIL(world, world->client_owner.ready == 2 && world->client_owner.closed == 1 &&
                         world->server_owner.closed == 1);
    assert_null(world->client_owner.links[0]);
    assert_int_equal(world->client_owner.why, LINK_CLOSED_ERROR);
    assert_non_null(strstr(world->client_owner.reason, "REPLACED"));
    assert_int_equal(world->server_owner.why, LINK_CLOSED_SELF);
    send_ack(world->client_owner.links[1], 1);
    RUN_UNTIL(world, world->server_owner.messages == 1);
    link_close(world->client_owner.links[1]);
    RUN_UNTIL(world, world->server_owner.closed == 2);
}

static void a_server_can_be_freed_with_links_open(void **state)
{
    struct world *world = *state;
    both_ready(world);
    send_ack(client_end(world), 1);
    link_server_free(world->server);
    world->server = NULL;
    RUN_UNTIL(world, world->client_owner.closed == 1);
    assert_int_equal(world->client_owner.why, LINK_CLOSED_PEER);
    assert_int_equal(world->server_owner.closed, 0);
}

static void a_stopped_server_keeps_its_links(void **state)
{
    struct world *world = *state;
    both_ready(world);
    link_server_stop(world->server);
    struct link_client_options options = client_options(world, link_server_port(world->server));
    struct owner newcomer = {0};
    link_connect(world->base, &options, &owner_callbacks, &newcomer);
    RUN_UNTIL(world, newcomer.closed == 1);
    assert_int_equal(newcomer.why, LINK_CLOSED_CONNECT);
    send_ack(client_end(world), 1);
    RUN_UNTIL(world, world->server_owner.messages == 1);
    part(world);
}

static void towers_take_appointments(void **state)
{
    struct world *world = *state;
    struct link_server_options options = server_options(world);
    options.tower = true;
    start_server_with(world, &options);
    struct link_client_options client = client_options(world, link_server_port(world->server));
    client.tower = true;
    connect_with(world, &client);
    RUN_UNTIL(world, world->client_owner.ready == 1);
    struct message fetch = {.type = MESSAGE_FETCH}, receipt = {.type = MESSAGE_RECEIPT};
    link_send(client_end(world), &fetch);
    link_send(server_end(world), &receipt);
    RUN_UNTIL(world, world->client_owner.messages == 1 && world->server_owner.messages == 1);
    send_ack(client_end(world), 1); /* not to a tower */
    RUN_UNTIL(world, world->client_owner.closed == 1 && world->server_owner.closed == 1);
    assert_int_equal(world->server_owner.why, LINK_CLOSED_MALFORMED);
    assert_int_equal(world->client_owner.why, LINK_CLOSED_ERROR);
    assert_int_equal(world->server_owner.messages, 1);
}

/* ---- listening ---- */

static void a_port_in_use_is_told(void **state)
{
    struct world *world = *state;
    start_server(world);
    struct link_server_options options = server_options(world);
    options.port = link_server_port(world->server);
    char message[256], expected[64];
    assert_null(link_server_new(world->base, &options, &owner_callbacks, NULL, message, sizeof message));
    snprintf(expected, sizeof expected, "port %u is in use", options.port);
    assert_non_null(strstr(message, expected));
    options.host = "not an address";
    assert_null(link_server_new(world->base, &options, &owner_callbacks, NULL, message, sizeof message));
    assert_non_null(strstr(message, "not a numeric address"));
    options.host = "192.0.2.1"; /* not of this machine */
    assert_null(link_server_new(world->base, &options, &owner_callbacks, NULL, message, sizeof message));
    assert_non_null(strstr(message, "192.0.2.1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(handshake_proves_both_ends),
        WORLD_TEST(messages_go_both_ways_in_order),
        WORLD_TEST(the_largest_frames_pass),
        WORLD_TEST(the_owners_pointer_stays),
        WORLD_TEST(a_name_is_looked_up),
        WORLD_TEST(an_unknown_name_is_told),
        WORLD_TEST(a_refused_connection_is_told_later),
        WORLD_TEST(a_link_may_be_closed_before_it_is_ready),
        WORLD_TEST(another_hub_is_refused),
        WORLD_TEST(another_chain_is_refused),
        WORLD_TEST(another_contract_is_refused),
        WORLD_TEST(three_redirects_are_followed),
        WORLD_TEST(a_fourth_redirect_is_refused),
        WORLD_TEST(closing_in_a_message_callback_ends_the_callbacks),
        WORLD_TEST(what_was_queued_before_closing_arrives),
        WORLD_TEST(closing_in_ready_is_safe_at_both_ends),
        WORLD_TEST(closing_in_closed_is_harmless),
        WORLD_TEST(errors_arrive_with_code_and_text),
        WORLD_TEST(a_long_error_text_is_cut_between_characters),
        WORLD_TEST(closing_after_a_fatal_error_is_silent),
        WORLD_TEST(a_newer_link_replaces_the_older),
        WORLD_TEST(a_server_can_be_freed_with_links_open),
        WORLD_TEST(a_stopped_server_keeps_its_links),
        WORLD_TEST(towers_take_appointments),
        WORLD_TEST(a_port_in_use_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
