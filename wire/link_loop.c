/* What the links of one event loop share: whose output leaves at the end of this turn, whose own turn comes
 * next, and memory that only the link whose turn it is needs. */
#include "wire/link_internal.h"

#include <pthread.h>
#include <stdlib.h>

#include <utlist.h>

#include "base/ensure.h"

/* Found by the event base when a link or server is made; nothing else is looked up here. */
static struct link_loop *loops;
static pthread_mutex_t loops_mutex = PTHREAD_MUTEX_INITIALIZER;

/* The last link is gone, perhaps during a turn of the loop's own. */
static void free_if_unused(struct link_loop *loop)
{
    if (loop->users > 0 || loop->running)
        return;
    ensure(pthread_mutex_lock(&loops_mutex) == 0);
    LL_DELETE(loops, loop);
    ensure(pthread_mutex_unlock(&loops_mutex) == 0);
    event_del(&loop->flush_turn);
    event_del(&loop->wake_turn);
    decoder_free(loop->decoder);
    buffer_free(&loop->spare);
    free(loop);
}

static void forget_dirty(struct link *link)
{
    if (!link->dirty)
        return;
    DL_DELETE2(link->loop->dirty, link, dirty_prev, dirty_next);
    link->dirty = false;
}

static void forget_woken(struct link *link)
{
    if (!link->woken)
        return;
    DL_DELETE2(link->loop->woken, link, woken_prev, woken_next);
    link->loop->woken_count--;
    link->woken = false;
}

/* Sends what was queued during this turn: one record, and one call to the kernel, for each link with little
 * to say, however many frames that was. */
static void on_flush_turn(evutil_socket_t socket, short what, void *argument)
{
    (void)socket;
    (void)what;
    struct link_loop *loop = argument;
    loop->running = true;
    while (loop->dirty != NULL) {
        struct link *link = loop->dirty;
        forget_dirty(link);
        link_enter(link);
        link_flush(link);
        link_leave(link);
    }
    loop->running = false;
    free_if_unused(loop);
}

static void on_wake_turn(evutil_socket_t socket, short what, void *argument)
{
    (void)socket;
    (void)what;
    struct link_loop *loop = argument;
    loop->running = true;
    /* Those that wake again, or anew, wait for the next turn. */
    for (size_t left = loop->woken_count; left > 0 && loop->woken != NULL; left--) {
        struct link *link = loop->woken;
        forget_woken(link);
        link_enter(link);
        link_turn(link);
        link_leave(link);
    }
    loop->running = false;
    free_if_unused(loop);
}

struct link_loop *link_loop_join(struct event_base *base)
{
    ensure(pthread_mutex_lock(&loops_mutex) == 0);
    struct link_loop *loop;
    LL_SEARCH_SCALAR(loops, loop, base, base);
    if (loop == NULL) {
        loop = xcalloc(1, sizeof *loop);
        loop->base = base;
        loop->decoder = decoder_new();
        ensure(event_assign(&loop->flush_turn, base, -1, 0, on_flush_turn, loop) == 0);
        ensure(evtimer_assign(&loop->wake_turn, base, on_wake_turn, loop) == 0);
        LL_PREPEND(loops, loop);
    }
    loop->users++;
    ensure(pthread_mutex_unlock(&loops_mutex) == 0);
    return loop;
}

void link_loop_leave(struct link_loop *loop)
{
    ensure(loop->users > 0);
    loop->users--;
    free_if_unused(loop);
}

void link_loop_forget(struct link *link)
{
    forget_dirty(link);
    forget_woken(link);
}

void link_flush_soon(struct link *link)
{
    struct link_loop *loop = link->loop;
    if (link->dirty)
        return;
    /* Behind all that is due in this turn: whatever the owner still has to say goes with it. */
    if (loop->dirty == NULL)
        event_active(&loop->flush_turn, EV_TIMEOUT, 0);
    link->dirty = true;
    DL_APPEND2(loop->dirty, link, dirty_prev, dirty_next);
}

void link_wake(struct link *link)
{
    struct link_loop *loop = link->loop;
    if (link->woken)
        return;
    /* By a timer that is due: unlike event_active it lets the loop look at the other links first. */
    if (!event_pending(&loop->wake_turn, EV_TIMEOUT, NULL))
        event_add(&loop->wake_turn, &(struct timeval){0});
    link->woken = true;
    loop->woken_count++;
    DL_APPEND2(loop->woken, link, woken_prev, woken_next);
}
