/* Assertions that stay on in every build: the money is real.
 *
 * ensure(condition) stops the process with the place and the condition when it does not hold: memory can no
 * longer be trusted, and the journal on disk is the state to go on from.
 */
#ifndef RILL_BASE_ENSURE_H
#define RILL_BASE_ENSURE_H

_Noreturn void ensure_failed(const char *condition, const char *file, int line);

#define ensure(condition) ((condition) ? (void)0 : ensure_failed(#condition, __FILE__, __LINE__))

/* malloc, calloc and realloc that never return NULL: out of memory is fatal, as a full disk is. */
#include <stddef.h>
void *xmalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
void *xrealloc(void *old, size_t size) __attribute__((returns_nonnull));
/* For tables that are looked into at random: aligned to a cache line and, from HUGE_PAGE_BYTES on, on huge pages where the
 * system has them, since of many small ones the processor knows but a few. Not zeroed; free gives it back. */
#define HUGE_PAGE_BYTES ((size_t)2 << 20)
void *xtable(size_t size) __attribute__((malloc, returns_nonnull));
char *xstrdup(const char *text) __attribute__((malloc, returns_nonnull));

#endif
