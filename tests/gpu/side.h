/* An engine under measurement: opening it, warming it up, and timing rounds of decoding and
 * prompts. Everything returns false after a sentence on stderr, so that one figure that fails
 * leaves the others. */
#ifndef MOERING_TESTS_GPU_SIDE_H
#define MOERING_TESTS_GPU_SIDE_H

#include "engine/engine.h"
#include "tests/gpu/trace_routing.h"

enum { BATCH_MAX = 64 };

struct side_config {
    const char *model, *trace;
    enum engine_device device;
    enum placement_mode placement;
    bool deterministic;
    double percent;         /* of the experts on the device */
    uint32_t batch;         /* sequences at once, at most */
    uint32_t length;        /* tokens of one, at most */
    uint32_t batch_tokens;  /* in one step */
    uint32_t opening;       /* tokens of the prompt that decoding begins with */
    uint32_t threads;       /* 0: all */
};

struct side {
    struct engine *engine;
    struct trace_routing routing;
    struct sequence *sequence[BATCH_MAX];
    uint32_t batch;
    uint32_t batch_tokens, opening;
};

/* What some steps took. */
struct spent {
    double seconds;
    uint64_t tokens, steps;
    uint64_t distinct;      /* pages that a layer read, summed over layers and steps */
    uint64_t positions;     /* of the KV cache that were attended to, summed over rows */
    struct engine_stats before, after;
};

bool side_open(struct side *s, const struct side_config *config);
void side_close(struct side *s); /* accepts a zeroed one */
/* Another share of experts on the device. */
bool side_resize(struct side *s, double percent);
/* A prompt whose rows choose every expert in turn: all pages have come by once. */
bool side_touch_all(struct side *s);
/* Opens `batch` sequences with a short prompt each, the ones before closed, and computes it. They
 * follow the trace from token `place` on: sides that are compared are given the same. */
bool side_begin(struct side *s, uint32_t batch, uint64_t place);
/* Each of them decodes `tokens` tokens; adds to `spent`. */
bool side_decode(struct side *s, uint32_t tokens, struct spent *spent);
/* A new sequence computes a prompt and its first token; adds to `spent`. */
bool side_prompt(struct side *s, uint32_t tokens, struct spent *spent);
void side_end(struct side *s);

#endif
