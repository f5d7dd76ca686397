#include "ledger/embedded/accounts.h"

#include <stdio.h>
#include <string.h>

#include "base/ensure.h"

static const char *const keys[DEVELOPMENT_ACCOUNTS] = {
    "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    "5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
    "7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6",
    "47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a",
    "8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba",
    "92db14e403b83dfe3df233f83dfa3a0d7096f21ca9b0d6d6b8d88b2b4ec1564e",
    "4bbbf85ce3377467afe5d46f804f221813b2bb87f24d81f60f1fcdbf7cbf4356",
    "dbda1821b80551c9d65939329250298aa3472ba22feea921c0cf5d620ea67b97",
    "2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6",
};

struct secret_key development_key(size_t index)
{
    struct secret_key key;
    ensure(index < DEVELOPMENT_ACCOUNTS && hex_decode(keys[index], key.bytes, sizeof(key.bytes)));
    return key;
}

struct uint256 coins_wei(uint64_t coins)
{
    return wide_multiply(coins, 1000000000000000000ull);
}

/* "0xADDRESS=COINS" of `length` bytes. */
static bool allocation_parse(const char *text, size_t length, struct allocation *out)
{
    char address[ADDRESS_TEXT_SIZE];
    uint64_t coins = 0;
    const size_t address_length = ADDRESS_TEXT_SIZE - 1;
    if (length < address_length + 2 || length > address_length + 14 || text[address_length] != '=')
        return false;
    memcpy(address, text, address_length);
    address[address_length] = '\0';
    for (size_t i = address_length + 1; i < length; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        coins = coins * 10 + (uint64_t)(text[i] - '0');
    }
    if (coins > COINS_MAX || !hex_decode(address, out->address.bytes, sizeof(out->address.bytes)))
        return false;
    out->balance = coins_wei(coins);
    return true;
}

bool allocations_parse(const char *text, struct allocation *allocations, size_t *count, char *message,
                       size_t message_size)
{
    while (text != NULL && *text != '\0') {
        size_t length = strcspn(text, ",");
        if (*count == ALLOCATIONS_MAX) {
            snprintf(message, message_size, "--fund: more than %d accounts", ALLOCATIONS_MAX);
            return false;
        }
        if (!allocation_parse(text, length, &allocations[*count])) {
            snprintf(message, message_size, "--fund: '%.*s' is not 0xADDRESS=COINS with at most %llu coins",
                     (int)(length < 80 ? length : 80), text, COINS_MAX);
            return false;
        }
        ++*count;
        text += length + (text[length] == ',');
    }
    return true;
}
