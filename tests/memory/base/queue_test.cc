#include "memory/base/queue.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <thread>
#include <vector>

#include "memory/base/clock.h"

namespace {

struct Item {
    uint32_t producer;
    uint32_t number;
    uint64_t check;
};

class Queue : public testing::Test {
protected:
    void open(size_t item_bytes, uint32_t capacity)
    {
        struct error error = {};
        ASSERT_EQ(queue_open(&queue_, item_bytes, capacity, &error), STATUS_OK) << error.text;
    }
    void TearDown() override { queue_close(queue_); }
    bool readable()
    {
        struct pollfd fd = {queue_fd(queue_), POLLIN, 0};
        return poll(&fd, 1, 0) == 1;
    }
    struct queue *queue_ = nullptr;
};

TEST_F(Queue, GivesItemsInOrderAroundTheCircle)
{
    open(sizeof(int), 3);
    int next_in = 0, next_out = 0, out;
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 2; i++, next_in++)
            ASSERT_EQ(queue_push(queue_, &next_in), STATUS_OK);
        EXPECT_EQ(queue_length(queue_), 2u);
        for (int i = 0; i < 2; i++, next_out++) {
            ASSERT_TRUE(queue_pop(queue_, &out));
            EXPECT_EQ(out, next_out);
        }
        EXPECT_FALSE(queue_pop(queue_, &out));
    }
}

TEST_F(Queue, FullChangesNothing)
{
    open(sizeof(int), 2);
    int a = 1, b = 2, c = 3, out;
    ASSERT_EQ(queue_push(queue_, &a), STATUS_OK);
    ASSERT_EQ(queue_push(queue_, &b), STATUS_OK);
    EXPECT_EQ(queue_push(queue_, &c), STATUS_FULL);
    EXPECT_EQ(queue_length(queue_), 2u);
    ASSERT_TRUE(queue_pop(queue_, &out));
    EXPECT_EQ(out, 1);
    ASSERT_EQ(queue_push(queue_, &c), STATUS_OK);
    ASSERT_TRUE(queue_pop(queue_, &out));
    ASSERT_TRUE(queue_pop(queue_, &out));
    EXPECT_EQ(out, 3);
}

TEST_F(Queue, WaitEndsInTime)
{
    open(1, 1);
    char out;
    uint64_t begin = clock_now_ns();
    EXPECT_FALSE(queue_pop_wait(queue_, &out, 20000000));
    EXPECT_GE(clock_now_ns() - begin, 19000000u);
    begin = clock_now_ns();
    EXPECT_FALSE(queue_pop_wait(queue_, &out, 0));
    EXPECT_LT(clock_now_ns() - begin, 1000000000u);
    char in = 'x';
    ASSERT_EQ(queue_push(queue_, &in), STATUS_OK);
    EXPECT_TRUE(queue_pop_wait(queue_, &out, 0));
    EXPECT_EQ(out, 'x');
}

TEST_F(Queue, WaitingConsumerIsWoken)
{
    open(sizeof(int), 4);
    std::thread producer([this] {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        int in = 42;
        EXPECT_EQ(queue_push(queue_, &in), STATUS_OK);
    });
    int out = 0;
    EXPECT_TRUE(queue_pop_wait(queue_, &out, QUEUE_WAIT_FOREVER));
    EXPECT_EQ(out, 42);
    producer.join();
}

TEST_F(Queue, DescriptorIsReadableExactlyWhileItemsAreThere)
{
    open(sizeof(int), 4);
    int item = 1;
    ASSERT_EQ(queue_push(queue_, &item), STATUS_OK);
    ASSERT_GE(queue_fd(queue_), 0); /* made late: the item before it counts */
    EXPECT_TRUE(readable());
    ASSERT_EQ(queue_push(queue_, &item), STATUS_OK);
    ASSERT_TRUE(queue_pop(queue_, &item));
    EXPECT_TRUE(readable());
    ASSERT_TRUE(queue_pop(queue_, &item));
    EXPECT_FALSE(readable());
    ASSERT_EQ(queue_push(queue_, &item), STATUS_OK);
    EXPECT_TRUE(readable());
    EXPECT_EQ(queue_fd(queue_), queue_fd(queue_));
}

TEST_F(Queue, ManyProducersLoseNothingAndKeepTheirOrder)
{
    constexpr uint32_t producers = 4, each = 3000;
    open(sizeof(Item), 16);
    std::vector<std::thread> threads;
    for (uint32_t p = 0; p < producers; p++)
        threads.emplace_back([this, p] {
            for (uint32_t i = 0; i < each; i++) {
                Item item = {p, i, (uint64_t)p << 32 | i};
                while (queue_push(queue_, &item) == STATUS_FULL)
                    std::this_thread::yield();
            }
        });
    uint32_t next[producers] = {};
    for (uint32_t i = 0; i < producers * each; i++) {
        Item item;
        ASSERT_TRUE(queue_pop_wait(queue_, &item, 5000000000u));
        ASSERT_LT(item.producer, producers);
        ASSERT_EQ(item.number, next[item.producer]++);
        ASSERT_EQ(item.check, (uint64_t)item.producer << 32 | item.number);
    }
    for (std::thread &thread : threads)
        thread.join();
    EXPECT_EQ(queue_length(queue_), 0u);
}

TEST(QueueOpen, RefusesWhatCannotBeAllocated)
{
    struct queue *queue;
    struct error error = {};
    EXPECT_EQ(queue_open(&queue, SIZE_MAX / 2, 4, &error), STATUS_NO_MEMORY);
    EXPECT_EQ(queue, nullptr);
    EXPECT_NE(std::string(error.text).find("4 items"), std::string::npos);
    queue_close(nullptr);
}

TEST(QueueDeathTest, EmptyShapesAreBugs)
{
    struct queue *queue;
    EXPECT_DEATH(queue_open(&queue, 0, 4, nullptr), "CHECK");
    EXPECT_DEATH(queue_open(&queue, 4, 0, nullptr), "CHECK");
}

} // namespace
