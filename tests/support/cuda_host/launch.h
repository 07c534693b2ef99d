/* Launch limits of the device that the double plays. */
#ifndef CUDA_HOST_LAUNCH_H
#define CUDA_HOST_LAUNCH_H

#include <stddef.h>

namespace cuda_host {

const unsigned BLOCK_THREADS_MAX = 1024;
const unsigned BLOCK_Z_MAX = 64;
const unsigned GRID_YZ_MAX = 65535;
const size_t SHARED_BYTES = 48 << 10;        /* a kernel may use this much unasked */
const size_t SHARED_BYTES_OPTIN = 227 << 10; /* and this much once allowed */
const size_t SHARED_BYTES_SM = 228 << 10;
const unsigned SM_COUNT = 132;
const unsigned SM_THREADS_MAX = 2048;
const unsigned SM_BLOCKS_MAX = 32;

/* Forgets what kernels were allowed. */
void launch_reset(void);

} // namespace cuda_host

#endif
