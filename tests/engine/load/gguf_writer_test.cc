/* What is written can be read: every kind of value, every type, pieces in any order from several
 * threads; and no file where writing did not end well. */
#include "engine/load/gguf_writer.h"

#include <gtest/gtest.h>

#include <sys/resource.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "engine/load/gguf_value.h"
#include "tests/engine/load/gguf_bytes.h"
#include "tests/support/scratch.h"

namespace {

struct Read {
    std::string bytes;
    struct gguf *gguf = nullptr;
    struct error error = {};

    explicit Read(std::string all) : bytes(std::move(all))
    {
        EXPECT_EQ(gguf_parse(&gguf, "m.gguf", bytes.data(), bytes.size(), bytes.size(), &error),
                  STATUS_OK)
            << error.text;
    }
    ~Read() { gguf_close(gguf); }
    std::string tensor(const std::string &name) const
    {
        for (uint32_t i = 0; i < gguf->tensor_count; i++)
            if (name == gguf->tensors[i].tensor.name)
                return bytes.substr(gguf->tensors[i].tensor.offset, gguf->tensors[i].tensor.bytes);
        return "none";
    }
};

class GgufWriter : public testing::Test
{
  protected:
    void open(uint32_t alignment = 0)
    {
        ASSERT_EQ(gguf_writer_open(&w_, folder_.path("m.gguf").c_str(), alignment, &error_),
                  STATUS_OK)
            << error_.text;
    }
    void finish()
    {
        ASSERT_EQ(gguf_writer_finish(w_, &error_), STATUS_OK) << error_.text;
        gguf_writer_close(w_);
        w_ = nullptr;
    }
    void TearDown() override { gguf_writer_close(w_); }
    bool there(const char *name) { return std::filesystem::exists(folder_.path(name)); }

