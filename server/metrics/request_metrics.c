#include "server/metrics/request_metrics.h"

#include <string.h>

/* vLLM's buckets, so that its dashboards show the same resolution. */
static const double ttft_bounds[] = {.001, .005, .01, .02, .04, .06, .08, .1,  .25, .5,  .75,
                                     1,    2.5,  5,   7.5, 10,  20,  40,  80,  160, 640, 2560};
static const double token_time_bounds[] = {.01, .025, .05, .075, .1, .15, .2, .3, .4, .5,
                                           .75, 1,    2.5, 5,    7.5, 10, 20, 40, 80};
static const double request_time_bounds[] = {.3, .5, .8, 1,  1.5, 2,   2.5, 5,   10,  15,  20,
                                             30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680};
static const double choice_bounds[] = {1, 2, 5, 10, 20};

#define BOUNDS(array) (array), sizeof(array) / sizeof((array)[0])

void request_metrics_init(struct request_metrics *m, uint32_t max_model_len)
{
    memset(m, 0, sizeof *m);
    m->token_bound_count = histogram_125(max_model_len, m->token_bounds);
    for (int i = 0; i < REQUEST_HISTOGRAMS; i++) {
        if (i == REQUEST_TTFT)
            histogram_init(&m->histogram[i], BOUNDS(ttft_bounds));
        else if (i == REQUEST_ITL || i == REQUEST_TPOT)
            histogram_init(&m->histogram[i], BOUNDS(token_time_bounds));
        else if (i == REQUEST_CHOICES)
            histogram_init(&m->histogram[i], BOUNDS(choice_bounds));
        else if (i <= REQUEST_DECODE)
            histogram_init(&m->histogram[i], BOUNDS(request_time_bounds));
        else
            histogram_init(&m->histogram[i], m->token_bounds, m->token_bound_count);
    }
}

static double seconds(uint64_t ns)
{
    return (double)ns / 1e9;
}

static void observe(struct request_metrics *m, enum request_histogram which, double value)
{
    histogram_observe(&m->histogram[which], value, 1);
}

void request_timing_begin(struct request_timing *t, const struct request_asked *asked,
                          uint64_t now_ns)
{
    *t = (struct request_timing){.begin_ns = now_ns, .max_tokens = asked->max_tokens,
                                 .has_max_tokens = asked->has_max_tokens,
                                 .choices = asked->choices};
}

static void take_tokens(struct request_metrics *m, struct request_timing *t, uint32_t count,
                        uint64_t now_ns)
{
    if (t->tokens == 0) {
        observe(m, REQUEST_TTFT, seconds(now_ns - t->begin_ns));
        t->first_ns = t->last_ns = now_ns;
        t->tokens = 1;
        count--;
    }
    if (count == 0)
        return;
    histogram_observe(&m->histogram[REQUEST_ITL], seconds(now_ns - t->last_ns) / count, count);
    t->tokens += count;
    t->last_ns = now_ns;
}

static void take_end(struct request_metrics *m, const struct request_timing *t,
                     const struct request_event *e, uint64_t now_ns)
{
    const struct request_usage *u = &e->usage;
    if (e->finish == FINISH_FAILED) {
        if (e->status == STATUS_DEADLINE)
            request_metrics_aborted(m, t, now_ns);
        return;
    }
    m->ended[e->finish == FINISH_STOP ? REQUEST_END_STOP : REQUEST_END_LENGTH]++;
    observe(m, REQUEST_E2E, seconds(now_ns - t->begin_ns));
    observe(m, REQUEST_QUEUE, seconds(u->queue_ns));
    observe(m, REQUEST_PREFILL, seconds(u->prefill_ns));
    observe(m, REQUEST_DECODE, seconds(u->decode_ns));
    observe(m, REQUEST_INFERENCE, seconds(u->prefill_ns + u->decode_ns));
    observe(m, REQUEST_PROMPT_TOKENS, u->prompt_tokens);
    observe(m, REQUEST_OUTPUT_TOKENS, u->completion_tokens);
    observe(m, REQUEST_OUTPUT_TOKENS_MAX, u->completion_tokens);
    if (t->has_max_tokens)
        observe(m, REQUEST_MAX_TOKENS, t->max_tokens);
    if (t->choices)
        observe(m, REQUEST_CHOICES, t->choices);
    if (t->tokens > 1)
        observe(m, REQUEST_TPOT, seconds(t->last_ns - t->first_ns) / (t->tokens - 1));
}

void request_metrics_event(struct request_metrics *m, struct request_timing *t,
                           const struct request_event *event, uint64_t now_ns)
{
    if (event->token_count > 0)
        take_tokens(m, t, event->token_count, now_ns);
    if (event->finish != FINISH_NONE)
        take_end(m, t, event, now_ns);
}

void request_metrics_aborted(struct request_metrics *m, const struct request_timing *t,
                             uint64_t now_ns)
{
    m->ended[REQUEST_END_ABORT]++;
    observe(m, REQUEST_E2E, seconds(now_ns - t->begin_ns));
}
