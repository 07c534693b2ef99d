/* The slot table against a plain array, and the device's plan of a layer against the host's. */
#include "engine/moe/dispatch.h"
#include "tests/engine/backend/cuda/cuda_checks.h"

namespace {

/* A page's address: never read here, only compared and added to. */
const uint8_t *slot_of(uint32_t page)
{
    return reinterpret_cast<const uint8_t *>((uintptr_t)(page + 1) << 20);
}

class SlotsTest : public testing::TestWithParam<uint64_t> {
protected:
    void SetUp() override { restart_machine(GetParam()); }
};

/* Routings of a batch, planned by the host and by the device. */
struct Planned {
    uint32_t rows, top_k, experts, layer;
    std::vector<uint32_t> chosen;
    struct dispatch dispatch = {};
    DeviceList<struct cuda_expert> found;
    DeviceList<uint32_t> count, gather, place, offsets, device_chosen, stopped;
    DeviceList<const uint8_t *> table;

    Planned(uint32_t rows_, uint32_t top_k_, uint32_t experts_, uint32_t layer_,
            const std::vector<uint32_t> &chosen_, const std::vector<const uint8_t *> &slots)
        : rows(rows_), top_k(top_k_), experts(experts_), layer(layer_), chosen(chosen_),
          found(chosen_.size()), count(std::vector<uint32_t>{77}), gather(chosen_.size()),
          place(chosen_.size()), offsets(rows_ + 1), device_chosen(chosen_),
          stopped(std::vector<uint32_t>{0}), table(slots)
    {
        struct error error = {};
        EXPECT_EQ(dispatch_open(&dispatch, rows, (uint32_t)chosen.size(), experts, &error),
                  STATUS_OK);
        std::vector<float> weights(top_k);
        dispatch_reset(&dispatch, rows);
        for (uint32_t r = 0; r < rows; r++)
            dispatch_add_row(&dispatch, &chosen[(size_t)r * top_k], weights.data(), top_k);
        dispatch_build(&dispatch);
    }
    ~Planned() { dispatch_close(&dispatch); }
    void ask(cudaStream_t stream)
    {
        struct cuda_plan plan = {found, count, gather, place, offsets};
        struct resident_args args = {};
        args.chosen = device_chosen;
        args.rows = rows;
        args.top_k = top_k;
        args.layer = layer;
        args.experts = experts;
        args.offset[0] = 0;
        args.offset[1] = 64;
        args.offset[2] = 4096;
        cuda_plan_resident(stream, &plan, &args, table, stopped);
    }
    void expect_the_hosts(cudaStream_t stream, const std::string &what) const
    {
        std::vector<struct cuda_expert> got = found.get(stream);
        ASSERT_EQ(stopped.get(stream)[0], 0u) << what;
        ASSERT_EQ(count.get(stream)[0], dispatch.touched_count) << what;
        for (uint32_t i = 0; i < dispatch.touched_count; i++) {
            uint32_t e = dispatch.touched[i];
            const uint8_t *slot = slot_of(layer * experts + e);
            ASSERT_EQ(got[i].gate, slot) << what << " expert " << e;
            ASSERT_EQ(got[i].up, slot + 64) << what << " expert " << e;
            ASSERT_EQ(got[i].down, slot + 4096) << what << " expert " << e;
            ASSERT_EQ(got[i].begin, dispatch.expert_offsets[e]) << what << " expert " << e;
            ASSERT_EQ(got[i].end, dispatch.expert_offsets[e + 1]) << what << " expert " << e;
        }
        uint32_t choices = rows * top_k;
        std::vector<uint32_t> want_gather(dispatch.gather, dispatch.gather + choices);
        std::vector<uint32_t> want_place(dispatch.place, dispatch.place + choices);
        std::vector<uint32_t> want_offsets(dispatch.row_offsets, dispatch.row_offsets + rows + 1);
        ASSERT_EQ(gather.get(stream), want_gather) << what;
        ASSERT_EQ(place.get(stream), want_place) << what;
        ASSERT_EQ(offsets.get(stream), want_offsets) << what;
    }
};

std::vector<const uint8_t *> full_table(uint32_t pages)
{
    std::vector<const uint8_t *> slots;
    for (uint32_t page = 0; page < pages; page++)
        slots.push_back(slot_of(page));
    return slots;
}

/* Distinct experts for each row; `skew` > 1 prefers the low ones. */
std::vector<uint32_t> routing(Noise &noise, uint32_t rows, uint32_t top_k, uint32_t experts,
                              uint32_t skew)
{
    std::vector<uint32_t> chosen, all(experts);
    for (uint32_t r = 0; r < rows; r++) {
        for (uint32_t e = 0; e < experts; e++)
            all[e] = e;
        for (uint32_t i = 0; i < top_k; i++) {
            uint32_t left = experts - i, pick = left;
            for (uint32_t s = 0; s < skew; s++)
                pick = std::min(pick, noise.below(left));
            std::swap(all[i], all[i + pick]);
            chosen.push_back(all[i]);
        }
    }
    return chosen;
}

} // namespace

