#include "server/jsonw.h"

#include <utf8proc.h>

#include <cmath>
#include <limits>

#include "tests/server/openai/openai_support.h"
#include "tests/support/scratch.h"

namespace {

using openai_test::Dump;
using openai_test::Parse;
using openai_test::Take;

std::string Quoted(const std::string &text)
{
    struct jsonw w = {};
    jsonw_bytes(&w, text.data(), text.size());
    return Take(w);
}

TEST(Jsonw, PutsCommasWhereTheyBelong)
{
    struct jsonw w = {};
    jsonw_object_open(&w);
    jsonw_key(&w, "empty");
    jsonw_array_open(&w);
    jsonw_array_end(&w);
    jsonw_key(&w, "list");
    jsonw_array_open(&w);
    jsonw_int(&w, -1);
    jsonw_object_open(&w);
    jsonw_object_end(&w);
    jsonw_null(&w);
    jsonw_bool(&w, true);
    jsonw_value(&w, "[7]", 3);
    jsonw_array_end(&w);
    jsonw_key_bytes(&w, "a\"b", 3);
    jsonw_text(&w, nullptr);
    jsonw_key(&w, "last");
    jsonw_text(&w, "x");
    jsonw_object_end(&w);
    EXPECT_EQ("{\"empty\":[],\"list\":[-1,{},null,true,[7]],\"a\\\"b\":null,\"last\":\"x\"}",
              Take(w));
}

TEST(Jsonw, EscapesWhatMustBeEscaped)
{
    EXPECT_EQ("\"plain\"", Quoted("plain"));
    EXPECT_EQ("\"\\\"\\\\/\"", Quoted("\"\\/"));
    EXPECT_EQ("\"\\b\\t\\n\\u000b\\f\\r\\u001b\\u007f\"", Quoted("\b\t\n\v\f\r\x1b\x7f"));
    EXPECT_EQ("\"a\\u0000b\"", Quoted(std::string("a\0b", 3)));
    EXPECT_EQ("\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"",
              Quoted("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"));
}

TEST(Jsonw, ReplacesBytesThatAreNotUtf8)
{
    const std::string bad = "\xef\xbf\xbd";
    EXPECT_EQ("\"" + bad + "\"", Quoted("\xff"));
    EXPECT_EQ("\"a" + bad + bad + "b\"", Quoted("a\xe2\x82" "b")) << "a character that is cut";
    EXPECT_EQ("\"" + bad + bad + "\"", Quoted("\xc0\x80")) << "overlong";
    EXPECT_EQ("\"" + bad + bad + bad + "\"", Quoted("\xed\xa0\x80")) << "a surrogate";
    EXPECT_EQ("\"" + bad + bad + bad + bad + "\"", Quoted("\xf4\x90\x80\x80")) << "beyond U+10FFFF";
}

/* An independent reader takes whatever comes out, and gives back what was valid. */
TEST(Jsonw, AnyBytesMakeAStringThatAParserTakes)
{
    scratch::Random random(5);
    for (int round = 0; round < 3000; round++) {
        std::string text;
        for (uint32_t n = random.below(24); n > 0; n--)
            text += random.chance(50) ? (char)random.below(128) : (char)(0x80 + random.below(128));
        auto value = Parse(Quoted(text));
        std::string got(json_string_value(value.get()), json_string_length(value.get()));
        openai_test::Json whole(json_stringn(text.data(), text.size()));
        EXPECT_TRUE(whole ? text == got : got.find("\xef\xbf\xbd") != std::string::npos);
    }
}

TEST(Jsonw, LengthsOfCharactersAreThoseOfUnicode)
{
    scratch::Random random(6);
    for (int round = 0; round < 200000; round++) {
        unsigned char text[4];
        for (unsigned char &byte : text)
            byte =
                (unsigned char)(random.chance(70) ? 0x80 + random.below(0x80) : random.below(256));
        size_t bytes = 1 + random.below(4);
        utf8proc_int32_t code;
        utf8proc_ssize_t n = utf8proc_iterate(text, (utf8proc_ssize_t)bytes, &code);
        ASSERT_EQ(n > 0 ? (size_t)n : 0u,
                  jsonw_utf8_length(reinterpret_cast<char *>(text), bytes)) << round;
    }
    EXPECT_EQ(0u, jsonw_utf8_length("", 0));
}

TEST(Jsonw, NumbersAreExactAndNeverNaN)
{
    struct jsonw w = {};
    jsonw_array_open(&w);
    jsonw_int(&w, INT64_MIN);
    jsonw_int(&w, INT64_MAX);
    jsonw_uint(&w, UINT64_MAX);
    jsonw_uint(&w, 0);
    jsonw_float(&w, -std::numeric_limits<float>::infinity(), -9999.0f);
    jsonw_float(&w, std::numeric_limits<float>::quiet_NaN(), -9999.0f);
    jsonw_float(&w, -0.125f, 0);
    jsonw_fixed(&w, 1.23456);
    jsonw_fixed(&w, std::nan(""));
    jsonw_fixed(&w, INFINITY);
    jsonw_array_end(&w);
    EXPECT_EQ("[-9223372036854775808,9223372036854775807,18446744073709551615,0,-9999,-9999,-0.125,"
              "1.235,0.000,0.000]", Take(w));
    float third = 1.0f / 3;
    jsonw_float(&w, third, 0);
    EXPECT_EQ(third, strtof(Take(w).c_str(), nullptr)) << "every bit comes back";
}

TEST(Jsonw, KeepsItsBufferOverAReset)
{
    struct jsonw w = {};
    std::string text(5000, 'x');
    jsonw_bytes(&w, text.data(), text.size());
    char *data = w.data;
    jsonw_reset(&w);
    jsonw_bytes(&w, text.data(), text.size());
    EXPECT_EQ(data, w.data);
    EXPECT_EQ(5002u, w.bytes);
    jsonw_close(&w);
    EXPECT_EQ(nullptr, w.data);
}

} // namespace
