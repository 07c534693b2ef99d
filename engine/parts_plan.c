/* Deciding before doing. What does not fit is refused here, with the flag to change, before a byte
 * of weights is read. Two memories are shared out where there is a GPU: its own (dense weights, KV,
 * activations, the ring) and the host's (experts behind the ring, everything that decides). */
#include "engine/parts_plan.h"

#include <stdio.h>
#include <string.h>

#include "engine/model/transformer.h"
#include "engine/predict/lstm.h"
#include "engine/predict/lstm_file.h"
#include "memory/base/log.h"

enum {
    BATCH_TOKENS_CPU = 512,
    BATCH_TOKENS_STEP = 512,
    BATCH_TOKENS_MOST = 8192, /* above it activations would eat what the ring lives on */
    PASSING_PAGES = 64,       /* host slots where every page stays on the device: they only pass */
    LIBRARIES_BYTES = 256 << 20, /* device memory of cuBLAS, kernels as they are loaded, graphs */
    LIBRARIES_SHARE = 64,        /* and at most one part in so many of a small device */
};

/* What a multiprocessor sustains in large 16-bit matrix products, operations a second: about half
 * of the peak. Only sizes a default. */
static double sustained_flops(const struct device_cuda_info *gpu)
{
    return gpu->processors * (gpu->major >= 9 ? 3.5e12 : 1.4e12);
}

double plan_hiding_tokens(uint32_t experts, uint32_t top_k, double bytes_per_parameter,
                          double flops, double link_bytes_per_s)
{
    return experts * bytes_per_parameter * flops / (2.0 * top_k * link_bytes_per_s);
}

/* ---- limits ---- */

static enum status plan_limits(struct plan *plan, struct error *error)
{
    const struct engine_config *config = plan->config;
    const struct hparams *h = &plan->model.hparams;
    uint32_t context = h->context;
    plan->max_model_len = config->max_model_len ? config->max_model_len : context;
    if (plan->max_model_len > context)
        return error_set(error, STATUS_INVALID,
                         "--max-model-len %u: the model was made for %u positions",
                         config->max_model_len, context);
    if (config->max_num_seqs == 0)
        return error_set(error, STATUS_INVALID, "--max-num-seqs must be at least 1");
    return STATUS_OK;
}

static uint32_t largest(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

uint64_t plan_page_bytes(const struct page *page)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < page->parts; i++)
        bytes += page->part[i].slot_bytes;
    return bytes;
}

/* Prompts are cut into steps of so many tokens. With a link in between, a step is as large as it
 * must be for copies to hide behind it, as far as that is sensible. */
static uint32_t default_batch_tokens(const struct plan *plan)
{
    const struct hparams *h = &plan->model.hparams;
    if (!plan->cuda)
        return largest(BATCH_TOKENS_CPU, plan->config->max_num_seqs);
    double link = plan->rates.loaded > 0 ? plan->rates.loaded : 20e9;
    double parameters = 3.0 * h->hidden * h->expert_width;
    double bytes = (double)plan_page_bytes(store_page(plan->store, 0)) / parameters;
    double tokens = plan_hiding_tokens(h->experts, h->router.top_k, bytes,
                                       sustained_flops(&plan->gpu), link);
    uint32_t most = plan->max_model_len < BATCH_TOKENS_MOST ? plan->max_model_len
                                                            : BATCH_TOKENS_MOST;
    uint32_t steps = tokens < most ? (uint32_t)(tokens / BATCH_TOKENS_STEP) + 1
                                   : (most + BATCH_TOKENS_STEP - 1) / BATCH_TOKENS_STEP;
    return largest(steps * BATCH_TOKENS_STEP, plan->config->max_num_seqs);
}

static enum status plan_batch(struct plan *plan, struct error *error)
{
    const struct hparams *h = &plan->model.hparams;
    uint32_t asked = plan->config->max_batch_tokens;
    uint32_t widest = h->heads > h->router.top_k ? h->heads : h->router.top_k;
    plan->max_batch_tokens = asked ? asked : default_batch_tokens(plan);
    /* Pairs (row, head) and (row, choice) are counted in 32 bits. */
    if (plan->max_batch_tokens > UINT32_MAX / widest)
        return error_set(error, STATUS_INVALID,
                         "--max-num-batched-tokens %u: this model allows %u at most", asked,
                         UINT32_MAX / widest);
    return STATUS_OK;
}

