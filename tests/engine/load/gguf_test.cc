/* Headers good and bad: every kind of value, what is found where, each rule broken once, and each
 * file cut at every byte. */
#include "engine/load/gguf.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/load/gguf_tensor_type.h"
#include "tests/engine/load/gguf_bytes.h"
#include "tests/support/scratch.h"

namespace {

using gguf_bytes::File;
using gguf_bytes::raw;
using gguf_bytes::text;

bool has(const std::string &all, const std::string &part)
{
    return all.find(part) != std::string::npos;
}

/* Parses a copy of exactly the right size, so that the sanitizer sees an overread. */
struct Parsed {
    std::vector<char> bytes;
    struct gguf *gguf = nullptr;
    struct error error = {};
    enum status status;

    explicit Parsed(const std::string &file, uint64_t file_bytes = 0)
        : bytes(file.begin(), file.end())
    {
        status = gguf_parse(&gguf, "m.gguf", bytes.data(), bytes.size(),
                            file_bytes ? file_bytes : bytes.size(), &error);
    }
    ~Parsed() { gguf_close(gguf); }
};

File example()
{
    File file;
    file.string("general.architecture", "olmoe").u32("general.alignment", 64);
    file.alignment = 64;
    file.key("a.u8", 0, raw<uint8_t>(200)).key("a.i8", 1, raw<int8_t>(-3));
    file.key("a.u16", 2, raw<uint16_t>(60000)).key("a.i16", 3, raw<int16_t>(-30000));
    file.key("a.i32", 5, raw<int32_t>(-7)).f32("a.f32", 0.5f).boolean("a.bool", true);
    file.key("a.u64", 10, raw<uint64_t>(1ull << 40)).key("a.i64", 11, raw<int64_t>(-(1ll << 40)));
    file.key("a.f64", 12, raw<double>(0.1)).strings("a.texts", {"x", "", std::string("\0y", 2)});
    file.u32s("a.numbers", {1, 2, 3}).array("a.none", 5, 0, "");
    file.tensor("norm", {3}, 0, std::string(12, 'n'));
    file.tensor("w", {2, 64}, 2, std::string(72, 'q'));
    file.tensor("old", {4, 256}, 17, std::string(4 * 74, 'i'));
    file.tensor("odd", {5}, 144, "");
    return file;
}

TEST(Gguf, ReadsEveryKindOfValue)
{
    Parsed p(example().bytes());
    ASSERT_EQ(p.status, STATUS_OK) << p.error.text;
    EXPECT_EQ(p.gguf->version, 3u);
    EXPECT_EQ(p.gguf->alignment, 64u);
    EXPECT_EQ(p.gguf->value_count, 15u);
    auto number = [&](const char *key) { return gguf_find(p.gguf, key)->numbers; };
    EXPECT_EQ(*static_cast<const uint8_t *>(number("a.u8")), 200);
    EXPECT_EQ(*static_cast<const int8_t *>(number("a.i8")), -3);
    EXPECT_EQ(*static_cast<const uint16_t *>(number("a.u16")), 60000);
    EXPECT_EQ(*static_cast<const int16_t *>(number("a.i16")), -30000);
    EXPECT_EQ(*static_cast<const int32_t *>(number("a.i32")), -7);
    EXPECT_EQ(*static_cast<const float *>(number("a.f32")), 0.5f);
    EXPECT_EQ(*static_cast<const uint8_t *>(number("a.bool")), 1);
    EXPECT_EQ(*static_cast<const uint64_t *>(number("a.u64")), 1ull << 40);
    EXPECT_EQ(*static_cast<const int64_t *>(number("a.i64")), -(1ll << 40));
    EXPECT_EQ(*static_cast<const double *>(number("a.f64")), 0.1);
    const struct gguf_value *texts = gguf_find(p.gguf, "a.texts");
    ASSERT_NE(texts, nullptr);
    EXPECT_TRUE(texts->is_array);
    EXPECT_EQ(texts->type, GGUF_STRING);
    ASSERT_EQ(texts->count, 3u);
    EXPECT_EQ(std::string(texts->strings[0].text, texts->strings[0].bytes), "x");
    EXPECT_EQ(texts->strings[1].bytes, 0u);
    EXPECT_EQ(std::string(texts->strings[2].text, texts->strings[2].bytes), std::string("\0y", 2));
    EXPECT_GE(texts->strings[0].text, p.bytes.data()); /* not copied */
    const struct gguf_value *numbers = gguf_find(p.gguf, "a.numbers");
    EXPECT_EQ(static_cast<const uint32_t *>(numbers->numbers)[2], 3u);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(numbers->numbers) % 4, 0u);
    EXPECT_EQ(gguf_find(p.gguf, "a.none")->count, 0u);
    EXPECT_EQ(gguf_find(p.gguf, "a.u"), nullptr);
    EXPECT_EQ(gguf_find(p.gguf, ""), nullptr);
}

