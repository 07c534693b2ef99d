/* Storage and a device in virtual time: reads that are slow, fail, come short or overtake each
 * other, copies that end when they are due. A schedule is a seed; nothing waits in real time, so
 * thousands of them run in a second and each can be run again.
 *
 * While a demand is read, prefetch reads stand still, as io.h asks for. The clock stands still
 * until somebody waits for an end, then jumps to the next one. What memory/ must never do is
 * checked here, where it would show: read one page twice at once, write two things into one slot,
 * fill a slot that a copy is writing into, raise what is not under way, wait for what never
 * comes. */
#ifndef MOERING_TESTS_MEMORY_SIMULATED_H
#define MOERING_TESTS_MEMORY_SIMULATED_H

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "memory/device.h"
#include "memory/io.h"
#include "memory/memory.h"
#include "tests/support/scratch.h"

namespace simulated {

inline void must(enum status status, const struct error &error)
{
    if (status)
        throw std::runtime_error(error.text);
}

/* The file that all pages lie in, made once for a whole test program. */
class File {
public:
    File() : bytes(scratch::noise(17, 1 << 18)), path(folder_.write("weights", bytes)) {}

private:
    scratch::Folder folder_;

public:
    const std::vector<uint8_t> bytes;
    const std::string path;
};

/* A store of pages_of_class[c] pages of class c, dealt round robin; pages of one class are equally
 * long, of three parts that lie anywhere in the file. */
inline struct store *make_store(const File &file, const std::vector<uint32_t> &pages_of_class,
                                scratch::Random &random)
{
    static constexpr uint64_t part_bytes[][3] = {{160, 70, 250}, {300, 4000, 90}};
    struct error error = {};
    struct store *store;
    uint32_t number;
    page_id page;
    must(store_open(&store, &error), error);
    must(store_add_file(store, file.path.c_str(), &number, &error), error);
    std::vector<uint32_t> left = pages_of_class;
    for (bool more = true; more;) {
        more = false;
        for (size_t c = 0; c < left.size(); c++) {
            if (left[c] == 0)
                continue;
            left[c]--;
            more = true;
            struct page_part parts[3] = {};
            uint64_t third = file.bytes.size() / 3;
            for (uint32_t i = 0; i < 3; i++) {
                parts[i].file = number;
                parts[i].bytes = part_bytes[c][i];
                parts[i].offset = i * third + random.below((uint32_t)(third - parts[i].bytes));
            }
            must(store_add_page(store, parts, 3, &page, &error), error);
        }
    }
    must(store_seal(store, &error), error);
    return store;
}

inline bool holds(const File &file, const struct page *page, const uint8_t *slot)
{
    for (uint32_t i = 0; i < page->parts; i++)
        if (memcmp(slot + page->part[i].slot_offset, &file.bytes[page->part[i].offset],
                   page->part[i].bytes) != 0)
            return false;
    return true;
}

/* Gives up on the whole test program: from inside a C callback nothing milder is safe. */
[[noreturn]] inline void broken(const char *why, uint32_t what)
{
    fprintf(stderr, "simulation: %s (%u)\n", why, what);
    abort();
}

/* How slow and how reliable things are in one schedule. */
struct Weather {
    bool inside_submit = false;  /* reads end in the order of their submission, as io_sync's do */
    uint32_t slow_percent = 0;   /* of reads: a thousand times as long as the others */
    uint32_t fail_percent = 0;   /* of reads: an error or the end of the file, somewhere in it */
    uint64_t copy_ns = 0;        /* of one copy; 0: inside copy() */
    uint32_t copies_max = 1;     /* under way before copy() says that it is full */
};

class World;

class Io {
public:
    Io(World &world, const File &file) : world_(world), file_(file) {}
    struct io *get() { return &head_.io; }
    /* The time of the next end; UINT64_MAX: none. */
    uint64_t next_due() const;
    std::vector<bool> needed;        /* [pages] its newest read to end was a demand by then */
    uint64_t paused = 0, raised = 0; /* how often a read was */

