/* One good header, then every way to break it. The parser is a pure function, so most of this needs
 * no file. */
#include "engine/load/safetensors.h"

#include <gtest/gtest.h>

#include "tests/support/safetensors_writer.h"

namespace {

using test_support::bytes_of;
using test_support::safetensors_file;
using test_support::ScratchFolder;

constexpr char kFile[] = "part.safetensors";

struct Parsed {
    enum status status;
    struct error error = {};
    struct safetensors *safetensors = nullptr;

    explicit Parsed(const std::string &bytes) : Parsed(bytes, bytes.size()) {}
    Parsed(const std::string &bytes, uint64_t file_bytes)
    {
        /* An exact copy on the heap, so that a sanitizer sees the first byte read too many. */
        std::vector<char> exact(bytes.begin(), bytes.end());
        status = safetensors_parse(&safetensors, kFile, exact.data(), exact.size(), file_bytes,
                                   &error);
    }
    ~Parsed() { safetensors_close(safetensors); }
    std::string text() const { return error.text; }
};

std::string good_file()
{
    return safetensors_file(
        {{"b", "F32", {2, 3}, bytes_of(std::vector<float>{1, 2, 3, 4, 5, 6})},
         {"a.weight", "BF16", {4}, std::string(8, '\x3f')},
         {"steps", "I64", {}, std::string(8, '\0')},
         {"empty", "F16", {0, 7}, ""}});
}

TEST(Safetensors, ReadsTypesShapesAndOffsets)
{
    std::string file = good_file();
    Parsed parsed(file);
    ASSERT_EQ(parsed.status, STATUS_OK) << parsed.text();
    ASSERT_EQ(parsed.safetensors->count, 4u);
    uint64_t data = file.size() - 24 - 8 - 8;

    const struct safetensors_entry *b = &parsed.safetensors->entries[0];
    EXPECT_STREQ(b->tensor.name, "b");
    EXPECT_EQ(b->foreign, nullptr);
    EXPECT_EQ(b->tensor.dtype, DTYPE_F32);
    ASSERT_EQ(b->tensor.dims, 2u);
    EXPECT_EQ(b->tensor.dim[0], 2u);
    EXPECT_EQ(b->tensor.dim[1], 3u);
    EXPECT_EQ(b->tensor.offset, data);
    EXPECT_EQ(b->tensor.bytes, 24u);

    const struct safetensors_entry *a = &parsed.safetensors->entries[1];
    EXPECT_STREQ(a->tensor.name, "a.weight");
    EXPECT_EQ(a->tensor.dtype, DTYPE_BF16);
    EXPECT_EQ(a->tensor.offset, data + 24);

    const struct safetensors_entry *steps = &parsed.safetensors->entries[2];
    EXPECT_STREQ(steps->foreign, "I64");
    EXPECT_EQ(steps->tensor.dtype, DTYPE_COUNT);
    EXPECT_EQ(steps->tensor.dims, 0u);
    EXPECT_EQ(steps->tensor.bytes, 8u);

    const struct safetensors_entry *empty = &parsed.safetensors->entries[3];
    EXPECT_STREQ(empty->tensor.name, "empty");
    EXPECT_EQ(empty->tensor.bytes, 0u);
}

TEST(Safetensors, OrderIsThatOfTheBytesWhateverTheHeaderSays)
{
    Parsed parsed(safetensors_file(
        R"({"z":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
        R"("nothing":{"dtype":"F32","shape":[0],"data_offsets":[2,2]},)"
        R"("a":{"dtype":"F32","shape":[1],"data_offsets":[2,6]},)"
        R"("__metadata__":{"format":"pt","nul":"\u0000"}}   )",
        std::string(6, 'x')));
    ASSERT_EQ(parsed.status, STATUS_OK) << parsed.text();
    ASSERT_EQ(parsed.safetensors->count, 3u);
    EXPECT_STREQ(parsed.safetensors->entries[0].tensor.name, "z");
    EXPECT_STREQ(parsed.safetensors->entries[1].tensor.name, "nothing");
    EXPECT_STREQ(parsed.safetensors->entries[2].tensor.name, "a");
}

TEST(Safetensors, AHeaderWithoutTensorsIsValid)
{
    EXPECT_EQ(Parsed(safetensors_file("{}", "")).status, STATUS_OK);
    EXPECT_EQ(Parsed(safetensors_file(R"({"__metadata__":{}})", "")).status, STATUS_OK);
}

TEST(Safetensors, FieldsItDoesNotKnowAreIgnored)
{
    EXPECT_EQ(Parsed(safetensors_file(
                         R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2],"x":[{}]}})", "xx"))
                  .status,
              STATUS_OK);
}

