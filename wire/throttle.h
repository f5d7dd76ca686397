/* So many at once, then so many a second; what turns out to be worth it is given back.
 *
 * Kept as one point in time: each take moves it into the future by its share of a second, and it may be at most the
 * burst's share ahead of the clock. The caller says what time it is.
 */
#ifndef RILL_WIRE_THROTTLE_H
#define RILL_WIRE_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>

struct throttle {
    uint32_t per_second, burst; /* both at least 1 */
    uint64_t paid_until_us;     /* all that was taken is paid for then */
};

/* One more may be taken. */
bool throttle_allows(const struct throttle *throttle, uint64_t now_us);
void throttle_take(struct throttle *throttle, uint64_t now_us);
/* The last one taken, or one before, does not count. */
void throttle_give_back(struct throttle *throttle, uint64_t now_us);

#endif
