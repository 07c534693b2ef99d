/* The front door: opens the parts in the order in which each can still refuse cheaply (headers,
 * budget, then memory, then weights), and runs steps. */
#include "engine/engine.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "engine/model/arch.h"
#include "engine/model/transformer.h"
#include "engine/parts.h"
#include "engine/sequence.h"
#include "memory/base/check.h"
#include "memory/base/clock.h"

struct engine {
    struct engine_parts parts;
    struct batch batch;
    float *logits;                       /* [max_num_seqs][vocab] */
    uint32_t *logit_rows;                /* [max_num_seqs] */
    struct sampler_candidate *candidates; /* [vocab] */
    uint32_t sequences;
    struct engine_stats totals;          /* engine thread */
    pthread_mutex_t snapshot_lock;       /* guards snapshot alone */
    struct engine_stats snapshot;
};

static void publish(struct engine *e);

void engine_config_init(struct engine_config *config)
{
    *config = (struct engine_config){
        .device_experts = {.kind = ROOM_AUTO},
        .host_experts = {.kind = ROOM_AUTO},
        .isa = CPU_BEST,
        .max_num_seqs = 64,
        .max_batch_tokens = 512,
        .kv_dtype = DTYPE_F32,
        .prefetch = false, /* today's guess is not worth its bytes: engine/paging/README.md */
        .io = IO_THREAD,
    };
}

enum status engine_open(struct engine **out, const struct engine_config *config,
                        struct error *error)
{
    enum status status = STATUS_NO_MEMORY;
    struct engine *e = calloc(1, sizeof *e);
    if (!e)
        return error_set(error, STATUS_NO_MEMORY, "no memory for the engine");
    pthread_mutex_init(&e->snapshot_lock, NULL);
    status = parts_open(&e->parts, config, error);
    if (status != STATUS_OK)
        goto fail;
    const struct engine_info *info = &e->parts.info;
    status = batch_open(&e->batch, info->max_batch_tokens, info->max_num_seqs, error);
    if (status != STATUS_OK)
        goto fail;
    status = STATUS_NO_MEMORY;
    e->logits = malloc((size_t)info->max_num_seqs * info->vocab * sizeof *e->logits);
    e->logit_rows = malloc(info->max_num_seqs * sizeof *e->logit_rows);
    e->candidates = malloc(info->vocab * sizeof *e->candidates);
    if (!e->logits || !e->logit_rows || !e->candidates)
        goto fail;
    publish(e);
    *out = e;
    return STATUS_OK;
fail:
    engine_close(e);
    return error_set(error, status, "no memory for the logits; lower --max-num-seqs");
}

void engine_close(struct engine *e)
{
    if (!e)
        return;
    CHECK(e->sequences == 0);
    batch_close(&e->batch);
    parts_close(&e->parts);
    free(e->logits);
    free(e->logit_rows);
    free(e->candidates);
    pthread_mutex_destroy(&e->snapshot_lock);
    free(e);
}

const struct engine_info *engine_info(const struct engine *engine)
{
    return &engine->parts.info;
}

const struct tokenizer *engine_tokenizer(const struct engine *engine)
{
    return engine->parts.tokenizer;
}

/* ---- statistics ---- */

