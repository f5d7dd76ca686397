/* The protocol's codes (section 5): why an update was refused, a payment failed or a message was in error.
 * On the wire and on disk: do not renumber. */
#ifndef RILL_BASE_CODE_H
#define RILL_BASE_CODE_H

#include <stdint.h>

/* X(number, NAME, text for a person) */
#define CODES(X)                                                                                             \
    X(0, OK, "no error")                                                                                     \
    X(1, VERSION, "protocol version not spoken here")                                                        \
    X(2, AUTH, "the peer did not prove who it is")                                                           \
    X(3, MALFORMED, "not a message of the protocol, or not allowed here")                                    \
    X(4, LIMIT, "a limit was reached")                                                                       \
    X(5, CHANNEL, "no such channel, or the asset is not served")                                             \
    X(6, STATUS, "the channel is not open")                                                                  \
    X(7, REPLACED, "a newer connection of the same client took over")                                        \
    X(8, STOPPING, "the other side is shutting down")                                                        \
    X(20, SIGNATURE, "signature is not the sender's")                                                        \
    X(21, NONCE, "nonce is not the next one")                                                                \
    X(22, TRANSFERRED, "transferred does not follow from the operations")                                    \
    X(23, LOCKED, "locked does not follow from the operations")                                              \
    X(24, ROOT, "locksRoot does not follow from the operations")                                             \
    X(25, AVAILABLE, "the sender does not have that much available")                                         \
    X(26, LOCK_ID, "lock id does not grow, or its place is taken")                                           \
    X(27, NO_LOCK, "no such pending lock")                                                                   \
    X(28, WITNESS, "the witness does not meet the condition")                                                \
    X(29, NOT_EXPIRED, "the lock has not expired, or its witness was registered in time")                    \
    X(30, NOT_FAILED, "the lock's receiver has not failed it")                                               \
    X(31, BODY, "the body is malformed")                                                                     \
    X(40, PAYEE, "unknown payee")                                                                            \
    X(41, ROOM, "no room towards the payee")                                                                 \
    X(42, EXPIRED, "expiry outside the bounds, or past")                                                     \
    X(43, INVOICE, "no such invoice")                                                                        \
    X(44, AMOUNT, "amount outside the bounds")                                                               \
    X(45, FEE, "fee too low")                                                                                \
    X(46, DUPLICATE, "payment id used before")                                                               \
    X(47, PAID, "invoice already paid")                                                                      \
    X(48, OFFLINE, "payee is offline")                                                                       \
    X(60, SETTLE, "settlement refused")

enum code {
#define CODE_ENUM(number, name, text) CODE_##name = number,
    CODES(CODE_ENUM)
#undef CODE_ENUM
};

/* "AVAILABLE"; "UNKNOWN" for a number without a name. */
const char *code_name(uint64_t code);
/* One sentence for a person. */
const char *code_text(uint64_t code);

#endif
