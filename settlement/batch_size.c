#include "settlement/batch_size.h"

#define CALL_GAS   75000u /* the transaction, the batch number, and a pool of each of two assets */
#define CALL_BYTES 512u

static const struct {
    uint64_t gas, bytes;
} parts[] = {
    [BATCH_ITEM] = {15000, 288},
    [BATCH_PAYOUT] = {50000, 288},
    [BATCH_FUND] = {28000, 128},
};

struct batch_room batch_room(uint64_t block_gas_limit, uint64_t gas_max, unsigned halvings)
{
    uint64_t gas = (block_gas_limit == 0 ? BATCH_BLOCK_GAS_UNKNOWN : block_gas_limit) / 2;
    if (gas_max == 0 || gas_max > BATCH_CALL_GAS_MAX)
        gas_max = BATCH_CALL_GAS_MAX;
    gas = gas < gas_max ? gas : gas_max;
    gas >>= halvings;
    return (struct batch_room){.gas = gas > CALL_GAS ? gas - CALL_GAS : 0,
                               .bytes = (BATCH_CALL_BYTES_MAX - CALL_BYTES) >> halvings,
                               .is_empty = true};
}

bool batch_take(struct batch_room *room, enum batch_part part)
{
    uint64_t gas = parts[part].gas, bytes = parts[part].bytes;
    if (!room->is_empty && (room->gas < gas || room->bytes < bytes))
        return false;
    room->gas -= room->gas < gas ? room->gas : gas;
    room->bytes -= room->bytes < bytes ? room->bytes : bytes;
    room->is_empty = false;
    return true;
}
