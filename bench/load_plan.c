/* Who pays whom, how much, and when. */
#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "bench/load_state.h"

#define UNITS_OF_CURRENCY 100  /* PEOPLE: the service's amounts, in hundredths */
#define ACTIONS_MAX       5000 /* of one client */

static bool draw_locked(struct load *load)
{
    uint32_t percent = load->plan.locked_percent;
    if (percent == 0 || percent == 100)
        return percent == 100;
    return mobile_money_below(&load->random, 100) < percent;
}

static bool plan_is_over(struct load *load)
{
    uint64_t most = load->plan.payments_max;
    if (load->drawing && most > 0 && load->round_started >= most)
        load->drawing = false;
    return !load->drawing || load->failed;
}

/* ---- people ---- */

static void add_errands(struct load *load, uint32_t payer, enum mobile_money_action action)
{
    const struct load_plan *plan = &load->plan;
    struct mobile_money_habit habit = mobile_money_draw_habit(&load->random, action, ACTIONS_MAX);
    load->errands = xrealloc(load->errands, (load->errand_count + habit.count) * sizeof(*load->errands));
    for (uint32_t i = 0; i < habit.count; i++) {
        double amount = mobile_money_draw_amount(&load->random, &habit) * UNITS_OF_CURRENCY;
        uint32_t payee;
        if (action == MOBILE_MONEY_PAYMENT) {
            payee = plan->first_payee + (uint32_t)mobile_money_below(&load->random, plan->payees);
        } else {
            payee = (uint32_t)mobile_money_below(&load->random, plan->payers - 1);
            payee += payee >= payer;
        }
        load->errands[load->errand_count++] = (struct errand){payer, payee, (uint64_t)amount + 1};
    }
}

/* The day of all people, in an order drawn once. */
static void draw_day(struct load *load)
{
    free(load->errands);
    load->errands = NULL;
    load->errand_count = load->errand_next = 0;
    for (uint32_t i = 0; i < load->plan.payers; i++) {
        add_errands(load, i, MOBILE_MONEY_PAYMENT);
        add_errands(load, i, MOBILE_MONEY_TRANSFER);
    }
    for (size_t i = load->errand_count - 1; i > 0; i--) {
        size_t other = (size_t)mobile_money_below(&load->random, i + 1);
        struct errand swap = load->errands[i];
        load->errands[i] = load->errands[other];
        load->errands[other] = swap;
    }
}

static void next_errands(struct load *load)
{
    while (load->under_way < load->plan.window && !plan_is_over(load)) {
        const struct errand *errand = &load->errands[load->errand_next];
        load->errand_next = (load->errand_next + 1) % load->errand_count;
        bool locked = errand->amount >= load->asset->direct_limit.units;
        flight_start(&load->players[errand->payer], errand->payee, errand->amount, locked,
                     clock_monotonic_us());
    }
}

/* ---- pairs and markets ---- */

static void start_one(struct player *payer, uint64_t started_us)
{
    struct load *load = payer->load;
    const struct load_plan *plan = &load->plan;
    uint32_t index = (uint32_t)(payer - load->players);
    uint32_t payee = plan->first_payee + index;
    if (plan->pattern == LOAD_MARKET)
        payee = plan->first_payee + (index + payer->turn++) % plan->payees;
    flight_start(payer, payee, plan->amount, draw_locked(load), started_us);
}

void plan_next(struct player *payer)
{
    struct load *load = payer->load;
    const struct load_plan *plan = &load->plan;
    if (plan->rate > 0 || plan->pattern == LOAD_CASH_IN)
        return;
    if (plan->pattern == LOAD_PEOPLE) {
        next_errands(load);
        return;
    }
    if (payer->under_way + plan->batch > plan->window)
        return;
    uint64_t now_us = clock_monotonic_us();
    while (payer->under_way < plan->window && !plan_is_over(load))
        start_one(payer, now_us);
}

/* ---- open loop ---- */

/* Exponential gaps: arrivals that know nothing of each other. */
static uint64_t draw_gap_us(struct load *load)
{
    double unit = ((double)mobile_money_below(&load->random, UINT32_MAX) + 1) / 4294967296.0;
    return (uint64_t)(-log(unit) / load->plan.rate * 1e6 + 0.5);
}

void plan_arrival(struct load *load)
{
    uint64_t now_us = clock_monotonic_us();
    while (load->next_arrival_us <= now_us && !plan_is_over(load)) {
        start_one(&load->players[load->next_payer], load->next_arrival_us);
        load->next_payer = (load->next_payer + 1) % load->plan.payers;
        load->next_arrival_us += draw_gap_us(load);
    }
    if (plan_is_over(load))
        return;
    uint64_t wait_us = load->next_arrival_us > now_us ? load->next_arrival_us - now_us : 0;
    const struct timeval wait = {(time_t)(wait_us / 1000000), (suseconds_t)(wait_us % 1000000)};
    event_add(load->arrival, &wait);
}

/* ---- a round ---- */

void plan_begin(struct load *load)
{
    const struct load_plan *plan = &load->plan;
    load->random = mobile_money_seeded(plan->seed);
    load->round_started = 0;
    load->drawing = true;
    if (plan->pattern == LOAD_CASH_IN) {
        struct player *bank = &load->players[load->settings.player_count - 1];
        for (uint32_t i = 0; i < plan->payers; i++)
            flight_start(bank, i, plan->amount, false, clock_monotonic_us());
        load->drawing = false;
    } else if (plan->rate > 0) {
        load->next_payer = 0;
        load->next_arrival_us = clock_monotonic_us();
        plan_arrival(load);
    } else if (plan->pattern == LOAD_PEOPLE) {
        draw_day(load);
        next_errands(load);
    } else {
        for (uint32_t i = 0; i < plan->payers; i++)
            plan_next(&load->players[i]);
    }
}
