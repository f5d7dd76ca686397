/* What ledger/ can check in a vector file: the ABI of the contract and of tokens, transactions, and what a
 * close pays. */
#include "tests/vectors/vectors.h"

#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "crypto/key.h"
#include "ledger/contract.h"
#include "ledger/embedded/closing.h"
#include "ledger/erc20.h"
#include "ledger/transaction.h"
#include "tests/support/json_aid.h"

const char *const section_ledger_keys[] = {"abi",  "calldata",     "results",  "reverts",
                                           "logs", "transactions", "closings", NULL};

#define assert_bytes_equal(a, b) assert_memory_equal((a).bytes, (b).bytes, sizeof((a).bytes))

/* ---- values ---- */

/* A decimal string that may pass 64 bits. */
static unsigned_wide wide_of(const json_t *value)
{
    const char *text = json_string_value(value);
    if (text == NULL)
        return json_aid_u64_of(value);
    unsigned_wide number = 0;
    for (; *text != '\0'; text++) {
        assert_true(*text >= '0' && *text <= '9' && number < (~(unsigned_wide)0 - 9) / 10);
        number = number * 10 + (unsigned)(*text - '0');
    }
    return number;
}

static const json_t *at(const json_t *array, size_t index)
{
    const json_t *value = json_array_get(array, index);
    assert_non_null(value);
    return value;
}

static uint64_t u64_at(const json_t *array, size_t index)
{
    return json_aid_u64_of(at(array, index));
}

static bool bool_at(const json_t *array, size_t index)
{
    assert_true(json_is_boolean(at(array, index)));
    return json_is_true(at(array, index));
}

static struct address address_at(const json_t *array, size_t index)
{
    struct address address;
    json_aid_bytes_of(at(array, index), address.bytes, sizeof(address.bytes));
    return address;
}

static struct hash hash_at(const json_t *array, size_t index)
{
    struct hash hash;
    json_aid_bytes_of(at(array, index), hash.bytes, sizeof(hash.bytes));
    return hash;
}

/* r and vs, two members. */
static struct signature signature_at(const json_t *array, size_t index)
{
    struct signature signature;
    json_aid_bytes_of(at(array, index), signature.bytes, 32);
    json_aid_bytes_of(at(array, index + 1), signature.bytes + 32, 32);
    return signature;
}

static struct channel_key key_at(const json_t *array, size_t index)
{
    const json_t *key = at(array, index);
    return (struct channel_key){address_at(key, 0), address_at(key, 1), u64_at(key, 2)};
}

static struct claim claim_of(const json_t *claim)
{
    return (struct claim){u64_at(claim, 0), {u64_at(claim, 1)}, {u64_at(claim, 2)}, hash_at(claim, 3)};
}

static struct balance_proof proof_of(const json_t *proof)
{
    return (struct balance_proof){
        u64_at(proof, 0), {u64_at(proof, 1)}, {u64_at(proof, 2)}, hash_at(proof, 3), hash_at(proof, 4)};
}

static struct lock lock_of(const json_t *lock)
{
    return (struct lock){
        u64_at(lock, 0), {u64_at(lock, 1)}, u64_at(lock, 2), (uint8_t)u64_at(lock, 3), hash_at(lock, 4)};
}

static void assert_buffer_is(const struct buffer *got, const struct buffer *expected)
{
    assert_int_equal(got->length, expected->length);
    assert_memory_equal(got->data, expected->data, expected->length);
}

/* ---- abi ---- */

static uint32_t selector_of(const json_t *value)
{
    uint8_t bytes[4];
    json_aid_bytes_of(value, bytes, sizeof(bytes));
    return load_be32(bytes);
}

