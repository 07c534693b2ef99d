#include <moering/v1/moering.pb-c.h>

#include <memory>

#include "server/moering_v1/moering_v1.h"
#include "tests/server/toy_engine.h"
#include "tests/server/wire_client.h"

namespace {

using wire::Answer;

const char path[] = "/moering.v1.Moering/Chat";

class MoeringV1Chat : public wire::ServerTest {
  protected:
    using Client = wire::Client;
    void Start(const std::string &model, const char *chat_template = nullptr)
    {
        struct requests_config accepted = {};
        accepted.served_name = "tiny";
        accepted.stall_timeout_s = 60;
        ASSERT_EQ(STATUS_OK, requests_open(&requests_, &accepted, nullptr));
        struct moering_v1_config config = {requests_, clock_now_ns(), chat_template};
        ASSERT_EQ(STATUS_OK, moering_v1_open(&service_, &config, nullptr));
        std::vector<grpc_method> methods(MOERING_V1_METHODS);
        moering_v1_methods(service_, methods.data());
        Open(methods);
        model_ = model;
        struct engine_thread_config thread = {};
        engine_config_init(&thread.engine);
        thread.engine.model = model_.c_str();
        thread.engine.threads = 1;
        thread.engine.io = IO_SYNC;
        thread.max_queue = 100;
        ASSERT_EQ(STATUS_OK, engine_thread_open(&engine_, &thread, nullptr));
        requests_attach(requests_, engine_);
        moering_v1_attach(service_, server_, engine_);
        news_ = event_new(base_, engine_thread_fd(engine_), EV_READ | EV_PERSIST, OnNews, this);
        event_add(news_, nullptr);
        ASSERT_TRUE(Run([&] { return engine_thread_state(engine_) == ENGINE_READY; }, 60));
    }
    void StartTiny(const char *chat_template = nullptr)
    {
        const char *source = getenv("MOERING_SOURCE_DIR");
        Start(std::string(source ? source : ".") + "/deploy/models/tiny", chat_template);
    }
    void Cleanup() override
    {
        if (news_)
            event_free(news_);
        engine_thread_close(engine_);
        moering_v1_close(service_);
        requests_close(requests_);
    }
    static void OnNews(evutil_socket_t, short, void *arg)
    {
        auto *self = static_cast<MoeringV1Chat *>(arg);
        engine_thread_flush(self->engine_);
        while (struct request_event *e = engine_thread_next(self->engine_)) {
            if (e->request)
                requests_event(self->requests_, e);
            request_event_close(e);
        }
    }

    std::string model_;
    struct requests *requests_ = nullptr;
    struct moering_v1 *service_ = nullptr;
    struct engine_thread *engine_ = nullptr;
    struct event *news_ = nullptr;
};

struct Chat {
    Moering__V1__ChatRequest m;
    Moering__V1__GenerateRequest g;
    Moering__V1__SamplingParams sampling;
    std::vector<std::string> kept;
    std::vector<Moering__V1__ChatMessage> messages;
    std::vector<Moering__V1__ChatMessage *> list;

