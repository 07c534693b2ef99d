#include "server/openai/openai_exchange.h"

#include "tests/server/openai/openai_server.h"

namespace {

using openai_test::Events;
using openai_test::Json;
using openai_test::Parse;
using openai_test::Text;

const char completions[] = "/v1/completions";
const char chats[] = "/v1/chat/completions";

/* Still under way when a test looks: the context of the built-in model is 1024 tokens. */
const char endless[] = R"({"prompt":"x","max_tokens":1000,"ignore_eos":true,"stream":true,)"
                       R"("temperature":0})";
/* Four choices with a kilobyte and more for each token: more than the kernel keeps for a socket. */
const char endless_and_wide[] =
    R"({"messages":[{"role":"user","content":"x"}],"max_tokens":900,"n":4,)"
    R"("ignore_eos":true,"stream":true,"temperature":0,"logprobs":true,)"
    R"("top_logprobs":20})";

class OpenaiExchange : public openai_test::Server {
  protected:
    /* The text of choice `index` of a stream, and what else every chunk must be. */
    std::string Streamed(const std::vector<std::string> &events, uint32_t index, bool chat)
    {
        std::string text, id, created;
        bool ended = false;
        for (size_t i = 0; i + 1 < events.size(); i++) {
            auto json = Parse(events[i]);
            const json_t *choice = openai_test::At(json.get(), {"choices", "0"});
            if (i == 0) {
                id = Text(json.get(), {"id"});
                created = Text(json.get(), {"created"});
            }
            EXPECT_EQ(id, Text(json.get(), {"id"})) << "the same in every chunk";
            EXPECT_EQ(created, Text(json.get(), {"created"}));
            EXPECT_NE(nullptr, openai_test::At(json.get(), {"choices"}));
            if (!choice || json_integer_value(json_object_get(choice, "index")) != index)
                continue;
            EXPECT_FALSE(ended) << "nothing comes after the end: " << events[i];
            const json_t *reason = json_object_get(choice, "finish_reason");
            EXPECT_NE(nullptr, reason) << "in every chunk";
            ended = !json_is_null(reason);
            EXPECT_NE("\"\"", openai_test::Dump(reason));
            const json_t *said = chat ? openai_test::At(choice, {"delta", "content"})
                                      : json_object_get(choice, "text");
            if (said)
                text.append(json_string_value(said), json_string_length(said));
        }
        EXPECT_TRUE(ended);
        EXPECT_EQ("[DONE]", events.empty() ? "" : events.back());
        return text;
    }
    /* All four are, and stay so for many turns: the kernel's buffers grow for a while, and it
     * runs again. */
    bool AllPaused()
    {
        uint64_t so_far = 0;
        int turns = 0;
        return Until([&] {
            struct batcher_stats now = Stats();
            turns = now.now.paused == 4 && now.generation_tokens == so_far ? turns + 1 : 0;
            so_far = now.generation_tokens;
            return turns == 1000;
        });
    }
    Reply Stream(const std::string &path, const std::string &body)
    {
        Reply reply = Post(path, body);
        EXPECT_EQ(200, reply.code) << reply.body;
        EXPECT_EQ("text/event-stream; charset=utf-8", reply.Header("Content-Type"));
        EXPECT_EQ("no-cache", reply.Header("Cache-Control"));
        EXPECT_EQ("no", reply.Header("X-Accel-Buffering"));
        return reply;
    }
};

TEST_F(OpenaiExchange, ACompletionWholeAndInChunksIsTheSameText)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    Reply whole =
        Post(completions, R"({"model":"tiny/chat","prompt":"sort: 3 1 2","max_tokens":12,)"
                          R"("temperature":0,"ignore_eos":true})");
    ASSERT_EQ(200, whole.code) << whole.body;
    EXPECT_EQ("application/json", whole.Header("Content-Type"));
    auto json = Parse(whole.body);
    EXPECT_EQ(0u, Text(json.get(), {"id"}).find("\"cmpl-"));
    EXPECT_EQ("\"text_completion\"", Text(json.get(), {"object"}));
    EXPECT_EQ("\"tiny/chat\"", Text(json.get(), {"model"}));
    EXPECT_EQ("\"length\"", Text(json.get(), {"choices", "0", "finish_reason"}));
    EXPECT_EQ("12", Text(json.get(), {"usage", "completion_tokens"}));
    EXPECT_GT(json_integer_value(openai_test::At(json.get(), {"experts", "hits"})) +
                  json_integer_value(openai_test::At(json.get(), {"experts", "misses"})), 0);
    EXPECT_GT(json_number_value(openai_test::At(json.get(), {"timings", "predicted_ms"})), 0);
    Reply stream = Stream(completions, R"({"prompt":"sort: 3 1 2","max_tokens":12,"temperature":0,)"
                                       R"("ignore_eos":true,"stream":true})");
    std::string text = Streamed(Events(stream.body), 0, false);
    EXPECT_EQ(json_string_value(openai_test::At(json.get(), {"choices", "0", "text"})), text);
    EXPECT_TRUE(Until([&] { return Idle(); }));
}

