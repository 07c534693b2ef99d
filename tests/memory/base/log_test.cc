#include "memory/base/log.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <string>

#include "tests/support/scratch.h"

namespace {

class Log : public testing::Test {
protected:
    void TearDown() override
    {
        log_set_level(LOG_INFO);
        log_set_jsonl(false);
        log_close();
    }
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

std::string Captured(const char *text)
{
    testing::internal::CaptureStderr();
    log_warn("%s", text);
    std::string line = testing::internal::GetCapturedStderr();
    size_t at = line.find("\"msg\":");
    return at == std::string::npos ? line : line.substr(at);
}

TEST_F(Log, JsonLinesStayJsonWhateverIsSaid)
{
    log_set_jsonl(true);
    testing::internal::CaptureStderr();
    log_error("x");
    std::string line = testing::internal::GetCapturedStderr();
    EXPECT_EQ(line.substr(0, 7), "{\"ts\":\"");
    EXPECT_NE(line.find("Z\",\"level\":\"error\",\"msg\":\"x\"}\n"), std::string::npos) << line;
    EXPECT_EQ(Captured("a \"b\" \\ \n\t\x01"), "\"msg\":\"a \\\"b\\\" \\\\ \\n\\t\\u0001\"}\n");
    EXPECT_EQ(Captured("\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"),
              "\"msg\":\"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\"}\n");
    /* a lone byte, an overlong form, a surrogate, beyond the last character, an end cut off */
    EXPECT_EQ(Captured("\x80|"), "\"msg\":\"\\ufffd|\"}\n");
    EXPECT_EQ(Captured("\xc0\xaf|"), "\"msg\":\"\\ufffd\\ufffd|\"}\n");
    EXPECT_EQ(Captured("\xe0\x80\xaf|"), "\"msg\":\"\\ufffd\\ufffd\\ufffd|\"}\n");
    EXPECT_EQ(Captured("\xed\xa0\x80|"), "\"msg\":\"\\ufffd\\ufffd\\ufffd|\"}\n");
    EXPECT_EQ(Captured("\xf4\x90\x80\x80|"), "\"msg\":\"\\ufffd\\ufffd\\ufffd\\ufffd|\"}\n");
    EXPECT_EQ(Captured("\xe2\x82"), "\"msg\":\"\\ufffd\\ufffd\"}\n");
    std::string longest = Captured(std::string(5000, '\x01').c_str());
    EXPECT_EQ(longest.substr(longest.size() - 9), "\\u0001\"}\n");
    EXPECT_EQ(std::count(longest.begin(), longest.end(), '\n'), 1);
}

TEST_F(Log, AFileTakesTheLinesAndMayBeRenamed)
{
    scratch::Folder folder;
    struct error error = {};
    folder.write("log", "before\n");
    std::string path = folder.path("log"), moved = folder.path("log.1");
    ASSERT_EQ(log_open(path.c_str(), &error), STATUS_OK) << error.text;
    testing::internal::CaptureStderr();
    log_info("first");
    ASSERT_EQ(rename(path.c_str(), moved.c_str()), 0);
    log_info("second");
    ASSERT_EQ(log_reopen(&error), STATUS_OK) << error.text;
    log_info("third");
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
    std::string old = folder.read("log.1");
    EXPECT_EQ(old.substr(0, 7), "before\n");
    EXPECT_NE(old.find("INFO first\n"), std::string::npos);
    EXPECT_NE(old.find("INFO second\n"), std::string::npos);
    EXPECT_EQ(old.find("third"), std::string::npos);
    EXPECT_NE(folder.read("log").find("INFO third\n"), std::string::npos);
}

TEST_F(Log, AFileThatCannotBeOpenedIsNamedAndChangesNothing)
{
    scratch::Folder folder;
    struct error error = {};
    std::string path = folder.path("none/log");
    EXPECT_EQ(log_open(path.c_str(), &error), STATUS_NOT_FOUND);
    EXPECT_NE(std::string(error.text).find(path), std::string::npos);
    EXPECT_NE(Captured("still here").find("still here"), std::string::npos);
    EXPECT_EQ(log_reopen(&error), STATUS_OK) << "there is no file to open again";

    std::string good = folder.path("log");
    error = {};
    ASSERT_EQ(log_open(good.c_str(), &error), STATUS_OK);
    folder.remove("log");
    ASSERT_EQ(mkdir(good.c_str(), 0700), 0); /* in its place */
    EXPECT_EQ(log_reopen(&error), STATUS_IO);
    EXPECT_NE(std::string(error.text).find(good), std::string::npos);
    testing::internal::CaptureStderr();
    log_info("into the old one");
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

} // namespace
