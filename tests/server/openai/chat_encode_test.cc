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

TEST(ChatEncode, TextHeldBackIsAChunkWithoutText)
{
    Answer x(true, true);
    x.Open();
    EXPECT_EQ(2u, Chunks(x, Event("", {x.a})).size()) << "the role, and the token";
    auto held = Chunks(x, Event("", {x.a}));
    ASSERT_EQ(1u, held.size());
    EXPECT_EQ("{\"content\":\"\"}", Text(Parse(held[0]).get(), {"choices", "0", "delta"}));
    EXPECT_EQ(1u, Chunks(x, Event("", {x.a}).Finish(FINISH_LENGTH)).size()) << "the end alone";
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

/* ---- calls and thoughts ---- */

std::string Delta(const std::string &event)
{
    return Text(Parse(event).get(), {"choices", "0", "delta"});
}
std::string Id(const std::string &event)
{
    std::string id = Text(Parse(event).get(), {"choices", "0", "delta", "tool_calls", "0", "id"});
    return id.substr(1, id.size() - 2);
}

void Hermes(Answer &x)
{
    x.asked.tools.choice = OPENAI_CHOICE_AUTO;
    x.asked.reading.syntax = openai_syntax_find(OPENAI_TOOLS_HERMES, "");
}

TEST(ChatEncode, CallsComeInPieces)
{
    Answer x(true, true);
    Hermes(x);
    x.Open();
    auto events = Chunks(x, Event("So\n<tool_call>\n{\"name\": \"f\", \"argum", {x.a}));
    ASSERT_EQ(2u, events.size());
    EXPECT_EQ(R"({"content":"So"})", Delta(events[1]));
    events = Chunks(x, Event("ents\": {\"a\": ", {x.a}));
    ASSERT_EQ(2u, events.size());
    std::string id = Id(events[0]);
    EXPECT_EQ(0u, id.find("call_")) << id;
    EXPECT_EQ(29u, id.size());
    EXPECT_EQ(R"({"tool_calls":[{"index":0,"id":")" + id +
              R"(","type":"function","function":{"name":"f","arguments":""}}]})", Delta(events[0]));
    EXPECT_EQ(R"({"tool_calls":[{"index":0,"function":{"arguments":"{\"a\": "}}]})",
              Delta(events[1]));
    EXPECT_EQ("null", Text(Parse(events[1]).get(), {"choices", "0", "finish_reason"}));
    events = Chunks(x, Event("\"\u00e9\"}}\n</tool_call>", {x.a}));
    ASSERT_EQ(1u, events.size());
    EXPECT_EQ("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"\\\"\u00e9\\\"}\"}}]}",
              Delta(events[0]));
    events = Chunks(x, Event("<tool_call>{\"name\":\"g\"}</tool_call>", {x.a}).Finish(FINISH_STOP),
                    true);
    ASSERT_EQ(3u, events.size());
    EXPECT_EQ("1",
              Text(Parse(events[0]).get(), {"choices", "0", "delta", "tool_calls", "0", "index"}));
    EXPECT_NE(id, Id(events[0]));
    EXPECT_EQ(R"({"tool_calls":[{"index":1,"function":{"arguments":"{}"}}]})", Delta(events[1]));
    EXPECT_EQ("{}", Delta(events[2]));
    EXPECT_EQ("\"tool_calls\"", Text(Parse(events[2]).get(), {"choices", "0", "finish_reason"}));
}

