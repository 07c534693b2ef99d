#include "memory/io_uring.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/memory/fake_ring.h"
#include "tests/memory/files.h"
#include "tests/memory/toy_store.h"

namespace {

constexpr uint64_t long_ns = 10000000000u; /* to wait for what comes at once unless it is broken */

struct Kind {
    const char *name;
    bool direct, landed;
};

/* A reader over the fake ring, and slots for its requests. */
class Reader {
public:
    Reader(const Kind &kind, uint32_t depth, uint32_t pieces, std::vector<uint32_t> pages = {40})
        : toy_(pages, 1, kind.landed), files_(toy_.store)
    {
        if (kind.direct)
            files_.pretend(4096);
        ring_.strict = kind.direct;
        open(depth, pieces);
    }
    ~Reader()
    {
        ring_.let_all_go();
        io_close(io_);
        EXPECT_TRUE(ring_.closed);
        for (uint8_t *slot : slots_)
            free(slot);
    }
    void submit(uint32_t tag, page_id page, bool demand)
    {
        struct io_request request = {tag, page, demand, toy_.store, slots_[tag]};
        page_in_[tag] = page;
        io_->ops->submit(io_, &request);
    }
    void prefetch(uint32_t tag, page_id page) { submit(tag, page, false); }
    void demand(uint32_t tag, page_id page) { submit(tag, page, true); }
    struct io_done end()
    {
        struct io_done done = {};
        EXPECT_TRUE(io_->ops->poll(io_, &done, long_ns)) << "nothing ends";
        return done;
    }
    /* The tag of the next request that ends; whole, every byte in its place and counted. */
    uint32_t ended()
    {
        struct io_done done = end();
        EXPECT_EQ(done.cause, 0);
        EXPECT_EQ(done.bytes, page(page_in_[done.tag])->file_bytes);
        EXPECT_TRUE(toy_.holds(toy_.store, page_in_[done.tag], slots_[done.tag]));
        memset(slots_[done.tag], 0xee, slot_bytes_);
        return done.tag;
    }
    bool none_ended()
    {
        struct io_done done;
        return !io_->ops->poll(io_, &done, 0);
    }
    const struct page *page(page_id page) const { return store_page(toy_.store, page); }
    /* Where the read of a part begins in the file. */
    uint64_t at(page_id number, uint32_t part) const
    {
        uint64_t offset = page(number)->part[part].offset;
        return offset - offset % files_.get()->at[0].align;
    }

