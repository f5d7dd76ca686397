/* When a wallet asks for its money by itself (protocol.md, section 8: a client signs only a payout that it asked for, so
 * the policy is the client's). Pure. */
#ifndef RILL_WALLET_PAYOUT_POLICY_H
#define RILL_WALLET_PAYOUT_POLICY_H

#include "base/amount.h"

#define PAYOUT_MINUTES_A_DAY 1440

/* On disk: do not renumber. */
enum payout_mode {
    PAYOUT_MANUAL = 0,    /* only when the user says so */
    PAYOUT_THRESHOLD = 1, /* as soon as `threshold` can be paid out */
    PAYOUT_DAILY = 2      /* at a minute of the day, if at least `threshold` can be */
};

struct payout_policy {
    enum payout_mode mode;
    struct amount threshold; /* 0 with PAYOUT_DAILY: whatever there is */
    struct amount keep;      /* stays in the channel */
    uint16_t minute;         /* PAYOUT_DAILY: of the day, UTC */
    uint64_t done_s;         /* PAYOUT_DAILY: all moments up to this one are dealt with, Unix seconds */
};

/* NULL, or what is wrong with it, one sentence. */
const char *payout_policy_trouble(const struct payout_policy *policy);
/* The newest moment of the policy at or before unix_s; 0 unless it is PAYOUT_DAILY. The next one is a day later. */
uint64_t payout_policy_moment(const struct payout_policy *policy, uint64_t unix_s);
/* Whether payouts may be asked for now. */
bool payout_policy_is_due(const struct payout_policy *policy, uint64_t unix_s);
/* What a channel should ask for once the policy is due; 0: nothing. available: what the client can take out. */
struct amount payout_policy_amount(const struct payout_policy *policy, struct amount available);

#endif
