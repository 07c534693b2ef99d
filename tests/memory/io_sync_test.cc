#include "memory/io.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/memory/toy_store.h"

namespace {

TEST(IoSync, ReadsInsideSubmitAndEndsInOrder)
{
    ToyStore toy({9});
    struct io *io = nullptr;
    struct error error = {};
    ASSERT_EQ(io_sync_open(&io, 3, &error), STATUS_OK);
    EXPECT_STREQ(io->ops->name, "sync");
    std::vector<std::vector<uint8_t>> slots(
        3, std::vector<uint8_t>(store_class_slot_bytes(toy.store, 0)));
    struct io_done done;
    EXPECT_FALSE(io->ops->poll(io, &done, UINT64_MAX)); /* nothing to wait for */
    for (page_id round = 0; round < 3; round++) {
        for (uint32_t tag = 0; tag < 3; tag++) {
            struct io_request request = {tag, round * 3 + tag, tag == 0, toy.store,
                                         slots[tag].data()};
            io->ops->submit(io, &request);
            io->ops->raise(io, tag); /* it has ended: nothing to raise */
            EXPECT_TRUE(toy.holds(toy.store, round * 3 + tag, slots[tag].data()));
        }
        for (uint32_t tag = 0; tag < 3; tag++) {
            ASSERT_TRUE(io->ops->poll(io, &done, 0));
            EXPECT_EQ(done.tag, tag);
            EXPECT_EQ(done.cause, 0);
        }
        EXPECT_FALSE(io->ops->poll(io, &done, 0));
    }
    io_close(io);
}

TEST(IoSync, ReportsACutFile)
{
    ToyStore toy({1});
    struct io *io = nullptr;
    ASSERT_EQ(io_sync_open(&io, 1, nullptr), STATUS_OK);
    std::vector<uint8_t> slot(store_class_slot_bytes(toy.store, 0));
    toy.truncate(100);
    struct io_request request = {0, 0, true, toy.store, slot.data()};
    io->ops->submit(io, &request);
    struct io_done done;
    ASSERT_TRUE(io->ops->poll(io, &done, 0));
    EXPECT_EQ(done.cause, IO_END_OF_FILE);
    EXPECT_EQ(done.offset, 100u);
    EXPECT_EQ(done.bytes, 87u); /* the file's first part begins at 13 */
    io_close(io);
}

TEST(IoSyncDeathTest, MoreThanItsDepthIsABug)
{
    ToyStore toy({1});
    struct io *io = nullptr;
    ASSERT_EQ(io_sync_open(&io, 1, nullptr), STATUS_OK);
    std::vector<uint8_t> slot(store_class_slot_bytes(toy.store, 0));
    struct io_request request = {0, 0, true, toy.store, slot.data()};
    io->ops->submit(io, &request);
    EXPECT_DEATH(io->ops->submit(io, &request), "CHECK");
    io_close(io);
}

} // namespace
