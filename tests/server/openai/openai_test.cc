/* The table of routes: which there are, who may use them. */
#include "server/openai/openai.h"

#include <set>

#include "server/net/api_keys.h"
#include "tests/server/openai/openai_server.h"

namespace {

class Openai : public openai_test::Server {
  protected:
    ~Openai() override
    {
        http_server_close(server_);
        server_ = nullptr;
        api_keys_close(keys_);
    }
};

TEST_F(Openai, EveryRouteOfTheApiIsThere)
{
    ASSERT_EQ(STATUS_OK, openai_open(&openai_, &config_, nullptr));
    struct http_route routes[OPENAI_ROUTES];
    ASSERT_EQ((uint32_t)OPENAI_ROUTES, openai_routes(openai_, routes));
    std::set<std::string> all, open;
    for (const struct http_route &route : routes) {
        all.insert(std::string(route.method) + " " + route.path);
        if (route.is_public)
            open.insert(route.path);
        EXPECT_EQ(openai_, route.context);
        EXPECT_NE(nullptr, route.handle);
    }
    EXPECT_EQ(std::set<std::string>({"POST /v1/completions", "POST /v1/chat/completions",
                                     "GET /v1/models", "GET /v1/models/*", "POST /tokenize",
                                     "POST /detokenize", "POST /apply-template", "GET /health",
                                     "GET /v1/health", "GET /livez", "GET /readyz", "GET /version",
                                     "GET /ping"}), all);
    EXPECT_EQ(std::set<std::string>({"/health", "/livez", "/readyz"}), open) << "exactly these";
}

TEST_F(Openai, WithoutAKeyOnlyHealthAnswers)
{
    ASSERT_EQ(STATUS_OK, api_keys_open(&keys_, "secret-key", nullptr, nullptr));
    ASSERT_NO_FATAL_FAILURE(StartReady());
    for (const char *path : {"/health", "/livez", "/readyz"})
        EXPECT_EQ(200, Get(path).code) << path;
    for (const char *path : {"/v1/models", "/v1/models/x", "/v1/health", "/version", "/ping"})
        EXPECT_EQ(401, Get(path).code) << path;
    for (const char *path : {"/v1/completions", "/v1/chat/completions", "/tokenize", "/detokenize",
                             "/apply-template"})
        Refused(path, "{}", 401, "invalid_request_error", "invalid_api_key", "");
    EXPECT_EQ(200, Wait(Connect().Send(Request("GET", "/v1/models", "",
                                               "Authorization: Bearer secret-key\r\n"))).code);
}

TEST_F(Openai, OtherMethodsAndPathsAreNamed)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    EXPECT_EQ(405, Get("/v1/completions").code);
    EXPECT_EQ(405, Post("/health", "{}").code);
    EXPECT_EQ(404, Get("/v1/embeddings").code);
}

TEST_F(Openai, TicksWithoutWorkDoNothing)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    openai_tick(openai_, clock_now_ns() + 100000000000u);
    EXPECT_EQ(0u, openai_exchanges(openai_));
}

} // namespace
