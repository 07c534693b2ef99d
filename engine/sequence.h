/* A sequence: the tokens known so far, how many of them are computed, and the KV blocks that hold
 * those. Engine thread; engine.h is its public face. */
#ifndef MOERING_ENGINE_SEQUENCE_H
#define MOERING_ENGINE_SEQUENCE_H

#include "engine/attention/kv_cache.h"
#include "engine/sampler.h"

#ifdef __cplusplus
extern "C" {
#endif

struct sequence {
    struct sampler *sampler;
    uint32_t *tokens;       /* [tokens_max] prompt, then output */
    struct kv_table table;  /* room for tokens_max, covers at least `computed` */
    uint32_t tokens_max;
    uint32_t count;
    uint32_t computed;      /* <= count */
    bool begun;             /* a step has computed tokens of it since it was opened or preempted;
                               those before them, if any, were taken from others */
    /* for a recorded trace: who it is, and its present computing since it began */
    uint64_t serial;
    uint32_t trace_part;    /* set when it began */
    uint32_t trace_prefill; /* tokens known then */
};

/* NO_MEMORY. The prompt is copied; 1 <= count <= tokens_max. */
enum status sequence_open(struct sequence **out, const uint32_t *prompt, uint32_t count,
                          uint32_t tokens_max, const struct sampler_params *sampling,
                          uint32_t vocab, struct error *error);
/* Gives its blocks back too. Accepts NULL. */
void sequence_close(struct sequence *sequence, struct kv_cache *kv);
/* Appends what was sampled, if it still fits. */
void sequence_append(struct sequence *sequence, uint32_t token);

#ifdef __cplusplus
}
#endif
#endif
