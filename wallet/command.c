/* What the commands of `rill` share: settings, keys, printing. */
#include "wallet/command.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "base/ensure.h"
#include "base/text.h"
#include "crypto/keystore.h"

#define EMBEDDED_CONTRACT_TEXT "0x52696c6c00000000000000000000000000000001"

/* ---- settings ---- */

static size_t common_rows(struct settings *settings, const char *home, struct option_row *rows)
{
    const struct option_row common[] = {
        {"home", OPTION_TEXT, &settings->home, home, 0, 0, "FOLDER",
         "The wallet: keystore, configuration, journal."},
        {"hub", OPTION_TEXT, &settings->hub, "127.0.0.1:9735", 0, 0, "HOST:PORT", "The hub."},
        {"hub-address", OPTION_TEXT, &settings->hub_address, NULL, 0, 0, "ADDRESS",
         "The hub's ledger address; `rill init` learns it from the contract."},
        {"ledger", OPTION_TEXT, &settings->ledger, "http://127.0.0.1:8545", 0, 0, "URL",
         "JSON-RPC of a ledger node."},
        {"hub-http", OPTION_TEXT, &settings->hub_http, "127.0.0.1:9745", 0, 0, "HOST:PORT",
         "What the hub shows over HTTP, for prove and audit: its --http, or where its operator lets it "
         "through."},
        {"contract", OPTION_TEXT, &settings->contract, EMBEDDED_CONTRACT_TEXT, 0, 0, "ADDRESS",
         "The hub's contract; the default is the embedded ledger's."},
        {"chain-id", OPTION_NUMBER, &settings->chain_id, "0", 0, UINT64_MAX, "NUMBER",
         "The chain the node must be on; `rill init` writes it down; 0: whatever the node says."},
        {"contract-block", OPTION_NUMBER, &settings->contract_block, "0", 0, UINT64_MAX, "NUMBER",
         "The block the contract was created in: earlier ones are not read; `rill init` writes it down."},
        {"confirmations", OPTION_NUMBER, &settings->confirmations, "3", 0, 10000, "BLOCKS",
         "How deep a block must lie before it counts."},
        {"towers", OPTION_TEXT, &settings->towers, NULL, 0, 0, "ADDRESS@HOST:PORT,…",
         "Watchtowers that answer a false close for you, at most four."},
        {"max-unsecured", OPTION_TEXT, &settings->max_unsecured, NULL, 0, 0, "UNITS",
         "What direct payments without a receipt may sum to, per asset; default 16 times the hub's direct "
         "limit."},
        {"max-unsecured-per-payee", OPTION_TEXT, &settings->max_unsecured_per_payee, NULL, 0, 0, "UNITS",
         "The same towards one payee; default 4 times."},
        {"reveal-margin-s", OPTION_NUMBER, &settings->reveal_margin_s, "30", 1, 86400, "SECONDS",
         "A locked payment not unlocked so long before its expiry goes to the ledger; the hub's margin "
         "counts if longer."},
        {"key-file", OPTION_TEXT, &settings->key_file, NULL, 0, 0, "FILE",
         "Keystore to use; default key.json in the home."},
        {"passphrase-file", OPTION_TEXT, &settings->passphrase_file, NULL, 0, 0, "FILE",
         "File whose first line is the passphrase; else RILL_PASSPHRASE, else you are asked."},
        {"timeout-s", OPTION_NUMBER, &settings->timeout_s, "30", 1, 864000, "SECONDS",
         "How long to wait for an outcome before the command returns (exit code 6)."},
        {"json", OPTION_FLAG, &settings->json, "false", 0, 0, NULL, "Print one JSON object instead of text."},
    };
    memcpy(rows, common, sizeof(common));
    return ARRAY_LENGTH(common);
}

/* The home decides which file the other settings come from, so it is looked for first. The table for the documentation
 * has it as people write it. */
static void find_home(int argc, char **argv, char *out, size_t size)
{
    if (argc > 1 && strcmp(argv[1], "--help=markdown") == 0) {
        snprintf(out, size, "~/.rill");
        return;
    }
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strncmp(argv[i], "--home=", 7) == 0) {
            snprintf(out, size, "%s", argv[i] + 7);
            return;
        }
        if (strcmp(argv[i], "--home") == 0 && i + 1 < argc) {
            snprintf(out, size, "%s", argv[i + 1]);
            return;
        }
    }
    const char *set = getenv("RILL_HOME"), *user = getenv("HOME");
    if (set != NULL && set[0] != '\0')
        snprintf(out, size, "%s", set);
    else
        snprintf(out, size, "%s/.rill", user != NULL ? user : ".");
}

