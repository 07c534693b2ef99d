#include "server/requests/requests.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <string.h>

#include <functional>
#include <string>
#include <vector>

#include "memory/base/clock.h"
#include "server/metrics/request_metrics.h"
#include "tests/server/toy_engine.h"

namespace {

constexpr uint64_t second_ns = 1000000000;

/* One client: what it heard. */
struct Client {
    uint32_t tokens = 0, events = 0;
    enum finish_reason finish = FINISH_NONE;
    std::vector<enum request_cut_off> cut;
    std::string why;
    std::function<void()> at_end;

    static void on_event(void *arg, const struct request_event *e)
    {
        auto *c = static_cast<Client *>(arg);
        EXPECT_EQ(FINISH_NONE, c->finish) << "news after the end";
        EXPECT_TRUE(c->cut.empty());
        c->events++;
        c->tokens += e->token_count;
        c->finish = e->finish;
        if (e->finish != FINISH_NONE && c->at_end)
            c->at_end();
    }
    static void on_cut_off(void *arg, enum request_cut_off cause, const char *why)
    {
        auto *c = static_cast<Client *>(arg);
        c->cut.push_back(cause);
        c->why = why;
        if (c->at_end)
            c->at_end();
    }
    struct request_sink sink() { return {on_event, on_cut_off, this}; }
};

class Requests : public testing::Test {
  protected:
    void Open(uint32_t max_queue = 100)
    {
        struct error error = {};
        request_metrics_init(&metrics_, 4096);
        struct requests_config config = {};
        config.served_name = "toy";
        config.stall_timeout_s = 5;
        config.metrics = &metrics_;
        ASSERT_EQ(STATUS_OK, requests_open(&requests_, &config, &error));
        struct engine_thread_config thread = {};
        thread.engine = folder_.config;
        thread.max_queue = max_queue;
        ASSERT_EQ(STATUS_OK, engine_thread_open(&thread_, &thread, &error)) << error.text;
        requests_attach(requests_, thread_);
    }
    bool Until(const std::function<bool()> &done)
    {
        uint64_t begin = clock_now_ns();
        while (!done()) {
            if (clock_now_ns() - begin > 60 * second_ns)
                return false;
            struct pollfd p = {engine_thread_fd(thread_), POLLIN, 0};
            poll(&p, 1, 10);
            engine_thread_flush(thread_);
            while (struct request_event *e = engine_thread_next(thread_)) {
                if (e->request)
                    requests_event(requests_, e);
                request_event_close(e);
            }
        }
        return true;
    }
    void Ready()
    {
        ASSERT_TRUE(Until([&] { return engine_thread_state(thread_) == ENGINE_READY; }));
    }
    /* Its number; 0: it was refused. */
    uint64_t Submit(Client &client, uint32_t tokens, const char *name = "name")
    {
        struct request *blank = requests_new(requests_);
        struct request *r = toy_engine::make(blank->id, 5, tokens);
        request_close(blank);
        struct request_sink sink = client.sink();
        uint64_t id = r->id;
        if (requests_submit(requests_, r, &sink, name) == STATUS_OK)
            return id;
        request_close(r);
        return 0;
    }
    bool Idle()
    {
        struct engine_thread_stats stats;
        engine_thread_stats_read(thread_, &stats);
        return stats.batcher.now.running + stats.batcher.now.waiting == 0;
    }
    void TearDown() override
    {
        requests_cut_off(requests_);
        engine_thread_close(thread_);
        requests_close(requests_);
    }

