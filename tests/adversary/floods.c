#include "tests/adversary/floods.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/ensure.h"
#include "crypto/hash.h"
#include "crypto/typed.h"
#include "wire/link.h"
#include "wire/stream.h"
#include "wire/tls.h"

#define TICK_MS            2
#define SILENT             5000
#define SILENT_TLS         300
#define HANDSHAKES_AT_ONCE 32
#define OPENED_PER_TICK    200
#define SLOW_WRITERS       100
#define SLOW_FRAME_BYTES   250000
#define SLOW_READERS       24
#define OUTPUT_BYTES       (512 * 1024)
#define LARGE_OPERATIONS   600
#define NICE               19

struct guest { /* a raw connection */
    struct stream stream;
    int socket; /* of one that never speaks TLS; -1: none */
    bool greeted;
};

struct member { /* a client on a link */
    struct flooder *flooder;
    struct link *link;
    bool ready, gone;
};

struct flooder {
    struct flood_target target;
    struct flood_share *share;
    struct event_base *base;
    enum flood_kind kind;
    struct guest guests[SILENT];
    size_t guest_count;
    struct member members[SLOW_WRITERS];
    size_t member_count;
    struct buffer frames[FLOOD_CHANNELS];
    struct buffer spare;
};

static void count(_Atomic uint64_t *counter, uint64_t more)
{
    atomic_fetch_add_explicit(counter, more, memory_order_relaxed);
}

/* ---- raw connections ---- */

static int dial(const struct flooder *flooder)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(flooder->target.port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (descriptor < 0)
        return -1;
    /* Closed with a reset: no port is left waiting, so that they do not run out. */
    struct linger linger = {.l_onoff = 1};
    (void)setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    if (connect(descriptor, (struct sockaddr *)&address, sizeof address) != 0 && errno != EINPROGRESS) {
        close(descriptor);
        return -1;
    }
    return descriptor;
}

static void guest_close(struct guest *guest)
{
    if (guest->stream.ssl != NULL)
        stream_close(&guest->stream);
    else if (guest->socket >= 0)
        close(guest->socket);
    *guest = (struct guest){.socket = -1, .stream = {.socket = -1}};
}

static bool guest_open(struct flooder *flooder, struct guest *guest, bool tls)
{
    *guest = (struct guest){.socket = dial(flooder), .stream = {.socket = -1}};
    if (guest->socket < 0)
        return false;
    if (tls)
        stream_open(&guest->stream, guest->socket, tls_client_context(), false);
    count(&flooder->share->done[flooder->kind], 1);
    return true;
}

static bool socket_has_ended(int descriptor)
{
    char byte;
    ssize_t got = recv(descriptor, &byte, 1, MSG_DONTWAIT | MSG_PEEK);
    return got == 0 || (got < 0 && errno != EAGAIN && errno != ENOTCONN);
}

static void say_hello(struct guest *guest)
{
    struct message hello = {.type = MESSAGE_HELLO};
    struct secret_key key = secret_key_random();
    hello.hello.version = 1;
    hello.hello.client = secret_key_address(&key);
    message_encode(&guest->stream.output, &hello);
    (void)stream_flush(&guest->stream);
    guest->greeted = true;
}

/* One look at a guest. Returns false when it has come to its end. */
static bool guest_turn(struct flooder *flooder, struct guest *guest)
{
    if (guest->stream.ssl == NULL)
        return !socket_has_ended(guest->socket);
    if (!SSL_is_init_finished(guest->stream.ssl)) {
        enum stream_result result = stream_handshake(&guest->stream);
        if (result != STREAM_DONE)
            return result == STREAM_READ || result == STREAM_WRITE;
    }
    if (flooder->kind == FLOOD_HANDSHAKES && !guest->greeted)
        say_hello(guest);
    enum stream_result result = stream_receive(&guest->stream, &flooder->spare);
    size_t length;
    (void)stream_input(&guest->stream, &length);
    return result != STREAM_ENDED && result != STREAM_FAILED && length == 0; /* CHALLENGE: that was all */
}

static void guests_turn(struct flooder *flooder)
{
    size_t opened = 0;
    for (size_t i = 0; i < flooder->guest_count; i++) {
        struct guest *guest = &flooder->guests[i];
        if (guest->socket >= 0 && !guest_turn(flooder, guest)) {
            guest_close(guest);
            count(&flooder->share->closed[flooder->kind], 1);
        }
        if (guest->socket < 0 && opened < OPENED_PER_TICK &&
            guest_open(flooder, guest, flooder->kind != FLOOD_SILENT))
            opened++;
    }
}

