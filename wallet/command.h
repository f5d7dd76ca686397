/* The command `rill`: one function per command, and what they share.
 *
 * Every command reads its settings from one table (base/options.h): its own rows and the common ones, which are also what
 * the configuration file in the wallet's home holds. Results go to stdout (--json: one JSON object), all else to stderr.
 */
#ifndef RILL_WALLET_COMMAND_H
#define RILL_WALLET_COMMAND_H

#include <jansson.h>
#include <stdio.h>

#include "base/options.h"
#include "crypto/key_file.h"
#include "ledger/client.h"
#include "rill.h"

/* What `rill` returns to the shell. Scripts rely on it: do not renumber. */
enum exit_code {
    RILL_EXIT_OK = 0,
    RILL_EXIT_FAILED = 1,      /* refused, or it failed */
    RILL_EXIT_USAGE = 2,       /* flags, words or settings are wrong */
    RILL_EXIT_UNREACHABLE = 3, /* the hub or the ledger cannot be reached */
    RILL_EXIT_KEY = 4,         /* no keystore, or a wrong passphrase */
    RILL_EXIT_IN_USE = 5,      /* another process has the wallet's folder open */
    RILL_EXIT_PENDING = 6,     /* under way; the outcome was not known when the time was up */
    RILL_EXIT_UNTRUE = 7,      /* what the hub says is not so */
    RILL_EXIT_LIMIT = 8        /* `rill fetch`: a limit forbids the price */
};

/* The settings that every command has. */
struct settings {
    const char *home;
    const char *hub, *hub_http, *ledger, *contract, *hub_address, *towers;
    const char *passphrase_file, *key_file, *max_unsecured, *max_unsecured_per_payee;
    uint64_t chain_id, contract_block, confirmations, timeout_s, reveal_margin_s;
    bool json;
    const char *program; /* whose lines on stderr they are; NULL: rill */
};

#define COMMAND_ROWS_MAX  64
#define COMMAND_WORDS_MAX 4

/* A command's table: its own rows come first. */
struct command_line {
    struct settings settings;
    const char *name;  /* "pay"; "" if the program is its only command */
    const char *usage; /* "INVOICE [AMOUNT] [OPTIONS]" */
    const char *about;
    const struct option_row *rows;
    size_t row_count;
    size_t words_min, words_max;
    const char *words[COMMAND_WORDS_MAX];
    size_t word_count;
};
/* Returns false if the program should end with *exit_code now. */
bool command_read(struct command_line *line, int argc, char **argv, int *exit_code) MUST_USE;

typedef int command_function(int argc, char **argv);
command_function command_init, command_deposit, command_balance, command_invoice, command_pay, command_listen,
    command_history, command_withdraw, command_close, command_dispute, command_recover, command_open,
    command_prove, command_audit, command_fetch, command_hub_status, command_hub_history,
    command_hub_settlements, command_hub_close, command_hub_tower_prove, command_ledger_deploy,
    command_ledger_issue, command_ledger_list, command_ledger_pool, command_ledger_balance,
    command_ledger_send, command_tower_add, command_tower_remove, command_tower_list, command_tower_status,
    command_tower_prove, command_tower_verify, command_merchant_webhooks;

/* One line on stderr, "rill: …". Returns code, for `return command_fail(…)`. With --json also {"error": …} on stdout.
 * What others wrote may be in it, as with command_say. */
int command_fail(const struct settings *settings, enum exit_code code, const char *format, ...)
    PRINTF_LIKE(3, 4);
/* One line, to which a newline is added: how a text that others wrote is printed for people. Whatever is in it, it stays
 * one line and moves no cursor (text_make_plain). */
void command_say(FILE *out, const char *format, ...) PRINTF_LIKE(2, 3);
/* Prints the object and lets it go. Texts of others that go into one: text_make_utf8 first, json_pack refuses the rest. */
void command_print_json(json_t *object);
void command_path(const struct settings *settings, const char *name, char *out, size_t size);
/* A file in place of the one at path, whole or not at all: what was written into `temporary` (written: without an error; file
 * may be NULL) goes to the disk, and takes the path. False with errno, and the path is as it was. */
