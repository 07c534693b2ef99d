#include "server/kserve/kserve.h"

#include "memory/base/clock.h"
#include "tests/server/kserve/kserve_support.h"
#include "tests/server/wire_client.h"

namespace {

using kserve_test::Pack;
using kserve_test::Request;
using wire::Answer;
using wire::Framed;

const char infer_path[] = "/inference.GRPCInferenceService/ModelInfer";
const char stream_path[] = "/inference.GRPCInferenceService/ModelStreamInfer";

struct Got {
    std::string id, error, text, reason;
    uint32_t input_tokens = 0, output_tokens = 0;
    size_t outputs = 0;
    bool raw = false, final = false, has_final = false;
};

uint32_t Number(const ProtobufCBinaryData &raw)
{
    EXPECT_EQ(4u, raw.len);
    return raw.data[0] | raw.data[1] << 8 | raw.data[2] << 16 | (uint32_t)raw.data[3] << 24;
}

void Read(const Inference__ModelInferResponse *r, Got &got)
{
    got.id = r->id;
    got.outputs = r->n_outputs;
    got.raw = r->n_raw_output_contents != 0;
    for (size_t i = 0; i < r->n_parameters; i++)
        if (std::string(r->parameters[i]->key) == "triton_final_response") {
            got.has_final = true;
            got.final = r->parameters[i]->value->bool_param;
        }
    for (size_t i = 0; i < r->n_outputs; i++) {
        const auto *o = r->outputs[i];
        std::string name = o->name;
        std::string &text = name == "text_output" ? got.text : got.reason;
        uint32_t &number = name == "num_input_tokens" ? got.input_tokens : got.output_tokens;
        EXPECT_EQ(1u, o->n_shape);
        if (got.raw) {
            ASSERT_EQ(r->n_outputs, r->n_raw_output_contents);
            const ProtobufCBinaryData &raw = r->raw_output_contents[i];
            if (std::string(o->datatype) == "BYTES") {
                ASSERT_LE(4u, raw.len);
                EXPECT_EQ(raw.len - 4, Number({4, raw.data}));
                text.assign((char *)raw.data + 4, raw.len - 4);
            } else {
                number = Number(raw);
            }
        } else if (std::string(o->datatype) == "BYTES") {
            ASSERT_EQ(1u, o->contents->n_bytes_contents);
            text.assign((char *)o->contents->bytes_contents[0].data, o->contents->bytes_contents[0].len);
        } else {
            ASSERT_EQ(1u, o->contents->n_uint_contents);
            number = o->contents->uint_contents[0];
        }
    }
}

Got Whole(const std::string &bytes)
{
    Got got;
    auto *m = inference__model_infer_response__unpack(nullptr, bytes.size(), (const uint8_t *)bytes.data());
    EXPECT_NE(nullptr, m);
    if (m)
        Read(m, got);
    inference__model_infer_response__free_unpacked(m, nullptr);
    return got;
}

Got Streamed(const std::string &bytes)
{
    Got got;
    auto *m = inference__model_stream_infer_response__unpack(nullptr, bytes.size(),
                                                             (const uint8_t *)bytes.data());
    EXPECT_NE(nullptr, m);
    if (m) {
        got.error = m->error_message;
        EXPECT_NE(nullptr, m->infer_response);
        if (m->infer_response)
            Read(m->infer_response, got);
        EXPECT_TRUE(got.has_final);
    }
    inference__model_stream_infer_response__free_unpacked(m, nullptr);
    return got;
}

class Kserve : public wire::ServerTest {
  protected:
    void Start(uint32_t max_queue = 100, uint32_t stall_timeout_s = 60)
    {
        struct requests_config accepted = {"tiny", stall_timeout_s, nullptr};
        ASSERT_EQ(STATUS_OK, requests_open(&requests_, &accepted, nullptr));
        ASSERT_EQ(STATUS_OK, kserve_open(&service_, requests_, nullptr));
        std::vector<grpc_method> methods(KSERVE_METHODS);
        kserve_methods(service_, methods.data());
        Open(methods);
        const char *source = getenv("MOERING_SOURCE_DIR");
        model_ = std::string(source ? source : ".") + "/deploy/models/tiny";
        struct engine_thread_config thread = {};
        engine_config_init(&thread.engine);
        thread.engine.model = model_.c_str();
        thread.engine.threads = 1;
        thread.engine.max_num_seqs = 4;
        thread.engine.io = IO_SYNC;
        thread.max_queue = max_queue;
        ASSERT_EQ(STATUS_OK, engine_thread_open(&engine_, &thread, nullptr));
        requests_attach(requests_, engine_);
        kserve_attach(service_, server_);
        news_ = event_new(base_, engine_thread_fd(engine_), EV_READ | EV_PERSIST, OnNews, this);
        event_add(news_, nullptr);
    }
    void StartReady(uint32_t max_queue = 100, uint32_t stall_timeout_s = 60)
    {
        ASSERT_NO_FATAL_FAILURE(Start(max_queue, stall_timeout_s));
        ASSERT_TRUE(Run([&] { return engine_thread_state(engine_) == ENGINE_READY; }, 60));
    }
    void Cleanup() override
    {
        if (news_)
            event_free(news_);
        engine_thread_close(engine_);
        kserve_close(service_);
        requests_close(requests_);
    }
    static void OnNews(evutil_socket_t, short, void *arg)
    {
        auto *self = static_cast<Kserve *>(arg);
        engine_thread_flush(self->engine_);
        while (struct request_event *e = engine_thread_next(self->engine_)) {
            if (e->request)
                requests_event(self->requests_, e);
            request_event_close(e);
        }
    }
    struct batcher_stats Stats()
    {
        struct engine_thread_stats stats;
        engine_thread_stats_read(engine_, &stats);
        return stats.batcher;
    }
    bool Idle()
    {
        struct batcher_stats s = Stats();
        return s.now.running + s.now.waiting + s.now.kv_blocks_used == 0;
    }
    std::vector<Got> Stream(const std::vector<const Request *> &requests)
    {
        std::string body;
        for (const Request *r : requests)
            body += Framed(Pack(r->m));
        Client &client = Connect();
        int32_t id = client.Call(stream_path, body);
        EXPECT_TRUE(Run([&] { return client.answer(id).closed; }, 30));
        EXPECT_EQ(GRPC_OK, client.answer(id).status());
        std::vector<Got> out;
        for (const std::string &m : client.answer(id).messages())
            out.push_back(Streamed(m));
        return out;
    }
    using Client = wire::Client;

