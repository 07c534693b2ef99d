#include "server/http/http_target.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace
{

class Target : public testing::Test {
  protected:
    bool Parse(const std::string &text)
    {
        text_.assign(text.begin(), text.end());
        text_.push_back('\0');
        why_ = {};
        bool ok = http_target_parse(&target_, text_.data(), &why_);
        EXPECT_EQ(ok, why_.message == nullptr);
        return ok;
    }
    std::string Path(const std::string &text) { return Parse(text) ? target_.path : "refused"; }
    std::string Query(const std::string &name)
    {
        const char *value = http_target_query(&target_, name.c_str());
        return value ? value : "absent";
    }
    std::vector<char> text_;
    http_target target_ = {};
    http_failure why_ = {};
};

TEST_F(Target, Paths)
{
    EXPECT_EQ(Path("/"), "/");
    EXPECT_EQ(Path("/v1/models/a%2Fb%20c"), "/v1/models/a/b c");
    EXPECT_EQ(Path("/a+b"), "/a+b") << "a plus is a plus in a path";
    EXPECT_EQ(Path("/%e2%82%AC"), "/\xe2\x82\xac");
    EXPECT_EQ(Path("//x/../y"), "//x/../y");
    EXPECT_EQ(Path("*"), "*");
}

TEST_F(Target, TheAbsoluteForm)
{
    EXPECT_EQ(Path("http://host/a?b=c"), "/a");
    EXPECT_EQ(Query("b"), "c");
    EXPECT_EQ(Path("HTTPS://host:8000/a"), "/a");
    EXPECT_EQ(Path("http://host"), "/");
    EXPECT_EQ(Path("http://host?q=1"), "/");
    EXPECT_EQ(Query("q"), "1");
    for (const char *bad : {"http://", "http:///a", "ftp://host/a", "host:443", "a", "**"})
        EXPECT_EQ(Path(bad), "refused") << bad;
}

TEST_F(Target, BrokenEncodings)
{
    for (const char *bad : {"/%", "/%4", "/%zz", "/%4g", "/%00", "/%0a", "/%7f", "/a#b", "/?a=%",
                            "/?%0d=1", "/?a=b#c", "http://host#b"})
        EXPECT_EQ(Path(bad), "refused") << bad;
}

TEST_F(Target, Queries)
{
    ASSERT_TRUE(Parse("/p?a=1&b=x%26y+z&&c&=e&a=2&d=%3D=&"));
    EXPECT_STREQ(target_.path, "/p");
    EXPECT_EQ(Query("a"), "1") << "the first counts";
    EXPECT_EQ(Query("b"), "x&y z");
    EXPECT_EQ(Query("c"), "");
    EXPECT_EQ(Query("d"), "==");
    EXPECT_EQ(Query(""), "e");
    EXPECT_EQ(Query("e"), "absent");
    ASSERT_TRUE(Parse("/p?"));
    EXPECT_EQ(target_.query_count, 0u);
    ASSERT_TRUE(Parse("/p"));
    EXPECT_EQ(Query("a"), "absent");
    ASSERT_TRUE(Parse("/p?a=?&b=/"));
    EXPECT_EQ(Query("a"), "?");
}

TEST_F(Target, QueriesHaveALimit)
{
    std::string text = "/p?";
    for (int i = 0; i < HTTP_QUERY_MAX; i++)
        text += "a&";
    EXPECT_TRUE(Parse(text));
    EXPECT_FALSE(Parse(text + "a"));
}

} // namespace
