#include "server/metrics/stats_json.h"

#include <gtest/gtest.h>
#include <jansson.h>
#include <math.h>

#include <memory>
#include <string>

#include "tests/server/metrics/metrics_snapshots.h"

namespace {

struct Stats {
    std::string text;
    json_t *root = nullptr;

    explicit Stats(const struct metrics_snapshot &s)
    {
        struct jsonw w = {};
        stats_json(&w, &s);
        EXPECT_FALSE(w.failed);
        text.assign(w.data, w.bytes);
        jsonw_close(&w);
        json_error_t error;
        root = json_loadb(text.data(), text.size(), JSON_REJECT_DUPLICATES, &error);
        EXPECT_NE(nullptr, root) << error.text << "\n" << text;
    }
    ~Stats() { json_decref(root); }
    Stats(const Stats &) = delete;
    Stats &operator=(const Stats &) = delete;

    /* "a.b.0": what is there as JSON text; "missing". */
    std::string operator[](const std::string &path) const
    {
        json_t *at = root;
        for (size_t begin = 0; begin <= path.size();) {
            size_t end = std::min(path.find('.', begin), path.size());
            std::string key = path.substr(begin, end - begin);
            at = json_is_array(at) ? json_array_get(at, std::stoul(key))
                                   : json_object_get(at, key.c_str());
            begin = end + 1;
        }
        if (!at)
            return "missing";
        std::unique_ptr<char, void (*)(void *)> out(
            json_dumps(at, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(12)), free);
        return out.get();
    }
};

const char *const with_model[] = {"model", "engine", "kv", "tiers", "experts", "oracle", "prefetch",
                                  "foresight", "placement", "stream", "links", "stalls", "layers"};

TEST(stats_json, while_loading)
{
    metrics_test::Snapshot made;
    Stats s(made.s);
    EXPECT_EQ("\"moering.stats\"", s["object"]);
    EXPECT_EQ("\"" MOERING_VERSION "\"", s["version"]);
    EXPECT_EQ("\"loading\"", s["state"]);
    EXPECT_EQ("{\"phase\":\"experts\",\"progress\":0.25}", s["loading"]);
    EXPECT_EQ("null", s["error"]);
    EXPECT_EQ("3500", s["now_ms"]);
    EXPECT_EQ("2.5", s["uptime_s"]);
    for (const char *key : with_model)
        EXPECT_EQ("null", s[key]) << key;
    EXPECT_EQ("0", s["requests.running"]);
    EXPECT_EQ("0", s["latency.ttft.count"]);
}

TEST(stats_json, failed)
{
    metrics_test::Snapshot made;
    made.s.state = METRICS_FAILED;
    made.s.error = "no \"model\"";
    Stats s(made.s);
    EXPECT_EQ("\"failed\"", s["state"]);
    EXPECT_EQ("\"no \\\"model\\\"\"", s["error"]);
    EXPECT_EQ("null", s["loading"]);
}

TEST(stats_json, each_figure_in_its_place)
{
    metrics_test::Snapshot made(2);
    made.Fill();
    Stats s(made.s);
    EXPECT_EQ("\"ready\"", s["state"]);
    EXPECT_EQ("{\"running\":4,\"waiting\":5,\"finished\":11,\"cancelled\":12,\"failed\":13,"
              "\"rejected\":14,"
              "\"preemptions\":6}",
              s["requests"]);
    EXPECT_EQ("{\"prompt\":15,\"generation\":16,\"prefix_queries\":17,\"prefix_hits\":12}",
              s["tokens"]);
    EXPECT_EQ("2", s["latency.ttft.counts.1"]);
    EXPECT_EQ("2", s["latency.ttft.count"]);
    EXPECT_EQ("0.006", s["latency.ttft.sum_s"]);
    EXPECT_EQ("0.001", s["latency.ttft.bounds_s.0"]);
    for (const char *key : {"itl", "tpot", "e2e", "queue"})
        EXPECT_EQ("0", s[std::string("latency.") + key + ".count"]) << key;
    EXPECT_EQ("\"a/model\"", s["model.name"]);
    EXPECT_EQ("\"cpu avx2, 2 threads\"", s["model.backend"]);
    EXPECT_EQ("null", s["model.device"]);
    EXPECT_EQ("1000", s["model.page_bytes"]);
    EXPECT_EQ("{\"steps\":30,\"tokens\":63,\"step_ms\":33,\"stall_ms\":37,\"device_wait_ms\":0,"
              "\"host_experts_ms\":0,\"page_ms\":null,\"layer_ms\":null}", s["engine"]);
    EXPECT_EQ("10", s["kv.blocks_used"]);
    EXPECT_EQ("8", s["kv.blocks_idle"]);
    EXPECT_EQ("40", s["kv.blocks"]);
    EXPECT_EQ("16", s["kv.block_tokens"]);
    EXPECT_EQ("[{\"name\":\"device\",\"slots\":48,\"slot_bytes\":50,\"resident_pages\":44,"
              "\"resident_bytes\":46},{\"name\":\"host\",\"slots\":49,\"slot_bytes\":51,"
              "\"resident_pages\":45,\"resident_bytes\":47}]", s["tiers"]);
    EXPECT_EQ("{\"hits\":34,\"misses\":35,\"evictions\":38}", s["experts"]);
    EXPECT_EQ("{\"windows\":57,\"requests\":58,\"hit_rate\":0.5,\"oracle_hit_rate\":0.75}",
              s["oracle"]);
    EXPECT_EQ("{\"issued\":52,\"used\":53,\"wasted\":54,\"active\":true,\"profit\":0.5,"
              "\"threshold\":0.25}",
              s["prefetch"]);
    EXPECT_EQ("{\"predictor\":\"previous\",\"losses\":{\"transition\":null,\"previous\":0.125,"
              "\"lookahead\":null}}", s["foresight"]);
    EXPECT_EQ("null", s["placement"]);
    EXPECT_EQ("null", s["stream"]);
    EXPECT_EQ("[{\"from\":\"storage\",\"to\":\"host\",\"bytes\":41,\"peak_bytes_per_s\":null},"
              "{\"from\":\"storage\",\"to\":\"device\",\"bytes\":42,\"peak_bytes_per_s\":null},"
              "{\"from\":\"host\",\"to\":\"device\",\"bytes\":43,\"peak_bytes_per_s\":null}]",
              s["links"]);
    EXPECT_EQ("0.0001", s["stalls.bounds_s.0"]);
    EXPECT_EQ("55", s["stalls.counts.0"]);
    EXPECT_EQ("56", s["stalls.counts.16"]);
}

TEST(stats_json, layers_are_columns)
{
    metrics_test::Snapshot made(2);
    made.Fill();
    Stats s(made.s);
    EXPECT_EQ(
        "{\"hits\":[100,101],\"misses\":[200,201],\"evictions\":[300,301],"
        "\"prefetch_issued\":[400,401],\"prefetch_used\":[500,501],\"prefetch_wasted\":[600,601],"
        "\"resident\":[1,2]}",
        s["layers.device"]);
    EXPECT_EQ(
        "{\"hits\":[700,701],\"misses\":[800,801],\"evictions\":[900,901],\"resident\":[2,3]}",
        s["layers.host"]);
    EXPECT_EQ("{\"state\":[\"stable\",\"transient\"],\"ticks\":[9,8],\"cv\":[0.5,0.0]}",
              s["layers.decode"]);
    EXPECT_EQ("{\"state\":[null,null],\"ticks\":[0,0],\"cv\":[null,null]}", s["layers.prefill"]);
    made.s.engine.sizes.slots[MEMORY_HOST] = 0;
    EXPECT_EQ("null", Stats(made.s)["layers.host"]);
}

TEST(stats_json, what_only_some_servers_have)
{
    metrics_test::Snapshot made(2);
    made.Fill();
    made.s.state = METRICS_DRAINING;
    made.s.engine.host_compute = true;
    made.s.engine.placement.at_device = 61;
    made.s.engine.placement.at_host = 62;
    made.info.placement = PLACEMENT_HOST;
    made.info.device = "a GPU";
    made.info.link_idle_bytes_per_s = 2.5e10;
    made.s.engine.stream.slots = 3;
    made.s.engine.stream.streamed_steps = 63;
    made.s.engine.stream.demand_steps = 64;
    made.s.engine.page_ns = 1900000;
    made.s.engine.regret.windows = 0;
    Stats s(made.s);
    EXPECT_EQ("\"draining\"", s["state"]);
    EXPECT_EQ("\"a GPU\"", s["model.device"]);
    EXPECT_EQ("{\"mode\":\"host\",\"at_device\":61,\"at_host\":62}", s["placement"]);
    EXPECT_EQ("{\"layers\":3,\"streamed_steps\":63,\"demand_steps\":64}", s["stream"]);
    EXPECT_EQ("1.9", s["engine.page_ms"]);
    EXPECT_EQ("25000000000", s["links.2.peak_bytes_per_s"]);
    EXPECT_EQ("null", s["links.0.peak_bytes_per_s"]);
    EXPECT_EQ("null", s["oracle.hit_rate"]) << "nothing was judged yet";
    EXPECT_EQ("null", s["oracle.oracle_hit_rate"]);
}

TEST(stats_json, many_layers_stay_small)
{
    metrics_test::Snapshot made(94, 512);
    made.Fill();
    for (auto &layer : made.layers)
        layer.tier[MEMORY_DEVICE] = layer.tier[MEMORY_HOST] = {12345678, 1234567, 1234567, 1234567,
                                                               1234567, 123456, 512};
    EXPECT_LT(Stats(made.s).text.size(), 20000u);
}

TEST(stats_json, numbers)
{
    struct jsonw w = {};
    stats_json_number(&w, 0.1);
    stats_json_number(&w, (double)NAN);
    stats_json_number(&w, -(double)INFINITY);
    EXPECT_EQ("0.1,null,null", std::string(w.data, w.bytes));
    jsonw_close(&w);
}

} // namespace
