/* Ten thousand seeded schedules of everything a caller may do to a memory, over storage and a
 * device in virtual time (simulated.h). After each operation the invariants of memory_check hold,
 * what is pinned holds its own bytes, what was told of the device tier is what is there, nothing
 * is written into a slot before its fence, and the books agree with what the storage did; at the
 * end every journey has ended once. */
#include "memory/memory.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "memory/base/log.h"
#include "tests/memory/simulated.h"

namespace {

using simulated::File;
using simulated::Plan;

using Key = std::pair<uint32_t, uint32_t>; /* of a transfer */

struct Totals {
    uint64_t landed = 0, failed = 0, cancelled = 0, too_late = 0, full = 0, evicted = 0, joined = 0;
    uint64_t paused = 0, raised = 0;
    uint64_t grown = 0, shrunk = 0, refused = 0, revoked = 0, fenced = 0, haunted = 0;
};

class Schedule {
public:
    Schedule(const File &file, uint64_t seed, Totals &totals)
        : random_(seed), plan_(random_, 1 + random_.below(20)), m_(file, plan_, random_),
          totals_(totals), resizes_(random_.chance(50))
    {
        struct memory_listener listener = {this, [](void *self, page_id page, const uint8_t *slot) {
                                               static_cast<Schedule *>(self)->moved(page, slot);
                                           }};
        memory_listen(m_.memory, listener);
    }
    void run(int operations)
    {
        for (int i = 0; i < operations && !testing::Test::HasFailure(); i++) {
            operation();
            check();
        }
        finish();
    }

private:
    struct Pin {
        enum memory_tier tier;
        page_id page;
        const uint8_t *slot;
    };

    /* A page that was evicted while the processor may still read it. */
    struct Ghost {
        page_id page;
        const uint8_t *slot;
        uint64_t fence;
    };

    /* Told by the memory. */
    void moved(page_id page, const uint8_t *slot)
    {
        ASSERT_EQ(mirror_.count(page), slot ? 0u : 1u) << "page " << page;
        if (slot)
            mirror_[page] = slot;
        else
            mirror_.erase(page);
    }

    page_id any_page() { return random_.below(m_.pages()); }
    enum memory_tier any_tier()
    {
        return plan_.has_host && random_.chance(30) ? MEMORY_HOST : MEMORY_DEVICE;
    }
    enum memory_tier read_into() const { return plan_.has_host ? MEMORY_HOST : MEMORY_DEVICE; }

    void operation()
    {
        if (resizes_ && random_.chance(5))
            return resize(any_tier());
        switch (random_.below(10)) {
        case 0: case 1: case 2: case 3: return fetch(any_tier(), any_page());
        case 4: case 5: return poll(random_.chance(40) ? 1000000000 : 0);
        case 6: return cancel();
        case 7: return pin();
        case 8: return unpin();
        default:
            if (random_.chance(50))
                m_.world.advance();
            else
                evict(any_tier(), random_.below(store_classes(memory_store(m_.memory))));
        }
    }

