/* The tower's records (docs/journal.md). On disk: do not renumber.
 *
 *     64 appointment  key: channel id, side u8      value: below
 *     65 cursor       key: one zero byte            value: block u64 to follow from, hash of the one before it
 *     66 watch        key: channel id               value: one zero byte
 *     67 identity     key: one zero byte            value: chain id u64, contract, hub, tower
 *     68 spending     key: one zero byte            value: day u64, wei spent in it u64 high and u64 low
 *
 * An appointment: client 20, asset 20, salt u64, user 20, flags u8 (1 Choice, 2 revocation), proof (nonce u64,
 * transferred u64, locked u64, root 32, body hash 32), its signature 64, [Choice 64], [min nonce u64, signature
 * 64], count u16 of locks (id u64, amount u64, expiry u64, kind u8, condition 32, witness length u8
 * and bytes).
 */
#include "watchtower/tower_state.h"

#include <stdio.h>
#include <string.h>

#include "base/ensure.h"
#include "channel/signed_proof.h"

enum tower_record {
    RECORD_APPOINTMENT = 64,
    RECORD_CURSOR = 65,
    RECORD_WATCH = 66,
    RECORD_IDENTITY = 67,
    RECORD_SPENDING = 68,
};
#define FLAG_CHOICE     1
#define FLAG_REVOCATION 2

static const uint8_t ONLY_KEY[1] = {0};

/* Channel id and side. */
struct appointment_key {
    uint8_t bytes[33];
};

static struct appointment_key appointment_key_of(const struct appointment *appointment)
{
    struct appointment_key key;
    memcpy(key.bytes, appointment->channel.bytes, sizeof appointment->channel.bytes);
    key.bytes[32] = (uint8_t)appointment->side;
    return key;
}

/* ---- writing ---- */

static void write_hash(struct buffer *batch, const struct hash *hash)
{
    buffer_append(batch, hash->bytes, sizeof hash->bytes);
}

static void write_address(struct buffer *batch, const struct address *address)
{
    buffer_append(batch, address->bytes, sizeof address->bytes);
}

static void write_signature(struct buffer *batch, const struct signature *signature)
{
    buffer_append(batch, signature->bytes, sizeof signature->bytes);
}

static void write_lock(struct buffer *batch, const struct held_lock *held)
{
    buffer_u64(batch, held->lock.id);
    buffer_u64(batch, held->lock.amount.units);
    buffer_u64(batch, held->lock.expiry);
    buffer_u8(batch, held->lock.kind);
    write_hash(batch, &held->lock.condition);
    buffer_u8(batch, held->witness.length);
    buffer_append(batch, held->witness.bytes, held->witness.length);
}

void disk_write_appointment(struct buffer *batch, const struct appointment *appointment,
                            const struct address *hub)
{
    const struct appointment_key key = appointment_key_of(appointment);
    size_t mark = record_begin(batch, RECORD_APPOINTMENT, key.bytes, sizeof key.bytes);
    write_address(batch, &appointment->key.client);
    write_address(batch, &appointment->key.asset);
    buffer_u64(batch, appointment->key.salt);
    write_address(batch, appointment_user(appointment, hub));
    buffer_u8(batch, (uint8_t)((appointment->has_choice ? FLAG_CHOICE : 0) |
                               (appointment->revocation != NULL ? FLAG_REVOCATION : 0)));
    buffer_u64(batch, appointment->proof.nonce);
    signed_proof_write(batch, &appointment->proof, &appointment->signature);
    if (appointment->has_choice)
        write_signature(batch, &appointment->choice);
    if (appointment->revocation != NULL) {
        buffer_u64(batch, appointment->revocation->min_nonce);
        write_signature(batch, &appointment->revocation->signature);
    }
    buffer_u16(batch, (uint16_t)appointment->lock_count);
    for (size_t i = 0; i < appointment->lock_count; i++)
        write_lock(batch, &appointment->locks[i]);
    record_end(batch, mark);
}

void disk_write_appointment_gone(struct buffer *batch, const struct appointment *appointment)
{
    const struct appointment_key key = appointment_key_of(appointment);
    record_gone(batch, RECORD_APPOINTMENT, key.bytes, sizeof key.bytes);
}

