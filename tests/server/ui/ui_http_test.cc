/* The dashboard's files over the real transport: what a browser is told of them, in both forms. */
#include "server/ui/ui_http.h"

#include <zlib.h>

#include <fstream>
#include <iterator>

#include "server/net/api_keys.h"
#include "server/ui/ui_files.h"
#include "tests/server/http/http_fixture.h"

namespace http_test {
namespace {

std::vector<http_route> Routes(bool enabled = true)
{
    http_route routes[UI_ROUTES_MAX];
    ui_config config = {};
    config.enabled = enabled;
    uint32_t count = ui_routes(&config, routes);
    return std::vector<http_route>(routes, routes + count);
}

std::string GetPath(const std::string &path, const std::string &more = "")
{
    return "GET " + path + " HTTP/1.1\r\nHost: a\r\n" + more + "\r\n";
}

std::string Gunzip(const std::string &packed)
{
    std::string out(1 << 20, 0);
    z_stream z = {};
    EXPECT_EQ(inflateInit2(&z, 16 + MAX_WBITS), Z_OK);
    z.next_in = reinterpret_cast<Bytef *>(const_cast<char *>(packed.data()));
    z.avail_in = static_cast<uInt>(packed.size());
    z.next_out = reinterpret_cast<Bytef *>(&out[0]);
    z.avail_out = static_cast<uInt>(out.size());
    EXPECT_EQ(inflate(&z, Z_FINISH), Z_STREAM_END);
    out.resize(z.total_out);
    inflateEnd(&z);
    return out;
}

std::string Source(const std::string &path)
{
    std::string name = path == "/" ? "index.html" : path.substr(4);
    std::ifstream in(std::string(getenv("MOERING_SOURCE_DIR")) + "/server/ui/" + name,
                     std::ios::binary);
    EXPECT_TRUE(in.good()) << name;
    return std::string(std::istreambuf_iterator<char>(in), {});
}

TEST_F(Http, UiServesEachFileAsItIs)
{
    Open(Routes());
    for (uint32_t i = 0; i < ui_file_count; i++) {
        std::string path = ui_files[i].path, source = Source(path);
        Answer plain = Ask(GetPath(path));
        EXPECT_EQ(plain.code, 200) << path;
        EXPECT_EQ(plain.body, source) << path;
        EXPECT_EQ(plain.Header("Content-Type"), ui_files[i].type);
        EXPECT_FALSE(plain.Has("Content-Encoding"));
        Answer packed = Ask(GetPath(path, "Accept-Encoding: gzip, deflate, br\r\n"));
        EXPECT_EQ(packed.Header("Content-Encoding"), "gzip");
        EXPECT_EQ(Gunzip(packed.body), source) << path;
        EXPECT_NE(packed.Header("ETag"), plain.Header("ETag"));
        EXPECT_EQ(packed.Header("Vary"), "Accept-Encoding");
    }
}

TEST_F(Http, UiIsWhatThePageAsksFor)
{
    Open(Routes());
    std::string page = Ask(GetPath("/")).body;
    size_t found = 0;
    for (size_t at = page.find("\"/ui/"); at != std::string::npos;
         at = page.find("\"/ui/", at + 1)) {
        std::string path = page.substr(at + 1, page.find_first_of("\"#", at + 1) - at - 1);
        EXPECT_EQ(Ask(GetPath(path)).code, 200) << path;
        found++;
    }
    EXPECT_GE(found, 4u);
    EXPECT_EQ(page.find("http://"), std::string::npos) << "it works offline";
    EXPECT_EQ(page.find("https://"), std::string::npos);
    EXPECT_EQ(page.find(" style="), std::string::npos) << "its policy forbids it";
}

TEST_F(Http, UiMayOnlyLoadFromHere)
{
    Open(Routes());
    Answer answer = Ask(GetPath("/"));
    EXPECT_EQ(answer.Header("Content-Security-Policy").find("default-src 'self';"), 0u);
    EXPECT_NE(answer.Header("Content-Security-Policy").find("frame-ancestors 'none'"),
              std::string::npos);
    EXPECT_EQ(answer.Header("X-Content-Type-Options"), "nosniff");
    EXPECT_EQ(answer.Header("Cache-Control"), "no-cache");
    EXPECT_EQ(answer.Header("Content-Type"), "text/html; charset=utf-8");
}

TEST_F(Http, UiIsSentAgainOnlyIfItChanged)
{
    Open(Routes());
    std::string tag = Ask(GetPath("/")).Header("ETag");
    Answer answer = Ask(GetPath("/", "If-None-Match: \"old\", W/" + tag + "\r\n"));
    EXPECT_EQ(answer.code, 304);
    EXPECT_EQ(answer.Header("ETag"), tag);
    answer = Ask(GetPath("/", "If-None-Match: " + tag + "\r\nAccept-Encoding: gzip\r\n"));
    EXPECT_EQ(answer.code, 200) << "the other form has another tag";
    EXPECT_EQ(Ask(GetPath("/", "If-None-Match: \"old\"\r\n")).code, 200);
}

TEST_F(Http, UiHeadTellsTheSize)
{
    Open(Routes());
    Answer answer = Get(Connect().Send("HEAD /ui/app.js HTTP/1.1\r\nHost: a\r\n\r\n"), true);
    EXPECT_EQ(answer.code, 200);
    EXPECT_EQ(answer.Header("Content-Length"), std::to_string(Source("/ui/app.js").size()));
}

TEST_F(Http, UiIsPublicByNameAndNothingElseIs)
{
    struct error error = {};
    api_keys *keys;
    ASSERT_EQ(api_keys_open(&keys, "secret", nullptr, &error), STATUS_OK) << error.text;
    config_.keys = keys;
    Open(Routes());
    EXPECT_EQ(Ask(GetPath("/")).code, 200);
    EXPECT_EQ(Ask(GetPath("/ui/app.js")).code, 200);
    EXPECT_EQ(Ask(GetPath("/hello")).code, 401);
    EXPECT_NE(Ask(GetPath("/ui/../hello")).code, 200);
    EXPECT_NE(Ask(GetPath("/ui/FORMATS.md")).code, 200);
    EXPECT_NE(Ask(GetPath("/ui/")).code, 200);
    http_server_close(server_);
    server_ = nullptr;
    api_keys_close(keys);
}

TEST_F(Http, UiCanBeTurnedOff)
{
    Open(Routes(false));
    EXPECT_EQ(Ask(GetPath("/")).code, 404);
    Serves();
}

TEST(Ui, AcceptEncoding)
{
    EXPECT_FALSE(ui_accepts_gzip(nullptr));
    EXPECT_FALSE(ui_accepts_gzip(""));
    EXPECT_FALSE(ui_accepts_gzip("br, deflate"));
    EXPECT_FALSE(ui_accepts_gzip("gzipped"));
    EXPECT_FALSE(ui_accepts_gzip("gzip;q=0"));
    EXPECT_FALSE(ui_accepts_gzip("*, gzip; q=0.000"));
    EXPECT_FALSE(ui_accepts_gzip("identity;q=1, *;q=0"));
    EXPECT_TRUE(ui_accepts_gzip("gzip"));
    EXPECT_TRUE(ui_accepts_gzip("br , GZIP;q=0.5"));
    EXPECT_TRUE(ui_accepts_gzip("*"));
    EXPECT_TRUE(ui_accepts_gzip("br;q=0, *;q=0.1"));
    EXPECT_TRUE(ui_accepts_gzip("gzip;level=9;q=0.2"));
    EXPECT_TRUE(ui_accepts_gzip(",,gzip,"));
    EXPECT_FALSE(ui_accepts_gzip("gzip;;; q=0"));
    EXPECT_FALSE(ui_accepts_gzip(" ; , ;"));
}

TEST(Ui, IfNoneMatch)
{
    EXPECT_FALSE(ui_tag_matches(nullptr, "\"a\""));
    EXPECT_FALSE(ui_tag_matches("", "\"a\""));
    EXPECT_FALSE(ui_tag_matches("\"ab\", \"b\"", "\"a\""));
    EXPECT_FALSE(ui_tag_matches("a", "\"a\""));
    EXPECT_TRUE(ui_tag_matches("\"a\"", "\"a\""));
    EXPECT_TRUE(ui_tag_matches("\"b\",W/\"a\"", "\"a\""));
    EXPECT_TRUE(ui_tag_matches("\"b\" , \"a\" ", "\"a\""));
    EXPECT_TRUE(ui_tag_matches("*", "\"a\""));
}

} // namespace
} // namespace http_test
