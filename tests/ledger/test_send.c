/* Sending transactions through a node that stalls, forgets, reorganises and refuses. */
#include "tests/ledger/sending.h"

static void mined_at_once(void **state)
{
    (void)state;
    struct node *node = node_new();
    node->mines_at_once = true;
    struct ledger *ledger = ledger_make(node, 0);
    struct outcome outcome;
    submit(node, ledger, &outcome);
    node_run_until(node, outcome.told);
    assert_int_equal(outcome.error, LEDGER_OK);
    assert_true(outcome.has_receipt && outcome.receipt.success && outcome.receipt.reverted == CONTRACT_OK);
    assert_int_equal(outcome.receipt.block, 1);
    assert_int_equal(outcome.receipt.gas_used, 21000);
    assert_int_equal(outcome.receipt.effective_gas_price, node->base_fee + 1);
    struct address sender = secret_key_address(&key);
    assert_true(address_equal(&node->pool[0].sender, &sender));
    assert_true(hash_equal(&node->pool[0].hash, &outcome.receipt.transaction));
    assert_true(node->pool[0].fee == 2 * node->base_fee + node->tip && node->pool[0].tip == node->tip);
    assert_true(address_is_zero(&outcome.receipt.created));
    /* Nothing left to ask for: the client is silent. */
    unsigned requests = node->requests;
    struct timeval wait = {0, 50000};
    event_base_loopexit(node->base, &wait);
    event_base_dispatch(node->base);
    assert_true(node->requests <= requests + 2);
    ledger_free(ledger);
    node_free(node);
}

static void told_when_deep(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct ledger *ledger = ledger_make(node, 3);
    struct outcome outcome;
    submit(node, ledger, &outcome);
    node_run_until(node, node->pool_count == 1);
    look_around(node);
    node_mine_transaction(node, 0);
    for (int i = 0; i < 3; i++) {
        look_around(node);
        assert_int_equal(outcome.told, 0);
        node_mine(node, 1);
    }
    node_run_until(node, outcome.told);
    assert_int_equal(outcome.error, LEDGER_OK);
    assert_int_equal(outcome.told_at_height, outcome.receipt.block + 3);
    ledger_free(ledger);
    node_free(node);
}

#define NOT_NEWER "{\"code\":3,\"message\":\"execution reverted\",\"data\":\"0x7faaeda4\"}"

static void a_revert_in_the_estimate_sends_nothing(void **state)
{
    (void)state;
    struct node *node = node_new();
    node->mines_at_once = true;
    struct ledger *ledger = ledger_make(node, 0);
    struct outcome outcome;
    node->estimate_error = NOT_NEWER;
    submit(node, ledger, &outcome);
    node_run_until(node, outcome.told);
    assert_int_equal(outcome.error, LEDGER_REVERTED);
    assert_int_equal(outcome.receipt.reverted, CONTRACT_NOT_NEWER);
    assert_int_equal(node_count(node, "eth_sendRawTransaction"), 0);
    node->estimate_error = "{\"code\":-32000,\"message\":\"insufficient funds for transfer\"}";
    submit(node, ledger, &outcome);
    node_run_until(node, outcome.told);
    assert_int_equal(outcome.error, LEDGER_NO_FUNDS);
    node->estimate_error = "{\"code\":-32000,\"message\":\"no\"}";
    submit(node, ledger, &outcome);
    node_run_until(node, outcome.told);
    assert_int_equal(outcome.error, LEDGER_REFUSED);
    assert_string_equal(ledger_last_error(ledger), "no");
    node->estimate_error = NULL;
    submit(node, ledger, &outcome);
    node_run_until(node, outcome.told);
    assert_int_equal(outcome.error, LEDGER_OK);
    assert_int_equal(node->pool[0].nonce, 0);
    ledger_free(ledger);
    node_free(node);
}