bool command_replace(FILE *file, bool written, const char *temporary, const char *path) MUST_USE;
/* The same for JSON; two processes may do it at once. */
bool command_replace_json(const json_t *json, const char *path) MUST_USE;
/* Unix seconds as local time, "2026-03-01 12:00:05". */
const char *time_text(uint64_t unix_s, char out[32]);
json_t *json_address(const uint8_t address[20]);
json_t *json_hash(const uint8_t hash[32]);
json_t *json_units(uint64_t units);

/* ---- keys ---- */

/* Passphrase by file, environment (RILL_PASSPHRASE) or prompt. confirm: asked for twice. Wipe it. */
#define PASSPHRASE_TEXT_MAX PASSPHRASE_BYTES_MAX
bool command_passphrase(const struct settings *settings, bool confirm,
                        char out[PASSPHRASE_TEXT_MAX]) MUST_USE;
/* The wallet's key, or key_file's. Returns RILL_EXIT_OK, or an exit code after a line on stderr. Wipe the key. */
int command_key(const struct settings *settings, struct secret_key *out) MUST_USE;
/* A key of 64 hexadecimal digits from a file, as development accounts come. The same returns. */
int command_secret_file(const struct settings *settings, const char *path, struct secret_key *out) MUST_USE;

/* ---- a session: loop, ledger, wallet ---- */

struct asset_info {
    uint8_t address[20];
    char symbol[32];
    uint8_t token_decimals; /* of the token */
    uint8_t decimals;       /* of the asset's units: what amounts are shown with */
    char unit[40];          /* base units in one unit, decimal */
};
#define ASSETS_KNOWN_MAX 64

enum session_need {
    SESSION_LEDGER = 1,
    SESSION_WALLET = 2,
    SESSION_HUB = 4,
    SESSION_OFFLINE = 8,
    SESSION_PATIENT = 16 /* a ledger that is away is waited for later, if the settings say which one it is */
};

struct session {
    const struct settings *settings;
    struct event_base *base;
    struct rill_ledger *ledger;
    struct rill_wallet *wallet;
    struct secret_key key;
    uint8_t address[20];
    struct asset_info assets[ASSETS_KNOWN_MAX];
    size_t asset_count;
    bool interrupted; /* SIGINT, SIGTERM */
    struct event *signals[2];
    char offline_reason[256];
    char trouble[256];
    char assets_trouble[512]; /* why the ledger's list of assets does not count; "": it does */
    bool quiet_trouble;
    bool follows_ledger; /* the wallet is not merely looked at */
    /* what callbacks told; commands set what they wait for */
    bool ready, recovered;
    bool outcome;        /* of a payment, or of a channel asked for */
    bool has_settlement; /* of the payout or close that is waited for */
    bool waits_settlement, waits_close;
    uint8_t waited_channel[32];
    uint8_t waited_id[16];
    struct rill_payment payment; /* memo is not kept */
    int failing_code;            /* why it fails, and the hub may still collect it; 0: it does not */
    struct rill_settlement settlement;
    bool closed;
    uint64_t paid_out;
    char text[256];
    int code;
    void (*on_received)(struct session *session, const struct rill_payment *payment);
    void (*on_settlement)(struct session *session, const struct rill_settlement *settlement);
    /* Paid or failed; of one that is paid first when its secret has come, again when that is on disk. */
    void (*on_outcome)(struct session *session, const struct rill_payment *payment);
    void *context;
};

/* The loop, and what ends it on a signal; nothing else is opened. To be closed like the others. */
void session_start(struct session *session, const struct settings *settings);
/* Opens what is needed. towers and recover for rill_options. Returns RILL_EXIT_OK or an exit code after a line on
 * stderr; the session is to be closed in any case. */
int session_open_with(struct session *session, const struct settings *settings, unsigned needs, bool recover,
                      const struct rill_callbacks *callbacks, void *context) MUST_USE;