/* From the header alone, so that its budget is known and what does not fit is refused before
 * anything large is read. */
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

/* ---- where to compute ---- */

/* Is there a device, and can its kernels run this model? */
static bool cuda_can(const struct plan *plan, struct error *why)
{
    const struct hparams *h = &plan->model.hparams;
    if (device_cuda_count(why) == 0)
        return false;
    const struct {
        const char *what;
        uint32_t has, most;
    } limits[] = {{"experts a layer", h->experts, CUDA_EXPERTS_MAX},
                  {"experts a token", h->router.top_k, CUDA_TOP_K_MAX},
                  {"values a head", h->head_dim, CUDA_HEAD_DIM_MAX},
                  {"tokens in the vocabulary", h->vocab, CUDA_VOCAB_MAX}};
    for (unsigned i = 0; i < sizeof limits / sizeof limits[0]; i++)
        if (limits[i].has > limits[i].most) {
            error_set(why, STATUS_UNSUPPORTED, "the model has %u %s, the CUDA kernels take %u",
                      limits[i].has, limits[i].what, limits[i].most);
            return false;
        }
    for (int d = 0; d < DTYPE_COUNT; d++) {
        enum weight_layout layout;
        if (!(plan->model.dtypes >> d & 1) || cuda_backend_layout((enum dtype)d, &layout))
            continue;
        error_set(why, STATUS_UNSUPPORTED,
                  "the model has weights of type %s, which the CUDA kernels "
                  "do not read",
                  dtype_info((enum dtype)d)->name);
        return false;
    }
    return true;
}

static enum status refuse_device(const struct engine_config *config, enum status status,
                                 const char *why, struct error *error)
{
    if (config->device_ordinal == 0)
        return error_set(error, status, "--device cuda: %s", why);
    return error_set(error, status, "--device cuda:%u: %s", config->device_ordinal, why);
}

/* No device serves, for this reason: an error where a flag insists on one. */
static enum status settle_on_cpu(const struct engine_config *config, const char *why,
                                 struct error *error)
{
    if (config->device == ENGINE_DEVICE_CUDA)
        return refuse_device(config, STATUS_UNSUPPORTED, why, error);
    if (config->placement != PLACEMENT_AUTO)
        return error_set(error, STATUS_INVALID,
                         "--placement: without effect where layers are computed on the CPU: %s",
                         why);
    log_info("computing on the CPU: %s", why);
    return STATUS_OK;
}

/* `auto` takes a device if one can be used and says why if none can; `cuda` insists. */
static enum status plan_device(struct plan *plan, struct error *error)
{
    const struct engine_config *config = plan->config;
    struct device_cuda_config cuda = {.ordinal = config->device_ordinal, .measure = true};
    struct error why = {0};
    if (config->device == ENGINE_DEVICE_CPU)
        return STATUS_OK;
    if (!cuda_can(plan, &why))
        return settle_on_cpu(config, why.text, error);
    enum status status = device_cuda_open(&plan->device, &cuda, &why);
    if (status == STATUS_UNSUPPORTED)
        return settle_on_cpu(config, why.text, error);
    if (status != STATUS_OK)
        return refuse_device(config, status, why.text, error);
    plan->cuda = true;
    plan->rates = plan->device->ops->rates(plan->device);
    device_cuda_describe(plan->device, &plan->gpu);
    return STATUS_OK;
}

static void plan_backend(struct plan *plan)
{
    const struct hparams *h = &plan->model.hparams;
    uint32_t q = h->heads * h->head_dim, kv = h->kv_heads * h->head_dim;
    plan->backend = (struct cuda_backend_config){
        .device = plan->device,
        .deterministic = plan->config->deterministic,
        .rows_max = plan->max_batch_tokens,
        .places_max = plan->config->max_num_seqs,
        .context_max = plan->max_model_len,
        .heads = h->heads,
        .head_dim = h->head_dim,
        .hidden = h->hidden,
        .expert_width = h->expert_width,
        .shared_width = h->shared_width,
        .top_k = h->router.top_k,
        .experts = h->experts,
        .pages = h->layers * h->experts,
        .width_max = largest(largest(h->hidden, h->experts), largest(q, kv)),
        .vocab = h->vocab,
    };
}

