#include "server/requests/engine_thread.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <string.h>

#include <atomic>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "memory/base/clock.h"
#include "tests/server/toy_engine.h"

namespace {

struct Front {
    toy_engine::Folder folder;
    struct engine_thread *thread = nullptr;
    std::map<uint64_t, uint32_t> tokens;
    std::map<uint64_t, std::vector<uint32_t>> sequence;
    std::map<uint64_t, enum finish_reason> ends;
    std::map<uint64_t, std::string> errors;
    uint32_t state_events = 0;
    struct Change {
        enum status status;
        std::string error;
        struct engine_sizes sizes;
    };
    std::map<uint64_t, std::vector<Change>> changes; // by who asked

    enum status resize(uint64_t who, uint64_t pages, uint64_t kv_bytes = 0)
    {
        struct engine_budget asked = {};
        asked.set[ENGINE_ROOM_DEVICE] = true;
        asked.device_experts.kind = ROOM_PAGES;
        asked.device_experts.pages = pages;
        asked.set[ENGINE_ROOM_KV] = kv_bytes != 0;
        asked.kv_bytes = kv_bytes;
        struct request_event *e = request_event_open_change(who, &asked);
        enum status status = engine_thread_resize(thread, e);
        if (status != STATUS_OK)
            request_event_close(e);
        return status;
    }

    void open(uint32_t submit_capacity = 0, uint32_t event_capacity = 0)
    {
        struct engine_thread_config config = {};
        struct error error = {};
        config.engine = folder.config;
        config.max_queue = 2000;
        config.submit_capacity = submit_capacity;
        config.event_capacity = event_capacity;
        ASSERT_EQ(STATUS_OK, engine_thread_open(&thread, &config, &error)) << error.text;
    }
    ~Front() { engine_thread_close(thread); }

