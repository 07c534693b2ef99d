#include "server/metrics/experts_http.h"

#include <gtest/gtest.h>

#include "server/grpc/grpc_metadata.h"
#include "tests/server/metrics/metrics_server.h"

namespace {

/* A viewer of a stream, as FORMATS.md tells it to be. */
struct Viewer {
    explicit Viewer(http_test::Client &from) : client(&from) {}

    /* Takes what has come. */
    void Read()
    {
        size_t end;
        if (head.empty() && (end = client->received.find("\r\n\r\n")) != std::string::npos) {
            head = client->received.substr(0, end);
            client->received.erase(0, end + 4);
        }
        while (!head.empty() && (end = client->received.find("\r\n")) != std::string::npos) {
            size_t size = std::stoul(client->received, nullptr, 16);
            if (client->received.size() < end + 2 + size + 2)
                break;
            ended = size == 0;
            text += client->received.substr(end + 2, size);
            client->received.erase(0, end + 2 + size + 2);
        }
        while ((end = text.find("\n\n")) != std::string::npos) {
            Take(text.substr(0, end));
            text.erase(0, end + 2);
        }
    }
    void Take(const std::string &block)
    {
        if (block == ": ping") {
            pings++;
            return;
        }
        size_t line = block.find('\n');
        ASSERT_NE(std::string::npos, line) << block;
        ASSERT_EQ(0u, block.find("data: ", line + 1) - line - 1) << block;
        metrics_test::Json json(block.substr(line + 7));
        EXPECT_GT(json.number("tick"), tick);
        EXPECT_GE(json.number("now_ms"), now_ms);
        tick = json.number("tick");
        now_ms = json.number("now_ms");
        if (block.substr(0, line) == "event: map") {
            maps++;
            cells = Base64(json.text("cells"));
            ASSERT_EQ(json.number("layers") * json.number("experts"),
                      static_cast<double>(cells.size()));
            return;
        }
        ASSERT_EQ("event: delta", block.substr(0, line));
        ASSERT_GT(maps, 0) << "a map comes first";
        deltas++;
        Apply(Base64(json.text("changes")));
    }
    static std::string Base64(const std::string &text)
    {
        std::string out(text.size(), '\0');
        size_t bytes = 0;
        EXPECT_EQ(0u, text.size() % 4);
        EXPECT_TRUE(grpc_base64_decode(text.data(), text.size(), &out[0], &bytes));
        out.resize(bytes);
        return out;
    }
    void Apply(const std::string &changes)
    {
        ASSERT_FALSE(changes.empty());
        ASSERT_LE(changes.size(), cells.size());
        size_t at = 0;
        for (size_t i = 0; i < changes.size(); i += 2) { /* 24 cells: a skip is one byte */
            at += static_cast<uint8_t>(changes[i]);
            ASSERT_LT(at, cells.size());
            EXPECT_NE(cells[at], changes[i + 1]);
            cells[at++] = changes[i + 1];
        }
    }

    http_test::Client *client;
    std::string head, text, cells;
    double tick = 0, now_ms = 0;
    int maps = 0, deltas = 0, pings = 0;
    bool ended = false;
};

struct Experts : metrics_test::Server {
    Experts() { experts_pace_init(&pace_); }
    ~Experts() override { Stop(); }
    uint32_t OpenRoutes(struct http_route *out) override
    {
        EXPECT_EQ(STATUS_OK, experts_open(&experts_, base_, &pace_, nullptr));
        return experts_routes(experts_, out);
    }
    void Attach() override { experts_attach(experts_, server_, requests_, engine_); }
    void CloseRoutes() override { experts_close(experts_); }
    Viewer Watch() { return Viewer(Send("/v1/experts/stream")); }
    bool Sees(Viewer &v, const std::function<bool()> &what, double seconds = 10)
    {
        return Until([&] {
            v.Read();
            return what();
        }, seconds);
    }
    /* One request, from its submit to its end. */
    void Work()
    {
        Submit(60);
        ASSERT_TRUE(Until([&] { return Idle(); }));
    }

