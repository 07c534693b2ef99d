/* Traces for the tests of this folder, put together in memory. */
#ifndef MOERING_TESTS_ENGINE_REPLAY_TOY_TRACE_H
#define MOERING_TESTS_ENGINE_REPLAY_TOY_TRACE_H

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/replay/schedule.h"

struct ToyRequest {
    uint32_t tokens, prefill = 0;
};

/* A trace of u8 ids, and blocks of columns behind them. */
class ToyTrace {
public:
    ToyTrace(uint32_t layers, uint32_t experts, uint32_t top_k,
             const std::vector<ToyRequest> &requests, const std::vector<uint8_t> &ids,
             const std::string &columns = "", const std::vector<uint8_t> &blocks = {})
    {
        uint64_t tokens = 0;
        std::string list;
        for (const ToyRequest &q : requests) {
            tokens += q.tokens;
            list += (list.empty() ? "" : ", ") + ("{\"tokens\": " + std::to_string(q.tokens)) +
                    ", \"prefill\": " + std::to_string(q.prefill) + "}";
        }
        file_ = "{\"format\": \"moering-trace\", \"version\": 1, \"model\": \"toy\", \"layers\": " +
                std::to_string(layers) + ", \"experts\": " + std::to_string(experts) +
                ", \"top_k\": " + std::to_string(top_k) +
                ", \"tokens\": " + std::to_string(tokens) + ", \"dtype\": \"u8\", \"requests\": [" +
                list + "]" + (columns.empty() ? "" : ", \"columns\": [" + columns + "]") + "}\n";
        file_.append(ids.begin(), ids.end());
        file_.append(blocks.begin(), blocks.end());
        struct error error = {};
        EXPECT_EQ(STATUS_OK, trace_parse(&trace, "toy.mtrace",
                                         reinterpret_cast<const uint8_t *>(file_.data()),
                                         file_.size(), &error))
            << error.text;
    }
    ~ToyTrace()
    {
        schedule_close(schedule);
        trace_close(trace);
    }
    ToyTrace(const ToyTrace &) = delete;
    ToyTrace &operator=(const ToyTrace &) = delete;

    /* The schedule of this configuration; the one before is closed. */
    struct schedule *lay_out(const struct schedule_config &config)
    {
        struct error error = {};
        schedule_close(schedule);
        schedule = nullptr;
        EXPECT_EQ(STATUS_OK, schedule_open(&schedule, trace, &config, &error)) << error.text;
        return schedule;
    }
    struct schedule *lay_out(uint32_t batch = 1)
    {
        struct schedule_config config = {};
        config.batch = batch;
        return lay_out(config);
    }

    struct trace *trace = nullptr;
    struct schedule *schedule = nullptr;

private:
    std::string file_;
};

#endif
