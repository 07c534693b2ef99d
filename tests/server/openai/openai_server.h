/* The whole way of an API call in one thread but the engine's: sockets, transport, service,
 * requests, the built-in model. Clients are those of the transport's tests. */
#ifndef MOERING_TESTS_SERVER_OPENAI_OPENAI_SERVER_H
#define MOERING_TESTS_SERVER_OPENAI_OPENAI_SERVER_H

#include <algorithm>

#include "server/openai/openai.h"
#include "tests/server/http/http_fixture.h"
#include "tests/server/openai/openai_answers.h"

namespace openai_test {

class Server : public testing::Test {
  protected:
    using Client = http_test::Client;
    using Reply = http_test::Answer;

    Server() : model_(TinyModel())
    {
        signal(SIGPIPE, SIG_IGN);
        base_ = event_base_new();
        http_limits_init(&limits_);
        config_.start_s = 1700000000;
        config_.state = [](void *arg, struct openai_state *out) {
            *out = static_cast<Server *>(arg)->state_;
        };
        config_.arg = this;
        openai_limits_init(&config_.limits);
        state_.phase = OPENAI_SERVING;
        engine_config_init(&thread_.engine);
        thread_.engine.threads = 1;
        thread_.engine.max_num_seqs = 4;
        thread_.engine.io = IO_SYNC;
        thread_.max_queue = 100;
    }
    ~Server() override
    {
        clients_.clear();
        http_server_close(server_);
        event_base_loop(base_, EVLOOP_NONBLOCK);
        if (news_)
            event_free(news_);
        openai_close(openai_);
        engine_thread_close(engine_);
        requests_close(requests_);
        event_base_free(base_);
    }

    void Start(uint32_t stall_timeout_s = 60)
    {
        thread_.engine.model = model_.c_str();
        struct requests_config requests = {};
        requests.served_name = "tiny/chat";
        requests.stall_timeout_s = stall_timeout_s;
        ASSERT_EQ(STATUS_OK, requests_open(&requests_, &requests, nullptr));
        ASSERT_EQ(STATUS_OK, openai_open(&openai_, &config_, nullptr));
        struct http_route routes[OPENAI_ROUTES];
        uint32_t count = openai_routes(openai_, routes);
        struct http_server_config server = {};
        server.base = base_;
        server.host = "127.0.0.1";
        server.limits = limits_;
        server.keys = keys_;
        struct error error = {};
        ASSERT_EQ(STATUS_OK, http_server_open(&server_, &server, routes, count, &error))
            << error.text;
        ASSERT_EQ(STATUS_OK, engine_thread_open(&engine_, &thread_, &error)) << error.text;
        requests_attach(requests_, engine_);
        openai_attach(openai_, server_, requests_);
        news_ = event_new(base_, engine_thread_fd(engine_), EV_READ | EV_PERSIST, OnNews, this);
        event_add(news_, nullptr);
    }
    void StartReady(uint32_t stall_timeout_s = 60)
    {
        ASSERT_NO_FATAL_FAILURE(Start(stall_timeout_s));
        ASSERT_TRUE(Until([&] { return engine_thread_state(engine_) != ENGINE_LOADING; }));
        ASSERT_EQ(ENGINE_READY, engine_thread_state(engine_)) << engine_thread_error(engine_);
    }
    static void OnNews(evutil_socket_t, short, void *arg)
    {
        auto *self = static_cast<Server *>(arg);
        engine_thread_flush(self->engine_);
        while (struct request_event *e = engine_thread_next(self->engine_)) {
            if (e->request && !e->change)
                requests_event(self->requests_, e);
            request_event_close(e);
        }
    }
    bool Until(const std::function<bool()> &done, double seconds = 60)
    {
        uint64_t end = clock_now_ns() + static_cast<uint64_t>(seconds * 1e9);
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
    Client &Connect(int receive_bytes = 0)
    {
        clients_.push_back(std::make_unique<Client>(http_server_port(server_), receive_bytes));
        return *clients_.back();
    }
    static std::string Request(const std::string &method, const std::string &path,
                               const std::string &body,
                               const std::string &more = "Content-Type: application/json\r\n")
    {
        return method + " " + path + " HTTP/1.1\r\nHost: test\r\n" + more +
               "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
    }
    Reply Wait(Client &client)
    {
        Reply reply;
        EXPECT_TRUE(Until([&] { return client.Take(&reply); })) << client.received;
        return reply;
    }
    Reply Post(const std::string &path, const std::string &body)
    {
        return Wait(Connect().Send(Request("POST", path, body)));
    }
    Reply Get(const std::string &path)
    {
        return Wait(Connect().Send(Request("GET", path, "", "")));
    }
    /* Posts, and expects this code, the type and the code of an error, and the field. */
    void Refused(const std::string &path, const std::string &body, int code,
                 const std::string &type, const std::string &word, const std::string &param)
    {
        Reply reply = Post(path, body);
        EXPECT_EQ(code, reply.code) << body << reply.body;
        auto json = Parse(reply.body);
        EXPECT_EQ("\"" + type + "\"", Text(json.get(), {"error", "type"})) << reply.body;
        EXPECT_EQ("\"" + word + "\"", Text(json.get(), {"error", "code"})) << reply.body;
        EXPECT_EQ(param.empty() ? "null" : "\"" + param + "\"",
                  Text(json.get(), {"error", "param"}))
            << reply.body;
        EXPECT_LT(2u, Text(json.get(), {"error", "message"}).size());
    }
    struct batcher_stats Stats()
    {
        struct engine_thread_stats stats;
        engine_thread_stats_read(engine_, &stats);
        return stats.batcher;
    }
    /* Nothing is left of any request. */
    bool Idle()
    {
        struct batcher_stats s = Stats();
        return requests_live(requests_) == 0 && openai_exchanges(openai_) == 0 &&
               s.now.running + s.now.waiting + s.now.kv_blocks_used == 0;
    }

    event_base *base_;
    struct http_limits limits_;
    struct openai_config config_ = {};
    struct openai_state state_ = {};
    struct engine_thread_config thread_ = {};
    struct api_keys *keys_ = nullptr;
    std::string model_;
    struct requests *requests_ = nullptr;
    struct openai *openai_ = nullptr;
    struct http_server *server_ = nullptr;
    struct engine_thread *engine_ = nullptr;
    struct event *news_ = nullptr;
    std::vector<std::unique_ptr<Client>> clients_;
};

} // namespace openai_test
#endif
