/* The messages of section 5 of protocol.md as C structs, and their bytes.
 *
 * A frame is a uint32 big-endian length (<= 256 KiB) and one MessagePack array [type, field…]. Decoding is
 * strict and bounded: integers of any width, no nil, float or ext, depth <= 4, lengths within base/limits.h,
 * UTF-8 checked.
 */
#ifndef RILL_WIRE_MESSAGE_H
#define RILL_WIRE_MESSAGE_H

#include "base/buffer.h"
#include "base/code.h"
#include "base/payment.h"

/* On the wire: do not renumber. */
enum message_type {
    MESSAGE_HELLO = 1,
    MESSAGE_CHALLENGE = 2,
    MESSAGE_AUTH = 3,
    MESSAGE_WELCOME = 4,
    MESSAGE_REDIRECT = 5,
    MESSAGE_UPDATE = 6,
    MESSAGE_ACK = 7,
    MESSAGE_REVEAL = 8,
    MESSAGE_FAIL = 9,
    MESSAGE_REVOKE = 10,
    MESSAGE_SETTLE_REQUEST = 11,
    MESSAGE_SETTLE_PROPOSE = 12,
    MESSAGE_SETTLE_SIGN = 13,
    MESSAGE_SETTLED = 14,
    MESSAGE_PING = 15,
    MESSAGE_PONG = 16,
    MESSAGE_ERROR = 17,
    MESSAGE_FUNDED = 18,
    MESSAGE_RESUME = 19,
    MESSAGE_CHANNEL = 20,
    MESSAGE_LOCKS = 21,
    MESSAGE_OPEN_REQUEST = 22,
    MESSAGE_APPOINT = 32,
    MESSAGE_RECEIPT = 33,
    MESSAGE_FETCH = 34,
    MESSAGE_KEPT = 35
};
const char *message_name(uint64_t type); /* "UPDATE"; "?" if unknown */

struct asset_terms {
    struct address asset;
    struct amount base_fee;
    uint32_t fee_ppm;
    struct amount direct_limit;
    uint16_t reserve_bps;
    struct amount min_lock, max_lock;
    uint32_t max_locks_per_payer;
};
struct terms {
    uint32_t confirmations;
    uint64_t reveal_margin_s, min_expiry_s, max_expiry_s, settle_window_s;
    size_t asset_count;
    struct asset_terms assets[ASSETS_MAX];
};

struct revealed {
    struct payment_id id;
    struct witness witness;
};
struct failed {
    struct payment_id id;
    uint64_t code;
};
/* CHANNEL's and APPOINT's proof: `[]` is present false. */
struct shown_proof {
    bool present;
    struct balance_proof proof;
    struct signature signature;
};
struct shown_revocation {
    bool present;
    uint64_t min_nonce;
    struct signature signature;
};
struct shown_drop {
    uint64_t nonce;
    struct amount amount;
};
struct shown_stream {
    struct shown_proof newest;
    uint64_t last_lock_id;
    struct shown_revocation revocation;
    const struct shown_drop *drops;
    size_t drop_count;
};
struct shown_settlement {
    bool present;
    uint32_t seq;
    struct amount client_out, hub_out;
    uint64_t deadline;
    bool close;
    bool has_signature;
    struct signature signature;
};
struct shown_lock {
    struct lock lock;
    struct payment_id payment; /* LOCKS only */
};
/* ERROR's reference: `[]` is count 0; else the message type and, where it applies, channel and nonce, or an
 * id. */
struct error_reference {
    bool present;
    uint64_t type;
    bool has_channel;
    struct hash channel;
    bool has_nonce, has_id;
    uint64_t nonce;
    struct payment_id id;
};

