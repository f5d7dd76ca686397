/* The pending locks of one stream and the Merkle root over them (protocol.md, section 3, "Locks").
 *
 * A binary tree of 1,024 places, place = id mod 1024. An empty place is zero; node(0, x) = x, node(x, 0) = x,
 * else keccak256(min || max). Changes mark their path; lock_set_root recomputes each marked node once.
 */
#ifndef RILL_CHANNEL_LOCK_SET_H
#define RILL_CHANNEL_LOCK_SET_H

#include "base/payment.h"

struct pending_lock {
    struct lock lock;
    struct payment_id payment; /* the id its operation carried */
    struct address peer;       /* the payee its operation named; zero on a payee's leg */
    struct amount fee;         /* the fee its operation stated (part of lock.amount) */
    bool failed;               /* its receiver has said FAIL: the sender may cancel */
};

struct lock_set;

struct lock_set *lock_set_new(void);
void lock_set_free(struct lock_set *set);          /* NULL is allowed */
size_t lock_set_count(const struct lock_set *set); /* NULL: 0 */
/* Places it. Returns false (nothing changed) if the place is taken. */
bool lock_set_add(struct lock_set *set, const struct pending_lock *pending) MUST_USE;
/* Returns false if no lock with this very id is pending. */
bool lock_set_remove(struct lock_set *set, uint64_t id) MUST_USE;
/* NULL if not pending; valid until the set changes. May be written to, but for id, amount, expiry, kind,
 * condition. */
struct pending_lock *lock_set_find(const struct lock_set *set, uint64_t id);
/* The lock at a place (0..1023), NULL if empty. */
struct pending_lock *lock_set_at(const struct lock_set *set, unsigned place);
/* Locks in the order of their ids: the first with id > after; NULL when there is none. */
struct pending_lock *lock_set_next(const struct lock_set *set, uint64_t after);
/* Zero for none (or NULL). At most ten hashes and a leaf for each change since the last call. */
struct hash lock_set_root(struct lock_set *set);
/* A proof that merkle_verify (OpenZeppelin's) accepts. Returns false if not pending. */
bool lock_set_prove(struct lock_set *set, uint64_t id, struct hash proof[LOCK_TREE_DEPTH],
                    size_t *length) MUST_USE;
/* The smallest id > last whose place is free, 0 if none is. */
uint64_t lock_set_next_id(const struct lock_set *set, uint64_t last);

#endif
