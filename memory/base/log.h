/* One line per event on stderr, or in a file: "2026-11-21T18:53:41.123Z INFO ring: ...", or as
 * JSON,
 * {"ts":"2026-11-21T18:53:41.123Z","level":"info","msg":"ring: ..."}. Any thread may call
 * log_write. Level, format and file are process-wide and set once at start, before threads exist. A
 * line is one write, so lines of two threads do not mix. Never log prompts. */
#ifndef MOERING_MEMORY_BASE_LOG_H
#define MOERING_MEMORY_BASE_LOG_H

#include <stdbool.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);
/* "error", "warn", "info", "debug"; false for anything else, `out` untouched. */
bool log_level_parse(const char *name, enum log_level *out);
void log_set_jsonl(bool jsonl);
/* Lines go to the end of this file from now on, which is made if it is not there, and no longer to
 * stderr. IO, NOT_FOUND: the file, named. */
enum status log_open(const char *path, struct error *error);
/* Opens the file of log_open by its name again, for whoever has renamed it to begin a new one;
 * nothing without one. Any thread; no line is lost. On failure the old file stays. */
enum status log_reopen(struct error *error);
/* Back to stderr, as at start. */
void log_close(void);
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...) (log_enabled(LOG_DEBUG) ? log_write(LOG_DEBUG, __VA_ARGS__) : (void)0)

#ifdef __cplusplus
}
#endif
#endif
