/* rill-hubd: reads its settings and its key, then runs the hub. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/log.h"
#include "base/process.h"
#include "crypto/hash.h"
#include "crypto/key_file.h"
#include "hub/hub.h"
#include "hub/reshard.h"

struct flags {
    struct hub_settings hub;
    const char *contract, *key_file, *passphrase_file, *tower, *tower_address, *log_format, *log_level;
    uint64_t reveal_margin_s, min_expiry_s, max_expiry_s, settle_window_s;
    uint64_t base_fee, fee_ppm, direct_limit, reserve_bps, min_lock, max_lock, locks_per_payer;
    uint64_t waiting_max, unrevealed_max, inbound_max, unlock_min, tower_silence_s, settle_interval_s,
        settle_collect_ms, idle_bps, settle_requests, settle_least_move, settle_gas_max, room_percent,
        history_days;
};

static enum options_result read_flags(struct flags *flags, int argc, char **argv)
{
    struct hub_settings *hub = &flags->hub;
    const struct option_row rows[] = {
        {"data", OPTION_TEXT, &hub->data, "rill-hub", 0, 0, "FOLDER",
         "Journal and TLS certificate; made if missing."},
        {"listen", OPTION_TEXT, &hub->listen, "127.0.0.1:9735", 0, 0, "ADDRESS:PORT",
         "Where wallets connect; port 0: the system chooses."},
        {"shards", OPTION_NUMBER, &hub->shards, "0", 0, SHARDS_MAX, "NUMBER",
         "Threads that share the clients, each with a journal and a port of its own (the ports after "
         "--listen's); 0: as "
         "the journal was made for, one a core if it is new."},
        {"public-host", OPTION_TEXT, &hub->public_host, NULL, 0, 0, "HOST",
         "Name or address under which wallets reach the other shards' ports; the address of --listen by "
         "default."},
        {"http", OPTION_TEXT, &hub->http, "127.0.0.1:9745", 0, 0, "ADDRESS:PORT",
         "Metrics, health and settlement reports for operators; keep it on loopback."},
        {"port-file", OPTION_TEXT, &hub->port_file, NULL, 0, 0, "FILE",
         "Gets a line 'PORT HTTP-PORT' once the hub serves."},
        {"key-file", OPTION_TEXT, &flags->key_file, "hub.json", 0, 0, "FILE", "Keystore of the hub's key."},
        {"passphrase-file", OPTION_TEXT, &flags->passphrase_file, NULL, 0, 0, "FILE",
         "File whose first line is its passphrase; without it, the variable RILL_HUBD_PASSPHRASE."},
        {"ledger", OPTION_TEXT, &hub->ledger_url, "http://127.0.0.1:8545", 0, 0, "URL",
         "JSON-RPC of the ledger node."},
        {"contract", OPTION_TEXT, &flags->contract, "0x52696c6c00000000000000000000000000000001", 0, 0,
         "ADDRESS", "The Rill contract; the default is the embedded ledger's."},
        {"chain-id", OPTION_NUMBER, &hub->chain_id, "0", 0, UINT64_MAX, "NUMBER",
         "The chain the node must be on; 0: whatever it says."},
        {"contract-block", OPTION_NUMBER, &hub->contract_block, "0", 0, UINT64_MAX, "NUMBER",
         "The block the contract was created in (`rill ledger deploy` says it): earlier ones are not read."},
        {"confirmations", OPTION_NUMBER, &hub->confirmations, "3", 0, 10000, "BLOCKS",
         "How deep a block must lie before it counts."},
        {"poll-ms", OPTION_NUMBER, &hub->poll_ms, "500", 10, 60000, "MILLISECONDS",
         "How often the node is asked for its newest block."},
        {"max-fee-gwei", OPTION_NUMBER, &hub->max_fee_gwei, "500", 1, 1000000, "GWEI",
         "The most that is ever offered for a unit of gas."},
        {"tower", OPTION_TEXT, &flags->tower, NULL, 0, 0, "ADDRESS@HOST:PORT,…",
         "The hub's watchtowers, at most four, each with the ledger address that rill-towerd prints at "
         "start; none "
         "by default."},
        {"tower-address", OPTION_TEXT, &flags->tower_address, NULL, 0, 0, "ADDRESS",
         "The address of the one tower that --tower names as HOST:PORT alone."},
        {"tower-silence-s", OPTION_NUMBER, &flags->tower_silence_s, "600", 1, 864000, "SECONDS",
         "A tower silent this long is dismissed: revocations no longer wait for it."},
        {"base-fee", OPTION_NUMBER, &flags->base_fee, "1", 0, AMOUNT_LIMIT - 1, "UNITS",
         "Fee of every payment."},
        {"fee-ppm", OPTION_NUMBER, &flags->fee_ppm, "1000", 0, 1000000, "PPM",
         "And this many millionths of its amount."},
        {"direct-limit", OPTION_NUMBER, &flags->direct_limit, "10000000", 0, AMOUNT_LIMIT - 1, "UNITS",
         "Wallets lock payments from this amount up."},
        {"reserve-bps", OPTION_NUMBER, &flags->reserve_bps, "100", 0, 10000, "BPS",
         "Share of its deposit, in hundredths of a percent, that a client keeps until it closes."},
        {"min-lock", OPTION_NUMBER, &flags->min_lock, "1000000", 1, AMOUNT_LIMIT - 1, "UNITS",
         "Least amount of a locked payment; keep it above what enforcing a lock on the ledger costs."},
        {"max-lock", OPTION_NUMBER, &flags->max_lock, "1000000000000", 1, AMOUNT_LIMIT - 1, "UNITS",
         "Most of one locked payment."},
        {"locks-per-payer", OPTION_NUMBER, &flags->locks_per_payer, "128", 1, LOCKS_PER_STREAM_MAX, "NUMBER",
         "Locked payments under way per payer."},
        {"reveal-margin-s", OPTION_NUMBER, &flags->reveal_margin_s, "60", 1, 86400, "SECONDS",
         "Safety margin before a lock's expiry."},
        {"min-expiry-s", OPTION_NUMBER, &flags->min_expiry_s, "600", 4, 864000, "SECONDS",
         "Least time a payment may have; more than three margins."},
        {"max-expiry-s", OPTION_NUMBER, &flags->max_expiry_s, "86400", 10, 8640000, "SECONDS",
         "Most time a payment may have."},
        {"settle-window-s", OPTION_NUMBER, &flags->settle_window_s, "3600", 60, 864000, "SECONDS",
         "How long a signed settlement item stays good."},
        {"settle-interval-s", OPTION_NUMBER, &flags->settle_interval_s, "60", 0, 864000, "SECONDS",
         "A netted batch is planned this often; 0: only on POST /settle."},
        {"settle-collect-ms", OPTION_NUMBER, &flags->settle_collect_ms, "2000", 10, 600000, "MILLISECONDS",
         "How long clients have to sign their item before the batch goes without them."},
        {"settle-requests", OPTION_NUMBER, &flags->settle_requests, "0", 0, 1000000, "NUMBER",
         "So many payouts and closes asked for start a batch at once; 0: they wait for the interval."},
        {"settle-least-move", OPTION_NUMBER, &flags->settle_least_move, "0", 0, AMOUNT_LIMIT - 1, "UNITS",
         "The hub moves no less than this by itself: what is not worth its gas stays where it is."},
        {"settle-gas-max", OPTION_NUMBER, &flags->settle_gas_max, "13000000", 100000, 13000000, "GAS",
         "Most gas that one transaction of a batch should use; a batch is cut into as many as it takes."},
        {"room-percent", OPTION_NUMBER, &flags->room_percent, "200", 0, 10000, "PERCENT",
         "Room kept in a channel, of what is expected to come to it until the next batch; 0: none is "
         "foreseen."},
        {"idle-bps", OPTION_NUMBER, &flags->idle_bps, "12000", 0, 65535, "BPS",
         "Hub funds in a channel count as idle above this share of the room that it should have."},
        {"unlock-min", OPTION_NUMBER, &flags->unlock_min, "0", 0, AMOUNT_LIMIT - 1, "UNITS",
         "After a close, smaller locks are left on the ledger: worth less than their gas."},
        {"inbound-max", OPTION_NUMBER, &flags->inbound_max, "100000000", 0, AMOUNT_LIMIT - 1, "UNITS",
         "Most room the hub gives a client that asks for a channel; 0: it opens none."},
        {"waiting-max", OPTION_NUMBER, &flags->waiting_max, "10000", 1, 1000000, "NUMBER",
         "Payments kept for one payee that is offline; more are refunded."},
        {"unrevealed-max", OPTION_NUMBER, &flags->unrevealed_max, "40000", 1, 10000000, "NUMBER",
         "Direct payments that one payee has and has not answered with their secrets; more are refunded."},
        {"connections", OPTION_NUMBER, &hub->connections_max, "20000", 1, 1000000, "NUMBER",
         "Connections at once; further ones are closed."},
        {"checkpoint-mib", OPTION_NUMBER, &hub->checkpoint_bytes, "64", 1, 65536, "MIB",
         "Journal size at which old batches are folded together."},
        {"history-days", OPTION_NUMBER, &flags->history_days, "400", 0, 36500, "DAYS",
         "How long payments that are over can be looked up; 0: not at all."},
        {"log-format", OPTION_CHOICE, &flags->log_format, "text", 0, 0, "text|json",
         "Form of the log on stderr."},
        {"log-level", OPTION_CHOICE, &flags->log_level, "info", 0, 0, "debug|info|warn|error",
         "The least that is logged."},
    };
    const struct options options = {
        .program = "rill-hubd",
        .environment_prefix = "RILL_HUBD",
        .usage = "[OPTIONS]",
        .about = "Rill's payment-channel hub: opens channels with wallets and "
                 "merchants over a base ledger, passes\n"
                 "payments between them, settles netted batches. Every flag is "
                 "optional with a local rill-ledgerd.\n"
                 "Example: rill-hubd --key-file hub.json --passphrase-file "
                 "hub.pass --ledger http://127.0.0.1:8545\n"
                 "Exit codes: 0 stopped by a signal, 1 cannot go on (the log's "
                 "last line says why), 2 wrong usage,\n"
                 "70 the disk failed.\n"
                 "While it is stopped, 'rill-hubd reshard --help' tells how to change its number of shards.",
        .rows = rows,
        .row_count = ARRAY_LENGTH(rows)};
    size_t words;
    return options_read(&options, argc, argv, NULL, 0, &words);
}

static bool engine_settings_of(const struct flags *flags, struct engine_settings *out)
{
    struct terms *terms = &out->terms;
    *terms = (struct terms){.confirmations = (uint32_t)flags->hub.confirmations,
                            .reveal_margin_s = flags->reveal_margin_s,
                            .min_expiry_s = flags->min_expiry_s,
                            .max_expiry_s = flags->max_expiry_s,
                            .settle_window_s = flags->settle_window_s};
    out->asset_terms = (struct asset_terms){.base_fee = {flags->base_fee},
                                            .fee_ppm = (uint32_t)flags->fee_ppm,
                                            .direct_limit = {flags->direct_limit},
                                            .reserve_bps = (uint16_t)flags->reserve_bps,
                                            .min_lock = {flags->min_lock},
                                            .max_lock = {flags->max_lock},
                                            .max_locks_per_payer = (uint32_t)flags->locks_per_payer};
    out->waiting_max = (uint32_t)flags->waiting_max;
    out->unrevealed_max = (uint32_t)flags->unrevealed_max;
    out->unlock_min = amount_of(flags->unlock_min);
    out->inbound_max = amount_of(flags->inbound_max);
    out->tower_silence_s = flags->tower_silence_s;
    out->settle_interval_s = flags->settle_interval_s;
    out->settle_collect_ms = flags->settle_collect_ms;
    random_bytes(&out->seed, sizeof(out->seed));
    out->idle_bps = (uint16_t)flags->idle_bps;
    out->requests_max = (uint32_t)flags->settle_requests;
    out->call_gas_max = flags->settle_gas_max;
    out->least_move = amount_of(flags->settle_least_move);
    out->room_percent = (uint16_t)flags->room_percent;
    if (terms->min_expiry_s <= 3 * terms->reveal_margin_s || terms->max_expiry_s < terms->min_expiry_s) {
        log_error(
            "--min-expiry-s must be more than three times --reveal-margin-s and at most --max-expiry-s");
        return false;
    }
    if (flags->min_lock > flags->max_lock) {
        log_error("--min-lock must not be above --max-lock");
        return false;
    }
    return true;
}

/* One entry of --tower: ADDRESS@HOST:PORT, or HOST:PORT with --tower-address. */
static bool tower_of(const struct flags *flags, char *entry, struct hub_settings *hub)
{
    char *at = strchr(entry, '@');
    const char *address = at != NULL ? entry : flags->tower_address, *place = at != NULL ? at + 1 : entry;
    if (at != NULL)
        *at = '\0';
    if (hub->engine.tower_count == ENGINE_TOWERS_MAX) {
        log_error("--tower names more than %d towers", ENGINE_TOWERS_MAX);
        return false;
    }
    struct engine_tower *tower = &hub->engine.towers[hub->engine.tower_count];
    struct hub_tower_place *where = &hub->towers[hub->engine.tower_count];
    if (address == NULL || !hex_decode(address, tower->address.bytes, sizeof(struct address)) ||
        !endpoint_split(place, where->host, &where->port)) {
        log_error(
            "--tower wants ADDRESS@HOST:PORT, separated by commas (or one HOST:PORT and --tower-address): "
            "rill-towerd prints both at start");
        return false;
    }
    for (size_t i = 0; i < hub->engine.tower_count; i++)
        if (address_equal(&hub->engine.towers[i].address, &tower->address)) {
            log_error("--tower names one tower twice: two towers have two keys");
            return false;
        }
    hub->engine.tower_count++;
    return true;
}