struct message {
    enum message_type type;
    union {
        struct {
            uint64_t version;
            struct address client;
            struct hash nonce;
            struct text agent;
        } hello;
        struct {
            struct hash challenge;
            struct address hub;
            uint64_t chain_id;
            struct address contract;
            struct signature signature;
        } challenge;
        struct {
            struct signature signature;
        } auth;
        struct {
            const struct terms *terms;
            uint64_t channels;
        } welcome;
        struct {
            struct text host;
            uint16_t port;
        } redirect;
        struct update update; /* body_hash is filled by the decoder */
        struct {
            struct hash channel;
            uint64_t nonce;
        } ack;
        struct {
            struct hash channel;
            const struct revealed *items;
            size_t count;
        } reveal;
        struct {
            struct hash channel;
            const struct failed *items;
            size_t count;
        } fail;
        struct {
            struct hash channel;
            uint64_t min_nonce;
            struct signature signature;
        } revoke;
        struct {
            struct hash channel;
            struct amount amount;
            bool close;
        } settle_request;
        struct {
            struct hash channel;
            uint32_t seq;
            struct amount client_out, hub_out;
            uint64_t deadline;
            bool close;
        } settle_propose;
        struct {
            struct hash channel;
            uint32_t seq;
            struct signature signature;
        } settle_sign;
        struct {
            struct hash channel;
            uint32_t seq;
            uint8_t outcome;
            struct hash transaction;
            uint64_t block;
        } settled;
        struct {
            uint8_t bytes[8];
        } ping; /* and PONG */
        struct {
            uint64_t code;
            struct text text;
            bool fatal;
            struct error_reference reference;
        } error;
        struct {
            struct hash channel;
            struct amount total;
            int64_t base;
            uint32_t seq;
            uint64_t block;
        } funded;
        struct {
            struct hash channel;
            uint64_t received, own;
            const struct payment_id *ids;
            size_t count;
        } resume;
        struct {
            struct channel_key key;
            struct amount total;
            int64_t base;
            uint32_t seq;
            uint8_t status;
            struct shown_settlement settlement;
            struct shown_stream streams[2];
        } channel;
        struct {
            struct hash channel;
            uint8_t stream;
            const struct shown_lock *locks;
            size_t count;
            bool last;
        } locks;
        struct {
            struct address asset;
            struct amount inbound;
        } open_request;
        struct {
            struct channel_key key;
            struct shown_proof proof;
            bool has_choice;
            struct signature choice;
            const struct shown_lock *locks;
            size_t lock_count;
            const struct witness *witnesses;
            size_t witness_count;
            struct shown_revocation revocation;
        } appoint; /* and KEPT */
        struct {
            struct hash channel;
            uint64_t nonce;
            struct hash proof_digest;
            struct signature signature;
        } receipt;
        struct {
            struct hash channel;
        } fetch;
    };
};

/* Scratch memory of a decoder, reused from message to message; arrays and texts of a decoded message live in
 * it or in the frame, until the next decode. */
struct decoder;
struct decoder *decoder_new(void);
void decoder_free(struct decoder *decoder);

/* Decodes a frame's payload (without its length). CODE_OK, or CODE_MALFORMED with one line in *why (static
 * text). */
enum code message_decode(struct decoder *decoder, const uint8_t *payload, size_t length, struct message *out,
                         const char **why) MUST_USE;
/* Appends the whole frame, its length first. The caller keeps within the limits; a frame over FRAME_BYTES_MAX
 * is fatal. */
void message_encode(struct buffer *out, const struct message *message);

/* A body: the MessagePack array of 1..1,024 operations. Returns false (CODE_BODY) for anything malformed, too
 * big, with unknown operation types or kinds > 1. *operations is the decoder's, valid until its next decode
 * of a body. */
bool body_decode(struct decoder *decoder, const uint8_t *body, size_t length,
                 const struct operation **operations, size_t *count) MUST_USE;
void body_encode(struct buffer *out, const struct operation *operations, size_t count);
/* An upper bound of what an operation adds to a body, for filling one up to BODY_BYTES_MAX. */
size_t operation_size_max(const struct operation *operation);

#endif
