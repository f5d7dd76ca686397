#include "base/options.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/version.h"

#define CONFIG_BYTES_MAX (64 * 1024)
#define NAME_BYTES_MAX   64
#define VALUE_SHOWN_MAX  80 /* of a wrong value, in a message */

/* Flags that every table has. */
static const char *const builtin_names[] = {"config", "help", "version"};

/* Where a value came from, for the message when it is wrong. */
struct origin {
    const char *before; /* "--", "", "config.conf:3: " */
    const char *name;
};

static enum options_result PRINTF_LIKE(2, 3) wrong(const struct options *options, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s: ", options->program);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    return OPTIONS_WRONG;
}

/* ---- names ---- */

static const struct option_row *find_row(const struct options *options, const char *name, size_t length)
{
    for (size_t i = 0; i < options->row_count; i++)
        if (strlen(options->rows[i].name) == length && memcmp(options->rows[i].name, name, length) == 0)
            return &options->rows[i];
    return NULL;
}

/* "hub-listen" to "RILL_HUBD_HUB_LISTEN". */
static const char *environment_name(const struct options *options, const char *name,
                                    char out[2 * NAME_BYTES_MAX])
{
    int length = snprintf(out, 2 * NAME_BYTES_MAX, "%s_%s", options->environment_prefix, name);
    ensure(length > 0 && length < 2 * NAME_BYTES_MAX);
    for (char *at = out; *at != '\0'; at++)
        *at = *at == '-' ? '_' : (char)toupper((unsigned char)*at);
    return out;
}

static size_t smallest(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

/* Levenshtein's distance: letters to change, add or leave out. */
static size_t edit_distance(const char *a, size_t a_length, const char *b)
{
    size_t b_length = strlen(b);
    size_t row[NAME_BYTES_MAX + 1];
    ensure(b_length <= NAME_BYTES_MAX);
    for (size_t j = 0; j <= b_length; j++)
        row[j] = j;
    for (size_t i = 0; i < a_length; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < b_length; j++) {
            size_t above = row[j + 1];
            row[j + 1] = smallest(row[j] + 1, above + 1, diagonal + (a[i] != b[j]));
            diagonal = above;
        }
    }
    return row[b_length];
}

/* The name a person most likely meant, or NULL if none is near. */
static const char *nearest_name(const struct options *options, const char *name, size_t length, bool builtin)
{
    const char *best = NULL;
    size_t best_distance = length / 3 + 2; /* about one letter in three may be wrong */
    if (length > NAME_BYTES_MAX)
        return NULL;
    for (size_t i = 0; i < options->row_count + (builtin ? ARRAY_LENGTH(builtin_names) : 0); i++) {
        const char *candidate =
            i < options->row_count ? options->rows[i].name : builtin_names[i - options->row_count];
        size_t distance = edit_distance(name, length, candidate);
        if (distance < best_distance) {
            best_distance = distance;
            best = candidate;
        }
    }
    return best;
}

/* ---- values ---- */

static bool parse_number(const char *text, uint64_t *out)
{
    uint64_t value = 0;
    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9' || __builtin_mul_overflow(value, (uint64_t)10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value))
            return false;
    }
    *out = value;
    return true;
}

static bool is_choice(const char *choices, const char *text)
{
    size_t length = strlen(text);
    while (true) {
        size_t step = strcspn(choices, "|");
        if (step == length && length > 0 && memcmp(choices, text, length) == 0)
            return true;
        if (choices[step] == '\0')
            return false;
        choices += step + 1;
    }
}

/* Checks a value and puts it where the row says. */
static enum options_result set_value(const struct options *options, const struct option_row *row,
                                     const char *text, struct origin origin)
{
    switch (row->kind) {
    case OPTION_TEXT:
        *(const char **)row->target = text;
        return OPTIONS_RUN;
    case OPTION_NUMBER: {
        uint64_t number;
        if (!parse_number(text, &number) || number < row->minimum || number > row->maximum)
            return wrong(options, "%s%s: '%.*s' is not a whole number from %llu to %llu", origin.before,
                         origin.name, VALUE_SHOWN_MAX, text, (unsigned long long)row->minimum,
                         (unsigned long long)row->maximum);
        *(uint64_t *)row->target = number;
        return OPTIONS_RUN;
    }
    case OPTION_FLAG:
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
            return wrong(options, "%s%s: '%.*s' is neither true nor false", origin.before, origin.name,
                         VALUE_SHOWN_MAX, text);
        *(bool *)row->target = text[0] == 't';
        return OPTIONS_RUN;
    case OPTION_CHOICE:
        if (!is_choice(row->value, text))
            return wrong(options, "%s%s: '%.*s' is none of %s", origin.before, origin.name, VALUE_SHOWN_MAX,
                         text, row->value);
        *(const char **)row->target = text;
        return OPTIONS_RUN;
    }
    return OPTIONS_WRONG;
}

