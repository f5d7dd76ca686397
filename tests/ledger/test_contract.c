/* The codec of IRillHub.sol: everything survives encode and decode, and nothing malformed gets through. That
 * selectors and topics are the interface's is shown by the vectors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ledger/abi.h"
#include "ledger/contract.h"

/* A small generator, seeded: the same values each run. */
static uint64_t random_state = 0x9e3779b97f4a7c15u;

static uint64_t random_u64(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static void random_fill(void *out, size_t length)
{
    for (size_t i = 0; i < length; i++)
        ((uint8_t *)out)[i] = (uint8_t)random_u64();
}

static struct channel_key random_key(void)
{
    struct channel_key key;
    random_fill(&key.client, sizeof(key.client));
    random_fill(&key.asset, sizeof(key.asset));
    key.salt = random_u64();
    return key;
}

static struct claim random_claim(void)
{
    struct claim claim = {.nonce = random_u64(), .transferred = {random_u64()}, .locked = {random_u64()}};
    random_fill(&claim.locks_root, sizeof(claim.locks_root));
    return claim;
}

/* A call with every field filled; an encoder takes those its function names. */
static struct contract_call random_call(enum contract_function function)
{
    struct contract_call call = {.function = function, .key = random_key()};
    random_fill(&call.address, sizeof(call.address));
    random_fill(&call.to, sizeof(call.to));
    call.unit = (unsigned_wide)random_u64() << 64 | random_u64();
    call.amount = amount_of(random_u64());
    call.flag = random_u64() & 1;
    call.kind = (uint8_t)random_u64();
    random_fill(&call.hash, sizeof(call.hash));
    call.min_nonce = random_u64();
    call.proof = (struct balance_proof){
        .nonce = random_u64(), .transferred = {random_u64()}, .locked = {random_u64()}};
    random_fill(&call.proof.locks_root, sizeof(struct hash));
    random_fill(&call.proof.body_hash, sizeof(struct hash));
    random_fill(&call.signature, sizeof(call.signature));
    random_fill(&call.choice, sizeof(call.choice));
    call.own = random_claim();
    call.lock =
        (struct lock){.id = random_u64(), .amount = {random_u64()}, .expiry = random_u64(), .kind = 1};
    random_fill(&call.lock.condition, sizeof(struct hash));
    return call;
}

/* Arrays for the functions that take any; they live as long as the test. */
static void random_arrays(struct contract_call *call, struct settle_item *items, struct fund *funds,
                          struct hash *merkle, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        items[i] = (struct settle_item){.key = random_key(),
                                        .client_out = {random_u64()},
                                        .hub_out = {random_u64()},
                                        .deadline = random_u64(),
                                        .close = random_u64() & 1};
        random_fill(&items[i].signature, sizeof(items[i].signature));
        funds[i] = (struct fund){.key = random_key(), .amount = {random_u64()}};
        random_fill(&merkle[i], sizeof(merkle[i]));
    }
    call->items = items;
    call->funds = funds;
    call->merkle = merkle;
    if (call->function == CONTRACT_SETTLE_BATCH) {
        call->item_count = count;
        call->fund_count = count / 2;
    }
    if (call->function == CONTRACT_UNLOCK)
        call->merkle_count = count;
}

static void calls_round_trip(void **state)
{
    (void)state;
    struct settle_item items[5];
    struct fund funds[5];
    struct hash merkle[5];
    for (int f = 0; f < CONTRACT_FUNCTION_COUNT; f++)
        for (size_t count = 0; count <= 5; count++) {
            struct contract_call call = random_call((enum contract_function)f), back;
            random_arrays(&call, items, funds, merkle, count);
            struct buffer data = {0}, again = {0};
            contract_encode_call(&data, &call);
            assert_true(contract_decode_call(data.data, data.length, &back));
            assert_int_equal(back.function, f);
            assert_int_equal(back.item_count, call.item_count);
            assert_int_equal(back.fund_count, call.fund_count);
            assert_int_equal(back.merkle_count, call.merkle_count);
            contract_encode_call(&again, &back);
            assert_int_equal(again.length, data.length);
            assert_memory_equal(again.data, data.data, data.length);
            contract_call_free(&back);
            buffer_free(&data);
            buffer_free(&again);
        }
}

/* Whatever is decoded from bytes that were changed encodes to exactly those bytes: there is nothing that the
 * decoder overlooks. Offsets are the exception: Solidity lets them point anywhere inside. */
