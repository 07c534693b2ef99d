/* Recording: rows of requests that share steps come out request by request, whatever the order and
 * the chunks, with the steps that computed them. */
#include "engine/replay/trace_writer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <string>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

#include "engine/replay/trace_spool.h"
#include "tests/support/scratch.h"

namespace {

class TraceWriterTest : public testing::Test {
protected:
    ~TraceWriterTest() override
    {
        trace_writer_close(writer_, nullptr);
        trace_close(trace_);
    }
    enum status open(uint32_t layers, uint32_t experts, uint32_t top_k, uint32_t rows_max,
                     const std::vector<struct trace_writer_column> &columns = {})
    {
        struct trace_writer_config config = {};
        config.path = path_.c_str();
        config.model = "toy \"model\"";
        config.source = "test";
        config.layers = layers;
        config.experts = experts;
        config.top_k = top_k;
        config.rows_max = rows_max;
        config.columns = columns.data();
        config.column_count = static_cast<uint32_t>(columns.size());
        error_ = {};
        return trace_writer_open(&writer_, &config, &error_);
    }
    enum status close()
    {
        struct trace_writer *writer = writer_;
        writer_ = nullptr;
        error_ = {};
        return trace_writer_close(writer, &error_);
    }
    enum status read()
    {
        trace_close(trace_);
        error_ = {};
        return trace_open(&trace_, path_.c_str(), &error_);
    }
    /* One row of one request, choosing `expert` everywhere. */
    enum status one(uint64_t id, uint32_t part, uint32_t expert, uint32_t layers,
                    bool prefill = false)
    {
        trace_writer_begin(writer_, 1);
        for (uint32_t l = 0; l < layers; l++)
            trace_writer_choices(writer_, 0, l, &expert, 1);
        struct trace_writer_item item = {id, part, 1, prefill};
        return trace_writer_commit(writer_, &item, 1, &error_);
    }
    bool exists(const std::string &name) { return access(folder_.path(name).c_str(), F_OK) == 0; }

