/* Runs rill-bench (build/debug/bin, or the folder RILL_BIN) on a small workload and looks at what it says. No figure is
 * held against a limit: the machine may be busy. */
#ifndef RILL_TESTS_BENCH_RUN_H
#define RILL_TESTS_BENCH_RUN_H

/* cmocka.h needs these four, in this order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/support/process.h"

#define MAYBE_UNUSED __attribute__((unused))
#define WORDS_MAX    32

struct bench_run {
    char folder[256], json_file[300], html_file[300], error_file[300];
};

/* The whole text of a file, to be freed; "" if there is none. */
static MAYBE_UNUSED char *file_text(const char *path)
{
    FILE *file = fopen(path, "r");
    size_t length = 0, capacity = 1 << 20;
    char *text = calloc(1, capacity + 1);
    assert_non_null(text);
    if (file != NULL) {
        length = fread(text, 1, capacity, file);
        fclose(file);
    }
    text[length] = '\0';
    return text;
}

static MAYBE_UNUSED int bench_setup(void **state)
{
    struct bench_run *run = calloc(1, sizeof(*run));
    folder_make(run->folder, sizeof(run->folder));
    snprintf(run->json_file, sizeof(run->json_file), "%s/run.json", run->folder);
    snprintf(run->html_file, sizeof(run->html_file), "%s/run.html", run->folder);
    snprintf(run->error_file, sizeof(run->error_file), "%s/run.err", run->folder);
    *state = run;
    return 0;
}

static MAYBE_UNUSED int bench_teardown(void **state)
{
    struct bench_run *run = *state;
    folder_remove(run->folder);
    free(run);
    return 0;
}

/* `rill-bench words…`; its standard output in out. Returns its exit code. */
static MAYBE_UNUSED int bench(struct bench_run *run, char *out, size_t size, const char *const *words)
{
    char path[256];
    const char *argv[WORDS_MAX + 1] = {process_path("rill-bench", path, sizeof(path))};
    size_t count = 1;
    for (; *words != NULL; words++) {
        assert_true(count < WORDS_MAX);
        argv[count++] = *words;
    }
    struct process process;
    assert_true(process_start(&process, argv, run->error_file));
    size_t length = 0;
    ssize_t got;
    while ((got = read(process.output, out + length, size - 1 - length)) > 0)
        length += (size_t)got;
    out[length] = '\0';
    return process_end(&process, 0);
}

static MAYBE_UNUSED double number_of(const json_t *json, const char *name)
{
    const json_t *value = json_object_get(json, name);
    if (!json_is_number(value))
        fail_msg("the figures have no number %s", name);
    return json_number_value(value);
}

static MAYBE_UNUSED void expect_positive(const json_t *json, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!(number_of(json, names[i]) > 0))
            fail_msg("%s is %g", names[i], number_of(json, names[i]));
}

static MAYBE_UNUSED void bench_failed(const struct bench_run *run, int code, const char *out)
{
    char *error = file_text(run->error_file);
    print_error("exit code %d\n%s%s\n", code, out, error);
    free(error);
    fail();
}

/* Runs a workload to a good end, for a second, with a JSON and an HTML report; returns its figures, to be decref'd. */
static MAYBE_UNUSED json_t *bench_figures(struct bench_run *run, const char *const *words)
{
    static const char *const always[] = {"sign_us", "verify_us", "io_us", "floor_us"};
    const char *all[WORDS_MAX] = {NULL};
    size_t count = 0;
    all[count++] = *words++;
    const char *const common[] = {"--json", run->json_file, "--html", run->html_file, "--seconds",
                                  "1",      "--warm-up-s",  "1",      "--folder",     run->folder};
    for (size_t i = 0; i < ARRAY_LENGTH(common); i++)
        all[count++] = common[i];
    for (; *words != NULL; words++) {
        assert_true(count < WORDS_MAX - 1);
        all[count++] = *words;
    }
    char out[8192];
    int code = bench(run, out, sizeof(out), all);
    if (code != 0)
        bench_failed(run, code, out);
    assert_non_null(strstr(out, "the money is right"));
    json_t *json = json_load_file(run->json_file, 0, NULL);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "workload")), all[0]);
    assert_true(json_is_true(json_object_get(json, "money_checked")));
    assert_true(json_is_boolean(json_object_get(json, "durable")));
    assert_true(number_of(json_object_get(json, "conditions"), "cores") >= 1);
    expect_positive(json, always, ARRAY_LENGTH(always));
    double floor = number_of(json, "sign_us") + number_of(json, "verify_us") + 2 * number_of(json, "io_us");
    assert_true(number_of(json, "floor_us") > 0.99 * floor && number_of(json, "floor_us") < 1.01 * floor);
    return json;
}

/* The figures of a workload that pays. */
static MAYBE_UNUSED void expect_payments(const json_t *json)
{
    static const char *const names[] = {"seconds",
                                        "payments",
                                        "payments_per_s",
                                        "updates_per_s",
                                        "p50_ms",
                                        "p99_ms",
                                        "max_ms",
                                        "hub_cpu_us_per_payment",
                                        "hub_cores_used",
                                        "floor_ratio",
                                        "fsyncs_per_s",
                                        "payments_per_fsync",
                                        "journal_bytes_per_payment",
                                        "load_cpu_us_per_payment",
                                        "signatures_checked",
                                        "hub_rss_mib"};
    expect_positive(json, names, ARRAY_LENGTH(names));
    assert_true(number_of(json, "failed") == 0);
    assert_true(number_of(json, "receipts_checked") >= number_of(json, "payments"));
    assert_true(number_of(json, "p50_ms") <= number_of(json, "p99_ms"));
    assert_true(number_of(json, "p99_ms") <= number_of(json, "max_ms"));
}

/* A page that stands alone: plots in it, nothing from elsewhere. */
static MAYBE_UNUSED void expect_page(const struct bench_run *run, unsigned plots)
{
    char *page = file_text(run->html_file);
    unsigned found = 0;
    for (const char *at = page; (at = strstr(at, "<svg")) != NULL; at++)
        found++;
    assert_int_equal(found, plots);
    assert_non_null(strstr(page, "</html>"));
    assert_null(strstr(page, "http"));
    assert_null(strstr(page, "src="));
    assert_null(strstr(page, "nan"));
    free(page);
}

#endif
