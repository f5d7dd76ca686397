#include "wallet/sending.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "ledger/erc20.h"
#include "ledger/quantity.h"

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

int sending_call(struct session *session, const struct address *to, unsigned_wide value,
                 const struct buffer *data, const char *what, struct ledger_receipt *receipt)
{
    struct ledger *client = rill_ledger_client(session->ledger);
    enum ledger_error error =
        ledger_send_wait(client, &session->key, to, value, data->data, data->length, receipt);
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

struct coin_wait {
    bool done, ok;
    unsigned_wide value;
};

static void on_balance(void *context, enum ledger_error error, const char *text)
{
    struct coin_wait *wait = context;
    json_t *value = error == LEDGER_OK ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
    wait->ok = quantity_wide(value, &wait->value);
    json_decref(value);
    wait->done = true;
}

static bool balance_arrived(struct session *session)
{
    return ((struct coin_wait *)session->context)->done;
}

bool sending_coin_balance(struct session *session, const struct address *of, unsigned_wide *out)
{
    char text[ADDRESS_TEXT_SIZE], params[ADDRESS_TEXT_SIZE + 24];
    struct coin_wait *wait = xcalloc(1, sizeof(*wait));
    snprintf(params, sizeof(params), "[\"%s\",\"latest\"]", address_text(of, text));
    session->context = wait;
    ledger_request(rill_ledger_client(session->ledger), "eth_getBalance", params, on_balance, wait);
    if (!session_wait(session, balance_arrived, 15000, "the ledger"))
        return false; /* the program ends; the answer may still write to it */
    *out = wait->value;
    bool ok = wait->ok;
    free(wait);
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
