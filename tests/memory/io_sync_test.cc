#include "memory/io.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/memory/files.h"
#include "tests/memory/toy_store.h"

namespace {

enum status open_sync(struct io **io, const Files &files, uint32_t depth, struct error *error)
{
    struct io_config config = {};
    config.files = files.get();
    config.depth = depth;
    return io_sync_open(io, &config, error);
}

TEST(IoSync, ReadsInsideSubmitAndEndsInOrder)
{
    ToyStore toy({9});
    Files files(toy.store);
    struct io *io = nullptr;
    struct error error = {};
    ASSERT_EQ(open_sync(&io, files, 3, &error), STATUS_OK);
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

TEST(IoSync, StagesWhatLands)
{
    ToyStore toy({3}, 1, true);
    Files files(toy.store);
    files.pretend(4096);
    struct io *io = nullptr;
    ASSERT_EQ(open_sync(&io, files, 1, nullptr), STATUS_OK);
    EXPECT_GT(io->staging_bytes, 0u);
    std::vector<uint8_t> slot(store_class_slot_bytes(toy.store, 0));
    struct io_request request = {0, 1, true, toy.store, slot.data()};
    io->ops->submit(io, &request);
    struct io_done done;
    ASSERT_TRUE(io->ops->poll(io, &done, 0));
    EXPECT_EQ(done.cause, 0);
    EXPECT_TRUE(toy.holds(toy.store, 1, slot.data()));
    EXPECT_EQ(toy.landing.parts, 3u);
    io_close(io);
}

TEST(IoSync, ReportsACutFile)
{
    ToyStore toy({1});
    Files files(toy.store);
    struct io *io = nullptr;
    ASSERT_EQ(open_sync(&io, files, 1, nullptr), STATUS_OK);
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
    Files files(toy.store);
    struct io *io = nullptr;
    ASSERT_EQ(open_sync(&io, files, 1, nullptr), STATUS_OK);
    std::vector<uint8_t> slot(store_class_slot_bytes(toy.store, 0));
    struct io_request request = {0, 0, true, toy.store, slot.data()};
    io->ops->submit(io, &request);
    EXPECT_DEATH(io->ops->submit(io, &request), "CHECK");
    io_close(io);
}

} // namespace
