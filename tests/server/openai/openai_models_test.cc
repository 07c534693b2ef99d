/* GET /v1/models, /v1/models/{id}, /version. */
#include "tests/server/openai/openai_server.h"

namespace {

using openai_test::Parse;
using openai_test::Text;

class OpenaiModels : public openai_test::Server {};

TEST_F(OpenaiModels, TheOneModelIsListed)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    Reply reply = Get("/v1/models");
    EXPECT_EQ(200, reply.code);
    EXPECT_EQ("application/json", reply.Header("Content-Type"));
    EXPECT_EQ(R"({"object":"list","data":[{"id":"tiny/chat","object":"model","created":1700000000,)"
              R"("owned_by":"moering","root":"tiny","parent":null,"max_model_len":1024}]})",
              reply.body);
}

TEST_F(OpenaiModels, OneModelByItsName)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    auto list = Parse(Get("/v1/models").body);
    for (const char *path : {"/v1/models/tiny/chat", "/v1/models/tiny%2Fchat"}) {
        Reply reply = Get(path);
        EXPECT_EQ(200, reply.code) << path;
        EXPECT_EQ(Text(list.get(), {"data", "0"}), reply.body);
    }
    Reply other = Get("/v1/models/gpt-4");
    EXPECT_EQ(404, other.code);
    EXPECT_EQ(R"({"error":{"message":"the model 'gpt-4' is not served here, 'tiny/chat' is",)"
              R"("type":"invalid_request_error","param":"model","code":"model_not_found"}})",
              other.body);
}

TEST_F(OpenaiModels, UnavailableWithoutAModel)
{
    model_ = "/nowhere/model";
    ASSERT_NO_FATAL_FAILURE(Start());
    for (const char *path : {"/v1/models", "/v1/models/tiny/chat"}) {
        Reply reply = Get(path);
        EXPECT_EQ(503, reply.code) << path;
        EXPECT_NE("", reply.Header("Retry-After"));
    }
}

TEST_F(OpenaiModels, TheVersionIsThePrograms)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    EXPECT_EQ("{\"version\":\"" MOERING_VERSION "\"}", Get("/version").body);
}

} // namespace
