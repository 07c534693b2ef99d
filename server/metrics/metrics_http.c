#include "server/metrics/metrics_http.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server/http/http_error.h"
#include "server/metrics/experts_http.h"
#include "server/metrics/metrics_page.h"
#include "server/metrics/stats_json.h"

struct metrics {
    struct metrics_config config;
    struct metrics_source source;
    struct experts *experts;
    struct metrics_text page; /* kept, as `stats`: the next one is about as long */
    struct jsonw stats;
};

enum status metrics_open(struct metrics **out, const struct metrics_config *config,
                         struct error *error)
{
    enum status status = STATUS_NO_MEMORY;
    struct metrics *m = calloc(1, sizeof *m);
    if (!m)
        goto fail;
    m->config = *config;
    m->source = (struct metrics_source){
        .start_ns = config->start_ns,
        .served_name = config->served_name,
        .request_metrics = config->requests,
    };
    struct experts_pace pace;
    experts_pace_init(&pace);
    status = experts_open(&m->experts, config->base, &pace, error);
    if (status != STATUS_OK)
        goto fail;
    *out = m;
    return STATUS_OK;
fail:
    metrics_close(m);
    return error_set(error, status, "out of memory for the metrics");
}

void metrics_attach(struct metrics *m, struct http_server *server, const struct requests *requests,
                    const struct engine_thread *engine)
{
    m->source.requests = requests;
    m->source.engine = engine;
    experts_attach(m->experts, server, requests, engine);
}

void metrics_close(struct metrics *m)
{
    if (!m)
        return;
    experts_close(m->experts);
    metrics_source_reset(&m->source);
    metrics_text_close(&m->page);
    jsonw_close(&m->stats);
    free(m);
}

/* ---- which format ---- */

/* How much one member of Accept wants what it names, 0..1. */
static double quality(const char *parameters, size_t bytes)
{
    for (size_t i = 0; i + 2 < bytes; i++)
        if (parameters[i] == ';') {
            size_t at = i + 1;
            while (at < bytes && (parameters[at] == ' ' || parameters[at] == '\t'))
                at++;
            if (at + 1 < bytes && strncasecmp(parameters + at, "q=", 2) == 0)
                return strtod(parameters + at + 2, NULL);
        }
    return 1;
}

/* By the rule that the member which says more of a type counts: its name over text/ * over a bare
 * star. OpenMetrics has to be named: whoever takes anything gets the older format, which everybody
 * reads. */
bool metrics_wants_openmetrics(const char *accept)
{
    static const struct {
        const char *type;
        int rank; /* 0: OpenMetrics; else of the text format */
    } known[] = {{"application/openmetrics-text", 0}, {"text/plain", 3}, {"text/*", 2}, {"*/*", 1}};
    double openmetrics = 0, text = 0;
    int rank = 0;
    for (const char *p = accept ? accept : ""; *p;) {
        p += strspn(p, ", \t");
        size_t bytes = strcspn(p, ","), name = strcspn(p, ",; \t");
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
            if (strlen(known[i].type) != name || strncasecmp(p, known[i].type, name) != 0)
                continue;
            double q = quality(p + name, bytes - name);
            if (known[i].rank == 0) {
                openmetrics = q > openmetrics ? q : openmetrics;
            } else if (known[i].rank > rank || (known[i].rank == rank && q > text)) {
                rank = known[i].rank;
                text = q;
            }
        }
        p += bytes;
    }
    return openmetrics > 0 && openmetrics >= text;
}

/* ---- routes ---- */

static void fail_no_memory(struct http_exchange *x)
{
    const struct http_failure failure = {HTTP_UNAVAILABLE, NULL, "out of memory for the figures"};
    http_fail(x, &failure);
}

static void get_metrics(struct http_exchange *x)
{
    struct metrics *m = http_context(x);
    struct metrics_snapshot snapshot;
    bool openmetrics = metrics_wants_openmetrics(http_header(x, "accept"));
    if (!metrics_snapshot_take(&m->source, &snapshot)) {
        fail_no_memory(x);
        return;
    }
    metrics_page(&m->page, openmetrics, &snapshot);
    if (m->page.out.failed) {
        fail_no_memory(x);
        return;
    }
    http_set_header(x, "Vary", "Accept");
    http_set_header(x, "Cache-Control", "no-store");
    http_reply(x, 200, openmetrics ? METRICS_OPENMETRICS_TYPE : METRICS_TEXT_TYPE, m->page.out.data,
               m->page.out.bytes);
}

static void get_stats(struct http_exchange *x)
{
    struct metrics *m = http_context(x);
    struct metrics_snapshot snapshot;
    if (!metrics_snapshot_take(&m->source, &snapshot)) {
        fail_no_memory(x);
        return;
    }
    jsonw_reset(&m->stats);
    stats_json(&m->stats, &snapshot);
    if (m->stats.failed) {
        fail_no_memory(x);
        return;
    }
    http_set_header(x, "Cache-Control", "no-store");
    http_reply(x, 200, "application/json", m->stats.data, m->stats.bytes);
}

uint32_t metrics_routes(struct metrics *m, struct http_route *out)
{
    uint32_t count = 0;
    if (m->config.page)
        out[count++] = (struct http_route){.method = "GET", .path = "/metrics",
                                           .is_public = m->config.page_public,
                                           .handle = get_metrics, .context = m};
    out[count++] = (struct http_route){.method = "GET", .path = "/v1/stats", .handle = get_stats,
                                       .context = m};
    return count + experts_routes(m->experts, out + count);
}