TEST(Gguf, PlacesTensors)
{
    File file = example();
    Parsed p(file.bytes());
    ASSERT_EQ(p.status, STATUS_OK) << p.error.text;
    EXPECT_EQ(p.gguf->data_offset, (file.header().size() + 63) / 64 * 64);
    ASSERT_EQ(p.gguf->tensor_count, 4u);
    const struct gguf_tensor *t = p.gguf->tensors;
    EXPECT_STREQ(t[0].tensor.name, "norm");
    EXPECT_EQ(t[0].tensor.bytes, 12u);
    EXPECT_STREQ(t[1].tensor.name, "w");
    EXPECT_EQ(t[1].tensor.dtype, DTYPE_Q4_0);
    EXPECT_EQ(t[1].tensor.dims, 2u);
    EXPECT_EQ(t[1].tensor.dim[0], 2u);
    EXPECT_EQ(t[1].tensor.dim[1], 64u);
    EXPECT_EQ(t[1].tensor.offset, p.gguf->data_offset + 64);
    EXPECT_EQ(std::string(p.bytes.data() + t[1].tensor.offset, 72), std::string(72, 'q'));
    EXPECT_STREQ(t[2].foreign, "IQ2_XS");
    EXPECT_EQ(t[2].tensor.dtype, DTYPE_COUNT);
    EXPECT_EQ(t[2].tensor.bytes, 4 * 74u);
    EXPECT_STREQ(t[3].foreign, "id 144");
    EXPECT_EQ(t[3].tensor.bytes, 0u);
}

TEST(Gguf, EveryDtypeHasItsSize)
{
    for (int i = 0; i < DTYPE_COUNT; i++) {
        enum dtype dtype = static_cast<enum dtype>(i);
        const struct gguf_tensor_type *type = gguf_tensor_type_of(dtype);
        uint64_t bytes;
        ASSERT_TRUE(dtype_bytes(dtype, 512, &bytes));
        Parsed p(File().tensor("t", {2, 256}, type->id, std::string(bytes, 'x')).bytes());
        ASSERT_EQ(p.status, STATUS_OK) << p.error.text;
        EXPECT_EQ(p.gguf->tensors[0].tensor.dtype, dtype);
        EXPECT_EQ(p.gguf->tensors[0].tensor.bytes, bytes);
    }
}

TEST(Gguf, CutAnywhereIsOneSentence)
{
    std::string good = example().bytes();
    for (size_t n = 0; n < good.size(); n++) {
        Parsed p(good.substr(0, n));
        ASSERT_EQ(p.status, STATUS_INVALID) << n;
        ASSERT_EQ(p.gguf, nullptr);
        ASSERT_EQ(std::string(p.error.text).rfind("m.gguf: ", 0), 0u) << p.error.text;
    }
    EXPECT_EQ(Parsed(good).status, STATUS_OK);
}

struct Bad {
    const char *what;
    File file;
    enum status status;
    std::vector<std::string> parts;
};

void expect_bad(const std::vector<Bad> &cases)
{
    for (const Bad &t : cases) {
        Parsed p(t.file.bytes());
        EXPECT_EQ(p.status, t.status) << t.what << ": " << p.error.text;
        EXPECT_EQ(p.gguf, nullptr);
        for (const std::string &part : t.parts)
            EXPECT_TRUE(has(p.error.text, part)) << t.what << ": " << p.error.text;
    }
}

