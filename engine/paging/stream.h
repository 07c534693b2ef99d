/* Whole-layer streaming: which layers' pages a step wants in the ring, and in which order.
 *
 * A large batch touches nearly every expert of a layer, so there is nothing to guess: the pages of
 * layer i + K can be loaded while layer i computes. The schedule is the ring memory of SE-MoE
 * (arXiv 2205.10034): K layer slots, a counter g of computed layers that is never reset, slot =
 * g mod K. When layer i has been computed its slot is released and layer (i + K) mod N is loaded
 * into it; the last K layers of a step load the first K of the next, if a next one is known to
 * come. Indexing by layer mod K instead would read the wrong layer from the second step on whenever
 * N mod K is not 0. A *layer slot* is a quota: room in the device tier for one layer's pages, not a
 * stretch of memory. With K >= N every layer has a slot for good and is loaded once.
 *
 * A small batch touches few experts, and fetching those on demand moves fewer bytes. Which of the
 * two a step gets is decided from what both were measured to cost, see stream_begin_step.
 *
 * This module owns the order of loads, the estimate of coverage and the choice. It refuses to know
 * pages: it says which layers are wanted when, and the pager asks page by page what is resident,
 * what is pinned and what the link is doing. Pure: times are passed in. Nothing is allocated after
 * open. Engine thread. Invariant (stream_check): the layers that hold a slot are consecutive in the
 * order of computation, at most K of them, each in slot g mod K of its turn. */
#ifndef MOERING_ENGINE_PAGING_STREAM_H
#define MOERING_ENGINE_PAGING_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define STREAM_NONE UINT32_MAX     /* no layer */
#define STREAM_OFF 0               /* values of --stream-layers that are no number of slots */
#define STREAM_AUTO UINT32_MAX
#define STREAM_RESERVED_PERCENT 25 /* of the slots; a good value of reserved_percent */

struct stream;

struct stream_config {
    uint32_t layers, experts, top_k; /* N layers with experts, E in each, k chosen per token */
    uint32_t stream_layers;          /* --stream-layers: K, STREAM_AUTO or STREAM_OFF */
    bool always;                     /* every step streams: to test and to compare, not to serve */
    /* Room. Pages of one layer are of one size class; each class has its own slots. */
    uint32_t classes;
    const uint32_t *class_slots;     /* [classes] slots of the device tier */
    const uint32_t *layer_class;     /* [layers]; NULL: every layer is of class 0 */
    uint32_t reserved_percent;       /* 0..99, of the slots of each class: what an automatic K
                                        leaves to the pages that decoding works with */
};

/* A step about to run. */
struct stream_step {
    uint32_t rows;      /* >= 1 tokens */
    uint32_t distinct;  /* experts per layer expected by somebody who knows better; 0: estimated */
    uint32_t next_rows; /* tokens of the step after this one; 0: none is known to come */
};

/* What a step cost, all its layers together. */
struct stream_spent {
    uint64_t ns;           /* time from its first layer to its end */
    uint64_t stall_ns;     /* the part of it in which compute stood still for want of pages */
    uint64_t distinct;     /* experts used, summed over the layers */
    uint64_t copied_pages; /* that reached the device tier, by demand or by schedule */
    uint64_t copy_ns;      /* time in which the link was busy with them */
};

struct stream_figures {
    uint32_t slots;                 /* K in force; 0: streaming is off or does not fit */
    bool resident;                  /* K = N */
    uint64_t streamed_steps, demand_steps;
    uint64_t tried_steps;           /* run in the mode believed slower, to measure it */
    uint64_t tried_excess_ns;       /* what they cost beyond the mode believed faster */
    double threshold;               /* least coverage (0..1) measured to be cheaper streamed;
                                       above 1: none was */
    double break_even_rows;         /* rows at which a layer computes as long as it copies (T*),
                                       fewer are bound by the link; 0: not measured */
};

/* INVALID: a fixed K that does not fit the slots; the sentence names the flag and what fits.
 * NO_MEMORY. An automatic K that does not fit two layers is not an error: streaming is off. */
enum status stream_open(struct stream **out, const struct stream_config *config,
                        struct error *error);
void stream_close(struct stream *stream); /* accepts NULL */
/* Each class has another number of slots, between steps: all layer slots are given back. A fixed K
 * that does not fit any more becomes the most that does, until it fits again. What was measured
 * stays. */
void stream_resized(struct stream *stream, const uint32_t *class_slots);

/* True: this step streams whole layers. False: it fetches what it touches, on demand; every layer
 * slot was given back. After an aborted step the same call starts anew.
 *
 * The choice: a step expected to touch under 40 % of the experts fetches on demand. Any other falls
 * into a cell by its rows (half octaves) and its coverage (eighths of E).
 * Per cell and mode the time per layer is remembered; the cheaper mode runs. What was not measured
 * in a cell is estimated from measured copy and compute times (max(copy, compute) streamed, their
 * sum on demand: the T* argument), and before those are known coverage >= 90 % streams. The mode
 * believed slower is tried for two steps (one to settle, one to measure) when what it is expected
 * to cost more has been saved up from 2 % of the time spent.
 *
 * An automatic K is all layers if they fit; 2 while the link is the bottleneck (more slots would
 * only take room from resident pages); else enough for the computing of K - 1 layers to cover a
 * slow copy of one. */
bool stream_begin_step(struct stream *stream, const struct stream_step *step);
/* The next layer whose pages should start loading, in the order in which they are needed, each
 * once for each turn of its slot; STREAM_NONE: nothing more until a layer has been computed. Pages
 * that are resident already need no loading: the caller asks per page. */
uint32_t stream_next_load(struct stream *stream);
/* Layers run in order 0..N-1; tells that `layer` has been computed. True: its slot was released,
 * its pages are ordinary ones again. A layer whose load was not begun by now is passed over. */
bool stream_layer_computed(struct stream *stream, uint32_t layer);
/* All layers were computed; `spent` teaches the choice. A step that ends early is not ended by
 * this: the next stream_begin_step drops it. */
void stream_end_step(struct stream *stream, const struct stream_spent *spent);

/* True: the layer holds a layer slot; its pages are loading or wait for their turn. */
bool stream_holds(const struct stream *stream, uint32_t layer);
/* The layer in slot 0 <= slot < K, STREAM_NONE if it is empty. */
uint32_t stream_slot_layer(const struct stream *stream, uint32_t slot);
/* Distinct experts that `rows` tokens are expected to touch in a layer: E (1 - (1 - k/E)^rows),
 * corrected by what steps of about as many rows really touched. Real routing is skewed: the formula
 * alone says too much. */
double stream_coverage(const struct stream *stream, uint32_t rows);

#ifdef __cplusplus /* a struct and a function of one name: C++ warns, and means well */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#endif
void stream_figures(const struct stream *stream, struct stream_figures *out);
#ifdef __cplusplus
#pragma GCC diagnostic pop
#endif
/* CHECKs every invariant. */
void stream_check(const struct stream *stream);

#ifdef __cplusplus
}
#endif
#endif
