/* The hub's shell around its engines (hub/hub.c, shard.c, conduct.c, links.c, tower_link.c): the same order of things,
 * one effect at a time. */
#include "hub/engine_state.h"
#include "hub/transfer.h"
#include "tests/sim/sim.h"

#define SMALL_BLOCK_GAS 300000 /* room for one payout, or two funds, in a call */

#define BATCHES_AHEAD 1 /* as in hub/shard.c */

/* ---- mail ---- */

static struct sim_mail *mail_make(enum mail_kind kind, const void *bytes, size_t length)
{
    struct sim_mail *mail = xcalloc(1, sizeof(*mail) + length);
    mail->kind = kind;
    mail->length = length;
    if (length > 0)
        memcpy(mail->bytes, bytes, length);
    return mail;
}

static void mail_post(struct sim_mailbox *box, struct sim_mail *mail)
{
    mail->next = NULL;
    if (box->last == NULL)
        box->first = mail;
    else
        box->last->next = mail;
    box->last = mail;
}

static struct sim_mail *mail_take(struct sim_mailbox *box)
{
    struct sim_mail *mail = box->first;
    if (mail == NULL)
        return NULL;
    box->first = mail->next;
    if (box->first == NULL)
        box->last = NULL;
    return mail;
}

static void mail_drop(struct sim_mailbox *box)
{
    for (struct sim_mail *mail = mail_take(box); mail != NULL; mail = mail_take(box))
        free(mail);
}

static void post_all(struct sim *sim, enum mail_kind kind, bool flag)
{
    for (unsigned i = 0; i < sim->hub.shard_count; i++) {
        struct sim_mail *mail = mail_make(kind, NULL, 0);
        mail->flag = flag;
        mail_post(&sim->hub.shards[i].mail, mail);
    }
}

/* ---- what the hub's own thread does ---- */

void hub_event(struct sim *sim, const struct contract_event *event)
{
    for (unsigned i = 0; i < sim->hub.shard_count; i++) {
        struct sim_mail *mail = mail_make(SIM_MAIL_EVENT, NULL, 0);
        mail->event = *event;
        mail_post(&sim->hub.shards[i].mail, mail);
    }
}

void hub_head(struct sim *sim, const struct ledger_head *head)
{
    for (unsigned i = 0; i < sim->hub.shard_count; i++) {
        struct sim_mail *mail = mail_make(SIM_MAIL_HEAD, NULL, 0);
        mail->head = *head;
        mail_post(&sim->hub.shards[i].mail, mail);
    }
    if (head->number <= head->confirmed_number + sim->hub.settings.terms.confirmations)
        sim->hub.serves = true;
}

void hub_outcome(struct sim *sim, uint32_t shard, uint32_t call, uint64_t reference, enum ledger_error error,
                 const struct ledger_receipt *receipt)
{
    struct sim_mail *mail = mail_make(SIM_MAIL_CALL_DONE, NULL, 0);
    mail->call = call;
    mail->reference = reference;
    mail->error = error;
    mail->flag = receipt != NULL;
    if (receipt != NULL)
        mail->receipt = *receipt;
    mail_post(&sim->hub.shards[shard].mail, mail);
}

static void give_turn(struct sim *sim)
{
    struct sim_hub *hub = &sim->hub;
    if (hub->turn_count > 0)
        mail_post(&hub->shards[hub->turns[0]].mail, mail_make(SIM_MAIL_TURN, NULL, 0));
}

static void turn_wanted(struct sim *sim, uint32_t shard, bool wanted)
{
    struct sim_hub *hub = &sim->hub;
    if (wanted) {
        ensure(hub->turn_count < hub->shard_count);
        hub->turns[hub->turn_count++] = shard;
        if (hub->turn_count == 1)
            give_turn(sim);
        return;
    }
    ensure(hub->turn_count > 0 && hub->turns[0] == shard);
    memmove(hub->turns, hub->turns + 1, --hub->turn_count * sizeof(hub->turns[0]));
    give_turn(sim);
}

static void pools_of_others(struct sim *sim, unsigned shard)
{
    struct engine_pool sums[ASSETS_MAX];
    size_t count = 0;
    for (unsigned other = 0; other < sim->hub.shard_count; other++) {
        const struct sim_shard *from = &sim->hub.shards[other];
        for (size_t i = 0; i < from->pool_count && other != shard; i++) {
            size_t at = 0;
            while (at < count && !address_equal(&sums[at].asset, &from->pools[i].asset))
                at++;
            if (at == count)
                sums[count++] = (struct engine_pool){.asset = from->pools[i].asset};
            sums[at].units += from->pools[i].units;
        }
    }
    mail_post(&sim->hub.shards[shard].mail, mail_make(SIM_MAIL_POOLS, sums, count * sizeof(sums[0])));
}

