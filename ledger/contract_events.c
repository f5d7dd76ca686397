/* Events, both directions, from one table: each event is a row of fields in the interface's order, each field
 * a type and a place in struct contract_event. Indexed fields are topics, the others words of the data. */
#include <pthread.h>
#include <string.h>

#include "base/ensure.h"
#include "crypto/hash.h"
#include "ledger/contract_parts.h"

enum field_type {
    FIELD_END,
    FIELD_HASH,
    FIELD_ADDRESS,
    FIELD_U64,
    FIELD_U32,
    FIELD_U8,
    FIELD_BOOL,
    FIELD_AMOUNT,
    FIELD_WIDE,    /* uint128 */
    FIELD_WIDE256, /* uint256 that must fit 128 bits */
    FIELD_CLAIM,
    FIELD_SYMBOL
};

#define FIELDS_MAX 8
#define CLAIM      "(uint64,uint64,uint64,bytes32)"
#define PLAIN(type, member)                                                                                  \
    {                                                                                                        \
        FIELD_##type, false, offsetof(struct contract_event, member)                                         \
    }
#define INDEXED(type, member)                                                                                \
    {                                                                                                        \
        FIELD_##type, true, offsetof(struct contract_event, member)                                          \
    }

struct field {
    enum field_type type;
    bool indexed;
    size_t offset;
};

static const struct event_row {
    const char *name;
    const char *signature;
    struct field fields[FIELDS_MAX];
} rows[EVENT_TYPE_COUNT] = {
    [EVENT_ASSET_LISTED] = {"AssetListed",
                            "AssetListed(address,uint128)",
                            {INDEXED(ADDRESS, address), PLAIN(WIDE, wide_amount)}},
    [EVENT_POOL_DEPOSITED] = {"PoolDeposited",
                              "PoolDeposited(address,address,uint64)",
                              {INDEXED(ADDRESS, address), INDEXED(ADDRESS, other), PLAIN(AMOUNT, amount)}},
    [EVENT_POOL_WITHDRAWN] = {"PoolWithdrawn",
                              "PoolWithdrawn(address,address,uint64)",
                              {INDEXED(ADDRESS, address), INDEXED(ADDRESS, other), PLAIN(AMOUNT, amount)}},
    [EVENT_OPENED] = {"Opened",
                      "Opened(bytes32,address,address,uint64)",
                      {INDEXED(HASH, channel), INDEXED(ADDRESS, address), INDEXED(ADDRESS, other),
                       PLAIN(U64, salt)}},
    [EVENT_FUNDED] = {"Funded",
                      "Funded(bytes32,uint64,uint64)",
                      {INDEXED(HASH, channel), PLAIN(AMOUNT, client_amount), PLAIN(AMOUNT, hub_amount)}},
    [EVENT_SETTLED] = {"Settled",
                       "Settled(bytes32,uint32,uint64,uint64,bool)",
                       {INDEXED(HASH, channel), PLAIN(U32, seq), PLAIN(AMOUNT, client_out),
                        PLAIN(AMOUNT, hub_out), PLAIN(BOOL, close)}},
    [EVENT_SETTLE_SKIPPED] = {"SettleSkipped",
                              "SettleSkipped(bytes32,bool,uint8)",
                              {INDEXED(HASH, channel), PLAIN(BOOL, is_fund), PLAIN(U8, reason)}},
    [EVENT_BATCH_SETTLED] = {"BatchSettled",
                             "BatchSettled(uint64,bytes32)",
                             {INDEXED(U64, batch), PLAIN(HASH, root)}},
    [EVENT_CLOSE_STARTED] = {"CloseStarted",
                             "CloseStarted(bytes32,bool,uint64," CLAIM "," CLAIM ")",
                             {INDEXED(HASH, channel), PLAIN(BOOL, by_hub), PLAIN(U64, deadline),
                              PLAIN(CLAIM, of_client_claim), PLAIN(CLAIM, of_hub_claim)}},
    [EVENT_CHALLENGED] = {"Challenged",
                          "Challenged(bytes32,address,bool," CLAIM ",bool)",
                          {INDEXED(HASH, channel), INDEXED(ADDRESS, address), PLAIN(BOOL, by_partner),
                           PLAIN(CLAIM, proof), PLAIN(BOOL, is_fraud)}},
    [EVENT_LOCKS_VOIDED] = {"LocksVoided",
                            "LocksVoided(bytes32,bool,uint64)",
                            {INDEXED(HASH, channel), PLAIN(BOOL, of_client), PLAIN(U64, min_nonce)}},
    [EVENT_TOWER_SET] = {"TowerSet",
                         "TowerSet(address,bool)",
                         {INDEXED(ADDRESS, address), PLAIN(BOOL, allowed)}},
    [EVENT_FINISHED] = {"Finished",
                        "Finished(bytes32,uint64,uint64,uint64,uint64,uint64,uint64)",
                        {INDEXED(HASH, channel), PLAIN(AMOUNT, to_client), PLAIN(AMOUNT, to_hub),
                         PLAIN(AMOUNT, held_client), PLAIN(AMOUNT, held_hub), PLAIN(AMOUNT, penalty),
                         PLAIN(AMOUNT, bounty)}},
    [EVENT_CONDITION_MET] = {"ConditionMet",
                             "ConditionMet(uint8,bytes32,bytes32)",
                             {INDEXED(U8, kind), INDEXED(HASH, condition), PLAIN(HASH, witness)}},
    [EVENT_UNLOCKED] = {"Unlocked",
                        "Unlocked(bytes32,bool,uint64,uint64,bool)",
                        {INDEXED(HASH, channel), PLAIN(BOOL, of_client), PLAIN(U64, lock_id),
                         PLAIN(AMOUNT, amount), PLAIN(BOOL, to_receiver)}},
    [EVENT_OWED_RECORDED] = {"OwedRecorded",
                             "OwedRecorded(address,address,uint64)",
                             {INDEXED(ADDRESS, address), INDEXED(ADDRESS, other), PLAIN(AMOUNT, amount)}},
    [EVENT_OWED_WITHDRAWN] = {"OwedWithdrawn",
                              "OwedWithdrawn(address,address,address,uint128)",
                              {INDEXED(ADDRESS, address), INDEXED(ADDRESS, other), PLAIN(ADDRESS, third),
                               PLAIN(WIDE, wide_amount)}},
    [EVENT_TOKEN_CREATED] = {"TokenCreated",
                             "TokenCreated(address,address,string,uint8,uint256)",
                             {INDEXED(ADDRESS, address), INDEXED(ADDRESS, other), PLAIN(SYMBOL, symbol),
                              PLAIN(U8, decimals), PLAIN(WIDE256, wide_amount)}},
};

