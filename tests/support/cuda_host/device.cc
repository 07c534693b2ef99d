/* The device that the double plays: a GPU of compute capability 9.0 with the limits of an H100, and
 * as much memory as the test allows. Also the names of errors. */
#include <string.h>

#include "tests/support/cuda_host/launch.h"
#include "tests/support/cuda_host/runtime.h"

using namespace cuda_host;

const char *cudaGetErrorName(cudaError_t error)
{
#define NAME(name)                                                                                 \
    case name:                                                                                     \
        return #name;
    switch (error) {
        NAME(cudaSuccess)
        NAME(cudaErrorInvalidValue)
        NAME(cudaErrorMemoryAllocation)
        NAME(cudaErrorInitializationError)
        NAME(cudaErrorInvalidConfiguration)
        NAME(cudaErrorInvalidPitchValue)
        NAME(cudaErrorInvalidMemcpyDirection)
        NAME(cudaErrorInsufficientDriver)
        NAME(cudaErrorDevicesUnavailable)
        NAME(cudaErrorInvalidDeviceFunction)
        NAME(cudaErrorNoDevice)
        NAME(cudaErrorInvalidDevice)
        NAME(cudaErrorNoKernelImageForDevice)
        NAME(cudaErrorECCUncorrectable)
        NAME(cudaErrorInvalidResourceHandle)
        NAME(cudaErrorIllegalState)
        NAME(cudaErrorNotReady)
        NAME(cudaErrorIllegalAddress)
        NAME(cudaErrorLaunchOutOfResources)
        NAME(cudaErrorAssert)
        NAME(cudaErrorHardwareStackError)
        NAME(cudaErrorIllegalInstruction)
        NAME(cudaErrorMisalignedAddress)
        NAME(cudaErrorInvalidAddressSpace)
        NAME(cudaErrorHostMemoryAlreadyRegistered)
        NAME(cudaErrorHostMemoryNotRegistered)
        NAME(cudaErrorLaunchFailure)
        NAME(cudaErrorNotPermitted)
        NAME(cudaErrorNotSupported)
        NAME(cudaErrorStreamCaptureUnsupported)
        NAME(cudaErrorStreamCaptureInvalidated)
        NAME(cudaErrorStreamCaptureMerge)
        NAME(cudaErrorStreamCaptureUnmatched)
        NAME(cudaErrorStreamCaptureUnjoined)
        NAME(cudaErrorStreamCaptureIsolation)
        NAME(cudaErrorStreamCaptureImplicit)
        NAME(cudaErrorCapturedEvent)
        NAME(cudaErrorStreamCaptureWrongThread)
        NAME(cudaErrorUnknown)
    }
#undef NAME
    return "unrecognized error code";
}

const char *cudaGetErrorString(cudaError_t error)
{
    switch (error) {
    case cudaSuccess:
        return "no error";
    case cudaErrorInvalidValue:
        return "invalid argument";
    case cudaErrorMemoryAllocation:
        return "out of memory";
    case cudaErrorInvalidConfiguration:
        return "invalid configuration argument";
    case cudaErrorInsufficientDriver:
        return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice:
        return "no CUDA-capable device is detected";
    case cudaErrorNotReady:
        return "device not ready";
    case cudaErrorIllegalAddress:
        return "an illegal memory access was encountered";
    default:
        return cudaGetErrorName(error);
    }
}

cudaError_t cudaDriverGetVersion(int *version)
{
    struct api_call call("cudaDriverGetVersion", API_NEEDS_NO_DEVICE);
    if (call.error)
        return call.done(call.error);
    if (!version)
        return call.done(cudaErrorInvalidValue);
    *version = runtime()->driver ? CUDART_VERSION : 0;
    return call.done(cudaSuccess);
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    struct api_call call("cudaRuntimeGetVersion", API_NEEDS_NO_DEVICE);
    if (call.error)
        return call.done(call.error);
    if (!version)
        return call.done(cudaErrorInvalidValue);
    *version = CUDART_VERSION;
    return call.done(cudaSuccess);
}

cudaError_t cudaGetDeviceCount(int *count)
{
    struct api_call call("cudaGetDeviceCount");
    if (!count)
        return call.done(cudaErrorInvalidValue);
    *count = call.error ? 0 : runtime()->device_count;
    return call.done(call.error);
}

static thread_local int current_device = 0;

cudaError_t cudaGetDevice(int *device)
{
    struct api_call call("cudaGetDevice");
    if (call.error)
        return call.done(call.error);
    if (!device)
        return call.done(cudaErrorInvalidValue);
    *device = current_device;
    return call.done(cudaSuccess);
}

cudaError_t cudaSetDevice(int device)
{
    struct api_call call("cudaSetDevice");
    if (call.error)
        return call.done(call.error);
    if (device < 0 || device >= runtime()->device_count)
        return call.done(cudaErrorInvalidDevice);
    current_device = device;
    return call.done(cudaSuccess);
}

