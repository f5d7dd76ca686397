/* Frames that are none, from a client that has proven who it is. */
#include "tests/adversary/arena.h"

static void send_raw(struct wire_client *client, const void *payload, size_t length)
{
    struct buffer frame = {0};
    buffer_u32(&frame, (uint32_t)length);
    buffer_append(&frame, payload, length);
    link_send_frame(client->link, frame.data, frame.length);
    buffer_free(&frame);
}

/* The frame ends the link, with ERROR MALFORMED; a new link is as good as ever. */
static void is_fatal(struct arena *arena, const void *payload, size_t length)
{
    send_raw(arena->world.payer, payload, length);
    wire_expect_closed(arena->world.payer, LINK_CLOSED_ERROR, "MALFORMED");
    wire_connect(arena->world.payer);
}

#define FATAL(arena, ...)                                                                                    \
    do {                                                                                                     \
        const uint8_t bytes[] = {__VA_ARGS__};                                                               \
        is_fatal(arena, bytes, sizeof bytes);                                                                \
    } while (false)

static void message_is_fatal(struct arena *arena, const struct message *message)
{
    struct buffer frame = {0};
    message_encode(&frame, message);
    link_send_frame(arena->world.payer->link, frame.data, frame.length);
    buffer_free(&frame);
    wire_expect_closed(arena->world.payer, LINK_CLOSED_ERROR, "MALFORMED");
    wire_connect(arena->world.payer);
}

/* Only a head: what it says is already too much. */
static void head_is_fatal(struct arena *arena, uint32_t length)
{
    uint8_t head[4];
    store_be32(head, length);
    link_send_frame(arena->world.payer->link, head, sizeof head);
    wire_expect_closed(arena->world.payer, LINK_CLOSED_ERROR, "MALFORMED");
    wire_connect(arena->world.payer);
}

static void oversized(struct arena *arena)
{
    head_is_fatal(arena, FRAME_BYTES_MAX + 1);
    head_is_fatal(arena, (uint32_t)1 << 31);
    head_is_fatal(arena, UINT32_MAX);
}

static void of_no_length(struct arena *arena)
{
    is_fatal(arena, "", 0);
}

static void not_an_array(struct arena *arena)
{
    FATAL(arena, 0x07);
    FATAL(arena, 0x81, 0x07, 0x07);
    FATAL(arena, 0x90);
    FATAL(arena, 0xc1);
}

static void unknown_types(struct arena *arena)
{
    FATAL(arena, 0x91, 0x63);
    FATAL(arena, 0x91, 0x00);
    FATAL(arena, 0x91, 0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff);
    FATAL(arena, 0x91, 0xff);
}

static void wrong_kinds_of_values(struct arena *arena)
{
    FATAL(arena, 0x92, 0x07, 0xc0);                            /* nil */
    FATAL(arena, 0x92, 0x0f, 0xcb, 0, 0, 0, 0, 0, 0, 0, 0);    /* a float */
    FATAL(arena, 0x92, 0x0f, 0xd7, 1, 1, 2, 3, 4, 5, 6, 7, 8); /* ext */
    FATAL(arena, 0x92, 0x0f, 0xa8, 1, 2, 3, 4, 5, 6, 7, 8);    /* str for bin */
    FATAL(arena, 0x92, 0x0f, 0xc4, 0x07, 1, 2, 3, 4, 5, 6, 7); /* 7 bytes for 8 */
}

static void cut_inside(struct arena *arena)
{
    FATAL(arena, 0x92, 0x07, 0xc4);
    FATAL(arena, 0x92, 0x0f, 0xc4, 0x08, 1, 2, 3);
    FATAL(arena, 0x93, 0x07);
    FATAL(arena, 0xdc, 0x00);
}

static void more_after_the_array(struct arena *arena)
{
    FATAL(arena, 0x92, 0x0f, 0xc4, 0x08, 1, 2, 3, 4, 5, 6, 7, 8, 0x90);
}

static void claims_billions(struct arena *arena)
{
    FATAL(arena, 0xdd, 0xff, 0xff, 0xff, 0xff);             /* an array of 2^32 - 1 */
    FATAL(arena, 0x93, 0x08, 0xc6, 0xff, 0xff, 0xff, 0xff); /* bin of 2^32 - 1 */
    FATAL(arena, 0x92, 0xdf, 0xff, 0xff, 0xff, 0xff);       /* a map of 2^32 - 1 */
}

static void nested(struct arena *arena)
{
    FATAL(arena, 0x93, 0x13, 0x91, 0x91, 0x91, 0x91, 0x91, 0x90);
    static uint8_t deep[200000];
    memset(deep, 0x91, sizeof deep);
    is_fatal(arena, deep, sizeof deep);
    memset(deep, 0x81, sizeof deep);
    deep[0] = 0x92;
    deep[1] = 0x08;
    is_fatal(arena, deep, sizeof deep);
}

static void of_noise(struct arena *arena)
{
    static uint8_t noise[70000];
    struct hash hash = {{0}};
    for (size_t i = 0; i < sizeof noise; i++) {
        if (i % 32 == 0)
            hash = sha256(hash.bytes, sizeof hash.bytes);
        noise[i] = hash.bytes[i % 32];
    }
    is_fatal(arena, noise, sizeof noise);
}