    // Takes what is there; waits for something up to `ms`.
    void poll_events(int ms)
    {
        struct pollfd p = {engine_thread_fd(thread), POLLIN, 0};
        poll(&p, 1, ms);
        engine_thread_flush(thread);
        while (struct request_event *e = engine_thread_next(thread)) {
            if (e->change) {
                changes[e->request].push_back({e->status, e->error.text, e->change->got.after});
            } else if (!e->request) {
                state_events++;
            } else {
                EXPECT_EQ(0u, ends.count(e->request)) << "news after the end";
                tokens[e->request] += e->token_count;
                for (uint32_t i = 0; i < e->token_count; i++)
                    sequence[e->request].push_back(e->tokens[i].token);
                if (e->finish != FINISH_NONE)
                    ends[e->request] = e->finish;
                if (e->finish == FINISH_FAILED)
                    errors[e->request] = e->error.text;
            }
            request_event_close(e);
        }
    }
    template <typename Done> void until(Done done)
    {
        uint64_t deadline = clock_now_ns() + 60000000000u;
        while (!done() && clock_now_ns() < deadline)
            poll_events(20);
        EXPECT_TRUE(done());
    }
    void ready()
    {
        until([&] { return engine_thread_state(thread) != ENGINE_LOADING; });
        ASSERT_EQ(ENGINE_READY, engine_thread_state(thread)) << engine_thread_error(thread);
    }
    struct engine_thread_stats stats()
    {
        struct engine_thread_stats s;
        engine_thread_stats_read(thread, &s);
        return s;
    }
};

TEST(engine_thread, loads_then_answers)
{
    Front f;
    ASSERT_NO_FATAL_FAILURE(f.open());
    ASSERT_NO_FATAL_FAILURE(f.ready());
    f.until([&] { return f.state_events > 0; });
    EXPECT_EQ(1, f.stats().progress);
    EXPECT_EQ(96u, engine_info(engine_thread_engine(f.thread))->vocab);
    for (uint64_t id = 1; id <= 12; id++)
        ASSERT_EQ(STATUS_OK, engine_thread_submit(f.thread, toy_engine::make(id, 5, 6)));
    f.until([&] { return f.ends.size() == 12; });
    for (auto &t : f.tokens)
        EXPECT_EQ(6u, t.second);
    EXPECT_EQ(12u, f.stats().batcher.finished);
}

TEST(engine_thread, a_model_that_is_not_there)
{
    Front f;
    f.folder.config.model = "/nowhere/model";
    ASSERT_NO_FATAL_FAILURE(f.open());
    f.until([&] { return engine_thread_state(f.thread) == ENGINE_FAILED; });
    EXPECT_NE(nullptr, strstr(engine_thread_error(f.thread), "/nowhere/model"));
    EXPECT_EQ(nullptr, engine_thread_engine(f.thread));
}

// Both queues as small as can be: nothing may be lost, nobody may wait for ever.
TEST(engine_thread, tiny_queues_lose_nothing)
{
    Front f;
    ASSERT_NO_FATAL_FAILURE(f.open(1, 1));
    ASSERT_NO_FATAL_FAILURE(f.ready());
    uint32_t refused = 0;
    for (uint64_t id = 1; id <= 60; id++) {
        struct request *r = toy_engine::make(id, 3, 9);
        while (engine_thread_submit(f.thread, r) != STATUS_OK) {
            refused++;
            f.poll_events(1);
        }
    }
    f.until([&] { return f.ends.size() == 60; });
    for (auto &t : f.tokens)
        EXPECT_EQ(9u, t.second) << t.first;
    RecordProperty("refused", (int)refused);
}

TEST(engine_thread, cancels_get_through_a_full_queue)
{
    Front f;
    ASSERT_NO_FATAL_FAILURE(f.open(2, 8));
    ASSERT_NO_FATAL_FAILURE(f.ready());
    for (uint64_t id = 1; id <= 40; id++) {
        struct request *r = toy_engine::make(id, 3, 120);
        while (engine_thread_submit(f.thread, r) != STATUS_OK)
            f.poll_events(1);
    }
    for (uint64_t id = 1; id <= 40; id++)
        engine_thread_cancel(f.thread, id); // more than the queue holds: the backlog keeps them
    f.until([&] {
        struct batcher_stats s = f.stats().batcher;
        return s.cancelled + s.finished == 40 && s.now.running + s.now.waiting == 0;
    });
    EXPECT_EQ(0u, f.stats().batcher.now.kv_blocks_used);
}

// The checkpoint is truncated while requests run. Who needs the lost page ends with a sentence that
// names it, the others get all their tokens, and when it is back so do new requests.
TEST(engine_thread, a_checkpoint_truncated_under_it)
{
    Front f;
    toy::Model model;
    model.context = 4096;
    uint64_t begin = toy::write_with_last(f.folder.folder, model,
                                          {"model.layers.1.mlp.experts.4.down_proj.weight"});
    std::string whole = f.folder.folder.read("model.safetensors");
    f.folder.config.device_experts.kind = ROOM_PAGES;
    f.folder.config.device_experts.pages = 4;
    f.folder.config.io = IO_THREAD;
    ASSERT_NO_FATAL_FAILURE(f.open());
    ASSERT_NO_FATAL_FAILURE(f.ready());
    f.folder.folder.truncate("model.safetensors", begin + 1);
    for (uint64_t id = 1; id <= 16; id++)
        ASSERT_EQ(STATUS_OK, engine_thread_submit(f.thread, toy_engine::make(id, 1, 3)));
    f.until([&] { return f.ends.size() == 16; });
    EXPECT_GT(f.errors.size(), 0u);
    EXPECT_LT(f.errors.size(), 16u);
    for (auto &end : f.ends)
        EXPECT_TRUE(end.second == FINISH_FAILED || f.tokens[end.first] == 3u) << end.first;
    for (auto &error : f.errors) {
        EXPECT_NE(std::string::npos, error.second.find("layer 1 expert 4")) << error.second;
        EXPECT_NE(std::string::npos, error.second.find(f.folder.folder.path("model.safetensors") +
                                                       "' has no bytes at offset " +
                                                       std::to_string(begin + 1)))
            << error.second;
    }
    f.folder.folder.append("model.safetensors", whole.data() + begin + 1,
                           whole.size() - begin - 1);
    for (uint64_t id = 1; id <= 16; id++)
        ASSERT_EQ(STATUS_OK, engine_thread_submit(f.thread, [&] {
                      struct request *r = toy_engine::make(id, 1, 3);
                      r->id += 100;
                      return r;
                  }()));
    f.until([&] { return f.ends.size() == 32; });
    for (uint64_t id = 101; id <= 116; id++)
        EXPECT_EQ(3u, f.tokens[id]) << f.errors[id];
}

TEST(engine_thread, paused_stands_still)
{
    Front f;
    ASSERT_NO_FATAL_FAILURE(f.open());
    ASSERT_NO_FATAL_FAILURE(f.ready());
    engine_thread_pause(f.thread, 1, true); // unknown yet: ignored
    ASSERT_EQ(STATUS_OK, engine_thread_submit(f.thread, toy_engine::make(1, 3, 120)));
    engine_thread_pause(f.thread, 1, true);
    f.until([&] { return f.stats().batcher.now.waiting + f.stats().batcher.now.paused == 1; });
    ASSERT_EQ(STATUS_OK, engine_thread_submit(f.thread, toy_engine::make(2, 3, 5)));
    f.until([&] { return f.ends.count(2) == 1; });
    EXPECT_EQ(0u, f.ends.count(1));
    uint32_t so_far = f.tokens[1];
    f.poll_events(30);
    EXPECT_EQ(so_far, f.tokens[1]);
    engine_thread_pause(f.thread, 1, false);
    f.until([&] { return f.ends.count(1) == 1; });
    EXPECT_EQ(120u, f.tokens[1]);
}

TEST(engine_thread, deadlines_wake_an_idle_thread)
{
    Front f;
    ASSERT_NO_FATAL_FAILURE(f.open());
    ASSERT_NO_FATAL_FAILURE(f.ready());
    struct request *r = toy_engine::make(1, 3, 120);
    r->asked.deadline_ns = clock_now_ns() + 100000000u;
    ASSERT_EQ(STATUS_OK, engine_thread_submit(f.thread, r));
    engine_thread_pause(f.thread, 1, true); // nothing else keeps the thread busy
    f.until([&] { return f.ends.count(1) == 1; });
    EXPECT_EQ(FINISH_FAILED, f.ends[1]);
}

TEST(engine_thread, budgets_change_while_requests_run)
{
    Front still, moved;
    ASSERT_NO_FATAL_FAILURE(still.open());
    ASSERT_NO_FATAL_FAILURE(moved.open(0, 2)); // answers wait for room, and come
    ASSERT_EQ(STATUS_OK, moved.resize(500, 5)); // while it is loading
    ASSERT_NO_FATAL_FAILURE(still.ready());
    ASSERT_NO_FATAL_FAILURE(moved.ready());
    uint64_t block = engine_info(engine_thread_engine(moved.thread))->kv_bytes /
                     engine_info(engine_thread_engine(moved.thread))->kv_blocks;
    for (uint64_t id = 1; id <= 12; id++)
        for (Front *f : {&still, &moved})
            ASSERT_EQ(STATUS_OK, engine_thread_submit(f->thread, toy_engine::make(id, 20, 60)));
    for (uint64_t who = 501; who <= 530; who++) {
        ASSERT_EQ(STATUS_OK, moved.resize(who, 1 + who % 20, (8 + who % 9) * block));
        moved.poll_events(1);
    }
    ASSERT_EQ(STATUS_OK, moved.resize(600, 0)); // refused
    ASSERT_EQ(STATUS_OK, moved.resize(0, 7));   // nobody on the wire
    still.until([&] { return still.ends.size() == 12; });
    moved.until([&] { return moved.ends.size() == 12 && moved.changes.size() == 33; });
    EXPECT_EQ(still.sequence, moved.sequence);
    for (uint64_t who = 501; who <= 530; who++) {
        ASSERT_EQ(1u, moved.changes[who].size());
        EXPECT_EQ(STATUS_OK, moved.changes[who][0].status) << moved.changes[who][0].error;
        EXPECT_EQ(1 + who % 20, moved.changes[who][0].sizes.slots[MEMORY_DEVICE]);
        EXPECT_EQ(8 + who % 9, moved.changes[who][0].sizes.kv_blocks);
    }
    EXPECT_EQ(STATUS_INVALID, moved.changes[600][0].status);
    EXPECT_NE(std::string::npos, moved.changes[600][0].error.find("--device-experts"));
    EXPECT_EQ(7u, moved.changes[0][0].sizes.slots[MEMORY_DEVICE]);
    EXPECT_EQ(12u, moved.stats().batcher.finished);
    EXPECT_EQ(0u, moved.stats().batcher.failed);
}

TEST(engine_thread, a_full_queue_refuses_a_budget)
{
    Front f;
    ASSERT_NO_FATAL_FAILURE(f.open(1, 8)); // nothing is taken out while it is loading
    uint32_t refused = 0;
    for (uint64_t who = 1; who <= 50; who++)
        refused += f.resize(who, 5) == STATUS_FULL;
    ASSERT_NO_FATAL_FAILURE(f.ready());
    f.until([&] { return f.changes.size() == 50 - refused; });
    for (uint64_t who = 100; who < 103; who++) // unread when it closes
        f.resize(who, 6);
}

TEST(engine_thread, close_in_the_middle)
{
    Front f;
    ASSERT_NO_FATAL_FAILURE(f.open());
    ASSERT_NO_FATAL_FAILURE(f.ready());
    for (uint64_t id = 1; id <= 30; id++)
        ASSERT_EQ(STATUS_OK, engine_thread_submit(f.thread, toy_engine::make(id, 20, 100)));
    f.poll_events(5);
}

TEST(engine_thread, close_while_loading)
{
    Front f;
    ASSERT_NO_FATAL_FAILURE(f.open());
}

TEST(engine_thread, stats_are_read_while_written)
{
    Front f;
    ASSERT_NO_FATAL_FAILURE(f.open());
    ASSERT_NO_FATAL_FAILURE(f.ready());
    std::atomic<bool> stop{false};
    std::thread reader([&] {
        uint64_t last = 0;
        while (!stop) {
            struct batcher_stats s = f.stats().batcher;
            EXPECT_GE(s.generation_tokens, last);
            EXPECT_LE(s.now.kv_blocks_used, s.now.kv_blocks);
            last = s.generation_tokens;
            std::this_thread::yield();
        }
    });
    for (uint64_t id = 1; id <= 20; id++)
        ASSERT_EQ(STATUS_OK, engine_thread_submit(f.thread, toy_engine::make(id, 5, 40)));
    f.until([&] { return f.ends.size() == 20; });
    stop = true;
    reader.join();
    EXPECT_EQ(800u, f.stats().batcher.generation_tokens);
}

} // namespace