    ToyStore toy_;
    Files files_;
    FakeRing ring_;
    struct io *io_ = nullptr;
    std::vector<uint8_t *> slots_;
    std::vector<page_id> page_in_; /* [tag] */

private:
    void open(uint32_t depth, uint32_t pieces)
    {
        struct io_uring_config config = {};
        struct error error = {};
        config.io.files = files_.get();
        config.io.depth = depth;
        config.pieces = pieces;
        config.ring_open = FakeRing::open;
        if (io_uring_open(&io_, &config, &error))
            throw std::runtime_error(error.text);
        page_in_.resize(depth);
        slot_bytes_ = store_class_slot_bytes(toy_.store, store_classes(toy_.store) - 1);
        for (uint32_t i = 0; i < depth; i++)
            slots_.push_back(static_cast<uint8_t *>(aligned_alloc(4096, slot_bytes_)));
    }
    uint64_t slot_bytes_ = 0;
};

const Kind plain = {"buffered", false, false};

class IoUring : public testing::TestWithParam<Kind> {};

TEST_P(IoUring, ReadsManyPagesThroughFewPlaces)
{
    Reader r(GetParam(), 4, 3, {30, 10});
    EXPECT_STREQ(r.io_->ops->name, "uring");
    EXPECT_EQ(r.io_->staging_bytes > 0, GetParam().direct || GetParam().landed);
    r.ring_.shuffle = true;
    page_id next = 0;
    for (uint32_t tag = 0; tag < 4; tag++, next++)
        r.submit(tag, next, next % 3 == 0);
    for (uint32_t count = 0; count < 40; count++) {
        uint32_t tag = r.ended();
        ASSERT_FALSE(HasFailure());
        if (next < 40) {
            r.submit(tag, next, next % 3 == 0);
            next++;
        }
    }
    EXPECT_TRUE(r.none_ended());
    EXPECT_LE(r.ring_.most_under_way(), 3u);
    EXPECT_EQ(r.toy_.landing.parts, GetParam().landed ? 120u : 0u);
}

/* Every fault that storage may answer with, for each read in turn; then the same page again. */
TEST_P(IoUring, GoesOnAfterWhatPasses)
{
    for (std::deque<int> script : std::vector<std::deque<int>>{
             {-EINTR, -EINTR, -EINTR}, {-EAGAIN, -EINTR, -EAGAIN, -EAGAIN},
             {4096}, {4096, 4096}, {-EAGAIN, 4096, -EINTR, 4096, -EAGAIN}}) {
        Reader r(GetParam(), 2, 2, {0, 0, 0, 4}); /* parts of 8000 and 4004 bytes */
        r.ring_.script = script;
        r.demand(0, 1);
        EXPECT_EQ(r.ended(), 0u);
        r.prefetch(1, 1);
        EXPECT_EQ(r.ended(), 1u);
    }
}

TEST_P(IoUring, FailsWithTheFirstCauseInThePage)
{
    Reader r(GetParam(), 2, 4);
    uint64_t bad = r.at(7, 1);
    r.ring_.answer = [&](const struct io_ring_read &read) {
        return read.offset == bad ? -EIO : read.offset == r.at(7, 2) ? -EBADF : INT32_MAX;
    };
    r.ring_.hold(bad); /* the later failure comes first */
    r.demand(0, 7);
    r.ring_.settle();
    EXPECT_TRUE(r.none_ended()) << "not before all of its reads have ended";
    r.ring_.let_go(bad);
    struct io_done done = r.end();
    EXPECT_EQ(done.tag, 0u);
    EXPECT_EQ(done.cause, EIO);
    EXPECT_EQ(done.part, 1u);
    EXPECT_EQ(done.offset, r.page(7)->part[1].offset);
    EXPECT_EQ(done.bytes, r.page(7)->part[0].bytes) << "as far as it came";
    r.ring_.answer = nullptr;
    r.prefetch(1, 7); /* would wait for ever if the failed demand still counted */
    EXPECT_EQ(r.ended(), 1u);
}

TEST_P(IoUring, GivesUpOnAFileThatStaysBusy)
{
    Reader r(GetParam(), 2, 2);
    r.ring_.answer = [](const struct io_ring_read &) { return -EAGAIN; };
    r.demand(0, 3);
    struct io_done done = r.end();
    EXPECT_EQ(done.cause, EAGAIN);
    EXPECT_EQ(done.bytes, 0u);
    EXPECT_GT(done.reads, (uint32_t)IO_AGAIN_MAX);
    r.ring_.answer = nullptr;
    r.demand(1, 3);
    EXPECT_EQ(r.ended(), 1u);
}

TEST_P(IoUring, TellsTheEndOfAFile)
{
    Reader r(GetParam(), 2, 2);
    const struct page *page = r.page(7);
    uint64_t cut = page->part[1].offset + 10;
    r.toy_.truncate(cut);
    r.demand(0, 7);
    struct io_done done = r.end();
    EXPECT_EQ(done.cause, IO_END_OF_FILE);
    EXPECT_EQ(done.part, 1u);
    EXPECT_EQ(done.offset, cut);
    EXPECT_EQ(done.bytes, page->part[0].bytes + 10);
    r.toy_.restore(cut);
    r.demand(1, 7);
    EXPECT_EQ(r.ended(), 1u);
}

/* Everything at once: urgencies, raises, short, late and failing reads, ends in any order. */
TEST_P(IoUring, EndsEachOnceUnderRaces)
{
    Reader r(GetParam(), 6, 5, {20, 12, 8});
    scratch::Random random(11), faults(12);
    r.ring_.shuffle = true;
    r.ring_.answer = [&](const struct io_ring_read &) -> int {
        if (faults.chance(70))
            return INT32_MAX;
        const int answers[] = {4096, -EINTR, -EAGAIN, 8192, -EIO, 0};
        return answers[faults.below(6)];
    };
    uint32_t submitted = 0, failed = 0;
    std::set<uint32_t> under_way;
    for (uint32_t count = 0; count < 600; count++) {
        for (uint32_t tag = 0; tag < 6; tag++)
            if (!under_way.count(tag) && submitted < 600) {
                under_way.insert(tag);
                submitted++;
                r.submit(tag, random.below(40), random.chance(40));
            }
        if (random.chance(50))
            r.io_->ops->raise(r.io_, random.below(6));
        struct io_done done = r.end();
        ASSERT_EQ(under_way.erase(done.tag), 1u);
        const struct page *page = r.page(r.page_in_[done.tag]);
        if (done.cause) {
            failed++;
            ASSERT_TRUE(done.cause == EIO || done.cause == IO_END_OF_FILE);
            ASSERT_LT(done.bytes, page->file_bytes);
            ASSERT_GE(done.offset, page->part[done.part].offset);
            ASSERT_LE(done.offset, page->part[done.part].offset + page->part[done.part].bytes);
            continue;
        }
        ASSERT_EQ(done.bytes, page->file_bytes);
        ASSERT_TRUE(r.toy_.holds(r.toy_.store, r.page_in_[done.tag], r.slots_[done.tag]));
    }
    EXPECT_TRUE(r.none_ended());
    EXPECT_GT(failed, 20u);
    EXPECT_LT(failed, 500u);
}

INSTANTIATE_TEST_SUITE_P(Kinds, IoUring,
                         testing::Values(plain, Kind{"direct", true, false},
                                         Kind{"buffered_landed", false, true},
                                         Kind{"direct_landed", true, true}),
                         [](const auto &kind) { return std::string(kind.param.name); });

/* --- Giving way
 * --------------------------------------------------------------------------------- */

TEST(IoUringOrder, DemandsFirstAndInTheirOrder)
{
    Reader r(plain, 5, 1);
    r.ring_.hold(r.at(3, 0));
    r.prefetch(0, 3);
    r.ring_.await(r.at(3, 0));
    r.prefetch(1, 4);
    r.demand(2, 5);
    r.demand(3, 6);
    r.ring_.let_go(r.at(3, 0));
    EXPECT_EQ(r.ended(), 2u);
    EXPECT_EQ(r.ended(), 3u);
    EXPECT_EQ(r.ended(), 0u);
    EXPECT_EQ(r.ended(), 1u);
    EXPECT_EQ(r.ring_.calls().size(), 12u) << "what was read before the pause is not read again";
}

/* What a prefetch has handed over ends; nothing more of it, and no other, begins until the demand
 * has ended, however many reads the ring would take. */
TEST(IoUringOrder, APrefetchPausesWhileADemandIsUnderWay)
{
    Reader r(plain, 4, 2);
    r.ring_.hold(r.at(3, 0));
    r.ring_.hold(r.at(3, 1));
    r.ring_.hold(r.at(5, 0));
    r.prefetch(0, 3);
    r.ring_.await(r.at(3, 1));
    r.demand(1, 5);
    r.ring_.let_go(r.at(3, 0));
    r.ring_.let_go(r.at(3, 1));
    r.ring_.settle();
    r.prefetch(2, 4);
    r.ring_.settle();
    EXPECT_TRUE(r.none_ended());
    for (const FakeRing::Call &call : r.ring_.calls()) {
        EXPECT_NE(call.offset, r.at(3, 2));
        EXPECT_NE(call.offset, r.at(4, 0));
    }
    r.ring_.let_go(r.at(5, 0));
    EXPECT_EQ(r.ended(), 1u);
    EXPECT_EQ(r.ended(), 0u);
    EXPECT_EQ(r.ended(), 2u);
}

TEST(IoUringOrder, RaisedWhileItPausesItGoesOnAtOnce)
{
    Reader r(plain, 4, 2);
    r.ring_.hold(r.at(3, 0));
    r.ring_.hold(r.at(3, 1));
    r.ring_.hold(r.at(5, 0));
    r.prefetch(0, 3);
    r.ring_.await(r.at(3, 1));
    r.demand(1, 5);
    r.ring_.let_go(r.at(3, 0));
    r.ring_.let_go(r.at(3, 1));
    r.ring_.settle();
    EXPECT_EQ(r.ring_.calls().size(), 5u) << "two parts of the prefetch, three of the demand";
    r.io_->ops->raise(r.io_, 0);
    r.io_->ops->raise(r.io_, 0); /* no more urgent than that */
    EXPECT_EQ(r.ended(), 0u);    /* while the demand is held still */
    r.prefetch(2, 8);
    r.ring_.let_go(r.at(5, 0));
    EXPECT_EQ(r.ended(), 1u);
    EXPECT_EQ(r.ended(), 2u) << "nobody counts as a demand any more";
    r.io_->ops->raise(r.io_, 2); /* ended, and the tag names nothing */
    r.prefetch(2, 9);
    EXPECT_EQ(r.ended(), 2u);
}

/* However many prefetches have begun and pause, a demand finds a buffer. */
TEST(IoUringOrder, PausedPrefetchesLeaveBuffers)
{
    Kind kind = {"direct", true, false};
    Reader r(kind, 12, 2);
    uint32_t buffers = r.ring_.config.buffers;
    ASSERT_EQ(buffers, 6u);
    r.ring_.hold(r.at(0, 0));
    r.ring_.hold(r.at(0, 1));
    for (uint32_t tag = 0; tag < 8; tag++)
        r.prefetch(tag, tag);
    r.ring_.await(r.at(0, 1));
    for (uint32_t tag = 8; tag < 12; tag++)
        r.demand(tag, 20 + tag);
    r.ring_.let_all_go();
    std::set<uint32_t> first;
    for (int i = 0; i < 4; i++)
        first.insert(r.ended());
    EXPECT_EQ(first, (std::set<uint32_t>{8, 9, 10, 11}));
    for (int i = 0; i < 8; i++)
        EXPECT_LT(r.ended(), 8u);
}

/* Pieces: of a demand IO_PIECE_BYTES, of a prefetch IO_CHUNK_BYTES, both at once under way. */
TEST(IoUringOrder, LongPartsAreReadInPieces)
{
    const uint64_t part_bytes = 3 * IO_PIECE_BYTES + 100;
    scratch::Folder folder;
    std::vector<uint8_t> bytes = scratch::noise(3, 2 * part_bytes);
    folder.write("weights", bytes);
    struct store *store;
    uint32_t file;
    page_id page;
    ASSERT_EQ(store_open(&store, nullptr), STATUS_OK);
    ASSERT_EQ(store_add_file(store, folder.path("weights").c_str(), &file, nullptr), STATUS_OK);
    for (uint64_t i = 0; i < 2; i++) {
        struct page_part part = {file, 0, i * part_bytes, part_bytes, 0};
        ASSERT_EQ(store_add_page(store, &part, 1, &page, nullptr), STATUS_OK);
    }
    ASSERT_EQ(store_seal(store, nullptr), STATUS_OK);
    {
        Files files(store);
        files.pretend(4096);
        FakeRing ring;
        ring.strict = true;
        struct io *io;
        struct io_uring_config config = {{files.get(), 2, 0, nullptr}, 3, FakeRing::open};
        ASSERT_EQ(io_uring_open(&io, &config, nullptr), STATUS_OK);
        std::vector<uint8_t> slot(part_bytes);
        for (page_id number : {0, 1})
            for (bool demand : {true, false}) {
                size_t before = ring.calls().size();
                struct io_request request = {0, number, demand, store, slot.data()};
                io->ops->submit(io, &request);
                struct io_done done;
                ASSERT_TRUE(io->ops->poll(io, &done, long_ns));
                EXPECT_EQ(done.cause, 0);
                EXPECT_EQ(done.bytes, part_bytes);
                EXPECT_GT(done.rounding_bytes, 0u);
                EXPECT_LT(done.rounding_bytes, 8192u);
                EXPECT_EQ(memcmp(slot.data(), &bytes[number * part_bytes], part_bytes), 0);
                std::vector<FakeRing::Call> calls = ring.calls();
                EXPECT_EQ(calls.size() - before, demand ? 3u : 7u) << "the last takes the rest";
                EXPECT_EQ(calls[before].bytes, demand ? IO_PIECE_BYTES : IO_CHUNK_BYTES);
                EXPECT_EQ(calls[before + 1].offset, calls[before].offset + calls[before].bytes);
                EXPECT_EQ(done.reads, calls.size() - before);
            }
        io_close(io);
        EXPECT_EQ(ring.most_under_way(), 3u);
    }
    store_close(store);
}

TEST(IoUringOpen, SaysWhyThereIsNone)
{
    ToyStore toy({1});
    Files files(toy.store);
    FakeRing ring;
    ring.refuse = true;
    struct io *io;
    struct error error = {};
    struct io_uring_config config = {{files.get(), 2, 0, nullptr}, 1, FakeRing::open};
    EXPECT_EQ(io_uring_open(&io, &config, &error), STATUS_UNSUPPORTED);
    EXPECT_STREQ(error.text, "no ring today");
    EXPECT_EQ(io, nullptr);
}

TEST(IoUringOpen, BuffersForWhatIsUnderWayAndOneThatLands)
{
    EXPECT_EQ(io_uring_buffers(0, 4), 0u);
    EXPECT_EQ(io_uring_buffers(100000, 4), 10u);          /* four runs of one read each */
    EXPECT_EQ(io_uring_buffers(IO_PIECE_BYTES * 4, 4), 4u); /* one run of four reads */
    EXPECT_EQ(io_uring_buffers(IO_PIECE_BYTES * 3, 4), 6u);
    EXPECT_EQ(io_uring_buffers(IO_PIECE_BYTES * 100, 1), 4u);
}

TEST(IoUringDeathTest, MoreThanItsDepthIsABug)
{
    EXPECT_DEATH(
        {
            Reader r(plain, 1, 1);
            r.ring_.hold(r.at(0, 0));
            r.demand(0, 0);
            r.demand(0, 1);
        },
        "CHECK");
}

} // namespace
