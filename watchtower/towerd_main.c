/* rill-towerd: reads its settings and its key, then runs the shell. */
#include <string.h>

#include "base/endpoint.h"
#include "base/ensure.h"
#include "base/options.h"
#include "base/process.h"
#include "crypto/key_file.h"
#include "watchtower/shell.h"

#define PASSPHRASE_VARIABLE "RILL_TOWERD_PASSPHRASE"

struct flags {
    const char *listen, *ledger_url, *contract, *key_file, *passphrase_file, *data, *http, *port_file,
        *log_format, *log_level;
    uint64_t chain_id, confirmations, poll_ms, max_fee_gwei, connections, register_margin_s;
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
        {"quota-users", OPTION_NUMBER, &flags->quota_users, "10000", 1, 100000000, "NUMBER",
         "Users that may leave appointments."},
        {"quota-channels", OPTION_NUMBER, &flags->quota_channels, "64", 1, 100000000, "NUMBER",
         "Channels per user; the hub is not bound by it."},
        {"quota-kib", OPTION_NUMBER, &flags->quota_kib, "4096", 1, 1u << 30, "KIB",
         "Memory per user; the hub is not bound by it."},
        {"quota-total-mib", OPTION_NUMBER, &flags->quota_total_mib, "2048", 1, 1u << 30, "MIB",
         "Memory of all appointments."},
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

static bool settings_of(const struct flags *flags, char host[HOST_BYTES_MAX + 1],
                        char http_host[HOST_BYTES_MAX + 1], struct shell_settings *out)
{
    *out = (struct shell_settings){.listen_host = host,
                                   .ledger_url = flags->ledger_url,
                                   .chain_id = flags->chain_id,
                                   .confirmations = (uint32_t)flags->confirmations,
                                   .poll_ms = (uint32_t)flags->poll_ms,
                                   .max_fee_per_gas = flags->max_fee_gwei * 1000000000u,
                                   .data = flags->data,
                                   .http_host = http_host,
                                   .port_file = flags->port_file,
                                   .connections_max = (uint32_t)flags->connections,
                                   .register_margin_s = flags->register_margin_s,
                                   .quotas = {.users = flags->quota_users,
                                              .channels_per_user = flags->quota_channels,
                                              .bytes_per_user = flags->quota_kib * 1024,
                                              .bytes = flags->quota_total_mib * 1024 * 1024}};
    if (!endpoint_split(flags->listen, host, &out->listen_port)) {
        log_error("--listen %s: give ADDRESS:PORT, as in 127.0.0.1:9736", flags->listen);
        return false;
    }
    if (!endpoint_split(flags->http, http_host, &out->http_port)) {
        log_error("--http %s: give ADDRESS:PORT, as in 127.0.0.1:9746", flags->http);
        return false;
    }
    if (!hex_decode(flags->contract, out->contract.bytes, 20)) {
        log_error("--contract %s: give the Rill contract's address, 0x and 40 digits", flags->contract);
        return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    struct flags flags = {0};
    char host[HOST_BYTES_MAX + 1], http_host[HOST_BYTES_MAX + 1], message[512];
    struct shell_settings settings;
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
    if (!settings_of(&flags, host, http_host, &settings))
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
