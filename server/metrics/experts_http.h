/* GET /v1/experts and /v1/experts/stream: where the experts are and how warm, on HTTP
 * (server/ui/FORMATS.md).
 *
 *     timer, while somebody watches ──► one look at the map ──► what has changed ──► every viewer
 *
 * A look is taken at most ten times a second however many ask, and none while nobody does. All
 * viewers that keep up know the same cells, those of the last look; so one delta serves them all.
 * Who does not keep up is left out until it can be written to again, and then gets a whole map.
 * Front thread. */
#ifndef MOERING_SERVER_METRICS_EXPERTS_HTTP_H
#define MOERING_SERVER_METRICS_EXPERTS_HTTP_H

#include "server/http/http.h"
#include "server/requests/requests.h"

#ifdef __cplusplus
extern "C" {
#endif

struct experts;
struct event_base;

struct experts_pace {
    uint32_t look_ms;  /* between two looks at least: 100 */
    uint32_t map_ms;   /* a stream gets a whole map this often: 9000, promised are ten seconds */
    uint32_t ping_ms;  /* and a comment after such a silence: 5000 */
};
void experts_pace_init(struct experts_pace *pace);

/* NO_MEMORY. */
enum status experts_open(struct experts **out, struct event_base *base,
                         const struct experts_pace *pace, struct error *error);
#define EXPERTS_ROUTES 2
uint32_t experts_routes(struct experts *experts, struct http_route *out);
/* Before the event loop runs; all borrowed. */
void experts_attach(struct experts *experts, struct http_server *server,
                    const struct requests *requests, const struct engine_thread *engine);
uint32_t experts_viewers(const struct experts *experts);
uint64_t experts_looks(const struct experts *experts); /* so often was the map read */
/* After the http server, which ends every stream. Accepts NULL. */
void experts_close(struct experts *experts);

#ifdef __cplusplus
}
#endif
#endif
