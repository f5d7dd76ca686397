/* rill prove: that the balance proof which carried a payment lies under a journal root on the ledger. The hub gives the
 * path; digest and root are the wallet's own and the ledger's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "crypto/lock.h"
#include "ledger/follow_logs.h"
#include "ledger/quantity.h"
#include "wallet/hub_http.h"
#include "wallet/ledger_read.h"

#define PATH_MAX_HASHES 256 /* more than any tree's depth */

/* ---- which payment ---- */

struct choice {
    const char *id; /* NULL: the newest that says its balance proof */
    bool found;
    struct rill_payment payment;
};

static bool choose(void *context, const struct rill_payment *payment)
{
    struct choice *choice = context;
    struct payment_id id;
    char text[PAYMENT_ID_TEXT_SIZE];
    memcpy(id.bytes, payment->id, sizeof(id.bytes));
    bool wanted = choice->id != NULL ? strcmp(payment_id_text(&id, text), choice->id) == 0
                                     : payment->proof_nonce != 0 &&
                                           (!choice->found || payment->created >= choice->payment.created);
    if (!wanted)
        return true;
    choice->found = true;
    choice->payment = *payment;
    choice->payment.memo = NULL;
    return choice->id == NULL;
}

static int find_payment(struct session *session, struct choice *choice)
{
    rill_history(session->wallet, choose, choice);
    if (!choice->found && choice->id == NULL)
        return command_fail(session->settings, RILL_EXIT_FAILED, "there is no payment yet to prove");
    if (!choice->found)
        return command_fail(session->settings, RILL_EXIT_FAILED,
                            "this wallet has no payment %s: `rill history` lists them", choice->id);
    if (choice->payment.proof_nonce == 0)
        return command_fail(
            session->settings, RILL_EXIT_FAILED,
            "this wallet does not know which balance proof carried the payment: it was not sent, "
            "or the wallet was recovered since");
    return RILL_EXIT_OK;
}

/* ---- what the hub says ---- */

struct shown {
    uint64_t batch, position, leaves;
    struct hash transaction;
    struct hash path[PATH_MAX_HASHES];
    size_t length;
};

static bool read_shown(const json_t *answer, struct shown *out)
{
    const json_t *path = json_object_get(answer, "path");
    out->batch = json_number_at(answer, "batch");
    out->position = json_number_at(answer, "position");
    out->leaves = json_number_at(answer, "leaves");
    out->length = json_array_size(path);
    if (!json_is_array(path) || out->length > PATH_MAX_HASHES ||
        !json_hash_at(answer, "transaction", &out->transaction))
        return false;
    for (size_t i = 0; i < out->length; i++)
        if (!hash_of_json(json_array_get(path, i), &out->path[i]))
            return false;
    return true;
}

static int ask_hub(struct session *session, const struct rill_payment *payment, struct shown *out)
{
    const struct settings *settings = session->settings;
    char path[200], digest[2 * 32 + 1];
    json_t *answer;
    hex_encode(payment->proof_digest, sizeof(payment->proof_digest), digest);
    snprintf(path, sizeof(path), "/prove?digest=0x%s&time=%llu", digest,
             (unsigned long long)payment->proof_time);
    int code = hub_http_json_in(session, settings->hub_http, path, false, &answer);
    if (code != RILL_EXIT_OK)
        return code;
    if (strcmp(json_text_at(answer, "state"), "waiting") == 0)
        code = command_fail(
            settings, RILL_EXIT_PENDING,
            "not settled yet: the hub has the balance proof, and its next batch will carry it; ask "
            "again after that (`rill withdraw` asks for one; if the hub says this even when that has paid "
            "out, take it for a refusal)");
    else if (!read_shown(answer, out))
        code =
            command_fail(settings, RILL_EXIT_FAILED,
                         "the answer of http://%s makes no sense: is it a hub's --http?", settings->hub_http);
    json_decref(answer);
    return code;
}

/* ---- what the ledger says ---- */

struct on_ledger {
    struct hash root;
    uint64_t block, confirmations;
    bool has_root;
};