/* Copies the totals of the parts into the snapshot that other threads read. */
static void publish(struct engine *e)
{
    struct engine_stats *t = &e->totals;
    struct pager_counters pager;
    struct memory_counters memory;
    pager_counters(e->parts.pager, &pager);
    memory_counters(e->parts.memory, &memory);
    t->experts = (struct expert_usage){.hits = pager.hits, .misses = pager.misses,
                                       .bytes = pager.miss_bytes, .stall_ns = pager.stall_ns};
    t->prefetch_issued = pager.prefetch_issued;
    t->prefetch_used = pager.prefetch_used;
    t->prefetch_wasted = pager.prefetch_wasted;
    t->evictions = memory.evictions[MEMORY_DEVICE];
    t->storage_bytes = memory.storage_bytes;
    t->device_bytes = memory.device_bytes;
    t->resident_pages = memory.ready[MEMORY_DEVICE];
    t->host_pages = memory.ready[MEMORY_HOST];
    t->resident_bytes = memory.ready_bytes[MEMORY_DEVICE];
    t->host_bytes = memory.ready_bytes[MEMORY_HOST];
    t->pages = e->parts.info.pages;
    t->sequences = e->sequences;
    t->kv_blocks = kv_cache_blocks(e->parts.kv);
    t->kv_blocks_used = t->kv_blocks - kv_cache_free_blocks(e->parts.kv);
    pthread_mutex_lock(&e->snapshot_lock);
    e->snapshot = *t;
    pthread_mutex_unlock(&e->snapshot_lock);
}

void engine_stats_read(const struct engine *engine, struct engine_stats *out)
{
    struct engine *e = (struct engine *)engine; /* the lock is the only thing that changes */
    pthread_mutex_lock(&e->snapshot_lock);
    *out = e->snapshot;
    pthread_mutex_unlock(&e->snapshot_lock);
}

/* ---- sequences ---- */

static uint64_t draw_seed(void)
{
    uint64_t seed = clock_now_ns();
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != sizeof seed)
        seed = clock_now_ns();
    return seed;
}

enum status engine_sequence_open(struct engine *e, const uint32_t *prompt, uint32_t prompt_tokens,
                                 const struct sampler_params *sampling, struct sequence **out,
                                 struct error *error)
{
    const struct engine_info *info = &e->parts.info;
    struct sampler_params params = *sampling;
    if (prompt_tokens == 0)
        return error_set(error, STATUS_INVALID, "prompt: it is empty");
    if (prompt_tokens > info->max_model_len)
        return error_set(error, STATUS_INVALID,
                         "prompt: %u tokens are more than max_model_len %u allows", prompt_tokens,
                         info->max_model_len);
    for (uint32_t i = 0; i < prompt_tokens; i++)
        if (prompt[i] >= info->vocab)
            return error_set(error, STATUS_INVALID,
                             "prompt: token %u at position %u is outside the vocabulary of %u",
                             prompt[i], i, info->vocab);
    enum status status = sampler_params_check(&params, error);
    if (status != STATUS_OK)
        return status;
    if (!params.has_seed)
        params.seed = draw_seed();
    status = sequence_open(out, prompt, prompt_tokens, info->max_model_len, &params, info->vocab,
                           error);
    if (status != STATUS_OK)
        return status;
    e->sequences++;
    publish(e);
    return STATUS_OK;
}

void engine_sequence_close(struct engine *e, struct sequence *sequence)
{
    if (!sequence)
        return;
    sequence_close(sequence, e->parts.kv);
    e->sequences--;
    publish(e);
}

uint32_t sequence_tokens(const struct sequence *sequence)
{
    return sequence->count;
}

uint32_t sequence_computed(const struct sequence *sequence)
{
    return sequence->computed;
}

void engine_sequence_preempt(struct engine *e, struct sequence *sequence)
{
    kv_cache_release(e->parts.kv, sequence->blocks, &sequence->block_count);
    sequence->computed = 0;
    publish(e);
}

uint32_t engine_kv_blocks_free(const struct engine *engine)
{
    return kv_cache_free_blocks(engine->parts.kv);
}

uint32_t engine_kv_blocks_needed(const struct sequence *sequence, uint32_t tokens)
{
    uint32_t need = kv_cache_blocks_for(sequence->computed + tokens);
    return need > sequence->block_count ? need - sequence->block_count : 0;
}

/* ---- a step ---- */

