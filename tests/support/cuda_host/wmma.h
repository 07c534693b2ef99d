/* The product of one warp's tiles: what mma_sync leaves with the warp, and what the last lane to
 * arrive does with it. */
#ifndef CUDA_HOST_WMMA_H
#define CUDA_HOST_WMMA_H

namespace cuda_host {

struct warp_deposit;

/* Each of the 32 deposits holds a struct cuda_host_mma; writes every lane's share of the product.
 */
void wmma_complete(const struct warp_deposit *deposits);

} // namespace cuda_host

#endif
