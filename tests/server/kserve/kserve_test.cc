#include "server/kserve/kserve.h"

#include <algorithm>

#include "memory/base/clock.h"
#include "server/kserve/kserve_decode.h"
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
    std::vector<std::string> texts, reasons;   /* of all rows; above, of the first */
    std::vector<int32_t> ids;                  /* [rows][longest] */
    std::vector<float> log_probs, log_prob_sums, cumulative;
    std::vector<int64_t> ids_shape, log_probs_shape;
    size_t outputs = 0;
    bool raw = false, final = false, has_final = false;
};

uint32_t Number(const uint8_t *at)
{
    return at[0] | at[1] << 8 | at[2] << 16 | (uint32_t)at[3] << 24;
}

/* The elements of an output in either form. */
std::vector<std::string> Texts(const Inference__ModelInferResponse__InferOutputTensor *o,
                               const ProtobufCBinaryData *raw)
{
    std::vector<std::string> out;
    for (size_t at = 0; raw && at + 4 <= raw->len; at += 4 + out.back().size()) {
        EXPECT_LE(at + 4 + Number(raw->data + at), raw->len);
        out.emplace_back((char *)raw->data + at + 4, Number(raw->data + at));
    }
    for (size_t i = 0; !raw && i < o->contents->n_bytes_contents; i++)
        out.emplace_back((char *)o->contents->bytes_contents[i].data,
                         o->contents->bytes_contents[i].len);
    return out;
}

template <typename T>
std::vector<T> Numbers(const T *typed, size_t count, const ProtobufCBinaryData *raw)
{
    std::vector<T> out;
    for (size_t at = 0; raw && at + 4 <= raw->len; at += 4) {
        uint32_t bits = Number(raw->data + at);
        T value;
        memcpy(&value, &bits, sizeof value);
        out.push_back(value);
    }
    return raw ? out : std::vector<T>(typed, typed + count);
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
    if (got.raw) {
        ASSERT_EQ(r->n_outputs, r->n_raw_output_contents);
    }
    for (size_t i = 0; i < r->n_outputs; i++) {
        const auto *o = r->outputs[i];
        const ProtobufCBinaryData *raw = got.raw ? &r->raw_output_contents[i] : nullptr;
        std::string name = o->name, type = o->datatype;
        std::vector<int64_t> shape(o->shape, o->shape + o->n_shape);
        EXPECT_EQ(got.raw, o->contents == nullptr);
        const Inference__InferTensorContents none = INFERENCE__INFER_TENSOR_CONTENTS__INIT;
        const auto *c = o->contents ? o->contents : &none;
        size_t elements = 0;
        if (type == "BYTES") {
            std::vector<std::string> &texts = name == "text_output" ? got.texts : got.reasons;
            texts = Texts(o, raw);
            elements = texts.size();
            ASSERT_LT(0u, elements);
            (name == "text_output" ? got.text : got.reason) = texts[0];
        } else if (type == "INT32") {
            got.ids = Numbers(c->int_contents, c->n_int_contents, raw);
            got.ids_shape = shape;
            elements = got.ids.size();
        } else if (type == "FP32") {
            std::vector<float> numbers = Numbers(c->fp32_contents, c->n_fp32_contents, raw);
            elements = numbers.size();
            if (name == "output_log_probs")
                got.log_probs_shape = shape;
            (name == "output_log_probs"  ? got.log_probs
             : name == "cum_log_probs" ? got.log_prob_sums : got.cumulative) = numbers;
        } else {
            std::vector<uint32_t> numbers = Numbers(c->uint_contents, c->n_uint_contents, raw);
            elements = numbers.size();
            ASSERT_LT(0u, elements);
            (name == "num_input_tokens" ? got.input_tokens : got.output_tokens) = numbers[0];
        }
        int64_t asked = 1;
        for (int64_t dimension : shape)
            asked *= dimension;
        EXPECT_EQ(asked, (int64_t)elements) << name;
    }
}

