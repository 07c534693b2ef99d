/* The double's own controls, for tests. Errors are given as the numbers of cudaError_t and of
 * cublasStatus_t, so that a test without the CUDA headers can use them.
 *
 * One double per process. Every function may be called from any thread. */
#ifndef CUDA_HOST_H
#define CUDA_HOST_H

#include <stddef.h>
#include <stdint.h>
#include <string>
#include <vector>

/* Frees all that is left (streams, events, graphs, memory), sets every control to its default and
 * starts the dice from `seed`. Work still queued is dropped. No call may be under way. */
void cuda_host_reset(uint64_t seed);

/* 1 at first. With 0 every call that needs a device gives cudaErrorNoDevice. */
void cuda_host_set_device_count(int count);
/* False: as on a machine without the driver, cudaErrorInsufficientDriver. */
void cuda_host_set_driver(bool present);
/* Device memory that cudaMalloc() may hand out in all; 1 GiB at first. */
void cuda_host_set_memory(size_t bytes);
/* Host memory that may be page-locked in all; no limit at first. */
void cuda_host_set_pin_limit(size_t bytes);
/* False: device memory stays readable for the host at all times. True at first. */
void cuda_host_protect(bool on);
/* The `nth` call (1: the next) of `function`, such as "cudaMalloc" or "cublasGemmEx", fails with
 * `error` and does nothing. Launches go by "cudaLaunchKernelEx". */
void cuda_host_fail(const char *function, int nth, int error);
/* Executes up to `operations` of what is queued, as a device would in the meantime. A thread that
 * waits for a host function without calling the runtime needs someone to call this. */
size_t cuda_host_run(size_t operations);

/* What was asked for since the last reset. */
struct cuda_host_counts {
    uint64_t launches; /* kernels launched one by one */
    uint64_t graph_launches;
    uint64_t kernels;      /* kernels executed, those of graphs too */
    uint64_t copies, sets; /* executed */
    uint64_t bytes_to_device, bytes_to_host, bytes_on_device;
    uint64_t synchronisations; /* of a stream, an event or the device, and blocking copies */
    uint64_t queries;          /* of a stream or an event */
    uint64_t event_records, event_waits;
    uint64_t host_functions; /* executed */
    uint64_t cublas_calls;
    uint64_t mallocs, frees; /* of device memory */
};
struct cuda_host_counts cuda_host_counters(void);

/* Device bytes that are allocated now. */
size_t cuda_host_memory_used(void);
/* One sentence for each stream, event, graph, allocation and registration that is still open. */
std::vector<std::string> cuda_host_leaks(void);

#endif
