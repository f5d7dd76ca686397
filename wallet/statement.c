#include "wallet/statement.h"

#include "ledger/quantity.h"
#include "wallet/hub_http.h"

static bool read_amount(const json_t *object, const char *name, struct amount *out)
{
    const json_t *value = json_object_get(object, name);
    *out = amount_of(json_number_at(object, name));
    return json_is_integer(value) && json_integer_value(value) >= 0;
}

static bool read_asset(const json_t *json, struct liability *out)
{
    out->channels = json_number_at(json, "channels");
    return json_address_at(json, "asset", &out->asset) && json_hash_at(json, "root", &out->root) &&
           read_amount(json, "clients", &out->clients) && read_amount(json, "hub", &out->hub) &&
           read_amount(json, "in_transit", &out->in_transit);
}

bool statement_of_json(const json_t *json, struct statement *out)
{
    const json_t *assets = json_object_get(json, "assets");
    struct liabilities *content = &out->content;
    *out = (struct statement){.content = {.number = json_number_at(json, "number"),
                                          .block = json_number_at(json, "block"),
                                          .time = json_number_at(json, "time"),
                                          .asset_count = json_array_size(assets)}};
    if (!json_is_array(assets) || content->asset_count > ASSETS_MAX || content->number == 0 ||
        !json_hash_at(json, "previous", &content->previous) ||
        !hex_decode(json_text_at(json, "signature"), out->signature.bytes, sizeof(out->signature.bytes)))
        return false;
    for (size_t i = 0; i < content->asset_count; i++)
        if (!read_asset(json_array_get(assets, i), &content->assets[i]))
            return false;
    out->event = liabilities_event(content);
    return true;
}

bool statement_is_signed(const struct statement *statement, const struct domain *domain,
                         const struct address *hub)
{
    struct hash digest = liabilities_digest(domain, &statement->content);
    return signature_is_by(&statement->signature, &digest, hub);
}

const char *statement_contradiction(const struct statement *a, const struct statement *b)
{
    const struct statement *later = a->content.number > b->content.number ? a : b;
    const struct statement *earlier = later == a ? b : a;
    if (a->content.number == b->content.number)
        return hash_equal(&a->event, &b->event) ? NULL : "it signed two statements of one number";
    if (later->content.number == earlier->content.number + 1 &&
        !hash_equal(&later->content.previous, &earlier->event))
        return "its statements do not follow each other: one of a number was shown to some, and another to "
               "others";
    return NULL;
}
