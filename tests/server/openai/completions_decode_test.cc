#include "server/openai/completions_decode.h"

#include "tests/server/openai/openai_support.h"

namespace {

using openai_test::Asked;
using openai_test::Parse;
using openai_test::Tokenizer;

class CompletionsDecode : public testing::Test {
  protected:
    bool Decode(Asked &a, const std::string &body)
    {
        a.body = Parse(body);
        bool ok = completions_decode(a.body.get(), &model_, &a.limits, &a.asked, &a.refusal);
        EXPECT_EQ(ok, !a.refusal.refused);
        return ok;
    }
    Tokenizer t_;
    struct openai_model model_ = {"served", t_.get(), 512, 1024};
};

TEST_F(CompletionsDecode, DefaultsAreThoseOfTheApi)
{
    Asked a;
    ASSERT_TRUE(Decode(a, R"({"prompt":"hello"})")) << a.why();
    EXPECT_TRUE(a.asked.has_max_tokens);
    EXPECT_EQ(16u, a.asked.max_tokens);
    EXPECT_FALSE(a.asked.echo || a.asked.sampling.logprobs);
    ASSERT_EQ(1u, a.asked.prompt_count);
    EXPECT_EQ(t_.encode("hello"), a.prompt(0));
    EXPECT_EQ(nullptr, a.asked.prompts[0].echo);
}

TEST_F(CompletionsDecode, FourKindsOfPrompts)
{
    std::vector<uint32_t> hello = t_.encode("hello"), ids = {1, 2, 3};
    {
        Asked a;
        ASSERT_TRUE(Decode(a, R"({"prompt":["hello","a\u0000b",[1,2,3]]})")) << a.why();
        ASSERT_EQ(3u, a.asked.prompt_count);
        EXPECT_EQ(hello, a.prompt(0));
        EXPECT_EQ(t_.encode(std::string("a\0b", 3)), a.prompt(1));
        EXPECT_EQ(ids, a.prompt(2));
    }
    {
        Asked a;
        ASSERT_TRUE(Decode(a, R"({"prompt":[1,2,3]})")) << a.why();
        ASSERT_EQ(1u, a.asked.prompt_count);
        EXPECT_EQ(ids, a.prompt(0));
    }
    {
        Asked a;
        ASSERT_TRUE(Decode(a, R"({"prompt":[[1,2,3],[3]]})")) << a.why();
        ASSERT_EQ(2u, a.asked.prompt_count);
        EXPECT_EQ(ids, a.prompt(0));
        EXPECT_EQ(std::vector<uint32_t>({3}), a.prompt(1));
    }
}

TEST_F(CompletionsDecode, SpecialTokensInAPromptAreTokens)
{
    Asked a;
    ASSERT_TRUE(Decode(a, R"({"prompt":"<|im_start|>x"})"));
    EXPECT_EQ(t_.encode("<|im_start|>x", true), a.prompt(0));
    EXPECT_EQ(t_.id("<|im_start|>"), a.prompt(0)[0]);
}

TEST_F(CompletionsDecode, EchoKeepsTheText)
{
    Asked a;
    ASSERT_TRUE(Decode(a, R"({"prompt":["hel\u0000lo",[0]],"echo":true,"logprobs":3,
                              "max_tokens":0})"));
    EXPECT_EQ(std::string("hel\0lo", 6), std::string(a.asked.prompts[0].echo,
                                                     a.asked.prompts[0].echo_bytes));
    EXPECT_TRUE(a.asked.sampling.logprobs);
    EXPECT_EQ(3u, a.asked.sampling.top_logprobs);
    EXPECT_EQ(0u, a.asked.max_tokens);
    EXPECT_FALSE(openai_asked_is_empty(&a.asked));
    Asked ids;
    std::string text = "some words";
    std::string list;
    for (uint32_t id : t_.encode(text))
        list += (list.empty() ? "" : ",") + std::to_string(id);
    ASSERT_TRUE(Decode(ids, "{\"echo\":true,\"prompt\":[" + list + "]}"));
    EXPECT_EQ(text, std::string(ids.asked.prompts[0].echo, ids.asked.prompts[0].echo_bytes));
}

TEST_F(CompletionsDecode, LogprobsOfZeroAreTheTokensOwn)
{
    Asked a;
    ASSERT_TRUE(Decode(a, R"({"prompt":"x","logprobs":0})"));
    EXPECT_TRUE(a.asked.sampling.logprobs);
    EXPECT_EQ(0u, a.asked.sampling.top_logprobs);
}

TEST_F(CompletionsDecode, RefusalsNameTheField)
{
    const struct {
        const char *param, *body;
    } cases[] = {
        {"prompt", R"({})"},
        {"prompt", R"({"prompt":[]})"},
        {"prompt", R"({"prompt":{}})"},
        {"prompt", R"({"prompt":7})"},
        {"prompt", R"({"prompt":[null]})"},
        {"prompt", R"({"prompt":[512]})"},
        {"prompt", R"({"prompt":[1,"a"]})"},
        {"prompt[1]", R"({"prompt":[[1],[-1]]})"},
        {"prompt", R"({"prompt":[[]]})"},
        {"prompt", R"({"prompt":""})"},
        {"max_tokens", R"({"prompt":"x","max_tokens":-1})"},
        {"max_tokens", R"({"prompt":"x","max_tokens":"5"})"},
        {"echo", R"({"prompt":"x","echo":1})"},
        {"logprobs", R"({"prompt":"x","logprobs":21})"},
        {"logprobs", R"({"prompt":"x","logprobs":true})"},
        {"suffix", R"({"prompt":"x","suffix":"after"})"},
        {"add_special_tokens", R"({"prompt":"x","add_special_tokens":"no"})"},
        {"min_tokens", R"({"prompt":"x","min_tokens":17})"},
    };
    for (const auto &c : cases) {
        Asked a;
        EXPECT_FALSE(Decode(a, c.body)) << c.body;
        EXPECT_EQ(c.param, a.param()) << c.body << ": " << a.why();
        EXPECT_EQ(HTTP_BAD_VALUE, a.refusal.problem) << c.body;
    }
    Asked many;
    many.limits.prompts_max = 2;
    EXPECT_FALSE(Decode(many, R"({"prompt":["a","b","c"]})"));
    EXPECT_EQ("prompt", many.param());
}

TEST_F(CompletionsDecode, PromptsBeyondTheContextHaveTheirOwnCode)
{
    std::string ids = "1";
    for (int i = 1; i < 1024; i++)
        ids += ",1";
    Asked a;
    EXPECT_FALSE(Decode(a, "{\"prompt\":[" + ids + "]}"));
    EXPECT_EQ(HTTP_CONTEXT_LENGTH, a.refusal.problem);
    EXPECT_EQ("prompt", a.param());
    Asked scored; /* nothing is to follow it */
    EXPECT_TRUE(Decode(scored, "{\"max_tokens\":0,\"echo\":true,\"logprobs\":1,\"prompt\":[" + ids +
                                   "]}")) << scored.why();
}

TEST_F(CompletionsDecode, WithoutATokenizerIdsAreEnough)
{
    model_.tokenizer = nullptr;
    Asked text;
    EXPECT_FALSE(Decode(text, R"({"prompt":"x"})"));
    EXPECT_EQ("prompt", text.param());
    Asked ids;
    EXPECT_TRUE(Decode(ids, R"({"prompt":[1,2],"echo":true})"));
    EXPECT_EQ(nullptr, ids.asked.prompts[0].echo);
}

} // namespace
