#include "engine/parts.h"

#include "engine/parts_plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "engine/model/arch.h"
#include "engine/model/gguf_tokenizer.h"
#include "engine/predict/lstm.h"
#include "engine/predict/lstm_file.h"
#include "engine/tokenizer/tokenizer.h"
#include "memory/base/bytes.h"
#include "memory/base/clock.h"
#include "memory/base/log.h"
#include "memory/device.h"

static void tell(const struct engine_config *config, const char *phase, double fraction)
{
    if (config->progress)
        config->progress(config->arg, phase, fraction);
}

static void tell_weights(void *arg, double fraction)
{
    tell(arg, "weights", fraction);
}

/* Both phases forecast by the same weights, each from what it saw itself. */
static enum status open_lstm(struct engine_parts *parts, const struct plan *plan,
                             struct error *error)
{
    const char *path = plan->config->load_lstm;
    if (!path)
        return STATUS_OK;
    enum status status = lstm_file_read(&parts->lstm_net, path, error);
    struct lstm_config lstm = {.layers = plan->model.hparams.layers,
                               .experts = plan->model.hparams.experts, .weights_path = path,
                               .net = parts->lstm_net};
    for (int phase = 0; phase < LOAD_PHASES && status == STATUS_OK; phase++)
        status = lstm_open(&parts->lstm[phase], &lstm, error);
    if (status != STATUS_OK)
        error_prefix(error, "--load-lstm");
    return status;
}

/* The processors, which say how weights are to lie, and with that what becomes of pages that are
 * read. */
static enum status open_cpu(struct engine_parts *parts, struct plan *plan, struct error *error)
{
    struct cpu_backend_config cpu = plan_cpu(plan);
    enum status status = cpu_backend_open(&parts->backend, &cpu, error);
    if (status == STATUS_OK)
        status = landing_settle(parts->landing, parts->checkpoint, parts->backend, error);
    if (status == STATUS_OK)
        store_set_landing(plan->store, landing_of_pages(parts->landing));
    return status;
}

static enum status open_memory(struct engine_parts *parts, struct plan *plan, struct error *error)
{
    struct memory_config config = plan_memory(plan);
    enum status status = STATUS_OK;
    if (!plan->cuda)
        status = device_host_open(&plan->device, SIZE_MAX, 0, error);
    config.device = plan->device;
    if (status == STATUS_OK)
        status = memory_open(&parts->memory, plan->store, &config, error);
    if (status != STATUS_OK)
        return status;
    const struct memory_reading *reads = memory_reads(parts->memory);
    if (reads->note[0])
        log_info("%s", reads->note);
    parts->gpu = plan->cuda ? plan->device : NULL;
    plan->store = NULL;
    plan->device = NULL;
    return STATUS_OK;
}

/* The device's slot table follows the device tier. */
static void on_page_moved(void *self, page_id page, const uint8_t *slot)
{
    struct backend *b = self;
    b->ops->resident->where(b, page, slot);
}

/* The GPU's, and beside it the host's processors, for experts that are faster where they lie. */
static enum status open_gpu(struct engine_parts *parts, const struct plan *plan,
                            struct error *error)
{
    const struct engine_config *config = plan->config;
    bool beside = !config->deterministic && config->placement != PLACEMENT_DEVICE;
    struct cpu_backend_config cpu = plan_cpu(plan);
    enum status status = cuda_backend_open(&parts->backend, &plan->backend, error);
    if (status == STATUS_OK && beside)
        status = cpu_backend_open(&parts->host_backend, &cpu, error);
    if (status == STATUS_OK)
        memory_listen(parts->memory,
                      (struct memory_listener){.self = parts->backend, .moved = on_page_moved});
    return status;
}

/* What placement believes until it has measured. */
static struct placement_prior placement_belief(const struct plan *plan)
{
    struct placement_prior prior = PLACEMENT_PRIOR;
    if (plan->rates.loaded > 0)
        prior.link_bytes_per_s = plan->rates.loaded;
    return prior;
}

