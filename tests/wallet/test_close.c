/* Closes on the ledger from the wallet's side (protocol.md, section 7). */
#include "wallet_world.h"

/* Answers the newest question about the channel with its state. */
static void answer_channel(struct world *world, uint8_t status)
{
    assert_true(world->ask_count > 0);
    assert_int_equal(world->asks[world->ask_count - 1].view.function, CONTRACT_CHANNEL);
    struct buffer data = {0};
    contract_encode_channel(&data,
                            &(struct channel_state){.total = {200000}, .base = 100000, .status = status});
    uint64_t id = world->asks[world->ask_count - 1].id;
    wallet_answer(world->core, id, true, data.data, data.length);
    buffer_free(&data);
    world_run(world);
}

static void answer_closing(struct world *world, const struct closing *closing)
{
    assert_int_equal(world->asks[world->ask_count - 1].view.function, CONTRACT_CLOSING);
    struct buffer data = {0};
    contract_encode_closing(&data, closing);
    uint64_t id = world->asks[world->ask_count - 1].id;
    wallet_answer(world->core, id, true, data.data, data.length);
    buffer_free(&data);
    world_run(world);
}

static void answer_held(struct world *world, uint64_t of_client, uint64_t of_hub)
{
    assert_int_equal(world->asks[world->ask_count - 1].view.function, CONTRACT_HELD);
    struct buffer data = {0};
    contract_encode_word(&data, of_client);
    contract_encode_word(&data, of_hub);
    uint64_t id = world->asks[world->ask_count - 1].id;
    wallet_answer(world->core, id, true, data.data, data.length);
    buffer_free(&data);
    world_run(world);
}

static const struct contract_call *last_call(const struct world *world)
{
    assert_true(world->transaction_count > 0);
    return &world->transactions[world->transaction_count - 1].call;
}

static struct invoice make_invoice(struct world *world, uint64_t amount)
{
    struct invoice invoice;
    struct amount units = {amount};
    assert_int_equal(
        wallet_invoice(world->core, &world->key.asset, units, 3600, NULL, world->unix_s, &invoice), CODE_OK);
    world_run(world);
    return invoice;
}

static void receive(struct world *world, uint64_t amount, bool locked)
{
    struct invoice invoice = make_invoice(world, amount);
    world_send(world, &(struct operation){.type = locked ? OPERATION_LOCK : OPERATION_PAY,
                                          .id = world_new_id(world),
                                          .amount = {amount},
                                          .expiry = world->head.confirmed_time + 5000,
                                          .condition = invoice.secret_hash});
}

static struct claim claim_of(const struct balance_proof *proof)
{
    return (struct claim){proof->nonce, proof->transferred, proof->locked, proof->locks_root};
}

static void test_dispute(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    receive(world, 500, false);
    assert_int_equal(world_pay(world, 2000, 1, PAYMENT_DIRECT, NULL), CODE_OK);
    assert_int_equal(wallet_dispute(world->core, &world->id), CODE_OK);
    assert_int_equal(wallet_dispute(world->core, &world->id), CODE_STATUS);
    world_run(world);
    assert_int_equal(world_pay(world, 2000, 2, PAYMENT_DIRECT, NULL), CODE_CHANNEL); /* signs nothing more */
    unsigned acks = world->counts[MESSAGE_ACK];
    receive(world, 600, false); /* and accepts nothing more */
    assert_int_equal(world->counts[MESSAGE_ACK], acks);
    assert_int_equal(world->last_error.error.code, CODE_STATUS);
    answer_channel(world, CHANNEL_OPEN);
    const struct contract_call *call = last_call(world);
    assert_int_equal(call->function, CONTRACT_START_CLOSE);
    assert_int_equal(call->proof.nonce, 1);
    assert_int_equal(call->proof.transferred.units, 500);
    assert_int_equal(call->own.nonce, 1);
    assert_int_equal(call->own.transferred.units, 2003);
    assert_true(hash_is_zero(&call->own.locks_root));
    struct hash digest = digest_balance_proof(&world->domain, &world->id, &call->proof);
    assert_true(signature_is_by(&call->signature, &digest, &world->hub));
    world_free(world);
}

/* What was decided survives a crash: nothing is signed after it, and the close is submitted again. */
static void test_dispute_survives(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    assert_int_equal(wallet_dispute(world->core, &world->id), CODE_OK);
    world_run(world);
    world_crash(world, memory_journal_appended(world->journal));
    world_linked(world);
    assert_int_equal(world_pay(world, 2000, 2, PAYMENT_DIRECT, NULL), CODE_CHANNEL);
    answer_channel(world, CHANNEL_OPEN);
    assert_int_equal(last_call(world)->function, CONTRACT_START_CLOSE);
    world_free(world);
}

