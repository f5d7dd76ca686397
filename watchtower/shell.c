/* The process: what all posts share, from the first to the last. */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "watchtower/shell_state.h"

#define DRAIN_TURN_MS   20
#define DRAIN_TURNS_MAX 50 /* a second for the last frames to leave */

void shell_fail(struct shell *shell, const char *format, ...)
{
    char line[LOG_LINE_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    log_error("%s", line);
    shell->exit_code = 1;
    event_base_loopbreak(shell->base);
}

/* ---- where it is ---- */

static bool write_port_line(const struct shell *shell, FILE *file)
{
    bool good = fprintf(file, "%u %u", link_server_port(shell->posts[0].server), shell->http_port) > 0;
    for (size_t i = 1; good && i < shell->settings->post_count; i++)
        good = fprintf(file, " %u", link_server_port(shell->posts[i].server)) > 0;
    return good && fputc('\n', file) != EOF;
}

/* Whole or not at all: a reader never sees half of it. */
static bool write_ports(struct shell *shell)
{
    const char *path = shell->settings->port_file;
    char temporary[4096];
    if (path == NULL)
        return true;
    FILE *file = NULL;
    if (snprintf(temporary, sizeof temporary, "%s.new", path) < (int)sizeof temporary)
        file = fopen(temporary, "we");
    bool good = file != NULL && write_port_line(shell, file);
    if (file != NULL && fclose(file) != 0)
        good = false;
    if (good && rename(temporary, path) == 0)
        return true;
    shell_fail(shell, "cannot write the port file %s: %s", path, strerror(errno));
    return false;
}

static bool all_serve(const struct shell *shell)
{
    for (size_t i = 0; i < shell->settings->post_count; i++)
        if (!shell->posts[i].serves)
            return false;
    return true;
}

void shell_serves(struct shell *shell, struct post *post)
{
    char self[ADDRESS_TEXT_SIZE];
    if (all_serve(shell) && !write_ports(shell))
        return;
    /* One line for whoever started it: where it is. */
    printf("rill-towerd ready: address %s listen %s:%u http %s:%u", address_text(&shell->self, self),
           post->settings->listen_host, link_server_port(post->server), shell->settings->http_host,
           shell->http_port);
    if (shell->settings->post_count > 1)
        printf(" name %s", post->settings->name);
    putchar('\n');
    fflush(stdout);
}

/* ---- time, signals ---- */

static void on_tick(evutil_socket_t descriptor, short events, void *context)
{
    struct shell *shell = context;
    (void)descriptor;
    (void)events;
    for (size_t i = 0; i < shell->settings->post_count; i++)
        post_tick(&shell->posts[i], clock_monotonic_us() / 1000);
}

static size_t connections(const struct shell *shell)
{
    size_t count = 0;
    for (size_t i = 0; i < shell->settings->post_count; i++)
        if (shell->posts[i].server != NULL)
            count += link_server_connections(shell->posts[i].server);
    return count;
}

static void on_drain(evutil_socket_t descriptor, short events, void *context)
{
    struct shell *shell = context;
    (void)descriptor;
    (void)events;
    if (connections(shell) == 0 || ++shell->drain_turns >= DRAIN_TURNS_MAX)
        event_base_loopbreak(shell->base);
}

static void on_stop(evutil_socket_t signal_number, short events, void *context)
{
    struct shell *shell = context;
    (void)events;
    if (shell->stopping) {
        event_base_loopbreak(shell->base);
        return;
    }
    shell->stopping = true;
    log_info("signal %d: stopping", (int)signal_number);
    event_del(shell->tick);
    for (size_t i = 0; i < shell->settings->post_count; i++)
        post_stop(&shell->posts[i]);
    struct timeval turn = {0, DRAIN_TURN_MS * 1000};
    event_add(shell->drain, &turn);
}

/* ---- life ---- */

static bool open_identity(struct shell *shell)
{
    char message[512];
    const char *folder = shell->settings->data;
    if (mkdir(folder, 0700) != 0 && errno != EEXIST) {
        log_error("cannot make the folder %s: %s", folder, strerror(errno));
        return false;
    }
    shell->identity = tls_identity_open(folder, message, sizeof message);
    if (shell->identity == NULL)
        log_error("%s", message);
    return shell->identity != NULL;
}

static bool open_operator_side(struct shell *shell)
{
    char message[512] = "";
    if (shell->settings->alarm_url != NULL) {
        shell->webhook = webhook_new(shell->base, shell->settings->alarm_url, message, sizeof message);
        if (shell->webhook == NULL) {
            log_error("%s", message);
            return false;
        }
    }
    if (metrics_listen(shell, message, sizeof message))
        return true;
    log_error("%s", message);
    return false;
}

static bool open_posts(struct shell *shell)
{
    for (size_t i = 0; i < shell->settings->post_count; i++) {
        shell->posts[i].shell = shell;
        shell->posts[i].settings = &shell->settings->posts[i];
        shell->posts[i].waiting_for = "starting";
    }
    for (size_t i = 0; i < shell->settings->post_count; i++)
        if (!post_open(&shell->posts[i]))
            return false;
    return true;
}

static void make_events(struct shell *shell)
{
    const struct timeval second = {1, 0};
    shell->base = event_base_new();
    ensure(shell->base != NULL);
    shell->tick = event_new(shell->base, -1, EV_PERSIST, on_tick, shell);
    shell->drain = event_new(shell->base, -1, EV_PERSIST, on_drain, shell);
    shell->on_term = evsignal_new(shell->base, SIGTERM, on_stop, shell);
    shell->on_interrupt = evsignal_new(shell->base, SIGINT, on_stop, shell);
    ensure(shell->tick && shell->drain && shell->on_term && shell->on_interrupt);
    event_add(shell->tick, &second);
    event_add(shell->on_term, NULL);
    event_add(shell->on_interrupt, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void shell_close(struct shell *shell)
{
    metrics_free(shell);
    crew_free(shell->crew);
    /* All clients before any core: one may be sending for another's. */
    for (size_t i = 0; i < POSTS_MAX; i++)
        if (shell->posts[i].ledger != NULL)
            ledger_free(shell->posts[i].ledger);
    for (size_t i = 0; i < POSTS_MAX; i++)
        post_close(&shell->posts[i]);
    webhook_free(shell->webhook);
    event_free(shell->tick);
    event_free(shell->drain);
    event_free(shell->on_term);
    event_free(shell->on_interrupt);
    if (shell->identity != NULL)
        tls_identity_free(shell->identity);
    event_base_free(shell->base);
}

int shell_run(const struct shell_settings *settings)
{
    struct shell *shell = xcalloc(1, sizeof *shell);
    shell->settings = settings;
    shell->self = secret_key_address(&settings->key);
    make_events(shell);
    shell->crew = crew_new(shell->base, settings->threads, peers_judged, shell);
    bool good = open_identity(shell) && open_operator_side(shell) && open_posts(shell);
    if (good)
        event_base_dispatch(shell->base);
    int code = good ? shell->exit_code : 1;
    shell_close(shell);
    free(shell);
    if (code == 0)
        log_info("stopped");
    return code;
}
