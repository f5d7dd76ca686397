/* `make drill`: every drill on the ledger asked for, the table of them, and build/drill.json. The last line is
 * 'N passed, N failed'. Arguments: --ledger embedded|evm, --table (what docs/drills.md has, without figures).
 * Environment: DRILL, a pattern: only those. */
#include <jansson.h>

#include "tests/drill/drill.h"

#define DRILLS_MAX 32
#define FIGURES    "build/drill.json"

enum result { NOT_RUN, HELD, BROKEN };

static struct {
    const struct drill *drills[DRILLS_MAX];
    struct outcome outcomes[DRILLS_MAX];
    enum result results[DRILLS_MAX];
    unsigned ms[DRILLS_MAX];
    size_t count;
    struct drill_run run;
    bool evm, lists; /* all of them, for the page */
} all;

static void gather(const struct drill *drills)
{
    for (; drills->name != NULL; drills++) {
        bool fits = all.lists ? true : all.evm ? !drills->embedded_only : !drills->evm_only;
        ensure(all.count < DRILLS_MAX);
        if (fits)
            all.drills[all.count++] = drills;
    }
}

static void run_one(void **state)
{
    size_t at = *(const size_t *)*state;
    uint64_t began = clock_monotonic_us();
    all.results[at] = BROKEN;
    all.run = (struct drill_run){.evm = all.evm};
    all.drills[at]->run(&all.run);
    assert_true(all.run.outcome.got >= all.run.outcome.due && all.run.outcome.channels > 0);
    all.results[at] = HELD;
    all.ms[at] = (unsigned)((clock_monotonic_us() - began) / 1000);
    all.outcomes[at] = all.run.outcome;
}

static int after_one(void **state)
{
    (void)state;
    run_close(&all.run);
    return 0;
}

static void print_table(void)
{
    static const char *const words[] = {"not run", "held", "BROKEN"};
    printf("\n%-22s %-7s %8s %10s %10s %9s %9s %9s\n", "drill", "honest", "channels", "had", "got", "penalty",
           "cheat gas", "time ms");
    for (size_t i = 0; i < all.count; i++) {
        const struct outcome *outcome = &all.outcomes[i];
        printf("%-22s %-7s %8llu %10llu %10llu %9llu %9llu %9u  %s\n", all.drills[i]->name,
               outcome->honest == NULL ? "-" : outcome->honest, (unsigned long long)outcome->channels,
               (unsigned long long)outcome->due, (unsigned long long)outcome->got,
               (unsigned long long)outcome->penalty, (unsigned long long)outcome->gas, all.ms[i],
               words[all.results[i]]);
        if (outcome->blocks > 0)
            printf("%-22s answered in %llu blocks, the fullest with %llu gas\n", "",
                   (unsigned long long)outcome->blocks, (unsigned long long)outcome->longest);
    }
}

static void write_figures(void)
{
    json_t *list = json_array();
    for (size_t i = 0; i < all.count; i++) {
        const struct outcome *outcome = &all.outcomes[i];
        if (all.results[i] == NOT_RUN)
            continue;
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:s, s:b, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "drill",
                            all.drills[i]->name, "fraud", all.drills[i]->fraud, "answer",
                            all.drills[i]->answer, "held", all.results[i] == HELD, "honest",
                            outcome->honest == NULL ? "" : outcome->honest, "channels",
                            (json_int_t)outcome->channels, "had", (json_int_t)outcome->due, "got",
                            (json_int_t)outcome->got, "penalty", (json_int_t)outcome->penalty, "cheater_gas",
                            (json_int_t)outcome->gas, "blocks", (json_int_t)outcome->blocks,
                            "fullest_block_gas", (json_int_t)outcome->longest, "ms", (json_int_t)all.ms[i]));
    }
    json_t *figures = json_pack("{s:s, s:o}", "ledger", all.evm ? "evm" : "embedded", "drills", list);
    if (json_dump_file(figures, FIGURES, JSON_INDENT(2)) != 0)
        fprintf(stderr, FIGURES " cannot be written\n");
    json_decref(figures);
}

static void print_page(void)
{
    printf("| drill | what is tried | what comes of it |\n| --- | --- | --- |\n");
    for (size_t i = 0; i < all.count; i++)
        printf("| %s%s | %s | %s |\n", all.drills[i]->name,
               all.drills[i]->evm_only        ? " (EVM)"
               : all.drills[i]->embedded_only ? " (embedded)"
                                              : "",
               all.drills[i]->fraud, all.drills[i]->answer);
}

int main(int count, char **arguments)
{
    static size_t indices[DRILLS_MAX];
    static struct CMUnitTest tests[DRILLS_MAX];
    all.evm = count == 3 && strcmp(arguments[1], "--ledger") == 0 && strcmp(arguments[2], "evm") == 0;
    all.lists = count == 2 && strcmp(arguments[1], "--table") == 0;
    gather(drills_client);
    gather(drills_hub);
    gather(drills_many);
    gather(drills_chain);
    if (all.lists) {
        print_page();
        return 0;
    }
    for (size_t i = 0; i < all.count; i++) {
        indices[i] = i;
        tests[i] = (struct CMUnitTest){all.drills[i]->name, run_one, NULL, after_one, &indices[i]};
    }
    if (getenv("DRILL") != NULL)
        cmocka_set_test_filter(getenv("DRILL"));
    int failed = _cmocka_run_group_tests("drills", tests, all.count, NULL, NULL);
    size_t held = 0;
    for (size_t i = 0; i < all.count; i++)
        held += all.results[i] == HELD;
    print_table();
    write_figures();
    printf("%zu passed, %d failed\n", held, failed);
    return failed > 0;
}