/* Seen in a young block after a crash that forgot who had sent it, and gone with that block: it is started again. */
static void test_dispute_that_vanishes_is_started_again(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    assert_int_equal(wallet_dispute(world->core, &world->id), CODE_OK);
    world_run(world);
    answer_channel(world, CHANNEL_OPEN);
    assert_int_equal(last_call(world)->function, CONTRACT_START_CLOSE);
    world_crash(world, memory_journal_appended(world->journal));
    world_linked(world);
    size_t count = world->transaction_count;
    struct contract_event event = {.type = EVENT_CLOSE_STARTED, .channel = world->id};
    wallet_event(world->core, &event);
    world_head(world, 5);
    answer_channel(world, CHANNEL_CLOSING);
    answer_closing(world, &(struct closing){.deadline = world->head.time + 3600});
    for (int i = 0; i < 3; i++) {
        assert_int_equal(world_pay(world, 2000, 2, PAYMENT_DIRECT, NULL), CODE_CHANNEL);
        world_head(world, 5);
        answer_channel(world, CHANNEL_OPEN);
    }
    assert_int_equal(world->transaction_count, count + 1);
    assert_int_equal(last_call(world)->function, CONTRACT_START_CLOSE);
    world_free(world);
}

/* The hub closes with less than it has sent: its own newest proof answers it. */
static void test_challenges_the_hub(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    receive(world, 500, false);
    struct balance_proof old = world->machine->streams[SIDE_HUB].proof;
    receive(world, 700, false);
    struct contract_event event = {.type = EVENT_CLOSE_STARTED, .channel = world->id, .by_hub = true};
    wallet_event(world->core, &event); /* not confirmed yet: no reason to wait */
    world_head(world, 5);
    answer_channel(world, CHANNEL_CLOSING);
    struct closing closing = {
        .by_hub = true, .deadline = world->head.time + 3600, .own = claim_of(&old), .of_hub = claim_of(&old)};
    answer_closing(world, &closing);
    const struct contract_call *call = last_call(world);
    assert_int_equal(call->function, CONTRACT_CHALLENGE);
    assert_int_equal(call->proof.nonce, 2);
    assert_int_equal(call->proof.transferred.units, 1200);
    assert_int_equal(world_pay(world, 100, 9, PAYMENT_DIRECT, NULL), CODE_CHANNEL);
    /* It stands: nothing more to say, and the tower's word would be overridden, not the own. */
    size_t count = world->transaction_count;
    wallet_outcome(world->core, world->transactions[count - 1].id, LEDGER_OK, true, CONTRACT_OK);
    closing.challenged = closing.by_partner = closing.fraud = true;
    closing.of_hub = claim_of(&world->machine->streams[SIDE_HUB].proof);
    world_head(world, 5);
    answer_channel(world, CHANNEL_CLOSING);
    answer_closing(world, &closing);
    assert_int_equal(world->transaction_count, count);
    /* After D + 3cp/8 it is finished by whoever comes first. */
    world_head(world, 3600 + 1350);
    answer_channel(world, CHANNEL_CLOSING);
    answer_closing(world, &closing);
    assert_int_equal(last_call(world)->function, CONTRACT_FINISH);
    world_free(world);
}

/* A true claim is not answered; nor is one that is newer and gives at least as much. */
static void test_leaves_true_claims_alone(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    receive(world, 500, false);
    struct balance_proof mine = world->machine->streams[SIDE_HUB].proof;
    struct closing closing = {.by_hub = true,
                              .deadline = world->head.time + 3600,
                              .own = claim_of(&mine),
                              .of_hub = claim_of(&mine)};
    wallet_event(world->core,
                 &(struct contract_event){.type = EVENT_CLOSE_STARTED, .channel = world->id, .by_hub = true});
    world_head(world, 5);
    answer_channel(world, CHANNEL_CLOSING);
    answer_closing(world, &closing);
    assert_int_equal(world->transaction_count, 0);
    closing.of_hub.nonce = 7;
    closing.of_hub.transferred.units = 900;
    world_head(world, 5);
    answer_channel(world, CHANNEL_CLOSING);
    answer_closing(world, &closing);
    assert_int_equal(world->transaction_count, 0);
    closing.of_hub.transferred.units = 499; /* newer in name only */
    world_head(world, 5);
    answer_channel(world, CHANNEL_CLOSING);
    answer_closing(world, &closing);
    assert_int_equal(last_call(world)->function, CONTRACT_CHALLENGE);
    world_free(world);
}

