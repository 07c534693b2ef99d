#include "server/moering_v1/stats_encode.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace {

struct Encoded {
    struct pb_arena arena = {};
    Moering__V1__GetStatsResponse out;
    bool ok;

    Encoded(const struct engine_info &info, const struct engine_stats &stats,
            const std::vector<struct engine_load> &loads, size_t budget = PB_BUDGET_MAX)
    {
        pb_arena_init(&arena, budget);
        moering__v1__get_stats_response__init(&out);
        ok = stats_encode(&arena, &info, &stats, loads.data(), &out);
    }
    ~Encoded() { pb_arena_reset(&arena); }
};

struct Case {
    struct engine_info info = {};
    struct engine_stats stats = {};
    std::vector<struct engine_load> loads;

    Case() : loads(3 * LOAD_PHASES)
    {
        info.layers = 3;
        stats.sizes.slots[MEMORY_DEVICE] = 5;
        stats.sizes.slots[MEMORY_HOST] = 3;
        stats.experts = {30, 10, 4096, 2500000};
        stats.policy.prefetch.issued = 9;
        stats.policy.prefetch.used = 6;
        stats.policy.prefetch.wasted = 2;
        stats.policy.prefetch.active = true;
        stats.policy.prefetch.profit = 0.25;
        stats.policy.prefetch.threshold = 0.5f;
        stats.policy.prefetch.budget = 3.5;
        stats.policy.foresight = FORESIGHT_LOOKAHEAD;
        stats.policy.foresight_loss[FORESIGHT_TRANSITION] = 0.3;
        stats.policy.foresight_loss[FORESIGHT_PREVIOUS] = 0.4;
        stats.policy.foresight_loss[FORESIGHT_LOOKAHEAD] = 0.1;
        stats.stream.slots = 2;
        stats.stream.streamed_steps = 4;
        stats.stream.demand_steps = 40;
        stats.stream.threshold = 0.75;
        stats.stream.break_even_rows = 1200;
        stats.steps = 5;
        stats.device_wait_ns = 4000000;
        stats.host_experts_ns = 500000;
        stats.placement = {70, 30, 2, 0, 0, 0.125};
        info.placement = PLACEMENT_AUTO;
        stats.page_ns = 1500000;
        stats.layer_ns = 250000;
        stats.regret = {2, 8200, 0.6, 0.8, 0.75, 16384};
        stats.regret_ns = 3000000;
    }
    /* A layer that has had ticks in one phase. */
    void tick(uint32_t layer, enum load_phase phase, bool stable)
    {
        struct engine_load &load = loads[layer * LOAD_PHASES + phase];
        load.state.ticks = 7 + layer;
        load.state.stable = stable;
        load.state.cv = 0.125f;
        load.state.tv = 0.25f;
        load.state.jump = 0.5f;
        load.state.floor = 0.0625f;
        load.state.since = 6;
        load.horizon[0] = {"window", 0.75f, 6};
        load.horizon[1] = {"ewma", 0.5f, 1};
        load.horizon[2] = {"arima", 0, 0};
    }
};

TEST(stats_encode, says_what_was_counted)
{
    Case c;
    Encoded e(c.info, c.stats, c.loads);
    ASSERT_TRUE(e.ok);
    EXPECT_EQ(30u, e.out.experts->hits);
    EXPECT_DOUBLE_EQ(2.5, e.out.experts->stall_ms);
    ASSERT_EQ(2u, e.out.n_tiers);
    EXPECT_EQ(5u, e.out.tiers[0]->slots);
    EXPECT_EQ(9u, e.out.prefetch->issued);
    EXPECT_EQ(9u, e.out.prefetch_issued);
    EXPECT_EQ(6u, e.out.prefetch_used);
    EXPECT_EQ(2u, e.out.prefetch_wasted);
    EXPECT_DOUBLE_EQ(0.75, e.out.prefetch->precision);
    EXPECT_TRUE(e.out.prefetch->active);
    EXPECT_DOUBLE_EQ(0.25, e.out.prefetch->profit);
    EXPECT_DOUBLE_EQ(0.5, e.out.prefetch->threshold);
    EXPECT_DOUBLE_EQ(3.5, e.out.prefetch->budget);
    EXPECT_STREQ("lookahead", e.out.foresight->predictor);
    EXPECT_DOUBLE_EQ(0.3, e.out.foresight->transition_loss);
    EXPECT_DOUBLE_EQ(0.4, e.out.foresight->previous_loss);
    EXPECT_DOUBLE_EQ(0.1, e.out.foresight->lookahead_loss);
    EXPECT_EQ(2u, e.out.stream->layers);
    EXPECT_EQ(4u, e.out.stream->streamed_steps);
    EXPECT_EQ(40u, e.out.stream->demand_steps);
    EXPECT_DOUBLE_EQ(0.75, e.out.stream->threshold);
    EXPECT_DOUBLE_EQ(1200, e.out.stream->break_even_rows);
    EXPECT_DOUBLE_EQ(2.5 / (5 * 3), e.out.stall_layer_ms);
    EXPECT_DOUBLE_EQ(4, e.out.device_wait_ms);
    EXPECT_DOUBLE_EQ(0.5, e.out.host_experts_ms);
    EXPECT_EQ(70u, e.out.placement->at_device);
    EXPECT_EQ(30u, e.out.placement->at_host);
    EXPECT_EQ(2u, e.out.placement->tried);
    EXPECT_DOUBLE_EQ(0.125, e.out.placement->error);
    EXPECT_STREQ("", e.out.placement->mode);
    EXPECT_EQ(2u, e.out.regret->windows);
    EXPECT_EQ(8200u, e.out.regret->requests);
    EXPECT_DOUBLE_EQ(0.6, e.out.regret->hit_rate);
    EXPECT_DOUBLE_EQ(0.8, e.out.regret->oracle_hit_rate);
    EXPECT_DOUBLE_EQ(0.75, e.out.regret->share);
    EXPECT_EQ(16384u, e.out.regret->next_requests);
    EXPECT_DOUBLE_EQ(3, e.out.regret->cost_ms);
    EXPECT_DOUBLE_EQ(1.5, e.out.page_ms);
    EXPECT_DOUBLE_EQ(0.25, e.out.layer_ms);
    EXPECT_EQ(0u, e.out.n_loads);
}

