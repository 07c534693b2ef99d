/* link: server_core server_openai */
/* Servers on real sockets when memory runs out on the thread that serves: the client gets its
 * whole answer, an error or a closed connection, never silence and never half an answer that
 * looks whole; and the next one is served. */
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <gtest/gtest.h>
#include <moering/v1/moering.pb-c.h>
#include <sys/resource.h>

#include <string>

#include "server/grpc/grpc.h"
#include "server/moering_v1/moering_v1.h"
#include "server/net/listener.h"
#include "tests/faults/sweep.h"
#include "tests/server/http/http_fixture.h"
#include "tests/server/openai/openai_server.h"
#include "tests/server/toy_engine.h"
#include "tests/server/wire_client.h"

namespace {

faults::Rules told_on_the_wire()
{
    faults::Rules rules;
    rules.says_why = false;
    return rules;
}

class HttpFaults : public http_test::Http {
protected:
    /* One request on a connection of its own. */
    enum status ask(const std::string &request, const std::string &body)
    {
        http_test::Client *client;
        {
            faults::Pause pause;
            clients_.clear();
            client = &Connect().Send(request);
        }
        http_test::Answer answer;
        bool whole = false;
        auto ended = [&] { return (whole = whole || client->Take(&answer)) || client->over; };
        EXPECT_TRUE(Until(ended));
        faults::Pause pause;
        whole = whole || client->Take(&answer);
        if (whole && answer.code == 200) {
            EXPECT_EQ(answer.body, body);
        }
        Serves();
        clients_.clear();
        Turns(2);
        return whole && answer.code == 200 ? STATUS_OK : STATUS_NO_MEMORY;
    }
};

TEST_F(HttpFaults, AWholeAnswerOrNone)
{
    Open();
    std::string body(9000, 'x'), chunks;
    for (int i = 0; i < 9; i++)
        chunks += "3e8\r\n" + body.substr(0, 1000) + "\r\n";
    faults::sweep("HTTP, a body with a length", [&](struct error *) {
        return ask("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n" + body, body);
    }, told_on_the_wire());
    faults::sweep("HTTP, a body in chunks", [&](struct error *) {
        return ask("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks +
                       "0\r\n\r\n",
                   body);
    }, told_on_the_wire());
}

class GrpcFaults : public wire::ServerTest {};

TEST_F(GrpcFaults, AWholeAnswerOrAStatus)
{
    grpc_method echo = {};
    echo.path = "/t.T/Echo";
    echo.message = [](grpc_call *call, const uint8_t *bytes, size_t size) {
        (void)grpc_call_send(call, bytes, size);
        grpc_call_finish(call, GRPC_OK, nullptr);
    };
    Open({echo});
    std::string message(5000, 'm');
    faults::sweep("gRPC, a unary call", [&](struct error *) {
        wire::Client *client;
        int32_t id;
        {
            faults::Pause pause;
            clients_.clear();
            client = &Connect();
            id = client->Call("/t.T/Echo", wire::Framed(message), true, {{"x-mine", "abc"}}, {});
        }
        auto ended = [&] { return client->answer(id).closed || client->eof(); };
        EXPECT_TRUE(Run(ended, 10));
        faults::Pause pause;
        const wire::Answer &answer = client->answer(id);
        bool ok = answer.closed && answer.status() == GRPC_OK;
        if (ok) {
            EXPECT_EQ(answer.messages(), std::vector<std::string>{message});
        }
        clients_.clear();
        EXPECT_EQ(Unary(Connect(), "/t.T/Echo", "next").status(), GRPC_OK);
        clients_.clear();
        EXPECT_TRUE(Run([&] { return grpc_server_calls(server_) == 0; }, 10));
        return ok ? STATUS_OK : STATUS_NO_MEMORY;
    }, told_on_the_wire());
}

/* Generate over gRPC: the tokens of a stream, all of them or a status that says otherwise. */
class GenerateFaults : public wire::ServerTest {
protected:
    void Start()
    {
        struct requests_config accepted = {"toy", 60, nullptr};
        ASSERT_EQ(requests_open(&requests_, &accepted, nullptr), STATUS_OK);
        struct moering_v1_config config = {};
        config.requests = requests_;
        ASSERT_EQ(moering_v1_open(&service_, &config, nullptr), STATUS_OK);
        std::vector<grpc_method> methods(MOERING_V1_METHODS);
        moering_v1_methods(service_, methods.data());
        Open(methods);
        struct engine_thread_config thread = {};
        thread.engine = folder_.config;
        thread.max_queue = 10;
        ASSERT_EQ(engine_thread_open(&engine_, &thread, nullptr), STATUS_OK);
        requests_attach(requests_, engine_);
        moering_v1_attach(service_, server_, engine_);
        news_ = event_new(base_, engine_thread_fd(engine_), EV_READ | EV_PERSIST, OnNews, this);
        event_add(news_, nullptr);
        ASSERT_TRUE(Run([&] { return engine_thread_state(engine_) == ENGINE_READY; }));
    }
    static void OnNews(evutil_socket_t, short, void *arg)
    {
        auto *self = static_cast<GenerateFaults *>(arg);
        engine_thread_flush(self->engine_);
        while (struct request_event *e = engine_thread_next(self->engine_)) {
            if (e->request && !e->change)
                requests_event(self->requests_, e);
            request_event_close(e);
        }
    }
    void Cleanup() override
    {
        if (news_)
            event_free(news_);
        engine_thread_close(engine_);
        moering_v1_close(service_);
        requests_close(requests_);
    }
    static std::string Question()
    {
        Moering__V1__GenerateRequest m;
        Moering__V1__TokenIds ids;
        moering__v1__generate_request__init(&m);
        moering__v1__token_ids__init(&ids);
        uint32_t prompt[] = {3, 1, 4, 1, 5};
        ids.ids = prompt;
        ids.n_ids = 5;
        m.prompt_case = MOERING__V1__GENERATE_REQUEST__PROMPT_TOKENS;
        m.tokens = &ids;
        m._max_tokens_case = MOERING__V1__GENERATE_REQUEST___MAX_TOKENS_MAX_TOKENS;
        m.max_tokens = 6;
        m.top_logprobs = 2;
        m.ignore_eos = true;
        std::string out(protobuf_c_message_get_packed_size(&m.base), '\0');
        protobuf_c_message_pack(&m.base, reinterpret_cast<uint8_t *>(&out[0]));
        return out;
    }
    static size_t Tokens(const wire::Answer &answer)
    {
        size_t tokens = 0;
        for (const std::string &m : answer.messages()) {
            auto *chunk = moering__v1__generate_chunk__unpack(
                nullptr, m.size(), reinterpret_cast<const uint8_t *>(m.data()));
            EXPECT_TRUE(chunk);
            tokens += chunk ? chunk->n_tokens : 0;
            if (chunk)
                moering__v1__generate_chunk__free_unpacked(chunk, nullptr);
        }
        return tokens;
    }

