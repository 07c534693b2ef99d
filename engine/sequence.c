#include "engine/sequence.h"

#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"

enum status sequence_open(struct sequence **out, const uint32_t *prompt, uint32_t count,
                          uint32_t tokens_max, const struct sampler_params *sampling,
                          uint32_t vocab, struct error *error)
{
    enum status status = STATUS_NO_MEMORY;
    struct sequence *s = calloc(1, sizeof *s);
    CHECK(count >= 1 && count <= tokens_max);
    if (!s)
        goto fail;
    s->tokens_max = tokens_max;
    s->tokens = malloc(tokens_max * sizeof *s->tokens);
    s->table.blocks = malloc(kv_cache_blocks_for(tokens_max) * sizeof *s->table.blocks);
    if (!s->tokens || !s->table.blocks)
        goto fail;
    status = sampler_open(&s->sampler, sampling, vocab, error);
    if (status != STATUS_OK)
        goto fail;
    memcpy(s->tokens, prompt, count * sizeof *prompt);
    s->count = count;
    sampler_observe(s->sampler, prompt, count, false);
    *out = s;
    return STATUS_OK;
fail:
    sequence_close(s, NULL);
    return error_set(error, status, "no memory for a sequence of %u tokens", tokens_max);
}

void sequence_close(struct sequence *s, struct kv_cache *kv)
{
    if (!s)
        return;
    if (kv)
        kv_cache_release(kv, &s->table);
    CHECK(s->table.count == 0);
    sampler_close(s->sampler);
    free(s->tokens);
    free(s->table.blocks);
    free(s);
}

void sequence_append(struct sequence *s, uint32_t token)
{
    sampler_observe(s->sampler, &token, 1, true);
    if (s->count < s->tokens_max)
        s->tokens[s->count++] = token;
}
