#include "store/filter.h"

#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/index.h"

#define LINE_WORDS    8
#define HASHES_A_LINE 32 /* 16 bits each */
#define AHEAD         8  /* lines that are asked for before their turn */
#define LAYERS_MAX    16 /* each as large as all before it: more were made by odd restarts, and one is better */

struct line {
    _Atomic uint64_t words[LINE_WORDS];
};

struct filter_layer {
    struct filter_layer *older;
    uint64_t count, line_count;
    struct line *lines;
};

/* What a layer is in a file, before its lines. */
struct layer_head {
    uint64_t count, line_count;
};

static uint64_t room_of(uint64_t line_count)
{
    return line_count * HASHES_A_LINE;
}

static struct filter_layer *layer_new(uint64_t line_count)
{
    struct filter_layer *layer = xmalloc(sizeof *layer);
    *layer = (struct filter_layer){.line_count = line_count};
    layer->lines = xtable(line_count * sizeof(struct line));
    memset((void *)layer->lines, 0, line_count * sizeof(struct line));
    return layer;
}

/* The hash's upper half says which line: it goes evenly over any number of them. */
static struct line *line_of(const struct filter_layer *layer, uint64_t hash)
{
    return &layer->lines[((unsigned_wide)hash * layer->line_count) >> 64];
}

/* Six bits for each word's place. */
static uint64_t places_of(uint64_t hash)
{
    return index_mix(hash, 0x9e3779b97f4a7c15u);
}

static uint64_t bit_of(uint64_t places, unsigned word)
{
    return (uint64_t)1 << ((places >> (6 * word)) & 63);
}

uint64_t filter_room(const struct filter *filter)
{
    const struct filter_layer *layer = filter->newest;
    return layer == NULL ? 0 : room_of(layer->line_count) - layer->count;
}

struct filter_layer *filter_layer_make(const struct filter *filter, uint64_t room)
{
    room = room < filter->count ? filter->count : room;
    room = room < FILTER_ROOM_MIN ? FILTER_ROOM_MIN : room;
    return layer_new((room + HASHES_A_LINE - 1) / HASHES_A_LINE);
}

void filter_layer_add(struct filter *filter, struct filter_layer *layer)
{
    layer->older = filter->newest;
    filter->newest = layer;
}

void filter_add(struct filter *filter, uint64_t hash)
{
    ensure(filter_room(filter) > 0);
    struct line *line = line_of(filter->newest, hash);
    uint64_t places = places_of(hash);
    for (unsigned word = 0; word < LINE_WORDS; word++) {
        _Atomic uint64_t *at = &line->words[word];
        uint64_t bits = atomic_load_explicit(at, memory_order_relaxed);
        atomic_store_explicit(at, bits | bit_of(places, word), memory_order_relaxed);
    }
    filter->newest->count++;
    filter->count++;
}

static bool line_may_have(const struct line *line, uint64_t hash)
{
    uint64_t places = places_of(hash);
    bool all = true;
    for (unsigned word = 0; word < LINE_WORDS; word++)
        all &= (atomic_load_explicit(&line->words[word], memory_order_relaxed) & bit_of(places, word)) != 0;
    return all;
}

void filter_look(const struct filter *filter, const uint64_t *hashes, size_t count, bool *out)
{
    for (size_t start = 0; start < count; start += AHEAD) {
        size_t end = start + AHEAD < count ? start + AHEAD : count;
        for (const struct filter_layer *layer = filter->newest; layer != NULL; layer = layer->older)
            for (size_t i = start; i < end; i++)
                __builtin_prefetch((const void *)line_of(layer, hashes[i]));
        for (size_t i = start; i < end; i++) {
            bool has = false;
            for (const struct filter_layer *layer = filter->newest; layer != NULL && !has;
                 layer = layer->older)
                has = line_may_have(line_of(layer, hashes[i]), hashes[i]);
            out[i] = out[i] && has;
        }
    }
}

void filter_take(struct filter *filter, struct filter *from)
{
    struct filter_layer **end = &filter->newest;
    while (*end != NULL)
        end = &(*end)->older;
    *end = from->newest;
    filter->count += from->count;
    *from = (struct filter){0};
}

void filter_free(struct filter *filter)
{
    while (filter->newest != NULL) {
        struct filter_layer *layer = filter->newest;
        filter->newest = layer->older;
        free(layer->lines);
        free(layer);
    }
    *filter = (struct filter){0};
}

/* ---- in a file: number of layers u64, each layer's head and lines, newest first, the checksum of all u64 ---- */

struct checked {
    FILE *file;
    uint64_t sum;
};

static bool put(struct checked *checked, const void *bytes, size_t length)
{
    checked->sum = index_hash(checked->sum, bytes, length);
    return fwrite(bytes, 1, length, checked->file) == length;
}

static bool take(struct checked *checked, void *bytes, size_t length)
{
    if (fread(bytes, 1, length, checked->file) != length)
        return false;
    checked->sum = index_hash(checked->sum, bytes, length);
    return true;
}

bool filter_write(const struct filter *filter, FILE *file, uint64_t before)
{
    struct checked checked = {file, before};
    uint64_t layers = 0;
    for (const struct filter_layer *layer = filter->newest; layer != NULL; layer = layer->older)
        layers++;
    bool good = put(&checked, &layers, sizeof layers);
    for (const struct filter_layer *layer = filter->newest; good && layer != NULL; layer = layer->older) {
        struct layer_head head = {layer->count, layer->line_count};
        good = put(&checked, &head, sizeof head) &&
               put(&checked, (const void *)layer->lines, layer->line_count * sizeof(struct line));
    }
    uint64_t sum = checked.sum;
    return good && put(&checked, &sum, sizeof sum);
}

static bool read_layer(struct filter *filter, struct checked *checked, uint64_t *bytes_left)
{
    struct layer_head head;
    if (!take(checked, &head, sizeof head) || head.line_count == 0 ||
        head.line_count > *bytes_left / sizeof(struct line) || head.count > room_of(head.line_count))
        return false;
    *bytes_left -= head.line_count * sizeof(struct line);
    struct filter one = {layer_new(head.line_count), head.count};
    one.newest->count = head.count;
    bool good = take(checked, (void *)one.newest->lines, head.line_count * sizeof(struct line));
    filter_take(filter, &one); /* the older ones follow */
    return good;
}

bool filter_read(struct filter *filter, FILE *file, uint64_t before, uint64_t bytes_max)
{
    struct checked checked = {file, before};
    uint64_t layers, sum = 0;
    *filter = (struct filter){0};
    bool good = take(&checked, &layers, sizeof layers) && layers <= LAYERS_MAX;
    for (; good && layers > 0; layers--)
        good = read_layer(filter, &checked, &bytes_max);
    uint64_t wanted = checked.sum;
    good = good && take(&checked, &sum, sizeof sum) && sum == wanted;
    if (!good)
        filter_free(filter);
    return good;
}