    toy_engine::Folder folder_;
    struct requests *requests_ = nullptr;
    struct moering_v1 *service_ = nullptr;
    struct engine_thread *engine_ = nullptr;
    struct event *news_ = nullptr;
};

TEST_F(GenerateFaults, AllTokensOrAStatus)
{
    ASSERT_NO_FATAL_FAILURE(Start());
    const std::string question = Question();
    faults::Rules rules = told_on_the_wire();
    rules.spared_max = 2; /* headers sent early: they go with the first message */
    faults::sweep("gRPC, Generate", [&](struct error *) {
        wire::Client *client;
        int32_t id;
        {
            faults::Pause pause;
            clients_.clear();
            client = &Connect();
            id = client->Call("/moering.v1.Moering/Generate", wire::Framed(question));
        }
        auto ended = [&] { return client->answer(id).closed || client->eof(); };
        EXPECT_TRUE(Run(ended, 20));
        faults::Pause pause;
        const wire::Answer &answer = client->answer(id);
        bool ok = answer.closed && answer.status() == GRPC_OK;
        if (ok) {
            EXPECT_EQ(Tokens(answer), 6u);
        }
        clients_.clear();
        auto idle = [&] { return !requests_live(requests_) && !grpc_server_calls(server_); };
        EXPECT_TRUE(Run(idle, 20));
        return ok ? STATUS_OK : STATUS_NO_MEMORY;
    }, rules);
}

class OpenaiFaults : public openai_test::Server {
protected:
    /* The answer that a client would take for a success, or "". */
    std::string ask(const std::string &path, const std::string &body, bool stream)
    {
        Client *client;
        {
            faults::Pause pause;
            clients_.clear();
            client = &Connect();
            client->Send(Request("POST", path, body));
        }
        Reply reply;
        bool whole = false;
        auto ended = [&] { return (whole = whole || client->Take(&reply)) || client->over; };
        EXPECT_TRUE(Until(ended, 20));
        faults::Pause pause;
        whole = whole || client->Take(&reply);
        EXPECT_TRUE(Until([&] { return Idle(); }, 20));
        clients_.clear();
        if (!whole || reply.code != 200)
            return "";
        if (stream && reply.body.find("\"error\"") != std::string::npos)
            return "";
        if (stream && reply.body.find("data: [DONE]") == std::string::npos)
            return "";
        return reply.body;
    }
};

/* What is the same in each answer to one question: all but its number and time. */
std::string texts(const std::string &body)
{
    std::string out;
    for (const char *key : {"\"text\":\"", "\"content\":\""})
        for (size_t at = body.find(key); at != std::string::npos; at = body.find(key, at + 1)) {
            size_t begin = at + std::string(key).size();
            out += body.substr(begin, body.find('"', begin) - begin);
        }
    return out;
}

TEST_F(OpenaiFaults, AWholeAnswerOrAnError)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    const std::string settings = "\"max_tokens\":5,\"temperature\":0,\"ignore_eos\":true";
    const struct {
        const char *path;
        std::string body;
        bool stream;
    } asked[] = {
        {"/v1/completions",
         "{\"prompt\":[\"one\",\"two\"],\"logprobs\":1,\"stop\":\"zz\"," + settings + "}", false},
        {"/v1/chat/completions",
         "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"stream\":true," + settings + "}",
         true},
    };
    for (const auto &one : asked) {
        std::string expected = texts(ask(one.path, one.body, one.stream));
        ASSERT_NE(expected, "");
        faults::sweep(one.path, [&](struct error *) {
            std::string got = ask(one.path, one.body, one.stream);
            if (!got.empty()) {
                EXPECT_EQ(texts(got), expected);
            }
            return got.empty() ? STATUS_NO_MEMORY : STATUS_OK;
        }, told_on_the_wire());
    }
}

