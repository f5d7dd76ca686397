#include "ledger/contract_code.h"

#include <string.h>

#include "base/ensure.h"
#include "ledger/abi.h"

static const char hub_code[] =
#include "ledger/contracts/RillHub.inc"
    ;
static const char factory_code[] =
#include "ledger/contracts/RillTokenFactory.inc"
    ;

/* PUSH0 TLOAD POP (EIP-3855, EIP-1153), PUSH0 PUSH0 PUSH0 MCOPY (EIP-5656), STOP. */
static const char probe_code[] = "5f5c505f5f5f5e00";

static void put_hex(struct buffer *out, const char *hex, size_t digits)
{
    uint8_t chunk[256];
    while (digits > 0) {
        char text[2 * sizeof(chunk) + 1];
        size_t count = digits < sizeof(text) - 1 ? digits : sizeof(text) - 1;
        memcpy(text, hex, count);
        text[count] = '\0';
        ensure(hex_decode(text, chunk, count / 2));
        buffer_append(out, chunk, count / 2);
        hex += count;
        digits -= count;
    }
}

void contract_code_hub(struct buffer *out, const struct address *hub, uint64_t challenge_period,
                       uint16_t bounty_bps)
{
    ensure(bounty_bps <= CONTRACT_BOUNTY_BPS_MAX);
    put_hex(out, hub_code, sizeof(hub_code) - 1);
    abi_put_address(out, hub);
    abi_put_u64(out, challenge_period);
    abi_put_u64(out, bounty_bps);
}

void contract_code_factory(struct buffer *out)
{
    put_hex(out, factory_code, sizeof(factory_code) - 1);
}

void contract_code_probe(struct buffer *out)
{
    put_hex(out, probe_code, sizeof(probe_code) - 1);
}