static bool names_config(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--config") == 0 || strncmp(argv[i], "--config=", 9) == 0)
            return true;
    return false;
}

bool command_read(struct command_line *line, int argc, char **argv, int *exit_code)
{
    /* Texts of settings live as long as the process. */
    static char home[1024], config[1100], program[64];
    struct option_row rows[COMMAND_ROWS_MAX];
    size_t count = line->row_count;
    const char *name = line->settings.program != NULL ? line->settings.program : "rill";
    ensure(count + 20 <= COMMAND_ROWS_MAX && line->words_max <= COMMAND_WORDS_MAX);
    if (count > 0)
        memcpy(rows, line->rows, count * sizeof(*rows));
    find_home(argc, argv, home, sizeof(home));
    count += common_rows(&line->settings, home, rows + count);
    snprintf(program, sizeof(program), "%s%s%s", name, line->name[0] != '\0' ? " " : "", line->name);

    char **with_config = xcalloc((size_t)argc + 2, sizeof(char *));
    int given = argc;
    memcpy(with_config, argv, (size_t)argc * sizeof(char *));
    snprintf(config, sizeof(config), "--config=%s/config", home);
    if (!names_config(argc, argv) && access(config + strlen("--config="), R_OK) == 0) {
        memmove(with_config + 2, with_config + 1, (size_t)(argc - 1) * sizeof(char *));
        with_config[1] = config;
        given++;
    }
    const struct options options = {.program = program,
                                    .environment_prefix = "RILL",
                                    .usage = line->usage,
                                    .about = line->about,
                                    .rows = rows,
                                    .row_count = count};
    enum options_result result =
        options_read(&options, given, with_config, line->words, line->words_max, &line->word_count);
    free(with_config);
    if (result == OPTIONS_RUN && line->word_count < line->words_min) {
        fprintf(stderr, "%s: %s\n", program, line->usage);
        result = OPTIONS_WRONG;
    }
    *exit_code = result == OPTIONS_DONE ? RILL_EXIT_OK : RILL_EXIT_USAGE;
    return result == OPTIONS_RUN;
}

void command_path(const struct settings *settings, const char *name, char *out, size_t size)
{
    snprintf(out, size, "%s/%s", settings->home, name);
}

bool command_replace(FILE *file, bool written, const char *temporary, const char *path)
{
    bool good = file != NULL && written && fflush(file) == 0 && ferror(file) == 0 && fsync(fileno(file)) == 0;
    good = (file == NULL || fclose(file) == 0) && good;
    good = good && rename(temporary, path) == 0;
    int error = errno;
    if (!good)
        (void)remove(temporary);
    errno = error;
    return good;
}

bool command_replace_json(const json_t *json, const char *path)
{
    char temporary[1300];
    snprintf(temporary, sizeof(temporary), "%s.%d", path, (int)getpid());
    FILE *file = fopen(temporary, "we");
    return command_replace(file, file != NULL && json_dumpf(json, file, JSON_INDENT(1)) == 0, temporary,
                           path);
}

/* ---- printing ---- */

int command_fail(const struct settings *settings, enum exit_code code, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    text_make_utf8(text);
    command_say(stderr, "%s: %s", settings->program != NULL ? settings->program : "rill", text);
    if (settings->json)
        command_print_json(json_pack("{s:s, s:i}", "error", text, "exit_code", (int)code));
    return (int)code;
}

void command_say(FILE *out, const char *format, ...)
{
    char *line = NULL;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&line, format, arguments);
    va_end(arguments);
    ensure(length >= 0);
    fprintf(out, "%s\n", text_make_plain(line));
    free(line);
}

