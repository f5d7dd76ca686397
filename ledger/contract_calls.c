/* Calldata of every function, both directions. One row per function says its signature and its static size;
 * one switch writes the arguments, one reads them. */
#include <pthread.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "ledger/contract_parts.h"

#define KEY   "(address,address,uint64)"
#define PROOF "(uint64,uint64,uint64,bytes32,bytes32)"
#define CLAIM "(uint64,uint64,uint64,bytes32)"
#define LOCK  "(uint64,uint64,uint64,uint8,bytes32)"
#define ITEM  "(" KEY ",uint64,uint64,uint64,bool,bytes32,bytes32)"
#define FUND  "(" KEY ",uint64)"

static const struct {
    const char *signature;
    size_t head_words;
} functions[CONTRACT_FUNCTION_COUNT] = {
    [CONTRACT_HUB] = {"hub()", 0},
    [CONTRACT_CHALLENGE_PERIOD] = {"challengePeriod()", 0},
    [CONTRACT_BOUNTY_BPS] = {"bountyBps()", 0},
    [CONTRACT_DOMAIN_SEPARATOR] = {"domainSeparator()", 0},
    [CONTRACT_UNIT] = {"unit(address)", 1},
    [CONTRACT_POOL] = {"pool(address)", 1},
    [CONTRACT_OWED] = {"owed(address,address)", 2},
    [CONTRACT_IS_TOWER] = {"isTower(address)", 1},
    [CONTRACT_REGISTERED_AT] = {"registeredAt(uint8,bytes32)", 2},
    [CONTRACT_CHANNEL] = {"channel(" KEY ")", KEY_WORDS},
    [CONTRACT_CLOSING] = {"closing(" KEY ")", KEY_WORDS},
    [CONTRACT_HELD] = {"held(" KEY ")", KEY_WORDS},
    [CONTRACT_UNLOCKED] = {"unlocked(" KEY ",bool,bytes32)", KEY_WORDS + 2},
    [CONTRACT_LIST_ASSET] = {"listAsset(address,uint128)", 2},
    [CONTRACT_DEPOSIT_POOL] = {"depositPool(address,uint64)", 2},
    [CONTRACT_WITHDRAW_POOL] = {"withdrawPool(address,address,uint64)", 3},
    [CONTRACT_DEPOSIT] = {"deposit(" KEY ",uint64)", KEY_WORDS + 1},
    [CONTRACT_SETTLE_BATCH] = {"settleBatch(" ITEM "[]," FUND "[],bytes32)", 3},
    [CONTRACT_SET_TOWER] = {"setTower(address,bool)", 2},
    [CONTRACT_START_CLOSE] = {"startClose(" KEY "," PROOF ",bytes32,bytes32," CLAIM ")",
                              KEY_WORDS + PROOF_WORDS + 2 + CLAIM_WORDS},
    [CONTRACT_CHALLENGE] = {"challenge(" KEY "," PROOF ",bytes32,bytes32,address,bytes32,bytes32)",
                            KEY_WORDS + PROOF_WORDS + 5},
    [CONTRACT_VOID_LOCKS] = {"voidLocks(" KEY ",bool,uint64,bytes32,bytes32)", KEY_WORDS + 4},
    [CONTRACT_FINISH] = {"finish(" KEY ")", KEY_WORDS},
    [CONTRACT_REGISTER_SECRET] = {"registerSecret(bytes32)", 1},
    [CONTRACT_REGISTER_ATTESTATION] = {"registerAttestation(address,bytes32,bytes32,bytes32)", 4},
    [CONTRACT_UNLOCK] = {"unlock(" KEY ",bool," LOCK ",bytes32[])", KEY_WORDS + 1 + LOCK_WORDS + 1},
    [CONTRACT_WITHDRAW_OWED] = {"withdrawOwed(address,address)", 2},
};

static uint32_t selectors[CONTRACT_FUNCTION_COUNT];
static pthread_once_t selectors_once = PTHREAD_ONCE_INIT;

static void selectors_compute(void)
{
    for (size_t i = 0; i < CONTRACT_FUNCTION_COUNT; i++)
        selectors[i] = signature_selector(functions[i].signature);
}

const char *contract_function_signature(enum contract_function function)
{
    ensure(function < CONTRACT_FUNCTION_COUNT);
    return functions[function].signature;
}

uint32_t contract_selector(enum contract_function function)
{
    ensure(function < CONTRACT_FUNCTION_COUNT);
    pthread_once(&selectors_once, selectors_compute);
    return selectors[function];
}

static void put_settle_batch(struct buffer *out, const struct contract_call *call)
{
    size_t items_at = 3 * ABI_WORD;
    abi_put_u64(out, items_at);
    abi_put_u64(out, items_at + ABI_WORD + call->item_count * ITEM_WORDS * ABI_WORD);
    abi_put_hash(out, &call->hash);
    abi_put_u64(out, call->item_count);
    for (size_t i = 0; i < call->item_count; i++) {
        const struct settle_item *item = &call->items[i];
        put_key(out, &item->key);
        abi_put_amount(out, item->client_out);
        abi_put_amount(out, item->hub_out);
        abi_put_u64(out, item->deadline);
        abi_put_bool(out, item->close);
        abi_put_signature(out, &item->signature);
    }
    abi_put_u64(out, call->fund_count);
    for (size_t i = 0; i < call->fund_count; i++) {
        put_key(out, &call->funds[i].key);
        abi_put_amount(out, call->funds[i].amount);
    }
}

