/* Invoices and their secrets.
 *
 * A secret is the HMAC of a counter under a seed derived from the wallet's key, so a wallet that lost its
 * disk can still claim what was under way. A counter must never come twice, also not after such a loss: it
 * follows the clock.
 *
 *     a new journal starts at      (now + LEAD) × PER_SECOND     above all that an earlier one can have used
 *     the next counter is          max(last + 1, now × PER_SECOND)
 *     and is refused (LIMIT) from  (now + LEAD) × PER_SECOND + BURST   on
 */
#include "wallet/core_state.h"

#include <string.h>

#include "crypto/hash.h"

#define PER_SECOND 4096
#define LEAD_S     3600
#define BURST      65536
/* How far back a wallet that lost its disk searches, seconds. */
#define SEARCH_BACK_S 7200

void wallet_invoice_secret(const struct wallet_core *core, uint64_t counter, uint8_t secret[32])
{
    uint8_t label[8];
    store_be64(label, counter);
    struct hash derived = hmac_sha256(core->invoice_seed, sizeof(core->invoice_seed), label, sizeof(label));
    memcpy(secret, derived.bytes, 32);
    bytes_wipe(&derived, sizeof(derived));
}

struct invoice_issued *wallet_invoice_find(const struct wallet_core *core, const struct hash *secret_hash)
{
    struct invoice_issued *invoice;
    HASH_FIND(hh, core->invoices, secret_hash, sizeof(*secret_hash), invoice);
    return invoice;
}

static bool next_counter(const struct wallet_core *core, uint64_t unix_s, uint64_t *out)
{
    uint64_t ahead = (unix_s + LEAD_S) * PER_SECOND;
    uint64_t next = core->counter == 0 ? ahead : core->counter + 1;
    if (next < unix_s * PER_SECOND)
        next = unix_s * PER_SECOND;
    *out = next;
    return next < ahead + BURST;
}

enum code wallet_invoice(struct wallet_core *core, const struct address *asset, struct amount amount,
                         uint64_t lifetime_s, const char *memo, uint64_t unix_s, struct invoice *out)
{
    size_t memo_length = memo != NULL ? strlen(memo) : 0;
    if (memo_length > MEMO_BYTES_MAX || (memo != NULL && !utf8_is_valid((const uint8_t *)memo, memo_length)))
        return CODE_BODY;
    if (amount.units >= AMOUNT_LIMIT)
        return CODE_AMOUNT;
    if (lifetime_s == 0)
        return CODE_EXPIRED;
    if (!core->in_view)
        return CODE_STATUS;
    uint64_t counter;
    if (!next_counter(core, unix_s, &counter) || core->invoices_open >= WALLET_INVOICES_MAX)
        return CODE_LIMIT;

    uint8_t secret[32];
    wallet_invoice_secret(core, counter, secret);
    *out = (struct invoice){
        .chain_id = core->options.domain.chain_id,
        .contract = core->options.domain.contract,
        .payee = core->self,
        .asset = *asset,
        .amount = amount,
        .secret_hash = condition_of_secret(secret),
        .expiry = core->head.confirmed_time + lifetime_s,
    };
    bytes_wipe(secret, sizeof(secret));
    memcpy(out->endpoint, core->options.endpoint, sizeof(out->endpoint));
    if (memo_length > 0)
        memcpy(out->memo, memo, memo_length);
    invoice_sign(out, &core->options.key);

    struct invoice_issued *invoice = xcalloc(1, sizeof(*invoice));
    invoice->secret_hash = out->secret_hash;
    invoice->counter = counter;
    invoice->asset = *asset;
    invoice->amount = amount;
    invoice->expiry = out->expiry;
    HASH_ADD(hh, core->invoices, secret_hash, sizeof(invoice->secret_hash), invoice);
    core->invoices_open++;
    core->counter = counter;
    wallet_disk_write_counter(core);
    wallet_invoice_write(core, invoice);
    return CODE_OK;
}

/* One that was taken back is kept as one that expired long ago: nothing is left to promise. */
enum code wallet_invoice_cancel(struct wallet_core *core, const struct hash *secret_hash)
{
    struct invoice_issued *invoice = wallet_invoice_find(core, secret_hash);
    if (invoice == NULL || invoice->expiry == 0)
        return CODE_INVOICE;
    if (invoice->paid)
        return CODE_PAID;
    invoice->expiry = 0;
    wallet_invoice_write(core, invoice);
    return CODE_OK;
}

bool wallet_invoice_receipt(const struct wallet_core *core, const struct hash *secret_hash,
                            uint8_t secret[32])
{
    const struct invoice_issued *invoice = wallet_invoice_find(core, secret_hash);
    if (invoice == NULL || !invoice->paid)
        return false;
    wallet_invoice_secret(core, invoice->counter, secret);
    return true;
}

#define LOOK_EVERY_S  600
#define UNPAID_KEPT_S 600 /* so long a late payer is told that it has expired, not that there is none */

void wallet_invoice_forget(struct wallet_core *core, struct invoice_issued *invoice)
{
    core->invoices_open -= !invoice->paid;
    HASH_DEL(core->invoices, invoice);
    free(invoice);
}

/* A paid invoice is kept as long as its payment may be asked about. One that was never paid goes soon after it has expired: what
 * comes for it then is sent back either way, and asking for invoices costs nothing, so they must not pile up. */
void wallet_invoices_head(struct wallet_core *core)
{
    struct invoice_issued *invoice, *next;
    if (core->head.confirmed_time < core->invoices_looked + LOOK_EVERY_S)
        return;
    core->invoices_looked = core->head.confirmed_time;
    HASH_ITER(hh, core->invoices, invoice, next)
    {
        if (core->head.confirmed_time <= invoice->expiry + (invoice->paid ? OUTCOME_KEPT_S : UNPAID_KEPT_S))
            continue;
        record_gone(&core->batch, RECORD_INVOICE, &invoice->secret_hash, sizeof(invoice->secret_hash));
        wallet_invoice_forget(core, invoice);
    }
}

void wallet_invoice_search(const struct wallet_core *core, const struct hash *conditions, uint64_t *counters,
                           size_t count)
{
    size_t missing = count;
    memset(counters, 0, count * sizeof(*counters));
    uint64_t last = (core->unix_s + LEAD_S) * PER_SECOND + BURST;
    uint64_t first = core->unix_s > SEARCH_BACK_S ? (core->unix_s - SEARCH_BACK_S) * PER_SECOND : 1;
    for (uint64_t counter = last; counter >= first && missing > 0; counter--) {
        uint8_t secret[32];
        wallet_invoice_secret(core, counter, secret);
        struct hash condition = condition_of_secret(secret);
        for (size_t i = 0; i < count; i++) {
            if (counters[i] == 0 && hash_equal(&condition, &conditions[i])) {
                counters[i] = counter;
                missing--;
            }
        }
    }
}
