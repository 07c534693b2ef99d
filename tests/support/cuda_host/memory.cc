/* See memory.h. Free stretches are kept by address and taken first-fit; a stretch that was used
 * before is handed out again at once, so that a forgotten pointer soon meets somebody else's data.
 */
#include "tests/support/cuda_host/memory.h"

#include <map>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/support/cuda_host/runtime.h"
#include "tests/support/cuda_host/stream.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(base, bytes) ((void)(base), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(base, bytes) ((void)(base), (void)(bytes))
#endif

namespace cuda_host {

namespace {

const size_t ARENA_BYTES = (size_t)64 << 30; /* of addresses; what is not used costs nothing */
const size_t PAGE = 4096;
const size_t ALIGN = 256;                    /* as the real allocator promises */
const size_t RED_ZONE = 256;                 /* before and behind each allocation */
const size_t RESET_KEEPS = (size_t)64 << 20; /* a reset returns more than this to the system */
const unsigned char RED_BYTE = 0xfd, FRESH_BYTE = 0xff;

struct allocation {
    size_t bytes;   /* as asked for */
    size_t stretch; /* with red zones */
};

struct pinned_range {
    size_t bytes;
    bool owned; /* by cudaHostAlloc(); otherwise registered */
};

struct memory_state {
    unsigned char *base = nullptr;
    bool open = false;
    size_t open_bytes = 0; /* of the arena, while open */
    size_t high = 0;       /* bytes from which on nothing was ever used */
    size_t used = 0;
    std::map<size_t, size_t> gaps;               /* offset -> bytes, below `high` */
    std::map<uintptr_t, struct allocation> live; /* by address of the first byte */
    std::map<uintptr_t, struct pinned_range> pinned;
    size_t pinned_bytes = 0;
};

struct memory_state *memory(void)
{
    static struct memory_state *state = [] {
        struct memory_state *m = new struct memory_state;
        void *mapped = mmap(nullptr, ARENA_BYTES, PROT_NONE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (mapped == MAP_FAILED)
            bug("no address space for device memory");
        m->base = static_cast<unsigned char *>(mapped);
        return m;
    }();
    return state;
}

size_t round_up(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

bool in_arena(const void *pointer)
{
    const unsigned char *p = static_cast<const unsigned char *>(pointer);
    return p >= memory()->base && p < memory()->base + ARENA_BYTES;
}

/* The allocation that holds the address, or the end of the map. */
std::map<uintptr_t, struct allocation>::iterator live_at(const void *pointer)
{
    struct memory_state *m = memory();
    uintptr_t address = reinterpret_cast<uintptr_t>(pointer);
    auto next = m->live.upper_bound(address);
    if (next == m->live.begin())
        return m->live.end();
    --next;
    return address < next->first + next->second.bytes ? next : m->live.end();
}

std::map<uintptr_t, struct pinned_range>::iterator pinned_at(uintptr_t address)
{
    struct memory_state *m = memory();
    auto next = m->pinned.upper_bound(address);
    if (next == m->pinned.begin())
        return m->pinned.end();
    --next;
    return address < next->first + next->second.bytes ? next : m->pinned.end();
}

/* The offset of a free stretch, taken out of the gaps or from above the high mark. */
size_t take_stretch(size_t bytes)
{
    struct memory_state *m = memory();
    for (auto gap = m->gaps.begin(); gap != m->gaps.end(); ++gap)
        if (gap->second >= bytes) {
            size_t offset = gap->first, left = gap->second - bytes;
            m->gaps.erase(gap);
            if (left)
                m->gaps[offset + bytes] = left;
            return offset;
        }
    size_t offset = m->high;
    if (bytes > ARENA_BYTES - offset)
        return SIZE_MAX;
    m->high += bytes;
    return offset;
}

void give_stretch(size_t offset, size_t bytes)
{
    struct memory_state *m = memory();
    auto next = m->gaps.lower_bound(offset);
    if (next != m->gaps.end() && next->first == offset + bytes) {
        bytes += next->second;
        next = m->gaps.erase(next);
    }
    if (next != m->gaps.begin()) {
        auto before = std::prev(next);
        if (before->first + before->second == offset) {
            before->second += bytes;
            return;
        }
    }
    m->gaps[offset] = bytes;
}

/* Fresh bytes are NaN in every format; the red zones carry their pattern. */
void prepare(unsigned char *stretch, const struct allocation *a)
{
    ASAN_UNPOISON_MEMORY_REGION(stretch, a->stretch);
    memset(stretch, RED_BYTE, RED_ZONE);
    memset(stretch + RED_ZONE, FRESH_BYTE, a->bytes);
    memset(stretch + RED_ZONE + a->bytes, RED_BYTE, a->stretch - RED_ZONE - a->bytes);
    ASAN_POISON_MEMORY_REGION(stretch, RED_ZONE);
    ASAN_POISON_MEMORY_REGION(stretch + RED_ZONE + a->bytes, a->stretch - RED_ZONE - a->bytes);
}

void check_red_zones(unsigned char *stretch, const struct allocation *a)
{
    ASAN_UNPOISON_MEMORY_REGION(stretch, a->stretch);
    for (size_t i = 0; i < a->stretch; i++) {
        if (i == RED_ZONE)
            i += a->bytes;
        if (i < a->stretch && stretch[i] != RED_BYTE)
            bug("device memory was written %zu bytes %s an allocation of %zu bytes",
                i < RED_ZONE ? RED_ZONE - i : i - RED_ZONE - a->bytes,
                i < RED_ZONE ? "before" : "behind", a->bytes);
    }
}

cudaError_t allocate(void **pointer, size_t bytes)
{
    struct memory_state *m = memory();
    if (!pointer)
        return cudaErrorInvalidValue;
    *pointer = nullptr;
    if (bytes == 0)
        return cudaSuccess;
    size_t rounded = round_up(bytes, ALIGN);
    if (rounded < bytes || m->used > runtime()->memory_capacity ||
        rounded > runtime()->memory_capacity - m->used)
        return cudaErrorMemoryAllocation;
    struct allocation a = {bytes, rounded + 2 * RED_ZONE};
    size_t offset = take_stretch(a.stretch);
    if (offset == SIZE_MAX)
        return cudaErrorMemoryAllocation;
    memory_open();
    prepare(m->base + offset, &a);
    *pointer = m->base + offset + RED_ZONE;
    m->live[reinterpret_cast<uintptr_t>(*pointer)] = a;
    m->used += rounded;
    runtime()->counters.mallocs++;
    return cudaSuccess;
}

void release(std::map<uintptr_t, struct allocation>::iterator live)
{
    struct memory_state *m = memory();
    unsigned char *stretch = reinterpret_cast<unsigned char *>(live->first) - RED_ZONE;
    struct allocation a = live->second;
    m->live.erase(live);
    memory_open();
    check_red_zones(stretch, &a);
    memset(stretch + RED_ZONE, RED_BYTE, a.bytes < PAGE ? a.bytes : PAGE);
    ASAN_POISON_MEMORY_REGION(stretch, a.stretch);
    give_stretch((size_t)(stretch - m->base), a.stretch);
    m->used -= round_up(a.bytes, ALIGN);
}

cudaError_t pin_new(void **pointer, size_t bytes)
{
    struct memory_state *m = memory();
    if (!pointer)
        return cudaErrorInvalidValue;
    *pointer = nullptr;
    if (bytes == 0)
        return cudaSuccess;
    if (bytes > runtime()->pin_limit || m->pinned_bytes > runtime()->pin_limit - bytes ||
        posix_memalign(pointer, PAGE, bytes) != 0)
        return cudaErrorMemoryAllocation;
    memset(*pointer, FRESH_BYTE, bytes);
    m->pinned[reinterpret_cast<uintptr_t>(*pointer)] = {bytes, true};
    m->pinned_bytes += bytes;
    return cudaSuccess;
}

cudaError_t pin_existing(void *pointer, size_t bytes)
{
    struct memory_state *m = memory();
    uintptr_t address = reinterpret_cast<uintptr_t>(pointer);
    if (!pointer || bytes == 0 || address % PAGE || bytes % PAGE || in_arena(pointer))
        return cudaErrorInvalidValue;
    auto next = m->pinned.lower_bound(address);
    if (pinned_at(address) != m->pinned.end() ||
        (next != m->pinned.end() && next->first < address + bytes))
        return cudaErrorHostMemoryAlreadyRegistered;
    if (bytes > runtime()->pin_limit || m->pinned_bytes > runtime()->pin_limit - bytes)
        return cudaErrorMemoryAllocation;
    m->pinned[address] = {bytes, false};
    m->pinned_bytes += bytes;
    return cudaSuccess;
}

} // namespace

enum memory_place memory_place_of(const void *pointer, size_t bytes)
{
    if (in_arena(pointer)) {
        auto live = live_at(pointer);
        if (live == memory()->live.end())
            return MEMORY_BAD;
        size_t left = live->first + live->second.bytes - reinterpret_cast<uintptr_t>(pointer);
        return bytes <= left ? MEMORY_DEVICE : MEMORY_BAD;
    }
    uintptr_t address = reinterpret_cast<uintptr_t>(pointer), end = address + bytes;
    do {
        auto range = pinned_at(address);
        if (range == memory()->pinned.end())
            return MEMORY_PAGEABLE;
        address = range->first + range->second.bytes;
    } while (address < end);
    return MEMORY_PINNED;
}

void memory_open(void)
{
    struct memory_state *m = memory();
    size_t bytes = round_up(m->high, (size_t)2 << 20);
    if (m->open && m->open_bytes >= bytes)
        return;
    if (bytes && mprotect(m->base, bytes, PROT_READ | PROT_WRITE) != 0)
        bug("device memory cannot be opened");
    m->open = true;
    m->open_bytes = bytes;
}

void memory_close(void)
{
    struct memory_state *m = memory();
    if (!m->open || !runtime()->protect)
        return;
    if (m->open_bytes && mprotect(m->base, m->open_bytes, PROT_NONE) != 0)
        bug("device memory cannot be closed");
    m->open = false;
}

void memory_leaks(std::vector<std::string> *leaks)
{
    for (const auto &live : memory()->live)
        leaks->push_back(std::to_string(live.second.bytes) +
                         " bytes of device memory were not freed");
    for (const auto &range : memory()->pinned)
        leaks->push_back(std::to_string(range.second.bytes) + " bytes of host memory were not " +
                         (range.second.owned ? "freed" : "unregistered"));
}

void memory_reset(void)
{
    struct memory_state *m = memory();
    while (!m->live.empty())
        release(m->live.begin());
    for (const auto &range : m->pinned)
        if (range.second.owned)
            free(reinterpret_cast<void *>(range.first));
    m->pinned.clear();
    m->pinned_bytes = 0;
    runtime()->protect = true;
    memory_close();
    if (m->high > RESET_KEEPS)
        madvise(m->base, round_up(m->high, PAGE), MADV_DONTNEED);
    m->gaps.clear();
    m->high = 0;
}

} // namespace cuda_host

using namespace cuda_host;

size_t cuda_host_memory_used(void)
{
    std::unique_lock<std::mutex> hold(runtime()->lock);
    return memory()->used;
}

cudaError_t cudaMalloc(void **pointer, size_t size)
{
    struct api_call call("cudaMalloc", API_UNSAFE_IN_CAPTURE);
    return call.done(call.error ? call.error : allocate(pointer, size));
}

/* Waits for all work first, as the real one does. */
cudaError_t cudaFree(void *pointer)
{
    struct api_call call("cudaFree", API_UNSAFE_IN_CAPTURE);
    if (call.error)
        return call.done(call.error);
    if (!pointer)
        return call.done(cudaSuccess);
    auto live = memory()->live.find(reinterpret_cast<uintptr_t>(pointer));
    if (live == memory()->live.end())
        return call.done(cudaErrorInvalidValue);
    stream_run_all(&call.hold);
    live = memory()->live.find(reinterpret_cast<uintptr_t>(pointer));
    if (live == memory()->live.end())
        bug("device memory was freed twice, by two threads");
    release(live);
    runtime()->counters.frees++;
    return call.done(cudaSuccess);
}

cudaError_t cudaMallocHost(void **pointer, size_t size)
{
    struct api_call call("cudaMallocHost", API_UNSAFE_IN_CAPTURE);
    return call.done(call.error ? call.error : pin_new(pointer, size));
}

cudaError_t cudaHostAlloc(void **pointer, size_t size, unsigned flags)
{
    struct api_call call("cudaHostAlloc", API_UNSAFE_IN_CAPTURE);
    if (call.error)
        return call.done(call.error);
    return call.done(flags & ~7u ? cudaErrorInvalidValue : pin_new(pointer, size));
}

cudaError_t cudaFreeHost(void *pointer)
{
    struct api_call call("cudaFreeHost", API_UNSAFE_IN_CAPTURE);
    if (call.error)
        return call.done(call.error);
    if (!pointer)
        return call.done(cudaSuccess);
    auto range = memory()->pinned.find(reinterpret_cast<uintptr_t>(pointer));
    if (range == memory()->pinned.end() || !range->second.owned)
        return call.done(cudaErrorInvalidValue);
    memory()->pinned_bytes -= range->second.bytes;
    memory()->pinned.erase(range);
    free(pointer);
    return call.done(cudaSuccess);
}

cudaError_t cudaHostRegister(void *pointer, size_t size, unsigned flags)
{
    struct api_call call("cudaHostRegister", API_UNSAFE_IN_CAPTURE);
    if (call.error)
        return call.done(call.error);
    unsigned known = cudaHostRegisterPortable | cudaHostRegisterMapped | cudaHostRegisterReadOnly;
    return call.done(flags & ~known ? cudaErrorInvalidValue : pin_existing(pointer, size));
}

cudaError_t cudaHostUnregister(void *pointer)
{
    struct api_call call("cudaHostUnregister", API_UNSAFE_IN_CAPTURE);
    if (call.error)
        return call.done(call.error);
    auto range = memory()->pinned.find(reinterpret_cast<uintptr_t>(pointer));
    if (range == memory()->pinned.end() || range->second.owned)
        return call.done(cudaErrorHostMemoryNotRegistered);
    memory()->pinned_bytes -= range->second.bytes;
    memory()->pinned.erase(range);
    return call.done(cudaSuccess);
}

cudaError_t cudaHostGetDevicePointer(void **device, void *host, unsigned flags)
{
    struct api_call call("cudaHostGetDevicePointer");
    if (call.error)
        return call.done(call.error);
    if (!device || flags || memory_place_of(host, 1) != MEMORY_PINNED)
        return call.done(cudaErrorInvalidValue);
    *device = host;
    return call.done(cudaSuccess);
}

cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *attributes, const void *pointer)
{
    struct api_call call("cudaPointerGetAttributes");
    if (call.error)
        return call.done(call.error);
    if (!attributes)
        return call.done(cudaErrorInvalidValue);
    void *plain = const_cast<void *>(pointer);
    enum memory_place place = memory_place_of(pointer, 1);
    *attributes = {cudaMemoryTypeUnregistered, -2, nullptr, plain};
    if (place == MEMORY_DEVICE)
        *attributes = {cudaMemoryTypeDevice, 0, plain, nullptr};
    else if (place == MEMORY_PINNED)
        *attributes = {cudaMemoryTypeHost, 0, plain, plain};
    return call.done(cudaSuccess);
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total)
{
    struct api_call call("cudaMemGetInfo");
    if (call.error)
        return call.done(call.error);
    if (!free_bytes || !total)
        return call.done(cudaErrorInvalidValue);
    size_t capacity = runtime()->memory_capacity, used = memory()->used;
    *free_bytes = capacity > used ? capacity - used : 0;
    *total = capacity;
    return call.done(cudaSuccess);
}
