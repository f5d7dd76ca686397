/* rill_deposit: unit() ─▶ approve (tokens) ─▶ deposit, each once the one before is confirmed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ledger/erc20.h"
#include "wallet/shell.h"

struct deposit {
    struct rill_wallet *wallet; /* may have been closed: see rill_wallet's `deposits` */
    struct address asset;
    struct amount amount;
    uint64_t salt;
    unsigned_wide base_units;
    bool sent; /* itself, after what comes before it */
    rill_deposited *done;
    void *context;
    struct deposit *prev, *next;
};

void rill_deposits_forget(struct rill_wallet *wallet)
{
    struct deposit *deposit, *next;
    DL_FOREACH_SAFE(wallet->deposits, deposit, next)
    {
        deposit->wallet = NULL;
    }
}

static void end(struct deposit *deposit, bool ok, const char *text)
{
    struct rill_wallet *wallet = deposit->wallet;
    if (wallet != NULL) {
        DL_DELETE(wallet->deposits, deposit);
        if (deposit->done != NULL)
            deposit->done(deposit->context, wallet, ok, text);
    }
    free(deposit);
}

static void end_with(struct deposit *deposit, const char *step, enum ledger_error error,
                     enum contract_error reverted)
{
    char text[200];
    const char *node = deposit->wallet != NULL && error == LEDGER_REFUSED
                           ? ledger_last_error(rill_ledger_client(deposit->wallet->ledger))
                           : "";
    snprintf(text, sizeof(text), "%s: %s%s%s%s%s", step, ledger_error_text(error),
             error == LEDGER_REVERTED && reverted != CONTRACT_UNNAMED ? ": " : "",
             error == LEDGER_REVERTED && reverted != CONTRACT_UNNAMED ? contract_error_name(reverted) : "",
             node[0] != '\0' ? ": " : "", node);
    end(deposit, false, text);
}

static void on_deposited(void *context, enum ledger_error error, const struct ledger_receipt *receipt)
{
    struct deposit *deposit = context;
    if (error != LEDGER_OK || !receipt->success)
        end_with(deposit, "the deposit failed", error == LEDGER_OK ? LEDGER_REVERTED : error,
                 receipt != NULL ? receipt->reverted : CONTRACT_UNNAMED);
    else
        end(deposit, true, "deposited");
}

bool rill_deposit_is_unsent(const struct rill_wallet *wallet)
{
    const struct deposit *deposit;
    DL_FOREACH(wallet->deposits, deposit)
    {
        if (!deposit->sent)
            return true;
    }
    return false;
}

static void send_deposit(struct deposit *deposit)
{
    deposit->sent = true;
    struct rill_wallet *wallet = deposit->wallet;
    struct contract_call call = {.function = CONTRACT_DEPOSIT,
                                 .key = {wallet->self, deposit->asset, deposit->salt},
                                 .amount = deposit->amount};
    struct buffer data = {0};
    contract_encode_call(&data, &call);
    unsigned_wide value = address_is_zero(&deposit->asset) ? deposit->base_units : 0;
    ledger_send(rill_ledger_client(wallet->ledger), &wallet->key, NULL, value, data.data, data.length,
                on_deposited, deposit);
    buffer_free(&data);
}

static void on_approved(void *context, enum ledger_error error, const struct ledger_receipt *receipt)
{
    struct deposit *deposit = context;
    if (error != LEDGER_OK || !receipt->success)
        end_with(deposit, "the token's approve failed", error == LEDGER_OK ? LEDGER_REVERTED : error,
                 CONTRACT_UNNAMED);
    else if (deposit->wallet == NULL)
        end(deposit, false, "");
    else
        send_deposit(deposit);
}

static void on_unit(void *context, enum ledger_error error, enum contract_error reverted, const uint8_t *data,
                    size_t length)
{
    struct deposit *deposit = context;
    unsigned_wide unit;
    if (deposit->wallet == NULL) {
        end(deposit, false, "");
        return;
    }
    if (error != LEDGER_OK) {
        end_with(deposit, "the asset's unit could not be read", error, reverted);
        return;
    }
    if (!contract_decode_word(data, length, 0, &unit) || unit == 0) {
        end(deposit, false, "the hub's contract does not list this asset");
        return;
    }
    if (__builtin_mul_overflow(unit, (unsigned_wide)deposit->amount.units, &deposit->base_units)) {
        end(deposit, false, "the amount is too large");
        return;
    }
    if (address_is_zero(&deposit->asset)) {
        send_deposit(deposit);
        return;
    }
    struct domain domain = rill_ledger_domain(deposit->wallet->ledger);
    struct buffer approve = {0};
    erc20_encode_approve(&approve, &domain.contract, deposit->base_units);
    ledger_send(rill_ledger_client(deposit->wallet->ledger), &deposit->wallet->key, &deposit->asset, 0,
                approve.data, approve.length, on_approved, deposit);
    buffer_free(&approve);
}

void rill_deposit(struct rill_wallet *wallet, const uint8_t asset[20], uint64_t amount, rill_deposited *done,
                  void *context)
{
    struct deposit *deposit = xcalloc(1, sizeof(*deposit));
    deposit->wallet = wallet;
    deposit->asset = rill_bytes_address(asset);
    deposit->amount = amount_of(amount);
    deposit->salt = wallet_deposit_salt(wallet->core, &deposit->asset);
    deposit->done = done;
    deposit->context = context;
    DL_APPEND(wallet->deposits, deposit);
    struct buffer data = {0};
    contract_encode_call(&data,
                         &(struct contract_call){.function = CONTRACT_UNIT, .address = deposit->asset});
    ledger_call(rill_ledger_client(wallet->ledger), NULL, data.data, data.length, on_unit, deposit);
    buffer_free(&data);
}
