#include <stdio.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/options.h"
#include "hub/reshard.h"

int reshard_command(int argc, char **argv)
{
    const char *data;
    uint64_t shards;
    const struct option_row rows[] = {
        {"data", OPTION_TEXT, &data, "rill-hub", 0, 0, "FOLDER", "The hub's folder."},
        {"shards", OPTION_NUMBER, &shards, "1", 1, SHARDS_MAX, "NUMBER", "How many shards it shall have."},
    };
    const struct options options = {
        .program = "rill-hubd reshard",
        .environment_prefix = "RILL_HUBD",
        .usage = "[OPTIONS]",
        .about = "Changes the number of shards of a hub that is stopped: every channel and payment goes to "
                 "the shard\n"
                 "that will own it, into new journals; the old ones are kept as *.old. Refused, with what to "
                 "do, while\n"
                 "payments are on their way between shards or a settlement is on its way to the ledger. A "
                 "call that\n"
                 "was cut short is finished by the next one.\n"
                 "Example: rill-hubd reshard --data rill-hub --shards 4\n"
                 "Exit codes: 0 done, 1 refused (nothing changed), 2 wrong usage, 70 the disk failed.",
        .rows = rows,
        .row_count = ARRAY_LENGTH(rows)};
    char message[512];
    size_t words;
    enum options_result result = options_read(&options, argc, argv, NULL, 0, &words);
    if (result != OPTIONS_RUN)
        return result == OPTIONS_DONE ? 0 : 2;
    log_setup("rill-hubd", LOG_INFO, false);
    if (reshard(data, (uint32_t)shards, message, sizeof(message)))
        return 0;
    log_error("%s", message);
    return 1;
}
