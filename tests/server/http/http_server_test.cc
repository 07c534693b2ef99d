/* The server: addresses, routes, limits of connections, drain, close. */
#include "server/net/tls.h"
#include "tests/server/http/http_fixture.h"
#include "tests/server/net/tls_client.h"

namespace http_test
{
namespace
{

const std::string kGet = " HTTP/1.1\r\nHost: a\r\n\r\n";

TEST_F(Http, ErrorsNameTheAddress)
{
    struct error error = {};
    config_.host = "300.0.0.1";
    EXPECT_EQ(http_server_open(&server_, &config_, nullptr, 0, &error), STATUS_INVALID);
    EXPECT_NE(std::string(error.text).find("300.0.0.1"), std::string::npos) << error.text;
    EXPECT_EQ(server_, nullptr);
    http_server_close(nullptr);
}

TEST_F(Http, TheExactRouteWinsThenTheLonger)
{
    auto say = [](http_exchange *x) { Reply(x, std::string("star ") + http_rest(x)); };
    Open({{"GET", "/*", false, say, nullptr, nullptr, this},
          {"GET", "/a/*", false, say, nullptr, nullptr, this},
          {"GET", "/a/b", false, [](http_exchange *x) { Reply(x, "exact"); }, nullptr, nullptr,
           this},
          {"POST", "/a/*", false, [](http_exchange *x) { Reply(x, "posted"); }, nullptr, nullptr,
           this}});
    EXPECT_EQ(Ask("GET /a/b" + kGet).body, "exact");
    EXPECT_EQ(Ask("GET /a/c" + kGet).body, "star c");
    EXPECT_EQ(Ask("GET /z/c" + kGet).body, "star z/c");
    EXPECT_EQ(Ask("POST /a/b" + kGet).body, "posted");
    EXPECT_EQ(Ask("GET /hello" + kGet).body, "hello");
    Answer answer = Ask("POST /z" + kGet);
    EXPECT_EQ(answer.code, 405);
    EXPECT_EQ(answer.Header("Allow"), "GET, HEAD");
}

TEST_F(Http, ConnectionsAreLimited)
{
    config_.limits.connections = 2;
    Open();
    Client &first = Connect(), &second = Connect(), &third = Connect();
    EXPECT_TRUE(Over(third));
    first.Send("GET /hello" + kGet);
    second.Send("GET /hello" + kGet);
    EXPECT_EQ(Get(first).code, 200);
    EXPECT_EQ(Get(second).code, 200);
    first.Close();
    Turns();
    Serves();
}

TEST_F(Http, ConnectionsPerAddressAreLimited)
{
    config_.limits.connections_per_ip = 1;
    Open();
    Client &first = Connect(), &second = Connect();
    EXPECT_TRUE(Over(second));
    first.Send("GET /hello" + kGet);
    EXPECT_EQ(Get(first).code, 200);
}

TEST_F(Http, IdsAreNeverUsedAgain)
{
    Open();
    for (int i = 0; i < 3; i++) {
        Client &client = Connect();
        client.Send("GET /wait" + kGet);
        ASSERT_NE(Waiting(static_cast<size_t>(i)), nullptr);
        client.Close();
        ASSERT_TRUE(Until([&] { return closed_.size() == static_cast<size_t>(i) + 1; }));
        EXPECT_EQ(http_server_find(server_, waiting_[static_cast<size_t>(i)]), nullptr);
    }
    EXPECT_LT(waiting_[0], waiting_[1]);
    EXPECT_LT(waiting_[1], waiting_[2]);
}

struct Drain {
    int calls = 0;
    static void Done(void *arg) { static_cast<Drain *>(arg)->calls++; }
};

TEST_F(Http, DrainOfAnIdleServer)
{
    Open();
    Drain drain;
    Client &idle = Connect();
    idle.Send("GET /hello" + kGet);
    EXPECT_EQ(Get(idle).code, 200);
    http_server_drain(server_, Drain::Done, &drain);
    EXPECT_EQ(drain.calls, 0) << "not from inside";
    EXPECT_TRUE(Over(idle));
    EXPECT_TRUE(Until([&] { return drain.calls == 1; }));
    http_server_drain(server_, Drain::Done, &drain);
    Turns();
    EXPECT_EQ(drain.calls, 1);
}

TEST_F(Http, DrainWaitsForAnswers)
{
    Open();
    Drain drain;
    Client &waits = Connect(), &streams = Connect(), &arrives = Connect();
    waits.Send("GET /wait" + kGet + "GET /hello" + kGet);
    ASSERT_NE(Waiting(), nullptr);
    streams.Send("GET /stream" + kGet);
    ASSERT_NE(Waiting(1), nullptr);
    arrives.Send("GET /hello HTTP/1.1\r\n");
    Turns();
    uint16_t port = http_server_port(server_);
    http_server_drain(server_, Drain::Done, &drain);
    Turns();
    EXPECT_EQ(drain.calls, 0);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_NE(connect(fd, reinterpret_cast<sockaddr *>(&address), sizeof address), 0)
        << "no new connection";
    close(fd);
    arrives.Send("Host: a\r\n\r\n");
    Answer answer = Get(arrives);
    EXPECT_EQ(answer.body, "hello") << "it was on its way";
    EXPECT_EQ(answer.Header("Connection"), "close");
    http_reply(Waiting(), 200, "text/plain", "late", 4);
    answer = Get(waits);
    EXPECT_EQ(answer.body, "late");
    EXPECT_EQ(answer.Header("Connection"), "close");
    EXPECT_TRUE(Over(waits));
    EXPECT_EQ(waits.received, "") << "what was sent ahead is not begun any more";
    EXPECT_EQ(drain.calls, 0);
    http_stream_end(Waiting(1));
    Get(streams);
    EXPECT_TRUE(Until([&] { return drain.calls == 1; }));
}

TEST_F(Http, DrainedMayCloseTheServer)
{
    Open();
    Client &client = Connect();
    client.Send("GET /big" + kGet);
    Turn();
    http_server_drain(
        server_,
        [](void *arg) {
            auto self = static_cast<Http *>(arg);
            http_server_close(self->server_);
            self->server_ = nullptr;
        },
        static_cast<Http *>(this));
    EXPECT_TRUE(Until([&] { return server_ == nullptr; }));
    Turns();
    if (!client.received.empty()) {
        EXPECT_EQ(Get(client).body.size(), 1u << 20) << "what was begun was sent whole";
    }
}

TEST_F(Http, Tls)
{
    scratch::Folder folder;
    tls_test::MakeCertificate(folder, "one");
    ASSERT_EQ(tls_open(&config_.tls, folder.path("one.crt").c_str(), folder.path("one.key").c_str(),
                       nullptr),
              STATUS_OK);
    Open();
    {
        tls_test::Client client(http_server_port(server_), "\10http/1.1");
        auto until = [&](const std::string &text) {
            return Until([&] {
                client.Turn();
                return client.received.find(text) != std::string::npos;
            });
        };
        client.Send("GET /hello" + kGet);
        EXPECT_TRUE(until("\r\n\r\nhello"));
        client.Send("GET /big" + kGet);
        EXPECT_TRUE(until(std::string(1 << 20, 'b')));
        client.Send("GET /stream" + kGet);
        ASSERT_TRUE(Until([&] {
            client.Turn();
            return waiting_.size() == 1;
        }));
        EXPECT_EQ(http_stream_write(Waiting(), "data: x\n\n", 9), STATUS_OK);
        EXPECT_TRUE(until("9\r\ndata: x\n\n\r\n"));
        EXPECT_TRUE(closed_.empty());
    }
    EXPECT_TRUE(Until([&] { return closed_.size() == 1; })) << "its client has gone";

    tls_test::Client last(http_server_port(server_));
    last.Send("GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    EXPECT_TRUE(Until([&] {
        last.Turn();
        return last.over;
    }));
    EXPECT_TRUE(last.clean_end) << "close_notify";
    Client &plain = Connect();
    plain.Send("GET /hello" + kGet);
    EXPECT_TRUE(Over(plain));
    EXPECT_EQ(plain.received.find("HTTP"), std::string::npos) << "no plain HTTP on this port";
    http_server_close(server_);
    server_ = nullptr;
    tls_close(config_.tls);
}

TEST_F(Http, CloseTellsEveryHandler)
{
    Open();
    Client &waits = Connect(), &streams = Connect(), &arrives = Connect();
    waits.Send("GET /wait" + kGet);
    ASSERT_NE(Waiting(), nullptr);
    streams.Send("GET /stream" + kGet);
    ASSERT_NE(Waiting(1), nullptr);
    arrives.Send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\na");
    Turns();
    http_server_close(server_);
    server_ = nullptr;
    EXPECT_EQ(closed_.size(), 2u);
}

} // namespace
} // namespace http_test
