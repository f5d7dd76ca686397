/* One message being executed: who calls, with what, when, on which state. Passed to everything that the
 * ledger runs natively (the hub contract, tokens, the factory). */
#ifndef RILL_LEDGER_EMBEDDED_EXECUTION_H
#define RILL_LEDGER_EMBEDDED_EXECUTION_H

#include "crypto/typed.h"
#include "ledger/embedded/logs.h"
#include "ledger/embedded/records.h"

/* What never changes after the first start. */
struct contract_config {
    struct domain domain; /* chain id and the contract's address */
    struct address factory;
    struct address hub;
    uint64_t challenge_period;
    uint16_t bounty_bps;
};
#define BOUNTY_BPS_MAX         5000
#define CHALLENGE_PERIOD_MAX_S (10ull * 365 * 24 * 3600)

struct execution {
    struct state *state;
    const struct contract_config *config;
    struct address caller;
    unsigned_wide value; /* wei sent along, in the callee's account already */
    uint64_t time;       /* of the block, Unix seconds */
    struct logs *logs;
};

/* The fixed addresses: they depend on nothing, so that every embedded ledger has its contract at the same
 * place. */
extern const struct address EMBEDDED_CONTRACT; /* "Rill" in ASCII, zeros, 1 */
extern const struct address EMBEDDED_FACTORY;  /* "Rill" in ASCII, zeros, 2 */

/* True for an address that has native code: the contract, the factory, a token. Nobody can send it bare
 * coins. */
bool address_has_code(const struct execution *execution, const struct address *address);
/* Moves coins. False, nothing moved: not enough of them. Whether `to` takes coins is the caller's question.
 */
bool coins_move(struct execution *execution, const struct address *from, const struct address *to,
                struct uint256 amount) MUST_USE;

/* The exact product. */
struct uint256 wide_multiply(unsigned_wide a, unsigned_wide b);

#endif