/* Descriptors run out: what waits in the backlog is taken when there are some again. */
TEST(ListenerFaults, AcceptingGoesOnWhenDescriptorsAreBack)
{
    struct event_base *base = event_base_new();
    struct listener *listener = nullptr;
    struct error error = {};
    int accepted = 0;
    ASSERT_EQ(listener_open(&listener, base, "127.0.0.1", 0,
                            [](void *arg, struct bufferevent *bev, const struct listener_peer *) {
                                ++*static_cast<int *>(arg);
                                bufferevent_free(bev);
                            },
                            &accepted, &error),
              STATUS_OK) << error.text;
    http_test::Client client(listener_port(listener));
    struct rlimit before, none;
    ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    for (int i = 0; i < 20; i++)
        event_base_loop(base, EVLOOP_NONBLOCK);
    EXPECT_EQ(accepted, 0);
    EXPECT_EQ(event_base_loop(base, EVLOOP_NONBLOCK), 1); /* no event is left: nothing spins */
    listener_resume(listener);
    event_base_loop(base, EVLOOP_NONBLOCK);
    EXPECT_EQ(accepted, 0); /* still none */
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
    listener_resume(listener);
    for (int i = 0; i < 100 && accepted == 0; i++)
        event_base_loop(base, EVLOOP_NONBLOCK);
    EXPECT_EQ(accepted, 1);
    listener_close(listener);
    event_base_free(base);
}

} // namespace