/* ---- clients ---- */

static void on_ready(void *context, struct link *link, const struct address *peer,
                     const struct message *welcome)
{
    (void)link;
    (void)peer;
    (void)welcome;
    ((struct member *)context)->ready = true;
}

static void on_message(void *context, struct link *link, const struct message *message)
{
    (void)context;
    (void)link;
    (void)message;
}

static void on_closed(void *context, struct link *link, enum link_closed why, const char *reason)
{
    struct member *member = context;
    (void)link;
    (void)why;
    (void)reason;
    count(&member->flooder->share->closed[member->flooder->kind], 1);
    member->link = NULL;
    member->ready = false;
    member->gone = true;
}

static void member_join(struct flooder *flooder, size_t index, const struct secret_key *key)
{
    static const struct link_callbacks callbacks = {
        .ready = on_ready, .message = on_message, .closed = on_closed};
    const struct flood_target *target = &flooder->target;
    struct link_client_options options = {.host = "127.0.0.1",
                                          .port = target->port,
                                          .key = *key,
                                          .chain_id = target->at.chain_id,
                                          .contract = target->at.contract,
                                          .server = target->at.hub,
                                          .agent = "flood"};
    struct member *member = &flooder->members[index];
    *member = (struct member){.flooder = flooder};
    member->link = link_connect(flooder->base, &options, &callbacks, member);
}

static void send_until_full(struct flooder *flooder, struct member *member, const struct buffer *frame)
{
    size_t sent = 0;
    while (member->link != NULL && link_output_bytes(member->link) < OUTPUT_BYTES && sent < 2000) {
        link_send_frame(member->link, frame->data, frame->length);
        sent++;
    }
    count(&flooder->share->done[flooder->kind], sent);
}

static void members_turn(struct flooder *flooder)
{
    static const uint8_t part[SLOW_FRAME_BYTES];
    static size_t written[SLOW_WRITERS];
    for (size_t i = 0; i < flooder->member_count; i++) {
        struct member *member = &flooder->members[i];
        if (member->gone && flooder->kind >= FLOOD_FORGED)
            member_join(flooder, i, &flooder->target.keys[i]);
        if (member->link == NULL || !member->ready)
            continue;
        if (flooder->kind == FLOOD_SLOW_WRITERS) {
            static const uint8_t head[4] = {0, 3, 0xff, 0xff};
            if (member->link != NULL && link_user(member->link) == NULL) {
                link_set_user(member->link, member);
                link_send_frame(member->link, head, sizeof head);
                link_send_frame(member->link, part, SLOW_FRAME_BYTES);
                written[i] = 0;
                count(&flooder->share->done[flooder->kind], 1);
            } else if (written[i] < 1000) {
                link_send_frame(member->link, part, 1);
                written[i]++;
                count(&flooder->share->done[flooder->kind], 1);
            }
        } else if (flooder->kind == FLOOD_SLOW_READERS) {
            link_pause(member->link, true);
            send_until_full(flooder, member, &flooder->frames[0]);
        } else {
            send_until_full(flooder, member, &flooder->frames[i]);
        }
    }
}

/* ---- what they send ---- */

static void update_frame(struct flooder *flooder, size_t index, const struct operation *operations,
                         size_t operation_count, uint64_t moved, bool forged)
{
    const struct flood_target *target = &flooder->target;
    struct domain domain = domain_make(target->at.chain_id, &target->at.contract);
    struct buffer body = {0};
    struct message message = {.type = MESSAGE_UPDATE};
    struct hash channel = channel_id(&target->channels[index]);
    body_encode(&body, operations, operation_count);
    struct balance_proof proof = {
        .nonce = 1, .transferred = amount_of(moved), .body_hash = keccak256(body.data, body.length)};
    struct hash digest = digest_balance_proof(&domain, &channel, &proof);
    struct signature signature = key_sign(&target->keys[index], &digest);
    if (forged)
        signature.bytes[40] ^= 1;
    message.update = (struct update){channel, proof, signature, body.data, body.length};
    message_encode(&flooder->frames[index], &message);
    buffer_free(&body);
}

