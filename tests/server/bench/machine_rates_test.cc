#include "server/bench/machine_rates.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "tests/support/scratch.h"

namespace {

TEST(machine_rates, memory_is_read_at_some_rate)
{
    size_t bytes = 8 << 20;
    void *data = aligned_alloc(64, bytes);
    memset(data, 1, bytes);
    for (uint32_t threads : {1u, 2u}) {
        double rate = machine_memory_rate(data, bytes, threads);
        EXPECT_GT(rate, 1e8);
        EXPECT_LT(rate, 1e13);
    }
    free(data);
}

TEST(machine_rates, storage_is_read_with_so_many_under_way)
{
    scratch::Folder folder;
    std::string path = folder.path() + "/data";
    std::ofstream(path, std::ios::binary) << std::string(1 << 20, 'x');
    for (uint32_t depth : {1u, 3u}) {
        struct machine_storage storage = {};
        struct error error = {};
        ASSERT_EQ(STATUS_OK, machine_storage_rate(path.c_str(), depth, 64 << 10, &storage, &error))
            << error.text;
        EXPECT_GT(storage.rate, 1e5);
    }
}

TEST(machine_rates, what_cannot_be_read_is_named)
{
    scratch::Folder folder;
    std::string path = folder.path() + "/short";
    std::ofstream(path) << "short";
    struct machine_storage storage = {};
    struct error error = {};
    EXPECT_EQ(STATUS_INVALID, machine_storage_rate(path.c_str(), 1, 4096, &storage, &error));
    EXPECT_NE(nullptr, strstr(error.text, "has 5 bytes, a read has 4096")) << error.text;
    error = {};
    EXPECT_EQ(STATUS_NOT_FOUND, machine_storage_rate("/nowhere", 1, 4096, &storage, &error));
    EXPECT_NE(nullptr, strstr(error.text, "/nowhere")) << error.text;
}

} // namespace
