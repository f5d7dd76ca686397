#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "tests/fuzz/seeds.h"

/* The bytes of a member in hexadecimal: its first `skip` are left out. */
static void write_hex(const char *fuzzer, const char *group, size_t index, int first, const json_t *text,
                      size_t skip)
{
    char name[64];
    const char *digits = json_string_value(text);
    ensure(digits != NULL);
    size_t room = strlen(digits) / 2 + 1, length;
    uint8_t *bytes = xmalloc(room);
    ensure(hex_decode_any(digits, bytes, room, &length));
    snprintf(name, sizeof(name), "%s-%d-%zu", group, first, index);
    if (length >= skip)
        seed_write(fuzzer, name, first, bytes + skip, length - skip);
    free(bytes);
}

static void write_each(const json_t *root, const char *group, const char *member, const char *fuzzer,
                       int first, size_t skip)
{
    size_t index;
    const json_t *list = json_object_get(root, group), *item;
    ensure(json_array_size(list) > 0);
    json_array_foreach(list, index, item) write_hex(
        fuzzer, group, index, first, json_is_string(item) ? item : json_object_get(item, member), skip);
}

static void write_logs(const json_t *root)
{
    size_t index, at;
    const json_t *item, *topic;
    json_array_foreach(json_object_get(root, "logs"), index, item)
    {
        struct buffer log = {0};
        char name[32];
        uint8_t bytes[4096];
        size_t length;
        buffer_u8(&log, (uint8_t)json_array_size(json_object_get(item, "topics")));
        json_array_foreach(json_object_get(item, "topics"), at, topic)
        {
            ensure(hex_decode_any(json_string_value(topic), bytes, sizeof(bytes), &length));
            buffer_append(&log, bytes, length);
        }
        ensure(
            hex_decode_any(json_string_value(json_object_get(item, "data")), bytes, sizeof(bytes), &length));
        buffer_append(&log, bytes, length);
        snprintf(name, sizeof(name), "log-%zu", index);
        seed_write("abi", name, 5, log.data, log.length);
        buffer_free(&log);
    }
}

/* The vector, and lighter ones of both kinds of derivation that the fuzzer does not refuse at once. */
static void write_keystores(const json_t *root)
{
    json_t *file = json_deep_copy(json_object_get(json_object_get(root, "keystore"), "json"));
    ensure(file != NULL);
    char *text = json_dumps(file, JSON_INDENT(1));
    seed_write("keystore", "vector", 0, text, strlen(text));
    free(text);
    json_t *parameters = json_object_get(json_object_get(file, "Crypto"), "kdfparams");
    json_object_set_new(parameters, "n", json_integer(2));
    text = json_dumps(file, JSON_COMPACT);
    seed_write("keystore", "light", 0, text, strlen(text));
    free(text);
    json_object_set_new(json_object_get(file, "Crypto"), "kdf", json_string("pbkdf2"));
    json_object_set_new(parameters, "c", json_integer(2));
    json_object_set_new(parameters, "prf", json_string("hmac-sha256"));
    text = json_dumps(file, JSON_COMPACT);
    seed_write("keystore", "pbkdf2", 0, text, strlen(text));
    free(text);
    json_decref(file);
    seed_write("keystore", "key", 1, "0123456789abcdef0123456789abcdef", 32);
}

void seeds_of_vectors(const char *path)
{
    json_error_t error;
    json_t *root = json_load_file(path, 0, &error), *results;
    size_t index;
    const json_t *item;
    if (root == NULL)
        fprintf(stderr, "seeds: %s: %s\n", path, error.text);
    ensure(root != NULL);
    write_each(root, "frames", "frame", "message", -1, 4);
    write_each(root, "badFrames", "frame", "message", -1, 4);
    write_each(root, "transactions", "raw", "rlp", 1, 0);
    write_each(root, "transactions", "raw", "rlp", 0, 1);
    write_each(root, "calldata", "data", "abi", 0, 0);
    write_each(root, "reverts", "data", "abi", 4, 0);
    write_logs(root);
    write_keystores(root);
    results = json_object_get(root, "results");
    write_hex("abi", "result-channel", 0, 1, json_object_get(json_object_get(results, "channel"), "data"), 0);
    write_hex("abi", "result-closing", 0, 2, json_object_get(json_object_get(results, "closing"), "data"), 0);
    json_array_foreach(json_object_get(root, "invoices"), index, item)
    {
        char name[32];
        const char *text = json_string_value(json_object_get(item, "text"));
        ensure(text != NULL);
        snprintf(name, sizeof(name), "vector-%zu", index);
        seed_write("invoice", name, 0, text, strlen(text));
        snprintf(name, sizeof(name), "fields-%zu", index);
        seed_write("invoice", name, 1, text, 60);
    }
    json_array_foreach(json_object_get(json_object_get(root, "updates"), "stream"), index, item)
        write_hex("body", "vector", index, (int)(index % 2), json_object_get(item, "body"), 0);
    json_decref(root);
}
