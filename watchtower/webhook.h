/* Alarms to somewhere: each is posted as JSON to a URL of the operator's (an alert manager, a pager's relay, a script
 * behind netcat). One post at a time; what is not taken is tried again after a pause that doubles from 1 to 60 seconds.
 * It never blocks, and never grows: beyond WEBHOOK_WAITING_MAX the oldest is dropped, and counted. */
#ifndef RILL_WATCHTOWER_WEBHOOK_H
#define RILL_WATCHTOWER_WEBHOOK_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WEBHOOK_WAITING_MAX 256

struct event_base;
struct webhook;

struct webhook_figures {
    uint64_t waiting, delivered, failed, dropped; /* failed: tries */
};

/* NULL, and one line in message, if the URL is none of "http://HOST[:PORT][/PATH]". */
struct webhook *webhook_new(struct event_base *base, const char *url, char *message, size_t message_size);
void webhook_free(struct webhook *webhook); /* NULL is allowed; what waits is dropped */
/* Takes the object over. A status of 200 to 299 is a delivery. */
void webhook_post(struct webhook *webhook, json_t *alarm);
struct webhook_figures webhook_figures(const struct webhook *webhook);

#endif
