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

static const char TOO_LATE[] = "the channel is being closed, and the time to challenge is nearly over";

/* ---- tables ---- */

static uint64_t hash_of(const struct tower *tower, const struct hash *channel, enum side side)
{
    return index_hash(tower->seed + (uint64_t)side, channel->bytes, sizeof channel->bytes);
}

struct appointment *desk_find(const struct tower *tower, const struct hash *channel, enum side side)
{
    struct appointment *found;
    for (struct index_walk walk = index_walk(&tower->appointments, hash_of(tower, channel, side));
         (found = index_next(&tower->appointments, &walk)) != NULL;)
        if (found->side == side && hash_equal(&found->channel, channel))
            return found;
    return NULL;
}

bool desk_serves(const struct tower *tower, const struct hash *channel)
{
    return desk_find(tower, channel, SIDE_CLIENT) != NULL || desk_find(tower, channel, SIDE_HUB) != NULL;
}

struct appointment *desk_each(const struct tower *tower, size_t *at)
{
    return index_each(&tower->appointments, at);
}

void desk_scheduled(struct tower *tower, const struct appointment *appointment)
{
    if (appointment->register_from < tower->next_register)
        tower->next_register = appointment->register_from;
}

static struct user *find_user(const struct tower *tower, const struct address *address)
{
    struct user *user;
    HASH_FIND(hh, tower->users, address->bytes, sizeof address->bytes, user);
    return user;
}

static struct user *user_of(const struct tower *tower, const struct appointment *appointment)
{
    return find_user(tower, appointment_user(appointment, &tower->options.hub));
}

static void index_insert(struct tower *tower, struct appointment *appointment)
{
    index_add(&tower->appointments, hash_of(tower, &appointment->channel, appointment->side), appointment);
    desk_scheduled(tower, appointment);
}

static void index_drop(struct tower *tower, const struct appointment *appointment)
{
    index_remove(&tower->appointments, hash_of(tower, &appointment->channel, appointment->side), appointment);
}

void desk_insert(struct tower *tower, struct appointment *appointment)
{
    ensure(desk_find(tower, &appointment->channel, appointment->side) == NULL);
    index_insert(tower, appointment);
    struct user *user = user_of(tower, appointment);
    if (user == NULL) {
        user = xcalloc(1, sizeof *user);
        user->address = *appointment_user(appointment, &tower->options.hub);
        HASH_ADD(hh, tower->users, address.bytes, sizeof user->address.bytes, user);
    }
    user->channels++;
    user->bytes += appointment_bytes(appointment);
    tower->figures.bytes += appointment_bytes(appointment);
}

void desk_remove(struct tower *tower, struct appointment *appointment)
{
    struct user *user = user_of(tower, appointment);
    size_t bytes = appointment_bytes(appointment);
    ensure(user != NULL && user->channels > 0 && user->bytes >= bytes);
    user->channels--;
    user->bytes -= bytes;
    tower->figures.bytes -= bytes;
    if (user->channels == 0) {
        HASH_DEL(tower->users, user);
        free(user);
    }
    index_drop(tower, appointment);
    appointment_free(appointment);
}

/* What one appointment costs has changed from `before` bytes. */
static void recount(struct tower *tower, const struct appointment *appointment, size_t before)
{
    struct user *user = user_of(tower, appointment);
    ensure(user != NULL && user->bytes >= before);
    user->bytes += appointment_bytes(appointment) - before;
    tower->figures.bytes += appointment_bytes(appointment) - before;
}

static void candidate_free(struct tower *tower, struct candidate *candidate)
{
    HASH_DEL(tower->candidates, candidate);
    tower->candidate_bytes -= candidate->bytes;
    appointment_free(candidate->verdict.fresh);
    free(candidate);
}

void desk_free(struct tower *tower)
{
    struct candidate *candidate, *next_candidate;
    HASH_ITER(hh, tower->candidates, candidate, next_candidate)
    {
        candidate_free(tower, candidate);
    }
    struct user *user, *next_user;
    HASH_ITER(hh, tower->users, user, next_user)
    {
        HASH_DEL(tower->users, user);
        free(user);
    }
    size_t at = 0;
    struct appointment *each;
    while ((each = desk_each(tower, &at)) != NULL)
        appointment_free(each);
    index_free(&tower->appointments);
}

