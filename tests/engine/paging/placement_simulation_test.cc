/* The pager with a host that computes, over the real memory/, in virtual time: the link, the device
 * and the host each take what a machine of given speeds would take, the pager sees nothing but the
 * clock. Which of fetching everything, leaving everything where it lies and choosing is the fastest
 * depends on the link; choosing must never be much slower than the better one.
 *
 * Routing is made up here; with MOERING_TRACE=<file.mtrace> it is that of a real model. */
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "engine/paging/expert_pager.h"
#include "tests/memory/simulated.h"

static const uint64_t *world_now_ns;

extern "C" int clock_gettime(clockid_t id, struct timespec *t) noexcept
{
    if (!world_now_ns)
        return (int)syscall(SYS_clock_gettime, id, t);
    uint64_t ns = 1000000000u + *world_now_ns;
    *t = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
    return 0;
}

namespace {

/* Experts of each token and layer. */
struct Trace {
    uint32_t layers = 0, experts = 0, top_k = 0, tokens = 0;
    std::vector<uint8_t> ids; /* [token][layer][k] */

    const uint8_t *at(uint32_t token, uint32_t layer) const
    {
        return &ids[((size_t)token * layers + layer) * top_k];
    }
};

/* What an expert is wanted for comes and goes: some are popular in every text, most in some, and a
 * token likes what the one before it used. */
Trace made_up(uint32_t tokens)
{
    Trace t;
    t.layers = 8, t.experts = 32, t.top_k = 4, t.tokens = tokens;
    scratch::Random random(3);
    std::vector<double> like(t.layers * t.experts);
    for (uint32_t token = 0; token < tokens; token++) {
        for (uint32_t layer = 0; layer < t.layers; layer++) {
            double *likes = &like[layer * t.experts];
            for (uint32_t e = 0; token % 150 == 0 && e < t.experts; e++) /* another text */
                likes[e] = std::pow(random.below(1000) / 1000.0, 4) + (e % 11 == 0 ? 0.5 : 0.02);
            std::vector<std::pair<double, uint8_t>> order;
            const uint8_t *last = token ? t.at(token - 1, layer) : nullptr;
            for (uint32_t e = 0; e < t.experts; e++) {
                bool again = last && std::find(last, last + t.top_k, e) != last + t.top_k;
                double chance = likes[e] * (again ? 3 : 1); /* Efraimidis, Spirakis 2006 */
                order.push_back({-std::pow((random.below(100000) + 1) / 100001.0, 1 / chance),
                                 (uint8_t)e});
            }
            std::sort(order.begin(), order.end());
            for (uint32_t k = 0; k < t.top_k; k++)
                t.ids.push_back(order[k].second);
        }
    }
    return t;
}

Trace read_trace(const char *path, uint32_t tokens)
{
    std::ifstream in(path, std::ios::binary);
    std::string head;
    std::getline(in, head);
    auto number = [&](const char *name) {
        size_t at = head.find("\"" + std::string(name) + "\":");
        return (uint32_t)atoi(head.c_str() + at + strlen(name) + 3);
    };
    Trace t;
    t.layers = number("layers"), t.experts = number("experts"), t.top_k = number("top_k");
    t.ids.resize((size_t)tokens * t.layers * t.top_k);
    in.read((char *)t.ids.data(), (std::streamsize)t.ids.size());
    t.tokens = (uint32_t)((size_t)in.gcount() / (t.layers * t.top_k));
    return t;
}

const Trace &trace()
{
    const char *path = getenv("MOERING_TRACE"), *tokens = getenv("MOERING_TRACE_TOKENS");
    static const Trace only = path ? read_trace(path, tokens ? (uint32_t)atoi(tokens) : 400)
                                   : made_up(450);
    return only;
}

struct Machine {
    uint64_t fetch_ns, host_ns, device_ns = 8000, dense_ns = 60000;
    uint32_t share = 4; /* one page in so many has a slot */
};

struct Outcome {
    double us_per_token;
    struct pager_counters counters;

