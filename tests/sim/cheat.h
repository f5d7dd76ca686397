/* What cheats do; see cheat.c. */
#ifndef RILL_TESTS_SIM_CHEAT_H
#define RILL_TESTS_SIM_CHEAT_H

#include "tests/sim/sim.h"

/* forge.c: an update that breaks a rule, or a second one with a nonce, is on its way. False: there was nothing to
 * forge. */
bool forge_by_client(struct sim *sim, struct sim_wallet *wallet);
bool forge_by_hub(struct sim *sim, enum sim_fault how);

#endif
