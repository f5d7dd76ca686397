/* Money into and out of the contract, and the sums that must hold. Internal to the contract. */
#ifndef RILL_LEDGER_EMBEDDED_CONTRACT_MONEY_H
#define RILL_LEDGER_EMBEDDED_CONTRACT_MONEY_H

#include "ledger/embedded/execution.h"

/* An asset while a call works on it: opened, changed, saved. One at a time for an asset. */
struct vault {
    struct execution *execution;
    struct address asset;
    struct asset_record record;
};

struct vault vault_open(struct execution *execution, const struct address *asset);
static inline bool vault_is_listed(const struct vault *vault)
{
    return vault->record.unit != 0;
}
/* Asserts conservation, then saves. */
void vault_save(const struct vault *vault);

/* Takes amount × unit from the caller: the coins sent along, or tokens by transferFrom. False is WrongValue;
 * what a failed pull leaves is undone with the call. The caller books the amount into pool or channels. */
bool vault_pull(struct vault *vault, struct amount amount) MUST_USE;
/* Sends amount × unit. False, nothing changed: it cannot be delivered. 0 does nothing and succeeds. */
bool vault_send(struct vault *vault, const struct address *to, unsigned_wide units) MUST_USE;
/* Sends, or records as owed (event OwedRecorded) what cannot be delivered: never stops anybody else. */
void vault_pay(struct vault *vault, const struct address *to, struct amount amount);
/* Adds to the pool, or records as owed to the hub what would take the pool to 2^63. */
void vault_pay_hub(struct vault *vault, struct amount amount);

void contract_emit(struct execution *execution, const struct contract_event *event);

#endif
