/* Between threads: a mailbox is read by one event loop and may be posted to from anywhere. Mail arrives in the
 * order in which each sender posted it, never inside the call that posts. */
#ifndef RILL_HUB_MAILBOX_H
#define RILL_HUB_MAILBOX_H

#include "hub/engine.h"
#include "hub/payments.h"

struct event_base;
struct mailbox;
struct question;

enum mail_type {
    /* from the hub to a shard */
    MAIL_BEGIN,         /* the ledger is known: read the journal back */
    MAIL_FOLLOW,        /* all shards are back: events come */
    MAIL_EVENT,         /* event */
    MAIL_HEAD,          /* head */
    MAIL_SERVE,         /* let clients come */
    MAIL_CALL_DONE,     /* call */
    MAIL_RECEIPT,       /* call.receipt: of a batch, asked for since a restart hid it */
    MAIL_TOWER,         /* flag: connected */
    MAIL_TOWER_MESSAGE, /* message, without text */
    MAIL_POOLS,         /* bytes: engine_pools of all others */
    MAIL_SETTLE,        /* the operator asks for a batch */
    MAIL_SETTLE_TURN,
    MAIL_QUESTION,  /* question */
    MAIL_COUNT,     /* what is whose (hub/publish.h) */
    MAIL_STATEMENT, /* bytes: to be kept */
    MAIL_STOP,      /* flag: at once, without a word to clients */
    /* from a shard to another */
    MAIL_PARCEL, /* number, flag: it is only the word that all up to it has come; bytes */
    MAIL_SECRET, /* secret */
    /* from a shard to the hub */
    MAIL_OPENED,      /* its journal */
    MAIL_FAILED,      /* bytes: why, one line */
    MAIL_RECOVERED,   /* number: the block to follow from */
    MAIL_SERVING,     /* number: the port */
    MAIL_CALL,        /* call; bytes */
    MAIL_TOWER_FRAME, /* bytes */
    MAIL_TURN_WANTED, /* flag: false gives it back */
    MAIL_OWN_POOLS,   /* bytes: engine_pools */
    MAIL_COUNTED,     /* the result is the shard's `counted`; NULL: it could not be done now */
    MAIL_KEPT,        /* the statement is durable */
    MAIL_EVENTS_READ, /* few events wait any more */
    MAIL_STOPPED
};

struct mail {
    struct mail *next;
    enum mail_type type;
    uint32_t shard; /* whom it is from */
    bool flag;
    uint64_t number;
    union {
        struct contract_event event;
        struct ledger_head head;
        struct message message;
        struct {
            enum engine_call call;
            uint64_t reference;
            enum ledger_error error;
            bool has_receipt;
            struct ledger_receipt receipt;
        } call;
        struct {
            struct leg payer;
            struct witness witness;
        } secret;
        struct question *question;
    };
    /* while it waits for its sender's journal (hub/shard.c) */
    uint64_t sequence;
    struct mailbox *to;
    size_t length;
    uint8_t bytes[];
};

/* Freed by whoever reads it last; bytes may be NULL with length 0. */
struct mail *mail_new(enum mail_type type, uint32_t shard, const void *bytes, size_t length);

/* read: gets each mail, and frees it. */
typedef void mailbox_read(void *context, struct mail *mail);
struct mailbox *mailbox_new(struct event_base *base, mailbox_read *read, void *context);
/* Takes the mail over. */
void mailbox_post(struct mailbox *mailbox, struct mail *mail);
/* Once nobody posts any more; what was not read is freed. Before the loop's base. */
void mailbox_free(struct mailbox *mailbox);

#endif
