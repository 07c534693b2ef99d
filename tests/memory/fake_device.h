/* A device that does as it is told: its copies end when the test says so, its fences are reached
 * when the test says so, and it has as much room and page-locks as much as the test wants. */
#ifndef MOERING_TESTS_MEMORY_FAKE_DEVICE_H
#define MOERING_TESTS_MEMORY_FAKE_DEVICE_H

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <vector>

#include "memory/device.h"

struct FakeDevice {
    struct device device = {&ops};
    struct Copy {
        void *to;
        const void *from;
        size_t bytes;
        uint64_t after;
    };
    std::vector<Copy> copies; /* ticket t is copies[t - 1] */
    std::vector<Copy> fills;  /* done at once, whatever their fence */
    std::map<void *, size_t> memory, locked;
    std::vector<uint64_t> waits; /* fences that somebody waited for */
    uint64_t ended = 0, marked = 0, reached_to = 0;
    size_t room = 100;               /* copies that may be under way */
    size_t bytes_room = SIZE_MAX;    /* of device memory */
    size_t locked_room = SIZE_MAX;   /* of page-locked memory */

    ~FakeDevice()
    {
        for (auto &piece : memory)
            free(piece.first);
    }
    void end(uint64_t count = 1)
    {
        for (; count > 0; count--, ended++) {
            if (copies[ended].after > reached_to)
                abort(); /* the test ends a copy that has to wait */
            memcpy(copies[ended].to, copies[ended].from, copies[ended].bytes);
        }
    }
    static size_t sum(const std::map<void *, size_t> &pieces)
    {
        size_t bytes = 0;
        for (auto &piece : pieces)
            bytes += piece.second;
        return bytes;
    }

private:
    static FakeDevice *self(struct device *device)
    {
        return reinterpret_cast<FakeDevice *>(device);
    }
    static void *alloc(struct device *device, size_t bytes)
    {
        FakeDevice *fake = self(device);
        if (bytes > fake->bytes_room - sum(fake->memory))
            return nullptr;
        void *piece = aligned_alloc(4096, bytes);
        fake->memory[piece] = bytes;
        return piece;
    }
    static void release(struct device *device, void *piece)
    {
        if (self(device)->memory.erase(piece) != 1)
            abort();
        free(piece);
    }
    static bool pin(struct device *device, void *base, size_t bytes)
    {
        FakeDevice *fake = self(device);
        if (bytes > fake->locked_room - sum(fake->locked))
            return false;
        fake->locked[base] = bytes;
        return true;
    }
    static void unpin(struct device *device, void *base)
    {
        if (self(device)->locked.erase(base) != 1)
            abort();
    }
    static uint64_t copy(struct device *device, void *to, const void *from, size_t bytes,
                         uint64_t after)
    {
        FakeDevice *fake = self(device);
        if (fake->copies.size() - fake->ended >= fake->room)
            return 0;
        fake->copies.push_back({to, from, bytes, after});
        return fake->copies.size();
    }
    static void fill(struct device *device, void *to, uint8_t byte, size_t bytes, uint64_t after)
    {
        self(device)->fills.push_back({to, nullptr, bytes, after});
        memset(to, byte, bytes);
    }
    static uint64_t poll(struct device *device, uint64_t, uint64_t wait_ns)
    {
        FakeDevice *fake = self(device);
        if (wait_ns == UINT64_MAX) {
            fake->reached_to = fake->marked;
            fake->end(fake->copies.size() - fake->ended);
        }
        return fake->ended;
    }
    static uint64_t fence(struct device *device) { return ++self(device)->marked; }
    static bool reached(struct device *device, uint64_t fence, bool wait)
    {
        FakeDevice *fake = self(device);
        if (wait && fence > 0) {
            fake->waits.push_back(fence);
            fake->reached_to = std::max(fake->reached_to, fence);
        }
        return fence <= fake->reached_to;
    }
    static struct device_rates rates(struct device *) { return {}; }
    static void close(struct device *) {}
    static constexpr struct device_ops ops = {"fake", false, alloc, release, pin,   unpin, copy,
                                              fill,   poll,  fence, reached, rates, close};
};

#endif