TEST_F(OpenaiExchange, AChatWholeAndInChunksIsTheSameText)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    const std::string chat = R"({"messages":[{"role":"user","content":"sort: 3 1 2"}],)"
                             R"("max_completion_tokens":8,"temperature":0,"ignore_eos":true)";
    Reply whole = Post(chats, chat + "}");
    ASSERT_EQ(200, whole.code) << whole.body;
    auto json = Parse(whole.body);
    EXPECT_EQ(0u, Text(json.get(), {"id"}).find("\"chatcmpl-"));
    EXPECT_EQ("\"chat.completion\"", Text(json.get(), {"object"}));
    EXPECT_EQ("\"assistant\"", Text(json.get(), {"choices", "0", "message", "role"}));
    Reply stream =
        Stream(chats, chat + R"(,"stream":true,"stream_options":{"include_usage":true}})");
    auto events = Events(stream.body);
    EXPECT_EQ(
        json_string_value(openai_test::At(json.get(), {"choices", "0", "message", "content"})),
        Streamed(events, 0, true));
    ASSERT_GE(events.size(), 4u);
    EXPECT_EQ(R"({"role":"assistant","content":""})",
              Text(Parse(events[0]).get(), {"choices", "0", "delta"}));
    auto end = Parse(events[events.size() - 3]), usage = Parse(events[events.size() - 2]);
    EXPECT_EQ("{}", Text(end.get(), {"choices", "0", "delta"}));
    EXPECT_EQ("\"length\"", Text(end.get(), {"choices", "0", "finish_reason"}));
    EXPECT_EQ("[]", Text(usage.get(), {"choices"}));
    for (const char *count : {"prompt_tokens", "completion_tokens", "total_tokens"})
        EXPECT_EQ(Text(json.get(), {"usage", count}), Text(usage.get(), {"usage", count}));
    EXPECT_EQ("0", Text(json.get(), {"usage", "prompt_tokens_details", "cached_tokens"}));
    EXPECT_EQ("16", Text(usage.get(), {"usage", "prompt_tokens_details", "cached_tokens"}))
        << "of 17 that were computed before";
}

TEST_F(OpenaiExchange, ChoicesDifferBySeedAndAreSummed)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    const std::string asked = R"({"prompt":"x","max_tokens":10,"ignore_eos":true,"seed":5,"n":3)";
    auto json = Parse(Post(completions, asked + "}").body);
    ASSERT_EQ(3u, json_array_size(openai_test::At(json.get(), {"choices"})));
    EXPECT_EQ("30", Text(json.get(), {"usage", "completion_tokens"}));
    EXPECT_EQ("1", Text(json.get(), {"usage", "prompt_tokens"})) << "one prompt";
    std::vector<std::string> texts;
    for (const char *i : {"0", "1", "2"}) {
        EXPECT_EQ(i, Text(json.get(), {"choices", i, "index"}));
        texts.push_back(json_string_value(openai_test::At(json.get(), {"choices", i, "text"})));
    }
    EXPECT_NE(texts[0], texts[1]);
    EXPECT_NE(texts[1], texts[2]);
    auto again = Parse(Post(completions, asked + "}").body);
    EXPECT_EQ(Text(json.get(), {"choices"}), Text(again.get(), {"choices"})) << "the seed decides";
    auto second = Parse(Post(completions, R"({"prompt":"x","max_tokens":10,"ignore_eos":true,)"
                                          R"("seed":6})").body);
    EXPECT_EQ(texts[1], json_string_value(openai_test::At(second.get(), {"choices", "0", "text"})))
        << "seed + i";
    auto events = Events(Stream(completions, asked + R"(,"stream":true})").body);
    for (uint32_t i = 0; i < 3; i++)
        EXPECT_EQ(texts[i], Streamed(events, i, false));
    EXPECT_EQ(1, std::count(events.begin(), events.end(), "[DONE]"));
}

