/* The whole of memory/ with a CUDA device over the host double: seeded schedules of fetches,
 * kernels that read slots, evictions behind fences and resizes. What a kernel saw of a page is
 * compared with the file, after the fact: whether it was the page's bytes at the time when the
 * kernel ran is the one thing that fences are for. */
#include "memory/memory.h"

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "memory/base/log.h"
#include "memory/device_cuda.h"
#include "tests/memory/toy_store.h"
#include "tests/support/cuda_host/cuda_host.h"

namespace {

constexpr uint32_t kSample = 64;  /* bytes of each part that a kernel looks at */
constexpr uint32_t kLooks = 400;  /* of one schedule, at most */
constexpr uint32_t kParts = 3;

/* The last bytes of each part of a page in a slot. */
__global__ void look(const uint8_t *slot, uint4 ends, uint8_t *out)
{
    const uint32_t end[kParts] = {ends.x, ends.y, ends.z};
    for (uint32_t part = 0; part < kParts; part++)
        for (uint32_t i = threadIdx.x; i < kSample; i += blockDim.x)
            out[part * kSample + i] = slot[end[part] - kSample + i];
}

enum fault { NO_FAULT, NO_FENCE };

class Schedule {
public:
    Schedule(uint64_t seed, enum fault fault)
        : random_(seed * 977 + 5), toy_({7, 5}, seed), fault_(fault)
    {
        cuda_host_reset(seed);
        if (random_.chance(30)) /* some or all of the host tier is staged */
            cuda_host_set_pin_limit(2 * 4096 + random_.below(16) * 4096);
        struct device_cuda_config cuda = {0, 4096, false};
        struct memory_config config = {};
        struct error error = {};
        if (device_cuda_open(&device_, &cuda, &error))
            throw std::runtime_error(error.text);
        config.device = device_;
        config.io = IO_SYNC;
        for (uint32_t c = 0; c < 2; c++) {
            config.slots[MEMORY_HOST].of_class[c] = 1 + random_.below(5);
            config.slots[MEMORY_DEVICE].of_class[c] = 1 + random_.below(3);
        }
        if (memory_open(&memory_, toy_.store, &config, &error))
            throw std::runtime_error(error.text);
        store_ = toy_.release();
        struct memory_listener listener = {this, [](void *self, page_id page, const uint8_t *slot) {
                                               static_cast<Schedule *>(self)->moved(page, slot);
                                           }};
        memory_listen(memory_, listener);
        seen_ = static_cast<uint8_t *>(device_->ops->alloc(device_, kLooks * kParts * kSample));
    }
    ~Schedule()
    {
        memory_close(memory_);
        EXPECT_EQ(cuda_host_leaks(), std::vector<std::string>());
    }

