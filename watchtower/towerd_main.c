/* rill-towerd: reads its settings and its key, then runs the shell. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/endpoint.h"
#include "base/ensure.h"
#include "base/options.h"
#include "base/process.h"
#include "crypto/key_file.h"
#include "watchtower/shell.h"

#define PASSPHRASE_VARIABLE "RILL_TOWERD_PASSPHRASE"
#define GWEI                1000000000u

struct flags {
    const char *listen, *ledger_url, *contract, *key_file, *passphrase_file, *data, *http, *port_file,
        *log_format, *log_level, *also, *alarm_url;
    uint64_t chain_id, confirmations, poll_ms, max_fee_gwei, connections, register_margin_s;
    uint64_t budget_response_gwei, budget_day_gwei, threads;
    uint64_t quota_users, quota_channels, quota_kib, quota_total_mib;
};

static enum options_result read_flags(struct flags *flags, int argc, char **argv)
{
    const struct option_row rows[] = {
        {"listen", OPTION_TEXT, &flags->listen, "127.0.0.1:9736", 0, 0, "ADDRESS:PORT",
         "Where users connect; with port 0 the system chooses, see --port-file."},
        {"ledger", OPTION_TEXT, &flags->ledger_url, "http://127.0.0.1:8545", 0, 0, "URL",
         "JSON-RPC of the ledger node."},
        {"contract", OPTION_TEXT, &flags->contract, "0x52696c6c00000000000000000000000000000001", 0, 0,
         "ADDRESS", "The Rill contract; the default is the embedded ledger's."},
        {"chain-id", OPTION_NUMBER, &flags->chain_id, "0", 0, UINT64_MAX, "NUMBER",
         "The chain the node must be on; 0 takes whatever it says."},
        {"confirmations", OPTION_NUMBER, &flags->confirmations, "3", 0, 10000, "BLOCKS",
         "How deep a block must lie before it counts for good."},
        {"also", OPTION_TEXT, &flags->also, NULL, 0, 0, "CONTRACT;…",
         "Further contracts that are served, on this ledger or others, separated by ';', each 'NAME URL "
         "CONTRACT "
         "ADDRESS:PORT [chain-id=N] [confirmations=N]': a name for its folder and figures, its ledger node, "
         "its "
         "address, the port its users connect to."},
        {"key-file", OPTION_TEXT, &flags->key_file, "tower.json", 0, 0, "FILE",
         "Keystore of the tower's own key, which signs receipts and pays for gas."},
        {"passphrase-file", OPTION_TEXT, &flags->passphrase_file, NULL, 0, 0, "FILE",
         "File whose first line is the keystore's passphrase; without it, the variable " PASSPHRASE_VARIABLE
         "."},
        {"data", OPTION_TEXT, &flags->data, "rill-tower", 0, 0, "FOLDER",
         "Journal and TLS certificate; made if missing."},
        {"register-margin-s", OPTION_NUMBER, &flags->register_margin_s, "60", 1, 1u << 30, "SECONDS",
         "A known witness is registered this long before its lock expires."},
        {"poll-ms", OPTION_NUMBER, &flags->poll_ms, "500", 1, 60000, "MILLISECONDS",
         "How often the node is asked for its newest block."},
        {"max-fee-gwei", OPTION_NUMBER, &flags->max_fee_gwei, "500", 1, 1000000, "GWEI",
         "The most that is ever offered for a unit of gas."},
        {"budget-response-gwei", OPTION_NUMBER, &flags->budget_response_gwei, "100000000", 0,
         UINT32_MAX * 1000000ull, "GWEI",
         "The most that one answer may cost in gas, were all its gas used; 0: no limit, and none by day."},
        {"budget-day-gwei", OPTION_NUMBER, &flags->budget_day_gwei, "10000000000", 0, UINT32_MAX * 1000000ull,
         "GWEI",
         "The most that the answers for one contract may cost in one day; half of it for what has no "
         "deadline; 0: "
         "no limit."},
        {"alarm-url", OPTION_TEXT, &flags->alarm_url, NULL, 0, 0, "URL",
         "Alarms are posted there as JSON, again until taken; http only."},
        {"threads", OPTION_NUMBER, &flags->threads, "0", 0, 64, "NUMBER",
         "That verify and sign; 0: one a core."},
        {"quota-users", OPTION_NUMBER, &flags->quota_users, "10000", 1, 100000000, "NUMBER",
         "Users that may leave appointments."},
        {"quota-channels", OPTION_NUMBER, &flags->quota_channels, "64", 1, 100000000, "NUMBER",
         "Channels per user; the hub is not bound by it."},
        {"quota-kib", OPTION_NUMBER, &flags->quota_kib, "4096", 1, 1u << 30, "KIB",
         "Memory per user; the hub is not bound by it."},
        {"quota-total-mib", OPTION_NUMBER, &flags->quota_total_mib, "2048", 1, 1u << 30, "MIB",
         "Memory of all appointments; a quarter of it is kept for clients."},
        {"connections", OPTION_NUMBER, &flags->connections, "10000", 1, 1000000, "NUMBER",
         "Connections at once; further ones are closed."},
        {"http", OPTION_TEXT, &flags->http, "127.0.0.1:9746", 0, 0, "ADDRESS:PORT",
         "Where /metrics and /healthz are served; keep it on loopback."},
        {"port-file", OPTION_TEXT, &flags->port_file, NULL, 0, 0, "FILE",
         "Gets a line 'PORT HTTP-PORT' once the tower serves."},
        {"log-format", OPTION_CHOICE, &flags->log_format, "text", 0, 0, "text|json",
         "Form of the log on stderr."},
        {"log-level", OPTION_CHOICE, &flags->log_level, "info", 0, 0, "debug|info|warn|error",
         "The least that is logged."},
    };
    const struct options options = {
        .program = "rill-towerd",
        .environment_prefix = "RILL_TOWERD",
        .usage = "[OPTIONS]",
        .about = "Rill's watchtower: keeps appointments of channel users and answers false closes for them.\n"
                 "Example: rill-towerd --ledger http://127.0.0.1:8545 --key-file tower.json "
                 "--passphrase-file tower.pass",
        .rows = rows,
        .row_count = ARRAY_LENGTH(rows)};
    size_t words;
    return options_read(&options, argc, argv, NULL, 0, &words);
}

static bool wrong_also(const char *entry, const char *what)
{
    log_error("--also '%.200s': %s; give NAME URL CONTRACT ADDRESS:PORT [chain-id=N] [confirmations=N]",
              entry, what);
    return false;
}

/* A name is a folder's, and a label's. */
static bool name_is_good(const struct shell_settings *settings, const char *name)
{
    size_t length = strlen(name);
    if (length == 0 || length > POST_NAME_BYTES_MAX || strcmp(name, "journal") == 0 ||
        strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != length)
        return false;
    for (size_t i = 0; i < settings->post_count; i++)
        if (strcmp(settings->posts[i].name, name) == 0)
            return false;
    return true;
}

