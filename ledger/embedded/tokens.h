/* ERC-20 tokens with OpenZeppelin's behaviour (version 5), and the factory that makes them (IRillHub.sol). */
#ifndef RILL_LEDGER_EMBEDDED_TOKENS_H
#define RILL_LEDGER_EMBEDDED_TOKENS_H

#include "ledger/embedded/execution.h"

/* Why a token refused; each is OpenZeppelin's custom error of that name. */
enum token_error {
    TOKEN_OK,
    TOKEN_INVALID_SENDER,        /* ERC20InvalidSender(sender): zero */
    TOKEN_INVALID_RECEIVER,      /* ERC20InvalidReceiver(receiver): zero */
    TOKEN_INVALID_APPROVER,      /* ERC20InvalidApprover(approver): zero */
    TOKEN_INVALID_SPENDER,       /* ERC20InvalidSpender(spender): zero */
    TOKEN_INSUFFICIENT_BALANCE,  /* ERC20InsufficientBalance(sender, balance, needed) */
    TOKEN_INSUFFICIENT_ALLOWANCE /* ERC20InsufficientAllowance(spender, allowance, needed) */
};
/* A refusal with its arguments: who, and the last two errors' numbers. */
struct token_refusal {
    enum token_error error;
    struct address who;
    struct uint256 has, needs;
};
/* Appends the revert data. */
void token_encode_refusal(struct buffer *out, const struct token_refusal *refusal);
const char *token_error_signature(enum token_error error);

/* transfer and transferFrom as called by `spender`. A refusal leaves the state as it was. */
struct token_refusal token_transfer(struct execution *execution, const struct address *token,
                                    const struct address *from, const struct address *to,
                                    struct uint256 value);
struct token_refusal token_transfer_from(struct execution *execution, const struct address *token,
                                         const struct address *spender, const struct address *from,
                                         const struct address *to, struct uint256 value);

/* Executes calldata at a token or at the factory. Returns false for a revert; output gets the result or the
 * revert data (empty: malformed calldata, or coins sent along). What a revert leaves in state and logs is the
 * caller's to undo. */
bool token_execute(struct execution *execution, const struct address *token, const uint8_t *data,
                   size_t length, struct buffer *output) MUST_USE;
bool factory_execute(struct execution *execution, const uint8_t *data, size_t length,
                     struct buffer *output) MUST_USE;

#endif
