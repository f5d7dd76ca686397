/* Peers of the hub and the tower that speak TLS, or only TCP, and then say what they like; and one that stands between
 * a wallet and its hub. */
#ifndef RILL_TESTS_ADVERSARY_RAW_H
#define RILL_TESTS_ADVERSARY_RAW_H

#include "tests/e2e/hub_fixture.h"
#include "wire/link.h"

struct raw;

/* A connected socket that does not block. */
int tcp_connect(uint16_t port);
/* Until the server has closed this connection; closes it too. */
void tcp_expect_end(struct hub_stage *stage, int descriptor);

/* Connected, and through the TLS handshake. */
struct raw *raw_open(struct hub_stage *stage, uint16_t port);
void raw_close(struct raw *raw); /* NULL is allowed */
void raw_send(struct raw *raw, const void *bytes, size_t length);
void raw_send_message(struct raw *raw, const struct message *message);
/* The next frame, decoded; valid until the next call. False: the link ended instead. */
bool raw_receive(struct raw *raw, struct message *message);
/* A fatal ERROR with this code comes, and then the end. */
void raw_expect_refusal(struct raw *raw, enum code code);
/* HELLO as this client; CHALLENGE is in *challenge (redirects are followed: *raw may be another afterwards). */
void raw_hello(struct raw **raw, const struct address *client, struct message *challenge);
struct hash raw_certificate(const struct raw *raw);
void raw_send_auth(struct raw *raw, const struct secret_key *key, const struct domain *domain,
                   const struct address *client, const struct hash *challenge,
                   const struct hash *certificate);
/* TLS 1.2 at most: must fail. */
void raw_expect_no_older_tls(struct hub_stage *stage, uint16_t port);

/* Someone in between, with a certificate of its own: passes a wallet's HELLO on to the hub, the hub's CHALLENGE back, and
 * notes what the wallet makes of it. */
struct between;
struct between *between_open(struct hub_stage *stage, const char *folder);
uint16_t between_port(const struct between *between);
/* One look at what has come. */
void between_turn(struct between *between);
/* What the wallet answered to CHALLENGE; 0: nothing. */
unsigned between_answer(const struct between *between);
void between_close(struct between *between);

#endif
