/* Ten thousand seeded schedules of a pager's life over the real memory/ and storage in virtual time
 * (tests/memory/simulated.h): tiny rings, with and without a host tier, every rule of eviction,
 * guesses and whole-layer streaming or neither, reads that are slow, fail, come short, overtake
 * each other or end inside submit; requests that are computed to their end, given up half way or
 * cut off by an error, which ends the step as it does in a model; tiers that grow and shrink in
 * between, with guesses, whole layers and what an abort left behind on their way, and now and then
 * cannot grow.
 *
 * After each operation: every invariant of memory_check, the right bytes in every slot given out,
 * hits + misses = requested. After each request: nothing pinned. At the end: every request has
 * ended, every expert can be had, and the books agree with what the storage did. */
#include "engine/paging/expert_pager.h"

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <numeric>

#include "engine/paging/pager_state.h"
#include "tests/memory/simulated.h"

/* The pager measures what pages and layers take and decides by it. While a schedule runs, its clock
 * is the schedule's: the same seed is the same run, on any machine, under any load. */
static const uint64_t *schedule_now_ns;

extern "C" int clock_gettime(clockid_t id, struct timespec *t) noexcept
{
    if (!schedule_now_ns)
        return (int)syscall(SYS_clock_gettime, id, t);
    uint64_t ns = 1000000000u + *schedule_now_ns;
    *t = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
    return 0;
}

namespace {

using simulated::File;
using simulated::Plan;

/* What the model looks like and which of the pager's minds it has. */
struct Shape {
    uint32_t layers, experts;
    struct pager_config config = {};

    explicit Shape(scratch::Random &random)
        : layers(1 + random.below(5)), experts(1 + random.below(6))
    {
        config.layers = layers;
        config.experts = experts;
        config.top_k = 1 + random.below(experts);
        config.evict = static_cast<enum evict_kind>(random.below(EVICT_KINDS));
        config.foresight = static_cast<enum foresight>(random.below(FORESIGHT_KINDS));
        config.prefetch = random.chance(50) ? PREFETCH_OFF
                          : random.chance(70) ? PREFETCH_ON
                                              : PREFETCH_AUTO;
        config.slow_clock = random.chance(30);
        config.stream_layers = random.chance(30) ? STREAM_AUTO : STREAM_OFF;
        config.stream_always = random.chance(50);
        config.host_compute = random.chance(50);
        config.placement = static_cast<enum placement_mode>(random.below(3));
        config.prior = PLACEMENT_PRIOR;
        config.flops_per_token = 1000;
    }
    bool streams() const { return config.stream_layers != STREAM_OFF; }
};

struct expert_pager *open_pager(struct memory *memory, Shape &shape)
{
    struct error error = {};
    struct expert_pager *pager;
    if (store_classes(memory_store(memory)) > 1)
        shape.config.stream_layers = STREAM_OFF; /* it wants layers of one page size */
    shape.config.memory = memory;
    simulated::must(pager_open(&pager, &shape.config, &error), error);
    return pager;
}

struct Totals {
    uint64_t requests = 0, aborted = 0, failed = 0, hits = 0, misses = 0, joined = 0, guesses = 0;
    uint64_t streamed = 0, now_ns = 0, at_host = 0, fenced = 0;
    uint64_t resized = 0, refused = 0, taken_away = 0; /* the last: journeys that a resize ended */
    uint64_t exact = 0; /* schedules whose reads were predicted to the byte */
};

class Schedule {
public:
    Schedule(const File &file, uint64_t seed, Totals &totals)
        : random_(seed), shape_(random_), plan_(random_, shape_.layers * shape_.experts),
          m_(file, plan_, random_), pager_(open_pager(m_.memory, shape_)), totals_(totals),
          abort_percent_(random_.chance(30) ? 10 : 0), habit_percent_(random_.chance(50) ? 85 : 0),
          resize_percent_(random_.chance(50) ? 15 : 0)
    {
        for (uint32_t layer = 0; layer < shape_.layers; layer++)
            habit_.push_back(some_experts());
        schedule_now_ns = &m_.world.now;
    }
    ~Schedule()
    {
        schedule_now_ns = nullptr;
        pager_close(pager_);
    }

