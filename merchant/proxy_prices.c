#include "merchant/proxy_prices.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"

#define LINE_MAX_BYTES 2048
#define METHOD_MAX     24
#define PATH_MAX_BYTES 1024

struct row {
    char method[METHOD_MAX + 1];
    char *path;
    struct price price;
};

struct prices {
    uint8_t decimals;
    struct row *rows;
    size_t count, capacity;
};

struct prices *prices_new(uint8_t decimals)
{
    struct prices *prices = xcalloc(1, sizeof(*prices));
    prices->decimals = decimals;
    return prices;
}

void prices_free(struct prices *prices)
{
    if (prices == NULL)
        return;
    for (size_t i = 0; i < prices->count; i++)
        free(prices->rows[i].path);
    free(prices->rows);
    free(prices);
}

size_t prices_count(const struct prices *prices)
{
    return prices->count;
}

static bool complain(char *message, size_t size, const char *what, const char *word)
{
    snprintf(message, size, "%s: '%.80s'", what, word);
    return false;
}

static bool read_amount(const struct prices *prices, const char *text, uint64_t *units, char *message,
                        size_t size)
{
    struct amount amount;
    if (!amount_parse(text, prices->decimals, &amount)) {
        snprintf(message, size, "not an amount of an asset with %u decimals: '%.80s'", prices->decimals,
                 text);
        return false;
    }
    *units = amount.units;
    return true;
}

static bool method_is_good(const char *text)
{
    size_t length = strlen(text);
    return strcmp(text, "*") == 0 ||
           (length <= METHOD_MAX && strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-_") == length);
}

static bool read_words(const struct prices *prices, char *const *words, size_t count, struct row *row,
                       char *message, size_t size)
{
    if (count < 3 || count > 4)
        return complain(message, size, "a row is METHOD PATH PRICE [PER-KIB]", count > 0 ? words[0] : "");
    if (!method_is_good(words[0]))
        return complain(message, size, "not a method in capitals, or *", words[0]);
    if (words[1][0] != '/' || strlen(words[1]) > PATH_MAX_BYTES)
        return complain(message, size, "a path begins with /", words[1]);
    snprintf(row->method, sizeof(row->method), "%s", words[0]);
    row->price.closed = strcmp(words[2], "closed") == 0;
    if (row->price.closed && count == 4)
        return complain(message, size, "what is closed has no price", words[3]);
    return (row->price.closed || read_amount(prices, words[2], &row->price.units, message, size)) &&
           (count < 4 || read_amount(prices, words[3], &row->price.kib_units, message, size));
}

bool prices_add(struct prices *prices, const char *line, char *message, size_t message_size)
{
    char *words[5], *rest, *copy = xstrdup(line);
    size_t count = 0;
    struct row row = {.path = NULL};
    copy[strcspn(copy, "#\r\n")] = '\0';
    for (char *word = strtok_r(copy, " \t", &rest); word != NULL && count < ARRAY_LENGTH(words);
         word = strtok_r(NULL, " \t", &rest))
        words[count++] = word;
    bool good = count == 0 || read_words(prices, words, count, &row, message, message_size);
    if (good && count > 0) {
        row.path = xstrdup(words[1]);
        if (prices->count == prices->capacity) {
            prices->capacity = prices->capacity == 0 ? 16 : 2 * prices->capacity;
            prices->rows = xrealloc(prices->rows, prices->capacity * sizeof(*prices->rows));
        }
        prices->rows[prices->count++] = row;
    }
    free(copy);
    return good;
}

bool prices_read(struct prices *prices, const char *file, char *message, size_t message_size)
{
    char line[LINE_MAX_BYTES], why[200];
    FILE *in = fopen(file, "re");
    if (in == NULL) {
        snprintf(message, message_size, "the price table %s cannot be read: %s", file, strerror(errno));
        return false;
    }
    bool good = true;
    for (size_t number = 1; good && fgets(line, sizeof(line), in) != NULL; number++) {
        snprintf(why, sizeof(why), "the line is too long");
        good = strlen(line) + 1 < sizeof(line) && prices_add(prices, line, why, sizeof(why));
        if (!good)
            snprintf(message, message_size, "%s, line %zu: %s", file, number, why);
    }
    fclose(in);
    return good;
}

static bool path_fits(const char *pattern, const char *path)
{
    size_t length = strlen(pattern);
    if (strpbrk(pattern, "*?[") != NULL)
        return fnmatch(pattern, path, FNM_NOESCAPE) == 0;
    if (pattern[length - 1] == '/')
        return strncmp(pattern, path, length) == 0;
    return strcmp(pattern, path) == 0;
}

static const struct row *find_row(const struct prices *prices, const char *method, const char *path)
{
    for (size_t i = 0; i < prices->count; i++) {
        const struct row *row = &prices->rows[i];
        if ((strcmp(row->method, "*") == 0 || strcmp(row->method, method) == 0) && path_fits(row->path, path))
            return row;
    }
    return NULL;
}

struct price prices_find(const struct prices *prices, const char *method, const char *path)
{
    bool head = strcmp(method, "HEAD") == 0;
    const struct row *row = find_row(prices, method, path);
    if (head && (row == NULL || strcmp(row->method, "*") == 0)) {
        const struct row *get = find_row(prices, "GET", path);
        row = get != NULL ? get : row;
    }
    struct price price = row != NULL ? row->price : (struct price){.closed = true};
    if (head)
        price.kib_units = 0;
    return price;
}

bool price_of_bytes(const struct price *price, uint64_t bytes, uint64_t *units)
{
    uint64_t kib = bytes / 1024 + (bytes % 1024 != 0), sum;
    if (__builtin_mul_overflow(kib, price->kib_units, &sum) ||
        __builtin_add_overflow(sum, price->units, &sum) || sum >= AMOUNT_LIMIT)
        return false;
    *units = sum;
    return true;
}

bool prices_row(const struct prices *prices, size_t index, const char **method, const char **path,
                struct price *price)
{
    if (index >= prices->count)
        return false;
    *method = prices->rows[index].method;
    *path = prices->rows[index].path;
    *price = prices->rows[index].price;
    return true;
}
