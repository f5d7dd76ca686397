#include "wallet/ledger_read.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "ledger/quantity.h"
#include "wallet/shell.h"

#define PATIENCE_MS 15000

struct answer_wait {
    bool done;
    enum ledger_error error;
    json_t *value;
};

static void on_answer(void *context, enum ledger_error error, const char *text)
{
    struct answer_wait *wait = context;
    wait->error = error;
    wait->value = error == LEDGER_OK ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
    wait->done = true;
}

static bool answered(struct session *session)
{
    return ((struct answer_wait *)session->context)->done;
}

json_t *ledger_read_json(struct session *session, const char *method, json_t *params)
{
    struct ledger *client = rill_ledger_client(session->ledger);
    struct answer_wait *wait = xcalloc(1, sizeof(*wait));
    char *text = json_dumps(params, JSON_COMPACT);
    ensure(text != NULL);
    json_decref(params);
    session->context = wait;
    ledger_request(client, method, text, on_answer, wait);
    free(text);
    if (!session_wait(session, answered, PATIENCE_MS, "the ledger")) {
        snprintf(session->text, sizeof(session->text), "the ledger at %s does not answer",
                 session->settings->ledger);
        return NULL; /* the program ends; the answer may still write to it */
    }
    json_t *value = wait->value;
    if (value == NULL)
        snprintf(session->text, sizeof(session->text), "the ledger at %s: %s%s%s", session->settings->ledger,
                 ledger_error_text(wait->error), wait->error == LEDGER_REFUSED ? ": " : "",
                 wait->error == LEDGER_REFUSED ? ledger_last_error(client) : "");
    free(wait);
    return value;
}

bool ledger_read_head(struct session *session, uint64_t *number)
{
    json_t *value = ledger_read_json(session, "eth_blockNumber", json_array());
    bool good = quantity_u64(value, number);
    if (value != NULL && !good)
        snprintf(session->text, sizeof(session->text), "the ledger at %s does not say its newest block",
                 session->settings->ledger);
    json_decref(value);
    return good;
}

struct address ledger_read_contract(const struct session *session)
{
    return rill_ledger_domain(session->ledger).contract;
}

int ledger_read_begin(struct session *session)
{
    if (rill_ledger_wait(session->ledger, PATIENCE_MS))
        return RILL_EXIT_OK;
    const char *trouble = rill_ledger_trouble(session->ledger);
    return command_fail(session->settings, RILL_EXIT_UNREACHABLE, "the ledger at %s cannot be used: %s",
                        session->settings->ledger, trouble[0] != '\0' ? trouble : "no answer");
}