static enum status open_compute(struct engine_parts *parts, struct plan *plan, struct error *error)
{
    const struct engine_config *config = plan->config;
    const struct hparams *h = &plan->model.hparams;
    struct pager_config pager = {.memory = parts->memory, .layers = h->layers,
                                 .experts = h->experts, .top_k = h->router.top_k,
                                 .evict = config->evict, .foresight = config->foresight,
                                 .prefetch = config->prefetch, .slow_clock = true,
                                 .stream_layers = config->stream_layers,
                                 .stream_always = config->stream_always,
                                 .placement = config->placement,
                                 .prior = placement_belief(plan),
                                 .flops_per_token = 6.0 * h->hidden * h->expert_width};
    memcpy(pager.lstm, parts->lstm, sizeof pager.lstm);
    enum status status = plan->cuda ? open_gpu(parts, plan, error) : STATUS_OK;
    pager.host_compute = parts->host_backend != NULL;
    if (status == STATUS_OK)
        status = model_open(&parts->model, parts->checkpoint, &plan->model, parts->backend,
                            tell_weights, (void *)config, error);
    if (status == STATUS_OK && !plan->cuda)
        model_lock(parts->model);
    plan->kv.backend = parts->backend;
    if (getrandom(&plan->kv.hash_key, sizeof plan->kv.hash_key, GRND_NONBLOCK) < 0)
        plan->kv.hash_key = clock_now_ns();
    if (status == STATUS_OK)
        status = kv_cache_open(&parts->kv, &plan->kv, error);
    if (status == STATUS_OK)
        status = pager_open(&parts->pager, &pager, error);
    struct transformer_config transformer = {.model = parts->model, .kv = parts->kv,
                                             .pager = parts->pager, .host = parts->host_backend,
                                             .rows_max = plan->max_batch_tokens,
                                             .logits_max = config->max_num_seqs,
                                             .routing = config->routing};
    if (status == STATUS_OK)
        status = transformer_open(&parts->transformer, &transformer, error);
    return status;
}

/* End tokens: the configuration's list, else the tokenizer's own. */
static enum status fill_eos(struct engine_parts *parts, uint32_t vocab, struct error *error)
{
    struct engine_info *info = &parts->info;
    enum status status = checkpoint_u32_list(parts->checkpoint, "eos_token_id", info->eos,
                                             ENGINE_EOS_MAX, &info->eos_count, error);
    if (status != STATUS_OK && status != STATUS_NOT_FOUND)
        return status;
    for (uint32_t i = 0; i < info->eos_count; i++)
        if (info->eos[i] >= vocab)
            return error_set(error, STATUS_INVALID,
                             "%s: eos_token_id %u is outside the vocabulary of %u",
                             checkpoint_path(parts->checkpoint), info->eos[i], vocab);
    uint32_t eos = parts->tokenizer ? tokenizer_eos(parts->tokenizer) : TOKEN_NONE;
    bool known = eos == TOKEN_NONE;
    for (uint32_t i = 0; i < info->eos_count; i++)
        known |= info->eos[i] == eos;
    if (!known && eos < vocab && info->eos_count < ENGINE_EOS_MAX)
        info->eos[info->eos_count++] = eos;
    return STATUS_OK;
}

/* The last part of its path, without the end of a file. */
static void name_model(struct engine_parts *parts)
{
    const char *path = checkpoint_path(parts->checkpoint), *name = path;
    for (const char *p = path; *p; p++)
        if (*p == '/' && p[1] && p[1] != '/')
            name = p + 1;
    char *to = parts->model_name;
    snprintf(to, sizeof parts->model_name, "%s", name);
    size_t bytes = strlen(to), end = strlen(".gguf");
    if (bytes > end && strcmp(to + bytes - end, ".gguf") == 0)
        to[bytes - end] = '\0';
}

