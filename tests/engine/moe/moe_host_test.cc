/* Layers whose misses are computed where they lie, and layers on a device that works late: wherever
 * an expert runs and whenever the device gets round to it, the bits are those of the plain layer.
 *
 * The late device is made here: a backend that queues what it is asked for and runs it some time,
 * seeded, and a device whose copies overtake it unless they are told to wait for a fence. */
#include "engine/moe/moe_host.h"

#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/moe/moe_layer.h"
#include "memory/device.h"
#include "tests/engine/moe/toy_weights.h"
#include "tests/support/scratch.h"
#include "tests/support/toy_batch.h"

namespace {

constexpr uint32_t kHidden = 20, kWidth = 12, kExperts = 7, kLayers = 2, kRows = 9, kTopK = 3;
constexpr size_t kMatrix = (size_t)kHidden * kWidth;

std::vector<float> noise(scratch::Random &random, size_t count)
{
    std::vector<float> out(count);
    for (float &v : out)
        v = (float)random.below(2001) / 1000 - 1;
    return out;
}

struct Weights {
    scratch::Folder folder;
    std::vector<float> values, router[kLayers];

    Weights()
    {
        scratch::Random random(42);
        values = noise(random, kLayers * kExperts * 3 * kMatrix);
        for (auto &r : router)
            r = noise(random, kExperts * kHidden);
        folder.write("experts", values.data(), values.size() * sizeof(float));
    }
};

struct backend *open_cpu()
{
    struct cpu_backend_config cpu = {};
    cpu.threads = 1;
    cpu.isa = CPU_BEST;
    cpu.expert_width_max = kWidth;
    cpu.context_max = 1;
    cpu.rows_max = kRows;
    struct backend *out = nullptr;
    struct error error = {};
    EXPECT_EQ(cpu_backend_open(&out, &cpu, &error), STATUS_OK) << error.text;
    return out;
}

/* A processor that does what it was asked for later, in order, and a link to its memory that copies
 * as soon as it may. `tells`: fences are real; else it says that all is done. */
class LateMachine {
public:
    LateMachine(uint64_t seed, bool tells) : random_(seed), tells_(tells), cpu_(open_cpu())
    {
        backend_.head.ops = &backend_ops_;
        backend_.self = this;
        device_.head.ops = &device_ops_;
        device_.self = this;
        backend_ops_ = *cpu_->ops;
        backend_ops_.name = "late";
        backend_ops_.experts_at_once = 1 + (uint32_t)(seed % 4);
        backend_ops_.alloc = [](struct backend *b, size_t bytes) {
            return of(b).cpu_->ops->alloc(of(b).cpu_, bytes);
        };
        backend_ops_.release = [](struct backend *b, void *p) {
            of(b).run_to(of(b).asked_);
            of(b).cpu_->ops->release(of(b).cpu_, p);
        };
        backend_ops_.upload = [](struct backend *b, void *to, const void *from, size_t bytes) {
            std::vector<uint8_t> copy((const uint8_t *)from, (const uint8_t *)from + bytes);
            of(b).ask([to, copy](struct backend *) { memcpy(to, copy.data(), copy.size()); });
        };
        backend_ops_.download = [](struct backend *b, void *to, const void *from, size_t bytes) {
            of(b).run_to(of(b).asked_);
            memcpy(to, from, bytes);
        };
        backend_ops_.matmul = [](struct backend *b, float *out, const float *x, struct tensor w,
                                 const float *bias, uint32_t rows, bool add) {
            of(b).ask([=](struct backend *c) { c->ops->matmul(c, out, x, w, bias, rows, add); });
        };
        backend_ops_.route = [](struct backend *b, const struct router *router,
                                const float *scores, uint32_t rows, uint32_t *chosen,
                                float *weights) {
            struct router r = *router;
            of(b).ask([=](struct backend *c) {
                c->ops->route(c, &r, scores, rows, chosen, weights);
            });
        };
        backend_ops_.experts = [](struct backend *b, const struct expert_args *args,
                                  uint32_t count) {
            EXPECT_LE(count, of(b).backend_ops_.experts_at_once);
            std::vector<struct expert_args> copy(args, args + count);
            of(b).ask([copy](struct backend *c) {
                c->ops->experts(c, copy.data(), (uint32_t)copy.size());
            });
        };
        backend_ops_.combine = [](struct backend *b, const struct combine_args *args) {
            struct combine_args copy = *args;
            of(b).ask([copy](struct backend *c) { c->ops->combine(c, &copy); });
        };
        backend_ops_.fence = [](struct backend *b) { return of(b).fence(); };
        backend_ops_.reached = [](struct backend *b, uint64_t fence, bool wait) {
            return of(b).reached(fence, wait);
        };
        backend_ops_.sync = [](struct backend *b) { of(b).run_to(of(b).asked_); };
        open_device();
    }
    ~LateMachine() { backend_close(cpu_); }
    struct backend *backend() { return &backend_.head; }
    struct device *device() { return &device_.head; }
    uint64_t waited = 0; /* copies that had to */

private:
    struct Backend {
        struct backend head; /* first */
        LateMachine *self;
    };
    struct Device {
        struct device head; /* first */
        LateMachine *self;
    };
    struct Write {
        uint64_t after;
        std::function<void()> run;
        bool is_copy;
    };
    static LateMachine &of(struct backend *b) { return *reinterpret_cast<Backend *>(b)->self; }
    static LateMachine &of(struct device *d) { return *reinterpret_cast<Device *>(d)->self; }