static void mined_but_reverted(void **state)
{
    (void)state;
    struct node *node = node_new();
    node->mines_at_once = true;
    struct ledger *ledger = ledger_make(node, 0);
    struct outcome outcome;
    node->next_fails = true;
    node->call_error = NOT_NEWER;
    submit(node, ledger, &outcome);
    node_run_until(node, outcome.told);
    assert_int_equal(outcome.error, LEDGER_REVERTED);
    assert_true(outcome.has_receipt && !outcome.receipt.success);
    assert_int_equal(outcome.receipt.reverted, CONTRACT_NOT_NEWER);
    assert_int_equal(outcome.receipt.block, 1);
    /* A node that cannot tell why. */
    node->next_fails = true;
    node->call_error = "{\"code\":-32000,\"message\":\"missing trie node\"}";
    submit(node, ledger, &outcome);
    node_run_until(node, outcome.told);
    assert_int_equal(outcome.error, LEDGER_REVERTED);
    assert_int_equal(outcome.receipt.reverted, CONTRACT_UNNAMED);
    ledger_free(ledger);
    node_free(node);
}

static void several_go_out_together(void **state)
{
    (void)state;
    enum { SENDS = 6 };
    struct node *node = node_new();
    struct ledger *ledger = ledger_make(node, 1);
    struct outcome outcomes[SENDS];
    for (int i = 0; i < SENDS; i++)
        submit(node, ledger, &outcomes[i]);
    node_run_until(node, node->pool_count == SENDS); /* none is mined */
    for (size_t i = 0; i < SENDS; i++)
        assert_int_equal(node->pool[i].nonce, i);
    for (size_t i = 0; i < SENDS; i++)
        node_mine_transaction(node, i);
    node_mine(node, 1);
    for (int i = 0; i < SENDS; i++) {
        node_run_until(node, outcomes[i].told);
        assert_int_equal(outcomes[i].error, LEDGER_OK);
        assert_true(hash_equal(&outcomes[i].receipt.transaction, &node->pool[i].hash));
    }
    ledger_free(ledger);
    node_free(node);
}

static void unmined_ones_are_bounded(void **state)
{
    (void)state;
    enum { SENDS = 300 };
    static struct outcome outcomes[SENDS];
    struct node *node = node_new();
    struct ledger *ledger = ledger_make(node, 0);
    for (int i = 0; i < SENDS; i++)
        submit(node, ledger, &outcomes[i]);
    node_run_until(node, outcomes[SENDS - 1].told);
    assert_int_equal(outcomes[SENDS - 1].error, LEDGER_REFUSED); /* the queue is full */
    node_run_until(node, node->pool_count == 16);
    look_around(node);
    assert_int_equal(node->pool_count, 16);
    for (size_t i = 0; i < 256; i++) {
        node_run_until(node, node->pool_count > i);
        node_mine_transaction(node, i);
    }
    unsigned good = 0;
    for (int i = 0; i < SENDS; i++) {
        node_run_until(node, outcomes[i].told);
        good += outcomes[i].error == LEDGER_OK;
    }
    assert_int_equal(good, 256);
    ledger_free(ledger);
    node_free(node);
}

static void an_estimate_that_needs_an_earlier_one(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct ledger *ledger = ledger_make(node, 2);
    struct outcome first, second;
    submit(node, ledger, &first);
    node_run_until(node, node->pool_count == 1);
    node->estimate_error = NOT_NEWER;
    submit(node, ledger, &second);
    look_around(node);
    assert_int_equal(second.told, 0); /* blocked, not given up */
    node->estimate_error = NULL;
    node_mine_transaction(node, 0);
    node_run_until(node, node->pool_count == 2); /* goes out before the first is final */
    assert_int_equal(first.told, 0);
    assert_int_equal(node->pool[1].nonce, 1);
    node_mine_transaction(node, 1);
    node_mine(node, 2);
    node_run_until(node, first.told && second.told);
    assert_int_equal(first.error, LEDGER_OK);
    assert_int_equal(second.error, LEDGER_OK);

    /* And one that stays bad is given up once nothing earlier is unmined. */
    struct outcome third, fourth;
    submit(node, ledger, &third);
    node_run_until(node, node->pool_count == 3);
    node->estimate_error = NOT_NEWER;
    submit(node, ledger, &fourth);
    look_around(node);
    assert_int_equal(fourth.told, 0);
    node_mine_transaction(node, 2);
    node_run_until(node, fourth.told);
    assert_int_equal(fourth.error, LEDGER_REVERTED);
    assert_int_equal(fourth.receipt.reverted, CONTRACT_NOT_NEWER);
    ledger_free(ledger);
    node_free(node);
}

