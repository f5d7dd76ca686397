/* The real processes: keystores, start, kill, stop, and the command `rill`. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "bench/demo.h"
#include "crypto/keystore.h"

#define CONTRACT_TEXT    "0x52696c6c00000000000000000000000000000001"
#define FACTORY_TEXT     "0x52696c6c00000000000000000000000000000002"
#define PASSPHRASE       "market day"
#define SCRYPT_LIGHT     4096
#define SETTLE_STAYING_S "5"
#define RATE_OF_THE_DAY  "10000" /* forty customers at once, each as fast as it can */
#define DEMO_WORDS_MAX   28      /* of a command */
#define TEXT(value)      TEXT_OF(value)
#define TEXT_OF(value)   #value

static const char *program(const struct demo *demo, const char *name, char out[DEMO_PATH])
{
    snprintf(out, DEMO_PATH, "%.900s/%s", demo->bin, name);
    return out;
}

static bool write_passphrase(struct demo *demo)
{
    char path[DEMO_PATH];
    FILE *file = fopen(demo_path(demo, "passphrase", path), "we");
    bool good = file != NULL && fputs(PASSPHRASE "\n", file) >= 0;
    if (file != NULL)
        good = fclose(file) == 0 && good;
    return good || demo_fail(demo, "%s cannot be written: %s", path, strerror(errno));
}

bool demo_write_keystore(struct demo *demo, const char *name, const struct secret_key *key)
{
    char path[DEMO_PATH];
    enum keystore_error error = keystore_create(demo_path(demo, name, path), PASSPHRASE, key, SCRYPT_LIGHT);
    return error == KEYSTORE_OK || demo_fail(demo, "%s: %s", path, keystore_error_text(error));
}

/* Waits for "PORT" or "PORT HTTP-PORT" of a program that has just been started. */
static bool wait_ports(struct demo *demo, struct child *child, const char *file, uint16_t *port,
                       uint16_t *http_port)
{
    char line[64];
    unsigned first = 0, second = 0;
    if (!child_wait_file(child, file, 20000, line, sizeof(line)) ||
        sscanf(line, "%u %u", &first, &second) < 1 || first == 0 || first > UINT16_MAX || second > UINT16_MAX)
        return demo_fail(demo, "%s did not start: see %s", child->name, child->log);
    *port = (uint16_t)first;
    *http_port = (uint16_t)second;
    return true;
}

bool demo_make_keys(struct demo *demo)
{
    demo->hub_key = secret_key_random();
    demo->tower_key = secret_key_random();
    demo->hub = secret_key_address(&demo->hub_key);
    demo->tower = secret_key_address(&demo->tower_key);
    return write_passphrase(demo) && demo_write_keystore(demo, "hub.json", &demo->hub_key) &&
           demo_write_keystore(demo, "tower.json", &demo->tower_key);
}

bool demo_start_ledger(struct demo *demo)
{
    char path[DEMO_PATH], folder[DEMO_PATH], port_file[DEMO_PATH], log[DEMO_PATH];
    char hub[ADDRESS_TEXT_SIZE], tower[ADDRESS_TEXT_SIZE], fund[2 * ADDRESS_TEXT_SIZE + 32];
    uint16_t port, unused;
    snprintf(fund, sizeof(fund), "%s=1000,%s=100", address_text(&demo->hub, hub),
             address_text(&demo->tower, tower));
    const char *const arguments[] = {program(demo, "rill-ledgerd", path),
                                     "--folder",
                                     demo_path(demo, "ledger", folder),
                                     "--port",
                                     "0",
                                     "--port-file",
                                     demo_path(demo, "ledger.port", port_file),
                                     "--hub",
                                     hub,
                                     "--fund",
                                     fund,
                                     "--block-interval-ms",
                                     "300",
                                     "--challenge-period",
                                     TEXT(DEMO_CHALLENGE_S),
                                     NULL};
    if (!child_start(&demo->ledgerd, "rill-ledgerd", demo_path(demo, "ledger.log", log), arguments, demo->why,
                     sizeof(demo->why)) ||
        !wait_ports(demo, &demo->ledgerd, port_file, &port, &unused))
        return false;
    snprintf(demo->ledger_url, sizeof(demo->ledger_url), "http://127.0.0.1:%u", port);
    return hex_decode(CONTRACT_TEXT, demo->contract.bytes, sizeof(demo->contract.bytes)) &&
           hex_decode(FACTORY_TEXT, demo->factory.bytes, sizeof(demo->factory.bytes));
}

