/* Which requests become calls, and what the others are told. */
#include "server/grpc/grpc_call.h"

#include "server/net/api_keys.h"
#include "tests/server/wire_client.h"

namespace {

class GrpcAccept : public wire::ServerTest {
  protected:
    GrpcAccept()
    {
        grpc_method method = {};
        method.path = "/t.T/M";
        method.context = &opened_;
        method.open = [](grpc_call *call) { ++*static_cast<int *>(grpc_call_context(call)); };
        method.message = [](grpc_call *call, const uint8_t *bytes, size_t size) {
            (void)grpc_call_send(call, bytes, size);
            grpc_call_finish(call, GRPC_OK, nullptr);
        };
        limits_.header_bytes_max = 2000;
        Open({method});
    }
    int opened_ = 0;
};

TEST_F(GrpcAccept, Http)
{
    wire::Client &client = Connect();
    EXPECT_EQ(Unary(client, "/t.T/M", "", {}, {{":method", "PUT"}}).fields.at(":status"), "405");
    EXPECT_EQ(Unary(client, "/t.T/M", "", {}, {{"content-type", "text/plain"}})
                  .fields.at(":status"), "415");
    EXPECT_EQ(opened_, 0);
    EXPECT_EQ(Unary(client, "/t.T/M", "").fields.at(":status"), "200");
    EXPECT_EQ(opened_, 1);
}

TEST_F(GrpcAccept, Statuses)
{
    wire::Client &client = Connect();
    const std::vector<std::tuple<std::string, wire::Fields, int>> cases = {
        {"/t.T/M", {}, GRPC_OK},
        {"/t.T/N", {}, GRPC_UNIMPLEMENTED},
        {"/t.U/M", {}, GRPC_UNIMPLEMENTED},
        {"/T.T/M", {}, GRPC_UNIMPLEMENTED},
        {"/", {}, GRPC_UNIMPLEMENTED},
        {"/t.T/M", {{"grpc-timeout", "10S"}}, GRPC_OK},
        {"/t.T/M", {{"grpc-timeout", "10"}}, GRPC_INTERNAL},
        {"/t.T/M", {{"grpc-encoding", "identity"}}, GRPC_OK},
        {"/t.T/M", {{"grpc-encoding", "snappy"}}, GRPC_UNIMPLEMENTED},
        {"/t.T/M", {{"a-bin", "%"}}, GRPC_INTERNAL},
        {"/t.T/M", {{"a", std::string(2000, 'a')}}, GRPC_RESOURCE_EXHAUSTED},
    };
    for (auto &[path, extra, status] : cases)
        EXPECT_EQ(Unary(client, path, "", extra).status(), status)
            << path << " " << (extra.empty() ? "" : extra[0].first + extra[0].second);
    EXPECT_EQ(Unary(client, "/t.T/N", "").fields.at("grpc-message"), "unknown method");
    EXPECT_EQ(Unary(client, "/t.U/M", "").fields.at("grpc-message"), "unknown service");
    EXPECT_EQ(Unary(client, "/t.T/M", "", {{"grpc-encoding", "snappy"}})
                  .fields.at("grpc-accept-encoding"), "identity,gzip");
}

/* With keys: /t.T/M wants one, /t.T/Public does not. */
class GrpcKeys : public wire::ServerTest {
  protected:
    GrpcKeys()
    {
        auto answer = [](grpc_call *call, const uint8_t *, size_t) {
            grpc_call_finish(call, GRPC_OK, nullptr);
        };
        grpc_method methods[2] = {};
        methods[0].path = "/t.T/M";
        methods[0].message = answer;
        methods[1].path = "/t.T/Public";
        methods[1].is_public = true;
        methods[1].message = answer;
        grpc_server_config config = {};
        config.base = base_;
        config.host = "127.0.0.1";
        config.limits = limits_;
        EXPECT_EQ(api_keys_open(&keys_, "sk-1", nullptr, nullptr), STATUS_OK);
        config.keys = keys_;
        EXPECT_EQ(grpc_server_open(&server_, &config, methods, 2, nullptr), STATUS_OK);
    }
    ~GrpcKeys() override { api_keys_close(keys_); } /* no call is open any more */

    struct api_keys *keys_ = nullptr;
};

TEST_F(GrpcKeys, WhatIsNotPublicWantsAKey)
{
    wire::Client &client = Connect();
    EXPECT_EQ(Unary(client, "/t.T/M", "").status(), GRPC_UNAUTHENTICATED);
    EXPECT_EQ(Unary(client, "/t.T/M", "", {{"authorization", "Bearer sk-2"}}).status(),
              GRPC_UNAUTHENTICATED);
    EXPECT_EQ(Unary(client, "/t.T/M", "", {{"authorization", "Bearer sk-1"}}).status(),
              GRPC_OK);
    EXPECT_EQ(Unary(client, "/t.T/M", "", {{"x-api-key", "sk-1"}}).status(), GRPC_OK);
    EXPECT_EQ(Unary(client, "/t.T/Public", "").status(), GRPC_OK);
    EXPECT_EQ(Unary(client, "/t.T/Absent", "").status(), GRPC_UNAUTHENTICATED)
        << "not even which methods there are is told";
    EXPECT_EQ(Unary(client, "/t.T/Absent", "", {{"x-api-key", "sk-1"}}).status(),
              GRPC_UNIMPLEMENTED);
}

TEST(GrpcCalls, TwoMethodsOfOnePathAreRefused)
{
    grpc_method methods[2] = {};
    methods[0].path = methods[1].path = "/a.A/B";
    grpc_limits limits;
    grpc_limits_init(&limits);
    grpc_calls calls;
    struct error error = {};
    EXPECT_EQ(grpc_calls_open(&calls, nullptr, &limits, methods, 2, &error), STATUS_INVALID);
    EXPECT_NE(std::string(error.text).find("/a.A/B"), std::string::npos);
    grpc_calls_close(&calls);
}

TEST(GrpcCalls, TheTableGrowsAndForgets)
{
    grpc_limits limits;
    grpc_limits_init(&limits);
    grpc_calls calls;
    ASSERT_EQ(grpc_calls_open(&calls, nullptr, &limits, nullptr, 0, nullptr), STATUS_OK);
    std::vector<grpc_call *> all;
    for (int i = 0; i < 5000; i++) {
        all.push_back(grpc_call_begin(&calls, nullptr, "peer"));
        all.back()->opened = true;
        all.back()->over = true; /* nobody is told of its end */
    }
    EXPECT_EQ(calls.count, 5000u);
    EXPECT_GE(calls.bucket_count, 4096u);
    EXPECT_EQ(grpc_calls_find(&calls, 77), nullptr); /* over */
    all[76]->over = false;
    EXPECT_EQ(grpc_calls_find(&calls, 77), all[76]);
    all[76]->over = true;
    for (grpc_call *call : all)
        grpc_call_on_closed(call, false);
    EXPECT_EQ(calls.count, 0u);
    grpc_calls_close(&calls);
}

} // namespace
