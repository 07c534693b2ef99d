#include "engine/moe/router_lookahead.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

uint64_t router_lookahead_bytes(const struct router_lookahead_config *c)
{
    uint64_t scores = (uint64_t)ROUTER_LOOKAHEAD_LAYERS_MAX * ROUTER_LOOKAHEAD_ROWS * c->experts;
    return ((uint64_t)ROUTER_LOOKAHEAD_ROWS * c->hidden + 2 * scores + c->experts) * sizeof(float);
}

enum status router_lookahead_open(struct router_lookahead *l,
                                  const struct router_lookahead_config *c, struct error *error)
{
    struct backend *b = c->backend;
    size_t scores = (size_t)ROUTER_LOOKAHEAD_LAYERS_MAX * ROUTER_LOOKAHEAD_ROWS * c->experts;
    *l = (struct router_lookahead){.backend = b, .router = c->router, .layers = c->layers,
                                   .experts = c->experts, .hidden = c->hidden,
                                   .norm_eps = c->norm_eps};
    if (!c->router)
        return STATUS_OK;
    l->normed = b->ops->alloc(b, (size_t)ROUTER_LOOKAHEAD_ROWS * c->hidden * sizeof(float));
    l->scores = b->ops->alloc(b, scores * sizeof(float));
    l->host = malloc(scores * sizeof(float));
    l->best = malloc(c->experts * sizeof(float));
    if (l->normed && l->scores && l->host && l->best)
        return STATUS_OK;
    router_lookahead_close(l);
    return error_set(error, STATUS_NO_MEMORY, "no memory to look ahead over %u experts",
                     c->experts);
}

void router_lookahead_close(struct router_lookahead *l)
{
    if (l->normed)
        l->backend->ops->release(l->backend, l->normed);
    if (l->scores)
        l->backend->ops->release(l->backend, l->scores);
    free(l->host);
    free(l->best);
    memset(l, 0, sizeof *l);
}

/* Rows are made comparable by their softmax; an expert is as likely as its likeliest row says. */
static void take_best(struct router_lookahead *l, const float *answers, uint32_t rows)
{
    memset(l->best, 0, l->experts * sizeof *l->best);
    for (uint32_t r = 0; r < rows; r++) {
        const float *score = answers + (size_t)r * l->experts;
        float most = score[0], sum = 0.0f;
        for (uint32_t e = 1; e < l->experts; e++)
            most = score[e] > most ? score[e] : most;
        for (uint32_t e = 0; e < l->experts; e++)
            sum += expf(score[e] - most);
        for (uint32_t e = 0; e < l->experts; e++) {
            float p = expf(score[e] - most) / sum;
            l->best[e] = p > l->best[e] ? p : l->best[e];
        }
    }
}

static uint32_t heard(const struct router_lookahead *l)
{
    return l->listener.scores ? l->listener.distances : 0;
}

uint32_t router_lookahead_reach(const struct router_lookahead *l, const struct expert_pager *pager,
                                uint32_t layer, uint32_t rows)
{
    if (rows > ROUTER_LOOKAHEAD_ROWS || !l->router)
        return 0;
    uint32_t told = pager_looks_ahead(pager), reach = told > heard(l) ? told : heard(l);
    if (reach > ROUTER_LOOKAHEAD_LAYERS_MAX)
        reach = ROUTER_LOOKAHEAD_LAYERS_MAX;
    return layer + reach < l->layers ? reach : l->layers - 1 - layer;
}

void router_lookahead_ask(struct router_lookahead *l, uint32_t layer, uint32_t reach,
                          const float *x, uint32_t rows, float *out)
{
    struct backend *b = l->backend;
    for (uint32_t d = 1; d <= reach; d++) {
        const struct layer_router *router = &l->router[layer + d];
        b->ops->rms_norm(b, l->normed, x, router->norm, rows, l->hidden, l->norm_eps);
        b->ops->matmul(b, out + (size_t)(d - 1) * rows * l->experts, l->normed, router->weight,
                       NULL, rows, false);
    }
}

void router_lookahead_take(struct router_lookahead *l, struct expert_pager *pager, uint32_t layer,
                           uint32_t reach, const float *answers, uint32_t rows)
{
    const struct lookahead_listener *listener = &l->listener;
    uint32_t told = pager_looks_ahead(pager);
    for (uint32_t d = 1; d <= reach; d++) {
        const float *answer = answers + (size_t)(d - 1) * rows * l->experts;
        if (d <= heard(l))
            listener->scores(listener->self, layer, d, answer, rows);
        if (d > told)
            continue;
        take_best(l, answer, rows);
        pager_lookahead(pager, d, l->best);
    }
}

void router_lookahead_tell(struct router_lookahead *l, struct expert_pager *pager, uint32_t layer,
                           const float *x, uint32_t rows)
{
    struct backend *b = l->backend;
    uint32_t reach = router_lookahead_reach(l, pager, layer, rows);
    if (reach == 0)
        return;
    router_lookahead_ask(l, layer, reach, x, rows, l->scores);
    b->ops->download(b, l->host, l->scores, (size_t)reach * rows * l->experts * sizeof(float));
    router_lookahead_take(l, pager, layer, reach, l->host, rows);
}