bool demo_start_tower(struct demo *demo)
{
    char path[DEMO_PATH], key[DEMO_PATH], pass[DEMO_PATH], folder[DEMO_PATH], port_file[DEMO_PATH],
        log[DEMO_PATH], contract[ADDRESS_TEXT_SIZE];
    const char *const arguments[] = {program(demo, "rill-towerd", path),
                                     "--data",
                                     demo_path(demo, "tower", folder),
                                     "--key-file",
                                     demo_path(demo, "tower.json", key),
                                     "--passphrase-file",
                                     demo_path(demo, "passphrase", pass),
                                     "--ledger",
                                     demo->ledger_url,
                                     "--contract",
                                     address_text(&demo->contract, contract),
                                     "--listen",
                                     "127.0.0.1:0",
                                     "--http",
                                     "127.0.0.1:0",
                                     "--port-file",
                                     demo_path(demo, "tower.port", port_file),
                                     "--confirmations",
                                     "1",
                                     "--poll-ms",
                                     "100",
                                     NULL};
    return child_start(&demo->towerd, "rill-towerd", demo_path(demo, "tower.log", log), arguments, demo->why,
                       sizeof(demo->why)) &&
           wait_ports(demo, &demo->towerd, port_file, &demo->tower_port, &demo->tower_http_port);
}

bool demo_start_hub(struct demo *demo)
{
    char path[DEMO_PATH], key[DEMO_PATH], pass[DEMO_PATH], folder[DEMO_PATH], port_file[DEMO_PATH],
        log[DEMO_PATH], contract[ADDRESS_TEXT_SIZE];
    char listen[32], http[32], tower[32], tower_address[ADDRESS_TEXT_SIZE], direct[24], lock[24], fee[24],
        ppm[24];
    snprintf(listen, sizeof(listen), "127.0.0.1:%u", demo->hub_port);
    snprintf(http, sizeof(http), "127.0.0.1:%u", demo->hub_http_port);
    snprintf(tower, sizeof(tower), "127.0.0.1:%u", demo->tower_port);
    snprintf(direct, sizeof(direct), "%u", DEMO_DIRECT_MAX);
    snprintf(lock, sizeof(lock), "%u", DEMO_LOCK_MIN);
    snprintf(fee, sizeof(fee), "%u", DEMO_BASE_FEE);
    snprintf(ppm, sizeof(ppm), "%u", DEMO_FEE_PPM);
    const char *const arguments[] = {program(demo, "rill-hubd", path),
                                     "--data",
                                     demo_path(demo, "hub", folder),
                                     "--key-file",
                                     demo_path(demo, "hub.json", key),
                                     "--passphrase-file",
                                     demo_path(demo, "passphrase", pass),
                                     "--ledger",
                                     demo->ledger_url,
                                     "--contract",
                                     address_text(&demo->contract, contract),
                                     "--listen",
                                     listen,
                                     "--http",
                                     http,
                                     "--port-file",
                                     demo_path(demo, "hub.port", port_file),
                                     "--tower",
                                     tower,
                                     "--tower-address",
                                     address_text(&demo->tower, tower_address),
                                     "--confirmations",
                                     "1",
                                     "--poll-ms",
                                     "100",
                                     "--settle-interval-s", /* the day asks for its batches itself */
                                     demo->staying ? SETTLE_STAYING_S : "0",
                                     "--base-fee",
                                     fee,
                                     "--fee-ppm",
                                     ppm,
                                     "--direct-limit",
                                     direct,
                                     "--min-lock",
                                     lock,
                                     "--inbound-max",
                                     "1000000000000",
                                     "--shards", /* one: the same figures on every machine */
                                     "1",
                                     NULL};
    remove(port_file);
    return child_start(&demo->hubd, "rill-hubd", demo_path(demo, "hub.log", log), arguments, demo->why,
                       sizeof(demo->why)) &&
           wait_ports(demo, &demo->hubd, port_file, &demo->hub_port, &demo->hub_http_port);
}

bool demo_start_shop(struct demo *demo)
{
    char path[DEMO_PATH], home[DEMO_PATH], pass[DEMO_PATH], port_file[DEMO_PATH], log[DEMO_PATH], listen[32];
    uint16_t unused;
    snprintf(listen, sizeof(listen), "127.0.0.1:%u", demo->shop.port);
    const char *const arguments[] = {
        program(demo, "rill-merchantd", path), "serve", "--home",
        demo_path(demo, demo->clients[DEMO_SHOP].name, home), "--passphrase-file",
        demo_path(demo, "passphrase", pass), "--listen", listen, "--port-file",
        demo_path(demo, "shop.port", port_file), "--page-shop", "The Grocer",
        /* Whoever stays has web hooks on this machine, and the usual rates. */
        demo->staying ? "--webhook-allow" : "--rate-per-s", demo->staying ? "127.0.0.1" : RATE_OF_THE_DAY,
        demo->staying ? NULL : "--rate-burst", RATE_OF_THE_DAY, NULL};
    remove(port_file);
    return child_start(&demo->shop.child, "rill-merchantd", demo_path(demo, "shop.log", log), arguments,
                       demo->why, sizeof(demo->why)) &&
           wait_ports(demo, &demo->shop.child, port_file, &demo->shop.port, &unused);
}

