/* What the server tells of itself on HTTP: /metrics for Prometheus, /v1/stats and /v1/experts for
 * the dashboard and for programs. Figures are taken when somebody asks, from what the engine thread
 * has published; nobody is held up. Front thread. */
#ifndef MOERING_SERVER_METRICS_METRICS_HTTP_H
#define MOERING_SERVER_METRICS_METRICS_HTTP_H

#include "server/http/http.h"
#include "server/metrics/request_metrics.h"
#include "server/requests/requests.h"

#ifdef __cplusplus
extern "C" {
#endif

struct metrics;
struct event_base;

struct metrics_config {
    struct event_base *base;
    bool page;                               /* --metrics; false: there is no /metrics */
    bool page_public;                        /* --metrics-public: without a key */
    const char *served_name;                 /* NULL: the model's own, known when it is open */
    uint64_t start_ns;                       /* of the server */
    const struct request_metrics *requests;  /* borrowed */
};

/* NO_MEMORY. */
enum status metrics_open(struct metrics **out, const struct metrics_config *config,
                         struct error *error);
/* Writes the routes and returns how many; at most METRICS_ROUTES_MAX. */
#define METRICS_ROUTES_MAX 4
uint32_t metrics_routes(struct metrics *metrics, struct http_route *out);
/* Before the event loop runs; all borrowed. */
void metrics_attach(struct metrics *metrics, struct http_server *server,
                    const struct requests *requests, const struct engine_thread *engine);
/* After the http server. Accepts NULL. */
void metrics_close(struct metrics *metrics);

/* For tests. Does this Accept header (NULL: not sent) prefer OpenMetrics to the text format? */
bool metrics_wants_openmetrics(const char *accept);

#ifdef __cplusplus
}
#endif
#endif
