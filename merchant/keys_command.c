/* rill-merchantd keys create | list | revoke: works beside a running server. */
#include <stdio.h>
#include <string.h>

#include "base/ensure.h"
#include "merchant/keys.h"
#include "merchant/merchantd.h"
#include "wallet/command.h"

static int create(const struct settings *settings, const char *path, const char *scope, const char *name)
{
    char key[KEY_TEXT_SIZE], message[500];
    unsigned sum = scopes_parse(scope);
    if (sum == 0)
        return command_fail(settings, RILL_EXIT_USAGE,
                            "--scope '%s': give read, invoice or payout, with commas between", scope);
    if (strlen(name) >= KEY_NAME_SIZE || !utf8_is_valid((const uint8_t *)name, strlen(name)))
        return command_fail(settings, RILL_EXIT_USAGE, "--name is longer than %d bytes, or not UTF-8",
                            KEY_NAME_SIZE - 1);
    if (!keys_create(path, sum, name, key, message, sizeof(message)))
        return command_fail(settings, RILL_EXIT_FAILED, "%s", message);
    if (settings->json) {
        command_print_json(json_pack("{s:s}", "key", key));
    } else {
        printf("%s\n", key);
        fprintf(stderr, "This is shown once: only its hash is kept.\n");
    }
    bytes_wipe(key, sizeof(key));
    return RILL_EXIT_OK;
}

static int list(const struct settings *settings, const char *path)
{
    char message[500], scope[KEY_SCOPES_SIZE], when[32];
    const struct api_key *key;
    struct keys *keys = keys_new(path, 1, 1);
    if (!keys_refresh(keys, message, sizeof(message))) {
        keys_free(keys);
        return command_fail(settings, RILL_EXIT_FAILED, "%s", message);
    }
    json_t *all = json_array();
    for (size_t i = 0; (key = keys_at(keys, i)) != NULL; i++) {
        if (settings->json)
            json_array_append_new(all, json_pack("{s:s, s:s, s:s, s:I}", "id", key->id, "name", key->name,
                                                 "scopes", scopes_text(key->scopes, scope), "created",
                                                 (json_int_t)key->created));
        else
            printf("%s  %s  %-20s  %s\n", key->id, time_text(key->created, when),
                   scopes_text(key->scopes, scope), key->name);
    }
    if (settings->json)
        command_print_json(json_pack("{s:O}", "keys", all));
    else if (keys_at(keys, 0) == NULL)
        printf("no keys yet: rill-merchantd keys create --scope read,invoice\n");
    json_decref(all);
    keys_free(keys);
    return RILL_EXIT_OK;
}

int keys_main(int argc, char **argv)
{
    const char *scope = NULL, *name = NULL;
    char path[1200], message[500];
    struct command_line line = {
        .settings = {.program = "rill-merchantd"},
        .name = "keys",
        .usage = "create|list|revoke ID [OPTIONS]",
        .about =
            "The API's keys. A key may do what its scopes say: read (look), invoice (make and cancel "
            "invoices,\n"
            "webhooks), payout (move money out: payouts, refunds, their policy). A server that runs sees a\n"
            "change at once.\n"
            "Example: rill-merchantd keys create --scope read,invoice --name till\n"
            "Exit codes: 0 done, 1 failed, 2 wrong usage.",
        .rows = (const struct option_row[]){{"scope", OPTION_TEXT, &scope, "read,invoice", 0, 0, "SCOPE,…",
                                             "What the new key may do: read, invoice, payout."},
                                            {"name", OPTION_TEXT, &name, "", 0, 0, "TEXT",
                                             "Whose it is, for you to remember."}},
        .row_count = 2,
        .words_min = 1,
        .words_max = 2,
    };
    int code;
    if (!command_read(&line, argc, argv, &code))
        return code;
    command_path(&line.settings, "merchant-keys.json", path, sizeof(path));
    if (strcmp(line.words[0], "create") == 0 && line.word_count == 1)
        return create(&line.settings, path, scope, name);
    if (strcmp(line.words[0], "list") == 0 && line.word_count == 1)
        return list(&line.settings, path);
    if (strcmp(line.words[0], "revoke") == 0 && line.word_count == 2) {
        if (!keys_revoke(path, line.words[1], message, sizeof(message)))
            return command_fail(&line.settings, RILL_EXIT_FAILED, "%s", message);
        if (line.settings.json)
            command_print_json(json_pack("{s:s}", "revoked", line.words[1]));
        return RILL_EXIT_OK;
    }
    return command_fail(&line.settings, RILL_EXIT_USAGE, "say create, list, or revoke ID");
}