    void run(int requests)
    {
        for (int i = 0; i < requests && !testing::Test::HasFailure(); i++) {
            bool jump = !shape_.streams() && random_.chance(10); /* else as a decoder runs them */
            uint32_t layer = jump ? random_.below(shape_.layers) : next_layer_;
            ask(layer, random_.chance(habit_percent_) ? habit_[layer] : some_experts());
            if ((next_layer_ == 0 || !shape_.streams()) && random_.chance(resize_percent_))
                resize();
            m_.world.now += random_.below(2000); /* somebody computes */
            for (uint32_t jumps = random_.below(4); jumps > 0; jumps--)
                m_.world.advance(); /* for so long that prefetches may land */
        }
        finish();
    }

private:
    struct Given {
        uint32_t index;
        const uint8_t *slot;
        bool at_host;
    };
    /* Given back while the device may still read it. */
    struct Reading {
        page_id page;
        const uint8_t *slot;
        uint64_t fence;
    };

    std::vector<uint32_t> some_experts()
    {
        std::vector<uint32_t> all(shape_.experts);
        std::iota(all.begin(), all.end(), 0);
        uint32_t count = random_.below(shape_.experts + 1);
        for (uint32_t i = 0; i < count; i++)
            std::swap(all[i], all[i + random_.below(shape_.experts - i)]);
        all.resize(count);
        return all;
    }
    page_id page_of(uint32_t index) const { return layer_ * shape_.experts + experts_[index]; }

    void ask(uint32_t layer, const std::vector<uint32_t> &experts);
    void end_of_failed(const struct pager_expert &e, const struct error &error);
    void give_back()
    {
        size_t at = random_.below((uint32_t)given_.size());
        const Given &back = given_[at];
        uint64_t fence = back.at_host ? 0 : m_.world.device.mark();
        if (fence)
            reading_.push_back({page_of(back.index), back.slot, fence});
        if (back.at_host && random_.chance(80))
            pager_measured(pager_, back.index, 1 + random_.below(3000));
        else if (!back.at_host && pager_samples(pager_))
            pager_sampled(pager_, &back.index, 1, 1 + random_.below(900));
        pager_release(pager_, back.index, fence);
        given_.erase(given_.begin() + (long)at);
        check();
    }
    uint32_t least_slots() const;
    void resize();
    void check_belief();
    void request(const std::vector<uint32_t> &experts, bool *hit);
    void look_ahead();
    void check();
    void check_reading();
    void finish();
    void check_reads();