bool tower_busy(const struct tower *tower)
{
    return HASH_COUNT(tower->candidates) >= CANDIDATES_BUSY ||
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

/* Answers an APPOINT that is not taken, and frees what came with it. */
static void turn_down(struct tower *tower, uint64_t peer, struct appointment_verdict *verdict, enum code code,
                      const char *why)
{
    send_error(tower, peer, code, why, MESSAGE_APPOINT, &verdict->channel, verdict->nonce);
    appointment_free(verdict->fresh);
    verdict->fresh = NULL;
}

/* For the proof that is held: the verdict's, or a newer one. */
static void send_receipt(struct tower *tower, uint64_t peer, const struct appointment *held,
                         const struct appointment_verdict *verdict)
{
    struct message message = {.type = MESSAGE_RECEIPT};
    message.receipt.channel = held->channel;
    message.receipt.nonce = held->proof.nonce;
    if (held->proof.nonce == verdict->nonce) {
        message.receipt.proof_digest = verdict->digest;
        message.receipt.signature = verdict->receipt;
    } else {
        struct hash proof = digest_balance_proof(&tower->domain, &held->channel, &held->proof);
        struct hash digest = digest_receipt(&tower->domain, &held->channel, held->proof.nonce, &proof);
        message.receipt.proof_digest = proof;
        message.receipt.signature = key_sign(&tower->options.key, &digest);
    }
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
    bool is_hub = address_equal(address, &tower->options.hub);
    /* The hub has no quota of its own: with channels to itself it could fill the tower, and shut out those whom it cheats
     * then. A quarter is not its to fill. */
    uint64_t room = is_hub ? quotas->bytes - quotas->bytes / 4 : quotas->bytes;
    if (growth == 0 && !new_channel)
        return NULL;
    if (tower->figures.bytes + growth > room)
        return "the tower is full";
    if (user == NULL && HASH_COUNT(tower->users) >= quotas->users)
        return "the tower takes no more users";
    if (is_hub)
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
    disk_write_appointment(&batch, appointment, &tower->options.hub);
    tower_append(tower, &batch);
    buffer_free(&batch);
}

static void keep_first(struct tower *tower, uint64_t peer, struct appointment_verdict *verdict)
{
    struct appointment *fresh = verdict->fresh;
    const char *broken =
        quota_broken(tower, appointment_user(fresh, &tower->options.hub), true, 0, appointment_bytes(fresh));
    if (broken != NULL) {
        turn_down(tower, peer, verdict, CODE_LIMIT, broken);
        return;
    }
    desk_insert(tower, fresh);
    write_appointment(tower, fresh);
    send_receipt(tower, peer, fresh, verdict);
}

static void keep_newer(struct tower *tower, uint64_t peer, struct appointment *held,
                       struct appointment_verdict *verdict)
{
    struct appointment *fresh = verdict->fresh;
    size_t before = appointment_bytes(held);
    appointment_inherit(fresh, held, tower->options.register_margin_s);
    const char *broken = quota_broken(tower, appointment_user(fresh, &tower->options.hub), false, before,
                                      appointment_bytes(fresh));
    if (broken != NULL) {
        turn_down(tower, peer, verdict, CODE_LIMIT, broken);
        return;
    }
    index_drop(tower, held);
    index_insert(tower, fresh);
    recount(tower, fresh, before);
    appointment_free(held);
    write_appointment(tower, fresh);
    send_receipt(tower, peer, fresh, verdict);
}

/* The proof that is held, or an older one. */
static void keep_held(struct tower *tower, uint64_t peer, struct appointment *held,
                      struct appointment_verdict *verdict)
{
    size_t before = appointment_bytes(held);
    if (appointment_merge(held, verdict->fresh, tower->options.register_margin_s)) {
        desk_scheduled(tower, held);
        recount(tower, held, before);
        write_appointment(tower, held);
    }
    send_receipt(tower, peer, held, verdict);
    appointment_free(verdict->fresh);
}

/* A receipt for a channel that is being closed is a promise to challenge: none is given when the time for that is
 * nearly over, or the tower could be blamed for what nobody could have done (docs/watchtower.md). */
static bool too_late_for(const struct tower *tower, const struct closing *closing, enum side user)
{
    uint64_t period = tower->options.challenge_period_s;
    return closing_closer(closing) != user &&
           tower_time_estimate(tower) + period / 8 >= challenge_deadline(closing, period);
}

/* Takes a good verdict, whose channel and standing are in order, and answers it. */
static void keep(struct tower *tower, uint64_t peer, struct appointment_verdict *verdict, bool closing)
{
    const struct hash channel = verdict->channel;
    struct appointment *held = desk_find(tower, &channel, verdict->fresh->side);
    struct watch *watch = watch_find(tower, &channel);
    bool newer = held == NULL || verdict->nonce > held->proof.nonce;
    if (newer && watch != NULL && watch->state.status == CHANNEL_CLOSING &&
        too_late_for(tower, &watch->closing, verdict->fresh->side))
        turn_down(tower, peer, verdict, CODE_STATUS, TOO_LATE);
    else if (held == NULL)
        keep_first(tower, peer, verdict);
    else if (verdict->nonce > held->proof.nonce &&
             amount_compare(verdict->fresh->proof.transferred, held->proof.transferred) < 0)
        turn_down(tower, peer, verdict, CODE_TRANSFERRED, "a proof that transfers more is held");
    else if (verdict->nonce > held->proof.nonce)
        keep_newer(tower, peer, held, verdict);
    else if (verdict->nonce == held->proof.nonce && !appointment_same_proof(verdict->fresh, held))
        turn_down(tower, peer, verdict, CODE_NONCE, "another proof with this nonce is held");
    else
        keep_held(tower, peer, held, verdict);
    watch = watch_find(tower, &channel);
    if (closing && desk_serves(tower, &channel))
        watch_open(tower, &channel, true);
    else if (watch != NULL)
        watch_look_soon(tower, watch);
}

/* ---- candidates ---- */

static void candidate_ask(struct tower *tower, struct candidate *candidate, enum question_kind kind)
{
    struct contract_call view = {.function = CONTRACT_CHANNEL, .key = candidate->verdict.fresh->key};
    if (kind == QUESTION_CANDIDATE_CLOSING)
        view.function = CONTRACT_CLOSING;
    if (kind == QUESTION_CANDIDATE_TOWER)
        view = (struct contract_call){.function = CONTRACT_IS_TOWER, .address = tower->self};
    candidate->waiting++;
    tower_ask(tower, &(struct question){.kind = kind, .candidate = candidate->id}, &view);
}

static void candidate_refuse(struct candidate *candidate, enum code code, const char *why)
{
    candidate->code = code;
    candidate->why = why;
}

static void candidate_closing(const struct tower *tower, struct candidate *candidate, const uint8_t *data,
                              size_t length)
{
    struct closing closing;
    if (!contract_decode_closing(data, length, &closing))
        candidate->failed = true;
    else if (too_late_for(tower, &closing, candidate->verdict.fresh->side))
        candidate_refuse(candidate, CODE_STATUS, TOO_LATE);
}

static void candidate_channel(struct tower *tower, struct candidate *candidate, const uint8_t *data,
                              size_t length)
{
    struct channel_state state;
    if (!contract_decode_channel(data, length, &state))
        candidate->failed = true;
    else if (state.status == CHANNEL_NONE)
        candidate_refuse(candidate, CODE_CHANNEL, "the ledger knows no such channel");
    else if (state.status == CHANNEL_CLOSED)
        candidate_refuse(candidate, CODE_STATUS, "the channel is closed");
    else if (state.status == CHANNEL_CLOSING) {
        candidate->closing = true;
        candidate_ask(tower, candidate, QUESTION_CANDIDATE_CLOSING);
    }
}

/* All is answered. */
static void candidate_end(struct tower *tower, struct candidate *candidate)
{
    if (candidate->failed && candidate->code == CODE_OK)
        candidate_refuse(candidate, CODE_LIMIT, "the tower cannot ask the ledger now; try again later");
    struct appointment_verdict verdict = candidate->verdict;
    uint64_t peer = candidate->peer;
    enum code code = candidate->code;
    const char *why = candidate->why;
    bool closing = candidate->closing;
    candidate->verdict.fresh = NULL;
    candidate_free(tower, candidate);
    tower->asking--;
    if (code != CODE_OK)
        turn_down(tower, peer, &verdict, code, why);
    else
        keep(tower, peer, &verdict, closing);
}

/* Whose turn it is. Right after a start the first answer says of all whether the hub allows this tower. */
static void ask_more(struct tower *tower)
{
    while (tower->unasked != NULL && tower->asking < ASKING_MAX) {
        struct candidate *candidate = tower->unasked;
        tower->unasked = candidate->next;
        tower->asking++;
        if (candidate->ask_channel)
            candidate_ask(tower, candidate, QUESTION_CANDIDATE);
        if (candidate->ask_tower && !tower->is_tower)
            candidate_ask(tower, candidate, QUESTION_CANDIDATE_TOWER);
        if (candidate->waiting == 0)
            candidate_end(tower, candidate);
    }
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
        candidate_channel(tower, candidate, data, length);
    else if (question->kind == QUESTION_CANDIDATE_CLOSING)
        candidate_closing(tower, candidate, data, length);
    else if (!tower->is_tower)
        candidate_refuse(candidate, CODE_SIGNATURE,
                         "no Choice, and the hub's setTower does not allow this tower");
    if (candidate->waiting > 0)
        return;
    candidate_end(tower, candidate);
    ask_more(tower);
}

static void candidate_new(struct tower *tower, uint64_t peer, const struct appointment_verdict *verdict,
                          bool ask_channel, bool ask_tower)
{
    struct candidate *candidate = xcalloc(1, sizeof *candidate);
    candidate->id = tower->next_id++;
    candidate->peer = peer;
    candidate->verdict = *verdict;
    candidate->bytes = appointment_bytes(verdict->fresh);
    candidate->ask_channel = ask_channel;
    candidate->ask_tower = ask_tower;
    HASH_ADD(hh, tower->candidates, id, sizeof candidate->id, candidate);
    tower->candidate_bytes += candidate->bytes;
    if (tower->unasked == NULL)
        tower->unasked = candidate;
    else
        tower->unasked_last->next = candidate;
    tower->unasked_last = candidate;
    ask_more(tower);
}

/* A receipt for a newer proof of a channel that may be closed by now would be a promise that nobody can keep: the ledger
 * is asked first, where the last look has not found the channel open, or being closed (keep judges that). */
static bool may_be_closed(struct tower *tower, const struct appointment *held,
                          const struct appointment_verdict *verdict)
{
    const struct watch *watch = watch_find(tower, &held->channel);
    return watch != NULL && verdict->nonce > held->proof.nonce && watch->state.status != CHANNEL_OPEN &&
           watch->state.status != CHANNEL_CLOSING;
}

/* ---- messages ---- */

void desk_appoint(struct tower *tower, uint64_t peer, struct appointment_verdict *verdict)
{
    tower->figures.received++;
    if (verdict->code != CODE_OK) {
        turn_down(tower, peer, verdict, verdict->code, verdict->why);
        return;
    }
    struct appointment *fresh = verdict->fresh;
    struct appointment *held = desk_find(tower, &fresh->channel, fresh->side);
    bool ask_tower = !fresh->has_choice && !tower->is_tower;
    bool ask_channel = held == NULL || may_be_closed(tower, held, verdict);
    if (!ask_channel && !ask_tower) {
        keep(tower, peer, verdict, false);
        return;
    }
    size_t bytes = appointment_bytes(fresh);
    const char *broken = NULL;
    if (held == NULL)
        broken = quota_broken(tower, appointment_user(fresh, &tower->options.hub), true, 0, bytes);
    if (broken == NULL && (HASH_COUNT(tower->candidates) >= CANDIDATES_MAX ||
                           tower->candidate_bytes + bytes > CANDIDATE_BYTES_MAX))
        broken = "too many appointments wait for the ledger; try again later";
    if (broken != NULL)
        turn_down(tower, peer, verdict, CODE_LIMIT, broken);
    else
        candidate_new(tower, peer, verdict, ask_channel, ask_tower);
}

void desk_fetch(struct tower *tower, uint64_t peer, const struct address *user, const struct message *message)
{
    const struct hash *channel = &message->fetch.channel;
    for (unsigned side = SIDE_CLIENT; side <= SIDE_HUB; side++) {
        const struct appointment *held = desk_find(tower, channel, (enum side)side);
        if (held == NULL || !address_equal(appointment_user(held, &tower->options.hub), user))
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
