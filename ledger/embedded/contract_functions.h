/* The contract's functions that change something, one each. Internal to the contract: contract_execute.c
 * calls them and undoes what a refused one leaves. Every function: checks in the order of protocol.md, then
 * effects. */
#ifndef RILL_LEDGER_EMBEDDED_CONTRACT_FUNCTIONS_H
#define RILL_LEDGER_EMBEDDED_CONTRACT_FUNCTIONS_H

#include "ledger/embedded/execution.h"

/* contract_pool.c */
enum contract_error contract_list_asset(struct execution *execution, const struct contract_call *call);
enum contract_error contract_deposit_pool(struct execution *execution, const struct contract_call *call);
enum contract_error contract_withdraw_pool(struct execution *execution, const struct contract_call *call);
enum contract_error contract_deposit(struct execution *execution, const struct contract_call *call);
enum contract_error contract_withdraw_owed(struct execution *execution, const struct contract_call *call);
/* contract_settle.c */
enum contract_error contract_settle_batch(struct execution *execution, const struct contract_call *call);
/* contract_dispute.c */
enum contract_error contract_set_tower(struct execution *execution, const struct contract_call *call);
enum contract_error contract_start_close(struct execution *execution, const struct contract_call *call);
enum contract_error contract_challenge(struct execution *execution, const struct contract_call *call);
enum contract_error contract_void_locks(struct execution *execution, const struct contract_call *call);
enum contract_error contract_finish(struct execution *execution, const struct contract_call *call);
/* contract_conditions.c */
enum contract_error contract_register_secret(struct execution *execution, const struct contract_call *call);
enum contract_error contract_register_attestation(struct execution *execution,
                                                  const struct contract_call *call);
enum contract_error contract_unlock(struct execution *execution, const struct contract_call *call);

/* Opens a channel in *channel (status 1, event Opened) where there is none yet. */
void contract_open_channel(struct execution *execution, const struct hash *id, const struct channel_key *key,
                           struct channel_state *channel);
/* Client zero or the hub. */
bool contract_key_is_bad(const struct execution *execution, const struct channel_key *key);
static inline bool contract_caller_is_hub(const struct execution *execution)
{
    return address_equal(&execution->caller, &execution->config->hub);
}
/* Who signs a stream. */
static inline const struct address *contract_signer(const struct execution *execution,
                                                    const struct channel_key *key, enum side stream)
{
    return stream == SIDE_CLIENT ? &key->client : &execution->config->hub;
}

#endif