static void tell_pools(struct sim_shard *shard)
{
    struct sim *sim = shard->sim;
    if (sim->hub.shard_count == 1)
        return;
    struct engine_pool pools[ASSETS_MAX];
    size_t count = engine_pools(shard->engine, pools);
    bool is_same = count == shard->pool_count;
    for (size_t i = 0; i < count; i++) {
        is_same = is_same && shard->pools[i].units == pools[i].units;
        shard->pools[i] = pools[i];
    }
    shard->pool_count = count;
    for (unsigned other = 0; other < sim->hub.shard_count && !is_same; other++)
        if (other != shard->index)
            pools_of_others(sim, other);
    if (shard->turn_given_back)
        turn_wanted(sim, shard->index, false);
    shard->turn_given_back = false;
}

/* ---- the engine's effects ---- */

static uint64_t effect_journal(void *context, const uint8_t *batch, size_t length)
{
    struct sim_shard *shard = context;
    return journal_append(shard->disk.journal, batch, length);
}

static bool effect_find(void *context, uint8_t type, const void *rest, size_t rest_length,
                        journal_visit *shown, void *shown_context)
{
    struct sim_shard *shard = context;
    return journal_find(shard->disk.journal, type, rest, rest_length, shown, shown_context);
}

static void effect_have(void *context, uint8_t type, const uint8_t *rests, size_t rest_length, size_t count,
                        bool *out)
{
    struct sim_shard *shard = context;
    journal_have(shard->disk.journal, type, rests, rest_length, count, out);
}

static void effect_send(void *context, uint64_t sequence, uint64_t peer, const uint8_t *frame, size_t length)
{
    struct sim_shard *shard = context;
    outbox_put_frame(shard->outbox, sequence, peer, frame, length);
}

static void effect_call(void *context, uint64_t sequence, enum engine_call call, uint64_t reference,
                        const uint8_t *data, size_t length)
{
    struct sim_shard *shard = context;
    struct sim_mail *mail = mail_make(SIM_MAIL_CALL_DONE, data, length);
    mail->is_call = true;
    mail->sequence = sequence;
    mail->call = call;
    mail->reference = reference;
    mail_post(&shard->waiting, mail);
}

static void effect_disconnect(void *context, uint64_t peer, enum code code)
{
    struct sim_shard *shard = context;
    struct sim_link *link = net_find(shard->sim, peer);
    if (link == NULL || !link->server_up)
        return;
    struct message message = {.type = MESSAGE_ERROR};
    struct buffer frame = {0};
    message.error.code = code;
    message.error.fatal = true;
    message_encode(&frame, &message);
    net_put(shard->sim, link, false, frame.data, frame.length);
    buffer_free(&frame);
    net_server_gone(shard->sim, link);
}

static void effect_parcel(void *context, uint64_t sequence, uint32_t to, uint64_t number,
                          const uint8_t *bytes, size_t length)
{
    struct sim_shard *shard = context;
    struct sim_mail *mail = mail_make(bytes == NULL ? SIM_MAIL_WORD : SIM_MAIL_PARCEL, bytes, length);
    mail->sequence = sequence;
    mail->shard = to;
    mail->number = number;
    mail_post(&shard->waiting, mail);
}

static void effect_secret(void *context, uint32_t to, const struct leg *payer, const struct witness *witness)
{
    struct sim_shard *shard = context;
    struct sim_mail *mail = mail_make(SIM_MAIL_SECRET, NULL, 0);
    mail->payer = *payer;
    mail->witness = *witness;
    mail_post(&shard->sim->hub.shards[to].mail, mail);
}

static void effect_settle_turn(void *context, bool wanted)
{
    struct sim_shard *shard = context;
    if (wanted)
        turn_wanted(shard->sim, shard->index, true);
    else
        shard->turn_given_back = true;
}

static void deliver(void *context, uint64_t peer, const uint8_t *frame, size_t length)
{
    struct sim_shard *shard = context;
    struct sim *sim = shard->sim;
    if (peer != ENGINE_PEER_TOWER) {
        struct sim_link *link = net_find(sim, peer);
        if (link != NULL && link->server_up)
            net_put(sim, link, false, frame, length);
        return;
    }
    for (size_t i = 0; i < sim->link_count; i++)
        if (sim->links[i]->kind == LINK_HUB_TOWER && sim->links[i]->client_up && sim->links[i]->is_welcomed)
            net_put(sim, sim->links[i], true, frame, length);
}

