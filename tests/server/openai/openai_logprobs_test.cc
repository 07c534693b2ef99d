#include "server/openai/openai_logprobs.h"

#include <cmath>
#include <limits>

#include "tests/server/openai/openai_support.h"

namespace {

using openai_test::Dump;
using openai_test::Parse;
using openai_test::Take;
using openai_test::Text;
using openai_test::Tokenizer;

struct sampled Sampled(uint32_t token, float logprob,
                       std::initializer_list<sampled_logprob> top = {})
{
    struct sampled s = {};
    s.token = token;
    s.logprob = logprob;
    for (const sampled_logprob &alternative : top)
        s.top[s.top_count++] = alternative;
    return s;
}

TEST(OpenaiLogprobs, ChatListsTokensWithBytesAndAlternatives)
{
    Tokenizer t;
    uint32_t a = t.encode("a")[0], part = t.encode("\xf4\x8f\xbf\xbd")[0];
    const struct sampled tokens[] = {
        Sampled(a, -0.5f, {{a, -0.5f}, {part, -1.5f}}),
        Sampled(part, -std::numeric_limits<float>::infinity()),
    };
    struct jsonw w = {};
    openai_logprobs_chat(&w, t.get(), tokens, 2);
    EXPECT_EQ(R"({"content":[{"token":"a","logprob":-0.5,"bytes":[97],"top_logprobs":[)"
              R"({"token":"a","logprob":-0.5,"bytes":[97]},)"
              R"({"token":"bytes:\\xf4","logprob":-1.5,"bytes":[244]}]},)"
              R"({"token":"bytes:\\xf4","logprob":-9999,"bytes":[244],"top_logprobs":[]}]})",
              Take(w));
    openai_logprobs_chat(&w, t.get(), nullptr, 0);
    EXPECT_EQ("{\"content\":[]}", Take(w));
}

class Completion : public testing::Test {
  protected:
    openai_test::Json Write(const struct openai_scored &scored)
    {
        struct openai_offset offset;
        struct jsonw w = {};
        EXPECT_TRUE(openai_offset_open(&offset, t_.get(), false));
        openai_logprobs_completion(&w, t_.get(), &scored, &offset);
        openai_offset_close(&offset);
        return Parse(Take(w));
    }
    Tokenizer t_;
    uint32_t a_ = t_.encode("a")[0], b_ = t_.encode("b")[0];
};

TEST_F(Completion, AlternativesHoldTheTokenItself)
{
    const struct sampled tokens[] = {Sampled(a_, -2, {{b_, -0.5f}}),
                                     Sampled(b_, -0.25f, {{b_, -0.25f}}), Sampled(a_, -1)};
    struct openai_scored scored = {};
    scored.output = tokens;
    scored.output_tokens = 3;
    EXPECT_EQ(R"({"tokens":["a","b","a"],"token_logprobs":[-2,-0.25,-1],)"
              R"("top_logprobs":[{"b":-0.5,"a":-2},{"b":-0.25},{"a":-1}],"text_offset":[0,1,2]})",
              Dump(Write(scored).get()));
}

/* What evaluation tools read: as many entries as prompt tokens, nothing for the first. */
TEST_F(Completion, AnEchoedPromptStandsBeforeTheOutput)
{
    const uint32_t prompt[] = {b_, a_, b_};
    const struct sampled scores[] = {Sampled(a_, -1, {{b_, -0.5f}}), Sampled(b_, -3, {{b_, -3}})};
    const struct sampled output[] = {Sampled(a_, -4)};
    struct openai_scored scored = {prompt, 3, scores, 2, output, 1};
    EXPECT_EQ(
        R"({"tokens":["b","a","b","a"],"token_logprobs":[null,-1,-3,-4],)"
        R"("top_logprobs":[null,{"b":-0.5,"a":-1},{"b":-3},{"a":-4}],"text_offset":[0,1,2,3]})",
        Dump(Write(scored).get()));
    scored.prompt_scores_count = 1; /* the rest is not known */
    scored.output_tokens = 0;
    EXPECT_EQ("[null,-1,null]", Text(Write(scored).get(), {"token_logprobs"}));
}

TEST_F(Completion, KeysAreUniqueAndNumbersFinite)
{
    const float none = -std::numeric_limits<float>::infinity();
    const struct sampled tokens[] = {Sampled(a_, none, {{b_, NAN}, {b_, none}, {a_, none}})};
    struct openai_scored scored = {};
    scored.output = tokens;
    scored.output_tokens = 1;
    auto value = Write(scored); /* the parser rejects a key that comes twice */
    EXPECT_EQ("[-9999]", Text(value.get(), {"token_logprobs"}));
    EXPECT_EQ("[{\"b\":-9999,\"a\":-9999}]", Text(value.get(), {"top_logprobs"}));
}

TEST(OpenaiLogprobs, WithoutATokenizerTokensAreTheirNumbers)
{
    const struct sampled tokens[] = {Sampled(7, -1, {{8, -0.5f}})};
    struct openai_scored scored = {};
    scored.output = tokens;
    scored.output_tokens = 1;
    struct openai_offset offset;
    struct jsonw w = {};
    ASSERT_TRUE(openai_offset_open(&offset, nullptr, false));
    openai_logprobs_completion(&w, nullptr, &scored, &offset);
    EXPECT_EQ(R"({"tokens":["token_id:7"],"token_logprobs":[-1],)"
              R"("top_logprobs":[{"token_id:8":-0.5,"token_id:7":-1}],"text_offset":[0]})",
              Take(w));
}

} // namespace
