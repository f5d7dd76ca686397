#include "wallet/sending.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "ledger/erc20.h"
#include "ledger/quantity.h"
#include "wallet/ledger_read.h"

#define SLOW_BLOCK_S 15 /* a confirmation takes at most this long on the chains we know */

const char sending_secret_help[] =
    "File with a secret key of 64 hexadecimal digits, instead of the wallet's keystore.";

/* ---- the key ---- */

int sending_key(struct session *session, const char *secret_file)
{
    int code = secret_file == NULL ? command_key(session->settings, &session->key)
                                   : command_secret_file(session->settings, secret_file, &session->key);
    if (code == RILL_EXIT_OK) {
        struct address self = secret_key_address(&session->key);
        memcpy(session->address, self.bytes, sizeof(session->address));
    }
    return code;
}

int sending_open(struct session *session, const struct settings *settings, const char *secret_file)
{
    int code = session_open(session, settings, SESSION_LEDGER, false);
    return code == RILL_EXIT_OK ? sending_key(session, secret_file) : code;
}

/* ---- transactions ---- */

struct sent *sending_begin(void)
{
    return xcalloc(1, sizeof(struct sent));
}

void sending_told(void *context, enum ledger_error error, const struct ledger_receipt *receipt)
{
    struct sent *sent = context;
    if (sent->is_abandoned) {
        free(sent);
        return;
    }
    sent->is_known = true;
    sent->error = error;
    if (receipt != NULL)
        sent->receipt = *receipt;
}

void sending_end(struct sent *sent)
{
    if (sent->is_known)
        free(sent);
    else
        sent->is_abandoned = true; /* the client still has it: freed when it is told */
}

static bool is_known(struct session *session)
{
    return ((const struct sent *)session->context)->is_known;
}

int sending_wait(struct session *session, const struct sent *sent, const char *what)
{
    const struct settings *settings = session->settings;
    uint64_t limit_s = settings->timeout_s + (settings->confirmations + 1) * SLOW_BLOCK_S;
    void *context = session->context;
    session->context = (void *)(uintptr_t)sent;
    bool known = session_wait(session, is_known, limit_s * 1000, what);
    session->context = context;
    if (known)
        return RILL_EXIT_OK;
    struct address self = rill_bytes_address(session->address);
    char text[ADDRESS_TEXT_SIZE];
    return command_fail(settings, RILL_EXIT_PENDING,
                        "%s: %s. It may still be mined: look at what %s has sent before you try again. A "
                        "development node may need a block time, or --confirmations 0",
                        what, session->interrupted ? "interrupted" : "no outcome in time",
                        address_text(&self, text));
}

int sending_call(struct session *session, const struct address *to, unsigned_wide value,
                 const struct buffer *data, const char *what, struct ledger_receipt *receipt)
{
    struct ledger *client = rill_ledger_client(session->ledger);
    struct sent *sent = sending_begin();
    ledger_send(client, &session->key, to, value, data->data, data->length, sending_told, sent);
    int code = sending_wait(session, sent, what);
    enum ledger_error error = sent->error;
    *receipt = sent->receipt;
    sending_end(sent);
    if (code != RILL_EXIT_OK)
        return code;
    if (error == LEDGER_OK && receipt->success)
        return RILL_EXIT_OK;
    enum contract_error reverted = receipt->reverted;
    if (error == LEDGER_OK || error == LEDGER_REVERTED)
        return command_fail(session->settings, RILL_EXIT_FAILED, "%s: the ledger refuses it (%s)", what,
                            contract_error_name(reverted));
    return command_fail(session->settings,
                        error == LEDGER_UNREACHABLE ? RILL_EXIT_UNREACHABLE : RILL_EXIT_FAILED, "%s: %s %s",
                        what, ledger_error_text(error),
                        error == LEDGER_REFUSED ? ledger_last_error(client) : "");
}

int sending_contract(struct session *session, const struct contract_call *call, unsigned_wide value,
                     const char *what)
{
    struct buffer data = {0};
    struct ledger_receipt receipt = {.success = false};
    contract_encode_call(&data, call);
    int code = sending_call(session, NULL, value, &data, what, &receipt);
    buffer_free(&data);
    return code;
}

/* ---- reading ---- */

bool sending_coin_balance(struct session *session, const struct address *of, unsigned_wide *out)
{
    char text[ADDRESS_TEXT_SIZE];
    json_t *value =
        ledger_read_json(session, "eth_getBalance", json_pack("[s, s]", address_text(of, text), "latest"));
    bool ok = quantity_wide(value, out);
    json_decref(value);
    return ok;
}

bool sending_token_balance(struct session *session, const struct address *token, const struct address *of,
                           unsigned_wide *out)
{
    struct buffer data = {0}, result = {0};
    struct uint256 value;
    enum contract_error reverted;
    erc20_encode_balance_of(&data, of);
    bool ok = ledger_call_wait(rill_ledger_client(session->ledger), token, data.data, data.length, &result,
                               &reverted) == LEDGER_OK &&
              erc20_decode_number(result.data, result.length, &value) && uint256_narrow(value, out);
    buffer_free(&data);
    buffer_free(&result);
    return ok;
}
