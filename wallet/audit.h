/* What the files of `rill audit` share. */
#ifndef RILL_WALLET_AUDIT_H
#define RILL_WALLET_AUDIT_H

#include "wallet/books.h"
#include "wallet/shell.h"
#include "wallet/statement.h"

/* What became of an own channel in a statement. */
enum verdict_own {
    OWN_COUNTED,
    OWN_MOVED,    /* a payment came between: another statement may do */
    OWN_BEHIND,   /* the ledger has changed the channel since the statement's block: a later one may do */
    OWN_REPLACED, /* a newer statement came before the hub showed the leaf */
    OWN_LEFT_OUT, /* from here on the hub is wrong */
    OWN_STALE,    /* an update that it had acknowledged is left out */
    OWN_UNSIGNED, /* it counts by proofs that were never signed */
    OWN_BALANCE,  /* another balance than the proofs' */
    OWN_PATH      /* the leaf is not in the sum */
};
/* The hub is not wrong, as far as that statement goes; nor is it known to be right. */
static inline bool own_is_unsettled(enum verdict_own verdict)
{
    return verdict == OWN_MOVED || verdict == OWN_BEHIND || verdict == OWN_REPLACED;
}

struct own {
    struct channel_key key;
    struct rill_balance before; /* when the statement was asked for */
    enum verdict_own verdict;
    int status; /* the hub's answer */
    struct liability_leaf leaf;
    uint64_t index, count;
    size_t length;
    struct sum_node path[SUM_PATH_MAX];
};

struct audit {
    struct session *session;
    const char *http;
    bool with_wallet;
    struct statement statement;
    json_t *shown;     /* the hub's answer */
    uint64_t behind_s; /* how far its block is behind what the ledger has confirmed, by the blocks' times */
    struct books books;
    struct own *own;
    size_t own_count;
    bool covered;
};

/* audit_when.c: of which moment the statement is. Sees to it that the ledger has its block, and that its time is that
 * block's; behind_s is known then. RILL_EXIT_OK, or an exit code after a line on stderr. */
int audit_when(struct audit *audit) MUST_USE;
/* A hub whose node works is behind by what it takes to confirm a block. */
bool audit_is_old(const struct audit *audit);

/* audit_own.c */
const char *audit_own_text(enum verdict_own verdict);
/* Notes the own channels as they are now. */
void audit_own_note(struct audit *audit);
/* Asks the hub for the leaf of one. RILL_EXIT_OK, or an exit code after a line on stderr. */
int audit_own_ask(struct audit *audit, struct own *own) MUST_USE;
/* Judges its answer by the books and the wallet's own proofs. */
enum verdict_own audit_own_judge(const struct audit *audit, struct own *own);

#endif
