/* What the commands of `rill ledger` share: the key that pays, and transactions with a clear end. */
#ifndef RILL_WALLET_SENDING_H
#define RILL_WALLET_SENDING_H

#include "wallet/command.h"
#include "wallet/shell.h"

extern const char sending_secret_help[];

/* Puts the key that sends and its address into the session: the wallet's, --key-file's, or that of secret_file if it is not
 * NULL. Returns RILL_EXIT_OK, or an exit code after a line on stderr; so do all here. */
int sending_key(struct session *session, const char *secret_file) MUST_USE;
/* A session with the ledger and that key. */
int sending_open(struct session *session, const struct settings *settings, const char *secret_file) MUST_USE;
/* A transaction under way. sending_begin's result is the context for sending_told, the callback of ledger_send. */
struct sent {
    bool is_known, is_abandoned;
    enum ledger_error error;
    struct ledger_receipt receipt;
};
struct sent *sending_begin(void);
ledger_sent sending_told;
/* Waits for the outcome, --timeout-s and the time that the confirmations take. RILL_EXIT_OK: it is in *sent, whatever it is;
 * RILL_EXIT_PENDING after a line that says so. */
int sending_wait(struct session *session, const struct sent *sent, const char *what) MUST_USE;
/* In every case, once. */
void sending_end(struct sent *sent);

/* Sends and waits until it is confirmed. to NULL: the hub's contract. what: "filling the pool", for errors. */
int sending_call(struct session *session, const struct address *to, unsigned_wide value,
                 const struct buffer *data, const char *what, struct ledger_receipt *receipt) MUST_USE;
int sending_contract(struct session *session, const struct contract_call *call, unsigned_wide value,
                     const char *what) MUST_USE;
/* What an address holds of the native coin; false: no good answer. */
bool sending_coin_balance(struct session *session, const struct address *of, unsigned_wide *out) MUST_USE;
bool sending_token_balance(struct session *session, const struct address *token, const struct address *of,
                           unsigned_wide *out) MUST_USE;

#endif
