/* The front door (what it tells of itself is engine_stats.c's): opens the parts in the order in
 * which each can still refuse cheaply (headers, budget, then memory, then weights), and runs steps.
 */
#include "engine/engine.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "engine/engine_state.h"
#include "engine/model/arch.h"
#include "engine/model/transformer.h"
#include "engine/resize.h"
#include "engine/sequence.h"
#include "memory/base/check.h"
#include "memory/base/clock.h"
#include "memory/base/log.h"
#include "memory/device_cuda.h"

enum { LOOKAHEAD_RECORDED = 2 }; /* layers, in the trace */

static enum status open_trace(struct engine *e, const char *path, struct error *error);
static enum status open_regret(struct engine *e, struct error *error);
static void on_routing(void *self, uint32_t layer, const struct dispatch *d, const bool *hit);

void engine_config_init(struct engine_config *config)
{
    *config = (struct engine_config){
        .device_experts = {.kind = ROOM_AUTO},
        .host_experts = {.kind = ROOM_AUTO},
        .isa = CPU_BEST,
        .quantize = DTYPE_COUNT,
        .max_num_seqs = 64,
        .prefix_caching = true,
        .kv_dtype = ENGINE_KV_DTYPE_AUTO,
        .evict = EVICT_LEARNED,
        .foresight = FORESIGHT_AUTO,
        .prefetch = PREFETCH_AUTO,
        .stream_layers = STREAM_AUTO,
        .io = IO_AUTO,
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
    e->loads = calloc((size_t)info->layers * LOAD_PHASES, sizeof *e->loads);
    e->layers = calloc(info->layers, sizeof *e->layers);
    if (!e->loads || !e->layers)
        goto fail;
    status = step_sampler_open(&e->sampler, &e->parts.transformer, info->max_num_seqs, info->vocab,
                               error);
    if (status != STATUS_OK)
        goto fail;
    status = open_regret(e, error);
    if (status != STATUS_OK)
        goto fail;
    e->parts.transformer.moe.observer = (struct routing_observer){.self = e, .layer = on_routing};
    if (config->trace_out) { /* last: an engine that does not open leaves an older file alone */
        status = open_trace(e, config->trace_out, error);
        if (status != STATUS_OK)
            goto fail;
    }
    engine_publish(e);
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
    struct error error = {0};
    if (engine_trace_finish(e, &error) != STATUS_OK)
        log_error("%s", error.text);
    batch_close(&e->batch);
    step_sampler_close(&e->sampler);
    parts_close(&e->parts);
    free(e->trace_items);
    free(e->loads);
    free(e->layers);
    regret_close(e->regret);
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
    (*out)->serial = e->serial++;
    e->sequences++;
    engine_publish(e);
    return STATUS_OK;
}

void engine_sequence_close(struct engine *e, struct sequence *sequence)
{
    if (!sequence)
        return;
    sequence_close(sequence, e->parts.kv);
    e->sequences--;
    engine_publish(e);
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
    kv_cache_release(e->parts.kv, &sequence->table);
    sequence->computed = 0;
    sequence->begun = false;
    engine_publish(e);
}

void engine_sequence_salt(struct sequence *sequence, uint64_t salt)
{
    CHECK(sequence->computed == 0);
    sequence->table.salt = salt;
}

uint32_t engine_sequence_take(struct engine *e, struct sequence *s, uint32_t most)
{
    uint32_t before = s->computed, count = most < s->count - 1 ? most : s->count - 1;
    if (!e->parts.info.prefix_caching || s->table.published != before / KV_BLOCK_TOKENS)
        return 0;
    uint32_t there = kv_cache_take(e->parts.kv, &s->table, s->tokens, count);
    if (there <= before)
        return 0;
    s->computed = there;
    engine_publish(e);
    return there - before;
}

uint32_t engine_sequences_share(const struct engine *e, const struct sequence *a,
                                const struct sequence *b)
{
    uint32_t count = a->count < b->count ? a->count : b->count, shared = 0;
    if (!e->parts.info.prefix_caching || a->table.salt != b->table.salt)
        return 0;
    while (shared < count && a->tokens[shared] == b->tokens[shared])
        shared++;
    return shared;
}

uint32_t engine_kv_blocks_free(const struct engine *engine)
{
    return kv_cache_free_blocks(engine->parts.kv);
}

uint32_t engine_kv_blocks_needed(const struct sequence *sequence, uint32_t tokens)
{
    uint32_t need = kv_cache_blocks_for(sequence->computed + tokens);
    return need > sequence->table.count ? need - sequence->table.count : 0;
}

/* ---- what the router chose: for the recorded trace and for live regret ---- */

static void on_routing(void *self, uint32_t layer, const struct dispatch *d, const bool *hit)
{
    struct engine *e = self;
    regret_request(e->regret, layer * e->parts.info.experts, d->touched, d->touched_count, hit);
    for (uint32_t r = 0; e->trace && r < d->rows; r++)
        trace_writer_choices(e->trace, r, layer, d->expert + d->row_offsets[r],
                             d->row_offsets[r + 1] - d->row_offsets[r]);
}

/* What the next layers' routers say, beside what was chosen: replay judges by it. */
static void on_lookahead(void *self, uint32_t layer, uint32_t distance, const float *logits,
                         uint32_t rows)
{
    struct engine *e = self;
    struct moe *moe = &e->parts.transformer.moe;
    for (uint32_t r = 0; r < rows; r++) {
        router_choose(&moe->router, logits + (size_t)r * moe->router.experts, moe->chosen,
                      moe->weights);
        trace_writer_fill_column(e->trace, distance - 1, r, layer, moe->chosen, moe->router.top_k);
    }
}

static bool on_device(void *self, page_id page)
{
    const struct engine *e = self;
    enum slot_state state = memory_where(e->parts.memory, MEMORY_DEVICE, page);
    return state == SLOT_READY || state == SLOT_LOADING;
}

/* Of each class; returns how many classes there are. */
static uint32_t device_slots(const struct memory *memory, uint32_t slots[STORE_CLASSES_MAX])
{
    uint32_t classes = store_classes(memory_store(memory));
    for (uint32_t c = 0; c < classes; c++)
        slots[c] = memory_slots(memory, MEMORY_DEVICE, c);
    return classes;
}

static enum status open_regret(struct engine *e, struct error *error)
{
    const struct store *store = memory_store(e->parts.memory);
    uint32_t slots[STORE_CLASSES_MAX], pages = e->parts.info.pages;
    struct regret_config config = {.pages = pages, .classes = store_classes(store),
                                   .class_slots = slots};
    uint8_t *classes = malloc(pages);
    enum status status = STATUS_NO_MEMORY;
    if (!classes)
        goto done;
    device_slots(e->parts.memory, slots);
    for (page_id page = 0; page < pages; page++)
        classes[page] = (uint8_t)store_page(store, page)->size_class;
    config.page_class = classes;
    status = regret_open(&e->regret, &config, error);
    if (status == STATUS_OK)
        regret_begin(e->regret, on_device, e);
done:
    free(classes);
    return status;
}

/* Judges a window that has become full. A step that failed has asked for pages too. */
static void watch_regret(struct engine *e)
{
    if (!regret_due(e->regret))
        return;
    uint64_t begin = clock_now_ns();
    regret_turn(e->regret, on_device, e);
    e->totals.regret_ns += clock_now_ns() - begin;
}

enum status engine_resize(struct engine *e, const struct engine_budget *asked,
                          struct engine_budget_result *got, struct error *error)
{
    const struct engine_parts *p = &e->parts;
    uint32_t slots[STORE_CLASSES_MAX], before[STORE_CLASSES_MAX];
    device_slots(p->memory, before);
    struct resize resize = {.memory = p->memory, .pager = p->pager, .kv = p->kv,
                            .backend = p->backend, .max_model_len = p->info.max_model_len,
                            .max_num_seqs = p->info.max_num_seqs, .one_memory = !p->gpu,
                            .host_available = budget_host_available()};
    if (p->gpu) {
        struct device_cuda_info gpu;
        device_cuda_describe(p->gpu, &gpu);
        resize.device_available = gpu.free_bytes;
    }
    enum status status = resize_apply(&resize, asked, got, error);
    if (memcmp(before, slots, device_slots(p->memory, slots) * sizeof *slots) != 0)
        regret_resized(e->regret, slots, on_device, e);
    engine_publish(e);
    return status;
}

static enum status open_trace(struct engine *e, const char *path, struct error *error)
{
    const struct engine_info *info = &e->parts.info;
    struct trace_writer_column columns[LOOKAHEAD_RECORDED];
    uint32_t ahead = info->layers > LOOKAHEAD_RECORDED ? LOOKAHEAD_RECORDED : info->layers - 1;
    for (uint32_t d = 1; d <= ahead; d++)
        columns[d - 1] = (struct trace_writer_column){
            .name = "lookahead", .layers = info->layers - d, .width = info->top_k, .distance = d};
    struct trace_writer_config config = {
        .path = path,
        .model = info->model_name,
        .source = "moering " MOERING_VERSION,
        .layers = info->layers,
        .experts = info->experts,
        .top_k = info->top_k,
        .rows_max = info->max_batch_tokens,
        .columns = columns,
        .column_count = ahead,
    };
    e->trace_items = calloc(info->max_num_seqs, sizeof *e->trace_items);
    if (!e->trace_items)
        return error_set(error, STATUS_NO_MEMORY, "no memory to record a trace");
    enum status status = trace_writer_open(&e->trace, &config, error);
    if (status != STATUS_OK)
        error_prefix(error, "--trace-out");
    if (status == STATUS_OK)
        e->parts.transformer.moe.lookahead.listener = (struct lookahead_listener){
            .self = e, .distances = ahead, .scores = on_lookahead};
    return status;
}

enum status engine_trace_finish(struct engine *e, struct error *error)
{
    struct trace_writer *trace = e->trace;
    e->trace = NULL;
    e->parts.transformer.moe.lookahead.listener = (struct lookahead_listener){0};
    enum status status = trace_writer_close(trace, error);
    if (status != STATUS_OK)
        error_prefix(error, "--trace-out");
    return status;
}

/* A step succeeded: its rows are the trace's. Whatever a sequence knew when it began counts as
 * prompt: after a preemption that includes its output so far. What it took of others was not
 * routed. */
static void record_step(struct engine *e, const struct step_item *items, uint32_t count)
{
    struct error error = {0};
    for (uint32_t i = 0; i < count; i++) {
        struct sequence *s = items[i].sequence;
        if (!s->begun) {
            s->trace_part = trace_writer_part(e->trace);
            s->trace_prefill = s->count;
        }
        uint32_t prefill = s->trace_prefill > s->computed ? s->trace_prefill - s->computed : 0;
        e->trace_items[i] = (struct trace_writer_item){
            .id = s->serial,
            .part = s->trace_part,
            .rows = items[i].tokens,
            .prefill = prefill < items[i].tokens ? prefill : items[i].tokens,
        };
    }
    if (trace_writer_commit(e->trace, e->trace_items, count, &error) != STATUS_OK)
        log_error("%s", error.text);
}

/* ---- a step ---- */

static void fill_batch(struct engine *e, const struct step_item *items, uint32_t count)
{
    batch_reset(&e->batch);
    for (uint32_t i = 0; i < count; i++) {
        struct sequence *s = items[i].sequence;
        CHECK(items[i].tokens >= 1 && items[i].tokens <= s->count - s->computed);
        CHECK((uint64_t)items[i].score_from + items[i].score_count <= items[i].tokens);
        CHECK(s->computed + items[i].score_from + items[i].score_count < s->count);
        CHECK(kv_cache_reserve(e->parts.kv, &s->table, s->computed + items[i].tokens) == STATUS_OK);
        batch_add(&e->batch, s->tokens + s->computed, items[i].tokens, s->computed,
                  s->table.blocks);
    }
}

static void count_tokens(struct engine *e, const struct step_item *items, uint32_t count,
                         const struct step_output *outputs)
{
    e->totals.steps++;
    for (uint32_t i = 0; i < count; i++) {
        bool decode = items[i].tokens == 1 && items[i].sequence->begun;
        *(decode ? &e->totals.tokens_decode : &e->totals.tokens_prefill) += items[i].tokens;
        e->totals.sampled += outputs[i].sampled;
    }
}

/* Tokens that are sure to follow in the next step, if the caller goes on with these sequences: the
 * rest of prompts, and one token of each that decodes. */
static uint32_t rows_after(const struct step_item *items, uint32_t count)
{
    uint32_t rows = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct sequence *s = items[i].sequence;
        uint32_t rest = s->count - s->computed - items[i].tokens;
        rows += rest == 0 ? 1 : rest < items[i].tokens ? rest : items[i].tokens;
    }
    return rows;
}

