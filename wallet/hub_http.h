/* What a hub shows over HTTP (docs/operations.md, "Endpoints"), asked for by a command. */
#ifndef RILL_WALLET_HUB_HTTP_H
#define RILL_WALLET_HUB_HTTP_H

#include "wallet/command.h"

/* HOST:PORT of a flag, checked. RILL_EXIT_OK, or RILL_EXIT_USAGE after a line on stderr. */
int hub_http_check(const struct settings *settings, const char *flag, const char *http) MUST_USE;
/* GET (or POST, with nothing in it) of a path; http has been checked. The body is the caller's to free; NULL without an
 * answer. With a session (NULL: none): on its loop, so that its signals end the waiting, and its wallet goes on meanwhile. */
char *hub_http_text(struct session *session, const char *http, const char *path, bool post, int *status);
/* The same without a session, of JSON: RILL_EXIT_OK and the value, which the caller lets go, or an exit code after a line on stderr. */
int hub_http_json(const struct settings *settings, const char *http, const char *path, bool post,
                  json_t **out) MUST_USE;

/* With one. */
int hub_http_json_in(struct session *session, const char *http, const char *path, bool post,
                     json_t **out) MUST_USE;
/* After no answer: a line on stderr that says which, and the exit code. session may be NULL. */
int hub_http_silent(const struct settings *settings, const struct session *session, const char *http);

/* The same of what the operator asks about one channel: path?channel=ID, where `http` and `channel` are as they were
 * given. */
int hub_http_channel(const struct settings *settings, const char *http, const char *path, const char *channel,
                     bool post, json_t **out) MUST_USE;

/* "" and 0 where there is no such thing. */
const char *json_text_at(const json_t *object, const char *name);
uint64_t json_number_at(const json_t *object, const char *name);
bool json_hash_at(const json_t *object, const char *name, struct hash *out) MUST_USE;
bool json_address_at(const json_t *object, const char *name, struct address *out) MUST_USE;

#endif