static void calls_changed_are_seen(void **state)
{
    (void)state;
    struct settle_item items[3];
    struct fund funds[3];
    struct hash merkle[3];
    for (int f = 0; f < CONTRACT_FUNCTION_COUNT; f++) {
        struct contract_call call = random_call((enum contract_function)f), back;
        random_arrays(&call, items, funds, merkle, 3);
        bool has_offsets = f == CONTRACT_SETTLE_BATCH || f == CONTRACT_UNLOCK;
        struct buffer data = {0}, again = {0};
        contract_encode_call(&data, &call);
        for (size_t i = 4; i < data.length; i++) {
            uint8_t before = data.data[i];
            data.data[i] ^= (uint8_t)(1 + random_u64() % 255);
            if (contract_decode_call(data.data, data.length, &back)) {
                buffer_clear(&again);
                contract_encode_call(&again, &back);
                if (!has_offsets) {
                    assert_int_equal(again.length, data.length);
                    assert_memory_equal(again.data, data.data, data.length);
                }
                contract_call_free(&back);
            }
            data.data[i] = before;
        }
        /* Too short by anything is malformed, longer is not. */
        for (size_t length = 0; length < data.length; length++) {
            uint8_t *exact = malloc(length + 1);
            memcpy(exact, data.data, length);
            assert_false(contract_decode_call(exact, length, &back));
            free(exact);
        }
        buffer_append(&data, "trailing", 8);
        assert_true(contract_decode_call(data.data, data.length, &back));
        contract_call_free(&back);
        buffer_free(&data);
        buffer_free(&again);
    }
}

static void word_set(struct buffer *data, size_t word, unsigned_wide high, unsigned_wide low)
{
    uint256_store(data->data + 4 + word * ABI_WORD, (struct uint256){high, low});
}

static void array_bounds_are_kept(void **state)
{
    (void)state;
    struct settle_item items[2];
    struct fund funds[2];
    struct hash merkle[2];
    struct contract_call call = random_call(CONTRACT_SETTLE_BATCH), back;
    random_arrays(&call, items, funds, merkle, 2);
    struct buffer data = {0};
    contract_encode_call(&data, &call);
    const struct {
        size_t word;
        unsigned_wide high, low;
    } bad[] = {
        {0, 0, (unsigned_wide)1 << 64},    /* offset above uint64 */
        {0, 1, 0},                         /* above 2^128 */
        {0, 0, UINT64_MAX},                /* outside the data */
        {0, 0, data.length - 4},           /* at its very end: no room for a length */
        {0, 0, data.length - 4 - 31},      /* one byte short of a word */
        {1, 0, UINT64_MAX - 31},           /* would wrap */
        {3, 0, 3 + 1000},                  /* more items than there are */
        {3, 0, UINT64_MAX},                /* times the stride would wrap */
        {3, 0, UINT64_MAX / (9 * 32) + 2}, /* wraps to a small product */
        {3, ~(unsigned_wide)0, ~(unsigned_wide)0},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        uint8_t before[ABI_WORD];
        memcpy(before, data.data + 4 + bad[i].word * ABI_WORD, ABI_WORD);
        word_set(&data, bad[i].word, bad[i].high, bad[i].low);
        assert_false(contract_decode_call(data.data, data.length, &back));
        memcpy(data.data + 4 + bad[i].word * ABI_WORD, before, ABI_WORD);
    }
    assert_true(contract_decode_call(data.data, data.length, &back));
    contract_call_free(&back);

    /* More than SETTLE_ITEMS_MAX are refused although the data is all there. */
    struct settle_item *many = calloc(SETTLE_ITEMS_MAX + 1, sizeof(*many));
    call.items = many;
    call.item_count = SETTLE_ITEMS_MAX + 1;
    call.fund_count = 0;
    buffer_clear(&data);
    contract_encode_call(&data, &call);
    assert_false(contract_decode_call(data.data, data.length, &back));
    call.item_count = SETTLE_ITEMS_MAX;
    buffer_clear(&data);
    contract_encode_call(&data, &call);
    assert_true(contract_decode_call(data.data, data.length, &back));
    contract_call_free(&back);
    free(many);
    buffer_free(&data);
}

static void unknown_selectors_are_refused(void **state)
{
    (void)state;
    struct contract_call back;
    uint8_t data[64] = {0};
    assert_false(contract_decode_call(data, sizeof(data), &back));
    assert_false(contract_decode_call(data, 3, &back));
    assert_false(contract_decode_call(NULL, 0, &back));
    for (int a = 0; a < CONTRACT_FUNCTION_COUNT; a++)
        for (int b = 0; b < a; b++)
            assert_int_not_equal(contract_selector((enum contract_function)a),
                                 contract_selector((enum contract_function)b));
}

