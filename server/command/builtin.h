/* Where the built-in model lies: in the checkout that the program was built from, or installed. */
#ifndef MOERING_SERVER_COMMAND_BUILTIN_H
#define MOERING_SERVER_COMMAND_BUILTIN_H

#include <stddef.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Looks at $MOERING_BUILTIN_MODEL, then for deploy/models/tiny and share/moering/models/tiny in the
 * folder of the executable and every one above it, then at the place it is installed to. NOT_FOUND:
 * the error names them. */
enum status builtin_model(char *out, size_t out_bytes, struct error *error);
/* The same with the two inputs given; either may be NULL. */
enum status builtin_find(const char *variable, const char *executable, char *out, size_t out_bytes,
                         struct error *error);

#ifdef __cplusplus
}
#endif
#endif
