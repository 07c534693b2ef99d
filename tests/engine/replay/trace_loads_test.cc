/* Traces folded into ticks: every use is counted once, in the tick and phase it belongs to. */
#include "engine/replay/trace_loads.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace {

class TraceLoadsTest : public testing::Test {
protected:
    ~TraceLoadsTest() override
    {
        load_log_close(log_);
        trace_close(trace_);
    }
    /* One layer, 4 experts, top 1; requests as (tokens, prefill); steps may be empty. */
    enum status fold(const std::vector<std::pair<uint32_t, uint32_t>> &requests,
                     const std::string &ids, const std::vector<uint32_t> &steps = {})
    {
        text_ = R"({"format":"moering-trace","version":1,"layers":1,"experts":4,"top_k":1,)"
                R"("dtype":"u8","tokens":)" + std::to_string(ids.size()) + ",\"requests\":[";
        for (size_t i = 0; i < requests.size(); i++)
            text_ += std::string(i ? "," : "") + "{\"tokens\":" +
                     std::to_string(requests[i].first) + ",\"prefill\":" +
                     std::to_string(requests[i].second) + "}";
        text_ += "]";
        if (!steps.empty())
            text_ += R"(,"columns":[{"name":"step","dtype":"u32","width":1}])";
        text_ += "}\n" + ids +
                 std::string(reinterpret_cast<const char *>(steps.data()), 4 * steps.size());
        error_ = {};
        enum status status =
            trace_parse(&trace_, "toy", reinterpret_cast<const uint8_t *>(text_.data()),
                        text_.size(), &error_);
        EXPECT_EQ(status, STATUS_OK) << error_.text;
        return trace_loads_fold(&log_, trace_, &error_);
    }
    std::string text_;
    struct trace *trace_ = nullptr;
    struct load_log *log_ = nullptr;
    struct error error_ = {};
};

TEST_F(TraceLoadsTest, PhasesAndTicks)
{
    constexpr uint32_t tick = TRACE_LOADS_TICK;
    /* The first request's prompt fills a tick with expert 3; then 2.5 ticks of decode. */
    std::string ids = std::string(tick, '\3') + std::string(tick, '\0') + std::string(tick, '\1') +
                      std::string(tick / 2, '\2');
    ASSERT_EQ(fold({{tick + 100, tick}, {2 * tick + tick / 2 - 100, 0}}, ids), STATUS_OK)
        << error_.text;
    ASSERT_EQ(log_->phase_count, 2u);
    const struct load_log_phase &decode = log_->phases[0], &prefill = log_->phases[1];
    EXPECT_STREQ(decode.name, "decode");
    EXPECT_STREQ(prefill.name, "prefill");
    ASSERT_EQ(decode.ticks, 2u);
    ASSERT_EQ(prefill.ticks, 1u);
    EXPECT_EQ(std::vector<uint32_t>(decode.counts, decode.counts + 8),
              (std::vector<uint32_t>{tick, 0, 0, 0, 0, tick, 0, 0}));
    EXPECT_EQ(prefill.counts[3], tick);
    EXPECT_EQ(decode.tokens[1], tick);
    EXPECT_EQ(decode.tick[1], 1u);
}

TEST_F(TraceLoadsTest, StepsGiveTheOrder)
{
    /* Two requests of one tick each that ran side by side: each tick sees half of both. */
    constexpr uint32_t tick = TRACE_LOADS_TICK;
    std::string ids = std::string(tick, '\0') + std::string(tick, '\1');
    std::vector<uint32_t> steps;
    for (uint32_t i = 0; i < 2 * tick; i++)
        steps.push_back(i % tick);
    ASSERT_EQ(fold({{tick, 0}, {tick, 0}}, ids, steps), STATUS_OK) << error_.text;
    ASSERT_EQ(log_->phases[0].ticks, 2u);
    for (int i = 0; i < 2; i++) {
        EXPECT_EQ(log_->phases[0].counts[4 * i], tick / 2);
        EXPECT_EQ(log_->phases[0].counts[4 * i + 1], tick / 2);
    }
}

TEST_F(TraceLoadsTest, ATickWithoutAnyUseIsLeftOut)
{
    constexpr uint32_t tick = TRACE_LOADS_TICK;
    std::string ids = std::string(tick, '\0') + std::string(tick, '\xff') + std::string(tick, '\1');
    ASSERT_EQ(fold({{3 * tick, 0}}, ids), STATUS_OK) << error_.text;
    ASSERT_EQ(log_->phases[0].ticks, 2u);
    EXPECT_EQ(log_->phases[0].tick[1], 2u);
    EXPECT_EQ(log_->phases[0].counts[5], tick);
}

TEST_F(TraceLoadsTest, TooShortIsSaid)
{
    EXPECT_EQ(fold({{5, 2}}, std::string(5, '\1')), STATUS_INVALID);
    EXPECT_STREQ(error_.text, "toy: its 5 tokens do not fill a tick of 1024");
    EXPECT_EQ(log_, nullptr);
}

} // namespace
