#include "hub/reshard.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "base/ensure.h"
#include "base/log.h"
#include "hub/engine_state.h"
#include "hub/history.h"
#include "hub/journals.h"
#include "hub/reshard_exchange.h"
#include "hub/reshard_rows.h"
#include "store/store.h"

#define BATCH_BYTES      ((size_t)1 << 20)
#define PAST_UNREADABLE  "what is past cannot be read back: the disk is damaged; restore a backup"
#define HISTORY_DAYS_ALL 36500 /* nothing is dropped here: that is --history-days' */

/* The newest value of a key. */
struct entry {
    UT_hash_handle hh;
    size_t key_length; /* type u8, then the key */
    uint32_t length;
    uint8_t *value;
    uint8_t key[];
};

struct old_shard {
    struct journal *journal; /* open, so that no hub starts, until the mark is there */
    struct entry *entries;
    struct payments payments;
};

struct home {
    struct hash channel;
    struct address client;
    uint32_t shard; /* the new one */
    UT_hash_handle hh;
};

/* A client, whose past payments move with it. */
struct owner {
    struct address client;
    uint32_t old, shard;
    UT_hash_handle hh;
};

struct change {
    const char *data;
    uint32_t old_count, new_count;
    struct old_shard *olds;
    struct home *homes;
    struct owner *owners;
    struct payments wholes, *news; /* one table per new shard */
    char *message;
    size_t message_size;
};

static bool refuse(struct change *change, const char *why)
{
    snprintf(change->message, change->message_size, "%s", why);
    return false;
}

/* ---- reading ---- */

static struct entry *find(const struct old_shard *old, uint8_t type, const void *key, size_t length)
{
    uint8_t whole[1 + RECORD_KEY_MAX];
    struct entry *entry;
    whole[0] = type;
    if (length > 0)
        memcpy(whole + 1, key, length);
    HASH_FIND(hh, old->entries, whole, 1 + length, entry);
    return entry;
}

static void drop(struct old_shard *old, struct entry *entry)
{
    HASH_DEL(old->entries, entry);
    free(entry->value);
    free(entry);
}

static bool take_record(void *context, const struct record *record)
{
    struct old_shard *old = context;
    if (record->type == RECORD_PAYMENT)
        return payment_read(&old->payments, record);
    struct entry *entry = find(old, record->type, record->key, record->key_length);
    if (entry != NULL)
        drop(old, entry);
    if (record->gone)
        return true;
    entry = xmalloc(sizeof(*entry) + 1 + record->key_length);
    entry->key_length = 1 + (size_t)record->key_length;
    entry->key[0] = record->type;
    memcpy(entry->key + 1, record->key, record->key_length);
    entry->length = record->value_length;
    entry->value = xmalloc(record->value_length == 0 ? 1 : record->value_length);
    memcpy(entry->value, record->value, record->value_length);
    HASH_ADD_KEYPTR(hh, old->entries, entry->key, entry->key_length, entry);
    return true;
}

static bool read_old(struct change *change, uint32_t shard)
{
    const struct hub_settings settings = {.data = change->data, .history_days = HISTORY_DAYS_ALL};
    struct old_shard *old = &change->olds[shard];
    old->journal = journals_open(&settings, shard, change->message, change->message_size);
    if (old->journal == NULL)
        return false;
    return journal_recover(old->journal, take_record, old) ||
           refuse(change, "a journal holds a record that this version cannot read: start the version that "
                          "wrote it, or restore a backup");
}

/* ---- may it be done now ---- */

#define START_AND_STOP                                                                                       \
    "start the hub with its present number of shards, wait until it serves, stop it with SIGTERM, then try " \
    "again"

static bool has_whole_identity(struct change *change, uint32_t shard)
{
    const struct entry *entry = find(&change->olds[shard], RECORD_IDENTITY, NULL, 0);
    if (entry == NULL || entry->length < 4)
        return refuse(change, "a journal does not say whose it is: " START_AND_STOP);
    const uint8_t *end = entry->value + entry->length;
    if (load_be16(end - 4) != change->old_count || load_be16(end - 2) != shard)
        return refuse(change, "the journals do not belong together: restore them from one backup");
    return true;
}