static bool towers_of(struct flags *flags)
{
    if (flags->tower == NULL)
        return true;
    char *copy = xstrdup(flags->tower), *rest = copy, *entry;
    bool good = true;
    while (good && (entry = strsep(&rest, ",")) != NULL)
        good = tower_of(flags, entry, &flags->hub);
    free(copy);
    return good;
}

static bool settings_of(struct flags *flags)
{
    struct hub_settings *hub = &flags->hub;
    hub->checkpoint_bytes <<= 20;
    hub->history_days = (uint32_t)flags->history_days;
    if (!hex_decode(flags->contract, hub->contract.bytes, sizeof(hub->contract.bytes))) {
        log_error("--contract %s is not an address: 0x and 40 digits", flags->contract);
        return false;
    }
    return towers_of(flags) && engine_settings_of(flags, &hub->engine);
}

/* What batches and payments took is soon taken again: given back to the system in between, each page would cost a
 * fault, which is a sixth of what a busy hub's journal costs (docs/journal.md). One arena, since those of other threads
 * are given back whatever is set. mallopt(3); 32 MiB is its most. */
static void keep_memory(void)
{
    (void)mallopt(M_ARENA_MAX, 1);
    (void)mallopt(M_MMAP_THRESHOLD, 32 << 20);
    (void)mallopt(M_TRIM_THRESHOLD, 512 << 20);
}

int main(int argc, char **argv)
{
    keep_memory();
    struct flags flags = {0};
    char message[512];
    enum log_level level;
    process_keeps_secrets();
    if (argc > 1 && strcmp(argv[1], "reshard") == 0)
        return reshard_command(argc - 1, argv + 1);
    enum options_result result = read_flags(&flags, argc, argv);
    if (result != OPTIONS_RUN)
        return result == OPTIONS_DONE ? 0 : 2;
    ensure(log_level_parse(flags.log_level, &level));
    log_setup("rill-hubd", level, strcmp(flags.log_format, "json") == 0);
    if (!settings_of(&flags))
        return 2;
    if (!key_file_open(flags.key_file, flags.passphrase_file, "RILL_HUBD_PASSPHRASE", &flags.hub.engine.key,
                       message, sizeof(message))) {
        log_error("%s", message);
        return 1;
    }
    int code = hub_run(&flags.hub);
    bytes_wipe(&flags.hub.engine.key, sizeof(flags.hub.engine.key));
    return code;
}
