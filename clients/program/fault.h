/* One sentence for a human about what went wrong: functions that can fail for expected reasons
 * return false and fill it. Clients link nothing of the server, so this is theirs alone.
 * Zero-initialise it. */
#ifndef MOERING_CLIENTS_PROGRAM_FAULT_H
#define MOERING_CLIENTS_PROGRAM_FAULT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

struct fault {
    char text[512];
};

/* Returns false, so that a failure reads as one line. A sentence already there is kept: the first
 * cause is the one worth reading. `fault` may be NULL. */
__attribute__((format(printf, 2, 3))) static inline bool fault_set(struct fault *fault,
                                                                   const char *format, ...)
{
    va_list args;
    if (!fault || fault->text[0])
        return false;
    va_start(args, format);
    vsnprintf(fault->text, sizeof fault->text, format, args);
    va_end(args);
    return false;
}

#ifdef __cplusplus
}
#endif
#endif
