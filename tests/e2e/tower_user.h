/* A user of a watchtower that speaks by hand: one link, and the appointment of a channel that has a hub's proof. */
#ifndef RILL_TESTS_E2E_TOWER_USER_H
#define RILL_TESTS_E2E_TOWER_USER_H

#include "tests/e2e/wire_client.h"

struct user {
    struct hub_stage *stage;
    struct link *link;
    bool ready, closed, answered;
    char reason[256];
    struct message answer; /* what came last, without what its pointers point to */
};

static inline void on_user_ready(void *context, struct link *link, const struct address *peer,
                                 const struct message *welcome)
{
    (void)link;
    (void)peer;
    (void)welcome;
    ((struct user *)context)->ready = true;
}

static inline void on_user_message(void *context, struct link *link, const struct message *message)
{
    struct user *user = context;
    (void)link;
    user->answer = *message;
    user->answered = true;
}

static inline void on_user_closed(void *context, struct link *link, enum link_closed why, const char *reason)
{
    struct user *user = context;
    (void)link;
    (void)why;
    user->link = NULL;
    user->closed = true;
    snprintf(user->reason, sizeof user->reason, "%s", reason);
}

static inline bool user_is_ready(void *context)
{
    const struct user *user = context;
    return user->ready || user->closed;
}

static inline bool user_is_answered(void *context)
{
    const struct user *user = context;
    return user->answered || user->closed;
}

/* False: the tower is not there, or does not want this user; user->reason says why. */
static inline bool user_dial(struct user *user, struct hub_stage *stage, uint16_t port,
                             const struct address *tower, const struct secret_key *key)
{
    static const struct link_callbacks callbacks = {
        .ready = on_user_ready, .message = on_user_message, .closed = on_user_closed};
    *user = (struct user){.stage = stage};
    struct link_client_options options = {.host = "127.0.0.1",
                                          .port = port,
                                          .key = *key,
                                          .chain_id = stage->domain.chain_id,
                                          .contract = stage->contract,
                                          .server = *tower,
                                          .tower = true,
                                          .agent = "user"};
    user->link = link_connect(stage->base, &options, &callbacks, user);
    return holds_in_time(stage, user_is_ready, user) && !user->closed;
}

static inline void user_close(struct user *user)
{
    if (user->link != NULL)
        link_close(user->link);
}

/* False: the link ended instead. */
static inline bool user_tells(struct user *user, const struct message *message)
{
    user->answered = false;
    link_send(user->link, message);
    return holds_in_time(user->stage, user_is_answered, user) && !user->closed;
}

/* The appointment that the client `owner` leaves: the hub's newest proof, and the Choice of this tower by `signer`. */
static inline struct message appointment_by(const struct wire_client *owner, const struct address *tower,
                                            const struct secret_key *signer)
{
    const struct domain *domain = &owner->stage->domain;
    const struct stream *hubs = channel_peer(owner->channel);
    struct message message = {.type = MESSAGE_APPOINT};
    message.appoint.key = owner->channel_key;
    message.appoint.proof = (struct shown_proof){hubs->proof.nonce > 0, hubs->proof, hubs->signature};
    struct hash digest = HASH_ZERO;
    if (hubs->proof.nonce > 0)
        digest = digest_balance_proof(domain, &owner->channel->id, &hubs->proof);
    struct hash choice = digest_choice(domain, &digest, tower);
    message.appoint.has_choice = true;
    message.appoint.choice = key_sign(signer, &choice);
    return message;
}

#endif
