/* The code that creates the contracts of ledger/contracts on an EVM chain. It is part of the program, so that an operator
 * deploys without a compiler; `make contract-code` brings it up to date, `make check-contract-code` holds it against the
 * sources. */
#ifndef RILL_LEDGER_CONTRACT_CODE_H
#define RILL_LEDGER_CONTRACT_CODE_H

#include "base/buffer.h"
#include "base/bytes.h"

#define CONTRACT_BOUNTY_BPS_MAX 5000 /* the constructor refuses more */

/* Appends RillHub's creation code with its constructor's arguments: what ledger_create takes. challenge_period: seconds. */
void contract_code_hub(struct buffer *out, const struct address *hub, uint64_t challenge_period,
                       uint16_t bounty_bps);
/* Appends RillTokenFactory's; it has no arguments. */
void contract_code_factory(struct buffer *out);
/* Appends code that creates nothing and does nothing, but with each kind of instruction that these contracts need and
 * older chains lack: an eth_call of it fails where they cannot work. */
void contract_code_probe(struct buffer *out);

#endif
