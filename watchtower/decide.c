/* What a look at a watched channel must know, and what it leads to. */
#include "watchtower/tower_state.h"

#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/planted.h"
#include "crypto/lock.h"

/* ---- what must be known ---- */

static bool witness_known(const struct held_lock *held)
{
    return held->witness.length > 0;
}

/* A lock's tree can be shown on the ledger, and something is left to pay from. */
static bool unlockable(const struct watch *watch, const struct appointment *appointment)
{
    enum side stream = side_other(appointment->side);
    return watch->state.status == CHANNEL_CLOSED && !amount_is_zero(watch->held[stream]) &&
           appointment->lock_count > 0 &&
           hash_equal(&closing_stands(&watch->closing, stream)->locks_root, &appointment->proof.locks_root);
}

/* True while a registration still helps the lock, and is no longer too early (once closed it never is). */
static bool in_register_window(const struct tower *tower, const struct watch *watch,
                               const struct held_lock *held)
{
    if (tower_block_time(tower) > held->lock.expiry)
        return false;
    uint64_t margin = tower->options.register_margin_s, quarter = tower->options.challenge_period_s / 4;
    /* While a channel is being closed no update can unlock any more: there is no reason to wait until the
     * last. */
    if (watch->state.status == CHANNEL_CLOSING && margin < quarter)
        margin = quarter;
    return watch->state.status == CHANNEL_CLOSED ||
           tower_time_estimate(tower) >= (held->lock.expiry > margin ? held->lock.expiry - margin : 0);
}

/* A closed channel of which nothing is held for the stream has no use for a registration. */
static bool registering_helps(const struct watch *watch, const struct appointment *appointment)
{
    return watch->state.status != CHANNEL_CLOSED ||
           !amount_is_zero(watch->held[side_other(appointment->side)]);
}

static bool needs_registration(const struct tower *tower, const struct watch *watch,
                               const struct appointment *appointment, const struct held_lock *held)
{
    if (unlockable(watch, appointment))
        return true;
    if (watch->state.status == CHANNEL_CLOSING &&
        challenge_needs_witnesses(&watch->closing, appointment->side, &appointment->proof))
        return true;
    return witness_known(held) && registering_helps(watch, appointment) &&
           in_register_window(tower, watch, held);
}

static void ask(struct tower *tower, struct watch *watch, enum question_kind kind,
                const struct contract_call *view)
{
    watch->waiting++;
    tower_ask(tower, &(struct question){.kind = kind, .channel = watch->channel}, view);
}

/* Returns how many questions were asked about this lock. */
static unsigned ask_lock(struct tower *tower, struct watch *watch, const struct appointment *appointment,
                         const struct held_lock *held)
{
    struct question question = {
        .channel = watch->channel, .side = appointment->side, .lock_id = held->lock.id};
    unsigned asked = 0;
    if (!held->asked_registered && needs_registration(tower, watch, appointment, held)) {
        question.kind = QUESTION_REGISTERED;
        tower_ask(tower, &question,
                  &(struct contract_call){.function = CONTRACT_REGISTERED_AT,
                                          .kind = held->lock.kind,
                                          .hash = held->lock.condition});
        asked++;
    }
    if (!held->asked_unlocked && unlockable(watch, appointment)) {
        question.kind = QUESTION_UNLOCKED;
        tower_ask(tower, &question,
                  &(struct contract_call){.function = CONTRACT_UNLOCKED,
                                          .key = appointment->key,
                                          .flag = side_other(appointment->side) == SIDE_CLIENT,
                                          .hash = lock_leaf(&held->lock)});
        asked++;
    }
    watch->waiting += asked;
    return asked;
}

static const struct appointment *any_appointment(const struct tower *tower, const struct watch *watch)
{
    const struct appointment *found = desk_find(tower, &watch->channel, SIDE_CLIENT);
    if (found == NULL)
        found = desk_find(tower, &watch->channel, SIDE_HUB);
    ensure(found != NULL);
    return found;
}