    std::vector<uint32_t> submitted, ok, failed; /* [pages] reads so far */
    uint64_t bytes = 0;                          /* told to the memory */
    void begin(uint32_t pages)
    {
        submitted.assign(pages, 0);
        ok = failed = submitted;
        needed.assign(pages, false);
    }

private:
    struct Head {
        struct io io; /* first */
        Io *self;
    };
    struct Read {
        struct io_request request;
        struct io_done done;
        uint64_t due;
    };
    static Io &self(struct io *io) { return *reinterpret_cast<Head *>(io)->self; }
    void submit(const struct io_request &request);
    void raise(uint32_t tag);
    void give_way(uint64_t due);
    bool poll(struct io_done *done, uint64_t wait_ns);
    struct io_done outcome(const struct io_request &request) const;
    void write(const Read &read) const;

    World &world_;
    const File &file_;
    std::deque<Read> under_way_;
    uint64_t needed_until_ = 0; /* the last demand ends: until then no prefetch gets on */
    static constexpr struct io_ops ops = {
        "simulated",
        [](struct io *io, const struct io_request *request) { self(io).submit(*request); },
        [](struct io *io, uint32_t tag) { self(io).raise(tag); },
        [](struct io *io, struct io_done *done, uint64_t wait) {
            return self(io).poll(done, wait);
        },
        [](struct io *) {},
    };
    Head head_ = {{&ops}, this};
};

/* Copies and fills, in order, each when it is due and its fence is reached. Fences are reached at
 * times of their own; a device whose memory the host sees has none. */
class Device {
public:
    Device(World &world, bool host_visible) : world_(world), host_visible_(host_visible)
    {
        head_.device.ops = host_visible ? &near : &far;
    }
    ~Device()
    {
        for (auto &piece : pieces_)
            free(piece.first);
    }
    struct device *get() { return &head_.device; }
    uint64_t next_due() const { return work_.empty() ? UINT64_MAX : work_.front().due; }
    /* Marks what has been asked of the processor so far; 0 where it works while it is called. */
    uint64_t mark();
    void advance(uint64_t now); /* does everything that is due */
    bool is_reached(uint64_t fence) const;
    size_t pieces() const { return pieces_.size(); }
    uint64_t fenced = 0;        /* copies that had to wait for a fence */
    uint64_t locked = 0;         /* bytes page-locked */
    uint32_t refuse_percent = 0; /* of the attempts to page-lock */
    bool refuse_memory = false;  /* no more of it */

private:
    struct Head {
        struct device device; /* first */
        Device *self;
    };
    struct Work {
        uint8_t *to;
        const void *from; /* NULL: a fill */
        size_t bytes;
        uint64_t due;
        uint8_t byte;
    };
    static Device &self(struct device *device) { return *reinterpret_cast<Head *>(device)->self; }
    static void *alloc(struct device *device, size_t bytes);
    static void release(struct device *device, void *piece);
    static bool pin(struct device *device, void *base, size_t bytes);
    static void unpin(struct device *device, void *base);
    static uint64_t copy(struct device *device, void *to, const void *from, size_t bytes,
                         uint64_t after);
    static void fill(struct device *device, void *to, uint8_t byte, size_t bytes, uint64_t after);
    static uint64_t poll(struct device *device, uint64_t seen, uint64_t wait_ns);
    static uint64_t fence(struct device *device) { return self(device).mark(); }
    static bool reached(struct device *device, uint64_t fence, bool wait);
    static struct device_rates rates(struct device *) { return {}; }
    static void close(struct device *) {}
    static constexpr struct device_ops near = {"near", true, alloc, release, pin,     unpin, copy,
                                               fill,   poll, fence, reached, rates, close};
    static constexpr struct device_ops far = {"far", false, alloc, release, pin,     unpin, copy,
                                              fill,  poll,  fence, reached, rates, close};

