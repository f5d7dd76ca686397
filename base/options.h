/* Settings of a program, from one table: flags, environment, configuration file and --help all come from it.
 *
 * Each row names a setting "hub-listen": flag --hub-listen VALUE (or --hub-listen=VALUE), environment
 * PREFIX_HUB_LISTEN, file line "hub-listen = VALUE" ('#' at a line's start or after white space starts a comment). Flags win over the environment,
 * the environment over the file, the file over the default. --help, --version and --config FILE are added to
 * each table. A wrong name, a value out of bounds or an unreadable file is one line that says what to do.
 */
#ifndef RILL_BASE_OPTIONS_H
#define RILL_BASE_OPTIONS_H

#include "base/bytes.h"

enum option_kind {
    OPTION_TEXT,   /* const char **: lives as long as the process */
    OPTION_NUMBER, /* uint64_t *, minimum..maximum */
    OPTION_FLAG,   /* bool *: --name, --name=false; in files true/false */
    OPTION_CHOICE  /* const char **: one of `choices`, separated by '|' */
};

struct option_row {
    const char *name;
    enum option_kind kind;
    void *target;        /* where the value goes; set to the default before anything is read */
    const char *initial; /* default as text; NULL: none (text stays NULL) */
    uint64_t minimum;    /* numbers */
    uint64_t maximum;
    const char *value; /* what --help shows: "ADDRESS:PORT", or the choices "text|json" */
    const char *help;  /* one sentence; units named */
};

struct options {
    const char *program;            /* "rill-hubd" */
    const char *environment_prefix; /* "RILL_HUBD" */
    const char *usage;              /* after the program's name: "[OPTIONS]" or "COMMAND [OPTIONS]" */
    const char *about;              /* a few lines above the table in --help: what it does, an example */
    const struct option_row *rows;
    size_t row_count;
};

enum options_result {
    OPTIONS_RUN,  /* go on */
    OPTIONS_DONE, /* --help or --version was printed: exit 0 */
    OPTIONS_WRONG /* a line on stderr said what is wrong: exit 2 */
};

/* Reads everything. argv[0] is skipped; words that are no flags are collected, in order, into words (room for
 * words_max; more: OPTIONS_WRONG; with words_max 0 any word is wrong). "--" ends the flags. */
enum options_result options_read(const struct options *options, int argc, char **argv, const char **words,
                                 size_t words_max, size_t *word_count) MUST_USE;

/* Prints --help to stdout, or (markdown, --help=markdown) the table that docs/settings.md has. */
void options_print_help(const struct options *options);
void options_print_markdown(const struct options *options);

#endif
