#include "server/moering_v1/moering_v1.h"

#include <moering/v1/moering.pb-c.h>

#include <memory>

#include "tests/server/toy_engine.h"
#include "tests/server/wire_client.h"

namespace {

using wire::Answer;
using wire::Framed;

const char generate_path[] = "/moering.v1.Moering/Generate";

/* So many tokens that an answer is still under way when a test looks; it takes max_model_len
 * 1600. */
const uint32_t endless = 1500;

std::string Pack(const ProtobufCMessage &m)
{
    std::string out(protobuf_c_message_get_packed_size(&m), '\0');
    protobuf_c_message_pack(&m, reinterpret_cast<uint8_t *>(&out[0]));
    return out;
}

struct Generate {
    Moering__V1__GenerateRequest m;
    Moering__V1__SamplingParams sampling;
    Moering__V1__TokenIds ids;
    std::vector<uint32_t> prompt = {3, 1, 4, 1, 5};

    explicit Generate(uint32_t max_tokens)
    {
        moering__v1__generate_request__init(&m);
        moering__v1__sampling_params__init(&sampling);
        moering__v1__token_ids__init(&ids);
        sampling._temperature_case = MOERING__V1__SAMPLING_PARAMS___TEMPERATURE_TEMPERATURE;
        m.sampling = &sampling;
        m.prompt_case = MOERING__V1__GENERATE_REQUEST__PROMPT_TOKENS;
        m.tokens = &ids;
        m._max_tokens_case = MOERING__V1__GENERATE_REQUEST___MAX_TOKENS_MAX_TOKENS;
        m.max_tokens = max_tokens;
        m.ignore_eos = true;
    }
    std::string bytes()
    {
        ids.ids = prompt.data();
        ids.n_ids = prompt.size();
        return Pack(m.base);
    }
};

template <typename T> using Owned = std::unique_ptr<T, void (*)(T *)>;

Owned<Moering__V1__GenerateChunk> Chunk(const std::string &bytes)
{
    return {moering__v1__generate_chunk__unpack(nullptr, bytes.size(),
                                                reinterpret_cast<const uint8_t *>(bytes.data())),
            [](Moering__V1__GenerateChunk *c) {
                if (c)
                    moering__v1__generate_chunk__free_unpacked(c, nullptr);
            }};
}

uint32_t Tokens(const Answer &answer)
{
    uint32_t n = 0;
    for (const std::string &m : answer.messages())
        n += (uint32_t)Chunk(m)->n_tokens;
    return n;
}

class MoeringV1 : public wire::ServerTest {
  protected:
    void Start(uint32_t max_queue = 100, uint32_t stall_timeout_s = 60)
    {
        struct requests_config accepted = {};
        accepted.served_name = "toy";
        accepted.stall_timeout_s = stall_timeout_s;
        ASSERT_EQ(STATUS_OK, requests_open(&requests_, &accepted, nullptr));
        struct moering_v1_config config = {requests_, clock_now_ns()};
        ASSERT_EQ(STATUS_OK, moering_v1_open(&service_, &config, nullptr));
        std::vector<grpc_method> methods(MOERING_V1_METHODS);
        moering_v1_methods(service_, methods.data());
        Open(methods);
        struct engine_thread_config thread = {};
        thread.engine = folder_.config;
        thread.max_queue = max_queue;
        ASSERT_EQ(STATUS_OK, engine_thread_open(&engine_, &thread, nullptr));
        requests_attach(requests_, engine_);
        moering_v1_attach(service_, server_, engine_);
        news_ = event_new(base_, engine_thread_fd(engine_), EV_READ | EV_PERSIST, OnNews, this);
        event_add(news_, nullptr);
    }
    void Ready()
    {
        ASSERT_TRUE(Run([&] { return engine_thread_state(engine_) == ENGINE_READY; }));
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
        auto *self = static_cast<MoeringV1 *>(arg);
        engine_thread_flush(self->engine_);
        while (struct request_event *e = engine_thread_next(self->engine_)) {
            if (e->change)
                moering_v1_budget_changed(self->service_, e);
            else if (e->request)
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

    toy_engine::Folder folder_;
    struct requests *requests_ = nullptr;
    struct moering_v1 *service_ = nullptr;
    struct engine_thread *engine_ = nullptr;
    struct event *news_ = nullptr;
};

TEST_F(MoeringV1, StreamsChunksAndEndsWithUsage)
{
    ASSERT_NO_FATAL_FAILURE(Start());
    ASSERT_NO_FATAL_FAILURE(Ready());
    Generate g(6);
    g.m.top_logprobs = 2;
    Answer a = Unary(Connect(), generate_path, g.bytes());
    ASSERT_EQ(GRPC_OK, a.status()) << a.fields["grpc-message"];
    EXPECT_EQ(6u, Tokens(a));
    auto messages = a.messages();
    for (size_t i = 0; i < messages.size(); i++) {
        auto chunk = Chunk(messages[i]);
        bool last = i + 1 == messages.size();
        EXPECT_EQ(last, chunk->usage != nullptr);
        EXPECT_EQ(last ? MOERING__V1__FINISH_REASON__FINISH_REASON_LENGTH
                       : MOERING__V1__FINISH_REASON__FINISH_REASON_UNSPECIFIED,
                  chunk->finish_reason);
        ASSERT_EQ(chunk->n_tokens, chunk->n_logprobs);
        for (size_t k = 0; k < chunk->n_logprobs; k++) {
            ASSERT_EQ(2u, chunk->logprobs[k]->n_top);
            EXPECT_EQ(chunk->tokens[k], chunk->logprobs[k]->top[0]->token);
        }
        if (last) {
            EXPECT_EQ(5u, chunk->usage->prompt_tokens);
            EXPECT_EQ(6u, chunk->usage->completion_tokens);
            EXPECT_GT(chunk->usage->experts->hits + chunk->usage->experts->misses, 0u);
        }
    }
    EXPECT_EQ(0u, requests_live(requests_));
}

TEST_F(MoeringV1, SaysHowFarLoadingIs)
{
    ASSERT_NO_FATAL_FAILURE(Start());
    /* The thread may be done by now; then there is nothing to see. */
    Answer a = Unary(Connect(), generate_path, Generate(2).bytes());
    if (a.status() != GRPC_OK) {
        EXPECT_EQ(GRPC_UNAVAILABLE, a.status());
        EXPECT_NE(std::string::npos, a.fields["grpc-message"].find("loading model"));
    }
}

TEST_F(MoeringV1, AFailedLoadIsTheAnswer)
{
    folder_.config.model = "/nowhere/model";
    ASSERT_NO_FATAL_FAILURE(Start());
    ASSERT_TRUE(Run([&] { return engine_thread_state(engine_) == ENGINE_FAILED; }));
    Answer a = Unary(Connect(), generate_path, Generate(2).bytes());
    EXPECT_EQ(GRPC_UNAVAILABLE, a.status());
    EXPECT_NE(std::string::npos, a.fields["grpc-message"].find("/nowhere/model"));
}

TEST_F(MoeringV1, ResetAndLostConnectionsFreeAtOnce)
{
    folder_.config.max_model_len = 1600;
    ASSERT_NO_FATAL_FAILURE(Start());
    ASSERT_NO_FATAL_FAILURE(Ready());
    wire::Client &client = Connect();
    int32_t id = client.Call(generate_path, Framed(Generate(endless).bytes()));
    ASSERT_TRUE(Run([&] { return !client.answer(id).messages().empty(); }));
    client.Reset(id);
    EXPECT_TRUE(Run([&] { return requests_live(requests_) == 0 && Idle(); }));
    wire::Client &other = Connect();
    for (int i = 0; i < 8; i++) /* four run, four wait */
        id = other.Call(generate_path, Framed(Generate(endless).bytes()));
    ASSERT_TRUE(Run([&] { return requests_live(requests_) == 8; }));
    other.Disconnect();
    EXPECT_TRUE(Run([&] { return requests_live(requests_) == 0 && Idle(); }));
}

TEST_F(MoeringV1, AReaderThatStopsPausesItsRequest)
{
    limits_.output_bytes_high = 512;
    folder_.config.max_model_len = 1600;
    ASSERT_NO_FATAL_FAILURE(Start(100, 1));
    ASSERT_NO_FATAL_FAILURE(Ready());
    wire::Client &client = Connect(false);
    nghttp2_settings_entry window = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 256};
    nghttp2_submit_settings(client.session(), NGHTTP2_FLAG_NONE, &window, 1);
    Generate g(endless);
    g.m.top_logprobs = 20;
    int32_t id = client.Call(generate_path, Framed(g.bytes()));
    ASSERT_TRUE(Run([&] { return Stats().now.paused == 1; }));
    uint64_t so_far = Stats().generation_tokens;
    EXPECT_LT(so_far, endless);
    Answer quick = Unary(Connect(), generate_path, Generate(5).bytes());
    EXPECT_EQ(5u, Tokens(quick)); /* others go on */
    EXPECT_EQ(so_far + 5, Stats().generation_tokens);
    EXPECT_TRUE(Run([&] {
        client.Consume(id);
        return client.answer(id).ended;
    }, 60));
    EXPECT_EQ(endless, Tokens(client.answer(id)));
    EXPECT_EQ(GRPC_OK, client.answer(id).status());
}

TEST_F(MoeringV1, AReaderThatStopsForGoodIsCutOff)
{
    limits_.output_bytes_high = 512;
    folder_.config.max_model_len = 1600;
    ASSERT_NO_FATAL_FAILURE(Start(100, 1));
    ASSERT_NO_FATAL_FAILURE(Ready());
    wire::Client &client = Connect(false);
    nghttp2_settings_entry window = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 256};
    nghttp2_submit_settings(client.session(), NGHTTP2_FLAG_NONE, &window, 1);
    Generate g(endless);
    g.m.top_logprobs = 20;
    client.Call(generate_path, Framed(g.bytes()));
    ASSERT_TRUE(Run([&] { return Stats().now.paused == 1; }));
    requests_tick(requests_, clock_now_ns()); /* not yet */
    EXPECT_EQ(1u, requests_live(requests_));
    requests_tick(requests_, clock_now_ns() + 2000000000u);
    EXPECT_EQ(0u, requests_live(requests_));
    EXPECT_TRUE(Run([&] { return Idle(); }));
}

TEST_F(MoeringV1, AFullQueueIsRefused)
{
    folder_.config.max_model_len = 1600;
    ASSERT_NO_FATAL_FAILURE(Start(0));
    ASSERT_NO_FATAL_FAILURE(Ready());
    wire::Client &client = Connect();
    std::vector<int32_t> ids;
    for (int i = 0; i < 30; i++)
        ids.push_back(client.Call(generate_path, Framed(Generate(endless).bytes())));
    ASSERT_TRUE(Run([&] {
        return std::all_of(ids.begin(), ids.end(),
                           [&](int32_t id) { return client.answer(id).closed; });
    }, 120));
    int ok = 0, full = 0;
    for (int32_t id : ids) {
        ok += client.answer(id).status() == GRPC_OK && Tokens(client.answer(id)) == endless;
        full += client.answer(id).status() == GRPC_RESOURCE_EXHAUSTED;
    }
    EXPECT_EQ(30, ok + full);
    EXPECT_GE(ok, 4);
    EXPECT_GT(full, 0);
}

TEST_F(MoeringV1, DrainRefusesNewWorkAndFinishesTheOld)
{
    folder_.config.max_model_len = 1600;
    ASSERT_NO_FATAL_FAILURE(Start());
    ASSERT_NO_FATAL_FAILURE(Ready());
    wire::Client &client = Connect();
    int32_t old = client.Call(generate_path, Framed(Generate(endless).bytes()));
    ASSERT_TRUE(Run([&] { return requests_live(requests_) == 1; }));
    requests_drain(requests_);
    Answer late = Unary(client, generate_path, Generate(2).bytes());
    EXPECT_EQ(GRPC_UNAVAILABLE, late.status());
    EXPECT_TRUE(Run([&] { return client.answer(old).closed; }, 60));
    EXPECT_EQ(endless, Tokens(client.answer(old)));
}

struct Budget {
    Moering__V1__SetBudgetRequest m;
    Budget() { moering__v1__set_budget_request__init(&m); }
    Budget &Device(const char *text)
    {
        m._device_experts_case = MOERING__V1__SET_BUDGET_REQUEST___DEVICE_EXPERTS_DEVICE_EXPERTS;
        m.device_experts = const_cast<char *>(text);
        return *this;
    }
    Budget &Host(const char *text)
    {
        m._host_experts_case = MOERING__V1__SET_BUDGET_REQUEST___HOST_EXPERTS_HOST_EXPERTS;
        m.host_experts = const_cast<char *>(text);
        return *this;
    }
    Budget &Kv(const char *text)
    {
        m._kv_cache_bytes_case =
            MOERING__V1__SET_BUDGET_REQUEST___KV_CACHE_BYTES_KV_CACHE_BYTES;
        m.kv_cache_bytes = const_cast<char *>(text);
        return *this;
    }
    std::string bytes() const { return Pack(m.base); }
};

const char budget_path[] = "/moering.v1.Moering/SetBudget";

TEST_F(MoeringV1, ABudgetChangesUnderARequest)
{
    folder_.config.max_model_len = 1600;
    ASSERT_NO_FATAL_FAILURE(Start());
    ASSERT_NO_FATAL_FAILURE(Ready());
    wire::Client &client = Connect();
    int32_t id = client.Call(generate_path, Framed(Generate(endless).bytes()));
    ASSERT_TRUE(Run([&] { return !client.answer(id).messages().empty(); }));
    Answer a = Unary(client, budget_path, Budget().Device("6").Kv("1MiB").bytes());
    ASSERT_EQ(GRPC_OK, a.status()) << a.fields["grpc-message"];
    ASSERT_EQ(1u, a.messages().size());
    std::string bytes = a.messages()[0];
    Moering__V1__SetBudgetResponse *m = moering__v1__set_budget_response__unpack(
        nullptr, bytes.size(), reinterpret_cast<const uint8_t *>(bytes.data()));
    ASSERT_NE(nullptr, m);
    EXPECT_EQ(6u, m->after->device_slots);
    EXPECT_NE(m->before->device_slots, m->after->device_slots);
    EXPECT_EQ(170u, m->after->kv_blocks); // 1 MiB of 6,144 bytes
    EXPECT_EQ(170u * 6144, m->after->kv_bytes);
    EXPECT_EQ(0u, m->preempted_requests);
    EXPECT_GT(m->elapsed_ms, 0);
    moering__v1__set_budget_response__free_unpacked(m, nullptr);
    Moering__V1__GetModelRequest ask = MOERING__V1__GET_MODEL_REQUEST__INIT;
    Answer model = Unary(client, "/moering.v1.Moering/GetModel", Pack(ask.base));
    ASSERT_EQ(GRPC_OK, model.status());
    bytes = model.messages()[0];
    Moering__V1__GetModelResponse *told = moering__v1__get_model_response__unpack(
        nullptr, bytes.size(), reinterpret_cast<const uint8_t *>(bytes.data()));
    ASSERT_NE(nullptr, told);
    EXPECT_EQ(6u, told->device_slots);
    EXPECT_EQ(170u * 6144, told->kv_bytes);
    moering__v1__get_model_response__free_unpacked(told, nullptr);
    EXPECT_TRUE(Run([&] { return client.answer(id).closed; }, 60));
    EXPECT_EQ(endless, Tokens(client.answer(id)));
}

TEST_F(MoeringV1, ABadBudgetIsNamed)
{
    ASSERT_NO_FATAL_FAILURE(Start());
    ASSERT_NO_FATAL_FAILURE(Ready());
    wire::Client &client = Connect();
    std::string longest(64, '1'), longer(65, '1');
    struct {
        Budget budget;
        int code;
        const char *says;
    } cases[] = {
        {Budget(), GRPC_INVALID_ARGUMENT, "none of device_experts"},
        {Budget().Device("lots"), GRPC_INVALID_ARGUMENT, "device_experts: 'lots' is not a size"},
        {Budget().Device(longest.c_str()), GRPC_INVALID_ARGUMENT, "are more than any model has"},
        {Budget().Device(longer.c_str()), GRPC_INVALID_ARGUMENT, "has 65 bytes, allowed are 64"},
        {Budget().Host(longer.c_str()), GRPC_INVALID_ARGUMENT, "host_experts has 65 bytes"},
        {Budget().Kv("25%"), GRPC_INVALID_ARGUMENT, "kv_cache_bytes: '25%25' is not a size"},
        {Budget().Kv(""), GRPC_INVALID_ARGUMENT, "kv_cache_bytes: '' is not a size"},
        {Budget().Kv("1"), GRPC_INVALID_ARGUMENT, "one sequence of --max-model-len 128"},
        {Budget().Host("25%"), GRPC_INVALID_ARGUMENT, "--host-experts"},
        {Budget().Kv("1000TB"), GRPC_RESOURCE_EXHAUSTED, "--kv-cache-bytes"},
    };
    for (auto &c : cases) {
        Answer a = Unary(client, budget_path, c.budget.bytes());
        EXPECT_EQ(c.code, a.status()) << c.says;
        EXPECT_NE(std::string::npos, a.fields["grpc-message"].find(c.says))
            << a.fields["grpc-message"];
    }
    EXPECT_EQ(GRPC_OK, Unary(client, generate_path, Generate(3).bytes()).status());
}

TEST_F(MoeringV1, CutOffTellsEveryClient)
{
    folder_.config.max_model_len = 1600;
    ASSERT_NO_FATAL_FAILURE(Start());
    ASSERT_NO_FATAL_FAILURE(Ready());
    wire::Client &client = Connect();
    std::vector<int32_t> ids;
    for (int i = 0; i < 9; i++)
        ids.push_back(client.Call(generate_path, Framed(Generate(endless).bytes())));
    ASSERT_TRUE(Run([&] { return requests_live(requests_) == 9; }));
    EXPECT_EQ(9u, requests_cut_off(requests_));
    for (int32_t id : ids) {
        ASSERT_TRUE(Run([&] { return client.answer(id).closed; }));
        EXPECT_EQ(GRPC_UNAVAILABLE, client.answer(id).status());
    }
    EXPECT_TRUE(Run([&] { return Idle(); }));
}

TEST_F(MoeringV1, TextNeedsATokenizer)
{
    ASSERT_NO_FATAL_FAILURE(Start());
    ASSERT_NO_FATAL_FAILURE(Ready());
    wire::Client &client = Connect();
    for (const char *method : {"Tokenize", "Detokenize"})
        EXPECT_EQ(GRPC_FAILED_PRECONDITION,
                  Unary(client, std::string("/moering.v1.Moering/") + method, "").status());
    uint8_t text[] = "hello";
    Generate g(3);
    g.m.prompt_case = MOERING__V1__GENERATE_REQUEST__PROMPT_TEXT;
    g.m.text = {5, text};
    EXPECT_EQ(GRPC_UNIMPLEMENTED, Unary(client, generate_path, Pack(g.m.base)).status());
    EXPECT_EQ(GRPC_INVALID_ARGUMENT, Unary(client, generate_path, "\xff\xff\xff").status());
}

TEST_F(MoeringV1, ModelAndStats)
{
    ASSERT_NO_FATAL_FAILURE(Start());
    ASSERT_NO_FATAL_FAILURE(Ready());
    wire::Client &client = Connect();
    Answer a = Unary(client, "/moering.v1.Moering/GetModel", "");
    ASSERT_EQ(GRPC_OK, a.status());
    auto bytes = a.messages().at(0);
    auto *model = moering__v1__get_model_response__unpack(
        nullptr, bytes.size(), reinterpret_cast<const uint8_t *>(bytes.data()));
    ASSERT_NE(nullptr, model);
    EXPECT_STREQ("toy", model->name);
    EXPECT_EQ(24u, model->expert_pages);
    bool device = *model->device;
    EXPECT_STREQ(device ? "auto" : "", model->placement);
    EXPECT_EQ(!device, model->deterministic);
    EXPECT_EQ(device, model->link_idle_bytes_per_s > 0);
    EXPECT_EQ(0, strncmp(device ? "cuda" : "cpu ", model->backend, 4)) << model->backend;
    moering__v1__get_model_response__free_unpacked(model, nullptr);
    Unary(client, generate_path, Generate(7).bytes());
    a = Unary(client, "/moering.v1.Moering/GetStats", "");
    bytes = a.messages().at(0);
    auto *stats = moering__v1__get_stats_response__unpack(
        nullptr, bytes.size(), reinterpret_cast<const uint8_t *>(bytes.data()));
    ASSERT_NE(nullptr, stats);
    EXPECT_EQ(1u, stats->requests_finished);
    EXPECT_EQ(7u, stats->generation_tokens);
    EXPECT_EQ(5u, stats->prompt_tokens);
    EXPECT_EQ(2u, stats->n_tiers);
    ASSERT_NE(nullptr, stats->experts);
    EXPECT_GT(stats->experts->hits + stats->experts->misses, 0u);
    ASSERT_NE(nullptr, stats->prefetch);
    EXPECT_EQ(stats->prefetch_issued, stats->prefetch->issued);
    ASSERT_NE(nullptr, stats->foresight);
    EXPECT_STREQ("auto", stats->foresight->predictor); /* all pages fit: nobody was asked */
    ASSERT_NE(nullptr, stats->stream);
    ASSERT_NE(nullptr, stats->regret);
    EXPECT_EQ(0u, stats->regret->windows);
    EXPECT_EQ(4096u, stats->regret->next_requests);
    EXPECT_GT(stats->layer_ms, 0);
    EXPECT_EQ(0u, stats->n_loads);
    moering__v1__get_stats_response__free_unpacked(stats, nullptr);
}

} // namespace
