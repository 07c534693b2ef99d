/* Strict parsing, and the words errors are made of; config_json_test has the table of bad files. */
#include "engine/load/json_text.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "tests/support/safetensors_writer.h"

namespace {

TEST(JsonText, ParsesExactlyTheBytesGiven)
{
    const char text[] = "{\"a\": 1}garbage behind the end";
    json_t *root;
    struct error error = {};
    ASSERT_EQ(json_text_parse(&root, "f", text, 8, &error), STATUS_OK) << error.text;
    EXPECT_EQ(json_integer_value(json_object_get(root, "a")), 1);
    json_decref(root);
    EXPECT_EQ(json_text_parse(&root, "f", text, 9, &error), STATUS_INVALID);
    EXPECT_EQ(root, nullptr);
    EXPECT_EQ(json_text_parse(&root, "f", nullptr, 0, nullptr), STATUS_INVALID);
}

TEST(JsonText, NamesTheKeyThatWasBeingRead)
{
    struct Case {
        const char *text, *key;
    };
    for (const Case &t : {Case{R"({"a": 1, "b": NaN})", "at \"b\""},
                          Case{R"({"a": {"inner" : [1, NaN]}})", "at \"inner\""},
                          Case{R"({"a": "x:y", "b\"c": NaN})", "at \"b\\\"c\""},
                          Case{R"({"a": ["no:key", NaN]})", "at \"a\""}}) {
        json_t *root;
        struct error error = {};
        EXPECT_EQ(json_text_parse(&root, "f", t.text, strlen(t.text), &error), STATUS_INVALID);
        EXPECT_NE(std::string(error.text).find(t.key), std::string::npos) << error.text;
    }
    json_t *root;
    struct error error = {};
    EXPECT_EQ(json_text_parse(&root, "f", "{NaN: 1}", 8, &error), STATUS_INVALID);
    EXPECT_EQ(std::string(error.text).find(", at"), std::string::npos) << error.text;
}

TEST(JsonText, ReadsAFileOfAtMostTheLimit)
{
    test_support::ScratchFolder folder;
    folder.write("j", "{\"a\": 1}");
    json_t *root;
    struct error error = {};
    ASSERT_EQ(json_text_read(&root, folder.file("j").c_str(), 8, &error), STATUS_OK) << error.text;
    json_decref(root);
    EXPECT_EQ(json_text_read(&root, folder.file("j").c_str(), 7, &error), STATUS_INVALID);
    EXPECT_EQ(std::string(error.text), folder.file("j") + ": 8 bytes are more than the 7 allowed");
    EXPECT_EQ(json_text_read(&root, folder.file("k").c_str(), 7, nullptr), STATUS_NOT_FOUND);
    EXPECT_EQ(root, nullptr);
}

TEST(JsonText, ShowsValuesShortAndPrintable)
{
    char out[JSON_TEXT_SHOWN_BYTES];
    json_t *value = json_pack("{s:f, s:s, s:s, s:[i], s:b, s:n}", "real", 1e-06, "line",
                              "a\nb\u00e9", "long", std::string(500, 'x').c_str(), "list", 1,
                              "yes", 1, "null");
    ASSERT_NE(value, nullptr);
    EXPECT_STREQ(json_text_show(json_object_get(value, "real"), out), "1e-6");
    EXPECT_STREQ(json_text_show(json_object_get(value, "line"), out), "\"a\\nb\\u00E9\"");
    EXPECT_STREQ(json_text_show(json_object_get(value, "list"), out), "a list");
    EXPECT_STREQ(json_text_show(json_object_get(value, "yes"), out), "true");
    EXPECT_STREQ(json_text_show(json_object_get(value, "null"), out), "null");
    std::string shown = json_text_show(json_object_get(value, "long"), out);
    EXPECT_EQ(shown.size(), JSON_TEXT_SHOWN_BYTES - 1u);
    EXPECT_EQ(shown.substr(shown.size() - 4), "x...");
    EXPECT_STREQ(json_text_type(value), "an object");
    EXPECT_STREQ(json_text_type(nullptr), "nothing");
    json_decref(value);
}

} // namespace
