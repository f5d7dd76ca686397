/* The values of a URL's query, by a table of what may be given. */
#ifndef RILL_HUB_HTTP_QUERY_H
#define RILL_HUB_HTTP_QUERY_H

#include "base/bytes.h"

/* Digits, at most 19. */
bool http_read_number(const char *text, uint64_t *out) MUST_USE;

struct http_value {
    const char *name;
    uint8_t *bytes; /* hexadecimal of just `length` bytes; NULL: a number */
    size_t length;
    uint64_t *number;
    bool optional;
};
/* Reads each given value to where its row says. NULL, or: `wrong` if one is not in the table or not of its kind, `missing`
 * if one that is not optional was not given. query may be NULL. */
const char *http_read_query(const char *query, const struct http_value *values, size_t count,
                            const char *wrong, const char *missing);

#endif