    scratch::Folder folder_;
    std::string path_ = folder_.path("a.mtrace");
    struct trace_writer *writer_ = nullptr;
    struct trace *trace_ = nullptr;
    struct error error_ = {};
};

struct Request {
    uint64_t id;
    uint32_t prefill;
    std::vector<uint32_t> steps;
    std::vector<std::vector<uint32_t>> ids; /* [token][layers * top_k] */
};

/* Random schedules against a plain model of what a trace is. */
TEST_F(TraceWriterTest, SortsWhatWasInterleaved)
{
    for (uint64_t seed = 1; seed <= 6; seed++) {
        scratch::Random random(seed);
        uint32_t layers = 1 + random.below(4), experts = seed % 2 ? 8 : 300;
        uint32_t top_k = 1 + random.below(3), rows_max = 200;
        uint32_t look = layers > 1 ? 1 : 0;
        std::vector<struct trace_writer_column> columns;
        if (look)
            columns.push_back({"lookahead", layers - 1, top_k, 1});
        ASSERT_EQ(open(layers, experts, top_k, rows_max, columns), STATUS_OK) << error_.text;
        std::vector<Request> requests; /* by part */
        std::vector<size_t> live;
        for (uint32_t step = 0; step < 150; step++) {
            /* A request that begins is computed in this very step: parts ascend with first rows. */
            uint32_t rows = 0;
            std::vector<struct trace_writer_item> items;
            auto add = [&](size_t part, uint32_t n) {
                Request &r = requests[part];
                uint32_t done = static_cast<uint32_t>(r.steps.size());
                items.push_back({r.id, static_cast<uint32_t>(part), n, done < r.prefill ? n : 0});
                rows += n;
            };
            for (size_t part : live) {
                uint32_t done = static_cast<uint32_t>(requests[part].steps.size());
                uint32_t rest = requests[part].prefill - std::min(done, requests[part].prefill);
                uint32_t n = rest ? 1 + random.below(rest) : 1;
                if (random.chance(80) && rows + n <= rows_max)
                    add(part, n);
            }
            while (live.size() < 5 || (live.size() < 9 && random.chance(30))) {
                uint32_t part = trace_writer_part(writer_), prefill = 1 + random.below(12);
                ASSERT_EQ(part, requests.size());
                requests.push_back({1000 + part, prefill, {}, {}});
                live.push_back(part);
                add(part, 1 + random.below(prefill)); /* rows_max has room for all of them */
            }
            trace_writer_begin(writer_, rows);
            if (random.chance(20)) { /* a step that fails half way: nothing of it may stay */
                uint32_t wrong = 0;
                for (uint32_t row = 0; row < rows; row++)
                    trace_writer_choices(writer_, row, 0, &wrong, 1);
                trace_writer_begin(writer_, rows);
            }
            uint32_t row = 0;
            for (const struct trace_writer_item &item : items)
                for (uint32_t i = 0; i < item.rows; i++, row++) {
                    std::vector<uint32_t> all;
                    for (uint32_t l = 0; l < layers; l++) {
                        std::vector<uint32_t> some;
                        for (uint32_t k = random.below(top_k + 1); k > 0; k--)
                            some.push_back(random.below(experts < 256 ? experts : 300));
                        trace_writer_choices(writer_, row, l, some.data(),
                                             static_cast<uint32_t>(some.size()));
                        if (look && l + 1 < layers)
                            trace_writer_fill_column(writer_, 0, row, l, some.data(),
                                                     static_cast<uint32_t>(some.size()));
                        some.resize(top_k, TRACE_NONE);
                        all.insert(all.end(), some.begin(), some.end());
                    }
                    requests[item.part].ids.push_back(all);
                    requests[item.part].steps.push_back(step);
                }
            ASSERT_EQ(trace_writer_commit(writer_, items.data(),
                                          static_cast<uint32_t>(items.size()), &error_),
                      STATUS_OK) << error_.text;
            if (random.chance(30))
                live.erase(live.begin() + random.below(static_cast<uint32_t>(live.size())));
        }
        ASSERT_EQ(close(), STATUS_OK) << error_.text;
        EXPECT_FALSE(exists("a.mtrace.part"));
        EXPECT_FALSE(exists("a.mtrace.tmp"));
        ASSERT_EQ(read(), STATUS_OK) << error_.text;
        EXPECT_STREQ(trace_->model, "toy \"model\"");
        EXPECT_EQ(trace_->id_bytes, experts < 256 ? 1u : 2u);
        ASSERT_EQ(trace_->request_count, requests.size());
        ASSERT_NE(trace_->step, nullptr);
        const struct trace_column *column = trace_find_column(trace_, "lookahead", 1);
        ASSERT_EQ(column != nullptr, look == 1);
        for (uint32_t q = 0; q < requests.size(); q++) {
            const Request &want = requests[q];
            const struct trace_request &got = trace_->requests[q];
            EXPECT_EQ(got.id, want.id);
            ASSERT_EQ(got.tokens, want.steps.size());
            EXPECT_EQ(got.prefill, std::min<size_t>(want.prefill, want.steps.size()));
            for (uint64_t i = 0; i < got.tokens; i++) {
                ASSERT_EQ(trace_step(trace_, got.first + i), want.steps[i]);
                for (uint32_t l = 0; l < layers; l++)
                    for (uint32_t k = 0; k < top_k; k++) {
                        uint32_t id = want.ids[i][l * top_k + k];
                        ASSERT_EQ(trace_id(trace_, got.first + i, l, k), id);
                        if (column && l + 1 < layers) {
                            ASSERT_EQ(trace_column_value(column, got.first + i, l, k), id);
                        }
                    }
            }
        }
    }
}

TEST_F(TraceWriterTest, NothingRecordedIsAnEmptyTrace)
{
    ASSERT_EQ(open(2, 8, 2, 4), STATUS_OK) << error_.text;
    ASSERT_EQ(close(), STATUS_OK) << error_.text;
    ASSERT_EQ(read(), STATUS_OK) << error_.text;
    EXPECT_EQ(trace_->tokens, 0u);
}

TEST_F(TraceWriterTest, AnOlderTraceStaysUntilTheNewOneIsWhole)
{
    const std::string old = " {\"format\" : \"moering-trace\", ...";
    folder_.write("a.mtrace", old);
    ASSERT_EQ(open(1, 8, 1, 1), STATUS_OK) << error_.text;
    EXPECT_EQ(one(0, trace_writer_part(writer_), 3, 1), STATUS_OK);
    EXPECT_EQ(folder_.read("a.mtrace"), old);
    ASSERT_EQ(close(), STATUS_OK);
    ASSERT_EQ(read(), STATUS_OK) << error_.text;
    EXPECT_EQ(trace_->tokens, 1u);
}

TEST_F(TraceWriterTest, WhatIsNoTraceIsLeftAlone)
{
    folder_.write("a.mtrace", std::string("weights"));
    EXPECT_EQ(open(1, 8, 1, 1), STATUS_INVALID);
    EXPECT_EQ(error_.text, path_ + ": it is there already and is not a trace; it is left as it is");
    folder_.write("a.mtrace", std::string("{\"format\":\"moering-trace-spool\"}"));
    EXPECT_EQ(open(1, 8, 1, 1), STATUS_INVALID);
    ASSERT_EQ(unlink(path_.c_str()), 0);
    for (int kind = 0; kind < 3; kind++) {
        ASSERT_EQ(kind == 0   ? mkfifo(path_.c_str(), 0600)
                  : kind == 1 ? mkdir(path_.c_str(), 0700)
                              : symlink("elsewhere", path_.c_str()), 0);
        EXPECT_EQ(open(1, 8, 1, 1), STATUS_INVALID);
        EXPECT_EQ(error_.text, path_ + ": not a regular file; it is left as it is");
        ASSERT_EQ(remove(path_.c_str()), 0);
    }
    EXPECT_FALSE(exists("a.mtrace.part"));
    folder_.write("a.mtrace", std::string()); /* of mktemp, say: nothing to lose */
    ASSERT_EQ(open(1, 8, 1, 1), STATUS_OK) << error_.text;
    /* What comes there while we record is not replaced either. */
    EXPECT_EQ(one(0, trace_writer_part(writer_), 3, 1), STATUS_OK);
    folder_.write("a.mtrace", std::string("weights"));
    EXPECT_EQ(close(), STATUS_INVALID);
    EXPECT_EQ(folder_.read("a.mtrace"), "weights");
    EXPECT_TRUE(exists("a.mtrace.part"));
    EXPECT_FALSE(exists("a.mtrace.tmp"));
}

/* As kill -9 would leave it: the file is looked at while the writer still lives. */
TEST_F(TraceWriterTest, AShortRunThatIsKilledCanBeRecovered)
{
    ASSERT_EQ(open(2, 8, 2, 4), STATUS_OK) << error_.text;
    uint32_t part = trace_writer_part(writer_);
    for (uint64_t rows = 0; rows < 200; rows++) {
        if (rows == 0 || rows % 64 == 63) {
            uint64_t tokens = 0;
            folder_.write("b.part", folder_.read("a.mtrace.part"));
            ASSERT_EQ(trace_spool_finish(folder_.path("b.part").c_str(),
                                         folder_.path("b").c_str(), &tokens, &error_),
                      STATUS_OK) << error_.text;
            EXPECT_EQ(tokens, rows / 64 * 64);
        }
        ASSERT_EQ(one(7, part, 3, 2), STATUS_OK) << error_.text;
    }
}

TEST_F(TraceWriterTest, WhatAKilledRunLeftIsKept)
{
    const std::string names[] = {"a.mtrace.left.1.part", "a.mtrace.left.2.part",
                                 "a.mtrace.left.3.part"};
    for (const std::string &name : names) { /* none replaces the one before it */
        folder_.write("a.mtrace.part", "crash " + name);
        ASSERT_EQ(open(1, 8, 1, 1), STATUS_OK) << error_.text;
        ASSERT_EQ(close(), STATUS_OK) << error_.text;
    }
    for (const std::string &name : names)
        EXPECT_EQ(folder_.read(name), "crash " + name);
    ASSERT_EQ(unlink(folder_.path(names[0]).c_str()), 0);
    folder_.write("a.mtrace.part", std::string("evidence"));
    ASSERT_EQ(open(1, 8, 1, 1), STATUS_OK) << error_.text;
    EXPECT_EQ(folder_.read(names[0]), "evidence");
    EXPECT_EQ(one(0, trace_writer_part(writer_), 3, 1), STATUS_OK);
    ASSERT_EQ(close(), STATUS_OK) << error_.text;
    ASSERT_EQ(read(), STATUS_OK) << error_.text;
    EXPECT_EQ(trace_->tokens, 1u);
    EXPECT_EQ(folder_.read(names[0]), "evidence");
}

TEST_F(TraceWriterTest, TwoDoNotRecordIntoOneFile)
{
    ASSERT_EQ(open(1, 8, 1, 1), STATUS_OK) << error_.text;
    struct trace_writer *first = writer_;
    EXPECT_EQ(open(1, 8, 1, 1), STATUS_IO);
    EXPECT_NE(std::string(error_.text).find("another process records there"), std::string::npos)
        << error_.text;
    writer_ = first;
    EXPECT_EQ(close(), STATUS_OK);
}

TEST_F(TraceWriterTest, AFolderThatIsNotThereIsRefused)
{
    path_ = folder_.path("no/such/a.mtrace");
    EXPECT_EQ(open(1, 8, 1, 1), STATUS_IO);
    EXPECT_EQ(std::string(error_.text).find(path_), 0u) << error_.text;
}

/* A file size limit stands for the full disk. */
TEST_F(TraceWriterTest, AFullDiskStopsTheRecordingOnce)
{
    struct rlimit before, small;
    signal(SIGXFSZ, SIG_IGN);
    ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 300 << 10;
    ASSERT_EQ(open(4, 8, 2, 1), STATUS_OK) << error_.text;
    uint32_t part = trace_writer_part(writer_);
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
    uint32_t failures = 0;
    uint64_t failed_at = 0;
    for (uint32_t i = 0; i < 40000; i++) {
        enum status status = one(7, part, i % 8, 4);
        failures += status != STATUS_OK;
        if (status != STATUS_OK) {
            EXPECT_EQ(status, STATUS_IO);
            EXPECT_NE(std::string(error_.text).find("recording stopped"), std::string::npos);
            failed_at = i;
        }
    }
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, SIG_DFL);
    EXPECT_EQ(failures, 1u);
    EXPECT_EQ(close(), STATUS_OK) << error_.text; /* it was told before */
    EXPECT_FALSE(exists("a.mtrace"));
    /* What reached the file is a trace, less the torn row at its end. */
    uint64_t tokens = 0;
    ASSERT_EQ(trace_spool_finish((path_ + ".part").c_str(), path_.c_str(), &tokens, &error_),
              STATUS_OK) << error_.text;
    EXPECT_GT(tokens, 8000u);
    EXPECT_LE(tokens, failed_at);
    ASSERT_EQ(read(), STATUS_OK) << error_.text;
    for (uint64_t i = 0; i < tokens; i++)
        ASSERT_EQ(trace_id(trace_, i, 3, 0), i % 8);
}

