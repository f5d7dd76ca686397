/* Servers in front of this one, as those that speak TLS are: what they say of a client is believed, and nobody else. */
#ifndef RILL_MERCHANT_FRONTS_H
#define RILL_MERCHANT_FRONTS_H

#include "base/bytes.h"

#define FRONTS_MAX         16
#define FRONT_ADDRESS_SIZE 48

struct fronts {
    struct front {
        uint8_t network[16]; /* of IPv4: mapped into IPv6 */
        unsigned bits;       /* of the 128 */
    } all[FRONTS_MAX];
    size_t count;
};

/* "ADDRESS[/BITS],…"; NULL: none. False, and one line, if it is not that. */
bool fronts_read(const char *text, struct fronts *out, char *message, size_t message_size) MUST_USE;
/* address: as text; false also for what is none. */
bool fronts_have(const struct fronts *fronts, const char *address);
/* Whose request it is. forwarded_for: all X-Forwarded-For of the request in their order, commas between; NULL: none. From a
 * front it is the last address in it that is no front itself; else, and where it says none, the peer. */
const char *fronts_client(const struct fronts *fronts, const char *peer, const char *forwarded_for,
                          char out[FRONT_ADDRESS_SIZE]);

#endif
