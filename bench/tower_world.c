/* A real watchtower in the bench's world. */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "bench/world.h"
#include "crypto/hash.h"
#include "crypto/keystore.h"

#define START_TIMEOUT_MS 600000

/* The tower comes back where it was, as a hub expects it to. Ports of a system's own choosing may be another's by then: Linux
 * takes those from 32768 on. */
#define PORT_FIRST 20000
#define PORT_COUNT 12000
#define PORT_TRIES 100

static bool port_is_free(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is_free = descriptor >= 0 && bind(descriptor, (struct sockaddr *)&address, sizeof(address)) == 0;
    if (descriptor >= 0)
        close(descriptor);
    return is_free;
}

/* 0, which lets the system choose, if none is found. */
static uint16_t port_to_keep(void)
{
    for (int i = 0; i < PORT_TRIES; i++) {
        uint16_t number;
        random_bytes(&number, sizeof(number));
        number = (uint16_t)(PORT_FIRST + number % PORT_COUNT);
        if (port_is_free(number))
            return number;
    }
    return 0;
}

bool world_make_tower(struct world *world)
{
    char key[WORLD_PATH], passphrase[WORLD_PATH];
    world->tower_key = secret_key_random();
    world->tower_port = port_to_keep();
    world->tower = secret_key_address(&world->tower_key);
    world_path(world, "tower.json", key);
    FILE *file = fopen(world_path(world, "tower.pass", passphrase), "w");
    bool written = file != NULL && fputs("bench\n", file) >= 0;
    if (file != NULL)
        written = fclose(file) == 0 && written;
    if (!written || keystore_create(key, "bench", &world->tower_key, 4096) != KEYSTORE_OK)
        return world_fail(world, "the tower's key cannot be written to %s", world->folder);
    return world_call(world, &(struct contract_call){
                                 .function = CONTRACT_SET_TOWER, .address = world->tower, .flag = true});
}

bool world_start_tower(struct world *world, double *seconds)
{
    char program[WORLD_PATH], key[WORLD_PATH], passphrase[WORLD_PATH], data[WORLD_PATH],
        port_file[WORLD_PATH], log[WORLD_PATH], listen[32], ports[64];
    unsigned port, http_port;
    snprintf(listen, sizeof(listen), "127.0.0.1:%u", world->tower_port);
    const char *const arguments[] = {world_program(world, "rill-towerd", program),
                                     "--data",
                                     world_path(world, "tower", data),
                                     "--key-file",
                                     world_path(world, "tower.json", key),
                                     "--passphrase-file",
                                     world_path(world, "tower.pass", passphrase),
                                     "--ledger",
                                     world->ledger_url,
                                     "--listen",
                                     listen,
                                     "--http",
                                     "127.0.0.1:0",
                                     "--port-file",
                                     world_path(world, "tower.port", port_file),
                                     "--confirmations",
                                     "1",
                                     "--poll-ms",
                                     "50",
                                     NULL};
    unlink(port_file);
    uint64_t before = clock_monotonic_us();
    if (!child_start(&world->towerd, "rill-towerd", world_path(world, "tower.log", log), arguments,
                     world->message, sizeof(world->message)))
        return false;
    if (!child_wait_file(&world->towerd, port_file, START_TIMEOUT_MS, ports, sizeof(ports)) ||
        sscanf(ports, "%u %u", &port, &http_port) != 2)
        return world_fail(world, "rill-towerd did not start: see %s", log);
    *seconds = (double)(clock_monotonic_us() - before) / 1e6;
    world->tower_port = (uint16_t)port;
    world->tower_http_port = (uint16_t)http_port;
    return true;
}

bool world_stop_tower(struct world *world)
{
    int code = child_stop(&world->towerd, 120000);
    return code == 0 || world_fail(world, "rill-towerd ended with %d: see %s", code, world->towerd.log);
}

bool world_ask_tower(struct world *world, const char *name, uint64_t *out)
{
    char whole[96];
    char *metrics = world_ask_port(world, world->tower_http_port, "/metrics");
    snprintf(whole, sizeof(whole), "tower_%s", name);
    bool found = metrics != NULL && metric_find(metrics, whole, out);
    free(metrics);
    return found || world_fail(world, "the tower's /metrics lack %s", name);
}