static void effect_pass(void *context, uint64_t peer, const uint8_t *frame, size_t length)
{
    struct sim_shard *shard = context;
    sim_did(shard->sim, DEED_AHEAD);
    deliver(shard, peer, frame, length);
}

/* ---- a shard's loop ---- */

static void take_pools(struct sim_shard *shard, const struct sim_mail *mail)
{
    struct engine_pool pool;
    for (size_t at = 0; at < mail->length; at += sizeof(pool)) {
        memcpy(&pool, mail->bytes + at, sizeof(pool));
        engine_pool_of_others(shard->engine, &pool.asset, pool.units);
    }
}

static void take_tower_frame(struct sim_shard *shard, const struct sim_mail *mail)
{
    struct message message;
    const char *why;
    ensure(message_decode(shard->sim->decoder, mail->bytes, mail->length, &message, &why) == CODE_OK);
    if (message.type == MESSAGE_ERROR)
        message.error.text = (struct text){"", 0};
    engine_message(shard->engine, ENGINE_PEER_TOWER, &message);
}

static void take_close(struct sim_shard *shard, const struct sim_mail *mail)
{
    struct hash id;
    memcpy(&id, mail->bytes, sizeof(id));
    enum code code = engine_close(shard->engine, &id);
    sim_trace(shard->sim, "the operator closes a channel: %s", code_name(code));
    if (code == CODE_OK)
        sim_did(shard->sim, DEED_OPERATOR_CLOSE);
}

static void take_mail(struct sim_shard *shard, const struct sim_mail *mail)
{
    struct sim *sim = shard->sim;
    struct engine *engine = shard->engine;
    switch (mail->kind) {
    case SIM_MAIL_EVENT:
        if (!mail->event.confirmed || mail->event.block >= engine_cursor(engine))
            engine_event(engine, &mail->event);
        return;
    case SIM_MAIL_HEAD:
        /* Where blocks are small, a round is cut into several calls. */
        engine_block_gas(engine, sim->options.seed % 2 == 0 ? SMALL_BLOCK_GAS : 30000000);
        engine_head(engine, &mail->head);
        tell_pools(shard);
        return;
    case SIM_MAIL_CALL_DONE:
        engine_call_done(engine, (enum engine_call)mail->call, mail->reference, mail->error,
                         mail->flag ? &mail->receipt : NULL);
        tell_pools(shard);
        return;
    case SIM_MAIL_TOWER:
        engine_tower(engine, 0, mail->flag);
        return;
    case SIM_MAIL_TOWER_FRAME:
        take_tower_frame(shard, mail);
        return;
    case SIM_MAIL_POOLS:
        take_pools(shard, mail);
        return;
    case SIM_MAIL_SETTLE:
        engine_settle(engine);
        return;
    case SIM_MAIL_CLOSE:
        take_close(shard, mail);
        return;
    case SIM_MAIL_TURN:
        engine_settle_turn(engine);
        tell_pools(shard);
        return;
    case SIM_MAIL_PARCEL:
        sim_did(sim, mail->number > shard->parcels[mail->shard] ? DEED_PARCEL : DEED_PARCEL_AGAIN);
        if (mail->number > shard->parcels[mail->shard])
            shard->parcels[mail->shard] = mail->number;
        if (!engine_parcel(engine, mail->shard, mail->number, mail->bytes, mail->length))
            sim_fail(sim, "shard %u cannot read parcel %llu of shard %u", shard->index,
                     (unsigned long long)mail->number, mail->shard);
        return;
    case SIM_MAIL_WORD:
        engine_parcel_acknowledged(engine, mail->shard, mail->number);
        return;
    case SIM_MAIL_SECRET:
        engine_secret(engine, &mail->payer, &mail->witness);
        return;
    }
}

static void release_mail(struct sim_shard *shard, uint64_t durable)
{
    struct sim *sim = shard->sim;
    while (shard->waiting.first != NULL && shard->waiting.first->sequence <= durable) {
        struct sim_mail *mail = mail_take(&shard->waiting);
        if (mail->is_call) {
            node_submit(&sim->hub.party.node, mail->bytes, mail->length, shard->index, mail->call,
                        mail->reference);
            free(mail);
            continue;
        }
        uint32_t to = mail->shard;
        mail->shard = shard->index;
        mail_post(&sim->hub.shards[to].mail, mail);
    }
}

