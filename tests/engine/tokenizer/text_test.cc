#include "engine/tokenizer/text.h"

#include <gtest/gtest.h>

#include <string>

namespace {

TEST(Text, GrowsAndStopsAtItsLimit)
{
    struct text text = {};
    text.bytes_max = 1000;
    for (int i = 0; i < 100; i++)
        ASSERT_EQ(STATUS_OK, text_append(&text, "0123456789", 10));
    EXPECT_EQ(STATUS_FULL, text_append(&text, "x", 1));
    EXPECT_EQ(STATUS_FULL, text_reserve(&text, SIZE_MAX));
    EXPECT_EQ(1000u, text.bytes);
    EXPECT_EQ(0, memcmp(text.data + 990, "0123456789", 10));
    text_reset(&text);
    EXPECT_EQ(nullptr, text.data);
}

TEST(Text, SpansKeepWhatWasPushed)
{
    struct span_list list = {};
    for (size_t i = 0; i < 1000; i++)
        ASSERT_EQ(STATUS_OK, span_list_push(&list, i, i + 2, i % 3 == 0));
    ASSERT_EQ(1000u, list.count);
    EXPECT_EQ(999u, list.at[999].begin);
    EXPECT_EQ(1001u, list.at[999].end);
    EXPECT_TRUE(list.at[999].matched);
    EXPECT_FALSE(list.at[998].matched);
    span_list_reset(&list);
}

TEST(Text, ValidatesUtf8)
{
    const struct {
        std::string text;
        size_t valid;
    } cases[] = {{"", 0},
                 {"abc", 3},
                 {std::string("a\0b", 3), 3},
                 {"\xC2\x80\xDF\xBF\xE0\xA0\x80\xED\x9F\xBF\xEF\xBF\xBF"
                  "\xF0\x90\x80\x80\xF4\x8F\xBF\xBF", 21},
                 {"a\xC0\x80", 1},         /* overlong */
                 {"a\xE0\x9F\xBF", 1},     /* overlong */
                 {"a\xF0\x8F\xBF\xBF", 1}, /* overlong */
                 {"ab\xED\xA0\x80", 2},    /* surrogate */
                 {"ab\xF4\x90\x80\x80", 2},
                 {"abc\xE2\x82", 3}, /* ends early */
                 {"abc\x80", 3},
                 {"abc\xFF", 3},
                 {"\xE2\x82\x28", 0}};
    for (const auto &c : cases)
        EXPECT_EQ(c.valid, text_valid_bytes(c.text.data(), c.text.size())) << c.text;
}

TEST(Text, CharactersGoThereAndBack)
{
    for (uint32_t c = 0; c < 0x110000; c += c < 0x3000 ? 1 : 37) {
        if (c >= 0xD800 && c < 0xE000)
            continue;
        char bytes[4];
        unsigned length = 0, wrote = text_put_char(bytes, c);
        ASSERT_EQ(wrote, text_valid_bytes(bytes, wrote));
        ASSERT_EQ(c, text_char(bytes, &length));
        ASSERT_EQ(wrote, length);
        std::string after = "x" + std::string(bytes, wrote);
        ASSERT_EQ(1u, text_last_char(after.data(), after.size()));
    }
}

TEST(Text, ClassesOfCharacters)
{
    for (uint32_t c : {0x9u, 0xAu, 0xDu, 0x20u, 0x85u, 0xA0u, 0x1680u, 0x2003u, 0x2028u, 0x3000u})
        EXPECT_TRUE(text_is_space(c)) << std::hex << c;
    for (uint32_t c : {0x0u, 0x1Cu, 0x41u, 0x180Eu, 0x200Bu, 0xFEFFu})
        EXPECT_FALSE(text_is_space(c)) << std::hex << c;
    for (uint32_t c : {0x30u, 0x39u, 0xB2u, 0xBDu, 0x663u, 0x2167u})
        EXPECT_TRUE(text_is_number(c)) << std::hex << c;
    for (uint32_t c : {0x41u, 0x2Fu, 0x4E09u})
        EXPECT_FALSE(text_is_number(c)) << std::hex << c;
    for (uint32_t c : {0x21u, 0x24u, 0x5Fu, 0x7Eu, 0xA1u, 0x2014u, 0x3002u})
        EXPECT_TRUE(text_is_punctuation(c)) << std::hex << c;
    for (uint32_t c : {0x20u, 0x41u, 0xA2u, 0x20ACu})
        EXPECT_FALSE(text_is_punctuation(c)) << std::hex << c;
    for (uint32_t c : {0x41u, 0x5Fu, 0x37u, 0xE9u, 0x301u, 0x24B6u, 0x200Du, 0x4E2Du})
        EXPECT_TRUE(text_is_word(c)) << std::hex << c;
    for (uint32_t c : {0x20u, 0x2Du, 0xBDu, 0x3002u, 0x1F600u})
        EXPECT_FALSE(text_is_word(c)) << std::hex << c;
}

} // namespace
