/* Which requests compute how many tokens in the next step. Pure policy: no IO, no threads, no
 * clock; time is passed in. tests/server/requests/scheduler_test.cc runs it by the thousand,
 * simulated.
 *
 * Rules, in this order:
 *  1. Rank: higher priority first, then order of arrival. Priorities are strict.
 *  2. Every running request that is one token behind (decode) is in every step. max_num_seqs is at
 *     most max_batch_tokens, so the others (prefill) always have a token left: neither starves the
 *     other, and the wait of a decode is bounded by one step of max_batch_tokens.
 *  3. What decode leaves goes to prefill in chunks, by rank.
 *  4. Waiting requests are admitted by rank, without overtaking, when a seat is free and the KV
 *     pool has blocks for all their tokens beside what running prefills will still take.
 *  5. When the pool runs out, the lowest in rank below the needy one gives all its blocks back and
 *     waits again (preemption by recompute), a paused one before all others. The highest in rank is
 *     never preempted and alone always fits, so every request ends.
 *  6. A request that could never fit is refused at submit; so is one too many in the queue.
 *  7. A prefix that needs no computing (scheduler_advance) only ever shortens what was planned.
 *     Blocks are counted as if nobody shared any: the pool has at least as many left as are counted
 *     here.
 * A paused request (its client does not read) takes part in no step but keeps its seat.
 *
 * The pool may change its size between two steps (scheduler_resize); since it always holds one
 * request of max_model_len, who was accepted still fits.
 *
 * Invariants (scheduler_check): the blocks of all requests plus the free ones are the pool; waiting
 * requests hold none; both lists are in rank order; seats are at most max_num_seqs. */
#ifndef MOERING_SERVER_REQUESTS_SCHEDULER_H
#define MOERING_SERVER_REQUESTS_SCHEDULER_H

#include "server/requests/request.h"

#ifdef __cplusplus
extern "C" {
#endif

struct scheduler;

struct scheduler_config {
    uint32_t max_num_seqs;      /* 1 .. max_batch_tokens */
    uint32_t max_batch_tokens;
    uint32_t max_queue;         /* requests waiting beyond free seats */
    uint32_t prefill_chunk;     /* most prompt tokens of one request in a step; 0: no own limit */
    uint32_t kv_blocks;
    uint32_t kv_block_tokens;
    uint32_t max_model_len;
};

struct plan_item {
    struct request *request;
    uint32_t tokens;            /* >= 1; 0: withdrawn */
};

/* Valid until the next plan; what comes between changes it only as it says. */
struct plan {
    struct plan_item *items;
    uint32_t count;
    uint32_t tokens;
    struct request **preempted; /* give their blocks back before the step */
    uint32_t preempted_count;
};

struct scheduler_counts {
    uint32_t running, waiting, paused;
    uint32_t kv_blocks_used, kv_blocks;
    uint64_t preemptions;
};

/* INVALID: max_num_seqs above max_batch_tokens, or a limit of 0. NO_MEMORY. */
enum status scheduler_open(struct scheduler **out, const struct scheduler_config *config,
                           struct error *error);
/* The requests in it are the caller's. Accepts NULL. */
void scheduler_close(struct scheduler *scheduler);

/* Queues a request. INVALID: its tokens could never fit; FULL: the queue is full. */
enum status scheduler_submit(struct scheduler *scheduler, struct request *request, uint64_t now_ns,
                             struct error *error);
/* Takes it out, whatever its state, and frees its blocks and seat: finished, cancelled, failed. */
void scheduler_remove(struct scheduler *scheduler, struct request *request);
void scheduler_pause(struct scheduler *scheduler, struct request *request, bool paused);
struct request *scheduler_find(const struct scheduler *scheduler, uint64_t id); /* or NULL */
struct request *scheduler_any(const struct scheduler *scheduler);               /* or NULL */
/* Some request whose deadline has come, or NULL; the caller removes it and asks again. */
struct request *scheduler_expired(const struct scheduler *scheduler, uint64_t now_ns);
/* The nearest deadline of all requests; 0: none. */
uint64_t scheduler_deadline(const struct scheduler *scheduler);

/* Decides the next step and takes the blocks it needs. Each item is then committed, withdrawn or
 * its request removed before the next plan. An empty plan: nothing can run now. */
const struct plan *scheduler_plan(struct scheduler *scheduler, uint64_t now_ns);

/* ---- between a plan and its commits ---- */

/* How many tokens of a planned request may count as computed (scheduler_advance), all in all, so
 * that there is room for one more. */
uint32_t scheduler_room(const struct scheduler *scheduler, const struct request *request);
/* `tokens` more of the `item`th request need no computing: it computes what follows them, at most
 * as many as were planned. At least one must be left, within scheduler_room (CHECKed). */
void scheduler_advance(struct scheduler *scheduler, uint32_t item, uint32_t tokens);
/* The `item`th request takes no part in this step after all. */
void scheduler_withdraw(struct scheduler *scheduler, uint32_t item);
/* Gives what the step has room for again to the prefills that follow by rank: they are appended to
 * the plan, as are those that lose their blocks for them. */
void scheduler_fill(struct scheduler *scheduler);
/* The item's tokens are computed; `sampled`: and one more is known. */
void scheduler_commit(struct scheduler *scheduler, struct request *request, bool sampled);

/* The KV pool has `kv_blocks` from now on, at least what max_model_len tokens take (CHECKed). Those
 * for whom no blocks are left are preempted as when the pool runs dry, a paused one first, then the
 * lowest in rank: they stand in plan->preempted and give their blocks back before the pool shrinks.
 * Not between a plan and its commits. */
const struct plan *scheduler_resize(struct scheduler *scheduler, uint32_t kv_blocks);

struct scheduler_counts scheduler_count(const struct scheduler *scheduler);
void scheduler_check(const struct scheduler *scheduler); /* CHECKs every invariant */

#ifdef __cplusplus
}
#endif
#endif
