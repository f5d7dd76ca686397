/* The machine's clocks, for the shells. The pure core gets its time as an argument. */
#ifndef RILL_BASE_CLOCK_H
#define RILL_BASE_CLOCK_H

#include <stdint.h>

uint64_t clock_monotonic_us(void); /* never goes back; for durations */
uint64_t clock_unix_s(void);       /* wall clock */
uint64_t clock_unix_ms(void);

#endif