unsigned decide_questions(struct tower *tower, struct watch *watch)
{
    const struct channel_key key = any_appointment(tower, watch)->key;
    if (!watch->asked_state) {
        watch->asked_state = true;
        ask(tower, watch, QUESTION_CHANNEL,
            &(struct contract_call){.function = CONTRACT_CHANNEL, .key = key});
        ask(tower, watch, QUESTION_CLOSING,
            &(struct contract_call){.function = CONTRACT_CLOSING, .key = key});
        return 2;
    }
    if (!watch->asked_held && watch->state.status == CHANNEL_CLOSED) {
        watch->asked_held = true;
        ask(tower, watch, QUESTION_HELD, &(struct contract_call){.function = CONTRACT_HELD, .key = key});
        return 1;
    }
    unsigned asked = 0;
    for (unsigned side = SIDE_CLIENT; side <= SIDE_HUB; side++) {
        const struct appointment *appointment = desk_find(tower, &watch->channel, (enum side)side);
        for (size_t i = 0; appointment != NULL && i < appointment->lock_count && asked < LOOK_QUESTIONS_MAX;
             i++)
            asked += ask_lock(tower, watch, appointment, &appointment->locks[i]);
    }
    return asked;
}

/* ---- what one decision gathers ---- */

struct decision {
    struct tower *tower;
    struct watch *watch;
    bool pending;      /* something is due, or will be */
    uint64_t retry_ms; /* a refused response may be tried again */
    uint64_t at_time;  /* something begins or ends then */
    bool alarm[ALARM_KIND_COUNT], missed[ALARM_KIND_COUNT];
    uint64_t alarm_left[ALARM_KIND_COUNT]; /* seconds */
};

static void wait_until(struct decision *decision, uint64_t time)
{
    decision->pending = true;
    if (time < decision->at_time)
        decision->at_time = time;
}

static void act(struct decision *decision, const struct response *wanted, const struct contract_call *call)
{
    uint64_t retry = respond(decision->tower, wanted, call);
    decision->pending = true;
    if (retry < decision->retry_ms)
        decision->retry_ms = retry;
}

/* Raises the alarm for something due whose deadline is less than `close` seconds away. */
static void watch_deadline(struct decision *decision, enum watch_alarm kind, uint64_t deadline,
                           uint64_t close)
{
    uint64_t now = tower_block_time(decision->tower);
    uint64_t left = deadline > now ? deadline - now : 0;
    if (left >= close)
        return;
    if (!decision->alarm[kind] || left < decision->alarm_left[kind])
        decision->alarm_left[kind] = left;
    decision->alarm[kind] = true;
}

static void report_alarms(struct decision *decision)
{
    static const char *const names[ALARM_KIND_COUNT] = {"challenge", "voiding of old locks", "registration"};
    struct tower *tower = decision->tower;
    struct watch *watch = decision->watch;
    char text[HASH_TEXT_SIZE];
    hash_text(&watch->channel, text);
    for (unsigned i = 0; i < ALARM_KIND_COUNT; i++) {
        if (decision->alarm[i] && !watch->alarm[i]) {
            tower->figures.alarms_raised++;
            struct tower_alarm alarm = {.kind = TOWER_ALARM_DEADLINE,
                                        .channel = &watch->channel,
                                        .duty = names[i],
                                        .left_s = decision->alarm_left[i]};
            tower_raise(tower, alarm, "channel %s: the %s is not mined yet, %llu s left", text, names[i],
                        (unsigned long long)decision->alarm_left[i]);
        }
        watch->alarm[i] = decision->alarm[i];
        if (decision->missed[i] && !watch->missed[i]) {
            tower->figures.missed++;
            watch->missed[i] = true;
            struct tower_alarm alarm = {
                .kind = TOWER_ALARM_MISSED, .channel = &watch->channel, .duty = names[i]};
            tower_raise(tower, alarm, "channel %s: too late for the %s", text, names[i]);
        }
    }
}

/* ---- a channel that is being closed ---- */

static struct amount claimable_of(const struct tower *tower, const struct appointment *appointment,
                                  uint64_t late_from)
{
    struct amount sum = amount_of(0);
    for (size_t i = 0; i < appointment->lock_count; i++) {
        const struct held_lock *held = &appointment->locks[i];
        if (lock_may_pay(&held->lock, witness_known(held), held->registered_at, late_from,
                         tower_block_time(tower)))
            ensure(amount_add(sum, held->lock.amount, &sum));
    }
    return sum;
}