void disk_write_watch(struct buffer *batch, const struct hash *channel, bool gone)
{
    if (gone)
        record_gone(batch, RECORD_WATCH, channel->bytes, sizeof channel->bytes);
    else
        record_put(batch, RECORD_WATCH, channel->bytes, sizeof channel->bytes, ONLY_KEY, sizeof ONLY_KEY);
}

void disk_write_cursor(struct buffer *batch, const struct tower *tower)
{
    uint8_t value[8 + 32];
    store_be64(value, tower->cursor);
    memcpy(value + 8, tower->cursor_hash.bytes, sizeof tower->cursor_hash.bytes);
    record_put(batch, RECORD_CURSOR, ONLY_KEY, sizeof ONLY_KEY, value, sizeof value);
}

void disk_write_spending(struct buffer *batch, const struct budget *budget)
{
    uint8_t value[24];
    store_be64(value, budget->day);
    store_be64(value + 8, (uint64_t)(budget->spent >> 64));
    store_be64(value + 16, (uint64_t)budget->spent);
    record_put(batch, RECORD_SPENDING, ONLY_KEY, sizeof ONLY_KEY, value, sizeof value);
}

static void identity_value(struct buffer *value, const struct tower *tower)
{
    buffer_u64(value, tower->options.chain_id);
    write_address(value, &tower->options.contract);
    write_address(value, &tower->options.hub);
    write_address(value, &tower->self);
}

void disk_write_identity(struct buffer *batch, const struct tower *tower)
{
    size_t mark = record_begin(batch, RECORD_IDENTITY, ONLY_KEY, sizeof ONLY_KEY);
    identity_value(batch, tower);
    record_end(batch, mark);
}

/* ---- reading ---- */

static void read_lock(struct reader *reader, struct held_lock *held)
{
    held->lock.id = reader_u64(reader);
    held->lock.amount.units = reader_u64(reader);
    held->lock.expiry = reader_u64(reader);
    held->lock.kind = reader_u8(reader);
    reader_copy(reader, held->lock.condition.bytes, 32);
    held->witness.length = reader_u8(reader);
    if (held->witness.length > WITNESS_BYTES_MAX) {
        held->witness.length = 0;
        reader->ok = false;
    }
    reader_copy(reader, held->witness.bytes, held->witness.length);
}

static bool read_locks(struct reader *reader, struct appointment *appointment)
{
    appointment->lock_count = reader_u16(reader);
    if (!reader->ok || appointment->lock_count > LOCKS_PER_STREAM_MAX)
        return false;
    if (appointment->lock_count > 0)
        appointment->locks = xcalloc(appointment->lock_count, sizeof *appointment->locks);
    for (size_t i = 0; i < appointment->lock_count; i++)
        read_lock(reader, &appointment->locks[i]);
    return reader_done(reader);
}

/* NULL if malformed. */
static struct appointment *read_appointment(const struct tower *tower, const struct record *record)
{
    struct reader reader = reader_of(record->value, record->value_length);
    struct appointment *read = xcalloc(1, sizeof *read);
    reader_copy(&reader, read->key.client.bytes, 20);
    reader_copy(&reader, read->key.asset.bytes, 20);
    read->key.salt = reader_u64(&reader);
    struct address user;
    reader_copy(&reader, user.bytes, sizeof user.bytes);
    uint8_t flags = reader_u8(&reader);
    read->proof.nonce = reader_u64(&reader);
    signed_proof_read(&reader, &read->proof, &read->signature);
    read->has_choice = (flags & FLAG_CHOICE) != 0;
    if (read->has_choice)
        reader_copy(&reader, read->choice.bytes, 64);
    if ((flags & FLAG_REVOCATION) != 0) {
        read->revocation = xcalloc(1, sizeof *read->revocation);
        read->revocation->min_nonce = reader_u64(&reader);
        reader_copy(&reader, read->revocation->signature.bytes, 64);
    }
    read->channel = channel_id(&read->key);
    read->side = (enum side)record->key[32];
    if (!read_locks(&reader, read) ||
        address_equal(&user, &read->key.client) != (read->side == SIDE_CLIENT) ||
        memcmp(record->key, read->channel.bytes, sizeof read->channel.bytes) != 0) {
        appointment_free(read);
        return NULL;
    }
    appointment_schedule(read, tower->options.register_margin_s, 0);
    return read;
}

