/* rill hub close: the operator closes a channel without its client. */
#include <stdio.h>
#include <stdlib.h>

#include "wallet/hub_http.h"

static long long units_at(const json_t *look, const char *name)
{
    return (long long)json_integer_value(json_object_get(look, name));
}

static void print_meaning(const json_t *look)
{
    command_say(stdout, "channel  %s", json_text_at(look, "channel"));
    command_say(stdout, "client   %s, %s", json_text_at(look, "client"),
                json_is_true(json_object_get(look, "online")) ? "online: ask it for `rill close` first"
                                                              : "offline");
    printf("units    client %lld, hub %lld; %lld locks: client's %lld, hub's %lld\n",
           units_at(look, "client_units"), units_at(look, "hub_units"), units_at(look, "locks"),
           units_at(look, "locked_client"), units_at(look, "locked_hub"));
    printf("\nThe hub closes this channel alone, on the ledger, with the newest proofs of both sides. From "
           "then on it\n"
           "signs and takes nothing in it, and that cannot be taken back. The client has the challenge "
           "period to\n"
           "answer; then each side is paid what the proofs say, and locks are paid as they are met or "
           "expire. It\n"
           "costs the hub's gas: startClose, finish, and one unlock for each lock that is the hub's. If the "
           "hub's\n"
           "journal was restored from an old copy, do not do it: the client's newer proof would make it a "
           "fraud, and\n"
           "the difference would be lost.\n");
}

int command_hub_close(int argc, char **argv)
{
    const char *http = NULL;
    bool yes = false;
    struct command_line line = {
        .name = "hub close",
        .usage = "CHANNEL [OPTIONS]",
        .about =
            "For the operator: closes a channel on the ledger without its client, when that is gone for "
            "good.\n"
            "Shows what it means first, and does it only with --yes. The hub follows it through by itself:\n"
            "its log says when all is home.\n"
            "Example: rill hub close 0x5f… --yes\n"
            "Exit codes: 0 the close is on its way, 1 refused or not confirmed with --yes, 2 wrong usage, 3 "
            "not\n"
            "reached.",
        .rows = (const struct option_row[]){{"http", OPTION_TEXT, &http, "127.0.0.1:9745", 0, 0, "HOST:PORT",
                                             "The hub's --http."},
                                            {"yes", OPTION_FLAG, &yes, NULL, 0, 0, NULL, "Do it."}},
        .row_count = 2,
        .words_min = 1,
        .words_max = 1,
    };
    int code;
    json_t *answer;
    if (!command_read(&line, argc, argv, &code))
        return code;
    const struct settings *settings = &line.settings;
    code = hub_http_channel(settings, http, "/close", line.words[0], yes, &answer);
    if (code != RILL_EXIT_OK)
        return code;
    if (!settings->json)
        print_meaning(answer);
    else if (yes)
        command_print_json(json_incref(answer));
    json_decref(answer);
    if (!yes)
        return command_fail(settings, RILL_EXIT_FAILED, "nothing was done: --yes does it");
    if (!settings->json)
        printf("\nthe close is on its way\n");
    return RILL_EXIT_OK;
}