    void fetch(enum memory_tier tier, page_id page)
    {
        enum slot_state before = memory_where(m_.memory, tier, page);
        if (before == SLOT_READY)
            return;
        bool reads = memory_where(m_.memory, read_into(), page) == SLOT_FREE;
        enum urgency urgency = random_.chance(50) ? URGENCY_DEMAND : URGENCY_PREFETCH;
        if (reads)
            submitted_before_[page] = m_.world.io.submitted[page];
        struct transfer transfer;
        enum memory_tier lacking = MEMORY_TIERS;
        enum status status = memory_fetch(m_.memory, tier, page, urgency, &transfer, &lacking);
        if (status == STATUS_FULL) {
            totals_.full++;
            ASSERT_TRUE(lacking != MEMORY_TIERS || urgency == URGENCY_PREFETCH);
            ASSERT_EQ(before, SLOT_FREE);
            if (lacking != MEMORY_TIERS && random_.chance(70))
                evict(lacking, m_.page(page)->size_class);
            return;
        }
        ASSERT_EQ(status, STATUS_OK);
        ASSERT_EQ(memory_where(m_.memory, tier, page), SLOT_LOADING);
        Key key = {transfer.index, transfer.generation};
        handles_.push_back(transfer);
        totals_.joined += before == SLOT_LOADING;
        if (!open_.emplace(key, page).second) {
            ASSERT_EQ(before, SLOT_LOADING); /* joined what the caller had asked for before */
            ASSERT_EQ(open_[key], page);
        }
        reads_ += reads;
    }
    void poll(uint64_t wait_ns)
    {
        struct memory_event events[3];
        uint32_t max = 1 + random_.below(3), n;
        n = memory_poll(m_.memory, wait_ns, events, max);
        more_to_tell_ = n == max;
        for (uint32_t i = 0; i < n; i++) {
            const struct memory_event &event = events[i];
            auto journey = open_.find({event.transfer.index, event.transfer.generation});
            ASSERT_TRUE(journey != open_.end()) << "an end of what is not under way";
            ASSERT_EQ(journey->second, event.page);
            open_.erase(journey);
            ended_++;
            event_bytes_ += event.bytes;
            /* The event of the journey that read: storage knew how urgent it was, unless it became
             * so between the end of the read and the poll that took it in. */
            if (!resized_ && event.tier == read_into() && event.bytes > 0) {
                ASSERT_EQ(event.urgency == URGENCY_DEMAND, m_.world.io.needed[event.page]);
            }
            if (event.status == STATUS_OK) {
                totals_.landed++;
                if (!evicted_.count({event.tier, event.page})) {
                    ASSERT_EQ(memory_where(m_.memory, event.tier, event.page), SLOT_READY);
                }
                continue;
            }
            if (event.status == STATUS_CANCELLED) { /* by a resize */
                totals_.revoked++;
                continue;
            }
            totals_.failed++;
            ASSERT_EQ(event.status, STATUS_IO);
            /* Where both tiers' journeys failed and `max` let one event out, the page may have been
             * fetched again before the other is told. */
            ASSERT_NE(memory_where(m_.memory, event.tier, event.page), SLOT_READY);
            /* The sentence is about this page, whichever others failed too. */
            std::string text = memory_error(m_.memory);
            std::string begin = "cannot read page " + std::to_string(event.page) + ": '";
            ASSERT_EQ(text.find(begin + m_.world.file.path + "'"), 0u) << text;
            ASSERT_NE(text.find("at offset "), std::string::npos) << text;
        }
        if (!more_to_tell_)
            evicted_.clear();
    }
    void cancel()
    {
        if (handles_.empty())
            return;
        struct transfer handle =
            handles_[handles_.size() - 1 - random_.below((uint32_t)std::min<size_t>(
                                               handles_.size(), 4))];
        auto journey = open_.find({handle.index, handle.generation});
        page_id page = journey == open_.end() ? 0 : journey->second;
        bool read = memory_where(m_.memory, read_into(), page) == SLOT_LOADING;
        enum status status = memory_cancel(m_.memory, handle);
        if (journey == open_.end()) {
            ASSERT_EQ(status, STATUS_NOT_FOUND);
            return;
        }
        if (status == STATUS_NOT_FOUND) { /* it has ended; its event had no room in the last poll */
            ASSERT_TRUE(more_to_tell_);
            return;
        }
        if (status == STATUS_FULL) {
            totals_.too_late++;
            return;
        }
        ASSERT_EQ(status, STATUS_OK);
        totals_.cancelled++;
        cancelled_++;
        open_.erase(journey);
        reads_ -= read && memory_where(m_.memory, read_into(), page) == SLOT_FREE;
    }
    void pin()
    {
        page_id page = any_page();
        if (pins_.size() >= 4)
            return;
        if (plan_.has_host && random_.chance(30)) {
            if (memory_where(m_.memory, MEMORY_HOST, page) == SLOT_READY)
                pins_.push_back({MEMORY_HOST, page, memory_pin_host(m_.memory, page)});
        } else if (memory_where(m_.memory, MEMORY_DEVICE, page) == SLOT_READY) {
            pins_.push_back({MEMORY_DEVICE, page, memory_pin(m_.memory, page)});
        }
    }
    void unpin()
    {
        if (pins_.empty())
            return;
        std::swap(pins_[random_.below((uint32_t)pins_.size())], pins_.back());
        (pins_.back().tier == MEMORY_HOST ? memory_unpin_host : memory_unpin)(m_.memory,
                                                                              pins_.back().page);
        pins_.pop_back();
    }
    void evict(enum memory_tier tier, uint32_t size_class)
    {
        page_id page = memory_sweep(m_.memory, tier, size_class);
        if (page == PAGE_NONE)
            return;
        const uint8_t *slot = nullptr;
        if (tier == MEMORY_DEVICE) {
            slot = memory_pin(m_.memory, page);
            ASSERT_TRUE(m_.holds(page, slot));
            memory_unpin(m_.memory, page);
        }
        totals_.evicted++;
        evicted_.insert({tier, page});
        if (tier == MEMORY_DEVICE && plan_.has_host && random_.chance(60)) {
            uint64_t fence = m_.world.device.mark();
            memory_evict_after(m_.memory, page, fence);
            if (!m_.world.device.is_reached(fence)) {
                ghosts_.push_back({page, slot, fence});
                return;
            }
        } else {
            memory_evict(m_.memory, tier, page);
        }
#ifdef MOERING_DEBUG_CHECKS
        for (uint64_t at = 0; slot && at < m_.page(page)->slot_bytes; at++)
            ASSERT_EQ(slot[at], 0xff) << "what was evicted reads as NaN";
#endif
    }

