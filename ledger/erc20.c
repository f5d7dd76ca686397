#include "ledger/erc20.h"

#include <pthread.h>
#include <string.h>

#include "base/ensure.h"
#include "crypto/hash.h"
#include "ledger/contract_parts.h"

static const struct {
    const char *signature;
    size_t head_words;
} functions[ERC20_FUNCTION_COUNT] = {
    [ERC20_NAME] = {"name()", 0},
    [ERC20_SYMBOL] = {"symbol()", 0},
    [ERC20_DECIMALS] = {"decimals()", 0},
    [ERC20_TOTAL_SUPPLY] = {"totalSupply()", 0},
    [ERC20_BALANCE_OF] = {"balanceOf(address)", 1},
    [ERC20_ALLOWANCE] = {"allowance(address,address)", 2},
    [ERC20_TRANSFER] = {"transfer(address,uint256)", 2},
    [ERC20_APPROVE] = {"approve(address,uint256)", 2},
    [ERC20_TRANSFER_FROM] = {"transferFrom(address,address,uint256)", 3},
};

static const char transfer_signature[] = "Transfer(address,address,uint256)";
static const char approval_signature[] = "Approval(address,address,uint256)";
static const char create_signature[] = "create(string,string,uint8,uint256)";
enum { CREATE_WORDS = 4 };

static uint32_t selectors[ERC20_FUNCTION_COUNT], create_selector;
static struct hash transfer_topic, approval_topic;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void compute(void)
{
    for (size_t i = 0; i < ERC20_FUNCTION_COUNT; i++)
        selectors[i] = signature_selector(functions[i].signature);
    create_selector = signature_selector(create_signature);
    transfer_topic = keccak256(transfer_signature, strlen(transfer_signature));
    approval_topic = keccak256(approval_signature, strlen(approval_signature));
}

const char *erc20_function_signature(enum erc20_function function)
{
    ensure(function < ERC20_FUNCTION_COUNT);
    return functions[function].signature;
}

uint32_t erc20_selector(enum erc20_function function)
{
    ensure(function < ERC20_FUNCTION_COUNT);
    pthread_once(&once, compute);
    return selectors[function];
}

uint32_t token_create_selector(void)
{
    pthread_once(&once, compute);
    return create_selector;
}

struct hash erc20_transfer_topic(void)
{
    pthread_once(&once, compute);
    return transfer_topic;
}

struct hash erc20_approval_topic(void)
{
    pthread_once(&once, compute);
    return approval_topic;
}

void erc20_encode_call(struct buffer *out, const struct erc20_call *call)
{
    buffer_u32(out, erc20_selector(call->function));
    switch (call->function) {
    case ERC20_NAME:
    case ERC20_SYMBOL:
    case ERC20_DECIMALS:
    case ERC20_TOTAL_SUPPLY:
    case ERC20_FUNCTION_COUNT:
        return;
    case ERC20_BALANCE_OF:
        abi_put_address(out, &call->owner);
        return;
    case ERC20_ALLOWANCE:
        abi_put_address(out, &call->owner);
        abi_put_address(out, &call->other);
        return;
    case ERC20_TRANSFER:
    case ERC20_APPROVE:
        abi_put_address(out, &call->other);
        abi_put_uint256(out, call->value);
        return;
    case ERC20_TRANSFER_FROM:
        abi_put_address(out, &call->owner);
        abi_put_address(out, &call->other);
        abi_put_uint256(out, call->value);
        return;
    }
}

static void get_arguments(struct abi_reader *in, struct erc20_call *call)
{
    switch (call->function) {
    case ERC20_NAME:
    case ERC20_SYMBOL:
    case ERC20_DECIMALS:
    case ERC20_TOTAL_SUPPLY:
    case ERC20_FUNCTION_COUNT:
        return;
    case ERC20_BALANCE_OF:
        call->owner = abi_address(in);
        return;
    case ERC20_ALLOWANCE:
        call->owner = abi_address(in);
        call->other = abi_address(in);
        return;
    case ERC20_TRANSFER:
    case ERC20_APPROVE:
        call->other = abi_address(in);
        call->value = abi_uint256(in);
        return;
    case ERC20_TRANSFER_FROM:
        call->owner = abi_address(in);
        call->other = abi_address(in);
        call->value = abi_uint256(in);
        return;
    }
}

bool erc20_decode_call(const uint8_t *data, size_t length, struct erc20_call *out)
{
    if (length < 4)
        return false;
    uint32_t selector = load_be32(data);
    for (int i = 0; i < ERC20_FUNCTION_COUNT; i++) {
        if (erc20_selector((enum erc20_function)i) != selector)
            continue;
        struct erc20_call call = {.function = (enum erc20_function)i};
        struct abi_reader reader = abi_reader_of(data + 4, length - 4, functions[i].head_words * ABI_WORD);
        get_arguments(&reader, &call);
        if (reader.ok)
            *out = call;
        return reader.ok;
    }
    return false;
}

void erc20_encode_approve(struct buffer *out, const struct address *spender, unsigned_wide value)
{
    erc20_encode_call(
        out, &(struct erc20_call){.function = ERC20_APPROVE, .other = *spender, .value = uint256_of(value)});
}

void erc20_encode_transfer(struct buffer *out, const struct address *to, unsigned_wide value)
{
    erc20_encode_call(
        out, &(struct erc20_call){.function = ERC20_TRANSFER, .other = *to, .value = uint256_of(value)});
}

void erc20_encode_balance_of(struct buffer *out, const struct address *account)
{
    erc20_encode_call(out, &(struct erc20_call){.function = ERC20_BALANCE_OF, .owner = *account});
}

