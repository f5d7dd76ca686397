/* At the end: everybody's books against everybody else's, and against the ledger. */
#ifndef RILL_TESTS_SIM_ENDING_H
#define RILL_TESTS_SIM_ENDING_H

#include "tests/sim/sim.h"

void ending_check_books(struct sim *sim);
/* held.c: what closed channels still hold for locks. */
void ending_check_held(struct sim *sim);
/* Direct payments that their payers have written off: a hub may owe one back to a client that has no channel any more. */
uint64_t ending_lost(const struct sim *sim);

#endif
