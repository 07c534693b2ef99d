/* The page that Prometheus reads: names, labels and buckets, all of them here. Pure: a snapshot in,
 * text out.
 *
 * Two sets. vllm:* has the names, labels and buckets that vLLM's dashboards, autoscalers and
 * routers ask for; what this server does not do (sharing of prefixes, drafts) is there with zeros,
 * because a query without a series is an empty panel and not a zero. moering_* is about experts,
 * where they are and what it costs.
 *
 * How many series there are depends on the number of layers, never on that of experts, requests or
 * clients. Before the model is open there are no series of layers, and vllm:* only if its name is
 * known already. */
#ifndef MOERING_SERVER_METRICS_METRICS_PAGE_H
#define MOERING_SERVER_METRICS_METRICS_PAGE_H

#include "server/metrics/metrics_snapshot.h"
#include "server/metrics/metrics_text.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The whole page; text->out.failed: out of memory. */
void metrics_page(struct metrics_text *text, bool openmetrics,
                  const struct metrics_snapshot *snapshot);
/* Its second half (metrics_page_experts.c). */
void metrics_page_experts(struct metrics_text *text, const struct metrics_snapshot *snapshot);

#ifdef __cplusplus
}
#endif
#endif
