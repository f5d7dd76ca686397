/* A wallet's shell around its core (wallet/shell.c, shell_links.c), one effect at a time. */
#include "tests/sim/sim.h"

#define PEER_BITS 3 /* as in wallet/shell.c: low bits of an outbox peer, above them the connection's number */

uint64_t wallet_unix_s(const struct sim_wallet *wallet)
{
    return (uint64_t)((int64_t)(SIM_START_S + wallet->sim->now_ms / 1000) + wallet->clock_s);
}

/* ---- the core's effects ---- */

static uint64_t effect_append(void *context, const uint8_t *batch, size_t length)
{
    struct sim_wallet *wallet = context;
    return journal_append(wallet->disk.journal, batch, length);
}

static void effect_send(void *context, uint64_t sequence, uint64_t peer, const struct message *message)
{
    struct sim_wallet *wallet = context;
    uint64_t generation =
        peer == WALLET_PEER_HUB ? wallet->generation : wallet->tower_generation[peer - WALLET_PEER_TOWER];
    outbox_put(wallet->outbox, sequence, generation << PEER_BITS | peer, message);
}

static void deliver(void *context, uint64_t peer, const uint8_t *frame, size_t length)
{
    struct sim_wallet *wallet = context;
    uint64_t index = peer & ((1 << PEER_BITS) - 1), generation = peer >> PEER_BITS;
    bool to_hub = index == WALLET_PEER_HUB;
    uint64_t number = to_hub ? wallet->link : wallet->tower_link[index - WALLET_PEER_TOWER];
    uint64_t now = to_hub ? wallet->generation : wallet->tower_generation[index - WALLET_PEER_TOWER];
    struct sim_link *link = number == 0 ? NULL : net_find(wallet->sim, number);
    if (link != NULL && link->is_welcomed && generation == now)
        net_put(wallet->sim, link, true, frame, length);
}

static void defer(struct sim_wallet *wallet, struct deferred *deferred)
{
    if (wallet->last != NULL)
        wallet->last->next = deferred;
    else
        wallet->first = deferred;
    wallet->last = deferred;
}

static void effect_submit(void *context, uint64_t sequence, uint64_t submission,
                          const struct contract_call *call)
{
    struct deferred *deferred = xcalloc(1, sizeof(*deferred));
    deferred->sequence = sequence;
    deferred->submission = submission;
    contract_encode_call(&deferred->data, call);
    defer(context, deferred);
}

static void effect_ask(void *context, uint64_t question, const struct contract_call *view)
{
    struct sim_wallet *wallet = context;
    node_ask(&wallet->party.node, question, view);
}

static void effect_tell(void *context, uint64_t sequence, const struct wallet_news *news)
{
    struct sim_wallet *wallet = context;
    if (news->type == WALLET_NEWS_TROUBLE || news->type == WALLET_NEWS_CLOSE)
        sim_trace(wallet->sim, "wallet %u says: %s", wallet->party.index, news->text);
    struct deferred *deferred = xcalloc(1, sizeof(*deferred));
    deferred->is_news = true;
    deferred->sequence = sequence;
    deferred->news = news->type;
    deferred->payment = news->payment.id;
    deferred->secret_hash = news->payment.secret_hash;
    deferred->code = news->payment.code;
    defer(context, deferred);
}

static void effect_pause(void *context, bool pause)
{
    struct sim_wallet *wallet = context;
    wallet->is_paused = pause;
}

static void effect_disconnect(void *context, const char *why)
{
    struct sim_wallet *wallet = context;
    struct sim_link *link = wallet->link == 0 ? NULL : net_find(wallet->sim, wallet->link);
    sim_trace(wallet->sim, "wallet %u hangs up: %s", wallet->party.index, why);
    if (link == NULL)
        return;
    wallet_link_lost(wallet, link);
    net_client_gone(wallet->sim, link);
}

static const struct wallet_effects effects = {
    .append = effect_append,
    .send = effect_send,
    .submit = effect_submit,
    .ask = effect_ask,
    .tell = effect_tell,
    .pause = effect_pause,
    .disconnect = effect_disconnect,
};

/* ---- the loop ---- */

static void release(struct sim_wallet *wallet)
{
    uint64_t durable = journal_durable(wallet->disk.journal);
    outbox_leave(&wallet->disk, wallet->outbox, &wallet->released);
    while (wallet->first != NULL && wallet->first->sequence <= durable) {
        struct deferred *deferred = wallet->first;
        wallet->first = deferred->next;
        if (wallet->first == NULL)
            wallet->last = NULL;
        if (deferred->is_news)
            user_told(wallet, deferred);
        else if (deferred->is_invoice)
            user_invoiced(wallet->sim, &deferred->invoice);
        else
            node_submit(&wallet->party.node, deferred->data.data, deferred->data.length, 0, 0,
                        deferred->submission);
        buffer_free(&deferred->data);
        free(deferred);
    }
}

