/* One client: requests one after the other and sent ahead, clients that go, that are slow, that
 * are hostile. */
#include <algorithm>

#include "tests/server/http/http_fixture.h"

namespace http_test
{
namespace
{

const std::string kGet = " HTTP/1.1\r\nHost: a\r\n\r\n";

TEST_F(Http, KeepAlive)
{
    Open();
    Client &client = Connect();
    for (int i = 0; i < 20; i++) {
        client.Send("GET /hello" + kGet);
        EXPECT_EQ(Get(client).body, "hello");
    }
    client.Send("GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    EXPECT_EQ(Get(client).Header("Connection"), "close");
    EXPECT_TRUE(Over(client));
}

TEST_F(Http, WhatIsSentAheadIsAnsweredInOrder)
{
    Open();
    Client &client = Connect();
    client.Send("GET /wait" + kGet +
                "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /wait" + kGet +
                "GET /absent" + kGet + "GET /hello" + kGet);
    ASSERT_NE(Waiting(), nullptr);
    Turns();
    EXPECT_EQ(waiting_.size(), 1u) << "one at a time";
    EXPECT_EQ(client.received, "");
    http_reply(Waiting(), 200, "text/plain", "one", 3);
    EXPECT_EQ(Get(client).body, "one");
    EXPECT_EQ(Get(client).body, "abc");
    ASSERT_NE(Waiting(1), nullptr);
    EXPECT_EQ(client.received, "");
    http_reply(Waiting(1), 200, "text/plain", "two", 3);
    EXPECT_EQ(Get(client).body, "two");
    EXPECT_EQ(Get(client).code, 404);
    EXPECT_EQ(Get(client).body, "hello");
}

TEST_F(Http, FloodsWhileAnAnswerIsAwaitedWait)
{
    Open();
    Client &client = Connect();
    std::string many;
    for (int i = 0; i < 4000; i++)
        many += "GET /hello" + kGet;
    client.Send("GET /wait" + kGet + many);
    ASSERT_NE(Waiting(), nullptr);
    Turns();
    http_reply(Waiting(), 200, "text/plain", "first", 5);
    EXPECT_EQ(Get(client).body, "first");
    for (int i = 0; i < 4000; i++)
        ASSERT_EQ(Get(client).body, "hello") << i;
}

TEST_F(Http, NoMoreIsBegunThanTheClientTakes)
{
    Open();
    Client &client = Connect(4096);
    client.reads = false;
    std::string many;
    for (int i = 0; i < 100; i++)
        many += "GET /big" + kGet;
    client.Send(many);
    Turns(100);
    client.reads = true;
    for (int i = 0; i < 100; i++)
        ASSERT_EQ(Get(client).body.size(), 1u << 20) << i;
}

/* ---- clients that go ---- */

class Gone : public Http, public testing::WithParamInterface<const char *> {
  protected:
    void Go(Client &client)
    {
        std::string how = GetParam();
        if (how == "close")
            client.Close();
        else if (how == "reset")
            client.Reset();
        else if (how == "half-close")
            client.Shut();
        else { /* "flood": more than is read ahead, but all of it has come; then it goes */
            client.Send(std::string(100000, 'x'));
            ASSERT_TRUE(Until([&] { return client.AllSent(); }));
            Turns();
            client.Close();
        }
    }
    bool ClosedOnce(uint64_t id)
    {
        bool closed = Until([&] {
            Tick(0);
            return !closed_.empty();
        });
        Turns();
        return closed && closed_ == std::vector<uint64_t>{id} &&
               http_server_open_exchanges(server_) == 0;
    }
};

TEST_P(Gone, WhileItsAnswerIsAwaited)
{
    Open();
    Client &client = Connect();
    client.Send("GET /wait" + kGet);
    ASSERT_NE(Waiting(), nullptr);
    Turns();
    EXPECT_TRUE(closed_.empty());
    Go(client);
    EXPECT_TRUE(ClosedOnce(waiting_[0]));
    Serves();
}

TEST_P(Gone, InTheMiddleOfAStream)
{
    Open();
    Client &client = Connect();
    client.Send("GET /stream" + kGet);
    ASSERT_NE(Waiting(), nullptr);
    EXPECT_EQ(http_stream_write(Waiting(), "part", 4), STATUS_OK);
    Turns();
    Go(client);
    EXPECT_TRUE(ClosedOnce(waiting_[0]));
    Serves();
}

TEST_P(Gone, WithAnAnswerUnread)
{
    config_.limits.output_bytes_high = 50000;
    Open();
    Client &client = Connect(4096);
    client.reads = false;
    client.Send("GET /stream" + kGet);
    ASSERT_NE(Waiting(), nullptr);
    FillUp(10000);
    Go(client);
    EXPECT_TRUE(ClosedOnce(waiting_[0]));
    Serves();
}

TEST_P(Gone, InTheMiddleOfARequest)
{
    Open();
    for (const char *part :
         {"", "GET /wa", "POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 90000000\r\n\r\nabc",
          "POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 20000000\r\n\r\nabc",
          "POST /absent HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"}) {
        Client &client = Connect();
        client.Send(part);
        Turns(5);
        Go(client);
    }
    Turns();
    EXPECT_TRUE(waiting_.empty());
    EXPECT_TRUE(closed_.empty()) << "no handler has heard of it";
    Serves();
}

INSTANTIATE_TEST_SUITE_P(Ways, Gone, testing::Values("close", "reset", "half-close", "flood"),
                         [](const auto &way) {
                             std::string name = way.param;
                             name.erase(std::remove(name.begin(), name.end(), '-'), name.end());
                             return name;
                         });

TEST_F(Http, AHalfCloseBehindTheLastRequestStillGetsItsAnswer)
{
    Open();
    Client &client = Connect(4096);
    client.Send("GET /hello" + kGet + "GET /big" + kGet);
    client.Shut();
    EXPECT_EQ(Get(client).body, "hello");
    EXPECT_EQ(Get(client).body.size(), 1u << 20);
    EXPECT_TRUE(Over(client));
}

/* ---- time ---- */

TEST_F(Http, IdleConnectionsAreClosed)
{
    config_.limits.idle_timeout_s = 10;
    Open();
    Client &fresh = Connect(), &used = Connect(), &waits = Connect();
    used.Send("GET /hello" + kGet);
    EXPECT_EQ(Get(used).body, "hello");
    waits.Send("GET /wait" + kGet);
    ASSERT_NE(Waiting(), nullptr);
    Tick(9);
    Turns();
    EXPECT_FALSE(fresh.over || used.over);
    Tick(11);
    EXPECT_TRUE(Over(fresh) && Over(used));
    EXPECT_EQ(fresh.received + used.received, "");
    Turns();
    EXPECT_FALSE(waits.over) << "an answer may take as long as it takes";
    http_reply(Waiting(), 200, "text/plain", "", 0);
    EXPECT_EQ(Get(waits).code, 200);
}

TEST_F(Http, SlowRequestsAreRefused)
{
    config_.limits.idle_timeout_s = 10;
    Open();
    Client &head = Connect(), &body = Connect();
    head.Send("GET /hello HTTP/1.1\r\nHost: a\r\nX: ");
    body.Send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n");
    Turns();
    Tick(9);
    head.Send("a"); /* a byte now and then does not buy time */
    body.Send("a");
    Turns();
    EXPECT_EQ(head.received + body.received, "");
    Tick(11);
    for (Client *client : {&head, &body}) {
        EXPECT_EQ(Get(*client).code, 408);
        EXPECT_TRUE(Over(*client));
    }
    Serves();
}

TEST_F(Http, TimeForARequestBeginsWithItsFirstByte)
{
    config_.limits.idle_timeout_s = 1;
    Open();
    Client &client = Connect();
    Turns();
    usleep(700000);
    client.Send("GET /hello HTTP/1.1\r\n");
    Turns();
    usleep(500000);
    Tick(0);
    client.Send("Host: a\r\n\r\n");
    EXPECT_EQ(Get(client).body, "hello") << "1.2 s after it connected, 0.5 s after the first byte";
}

TEST_F(Http, ClientsThatTakeNothingAreDropped)
{
    config_.limits.write_timeout_s = 10;
    Open();
    Client &client = Connect(4096);
    client.reads = false;
    client.Send("GET /stream" + kGet);
    ASSERT_NE(Waiting(), nullptr);
    FillUp(100000);
    Turns();
    Tick(0); /* the tick that learns what had moved */
    Tick(0);
    Tick(9);
    EXPECT_TRUE(closed_.empty());
    Tick(21); /* by the clock of the ticks it has not moved since 9 */
    EXPECT_EQ(closed_.size(), 1u);
}

TEST_F(Http, AnAnswerIsNotDestroyedByAClientThatLingers)
{
    Open();
    Client &client = Connect();
    client.Send("GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" +
                std::string(100000, 'x'));
    EXPECT_EQ(Get(client).body, "hello");
    EXPECT_TRUE(Over(client));
    EXPECT_FALSE(client.reset);
    Tick(1);
    Turns();
    client.Send("x");
    Turns();
    EXPECT_FALSE(client.reset) << "the server waits for our side";
    Tick(3);
    Turns();
    client.Send("x");
    Turns();
    client.Send("x");
    EXPECT_TRUE(Until([&] { return client.reset || client.over; })) << "but not for ever";
}

/* ---- clients that break the rules: an error and an end, and the server goes on ---- */

TEST_F(Http, HostileRequests)
{
    Open();
    const std::string post = "POST /echo HTTP/1.1\r\nHost: a\r\n";
    const std::vector<std::pair<int, std::string>> cases = {
        {400, post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /hello" +
                  kGet},
        {400, post + "Content-Length: 0\r\nContent-Length: 40\r\n\r\nGET /hello" + kGet},
        {400, post + "Content-Length : 2\r\n\r\nabGET /hello" + kGet},
        {400, post + "X: a\r\n b\r\n\r\n"},
        {400, post + "Transfer-Encoding: chunked\r\n\r\n0x2\r\nab\r\n0\r\n\r\n"},
        {400, post + "Transfer-Encoding: chunked\r\n\r\n2\r\nab0\r\n\r\n"},
        {400, post + "Transfer-Encoding: chunked\r\n\r\nzz\r\n"},
        {413, post + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffff0\r\n"},
        {413, post + "Transfer-Encoding: chunked\r\n\r\n1;" + std::string(20000, 'e')},
        {413, post + "Transfer-Encoding: chunked\r\n\r\n0\r\nt: " + std::string(20000, 'e')},
        {501, post + "Transfer-Encoding: gzip\r\n\r\n"},
        {400, std::string("GET /hello HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", 38)},
        {400, "GET /hello HTTP/1.1\nHost: a\n\n"},
        {400, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"},
        {505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
        {400, "GET /hello HTTP/1.1\r\n\r\n"},
        {400, "GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"},
        {431, "GET /hello HTTP/1.1\r\n" + std::string(20000, 'x')},
        {431, "GET /hello HTTP/1.1\r\nHost: a\r\n" +
                  [] {
                      std::string flood;
                      for (int i = 0; i < 200; i++)
                          flood += "x: y\r\n";
                      return flood;
                  }() +
                  "\r\n"},
    };
    for (const auto &[code, text] : cases) {
        Client &client = Connect();
        client.Send(text);
        Answer answer = Get(client);
        EXPECT_EQ(answer.code, code) << text.substr(0, 200);
        EXPECT_EQ(answer.Header("Connection"), "close");
        EXPECT_TRUE(Over(client)) << text.substr(0, 200);
        EXPECT_EQ(client.received, "") << "nothing hidden behind it was answered";
        clients_.clear();
    }
    Serves();
}

TEST_F(Http, ResidueOfFuzzedBytes)
{
    Open();
    uint64_t state = 88172645463325252u;
    const std::string seed =
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    for (int i = 0; i < 300; i++) {
        std::string text = seed;
        for (int edits = 0; edits < 1 + i % 3; edits++) {
            state ^= state << 13, state ^= state >> 7, state ^= state << 17;
            text[state % text.size()] = static_cast<char>(state >> 32);
        }
        Client &client = Connect();
        client.Send(text);
        client.Shut();
        EXPECT_TRUE(Over(client)) << text;
        clients_.clear();
    }
    Turns();
    EXPECT_EQ(http_server_open_exchanges(server_), 0u);
    Serves();
}

} // namespace
} // namespace http_test
