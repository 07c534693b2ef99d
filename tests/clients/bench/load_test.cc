/* The whole way from a send time to a record, against a server whose delays are known. Machines on
 * which tests run stand still at times, so what is bounded from above is a median; what is bounded
 * from below always holds. */
#include "clients/bench/load.h"

#include <event2/event.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "clients/bench/client.h"
#include "clients/bench/options.h"
#include "tests/clients/bench/fake_http.h"

namespace {

const double SLACK_MS = 5; /* of a median, with other tests running beside */

struct Trial {
    options o = {};
    fault why = {};
    event_base *base;
    client *c = nullptr;
    std::vector<prompt> prompts;
    std::vector<record> records;
    load_outcome outcome = {};
    std::vector<std::string> words;

    Trial(const fake::Http &server, std::vector<std::string> given = {}) : words(std::move(given))
    {
        words.push_back("--base-url");
        words.push_back(server.url());
        std::vector<char *> argv = {const_cast<char *>("moering-bench")};
        for (auto &w : words)
            argv.push_back(&w[0]);
        EXPECT_TRUE(options_parse(&o, (int)argv.size(), argv.data(), &why)) << why.text;
        event_config *config = event_config_new();
        event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
        base = event_base_new_with_config(config);
        event_config_free(config);
        EXPECT_TRUE(client_open(&c, base, &o, &why)) << why.text;
    }
    ~Trial()
    {
        for (auto &r : records)
            record_close(&r);
        client_close(c);
        event_base_free(base);
    }
    void run(std::vector<uint64_t> send_ms, uint32_t max_concurrency = 0, double timeout_s = 60)
    {
        static char text[] = "what";
        for (auto &t : send_ms)
            t *= 1000000;
        prompts.assign(send_ms.size(), prompt{text, 4, nullptr, 0, 1, 5, 0});
        records.assign(send_ms.size(), record{});
        const load l = {base, c, prompts.data(), send_ms.data(), (uint32_t)send_ms.size(),
                        max_concurrency, timeout_s, true, false};
        ASSERT_TRUE(load_run(&l, records.data(), &outcome, &why)) << why.text;
    }
    std::string error(size_t i) const { return records[i].error ? records[i].error : ""; }
};

double median(std::vector<double> x)
{
    std::sort(x.begin(), x.end());
    return x[x.size() / 2];
}

fake::Script script(double first_ms, double gap_ms, int chunks)
{
    fake::Script s;
    s.first_ms = first_ms;
    s.gap_ms = gap_ms;
    s.chunks = chunks;
    return s;
}

/* Runs the trial until it is `good`, up to six times, each time with delays twice as long as the
 * time before (`scale`): a busy machine is late by a few milliseconds, a faulty client by its
 * share. */
void expect_once(const std::function<bool(double scale)> &good)
{
    for (double scale = 1; scale <= 32; scale *= 2)
        if (good(scale) || testing::Test::HasFailure())
            return;
    ADD_FAILURE() << "late each time";
}

bool has_delays(bool chat, double scale)
{
    fake::Http server([=](int, const std::string &) {
        fake::Script s = script(20 * scale, 4 * scale, 10);
        s.chat = chat;
        s.tokens = 19; /* two a chunk */
        return s;
    });
    Trial r(server, {"--backend", chat ? "openai-chat" : "openai"});
    r.run(std::vector<uint64_t>(20, 0));
    std::vector<double> ttft, e2el, tpot, gaps;
    for (const record &x : r.records) {
        EXPECT_EQ(RECORD_COMPLETED, x.state) << x.error;
        EXPECT_EQ(10u, x.content_count);
        EXPECT_EQ(19u, x.output_tokens);
        EXPECT_EQ(7u, x.input_tokens);
        EXPECT_STREQ("t0 t1 t2 t3 t4 t5 t6 t7 t8 t9 ", x.text);
        EXPECT_GE(record_ttft_s(&x), 0.020 * scale);
        EXPECT_GE(record_e2el_s(&x), 0.056 * scale);
        ttft.push_back(record_ttft_s(&x) * 1e3 / scale);
        e2el.push_back(record_e2el_s(&x) * 1e3 / scale);
        tpot.push_back(record_tpot_s(&x) * 1e3 / scale);
        for (uint32_t i = 1; i < x.content_count; i++)
            gaps.push_back((double)(x.content_ns[i] - x.content_ns[i - 1]) * 1e-6 / scale);
    }
    return median(ttft) < 20 + SLACK_MS && median(e2el) < 56 + SLACK_MS &&
           fabs(median(tpot) - 2) < 0.5 && fabs(median(gaps) - 4) < 1;
}

TEST(load, completions_have_the_delays_of_the_server)
{
    expect_once([](double scale) { return has_delays(false, scale); });
}

TEST(load, chats_have_the_delays_of_the_server_and_roles_are_no_content)
{
    expect_once([](double scale) { return has_delays(true, scale); });
}

/* Against the moments that the server noted, in the same clock: the run's start in it is not known,
 * so the first chunk of both is their zero. */
TEST(load, a_chunk_is_seen_within_microseconds)
{
    expect_once([](double scale) {
        fake::Http server([=](int, const std::string &) { return script(5, 3 * scale, 40); });
        Trial r(server);
        r.run({0});
        EXPECT_EQ(RECORD_COMPLETED, r.records[0].state) << r.error(0);
        auto seen = server.exchanges()[0];
        const record &x = r.records[0];
        if (seen.chunk_ns.size() != 40 || x.content_count != 40)
            return false;
        std::vector<double> late_us;
        for (size_t i = 1; i < 40; i++)
            late_us.push_back(fabs((double)(x.content_ns[i] - x.content_ns[0]) -
                                   (double)(seen.chunk_ns[i] - seen.chunk_ns[0])) * 1e-3);
        printf("%.0f us\n", median(late_us));
        return median(late_us) < 300 * scale;
    });
}

TEST(load, sending_does_not_wait_for_answers)
{
    expect_once([](double scale) {
        fake::Http server([=](int, const std::string &) { return script(150 * scale, 0, 1); });
        Trial r(server);
        auto gap_ms = static_cast<uint64_t>(20 * scale);
        r.run({0, gap_ms, 2 * gap_ms, 3 * gap_ms, 4 * gap_ms});
        std::vector<double> late;
        for (size_t i = 0; i < 5; i++) {
            EXPECT_EQ(RECORD_COMPLETED, r.records[i].state);
            EXPECT_GE(r.records[i].sent_ns, gap_ms * 1000000 * i) << "never early";
            late.push_back((double)(r.records[i].sent_ns - gap_ms * 1000000 * i) * 1e-6);
        }
        EXPECT_GE(r.outcome.duration_s, 0.23 * scale);
        return median(late) < SLACK_MS * scale && r.outcome.duration_s < 0.6 * scale;
    });
}

TEST(load, max_concurrency_is_kept_and_its_wait_is_told)
{
    std::atomic<int> now{0}, most{0};
    fake::Http server([&](int, const std::string &) {
        int n = ++now;
        int before = most;
        while (n > before && !most.compare_exchange_weak(before, n))
            ;
        std::this_thread::sleep_for(std::chrono::milliseconds(30));
        now--;
        return script(0, 0, 1);
    });
    Trial r(server);
    r.run(std::vector<uint64_t>(9, 0), 3);
    std::vector<double> waits;
    for (const record &x : r.records) {
        EXPECT_EQ(RECORD_COMPLETED, x.state) << x.error;
        waits.push_back(record_queue_s(&x) * 1e3);
    }
    EXPECT_EQ(3, most);
    EXPECT_LT(waits[2], waits[3]);
    EXPECT_GE(waits[3], 30);
    EXPECT_GE(waits[8], 60);
    EXPECT_LE(server.connections(), 2 + 3)
        << "one to find it, one for its models, three used again";
}

TEST(load, any_pieces_and_any_end_of_body)
{
    fake::Http server([](int index, const std::string &) {
        fake::Script s = script(0, 0, 5);
        s.close = index % 2;
        s.piece = index % 3 == 0 ? 1 : index % 3 == 1 ? 7 : 0;
        s.done = index < 4;
        return s;
    });
    Trial r(server);
    r.run(std::vector<uint64_t>(8, 0), 1);
    for (const record &x : r.records) {
        EXPECT_EQ(RECORD_COMPLETED, x.state) << x.error;
        EXPECT_EQ(5u, x.output_tokens);
        EXPECT_STREQ("t0 t1 t2 t3 t4 ", x.text);
    }
}

TEST(load, without_usage_chunks_are_counted)
{
    fake::Http server([](int, const std::string &) {
        fake::Script s = script(0, 0, 6);
        s.usage = false;
        return s;
    });
    Trial r(server);
    r.run({0});
    EXPECT_EQ(RECORD_COMPLETED, r.records[0].state);
    EXPECT_EQ(6u, r.records[0].output_tokens);
    EXPECT_FALSE(r.records[0].counted);
}

TEST(load, failures_have_their_sentence)
{
    fake::Http server([](int index, const std::string &) {
        fake::Script s = script(0, 0, 2);
        s.status = index == 0 ? 429 : 200;
        if (index == 0)
            s.body = "{\"error\":{\"message\":\"queue full\"}}";
        if (index == 1)
            s.body = "{\"choices\":[{\"text\":\"whole\"}]}";
        s.drop = index == 2;
        s.finish = s.done = index != 3;
        if (index == 4)
            s.error_event = "{\"error\":{\"message\":\"engine gone\"}}";
        return s;
    });
    Trial r(server);
    r.run(std::vector<uint64_t>(6, 0), 1);
    EXPECT_EQ("HTTP 429: queue full", r.error(0));
    EXPECT_EQ("the answer is not an event stream: {\"choices\":[{\"text\":\"whole\"}]}",
              r.error(1));
    EXPECT_EQ("the server closed the connection", r.error(2));
    EXPECT_EQ("the stream ended without a finish reason", r.error(3));
    EXPECT_EQ("the server broke off: engine gone", r.error(4));
    EXPECT_EQ(RECORD_COMPLETED, r.records[5].state) << r.error(5);
}

TEST(load, a_request_times_out_alone)
{
    fake::Http server([](int index, const std::string &) {
        return script(index == 0 ? 20000 : 0, 0, 1);
    });
    Trial r(server);
    r.run({0, 50, 100}, 0, 1);
    EXPECT_EQ("timed out", r.error(0));
    EXPECT_EQ(RECORD_COMPLETED, r.records[1].state) << r.error(1);
    EXPECT_EQ(RECORD_COMPLETED, r.records[2].state);
    EXPECT_LT(r.outcome.duration_s, 10);
}

TEST(load, an_interrupt_ends_the_run)
{
    fake::Http server([](int index, const std::string &) {
        if (index == 1)
            kill(getpid(), SIGINT);
        return script(index ? 20000 : 0, 0, 1);
    });
    Trial r(server);
    r.run({0, 50, 60000});
    EXPECT_TRUE(r.outcome.interrupted);
    EXPECT_EQ(RECORD_COMPLETED, r.records[0].state) << r.error(0);
    EXPECT_EQ("interrupted", r.error(1));
    EXPECT_EQ("interrupted before it was sent", r.error(2));
}

TEST(load, a_kept_connection_that_was_closed_is_no_failure)
{
    fake::Http server([](int, const std::string &) {
        fake::Script s = script(0, 0, 1);
        s.stale = true;
        return s;
    });
    Trial r(server);
    r.run({0, 30, 60}, 1);
    for (size_t i = 0; i < 3; i++)
        EXPECT_EQ(RECORD_COMPLETED, r.records[i].state) << r.error(i);
    EXPECT_EQ(3u, server.exchanges().size()) << "each was answered once";
}

TEST(load, out_of_descriptors_is_a_failure_and_not_a_hang)
{
    fake::Http server([](int, const std::string &) { return script(100, 0, 1); });
    Trial r(server);
    rlimit old, low;
    getrlimit(RLIMIT_NOFILE, &old);
    low = old;
    int next = dup(0);
    close(next);
    low.rlim_cur = (rlim_t)next + 4;
    setrlimit(RLIMIT_NOFILE, &low);
    r.run(std::vector<uint64_t>(12, 0), 0, 3); /* the server cannot take all of the others either */
    setrlimit(RLIMIT_NOFILE, &old);
    int failed = 0;
    for (size_t i = 0; i < 12; i++)
        failed += r.error(i) == "no connection could be made: out of file descriptors or memory";
    EXPECT_GE(failed, 6);
    EXPECT_LT(failed, 13);
}

TEST(load, thousands_of_chunks_cost_little)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "a sanitizer's cost says nothing";
#endif
    expect_once([](double) {
        fake::Http server([](int, const std::string &) { return script(1, 10, 100); });
        Trial r(server);
        rusage before, after;
        getrusage(RUSAGE_THREAD, &before);
        r.run(std::vector<uint64_t>(50, 0));
        getrusage(RUSAGE_THREAD, &after);
        auto us = [](const timeval &t) { return (double)t.tv_sec * 1e6 + (double)t.tv_usec; };
        double spent = us(after.ru_utime) - us(before.ru_utime) + us(after.ru_stime) -
                       us(before.ru_stime);
        for (const record &x : r.records)
            EXPECT_EQ(100u, x.content_count) << x.error;
        printf("%.1f us of processor a chunk\n", spent / 5000);
        return spent / 5000 < 50; /* or 10,000 chunks a second take more than half a core */
    });
}

} // namespace
