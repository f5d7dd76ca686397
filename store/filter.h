/* A filter: which of many hashes have never been added? Its "may have" is wrong once in a hundred times at most, its
 * "has not" never.
 *
 * A Bloom filter whose bits for one hash all lie in one cache line, one in each of its eight words, so that a look
 * waits for memory once (Putze, Sanders, Singler, "Cache-, Hash- and Space-Efficient Bloom Filters", 2007; the form
 * with a bit in each word is that of Apache Parquet's). With 16 bits a hash a full one lets one in a thousand through, several layers the sum of theirs. It
 * cannot grow, so there are layers: once the newest is full another follows, with as much room as all before it.
 *
 * One thread at a time adds. Others may look meanwhile, as long as filter_layer_add is kept apart from them.
 */
#ifndef RILL_STORE_FILTER_H
#define RILL_STORE_FILTER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buffer.h"

#define FILTER_ROOM_MIN ((uint64_t)1 << 19) /* hashes in the first layer: 1 MiB */

struct filter_layer;

/* All zero: empty. Not to be copied; filter_free gives its memory back. */
struct filter {
    struct filter_layer *newest;
    uint64_t count; /* of hashes added, the same one each time it was */
};

/* How many more can be added before it needs another layer. */
uint64_t filter_room(const struct filter *filter);
/* A layer with room for at least so many hashes, and as many as the filter has. In two steps, because the first takes
 * milliseconds and others must not look during the second. */
struct filter_layer *filter_layer_make(const struct filter *filter, uint64_t room);
void filter_layer_add(struct filter *filter, struct filter_layer *layer);
/* There is room for it. */
void filter_add(struct filter *filter, uint64_t hash);
/* Out: for each hash, whether it may have been added; where it is false on entry it is left so, and not looked for. */
void filter_look(const struct filter *filter, const uint64_t *hashes, size_t count, bool *out);
/* Moves all of `from` into the filter; `from` is empty then. */
void filter_take(struct filter *filter, struct filter *from);
void filter_free(struct filter *filter);

/* In the byte order of this machine, with a checksum against torn files, not against whoever writes files; `before`, a
 * hash of what comes before it in the file, is in the checksum too. Each
 * returns false if the file failed; the filter that was read is empty then. filter_read takes no more than `bytes_max` bytes of
 * memory, whatever the file says. */
bool filter_write(const struct filter *filter, FILE *file, uint64_t before) MUST_USE;
bool filter_read(struct filter *filter, FILE *file, uint64_t before, uint64_t bytes_max) MUST_USE;

#endif