static size_t check_functions(const json_t *functions)
{
    for (int i = 0; i < CONTRACT_FUNCTION_COUNT; i++) {
        enum contract_function function = (enum contract_function)i;
        const json_t *selector = json_aid_get(functions, contract_function_signature(function));
        assert_int_equal(contract_selector(function), selector_of(selector));
    }
    assert_int_equal(token_create_selector(),
                     selector_of(json_aid_get(functions, "create(string,string,uint8,uint256)")));
    assert_int_equal(json_object_size(functions), CONTRACT_FUNCTION_COUNT + 1);
    return json_object_size(functions);
}

static size_t check_events(const json_t *events)
{
    for (int i = 0; i < EVENT_TYPE_COUNT; i++) {
        enum contract_event_type type = (enum contract_event_type)i;
        struct hash expected = json_aid_hash(events, contract_event_signature(type)),
                    got = contract_event_topic(type);
        assert_bytes_equal(got, expected);
        size_t name = strlen(contract_event_name(type));
        assert_memory_equal(contract_event_signature(type), contract_event_name(type), name);
        assert_int_equal(contract_event_signature(type)[name], '(');
    }
    assert_int_equal(json_object_size(events), EVENT_TYPE_COUNT);
    return json_object_size(events);
}

static size_t check_errors(const json_t *errors)
{
    for (int i = CONTRACT_UNNAMED + 1; i < CONTRACT_ERROR_COUNT; i++) {
        enum contract_error error = (enum contract_error)i;
        const json_t *selector = json_aid_get(errors, contract_error_signature(error));
        assert_int_equal(contract_error_selector(error), selector_of(selector));
    }
    assert_int_equal(json_object_size(errors), CONTRACT_ERROR_COUNT - 2);
    return json_object_size(errors);
}

static size_t check_erc20(const json_t *erc20)
{
    const json_t *functions = json_aid_get(erc20, "functions"), *events = json_aid_get(erc20, "events");
    for (int i = 0; i < ERC20_FUNCTION_COUNT; i++) {
        enum erc20_function function = (enum erc20_function)i;
        const json_t *selector = json_aid_get(functions, erc20_function_signature(function));
        assert_int_equal(erc20_selector(function), selector_of(selector));
    }
    struct hash transfer = json_aid_hash(events, "Transfer(address,address,uint256)");
    struct hash approval = json_aid_hash(events, "Approval(address,address,uint256)");
    struct hash got_transfer = erc20_transfer_topic(), got_approval = erc20_approval_topic();
    assert_bytes_equal(got_transfer, transfer);
    assert_bytes_equal(got_approval, approval);
    return json_object_size(functions) + json_object_size(events);
}

static void check_abi(const json_t *root)
{
    const json_t *abi = json_aid_get(root, "abi");
    size_t count = check_functions(json_aid_get(abi, "functions"));
    count += check_events(json_aid_get(abi, "events"));
    count += check_errors(json_aid_get(abi, "errors"));
    count += check_erc20(json_aid_get(abi, "erc20"));
    vectors_checked("abi", count);
}

/* ---- calldata ---- */

/* Arrays of a call built from a vector; freed with contract_call_free. */
static void settle_batch_of(const json_t *args, struct contract_call *call)
{
    const json_t *items = at(args, 0), *funds = at(args, 1);
    struct settle_item *item = xcalloc(json_array_size(items), sizeof(*item));
    call->items = item;
    call->item_count = json_array_size(items);
    for (size_t i = 0; i < call->item_count; i++) {
        const json_t *in = at(items, i);
        item[i] = (struct settle_item){.key = key_at(in, 0),
                                       .client_out = {u64_at(in, 1)},
                                       .hub_out = {u64_at(in, 2)},
                                       .deadline = u64_at(in, 3),
                                       .close = bool_at(in, 4),
                                       .signature = signature_at(in, 5)};
    }
    struct fund *fund = xcalloc(json_array_size(funds), sizeof(*fund));
    call->funds = fund;
    call->fund_count = json_array_size(funds);
    for (size_t i = 0; i < call->fund_count; i++)
        fund[i] = (struct fund){.key = key_at(at(funds, i), 0), .amount = {u64_at(at(funds, i), 1)}};
    call->hash = hash_at(args, 2);
}

