#include "base/ensure.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/prefetch.h"

_Noreturn void ensure_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "rill: fatal: %s:%d: '%s' does not hold; stopping, the journal on disk is intact\n", file,
            line, condition);
    abort();
}

static void *checked(void *memory)
{
    if (memory == NULL) {
        fputs("rill: fatal: out of memory; stopping, the journal on disk is intact\n", stderr);
        abort();
    }
    return memory;
}

void *xmalloc(size_t size)
{
    return checked(malloc(size == 0 ? 1 : size));
}

void *xcalloc(size_t count, size_t size)
{
    return checked(calloc(count == 0 ? 1 : count, size == 0 ? 1 : size));
}

void *xrealloc(void *old, size_t size)
{
    return checked(realloc(old, size == 0 ? 1 : size));
}

void *xtable(size_t size)
{
    bool huge = size >= HUGE_PAGE_BYTES;
    void *memory = NULL;
    if (posix_memalign(&memory, huge ? HUGE_PAGE_BYTES : CACHE_LINE_BYTES, size) != 0)
        memory = NULL;
    checked(memory);
    if (huge)
        (void)madvise(memory, size / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES,
                      MADV_HUGEPAGE); /* else on small ones */
    return memory;
}

char *xstrdup(const char *text)
{
    return checked(strdup(text));
}
