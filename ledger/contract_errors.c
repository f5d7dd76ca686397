#include <pthread.h>

#include "base/ensure.h"
#include "ledger/contract_parts.h"

static const struct {
    const char *name;
    const char *signature;
} errors[CONTRACT_ERROR_COUNT] = {
    [CONTRACT_OK] = {"no error", NULL},
    [CONTRACT_UNNAMED] = {"reverted without a reason", NULL},
    [CONTRACT_NOT_HUB] = {"NotHub", "NotHub()"},
    [CONTRACT_NOT_PARTY] = {"NotParty", "NotParty()"},
    [CONTRACT_ASSET_UNKNOWN] = {"AssetUnknown", "AssetUnknown()"},
    [CONTRACT_ASSET_ALREADY_LISTED] = {"AssetAlreadyListed", "AssetAlreadyListed()"},
    [CONTRACT_WRONG_VALUE] = {"WrongValue", "WrongValue()"},
    [CONTRACT_AMOUNT_TOO_LARGE] = {"AmountTooLarge", "AmountTooLarge()"},
    [CONTRACT_BAD_KEY] = {"BadKey", "BadKey()"},
    [CONTRACT_BAD_STATUS] = {"BadStatus", "BadStatus(uint8)"},
    [CONTRACT_BAD_SIGNATURE] = {"BadSignature", "BadSignature()"},
    [CONTRACT_BAD_CLAIM] = {"BadClaim", "BadClaim()"},
    [CONTRACT_NOT_AUTHORISED] = {"NotAuthorised", "NotAuthorised()"},
    [CONTRACT_NOT_NEWER] = {"NotNewer", "NotNewer()"},
    [CONTRACT_TOO_EARLY] = {"TooEarly", "TooEarly()"},
    [CONTRACT_TOO_LATE] = {"TooLate", "TooLate()"},
    [CONTRACT_POOL_TOO_LOW] = {"PoolTooLow", "PoolTooLow()"},
    [CONTRACT_BAD_LOCK_PROOF] = {"BadLockProof", "BadLockProof()"},
    [CONTRACT_ALREADY_UNLOCKED] = {"AlreadyUnlocked", "AlreadyUnlocked()"},
    [CONTRACT_NOT_UNLOCKABLE] = {"NotUnlockable", "NotUnlockable()"},
    [CONTRACT_NOTHING_OWED] = {"NothingOwed", "NothingOwed()"},
    [CONTRACT_TRANSFER_FAILED] = {"TransferFailed", "TransferFailed()"},
};

static uint32_t selectors[CONTRACT_ERROR_COUNT];
static pthread_once_t selectors_once = PTHREAD_ONCE_INIT;

static void selectors_compute(void)
{
    for (size_t i = CONTRACT_UNNAMED + 1; i < CONTRACT_ERROR_COUNT; i++)
        selectors[i] = signature_selector(errors[i].signature);
}

const char *contract_error_name(enum contract_error error)
{
    ensure(error < CONTRACT_ERROR_COUNT);
    return errors[error].name;
}

const char *contract_error_signature(enum contract_error error)
{
    ensure(error < CONTRACT_ERROR_COUNT);
    return errors[error].signature;
}

uint32_t contract_error_selector(enum contract_error error)
{
    ensure(error < CONTRACT_ERROR_COUNT && errors[error].signature != NULL);
    pthread_once(&selectors_once, selectors_compute);
    return selectors[error];
}

void contract_encode_error(struct buffer *out, enum contract_error error, uint8_t status)
{
    ensure(error != CONTRACT_OK);
    if (error == CONTRACT_UNNAMED)
        return; /* an empty revert */
    buffer_u32(out, contract_error_selector(error));
    if (error == CONTRACT_BAD_STATUS)
        abi_put_wide(out, status);
}

enum contract_error contract_decode_error(const uint8_t *data, size_t length, uint8_t *status)
{
    uint8_t argument = 0;
    if (status != NULL)
        *status = 0;
    if (length < 4)
        return CONTRACT_UNNAMED;
    uint32_t selector = load_be32(data);
    for (int i = CONTRACT_UNNAMED + 1; i < CONTRACT_ERROR_COUNT; i++) {
        enum contract_error error = (enum contract_error)i;
        if (contract_error_selector(error) != selector)
            continue;
        struct abi_reader reader = abi_reader_of(data + 4, length - 4, 0);
        if (error == CONTRACT_BAD_STATUS)
            argument = abi_u8(&reader);
        if (!reader.ok)
            return CONTRACT_UNNAMED;
        if (status != NULL)
            *status = argument;
        return error;
    }
    return CONTRACT_UNNAMED;
}