void erc20_encode_allowance(struct buffer *out, const struct address *owner, const struct address *spender)
{
    erc20_encode_call(out,
                      &(struct erc20_call){.function = ERC20_ALLOWANCE, .owner = *owner, .other = *spender});
}

void erc20_encode_plain(struct buffer *out, enum erc20_function function)
{
    ensure(function <= ERC20_TOTAL_SUPPLY);
    erc20_encode_call(out, &(struct erc20_call){.function = function});
}

void erc20_encode_number(struct buffer *out, struct uint256 value)
{
    abi_put_uint256(out, value);
}

bool erc20_decode_number(const uint8_t *data, size_t length, struct uint256 *out)
{
    struct abi_reader reader = abi_reader_of(data, length, ABI_WORD);
    struct uint256 value = abi_uint256(&reader);
    if (reader.ok)
        *out = value;
    return reader.ok;
}

void erc20_encode_text(struct buffer *out, const char *text)
{
    abi_put_u64(out, ABI_WORD);
    abi_put_bytes(out, text, strlen(text));
}

/* Copies a text that is short enough and UTF-8 without NUL. */
static bool text_take(const uint8_t *text, size_t length, char out[TOKEN_TEXT_MAX + 1])
{
    if (length > TOKEN_TEXT_MAX || !utf8_is_valid(text, length))
        return false;
    memcpy(out, text, length);
    out[length] = '\0';
    return true;
}

bool erc20_decode_text(const uint8_t *data, size_t length, char out[TOKEN_TEXT_MAX + 1])
{
    out[0] = '\0';
    if (length == ABI_WORD) /* bytes32: padded with zeros behind */
        return text_take(data, strnlen((const char *)data, ABI_WORD), out);
    struct abi_reader reader = abi_reader_of(data, length, ABI_WORD);
    size_t text_length;
    const uint8_t *text = abi_bytes(&reader, &text_length);
    return reader.ok && text_take(text, text_length, out);
}

bool erc20_decode_success(const uint8_t *data, size_t length)
{
    if (length == 0)
        return true;
    struct uint256 value;
    return erc20_decode_number(data, length, &value) && uint256_equal(value, uint256_of(1));
}

/* An address as a topic. */
static struct hash address_word(const struct address *address)
{
    struct hash word = HASH_ZERO;
    memcpy(word.bytes + sizeof(word.bytes) - sizeof(address->bytes), address->bytes, sizeof(address->bytes));
    return word;
}

void erc20_encode_event(const struct erc20_event *event, struct hash topics[4], size_t *topic_count,
                        struct buffer *data)
{
    topics[0] = event->is_approval ? erc20_approval_topic() : erc20_transfer_topic();
    topics[1] = address_word(&event->from);
    topics[2] = address_word(&event->to);
    *topic_count = 3;
    abi_put_uint256(data, event->value);
}

bool erc20_decode_event(const struct contract_log *log, struct erc20_event *out)
{
    if (log->topic_count != 3)
        return false;
    struct hash transfer = erc20_transfer_topic(), approval = erc20_approval_topic();
    bool is_approval = hash_equal(&log->topics[0], &approval);
    if (!is_approval && !hash_equal(&log->topics[0], &transfer))
        return false;
    struct erc20_event event = {.is_approval = is_approval};
    if (!contract_decode_address(log->topics[1].bytes, ABI_WORD, 0, &event.from) ||
        !contract_decode_address(log->topics[2].bytes, ABI_WORD, 0, &event.to) ||
        !erc20_decode_number(log->data, log->data_length, &event.value))
        return false;
    *out = event;
    return true;
}

void token_create_encode(struct buffer *out, const struct token_creation *creation)
{
    size_t name_length = strlen(creation->name), head = CREATE_WORDS * ABI_WORD;
    buffer_u32(out, token_create_selector());
    abi_put_u64(out, head);
    abi_put_u64(out, head + abi_bytes_size(name_length));
    abi_put_wide(out, creation->decimals);
    abi_put_uint256(out, creation->supply);
    abi_put_bytes(out, creation->name, name_length);
    abi_put_bytes(out, creation->symbol, strlen(creation->symbol));
}

bool token_create_decode(const uint8_t *data, size_t length, struct token_creation *out)
{
    if (length < 4 || load_be32(data) != token_create_selector())
        return false;
    struct abi_reader reader = abi_reader_of(data + 4, length - 4, CREATE_WORDS * ABI_WORD);
    struct token_creation creation;
    size_t name_length, symbol_length;
    const uint8_t *name = abi_bytes(&reader, &name_length);
    const uint8_t *symbol = abi_bytes(&reader, &symbol_length);
    creation.decimals = abi_u8(&reader);
    creation.supply = abi_uint256(&reader);
    if (!reader.ok || !text_take(name, name_length, creation.name) ||
        !text_take(symbol, symbol_length, creation.symbol))
        return false;
    *out = creation;
    return true;
}

void token_created_encode(const struct address *token, const struct address *issuer,
                          const struct token_creation *creation, struct hash topics[4], size_t *topic_count,
                          struct buffer *data)
{
    topics[0] = contract_event_topic(EVENT_TOKEN_CREATED);
    topics[1] = address_word(token);
    topics[2] = address_word(issuer);
    *topic_count = 3;
    abi_put_u64(data, 3 * ABI_WORD);
    abi_put_wide(data, creation->decimals);
    abi_put_uint256(data, creation->supply);
    abi_put_bytes(data, creation->symbol, strlen(creation->symbol));
}
