/* The payments under way: one table, found by index, by payment id, and by the hash of their secret. */
#include <string.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "bench/load_state.h"
#include "crypto/hash.h"
#include "crypto/lock.h"

#define FLIGHTS_FIRST 1024u

static uint32_t *bucket_of(struct load *load, const struct hash *condition)
{
    return &load->by_condition[load_be32(condition->bytes) & load->condition_mask];
}

/* Doubles the table; the lists by condition are made anew. */
static void grow(struct load *load)
{
    uint32_t old = load->flight_capacity, capacity = old == 0 ? FLIGHTS_FIRST : 2 * old;
    load->flights = xrealloc(load->flights, capacity * sizeof(*load->flights));
    load->by_condition = xrealloc(load->by_condition, capacity * sizeof(*load->by_condition));
    memset(load->flights + old, 0, (capacity - old) * sizeof(*load->flights));
    memset(load->by_condition, 0xff, capacity * sizeof(*load->by_condition)); /* NO_FLIGHT */
    load->flight_capacity = capacity;
    load->condition_mask = capacity - 1;
    for (uint32_t i = capacity; i-- > old;) {
        load->flights[i].next_waiting = load->first_free;
        load->first_free = i;
    }
    for (uint32_t i = 0; i < old; i++) {
        if (load->flights[i].state == FLIGHT_FREE)
            continue;
        uint32_t *bucket = bucket_of(load, &load->flights[i].condition);
        load->flights[i].next_of_condition = *bucket;
        *bucket = i;
    }
}

void flights_init(struct load *load)
{
    load->first_free = NO_FLIGHT;
    random_bytes(load->secret_prefix, sizeof(load->secret_prefix));
    grow(load);
}

/* ---- lists ---- */

static uint32_t index_of(const struct load *load, const struct flight *flight)
{
    return (uint32_t)(flight - load->flights);
}

void flight_append(struct load *load, struct flight_list *list, struct flight *flight, bool reveal)
{
    uint32_t index = index_of(load, flight);
    *(reveal ? &flight->next_reveal : &flight->next_waiting) = NO_FLIGHT;
    if (list->count++ == 0) {
        list->first = index;
    } else {
        struct flight *last = &load->flights[list->last];
        *(reveal ? &last->next_reveal : &last->next_waiting) = index;
    }
    list->last = index;
}

struct flight *flight_take(struct load *load, struct flight_list *list, bool reveal)
{
    if (list->count == 0)
        return NULL;
    struct flight *flight = &load->flights[list->first];
    list->first = reveal ? flight->next_reveal : flight->next_waiting;
    list->count--;
    return flight;
}

struct flight *flight_by_condition(struct load *load, const struct hash *condition,
                                   const struct player *payee)
{
    uint32_t at = *bucket_of(load, condition);
    while (at != NO_FLIGHT && !hash_equal(&load->flights[at].condition, condition))
        at = load->flights[at].next_of_condition;
    if (at == NO_FLIGHT || &load->players[load->flights[at].payee] != payee)
        return NULL;
    return &load->flights[at];
}

struct flight *flight_by_id(struct load *load, const struct payment_id *id, const struct player *payer)
{
    uint32_t index = load_be32(id->bytes + 8);
    if (index >= load->flight_capacity)
        return NULL;
    struct flight *flight = &load->flights[index];
    bool is_it = flight->state != FLIGHT_FREE && payment_id_equal(&flight->id, id) &&
                 &load->players[flight->payer] == payer;
    return is_it ? flight : NULL;
}

/* ---- a payment's life ---- */

static void make_secret(struct load *load, struct flight *flight)
{
    memcpy(flight->secret, load->secret_prefix, sizeof(load->secret_prefix));
    store_be64(flight->secret + sizeof(load->secret_prefix), ++load->secret_counter);
    flight->condition = condition_of_secret(flight->secret);
    store_be64(flight->id.bytes, load->secret_counter);
    store_be32(flight->id.bytes + 8, index_of(load, flight));
    uint32_t *bucket = bucket_of(load, &flight->condition);
    flight->next_of_condition = *bucket;
    *bucket = index_of(load, flight);
}

void flight_start(struct player *payer, uint32_t payee, uint64_t amount, bool locked, uint64_t started_us)
{
    struct load *load = payer->load;
    if (load->first_free == NO_FLIGHT)
        grow(load);
    struct flight *flight = &load->flights[load->first_free];
    load->first_free = flight->next_waiting;
    *flight = (struct flight){.state = FLIGHT_PAY,
                              .locked = locked,
                              .payer = (uint32_t)(payer - load->players),
                              .payee = payee,
                              .started_us = started_us,
                              .amount = amount_of(amount)};
    ensure(amount_fee(flight->amount, load->asset->base_fee, load->asset->fee_ppm, &flight->fee));
    make_secret(load, flight);
    flight_append(load, &payer->waiting, flight, false);
    payer->under_way++;
    load->under_way++;
    load->open_flights++;
    load->round_started++;
    atomic_fetch_add_explicit(&load->share->started, 1, memory_order_relaxed);
    load_touch(payer);
}

void flight_receipted(struct load *load, struct flight *flight)
{
    struct player *payer = &load->players[flight->payer];
    payer->paid += flight->amount.units;
    payer->fees += flight->fee.units;
    payer->under_way--;
    load->under_way--;
    atomic_fetch_add_explicit(&load->share->paid, 1, memory_order_relaxed);
    if (atomic_load_explicit(&load->share->phase, memory_order_relaxed) == LOAD_MEASURE)
        histogram_add(&load->share->latency, clock_monotonic_us() - flight->started_us);
}

void flight_failed(struct load *load, struct flight *flight, uint64_t code)
{
    struct player *payer = &load->players[flight->payer];
    flight->failed = true;
    payer->under_way--;
    load->under_way--;
    if (atomic_fetch_add_explicit(&load->share->failed, 1, memory_order_relaxed) == 0)
        snprintf(load->share->trouble, sizeof(load->share->trouble), "the first of them with %s: %s",
                 code_name(code), code_text(code));
}

void flight_end(struct load *load, struct flight *flight)
{
    if (flight->state != FLIGHT_OVER || !(flight->received || flight->failed))
        return;
    uint32_t index = index_of(load, flight), *at = bucket_of(load, &flight->condition);
    while (*at != index)
        at = &load->flights[*at].next_of_condition;
    *at = flight->next_of_condition;
    flight->state = FLIGHT_FREE;
    flight->next_waiting = load->first_free;
    load->first_free = index;
    load->open_flights--;
}
