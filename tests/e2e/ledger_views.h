/* What the contract says of a channel, asked from the ledger's node by a test that waits for it. */
#ifndef RILL_TESTS_E2E_LEDGER_VIEWS_H
#define RILL_TESTS_E2E_LEDGER_VIEWS_H

/* cmocka.h needs these four, in this order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ledger/client.h"
#include "ledger/contract.h"

/* The answer of a view of one channel, for the caller to free. */
static inline struct buffer view_answer(struct ledger *ledger, enum contract_function function,
                                        const struct channel_key *key)
{
    struct contract_call call = {.function = function, .key = *key};
    struct buffer data = {0}, result = {0};
    contract_encode_call(&data, &call);
    assert_int_equal(ledger_call_wait(ledger, NULL, data.data, data.length, &result, NULL), LEDGER_OK);
    buffer_free(&data);
    return result;
}

static inline struct channel_state view_channel(struct ledger *ledger, const struct channel_key *key)
{
    struct channel_state state;
    struct buffer result = view_answer(ledger, CONTRACT_CHANNEL, key);
    assert_true(contract_decode_channel(result.data, result.length, &state));
    buffer_free(&result);
    return state;
}

static inline struct closing view_closing(struct ledger *ledger, const struct channel_key *key)
{
    struct closing closing;
    struct buffer result = view_answer(ledger, CONTRACT_CLOSING, key);
    assert_true(contract_decode_closing(result.data, result.length, &closing));
    buffer_free(&result);
    return closing;
}

#endif
