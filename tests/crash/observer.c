#include "tests/crash/observer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#include "base/buffer.h"
#include "base/ensure.h"
#include "crypto/hash.h"
#include "tests/faults/faults.h"
#include "wire/message.h"

/* One direction of one connection of one process: the bytes that have left, as far as frames are not whole yet. */
struct flow {
    struct flow_key {
        int64_t pid;
        uint64_t connection;
    } key;
    uint32_t role;
    struct buffer bytes;
    size_t offered; /* the last OFFERED, at the end of bytes: how much of it left is not known yet */
    UT_hash_handle hh;
};

/* What was signed under a number. */
struct promise {
    struct promise_key {
        struct hash channel;
        uint64_t number; /* nonce; sequence of a settlement */
        uint32_t role;   /* of the signer */
        uint32_t type;   /* enum message_type */
    } key;
    struct hash content;
    UT_hash_handle hh;
};

/* The newest nonce of a stream: the next one is signed only when this one was. */
struct newest {
    struct promise_key key; /* number 0 */
    uint64_t nonce;
    UT_hash_handle hh;
};

struct observer {
    FILE *log;
    long offset;
    struct flow *flows;
    struct promise *promises;
    struct newest *newest;
    struct decoder *decoder;
    struct observed figures;
    char *message;
    size_t size;
    bool broken;
};

struct observer *observer_new(const char *log)
{
    struct observer *observer = xcalloc(1, sizeof *observer);
    observer->log = fopen(log, "ab+");
    ensure(observer->log != NULL);
    observer->decoder = decoder_new();
    return observer;
}

static void flow_free(struct observer *observer, struct flow *flow)
{
    HASH_DEL(observer->flows, flow);
    buffer_free(&flow->bytes);
    free(flow);
}

void observer_free(struct observer *observer)
{
    struct flow *flow, *next_flow;
    struct promise *promise, *next_promise;
    struct newest *newest, *next_newest;
    HASH_ITER(hh, observer->flows, flow, next_flow)
    flow_free(observer, flow);
    HASH_ITER(hh, observer->promises, promise, next_promise)
    {
        HASH_DEL(observer->promises, promise);
        free(promise);
    }
    HASH_ITER(hh, observer->newest, newest, next_newest)
    {
        HASH_DEL(observer->newest, newest);
        free(newest);
    }
    decoder_free(observer->decoder);
    fclose(observer->log);
    free(observer);
}

struct observed observer_figures(const struct observer *observer)
{
    return observer->figures;
}

/* ---- what was signed ---- */

static void breach(struct observer *observer, const struct promise_key *key, const char *what)
{
    char channel[65];
    hex_encode(key->channel.bytes, 8, channel);
    if (!observer->broken)
        snprintf(observer->message, observer->size, "%s: channel %s…, number %llu, by %s", what, channel,
                 (unsigned long long)key->number, key->role == 'h' ? "the hub" : "a wallet");
    observer->broken = true;
}

/* Returns false if the same has been seen before. */
static bool promised(struct observer *observer, const struct promise_key *key, const struct buffer *content)
{
    struct hash hash = keccak256(content->data, content->length);
    struct promise *promise;
    HASH_FIND(hh, observer->promises, key, sizeof *key, promise);
    if (promise == NULL) {
        promise = xcalloc(1, sizeof *promise);
        promise->key = *key;
        promise->content = hash;
        HASH_ADD(hh, observer->promises, key, sizeof promise->key, promise);
        return true;
    }
    if (!hash_equal(&promise->content, &hash))
        breach(observer, key, "two different contents signed under one number");
    return false;
}

static void in_order(struct observer *observer, const struct promise_key *key)
{
    struct promise_key stream = *key;
    struct newest *newest;
    stream.number = 0;
    HASH_FIND(hh, observer->newest, &stream, sizeof stream, newest);
    if (newest == NULL) {
        newest = xcalloc(1, sizeof *newest);
        newest->key = stream;
        HASH_ADD(hh, observer->newest, key, sizeof newest->key, newest);
    }
    if (key->number != newest->nonce + 1)
        breach(observer, key, "a nonce that is not the next one");
    newest->nonce = key->number;
}

static void saw_update(struct observer *observer, const struct message *message, uint32_t role)
{
    const struct update *update = &message->update;
    struct promise_key key;
    struct buffer content = {0};
    memset(&key, 0, sizeof key);
    key.channel = update->channel;
    key.number = update->proof.nonce;
    key.role = role;
    key.type = MESSAGE_UPDATE;
    message_encode(&content, message); /* every byte counts, the signature's too */
    if (promised(observer, &key, &content)) {
        in_order(observer, &key);
        observer->figures.updates++;
    } else {
        observer->figures.again++;
    }
    buffer_free(&content);
}