/* A table that is wrong is a bug of the program, found by whoever first starts it. */
static void set_defaults(const struct options *options)
{
    for (size_t i = 0; i < options->row_count; i++) {
        const struct option_row *row = &options->rows[i];
        ensure(strlen(row->name) <= NAME_BYTES_MAX && find_row(options, row->name, strlen(row->name)) == row);
        for (size_t j = 0; j < ARRAY_LENGTH(builtin_names); j++)
            ensure(strcmp(row->name, builtin_names[j]) != 0);
        ensure(row->kind != OPTION_CHOICE || row->value != NULL);
        if (row->initial != NULL) {
            ensure(set_value(options, row, row->initial, (struct origin){"default of ", row->name}) ==
                   OPTIONS_RUN);
            continue;
        }
        switch (row->kind) {
        case OPTION_TEXT:
        case OPTION_CHOICE:
            *(const char **)row->target = NULL;
            break;
        case OPTION_NUMBER:
            *(uint64_t *)row->target = 0;
            break;
        case OPTION_FLAG:
            *(bool *)row->target = false;
            break;
        }
    }
}

/* ---- the file ---- */

/* Texts of the file live as long as the process; this list keeps them reachable. */
struct kept_text {
    struct kept_text *next;
    char text[];
};
static struct kept_text *kept_texts;

static char *keep_text(size_t capacity)
{
    struct kept_text *kept = xcalloc(1, sizeof(*kept) + capacity);
    kept->next = kept_texts;
    kept_texts = kept;
    return kept->text;
}

static char *trim(char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    size_t length = strlen(text);
    while (length > 0 && isspace((unsigned char)text[length - 1]))
        text[--length] = '\0';
    return text;
}

/* '#' at the start or after white space: a value may contain it ("a#b"). */
static void cut_comment(char *line)
{
    for (char *at = line; *at != '\0'; at++) {
        if (*at == '#' && (at == line || isspace((unsigned char)at[-1]))) {
            *at = '\0';
            return;
        }
    }
}

static enum options_result read_config_line(const struct options *options, const char *place, char *line,
                                            bool *seen)
{
    cut_comment(line);
    line = trim(line);
    if (*line == '\0')
        return OPTIONS_RUN;
    char *equals = strchr(line, '=');
    if (equals == NULL)
        return wrong(options, "%swrite 'name = value', not '%.*s'", place, VALUE_SHOWN_MAX, line);
    *equals = '\0';
    char *name = trim(line), *value = trim(equals + 1);
    const struct option_row *row = find_row(options, name, strlen(name));
    if (row == NULL) {
        const char *near = nearest_name(options, name, strlen(name), false);
        return wrong(options, "%sno setting '%.*s'; %s%s%s", place, VALUE_SHOWN_MAX, name,
                     near == NULL ? "--help lists them" : "did you mean '", near == NULL ? "" : near,
                     near == NULL ? "" : "'?");
    }
    if (seen[row - options->rows])
        return wrong(options, "%s'%s' is set a second time; keep one line", place, name);
    seen[row - options->rows] = true;
    return set_value(options, row, value, (struct origin){place, row->name});
}

static enum options_result read_config_lines(const struct options *options, const char *path, char *text)
{
    bool *seen = xcalloc(options->row_count, sizeof(*seen));
    size_t place_size = strlen(path) + 32;
    char *place = xmalloc(place_size);
    enum options_result result = OPTIONS_RUN;
    for (unsigned number = 1; text != NULL && result == OPTIONS_RUN; number++) {
        char *line = strsep(&text, "\n");
        snprintf(place, place_size, "%s:%u: ", path, number);
        result = read_config_line(options, place, line, seen);
    }
    free(place);
    free(seen);
    return result;
}

