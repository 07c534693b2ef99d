/* The CUDA device over the host double: what runs when is drawn from a seed, so each rule of
 * memory/device.h that needs an event or a wait is tried in many orders. */
#include "memory/device_cuda.h"

#include <cuda_runtime.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <string>
#include <vector>

#include "tests/support/cuda_host/cuda_host.h"
#include "tests/support/scratch.h"

namespace {

constexpr size_t kStage = 4096;

/* out[i] = from[i]: what a kernel sees of a slot. */
__global__ void look(const uint8_t *from, uint8_t *out, uint32_t bytes)
{
    for (uint32_t i = threadIdx.x; i < bytes; i += blockDim.x)
        out[i] = from[i];
}

/* Page-aligned memory of the host. */
class Pages {
public:
    explicit Pages(size_t bytes, uint64_t seed = 1) : bytes_(bytes)
    {
        void *map = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (map == MAP_FAILED)
            throw std::bad_alloc();
        base_ = static_cast<uint8_t *>(map);
        if (seed) {
            std::vector<uint8_t> noise = scratch::noise(seed, bytes);
            memcpy(base_, noise.data(), bytes);
        }
    }
    ~Pages() { munmap(base_, bytes_); }
    Pages(const Pages &) = delete;
    Pages &operator=(const Pages &) = delete;
    uint8_t *at(size_t offset = 0) const { return base_ + offset; }
    size_t bytes() const { return bytes_; }

private:
    uint8_t *base_;
    size_t bytes_;
};

class DeviceCuda : public testing::Test {
protected:
    DeviceCuda() { cuda_host_reset(1); }
    ~DeviceCuda() override { close(); }
    void open(uint64_t seed, bool measure = false)
    {
        close();
        cuda_host_reset(seed);
        reopen(measure);
    }
    /* Under the limits of the double that were set meanwhile. */
    void reopen(bool measure = false)
    {
        struct device_cuda_config config = {0, kStage, measure};
        struct error error = {};
        ASSERT_EQ(device_cuda_open(&device_, &config, &error), STATUS_OK) << error.text;
        ops_ = device_->ops;
        stream_ = static_cast<cudaStream_t>(device_cuda_stream(device_));
    }
    void close()
    {
        if (!device_)
            return;
        device_close(device_);
        device_ = nullptr;
        EXPECT_EQ(cuda_host_leaks(), std::vector<std::string>());
    }
    uint8_t *alloc(size_t bytes)
    {
        auto *memory = static_cast<uint8_t *>(ops_->alloc(device_, bytes));
        EXPECT_NE(memory, nullptr);
        return memory;
    }
    void wait(uint64_t ticket)
    {
        uint64_t seen = 0;
        for (int i = 0; seen < ticket && i < 1000; i++)
            seen = ops_->poll(device_, seen, 10000000);
        ASSERT_GE(seen, ticket);
    }
    /* Waits for the ticket only: reading must not be what lets the copy happen. */
    std::vector<uint8_t> read(const void *memory, size_t bytes)
    {
        std::vector<uint8_t> out(bytes);
        EXPECT_EQ(cudaMemcpy(out.data(), memory, bytes, cudaMemcpyDeviceToHost), cudaSuccess);
        return out;
    }
    void launch_look(const uint8_t *from, uint8_t *out, uint32_t bytes)
    {
        cudaLaunchConfig_t config = {};
        config.gridDim = dim3(1);
        config.blockDim = dim3(32);
        config.stream = stream_;
        ASSERT_EQ(cudaLaunchKernelEx(&config, look, from, out, bytes), cudaSuccess);
    }

