#include "tests/support/anvil.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define ANVIL     "ledger/contracts/node_modules/.bin/anvil"
#define LISTENING "Listening on 127.0.0.1:"
#define FLAGS_MAX 24
#define START_MS  20000
#define LOOK_MS   10

static unsigned port_in(const char *log)
{
    char line[256];
    unsigned port = 0;
    FILE *file = fopen(log, "re");
    while (file != NULL && port == 0 && fgets(line, sizeof(line), file) != NULL)
        if (strncmp(line, LISTENING, strlen(LISTENING)) == 0 && strchr(line, '\n') != NULL &&
            sscanf(line + strlen(LISTENING), "%u", &port) != 1)
            port = 0;
    if (file != NULL)
        fclose(file);
    return port;
}

void anvil_start(struct anvil *anvil, const char *const *flags)
{
    char log[96];
    unsigned port = 0;
    if (access(ANVIL, X_OK) != 0)
        fail_msg("%s is not there: run `make contracts` first", ANVIL);
    folder_make(anvil->folder, sizeof(anvil->folder));
    snprintf(log, sizeof(log), "%s/anvil.log", anvil->folder);
    /* Its output goes to a file: a pipe that nobody reads would stop it once full. */
    const char *argv[FLAGS_MAX] = {
        "/bin/sh", "-c", "log=$1; shift; exec \"$@\" >\"$log\"", "anvil", log, ANVIL, "--host", "127.0.0.1",
        "--port",  "0"};
    size_t count = 10;
    for (; flags != NULL && *flags != NULL; flags++) {
        assert_true(count + 1 < FLAGS_MAX);
        argv[count++] = *flags;
    }
    assert_true(process_start(&anvil->process, argv, log));
    for (int waited = 0; waited < START_MS && port == 0; waited += LOOK_MS) {
        if (waitpid(anvil->process.pid, NULL, WNOHANG) != 0)
            break;
        poll(NULL, 0, LOOK_MS);
        port = port_in(log);
    }
    if (port == 0)
        fail_msg("anvil did not start: see %s", log);
    snprintf(anvil->url, sizeof(anvil->url), "http://127.0.0.1:%u", port);
}

void anvil_stop(struct anvil *anvil)
{
    assert_int_equal(process_end(&anvil->process, SIGTERM), 0);
    folder_remove(anvil->folder);
}
