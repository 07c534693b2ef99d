#include "server/grpc/grpc_metadata.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace {

class Metadata : public testing::Test {
  protected:
    ~Metadata() override { grpc_metadata_reset(&list_); }

    enum status Receive(const std::string &name, const std::string &value)
    {
        return grpc_metadata_receive(&list_, name.data(), name.size(), value.data(), value.size());
    }
    /* All values of `name`. */
    std::vector<std::string> Values(const char *name)
    {
        std::vector<std::string> out;
        size_t bytes;
        for (unsigned i = 0; const char *value = grpc_metadata_find(&list_, name, i, &bytes); i++) {
            EXPECT_EQ(value[bytes], '\0');
            out.emplace_back(value, bytes);
        }
        return out;
    }
    struct grpc_metadata list_ = {};
};

TEST_F(Metadata, KeepsOrderAndRepeats)
{
    for (int i = 0; i < 100; i++)
        ASSERT_EQ(Receive(i % 2 ? "odd" : "even", std::to_string(i)), STATUS_OK);
    ASSERT_EQ(Values("odd").size(), 50u);
    EXPECT_EQ(Values("odd")[49], "99");
    EXPECT_EQ(Values("even")[1], "2");
    EXPECT_TRUE(Values("od").empty());
    size_t bytes;
    EXPECT_EQ(std::string(grpc_metadata_name(&list_, 3, &bytes)), "odd");
    EXPECT_EQ(std::string(grpc_metadata_value(&list_, 3, &bytes)), "3");
}

TEST_F(Metadata, BinaryIsDecodedAndSplit)
{
    ASSERT_EQ(Receive("k-bin", "AQID"), STATUS_OK);
    ASSERT_EQ(Receive("k-bin", "AQI=,AQ, AA== ,"), STATUS_OK);
    using std::string;
    EXPECT_EQ(Values("k-bin"), (std::vector<string>{"\1\2\3", "\1\2", "\1", string(1, '\0'), ""}));
    for (const char *bad : {"A", "A===", "AQ=", "!!!!", "AQID,A", "AQ=I", "=", "AQI\n"})
        EXPECT_EQ(Receive("k-bin", bad), STATUS_INVALID) << bad;
    EXPECT_EQ(Receive("-bin", "plain!"), STATUS_OK); /* a name of its own, not a suffix */
}

TEST_F(Metadata, SendingValidatesAndEncodes)
{
    EXPECT_EQ(grpc_metadata_send(&list_, "x-a.b_c-9", "v ~", 3), STATUS_OK);
    EXPECT_EQ(grpc_metadata_send(&list_, "b-bin", "\0\xff", 2), STATUS_OK);
    EXPECT_EQ(Values("b-bin")[0], "AP8");
    for (const char *name : {"", "X", "a b", ":path", "grpc-status", "te", "content-type",
                             "connection", "a\n", "\xc3\xa4"})
        EXPECT_EQ(grpc_metadata_send(&list_, name, "v", 1), STATUS_INVALID) << name;
    for (const char *value : {"\n", "a\x7f", "\xc3\xa4", " a", "a "})
        EXPECT_EQ(grpc_metadata_send(&list_, "k", value, strlen(value)), STATUS_INVALID) << value;
    EXPECT_EQ(grpc_metadata_send(&list_, "k", "a\0b", 3), STATUS_INVALID);
    EXPECT_EQ(list_.count, 2u);
}

TEST(GrpcTimeout, Units)
{
    const std::vector<std::pair<std::string, uint64_t>> good = {
        {"0n", 0}, {"1n", 1}, {"1u", 1000}, {"1m", 1000000}, {"1S", 1000000000u},
        {"1M", 60000000000u}, {"1H", 3600000000000u}, {"00000007m", 7000000},
        {"99999999S", 99999999u * uint64_t{1000000000}}, {"99999999H", UINT64_MAX}};
    for (const auto &[text, ns] : good) {
        uint64_t got = 42;
        EXPECT_EQ(grpc_timeout_parse(text.data(), text.size(), &got), STATUS_OK) << text;
        EXPECT_EQ(got, ns) << text;
    }
    for (const char *text : {"", "1", "m", "123456789m", "-1m", "+1m", "1.0m", "1h", "1 m", " 1m",
                             "1m ", "0x1m", "1mm"}) {
        uint64_t got;
        EXPECT_EQ(grpc_timeout_parse(text, strlen(text), &got), STATUS_INVALID) << text;
    }
}

TEST(GrpcPercent, EncodesAllButPrintableAscii)
{
    std::string in = "a %~\n\x7f\xe2\x98\xba", out(3 * in.size(), '\0');
    out.resize(grpc_percent_encode(in.data(), in.size(), &out[0]));
    EXPECT_EQ(out, "a %25~%0A%7F%E2%98%BA");
}

TEST(GrpcBase64, RoundTripsEveryLength)
{
    for (size_t n = 0; n < 70; n++) {
        std::string in;
        for (size_t i = 0; i < n; i++)
            in.push_back(static_cast<char>(i * 37 + n));
        std::vector<char> text((n * 4 + 2) / 3), back(n);
        size_t text_bytes = grpc_base64_encode(in.data(), n, text.data()), bytes;
        ASSERT_EQ(text_bytes, text.size());
        for (int padded = 0; padded < 2; padded++) {
            std::string coded(text.begin(), text.end());
            while (padded && coded.size() % 4)
                coded += '=';
            ASSERT_TRUE(grpc_base64_decode(coded.data(), coded.size(), back.data(), &bytes));
            ASSERT_EQ(std::string(back.data(), bytes), in);
        }
    }
}

TEST(GrpcHeaders, ContentType)
{
    auto ok = [](const std::string &t) { return grpc_content_type_ok(t.data(), t.size()); };
    for (const char *good : {"application/grpc", "application/grpc+proto", "Application/gRPC",
                             "application/grpc; charset=utf-8", "application/grpc ;x",
                             "application/grpc+proto;a=b"})
        EXPECT_TRUE(ok(good)) << good;
    for (const char *bad : {"", "application/grp", "application/grpc+json", "application/grpc+",
                            "application/grpc-web", "application/grpcx", "text/plain"})
        EXPECT_FALSE(ok(bad)) << bad;
}

TEST(GrpcHeaders, Lists)
{
    auto has = [](const std::string &t) { return grpc_list_has(t.data(), t.size(), "gzip"); };
    for (const char *yes : {"gzip", "identity,gzip", "gzip,deflate", " a , gzip ,b", ",,gzip"})
        EXPECT_TRUE(has(yes)) << yes;
    for (const char *no : {"", ",", "gzi", "gzipx", "x-gzip", "g zip"})
        EXPECT_FALSE(has(no)) << no;
}

} // namespace
