/* The two routes of generations from outside: what is refused and how it is said. */
#include "tests/server/openai/openai_server.h"
#include "tests/support/toy_model.h"

namespace {

using openai_test::Parse;
using openai_test::Text;

const char completions[] = "/v1/completions";
const char chats[] = "/v1/chat/completions";
const char invalid[] = "invalid_request_error";

class OpenaiGenerate : public openai_test::Server {};

TEST_F(OpenaiGenerate, EveryRefusalHasItsCodeAndType)
{
    config_.limits.prompts_max = 4;
    limits_.body_bytes = 1 << 16;
    ASSERT_NO_FATAL_FAILURE(StartReady());
    Refused(completions, "{", 400, invalid, "invalid_value", "");
    Refused(completions, "[]", 400, invalid, "invalid_value", "");
    Refused(completions, "{\"prompt\":\"a\",\"prompt\":\"b\"}", 400, invalid, "invalid_value", "");
    Refused(completions, "{}", 400, invalid, "invalid_value", "prompt");
    Refused(completions, R"({"prompt":"x","suffix":"y"})", 400, invalid, "invalid_value", "suffix");
    Refused(completions, R"({"prompt":"x","n":2,"best_of":4})", 400, invalid, "invalid_value",
            "best_of");
    Refused(completions, R"({"prompt":["a","b","c","d","e"]})", 400, invalid, "invalid_value",
            "prompt");
    Refused(completions, R"({"model":"gpt-4","prompt":"x"})", 404, invalid, "model_not_found",
            "model");
    Refused(chats, R"({"model":"gpt-4","messages":[]})", 404, invalid, "model_not_found", "model");
    Refused(chats, "{}", 400, invalid, "invalid_value", "messages");
    Refused(chats, R"({"messages":[{"role":"user","content":"x"}],"audio":{"v":1}})", 400, invalid,
            "invalid_value", "audio");
    Refused(chats, R"({"messages":[{"role":"user","content":"x"}],"tool_choice":"required"})", 400,
            invalid, "invalid_value", "tool_choice");
    std::string longer = "[1";
    for (int i = 0; i < 1100; i++)
        longer += ",1";
    Refused(completions, "{\"prompt\":" + longer + "]}", 400, invalid, "context_length_exceeded",
            "prompt");
    Refused(completions, "{\"prompt\":\"" + std::string(1 << 17, 'x') + "\"}", 413, invalid,
            "body_too_large", "");
    EXPECT_TRUE(Until([&] { return Idle(); }));
}

TEST_F(OpenaiGenerate, BodiesMustSayThatTheyAreJson)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    const std::string body = R"({"prompt":"x","max_tokens":0})";
    for (const char *type : {"", "Content-Type: text/plain\r\n",
                             "Content-Type: application/x-www-form-urlencoded\r\n",
                             "Content-Type: application/jsonlines\r\n"}) {
        Reply reply = Wait(Connect().Send(Request("POST", completions, body, type)));
        EXPECT_EQ(415, reply.code) << type;
        EXPECT_EQ("\"unsupported_media_type\"", Text(Parse(reply.body).get(), {"error", "code"}));
    }
    for (const char *type : {"Content-Type: application/json\r\n",
                             "content-type: Application/JSON; charset=utf-8\r\n"})
        EXPECT_EQ(200, Wait(Connect().Send(Request("POST", completions, body, type))).code) << type;
}

TEST_F(OpenaiGenerate, RequestIdsComeBack)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    for (const char *body : {R"({"prompt":"x","max_tokens":1})", R"({"prompt":"x","max_tokens":2,)"
                                                                 R"("stream":true})", "{}"})
        EXPECT_EQ("mine-7", Wait(Connect().Send(Request("POST", completions, body,
                                                        "Content-Type: application/json\r\n"
                                                        "X-Request-Id: mine-7\r\n")))
                                .Header("X-Request-Id"));
}

TEST_F(OpenaiGenerate, AModelThatDidNotLoadIsUnavailable)
{
    model_ = "/nowhere/model";
    ASSERT_NO_FATAL_FAILURE(Start());
    ASSERT_TRUE(Until([&] { return engine_thread_state(engine_) == ENGINE_FAILED; }));
    Reply reply = Post(completions, R"({"prompt":"x"})");
    EXPECT_EQ(503, reply.code);
    EXPECT_NE("", reply.Header("Retry-After"));
    EXPECT_EQ("\"unavailable_error\"", Text(Parse(reply.body).get(), {"error", "type"}));
    EXPECT_NE(std::string::npos, reply.body.find("/nowhere/model"));
}

TEST_F(OpenaiGenerate, ADrainRefusesNewWorkAndFinishesTheOld)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    Client &old = Connect().Send(Request("POST", completions,
                                         R"({"prompt":"x","max_tokens":300,"ignore_eos":true})"));
    ASSERT_TRUE(Until([&] { return requests_live(requests_) == 1; }));
    requests_drain(requests_);
    Refused(completions, R"({"prompt":"x"})", 503, "unavailable_error", "unavailable", "");
    Refused(chats, R"({"messages":[]})", 503, "unavailable_error", "unavailable", "");
    EXPECT_EQ(200, Wait(old).code);
    EXPECT_TRUE(Until([&] { return Idle(); }));
}

TEST_F(OpenaiGenerate, AModelWithoutATokenizerTakesIds)
{
    scratch::Folder folder;
    toy::Model toy;
    toy::write(folder, toy);
    model_ = folder.path();
    ASSERT_NO_FATAL_FAILURE(StartReady());
    Reply reply = Post(completions, R"({"prompt":[1,2,3],"max_tokens":4,"return_token_ids":true,)"
                                    R"("logprobs":1,"echo":true,"ignore_eos":true})");
    ASSERT_EQ(200, reply.code) << reply.body;
    auto json = Parse(reply.body);
    EXPECT_EQ(4u, json_array_size(openai_test::At(json.get(), {"choices", "0", "token_ids"})));
    EXPECT_EQ(7u,
              json_array_size(openai_test::At(json.get(), {"choices", "0", "logprobs", "tokens"})));
    EXPECT_EQ("\"\"", Text(json.get(), {"choices", "0", "text"}));
    Refused(completions, R"({"prompt":"text"})", 400, invalid, "invalid_value", "prompt");
    Refused(chats, R"({"messages":[{"role":"user","content":"x"}]})", 400, invalid, "invalid_value",
            "messages");
    Refused(completions, R"({"prompt":[1],"structured_outputs":{"regex":"a"}})", 400, invalid,
            "invalid_value", "structured_outputs");
    Refused("/tokenize", R"({"content":"x"})", 400, invalid, "invalid_value", "");
}

} // namespace
