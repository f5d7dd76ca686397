/* The ledger's state: a map from keys to values that can go back.
 *
 * Everything the ledger knows besides its blocks (coins, tokens, channels, …) is a value under a key here, so
 * that a revert, an eth_call and the journal each need one mechanism:
 *
 *     state_put ──▶ changed ──state_revert(mark)──▶ as at the mark        a revert, an eth_call, an estimate
 *                      └─────state_commit(batch)──▶ one record per changed key (base/record.h), newest value,
 *                                                   and a state_past: state_rewind goes back before it
 *
 * A key is the record's type and up to STATE_KEY_MAX bytes; records.h says which types there are and what
 * they hold.
 */
#ifndef RILL_LEDGER_EMBEDDED_STATE_H
#define RILL_LEDGER_EMBEDDED_STATE_H

#include "base/record.h"

#define STATE_KEY_MAX   72
#define STATE_VALUE_MAX 1024

struct state;

struct state *state_new(void);
void state_free(struct state *state); /* NULL is allowed */

/* Returns the value, valid until that key next changes; NULL if there is none. */
const uint8_t *state_get(const struct state *state, uint8_t type, const void *key, size_t key_length,
                         size_t *length);
/* Copies the value. */
void state_put(struct state *state, uint8_t type, const void *key, size_t key_length, const void *value,
               size_t length);

/* Where the state stands now, for state_revert. Valid until the state goes back before it or is committed. */
size_t state_mark(const struct state *state);
void state_revert(struct state *state, size_t mark);
/* The values that one commit replaced. */
struct state_past;
void state_past_free(struct state_past *past); /* NULL is allowed */

/* Appends a record for every key changed since the last commit, in the order they first changed. Returns what
 * was before, for the caller to keep or free. */
struct state_past *state_commit(struct state *state, struct buffer *batch) MUST_USE;
/* Puts back what a commit replaced: a change as any other, so state_revert to a mark from before undoes it.
 * Commits are gone through newest first, without a gap. */
void state_rewind(struct state *state, const struct state_past *past);
/* A record that was read back: as state_put, committed already. Nothing may be uncommitted. */
void state_restore(struct state *state, const struct record *record);

/* Visits every value, in no order. The state must not change meanwhile. */
typedef void state_visit(void *context, uint8_t type, const uint8_t *key, size_t key_length,
                         const uint8_t *value, size_t length);
void state_each(const struct state *state, state_visit *visit, void *context);

#endif
