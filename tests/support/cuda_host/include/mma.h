/* Warp matrix fragments of 16 x 16 x 16: half or bfloat16 inputs, float sums. Each lane holds eight
 * elements of a tile; which ones is nobody's business, but an accumulator's loop over its elements
 * reaches every element of the tile once. mma_sync is a warp collective like a shuffle. */
#ifndef CUDA_HOST_MMA_H
#define CUDA_HOST_MMA_H

#include <type_traits>

#include "cuda_bf16.h"
#include "cuda_fp16.h"
#include "cuda_runtime.h"

const unsigned CUDA_HOST_TILE_SHARE = 8;

/* One lane's part of a product, with the inputs as floats. */
struct cuda_host_mma {
    float a[CUDA_HOST_TILE_SHARE], b[CUDA_HOST_TILE_SHARE], c[CUDA_HOST_TILE_SHARE];
    float d[CUDA_HOST_TILE_SHARE]; /* written by the last lane to arrive */
};

static inline unsigned cuda_host_tile_row(unsigned lane, unsigned element)
{
    return (lane >> 2) + 8 * (element >> 1 & 1);
}
static inline unsigned cuda_host_tile_col(unsigned lane, unsigned element)
{
    return (lane & 3) * 2 + (element & 1) + 8 * (element >> 2);
}
/* Stops the program with the reason: pointers and strides that the hardware does not take. */
[[noreturn]] void cuda_host_tile_refused(const void *pointer, unsigned stride);

namespace nvcuda {
namespace wmma {

struct matrix_a;
struct matrix_b;
struct accumulator;
struct row_major;
struct col_major;
enum layout_t { mem_row_major, mem_col_major };

template <typename Use, int M, int N, int K, typename T, typename Layout = void> class fragment {
  public:
    static_assert(M == 16 && N == 16 && K == 16, "tiles of 16 x 16 x 16 only");
    static_assert(std::is_same<Use, accumulator>::value
                      ? std::is_same<T, float>::value && std::is_void<Layout>::value
                      : (std::is_same<T, __half>::value || std::is_same<T, __nv_bfloat16>::value) &&
                            !std::is_void<Layout>::value,
                  "half or bfloat16 inputs with a layout, float accumulators without");
    typedef T element_type;
    static const int num_elements = CUDA_HOST_TILE_SHARE;
    T x[CUDA_HOST_TILE_SHARE];
};

template <typename F, typename T> static inline void fill_fragment(F &fragment, const T &value)
{
    for (int e = 0; e < F::num_elements; e++)
        fragment.x[e] = value;
}

/* 32 bytes of alignment; a stride that is a multiple of 16 bytes. */
template <typename T> static inline void cuda_host_tile_check(const T *pointer, unsigned stride)
{
    if (reinterpret_cast<uintptr_t>(pointer) % 32 || stride * sizeof(T) % 16)
        cuda_host_tile_refused(pointer, stride);
}

static inline unsigned cuda_host_tile_place(int element, unsigned stride, bool row_major_order)
{
    unsigned lane = cuda_host_lane();
    unsigned row = cuda_host_tile_row(lane, (unsigned)element);
    unsigned col = cuda_host_tile_col(lane, (unsigned)element);
    return row_major_order ? row * stride + col : col * stride + row;
}

template <typename Use, typename T, typename Layout>
static inline void load_matrix_sync(fragment<Use, 16, 16, 16, T, Layout> &fragment, const T *from,
                                    unsigned stride)
{
    cuda_host_tile_check(from, stride);
    for (int e = 0; e < fragment.num_elements; e++)
        fragment.x[e] =
            from[cuda_host_tile_place(e, stride, std::is_same<Layout, row_major>::value)];
}

static inline void load_matrix_sync(fragment<accumulator, 16, 16, 16, float> &fragment,
                                    const float *from, unsigned stride, layout_t layout)
{
    cuda_host_tile_check(from, stride);
    for (int e = 0; e < fragment.num_elements; e++)
        fragment.x[e] = from[cuda_host_tile_place(e, stride, layout == mem_row_major)];
}

static inline void store_matrix_sync(float *to,
                                     const fragment<accumulator, 16, 16, 16, float> &fragment,
                                     unsigned stride, layout_t layout)
{
    cuda_host_tile_check(to, stride);
    for (int e = 0; e < fragment.num_elements; e++)
        to[cuda_host_tile_place(e, stride, layout == mem_row_major)] = fragment.x[e];
}

template <typename T, typename LayoutA, typename LayoutB>
static inline void mma_sync(fragment<accumulator, 16, 16, 16, float> &d,
                            const fragment<matrix_a, 16, 16, 16, T, LayoutA> &a,
                            const fragment<matrix_b, 16, 16, 16, T, LayoutB> &b,
                            const fragment<accumulator, 16, 16, 16, float> &c,
                            int line = __builtin_LINE())
{
    struct cuda_host_mma mma;
    for (int e = 0; e < d.num_elements; e++) {
        mma.a[e] = (float)a.x[e];
        mma.b[e] = (float)b.x[e];
        mma.c[e] = c.x[e];
    }
    cuda_host_meet(0xffffffffu, CUDA_HOST_MMA, reinterpret_cast<uintptr_t>(&mma), 0, line);
    memcpy(d.x, mma.d, sizeof mma.d);
}

} // namespace wmma
} // namespace nvcuda

#endif
