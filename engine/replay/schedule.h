/* In which order a trace is computed: the runs of layers that a replay goes through.
 *
 * A trace says what each token chose, not which tokens shared a step. Here that is decided, once
 * for all policies that are compared:
 *
 *     batch B        continuous batching: B requests at a time, each gives its next token to the
 *                    step (of its prompt up to `chunk` tokens); when one ends, the next in the file
 *                    takes its place in the following step
 *     batch trace    the steps that were recorded (column "step")
 *
 * A run asks for the distinct experts of its rows: of one row in the order stored, of several in
 * ascending order. Shuffling destroys what a predictor could learn and keeps how often experts are
 * used: `tokens` deals out whole tokens anew (layers of one token still fit each other), `layers`
 * deals each layer's choices by itself (popularity alone is left).
 *
 * Everything is laid out in flat arrays, 4 bytes a request and 4 more with batches, because
 * Belady's rule needs the whole future at once. Read-only after open. */
#ifndef MOERING_ENGINE_REPLAY_SCHEDULE_H
#define MOERING_ENGINE_REPLAY_SCHEDULE_H

#include "engine/replay/trace.h"
#include "memory/page.h"

#ifdef __cplusplus
extern "C" {
#endif

enum shuffle { SHUFFLE_NONE, SHUFFLE_TOKENS, SHUFFLE_LAYERS };

#define SCHEDULE_BATCH_TRACE 0 /* the steps recorded in the trace */
#define SCHEDULE_CHUNK 512     /* prompt tokens of a request in one step, unless told */
#define SCHEDULE_ROWS_MAX 65535

struct schedule_config {
    uint32_t batch;       /* requests at a time, up to SCHEDULE_ROWS_MAX; SCHEDULE_BATCH_TRACE */
    uint32_t chunk;       /* prompt tokens of a request in one step; 0: SCHEDULE_CHUNK */
    uint64_t tokens_max;  /* computed tokens after which it ends; 0: all */
    enum shuffle shuffle;
    uint64_t seed;        /* of the shuffle */
};

struct schedule {
    const struct trace *trace; /* borrowed; NULL: made by other means than schedule_open */
    uint32_t layers, experts;
    uint32_t rows_max;         /* of a step */
    uint32_t distinct_max;     /* experts of one run */
    uint64_t tokens;
    uint32_t steps, requests;
    uint32_t *run_start;       /* [steps * layers + 1] into pages; run r is of layer r % layers */
    page_id *pages;            /* [requests] layer * experts + expert */
    uint16_t *rows_of;         /* [requests] rows that chose it; NULL: one each */
    uint32_t *step_start;      /* [steps + 1] into token */
    uint32_t *token;           /* [tokens] the trace's token that each row is */
    uint8_t *prefill;          /* [steps] 1: most rows are prompt tokens */
    uint32_t *deal;            /* the token whose choices a token has: [trace tokens], for
                                  SHUFFLE_LAYERS [layers][trace tokens]; NULL: its own */
    uint32_t deals;            /* 0, 1 or layers */
};

/* UNSUPPORTED: more requests than 32 bits count, more than SCHEDULE_ROWS_MAX rows in a step, or the
 * trace has no steps and they are asked for; the error names the file and the flag. NO_MEMORY. */
enum status schedule_open(struct schedule **out, const struct trace *trace,
                          const struct schedule_config *config, struct error *error);
void schedule_close(struct schedule *schedule); /* accepts NULL */

/* Whose choices `token` has in `layer`. */
static inline uint32_t schedule_source(const struct schedule *s, uint32_t token, uint32_t layer)
{
    if (!s->deals)
        return token;
    uint64_t row = s->deals == 1 ? 0 : layer;
    return s->deal[row * s->trace->tokens + token];
}

#ifdef __cplusplus
}
#endif
#endif
