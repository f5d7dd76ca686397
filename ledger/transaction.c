#include "ledger/transaction.h"

#include <string.h>

#include "crypto/hash.h"
#include "ledger/rlp.h"

enum { TYPE_FEE_MARKET = 2 };

const char *transaction_error_text(enum transaction_error error)
{
    switch (error) {
    case TRANSACTION_OK:
        return "no error";
    case TRANSACTION_TYPE:
        return "transaction type not supported: only EIP-1559 transactions (type 2) are taken";
    case TRANSACTION_TOO_LARGE:
        return "oversized data: the transaction is larger than is accepted";
    case TRANSACTION_MALFORMED:
        return "malformed transaction: not the canonical RLP of an EIP-1559 transaction";
    case TRANSACTION_FEES:
        return "max priority fee per gas higher than max fee per gas";
    case TRANSACTION_SIGNATURE:
        return "invalid transaction signature: no sender can be recovered";
    }
    return "unknown error";
}

static void put_unsigned_fields(struct buffer *out, const struct transaction *transaction)
{
    rlp_put_u64(out, transaction->chain_id);
    rlp_put_u64(out, transaction->nonce);
    rlp_put_wide(out, transaction->max_priority_fee_per_gas);
    rlp_put_wide(out, transaction->max_fee_per_gas);
    rlp_put_u64(out, transaction->gas_limit);
    rlp_put_bytes(out, transaction->to.bytes, transaction->creates ? 0 : sizeof(transaction->to.bytes));
    rlp_put_wide(out, transaction->value);
    rlp_put_bytes(out, transaction->data, transaction->data_length);
    size_t list = rlp_list_begin(out);
    if (transaction->access_list_length > 0)
        buffer_append(out, transaction->access_list, transaction->access_list_length);
    rlp_list_end(out, list);
}

struct hash transaction_signing_hash(const struct transaction *transaction)
{
    struct buffer bytes = {0};
    buffer_u8(&bytes, TYPE_FEE_MARKET);
    size_t list = rlp_list_begin(&bytes);
    put_unsigned_fields(&bytes, transaction);
    rlp_list_end(&bytes, list);
    struct hash hash = keccak256(bytes.data, bytes.length);
    buffer_free(&bytes);
    return hash;
}

struct hash transaction_sign(const struct transaction *transaction, const struct secret_key *key,
                             struct buffer *raw)
{
    struct hash signing_hash = transaction_signing_hash(transaction);
    struct signature signature = key_sign(key, &signing_hash);
    uint8_t *s = signature.bytes + 32;
    uint8_t parity = s[0] >> 7;
    s[0] &= 0x7f;

    size_t start = raw->length;
    buffer_u8(raw, TYPE_FEE_MARKET);
    size_t list = rlp_list_begin(raw);
    put_unsigned_fields(raw, transaction);
    rlp_put_u64(raw, parity);
    rlp_put_number(raw, signature.bytes, 32);
    rlp_put_number(raw, s, 32);
    rlp_list_end(raw, list);
    return keccak256(raw->data + start, raw->length - start);
}

/* [[address, [key, …]], …] */
static void read_access_list(struct rlp_reader *fields, struct transaction *out)
{
    struct rlp_reader entries = rlp_list(fields);
    out->access_list = entries.left > 0 ? entries.at : NULL;
    out->access_list_length = entries.left;
    while (entries.ok && entries.left > 0) {
        struct rlp_reader entry = rlp_list(&entries);
        struct address address;
        rlp_fixed(&entry, address.bytes, sizeof(address.bytes));
        out->access_addresses++;
        struct rlp_reader keys = rlp_list(&entry);
        while (keys.ok && keys.left > 0) {
            struct hash key;
            rlp_fixed(&keys, key.bytes, sizeof(key.bytes));
            out->access_keys++;
        }
        if (!rlp_done(&entry) || !keys.ok)
            entries.ok = false;
    }
    if (!entries.ok)
        fields->ok = false;
}

/* Reads all fields; `fields->ok` says whether they were well formed. */
static void read_fields(struct rlp_reader *fields, struct transaction *out, struct signature *signature)
{
    out->chain_id = rlp_u64(fields);
    out->nonce = rlp_u64(fields);
    out->max_priority_fee_per_gas = rlp_wide(fields);
    out->max_fee_per_gas = rlp_wide(fields);
    out->gas_limit = rlp_u64(fields);
    size_t to_length;
    const uint8_t *to = rlp_bytes(fields, &to_length);
    if (to != NULL && to_length == sizeof(out->to.bytes))
        memcpy(out->to.bytes, to, to_length);
    else if (to != NULL && to_length == 0)
        out->creates = true;
    else
        fields->ok = false;
    out->value = rlp_wide(fields);
    out->data = rlp_bytes(fields, &out->data_length);
    read_access_list(fields, out);
    uint64_t parity = rlp_u64(fields);
    rlp_number(fields, signature->bytes, 32);
    rlp_number(fields, signature->bytes + 32, 32);
    if (parity > 1)
        fields->ok = false;
    if (out->nonce == UINT64_MAX) /* EIP-2681 */
        fields->ok = false;
    /* The top bit of s becomes the parity: an s that has it set is high anyway. */
    if (parity == 1 && (signature->bytes[32] & 0x80) == 0)
        signature->bytes[32] |= 0x80;
    else if ((signature->bytes[32] & 0x80) != 0)
        memset(signature->bytes, 0, sizeof(signature->bytes));
}

enum transaction_error transaction_decode(const uint8_t *raw, size_t length, struct transaction *out,
                                          struct address *sender, struct hash *hash)
{
    if (length > TRANSACTION_BYTES_MAX)
        return TRANSACTION_TOO_LARGE;
    if (length == 0)
        return TRANSACTION_MALFORMED;
    if (raw[0] != TYPE_FEE_MARKET)
        return TRANSACTION_TYPE;
    struct rlp_reader whole = rlp_reader_of(raw + 1, length - 1);
    struct rlp_reader fields = rlp_list(&whole);
    struct transaction transaction = {0};
    struct signature signature;
    read_fields(&fields, &transaction, &signature);
    if (!rlp_done(&whole) || !rlp_done(&fields))
        return TRANSACTION_MALFORMED;
    if (transaction.max_priority_fee_per_gas > transaction.max_fee_per_gas)
        return TRANSACTION_FEES;
    struct hash signing_hash = transaction_signing_hash(&transaction);
    struct address from;
    if (!signature_recover(&signature, &signing_hash, &from))
        return TRANSACTION_SIGNATURE;
    *out = transaction;
    *sender = from;
    *hash = keccak256(raw, length);
    return TRANSACTION_OK;
}