static void saw_settlement(struct observer *observer, const struct message *message, uint32_t role)
{
    struct promise_key key;
    struct buffer content = {0};
    memset(&key, 0, sizeof key);
    key.channel = message->settle_sign.channel;
    key.number = message->settle_sign.seq;
    key.role = role;
    key.type = MESSAGE_SETTLE_SIGN;
    message_encode(&content, message);
    (void)promised(observer, &key, &content);
    observer->figures.settlements++;
    buffer_free(&content);
}

static void saw_frame(struct observer *observer, const uint8_t *payload, size_t length, uint32_t role)
{
    struct message message;
    const char *why;
    observer->figures.frames++;
    if (message_decode(observer->decoder, payload, length, &message, &why) != CODE_OK) {
        struct promise_key none;
        memset(&none, 0, sizeof none);
        none.role = role;
        breach(observer, &none, why);
        return;
    }
    if (message.type == MESSAGE_UPDATE)
        saw_update(observer, &message, role);
    else if (message.type == MESSAGE_SETTLE_SIGN)
        saw_settlement(observer, &message, role);
    else if (message.type == MESSAGE_REVOKE)
        observer->figures.revocations++;
}

/* ---- the log ---- */

static void take_frames(struct observer *observer, struct flow *flow)
{
    size_t at = 0, length = flow->bytes.length - flow->offered;
    while (length - at >= 4 && length - at - 4 >= load_be32(flow->bytes.data + at)) {
        size_t size = load_be32(flow->bytes.data + at);
        saw_frame(observer, flow->bytes.data + at + 4, size, flow->role);
        at += 4 + size;
    }
    if (at == 0)
        return;
    memmove(flow->bytes.data, flow->bytes.data + at, flow->bytes.length - at);
    flow->bytes.length -= at;
}

/* The process has ended inside a call: what was offered may have left. */
static void flow_ends(struct observer *observer, struct flow *flow)
{
    flow->offered = 0;
    take_frames(observer, flow);
    flow_free(observer, flow);
}

static struct flow *flow_of(struct observer *observer, const struct wire_record *record)
{
    struct flow_key key = {record->pid, record->connection};
    struct flow *flow;
    HASH_FIND(hh, observer->flows, &key, sizeof key, flow);
    if (flow == NULL) {
        flow = xcalloc(1, sizeof *flow);
        flow->key = key;
        flow->role = record->role;
        HASH_ADD(hh, observer->flows, key, sizeof flow->key, flow);
    }
    return flow;
}

static void saw_record(struct observer *observer, const struct wire_record *record, const uint8_t *bytes)
{
    struct flow *flow = record->kind == WIRE_PROCESS ? NULL : flow_of(observer, record), *other, *next;
    switch ((enum wire_record_kind)record->kind) {
    case WIRE_PROCESS: /* in this role: the one before is gone */
        observer->figures.processes++;
        HASH_ITER(hh, observer->flows, other, next)
        if (other->role == record->role)
            flow_ends(observer, other);
        break;
    case WIRE_CONNECTION:
        observer->figures.connections++;
        flow_ends(observer, flow);
        break;
    case WIRE_OFFERED:
        flow->bytes.length -= flow->offered; /* not taken: offered anew */
        buffer_append(&flow->bytes, bytes, (size_t)record->length);
        flow->offered = (size_t)record->length;
        break;
    case WIRE_TAKEN: {
        size_t taken = record->length > 0 ? (size_t)record->length : 0;
        ensure(taken <= flow->offered);
        flow->bytes.length -= flow->offered - taken;
        flow->offered = 0;
        take_frames(observer, flow);
        break;
    }
    }
}

bool observer_read(struct observer *observer, char *message, size_t size)
{
    struct wire_record record;
    struct buffer bytes = {0};
    observer->message = message;
    observer->size = size;
    message[0] = '\0';
    /* Up to what there is now: what is written meanwhile comes the next time, or this would never end. */
    if (fseek(observer->log, 0, SEEK_END) != 0)
        return true;
    long end = ftell(observer->log);
    clearerr(observer->log);
    (void)fseek(observer->log, observer->offset, SEEK_SET);
    while (!observer->broken && observer->offset < end) {
        if (fread(&record, sizeof record, 1, observer->log) != 1)
            break;
        buffer_clear(&bytes);
        if (record.kind == WIRE_OFFERED && record.length > 0 &&
            fread(buffer_extend(&bytes, (size_t)record.length), (size_t)record.length, 1, observer->log) != 1)
            break;
        observer->offset += (long)(sizeof record + bytes.length);
        saw_record(observer, &record, bytes.data);
    }
    buffer_free(&bytes);
    return !observer->broken;
}