    double hit_rate() const
    {
        return (double)counters.hits / (double)(counters.hits + counters.misses);
    }
};

Outcome run(const Machine &machine, enum placement_mode mode, enum prefetch_mode prefetch)
{
    static const simulated::File file;
    const Trace &t = trace();
    scratch::Random random(1);
    simulated::Plan plan(random, t.layers * t.experts);
    plan.pages_of_class = {t.layers * t.experts};
    plan.has_host = true;
    plan.config = {};
    plan.config.slots[MEMORY_DEVICE].of_class[0] = t.layers * t.experts / machine.share;
    plan.config.slots[MEMORY_HOST].of_class[0] = t.layers * t.experts;
    plan.weather = {};
    plan.weather.copy_ns = machine.fetch_ns;
    plan.weather.copies_max = 4;
    simulated::Memory m(file, plan, random);
    struct pager_config config = {};
    config.memory = m.memory;
    config.layers = t.layers;
    config.experts = t.experts;
    config.top_k = t.top_k;
    config.prefetch = prefetch;
    config.host_compute = true;
    config.placement = mode;
    config.prior = PLACEMENT_PRIOR;
    config.flops_per_token = 1000;
    struct error error = {};
    struct expert_pager *pager = nullptr;
    EXPECT_EQ(pager_open(&pager, &config, &error), STATUS_OK) << error.text;
    uint64_t &now = m.world.now, device_free = 0;
    world_now_ns = &now;
    std::vector<uint32_t> ones(t.top_k, 1), experts(t.top_k);
    for (uint32_t token = 0; token < t.tokens; token++) {
        pager_begin_step(pager, 1, 1);
        for (uint32_t layer = 0; layer < t.layers; layer++) {
            now += machine.dense_ns;
            std::copy_n(t.at(token, layer), t.top_k, experts.begin());
            std::sort(experts.begin(), experts.end());
            struct layer_run wants = {};
            wants.layer = layer;
            wants.rows = 1;
            wants.count = t.top_k;
            wants.experts = experts.data();
            wants.tokens = ones.data();
            bool hit[16];
            struct pager_expert e;
            pager_request(pager, &wants, hit);
            while (pager_next(pager, &e, &error) == STATUS_OK) {
                if (e.at_host) {
                    now += machine.host_ns;
                    pager_measured(pager, e.index, machine.host_ns);
                } else {
                    if (pager_samples(pager))
                        pager_sampled(pager, &e.index, 1, machine.device_ns);
                    device_free = std::max(device_free, now) + machine.device_ns;
                }
                pager_release(pager, e.index, 0);
            }
            now = std::max(now, device_free);
        }
        pager_end_step(pager);
    }
    Outcome out = {};
    out.us_per_token = (double)now / 1e3 / t.tokens;
    pager_counters(pager, &out.counters);
    pager_close(pager);
    world_now_ns = nullptr;
    memory_check(m.memory);
    return out;
}

TEST(PlacementSimulation, ChoosingIsNeverMuchSlowerThanTheBetterOfBoth)
{
    uint32_t better_than_both = 0;
    for (enum prefetch_mode prefetch : {PREFETCH_OFF, PREFETCH_AUTO})
        for (Machine machine : {Machine{40000, 100000}, Machine{150000, 100000},
                                Machine{1000000, 100000}}) {
            Outcome device = run(machine, PLACEMENT_DEVICE, prefetch);
            Outcome host = run(machine, PLACEMENT_HOST, prefetch);
            Outcome chosen = run(machine, PLACEMENT_AUTO, prefetch);
            double best = std::min(device.us_per_token, host.us_per_token);
            printf(
                "prefetch %d, a fetch takes %.2f of a run on the host: device %.0f, host %.0f, "
                "auto %.0f us a token; hits %.3f, %.3f, %.3f; auto %.3f of the better one, %lu at "
                "the host, %lu fetched, %lu tried\n",
                prefetch, (double)machine.fetch_ns / (double)machine.host_ns, device.us_per_token,
                host.us_per_token, chosen.us_per_token, device.hit_rate(), host.hit_rate(),
                chosen.hit_rate(), chosen.us_per_token / best,
                (unsigned long)chosen.counters.placement.at_host,
                (unsigned long)chosen.counters.placement.at_device,
                (unsigned long)chosen.counters.placement.tried);
            EXPECT_LT(chosen.us_per_token, 1.1 * best);
            better_than_both += chosen.us_per_token < 0.97 * best;
        }
    EXPECT_GT(better_than_both, 0u);
}

} // namespace