/* The hub shows a proof of ours with a lock that it gave up: its revocation voids it. */
static void test_voids_dropped_locks(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    struct payment_id id;
    assert_int_equal(world_pay(world, 20000, 7, PAYMENT_LOCKED, &id), CODE_OK);
    struct balance_proof old = world->machine->streams[SIDE_CLIENT].proof;
    assert_true(channel_mark_failed(world->machine, &id));
    struct failed item = {id, CODE_OFFLINE};
    wallet_message(world->core, &(struct message){.type = MESSAGE_FAIL, .fail = {world->id, &item, 1}});
    world_run(world);
    uint64_t due = channel_revocation_due(world->machine);
    struct signature signature = channel_revoke(world->machine, &world->domain, &world->hub_key, due);
    wallet_message(world->core,
                   &(struct message){.type = MESSAGE_REVOKE, .revoke = {world->id, due, signature}});
    world_run(world);
    wallet_event(world->core,
                 &(struct contract_event){.type = EVENT_CLOSE_STARTED, .channel = world->id, .by_hub = true});
    world_head(world, 5);
    answer_channel(world, CHANNEL_CLOSING);
    struct closing closing = {
        .by_hub = true, .deadline = world->head.time + 3600, .of_client = claim_of(&old)};
    answer_closing(world, &closing);
    const struct contract_call *call = last_call(world);
    assert_int_equal(call->function, CONTRACT_VOID_LOCKS);
    assert_true(call->flag);
    assert_int_equal(call->min_nonce, due);
    world_free(world);
}

/* After the close the wallet registers its secret and takes its lock; its own lock comes back after expiry.
 */
static void test_takes_its_locks(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    receive(world, 500, true);
    struct payment_id sent;
    assert_int_equal(world_pay(world, 20000, 7, PAYMENT_LOCKED, &sent), CODE_OK);
    struct closing closing = {.by_hub = true,
                              .deadline = world->head.time + 3600,
                              .of_client = claim_of(&world->machine->streams[SIDE_CLIENT].proof),
                              .of_hub = claim_of(&world->machine->streams[SIDE_HUB].proof)};
    wallet_event(world->core,
                 &(struct contract_event){.type = EVENT_CLOSE_STARTED, .channel = world->id, .by_hub = true});
    world_head(world, 5);
    assert_int_equal(last_call(world)->function,
                     CONTRACT_REGISTER_SECRET); /* nothing is unlocked off the ledger now */
    struct hash witness = last_call(world)->hash;
    answer_channel(world, CHANNEL_CLOSING);
    answer_closing(world, &closing);
    uint8_t secret[32];
    memcpy(secret, witness.bytes, 32);
    world_event(world, (struct contract_event){.type = EVENT_CONDITION_MET,
                                               .condition = condition_of_secret(secret),
                                               .witness = witness});
    world_event(world, (struct contract_event){.type = EVENT_CLOSE_STARTED, .by_hub = true});
    world_event(world,
                (struct contract_event){
                    .type = EVENT_FINISHED, .to_client = {79479}, .held_client = {20021}, .held_hub = {500}});
    world_head(world, 1000);
    size_t before = world->transaction_count;
    answer_channel(world, CHANNEL_CLOSED);
    answer_closing(world, &closing);
    answer_held(world, 20021, 500);
    assert_int_equal(world->transaction_count,
                     before + 2); /* the own lock has expired by now, unregistered */
    bool mine = false, theirs = false;
    for (size_t i = before; i < world->transaction_count; i++) {
        const struct contract_call *call = &world->transactions[i].call;
        assert_int_equal(call->function, CONTRACT_UNLOCK);
        struct hash leaf = lock_leaf(&call->lock);
        const struct hash *root = call->flag ? &closing.of_client.locks_root : &closing.of_hub.locks_root;
        assert_true(merkle_verify(&leaf, world->transactions[i].merkle, call->merkle_count, root));
        mine |= call->flag;
        theirs |= !call->flag;
        wallet_outcome(world->core, world->transactions[i].id, LEDGER_OK, true, CONTRACT_OK);
    }
    assert_true(mine && theirs);
    world->news_count = 0;
    world_event(world, (struct contract_event){
                           .type = EVENT_UNLOCKED, .lock_id = 1, .amount = {500}, .to_receiver = true});
    world_event(world, (struct contract_event){
                           .type = EVENT_UNLOCKED, .of_client = true, .lock_id = 1, .amount = {20021}});
    world_head(world, 5);
    assert_non_null(world_news(world, WALLET_NEWS_RECEIVED));
    assert_int_equal(world_state(world, &sent), OUT_FAILED);
    answer_channel(world, CHANNEL_CLOSED);
    answer_closing(world, &closing);
    answer_held(world, 0, 0);
    const struct wallet_news *news = world_news(world, WALLET_NEWS_CLOSED);
    assert_non_null(news);
    assert_int_equal(news->amount.units, 100000);
    world_free(world);
}

