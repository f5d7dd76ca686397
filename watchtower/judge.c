#include "watchtower/judge.h"

enum side closing_closer(const struct closing *closing)
{
    return closing->by_hub ? SIDE_HUB : SIDE_CLIENT;
}

const struct claim *closing_stands(const struct closing *closing, enum side stream)
{
    return stream == SIDE_CLIENT ? &closing->of_client : &closing->of_hub;
}

uint64_t challenge_deadline(const struct closing *closing, uint64_t challenge_period)
{
    return close_time(closing, challenge_period, closing->challenged ? 1 : 0);
}

uint64_t void_deadline(const struct closing *closing, uint64_t challenge_period)
{
    return close_time(closing, challenge_period, 3);
}

uint64_t finish_time(const struct closing *closing, uint64_t challenge_period)
{
    return close_time(closing, challenge_period, 3);
}

static bool stands_as_held(const struct claim *stands, const struct balance_proof *held)
{
    return amount_compare(stands->transferred, held->transferred) == 0 &&
           amount_compare(stands->locked, held->locked) == 0 &&
           hash_equal(&stands->locks_root, &held->locks_root);
}

/* The locks that are held stand in it too: they can be unlocked after it as well. */
static bool keeps_locks(const struct claim *stands, const struct balance_proof *held)
{
    return hash_equal(&stands->locks_root, &held->locks_root) &&
           amount_compare(stands->locked, held->locked) >= 0;
}

/* A tower can be of use: the counterparty closed, a proof is held, and the user has not taken over. */
static bool may_challenge(const struct closing *closing, enum side user, const struct balance_proof *held)
{
    if (closing_closer(closing) == user || held->nonce == 0 || closing->by_partner)
        return false;
    /* Over another tower's challenge the contract takes only a higher nonce. */
    return !closing->challenged || held->nonce > closing_stands(closing, side_other(user))->nonce;
}

bool challenge_needs_witnesses(const struct closing *closing, enum side user,
                               const struct balance_proof *held)
{
    return may_challenge(closing, user, held) &&
           closing_stands(closing, side_other(user))->nonce > held->nonce;
}

enum duty judge_challenge(const struct closing *closing, enum side user, const struct balance_proof *held,
                          struct amount claimable, uint64_t challenge_period, uint64_t now)
{
    if (!may_challenge(closing, user, held))
        return DUTY_NONE;
    const struct claim *stands = closing_stands(closing, side_other(user));
    bool wanted;
    if (stands->nonce <= held->nonce) {
        wanted = stands->nonce != held->nonce || !stands_as_held(stands, held);
    } else {
        /* This tower may lag behind an honest closer; the same money under a higher nonce is not worth the
         * gas. */
        wide worth = (wide)held->transferred.units;
        if (!keeps_locks(stands, held))
            worth += (wide)claimable.units;
        wanted = (wide)stands->transferred.units < worth && !stands_as_held(stands, held);
    }
    if (!wanted)
        return DUTY_NONE;
    return now < challenge_deadline(closing, challenge_period) ? DUTY_DUE : DUTY_TOO_LATE;
}

enum duty judge_void(const struct closing *closing, enum side user, uint64_t min_nonce,
                     uint64_t challenge_period, uint64_t now)
{
    /* The closer's own claim is not a shown proof: a revocation touches it only once it was challenged. */
    bool shown = closing_closer(closing) != user || closing->challenged;
    const struct claim *stands = closing_stands(closing, user);
    uint64_t stored = user == SIDE_CLIENT ? closing->min_nonce_of_client : closing->min_nonce_of_hub;
    if (!shown || amount_is_zero(stands->locked) || stands->nonce >= min_nonce || stands->nonce < stored)
        return DUTY_NONE;
    return now < void_deadline(closing, challenge_period) ? DUTY_DUE : DUTY_TOO_LATE;
}

bool lock_may_pay(const struct lock *lock, bool witness_known, uint64_t registered_at, uint64_t late_from,
                  uint64_t now)
{
    if (registered_at != 0)
        return registered_at <= lock->expiry;
    return now <= lock->expiry && (witness_known || lock->expiry >= late_from);
}