    /* Other numbers of slots, now and then with no memory left on the device. */
    void resize(enum memory_tier tier)
    {
        while (!pins_.empty())
            unpin();
        const struct store *store = memory_store(m_.memory);
        struct tier_slots slots = {};
        bool grows = false, shrinks = false;
        for (uint32_t c = 0; c < store_classes(store); c++) {
            slots.of_class[c] = 1 + random_.below(store_class_pages(store, c));
            grows |= slots.of_class[c] > memory_slots(m_.memory, tier, c);
            shrinks |= slots.of_class[c] < memory_slots(m_.memory, tier, c);
        }
        std::vector<page_id> waiting; /* for their read, which has not begun */
        for (page_id page = 0; page < m_.pages(); page++)
            if (memory_where(m_.memory, read_into(), page) == SLOT_LOADING &&
                m_.world.io.submitted[page] == submitted_before_[page])
                waiting.push_back(page);
        uint64_t fence = tier == MEMORY_DEVICE && plan_.has_host ? m_.world.device.mark() : 0;
        std::map<page_id, const uint8_t *> before = mirror_;
        m_.world.device.refuse_memory = random_.chance(20);
        struct error error = {};
        enum status status = memory_resize(m_.memory, tier, &slots, fence, &error);
        bool refused = m_.world.device.refuse_memory;
        m_.world.device.refuse_memory = false;
        if (status) {
            ASSERT_EQ(status, STATUS_NO_MEMORY);
            ASSERT_TRUE(refused && grows && tier == MEMORY_DEVICE);
            ASSERT_NE(std::string(error.text).find("device tier of"), std::string::npos);
            ASSERT_EQ(mirror_, before);
            totals_.refused++;
            return;
        }
        for (uint32_t c = 0; c < store_classes(store); c++)
            ASSERT_EQ(memory_slots(m_.memory, tier, c), slots.of_class[c]);
        resized_ = true;
        totals_.grown += grows;
        totals_.shrunk += shrinks;
        more_to_tell_ = true;
        for (page_id page : waiting)
            reads_ -= memory_where(m_.memory, read_into(), page) == SLOT_FREE;
        /* What left while its slot stays with the tier is still read up to the fence; a slot whose
         * memory went has been waited for. */
        for (auto &was : before)
            if (!mirror_.count(was.first) && !m_.world.device.is_reached(fence))
                ghosts_.push_back({was.first, was.second, fence});
    }

    void check()
    {
        memory_check(m_.memory);
        struct memory_counters now = m_.counters();
        if (resized_) /* reads that ended while it waited for others are counted at the next poll */
            ASSERT_LE(now.storage_bytes, m_.world.io.bytes);
        else
            ASSERT_EQ(now.storage_bytes, m_.world.io.bytes);
        ASSERT_EQ(now.fetches[0] + now.fetches[1],
                  open_.size() + ended_ + cancelled_) << "each journey ends once";
        for (const Pin &pin : pins_)
            ASSERT_TRUE(m_.holds(pin.page, pin.slot)) << "page " << pin.page;
        ASSERT_EQ(mirror_.size(), now.ready[MEMORY_DEVICE]);
        if (random_.chance(10))
            for (auto &there : mirror_) {
                ASSERT_EQ(memory_where(m_.memory, MEMORY_DEVICE, there.first), SLOT_READY);
                ASSERT_TRUE(m_.holds(there.first, there.second)) << "page " << there.first;
            }
        while (!ghosts_.empty() && m_.world.device.is_reached(ghosts_.front().fence))
            ghosts_.erase(ghosts_.begin());
        for (const Ghost &ghost : ghosts_) {
            totals_.haunted++;
            ASSERT_TRUE(m_.holds(ghost.page, ghost.slot)) << "written to before its fence";
        }
    }
    void finish();

