/* Web hooks: events are told to URLs of the shop's choice, signed, until they are taken.
 *
 *     delivery   admitted ──2xx──▶ gone        admitted ──else──▶ waits (5 s … 2 h), again, for 3 days ──▶ DEAD
 *                DEAD ──replay──▶ admitted
 *
 * A hook is a place in the story of events, and the deliveries admitted and not yet taken, at most WEBHOOK_PENDING_MAX: what
 * comes after them waits on disk. Deliveries of one invoice (the event's subject) go out one after another, in the order of
 * their events; those of others do not wait for them. All of it is in the journal, so an event is told at least once.
 *
 * Where to: https, at an address of the public Internet; what is named in `allow` may also be plain and private. The name
 * is resolved, its address looked at, and that very address connected to. Redirects are answers like others: not 2xx.
 */
#ifndef RILL_MERCHANT_WEBHOOKS_H
#define RILL_MERCHANT_WEBHOOKS_H

#include "merchant/shop.h"

struct event_base;
struct webhooks;
struct webhook;

#define WEBHOOK_SECRET_SIZE (6 + 64 + 1) /* "whsec_…" */

struct webhooks_options {
    const char *allow;     /* "HOST,…": may be private, and plain; NULL: none */
    const char *authority; /* PEM file of further certificates to trust; NULL: the system's alone */
};

/* Before shop_open, whose records it reads. NULL, and one line in message. */
struct webhooks *webhooks_new(struct event_base *base, struct shop *shop,
                              const struct webhooks_options *options, char *message, size_t message_size);
/* What is under way is given up: it is told again at the next start. */
void webhooks_free(struct webhooks *webhooks);
/* The shop is open: go on where things were left. */
void webhooks_start(struct webhooks *webhooks);
/* There is something new. */
void webhooks_published(struct webhooks *webhooks);
/* Once a second. */
void webhooks_tick(struct webhooks *webhooks);

/* A new hook for events from now on; events: bits 1 << enum event_type. NULL, and one line: the URL cannot be used, or there
 * are WEBHOOKS_MAX. Gathers its record. */
struct webhook *webhook_create(struct webhooks *webhooks, const char *url, uint32_t events, char *message,
                               size_t message_size);
void webhook_delete(struct webhooks *webhooks, struct webhook *webhook);
struct webhook *webhook_find(const struct webhooks *webhooks, const struct object_id *id);
/* In the order of their making; NULL behind the last. */
struct webhook *webhook_at(const struct webhooks *webhooks, size_t index);
/* Tells events from this time on once more, dead letters among them. */
void webhook_replay(struct webhooks *webhooks, struct webhook *webhook, uint64_t since);

/* New references. with_secret: only right after it was made. */
json_t *webhook_json(const struct webhook *webhook, bool with_secret);
/* Its deliveries, oldest event first, at most limit: dead ones, or those that wait. */
json_t *webhook_deliveries_json(struct webhook *webhook, bool dead, size_t limit);

struct webhooks_figures {
    uint64_t hooks, pending, dead, delivered, failed; /* the last two since start */
};
struct webhooks_figures webhooks_figures(const struct webhooks *webhooks);

/* "t=1764311000,v1=<64 digits>": HMAC-SHA-256 under the secret's text of time, '.', body. */
#define WEBHOOK_SIGNATURE_SIZE 100
const char *webhook_signature(const char *secret, uint64_t unix_s, const char *body, size_t length,
                              char out[WEBHOOK_SIGNATURE_SIZE]);
/* Seconds to wait after so many attempts, at least 1. */
uint64_t webhook_backoff_s(uint32_t attempts);

#endif
