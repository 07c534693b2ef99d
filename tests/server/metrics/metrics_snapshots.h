/* A snapshot with a figure of its own in every place, without an engine behind it. */
#ifndef MOERING_TESTS_SERVER_METRICS_METRICS_SNAPSHOTS_H
#define MOERING_TESTS_SERVER_METRICS_METRICS_SNAPSHOTS_H

#include <string.h>

#include <vector>

#include "server/metrics/metrics_snapshot.h"

namespace metrics_test {

struct Snapshot {
    struct metrics_snapshot s = {};
    struct request_metrics requests;
    struct engine_info info = {};
    std::vector<struct engine_layer_stats> layers;
    std::vector<struct engine_load> loads;

    explicit Snapshot(uint32_t layer_count = 3, uint32_t experts = 8)
    {
        request_metrics_init(&requests, 1000);
        s.start_ns = 1000000000;
        s.now_ns = 3500000000;
        s.state = METRICS_LOADING;
        s.thread.progress = 0.25;
        strcpy(s.thread.phase, "experts");
        s.requests = &requests;
        info.model_name = info.architecture = "toy";
        info.weight_dtype = "F32";
        info.backend = "cpu";
        info.isa = "avx2";
        info.threads = 2;
        info.layers = layer_count;
        info.experts = experts;
        info.pages = layer_count * experts;
        info.page_bytes_total = 1000 * info.pages + 7;
        info.kv_block_tokens = 16;
        info.kv_heads = 2;
        info.head_dim = 8;
        layers.resize(layer_count);
        loads.resize(layer_count * LOAD_PHASES);
    }
    Snapshot(const Snapshot &) = delete;
    Snapshot &operator=(const Snapshot &) = delete;

    void Ready()
    {
        s.state = METRICS_READY;
        s.model_name = "a/model";
        s.info = &info;
        s.layers = layers.data();
        s.loads = loads.data();
        s.engine.sizes.kv_blocks = 40;
        s.engine.sizes.kv_bytes = 2ull * 40 * 16 * info.layers * 2 * 8 * 4;
    }
    void Fill()
    {
        Ready();
        struct batcher_stats &b = s.thread.batcher;
        b.now = {4, 5, 1, 10, 40, 6};
        b.finished = 11;
        b.cancelled = 12;
        b.failed = 13;
        s.rejected = 14;
        b.prompt_tokens = 15;
        b.generation_tokens = 16;
        b.prefix_queries = 17;
        b.prefix_hits = 12;
        b.steps[0] = 2;
        b.steps[2] = 1;
        b.step_tokens = 18;
        for (int i = 0; i < REQUEST_ENDS; i++)
            requests.ended[i] = 20u + (unsigned)i;
        histogram_observe(&requests.histogram[REQUEST_TTFT], 0.003, 2);
        FillEngine(s.engine);
        for (uint32_t l = 0; l < info.layers; l++) {
            layers[l].tier[MEMORY_DEVICE] = {100 + l, 200 + l, 300 + l, 400 + l,
                                             500 + l, 600 + l, 1 + l};
            layers[l].tier[MEMORY_HOST] = {700 + l, 800 + l, 900 + l, 0, 0, 0, 2 + l};
        }
        loads[0 * LOAD_PHASES + LOAD_DECODE].state.ticks = 9;
        loads[0 * LOAD_PHASES + LOAD_DECODE].state.stable = true;
        loads[0 * LOAD_PHASES + LOAD_DECODE].state.cv = 0.5f;
        loads[1 * LOAD_PHASES + LOAD_DECODE].state.ticks = 8;
    }
    static void FillEngine(struct engine_stats &e)
    {
        e.steps = 30;
        e.tokens_prefill = 31;
        e.kv_blocks_idle = 8;
        e.tokens_decode = 32;
        e.step_ns = 33000000;
        e.experts = {34, 35, 36, 37000000};
        e.evictions = 38;
        e.way_bytes[ENGINE_STORAGE_TO_HOST] = 41;
        e.way_bytes[ENGINE_STORAGE_TO_DEVICE] = 42;
        e.way_bytes[ENGINE_HOST_TO_DEVICE] = 43;
        e.resident_pages = 44;
        e.host_pages = 45;
        e.resident_bytes = 46;
        e.host_bytes = 47;
        e.sizes.slots[MEMORY_DEVICE] = 48;
        e.sizes.slots[MEMORY_HOST] = 49;
        e.sizes.slot_bytes[MEMORY_DEVICE] = 50;
        e.sizes.slot_bytes[MEMORY_HOST] = 51;
        e.policy.prefetch.issued = 52;
        e.policy.prefetch.used = 53;
        e.policy.prefetch.wasted = 54;
        e.policy.prefetch.active = true;
        e.policy.prefetch.profit = 0.5;
        e.policy.prefetch.threshold = 0.25f;
        e.policy.foresight = FORESIGHT_PREVIOUS;
        e.policy.foresight_loss[FORESIGHT_PREVIOUS] = 0.125;
        e.stalls.steps[0] = 55;
        e.stalls.steps[ENGINE_STALL_BOUNDS] = 56;
        e.regret.windows = 57;
        e.regret.requests = 58;
        e.regret.hit_rate = 0.5;
        e.regret.oracle_hit_rate = 0.75;
    }
};

} // namespace metrics_test
#endif