    struct device *device_ = nullptr;
    const struct device_ops *ops_ = nullptr;
    cudaStream_t stream_ = nullptr;
};

TEST_F(DeviceCuda, TellsWhatItIs)
{
    open(1);
    struct device_cuda_info info;
    device_cuda_describe(device_, &info);
    EXPECT_GT(strlen(info.name), 0u);
    EXPECT_GT(info.major, 0u);
    EXPECT_GT(info.processors, 0u);
    EXPECT_GE(info.total_bytes, info.free_bytes);
    EXPECT_GT(info.free_bytes, 0u);
    EXPECT_STREQ(ops_->name, "cuda");
    EXPECT_FALSE(ops_->host_visible);
    int copy_priority = 0, least, greatest;
    ASSERT_EQ(cudaStreamGetPriority(stream_, &copy_priority), cudaSuccess);
    ASSERT_EQ(cudaDeviceGetStreamPriorityRange(&least, &greatest), cudaSuccess);
    EXPECT_EQ(copy_priority, least) << "kernels have the normal priority";
}

TEST_F(DeviceCuda, MemoryIsAlignedBoundedAndGivenBack)
{
    open(1);
    size_t before = cuda_host_memory_used();
    for (size_t bytes : {1, 100, 4096, 5000, 1 << 20}) {
        uint8_t *memory = alloc(bytes);
        EXPECT_EQ(reinterpret_cast<uintptr_t>(memory) % 4096, 0u) << bytes;
        ASSERT_EQ(cudaMemset(memory + bytes - 1, 1, 1), cudaSuccess);
        ops_->release(device_, memory);
        EXPECT_EQ(cuda_host_memory_used(), before);
    }
    EXPECT_EQ(ops_->alloc(device_, (size_t)1 << 40), nullptr);
    EXPECT_EQ(ops_->alloc(device_, SIZE_MAX), nullptr);
    EXPECT_EQ(ops_->alloc(device_, 0), nullptr);
    alloc(4096); /* stays until the device is closed */
    EXPECT_DEATH(ops_->release(device_, &before), "nothing that this device gave");
}

/* Sources page-locked and not, sizes below, at and above the staging buffers, many at once. */
TEST_F(DeviceCuda, CopiesEndInOrderWithTheirBytes)
{
    for (uint64_t seed = 1; seed <= 60; seed++) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        open(seed);
        scratch::Random random(seed);
        Pages locked(16 * 4096, seed), loose(16 * 4096, seed + 1000);
        ASSERT_TRUE(ops_->pin(device_, locked.at(), locked.bytes()));
        uint8_t *memory = alloc(64 * 16 * 1024);
        struct Copy {
            const uint8_t *from;
            uint8_t *to;
            size_t bytes;
        };
        std::vector<Copy> copies;
        uint64_t seen = 0;
        bool was_full = false;
        while (copies.size() < 60 || seen < copies.size()) {
            if (copies.size() < 60 && random.chance(70)) {
                const Pages &source = random.chance(50) ? locked : loose;
                size_t bytes = 1 + random.below(random.chance(30) ? 3 * kStage : kStage + 1);
                Copy copy = {source.at(random.below(4 * 4096)), memory + copies.size() * 16 * 1024,
                             bytes};
                uint64_t ticket = ops_->copy(device_, copy.to, copy.from, bytes, 0);
                was_full |= ticket == 0;
                if (ticket) {
                    copies.push_back(copy);
                    ASSERT_EQ(ticket, copies.size());
                    continue;
                }
            }
            uint64_t now = ops_->poll(device_, seen, random.chance(30) ? 1000000 : 0);
            ASSERT_GE(now, seen);
            ASSERT_LE(now, copies.size());
            for (; seen < now; seen++) {
                const Copy &copy = copies[seen];
                ASSERT_EQ(memcmp(read(copy.to, copy.bytes).data(), copy.from, copy.bytes), 0)
                    << "copy " << seen + 1;
            }
        }
        EXPECT_EQ(ops_->poll(device_, seen, UINT64_MAX), seen) << "nothing left to wait for";
        ops_->unpin(device_, locked.at());
    }
}

/* A source may change as soon as its copy has ended, staged or not; not before. */
TEST_F(DeviceCuda, WhatHasEndedNeedsItsSourceNoMore)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        open(seed);
        Pages source(4 * 4096, seed);
        std::vector<uint8_t> before(source.at(), source.at(source.bytes()));
        uint8_t *memory = alloc(source.bytes());
        if (seed % 2) {
            ASSERT_TRUE(ops_->pin(device_, source.at(), source.bytes()));
        }
        wait(ops_->copy(device_, memory, source.at(), source.bytes(), 0));
        memset(source.at(), 0, source.bytes());
        EXPECT_EQ(read(memory, source.bytes()), before) << "seed " << seed;
    }
}

TEST_F(DeviceCuda, FillsStandInTheOrderOfCopies)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        open(seed);
        Pages source(4 * 4096, seed);
        uint8_t *memory = alloc(source.bytes());
        uint64_t ticket = 0;
        for (int i = 0; i < 40; i++) { /* more than the device has places for */
            ops_->fill(device_, memory, (uint8_t)i, source.bytes(), 0);
            if (i % 8 == 0)
                ticket = ops_->copy(device_, memory, source.at(), 3 * 4096, 0);
            ops_->fill(device_, memory, 0xff, 4096, 0);
        }
        wait(ticket);
        ops_->fill(device_, memory, 0xee, 100, 0);
        wait(ops_->copy(device_, memory + 4096, source.at() + 4096, 4096, 0));
        std::vector<uint8_t> now = read(memory, source.bytes());
        EXPECT_EQ(now[0], 0xee);
        EXPECT_EQ(now[100], 0xff);
        EXPECT_EQ(memcmp(&now[4096], source.at(4096), 4096), 0);
        EXPECT_EQ(now[2 * 4096], 39);
        EXPECT_EQ(now[4 * 4096 - 1], 39) << "seed " << seed;
    }
}

