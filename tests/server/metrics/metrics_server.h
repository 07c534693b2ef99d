/* The whole way of a figure in one thread but the engine's: a small engine, requests, routes,
 * sockets. Clients are those of the transport's tests. */
#ifndef MOERING_TESTS_SERVER_METRICS_METRICS_SERVER_H
#define MOERING_TESTS_SERVER_METRICS_METRICS_SERVER_H

#include <jansson.h>

#include <atomic>

#include "server/metrics/metrics_http.h"
#include "tests/server/http/http_fixture.h"
#include "tests/server/toy_engine.h"

namespace metrics_test {

class Server : public testing::Test {
  protected:
    using Client = http_test::Client;
    using Answer = http_test::Answer;

    Server()
    {
        signal(SIGPIPE, SIG_IGN);
        base_ = event_base_new();
        http_limits_init(&limits_);
        request_metrics_init(&request_metrics_, 128);
        thread_.engine = folder_.config;
        thread_.engine.device_experts.kind = ROOM_PAGES;
        thread_.engine.device_experts.pages = 12; /* half of them */
        thread_.engine.budget_line = OnBudget; /* on the engine thread, while it loads */
        thread_.engine.arg = this;
        thread_.max_queue = 100;
    }
    /* Called by the last class's destructor. */
    void Stop()
    {
        held_ = false;
        clients_.clear();
        http_server_close(server_);
        event_base_loop(base_, EVLOOP_NONBLOCK);
        CloseRoutes();
        if (requests_)
            requests_cut_off(requests_);
        engine_thread_close(engine_);
        requests_close(requests_);
        event_base_free(base_);
    }
    virtual uint32_t OpenRoutes(struct http_route *out) = 0;
    virtual void Attach() = 0;
    virtual void CloseRoutes() = 0;

    static void OnBudget(const char *, void *arg)
    {
        while (static_cast<Server *>(arg)->held_)
            usleep(1000);
    }
    /* `held`: goes on loading until held_ is false. */
    void Start(bool held = false)
    {
        struct error error = {};
        struct http_route routes[METRICS_ROUTES_MAX];
        held_ = held;
        struct requests_config requests = {};
        requests.served_name = served_name_;
        requests.stall_timeout_s = 60;
        requests.metrics = &request_metrics_;
        ASSERT_EQ(STATUS_OK, requests_open(&requests_, &requests, &error));
        uint32_t count = OpenRoutes(routes);
        struct http_server_config config = {};
        config.base = base_;
        config.host = "127.0.0.1";
        config.limits = limits_;
        ASSERT_EQ(STATUS_OK, http_server_open(&server_, &config, routes, count, &error))
            << error.text;
        ASSERT_EQ(STATUS_OK, engine_thread_open(&engine_, &thread_, &error)) << error.text;
        requests_attach(requests_, engine_);
        Attach();
    }
    void StartReady()
    {
        ASSERT_NO_FATAL_FAILURE(Start());
        ASSERT_TRUE(Until([&] { return engine_thread_state(engine_) != ENGINE_LOADING; }));
        ASSERT_EQ(ENGINE_READY, engine_thread_state(engine_)) << engine_thread_error(engine_);
    }
    void Turn()
    {
        event_base_loop(base_, EVLOOP_NONBLOCK);
        engine_thread_flush(engine_);
        while (struct request_event *e = engine_thread_next(engine_)) {
            if (e->request)
                requests_event(requests_, e);
            request_event_close(e);
        }
        for (auto &client : clients_)
            client->Turn();
    }
    bool Until(const std::function<bool()> &done, double seconds = 30)
    {
        uint64_t end = clock_now_ns() + static_cast<uint64_t>(seconds * 1e9);
        while (!done()) {
            if (clock_now_ns() > end)
                return false;
            Turn();
            usleep(200);
        }
        return true;
    }
    void Pass(double seconds)
    {
        EXPECT_FALSE(Until([] { return false; }, seconds));
    }
    Client &Connect()
    {
        clients_.push_back(std::make_unique<Client>(http_server_port(server_)));
        return *clients_.back();
    }
    Client &Send(const std::string &path, const std::string &headers = "")
    {
        return Connect().Send("GET " + path + " HTTP/1.1\r\nHost: a\r\n" + headers + "\r\n");
    }
    Answer Get(const std::string &path, const std::string &headers = "")
    {
        Answer answer;
        Client &client = Send(path, headers);
        EXPECT_TRUE(Until([&] { return client.Take(&answer); })) << client.received;
        return answer;
    }
    /* A request of nobody in particular. */
    void Submit(uint32_t tokens)
    {
        static const struct request_sink deaf = {[](void *, const struct request_event *) {},
                                                 [](void *, enum request_cut_off, const char *) {},
                                                 nullptr};
        struct request *made = requests_new(requests_), *r = toy_engine::make(made->id, 5, tokens);
        request_close(made);
        ASSERT_EQ(STATUS_OK, requests_submit(requests_, r, &deaf, ""));
    }
    bool Idle() { return requests_live(requests_) == 0; }

    toy_engine::Folder folder_;
    event_base *base_;
    struct http_limits limits_;
    struct engine_thread_config thread_ = {};
    const char *served_name_ = nullptr;
    std::atomic<bool> held_{false};
    struct request_metrics request_metrics_;
    struct requests *requests_ = nullptr;
    struct http_server *server_ = nullptr;
    struct engine_thread *engine_ = nullptr;
    std::vector<std::unique_ptr<Client>> clients_;
};

struct Json {
    explicit Json(const std::string &text)
        : root(json_loadb(text.data(), text.size(), JSON_REJECT_DUPLICATES, nullptr))
    {
        EXPECT_NE(nullptr, root) << text;
    }
    ~Json() { json_decref(root); }
    Json(const Json &) = delete;
    Json &operator=(const Json &) = delete;
    json_t *at(const char *key) const { return json_object_get(root, key); }
    double number(const char *key) const { return json_number_value(at(key)); }
    std::string text(const char *key) const
    {
        const char *s = json_string_value(at(key));
        return s ? s : "";
    }
    json_t *root;
};

} // namespace metrics_test
#endif