TEST_P(SlotsTest, changes_are_in_force_in_the_order_given)
{
    Stream stream;
    Noise noise((uint32_t)GetParam());
    const uint32_t pages = 40;
    std::vector<const uint8_t *> want(pages, nullptr);
    DeviceList<const uint8_t *> table(want);
    for (uint32_t count : {0u, 1u, 2u, 31u, 33u, 127u, (uint32_t)CUDA_SLOT_CHANGES_MAX}) {
        std::vector<uint32_t> page(count);
        std::vector<const uint8_t *> slot(count);
        for (uint32_t i = 0; i < count; i++) { /* more changes than pages: many come twice */
            page[i] = noise.below(pages);
            slot[i] = noise.below(4) == 0 ? nullptr : slot_of(noise.below(1000));
            want[page[i]] = slot[i];
        }
        cuda_slots_change(stream, table, page.data(), slot.data(), count);
        std::fill(page.begin(), page.end(), 0u); /* parameters: ours again at once */
        std::fill(slot.begin(), slot.end(), slot_of(5000));
        if (count == 31) /* two launches without a wait between them */
            continue;
        ASSERT_EQ(table.get(stream), want) << count;
    }
}

TEST_P(SlotsTest, one_page_twice_in_one_call_ends_where_it_was_put_last)
{
    Stream stream;
    DeviceList<const uint8_t *> table(2);
    std::vector<uint32_t> page = {1, 0, 1, 1};
    std::vector<const uint8_t *> slot = {slot_of(3), slot_of(4), nullptr, slot_of(5)};
    cuda_slots_change(stream, table, page.data(), slot.data(), 4);
    EXPECT_EQ(table.get(stream), (std::vector<const uint8_t *>{slot_of(4), slot_of(5)}));
    cuda_slots_change(stream, table, page.data(), slot.data(), 3);
    EXPECT_EQ(table.get(stream), (std::vector<const uint8_t *>{slot_of(4), nullptr}));
}

TEST(slots, more_changes_than_one_launch_takes_are_a_callers_bug)
{
    EXPECT_DEATH(cuda_slots_change(nullptr, nullptr, nullptr, nullptr, CUDA_SLOT_CHANGES_MAX + 1),
                 "129 changes of slots");
}

TEST_P(SlotsTest, the_plan_is_the_hosts)
{
    Stream stream;
    Noise noise((uint32_t)GetParam() + 10);
    for (uint32_t experts : {1u, 2u, 31u, 33u, 127u, 256u, 257u, 512u}) {
        for (uint32_t rows : {0u, 1u, 2u, 31u, 33u, 64u, 127u}) {
            uint32_t top_k = std::min(1 + noise.below(9), experts), layer = noise.below(3);
            Planned plan(rows, top_k, experts, layer,
                         routing(noise, rows, top_k, experts, 1 + noise.below(3)),
                         full_table(3 * experts));
            plan.ask(stream);
            plan.expect_the_hosts(stream, std::to_string(rows) + " rows of " +
                                              std::to_string(top_k) + " among " +
                                              std::to_string(experts));
        }
    }
}

TEST_P(SlotsTest, the_largest_plan_is_the_hosts)
{
    Stream stream;
    Noise noise((uint32_t)GetParam() + 20);
    Planned plan(512, 8, 512, 1, routing(noise, 512, 8, 512, 2), full_table(1024));
    plan.ask(stream);
    plan.expect_the_hosts(stream, "512 rows");
}

