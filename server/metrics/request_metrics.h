/* Figures of requests, by the names and buckets that vLLM's dashboards read: taken where requests
 * begin, tell and end (server/requests/requests.c), shown by the metrics page. Front thread only;
 * no IO.
 *
 * Times are of this server: from the submit of a request to the events that the front thread
 * handles. Tokens of one event came from one step, unless the front was behind; they share its time
 * evenly. */
#ifndef MOERING_SERVER_METRICS_REQUEST_METRICS_H
#define MOERING_SERVER_METRICS_REQUEST_METRICS_H

#include "server/metrics/histogram.h"
#include "server/requests/request.h"
#include "server/requests/request_event.h"

#ifdef __cplusplus
extern "C" {
#endif

enum request_histogram {
    REQUEST_TTFT,             /* seconds, as all up to DECODE: until the first token */
    REQUEST_ITL,              /* between two tokens, each one */
    REQUEST_TPOT,             /* the mean of these, per request */
    REQUEST_E2E,
    REQUEST_QUEUE,            /* until it was admitted */
    REQUEST_INFERENCE,        /* from there to the end */
    REQUEST_PREFILL,
    REQUEST_DECODE,
    REQUEST_PROMPT_TOKENS,
    REQUEST_OUTPUT_TOKENS,
    REQUEST_OUTPUT_TOKENS_MAX, /* most of its choices: one request is one choice here */
    REQUEST_MAX_TOKENS,       /* asked for */
    REQUEST_CHOICES,          /* asked for by a call (n), told once for all its choices */
    REQUEST_HISTOGRAMS
};

enum request_end { REQUEST_END_STOP, REQUEST_END_LENGTH, REQUEST_END_ABORT, REQUEST_ENDS };

struct request_metrics {
    struct histogram histogram[REQUEST_HISTOGRAMS];
    uint64_t ended[REQUEST_ENDS];
    double token_bounds[HISTOGRAM_BOUNDS_MAX];
    uint32_t token_bound_count;
};

/* Token buckets reach up to `max_model_len`; the model's, once it is known, else a guess. */
void request_metrics_init(struct request_metrics *m, uint32_t max_model_len);

/* One request's clock. */
struct request_timing {
    uint64_t begin_ns, first_ns, last_ns;
    uint32_t tokens;
    uint32_t max_tokens;
    uint32_t choices;
    bool has_max_tokens;
};

void request_timing_begin(struct request_timing *t, const struct request_asked *asked,
                          uint64_t now_ns);
/* Any event of a request, its last one included. What passed its deadline counts as aborted, what
 * the server failed or refused counts nowhere here: vLLM has no such end, and the batcher counts
 * them. */
void request_metrics_event(struct request_metrics *m, struct request_timing *t,
                           const struct request_event *event, uint64_t now_ns);
/* A request that the server or its client ended. */
void request_metrics_aborted(struct request_metrics *m, const struct request_timing *t,
                             uint64_t now_ns);

#ifdef __cplusplus
}
#endif
#endif
