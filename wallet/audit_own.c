/* rill audit, the client's half: is the own channel in the sum, with the balance that the signed proofs give? */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "wallet/audit.h"
#include "wallet/hub_http.h"

#define GONE     410 /* the hub's status for a statement that newer ones have replaced */
#define LEFT_OUT 404 /* for a channel that it does not count */

const char *audit_own_text(enum verdict_own verdict)
{
    switch (verdict) {
    case OWN_COUNTED:
        return "counted with your true balance";
    case OWN_MOVED:
        return "payments moved meanwhile";
    case OWN_BEHIND:
        return "not as it is now: the statement is of an older block";
    case OWN_REPLACED:
        return "not shown: a newer statement came first";
    case OWN_LEFT_OUT:
        return "LEFT OUT of what the hub says it owes";
    case OWN_STALE:
        return "counted by an old balance: updates that were acknowledged are left out";
    case OWN_UNSIGNED:
        return "counted by balance proofs that do not exist";
    case OWN_BALANCE:
        return "counted with another balance than the signed proofs give";
    case OWN_PATH:
        return "shown a leaf that is not in the published sum";
    }
    return "?";
}

void audit_own_note(struct audit *audit)
{
    struct rill_balance balance;
    free(audit->own);
    audit->own = NULL;
    audit->own_count = 0;
    for (size_t i = 0; rill_balance_at(audit->session->wallet, i, &balance); i++) {
        if (balance.stage != RILL_OPEN && balance.stage != RILL_CLOSING)
            continue;
        audit->own = xrealloc(audit->own, (audit->own_count + 1) * sizeof(*audit->own));
        struct own *own = &audit->own[audit->own_count++];
        *own = (struct own){.before = balance};
        own->key.client = rill_bytes_address(audit->session->address);
        own->key.asset = rill_bytes_address(balance.asset);
        own->key.salt = balance.salt;
    }
}

static bool read_path(const json_t *answer, struct own *own)
{
    const json_t *path = json_object_get(answer, "path");
    own->leaf.balance = amount_of(json_number_at(answer, "balance"));
    own->leaf.nonce_client = json_number_at(answer, "nonce_client");
    own->leaf.nonce_hub = json_number_at(answer, "nonce_hub");
    own->index = json_number_at(answer, "index");
    own->length = json_array_size(path);
    if (!json_hash_at(answer, "salt", &own->leaf.salt) || own->length > SUM_PATH_MAX ||
        own->leaf.balance.units >= AMOUNT_LIMIT)
        return false;
    for (size_t i = 0; i < own->length; i++) {
        const json_t *step = json_array_get(path, i);
        own->path[i].sum = json_number_at(step, "sum");
        if (!json_hash_at(step, "hash", &own->path[i].hash) ||
            json_integer_value(json_object_get(step, "sum")) < 0)
            return false;
    }
    return true;
}

/* A hub has the newest statement as long as it shows it: whoever says that it is gone hides what it counts. */
static bool is_still_newest(const struct audit *audit)
{
    int status;
    char *body = hub_http_text(audit->session, audit->http, "/liabilities", false, &status);
    json_t *newest = body != NULL ? json_loads(body, JSON_REJECT_DUPLICATES, NULL) : NULL;
    bool is_it = status == 200 && json_number_at(newest, "number") == audit->statement.content.number;
    json_decref(newest);
    free(body);
    return is_it;
}