    scratch::Random random_;
    Plan plan_;
    simulated::Memory m_;
    Totals &totals_;
    const bool resizes_; /* every other schedule */
    std::map<Key, page_id> open_; /* journeys asked for that have not ended */
    std::vector<struct transfer> handles_;
    std::vector<Pin> pins_;
    std::vector<Ghost> ghosts_; /* by their fences */
    std::map<page_id, const uint8_t *> mirror_; /* of what is READY on the device, as told */
    bool more_to_tell_ = false, resized_ = false;
    /* What left again while its coming was not told: after a resize events may wait. */
    std::set<std::pair<enum memory_tier, page_id>> evicted_;
    std::map<page_id, uint32_t> submitted_before_; /* reads of a page before its newest fetch */
    uint64_t reads_ = 0; /* that the fetches have to cause */
    uint64_t ended_ = 0, cancelled_ = 0, event_bytes_ = 0;
};

void Schedule::finish()
{
    while (!pins_.empty())
        unpin();
    for (int polls = 0; polls < 10000 && !(m_.idle() && open_.empty()); polls++)
        poll(1000000000);
    check();
    ASSERT_TRUE(m_.idle() && open_.empty()) << "something never ends";
    ASSERT_EQ(m_.pins(), 0u);
    ASSERT_EQ(m_.counters().storage_bytes, m_.world.io.bytes);
    for (enum memory_tier tier : {MEMORY_HOST, MEMORY_DEVICE})
        for (uint32_t c = 0; c < store_classes(memory_store(m_.memory)); c++)
            for (uint32_t i = memory_slots(m_.memory, tier, c); i > 0; i--)
                evict(tier, c);
    ASSERT_EQ(m_.counters().ready[MEMORY_HOST] + m_.counters().ready[MEMORY_DEVICE], 0u)
        << "something is pinned that nobody holds";
    totals_.fenced += m_.world.device.fenced;
    totals_.paused += m_.world.io.paused;
    totals_.raised += m_.world.io.raised;
    uint64_t submitted = 0, ended = 0, whole_bytes = 0, failed = 0;
    for (page_id page = 0; page < m_.pages(); page++) {
        submitted += m_.world.io.submitted[page];
        ended += m_.world.io.ok[page] + m_.world.io.failed[page];
        failed += m_.world.io.failed[page];
        whole_bytes += m_.world.io.ok[page] * m_.page(page)->file_bytes;
    }
    ASSERT_EQ(submitted, reads_) << "what was fetched is read, each time once";
    ASSERT_EQ(ended, reads_);
    ASSERT_EQ(event_bytes_, m_.world.io.bytes) << "each byte is told once";
    ASSERT_GE(event_bytes_, whole_bytes);
    if (failed == 0) {
        ASSERT_EQ(event_bytes_, whole_bytes);
    }
}

TEST(MemorySimulation, EveryScheduleKeepsEveryInvariant)
{
    const File file;
#ifdef __SANITIZE_THREAD__
    constexpr uint32_t schedules = 1000;
#else
    constexpr uint32_t schedules = 10000;
#endif
    log_set_level(LOG_ERROR); /* page-locking is refused to thousands of them */
    Totals totals;
    for (uint64_t seed = 1; seed <= schedules; seed++) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        Schedule(file, seed, totals).run(200);
        ASSERT_FALSE(HasFailure());
    }
    const struct {
        const char *name;
        uint64_t count, least;
    } happened[] = {
        {"landed", totals.landed, schedules},     {"failed", totals.failed, schedules},
        {"cancelled", totals.cancelled, schedules}, {"too late", totals.too_late, schedules},
        {"full", totals.full, schedules},         {"evicted", totals.evicted, schedules},
        {"joined", totals.joined, schedules},     {"paused", totals.paused, schedules},
        {"raised", totals.raised, schedules},     {"grown", totals.grown, schedules},
        {"shrunk", totals.shrunk, schedules},     {"revoked", totals.revoked, schedules / 2},
        {"fenced", totals.fenced, schedules / 4}, {"haunted", totals.haunted, schedules},
        {"refused", totals.refused, schedules / 4},
    };
    printf("%u schedules:", schedules);
    for (const auto &what : happened) {
        printf(" %lu %s", (unsigned long)what.count, what.name);
        EXPECT_GT(what.count, what.least) << what.name << ": it hardly ever happened";
    }
    printf("\n");
}

} // namespace