bool wallet_can(const struct sim_wallet *wallet, enum wallet_effect effect)
{
    if (!wallet->party.is_up)
        return false;
    switch (effect) {
    case WALLET_RUN:
        return wallet->run_wanted || wallet_next_ms(wallet->core) <= wallet->sim->now_ms;
    case WALLET_RELEASE:
        return outbox_may_leave(&wallet->disk, wallet->outbox, &wallet->released) ||
               (wallet->first != NULL && wallet->first->sequence <= journal_durable(wallet->disk.journal));
    case WALLET_DISK:
        return disk_has_work(wallet->sim, &wallet->disk);
    case WALLET_EFFECT_COUNT:
        break;
    }
    return false;
}

void wallet_do(struct sim_wallet *wallet, enum wallet_effect effect)
{
    switch (effect) {
    case WALLET_RUN:
        wallet->run_wanted = false;
        wallet_run(wallet->core, wallet->sim->now_ms, wallet_unix_s(wallet));
        sim_trace(wallet->sim, "wallet %u runs: %llu", wallet->party.index,
                  (unsigned long long)memory_journal_appended(wallet->disk.journal));
        return;
    case WALLET_RELEASE:
        release(wallet);
        return;
    case WALLET_DISK:
        if (!disk_work(wallet->sim, &wallet->disk))
            wallet_crash(wallet);
        return;
    case WALLET_EFFECT_COUNT:
        return;
    }
}

void wallet_offer(struct sim_wallet *wallet, const struct sim_invoice *invoice)
{
    wallet_do(wallet, WALLET_RUN);
    struct deferred *deferred = xcalloc(1, sizeof(*deferred));
    deferred->sequence = memory_journal_appended(wallet->disk.journal);
    deferred->is_invoice = true;
    deferred->invoice = *invoice;
    defer(wallet, deferred);
}

void sim_wallet_outcome(struct sim_wallet *wallet, uint64_t submission, enum ledger_error error, bool success,
                        enum contract_error reverted)
{
    wallet_outcome(wallet->core, submission, error, success, reverted);
    wallet->run_wanted = true;
}

/* ---- connections ---- */

#define RETRY_FIRST_MS 250 /* these three as in wallet/shell_links.c */
#define RETRY_LAST_MS  30000
#define LASTED_MS      10000

static void retry_later(struct sim_wallet *wallet)
{
    uint64_t now = wallet->sim->now_ms;
    if (now - wallet->connected_at >= LASTED_MS)
        wallet->failures = 0;
    uint64_t wait_ms = (uint64_t)RETRY_FIRST_MS << (wallet->failures < 7 ? wallet->failures : 7);
    wallet->connect_from = now + (wait_ms > RETRY_LAST_MS ? RETRY_LAST_MS : wait_ms);
    wallet->failures++;
}

void wallet_connect(struct sim_wallet *wallet)
{
    struct sim *sim = wallet->sim;
    struct sim_link *link = net_link(sim, LINK_HUB, wallet->party.index, 0);
    wallet->link = link->number;
    wallet->connected_at = sim->now_ms;
    sim_trace(sim, "wallet %u connects: %llu", wallet->party.index, (unsigned long long)link->number);
    hub_connected(sim, link);
}

/* A newer connection of a user replaces the older one (watchtower/peers.c). */
void wallet_connect_tower(struct sim_wallet *wallet, unsigned index)
{
    struct sim *sim = wallet->sim;
    unsigned tower = wallet->towers[index];
    for (size_t i = sim->link_count; i-- > 0;) {
        struct sim_link *old = sim->links[i];
        if (old->kind == LINK_TOWER && old->tower == tower && old->client == wallet->party.index)
            net_server_gone(sim, old);
    }
    struct sim_link *link = net_link(sim, LINK_TOWER, wallet->party.index, tower);
    wallet->tower_link[index] = link->number;
    static const struct terms no_terms;
    struct message welcome = {.type = MESSAGE_WELCOME};
    welcome.welcome.terms = &no_terms;
    struct buffer frame = {0};
    message_encode(&frame, &welcome);
    net_put(sim, link, false, frame.data, frame.length);
    buffer_free(&frame);
}