/* A step that failed: nothing has advanced, but what it asked for has been counted. */
static void end_failed(struct engine *e, uint32_t count, enum status status,
                       struct step_output *outputs)
{
    for (uint32_t i = 0; i < count; i++)
        outputs[i].status = e->batch.failed[i] ? status : STATUS_OK;
    engine_publish(e);
}

/* Logits and tokens of a step whose layers have run. */
static void read_off(struct engine *e, const struct step_item *items, uint32_t count,
                     struct step_output *outputs, struct error *error)
{
    uint32_t row = 0;
    for (uint32_t i = 0; i < count; row += items[i++].tokens) {
        if (items[i].logits)
            step_sampler_logits(&e->sampler, &items[i], row);
        if (items[i].score_count > 0)
            outputs[i].status = step_sampler_score(&e->sampler, &items[i], row, error);
    }
    step_sampler_draw(&e->sampler, items, count, outputs, error);
}

/* The step has computed an item's tokens. Numbers that cannot be sampled from may come of bad keys
 * and values: nobody else is to have them. */
static void advance(struct engine *e, const struct step_item *item, const struct step_output *out)
{
    struct sequence *s = item->sequence;
    s->computed += item->tokens;
    s->begun = true;
    if (e->parts.info.prefix_caching && out->status == STATUS_OK)
        kv_cache_publish(e->parts.kv, &s->table, s->tokens, s->computed);
    if (out->sampled)
        sequence_append(s, out->token.token);
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
    if (e->trace)
        trace_writer_begin(e->trace, e->batch.rows);
    pager_begin_step(e->parts.pager, e->batch.rows, rows_after(items, count));
    enum status status = transformer_forward(&e->parts.transformer, &e->batch, error);
    pager_counters(e->parts.pager, &after);
    uint64_t stall_ns = after.stall_ns - before.stall_ns;
    engine_stalled(e, stall_ns);
    if (status == STATUS_OK)
        pager_end_step(e->parts.pager);
    watch_regret(e);
    if (status != STATUS_OK) {
        end_failed(e, count, status, outputs);
        return status;
    }
    read_off(e, items, count, outputs, error);
    if (e->trace)
        record_step(e, items, count);
    count_tokens(e, items, count, outputs);
    for (uint32_t i = 0; i < count; i++) {
        outputs[i].usage = e->batch.usage[i];
        outputs[i].usage.stall_ns = stall_ns;
        advance(e, &items[i], &outputs[i]);
    }
    e->totals.step_ns += clock_now_ns() - begin;
    engine_publish(e);
    return STATUS_OK;
}
