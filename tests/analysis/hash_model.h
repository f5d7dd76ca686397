/* uthash, as far as static analysis needs it: a table keeps what is put into it and gives some of it back. Included before
 * everything else by `make check-analysis`, never compiled into a program.
 *
 * The real macros are loops over buckets and links that an analyzer cannot follow: it takes what HASH_DEL and free do to one
 * entry for something done to the next, sees uninitialised bytes in every key, and spends most of its time there. */
#ifndef RILL_TESTS_ANALYSIS_HASH_MODEL_H
#define RILL_TESTS_ANALYSIS_HASH_MODEL_H

#include <stddef.h>
#include <uthash.h>

void *hash_model_keep(void *head, const void *entry);
void *hash_model_find(const void *head, const void *key);
void *hash_model_next(const void *entry);
unsigned hash_model_number(const void *head);
int hash_model_says(const void *head);

#undef HASH_ADD
#undef HASH_ADD_BYHASHVALUE
#undef HASH_ADD_KEYPTR
#undef HASH_CLEAR
#undef HASH_CNT
#undef HASH_COUNT
#undef HASH_DEL
#undef HASH_DELETE
#undef HASH_FIND
#undef HASH_FIND_BYHASHVALUE
#undef HASH_ITER
#undef HASH_SORT
#undef HASH_SRT
#undef HASH_VALUE

#define HASH_ADD(hh, head, field, length, entry) ((void)(length), (head) = hash_model_keep((head), (entry)))
#define HASH_ADD_BYHASHVALUE(hh, head, field, length, hash, entry)                                           \
    ((void)(length), (void)(hash), (head) = hash_model_keep((head), (entry)))
#define HASH_ADD_KEYPTR(hh, head, key, length, entry)                                                        \
    ((void)(key), (void)(length), (head) = hash_model_keep((head), (entry)))
#define HASH_CLEAR(hh, head)                  ((head) = NULL)
#define HASH_CNT(hh, head)                    hash_model_number(head)
#define HASH_COUNT(head)                      hash_model_number(head)
#define HASH_DEL(head, entry)                 ((void)(entry), (head) = hash_model_keep((head), NULL))
#define HASH_DELETE(hh, head, entry)          ((void)(entry), (head) = hash_model_keep((head), NULL))
#define HASH_FIND(hh, head, key, length, out) ((void)(length), (out) = hash_model_find((head), (key)))
#define HASH_FIND_BYHASHVALUE(hh, head, key, length, hash, out)                                              \
    ((void)(length), (void)(hash), (out) = hash_model_find((head), (key)))
#define HASH_ITER(hh, head, entry, following)                                                                \
    for ((entry) = (head); (entry) != NULL && ((following) = hash_model_next(entry), 1);                     \
         (entry) = (following))
#define HASH_SORT(head, order)        ((void)(order), (head) = hash_model_keep((head), NULL))
#define HASH_SRT(hh, head, order)     ((void)(order), (head) = hash_model_keep((head), NULL))
#define HASH_VALUE(key, length, hash) ((void)(key), (void)(length), (hash) = hash_model_number(key))

#endif
