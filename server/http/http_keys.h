/* API keys: who may come in, by HTTP and by gRPC. Read once, compared in constant time. */
#ifndef MOERING_SERVER_HTTP_HTTP_KEYS_H
#define MOERING_SERVER_HTTP_HTTP_KEYS_H

#include <stdbool.h>
#include <stddef.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct http_keys;

/* From --api-key (NULL: none) and the file of --api-key-file (NULL: none): one key a line, blank
 * lines and those that begin with # are nothing. Both NULL: *out is NULL, everybody may come in.
 * INVALID: a key with blanks or control characters, or no key at all; NOT_FOUND, IO: the file.
 * Key texts are never in errors. */
enum status http_keys_open(struct http_keys **out, const char *key, const char *path,
                           struct error *error);
void http_keys_close(struct http_keys *keys); /* accepts NULL */
/* `authorization`: the value of that header ("Bearer KEY"), `x_api_key` of the other; each may
 * be NULL. The time it takes does not depend on how much of a key is right. */
bool http_keys_allow(const struct http_keys *keys, const char *authorization,
                     const char *x_api_key);

#ifdef __cplusplus
}
#endif
#endif
