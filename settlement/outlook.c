#include "settlement/outlook.h"

static const uint64_t marks_s[OUTLOOK_MARKS] = {0, 3600, 6 * 3600, OUTLOOK_DAY_S};

static uint64_t clamped(unsigned_wide units)
{
    return units < AMOUNT_LIMIT ? (uint64_t)units : AMOUNT_LIMIT - 1;
}

static void add(uint64_t *sum, unsigned_wide units)
{
    *sum = clamped(*sum + units);
}

void outlook_add_channel(struct outlook *outlook, uint64_t room, uint64_t need, uint64_t daily)
{
    for (size_t i = 0; i < OUTLOOK_MARKS; i++) {
        unsigned_wide wanted = (unsigned_wide)daily * marks_s[i] / OUTLOOK_DAY_S + need;
        if (wanted > room)
            add(&outlook->need[i], wanted - room);
    }
}

void outlook_add(struct outlook *sum, const struct outlook *one)
{
    for (size_t i = 0; i < OUTLOOK_MARKS; i++)
        add(&sum->need[i], one->need[i]);
    add(&sum->idle, one->idle);
    add(&sum->returning, one->returning);
}

/* Needed beyond what there is at a mark; negative: that much is left. */
static wide gap(const struct outlook *outlook, uint64_t pool, size_t mark)
{
    unsigned_wide returned = (unsigned_wide)outlook->returning * marks_s[mark] / OUTLOOK_DAY_S;
    return (wide)outlook->need[mark] - (wide)pool - (wide)outlook->idle - (wide)returned;
}

struct outlook_verdict outlook_judge(const struct outlook *outlook, uint64_t pool)
{
    struct outlook_verdict verdict = {.short_in_s = OUTLOOK_FOREVER};
    for (size_t i = 0; i < OUTLOOK_MARKS; i++) {
        wide now = gap(outlook, pool, i);
        if (now <= 0)
            continue;
        if (verdict.short_in_s == OUTLOOK_FOREVER && i > 0) {
            wide before = gap(outlook, pool, i - 1); /* <= 0 */
            verdict.short_in_s =
                marks_s[i - 1] + (uint64_t)((wide)(marks_s[i] - marks_s[i - 1]) * -before / (now - before));
        } else if (i == 0) {
            verdict.short_in_s = 0;
        }
        if (now > (wide)verdict.lacking)
            verdict.lacking = clamped((unsigned_wide)now);
    }
    return verdict;
}
