/* A body of operations, and an update that carries it, judged by a channel with money and locks in it.
 *
 *     input: mode u8, body bytes
 *
 * A body that decodes has one shortest spelling. The update is made to fit the body as well as can be: the sums follow
 * from its operations, the root is what the sender's own machine gets (where it takes the operations at all), the
 * signature is good. So it is the operations that are judged. Refused: nothing has changed. Accepted: what is written
 * reads back whole. And what the sender's machine signs of the same operations is never refused. */
#include "tests/fuzz/input.h"

#include <stdlib.h>
#include <string.h>

#include "channel/channel.h"
#include "crypto/hash.h"
#include "wire/message.h"

#define NOW 1800000000u

static struct decoder *decoder;
static struct domain domain;
static struct secret_key client_key, hub_key;
static struct address client, hub;

static uint64_t registered_at(void *context, uint8_t kind, const struct hash *condition)
{
    (void)context;
    (void)kind;
    return condition->bytes[0] == 0x11 ? NOW - 10 : 0;
}

static struct channel_view view_of(const struct address *peer)
{
    return (struct channel_view){
        .domain = &domain, .now = NOW, .reveal_margin_s = 60, .peer = *peer, .registered_at = registered_at};
}

static void set_up(void)
{
    decoder = decoder_new();
    domain = domain_make(31337, &(struct address){{7}});
    client_key = (struct secret_key){{1, [31] = 1}};
    hub_key = (struct secret_key){{1, [31] = 99}};
    client = secret_key_address(&client_key);
    hub = secret_key_address(&hub_key);
}

static struct channel *open_channel(enum side self)
{
    struct channel_key key = {.client = client};
    struct channel *channel = channel_new(&key, self, 100);
    struct channel_funds funds = {{100000}, 60000, 0, STAGE_OPEN};
    (void)channel_set_funds(channel, &funds);
    if (self == SIDE_CLIENT)
        channel_set_told(channel, &funds);
    return channel;
}

static struct update update_of(const struct channel *from, const struct kept_update *kept)
{
    return (struct update){from->id, kept->proof, kept->signature, kept->body, kept->body_length};
}

/* What is on disk of a channel, as bytes. */
static void dump(struct channel *channel, struct buffer *out)
{
    channel_write_all(channel);
    channel_write(channel, out);
}

static void must_read_back(struct channel *channel, const struct buffer *batch)
{
    struct channel *copy = NULL;
    struct buffer again = {0}, here = {0};
    struct reader reader = reader_of(batch->data, batch->length);
    struct record record;
    while (record_next(&reader, &record))
        ensure(channel_read(&copy, &record));
    ensure(reader.ok && copy != NULL && channel_recovered(copy));
    dump(copy, &again);
    dump(channel, &here); /* without what the first said of places that are free now */
    ensure(again.length == here.length && memcmp(again.data, here.data, here.length) == 0);
    buffer_free(&again);
    buffer_free(&here);
    channel_free(copy);
}

static const struct kept_update *seal(struct channel *from)
{
    struct buffer body = {0};
    size_t count;
    const struct operation *draft = channel_draft(from, &count);
    body_encode(&body, draft, count);
    const struct kept_update *kept = channel_seal(from, &domain, &client_key, body.data, body.length);
    buffer_free(&body);
    return kept;
}

/* Three locks of the client's, of which one has failed, one has lapsed, one may be unlocked. */
static void have_locks(struct channel *from, struct channel *to)
{
    struct pending_lock touched[4];
    struct channel_view view = view_of(&hub), seen = view_of(&client);
    for (uint8_t i = 1; i <= 3; i++) {
        uint8_t secret[32];
        memset(secret, i, sizeof(secret));
        struct operation lock = {.type = OPERATION_LOCK,
                                 .id = {{i}},
                                 .peer = hub,
                                 .amount = {500},
                                 .expiry = i == 2 ? NOW - 1 : NOW + 3600,
                                 .condition = condition_of_secret(secret)};
        ensure(channel_add(from, &view, &lock, NULL) == CODE_OK);
    }
    struct update update = update_of(from, seal(from));
    const struct operation *operations;
    size_t count;
    ensure(body_decode(decoder, update.body, update.body_length, &operations, &count));
    ensure(channel_receive(to, &seen, &update, operations, count, true, touched).verdict == VERDICT_ACCEPTED);
    ensure(channel_mark_failed(to, &(struct payment_id){{1}}));
    ensure(channel_fail_received(from, &(struct payment_id){{1}}) != NULL);
}