static void put_unlock(struct buffer *out, const struct contract_call *call)
{
    put_key(out, &call->key);
    abi_put_bool(out, call->flag);
    put_lock(out, &call->lock);
    abi_put_u64(out, functions[CONTRACT_UNLOCK].head_words * ABI_WORD);
    abi_put_u64(out, call->merkle_count);
    for (size_t i = 0; i < call->merkle_count; i++)
        abi_put_hash(out, &call->merkle[i]);
}

static void put_arguments(struct buffer *out, const struct contract_call *call)
{
    switch (call->function) {
    case CONTRACT_HUB:
    case CONTRACT_CHALLENGE_PERIOD:
    case CONTRACT_BOUNTY_BPS:
    case CONTRACT_DOMAIN_SEPARATOR:
    case CONTRACT_FUNCTION_COUNT:
        return;
    case CONTRACT_UNIT:
    case CONTRACT_POOL:
    case CONTRACT_IS_TOWER:
        abi_put_address(out, &call->address);
        return;
    case CONTRACT_OWED:
    case CONTRACT_WITHDRAW_OWED:
        /* owed(to, asset): address, then to; withdrawOwed(asset, to): the same order. */
        abi_put_address(out, &call->address);
        abi_put_address(out, &call->to);
        return;
    case CONTRACT_REGISTERED_AT:
        abi_put_wide(out, call->kind);
        abi_put_hash(out, &call->hash);
        return;
    case CONTRACT_CHANNEL:
    case CONTRACT_CLOSING:
    case CONTRACT_HELD:
    case CONTRACT_FINISH:
        put_key(out, &call->key);
        return;
    case CONTRACT_UNLOCKED:
        put_key(out, &call->key);
        abi_put_bool(out, call->flag);
        abi_put_hash(out, &call->hash);
        return;
    case CONTRACT_LIST_ASSET:
        abi_put_address(out, &call->address);
        abi_put_wide(out, call->unit);
        return;
    case CONTRACT_DEPOSIT_POOL:
        abi_put_address(out, &call->address);
        abi_put_amount(out, call->amount);
        return;
    case CONTRACT_WITHDRAW_POOL:
        abi_put_address(out, &call->address);
        abi_put_address(out, &call->to);
        abi_put_amount(out, call->amount);
        return;
    case CONTRACT_DEPOSIT:
        put_key(out, &call->key);
        abi_put_amount(out, call->amount);
        return;
    case CONTRACT_SETTLE_BATCH:
        put_settle_batch(out, call);
        return;
    case CONTRACT_SET_TOWER:
        abi_put_address(out, &call->address);
        abi_put_bool(out, call->flag);
        return;
    case CONTRACT_START_CLOSE:
        put_key(out, &call->key);
        put_proof(out, &call->proof);
        abi_put_signature(out, &call->signature);
        put_claim(out, &call->own);
        return;
    case CONTRACT_CHALLENGE:
        put_key(out, &call->key);
        put_proof(out, &call->proof);
        abi_put_signature(out, &call->signature);
        abi_put_address(out, &call->to);
        abi_put_signature(out, &call->choice);
        return;
    case CONTRACT_VOID_LOCKS:
        put_key(out, &call->key);
        abi_put_bool(out, call->flag);
        abi_put_u64(out, call->min_nonce);
        abi_put_signature(out, &call->signature);
        return;
    case CONTRACT_REGISTER_SECRET:
        abi_put_hash(out, &call->hash);
        return;
    case CONTRACT_REGISTER_ATTESTATION:
        abi_put_address(out, &call->address);
        abi_put_hash(out, &call->hash);
        abi_put_signature(out, &call->signature);
        return;
    case CONTRACT_UNLOCK:
        put_unlock(out, call);
        return;
    }
}

void contract_encode_call(struct buffer *out, const struct contract_call *call)
{
    buffer_u32(out, contract_selector(call->function));
    put_arguments(out, call);
}

static void get_settle_batch(struct abi_reader *reader, struct contract_call *call)
{
    struct abi_reader items, funds;
    size_t item_count = abi_array(reader, ITEM_WORDS * ABI_WORD, &items);
    size_t fund_count = abi_array(reader, FUND_WORDS * ABI_WORD, &funds);
    call->hash = abi_hash(reader);
    if (!reader->ok || item_count > SETTLE_ITEMS_MAX || fund_count > SETTLE_ITEMS_MAX) {
        reader->ok = false;
        return;
    }
    struct settle_item *item = xcalloc(item_count, sizeof(*item));
    call->items = item;
    call->item_count = item_count;
    for (size_t i = 0; i < item_count; i++, item++) {
        item->key = get_key(&items);
        item->client_out = abi_amount(&items);
        item->hub_out = abi_amount(&items);
        item->deadline = abi_u64(&items);
        item->close = abi_bool(&items);
        item->signature = abi_signature(&items);
    }
    struct fund *fund = xcalloc(fund_count, sizeof(*fund));
    call->funds = fund;
    call->fund_count = fund_count;
    for (size_t i = 0; i < fund_count; i++, fund++) {
        fund->key = get_key(&funds);
        fund->amount = abi_amount(&funds);
    }
    reader->ok = items.ok && funds.ok;
}

