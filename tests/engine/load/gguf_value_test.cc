/* Typed reads: what each accepts, what each refuses and how it says so. */
#include "engine/load/gguf_value.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "tests/engine/load/gguf_bytes.h"

namespace {

using gguf_bytes::File;
using gguf_bytes::raw;

class GgufValue : public testing::Test
{
  protected:
    void SetUp() override
    {
        File f;
        f.key("u8", 0, raw<uint8_t>(200)).key("i8", 1, raw<int8_t>(-3));
        f.key("u16", 2, raw<uint16_t>(9));
        f.key("i16", 3, raw<int16_t>(10)).u32("u32", 4000000000u).key("i32", 5, raw<int32_t>(11));
        f.key("u64", 10, raw<uint64_t>(UINT64_MAX)).key("i64", 11, raw<int64_t>(12));
        f.f32("f32", 0.5f).key("f64", 12, raw<double>(0.1)).f32("nan", NAN).boolean("yes", true);
        f.string("text",
                 "a\n\"long\" text that does not end before the room for it does so it is cut");
        f.string("short", "ab").u32s("same", {8, 8, 8}).u32s("differ", {8, 4}).u32s("none", {});
        f.strings("texts", {"a", "bc"}).array("floats", 6, 2, raw(1.0f) + raw(2.0f));
        f.array("ints", 5, 2, raw<int32_t>(-1) + raw<int32_t>(3));
        bytes_ = f.bytes();
        struct error error = {};
        ASSERT_EQ(gguf_parse(&gguf_, "m.gguf", bytes_.data(), bytes_.size(), bytes_.size(), &error),
                  STATUS_OK)
            << error.text;
    }
    void TearDown() override { gguf_close(gguf_); }

    void expect(enum status want, enum status got, const char *part)
    {
        EXPECT_EQ(got, want) << error_.text;
        EXPECT_NE(std::string(error_.text).find(part), std::string::npos) << error_.text;
        error_ = {};
    }

