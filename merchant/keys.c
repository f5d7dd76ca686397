#include "merchant/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "crypto/hash.h"
#include "merchant/limits.h"

struct keys {
    char *path;
    uint32_t per_second, burst;
    struct api_key *list;
    size_t count;
    struct stat read; /* of the file as it was read */
    bool was_read;
};

static const struct {
    enum scope scope;
    const char *name;
} scopes[] = {{SCOPE_READ, "read"}, {SCOPE_INVOICE, "invoice"}, {SCOPE_PAYOUT, "payout"}};

unsigned scopes_parse(const char *text)
{
    unsigned sum = 0;
    while (*text != '\0') {
        size_t length = strcspn(text, ","), i = 0;
        while (i < ARRAY_LENGTH(scopes) &&
               (strlen(scopes[i].name) != length || memcmp(scopes[i].name, text, length) != 0))
            i++;
        if (i == ARRAY_LENGTH(scopes))
            return 0;
        sum |= scopes[i].scope;
        text += length;
        text += *text == ',';
    }
    return sum;
}

const char *scopes_text(unsigned sum, char out[KEY_SCOPES_SIZE])
{
    size_t length = 0;
    out[0] = '\0';
    for (size_t i = 0; i < ARRAY_LENGTH(scopes); i++)
        if ((sum & scopes[i].scope) != 0)
            length += (size_t)snprintf(out + length, KEY_SCOPES_SIZE - length, "%s%s", length > 0 ? "," : "",
                                       scopes[i].name);
    return out;
}

/* ---- the file ---- */

static bool take_key(const json_t *entry, struct api_key *out)
{
    const char *id = json_string_value(json_object_get(entry, "id"));
    const char *hash = json_string_value(json_object_get(entry, "sha256"));
    const char *name = json_string_value(json_object_get(entry, "name"));
    const char *scope = json_string_value(json_object_get(entry, "scopes"));
    *out = (struct api_key){.created = (uint64_t)json_integer_value(json_object_get(entry, "created"))};
    if (id == NULL || hash == NULL || name == NULL || scope == NULL || strlen(id) != KEY_ID_SIZE - 1 ||
        strlen(name) >= KEY_NAME_SIZE || !hex_decode(hash, out->hash.bytes, sizeof(out->hash.bytes)))
        return false;
    snprintf(out->id, sizeof(out->id), "%s", id);
    snprintf(out->name, sizeof(out->name), "%s", name);
    out->scopes = scopes_parse(scope);
    return out->scopes != 0;
}

/* False, and one line, if there is a file and it is not one of keys. *list has room for one more, and is to be freed. */
static bool read_file(const char *path, struct api_key **list, size_t *count, char *message, size_t size)
{
    json_error_t error;
    *list = NULL;
    *count = 0;
    if (access(path, F_OK) != 0 && errno == ENOENT) {
        *list = xcalloc(1, sizeof(**list));
        return true;
    }
    json_t *file = json_load_file(path, 0, &error), *entries = json_object_get(file, "keys");
    size_t entry_count = json_array_size(entries);
    bool good = json_is_array(entries) && entry_count <= API_KEYS_MAX;
    struct api_key *read = xcalloc(entry_count + 1, sizeof(*read));
    for (size_t i = 0; good && i < entry_count; i++)
        good = take_key(json_array_get(entries, i), &read[i]);
    json_decref(file);
    if (!good) {
        snprintf(message, size, "%s is not a file of API keys: %s", path,
                 error.text[0] != '\0' ? error.text : "an entry in it is malformed");
        free(read);
        return false;
    }
    *list = read;
    *count = entry_count;
    return true;
}

static json_t *json_of(const struct api_key *list, size_t count)
{
    json_t *entries = json_array();
    for (size_t i = 0; i < count; i++) {
        char hash[HASH_TEXT_SIZE], scope[KEY_SCOPES_SIZE];
        json_array_append_new(entries, json_pack("{s:s, s:s, s:s, s:s, s:I}", "id", list[i].id, "name",
                                                 list[i].name, "scopes", scopes_text(list[i].scopes, scope),
                                                 "sha256", hash_text(&list[i].hash, hash), "created",
                                                 (json_int_t)list[i].created));
    }
    json_t *file = json_pack("{s:o}", "keys", entries);
    ensure(file != NULL);
    return file;
}

