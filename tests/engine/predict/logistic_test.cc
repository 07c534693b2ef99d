#include "engine/predict/logistic.h"

#include <gtest/gtest.h>

#include <cfloat>
#include <cmath>

namespace {

const double BOUND = 3e-5; // as the header says

TEST(Logistic, ExpIsCloseOverItsWholeRange)
{
    double worst = 0;
    for (int i = -80000; i <= 80000; i++) {
        float x = static_cast<float>(i) * 1e-3f;
        worst = std::fmax(worst, std::fabs(logistic_exp(x) / std::exp(static_cast<double>(x)) - 1));
    }
    for (float x : {-80.0f, 80.0f, 0.5f, -0.5f, 0.34657359f, -0.34657359f, 1e-30f, -1e-30f})
        worst = std::fmax(worst, std::fabs(logistic_exp(x) / std::exp(static_cast<double>(x)) - 1));
    EXPECT_LT(worst, BOUND);
    EXPECT_EQ(logistic_exp(0.0f), 1.0f);
}

TEST(Logistic, LogIsCloseForEveryMagnitude)
{
    double worst = 0;
    for (int e = -126; e <= 127; e++)
        for (int i = 0; i < 997; i++) {
            float x = std::ldexp(1.0f + static_cast<float>(i) / 997.0f, e);
            double exact = std::log(static_cast<double>(x));
            if (exact != 0)
                worst = std::fmax(worst, std::fabs(logistic_log(x) / exact - 1));
        }
    // Near 1 the logarithm is small itself; near the root of 2 the exponent changes.
    for (float at : {1.0f, 1.41421356f, 0.70710678f})
        for (int ulps = -2000; ulps <= 2000; ulps++) {
            float x = logistic_bits_float(logistic_float_bits(at) + ulps);
            double exact = std::log(static_cast<double>(x));
            if (exact != 0)
                worst = std::fmax(worst, std::fabs(logistic_log(x) / exact - 1));
        }
    EXPECT_LT(worst, BOUND);
    EXPECT_EQ(logistic_log(1.0f), 0.0f);
    EXPECT_NEAR(logistic_log(FLT_MIN), std::log(FLT_MIN), 1e-4);
    EXPECT_NEAR(logistic_log(FLT_MAX), std::log(FLT_MAX), 1e-4);
}

TEST(Logistic, SigmoidIsCloseAndSaturates)
{
    double worst = 0;
    for (int i = -30000; i <= 30000; i++) {
        float z = static_cast<float>(i) * 1e-3f;
        double exact = 1 / (1 + std::exp(-static_cast<double>(z)));
        float got = logistic_sigmoid(z);
        worst = std::fmax(worst, std::fabs(got / exact - 1));
        ASSERT_TRUE(got >= 0.0f && got <= 1.0f) << z;
    }
    EXPECT_LT(worst, BOUND);
    for (float z : {31.0f, 1e4f, FLT_MAX, INFINITY}) {
        EXPECT_EQ(logistic_sigmoid(z), logistic_sigmoid(30.0f));
        EXPECT_EQ(logistic_sigmoid(-z), logistic_sigmoid(-30.0f));
    }
    EXPECT_EQ(logistic_sigmoid(0.0f), 0.5f);
}

TEST(Logistic, LogitIsTheInverseInsideItsBoundsAndStopsThere)
{
    for (int i = 5; i <= 9995; i++) {
        float p = static_cast<float>(i) * 1e-4f;
        double q = logistic_clamp(p);
        EXPECT_NEAR(logistic_logit(p), std::log(q / (1 - q)), 3e-4) << p; // 1 - p is rounded
        EXPECT_NEAR(logistic_sigmoid(logistic_logit(p)), q, 1e-5) << p;
    }
    EXPECT_EQ(logistic_logit(0.0f), logistic_logit(LOGISTIC_P_MIN));
    EXPECT_EQ(logistic_logit(-1.0f), logistic_logit(LOGISTIC_P_MIN));
    EXPECT_EQ(logistic_logit(1.0f), logistic_logit(LOGISTIC_P_MAX));
    EXPECT_EQ(logistic_logit(2.0f), logistic_logit(LOGISTIC_P_MAX));
    EXPECT_NEAR(logistic_logit(0.0f), -7.6, 0.01);
    EXPECT_NEAR(logistic_logit(1.0f), 7.6, 0.01);
}

} // namespace
