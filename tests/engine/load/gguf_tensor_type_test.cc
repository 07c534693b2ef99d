/* The numbers and blocks of tensor types, as the format fixes them. */
#include "engine/load/gguf_tensor_type.h"

#include <gtest/gtest.h>

namespace {

TEST(GgufTensorType, AgreesWithOurFormats)
{
    for (int i = 0; i < DTYPE_COUNT; i++) {
        enum dtype dtype = static_cast<enum dtype>(i);
        const struct gguf_tensor_type *type = gguf_tensor_type_of(dtype);
        const struct dtype_info *info = dtype_info(dtype);
        EXPECT_STREQ(type->name, info->name);
        EXPECT_EQ(type->block_values, info->block_values) << type->name;
        EXPECT_EQ(type->block_bytes, info->block_bytes) << type->name;
        EXPECT_EQ(gguf_tensor_type_find(type->id), type);
    }
}

TEST(GgufTensorType, NumbersAreThoseOfFiles)
{
    struct {
        uint32_t id;
        const char *name;
        uint32_t block_bytes;
    } known[] = {{0, "F32", 4},    {1, "F16", 2},     {2, "Q4_0", 18},   {8, "Q8_0", 34},
                 {12, "Q4_K", 144}, {14, "Q6_K", 210}, {20, "IQ4_NL", 18}, {23, "IQ4_XS", 136},
                 {30, "BF16", 2},  {39, "MXFP4", 17}};
    for (const auto &k : known) {
        const struct gguf_tensor_type *type = gguf_tensor_type_find(k.id);
        ASSERT_NE(type, nullptr) << k.id;
        EXPECT_STREQ(type->name, k.name);
        EXPECT_EQ(type->block_bytes, k.block_bytes);
    }
    for (uint32_t id : {4u, 5u, 31u, 36u, 144u, 0xffffffffu})
        EXPECT_EQ(gguf_tensor_type_find(id), nullptr) << id;
}

} // namespace
