#include "hub/publish.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "hub/hub_state.h"

#define LOOK_MS     1000
#define REST_FACTOR 10       /* after one that took a second, none is begun for ten */
#define BEFORE_US   60000000 /* that long the one before is still there, for who was shown it */

enum publish_phase { PUBLISH_IDLE, PUBLISH_COUNTING, PUBLISH_BUILDING, PUBLISH_KEEPING };

struct publisher {
    struct hub *hub;
    enum publish_phase phase;
    struct event *look, *built;
    int done; /* eventfd */
    pthread_t thread;
    struct engine_count *counts[SHARDS_MAX];
    uint32_t counted;
    bool wanted;       /* another one, once this one is there */
    bool number_known; /* the journal has been asked for */
    uint64_t number;   /* of the last one kept */
    struct hash event; /* its */
    uint64_t batches;  /* settled, as of the last one begun */
    uint64_t began_us, rest_until_us, before_since_us;
    struct publication *building, *newest, *before;
};

/* ---- the last number ---- */

static void read_number(const struct engine *engine, void *context)
{
    struct publisher *publisher = context;
    const struct buffer *kept = engine_statement(engine);
    struct liabilities statement;
    struct signature signature;
    publisher->number_known = kept->length == 0 || publication_read(kept, &statement, &signature);
    if (!publisher->number_known)
        log_error("the journal's statement of liabilities cannot be read: none is published");
    if (!publisher->number_known || kept->length == 0)
        return;
    publisher->number = statement.number;
    publisher->event = liabilities_event(&statement);
}

/* ---- counting ---- */

static void drop_counts(struct publisher *publisher)
{
    for (uint32_t i = 0; i < SHARDS_MAX; i++) {
        engine_count_free(publisher->counts[i]);
        publisher->counts[i] = NULL;
    }
}

/* It is tried again at the next look. */
static void give_up(struct publisher *publisher)
{
    drop_counts(publisher);
    publisher->phase = PUBLISH_IDLE;
    publisher->wanted = true;
}

static uint64_t batches_settled(const struct publisher *publisher)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < publisher->hub->shard_count; i++)
        sum += shard_figures_now(&publisher->hub->shards[i]).engine.batches_settled;
    return sum;
}

static bool may_begin(const struct publisher *publisher)
{
    const struct hub *hub = publisher->hub;
    return publisher->phase == PUBLISH_IDLE && hub->serving && !hub->stopping && hub->exit_code == 0 &&
           clock_monotonic_us() >= publisher->rest_until_us;
}

/* All shards get the word between the same two events of the ledger, so that all count at one block. */
static void begin(struct publisher *publisher)
{
    if (!publisher->number_known)
        shard_ask(&publisher->hub->shards[0], read_number, publisher);
    if (!publisher->number_known)
        return;
    publisher->wanted = false;
    publisher->batches = batches_settled(publisher);
    publisher->began_us = clock_monotonic_us();
    publisher->counted = 0;
    publisher->phase = PUBLISH_COUNTING;
    hub_post_all(publisher->hub, MAIL_COUNT, false);
}

static void *build(void *context)
{
    struct publisher *publisher = context;
    publisher->building = publication_build(
        publisher->counts, publisher->hub->shard_count, publisher->number + 1, &publisher->event,
        &publisher->hub->engine_settings.domain, &publisher->hub->engine_settings.key);
    ensure(eventfd_write(publisher->done, 1) == 0);
    return NULL;
}

void publisher_counted(struct publisher *publisher)
{
    struct hub *hub = publisher->hub;
    ensure(publisher->phase == PUBLISH_COUNTING);
    if (++publisher->counted < hub->shard_count)
        return;
    bool whole = true;
    for (uint32_t i = 0; i < hub->shard_count; i++) {
        publisher->counts[i] = hub->shards[i].counted;
        hub->shards[i].counted = NULL;
        whole = whole && publisher->counts[i] != NULL;
    }
    if (!whole) {
        give_up(publisher);
        return;
    }
    publisher->phase = PUBLISH_BUILDING;
    ensure(pthread_create(&publisher->thread, NULL, build, publisher) == 0);
}

