/* Another budget for an engine that is running: sizes are derived from what is asked for as at
 * open, held against what the machine has, and put in force between two steps. engine_resize
 * (engine.h) is its public face; this is apart from engine.c because it needs memory, pager and KV
 * pool alone. */
#ifndef MOERING_ENGINE_RESIZE_H
#define MOERING_ENGINE_RESIZE_H

#include "engine/attention/kv_cache.h"
#include "engine/engine.h"
#include "engine/paging/expert_pager.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What can be resized, and in which room. All borrowed. */
struct resize {
    struct memory *memory;
    struct expert_pager *pager;
    struct kv_cache *kv;
    struct backend *backend;
    uint32_t max_model_len, max_num_seqs;
    bool one_memory; /* the device's memory is this machine's: one budget for everything */
    uint64_t host_available;   /* bytes that may be taken on top of what is held; 0: not known */
    uint64_t device_available; /* the same on the device, unless one_memory */
};

/* As engine_resize. Waits for the device where a smaller room asks for it. */
enum status resize_apply(const struct resize *resize, const struct engine_budget *asked,
                         struct engine_budget_result *got, struct error *error);
struct engine_sizes resize_sizes(const struct memory *memory, const struct kv_cache *kv);

#ifdef __cplusplus
}
#endif
#endif
