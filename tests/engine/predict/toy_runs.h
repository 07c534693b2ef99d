// Runs of imaginary layers, and how well somebody foretold them.
#ifndef MOERING_TESTS_ENGINE_PREDICT_TOY_RUNS_H
#define MOERING_TESTS_ENGINE_PREDICT_TOY_RUNS_H

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "engine/predict/history.h"
#include "engine/predict/predictor.h"

namespace toy {

// A run with one row to each expert; owns what a layer_run points to.
class Run {
public:
    Run(uint32_t layer, std::vector<uint32_t> experts, uint32_t rows = 1, bool prefill = false)
        : experts_(std::move(experts)), tokens_(experts_.size(), 1)
    {
        run_ = {layer, rows, static_cast<uint32_t>(experts_.size()), nullptr, nullptr, prefill};
    }
    Run &tokens(std::vector<uint32_t> tokens)
    {
        tokens_ = std::move(tokens);
        return *this;
    }
    const struct layer_run *get()
    {
        run_.experts = experts_.data();
        run_.tokens = tokens_.data();
        return &run_;
    }
    const std::vector<uint32_t> &experts() const { return experts_; }
    uint32_t layer() const { return run_.layer; }

private:
    std::vector<uint32_t> experts_, tokens_;
    struct layer_run run_;
};

class Random {
public:
    explicit Random(uint32_t seed) : random_(seed) {}
    uint32_t below(uint32_t n)
    {
        return std::uniform_int_distribution<uint32_t>(0, n - 1)(random_);
    }
    double uniform() { return std::uniform_real_distribution<double>()(random_); }
    // `count` different numbers below n.
    std::vector<uint32_t> some(uint32_t n, uint32_t count)
    {
        std::vector<uint32_t> all(n);
        for (uint32_t i = 0; i < n; i++)
            all[i] = i;
        for (uint32_t i = 0; i < count; i++)
            std::swap(all[i], all[i + below(n - i)]);
        all.resize(count);
        return all;
    }
    // Anything that may come: decode and prefill runs, unions of many tokens, nobody at all.
    Run anything(uint32_t layers, uint32_t experts)
    {
        bool prefill = below(8) == 0;
        uint32_t rows = prefill ? 1 + below(600) : 1 + below(4);
        Run run(below(layers), some(experts, below(3) ? below(5) : below(experts + 1)), rows,
                prefill);
        std::vector<uint32_t> tokens(run.experts().size());
        for (uint32_t &t : tokens)
            t = 1 + below(rows);
        return run.tokens(tokens);
    }

private:
    std::mt19937 random_;
};

// Log loss in nats and calibration over many foretold runs.
class Score {
public:
    void add(const std::vector<float> &told, const std::vector<uint32_t> &used)
    {
        std::vector<bool> is(told.size());
        for (uint32_t e : used)
            is[e] = true;
        for (size_t e = 0; e < told.size(); e++)
            add(told[e], is[e]);
    }
    void add(double p, bool used)
    {
        loss_ -= std::log(std::max(used ? p : 1 - p, 1e-12));
        told_ += p;
        used_ += used;
        count_++;
    }
    double loss() const { return loss_ / count_; }
    double told() const { return told_ / count_; }
    double used() const { return used_ / count_; }

private:
    double loss_ = 0, told_ = 0, used_ = 0, count_ = 0;
};

// Nats of one yes or no.
inline double entropy(double p)
{
    return p <= 0 || p >= 1 ? 0 : -p * std::log(p) - (1 - p) * std::log(1 - p);
}

// Empty: it cannot say.
inline std::vector<float> experts(struct predictor *p, uint32_t distance, uint32_t experts)
{
    std::vector<float> probability(experts, NAN);
    if (!p->ops->experts(p, distance, probability.data()))
        return {};
    return probability;
}

} // namespace toy

#endif
