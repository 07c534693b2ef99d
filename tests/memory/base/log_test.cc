#include "memory/base/log.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <string>

namespace {

class Log : public testing::Test {
protected:
    void TearDown() override { log_set_level(LOG_INFO); }
};

TEST_F(Log, ALineHasTimeLevelAndText)
{
    testing::internal::CaptureStderr();
    log_warn("ring: %d slots", 7);
    std::string line = testing::internal::GetCapturedStderr();
    std::string shape = line; /* every digit of the time becomes a 0 */
    for (size_t i = 0; i < shape.size() && i < 24; i++)
        shape[i] = isdigit((unsigned char)shape[i]) ? '0' : shape[i];
    EXPECT_EQ(shape, "0000-00-00T00:00:00.000Z WARN ring: 7 slots\n");
}

TEST_F(Log, TheLevelDecides)
{
    log_set_level(LOG_WARN);
    testing::internal::CaptureStderr();
    log_info("quiet");
    log_debug("quiet");
    log_error("loud");
    std::string text = testing::internal::GetCapturedStderr();
    EXPECT_EQ(text.find("quiet"), std::string::npos);
    EXPECT_NE(text.find("ERROR loud"), std::string::npos);
    EXPECT_TRUE(log_enabled(LOG_ERROR));
    EXPECT_FALSE(log_enabled(LOG_INFO));
}

TEST_F(Log, LongLinesAreCutAndStillEndInANewline)
{
    testing::internal::CaptureStderr();
    log_error("%s", std::string(5000, 'x').c_str());
    std::string text = testing::internal::GetCapturedStderr();
    EXPECT_LT(text.size(), 2100u);
    EXPECT_EQ(text.back(), '\n');
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
}

TEST_F(Log, LevelsHaveNames)
{
    enum log_level level = LOG_ERROR;
    EXPECT_TRUE(log_level_parse("debug", &level));
    EXPECT_EQ(level, LOG_DEBUG);
    EXPECT_TRUE(log_level_parse("warn", &level));
    EXPECT_EQ(level, LOG_WARN);
    EXPECT_FALSE(log_level_parse("verbose", &level));
    EXPECT_FALSE(log_level_parse("", &level));
    EXPECT_EQ(level, LOG_WARN);
}

} // namespace
