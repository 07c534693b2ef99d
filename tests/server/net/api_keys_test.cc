#include "server/net/api_keys.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <string>

#include "tests/support/scratch.h"

namespace
{

class Keys : public testing::Test {
  protected:
    ~Keys() override { api_keys_close(keys_); }
    enum status Open(const char *key, const char *path)
    {
        api_keys_close(keys_);
        error_ = {};
        return api_keys_open(&keys_, key, path, &error_);
    }
    bool Allows(const char *authorization, const char *x_api_key = nullptr)
    {
        return api_keys_allow(keys_, authorization, x_api_key);
    }
    scratch::Folder folder_;
    api_keys *keys_ = nullptr;
    struct error error_ = {};
};

TEST_F(Keys, NoneMeansNoList)
{
    EXPECT_EQ(Open(nullptr, nullptr), STATUS_OK);
    EXPECT_EQ(keys_, nullptr);
    api_keys_close(nullptr);
}

TEST_F(Keys, OfAFlag)
{
    ASSERT_EQ(Open("sk-1", nullptr), STATUS_OK);
    EXPECT_TRUE(Allows("Bearer sk-1"));
    EXPECT_TRUE(Allows("bEARER   sk-1"));
    EXPECT_TRUE(Allows(nullptr, "sk-1"));
    EXPECT_TRUE(Allows("Bearer wrong", "sk-1"));
    EXPECT_FALSE(Allows(nullptr));
    EXPECT_FALSE(Allows("sk-1"));
    EXPECT_FALSE(Allows("Basic sk-1"));
    EXPECT_FALSE(Allows("Bearer sk-"));
    EXPECT_FALSE(Allows("Bearer sk-12"));
    EXPECT_FALSE(Allows("Bearer SK-1"));
    EXPECT_FALSE(Allows("Bearer "));
    EXPECT_FALSE(Allows("Bearer"));
    EXPECT_FALSE(Allows("", ""));
}

TEST_F(Keys, OfAFile)
{
    std::string path =
        folder_.write("keys", std::string("# of the team\n\nfirst\r\n  second \t\n\n#no\nlast"));
    ASSERT_EQ(Open("flag", path.c_str()), STATUS_OK) << error_.text;
    for (const char *key : {"flag", "first", "second", "last"})
        EXPECT_TRUE(Allows(nullptr, key)) << key;
    for (const char *key : {"# of the team", "#no", "no", "first\r", "second ", ""})
        EXPECT_FALSE(Allows(nullptr, key)) << key;
}

TEST_F(Keys, RefusalsNameThePlaceAndNeverTheKey)
{
    EXPECT_EQ(Open("se cret", nullptr), STATUS_INVALID);
    EXPECT_NE(std::string(error_.text).find("--api-key"), std::string::npos);
    EXPECT_EQ(std::string(error_.text).find("cret"), std::string::npos);
    EXPECT_EQ(Open("", nullptr), STATUS_INVALID);
    EXPECT_EQ(Open("caf\xc3\xa9", nullptr), STATUS_INVALID);
    EXPECT_EQ(Open(std::string(513, 'k').c_str(), nullptr), STATUS_INVALID);

    std::string path = folder_.write("keys", std::string("good\nse cret\n"));
    EXPECT_EQ(Open(nullptr, path.c_str()), STATUS_INVALID);
    EXPECT_NE(std::string(error_.text).find("line 2"), std::string::npos) << error_.text;
    EXPECT_EQ(std::string(error_.text).find("cret"), std::string::npos);
    EXPECT_EQ(keys_, nullptr);

    path = folder_.write("keys", std::string("nul\0byte\n", 9));
    EXPECT_EQ(Open(nullptr, path.c_str()), STATUS_INVALID);
    path = folder_.write("keys", std::string("# nothing\n\n"));
    EXPECT_EQ(Open(nullptr, path.c_str()), STATUS_INVALID)
        << "a file without keys must not mean everybody";
    EXPECT_EQ(Open(nullptr, folder_.path("absent").c_str()), STATUS_NOT_FOUND);
    EXPECT_NE(std::string(error_.text).find("absent"), std::string::npos);
    EXPECT_EQ(Open(nullptr, folder_.path().c_str()), STATUS_IO) << "a folder";
}

} // namespace
