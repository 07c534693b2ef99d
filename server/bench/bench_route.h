/* A recorded trace as the routing of another model: for measuring models of random weights with the
 * locality that real routing has.
 *
 * The trace's shape is folded onto the model's:
 *     layers     model layer l takes trace layer l modulo the trace's layers
 *     experts    trace expert e becomes e modulo the model's experts
 *     top-k      the first choices, as many as the model makes; where the trace has fewer, or
 *                folding makes two equal, those of the request's next tokens fill up, then the
 *                next experts in order that are not chosen yet
 *     tokens     sequence i of a run follows request i (another one in each run); position p takes
 *                its token p modulo the request's length
 * Empty requests are passed over. Only locality within a request is kept: who measures many
 * sequences wants a trace of many requests. */
#ifndef MOERING_SERVER_BENCH_BENCH_ROUTE_H
#define MOERING_SERVER_BENCH_BENCH_ROUTE_H

#include <stdint.h>

#include "engine/moe/routing_script.h"
#include "engine/replay/trace.h"

#ifdef __cplusplus
extern "C" {
#endif

struct bench_route {
    struct trace *trace;     /* owned */
    uint32_t *requests;      /* [request_count] those that are not empty */
    uint32_t request_count;
    uint32_t first;          /* request of sequence 0 in this run */
    uint32_t experts, top_k; /* the model's; set before the first choice is asked for */
};

/* INVALID: the trace has no token; whatever trace_open refuses. */
enum status bench_route_open(struct bench_route *route, const char *path, struct error *error);
void bench_route_close(struct bench_route *route); /* accepts a zeroed one */
/* The next run begins, of so many sequences. */
void bench_route_turn(struct bench_route *route, uint32_t sequences);
/* To be given to an engine; `route` outlives it. */
struct routing_script bench_route_script(struct bench_route *route);

#ifdef __cplusplus
}
#endif
#endif
