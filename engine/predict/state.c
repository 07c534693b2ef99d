#include "engine/predict/state.h"

#include <math.h>
#include <stdlib.h>

#include "engine/predict/load_history.h"
#include "memory/base/check.h"

#define CV_STABLE 0.25
#define TV_STABLE 0.1
#define TV_TRANSIENT 0.2
#define JUMP_LIMIT_MIN 0.2
#define JUMP_NOISES 3.0
#define MEAN_OF_ABSOLUTE_NORMAL 0.7978845608 /* sqrt(2 / pi) */

enum { QUIET_TICKS = 3, WINDOW_MIN = 4 };

struct state {
    struct arena arena;
    struct load_history history;
    uint32_t top_k, ticks_min;
    /* Over the window, in units of LOAD_SHARE_ONE. */
    uint32_t *sum;                 /* [layers][experts] */
    uint32_t *newer;               /* [layers][experts] sum of the newer half */
    uint64_t *squares;             /* [layers][experts] */
    double *inverse;               /* [layers][window] 1 / routed, in the place of its row */
    double *inverse_sum;           /* [layers] */
    struct state_figures *figures; /* [layers] */
};

/* The newest tick against the window of `count` ticks before it, and how large that may be. */
static void measure_jump(const struct state *s, uint32_t layer, uint32_t count, const float *share,
                         double inverse, struct state_figures *f)
{
    const uint32_t *sum = s->sum + (size_t)layer * s->history.experts;
    double distance = 0.0, noise = 0.0, unit = 1.0 / ((double)count * LOAD_SHARE_ONE);
    double scatter = inverse + s->inverse_sum[layer] / ((double)count * count);
    for (uint32_t e = 0; e < s->history.experts; e++) {
        double x = share[e] > 0.0f ? share[e] : 0.0f; /* not NaN */
        double mean = sum[e] * unit, left = 1.0 - s->top_k * mean;
        distance += fabs((x < 1.0 ? x : 1.0) - mean);
        noise += left > 0.0 ? sqrt(mean * left * scatter) : 0.0;
    }
    double limit = JUMP_NOISES * 0.5 * MEAN_OF_ABSOLUTE_NORMAL * noise;
    f->jump = (float)(0.5 * distance);
    f->jump_limit = (float)(limit > JUMP_LIMIT_MIN ? limit : JUMP_LIMIT_MIN);
}

/* cv and tv of a window of `count` >= 2 ticks. */
static void measure_window(const struct state *s, uint32_t layer, uint32_t count,
                           struct state_figures *f)
{
    size_t base = (size_t)layer * s->history.experts;
    uint32_t half = count / 2;
    double deviation = 0.0, floor_sum = 0.0, distance = 0.0;
    double unit = 1.0 / LOAD_SHARE_ONE, scatter = s->inverse_sum[layer] / count;
    for (uint32_t e = 0; e < s->history.experts; e++) {
        double sum = s->sum[base + e], newer = s->newer[base + e];
        double squares = (double)s->squares[base + e] - sum * sum / count;
        double mean = sum * unit / count, left = 1.0 - s->top_k * mean;
        deviation += squares > 0.0 ? sqrt(squares / (count - 1)) * unit : 0.0;
        floor_sum += left > 0.0 ? sqrt(mean * left * scatter) : 0.0;
        distance += fabs(newer / half - (sum - newer) / (count - half)) * unit;
    }
    double above = deviation * deviation - floor_sum * floor_sum;
    f->cv = above > 0.0 ? (float)sqrt(above) : 0.0f;
    f->floor = (float)floor_sum;
    f->tv = (float)(0.5 * distance);
}

/* Takes the newest tick into the sums and the oldest out of them. */
static void window_move(struct state *s, uint32_t layer, const float *share, double inverse)
{
    struct load_history *h = &s->history;
    size_t base = (size_t)layer * h->experts;
    uint32_t before = load_history_count(h, layer);
    double *slot = s->inverse + (size_t)layer * h->ticks_max + h->ticks[layer] % h->ticks_max;
    if (before == h->ticks_max) {
        const uint16_t *oldest = load_history_row(h, layer, before - 1);
        for (uint32_t e = 0; e < h->experts; e++) {
            s->sum[base + e] -= oldest[e];
            s->squares[base + e] -= (uint32_t)oldest[e] * oldest[e];
        }
    }
    const uint16_t *newest = load_history_push(h, layer, share);
    uint32_t count = load_history_count(h, layer), half = count / 2;
    for (uint32_t e = 0; e < h->experts; e++) {
        s->sum[base + e] += newest[e];
        s->newer[base + e] += newest[e];
        s->squares[base + e] += (uint32_t)newest[e] * newest[e];
    }
    if (half == before / 2) { /* the newer half is full: its oldest goes over to the older one */
        const uint16_t *leaving = load_history_row(h, layer, half);
        for (uint32_t e = 0; e < h->experts; e++)
            s->newer[base + e] -= leaving[e];
    }
    *slot = inverse;
    double sum = 0.0; /* anew each time: doubles would drift, and a window is short */
    for (uint32_t i = 0; i < count; i++)
        sum += s->inverse[(size_t)layer * h->ticks_max + i];
    s->inverse_sum[layer] = sum;
}

