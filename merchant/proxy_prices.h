/* What a request costs: the rows of a price table, in their order; the first that fits counts.
 *
 *     # METHOD  PATH          PRICE    [PER-KIB]
 *     GET       /status       0                      exactly this path, free
 *     GET       /v1/images/   0.002    0.0001        everything below it; and so much per KiB of the answer
 *     *         /v1/x*.png    0.05                   '*': any text, slashes too; '?': one character
 *     *         /admin/       closed                 answered 404, paid or not
 */
#ifndef RILL_MERCHANT_PROXY_PRICES_H
#define RILL_MERCHANT_PROXY_PRICES_H

#include "base/amount.h"

struct prices;

/* Amounts of an asset of so many decimals, in units. */
struct price {
    uint64_t units;
    uint64_t kib_units; /* for each KiB of the answer's body that is begun; 0: none */
    bool closed;
};

struct prices *prices_new(uint8_t decimals);
void prices_free(struct prices *prices);
/* Adds the rows of a file behind those there are. False, and one line that names the line, on anything it does not
 * understand: a table is never half read by intent, so the program should end. */
bool prices_read(struct prices *prices, const char *file, char *message, size_t message_size) MUST_USE;
/* One row's text without its line end; comments and empty lines are taken too. False: message says why. */
bool prices_add(struct prices *prices, const char *line, char *message, size_t message_size) MUST_USE;
size_t prices_count(const struct prices *prices);

/* The price of a request; path: as http_path gives it. A HEAD without a row of its own costs what a GET does. Nothing
 * fits: closed. Per KiB of a HEAD nothing is asked: it has no body. */
struct price prices_find(const struct prices *prices, const char *method, const char *path);
/* What so many bytes of an answer cost. False: that is no amount any more. */
bool price_of_bytes(const struct price *price, uint64_t bytes, uint64_t *units) MUST_USE;

/* The rows by index, for showing them; false behind the last. */
bool prices_row(const struct prices *prices, size_t index, const char **method, const char **path,
                struct price *price);

#endif
