/* Workers: signatures are most of what an appointment costs (one or two verified, one made), so they are made and
 * verified on as many cores as there are, beside the event loop.
 *
 *     loop: crew_put ─▶ queue ─▶ any worker: appointment_judge ─▶ loop: done, in the order in which they were put
 *
 * So two appointments of one user are never applied in another order than they came. Without workers a job is judged
 * at once, by the caller.
 */
#ifndef RILL_WATCHTOWER_CREW_H
#define RILL_WATCHTOWER_CREW_H

#include "watchtower/appointment.h"

struct event_base;
struct crew;

struct crew_job {
    /* what the caller gives; `rules` and `message` as long as it takes (crew_put copies the message's arrays) */
    void *owner;
    const struct appointment_rules *rules;
    uint64_t peer;
    struct address user;
    struct message message; /* APPOINT is judged; others only keep their place */
    /* what it gets: for APPOINT. Who takes `fresh` over sets it to NULL */
    struct appointment_verdict verdict;
    /* the crew's */
    struct shown_lock *locks;
    struct witness *witnesses;
    struct crew_job *next, *next_todo;
    _Atomic bool is_done;
};

/* done is called on the loop; the job is freed after it. Never from within crew_put, unless there are no threads. */
typedef void crew_done(void *context, struct crew_job *job);

/* threads 0: none. */
struct crew *crew_new(struct event_base *base, uint32_t threads, crew_done *done, void *context);
/* What was not done is dropped. NULL is allowed. */
void crew_free(struct crew *crew);
/* Copies what is given. */
void crew_put(struct crew *crew, const struct crew_job *job);

#endif
