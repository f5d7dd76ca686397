/* A configuration file, and the texts that settings and command lines carry: endpoints, URLs, amounts.
 *
 *     input: what u8; even: the file, odd: a text
 *
 * A file that is taken leaves every setting within its bounds, and a file written from the settings reads the same.
 * A refused one is one line on stderr. Texts that are taken are written again and read the same. */
/* What a configuration file says lives as long as its process (options.c keeps a list); here that would be a million
 * files, so the list is emptied from inside. */
#include "base/options.c" /* NOLINT(bugprone-suspicious-include) */

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/amount.h"
#include "base/endpoint.h"
#include "ledger/http_post.h"
#include "tests/fuzz/input.h"
#include "wallet/base_units.h"

struct settings {
    const char *data, *format;
    uint64_t count, any;
    bool flag;
};

static void free_kept_texts(void)
{
    while (kept_texts != NULL) {
        struct kept_text *next = kept_texts->next;
        free(kept_texts);
        kept_texts = next;
    }
}

/* Reads a file of these bytes. */
static enum options_result read_settings(const uint8_t *data, size_t size, struct settings *out)
{
    const struct option_row rows[] = {
        {"data", OPTION_TEXT, &out->data, "folder", 0, 0, "FOLDER", "A text."},
        {"count", OPTION_NUMBER, &out->count, "3", 1, 10000, "NUMBER", "A number within bounds."},
        {"any-number", OPTION_NUMBER, &out->any, "0", 0, UINT64_MAX, "NUMBER", "Any number."},
        {"flag", OPTION_FLAG, &out->flag, "false", 0, 0, NULL, "A flag."},
        {"format", OPTION_CHOICE, &out->format, "text", 0, 0, "text|json", "A choice."},
    };
    const struct options options = {.program = "rill-fuzz",
                                    .environment_prefix = "RILL_FUZZ",
                                    .usage = "[OPTIONS]",
                                    .about = "Nothing.",
                                    .rows = rows,
                                    .row_count = ARRAY_LENGTH(rows)};
    char path[64], *arguments[] = {"rill-fuzz", "--config", path};
    size_t words;
    int file = memfd_create("settings", MFD_CLOEXEC);
    ensure(file >= 0 && write(file, data, size) == (ssize_t)size);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    enum options_result result = options_read(&options, 3, arguments, NULL, 0, &words);
    close(file);
    return result;
}

/* The same with what it says on stderr, in a pipe that holds more than one such line. */
static enum options_result read_quietly(const uint8_t *data, size_t size, struct settings *out, char *said,
                                        size_t said_size)
{
    int ends[2], before = dup(STDERR_FILENO);
    ensure(before >= 0 && pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
    ensure(dup2(ends[1], STDERR_FILENO) >= 0);
    enum options_result result = read_settings(data, size, out);
    ensure(dup2(before, STDERR_FILENO) >= 0);
    close(before);
    close(ends[1]);
    ssize_t length = read(ends[0], said, said_size - 1);
    said[length > 0 ? length : 0] = '\0';
    close(ends[0]);
    return result;
}

static void read_file(const uint8_t *data, size_t size)
{
    struct settings settings = {0}, again = {0};
    char said[16384];
    enum options_result result = read_quietly(data, size, &settings, said, sizeof(said));
    ensure(result == OPTIONS_RUN || result == OPTIONS_WRONG);
    if (result == OPTIONS_WRONG) {
        ensure(strchr(said, '\n') != NULL && strchr(said, '\n')[1] == '\0');
        free_kept_texts();
        return;
    }
    ensure(said[0] == '\0' && settings.data != NULL && settings.count >= 1 && settings.count <= 10000);
    ensure(strcmp(settings.format, "text") == 0 || strcmp(settings.format, "json") == 0);
    struct buffer file = {0}; /* no white space before data's value: it may begin with '#' */
    buffer_printf(&file, "data=%s\ncount=%llu\nany-number = %llu\nflag=%s\nformat =%s", settings.data,
                  (unsigned long long)settings.count, (unsigned long long)settings.any,
                  settings.flag ? "true" : "false", settings.format);
    ensure(read_quietly(file.data, file.length, &again, said, sizeof(said)) == OPTIONS_RUN);
    ensure(strcmp(settings.data, again.data) == 0 && strcmp(settings.format, again.format) == 0);
    ensure(settings.count == again.count && settings.any == again.any && settings.flag == again.flag);
    buffer_free(&file);
    free_kept_texts();
}

static void read_text(const char *text)
{
    char host[HOST_BYTES_MAX + 1], amount_again[AMOUNT_TEXT_SIZE], units_again[BASE_UNITS_TEXT_SIZE];
    uint16_t port;
    struct http_target target;
    struct amount amount, reread;
    unsigned_wide units, units_reread;
    if (endpoint_split(text, host, &port))
        ensure(strlen(host) > 0 && strncmp(text, host, strlen(host)) == 0);
    memset(&target, 0, sizeof(target));
    if (http_target_parse(text, &target) == NULL)
        ensure(strlen(target.host) > 0 && target.path[0] == '/');
    for (uint8_t decimals = 0; decimals <= 18; decimals = (uint8_t)(decimals + 9)) {
        if (amount_parse(text, decimals, &amount))
            ensure(amount.units < AMOUNT_LIMIT &&
                   amount_parse(amount_text(amount, decimals, amount_again), decimals, &reread) &&
                   amount.units == reread.units);
        if (base_units_parse(text, decimals, &units))
            ensure(base_units_parse(base_units_text(units, decimals, units_again), decimals, &units_reread) &&
                   units == units_reread);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = input_of(data, size);
    if (input_u8(&input) % 2 == 0) {
        read_file(input.at, input.left);
        return 0;
    }
    char *text = xmalloc(input.left + 1);
    memcpy(text, input.at, input.left);
    text[input.left] = '\0';
    read_text(text);
    free(text);
    return 0;
}
