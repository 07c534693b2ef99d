/* The reader: what it gives back of a file made by hand, and one sentence for each way in which a
 * file can be wrong. */
#include "engine/replay/trace.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/scratch.h"

namespace {

class TraceTest : public testing::Test {
protected:
    ~TraceTest() override { trace_close(trace_); }
    /* The exact bytes, so that a sanitizer sees a read beyond them. */
    enum status parse(const std::string &header, const std::string &blocks)
    {
        trace_close(trace_);
        std::string all = header + "\n" + blocks;
        bytes_.assign(all.begin(), all.end());
        bytes_.shrink_to_fit();
        error_ = {};
        return trace_parse(&trace_, "t", bytes_.data(), bytes_.size(), &error_);
    }
    std::string says() const { return error_.text; }

    std::vector<uint8_t> bytes_;
    struct trace *trace_ = nullptr;
    struct error error_ = {};
};

/* The header of 3 tokens, 2 layers, 5 experts, top 2, with one text replaced by another. */
std::string header(const std::string &from = "", const std::string &to = "")
{
    std::string text =
        R"({"format":"moering-trace","version":1,"model":"m","layers":2,"experts":5,)"
        R"("top_k":2,"tokens":3,"dtype":"u8","phase":"decode","source":"s",)"
        R"("requests":[{"tokens":1,"label":"a"},{"tokens":2}]})";
    if (!from.empty())
        text.replace(text.find(from), from.size(), to);
    return text;
}

const std::string ids("\0\1\2\3\4\xff\1\1\0\2\xff\xff", 12);

std::string u32s(const std::vector<uint32_t> &values)
{
    return std::string(reinterpret_cast<const char *>(values.data()), 4 * values.size());
}

TEST_F(TraceTest, GivesBackWhatIsThere)
{
    ASSERT_EQ(parse(header(), ids), STATUS_OK) << says();
    EXPECT_EQ(trace_->layers, 2u);
    EXPECT_EQ(trace_->experts, 5u);
    EXPECT_EQ(trace_->top_k, 2u);
    EXPECT_EQ(trace_->tokens, 3u);
    EXPECT_STREQ(trace_->model, "m");
    ASSERT_EQ(trace_->request_count, 2u);
    EXPECT_STREQ(trace_->requests[0].label, "a");
    EXPECT_STREQ(trace_->requests[1].label, "");
    EXPECT_EQ(trace_->requests[1].first, 1u);
    EXPECT_EQ(trace_->requests[1].tokens, 2u);
    EXPECT_EQ(trace_->requests[1].prefill, 0u);
    EXPECT_EQ(trace_->requests[1].id, 1u);
    EXPECT_EQ(trace_->step, nullptr);
    EXPECT_EQ(trace_id(trace_, 0, 1, 1), 3u);
    EXPECT_EQ(trace_id(trace_, 1, 0, 1), TRACE_NONE);
    uint32_t out[2];
    ASSERT_EQ(trace_experts(trace_, 1, 0, out), 1u);
    EXPECT_EQ(out[0], 4u);
    EXPECT_EQ(trace_experts(trace_, 1, 1, out), 1u); /* 1 and 1 again */
    EXPECT_EQ(trace_experts(trace_, 2, 0, out), 2u);
    EXPECT_EQ(trace_experts(trace_, 2, 1, out), 0u);
}

TEST_F(TraceTest, ReadsWideIds)
{
    std::string wide;
    for (char c : ids)
        wide += c == '\xff' ? std::string("\xff\xff") : std::string({c, 1}); /* + 256 */
    std::string head = header("\"u8\"", "\"u16\"");
    head.replace(head.find("\"experts\":5"), 11, "\"experts\":261");
    ASSERT_EQ(parse(head, wide), STATUS_OK) << says();
    EXPECT_EQ(trace_id(trace_, 0, 1, 1), 259u);
    EXPECT_EQ(trace_id(trace_, 1, 0, 1), TRACE_NONE);
    head.replace(head.find("261"), 3, "260"); /* 260 is in it */
    EXPECT_EQ(parse(head, wide), STATUS_INVALID);
    EXPECT_EQ(says(), "t: ids of token 1 has expert 260, but experts is 260");
}

TEST_F(TraceTest, ReadsTheAdditions)
{
    std::string head = header(R"({"tokens":2})", R"({"tokens":2,"prefill":1,"id":7})");
    head.replace(head.size() - 1, 1,
                 R"(,"columns":[{"name":"step","dtype":"u32","width":1},{"name":"lookahead",)"
                 R"("dtype":"u8","width":2,"layers":1,"distance":1},{"name":"x","dtype":"u16",)"
                 R"("width":1}]})");
    std::string blocks = ids + u32s({5, 5, 6}) + std::string("\3\4\1\xff\0\1", 6) +
                         std::string("\1\0\2\1\xff\xff", 6);
    ASSERT_EQ(parse(head, blocks), STATUS_OK) << says();
    EXPECT_EQ(trace_->requests[1].prefill, 1u);
    EXPECT_EQ(trace_->requests[1].id, 7u);
    ASSERT_EQ(trace_->column_count, 3u);
    ASSERT_NE(trace_->step, nullptr);
    EXPECT_EQ(trace_step(trace_, 2), 6u);
    const struct trace_column *look = trace_find_column(trace_, "lookahead", 1);
    ASSERT_NE(look, nullptr);
    EXPECT_EQ(look, trace_find_column(trace_, "lookahead", TRACE_NONE));
    EXPECT_EQ(nullptr, trace_find_column(trace_, "lookahead", 2));
    EXPECT_EQ(trace_column_value(look, 0, 0, 1), 4u);
    EXPECT_EQ(trace_column_value(look, 1, 0, 1), TRACE_NONE);
    EXPECT_EQ(trace_column_value(trace_find_column(trace_, "x", TRACE_NONE), 1, 0, 0), 258u);
    /* One block shorter, one byte longer. */
    EXPECT_EQ(parse(head, blocks.substr(0, blocks.size() - 1)), STATUS_INVALID);
    EXPECT_NE(says().find("column 'x'"), std::string::npos) << says();
    EXPECT_EQ(parse(head, blocks + "x"), STATUS_INVALID);
    blocks[12 + 4] = 4; /* 5, 4, 6, but the requests are [5] and [4, 6] */
    EXPECT_EQ(parse(head, blocks), STATUS_OK) << says();
    blocks[12 + 8] = 3;
    EXPECT_EQ(parse(head, blocks), STATUS_INVALID);
    EXPECT_EQ(says(), "t: column step goes back from 4 to 3 at token 2");
    blocks[12 + 8] = 6;
    blocks[12 + 12] = 5;
    EXPECT_EQ(parse(head, blocks), STATUS_INVALID);
    EXPECT_NE(says().find("column lookahead of token 0 has expert 5"), std::string::npos) << says();
}

TEST_F(TraceTest, AnEmptyTraceIsOne)
{
    std::string head = header("\"tokens\":3", "\"tokens\":0");
    head.replace(head.find("[{"), head.rfind(']') - head.find("[{"), "[");
    EXPECT_EQ(parse(head, ""), STATUS_OK) << says();
    EXPECT_EQ(trace_->request_count, 0u);
}

TEST_F(TraceTest, NamesWhatIsWrong)
{
    const struct {
        const char *from, *to;
        enum status status;
        const char *says;
    } cases[] = {
        {"moering-trace", "x", STATUS_INVALID, "t: format is not"},
        {"moering-trace", "moering-trace-spool", STATUS_INVALID, "moering trace recover t"},
        {"\"version\":1", "\"version\":2", STATUS_UNSUPPORTED, "t: version 2;"},
        {"\"version\":1", "\"version\":-1", STATUS_INVALID, "t: version is -1"},
        {"\"version\":1,", "", STATUS_INVALID, "t: version is missing"},
        {"\"layers\":2", "\"layers\":0", STATUS_INVALID, "t: layers is 0, allowed are 1 to 4096"},
        {"\"layers\":2,", "", STATUS_INVALID, "t: layers is missing"},
        {"\"layers\":2", "\"layers\":2.0", STATUS_INVALID, "t: layers is not a whole number"},
        {"\"layers\":2", "\"layers\":\"2\"", STATUS_INVALID, "t: layers is not a whole number"},
        {"\"layers\":2", "\"layers\":3", STATUS_INVALID, "t: truncated: ids takes 18 bytes"},
        {"\"layers\":2", "\"layers\":1", STATUS_INVALID, "end at byte"},
        {"\"layers\":2", "\"layers\":4097", STATUS_INVALID, "t: layers is 4097"},
        {"\"layers\":2", "\"layers\":2,\"layers\":2", STATUS_INVALID, "not a JSON object"},
        {"\"experts\":5", "\"experts\":4", STATUS_INVALID,
         "t: ids of token 1 has expert 4, but experts is 4"},
        {"\"experts\":5", "\"experts\":65536", STATUS_INVALID, "t: experts is 65536"},
        {"\"experts\":5", "\"experts\":257", STATUS_INVALID, "dtype u8 cannot hold"},
        {"\"top_k\":2", "\"top_k\":6", STATUS_INVALID, "t: top_k is 6, allowed are 1 to 5"},
        {"\"tokens\":3", "\"tokens\":4", STATUS_INVALID,
         "t: requests sum to 3 tokens, but tokens is 4"},
        {"\"tokens\":3", "\"tokens\":2", STATUS_INVALID,
         "t: requests[1].tokens is 2, allowed are 0 to 1"},
        {"\"tokens\":3,", "", STATUS_INVALID, "t: tokens is missing"},
        {"\"tokens\":3", "\"tokens\":9223372036854775807", STATUS_INVALID, "t: requests sum to"},
        {"\"tokens\":3", "\"tokens\":99999999999999999999", STATUS_INVALID, "not a JSON object"},
        {"{\"tokens\":1,", "{", STATUS_INVALID, "t: requests[0].tokens is missing"},
        {"{\"tokens\":1,", "{\"tokens\":-1,", STATUS_INVALID, "t: requests[0].tokens is -1"},
        {"{\"tokens\":2}", "{\"tokens\":2,\"prefill\":3}", STATUS_INVALID,
         "t: requests[1].prefill is 3"},
        {"{\"tokens\":2}", "2", STATUS_INVALID, "t: requests[1] is not an object"},
        {"\"label\":\"a\"", "\"label\":1", STATUS_INVALID, "t: requests[0].label is not a text"},
        {"\"requests\":[", "\"others\":[", STATUS_INVALID, "t: requests is missing"},
        {"[{\"tokens\":1,\"label\":\"a\"},{\"tokens\":2}]", "7", STATUS_INVALID,
         "t: requests is not a list"},
        {"\"u8\"", "\"u4\\u001b\"", STATUS_UNSUPPORTED, "t: dtype 'u4?' is none of: u8 u16"},
        {"\"u8\"", "\"u32\"", STATUS_UNSUPPORTED, "t: dtype 'u32'"},
        {"\"model\":\"m\"", "\"model\":[]", STATUS_INVALID, "t: model is not a text"},
        {"\"source\":\"s\"", "\"columns\":{}", STATUS_INVALID, "t: columns is not a list"},
        {"\"source\":\"s\"", "\"columns\":[1]", STATUS_INVALID, "t: columns[0] is not an object"},
        {"\"source\":\"s\"", "\"columns\":[{\"name\":\"step\",\"dtype\":\"u64\",\"width\":1}]",
         STATUS_UNSUPPORTED, "t: columns[0].dtype 'u64'"},
        {"\"source\":\"s\"", "\"columns\":[{\"name\":\"step\",\"dtype\":\"u32\"}]", STATUS_INVALID,
         "t: columns[0].width is missing"},
        {"\"source\":\"s\"", "\"columns\":[{\"name\":\"step\",\"dtype\":\"u32\",\"width\":1}]",
         STATUS_INVALID, "t: truncated: column 'step' takes 12 bytes"},
        {"{\"format\"", "[\"format\"", STATUS_INVALID, "t: its first line is not a JSON object"},
    };
    for (const auto &c : cases) {
        SCOPED_TRACE(std::string(c.from) + " -> " + c.to);
        EXPECT_EQ(parse(header(c.from, c.to), ids), c.status) << says();
        EXPECT_EQ(trace_, nullptr);
        EXPECT_NE(says().find(c.says), std::string::npos) << says();
    }
    EXPECT_EQ(parse(header(), ids.substr(1)), STATUS_INVALID);
    EXPECT_NE(says().find("truncated: ids takes 12 bytes"), std::string::npos) << says();
    std::string no_line = header();
    EXPECT_EQ(trace_parse(&trace_, "t", reinterpret_cast<const uint8_t *>(no_line.data()),
                          no_line.size(), nullptr), STATUS_INVALID);
}

/* 4096 x 65535 x 2 bytes a token, times a number of tokens that 64 bits hold. */
TEST_F(TraceTest, SizesThatOverflowAreRefused)
{
    std::string head = R"({"format":"moering-trace","version":1,"layers":4096,"experts":65535,)"
                       R"("top_k":65535,"tokens":9000000000000000000,"dtype":"u16",)"
                       R"("requests":[{"tokens":9000000000000000000}]})";
    EXPECT_EQ(parse(head, ids), STATUS_INVALID);
    EXPECT_NE(says().find("more than 64 bits can count"), std::string::npos) << says();
}

TEST_F(TraceTest, AColumnThatWeKnowMustFit)
{
    const struct {
        const char *column;
        size_t bytes; /* of its block: it is all there */
        const char *says;
    } cases[] = {
        {R"({"name":"step","dtype":"u16","width":1})", 6, "column step must be"},
        {R"({"name":"step","dtype":"u32","width":2})", 24, "column step must be"},
        {R"({"name":"step","dtype":"u32","width":1,"layers":2})", 24, "column step must be"},
        {R"({"name":"lookahead","dtype":"u8","width":2})", 6, "column lookahead: distance"},
        {R"({"name":"lookahead","dtype":"u8","width":2,"layers":2,"distance":1})", 12,
         "column lookahead: distance 1 with layers 2 does not fit 2 layers"},
        {R"({"name":"lookahead","dtype":"u8","width":2,"layers":2,"distance":0})", 12,
         "column lookahead: distance 0"},
    };
    for (const auto &c : cases) {
        std::string head =
            header("\"source\":\"s\"", std::string("\"columns\":[") + c.column + "]");
        EXPECT_EQ(parse(head, ids + std::string(c.bytes, '\0')), STATUS_INVALID) << c.column;
        EXPECT_NE(says().find(c.says), std::string::npos) << says();
    }
}

TEST(trace, opens_files_and_says_why_not)
{
    scratch::Folder folder;
    struct trace *trace = nullptr;
    struct error error = {};
    std::string path = folder.write("a.mtrace", header() + "\n" + ids);
    ASSERT_EQ(trace_open(&trace, path.c_str(), &error), STATUS_OK) << error.text;
    EXPECT_EQ(trace_id(trace, 0, 1, 0), 2u);
    trace_close(trace);
    EXPECT_EQ(trace_open(&trace, folder.path("none").c_str(), &error), STATUS_NOT_FOUND);
    EXPECT_EQ(trace, nullptr);
    error = {};
    EXPECT_EQ(trace_open(&trace, folder.path().c_str(), &error), STATUS_INVALID);
    EXPECT_NE(std::string(error.text).find("not a regular file"), std::string::npos) << error.text;
    error = {};
    path = folder.write("empty", std::string());
    EXPECT_EQ(trace_open(&trace, path.c_str(), &error), STATUS_INVALID);
    EXPECT_EQ(std::string(error.text).find(path), 0u) << error.text;
    trace_close(nullptr);
}

} // namespace
