#include "memory/store.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "tests/support/scratch.h"

namespace {

class Store : public testing::Test {
protected:
    void SetUp() override
    {
        ASSERT_EQ(store_open(&store_, &error_), STATUS_OK);
        std::string name = folder_.write("a.bin", scratch::noise(1, 100000));
        ASSERT_EQ(store_add_file(store_, name.c_str(), &file_, &error_), STATUS_OK);
    }
    void TearDown() override { store_close(store_); }

    static page_part part(uint32_t file, uint64_t offset, uint64_t bytes)
    {
        return page_part{file, 0xdead, offset, bytes, 0};
    }
    enum status add(std::vector<page_part> parts)
    {
        error_ = {};
        return store_add_page(store_, parts.data(), (uint32_t)parts.size(), &page_, &error_);
    }
    void expect_error(const std::vector<std::string> &words)
    {
        for (const std::string &word : words)
            EXPECT_NE(std::string(error_.text).find(word), std::string::npos)
                << "'" << word << "' in: " << error_.text;
    }

    scratch::Folder folder_;
    struct store *store_ = nullptr;
    struct error error_ = {};
    uint32_t file_ = 99;
    page_id page_ = 99;
};

TEST_F(Store, LaysPartsOutAligned)
{
    ASSERT_EQ(add({part(file_, 3, 100), part(file_, 5000, 64), part(file_, 200, 1)}), STATUS_OK);
    EXPECT_EQ(page_, 0u);
    const struct page *page = store_page(store_, 0);
    EXPECT_EQ(page->parts, 3u);
    EXPECT_EQ(page->part[0].slot_offset, 0u);
    EXPECT_EQ(page->part[1].slot_offset, 128u);
    EXPECT_EQ(page->part[2].slot_offset, 192u);
    EXPECT_EQ(page->slot_bytes, 256u);
    EXPECT_EQ(page->file_bytes, 165u);
}

/* What a landing makes of a part may be shorter or longer than the part. */
TEST_F(Store, PartsMayChangeTheirLengthOnTheWay)
{
    page_part longer = part(file_, 0, 100), shorter = part(file_, 200, 5000);
    longer.slot_bytes = 130;
    shorter.slot_bytes = 50;
    ASSERT_EQ(add({longer, shorter, part(file_, 6000, 10)}), STATUS_OK);
    const struct page *page = store_page(store_, 0);
    EXPECT_EQ(page->part[0].slot_bytes, 130u);
    EXPECT_EQ(page->part[1].slot_offset, 192u);
    EXPECT_EQ(page->part[2].slot_offset, 256u);
    EXPECT_EQ(page->part[2].slot_bytes, 10u) << "as in the file";
    EXPECT_EQ(page->slot_bytes, 320u);
    EXPECT_EQ(page->file_bytes, 5110u);
    longer.slot_bytes = 5ull << 30;
    EXPECT_EQ(add({longer}), STATUS_INVALID);
    expect_error({"4 GiB", "5368709120"});
    longer.slot_bytes = UINT64_MAX;
    EXPECT_EQ(add({shorter, longer}), STATUS_INVALID);
}

TEST_F(Store, ALandingIsThereOnceItIsSet)
{
    EXPECT_EQ(store_landing(store_), nullptr);
    int seen = 0;
    store_set_landing(store_, {&seen, [](void *self, page_id, uint32_t, uint8_t *,
                                         const uint8_t *) { ++*static_cast<int *>(self); }});
    const struct page_landing *landing = store_landing(store_);
    ASSERT_NE(landing, nullptr);
    landing->part(landing->self, 0, 0, nullptr, nullptr);
    EXPECT_EQ(seen, 1);
    store_set_landing(store_, {nullptr, nullptr});
    EXPECT_EQ(store_landing(store_), nullptr);
}

TEST_F(Store, ClassesAreTheDistinctSizesRoundedUp)
{
    ASSERT_EQ(add({part(file_, 0, 9000)}), STATUS_OK);
    ASSERT_EQ(add({part(file_, 0, 100)}), STATUS_OK);
    ASSERT_EQ(add({part(file_, 0, 4096)}), STATUS_OK);
    ASSERT_EQ(add({part(file_, 0, 12288)}), STATUS_OK);
    ASSERT_EQ(add({part(file_, 0, 4097)}), STATUS_OK);
    ASSERT_EQ(store_seal(store_, &error_), STATUS_OK);
    ASSERT_EQ(store_classes(store_), 3u);
    const uint64_t sizes[] = {4096, 8192, 12288};
    const uint32_t pages[] = {2, 1, 2};
    for (uint32_t c = 0; c < 3; c++) {
        EXPECT_EQ(store_class_slot_bytes(store_, c), sizes[c]);
        EXPECT_EQ(store_class_pages(store_, c), pages[c]);
    }
    EXPECT_EQ(store_page(store_, 0)->size_class, 2u);
    EXPECT_EQ(store_page(store_, 1)->size_class, 0u);
    EXPECT_EQ(store_page(store_, 4)->size_class, 1u);
    EXPECT_EQ(store_total_slot_bytes(store_), 2 * 4096u + 8192u + 2 * 12288u);
    EXPECT_EQ(store_pages(store_), 5u);
}

TEST_F(Store, TooManySizesNameFileAndPage)
{
    for (uint32_t i = 1; i <= STORE_CLASSES_MAX; i++)
        ASSERT_EQ(add({part(file_, 0, i * 4096)}), STATUS_OK);
    ASSERT_EQ(add({part(file_, 0, 17 * 4096)}), STATUS_OK);
    error_ = {};
    EXPECT_EQ(store_seal(store_, &error_), STATUS_INVALID);
    expect_error({"a.bin", "page 16", "69632", "16 different"});
}

TEST_F(Store, RefusesPartsThatLie)
{
    EXPECT_EQ(add({part(file_, 99999, 2)}), STATUS_INVALID);
    expect_error({"a.bin", "2 bytes at offset 99999", "100000"});
    EXPECT_EQ(add({part(file_, UINT64_MAX - 5, 10)}), STATUS_INVALID);
    expect_error({"a.bin", "18446744073709551610"});
    EXPECT_EQ(add({part(file_, 5, UINT64_MAX)}), STATUS_INVALID);
    EXPECT_EQ(add({part(file_, 5, 0)}), STATUS_INVALID);
    expect_error({"a.bin", "part 0 of page 0 is empty"});
    EXPECT_EQ(add({part(file_, 100, 50), part(file_, 0, 101)}), STATUS_INVALID);
    expect_error({"a.bin", "overlaps part 0", "101 bytes at offset 0", "50 bytes at offset 100"});
    EXPECT_EQ(add({part(file_, 100, 50), part(file_, 149, 1)}), STATUS_INVALID);
    EXPECT_EQ(add({}), STATUS_INVALID);
    expect_error({"0 parts"});
    EXPECT_EQ(add(std::vector<page_part>(9, part(file_, 0, 1))), STATUS_INVALID);
    expect_error({"9 parts", "8"});
    EXPECT_EQ(store_pages(store_), 0u);
    EXPECT_EQ(page_, 99u);
}

TEST_F(Store, TouchingPartsAndOtherFilesDoNotOverlap)
{
    uint32_t other;
    std::string name = folder_.write("b.bin", scratch::noise(2, 1000));
    ASSERT_EQ(store_add_file(store_, name.c_str(), &other, &error_), STATUS_OK);
    EXPECT_EQ(add({part(file_, 100, 50), part(file_, 150, 50), part(file_, 50, 50),
                   part(other, 100, 50)}),
              STATUS_OK);
    EXPECT_EQ(add({part(file_, 0, 100000)}), STATUS_OK); /* to the very end; pages may share */
    EXPECT_EQ(add({part(other, 0, 1001)}), STATUS_INVALID);
    expect_error({"b.bin"});
    EXPECT_STREQ(store_path(store_, other), name.c_str());
}

TEST_F(Store, APageOfMoreThanFourGigabytesIsRefused)
{
    folder_.write("huge", "");
    folder_.truncate("huge", 6ull << 30); /* a hole: takes no room */
    uint32_t huge;
    ASSERT_EQ(store_add_file(store_, folder_.path("huge").c_str(), &huge, &error_), STATUS_OK);
    EXPECT_EQ(add({part(huge, 0, 5ull << 30)}), STATUS_INVALID);
    expect_error({"huge", "4 GiB"});
    EXPECT_EQ(add({part(huge, 0, 3ull << 30), part(huge, 3ull << 30, 2ull << 30)}), STATUS_INVALID);
    EXPECT_EQ(add({part(huge, 0, 3ull << 30)}), STATUS_OK);
}

TEST_F(Store, FilesThatCannotBeUsed)
{
    uint32_t file;
    error_ = {};
    EXPECT_EQ(store_add_file(store_, folder_.path("none").c_str(), &file, &error_),
              STATUS_NOT_FOUND);
    expect_error({"none", "No such file"});
    error_ = {};
    EXPECT_EQ(store_add_file(store_, folder_.path().c_str(), &file, &error_), STATUS_IO);
    expect_error({folder_.path(), "regular file"});
}

TEST_F(Store, AReplacedFileKeepsServingTheOldBytes)
{
    std::string old = folder_.read("a.bin");
    folder_.write("new", scratch::noise(5, 100000));
    ASSERT_EQ(rename(folder_.path("new").c_str(), folder_.path("a.bin").c_str()), 0);
    char now[64];
    ASSERT_EQ(pread(store_fd(store_, file_), now, sizeof now, 500), (ssize_t)sizeof now);
    EXPECT_EQ(memcmp(now, old.data() + 500, sizeof now), 0);
}

TEST_F(Store, ManyPagesAndFilesGrow)
{
    for (uint32_t i = 0; i < 1000; i++)
        ASSERT_EQ(add({part(file_, i, 1 + i % 7)}), STATUS_OK);
    uint32_t file = 0;
    for (uint32_t i = 0; i < 40; i++)
        ASSERT_EQ(store_add_file(store_, folder_.path("a.bin").c_str(), &file, &error_), STATUS_OK);
    EXPECT_EQ(file, 40u);
    ASSERT_EQ(store_seal(store_, &error_), STATUS_OK);
    for (uint32_t i = 0; i < 1000; i++)
        ASSERT_EQ(store_page(store_, i)->part[0].offset, i);
}

TEST_F(Store, AnEmptyOneSeals)
{
    EXPECT_EQ(store_seal(store_, &error_), STATUS_OK);
    EXPECT_EQ(store_classes(store_), 0u);
    EXPECT_EQ(store_total_slot_bytes(store_), 0u);
    store_close(nullptr);
}

TEST_F(Store, MisuseIsABug)
{
    EXPECT_DEATH(store_page(store_, 0), "CHECK");
    EXPECT_DEATH(store_classes(store_), "CHECK");
    page_part wrong = part(7, 0, 1);
    EXPECT_DEATH(store_add_page(store_, &wrong, 1, &page_, &error_), "CHECK");
    ASSERT_EQ(store_seal(store_, &error_), STATUS_OK);
    page_part right = part(file_, 0, 1);
    EXPECT_DEATH(store_add_page(store_, &right, 1, &page_, &error_), "CHECK");
}

} // namespace
