/* How fast the link to a CUDA device is, measured. */
#ifndef MOERING_MEMORY_CUDA_DEVICE_CUDA_RATES_CUH
#define MOERING_MEMORY_CUDA_DEVICE_CUDA_RATES_CUH

#include <cuda_runtime.h>
#include <stddef.h>
#include <stdint.h>

/* What is measured on; all of it idle, and lent. */
struct device_cuda_link {
    cudaStream_t copy, compute;
    void *pinned; /* page-locked host memory */
    size_t bytes; /* of it */
    uint32_t processors;
};

/* Has this build code for the current device? Asked of the kernel that measures. */
cudaError_t device_cuda_kernel_image(void);
/* Bytes per second from page-locked memory, with nothing else going on and while kernels read
 * device memory; some 50 ms in all. Zeros: the device had no room to measure in. */
void device_cuda_measure(const struct device_cuda_link *link, double *idle, double *loaded);

#endif
