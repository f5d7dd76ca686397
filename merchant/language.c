#include "merchant/language.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

/* "0.8" as 800, at most three digits; a range without a weight is worth 1000. */
static unsigned weight_of(const char *range, size_t length)
{
    const char *end = range + length, *at = memchr(range, ';', length);
    unsigned weight = 0, digits = 0;
    while (at != NULL && at < end && strchr("; \t", *at) != NULL)
        at++;
    if (at == NULL || end - at < 3 || strncasecmp(at, "q=", 2) != 0)
        return 1000;
    at += 2;
    if (*at == '1')
        return 1000;
    for (at += 2; at < end && digits < 3 && *at >= '0' && *at <= '9'; at++, digits++)
        weight = weight * 10 + (unsigned)(*at - '0');
    for (; digits < 3; digits++)
        weight *= 10;
    return weight;
}

/* "zh", "zh-CN", "ZH;q=0.5": the tag up to its first '-', ';' or the end. */
static bool is_language(const char *range, size_t length, const char *language)
{
    size_t size = strlen(language);
    return length >= size && strncasecmp(range, language, size) == 0 &&
           (length == size || strchr("-; \t", range[size]) != NULL);
}

static unsigned best_weight(const char *accept, const char *language)
{
    unsigned best = 0;
    while (*accept != '\0') {
        accept += strspn(accept, ", \t");
        size_t length = strcspn(accept, ",");
        unsigned weight = is_language(accept, length, language) ? weight_of(accept, length) : 0;
        if (weight > best)
            best = weight;
        accept += length;
    }
    return best;
}

const char *language_choose(const char *query, const char *accept)
{
    while (query != NULL) {
        size_t length = strcspn(query, "&");
        if (length == strlen("lang=zh") && strncmp(query, "lang=zh", length) == 0)
            return "zh";
        if (length == strlen("lang=en") && strncmp(query, "lang=en", length) == 0)
            return "en";
        query = query[length] == '&' ? query + length + 1 : NULL;
    }
    return accept != NULL && best_weight(accept, "zh") > best_weight(accept, "en") ? "zh" : "en";
}