static void judge(const struct state *s, uint32_t count, struct state_figures *f)
{
    bool was = f->stable;
    bool quiet = count >= s->ticks_min && f->cv < CV_STABLE && f->tv < TV_STABLE &&
                 f->jump < f->jump_limit;
    f->quiet = quiet ? f->quiet + 1 : 0;
    if (f->tv > TV_TRANSIENT || f->jump > f->jump_limit)
        f->stable = false;
    else if (f->quiet >= QUIET_TICKS)
        f->stable = true;
    if (f->stable != was) {
        f->changes++;
        f->since = f->ticks;
    }
}

bool state_tick(struct state *state, uint32_t layer, const float *share, uint64_t routed)
{
    CHECK(layer < state->history.layers && routed >= 1);
    struct state_figures *f = &state->figures[layer];
    double inverse = 1.0 / (double)routed;
    uint32_t before = load_history_count(&state->history, layer);
    f->ticks++;
    if (before > 0)
        measure_jump(state, layer, before, share, inverse, f);
    window_move(state, layer, share, inverse);
    if (before > 0) {
        uint32_t count = load_history_count(&state->history, layer);
        measure_window(state, layer, count, f);
        judge(state, count, f);
    }
    return f->stable;
}

void state_get(const struct state *state, uint32_t layer, struct state_figures *out)
{
    CHECK(layer < state->history.layers);
    *out = state->figures[layer];
}

size_t state_bytes(const struct state *state)
{
    return sizeof *state + state->arena.used;
}

void state_close(struct state *state)
{
    if (!state)
        return;
    arena_close(&state->arena);
    free(state);
}

static bool arrays_open(struct state *s, uint32_t layers, uint32_t experts, uint32_t window)
{
    struct arena *arena = &s->arena;
    size_t all = (size_t)layers * experts;
    if (!load_history_init(&s->history, arena, layers, experts, window))
        return false;
    s->sum = arena_alloc_items(arena, all, sizeof *s->sum, 64);
    s->newer = arena_alloc_items(arena, all, sizeof *s->newer, 64);
    s->squares = arena_alloc_items(arena, all, sizeof *s->squares, 64);
    s->inverse = arena_alloc_items(arena, (size_t)layers * window, sizeof *s->inverse, 8);
    s->inverse_sum = arena_alloc_items(arena, layers, sizeof *s->inverse_sum, 8);
    s->figures = arena_alloc_items(arena, layers, sizeof *s->figures, 8);
    return s->sum && s->newer && s->squares && s->inverse && s->inverse_sum && s->figures;
}

enum status state_open(struct state **out, const struct state_config *config, struct error *error)
{
    enum status status = load_shape_check("state", config->layers, config->experts, error);
    if (status != STATUS_OK)
        return status;
    uint32_t window = config->window ? config->window : STATE_WINDOW_TICKS;
    if (window < WINDOW_MIN || window > LOAD_HISTORY_TICKS_MAX)
        return error_set(error, STATUS_INVALID, "state: window = %u ticks, must be %d to %d",
                         window, WINDOW_MIN, LOAD_HISTORY_TICKS_MAX);
    if (config->top_k > config->experts)
        return error_set(error, STATUS_INVALID, "state: top_k = %u, more than experts = %u",
                         config->top_k, config->experts);
    struct state *s = calloc(1, sizeof *s);
    if (!s)
        goto fail;
    s->top_k = config->top_k ? config->top_k : 1;
    s->ticks_min = window / 4 > 2 ? window / 4 : 2;
    arena_init(&s->arena, 0, 0);
    if (!arrays_open(s, config->layers, config->experts, window))
        goto fail;
    *out = s;
    return STATUS_OK;
fail:
    state_close(s);
    return error_set(error, STATUS_NO_MEMORY, "state: no memory for %u ticks of %u x %u experts",
                     window, config->layers, config->experts);
}
