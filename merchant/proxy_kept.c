#include "merchant/proxy_kept.h"

#include <stdlib.h>

#include <event2/buffer.h>
#include <uthash.h>

#include "base/ensure.h"

struct kept_answer {
    struct hash id;
    uint64_t expiry;
    struct evbuffer *bytes;
    UT_hash_handle hh;
};

struct kept_answers {
    struct kept_answer *all; /* oldest first */
    size_t bytes;
};

#define ENTRY_BYTES 512 /* of one, beside its content */

struct kept_answers *kept_answers_new(void)
{
    return xcalloc(1, sizeof(struct kept_answers));
}

static size_t size_of(const struct kept_answer *answer)
{
    return evbuffer_get_length(answer->bytes) + ENTRY_BYTES;
}

static void drop(struct kept_answers *answers, struct kept_answer *answer)
{
    answers->bytes -= size_of(answer);
    HASH_DEL(answers->all, answer);
    evbuffer_free(answer->bytes);
    free(answer);
}

void kept_answers_free(struct kept_answers *answers)
{
    if (answers == NULL)
        return;
    while (answers->all != NULL)
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): each that is freed has been taken off the table */
        drop(answers, answers->all);
    free(answers);
}

static void make_room(struct kept_answers *answers, size_t bytes, uint64_t now_s)
{
    while (answers->all != NULL && (answers->all->expiry < now_s || answers->bytes + bytes > KEPT_BYTES_MAX))
        drop(answers, answers->all);
}

void kept_answers_put(struct kept_answers *answers, const struct hash *id, uint64_t expiry, uint64_t now_s,
                      const void *bytes, size_t length)
{
    struct kept_answer *kept = xcalloc(1, sizeof(*kept));
    kept->id = *id;
    kept->expiry = expiry;
    kept->bytes = evbuffer_new();
    ensure(kept->bytes != NULL && evbuffer_add(kept->bytes, bytes, length) == 0);
    make_room(answers, size_of(kept), now_s);
    answers->bytes += size_of(kept);
    HASH_ADD(hh, answers->all, id, sizeof(kept->id), kept);
}

bool kept_answers_take(struct kept_answers *answers, const struct hash *id, struct evbuffer *out)
{
    struct kept_answer *kept;
    HASH_FIND(hh, answers->all, id, sizeof(*id), kept);
    if (kept == NULL)
        return false;
    answers->bytes -= size_of(kept);
    HASH_DEL(answers->all, kept);
    ensure(evbuffer_add_buffer(out, kept->bytes) == 0);
    evbuffer_free(kept->bytes);
    free(kept);
    return true;
}
