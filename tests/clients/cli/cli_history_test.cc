#include "clients/cli/cli_history.h"

#include <gtest/gtest.h>
#include <jansson.h>

#include <string>
#include <vector>

#include "tests/support/scratch.h"

namespace {

class CliHistory : public testing::Test {
  protected:
    ~CliHistory() override { cli_history_close(&h_); }
    bool Add(const char *role, const std::string &text)
    {
        return cli_history_add(&h_, role, text.data(), text.size());
    }
    std::string Said()
    {
        std::string out;
        for (uint32_t i = 0; i < h_.count; i++)
            out += std::string(h_.said[i].role) + "=" +
                   std::string(h_.said[i].text, h_.said[i].bytes) + ";";
        return out;
    }
    struct cli_history h_ = {};
};

TEST_F(CliHistory, TheSystemMessageIsFirstWheneverItIsSet)
{
    ASSERT_TRUE(Add("user", "a"));
    ASSERT_TRUE(cli_history_system(&h_, "be brief"));
    EXPECT_EQ("system=be brief;user=a;", Said());
    ASSERT_TRUE(cli_history_system(&h_, "be long"));
    EXPECT_EQ("system=be long;user=a;", Said());
    ASSERT_TRUE(cli_history_system(&h_, ""));
    EXPECT_EQ("user=a;", Said());
    ASSERT_TRUE(cli_history_system(&h_, nullptr));
    EXPECT_EQ("user=a;", Said());
}

TEST_F(CliHistory, ResetKeepsTheSystemMessage)
{
    for (int i = 0; i < 40; i++)
        ASSERT_TRUE(Add(i % 2 ? "assistant" : "user", std::to_string(i)));
    cli_history_take_back(&h_);
    EXPECT_EQ(39u, h_.count);
    ASSERT_TRUE(cli_history_system(&h_, "s"));
    cli_history_reset(&h_);
    EXPECT_EQ("system=s;", Said());
    ASSERT_TRUE(cli_history_system(&h_, ""));
    cli_history_reset(&h_);
    cli_history_take_back(&h_);
    EXPECT_EQ("", Said());
}

TEST_F(CliHistory, ARequestHoldsEverythingSaidAndTheSettings)
{
    Moering__V1__GenerateRequest g = MOERING__V1__GENERATE_REQUEST__INIT;
    g.min_tokens = 7;
    ASSERT_TRUE(Add("user", std::string("a\0b", 3)));
    ASSERT_TRUE(Add("assistant", ""));
    size_t size;
    uint8_t *bytes = cli_history_pack(&h_, &g, &size);
    ASSERT_NE(nullptr, bytes);
    auto *m = moering__v1__chat_request__unpack(nullptr, size, bytes);
    free(bytes);
    ASSERT_NE(nullptr, m);
    ASSERT_EQ(2u, m->n_messages);
    EXPECT_STREQ("user", m->messages[0]->role);
    EXPECT_EQ(3u, m->messages[0]->content.len);
    EXPECT_EQ(0u, m->messages[1]->content.len);
    EXPECT_EQ(7u, m->generate->min_tokens);
    moering__v1__chat_request__free_unpacked(m, nullptr);
}

TEST_F(CliHistory, WhatIsSavedIsTheJsonOfAChat)
{
    scratch::Folder folder;
    ASSERT_TRUE(Add("user", "say \"\xc3\xa9\"\n"));
    ASSERT_TRUE(Add("assistant", "ok"));
    std::string path = folder.path("talk.json");
    ASSERT_TRUE(cli_history_save(&h_, path.c_str()));
    json_t *saved = json_load_file(path.c_str(), 0, nullptr);
    ASSERT_NE(nullptr, saved);
    json_t *list = json_object_get(saved, "messages");
    ASSERT_EQ(2u, json_array_size(list));
    EXPECT_STREQ("say \"\xc3\xa9\"\n",
                 json_string_value(json_object_get(json_array_get(list, 0), "content")));
    EXPECT_STREQ("assistant", json_string_value(json_object_get(json_array_get(list, 1), "role")));
    json_decref(saved);
    errno = 0;
    EXPECT_FALSE(cli_history_save(&h_, folder.path("none/talk.json").c_str()));
    EXPECT_EQ(ENOENT, errno);
}

} // namespace