static uint64_t received(const struct change *change, uint32_t to, uint32_t from)
{
    uint8_t key[2];
    store_be16(key, (uint16_t)from);
    const struct entry *entry = find(&change->olds[to], RECORD_SHARD_PAIR, key, sizeof(key));
    return entry == NULL ? 0 : load_be64(entry->value + 1 + 8);
}

/* Every parcel must have arrived: what it says is then in both journals. */
static bool has_no_parcel_under_way(struct change *change, uint32_t shard)
{
    const struct entry *entry, *next;
    HASH_ITER(hh, change->olds[shard].entries, entry, next)
    {
        if (entry->key[0] == RECORD_PARCEL &&
            load_be64(entry->key + 3) > received(change, load_be16(entry->key + 1), shard))
            return refuse(change, "payments are on their way between shards: " START_AND_STOP);
    }
    return true;
}

/* What stands in an old shard's root record; everything zero if it has none. */
struct old_root {
    struct leaves leaves;
    struct journal_root root;
    uint64_t gross;
    bool in_flight;
};

static bool read_root(const struct change *change, uint32_t shard, struct old_root *out)
{
    const struct entry *entry = find(&change->olds[shard], RECORD_ROOT, NULL, 0);
    *out = (struct old_root){.gross = 0};
    if (entry == NULL)
        return true;
    struct reader reader = reader_of(entry->value, entry->length);
    bool good = engine_read_root(&reader, &out->leaves, &out->root, &out->gross);
    out->in_flight = reader_u8(&reader) != 0;
    return good && reader.ok;
}

static bool has_no_batch_under_way(struct change *change, uint32_t shard)
{
    struct old_root root;
    if (!read_root(change, shard, &root) || root.in_flight)
        return refuse(
            change, "a settlement batch is on its way: start the hub with its present number of shards, wait "
                    "until the batch is on the ledger (GET /settlements), stop it, then try again");
    return true;
}

static bool reads_the_ledger_alike(struct change *change, uint32_t shard)
{
    const struct entry *first = find(&change->olds[0], RECORD_CURSOR, NULL, 0);
    const struct entry *own = find(&change->olds[shard], RECORD_CURSOR, NULL, 0);
    if (first == NULL || own == NULL || first->length != own->length ||
        memcmp(first->value, own->value, own->length) != 0)
        return refuse(change, "the shards have not read the ledger equally far: " START_AND_STOP);
    return true;
}

/* ---- who owns what ---- */

static void note_owner(struct change *change, const struct home *home)
{
    struct owner *owner;
    HASH_FIND(hh, change->owners, &home->client, sizeof(home->client), owner);
    if (owner != NULL)
        return;
    owner = xcalloc(1, sizeof(*owner));
    *owner = (struct owner){.client = home->client,
                            .old = shard_of_client(&home->client, change->old_count),
                            .shard = home->shard};
    HASH_ADD(hh, change->owners, client, sizeof(owner->client), owner);
}

static bool note_homes(struct change *change, const struct old_shard *old)
{
    const struct entry *entry, *next;
    HASH_ITER(hh, old->entries, entry, next)
    {
        if (entry->key[0] != RECORD_CHANNEL)
            continue;
        struct channel *channel = NULL;
        const struct record record = {.type = RECORD_CHANNEL,
                                      .key = entry->key + 1,
                                      .key_length = (uint8_t)(entry->key_length - 1),
                                      .value = entry->value,
                                      .value_length = entry->length};
        if (!channel_read(&channel, &record))
            return refuse(change, "a channel's record cannot be read: restore the journals from a backup");
        struct home *home = xcalloc(1, sizeof(*home));
        home->channel = channel->id;
        home->client = channel->key.client;
        home->shard = shard_of_client(&channel->key.client, change->new_count);
        HASH_ADD(hh, change->homes, channel, sizeof(home->channel), home);
        note_owner(change, home);
        channel_free(channel);
    }
    return true;
}

static const struct home *home_of(const struct change *change, const void *channel)
{
    struct home *home;
    HASH_FIND(hh, change->homes, channel, sizeof(struct hash), home);
    return home;
}