    void run(int operations)
    {
        for (int i = 0; i < operations && !testing::Test::HasFailure(); i++) {
            switch (random_.below(12)) {
            case 0: case 1: case 2: case 3: fetch(); break;
            case 4: case 5: case 6: poll(random_.chance(50) ? 1000000 : 0); break;
            case 7: case 8: use(); break;
            case 9: case 10: evict(); break;
            default: if (random_.chance(30)) resize();
            }
            memory_check(memory_);
        }
        struct memory_counters now;
        do {
            poll(1000000);
            memory_counters(memory_, &now);
        } while (now.in_flight + now.queued[0] + now.queued[1] > 0 && !testing::Test::HasFailure());
    }
    /* How many kernels saw something else than the page that they were given. */
    uint32_t wrong()
    {
        std::vector<uint8_t> seen(kLooks * kParts * kSample);
        EXPECT_TRUE(device_->ops->reached(device_, device_->ops->fence(device_), true));
        EXPECT_EQ(cudaMemcpy(seen.data(), seen_, seen.size(), cudaMemcpyDeviceToHost), cudaSuccess);
        uint32_t count = 0;
        for (size_t i = 0; i < looked_.size(); i++) {
            const struct page *page = store_page(store_, looked_[i]);
            bool same = true;
            for (uint32_t part = 0; part < kParts; part++)
                same &= memcmp(&seen[(i * kParts + part) * kSample],
                               &toy_.bytes[page->part[part].offset + page->part[part].bytes -
                                           kSample], kSample) == 0;
            count += !same;
        }
        return count;
    }
    uint64_t looks() const { return looked_.size(); }
    uint64_t landed = 0, resized = 0;

private:
    void moved(page_id page, const uint8_t *slot)
    {
        EXPECT_EQ(there_.count(page), slot ? 0u : 1u);
        if (slot)
            there_[page] = slot;
        else
            there_.erase(page);
    }
    void fetch()
    {
        page_id page = random_.below(store_pages(store_));
        enum memory_tier tier = random_.chance(20) ? MEMORY_HOST : MEMORY_DEVICE, lacking;
        if (memory_where(memory_, tier, page) == SLOT_READY)
            return;
        enum urgency urgency = random_.chance(60) ? URGENCY_DEMAND : URGENCY_PREFETCH;
        if (memory_fetch(memory_, tier, page, urgency, nullptr, &lacking) == STATUS_FULL &&
            lacking != MEMORY_TIERS)
            evict(lacking, store_page(store_, page)->size_class);
    }
    void poll(uint64_t wait_ns)
    {
        struct memory_event events[4];
        uint32_t n = memory_poll(memory_, wait_ns, events, 4);
        for (uint32_t i = 0; i < n; i++) {
            landed += events[i].status == STATUS_OK;
            ASSERT_TRUE(events[i].status == STATUS_OK || events[i].status == STATUS_CANCELLED)
                << memory_error(memory_);
        }
    }
    /* A kernel reads a page that is there; nobody waits for it. */
    void use()
    {
        if (there_.empty() || looked_.size() == kLooks)
            return;
        auto at = there_.begin();
        std::advance(at, random_.below((uint32_t)there_.size()));
        const struct page *page = store_page(store_, at->first);
        uint32_t end[kParts];
        for (uint32_t i = 0; i < kParts; i++)
            end[i] = page->part[i].slot_offset + (uint32_t)page->part[i].bytes;
        const uint8_t *slot = memory_pin(memory_, at->first);
        ASSERT_EQ(slot, at->second) << "the listener was told otherwise";
        cudaLaunchConfig_t config = {};
        config.gridDim = dim3(1);
        config.blockDim = dim3(32);
        config.stream = static_cast<cudaStream_t>(device_cuda_stream(device_));
        uint8_t *out = seen_ + looked_.size() * kParts * kSample;
        uint4 ends = make_uint4(end[0], end[1], end[2], 0);
        ASSERT_EQ(cudaLaunchKernelEx(&config, look, slot, ends, out), cudaSuccess);
        looked_.push_back(at->first);
        memory_unpin(memory_, at->first);
    }
    uint64_t fence() { return fault_ == NO_FENCE ? 0 : device_->ops->fence(device_); }
    void evict() { evict(random_.chance(30) ? MEMORY_HOST : MEMORY_DEVICE, random_.below(2)); }
    void evict(enum memory_tier tier, uint32_t size_class)
    {
        page_id page = memory_sweep(memory_, tier, size_class);
        if (page == PAGE_NONE)
            return;
        if (tier == MEMORY_DEVICE)
            memory_evict_after(memory_, page, fence());
        else
            memory_evict(memory_, tier, page);
    }
    void resize()
    {
        struct tier_slots slots = {};
        for (uint32_t c = 0; c < 2; c++)
            slots.of_class[c] = 1 + random_.below(store_class_pages(store_, c));
        enum memory_tier tier = random_.chance(50) ? MEMORY_HOST : MEMORY_DEVICE;
        struct error error = {};
        ASSERT_EQ(memory_resize(memory_, tier, &slots, tier == MEMORY_DEVICE ? fence() : 0, &error),
                  STATUS_OK) << error.text;
        resized++;
    }

    scratch::Random random_;
    ToyStore toy_;
    enum fault fault_;
    struct device *device_ = nullptr;
    struct memory *memory_ = nullptr;
    const struct store *store_ = nullptr;
    uint8_t *seen_ = nullptr;
    std::vector<page_id> looked_;
    std::map<page_id, const uint8_t *> there_;
};

class MemoryCuda : public testing::Test {
protected:
    MemoryCuda() { log_set_level(LOG_ERROR); }
};

TEST_F(MemoryCuda, KernelsSeeThePagesTheyWereGiven)
{
    uint64_t looks = 0, landed = 0, resized = 0;
    for (uint64_t seed = 1; seed <= 60 && !HasFailure(); seed++) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        Schedule schedule(seed, NO_FAULT);
        schedule.run(400);
        EXPECT_EQ(schedule.wrong(), 0u);
        looks += schedule.looks();
        landed += schedule.landed;
        resized += schedule.resized;
    }
    printf("%lu kernels, %lu pages landed, %lu resizes\n", (unsigned long)looks,
           (unsigned long)landed, (unsigned long)resized);
    EXPECT_GT(looks, 1000u);
    EXPECT_GT(landed, 1000u);
    EXPECT_GT(resized, 60u);
}

/* The same without fences: if this went unseen, the test above would prove nothing. */
TEST_F(MemoryCuda, AMissingFenceIsSeen)
{
    uint32_t seeds = 0;
    for (uint64_t seed = 1; seed <= 60 && !HasFailure(); seed++) {
        Schedule schedule(seed, NO_FENCE);
        schedule.run(400);
        seeds += schedule.wrong() > 0;
    }
    printf("%u of 60 seeds saw it\n", seeds);
    EXPECT_GT(seeds, 0u);
}

} // namespace