static bool read_number(const char *text, uint64_t most, uint64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == '\0' && errno == 0 && *out <= most;
}

static bool read_extra(const char *word, struct post_settings *post)
{
    uint64_t number;
    if (strncmp(word, "chain-id=", 9) == 0)
        return read_number(word + 9, UINT64_MAX, &post->chain_id);
    if (strncmp(word, "confirmations=", 14) != 0 || !read_number(word + 14, 10000, &number))
        return false;
    post->confirmations = (uint32_t)number;
    return true;
}

/* One entry of --also; its words are cut out of `text`, which lives as long as the process. */
static bool read_also(const struct flags *flags, char *text, struct shell_settings *out)
{
    char *words[8], *rest = text, *word, whole[256];
    size_t count = 0;
    snprintf(whole, sizeof whole, "%s", text);
    while ((word = strsep(&rest, " \t")) != NULL)
        if (*word != '\0' && count < ARRAY_LENGTH(words))
            words[count++] = word;
    if (count == 0)
        return true;
    if (count < 4 || count == ARRAY_LENGTH(words))
        return wrong_also(whole, "that is not four words");
    if (out->post_count == POSTS_MAX)
        return wrong_also(whole, "too many contracts");
    if (!name_is_good(out, words[0]))
        return wrong_also(whole, "a name is up to 32 of a-z, 0-9 and '-', not 'journal', and given once");
    struct post_settings *post = &out->posts[out->post_count];
    *post = (struct post_settings){.ledger_url = words[1], .confirmations = (uint32_t)flags->confirmations};
    snprintf(post->name, sizeof post->name, "%s", words[0]);
    if (!hex_decode(words[2], post->contract.bytes, 20))
        return wrong_also(whole, "the contract is no address");
    if (!endpoint_split(words[3], post->listen_host, &post->listen_port))
        return wrong_also(whole, "where to listen is no ADDRESS:PORT");
    for (size_t i = 4; i < count; i++)
        if (!read_extra(words[i], post))
            return wrong_also(whole, "only chain-id=N and confirmations=N may follow");
    out->post_count++;
    return true;
}