TEST_F(TraceWriterTest, TooManyRequestsEndTheRecordingAndKeepIt)
{
    ASSERT_EQ(open(1, 8, 1, 1), STATUS_OK) << error_.text;
    for (uint32_t i = 0; i < TRACE_PARTS_MAX; i++)
        ASSERT_EQ(one(i, trace_writer_part(writer_), 1, 1), STATUS_OK) << error_.text;
    EXPECT_EQ(one(5, trace_writer_part(writer_), 1, 1), STATUS_FULL);
    EXPECT_EQ(one(5, trace_writer_part(writer_), 1, 1), STATUS_OK); /* told once */
    EXPECT_EQ(trace_writer_tokens(writer_), TRACE_PARTS_MAX);
    ASSERT_EQ(close(), STATUS_OK) << error_.text;
    ASSERT_EQ(read(), STATUS_OK) << error_.text;
    EXPECT_EQ(trace_->request_count, TRACE_PARTS_MAX);
}

TEST_F(TraceWriterTest, CallersBugsAreCaught)
{
    ASSERT_EQ(open(2, 8, 2, 4), STATUS_OK) << error_.text;
    uint32_t three[] = {1, 2, 3}, beyond = 8;
    trace_writer_begin(writer_, 2);
    EXPECT_DEATH(trace_writer_begin(writer_, 5), "");
    EXPECT_DEATH(trace_writer_choices(writer_, 2, 0, three, 1), "");
    EXPECT_DEATH(trace_writer_choices(writer_, 0, 2, three, 1), "");
    EXPECT_DEATH(trace_writer_choices(writer_, 0, 0, three, 3), "");
    EXPECT_DEATH(trace_writer_choices(writer_, 0, 0, &beyond, 1), "");
    EXPECT_DEATH(trace_writer_fill_column(writer_, 0, 0, 0, three, 1), "");
    struct trace_writer_item item = {0, 0, 1, 0};
    EXPECT_DEATH(trace_writer_commit(writer_, &item, 1, nullptr), "");
}

} // namespace