static void decide_challenge(struct decision *decision, const struct appointment *appointment)
{
    struct tower *tower = decision->tower;
    const struct closing *closing = &decision->watch->closing;
    uint64_t period = tower->options.challenge_period_s;
    enum duty duty =
        judge_challenge(closing, appointment->side, &appointment->proof,
                        claimable_of(tower, appointment, late_locks_from(closing->deadline, period)), period,
                        tower_block_time(tower));
    decision->missed[ALARM_CHALLENGE] |= duty == DUTY_TOO_LATE;
    if (duty != DUTY_DUE || PLANTED(TOWER_LOOKS_AWAY))
        return;
    watch_deadline(decision, ALARM_CHALLENGE, challenge_deadline(closing, period), period / 4);
    struct contract_call call = {.function = CONTRACT_CHALLENGE,
                                 .key = appointment->key,
                                 .proof = appointment->proof,
                                 .signature = appointment->signature,
                                 .to = tower->self};
    if (appointment->has_choice)
        call.choice = appointment->choice;
    act(decision,
        &(struct response){.kind = RESPONSE_CHALLENGE,
                           .channel = appointment->channel,
                           .deadline = challenge_deadline(closing, period),
                           .whole_s = period},
        &call);
}

static void decide_void(struct decision *decision, const struct appointment *appointment)
{
    if (appointment->revocation == NULL)
        return;
    struct tower *tower = decision->tower;
    const struct closing *closing = &decision->watch->closing;
    uint64_t period = tower->options.challenge_period_s;
    enum duty duty = judge_void(closing, appointment->side, appointment->revocation->min_nonce, period,
                                tower_block_time(tower));
    decision->missed[ALARM_VOID] |= duty == DUTY_TOO_LATE;
    if (duty != DUTY_DUE)
        return;
    watch_deadline(decision, ALARM_VOID, void_deadline(closing, period), period / 4);
    struct contract_call call = {.function = CONTRACT_VOID_LOCKS,
                                 .key = appointment->key,
                                 .flag = appointment->side == SIDE_CLIENT,
                                 .min_nonce = appointment->revocation->min_nonce,
                                 .signature = appointment->revocation->signature};
    act(decision,
        &(struct response){.kind = RESPONSE_VOID,
                           .channel = appointment->channel,
                           .side = appointment->side,
                           .deadline = void_deadline(closing, period),
                           .whole_s = period},
        &call);
}

static void decide_finish(struct decision *decision)
{
    const struct tower *tower = decision->tower;
    const struct watch *watch = decision->watch;
    uint64_t time = finish_time(&watch->closing, tower->options.challenge_period_s);
    if (tower_time_estimate(tower) < time) {
        wait_until(decision, time);
        return;
    }
    struct contract_call call = {.function = CONTRACT_FINISH, .key = any_appointment(tower, watch)->key};
    act(decision, &(struct response){.kind = RESPONSE_FINISH, .channel = watch->channel}, &call);
}

/* ---- witnesses ---- */

static void send_registration(struct decision *decision, const struct held_lock *held, uint64_t margin)
{
    struct contract_call call = {.function = CONTRACT_REGISTER_SECRET};
    const uint8_t *bytes = held->witness.bytes;
    if (held->lock.kind == LOCK_SECRET) {
        memcpy(call.hash.bytes, bytes, sizeof call.hash.bytes);
    } else {
        call.function = CONTRACT_REGISTER_ATTESTATION;
        memcpy(call.address.bytes, bytes, 20);
        memcpy(call.hash.bytes, bytes + 20, 32);
        memcpy(call.signature.bytes, bytes + 52, 64);
    }
    act(decision,
        &(struct response){.kind = RESPONSE_REGISTER,
                           .channel = decision->watch->channel,
                           .condition = held->lock.condition,
                           .deadline = held->lock.expiry,
                           .whole_s = margin},
        &call);
}

