/* API keys: who may come in, by HTTP and by gRPC. Read once, compared in constant time. */
#ifndef MOERING_SERVER_NET_API_KEYS_H
#define MOERING_SERVER_NET_API_KEYS_H

#include <stdbool.h>
#include <stddef.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct api_keys;

/* From --api-key (NULL: none) and the file of --api-key-file (NULL: none): one key a line, blank
 * lines and those that begin with # are nothing. Both NULL: *out is NULL, everybody may come in.
 * INVALID: a key with blanks or control characters, or no key at all; NOT_FOUND, IO: the file.
 * Key texts are never in errors. */
enum status api_keys_open(struct api_keys **out, const char *key, const char *path,
                          struct error *error);
void api_keys_close(struct api_keys *keys); /* accepts NULL */
/* `authorization`: the value of that header ("Bearer KEY"), `x_api_key` of the other; each may
 * be NULL. The time it takes does not depend on how much of a key is right. */
bool api_keys_allow(const struct api_keys *keys, const char *authorization,
                    const char *x_api_key);

#ifdef __cplusplus
}
#endif
#endif
