/* Checkers of a vector file, one group per file section_NAME.c in this folder.
 *
 * A group defines section_NAME and section_NAME_keys (NULL-terminated): the top-level members it checks,
 * wholly or in part; a member may have several checkers. The symbols are weak, so the runner runs the groups
 * that are linked, and fails if a member of the file is claimed by none.
 */
#ifndef RILL_TESTS_VECTORS_H
#define RILL_TESTS_VECTORS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>

#define WEAK __attribute__((weak))

/* Each fails through cmocka's assertions, and says vectors_checked once for each of its members. */
void section_crypto(const json_t *root) WEAK;
void section_wire(const json_t *root) WEAK;
void section_channel(const json_t *root) WEAK;
void section_ledger(const json_t *root) WEAK;

extern const char *const section_crypto_keys[] WEAK;
extern const char *const section_wire_keys[] WEAK;
extern const char *const section_channel_keys[] WEAK;
extern const char *const section_ledger_keys[] WEAK;

/* Prints the line "  keccak256: 6 checked". `what` may say which part: "updates: digests". Fails if count is
 * 0. */
void vectors_checked(const char *what, size_t count);

#endif
