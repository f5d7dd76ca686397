/* A watchtower's shell around its core (watchtower/shell.c, peers.c), one effect at a time. */
#include "tests/sim/sim.h"

static uint64_t effect_append(void *context, const uint8_t *batch, size_t length)
{
    struct sim_tower *tower = context;
    return journal_append(tower->disk.journal, batch, length);
}

static void effect_send(void *context, uint64_t sequence, uint64_t peer, const struct message *message)
{
    struct sim_tower *tower = context;
    outbox_put(tower->outbox, sequence, peer, message);
}

static void effect_ask(void *context, uint64_t question, const struct contract_call *view)
{
    struct sim_tower *tower = context;
    node_ask(&tower->party.node, question, view);
}

static void effect_submit(void *context, uint64_t submission, const struct contract_call *call,
                          const struct ledger_terms *terms)
{
    struct sim_tower *tower = context;
    (void)terms;
    struct buffer data = {0};
    contract_encode_call(&data, call);
    node_submit(&tower->party.node, data.data, data.length, 0, 0, submission);
    buffer_free(&data);
}

static void effect_say(void *context, enum log_level level, const char *line)
{
    struct sim_tower *tower = context;
    if (level >= LOG_WARN)
        sim_trace(tower->sim, "tower %u says: %s", tower->party.index, line);
}

static void effect_alarm(void *context, const struct tower_alarm *alarm)
{
    struct sim_tower *tower = context;
    sim_trace(tower->sim, "tower %u raises an alarm: %s", tower->party.index, alarm->line);
}

static const struct tower_effects effects = {.append = effect_append,
                                             .send = effect_send,
                                             .ask = effect_ask,
                                             .submit = effect_submit,
                                             .say = effect_say,
                                             .alarm = effect_alarm};

static void deliver(void *context, uint64_t peer, const uint8_t *frame, size_t length)
{
    struct sim_tower *tower = context;
    struct sim_link *link = net_find(tower->sim, peer);
    if (link != NULL && link->server_up)
        net_put(tower->sim, link, false, frame, length);
}

bool tower_can(const struct sim_tower *tower, enum tower_effect effect)
{
    if (!tower->party.is_up)
        return false;
    if (effect == TOWER_RELEASE)
        return outbox_may_leave(&tower->disk, tower->outbox, &tower->released);
    return effect == TOWER_DISK && disk_has_work(tower->sim, &tower->disk);
}

void tower_do(struct sim_tower *tower, enum tower_effect effect)
{
    if (effect == TOWER_RELEASE)
        outbox_leave(&tower->disk, tower->outbox, &tower->released);
    else if (!disk_work(tower->sim, &tower->disk))
        tower_crash(tower);
}

void tower_take_frame(struct sim_tower *tower, struct sim_link *link, const uint8_t *frame, size_t length)
{
    struct message message;
    const char *why;
    struct sim *sim = tower->sim;
    ensure(message_decode(sim->decoder, frame + 4, length - 4, &message, &why) == CODE_OK);
    if (message.type == MESSAGE_ERROR)
        return;
    const struct address *user =
        link->kind == LINK_HUB_TOWER ? &sim->hub.party.address : &sim->wallets[link->client].party.address;
    tower_message(tower->core, link->number, user, &message);
}

static bool visit(void *context, const struct record *record)
{
    return tower_read(context, record);
}

void tower_start(struct sim_tower *tower)
{
    struct sim *sim = tower->sim;
    char message[256] = "a record is not understood";
    struct tower_options options = {.chain_id = sim->domain.chain_id,
                                    .contract = sim->domain.contract,
                                    .hub = sim->hub.party.address,
                                    .challenge_period_s = sim->chain.challenge_period,
                                    .confirmations = tower->party.node.confirmations,
                                    .register_margin_s = sim->reveal_margin_s,
                                    .key = tower->party.key,
                                    .quotas = {100, 100, 1 << 20, 1 << 24}};
    sim_trace(sim, "tower %u starts", tower->party.index);
    disk_start(&tower->disk);
    tower->outbox = outbox_new(deliver, tower);
    tower->released = (struct sim_released){0};
    tower->core = tower_new(&options, &effects, tower);
    tower_tick(tower->core, sim->now_ms);
    if (!journal_recover(tower->disk.journal, visit, tower->core) ||
        !tower_recovered(tower->core, message, sizeof(message)))
        sim_fail(sim, "tower %u does not start again: %s", tower->party.index, message);
    tower->party.is_up = true;
    tower->party.life++;
    uint64_t cursor;
    if (!tower_cursor(tower->core, &cursor, NULL)) {
        tower_begin(tower->core, chain_tip(sim)->number);
        ensure(tower_cursor(tower->core, &cursor, NULL));
    }
    node_restart(&tower->party.node, cursor);
}

void tower_end(struct sim_tower *tower)
{
    if (!tower->party.is_up)
        return;
    tower_free(tower->core);
    outbox_free(tower->outbox);
    tower->core = NULL;
    tower->outbox = NULL;
    tower->party.is_up = false;
    node_free(&tower->party.node);
}

void tower_crash(struct sim_tower *tower)
{
    struct sim *sim = tower->sim;
    if (!tower->party.is_up)
        return;
    sim_trace(sim, "tower %u dies", tower->party.index);
    tower_end(tower);
    disk_crash(sim, &tower->disk);
    for (size_t i = sim->link_count; i-- > 0;) {
        struct sim_link *link = sim->links[i];
        if (link->kind != LINK_HUB && link->tower == tower->party.index)
            net_server_gone(sim, link);
    }
}
