#include "ledger/embedded/execution.h"

#include "base/ensure.h"

const struct address EMBEDDED_CONTRACT = {{'R', 'i', 'l', 'l', [19] = 1}};
const struct address EMBEDDED_FACTORY = {{'R', 'i', 'l', 'l', [19] = 2}};

bool address_has_code(const struct execution *execution, const struct address *address)
{
    return address_equal(address, &execution->config->domain.contract) ||
           address_equal(address, &execution->config->factory) || token_exists(execution->state, address);
}

bool coins_move(struct execution *execution, const struct address *from, const struct address *to,
                struct uint256 amount)
{
    struct account sender = account_load(execution->state, from);
    if (!uint256_subtract(sender.balance, amount, &sender.balance))
        return false;
    if (address_equal(from, to) || uint256_is_zero(amount))
        return true;
    struct account receiver = account_load(execution->state, to);
    /* All coins come from the genesis, whose sum was checked. */
    ensure(uint256_add(receiver.balance, amount, &receiver.balance));
    account_save(execution->state, from, &sender);
    account_save(execution->state, to, &receiver);
    return true;
}

struct uint256 wide_multiply(unsigned_wide a, unsigned_wide b)
{
    unsigned_wide a_low = (uint64_t)a, a_high = a >> 64, b_low = (uint64_t)b, b_high = b >> 64;
    struct uint256 product = {a_high * b_high, a_low * b_low};
    const unsigned_wide crosses[2] = {a_low * b_high, a_high * b_low};
    for (int i = 0; i < 2; i++)
        ensure(uint256_add(product, (struct uint256){crosses[i] >> 64, crosses[i] << 64}, &product));
    return product;
}