/* Closes as the hub: a locked payment of 500 is arriving, and an update that never came is in what the hub says of its
 * stream. Returns what the wallet's books say of the payment then. */
static enum payment_in_state closed_by_newer_claim(uint64_t transferred, int64_t expires_after_start,
                                                   bool registered)
{
    struct world *world = world_ready(0);
    receive(world, 300, false);
    struct invoice invoice = make_invoice(world, 500);
    struct payment_id id = world_new_id(world);
    world_send(world, &(struct operation){.type = OPERATION_LOCK,
                                          .id = id,
                                          .amount = {500},
                                          .expiry = world->head.confirmed_time + 1000,
                                          .condition = invoice.secret_hash});
    assert_int_equal(world_state(world, &id), IN_REVEALED);
    uint64_t expiry = world->head.confirmed_time + 1000,
             start = (uint64_t)((int64_t)expiry - expires_after_start);
    struct closing closing = {.by_hub = true,
                              .deadline = start + 3600,
                              .own = {.nonce = 3, .transferred = {transferred}},
                              .of_hub = {.nonce = 3, .transferred = {transferred}}};
    if (registered)
        world_event(world,
                    (struct contract_event){.type = EVENT_CONDITION_MET, .condition = invoice.secret_hash});
    world_event(world, (struct contract_event){.type = EVENT_CLOSE_STARTED, .by_hub = true});
    world_event(world, (struct contract_event){.type = EVENT_FINISHED, .to_client = {100000 + transferred}});
    world_head(world, 5000);
    answer_channel(world, CHANNEL_CLOSED);
    answer_closing(world, &closing);
    world->news_count = 0;
    answer_held(world, 0, 0);
    enum payment_in_state state = world_state(world, &id);
    assert_non_null(world_news(world, WALLET_NEWS_CLOSED));
    assert_int_equal(world_news(world, WALLET_NEWS_RECEIVED) != NULL, state == IN_RECEIVED);
    world_crash(world, memory_journal_appended(world->journal));
    assert_int_equal(world_state(world, &id), state);
    /* Whatever became of it, it does not stay for ever. */
    world->options.history_max = 0;
    world_crash(world, memory_journal_appended(world->journal));
    world_head(world, OUTCOME_KEPT_S - 1000);
    assert_int_equal(world_state(world, &id), state);
    world_head(world, 2000);
    assert_false(wallet_payment_find(world->core, &id, &(struct payment_view){0}));
    world_free(world);
    return state;
}

/* The hub had unlocked a payment when it closed, and the update was lost: what it says of its stream pays for it. */
static void test_is_paid_by_a_newer_claim(void **state)
{
    (void)state;
    assert_int_equal(closed_by_newer_claim(800, 600, false), IN_RECEIVED);
    assert_int_equal(closed_by_newer_claim(800, 0, false), IN_RECEIVED);
    assert_int_equal(closed_by_newer_claim(1200, -10, true), IN_RECEIVED);
    /* Not enough for it; and a lock that the hub may have dropped, with other money in its place. */
    assert_int_equal(closed_by_newer_claim(799, 600, true), IN_REVEALED);
    assert_int_equal(closed_by_newer_claim(1200, -10, false), IN_REVEALED);
}

/* The hub had not got the newest update yet, and showed the one before it: the locks of that one are this wallet's to take
 * back. Since then one of them was cancelled and another was added. */
