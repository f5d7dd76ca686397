/* The protocol's fields, written with msgpack-c's packing templates. Private to wire/.
 *
 * msgpack-c writes the shortest form of every number, bin and str, which makes what we write canonical. Its own
 * packer calls a function by pointer for each piece of each field; the templates are made to be instantiated over
 * a writer of one's own, so here they write into a struct buffer, inline: a third of the instructions.
 */
#ifndef RILL_WIRE_PACK_H
#define RILL_WIRE_PACK_H

#include <string.h>

#include <msgpack/pack_define.h>
#include <msgpack/timestamp.h>

#include "base/buffer.h"
#include "base/payment.h"

static inline int pack_append(struct buffer *out, const void *bytes, size_t length)
{
    if (out->capacity - out->length < length) {
        buffer_append(out, bytes, length);
        return 0;
    }
    if (length > 0) /* a length of 0 may come with no memory at all */
        memcpy(out->data + out->length, bytes, length);
    out->length += length;
    return 0;
}

/* clang-format off */
#define msgpack_pack_user                            struct buffer *
#define msgpack_pack_append_buffer(out, data, size)  return pack_append(out, data, size)
#define msgpack_pack_inline_func(name)               static inline int template##name
#define msgpack_pack_inline_func_cint(name)          static inline int template_c##name
#define msgpack_pack_inline_func_fixint(name)        static inline int template_fix##name
#include <msgpack/pack_template.h>
/* clang-format on */

static inline void pack_array(struct buffer *out, size_t count)
{
    (void)template_array(out, count);
}

static inline void pack_map(struct buffer *out, size_t count)
{
    (void)template_map(out, count);
}

static inline void pack_uint(struct buffer *out, uint64_t number)
{
    (void)template_uint64(out, number);
}

static inline void pack_int(struct buffer *out, int64_t number)
{
    (void)template_int64(out, number);
}

static inline void pack_bool(struct buffer *out, bool value)
{
    if (value)
        (void)template_true(out);
    else
        (void)template_false(out);
}

static inline void pack_bin(struct buffer *out, const void *data, size_t length)
{
    (void)template_bin(out, length);
    (void)template_bin_body(out, data, length);
}

static inline void pack_text(struct buffer *out, struct text text)
{
    (void)template_str(out, text.length);
    (void)template_str_body(out, text.data, text.length);
}

static inline void pack_amount(struct buffer *out, struct amount amount)
{
    pack_uint(out, amount.units);
}

static inline void pack_hash(struct buffer *out, const struct hash *hash)
{
    pack_bin(out, hash->bytes, sizeof hash->bytes);
}

static inline void pack_address(struct buffer *out, const struct address *address)
{
    pack_bin(out, address->bytes, sizeof address->bytes);
}

static inline void pack_signature(struct buffer *out, const struct signature *signature)
{
    pack_bin(out, signature->bytes, sizeof signature->bytes);
}

static inline void pack_payment_id(struct buffer *out, const struct payment_id *id)
{
    pack_bin(out, id->bytes, sizeof id->bytes);
}

static inline void pack_witness(struct buffer *out, const struct witness *witness)
{
    pack_bin(out, witness->bytes, witness->length);
}

#endif
