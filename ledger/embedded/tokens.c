#include "ledger/embedded/tokens.h"

#include <string.h>

#include "base/ensure.h"
#include "crypto/hash.h"
#include "ledger/abi.h"
#include "ledger/rlp.h"

const char *token_error_signature(enum token_error error)
{
    switch (error) {
    case TOKEN_OK:
        return "";
    case TOKEN_INVALID_SENDER:
        return "ERC20InvalidSender(address)";
    case TOKEN_INVALID_RECEIVER:
        return "ERC20InvalidReceiver(address)";
    case TOKEN_INVALID_APPROVER:
        return "ERC20InvalidApprover(address)";
    case TOKEN_INVALID_SPENDER:
        return "ERC20InvalidSpender(address)";
    case TOKEN_INSUFFICIENT_BALANCE:
        return "ERC20InsufficientBalance(address,uint256,uint256)";
    case TOKEN_INSUFFICIENT_ALLOWANCE:
        return "ERC20InsufficientAllowance(address,uint256,uint256)";
    }
    return "";
}

void token_encode_refusal(struct buffer *out, const struct token_refusal *refusal)
{
    const char *signature = token_error_signature(refusal->error);
    struct hash selector = keccak256(signature, strlen(signature));
    buffer_append(out, selector.bytes, 4);
    abi_put_address(out, &refusal->who);
    if (refusal->error == TOKEN_INSUFFICIENT_BALANCE || refusal->error == TOKEN_INSUFFICIENT_ALLOWANCE) {
        abi_put_uint256(out, refusal->has);
        abi_put_uint256(out, refusal->needs);
    }
}

static const struct token_refusal accepted = {.error = TOKEN_OK};

static struct token_refusal refused(enum token_error error, const struct address *who)
{
    return (struct token_refusal){.error = error, .who = *who};
}

static void token_log(struct execution *execution, const struct address *token, bool is_approval,
                      const struct address *from, const struct address *to, struct uint256 value)
{
    struct erc20_event event = {.is_approval = is_approval, .from = *from, .to = *to, .value = value};
    logs_add_token(execution->logs, token, &event);
}

struct token_refusal token_transfer(struct execution *execution, const struct address *token,
                                    const struct address *from, const struct address *to,
                                    struct uint256 value)
{
    if (address_is_zero(from))
        return refused(TOKEN_INVALID_SENDER, from);
    if (address_is_zero(to))
        return refused(TOKEN_INVALID_RECEIVER, to);
    struct uint256 balance = token_balance_load(execution->state, token, from), left, sum;
    if (!uint256_subtract(balance, value, &left))
        return (struct token_refusal){TOKEN_INSUFFICIENT_BALANCE, *from, balance, value};
    if (!uint256_is_zero(value)) {
        token_balance_save(execution->state, token, from, left);
        /* No balance exceeds the supply, which is one number. */
        ensure(uint256_add(token_balance_load(execution->state, token, to), value, &sum));
        token_balance_save(execution->state, token, to, sum);
    }
    token_log(execution, token, false, from, to, value);
    return accepted;
}

static struct token_refusal allowance_spend(struct execution *execution, const struct address *token,
                                            const struct address *owner, const struct address *spender,
                                            struct uint256 value)
{
    struct uint256 allowance = allowance_load(execution->state, token, owner, spender), left;
    if (uint256_equal(allowance, uint256_max()))
        return accepted;
    if (!uint256_subtract(allowance, value, &left))
        return (struct token_refusal){TOKEN_INSUFFICIENT_ALLOWANCE, *spender, allowance, value};
    if (address_is_zero(owner))
        return refused(TOKEN_INVALID_APPROVER, owner);
    if (address_is_zero(spender))
        return refused(TOKEN_INVALID_SPENDER, spender);
    if (!uint256_is_zero(value))
        allowance_save(execution->state, token, owner, spender, left);
    return accepted;
}

struct token_refusal token_transfer_from(struct execution *execution, const struct address *token,
                                         const struct address *spender, const struct address *from,
                                         const struct address *to, struct uint256 value)
{
    size_t mark = state_mark(execution->state);
    struct token_refusal refusal = allowance_spend(execution, token, from, spender, value);
    if (refusal.error == TOKEN_OK)
        refusal = token_transfer(execution, token, from, to, value);
    if (refusal.error != TOKEN_OK)
        state_revert(execution->state, mark);
    return refusal;
}

