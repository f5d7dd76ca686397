/* One POST to a web hook: resolve, look at the address, connect to it, send, hear the status. */
#ifndef RILL_MERCHANT_WEBHOOK_FLIGHT_H
#define RILL_MERCHANT_WEBHOOK_FLIGHT_H

#include "base/bytes.h"

struct event_base;
struct https_client;
struct flight;

struct target {
    bool https, allowed; /* allowed: its address may be private */
    char host[256];
    uint16_t port;
    char path[1100]; /* with the query */
};
/* NULL, or what is wrong with the URL, one sentence. allow: "HOST,…", may be NULL. */
const char *target_parse(const char *url, const char *allow, struct target *out);

/* status: HTTP's, or 0 and a reason. Called once, from the loop, never from within flight_start; the flight is freed after
 * it returns. */
typedef void flight_done(void *context, int status, const char *reason);
struct flight *flight_start(struct event_base *base, struct https_client *https, const struct target *target,
                            const char *signature, const char *event_id, const char *body, size_t length,
                            flight_done *done, void *context);
/* Gives it up; done is not called. */
void flight_free(struct flight *flight);

#endif