static enum options_result read_config(const struct options *options, const char *path)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return wrong(options, "cannot open the configuration file %s: %s", path, strerror(errno));
    char *text = keep_text(CONFIG_BYTES_MAX + 1);
    errno = 0;
    size_t length = fread(text, 1, CONFIG_BYTES_MAX + 1, file);
    int error = ferror(file) ? errno : 0;
    fclose(file);
    if (error != 0)
        return wrong(options, "cannot read the configuration file %s: %s", path, strerror(error));
    if (length > CONFIG_BYTES_MAX)
        return wrong(options, "the configuration file %s is longer than %d bytes", path, CONFIG_BYTES_MAX);
    text[length] = '\0';
    if (!utf8_is_valid((const uint8_t *)text, length))
        return wrong(options, "the configuration file %s is not text (UTF-8)", path);
    return read_config_lines(options, path, text);
}

/* ---- environment and flags ---- */

/* An empty variable counts as not set, as container tools pass them. */
static const char *read_variable(const char *name)
{
    const char *value = getenv(name);
    return value == NULL || *value == '\0' ? NULL : value;
}

static enum options_result read_environment(const struct options *options)
{
    for (size_t i = 0; i < options->row_count; i++) {
        char name[2 * NAME_BYTES_MAX];
        const char *value = read_variable(environment_name(options, options->rows[i].name, name));
        if (value != NULL &&
            set_value(options, &options->rows[i], value, (struct origin){"", name}) != OPTIONS_RUN)
            return OPTIONS_WRONG;
    }
    return OPTIONS_RUN;
}

/* What the command line says: one text per row (NULL: not given). */
struct flags {
    const char **values;
    const char *config;
    const char **words;
    size_t words_max;
    size_t word_count;
};

static enum options_result take_word(const struct options *options, struct flags *flags, const char *word)
{
    if (flags->word_count == flags->words_max)
        return wrong(options, "unexpected '%.*s'; see %s --help", VALUE_SHOWN_MAX, word, options->program);
    flags->words[flags->word_count++] = word;
    return OPTIONS_RUN;
}

static enum options_result unknown_flag(const struct options *options, const char *flag, size_t length)
{
    size_t dashes = flag[1] == '-' ? 2 : 1;
    const char *near = nearest_name(options, flag + dashes, length - dashes, true);
    if (near == NULL)
        return wrong(options, "unknown flag %.*s; see %s --help", (int)(length < 80 ? length : 80), flag,
                     options->program);
    return wrong(options, "unknown flag %.*s; did you mean --%s?", (int)length, flag, near);
}

/* Reads argv[*at], a flag, and its value, which may be the next argument. */
static enum options_result take_flag(const struct options *options, struct flags *flags, int argc,
                                     char **argv, int *at)
{
    const char *flag = argv[*at];
    size_t length = strcspn(flag, "=");
    const char *value = flag[length] == '=' ? flag + length + 1 : NULL;
    if (strcmp(flag, "--help") == 0 || strcmp(flag, "-h") == 0) {
        options_print_help(options);
        return OPTIONS_DONE;
    }
    if (strcmp(flag, "--help=markdown") == 0) {
        options_print_markdown(options);
        return OPTIONS_DONE;
    }
    if (strcmp(flag, "--version") == 0) {
        printf("%s %s\n", options->program, RILL_VERSION);
        return OPTIONS_DONE;
    }
    bool is_config = length == strlen("--config") && memcmp(flag, "--config", length) == 0;
    const struct option_row *row =
        flag[1] == '-' && length > 2 ? find_row(options, flag + 2, length - 2) : NULL;
    if (row == NULL && !is_config)
        return unknown_flag(options, flag, length);
    if (row != NULL && row->kind == OPTION_FLAG && value == NULL)
        value = "true";
    if (value == NULL) {
        if (*at + 1 == argc || strncmp(argv[*at + 1], "--", 2) == 0)
            return wrong(options, "%s needs a value: %s=%s", flag, flag,
                         is_config            ? "FILE"
                         : row->value == NULL ? "VALUE"
                                              : row->value);
        value = argv[++*at];
    }
    if (is_config)
        flags->config = value;
    else
        flags->values[row - options->rows] = value;
    return OPTIONS_RUN;
}

static enum options_result read_arguments(const struct options *options, struct flags *flags, int argc,
                                          char **argv)
{
    bool flags_ended = false;
    for (int i = 1; i < argc; i++) {
        enum options_result result = OPTIONS_RUN;
        if (flags_ended || argv[i][0] != '-' || argv[i][1] == '\0')
            result = take_word(options, flags, argv[i]);
        else if (strcmp(argv[i], "--") == 0)
            flags_ended = true;
        else
            result = take_flag(options, flags, argc, argv, &i);
        if (result != OPTIONS_RUN)
            return result;
    }
    return OPTIONS_RUN;
}

