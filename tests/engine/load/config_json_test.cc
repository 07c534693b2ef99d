/* Typed reads: what is accepted exactly, and what the sentence says when it is not. */
#include "engine/load/config_json.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/safetensors_writer.h"

namespace {

struct Config {
    struct config_json *config = nullptr;
    struct error error = {};
    enum status status;

    explicit Config(const std::string &text)
    {
        std::vector<char> exact(text.begin(), text.end());
        status = config_json_parse(&config, "m/config.json", exact.data(), exact.size(), &error);
    }
    ~Config() { config_json_close(config); }
    std::string text() const { return error.text; }
};

bool has(const std::string &text, const std::string &part)
{
    return text.find(part) != std::string::npos;
}

TEST(ConfigJson, ReadsEveryType)
{
    Config c(R"({"hidden_size": 4294967295, "eps": 1e-06, "theta": 10000, "tie": false,
                 "kind": "qwen3_moe", "none": null,
                 "rope_parameters": {"rope_theta": 1000000.0, "rope_type": "default"}})");
    ASSERT_EQ(c.status, STATUS_OK) << c.text();
    uint32_t u = 0;
    double d = 0;
    bool b = true;
    const char *s = nullptr;
    EXPECT_EQ(config_json_u32(c.config, "hidden_size", true, 1, UINT32_MAX, &u, &c.error),
              STATUS_OK);
    EXPECT_EQ(u, UINT32_MAX);
    EXPECT_EQ(config_json_f64(c.config, "eps", true, 0, 1, &d, &c.error), STATUS_OK);
    EXPECT_EQ(d, 1e-06);
    EXPECT_EQ(config_json_f64(c.config, "theta", true, 0, 1e9, &d, &c.error), STATUS_OK);
    EXPECT_EQ(d, 10000.0);
    EXPECT_EQ(config_json_bool(c.config, "tie", true, &b, &c.error), STATUS_OK);
    EXPECT_FALSE(b);
    EXPECT_EQ(config_json_string(c.config, "kind", true, &s, &c.error), STATUS_OK);
    EXPECT_STREQ(s, "qwen3_moe");
    EXPECT_EQ(config_json_f64(c.config, "rope_parameters.rope_theta", true, 0, 1e9, &d, &c.error),
              STATUS_OK);
    EXPECT_EQ(d, 1e6);
    EXPECT_EQ(config_json_string(c.config, "rope_parameters.rope_type", true, &s, &c.error),
              STATUS_OK);
    EXPECT_STREQ(s, "default");
    EXPECT_STREQ(c.error.text, "");
    EXPECT_TRUE(config_json_has(c.config, "rope_parameters.rope_type"));
    EXPECT_TRUE(config_json_has(c.config, "tie"));
    EXPECT_FALSE(config_json_has(c.config, "none"));
    EXPECT_FALSE(config_json_has(c.config, "rope_parameters.factor"));
    EXPECT_FALSE(config_json_has(c.config, "kind.of"));
    EXPECT_FALSE(config_json_has(c.config, ""));
}

TEST(ConfigJson, AbsentAndNullAreNotFoundUnlessNeeded)
{
    Config c(R"({"none": null, "inner": {}})");
    for (const char *key : {"none", "other", "inner.x", "other.x", "none.x"}) {
        uint32_t u = 7;
        struct error error = {};
        EXPECT_EQ(config_json_u32(c.config, key, false, 0, 9, &u, &error), STATUS_NOT_FOUND) << key;
        EXPECT_STREQ(error.text, "");
        EXPECT_EQ(u, 7u);
        EXPECT_EQ(config_json_u32(c.config, key, true, 0, 9, &u, &error), STATUS_INVALID) << key;
        EXPECT_EQ(std::string(error.text),
                  std::string("m/config.json: \"") + key + "\" is missing");
    }
}