    struct experts_pace pace_;
    struct experts *experts_ = nullptr;
};

TEST_F(Experts, json_and_binary_say_the_same)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    ASSERT_NO_FATAL_FAILURE(Work());
    Answer answer = Get("/v1/experts");
    EXPECT_EQ(200, answer.code);
    EXPECT_EQ("application/json", answer.Header("Content-Type"));
    EXPECT_EQ("no-store", answer.Header("Cache-Control"));
    metrics_test::Json json(answer.body);
    EXPECT_EQ("moering.experts", json.text("object"));
    EXPECT_EQ(3, json.number("layers"));
    EXPECT_EQ(8, json.number("experts"));
    EXPECT_EQ(1, json.number("tick"));
    ASSERT_EQ(3u, json_array_size(json.at("cells")));
    Answer same = Get("/v1/experts?format=json"), binary = Get("/v1/experts?format=bin");
    EXPECT_EQ("application/octet-stream", binary.Header("Content-Type"));
    ASSERT_EQ(32u + 24, binary.body.size());
    EXPECT_EQ("MOEX", binary.body.substr(0, 4));
    EXPECT_EQ(answer.body, same.body) << "looks are a tenth of a second apart";
    uint32_t device = 0, warm = 0;
    for (size_t i = 0; i < 24; i++) {
        auto cell = static_cast<uint8_t>(binary.body[32 + i]);
        EXPECT_EQ(cell, json_integer_value(
                            json_array_get(json_array_get(json.at("cells"), i / 8), i % 8)));
        device += EXPERT_CELL_TIER(cell) == 2;
        warm += EXPERT_CELL_HEAT(cell) > 0;
    }
    EXPECT_EQ(12u, device) << "as many as there are slots";
    EXPECT_GT(warm, 0u);
    Pass(0.11);
    EXPECT_EQ(2, metrics_test::Json(Get("/v1/experts").body).number("tick"));
}

TEST_F(Experts, refusals)
{
    ASSERT_NO_FATAL_FAILURE(Start(true));
    for (const char *path : {"/v1/experts", "/v1/experts?format=bin", "/v1/experts/stream"}) {
        Answer answer = Get(path);
        EXPECT_EQ(503, answer.code) << path;
        EXPECT_NE(std::string::npos, answer.body.find("loading model")) << answer.body;
        EXPECT_TRUE(answer.Has("Retry-After"));
    }
    held_ = false;
    ASSERT_TRUE(Until([&] { return engine_thread_state(engine_) == ENGINE_READY; }));
    Answer answer = Get("/v1/experts?format=xml");
    EXPECT_EQ(400, answer.code);
    EXPECT_NE(std::string::npos, answer.body.find("\"param\":\"format\"")) << answer.body;
    EXPECT_EQ(0u, experts_looks(experts_)) << "nothing was looked at for a refusal";
    EXPECT_EQ(0u, experts_viewers(experts_));
}

TEST_F(Experts, a_stream_is_a_map_and_deltas)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    Viewer v = Watch();
    ASSERT_TRUE(Sees(v, [&] { return v.maps == 1; }));
    EXPECT_NE(std::string::npos, v.head.find("text/event-stream; charset=utf-8"));
    EXPECT_NE(std::string::npos, v.head.find("Cache-Control: no-cache"));
    Submit(3);
    ASSERT_TRUE(Sees(v, [&] { return v.deltas + v.maps > 2; }));
    ASSERT_TRUE(Until([&] { return Idle(); }));
    /* What the stream has shown is what a single answer shows at the same look. */
    int compared = 0;
    for (int i = 0; i < 12; i++) {
        Answer answer = Get("/v1/experts?format=bin");
        Pass(0.03);
        v.Read();
        uint64_t tick;
        memcpy(&tick, answer.body.data() + 16, 8);
        if (v.tick <= static_cast<double>(tick)) { /* below: nothing had changed since */
            EXPECT_EQ(answer.body.substr(32), v.cells);
            compared++;
        }
        Pass(0.05);
    }
    EXPECT_GT(compared, 0);
    EXPECT_GT(v.deltas, 0);
}

