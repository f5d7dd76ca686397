/* The bugs that are planted to see whether the simulator finds them, and within how many seeds it must. */
#include "tests/sim/bugs.h"

#ifdef RILL_PLANTED_BUGS
enum planted_bug planted_bug;
#define PLACE(name) PLANTED_##name
#else
#define PLACE(name) 0
#endif

const struct sim_bug sim_bugs[] = {
    {PLACE(RELEASE_EARLY), "release-early", 100, "frames leave before what they tell is durable"},
    {PLACE(ACKNOWLEDGE_EARLY), "acknowledge-early", 200,
     "the hub's frames wait for the batch before their own"},
    {PLACE(ACKNOWLEDGE_AHEAD), "acknowledge-ahead", 3000, "an ACK goes ahead with a receipt, durable or not"},
    {PLACE(RECEIPT_EARLY), "receipt-early", 1500,
     "a tower's receipt leaves before the appointment is durable"},
    {PLACE(NONCE_REUSED), "nonce-reused", 100, "a signed update is not written: its nonce is used again"},
    {PLACE(LOCK_FREED_EARLY), "lock-freed-early", 300, "a dropped lock can be spent before its revocation"},
    {PLACE(AVAILABLE_OFF_BY_ONE), "available-off-by-one", 100, "one unit more than there is can be spent"},
    {PLACE(FEE_NOT_BOOKED), "fee-not-booked", 100, "a direct payment moves its amount and not its fee"},
    {PLACE(REFUND_TWICE), "refund-twice", 100, "a refund is put into the update twice"},
    {PLACE(REFUND_WITHOUT_ROOM), "refund-without-room", 1500,
     "no room is made for a refund: it waits for ever"},
    {PLACE(PARCEL_TWICE), "parcel-twice", 500, "a parcel that comes again is applied again"},
    {PLACE(YOUNG_EVENT_COUNTS), "young-event-counts", 100,
     "a deposit counts in a young block, and again later"},
    {PLACE(EVENTS_AGAIN), "events-again", 100,
     "the ledger's events are written without the cursor behind them"},
    {PLACE(EXPIRY_EARLY), "expiry-early", 300, "a lock is dropped a margin before its expiry"},
    {PLACE(SETTLEMENT_FREED_EARLY), "settlement-freed-early", 100,
     "a settlement is given up before its deadline"},
    {PLACE(SIGNS_AFTER_CLOSE), "signs-after-close", 100, "a wallet goes on signing after it has closed"},
    {PLACE(CLOSE_NOT_ANSWERED), "close-not-answered", 300, "the hub does not answer an old claim"},
    {PLACE(LOCKS_NOT_VOIDED), "locks-not-voided", 1500, "the hub does not void old locks"},
    {PLACE(SECRET_NOT_REGISTERED), "secret-not-registered", 4000,
     "a wallet that is not unlocked does not register"},
    {PLACE(TOWER_LOOKS_AWAY), "tower-looks-away", 1500, "a tower does not challenge"},
};
const size_t sim_bug_count = ARRAY_LENGTH(sim_bugs);

void sim_plant(unsigned bug)
{
#ifdef RILL_PLANTED_BUGS
    planted_bug = (enum planted_bug)bug;
#else
    ensure(bug == 0);
#endif
}

bool sim_can_plant(void)
{
#ifdef RILL_PLANTED_BUGS
    return true;
#else
    return false;
#endif
}
