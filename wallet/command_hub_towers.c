/* rill hub tower-prove: what the hub's watchtowers have signed for, as evidence. */
#include <stdio.h>
#include <stdlib.h>

#include "wallet/hub_http.h"

int command_hub_tower_prove(int argc, char **argv)
{
    const char *http = NULL;
    struct command_line line = {
        .name = "hub tower-prove",
        .usage = "CHANNEL [OPTIONS]",
        .about = "For the operator: prints what each of the hub's watchtowers has signed for in a channel, "
                 "one line of "
                 "JSON per\n"
                 "tower: its newest receipt, and the client's proof that it is for. Keep it, or give it to a "
                 "third "
                 "party: `rill tower\n"
                 "verify` holds it against the ledger, and shows whether the tower kept its word. Once a "
                 "channel has "
                 "ended, the hub\n"
                 "keeps only what a tower did not keep, and says so in its log.\n"
                 "Example: rill hub tower-prove 0x5f… > evidence.json\n"
                 "Exit codes: 0 printed, 1 there is no receipt, 2 wrong usage, 3 not reached.",
        .rows = (const struct option_row[]){{"http", OPTION_TEXT, &http, "127.0.0.1:9745", 0, 0, "HOST:PORT",
                                             "The hub's --http."}},
        .row_count = 1,
        .words_min = 1,
        .words_max = 1,
    };
    int code;
    json_t *answer;
    if (!command_read(&line, argc, argv, &code))
        return code;
    const struct settings *settings = &line.settings;
    code = hub_http_channel(settings, http, "/tower-evidence", line.words[0], false, &answer);
    if (code != RILL_EXIT_OK)
        return code;
    const json_t *evidence = json_object_get(answer, "evidence");
    size_t count = json_array_size(evidence);
    for (size_t i = 0; i < count; i++) {
        char *text = json_dumps(json_array_get(evidence, i), JSON_COMPACT);
        printf("%s\n", text == NULL ? "" : text);
        free(text);
    }
    json_decref(answer);
    if (count == 0)
        return command_fail(settings, RILL_EXIT_FAILED,
                            "no tower of the hub's has a promise to keep in this channel");
    return RILL_EXIT_OK;
}