TEST_F(OpenaiExchange, BatchesOfPromptsKeepTheirOrder)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    const std::string rest = R"(,"max_tokens":4,"temperature":0,"ignore_eos":true,"echo":true})";
    auto batch =
        Parse(Post(completions, R"({"prompt":["a","bc",[5,6,7],"d","e f","g"],"n":1)" + rest).body);
    ASSERT_EQ(6u, json_array_size(openai_test::At(batch.get(), {"choices"})));
    EXPECT_EQ("24", Text(batch.get(), {"usage", "completion_tokens"}));
    for (const char *i : {"0", "1", "3", "5"}) {
        EXPECT_EQ(i, Text(batch.get(), {"choices", i, "index"}));
        std::string prompt = std::string(i) == "0" ? "a" : std::string(i) == "1" ? "bc"
                           : std::string(i) == "3" ? "d" : "g";
        auto alone = Parse(Post(completions, "{\"prompt\":\"" + prompt + "\"" + rest).body);
        EXPECT_EQ(Text(alone.get(), {"choices", "0", "text"}),
                  Text(batch.get(), {"choices", i, "text"}));
        EXPECT_EQ(0u, Text(batch.get(), {"choices", i, "text"}).find("\"" + prompt));
    }
}

/* How evaluation tools score texts: nothing is sampled, every token of the prompt has its
 * log-probability, and the same as where the prompt is sampled from. */
TEST_F(OpenaiExchange, EchoedPromptsAreScored)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    const std::string rest = R"(,"echo":true,"logprobs":2,"temperature":0,"ignore_eos":true)";
    auto json = Parse(
        Post(completions, R"({"prompt":[[5,6,7,8],"hello"],"max_tokens":0)" + rest + "}").body);
    const json_t *scores = openai_test::At(json.get(), {"choices", "0", "logprobs"});
    EXPECT_EQ(4u, json_array_size(json_object_get(scores, "tokens"))) << Text(json.get(), {});
    ASSERT_EQ(4u, json_array_size(json_object_get(scores, "token_logprobs")));
    EXPECT_EQ("null", Text(scores, {"token_logprobs", "0"}));
    EXPECT_EQ("null", Text(scores, {"top_logprobs", "0"}));
    for (const char *i : {"1", "2", "3"}) {
        EXPECT_LE(json_number_value(openai_test::At(scores, {"token_logprobs", i})), 0);
        EXPECT_GE(json_object_size(openai_test::At(scores, {"top_logprobs", i})), 2u);
        EXPECT_LE(json_object_size(openai_test::At(scores, {"top_logprobs", i})), 3u);
    }
    EXPECT_EQ("\"length\"", Text(json.get(), {"choices", "0", "finish_reason"}));
    EXPECT_EQ("0", Text(json.get(), {"usage", "completion_tokens"}));
    EXPECT_EQ("\"hello\"", Text(json.get(), {"choices", "1", "text"}));
    auto one = Parse(Post(completions, R"({"prompt":[5,6,7,8],"max_tokens":1)" + rest + "}").body);
    EXPECT_EQ(5u,
              json_array_size(openai_test::At(one.get(), {"choices", "0", "logprobs", "tokens"})));
    for (const char *i : {"1", "2", "3"})
        EXPECT_EQ(Text(scores, {"token_logprobs", i}),
                  Text(one.get(), {"choices", "0", "logprobs", "token_logprobs", i}));
    auto events = Events(Stream(completions, R"({"prompt":[5,6,7,8],"max_tokens":1,"stream":true)" +
                                                 rest + "}").body);
    ASSERT_GE(events.size(), 3u);
    auto echo = Parse(events[0]);
    EXPECT_EQ(Text(scores, {"token_logprobs"}),
              Text(echo.get(), {"choices", "0", "logprobs", "token_logprobs"}));
}