static void test_takes_its_locks_by_an_older_proof(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    struct payment_id cancelled, kept;
    assert_int_equal(world_pay(world, 20000, 7, PAYMENT_LOCKED, &cancelled), CODE_OK);
    assert_int_equal(world_pay(world, 30000, 8, PAYMENT_LOCKED, &kept), CODE_OK);
    struct closing closing = {.by_hub = true,
                              .deadline = world->head.time + 3600,
                              .of_client = claim_of(&world->machine->streams[SIDE_CLIENT].proof)};
    world->deaf = true;
    assert_true(channel_mark_failed(world->machine, &cancelled));
    struct failed failed = {.id = cancelled, .code = CODE_INVOICE};
    wallet_message(world->core, &(struct message){.type = MESSAGE_FAIL, .fail = {world->id, &failed, 1}});
    world_run(world);
    assert_int_equal(world_pay(world, 10000, 9, PAYMENT_LOCKED, NULL), CODE_OK);
    assert_int_equal(world->machine->streams[SIDE_CLIENT].proof.nonce, closing.of_client.nonce + 2);
    world_event(world, (struct contract_event){.type = EVENT_CLOSE_STARTED, .by_hub = true});
    world_event(
        world, (struct contract_event){.type = EVENT_FINISHED, .to_client = {49949}, .held_client = {50051}});
    world_head(world, 1000);
    size_t before = world->transaction_count;
    answer_channel(world, CHANNEL_CLOSED);
    answer_closing(world, &closing);
    answer_held(world, 50051, 0);
    assert_int_equal(world->transaction_count, before + 2);
    for (size_t i = before; i < world->transaction_count; i++) {
        const struct contract_call *call = &world->transactions[i].call;
        assert_int_equal(call->function, CONTRACT_UNLOCK);
        struct hash leaf = lock_leaf(&call->lock);
        assert_true(call->flag);
        assert_true(merkle_verify(&leaf, world->transactions[i].merkle, call->merkle_count,
                                  &closing.of_client.locks_root));
    }
    assert_int_equal(world_state(world, &cancelled), OUT_DROPPED);
    for (uint64_t lock = 1; lock <= 2; lock++)
        world_event(world,
                    (struct contract_event){.type = EVENT_UNLOCKED, .of_client = true, .lock_id = lock});
    world_head(world, 5);
    assert_int_equal(world_state(world, &cancelled), OUT_FAILED);
    assert_int_equal(world_state(world, &kept), OUT_FAILED);
    world_free(world);
}

/* The payee refused a payment and registered its secret all the same, and the hub closed with the proof from before the
 * cancel: the lock is the hub's, and the payer has paid and has the receipt. */
static void test_a_cancelled_lock_is_claimed(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    struct payment_id id;
    struct hash witness, condition = world_secret_hash(7, witness.bytes);
    assert_int_equal(world_pay(world, 20000, 7, PAYMENT_LOCKED, &id), CODE_OK);
    world->deaf = true;
    struct failed failed = {.id = id, .code = CODE_INVOICE};
    wallet_message(world->core, &(struct message){.type = MESSAGE_FAIL, .fail = {world->id, &failed, 1}});
    world_run(world);
    assert_int_equal(world_state(world, &id), OUT_DROPPED);
    assert_non_null(world_news(world, WALLET_NEWS_FAILED));
    world_event(world, (struct contract_event){.type = EVENT_CLOSE_STARTED, .by_hub = true});
    world_event(world, (struct contract_event){
                           .type = EVENT_CONDITION_MET, .condition = condition, .witness = witness});
    world_head(world, 5);
    assert_int_equal(world_state(world, &id), OUT_DROPPED); /* the hub may have got the cancel by now */
    world_event(world, (struct contract_event){.type = EVENT_FINISHED, .held_client = {20021}});
    world_event(
        world,
        (struct contract_event){
            .type = EVENT_UNLOCKED, .of_client = true, .lock_id = 1, .amount = {20021}, .to_receiver = true});
    world_head(world, 5);
    const struct wallet_news *news = world_news(world, WALLET_NEWS_PAID);
    assert_int_equal(world_state(world, &id), OUT_PAID);
    assert_non_null(news);
    assert_true(news->payment.has_secret);
    assert_memory_equal(news->payment.secret, witness.bytes, 32);
    world_free(world);
}

/* ---- the history ---- */

static struct wallet_ending_view ending(const struct world *world)
{
    struct wallet_ending_view view, none;
    assert_true(wallet_ending_at(world->core, 0, &view));
    assert_false(wallet_ending_at(world->core, 1, &none));
    return view;
}

