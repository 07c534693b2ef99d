/* Routing by a recorded trace (engine/replay/trace.h), for engines of models of random weights.
 * Each item of a step follows the trace from a place of its own, one token per position. Also
 * counts the distinct experts of a step, which are what it must read. */
#ifndef MOERING_TESTS_GPU_TRACE_ROUTING_H
#define MOERING_TESTS_GPU_TRACE_ROUTING_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/moe/routing_script.h"
#include "engine/replay/trace.h"

struct trace_routing {
    struct trace *trace;
    uint32_t layers, experts, top_k;
    uint64_t *seen;       /* [layers][experts] the step that chose it last */
    uint64_t step;        /* set by trace_routing_step */
    uint64_t distinct;    /* over all layers, since then */
    uint64_t place;       /* token of the trace that position 0 of item 0 follows */
    bool spread;          /* not the trace: every expert in turn, so that all pages come in */
};

/* INVALID: a trace of another number of experts or of fewer choices. */
enum status trace_routing_open(struct trace_routing *r, const char *path, uint32_t layers,
                               uint32_t experts, uint32_t top_k, struct error *error);
void trace_routing_close(struct trace_routing *r); /* accepts a zeroed one */
/* For engine_config, before the trace is open even: nothing is asked of it before the first
 * step. */
struct routing_script trace_routing_script(struct trace_routing *r);
/* A step begins. */
void trace_routing_step(struct trace_routing *r);

#endif