TEST_F(OpenaiExchange, MaxTokensOfZeroNeedsNoEngine)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    auto json =
        Parse(Post(completions, R"({"prompt":["a","b"],"max_tokens":0,"echo":true,"n":2})").body);
    ASSERT_EQ(4u, json_array_size(openai_test::At(json.get(), {"choices"})));
    EXPECT_EQ("\"b\"", Text(json.get(), {"choices", "2", "text"}));
    EXPECT_EQ("2", Text(json.get(), {"usage", "prompt_tokens"}));
    auto events =
        Events(Stream(completions, R"({"prompt":"a","max_tokens":0,"stream":true})").body);
    EXPECT_EQ("", Streamed(events, 0, false));
    events = Events(Stream(chats, R"({"messages":[{"role":"user","content":"x"}],"max_tokens":0,)"
                                  R"("stream":true})").body);
    EXPECT_EQ("", Streamed(events, 0, true));
    EXPECT_EQ(0u, Stats().finished);
}

TEST_F(OpenaiExchange, StopTextsAndTokensAreTold)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    const std::string base = R"({"prompt":"sort: 3 1 2","max_tokens":30,"temperature":0,)"
                             R"("ignore_eos":true,"return_token_ids":true)";
    auto json = Parse(Post(completions, base + "}").body);
    std::string text = json_string_value(openai_test::At(json.get(), {"choices", "0", "text"}));
    ASSERT_GT(text.size(), 6u);
    json_t *stop = json_stringn(text.data() + 3, 3);
    auto stopped =
        Parse(Post(completions, base + ",\"stop\":" + openai_test::Dump(stop) + "}").body);
    EXPECT_EQ("\"stop\"", Text(stopped.get(), {"choices", "0", "finish_reason"}));
    EXPECT_EQ(openai_test::Dump(stop), Text(stopped.get(), {"choices", "0", "stop_reason"}));
    EXPECT_EQ(
        0u, text.find(json_string_value(openai_test::At(stopped.get(), {"choices", "0", "text"}))));
    auto events = Events(
        Stream(completions, base + ",\"stream\":true,\"stop\":" + openai_test::Dump(stop) + "}")
            .body);
    EXPECT_EQ(json_string_value(openai_test::At(stopped.get(), {"choices", "0", "text"})),
              Streamed(events, 0, false)) << "no part of it was shown";
    json_decref(stop);
    std::string third = Text(json.get(), {"choices", "0", "token_ids", "2"});
    stopped = Parse(Post(completions, base + ",\"stop_token_ids\":[" + third + "]}").body);
    EXPECT_EQ(third, Text(stopped.get(), {"choices", "0", "stop_reason"}));
}

TEST_F(OpenaiExchange, BiasesForceAndForbid)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    auto json = Parse(Post(completions, R"({"prompt":"x","max_tokens":3,"logit_bias":{"77":100},)"
                                        R"("return_token_ids":true,"ignore_eos":true})").body);
    EXPECT_EQ("[77,77,77]", Text(json.get(), {"choices", "0", "token_ids"}));
}

TEST_F(OpenaiExchange, StructuredOutputKeepsToItsGrammar)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    auto json =
        Parse(Post(completions, R"({"prompt":"x","max_tokens":40,"n":3,"seed":1,)"
                                R"("structured_outputs":{"choice":["yes","no","perhaps"]}})")
                  .body);
    for (const char *i : {"0", "1", "2"}) {
        std::string text = Text(json.get(), {"choices", i, "text"});
        EXPECT_TRUE(text == "\"yes\"" || text == "\"no\"" || text == "\"perhaps\"") << text;
        EXPECT_EQ("\"stop\"", Text(json.get(), {"choices", i, "finish_reason"}));
    }
    const std::string chat =
        R"({"messages":[{"role":"user","content":"x"}],"max_tokens":200,"seed":3,)"
        R"("response_format":{"type":"json_schema","json_schema":{"name":"n",)"
        R"("strict":true,"schema":{"type":"object","properties":{)"
        R"("ok":{"type":"boolean"},"k":{"enum":["a","b"]}},)"
        R"("required":["ok","k"],"additionalProperties":false}}})";
    auto whole = Parse(Post(chats, chat + "}").body);
    const json_t *content = openai_test::At(whole.get(), {"choices", "0", "message", "content"});
    ASSERT_NE(nullptr, content) << Text(whole.get(), {});
    auto object = Parse(json_string_value(content));
    EXPECT_TRUE(json_is_boolean(json_object_get(object.get(), "ok")));
    EXPECT_TRUE(json_is_string(json_object_get(object.get(), "k")));
    auto events = Events(Stream(chats, chat + ",\"stream\":true}").body);
    EXPECT_EQ(json_string_value(content), Streamed(events, 0, true));
    Refused(chats,
            R"({"messages":[{"role":"user","content":"x"}],"response_format":{"type":)"
            R"("json_schema","json_schema":{"schema":{"type":"string","multipleOf":2}}}})",
            400, "invalid_request_error", "invalid_value", "response_format");
}