static void decide_registering(struct decision *decision, struct appointment *appointment)
{
    struct tower *tower = decision->tower;
    uint64_t margin = tower->options.register_margin_s, quarter = tower->options.challenge_period_s / 4;
    bool helps = registering_helps(decision->watch, appointment);
    for (size_t i = 0; helps && i < appointment->lock_count; i++) {
        const struct held_lock *held = &appointment->locks[i];
        if (!witness_known(held) || !held->asked_registered || held->registered_at != 0 ||
            !in_register_window(tower, decision->watch, held))
            continue;
        watch_deadline(decision, ALARM_REGISTER, held->lock.expiry + 1,
                       quarter < margin / 2 ? quarter : margin / 2);
        send_registration(decision, held, margin);
    }
    appointment_schedule(appointment, margin, tower_block_time(tower));
    desk_scheduled(tower, appointment);
    if (helps && appointment->register_from != UINT64_MAX && decision->watch->state.status != CHANNEL_OPEN)
        wait_until(decision, appointment->register_from);
}

/* ---- a closed channel ---- */

static void send_unlock(struct decision *decision, const struct appointment *appointment,
                        struct lock_set **tree, const struct lock *lock)
{
    if (*tree == NULL)
        *tree = appointment_tree(appointment);
    ensure(*tree != NULL);
    enum side stream = side_other(appointment->side);
    struct hash proof[LOCK_TREE_DEPTH];
    struct contract_call call = {.function = CONTRACT_UNLOCK,
                                 .key = appointment->key,
                                 .flag = stream == SIDE_CLIENT,
                                 .lock = *lock,
                                 .merkle = proof};
    ensure(lock_set_prove(*tree, lock->id, proof, &call.merkle_count));
    act(decision,
        &(struct response){
            .kind = RESPONSE_UNLOCK, .channel = appointment->channel, .side = stream, .lock_id = lock->id},
        &call);
}

/* The appointment's user receives these locks. Their sender, if it is served here too, gets back what
 * expired. */
static void decide_unlocks(struct decision *decision, const struct appointment *appointment)
{
    struct tower *tower = decision->tower;
    if (!unlockable(decision->watch, appointment))
        return;
    bool sender_served = desk_find(tower, &appointment->channel, side_other(appointment->side)) != NULL;
    struct lock_set *tree = NULL;
    for (size_t i = 0; i < appointment->lock_count; i++) {
        const struct held_lock *held = &appointment->locks[i];
        const struct lock *lock = &held->lock;
        if (!held->asked_unlocked || held->unlocked)
            continue;
        if (held->registered_at != 0 && held->registered_at <= lock->expiry)
            send_unlock(decision, appointment, &tree, lock);
        else if (tower_block_time(tower) <= lock->expiry &&
                 !(sender_served && tower_time_estimate(tower) > lock->expiry))
            wait_until(decision, lock->expiry + 1);
        else if (sender_served)
            send_unlock(decision, appointment, &tree, lock);
        else
            decision->missed[ALARM_REGISTER] |= witness_known(held);
    }
    lock_set_free(tree);
}

/* ---- the whole ---- */

static void decide_closing(struct decision *decision, const struct appointment *appointment)
{
    decide_challenge(decision, appointment);
    decide_void(decision, appointment);
}

static void set_next_look(const struct decision *decision)
{
    const struct tower *tower = decision->tower;
    struct watch *watch = decision->watch;
    bool soon = decision->at_time <= tower_time_estimate(tower);
    /* Each block of a dispute may bring, or by a reorganisation take back, a challenge. */
    watch->look_at_block =
        tower->head.number + (soon || watch->state.status == CHANNEL_CLOSING ? 1 : CLOSED_LOOK_BLOCKS);
    watch->look_at_time = soon ? UINT64_MAX : decision->at_time;
    watch->look_at_ms = decision->retry_ms;
}

bool decide(struct tower *tower, struct watch *watch)
{
    struct decision decision = {
        .tower = tower, .watch = watch, .retry_ms = UINT64_MAX, .at_time = UINT64_MAX};
    decision.pending = watch->state.status == CHANNEL_CLOSING;
    for (unsigned side = SIDE_CLIENT; side <= SIDE_HUB; side++) {
        struct appointment *appointment = desk_find(tower, &watch->channel, (enum side)side);
        if (appointment == NULL)
            continue;
        if (watch->state.status == CHANNEL_CLOSING)
            decide_closing(&decision, appointment);
        decide_registering(&decision, appointment);
        decide_unlocks(&decision, appointment);
    }
    if (watch->state.status == CHANNEL_CLOSING)
        decide_finish(&decision);
    report_alarms(&decision);
    set_next_look(&decision);
    return !decision.pending;
}