static enum options_result set_flags(const struct options *options, const struct flags *flags)
{
    for (size_t i = 0; i < options->row_count; i++)
        if (flags->values[i] != NULL &&
            set_value(options, &options->rows[i], flags->values[i],
                      (struct origin){"--", options->rows[i].name}) != OPTIONS_RUN)
            return OPTIONS_WRONG;
    return OPTIONS_RUN;
}

/* The arguments are looked at first, because they may name the file, and take effect last, because they win.
 */
static enum options_result read_all(const struct options *options, struct flags *flags, int argc, char **argv)
{
    set_defaults(options);
    enum options_result result = read_arguments(options, flags, argc, argv);
    if (result != OPTIONS_RUN)
        return result;
    char name[2 * NAME_BYTES_MAX];
    const char *config = flags->config;
    if (config == NULL)
        config = read_variable(environment_name(options, "config", name));
    if (config != NULL && read_config(options, config) != OPTIONS_RUN)
        return OPTIONS_WRONG;
    if (read_environment(options) != OPTIONS_RUN)
        return OPTIONS_WRONG;
    return set_flags(options, flags);
}

enum options_result options_read(const struct options *options, int argc, char **argv, const char **words,
                                 size_t words_max, size_t *word_count)
{
    struct flags flags = {
        .values = xcalloc(options->row_count, sizeof(*flags.values)), .words = words, .words_max = words_max};
    enum options_result result = read_all(options, &flags, argc, argv);
    free(flags.values);
    if (word_count != NULL)
        *word_count = flags.word_count;
    return result;
}

/* ---- help ---- */

/* Ends the help's sentence, and adds a number's bounds. */
static void print_bounds(const struct option_row *row)
{
    size_t length = strlen(row->help);
    if (length > 0 && row->help[length - 1] != '.')
        putchar('.');
    if (row->kind == OPTION_NUMBER && row->maximum == UINT64_MAX)
        printf(" At least %llu.", (unsigned long long)row->minimum);
    else if (row->kind == OPTION_NUMBER)
        printf(" From %llu to %llu.", (unsigned long long)row->minimum, (unsigned long long)row->maximum);
}

static const char *default_text(const struct option_row *row)
{
    if (row->initial != NULL)
        return row->initial;
    return row->kind == OPTION_FLAG ? "false" : "none";
}

static const char *value_text(const struct option_row *row)
{
    if (row->kind == OPTION_FLAG)
        return "";
    return row->value != NULL ? row->value : row->kind == OPTION_NUMBER ? "NUMBER" : "TEXT";
}

static void print_help_row(const struct options *options, const struct option_row *row)
{
    char variable[2 * NAME_BYTES_MAX];
    const char *value = value_text(row);
    printf("  --%s%s%s\n      %s", row->name, *value == '\0' ? "" : " ", value, row->help);
    print_bounds(row);
    printf("\n      [default: %s] [environment: %s]\n", default_text(row),
           environment_name(options, row->name, variable));
}

void options_print_help(const struct options *options)
{
    char variable[2 * NAME_BYTES_MAX];
    printf("usage: %s %s\n", options->program, options->usage);
    if (options->about != NULL)
        printf("\n%s\n", options->about);
    printf("\nSettings:\n");
    for (size_t i = 0; i < options->row_count; i++)
        print_help_row(options, &options->rows[i]);
    printf(
        "  --config FILE\n      Reads settings from a file of lines 'name = value' ('#' starts a comment).\n"
        "      [default: none] [environment: %s]\n",
        environment_name(options, "config", variable));
    printf("  --help\n      Prints this and ends.\n  --version\n      Prints the version and ends.\n");
    printf("\nA flag wins over the environment, the environment over the file, the file over the default.\n");
}

/* In a cell '|' would end the cell. */
static void print_cell(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '|')
            putchar('\\');
        putchar(*text == '\n' ? ' ' : *text);
    }
}

void options_print_markdown(const struct options *options)
{
    printf("| setting | default | environment | meaning |\n| --- | --- | --- | --- |\n");
    for (size_t i = 0; i < options->row_count; i++) {
        const struct option_row *row = &options->rows[i];
        char variable[2 * NAME_BYTES_MAX];
        const char *value = value_text(row);
        printf("| `--%s%s", row->name, *value == '\0' ? "" : " ");
        print_cell(value);
        printf("` | `");
        print_cell(default_text(row));
        printf("` | `%s` | ", environment_name(options, row->name, variable));
        print_cell(row->help);
        print_bounds(row);
        printf(" |\n");
    }
}
