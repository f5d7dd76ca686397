/* What error objects of various nodes say about a revert. */
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
