#include "memory/cuda/device_cuda_pins.cuh"

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/cuda_host/cuda_host.h"
#include "tests/support/scratch.h"

namespace {

constexpr size_t kPage = 4096;

class DeviceCudaPins : public testing::Test {
protected:
    DeviceCudaPins() { cuda_host_reset(1); }
    ~DeviceCudaPins() override
    {
        device_cuda_pins_close(&pins_);
        EXPECT_EQ(cuda_host_leaks(), std::vector<std::string>());
    }
    struct Free {
        void operator()(uint8_t *memory) const { free(memory); }
    };
    std::unique_ptr<uint8_t, Free> memory_{
        static_cast<uint8_t *>(aligned_alloc(kPage, 64 * kPage))};
    struct device_cuda_pins pins_ = {};
    uint8_t *at(size_t page) { return memory_.get() + page * kPage; }
};

TEST_F(DeviceCudaPins, KnowsWhatLiesWhollyInOne)
{
    EXPECT_FALSE(device_cuda_pins_hold(&pins_, at(0), 1));
    ASSERT_TRUE(device_cuda_pins_add(&pins_, at(8), 4 * kPage));
    ASSERT_TRUE(device_cuda_pins_add(&pins_, at(2), 2 * kPage));
    EXPECT_TRUE(device_cuda_pins_hold(&pins_, at(8), 4 * kPage));
    EXPECT_TRUE(device_cuda_pins_hold(&pins_, at(8) + 100, kPage));
    EXPECT_TRUE(device_cuda_pins_hold(&pins_, at(3), kPage));
    EXPECT_FALSE(device_cuda_pins_hold(&pins_, at(3), kPage + 1));
    EXPECT_FALSE(device_cuda_pins_hold(&pins_, at(8) - 1, 2));
    EXPECT_FALSE(device_cuda_pins_hold(&pins_, at(11), SIZE_MAX));
    EXPECT_FALSE(device_cuda_pins_hold(&pins_, at(12), 1));
    EXPECT_FALSE(device_cuda_pins_hold(&pins_, at(0), 1));
    device_cuda_pins_remove(&pins_, at(2));
    EXPECT_FALSE(device_cuda_pins_hold(&pins_, at(2), 1));
    EXPECT_TRUE(device_cuda_pins_hold(&pins_, at(8), 1));
    EXPECT_DEATH(device_cuda_pins_remove(&pins_, at(9)), "not page-locked");
    EXPECT_DEATH(device_cuda_pins_remove(&pins_, at(2)), "not page-locked");
}

TEST_F(DeviceCudaPins, AgreesWithAPlainTable)
{
    scratch::Random random(3);
    bool locked[64] = {};
    for (int i = 0; i < 2000; i++) {
        size_t page = random.below(64);
        if (locked[page])
            device_cuda_pins_remove(&pins_, at(page));
        else
            ASSERT_TRUE(device_cuda_pins_add(&pins_, at(page), kPage));
        locked[page] = !locked[page];
        page = random.below(64);
        ASSERT_EQ(device_cuda_pins_hold(&pins_, at(page) + random.below(kPage), 1), locked[page]);
        /* Two that touch are still two. */
        ASSERT_FALSE(device_cuda_pins_hold(&pins_, at(page), kPage + 1));
    }
}

TEST_F(DeviceCudaPins, ARefusalLeavesNothing)
{
    cuda_host_set_pin_limit(2 * kPage);
    EXPECT_FALSE(device_cuda_pins_add(&pins_, at(0), 3 * kPage));
    EXPECT_FALSE(device_cuda_pins_hold(&pins_, at(0), 1));
    EXPECT_EQ(cuda_host_leaks(), std::vector<std::string>());
    EXPECT_TRUE(device_cuda_pins_add(&pins_, at(0), 2 * kPage));
    EXPECT_DEATH(device_cuda_pins_add(&pins_, at(0), 2 * kPage), "page-locked already");
}

} // namespace
