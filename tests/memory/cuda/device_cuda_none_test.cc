/* The device of a build without CUDA is compiled into this program, in the place of whichever the
 * library has. */
#include "memory/cuda/device_cuda_none.c"

#include <gtest/gtest.h>

#include <string>

namespace {

TEST(DeviceCudaNone, SaysThatItIsNotThere)
{
    struct error why = {};
    EXPECT_EQ(device_cuda_count(&why), 0u);
    EXPECT_NE(std::string(why.text).find("built without CUDA"), std::string::npos);
    EXPECT_EQ(device_cuda_count(nullptr), 0u);
    struct device_cuda_config config = {};
    struct device *device = reinterpret_cast<struct device *>(&why);
    struct error error = {};
    EXPECT_EQ(device_cuda_open(&device, &config, &error), STATUS_UNSUPPORTED);
    EXPECT_EQ(device, nullptr);
    EXPECT_STREQ(error.text, why.text);
}

TEST(DeviceCudaNoneDeathTest, CannotBeUsed)
{
    struct device_cuda_info info;
    EXPECT_DEATH(device_cuda_describe(nullptr, &info), "without CUDA");
    EXPECT_DEATH(device_cuda_stream(nullptr), "without CUDA");
}

} // namespace
