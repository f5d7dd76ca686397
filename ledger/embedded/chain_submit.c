/* What a node checks before it lets a transaction wait, in its usual words: clients know them. */
#include <stdio.h>

#include "ledger/embedded/chain_parts.h"
#include "ledger/embedded/gas.h"

/* What the sender's other waiting transactions may cost; saturates. */
static struct uint256 waiting_cost(const struct chain *chain, const struct address *sender,
                                   uint64_t except_nonce)
{
    struct uint256 sum = uint256_of(0);
    for (size_t i = 0; i < mempool_count(chain->mempool); i++) {
        const struct waiting *waiting = mempool_at(chain->mempool, i);
        if (waiting->transaction.nonce == except_nonce || !address_equal(&waiting->sender, sender))
            continue;
        if (!uint256_add(sum, transaction_cost_max(&waiting->transaction), &sum))
            return uint256_max();
    }
    return sum;
}

static const char *check_sender(struct chain *chain, const struct transaction *transaction,
                                const struct address *sender)
{
    struct account account = account_load(chain->state, sender);
    struct uint256 cost = waiting_cost(chain, sender, transaction->nonce);
    if (transaction->nonce < account.nonce) {
        snprintf(chain->refusal, sizeof(chain->refusal), "nonce too low: next nonce %llu, tx nonce %llu",
                 (unsigned long long)account.nonce, (unsigned long long)transaction->nonce);
        return chain->refusal;
    }
    if (transaction->nonce - account.nonce >= MEMPOOL_NONCES_MAX) {
        snprintf(chain->refusal, sizeof(chain->refusal), "nonce too high: next nonce %llu, tx nonce %llu",
                 (unsigned long long)account.nonce, (unsigned long long)transaction->nonce);
        return chain->refusal;
    }
    if (!uint256_add(cost, transaction_cost_max(transaction), &cost) ||
        uint256_compare(account.balance, cost) < 0)
        return "insufficient funds for gas * price + value";
    return NULL;
}

static const char *check_transaction(struct chain *chain, const struct transaction *transaction)
{
    if (transaction->chain_id != chain->parameters.chain_id)
        return "invalid chain id for signer";
    if (transaction->creates)
        return "contract creation is not supported by the embedded ledger";
    if (transaction->gas_limit > BLOCK_GAS_LIMIT)
        return "exceeds block gas limit";
    if (transaction->gas_limit < gas_intrinsic(transaction))
        return "intrinsic gas too low";
    if (transaction->max_fee_per_gas < chain->base_fee)
        return "max fee per gas less than block base fee";
    return NULL;
}

const char *chain_submit(struct chain *chain, const uint8_t *raw, size_t length, struct hash *hash)
{
    struct transaction transaction;
    struct address sender;
    size_t index;
    enum transaction_error error = transaction_decode(raw, length, &transaction, &sender, hash);
    if (error != TRANSACTION_OK)
        return transaction_error_text(error);
    if (history_transaction(chain->history, hash, &index) != NULL ||
        mempool_find(chain->mempool, hash) != NULL)
        return "already known";
    const char *refusal = check_transaction(chain, &transaction);
    if (refusal == NULL)
        refusal = check_sender(chain, &transaction, &sender);
    if (refusal != NULL)
        return refusal;
    switch (mempool_add(chain->mempool, raw, length)) {
    case MEMPOOL_OK:
        return NULL;
    case MEMPOOL_KNOWN:
        return "already known";
    case MEMPOOL_UNDERPRICED:
        return "replacement transaction underpriced";
    case MEMPOOL_FULL:
        return "txpool is full";
    }
    return NULL;
}
