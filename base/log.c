#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"

static struct {
    const char *program;
    enum log_level level;
    bool json;
} settings = {.program = "rill", .level = LOG_INFO};

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_setup(const char *program, enum log_level level, bool json)
{
    settings.program = program;
    settings.level = level;
    settings.json = json;
}

bool log_level_parse(const char *text, enum log_level *out)
{
    for (size_t i = 0; i < ARRAY_LENGTH(level_names); i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

#define CUT_MARK "[cut]"

/* A JSON string's inside; control characters are escaped, so that a peer's text cannot break the line. */
static void escape_json(const char *text, char *out, size_t capacity)
{
    size_t length = 0;
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (length + sizeof("\\u0000") + sizeof(CUT_MARK) > capacity) {
            out[length] = '\0';
            length = strlen(text_make_utf8(out));
            memcpy(out + length, CUT_MARK, sizeof(CUT_MARK));
            return;
        }
        if (c == '"' || c == '\\') {
            out[length++] = '\\';
            out[length++] = (char)c;
        } else if (c < 0x20 || c == 0x7f) {
            length += (size_t)snprintf(out + length, capacity - length, "\\u%04x", c);
        } else {
            out[length++] = (char)c;
        }
    }
    out[length] = '\0';
}

/* Ends a text that filled its buffer, between two characters, with a mark that says so. */
static void mark_cut(char *text, size_t capacity)
{
    size_t at = capacity - sizeof(CUT_MARK);
    while (at > 0 && ((unsigned char)text[at] & 0xc0) == 0x80)
        at--;
    memcpy(text + at, CUT_MARK, sizeof(CUT_MARK));
}

void log_line(enum log_level level, const char *format, ...)
{
    if (level < settings.level)
        return;
    char text[LOG_LINE_MAX / 2], line[LOG_LINE_MAX];
    va_list arguments;
    va_start(arguments, format);
    int wanted = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (wanted >= (int)sizeof(text))
        mark_cut(text, sizeof(text));

    struct timespec now;
    struct tm parts;
    char stamp[32];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &parts);
    int length;
    if (settings.json) {
        text_make_utf8(text);
        char escaped[LOG_LINE_MAX - 256];
        escape_json(text, escaped, sizeof(escaped));
        length = snprintf(line, sizeof(line),
                          "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\",\"program\":\"%s\",\"message\":\"%s\"}\n",
                          stamp, now.tv_nsec / 1000000, level_names[level], settings.program, escaped);
    } else {
        text_make_plain(text); /* a peer cannot forge a second line */
        length = snprintf(line, sizeof(line), "%s.%03ldZ %-5s %s: %s\n", stamp, now.tv_nsec / 1000000,
                          level_names[level], settings.program, text);
    }
    /* One write, so that lines of threads and processes do not mix; a closed stderr is nobody's loss. */
    ssize_t written =
        write(STDERR_FILENO, line, length < (int)sizeof(line) ? (size_t)length : sizeof(line) - 1);
    (void)written;
}