bool shard_can(const struct sim_shard *shard, enum shard_effect effect)
{
    if (!shard->sim->hub.party.is_up)
        return false;
    uint64_t durable = journal_durable(shard->disk.journal);
    switch (effect) {
    case SHARD_MAIL:
        return shard->mail.first != NULL;
    case SHARD_TURN:
        return shard->turn_pending && memory_journal_appended(shard->disk.journal) - durable < BATCHES_AHEAD;
    case SHARD_RELEASE:
        return outbox_may_leave(&shard->disk, shard->outbox, &shard->released) ||
               (shard->waiting.first != NULL && shard->waiting.first->sequence <= durable);
    case SHARD_DISK:
        return disk_has_work(shard->sim, &shard->disk);
    case SHARD_EFFECT_COUNT:
        break;
    }
    return false;
}

void shard_do(struct sim_shard *shard, enum shard_effect effect)
{
    struct sim *sim = shard->sim;
    switch (effect) {
    case SHARD_MAIL: {
        struct sim_mail *mail = mail_take(&shard->mail);
        sim_trace(sim, "shard %u takes mail %d", shard->index, mail->kind);
        take_mail(shard, mail);
        shard->turn_pending = true;
        free(mail);
        return;
    }
    case SHARD_TURN:
        shard->turn_pending = false;
        sim_trace(sim, "shard %u ends a turn: %llu", shard->index,
                  (unsigned long long)engine_flush(shard->engine));
        return;
    case SHARD_RELEASE:
        outbox_leave(&shard->disk, shard->outbox, &shard->released);
        engine_durable(shard->engine, journal_durable(shard->disk.journal));
        release_mail(shard, journal_durable(shard->disk.journal));
        return;
    case SHARD_DISK:
        if (disk_work(sim, &shard->disk))
            return;
        sim_trace(sim, "shard %u: an fsync failed", shard->index);
        hub_crash(sim);
        return;
    case SHARD_EFFECT_COUNT:
        return;
    }
}

void hub_settle(struct sim *sim, unsigned shard)
{
    mail_post(&sim->hub.shards[shard].mail, mail_make(SIM_MAIL_SETTLE, NULL, 0));
}

void hub_close_channel(struct sim *sim, unsigned client, const struct hash *channel)
{
    mail_post(&hub_shard_of(sim, client)->mail,
              mail_make(SIM_MAIL_CLOSE, channel->bytes, sizeof(channel->bytes)));
}

const struct stream *hub_stream_of_client(struct sim *sim, unsigned client, const struct hash *channel)
{
    const struct hub_channel *known = engine_channel(hub_shard_of(sim, client)->engine, channel);
    return known == NULL ? NULL : &known->channel->streams[SIDE_CLIENT];
}

void hub_tick(struct sim *sim)
{
    for (unsigned i = 0; i < sim->hub.shard_count && sim->hub.party.is_up; i++) {
        engine_time(sim->hub.shards[i].engine, sim->now_ms);
        engine_acks(sim->hub.shards[i].engine);
        sim->hub.shards[i].turn_pending = true;
    }
}

/* ---- connections ---- */

struct sim_shard *hub_shard_of(struct sim *sim, unsigned client)
{
    return &sim->hub.shards[shard_of_client(&sim->wallets[client].party.address, sim->hub.shard_count)];
}

void hub_connected(struct sim *sim, struct sim_link *link)
{
    struct sim_shard *shard = hub_shard_of(sim, link->client);
    engine_connected(shard->engine, link->number, &sim->wallets[link->client].party.address);
    shard->turn_pending = true;
}

static void from_tower(struct sim *sim, struct sim_link *link, const struct message *message,
                       const uint8_t *frame, size_t length)
{
    if (message->type == MESSAGE_WELCOME) {
        link->is_welcomed = true;
        post_all(sim, SIM_MAIL_TOWER, true);
    } else if (message->type == MESSAGE_ERROR && message->error.fatal) {
        hub_link_lost(sim, link);
        net_client_gone(sim, link);
    } else if (message->type == MESSAGE_RECEIPT || message->type == MESSAGE_ERROR) {
        if (message->type == MESSAGE_RECEIPT)
            sim_did(sim, DEED_RECEIPT);
        for (unsigned i = 0; i < sim->hub.shard_count; i++)
            mail_post(&sim->hub.shards[i].mail, mail_make(SIM_MAIL_TOWER_FRAME, frame + 4, length - 4));
    }
}