/* Writes new bytes into a slot that a kernel reads, with or without the fence behind the kernel.
 * How many seeds see anything but the old bytes? */
class DeviceCudaFence : public DeviceCuda {
protected:
    bool torn(uint64_t seed, bool fenced, bool staged, bool fill)
    {
        open(seed);
        constexpr uint32_t bytes = 3 * kStage;
        Pages older(bytes, 7), newer(bytes, 8);
        if (!staged) {
            EXPECT_TRUE(ops_->pin(device_, newer.at(), bytes));
        }
        uint8_t *slot = alloc(bytes), *seen = alloc(bytes);
        wait(ops_->copy(device_, slot, older.at(), bytes, 0));
        launch_look(slot, seen, bytes);
        uint64_t fence = ops_->fence(device_);
        uint64_t after = fenced ? fence : 0;
        uint64_t ticket = 0;
        if (fill)
            ops_->fill(device_, slot, 0xff, bytes, after);
        else
            ticket = ops_->copy(device_, slot, newer.at(), bytes, after);
        wait(ticket);
        EXPECT_TRUE(ops_->reached(device_, fence, true));
        bool wrong = memcmp(read(seen, bytes).data(), older.at(), bytes) != 0;
        if (!fill) {
            EXPECT_EQ(memcmp(read(slot, bytes).data(), newer.at(), bytes), 0);
        }
        close();
        return wrong;
    }
    int torn_of(int seeds, bool fenced, bool staged, bool fill)
    {
        int count = 0;
        for (int seed = 1; seed <= seeds; seed++)
            count += torn((uint64_t)seed, fenced, staged, fill);
        return count;
    }
};

TEST_F(DeviceCudaFence, NothingIsWrittenBeforeIt)
{
    EXPECT_EQ(torn_of(100, true, false, false), 0);
    EXPECT_EQ(torn_of(100, true, true, false), 0);
    EXPECT_EQ(torn_of(100, true, false, true), 0);
}

TEST_F(DeviceCudaFence, ItsAbsenceWouldBeSeen)
{
    EXPECT_GT(torn_of(100, false, false, false), 0);
    EXPECT_GT(torn_of(100, false, true, false), 0);
    EXPECT_GT(torn_of(100, false, false, true), 0);
}

TEST_F(DeviceCudaFence, IsReachedWhenTheWorkBeforeItIsDone)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        open(seed);
        uint8_t *memory = alloc(8192);
        EXPECT_TRUE(ops_->reached(device_, 0, false));
        ASSERT_EQ(cudaMemsetAsync(memory, 3, 4096, stream_), cudaSuccess);
        uint64_t first = ops_->fence(device_);
        ASSERT_EQ(cudaMemsetAsync(memory + 4096, 4, 4096, stream_), cudaSuccess);
        uint64_t second = ops_->fence(device_);
        EXPECT_GT(first, 0u);
        EXPECT_GT(second, first);
        int asked = 0;
        while (!ops_->reached(device_, first, false))
            ASSERT_LT(++asked, 100000);
        uint64_t sets = cuda_host_counters().sets;
        EXPECT_GE(sets, 1u);
        EXPECT_TRUE(ops_->reached(device_, second, true));
        EXPECT_EQ(cuda_host_counters().sets, 2u);
        EXPECT_TRUE(ops_->reached(device_, first, false));
    }
    EXPECT_DEATH(ops_->reached(device_, 99, false), "fence 99 of 2 marked");
}

/* More fences than there are events: the old ones are answered for by younger ones. */
TEST_F(DeviceCudaFence, OldOnesAreNotForgotten)
{
    for (uint64_t seed = 1; seed <= 5; seed++) {
        open(seed);
        constexpr uint32_t bytes = 64;
        Pages older(4096, 7), newer(4096, 8);
        uint8_t *slot = alloc(bytes), *seen = alloc(bytes);
        wait(ops_->copy(device_, slot, older.at(), bytes, 0));
        launch_look(slot, seen, bytes);
        uint64_t first = ops_->fence(device_), last = first;
        for (int i = 0; i < 3000; i++)
            last = ops_->fence(device_);
        EXPECT_EQ(last, first + 3000);
        wait(ops_->copy(device_, slot, newer.at(), bytes, first));
        EXPECT_TRUE(ops_->reached(device_, first, true));
        EXPECT_TRUE(ops_->reached(device_, last, true));
        EXPECT_EQ(memcmp(read(seen, bytes).data(), older.at(), bytes), 0);
    }
}

