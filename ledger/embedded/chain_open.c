/* Recovering the chain from its journal, or making its first block. */
#include <stdio.h>
#include <stdlib.h>

#define uthash_malloc(size) xmalloc(size)
#include "base/clock.h"
#include "base/ensure.h"
#include "ledger/embedded/chain_parts.h"
#include <uthash.h>

#define DEFAULT_CHAIN_ID         31337u
#define DEFAULT_CHALLENGE_PERIOD 86400u
#define DEFAULT_BOUNTY_BPS       1000u

/* Blocks as they come out of the journal: the newest for a number wins. */
struct found_block {
    UT_hash_handle hh;
    uint64_t number;
    struct block *block;
};
struct recovery {
    struct chain *chain;
    struct found_block *blocks;
    bool has_parameters, has_records;
};

static bool recover_block(struct recovery *recovery, const struct record *record)
{
    if (record->key_length != 8)
        return false;
    uint64_t number = load_be64(record->key);
    struct found_block *found;
    HASH_FIND(hh, recovery->blocks, &number, sizeof(number), found);
    if (found == NULL) {
        found = xcalloc(1, sizeof(*found));
        found->number = number;
        HASH_ADD(hh, recovery->blocks, number, sizeof(found->number), found);
    }
    block_free(found->block);
    found->block = record->gone ? NULL : block_decode(number, record->value, record->value_length);
    return record->gone || found->block != NULL;
}

static bool recover_parameters(struct recovery *recovery, const struct record *record)
{
    struct chain_parameters *parameters = &recovery->chain->parameters;
    struct reader reader = reader_of(record->value, record->value_length);
    parameters->chain_id = reader_u64(&reader);
    reader_copy(&reader, &parameters->hub, sizeof(parameters->hub));
    parameters->challenge_period = reader_u64(&reader);
    parameters->bounty_bps = reader_u16(&reader);
    recovery->has_parameters = true;
    return reader_done(&reader);
}

static bool recover_record(void *context, const struct record *record)
{
    struct recovery *recovery = context;
    recovery->has_records = true;
    if (record->type == RECORD_BLOCK)
        return recover_block(recovery, record);
    if (record->gone)
        return false;
    if (record_is_state(record->type)) {
        if (!record_is_sound(record))
            return false;
        state_restore(recovery->chain->state, record);
        return true;
    }
    if (record->type == RECORD_META)
        return recover_parameters(recovery, record);
    if (record->type == RECORD_CLOCK && record->value_length == 8) {
        recovery->chain->time_offset = (int64_t)load_be64(record->value);
        return true;
    }
    return false;
}

static int by_number(const struct found_block *a, const struct found_block *b)
{
    return (a->number > b->number) - (a->number < b->number);
}

/* Puts the found blocks into the history. Returns NULL or what is wrong. */
static const char *link_blocks(struct recovery *recovery)
{
    const char *wrong = NULL;
    const struct block *last = NULL;
    struct found_block *found, *next;
    HASH_SORT(recovery->blocks, by_number);
    HASH_ITER(hh, recovery->blocks, found, next)
    {
        struct block *block = found->block;
        HASH_DEL(recovery->blocks, found);
        free(found);
        if (block == NULL)
            continue;
        if (wrong == NULL && last != NULL &&
            (block->number != last->number + 1 || !hash_equal(&block->parent, &last->hash)))
            wrong = "its blocks do not follow one another";
        if (wrong != NULL) {
            block_free(block);
            continue;
        }
        history_add(recovery->chain->history, block);
        last = block;
    }
    if (wrong == NULL && recovery->has_parameters && last == NULL)
        wrong = "it has no blocks";
    return wrong;
}

static void parameters_default(struct chain_parameters *parameters)
{
    if (parameters->chain_id == 0)
        parameters->chain_id = DEFAULT_CHAIN_ID;
    if (parameters->challenge_period == 0)
        parameters->challenge_period = DEFAULT_CHALLENGE_PERIOD;
    if (parameters->bounty_bps == CHAIN_BOUNTY_BPS_ANY)
        parameters->bounty_bps = DEFAULT_BOUNTY_BPS;
}

