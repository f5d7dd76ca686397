/* How people use a mobile-money service: how often they act in a period, and with which amounts.
 *
 * The figures are the aggregated statistics of a real mobile-money service in Africa, as published with the simulator
 * PaySim: E. A. Lopez-Rojas, A. Elmir, S. Axelsson, "PaySim: A financial mobile money simulator for fraud detection",
 * 28th European Modeling and Simulation Symposium (EMSS), 2016. Only the figures are used here.
 */
#ifndef RILL_BENCH_MOBILE_MONEY_H
#define RILL_BENCH_MOBILE_MONEY_H

#include <stddef.h>
#include <stdint.h>

enum mobile_money_action {
    MOBILE_MONEY_PAYMENT, /* to a shop */
    MOBILE_MONEY_TRANSFER /* to another person */
};

/* A group of clients: those who act count_min to count_max times. */
struct mobile_money_group {
    uint32_t count_min, count_max;
    double mean,
        spread;   /* of the amounts, in the service's currency; spread 0: not known (clients who act once) */
    double share; /* of all clients */
};
const struct mobile_money_group *mobile_money_groups(enum mobile_money_action action, size_t *count);

/* The workload's own sequence: a seed gives the same one on every machine. */
struct mobile_money_random {
    uint64_t state;
};
struct mobile_money_random mobile_money_seeded(uint64_t seed);
/* 0 … below - 1. */
uint64_t mobile_money_below(struct mobile_money_random *random, uint64_t below);

/* What one client does: how many times, and from which amounts it draws. */
struct mobile_money_habit {
    uint32_t count;
    double mean, spread;
};
struct mobile_money_habit mobile_money_draw_habit(struct mobile_money_random *random,
                                                  enum mobile_money_action action, uint32_t count_max);
/* An amount in the service's currency: log-normal with the habit's mean and spread, between a hundredth and five times
 * the mean. */
double mobile_money_draw_amount(struct mobile_money_random *random, const struct mobile_money_habit *habit);

#endif