    std::string model_;
    struct requests *requests_ = nullptr;
    struct kserve *service_ = nullptr;
    struct engine_thread *engine_ = nullptr;
    struct event *news_ = nullptr;
};

/* A request whose answer is the same each time. */
struct Greedy : Request {
    explicit Greedy(int32_t tokens, const std::string &text = "sort: 3 1 2") : Request(text)
    {
        Int("max_tokens", tokens);
        Float("temperature", 0);
        Bool("ignore_eos", true);
    }
};

std::string ModelRequest(const std::string &name)
{
    Inference__ModelReadyRequest m = INFERENCE__MODEL_READY_REQUEST__INIT;
    std::string kept = name;
    m.name = &kept[0];
    return Pack(m);
}

TEST_F(Kserve, ALoadingServerIsLiveAndNotReady)
{
    ASSERT_NO_FATAL_FAILURE(Start());
    const std::string service = "/inference.GRPCInferenceService/";
    Client &client = Connect();
    Answer live = Unary(client, service + "ServerLive", "");
    ASSERT_EQ(1u, live.messages().size());
    EXPECT_EQ(std::string("\x08\x01", 2), live.messages()[0]);
    if (engine_thread_state(engine_) == ENGINE_LOADING) {
        Answer a = Unary(client, infer_path, Pack(Greedy(1).m));
        EXPECT_TRUE(a.status() == GRPC_UNAVAILABLE || engine_thread_state(engine_) != ENGINE_LOADING);
    }
    ASSERT_TRUE(Run([&] { return engine_thread_state(engine_) == ENGINE_READY; }, 60));
    EXPECT_EQ(std::string("\x08\x01", 2), Unary(client, service + "ServerReady", "").messages().at(0));
    EXPECT_EQ(std::string("\x08\x01", 2),
              Unary(client, service + "ModelReady", ModelRequest("tiny")).messages().at(0));
    EXPECT_EQ("", Unary(client, service + "ModelReady", ModelRequest("other")).messages().at(0));
    EXPECT_EQ(GRPC_NOT_FOUND, Unary(client, service + "ModelMetadata", ModelRequest("other")).status());
    EXPECT_EQ(GRPC_INVALID_ARGUMENT, Unary(client, service + "ModelMetadata", "\xff").status());
    requests_drain(requests_);
    EXPECT_EQ("", Unary(client, service + "ServerReady", "").messages().at(0));
    EXPECT_EQ("", Unary(client, service + "ModelReady", ModelRequest("tiny")).messages().at(0));
    EXPECT_EQ(GRPC_UNAVAILABLE, Unary(client, service + "ModelMetadata", ModelRequest("tiny")).status());
    EXPECT_EQ(GRPC_UNAVAILABLE, Unary(client, infer_path, Pack(Greedy(1).m)).status());
}

TEST_F(Kserve, MetadataNamesServerAndTensors)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    Client &client = Connect();
    std::string bytes = Unary(client, "/inference.GRPCInferenceService/ServerMetadata", "").messages().at(0);
    auto *server = inference__server_metadata_response__unpack(nullptr, bytes.size(),
                                                               (const uint8_t *)bytes.data());
    ASSERT_NE(nullptr, server);
    EXPECT_STREQ("moering", server->name);
    EXPECT_STREQ(MOERING_VERSION, server->version);
    inference__server_metadata_response__free_unpacked(server, nullptr);
    bytes = Unary(client, "/inference.GRPCInferenceService/ModelMetadata", ModelRequest("tiny")).messages().at(0);
    auto *m = inference__model_metadata_response__unpack(nullptr, bytes.size(), (const uint8_t *)bytes.data());
    ASSERT_NE(nullptr, m);
    EXPECT_STREQ("tiny", m->name);
    ASSERT_EQ(1u, m->n_versions);
    EXPECT_STREQ("1", m->versions[0]);
    EXPECT_STREQ("text_input", m->inputs[0]->name);
    EXPECT_STREQ("BYTES", m->inputs[0]->datatype);
    size_t lists = 0;
    for (size_t i = 0; i < m->n_inputs; i++)
        lists += m->inputs[i]->shape[0] == -1;
    EXPECT_EQ(3u, lists) << "stop, stop_words, stop_token_ids";
    ASSERT_EQ(4u, m->n_outputs);
    EXPECT_STREQ("text_output", m->outputs[0]->name);
    EXPECT_STREQ("UINT32", m->outputs[3]->datatype);
    inference__model_metadata_response__free_unpacked(m, nullptr);
}

