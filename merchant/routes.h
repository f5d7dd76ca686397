/* The table of the API's operations: method, path, what a key must be allowed. The test that visits every operation holds
 * it against merchant/openapi.json. */
#ifndef RILL_MERCHANT_ROUTES_H
#define RILL_MERCHANT_ROUTES_H

#include "merchant/api.h"

struct route {
    enum evhttp_cmd_type method;
    const char *path; /* '*' stands for one part */
    unsigned scope;   /* 0: no key needed */
    bool writes;      /* heeds Idempotency-Key */
    bool needs_key;   /* moves money: insists on an Idempotency-Key */
    call_function *run;
};
/* NULL if there is none; *path_known: with another method there is. HEAD counts as GET. */
const struct route *route_find(enum evhttp_cmd_type method, const char *const *parts, size_t part_count,
                               bool *path_known);

#endif