static void unlock_of(const json_t *args, struct contract_call *call)
{
    call->key = key_at(args, 0);
    call->flag = bool_at(args, 1);
    call->lock = lock_of(at(args, 2));
    const json_t *proof = at(args, 3);
    struct hash *merkle = xcalloc(json_array_size(proof), sizeof(*merkle));
    call->merkle = merkle;
    call->merkle_count = json_array_size(proof);
    for (size_t i = 0; i < call->merkle_count; i++)
        merkle[i] = hash_at(proof, i);
}

static enum contract_function function_named(const char *name)
{
    size_t length = strlen(name);
    for (int i = 0; i < CONTRACT_FUNCTION_COUNT; i++) {
        const char *signature = contract_function_signature((enum contract_function)i);
        if (strncmp(signature, name, length) == 0 && signature[length] == '(')
            return (enum contract_function)i;
    }
    fail_msg("calldata of an unknown function '%s'", name);
    return CONTRACT_FUNCTION_COUNT;
}

static struct contract_call call_of(const char *name, const json_t *args)
{
    struct contract_call call = {.function = function_named(name)};
    switch (call.function) {
    case CONTRACT_LIST_ASSET:
        call.address = address_at(args, 0);
        call.unit = wide_of(at(args, 1));
        break;
    case CONTRACT_DEPOSIT:
        call.key = key_at(args, 0);
        call.amount = amount_of(u64_at(args, 1));
        break;
    case CONTRACT_DEPOSIT_POOL:
        call.address = address_at(args, 0);
        call.amount = amount_of(u64_at(args, 1));
        break;
    case CONTRACT_SETTLE_BATCH:
        settle_batch_of(args, &call);
        break;
    case CONTRACT_START_CLOSE:
        call.key = key_at(args, 0);
        call.proof = proof_of(at(args, 1));
        call.signature = signature_at(args, 2);
        call.own = claim_of(at(args, 4));
        break;
    case CONTRACT_CHALLENGE:
        call.key = key_at(args, 0);
        call.proof = proof_of(at(args, 1));
        call.signature = signature_at(args, 2);
        call.to = address_at(args, 4);
        call.choice = signature_at(args, 5);
        break;
    case CONTRACT_VOID_LOCKS:
        call.key = key_at(args, 0);
        call.flag = bool_at(args, 1);
        call.min_nonce = u64_at(args, 2);
        call.signature = signature_at(args, 3);
        break;
    case CONTRACT_FINISH:
        call.key = key_at(args, 0);
        break;
    case CONTRACT_REGISTER_SECRET:
        call.hash = hash_at(args, 0);
        break;
    case CONTRACT_REGISTER_ATTESTATION:
        call.address = address_at(args, 0);
        call.hash = hash_at(args, 1);
        call.signature = signature_at(args, 2);
        break;
    case CONTRACT_UNLOCK:
        unlock_of(args, &call);
        break;
    case CONTRACT_WITHDRAW_OWED:
        call.address = address_at(args, 0);
        call.to = address_at(args, 1);
        break;
    case CONTRACT_WITHDRAW_POOL:
        call.address = address_at(args, 0);
        call.to = address_at(args, 1);
        call.amount = amount_of(u64_at(args, 2));
        break;
    case CONTRACT_SET_TOWER:
        call.address = address_at(args, 0);
        call.flag = bool_at(args, 1);
        break;
    case CONTRACT_HUB:
    case CONTRACT_CHALLENGE_PERIOD:
    case CONTRACT_BOUNTY_BPS:
    case CONTRACT_DOMAIN_SEPARATOR:
    case CONTRACT_UNIT:
    case CONTRACT_POOL:
    case CONTRACT_OWED:
    case CONTRACT_IS_TOWER:
    case CONTRACT_REGISTERED_AT:
    case CONTRACT_CHANNEL:
    case CONTRACT_CLOSING:
    case CONTRACT_HELD:
    case CONTRACT_UNLOCKED:
    case CONTRACT_FUNCTION_COUNT:
        fail_msg("calldata of '%s' is not known to this check", name);
    }
    return call;
}