static void make_frames(struct flooder *flooder)
{
    static struct operation operations[LARGE_OPERATIONS];
    size_t used = flooder->kind == FLOOD_LARGE ? LARGE_OPERATIONS : 1;
    for (size_t i = 0; i < FLOOD_CHANNELS; i++)
        buffer_clear(&flooder->frames[i]);
    if (flooder->kind == FLOOD_SLOW_READERS) {
        struct message ping = {.type = MESSAGE_PING};
        message_encode(&flooder->frames[0], &ping);
        return;
    }
    /* To nobody: what is good comes back. A fee for which no hub refuses. */
    for (size_t i = 0; i < used; i++) {
        operations[i] = (struct operation){.type = OPERATION_PAY,
                                           .peer = {{0xdd}},
                                           .amount = amount_of(1),
                                           .fee = amount_of(10),
                                           .expiry = flooder->target.expiry};
        store_be64(operations[i].id.bytes, i);
    }
    for (size_t i = 0; i < FLOOD_CHANNELS; i++)
        update_frame(flooder, i, operations, used, used * 11 + (flooder->kind == FLOOD_LARGE),
                     flooder->kind == FLOOD_FORGED);
}

/* ---- one after the other ---- */

static void begin(struct flooder *flooder, enum flood_kind kind)
{
    static const size_t guests[FLOOD_KINDS] = {
        [FLOOD_SILENT] = SILENT, [FLOOD_SILENT_TLS] = SILENT_TLS, [FLOOD_HANDSHAKES] = HANDSHAKES_AT_ONCE};
    static const size_t members[FLOOD_KINDS] = {[FLOOD_SLOW_WRITERS] = SLOW_WRITERS,
                                                [FLOOD_SLOW_READERS] = SLOW_READERS,
                                                [FLOOD_FORGED] = FLOOD_CHANNELS,
                                                [FLOOD_LARGE] = FLOOD_CHANNELS,
                                                [FLOOD_AGAIN] = FLOOD_CHANNELS};
    flooder->kind = kind;
    flooder->guest_count = guests[kind];
    flooder->member_count = members[kind];
    for (size_t i = 0; i < flooder->guest_count; i++)
        flooder->guests[i] = (struct guest){.socket = -1, .stream = {.socket = -1}};
    if (flooder->member_count > 0)
        make_frames(flooder);
    for (size_t i = 0; i < flooder->member_count; i++) {
        struct secret_key stranger = secret_key_random();
        member_join(flooder, i, kind >= FLOOD_FORGED ? &flooder->target.keys[i] : &stranger);
    }
}

static void end(struct flooder *flooder)
{
    for (size_t i = 0; i < flooder->guest_count; i++)
        guest_close(&flooder->guests[i]);
    for (size_t i = 0; i < flooder->member_count; i++)
        if (flooder->members[i].link != NULL)
            link_close(flooder->members[i].link);
    flooder->guest_count = flooder->member_count = 0;
}

static void on_tick(evutil_socket_t descriptor, short events, void *context)
{
    struct flooder *flooder = context;
    (void)descriptor;
    (void)events;
    enum flood_kind wanted = (enum flood_kind)atomic_load(&flooder->share->wanted);
    if (wanted != flooder->kind) {
        end(flooder);
        begin(flooder, wanted);
        atomic_store(&flooder->share->running, (int)wanted);
    }
    guests_turn(flooder);
    members_turn(flooder);
}

static void run(const struct flood_target *target, struct flood_share *share)
{
    struct flooder *flooder = xcalloc(1, sizeof *flooder);
    const struct timeval tick = {0, TICK_MS * 1000};
    flooder->target = *target;
    flooder->share = share;
    flooder->base = event_base_new();
    signal(SIGPIPE, SIG_IGN);
    ensure(setpriority(PRIO_PROCESS, 0, NICE) == 0);
    struct event *timer = event_new(flooder->base, -1, EV_PERSIST, on_tick, flooder);
    event_add(timer, &tick);
    event_base_dispatch(flooder->base);
}

struct flood_share *flood_share_new(void)
{
    void *memory =
        mmap(NULL, sizeof(struct flood_share), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ensure(memory != MAP_FAILED);
    return memory;
}

pid_t flood_start(const struct flood_target *target, struct flood_share *share)
{
    pid_t parent = getpid(), pid = fork();
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == parent)
        run(target, share);
    _exit(1);
}
