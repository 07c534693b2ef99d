/* Tiers, an io and a device that do as they are told, and journeys between them. */
#ifndef MOERING_TESTS_MEMORY_COPY_FIXTURE_H
#define MOERING_TESTS_MEMORY_COPY_FIXTURE_H

#include <gtest/gtest.h>

#include <vector>

#include "memory/copy.h"
#include "tests/memory/fake_device.h"
#include "tests/memory/fake_io.h"
#include "tests/memory/toy_store.h"

class CopyFixture : public testing::Test {
protected:
    CopyFixture() : toy_({12}) {}
    ~CopyFixture() override
    {
        io_.end_at_poll = true;
        copy_close(&copies_);
        tier_close(&host_);
        tier_close(&device_tier_);
    }
    void open(uint32_t device_slots, uint32_t host_slots, uint32_t depth = 2, uint32_t queue = 8)
    {
        struct tier_slots slots = {};
        struct extent_place place = {};
        place.device = &device_.device;
        slots.of_class[0] = host_slots;
        if (host_slots) {
            ASSERT_EQ(tier_open(&host_, toy_.store, &slots, &place, nullptr), STATUS_OK);
        }
        place.on_device = true;
        slots.of_class[0] = device_slots;
        ASSERT_EQ(tier_open(&device_tier_, toy_.store, &slots, &place, nullptr), STATUS_OK);
        struct copy_config config = {toy_.store, host_slots ? &host_ : nullptr, &device_tier_,
                                     &io_.io,    &device_.device,               depth, queue};
        ASSERT_EQ(copy_open(&copies_, &config, nullptr), STATUS_OK);
    }
    struct transfer fetch(page_id page, enum urgency urgency, enum memory_tier tier = MEMORY_DEVICE)
    {
        struct transfer transfer = {};
        enum memory_tier lacking = MEMORY_TIERS;
        EXPECT_EQ(copy_fetch(&copies_, tier, page, urgency, &transfer, &lacking), STATUS_OK);
        check();
        return transfer;
    }
    struct transfer demand(page_id page, enum memory_tier tier = MEMORY_DEVICE)
    {
        return fetch(page, URGENCY_DEMAND, tier);
    }
    struct transfer prefetch(page_id page, enum memory_tier tier = MEMORY_DEVICE)
    {
        return fetch(page, URGENCY_PREFETCH, tier);
    }
    std::vector<memory_event> poll(uint32_t max = 16)
    {
        std::vector<memory_event> events(max);
        events.resize(copy_poll(&copies_, 0, events.data(), max));
        check();
        return events;
    }
    void check()
    {
        copy_check(&copies_);
        tier_check(&device_tier_);
        if (host_.store)
            tier_check(&host_);
    }
    enum slot_state in_host(page_id page) { return tier_where(&host_, page); }
    enum slot_state in_device(page_id page) { return tier_where(&device_tier_, page); }
    static struct transfer transfer_of(uint32_t index, uint32_t generation)
    {
        return {index, generation};
    }
    using Pages = std::vector<page_id>;

    ToyStore toy_;
    FakeIo io_;
    FakeDevice device_;
    struct tier host_ = {}, device_tier_ = {};
    struct copies copies_ = {};
};

#endif
