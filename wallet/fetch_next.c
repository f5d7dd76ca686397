#include "wallet/fetch_state.h"

#include <stdlib.h>

#include "base/ensure.h"

#define NEXT_SPARE_S 5 /* it must still be payable for so long */

struct next_offer {
    struct hash place;
    struct fetch_offer offer;
    struct next_offer *below; /* an older one of the same place */
    UT_hash_handle hh;
};

struct next_offers {
    struct next_offer *places; /* the newest of each */
    size_t count;
};

struct next_offers *next_offers_new(void)
{
    return xcalloc(1, sizeof(struct next_offers));
}

static bool is_payable(const struct next_offer *next, uint64_t now_s)
{
    return next->offer.expires > now_s + NEXT_SPARE_S;
}

static struct next_offer *pop(struct next_offers *offers, const struct hash *place)
{
    struct next_offer *next;
    HASH_FIND(hh, offers->places, place, sizeof(*place), next);
    if (next == NULL)
        return NULL;
    HASH_DEL(offers->places, next);
    if (next->below != NULL)
        HASH_ADD(hh, offers->places, place, sizeof(next->below->place), next->below);
    offers->count--;
    return next;
}

static void push(struct next_offers *offers, struct next_offer *next)
{
    HASH_FIND(hh, offers->places, &next->place, sizeof(next->place), next->below);
    if (next->below != NULL)
        HASH_DEL(offers->places, next->below);
    HASH_ADD(hh, offers->places, place, sizeof(next->place), next);
    offers->count++;
}

void next_offers_free(struct next_offers *offers)
{
    if (offers == NULL)
        return;
    while (offers->places != NULL) {
        struct hash place = offers->places->place;
        free(pop(offers, &place));
    }
    free(offers);
}

/* Those of a place that can be paid, in their order. */
static void move_payable(struct next_offers *from, struct next_offers *to, const struct hash *place,
                         uint64_t now_s)
{
    struct next_offer *next, *payable = NULL;
    while ((next = pop(from, place)) != NULL) {
        if (is_payable(next, now_s)) {
            next->below = payable;
            payable = next;
        } else {
            free(next);
        }
    }
    while ((next = payable) != NULL) {
        payable = next->below;
        push(to, next);
    }
}

bool next_offers_have_room(struct next_offers *offers, uint64_t now_s)
{
    struct next_offers kept = {.count = 0};
    if (offers->count < NEXT_OFFERS_MAX)
        return true;
    while (offers->places != NULL) {
        struct hash place = offers->places->place;
        move_payable(offers, &kept, &place, now_s);
    }
    *offers = kept;
    return offers->count < NEXT_OFFERS_MAX;
}

void next_offers_keep(struct next_offers *offers, const struct hash *place, const struct fetch_offer *offer)
{
    ensure(offers->count < NEXT_OFFERS_MAX);
    struct next_offer *next = xcalloc(1, sizeof(*next));
    next->place = *place;
    next->offer = *offer;
    push(offers, next);
}

bool next_offers_take(struct next_offers *offers, const struct hash *place, uint64_t now_s,
                      struct fetch_offer *out)
{
    struct next_offer *next;
    bool taken = false;
    while (!taken && (next = pop(offers, place)) != NULL) {
        *out = next->offer;
        taken = is_payable(next, now_s);
        free(next);
    }
    return taken;
}
