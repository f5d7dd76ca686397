/* What the files of the web hooks share. */
#ifndef RILL_MERCHANT_WEBHOOK_STATE_H
#define RILL_MERCHANT_WEBHOOK_STATE_H

#include "merchant/webhooks.h"

struct flight;

/* An event that a hook has not taken yet. */
struct delivery {
    struct event_place place;
    struct object_id subject;
    uint64_t admitted, next_at;
    uint32_t attempts, status; /* status: of the last attempt; 0: none, or no answer */
    bool dead;
    struct lane *lane; /* unless dead */
    UT_hash_handle hh; /* by place.number */
    struct delivery *prev, *next;
};

/* The deliveries of one subject, which go one after another. */
struct lane {
    struct webhook *webhook;
    struct object_id subject;
    struct delivery *list;
    struct flight *flight; /* NULL: none */
    struct delivery
        *flying; /* whose it is: the first when it began; a replay may put an earlier one before it */
    UT_hash_handle hh;
};

struct webhook {
    struct webhooks *webhooks;
    struct object_id id;
    char *url;
    char secret[WEBHOOK_SECRET_SIZE];
    uint32_t events;
    uint64_t created;
    struct event_place cursor; /* all up to it has been admitted */
    struct delivery *deliveries, *dead;
    struct lane *lanes;
    size_t pending, dead_count;
    unsigned flights;
    bool failing; /* the log has said so */
    struct webhook *prev, *next;
};

struct webhooks {
    struct event_base *base;
    struct shop *shop;
    char *allow;
    struct https_client *https;
    struct webhook *list;
    size_t count;
    struct event *work;
    uint64_t delivered, failed;
};

/* ---- webhooks.c ---- */

/* An empty one with this id, in the list. */
struct webhook *webhook_new(struct webhooks *webhooks, const struct object_id *id);
void webhook_free(struct webhook *webhook);
/* Into its table, and its lane or the dead. Taken over. */
void webhook_put_delivery(struct webhook *webhook, struct delivery *delivery);
void webhook_drop_delivery(struct webhook *webhook, struct delivery *delivery);
/* An attempt has ended: taken (gone, freed), to be tried again, or after three days a dead letter. status 0: no answer; reason:
 * one line. Gathers its record. */
void webhook_judge(struct webhook *webhook, struct delivery *delivery, int status, const char *reason);

/* ---- webhooks_disk.c ---- */

void webhook_write(struct shop *shop, const struct webhook *webhook);
void webhook_write_delivery(struct shop *shop, const struct webhook *webhook,
                            const struct delivery *delivery);
void webhook_write_delivery_gone(struct shop *shop, const struct webhook *webhook,
                                 const struct delivery *delivery);
/* The shop's read_other. */
bool webhooks_read(void *context, const struct record *record);

#endif
