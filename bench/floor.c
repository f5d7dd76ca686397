#include "bench/floor.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/ensure.h"
#include "crypto/hash.h"
#include "crypto/key.h"

#define SLICES      21
#define SLICE_CURVE 100  /* signatures, verifications */
#define SLICE_ECHO  4000 /* reads with writes */
#define CONNECTIONS 64
#define FRAME_BYTES 256 /* about an update with one payment */

static double cpu_us(void)
{
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

static int by_value(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static double median(double values[SLICES])
{
    qsort(values, SLICES, sizeof(*values), by_value);
    return values[SLICES / 2];
}

static pid_t start(void (*work)(int argument), int argument)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGINT, SIG_IGN);
    work(argument);
    _exit(0);
}

static void stop(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

/* ---- the curve ---- */

struct curve {
    struct secret_key key;
    struct public_key public;
    struct hash digest;
    struct signature signature;
};

static void sign_some(struct curve *curve)
{
    for (int i = 0; i < SLICE_CURVE; i++) {
        memcpy(curve->digest.bytes, curve->signature.bytes, sizeof(curve->digest.bytes));
        curve->signature = key_sign(&curve->key, &curve->digest);
    }
}

static void verify_some(const struct curve *curve)
{
    for (int i = 0; i < SLICE_CURVE; i++)
        ensure(signature_verify(&curve->signature, &curve->digest, &curve->public));
}

static struct curve curve_make(void)
{
    struct curve curve = {.key = secret_key_random(), .digest = keccak256("rill", 4)};
    curve.public = public_key_of(&curve.key);
    curve.signature = key_sign(&curve.key, &curve.digest);
    return curve;
}

static void burn_curve(int unused)
{
    (void)unused;
    struct curve curve = curve_make();
    for (;;) {
        sign_some(&curve);
        verify_some(&curve);
    }
}

static bool measure_curve(struct floor *out)
{
    pid_t other = start(burn_curve, 0);
    if (other < 0)
        return false;
    struct curve curve = curve_make();
    double sign[SLICES], verify[SLICES];
    for (int i = 0; i < SLICES; i++) {
        double before = cpu_us();
        sign_some(&curve);
        double between = cpu_us();
        verify_some(&curve);
        sign[i] = (between - before) / SLICE_CURVE;
        verify[i] = (cpu_us() - between) / SLICE_CURVE;
    }
    stop(other);
    out->sign_us = median(sign);
    out->verify_us = median(verify);
    bytes_wipe(&curve, sizeof(curve));
    return true;
}

/* ---- reading and writing ---- */

static void watch(int epoll, int descriptor)
{
    int yes = 1;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = descriptor};
    (void)setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    ensure(epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) == 0);
}

/* Answers each of `count` frames with one of its own. False: the other side is gone. */
static bool echo(int epoll, int count)
{
    uint8_t frame[FRAME_BYTES];
    struct epoll_event events[CONNECTIONS];
    while (count > 0) {
        int ready = epoll_wait(epoll, events, CONNECTIONS, 5000);
        if (ready <= 0)
            return false;
        for (int i = 0; i < ready; i++) {
            ssize_t got = read(events[i].data.fd, frame, sizeof(frame));
            if (got <= 0 || write(events[i].data.fd, frame, (size_t)got) != got)
                return false;
        }
        count -= ready;
    }
    return true;
}

/* The other side: sends first, then answers like the measured one. */
static void play_clients(int port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    uint8_t frame[FRAME_BYTES] = {0};
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < CONNECTIONS; i++) {
        int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(descriptor, (struct sockaddr *)&address, sizeof(address)) != 0)
            return;
        watch(epoll, descriptor);
        if (write(descriptor, frame, sizeof(frame)) != (ssize_t)sizeof(frame))
            return;
    }
    while (echo(epoll, 1 << 20))
        ;
}

static int listen_somewhere(int *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    const struct timeval patience = {5, 0}; /* of accept: the other process may have failed */
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener >= 0 && setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0 &&
        bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0 &&
        listen(listener, CONNECTIONS) == 0 &&
        getsockname(listener, (struct sockaddr *)&address, &length) == 0) {
        *port = ntohs(address.sin_port);
        return listener;
    }
    if (listener >= 0)
        close(listener);
    return -1;
}

static bool measure_echo(int listener, struct floor *out)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC), accepted[CONNECTIONS];
    int count = 0;
    double io[SLICES];
    bool good = epoll >= 0;
    while (good && count < CONNECTIONS) {
        accepted[count] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        good = accepted[count] >= 0;
        if (good)
            watch(epoll, accepted[count++]);
    }
    for (int i = 0; i < SLICES && good; i++) {
        double before = cpu_us();
        good = echo(epoll, SLICE_ECHO);
        io[i] = (cpu_us() - before) / SLICE_ECHO;
    }
    while (count > 0)
        close(accepted[--count]);
    close(epoll);
    if (good)
        out->io_us = median(io);
    return good;
}

static bool measure_io(struct floor *out)
{
    int port = 0, listener = listen_somewhere(&port);
    if (listener < 0)
        return false;
    pid_t other = start(play_clients, port);
    bool good = other > 0 && measure_echo(listener, out);
    close(listener);
    if (other > 0)
        stop(other);
    return good;
}

bool floor_measure(struct floor *out)
{
    if (!measure_curve(out) || !measure_io(out))
        return false;
    out->floor_us = out->sign_us + out->verify_us + 2 * out->io_us;
    return true;
}
