#include "merchant/fronts.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAPPED_BITS 96 /* ::ffff:0:0/96 */

static bool read_address(const char *text, uint8_t out[16], bool *is_4)
{
    struct in_addr four;
    *is_4 = inet_pton(AF_INET, text, &four) == 1;
    if (!*is_4)
        return inet_pton(AF_INET6, text, out) == 1;
    memset(out, 0, 10);
    memset(out + 10, 0xff, 2);
    memcpy(out + 12, &four, 4);
    return true;
}

static bool read_front(char *text, struct front *out)
{
    char *slash = strchr(text, '/'), *end;
    bool is_4;
    if (slash != NULL)
        *slash = '\0';
    if (!read_address(text, out->network, &is_4))
        return false;
    unsigned most = is_4 ? 32 : 128, skipped = is_4 ? MAPPED_BITS : 0;
    out->bits = skipped + most;
    if (slash == NULL)
        return true;
    unsigned long bits = strtoul(slash + 1, &end, 10);
    if (slash[1] < '0' || slash[1] > '9' || *end != '\0' || bits > most)
        return false;
    out->bits = skipped + (unsigned)bits;
    return true;
}

bool fronts_read(const char *text, struct fronts *out, char *message, size_t message_size)
{
    out->count = 0;
    char *copy = strdup(text != NULL ? text : ""), *rest = NULL;
    bool good = copy != NULL;
    for (char *part = good ? strtok_r(copy, ", ", &rest) : NULL; part != NULL && good;
         part = strtok_r(NULL, ", ", &rest)) {
        good = out->count < FRONTS_MAX && read_front(part, &out->all[out->count]);
        if (!good)
            snprintf(message, message_size,
                     "--trusted-front: '%.60s' is not ADDRESS or ADDRESS/BITS, or there are more than %d",
                     part, FRONTS_MAX);
        out->count += good;
    }
    free(copy);
    return good;
}

static bool is_inside(const uint8_t address[16], const struct front *front)
{
    unsigned bytes = front->bits / 8, left = front->bits % 8;
    return memcmp(address, front->network, bytes) == 0 &&
           (left == 0 || ((address[bytes] ^ front->network[bytes]) >> (8 - left)) == 0);
}

bool fronts_have(const struct fronts *fronts, const char *address)
{
    uint8_t bytes[16];
    bool is_4, found = false;
    if (fronts->count == 0 || !read_address(address, bytes, &is_4))
        return false;
    for (size_t i = 0; i < fronts->count; i++)
        found = found || is_inside(bytes, &fronts->all[i]);
    return found;
}

/* Copies the last part of the list of this length, without the white space around it. Returns the length of what comes
 * before it. False in *good: it is no address. */
static size_t last_address(const char *list, size_t length, char out[FRONT_ADDRESS_SIZE], bool *good)
{
    uint8_t bytes[16];
    bool is_4;
    size_t begin = length, end = length;
    while (begin > 0 && list[begin - 1] != ',')
        begin--;
    size_t before = begin > 0 ? begin - 1 : 0;
    while (begin < end && (list[begin] == ' ' || list[begin] == '\t'))
        begin++;
    while (end > begin && (list[end - 1] == ' ' || list[end - 1] == '\t'))
        end--;
    *good = end - begin < FRONT_ADDRESS_SIZE;
    if (!*good)
        return before;
    memcpy(out, list + begin, end - begin);
    out[end - begin] = '\0';
    *good = read_address(out, bytes, &is_4);
    return before;
}

const char *fronts_client(const struct fronts *fronts, const char *peer, const char *forwarded_for,
                          char out[FRONT_ADDRESS_SIZE])
{
    char next[FRONT_ADDRESS_SIZE];
    size_t left = forwarded_for != NULL ? strlen(forwarded_for) : 0;
    bool good = true;
    snprintf(out, FRONT_ADDRESS_SIZE, "%s", peer);
    while (left > 0 && fronts_have(fronts, out)) {
        left = last_address(forwarded_for, left, next, &good);
        if (!good)
            break;
        memcpy(out, next, sizeof(next));
    }
    return out;
}