    World &world_;
    const bool host_visible_;
    std::deque<Work> work_;
    uint64_t started_ = 0, ended_ = 0, last_due_ = 0;
    std::vector<uint64_t> fence_due_ = {0}; /* by number */
    std::map<void *, size_t> pieces_, pins_;
    Head head_ = {{nullptr}, this};
};

/* One schedule's storage, device and clock. Lives longer than the memory opened on it. */
class World {
public:
    World(const File &in, scratch::Random &dice, const Weather &how, bool host_visible)
        : file(in), random(dice), weather(how), io(*this, in), device(*this, host_visible)
    {
    }
    /* To the next end of a read or a copy, if one is under way. */
    void advance()
    {
        device.advance(now); /* fills that are due; nobody polls for those */
        uint64_t next = std::min(io.next_due(), device.next_due());
        if (next != UINT64_MAX && next > now)
            now = next;
    }
    /* As long as it takes, whatever else ends meanwhile. */
    void wait_until(uint64_t due)
    {
        if (due != UINT64_MAX)
            now = std::max(now, due);
    }
    /* Called by whoever is polled: waiting and asking lead somewhere sooner or later. */
    void polled(bool ended)
    {
        idle_polls_ = ended ? 0 : idle_polls_ + 1;
        if (idle_polls_ > 1000000)
            broken("it waits for ever", 0);
    }
    const File &file;
    scratch::Random &random;
    Weather weather;
    uint64_t now = 0;
    Io io;
    Device device;

private:
    uint32_t idle_polls_ = 0;
};

inline uint64_t Io::next_due() const
{
    uint64_t next = UINT64_MAX;
    for (const Read &read : under_way_)
        next = std::min(next, read.due);
    return next;
}

/* Draws how a read will end. */
inline struct io_done Io::outcome(const struct io_request &request) const
{
    const struct page *page = store_page(request.store, request.page);
    struct io_done done = {};
    done.tag = request.tag;
    done.reads = page->parts;
    done.bytes = page->file_bytes;
    if (!world_.random.chance(world_.weather.fail_percent))
        return done;
    done.cause = world_.random.chance(50) ? EIO : IO_END_OF_FILE;
    done.part = world_.random.below(page->parts);
    const struct page_part &part = page->part[done.part];
    uint64_t had = world_.random.below((uint32_t)part.bytes);
    done.offset = part.offset + had;
    done.reads = done.part + 1;
    done.bytes = had;
    for (uint32_t i = 0; i < done.part; i++)
        done.bytes += page->part[i].bytes;
    return done;
}

inline void Io::submit(const struct io_request &request)
{
    for (const Read &read : under_way_) {
        if (read.request.page == request.page)
            broken("a page is read twice at once", request.page);
        if (read.request.slot == request.slot)
            broken("two pages are read into one slot", request.page);
    }
    submitted[request.page]++;
    uint64_t ns = 1 + world_.random.below(1000);
    if (world_.random.chance(world_.weather.slow_percent))
        ns *= 1000;
    if (world_.weather.inside_submit)
        ns = 0;
    uint64_t begin = request.demand ? world_.now : std::max(world_.now, needed_until_);
    if (world_.weather.inside_submit)
        begin = world_.now;
    under_way_.push_back({request, outcome(request), begin + ns});
    if (world_.weather.inside_submit) {
        write(under_way_.back());
        return;
    }
    memset(request.slot, 0xa5, 64); /* a slot is the io's from submit on */
    if (request.demand)
        give_way(begin + ns);
}

/* A demand is read until `due`: what was guessed stands still as long. */
inline void Io::give_way(uint64_t due)
{
    uint64_t from = std::max(world_.now, needed_until_);
    if (due <= from)
        return;
    for (Read &read : under_way_)
        if (!read.request.demand && read.due > world_.now) {
            read.due += due - from;
            paused++;
        }
    needed_until_ = due;
}

inline void Io::raise(uint32_t tag)
{
    auto read = std::find_if(under_way_.begin(), under_way_.end(),
                             [&](const Read &r) { return r.request.tag == tag; });
    if (read == under_way_.end())
        broken("what is not under way is raised", tag);
    if (read->request.demand)
        broken("a demand is raised", tag);
    read->request.demand = true;
    raised++;
    if (read->due <= world_.now)
        return; /* it has ended */
    read->due -= std::max(world_.now, needed_until_) - world_.now; /* it pauses no longer */
    give_way(read->due);
}

/* The bytes of a read that ends: all of the page, or what came before the failure. */
inline void Io::write(const Read &read) const
{
    const struct page *page = store_page(read.request.store, read.request.page);
    uint64_t left = read.done.bytes;
    for (uint32_t i = 0; i < page->parts && left > 0; i++) {
        uint64_t n = std::min(left, page->part[i].bytes);
        memcpy(read.request.slot + page->part[i].slot_offset, &file_.bytes[page->part[i].offset],
               n);
        left -= n;
    }
}

inline bool Io::poll(struct io_done *done, uint64_t wait_ns)
{
    if (wait_ns == UINT64_MAX)
        world_.wait_until(next_due());
    else if (wait_ns > 0 && next_due() > world_.now)
        world_.advance(); /* perhaps to the end of a copy only: nothing to tell then */
    auto first = std::min_element(under_way_.begin(), under_way_.end(),
                                  [](const Read &a, const Read &b) { return a.due < b.due; });
    bool ended = first != under_way_.end() && first->due <= world_.now;
    world_.polled(ended);
    if (!ended)
        return false;
    if (!world_.weather.inside_submit)
        write(*first);
    *done = first->done;
    (done->cause ? failed : ok)[first->request.page]++;
    needed[first->request.page] = first->request.demand;
    bytes += done->bytes;
    under_way_.erase(first);
    return true;
}

inline void *Device::alloc(struct device *device, size_t bytes)
{
    if (self(device).refuse_memory)
        return nullptr;
    void *piece = aligned_alloc(4096, bytes);
    self(device).pieces_[piece] = bytes;
    return piece;
}

/* Waits for the fills that are left there, as a device does; a copy must not be. */
inline void Device::release(struct device *device, void *piece)
{
    Device &d = self(device);
    auto found = d.pieces_.find(piece);
    if (found == d.pieces_.end())
        broken("what was never given is released", 0);
    uint8_t *begin = static_cast<uint8_t *>(piece), *end = begin + found->second;
    uint64_t due = 0;
    for (const Work &work : d.work_) {
        if (work.to >= end || work.to + work.bytes <= begin)
            continue;
        if (work.from)
            broken("memory is released that a copy writes into", 0);
        due = work.due;
    }
    d.world_.wait_until(due);
    d.advance(d.world_.now);
    d.pieces_.erase(found);
    free(piece);
}

inline bool Device::pin(struct device *device, void *base, size_t bytes)
{
    Device &d = self(device);
    if (d.world_.random.chance(d.refuse_percent))
        return false;
    d.pins_[base] = bytes;
    d.locked += bytes;
    return true;
}

inline void Device::unpin(struct device *device, void *base)
{
    Device &d = self(device);
    if (!d.pins_.count(base))
        broken("what is not page-locked is unlocked", 0);
    d.locked -= d.pins_[base];
    d.pins_.erase(base);
}

inline uint64_t Device::mark()
{
    if (host_visible_)
        return 0;
    uint64_t due = world_.now + world_.random.below(world_.random.chance(30) ? 5000 : 500);
    fence_due_.push_back(std::max(due, fence_due_.back()));
    return fence_due_.size() - 1;
}

inline bool Device::is_reached(uint64_t fence) const
{
    if (fence >= fence_due_.size())
        broken("a fence that was never marked", (uint32_t)fence);
    return fence_due_[fence] <= world_.now;
}

inline bool Device::reached(struct device *device, uint64_t fence, bool wait)
{
    Device &d = self(device);
    bool now = d.is_reached(fence);
    if (!now && wait)
        d.world_.now = d.fence_due_[fence];
    return now || wait;
}

inline void Device::advance(uint64_t now)
{
    while (!work_.empty() && work_.front().due <= now) {
        const Work &work = work_.front();
        if (work.from) {
            memcpy(work.to, work.from, work.bytes);
            ended_++;
        } else {
            memset(work.to, work.byte, work.bytes);
        }
        work_.pop_front();
    }
}

inline uint64_t Device::copy(struct device *device, void *to, const void *from, size_t bytes,
                             uint64_t after)
{
    Device &d = self(device);
    if (d.started_ - d.ended_ >= d.world_.weather.copies_max)
        return 0;
    d.fenced += !d.is_reached(after);
    uint64_t begin = std::max({d.last_due_, d.world_.now, d.fence_due_[after]});
    d.last_due_ = begin + d.world_.weather.copy_ns;
    d.work_.push_back({static_cast<uint8_t *>(to), from, bytes, d.last_due_, 0});
    d.started_++;
    d.advance(d.world_.now);
    return d.started_;
}

inline void Device::fill(struct device *device, void *to, uint8_t byte, size_t bytes,
                         uint64_t after)
{
    Device &d = self(device);
    d.advance(d.world_.now);
    for (const Work &work : d.work_)
        if (work.from && work.to < (uint8_t *)to + bytes && work.to + work.bytes > (uint8_t *)to)
            broken("a slot is filled that a copy writes into", 0);
    uint64_t due = std::max({d.last_due_, d.world_.now, d.fence_due_[after]});
    if (d.is_reached(after)) { /* nobody can tell it from later, and it is seen at once */
        memset(to, byte, bytes);
        return;
    }
    d.last_due_ = due;
    d.work_.push_back({static_cast<uint8_t *>(to), nullptr, bytes, due, byte});
}

inline uint64_t Device::poll(struct device *device, uint64_t seen, uint64_t wait_ns)
{
    Device &d = self(device);
    d.advance(d.world_.now);
    if (wait_ns == UINT64_MAX && d.ended_ <= seen)
        d.world_.wait_until(d.next_due());
    else if (wait_ns > 0 && d.ended_ <= seen)
        d.world_.advance();
    d.advance(d.world_.now);
    d.world_.polled(d.ended_ > seen);
    return d.ended_;
}

/* Pages, tiers and weather drawn from the dice; `pages` in all. */
struct Plan {
    std::vector<uint32_t> pages_of_class;
    struct memory_config config = {};
    bool has_host = false;
    uint32_t refuse_percent = 0; /* of page-locking */
    Weather weather;