static bool posts_of(const struct flags *flags, struct shell_settings *out)
{
    struct post_settings *first = &out->posts[out->post_count++];
    *first = (struct post_settings){.name = "main",
                                    .ledger_url = flags->ledger_url,
                                    .chain_id = flags->chain_id,
                                    .confirmations = (uint32_t)flags->confirmations};
    if (!endpoint_split(flags->listen, first->listen_host, &first->listen_port)) {
        log_error("--listen %s: give ADDRESS:PORT, as in 127.0.0.1:9736", flags->listen);
        return false;
    }
    if (!hex_decode(flags->contract, first->contract.bytes, 20)) {
        log_error("--contract %s: give the Rill contract's address, 0x and 40 digits", flags->contract);
        return false;
    }
    if (flags->also == NULL)
        return true;
    char *rest = xstrdup(flags->also), *entry;
    while ((entry = strsep(&rest, ";")) != NULL)
        if (!read_also(flags, entry, out))
            return false;
    return true;
}

static uint32_t cores(void)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online < 1 ? 1 : online > 64 ? 64 : (uint32_t)online;
}

static bool settings_of(const struct flags *flags, char http_host[HOST_BYTES_MAX + 1],
                        struct shell_settings *out)
{
    *out = (struct shell_settings){.poll_ms = (uint32_t)flags->poll_ms,
                                   .max_fee_per_gas = flags->max_fee_gwei * GWEI,
                                   .budget_response_wei = (unsigned_wide)flags->budget_response_gwei * GWEI,
                                   .budget_day_wei = (unsigned_wide)flags->budget_day_gwei * GWEI,
                                   .data = flags->data,
                                   .http_host = http_host,
                                   .port_file = flags->port_file,
                                   .alarm_url = flags->alarm_url,
                                   .threads = flags->threads != 0 ? (uint32_t)flags->threads : cores(),
                                   .connections_max = (uint32_t)flags->connections,
                                   .register_margin_s = flags->register_margin_s,
                                   .quotas = {.users = flags->quota_users,
                                              .channels_per_user = flags->quota_channels,
                                              .bytes_per_user = flags->quota_kib * 1024,
                                              .bytes = flags->quota_total_mib * 1024 * 1024}};
    if (flags->budget_day_gwei != 0 && flags->budget_day_gwei / 2 < flags->budget_response_gwei) {
        log_error("--budget-day-gwei %llu leaves no room for one answer: give at least twice "
                  "--budget-response-gwei",
                  (unsigned long long)flags->budget_day_gwei);
        return false;
    }
    if (!endpoint_split(flags->http, http_host, &out->http_port)) {
        log_error("--http %s: give ADDRESS:PORT, as in 127.0.0.1:9746", flags->http);
        return false;
    }
    return posts_of(flags, out);
}

int main(int argc, char **argv)
{
    struct flags flags = {0};
    char http_host[HOST_BYTES_MAX + 1], message[512];
    static struct shell_settings settings;
    process_keeps_secrets();
    switch (read_flags(&flags, argc, argv)) {
    case OPTIONS_DONE:
        return 0;
    case OPTIONS_WRONG:
        return 2;
    case OPTIONS_RUN:
        break;
    }
    enum log_level level;
    ensure(log_level_parse(flags.log_level, &level));
    log_setup("rill-towerd", level, strcmp(flags.log_format, "json") == 0);
    if (!settings_of(&flags, http_host, &settings))
        return 2;
    if (!key_file_open(flags.key_file, flags.passphrase_file, PASSPHRASE_VARIABLE, &settings.key, message,
                       sizeof message)) {
        log_error("%s", message);
        return 1;
    }
    int code = shell_run(&settings);
    bytes_wipe(&settings.key, sizeof settings.key);
    return code;
}
