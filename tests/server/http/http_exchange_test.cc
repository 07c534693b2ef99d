/* One request and its answer: what handlers are told, what clients get. */
#include <jansson.h>

#include "server/net/api_keys.h"
#include "tests/server/http/http_fixture.h"

namespace http_test
{
namespace
{

const std::string kHost = "Host: a\r\n";

std::string Post(const std::string &path, const std::string &body, const std::string &more = "")
{
    return "POST " + path + " HTTP/1.1\r\n" + kHost + more +
           "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

/* A field of the error in an answer's body. */
std::string ErrorField(const Answer &answer, const char *name)
{
    json_t *root = json_loads(answer.body.c_str(), 0, nullptr);
    json_t *field = json_object_get(json_object_get(root, "error"), name);
    std::string text = json_is_string(field) ? json_string_value(field)
                       : json_is_null(field) ? "null"
                                             : "absent";
    json_decref(root);
    return text;
}

TEST_F(Http, AnswersWithItsLengthAndDate)
{
    Open();
    Answer answer = Ask("GET /hello?x=1 HTTP/1.1\r\n" + kHost + "X-Request-Id: req 7\r\n\r\n");
    EXPECT_EQ(answer.code, 200);
    EXPECT_EQ(answer.body, "hello");
    EXPECT_EQ(answer.Header("Content-Length"), "5");
    EXPECT_EQ(answer.Header("Content-Type"), "text/plain");
    EXPECT_EQ(answer.Header("X-Request-Id"), "req 7");
    EXPECT_EQ(answer.Header("Date").size(), 29u);
    EXPECT_FALSE(answer.Has("Server"));
    EXPECT_FALSE(answer.Has("Connection"));
    answer = Ask("GET /hello HTTP/1.1\r\n" + kHost + "X-Request-Id: " + std::string(129, 'x') +
                 "\r\n\r\n");
    EXPECT_FALSE(answer.Has("X-Request-Id"));
}

TEST_F(Http, HandlersSeeTheRequest)
{
    Open({{"GET", "/models/*", false,
           [](http_exchange *x) {
               const char *absent = http_query(x, "absent");
               EXPECT_EQ(absent, nullptr);
               EXPECT_EQ(http_header(x, "absent"), nullptr);
               EXPECT_EQ(http_server_find(Self(x)->server_, http_id(x)), x);
               EXPECT_EQ(http_server_open_exchanges(Self(x)->server_), 1u);
               EXPECT_EQ(http_user(x), nullptr);
               EXPECT_EQ(std::string(http_peer(x)).find("127.0.0.1:"), 0u);
               size_t bytes;
               EXPECT_NE(http_body(x, &bytes), nullptr);
               EXPECT_EQ(bytes, 0u);
               Reply(x, std::string(http_path(x)) + "|" + http_rest(x) + "|" + http_query(x, "q") +
                            "|" + http_header(x, "accept"));
           },
           nullptr, nullptr, this}});
    Answer answer =
        Ask("GET http://x/models/org%2Fname?q=a+b HTTP/1.1\r\n" + kHost + "ACCEPT: */*\r\n\r\n");
    EXPECT_EQ(answer.body, "/models/org/name|org/name|a b|*/*");
    EXPECT_EQ(Ask("GET /models/?q= HTTP/1.1\r\n" + kHost + "Accept: x\r\n\r\n").body,
              "/models/|||x");
    EXPECT_EQ(http_server_open_exchanges(server_), 0u);
}

TEST_F(Http, BodiesComeWhole)
{
    Open();
    std::string body(300000, '\0');
    for (size_t i = 0; i < body.size(); i++)
        body[i] = static_cast<char>(i * 7 + i / 256);
    EXPECT_EQ(Ask(Post("/echo", body)).body, body);
    EXPECT_EQ(Ask(Post("/echo", "")).body, "");
    std::string chunked = "POST /echo HTTP/1.1\r\n" + kHost + "Transfer-Encoding: chunked\r\n\r\n";
    std::string expected = body.substr(0, 100000);
    for (size_t at = 0; at < expected.size(); at += 9999) {
        char size[20];
        std::string piece = expected.substr(at, 9999);
        snprintf(size, sizeof size, "%zX;ext=1\r\n", piece.size());
        chunked += size + piece + "\r\n";
    }
    Client &client = Connect();
    client.Send(chunked + "0\r\nContent-Length: 5\r\n\r\n");
    EXPECT_EQ(Get(client).body, expected);
    client.Send(Post("/echo", "again"));
    EXPECT_EQ(Get(client).body, "again") << "the connection goes on behind trailers";
}

TEST_F(Http, OneByteAtATime)
{
    Open();
    Client &client = Connect();
    std::string request =
        Post("/echo", "abc", "X: y\r\n") + "POST /echo HTTP/1.1\r\n" + kHost +
        "Transfer-Encoding: chunked\r\n\r\n2;e\r\nde\r\n1\r\nf\r\n0\r\nT: u\r\n\r\n";
    for (char byte : request) {
        client.Send(std::string(1, byte));
        Turn();
    }
    EXPECT_EQ(Get(client).body, "abc");
    EXPECT_EQ(Get(client).body, "def");
    EXPECT_EQ(client.received, "");
}

TEST_F(Http, HeadIsGetWithoutABody)
{
    Open();
    Client &client = Connect();
    client.Send("HEAD /hello HTTP/1.1\r\n" + kHost + "\r\nGET /hello HTTP/1.1\r\n" + kHost +
                "\r\n");
    Answer head = Get(client, true);
    EXPECT_EQ(head.code, 200);
    EXPECT_EQ(head.Header("Content-Length"), "5");
    EXPECT_EQ(Get(client).body, "hello");
    client.Send("HEAD /absent HTTP/1.1\r\n" + kHost + "\r\nHEAD /stream HTTP/1.1\r\n" + kHost +
                "\r\n");
    EXPECT_EQ(Get(client, true).code, 404);
    head = Get(client, true);
    EXPECT_EQ(head.Header("Content-Type"), "text/event-stream; charset=utf-8");
    http_exchange *x = Waiting();
    ASSERT_NE(x, nullptr);
    EXPECT_EQ(http_stream_write(x, "data", 4), STATUS_OK);
    http_stream_end(x);
    client.Send("GET /hello HTTP/1.1\r\n" + kHost + "\r\n");
    EXPECT_EQ(Get(client).body, "hello") << "no byte of the stream was sent";
}

TEST_F(Http, AnswersWithoutABody)
{
    Open({{"GET", "/none", false, [](http_exchange *x) { http_reply(x, 204, nullptr, nullptr, 0); },
           nullptr, nullptr, this},
          {"GET", "/same", false,
           [](http_exchange *x) {
               http_set_header(x, "ETag", "\"1\"");
               http_reply(x, 304, "text/html", "never sent", 10);
           },
           nullptr, nullptr, this}});
    Client &client = Connect();
    client.Send("GET /none HTTP/1.1\r\n" + kHost + "\r\nGET /same HTTP/1.1\r\n" + kHost +
                "\r\nGET /hello HTTP/1.1\r\n" + kHost + "\r\n");
    Answer none = Get(client), same = Get(client);
    EXPECT_EQ(none.code, 204);
    EXPECT_FALSE(none.Has("Content-Length"));
    EXPECT_EQ(same.code, 304);
    EXPECT_EQ(same.Header("ETag"), "\"1\"");
    EXPECT_FALSE(same.Has("Content-Type"));
    EXPECT_EQ(Get(client).body, "hello");
}

TEST_F(Http, Version10)
{
    Open();
    Client &client = Connect();
    client.Send("GET /hello HTTP/1.0\r\n\r\n");
    Answer answer = Get(client);
    EXPECT_EQ(answer.body, "hello");
    EXPECT_EQ(answer.Header("Connection"), "close");
    EXPECT_TRUE(Over(client));

    Client &kept = Connect();
    kept.Send("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    EXPECT_EQ(Get(kept).Header("Connection"), "keep-alive");
    kept.Send("GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    http_exchange *x = Waiting();
    ASSERT_NE(x, nullptr);
    EXPECT_EQ(http_stream_write(x, "raw", 3), STATUS_OK);
    EXPECT_EQ(http_stream_write(x, " bytes", 6), STATUS_OK);
    http_stream_end(x);
    answer = Get(kept);
    EXPECT_FALSE(answer.chunked);
    EXPECT_EQ(answer.body, "raw bytes") << "it ends with the connection";
    EXPECT_EQ(answer.Header("Connection"), "close");
}

TEST_F(Http, ContinueIsSaidWhenTheBodyIsWanted)
{
    config_.limits.body_bytes = 1000;
    Open();
    Client &client = Connect();
    client.Send("POST /echo HTTP/1.1\r\n" + kHost +
                "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    ASSERT_TRUE(Until([&] { return client.received == "HTTP/1.1 100 Continue\r\n\r\n"; }))
        << client.received;
    client.received.clear();
    client.Send("abc");
    EXPECT_EQ(Get(client).body, "abc");
    client.Send("GET /hello HTTP/1.1\r\n" + kHost + "Expect: 100-continue\r\n\r\n");
    EXPECT_EQ(Get(client).body, "hello") << "no body, no 100";
    client.Send("POST /echo HTTP/1.1\r\n" + kHost +
                "Expect: 100-continue\r\nContent-Length: 1001\r\n\r\n");
    EXPECT_EQ(Get(client).code, 413) << "refused before the body is sent";
    EXPECT_TRUE(Over(client));
    EXPECT_EQ(
        Ask("POST /echo HTTP/1.1\r\n" + kHost + "Expect: gift\r\nContent-Length: 1\r\n\r\n").code,
        417);
    Client &old = Connect();
    old.Send("POST /echo HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n");
    Turns();
    EXPECT_EQ(old.received, "") << "HTTP/1.0 does not know 100";
    old.Send("x");
    EXPECT_EQ(Get(old).body, "x");
}

TEST_F(Http, RoutesAndMethods)
{
    Open();
    Client &client = Connect();
    client.Send("GET /absent HTTP/1.1\r\n" + kHost + "\r\n");
    Answer answer = Get(client);
    EXPECT_EQ(answer.code, 404);
    EXPECT_EQ(answer.Header("Content-Type"), "application/json");
    EXPECT_EQ(ErrorField(answer, "code"), "not_found");
    EXPECT_EQ(ErrorField(answer, "type"), "invalid_request_error");
    EXPECT_EQ(ErrorField(answer, "param"), "null");
    client.Send(Post("/hello", "some body"));
    answer = Get(client);
    EXPECT_EQ(answer.code, 405);
    EXPECT_EQ(answer.Header("Allow"), "GET, HEAD");
    client.Send("DELETE /wait HTTP/1.1\r\n" + kHost + "\r\n");
    EXPECT_EQ(Get(client).Header("Allow"), "GET, HEAD, POST");
    client.Send("OPTIONS * HTTP/1.1\r\n" + kHost + "\r\n");
    EXPECT_EQ(Get(client).code, 404);
    client.Send("GET /hello/ HTTP/1.1\r\n" + kHost + "\r\n");
    EXPECT_EQ(Get(client).code, 404);
    client.Send("GET /%68ello HTTP/1.1\r\n" + kHost + "\r\n");
    EXPECT_EQ(Get(client).body, "hello") << "and after five errors the connection still serves";
}

TEST_F(Http, KeysAreAskedForEverywhereButWherePublic)
{
    api_keys *keys;
    ASSERT_EQ(api_keys_open(&keys, "sk-1", nullptr, nullptr), STATUS_OK);
    config_.keys = keys;
    Open();
    Client &client = Connect();
    for (const char *line :
         {"GET /hello", "GET /absent", "POST /health", "GET /health/", "GET /%2fhealth"}) {
        client.Send(std::string(line) + " HTTP/1.1\r\n" + kHost +
                    "Authorization: Bearer sk-2\r\n\r\n");
        Answer answer = Get(client);
        EXPECT_EQ(answer.code, 401) << line;
        EXPECT_EQ(answer.Header("WWW-Authenticate"), "Bearer");
        EXPECT_EQ(ErrorField(answer, "code"), "invalid_api_key");
        EXPECT_FALSE(answer.Has("Allow"));
    }
    client.Send("GET /health HTTP/1.1\r\n" + kHost + "\r\n");
    EXPECT_EQ(Get(client).body, "fine");
    client.Send("GET /hello HTTP/1.1\r\n" + kHost + "authorization: bearer sk-1\r\n\r\n");
    EXPECT_EQ(Get(client).body, "hello");
    client.Send("GET /hello HTTP/1.1\r\n" + kHost + "X-Api-Key: sk-1\r\n\r\n");
    EXPECT_EQ(Get(client).body, "hello");
    client.Send("GET /absent HTTP/1.1\r\n" + kHost + "X-Api-Key: sk-1\r\n\r\n");
    EXPECT_EQ(Get(client).code, 404);
    client.Send(Post("/echo", std::string(1000, 'x')));
    EXPECT_EQ(Get(client).code, 401);
    client.Send(Post("/echo", std::string(1000, 'x'), "X-Api-Key: sk-1\r\n"));
    EXPECT_EQ(Get(client).code, 200) << "a small refused body was thrown away";
    api_keys_close(keys);
}

TEST_F(Http, AStrangersBodyCostsNothing)
{
    Open();
    Client &client = Connect();
    client.Send("POST /absent HTTP/1.1\r\n" + kHost + "Content-Length: 1000000\r\n\r\n");
    EXPECT_EQ(Get(client).code, 404) << "said before the body has come";
    client.Send(std::string(200000, 'x'));
    EXPECT_TRUE(Over(client));
    EXPECT_FALSE(client.reset) << "the answer must not be lost to a reset";

    Client &chunked = Connect();
    chunked.Send("POST /absent HTTP/1.1\r\n" + kHost + "Transfer-Encoding: chunked\r\n\r\n");
    Turns();
    EXPECT_EQ(chunked.received, "") << "it may turn out to be small";
    chunked.Send("20000\r\n");
    EXPECT_EQ(Get(chunked).code, 404) << "it did not";
    EXPECT_TRUE(Over(chunked));
}

TEST_F(Http, BodiesHaveALimit)
{
    config_.limits.body_bytes = 1000;
    Open();
    Client &client = Connect();
    client.Send(Post("/echo", std::string(1000, 'x')));
    EXPECT_EQ(Get(client).code, 200);
    client.Send(Post("/echo", std::string(1001, 'x')));
    Answer answer = Get(client);
    EXPECT_EQ(answer.code, 413);
    EXPECT_EQ(ErrorField(answer, "code"), "body_too_large");
    client.Send(Post("/echo", "ok"));
    EXPECT_EQ(Get(client).body, "ok");
    client.Send("POST /echo HTTP/1.1\r\n" + kHost + "Content-Length: 99999999999999999999\r\n\r\n");
    EXPECT_EQ(Get(client).code, 413);
    EXPECT_TRUE(Over(client));
    Client &chunked = Connect();
    chunked.Send("POST /echo HTTP/1.1\r\n" + kHost + "Transfer-Encoding: chunked\r\n\r\n3e8\r\n" +
                 std::string(1000, 'x') + "\r\n1\r\n");
    EXPECT_EQ(Get(chunked).code, 413);
    EXPECT_TRUE(Over(chunked));
    Serves();
}

TEST_F(Http, BodiesOfAllTogetherHaveALimit)
{
    config_.limits.input_bytes = 100000;
    Open();
    Client &first = Connect(), &second = Connect();
    first.Send("POST /wait HTTP/1.1\r\n" + kHost + "Content-Length: 90000\r\n\r\n" +
               std::string(90000, 'x'));
    ASSERT_NE(Waiting(), nullptr);
    second.Send("POST /echo HTTP/1.1\r\n" + kHost + "Content-Length: 90000\r\n\r\n" +
                std::string(90000, 'x'));
    Answer answer = Get(second);
    EXPECT_EQ(answer.code, 503);
    EXPECT_TRUE(answer.Has("Retry-After"));
    http_reply(Waiting(), 200, "text/plain", "", 0);
    EXPECT_EQ(Get(first).code, 200);
    EXPECT_EQ(Ask(Post("/echo", std::string(90000, 'x'))).code, 200) << "the room was given back";
}

TEST_F(Http, HeadersHaveALimit)
{
    config_.limits.header_bytes = 1000;
    Open();
    Answer answer =
        Ask("GET /hello HTTP/1.1\r\n" + kHost + "X: " + std::string(2000, 'x') + "\r\n\r\n");
    EXPECT_EQ(answer.code, 431);
    EXPECT_EQ(answer.Header("Connection"), "close");
    answer = Ask("GET /" + std::string(5000, 'x'));
    EXPECT_EQ(answer.code, 431) << "said as soon as it is known";
    Serves();
}

TEST_F(Http, FailuresAreOfTheTable)
{
    Open({{"GET", "/full", false,
           [](http_exchange *x) {
               http_failure failure = {HTTP_QUEUE_FULL, "prompt", "say \"when\"\n"};
               http_fail(x, &failure);
           },
           nullptr, nullptr, this},
          {"GET", "/odd", false,
           [](http_exchange *x) {
               http_failure failure = {HTTP_BAD_VALUE, nullptr, "\xff\xfe"};
               http_fail(x, &failure);
           },
           nullptr, nullptr, this}});
    Answer answer = Ask("GET /full HTTP/1.1\r\n" + kHost + "\r\n");
    EXPECT_EQ(answer.code, 429);
    EXPECT_EQ(answer.body,
              "{\"error\":{\"message\":\"say \\\"when\\\"\\n\",\"type\":\"rate_limit_error\","
              "\"param\":\"prompt\",\"code\":\"queue_full\"}}");
    EXPECT_EQ(answer.Header("Retry-After"),
              std::to_string(http_problem_retry_after_s(HTTP_QUEUE_FULL)));
    answer = Ask("GET /odd HTTP/1.1\r\n" + kHost + "\r\n");
    EXPECT_EQ(answer.code, 400);
    EXPECT_EQ(ErrorField(answer, "message"), "")
        << "a message that JSON cannot hold is left out: " << answer.body;
}

TEST_F(Http, StreamsLeaveAtOnce)
{
    Open();
    Client &client = Connect();
    client.Send("GET /stream HTTP/1.1\r\n" + kHost + "\r\n");
    ASSERT_NE(Waiting(), nullptr);
    ASSERT_TRUE(Until([&] { return client.received.find("\r\n\r\n") != std::string::npos; }));
    for (const char *line :
         {"Content-Type: text/event-stream; charset=utf-8\r\n", "Cache-Control: no-cache\r\n",
          "X-Accel-Buffering: no\r\n", "Transfer-Encoding: chunked\r\n"})
        EXPECT_NE(client.received.find(line), std::string::npos) << line;
    for (int i = 0; i < 3; i++) {
        client.received.clear();
        http_exchange *x = Waiting();
        EXPECT_TRUE(http_stream_begun(x));
        EXPECT_EQ(http_stream_write(x, "data: x\n\n", 9), STATUS_OK);
        ASSERT_TRUE(Until([&] { return client.received == "9\r\ndata: x\n\n\r\n"; }, 1000))
            << client.received;
    }
    client.received.clear();
    EXPECT_EQ(http_stream_write(Waiting(), "", 0), STATUS_OK);
    Turns();
    EXPECT_EQ(client.received, "") << "an empty chunk would end the stream";
    http_stream_end(Waiting());
    ASSERT_TRUE(Until([&] { return client.received == "0\r\n\r\n"; }));
    client.received.clear();
    EXPECT_EQ(Waiting(), nullptr);
    EXPECT_TRUE(closed_.empty());
    client.Send("GET /hello HTTP/1.1\r\n" + kHost + "\r\n");
    EXPECT_EQ(Get(client).body, "hello");
}

TEST_F(Http, AClientThatDoesNotKeepUpHoldsTheStreamUp)
{
    config_.limits.output_bytes_high = 100000;
    Open();
    Client &client = Connect(4096);
    client.reads = false;
    client.Send("GET /stream HTTP/1.1\r\n" + kHost + "\r\n");
    ASSERT_NE(Waiting(), nullptr);
    size_t sent = FillUp(10000);
    EXPECT_TRUE(writable_.empty());
    EXPECT_EQ(http_stream_write(Waiting(), "", 0), STATUS_FULL) << "still";
    client.reads = true;
    ASSERT_TRUE(Until([&] { return !writable_.empty(); }));
    EXPECT_EQ(writable_.size(), 1u);
    EXPECT_EQ(http_stream_write(Waiting(), "end", 3), STATUS_OK);
    http_stream_end(Waiting());
    Answer answer = Get(client);
    EXPECT_EQ(answer.body.size(), sent + 3) << "what was FULL was taken";
    EXPECT_EQ(writable_.size(), 1u);
}

TEST_F(Http, AnAbortCutsTheStream)
{
    Open();
    for (const char *version : {"1.1", "1.0"}) {
        waiting_.clear();
        Client &client = Connect();
        client.Send(std::string("GET /stream HTTP/") + version + "\r\n" + kHost + "\r\n");
        ASSERT_NE(Waiting(), nullptr);
        EXPECT_EQ(http_stream_write(Waiting(), "part", 4), STATUS_OK);
        ASSERT_TRUE(Until([&] { return client.received.find("part") != std::string::npos; }));
        http_abort(Waiting());
        EXPECT_EQ(Waiting(), nullptr);
        EXPECT_TRUE(Over(client));
        EXPECT_TRUE(client.reset) << "the client must not take it for whole";
    }
    EXPECT_TRUE(closed_.empty());
    Serves();
}

TEST_F(Http, HandlersMayAbortInsideACallback)
{
    Open({{"GET", "/cut", false, [](http_exchange *x) { http_abort(x); }, nullptr, Closed, this},
          {"GET", "/short", false,
           [](http_exchange *x) {
               http_stream_begin(x, "text/plain");
               EXPECT_EQ(http_stream_write(x, "all", 3), STATUS_OK);
               http_stream_end(x);
           },
           nullptr, Closed, this}});
    Client &client = Connect();
    client.Send("GET /short HTTP/1.1\r\n" + kHost + "\r\n");
    EXPECT_EQ(Get(client).body, "all");
    client.Send("GET /cut HTTP/1.1\r\n" + kHost + "\r\nGET /hello HTTP/1.1\r\n" + kHost + "\r\n");
    EXPECT_TRUE(Over(client));
    EXPECT_EQ(client.received, "") << "what was sent ahead is not answered";
    EXPECT_TRUE(closed_.empty());
}

using HttpDeathTest = Http;

TEST_F(HttpDeathTest, BugsOfHandlersAreCaught)
{
    testing::FLAGS_gtest_death_test_style = "threadsafe";
    Open();
    Client &client = Connect();
    client.Send("GET /stream HTTP/1.1\r\n" + kHost + "\r\n");
    http_exchange *x = Waiting();
    ASSERT_NE(x, nullptr);
    EXPECT_DEATH(http_set_header(x, "A", "b"), "too late");
    EXPECT_DEATH(http_set_header(x, "A", "b\r\nC: d"), "header A");
    EXPECT_DEATH(http_reply(x, 200, "text/plain", "", 0), "too late");
    EXPECT_DEATH(http_rest(x), "no star");
}

} // namespace
} // namespace http_test
