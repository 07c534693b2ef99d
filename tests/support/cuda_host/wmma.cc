/* See wmma.h. The tiles are put together from the lanes' shares as floats; every element is then a
 * sum in the order of k, in float. Hardware sums in another order: tests allow for that. */
#include "tests/support/cuda_host/wmma.h"

#include "tests/support/cuda_host/include/mma.h"
#include "tests/support/cuda_host/warp.h"

namespace cuda_host {

void wmma_complete(const struct warp_deposit *deposits)
{
    float a[16][16], b[16][16], c[16][16];
    for (unsigned lane = 0; lane < 32; lane++) {
        auto *mma = reinterpret_cast<const struct cuda_host_mma *>(deposits[lane].value);
        for (unsigned e = 0; e < CUDA_HOST_TILE_SHARE; e++) {
            unsigned row = cuda_host_tile_row(lane, e), col = cuda_host_tile_col(lane, e);
            a[row][col] = mma->a[e];
            b[row][col] = mma->b[e];
            c[row][col] = mma->c[e];
        }
    }
    for (unsigned k = 0; k < 16; k++)
        for (unsigned i = 0; i < 16; i++)
            for (unsigned j = 0; j < 16; j++)
                c[i][j] += a[i][k] * b[k][j];
    for (unsigned lane = 0; lane < 32; lane++) {
        auto *mma = reinterpret_cast<struct cuda_host_mma *>(deposits[lane].value);
        for (unsigned e = 0; e < CUDA_HOST_TILE_SHARE; e++)
            mma->d[e] = c[cuda_host_tile_row(lane, e)][cuda_host_tile_col(lane, e)];
    }
}

} // namespace cuda_host
