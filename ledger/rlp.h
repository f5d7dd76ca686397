/* Recursive length prefix, what transactions are written in (Ethereum yellow paper, appendix B). The reader
 * accepts only the canonical encoding: there is one spelling of every value. */
#ifndef RILL_LEDGER_RLP_H
#define RILL_LEDGER_RLP_H

#include "base/amount.h"
#include "base/buffer.h"

void rlp_put_bytes(struct buffer *out, const void *data, size_t length);
/* A number: big-endian without leading zeros. */
void rlp_put_wide(struct buffer *out, unsigned_wide value);
static inline void rlp_put_u64(struct buffer *out, uint64_t value)
{
    rlp_put_wide(out, value);
}
/* A number given as `length` big-endian bytes. */
void rlp_put_number(struct buffer *out, const uint8_t *big_endian, size_t length);
/* size_t mark = rlp_list_begin(out); … items …; rlp_list_end(out, mark); */
size_t rlp_list_begin(struct buffer *out);
void rlp_list_end(struct buffer *out, size_t mark);

/* After the first item that is malformed, `ok` is false and every read gives nothing (NULL, 0). */
struct rlp_reader {
    const uint8_t *at;
    size_t left;
    bool ok;
};

struct rlp_reader rlp_reader_of(const void *data, size_t length);
/* Bytes inside the source. */
const uint8_t *rlp_bytes(struct rlp_reader *reader, size_t *length);
/* Bytes of a set length. */
void rlp_fixed(struct rlp_reader *reader, void *out, size_t length);
unsigned_wide rlp_wide(struct rlp_reader *reader);
uint64_t rlp_u64(struct rlp_reader *reader);
/* A number of up to `length` bytes, right-aligned into out. */
void rlp_number(struct rlp_reader *reader, uint8_t *out, size_t length);
/* A reader over a list's items. */
struct rlp_reader rlp_list(struct rlp_reader *reader);
/* All read, nothing left over, nothing malformed. */
bool rlp_done(const struct rlp_reader *reader);

#endif
