/* Copies and fills. A copy from or to page-locked memory touches it when it executes, so that a
 * buffer reused too early shows; one from ordinary memory takes its bytes at the call, one to
 * ordinary memory waits for the stream, as the real runtime promises. */
#include <memory>
#include <string.h>

#include "tests/support/cuda_host/memory.h"
#include "tests/support/cuda_host/runtime.h"
#include "tests/support/cuda_host/stream.h"

namespace cuda_host {

namespace {

struct copy {
    unsigned char *dst;
    const unsigned char *src;
    size_t dst_pitch, src_pitch, width, height; /* bytes, rows */
    enum memory_place dst_place, src_place;
};

size_t extent(size_t pitch, size_t width, size_t height)
{
    return height ? (height - 1) * pitch + width : 0;
}

bool kind_fits(const struct copy *c, enum cudaMemcpyKind kind)
{
    bool to = c->dst_place == MEMORY_DEVICE, from = c->src_place == MEMORY_DEVICE;
    switch (kind) {
    case cudaMemcpyHostToHost:
        return !to && !from;
    case cudaMemcpyHostToDevice:
        return to && !from;
    case cudaMemcpyDeviceToHost:
        return !to && from;
    case cudaMemcpyDeviceToDevice:
        return to && from;
    case cudaMemcpyDefault:
        return true;
    }
    return false;
}

/* Page-locked memory must still be so when the copy gets its turn. */
void check_pinned(const struct copy *c)
{
    size_t to = extent(c->dst_pitch, c->width, c->height);
    size_t from = extent(c->src_pitch, c->width, c->height);
    if (c->dst_place == MEMORY_PINNED && memory_place_of(c->dst, to) != MEMORY_PINNED)
        bug("a copy to page-locked memory runs after the memory was freed or unregistered");
    if (c->src_place == MEMORY_PINNED && memory_place_of(c->src, from) != MEMORY_PINNED)
        bug("a copy from page-locked memory runs after the memory was freed or unregistered");
}

void execute(const struct copy *c)
{
    struct cuda_host_counts *counters = &runtime()->counters;
    check_pinned(c);
    if (c->dst_pitch == c->width && c->src_pitch == c->width)
        memcpy(c->dst, c->src, c->width * c->height);
    else
        for (size_t row = 0; row < c->height; row++)
            memcpy(c->dst + row * c->dst_pitch, c->src + row * c->src_pitch, c->width);
    bool to = c->dst_place == MEMORY_DEVICE, from = c->src_place == MEMORY_DEVICE;
    size_t bytes = c->width * c->height;
    counters->copies++;
    counters->bytes_to_device += to && !from ? bytes : 0;
    counters->bytes_to_host += !to && from ? bytes : 0;
    counters->bytes_on_device += to && from ? bytes : 0;
}

/* The rows of ordinary memory as they are now. */
std::shared_ptr<std::vector<unsigned char>> snapshot(const struct copy *c)
{
    auto bytes = std::make_shared<std::vector<unsigned char>>(c->width * c->height);
    for (size_t row = 0; row < c->height; row++)
        memcpy(bytes->data() + row * c->width, c->src + row * c->src_pitch, c->width);
    return bytes;
}

cudaError_t submit(struct copy c, cudaStream_t stream, bool blocking,
                   std::unique_lock<std::mutex> *hold)
{
    auto queue = stream_find(stream);
    if (!queue)
        return cudaErrorInvalidResourceHandle;
    struct operation operation;
    bool captured = queue->capture != nullptr;
    bool to = c.dst_place == MEMORY_DEVICE, from = c.src_place == MEMORY_DEVICE;
    std::shared_ptr<std::vector<unsigned char>> kept;
    if (to && c.src_place == MEMORY_PAGEABLE && !captured) {
        kept = snapshot(&c);
        c.src = kept->data();
        c.src_pitch = c.width;
    }
    operation.run = [c, kept] { execute(&c); };
    if (cudaError_t refused = stream_submit(queue, std::move(operation)))
        return refused;
    bool waits =
        (blocking && !(to && from)) || (!to && c.dst_place == MEMORY_PAGEABLE) || (!to && !from);
    if (waits && !captured) {
        runtime()->counters.synchronisations++;
        stream_run_until(stream_end(queue), hold);
    }
    return cudaSuccess;
}

cudaError_t copy_call(const char *name, struct copy c, enum cudaMemcpyKind kind,
                      cudaStream_t stream, bool blocking)
{
    struct api_call call(name, blocking ? API_UNSAFE_IN_CAPTURE : 0);
    if (call.error)
        return call.done(call.error);
    if (c.width == 0 || c.height == 0)
        return call.done(stream_find(stream) ? cudaSuccess : cudaErrorInvalidResourceHandle);
    if (c.height > 1 && (c.dst_pitch < c.width || c.src_pitch < c.width))
        return call.done(cudaErrorInvalidPitchValue);
    if (!c.dst || !c.src)
        return call.done(cudaErrorInvalidValue);
    c.dst_place = memory_place_of(c.dst, extent(c.dst_pitch, c.width, c.height));
    c.src_place = memory_place_of(c.src, extent(c.src_pitch, c.width, c.height));
    if (c.dst_place == MEMORY_BAD || c.src_place == MEMORY_BAD || !kind_fits(&c, kind))
        return call.done(cudaErrorInvalidValue);
    cudaError_t result = submit(c, stream, blocking, &call.hold);
    stream_pass_time(&call.hold, false);
    return call.done(result);
}

struct copy flat(void *dst, const void *src, size_t count)
{
    return {static_cast<unsigned char *>(dst),
            static_cast<const unsigned char *>(src),
            count,
            count,
            count,
            1,
            MEMORY_BAD,
            MEMORY_BAD};
}

cudaError_t set_call(const char *name, void *pointer, int value, size_t count, cudaStream_t stream,
                     bool blocking)
{
    struct api_call call(name, blocking ? API_UNSAFE_IN_CAPTURE : 0);
    if (call.error)
        return call.done(call.error);
    auto queue = stream_find(stream);
    if (!queue)
        return call.done(cudaErrorInvalidResourceHandle);
    if (count == 0)
        return call.done(cudaSuccess);
    enum memory_place place = memory_place_of(pointer, count);
    if (place != MEMORY_DEVICE && place != MEMORY_PINNED)
        return call.done(cudaErrorInvalidValue);
    struct operation operation;
    operation.run = [pointer, value, count] {
        memset(pointer, value, count);
        runtime()->counters.sets++;
    };
    cudaError_t result = stream_submit(queue, std::move(operation));
    stream_pass_time(&call.hold, false);
    return call.done(result);
}

} // namespace

} // namespace cuda_host