/* Answers whatever is asked, as often as something is. */
static void look(struct world *world, const struct closing *closing, uint64_t of_client)
{
    for (size_t before = SIZE_MAX; world->ask_count != before && world->ask_count > 0;) {
        before = world->ask_count;
        enum contract_function function = world->asks[before - 1].view.function;
        if (function == CONTRACT_CHANNEL)
            answer_channel(world, CHANNEL_CLOSED);
        else if (function == CONTRACT_CLOSING)
            answer_closing(world, closing);
        else if (function == CONTRACT_HELD)
            answer_held(world, of_client, 0);
    }
}

static void maybe_crash(struct world *world, unsigned *step, unsigned crash_at)
{
    if (++*step == crash_at)
        world_crash(world, memory_journal_appended(world->journal));
}

/* The hub closes with an old claim while the wallet is away. When it comes back all is over but for a lock of its own,
 * which has expired: it takes that, and its history has the close. Returns the number of steps. */
static unsigned comes_back_late(unsigned crash_at)
{
    struct world *world = world_ready(0);
    struct wallet_ending_view view;
    struct payment_id sent;
    unsigned step = 0;
    receive(world, 500, false);
    assert_int_equal(world_pay(world, 20000, 7, PAYMENT_LOCKED, &sent), CODE_OK);
    struct closing closing = {.by_hub = true,
                              .deadline = world->head.time + 3600,
                              .of_client = claim_of(&world->machine->streams[SIDE_CLIENT].proof),
                              .of_hub = claim_of(&world->machine->streams[SIDE_HUB].proof)};
    assert_false(wallet_ending_at(world->core, 0, &view));
    world_event(world, (struct contract_event){.type = EVENT_CLOSE_STARTED, .by_hub = true});
    world_head(world, 5);
    maybe_crash(world, &step, crash_at);
    world_event(world, (struct contract_event){.type = EVENT_FINISHED,
                                               .block_time = world->head.time + 5000,
                                               .to_client = {80400},
                                               .held_client = {20021},
                                               .penalty = {400},
                                               .bounty = {40}});
    world_head(world, 9000);
    maybe_crash(world, &step, crash_at);
    world_head(world, 5);
    look(world, &closing, 20021);
    world_head(world, 5);
    look(world, &closing, 20021);
    assert_int_equal(last_call(world)->function, CONTRACT_UNLOCK);
    assert_true(last_call(world)->flag);
    assert_false(ending(world).done);
    maybe_crash(world, &step, crash_at);
    world_event(world, (struct contract_event){
                           .type = EVENT_UNLOCKED, .of_client = true, .lock_id = 1, .amount = {20021}});
    world_head(world, 5);
    maybe_crash(world, &step, crash_at);
    for (unsigned i = 0; i < 3; i++) {
        world_head(world, 5);
        look(world, &closing, 0);
    }
    maybe_crash(world, &step, crash_at);
    view = ending(world);
    assert_true(view.done);
    assert_int_equal(view.by, CLOSED_BY_HUB);
    assert_int_equal(view.to_client.units, 80400 + 20021);
    assert_int_equal(view.penalty.units, 400);
    assert_true(hash_equal(&view.id, &world->id));
    assert_int_equal(world_state(world, &sent), OUT_FAILED);
    world_free(world);
    return step;
}

/* Drops its lock, but the hub has closed with the update before it: the lock stands there still. */
static struct payment_id dropped_too_late(struct world *world)
{
    struct payment_id id;
    assert_int_equal(world_pay(world, 20000, 7, PAYMENT_LOCKED, &id), CODE_OK);
    world->deaf = true;
    assert_true(channel_mark_failed(world->machine, &id));
    struct failed failed = {.id = id, .code = CODE_INVOICE};
    wallet_message(world->core, &(struct message){.type = MESSAGE_FAIL, .fail = {world->id, &failed, 1}});
    world_run(world);
    assert_int_equal(world_state(world, &id), OUT_DROPPED);
    world_event(world, (struct contract_event){.type = EVENT_CLOSE_STARTED, .by_hub = true});
    world_head(world, 5);
    return id;
}

/* The payee refused it and registers its secret all the same: the hub takes the lock, and what is registered is the
 * payer's receipt, after a crash too. */
