/* rill init, rill recover: a wallet's home is made, or filled again. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ensure.h"
#include "crypto/keystore.h"
#include "wallet/command.h"

static int make_folder(const struct settings *settings)
{
    if (mkdir(settings->home, 0700) != 0 && errno != EEXIST)
        return command_fail(settings, RILL_EXIT_FAILED, "cannot make the folder %s: %s", settings->home,
                            strerror(errno));
    return RILL_EXIT_OK;
}

static int write_config(const struct settings *settings, uint64_t chain_id, const uint8_t hub[20])
{
    char path[1200], hub_text[ADDRESS_TEXT_SIZE] = "";
    struct address address;
    command_path(settings, "config", path, sizeof(path));
    FILE *file = fopen(path, "we");
    if (file == NULL)
        return command_fail(settings, RILL_EXIT_FAILED, "cannot write %s: %s", path, strerror(errno));
    fprintf(file,
            "# Settings of this wallet; a flag or a RILL_… variable overrides each (rill COMMAND --help).\n");
    fprintf(file, "hub = %s\nledger = %s\ncontract = %s\nconfirmations = %llu\n", settings->hub,
            settings->ledger, settings->contract, (unsigned long long)settings->confirmations);
    if (chain_id != 0) {
        memcpy(address.bytes, hub, sizeof(address.bytes));
        fprintf(file, "chain-id = %llu\nhub-address = %s\n", (unsigned long long)chain_id,
                address_text(&address, hub_text));
    }
    if (settings->contract_block != 0)
        fprintf(file, "contract-block = %llu\n", (unsigned long long)settings->contract_block);
    if (settings->towers != NULL)
        fprintf(file, "towers = %s\n", settings->towers);
    if (settings->max_unsecured != NULL)
        fprintf(file, "max-unsecured = %s\n", settings->max_unsecured);
    if (settings->max_unsecured_per_payee != NULL)
        fprintf(file, "max-unsecured-per-payee = %s\n", settings->max_unsecured_per_payee);
    bool ok = ferror(file) == 0;
    ok = fclose(file) == 0 && ok;
    return ok ? RILL_EXIT_OK
              : command_fail(settings, RILL_EXIT_FAILED, "cannot write %s: %s", path, strerror(errno));
}

static int make_key(const struct settings *settings, const char *import, bool light, struct address *self)
{
    char path[1200], passphrase[PASSPHRASE_TEXT_MAX];
    struct secret_key key;
    command_path(settings, "key.json", path, sizeof(path));
    if (access(path, F_OK) == 0)
        return command_fail(settings, RILL_EXIT_KEY, "there is a wallet in %s already; nothing was changed",
                            settings->home);
    if (import != NULL) {
        int code = command_secret_file(settings, import, &key);
        if (code != RILL_EXIT_OK)
            return code;
    } else {
        key = secret_key_random();
    }
    if (!command_passphrase(settings, true, passphrase)) {
        bytes_wipe(&key, sizeof(key));
        return RILL_EXIT_KEY;
    }
    enum keystore_error error = keystore_create(path, passphrase, &key, light ? 1u << 12 : 0);
    *self = secret_key_address(&key);
    bytes_wipe(passphrase, sizeof(passphrase));
    bytes_wipe(&key, sizeof(key));
    if (error != KEYSTORE_OK)
        return command_fail(settings, RILL_EXIT_KEY, "keystore %s: %s", path, keystore_error_text(error));
    return RILL_EXIT_OK;
}

int command_init(int argc, char **argv)
{
    const char *import = NULL;
    bool light = false, offline = false;
    struct command_line line = {
        .name = "init",
        .usage = "[OPTIONS]",
        .about =
            "Makes a wallet: a key in an encrypted keystore, and a configuration file, in ~/.rill (or "
            "--home).\n"
            "Asks the ledger which hub the contract belongs to, and writes that down: later commands refuse\n"
            "any other. Back up key.json: with it and `rill recover` a lost folder is not lost money.\n"
            "Example: rill init --hub hub.example:9735 --ledger http://127.0.0.1:8545\n"
            "Exit codes: 0 made, 2 wrong usage, 3 ledger not reached, 4 keystore or passphrase.",
        .rows =
            (const struct option_row[]){
                {"import-key", OPTION_TEXT, &import, NULL, 0, 0, "FILE",
                 "Take the secret key (64 hexadecimal digits) from this file instead of a new one."},
                {"light", OPTION_FLAG, &light, "false", 0, 0, NULL,
                 "A keystore that opens at once and protects less: for tests and demos."},
                {"offline", OPTION_FLAG, &offline, "false", 0, 0, NULL, "Do not ask the ledger."},
            },
        .row_count = 3,
    };
    int code;
    if (!command_read(&line, argc, argv, &code))
        return code;
    const struct settings *settings = &line.settings;
    uint64_t chain_id = settings->chain_id;
    uint8_t hub[20] = {0};
    struct session session = {.settings = settings};
    if (!offline) {
        /* Before anything is written: which ledger and hub is this? */
        code = session_open(&session, settings, SESSION_LEDGER, false);
        if (code == RILL_EXIT_OK) {
            chain_id = rill_ledger_chain_id(session.ledger);
            rill_ledger_hub(session.ledger, hub);
        }
        session_close(&session);
        if (code != RILL_EXIT_OK)
            return code;
    }
    struct address self;
    char text[ADDRESS_TEXT_SIZE];
    code = make_folder(settings);
    if (code == RILL_EXIT_OK)
        code = make_key(settings, import, light, &self);
    if (code == RILL_EXIT_OK)
        code = write_config(settings, offline ? 0 : chain_id, hub);
    if (code != RILL_EXIT_OK)
        return code;
    if (settings->json) {
        command_print_json(json_pack("{s:s, s:s, s:o, s:I}", "address", address_text(&self, text), "home",
                                     settings->home, "hub", json_address(hub), "chain_id",
                                     (json_int_t)chain_id));
        return RILL_EXIT_OK;
    }
    printf("wallet   %s\nhome     %s\n", address_text(&self, text), settings->home);
    printf("Back up %s/key.json, and do not forget its passphrase.\n", settings->home);
    printf("Next: send coins for gas to the wallet's address, then `rill deposit`; or `rill open` to only "
           "receive.\n");
    return RILL_EXIT_OK;
}

