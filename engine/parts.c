#include "engine/parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/arch.h"
#include "engine/predict/lstm.h"
#include "engine/predict/lstm_file.h"
#include "engine/tokenizer/tokenizer.h"
#include "memory/base/bytes.h"
#include "memory/base/log.h"
#include "memory/device.h"

/* Of what is available after the fixed terms: the share that an unasked-for KV pool may take, and
 * the share left alone for stacks, sockets, page tables and the rest of the machine. */
enum { KV_SHARE = 4, HEADROOM_SHARE = 10 };

/* What parts_open knows before anything large is allocated. */
struct plan {
    const struct engine_config *config;
    struct model_plan model;
    struct kv_cache_config kv;
    struct lstm_sizes lstm; /* of --load-lstm */
    uint32_t max_model_len;
    struct tier_slots slots[MEMORY_TIERS];
    struct budget budget;
    struct store *store; /* until memory takes it over */
};

static void tell(const struct engine_config *config, const char *phase, double fraction)
{
    if (config->progress)
        config->progress(config->arg, phase, fraction);
}

static void tell_weights(void *arg, double fraction)
{
    tell(arg, "weights", fraction);
}

static enum status plan_limits(struct plan *plan, struct error *error)
{
    const struct engine_config *config = plan->config;
    const struct hparams *h = &plan->model.hparams;
    uint32_t context = h->context, widest = h->heads > h->router.top_k ? h->heads : h->router.top_k;
    plan->max_model_len = config->max_model_len ? config->max_model_len : context;
    if (plan->max_model_len > context)
        return error_set(error, STATUS_INVALID,
                         "--max-model-len %u: the model was made for %u positions",
                         config->max_model_len, context);
    if (config->max_num_seqs == 0 || config->max_batch_tokens == 0)
        return error_set(error, STATUS_INVALID, "%s must be at least 1",
                         config->max_num_seqs ? "--max-num-batched-tokens" : "--max-num-seqs");
    /* Pairs (row, head) and (row, choice) are counted in 32 bits. */
    if (config->max_batch_tokens > UINT32_MAX / widest)
        return error_set(error, STATUS_INVALID,
                         "--max-num-batched-tokens %u: this model allows %u at most",
                         config->max_batch_tokens, UINT32_MAX / widest);
    return STATUS_OK;
}

/* From the header alone, so that its budget is known and what does not fit is refused before anything
 * large is read. */
static enum status plan_lstm(struct plan *plan, struct error *error)
{
    const char *path = plan->config->load_lstm;
    const struct hparams *h = &plan->model.hparams;
    struct lstm_sizes *sizes = &plan->lstm;
    if (!path)
        return STATUS_OK;
    enum status status = lstm_file_sizes(sizes, path, error);
    if (status == STATUS_OK && (sizes->layers != h->layers || sizes->experts != h->experts))
        status = error_set(error, STATUS_INVALID,
                           "%s: layers x experts is %u x %u; the model has %u x %u", path,
                           sizes->layers, sizes->experts, h->layers, h->experts);
    if (status != STATUS_OK)
        error_prefix(error, "--load-lstm");
    return status;
}

/* Its weights, a state for each phase, and what keeps their forecasts until they can be judged. */
static uint64_t lstm_budget(const struct lstm_sizes *sizes)
{
    uint64_t pages = (uint64_t)sizes->layers * sizes->experts;
    return lstm_sizes_weights(sizes) * sizeof(float) +
           LOAD_PHASES * (lstm_bytes(sizes) + pages * LOADS_LSTM_PAGE_BYTES);
}

/* How many KV blocks: what was asked for, or enough for every sequence within its share. */
static enum status plan_kv(struct plan *plan, uint64_t available, struct error *error)
{
    const struct engine_config *config = plan->config;
    const struct hparams *h = &plan->model.hparams;
    plan->kv = (struct kv_cache_config){.layers = h->layers, .kv_heads = h->kv_heads,
                                        .head_dim = h->head_dim, .dtype = config->kv_dtype};
    uint64_t block = kv_cache_block_bytes(&plan->kv);
    uint64_t one = kv_cache_blocks_for(plan->max_model_len);
    uint64_t blocks = one * config->max_num_seqs;
    if (config->kv_bytes)
        blocks = config->kv_bytes / block;
    else if (available && blocks > available / KV_SHARE / block)
        blocks = available / KV_SHARE / block > one ? available / KV_SHARE / block : one;
    if (blocks < one)
        return error_set(
            error, STATUS_INVALID,
            "--kv-cache-bytes %llu: one sequence of --max-model-len %u needs %llu bytes",
            (unsigned long long)config->kv_bytes, plan->max_model_len,
            (unsigned long long)(one * block));
    uint64_t most = UINT64_MAX / block < UINT32_MAX ? UINT64_MAX / block : UINT32_MAX;
    plan->kv.blocks = (uint32_t)(blocks < most ? blocks : most);
    return STATUS_OK;
}