bool demo_stop(struct demo *demo, struct child *child)
{
    if (child->pid == 0)
        return true;
    int code = child_stop(child, 15000);
    if (code != 0)
        return demo_fail(demo, "%s did not stop cleanly (%d): see %s", child->name, code, child->log);
    child->name[0] = '\0'; /* nobody misses it */
    return true;
}

bool demo_stop_processes(struct demo *demo)
{
    bool shop = demo_stop(demo, &demo->shop.child), hub = demo_stop(demo, &demo->hubd),
         tower = demo_stop(demo, &demo->towerd), ledger = demo_stop(demo, &demo->ledgerd);
    return shop && hub && tower && ledger;
}

/* ---- the command ---- */

/* One at a time. */
static struct {
    struct child child;
    char name[96];
    int code;
} running;

static bool has_ended(struct demo *demo, char *progress, size_t size)
{
    int status = 0;
    (void)demo;
    snprintf(progress, size, "`%s` is at work", running.name);
    if (waitpid(running.child.pid, &status, WNOHANG) == 0)
        return false;
    running.child.pid = 0;
    running.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return true;
}

/* The last line of a file as JSON; NULL if it is none. */
static json_t *last_line_json(const char *path)
{
    char *line = NULL, *last = NULL;
    size_t size = 0;
    FILE *file = fopen(path, "re");
    while (file != NULL && getline(&line, &size, file) > 0) {
        free(last);
        last = strdup(line);
    }
    if (file != NULL)
        fclose(file);
    json_t *json = last == NULL ? NULL : json_loads(last, 0, NULL);
    free(line);
    free(last);
    return json;
}

/* arguments[0] is the program's path. */
static json_t *run(struct demo *demo, const char *name, const char *const *arguments)
{
    char log_name[64], log[DEMO_PATH];
    snprintf(log_name, sizeof(log_name), "%s.log", name);
    snprintf(running.name, sizeof(running.name), "%s %s %s", name, arguments[1], arguments[2]);
    if (!child_start(&running.child, name, demo_path(demo, log_name, log), arguments, demo->why,
                     sizeof(demo->why)))
        return NULL;
    if (!demo_wait(demo, has_ended, 60000, "a command")) {
        child_kill(&running.child);
        return NULL;
    }
    json_t *json = running.code == 0 ? last_line_json(log) : NULL;
    if (json == NULL)
        demo_fail(demo, "`%s` ended with %d: see %s", running.name, running.code, log);
    return json;
}

json_t *demo_command_at(struct demo *demo, const char *name, const char *home, const char *const *words)
{
    char path[DEMO_PATH], folder[DEMO_PATH], pass[DEMO_PATH];
    const char *arguments[DEMO_WORDS_MAX + 8];
    size_t count = 0;
    arguments[count++] = program(demo, name, path);
    while (*words != NULL && count <= DEMO_WORDS_MAX)
        arguments[count++] = *words++;
    const char *const common[] = {"--json",
                                  "--home",
                                  demo_path(demo, home, folder),
                                  "--passphrase-file",
                                  demo_path(demo, "passphrase", pass),
                                  NULL};
    memcpy(arguments + count, common, sizeof(common));
    return run(demo, name, arguments);
}

json_t *demo_command(struct demo *demo, const char *const *words)
{
    return demo_command_as(demo, "hub.json", words);
}

json_t *demo_command_as(struct demo *demo, const char *keystore, const char *const *words)
{
    char key[DEMO_PATH], contract[ADDRESS_TEXT_SIZE];
    const char *all[DEMO_WORDS_MAX + 1];
    size_t count = 0;
    const char *const common[] = {"--ledger",
                                  demo->ledger_url,
                                  "--contract",
                                  address_text(&demo->contract, contract),
                                  "--confirmations",
                                  "1",
                                  "--key-file",
                                  demo_path(demo, keystore, key),
                                  NULL};
    while (*words != NULL && count + ARRAY_LENGTH(common) < ARRAY_LENGTH(all))
        all[count++] = *words++;
    memcpy(all + count, common, sizeof(common));
    return demo_command_at(demo, "rill", "operator", all);
}
