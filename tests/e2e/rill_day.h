/* The command `rill` as people use it, in a test: run to its end, against a real ledger and a real hub. */
#ifndef RILL_TESTS_E2E_RILL_DAY_H
#define RILL_TESTS_E2E_RILL_DAY_H

#include "hub_fixture.h"

#include <jansson.h>

#include "wallet/command.h"

#define WORDS_MAX 24

struct day {
    struct hub_stage *stage;
    char error_file[160];
    char hub[32], http[32];
};

/* Runs `rill words…` to its end; its stdout in out. Returns its exit code. */
static inline int rill(struct day *day, char *out, size_t size, const char *const *words)
{
    char path[256];
    const char *argv[WORDS_MAX + 2] = {process_path("rill", path, sizeof(path))};
    for (size_t i = 0; words[i] != NULL; i++) {
        ensure(i < WORDS_MAX);
        argv[i + 1] = words[i];
    }
    struct process process;
    remove(day->error_file);
    ensure(process_start(&process, argv, day->error_file));
    size_t length = 0;
    ssize_t got;
    while ((got = read(process.output, out + length, size - 1 - length)) > 0)
        length += (size_t)got;
    out[length] = '\0';
    return process_end(&process, 0);
}

#define RILL(day, out, ...) rill(day, out, sizeof(out), (const char *const[]){__VA_ARGS__, NULL})

static inline void expect(struct day *day, int wanted, int code, const char *out)
{
    if (wanted == code)
        return;
    char *error = file_text(day->error_file);
    fail_msg("exit code %d, expected %d\n%s%s", code, wanted, out, error);
}

static inline bool error_says(struct day *day, const char *words)
{
    return file_says(day->error_file, words);
}

/* The hub was started again, on other ports, as the system chose. */
static inline void day_hub_moved(struct day *day)
{
    snprintf(day->hub, sizeof(day->hub), "127.0.0.1:%u", day->stage->hub_port);
    snprintf(day->http, sizeof(day->http), "127.0.0.1:%u", day->stage->http_port);
    setenv("RILL_HUB", day->hub, 1);
    setenv("RILL_HUB_HTTP", day->http, 1);
}

static inline struct day *day_open(const char *const *hub_flags)
{
    struct day *day = xcalloc(1, sizeof(*day));
    day->stage = stage_open((const char *const[]){"--idle-block-ms", "60", NULL});
    hub_start(day->stage, hub_flags);
    snprintf(day->error_file, sizeof(day->error_file), "%s/rill.err", day->stage->folder);
    day_hub_moved(day);
    setenv("RILL_LEDGER", day->stage->url, 1);
    setenv("RILL_CONTRACT", day->stage->contract_text, 1);
    setenv("RILL_CONFIRMATIONS", "1", 1);
    setenv("RILL_PASSPHRASE", PASSPHRASE, 1);
    return day;
}

static inline void day_close(struct day *day)
{
    stage_close(day->stage);
    free(day);
}

static inline void home_of(struct day *day, const char *name, char out[160])
{
    snprintf(out, 160, "%s/%s", day->stage->folder, name);
}

struct day_words {
    struct day *day;
    const char *words;
};

static inline bool day_log_says(void *context)
{
    const struct day_words *awaited = context;
    return file_says(awaited->day->stage->hub_log, awaited->words);
}

/* Waits until the hub's log has the words. */
static inline void day_expect_log(struct day *day, const char *words)
{
    struct day_words awaited = {day, words};
    if (!holds_in_time(day->stage, day_log_says, &awaited))
        fail_with_log(day->stage, words);
}

/* While the hub is stopped. */
static inline void day_reshard(struct day *day, const char *shards)
{
    char path[256];
    const char *const words[] = {process_path("rill-hubd", path, sizeof(path)),
                                 "reshard",
                                 "--data",
                                 day->stage->hub_folder,
                                 "--shards",
                                 shards,
                                 NULL};
    struct process process;
    ensure(process_start(&process, words, day->error_file));
    expect(day, 0, process_end(&process, 0), "");
}

/* A wallet with some coins for gas. Returns its address. */
static inline struct address make_wallet(struct day *day, const char *home)
{
    char out[4096];
    struct address address;
    expect(day, 0, RILL(day, out, "init", "--home", home, "--light", "--json"), out);
    json_t *made = json_loads(out, 0, NULL);
    assert_true(hex_decode(json_string_value(json_object_get(made, "address")), address.bytes, 20));
    json_decref(made);
    send_coins(day->stage, &day->stage->hub, &address, 1000000000);
    return address;
}

/* The first word that begins so, cut at the line's end. */
static inline const char *word_in(char *out, const char *begins)
{
    char *at = strstr(out, begins);
    assert_non_null(at);
    at[strcspn(at, " \n\"")] = '\0';
    return at;
}

/* The shop's terminal takes one payment of the payer; both are wallets' homes. */
static inline void day_pay(struct day *day, const char *payer, const char *shop, const char *amount,
                           const char *mode)
{
    char out[65536], invoice[4096], path[256], log[200];
    expect(day, 0, RILL(day, out, "invoice", amount, "--home", shop), out);
    snprintf(invoice, sizeof(invoice), "%s", word_in(out, "rill:"));
    const char *const listen[] = {
        process_path("rill", path, sizeof(path)), "listen", "--count", "1", "--home", shop, NULL};
    struct process listener;
    snprintf(log, sizeof(log), "%s/listen.err", day->stage->folder);
    remove(log);
    ensure(process_start(&listener, listen, log));
    uint64_t until = clock_monotonic_us() + PATIENCE_MS * 1000;
    while (!file_says(log, "listening") && clock_monotonic_us() < until)
        poll(NULL, 0, 20);
    expect(day, 0, RILL(day, out, "pay", invoice, "--mode", mode, "--home", payer), out);
    assert_int_equal(process_end(&listener, 0), 0);
}

#endif
