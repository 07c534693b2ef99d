/* Split models: the parts found, and one sentence for everything that can be wrong between them. */
#include "engine/load/gguf_split.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/engine/load/gguf_bytes.h"
#include "tests/support/scratch.h"

namespace {

using gguf_bytes::File;
using gguf_bytes::raw;

bool has(const std::string &all, const std::string &part)
{
    return all.find(part) != std::string::npos;
}

File part(uint16_t no, uint16_t count, int32_t tensors, const std::vector<std::string> &names)
{
    File f;
    f.key("split.no", 2, raw(no)).key("split.count", 2, raw(count));
    f.key("split.tensors.count", 5, raw(tensors));
    for (const std::string &name : names)
        f.zeros(name, {3});
    return f;
}

struct Opened {
    struct gguf_split *split = nullptr;
    struct error error = {};
    enum status status;

    explicit Opened(const std::string &path)
    {
        status = gguf_split_open(&split, path.c_str(), &error);
    }
    ~Opened() { gguf_split_close(split); }
};

class GgufSplit : public testing::Test
{
  protected:
    void SetUp() override
    {
        for (uint16_t i = 0; i < 3; i++)
            write(i, part(i, 3, 4, i == 0 ? std::vector<std::string>{"a", "b"}
                                          : std::vector<std::string>{i == 1 ? "c" : "d"}));
    }
    static std::string name(int no, int count = 3)
    {
        char out[40];
        snprintf(out, sizeof out, "m-%05d-of-%05d.gguf", no + 1, count);
        return out;
    }
    void write(int no, const File &file) { folder_.write(name(no), file.bytes()); }
    void expect_bad(const std::string &file, enum status status,
                    const std::vector<std::string> &parts)
    {
        Opened o(folder_.path(file));
        EXPECT_EQ(o.status, status) << o.error.text;
        EXPECT_EQ(o.split, nullptr);
        for (const std::string &p : parts)
            EXPECT_TRUE(has(o.error.text, p)) << p << " not in: " << o.error.text;
    }
    scratch::Folder folder_;
};

TEST_F(GgufSplit, OpensAllParts)
{
    Opened o(folder_.path(name(0)));
    ASSERT_EQ(o.status, STATUS_OK) << o.error.text;
    ASSERT_EQ(o.split->count, 3u);
    EXPECT_EQ(o.split->parts[2].path, folder_.path(name(2)));
    EXPECT_STREQ(o.split->parts[1].gguf->tensors[0].tensor.name, "c");
}

TEST_F(GgufSplit, OpensAFileThatIsNotSplit)
{
    folder_.write("one.gguf", File().zeros("a", {3}).bytes());
    folder_.write("said.gguf", part(0, 1, 1, {"a"}).bytes());
    for (const char *file : {"one.gguf", "said.gguf"}) {
        Opened o(folder_.path(file));
        ASSERT_EQ(o.status, STATUS_OK) << o.error.text;
        EXPECT_EQ(o.split->count, 1u);
    }
    expect_bad("absent.gguf", STATUS_NOT_FOUND, {"absent.gguf"});
}

TEST_F(GgufSplit, NamesTheFirstPart)
{
    expect_bad(name(1), STATUS_INVALID, {name(1) + ": is part 2 of 3", "open the first", name(0)});
    expect_bad(name(2), STATUS_INVALID, {"is part 3 of 3", name(0)});
}

TEST_F(GgufSplit, AMissingPart)
{
    folder_.remove(name(1));
    expect_bad(name(0), STATUS_INVALID, {name(0), "part 2 of 3 is missing", name(1)});
}

TEST_F(GgufSplit, PartsThatAreOthers)
{
    write(1, part(2, 3, 4, {"c"})); /* a copy of the third */
    expect_bad(name(0), STATUS_INVALID, {name(1), "should be part 2 of 3", "say 3 of 3"});
    write(1, part(1, 4, 4, {"c"}));
    expect_bad(name(0), STATUS_INVALID, {name(1), "say 2 of 4"});
    write(1, File().zeros("c", {3}));
    expect_bad(name(0), STATUS_INVALID, {name(1), "\"split.no\" is missing"});
    write(1, part(1, 3, 4, {"c", "e"}));
    expect_bad(name(0), STATUS_INVALID, {"\"split.tensors.count\" is 4", "hold 5"});
}

/* A part that is a link to the first: what it says of itself ends it. */
TEST_F(GgufSplit, PartsThatLeadInACircle)
{
    folder_.remove(name(2));
    std::filesystem::create_symlink(name(0), folder_.path(name(2)));
    expect_bad(name(0), STATUS_INVALID, {name(2), "should be part 3 of 3", "say 1 of 3"});
    folder_.remove(name(2));
    std::filesystem::create_symlink(name(2), folder_.path(name(2)));
    expect_bad(name(0), STATUS_IO, {name(2), "cannot be opened"});
}

TEST_F(GgufSplit, NamesThatDisagree)
{
    folder_.write("plain.gguf", part(0, 3, 4, {"a"}).bytes());
    expect_bad("plain.gguf", STATUS_INVALID, {"part 1 of 3", "not named like one"});
    folder_.write(name(0, 5), part(0, 3, 4, {"a"}).bytes());
    expect_bad(name(0, 5), STATUS_INVALID, {"is named part 1 of 5", "say 1 of 3"});
    write(0, part(7, 3, 4, {"a"}));
    expect_bad(name(0), STATUS_INVALID, {"\"split.no\" is 7"});
    write(0, part(0, 60000, 4, {"a"}));
    expect_bad(name(0), STATUS_INVALID, {"\"split.count\" is 60000"});
}

TEST_F(GgufSplit, ABrokenPart)
{
    folder_.truncate(name(2), 50);
    expect_bad(name(0), STATUS_INVALID, {name(2)});
}

TEST(GgufSplitName, TakesNamesApart)
{
    uint32_t no, count;
    size_t prefix;
    ASSERT_TRUE(gguf_split_name("/x/m-00002-of-00010.gguf", &no, &count, &prefix));
    EXPECT_EQ(no, 1u);
    EXPECT_EQ(count, 10u);
    EXPECT_EQ(prefix, strlen("/x/m"));
    for (const char *bad : {"m.gguf", "-00001-of-00002.gguf", "m-0001-of-0002.gguf",
                            "m-00000-of-00002.gguf",
                            "m-00003-of-00002.gguf", "m-00001-of-00002.bin",
                            "m-0000a-of-00002.gguf",
                            "m_00001-of-00002.gguf", ""})
        EXPECT_FALSE(gguf_split_name(bad, &no, &count, &prefix)) << bad;
}

} // namespace