/* The root that the contract emitted for the batch in this receipt. */
static bool find_root(const json_t *receipt, const struct address *contract, uint64_t batch,
                      struct on_ledger *out)
{
    struct buffer data = {0};
    const json_t *log;
    size_t i;
    json_array_foreach(json_object_get(receipt, "logs"), i, log)
    {
        struct contract_log read;
        struct contract_event event = {.batch = 0};
        if (!contract_log_of_json(log, &read, &data) || !address_equal(&read.address, contract) ||
            !contract_decode_event(&read, &event) || event.type != EVENT_BATCH_SETTLED ||
            event.batch != batch)
            continue;
        out->root = event.root;
        out->has_root = true;
    }
    buffer_free(&data);
    return quantity_u64(json_object_get(receipt, "blockNumber"), &out->block);
}

static int ask_ledger(struct session *session, const struct shown *shown, struct on_ledger *out)
{
    const struct settings *settings = session->settings;
    const struct address contract = ledger_read_contract(session);
    char text[HASH_TEXT_SIZE];
    uint64_t head;
    json_t *receipt = ledger_read_json(session, "eth_getTransactionReceipt",
                                       json_pack("[s]", hash_text(&shown->transaction, text)));
    if (receipt == NULL || !ledger_read_head(session, &head)) {
        json_decref(receipt);
        return command_fail(settings, RILL_EXIT_UNREACHABLE, "%s", session->text);
    }
    bool mined = find_root(receipt, &contract, shown->batch, out);
    json_decref(receipt);
    if (!mined)
        return command_fail(
            settings, RILL_EXIT_FAILED,
            "the ledger at %s has no transaction %s, which the hub names for batch %llu: the node "
            "is behind, or the hub lies; ask another node",
            settings->ledger, text, (unsigned long long)shown->batch);
    if (!out->has_root)
        return command_fail(
            settings, RILL_EXIT_UNTRUE,
            "THE HUB LIES: transaction %s, which it names, did not settle a batch %llu of this "
            "contract",
            text, (unsigned long long)shown->batch);
    out->confirmations = head >= out->block ? head - out->block : 0;
    if (out->confirmations < settings->confirmations)
        return command_fail(
            settings, RILL_EXIT_PENDING,
            "batch %llu is in block %llu, %llu deep, and counts from %llu on: ask again later",
            (unsigned long long)shown->batch, (unsigned long long)out->block,
            (unsigned long long)out->confirmations, (unsigned long long)settings->confirmations);
    return RILL_EXIT_OK;
}

/* ---- all of it ---- */

static void print_proven(const struct session *session, const struct rill_payment *payment,
                         const struct shown *shown, const struct on_ledger *ledger)
{
    char amount[ASSET_AMOUNT_TEXT], when[32], digest[HASH_TEXT_SIZE], root[HASH_TEXT_SIZE],
        transaction[HASH_TEXT_SIZE], channel[HASH_TEXT_SIZE], id[PAYMENT_ID_TEXT_SIZE];
    struct hash proof, own;
    struct payment_id payment_id;
    memcpy(proof.bytes, payment->proof_digest, sizeof(proof.bytes));
    memcpy(own.bytes, payment->channel, sizeof(own.bytes));
    memcpy(payment_id.bytes, payment->id, sizeof(payment_id.bytes));
    if (session->settings->json) {
        json_t *object = json_payment(session, payment);
        json_object_set_new(object, "proven", json_true());
        json_object_set_new(object, "channel", json_hash(payment->channel));
        json_object_set_new(object, "batch", json_integer((json_int_t)shown->batch));
        json_object_set_new(object, "block", json_integer((json_int_t)ledger->block));
        json_object_set_new(object, "confirmations", json_integer((json_int_t)ledger->confirmations));
        json_object_set_new(object, "transaction", hash_json(&shown->transaction));
        json_object_set_new(object, "journal_root", hash_json(&ledger->root));
        json_t *path = json_array();
        for (size_t i = 0; i < shown->length; i++)
            json_array_append_new(path, hash_json(&shown->path[i]));
        json_object_set_new(object, "path", path);
        command_print_json(object);
        return;
    }
    printf("proven: payment %s, %s %s, %s\n", payment_id_text(&payment_id, id),
           payment->outgoing ? "you paid" : "you received",
           amount_of_asset(session, payment->asset, payment->amount, amount),
           time_text(payment->created, when));
    printf("  was carried by balance proof %llu that %s signed for channel %s,\n",
           (unsigned long long)payment->proof_nonce, payment->outgoing ? "you" : "the hub",
           hash_text(&own, channel));
    printf("  with the digest %s,\n", hash_text(&proof, digest));
    printf("  one of the %llu that lie under the journal root %s\n", (unsigned long long)shown->leaves,
           hash_text(&ledger->root, root));
    printf("  that batch %llu wrote into the ledger: block %llu, %llu deep, transaction %s\n",
           (unsigned long long)shown->batch, (unsigned long long)ledger->block,
           (unsigned long long)ledger->confirmations, hash_text(&shown->transaction, transaction));
    printf("Digest and root are this wallet's and the ledger's own (%s); the hub gave only the path between\n"
           "them, %zu hashes, and a wrong one would not have fitted.\n",
           session->settings->ledger, shown->length);
}