/* ---- payments ---- */

static const struct payment *other_half(const struct change *change, const struct payment *half)
{
    if (half->other_shard >= change->old_count)
        return NULL;
    return payments_find(&change->olds[half->other_shard].payments, &half->payer.channel, &half->payer.id);
}

static void join_payments(struct change *change, const struct old_shard *old)
{
    size_t at = 0;
    for (const struct payment *row; (row = payments_each(&old->payments, &at)) != NULL;) {
        if (row->role == PAYMENT_WHOLE)
            (void)reshard_copy(row, &change->wholes);
        else if (row->role == HALF_OF_PAYEE)
            reshard_join(&change->wholes, other_half(change, row), row);
        else if (other_half(change, row) == NULL)
            reshard_join(&change->wholes, row, NULL);
    }
}

static void part_payments(struct change *change)
{
    size_t place = 0;
    for (const struct payment *whole; (whole = payments_each(&change->wholes, &place)) != NULL;) {
        const struct home *payer = home_of(change, &whole->payer.channel);
        const struct home *payee = home_of(change, &whole->payee.channel);
        uint32_t at = payer != NULL ? payer->shard : payee != NULL ? payee->shard : 0;
        if (payer == NULL || payee == NULL || payer->shard == payee->shard)
            (void)reshard_copy(whole, &change->news[at]);
        else
            reshard_part(whole, &change->news[payer->shard], (uint16_t)payer->shard,
                         &change->news[payee->shard], (uint16_t)payee->shard);
    }
}

/* ---- writing ---- */

struct writing {
    struct change *change;
    uint32_t shard;
    struct journal *journal;
    struct buffer batch;
    uint64_t sequence, pasts;
    struct journal *past; /* the old one that is being read */
    bool damaged;
};

static void write_out(struct writing *writing, bool whole)
{
    if (writing->batch.length == 0 || (!whole && writing->batch.length < BATCH_BYTES))
        return;
    writing->sequence = journal_append(writing->journal, writing->batch.data, writing->batch.length);
    buffer_clear(&writing->batch);
}

static void write_entry(struct writing *writing, const struct entry *entry)
{
    record_put(&writing->batch, entry->key[0], entry->key + 1, entry->key_length - 1, entry->value,
               entry->length);
    write_out(writing, false);
}

/* Does this record, of this old shard, belong to the shard that is being written? */
static bool belongs(const struct writing *writing, uint32_t old, const struct entry *entry)
{
    const struct home *home;
    switch (entry->key[0]) {
    case RECORD_CHANNEL:
    case RECORD_LOCK:
    case RECORD_STREAM:
    case RECORD_KEPT:
    case RECORD_WANT:
    case RECORD_DISPUTE:
    case RECORD_PROMISE:
        home = home_of(writing->change, entry->key + 1);
        return home != NULL && home->shard == writing->shard;
    case RECORD_REGISTRATION: /* every shard has all of these */
    case RECORD_ASSET:
    case RECORD_CURSOR:
        return old == 0;
    case RECORD_BATCH:
    case RECORD_LIABILITIES:
        return writing->shard == 0;
    default:
        return false; /* identity, root, pools and parcels are made anew */
    }
}

static void write_type(struct writing *writing, uint8_t type)
{
    for (uint32_t old = 0; old < writing->change->old_count; old++) {
        const struct entry *entry, *next;
        HASH_ITER(hh, writing->change->olds[old].entries, entry, next)
        {
            if (entry->key[0] == type && belongs(writing, old, entry))
                write_entry(writing, entry);
        }
    }
}

static void write_identity(struct writing *writing)
{
    const struct entry *entry = find(&writing->change->olds[0], RECORD_IDENTITY, NULL, 0);
    size_t mark = record_begin(&writing->batch, RECORD_IDENTITY, NULL, 0);
    buffer_append(&writing->batch, entry->value, entry->length - 4);
    buffer_u16(&writing->batch, (uint16_t)writing->change->new_count);
    buffer_u16(&writing->batch, (uint16_t)writing->shard);
    record_end(&writing->batch, mark);
}