Got Whole(const std::string &bytes)
{
    Got got;
    auto *m = inference__model_infer_response__unpack(nullptr, bytes.size(),
                                                      (const uint8_t *)bytes.data());
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
        EXPECT_TRUE(a.status() == GRPC_UNAVAILABLE ||
                    engine_thread_state(engine_) != ENGINE_LOADING);
    }
    ASSERT_TRUE(Run([&] { return engine_thread_state(engine_) == ENGINE_READY; }, 60));
    EXPECT_EQ(std::string("\x08\x01", 2),
              Unary(client, service + "ServerReady", "").messages().at(0));
    EXPECT_EQ(std::string("\x08\x01", 2),
              Unary(client, service + "ModelReady", ModelRequest("tiny")).messages().at(0));
    EXPECT_EQ("", Unary(client, service + "ModelReady", ModelRequest("other")).messages().at(0));
    EXPECT_EQ(GRPC_NOT_FOUND,
              Unary(client, service + "ModelMetadata", ModelRequest("other")).status());
    EXPECT_EQ(GRPC_INVALID_ARGUMENT, Unary(client, service + "ModelMetadata", "\xff").status());
    requests_drain(requests_);
    EXPECT_EQ("", Unary(client, service + "ServerReady", "").messages().at(0));
    EXPECT_EQ("", Unary(client, service + "ModelReady", ModelRequest("tiny")).messages().at(0));
    EXPECT_EQ(GRPC_UNAVAILABLE,
              Unary(client, service + "ModelMetadata", ModelRequest("tiny")).status());
    EXPECT_EQ(GRPC_UNAVAILABLE, Unary(client, infer_path, Pack(Greedy(1).m)).status());
}

TEST_F(Kserve, MetadataNamesServerAndTensors)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    Client &client = Connect();
    std::string bytes =
        Unary(client, "/inference.GRPCInferenceService/ServerMetadata", "").messages().at(0);
    auto *server = inference__server_metadata_response__unpack(nullptr, bytes.size(),
                                                               (const uint8_t *)bytes.data());
    ASSERT_NE(nullptr, server);
    EXPECT_STREQ("moering", server->name);
    EXPECT_STREQ(MOERING_VERSION, server->version);
    inference__server_metadata_response__free_unpacked(server, nullptr);
    bytes = Unary(client, "/inference.GRPCInferenceService/ModelMetadata", ModelRequest("tiny"))
                .messages()
                .at(0);
    auto *m = inference__model_metadata_response__unpack(nullptr, bytes.size(),
                                                         (const uint8_t *)bytes.data());
    ASSERT_NE(nullptr, m);
    EXPECT_STREQ("tiny", m->name);
    ASSERT_EQ(1u, m->n_versions);
    EXPECT_STREQ("1", m->versions[0]);
    EXPECT_STREQ("text_input", m->inputs[0]->name);
    EXPECT_STREQ("BYTES", m->inputs[0]->datatype);
    size_t lists = 0;
    for (size_t i = 0; i < m->n_inputs; i++)
        lists += m->inputs[i]->shape[0] == -1;
    EXPECT_EQ(6u, lists)
        << "text_input, input_ids, input_lengths, stop, stop_words, stop_token_ids";
    EXPECT_STREQ("input_ids", m->inputs[1]->name);
    EXPECT_EQ(2u, m->inputs[1]->n_shape);
    ASSERT_EQ((size_t)KSERVE_OUTPUTS, m->n_outputs);
    EXPECT_STREQ("text_output", m->outputs[0]->name);
    EXPECT_STREQ("UINT32", m->outputs[3]->datatype);
    EXPECT_STREQ("output_ids", m->outputs[4]->name);
    EXPECT_EQ(2u, m->outputs[4]->n_shape);
    inference__model_metadata_response__free_unpacked(m, nullptr);
}

TEST_F(Kserve, AnAnswerIsTheSameInBothFormsAndInAStream)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    Greedy typed(12);
    typed.m.id = typed.Keep("seven");
    for (const char *name :
         {"text_output", "finish_reason", "num_input_tokens", "num_output_tokens"})
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
        EXPECT_EQ(g.id == "bad"
                      ? "input 'max_length' is not known; ModelMetadata lists those that are"
                      : "",
                  g.error);
    }
    EXPECT_EQ((std::map<std::string, int>{{"a", 1}, {"b", 1}, {"bad", 1}, {"echo", 1}}), finals);
    EXPECT_EQ(1, answers["a"]) << "not asked to stream";
    EXPECT_LT(1, answers["b"]);
    EXPECT_EQ("said", text["echo"]) << "no token was asked for";
    EXPECT_EQ(text["a"],
              Whole(Unary(Connect(), infer_path, Pack(Greedy(8).m)).messages().at(0)).text);
}

/* All outputs of what is sampled. */
void WantTokens(Request &r)
{
    for (const char *name : {"text_output", "output_ids", "output_log_probs", "cum_log_probs",
                             "cumulative_logprob", "num_input_tokens", "num_output_tokens"})
        r.Want(name);
}

