/* Answers whose clients went away before they came. The service has done its part, so the receipt is spent; who has paid
 * gets the answer by asking for the same again with it, once.
 *
 * In memory only, at most KEPT_BYTES_MAX in all: the oldest give way.
 */
#ifndef RILL_MERCHANT_PROXY_KEPT_H
#define RILL_MERCHANT_PROXY_KEPT_H

#include "base/bytes.h"

struct evbuffer;
struct kept_answers;

#define KEPT_BYTES_MAX ((size_t)32 * 1024 * 1024)

struct kept_answers *kept_answers_new(void);
void kept_answers_free(struct kept_answers *answers);
/* The whole answer, head and body, is copied. id: of the receipt; expiry: Unix seconds. */
void kept_answers_put(struct kept_answers *answers, const struct hash *id, uint64_t expiry, uint64_t now_s,
                      const void *bytes, size_t length);
/* Moves it into `out`; false: there is none. */
bool kept_answers_take(struct kept_answers *answers, const struct hash *id, struct evbuffer *out);

#endif