TEST(Gguf, RefusesWhatTheFormatForbids)
{
    File big, old, later, huge_keys, huge_tensors, no_magic;
    big.version = __builtin_bswap32(3);
    old.version = 1;
    later.version = 4;
    no_magic.magic = "GGML";
    huge_keys.claim_keys = UINT64_MAX / 2;
    huge_tensors.claim_tensors = UINT64_MAX;
    expect_bad({
        {"magic", no_magic, STATUS_INVALID, {"no GGUF file"}},
        {"big-endian", big, STATUS_UNSUPPORTED, {"big-endian", "version 3"}},
        {"v1", old, STATUS_UNSUPPORTED, {"version 1"}},
        {"v4", later, STATUS_UNSUPPORTED, {"version 4"}},
        {"keys", huge_keys, STATUS_INVALID, {"no room"}},
        {"tensors", huge_tensors, STATUS_INVALID, {"no room"}},
        {"empty key", File().u32("", 1), STATUS_INVALID, {"key 0", "0 bytes"}},
        {"control", File().u32("a\nb", 1), STATUS_INVALID, {"key 0", "0x0a"}},
        {"not ascii", File().u32("a\xc3\xa4", 1), STATUS_INVALID, {"0xc3"}},
        {"long key", File().u32(std::string(65536, 'k'), 1), STATUS_INVALID, {"65536 bytes"}},
        {"twice", File().u32("a", 1).u32("b", 1).u32("a", 2), STATUS_INVALID, {"\"a\"", "twice"}},
        {"type", File().key("a", 13, ""), STATUS_INVALID, {"\"a\"", "type 13"}},
        {"bool", File().key("a", 7, raw<uint8_t>(2)), STATUS_INVALID, {"\"a\"", "value 2"}},
        {"nested", File().array("a", 9, 1, raw<uint32_t>(4) + raw<uint64_t>(0)), STATUS_UNSUPPORTED,
         {"\"a\"", "arrays"}},
        {"array type", File().array("a", 77, 0, ""), STATUS_INVALID, {"type 77"}},
        {"array count", File().array("a", 4, 1ull << 40, ""), STATUS_INVALID, {"\"a\"", "beyond"}},
        {"array overflow", File().array("a", 10, 1ull << 62, ""), STATUS_INVALID, {"overflow"}},
        {"strings", File().array("a", 8, UINT64_MAX, text("x")), STATUS_INVALID,
         {"\"a\"", "beyond"}},
        {"string", File().key("a", 8, raw<uint64_t>(UINT64_MAX)), STATUS_INVALID,
         {"\"a\"", "beyond"}},
    });
}

TEST(Gguf, RefusesAlignmentsThatAreNone)
{
    expect_bad({
        {"0", File().u32("general.alignment", 0), STATUS_INVALID, {"is 0", "power of two"}},
        {"48", File().u32("general.alignment", 48), STATUS_INVALID, {"is 48", "power of two"}},
        {"text", File().string("general.alignment", "32"), STATUS_INVALID, {"unsigned integer"}},
        {"list", File().u32s("general.alignment", {32}), STATUS_INVALID, {"unsigned integer"}},
        {"2^31", File().u32("general.alignment", 1u << 31).zeros("t", {1}), STATUS_INVALID,
         {"truncated"}},
    });
}

TEST(Gguf, RefusesTensorsThatAreWrong)
{
    const std::string row(18, 'x');
    expect_bad({
        {"name", File().zeros("", {1}), STATUS_INVALID, {"tensor 0", "0 bytes"}},
        {"long name", File().zeros(std::string(256, 't'), {1}), STATUS_INVALID, {"256 bytes"}},
        {"control", File().zeros("a\x7f", {1}), STATUS_INVALID, {"tensor 0", "0x7f"}},
        {"twice", File().zeros("a", {1}).zeros("b", {1}).zeros("a", {1}), STATUS_INVALID,
         {"\"a\"", "twice"}},
        {"no dims", File().tensor("a", {}, 0, ""), STATUS_INVALID, {"\"a\"", "0 dimensions"}},
        {"5 dims", File().zeros("a", {1, 1, 1, 1, 1}), STATUS_INVALID, {"\"a\"", "5 dimensions"}},
        {"dim 0", File().tensor("a", {2, 0}, 0, ""), STATUS_INVALID, {"\"a\"", "dimension 0 is 0"}},
        {"product", File().tensor("a", {1ull << 33, 1ull << 33}, 0, ""), STATUS_INVALID,
         {"\"a\"", "overflows"}},
        {"bytes", File().tensor("a", {1ull << 62}, 0, ""), STATUS_INVALID, {"\"a\"", "overflows"}},
        {"block", File().tensor("a", {2, 16}, 2, row), STATUS_INVALID, {"\"a\"", "16", "32"}},
        {"unaligned", File().tensor("a", {32}, 2, row, 16), STATUS_INVALID, {"\"a\"", "offset 16"}},
        {"far", File().tensor("a", {32}, 2, row, 1ll << 40), STATUS_INVALID,
         {"\"a\"", "truncated"}},
        {"wraps", File().tensor("a", {32}, 2, row, INT64_MAX - 31), STATUS_INVALID, {"\"a\""}},
        {"overlap", File().tensor("a", {64}, 2, row + row, 0).tensor("b", {32}, 2, row, 32),
         STATUS_INVALID, {"\"a\"", "\"b\"", "overlap"}},
        {"unknown inside", File().tensor("a", {64}, 2, row + row, 0).tensor("b", {32}, 144, "", 32),
         STATUS_INVALID, {"\"a\"", "\"b\"", "overlap"}},
    });
}

