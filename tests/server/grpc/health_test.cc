#include "server/grpc/health.h"

#include "tests/server/wire_client.h"

namespace {

using wire::Framed;

std::string Request(const std::string &service)
{
    return service.empty() ? "" : std::string("\x0a") + static_cast<char>(service.size()) + service;
}

class Health : public wire::ServerTest {
  protected:
    Health()
    {
        EXPECT_EQ(health_open(&health_), STATUS_OK);
        std::vector<grpc_method> methods(HEALTH_METHODS);
        health_methods(health_, methods.data());
        Open(methods);
    }
    void Cleanup() override { health_close(health_); }

    /* The status that Check answers, or minus the gRPC status. */
    int Check(wire::Client &client, const std::string &service)
    {
        wire::Answer answer = Unary(client, "/grpc.health.v1.Health/Check", Request(service));
        if (answer.status() != GRPC_OK)
            return -answer.status();
        return answer.messages().at(0).empty() ? 0 : answer.messages()[0][1];
    }
    int32_t Watch(wire::Client &client, const std::string &service)
    {
        return client.Call("/grpc.health.v1.Health/Watch", Framed(Request(service)));
    }
    /* Waits until the watch has told `count` statuses; returns them. */
    std::vector<int> Told(wire::Client &client, int32_t id, size_t count)
    {
        EXPECT_TRUE(Run([&] { return client.answer(id).messages().size() >= count; }));
        std::vector<int> out;
        for (const std::string &m : client.answer(id).messages())
            out.push_back(m.empty() ? 0 : m[1]);
        return out;
    }
    struct health *health_ = nullptr;
};

TEST_F(Health, Check)
{
    wire::Client &client = Connect();
    EXPECT_EQ(Check(client, ""), HEALTH_NOT_SERVING);
    EXPECT_EQ(Check(client, "a.B"), -GRPC_NOT_FOUND);
    ASSERT_EQ(health_set(health_, "", HEALTH_SERVING), STATUS_OK);
    ASSERT_EQ(health_set(health_, "a.B", HEALTH_NOT_SERVING), STATUS_OK);
    EXPECT_EQ(Check(client, ""), HEALTH_SERVING);
    EXPECT_EQ(Check(client, "a.B"), HEALTH_NOT_SERVING);
    EXPECT_EQ(Unary(client, "/grpc.health.v1.Health/Check", "\x0a\x01\xff").status(),
              GRPC_INVALID_ARGUMENT);
}

TEST_F(Health, WatchTellsEachChangeOnce)
{
    wire::Client &client = Connect();
    int32_t whole = Watch(client, ""), late = Watch(client, "late.Service");
    EXPECT_EQ(Told(client, whole, 1), std::vector<int>{2});
    EXPECT_EQ(Told(client, late, 1), std::vector<int>{3});
    for (auto status : {HEALTH_SERVING, HEALTH_SERVING, HEALTH_NOT_SERVING})
        ASSERT_EQ(health_set(health_, "", status), STATUS_OK);
    ASSERT_EQ(health_set(health_, "late.Service", HEALTH_SERVING), STATUS_OK);
    EXPECT_EQ(Told(client, whole, 3), (std::vector<int>{2, 1, 2}));
    EXPECT_EQ(Told(client, late, 2), (std::vector<int>{3, 1}));
    EXPECT_FALSE(client.answer(whole).closed);
    client.Reset(whole);
    ASSERT_TRUE(Run([&] { return grpc_server_calls(server_) == 1; }));
    ASSERT_EQ(health_set(health_, "", HEALTH_SERVING), STATUS_OK); /* nobody listens: no harm */
}

TEST_F(Health, DrainReleasesWatchers)
{
    wire::Client &client = Connect();
    ASSERT_EQ(health_set(health_, "", HEALTH_SERVING), STATUS_OK);
    int32_t id = Watch(client, "");
    EXPECT_EQ(Told(client, id, 1), std::vector<int>{1});
    health_drain(health_);
    ASSERT_TRUE(Run([&] { return client.answer(id).closed; }));
    EXPECT_EQ(Told(client, id, 2), (std::vector<int>{1, 2}));
    EXPECT_EQ(client.answer(id).status(), GRPC_UNAVAILABLE);
    ASSERT_EQ(health_set(health_, "", HEALTH_SERVING), STATUS_OK);
    EXPECT_EQ(Check(client, ""), HEALTH_NOT_SERVING);
    id = Watch(client, "");
    ASSERT_TRUE(Run([&] { return client.answer(id).closed; }));
    EXPECT_EQ(client.answer(id).status(), GRPC_UNAVAILABLE);
}

} // namespace
