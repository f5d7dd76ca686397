/* Where the fuzzers' corpora come from: vectors, random messages, the worlds of the other tests. */
#ifndef RILL_TESTS_FUZZ_SEEDS_H
#define RILL_TESTS_FUZZ_SEEDS_H

#include "base/buffer.h"

/* One input of a fuzzer, into FOLDER/FUZZER/NAME. `first` is put before the bytes, unless -1. */
void seed_write(const char *fuzzer, const char *name, int first, const void *data, size_t length);

/* One file each, because the worlds' headers have the same names. */
void seeds_of_vectors(const char *path);
void seeds_of_messages(void);
void seeds_of_hub(void);
void seeds_of_wallet(void);
void seeds_of_tower(void);
void seeds_of_ledger(void);
void seeds_of_merchant(void);

#endif