/* The archive's records come last in a batch that has another: the cursor once more. */
static void begin_past(struct writing *writing)
{
    write_out(writing, false);
    if (writing->batch.length == 0)
        write_entry(writing, find(&writing->change->olds[0], RECORD_CURSOR, NULL, 0));
}

/* An old shard's root becomes a leaf of the first shard's new lineage, and its leaves are found under that. */
static void join_root(struct writing *writing, uint32_t old, const struct old_root *from,
                      struct old_root *all)
{
    const struct hash root = journal_root_value(&from->root);
    const struct lineage into = {all->leaves.generation, 0};
    if (from->leaves.time > all->leaves.time)
        all->leaves.time = from->leaves.time;
    begin_past(writing);
    rooted_write(&(struct rooted){.lineage = {from->leaves.generation, old},
                                  .time = from->leaves.time,
                                  .from = from->leaves.first,
                                  .to = from->leaves.first + from->root.count,
                                  .from_time = from->leaves.first_time,
                                  .root = root,
                                  .joined = true,
                                  .into = into,
                                  .into_number = all->root.count},
                 &writing->batch);
    journal_root_add(&all->root, &root);
    buffer_append(&all->leaves.digest, root.bytes, sizeof(root.bytes));
}

/* The newest generation of lineages that any old shard has; out: the sum of their volumes. */
static uint32_t newest_generation(const struct change *change, uint64_t *gross)
{
    uint32_t newest = 0;
    struct old_root one;
    *gross = 0;
    for (uint32_t old = 0; old < change->old_count; old++) {
        if (!read_root(change, old, &one))
            continue;
        *gross += one.gross;
        newest = one.leaves.generation > newest ? one.leaves.generation : newest;
    }
    return newest;
}

/* What the old shards' roots stand for goes into the first batch of the new first shard: their roots are its first
 * leaves, so that every proof is still in a tree under it. A single old shard's leaves just go on. */
static void write_roots(struct writing *writing)
{
    const struct change *change = writing->change;
    struct old_root all = {.gross = 0}, one;
    uint64_t gross;
    uint32_t generation = newest_generation(change, &gross) + 1;
    if (change->old_count == 1 && writing->shard == 0) {
        if (read_root(change, 0, &all))
            engine_write_root(&writing->batch, &all.leaves, &all.root, gross);
        return;
    }
    all.leaves.generation = generation;
    for (uint32_t old = 0; old < change->old_count && writing->shard == 0; old++)
        if (read_root(change, old, &one) && one.root.count > 0)
            join_root(writing, old, &one, &all);
    const struct lineage lineage = {generation, writing->shard};
    all.leaves.first_time = all.leaves.time;
    if (all.leaves.digest.length > 0)
        leaves_write(&lineage, all.leaves.time, 0, all.leaves.digest.data, all.leaves.digest.length,
                     &writing->batch);
    write_out(writing, true);
    engine_write_root(&writing->batch, &all.leaves, &all.root, writing->shard == 0 ? gross : 0);
    buffer_free(&all.leaves.digest);
}

/* What all channels together did to the pool is the first shard's now. */
static void write_pools(struct writing *writing)
{
    for (uint32_t old = 0; old < writing->change->old_count; old++) {
        const struct entry *entry, *next;
        HASH_ITER(hh, writing->change->olds[old].entries, entry, next)
        {
            if (entry->key[0] != RECORD_POOL)
                continue;
            uint64_t sum = 0;
            for (uint32_t i = 0; i < writing->change->old_count; i++) {
                const struct entry *part =
                    find(&writing->change->olds[i], RECORD_POOL, entry->key + 1, entry->key_length - 1);
                sum += part == NULL ? 0 : load_be64(part->value + 1); /* two's complement */
            }
            size_t mark = record_begin(&writing->batch, RECORD_POOL, entry->key + 1, entry->key_length - 1);
            buffer_u8(&writing->batch, entry->value[0]);
            buffer_u64(&writing->batch, sum);
            record_end(&writing->batch, mark);
        }
    }
}