TEST_F(Experts, many_viewers_share_a_look_and_nobody_looks_for_nobody)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    Pass(0.25);
    EXPECT_EQ(0u, experts_looks(experts_));
    std::vector<Viewer> viewers;
    for (int i = 0; i < 20; i++)
        viewers.push_back(Watch());
    ASSERT_TRUE(Until([&] { return experts_viewers(experts_) == 20; }));
    Submit(110);
    uint64_t before = experts_looks(experts_), begin = clock_now_ns();
    Pass(1);
    for (int i = 0; i < 50; i++)
        Get("/v1/experts"); /* these share it too */
    double seconds = static_cast<double>(clock_now_ns() - begin) / 1e9;
    uint64_t looks = experts_looks(experts_) - before;
    EXPECT_LE(static_cast<double>(looks), seconds * 10 + 1);
    EXPECT_GE(looks, 3u);
    for (Viewer &v : viewers) {
        ASSERT_TRUE(Sees(v, [&] { return v.maps > 0; }));
        EXPECT_EQ(viewers[0].cells, v.cells);
    }
    clients_.clear();
    ASSERT_TRUE(Until([&] { return experts_viewers(experts_) == 0; }));
    Pass(0.15);
    before = experts_looks(experts_);
    Pass(0.3);
    EXPECT_EQ(before, experts_looks(experts_));
}

TEST_F(Experts, silence_is_filled_with_pings_and_maps_come_again)
{
    pace_ = {10, 400, 100};
    ASSERT_NO_FATAL_FAILURE(StartReady());
    Viewer v = Watch(); /* everything is cold: nothing changes */
    ASSERT_TRUE(Sees(v, [&] { return v.maps == 1; }));
    std::string first = v.cells;
    ASSERT_TRUE(Sees(v, [&] { return v.pings >= 2; }));
    EXPECT_EQ(1, v.maps);
    EXPECT_EQ(0, v.deltas);
    ASSERT_TRUE(Sees(v, [&] { return v.maps == 3; }));
    EXPECT_EQ(first, v.cells);
    EXPECT_LE(v.pings, 8);
}

TEST_F(Experts, who_does_not_keep_up_gets_maps)
{
    pace_.look_ms = 20;
    limits_.output_bytes_high = 1; /* every write is one too many */
    ASSERT_NO_FATAL_FAILURE(StartReady());
    Viewer v = Watch();
    Submit(110);
    ASSERT_TRUE(Sees(v, [&] { return v.maps >= 3; }));
    EXPECT_EQ(0, v.deltas) << "what was skipped makes deltas useless";
}

TEST_F(Experts, a_drain_ends_streams)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    Viewer a = Watch(), b = Watch();
    ASSERT_TRUE(Sees(a, [&] { return a.maps == 1; }));
    requests_drain(requests_);
    ASSERT_TRUE(Sees(a, [&] { return a.ended; }, 2));
    ASSERT_TRUE(Sees(b, [&] { return b.ended; }, 2));
    EXPECT_EQ(0u, experts_viewers(experts_));
    EXPECT_EQ(503, Get("/v1/experts/stream").code);
    EXPECT_EQ(200, Get("/v1/experts").code) << "a single look holds nobody up";
}

TEST_F(Experts, the_server_may_close_under_viewers)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    Viewer a = Watch(), b = Watch();
    ASSERT_TRUE(Until([&] { return experts_viewers(experts_) == 2; }));
    a.client->Reset();
    http_server_close(server_);
    server_ = nullptr;
    EXPECT_EQ(0u, experts_viewers(experts_));
    Pass(0.2); /* the timer finds nobody */
}

} // namespace
