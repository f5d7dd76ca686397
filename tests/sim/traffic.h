/* What is under way on a connection arrives, and its ends learn that it is gone. */
#ifndef RILL_TESTS_SIM_TRAFFIC_H
#define RILL_TESTS_SIM_TRAFFIC_H

#include "tests/sim/sim.h"

bool traffic_can(const struct sim *sim, const struct sim_link *link, bool to_server);
void traffic_move(struct sim *sim, struct sim_link *link, bool to_server);
bool traffic_end_can(const struct sim *sim, const struct sim_link *link, bool at_server);
void traffic_end(struct sim *sim, struct sim_link *link, bool at_server);

#endif
