#include "channel/signed_proof.h"

void signed_proof_write(struct buffer *batch, const struct balance_proof *proof,
                        const struct signature *signature)
{
    buffer_u64(batch, proof->transferred.units);
    buffer_u64(batch, proof->locked.units);
    buffer_append(batch, proof->locks_root.bytes, sizeof(proof->locks_root.bytes));
    buffer_append(batch, proof->body_hash.bytes, sizeof(proof->body_hash.bytes));
    buffer_append(batch, signature->bytes, sizeof(signature->bytes));
}

void signed_proof_read(struct reader *reader, struct balance_proof *proof, struct signature *signature)
{
    proof->transferred.units = reader_u64(reader);
    proof->locked.units = reader_u64(reader);
    reader_copy(reader, proof->locks_root.bytes, sizeof(proof->locks_root.bytes));
    reader_copy(reader, proof->body_hash.bytes, sizeof(proof->body_hash.bytes));
    reader_copy(reader, signature->bytes, sizeof(signature->bytes));
}