static bool sync_folder(const char *path)
{
    char folder[1300];
    snprintf(folder, sizeof(folder), "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash != NULL)
        *slash = '\0';
    int descriptor = open(slash != NULL ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = descriptor >= 0 && fsync(descriptor) == 0;
    if (descriptor >= 0)
        close(descriptor);
    return good;
}

static bool write_file(const char *path, const struct api_key *list, size_t count, char *message, size_t size)
{
    char temporary[1400];
    json_t *file = json_of(list, count);
    char *text = json_dumps(file, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
    ensure(text != NULL);
    json_decref(file);
    snprintf(temporary, sizeof(temporary), "%s.new", path);
    int descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size_t length = strlen(text);
    bool good =
        descriptor >= 0 && write(descriptor, text, length) == (ssize_t)length && fsync(descriptor) == 0;
    int error = errno;
    if (descriptor >= 0)
        close(descriptor);
    free(text);
    if (good && rename(temporary, path) == 0 && sync_folder(path))
        return true;
    snprintf(message, size, "cannot write %s: %s", path, strerror(good ? errno : error));
    return false;
}

/* Writers wait for each other on a file beside it: the file itself is replaced. */
static int lock_file(const char *path, char *message, size_t size)
{
    char lock[1400];
    snprintf(lock, sizeof(lock), "%s.lock", path);
    int descriptor = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (descriptor >= 0 && flock(descriptor, LOCK_EX) == 0)
        return descriptor;
    snprintf(message, size, "cannot lock %s: %s", lock, strerror(errno));
    if (descriptor >= 0)
        close(descriptor);
    return -1;
}

bool keys_create(const char *path, unsigned sum, const char *name, char out[KEY_TEXT_SIZE], char *message,
                 size_t size)
{
    struct api_key *list;
    size_t count;
    uint8_t id[6], secret[32];
    char secret_text[65];
    int lock = lock_file(path, message, size);
    if (lock < 0)
        return false;
    bool good = read_file(path, &list, &count, message, size);
    if (good && count == API_KEYS_MAX) {
        snprintf(message, size, "there are %d keys already: revoke one first", API_KEYS_MAX);
        good = false;
    }
    if (good) {
        struct api_key *key = &list[count];
        random_bytes(id, sizeof(id));
        random_bytes(secret, sizeof(secret));
        hex_encode(id, sizeof(id), key->id);
        hex_encode(secret, sizeof(secret), secret_text);
        snprintf(key->name, sizeof(key->name), "%s", name);
        key->hash = sha256(secret_text, 64);
        key->scopes = sum;
        key->created = clock_unix_s();
        good = write_file(path, list, count + 1, message, size);
        snprintf(out, KEY_TEXT_SIZE, "rk_%s_%s", key->id, secret_text);
        bytes_wipe(secret, sizeof(secret));
        bytes_wipe(secret_text, sizeof(secret_text));
    }
    free(list);
    close(lock);
    return good;
}

bool keys_revoke(const char *path, const char *id, char *message, size_t size)
{
    struct api_key *list;
    size_t count, kept = 0;
    int lock = lock_file(path, message, size);
    if (lock < 0)
        return false;
    bool good = read_file(path, &list, &count, message, size);
    for (size_t i = 0; good && i < count; i++)
        if (strcmp(list[i].id, id) != 0)
            list[kept++] = list[i];
    if (good && kept == count) {
        snprintf(message, size, "there is no key '%.20s': `rill-merchantd keys list` shows the ids", id);
        good = false;
    }
    good = good && write_file(path, list, kept, message, size);
    free(list);
    close(lock);
    return good;
}

/* ---- a running server's ---- */

struct keys *keys_new(const char *path, uint32_t per_second, uint32_t burst)
{
    struct keys *keys = xcalloc(1, sizeof(*keys));
    keys->path = xstrdup(path);
    keys->per_second = per_second;
    keys->burst = burst;
    return keys;
}

void keys_free(struct keys *keys)
{
    if (keys == NULL)
        return;
    free(keys->list);
    free(keys->path);
    free(keys);
}

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static const struct api_key *find(const struct api_key *list, size_t count, const char *id)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i].id, id) == 0)
            return &list[i];
    return NULL;
}

bool keys_refresh(struct keys *keys, char *message, size_t size)
{
    struct stat now;
    struct api_key *list;
    size_t count;
    if (stat(keys->path, &now) != 0)
        memset(&now, 0, sizeof(now));
    if (keys->was_read && is_same(&now, &keys->read))
        return true;
    if (!read_file(keys->path, &list, &count, message, size))
        return false;
    /* What a key has used up of its rate does not come back because another was made. */
    for (size_t i = 0; i < count; i++) {
        const struct api_key *before = find(keys->list, keys->count, list[i].id);
        list[i].throttle = before != NULL
                               ? before->throttle
                               : (struct throttle){.per_second = keys->per_second, .burst = keys->burst};
    }
    free(keys->list);
    keys->list = list;
    keys->count = count;
    keys->read = now;
    keys->was_read = true;
    return true;
}

struct api_key *keys_check(struct keys *keys, const char *authorization)
{
    struct api_key *found = NULL;
    const char *text = authorization;
    if (text == NULL || strncasecmp(text, "Bearer ", 7) != 0)
        return NULL;
    text += 7 + strspn(text + 7, " ");
    if (strlen(text) != KEY_TEXT_SIZE - 1 || strncmp(text, "rk_", 3) != 0 || text[15] != '_')
        return NULL;
    struct hash hash = sha256(text + 16, 64);
    for (size_t i = 0; i < keys->count; i++) {
        bool same_id = memcmp(keys->list[i].id, text + 3, KEY_ID_SIZE - 1) == 0;
        if (same_id && bytes_equal_constant_time(&keys->list[i].hash, &hash, sizeof(hash)))
            found = &keys->list[i];
    }
    return found;
}

const struct api_key *keys_at(const struct keys *keys, size_t index)
{
    return index < keys->count ? &keys->list[index] : NULL;
}
