/* gRPC from a send time to a record, against a server whose delays are known; see load_test.cc. */
#include <event2/event.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "clients/bench/client.h"
#include "clients/bench/load.h"
#include "clients/bench/options.h"
#include "tests/clients/bench/fake_grpc.h"

namespace {

const double SLACK_MS = 5;

struct Trial {
    options o = {};
    fault why = {};
    event_base *base = event_base_new();
    client *c = nullptr;
    std::vector<prompt> prompts;
    std::vector<record> records;
    load_outcome outcome = {};
    std::vector<std::string> words;

    Trial(const fake::Grpc &server, std::vector<std::string> given = {}) : words(std::move(given))
    {
        for (const char *w : {"--backend", "moering", "--base-url"})
            words.push_back(w);
        words.push_back(server.address());
        std::vector<char *> argv = {const_cast<char *>("moering-bench")};
        for (auto &w : words)
            argv.push_back(&w[0]);
        EXPECT_TRUE(options_parse(&o, (int)argv.size(), argv.data(), &why)) << why.text;
        EXPECT_TRUE(client_open(&c, base, &o, &why)) << why.text;
    }
    ~Trial()
    {
        for (auto &r : records)
            record_close(&r);
        client_close(c);
        event_base_free(base);
    }
    void run(size_t count, uint32_t max_concurrency = 0, double timeout_s = 60)
    {
        static uint32_t ids[] = {1, 2, 3};
        std::vector<uint64_t> send_ns(count, 0);
        prompts.assign(count, prompt{nullptr, 0, ids, 3, 3, 5, 0});
        records.assign(count, record{});
        const load l = {base, c, prompts.data(), send_ns.data(), (uint32_t)count, max_concurrency,
                        timeout_s, true, false};
        ASSERT_TRUE(load_run(&l, records.data(), &outcome, &why)) << why.text;
    }
    std::string error(size_t i) const { return records[i].error ? records[i].error : ""; }
};

double median(std::vector<double> x)
{
    std::sort(x.begin(), x.end());
    return x[x.size() / 2];
}

TEST(client_grpc, the_server_says_what_it_serves)
{
    fake::Grpc server([](int, const std::string &) { return fake::GrpcScript(); });
    Trial t(server, {"--api-key", "k"});
    EXPECT_STREQ("toy", client_model(t.c));
    EXPECT_EQ(50u, client_vocabulary(t.c));
    EXPECT_STREQ("grpc", client_protocol(t.c));
    t.run(1);
    EXPECT_EQ("Bearer k", server.authorization);
}

bool has_delays(double scale)
{
    fake::Grpc server([=](int, const std::string &) {
        fake::GrpcScript s;
        s.first_ms = 20 * scale;
        s.gap_ms = 4 * scale;
        s.chunks = 10;
        return s;
    });
    Trial t(server);
    t.run(20);
    std::vector<double> ttft, tpot;
    for (const record &x : t.records) {
        EXPECT_EQ(RECORD_COMPLETED, x.state) << x.error;
        EXPECT_EQ(10u, x.content_count);
        EXPECT_EQ(10u, x.output_tokens);
        EXPECT_EQ(7u, x.input_tokens);
        EXPECT_EQ(90, x.experts.hits);
        EXPECT_STREQ("t0 t1 t2 t3 t4 t5 t6 t7 t8 t9 ", x.text);
        EXPECT_GE(record_ttft_s(&x), 0.020 * scale);
        ttft.push_back(record_ttft_s(&x) * 1e3 / scale);
        tpot.push_back(record_tpot_s(&x) * 1e3 / scale);
    }
    EXPECT_EQ(1 + 1, server.connections) << "one to find it, one for all calls";
    return median(ttft) < 20 + SLACK_MS && fabs(median(tpot) - 4) < 0.5;
}

TEST(client_grpc, delays_of_the_server)
{
    for (double scale = 1; scale <= 32;
         scale *= 2) /* late by milliseconds: the machine; by a share: us */
        if (has_delays(scale) || HasFailure())
            return;
    FAIL() << "late each time";
}

TEST(client_grpc, messages_cross_frames)
{
    fake::Grpc server([](int index, const std::string &) {
        fake::GrpcScript s;
        s.frame_bytes = (size_t)index + 1;
        return s;
    });
    Trial t(server);
    t.run(9, 1);
    for (size_t i = 0; i < 9; i++) {
        EXPECT_EQ(RECORD_COMPLETED, t.records[i].state) << t.error(i);
        EXPECT_STREQ("t0 t1 t2 t3 ", t.records[i].text);
    }
}

TEST(client_grpc, streams_are_shared_out)
{
    fake::Grpc server([](int, const std::string &) {
        fake::GrpcScript s;
        s.first_ms = 60;
        return s;
    }, 10);
    Trial t(server, {"--streams-per-connection", "4"});
    t.run(16);
    for (size_t i = 0; i < 16; i++)
        EXPECT_EQ(RECORD_COMPLETED, t.records[i].state) << t.error(i);
    EXPECT_EQ(1 + 4, server.connections);
    EXPECT_EQ(4, server.most_streams);
}

TEST(client_grpc, no_connection_has_more_than_the_server_allows)
{
    fake::Grpc server([](int, const std::string &) {
        fake::GrpcScript s;
        s.first_ms = 30;
        return s;
    }, 2);
    Trial t(server);
    t.run(20);
    for (size_t i = 0; i < 20; i++)
        EXPECT_EQ(RECORD_COMPLETED, t.records[i].state) << t.error(i);
    EXPECT_EQ(2, server.most_streams);
    EXPECT_EQ(1 + 10, server.connections);
}

TEST(client_grpc, failures_have_their_sentence)
{
    fake::Grpc server([](int index, const std::string &) {
        fake::GrpcScript s;
        s.chunks = index == 0 ? 0 : 2;
        s.status = index == 0 ? 8 : 0;
        s.text = index == 0 ? "queue%20full" : "";
        s.finish = index != 1;
        s.nonsense = index == 2;
        s.hang_up = index == 3;
        return s;
    });
    Trial t(server);
    t.run(5, 1);
    EXPECT_EQ("RESOURCE_EXHAUSTED: queue full", t.error(0));
    EXPECT_EQ("the stream ended without a finish reason", t.error(1));
    EXPECT_EQ("a message of the stream is no GenerateChunk", t.error(2));
    EXPECT_EQ("UNAVAILABLE: the server closed the connection", t.error(3));
    EXPECT_EQ(RECORD_COMPLETED, t.records[4].state) << t.error(4);
}

TEST(client_grpc, a_timeout_resets_the_stream)
{
    fake::Grpc server([](int index, const std::string &) {
        fake::GrpcScript s;
        s.first_ms = index == 0 ? 20000 : 0;
        return s;
    });
    Trial t(server);
    t.run(2, 1, 1);
    EXPECT_EQ("timed out", t.error(0));
    EXPECT_EQ(RECORD_COMPLETED, t.records[1].state) << t.error(1);
    EXPECT_EQ(1, server.resets);
}

} // namespace
