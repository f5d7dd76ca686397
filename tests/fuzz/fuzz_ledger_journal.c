/* The embedded ledger's journal, as fuzz_hub_journal.c is for the hub's.
 *
 *     input: a batch of records
 *
 * Refused with one line, or the books add up, another block can be made, and the ledger opens again as it was. */
#include "tests/fuzz/input.h"

#include <stdlib.h>
#include <string.h>

#include "ledger/embedded/chain.h"
#include "store/memory_journal.h"

static uint64_t now(void)
{
    return 1800000000;
}

static const struct chain_options options = {.parameters = {.bounty_bps = CHAIN_BOUNTY_BPS_ANY},
                                             .hub_if_new = {{9}},
                                             .base_fee = 1000,
                                             .history_blocks = CHAIN_HISTORY_MIN,
                                             .now = now};

/* What a journal holds, as one that has just been opened. */
static struct journal *journal_with(const uint8_t *batch, size_t size)
{
    struct journal *journal = memory_journal_create();
    ensure(journal_recover(journal, NULL, NULL));
    if (size > 0)
        memory_journal_sync(journal, journal_append(journal, batch, size));
    memory_journal_crash(journal, journal_durable(journal));
    return journal;
}

static bool is_whole(const uint8_t *data, size_t size)
{
    struct reader reader = reader_of(data, size);
    struct record record;
    bool has_state = false;
    while (record_next(&reader, &record)) {
        if (record_is_archive(&record))
            return false;
        has_state = true;
    }
    return reader.ok && (has_state || size == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char message[512] = "";
    if (!is_whole(data, size))
        return 0; /* the journal's own business: tests/store has it */
    struct chain *chain = chain_open(&options, journal_with(data, size), message, sizeof(message));
    if (chain == NULL) {
        ensure(message[0] != '\0' && strchr(message, '\n') == NULL);
        return 0;
    }
    ensure(chain_audit(chain) == NULL);
    uint64_t height = history_head(chain_history(chain))->number;
    (void)chain_mine(chain, 10);
    ensure(history_head(chain_history(chain))->number == height + 1 && chain_audit(chain) == NULL);
    chain_close(chain);
    return 0;
}