    scratch::Folder folder_;
    struct gguf_writer *w_ = nullptr;
    struct error error_ = {};
};

/* The same bytes as a file made by hand. */
TEST_F(GgufWriter, WritesTheBytesOfTheFormat)
{
    open();
    gguf_writer_string(w_, "general.architecture", "x");
    gguf_writer_u16(w_, "a", 7);
    gguf_writer_i32(w_, "b", -7);
    const struct gguf_string texts[] = {{"one", 3}, {"", 0}};
    gguf_writer_strings(w_, "c", texts, 2);
    const uint64_t square[] = {2, 32}, row[] = {3};
    ASSERT_EQ(gguf_writer_tensor(w_, "t", DTYPE_Q8_0, 2, square, nullptr), 0u);
    ASSERT_EQ(gguf_writer_tensor(w_, "u", DTYPE_F32, 1, row, nullptr), 1u);
    ASSERT_EQ(gguf_writer_begin(w_, &error_), STATUS_OK) << error_.text;
    std::string t(68, 't'), u(12, 'u');
    ASSERT_EQ(gguf_writer_put(w_, 1, 0, u.data(), u.size(), &error_), STATUS_OK);
    ASSERT_EQ(gguf_writer_put(w_, 0, 30, t.data(), 38, &error_), STATUS_OK);
    ASSERT_EQ(gguf_writer_put(w_, 0, 0, t.data(), 30, &error_), STATUS_OK);
    EXPECT_FALSE(there("m.gguf"));
    finish();
    gguf_bytes::File by_hand;
    by_hand.string("general.architecture", "x").key("a", 2, gguf_bytes::raw<uint16_t>(7));
    by_hand.key("b", 5, gguf_bytes::raw<int32_t>(-7)).strings("c", {"one", ""});
    by_hand.tensor("t", {2, 32}, 8, t).tensor("u", {3}, 0, u);
    std::string written = folder_.read("m.gguf"), expected = by_hand.bytes();
    EXPECT_EQ(written.substr(0, expected.size()), expected);
    EXPECT_EQ(written.size() % 32, 0u); /* padded behind the last */
    EXPECT_FALSE(there("m.gguf.part"));
}

TEST_F(GgufWriter, RoundTripsValues)
{
    open(4096);
    const float scores[] = {0.5f, -1};
    const int32_t types[] = {1, -2, 3};
    gguf_writer_u32(w_, "u32", 4000000000u);
    gguf_writer_f32(w_, "f32", 0.1f);
    gguf_writer_bool(w_, "yes", true);
    gguf_writer_f32_array(w_, "scores", scores, 2);
    gguf_writer_i32_array(w_, "types", types, 3);
    gguf_writer_strings(w_, "none", nullptr, 0);
    ASSERT_EQ(gguf_writer_begin(w_, &error_), STATUS_OK) << error_.text;
    finish();
    Read first(folder_.read("m.gguf"));
    EXPECT_EQ(first.gguf->alignment, 4096u);
    EXPECT_EQ(first.gguf->value_count, 7u);

    open(4096); /* and once more through gguf_writer_value */
    for (uint32_t i = 0; i < first.gguf->value_count; i++)
        if (std::string(first.gguf->values[i].key.text, first.gguf->values[i].key.bytes) !=
            "general.alignment")
            gguf_writer_value(w_, &first.gguf->values[i]);
    ASSERT_EQ(gguf_writer_begin(w_, &error_), STATUS_OK) << error_.text;
    finish();
    Read again(folder_.read("m.gguf"));
    for (const struct gguf *g : {first.gguf, again.gguf}) {
        uint32_t n;
        double d;
        bool yes;
        const float *s;
        const int32_t *t;
        const struct gguf_string *none;
        uint64_t count;
        ASSERT_EQ(gguf_value_u32(g, "u32", true, 0, UINT32_MAX, &n, &error_), STATUS_OK);
        EXPECT_EQ(n, 4000000000u);
        ASSERT_EQ(gguf_value_f64(g, "f32", true, 0, 1, &d, &error_), STATUS_OK);
        EXPECT_EQ(static_cast<float>(d), 0.1f);
        ASSERT_EQ(gguf_value_bool(g, "yes", true, &yes, &error_), STATUS_OK);
        EXPECT_TRUE(yes);
        ASSERT_EQ(gguf_value_f32_array(g, "scores", true, &s, &count, &error_), STATUS_OK);
        EXPECT_EQ(std::vector<float>(s, s + count), (std::vector<float>{0.5f, -1}));
        ASSERT_EQ(gguf_value_i32_array(g, "types", true, &t, &count, &error_), STATUS_OK);
        EXPECT_EQ(std::vector<int32_t>(t, t + count), (std::vector<int32_t>{1, -2, 3}));
        ASSERT_EQ(gguf_value_strings(g, "none", true, &none, &count, &error_), STATUS_OK);
        EXPECT_EQ(count, 0u);
    }
}

TEST_F(GgufWriter, FillsAnArrayLater)
{
    open();
    gguf_writer_u16(w_, "odd", 1);
    gguf_writer_u32_array_later(w_, "sums", 3);
    gguf_writer_string(w_, "behind", "it");
    ASSERT_EQ(gguf_writer_begin(w_, &error_), STATUS_OK) << error_.text;
    const uint32_t sums[] = {1, 0x80000000u, 3};
    ASSERT_EQ(gguf_writer_fill(w_, sums, &error_), STATUS_OK) << error_.text;
    finish();
    gguf_bytes::File by_hand;
    by_hand.key("odd", 2, gguf_bytes::raw<uint16_t>(1)).u32s("sums", {1, 0x80000000u, 3});
    by_hand.string("behind", "it");
    std::string expected = by_hand.bytes();
    EXPECT_EQ(folder_.read("m.gguf").substr(0, expected.size()), expected);
}

TEST_F(GgufWriter, WritesEveryTypeFromSeveralThreads)
{
    open(64);
    std::vector<std::string> data;
    const uint64_t dim[] = {3, 5, 256};
    for (int i = 0; i < DTYPE_COUNT; i++) {
        uint64_t bytes;
        std::string name = "t" + std::to_string(i);
        ASSERT_EQ(gguf_writer_tensor(w_, name.c_str(), static_cast<enum dtype>(i), 3, dim, &bytes),
                  static_cast<uint32_t>(i));
        std::vector<uint8_t> noise = scratch::noise(static_cast<uint64_t>(i), bytes);
        data.emplace_back(noise.begin(), noise.end());
    }
    ASSERT_EQ(gguf_writer_begin(w_, &error_), STATUS_OK) << error_.text;
    std::vector<std::thread> threads;
    for (size_t k = 0; k < 4; k++)
        threads.emplace_back([&, k] {
            for (size_t i = 0; i < data.size(); i++)
                for (size_t at = 100 * k; at < data[i].size(); at += 400) {
                    size_t n = data[i].size() - at < 100 ? data[i].size() - at : 100;
                    EXPECT_EQ(gguf_writer_put(w_, static_cast<uint32_t>(i), at, &data[i][at], n,
                                              nullptr),
                              STATUS_OK);
                }
        });
    for (std::thread &t : threads)
        t.join();
    finish();
    Read r(folder_.read("m.gguf"));
    for (size_t i = 0; i < data.size(); i++)
        EXPECT_EQ(r.tensor("t" + std::to_string(i)), data[i]) << i;
    EXPECT_EQ(r.gguf->tensors[1].tensor.dim[0], 3u);
    EXPECT_EQ(r.gguf->tensors[1].tensor.dim[2], 256u);
}

TEST_F(GgufWriter, LeavesNothingBehindThatIsNotWhole)
{
    folder_.write("m.gguf", "the old one");
    const uint64_t dim[] = {4};
    open();
    gguf_writer_tensor(w_, "t", DTYPE_F32, 1, dim, nullptr);
    ASSERT_EQ(gguf_writer_begin(w_, &error_), STATUS_OK) << error_.text;
    EXPECT_TRUE(there("m.gguf.part"));
    gguf_writer_close(w_);
    w_ = nullptr;
    EXPECT_FALSE(there("m.gguf.part"));
    EXPECT_EQ(folder_.read("m.gguf"), "the old one");
}

TEST_F(GgufWriter, TellsWhereItCannotWrite)
{
    std::string path = folder_.path("no/m.gguf");
    EXPECT_EQ(gguf_writer_open(&w_, path.c_str(), 0, &error_), STATUS_IO);
    EXPECT_NE(std::string(error_.text).find(path), std::string::npos) << error_.text;
    EXPECT_EQ(w_, nullptr);
}

/* A limit on the size of files stands for a full disk. */
TEST_F(GgufWriter, TellsAboutNoRoomAtTheBeginning)
{
    struct rlimit old, small;
    auto handler = signal(SIGXFSZ, SIG_IGN);
    ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 1 << 20;
    const uint64_t dim[] = {1 << 20};
    open();
    gguf_writer_tensor(w_, "t", DTYPE_F32, 1, dim, nullptr);
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
    enum status status = gguf_writer_begin(w_, &error_);
    setrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, handler);
    EXPECT_EQ(status, STATUS_IO);
    EXPECT_NE(std::string(error_.text).find("no room for"), std::string::npos) << error_.text;
}

TEST_F(GgufWriter, ATensorLeftOutIsTheCallersBug)
{
    testing::FLAGS_gtest_death_test_style = "threadsafe";
    const uint64_t dim[] = {4};
    open();
    gguf_writer_tensor(w_, "t", DTYPE_F32, 1, dim, nullptr);
    ASSERT_EQ(gguf_writer_begin(w_, &error_), STATUS_OK) << error_.text;
    EXPECT_DEATH(gguf_writer_finish(w_, &error_), "16 bytes of tensors were not written");
}

} // namespace