/* Returns false, with a message, where the options ask for other values than those the ledger began with. */
static bool parameters_agree(const struct chain_parameters *asked, const struct chain_parameters *stored,
                             char *message, size_t size)
{
    const char *const advice = "start it without that option, or give it another folder";
    char hub[ADDRESS_TEXT_SIZE];
    if (asked->chain_id != 0 && asked->chain_id != stored->chain_id)
        snprintf(message, size, "this ledger was made with chain id %llu: %s",
                 (unsigned long long)stored->chain_id, advice);
    else if (!address_is_zero(&asked->hub) && !address_equal(&asked->hub, &stored->hub))
        snprintf(message, size, "this ledger was made for the hub %s: %s", address_text(&stored->hub, hub),
                 advice);
    else if (asked->challenge_period != 0 && asked->challenge_period != stored->challenge_period)
        snprintf(message, size, "this ledger was made with a challenge period of %llu s: %s",
                 (unsigned long long)stored->challenge_period, advice);
    else if (asked->bounty_bps != CHAIN_BOUNTY_BPS_ANY && asked->bounty_bps != stored->bounty_bps)
        snprintf(message, size, "this ledger was made with a bounty of %u basis points: %s",
                 (unsigned)stored->bounty_bps, advice);
    else
        return true;
    return false;
}

static void configure(struct chain *chain)
{
    chain->config = (struct contract_config){
        .domain = domain_make(chain->parameters.chain_id, &EMBEDDED_CONTRACT),
        .factory = EMBEDDED_FACTORY,
        .hub = chain->parameters.hub,
        .challenge_period = chain->parameters.challenge_period,
        .bounty_bps = chain->parameters.bounty_bps,
    };
}

/* Block 0: who has coins. */
static bool genesis(struct chain *chain, const struct chain_options *options, char *message, size_t size)
{
    struct coins coins = {uint256_of(0), uint256_of(0)};
    chain->parameters = options->parameters;
    parameters_default(&chain->parameters);
    if (address_is_zero(&chain->parameters.hub))
        chain->parameters.hub = options->hub_if_new;
    if (address_is_zero(&chain->parameters.hub)) {
        snprintf(message, size, "a new ledger needs the hub's address: --hub 0x...");
        return false;
    }
    for (size_t i = 0; i < options->allocation_count; i++) {
        const struct allocation *allocation = &options->allocations[i];
        struct account account = account_load(chain->state, &allocation->address);
        if (!uint256_add(coins.issued, allocation->balance, &coins.issued)) {
            snprintf(message, size, "the first block's coins do not fit into 256 bits");
            return false;
        }
        ensure(uint256_add(account.balance, allocation->balance, &account.balance));
        account_save(chain->state, &allocation->address, &account);
    }
    coins_save(chain->state, &coins);
    configure(chain);
    struct buffer batch = {0};
    size_t mark = record_begin(&batch, RECORD_META, NULL, 0);
    buffer_u64(&batch, chain->parameters.chain_id);
    buffer_append(&batch, &chain->parameters.hub, sizeof(chain->parameters.hub));
    buffer_u64(&batch, chain->parameters.challenge_period);
    buffer_u16(&batch, chain->parameters.bounty_bps);
    record_end(&batch, mark);
    chain_persist_block(chain, block_new(0, chain->now(), chain->base_fee, &HASH_ZERO), &batch);
    buffer_free(&batch);
    return true;
}

static bool recover(struct chain *chain, const struct chain_options *options, char *message, size_t size)
{
    struct recovery recovery = {.chain = chain};
    bool understood = journal_recover(chain->journal, recover_record, &recovery);
    const char *wrong = link_blocks(&recovery);
    if (!understood)
        wrong = "it has a record that this version does not know";
    if (wrong == NULL && recovery.has_records && !recovery.has_parameters)
        wrong = "what it began with is missing";
    if (wrong == NULL && !recovery.has_records)
        return genesis(chain, options, message, size);
    if (wrong == NULL) {
        configure(chain);
        wrong = chain_audit(chain);
    }
    if (wrong != NULL) {
        snprintf(message, size, "the ledger on disk is damaged (%s): restore the folder from a copy", wrong);
        return false;
    }
    return parameters_agree(&options->parameters, &chain->parameters, message, size);
}

struct chain *chain_open(const struct chain_options *options, struct journal *journal, char *message,
                         size_t size)
{
    struct chain *chain = xcalloc(1, sizeof(*chain));
    ensure(options->history_blocks >= CHAIN_HISTORY_MIN);
    chain->journal = journal;
    chain->state = state_new();
    chain->history = history_new();
    chain->mempool = mempool_new();
    chain->base_fee = options->base_fee;
    chain->history_blocks = options->history_blocks;
    chain->now = options->now == NULL ? clock_unix_s : options->now;
    if (recover(chain, options, message, size))
        return chain;
    chain_close(chain);
    return NULL;
}
