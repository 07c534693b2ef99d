#include "memory/io_files.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "tests/memory/toy_store.h"

namespace {

ino_t inode(int fd)
{
    struct stat info;
    EXPECT_EQ(fstat(fd, &info), 0);
    return info.st_ino;
}

TEST(IoFiles, ThroughThePageCache)
{
    ToyStore toy({3});
    struct io_files files;
    ASSERT_EQ(io_files_open(&files, toy.store, false, nullptr), STATUS_OK);
    ASSERT_EQ(files.count, 1u);
    EXPECT_EQ(files.store, toy.store);
    EXPECT_EQ(files.direct, 0u);
    EXPECT_EQ(files.at[0].align, 1u);
    EXPECT_STREQ(files.why_not, "") << "nobody asked for direct reads";
    EXPECT_EQ(inode(files.at[0].fd), inode(store_fd(toy.store, 0)));
    char byte;
    EXPECT_EQ(pread(files.at[0].fd, &byte, 1, 77), 1);
    EXPECT_EQ((uint8_t)byte, toy.bytes[77]);
    io_files_close(&files);
    io_files_close(&files);
    EXPECT_EQ(pread(store_fd(toy.store, 0), &byte, 1, 78), 1) << "the store's own stays open";
}

/* The file of the store, also when another has taken its name. */
TEST(IoFiles, DirectReadsOfTheSameFile)
{
    ToyStore toy({3});
    toy.folder.write("other", scratch::noise(9, toy.bytes.size()));
    ASSERT_EQ(rename(toy.folder.path("other").c_str(), toy.folder.path("weights").c_str()), 0);
    struct io_files files;
    ASSERT_EQ(io_files_open(&files, toy.store, true, nullptr), STATUS_OK);
    if (files.direct == 0) {
        EXPECT_NE(std::string(files.why_not).find("weights"), std::string::npos) << files.why_not;
        io_files_close(&files);
        GTEST_SKIP() << files.why_not;
    }
    EXPECT_EQ(files.direct, 1u);
    EXPECT_STREQ(files.why_not, "");
    const struct io_file &file = files.at[0];
    EXPECT_NE(fcntl(file.fd, F_GETFL) & O_DIRECT, 0);
    EXPECT_EQ(fcntl(store_fd(toy.store, 0), F_GETFL) & O_DIRECT, 0) << "the store's is left alone";
    EXPECT_EQ(inode(file.fd), inode(store_fd(toy.store, 0)));
    EXPECT_GE(file.align, (uint32_t)IO_FILES_ALIGN);
    EXPECT_EQ(file.align & (file.align - 1), 0u);
    uint8_t *to = static_cast<uint8_t *>(aligned_alloc(file.align, file.align));
    EXPECT_EQ(pread(file.fd, to, file.align, file.align), (ssize_t)file.align);
    EXPECT_EQ(memcmp(to, &toy.bytes[file.align], file.align), 0);
    free(to);
    io_files_close(&files);
}

/* A pipe behind /proc/self/fd, or any file system that knows no O_DIRECT: one sentence, and
 * reads. */
TEST(IoFiles, WhereItIsRefusedThePageCacheServes)
{
    scratch::Folder folder;
    struct store *store;
    uint32_t file;
    ASSERT_EQ(store_open(&store, nullptr), STATUS_OK);
    if (store_add_file(store, "/proc/self/cmdline", &file, nullptr) != STATUS_OK) {
        store_close(store);
        GTEST_SKIP() << "no /proc";
    }
    struct io_files files;
    ASSERT_EQ(io_files_open(&files, store, true, nullptr), STATUS_OK);
    EXPECT_EQ(files.direct, 0u);
    EXPECT_EQ(files.at[0].align, 1u);
    std::string why = files.why_not;
    EXPECT_EQ(why.find("'/proc/self/cmdline' cannot be read past the page cache: "), 0u) << why;
    char byte;
    EXPECT_EQ(pread(files.at[0].fd, &byte, 1, 0), 1);
    io_files_close(&files);
    store_close(store);
}

TEST(IoFiles, AStoreWithoutFiles)
{
    struct store *store;
    struct io_files files;
    ASSERT_EQ(store_open(&store, nullptr), STATUS_OK);
    ASSERT_EQ(io_files_open(&files, store, true, nullptr), STATUS_OK);
    EXPECT_EQ(files.count, 0u);
    io_files_close(&files);
    store_close(store);
}

} // namespace
