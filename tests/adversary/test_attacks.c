/* The attacks of attacks_*.c, one test each, on one live hub, ledger and tower; then the table of what was sent, what
 * came back and what became of it, and 'N passed, N failed'. docs/attacks.md is that table too.
 *
 *     test_attacks              all of them
 *     test_attacks --table      prints the page's table, runs nothing
 *     ATTACK='a pattern *'      only those whose name (what is sent) matches */
#include "tests/adversary/arena.h"

#define ATTACKS_MAX 512
#define PAGE        "docs/attacks.md"

static const struct attack *const lists[] = {
    attacks_signatures, attacks_streams,   attacks_locks,  attacks_payments, attacks_settlements,
    attacks_contract,   attacks_handshake, attacks_frames, attacks_tower,    attacks_ledger,
};

enum outcome { NOT_RUN, HELD, BROKEN };

static struct {
    struct arena *arena;
    const struct attack *attacks[ATTACKS_MAX];
    enum outcome outcomes[ATTACKS_MAX];
    unsigned ms[ATTACKS_MAX];
    size_t count;
} table;

static void gather(void)
{
    for (size_t i = 0; i < ARRAY_LENGTH(lists); i++)
        for (const struct attack *attack = lists[i]; attack->run != NULL; attack++) {
            ensure(table.count < ATTACKS_MAX);
            table.attacks[table.count++] = attack;
        }
}

static void run_attack(void **state)
{
    size_t index = *(const size_t *)*state;
    const struct attack *attack = table.attacks[index];
    uint64_t begin_us = clock_monotonic_us();
    table.outcomes[index] = BROKEN; /* unless it comes to the end */
    arena_prepare(table.arena);
    attack->run(table.arena);
    arena_verify(table.arena, attack);
    table.outcomes[index] = HELD;
    table.ms[index] = (unsigned)((clock_monotonic_us() - begin_us) / 1000);
}

static int after_attack(void **state)
{
    size_t index = *(const size_t *)*state;
    arena_clear(table.arena, table.outcomes[index] == HELD);
    return 0;
}

static int open_all(void **state)
{
    (void)state;
    table.arena = arena_open();
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    arena_close(table.arena);
    return 0;
}

/* ---- the page ---- */

static struct buffer page_table(void)
{
    struct buffer text = {0};
    buffer_printf(&text, "| kind | what is sent | what comes back |\n| --- | --- | --- |\n");
    for (size_t i = 0; i < table.count; i++)
        buffer_printf(&text, "| %s | %s | %s |\n", table.attacks[i]->kind, table.attacks[i]->sent,
                      table.attacks[i]->answered);
    buffer_u8(&text, 0);
    return text;
}

static void test_the_page_has_this_table(void **state)
{
    (void)state;
    struct buffer wanted = page_table();
    char *page = file_text(PAGE);
    bool same = strstr(page, (const char *)wanted.data) != NULL;
    free(page);
    buffer_free(&wanted);
    if (!same)
        fail_msg(PAGE " has another table: make attacks-page");
}

static void print_outcomes(void)
{
    static const char *const words[] = {"not run", "held", "BROKEN"};
    for (size_t i = 0; i < table.count; i++)
        printf("%3zu  %-15s %-58s %-45s %6u ms  %s\n", i + 1, table.attacks[i]->kind, table.attacks[i]->sent,
               table.attacks[i]->answered, table.ms[i], words[table.outcomes[i]]);
}

int main(int count, char **arguments)
{
    static size_t indices[ATTACKS_MAX];
    static struct CMUnitTest tests[ATTACKS_MAX + 1];
    gather();
    if (count == 2 && strcmp(arguments[1], "--table") == 0) {
        struct buffer text = page_table();
        fputs((const char *)text.data, stdout);
        buffer_free(&text);
        return 0;
    }
    for (size_t i = 0; i < table.count; i++) {
        indices[i] = i;
        tests[i] = (struct CMUnitTest){table.attacks[i]->sent, run_attack, NULL, after_attack, &indices[i]};
    }
    tests[table.count] =
        (struct CMUnitTest){"the page has this table", test_the_page_has_this_table, NULL, NULL, NULL};
    if (getenv("ATTACK") != NULL)
        cmocka_set_test_filter(getenv("ATTACK"));
    int failed = _cmocka_run_group_tests("attacks", tests, table.count + 1, open_all, close_all);
    size_t held = 0, not_run = 0;
    for (size_t i = 0; i < table.count; i++) {
        held += table.outcomes[i] == HELD;
        not_run += table.outcomes[i] == NOT_RUN;
    }
    size_t ran = table.count - not_run;
    bool page_failed = failed > 0 && (size_t)failed > ran - held;
    print_outcomes();
    printf("%zu passed, %d failed\n", held + (not_run == 0 && !page_failed), failed);
    return failed > 0;
}
