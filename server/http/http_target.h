/* The target of a request: path and query, decoded in place. Text in, text out; no IO.
 *
 * "/path?a=1&b=x%20y" and the absolute form "http://host/path?..." (RFC 9112 section 3.2).
 * Refused: broken percent-encoding, encoded control characters (a path may end up in a log), a
 * fragment. Dots in a path are names like any other: nothing here leads to a file system. */
#ifndef MOERING_SERVER_HTTP_HTTP_TARGET_H
#define MOERING_SERVER_HTTP_HTTP_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "server/http/http_error.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { HTTP_QUERY_MAX = 32 };

struct http_target_pair {
    const char *name, *value; /* the value is "" where there is no '=' */
};

/* Points into the text it was parsed from. */
struct http_target {
    const char *path;
    struct http_target_pair query[HTTP_QUERY_MAX];
    uint32_t query_count;
};

/* False: what is wrong, in sentences that are literals. */
bool http_target_parse(struct http_target *target, char *text, struct http_failure *why);
/* The first of that name; NULL: none. */
const char *http_target_query(const struct http_target *target, const char *name);

#ifdef __cplusplus
}
#endif
#endif
