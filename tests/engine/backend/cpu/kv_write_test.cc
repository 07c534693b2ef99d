#include "tests/engine/backend/cpu/cpu_checks.h"

TEST(kv_write, layout_is_block_head_token_dim)
{
    Noise noise(1);
    for (enum cpu_isa isa : machine_isas()) {
        Backend b = open_backend(isa, 2);
        for (enum dtype dtype : {DTYPE_F32, DTYPE_F16}) {
            for (uint32_t dim : {1u, 7u, 32u, 129u}) {
                const uint32_t heads = 3, blocks = 5;
                size_t value = dtype_info(dtype)->block_bytes;
                size_t bytes = blocks * heads * KV_BLOCK_TOKENS * dim * value;
                std::vector<uint8_t> keys(bytes, 0xab), values(bytes, 0xab);
                std::vector<uint8_t> want_keys = keys, want_values = values;
                const uint32_t table_a[] = {4, 1}, table_b[] = {2};
                struct row_place places[] = {{table_a, 0}, {table_a, 21}, {table_b, 15}};
                const uint32_t where[][2] = {{4, 0}, {1, 5}, {2, 15}};
                std::vector<float> k = noise.list(3 * heads * dim), v = noise.list(3 * heads * dim);
                struct kv_layer kv = {keys.data(), values.data(), dtype, heads, dim};
                b->ops->kv_write(b.get(), kv, k.data(), v.data(), places, 3);
                for (size_t r = 0; r < 3; r++) {
                    for (size_t h = 0; h < heads; h++) {
                        size_t at = ((where[r][0] * heads + h) * KV_BLOCK_TOKENS + where[r][1]) *
                                    dim * value;
                        size_t from = (r * heads + h) * dim;
                        dtype_encode(dtype, &k[from], &want_keys[at], dim);
                        dtype_encode(dtype, &v[from], &want_values[at], dim);
                    }
                }
                EXPECT_EQ(keys, want_keys) << cpu_isa_name(isa) << " dim " << dim;
                EXPECT_EQ(values, want_values) << cpu_isa_name(isa) << " dim " << dim;
            }
        }
    }
}

TEST(kv_write, no_rows_and_no_such_format)
{
    Backend b = open_backend(CPU_BEST, 1);
    struct kv_layer kv = {nullptr, nullptr, DTYPE_F32, 2, 4};
    b->ops->kv_write(b.get(), kv, nullptr, nullptr, nullptr, 0);
    kv.dtype = DTYPE_BF16;
    EXPECT_DEATH(b->ops->kv_write(b.get(), kv, nullptr, nullptr, nullptr, 0), "BF16");
}
