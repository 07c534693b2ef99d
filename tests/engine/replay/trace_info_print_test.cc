/* What is printed parses, says the figures that were measured, and lets no control character of a
 * file reach the terminal. */
#include "engine/replay/trace_info.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <jansson.h>
#include <string>

namespace {

class TraceInfoPrintTest : public testing::Test {
protected:
    void SetUp() override
    {
        struct error error = {};
        std::string ids;
        for (uint32_t i = 0; i < 4; i++)
            ids += std::string({'\0', static_cast<char>(i), '\2', '\2'});
        bytes_ = R"({"format":"moering-trace","version":1,"model":"a\u001b[31m","layers":2,)"
                 R"("experts":200,"top_k":2,"tokens":4,"dtype":"u8",)"
                 R"("requests":[{"tokens":4,"prefill":3}],)"
                 R"("columns":[{"name":"step","dtype":"u32","width":1},)"
                 R"({"name":"lookahead","dtype":"u8","width":1,"distance":1}]})" "\n" + ids +
                 std::string("\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0", 16) + "\2\2\2\2";
        ASSERT_EQ(trace_parse(&trace_, "toy", reinterpret_cast<const uint8_t *>(bytes_.data()),
                              bytes_.size(), &error), STATUS_OK) << error.text;
        ASSERT_EQ(trace_info_open(&info_, trace_, &error), STATUS_OK);
        out_ = open_memstream(&text_, &count_);
    }
    void TearDown() override
    {
        fclose(out_);
        free(text_);
        trace_info_close(info_);
        trace_close(trace_);
    }
    std::string bytes_;
    struct trace *trace_ = nullptr;
    struct trace_info *info_ = nullptr;
    FILE *out_ = nullptr;
    char *text_ = nullptr;
    size_t count_ = 0;
};

TEST_F(TraceInfoPrintTest, Words)
{
    trace_info_print(info_, trace_, out_);
    fflush(out_);
    std::string text = text_;
    for (const char *line : {"model           a?[31m\n", "layers          2\n",
                             "experts         200 per layer, 2 per token",
                             "tokens          4: 3 of prompts, 1 decoded\n",
                             "steps           2, 2.0 tokens each\n", "column          step\n",
                             "column          lookahead, distance 1\n", "2 experts to a column"})
        EXPECT_NE(text.find(line), std::string::npos) << line << " is not in\n" << text;
    EXPECT_EQ(text.find('\x1b'), std::string::npos);
    /* Columns of two experts: 5 and 2 uses in layer 0, none and 4 in layer 1. */
    EXPECT_NE(text.find("    0 |@*" + std::string(98, ' ') + "|\n"), std::string::npos) << text;
    EXPECT_NE(text.find("    1 | @" + std::string(98, ' ') + "|\n"), std::string::npos) << text;
    size_t longest = 0, from = 0;
    for (size_t to; (to = text.find('\n', from)) != std::string::npos; from = to + 1)
        longest = std::max(longest, to - from);
    EXPECT_LE(longest, 140u);
}

TEST_F(TraceInfoPrintTest, Json)
{
    struct error error = {};
    ASSERT_EQ(trace_info_print_json(info_, trace_, out_, &error), STATUS_OK) << error.text;
    fflush(out_);
    json_error_t why;
    json_t *x = json_loads(text_, 0, &why);
    ASSERT_NE(x, nullptr) << why.text;
    auto integer = [&](const char *name) { return json_integer_value(json_object_get(x, name)); };
    EXPECT_EQ(integer("tokens"), 4);
    EXPECT_EQ(integer("prefill_tokens"), 3);
    EXPECT_EQ(integer("decode_tokens"), 1);
    EXPECT_EQ(integer("steps"), 2);
    EXPECT_EQ(integer("requests"), 1);
    EXPECT_STREQ(json_string_value(json_object_get(x, "model")), "a\x1b[31m");
    json_t *layer = json_array_get(json_object_get(x, "per_layer"), 1);
    EXPECT_EQ(json_integer_value(json_array_get(json_object_get(layer, "uses"), 2)), 4);
    EXPECT_EQ(json_array_size(json_object_get(layer, "uses")), 200u);
    json_t *reuse = json_object_get(x, "reuse");
    ASSERT_EQ(json_array_size(reuse), static_cast<size_t>(TRACE_INFO_LAGS));
    /* Layer 0 keeps expert 0 and not the other (of {0}, {0,1}, {0,2}); layer 1 keeps its one. */
    EXPECT_NEAR(json_real_value(json_object_get(json_array_get(reuse, 0), "share")), 6.0 / 8, 1e-6);
    EXPECT_TRUE(json_is_null(json_object_get(json_array_get(reuse, 8), "share")));
    json_decref(x);
}

} // namespace