/* ---- keeping, then showing ---- */

static void on_built(evutil_socket_t descriptor, short what, void *context)
{
    (void)what;
    struct publisher *publisher = context;
    eventfd_t count;
    if (eventfd_read((int)descriptor, &count) != 0)
        return;
    pthread_join(publisher->thread, NULL);
    drop_counts(publisher);
    if (publisher->building == NULL) {
        log_error("what is owed cannot be summed up: a sum is beyond 2^63");
        publisher->rest_until_us = clock_monotonic_us() + 60 * 1000000u;
        give_up(publisher);
        return;
    }
    struct buffer bytes = {0};
    publication_write(publisher->building, &bytes);
    publisher->phase = PUBLISH_KEEPING;
    mailbox_post(publisher->hub->shards[0].mailbox, mail_new(MAIL_STATEMENT, 0, bytes.data, bytes.length));
    buffer_free(&bytes);
}

void publisher_kept(struct publisher *publisher)
{
    ensure(publisher->phase == PUBLISH_KEEPING);
    uint64_t now = clock_monotonic_us();
    publication_free(publisher->before);
    publisher->before = publisher->newest;
    publisher->before_since_us = now;
    publisher->newest = publisher->building;
    publisher->building = NULL;
    publisher->number = publisher->newest->statement.number;
    publisher->event = publisher->newest->event;
    publisher->phase = PUBLISH_IDLE;
    publisher->rest_until_us = now + REST_FACTOR * (now - publisher->began_us);
    log_info("statement %" PRIu64 " of what is owed, at block %" PRIu64 ", in %" PRIu64 " ms",
             publisher->number, publisher->newest->statement.block, (now - publisher->began_us) / 1000);
    if (publisher->wanted && may_begin(publisher))
        begin(publisher);
}

static void on_look(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    struct publisher *publisher = context;
    if (publisher->before != NULL && clock_monotonic_us() - publisher->before_since_us > BEFORE_US) {
        publication_free(publisher->before); /* 66 bytes a channel */
        publisher->before = NULL;
    }
    if (may_begin(publisher) &&
        (publisher->wanted || publisher->newest == NULL || batches_settled(publisher) != publisher->batches))
        begin(publisher);
}

/* ---- asking ---- */

uint64_t publisher_ask(struct publisher *publisher)
{
    if (!publisher->hub->serving || publisher->hub->stopping)
        return 0;
    bool under_way = publisher->phase != PUBLISH_IDLE;
    publisher->wanted = true;
    if (may_begin(publisher))
        begin(publisher);
    return publisher->number_known ? publisher->number + (under_way ? 2 : 1) : 0;
}

const struct publication *publisher_newest(const struct publisher *publisher)
{
    return publisher->newest;
}

const struct publication *publisher_numbered(const struct publisher *publisher, uint64_t number)
{
    if (publisher->newest != NULL && publisher->newest->statement.number == number)
        return publisher->newest;
    return publisher->before != NULL && publisher->before->statement.number == number ? publisher->before
                                                                                      : NULL;
}

/* ---- life ---- */

struct publisher *publisher_new(struct hub *hub)
{
    const struct timeval look = {LOOK_MS / 1000, 0};
    struct publisher *publisher = xcalloc(1, sizeof(*publisher));
    publisher->hub = hub;
    publisher->done = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    ensure(publisher->done >= 0);
    publisher->built = event_new(hub->base, publisher->done, EV_READ | EV_PERSIST, on_built, publisher);
    publisher->look = event_new(hub->base, -1, EV_PERSIST, on_look, publisher);
    ensure(publisher->built != NULL && publisher->look != NULL && event_add(publisher->built, NULL) == 0 &&
           event_add(publisher->look, &look) == 0);
    return publisher;
}

void publisher_free(struct publisher *publisher)
{
    if (publisher->phase == PUBLISH_BUILDING)
        pthread_join(publisher->thread, NULL);
    drop_counts(publisher);
    publication_free(publisher->building);
    publication_free(publisher->newest);
    publication_free(publisher->before);
    event_free(publisher->built);
    event_free(publisher->look);
    close(publisher->done);
    free(publisher);
}