/* "Q4_K+Q6_K": each format that some expert's matrices have. */
static void name_weights(struct engine_parts *parts, uint32_t dtypes)
{
    size_t used = 0, room = sizeof parts->weight_dtype;
    for (int d = 0; d < DTYPE_COUNT; d++)
        if (dtypes >> d & 1)
            used += (size_t)snprintf(parts->weight_dtype + used, room - used, "%s%s",
                                     used > 0 ? "+" : "", dtype_info((enum dtype)d)->name);
}

/* A row of the embedding table is read, not the table, unless it serves as the head too. */
static uint64_t token_bytes(const struct engine_parts *parts, const struct plan *plan)
{
    const struct hparams *h = &plan->model.hparams;
    const struct store *store = memory_store(parts->memory);
    uint64_t embedding = 0, experts = 0;
    dtype_bytes(parts->model->embedding.dtype, (uint64_t)h->vocab * h->hidden, &embedding);
    for (uint32_t l = 0; l < h->layers; l++)
        experts += plan_page_bytes(store_page(store, l * h->experts)) * h->router.top_k;
    return plan->model.dense_bytes - (h->tied_head ? 0 : embedding) + experts;
}

/* Ids that only the tokenizer knows are refused when a prompt holds one; say so before. */
static void compare_vocabularies(const struct engine_parts *parts)
{
    uint32_t model = parts->info.vocab;
    uint32_t texts = parts->tokenizer ? tokenizer_vocab_size(parts->tokenizer) : 0;
    if (texts > model)
        log_warn("%s: the tokenizer has %u ids, the model's vocabulary %u: prompts with the others "
                 "will be refused", parts->info.model_path, texts, model);
}

static void fill_info(struct engine_parts *parts, const struct plan *plan)
{
    const struct engine_config *config = plan->config;
    const struct hparams *h = &plan->model.hparams;
    const struct store *store = memory_store(parts->memory);
    struct engine_info *info = &parts->info;
    info->model_path = checkpoint_path(parts->checkpoint);
    info->model_name = parts->model_name;
    info->architecture = plan->model.arch->name;
    info->layers = h->layers;
    info->hidden = h->hidden;
    info->heads = h->heads;
    info->kv_heads = h->kv_heads;
    info->head_dim = h->head_dim;
    info->experts = h->experts;
    info->top_k = h->router.top_k;
    info->expert_width = h->expert_width;
    info->vocab = h->vocab;
    info->max_model_len = plan->max_model_len;
    info->max_num_seqs = config->max_num_seqs;
    info->max_batch_tokens = plan->max_batch_tokens;
    info->kv_blocks = plan->kv.blocks;
    info->kv_block_tokens = KV_BLOCK_TOKENS;
    info->pages = store_pages(store);
    info->page_bytes_total = store_total_slot_bytes(store);
    info->dense_bytes = plan->model.dense_bytes;
    info->token_bytes = token_bytes(parts, plan);
    info->device_slots = budget_slots_count(store, &plan->slots[MEMORY_DEVICE]);
    info->host_slots = budget_slots_count(store, &plan->slots[MEMORY_HOST]);
    info->device_slot_bytes = budget_slots_bytes(store, &plan->slots[MEMORY_DEVICE]);
    info->host_slot_bytes = budget_slots_bytes(store, &plan->slots[MEMORY_HOST]);
    info->kv_bytes = kv_cache_block_bytes(&plan->kv) * plan->kv.blocks;
    info->backend = parts->backend->ops->name;
    const struct backend *cpu = plan->cuda ? parts->host_backend : parts->backend;
    info->isa = cpu ? cpu_isa_name(cpu_backend_isa(cpu)) : "";
    if (plan->cuda) {
        memcpy(parts->gpu_name, plan->gpu.name, sizeof parts->gpu_name);
        info->device = parts->gpu_name;
        info->link_idle_bytes_per_s = plan->rates.idle;
        info->link_loaded_bytes_per_s = plan->rates.loaded;
    }
    info->placement = parts->host_backend ? config->placement : PLACEMENT_DEVICE;
    info->deterministic = config->deterministic;
    info->prefix_caching = config->prefix_caching;
    info->io = memory_reads(parts->memory)->name;
    info->threads = cpu ? cpu_backend_threads(cpu) : 0;
    info->parameters = plan->model.parameters;
    info->active_parameters = plan->model.active_parameters;
    info->weight_dtype = parts->weight_dtype;
}

