/* The tower's desk: who may leave appointments, within which quotas, and what is answered.
 *
 *     APPOINT ─verified─▶ held already, hub's standing known ──────────────────▶ kept: journal, RECEIPT
 *                    └──▶ candidate: channel(key) and isTower asked ──answers──▶ kept, or ERROR
 */
#include "watchtower/tower_state.h"

#include <stdlib.h>

#include "base/ensure.h"
#include "base/planted.h"
#include "crypto/key.h"

#define CANDIDATE_BYTES_MAX (64ULL * 1024 * 1024)

/* ---- tables ---- */

struct appointment *desk_find(const struct tower *tower, const struct hash *channel, enum side side)
{
    struct appointment_id id = appointment_id_make(channel, side);
    struct appointment *found;
    HASH_FIND(hh, tower->appointments, id.bytes, sizeof id.bytes, found);
    return found;
}

bool desk_serves(const struct tower *tower, const struct hash *channel)
{
    return desk_find(tower, channel, SIDE_CLIENT) != NULL || desk_find(tower, channel, SIDE_HUB) != NULL;
}

static struct user *find_user(const struct tower *tower, const struct address *address)
{
    struct user *user;
    HASH_FIND(hh, tower->users, address->bytes, sizeof address->bytes, user);
    return user;
}

void desk_insert(struct tower *tower, struct appointment *appointment)
{
    ensure(desk_find(tower, &appointment->channel, appointment->side) == NULL);
    HASH_ADD(hh, tower->appointments, id.bytes, sizeof appointment->id.bytes, appointment);
    struct user *user = find_user(tower, &appointment->user);
    if (user == NULL) {
        user = xcalloc(1, sizeof *user);
        user->address = appointment->user;
        HASH_ADD(hh, tower->users, address.bytes, sizeof user->address.bytes, user);
    }
    user->channels++;
    user->bytes += appointment->bytes;
    tower->figures.bytes += appointment->bytes;
}

void desk_remove(struct tower *tower, struct appointment *appointment)
{
    struct user *user = find_user(tower, &appointment->user);
    ensure(user != NULL && user->channels > 0 && user->bytes >= appointment->bytes);
    user->channels--;
    user->bytes -= appointment->bytes;
    tower->figures.bytes -= appointment->bytes;
    if (user->channels == 0) {
        HASH_DEL(tower->users, user);
        free(user);
    }
    HASH_DEL(tower->appointments, appointment);
    appointment_free(appointment);
}

/* What one appointment costs has changed from `before` bytes. */
static void recount(struct tower *tower, const struct appointment *appointment, size_t before)
{
    struct user *user = find_user(tower, &appointment->user);
    ensure(user != NULL && user->bytes >= before);
    user->bytes += appointment->bytes - before;
    tower->figures.bytes += appointment->bytes - before;
}

static void candidate_free(struct tower *tower, struct candidate *candidate)
{
    HASH_DEL(tower->candidates, candidate);
    tower->candidate_bytes -= candidate->bytes;
    appointment_free(candidate->fresh);
    free(candidate);
}

void desk_free(struct tower *tower)
{
    struct candidate *candidate, *next_candidate;
    HASH_ITER(hh, tower->candidates, candidate, next_candidate)
    {
        candidate_free(tower, candidate);
    }
    struct appointment *appointment, *next;
    HASH_ITER(hh, tower->appointments, appointment, next)
    {
        desk_remove(tower, appointment);
    }
    ensure(tower->users == NULL && tower->figures.bytes == 0);
}

bool tower_busy(const struct tower *tower)
{
    return HASH_COUNT(tower->candidates) >= CANDIDATES_MAX / 2 ||
           tower->candidate_bytes >= CANDIDATE_BYTES_MAX / 2;
}

/* ---- answers to users ---- */

static void send_error(struct tower *tower, uint64_t peer, enum code code, const char *why,
                       enum message_type type, const struct hash *channel, uint64_t nonce)
{
    struct message message = {.type = MESSAGE_ERROR};
    message.error.code = code;
    message.error.text = (struct text){why, strlen(why)};
    message.error.reference = (struct error_reference){.present = true,
                                                       .type = type,
                                                       .has_channel = true,
                                                       .channel = *channel,
                                                       .has_nonce = type == MESSAGE_APPOINT,
                                                       .nonce = nonce};
    tower->effects.send(tower->context, tower->appended, peer, &message);
    tower->figures.refused++;
}

static void send_receipt(struct tower *tower, uint64_t peer, const struct appointment *held)
{
    struct message message = {.type = MESSAGE_RECEIPT};
    message.receipt.channel = held->channel;
    message.receipt.nonce = held->proof.nonce;
    message.receipt.proof_digest = held->digest;
    struct hash digest = digest_receipt(&tower->domain, &held->channel, held->proof.nonce, &held->digest);
    message.receipt.signature = key_sign(&tower->options.key, &digest);
    tower->effects.send(tower->context, PLANTED(RECEIPT_EARLY) ? 0 : tower->appended, peer, &message);
    tower->figures.receipts++;
}

