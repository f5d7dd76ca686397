/* Where all chance comes from: one seed, one sequence (splitmix64). */
#ifndef RILL_TESTS_SIM_RANDOM_H
#define RILL_TESTS_SIM_RANDOM_H

#include <stdint.h>

struct random {
    uint64_t state;
};

static inline uint64_t random_next(struct random *random)
{
    uint64_t z = random->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* 0 … sides - 1. */
static inline uint64_t random_below(struct random *random, uint64_t sides)
{
    return random_next(random) % sides;
}

#endif