TEST_F(Kserve, AnAnswerIsTheSameInBothFormsAndInAStream)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    Greedy typed(12);
    typed.m.id = typed.Keep("seven");
    for (const char *name : {"text_output", "finish_reason", "num_input_tokens", "num_output_tokens"})
        typed.Want(name);
    Answer a = Unary(Connect(), infer_path, Pack(typed.m));
    ASSERT_EQ(GRPC_OK, a.status()) << a.fields["grpc-message"];
    Got whole = Whole(a.messages().at(0));
    EXPECT_EQ("seven", whole.id);
    EXPECT_EQ("length", whole.reason);
    EXPECT_EQ(12u, whole.output_tokens);
    EXPECT_LT(0u, whole.input_tokens);
    EXPECT_FALSE(whole.raw || whole.has_final);
    EXPECT_FALSE(whole.text.empty());

    Request raw;
    raw.Raw("text_input", "BYTES", {1}, Request::RawText("sort: 3 1 2"));
    raw.Raw("max_tokens", "INT32", {1}, std::string("\x0c\0\0\0", 4));
    raw.Raw("temperature", "FP32", {1}, std::string(4, '\0'));
    raw.Raw("ignore_eos", "BOOL", {1}, "\x01");
    raw.Want("num_output_tokens");
    raw.Want("text_output");
    a = Unary(Connect(), infer_path, Pack(raw.m));
    ASSERT_EQ(GRPC_OK, a.status()) << a.fields["grpc-message"];
    Got other = Whole(a.messages().at(0));
    EXPECT_TRUE(other.raw);
    EXPECT_EQ(2u, other.outputs);
    EXPECT_EQ(12u, other.output_tokens);
    EXPECT_EQ(whole.text, other.text);

    typed.Bool("stream", true);
    std::vector<Got> got = Stream({&typed});
    ASSERT_LT(1u, got.size());
    std::string text;
    for (size_t i = 0; i < got.size(); i++) {
        text += got[i].text;
        EXPECT_EQ("seven", got[i].id);
        EXPECT_EQ("", got[i].error);
        EXPECT_EQ(i + 1 == got.size(), got[i].final);
        EXPECT_EQ(got[i].final ? 4u : 1u, got[i].outputs);
    }
    EXPECT_EQ(whole.text, text);
    EXPECT_EQ("length", got.back().reason);
    EXPECT_EQ(12u, got.back().output_tokens);
    EXPECT_TRUE(Run([&] { return Idle(); }));
}

