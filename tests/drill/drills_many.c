/* A thousand channels (DRILL_CHANNELS: fewer) are closed at once with claims of nothing. The hub sleeps; one tower has them all. Blocks are limited
 * in gas as everywhere, and each account in how many transactions may wait. */
#include "tests/drill/drill.h"

#define CHANNELS_MAX   1000
#define CLIENTS        20 /* each with as many channels */
#define BLOCK_MS       500
#define FUNDS_AT_ONCE  400
#define FUNDED         1000u
#define TO_CLIENT      500u /* by the hub's proof, which the cheat shows */
#define TO_HUB         300u /* by the client's, which it hides */
#define BLOCK_GAS      30000000u
#define APPOINT_WINDOW 64 /* answers waited for */

struct many {
    struct drill_run *run;
    struct secret_key keys[CLIENTS];
    struct channel_key channels[CHANNELS_MAX];
    struct account accounts[CHANNELS_MAX];
    struct cheat_call calls[CHANNELS_MAX];
    size_t count;
    unsigned sent, receipts;
    bool link_ready;
    char trouble[200];
};

static const struct secret_key *key_of_channel(const struct many *many, size_t index)
{
    return &many->keys[index % CLIENTS];
}

static struct shown_proof proof_by(const struct many *many, size_t index, const struct secret_key *signer,
                                   uint64_t transferred)
{
    struct shown_proof shown = {.present = true,
                                .proof = {.nonce = 1, .transferred = amount_of(transferred)}};
    struct hash channel = channel_id(&many->channels[index]);
    struct hash digest = digest_balance_proof(&many->run->stage->domain, &channel, &shown.proof);
    shown.signature = key_sign(signer, &digest);
    return shown;
}

static void make_channels(struct many *many)
{
    struct drill_run *run = many->run;
    static struct fund funds[CHANNELS_MAX];
    for (size_t i = 0; i < CLIENTS; i++) {
        char name[32];
        snprintf(name, sizeof name, "one of many %zu", i);
        many->keys[i] = key_of(name);
        struct address address = secret_key_address(&many->keys[i]);
        send_coins(run->stage, &run->stage->hub, &address, 100 * (uint64_t)GAS_COINS);
    }
    for (size_t i = 0; i < many->count; i++) {
        many->channels[i] =
            (struct channel_key){.client = secret_key_address(key_of_channel(many, i)), .salt = i / CLIENTS};
        many->accounts[i].channel = channel_id(&many->channels[i]);
        funds[i] = (struct fund){many->channels[i], amount_of(FUNDED)};
    }
    ledger_call_as(run->stage, &run->stage->hub,
                   &(struct contract_call){.function = CONTRACT_DEPOSIT_POOL,
                                           .amount = amount_of((uint64_t)many->count * FUNDED)},
                   (uint64_t)many->count * FUNDED);
    for (size_t at = 0; at < many->count; at += FUNDS_AT_ONCE) {
        size_t count = many->count - at < FUNDS_AT_ONCE ? many->count - at : FUNDS_AT_ONCE;
        ledger_call_as(run->stage, &run->stage->hub,
                       &(struct contract_call){
                           .function = CONTRACT_SETTLE_BATCH, .funds = funds + at, .fund_count = count},
                       0);
    }
}

/* ---- the hub's appointments, made as the hub ---- */

static void appoint_next(struct many *many, struct link *link)
{
    struct drill_run *run = many->run;
    struct address tower = secret_key_address(&run->towers[0].key);
    while (many->sent < many->count && many->sent - many->receipts < APPOINT_WINDOW) {
        struct message message = {.type = MESSAGE_APPOINT};
        message.appoint.key = many->channels[many->sent];
        message.appoint.proof = proof_by(many, many->sent, key_of_channel(many, many->sent), TO_HUB);
        struct hash digest = digest_balance_proof(&run->stage->domain, &many->accounts[many->sent].channel,
                                                  &message.appoint.proof.proof);
        struct hash choice = digest_choice(&run->stage->domain, &digest, &tower);
        message.appoint.has_choice = true;
        message.appoint.choice = key_sign(&run->stage->hub, &choice);
        link_send(link, &message);
        many->sent++;
    }
}

static void on_ready(void *context, struct link *link, const struct address *peer,
                     const struct message *welcome)
{
    (void)peer;
    (void)welcome;
    appoint_next(context, link);
}

static void on_message(void *context, struct link *link, const struct message *message)
{
    struct many *many = context;
    if (message->type == MESSAGE_RECEIPT)
        many->receipts++;
    else
        snprintf(many->trouble, sizeof many->trouble, "the tower says %s %s", message_name(message->type),
                 message->type == MESSAGE_ERROR ? code_name(message->error.code) : "");
    appoint_next(many, link);
}

static void on_closed(void *context, struct link *link, enum link_closed why, const char *reason)
{
    struct many *many = context;
    (void)link;
    (void)why;
    snprintf(many->trouble, sizeof many->trouble, "the tower's link closed: %s", reason);
}

static bool all_appointed(void *context)
{
    const struct many *many = context;
    return many->receipts == many->count || many->trouble[0] != '\0';
}

