/* msgpack-c's packer, writing into a struct buffer; the protocol's fields. Private to wire/.
 *
 * msgpack-c writes the shortest form of every number, bin and str, which makes what we write canonical.
 */
#ifndef RILL_WIRE_PACK_H
#define RILL_WIRE_PACK_H

#include <msgpack/pack.h>

#include "base/buffer.h"
#include "base/payment.h"

static inline int pack_write(void *data, const char *bytes, size_t length)
{
    buffer_append(data, bytes, length);
    return 0;
}

static inline msgpack_packer packer_of(struct buffer *buffer)
{
    msgpack_packer packer;
    msgpack_packer_init(&packer, buffer, pack_write);
    return packer;
}

static inline void pack_array(msgpack_packer *packer, size_t count)
{
    msgpack_pack_array(packer, count);
}

static inline void pack_uint(msgpack_packer *packer, uint64_t number)
{
    msgpack_pack_uint64(packer, number);
}

static inline void pack_int(msgpack_packer *packer, int64_t number)
{
    msgpack_pack_int64(packer, number);
}

static inline void pack_bool(msgpack_packer *packer, bool value)
{
    if (value)
        msgpack_pack_true(packer);
    else
        msgpack_pack_false(packer);
}

static inline void pack_bin(msgpack_packer *packer, const void *data, size_t length)
{
    msgpack_pack_bin(packer, length);
    msgpack_pack_bin_body(packer, data, length);
}

static inline void pack_text(msgpack_packer *packer, struct text text)
{
    msgpack_pack_str(packer, text.length);
    msgpack_pack_str_body(packer, text.data, text.length);
}

static inline void pack_amount(msgpack_packer *packer, struct amount amount)
{
    pack_uint(packer, amount.units);
}

static inline void pack_hash(msgpack_packer *packer, const struct hash *hash)
{
    pack_bin(packer, hash->bytes, sizeof hash->bytes);
}

static inline void pack_address(msgpack_packer *packer, const struct address *address)
{
    pack_bin(packer, address->bytes, sizeof address->bytes);
}

static inline void pack_signature(msgpack_packer *packer, const struct signature *signature)
{
    pack_bin(packer, signature->bytes, sizeof signature->bytes);
}

static inline void pack_payment_id(msgpack_packer *packer, const struct payment_id *id)
{
    pack_bin(packer, id->bytes, sizeof id->bytes);
}

static inline void pack_witness(msgpack_packer *packer, const struct witness *witness)
{
    pack_bin(packer, witness->bytes, witness->length);
}

#endif