static void reorganised_away_and_sent_again(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct ledger *ledger = ledger_make(node, 3);
    struct outcome outcome;
    submit(node, ledger, &outcome);
    node_run_until(node, node->pool_count == 1);
    node_mine_transaction(node, 0);
    struct hash before = node->pool[0].hash;
    node_mine(node, 1);
    look_around(node);
    node_reorganise(node, 1, 2); /* drops the transaction altogether */
    assert_int_equal(node->pool_count, 0);
    node_mine(node, 1);
    node_run_until(node, node->pool_count == 1);
    assert_true(hash_equal(&before, &node->pool[0].hash)); /* the same one, nothing new */
    node_mine_transaction(node, 0);
    node_mine(node, 3);
    node_run_until(node, outcome.told);
    assert_int_equal(outcome.error, LEDGER_OK);
    assert_int_equal(outcome.receipt.block, node->pool[0].block);
    ledger_free(ledger);
    node_free(node);
}

static void forgotten_by_the_node_and_shown_again(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct ledger *ledger = ledger_make(node, 0);
    struct outcome outcome;
    submit(node, ledger, &outcome);
    node_run_until(node, node->pool_count == 1);
    node_down(node);
    node->pool_count = 0; /* its pool was in memory */
    node_run_until(node, ledger_trouble(ledger)[0] != '\0');
    node_up(node);
    node_run_until(node, node->pool_count == 1);
    node_mine_transaction(node, 0);
    node_run_until(node, outcome.told);
    assert_int_equal(outcome.error, LEDGER_OK);
    ledger_free(ledger);
    node_free(node);
}

static void another_process_took_the_nonce(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct ledger *ledger = ledger_make(node, 0);
    struct outcome outcome;
    submit(node, ledger, &outcome);
    node_run_until(node, node->pool_count == 1);
    /* The same nonce, mined in another transaction. */
    node->pool[0].hash.bytes[0] ^= 1;
    node_mine_transaction(node, 0);
    node_run_until(node, node->pool_count == 2);
    assert_int_equal(node->pool[1].nonce, 1);
    node_mine_transaction(node, 1);
    node_run_until(node, outcome.told);
    assert_int_equal(outcome.error, LEDGER_OK);
    assert_true(hash_equal(&outcome.receipt.transaction, &node->pool[1].hash));
    ledger_free(ledger);
    node_free(node);
}

static void a_nonce_that_we_used_ourselves_is_no_conflict(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct ledger *ledger = ledger_make(node, 0);
    struct outcome outcome;
    submit(node, ledger, &outcome);
    node_run_until(node, node->pool_count == 1);
    node->receipts_hidden = true;
    node_mine_transaction(node, 0);
    node_run_until(node, node_count(node, "eth_getTransactionReceipt") >= 40);
    assert_int_equal(node->pool_count, 1);
    assert_int_equal(outcome.told, 0);
    node->receipts_hidden = false;
    node_run_until(node, outcome.told);
    assert_int_equal(outcome.error, LEDGER_OK);
    assert_int_equal(node->pool_count, 1);
    ledger_free(ledger);
    node_free(node);
}

