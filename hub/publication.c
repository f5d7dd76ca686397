#include "hub/publication.h"

#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"

static const char salt_tag[] = "rill liabilities salt";

/* Known to the hub alone, so that a leaf can be opened only by who is shown its salt. */
static struct hash seed_of(const struct secret_key *key, uint64_t number)
{
    uint8_t text[sizeof(salt_tag) + 8];
    memcpy(text, salt_tag, sizeof(salt_tag));
    store_be64(text + sizeof(salt_tag), number);
    return hmac_sha256(key->bytes, sizeof(key->bytes), text, sizeof(text));
}

static struct hash salt_of(const struct hash *seed, const struct hash *channel)
{
    return keccak256_pair(seed->bytes, sizeof(seed->bytes), channel->bytes, sizeof(channel->bytes));
}

static struct liability_leaf leaf_of(const struct publication_book *book, size_t index)
{
    const struct publication_entry *entry = &book->entries[index];
    return (struct liability_leaf){.channel = entry->channel,
                                   .balance = entry->balance,
                                   .nonce_client = entry->nonce_client,
                                   .nonce_hub = entry->nonce_hub,
                                   .salt = salt_of(book->seed, &entry->channel)};
}

static struct sum_node leaf_at(const void *context, size_t index)
{
    struct liability_leaf leaf = leaf_of(context, index);
    return liabilities_leaf(&leaf);
}

/* ---- building ---- */

struct salted {
    struct hash salt;
    const struct engine_counted *entry;
};

static int salted_compare(const void *left, const void *right)
{
    return hash_compare(&((const struct salted *)left)->salt, &((const struct salted *)right)->salt);
}

static size_t index_of(const struct engine_count *count, const struct address *asset)
{
    size_t at = 0;
    while (at < count->asset_count && !address_equal(&count->assets[at].asset, asset))
        at++;
    return at;
}

/* Each shard has its own order of assets. */
static size_t gather(const struct publication *publication, struct engine_count *const *counts, size_t count,
                     const struct address *asset, struct salted *out)
{
    size_t gathered = 0;
    for (size_t i = 0; i < count; i++) {
        size_t index = index_of(counts[i], asset);
        for (size_t k = 0; k < counts[i]->length; k++) {
            const struct engine_counted *entry = &counts[i]->entries[k];
            if (entry->asset == index)
                out[gathered++] = (struct salted){salt_of(&publication->seed, &entry->channel), entry};
        }
    }
    qsort(out, gathered, sizeof(*out), salted_compare);
    return gathered;
}

static bool build_book(struct publication_book *book, const struct salted *salted, size_t count,
                       struct liability *sums)
{
    book->entries = xcalloc(count + 1, sizeof(*book->entries));
    for (size_t i = 0; i < count; i++) {
        const struct engine_counted *entry = salted[i].entry;
        book->entries[i] =
            (struct publication_entry){entry->channel, entry->balance, entry->nonce_client, entry->nonce_hub};
    }
    book->tree =
        (struct sum_tree){xcalloc(sum_tree_size(count) + 1, sizeof(*book->tree.nodes)), count, leaf_at, book};
    if (!sum_tree_build(&book->tree))
        return false;
    struct sum_node root = sum_tree_root(&book->tree);
    sums->channels = count;
    sums->clients = amount_of(root.sum);
    sums->root = root.hash;
    return true;
}

static bool add_others(struct engine_count *const *counts, size_t count, struct liability *sums)
{
    for (size_t i = 0; i < count; i++) {
        size_t index = index_of(counts[i], &sums->asset);
        if (index == counts[i]->asset_count)
            continue;
        if (!amount_add(sums->hub, counts[i]->assets[index].hub, &sums->hub) ||
            !amount_add(sums->in_transit, counts[i]->assets[index].in_transit, &sums->in_transit))
            return false;
    }
    return true;
}

