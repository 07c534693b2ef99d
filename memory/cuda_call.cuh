/* CUDA_CALL(call): a CUDA call that must succeed. A failure there means that results are already
 * wrong or that the device is lost, and every later call would fail too, so the process says which
 * call, where, why and what to do, and stops. Failures that an operator can cause by asking for too
 * much (memory while opening) are returned as a status by who calls, without this. For .cu
 * files. */
#ifndef MOERING_MEMORY_CUDA_CALL_CUH
#define MOERING_MEMORY_CUDA_CALL_CUH

#include <cuda_runtime.h>
#include <stdlib.h>

#include "memory/base/log.h"

static inline const char *cuda_call_advice(cudaError_t error)
{
    switch (error) {
    case cudaErrorMemoryAllocation:
        return "lower --device-experts, --kv-cache-bytes or --max-num-batched-tokens";
    case cudaErrorIllegalAddress:
    case cudaErrorMisalignedAddress:
    case cudaErrorLaunchFailure:
    case cudaErrorIllegalInstruction:
    case cudaErrorInvalidAddressSpace:
        return "a kernel is wrong: please report this with the model and the flags; "
               "compute-sanitizer names the line";
    case cudaErrorNoKernelImageForDevice:
        return "this build has no code for this GPU: configure with CMAKE_CUDA_ARCHITECTURES";
    case cudaErrorInsufficientDriver:
        return "the driver is older than the CUDA runtime: update it, or use --device cpu";
    case cudaErrorECCUncorrectable:
    case cudaErrorHardwareStackError:
        return "the GPU reports a fault: see nvidia-smi -q and the kernel log";
    default:
        return "see nvidia-smi and the kernel log; --device cpu runs without the GPU";
    }
}

#define CUDA_CALL(call)                                                                            \
    do {                                                                                           \
        cudaError_t cuda_call_error = (call);                                                      \
        if (cuda_call_error != cudaSuccess) {                                                      \
            log_error("%s:%d: %s: %s (%s); %s", __FILE__, __LINE__, #call,                         \
                      cudaGetErrorString(cuda_call_error), cudaGetErrorName(cuda_call_error),      \
                      cuda_call_advice(cuda_call_error));                                          \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#endif
