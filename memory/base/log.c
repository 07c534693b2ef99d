#include "memory/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_BYTES = 2048, JSON_BYTES = 6 * LINE_BYTES };

/* The one piece of process-wide state: where lines go and which, not data of any model. The number
 * of the file stays the same when it is opened again (dup2), so writers need no lock. */
static atomic_int current_level = LOG_INFO;
static atomic_bool current_jsonl;
static atomic_int current_fd = STDERR_FILENO;
static char current_path[PATH_MAX];

static const char *const level_names[] = {"error", "warn", "info", "debug"};

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&current_level, (int)level, memory_order_relaxed);
}

bool log_enabled(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&current_level, memory_order_relaxed);
}

bool log_level_parse(const char *name, enum log_level *out)
{
    for (int i = 0; i < 4; i++)
        if (strcmp(name, level_names[i]) == 0) {
            *out = (enum log_level)i;
            return true;
        }
    return false;
}

void log_set_jsonl(bool jsonl)
{
    atomic_store_explicit(&current_jsonl, jsonl, memory_order_relaxed);
}

/* ---- the file ---- */

static enum status file_open(int *fd, const char *path, struct error *error)
{
    *fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (*fd >= 0)
        return STATUS_OK;
    return error_set(error, errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO, "log file %s: %s", path,
                     strerror(errno));
}

enum status log_open(const char *path, struct error *error)
{
    if (strlen(path) >= sizeof current_path)
        return error_set(error, STATUS_INVALID, "log file %s: the name is too long", path);
    int fd;
    enum status status = file_open(&fd, path, error);
    if (status != STATUS_OK)
        return status;
    log_close();
    memcpy(current_path, path, strlen(path) + 1);
    atomic_store(&current_fd, fd);
    return STATUS_OK;
}

enum status log_reopen(struct error *error)
{
    int fd, old = atomic_load(&current_fd);
    if (old == STDERR_FILENO)
        return STATUS_OK;
    enum status status = file_open(&fd, current_path, error);
    if (status != STATUS_OK)
        return status;
    if (dup3(fd, old, O_CLOEXEC) < 0)
        status = error_set(error, STATUS_IO, "log file %s: %s", current_path, strerror(errno));
    close(fd);
    return status;
}

void log_close(void)
{
    int fd = atomic_exchange(&current_fd, STDERR_FILENO);
    if (fd != STDERR_FILENO)
        close(fd);
}

/* ---- a line ---- */

/* Bytes of the UTF-8 character at `text`; 0: it is none. */
static size_t character_bytes(const unsigned char *text, size_t left)
{
    static const unsigned char least[] = {0, 0, 0x80, 0xa0,
                                          0x90}; /* of a second byte, after 0xe0, 0xf0 */
    size_t bytes = text[0] < 0x80                      ? 1
                   : text[0] >= 0xc2 && text[0] < 0xe0 ? 2
                   : text[0] >= 0xe0 && text[0] < 0xf0 ? 3
                   : text[0] >= 0xf0 && text[0] < 0xf5 ? 4
                                                       : 0;
    if (bytes > left)
        return 0;
    for (size_t i = 1; i < bytes; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    if ((text[0] == 0xe0 || text[0] == 0xf0) && text[1] < least[bytes])
        return 0; /* could be shorter */
    if ((text[0] == 0xed && text[1] > 0x9f) || (text[0] == 0xf4 && text[1] > 0x8f))
        return 0; /* a surrogate; beyond U+10FFFF */
    return bytes;
}

/* `text` inside the quotes of a JSON string; `out` has room for six bytes of each. What is no UTF-8
 * becomes U+FFFD: a reader of JSON would refuse the whole line. */
static size_t json_escape(char *out, const char *text, size_t bytes)
{
    static const char short_names[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    char *at = out;
    for (size_t i = 0, n; i < bytes; i += n) {
        const unsigned char *c = (const unsigned char *)text + i;
        const char *name = *c ? strchr(short_names, *c) : NULL;
        n = character_bytes(c, bytes - i);
        if (name) {
            *at++ = '\\';
            *at++ = letters[name - short_names];
        } else if (n == 0 || *c < 0x20) {
            at += sprintf(at, "\\u%04x", n == 0 ? 0xfffdu : *c);
            n = 1;
        } else {
            memcpy(at, c, n);
            at += n;
        }
    }
    return (size_t)(at - out);
}

static void put(const char *line, size_t bytes)
{
    int fd = atomic_load(&current_fd);
    ssize_t n;
    do
        n = write(fd, line, bytes);
    while (n < 0 && errno == EINTR); /* there is nowhere to tell of any other failure */
}

void log_write(enum log_level level, const char *format, ...)
{
    static const char *const tags[] = {"ERROR", "WARN", "INFO", "DEBUG"};
    if (!log_enabled(level))
        return;
    char when[32], text[LINE_BYTES - 64], line[JSON_BYTES];
    struct timespec now;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    size_t used = strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(when + used, sizeof when - used, ".%03ldZ", now.tv_nsec / 1000000);
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t bytes = n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    if (atomic_load_explicit(&current_jsonl, memory_order_relaxed)) {
        used = (size_t)sprintf(line, "{\"ts\":\"%s\",\"level\":\"%s\",\"msg\":\"", when,
                               level_names[level]);
        used += json_escape(line + used, text, bytes);
        memcpy(line + used, "\"}\n", 3);
        used += 3;
    } else {
        used = (size_t)sprintf(line, "%s %s ", when, tags[level]);
        memcpy(line + used, text, bytes);
        used += bytes;
        line[used++] = '\n';
    }
    put(line, used);
}
