/* Health checks in every state of a server. */
#include "tests/server/openai/openai_server.h"

namespace {

using openai_test::Parse;
using openai_test::Text;

class OpenaiHealth : public openai_test::Server {};

TEST_F(OpenaiHealth, OkWhileServing)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    for (const char *path : {"/health", "/v1/health", "/ping", "/readyz", "/livez"}) {
        Reply reply = Get(path);
        EXPECT_EQ(200, reply.code) << path;
        EXPECT_EQ("{\"status\":\"ok\"}", reply.body) << path;
    }
}

TEST_F(OpenaiHealth, LoadingSaysHowFarItIs)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    state_.phase = OPENAI_LOADING;
    state_.progress = 0.4217;
    for (const char *path : {"/health", "/v1/health", "/ping", "/readyz"}) {
        Reply reply = Get(path);
        EXPECT_EQ(503, reply.code) << path;
        EXPECT_EQ("5", reply.Header("Retry-After"));
        EXPECT_EQ(R"({"error":{"code":503,"message":"Loading model","type":"unavailable_error"},)"
                  R"("progress":0.422})", reply.body);
    }
    EXPECT_EQ(200, Get("/livez").code) << "it is alive";
}

TEST_F(OpenaiHealth, DrainingAndFailedAreNotReady)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    state_.phase = OPENAI_DRAINING;
    Reply reply = Get("/health");
    EXPECT_EQ(503, reply.code);
    EXPECT_EQ("\"Shutting down\"", Text(Parse(reply.body).get(), {"error", "message"}));
    EXPECT_EQ(503, Get("/readyz").code);
    EXPECT_EQ(200, Get("/livez").code);
    state_.phase = OPENAI_FAILED;
    snprintf(state_.detail, sizeof state_.detail, "no such \"file\"");
    reply = Get("/health");
    EXPECT_EQ(503, reply.code);
    EXPECT_EQ("\"no such \\\"file\\\"\"", Text(Parse(reply.body).get(), {"detail"}));
}

} // namespace
