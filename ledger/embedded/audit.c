/* records_audit: everything counted again from the single records, independently of the running sums. */
#include "ledger/embedded/execution.h"

#include <stdlib.h>
#include <string.h>

#define uthash_malloc(size) xmalloc(size)
#include "base/ensure.h"
#include <uthash.h>

/* What was counted for an asset; for a token also its balances. */
struct tally {
    UT_hash_handle hh;
    struct address asset;
    unsigned_wide channels, held, owed;
    struct uint256 balances;
    bool balances_overflow;
};

struct audit {
    const struct state *state;
    const struct address *contract;
    struct tally *tallies;
    struct uint256 coins; /* all accounts' */
    const char *wrong;
};

static struct tally *tally_of(struct audit *audit, const void *asset)
{
    struct tally *tally;
    HASH_FIND(hh, audit->tallies, asset, sizeof(struct address), tally);
    if (tally == NULL) {
        tally = xcalloc(1, sizeof(*tally));
        memcpy(&tally->asset, asset, sizeof(tally->asset));
        HASH_ADD(hh, audit->tallies, asset, sizeof(tally->asset), tally);
    }
    return tally;
}

static void tally_balance(struct audit *audit, const void *asset, const uint8_t *value)
{
    struct tally *tally = tally_of(audit, asset);
    if (!uint256_add(tally->balances, uint256_load(value), &tally->balances))
        tally->balances_overflow = true;
}

static void count(void *context, uint8_t type, const uint8_t *key, size_t key_length, const uint8_t *value,
                  size_t length)
{
    struct audit *audit = context;
    (void)key_length;
    (void)length;
    if (type == RECORD_CHANNEL)
        tally_of(audit, value)->channels += load_be64(value + 20);
    else if (type == RECORD_HELD)
        tally_of(audit, value)->held += (unsigned_wide)load_be64(value + 20) + load_be64(value + 28);
    else if (type == RECORD_OWED)
        tally_of(audit, key + 20)->owed += wide_load(value);
    else if (type == RECORD_TOKEN_BALANCE)
        tally_balance(audit, key, value);
    else if (type == RECORD_ASSET)
        tally_of(audit, key);
    else if (type == RECORD_ACCOUNT && !uint256_add(audit->coins, uint256_load(value), &audit->coins))
        audit->wrong = "coin balances sum to more than there can be";
}

static void tally_check(struct audit *audit, const struct tally *tally)
{
    struct asset_record record = asset_load(audit->state, &tally->asset);
    struct token token;
    struct uint256 balance;
    if (address_is_zero(&tally->asset))
        balance = account_load(audit->state, audit->contract).balance;
    else
        balance = token_balance_load(audit->state, &tally->asset, audit->contract);
    if (record.in_channels != tally->channels || record.in_held != tally->held ||
        record.in_owed != tally->owed)
        audit->wrong = "an asset's sums are not those of its channels, held and owed amounts";
    else if (record.custody != record.pool.units + tally->channels + tally->held + tally->owed)
        audit->wrong = "an asset's deposits less payouts are not what the contract accounts for";
    else if (uint256_compare(balance, wide_multiply(record.custody, record.unit)) < 0)
        audit->wrong = "the contract has less of an asset than it accounts for";
    else if (token_load(audit->state, &tally->asset, &token) &&
             (tally->balances_overflow || !uint256_equal(tally->balances, token.supply)))
        audit->wrong = "a token's balances do not sum to its supply";
}

const char *records_audit(const struct state *state, const struct address *contract)
{
    struct audit audit = {.state = state, .contract = contract};
    state_each(state, count, &audit);
    struct coins coins = coins_load(state);
    struct uint256 circulating;
    if (!uint256_subtract(coins.issued, coins.burned, &circulating) ||
        !uint256_equal(circulating, audit.coins))
        audit.wrong = "coin balances do not sum to what was issued less what was burned";
    struct tally *tally, *next;
    HASH_ITER(hh, audit.tallies, tally, next)
    {
        tally_check(&audit, tally);
        HASH_DEL(audit.tallies, tally);
        free(tally);
    }
    return audit.wrong;
}