static struct token_refusal token_approve(struct execution *execution, const struct address *token,
                                          const struct address *owner, const struct address *spender,
                                          struct uint256 value)
{
    if (address_is_zero(owner))
        return refused(TOKEN_INVALID_APPROVER, owner);
    if (address_is_zero(spender))
        return refused(TOKEN_INVALID_SPENDER, spender);
    allowance_save(execution->state, token, owner, spender, value);
    token_log(execution, token, true, owner, spender, value);
    return accepted;
}

/* The functions that change something; each answers true. */
static bool token_change(struct execution *execution, const struct address *address,
                         const struct erc20_call *call, struct buffer *output)
{
    const struct address *caller = &execution->caller;
    struct token_refusal refusal;
    if (call->function == ERC20_TRANSFER)
        refusal = token_transfer(execution, address, caller, &call->other, call->value);
    else if (call->function == ERC20_APPROVE)
        refusal = token_approve(execution, address, caller, &call->other, call->value);
    else
        refusal = token_transfer_from(execution, address, caller, &call->owner, &call->other, call->value);
    if (refusal.error != TOKEN_OK) {
        token_encode_refusal(output, &refusal);
        return false;
    }
    abi_put_bool(output, true);
    return true;
}

bool token_execute(struct execution *execution, const struct address *address, const uint8_t *data,
                   size_t length, struct buffer *output)
{
    struct token token;
    struct erc20_call call;
    ensure(token_load(execution->state, address, &token));
    if (execution->value != 0 || !erc20_decode_call(data, length, &call))
        return false;
    switch (call.function) {
    case ERC20_NAME:
        erc20_encode_text(output, token.name);
        return true;
    case ERC20_SYMBOL:
        erc20_encode_text(output, token.symbol);
        return true;
    case ERC20_DECIMALS:
        contract_encode_word(output, token.decimals);
        return true;
    case ERC20_TOTAL_SUPPLY:
        erc20_encode_number(output, token.supply);
        return true;
    case ERC20_BALANCE_OF:
        erc20_encode_number(output, token_balance_load(execution->state, address, &call.owner));
        return true;
    case ERC20_ALLOWANCE:
        erc20_encode_number(output, allowance_load(execution->state, address, &call.owner, &call.other));
        return true;
    case ERC20_TRANSFER:
    case ERC20_APPROVE:
    case ERC20_TRANSFER_FROM:
        return token_change(execution, address, &call, output);
    case ERC20_FUNCTION_COUNT:
        break;
    }
    return false;
}

/* The address that CREATE would give the factory's n-th contract: keccak256(rlp([factory, n]))[12..32]. */
static struct address token_address(const struct address *factory, uint64_t number)
{
    struct buffer rlp = {0};
    size_t list = rlp_list_begin(&rlp);
    rlp_put_bytes(&rlp, factory, sizeof(*factory));
    rlp_put_u64(&rlp, number);
    rlp_list_end(&rlp, list);
    struct hash hash = keccak256(rlp.data, rlp.length);
    buffer_free(&rlp);
    struct address address;
    memcpy(address.bytes, hash.bytes + 12, sizeof(address.bytes));
    return address;
}

bool factory_execute(struct execution *execution, const uint8_t *data, size_t length, struct buffer *output)
{
    struct token_creation creation;
    if (execution->value != 0 || !token_create_decode(data, length, &creation))
        return false;
    if (address_is_zero(&execution->caller)) {
        struct token_refusal refusal = refused(TOKEN_INVALID_RECEIVER, &execution->caller);
        token_encode_refusal(output, &refusal);
        return false;
    }
    uint64_t number = counter_load(execution->state, COUNTER_TOKENS) + 1;
    counter_save(execution->state, COUNTER_TOKENS, number);
    const struct address *factory = &execution->config->factory;
    struct address address = token_address(factory, number);
    struct token token = {.decimals = creation.decimals, .supply = creation.supply};
    memcpy(token.name, creation.name, sizeof(token.name));
    memcpy(token.symbol, creation.symbol, sizeof(token.symbol));
    token_save(execution->state, &address, &token);
    token_balance_save(execution->state, &address, &execution->caller, token.supply);
    token_log(execution, &address, false, &ADDRESS_ZERO, &execution->caller, token.supply);
    struct hash topics[4];
    size_t topic_count;
    struct buffer event = {0};
    token_created_encode(&address, &execution->caller, &creation, topics, &topic_count, &event);
    logs_add(execution->logs, factory, topics, topic_count, event.data, event.length);
    buffer_free(&event);
    abi_put_address(output, &address);
    return true;
}