/* Only to the client the hub shows what it counts; the request says by a signature that it is. */
int audit_own_ask(struct audit *audit, struct own *own)
{
    const struct domain domain = rill_ledger_domain(audit->session->ledger);
    char path[512], client[ADDRESS_TEXT_SIZE], asset[ADDRESS_TEXT_SIZE], signature[2 * 64 + 1];
    uint64_t number = audit->statement.content.number;
    struct hash digest = liabilities_request_digest(&domain, &own->key, number);
    struct signature signed_request = key_sign(&audit->session->key, &digest);
    hex_encode(signed_request.bytes, sizeof(signed_request.bytes), signature);
    snprintf(path, sizeof(path), "/liabilities/proof?client=%s&asset=%s&salt=%llu&number=%llu&signature=0x%s",
             address_text(&own->key.client, client), address_text(&own->key.asset, asset),
             (unsigned long long)own->key.salt, (unsigned long long)number, signature);
    char *body = hub_http_text(audit->session, audit->http, path, false, &own->status);
    if (body == NULL)
        return hub_http_silent(audit->session->settings, audit->session, audit->http);
    json_t *answer = json_loads(body, JSON_REJECT_DUPLICATES, NULL);
    int code = RILL_EXIT_OK;
    free(body);
    if (own->status == 200)
        own->verdict = read_path(answer, own) ? OWN_COUNTED : OWN_PATH;
    else if (own->status != LEFT_OUT && own->status != GONE)
        code = command_fail(audit->session->settings, RILL_EXIT_FAILED, "the hub at http://%s says: %s",
                            audit->http, json_text_at(answer, "error"));
    json_decref(answer);
    if (own->status == GONE && is_still_newest(audit))
        own->status = LEFT_OUT;
    return code;
}

static bool leaf_is_in(const struct audit *audit, struct own *own)
{
    const struct liabilities *content = &audit->statement.content;
    own->leaf.channel = rill_bytes_hash(own->before.channel);
    for (size_t i = 0; i < content->asset_count; i++) {
        const struct liability *asset = &content->assets[i];
        if (!address_equal(&asset->asset, &own->key.asset))
            continue;
        const struct sum_node leaf = liabilities_leaf(&own->leaf);
        own->count = asset->channels;
        return sum_verify(&leaf, own->index, asset->channels, own->path, own->length,
                          &(struct sum_node){asset->root, asset->clients.units});
    }
    return false;
}

/* The wallet's newest state of the same channel now. */
static struct rill_balance balance_now(const struct audit *audit, const struct own *own)
{
    struct rill_balance balance = own->before;
    for (size_t i = 0; rill_balance_at(audit->session->wallet, i, &balance); i++)
        if (memcmp(balance.channel, own->before.channel, sizeof(balance.channel)) == 0)
            return balance;
    return own->before;
}

enum verdict_own audit_own_judge(const struct audit *audit, struct own *own)
{
    struct hash id = rill_bytes_hash(own->before.channel);
    const struct book_channel *channel = books_channel(&audit->books, &id);
    const struct rill_balance now = balance_now(audit, own);
    if (own->status == GONE)
        return OWN_REPLACED;
    if (channel == NULL || channel->closed)
        return OWN_MOVED; /* the wallet hears of it soon */
    if (!channel->was_there || channel->was.units != channel->total.units)
        return OWN_BEHIND; /* it was opened after the statement's block, or got or gave money */
    if (own->status == LEFT_OUT)
        return OWN_LEFT_OUT;
    if (own->verdict == OWN_PATH || !leaf_is_in(audit, own))
        return OWN_PATH;
    if (own->leaf.nonce_client > now.nonce_own)
        return OWN_UNSIGNED;
    if (own->leaf.nonce_client < own->before.nonce_own || own->leaf.nonce_hub < own->before.nonce_hub)
        return OWN_STALE;
    /* What the hub has signed since only adds to the balance. */
    if (own->leaf.nonce_client == now.nonce_own && own->leaf.nonce_hub > now.nonce_hub &&
        channel->was.units == now.total && own->leaf.balance.units < now.balance)
        return OWN_BALANCE;
    if (own->leaf.nonce_client != now.nonce_own || own->leaf.nonce_hub != now.nonce_hub ||
        channel->was.units != now.total)
        return OWN_MOVED;
    return own->leaf.balance.units == now.balance ? OWN_COUNTED : OWN_BALANCE;
}
