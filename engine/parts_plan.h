/* What opening an engine knows before anything large is allocated: where to compute, how many rows,
 * blocks and slots there will be, and who gets which bytes of which memory. parts.c carries it out;
 * engine_resize asks the same questions again. Engine thread. */
#ifndef MOERING_ENGINE_PARTS_PLAN_H
#define MOERING_ENGINE_PARTS_PLAN_H

#include "engine/attention/kv_cache.h"
#include "engine/backend/cuda/cuda_backend.h"
#include "engine/engine.h"
#include "engine/model/model.h"
#include "engine/predict/lstm_net.h"
#include "memory/device_cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Of what is available after the fixed terms: one part in so many. The KV pool that nobody asked
 * for takes up to KV; left alone are HOST for stacks, sockets, page tables and the rest of the
 * machine, DEVICE for the driver and its modules. */
enum { PLAN_SHARE_KV = 4, PLAN_SHARE_HOST = 10, PLAN_SHARE_DEVICE = 32 };

struct plan {
    const struct engine_config *config;
    struct model_plan model;
    struct store *store;         /* until memory takes it over */
    struct lstm_sizes lstm;      /* of --load-lstm */
    uint32_t max_model_len;
    uint32_t max_batch_tokens;
    /* Where to compute. On the CPU the device tier is plain RAM, and both budgets are one. */
    bool cuda;
    struct device *device;       /* opened with cuda, until memory takes it over */
    struct device_cuda_info gpu;
    struct device_rates rates;
    struct cuda_backend_config backend; /* with cuda */
    struct kv_cache_config kv;
    struct tier_slots slots[MEMORY_TIERS];
    enum direct_reads direct;    /* what engine_config.direct comes to */
    struct budget_host_room room;
    struct budget budget;        /* of host memory */
    struct budget device_budget; /* of the device's; no terms on the CPU */
};

/* Reads no tensor, allocates nothing large, opens the device. INVALID, UNSUPPORTED, NO_MEMORY:
 * names the flag. The caller closes what is left in `plan` (store, device), also after a
 * failure. */
enum status plan_make(struct plan *plan, struct error *error);

/* How pages are to be read and where they will be; the device is left out. */
struct memory_config plan_memory(const struct plan *plan);
/* The processors of this machine: those that compute layers, or experts beside a GPU. */
struct cpu_backend_config plan_cpu(const struct plan *plan);
/* Bytes of weights in a slot that holds the page. */
uint64_t plan_page_bytes(const struct page *page);

/* Tokens in a step above which copying all experts of a layer hides behind computing them (SE-MoE's
 * ring; T* = E b F / (2 k BW)): bytes a parameter, sustained operations a second, link bytes a
 * second. */
double plan_hiding_tokens(uint32_t experts, uint32_t top_k, double bytes_per_parameter,
                          double flops, double link_bytes_per_s);

#ifdef __cplusplus
}
#endif
#endif