static void check_create(const json_t *args, const struct buffer *expected)
{
    struct token_creation creation = {.decimals = (uint8_t)u64_at(args, 2)}, back;
    snprintf(creation.name, sizeof(creation.name), "%s", json_string_value(at(args, 0)));
    snprintf(creation.symbol, sizeof(creation.symbol), "%s", json_string_value(at(args, 1)));
    creation.supply = uint256_of(wide_of(at(args, 3)));
    struct buffer got = {0};
    token_create_encode(&got, &creation);
    assert_buffer_is(&got, expected);
    assert_true(token_create_decode(got.data, got.length, &back));
    assert_string_equal(back.name, creation.name);
    assert_string_equal(back.symbol, creation.symbol);
    assert_true(back.decimals == creation.decimals && uint256_equal(back.supply, creation.supply));
    buffer_free(&got);
}

static void check_call(const char *name, const json_t *args, const struct buffer *expected)
{
    struct contract_call call = call_of(name, args), back;
    struct buffer got = {0};
    contract_encode_call(&got, &call);
    assert_buffer_is(&got, expected);
    assert_true(contract_decode_call(expected->data, expected->length, &back));
    assert_int_equal(back.function, call.function);
    buffer_clear(&got);
    contract_encode_call(&got, &back);
    assert_buffer_is(&got, expected);
    contract_call_free(&call);
    contract_call_free(&back);
    buffer_free(&got);
}

static void check_calldata(const json_t *root)
{
    size_t count, i;
    json_t *vector, *array = json_aid_array(root, "calldata", &count);
    json_array_foreach(array, i, vector)
    {
        const char *name = json_aid_text(vector, "name");
        const json_t *args = json_aid_get(vector, "args");
        struct buffer expected = {0};
        json_aid_buffer(vector, "data", &expected);
        if (strcmp(name, "create") == 0)
            check_create(args, &expected);
        else
            check_call(name, args, &expected);
        buffer_free(&expected);
    }
    vectors_checked("calldata", count);
}

/* ---- results, reverts, logs ---- */

static void assert_claim_is(const struct claim *got, const json_t *expected)
{
    struct claim claim = claim_of(expected);
    assert_true(got->nonce == claim.nonce && got->transferred.units == claim.transferred.units &&
                got->locked.units == claim.locked.units && hash_equal(&got->locks_root, &claim.locks_root));
}

static void check_channel_result(const json_t *vector)
{
    const json_t *values = json_aid_get(vector, "values");
    struct buffer expected = {0}, got = {0};
    struct channel_state channel;
    json_aid_buffer(vector, "data", &expected);
    assert_true(contract_decode_channel(expected.data, expected.length, &channel));
    assert_true(channel.total.units == u64_at(values, 0) && channel.base == json_aid_i64_of(at(values, 1)) &&
                channel.seq == u64_at(values, 2) && channel.status == u64_at(values, 3));
    contract_encode_channel(&got, &channel);
    assert_buffer_is(&got, &expected);
    buffer_free(&expected);
    buffer_free(&got);
}

static void check_closing_result(const json_t *vector)
{
    const json_t *values = json_aid_get(vector, "values");
    struct buffer expected = {0}, got = {0};
    struct closing closing;
    json_aid_buffer(vector, "data", &expected);
    assert_true(contract_decode_closing(expected.data, expected.length, &closing));
    assert_true(closing.by_hub == bool_at(values, 0) && closing.challenged == bool_at(values, 1) &&
                closing.by_partner == bool_at(values, 2) && closing.fraud == bool_at(values, 3));
    struct address tower = address_at(values, 5);
    assert_bytes_equal(closing.tower, tower);
    assert_true(closing.deadline == u64_at(values, 4) && closing.min_nonce_of_client == u64_at(values, 6) &&
                closing.min_nonce_of_hub == u64_at(values, 7));
    assert_claim_is(&closing.own, at(values, 8));
    assert_claim_is(&closing.of_client, at(values, 9));
    assert_claim_is(&closing.of_hub, at(values, 10));
    contract_encode_closing(&got, &closing);
    assert_buffer_is(&got, &expected);
    buffer_free(&expected);
    buffer_free(&got);
}