/* ---- clients that go ---- */

TEST_F(OpenaiExchange, AClientThatGoesFreesEverything)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    Client &streaming = Connect().Send(Request("POST", completions, endless));
    ASSERT_TRUE(Until([&] { return !streaming.received.empty(); }));
    streaming.Close();
    EXPECT_TRUE(Until([&] { return Idle(); })) << "in the middle of a stream";

    Client &reset = Connect().Send(Request("POST", completions, endless));
    ASSERT_TRUE(Until([&] { return !reset.received.empty(); }));
    reset.Reset();
    EXPECT_TRUE(Until([&] { return Idle(); })) << "by a reset";

    std::string whole = endless;
    whole.replace(whole.find("\"stream\":true"), 13, "\"n\":6");
    Client &waiting = Connect().Send(Request("POST", completions, whole));
    ASSERT_TRUE(Until([&] { return Stats().now.running == 4 && Stats().now.waiting == 2; }));
    waiting.Close();
    EXPECT_TRUE(Until([&] { return Idle(); })) << "four run, two wait, nothing was said yet";
    EXPECT_EQ(0u, Stats().failed);
}

TEST_F(OpenaiExchange, AReaderThatStopsPausesItsRequests)
{
    limits_.output_bytes_high = 4096;
    thread_.engine.max_num_seqs = 5;
    ASSERT_NO_FATAL_FAILURE(StartReady());
    Client &client = Connect(65536);
    client.reads = false;
    client.Send(Request("POST", chats, endless_and_wide));
    ASSERT_TRUE(AllPaused());
    uint64_t so_far = Stats().generation_tokens;
    EXPECT_LT(so_far, 3600u);
    EXPECT_EQ(200, Post(completions, R"({"prompt":"y","max_tokens":3,"ignore_eos":true})").code)
        << "others go on";
    EXPECT_EQ(so_far + 3, Stats().generation_tokens);
    client.reads = true;
    ASSERT_TRUE(Until([&] {
        size_t n = client.received.size();
        return n > 5 && client.received.compare(n - 5, 5, "0\r\n\r\n") == 0;
    }));
    auto events = Events(Wait(client).body);
    for (uint32_t i = 0; i < 4; i++)
        EXPECT_FALSE(Streamed(events, i, true).empty());
    EXPECT_TRUE(Until([&] { return Idle(); }));
    EXPECT_EQ(3603u, Stats().generation_tokens);
}

TEST_F(OpenaiExchange, AReaderThatStopsForGoodIsCutOff)
{
    limits_.output_bytes_high = 4096;
    ASSERT_NO_FATAL_FAILURE(StartReady(1));
    Client &client = Connect(65536);
    client.reads = false;
    client.Send(Request("POST", chats, endless_and_wide));
    ASSERT_TRUE(AllPaused());
    requests_tick(requests_, clock_now_ns());
    EXPECT_EQ(4u, requests_live(requests_)) << "not yet";
    EXPECT_TRUE(Until([&] {
        requests_tick(requests_, clock_now_ns() + 2000000000u);
        return Idle();
    }));
    EXPECT_TRUE(Until([&] {
        client.reads = true;
        return client.over;
    })) << "its connection is cut";
}