/* With callbacks that fill the session's fields. */
int session_open(struct session *session, const struct settings *settings, unsigned needs,
                 bool recover) MUST_USE;
void session_close(struct session *session);
/* Runs the loop until done() or timeout; says on stderr what it waits for when that takes over two seconds. Returns
 * whether done. */
bool session_wait(struct session *session, bool (*done)(struct session *session), uint64_t timeout_ms,
                  const char *what);
/* Waits until connected and in step: RILL_EXIT_OK, or RILL_EXIT_UNREACHABLE after a line that says why. */
int session_ready(struct session *session) MUST_USE;
bool session_is_ready(struct session *session);
bool session_is_idle(struct session *session);

/* ---- payouts by themselves ---- */

struct payout_flags {
    const char *mode, *threshold, *keep, *at;
};
#define PAYOUT_ROW_COUNT 4
/* The rows of --payout and its company. */
#define PAYOUT_ROWS(flags)                                                                                   \
    {"payout",                                                                                               \
     OPTION_CHOICE,                                                                                          \
     &(flags)->mode,                                                                                         \
     "as-is",                                                                                                \
     0,                                                                                                      \
     0,                                                                                                      \
     "as-is|manual|threshold|daily",                                                                         \
     "When this wallet asks to be paid out by itself, from now on."},                                        \
        {"payout-threshold",                                                                                 \
         OPTION_TEXT,                                                                                        \
         &(flags)->threshold,                                                                                \
         NULL,                                                                                               \
         0,                                                                                                  \
         0,                                                                                                  \
         "AMOUNT",                                                                                           \
         "As soon as so much can be; with daily: not for less."},                                            \
        {"payout-keep", OPTION_TEXT, &(flags)->keep, NULL, 0, 0, "AMOUNT", "Leave so much in the channel."}, \
    {                                                                                                        \
        "payout-at", OPTION_TEXT, &(flags)->at, "00:00", 0, 0, "HH:MM", "With daily: when, in UTC."          \
    }
/* Sets the asset's policy if --payout asks for one, after a line on stderr an exit code if it makes no sense. */
int command_payout_set(struct session *session, const struct asset_info *asset,
                       const struct payout_flags *flags) MUST_USE;
/* "manual", "daily at 00:00 UTC, …". */
#define PAYOUT_TEXT_MAX 320
const char *command_payout_text(const struct session *session, const struct asset_info *asset,
                                char out[PAYOUT_TEXT_MAX]);
json_t *command_payout_json(const struct session *session, const struct asset_info *asset);

/* ---- assets ---- */

/* Reads the listed assets from the ledger, or if that does not tell all of them, or is away, what was kept in the home.
 * Decimals and unit never change on the ledger, so they are kept from the first sight on. Returns false if the ledger says
 * others now: one of the two is wrong, no asset is known then, and session->assets_trouble says what to do. */
bool assets_load(struct session *session) MUST_USE;
/* What a command says that finds no assets: one line on stderr. Returns an exit code. */
int assets_missing(const struct session *session);
const struct asset_info *asset_by_address(const struct session *session, const uint8_t address[20]);
/* By symbol or address; NULL text: the only one there is. NULL after a line on stderr. */
const struct asset_info *asset_named(struct session *session, const char *text);
/* "12.5 USDC"; buffer of ASSET_AMOUNT_TEXT. */
#define ASSET_AMOUNT_TEXT 128
const char *asset_amount(const struct asset_info *asset, uint64_t units, char out[ASSET_AMOUNT_TEXT]);
/* Decimal text into units; false after a line on stderr. */
bool asset_parse(const struct session *session, const struct asset_info *asset, const char *text,
                 uint64_t *units);
/* Of an asset that may be unknown: amounts are shown as units then. */
const char *amount_of_asset(const struct session *session, const uint8_t asset[20], uint64_t units,
                            char out[ASSET_AMOUNT_TEXT]);
json_t *json_amount(const struct session *session, const uint8_t asset[20], uint64_t units);
/* command_pay.c: a payment with all its fields. */
json_t *json_payment(const struct session *session, const struct rill_payment *payment);

#endif
