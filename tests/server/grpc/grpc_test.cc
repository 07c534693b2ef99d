/* The server as a whole: opening, limits on connections, the drain, closing under load. */
#include "server/grpc/grpc.h"

#include "tests/server/wire_client.h"

namespace {

using wire::Framed;

class GrpcServer : public wire::ServerTest {
  protected:
    void OpenOne()
    {
        grpc_method echo = {}, wait = {};
        echo.path = "/t.T/Echo";
        echo.message = [](grpc_call *call, const uint8_t *bytes, size_t size) {
            (void)grpc_call_send(call, bytes, size);
            grpc_call_finish(call, GRPC_OK, nullptr);
        };
        wait.path = "/t.T/Wait";
        wait.context = this;
        wait.open = [](grpc_call *call) {
            auto *self = static_cast<GrpcServer *>(grpc_call_context(call));
            self->waiting_.push_back(grpc_call_id(call));
        };
        wait.closed = [](grpc_call *call, grpc_status status) {
            auto *self = static_cast<GrpcServer *>(grpc_call_context(call));
            self->closed_.push_back(status);
        };
        Open({echo, wait});
    }
    static void CloseServer(void *arg)
    {
        auto *self = static_cast<GrpcServer *>(arg);
        grpc_server_close(self->server_);
        self->server_ = nullptr;
    }
    void FinishAll()
    {
        for (uint64_t id : waiting_)
            if (grpc_call *call = grpc_server_find(server_, id))
                grpc_call_finish(call, GRPC_OK, nullptr);
    }
    std::vector<uint64_t> waiting_;
    std::vector<grpc_status> closed_;
    int drained_ = 0;
};

TEST_F(GrpcServer, OpenNamesWhatIsWrong)
{
    OpenOne();
    grpc_server_config config = {};
    config.base = base_;
    config.limits = limits_;
    grpc_server *other;
    struct error error = {};
    config.host = "no such host";
    EXPECT_EQ(grpc_server_open(&other, &config, nullptr, 0, &error), STATUS_INVALID);
    EXPECT_NE(std::string(error.text).find("no such host"), std::string::npos) << error.text;
    error = {};
    config.host = "127.0.0.1";
    config.port = grpc_server_port(server_);
    EXPECT_EQ(grpc_server_open(&other, &config, nullptr, 0, &error), STATUS_IO);
    EXPECT_NE(std::string(error.text).find(std::to_string(config.port)), std::string::npos);
    EXPECT_EQ(other, nullptr);
    grpc_server_close(nullptr);
}

TEST_F(GrpcServer, ConnectionsAreBounded)
{
    limits_.connections_max = 2;
    OpenOne();
    wire::Client &a = Connect(), &b = Connect(), &c = Connect();
    EXPECT_EQ(Unary(a, "/t.T/Echo", "x").status(), GRPC_OK);
    EXPECT_EQ(Unary(b, "/t.T/Echo", "x").status(), GRPC_OK);
    EXPECT_TRUE(Run([&] { return c.eof(); }));
    EXPECT_EQ(grpc_server_connections(server_), 2u);
}

TEST_F(GrpcServer, OneAddressDoesNotTakeAll)
{
    limits_.connections_per_ip_max = 1;
    OpenOne();
    wire::Client &a = Connect(), &b = Connect();
    EXPECT_EQ(Unary(a, "/t.T/Echo", "x").status(), GRPC_OK);
    EXPECT_TRUE(Run([&] { return b.eof(); }));
}

TEST_F(GrpcServer, DrainFinishesWhatIsOpen)
{
    OpenOne();
    wire::Client &busy = Connect(), &idle = Connect();
    int32_t id = busy.Call("/t.T/Wait", Framed("x"));
    Unary(idle, "/t.T/Echo", "x");
    ASSERT_TRUE(Run([&] { return waiting_.size() == 1; }));
    grpc_server_drain(server_, [](void *arg) { ++*static_cast<int *>(arg); }, &drained_);
    ASSERT_TRUE(Run([&] { return busy.goaways().size() == 2 && idle.eof(); }));
    EXPECT_EQ(busy.goaways()[0].first, 0x7fffffff);
    EXPECT_EQ(busy.goaways()[1].first, id);
    EXPECT_FALSE(Run([&] { return drained_ > 0; }, 0.3));
    FinishAll();
    ASSERT_TRUE(Run([&] { return drained_ > 0; }));
    EXPECT_EQ(busy.answer(id).status(), GRPC_OK);
    EXPECT_EQ(closed_, std::vector<grpc_status>{GRPC_OK});
    EXPECT_FALSE(Run([&] { return drained_ > 1; }, 0.3));
}

TEST_F(GrpcServer, DrainOfAnIdleServerIsTold)
{
    OpenOne();
    grpc_server_drain(server_, [](void *arg) { ++*static_cast<int *>(arg); }, &drained_);
    EXPECT_EQ(drained_, 0); /* from the loop only */
    EXPECT_TRUE(Run([&] { return drained_ == 1; }));
}

TEST_F(GrpcServer, MayBeClosedWhenDrained)
{
    OpenOne();
    wire::Client &client = Connect();
    Unary(client, "/t.T/Echo", "x");
    grpc_server_drain(server_, CloseServer, this);
    EXPECT_TRUE(Run([&] { return server_ == nullptr; }));
}

TEST_F(GrpcServer, CloseCancelsWhatIsOpen)
{
    OpenOne();
    wire::Client &client = Connect();
    for (int i = 0; i < 100; i++)
        client.Call("/t.T/Wait", Framed("x"));
    ASSERT_TRUE(Run([&] { return waiting_.size() == 100; }));
    grpc_server_close(server_);
    server_ = nullptr;
    EXPECT_EQ(closed_, std::vector<grpc_status>(100, GRPC_CANCELLED));
}

TEST(GrpcStatus, OfEveryStatus)
{
    EXPECT_EQ(grpc_status_of(STATUS_OK), GRPC_OK);
    EXPECT_EQ(grpc_status_of(STATUS_INVALID), GRPC_INVALID_ARGUMENT);
    EXPECT_EQ(grpc_status_of(STATUS_NOT_FOUND), GRPC_NOT_FOUND);
    EXPECT_EQ(grpc_status_of(STATUS_FULL), GRPC_RESOURCE_EXHAUSTED);
    EXPECT_EQ(grpc_status_of(STATUS_DEADLINE), GRPC_DEADLINE_EXCEEDED);
    EXPECT_EQ(grpc_status_of(STATUS_UNAVAILABLE), GRPC_UNAVAILABLE);
    EXPECT_EQ(grpc_status_of(STATUS_INTERNAL), GRPC_INTERNAL);
}

} // namespace
