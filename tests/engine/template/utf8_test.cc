/* Characters of texts. */
#include "template_fixture.h"

using namespace templates;

namespace {

TEST(Utf8, CountsAndFindsCharacters)
{
    struct text t = words("a\u00e9\u4e2d\U0001F600");
    EXPECT_EQ(4u, utf8_count(t));
    EXPECT_EQ(0u, utf8_offset(t, 0));
    EXPECT_EQ(3u, utf8_offset(t, 2));
    EXPECT_EQ(10u, utf8_offset(t, 4));
    EXPECT_EQ(10u, utf8_offset(t, 99));
    EXPECT_EQ(4u, utf8_width(t, 6));
    EXPECT_TRUE(utf8_valid(t));
}

TEST(Utf8, StrayBytesAreNeverOverread)
{
    for (const char *bytes :
         {"\xE9", "\xF0\x9F\x98", "\x80", "\xFF\xFE", "\xC0\x80", "\xED\xA0\x80"}) {
        std::string exact(bytes);
        std::unique_ptr<char[]> copy(new char[exact.size()]);
        memcpy(copy.get(), exact.data(), exact.size());
        const char *at = copy.get(), *end = at + exact.size();
        EXPECT_FALSE(utf8_valid(text_of(copy.get(), exact.size())));
        while (at < end)
            utf8_next(&at, end);
        EXPECT_EQ(end, at);
    }
}

TEST(Utf8, Classes)
{
    for (uint32_t c : {9u, 13u, 28u, 32u, 0x85u, 0xA0u, 0x2003u, 0x3000u})
        EXPECT_TRUE(utf8_is_space(c)) << c;
    for (uint32_t c : {8u, 14u, 0x200Bu, 0xFEFFu, 0x180Eu})
        EXPECT_FALSE(utf8_is_space(c)) << c;
    EXPECT_TRUE(utf8_is_digit(0xB2) && utf8_is_digit(0x663) && !utf8_is_digit(0xBD));
    EXPECT_TRUE(utf8_is_printable(0xE9) && !utf8_is_printable(0xAD) && !utf8_is_printable(0x7F));
}

TEST(Utf8, FindsFromBothEnds)
{
    EXPECT_EQ(1u, text_find(words("abab"), words("ba"), 0));
    EXPECT_EQ(SIZE_MAX, text_find(words("abab"), words("ba"), 2));
    EXPECT_EQ(SIZE_MAX, text_find(words("a"), words("ab"), 0));
    EXPECT_EQ(4u, text_find(words("abab"), words(""), 4));
    EXPECT_EQ(SIZE_MAX, text_find(words("abab"), words(""), 5));
    EXPECT_EQ(2u, text_find_last(words("abab"), words("ab")));
    EXPECT_EQ(4u, text_find_last(words("abab"), words("")));
    EXPECT_EQ(SIZE_MAX, text_find_last(words("abab"), words("bb")));
}

TEST(Utf8, StripsCharactersNotBytes)
{
    EXPECT_EQ("b", str(text_strip(words("\u00e9b\u00e9"), words("\u00e9"), true, true)));
    EXPECT_EQ("\u00e8", str(text_strip(words("\u00e8"), words("\u00e9"), true, true)));
    EXPECT_EQ("", str(text_strip(words(" \u3000 "), text_of(NULL, 0), true, true)));
}

} // namespace
