/* An answer over HTTP that takes a while, worked out on a thread of its own, so that the loop goes on serving payments
 * meanwhile. One at a time: whoever comes during another's gets 503.
 *
 *     request ──▶ job: its thread works ──▶ eventfd ──▶ the loop joins it and replies
 *                  └─ the connection goes: `gone` is set, and the answer dropped
 */
#ifndef RILL_HUB_HTTP_JOB_H
#define RILL_HUB_HTTP_JOB_H

#include <event2/http.h>
#include <stdatomic.h>

#include "base/buffer.h"

struct hub;

/* Runs on the thread: writes the answer, JSON, and returns its HTTP status. Ends early, no matter how, once `gone` is
 * set. */
typedef int http_work(void *context, const _Atomic bool *gone, struct buffer *text);
/* Takes over the context, and frees it with free(). Answers by itself while the hub is not serving. */
void http_job_start(struct hub *hub, struct evhttp_request *request, http_work *work, void *context);
/* Waits for a job that is under way, and drops its answer. */
void http_job_end(struct hub *hub);

/* {"error": text} */
void http_reply_error(struct evhttp_request *request, int code, const char *text);
int http_write_error(struct buffer *text, int code, const char *error);

#endif
