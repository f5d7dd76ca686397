/* Publishing what the hub owes: after each settled batch, and when asked to. On the hub's thread.
 *
 *     IDLE ─begin─▶ COUNTING (the shards, in slices: hub/count.c) ─all COUNTED─▶ BUILDING (a thread: publication.h)
 *          ◀─KEPT─ KEEPING (the first shard's journal has it) ◀─built─┘
 *
 * A number is used once: nobody is shown a statement before it is durable, and the next one goes on from it. */
#ifndef RILL_HUB_PUBLISH_H
#define RILL_HUB_PUBLISH_H

#include "hub/publication.h"

struct hub;
struct publisher;

struct publisher *publisher_new(struct hub *hub);
/* Once the shards' threads have ended. */
void publisher_free(struct publisher *publisher);
/* Returns the number of the first statement that is begun after this call; 0: the hub is not serving. */
uint64_t publisher_ask(struct publisher *publisher);
/* The newest; NULL: none since the start. Valid until the loop goes on. */
const struct publication *publisher_newest(const struct publisher *publisher);
/* The newest, or the one before for a minute more. NULL: no such number is at hand. */
const struct publication *publisher_numbered(const struct publisher *publisher, uint64_t number);

/* Mail from shards. */
void publisher_counted(struct publisher *publisher);
void publisher_kept(struct publisher *publisher);

#endif