/* The block that used the nonce shows no transaction with it: nothing is sent before that is clear. */
static void a_nonce_that_nobody_seems_to_have_used_is_said(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct ledger *ledger = ledger_make(node, 0);
    struct outcome outcome;
    node_mine(node, 200);
    submit(node, ledger, &outcome);
    node_run_until(node, node->pool_count == 1);
    node->pool[0].hash.bytes[0] ^= 1;
    node->pool[0].is_mined = true;
    node->pool[0].block = 0; /* counts, and is in no block that is looked at */
    node_mine(node, 1);
    node_run_until(node, strstr(ledger_trouble(ledger), "is used up, but the node shows neither") != NULL);
    assert_int_equal(node->pool_count, 1);
    assert_int_equal(outcome.told, 0);
    ledger_free(ledger);
    assert_int_equal(outcome.error, LEDGER_STOPPED);
    node_free(node);
}

static void estimates_again(struct node *node, const char *method)
{
    if (strcmp(method, "eth_estimateGas") == 0 && node_count(node, method) >= 4)
        node->estimate_error = NULL;
}

static void a_revert_that_the_newest_block_denies_is_asked_again(void **state)
{
    (void)state;
    struct node *node = node_new();
    node->mines_at_once = true;
    struct ledger *ledger = ledger_make(node, 0);
    struct outcome outcome;
    submit(node, ledger, &outcome); /* now it knows a head */
    node_run_until(node, outcome.told);
    node->estimate_error = NOT_NEWER;
    node->hook = estimates_again;
    submit(node, ledger, &outcome);
    node_run_until(node, outcome.told);
    assert_int_equal(outcome.error, LEDGER_OK);

    /* What the newest block confirms is told at once. */
    unsigned before = node_count(node, "eth_estimateGas");
    node->hook = NULL;
    node->estimate_error = node->call_error = NOT_NEWER;
    submit(node, ledger, &outcome);
    node_run_until(node, outcome.told);
    assert_int_equal(outcome.error, LEDGER_REVERTED);
    assert_int_equal(outcome.receipt.reverted, CONTRACT_NOT_NEWER);
    assert_int_equal(node_count(node, "eth_estimateGas"), before + 1);
    ledger_free(ledger);
    node_free(node);
}

static void no_funds_at_the_broadcast(void **state)
{
    (void)state;
    struct node *node = node_new();
    node->mines_at_once = true;
    struct ledger *ledger = ledger_make(node, 0);
    struct outcome outcome;
    node->send_error = "{\"code\":-32000,\"message\":\"insufficient funds for gas * price + value\"}";
    submit(node, ledger, &outcome);
    node_run_until(node, outcome.told);
    assert_int_equal(outcome.error, LEDGER_NO_FUNDS);
    assert_false(outcome.has_receipt);
    assert_non_null(strstr(ledger_last_error(ledger), "insufficient funds"));
    node->send_error = NULL;
    struct outcome next;
    submit(node, ledger, &next);
    node_run_until(node, next.told);
    assert_int_equal(next.error, LEDGER_OK);
    assert_int_equal(node->pool[0].nonce, 0);
    ledger_free(ledger);
    node_free(node);
}

/* A refused one between others must leave no gap in the nonces. */
static void a_refused_one_leaves_no_gap(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct ledger *ledger = ledger_make(node, 0);
    struct outcome first, refused, last;
    submit(node, ledger, &first);
    node_run_until(node, node->pool_count == 1);
    node->send_error = "{\"code\":-32000,\"message\":\"intrinsic gas too low\"}";
    submit(node, ledger, &refused);
    node_run_until(node, refused.told);
    assert_int_equal(refused.error, LEDGER_REFUSED);
    node->send_error = NULL;
    submit(node, ledger, &last);
    node_run_until(node, node->pool_count == 2);
    assert_int_equal(node->pool[1].nonce, 1);
    node_mine_transaction(node, 0);
    node_mine_transaction(node, 1);
    node_run_until(node, first.told && last.told);
    assert_int_equal(last.error, LEDGER_OK);
    ledger_free(ledger);
    node_free(node);
}

/* Some development nodes mine the transaction and answer with its revert. */
static void fail_after_mining(struct node *node, const char *method)
{
    if (strcmp(method, "eth_maxPriorityFeePerGas") != 0)
        return;
    node->next_fails = true;
    node->fault = FAULT_CLOSE; /* does it, and gives no answer */
    node->fault_method = "eth_sendRawTransaction";
    node->fault_count = 1;
    node->hook = NULL;
    node->call_error = NOT_NEWER;
}

