/* Asking for memory some time before it is looked at, where the looks are many and far apart. */
#ifndef RILL_BASE_PREFETCH_H
#define RILL_BASE_PREFETCH_H

#include <stddef.h>
#include <stdint.h>

#define CACHE_LINE_BYTES 64

/* The lines of so many bytes; `at` is only a hint, and may lead nowhere. */
static inline void prefetch_lines(const void *at, size_t size)
{
    for (size_t offset = 0; offset < size; offset += CACHE_LINE_BYTES)
        __builtin_prefetch((const uint8_t *)at + offset);
}

#endif
