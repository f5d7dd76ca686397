/* GET /liabilities: the newest statement of what the hub owes. POST: makes one now. GET /liabilities/proof: a client's
 * own leaf in it, for who signs that he is that client: the path gives away what the channel holds. */
#include <event2/buffer.h>
#include <inttypes.h>

#include "base/ensure.h"
#include "hub/http_job.h"
#include "hub/http_query.h"
#include "hub/hub_state.h"
#include "hub/publish.h"

/* ---- the statement ---- */

static void write_statement(const struct hub *hub, const struct publication *publication,
                            struct evbuffer *body)
{
    const struct liabilities *statement = &publication->statement;
    char text[HASH_TEXT_SIZE], signature[2 * 64 + 1];
    hex_encode(publication->signature.bytes, 64, signature);
    evbuffer_add_printf(body,
                        "{\"number\":%" PRIu64 ",\"block\":%" PRIu64 ",\"time\":%" PRIu64
                        ",\"previous\":\"%s\",\"chain_id\":%" PRIu64,
                        statement->number, statement->block, statement->time,
                        hash_text(&statement->previous, text), hub->engine_settings.domain.chain_id);
    evbuffer_add_printf(body, ",\"contract\":\"%s\",\"assets\":[",
                        address_text(&hub->engine_settings.domain.contract, text));
    for (size_t i = 0; i < statement->asset_count; i++) {
        const struct liability *asset = &statement->assets[i];
        evbuffer_add_printf(body, "%s{\"asset\":\"%s\"", i == 0 ? "" : ",",
                            address_text(&asset->asset, text));
        evbuffer_add_printf(body,
                            ",\"channels\":%" PRIu64 ",\"clients\":%" PRIu64 ",\"hub\":%" PRIu64
                            ",\"in_transit\":%" PRIu64 ",\"root\":\"%s\"}",
                            asset->channels, asset->clients.units, asset->hub.units, asset->in_transit.units,
                            hash_text(&asset->root, text));
    }
    evbuffer_add_printf(body, "],\"event\":\"%s\",\"signature\":\"0x%s\"}\n",
                        hash_text(&publication->event, text), signature);
}

static void reply_json(struct evhttp_request *request, struct evbuffer *body)
{
    http_reply(request, 200, "application/json", body);
}

static void make_one(struct hub *hub, struct evhttp_request *request)
{
    uint64_t number = publisher_ask(hub->publisher);
    if (number == 0) {
        http_reply_error(request, 503, "the hub is not serving");
        return;
    }
    struct evbuffer *body = evbuffer_new();
    ensure(body != NULL);
    evbuffer_add_printf(body, "{\"number\":%" PRIu64 "}\n", number);
    reply_json(request, body);
}

void http_on_liabilities(struct evhttp_request *request, void *context)
{
    struct hub *hub = context;
    const struct publication *newest = publisher_newest(hub->publisher);
    if (evhttp_request_get_command(request) == EVHTTP_REQ_POST) {
        make_one(hub, request);
        return;
    }
    if (newest == NULL) {
        http_reply_error(request, 503, "none is made yet: ask again in some seconds");
        return;
    }
    struct evbuffer *body = evbuffer_new();
    ensure(body != NULL);
    write_statement(hub, newest, body);
    reply_json(request, body);
}

/* ---- a leaf ---- */

struct asked {
    struct channel_key key;
    uint64_t number;
    struct signature signature;
};

static const char *parse(const char *query, struct asked *out)
{
    const struct http_value values[] = {
        {"client", out->key.client.bytes, sizeof(out->key.client.bytes), NULL, false},
        {"asset", out->key.asset.bytes, sizeof(out->key.asset.bytes), NULL, false},
        {"salt", NULL, 0, &out->key.salt, false},
        {"number", NULL, 0, &out->number, false},
        {"signature", out->signature.bytes, sizeof(out->signature.bytes), NULL, false},
    };
    return http_read_query(query, values, ARRAY_LENGTH(values),
                           "client, asset, salt (the channel's key), number and signature can be given, each "
                           "as its kind is written",
                           "client, asset, salt, number and signature are all needed");
}

static void write_proof(const struct asked *asked, const struct publication_proof *proof,
                        struct evbuffer *body)
{
    char text[HASH_TEXT_SIZE];
    const struct liability_leaf *leaf = &proof->leaf;
    evbuffer_add_printf(body, "{\"number\":%" PRIu64 ",\"channel\":\"%s\"", asked->number,
                        hash_text(&leaf->channel, text));
    evbuffer_add_printf(body,
                        ",\"balance\":%" PRIu64 ",\"nonce_client\":%" PRIu64 ",\"nonce_hub\":%" PRIu64
                        ",\"salt\":\"%s\",\"index\":%" PRIu64 ",\"path\":[",
                        leaf->balance.units, leaf->nonce_client, leaf->nonce_hub,
                        hash_text(&leaf->salt, text), proof->index);
    for (size_t i = 0; i < proof->length; i++)
        evbuffer_add_printf(body, "%s{\"hash\":\"%s\",\"sum\":%" PRIu64 "}", i == 0 ? "" : ",",
                            hash_text(&proof->path[i].hash, text), proof->path[i].sum);
    evbuffer_add_printf(body, "]}\n");
}

void http_on_liability_proof(struct evhttp_request *request, void *context)
{
    struct hub *hub = context;
    struct asked asked = {.number = 0};
    struct publication_proof proof;
    const char *wrong = parse(evhttp_uri_get_query(evhttp_request_get_evhttp_uri(request)), &asked);
    if (wrong != NULL) {
        http_reply_error(request, 400, wrong);
        return;
    }
    const struct publication *publication = publisher_numbered(hub->publisher, asked.number);
    if (publication == NULL) {
        http_reply_error(request, 410,
                         "there is no such statement, or newer ones have come: GET /liabilities");
        return;
    }
    struct hash digest = liabilities_request_digest(&hub->engine_settings.domain, &asked.key, asked.number);
    if (!signature_is_by(&asked.signature, &digest, &asked.key.client)) {
        http_reply_error(request, 400, "the signature is not the client's: only he is shown what he has");
        return;
    }
    if (!publication_find(publication, &asked.key, &proof)) {
        http_reply_error(request, 404, "this statement does not count that channel");
        return;
    }
    struct evbuffer *body = evbuffer_new();
    ensure(body != NULL);
    write_proof(&asked, &proof, body);
    reply_json(request, body);
}
