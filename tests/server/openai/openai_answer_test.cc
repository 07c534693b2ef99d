#include "server/openai/openai_answer.h"

#include "tests/server/openai/openai_answers.h"

namespace {

using openai_test::Answer;
using openai_test::Event;
using openai_test::Events;
using openai_test::Parse;
using openai_test::Take;
using openai_test::Text;

TEST(OpenaiAnswer, UsageAndFiguresAreSums)
{
    Answer x(false, false);
    x.Open(2);
    x.Keep(0, Event("t").Finish(FINISH_STOP));
    x.Keep(1, Event("t").Finish(FINISH_LENGTH));
    openai_answer_begin(&x.w, &x.answer, "text_completion", nullptr);
    openai_answer_end(&x.w, &x.totals);
    auto json = Parse(Take(x.w));
    EXPECT_EQ("\"cmpl-1\"", Text(json.get(), {"id"}));
    EXPECT_EQ("1700000000", Text(json.get(), {"created"}));
    EXPECT_EQ("\"served\"", Text(json.get(), {"model"}));
    EXPECT_EQ(R"({"prompt_tokens":3,"completion_tokens":10,"total_tokens":13,)"
              R"("prompt_tokens_details":{"cached_tokens":2}})", Text(json.get(), {"usage"}))
        << "the prompt counts once";
    EXPECT_EQ(R"({"cache_n":2,"prompt_n":1,"prompt_ms":2.0,"prompt_per_second":500.0,)"
              R"("predicted_n":10,"predicted_ms":4.0,"predicted_per_second":2000.0})",
              Text(json.get(), {"timings"}));
    EXPECT_EQ(R"({"hits":14,"misses":4,"bytes":8192,"stall_ms":3.0})",
              Text(json.get(), {"experts"}));
}

TEST(OpenaiAnswer, RatesOfNothingAreZero)
{
    Answer x(false, false);
    struct openai_totals nothing = {};
    openai_answer_begin(&x.w, &x.answer, "o", nullptr);
    openai_answer_end(&x.w, &nothing);
    auto json = Parse(Take(x.w));
    EXPECT_EQ("0.0", Text(json.get(), {"timings", "prompt_per_second"}));
    EXPECT_EQ("0.0", Text(json.get(), {"timings", "predicted_per_second"}));
}

TEST(OpenaiAnswer, StreamsEndWithDone)
{
    Answer x(true, true);
    openai_stream_end(&x.w, &x.answer, &x.totals);
    EXPECT_EQ("data: [DONE]\n\n", Take(x.w));
}

/* Clients read the key without asking whether it is there. */
TEST(OpenaiAnswer, TheUsageChunkHasEmptyChoices)
{
    for (bool chat : {true, false}) {
        Answer x(chat, true);
        x.asked.include_usage = true;
        x.Open();
        x.Keep(0, Event().Finish(FINISH_STOP));
        openai_stream_end(&x.w, &x.answer, &x.totals);
        auto events = Events(Take(x.w));
        ASSERT_EQ(2u, events.size());
        auto json = Parse(events[0]);
        EXPECT_EQ(chat ? "\"chat.completion.chunk\"" : "\"text_completion\"",
                  Text(json.get(), {"object"}));
        EXPECT_EQ("[]", Text(json.get(), {"choices"}));
        EXPECT_EQ("8", Text(json.get(), {"usage", "total_tokens"}));
        EXPECT_EQ("5", Text(json.get(), {"timings", "predicted_n"}));
        EXPECT_EQ("7", Text(json.get(), {"experts", "hits"}));
        EXPECT_EQ("[DONE]", events[1]);
    }
}

TEST(OpenaiAnswer, ErrorsInAStreamAreWhole)
{
    struct openai_refusal refusal = {};
    openai_refuse(&refusal, HTTP_INTERNAL, nullptr, "page %d cannot be read: \"x\"", 3);
    struct jsonw w = {};
    openai_stream_error(&w, &refusal);
    EXPECT_EQ("data: {\"error\":{\"message\":\"page 3 cannot be read: \\\"x\\\"\","
              "\"type\":\"server_error\",\"param\":null,\"code\":\"internal_error\"}}\n\n",
              Take(w));
}

std::string Finish(Answer &x, Event event)
{
    jsonw_object_open(&x.w);
    openai_finish(&x.w, &x.answer, event.get(), "stop");
    jsonw_object_end(&x.w);
    return Take(x.w);
}

TEST(OpenaiAnswer, ReasonsAreNullOrOfTheList)
{
    Answer x(false, false);
    x.asked.stop_tokens[0] = 9;
    x.asked.stop_token_count = 1;
    EXPECT_EQ(R"({"finish_reason":null,"stop_reason":null})", Finish(x, Event("text")));
    EXPECT_EQ(R"({"finish_reason":"length","stop_reason":null})",
              Finish(x, Event().Finish(FINISH_LENGTH)));
    EXPECT_EQ(R"({"finish_reason":"stop","stop_reason":"EN\"D"})",
              Finish(x, Event().Finish(FINISH_STOP).StopText("EN\"D")));
    EXPECT_EQ(R"({"finish_reason":"stop","stop_reason":9})",
              Finish(x, Event().Finish(FINISH_STOP).StopToken(9)));
    EXPECT_EQ(R"({"finish_reason":"stop","stop_reason":null})",
              Finish(x, Event().Finish(FINISH_STOP).StopToken(0))) << "the model's own end";
}

TEST(OpenaiAnswer, TokensAreKeptWhereSomebodyWantsThem)
{
    Answer plain(false, false), scored(false, false), streamed(false, true);
    scored.asked.sampling.logprobs = true;
    for (Answer *x : {&plain, &scored, &streamed}) {
        x->Open();
        x->Keep(0, Event().Scores({x->b}));
        x->Keep(0, Event("t", {x->a}));
        x->Keep(0, Event("u", {x->a}).Finish(FINISH_STOP).StopText("!"));
    }
    EXPECT_EQ(0u, plain.choices[0].said->token_count);
    EXPECT_EQ(2u, scored.choices[0].said->token_count);
    EXPECT_EQ(1u, scored.choices[0].said->prompt_count);
    EXPECT_EQ("tu", std::string(plain.choices[0].said->text, plain.choices[0].said->text_bytes));
    EXPECT_EQ(1u, plain.choices[0].said->stop_text_bytes);
    EXPECT_EQ(1u, streamed.choices[0].said->prompt_count);
    EXPECT_EQ(0u, streamed.choices[0].said->text_bytes) << "it has left";
}

} // namespace