static void appoint_all(struct many *many)
{
    static const struct link_callbacks callbacks = {
        .ready = on_ready, .message = on_message, .closed = on_closed};
    struct drill_run *run = many->run;
    struct link_client_options options = {.host = "127.0.0.1",
                                          .port = run->towers[0].port,
                                          .key = run->stage->hub,
                                          .chain_id = run->stage->domain.chain_id,
                                          .contract = run->stage->contract,
                                          .server = secret_key_address(&run->towers[0].key),
                                          .tower = true,
                                          .agent = "drill"};
    struct link *link = link_connect(run->stage->base, &options, &callbacks, many);
    if (!holds_in_time(run->stage, all_appointed, many) || many->trouble[0] != '\0')
        fail_with_logs(run, many->trouble[0] != '\0' ? many->trouble : "all receipts");
    link_close(link);
}

/* ---- the fraud, and its answers ---- */

static void close_all(struct many *many)
{
    struct drill_run *run = many->run;
    unsigned open = 0;
    for (size_t i = 0; i < many->count; i++) {
        struct shown_proof partner = proof_by(many, i, &run->stage->hub, TO_CLIENT);
        struct contract_call call = {.function = CONTRACT_START_CLOSE,
                                     .key = many->channels[i],
                                     .proof = partner.proof,
                                     .signature = partner.signature};
        cheat_begins(&many->calls[i], run, key_of_channel(many, i), &call, &open);
    }
    while (open > 0)
        turn(run->stage);
}

static size_t count_of(struct many *many, bool finished)
{
    size_t count = 0;
    for (size_t i = 0; i < many->count; i++) {
        struct account *account = &many->accounts[i];
        *account = (struct account){.channel = account->channel};
    }
    read_accounts(many->run, many->accounts, many->count);
    for (size_t i = 0; i < many->count; i++)
        count += finished ? many->accounts[i].finished : many->accounts[i].challenges > 0;
    return count;
}

static void wait_for_all(struct many *many, bool finished, const char *what)
{
    uint64_t end_us = clock_monotonic_us() + 3 * PATIENCE_MS * 1000ull;
    while (count_of(many, finished) < many->count) {
        if (clock_monotonic_us() > end_us)
            fail_with_logs(many->run, what);
        for (unsigned i = 0; i < 20; i++)
            turn(many->run->stage);
    }
}

static uint64_t gas_of_block(struct drill_run *run, uint64_t number)
{
    char params[40];
    snprintf(params, sizeof params, "[\"0x%llx\",false]", (unsigned long long)number);
    struct ledger_request_wait block = ledger_ask(run->stage, "eth_getBlockByNumber", params);
    const char *at = strstr(block.text, "\"gasUsed\":");
    assert_non_null(at);
    return strtoull(strchr(at, 'x') + 1, NULL, 16);
}

/* In how many blocks the answers came, and the fullest of them. */
static void measure_blocks(struct many *many)
{
    struct outcome *outcome = &many->run->outcome;
    uint64_t first = UINT64_MAX, last = 0;
    for (size_t i = 0; i < many->count; i++) {
        uint64_t block = many->accounts[i].challenge_block;
        first = block < first ? block : first;
        last = block > last ? block : last;
    }
    outcome->blocks = last - first + 1;
    for (uint64_t block = first; block <= last; block++) {
        uint64_t gas = gas_of_block(many->run, block);
        outcome->longest = gas > outcome->longest ? gas : outcome->longest;
    }
    assert_true(outcome->longest <= BLOCK_GAS);
}

static void settle_all(struct many *many)
{
    struct drill_run *run = many->run;
    struct address hub = secret_key_address(&run->stage->hub);
    const struct channel_state before = {.total = amount_of(FUNDED)};
    for (size_t i = 0; i < many->count; i++) {
        struct closing closing = closing_now(run, &many->channels[i]);
        assert_true(closing.fraud && closing.challenged);
        expect_by_formula(&closing, &before, &many->accounts[i], &hub);
        run->outcome.channels++;
        run->outcome.due += FUNDED - TO_CLIENT + TO_HUB;
        run->outcome.got += many->accounts[i].to_hub;
        run->outcome.penalty += many->accounts[i].penalty;
    }
}

static void a_thousand_channels(struct drill_run *run)
{
    static struct many many;
    memset(&many, 0, sizeof many);
    many.run = run;
    const char *fewer = getenv("DRILL_CHANNELS");
    many.count = fewer == NULL ? CHANNELS_MAX : strtoul(fewer, NULL, 10);
    assert_in_range(many.count, CLIENTS, CHANNELS_MAX);
    run->block_interval_ms = BLOCK_MS;
    run->outcome.honest = "hub";
    run_open_ledger(run);
    make_channels(&many);
    tower_begin(run, 0);
    appoint_all(&many);
    close_all(&many);
    wait_for_all(&many, false, "all challenges");
    measure_blocks(&many);
    advance(run->stage, WINDOW + 1);
    wait_for_all(&many, true, "all finishes");
    settle_all(&many);
}

const struct drill drills_many[] = {
    {"a thousand channels", "20 clients close 50 channels each at once, saying that they never paid",
     "one tower answers all, long before the deadline; penalty in each", a_thousand_channels,
     .embedded_only = true},
    {.name = NULL},
};
