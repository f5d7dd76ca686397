/* A hub's statement of what it owes, as an auditor has it: read, checked against the hub's signature, and held against
 * another of the same hub. */
#ifndef RILL_WALLET_STATEMENT_H
#define RILL_WALLET_STATEMENT_H

#include "crypto/liabilities.h"
#include "wallet/command.h"

struct statement {
    struct liabilities content;
    struct signature signature;
    struct hash event;
};

/* Reads what GET /liabilities answers. False: it makes no sense. */
bool statement_of_json(const json_t *json, struct statement *out) MUST_USE;
bool statement_is_signed(const struct statement *statement, const struct domain *domain,
                         const struct address *hub) MUST_USE;
/* NULL, or what two statements, both signed by one hub, show it to have done. */
const char *statement_contradiction(const struct statement *a, const struct statement *b);

#endif
