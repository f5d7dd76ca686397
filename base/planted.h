/* Bugs that the simulator plants to see whether it finds them (tests/sim/bugs.c has the list, docs/reliability.md the
 * figures). PLANTED(name) is false at compile time in everything but the simulator's own build, so that the place of
 * each reads as what it is: `if (durable || PLANTED(RELEASE_EARLY))` releases what is durable. */
#ifndef RILL_BASE_PLANTED_H
#define RILL_BASE_PLANTED_H

#ifdef RILL_PLANTED_BUGS

enum planted_bug {
    PLANTED_NOTHING,
    PLANTED_RELEASE_EARLY,
    PLANTED_ACKNOWLEDGE_EARLY,
    PLANTED_ACKNOWLEDGE_AHEAD,
    PLANTED_RECEIPT_EARLY,
    PLANTED_NONCE_REUSED,
    PLANTED_LOCK_FREED_EARLY,
    PLANTED_AVAILABLE_OFF_BY_ONE,
    PLANTED_FEE_NOT_BOOKED,
    PLANTED_REFUND_TWICE,
    PLANTED_REFUND_WITHOUT_ROOM,
    PLANTED_PARCEL_TWICE,
    PLANTED_YOUNG_EVENT_COUNTS,
    PLANTED_EVENTS_AGAIN,
    PLANTED_EXPIRY_EARLY,
    PLANTED_SETTLEMENT_FREED_EARLY,
    PLANTED_SIGNS_AFTER_CLOSE,
    PLANTED_CLOSE_NOT_ANSWERED,
    PLANTED_LOCKS_NOT_VOIDED,
    PLANTED_SECRET_NOT_REGISTERED,
    PLANTED_TOWER_LOOKS_AWAY,
    PLANTED_COUNT
};
extern enum planted_bug planted_bug; /* the one that is in this run */
#define PLANTED(name) (planted_bug == PLANTED_##name)

#else
#define PLANTED(name) 0
#endif

#endif
