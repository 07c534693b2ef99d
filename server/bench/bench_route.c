/* The choices of one (layer, item, position) are looked up when a step asks for them; nothing is
 * prepared, so a trace of any length costs its own memory and no more. Engine thread. */
#include "server/bench/bench_route.h"

#include <stdlib.h>

#define LOOK_AHEAD 16 /* tokens from which missing choices are taken */

enum status bench_route_open(struct bench_route *route, const char *path, struct error *error)
{
    *route = (struct bench_route){0};
    enum status status = trace_open(&route->trace, path, error);
    if (status != STATUS_OK)
        return status;
    const struct trace *t = route->trace;
    route->requests = malloc(((size_t)t->request_count + 1) * sizeof *route->requests);
    if (!route->requests)
        status = error_set(error, STATUS_NO_MEMORY, "%s: out of memory", path);
    for (uint32_t r = 0; status == STATUS_OK && r < t->request_count; r++)
        if (t->requests[r].tokens)
            route->requests[route->request_count++] = r;
    if (status == STATUS_OK && !route->request_count)
        status = error_set(error, STATUS_INVALID, "%s: the trace holds no token", path);
    if (status != STATUS_OK)
        bench_route_close(route);
    return status;
}

void bench_route_close(struct bench_route *route)
{
    trace_close(route->trace);
    free(route->requests);
    *route = (struct bench_route){0};
}

void bench_route_turn(struct bench_route *route, uint32_t sequences)
{
    route->first = (uint32_t)(((uint64_t)route->first + sequences) % route->request_count);
}

static bool is_chosen(const uint32_t *chosen, uint32_t count, uint32_t expert)
{
    for (uint32_t i = 0; i < count; i++)
        if (chosen[i] == expert)
            return true;
    return false;
}

static void choose(void *self, uint32_t layer, uint32_t item, uint32_t position, uint32_t *chosen)
{
    const struct bench_route *route = self;
    const struct trace *t = route->trace;
    uint32_t at = (uint32_t)(((uint64_t)route->first + item) % route->request_count);
    const struct trace_request *request = &t->requests[route->requests[at]];
    uint32_t count = 0, last = 0;
    for (uint32_t ahead = 0; ahead < LOOK_AHEAD && count < route->top_k; ahead++) {
        uint64_t token = request->first + ((uint64_t)position + ahead) % request->tokens;
        for (uint32_t c = 0; c < t->top_k && count < route->top_k; c++) {
            uint32_t expert = trace_id(t, token, layer % t->layers, c);
            if (expert == TRACE_NONE)
                continue;
            last = expert % route->experts;
            if (!is_chosen(chosen, count, last))
                chosen[count++] = last;
        }
    }
    while (count < route->top_k) {
        last = (last + 1) % route->experts;
        if (!is_chosen(chosen, count, last))
            chosen[count++] = last;
    }
}

struct routing_script bench_route_script(struct bench_route *route)
{
    return (struct routing_script){.self = route, .choices = choose};
}