TEST_F(OpenaiExchange, SilentStreamsArePinged)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    std::string four = endless;
    four.insert(four.size() - 1, ",\"n\":4");
    Client &busy = Connect().Send(Request("POST", completions, four));
    ASSERT_TRUE(Until([&] { return Stats().now.running == 4 && !busy.received.empty(); }));
    Client &queued = Connect().Send(Request("POST", completions, endless));
    ASSERT_TRUE(Until([&] { return Stats().now.waiting == 1; }));
    openai_tick(openai_, clock_now_ns() + OPENAI_PING_NS / 2);
    EXPECT_FALSE(Until([&] { return !queued.received.empty(); }, 0.05)) << "too early";
    openai_tick(openai_, clock_now_ns() + OPENAI_PING_NS + 1000000000u);
    ASSERT_TRUE(Until([&] { return queued.received.find(": ping\n\n") != std::string::npos; }));
    EXPECT_NE(std::string::npos, queued.received.find("text/event-stream"));
    busy.Close();
    EXPECT_NE(std::string::npos, Wait(queued).body.find("data: [DONE]\n\n")) << "and it goes on";
}

/* ---- what the server refuses ---- */

TEST_F(OpenaiExchange, AFullQueueTakesAllChoicesOrNone)
{
    thread_.max_queue = 0;
    thread_.submit_capacity = 8;
    ASSERT_NO_FATAL_FAILURE(StartReady());
    std::string many = endless;
    many.insert(many.size() - 1, ",\"n\":100");
    Reply reply = Post(completions, many);
    EXPECT_EQ(429, reply.code) << reply.body;
    EXPECT_NE("", reply.Header("Retry-After"));
    EXPECT_EQ("\"queue_full\"", Text(Parse(reply.body).get(), {"error", "code"}));
    EXPECT_EQ("\"rate_limit_error\"", Text(Parse(reply.body).get(), {"error", "type"}));
    EXPECT_TRUE(Until([&] { return Idle(); }));
}

/* What the engine refuses has its own code, in a stream too: nothing was sent before. */
TEST_F(OpenaiExchange, RefusalsOfTheEngineComeBeforeTheHeaders)
{
    thread_.engine.max_model_len = 1024;
    thread_.engine.max_num_seqs = 1;
    thread_.max_queue = 1;
    ASSERT_NO_FATAL_FAILURE(StartReady());
    Client &first = Connect().Send(Request("POST", completions, endless));
    ASSERT_TRUE(Until([&] { return Stats().now.running == 1; }));
    Connect().Send(Request("POST", completions, endless));
    ASSERT_TRUE(Until([&] { return Stats().now.waiting == 1; }));
    Reply third = Post(completions, endless);
    EXPECT_EQ(429, third.code) << third.body;
    EXPECT_EQ("application/json", third.Header("Content-Type"));
    EXPECT_NE("", third.Header("Retry-After"));
    first.Close();
}

TEST_F(OpenaiExchange, ACutOffIsSaid)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    Client &stream = Connect().Send(Request("POST", completions, endless));
    std::string whole = endless;
    whole.replace(whole.find("\"stream\":true"), 13, "\"n\":2");
    Client &silent = Connect().Send(Request("POST", completions, whole));
    ASSERT_TRUE(Until([&] { return !stream.received.empty() && requests_live(requests_) == 3; }));
    requests_cut_off(requests_);
    Reply reply = Wait(stream);
    auto events = Events(reply.body);
    ASSERT_FALSE(events.empty());
    auto error = Parse(events.back());
    EXPECT_EQ("\"unavailable_error\"", Text(error.get(), {"error", "type"})) << "and no [DONE]";
    EXPECT_EQ(503, Wait(silent).code);
    EXPECT_TRUE(Until([&] { return Idle(); }));
}

TEST_F(OpenaiExchange, IdsAreNeverTheSame)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    std::vector<std::string> ids;
    for (int i = 0; i < 5; i++)
        ids.push_back(Text(Parse(Post(completions, R"({"prompt":"a","max_tokens":0})").body).get(),
                           {"id"}));
    std::sort(ids.begin(), ids.end());
    EXPECT_EQ(ids.end(), std::unique(ids.begin(), ids.end()));
}

TEST_F(OpenaiExchange, ServersThatCloseEndEveryAnswer)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    Client &stream = Connect().Send(Request("POST", completions, endless));
    ASSERT_TRUE(Until([&] { return !stream.received.empty(); }));
    http_server_close(server_);
    server_ = nullptr;
    EXPECT_EQ(0u, openai_exchanges(openai_));
    EXPECT_EQ(0u, requests_live(requests_));
}

} // namespace
