#include "memory/io_probe.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "memory/base/clock.h"
#include "tests/memory/fake_ring.h"
#include "tests/memory/files.h"
#include "tests/support/scratch.h"

namespace {

TEST(IoProbeChoose, TheLeastThatIsNearlyAsFast)
{
    struct {
        double rates[IO_PROBE_DEPTHS];
        uint32_t depth;
    } table[] = {
        {{1.0, 1.0, 1.0, 1.0, 1.0}, 4}, /* never less than four */
        {{0.3, 0.6, 1.0, 1.04, 1.02}, 4},
        {{0.3, 0.6, 0.9, 1.04, 1.02}, 8},
        {{0.1, 0.2, 0.4, 0.8, 1.6}, 16},
        {{1.0, 0, 0, 0, 0}, 4}, /* there was no time for more */
        {{0, 0, 0, 0, 0}, IO_PROBE_DEPTH_LEAST},
        {{0.5, 0.5, 0.5, 0.96, 1.0}, 8},
    };
    for (auto &row : table)
        EXPECT_EQ(io_probe_choose(row.rates), row.depth);
}

/* A store of pages over a hole of 400 MiB: large enough to be probed, and takes no room. */
class IoProbe : public testing::Test {
protected:
    explicit IoProbe(uint64_t page_bytes = 4 << 20, uint32_t pages = 90)
    {
        folder_.write("weights", "x");
        folder_.truncate("weights", (page_bytes + 100) * pages);
        uint32_t file;
        page_id page;
        EXPECT_EQ(store_open(&store_, nullptr), STATUS_OK);
        EXPECT_EQ(store_add_file(store_, folder_.path("weights").c_str(), &file, nullptr),
                  STATUS_OK);
        for (uint64_t i = 0; i < pages; i++) {
            struct page_part part = {file, 0, 50 + i * (page_bytes + 100), page_bytes, 0};
            EXPECT_EQ(store_add_page(store_, &part, 1, &page, nullptr), STATUS_OK);
        }
        EXPECT_EQ(store_seal(store_, nullptr), STATUS_OK);
        files_.reset(new Files(store_));
        files_->pretend(4096);
        ring_.strict = true;
    }
    ~IoProbe() override
    {
        files_.reset();
        store_close(store_);
    }
    enum status run()
    {
        error_ = {};
        return io_probe_run(&probe_, files_->get(), 1 << 20, FakeRing::open, &error_);
    }
    scratch::Folder folder_;
    struct store *store_ = nullptr;
    std::unique_ptr<Files> files_;
    FakeRing ring_;
    struct io_probe probe_ = {};
    struct error error_ = {};
};

TEST_F(IoProbe, KeepsWithinItsBytesAndItsTime)
{
    uint64_t begin = clock_now_ns();
    ASSERT_EQ(run(), STATUS_OK) << error_.text;
    EXPECT_LT(clock_now_ns() - begin, 10 * (uint64_t)IO_PROBE_NS); /* others use the machine */
    uint64_t bytes = 0;
    for (const FakeRing::Call &call : ring_.calls()) {
        bytes += call.bytes;
        EXPECT_LE(call.bytes, 1u << 20);
    }
    EXPECT_GT(bytes, 5u << 20);
    EXPECT_LE(bytes, IO_PROBE_BYTES);
    EXPECT_TRUE(ring_.closed);
    uint32_t measured = 0; /* all of them, unless the machine was too slow for the last */
    while (measured < IO_PROBE_DEPTHS && probe_.rates[measured] > 0)
        measured++;
    ASSERT_GT(measured, 0u);
    EXPECT_EQ(ring_.most_under_way(), 1u << (measured - 1));
    for (uint32_t i = measured; i < IO_PROBE_DEPTHS; i++)
        EXPECT_EQ(probe_.rates[i], 0);
    EXPECT_EQ(probe_.depth, io_probe_choose(probe_.rates));
    EXPECT_GT(probe_.rate, 0);
}

/* A slow disk: depth 1 takes its share of the time, and the last depths are left out. */
TEST_F(IoProbe, AsManyDepthsAsThereIsTimeFor)
{
    ring_.answer = [](const struct io_ring_read &) {
        usleep(30000);
        return INT32_MAX;
    };
    ASSERT_EQ(run(), STATUS_OK);
    EXPECT_GT(probe_.rates[0], 0);
    EXPECT_EQ(probe_.rates[4], 0);
    EXPECT_GE(probe_.depth, (uint32_t)IO_PROBE_DEPTH_LEAST);
}

TEST_F(IoProbe, FailingReadsAreForWhoeverReadsThePages)
{
    ring_.answer = [](const struct io_ring_read &) { return -EIO; };
    ASSERT_EQ(run(), STATUS_OK);
    EXPECT_EQ(probe_.depth, (uint32_t)IO_PROBE_DEPTH_LEAST);
    EXPECT_EQ(probe_.rate, 0);
    EXPECT_TRUE(ring_.closed);
}

TEST_F(IoProbe, ARingThatIsRefused)
{
    ring_.refuse = true;
    EXPECT_EQ(run(), STATUS_UNSUPPORTED);
    EXPECT_STREQ(error_.text, "no ring today");
}

TEST_F(IoProbe, ThePageCacheIsNotProbed)
{
    files_->pretend(1);
    files_.reset(new Files(store_));
    ASSERT_EQ(run(), STATUS_OK);
    EXPECT_EQ(ring_.calls().size(), 0u);
    EXPECT_EQ(probe_.depth, (uint32_t)IO_PROBE_DEPTH_LEAST);
}

class IoProbeShort : public IoProbe {
protected:
    IoProbeShort() : IoProbe(200000, 2000) {}
};

/* Eleven reads of 200000 bytes are 2 MiB. */
TEST_F(IoProbeShort, ShortPartsWantMoreUnderWay)
{
    ASSERT_EQ(run(), STATUS_OK);
    EXPECT_EQ(probe_.depth, std::max(11u, io_probe_choose(probe_.rates)));
    for (const FakeRing::Call &call : ring_.calls())
        EXPECT_LE(call.bytes, 200000u + 4096);
}

class IoProbeSmall : public IoProbe {
protected:
    IoProbeSmall() : IoProbe(100000, 100) {}
};

TEST_F(IoProbeSmall, ATinyModelIsNotProbed)
{
    ASSERT_EQ(run(), STATUS_OK);
    EXPECT_EQ(ring_.calls().size(), 0u);
    EXPECT_EQ(probe_.rate, 0);
}

} // namespace