    Plan(scratch::Random &random, uint32_t pages)
    {
        if (pages > 1 && random.chance(30)) {
            uint32_t first = 1 + random.below(pages - 1);
            pages_of_class = {first, pages - first};
        } else {
            pages_of_class = {pages};
        }
        has_host = random.chance(50);
        for (size_t c = 0; c < pages_of_class.size(); c++) {
            config.slots[MEMORY_DEVICE].of_class[c] = slots(random, pages_of_class[c]);
            if (has_host)
                config.slots[MEMORY_HOST].of_class[c] = slots(random, pages_of_class[c]);
        }
        config.io_depth = 1 + random.below(5);
        config.prefetch_queue = 1 + random.below(8);
        weather.inside_submit = random.chance(30);
        weather.slow_percent = random.chance(50) ? random.below(60) : 0;
        weather.fail_percent = random.chance(50) ? random.below(40) : 0;
        weather.copy_ns = random.chance(60) ? 1 + random.below(3000) : 0;
        weather.copies_max = 1 + random.below(3);
        refuse_percent = random.chance(30) ? random.below(100) : 0;
    }
    uint32_t least_slots() const
    {
        uint32_t least = UINT32_MAX;
        for (size_t c = 0; c < pages_of_class.size(); c++)
            least = std::min(least, config.slots[MEMORY_DEVICE].of_class[c]);
        return least;
    }

private:
    /* Tiny rings more often than not; now and then all pages fit. */
    static uint32_t slots(scratch::Random &random, uint32_t pages)
    {
        return 1 + random.below(random.chance(70) ? std::min(pages, 4u) : pages);
    }
};

/* A memory of a plan in a world. */
class Memory {
public:
    Memory(const File &file, const Plan &plan, scratch::Random &random)
        : world(file, random, plan.weather, !plan.has_host || random.chance(50))
    {
        struct store *store = make_store(file, plan.pages_of_class, random);
        struct memory_config config = plan.config;
        struct error error = {};
        config.device = world.device.get();
        config.custom_io = world.io.get();
        world.io.begin(store_pages(store));
        world.device.refuse_percent = plan.refuse_percent;
        enum status status = memory_open(&memory, store, &config, &error);
        if (status)
            store_close(store);
        must(status, error);
    }
    ~Memory()
    {
        memory_close(memory);
        if (world.device.pieces() > 0 || world.device.locked > 0)
            broken("memory of the device or a page-lock is left", 0);
    }
    Memory(const Memory &) = delete;
    Memory &operator=(const Memory &) = delete;

    struct memory_counters counters() const
    {
        struct memory_counters now;
        memory_counters(memory, &now);
        return now;
    }
    bool idle() const
    {
        struct memory_counters now = counters();
        return now.in_flight + now.queued[0] + now.queued[1] == 0;
    }
    const struct page *page(page_id number) const
    {
        return store_page(memory_store(memory), number);
    }
    uint32_t pages() const { return store_pages(memory_store(memory)); }
    uint32_t pins() const
    {
        uint32_t n = 0;
        for (page_id number = 0; number < pages(); number++)
            n += memory_pins(memory, number);
        return n;
    }
    bool holds(page_id number, const uint8_t *slot) const
    {
        return simulated::holds(world.file, page(number), slot);
    }

    World world;
    struct memory *memory = nullptr;
};

} // namespace simulated

#endif
