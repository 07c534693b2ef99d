#include "tests/engine/backend/cuda/cuda_checks.h"

/* The rows of two sequences whose blocks lie here and there, written by the processor's backend and
 * by ours: every byte of the cache, also those that nobody may touch, must be the same. */
static void compare(uint64_t seed, enum dtype dtype, uint32_t kv_heads, uint32_t head_dim)
{
    Noise noise((uint32_t)seed);
    const uint32_t blocks = 9, stride = 4;
    const std::vector<uint32_t> tables = {5, 0, 7, 2, 8, 3, 1, 6};
    const std::vector<uint32_t> positions = {15, 16, 63, 0, 5, 47}, table_of = {0, 0, 0, 1, 1, 1};
    const uint32_t rows = (uint32_t)positions.size();
    size_t width = (size_t)kv_heads * head_dim;
    size_t bytes = blocks * width * KV_BLOCK_TOKENS * dtype_info(dtype)->block_bytes;
    std::vector<float> k = noise.list(rows * width, 70000.0f), v = noise.list(rows * width);
    k[0] = -0.0f, v[0] = 1e-7f; /* a subnormal of f16 */

    std::vector<uint8_t> keys(bytes, 0xA5), values(bytes, 0x5A);
    std::vector<struct row_place> places;
    for (uint32_t r = 0; r < rows; r++)
        places.push_back({&tables[table_of[r] * stride], positions[r]});
    Backend cpu = open_backend(CPU_SCALAR, 1);
    struct kv_layer host_kv = {keys.data(), values.data(), dtype, kv_heads, head_dim};
    DeviceList<uint8_t> device_keys(keys), device_values(values);
    cpu->ops->kv_write(cpu.get(), host_kv, k.data(), v.data(), places.data(), rows);

    Stream stream;
    DeviceList<float> device_k(k, 1), device_v(v);
    DeviceList<uint32_t> device_positions(positions), device_of(table_of), device_tables(tables);
    struct kv_layer kv = {device_keys.data, device_values.data, dtype, kv_heads, head_dim};
    struct cuda_rows at = {nullptr, device_positions, device_of, device_tables, stride};
    cuda_kv_write(stream, kv, device_k, device_v, &at, rows);
    EXPECT_EQ(device_keys.get(stream), keys) << kv_heads << " x " << head_dim;
    EXPECT_EQ(device_values.get(stream), values) << kv_heads << " x " << head_dim;
}

TEST(kv_write, every_byte_is_where_the_processor_puts_it)
{
    for (uint64_t seed : machine_seeds()) {
        for (enum dtype dtype : {DTYPE_F32, DTYPE_F16}) {
            for (uint32_t head_dim : {1u, 2u, 31u, 64u, 127u, 128u}) {
                for (uint32_t kv_heads : {1u, 2u, 5u}) {
                    restart_machine(seed);
                    compare(seed, dtype, kv_heads, head_dim);
                }
            }
        }
    }
}

TEST(kv_write, nan_and_infinity_stay_what_they_are)
{
    restart_machine(1);
    Stream stream;
    std::vector<float> k = {NAN, INFINITY, -INFINITY, 65520.0f};
    DeviceList<float> device_k(k);
    DeviceList<uint16_t> keys(KV_BLOCK_TOKENS * 4), values(KV_BLOCK_TOKENS * 4);
    DeviceList<uint32_t> zero(1);
    struct kv_layer kv = {keys.data, values.data, DTYPE_F16, 1, 4};
    struct cuda_rows at = {nullptr, zero, zero, zero, 1};
    cuda_kv_write(stream, kv, device_k, device_k, &at, 1);
    std::vector<uint16_t> got = keys.get(stream);
    EXPECT_TRUE(std::isnan(f16_to_f32(got[0])));
    EXPECT_EQ(f16_to_f32(got[1]), INFINITY);
    EXPECT_EQ(f16_to_f32(got[2]), -INFINITY);
    EXPECT_EQ(f16_to_f32(got[3]), INFINITY) << "half way to 65536 rounds up";
    cuda_kv_write(stream, kv, nullptr, nullptr, &at, 0);
    stream.sync();
}
