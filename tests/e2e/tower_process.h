/* A real tower beside the ledger and the hub of hub_fixture.h. */
#ifndef RILL_TESTS_E2E_TOWER_PROCESS_H
#define RILL_TESTS_E2E_TOWER_PROCESS_H

#include "tests/e2e/hub_fixture.h"

#define TOWER_COINS 5

struct tower_process {
    struct process process;
    char name[160]; /* as hubs and wallets are told: ADDRESS@HOST:PORT */
    char address[ADDRESS_TEXT_SIZE];
    uint16_t http_port;
};

/* Starts tower `number`, each with a key and a journal of its own, with coins for gas. */
static inline void tower_process_start(struct hub_stage *stage, struct tower_process *tower, unsigned number)
{
    char path[256], data[160], key_file[160], log[160], line[256], listen[64], http[64], host[64], seed[32];
    unsigned port, http_port;
    snprintf(seed, sizeof seed, "end to end tower %u", number);
    struct secret_key key = key_of(seed);
    struct address address = secret_key_address(&key);
    snprintf(data, sizeof data, "%s/tower-%u", stage->folder, number);
    snprintf(key_file, sizeof key_file, "%s/tower-%u.json", stage->folder, number);
    snprintf(log, sizeof log, "%s/tower-%u.log", stage->folder, number);
    ensure(keystore_create(key_file, PASSPHRASE, &key, 2) == KEYSTORE_OK);
    send_coins(stage, &stage->hub, &address, TOWER_COINS);
    const char *const argv[] = {process_path("rill-towerd", path, sizeof path),
                                "--contract",
                                stage->contract_text,
                                "--ledger",
                                stage->url,
                                "--key-file",
                                key_file,
                                "--passphrase-file",
                                stage->passphrase_file,
                                "--data",
                                data,
                                "--confirmations",
                                "1",
                                "--poll-ms",
                                "20",
                                "--listen",
                                "127.0.0.1:0",
                                "--http",
                                "127.0.0.1:0",
                                NULL};
    assert_true(process_start(&tower->process, argv, log));
    assert_true(process_line(&tower->process, "rill-towerd ready", line, sizeof line, PATIENCE_MS));
    assert_int_equal(sscanf(line, "rill-towerd ready: address %63s listen %63[^:]:%u http %63[^:]:%u", listen,
                            host, &port, http, &http_port),
                     5);
    snprintf(tower->name, sizeof tower->name, "%s@127.0.0.1:%u", address_text(&address, tower->address),
             port);
    tower->http_port = (uint16_t)http_port;
}

#endif