TEST(ConfigJson, WrongValuesNameFileKeyValueAndRange)
{
    Config c(R"({"minus": -1, "fraction": 2.0, "words": "12", "big": 4294967296, "list": [1],
                 "object": {}, "yes": true, "nul": "a\u0000b", "far": 1e300, "neg": -0.5})");
    ASSERT_EQ(c.status, STATUS_OK) << c.text();
    struct Case {
        char type;
        const char *key;
        const char *text;
    };
    for (const Case &t : std::vector<Case>{
             {'u', "minus", "\"minus\" is -1, must be within [1, 64]"},
             {'u', "big", "\"big\" is 4294967296, must be within [1, 64]"},
             {'u', "fraction", "\"fraction\" is 2.0, must be an integer"},
             {'u', "words", "\"words\" is \"12\", must be an integer"},
             {'u', "list", "\"list\" is a list, must be an integer"},
             {'u', "yes", "\"yes\" is true, must be an integer"},
             {'u', "words.x", "\"words\" must be an object, not a string"},
             {'f', "words", "\"words\" is \"12\", must be a number"},
             {'f', "yes", "\"yes\" is true, must be a number"},
             {'f', "far", "\"far\" is 1e+300, must be within [0, 1]"},
             {'f', "neg", "\"neg\" is -0.5, must be within [0, 1]"},
             {'b', "minus", "\"minus\" is -1, must be true or false"},
             {'b', "words", "\"words\" is \"12\", must be true or false"},
             {'s', "minus", "\"minus\" is -1, must be a string"},
             {'s', "object", "\"object\" is an object, must be a string"},
             {'s', "nul", "\"nul\" is \"a\\u0000b\", must be a string without NUL"},
         }) {
        struct error error = {};
        uint32_t u = 0;
        double d = 0;
        bool b = false;
        const char *s = nullptr;
        enum status status = STATUS_OK;
        if (t.type == 'u')
            status = config_json_u32(c.config, t.key, false, 1, 64, &u, &error);
        else if (t.type == 'f')
            status = config_json_f64(c.config, t.key, false, 0, 1, &d, &error);
        else if (t.type == 'b')
            status = config_json_bool(c.config, t.key, false, &b, &error);
        else
            status = config_json_string(c.config, t.key, false, &s, &error);
        EXPECT_EQ(status, STATUS_INVALID) << t.key;
        EXPECT_TRUE(has(error.text, std::string("m/config.json: ") + t.text)) << error.text;
    }
}

TEST(ConfigJson, RangeEndsAreInside)
{
    Config c(R"({"a": 1, "b": 64, "c": 0, "d": 65})");
    uint32_t u = 0;
    EXPECT_EQ(config_json_u32(c.config, "a", true, 1, 64, &u, nullptr), STATUS_OK);
    EXPECT_EQ(config_json_u32(c.config, "b", true, 1, 64, &u, nullptr), STATUS_OK);
    EXPECT_EQ(u, 64u);
    EXPECT_EQ(config_json_u32(c.config, "c", true, 1, 64, &u, nullptr), STATUS_INVALID);
    EXPECT_EQ(config_json_u32(c.config, "d", true, 1, 64, &u, nullptr), STATUS_INVALID);
}

TEST(ConfigJson, Lists)
{
    Config c(R"({"one": 5, "three": [1, 2, 3], "none": null, "empty": [], "minus": [1, -1],
                 "words": ["a"], "fraction": 1.5})");
    uint32_t out[3] = {0, 0, 0}, count = 9;
    EXPECT_EQ(config_json_u32_list(c.config, "one", out, 3, &count, nullptr), STATUS_OK);
    EXPECT_EQ(count, 1u);
    EXPECT_EQ(out[0], 5u);
    EXPECT_EQ(config_json_u32_list(c.config, "three", out, 3, &count, nullptr), STATUS_OK);
    EXPECT_EQ(count, 3u);
    EXPECT_EQ(out[2], 3u);
    for (const char *key : {"none", "empty", "absent"}) {
        EXPECT_EQ(config_json_u32_list(c.config, key, out, 3, &count, nullptr), STATUS_OK);
        EXPECT_EQ(count, 0u);
    }
    for (const char *key : {"minus", "words", "fraction"}) {
        struct error error = {};
        EXPECT_EQ(config_json_u32_list(c.config, key, out, 3, &count, &error), STATUS_INVALID);
        EXPECT_TRUE(has(error.text, key)) << error.text;
        EXPECT_EQ(count, 0u);
    }
    struct error error = {};
    EXPECT_EQ(config_json_u32_list(c.config, "three", out, 2, &count, &error), STATUS_INVALID);
    EXPECT_TRUE(has(error.text, "at most 2")) << error.text;
}