TEST(Safetensors, SubByteTypesMustFillWholeBytes)
{
    EXPECT_EQ(Parsed(safetensors_file(R"({"q":{"dtype":"F4","shape":[4],"data_offsets":[0,2]}})",
                                      "xx"))
                  .status,
              STATUS_OK);
    Parsed odd(
        safetensors_file(R"({"q":{"dtype":"F4","shape":[5],"data_offsets":[0,2]}})", "xx"));
    EXPECT_EQ(odd.status, STATUS_INVALID);
    EXPECT_NE(odd.text().find("\"q\""), std::string::npos) << odd.text();
}

TEST(Safetensors, KeepsTheTrueRankOfTensorsWithMoreDimensionsThanWeRead)
{
    Parsed parsed(safetensors_file({{"conv", "F32", {1, 1, 2, 1, 1}, std::string(8, 'x')}}));
    ASSERT_EQ(parsed.status, STATUS_OK) << parsed.text();
    EXPECT_EQ(parsed.safetensors->entries[0].tensor.dims, 5u);
    EXPECT_EQ(parsed.safetensors->entries[0].tensor.dim[2], 2u);
}

TEST(Safetensors, TruncatedAnywhereIsInvalid)
{
    std::string file = good_file();
    for (size_t n = 0; n < file.size(); n++) {
        Parsed cut(file.substr(0, n));
        ASSERT_EQ(cut.status, STATUS_INVALID) << n;
        ASSERT_NE(cut.text().find(kFile), std::string::npos) << n << ": " << cut.text();
        ASSERT_EQ(cut.safetensors, nullptr);
    }
    Parsed longer(file + "x");
    EXPECT_EQ(longer.status, STATUS_INVALID);
    EXPECT_NE(longer.text().find("last 1 bytes"), std::string::npos) << longer.text();
}

TEST(Safetensors, NeedsOnlyTheHeaderOfALongerFile)
{
    std::string file = good_file();
    Parsed parsed(file.substr(0, file.size() - 40), file.size());
    EXPECT_EQ(parsed.status, STATUS_OK) << parsed.text();
    Parsed inside(file.substr(0, file.size() - 41), file.size());
    EXPECT_EQ(inside.status, STATUS_INVALID);
}

TEST(Safetensors, HeaderLengthIsBounded)
{
    for (uint64_t length : {uint64_t{0}, uint64_t{1} << 40, UINT64_MAX, UINT64_MAX - 7,
                            SAFETENSORS_HEADER_BYTES_MAX + 1, SAFETENSORS_HEADER_BYTES_MAX}) {
        std::string file = good_file();
        memcpy(file.data(), &length, sizeof length);
        Parsed parsed(file);
        EXPECT_EQ(parsed.status, STATUS_INVALID) << length;
        EXPECT_NE(parsed.text().find("header"), std::string::npos) << parsed.text();
    }
    /* The cap holds even where the file is long enough. */
    uint64_t length = SAFETENSORS_HEADER_BYTES_MAX + 1;
    std::string file(reinterpret_cast<const char *>(&length), sizeof length);
    Parsed parsed(file + "{}", uint64_t{1} << 40);
    EXPECT_EQ(parsed.status, STATUS_INVALID);
    EXPECT_NE(parsed.text().find("limit"), std::string::npos) << parsed.text();
}

