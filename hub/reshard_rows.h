/* Payments when the number of shards changes: halves that come together are one row again, rows whose sides part
 * are halves. Pure. */
#ifndef RILL_HUB_RESHARD_ROWS_H
#define RILL_HUB_RESHARD_ROWS_H

#include "hub/history.h"

/* The whole of a payment from what the shards had of it: NULL where a half is gone (forgotten a little sooner than the
 * other, long after its end). `into` has the legs set and nothing else. */
void reshard_join(struct payments *into, const struct payment *payer_half, const struct payment *payee_half);
/* A whole payment as the halves in two shards' tables. */
void reshard_part(const struct payment *whole, struct payments *payers, uint16_t payer_shard,
                  struct payments *payees, uint16_t payee_shard);
/* A copy of a row into another table. */
struct payment *reshard_copy(const struct payment *row, struct payments *into);

/* One side's past payment: whole again, since the other side comes to the same shard; or a half from now on. */
void reshard_past_join(struct history_item *side, const struct history_item *other);
void reshard_past_part(struct history_item *side, uint16_t other_shard);

#endif