static void get_unlock(struct abi_reader *reader, struct contract_call *call)
{
    call->key = get_key(reader);
    call->flag = abi_bool(reader);
    call->lock = get_lock(reader);
    struct abi_reader proof;
    size_t count = abi_array(reader, ABI_WORD, &proof);
    if (!reader->ok)
        return;
    struct hash *merkle = xcalloc(count, sizeof(*merkle));
    call->merkle = merkle;
    call->merkle_count = count;
    for (size_t i = 0; i < count; i++)
        merkle[i] = abi_hash(&proof);
    reader->ok = proof.ok;
}

static void get_arguments(struct abi_reader *in, struct contract_call *call)
{
    switch (call->function) {
    case CONTRACT_HUB:
    case CONTRACT_CHALLENGE_PERIOD:
    case CONTRACT_BOUNTY_BPS:
    case CONTRACT_DOMAIN_SEPARATOR:
    case CONTRACT_FUNCTION_COUNT:
        return;
    case CONTRACT_UNIT:
    case CONTRACT_POOL:
    case CONTRACT_IS_TOWER:
        call->address = abi_address(in);
        return;
    case CONTRACT_OWED:
    case CONTRACT_WITHDRAW_OWED:
        call->address = abi_address(in);
        call->to = abi_address(in);
        return;
    case CONTRACT_REGISTERED_AT:
        call->kind = abi_u8(in);
        call->hash = abi_hash(in);
        return;
    case CONTRACT_CHANNEL:
    case CONTRACT_CLOSING:
    case CONTRACT_HELD:
    case CONTRACT_FINISH:
        call->key = get_key(in);
        return;
    case CONTRACT_UNLOCKED:
        call->key = get_key(in);
        call->flag = abi_bool(in);
        call->hash = abi_hash(in);
        return;
    case CONTRACT_LIST_ASSET:
        call->address = abi_address(in);
        call->unit = abi_wide(in);
        return;
    case CONTRACT_DEPOSIT_POOL:
        call->address = abi_address(in);
        call->amount = abi_amount(in);
        return;
    case CONTRACT_WITHDRAW_POOL:
        call->address = abi_address(in);
        call->to = abi_address(in);
        call->amount = abi_amount(in);
        return;
    case CONTRACT_DEPOSIT:
        call->key = get_key(in);
        call->amount = abi_amount(in);
        return;
    case CONTRACT_SETTLE_BATCH:
        get_settle_batch(in, call);
        return;
    case CONTRACT_SET_TOWER:
        call->address = abi_address(in);
        call->flag = abi_bool(in);
        return;
    case CONTRACT_START_CLOSE:
        call->key = get_key(in);
        call->proof = get_proof(in);
        call->signature = abi_signature(in);
        call->own = get_claim(in);
        return;
    case CONTRACT_CHALLENGE:
        call->key = get_key(in);
        call->proof = get_proof(in);
        call->signature = abi_signature(in);
        call->to = abi_address(in);
        call->choice = abi_signature(in);
        return;
    case CONTRACT_VOID_LOCKS:
        call->key = get_key(in);
        call->flag = abi_bool(in);
        call->min_nonce = abi_u64(in);
        call->signature = abi_signature(in);
        return;
    case CONTRACT_REGISTER_SECRET:
        call->hash = abi_hash(in);
        return;
    case CONTRACT_REGISTER_ATTESTATION:
        call->address = abi_address(in);
        call->hash = abi_hash(in);
        call->signature = abi_signature(in);
        return;
    case CONTRACT_UNLOCK:
        get_unlock(in, call);
        return;
    }
}

bool contract_decode_call(const uint8_t *data, size_t length, struct contract_call *out)
{
    if (length < 4)
        return false;
    uint32_t selector = load_be32(data);
    int function = 0;
    while (function < CONTRACT_FUNCTION_COUNT &&
           contract_selector((enum contract_function)function) != selector)
        function++;
    if (function == CONTRACT_FUNCTION_COUNT)
        return false;
    struct contract_call call = {.function = (enum contract_function)function};
    struct abi_reader reader = abi_reader_of(data + 4, length - 4, functions[function].head_words * ABI_WORD);
    get_arguments(&reader, &call);
    if (!reader.ok) {
        contract_call_free(&call);
        return false;
    }
    *out = call;
    return true;
}

void contract_call_free(struct contract_call *call)
{
    /* The arrays are const for those who encode; what was decoded is ours. */
    free((void *)(uintptr_t)call->items);
    free((void *)(uintptr_t)call->funds);
    free((void *)(uintptr_t)call->merkle);
    call->items = NULL;
    call->funds = NULL;
    call->merkle = NULL;
    call->item_count = call->fund_count = call->merkle_count = 0;
}