static void answers_to_the_broadcast_may_be_lost(void **state)
{
    (void)state;
    for (int nethermind = 0; nethermind < 2; nethermind++) {
        struct node *node = node_new();
        struct ledger *ledger = ledger_make(node, 0);
        struct outcome outcome;
        node->speaks_nethermind = nethermind;
        node->fault = FAULT_CLOSE;
        node->fault_method = "eth_sendRawTransaction";
        node->fault_count = 1;
        submit(node, ledger, &outcome);
        node_run_until(node, node_count(node, "eth_sendRawTransaction") == 2); /* "already known" */
        look_around(node);
        assert_int_equal(outcome.told, 0); /* whoever is told that it was refused does it again */
        assert_int_equal(node->pool_count, 1);
        node_mine_transaction(node, 0);
        node_run_until(node, outcome.told);
        assert_int_equal(outcome.error, LEDGER_OK);
        assert_int_equal(node_count(node, "eth_getTransactionByHash"), 0); /* the words were enough */

        /* Mined at once: the second time it is "nonce too low", and still ours. */
        node->mines_at_once = true;
        node->hook = fail_after_mining;
        submit(node, ledger, &outcome);
        node_run_until(node, outcome.told);
        assert_int_equal(outcome.error, LEDGER_REVERTED);
        assert_int_equal(outcome.receipt.reverted, CONTRACT_NOT_NEWER);
        assert_int_equal(node->pool_count, 2);
        ledger_free(ledger);
        node_free(node);
    }
}

/* In words that nobody has heard before, it says that it has the transaction. */
static void what_the_node_has_was_not_refused(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct ledger *ledger = ledger_make(node, 0);
    struct outcome outcome, next;
    node->known_words = "seen that one";
    node->fault = FAULT_CLOSE;
    node->fault_method = "eth_sendRawTransaction";
    node->fault_count = 1;
    submit(node, ledger, &outcome);
    node_run_until(node, node_count(node, "eth_getTransactionByHash") > 0);
    look_around(node);
    assert_int_equal(outcome.told, 0);
    submit(node, ledger, &next); /* goes on behind it */
    node_run_until(node, node->pool_count == 2);
    assert_int_equal(node->pool[1].nonce, 1);
    node_mine_transaction(node, 0);
    node_mine_transaction(node, 1);
    node_run_until(node, outcome.told && next.told);
    assert_int_equal(outcome.error, LEDGER_OK);
    assert_int_equal(next.error, LEDGER_OK);

    /* Where it cannot be asked, nothing is concluded. */
    node->fault = FAULT_ERROR;
    node->error_json = "{\"code\":-32601,\"message\":\"the method does not exist\"}";
    node->fault_method = "eth_getTransactionByHash";
    node->fault_count = 3;
    node->send_error = "{\"code\":-32000,\"message\":\"no\"}";
    submit(node, ledger, &outcome);
    node_run_until(node,
                   strstr(ledger_trouble(ledger), "no good answer to eth_getTransactionByHash") != NULL);
    assert_int_equal(outcome.told, 0);
    node_run_until(node, outcome.told);
    assert_int_equal(node->fault_count, 0);
    assert_int_equal(outcome.error, LEDGER_REFUSED);
    assert_string_equal(ledger_trouble(ledger), "");
    ledger_free(ledger);
    node_free(node);
}

static void a_created_token_is_in_the_receipt(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct ledger *ledger = ledger_make(node, 0);
    struct outcome outcome;
    submit(node, ledger, &outcome);
    node_run_until(node, node->pool_count == 1);
    node_mine_transaction(node, 0);
    struct contract_event event;
    memset(&event, 0, sizeof(event));
    event.type = EVENT_TOKEN_CREATED;
    event.address = (struct address){{7, 7, 7}};
    strcpy(event.symbol, "COOP");
    node_mark_add(node, 1);
    node_event_add(node, &event);
    node_run_until(node, outcome.told);
    assert_int_equal(outcome.error, LEDGER_OK);
    assert_true(address_equal(&outcome.receipt.created, &event.address));
    ledger_free(ledger);
    node_free(node);
}

