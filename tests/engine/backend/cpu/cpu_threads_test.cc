/* The fork-join pool: every part once, results visible, worker numbers exclusive, no lost wake-up
 * over many thousands of runs of every size, with sleeps between so that workers sleep too. */
#include "engine/backend/cpu/cpu_threads.h"

#include <gtest/gtest.h>

#include <time.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

namespace {

struct ClosePool {
    void operator()(struct cpu_threads *p) const { cpu_threads_close(p); }
};
using Pool = std::unique_ptr<struct cpu_threads, ClosePool>;

Pool open_pool(uint32_t count)
{
    struct cpu_threads *pool = nullptr;
    struct error error = {};
    EXPECT_EQ(cpu_threads_open(&pool, count, &error), STATUS_OK) << error.text;
    return Pool(pool);
}

struct Count {
    std::vector<uint32_t> hits; /* plain memory: the pool must order the accesses */
    std::vector<std::atomic<uint32_t>> busy;
    uint32_t workers;
    explicit Count(uint32_t workers_) : busy(workers_), workers(workers_) {}
    static void work(void *arg, uint32_t part, uint32_t worker)
    {
        Count *self = (Count *)arg;
        ASSERT_LT(worker, self->workers);
        ASSERT_EQ(self->busy[worker].fetch_add(1), 0u) << "two calls share worker " << worker;
        self->hits[part]++;
        self->busy[worker].fetch_sub(1);
    }
};

} // namespace

TEST(cpu_threads, every_part_runs_once_in_every_run)
{
    for (uint32_t threads : {1u, 2u, 3u, 8u}) {
        Pool pool = open_pool(threads);
        Count count(threads);
        for (uint32_t run = 0; run < 4000; run++) {
            uint32_t parts = run % 23;
            count.hits.assign(parts, 0);
            cpu_threads_run(pool.get(), Count::work, &count, parts);
            for (uint32_t part = 0; part < parts; part++)
                ASSERT_EQ(count.hits[part], 1u) << threads << " threads, run " << run;
        }
    }
}

TEST(cpu_threads, sleeping_workers_wake_up)
{
    Pool pool = open_pool(3);
    Count count(3);
    for (uint32_t run = 0; run < 300; run++) {
        std::this_thread::sleep_for(std::chrono::microseconds(run % 3 * 100));
        count.hits.assign(7, 0);
        cpu_threads_run(pool.get(), Count::work, &count, 7);
        for (uint32_t hit : count.hits)
            ASSERT_EQ(hit, 1u);
    }
}

TEST(cpu_threads, uneven_parts_make_the_caller_sleep_and_wake)
{
    Pool pool = open_pool(2);
    std::atomic<uint32_t> done{0};
    auto work = [](void *arg, uint32_t part, uint32_t worker) {
        if (worker != 0) /* whatever a worker takes outlasts the caller's spin */
            std::this_thread::sleep_for(std::chrono::microseconds(300));
        ((std::atomic<uint32_t> *)arg)->fetch_add(1);
    };
    for (uint32_t run = 1; run <= 200; run++) {
        cpu_threads_run(pool.get(), work, &done, 2);
        ASSERT_EQ(done.load(), 2 * run);
    }
}

TEST(cpu_threads, two_workers_really_work_at_the_same_time)
{
    Pool pool = open_pool(2);
    std::atomic<uint32_t> inside{0};
    auto work = [](void *arg, uint32_t part, uint32_t worker) {
        auto *inside_now = (std::atomic<uint32_t> *)arg;
        inside_now->fetch_add(1);
        auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        while (inside_now->load() < 2 && std::chrono::steady_clock::now() < limit)
            std::this_thread::yield();
    };
    cpu_threads_run(pool.get(), work, &inside, 2);
    EXPECT_EQ(inside.load(), 2u);
}

TEST(cpu_threads, idle_workers_sleep)
{
    Pool pool = open_pool(4);
    Count count(4);
    count.hits.assign(7, 0);
    cpu_threads_run(pool.get(), Count::work, &count, 7);
    std::this_thread::sleep_for(std::chrono::milliseconds(20)); /* the spins are over */
    struct timespec before, after;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    double ns = 1e9 * (double)(after.tv_sec - before.tv_sec) +
                (double)(after.tv_nsec - before.tv_nsec);
    EXPECT_LT(ns, 20e6);
}

TEST(cpu_threads, parts_are_handed_out_from_the_highest_down)
{
    for (uint32_t threads : {1u, 3u}) {
        Pool pool = open_pool(threads);
        struct Order {
            std::vector<std::atomic<uint32_t>> last; /* of each worker */
            std::atomic<bool> rising{false};
        } order;
        order.last = std::vector<std::atomic<uint32_t>>(threads);
        for (uint32_t run = 0; run < 200; run++) {
            for (auto &last : order.last)
                last = UINT32_MAX;
            cpu_threads_run(
                pool.get(),
                [](void *arg, uint32_t part, uint32_t worker) {
                    Order *o = (Order *)arg;
                    if (part >= o->last[worker].exchange(part))
                        o->rising = true;
                },
                &order, 50);
        }
        EXPECT_FALSE(order.rising) << threads;
    }
}

TEST(cpu_threads, many_pools_open_and_close)
{
    for (int i = 0; i < 100; i++) {
        Pool pool = open_pool(1 + i % 4);
        Count count(1 + i % 4);
        count.hits.assign(5, 0);
        if (i % 2)
            cpu_threads_run(pool.get(), Count::work, &count, 5);
    }
    cpu_threads_close(nullptr);
}

TEST(cpu_threads, counts)
{
    EXPECT_EQ(cpu_threads_count(open_pool(3).get()), 3u);
    EXPECT_GE(cpu_threads_count(open_pool(0).get()), 1u);
    EXPECT_EQ(cpu_threads_count(open_pool(CPU_THREADS_MAX + 1).get()), (uint32_t)CPU_THREADS_MAX);
}
