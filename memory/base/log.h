/* One line per event on stderr: "2026-11-21T18:53:41.123Z INFO ring: ...". Any thread may call.
 * The level is process-wide and set once at start, before threads exist. Never log prompts. */
#ifndef MOERING_MEMORY_BASE_LOG_H
#define MOERING_MEMORY_BASE_LOG_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);
/* "error", "warn", "info", "debug"; false for anything else, `out` untouched. */
bool log_level_parse(const char *name, enum log_level *out);
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...) (log_enabled(LOG_DEBUG) ? log_write(LOG_DEBUG, __VA_ARGS__) : (void)0)

#ifdef __cplusplus
}
#endif
#endif