static struct hash topics_of_types[EVENT_TYPE_COUNT];
static pthread_once_t topics_once = PTHREAD_ONCE_INIT;

static void topics_compute(void)
{
    for (size_t i = 0; i < EVENT_TYPE_COUNT; i++)
        topics_of_types[i] = keccak256(rows[i].signature, strlen(rows[i].signature));
}

const char *contract_event_signature(enum contract_event_type type)
{
    ensure(type < EVENT_TYPE_COUNT);
    return rows[type].signature;
}

const char *contract_event_name(enum contract_event_type type)
{
    ensure(type < EVENT_TYPE_COUNT);
    return rows[type].name;
}

struct hash contract_event_topic(enum contract_event_type type)
{
    ensure(type < EVENT_TYPE_COUNT);
    pthread_once(&topics_once, topics_compute);
    return topics_of_types[type];
}

/* Words that a field takes in the tuple's head. */
static size_t field_words(enum field_type type)
{
    return type == FIELD_CLAIM ? CLAIM_WORDS : 1;
}

static bool symbol_is_valid(const uint8_t *text, size_t length)
{
    return length < sizeof(((struct contract_event *)NULL)->symbol) && utf8_is_valid(text, length);
}

/* Reads one field from its topic or from the data into its member. */
static void field_read(struct abi_reader *reader, enum field_type type, void *member)
{
    switch (type) {
    case FIELD_END:
        return;
    case FIELD_HASH:
        *(struct hash *)member = abi_hash(reader);
        return;
    case FIELD_ADDRESS:
        *(struct address *)member = abi_address(reader);
        return;
    case FIELD_U64:
        *(uint64_t *)member = abi_u64(reader);
        return;
    case FIELD_U32:
        *(uint32_t *)member = abi_u32(reader);
        return;
    case FIELD_U8:
        *(uint8_t *)member = abi_u8(reader);
        return;
    case FIELD_BOOL:
        *(bool *)member = abi_bool(reader);
        return;
    case FIELD_AMOUNT:
        *(struct amount *)member = abi_amount(reader);
        return;
    case FIELD_WIDE:
    case FIELD_WIDE256:
        *(unsigned_wide *)member = abi_wide(reader);
        return;
    case FIELD_CLAIM:
        *(struct claim *)member = get_claim(reader);
        return;
    case FIELD_SYMBOL: {
        size_t length;
        const uint8_t *text = abi_bytes(reader, &length);
        if (text == NULL || !symbol_is_valid(text, length)) {
            reader->ok = false;
            return;
        }
        memcpy(member, text, length);
        ((char *)member)[length] = '\0';
        return;
    }
    }
}

