/* A ring whose reads are made by pread inside its wait, in the order and with the answers that a
 * test asks for: some held back, some short, some failing, all of them shuffled. One at a time,
 * since the function that opens a ring has no room for a `this`. */
#ifndef MOERING_TESTS_MEMORY_FAKE_RING_H
#define MOERING_TESTS_MEMORY_FAKE_RING_H

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <functional>
#include <mutex>
#include <vector>

#include "memory/io_ring.h"

class FakeRing {
public:
    struct Call {
        uint64_t offset;
        uint32_t bytes;
        uint32_t buffer;
    };
    FakeRing() { current = this; }
    ~FakeRing() { current = nullptr; }
    FakeRing(const FakeRing &) = delete;
    FakeRing &operator=(const FakeRing &) = delete;

    /* What the next reads answer: > 0 at most that many bytes, < 0 an error, 0 the end of the
     * file. */
    std::deque<int> script;
    /* Instead, if set: asked for each read, a value as in `script`; INT32_MAX reads as the
     * system. */
    std::function<int(const struct io_ring_read &)> answer;
    bool shuffle = false;    /* ends come in any order */
    bool strict = false;     /* offsets, lengths and memory must be multiples of 4096 */
    bool refuse = false;     /* to be opened */
    bool closed = false;
    struct io_ring_config config = {};

    static enum status open(struct io_ring **out, const struct io_ring_config *config,
                            struct error *error)
    {
        if (current->refuse)
            return error_set(error, STATUS_UNSUPPORTED, "no ring today");
        current->config = *config;
        current->closed = false;
        *out = &current->head_.ring;
        return STATUS_OK;
    }

    /* The read at this offset of the file does not end until it is let go. */
    void hold(uint64_t offset)
    {
        std::lock_guard<std::mutex> lock(mutex_);
        held_.push_back(offset);
    }
    void let_go(uint64_t offset)
    {
        std::lock_guard<std::mutex> lock(mutex_);
        held_.erase(std::remove(held_.begin(), held_.end(), offset), held_.end());
        changed_.notify_all();
    }
    void let_all_go()
    {
        std::lock_guard<std::mutex> lock(mutex_);
        held_.clear();
        changed_.notify_all();
    }
    /* Until a read at this offset was handed over. */
    void await(uint64_t offset)
    {
        std::unique_lock<std::mutex> lock(mutex_);
        ASSERT_TRUE(changed_.wait_for(lock, std::chrono::seconds(10), [&] {
            return std::any_of(calls_.begin(), calls_.end(),
                               [&](const Call &call) { return call.offset == offset; });
        })) << "no read at " << offset;
    }
    /* Until the reader sleeps with nothing but held reads under way. */
    void settle()
    {
        std::unique_lock<std::mutex> lock(mutex_);
        ASSERT_TRUE(changed_.wait_for(lock, std::chrono::seconds(10),
                                      [&] { return waiting_ && !woken_ && !ready(); }));
    }
    std::vector<Call> calls()
    {
        std::lock_guard<std::mutex> lock(mutex_);
        return calls_;
    }
    size_t most_under_way()
    {
        std::lock_guard<std::mutex> lock(mutex_);
        return most_;
    }

private:
    struct Head {
        struct io_ring ring; /* first */
        FakeRing *self;
    };
    static FakeRing &self(struct io_ring *ring) { return *reinterpret_cast<Head *>(ring)->self; }
    static void read(struct io_ring *ring, const struct io_ring_read *read)
    {
        FakeRing &r = self(ring);
        std::lock_guard<std::mutex> lock(r.mutex_);
        if (r.queued_.size() >= r.config.depth)
            abort(); /* deeper than it was opened */
        for (const io_ring_read &other : r.queued_)
            if (other.tag == read->tag)
                abort(); /* a tag under way twice */
        if (r.strict && ((read->offset | read->bytes | (uintptr_t)read->to) & 4095))
            abort(); /* off the alignment */
        if (read->buffer != IO_RING_NO_BUFFER) { /* within the buffer that it names */
            const uint8_t *begin = r.config.memory + read->buffer * r.config.buffer_bytes;
            if (read->to < begin || read->to + read->bytes > begin + r.config.buffer_bytes)
                abort();
        }
        r.calls_.push_back({read->offset, read->bytes, read->buffer});
        r.queued_.push_back(*read);
        r.most_ = std::max(r.most_, r.queued_.size());
        r.changed_.notify_all();
    }
    std::deque<io_ring_read>::iterator next()
    {
        return std::find_if(queued_.begin(), queued_.end(), [&](const io_ring_read &read) {
            return std::find(held_.begin(), held_.end(), read.offset) == held_.end();
        });
    }
    bool ready() { return next() != queued_.end(); }
    int32_t perform(const io_ring_read &read)
    {
        int said = INT32_MAX;
        if (answer) {
            said = answer(read);
        } else if (!script.empty()) {
            said = script.front();
            script.pop_front();
        }
        if (said <= 0)
            return said;
        size_t bytes = std::min<size_t>(read.bytes, (size_t)said);
        ssize_t n = pread(config.files->at[read.file].fd, read.to, bytes, (off_t)read.offset);
        return n < 0 ? -errno : (int32_t)n;
    }
    static uint32_t wait(struct io_ring *ring, struct io_ring_end *ends, uint32_t max,
                         uint64_t wait_ns)
    {
        FakeRing &r = self(ring);
        std::unique_lock<std::mutex> lock(r.mutex_);
        auto over = [&] { return r.woken_ || r.ready(); };
        r.waiting_ = wait_ns > 0;
        r.changed_.notify_all();
        if (wait_ns == UINT64_MAX)
            r.changed_.wait(lock, over);
        else
            r.changed_.wait_for(lock, std::chrono::nanoseconds(wait_ns), over);
        r.waiting_ = r.woken_ = false;
        uint32_t n = 0;
        while (n < max && r.ready()) {
            auto at = r.next();
            ends[n].tag = at->tag;
            ends[n++].result = r.perform(*at);
            r.queued_.erase(at);
        }
        if (r.shuffle)
            for (uint32_t i = n; i > 1; i--)
                std::swap(ends[i - 1], ends[r.dice_++ * 7919 % i]);
        return n;
    }
    static void wake(struct io_ring *ring)
    {
        FakeRing &r = self(ring);
        std::lock_guard<std::mutex> lock(r.mutex_);
        r.woken_ = true;
        r.changed_.notify_all();
    }
    static void close(struct io_ring *ring) { self(ring).closed = true; }
    static inline FakeRing *current = nullptr;
    static constexpr struct io_ring_ops ops = {read, wait, wake, close};
    Head head_ = {{&ops}, this};
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<uint64_t> held_;
    std::vector<Call> calls_;
    std::deque<io_ring_read> queued_;
    size_t most_ = 0;
    uint32_t dice_ = 1;
    bool waiting_ = false, woken_ = false;
};

#endif