/* The sums that the operations make of the newest proof: what a proof must say to be judged by them. */
static void follow(const struct channel *channel, const struct operation *operations, size_t count,
                   struct balance_proof *proof)
{
    const struct stream *stream = &channel->streams[SIDE_CLIENT];
    for (size_t i = 0; i < count; i++) {
        const struct operation *at = &operations[i];
        const struct pending_lock *lock =
            stream->locks == NULL ? NULL : lock_set_find(stream->locks, at->lock_id);
        if (at->type == OPERATION_PAY)
            proof->transferred.units += at->amount.units + at->fee.units;
        else if (at->type == OPERATION_REFUND)
            proof->transferred.units += at->amount.units;
        else if (at->type == OPERATION_LOCK)
            proof->locked.units += at->amount.units + at->fee.units;
        else if (lock != NULL)
            proof->locked.units -= lock->lock.amount.units;
        if (at->type == OPERATION_UNLOCK && lock != NULL)
            proof->transferred.units += lock->lock.amount.units;
    }
}

/* Into the sender's draft; false, and no draft, where its machine does not take them all. */
static bool draft(struct channel *from, const struct operation *operations, size_t count)
{
    struct channel_view view = view_of(&hub);
    for (size_t i = 0; i < count; i++) {
        if (channel_add(from, &view, &operations[i], NULL) != CODE_OK) {
            channel_drop_draft(from);
            return false;
        }
    }
    return true;
}

/* The sender signs what it took; the receiver takes that. */
static void must_be_taken(struct channel *from, struct channel *to)
{
    static struct pending_lock touched[OPERATIONS_MAX];
    const struct operation *operations;
    size_t count;
    struct update update = update_of(from, seal(from));
    struct channel_view view = view_of(&client);
    ensure(body_decode(decoder, update.body, update.body_length, &operations, &count));
    ensure(channel_receive(to, &view, &update, operations, count, true, touched).verdict == VERDICT_ACCEPTED);
    for (enum side side = SIDE_CLIENT; side <= SIDE_HUB; side++) {
        ensure(channel_balance(from, side) == channel_balance(to, side));
        ensure(channel_available(from, side) == channel_available(to, side));
    }
}

static void judge(uint8_t mode, struct channel *from, struct channel *to, const uint8_t *body, size_t length,
                  const struct operation *operations, size_t count, bool body_ok)
{
    static struct pending_lock touched[OPERATIONS_MAX];
    struct update update = {.channel = to->id, .body = body, .body_length = length};
    update.proof = to->streams[SIDE_CLIENT].proof;
    update.proof.nonce += 1 + (mode >> 1 & 1u);
    update.proof.body_hash = keccak256(body, length);
    bool drafted = body_ok && draft(from, operations, count);
    if (body_ok)
        follow(to, operations, count, &update.proof);
    if (drafted)
        update.proof.locks_root = lock_set_root(channel_own(from)->locks);
    struct hash digest = digest_balance_proof(&domain, &to->id, &update.proof);
    update.signature = key_sign(mode & 4 ? &hub_key : &client_key, &digest);
    struct buffer before = {0}, after = {0};
    dump(to, &before);
    struct channel_view view = view_of(&client);
    struct judgement judgement = channel_receive(to, &view, &update, operations, count, body_ok, touched);
    dump(to, &after);
    if (judgement.verdict != VERDICT_ACCEPTED)
        ensure(before.length == after.length && memcmp(before.data, after.data, before.length) == 0);
    if (judgement.verdict == VERDICT_ACCEPTED) {
        ensure(body_ok && (mode & 6) == 0);
        must_read_back(to, &after);
        ensure(channel_receive(to, &view, &update, operations, count, body_ok, touched).verdict ==
               VERDICT_AGAIN);
    }
    ensure(channel_balance(to, SIDE_CLIENT) + channel_balance(to, SIDE_HUB) == (wide)to->funds.total.units);
    if (drafted && judgement.verdict != VERDICT_ACCEPTED)
        must_be_taken(from, to);
    buffer_free(&before);
    buffer_free(&after);
}

static void must_spell_one_way(const struct operation *operations, size_t count)
{
    static struct decoder *again;
    struct buffer first = {0}, second = {0};
    const struct operation *reread;
    size_t reread_count;
    if (again == NULL)
        again = decoder_new();
    body_encode(&first, operations, count);
    ensure(body_decode(again, first.data, first.length, &reread, &reread_count) && reread_count == count);
    body_encode(&second, reread, reread_count);
    ensure(first.length == second.length && memcmp(first.data, second.data, first.length) == 0);
    size_t most = 0;
    for (size_t i = 0; i < count; i++)
        most += operation_size_max(&operations[i]);
    ensure(first.length <= most + 5);
    buffer_free(&first);
    buffer_free(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (decoder == NULL)
        set_up();
    struct input input = input_of(data, size);
    uint8_t mode = input_u8(&input);
    uint8_t *body = input_copy(input.at, input.left);
    struct channel *from = open_channel(SIDE_CLIENT), *to = open_channel(SIDE_HUB);
    if (mode & 1)
        have_locks(from, to);
    const struct operation *operations = NULL;
    size_t count = 0;
    bool body_ok = body_decode(decoder, body, input.left, &operations, &count);
    if (body_ok)
        must_spell_one_way(operations, count);
    judge(mode, from, to, body, input.left, body_ok ? operations : NULL, body_ok ? count : 0, body_ok);
    channel_free(from);
    channel_free(to);
    free(body);
    return 0;
}
