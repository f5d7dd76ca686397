#include "hub/http_job.h"

#include <event2/buffer.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/ensure.h"
#include "hub/hub_state.h"

struct http_job {
    struct hub *hub;
    struct evhttp_request *request; /* NULL: its connection went away */
    http_work *work;
    void *context;
    _Atomic bool gone;
    struct event *event;
    int done; /* eventfd */
    pthread_t thread;
    struct buffer text;
    int status;
};

/* ---- small things ---- */

int http_write_error(struct buffer *text, int code, const char *error)
{
    buffer_printf(text, "{\"error\":\"%s\"}\n", error);
    return code;
}

static void reply_text(struct evhttp_request *request, int code, const struct buffer *text)
{
    struct evbuffer *body = evbuffer_new();
    ensure(body != NULL && evbuffer_add(body, text->data, text->length) == 0);
    http_reply(request, code, "application/json", body);
}

void http_reply_error(struct evhttp_request *request, int code, const char *text)
{
    struct buffer body = {0};
    reply_text(request, http_write_error(&body, code, text), &body);
    buffer_free(&body);
}

/* ---- a job ---- */

static void *job_run(void *context)
{
    struct http_job *job = context;
    job->status = job->work(job->context, &job->gone, &job->text);
    ensure(eventfd_write(job->done, 1) == 0);
    return NULL;
}

/* Takes the request away from the job, whose end its connection then no longer has to tell. */
static struct evhttp_request *job_request(struct http_job *job)
{
    struct evhttp_request *request = job->request;
    job->request = NULL;
    if (request != NULL)
        evhttp_connection_set_closecb(evhttp_request_get_connection(request), NULL, NULL);
    return request;
}

static void job_free(struct http_job *job)
{
    pthread_join(job->thread, NULL);
    job->hub->http_job = NULL;
    event_free(job->event);
    close(job->done);
    buffer_free(&job->text);
    free(job->context);
    free(job);
}

static void on_done(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    struct http_job *job = context;
    struct evhttp_request *request = job_request(job);
    if (request != NULL)
        reply_text(request, job->status, &job->text);
    job_free(job);
}

static void on_gone(struct evhttp_connection *connection, void *context)
{
    (void)connection;
    struct http_job *job = context;
    job->request = NULL;
    atomic_store(&job->gone, true);
}

void http_job_start(struct hub *hub, struct evhttp_request *request, http_work *work, void *context)
{
    if (!hub->serving || hub->stopping || hub->http_job != NULL) {
        http_reply_error(request, 503,
                         hub->http_job != NULL ? "another page is being read: ask again"
                                               : "the hub is not serving");
        free(context);
        return;
    }
    struct http_job *job = xcalloc(1, sizeof(*job));
    job->hub = hub;
    job->request = request;
    job->work = work;
    job->context = context;
    job->done = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    ensure(job->done >= 0);
    job->event = event_new(hub->base, job->done, EV_READ, on_done, job);
    ensure(job->event != NULL && event_add(job->event, NULL) == 0);
    evhttp_connection_set_closecb(evhttp_request_get_connection(request), on_gone, job);
    hub->http_job = job;
    ensure(pthread_create(&job->thread, NULL, job_run, job) == 0);
}

void http_job_end(struct hub *hub)
{
    if (hub->http_job == NULL)
        return;
    (void)job_request(hub->http_job);
    atomic_store(&hub->http_job->gone, true);
    job_free(hub->http_job);
}