    void open_device()
    {
        device_ops_.name = "late";
        device_ops_.host_visible = false;
        device_ops_.alloc = [](struct device *, size_t bytes) {
            return aligned_alloc(4096, bytes);
        };
        device_ops_.release = [](struct device *d, void *p) {
            of(d).run_to(of(d).asked_);
            free(p);
        };
        device_ops_.pin = [](struct device *, void *, size_t) { return true; };
        device_ops_.unpin = [](struct device *, void *) {};
        device_ops_.copy = [](struct device *d, void *to, const void *from, size_t bytes,
                              uint64_t after) {
            LateMachine &m = of(d);
            m.waited += !m.reached(after, false);
            m.writes_.push_back({after, [=] { memcpy(to, from, bytes); }, true});
            m.write();
            return ++m.copies_;
        };
        device_ops_.fill = [](struct device *d, void *to, uint8_t byte, size_t bytes,
                              uint64_t after) {
            of(d).writes_.push_back({after, [=] { memset(to, byte, bytes); }, false});
            of(d).write();
        };
        device_ops_.poll = [](struct device *d, uint64_t seen, uint64_t wait_ns) {
            LateMachine &m = of(d);
            m.write();
            while (wait_ns > 0 && m.copied_ <= seen && !m.writes_.empty()) {
                m.run_to(m.writes_.front().after);
                m.write();
            }
            return m.copied_;
        };
        device_ops_.fence = [](struct device *d) { return of(d).fence(); };
        device_ops_.reached = [](struct device *d, uint64_t fence, bool wait) {
            return of(d).reached(fence, wait);
        };
        device_ops_.rates = [](struct device *) { return (struct device_rates){}; };
        device_ops_.close = [](struct device *d) { of(d).writes_.clear(); };
    }
    void ask(std::function<void(struct backend *)> work)
    {
        work_.push_back(std::move(work));
        asked_++;
        if (random_.chance(15))
            run_to(done_ + 1 + random_.below(4));
    }
    void run_to(uint64_t count)
    {
        for (; done_ < count && !work_.empty(); done_++) {
            work_.front()(cpu_);
            work_.pop_front();
        }
    }
    /* Everything in front of the first that may not be written yet. */
    void write()
    {
        for (; !writes_.empty() && done_ >= writes_.front().after; writes_.pop_front()) {
            writes_.front().run();
            copied_ += writes_.front().is_copy;
        }
    }
    uint64_t fence() const { return tells_ ? asked_ : 0; }
    bool reached(uint64_t fence, bool wait)
    {
        if (wait)
            run_to(fence);
        return done_ >= fence;
    }