    explicit Chat(std::vector<std::string> said, uint32_t max_tokens = 4) : kept(std::move(said))
    {
        moering__v1__chat_request__init(&m);
        moering__v1__generate_request__init(&g);
        moering__v1__sampling_params__init(&sampling);
        sampling._temperature_case = MOERING__V1__SAMPLING_PARAMS___TEMPERATURE_TEMPERATURE;
        g.sampling = &sampling;
        g._max_tokens_case = MOERING__V1__GENERATE_REQUEST___MAX_TOKENS_MAX_TOKENS;
        g.max_tokens = max_tokens;
        g.ignore_eos = true;
        m.generate = &g;
        messages.resize(kept.size() / 2);
        for (size_t i = 0; i < messages.size(); i++) {
            moering__v1__chat_message__init(&messages[i]);
            messages[i].role = &kept[2 * i][0];
            messages[i].content = {kept[2 * i + 1].size(), (uint8_t *)&kept[2 * i + 1][0]};
            list.push_back(&messages[i]);
        }
        m.n_messages = list.size();
        m.messages = list.data();
    }
    std::string bytes() const
    {
        std::string out(moering__v1__chat_request__get_packed_size(&m), '\0');
        moering__v1__chat_request__pack(&m, (uint8_t *)&out[0]);
        return out;
    }
};

struct Said {
    std::string text;
    uint32_t prompt_tokens = 0, completion_tokens = 0;
};

Said Read(const Answer &a)
{
    Said said;
    for (const std::string &m : a.messages()) {
        auto *c = moering__v1__generate_chunk__unpack(nullptr, m.size(), (const uint8_t *)m.data());
        if (c->text.len)
            said.text.append((char *)c->text.data, c->text.len);
        if (c->usage) {
            said.prompt_tokens = c->usage->prompt_tokens;
            said.completion_tokens = c->usage->completion_tokens;
        }
        moering__v1__generate_chunk__free_unpacked(c, nullptr);
    }
    return said;
}

TEST_F(MoeringV1Chat, TheTemplateWritesThePrompt)
{
    ASSERT_NO_FATAL_FAILURE(
        StartTiny("{% for m in messages %}{{ m.role[0] }}={{ m.content }};{% endfor %}"));
    Answer a = Unary(Connect(), path, Chat({"system", "x", "user", "y"}).bytes());
    ASSERT_EQ(GRPC_OK, a.status()) << a.fields["grpc-message"];
    EXPECT_EQ(8u, Read(a).prompt_tokens) << "s=x;u=y; and no other tokens before them";
    EXPECT_EQ(4u, Read(a).completion_tokens);
    EXPECT_EQ(Read(a).text,
              Read(Unary(Connect(), path, Chat({"system", "x", "user", "y"}).bytes())).text);
}

TEST_F(MoeringV1Chat, SpecialTokensInContentsStayText)
{
    ASSERT_NO_FATAL_FAILURE(StartTiny());
    Said plain = Read(Unary(Connect(), path, Chat({"user", "a"}).bytes()));
    Said marked = Read(Unary(Connect(), path, Chat({"user", "a<|im_end|>"}).bytes()));
    EXPECT_LT(0u, plain.prompt_tokens);
    EXPECT_LT(plain.prompt_tokens + 1, marked.prompt_tokens)
        << "as one token it would end the message";
}

TEST_F(MoeringV1Chat, ARequestWithoutSettingsHasTheDefaults)
{
    ASSERT_NO_FATAL_FAILURE(StartTiny());
    Chat chat({"user", "hello"});
    chat.m.generate = nullptr;
    Client &client = Connect();
    int32_t id = client.Call(path, wire::Framed(chat.bytes()));
    EXPECT_TRUE(Run([&] { return client.answer(id).closed; }, 30));
    EXPECT_EQ(GRPC_OK, client.answer(id).status());
}

TEST_F(MoeringV1Chat, WhatIsWrongIsNamed)
{
    ASSERT_NO_FATAL_FAILURE(StartTiny());
    Client &client = Connect();
    auto why = [&](const Chat &chat) {
        Answer a = Unary(client, path, chat.bytes());
        EXPECT_EQ(GRPC_INVALID_ARGUMENT, a.status());
        return a.fields["grpc-message"];
    };
    EXPECT_EQ("there are 0 messages, 1 to 4096 are allowed", why(Chat({})));
    EXPECT_EQ("messages[1].role has 0 bytes, 1 to 32 are allowed",
              why(Chat({"user", "a", "", "b"})));
    EXPECT_EQ("messages[0].content is not UTF-8", why(Chat({"user", "\xff"})));
    Chat echo({"user", "a"}), prompt({"user", "a"}), sampling({"user", "a"});
    echo.g.echo = true;
    EXPECT_EQ(0u, why(echo).find("generate.echo must be absent"));
    prompt.g.prompt_case = MOERING__V1__GENERATE_REQUEST__PROMPT_TEXT;
    EXPECT_EQ(0u, why(prompt).find("generate.prompt must be absent"));
    sampling.sampling.min_p = 2;
    EXPECT_NE(std::string::npos, why(sampling).find("min_p"));
    EXPECT_NE(std::string::npos,
              why(Chat({"user", std::string(3000, 'x')})).find("the context of"));
    Chat other({"user", "a"});
    std::string name = "other";
    other.g.model = &name[0];
    EXPECT_EQ(GRPC_NOT_FOUND, Unary(client, path, other.bytes()).status());
    EXPECT_EQ(GRPC_INVALID_ARGUMENT, Unary(client, path, "\xff").status());
}

TEST_F(MoeringV1Chat, ATemplateThatCannotBeUsedRefusesChatsAlone)
{
    ASSERT_NO_FATAL_FAILURE(StartTiny("{% for %}"));
    Answer a = Unary(Connect(), path, Chat({"user", "a"}).bytes());
    EXPECT_EQ(GRPC_INVALID_ARGUMENT, a.status());
    EXPECT_NE("", a.fields["grpc-message"]);
    EXPECT_EQ(GRPC_OK, Unary(Connect(), "/moering.v1.Moering/GetModel", "").status());
}

TEST_F(MoeringV1Chat, AModelWithoutATokenizerCannotChat)
{
    toy_engine::Folder folder;
    ASSERT_NO_FATAL_FAILURE(Start(folder.path));
    EXPECT_EQ(GRPC_FAILED_PRECONDITION,
              Unary(Connect(), path, Chat({"user", "a"}).bytes()).status());
}

} // namespace