void command_print_json(json_t *object)
{
    ensure(object != NULL);
    json_dumpf(object, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
    fputc('\n', stdout);
    fflush(stdout);
    json_decref(object);
}

const char *time_text(uint64_t unix_s, char out[32])
{
    time_t seconds = (time_t)unix_s;
    struct tm parts;
    localtime_r(&seconds, &parts);
    strftime(out, 32, "%Y-%m-%d %H:%M:%S", &parts);
    return out;
}

static json_t *json_hex(const uint8_t *bytes, size_t length)
{
    char text[2 + 64 + 1] = "0x";
    hex_encode(bytes, length, text + 2);
    return json_string(text);
}

json_t *json_address(const uint8_t address[20])
{
    return json_hex(address, 20);
}

json_t *json_hash(const uint8_t hash[32])
{
    return json_hex(hash, 32);
}

json_t *json_units(uint64_t units)
{
    return json_integer(units > INT64_MAX ? INT64_MAX : (json_int_t)units);
}

/* ---- keys ---- */

static bool ask_hidden(const char *prompt, char *out)
{
    struct termios before, hidden;
    FILE *terminal = fopen("/dev/tty", "r+e");
    if (terminal == NULL) {
        fprintf(stderr, "rill: no passphrase: give --passphrase-file FILE, set RILL_PASSPHRASE, or run this "
                        "in a terminal\n");
        return false;
    }
    setvbuf(terminal, NULL, _IONBF, 0);
    int descriptor = fileno(terminal);
    fprintf(terminal, "%s", prompt);
    bool shown = tcgetattr(descriptor, &before) != 0;
    hidden = before;
    hidden.c_lflag &= (tcflag_t)~ECHO;
    if (!shown)
        tcsetattr(descriptor, TCSAFLUSH, &hidden);
    bool good = fgets(out, PASSPHRASE_TEXT_MAX, terminal) != NULL;
    if (!shown)
        tcsetattr(descriptor, TCSAFLUSH, &before);
    fprintf(terminal, "\n");
    fclose(terminal);
    if (good)
        out[strcspn(out, "\r\n")] = '\0';
    return good;
}

bool command_passphrase(const struct settings *settings, bool confirm, char out[PASSPHRASE_TEXT_MAX])
{
    char message[512];
    if (settings->passphrase_file != NULL || getenv("RILL_PASSPHRASE") != NULL) {
        bool read =
            passphrase_read(settings->passphrase_file, "RILL_PASSPHRASE", out, message, sizeof(message));
        if (!read)
            fprintf(stderr, "rill: %s\n", message);
        return read;
    }
    if (!ask_hidden("Passphrase of the wallet: ", out))
        return false;
    if (!confirm)
        return true;
    char again[PASSPHRASE_TEXT_MAX];
    bool same = ask_hidden("Once more: ", again) && strlen(again) == strlen(out) &&
                bytes_equal_constant_time(again, out, strlen(out));
    bytes_wipe(again, sizeof(again));
    if (!same)
        fprintf(stderr, "rill: the two passphrases differ\n");
    return same;
}

int command_key(const struct settings *settings, struct secret_key *out)
{
    char path[1200], passphrase[PASSPHRASE_TEXT_MAX];
    if (settings->key_file != NULL)
        snprintf(path, sizeof(path), "%s", settings->key_file);
    else
        command_path(settings, "key.json", path, sizeof(path));
    if (access(path, F_OK) != 0)
        return command_fail(settings, RILL_EXIT_KEY, "there is no keystore at %s: `rill init` makes a wallet",
                            path);
    if (!command_passphrase(settings, false, passphrase))
        return RILL_EXIT_KEY;
    enum keystore_error error = keystore_load(path, passphrase, out);
    bytes_wipe(passphrase, sizeof(passphrase));
    if (error != KEYSTORE_OK)
        return command_fail(settings, RILL_EXIT_KEY, "keystore %s: %s", path, keystore_error_text(error));
    return RILL_EXIT_OK;
}

int command_secret_file(const struct settings *settings, const char *path, struct secret_key *out)
{
    char text[80] = "";
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return command_fail(settings, RILL_EXIT_KEY, "cannot read %s: %s", path, strerror(errno));
    setvbuf(file, NULL, _IONBF, 0); /* no copy stays in a buffer */
    bool read = fgets(text, sizeof(text), file) != NULL;
    fclose(file);
    text[strcspn(text, "\r\n ")] = '\0';
    bool good = read && hex_decode(text, out->bytes, sizeof(out->bytes)) && secret_key_is_valid(out);
    bytes_wipe(text, sizeof(text));
    if (!good)
        return command_fail(settings, RILL_EXIT_KEY, "%s does not hold a secret key of 64 hexadecimal digits",
                            path);
    return RILL_EXIT_OK;
}
