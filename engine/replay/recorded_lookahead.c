#include "engine/replay/recorded_lookahead.h"

#include <stdlib.h>
#include <string.h>

struct recorded_lookahead {
    const struct schedule *schedule;
    uint32_t distance_max;
    const struct trace_column **column; /* [distance_max + 1]; NULL: not recorded */
    float *score;                       /* [experts] the answer */
};

enum status recorded_lookahead_open(struct recorded_lookahead **out,
                                    const struct schedule *schedule, uint32_t distance_max,
                                    struct error *error)
{
    const struct trace *trace = schedule->trace;
    bool some = false;
    *out = NULL;
    for (uint32_t d = 1; trace && d <= distance_max; d++)
        some |= trace_find_column(trace, "lookahead", d) != NULL;
    if (!some)
        return STATUS_OK;
    struct recorded_lookahead *a = calloc(1, sizeof *a);
    if (!a)
        goto fail;
    a->schedule = schedule;
    a->distance_max = distance_max;
    a->column = calloc(distance_max + 1, sizeof *a->column);
    a->score = malloc(sizeof *a->score * schedule->experts);
    if (!a->column || !a->score)
        goto fail;
    for (uint32_t d = 1; d <= distance_max; d++)
        a->column[d] = trace_find_column(trace, "lookahead", d);
    *out = a;
    return STATUS_OK;
fail:
    recorded_lookahead_close(a);
    return error_set(error, STATUS_NO_MEMORY, "no memory to follow the recorded lookahead");
}

void recorded_lookahead_close(struct recorded_lookahead *a)
{
    if (!a)
        return;
    free(a->column);
    free(a->score);
    free(a);
}

const float *recorded_lookahead_ask(struct recorded_lookahead *a, uint32_t step, uint32_t layer,
                                    uint32_t distance)
{
    const struct schedule *s = a->schedule;
    if (distance == 0 || distance > a->distance_max || !a->column[distance] ||
        layer + distance >= s->layers)
        return NULL;
    const struct trace_column *c = a->column[distance];
    memset(a->score, 0, sizeof *a->score * s->experts);
    for (uint32_t row = s->step_start[step]; row < s->step_start[step + 1]; row++) {
        uint32_t source = schedule_source(s, s->token[row], layer);
        for (uint32_t i = 0; i < c->width; i++) {
            uint32_t expert = trace_column_value(c, source, layer, i);
            if (expert != TRACE_NONE)
                a->score[expert] += (float)(c->width - i);
        }
    }
    return a->score;
}