struct memory_config plan_memory(const struct plan *plan)
{
    const struct engine_config *config = plan->config;
    struct memory_config memory = {.io = config->io,
                                   .direct = plan->direct,
                                   .io_threads = config->io_threads,
                                   .io_queue_depth = config->io_queue_depth};
    memcpy(memory.slots, plan->slots, sizeof memory.slots);
    return memory;
}

struct cpu_backend_config plan_cpu(const struct plan *plan)
{
    const struct engine_config *config = plan->config;
    const struct hparams *h = &plan->model.hparams;
    return (struct cpu_backend_config){
        .threads = config->threads,
        .isa = config->isa,
        .expert_width_max = largest(h->expert_width, h->shared_width),
        .context_max = plan->cuda ? 1 : plan->max_model_len,
        .rows_max = plan->max_batch_tokens,
        .cols_max = plan->model.cols_max,
        .experts_max = h->experts,
        .exact = config->exact_activations,
    };
}

/* ---- who gets which bytes ---- */

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
    if (config->kv_dtype == ENGINE_KV_DTYPE_AUTO)
        plan->kv.dtype = plan->cuda ? DTYPE_F16 : DTYPE_F32;
    uint64_t block = kv_cache_block_bytes(&plan->kv);
    uint64_t one = kv_cache_blocks_for(plan->max_model_len);
    uint64_t blocks = one * config->max_num_seqs;
    if (config->kv_bytes)
        blocks = config->kv_bytes / block;
    else if (available && blocks > available / PLAN_SHARE_KV / block)
        blocks = available / PLAN_SHARE_KV / block > one ? available / PLAN_SHARE_KV / block : one;
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
    const struct engine_config *config = plan->config;
    if (config->budget_line && plan->cuda) {
        char line[sizeof plan->gpu.name + 16];
        snprintf(line, sizeof line, "memory of the %s:", plan->gpu.name);
        config->budget_line(line, config->arg);
        budget_print(&plan->device_budget, config->budget_line, config->arg);
        config->budget_line("memory of this machine:", config->arg);
    }
    if (config->budget_line)
        budget_print(&plan->budget, config->budget_line, config->arg);
    enum status status = budget_check(&plan->device_budget, error);
    if (status != STATUS_OK)
        error_prefix(error, "%s", plan->gpu.name);
    return status == STATUS_OK ? budget_check(&plan->budget, error) : status;
}

static uint64_t left_of(const struct budget *budget)
{
    uint64_t taken = budget_total(budget);
    return budget->available > taken ? budget->available - taken : 0;
}

/* The terms that the model and the flags fix. */
static void add_fixed(struct plan *plan, struct budget *near)
{
    const struct engine_config *config = plan->config;
    const struct hparams *h = &plan->model.hparams;
    struct budget *host = &plan->budget;
    budget_add(near, "dense weights", NULL, plan->model.dense_bytes);
    budget_add(near, "activations", "--max-num-batched-tokens",
               transformer_bytes(h, plan->max_batch_tokens, config->max_num_seqs));
    if (plan->cuda) {
        uint64_t share = plan->gpu.total_bytes / LIBRARIES_SHARE;
        budget_add(near, "kernel scratch", "--max-num-batched-tokens",
                   cuda_backend_bytes(&plan->backend));
        /* Taken after this budget is made, in a step, where the lack of it would be fatal. */
        budget_add(near, "libraries and graphs", NULL,
                   share < LIBRARIES_BYTES ? share : LIBRARIES_BYTES);
    }
    if (!plan->cuda || (!config->deterministic && config->placement != PLACEMENT_DEVICE)) {
        struct cpu_backend_config cpu = plan_cpu(plan);
        budget_add(host, "compute scratch", "--max-num-batched-tokens", cpu_backend_bytes(&cpu));
    }
    struct memory_config memory = plan_memory(plan);
    budget_add(host, "reading", "--io-depth", memory_staging_bytes(plan->store, &memory));
    budget_add(host, "sequences", "--max-num-seqs",
               (uint64_t)config->max_num_seqs *
                   (plan->max_model_len + (uint64_t)h->vocab) * sizeof(uint32_t));
    struct policy_config policy = {.layers = h->layers, .experts = h->experts, .slow_clock = true,
                                   .prefetch = config->prefetch};
    budget_add(host, "paging policy", NULL, policy_bytes(&policy));
    if (config->load_lstm)
        budget_add(host, "load LSTM", "--load-lstm", lstm_budget(&plan->lstm));
    budget_add(host, "regret window", NULL, regret_bytes(store_pages(plan->store), 0));
}