static void a_dead_node_ends_it_before_it_left(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct ledger_options options = node_options(node);
    options.tries = 1;
    struct ledger *ledger = ledger_new(node->base, &options);
    struct outcome outcome;
    node_down(node);
    submit(node, ledger, &outcome);
    node_run_until(node, outcome.told);
    assert_int_equal(outcome.error, LEDGER_UNREACHABLE);
    ledger_free(ledger);
    node_free(node);
}

struct again {
    struct ledger *ledger;
    unsigned told;
    bool frees;
};

static void on_sent_again(void *context, enum ledger_error error, const struct ledger_receipt *receipt)
{
    (void)receipt;
    struct again *again = context;
    again->told++;
    if (again->frees && again->told == 1) {
        ledger_free(again->ledger);
    } else if (!again->frees && again->told < 3) {
        assert_int_equal(error, LEDGER_OK);
        ledger_send(again->ledger, &key, NULL, 0, NULL, 0, on_sent_again, again);
    }
}

static void owners_may_send_or_free_when_told(void **state)
{
    (void)state;
    struct node *node = node_new();
    node->mines_at_once = true;
    struct again again = {ledger_make(node, 0), 0, false};
    ledger_send(again.ledger, &key, NULL, 0, NULL, 0, on_sent_again, &again);
    node_run_until(node, again.told == 3);
    assert_int_equal(node->pool_count, 3);
    ledger_free(again.ledger);

    again = (struct again){ledger_make(node, 0), 0, true};
    for (int i = 0; i < 3; i++)
        ledger_send(again.ledger, &key, NULL, 0, NULL, 0, on_sent_again, &again);
    node_run_until(node, again.told > 0);
    assert_int_equal(again.told, 3); /* the others with LEDGER_STOPPED */
    node_run_until(node, node->connections[0] == NULL);

    node->mines_at_once = false;
    struct ledger *ledger = ledger_make(node, 0);
    struct outcome outcomes[4];
    for (size_t i = 0; i < ARRAY_LENGTH(outcomes); i++)
        submit(node, ledger, &outcomes[i]);
    size_t pool = node->pool_count;
    node_run_until(node, node->pool_count == pool + 2);
    ledger_free(ledger);
    for (size_t i = 0; i < ARRAY_LENGTH(outcomes); i++) {
        assert_int_equal(outcomes[i].told, 1);
        assert_int_equal(outcomes[i].error, LEDGER_STOPPED);
    }
    node_free(node);
}

static void two_keys_do_not_wait_for_each_other(void **state)
{
    (void)state;
    struct node *node = node_new();
    struct ledger *ledger = ledger_make(node, 0);
    struct secret_key other = {{[31] = 10}};
    struct outcome mine, theirs = {.node = node};
    submit(node, ledger, &mine);
    ledger_send(ledger, &other, NULL, 0, NULL, 0, on_sent, &theirs);
    node_run_until(node, node->pool_count == 2);
    assert_true(node->pool[0].nonce == 0 && node->pool[1].nonce == 0);
    struct address address = secret_key_address(&other);
    node_mine_transaction(node, address_equal(&node->pool[0].sender, &address) ? 0 : 1);
    node_run_until(node, theirs.told);
    assert_int_equal(mine.told, 0);
    node_mine_transaction(node, address_equal(&node->pool[0].sender, &address) ? 1 : 0);
    node_run_until(node, mine.told);
    ledger_free(ledger);
    node_free(node);
}