static void list_assets(struct engine_count *const *counts, size_t count, struct liabilities *statement)
{
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < counts[i]->asset_count; k++) {
            size_t at = 0;
            while (at < statement->asset_count &&
                   !address_equal(&statement->assets[at].asset, &counts[i]->assets[k].asset))
                at++;
            if (at == statement->asset_count && at < ASSETS_MAX)
                statement->assets[statement->asset_count++].asset = counts[i]->assets[k].asset;
        }
}

static bool build_books(struct publication *publication, struct engine_count *const *counts, size_t count)
{
    size_t channels = 0;
    for (size_t i = 0; i < count; i++)
        channels += counts[i]->length;
    struct salted *salted = xcalloc(channels + 1, sizeof(*salted));
    bool good = true;
    for (size_t i = 0; i < publication->statement.asset_count && good; i++) {
        struct liability *sums = &publication->statement.assets[i];
        size_t gathered = gather(publication, counts, count, &sums->asset, salted);
        publication->books[i].seed = &publication->seed;
        good = build_book(&publication->books[i], salted, gathered, sums) && add_others(counts, count, sums);
    }
    free(salted);
    return good;
}

struct publication *publication_build(struct engine_count *const *counts, size_t count, uint64_t number,
                                      const struct hash *previous, const struct domain *domain,
                                      const struct secret_key *key)
{
    for (size_t i = 1; i < count; i++)
        if (counts[i]->block != counts[0]->block)
            return NULL;
    struct publication *publication = xcalloc(1, sizeof(*publication));
    publication->statement = (struct liabilities){
        .number = number, .block = counts[0]->block, .time = counts[0]->time, .previous = *previous};
    publication->seed = seed_of(key, number);
    list_assets(counts, count, &publication->statement);
    if (!build_books(publication, counts, count)) {
        publication_free(publication);
        return NULL;
    }
    publication->event = liabilities_event(&publication->statement);
    struct hash digest = liabilities_digest(domain, &publication->statement);
    publication->signature = key_sign(key, &digest);
    return publication;
}

void publication_free(struct publication *publication)
{
    if (publication == NULL)
        return;
    for (size_t i = 0; i < publication->statement.asset_count; i++) {
        free(publication->books[i].entries);
        free(publication->books[i].tree.nodes);
    }
    bytes_wipe(&publication->seed, sizeof(publication->seed));
    free(publication);
}

/* ---- a leaf ---- */

/* Entries lie in the order of their salts. */
static bool find_entry(const struct publication_book *book, const struct hash *channel, size_t *index)
{
    const struct hash salt = salt_of(book->seed, channel);
    size_t low = 0, high = book->tree.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        struct hash at = salt_of(book->seed, &book->entries[middle].channel);
        int order = hash_compare(&at, &salt);
        if (order == 0 && hash_equal(&book->entries[middle].channel, channel)) {
            *index = middle;
            return true;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

bool publication_find(const struct publication *publication, const struct channel_key *key,
                      struct publication_proof *out)
{
    const struct liabilities *statement = &publication->statement;
    const struct hash channel = channel_id(key);
    size_t asset = 0, index;
    while (asset < statement->asset_count && !address_equal(&statement->assets[asset].asset, &key->asset))
        asset++;
    if (asset == statement->asset_count || !find_entry(&publication->books[asset], &channel, &index))
        return false;
    const struct publication_book *book = &publication->books[asset];
    *out = (struct publication_proof){
        .leaf = leaf_of(book, index), .asset = asset, .index = index, .count = book->tree.count};
    out->length = sum_tree_path(&book->tree, index, out->path);
    return true;
}

/* ---- the journal ---- */

void publication_write(const struct publication *publication, struct buffer *out)
{
    buffer_append(out, publication->signature.bytes, sizeof(publication->signature.bytes));
    liabilities_write(&publication->statement, out);
}

bool publication_read(const struct buffer *kept, struct liabilities *statement, struct signature *signature)
{
    struct reader reader = reader_of(kept->data, kept->length);
    reader_copy(&reader, signature->bytes, sizeof(signature->bytes));
    return liabilities_read(&reader, statement);
}
