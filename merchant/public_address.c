#include "merchant/public_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

static const struct {
    uint32_t network;
    unsigned bits;
} special[] = {
    {0x00000000, 8},  /* this network */
    {0x0a000000, 8},  /* private */
    {0x64400000, 10}, /* carrier's NAT */
    {0x7f000000, 8},  /* loopback */
    {0xa9fe0000, 16}, /* link-local, cloud metadata */
    {0xac100000, 12}, /* private */
    {0xc0000000, 24}, /* protocol assignments */
    {0xc0000200, 24}, /* documentation */
    {0xc0586300, 24}, /* 6to4 relays */
    {0xc0a80000, 16}, /* private */
    {0xc6120000, 15}, /* benchmarking */
    {0xc6336400, 24}, /* documentation */
    {0xcb007100, 24}, /* documentation */
    {0xe0000000, 3},  /* multicast, reserved, broadcast */
};

static bool is_public_4(uint32_t address)
{
    for (size_t i = 0; i < ARRAY_LENGTH(special); i++)
        if (((address ^ special[i].network) >> (32 - special[i].bits)) == 0)
            return false;
    return true;
}

static bool begins(const uint8_t *address, const uint8_t *prefix, size_t bytes)
{
    return memcmp(address, prefix, bytes) == 0;
}

static bool is_public_6(const uint8_t address[16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};
    static const uint8_t six_to_four[2] = {0x20, 0x02};
    static const uint8_t documentation[4] = {0x20, 0x01, 0x0d, 0xb8};
    static const uint8_t documentation_2[2] = {0x3f, 0xff};
    if (begins(address, mapped, sizeof(mapped)) || begins(address, nat64, sizeof(nat64)))
        return is_public_4(load_be32(address + 12));
    if (begins(address, six_to_four, sizeof(six_to_four)))
        return is_public_4(load_be32(address + 2));
    if ((address[0] & 0xe0) != 0x20) /* 2000::/3 is what has been given out */
        return false;
    if (address[0] == 0x20 && address[1] == 0x01 && address[2] < 2) /* 2001::/23: Teredo and the like */
        return false;
    return !begins(address, documentation, sizeof(documentation)) &&
           !(begins(address, documentation_2, sizeof(documentation_2)) && address[2] < 0x10);
}

bool address_is_public(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET)
        return is_public_4(ntohl(((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr));
    if (address->sa_family == AF_INET6)
        return is_public_6(((const struct sockaddr_in6 *)(const void *)address)->sin6_addr.s6_addr);
    return false;
}

bool address_is_loopback(const char *text)
{
    struct in_addr four;
    struct in6_addr six;
    if (inet_pton(AF_INET, text, &four) == 1)
        return ntohl(four.s_addr) >> 24 == 127;
    if (inet_pton(AF_INET6, text, &six) != 1)
        return false;
    return IN6_IS_ADDR_LOOPBACK(&six) || (IN6_IS_ADDR_V4MAPPED(&six) && six.s6_addr[12] == 127);
}

const char *address_counted(const char *text, char out[COUNTED_ADDRESS_SIZE])
{
    struct in6_addr address;
    if (inet_pton(AF_INET6, text, &address) == 1 && !IN6_IS_ADDR_V4MAPPED(&address)) {
        memset(address.s6_addr + 8, 0, 8);
        (void)inet_ntop(AF_INET6, &address, out, COUNTED_ADDRESS_SIZE);
    } else {
        snprintf(out, COUNTED_ADDRESS_SIZE, "%s", text);
    }
    return out;
}