static void from_tower(struct sim_wallet *wallet, struct sim_link *link, const struct message *message)
{
    unsigned index = 0;
    while (wallet->tower_link[index] != link->number)
        if (++index == wallet->tower_count)
            return;
    if (message->type == MESSAGE_WELCOME) {
        link->is_welcomed = true;
        wallet->tower_generation[index]++;
        wallet_tower_linked(wallet->core, index);
        return;
    }
    if (message->type == MESSAGE_RECEIPT)
        sim_did(wallet->sim, DEED_RECEIPT);
    wallet_tower_message(wallet->core, index, message);
}

void wallet_take_frame(struct sim_wallet *wallet, struct sim_link *link, const uint8_t *frame, size_t length)
{
    struct message message;
    const char *why;
    ensure(message_decode(wallet->sim->decoder, frame + 4, length - 4, &message, &why) == CODE_OK);
    wallet->run_wanted = true;
    if (message.type == MESSAGE_ERROR && message.error.fatal) {
        wallet_link_lost(wallet, link);
        net_client_gone(wallet->sim, link);
        return;
    }
    if (link->kind == LINK_TOWER) {
        from_tower(wallet, link, &message);
        return;
    }
    if (link->number != wallet->link)
        return;
    if (message.type == MESSAGE_WELCOME) {
        link->is_welcomed = true;
        wallet->generation++;
        wallet_linked(wallet->core, message.welcome.terms, message.welcome.channels);
        return;
    }
    wallet_message(wallet->core, &message);
}

void wallet_link_lost(struct sim_wallet *wallet, struct sim_link *link)
{
    wallet->run_wanted = true;
    if (link->kind == LINK_HUB) {
        if (wallet->link != link->number)
            return;
        wallet->link = 0;
        wallet->is_paused = false;
        retry_later(wallet);
        if (link->is_welcomed)
            wallet_unlinked(wallet->core);
        return;
    }
    for (unsigned i = 0; i < wallet->tower_count; i++) {
        if (wallet->tower_link[i] != link->number)
            continue;
        wallet->tower_link[i] = 0;
        if (link->is_welcomed)
            wallet_tower_unlinked(wallet->core, i);
    }
}

/* ---- life ---- */

static bool visit(void *context, const struct record *record)
{
    return wallet_read(context, record);
}

void wallet_start(struct sim_wallet *wallet)
{
    struct sim *sim = wallet->sim;
    char message[256] = "";
    struct wallet_core_options options = {.key = wallet->party.key,
                                          .domain = sim->domain,
                                          .hub = sim->hub.party.address,
                                          .confirmations = wallet->party.node.confirmations,
                                          .tower_count = wallet->tower_count,
                                          .limits = wallet->limits,
                                          .history_max = 10000,
                                          .endpoint = "hub:1"};
    for (unsigned i = 0; i < wallet->tower_count; i++)
        options.towers[i] = sim->towers[wallet->towers[i]].party.address;
    sim_trace(sim, "wallet %u starts", wallet->party.index);
    disk_start(&wallet->disk);
    wallet->outbox = outbox_new(deliver, wallet);
    wallet->released = (struct sim_released){0};
    wallet->core = wallet_new(&options, &effects, wallet);
    wallet_challenge_period(wallet->core, sim->chain.challenge_period);
    bool understood = journal_recover(wallet->disk.journal, visit, wallet->core);
    if (!wallet_recovered(wallet->core, message, sizeof(message)) || !understood)
        sim_fail(sim, "wallet %u does not start again: %s", wallet->party.index, message);
    wallet->party.is_up = true;
    wallet->party.life++;
    wallet->run_wanted = true;
    wallet->is_paused = false;
    wallet->link = 0;
    memset(wallet->tower_link, 0, sizeof(wallet->tower_link));
    node_restart(&wallet->party.node, wallet_cursor(wallet->core));
}

void wallet_end(struct sim_wallet *wallet)
{
    if (wallet->core == NULL)
        return;
    wallet_free(wallet->core);
    outbox_free(wallet->outbox);
    wallet->core = NULL;
    wallet->outbox = NULL;
    while (wallet->first != NULL) {
        struct deferred *deferred = wallet->first;
        wallet->first = deferred->next;
        buffer_free(&deferred->data);
        free(deferred);
    }
    wallet->last = NULL;
    wallet->party.is_up = false;
    node_free(&wallet->party.node);
}

void wallet_crash(struct sim_wallet *wallet)
{
    struct sim *sim = wallet->sim;
    if (!wallet->party.is_up)
        return;
    sim_trace(sim, "wallet %u dies", wallet->party.index);
    wallet_end(wallet);
    disk_crash(sim, &wallet->disk);
    for (size_t i = sim->link_count; i-- > 0;)
        if (sim->links[i]->kind != LINK_HUB_TOWER && sim->links[i]->client == wallet->party.index)
            net_client_gone(sim, sim->links[i]);
}