TEST_P(SlotsTest, all_rows_on_the_same_experts)
{
    Stream stream;
    for (uint32_t rows : {1u, 33u, 512u}) {
        for (uint32_t expert : {0u, 77u, 127u}) {
            Planned one(rows, 1, 128, 0, std::vector<uint32_t>(rows, expert), full_table(128));
            one.ask(stream);
            one.expect_the_hosts(stream, "expert " + std::to_string(expert));
        }
        std::vector<uint32_t> all; /* every row to all eight, each row in an order of its own */
        for (uint32_t c = 0; c < rows * 8; c++)
            all.push_back((c * 3 + c / 8) % 8);
        Planned every(rows, 8, 8, 0, all, full_table(8));
        every.ask(stream);
        every.expect_the_hosts(stream, "all experts");
    }
}

TEST_P(SlotsTest, a_page_without_slot_stops_only_where_it_was_chosen)
{
    Stream stream;
    Noise noise((uint32_t)GetParam() + 30);
    const uint32_t experts = 300, layers = 3, rows = 5, top_k = 4;
    std::vector<uint32_t> chosen = routing(noise, rows, top_k, experts, 1);
    for (uint32_t layer = 0; layer < layers; layer++) {
        std::vector<const uint8_t *> slots(layers * experts, nullptr);
        for (uint32_t e : chosen) /* what nobody chose and other layers' pages are gone */
            slots[layer * experts + e] = slot_of(layer * experts + e);
        Planned whole(rows, top_k, experts, layer, chosen, slots);
        whole.ask(stream);
        whole.expect_the_hosts(stream, "layer " + std::to_string(layer));
        for (uint32_t c : {0u, 7u, rows * top_k - 1}) {
            std::vector<const uint8_t *> holed = slots;
            holed[layer * experts + chosen[c]] = nullptr;
            Planned lacking(rows, top_k, experts, layer, chosen, holed);
            lacking.ask(stream);
            EXPECT_EQ(lacking.count.get(stream)[0], 0u);
            EXPECT_EQ(lacking.stopped.get(stream)[0], layer + 1);
            lacking.layer = layer + 1; /* what follows is stopped by the first, not by itself */
            lacking.ask(stream);
            EXPECT_EQ(lacking.count.get(stream)[0], 0u);
            EXPECT_EQ(lacking.stopped.get(stream)[0], layer + 1);
        }
    }
}

TEST_P(SlotsTest, where_stopped_before_nothing_is_planned_though_all_is_there)
{
    Stream stream;
    Planned plan(2, 2, 4, 2, {0, 1, 3, 2}, full_table(12));
    plan.stopped.put({2});
    plan.ask(stream);
    EXPECT_EQ(plan.count.get(stream)[0], 0u);
    EXPECT_EQ(plan.stopped.get(stream)[0], 2u);
    plan.stopped.put({0}); /* go */
    plan.ask(stream);
    plan.expect_the_hosts(stream, "after go");
}

TEST_P(SlotsTest, changes_asked_for_before_a_plan_are_seen_and_later_ones_are_not)
{
    Stream stream;
    std::vector<const uint8_t *> slots = full_table(4);
    const uint8_t *there = slots[3], *gone = nullptr;
    uint32_t page = 3;
    slots[3] = nullptr;
    Planned plan(2, 2, 4, 0, {0, 1, 3, 2}, slots);
    cuda_slots_change(stream, plan.table, &page, &there, 1);
    plan.ask(stream);
    cuda_slots_change(stream, plan.table, &page, &gone, 1);
    plan.expect_the_hosts(stream, "between the changes");
    plan.ask(stream);
    EXPECT_EQ(plan.stopped.get(stream)[0], 1u);
}

TEST(slots, more_than_shared_memory_holds_is_a_callers_bug)
{
    struct cuda_plan plan = {};
    struct resident_args args = {};
    args.rows = 1000;
    args.top_k = 8;
    args.experts = 512;
    EXPECT_DEATH(cuda_plan_resident(nullptr, &plan, &args, nullptr, nullptr),
                 "1000 rows of 8 choices among 512 experts");
}

INSTANTIATE_TEST_SUITE_P(orders, SlotsTest, testing::ValuesIn(machine_seeds()));
