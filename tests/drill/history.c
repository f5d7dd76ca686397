#include "tests/drill/drill.h"

struct old_state state_of(struct wire_client *client)
{
    const struct stream *hubs = channel_peer(client->channel);
    return (struct old_state){
        .own = claim_of(&channel_own(client->channel)->proof),
        .partner = {.present = hubs->proof.nonce > 0, .proof = hubs->proof, .signature = hubs->signature}};
}

struct old_state paid_and_asleep(struct drill_run *run)
{
    run_open(run, 1);
    pay_direct(run, 1200);
    struct old_state old = state_of(run->pair.payer);
    pay_direct(run, 900);
    pay_direct(run, 700);
    tower_has_all(run, run->pair.payer);
    hub_kill(run->stage);
    return old;
}

void pay_direct(struct drill_run *run, uint64_t units)
{
    still_good(&run->pair, units);
}

struct pending_lock pay_locked(struct drill_run *run, uint64_t units, uint8_t secret[32],
                               struct payment_id *id)
{
    struct wire_client *payer = run->pair.payer, *payee = run->pair.payee;
    struct pending_lock lock;
    struct hash condition = condition_of_secret(secret);
    struct operation operation = payment_of(payer, payee, OPERATION_LOCK, units, &condition);
    wire_do(payer, &operation, &lock);
    *id = payment_id_of_payee(&payer->channel->id, &operation.id);
    (void)wire_operation(payee, OPERATION_LOCK, id);
    wire_settle_down(payer);
    return lock;
}

void tower_has_all(struct drill_run *run, struct wire_client *client)
{
    static const struct hash nobodys = {{9}};
    struct pending_lock lock;
    struct wire_client *nobody = wire_new(run->stage, "nobody");
    struct operation operation = payment_of(client, nobody, OPERATION_LOCK, 150, &nobodys);
    wire_do(client, &operation, &lock);
    (void)wire_wait(client, false, MESSAGE_FAIL, &operation.id);
    struct operation cancel = {.type = OPERATION_CANCEL, .lock_id = lock.lock.id};
    wire_do(client, &cancel, NULL);
    (void)wire_expect(client, MESSAGE_REVOKE);
    wire_settle_down(client);
    wire_free(nobody);
}
