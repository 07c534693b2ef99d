/* Finishing a recording: what a killed run leaves is a prefix of what it would have left, damage is
 * refused with nothing touched. That rows are sorted is trace_writer_test's. */
#include "engine/replay/trace_spool.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <unistd.h>
#include <vector>

#include "engine/replay/trace.h"
#include "tests/support/scratch.h"

namespace {

const char kHeader[] =
    R"({"format":"moering-trace-spool","version":1,"model":"m","layers":2,"experts":8,"top_k":1,)"
    R"("tokens":0,"dtype":"u8","phase":"p","source":"s","requests":[],)"
    R"("columns":[{"name":"step","dtype":"u32","width":1}]})" "\n";

std::string row(uint64_t id, bool prefill, uint32_t part, uint32_t step, uint8_t a, uint8_t b)
{
    struct trace_spool_row head = {2 * id + prefill, part, step};
    std::string bytes(reinterpret_cast<const char *>(&head), sizeof head);
    return bytes + static_cast<char>(a) + static_cast<char>(b);
}

class TraceSpoolTest : public testing::Test {
protected:
    enum status finish(const std::string &bytes)
    {
        folder_.write("x.part", bytes);
        error_ = {};
        tokens_ = 0;
        return trace_spool_finish(folder_.path("x.part").c_str(), folder_.path("x").c_str(),
                                  &tokens_, &error_);
    }
    bool exists(const std::string &name) { return access(folder_.path(name).c_str(), F_OK) == 0; }

    scratch::Folder folder_;
    struct error error_ = {};
    uint64_t tokens_ = 0;
};

/* Request 9 is computed, joined by 4, loses its cache and is computed again. */
TEST_F(TraceSpoolTest, PartsOfOneRequestStayApart)
{
    ASSERT_EQ(finish(kHeader + row(9, true, 0, 0, 1, 2) + row(4, true, 1, 1, 3, 4) +
                     row(9, false, 0, 1, 5, 6) + row(9, true, 2, 2, 1, 2) +
                     row(9, true, 2, 2, 5, 6) + row(4, false, 1, 2, 7, 0)),
              STATUS_OK)
        << error_.text;
    EXPECT_EQ(tokens_, 6u);
    EXPECT_FALSE(exists("x.part"));
    struct trace *t = nullptr;
    ASSERT_EQ(trace_open(&t, folder_.path("x").c_str(), &error_), STATUS_OK) << error_.text;
    ASSERT_EQ(t->request_count, 3u);
    const uint64_t want[3][4] = {{9, 0, 2, 1}, {4, 2, 2, 1}, {9, 4, 2, 2}};
    for (int i = 0; i < 3; i++) {
        EXPECT_EQ(t->requests[i].id, want[i][0]) << i;
        EXPECT_EQ(t->requests[i].first, want[i][1]) << i;
        EXPECT_EQ(t->requests[i].tokens, want[i][2]) << i;
        EXPECT_EQ(t->requests[i].prefill, want[i][3]) << i;
    }
    EXPECT_EQ(trace_id(t, 3, 0, 0), 7u);
    EXPECT_EQ(trace_step(t, 3), 2u);
    EXPECT_EQ(trace_id(t, 1, 1, 0), 6u);
    trace_close(t);
}

TEST_F(TraceSpoolTest, ATornEndIsDropped)
{
    std::string whole = kHeader + row(0, true, 0, 0, 1, 2) + row(0, false, 0, 1, 3, 4);
    size_t record = row(0, true, 0, 0, 1, 2).size();
    for (size_t cut = 0; cut <= 2 * record; cut++) {
        ASSERT_EQ(finish(whole.substr(0, whole.size() - cut)), STATUS_OK) << error_.text;
        EXPECT_EQ(tokens_, (2 * record - cut) / record);
    }
}

TEST_F(TraceSpoolTest, AnUnfinishedRecordingIsNoTraceButSaysWhatToDo)
{
    std::string path = folder_.write("x.part", kHeader + row(0, true, 0, 0, 1, 2));
    struct trace *t = nullptr;
    EXPECT_EQ(trace_open(&t, path.c_str(), &error_), STATUS_INVALID);
    EXPECT_NE(std::string(error_.text).find("moering trace recover " + path), std::string::npos)
        << error_.text;
}

TEST_F(TraceSpoolTest, DamageIsRefusedAndNothingTouched)
{
    folder_.write("x", std::string("old"));
    std::string header = kHeader, no_step = kHeader, wrong_layers = kHeader;
    no_step.replace(no_step.find("step"), 4, "stop");
    wrong_layers.replace(wrong_layers.find("\"layers\":2"), 10, "\"layers\":0");
    const struct {
        std::string bytes;
        const char *says;
    } cases[] = {
        {"", "not a recording"},
        {"\n", "not a recording"},
        {header.substr(0, 40), "not a recording"},
        {"{\"format\":\"moering-trace\"}\n", "not a recording"},
        {std::string(3 << 20, 'x'), "not a recording"},
        {no_step, "first column is not step"},
        {wrong_layers, "layers is 0"},
        {header + row(0, true, 1, 0, 1, 2), "a part that cannot be at record 0"},
        {header + row(0, true, 0, 0, 1, 2) + row(0, true, 7, 0, 1, 2), "a part that cannot be"},
        {header + row(0, true, 0, 0, 1, 2) + row(1, true, 0, 0, 1, 2),
         "a row of another request at record 1"},
        {header + row(0, false, 0, 0, 1, 2) + row(0, true, 0, 0, 1, 2), "a row of another"},
    };
    for (const auto &c : cases) {
        EXPECT_EQ(finish(c.bytes), STATUS_INVALID) << c.says;
        EXPECT_NE(std::string(error_.text).find(c.says), std::string::npos) << error_.text;
        EXPECT_EQ(std::string(error_.text).find(folder_.path("x.part")), 0u) << error_.text;
        EXPECT_EQ(folder_.read("x.part"), c.bytes);
        EXPECT_EQ(folder_.read("x"), "old");
        EXPECT_FALSE(exists("x.tmp"));
    }
    folder_.remove("x.part");
    EXPECT_EQ(trace_spool_finish(folder_.path("x.part").c_str(), folder_.path("x").c_str(), nullptr,
                                 &error_), STATUS_NOT_FOUND);
}

} // namespace