/* Without a GPU both tiers are the same RAM: a host tier is there only when asked for. With one,
 * every page travels through it, and it keeps what the ring has no room for. */
static enum status plan_host_tier(struct plan *plan, struct error *error)
{
    const struct engine_config *config = plan->config;
    struct room room = config->host_experts;
    uint64_t all = store_total_slot_bytes(plan->store);
    bool resident = budget_slots_bytes(plan->store, &plan->slots[MEMORY_DEVICE]) == all;
    if (room.kind == ROOM_AUTO && !plan->cuda)
        return STATUS_OK;
    if (room.kind == ROOM_AUTO && resident) {
        uint32_t pages = store_pages(plan->store);
        room = (struct room){.kind = ROOM_PAGES,
                             .pages = pages < PASSING_PAGES ? pages : PASSING_PAGES};
    }
    uint64_t left = plan->budget.available ? left_of(&plan->budget) : all;
    left -= left / PLAN_SHARE_HOST;
    return budget_slots(plan->store, &room, left < all ? left : all, 1, "--host-experts",
                        &plan->slots[MEMORY_HOST], error);
}

/* Bytes of all pages in their files. */
static uint64_t file_bytes(const struct store *store)
{
    uint64_t bytes = 0;
    for (page_id p = 0; p < store_pages(store); p++)
        bytes += store_page(store, p)->file_bytes;
    return bytes;
}

/* The page cache is worth the copy where it can keep everything that is read again and again. */
static void plan_direct(struct plan *plan)
{
    const struct store *store = plan->store;
    uint64_t held = 0;
    for (int tier = 0; tier < MEMORY_TIERS; tier++)
        held += budget_slots_bytes(store, &plan->slots[tier]);
    bool again = held < store_total_slot_bytes(store);
    if (plan->direct == DIRECT_AUTO && plan->budget.available && again &&
        file_bytes(store) <= left_of(&plan->budget))
        plan->direct = DIRECT_OFF;
}

static enum status plan_budget(struct plan *plan, struct error *error)
{
    const struct engine_config *config = plan->config;
    struct budget *host = &plan->budget;
    struct budget *near = plan->cuda ? &plan->device_budget : host; /* where compute reads */
    budget_host(&plan->room);
    host->available = plan->room.available;
    host->why = plan->room.why[0] ? plan->room.why : NULL;
    plan->direct = config->direct;
    plan->device_budget.available = plan->gpu.free_bytes;
    add_fixed(plan, near);
    enum status status = plan_kv(plan, left_of(near), error);
    if (status != STATUS_OK)
        return status;
    budget_add(near, "KV cache", "--kv-cache-bytes",
               kv_cache_block_bytes(&plan->kv) * plan->kv.blocks);
    /* Before the ring is blamed for what is left of it. */
    if (budget_check(near, NULL) != STATUS_OK || budget_check(host, NULL) != STATUS_OK)
        return finish_budget(plan, error);
    uint64_t all = store_total_slot_bytes(plan->store), left = left_of(near);
    left -= left / (plan->cuda ? PLAN_SHARE_DEVICE : PLAN_SHARE_HOST);
    status = budget_slots(plan->store, &config->device_experts, near->available ? left : all, 1,
                          "--device-experts", &plan->slots[MEMORY_DEVICE], error);
    if (status != STATUS_OK)
        return status;
    budget_add(near, "expert ring", "--device-experts",
               budget_slots_bytes(plan->store, &plan->slots[MEMORY_DEVICE]));
    status = plan_host_tier(plan, error);
    if (status != STATUS_OK)
        return status;
    budget_add(host, "host experts", "--host-experts",
               budget_slots_bytes(plan->store, &plan->slots[MEMORY_HOST]));
    plan_direct(plan);
    return finish_budget(plan, error);
}

enum status plan_make(struct plan *plan, struct error *error)
{
    enum status status = plan_limits(plan, error);
    if (status == STATUS_OK)
        status = plan_lstm(plan, error);
    if (status == STATUS_OK)
        status = plan_device(plan, error);
    if (status == STATUS_OK)
        status = plan_batch(plan, error);
    if (status != STATUS_OK)
        return status;
    if (plan->cuda)
        plan_backend(plan);
    return plan_budget(plan, error);
}
