#include "server/openai/chat_encode.h"

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
    chat_encode_event(&x.w, &x.answer, &x.choices[choice], event.get(), last ? &x.totals : nullptr);
    return Events(Take(x.w));
}

const char head[] = R"({"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,)"
                    R"("model":"served","choices":[{"index":0,"delta":)";
const char open_end[] = R"(,"logprobs":null,"finish_reason":null,"stop_reason":null}]})";

TEST(ChatEncode, RoleThenTextThenTheEnd)
{
    Answer x(true, true);
    x.Open();
    auto events = Chunks(x, Event("hi", {x.a}));
    ASSERT_EQ(2u, events.size());
    EXPECT_EQ(std::string(head) + R"({"role":"assistant","content":""})" + open_end, events[0]);
    EXPECT_EQ(std::string(head) + R"({"content":"hi"})" + open_end, events[1]);
    events = Chunks(x, Event(" you", {x.b}));
    ASSERT_EQ(1u, events.size());
    EXPECT_EQ(std::string(head) + R"({"content":" you"})" + open_end, events[0]);
    events = Chunks(x, Event("!", {x.b}).Finish(FINISH_STOP), true);
    ASSERT_EQ(2u, events.size()) << "text never rides in the chunk of the end";
    EXPECT_EQ(std::string(head) + R"({"content":"!"})" + open_end, events[0]);
    auto json = Parse(events[1]);
    EXPECT_EQ("{}", Text(json.get(), {"choices", "0", "delta"}));
    EXPECT_EQ("\"stop\"", Text(json.get(), {"choices", "0", "finish_reason"}));
    EXPECT_EQ("7", Text(json.get(), {"experts", "hits"}));
}

TEST(ChatEncode, EveryChoiceSaysItsRole)
{
    Answer x(true, true);
    x.Open(2);
    EXPECT_EQ(2u, Chunks(x, Event("a", {x.a}), false, 0).size());
    auto events = Chunks(x, Event("b", {x.a}), false, 1);
    ASSERT_EQ(2u, events.size());
    EXPECT_EQ("1", Text(Parse(events[0]).get(), {"choices", "0", "index"}));
    EXPECT_EQ("\"assistant\"", Text(Parse(events[0]).get(), {"choices", "0", "delta", "role"}));
}

TEST(ChatEncode, TextHeldBackIsNoChunk)
{
    Answer x(true, true);
    x.Open();
    EXPECT_EQ(1u, Chunks(x, Event("", {x.a})).size()) << "the role";
    EXPECT_EQ(0u, Chunks(x, Event("", {x.a})).size());
    EXPECT_EQ(1u, Chunks(x, Event("").Finish(FINISH_LENGTH)).size());
}

TEST(ChatEncode, AnEmptyAnswerStillHasItsRole)
{
    Answer x(true, true);
    x.Open();
    auto events = Chunks(x, Event("", {}).Finish(FINISH_STOP), true);
    ASSERT_EQ(2u, events.size());
    EXPECT_EQ("\"assistant\"", Text(Parse(events[0]).get(), {"choices", "0", "delta", "role"}));
    EXPECT_EQ("{}", Text(Parse(events[1]).get(), {"choices", "0", "delta"}));
}

TEST(ChatEncode, LogprobsComeOnceForEachToken)
{
    Answer x(true, true);
    x.asked.sampling.logprobs = true;
    x.Open();
    auto events = Chunks(x, Event("", {x.a}));
    ASSERT_EQ(2u, events.size());
    EXPECT_EQ("null", Text(Parse(events[0]).get(), {"choices", "0", "logprobs"}));
    EXPECT_EQ("\"a\"", Text(Parse(events[1]).get(), {"choices", "0", "logprobs", "content", "0",
                                                    "token"}));
    events = Chunks(x, Event("ab", {x.b}).Finish(FINISH_STOP));
    ASSERT_EQ(2u, events.size());
    EXPECT_EQ(1u, json_array_size(openai_test::At(Parse(events[0]).get(),
                                             {"choices", "0", "logprobs", "content"})));
    EXPECT_EQ("null", Text(Parse(events[1]).get(), {"choices", "0", "logprobs"}));
}

TEST(ChatEncode, TokenIdsOfThePromptStandInTheFirstChunk)
{
    Answer x(true, true);
    x.asked.return_token_ids = true;
    x.Open();
    auto events = Chunks(x, Event("a", {x.a}));
    std::string a = std::to_string(x.a), b = std::to_string(x.b);
    EXPECT_EQ("[" + a + "," + b + "]", Text(Parse(events[0]).get(), {"prompt_token_ids"}));
    EXPECT_EQ("[" + a + "]", Text(Parse(events[1]).get(), {"choices", "0", "token_ids"}));
    EXPECT_EQ(nullptr, openai_test::At(Parse(events[1]).get(), {"prompt_token_ids"}));
}

TEST(ChatEncode, TheWholeAnswer)
{
    Answer x(true, false);
    x.Open(2);
    x.Keep(0, Event("he", {x.a}));
    x.Keep(0, Event("llo\n", {x.b}).Finish(FINISH_STOP));
    x.Keep(1, Event("").Finish(FINISH_LENGTH));
    chat_encode(&x.w, &x.answer, x.pointers().data(), 2, &x.totals);
    auto json = Parse(Take(x.w));
    EXPECT_EQ("\"chat.completion\"", Text(json.get(), {"object"}));
    EXPECT_EQ(R"({"index":0,"message":{"role":"assistant","content":"hello\n"},"logprobs":null,)"
              R"("finish_reason":"stop","stop_reason":null})", Text(json.get(), {"choices", "0"}));
    EXPECT_EQ("\"\"", Text(json.get(), {"choices", "1", "message", "content"}));
    EXPECT_EQ("10", Text(json.get(), {"usage", "completion_tokens"}));
    EXPECT_EQ(nullptr, openai_test::At(json.get(), {"prompt_token_ids"}));
}

TEST(ChatEncode, TheWholeAnswerWithScoresAndIds)
{
    Answer x(true, false);
    x.asked.sampling.logprobs = x.asked.return_token_ids = true;
    x.Open();
    x.Keep(0, Event("ab", {x.a, x.b}).Finish(FINISH_STOP));
    chat_encode(&x.w, &x.answer, x.pointers().data(), 1, &x.totals);
    auto json = Parse(Take(x.w));
    EXPECT_EQ(2u, json_array_size(openai_test::At(json.get(), {"choices", "0", "logprobs", "content"})));
    EXPECT_EQ(2u, json_array_size(openai_test::At(json.get(), {"choices", "0", "token_ids"})));
    EXPECT_EQ(2u, json_array_size(openai_test::At(json.get(), {"prompt_token_ids"})));
}

} // namespace
