#include "tests/gpu/trace_routing.h"

#include <stdlib.h>
#include <string.h>

/* Items begin a large odd number of tokens apart, so that neighbours in a batch read different
 * texts. */
#define ITEM_TOKENS 389

enum status trace_routing_open(struct trace_routing *r, const char *path, uint32_t layers,
                               uint32_t experts, uint32_t top_k, struct error *error)
{
    memset(r, 0, sizeof *r);
    enum status status = trace_open(&r->trace, path, error);
    if (status != STATUS_OK)
        return status;
    const struct trace *t = r->trace;
    if (t->experts != experts || t->top_k < top_k || t->tokens == 0) {
        status = error_set(error, STATUS_INVALID,
                           "%s: %u experts, top-%u, %llu tokens; needed: %u experts, top-%u or "
                           "more, and a token", path, t->experts, t->top_k,
                           (unsigned long long)t->tokens, experts, top_k);
        trace_routing_close(r);
        return status;
    }
    r->layers = layers;
    r->experts = experts;
    r->top_k = top_k;
    r->seen = calloc((size_t)layers * experts, sizeof *r->seen);
    if (!r->seen) {
        trace_routing_close(r);
        return error_set(error, STATUS_NO_MEMORY, "%s: no memory", path);
    }
    return STATUS_OK;
}

void trace_routing_close(struct trace_routing *r)
{
    trace_close(r->trace);
    free(r->seen);
    memset(r, 0, sizeof *r);
}

/* The first top_k distinct ones of the trace; where it names fewer, the next free numbers. */
static void follow(const struct trace_routing *r, uint32_t layer, uint64_t token, uint32_t *chosen)
{
    const struct trace *t = r->trace;
    uint32_t count = 0, next = 0;
    for (uint32_t i = 0; count < r->top_k; i++) {
        uint32_t expert = i < t->top_k ? trace_id(t, token, layer % t->layers, i) : next++;
        uint32_t j = 0;
        while (j < count && chosen[j] != expert)
            j++;
        if (j == count && expert < r->experts)
            chosen[count++] = expert;
    }
}

static void choices(void *self, uint32_t layer, uint32_t item, uint32_t position, uint32_t *chosen)
{
    struct trace_routing *r = self;
    if (r->spread)
        for (uint32_t i = 0; i < r->top_k; i++)
            chosen[i] = (uint32_t)(((uint64_t)position * r->top_k + i) % r->experts);
    else
        follow(r, layer, (r->place + (uint64_t)item * ITEM_TOKENS + position) % r->trace->tokens,
               chosen);
    for (uint32_t i = 0; i < r->top_k; i++) {
        uint64_t *seen = &r->seen[(size_t)layer * r->experts + chosen[i]];
        r->distinct += *seen != r->step;
        *seen = r->step;
    }
}

struct routing_script trace_routing_script(struct trace_routing *r)
{
    return (struct routing_script){.self = r, .choices = choices};
}

void trace_routing_step(struct trace_routing *r)
{
    r->step++;
    r->distinct = 0;
}