static enum status open_tokenizer(struct engine_parts *parts, struct error *error)
{
    enum status status = gguf_tokenizer_of_model(&parts->tokenizer, parts->checkpoint, error);
    if (status == STATUS_OK && tokenizer_notice(parts->tokenizer))
        log_info("%s", tokenizer_notice(parts->tokenizer));
    return status;
}

static enum status open_files(struct engine_parts *parts, struct plan *plan, struct error *error)
{
    const struct engine_config *config = plan->config;
    tell(config, "headers", 0);
    enum status status = checkpoint_open(&parts->checkpoint, config->model, error);
    if (status == STATUS_OK)
        status = store_open(&plan->store, error);
    if (status == STATUS_OK)
        status = model_plan(parts->checkpoint, plan->store, config->quantize, &plan->model, error);
    if (status == STATUS_OK)
        status = landing_open(&parts->landing, parts->checkpoint, &plan->model, error);
    if (status != STATUS_OK)
        return status;
    store_set_landing(plan->store, landing_of_pages(parts->landing));
    if (plan->model.kept > 0)
        log_info("--quantize: %llu matrices stay as they are: their rows are no whole blocks of %s",
                 (unsigned long long)plan->model.kept, dtype_info(config->quantize)->name);
    tell(config, "tokenizer", 0);
    status = open_tokenizer(parts, error);
    /* No tokenizer.json at all: prompts are token ids then. A broken one is refused. */
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

enum status parts_open(struct engine_parts *parts, const struct engine_config *config,
                       struct error *error)
{
    struct plan plan = {.config = config};
    memset(parts, 0, sizeof *parts);
    enum status status = open_files(parts, &plan, error);
    if (status == STATUS_OK && error)
        error->text[0] = '\0'; /* an absent tokenizer left its sentence */
    if (status == STATUS_OK)
        status = plan_make(&plan, error);
    if (status == STATUS_OK)
        status = open_lstm(parts, &plan, error);
    if (status == STATUS_OK && !plan.cuda)
        status = open_cpu(parts, &plan, error);
    if (status == STATUS_OK)
        status = open_memory(parts, &plan, error);
    if (status == STATUS_OK)
        status = open_compute(parts, &plan, error);
    if (status == STATUS_OK)
        status = fill_eos(parts, plan.model.hparams.vocab, error);
    store_close(plan.store);
    device_close(plan.device);
    if (status != STATUS_OK) {
        parts_close(parts);
        return status;
    }
    name_model(parts);
    name_weights(parts, plan.model.expert_dtypes);
    fill_info(parts, &plan);
    compare_vocabularies(parts);
    tell(config, "ready", 1);
    return STATUS_OK;
}

void parts_close(struct engine_parts *parts)
{
    transformer_close(&parts->transformer);
    pager_close(parts->pager);
    for (int phase = 0; phase < LOAD_PHASES; phase++)
        predictor_close(parts->lstm[phase]);
    lstm_net_close(parts->lstm_net);
    kv_cache_close(parts->kv);
    model_close(parts->model);
    backend_close(parts->host_backend);
    backend_close(parts->backend); /* its stream is the device's */
    memory_close(parts->memory);
    landing_close(parts->landing);
    tokenizer_close(parts->tokenizer);
    checkpoint_close(parts->checkpoint);
    memset(parts, 0, sizeof *parts);
}