TEST_F(Kserve, TokensAndLogProbabilitiesComeBothWaysAndInAStream)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    Greedy text(9);
    WantTokens(text);
    Answer a = Unary(Connect(), infer_path, Pack(text.m));
    ASSERT_EQ(GRPC_OK, a.status()) << a.fields["grpc-message"];
    Got whole = Whole(a.messages().at(0));
    ASSERT_EQ(9u, whole.output_tokens);
    ASSERT_EQ(9u, whole.ids.size());
    ASSERT_EQ(9u, whole.log_probs.size());
    EXPECT_EQ((std::vector<int64_t>{1, 9}), whole.ids_shape);
    EXPECT_EQ((std::vector<int64_t>{1, 9}), whole.log_probs_shape);
    float sum = 0;
    for (float log_prob : whole.log_probs) {
        EXPECT_GT(0, log_prob);
        sum += log_prob;
    }
    ASSERT_EQ(1u, whole.log_prob_sums.size());
    EXPECT_NEAR(sum, whole.log_prob_sums[0], 1e-4);
    EXPECT_EQ(whole.log_prob_sums, whole.cumulative);

    text.Bool("stream", true);
    std::vector<Got> parts = Stream({&text});
    std::vector<int32_t> ids;
    std::vector<float> log_probs;
    for (const Got &part : parts) {
        ids.insert(ids.end(), part.ids.begin(), part.ids.end());
        log_probs.insert(log_probs.end(), part.log_probs.begin(), part.log_probs.end());
        EXPECT_EQ(part.final ? 1u : 0u, part.log_prob_sums.size());
    }
    EXPECT_LT(1u, parts.size());
    EXPECT_EQ(whole.ids, ids);
    EXPECT_EQ(whole.log_probs, log_probs);
    EXPECT_EQ(whole.log_prob_sums, parts.back().log_prob_sums);

    Request echo; /* the prompt goes in as ids and comes back before what is sampled */
    echo.Raw("text_input", "BYTES", {1}, Request::RawText("sort: 3 1 2"));
    echo.IntParameter("max_tokens", 0);
    echo.BoolParameter("exclude_input_in_output", false);
    echo.BoolParameter("return_token_ids", true);
    a = Unary(Connect(), infer_path, Pack(echo.m));
    ASSERT_EQ(GRPC_OK, a.status()) << a.fields["grpc-message"];
    Got prompt = Whole(a.messages().at(0));
    EXPECT_TRUE(prompt.raw);
    EXPECT_EQ("sort: 3 1 2", prompt.text);
    ASSERT_EQ(whole.input_tokens, prompt.ids.size());

    Request tokens;
    tokens.Ints("input_ids", {1, (int64_t)prompt.ids.size()}, prompt.ids);
    tokens.Int("max_tokens", 9);
    tokens.Float("temperature", 0);
    tokens.Bool("ignore_eos", true);
    tokens.Bool("exclude_input_in_output", false);
    WantTokens(tokens);
    a = Unary(Connect(), infer_path, Pack(tokens.m));
    ASSERT_EQ(GRPC_OK, a.status()) << a.fields["grpc-message"];
    Got same = Whole(a.messages().at(0));
    std::vector<int32_t> all = prompt.ids;
    all.insert(all.end(), whole.ids.begin(), whole.ids.end());
    EXPECT_EQ(all, same.ids);
    EXPECT_EQ(whole.log_probs, same.log_probs);
    EXPECT_EQ("sort: 3 1 2" + whole.text, same.text);
    EXPECT_TRUE(Run([&] { return Idle(); }));
}