struct Bad {
    const char *what;
    std::string header;
    size_t data_bytes;
    const char *tensor; /* what the error must name beside the file */
    enum status status = STATUS_INVALID;
};

std::string tensor(const std::string &name, const std::string &dtype, const std::string &shape,
                   const std::string &offsets)
{
    return "\"" + name + "\":{\"dtype\":" + dtype + ",\"shape\":" + shape +
           ",\"data_offsets\":" + offsets + "}";
}

std::vector<Bad> bad_headers()
{
    const std::string f32 = "\"F32\"";
    return {
        {"overlap", "{" + tensor("one", f32, "[2]", "[0,8]") + "," +
                        tensor("two", f32, "[2]", "[4,12]") + "}", 12, "two"},
        {"the same bytes twice", "{" + tensor("one", f32, "[2]", "[0,8]") + "," +
                                     tensor("two", f32, "[2]", "[0,8]") + "}", 8, "two"},
        {"hole between", "{" + tensor("one", f32, "[1]", "[0,4]") + "," +
                             tensor("two", f32, "[1]", "[8,12]") + "}", 12, "two"},
        {"hole at the start", "{" + tensor("one", f32, "[1]", "[4,8]") + "}", 8, "one"},
        {"bytes left over", "{" + tensor("one", f32, "[1]", "[0,4]") + "}", 5, "last 1 bytes"},
        {"beyond the end", "{" + tensor("one", f32, "[2]", "[0,8]") + "}", 7, "one"},
        {"descending", "{" + tensor("one", f32, "[2]", "[8,0]") + "}", 8, "one"},
        {"negative offset", "{" + tensor("one", f32, "[2]", "[-8,0]") + "}", 8, "one"},
        {"offset beyond 63 bits", "{" + tensor("one", f32, "[2]", "[0,9223372036854775808]") + "}",
         8, "data_offsets"},
        {"largest offset", "{" + tensor("one", f32, "[2]", "[0,9223372036854775807]") + "}", 8,
         "one"},
        {"three offsets", "{" + tensor("one", f32, "[2]", "[0,8,8]") + "}", 8, "one"},
        {"offsets no list", "{" + tensor("one", f32, "[2]", "8") + "}", 8, "one"},
        {"fractional offset", "{" + tensor("one", f32, "[2]", "[0,8.0]") + "}", 8, "one"},
        {"shape too small", "{" + tensor("one", f32, "[1]", "[0,8]") + "}", 8, "one"},
        {"shape too large", "{" + tensor("one", f32, "[3]", "[0,8]") + "}", 8, "one"},
        {"type of another width", "{" + tensor("one", "\"BF16\"", "[2]", "[0,8]") + "}", 8, "one"},
        {"negative dimension", "{" + tensor("one", f32, "[-2,-1]", "[0,8]") + "}", 8, "one"},
        {"fractional dimension", "{" + tensor("one", f32, "[2.0]", "[0,8]") + "}", 8, "one"},
        {"dimension in words", "{" + tensor("one", f32, "[\"2\"]", "[0,8]") + "}", 8, "one"},
        {"shape no list", "{" + tensor("one", f32, "2", "[0,8]") + "}", 8, "one"},
        {"product wraps to the right size",
         "{" + tensor("one", f32, "[4294967296,4294967296,2]", "[0,8]") + "}", 8, "one"},
        {"product wraps to zero",
         "{" + tensor("one", f32, "[4611686018427387904,4611686018427387904]", "[0,0]") + "}", 0,
         "one"},
        {"bits overflow", "{" + tensor("one", f32, "[2305843009213693954]", "[0,8]") + "}", 8,
         "one"},
        {"unknown type", "{" + tensor("one", "\"F33\"", "[2]", "[0,8]") + "}", 8, "F33",
         STATUS_UNSUPPORTED},
        {"lower case type", "{" + tensor("one", "\"f32\"", "[2]", "[0,8]") + "}", 8, "one",
         STATUS_UNSUPPORTED},
        {"type no string", "{" + tensor("one", "32", "[2]", "[0,8]") + "}", 8, "one"},
        {"name twice", "{" + tensor("one", f32, "[1]", "[0,4]") + "," +
                           tensor("one", f32, "[1]", "[4,8]") + "}", 8, "one"},
        {"empty name", "{" + tensor("", f32, "[2]", "[0,8]") + "}", 8, "name"},
        {"NUL in a name", "{" + tensor("o\\u0000ne", f32, "[2]", "[0,8]") + "}", 8, "NUL"},
        {"newline in a name", "{" + tensor("o\\nne", f32, "[2]", "[0,8]") + "}", 8, "name"},
        {"fields missing", R"({"one":{"dtype":"F32","shape":[2]}})", 8, "data_offsets"},
        {"field twice", R"({"one":{"dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8]}})",
         8, "shape"},
        {"tensor no object", R"({"one":[1,2]})", 0, "one"},
        {"metadata no object", R"({"__metadata__":"pt"})", 0, "__metadata__"},
        {"metadata of numbers", R"({"__metadata__":{"step":1}})", 0, "step"},
        {"not JSON", "{one:1}", 0, "line 1"},
        {"a list", "[]", 0, "{"},
        {"leading space", " {}", 0, "{"},
        {"text after the end", "{}x", 0, "line 1"},
        {"NUL after the end", std::string("{}\0", 3), 0, "line 1"},
        {"invalid UTF-8", "{\"\xff\":1}", 0, "decode byte 0xff"},
        {"deep nesting", "{\"one\":" + std::string(100000, '['), 0, "depth"},
    };
}