void hub_take_frame(struct sim *sim, struct sim_link *link, const uint8_t *frame, size_t length)
{
    struct message message;
    const char *why;
    ensure(message_decode(sim->decoder, frame + 4, length - 4, &message, &why) == CODE_OK);
    if (link->kind == LINK_HUB_TOWER) {
        from_tower(sim, link, &message, frame, length);
        return;
    }
    struct sim_shard *shard = hub_shard_of(sim, link->client);
    engine_message(shard->engine, link->number, &message);
    shard->turn_pending = true;
}

void hub_link_lost(struct sim *sim, struct sim_link *link)
{
    if (link->kind == LINK_HUB_TOWER) {
        if (link->is_welcomed)
            post_all(sim, SIM_MAIL_TOWER, false);
        sim->hub.tower_linked = false;
        return;
    }
    struct sim_shard *shard = hub_shard_of(sim, link->client);
    engine_disconnected(shard->engine, link->number);
    shard->turn_pending = true;
}

/* ---- life ---- */

static bool visit(void *context, const struct record *record)
{
    return engine_read(context, record);
}

static void shard_start(struct sim *sim, struct sim_shard *shard)
{
    char message[512] = "a record is not understood";
    const struct engine_effects effects = {.journal = effect_journal,
                                           .find = effect_find,
                                           .have = effect_have,
                                           .send = effect_send,
                                           .pass = effect_pass,
                                           .secret = effect_secret,
                                           .call = effect_call,
                                           .disconnect = effect_disconnect,
                                           .parcel = effect_parcel,
                                           .settle_turn = effect_settle_turn,
                                           .context = shard};
    struct engine_settings settings = sim->hub.settings;
    settings.shards = sim->hub.shard_count;
    settings.shard = shard->index;
    settings.acks_wait = true;
    disk_start(&shard->disk);
    shard->outbox = outbox_new(deliver, shard);
    shard->released = (struct sim_released){0};
    shard->engine = engine_new(&settings, &effects);
    if (!journal_recover(shard->disk.journal, visit, shard->engine) ||
        !engine_recovered(shard->engine, message, sizeof(message)))
        sim_fail(sim, "shard %u does not start again: %s", shard->index, message);
    engine_time(shard->engine, sim->now_ms);
    shard->turn_pending = true;
    shard->turn_given_back = false;
    shard->pool_count = 0;
}

void hub_start(struct sim *sim)
{
    struct sim_hub *hub = &sim->hub;
    uint64_t cursor = UINT64_MAX;
    hub->party.is_up = true;
    hub->party.life++;
    hub->turn_count = 0;
    hub->serves = hub->tower_linked = false;
    sim_trace(sim, "the hub starts");
    if (sim->hub_has_tower)
        hub->settings.towers[0].is_set = vault_is_tower(sim->chain.vault, &hub->settings.towers[0].address);
    for (unsigned i = 0; i < hub->shard_count; i++) {
        hub->shards[i].sim = sim;
        hub->shards[i].index = i;
        shard_start(sim, &hub->shards[i]);
        if (engine_cursor(hub->shards[i].engine) < cursor)
            cursor = engine_cursor(hub->shards[i].engine);
    }
    node_restart(&hub->party.node, cursor);
}

void hub_end(struct sim *sim)
{
    struct sim_hub *hub = &sim->hub;
    for (unsigned i = 0; i < hub->shard_count; i++) {
        struct sim_shard *shard = &hub->shards[i];
        engine_free(shard->engine);
        outbox_free(shard->outbox);
        shard->engine = NULL;
        shard->outbox = NULL;
        mail_drop(&shard->mail);
        mail_drop(&shard->waiting);
    }
    hub->party.is_up = false;
    node_free(&hub->party.node);
}

void hub_crash(struct sim *sim)
{
    if (!sim->hub.party.is_up)
        return;
    sim_trace(sim, "the hub dies");
    hub_end(sim);
    for (unsigned i = 0; i < sim->hub.shard_count; i++)
        disk_crash(sim, &sim->hub.shards[i].disk);
    for (size_t i = sim->link_count; i-- > 0;) {
        struct sim_link *link = sim->links[i];
        if (link->kind == LINK_HUB)
            net_server_gone(sim, link);
        else if (link->kind == LINK_HUB_TOWER)
            net_client_gone(sim, link);
    }
}
