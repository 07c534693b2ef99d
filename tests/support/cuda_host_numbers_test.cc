/* Small floats and matrix tiles: the bits of a device. */
#include "tests/support/cuda_host_test.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <math.h>
#include <mma.h>
#include <type_traits>

#include "engine/quant/dtype.h"

TEST_F(CudaHost, SmallFloatsAreBitExact)
{
    for (unsigned bits = 0; bits < 65536; bits++) {
        __half h = __ushort_as_half((unsigned short)bits);
        __nv_bfloat16 b = __ushort_as_bfloat16((unsigned short)bits);
        float fh = __half2float(h), fb = __bfloat162float(b);
        float th = f16_to_f32((uint16_t)bits), tb = bf16_to_f32((uint16_t)bits);
        ASSERT_EQ(isnan(th), isnan(fh)) << bits;
        ASSERT_EQ(isnan(tb), isnan(fb)) << bits;
        if (!isnan(th)) {
            ASSERT_EQ(__float_as_uint(th), __float_as_uint(fh)) << bits;
            ASSERT_EQ(bits, __half_as_ushort(__float2half_rn(fh)));
        }
        if (!isnan(tb)) {
            ASSERT_EQ(__float_as_uint(tb), __float_as_uint(fb)) << bits;
            ASSERT_EQ(bits, __bfloat16_as_ushort(__float2bfloat16_rn(fb)));
        }
    }
    for (unsigned high = 0; high < 65536; high++)
        for (unsigned low :
             {0u, 1u, 0xfffu, 0x1000u, 0x1001u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
            float f = __uint_as_float(high << 16 | low);
            unsigned short h = __half_as_ushort(__float2half_rn(f));
            unsigned short b = __bfloat16_as_ushort(__float2bfloat16_rn(f));
            if (isnan(f)) {
                ASSERT_EQ(0x7fff, h);
                ASSERT_EQ(0x7fff, b);
            } else {
                ASSERT_EQ(f32_to_f16(f), h) << f;
                ASSERT_EQ(f32_to_bf16(f), b) << f;
            }
        }
}

/* One rounding: 1 + 2^-11 is a tie that goes down, and the smallest step above it goes up. */
TEST_F(CudaHost, FusedHalvesRoundOnce)
{
    __half one = __float2half_rn(1.0f), step = __float2half_rn(0x1p-11f);
    EXPECT_EQ(0x3c00, __half_as_ushort(__hfma(one, step, one)));
    EXPECT_EQ(0x3c01, __half_as_ushort(__double2half(1.0 + 0x1p-11 + 0x1p-40)));
    EXPECT_EQ(0x3c00, __half_as_ushort(__double2half(1.0 + 0x1p-11 - 0x1p-40)));
    EXPECT_EQ(0x3f80, __bfloat16_as_ushort(__double2bfloat16(1.0 + 0x1p-8 - 0x1p-50)));
    EXPECT_EQ(0x3f81, __bfloat16_as_ushort(__double2bfloat16(1.0 + 0x1p-8 + 0x1p-50)));
}

template <typename T, typename LayoutB>
static __global__ void tile_product(const T *a, const T *b, float *c, unsigned tiles)
{
    using namespace nvcuda::wmma;
    fragment<matrix_a, 16, 16, 16, T, row_major> fa;
    fragment<matrix_b, 16, 16, 16, T, LayoutB> fb;
    fragment<accumulator, 16, 16, 16, float> fc;
    bool rows = std::is_same<LayoutB, row_major>::value;
    fill_fragment(fc, 0.0f);
    for (unsigned t = 0; t < tiles; t++) {
        load_matrix_sync(fa, a + t * 16, 16 * tiles);
        load_matrix_sync(fb, b + (rows ? t * 16 * 16 : t * 16), rows ? 16 : 16 * tiles);
        mma_sync(fc, fa, fb, fc);
    }
    for (int e = 0; e < fc.num_elements; e++)
        fc.x[e] = 2.0f * fc.x[e] + 1.0f;
    store_matrix_sync(c, fc, 16, mem_row_major);
}

template <typename T, typename LayoutB> static void check_tiles(void)
{
    const unsigned tiles = 3, k = 16 * tiles;
    std::vector<T> a(16 * k), b(16 * k);
    for (unsigned i = 0; i < 16 * k; i++) {
        a[i] = T((float)((i * 37) % 19) * 0.25f - 2.0f);
        b[i] = T((float)((i * 53) % 23) * 0.125f - 1.0f);
    }
    T *da = upload(a), *db = upload(b);
    float *dc = upload(std::vector<float>(256, 0.0f));
    EXPECT_EQ(cudaSuccess, launch(tile_product<T, LayoutB>, 1, 32, 0, nullptr, da, db, dc, tiles));
    std::vector<float> c = download(dc, 256);
    bool rows = std::is_same<LayoutB, nvcuda::wmma::row_major>::value;
    for (unsigned i = 0; i < 16; i++)
        for (unsigned j = 0; j < 16; j++) {
            float sum = 0.0f;
            for (unsigned l = 0; l < k; l++)
                sum += (float)a[i * k + l] * (float)b[rows ? l * 16 + j : j * k + l];
            EXPECT_EQ(2.0f * sum + 1.0f, c[i * 16 + j]) << i << "," << j;
        }
}

TEST_F(CudaHost, MatrixTilesAgainstLoops)
{
    check_tiles<__half, nvcuda::wmma::row_major>();
    check_tiles<__half, nvcuda::wmma::col_major>();
    check_tiles<__nv_bfloat16, nvcuda::wmma::row_major>();
    check_tiles<__nv_bfloat16, nvcuda::wmma::col_major>();
}