static void write_payments(struct writing *writing)
{
    size_t at = 0;
    for (const struct payment *row;
         (row = payments_each(&writing->change->news[writing->shard], &at)) != NULL;) {
        payment_write(row, RECORD_PAYMENT, &writing->batch);
        write_out(writing, false);
    }
}

/* What the other shard has of a past payment between two. */
static bool find_other_side(const struct change *change, const struct history_item *item,
                            struct history_found *out)
{
    uint8_t rest[HISTORY_REST_BYTES];
    history_rest(&item->payee.id, !item->received, rest);
    return item->other_shard < change->old_count &&
           journal_find(change->olds[item->other_shard].journal, RECORD_HISTORY, rest, sizeof(rest),
                        history_take, out) &&
           out->good;
}

/* One side of a past payment as the new number of shards has it. */
static void past_moved(const struct change *change, uint32_t own, struct history_item *item)
{
    struct history_found other = {.good = false};
    bool whole = item->role == PAYMENT_WHOLE;
    if (whole ? address_is_zero(&item->peer) : !find_other_side(change, item, &other))
        return; /* it has no other side, or one that is gone */
    const struct address *peer = whole ? &item->peer : &other.item.owner;
    uint32_t home = shard_of_client(peer, change->new_count);
    if (home == own && !whole)
        reshard_past_join(item, &other.item);
    else if (home != own)
        reshard_past_part(item, (uint16_t)home);
}

static bool write_past(void *context, const struct record *record)
{
    struct writing *writing = context;
    size_t count = history_count(record);
    writing->damaged = count == 0;
    for (size_t i = 0; i < count && !writing->damaged; i++) {
        struct history_item item;
        writing->damaged = !history_look(writing->past, record, i, &item);
        if (writing->damaged || item.state == 0)
            continue;
        writing->pasts++;
        past_moved(writing->change, writing->shard, &item);
        item.leads = item.received && item.role == PAYMENT_WHOLE;
        begin_past(writing);
        history_write(&item, &writing->batch);
    }
    return !writing->damaged;
}

static bool write_history(struct writing *writing)
{
    const struct owner *owner, *next;
    HASH_ITER(hh, writing->change->owners, owner, next)
    {
        if (owner->shard != writing->shard)
            continue;
        struct archive_query query = {.type = RECORD_HISTORY, .until = UINT64_MAX};
        memcpy(query.owner, owner->client.bytes, sizeof(query.owner));
        writing->past = writing->change->olds[owner->old].journal;
        if (!journal_archive_read(writing->past, &query, write_past, writing) || writing->damaged)
            return refuse(writing->change, PAST_UNREADABLE);
    }
    write_out(writing, true);
    return true;
}

static bool write_as_it_is(void *context, const struct record *record)
{
    struct writing *writing = context;
    begin_past(writing);
    record_put(&writing->batch, record->type, record->key, record->key_length, record->value,
               record->value_length);
    return true;
}

/* All old lineages are the first shard's now. */
static bool write_leaves(struct writing *writing)
{
    static const uint8_t types[] = {RECORD_LEAVES, RECORD_ROOTED};
    for (uint32_t old = 0; old < writing->change->old_count; old++)
        for (size_t i = 0; i < ARRAY_LENGTH(types); i++) {
            const struct archive_query query = {.type = types[i], .until = UINT64_MAX};
            if (!journal_archive_read(writing->change->olds[old].journal, &query, write_as_it_is, writing))
                return refuse(writing->change, PAST_UNREADABLE);
        }
    write_out(writing, true);
    return true;
}

