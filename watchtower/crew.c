#include "watchtower/crew.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/ensure.h"

#define THREADS_MAX  64
#define TAKE_AT_ONCE 8 /* jobs: fewer turns at the lock */

struct crew {
    crew_done *done;
    void *context;
    struct event *wake;
    int descriptor;
    pthread_t threads[THREADS_MAX];
    uint32_t thread_count;
    /* the loop's alone: all jobs, oldest first */
    struct crew_job *first, *last;
    size_t waiting;
    /* under the lock */
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct crew_job *todo, *todo_last;
    bool stop;
};

static void job_free(struct crew_job *job)
{
    appointment_free(job->verdict.fresh);
    free(job->locks);
    free(job->witnesses);
    free(job);
}

static void judge(struct crew_job *job)
{
    if (job->message.type == MESSAGE_APPOINT)
        appointment_judge(job->rules, &job->user, &job->message, &job->verdict);
}

/* ---- a worker ---- */

/* Waits for work. Returns a chain of jobs, NULL to end. */
static struct crew_job *take(struct crew *crew)
{
    pthread_mutex_lock(&crew->lock);
    while (crew->todo == NULL && !crew->stop)
        pthread_cond_wait(&crew->work, &crew->lock);
    struct crew_job *chain = crew->stop ? NULL : crew->todo, *end = chain;
    for (size_t i = 1; i < TAKE_AT_ONCE && end != NULL && end->next_todo != NULL; i++)
        end = end->next_todo;
    if (end != NULL) {
        crew->todo = end->next_todo;
        if (crew->todo == NULL)
            crew->todo_last = NULL;
        end->next_todo = NULL;
    }
    pthread_mutex_unlock(&crew->lock);
    return chain;
}

static void *work(void *argument)
{
    struct crew *crew = argument;
    struct crew_job *job;
    while ((job = take(crew)) != NULL) {
        while (job != NULL) {
            struct crew_job *next = job->next_todo; /* once it is done it is the loop's */
            judge(job);
            atomic_store_explicit(&job->is_done, true, memory_order_release);
            job = next;
        }
        uint64_t one = 1;
        ensure(write(crew->descriptor, &one, sizeof one) == sizeof one);
    }
    return NULL;
}

/* ---- the loop ---- */

static void on_wake(evutil_socket_t descriptor, short events, void *context)
{
    struct crew *crew = context;
    uint64_t count;
    (void)events;
    ensure(read(descriptor, &count, sizeof count) == sizeof count || errno == EAGAIN);
    while (crew->first != NULL && atomic_load_explicit(&crew->first->is_done, memory_order_acquire)) {
        struct crew_job *job = crew->first;
        crew->first = job->next;
        if (crew->first == NULL)
            crew->last = NULL;
        crew->waiting--;
        crew->done(crew->context, job);
        job_free(job);
    }
}

static struct crew_job *job_copy(const struct crew_job *given)
{
    struct crew_job *job = xmalloc(sizeof *job);
    *job = *given;
    job->locks = NULL;
    job->witnesses = NULL;
    job->next = job->next_todo = NULL;
    atomic_init(&job->is_done, false);
    job->verdict.fresh = NULL;
    if (job->message.type != MESSAGE_APPOINT)
        return job;
    size_t locks = given->message.appoint.lock_count, witnesses = given->message.appoint.witness_count;
    if (locks > 0) {
        job->locks = xmalloc(locks * sizeof *job->locks);
        memcpy(job->locks, given->message.appoint.locks, locks * sizeof *job->locks);
    }
    if (witnesses > 0) {
        job->witnesses = xmalloc(witnesses * sizeof *job->witnesses);
        memcpy(job->witnesses, given->message.appoint.witnesses, witnesses * sizeof *job->witnesses);
    }
    job->message.appoint.locks = job->locks;
    job->message.appoint.witnesses = job->witnesses;
    return job;
}

void crew_put(struct crew *crew, const struct crew_job *given)
{
    struct crew_job *job = job_copy(given);
    if (crew->thread_count == 0) {
        judge(job);
        crew->done(crew->context, job);
        job_free(job);
        return;
    }
    if (crew->last == NULL)
        crew->first = job;
    else
        crew->last->next = job;
    crew->last = job;
    crew->waiting++;
    pthread_mutex_lock(&crew->lock);
    if (crew->todo_last == NULL)
        crew->todo = job;
    else
        crew->todo_last->next_todo = job;
    crew->todo_last = job;
    pthread_cond_signal(&crew->work);
    pthread_mutex_unlock(&crew->lock);
}

/* ---- life ---- */

struct crew *crew_new(struct event_base *base, uint32_t threads, crew_done *done, void *context)
{
    struct crew *crew = xcalloc(1, sizeof *crew);
    ensure(threads <= THREADS_MAX);
    crew->done = done;
    crew->context = context;
    crew->descriptor = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    ensure(crew->descriptor >= 0);
    crew->wake = event_new(base, crew->descriptor, EV_READ | EV_PERSIST, on_wake, crew);
    ensure(crew->wake != NULL && event_add(crew->wake, NULL) == 0);
    ensure(pthread_mutex_init(&crew->lock, NULL) == 0 && pthread_cond_init(&crew->work, NULL) == 0);
    for (; crew->thread_count < threads; crew->thread_count++)
        ensure(pthread_create(&crew->threads[crew->thread_count], NULL, work, crew) == 0);
    return crew;
}

void crew_free(struct crew *crew)
{
    if (crew == NULL)
        return;
    pthread_mutex_lock(&crew->lock);
    crew->stop = true;
    pthread_cond_broadcast(&crew->work);
    pthread_mutex_unlock(&crew->lock);
    for (uint32_t i = 0; i < crew->thread_count; i++)
        pthread_join(crew->threads[i], NULL);
    for (struct crew_job *job = crew->first, *next; job != NULL; job = next) {
        next = job->next;
        job_free(job);
    }
    event_free(crew->wake);
    close(crew->descriptor);
    pthread_cond_destroy(&crew->work);
    pthread_mutex_destroy(&crew->lock);
    free(crew);
}