TEST(Safetensors, RefusesEveryBrokenHeaderAndNamesWhatIsWrong)
{
    for (const Bad &bad : bad_headers()) {
        Parsed parsed(safetensors_file(bad.header, std::string(bad.data_bytes, 'x')));
        EXPECT_EQ(parsed.status, bad.status) << bad.what << ": " << parsed.text();
        EXPECT_EQ(parsed.safetensors, nullptr) << bad.what;
        EXPECT_EQ(parsed.text().find(std::string(kFile) + ": "), 0u)
            << bad.what << ": " << parsed.text();
        EXPECT_NE(parsed.text().find(bad.tensor), std::string::npos)
            << bad.what << ": " << parsed.text();
    }
}

TEST(Safetensors, AnErrorIsOptional)
{
    struct safetensors *out;
    EXPECT_EQ(safetensors_parse(&out, kFile, "", 0, 0, nullptr), STATUS_INVALID);
    EXPECT_EQ(out, nullptr);
    safetensors_close(nullptr);
}

TEST(Safetensors, ReadTakesTheHeaderFromAFile)
{
    ScratchFolder folder;
    folder.write("good", good_file());
    std::string path = folder.file("good");
    struct model_file file;
    struct error error = {};
    ASSERT_EQ(model_file_open(&file, path.c_str(), &error), STATUS_OK) << error.text;
    struct safetensors *out;
    ASSERT_EQ(safetensors_read(&out, path.c_str(), &file, &error), STATUS_OK) << error.text;
    EXPECT_EQ(out->count, 4u);
    safetensors_close(out);

    /* The length is checked before it sizes an allocation. */
    std::string lying = good_file();
    memset(lying.data(), 0xff, 7);
    model_file_close(&file);
    folder.write("good", lying);
    ASSERT_EQ(model_file_open(&file, path.c_str(), &error), STATUS_OK) << error.text;
    EXPECT_EQ(safetensors_read(&out, path.c_str(), &file, &error), STATUS_INVALID);
    EXPECT_NE(std::string(error.text).find(path), std::string::npos) << error.text;
    model_file_close(&file);
}

} // namespace
