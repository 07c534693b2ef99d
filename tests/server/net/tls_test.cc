#include "server/net/tls.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <gtest/gtest.h>

#include <csignal>
#include <functional>
#include <memory>

#include "memory/base/clock.h"
#include "server/grpc/grpc.h"
#include "server/net/listener.h"
#include "tests/server/net/tls_client.h"

namespace
{

const char kHttp1[] = "\10http/1.1", kHttp2[] = "\2h2";

class Tls : public testing::Test {
  public:
    Tls()
    {
        signal(SIGPIPE, SIG_IGN);
        base_ = event_base_new();
        tls_test::MakeCertificate(folder_, "one");
        tls_test::MakeCertificate(folder_, "two");
    }
    ~Tls() override
    {
        clients_.clear();
        grpc_server_close(grpc_);
        listener_close(listener_);
        for (bufferevent *bev : accepted_)
            bufferevent_free(bev);
        event_base_loop(base_, EVLOOP_NONBLOCK);
        event_base_free(base_);
        tls_close(tls_);
    }
    enum status Open(const std::string &cert, const std::string &key)
    {
        tls_close(tls_);
        error_ = {};
        return tls_open(&tls_, folder_.path(cert).c_str(), folder_.path(key).c_str(), &error_);
    }
    bool Says(const std::string &text) const
    {
        return std::string(error_.text).find(text) != std::string::npos;
    }
    /* A listener that answers "agreed" or "not agreed", and shuts. */
    void Listen(enum tls_protocol protocol)
    {
        protocol_ = protocol;
        ASSERT_EQ(Open("one.crt", "one.key"), STATUS_OK) << error_.text;
        ASSERT_EQ(listener_open(&listener_, base_, "127.0.0.1", 0, OnAccept, this, &error_),
                  STATUS_OK);
        listener_set_tls(listener_, tls_, protocol);
    }
    tls_test::Client &Connect(const std::string &alpn = "", int newest = TLS1_3_VERSION)
    {
        uint16_t port = listener_ ? listener_port(listener_) : grpc_server_port(grpc_);
        clients_.push_back(std::make_unique<tls_test::Client>(port, alpn, newest));
        return *clients_.back();
    }
    bool Until(const std::function<bool()> &done, int ms = 5000)
    {
        uint64_t end = clock_now_ns() + static_cast<uint64_t>(ms) * 1000000;
        while (!done()) {
            if (clock_now_ns() > end)
                return false;
            event_base_loop(base_, EVLOOP_NONBLOCK);
            for (auto &client : clients_)
                client->Turn();
            usleep(200);
        }
        return true;
    }
    std::string Answer(tls_test::Client &client)
    {
        EXPECT_TRUE(Until([&] { return client.over; }));
        return client.received;
    }
    static void OnAccept(void *arg, bufferevent *bev, const listener_peer *)
    {
        auto self = static_cast<Tls *>(arg);
        self->accepted_.push_back(bev);
        EXPECT_FALSE(tls_agreed(bev, self->protocol_)) << "the handshake is still to come";
        bufferevent_setcb(bev, nullptr, OnSent, OnEvent, self);
        bufferevent_enable(bev, EV_READ | EV_WRITE);
    }
    static void OnEvent(bufferevent *bev, short what, void *arg)
    {
        auto self = static_cast<Tls *>(arg);
        if (what & BEV_EVENT_CONNECTED) {
            self->handshakes_++;
            evbuffer_add_printf(bufferevent_get_output(bev), "%s",
                                tls_agreed(bev, self->protocol_) ? "agreed" : "not agreed");
        }
    }
    static void OnSent(bufferevent *bev, void *)
    {
        if (evbuffer_get_length(bufferevent_get_output(bev)) == 0) {
            tls_shutdown(bev);
            shutdown(bufferevent_getfd(bev), SHUT_WR);
        }
    }

