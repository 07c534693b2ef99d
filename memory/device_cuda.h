/* A CUDA device as the device tier needs it (device.h), and what the compute backend shares with
 * it: one stream for kernels, on which fences are marked, beside the streams of copies. */
#ifndef MOERING_MEMORY_DEVICE_CUDA_H
#define MOERING_MEMORY_DEVICE_CUDA_H

#include "memory/device.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How many CUDA devices can be used; 0 with the reason in `why` (no driver, too old a driver, no
 * device, built without CUDA), for the one line that the log gets. */
uint32_t device_cuda_count(struct error *why);

struct device_cuda_config {
    uint32_t ordinal;
    size_t stage_bytes; /* of each of two staging buffers for unpinned memory; 0: 16 MiB */
    bool measure;       /* rates, at open: some 50 ms */
};
/* NOT_FOUND: no such device, the error says how many there are; UNSUPPORTED: the device cannot run
 * this build, or built without CUDA; NO_MEMORY. */
enum status device_cuda_open(struct device **out, const struct device_cuda_config *config,
                             struct error *error);

struct device_cuda_info {
    char name[128];           /* "NVIDIA H200" */
    uint32_t major, minor;    /* compute capability */
    uint32_t processors;      /* streaming multiprocessors */
    uint64_t total_bytes, free_bytes;
};
void device_cuda_describe(struct device *device, struct device_cuda_info *out);
/* The stream of kernels (a cudaStream_t). Owned by the device. */
void *device_cuda_stream(struct device *device);

#ifdef __cplusplus
}
#endif
#endif