static void waiting_programs_get_receipts(void **state)
{
    (void)state;
    struct node *node = node_new();
    node->mines_at_once = true;
    struct ledger *ledger = ledger_make(node, 0);
    struct ledger_receipt receipt;
    assert_int_equal(ledger_send_wait(ledger, &key, NULL, 0, NULL, 0, &receipt), LEDGER_OK);
    assert_true(receipt.success && receipt.block == 1);
    node->estimate_error = NOT_NEWER;
    assert_int_equal(ledger_send_wait(ledger, &key, NULL, 0, NULL, 0, &receipt), LEDGER_REVERTED);
    assert_true(!receipt.success && receipt.reverted == CONTRACT_NOT_NEWER);
    ledger_free(ledger);
    node_free(node);
}

/* Faults at every turn, blocks as they come: all that was submitted is mined, each once. */
static void any_weather(void **state)
{
    (void)state;
    const enum fault faults[] = {FAULT_GARBAGE, FAULT_STATUS_500, FAULT_CLOSE, FAULT_WRONG_ID};
    enum { SENDS = 40 };
    static struct outcome outcomes[SENDS];
    struct node *node = node_new();
    struct ledger *ledger = ledger_make(node, 2);
    uint64_t seed = 99;
    size_t submitted = 0, mined = 0;
    while (mined < SENDS || !outcomes[SENDS - 1].told) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        unsigned dice = (unsigned)(seed >> 40);
        bool is_idle = submitted == 0 || outcomes[submitted - 1].told;
        if (submitted < SENDS && (is_idle || dice % 2 == 0))
            submit(node, ledger, &outcomes[submitted++]);
        if (dice % 8 == 0) {
            node->fault = faults[dice / 8 % ARRAY_LENGTH(faults)];
            node->fault_method = NULL;
            node->fault_count = 1;
        }
        bool has_mined = false;
        for (size_t i = 0; i < node->pool_count && !has_mined; i++)
            if (!node->pool[i].is_mined && node->pool[i].nonce == mined) {
                node_mine_transaction(node, i);
                mined++;
                has_mined = true;
            }
        if (!has_mined)
            node_mine(node, 1);
        unsigned until = node->requests + 5;
        node_run_until(node, node->requests >= until || outcomes[submitted - 1].told);
    }
    for (size_t i = 0; i < SENDS; i++) {
        node_run_until(node, outcomes[i].told);
        assert_int_equal(outcomes[i].told, 1);
        assert_int_equal(outcomes[i].error, LEDGER_OK);
        for (size_t k = 0; k < i; k++)
            assert_false(hash_equal(&outcomes[i].receipt.transaction, &outcomes[k].receipt.transaction));
    }
    ledger_free(ledger);
    node_free(node);
}

int main(void)
{
    log_setup("test_send", LOG_ERROR, false);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mined_at_once),
        cmocka_unit_test(told_when_deep),
        cmocka_unit_test(a_revert_in_the_estimate_sends_nothing),
        cmocka_unit_test(mined_but_reverted),
        cmocka_unit_test(several_go_out_together),
        cmocka_unit_test(unmined_ones_are_bounded),
        cmocka_unit_test(an_estimate_that_needs_an_earlier_one),
        cmocka_unit_test(reorganised_away_and_sent_again),
        cmocka_unit_test(forgotten_by_the_node_and_shown_again),
        cmocka_unit_test(another_process_took_the_nonce),
        cmocka_unit_test(a_nonce_that_we_used_ourselves_is_no_conflict),
        cmocka_unit_test(a_nonce_that_nobody_seems_to_have_used_is_said),
        cmocka_unit_test(a_revert_that_the_newest_block_denies_is_asked_again),
        cmocka_unit_test(no_funds_at_the_broadcast),
        cmocka_unit_test(a_refused_one_leaves_no_gap),
        cmocka_unit_test(answers_to_the_broadcast_may_be_lost),
        cmocka_unit_test(what_the_node_has_was_not_refused),
        cmocka_unit_test(a_created_token_is_in_the_receipt),
        cmocka_unit_test(a_dead_node_ends_it_before_it_left),
        cmocka_unit_test(owners_may_send_or_free_when_told),
        cmocka_unit_test(two_keys_do_not_wait_for_each_other),
        cmocka_unit_test(waiting_programs_get_receipts),
        cmocka_unit_test(any_weather),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