TEST(ChatEncode, CallsInTheWholeAnswer)
{
    Answer x(true, false);
    Hermes(x);
    x.Open(3);
    x.Keep(0, Event(R"(<tool_call>{"name":"f","arguments":{"a":"\n"}}</tool_call>)", {x.a}));
    x.Keep(0, Event(R"(<tool_call>{"name":"g"}</tool_call>)", {x.b}).Finish(FINISH_STOP));
    x.Keep(1, Event(R"(Yes. <tool_call>{"name":"f","arguments":{"a)").Finish(FINISH_LENGTH));
    x.Keep(2, Event("No.").Finish(FINISH_STOP));
    chat_encode(&x.w, &x.answer, x.pointers().data(), 3, &x.totals);
    auto json = Parse(Take(x.w));
    auto calls = [&](const char *choice) {
        return openai_test::At(json.get(), {"choices", choice, "message", "tool_calls"});
    };
    EXPECT_EQ("null", Text(json.get(), {"choices", "0", "message", "content"}));
    ASSERT_EQ(2u, json_array_size(calls("0")));
    EXPECT_EQ("\"function\"", Text(calls("0"), {"0", "type"}));
    EXPECT_EQ(R"({"name":"f","arguments":"{\"a\":\"\\n\"}"})", Text(calls("0"), {"0", "function"}));
    EXPECT_EQ(R"({"name":"g","arguments":"{}"})", Text(calls("0"), {"1", "function"}));
    EXPECT_NE(Text(calls("0"), {"0", "id"}), Text(calls("0"), {"1", "id"}));
    EXPECT_EQ("\"tool_calls\"", Text(json.get(), {"choices", "0", "finish_reason"}));
    EXPECT_EQ("\"Yes.\"", Text(json.get(), {"choices", "1", "message", "content"}));
    EXPECT_EQ(R"({"name":"f","arguments":"{\"a"})", Text(calls("1"), {"0", "function"}));
    EXPECT_EQ("\"length\"", Text(json.get(), {"choices", "1", "finish_reason"}));
    EXPECT_NE(Text(calls("0"), {"0", "id"}), Text(calls("1"), {"0", "id"}));
    EXPECT_EQ(nullptr, calls("2"));
    EXPECT_EQ("\"No.\"", Text(json.get(), {"choices", "2", "message", "content"}));
    EXPECT_EQ("\"stop\"", Text(json.get(), {"choices", "2", "finish_reason"}));
}

/* The model had no choice, so it has not "called tools". */
TEST(ChatEncode, ACallOfANamedToolStops)
{
    for (bool stream : {true, false}) {
        Answer x(true, stream);
        x.asked.tools.choice = OPENAI_CHOICE_NAMED;
        x.asked.reading.named = "f";
        x.Open();
        if (stream) {
            auto events = Chunks(x, Event("{}", {x.a}).Finish(FINISH_STOP), true);
            ASSERT_EQ(4u, events.size());
            EXPECT_EQ("\"stop\"", Text(Parse(events[3]).get(), {"choices", "0", "finish_reason"}));
            continue;
        }
        x.Keep(0, Event("{}", {x.a}).Finish(FINISH_STOP));
        chat_encode(&x.w, &x.answer, x.pointers().data(), 1, &x.totals);
        auto json = Parse(Take(x.w));
        EXPECT_EQ(R"({"name":"f","arguments":"{}"})",
                  Text(json.get(), {"choices", "0", "message", "tool_calls", "0", "function"}));
        EXPECT_EQ("\"stop\"", Text(json.get(), {"choices", "0", "finish_reason"}));
    }
}

/* Templates of Mistral's models demand ids of nine letters and digits when calls come back. */
TEST(ChatEncode, IdsAreAsTheFamilyWantsThem)
{
    Answer x(true, true);
    x.asked.tools.choice = OPENAI_CHOICE_AUTO;
    x.asked.reading.syntax = openai_syntax_find(OPENAI_TOOLS_MISTRAL, "");
    x.Open();
    auto events = Chunks(x, Event(R"([TOOL_CALLS] [{"name":"f","arguments":{}}])", {x.a}));
    std::string id = Id(events[1]);
    EXPECT_EQ(9u, id.size());
    for (char c : id)
        EXPECT_TRUE(isalnum(static_cast<unsigned char>(c))) << id;
}

TEST(ChatEncode, ThoughtsHaveNamesOfTheirOwn)
{
    Answer x(true, true), whole(true, false);
    x.asked.reading.thinks = whole.asked.reading.thinks = true;
    x.Open();
    whole.Open();
    auto events = Chunks(x, Event("<think>\nHm", {x.a}));
    ASSERT_EQ(2u, events.size());
    EXPECT_EQ(R"({"reasoning_content":"Hm","reasoning":"Hm"})", Delta(events[1]));
    events = Chunks(x, Event(".\n</think>\n\nFour", {x.a}).Finish(FINISH_STOP), true);
    ASSERT_EQ(3u, events.size());
    EXPECT_EQ(R"({"reasoning_content":".","reasoning":"."})", Delta(events[0]));
    EXPECT_EQ(R"({"content":"Four"})", Delta(events[1]));
    whole.Keep(0, Event("<think>\nHm.\n</think>\n\nFour").Finish(FINISH_STOP));
    chat_encode(&whole.w, &whole.answer, whole.pointers().data(), 1, &whole.totals);
    EXPECT_EQ(
        R"({"role":"assistant","content":"Four","reasoning_content":"Hm.","reasoning":"Hm."})",
        Text(Parse(Take(whole.w)).get(), {"choices", "0", "message"}));
}

/* Tokens are told once, with whatever part comes first, or with none. */
TEST(ChatEncode, LogprobsOfPartsComeOnce)
{
    Answer x(true, true);
    Hermes(x);
    x.asked.sampling.logprobs = x.asked.return_token_ids = true;
    x.Open();
    size_t tokens = 0, ids = 0;
    auto count = [&](const std::vector<std::string> &events) {
        for (const auto &event : events) {
            auto json = Parse(event);
            tokens += json_array_size(
                openai_test::At(json.get(), {"choices", "0", "logprobs", "content"}));
            ids += json_array_size(openai_test::At(json.get(), {"choices", "0", "token_ids"}));
        }
    };
    count(Chunks(x, Event("a <tool", {x.a, x.b})));
    EXPECT_EQ(2u, tokens);
    count(Chunks(x, Event("_call>", {x.a})));
    EXPECT_EQ(3u, tokens) << "its text waits";
    count(Chunks(x,
                 Event(R"({"name":"f","arguments":{}}</tool_call> b)", {x.a}).Finish(FINISH_STOP)));
    EXPECT_EQ(4u, tokens);
    EXPECT_EQ(4u, ids);
}

TEST(ChatEncode, TheWholeAnswerWithScoresAndIds)
{
    Answer x(true, false);
    x.asked.sampling.logprobs = x.asked.return_token_ids = true;
    x.Open();
    x.Keep(0, Event("ab", {x.a, x.b}).Finish(FINISH_STOP));
    chat_encode(&x.w, &x.answer, x.pointers().data(), 1, &x.totals);
    auto json = Parse(Take(x.w));
    EXPECT_EQ(
        2u, json_array_size(openai_test::At(json.get(), {"choices", "0", "logprobs", "content"})));
    EXPECT_EQ(2u, json_array_size(openai_test::At(json.get(), {"choices", "0", "token_ids"})));
    EXPECT_EQ(2u, json_array_size(openai_test::At(json.get(), {"prompt_token_ids"})));
}

} // namespace