/* Records of channels first, since others hang on them. */
static bool write_new(struct change *change, uint32_t shard)
{
    char path[4096];
    exchange_path(change->data, shard, ".new", path, sizeof(path));
    const struct store_options options = {
        .path = path,
        .application = "hub",
        .version = HUB_JOURNAL_VERSION,
        .archive_days = HISTORY_DAYS_ALL,
    };
    struct writing writing = {.change = change, .shard = shard};
    if (store_open(&options, &writing.journal, change->message, change->message_size) != STORE_OK)
        return false;
    ensure(journal_recover(writing.journal, NULL, NULL));
    write_identity(&writing);
    for (uint8_t type = 0; type < UINT8_MAX; type++)
        write_type(&writing, type);
    if (shard == 0)
        write_pools(&writing);
    write_payments(&writing);
    write_out(&writing, true);
    write_roots(&writing);
    write_out(&writing, true);
    bool whole = write_history(&writing) && (shard != 0 || write_leaves(&writing));
    journal_wait(writing.journal, writing.sequence);
    journal_close(writing.journal);
    buffer_free(&writing.batch);
    if (!whole)
        return false;
    log_info("shard %u of %u: %zu payments under way and %" PRIu64 " past ones written", shard,
             change->new_count, payments_count(&change->news[shard]), writing.pasts);
    return true;
}

/* ---- all of it ---- */

static bool may_change(struct change *change)
{
    for (uint32_t i = 0; i < change->old_count; i++)
        if (!read_old(change, i))
            return false;
    for (uint32_t i = 0; i < change->old_count; i++)
        if (!has_whole_identity(change, i) || !has_no_parcel_under_way(change, i) ||
            !has_no_batch_under_way(change, i) || !reads_the_ledger_alike(change, i))
            return false;
    return true;
}

static void close_old(struct change *change)
{
    for (uint32_t i = 0; i < change->old_count && change->olds != NULL; i++) {
        journal_close(change->olds[i].journal);
        change->olds[i].journal = NULL;
    }
}

static struct exchange exchange_of(const struct change *change)
{
    return (struct exchange){.data = change->data,
                             .old_count = change->old_count,
                             .new_count = change->new_count,
                             .message = change->message,
                             .message_size = change->message_size};
}

static bool change_all(struct change *change)
{
    const struct exchange exchange = exchange_of(change);
    if (!exchange_is_clear(&exchange) || !may_change(change))
        return false;
    for (uint32_t i = 0; i < change->old_count; i++)
        if (!note_homes(change, &change->olds[i]))
            return false;
    for (uint32_t i = 0; i < change->old_count; i++)
        join_payments(change, &change->olds[i]);
    part_payments(change);
    log_info("%u shards hold %u channels and %zu payments under way", change->old_count,
             HASH_COUNT(change->homes), payments_count(&change->wholes));
    for (uint32_t i = 0; i < change->new_count; i++)
        if (!write_new(change, i))
            return false;
    if (!exchange_mark(&exchange))
        return false;
    close_old(change);
    return exchange_run(&exchange);
}

static void change_free(struct change *change)
{
    close_old(change);
    for (uint32_t i = 0; i < change->old_count && change->olds != NULL; i++) {
        struct entry *entry, *next;
        HASH_ITER(hh, change->olds[i].entries, entry, next)
        drop(&change->olds[i], entry);
        payments_free(&change->olds[i].payments);
    }
    struct home *home, *next_home;
    HASH_ITER(hh, change->homes, home, next_home)
    {
        HASH_DEL(change->homes, home);
        free(home);
    }
    struct owner *owner, *next_owner;
    HASH_ITER(hh, change->owners, owner, next_owner)
    {
        HASH_DEL(change->owners, owner);
        free(owner);
    }
    payments_free(&change->wholes);
    for (uint32_t i = 0; i < change->new_count && change->news != NULL; i++)
        payments_free(&change->news[i]);
    free(change->olds);
    free(change->news);
}

bool reshard(const char *data, uint32_t shards, char *message, size_t message_size)
{
    struct change change = {
        .data = data, .message = message, .message_size = message_size, .new_count = shards};
    if (reshard_is_half_done(data)) {
        struct exchange exchange = exchange_of(&change);
        return exchange_finish(&exchange);
    }
    change.old_count = journals_count(data);
    if (change.old_count == 0)
        return refuse(&change, "there is no journal in --data: name the hub's own folder");
    if (change.old_count == shards)
        return refuse(&change, "the journal has that number of shards already: nothing to do");
    change.olds = xcalloc(change.old_count, sizeof(*change.olds));
    change.news = xcalloc(change.new_count, sizeof(*change.news));
    bool done = change_all(&change);
    change_free(&change);
    return done;
}
