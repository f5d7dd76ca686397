/* rill-merchantd: a shop's side of a Rill hub, for its web developer. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/process.h"
#include "base/version.h"
#include "merchant/merchantd.h"

static const struct {
    const char *word;
    int (*run)(int argc, char **argv);
} words[] = {{"serve", serve_main}, {"proxy", proxy_main}, {"keys", keys_main}};

int main(int argc, char **argv)
{
    process_keeps_secrets();
    log_setup("rill-merchantd", LOG_INFO, false);
    for (size_t i = 0; argc > 1 && i < ARRAY_LENGTH(words); i++)
        if (strcmp(argv[1], words[i].word) == 0)
            return words[i].run(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        printf("rill-merchantd %s\n", RILL_VERSION);
        return 0;
    }
    if (argc > 1 && argv[1][0] != '-') {
        fprintf(stderr, "rill-merchantd: no word '%s'; it is serve (which may be left out), proxy or keys\n",
                argv[1]);
        return 2;
    }
    return serve_main(argc, argv);
}