static void test_a_lock_dropped_too_late_is_paid(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    struct payment_id id = dropped_too_late(world);
    struct hash secret;
    world_event(world, (struct contract_event){.type = EVENT_CONDITION_MET,
                                               .condition = world_secret_hash(7, secret.bytes),
                                               .witness = secret});
    world_head(world, 5);
    world_crash(world, memory_journal_appended(world->journal));
    world_event(
        world, (struct contract_event){.type = EVENT_FINISHED, .to_client = {79979}, .held_client = {20021}});
    world->news_count = 0;
    world_event(
        world,
        (struct contract_event){
            .type = EVENT_UNLOCKED, .of_client = true, .lock_id = 1, .amount = {20021}, .to_receiver = true});
    world_head(world, 5);
    struct payment_view view;
    assert_true(wallet_payment_find(world->core, &id, &view));
    assert_int_equal(view.state, OUT_PAID);
    assert_true(view.has_secret);
    assert_memory_equal(view.secret, secret.bytes, sizeof(secret));
    assert_non_null(world_news(world, WALLET_NEWS_PAID));
    world_free(world);
}

/* Nobody registers anything: it comes back, and the payment is over. */
static void test_a_lock_dropped_too_late_comes_back(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    struct payment_id id = dropped_too_late(world);
    world_event(
        world, (struct contract_event){.type = EVENT_FINISHED, .to_client = {79979}, .held_client = {20021}});
    world->news_count = 0;
    world_event(world, (struct contract_event){
                           .type = EVENT_UNLOCKED, .of_client = true, .lock_id = 1, .amount = {20021}});
    world_head(world, 5);
    assert_int_equal(world_state(world, &id), OUT_FAILED);
    assert_null(world_news(world, WALLET_NEWS_FAILED)); /* said already, when it was dropped */
    world_free(world);
}

/* The hub closes with the update that dropped a lock, and its revocation never came; of another payment it has not had
 * the update. Neither lock stood: both payments are over. */
static void test_locks_that_did_not_stand_are_free(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    struct payment_id dropped, later;
    assert_int_equal(world_pay(world, 20000, 7, PAYMENT_LOCKED, &dropped), CODE_OK);
    assert_true(channel_mark_failed(world->machine, &dropped));
    struct failed failed = {.id = dropped, .code = CODE_INVOICE};
    wallet_message(world->core, &(struct message){.type = MESSAGE_FAIL, .fail = {world->id, &failed, 1}});
    world_run(world);
    struct closing closing = {.by_hub = true,
                              .deadline = world->head.time + 3600,
                              .of_client = claim_of(&world->machine->streams[SIDE_CLIENT].proof)};
    assert_int_equal(closing.of_client.nonce, 2);
    world->deaf = true;
    assert_int_equal(world_pay(world, 10000, 9, PAYMENT_LOCKED, &later), CODE_OK);
    world_event(world, (struct contract_event){.type = EVENT_CLOSE_STARTED, .by_hub = true});
    world_event(world, (struct contract_event){.type = EVENT_FINISHED, .to_client = {100000}});
    world_head(world, 5);
    assert_int_equal(world_state(world, &dropped), OUT_DROPPED);
    assert_int_equal(world_state(world, &later), OUT_LOCKED);
    answer_channel(world, CHANNEL_CLOSED);
    answer_closing(world, &closing);
    answer_held(world, 0, 0);
    assert_non_null(world_news(world, WALLET_NEWS_CLOSED));
    assert_int_equal(world_state(world, &dropped), OUT_FAILED);
    assert_int_equal(world_state(world, &later), OUT_FAILED);
    world_free(world);
}

/* A hub that lists its own token has as much of it as it likes. What it has transferred and what it has locked are each
 * below 2^63, what they add up to is not. */
static void test_sums_beyond_an_amount(void **state)
{
    (void)state;
    const uint64_t half = (uint64_t)1 << 62;
    struct world *world = world_new_with(0);
    world_fund(world, 0, half);
    world_linked(world);
    const uint64_t sent_back[] = {half, half - 1};
    for (size_t i = 0; i < ARRAY_LENGTH(sent_back); i++)
        world_send(world, &(struct operation){.type = OPERATION_PAY,
                                              .id = world_new_id(world),
                                              .amount = {sent_back[i]},
                                              .expiry = world->head.confirmed_time + 5000,
                                              .condition = {{1}}});
    uint8_t secret[32];
    struct operation lock = {.type = OPERATION_LOCK,
                             .id = world_new_id(world),
                             .amount = {half},
                             .expiry = world->head.confirmed_time + 5000,
                             .condition = world_secret_hash(9, secret)};
    world_send(world, &lock);
    const struct balance_proof *proof = &world->machine->streams[SIDE_HUB].proof;
    assert_int_equal(world_channel(world).nonce_hub, 3);
    assert_true(proof->transferred.units == AMOUNT_LIMIT - 1 && proof->locked.units == half);
    world_event(world, (struct contract_event){.type = EVENT_CONDITION_MET, .condition = lock.condition});
    world_event(world, (struct contract_event){.type = EVENT_CLOSE_STARTED, .by_hub = true});
    world_event(world, (struct contract_event){.type = EVENT_FINISHED});
    world_head(world, 5);
    answer_channel(world, CHANNEL_CLOSED);
    answer_closing(world, &(struct closing){.by_hub = true,
                                            .deadline = lock.expiry + 1,
                                            .of_hub = {.nonce = 4, .transferred = proof->transferred}});
    answer_held(world, 0, 0);
    assert_non_null(world_news(world, WALLET_NEWS_CLOSED));
    assert_int_equal(world_state(world, &lock.id), IN_REJECTED); /* not paid by it */
    world_free(world);
}

