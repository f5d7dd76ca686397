/* The same day on an EVM chain: anvil, a block a second, and the contract that `rill ledger deploy` puts there. */
#include <string.h>
#include <unistd.h>

#include "bench/demo.h"
#include "ledger/embedded/accounts.h"

#define CHAIN_ID_TEXT  "31337"
#define LISTENING      "Listening on 127.0.0.1:"
#define TEXT(value)    TEXT_OF(value)
#define TEXT_OF(value) #value

bool demo_is_evm(const struct demo *demo)
{
    return strcmp(demo->flags.ledger, "evm") == 0;
}

/* anvil says its port in its log. */
static bool is_listening(struct demo *demo, char *progress, size_t size)
{
    char line[512];
    unsigned port = 0;
    FILE *file = fopen(demo->ledgerd.log, "re");
    while (file != NULL && port == 0 && fgets(line, sizeof(line), file) != NULL)
        if (strncmp(line, LISTENING, strlen(LISTENING)) == 0 && strchr(line, '\n') != NULL &&
            sscanf(line + strlen(LISTENING), "%u", &port) != 1)
            port = 0;
    if (file != NULL)
        fclose(file);
    snprintf(progress, size, "it is starting");
    snprintf(demo->ledger_url, sizeof(demo->ledger_url), "http://127.0.0.1:%u", port);
    return port != 0;
}

static bool start_anvil(struct demo *demo)
{
    char log[DEMO_PATH];
    /* Whole seconds: where blocks come faster, anvil's clock runs away from everybody else's. */
    const char *const arguments[] = {demo->flags.anvil, "--host",      "127.0.0.1",    "--port", "0",
                                     "--chain-id",      CHAIN_ID_TEXT, "--block-time", "1",      NULL};
    if (access(demo->flags.anvil, X_OK) != 0)
        return demo_fail(demo, "%s is not there: `make demo LEDGER=evm` brings it, or name it with --anvil",
                         demo->flags.anvil);
    return child_start(&demo->ledgerd, "anvil", demo_path(demo, "ledger.log", log), arguments, demo->why,
                       sizeof(demo->why)) &&
           demo_wait(demo, is_listening, 20000, "anvil");
}

static bool read_address(const json_t *answer, const char *name, struct address *out)
{
    const char *text = json_string_value(json_object_get(json_object_get(answer, name), "address"));
    return text != NULL && hex_decode(text, out->bytes, sizeof(out->bytes));
}

/* The first development account pays for it; the contract is the hub's. */
static bool deploy(struct demo *demo)
{
    char hub[DEMO_PATH];
    struct secret_key developer = development_key(0);
    bool written = demo_write_keystore(demo, "developer.json", &developer);
    bytes_wipe(&developer, sizeof(developer));
    if (!written)
        return false;
    const char *const words[] = {"ledger",
                                 "deploy",
                                 "hub",
                                 "factory",
                                 "--hub-key-file",
                                 demo_path(demo, "hub.json", hub),
                                 "--challenge-period",
                                 TEXT(DEMO_CHALLENGE_S),
                                 "--chain-id",
                                 CHAIN_ID_TEXT,
                                 NULL};
    json_t *answer = demo_command_as(demo, "developer.json", words);
    if (answer == NULL)
        return false;
    bool good =
        read_address(answer, "contract", &demo->contract) && read_address(answer, "factory", &demo->factory);
    json_decref(answer);
    return good || demo_fail(demo, "`rill ledger deploy` did not say where the contract is");
}

bool demo_start_evm(struct demo *demo)
{
    char contract[ADDRESS_TEXT_SIZE];
    if (!start_anvil(demo))
        return false;
    demo_say(demo, "an EVM chain of its own: %s (anvil), a block every second", demo->ledger_url);
    if (!deploy(demo))
        return false;
    demo_say(demo, "the contract is at %s (`rill ledger deploy`); closes can be challenged for %d s",
             address_text(&demo->contract, contract), DEMO_CHALLENGE_S);
    return true;
}
