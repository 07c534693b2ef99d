#include "memory/base/status.h"

#include <stdio.h>
#include <string.h>

const char *status_name(enum status status)
{
    static const char *const names[] = {
        [STATUS_OK] = "OK",
        [STATUS_INVALID] = "INVALID",
        [STATUS_NOT_FOUND] = "NOT_FOUND",
        [STATUS_UNSUPPORTED] = "UNSUPPORTED",
        [STATUS_NO_MEMORY] = "NO_MEMORY",
        [STATUS_IO] = "IO",
        [STATUS_FULL] = "FULL",
        [STATUS_CANCELLED] = "CANCELLED",
        [STATUS_DEADLINE] = "DEADLINE",
        [STATUS_UNAVAILABLE] = "UNAVAILABLE",
        [STATUS_INTERNAL] = "INTERNAL",
    };
    unsigned i = (unsigned)status;
    return i < sizeof names / sizeof names[0] ? names[i] : "UNKNOWN";
}

enum status error_set(struct error *error, enum status status, const char *format, ...)
{
    if (error && !error->text[0]) {
        va_list args;
        va_start(args, format);
        vsnprintf(error->text, sizeof error->text, format, args);
        va_end(args);
    }
    return status;
}

void error_prefix(struct error *error, const char *format, ...)
{
    if (!error)
        return;
    char joined[sizeof error->text];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(joined, sizeof joined, format, args);
    va_end(args);
    size_t used = n < 0 ? 0 : (size_t)n < sizeof joined ? (size_t)n : sizeof joined - 1;
    size_t room = sizeof joined - used;
    snprintf(joined + used, room, ": %.*s", room > 3 ? (int)room - 3 : 0, error->text);
    memcpy(error->text, joined, sizeof error->text);
}