    event_base *base_;
    scratch::Folder folder_;
    tls *tls_ = nullptr;
    listener *listener_ = nullptr;
    grpc_server *grpc_ = nullptr;
    enum tls_protocol protocol_ = TLS_HTTP1;
    int handshakes_ = 0;
    std::vector<bufferevent *> accepted_;
    std::vector<std::unique_ptr<tls_test::Client>> clients_;
    struct error error_ = {};
};

TEST_F(Tls, RefusalsNameTheFlagAndTheFile)
{
    tls_test::MakeCertificate(folder_, "locked", "secret");
    folder_.write("empty", std::string());
    folder_.write("text",
                  std::string("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"));
    EXPECT_EQ(Open("absent.crt", "one.key"), STATUS_NOT_FOUND);
    EXPECT_TRUE(Says("--ssl-certfile") && Says("absent.crt")) << error_.text;
    EXPECT_EQ(Open("one.crt", "absent.key"), STATUS_NOT_FOUND);
    EXPECT_TRUE(Says("--ssl-keyfile") && Says("absent.key")) << error_.text;
    EXPECT_EQ(Open("", "one.key"), STATUS_IO) << "a folder";
    for (const char *bad : {"empty", "text", "one.key"}) {
        EXPECT_EQ(Open(bad, "one.key"), STATUS_INVALID) << bad;
        EXPECT_TRUE(Says("--ssl-certfile") && Says(bad)) << error_.text;
    }
    for (const char *bad : {"empty", "one.crt", "locked.key", "two.key"}) {
        EXPECT_EQ(Open("one.crt", bad), STATUS_INVALID) << bad;
        EXPECT_TRUE(Says("--ssl-keyfile") && Says(bad)) << error_.text;
    }
    EXPECT_EQ(Open("locked.crt", "locked.key"), STATUS_INVALID)
        << "and nobody is asked for the passphrase";
    EXPECT_EQ(tls_, nullptr);
    EXPECT_EQ(Open("one.crt", "one.key"), STATUS_OK) << error_.text;
}

TEST_F(Tls, Http1MayBeLeftUnsaid)
{
    Listen(TLS_HTTP1);
    EXPECT_EQ(Answer(Connect()), "agreed");
    tls_test::Client &both = Connect(std::string(kHttp2) + kHttp1);
    EXPECT_EQ(Answer(both), "agreed");
    EXPECT_EQ(both.Protocol(), "http/1.1");
    tls_test::Client &other = Connect(kHttp2);
    EXPECT_EQ(Answer(other), "");
    EXPECT_EQ(handshakes_, 2) << "told in the handshake";
}

TEST_F(Tls, Http2MustBeAgreedOn)
{
    Listen(TLS_HTTP2);
    tls_test::Client &both = Connect(std::string(kHttp1) + kHttp2);
    EXPECT_EQ(Answer(both), "agreed");
    EXPECT_EQ(both.Protocol(), "h2");
    EXPECT_EQ(Answer(Connect()), "not agreed");
    EXPECT_EQ(Answer(Connect(kHttp1)), "");
}

TEST_F(Tls, OldVersionsAreRefused)
{
    Listen(TLS_HTTP1);
    EXPECT_EQ(Answer(Connect("", TLS1_1_VERSION)), "");
    EXPECT_EQ(handshakes_, 0);
    EXPECT_EQ(Answer(Connect("", TLS1_2_VERSION)), "agreed");
}

TEST_F(Tls, AnEndIsSaid)
{
    Listen(TLS_HTTP1);
    tls_test::Client &client = Connect();
    EXPECT_EQ(Answer(client), "agreed");
    EXPECT_TRUE(client.clean_end) << "a client can tell the end from a cut";
}

TEST_F(Tls, IsReadAgain)
{
    Listen(TLS_HTTP1);
    tls_test::Client &before = Connect();
    EXPECT_EQ(Answer(before), "agreed");
    EXPECT_EQ(before.Subject(), "one");
    folder_.write("one.crt", folder_.read("two.crt"));
    EXPECT_EQ(tls_reload(tls_, &error_), STATUS_INVALID) << "the key is still that of one";
    tls_test::Client &still = Connect();
    EXPECT_EQ(Answer(still), "agreed");
    EXPECT_EQ(still.Subject(), "one");
    folder_.write("one.key", folder_.read("two.key"));
    error_ = {};
    EXPECT_EQ(tls_reload(tls_, &error_), STATUS_OK) << error_.text;
    tls_test::Client &after = Connect();
    EXPECT_EQ(Answer(after), "agreed");
    EXPECT_EQ(after.Subject(), "two");
}

TEST_F(Tls, PlainBuffereventsHaveNothingToAgreeOn)
{
    bufferevent *bev = bufferevent_socket_new(base_, -1, 0);
    EXPECT_TRUE(tls_agreed(bev, TLS_HTTP2));
    tls_shutdown(bev);
    bufferevent_free(bev);
    tls_close(nullptr);
}

TEST_F(Tls, GrpcSpeaksOnlyAfterH2IsAgreedOn)
{
    ASSERT_EQ(Open("one.crt", "one.key"), STATUS_OK) << error_.text;
    grpc_server_config config = {};
    config.base = base_;
    config.host = "127.0.0.1";
    config.tls = tls_;
    grpc_limits_init(&config.limits);
    ASSERT_EQ(grpc_server_open(&grpc_, &config, nullptr, 0, &error_), STATUS_OK) << error_.text;
    tls_test::Client &client = Connect(kHttp2);
    client.Send(std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 33));
    const std::string acknowledgement("\0\0\0\4\1\0\0\0\0", 9);
    EXPECT_TRUE(Until([&] { return client.received.find(acknowledgement) != std::string::npos; }));
    EXPECT_EQ(client.Protocol(), "h2");
    EXPECT_EQ(client.received.substr(3, 1), "\4") << "SETTINGS come first";

    tls_test::Client &silent = Connect();
    EXPECT_EQ(Answer(silent), "") << "without ALPN nghttp2 never sees it";
    EXPECT_EQ(Answer(Connect(kHttp1)), "");
    EXPECT_TRUE(Until([&] { return grpc_server_connections(grpc_) == 1; }));
}

} // namespace