/* A fence that was waited for costs no second wait, nor does one that is known to be reached. */
TEST_F(DeviceCudaFence, CostsNothingTwice)
{
    open(1);
    Pages source(4096, 7);
    ASSERT_TRUE(ops_->pin(device_, source.at(), 4096));
    uint8_t *memory = alloc(4096);
    uint64_t fence = ops_->fence(device_), ticket = 0;
    for (int i = 0; i < 3; i++)
        ticket = ops_->copy(device_, memory, source.at(), 4096, fence);
    wait(ticket);
    EXPECT_EQ(cuda_host_counters().event_waits, 1u);
    fence = ops_->fence(device_);
    EXPECT_TRUE(ops_->reached(device_, fence, true));
    wait(ops_->copy(device_, memory, source.at(), 4096, fence));
    EXPECT_EQ(cuda_host_counters().event_waits, 1u);
    ops_->unpin(device_, source.at());
}

TEST_F(DeviceCuda, ReleaseWaitsForWhatStillReads)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        open(seed);
        Pages source(4096, seed);
        uint8_t *slot = alloc(4096), *seen = alloc(4096);
        wait(ops_->copy(device_, slot, source.at(), 4096, 0));
        launch_look(slot, seen, 4096);
        ops_->fill(device_, slot, 1, 4096, ops_->fence(device_));
        ops_->release(device_, slot);
        EXPECT_EQ(memcmp(read(seen, 4096).data(), source.at(), 4096), 0) << "seed " << seed;
    }
}

TEST_F(DeviceCuda, WhatCannotBePageLockedIsStaged)
{
    open(1);
    Pages first(8 * 4096, 1), second(8 * 4096, 2);
    cuda_host_set_pin_limit(2 * kStage + first.bytes() + 4096);
    ASSERT_TRUE(ops_->pin(device_, first.at(), first.bytes()));
    EXPECT_FALSE(ops_->pin(device_, second.at(), second.bytes()));
    uint8_t *memory = alloc(8 * 4096);
    for (const Pages *source : {&first, &second}) {
        wait(ops_->copy(device_, memory, source->at(), source->bytes(), 0));
        EXPECT_EQ(memcmp(read(memory, source->bytes()).data(), source->at(), source->bytes()), 0);
    }
    ops_->unpin(device_, first.at());
    EXPECT_TRUE(ops_->pin(device_, second.at(), second.bytes())) << "there is room for it now";
    EXPECT_DEATH(ops_->unpin(device_, first.at()), "not page-locked");
}

/* Large memory is page-locked in chunks; where the second is refused, the first is given back. */
TEST_F(DeviceCuda, HalfALockIsNone)
{
    open(1);
    Pages large((size_t)5 << 29, 0); /* 2.5 GiB that nobody touches */
    cuda_host_set_pin_limit((size_t)2 << 30);
    EXPECT_FALSE(ops_->pin(device_, large.at(), large.bytes()));
    cuda_host_set_pin_limit((size_t)3 << 30);
    EXPECT_TRUE(ops_->pin(device_, large.at(), large.bytes()));
    ops_->unpin(device_, large.at());
    ASSERT_TRUE(ops_->pin(device_, large.at(), large.bytes())); /* close takes it back */
    close();
}

TEST_F(DeviceCuda, MeasuresTheLink)
{
    open(1, true);
    struct device_rates rates = ops_->rates(device_);
    EXPECT_GT(rates.idle, 0);
    EXPECT_GT(rates.loaded, 0);
    EXPECT_EQ(rates.staged, 0) << "nothing is staged yet";
    Pages source(4096, 1);
    cuda_host_set_pin_limit(2 * kStage);
    EXPECT_FALSE(ops_->pin(device_, source.at(), source.bytes()));
    EXPECT_GT(ops_->rates(device_).staged, 0);
    uint8_t *memory = alloc(4096);
    wait(ops_->copy(device_, memory, source.at(), 4096, 0));
    EXPECT_EQ(memcmp(read(memory, 4096).data(), source.at(), 4096), 0);
    open(1);
    EXPECT_EQ(ops_->rates(device_).idle, 0) << "nobody asked";
}