static void results_round_trip(void **state)
{
    (void)state;
    const int64_t bases[] = {0, 1, -1, INT64_MAX, INT64_MIN, -17};
    for (size_t i = 0; i < ARRAY_LENGTH(bases); i++) {
        struct channel_state channel = {{random_u64()},
                                        bases[i],
                                        (uint32_t)random_u64(),
                                        (uint8_t)random_u64()},
                             back;
        struct buffer data = {0};
        contract_encode_channel(&data, &channel);
        assert_true(contract_decode_channel(data.data, data.length, &back));
        assert_true(back.total.units == channel.total.units && back.base == channel.base &&
                    back.seq == channel.seq && back.status == channel.status);
        assert_false(contract_decode_channel(data.data, data.length - 1, &back));
        data.data[ABI_WORD] ^= 0x40; /* sign extension broken */
        assert_false(contract_decode_channel(data.data, data.length, &back));
        buffer_free(&data);
    }
    struct closing closing = {.by_hub = true,
                              .fraud = true,
                              .deadline = random_u64(),
                              .min_nonce_of_client = random_u64(),
                              .min_nonce_of_hub = random_u64(),
                              .own = random_claim(),
                              .of_client = random_claim(),
                              .of_hub = random_claim()},
                   back;
    random_fill(&closing.tower, sizeof(closing.tower));
    struct buffer data = {0}, again = {0};
    contract_encode_closing(&data, &closing);
    assert_true(contract_decode_closing(data.data, data.length, &back));
    contract_encode_closing(&again, &back);
    assert_memory_equal(again.data, data.data, data.length);
    data.data[ABI_WORD - 1] = 2; /* a bool */
    assert_false(contract_decode_closing(data.data, data.length, &back));
    buffer_free(&data);
    buffer_free(&again);
}

static void words_are_read_by_index(void **state)
{
    (void)state;
    struct buffer data = {0};
    unsigned_wide value = (unsigned_wide)random_u64() << 64 | 7, got;
    struct address address, back;
    random_fill(&address, sizeof(address));
    contract_encode_word(&data, value);
    abi_put_address(&data, &address);
    assert_true(contract_decode_word(data.data, data.length, 0, &got) && got == value);
    assert_true(contract_decode_address(data.data, data.length, 1, &back) && address_equal(&back, &address));
    assert_false(contract_decode_word(data.data, data.length, 2, &got));
    assert_false(contract_decode_word(data.data, data.length, SIZE_MAX, &got));
    assert_false(contract_decode_word(data.data, ABI_WORD - 1, 0, &got));
    data.data[ABI_WORD - 21] = 1; /* wider than an address */
    assert_false(contract_decode_address(data.data, data.length, 0, &back));
    data.data[0] = 1;
    assert_false(contract_decode_word(data.data, data.length, 0, &got));
    buffer_free(&data);
}

static struct contract_event random_event(enum contract_event_type type)
{
    struct contract_event event;
    memset(&event, 0, sizeof(event));
    event.type = type;
    random_fill(&event.channel, sizeof(struct hash));
    random_fill(&event.address, sizeof(struct address));
    random_fill(&event.other, sizeof(struct address));
    random_fill(&event.third, sizeof(struct address));
    event.salt = random_u64();
    event.amount = amount_of(random_u64());
    event.wide_amount = (unsigned_wide)random_u64() << 64 | random_u64();
    event.client_amount = amount_of(random_u64());
    event.hub_amount = amount_of(random_u64());
    event.seq = (uint32_t)random_u64();
    event.client_out = amount_of(random_u64());
    event.hub_out = amount_of(random_u64());
    event.close = event.is_fund = event.by_partner = event.of_client = event.to_receiver = random_u64() & 1;
    event.by_hub = event.is_fraud = event.allowed = random_u64() & 1;
    event.reason = (uint8_t)random_u64();
    event.batch = random_u64();
    random_fill(&event.root, sizeof(struct hash));
    event.deadline = random_u64();
    event.min_nonce = random_u64();
    event.lock_id = random_u64();
    event.of_client_claim = random_claim();
    event.of_hub_claim = random_claim();
    event.proof = random_claim();
    event.to_client = amount_of(random_u64());
    event.to_hub = amount_of(random_u64());
    event.held_client = amount_of(random_u64());
    event.held_hub = amount_of(random_u64());
    event.penalty = amount_of(random_u64());
    event.bounty = amount_of(random_u64());
    event.kind = (uint8_t)random_u64();
    random_fill(&event.condition, sizeof(struct hash));
    random_fill(&event.witness, sizeof(struct hash));
    strcpy(event.symbol, "COOP-€");
    event.decimals = (uint8_t)random_u64();
    return event;
}

static struct contract_log log_of(const struct contract_event *event, struct buffer *data)
{
    struct contract_log log = {.topic_count = 0};
    contract_encode_event(event, log.topics, &log.topic_count, data);
    log.data = data->data;
    log.data_length = data->length;
    return log;
}

