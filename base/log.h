/* Logging: one line per event on stderr, as text for people or JSON for machines.
 *
 * Never pass key material or secrets. A line is at most LOG_LINE_MAX bytes; longer ones are cut and say so.
 */
#ifndef RILL_BASE_LOG_H
#define RILL_BASE_LOG_H

#include "base/bytes.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

#define LOG_LINE_MAX 2048

/* Process-wide settings, called once at start. `program` is shown in each line and must outlive the process.
 */
void log_setup(const char *program, enum log_level level, bool json);
/* "debug", "info", "warn", "error". Returns false for another text. */
bool log_level_parse(const char *text, enum log_level *out) MUST_USE;
void log_line(enum log_level level, const char *format, ...) PRINTF_LIKE(2, 3);

#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)

#endif