static void fill_batch(struct engine *e, const struct step_item *items, uint32_t count)
{
    batch_reset(&e->batch);
    for (uint32_t i = 0; i < count; i++) {
        struct sequence *s = items[i].sequence;
        CHECK(items[i].tokens >= 1 && items[i].tokens <= s->count - s->computed);
        CHECK(kv_cache_reserve(e->parts.kv, s->blocks, &s->block_count,
                               s->computed + items[i].tokens) == STATUS_OK);
        batch_add(&e->batch, s->tokens + s->computed, items[i].tokens, s->computed, s->blocks);
    }
}

/* All positions of one item, in portions of the logits buffer. */
static void copy_logits(struct engine *e, const struct step_item *item, uint32_t first_row)
{
    uint32_t vocab = e->parts.info.vocab, portion = e->parts.info.max_num_seqs;
    for (uint32_t done = 0; done < item->tokens; done += portion) {
        uint32_t n = item->tokens - done < portion ? item->tokens - done : portion;
        for (uint32_t i = 0; i < n; i++)
            e->logit_rows[i] = first_row + done + i;
        transformer_logits(&e->parts.transformer, e->logit_rows, n,
                           item->logits + (size_t)done * vocab);
    }
}

/* Logits of the last row of every item that has caught up, then one draw each. */
static void sample_all(struct engine *e, const struct step_item *items, uint32_t count,
                       struct step_output *outputs, struct error *error)
{
    uint32_t vocab = e->parts.info.vocab, wanted = 0, row = 0, next = 0;
    for (uint32_t i = 0; i < count; row += items[i++].tokens) {
        const struct sequence *s = items[i].sequence;
        outputs[i].sampled = s->computed + items[i].tokens == s->count;
        if (outputs[i].sampled)
            e->logit_rows[wanted++] = row + items[i].tokens - 1;
    }
    transformer_logits(&e->parts.transformer, e->logit_rows, wanted, e->logits);
    for (uint32_t i = 0; i < count; i++) {
        struct step_output *out = &outputs[i];
        if (!out->sampled)
            continue;
        out->status = sampler_sample(items[i].sequence->sampler, e->logits + (size_t)next++ * vocab,
                                     items[i].banned, items[i].banned_count, e->candidates,
                                     &out->token, error);
        out->sampled = out->status == STATUS_OK;
    }
}

static void count_tokens(struct engine *e, const struct step_item *items, uint32_t count,
                         const struct step_output *outputs)
{
    e->totals.steps++;
    for (uint32_t i = 0; i < count; i++) {
        bool decode = items[i].tokens == 1 && items[i].sequence->computed > 0;
        *(decode ? &e->totals.tokens_decode : &e->totals.tokens_prefill) += items[i].tokens;
        e->totals.sampled += outputs[i].sampled;
    }
}

enum status engine_step(struct engine *e, const struct step_item *items, uint32_t count,
                        struct step_output *outputs, struct error *error)
{
    struct pager_counters before, after;
    uint64_t begin = clock_now_ns();
    CHECK(count <= e->parts.info.max_num_seqs);
    if (count == 0)
        return STATUS_OK;
    memset(outputs, 0, count * sizeof *outputs);
    pager_counters(e->parts.pager, &before);
    fill_batch(e, items, count);
    enum status status = transformer_forward(&e->parts.transformer, &e->batch, error);
    if (status != STATUS_OK) {
        publish(e);
        return status;
    }
    uint32_t row = 0;
    for (uint32_t i = 0; i < count; row += items[i++].tokens)
        if (items[i].logits)
            copy_logits(e, &items[i], row);
    sample_all(e, items, count, outputs, error);
    count_tokens(e, items, count, outputs);
    pager_counters(e->parts.pager, &after);
    for (uint32_t i = 0; i < count; i++) {
        items[i].sequence->computed += items[i].tokens;
        outputs[i].usage = e->batch.usage[i];
        outputs[i].usage.stall_ns = after.stall_ns - before.stall_ns;
        if (outputs[i].sampled)
            sequence_append(items[i].sequence, outputs[i].token.token);
    }
    e->totals.step_ns += clock_now_ns() - begin;
    publish(e);
    return STATUS_OK;
}