    scratch::Random random_;
    bool tells_;
    struct backend *cpu_;
    std::deque<std::function<void(struct backend *)>> work_;
    std::deque<Write> writes_;
    uint64_t asked_ = 0, done_ = 0, copies_ = 0, copied_ = 0;
    struct backend_ops backend_ops_;
    struct device_ops device_ops_ = {};
    Backend backend_;
    Device device_;
};

struct Options {
    uint32_t device_slots, host_slots;
    bool host = true;
    enum placement_mode placement = PLACEMENT_AUTO;
    LateMachine *late = nullptr;
};

class Layer {
public:
    Layer(const Weights &weights, const Options &o) : weights_(weights), own_(open_cpu())
    {
        struct error error = {};
        struct store *store;
        uint32_t file;
        page_id page;
        EXPECT_EQ(store_open(&store, &error), STATUS_OK);
        EXPECT_EQ(store_add_file(store, weights.folder.path("experts").c_str(), &file, &error),
                  STATUS_OK);
        for (uint64_t p = 0; p < kLayers * kExperts; p++) {
            struct page_part parts[3] = {};
            for (uint64_t i = 0; i < 3; i++) {
                parts[i].offset = (p * 3 + i) * kMatrix * sizeof(float);
                parts[i].bytes = kMatrix * sizeof(float);
            }
            EXPECT_EQ(store_add_page(store, parts, 3, &page, &error), STATUS_OK) << error.text;
        }
        EXPECT_EQ(store_seal(store, &error), STATUS_OK);
        struct memory_config memory = {};
        memory.slots[MEMORY_DEVICE].of_class[0] = o.device_slots;
        memory.slots[MEMORY_HOST].of_class[0] = o.host_slots;
        memory.io = IO_SYNC;
        if (o.late)
            memory.device = o.late->device();
        else
            EXPECT_EQ(device_host_open(&memory.device,
                                       o.device_slots * store_class_slot_bytes(store, 0), 0,
                                       &error),
                      STATUS_OK);
        EXPECT_EQ(memory_open(&memory_, store, &memory, &error), STATUS_OK) << error.text;
        struct pager_config pager = {};
        pager.memory = memory_;
        pager.layers = kLayers;
        pager.experts = kExperts;
        pager.top_k = kTopK;
        pager.host_compute = o.host;
        pager.placement = o.placement;
        pager.prior = PLACEMENT_PRIOR;
        pager.flops_per_token = 6.0 * kMatrix;
        EXPECT_EQ(pager_open(&pager_, &pager, &error), STATUS_OK) << error.text;
        struct moe_config config = {};
        backend_ = o.late ? o.late->backend() : own_;
        config.backend = backend_;
        config.host = o.host ? own_ : nullptr;
        config.pager = pager_;
        config.router = {ROUTER_SOFTMAX_NORM, kExperts, kTopK, 0};
        config.hidden = kHidden;
        config.expert_width = kWidth;
        config.rows_max = kRows;
        config.layers = kLayers;
        config.norm_eps = 1e-6f;
        EXPECT_EQ(moe_open(&moe_, &config, &error), STATUS_OK) << error.text;
        float **rows[] = {&x_, &normed_};
        for (float **r : rows)
            *r = (float *)backend_->ops->alloc(backend_, kRows * kHidden * sizeof(float));
    }
    ~Layer()
    {
        backend_->ops->release(backend_, x_);
        backend_->ops->release(backend_, normed_);
        moe_close(&moe_);
        pager_close(pager_);
        memory_close(memory_);
        backend_close(own_);
    }
    /* Layers of one step; `normed` changes from one to the next. */
    enum status step(std::vector<float> &x, std::vector<float> normed, struct error *error)
    {
        const uint32_t tokens[kRows] = {};
        size_t bytes = x.size() * sizeof(float);
        enum status status = STATUS_OK;
        batch_ = toy::Batch();
        for (uint32_t r = 0; r < x.size() / kHidden; r++)
            batch_.add(tokens, 1, 0, nullptr);
        pager_begin_step(pager_, (uint32_t)(x.size() / kHidden), 0);
        backend_->ops->upload(backend_, x_, x.data(), bytes);
        for (uint32_t layer = 0; layer < kLayers && status == STATUS_OK; layer++) {
            struct moe_weights weights =
                toy::f32_weights(weights_.router[layer].data(), kExperts, kHidden, kWidth);
            struct moe_call call = {layer, &weights, x_, normed_, batch_.get()};
            backend_->ops->upload(backend_, normed_, normed.data(), bytes);
            status = moe_layer(&moe_, &call, error);
            for (float &v : normed)
                v = -v;
        }
        if (status == STATUS_OK)
            pager_end_step(pager_);
        backend_->ops->download(backend_, x.data(), x_, bytes);
        return status;
    }
    struct pager_counters counters() const
    {
        struct pager_counters c;
        pager_counters(pager_, &c);
        return c;
    }
    uint32_t pins() const
    {
        uint32_t n = 0;
        for (page_id p = 0; p < kLayers * kExperts; p++)
            n += memory_pins(memory_, p);
        return n;
    }
    const struct expert_usage &usage(uint32_t item) const { return batch_.usage(item); }
    struct memory *memory_ = nullptr;

private:
    const Weights &weights_;
    struct backend *own_, *backend_ = nullptr;
    struct expert_pager *pager_ = nullptr;
    struct moe moe_;
    float *x_ = nullptr, *normed_ = nullptr;
    toy::Batch batch_;
};

/* Steps of 1 to kRows rows; what each leaves in x. */
std::vector<std::vector<float>> steps(Layer &layer, int count)
{
    scratch::Random random(5);
    std::vector<std::vector<float>> out;
    for (int i = 0; i < count; i++) {
        uint32_t rows = 1 + random.below(kRows);
        std::vector<float> x = noise(random, rows * kHidden), n = noise(random, rows * kHidden);
        struct error error = {};
        EXPECT_EQ(layer.step(x, n, &error), STATUS_OK) << error.text;
        EXPECT_EQ(layer.pins(), 0u);
        out.push_back(x);
    }
    return out;
}

std::vector<std::vector<float>> plain(const Weights &weights, int count)
{
    Layer layer(weights, {kLayers * kExperts, 0, false});
    return steps(layer, count);
}

TEST(MoeHost, WhereExpertsRunChangesNoBit)
{
    Weights weights;
    const auto want = plain(weights, 40);
    for (enum placement_mode mode : {PLACEMENT_DEVICE, PLACEMENT_HOST, PLACEMENT_AUTO})
        for (uint32_t device_slots : {1u, 4u, 13u})
            for (uint32_t host_slots : {1u, 6u, 14u}) {
                SCOPED_TRACE("mode " + std::to_string(mode) + ", " + std::to_string(device_slots) +
                             " and " + std::to_string(host_slots) + " slots");
                Layer layer(weights, {device_slots, host_slots, true, mode});
                EXPECT_EQ(steps(layer, 40), want);
                struct pager_counters c = layer.counters();
                if (mode == PLACEMENT_DEVICE) {
                    EXPECT_EQ(c.placement.at_host, 0u);
                }
                if (mode == PLACEMENT_HOST && host_slots == 14) {
                    EXPECT_GT(c.placement.at_host, c.misses / 2);
                }
            }
}

/* Computed where it lies: a miss that reads nothing. */
TEST(MoeHost, AnExpertOnTheHostIsAMissOfNoBytes)
{
    Weights weights;
    Layer layer(weights, {1, kLayers * kExperts, true, PLACEMENT_HOST});
    scratch::Random random(8);
    std::vector<float> x = noise(random, kHidden), n = noise(random, kHidden);
    struct error error = {};
    ASSERT_EQ(layer.step(x, n, &error), STATUS_OK) << error.text;
    EXPECT_GT(layer.usage(0).bytes, 0u);
    ASSERT_EQ(layer.step(x, n, &error), STATUS_OK) << error.text;
    EXPECT_EQ(layer.usage(0).bytes, 0u);
    EXPECT_EQ(layer.usage(0).hits + layer.usage(0).misses, kLayers * kTopK);
    EXPECT_GE(layer.usage(0).misses, kLayers * kTopK - 1);
    EXPECT_EQ(layer.counters().placement.at_host, layer.usage(0).misses);
}

TEST(MoeHost, AFailedReadLeavesTheRowsAsTheyWere)
{
    Weights weights;
    Layer layer(weights, {2, 3, true, PLACEMENT_HOST});
    const auto want = plain(weights, 3);
    scratch::Random random(5);
    std::vector<float> x = noise(random, kRows * kHidden), n = noise(random, kRows * kHidden);
    for (int i = 0; i < 5; i++) {
        std::vector<float> got = x;
        struct error error = {};
        weights.folder.truncate("experts", 100);
        EXPECT_EQ(layer.step(got, n, &error), STATUS_IO);
        EXPECT_EQ(got, x);
        EXPECT_EQ(layer.pins(), 0u);
        weights.folder.write("experts", weights.values.data(),
                             weights.values.size() * sizeof(float));
        EXPECT_EQ(steps(layer, 3), want);
    }
}

/* Rings so small that slots are given on while the device has not read them yet. */
uint32_t wrong_on_late_devices(const Weights &weights, bool tells, uint64_t *waited)
{
    const auto want = plain(weights, 12);
    uint32_t wrong = 0;
    for (uint64_t seed = 1; seed <= 24; seed++) {
        LateMachine machine(seed, tells);
        Options options = {2 + (uint32_t)seed % 3, 14, seed % 4 != 0,
                           seed % 4 == 1 ? PLACEMENT_HOST : PLACEMENT_AUTO, &machine};
        Layer layer(weights, options);
        wrong += steps(layer, 12) != want;
        *waited += machine.waited;
    }
    return wrong;
}

TEST(MoeHost, ADeviceThatWorksLateKeepsItsSlotsUntilItsFence)
{
    Weights weights;
    uint64_t waited = 0;
    EXPECT_EQ(wrong_on_late_devices(weights, true, &waited), 0u);
    EXPECT_GT(waited, 100u);
}

/* The opposite, planted: pages given back as if the device had read them already. */
TEST(MoeHost, WithoutFencesItWouldShow)
{
    Weights weights;
    uint64_t waited = 0;
    EXPECT_GT(wrong_on_late_devices(weights, false, &waited), 0u);
    EXPECT_EQ(waited, 0u);
}

TEST(MoeHost, CloseAcceptsAZeroedOne)
{
    struct moe_host host = {};
    moe_host_close(&host);
}

} // namespace
