/* Outcomes of operations that may fail for expected reasons.
 *
 * Three kinds of failure exist in moering. Expected ones return an `enum status`, and the paths
 * that open and load things also fill a `struct error` with one sentence that names the file, the
 * field or the flag. A caller's bug ends in CHECK (check.h). A lost device ends the process. */
#ifndef MOERING_MEMORY_BASE_STATUS_H
#define MOERING_MEMORY_BASE_STATUS_H

#include <stdarg.h>

#ifdef __cplusplus
extern "C" {
#endif

enum status {
    STATUS_OK = 0,
    STATUS_INVALID,     /* the input is wrong: a file, a field, a flag, an argument of a client */
    STATUS_NOT_FOUND,   /* the named thing does not exist */
    STATUS_UNSUPPORTED, /* well formed, but not something this build can do */
    STATUS_NO_MEMORY,   /* an allocation failed or a budget is too small */
    STATUS_IO,          /* the operating system refused or a file changed under us */
    STATUS_FULL,        /* no room now; later it may work */
    STATUS_CANCELLED,   /* given up on purpose */
    STATUS_DEADLINE,    /* the time allowed has passed */
    STATUS_UNAVAILABLE, /* loading or draining: ask again later */
    STATUS_INTERNAL,    /* the engine failed; the request is not to blame */
};

/* One sentence for a human, without a final newline. Zero-initialise it. */
struct error {
    char text[512];
};

/* "INVALID", "NOT_FOUND", ... */
const char *status_name(enum status status);

/* Fills `error` (may be NULL) and returns `status`, so that a failure reads as one line. An error
 * already filled is kept: the first cause is the one worth reading. */
enum status error_set(struct error *error, enum status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the sentence already there; for callers that know the file's name. */
void error_prefix(struct error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#ifdef __cplusplus
}
#endif
#endif