TEST(ConfigJson, MalformedFilesNameTheLineAndTheKey)
{
    struct Case {
        const char *text;
        std::vector<const char *> parts;
    };
    for (const Case &t : std::vector<Case>{
             {"", {"is empty"}},
             {" \n", {"line"}},
             {"[]", {"must be an object, not a list"}},
             {"12", {"malformed"}},
             {"{\n \"rms_norm_eps\": NaN,\n \"x\": 1}", {"line 2", "\"rms_norm_eps\"", "NaN"}},
             {"{\"rope_theta\" : Infinity}", {"\"rope_theta\"", "Infinity"}},
             {"{\"rope_theta\": -Infinity}", {"\"rope_theta\""}},
             {"{\"a\": 1, \"eps\": 1e999}", {"\"eps\"", "overflow"}},
             {"{\"a\": \"x\", \"n\": 99999999999999999999}", {"\"n\""}},
             {"{\"a\": 1, \"b\": {\"a\": 2, \"a\": 3}}", {"duplicate", "\"a\""}},
             {"{\"a\": 1,}", {"line 1"}},
             {"{\"a\": 1} {", {"line 1"}},
             {"{\"a\\\"b\": nan}", {"a\\\"b"}},
             {"{\"a\": \"\xff\"}", {"at \"a\"", "decode byte 0xff"}},
             {"{\"half\": \"", {"line 1"}},
         }) {
        Config c(t.text);
        EXPECT_EQ(c.status, STATUS_INVALID) << t.text;
        EXPECT_EQ(c.config, nullptr);
        EXPECT_EQ(c.text().find("m/config.json: "), 0u) << c.text();
        for (const char *part : t.parts)
            EXPECT_TRUE(has(c.text(), part)) << t.text << " -> " << c.text();
    }
    Config deep("{\"a\":" + std::string(1000000, '['));
    EXPECT_EQ(deep.status, STATUS_INVALID);
    EXPECT_TRUE(has(deep.text(), "depth")) << deep.text();
}

TEST(ConfigJson, TruncatedAnywhereIsInvalid)
{
    std::string text = R"({"a": [1, 2.5e3, "x\u00e9"], "b": {"c": null, "d": true}})";
    for (size_t n = 0; n < text.size(); n++)
        EXPECT_EQ(Config(text.substr(0, n)).status, STATUS_INVALID) << n;
    EXPECT_EQ(Config(text).status, STATUS_OK);
}

TEST(ConfigJson, ErrorsArePrintable)
{
    for (const char *text : {"{\"a\": \x01\x1b[31m}", "{\"a\nb\": 1", "{\"k\x07\": x}",
                             "{\"\xff\": 1}"}) {
        Config c(text);
        EXPECT_EQ(c.status, STATUS_INVALID);
        for (char ch : c.text())
            EXPECT_TRUE(ch >= 0x20 && ch < 0x7f) << c.text();
    }
}

TEST(ConfigJson, ReadsAFileUpToItsLimit)
{
    test_support::ScratchFolder folder;
    struct config_json *config;
    struct error error = {};
    EXPECT_EQ(config_json_read(&config, folder.file("absent.json").c_str(), &error),
              STATUS_NOT_FOUND);
    EXPECT_TRUE(has(error.text, "absent.json")) << error.text;
    error = {};
    EXPECT_EQ(config_json_read(&config, folder.path().c_str(), &error), STATUS_INVALID);
    EXPECT_TRUE(has(error.text, "regular file")) << error.text;
    error = {};
    folder.write("big.json", "{}" + std::string(CONFIG_JSON_BYTES_MAX, ' '));
    EXPECT_EQ(config_json_read(&config, folder.file("big.json").c_str(), &error), STATUS_INVALID);
    EXPECT_TRUE(has(error.text, "big.json")) << error.text;
    EXPECT_EQ(config, nullptr);
    folder.write("good.json", "{\"a\": 1}");
    ASSERT_EQ(config_json_read(&config, folder.file("good.json").c_str(), &error), STATUS_OK);
    EXPECT_TRUE(config_json_has(config, "a"));
    config_json_close(config);
    config_json_close(nullptr);
}

} // namespace