/* Shown whether it fits or not. */
static enum status finish_budget(const struct plan *plan, struct error *error)
{
    if (plan->config->budget_line)
        budget_print(&plan->budget, plan->config->budget_line, plan->config->arg);
    return budget_check(&plan->budget, error);
}

static enum status plan_budget(struct plan *plan, struct error *error)
{
    const struct engine_config *config = plan->config;
    const struct hparams *h = &plan->model.hparams;
    struct budget *budget = &plan->budget;
    budget->available = budget_host_available();
    budget_add(budget, "dense weights", NULL, plan->model.dense_bytes);
    budget_add(budget, "activations", "--max-num-batched-tokens",
               transformer_bytes(h, config->max_batch_tokens, config->max_num_seqs));
    budget_add(budget, "sequences", "--max-num-seqs",
               (uint64_t)config->max_num_seqs *
                   (plan->max_model_len + (uint64_t)h->vocab) * sizeof(uint32_t));
    struct policy_config policy = {.layers = h->layers, .experts = h->experts, .slow_clock = true,
                                   .prefetch = config->prefetch};
    budget_add(budget, "paging policy", NULL, policy_bytes(&policy));
    if (config->load_lstm)
        budget_add(budget, "load LSTM", "--load-lstm", lstm_budget(&plan->lstm));
    budget_add(budget, "regret window", NULL, regret_bytes(store_pages(plan->store), 0));
    uint64_t fixed = budget_total(budget);
    uint64_t left = budget->available > fixed ? budget->available - fixed : 0;
    enum status status = plan_kv(plan, left, error);
    if (status != STATUS_OK)
        return status;
    uint64_t kv_bytes = kv_cache_block_bytes(&plan->kv) * plan->kv.blocks;
    budget_add(budget, "KV cache", "--kv-cache-bytes", kv_bytes);
    /* Before the ring is blamed for what is left of it. */
    if (budget_check(budget, NULL) != STATUS_OK)
        return finish_budget(plan, error);
    left = left > kv_bytes ? left - kv_bytes : 0;
    uint64_t auto_bytes =
        budget->available ? left - left / HEADROOM_SHARE : store_total_slot_bytes(plan->store);
    status = budget_slots(plan->store, &config->device_experts, auto_bytes, 1, "--device-experts",
                          &plan->slots[MEMORY_DEVICE], error);
    /* Without a GPU both tiers are the same RAM: a host tier is there only when asked for. */
    if (status == STATUS_OK && config->host_experts.kind != ROOM_AUTO)
        status = budget_slots(plan->store, &config->host_experts, 0, 1, "--host-experts",
                              &plan->slots[MEMORY_HOST], error);
    if (status != STATUS_OK)
        return status;
    budget_add(budget, "expert ring", "--device-experts",
               budget_slots_bytes(plan->store, &plan->slots[MEMORY_DEVICE]));
    budget_add(budget, "host experts", "--host-experts",
               budget_slots_bytes(plan->store, &plan->slots[MEMORY_HOST]));
    return finish_budget(plan, error);
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

static enum status open_memory(struct engine_parts *parts, struct plan *plan, struct error *error)
{
    uint64_t arena = budget_slots_bytes(plan->store, &plan->slots[MEMORY_DEVICE]);
    struct memory_config config = {.io = plan->config->io, .io_threads = plan->config->io_threads};
    memcpy(config.slots, plan->slots, sizeof config.slots);
    enum status status = device_host_open(&config.device, arena, 0, error);
    if (status == STATUS_OK)
        status = memory_open(&parts->memory, plan->store, &config, error);
    if (status == STATUS_OK)
        plan->store = NULL;
    else
        device_close(config.device);
    return status;
}

static enum status open_compute(struct engine_parts *parts, struct plan *plan, struct error *error)
{
    const struct engine_config *config = plan->config;
    const struct hparams *h = &plan->model.hparams;
    struct cpu_backend_config cpu = {.threads = config->threads, .isa = config->isa,
                                     .expert_width_max = h->expert_width,
                                     .context_max = plan->max_model_len,
                                     .rows_max = config->max_batch_tokens};
    struct pager_config pager = {.memory = parts->memory, .layers = h->layers,
                                 .experts = h->experts, .top_k = h->router.top_k,
                                 .evict = config->evict, .foresight = config->foresight,
                                 .prefetch = config->prefetch, .slow_clock = true,
                                 .stream_layers = config->stream_layers,
                                 .stream_always = config->stream_always};
    memcpy(pager.lstm, parts->lstm, sizeof pager.lstm);
    enum status status = cpu_backend_open(&parts->backend, &cpu, error);
    if (status == STATUS_OK)
        status = model_open(&parts->model, parts->checkpoint, &plan->model, parts->backend,
                            tell_weights, (void *)config, error);
    plan->kv.backend = parts->backend;
    if (status == STATUS_OK)
        status = kv_cache_open(&parts->kv, &plan->kv, error);
    if (status == STATUS_OK)
        status = pager_open(&parts->pager, &pager, error);
    struct transformer_config transformer = {.model = parts->model, .kv = parts->kv,
                                     .pager = parts->pager, .rows_max = config->max_batch_tokens,
                                     .logits_max = config->max_num_seqs};
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

static const char *last_part(const char *path)
{
    const char *name = path;
    for (const char *p = path; *p; p++)
        if (*p == '/' && p[1] && p[1] != '/')
            name = p + 1;
    return name;
}

/* A row of the embedding table is read, not the table, unless it serves as the head too. */
static uint64_t token_bytes(const struct engine_parts *parts, const struct plan *plan)
{
    const struct hparams *h = &plan->model.hparams;
    const struct store *store = memory_store(parts->memory);
    uint64_t embedding = 0, experts = 0;
    dtype_bytes(parts->model->embedding.dtype, (uint64_t)h->vocab * h->hidden, &embedding);
    for (uint32_t l = 0; l < h->layers; l++)
        experts += store_page(store, l * h->experts)->file_bytes * h->router.top_k;
    return plan->model.dense_bytes - (h->tied_head ? 0 : embedding) + experts;
}

/* Ids that only the tokenizer knows are refused when a prompt holds one; say so before. */
static void compare_vocabularies(const struct engine_parts *parts)
{
    uint32_t model = parts->info.vocab;
    uint32_t texts = parts->tokenizer ? tokenizer_vocab_size(parts->tokenizer) : 0;
    if (texts > model)
        log_warn("%s: tokenizer.json has %u ids, the model's vocabulary %u: prompts with the others "
                 "will be refused", parts->info.model_path, texts, model);
}

static void fill_info(struct engine_parts *parts, const struct plan *plan)
{
    const struct engine_config *config = plan->config;
    const struct hparams *h = &plan->model.hparams;
    const struct store *store = memory_store(parts->memory);
    struct engine_info *info = &parts->info;
    info->model_path = checkpoint_path(parts->checkpoint);
    info->model_name = last_part(info->model_path);
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
    info->max_batch_tokens = config->max_batch_tokens;
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
    info->isa = cpu_isa_name(cpu_backend_isa(parts->backend));
    info->io = config->io == IO_SYNC ? "sync" : "thread";
    info->threads = cpu_backend_threads(parts->backend);
    info->parameters = plan->model.parameters;
    info->active_parameters = plan->model.active_parameters;
    info->weight_dtype = dtype_info(parts->model->layers[0].expert_dtype)->name;
}

static enum status open_files(struct engine_parts *parts, struct plan *plan, struct error *error)
{
    const struct engine_config *config = plan->config;
    tell(config, "headers", 0);
    enum status status = checkpoint_open(&parts->checkpoint, config->model, error);
    if (status == STATUS_OK)
        status = store_open(&plan->store, error);
    if (status == STATUS_OK)
        status = model_plan(parts->checkpoint, plan->store, &plan->model, error);
    if (status != STATUS_OK)
        return status;
    tell(config, "tokenizer", 0);
    status = tokenizer_open(&parts->tokenizer, config->model, error);
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
        status = plan_limits(&plan, error);
    if (status == STATUS_OK)
        status = plan_lstm(&plan, error);
    if (status == STATUS_OK)
        status = plan_budget(&plan, error);
    if (status == STATUS_OK)
        status = open_lstm(parts, &plan, error);
    if (status == STATUS_OK)
        status = open_memory(parts, &plan, error);
    if (status == STATUS_OK)
        status = open_compute(parts, &plan, error);
    if (status == STATUS_OK)
        status = fill_eos(parts, plan.model.hparams.vocab, error);
    store_close(plan.store);
    if (status != STATUS_OK) {
        parts_close(parts);
        return status;
    }
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
    memory_close(parts->memory);
    backend_close(parts->backend);
    tokenizer_close(parts->tokenizer);
    checkpoint_close(parts->checkpoint);
    memset(parts, 0, sizeof *parts);
}
