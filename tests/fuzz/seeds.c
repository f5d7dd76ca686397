/* Writes the corpora that the fuzzers start from: seeds FOLDER VECTORS.json. */
#include "tests/fuzz/seeds.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/ensure.h"
#include "base/log.h"

static const char *folder;

void seed_write(const char *fuzzer, const char *name, int first, const void *data, size_t length)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", folder, fuzzer);
    (void)mkdir(path, 0777);
    snprintf(path, sizeof(path), "%s/%s/%s", folder, fuzzer, name);
    FILE *file = fopen(path, "we");
    ensure(file != NULL);
    if (first >= 0)
        fputc(first, file);
    ensure(fwrite(data, 1, length, file) == length && fclose(file) == 0);
}

static void seeds_of_settings(void)
{
    static const char all[] = "# all of them\ndata = some/folder # where\ncount=10\n"
                              "any-number = 18446744073709551615\nflag = true\nformat=json\n";
    static const char *const files[] = {
        all,         "\n\n  count   =   1  \n", "count = 0\n",    "counter = 3\n", "flag = yes\n",
        "nothing\n", "count = 3\ncount = 4\n",  "format = tex\n", "data = \n",     "data = a#b\r\n"};
    static const char *const texts[] = {"127.0.0.1:9735",
                                        "[::1]:8545",
                                        "hub.example:0",
                                        "http://127.0.0.1:8545",
                                        "http://[::1]:8545/path?key=1",
                                        "http://node.example",
                                        "https://node.example",
                                        "12.5",
                                        "0.000000000000000001",
                                        "9223372036854775807",
                                        "0."};
    char name[32];
    for (size_t i = 0; i < ARRAY_LENGTH(files); i++) {
        snprintf(name, sizeof(name), "file-%zu", i);
        seed_write("settings", name, 0, files[i], strlen(files[i]));
    }
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
        snprintf(name, sizeof(name), "text-%zu", i);
        seed_write("settings", name, 1, texts[i], strlen(texts[i]));
    }
}

/* Programs: bytes without meaning of their own, long enough that something happens. */
static void seeds_of_programs(const char *fuzzer, size_t count, size_t length, const uint8_t *often,
                              size_t often_count)
{
    uint8_t program[512];
    uint64_t random = 1;
    char name[32];
    ensure(length <= sizeof(program));
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < length; j++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            uint8_t byte = (uint8_t)(random >> 56);
            program[j] = often_count > 0 && byte % 3 == 0 ? often[(random >> 40) % often_count] : byte;
        }
        snprintf(name, sizeof(name), "program-%zu", i);
        seed_write(fuzzer, name, (int)(i % 64), program, length);
    }
}

int main(int argc, char **argv)
{
    /* Payments, answers, what settles; and the honest answers of a node. */
    static const uint8_t actions[] = {0, 20, 41, 4, 24, 44, 5, 6, 26, 7, 7, 7, 9},
                         honest[] = {0, 0, 1, 2, 3, 130};
    if (argc != 3) {
        fprintf(stderr, "seeds: say where to and from which vectors: seeds FOLDER VECTORS.json\n");
        return 2;
    }
    folder = argv[1];
    log_setup("seeds", LOG_ERROR, false);
    (void)mkdir(folder, 0777);
    seeds_of_settings();
    seeds_of_programs("engine", 64, 200, actions, sizeof(actions));
    seeds_of_programs("answers", 64, 200, honest, sizeof(honest));
    seeds_of_vectors(argv[2]);
    seeds_of_messages();
    seeds_of_hub();
    seeds_of_wallet();
    seeds_of_tower();
    seeds_of_ledger();
    seeds_of_merchant();
    return 0;
}