TEST_F(DeviceCuda, ADeviceWithoutRoomIsNotMeasured)
{
    cuda_host_set_memory(4096);
    reopen(true);
    EXPECT_EQ(ops_->rates(device_).idle, 0);
}

/* --- What a machine may answer --------------------------------------------------------------- */

class DeviceCudaOpen : public testing::Test {
protected:
    DeviceCudaOpen() { cuda_host_reset(1); }
    ~DeviceCudaOpen() override { cuda_host_reset(1); }
    void expect_refused(uint32_t ordinal, enum status status, const char *words)
    {
        struct device *device = reinterpret_cast<struct device *>(this);
        struct device_cuda_config config = {ordinal, kStage, false};
        struct error error = {};
        EXPECT_EQ(device_cuda_open(&device, &config, &error), status) << error.text;
        EXPECT_EQ(device, nullptr);
        EXPECT_NE(std::string(error.text).find(words), std::string::npos) << error.text;
        EXPECT_EQ(cuda_host_leaks(), std::vector<std::string>());
    }
};

TEST_F(DeviceCudaOpen, CountsDevicesOrSaysWhyNot)
{
    struct error why = {};
    cuda_host_set_device_count(2);
    EXPECT_EQ(device_cuda_count(&why), 2u);
    EXPECT_STREQ(why.text, "");
    cuda_host_set_device_count(0);
    EXPECT_EQ(device_cuda_count(&why), 0u);
    EXPECT_STREQ(why.text, "the driver finds no CUDA device");
    why = {};
    cuda_host_set_driver(false);
    EXPECT_EQ(device_cuda_count(&why), 0u);
    EXPECT_NE(std::string(why.text).find("no NVIDIA driver"), std::string::npos) << why.text;
    EXPECT_EQ(device_cuda_count(nullptr), 0u);
}

TEST_F(DeviceCudaOpen, NamesTheDevicesThatThereAre)
{
    cuda_host_set_device_count(2);
    expect_refused(2, STATUS_NOT_FOUND, "no CUDA device 2; this machine has 2");
    cuda_host_set_device_count(0);
    expect_refused(0, STATUS_NOT_FOUND, "no CUDA device 0: the driver finds no CUDA device");
    cuda_host_set_driver(false);
    expect_refused(0, STATUS_NOT_FOUND, "no NVIDIA driver");
}

TEST_F(DeviceCudaOpen, SaysWhatToDoWhereTheBuildHasNoCode)
{
    cuda_host_fail("cudaFuncGetAttributes", 1, cudaErrorNoKernelImageForDevice);
    expect_refused(0, STATUS_UNSUPPORTED, "CMAKE_CUDA_ARCHITECTURES");
}

/* Each call of open fails once: a status and nothing left behind. */
TEST_F(DeviceCudaOpen, AnyCallMayFail)
{
    const struct {
        const char *call;
        int times;
    } calls[] = {
        {"cudaGetDeviceCount", 1},
        {"cudaSetDevice", 1},
        {"cudaFree", 1},
        {"cudaDeviceGetStreamPriorityRange", 1},
        {"cudaStreamCreateWithPriority", 2},
        {"cudaEventCreateWithFlags", 40},
        {"cudaHostAlloc", 2},
    };
    for (const auto &call : calls)
        for (int nth = 1; nth <= call.times; nth++) {
            cuda_host_reset(1);
            cuda_host_fail(call.call, nth, cudaErrorMemoryAllocation);
            bool counting = !strcmp(call.call, "cudaGetDeviceCount");
            expect_refused(0, counting ? STATUS_NOT_FOUND : STATUS_NO_MEMORY, call.call);
        }
    cuda_host_reset(1);
    cuda_host_fail("cudaSetDevice", 1, cudaErrorDevicesUnavailable);
    expect_refused(0, STATUS_UNSUPPORTED, "cannot use cuda:0");
}

using DeviceCudaDeathTest = DeviceCuda;

TEST_F(DeviceCudaDeathTest, AFailureInFlightStopsWithTheCall)
{
    open(1);
    Pages source(4096, 1);
    uint8_t *memory = alloc(4096);
    EXPECT_DEATH(
        {
            cuda_host_fail("cudaMemcpyAsync", 1, cudaErrorIllegalAddress);
            ops_->copy(device_, memory, source.at(), 4096, 0);
        },
        "device_cuda.cu:[0-9]+: cudaMemcpyAsync.*compute-sanitizer");
}

} // namespace