TEST(Gguf, AcceptsTensorsInAnyOrderWithHoles)
{
    File file;
    file.tensor("b", {8}, 0, std::string(32, 'b'), 128).tensor("a", {8}, 0, "", 32);
    Parsed p(file.header() + std::string(300, '\0'));
    ASSERT_EQ(p.status, STATUS_OK) << p.error.text;
    EXPECT_STREQ(p.gguf->tensors[0].tensor.name, "a");
    EXPECT_STREQ(p.gguf->tensors[1].tensor.name, "b");
}

TEST(Gguf, ReadsVersion2AndAFileWithoutTensors)
{
    File file;
    file.version = 2;
    file.u32("split.no", 0);
    Parsed p(file.bytes());
    ASSERT_EQ(p.status, STATUS_OK) << p.error.text;
    EXPECT_EQ(p.gguf->tensor_count, 0u);
    EXPECT_EQ(Parsed(File().bytes()).status, STATUS_OK);
}

TEST(Gguf, ReadsAHeaderLargerThanItsFirstLook)
{
    scratch::Folder folder;
    File file;
    file.string("long", std::string(5 << 20, 'l'));
    std::vector<std::string> tokens(400000, "some token");
    file.strings("tokens", tokens).u32("last", 7).zeros("t", {4});
    std::string path = folder.write("m.gguf", file.bytes());
    struct model_file open;
    struct error error = {};
    struct gguf *gguf;
    ASSERT_EQ(model_file_open(&open, path.c_str(), &error), STATUS_OK) << error.text;
    ASSERT_EQ(gguf_read(&gguf, path.c_str(), &open, &error), STATUS_OK) << error.text;
    EXPECT_EQ(gguf_find(gguf, "tokens")->count, tokens.size());
    EXPECT_EQ(*static_cast<const uint32_t *>(gguf_find(gguf, "last")->numbers), 7u);
    EXPECT_STREQ(gguf->tensors[0].tensor.name, "t");
    gguf_close(gguf);
    model_file_close(&open);
}

/* A sparse file larger than the limit whose header claims to fill it. */
TEST(Gguf, RefusesAHeaderThatNeverEnds)
{
    scratch::Folder folder;
    File file;
    file.key("a", 8, raw<uint64_t>(GGUF_HEADER_BYTES_MAX + 1000));
    std::string path = folder.write("m.gguf", file.bytes());
    folder.truncate("m.gguf", GGUF_HEADER_BYTES_MAX + 2000);
    struct model_file open;
    struct error error = {};
    struct gguf *gguf;
    ASSERT_EQ(model_file_open(&open, path.c_str(), &error), STATUS_OK) << error.text;
    EXPECT_EQ(gguf_read(&gguf, path.c_str(), &open, &error), STATUS_UNSUPPORTED);
    EXPECT_TRUE(has(error.text, "256 MiB") && has(error.text, path)) << error.text;
    model_file_close(&open);
}

TEST(Gguf, ReadNamesTheFileThatIsCutShort)
{
    scratch::Folder folder;
    std::string good = example().bytes();
    for (size_t n : {size_t{0}, size_t{3}, size_t{20}, size_t{100}, size_t{500}}) {
        std::string path = folder.write("m.gguf", good.substr(0, n));
        struct model_file open;
        struct error error = {};
        struct gguf *gguf;
        ASSERT_EQ(model_file_open(&open, path.c_str(), &error), STATUS_OK) << error.text;
        EXPECT_EQ(gguf_read(&gguf, path.c_str(), &open, &error), STATUS_INVALID) << n;
        EXPECT_TRUE(has(error.text, path)) << error.text;
        model_file_close(&open);
    }
}

} // namespace