static void check_results(const json_t *root)
{
    const json_t *results = json_aid_get(root, "results");
    check_channel_result(json_aid_get(results, "channel"));
    check_closing_result(json_aid_get(results, "closing"));
    assert_int_equal(json_object_size(results), 2);
    vectors_checked("results", json_object_size(results));
}

static void check_reverts(const json_t *root)
{
    size_t count, i;
    json_t *vector, *array = json_aid_array(root, "reverts", &count);
    json_array_foreach(array, i, vector)
    {
        struct buffer expected = {0}, got = {0};
        uint8_t status;
        json_aid_buffer(vector, "data", &expected);
        enum contract_error error = contract_decode_error(expected.data, expected.length, &status);
        assert_string_equal(contract_error_name(error), json_aid_text(vector, "name"));
        if (error == CONTRACT_BAD_STATUS)
            assert_int_equal(status, u64_at(json_aid_get(vector, "args"), 0));
        contract_encode_error(&got, error, status);
        assert_buffer_is(&got, &expected);
        buffer_free(&expected);
        buffer_free(&got);
    }
    vectors_checked("reverts", count);
}

static void check_event_fields(const struct contract_event *event, const json_t *args)
{
    struct hash channel = event->type != EVENT_CONDITION_MET ? hash_at(args, 0) : event->channel;
    assert_bytes_equal(event->channel, channel);
    if (event->type == EVENT_SETTLED) {
        assert_true(event->seq == u64_at(args, 1) && event->client_out.units == u64_at(args, 2) &&
                    event->hub_out.units == u64_at(args, 3) && event->close == bool_at(args, 4));
    } else if (event->type == EVENT_OPENED) {
        struct address client = address_at(args, 1), asset = address_at(args, 2);
        assert_bytes_equal(event->address, client);
        assert_bytes_equal(event->other, asset);
        assert_true(event->salt == u64_at(args, 3));
    } else if (event->type == EVENT_CLOSE_STARTED) {
        assert_true(event->by_hub == bool_at(args, 1) && event->deadline == u64_at(args, 2));
        assert_claim_is(&event->of_client_claim, at(args, 3));
        assert_claim_is(&event->of_hub_claim, at(args, 4));
    } else if (event->type == EVENT_CHALLENGED) {
        struct address tower = address_at(args, 1);
        assert_bytes_equal(event->address, tower);
        assert_claim_is(&event->proof, at(args, 3));
        assert_true(event->by_partner == bool_at(args, 2) && event->is_fraud == bool_at(args, 4));
    } else if (event->type == EVENT_FINISHED) {
        assert_true(event->to_client.units == u64_at(args, 1) && event->to_hub.units == u64_at(args, 2) &&
                    event->held_client.units == u64_at(args, 3) && event->held_hub.units == u64_at(args, 4) &&
                    event->penalty.units == u64_at(args, 5) && event->bounty.units == u64_at(args, 6));
    } else if (event->type == EVENT_CONDITION_MET) {
        struct hash condition = hash_at(args, 1), witness = hash_at(args, 2);
        assert_true(event->kind == u64_at(args, 0));
        assert_bytes_equal(event->condition, condition);
        assert_bytes_equal(event->witness, witness);
    } else {
        fail_msg("a log of '%s' is not known to this check", contract_event_name(event->type));
    }
}