TEST_F(Kserve, RequestsOfOneStreamAreApart)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    Greedy a(8), b(8, "reverse: a b"), bad(8), echo(0, "said");
    a.m.id = a.Keep("a");
    b.m.id = b.Keep("b");
    b.Bool("stream", true);
    bad.m.id = bad.Keep("bad");
    bad.Int("max_length", 3);
    echo.m.id = echo.Keep("echo");
    echo.BoolParameter("exclude_input_in_output", false);
    std::map<std::string, std::string> text;
    std::map<std::string, int> finals, answers;
    for (const Got &g : Stream({&bad, &a, &b, &echo})) {
        text[g.id] += g.text;
        finals[g.id] += g.final;
        answers[g.id]++;
        EXPECT_EQ(g.id == "bad" ? "input 'max_length' is not known; ModelMetadata lists those that are" : "",
                  g.error);
    }
    EXPECT_EQ((std::map<std::string, int>{{"a", 1}, {"b", 1}, {"bad", 1}, {"echo", 1}}), finals);
    EXPECT_EQ(1, answers["a"]) << "not asked to stream";
    EXPECT_LT(1, answers["b"]);
    EXPECT_EQ("said", text["echo"]) << "no token was asked for";
    EXPECT_EQ(text["a"], Whole(Unary(Connect(), infer_path, Pack(Greedy(8).m)).messages().at(0)).text);
}

TEST_F(Kserve, RefusalsHaveTheirStatus)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    Client &client = Connect();
    Greedy stream(4), other(4), long_one(4, std::string(5000, 'x'));
    stream.Bool("stream", true);
    other.m.model_name = other.Keep("other");
    Answer a = Unary(client, infer_path, Pack(stream.m));
    EXPECT_EQ(GRPC_INVALID_ARGUMENT, a.status());
    EXPECT_NE(std::string::npos, a.fields["grpc-message"].find("ModelStreamInfer"));
    EXPECT_EQ(GRPC_NOT_FOUND, Unary(client, infer_path, Pack(other.m)).status());
    EXPECT_EQ(GRPC_INVALID_ARGUMENT, Unary(client, infer_path, Pack(long_one.m)).status());
    EXPECT_EQ(GRPC_INVALID_ARGUMENT, Unary(client, infer_path, "\xff").status());
    EXPECT_EQ(GRPC_UNIMPLEMENTED,
              Unary(client, "/inference.GRPCInferenceService/ModelConfig", "").status());
    int32_t id = client.Call(stream_path, Framed("\xff"), false);
    EXPECT_TRUE(Run([&] { return client.answer(id).ended; }));
    EXPECT_EQ(GRPC_INVALID_ARGUMENT, client.answer(id).status()) << "a broken message ends the stream";
}

TEST_F(Kserve, AClientThatGoesFreesItsSeats)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    Greedy endless(900);
    endless.Bool("stream", true);
    Client &client = Connect();
    int32_t id = client.Call(stream_path, Framed(Pack(endless.m)) + Framed(Pack(endless.m)), false);
    EXPECT_TRUE(Run([&] { return client.answer(id).messages().size() > 2; }, 30));
    EXPECT_EQ(2u, requests_live(requests_));
    client.Reset(id);
    EXPECT_TRUE(Run([&] { return Idle() && Stats().cancelled == 2; }, 30));
    EXPECT_EQ(0u, requests_live(requests_));
    id = client.Call(infer_path, Framed(Pack(Greedy(900).m)), true, {{"grpc-timeout", "50m"}});
    EXPECT_TRUE(Run([&] { return client.answer(id).ended; }, 30));
    EXPECT_EQ(GRPC_DEADLINE_EXCEEDED, client.answer(id).status());
    EXPECT_TRUE(Run([&] { return Idle(); }, 30));
}

TEST_F(Kserve, ACutOffEndsTheCallWithAllItsRequests)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    Greedy endless(900);
    endless.Bool("stream", true);
    Client &client = Connect();
    int32_t id = client.Call(stream_path, Framed(Pack(endless.m)) + Framed(Pack(endless.m)), false);
    EXPECT_TRUE(Run([&] { return client.answer(id).messages().size() > 2; }, 30));
    requests_cut_off(requests_);
    EXPECT_TRUE(Run([&] { return client.answer(id).ended; }));
    EXPECT_EQ(GRPC_UNAVAILABLE, client.answer(id).status());
    EXPECT_TRUE(Run([&] { return Idle(); }, 30));
}

TEST_F(Kserve, AClientThatDoesNotReadIsPausedAndGoesOnWhenItReads)
{
    limits_.output_bytes_high = 2048;
    ASSERT_NO_FATAL_FAILURE(StartReady());
    Greedy endless(900);
    endless.Bool("stream", true);
    endless.m.id = endless.Keep(std::string(900, 'i')); /* long answers to short texts */
    Client &client = Connect(false);
    int32_t id = client.Call(stream_path, Framed(Pack(endless.m)));
    EXPECT_TRUE(Run([&] { return Stats().now.paused == 1; }, 60));
    EXPECT_TRUE(Run([&] {
        client.Consume(id);
        return client.answer(id).closed;
    }, 60));
    EXPECT_EQ(GRPC_OK, client.answer(id).status());
    EXPECT_TRUE(Streamed(client.answer(id).messages().back()).final);
}

} // namespace