static int prove(struct session *session, const char *id)
{
    struct choice choice = {.id = id};
    struct shown shown = {.batch = 0};
    struct on_ledger ledger = {.has_root = false};
    struct hash digest;
    char text[HASH_TEXT_SIZE];
    int code = find_payment(session, &choice);
    if (code == RILL_EXIT_OK)
        code = ask_hub(session, &choice.payment, &shown);
    if (code == RILL_EXIT_OK)
        code = ledger_read_begin(session);
    if (code == RILL_EXIT_OK)
        code = ask_ledger(session, &shown, &ledger);
    if (code != RILL_EXIT_OK)
        return code;
    memcpy(digest.bytes, choice.payment.proof_digest, sizeof(digest.bytes));
    if (!merkle_verify(&digest, shown.path, shown.length, &ledger.root))
        return command_fail(
            session->settings, RILL_EXIT_UNTRUE,
            "THE HUB LIES: its path does not lead from the balance proof to the root that batch %llu "
            "wrote into the ledger, %s",
            (unsigned long long)shown.batch, hash_text(&ledger.root, text));
    print_proven(session, &choice.payment, &shown, &ledger);
    return RILL_EXIT_OK;
}

int command_prove(int argc, char **argv)
{
    struct command_line line = {
        .name = "prove",
        .usage = "[PAYMENT] [OPTIONS]",
        .about =
            "Proves that a payment (its id from `rill history`; default: the newest) is in the hub's books "
            "as they\n"
            "stand on the ledger: the balance proof that carried it lies under the journal root of a settled "
            "batch.\n"
            "The hub gives the path, over HTTP at --hub-http; the digest is this wallet's own, and the root "
            "is read\n"
            "from the ledger node. So a hub that lies is found out. docs/settlement-proofs.md says what this "
            "is "
            "worth.\n"
            "Example: rill prove 3f2a… --hub-http hub.example.org:9745\n"
            "Exit codes: 0 proven, 1 the hub or the wallet has no such proof, 3 hub or ledger not reached,\n"
            "4 keystore, 5 folder in use, 6 not settled yet, or not deep enough: ask again later, 7 the hub "
            "lies.",
        .words_max = 1,
    };
    int code;
    if (!command_read(&line, argc, argv, &code))
        return code;
    code = hub_http_check(&line.settings, "hub-http", line.settings.hub_http);
    if (code != RILL_EXIT_OK)
        return code;
    struct session session;
    code = session_open(&session, &line.settings, SESSION_WALLET | SESSION_OFFLINE, false);
    if (code == RILL_EXIT_OK)
        code = prove(&session, line.word_count > 0 ? line.words[0] : NULL);
    session_close(&session);
    return code;
}