static void in_the_wrong_direction(struct arena *arena)
{
    static const enum message_type types[] = {MESSAGE_FUNDED,  MESSAGE_SETTLE_PROPOSE, MESSAGE_SETTLED,
                                              MESSAGE_CHANNEL, MESSAGE_LOCKS,          MESSAGE_RECEIPT};
    for (size_t i = 0; i < ARRAY_LENGTH(types); i++)
        message_is_fatal(arena, &(struct message){.type = types[i]});
}

static void a_towers(struct arena *arena)
{
    message_is_fatal(arena, &(struct message){.type = MESSAGE_FETCH});
    message_is_fatal(arena, &(struct message){.type = MESSAGE_APPOINT});
}

static void the_handshakes_again(struct arena *arena)
{
    message_is_fatal(arena, &(struct message){.type = MESSAGE_AUTH});
    message_is_fatal(arena, &(struct message){.type = MESSAGE_HELLO, .hello.version = 1});
    struct terms terms = {.confirmations = 1};
    message_is_fatal(arena, &(struct message){.type = MESSAGE_WELCOME, .welcome.terms = &terms});
}

/* An update is cut in the middle, and the link with it: the hub has seen nothing. */
static void cut_with_the_link(struct arena *arena)
{
    struct wire_client *payer = arena->world.payer;
    uint64_t moved;
    struct operation pay = small_pay(arena, &moved);
    struct forged forged = forge(payer, &pay, 1, moved, 0);
    struct message message = {.type = MESSAGE_UPDATE};
    message.update = (struct update){.channel = forged.channel,
                                     .proof = forged.proof,
                                     .signature = forged_sign(&forged, &arena->stage->domain),
                                     .body = forged.body.data,
                                     .body_length = forged.body.length};
    struct buffer frame = {0};
    message_encode(&frame, &message);
    uint64_t taken = hub_figure(arena->stage, "updates_received_total");
    link_send_frame(payer->link, frame.data, frame.length - 1);
    wire_leave(payer);
    wire_connect(payer);
    assert_false(payer->shown.message.channel.streams[SIDE_CLIENT].newest.present);
    assert_int_equal(hub_figure(arena->stage, "updates_received_total"), taken);
    buffer_free(&frame);
    buffer_free(&forged.body);
}

/* Fatal and other errors of the client's own are no way to make the hub do anything. */
static void errors_without_end(struct arena *arena)
{
    struct wire_client *payer = arena->world.payer;
    for (int i = 0; i < 500; i++) {
        struct error_reference reference = {.present = true,
                                            .type = MESSAGE_SETTLE_PROPOSE,
                                            .has_channel = true,
                                            .channel = arena->honest.payer->channel->id,
                                            .has_nonce = true,
                                            .nonce = (uint64_t)i};
        link_send_error(payer->link, (enum code)(i % 61), "again", false, &reference);
    }
    expect_silence(payer);
}

static void newer_link_takes_over(struct arena *arena)
{
    struct wire_client *newer = wire_new(arena->stage, arena->world.payer->name);
    wire_connect(newer);
    wire_expect_closed(arena->world.payer, LINK_CLOSED_ERROR, "REPLACED");
    wire_free(newer);
}

const struct attack attacks_frames[] = {
    {"frame", "heads that say 256 KiB + 1, 2^31, 2^32 - 1", "ERROR MALFORMED, closed", oversized, false},
    {"frame", "an empty frame", "ERROR MALFORMED, closed", of_no_length, false},
    {"frame", "an integer, a map, an empty array, no MessagePack", "ERROR MALFORMED, closed", not_an_array,
     false},
    {"frame", "unknown types, 0, 2^64 - 1, -1", "ERROR MALFORMED, closed", unknown_types, false},
    {"frame", "nil, float, ext, str for bin, a short bin", "ERROR MALFORMED, closed", wrong_kinds_of_values,
     false},
    {"frame", "arrays cut short", "ERROR MALFORMED, closed", cut_inside, false},
    {"frame", "bytes after the array", "ERROR MALFORMED, closed", more_after_the_array, false},
    {"frame", "array, bin and map that claim 2^32 - 1", "ERROR MALFORMED, closed", claims_billions, false},
    {"frame", "200,000 nested arrays, and maps", "ERROR MALFORMED, closed", nested, false},
    {"frame", "70,000 bytes of noise", "ERROR MALFORMED, closed", of_noise, false},
    {"frame", "the hub's own messages, sent to it", "ERROR MALFORMED, closed", in_the_wrong_direction, false},
    {"frame", "a tower's messages, sent to the hub", "ERROR MALFORMED, closed", a_towers, false},
    {"frame", "handshake messages after the handshake", "ERROR MALFORMED, closed", the_handshakes_again,
     false},
    {"frame", "an update cut one byte before its end, and the link", "closed; nothing booked",
     cut_with_the_link, false},
    {"frame", "500 ERRORs about another's channel", "nothing happens", errors_without_end, false},
    {"link", "a second link of the same client", "ERROR REPLACED for the first", newer_link_takes_over,
     false},
    {0},
};
