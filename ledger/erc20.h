/* ERC-20 tokens and ITokenFactory (IRillHub.sol): calls, results and events, both directions. */
#ifndef RILL_LEDGER_ERC20_H
#define RILL_LEDGER_ERC20_H

#include "ledger/contract.h"
#include "ledger/uint256.h"

/* Longest name and symbol that are read or made, in bytes. */
#define TOKEN_TEXT_MAX 64

enum erc20_function {
    ERC20_NAME,
    ERC20_SYMBOL,
    ERC20_DECIMALS,
    ERC20_TOTAL_SUPPLY,
    ERC20_BALANCE_OF,
    ERC20_ALLOWANCE,
    ERC20_TRANSFER,
    ERC20_APPROVE,
    ERC20_TRANSFER_FROM,
    ERC20_FUNCTION_COUNT
};
/* "transfer(address,uint256)"; its first four hash bytes, big-endian. */
const char *erc20_function_signature(enum erc20_function function);
uint32_t erc20_selector(enum erc20_function function);

struct erc20_call {
    enum erc20_function function;
    struct address owner; /* balanceOf: account; allowance: owner; transferFrom: from */
    struct address other; /* transfer, transferFrom: to; approve, allowance: spender */
    struct uint256 value; /* transfer, approve, transferFrom */
};
void erc20_encode_call(struct buffer *out, const struct erc20_call *call);
/* False: unknown selector or malformed. */
bool erc20_decode_call(const uint8_t *data, size_t length, struct erc20_call *out) MUST_USE;
/* Calldata in one call. */
void erc20_encode_approve(struct buffer *out, const struct address *spender, unsigned_wide value);
void erc20_encode_transfer(struct buffer *out, const struct address *to, unsigned_wide value);
void erc20_encode_balance_of(struct buffer *out, const struct address *account);
void erc20_encode_allowance(struct buffer *out, const struct address *owner, const struct address *spender);
/* name, symbol, decimals, totalSupply. */
void erc20_encode_plain(struct buffer *out, enum erc20_function function);

/* Results. A number or bool is one word (abi_put_uint256, contract_encode_word); a text is dynamic. */
void erc20_encode_number(struct buffer *out, struct uint256 value);
bool erc20_decode_number(const uint8_t *data, size_t length, struct uint256 *out) MUST_USE;
void erc20_encode_text(struct buffer *out, const char *text);
/* A string result, or the bytes32 that some old tokens give. False: malformed, longer than TOKEN_TEXT_MAX, or
 * not UTF-8; *out is then "". */
bool erc20_decode_text(const uint8_t *data, size_t length, char out[TOKEN_TEXT_MAX + 1]) MUST_USE;
/* True for an empty result or a word that is 1: tokens that return nothing are accepted. */
bool erc20_decode_success(const uint8_t *data, size_t length) MUST_USE;

/* Transfer(from, to, value) and Approval(owner, spender, value). */
struct hash erc20_transfer_topic(void);
struct hash erc20_approval_topic(void);
struct erc20_event {
    bool is_approval;
    struct address from; /* Approval: owner */
    struct address to;   /* Approval: spender */
    struct uint256 value;
};
void erc20_encode_event(const struct erc20_event *event, struct hash topics[4], size_t *topic_count,
                        struct buffer *data);
bool erc20_decode_event(const struct contract_log *log, struct erc20_event *out) MUST_USE;

/* ITokenFactory.create(name, symbol, decimals, supply): supply in base units, to the caller. */
struct token_creation {
    char name[TOKEN_TEXT_MAX + 1];
    char symbol[TOKEN_TEXT_MAX + 1];
    uint8_t decimals;
    struct uint256 supply;
};
uint32_t token_create_selector(void);
void token_create_encode(struct buffer *out, const struct token_creation *creation);
/* False: another selector, malformed, or texts longer than TOKEN_TEXT_MAX or with a NUL in them. */
bool token_create_decode(const uint8_t *data, size_t length, struct token_creation *out) MUST_USE;
/* TokenCreated as the factory emits it, for any supply and symbol (contract_encode_event's is bounded to 128
 * bits and 31 bytes). */
void token_created_encode(const struct address *token, const struct address *issuer,
                          const struct token_creation *creation, struct hash topics[4], size_t *topic_count,
                          struct buffer *data);

#endif
