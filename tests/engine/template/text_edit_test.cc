/* Cutting, counting and reading numbers, at their edges. */
#include "engine/template/text_edit.h"

#include "template_fixture.h"

using namespace templates;

namespace {

std::string joined(const struct list *list)
{
    std::string all;
    for (size_t i = 0; i < list->count; i++)
        all += str(list->items[i].text) + "|";
    return all;
}

TEST(TextEdit, SplitsFromBothEnds)
{
    TestRun run;
    ASSERT_TRUE(run.tries([](struct run *r) {
        const struct text space = text_of(NULL, 0);
        EXPECT_EQ("a|b  c|", joined(text_edit_split(r, words(" a  b  c"), space, 1)));
        EXPECT_EQ("a  b|c|", joined(text_edit_split_right(r, words("a  b c "), space, 1)));
        EXPECT_EQ("|a|,|", joined(text_edit_split(r, words(",a,,"), words(","), 2)));
        EXPECT_EQ("|", joined(text_edit_split(r, words(""), words(","), -1)));
        EXPECT_EQ("", joined(text_edit_split(r, words("  "), space, -1)));
        EXPECT_EQ("a|b||", joined(text_edit_split_right(r, words("a,b,"), words(","), -1)));
        EXPECT_EQ("a\r\n|b|", joined(text_edit_lines(r, words("a\r\nb"), true)));
    }));
    EXPECT_FALSE(run.tries([](struct run *r) { text_edit_split(r, words("a"), words(""), -1); }));
    EXPECT_EQ("test, line 1: an empty separator", run.error());
}

TEST(TextEdit, ReadsIntegersAsPython)
{
    TestRun run;
    ASSERT_TRUE(run.tries([](struct run *r) {
        int64_t n;
        EXPECT_TRUE(text_edit_integer(r, words(" -9223372036854775808 "), 10, &n));
        EXPECT_EQ(INT64_MIN, n);
        EXPECT_TRUE(text_edit_integer(r, words("0x_ff"), 0, &n));
        EXPECT_EQ(255, n);
        for (const char *bad : {"", "-", "1 2", "_1", "1_", "1__0", "0x", "--1", "1.0"})
            EXPECT_FALSE(text_edit_integer(r, words(bad), 10, &n)) << bad;
        EXPECT_FALSE(text_edit_integer(r, words("1"), 37, &n));
    }));
    EXPECT_FALSE(run.tries([](struct run *r) {
        int64_t n;
        text_edit_integer(r, words("9223372036854775808"), 10, &n);
    }));
}

TEST(TextEdit, ReadsRealsAsPython)
{
    double d;
    EXPECT_TRUE(text_edit_real(words(" 1_0.5e1 "), &d));
    EXPECT_EQ(105, d);
    for (const char *bad : {"", "0x1p3", "1_", "_1", "1e", "nan(1)", "1 2", "."})
        EXPECT_FALSE(text_edit_real(words(bad), &d)) << bad;
    EXPECT_FALSE(text_edit_real(text_of("1\0", 2), &d));
}

} // namespace
