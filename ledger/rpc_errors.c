/* What error objects of various nodes say: reverts, too many requests, blocks that are not there. */
#include <string.h>
#include <strings.h>

#include "ledger/quantity.h"
#include "ledger/rpc.h"

/* Objects inside objects, as wrappers of wrappers write them; deeper is not looked at. */
#define REVERT_DEPTH_MAX 4
#define REVERT_BYTES_MAX (64 * 1024)

/* "0x…" as geth and anvil have it, "Reverted 0x…" as parity had it. */
static bool revert_text(const json_t *value, struct buffer *out)
{
    const char *text = json_string_value(value);
    if (text == NULL || strlen(text) > 2 * REVERT_BYTES_MAX)
        return false;
    if (strncmp(text, "Reverted ", 9) == 0)
        text += 9;
    json_t *hex = json_string(text);
    bool good = bytes_of_json(hex, out);
    json_decref(hex);
    return good;
}

static bool revert_search(const json_t *object, unsigned depth, struct buffer *out)
{
    static const char *const names[] = {"data", "return", "result", "output"};
    static const char *const wrappers[] = {"data", "originalError", "error", "cause"};
    if (!json_is_object(object) || depth > REVERT_DEPTH_MAX)
        return false;
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++)
        if (revert_text(json_object_get(object, names[i]), out))
            return true;
    for (size_t i = 0; i < ARRAY_LENGTH(wrappers); i++)
        if (revert_search(json_object_get(object, wrappers[i]), depth + 1, out))
            return true;
    /* ganache: data is {"0x<transaction>": {"return": "0x…"}, …} */
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key,
                        value) if (strncmp(key, "0x", 2) == 0 &&
                                   revert_search(value, depth + 1, out)) return true;
    return false;
}

bool rpc_revert_data(const json_t *error_object, struct buffer *out)
{
    return revert_search(error_object, 0, out);
}

bool rpc_is_revert(const json_t *error_object)
{
    struct buffer data = {0};
    bool has_data = rpc_revert_data(error_object, &data);
    bool has_bytes = has_data && data.length > 0;
    buffer_free(&data);
    const char *message = json_string_value(json_object_get(error_object, "message"));
    /* 3: geth's and anvil's "execution reverted". */
    return has_bytes || json_integer_value(json_object_get(error_object, "code")) == 3 ||
           (message != NULL && strcasestr(message, "revert") != NULL);
}

/* ---- too many requests, blocks that are not there ---- */

/* EIP-1474: a limit was exceeded, of requests or of the answer's size. */
#define CODE_LIMIT_EXCEEDED (-32005)
#define CODE_HTTP_TOO_MANY  429
/* JSON-RPC: no such method, no such parameters. */
#define CODE_METHOD (-32601)
#define CODE_PARAMS (-32602)

static bool message_has_one(const json_t *error_object, const char *const *parts, size_t count)
{
    const char *message = json_string_value(json_object_get(error_object, "message"));
    for (size_t i = 0; message != NULL && i < count; i++)
        if (strcasestr(message, parts[i]) != NULL)
            return true;
    return false;
}

bool rpc_is_rate_limit(const json_t *error_object, bool of_logs)
{
    static const char *const words[] = {"too many requests", "rate limit",    "ratelimit",     "rate-limit",
                                        "request rate",      "request limit", "request count", "per second",
                                        "requests exceeded", "throughput"};
    /* What a provider says of too large an answer, under the same code. */
    static const char *const size_words[] = {"range", "returned more", "results", "response size", "logs"};
    json_int_t code = json_integer_value(json_object_get(error_object, "code"));
    bool of_size = message_has_one(error_object, size_words, ARRAY_LENGTH(size_words));
    if (code == CODE_HTTP_TOO_MANY || message_has_one(error_object, words, ARRAY_LENGTH(words)))
        return !(of_logs && of_size && code != CODE_HTTP_TOO_MANY);
    return code == CODE_LIMIT_EXCEEDED && !of_logs && !of_size;
}

uint32_t rpc_wait_asked_s(const json_t *error_object)
{
    const json_t *data = json_object_get(error_object, "data");
    const json_t *rate = json_object_get(data, "rate");
    double seconds = json_number_value(json_object_get(rate, "backoff_seconds"));
    if (seconds <= 0)
        return 0;
    return seconds < UINT32_MAX ? (uint32_t)seconds : UINT32_MAX;
}

bool rpc_is_unknown_way(const json_t *error_object)
{
    json_int_t code = json_integer_value(json_object_get(error_object, "code"));
    return code == CODE_METHOD || code == CODE_PARAMS;
}

bool rpc_is_missing_block(const json_t *error_object)
{
    static const char *const words[] = {"header not found",
                                        "block not found",
                                        "unknown block",
                                        "beyond current head",
                                        "could not be found",
                                        "missing trie node",
                                        "BlockOutOfRange",
                                        "pruned",
                                        "state of old",
                                        "state is not available",
                                        "historical state",
                                        "history",
                                        "after last accepted block"};
    return message_has_one(error_object, words, ARRAY_LENGTH(words));
}