static void check_logs(const json_t *root)
{
    size_t count, i;
    json_t *vector, *array = json_aid_array(root, "logs", &count);
    json_array_foreach(array, i, vector)
    {
        struct contract_log log = {.topic_count = 0};
        struct contract_event event;
        struct buffer expected = {0}, got = {0};
        struct hash topics[4];
        size_t topic_count, t;
        memset(&event, 0, sizeof(event));
        json_t *topic, *list = json_aid_array(vector, "topics", &log.topic_count);
        assert_true(log.topic_count <= ARRAY_LENGTH(log.topics));
        json_array_foreach(list, t, topic) json_aid_bytes_of(topic, log.topics[t].bytes, sizeof(struct hash));
        json_aid_buffer(vector, "data", &expected);
        log.data = expected.data;
        log.data_length = expected.length;
        assert_true(contract_decode_event(&log, &event));
        assert_string_equal(contract_event_name(event.type), json_aid_text(vector, "name"));
        check_event_fields(&event, json_aid_get(vector, "args"));
        contract_encode_event(&event, topics, &topic_count, &got);
        assert_int_equal(topic_count, log.topic_count);
        assert_memory_equal(topics, log.topics, topic_count * sizeof(struct hash));
        assert_buffer_is(&got, &expected);
        buffer_free(&expected);
        buffer_free(&got);
    }
    vectors_checked("logs", count);
}

/* ---- transactions ---- */

static void check_transaction(const json_t *vector)
{
    struct secret_key key;
    struct buffer data = {0}, raw = {0}, got = {0};
    json_aid_bytes(vector, "secretKey", key.bytes, sizeof(key.bytes));
    json_aid_buffer(vector, "data", &data);
    json_aid_buffer(vector, "raw", &raw);
    struct transaction sent = {.chain_id = json_aid_u64(vector, "chainId"),
                               .nonce = json_aid_u64(vector, "nonce"),
                               .max_priority_fee_per_gas =
                                   wide_of(json_aid_get(vector, "maxPriorityFeePerGas")),
                               .max_fee_per_gas = wide_of(json_aid_get(vector, "maxFeePerGas")),
                               .gas_limit = json_aid_u64(vector, "gasLimit"),
                               .to = json_aid_address(vector, "to"),
                               .value = wide_of(json_aid_get(vector, "value")),
                               .data = data.data,
                               .data_length = data.length},
                       back;
    struct hash expected = json_aid_hash(vector, "hash"), hash = transaction_sign(&sent, &key, &got);
    assert_bytes_equal(hash, expected);
    assert_buffer_is(&got, &raw);

    struct address from = json_aid_address(vector, "from"), sender;
    struct hash name;
    assert_int_equal(transaction_decode(raw.data, raw.length, &back, &sender, &name), TRANSACTION_OK);
    assert_bytes_equal(sender, from);
    assert_bytes_equal(name, expected);
    assert_true(back.chain_id == sent.chain_id && back.nonce == sent.nonce &&
                back.gas_limit == sent.gas_limit && back.max_fee_per_gas == sent.max_fee_per_gas &&
                back.value == sent.value && !back.creates &&
                back.max_priority_fee_per_gas == sent.max_priority_fee_per_gas);
    assert_bytes_equal(back.to, sent.to);
    assert_int_equal(back.data_length, data.length);
    if (data.length > 0)
        assert_memory_equal(back.data, data.data, data.length);
    buffer_free(&data);
    buffer_free(&raw);
    buffer_free(&got);
}

static void check_transactions(const json_t *root)
{
    size_t count, i;
    json_t *vector, *array = json_aid_array(root, "transactions", &count);
    json_array_foreach(array, i, vector) check_transaction(vector);
    vectors_checked("transactions", count);
}

/* ---- closings ---- */

