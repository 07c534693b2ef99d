/* The dashboard: files that lie in the program, as routes. They hold no data, so each is public by
 * name; what the page then asks for (FORMATS.md, the OpenAI API) is not. Has no state; everything
 * on the front thread. */
#ifndef MOERING_SERVER_UI_UI_HTTP_H
#define MOERING_SERVER_UI_UI_HTTP_H

#include "server/http/http.h"

#ifdef __cplusplus
extern "C" {
#endif

#define UI_ROUTES_MAX 32

struct ui_config {
    bool enabled; /* --ui; false: there are no routes, and no page */
};

/* Writes the routes and returns how many; at most UI_ROUTES_MAX. */
uint32_t ui_routes(const struct ui_config *config, struct http_route *out);

/* For tests. Does Accept-Encoding (NULL: not sent) allow gzip? */
bool ui_accepts_gzip(const char *accept_encoding);
/* Does If-None-Match (NULL: not sent) name this tag, weakly or not, or any? */
bool ui_tag_matches(const char *if_none_match, const char *etag);

#ifdef __cplusplus
}
#endif
#endif
