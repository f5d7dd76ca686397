#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/ensure.h"
#include "base/log.h"
#include "ledger/send_parts.h"

struct senders *senders_new(struct ledger *ledger)
{
    struct senders *senders = xcalloc(1, sizeof(*senders));
    senders->ledger = ledger;
    return senders;
}

bool senders_are_busy(const struct senders *senders)
{
    return senders->accounts != NULL;
}

const char *senders_trouble(const struct senders *senders)
{
    return senders->trouble;
}

void senders_trouble_set(struct senders *senders, const char *text)
{
    if (strcmp(senders->trouble, text) != 0 && *text != '\0')
        log_warn("%s", text);
    snprintf(senders->trouble, sizeof(senders->trouble), "%s", text);
}

static void send_free(struct send *send)
{
    buffer_free(&send->raw);
    json_decref(send->message);
    free(send->data);
    free(send);
}

static void account_drop(struct account *account)
{
    HASH_DEL(account->senders->accounts, account);
    bytes_wipe(&account->key, sizeof(account->key));
    free(account);
}

bool account_release(struct account *account)
{
    if (account->sends != NULL || account->is_counting)
        return false;
    account_drop(account);
    return true;
}

void senders_stop(struct senders *senders)
{
    struct account *account, *next;
    HASH_ITER(hh, senders->accounts, account, next)
    {
        struct send *send;
        while ((send = account->sends) != NULL) {
            DL_DELETE(account->sends, send);
            send->sent(send->context, LEDGER_STOPPED, NULL);
            send_free(send);
        }
        account_drop(account);
    }
}

void senders_free(struct senders *senders)
{
    ensure(senders->accounts == NULL);
    free(senders);
}

void senders_head(struct senders *senders, const struct block *latest)
{
    struct account *account, *next;
    HASH_ITER(hh, senders->accounts, account, next)
    account_look(account, latest);
}

size_t account_unmined(const struct account *account)
{
    size_t count = 0;
    const struct send *send;
    DL_FOREACH(account->sends, send)
    count += send->state == SEND_PENDING;
    return count;
}

void account_advance(struct account *account)
{
    size_t unmined = account_unmined(account);
    struct send *send;
    DL_FOREACH(account->sends, send)
    {
        if (send->state == SEND_PREPARING)
            return;
        bool is_next = send->state == SEND_WAITING || send->state == SEND_BLOCKED;
        if (!is_next)
            continue;
        if (unmined < UNMINED_MAX || send->fills)
            send_prepare(send);
        return;
    }
}

/* What it cost its owner. What it took over was charged to who gave it, all of it, whatever was used. */
static unsigned_wide owners_cost(const struct send *send, const struct ledger_receipt *receipt)
{
    unsigned_wide cost = (unsigned_wide)receipt->gas_used * receipt->effective_gas_price;
    return send->lent_wei + (cost > send->taken_wei ? cost - send->taken_wei : 0);
}

void send_finish(struct send *send, enum ledger_error error, const struct ledger_receipt *receipt)
{
    struct account *account = send->account;
    struct ledger *ledger = account->senders->ledger;
    ledger_sent *sent = send->sent;
    void *context = send->context;
    struct ledger_receipt copy = receipt != NULL ? *receipt : (struct ledger_receipt){.success = false};
    bool has_receipt = receipt != NULL || send->lent_wei > 0, fills = send->fills;
    copy.cost_wei = owners_cost(send, &copy);
    DL_DELETE(account->sends, send);
    account->count--;
    send_free(send);
    if (!fills) /* else the gap is over when the count says so */
        senders_trouble_set(account->senders, "");
    /* The queue goes on before the owner is told: the owner may stop everything. */
    if (!account_release(account))
        account_advance(account);
    sent(context, error, has_receipt ? &copy : NULL);
    if (!ledger->stopped && senders_are_busy(ledger->senders))
        pulse_start(ledger);
}

/* A send that is refused before it is queued. */
struct refused_send {
    ledger_sent *sent;
    void *context;
};

static void on_refused(void *context, const struct rpc_answer *answer)
{
    struct refused_send *refused = context;
    refused->sent(refused->context, answer->error, NULL);
    free(refused);
}

static void refuse(struct ledger *ledger, enum ledger_error error, const char *text, ledger_sent *sent,
                   void *context)
{
    struct refused_send *refused = xmalloc(sizeof(*refused));
    *refused = (struct refused_send){sent, context};
    rpc_answer_later(ledger->rpc, error, text, on_refused, refused);
}

static struct account *account_of(struct senders *senders, const struct secret_key *key)
{
    struct address address = secret_key_address(key);
    struct account *account;
    HASH_FIND(hh, senders->accounts, &address, sizeof(address), account);
    if (account != NULL)
        return account;
    account = xcalloc(1, sizeof(*account));
    account->address = address;
    account->key = *key;
    account->senders = senders;
    HASH_ADD(hh, senders->accounts, address, sizeof(account->address), account);
    return account;
}

/* What a transaction is, before it has fees and a nonce. to NULL: creates a contract. */
struct wish {
    const struct address *to;
    unsigned_wide value;
    const uint8_t *data;
    size_t length;
    struct ledger_terms terms;
};

static void enqueue(struct ledger *ledger, const struct secret_key *key, const struct wish *wish,
                    ledger_sent *sent, void *context)
{
    if (ledger->stopped) {
        sent(context, LEDGER_STOPPED, NULL);
        return;
    }
    struct account *account = account_of(ledger->senders, key);
    if (account->count >= SENDS_PER_KEY_MAX) {
        refuse(ledger, LEDGER_REFUSED, "too many transactions of this key wait already", sent, context);
        return;
    }
    struct send *send = xcalloc(1, sizeof(*send));
    send->account = account;
    send->creates = wish->to == NULL;
    send->to = wish->to != NULL ? *wish->to : ADDRESS_ZERO;
    send->value = wish->value;
    send->terms = wish->terms;
    send->data = xmalloc(wish->length);
    if (wish->length > 0)
        memcpy(send->data, wish->data, wish->length);
    send->data_length = wish->length;
    send->sent = sent;
    send->context = context;
    DL_APPEND(account->sends, send);
    account->count++;
    account_advance(account);
}

void ledger_send(struct ledger *ledger, const struct secret_key *key, const struct address *to,
                 unsigned_wide value, const uint8_t *data, size_t length, ledger_sent *sent, void *context)
{
    const struct wish wish = {
        .to = to != NULL ? to : &ledger->options.contract, .value = value, .data = data, .length = length};
    enqueue(ledger, key, &wish, sent, context);
}

void ledger_send_under(struct ledger *ledger, const struct secret_key *key, const struct address *to,
                       const uint8_t *data, size_t length, const struct ledger_terms *terms,
                       ledger_sent *sent, void *context)
{
    const struct wish wish = {
        .to = to != NULL ? to : &ledger->options.contract, .data = data, .length = length, .terms = *terms};
    enqueue(ledger, key, &wish, sent, context);
}

void ledger_create(struct ledger *ledger, const struct secret_key *key, const uint8_t *code, size_t length,
                   ledger_sent *sent, void *context)
{
    const struct wish wish = {.data = code, .length = length};
    enqueue(ledger, key, &wish, sent, context);
}
