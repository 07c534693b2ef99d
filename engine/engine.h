/* Front door of the engine: a model folder or file in, one token per sequence and step out.
 *
 * The caller (server/engine_thread, `moering run`) decides which sequences take part in a step and
 * with how many tokens; the engine computes them, samples where a sequence has caught up with its
 * tokens, and reports what the expert pages cost. It knows no request, no socket and no clock but
 * the one that measures stalls. One thread calls everything except engine_info, engine_tokenizer
 * and what engine_stats.h declares, which any thread may call after open.
 *
 * Same tokens (invariant 1): the logits of a position depend on the tokens before it alone, bit for
 * bit: not on ring size, prefetching, chunking, batch neighbours or thread count; on a GPU if the
 * configuration says `deterministic`. */
#ifndef MOERING_ENGINE_ENGINE_H
#define MOERING_ENGINE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/backend/backend.h"
#include "engine/engine_stats.h"
#include "engine/moe/routing_script.h"
#include "engine/paging/placement.h"
#include "engine/paging/policy.h"
#include "engine/paging/stream.h"
#include "engine/paging/usage.h"
#include "engine/sampler.h"
#include "memory/base/status.h"
#include "memory/budget.h"

#ifdef __cplusplus
extern "C" {
#endif

struct engine;
struct sequence;
struct tokenizer;

enum engine_device { ENGINE_DEVICE_AUTO, ENGINE_DEVICE_CPU, ENGINE_DEVICE_CUDA };

#define ENGINE_KV_DTYPE_AUTO DTYPE_COUNT

struct engine_config {
    const char *model;            /* folder or .gguf file */
    enum engine_device device;    /* AUTO: a CUDA device if one can be used, else the CPU */
    uint32_t device_ordinal;      /* which of them */
    bool deterministic; /* the same bits on every run: no expert's place may depend on time */
    enum placement_mode placement; /* where experts run whose pages lie on the host; default AUTO */
    struct room device_experts;   /* slots that compute reads from */
    struct room host_experts;     /* slots behind them; no GPU: 0 pages unless asked for */
    uint32_t threads;             /* 0: all that the process may use */
    enum cpu_isa isa;
    bool exact_activations; /* on the CPU, matrices in block formats are multiplied with f32
                               activations and not with 8 bits: as exact as plain ones, slower */
    enum dtype quantize;    /* plain matrices become this format (one that dtype_encodes) while they
                               are read; DTYPE_COUNT, the default: they stay what they are */
    uint32_t max_model_len;       /* 0: the model's own; longest prompt + output */
    uint32_t max_num_seqs;        /* sequences in one step */
    uint32_t max_batch_tokens;    /* tokens in one step; 0: chosen for the device */
    uint64_t kv_bytes;            /* KV pool; 0: enough for max_num_seqs sequences, within reason */
    bool prefix_caching;          /* sequences may take what others computed of the same tokens
                                     (engine_sequence_take); default on */
    enum dtype kv_dtype; /* F32, F16, or ENGINE_KV_DTYPE_AUTO: F32 on the CPU, F16 on a GPU */
    enum evict_kind evict;        /* which page leaves; default EVICT_LEARNED */
    enum foresight foresight; /* who foretells the next layers' experts; default FORESIGHT_AUTO */
    enum prefetch_mode prefetch;  /* default PREFETCH_AUTO: while its measured profit is positive */
    uint32_t stream_layers; /* whole layers for large batches: STREAM_AUTO, STREAM_OFF or slots */
    bool stream_always;           /* every step streams; for tests */
    enum io_kind io;              /* default IO_AUTO */
    uint32_t io_threads;
    uint32_t io_queue_depth;      /* read calls under way at once; 0: found by a probe at open */
    enum direct_reads direct; /* past the page cache; AUTO: unless the pages fit there beside us */
    const char *load_lstm;    /* weights that forecast loads (predict/lstm_file.h), beside the other
                                 predictors; NULL: none */
    const char *trace_out;        /* record every routing decision there; NULL: nothing. See
                                     engine/replay/trace_writer.h */
    struct routing_script routing; /* for measuring; `choices` NULL: the router chooses */
    /* Told while opening, from the opening thread: what is being done and how far it is, 0..1. */
    void (*progress)(void *arg, const char *phase, double fraction);
    /* Told once, before anything large is allocated: one line per term of the budget. */
    void (*budget_line)(const char *text, void *arg);
    void *arg;
};
void engine_config_init(struct engine_config *config); /* the defaults, no model */

/* Opens model, tokenizer, memory, backend. INVALID, NOT_FOUND, UNSUPPORTED: the model, with file
 * and field; NO_MEMORY: the budget, with the flag to change. */
enum status engine_open(struct engine **out, const struct engine_config *config,
                        struct error *error);
void engine_close(struct engine *engine); /* accepts NULL */
/* Finishes the file of trace_out; engine_close does, if nobody did before, and then a failure is
 * only logged. Nothing is recorded after. Between steps. IO, NO_MEMORY. */
enum status engine_trace_finish(struct engine *engine, struct error *error);

#define ENGINE_EOS_MAX 8
struct engine_info {
    const char *model_path;
    const char *model_name;       /* last part of the path, without .gguf */
    const char *architecture;     /* "qwen3_moe" */
    uint32_t layers, hidden, heads, kv_heads, head_dim, experts, top_k, expert_width, vocab;
    uint32_t max_model_len, max_num_seqs, max_batch_tokens;
    uint32_t kv_blocks, kv_block_tokens; /* blocks: at open, as slots and bytes below; see
                                            engine_stats.sizes */
    uint32_t eos[ENGINE_EOS_MAX], eos_count;
    uint32_t pages;               /* layers x experts */
    uint64_t page_bytes_total;    /* every expert resident */
    uint64_t dense_bytes;
    uint64_t token_bytes;         /* weights that one decoded token reads: no embedding table, top-k
                                     experts of each layer */
    uint32_t device_slots, host_slots;
    uint64_t device_slot_bytes, host_slot_bytes, kv_bytes;
    const char *backend;          /* "cpu" */
    const char *isa;
    const char *io;               /* as memory_reading.name: "uring+direct", "thread", "sync" */
    uint32_t threads;
    uint64_t parameters, active_parameters; /* all; used by one token */
    const char *weight_dtype;     /* of the experts in memory, "BF16", "Q4_K+Q6_K" */
    const char *device;           /* "NVIDIA H200"; NULL: the memory of this machine */
    double link_idle_bytes_per_s, link_loaded_bytes_per_s; /* measured at open, as device_rates; 0:
                                                              no link */
    enum placement_mode placement;
    bool deterministic;
    bool prefix_caching;
};
#ifdef __cplusplus /* a struct and a function of one name: C++ warns, and means well */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#endif
const struct engine_info *engine_info(const struct engine *engine);
#ifdef __cplusplus
#pragma GCC diagnostic pop
#endif
const struct tokenizer *engine_tokenizer(const struct engine *engine); /* NULL: folder has none */

/* ---- another budget while it runs ---- */

enum engine_room { /* the first are those of enum memory_tier */
    ENGINE_ROOM_HOST, ENGINE_ROOM_DEVICE, ENGINE_ROOM_KV, ENGINE_ROOMS
};

/* As the fields of engine_config of the same names; what is not set stays. */
struct engine_budget {
    struct room device_experts, host_experts;
    uint64_t kv_bytes;
    bool set[ENGINE_ROOMS];
};

struct engine_budget_result {
    struct engine_sizes before, after; /* after FULL: what was asked for */
    uint32_t kv_blocks_over;           /* FULL: so many blocks in use must be given back first */
};

/* Gives expert tiers and KV pool other sizes, between steps. Sequences go on as if nothing had
 * been: the same tokens, pages that lost their slot are read again. What shrinks does so before
 * anything grows. INVALID: less than a page of each size, or less KV than one sequence of
 * max_model_len, or a tier that was not there at open. NO_MEMORY: the machine's budget. FULL: more
 * KV blocks are in use than there would be. All three name the flag, and nothing has changed. */
enum status engine_resize(struct engine *engine, const struct engine_budget *asked,
                          struct engine_budget_result *got, struct error *error);

/* ---- sequences ---- */

/* A sequence knows its tokens (prompt, then what was sampled) and holds KV blocks for those
 * computed. `prompt` is copied. INVALID: empty, longer than max_model_len, an id outside the
 * vocabulary, or sampling parameters out of range (named). FULL: no sequence left (max_num_seqs
 * open at once are guaranteed). */
enum status engine_sequence_open(struct engine *engine, const uint32_t *prompt,
                                 uint32_t prompt_tokens, const struct sampler_params *sampling,
                                 struct sequence **out, struct error *error);
void engine_sequence_close(struct engine *engine, struct sequence *sequence); /* accepts NULL */
uint32_t sequence_tokens(const struct sequence *sequence);   /* known: prompt + output */
uint32_t sequence_computed(const struct sequence *sequence); /* of them, in the KV cache */
/* Gives its KV blocks back; everything known will be computed again, or taken (preemption by
 * recompute). */
void engine_sequence_preempt(struct engine *engine, struct sequence *sequence);

/* Before the first step: what it computes is for sequences of the same salt alone, as what it takes
 * is of theirs. 0, the default: of all that have none. */
void engine_sequence_salt(struct sequence *sequence, uint64_t salt);
/* Between steps: counts its next tokens as computed, as far as the KV blocks are still there that
 * some sequence computed for the same ones. Whole blocks, so that at most `most` of its tokens are
 * computed then, and never all. Nobody can tell but by time, and by logits and scores: there are
 * none of what is taken. At most as many free blocks go as engine_kv_blocks_needed says. Returns
 * how many tokens were taken; 0 with prefix_caching off. */
uint32_t engine_sequence_take(struct engine *engine, struct sequence *sequence, uint32_t most);
/* Tokens that both know at their beginning, so that one may take them of the other; 0 with
 * prefix_caching off. */
uint32_t engine_sequences_share(const struct engine *engine, const struct sequence *a,
                                const struct sequence *b);

/* Blocks that no sequence holds; those that could be taken again are among them. */
uint32_t engine_kv_blocks_free(const struct engine *engine);
/* Blocks that computing `tokens` more of this sequence takes from the pool. */
uint32_t engine_kv_blocks_needed(const struct sequence *sequence, uint32_t tokens);

/* ---- a step ---- */

struct step_item {
    struct sequence *sequence;    /* each at most once in a step */
    uint32_t tokens;              /* >= 1, <= sequence_tokens - sequence_computed */
    const uint32_t *banned;       /* ids that may not be sampled; NULL: none */
    uint32_t banned_count;
    const uint32_t *allowed;      /* as sampler_rule: only these ids may be sampled; NULL: all */
    bool no_token;                /* nothing is sampled, though it may have caught up */
    float *logits;                /* NULL, or [tokens][vocab] of all its positions */
    /* What the model says of tokens that are known already, read off `score_count` of its positions
     * from score_from on (0: its first in this step). scored[i] is of the token that follows
     * position score_from + i, with alternatives as sampling asked for; that token is known
     * (CHECKed). The logits behind it are made a few positions at a time and never kept. */
    struct sampled *scored;
    uint32_t score_from, score_count;
};

struct step_output {
    bool sampled;                 /* the sequence had caught up: `token` is its next one */
    enum status status;           /* INTERNAL: nothing could be sampled or scored, see the error of
                                     the step.
                                     IO: the step failed because a page that this item wants could
                                     not be read */
    struct sampled token;
    struct expert_usage usage;    /* this item's part. A page that several items of the step wanted
                                     counts for each; its bytes for the first. stall_ns is the whole
                                     step's: every sequence in it waited */
};

/* Computes `count` items. The KV pool must have the blocks (CHECKed). A sampled token is appended
 * to its sequence. On failure (IO: a page cannot be read; the error names layer, expert, file and
 * offset) no item advanced and all may be tried again; the status of the outputs, at least one of
 * them not OK, tells the items without which the step would have come further. outputs[count]. */
enum status engine_step(struct engine *engine, const struct step_item *items, uint32_t count,
                        struct step_output *outputs, struct error *error);

#ifdef __cplusplus
}
#endif
#endif
