/* Opening only what is a regular file, and reading all of a range or failing. */
#include "engine/load/model_file.h"

#include <gtest/gtest.h>

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "tests/support/safetensors_writer.h"

namespace {

using test_support::ScratchFolder;

TEST(ModelFile, ReadsRangesAndNoticesTheEnd)
{
    ScratchFolder folder;
    folder.write("f", "0123456789");
    std::string path = folder.file("f");
    struct model_file file;
    struct error error = {};
    ASSERT_EQ(model_file_open(&file, path.c_str(), &error), STATUS_OK) << error.text;
    EXPECT_EQ(file.bytes, 10u);
    char to[16] = "";
    EXPECT_EQ(model_file_read(&file, path.c_str(), 3, 4, to, &error), STATUS_OK) << error.text;
    EXPECT_STREQ(to, "3456");
    EXPECT_EQ(model_file_read(&file, path.c_str(), 10, 0, to, &error), STATUS_OK) << error.text;
    EXPECT_EQ(model_file_read(&file, path.c_str(), 8, 3, to, &error), STATUS_IO);
    EXPECT_NE(std::string(error.text).find(path + ": ended at byte 10"), std::string::npos)
        << error.text;
    EXPECT_EQ(model_file_read(&file, path.c_str(), UINT64_MAX, 1, to, nullptr), STATUS_IO);
    model_file_close(&file);
    EXPECT_EQ(file.fd, -1);
    model_file_close(&file);
    model_file_close(nullptr);
}

TEST(ModelFile, RefusesWhatIsNotARegularFileWithoutBlocking)
{
    ScratchFolder folder;
    std::string fifo = folder.file("fifo");
    ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
    std::filesystem::create_symlink(folder.file("nowhere"), folder.file("dangling"));
    struct Case {
        std::string path;
        enum status status;
    };
    for (const Case &t : {Case{fifo, STATUS_INVALID}, Case{folder.path(), STATUS_INVALID},
                          Case{"/dev/zero", STATUS_INVALID},
                          Case{folder.file("absent"), STATUS_NOT_FOUND},
                          Case{folder.file("dangling"), STATUS_NOT_FOUND},
                          Case{folder.file(std::string(300, 'x')), STATUS_IO}}) {
        struct model_file file;
        struct error error = {};
        EXPECT_EQ(model_file_open(&file, t.path.c_str(), &error), t.status) << t.path;
        EXPECT_EQ(file.fd, -1);
        EXPECT_EQ(std::string(error.text).find(t.path.substr(0, 200)), 0u) << error.text;
    }
}

} // namespace