    toy_engine::Folder folder_;
    struct request_metrics metrics_;
    struct requests *requests_ = nullptr;
    struct engine_thread *thread_ = nullptr;
};

TEST_F(Requests, EachHearsOfItsOwnUntilTheEnd)
{
    ASSERT_NO_FATAL_FAILURE(Open());
    ASSERT_NO_FATAL_FAILURE(Ready());
    std::vector<Client> clients(40);
    for (uint32_t i = 0; i < clients.size(); i++)
        ASSERT_NE(0u, Submit(clients[i], 1 + i));
    EXPECT_EQ(clients.size(), requests_live(requests_));
    ASSERT_TRUE(Until([&] { return requests_live(requests_) == 0; }));
    uint64_t tokens = 0;
    for (uint32_t i = 0; i < clients.size(); i++) {
        EXPECT_EQ(1 + i, clients[i].tokens);
        EXPECT_EQ(FINISH_LENGTH, clients[i].finish);
        tokens += 1 + i;
    }
    EXPECT_EQ(static_cast<double>(tokens), metrics_.histogram[REQUEST_OUTPUT_TOKENS].sum);
    EXPECT_EQ(5.0 * static_cast<double>(clients.size()),
              metrics_.histogram[REQUEST_PROMPT_TOKENS].sum);
    EXPECT_EQ(clients.size(), metrics_.ended[REQUEST_END_LENGTH]);
    EXPECT_EQ(clients.size(), metrics_.histogram[REQUEST_TTFT].observed);
    EXPECT_EQ(tokens - clients.size(), metrics_.histogram[REQUEST_ITL].observed);
    EXPECT_EQ(clients.size() - 1, metrics_.histogram[REQUEST_TPOT].observed);
}

TEST_F(Requests, WhoIsCancelledHearsNothingMore)
{
    folder_.config.max_model_len = 1600;
    ASSERT_NO_FATAL_FAILURE(Open());
    ASSERT_NO_FATAL_FAILURE(Ready());
    Client gone, stays;
    uint64_t id = Submit(gone, 1500);
    ASSERT_NE(0u, Submit(stays, 40));
    ASSERT_TRUE(Until([&] { return gone.tokens > 0; }));
    requests_cancel(requests_, id, "its client has gone");
    uint32_t heard = gone.events;
    requests_cancel(requests_, id, "again"); /* ignored */
    requests_pause(requests_, id, true);     /* ignored */
    ASSERT_TRUE(Until([&] { return stays.finish != FINISH_NONE && Idle(); }));
    EXPECT_EQ(heard, gone.events);
    EXPECT_EQ(FINISH_NONE, gone.finish);
    EXPECT_EQ(1u, metrics_.ended[REQUEST_END_ABORT]);
    EXPECT_EQ(0u, requests_live(requests_));
}

TEST_F(Requests, OnlyThoseWhoDoNotReadAreCutOff)
{
    folder_.config.max_model_len = 1600;
    ASSERT_NO_FATAL_FAILURE(Open());
    ASSERT_NO_FATAL_FAILURE(Ready());
    Client stalled[2], reads, resumed;
    uint64_t a = Submit(stalled[0], 1500), b = Submit(stalled[1], 1500);
    uint64_t c = Submit(resumed, 1500);
    ASSERT_NE(0u, Submit(reads, 1500));
    for (uint64_t id : {a, b, c})
        requests_pause(requests_, id, true);
    requests_pause(requests_, c, false);
    uint64_t now = clock_now_ns();
    requests_tick(requests_, now);
    requests_tick(requests_, now + 4 * second_ns);
    EXPECT_EQ(4u, requests_live(requests_));
    requests_tick(requests_, now + 6 * second_ns);
    EXPECT_EQ(2u, requests_live(requests_));
    for (Client &client : stalled) {
        ASSERT_EQ(1u, client.cut.size());
        EXPECT_EQ(REQUEST_STALLED, client.cut[0]);
        EXPECT_NE(std::string::npos, client.why.find("--client-stall-timeout"));
    }
    EXPECT_TRUE(reads.cut.empty() && resumed.cut.empty());
    requests_cut_off(requests_); /* before those who would hear of it go */
}

TEST_F(Requests, ASinkMayEndItsNeighbours)
{
    folder_.config.max_model_len = 1600;
    ASSERT_NO_FATAL_FAILURE(Open());
    ASSERT_NO_FATAL_FAILURE(Ready());
    /* As the choices of one answer do: the end of one ends the others. */
    Client one, two, three;
    uint64_t ids[3];
    ids[0] = Submit(one, 1500);
    ids[1] = Submit(two, 1500);
    ids[2] = Submit(three, 1500);
    auto all = [&] {
        for (uint64_t id : ids)
            requests_cancel(requests_, id, "the answer has ended");
    };
    one.at_end = two.at_end = three.at_end = all;
    for (uint64_t id : ids)
        requests_pause(requests_, id, true);
    requests_tick(requests_, clock_now_ns() + 6 * second_ns);
    EXPECT_EQ(0u, requests_live(requests_));
    EXPECT_EQ(1u, one.cut.size() + two.cut.size() + three.cut.size());
    ASSERT_TRUE(Until([&] { return Idle(); }));
    Client again, before;
    before.at_end = [&] { EXPECT_NE(0u, Submit(again, 3)); };
    ASSERT_NE(0u, Submit(before, 2));
    ASSERT_TRUE(Until([&] { return again.finish != FINISH_NONE; }));
    EXPECT_EQ(3u, again.tokens);
}

TEST_F(Requests, AFullQueueLeavesItToTheCaller)
{
    folder_.config.max_model_len = 1600;
    ASSERT_NO_FATAL_FAILURE(Open(0));
    ASSERT_NO_FATAL_FAILURE(Ready());
    std::vector<Client> clients(300);
    uint32_t refused = 0;
    for (Client &client : clients)
        refused += Submit(client, 1500) == 0;
    EXPECT_GT(refused, 0u);
    EXPECT_EQ(refused, requests_rejected(requests_));
    uint32_t live = requests_live(requests_);
    EXPECT_EQ(live, requests_cut_off(requests_));
}

TEST_F(Requests, ADrainRefusesAndShutdownTellsEverybody)
{
    folder_.config.max_model_len = 1600;
    char why[REQUESTS_WHY_BYTES];
    ASSERT_NO_FATAL_FAILURE(Open());
    ASSERT_NO_FATAL_FAILURE(Ready());
    EXPECT_NE(nullptr, requests_engine(requests_, why));
    EXPECT_STREQ("toy", requests_model_name(requests_));
    Client a, b;
    Submit(a, 1500, "with a\nnew line and a 'quote'");
    Submit(b, 1500, nullptr);
    requests_drain(requests_);
    EXPECT_TRUE(requests_draining(requests_));
    EXPECT_EQ(nullptr, requests_engine(requests_, why));
    EXPECT_STREQ("the server is shutting down", why);
    EXPECT_EQ(2u, requests_cut_off(requests_));
    EXPECT_EQ(REQUEST_SHUTDOWN, a.cut.at(0));
    EXPECT_EQ(REQUEST_SHUTDOWN, b.cut.at(0));
    EXPECT_EQ(0u, requests_cut_off(requests_));
}

TEST_F(Requests, AFailedLoadIsTheReason)
{
    char why[REQUESTS_WHY_BYTES];
    folder_.config.model = "/nowhere/model";
    ASSERT_NO_FATAL_FAILURE(Open());
    ASSERT_TRUE(Until([&] { return engine_thread_state(thread_) == ENGINE_FAILED; }));
    EXPECT_EQ(nullptr, requests_engine(requests_, why));
    EXPECT_NE(nullptr, strstr(why, "/nowhere/model"));
}

} // namespace