cudaError_t cudaSetDeviceFlags(unsigned flags)
{
    struct api_call call("cudaSetDeviceFlags");
    if (call.error)
        return call.done(call.error);
    return call.done(flags & ~0xfu ? cudaErrorInvalidValue : cudaSuccess);
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *prop, int device)
{
    struct api_call call("cudaGetDeviceProperties");
    if (call.error)
        return call.done(call.error);
    if (!prop || device < 0 || device >= runtime()->device_count)
        return call.done(prop ? cudaErrorInvalidDevice : cudaErrorInvalidValue);
    memset(prop, 0, sizeof *prop);
    strcpy(prop->name, "CUDA host double");
    prop->totalGlobalMem = runtime()->memory_capacity;
    prop->sharedMemPerBlock = SHARED_BYTES;
    prop->sharedMemPerBlockOptin = SHARED_BYTES_OPTIN;
    prop->sharedMemPerMultiprocessor = SHARED_BYTES_SM;
    prop->reservedSharedMemPerBlock = 1024;
    prop->regsPerBlock = prop->regsPerMultiprocessor = 65536;
    prop->warpSize = 32;
    prop->maxThreadsPerBlock = prop->maxThreadsDim[0] = prop->maxThreadsDim[1] = BLOCK_THREADS_MAX;
    prop->maxThreadsDim[2] = BLOCK_Z_MAX;
    prop->maxThreadsPerMultiProcessor = SM_THREADS_MAX;
    prop->maxBlocksPerMultiProcessor = SM_BLOCKS_MAX;
    prop->maxGridSize[0] = 0x7fffffff;
    prop->maxGridSize[1] = prop->maxGridSize[2] = GRID_YZ_MAX;
    prop->totalConstMem = 64 << 10;
    prop->major = 9;
    prop->minor = 0;
    prop->multiProcessorCount = SM_COUNT;
    prop->canMapHostMemory = prop->concurrentKernels = prop->unifiedAddressing = 1;
    prop->streamPrioritiesSupported = prop->hostRegisterSupported = 1;
    prop->asyncEngineCount = 3;
    prop->memoryBusWidth = 5120;
    prop->l2CacheSize = 50 << 20;
    return call.done(cudaSuccess);
}

static int attribute(const struct cudaDeviceProp *prop, enum cudaDeviceAttr attr)
{
    switch (attr) {
    case cudaDevAttrMaxThreadsPerBlock:
        return prop->maxThreadsPerBlock;
    case cudaDevAttrMaxSharedMemoryPerBlock:
        return (int)prop->sharedMemPerBlock;
    case cudaDevAttrWarpSize:
        return prop->warpSize;
    case cudaDevAttrMultiProcessorCount:
        return prop->multiProcessorCount;
    case cudaDevAttrIntegrated:
        return prop->integrated;
    case cudaDevAttrCanMapHostMemory:
        return prop->canMapHostMemory;
    case cudaDevAttrGlobalMemoryBusWidth:
        return prop->memoryBusWidth;
    case cudaDevAttrL2CacheSize:
        return prop->l2CacheSize;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
        return prop->maxThreadsPerMultiProcessor;
    case cudaDevAttrAsyncEngineCount:
        return prop->asyncEngineCount;
    case cudaDevAttrUnifiedAddressing:
        return prop->unifiedAddressing;
    case cudaDevAttrComputeCapabilityMajor:
        return prop->major;
    case cudaDevAttrComputeCapabilityMinor:
        return prop->minor;
    case cudaDevAttrStreamPrioritiesSupported:
        return prop->streamPrioritiesSupported;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
        return (int)prop->sharedMemPerMultiprocessor;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
        return (int)prop->sharedMemPerBlockOptin;
    case cudaDevAttrHostRegisterSupported:
        return prop->hostRegisterSupported;
    case cudaDevAttrReservedSharedMemoryPerBlock:
        return (int)prop->reservedSharedMemPerBlock;
    }
    return -1;
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attr, int device)
{
    struct cudaDeviceProp prop;
    cudaError_t error = cudaGetDeviceProperties(&prop, device);
    struct api_call call("cudaDeviceGetAttribute");
    if (error || call.error)
        return call.done(error ? error : call.error);
    if (!value || attribute(&prop, attr) < 0)
        return call.done(cudaErrorInvalidValue);
    *value = attribute(&prop, attr);
    return call.done(cudaSuccess);
}

cudaError_t cudaDeviceGetPCIBusId(char *pci_bus_id, int length, int device)
{
    struct api_call call("cudaDeviceGetPCIBusId");
    if (call.error)
        return call.done(call.error);
    if (!pci_bus_id || length < 13 || device < 0 || device >= runtime()->device_count)
        return call.done(cudaErrorInvalidValue);
    strcpy(pci_bus_id, "0000:00:00.0");
    return call.done(cudaSuccess);
}

cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest)
{
    struct api_call call("cudaDeviceGetStreamPriorityRange");
    if (call.error)
        return call.done(call.error);
    if (least)
        *least = 0;
    if (greatest)
        *greatest = -5;
    return call.done(cudaSuccess);
}
