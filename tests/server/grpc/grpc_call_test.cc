/* What a handler sees of a call: order of callbacks, ends of all kinds, back-pressure, finishing
 * from inside any callback. */
#include "server/grpc/grpc_call.h"

#include "tests/server/wire_client.h"

namespace {

using wire::Answer;
using wire::Framed;

/* Keeps a log of one method's callbacks and does what the test says in each. */
struct Probe {
    std::vector<std::string> log;
    std::vector<uint64_t> ids;
    std::function<void(grpc_call *)> on_open, on_half_close, on_writable;
    std::function<void(grpc_call *, const std::string &)> on_message;

    static Probe *Of(grpc_call *call) { return static_cast<Probe *>(grpc_call_context(call)); }
    grpc_method Method(const char *path, bool client_streaming, bool server_streaming)
    {
        grpc_method method = {};
        method.path = path;
        method.client_streaming = client_streaming;
        method.server_streaming = server_streaming;
        method.context = this;
        method.open = [](grpc_call *call) {
            Of(call)->log.push_back("open");
            Of(call)->ids.push_back(grpc_call_id(call));
            if (Of(call)->on_open)
                Of(call)->on_open(call);
        };
        method.message = [](grpc_call *call, const uint8_t *bytes, size_t size) {
            std::string text(reinterpret_cast<const char *>(bytes), size);
            Of(call)->log.push_back("message " + text.substr(0, 20));
            if (Of(call)->on_message)
                Of(call)->on_message(call, text);
        };
        method.half_close = [](grpc_call *call) {
            Of(call)->log.push_back("half_close");
            if (Of(call)->on_half_close)
                Of(call)->on_half_close(call);
        };
        method.writable = [](grpc_call *call) {
            Of(call)->log.push_back("writable");
            if (Of(call)->on_writable)
                Of(call)->on_writable(call);
        };
        method.closed = [](grpc_call *call, grpc_status status) {
            Of(call)->log.push_back("closed " + std::to_string(status));
        };
        return method;
    }
    long Count(const std::string &entry) const
    {
        return std::count(log.begin(), log.end(), entry);
    }
};

using Log = std::vector<std::string>;

class GrpcCall : public wire::ServerTest {
  protected:
    void OpenBoth()
    {
        Open(
            {unary_.Method("/t.T/Unary", false, false), stream_.Method("/t.T/Stream", true, true)});
    }
    static void Echo(grpc_call *call, const std::string &text)
    {
        (void)grpc_call_send(call, text.data(), text.size());
        grpc_call_finish(call, GRPC_OK, nullptr);
    }
    Probe unary_, stream_;
};

TEST_F(GrpcCall, UnaryGetsItsMessageAtTheClientsEnd)
{
    unary_.on_message = Echo;
    OpenBoth();
    wire::Client &client = Connect();
    int32_t id = client.Call("/t.T/Unary", Framed("hi"), false);
    EXPECT_FALSE(Run([&] { return unary_.log.size() > 1; }, 0.1));
    client.Write(id, "", true);
    ASSERT_TRUE(Run([&] { return client.answer(id).closed && unary_.log.size() == 3; }));
    EXPECT_EQ(client.answer(id).messages(), Log{"hi"});
    EXPECT_EQ(client.answer(id).status(), GRPC_OK);
    EXPECT_EQ(unary_.log, (Log{"open", "message hi", "closed 0"}));
}

TEST_F(GrpcCall, StreamCallbacksComeInOrder)
{
    stream_.on_message = [](grpc_call *call, const std::string &text) {
        (void)grpc_call_send(call, text.data(), text.size());
    };
    stream_.on_half_close = [](grpc_call *call) { grpc_call_finish(call, GRPC_OK, nullptr); };
    OpenBoth();
    wire::Client &client = Connect();
    int32_t id = client.Call("/t.T/Stream", Framed("a") + Framed("") + Framed("c"));
    ASSERT_TRUE(Run([&] { return client.answer(id).closed && stream_.log.size() == 6; }));
    EXPECT_EQ(stream_.log,
              (Log{"open", "message a", "message ", "message c", "half_close", "closed 0"}));
    EXPECT_EQ(client.answer(id).messages(), (Log{"a", "", "c"}));
}

TEST_F(GrpcCall, FinishFromInsideEachCallbackSilencesTheRest)
{
    auto finish = [](grpc_call *call) { grpc_call_finish(call, GRPC_ABORTED, "enough"); };
    OpenBoth();
    wire::Client &client = Connect();
    const std::string body = Framed("a") + Framed("b") + Framed("c");

    stream_.on_open = finish;
    int32_t id = client.Call("/t.T/Stream", body);
    ASSERT_TRUE(Run([&] { return client.answer(id).closed && stream_.log.size() == 2; }));
    EXPECT_EQ(stream_.log, (Log{"open", "closed 10"}));
    EXPECT_EQ(client.answer(id).fields.at("grpc-message"), "enough");

    stream_ = Probe();
    stream_.on_message = [&](grpc_call *call, const std::string &text) {
        if (text == "b")
            finish(call);
    };
    id = client.Call("/t.T/Stream", body);
    ASSERT_TRUE(Run([&] { return client.answer(id).closed && stream_.log.size() == 4; }));
    EXPECT_EQ(stream_.log, (Log{"open", "message a", "message b", "closed 10"}));

    stream_ = Probe();
    stream_.on_half_close = finish;
    id = client.Call("/t.T/Stream", "");
    ASSERT_TRUE(Run([&] { return client.answer(id).closed && stream_.log.size() == 3; }));
    EXPECT_EQ(stream_.log, (Log{"open", "half_close", "closed 10"}));
}

TEST_F(GrpcCall, AnEarlyEndResetsTheClientsHalf)
{
    stream_.on_open = [](grpc_call *call) { grpc_call_finish(call, GRPC_OK, nullptr); };
    OpenBoth();
    wire::Client &client = Connect();
    int32_t id = client.Call("/t.T/Stream", Framed("a"), false);
    ASSERT_TRUE(Run([&] { return client.answer(id).closed; }));
    EXPECT_TRUE(client.answer(id).ended);
    EXPECT_EQ(client.answer(id).error, NGHTTP2_NO_ERROR);
    EXPECT_EQ(client.answer(id).status(), GRPC_OK);
}

TEST_F(GrpcCall, CardinalityOfUnary)
{
    OpenBoth();
    wire::Client &client = Connect();
    for (const std::string &body : {std::string(), Framed("a") + Framed("b")}) {
        int32_t id = client.Call("/t.T/Unary", body);
        ASSERT_TRUE(Run([&] { return client.answer(id).closed; }));
        EXPECT_EQ(client.answer(id).status(), GRPC_UNIMPLEMENTED);
    }
    EXPECT_EQ(unary_.Count("closed 12"), 2);
    EXPECT_EQ(unary_.log.size(), 4u); /* and no message */
}

TEST_F(GrpcCall, ABrokenMessageEndsTheCallAtOnce)
{
    OpenBoth();
    wire::Client &client = Connect();
    int32_t id = client.Call("/t.T/Stream", Framed("a") + std::string("\7\0\0\0\1x", 6), false);
    ASSERT_TRUE(Run([&] { return client.answer(id).closed; }));
    EXPECT_EQ(client.answer(id).status(), GRPC_INTERNAL);
    EXPECT_EQ(stream_.log, (Log{"open", "message a", "closed 13"}));
    id = client.Call("/t.T/Stream", Framed("a") + std::string("\0\0\0", 3));
    ASSERT_TRUE(Run([&] { return client.answer(id).closed; }));
    EXPECT_EQ(client.answer(id).status(), GRPC_INTERNAL);
}

TEST_F(GrpcCall, UnfinishedRequestsShareABudget)
{
    limits_.input_bytes_max = 250000;
    OpenBoth();
    wire::Client &client = Connect();
    std::string half = Framed(std::string(200000, 'x')).substr(0, 120000);
    int32_t a = client.Call("/t.T/Unary", half, false), b = client.Call("/t.T/Unary", half, false);
    ASSERT_TRUE(Run([&] { return client.answer(a).closed || client.answer(b).closed; }));
    int32_t lost = client.answer(a).closed ? a : b, kept = lost == a ? b : a;
    EXPECT_EQ(client.answer(lost).status(), GRPC_RESOURCE_EXHAUSTED);
    unary_.on_message = Echo;
    client.Write(kept, Framed(std::string(200000, 'x')).substr(120000), true);
    ASSERT_TRUE(Run([&] { return client.answer(kept).closed; }));
    EXPECT_EQ(client.answer(kept).status(), GRPC_OK);
}

TEST_F(GrpcCall, ResetAndLossCancelAtOnce)
{
    OpenBoth();
    wire::Client &client = Connect();
    int32_t id = client.Call("/t.T/Stream", "", false);
    ASSERT_TRUE(Run([&] { return stream_.log.size() == 1; }));
    EXPECT_NE(grpc_server_find(server_, stream_.ids[0]), nullptr);
    client.Reset(id);
    ASSERT_TRUE(Run([&] { return stream_.Count("closed 1") == 1; }, 1));
    EXPECT_EQ(grpc_server_find(server_, stream_.ids[0]), nullptr);
    for (int i = 0; i < 5; i++)
        client.Call("/t.T/Stream", "", false);
    ASSERT_TRUE(Run([&] { return grpc_server_calls(server_) == 5; }));
    client.Disconnect();
    ASSERT_TRUE(Run([&] { return stream_.Count("closed 1") == 6; }, 1));
    EXPECT_EQ(grpc_server_calls(server_), 0u);
    EXPECT_EQ(grpc_server_connections(server_), 0u);
}

TEST_F(GrpcCall, IdsAreNeverUsedAgain)
{
    unary_.on_message = Echo;
    OpenBoth();
    wire::Client &client = Connect();
    for (int i = 0; i < 200; i++)
        Unary(client, "/t.T/Unary", "x");
    std::sort(unary_.ids.begin(), unary_.ids.end());
    EXPECT_EQ(std::unique(unary_.ids.begin(), unary_.ids.end()), unary_.ids.end());
}

TEST_F(GrpcCall, DeadlineEndsTheCallAndTellsBoth)
{
    uint64_t deadline = 0;
    stream_.on_open = [&](grpc_call *call) { deadline = grpc_call_deadline_ns(call); };
    OpenBoth();
    wire::Client &client = Connect();
    uint64_t start = clock_now_ns();
    int32_t id = client.Call("/t.T/Stream", "", false, {{"grpc-timeout", "80m"}});
    ASSERT_TRUE(Run([&] { return client.answer(id).closed; }));
    uint64_t took = clock_now_ns() - start;
    EXPECT_GE(took, 79000000u);
    EXPECT_GE(deadline, start + 80000000);
    EXPECT_EQ(client.answer(id).status(), GRPC_DEADLINE_EXCEEDED);
    EXPECT_EQ(stream_.log, (Log{"open", "closed 4"}));
    EXPECT_EQ(grpc_server_find(server_, stream_.ids[0]), nullptr);
}

/* At the deadline more is queued than the client's window takes. A client that reads on finds the
 * status behind it; one that does not is cut off. */
TEST_F(GrpcCall, AnExpiredCallTellsItsStatusToWhoeverReads)
{
    const std::string block(10000, 'b');
    stream_.on_half_close = [&](grpc_call *call) {
        for (int i = 0; i < 20; i++)
            (void)grpc_call_send(call, block.data(), block.size());
    };
    OpenBoth();
    for (bool reads : {true, false}) {
        stream_.log.clear();
        wire::Client &client = Connect(false);
        int32_t id = client.Call("/t.T/Stream", "", true, {{"grpc-timeout", "50m"}});
        ASSERT_TRUE(Run([&] { return stream_.Count("closed 4") == 1; })) << "at once";
        EXPECT_FALSE(client.answer(id).closed);
        ASSERT_TRUE(Run([&] {
            if (reads)
                client.Consume(id);
            return client.answer(id).closed;
        }));
        EXPECT_EQ(reads, client.answer(id).fields.count("grpc-status") == 1);
        if (reads) {
            EXPECT_EQ(client.answer(id).status(), GRPC_DEADLINE_EXCEEDED);
            EXPECT_EQ(client.answer(id).messages().size(), 20u);
        }
    }
}

TEST_F(GrpcCall, BackPressureOfASlowReader)
{
    size_t sent = 0;
    const std::string block(10000, 'b');
    auto produce = [&](grpc_call *call) {
        while (sent < 300) {
            enum status status = grpc_call_send(call, block.data(), block.size());
            sent++;
            if (status == STATUS_FULL)
                return;
            ASSERT_EQ(status, STATUS_OK);
        }
        grpc_call_finish(call, GRPC_OK, nullptr);
    };
    stream_.on_half_close = produce;
    stream_.on_writable = produce;
    OpenBoth();
    wire::Client &client = Connect(false);
    int32_t id = client.Call("/t.T/Stream", "");
    EXPECT_FALSE(Run([&] { return client.answer(id).closed; }, 0.2));
    EXPECT_LE(sent, (limits_.output_bytes_high + 65535) / block.size() + 2);
    EXPECT_GE(sent * block.size(), limits_.output_bytes_high);
    ASSERT_TRUE(Run([&] {
        client.Consume(id);
        return client.answer(id).closed;
    }));
    EXPECT_EQ(client.answer(id).messages().size(), 300u);
    EXPECT_EQ(client.answer(id).status(), GRPC_OK);
    EXPECT_GE(stream_.Count("writable"), 5);
}

TEST_F(GrpcCall, AWriterThatDoesNotReadIsHeldByItsWindow)
{
    size_t received = 0;
    stream_.on_message = [&](grpc_call *call, const std::string &text) {
        received++;
        (void)grpc_call_send(call, text.data(), text.size());
    };
    stream_.on_half_close = [](grpc_call *call) { grpc_call_finish(call, GRPC_OK, nullptr); };
    OpenBoth();
    wire::Client &client = Connect(false);
    std::string body;
    for (int i = 0; i < 400; i++)
        body += Framed(std::string(5000, static_cast<char>('a' + i % 26)));
    int32_t id = client.Call("/t.T/Stream", body);
    EXPECT_FALSE(Run([&] { return received == 400; }, 0.3));
    EXPECT_LE(received, (limits_.output_bytes_high + 65535) / 5000 + 2);
    ASSERT_TRUE(Run([&] {
        client.Consume(id);
        return client.answer(id).closed;
    }));
    EXPECT_EQ(received, 400u);
    EXPECT_EQ(client.answer(id).data, body);
}

TEST_F(GrpcCall, MetadataBothWays)
{
    stream_.on_open = [](grpc_call *call) {
        size_t bytes;
        const char *value = grpc_call_metadata(call, "in-bin", 1, &bytes);
        ASSERT_NE(value, nullptr);
        EXPECT_EQ(std::string(value, bytes), "\1");
        EXPECT_EQ(grpc_call_metadata(call, "in-bin", 2, &bytes), nullptr);
        EXPECT_EQ(std::string(grpc_call_peer(call)).find("127.0.0.1:"), 0u);
        EXPECT_EQ(grpc_call_send_metadata(call, false, "first", "1", 1), STATUS_OK);
        EXPECT_EQ(grpc_call_send_metadata(call, true, "last-bin", "\xff", 1), STATUS_OK);
        EXPECT_EQ(grpc_call_send_metadata(call, true, "grpc-status", "0", 1), STATUS_INVALID);
        EXPECT_EQ(grpc_call_send_headers(call), STATUS_OK);
        EXPECT_EQ(grpc_call_send_metadata(call, false, "late", "1", 1), STATUS_INVALID);
        grpc_call_finish(call, GRPC_UNKNOWN, "100% \xe2\x98\xba");
        grpc_call_finish(call, GRPC_OK, "ignored");
        EXPECT_EQ(grpc_call_send(call, "x", 1), STATUS_CANCELLED);
    };
    OpenBoth();
    wire::Client &client = Connect();
    int32_t id = client.Call("/t.T/Stream", "", true, {{"in-bin", "AA=="}, {"in-bin", "AQ"}});
    ASSERT_TRUE(Run([&] { return client.answer(id).closed; }));
    Answer answer = client.answer(id);
    EXPECT_EQ(answer.fields.at("first"), "1");
    EXPECT_EQ(answer.fields.at("last-bin"), "/w");
    EXPECT_EQ(answer.fields.at("grpc-message"), "100%25 %E2%98%BA");
    EXPECT_EQ(answer.status(), GRPC_UNKNOWN);
}

TEST_F(GrpcCall, ALongStatusMessageIsCutBetweenCharacters)
{
    std::string text(1023, 'x');
    text += "\xe2\x98\xba\xe2\x98\xba";
    unary_.on_message = [&](grpc_call *call, const std::string &) {
        grpc_call_finish(call, GRPC_INTERNAL, text.c_str());
    };
    OpenBoth();
    Answer answer = Unary(Connect(), "/t.T/Unary", "");
    EXPECT_EQ(answer.fields.at("grpc-message"), std::string(1023, 'x'));
}

} // namespace
