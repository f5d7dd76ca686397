/* A balance proof with its signature, as the journals of hub, tower and wallet keep the other side's: what the hub's and
 * the wallet's hold of a tower's promise, and what the tower holds itself. */
#ifndef RILL_CHANNEL_SIGNED_PROOF_H
#define RILL_CHANNEL_SIGNED_PROOF_H

#include "base/buffer.h"
#include "base/payment.h"

/* All but the nonce, which stands where each record has it: transferred u64, locked u64, locks root 32, body hash 32,
 * signature 64. */
void signed_proof_write(struct buffer *batch, const struct balance_proof *proof,
                        const struct signature *signature);
/* proof->nonce stays as it is. What the reader does not have is zero, and its `ok` then false. */
void signed_proof_read(struct reader *reader, struct balance_proof *proof, struct signature *signature);

#endif