static bool is_recovered(struct session *session)
{
    return session->recovered && session->ready;
}

int command_recover(int argc, char **argv)
{
    struct command_line line = {
        .name = "recover",
        .usage = "[OPTIONS]",
        .about = "For a wallet that lost its folder, or was restored from an old copy: takes the newest "
                 "proofs that the\n"
                 "hub and the towers can show, and checks every signature. Needs the keystore (copy it into "
                 "the home\n"
                 "first, or name it with --key-file) and the same --hub, --ledger, --contract and --towers "
                 "as before.\n"
                 "Example: rill recover --towers 0x…@127.0.0.1:9736\n"
                 "What a tower keeps counts, whatever the hub says, or if it says nothing.\n"
                 "Exit codes: 0 taken over, 1 a channel could not be (the note says why), 3 the hub is not "
                 "reached (what\n"
                 "the towers keep is taken over all the same), 4 keystore.",
    };
    int code;
    if (!command_read(&line, argc, argv, &code))
        return code;
    const struct settings *settings = &line.settings;
    struct session session;
    code = make_folder(settings);
    if (code == RILL_EXIT_OK)
        code = session_open(&session, settings, SESSION_LEDGER | SESSION_WALLET | SESSION_HUB, true);
    else
        return code;
    if (code == RILL_EXIT_OK &&
        !session_wait(&session, is_recovered, settings->timeout_s * 1000, "hub and towers"))
        code = command_fail(settings, RILL_EXIT_UNREACHABLE, "the hub at %s cannot be reached: %s",
                            settings->hub, session.offline_reason);
    if (code == RILL_EXIT_OK)
        (void)session_wait(&session, session_is_idle, 3000, "the hub");
    struct rill_balance balance;
    json_t *list = json_array();
    for (size_t i = 0; code == RILL_EXIT_OK && rill_balance_at(session.wallet, i, &balance); i++) {
        char text[ASSET_AMOUNT_TEXT];
        if (balance.blocked != NULL)
            session.code = RILL_EXIT_FAILED;
        json_array_append_new(list,
                              json_pack("{s:o, s:o, s:b, s:s?}", "channel", json_hash(balance.channel),
                                        "balance", json_amount(&session, balance.asset, balance.balance),
                                        "taken_over", balance.blocked == NULL, "blocked", balance.blocked));
        if (!settings->json)
            printf("%s  %s\n", amount_of_asset(&session, balance.asset, balance.balance, text),
                   balance.blocked != NULL ? balance.blocked : "taken over");
    }
    if (code == RILL_EXIT_OK) {
        code = session.code;
        if (settings->json)
            command_print_json(json_pack("{s:O}", "channels", list));
    }
    json_decref(list);
    session_close(&session);
    return code;
}
