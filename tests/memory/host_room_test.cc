#include "memory/host_room.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/support/scratch.h"

namespace {

class HostRoom : public testing::Test {
protected:
    void meminfo(const std::string &kib)
    {
        folder_.write("proc/meminfo",
                      "MemTotal:       99999999 kB\nMemFree:  1 kB\nMemAvailable:   " + kib +
                          " kB\nBuffers: 7 kB\n");
    }
    void groups(const std::string &text) { folder_.write("proc/self/cgroup", text); }
    void v2(const std::string &group, const std::string &max, const std::string &current,
            const std::string &inactive)
    {
        std::string at = "sys/fs/cgroup" + group;
        folder_.write(at + "/memory.max", max + "\n");
        folder_.write(at + "/memory.current", current + "\n");
        folder_.write(at + "/memory.stat", "anon 5\ninactive_file " + inactive + "\nfile 3\n");
    }
    void v1(const std::string &group, const std::string &limit, const std::string &usage)
    {
        std::string at = "sys/fs/cgroup/memory" + group;
        folder_.write(at + "/memory.limit_in_bytes", limit + "\n");
        folder_.write(at + "/memory.usage_in_bytes", usage + "\n");
    }
    uint64_t room()
    {
        struct host_room room;
        host_room_look(folder_.path().c_str(), &room);
        why_ = room.why;
        return room.bytes;
    }
    std::string why_;
    scratch::Folder folder_;
};

TEST_F(HostRoom, NothingToReadMeansUnknown)
{
    EXPECT_EQ(room(), 0u);
    EXPECT_EQ(why_, "");
}

TEST_F(HostRoom, WithoutGroupsItIsMemAvailable)
{
    meminfo("2048");
    EXPECT_EQ(room(), 2048u * 1024);
    EXPECT_EQ(why_, "the host has 2.0 MiB available");
    groups("0::/\n");
    EXPECT_EQ(room(), 2048u * 1024);
}

TEST_F(HostRoom, Version2TakesTheTightestAncestor)
{
    meminfo("1000000");
    groups("0::/a/b\n");
    v2("/a/b", "max", "500", "0");
    EXPECT_EQ(room(), 1000000u * 1024);
    v2("/a", "900000", "300000", "100000");
    EXPECT_EQ(room(), 700000u);
    EXPECT_EQ(why_, "limited by cgroup /a: memory.max 878.9 KiB, 195.3 KiB of it in use");
    v2("/a/b", "500000", "100000", "0");
    EXPECT_EQ(room(), 400000u);
    v2("", "350000", "0", "0");
    EXPECT_EQ(room(), 350000u);
    EXPECT_EQ(why_, "limited by cgroup /: memory.max 341.8 KiB, 0 B of it in use");
    meminfo("100");
    EXPECT_EQ(room(), 102400u);
}

TEST_F(HostRoom, AContainerThatDoesNotSeeItsOwnPath)
{
    meminfo("1000000");
    groups("0::/../../host/only/path\n");
    v2("", "123456", "456", "0");
    EXPECT_EQ(room(), 123000u);
}

TEST_F(HostRoom, Version1)
{
    meminfo("1000000");
    groups("7:cpu,cpuacct:/x\n4:hugetlb,memory:/x\n1:name=systemd:/\n");
    v1("", "9223372036854771712", "1000");
    EXPECT_EQ(room(), 1000000u * 1024);
    v1("/x", "600000", "250000");
    EXPECT_EQ(room(), 350000u);
    folder_.write("sys/fs/cgroup/memory/x/memory.stat",
                  "inactive_file 1\ntotal_inactive_file 50000\n");
    EXPECT_EQ(room(), 400000u);
}

/* What the kernel slows a group down at counts as much as what it kills at. */
TEST_F(HostRoom, MemoryHighBindsToo)
{
    meminfo("1000000");
    groups("0::/a\n");
    v2("/a", "900000", "300000", "0");
    folder_.write("sys/fs/cgroup/a/memory.high", "max\n");
    EXPECT_EQ(room(), 600000u);
    folder_.write("sys/fs/cgroup/a/memory.high", "400000\n");
    EXPECT_EQ(room(), 100000u);
    EXPECT_NE(why_.find("memory.high"), std::string::npos) << why_;
    folder_.write("sys/fs/cgroup/a/memory.high", "0\n");
    EXPECT_EQ(room(), 1u);
}

/* The kernel drops page cache before it swaps or kills, tmpfs not. */
TEST_F(HostRoom, PageCacheIsRoomActiveOrNot)
{
    groups("0::/a\n");
    v2("/a", "1000000", "800000", "0");
    EXPECT_EQ(room(), 200000u);
    folder_.write("sys/fs/cgroup/a/memory.stat",
                  "anon 100000\nfile 650000\nshmem 50000\ninactive_anon 100000\nactive_anon "
                  "50000\ninactive_file 400000\nactive_file 200000\nunevictable 0\n");
    EXPECT_EQ(room(), 800000u);
    folder_.write("sys/fs/cgroup/a/memory.stat", "inactive_file 700000\nactive_file 200000\n");
    EXPECT_EQ(room(), 1000000u) << "more than is in use: the figures are not of one moment";
}

/* In a container the limit may be an ancestor's that is not mounted. */
TEST_F(HostRoom, Version1TellsLimitsAbove)
{
    meminfo("1000000");
    groups("4:memory:/x\n");
    v1("/x", "9223372036854771712", "250000");
    folder_.write("sys/fs/cgroup/memory/x/memory.stat",
                  "hierarchical_memory_limit 9223372036854771712\n");
    EXPECT_EQ(room(), 1000000u * 1024);
    folder_.write("sys/fs/cgroup/memory/x/memory.stat",
                  "hierarchical_memory_limit 750000\ntotal_active_file 50000\n");
    EXPECT_EQ(room(), 550000u);
    EXPECT_NE(why_.find("hierarchical_memory_limit"), std::string::npos) << why_;
    v1("/x", "750000", "250000");
    EXPECT_EQ(room(), 550000u);
    EXPECT_NE(why_.find("memory.limit_in_bytes"), std::string::npos) << why_;
}

TEST_F(HostRoom, LongPathsAreToldByTheirEnds)
{
    std::string group = "/" + std::string(150, 'p') + "/" + std::string(60, 'q');
    groups("0::" + group + "\n");
    v2(group, "1000000", "0", "0");
    EXPECT_EQ(room(), 1000000u);
    EXPECT_EQ(why_.find("limited by cgroup ...p"), 0u) << why_;
    EXPECT_NE(why_.find("q: memory.max 976.6 KiB, 0 B of it in use"), std::string::npos) << why_;
}

TEST_F(HostRoom, AFullGroupIsNotUnknown)
{
    groups("0::/a\n");
    v2("/a", "1000", "1000", "0");
    EXPECT_EQ(room(), 1u);
}

TEST_F(HostRoom, StrangeFilesAreSkipped)
{
    meminfo("2048");
    groups("nonsense\n\n::\n0:\n0::" + std::string(6000, 'x') + "\n4:memory\n");
    EXPECT_EQ(room(), 2048u * 1024);
    folder_.write("proc/meminfo", "MemAvailable: lots\n");
    EXPECT_EQ(room(), 0u);
}

TEST(HostRoomHere, ThisMachineHasSome)
{
    struct host_room room;
    host_room_look("", &room);
    EXPECT_GT(room.bytes, 0u);
    EXPECT_NE(room.why[0], 0);
}

} // namespace
