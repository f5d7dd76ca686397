#include "hub/http_query.h"

#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <stdlib.h>
#include <string.h>

bool http_read_number(const char *text, uint64_t *out)
{
    char *end;
    if (text[0] < '0' || text[0] > '9' || strlen(text) > 19)
        return false;
    *out = strtoull(text, &end, 10);
    return *end == '\0';
}

static bool read_value(const struct http_value *value, const char *text)
{
    return value->bytes != NULL ? hex_decode(text, value->bytes, value->length)
                                : http_read_number(text, value->number);
}

static const char *read_values(const struct evkeyvalq *given, const struct http_value *values, size_t count,
                               const char *wrong, const char *missing)
{
    uint64_t read = 0;
    for (const struct evkeyval *one = given->tqh_first; one != NULL; one = one->next.tqe_next) {
        size_t i = 0;
        while (i < count && strcmp(one->key, values[i].name) != 0)
            i++;
        if (i == count || !read_value(&values[i], one->value))
            return wrong;
        read |= (uint64_t)1 << i;
    }
    for (size_t i = 0; i < count; i++)
        if (!values[i].optional && (read >> i & 1) == 0)
            return missing;
    return NULL;
}

const char *http_read_query(const char *query, const struct http_value *values, size_t count,
                            const char *wrong, const char *missing)
{
    struct evkeyvalq given = {0};
    if (query != NULL && evhttp_parse_query_str(query, &given) != 0)
        return wrong;
    const char *problem = read_values(&given, values, count, wrong, missing);
    evhttp_clear_headers(&given);
    return problem;
}
