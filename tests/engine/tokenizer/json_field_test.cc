#include "engine/tokenizer/json_field.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

namespace {

TEST(JsonField, NamesFileAndPath)
{
    const char text[] = R"({"a":{"list":[1,{"kind":"Foo"}]},"n":-1,"big":99999999999999999999})";
    struct json_field document;
    struct error error = {};
    EXPECT_EQ(STATUS_INVALID, json_field_parse(&document, "f.json", text, sizeof text - 1, &error));
    EXPECT_NE(nullptr, strstr(error.text, "f.json: not valid JSON at line 1")) << error.text;

    std::string smaller = std::string(text).substr(0, strstr(text, ",\"big") - text) + "}";
    error = {};
    ASSERT_EQ(STATUS_OK,
              json_field_parse(&document, "f.json", smaller.data(), smaller.size(), &error));
    struct json_field a = json_field_get(&document, "a");
    struct json_field list = json_field_get(&a, "list");
    struct json_field second = json_field_at(&list, 1);
    struct json_field kind = json_field_get(&second, "kind");
    EXPECT_EQ(STATUS_UNSUPPORTED,
              json_field_error(&kind, STATUS_UNSUPPORTED, "\"%s\" is not supported", "Foo"));
    EXPECT_STREQ("f.json: a.list[1].kind \"Foo\" is not supported", error.text);

    uint32_t value = 5;
    bool flag = true;
    const char *string = nullptr;
    size_t bytes = 0;
    struct json_field n = json_field_get(&document, "n");
    struct json_field none = json_field_get(&document, "none");
    struct json_field past = json_field_at(&list, 9);
    error = {};
    EXPECT_EQ(STATUS_INVALID, json_field_uint(&n, 10, &value));
    EXPECT_STREQ("f.json: n is -1, not from 0 to 9", error.text);
    EXPECT_EQ(5u, value);
    EXPECT_TRUE(json_field_absent(&none));
    EXPECT_TRUE(json_field_absent(&past));
    EXPECT_EQ(STATUS_OK, json_field_bool(&none, &flag));
    EXPECT_TRUE(flag);
    EXPECT_EQ(STATUS_INVALID, json_field_bool(&n, &flag));
    EXPECT_EQ(STATUS_INVALID, json_field_string(&n, &string, &bytes));
    EXPECT_EQ(STATUS_INVALID, json_field_object(&list));
    EXPECT_EQ(STATUS_INVALID, json_field_array(&a));
    EXPECT_EQ(STATUS_OK, json_field_string(&kind, &string, &bytes));
    EXPECT_EQ("Foo", std::string(string, bytes));
    json_decref(document.value);
}

TEST(JsonField, RefusesWhatIsNoObject)
{
    for (const char *text : {"", "[]", "null", "1", "{\"a\":1,\"a\":2}", "{", "{}x", "\"\xFF\""}) {
        struct json_field document;
        struct error error = {};
        EXPECT_EQ(STATUS_INVALID, json_field_parse(&document, "f", text, strlen(text), &error))
            << text;
        EXPECT_EQ(0, strncmp(error.text, "f: not ", 7)) << error.text;
        EXPECT_EQ(nullptr, document.value);
    }
    std::string deep = "{\"a\":" + std::string(100000, '[');
    struct json_field document;
    EXPECT_EQ(STATUS_INVALID, json_field_parse(&document, "f", deep.data(), deep.size(), nullptr));
}

} // namespace