/* {nonce, transferred, locked, locksRoot}; a partner's has the sums only. `shift` is added to transferred. */
static struct claim claim_member(const json_t *object, int64_t shift)
{
    bool is_whole = json_object_get(object, "nonce") != NULL;
    int64_t transferred = json_aid_i64(object, "transferred") + shift;
    assert_true(transferred >= 0);
    return (struct claim){.nonce = is_whole ? json_aid_u64(object, "nonce") : 1,
                          .transferred = {(uint64_t)transferred},
                          .locked = {json_aid_u64(object, "locked")},
                          .locks_root = is_whole ? json_aid_hash(object, "locksRoot") : HASH_ZERO};
}

/* Some vectors have a challenge that transferred less than nothing: no amount on a ledger, but section 7's formulas are
 * in signed numbers. They only look at base − tC + tH and at differences within a stream, so adding k to all that the
 * closer's stream transferred, and to its owner's base, changes no result. */
static int64_t shift_of(const json_t *proof)
{
    int64_t transferred = json_is_object(proof) ? json_aid_i64(proof, "transferred") : 0;
    return transferred < 0 ? -transferred : 0;
}

static void check_closing(const json_t *vector)
{
    const json_t *proof_json = json_aid_get(vector, "proof");
    int64_t shift = shift_of(proof_json);
    struct claim own = claim_member(json_aid_get(vector, "own"), shift);
    struct claim partner = claim_member(json_aid_get(vector, "partner"), 0);
    struct closing closing = {.by_hub = json_aid_bool(vector, "byHub"),
                              .challenged = json_is_object(proof_json)};
    struct claim chosen = closing.challenged ? claim_member(proof_json, shift) : own;
    uint64_t min_of_closer = json_aid_bool(vector, "voidProof") ? chosen.nonce + 1 : 0;
    uint64_t min_of_partner = json_aid_bool(vector, "voidPartner") ? partner.nonce + 1 : 0;
    closing.own = own;
    closing.fraud = closing.challenged && closing_is_fraud(&chosen, &own);
    closing.of_hub = closing.by_hub ? chosen : partner;
    closing.of_client = closing.by_hub ? partner : chosen;
    closing.min_nonce_of_hub = closing.by_hub ? min_of_closer : min_of_partner;
    closing.min_nonce_of_client = closing.by_hub ? min_of_partner : min_of_closer;

    int64_t base = json_aid_i64(vector, "base") + (closing.by_hub ? -shift : shift);
    struct amount total = amount_of(json_aid_u64(vector, "total"));
    wide own_base = closing.by_hub ? (wide)total.units - base : (wide)base;
    assert_int_equal(closing_claim_is_bad(&own, own_base, partner.transferred),
                     json_aid_bool(vector, "badClaim"));
    assert_int_equal(closing.fraud, json_aid_bool(vector, "fraud"));
    struct payout payout =
        closing_settle(base, total, &closing, amount_of(json_aid_u64(vector, "pool")),
                       (uint16_t)json_aid_u64(vector, "bountyBps"), json_aid_bool(vector, "towerIsVictim"));
    assert_true(payout.to_client.units == json_aid_u64(vector, "toClient"));
    assert_true(payout.to_hub.units == json_aid_u64(vector, "toHub"));
    assert_true(payout.held_client.units == json_aid_u64(vector, "heldOfClient"));
    assert_true(payout.held_hub.units == json_aid_u64(vector, "heldOfHub"));
    assert_true(payout.penalty.units == json_aid_u64(vector, "penalty"));
    assert_true(payout.bounty.units == json_aid_u64(vector, "bounty"));
    assert_true(payout.pool_pays.units == json_aid_u64(vector, "poolPays"));
}

static void check_closings(const json_t *root)
{
    size_t count, i;
    json_t *vector, *array = json_aid_array(root, "closings", &count);
    json_array_foreach(array, i, vector) check_closing(vector);
    vectors_checked("closings", count);
}

void section_ledger(const json_t *root)
{
    check_abi(root);
    check_calldata(root);
    check_results(root);
    check_reverts(root);
    check_logs(root);
    check_transactions(root);
    check_closings(root);
}