    std::string bytes_;
    struct gguf *gguf_ = nullptr;
    struct error error_ = {};
};

TEST_F(GgufValue, IntegersOfEveryWidth)
{
    struct {
        const char *key;
        uint32_t value;
    } good[] = {{"u8", 200}, {"u16", 9}, {"i16", 10}, {"u32", 4000000000u}, {"i32", 11},
                {"i64", 12}};
    for (const auto &g : good) {
        uint32_t n = 0;
        EXPECT_EQ(gguf_value_u32(gguf_, g.key, true, 0, UINT32_MAX, &n, &error_),
                  STATUS_OK) << g.key;
        EXPECT_EQ(n, g.value) << g.key;
    }
    uint32_t n = 77;
    auto u32 = [&](const char *key, bool need) {
        return gguf_value_u32(gguf_, key, need, 1, 100, &n, &error_);
    };
    expect(STATUS_INVALID, u32("i8", true), "m.gguf: \"i8\" is -3, must be within [1, 100]");
    expect(STATUS_INVALID, u32("u64", true), "9223372036854775807, must be within");
    expect(STATUS_INVALID, u32("u8", true), "is 200");
    expect(STATUS_INVALID, u32("f32", true), "is 0.5, must be an integer");
    expect(STATUS_INVALID, u32("yes", true), "is true, must be an integer");
    expect(STATUS_INVALID, u32("short", true), "is \"ab\", must be an integer");
    expect(STATUS_INVALID, u32("same", true), "is an array of 3, must be an integer");
    expect(STATUS_INVALID, u32("absent", true), "m.gguf: \"absent\" is missing");
    EXPECT_EQ(u32("absent", false), STATUS_NOT_FOUND);
    EXPECT_STREQ(error_.text, "");
    EXPECT_EQ(n, 77u); /* never written */
}

TEST_F(GgufValue, OneNumberForAllLayers)
{
    uint32_t n = 0;
    auto uniform = [&](const char *key) {
        return gguf_value_u32_uniform(gguf_, key, true, 1, 100, &n, &error_);
    };
    EXPECT_EQ(uniform("same"), STATUS_OK);
    EXPECT_EQ(n, 8u);
    EXPECT_EQ(uniform("i32"), STATUS_OK);
    EXPECT_EQ(n, 11u);
    expect(STATUS_UNSUPPORTED, uniform("differ"), "8 for layer 0 and 4 for layer 1");
    expect(STATUS_INVALID, uniform("none"), "an array of 0");
    expect(STATUS_INVALID, uniform("texts"), "an array of 2");
    expect(STATUS_INVALID, uniform("i8"), "is -3");
}

TEST_F(GgufValue, Floats)
{
    double n = 0;
    EXPECT_EQ(gguf_value_f64(gguf_, "f32", true, 0, 1, &n, &error_), STATUS_OK);
    EXPECT_EQ(n, 0.5);
    EXPECT_EQ(gguf_value_f64(gguf_, "f64", true, 0, 1, &n, &error_), STATUS_OK);
    EXPECT_EQ(n, 0.1);
    expect(STATUS_INVALID, gguf_value_f64(gguf_, "f32", true, 1, 2, &n, &error_),
           "is 0.5, must be");
    expect(STATUS_INVALID, gguf_value_f64(gguf_, "nan", true, 0, 1, &n, &error_), "nan");
    expect(STATUS_INVALID, gguf_value_f64(gguf_, "u8", true, 0, 1, &n, &error_), "must be a float");
    expect(STATUS_INVALID, gguf_value_f64(gguf_, "floats", true, 0, 1, &n, &error_),
           "an array of 2");
}

TEST_F(GgufValue, BoolsAndStrings)
{
    bool yes = false;
    struct gguf_string text = {};
    EXPECT_EQ(gguf_value_bool(gguf_, "yes", true, &yes, &error_), STATUS_OK);
    EXPECT_TRUE(yes);
    expect(STATUS_INVALID, gguf_value_bool(gguf_, "u8", true, &yes, &error_), "true or false");
    EXPECT_EQ(gguf_value_string(gguf_, "short", true, &text, &error_), STATUS_OK);
    EXPECT_EQ(std::string(text.text, text.bytes), "ab");
    expect(STATUS_INVALID, gguf_value_string(gguf_, "texts", true, &text, &error_), "a string");
    char shown[GGUF_VALUE_SHOWN_BYTES];
    std::string cut = gguf_value_show(gguf_find(gguf_, "text"), shown);
    EXPECT_EQ(cut.substr(0, 9), "\"a?\"long\"");
    EXPECT_EQ(cut.substr(cut.size() - 4), "...\"");
    EXPECT_LT(cut.size(), sizeof shown);
}

TEST_F(GgufValue, Arrays)
{
    const struct gguf_string *texts;
    const float *floats;
    const int32_t *ints;
    uint64_t count = 0;
    ASSERT_EQ(gguf_value_strings(gguf_, "texts", true, &texts, &count, &error_), STATUS_OK);
    ASSERT_EQ(count, 2u);
    EXPECT_EQ(std::string(texts[1].text, texts[1].bytes), "bc");
    ASSERT_EQ(gguf_value_f32_array(gguf_, "floats", true, &floats, &count, &error_), STATUS_OK);
    EXPECT_EQ(floats[1], 2.0f);
    ASSERT_EQ(gguf_value_i32_array(gguf_, "ints", true, &ints, &count, &error_), STATUS_OK);
    EXPECT_EQ(ints[0], -1);
    ASSERT_EQ(gguf_value_i32_array(gguf_, "same", true, &ints, &count, &error_), STATUS_OK);
    EXPECT_EQ(count, 3u);
    EXPECT_EQ(ints[2], 8);
    expect(STATUS_INVALID, gguf_value_strings(gguf_, "short", true, &texts, &count, &error_),
           "an array of strings");
    expect(STATUS_INVALID, gguf_value_f32_array(gguf_, "ints", true, &floats, &count, &error_),
           "32-bit floats");
    expect(STATUS_INVALID, gguf_value_i32_array(gguf_, "floats", true, &ints, &count, &error_),
           "32-bit integers");
    EXPECT_EQ(gguf_value_strings(gguf_, "absent", false, &texts, &count, &error_),
              STATUS_NOT_FOUND);
    expect(STATUS_INVALID, gguf_value_strings(gguf_, "absent", true, &texts, &count, &error_),
           "\"absent\" is missing");
}

} // namespace
