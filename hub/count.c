/* Counting what is whose in all channels, as of one moment, a slice at a time: payments go on meanwhile. A channel that
 * changes before its slice comes is counted just before it does, so that the sums are those of the moment at which the
 * counting began.
 *
 *     IDLE ─begin (a turn ends first)─▶ COUNTING ─the last channel─▶ DONE ─take─▶ IDLE
 */
#include <stdlib.h>

#include "base/ensure.h"
#include "hub/engine_state.h"

static uint64_t clamped(wide value, uint64_t most)
{
    return value < 0 ? 0 : value > (wide)most ? most : (uint64_t)value;
}

/* The sum, or the most that an amount can be. */
static void add_units(struct amount *sum, uint64_t units)
{
    if (!amount_add(*sum, amount_of(units), sum))
        *sum = amount_of(AMOUNT_LIMIT - 1);
}

static size_t asset_of(const struct engine_count *count, const struct address *asset)
{
    size_t at = 0;
    while (at < count->asset_count && !address_equal(&count->assets[at].asset, asset))
        at++;
    return at;
}

void count_channel(struct engine *engine, struct hub_channel *channel)
{
    struct engine_count *count = engine->count.result;
    const struct channel *machine = channel->channel;
    size_t asset = asset_of(count, &machine->key.asset);
    channel->counted = engine->count.phase;
    if (asset == count->asset_count ||
        (machine->funds.stage != STAGE_OPEN && machine->funds.stage != STAGE_CLOSING))
        return;
    uint64_t total = machine->funds.total.units;
    uint64_t clients = clamped(channel_balance(machine, SIDE_CLIENT), total);
    if (count->length == count->capacity) {
        count->capacity = count->capacity == 0 ? 64 : 2 * count->capacity;
        count->entries = xrealloc(count->entries, count->capacity * sizeof(*count->entries));
    }
    count->entries[count->length++] =
        (struct engine_counted){.channel = machine->id,
                                .balance = amount_of(clients),
                                .nonce_client = machine->streams[SIDE_CLIENT].proof.nonce,
                                .nonce_hub = machine->streams[SIDE_HUB].proof.nonce,
                                .asset = (uint8_t)asset};
    add_units(&count->assets[asset].hub, total - clients);
}

/* The payer's money is here and in nobody's balance: what is still to be given to the payee, or back. Of a payment
 * between shards the payer's half does not hear that the payee has it until the receipt comes: so it is rather too much
 * than too little. */
static bool is_in_transit(const struct payment *payment)
{
    if (payment->is_locked)
        return payment->due == DUE_UNLOCK || (payment->role != HALF_OF_PAYEE &&
                                              payment->state == PAYMENT_OFFERED && payment->payer_lock == 0);
    return payment->role != HALF_OF_PAYEE &&
           (payment->state == PAYMENT_WAITING || payment->due == DUE_REFUND);
}

static void count_transit(struct engine *engine, struct engine_count *count)
{
    size_t at = 0;
    for (const struct payment *payment; (payment = payments_each(&engine->payments, &at)) != NULL;) {
        if (payment->leaving != 0 || !is_in_transit(payment))
            continue;
        const struct hub_channel *channel = engine_channel(engine, &payment->payer.channel);
        if (channel == NULL)
            channel = engine_channel(engine, &payment->payee.channel);
        size_t asset = channel == NULL ? count->asset_count : asset_of(count, &channel->channel->key.asset);
        if (asset == count->asset_count)
            continue;
        add_units(&count->assets[asset].in_transit, payment->amount.units);
        add_units(&count->assets[asset].in_transit, payment->fee.units);
    }
}

bool engine_count_begin(struct engine *engine)
{
    if (engine->count.result != NULL || !engine->head_known)
        return false;
    engine_flush(engine); /* no draft: what left one balance is in another, or in transit */
    struct engine_count *count = xcalloc(1, sizeof(*count));
    const struct terms *terms = &engine->settings.terms;
    count->block = engine->head.confirmed_number;
    count->time = engine->head.confirmed_time;
    count->asset_count = terms->asset_count;
    for (size_t i = 0; i < terms->asset_count; i++)
        count->assets[i].asset = terms->assets[i].asset;
    count->capacity = engine->channels_by_id.count;
    if (count->capacity > 0)
        count->entries = xmalloc(count->capacity * sizeof(*count->entries));
    count_transit(engine, count);
    engine->count.result = count;
    engine->count.next = engine->channels;
    engine->count.phase = !engine->count.phase;
    engine->count.active = true;
    return true;
}

bool engine_count_more(struct engine *engine, size_t channels)
{
    for (; engine->count.next != NULL && channels > 0; channels--) {
        count_before_change(engine, engine->count.next);
        engine->count.next = engine->count.next->next;
    }
    if (engine->count.next == NULL)
        engine->count.active = false;
    return !engine->count.active;
}

struct engine_count *engine_count_take(struct engine *engine)
{
    struct engine_count *count = engine->count.result;
    ensure(count != NULL && !engine->count.active);
    engine->count.result = NULL;
    return count;
}

void engine_keep_statement(struct engine *engine, const uint8_t *bytes, size_t length)
{
    buffer_clear(&engine->statement);
    buffer_append(&engine->statement, bytes, length);
    engine->statement_dirty = true;
}

const struct buffer *engine_statement(const struct engine *engine)
{
    return &engine->statement;
}

void engine_count_free(struct engine_count *count)
{
    if (count != NULL)
        free(count->entries);
    free(count);
}