/* ---- quotas ---- */

/* NULL if `bytes` more (and a channel more, if new) are within the quotas, else which one would break. */
static const char *quota_broken(const struct tower *tower, const struct address *address, bool new_channel,
                                size_t before, size_t after)
{
    const struct tower_quotas *quotas = &tower->options.quotas;
    const struct user *user = find_user(tower, address);
    uint64_t growth = after > before ? after - before : 0;
    if (growth == 0 && !new_channel)
        return NULL;
    if (tower->figures.bytes + growth > quotas->bytes)
        return "the tower is full";
    if (user == NULL && HASH_COUNT(tower->users) >= quotas->users)
        return "the tower takes no more users";
    if (address_equal(address, &tower->options.hub))
        return NULL;
    if (new_channel && user != NULL && user->channels >= quotas->channels_per_user)
        return "the user has as many channels here as the tower allows";
    if ((user == NULL ? 0 : user->bytes) + growth > quotas->bytes_per_user)
        return "the user keeps as many bytes here as the tower allows";
    return NULL;
}

/* ---- keeping ---- */

static void write_appointment(struct tower *tower, const struct appointment *appointment)
{
    struct buffer batch = {0};
    disk_write_appointment(&batch, appointment);
    tower_append(tower, &batch);
    buffer_free(&batch);
}

static void keep_first(struct tower *tower, uint64_t peer, struct appointment *fresh)
{
    const char *broken = quota_broken(tower, &fresh->user, true, 0, fresh->bytes);
    if (broken != NULL) {
        send_error(tower, peer, CODE_LIMIT, broken, MESSAGE_APPOINT, &fresh->channel, fresh->proof.nonce);
        appointment_free(fresh);
        return;
    }
    desk_insert(tower, fresh);
    write_appointment(tower, fresh);
    send_receipt(tower, peer, fresh);
}

static void keep_newer(struct tower *tower, uint64_t peer, struct appointment *held,
                       struct appointment *fresh)
{
    size_t before = held->bytes;
    const char *broken = quota_broken(tower, &fresh->user, false, before, fresh->bytes);
    if (broken != NULL) {
        send_error(tower, peer, CODE_LIMIT, broken, MESSAGE_APPOINT, &fresh->channel, fresh->proof.nonce);
        appointment_free(fresh);
        return;
    }
    appointment_replace(held, fresh, tower->options.register_margin_s);
    recount(tower, held, before);
    write_appointment(tower, held);
    send_receipt(tower, peer, held);
}

/* Takes a verified appointment, whose channel and standing are in order, and answers it. Frees or keeps
 * `fresh`. */
static void keep(struct tower *tower, uint64_t peer, struct appointment *fresh, bool closing)
{
    struct hash channel = fresh->channel;
    struct appointment *held = desk_find(tower, &channel, fresh->side);
    if (held == NULL) {
        keep_first(tower, peer, fresh);
    } else if (fresh->proof.nonce > held->proof.nonce) {
        keep_newer(tower, peer, held, fresh);
    } else if (fresh->proof.nonce == held->proof.nonce && !hash_equal(&fresh->digest, &held->digest)) {
        send_error(tower, peer, CODE_NONCE, "another proof with this nonce is held", MESSAGE_APPOINT,
                   &channel, fresh->proof.nonce);
        appointment_free(fresh);
    } else {
        if (appointment_merge(held, fresh, tower->options.register_margin_s))
            write_appointment(tower, held);
        send_receipt(tower, peer, held);
        appointment_free(fresh);
    }
    struct watch *watch = watch_find(tower, &channel);
    if (closing && desk_serves(tower, &channel))
        watch_open(tower, &channel, true);
    else if (watch != NULL)
        watch_look_soon(tower, watch);
}

/* ---- candidates ---- */

static void candidate_ask(struct tower *tower, struct candidate *candidate, enum question_kind kind)
{
    struct contract_call view = {.function = CONTRACT_CHANNEL, .key = candidate->fresh->key};
    if (kind == QUESTION_CANDIDATE_TOWER)
        view = (struct contract_call){.function = CONTRACT_IS_TOWER, .address = tower->self};
    candidate->waiting++;
    tower_ask(tower, &(struct question){.kind = kind, .candidate = candidate->id}, &view);
}