static void test_the_history_has_the_close(void **state)
{
    (void)state;
    unsigned steps = comes_back_late(0);
    for (unsigned crash_at = 1; crash_at <= steps; crash_at++)
        comes_back_late(crash_at);
}

/* Closed together, it is there too. */
static void test_the_history_has_a_close_together(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    world_event(world, (struct contract_event){
                           .type = EVENT_SETTLED, .seq = 1, .client_out = {100000}, .close = true});
    world_head(world, 5);
    struct wallet_ending_view view = ending(world);
    assert_true(view.done);
    assert_int_equal(view.by, CLOSED_BY_BOTH);
    assert_int_equal(view.to_client.units, 100000);
    assert_int_equal(view.penalty.units, 0);
    world_free(world);
}

/* A payout that could not be delivered is fetched. */
static void test_fetches_what_is_owed(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    world_event(world, (struct contract_event){.type = EVENT_OWED_RECORDED,
                                               .address = world->client,
                                               .other = world->key.asset,
                                               .amount = {70}});
    world_head(world, 5);
    assert_int_equal(world->asks[world->ask_count - 1].view.function, CONTRACT_OWED);
    struct buffer data = {0};
    contract_encode_word(&data, 70);
    wallet_answer(world->core, world->asks[world->ask_count - 1].id, true, data.data, data.length);
    buffer_free(&data);
    world_run(world);
    assert_int_equal(last_call(world)->function, CONTRACT_WITHDRAW_OWED);
    assert_true(address_equal(&last_call(world)->to, &world->client));
    world_free(world);
}

/* A refused transaction is tried again, later and later; what is out of money says so. */
static void test_tries_again(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    assert_int_equal(wallet_dispute(world->core, &world->id), CODE_OK);
    world_run(world);
    answer_channel(world, CHANNEL_OPEN);
    size_t count = world->transaction_count;
    wallet_outcome(world->core, world->transactions[count - 1].id, LEDGER_NO_FUNDS, false, CONTRACT_OK);
    world_head(world, 1);
    assert_non_null(world_news(world, WALLET_NEWS_TROUBLE));
    answer_channel(world, CHANNEL_OPEN);
    assert_int_equal(world->transaction_count, count);
    world->now_ms += 1500;
    world_head(world, 1);
    answer_channel(world, CHANNEL_OPEN);
    assert_int_equal(world->transaction_count, count + 1);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dispute),
        cmocka_unit_test(test_dispute_survives),
        cmocka_unit_test(test_dispute_that_vanishes_is_started_again),
        cmocka_unit_test(test_challenges_the_hub),
        cmocka_unit_test(test_leaves_true_claims_alone),
        cmocka_unit_test(test_voids_dropped_locks),
        cmocka_unit_test(test_takes_its_locks),
        cmocka_unit_test(test_takes_its_locks_by_an_older_proof),
        cmocka_unit_test(test_a_lock_dropped_too_late_is_paid),
        cmocka_unit_test(test_a_lock_dropped_too_late_comes_back),
        cmocka_unit_test(test_locks_that_did_not_stand_are_free),
        cmocka_unit_test(test_is_paid_by_a_newer_claim),
        cmocka_unit_test(test_a_cancelled_lock_is_claimed),
        cmocka_unit_test(test_sums_beyond_an_amount),
        cmocka_unit_test(test_the_history_has_the_close),
        cmocka_unit_test(test_the_history_has_a_close_together),
        cmocka_unit_test(test_fetches_what_is_owed),
        cmocka_unit_test(test_tries_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
