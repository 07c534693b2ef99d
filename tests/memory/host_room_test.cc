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
    uint64_t room() { return host_room_available(folder_.path().c_str()); }
    scratch::Folder folder_;
};

TEST_F(HostRoom, NothingToReadMeansUnknown)
{
    EXPECT_EQ(room(), 0u);
}

TEST_F(HostRoom, WithoutGroupsItIsMemAvailable)
{
    meminfo("2048");
    EXPECT_EQ(room(), 2048u * 1024);
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
    v2("/a/b", "500000", "100000", "0");
    EXPECT_EQ(room(), 400000u);
    v2("", "350000", "0", "0");
    EXPECT_EQ(room(), 350000u);
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
    EXPECT_GT(host_room_available(""), 0u);
}

} // namespace
