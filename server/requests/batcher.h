/* Continuous batching: asks the scheduler for a step, has the engine compute it, and turns what was
 * sampled into output, until every request has ended.
 *
 * The engine thread runs it behind its queues; `moering run` runs it alone. One thread calls it.
 * Output is polled: requests with news stand in the outbox in order of their news, each with one
 * event that keeps growing until it is taken. Every request submitted ends with an event whose
 * finish is set, unless it was cancelled. */
#ifndef MOERING_SERVER_REQUESTS_BATCHER_H
#define MOERING_SERVER_REQUESTS_BATCHER_H

#include "server/requests/request_event.h"
#include "server/requests/scheduler.h"

#ifdef __cplusplus
extern "C" {
#endif

struct batcher;

struct batcher_config {
    struct engine *engine;  /* borrowed */
    uint32_t max_queue;
    uint32_t prefill_chunk; /* 0: as much as a step holds */
    /* Where the logits [tokens][vocab] of these positions go, or NULL: nowhere. May be NULL. */
    float *(*logits)(void *arg, const struct request *request, uint32_t position,
                     uint32_t tokens);
    void *arg;
};

/* Bounds of batcher_stats.steps: 1, then powers of two from 8 to 16384. */
#define BATCHER_STEP_BOUNDS 13
static inline uint32_t batcher_step_bound(uint32_t i)
{
    return i ? 4u << i : 1;
}

struct batcher_stats {
    struct scheduler_counts now;
    uint64_t finished, cancelled, failed, rejected;
    uint64_t prompt_tokens, generation_tokens;
    uint64_t prefix_queries, prefix_hits;    /* prompt tokens looked up, once per request, and those
                                                that were there: the sum of cached_tokens */
    uint64_t
        steps[BATCHER_STEP_BOUNDS + 1]; /* by tokens: in (bound i - 1, bound i]; the last: above */
    uint64_t step_tokens;                    /* of all of them */
};

/* INVALID: limits of the engine that cannot schedule. NO_MEMORY. */
enum status batcher_open(struct batcher **out, const struct batcher_config *config,
                         struct error *error);
/* Drops every request in it. Accepts NULL. */
void batcher_close(struct batcher *batcher);

/* Takes the request over, whatever comes of it: a refusal is an event in the outbox too. */
void batcher_submit(struct batcher *batcher, struct request *request, uint64_t now_ns);
/* Frees its seat and blocks at once, without an event. Unknown ids are ignored: it has ended. */
void batcher_cancel(struct batcher *batcher, uint64_t id);
void batcher_pause(struct batcher *batcher, uint64_t id, bool paused);

/* As engine_resize, between steps, with the requests in it: those for whom a smaller KV pool has no
 * room wait again and are computed anew (*preempted: how many); none ends. Never FULL. */
enum status batcher_resize(struct batcher *batcher, const struct engine_budget *asked,
                           struct engine_budget_result *got, uint32_t *preempted,
                           struct error *error);

/* Ends what is past its deadline, then computes one step. False: nothing could be computed. */
bool batcher_step(struct batcher *batcher, uint64_t now_ns);
bool batcher_idle(const struct batcher *batcher);         /* no request waits or runs */
uint64_t batcher_deadline(const struct batcher *batcher); /* the nearest; 0: none */

/* The oldest news, or NULL. It stays in the outbox, and may grow, until batcher_taken. */
struct request_event *batcher_outbox(struct batcher *batcher);
/* The event that batcher_outbox returned last now belongs to the caller. */
void batcher_taken(struct batcher *batcher);

struct batcher_stats batcher_stats_read(const struct batcher *batcher);

#ifdef __cplusplus
}
#endif
#endif