TEST_F(Kserve, ABatchIsAnsweredRowByRowAndAsEachAlone)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    const std::vector<std::string> prompts = {"sort: 3 1 2", "reverse: a b", "count: 7", "copy: x",
                                              "sort: 9 8", "upper: abc"};
    Request batch;
    batch.Texts("text_input", prompts, {(int64_t)prompts.size(), 1});
    batch.Int("max_tokens", 12);
    batch.Float("temperature", 0);
    batch.Bool("return_log_probs", true);
    batch.Bool("return_token_ids", true);
    batch.Bool("return_finish_reason", true);
    Answer a = Unary(Connect(), infer_path, Pack(batch.m));
    ASSERT_EQ(GRPC_OK, a.status()) << a.fields["grpc-message"];
    ASSERT_EQ(1u, a.messages().size());
    Got rows = Whole(a.messages()[0]);
    ASSERT_EQ(prompts.size(), rows.texts.size());
    ASSERT_EQ(prompts.size(), rows.reasons.size());
    ASSERT_EQ(2u, rows.ids_shape.size());
    EXPECT_EQ(rows.ids_shape, rows.log_probs_shape);
    size_t longest = (size_t)rows.ids_shape[1], greatest = 0;
    for (size_t i = 0; i < prompts.size(); i++) {
        Request one(prompts[i]);
        one.Int("max_tokens", 12);
        one.Float("temperature", 0);
        WantTokens(one);
        Got alone = Whole(Unary(Connect(), infer_path, Pack(one.m)).messages().at(0));
        EXPECT_EQ(alone.text, rows.texts[i]);
        std::vector<int32_t> ids = alone.ids;
        std::vector<float> log_probs = alone.log_probs;
        greatest = std::max(greatest, ids.size());
        ids.resize(longest, -1);
        log_probs.resize(longest, 0);
        EXPECT_TRUE(
            std::equal(ids.begin(), ids.end(), rows.ids.begin() + (ptrdiff_t)(i * longest)));
        EXPECT_TRUE(std::equal(log_probs.begin(), log_probs.end(),
                               rows.log_probs.begin() + (ptrdiff_t)(i * longest)));
        EXPECT_EQ(alone.log_prob_sums.at(0), rows.log_prob_sums.at(i));
    }
    EXPECT_EQ(greatest, longest) << "no wider than the longest row";
    Request none;
    none.Texts("text_input", {"a", "b"});
    none.Int("max_tokens", 0);
    EXPECT_EQ((std::vector<std::string>{"", ""}),
              Whole(Unary(Connect(), infer_path, Pack(none.m)).messages().at(0)).texts);
    EXPECT_TRUE(Run([&] { return Idle(); }));
}

TEST_F(Kserve, ABatchThatIsRefusedComputesNothing)
{
    ASSERT_NO_FATAL_FAILURE(StartReady(2));
    Client &client = Connect();
    Request late, stream, full;
    late.Texts("text_input", {"a", std::string(5000, 'x')});
    EXPECT_EQ(GRPC_INVALID_ARGUMENT, Unary(client, infer_path, Pack(late.m)).status());
    stream.Texts("text_input", {"a", "b"});
    std::vector<Got> got = Stream({&stream});
    ASSERT_EQ(1u, got.size());
    EXPECT_TRUE(got[0].final);
    EXPECT_EQ("a batch of 2 prompts is for ModelInfer: send separate requests in a stream",
              got[0].error);
    EXPECT_EQ(0u, Stats().prompt_tokens);
    full.Texts("text_input", std::vector<std::string>(100, "a"));
    full.Int("max_tokens", 500);
    full.Bool("ignore_eos", true);
    Answer a = Unary(client, infer_path, Pack(full.m));
    EXPECT_EQ(GRPC_RESOURCE_EXHAUSTED, a.status());
    EXPECT_NE(std::string::npos, a.fields["grpc-message"].find("--max-queue"))
        << a.fields["grpc-message"] << ": the front's queue was full, or the engine's";
    EXPECT_TRUE(Run([&] { return Idle(); }, 30)) << "its rows went with it";
    EXPECT_EQ(0u, requests_live(requests_));
}

TEST_F(Kserve, ABatchGoesWithItsClient)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    Request batch;
    batch.Texts("text_input", {"a", "b", "c"});
    batch.Int("max_tokens", 900);
    batch.Bool("ignore_eos", true);
    Client &client = Connect();
    int32_t id = client.Call(infer_path, Framed(Pack(batch.m)));
    EXPECT_TRUE(Run([&] { return requests_live(requests_) == 3; }, 30));
    client.Reset(id);
    EXPECT_TRUE(Run([&] { return Idle() && requests_live(requests_) == 0; }, 30));
    id = client.Call(infer_path, Framed(Pack(batch.m)));
    EXPECT_TRUE(Run([&] { return requests_live(requests_) == 3; }, 30));
    requests_cut_off(requests_);
    EXPECT_TRUE(Run([&] { return client.answer(id).ended; }));
    EXPECT_EQ(GRPC_UNAVAILABLE, client.answer(id).status());
    EXPECT_TRUE(Run([&] { return Idle(); }, 30));
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
    EXPECT_EQ(GRPC_INVALID_ARGUMENT, client.answer(id).status())
        << "a broken message ends the stream";
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
