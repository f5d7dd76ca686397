/* For tests: blocks and time at will. In development mode only. */
#include "ledger/embedded/node_parts.h"

#include "ledger/quantity.h"

/* A JSON number or "0x…": tools write both. */
static bool seconds_of(const json_t *json, uint64_t *out)
{
    if (json_is_integer(json) && json_integer_value(json) >= 0) {
        *out = (uint64_t)json_integer_value(json);
        return true;
    }
    return quantity_u64(json, out);
}

static json_t *fail_time(struct failure *failure)
{
    return fail(failure, FAILURE_PARAMS, "a time must be a number of seconds, not before the newest block's");
}

json_t *evm_mine(struct node *node, const json_t *params, struct failure *failure)
{
    const json_t *when = parameter(params, 0);
    uint64_t time;
    if (json_is_object(when))
        when = json_object_get(when, "timestamp");
    if (when != NULL && (!seconds_of(when, &time) || !chain_set_next_time(node->chain, time)))
        return fail_time(failure);
    chain_mine(node->chain, SIZE_MAX);
    return json_string("0x0");
}

json_t *evm_increase_time(struct node *node, const json_t *params, struct failure *failure)
{
    uint64_t seconds;
    if (!seconds_of(parameter(params, 0), &seconds) || !chain_increase_time(node->chain, seconds))
        return fail_time(failure);
    return json_integer(chain_time_offset(node->chain));
}

json_t *evm_set_next_block_timestamp(struct node *node, const json_t *params, struct failure *failure)
{
    uint64_t time;
    if (!seconds_of(parameter(params, 0), &time) || !chain_set_next_time(node->chain, time))
        return fail_time(failure);
    return json_null();
}