static void candidate_new(struct tower *tower, uint64_t peer, struct appointment *fresh, bool ask_channel,
                          bool ask_tower)
{
    struct candidate *candidate = xcalloc(1, sizeof *candidate);
    candidate->id = tower->next_id++;
    candidate->peer = peer;
    candidate->fresh = fresh;
    candidate->bytes = fresh->bytes;
    HASH_ADD(hh, tower->candidates, id, sizeof candidate->id, candidate);
    tower->candidate_bytes += candidate->bytes;
    if (ask_channel)
        candidate_ask(tower, candidate, QUESTION_CANDIDATE);
    if (ask_tower)
        candidate_ask(tower, candidate, QUESTION_CANDIDATE_TOWER);
}

static void candidate_refuse(struct candidate *candidate, enum code code, const char *why)
{
    candidate->code = code;
    candidate->why = why;
}

static void candidate_channel(struct candidate *candidate, const uint8_t *data, size_t length)
{
    struct channel_state state;
    if (!contract_decode_channel(data, length, &state))
        candidate->failed = true;
    else if (state.status == CHANNEL_NONE)
        candidate_refuse(candidate, CODE_CHANNEL, "the ledger knows no such channel");
    else if (state.status == CHANNEL_CLOSED)
        candidate_refuse(candidate, CODE_STATUS, "the channel is closed");
    else
        candidate->closing = state.status == CHANNEL_CLOSING;
}

void desk_answer(struct tower *tower, const struct question *question, bool ok, const uint8_t *data,
                 size_t length)
{
    struct candidate *candidate;
    HASH_FIND(hh, tower->candidates, &question->candidate, sizeof question->candidate, candidate);
    ensure(candidate != NULL && candidate->waiting > 0);
    candidate->waiting--;
    if (!ok)
        candidate->failed = true;
    else if (question->kind == QUESTION_CANDIDATE)
        candidate_channel(candidate, data, length);
    else if (!tower->is_tower)
        candidate_refuse(candidate, CODE_SIGNATURE,
                         "no Choice, and the hub's setTower does not allow this tower");
    if (candidate->waiting > 0)
        return;
    if (candidate->failed && candidate->code == CODE_OK)
        candidate_refuse(candidate, CODE_LIMIT, "the tower cannot ask the ledger now; try again later");
    struct appointment *fresh = candidate->fresh;
    uint64_t peer = candidate->peer;
    if (candidate->code != CODE_OK) {
        send_error(tower, peer, candidate->code, candidate->why, MESSAGE_APPOINT, &fresh->channel,
                   fresh->proof.nonce);
        candidate_free(tower, candidate);
        return;
    }
    bool closing = candidate->closing;
    candidate->fresh = NULL;
    candidate_free(tower, candidate);
    keep(tower, peer, fresh, closing);
}

/* ---- messages ---- */

void desk_appoint(struct tower *tower, uint64_t peer, const struct address *user,
                  const struct message *message)
{
    struct appointment *fresh;
    const char *why = "";
    tower->figures.received++;
    enum code code = appointment_make(&tower->rules, user, message, &fresh, &why);
    uint64_t nonce = message->appoint.proof.present ? message->appoint.proof.proof.nonce : 0;
    if (code != CODE_OK) {
        struct hash channel = channel_id(&message->appoint.key);
        send_error(tower, peer, code, why, MESSAGE_APPOINT, &channel, nonce);
        return;
    }
    struct appointment *held = desk_find(tower, &fresh->channel, fresh->side);
    bool ask_tower = !fresh->has_choice && !tower->is_tower;
    if (held != NULL && !ask_tower) {
        keep(tower, peer, fresh, false);
        return;
    }
    const char *broken = NULL;
    if (held == NULL)
        broken = quota_broken(tower, user, true, 0, fresh->bytes);
    if (broken == NULL && (HASH_COUNT(tower->candidates) >= CANDIDATES_MAX ||
                           tower->candidate_bytes + fresh->bytes > CANDIDATE_BYTES_MAX))
        broken = "too many appointments wait for the ledger; try again later";
    if (broken != NULL) {
        send_error(tower, peer, CODE_LIMIT, broken, MESSAGE_APPOINT, &fresh->channel, nonce);
        appointment_free(fresh);
        return;
    }
    candidate_new(tower, peer, fresh, held == NULL, ask_tower);
}

void desk_fetch(struct tower *tower, uint64_t peer, const struct address *user, const struct message *message)
{
    const struct hash *channel = &message->fetch.channel;
    for (unsigned side = SIDE_CLIENT; side <= SIDE_HUB; side++) {
        const struct appointment *held = desk_find(tower, channel, (enum side)side);
        if (held == NULL || !address_equal(&held->user, user))
            continue;
        struct shown_lock *locks;
        struct witness *witnesses;
        struct message kept = appointment_message(held, &locks, &witnesses);
        tower->effects.send(tower->context, tower->appended, peer, &kept);
        free(locks);
        free(witnesses);
        tower->figures.fetched++;
        return;
    }
    send_error(tower, peer, CODE_CHANNEL, "nothing is kept here for this user and channel", MESSAGE_FETCH,
               channel, 0);
}