    scratch::Random random_;
    Shape shape_;
    Plan plan_;
    simulated::Memory m_;
    struct expert_pager *pager_;
    Totals &totals_;
    uint32_t abort_percent_, habit_percent_;
    uint32_t resize_percent_; /* before a request; every other schedule */
    bool resized_ = false;
    std::vector<std::vector<uint32_t>> habit_; /* [layers] what a layer chooses mostly */
    bool step_whole_ = false; /* every layer of the step so far was computed to its end */
    uint32_t next_layer_ = 0;
    uint32_t layer_ = 0; /* of the request at hand */
    std::vector<uint32_t> experts_;
    std::vector<uint32_t> submitted_before_; /* [pages] at the beginning of the request */
    std::vector<Given> given_; /* and not given back */
    std::vector<Reading> reading_;
    uint64_t requested_ = 0, joined_ = 0, cut_off_ = 0, bytes_ = 0;
};

void Schedule::check()
{
    struct pager_counters c;
    pager_counters(pager_, &c);
    memory_check(m_.memory);
    check_reading();
    ASSERT_EQ(c.hits + c.misses, requested_);
    ASSERT_EQ(m_.counters().storage_bytes, m_.world.io.bytes);
    for (const Given &given : given_) {
        ASSERT_EQ(memory_pins(m_.memory, page_of(given.index)), given.at_host ? 0u : 1u);
        ASSERT_TRUE(m_.holds(page_of(given.index), given.slot)) << "page " << page_of(given.index);
    }
}

/* Nothing was written where the device still reads. */
void Schedule::check_reading()
{
    for (size_t i = reading_.size(); i-- > 0;) {
        if (m_.world.device.is_reached(reading_[i].fence))
            reading_.erase(reading_.begin() + (long)i);
        else
            ASSERT_TRUE(m_.holds(reading_[i].page, reading_[i].slot)) << "overwritten too early";
    }
}

uint32_t Schedule::least_slots() const
{
    uint32_t least = UINT32_MAX;
    for (uint32_t c = 0; c < store_classes(memory_store(m_.memory)); c++)
        least = std::min(least, memory_slots(m_.memory, MEMORY_DEVICE, c));
    return least;
}

/* The policy is asked for a victim and refused each: so it names all that it believes to be
 * there. */
void Schedule::check_belief()
{
    for (int tier = plan_.has_host ? MEMORY_HOST : MEMORY_DEVICE; tier < MEMORY_TIERS; tier++) {
        std::vector<bool> believed(m_.pages());
        auto note = [](void *arg, enum memory_tier, page_id page) {
            (*static_cast<std::vector<bool> *>(arg))[page] = true;
            return false;
        };
        for (uint32_t c = 0; c < store_classes(memory_store(m_.memory)); c++)
            policy_victim(pager_->policy, static_cast<enum memory_tier>(tier), c, note, &believed);
        for (page_id page = 0; page < m_.pages(); page++)
            ASSERT_EQ(believed[page], memory_where(m_.memory, static_cast<enum memory_tier>(tier),
                                                   page) == SLOT_READY)
                << "page " << page << " of tier " << tier;
    }
}

/* A tier gets any numbers of slots; what the device still reads stays as it is until it has. */
void Schedule::resize()
{
    bool host = plan_.has_host && random_.chance(40);
    enum memory_tier tier = host ? MEMORY_HOST : MEMORY_DEVICE;
    struct tier_slots slots = {};
    for (size_t c = 0; c < plan_.pages_of_class.size(); c++) {
        uint32_t pages = plan_.pages_of_class[c];
        slots.of_class[c] = 1 + random_.below(random_.chance(70) ? std::min(pages, 4u) : pages);
        if (random_.chance(20))
            slots.of_class[c] = pages; /* everything fits, perhaps */
    }
    struct error error = {};
    uint64_t cancelled = m_.counters().cancelled;
    uint64_t fence = plan_.has_host ? m_.world.device.mark() : 0;
    m_.world.device.refuse_memory = random_.chance(10);
    enum status status = memory_resize(m_.memory, tier, &slots, fence, &error);
    m_.world.device.refuse_memory = false;
    totals_.taken_away += m_.counters().cancelled - cancelled;
    if (status == STATUS_NO_MEMORY) {
        totals_.refused++;
        ASSERT_EQ(m_.counters().cancelled, cancelled) << "nothing has changed";
        return;
    }
    ASSERT_EQ(status, STATUS_OK) << error.text;
    ASSERT_EQ(pager_resized(pager_, &error), STATUS_OK) << error.text;
    totals_.resized++;
    resized_ = true;
    check_belief();
    check();
}

/* With what a model would tell around it: steps, rows, and routers of layers to come. */
void Schedule::request(const std::vector<uint32_t> &experts, bool *hit)
{
    uint32_t rows = 1 + random_.below(40);
    std::vector<uint32_t> tokens(experts.size());
    for (uint32_t &n : tokens)
        n = 1 + random_.below(rows);
    if (layer_ == 0) {
        pager_begin_step(pager_, rows, random_.below(2) * rows);
        step_whole_ = true;
    }
    struct layer_run run = {};
    run.layer = layer_;
    run.rows = rows;
    run.count = (uint32_t)experts.size();
    run.experts = experts.data();
    run.tokens = tokens.data();
    run.prefill = rows > 20;
    pager_request(pager_, &run, hit);
}

void Schedule::look_ahead()
{
    uint32_t ahead = std::min(pager_looks_ahead(pager_), shape_.layers);
    for (uint32_t distance = 1; distance <= ahead; distance++) {
        std::vector<float> score(shape_.experts);
        for (float &s : score)
            s = (float)random_.below(1000);
        pager_lookahead(pager_, distance, score.data());
    }
}

/* One layer: asked for, computed in the order in which its experts come, and ended somehow. */
void Schedule::ask(uint32_t layer, const std::vector<uint32_t> &experts)
{
    layer_ = layer;
    experts_ = experts;
    std::vector<bool> loading(experts.size()), seen(experts.size());
    for (uint32_t i = 0; i < experts.size(); i++)
        loading[i] = memory_where(m_.memory, MEMORY_DEVICE, page_of(i)) == SLOT_LOADING;
    std::vector<uint32_t> ok_before = m_.world.io.ok;
    submitted_before_ = m_.world.io.submitted;
    bool hit[8];
    request(experts, hit);
    requested_ += experts.size();
    totals_.requests++;
    for (uint32_t i = 0; i < experts.size(); i++)
        joined_ += loading[i] && !hit[i];
    look_ahead();
    check();
    uint32_t held_max = 1 + random_.below(least_slots());
    struct pager_expert e = {};
    struct error error = {};
    enum status status = STATUS_OK;
    for (uint32_t calls = 0;; calls++) {
        ASSERT_LE(calls, experts.size()) << "each expert once, then the end";
        if (random_.chance(abort_percent_)) {
            totals_.aborted++;
            cut_off_++;
            break;
        }
        status = pager_next(pager_, &e, &error);
        if (status != STATUS_OK)
            break;
        ASSERT_LT(e.index, experts.size());
        ASSERT_FALSE(seen[e.index]);
        seen[e.index] = true;
        ASSERT_EQ(e.page, m_.page(page_of(e.index)));
        ASSERT_TRUE(!hit[e.index] || e.bytes == 0);
        bytes_ += e.bytes;
        ASSERT_TRUE(!e.at_host || (!hit[e.index] && e.bytes == 0));
        totals_.at_host += e.at_host;
        given_.push_back({e.index, e.slot, e.at_host});
        check();
        while (given_.size() >= held_max || (e.at_host && !given_.empty()))
            give_back();
    }
    if (status == STATUS_NOT_FOUND) {
        ASSERT_EQ(std::count(seen.begin(), seen.end(), true), (long)experts.size());
        for (uint32_t i = 0; i < experts.size() && !plan_.has_host; i++) {
            uint32_t read = m_.world.io.ok[page_of(i)] - ok_before[page_of(i)];
            ASSERT_TRUE(hit[i] ? read <= 1 : read == 1) << "a miss is read once, a hit never";
        }
        while (!given_.empty())
            give_back();
    } else {
        if (status != STATUS_OK)
            end_of_failed(e, error);
        given_.clear();
        pager_abort(pager_);
    }
    step_whole_ &= status == STATUS_NOT_FOUND;
    next_layer_ = status == STATUS_NOT_FOUND ? (layer + 1) % shape_.layers : 0;
    if (layer + 1 == shape_.layers && step_whole_)
        pager_end_step(pager_);
    check();
    ASSERT_EQ(m_.pins(), 0u);
}

/* The failure is that of a page asked for, and says all there is to say about it. */
void Schedule::end_of_failed(const struct pager_expert &e, const struct error &error)
{
    totals_.failed++;
    cut_off_++;
    ASSERT_LT(e.index, experts_.size());
    page_id page = page_of(e.index);
    ASSERT_GT(m_.world.io.failed[page], 0u);
    ASSERT_GT(m_.world.io.submitted[page], submitted_before_[page]) << "read anew, not blamed on "
                                                                       "a failure of the past";
    std::string want = "layer " + std::to_string(layer_) + " expert " +
                       std::to_string(experts_[e.index]) + ": cannot read page " +
                       std::to_string(page) + ": '" + m_.world.file.path + "'";
    ASSERT_EQ(std::string(error.text).find(want), 0u) << error.text << "\n" << want;
    ASSERT_NE(std::string(error.text).find("at offset "), std::string::npos) << error.text;
}

/* The weather clears, and whatever happened before, every expert can be had. */
void Schedule::finish()
{
    if (testing::Test::HasFailure())
        return;
    bool failures_left = true;
    abort_percent_ = 0;
    m_.world.weather.fail_percent = 0;
    /* A read begun in bad weather may still fail, and fail a request, but only once. */
    for (int tries = 0; failures_left; tries++) {
        ASSERT_LT(tries, 20);
        uint64_t before = cut_off_;
        for (uint32_t layer = 0; layer < shape_.layers && cut_off_ == before; layer++) {
            std::vector<uint32_t> all(shape_.experts);
            std::iota(all.begin(), all.end(), 0);
            ask(layer, all);
        }
        failures_left = cut_off_ > before;
    }
    struct memory_event events[8];
    for (int polls = 0; polls < 1000 && !m_.idle(); polls++)
        memory_poll(m_.memory, 1000000000, events, 8);
    ASSERT_TRUE(m_.idle()) << "a read or copy never ends";
    ASSERT_EQ(m_.pins(), 0u);
    memory_check(m_.memory);
    check_reads();
}

/* Bytes read = (misses - those whose page was on its way + prefetches + retries) x page bytes. */
void Schedule::check_reads()
{
    struct pager_counters c;
    pager_counters(pager_, &c);
    struct memory_counters memory = m_.counters();
    uint64_t submitted = 0, ended = 0, failed = 0, whole_bytes = 0;
    for (page_id page = 0; page < m_.pages(); page++) {
        submitted += m_.world.io.submitted[page];
        failed += m_.world.io.failed[page];
        ended += m_.world.io.ok[page] + m_.world.io.failed[page];
        whole_bytes += m_.world.io.ok[page] * m_.page(page)->file_bytes;
    }
    ASSERT_EQ(submitted, ended);
    const struct prefetch_figures &guesses = c.policy.prefetch;
    ASSERT_LE(guesses.used + guesses.wasted, guesses.issued);
    /* Guesses that were dropped in time or failed do not count as issued. */
    ASSERT_GE(memory.fetches[URGENCY_PREFETCH], guesses.issued);
    if (!shape_.streams()) {
        ASSERT_LE(memory.fetches[URGENCY_PREFETCH], guesses.issued + memory.cancelled + failed);
    }
    ASSERT_LE(memory.fetches[URGENCY_DEMAND], c.misses + failed);
    ASSERT_LE(submitted, c.misses + memory.fetches[URGENCY_PREFETCH] + failed);
    ASSERT_GE(c.miss_bytes,
              bytes_); /* what came for a request that was cut off was not given out */
    totals_.hits += c.hits;
    totals_.misses += c.misses;
    totals_.joined += joined_;
    totals_.guesses += guesses.issued;
    totals_.streamed += c.stream.streamed_steps;
    totals_.now_ns += m_.world.now;
    totals_.fenced += m_.world.device.fenced;
    if (!plan_.has_host) { /* a resize also cancels what has begun */
        ASSERT_GE(submitted, memory.fetches[0] + memory.fetches[1] - memory.cancelled);
    }
    if (!plan_.has_host && !resized_) {
        ASSERT_EQ(submitted, memory.fetches[0] + memory.fetches[1] - memory.cancelled);
    }
    if (cut_off_ > 0 || failed > 0 || plan_.has_host || resized_)
        return;
    totals_.exact++;
    ASSERT_EQ(c.miss_bytes, bytes_);
    ASSERT_EQ(submitted, c.misses - joined_ + memory.fetches[URGENCY_PREFETCH] - memory.cancelled);
    ASSERT_EQ(memory.storage_bytes, whole_bytes);
    if (plan_.pages_of_class.size() == 1) {
        ASSERT_EQ(memory.storage_bytes, submitted * m_.page(0)->file_bytes);
    }
}

TEST(ExpertPagerSimulation, EveryScheduleKeepsEveryInvariant)
{
    const File file;
    constexpr uint32_t schedules = 10000;
    Totals t;
    for (uint64_t seed = 1; seed <= schedules; seed++) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        Schedule(file, seed, t).run(30);
        ASSERT_FALSE(HasFailure());
    }
    printf("%u schedules: %lu requests, %lu aborted, %lu failed; %lu hits, %lu misses, %lu joined, "
           "%lu guesses, %lu steps streamed, %lu at the host, %lu copies fenced; %lu resizes, %lu "
           "refused, %lu journeys taken away; reads exact in %lu\n",
           schedules, (unsigned long)t.requests,
           (unsigned long)t.aborted, (unsigned long)t.failed, (unsigned long)t.hits,
           (unsigned long)t.misses, (unsigned long)t.joined, (unsigned long)t.guesses,
           (unsigned long)t.streamed, (unsigned long)t.at_host, (unsigned long)t.fenced,
           (unsigned long)t.resized, (unsigned long)t.refused, (unsigned long)t.taken_away,
           (unsigned long)t.exact);
    /* All of it really happened, and often. */
    for (uint64_t count : {t.aborted, t.failed, t.hits, t.misses})
        EXPECT_GT(count, schedules);
    for (uint64_t count : {t.joined, t.streamed, t.exact, t.at_host, t.fenced, t.resized})
        EXPECT_GT(count, schedules / 10);
    EXPECT_GT(t.refused, 0u);
    EXPECT_GT(t.taken_away, schedules / 50);
    EXPECT_GT(t.guesses, schedules / 50); /* random routing gives little reason to guess */
}

TEST(ExpertPagerSimulation, TheSameSeedIsTheSameRun)
{
    const File file;
    Totals t[2];
    for (Totals &totals : t)
        for (uint64_t seed = 1; seed <= 300; seed++)
            Schedule(file, seed, totals).run(30);
    EXPECT_EQ(memcmp(&t[0], &t[1], sizeof t[0]), 0);
    EXPECT_GT(t[0].now_ns, 0u);
}

} // namespace
