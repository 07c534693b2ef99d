#include "memory/io_run.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/memory/files.h"
#include "tests/memory/landing.h"
#include "tests/support/scratch.h"

namespace {

constexpr uint64_t mib = 1 << 20;

class IoRun : public testing::Test {
protected:
    IoRun()
    {
        EXPECT_EQ(store_open(&store_, nullptr), STATUS_OK);
        for (const char *name : {"a", "b"}) {
            folder_.write(name, "x");
            folder_.truncate(name, 400 * mib); /* a hole */
            uint32_t file;
            EXPECT_EQ(store_add_file(store_, folder_.path(name).c_str(), &file, nullptr),
                      STATUS_OK);
        }
    }
    ~IoRun() override
    {
        files_.reset();
        store_close(store_);
    }
    void add(std::vector<page_part> parts)
    {
        struct error error = {};
        page_id page;
        ASSERT_EQ(store_add_page(store_, parts.data(), (uint32_t)parts.size(), &page, &error),
                  STATUS_OK) << error.text;
    }
    /* The runs of the newest page, checked against all that holds for any. */
    std::vector<io_run> runs(uint32_t align, const uint8_t *slot = nullptr)
    {
        const struct page *page = store_page(store_, store_pages(store_) - 1);
        files_.reset(new Files(store_));
        if (align > 1)
            files_->pretend(align);
        struct io_runs out;
        io_runs_of(files_->get(), page, slot, &out);
        std::vector<bool> seen(page->parts);
        for (uint32_t i = 0; i < out.count; i++) {
            const struct io_run &run = out.run[i];
            EXPECT_EQ(run.align, align);
            EXPECT_EQ(run.offset % align + run.bytes % align, 0u);
            EXPECT_GE(run.bytes, run.needed);
            EXPECT_LT(run.bytes - run.needed, align);
            EXPECT_TRUE(run.staged || run.parts == 1);
            EXPECT_LE(run.bytes, io_run_stage_bytes(files_->get()) + (run.staged ? 0 : UINT32_MAX));
            uint64_t end = run.offset;
            for (uint32_t p = 0; p < run.parts; p++) {
                const struct page_part &part = page->part[run.part[p]];
                EXPECT_FALSE(seen[run.part[p]]);
                seen[run.part[p]] = true;
                EXPECT_EQ(part.file, run.file);
                EXPECT_GE(part.offset, end);
                end = part.offset + part.bytes;
            }
            EXPECT_EQ(run.needed, end - run.offset);
            EXPECT_EQ(io_run_page_bytes(&run, page, 0, run.bytes) > 0, true);
        }
        for (bool part : seen)
            EXPECT_TRUE(part);
        return std::vector<io_run>(out.run, out.run + out.count);
    }
    scratch::Folder folder_;
    struct store *store_ = nullptr;
    std::unique_ptr<Files> files_;
};

page_part part(uint32_t file, uint64_t offset, uint64_t bytes, uint64_t slot_bytes = 0)
{
    return page_part{file, 0, offset, bytes, slot_bytes};
}

TEST_F(IoRun, PartsSideBySideAreReadTogether)
{
    add({part(0, 2 * mib + 7, mib), part(0, 7, mib), part(0, mib + 7, mib)});
    std::vector<io_run> all = runs(4096);
    ASSERT_EQ(all.size(), 1u);
    EXPECT_EQ(all[0].offset, 0u);
    EXPECT_EQ(all[0].needed, 3 * mib + 7);
    EXPECT_EQ(all[0].bytes, 3 * mib + 4096);
    EXPECT_EQ(all[0].parts, 3u);
    EXPECT_EQ(all[0].part[0], 1u);
    EXPECT_EQ(all[0].part[2], 0u);
}

TEST_F(IoRun, GapsAreReadAlongWhereTheyAreSmall)
{
    add({part(0, 0, mib), part(0, mib + IO_RUN_GAP_BYTES - 1, mib)});
    EXPECT_EQ(runs(4096).size(), 1u);
    add({part(0, 0, mib), part(0, mib + IO_RUN_GAP_BYTES, mib)});
    EXPECT_EQ(runs(4096).size(), 2u);
    add({part(0, 0, 80000), part(0, 90000, 80000)}); /* an eighth */
    EXPECT_EQ(runs(4096).size(), 1u);
    add({part(0, 0, 80000), part(0, 90001, 80000)});
    EXPECT_EQ(runs(4096).size(), 2u);
    add({part(0, 0, 100), part(0, 4195, 100)}); /* less than the alignment reads along anyway */
    EXPECT_EQ(runs(4096).size(), 1u);
    add({part(0, 0, 100), part(0, 4196, 100)});
    EXPECT_EQ(runs(4096).size(), 2u);
}

TEST_F(IoRun, FilesAndLongRunsAreReadApart)
{
    add({part(0, 100, 1000), part(1, 1100, 1000), part(0, 1100, 1000)});
    std::vector<io_run> all = runs(4096);
    ASSERT_EQ(all.size(), 2u);
    EXPECT_EQ(all[0].parts, 2u);
    EXPECT_EQ(all[1].file, 1u);
    add({part(0, 0, 3 * mib), part(0, 3 * mib, 5 * mib), part(0, 8 * mib, 10)});
    all = runs(4096);
    ASSERT_EQ(all.size(), 2u) << "eight MiB, and ten bytes";
    EXPECT_EQ(all[0].bytes, IO_RUN_BYTES_MAX);
    add({part(0, 1, 90 * mib), part(0, 90 * mib + 1, 90 * mib)});
    EXPECT_EQ(runs(4096).size(), 2u) << "a part of its own may be longer";
    EXPECT_EQ(io_run_stage_bytes(files_->get()), 90 * mib + 4096);
}

/* Through the page cache, without a landing: as it lies in the file, straight into the slot. */
TEST_F(IoRun, StraightIntoTheSlot)
{
    add({part(0, 2000, 1000), part(0, 1000, 1000)});
    std::vector<io_run> all = runs(1);
    ASSERT_EQ(all.size(), 2u);
    EXPECT_FALSE(all[0].staged || all[1].staged);
    EXPECT_EQ(all[0].bytes, 1000u);
    EXPECT_EQ(io_run_stage_bytes(files_->get()), 0u);
    Landing landing;
    landing.attach(store_);
    all = runs(1);
    ASSERT_EQ(all.size(), 1u);
    EXPECT_TRUE(all[0].staged);
    EXPECT_EQ(all[0].bytes, 2000u);
}

/* A file made for it: parts at multiples of 4 KiB need no staging, if the slot is aligned. */
TEST_F(IoRun, AlignedPartsGoStraightToo)
{
    alignas(4096) static uint8_t slot[8192];
    add({part(0, 8192, 4096), part(0, 12288, 100), part(0, 1 << 20, 8192)});
    std::vector<io_run> all = runs(4096, slot);
    ASSERT_EQ(all.size(), 3u);
    EXPECT_FALSE(all[0].staged);
    EXPECT_TRUE(all[1].staged) << "its length is off";
    EXPECT_TRUE(all[2].staged) << "its place in the slot is off";
    EXPECT_EQ(runs(4096, slot + 64).size(), 2u) << "all staged; two are neighbours";
    EXPECT_EQ(runs(4096)[0].staged, true);
    Landing landing;
    landing.attach(store_);
    EXPECT_TRUE(runs(4096, slot)[0].staged);
}

TEST_F(IoRun, AReadThatCameShortGoesOnAtTheAlignment)
{
    add({part(0, 5000, 20000)});
    struct io_run direct = runs(4096)[0], buffered = runs(1)[0];
    EXPECT_EQ(direct.offset, 4096u);
    EXPECT_EQ(direct.bytes, 24576u);
    EXPECT_EQ(io_run_advance(&direct, 0, 4096), 4096u);
    EXPECT_EQ(io_run_advance(&direct, 4096, 5000), 8192u);
    EXPECT_EQ(io_run_advance(&direct, 8192, 4095), 8192u) << "no progress: the file ends";
    EXPECT_EQ(io_run_advance(&direct, 16384, 904 + 20000 - 16384), direct.bytes)
        << "all that is needed is there, though the file ends before the alignment";
    EXPECT_EQ(io_run_advance(&buffered, 0, 1), 1u);
    EXPECT_EQ(io_run_advance(&buffered, 19999, 1), 20000u);
}

TEST_F(IoRun, CountsWhatBelongsToParts)
{
    add({part(0, 5000, 20000), part(0, 26000, 10000)});
    struct io_run run = runs(4096)[0];
    const struct page *page = store_page(store_, 0);
    ASSERT_EQ(run.parts, 2u);
    EXPECT_EQ(io_run_page_bytes(&run, page, 0, run.bytes), 30000u);
    EXPECT_EQ(io_run_page_bytes(&run, page, 0, 904), 0u);
    EXPECT_EQ(io_run_page_bytes(&run, page, 0, 905), 1u);
    EXPECT_EQ(io_run_page_bytes(&run, page, 20903, 21905), 2u) << "one byte of each, and the gap";
    uint64_t sum = 0;
    for (uint64_t at = 0; at < run.bytes; at += 512)
        sum += io_run_page_bytes(&run, page, at, at + 512);
    EXPECT_EQ(sum, 30000u);
    uint64_t offset;
    EXPECT_EQ(io_run_locate(&run, page, 0, &offset), 0u);
    EXPECT_EQ(offset, 5000u) << "where the part begins, not what was rounded";
    EXPECT_EQ(io_run_locate(&run, page, 10000, &offset), 0u);
    EXPECT_EQ(offset, 14096u);
    EXPECT_EQ(io_run_locate(&run, page, 21000, &offset), 1u);
    EXPECT_EQ(offset, 26000u) << "the gap belongs to what comes behind it";
    EXPECT_EQ(io_run_locate(&run, page, 22000, &offset), 1u);
    EXPECT_EQ(offset, 26096u);
}

TEST_F(IoRun, AnyPageIsCoveredOnce)
{
    scratch::Random random(5);
    for (int i = 0; i < 300 && !HasFailure(); i++) {
        std::vector<page_part> parts;
        uint64_t offset = random.below(100000);
        for (uint32_t p = 1 + random.below(8); p > 0; p--) {
            uint64_t bytes = 1 + random.below(random.chance(20) ? 4 * mib : 20000);
            parts.push_back(part(random.below(2), offset, bytes));
            offset += bytes + (random.chance(50) ? 0 : random.below(90000));
        }
        for (size_t p = parts.size(); p > 1; p--)
            std::swap(parts[p - 1], parts[random.below((uint32_t)p)]);
        add(parts);
        runs(random.chance(50) ? 4096 : 1);
    }
}

TEST_F(IoRun, LandsEachPartOnce)
{
    add({part(0, 5000, 300, 600), part(0, 5300, 100, 200), part(1, 0, 100, 200)});
    Landing landing;
    landing.attach(store_);
    std::vector<uint8_t> bytes = scratch::noise(2, 20000);
    const struct page *page = store_page(store_, 0);
    std::vector<uint8_t> slot(page->slot_bytes), file = bytes;
    for (const io_run &run : runs(4096))
        io_run_land(&run, store_, 0, slot.data(), bytes.data() + run.offset);
    EXPECT_EQ(landing.parts, 3u);
    EXPECT_TRUE(Landing::holds(page, 0, slot.data(), file.data()));
}

using IoRunDeathTest = IoRun;

TEST_F(IoRunDeathTest, AnotherLengthInTheSlotNeedsALanding)
{
    add({part(0, 0, 100, 200)});
    EXPECT_DEATH(runs(1), "part 0 of page 0 changes its length without a landing");
}

} // namespace
