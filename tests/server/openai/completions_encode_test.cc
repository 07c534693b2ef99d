#include "server/openai/completions_encode.h"

#include "tests/server/openai/openai_answers.h"

namespace {

using openai_test::Answer;
using openai_test::Event;
using openai_test::Events;
using openai_test::Parse;
using openai_test::Take;
using openai_test::Text;

std::vector<std::string> Chunks(Answer &x, Event event, bool last = false, uint32_t choice = 0)
{
    EXPECT_TRUE(openai_choice_keep(&x.choices[choice], &x.answer, event.get()));
    if (event.e.finish != FINISH_NONE)
        openai_totals_add(&x.totals, &event.e.usage, true);
    completions_encode_event(&x.w, &x.answer, &x.choices[choice], event.get(),
                             last ? &x.totals : nullptr);
    return Events(Take(x.w));
}

TEST(CompletionsEncode, AChunkSaysAllOfIt)
{
    Answer x(false, true);
    x.Open(2);
    auto events = Chunks(x, Event("hi", {x.a}), false, 1);
    ASSERT_EQ(1u, events.size());
    EXPECT_EQ(R"({"id":"cmpl-1","object":"text_completion","created":1700000000,"model":"served",)"
              R"("choices":[{"index":1,"text":"hi","logprobs":null,"finish_reason":null,)"
              R"("stop_reason":null}]})", events[0]);
}

TEST(CompletionsEncode, TextHeldBackIsAChunkWithoutText)
{
    Answer x(false, true);
    x.Open();
    auto held = Chunks(x, Event("", {x.a}));
    ASSERT_EQ(1u, held.size());
    EXPECT_EQ("\"\"", Text(Parse(held[0]).get(), {"choices", "0", "text"}));
    EXPECT_EQ("null", Text(Parse(held[0]).get(), {"choices", "0", "finish_reason"}));
    EXPECT_TRUE(Chunks(x, Event().Scores({x.b})).empty());
    auto events = Chunks(x, Event("").Finish(FINISH_LENGTH), true);
    ASSERT_EQ(1u, events.size());
    auto json = Parse(events[0]);
    EXPECT_EQ("\"length\"", Text(json.get(), {"choices", "0", "finish_reason"}));
    EXPECT_EQ("\"\"", Text(json.get(), {"choices", "0", "text"}));
    EXPECT_EQ("5", Text(json.get(), {"timings", "predicted_n"})) << "no usage chunk follows";
}

TEST(CompletionsEncode, UsageIsNullUntilItsChunkOrCountsUp)
{
    Answer x(false, true);
    x.asked.include_usage = true;
    x.Open();
    auto json = Parse(Chunks(x, Event("a", {x.a}))[0]);
    EXPECT_EQ("null", Text(json.get(), {"usage"}));
    json = Parse(Chunks(x, Event("").Finish(FINISH_LENGTH), true)[0]);
    EXPECT_EQ(nullptr, openai_test::At(json.get(), {"timings"})) << "the usage chunk has them";

    Answer y(false, true);
    y.asked.include_usage = y.asked.continuous_usage = true;
    y.Open();
    Chunks(y, Event("a", {y.a}));
    json = Parse(Chunks(y, Event("b", {y.a, y.b}))[0]);
    EXPECT_EQ("2", Text(json.get(), {"usage", "prompt_tokens"}));
    EXPECT_EQ("3", Text(json.get(), {"usage", "completion_tokens"}));
}

TEST(CompletionsEncode, LogprobsRideWithTheirText)
{
    Answer x(false, true);
    x.asked.sampling.logprobs = true;
    x.Open();
    auto json = Parse(Chunks(x, Event("", {x.a}))[0]);
    EXPECT_EQ("[\"a\"]", Text(json.get(), {"choices", "0", "logprobs", "tokens"}));
    json = Parse(Chunks(x, Event("ab", {x.b}))[0]);
    EXPECT_EQ("[1]", Text(json.get(), {"choices", "0", "logprobs", "text_offset"})) << "goes on";
}

TEST(CompletionsEncode, TheEchoLeavesFirstWithItsScores)
{
    Answer x(false, true);
    x.asked.echo = x.asked.sampling.logprobs = true;
    x.Open();
    EXPECT_TRUE(Chunks(x, Event().Scores({x.b})).empty());
    auto events = Chunks(x, Event("c", {x.a}));
    ASSERT_EQ(2u, events.size());
    auto echo = Parse(events[0]), next = Parse(events[1]);
    EXPECT_EQ("\"ab\"", Text(echo.get(), {"choices", "0", "text"}));
    EXPECT_EQ("[null,-2]", Text(echo.get(), {"choices", "0", "logprobs", "token_logprobs"}));
    EXPECT_EQ("\"c\"", Text(next.get(), {"choices", "0", "text"}));
    EXPECT_EQ("[2]", Text(next.get(), {"choices", "0", "logprobs", "text_offset"}));
    EXPECT_EQ(1u, Chunks(x, Event("d", {x.a})).size()) << "once";
}

TEST(CompletionsEncode, TokenIdsWhereTheyAreAskedFor)
{
    Answer x(false, true);
    x.asked.return_token_ids = true;
    x.Open();
    auto first = Parse(Chunks(x, Event("a", {x.a}))[0]),
         second = Parse(Chunks(x, Event("", {x.b}))[0]);
    std::string a = std::to_string(x.a), b = std::to_string(x.b);
    EXPECT_EQ("[" + a + "," + b + "]", Text(first.get(), {"choices", "0", "prompt_token_ids"}));
    EXPECT_EQ("[" + a + "]", Text(first.get(), {"choices", "0", "token_ids"}));
    EXPECT_EQ("[" + b + "]", Text(second.get(), {"choices", "0", "token_ids"}));
    EXPECT_EQ(nullptr, openai_test::At(second.get(), {"choices", "0", "prompt_token_ids"}));
}

TEST(CompletionsEncode, TheWholeAnswerHasEveryChoice)
{
    Answer x(false, false);
    x.asked.echo = x.asked.sampling.logprobs = x.asked.return_token_ids = true;
    x.Open(2);
    x.Keep(0, Event().Scores({x.b}));
    x.Keep(0, Event("xy", {x.a, x.b}).Finish(FINISH_STOP).StopText("."));
    x.Keep(1, Event("z\xff", {x.b}).Finish(FINISH_LENGTH));
    completions_encode(&x.w, &x.answer, x.pointers().data(), 2, &x.totals);
    auto json = Parse(Take(x.w));
    EXPECT_EQ("\"text_completion\"", Text(json.get(), {"object"}));
    EXPECT_EQ("\"abxy\"", Text(json.get(), {"choices", "0", "text"}));
    EXPECT_EQ("\"stop\"", Text(json.get(), {"choices", "0", "finish_reason"}));
    EXPECT_EQ("\".\"", Text(json.get(), {"choices", "0", "stop_reason"}));
    EXPECT_EQ("[null,-2,-1,-1]", Text(json.get(), {"choices", "0", "logprobs", "token_logprobs"}));
    EXPECT_EQ("[0,1,2,3]", Text(json.get(), {"choices", "0", "logprobs", "text_offset"}));
    EXPECT_EQ("1", Text(json.get(), {"choices", "1", "index"}));
    EXPECT_EQ("\"abz\xef\xbf\xbd\"", Text(json.get(), {"choices", "1", "text"}));
    EXPECT_EQ("[" + std::to_string(x.b) + "]", Text(json.get(), {"choices", "1", "token_ids"}));
    EXPECT_EQ("10", Text(json.get(), {"usage", "completion_tokens"}));
}

TEST(CompletionsEncode, PlainAnswersHaveNullLogprobs)
{
    Answer x(false, false);
    x.Open();
    x.Keep(0, Event("t").Finish(FINISH_LENGTH));
    completions_encode(&x.w, &x.answer, x.pointers().data(), 1, &x.totals);
    auto json = Parse(Take(x.w));
    EXPECT_EQ(
        R"({"index":0,"text":"t","logprobs":null,"finish_reason":"length","stop_reason":null})",
        Text(json.get(), {"choices", "0"}));
}

} // namespace