static bool take_appointment(struct tower *tower, const struct record *record)
{
    struct hash channel;
    if (record->key_length != sizeof(struct appointment_key) || record->key[32] > SIDE_HUB)
        return false;
    memcpy(channel.bytes, record->key, sizeof channel.bytes);
    struct appointment *held = desk_find(tower, &channel, (enum side)record->key[32]);
    if (held != NULL)
        desk_remove(tower, held);
    if (record->gone)
        return true;
    struct appointment *read = read_appointment(tower, record);
    if (read == NULL)
        return false;
    desk_insert(tower, read);
    return true;
}

static bool take_watch(struct tower *tower, const struct record *record)
{
    struct hash channel;
    if (record->key_length != sizeof channel.bytes)
        return false;
    memcpy(channel.bytes, record->key, sizeof channel.bytes);
    struct watch *watch = watch_find(tower, &channel);
    if (record->gone && watch != NULL)
        watch_remove(tower, watch);
    else if (!record->gone && watch == NULL)
        watch_insert(tower, &channel)->recorded = true;
    return true;
}

static bool take_identity(struct tower *tower, const struct record *record)
{
    struct buffer mine = {0};
    identity_value(&mine, tower);
    tower->has_identity = true;
    tower->foreign =
        record->value_length != mine.length || memcmp(record->value, mine.data, mine.length) != 0;
    buffer_free(&mine);
    return true;
}

static bool take_cursor(struct tower *tower, const struct record *record)
{
    struct reader reader = reader_of(record->value, record->value_length);
    if (record->gone)
        return false;
    tower->cursor = reader_u64(&reader);
    tower->cursor_hash = HASH_ZERO;
    if (record->value_length > 8) /* older journals do without */
        reader_copy(&reader, tower->cursor_hash.bytes, sizeof tower->cursor_hash.bytes);
    if (!reader_done(&reader))
        return false;
    tower->has_cursor = true;
    return true;
}

static bool take_spending(struct tower *tower, const struct record *record)
{
    if (record->gone || record->value_length != 24)
        return false;
    tower->budget.day = load_be64(record->value);
    tower->budget.spent = (unsigned_wide)load_be64(record->value + 8) << 64 | load_be64(record->value + 16);
    return true;
}

bool tower_read(struct tower *tower, const struct record *record)
{
    switch (record->type) {
    case RECORD_APPOINTMENT:
        return take_appointment(tower, record);
    case RECORD_WATCH:
        return take_watch(tower, record);
    case RECORD_IDENTITY:
        return take_identity(tower, record);
    case RECORD_CURSOR:
        return take_cursor(tower, record);
    case RECORD_SPENDING:
        return take_spending(tower, record);
    }
    return false;
}

static bool appointment_is_whole(const struct appointment *appointment)
{
    wide sum = 0;
    for (size_t i = 0; i < appointment->lock_count; i++)
        sum += appointment->locks[i].lock.amount.units;
    if (sum != (wide)appointment->proof.locked.units)
        return false;
    if (appointment->lock_count == 0)
        return hash_is_zero(&appointment->proof.locks_root);
    struct lock_set *tree = appointment_tree(appointment);
    bool whole = tree != NULL;
    lock_set_free(tree);
    return whole;
}

bool tower_recovered(struct tower *tower, char *message, size_t message_size)
{
    if (tower->has_identity != tower->has_cursor ||
        (!tower->has_identity && (tower->appointments.count > 0 || tower->watches != NULL))) {
        snprintf(message, message_size, "the journal does not say whose it is: it is damaged");
        return false;
    }
    if (tower->foreign) {
        snprintf(message, message_size,
                 "the journal belongs to another chain, contract, hub or tower key: use another folder");
        return false;
    }
    size_t at = 0;
    const struct appointment *each;
    while ((each = desk_each(tower, &at)) != NULL)
        if (!appointment_is_whole(each)) {
            char text[HASH_TEXT_SIZE];
            snprintf(message, message_size, "the journal's appointment for channel %s is damaged",
                     hash_text(&each->channel, text));
            return false;
        }
    struct watch *watch, *next;
    HASH_ITER(hh, tower->watches, watch, next)
    {
        if (desk_serves(tower, &watch->channel))
            watch_look_soon(tower, watch);
        else
            watch_remove(tower, watch);
    }
    return true;
}
