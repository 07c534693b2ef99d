#include "memory/base/status.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <string>

namespace {

TEST(Status, EveryOneHasANameOfItsOwn)
{
    std::set<std::string> names;
    for (int i = STATUS_OK; i <= STATUS_INTERNAL; i++)
        EXPECT_TRUE(names.insert(status_name((enum status)i)).second);
    EXPECT_EQ(names.count("UNKNOWN"), 0u);
    EXPECT_STREQ(status_name((enum status)1000), "UNKNOWN");
}

TEST(Error, KeepsTheFirstCause)
{
    struct error error = {};
    EXPECT_EQ(error_set(&error, STATUS_IO, "file '%s'", "a"), STATUS_IO);
    EXPECT_EQ(error_set(&error, STATUS_INVALID, "later"), STATUS_INVALID);
    EXPECT_STREQ(error.text, "file 'a'");
    EXPECT_EQ(error_set(nullptr, STATUS_FULL, "nobody listens"), STATUS_FULL);
}

TEST(Error, PrefixComesBefore)
{
    struct error error = {};
    error_set(&error, STATUS_IO, "no such field");
    error_prefix(&error, "config.json in %d", 7);
    EXPECT_STREQ(error.text, "config.json in 7: no such field");
    error_prefix(nullptr, "nobody listens");
}

TEST(Error, LongSentencesAreCutNotOverrun)
{
    struct error error = {};
    std::string word(2000, 'x');
    error_set(&error, STATUS_IO, "%s", word.c_str());
    EXPECT_EQ(strlen(error.text), sizeof error.text - 1);
    error_prefix(&error, "%s", std::string(300, 'p').c_str());
    EXPECT_EQ(std::string(error.text, 302), std::string(300, 'p') + ": ");
    EXPECT_EQ(strlen(error.text), sizeof error.text - 1);
    error_prefix(&error, "%s", word.c_str());
    EXPECT_EQ(strlen(error.text), sizeof error.text - 1);
}

} // namespace