using namespace cuda_host;

cudaError_t cudaMemcpy(void *dst, const void *src, size_t count, enum cudaMemcpyKind kind)
{
    return copy_call("cudaMemcpy", flat(dst, src, count), kind, nullptr, true);
}

cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t count, enum cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    return copy_call("cudaMemcpyAsync", flat(dst, src, count), kind, stream, false);
}

cudaError_t cudaMemcpy2D(void *dst, size_t dpitch, const void *src, size_t spitch, size_t width,
                         size_t height, enum cudaMemcpyKind kind)
{
    struct copy c = {static_cast<unsigned char *>(dst),
                     static_cast<const unsigned char *>(src),
                     dpitch,
                     spitch,
                     width,
                     height,
                     MEMORY_BAD,
                     MEMORY_BAD};
    return copy_call("cudaMemcpy2D", c, kind, nullptr, true);
}

cudaError_t cudaMemcpy2DAsync(void *dst, size_t dpitch, const void *src, size_t spitch,
                              size_t width, size_t height, enum cudaMemcpyKind kind,
                              cudaStream_t stream)
{
    struct copy c = {static_cast<unsigned char *>(dst),
                     static_cast<const unsigned char *>(src),
                     dpitch,
                     spitch,
                     width,
                     height,
                     MEMORY_BAD,
                     MEMORY_BAD};
    return copy_call("cudaMemcpy2DAsync", c, kind, stream, false);
}

cudaError_t cudaMemset(void *pointer, int value, size_t count)
{
    return set_call("cudaMemset", pointer, value, count, nullptr, true);
}

cudaError_t cudaMemsetAsync(void *pointer, int value, size_t count, cudaStream_t stream)
{
    return set_call("cudaMemsetAsync", pointer, value, count, stream, false);
}
