#include "wallet/hub_http.h"

#include <stdlib.h>

#include "base/endpoint.h"
#include "base/ensure.h"
#include "ledger/quantity.h"
#include "wallet/http_ask.h"

int hub_http_check(const struct settings *settings, const char *flag, const char *http)
{
    char host[HOST_BYTES_MAX + 1];
    uint16_t port;
    if (endpoint_split(http, host, &port))
        return RILL_EXIT_OK;
    return command_fail(settings, RILL_EXIT_USAGE, "--%s '%s' is not HOST:PORT", flag, http);
}

char *hub_http_text(struct session *session, const char *http, const char *path, bool post, int *status)
{
    char host[HOST_BYTES_MAX + 1];
    uint16_t port;
    ensure(endpoint_split(http, host, &port));
    struct http_question question = {.host = host, .port = port, .path = path, .body = post ? "" : NULL};
    if (session != NULL) {
        question.base = session->base;
        question.given_up = &session->interrupted;
    }
    return http_ask_wait(&question, status);
}

int hub_http_silent(const struct settings *settings, const struct session *session, const char *http)
{
    if (session != NULL && session->interrupted)
        return command_fail(settings, RILL_EXIT_FAILED, "stopped before the hub at http://%s had answered",
                            http);
    return command_fail(settings, RILL_EXIT_UNREACHABLE, "no hub answers at http://%s", http);
}

static int ask_json(const struct settings *settings, struct session *session, const char *http,
                    const char *path, bool post, json_t **out)
{
    int status, code = RILL_EXIT_OK;
    char *body = hub_http_text(session, http, path, post, &status);
    if (body == NULL)
        return hub_http_silent(settings, session, http);
    json_t *answer = json_loads(body, JSON_REJECT_DUPLICATES, NULL);
    free(body);
    if (status != 200 || answer == NULL) {
        const char *error = json_text_at(answer, "error");
        code = command_fail(settings, RILL_EXIT_FAILED, "the hub at http://%s says: %s", http,
                            answer == NULL     ? "nothing that can be read"
                            : error[0] == '\0' ? "no, and not why"
                                               : error);
        json_decref(answer);
        return code;
    }
    *out = answer;
    return code;
}

int hub_http_json(const struct settings *settings, const char *http, const char *path, bool post,
                  json_t **out)
{
    return ask_json(settings, NULL, http, path, post, out);
}

int hub_http_json_in(struct session *session, const char *http, const char *path, bool post, json_t **out)
{
    return ask_json(session->settings, session, http, path, post, out);
}

int hub_http_channel(const struct settings *settings, const char *http, const char *path, const char *channel,
                     bool post, json_t **out)
{
    char whole[160];
    struct hash id;
    if (!hex_decode(channel, id.bytes, sizeof(id.bytes)))
        return command_fail(settings, RILL_EXIT_USAGE, "CHANNEL '%s' is not a channel id: 0x and 64 digits",
                            channel);
    snprintf(whole, sizeof(whole), "%s?channel=%s", path, channel);
    int code = hub_http_check(settings, "http", http);
    return code != RILL_EXIT_OK ? code : hub_http_json(settings, http, whole, post, out);
}

const char *json_text_at(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text == NULL ? "" : text;
}

uint64_t json_number_at(const json_t *object, const char *name)
{
    json_int_t value = json_integer_value(json_object_get(object, name));
    return value < 0 ? 0 : (uint64_t)value;
}

bool json_hash_at(const json_t *object, const char *name, struct hash *out)
{
    return hash_of_json(json_object_get(object, name), out);
}

bool json_address_at(const json_t *object, const char *name, struct address *out)
{
    return address_of_json(json_object_get(object, name), out);
}
