// Loads of an imaginary layer, by seed: Dirichlet shares and multinomial counts, and what a test
// asks of every vector of shares.
#ifndef MOERING_TESTS_ENGINE_PREDICT_TOY_LOADS_H
#define MOERING_TESTS_ENGINE_PREDICT_TOY_LOADS_H

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "engine/predict/predictor.h"

namespace toy {

using Share = std::vector<float>;

class Loads {
public:
    explicit Loads(uint32_t seed) : random_(seed) {}

    // Shares of `experts`; the larger alpha, the more alike.
    std::vector<double> dirichlet(uint32_t experts, double alpha)
    {
        std::gamma_distribution<double> gamma(alpha);
        std::vector<double> p(experts);
        double sum = 0;
        for (double &x : p)
            sum += x = gamma(random_) + 1e-9;
        for (double &x : p)
            x /= sum;
        return p;
    }

    // How often each expert is drawn in `routed` independent draws.
    std::vector<uint32_t> counts(const std::vector<double> &p, uint32_t routed)
    {
        std::vector<uint32_t> n(p.size());
        double left = 1;
        for (size_t e = 0; e < p.size() && routed > 0; e++) {
            double part = left > p[e] ? p[e] / left : 1.0;
            n[e] = e + 1 == p.size()
                       ? routed
                       : static_cast<uint32_t>(
                             std::binomial_distribution<int>(static_cast<int>(routed),
                                                             part)(random_));
            routed -= n[e];
            left -= p[e];
        }
        return n;
    }

    Share tick(const std::vector<double> &p, uint32_t routed)
    {
        std::vector<uint32_t> n = counts(p, routed);
        Share share(p.size());
        for (size_t e = 0; e < p.size(); e++)
            share[e] = static_cast<float>(n[e]) / static_cast<float>(routed);
        return share;
    }

    double normal() { return std::normal_distribution<double>()(random_); }

private:
    std::mt19937 random_;
};

// 0.8 times the relative deviation of a share in one tick, times sqrt(1 + 1 / w): what the mean of
// w ticks cannot beat.
inline double sampling_floor(const std::vector<double> &p, uint32_t routed, uint32_t window)
{
    double sum = 0;
    for (double x : p)
        sum += 0.8 * std::sqrt((1 - x) / (x * routed)) * std::sqrt(1 + 1.0 / window);
    return sum / static_cast<double>(p.size());
}

inline void expect_shares(const Share &share)
{
    double sum = 0;
    for (float x : share) {
        ASSERT_TRUE(x >= 0.0f && x <= 1.0f) << x; // false for NaN
        sum += x;
    }
    EXPECT_NEAR(sum, 1.0, 1e-4);
}

inline void tick(struct predictor *p, uint32_t layer, const Share &share)
{
    p->ops->tick(p, layer, share.data());
}

// Empty: it cannot say.
inline Share loads(struct predictor *p, uint32_t layer, uint32_t horizon, size_t experts)
{
    Share share(experts, NAN);
    if (!p->ops->loads(p, layer, horizon, share.data()))
        return {};
    expect_shares(share);
    return share;
}

// The golden series of two experts: x and 1 - x.
inline const std::vector<float> &golden_series()
{
    static const std::vector<float> x = {.100f, .120f, .110f, .130f, .125f, .140f,
                                         .135f, .150f, .145f, .155f, .150f, .160f};
    return x;
}

} // namespace toy

#endif