static void field_write(struct buffer *out, enum field_type type, const void *member, size_t tail)
{
    switch (type) {
    case FIELD_END:
        return;
    case FIELD_HASH:
        abi_put_hash(out, member);
        return;
    case FIELD_ADDRESS:
        abi_put_address(out, member);
        return;
    case FIELD_U64:
        abi_put_u64(out, *(const uint64_t *)member);
        return;
    case FIELD_U32:
        abi_put_wide(out, *(const uint32_t *)member);
        return;
    case FIELD_U8:
        abi_put_wide(out, *(const uint8_t *)member);
        return;
    case FIELD_BOOL:
        abi_put_bool(out, *(const bool *)member);
        return;
    case FIELD_AMOUNT:
        abi_put_amount(out, *(const struct amount *)member);
        return;
    case FIELD_WIDE:
    case FIELD_WIDE256:
        abi_put_wide(out, *(const unsigned_wide *)member);
        return;
    case FIELD_CLAIM:
        put_claim(out, member);
        return;
    case FIELD_SYMBOL:
        abi_put_u64(out, tail); /* the text itself follows the head */
        return;
    }
}

/* The fields are read into a copy: a malformed log leaves *out as it was. */
static bool decode_fields(const struct event_row *row, const struct contract_log *log,
                          struct contract_event *event)
{
    size_t head_words = 0, topic = 1;
    for (const struct field *field = row->fields; field->type != FIELD_END; field++)
        head_words += field->indexed ? 0 : field_words(field->type);
    struct abi_reader data = abi_reader_of(log->data, log->data_length, head_words * ABI_WORD);
    for (const struct field *field = row->fields; field->type != FIELD_END; field++) {
        void *member = (uint8_t *)event + field->offset;
        if (!field->indexed) {
            field_read(&data, field->type, member);
            continue;
        }
        if (topic >= log->topic_count)
            return false;
        struct abi_reader word = abi_reader_of(log->topics[topic++].bytes, ABI_WORD, ABI_WORD);
        field_read(&word, field->type, member);
        if (!word.ok)
            return false;
    }
    return data.ok && topic == log->topic_count;
}

bool contract_decode_event(const struct contract_log *log, struct contract_event *out)
{
    if (log->topic_count == 0 || log->topic_count > ARRAY_LENGTH(log->topics))
        return false;
    for (int i = 0; i < EVENT_TYPE_COUNT; i++) {
        struct hash topic = contract_event_topic((enum contract_event_type)i);
        if (!hash_equal(&topic, &log->topics[0]))
            continue;
        struct contract_event event = *out;
        event.type = (enum contract_event_type)i;
        if (!decode_fields(&rows[i], log, &event))
            return false;
        *out = event;
        return true;
    }
    return false;
}

void contract_encode_event(const struct contract_event *event, struct hash topics[4], size_t *topic_count,
                           struct buffer *data)
{
    const struct event_row *row = &rows[event->type];
    size_t head_words = 0;
    for (const struct field *field = row->fields; field->type != FIELD_END; field++)
        head_words += field->indexed ? 0 : field_words(field->type);

    topics[0] = contract_event_topic(event->type);
    size_t topic = 1;
    const char *text = NULL;
    struct buffer word = {0};
    for (const struct field *field = row->fields; field->type != FIELD_END; field++) {
        const void *member = (const uint8_t *)event + field->offset;
        if (!field->indexed) {
            field_write(data, field->type, member, head_words * ABI_WORD);
            text = field->type == FIELD_SYMBOL ? member : text;
            continue;
        }
        buffer_clear(&word);
        field_write(&word, field->type, member, 0);
        ensure(topic < 4 && word.length == ABI_WORD);
        memcpy(topics[topic++].bytes, word.data, ABI_WORD);
    }
    buffer_free(&word);
    *topic_count = topic;
    if (text != NULL)
        abi_put_bytes(data, text, strnlen(text, sizeof(event->symbol) - 1));
}