static void events_round_trip(void **state)
{
    (void)state;
    for (int t = 0; t < EVENT_TYPE_COUNT; t++) {
        struct contract_event event = random_event((enum contract_event_type)t), back;
        struct buffer data = {0}, again = {0};
        struct contract_log log = log_of(&event, &data);
        memset(&back, 0, sizeof(back));
        back.block = 77;
        back.log_index = 5;
        assert_true(contract_decode_event(&log, &back));
        assert_int_equal(back.type, t);
        assert_true(back.block == 77 && back.log_index == 5 && !back.confirmed);
        struct contract_log other = log_of(&back, &again);
        assert_int_equal(other.topic_count, log.topic_count);
        assert_memory_equal(other.topics, log.topics, log.topic_count * sizeof(struct hash));
        assert_int_equal(again.length, data.length);
        if (data.length > 0)
            assert_memory_equal(again.data, data.data, data.length);
        buffer_free(&data);
        buffer_free(&again);
    }
}

static void events_malformed_are_refused(void **state)
{
    (void)state;
    for (int t = 0; t < EVENT_TYPE_COUNT; t++) {
        struct contract_event event = random_event((enum contract_event_type)t), back, untouched;
        struct buffer data = {0};
        struct contract_log log = log_of(&event, &data);
        memset(&back, 0x5a, sizeof(back));
        untouched = back;
        for (size_t length = 0; length < data.length; length++) {
            log.data_length = length;
            if (t == EVENT_TOKEN_CREATED && length + ABI_WORD >= data.length + 8)
                continue; /* the text's padding may be cut, as in Solidity */
            assert_false(contract_decode_event(&log, &back));
        }
        log.data_length = data.length;
        size_t topics = log.topic_count;
        log.topic_count = topics - 1;
        assert_false(contract_decode_event(&log, &back));
        log.topic_count = topics + 1;
        assert_false(contract_decode_event(&log, &back));
        log.topic_count = topics;
        log.topics[0].bytes[31] ^= 1;
        assert_false(contract_decode_event(&log, &back));
        assert_memory_equal(&back, &untouched, sizeof(back));
        buffer_free(&data);
    }
    /* Dirty padding in a topic, and a symbol that does not fit. */
    struct contract_event event = random_event(EVENT_TOWER_SET), back = {0};
    struct buffer data = {0};
    struct contract_log log = log_of(&event, &data);
    log.topics[1].bytes[0] = 1;
    assert_false(contract_decode_event(&log, &back));
    buffer_clear(&data);
    event = random_event(EVENT_TOKEN_CREATED);
    log = log_of(&event, &data);
    data.data[3 * ABI_WORD + ABI_WORD - 1] = 32;
    assert_false(contract_decode_event(&log, &back));
    data.data[3 * ABI_WORD + ABI_WORD - 1] = 8;
    data.data[4 * ABI_WORD] = 0xff; /* not UTF-8 */
    assert_false(contract_decode_event(&log, &back));
    buffer_free(&data);
}

static void errors_round_trip(void **state)
{
    (void)state;
    uint8_t status;
    for (int e = CONTRACT_UNNAMED; e < CONTRACT_ERROR_COUNT; e++) {
        struct buffer data = {0};
        contract_encode_error(&data, (enum contract_error)e, 3);
        assert_int_equal(contract_decode_error(data.data, data.length, &status), e);
        assert_int_equal(status, e == CONTRACT_BAD_STATUS ? 3 : 0);
        assert_int_equal(contract_decode_error(data.data, data.length, NULL), e);
        buffer_free(&data);
        assert_non_null(contract_error_name((enum contract_error)e));
    }
    struct buffer data = {0};
    contract_encode_error(&data, CONTRACT_BAD_STATUS, 2);
    assert_int_equal(contract_decode_error(data.data, data.length - 1, &status), CONTRACT_UNNAMED);
    data.data[4] = 1;
    assert_int_equal(contract_decode_error(data.data, data.length, &status), CONTRACT_UNNAMED);
    assert_int_equal(contract_decode_error((const uint8_t *)"\x08\xc3\x79\xa0", 4, &status),
                     CONTRACT_UNNAMED);
    assert_int_equal(contract_decode_error(NULL, 0, &status), CONTRACT_UNNAMED);
    buffer_free(&data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_round_trip),      cmocka_unit_test(calls_changed_are_seen),
        cmocka_unit_test(array_bounds_are_kept), cmocka_unit_test(unknown_selectors_are_refused),
        cmocka_unit_test(results_round_trip),    cmocka_unit_test(words_are_read_by_index),
        cmocka_unit_test(events_round_trip),     cmocka_unit_test(events_malformed_are_refused),
        cmocka_unit_test(errors_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