TEST(stats_encode, only_layers_that_had_a_tick)
{
    Case c;
    c.tick(0, LOAD_DECODE, false);
    c.tick(2, LOAD_PREFILL, true);
    Encoded e(c.info, c.stats, c.loads);
    ASSERT_TRUE(e.ok);
    ASSERT_EQ(2u, e.out.n_loads);
    const Moering__V1__LayerLoadStats *first = e.out.loads[0], *second = e.out.loads[1];
    EXPECT_EQ(0u, first->layer);
    EXPECT_STREQ("decode", first->phase);
    EXPECT_STREQ("transient", first->state);
    EXPECT_EQ(7u, first->ticks);
    EXPECT_EQ(2u, second->layer);
    EXPECT_STREQ("prefill", second->phase);
    EXPECT_STREQ("stable", second->state);
    EXPECT_EQ(9u, second->ticks);
    EXPECT_EQ(6u, second->state_since);
    EXPECT_DOUBLE_EQ(0.125, second->cv);
    EXPECT_DOUBLE_EQ(0.25, second->tv);
    EXPECT_DOUBLE_EQ(0.5, second->jump);
    EXPECT_DOUBLE_EQ(0.0625, second->sampling_floor);
    ASSERT_EQ(3u, second->n_forecasts);
    const char *names[] = {"window", "ewma", "arima"};
    const double errors[] = {0.75, 0.5, 0};
    const uint32_t ticks[] = {1, 10, 100}, scored[] = {6, 1, 0};
    for (size_t h = 0; h < 3; h++) {
        EXPECT_EQ(ticks[h], second->forecasts[h]->ticks);
        EXPECT_STREQ(names[h], second->forecasts[h]->predictor);
        EXPECT_DOUBLE_EQ(errors[h], second->forecasts[h]->error_ratio);
        EXPECT_EQ(scored[h], second->forecasts[h]->scored);
    }
    /* And it survives the wire. */
    std::string bytes(protobuf_c_message_get_packed_size(&e.out.base), '\0');
    protobuf_c_message_pack(&e.out.base, reinterpret_cast<uint8_t *>(&bytes[0]));
    auto *back = moering__v1__get_stats_response__unpack(
        nullptr, bytes.size(), reinterpret_cast<const uint8_t *>(bytes.data()));
    ASSERT_NE(nullptr, back);
    ASSERT_EQ(2u, back->n_loads);
    EXPECT_STREQ("arima", back->loads[1]->forecasts[2]->predictor);
    moering__v1__get_stats_response__free_unpacked(back, nullptr);
}

TEST(stats_encode, nothing_known_divides_by_nothing)
{
    struct prefetch_figures none = {};
    EXPECT_EQ(0, stats_precision(&none));
    Case c;
    c.stats.policy.prefetch = none;
    Encoded e(c.info, c.stats, c.loads);
    EXPECT_EQ(0, e.out.prefetch->precision);
    EXPECT_FALSE(e.out.prefetch->active);
}

TEST(stats_encode, an_exhausted_arena_is_told)
{
    Case c;
    for (uint32_t l = 0; l < 3; l++)
        c.tick(l, LOAD_PREFILL, false);
    size_t refused = 0;
    while (!Encoded(c.info, c.stats, c.loads, 64 + 64 * refused).ok)
        ASSERT_LT(++refused, 200u);
    EXPECT_GT(refused, 8u); /* wherever it ran out */
}

} // namespace
