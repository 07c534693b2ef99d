#include "server/openai/openai_field.h"

#include "tests/server/openai/openai_support.h"

namespace {

using openai_test::Json;
using openai_test::Parse;

struct Fields {
    Json body;
    struct openai_refusal refusal = {};
    struct openai_fields f;

    explicit Fields(const std::string &text, const char *path = "")
        : body(Parse(text)), f{body.get(), path, &refusal}
    {
    }
};

TEST(OpenaiField, AbsentAndNullLeaveTheDefault)
{
    Fields x("{\"null\":null}");
    for (const char *name : {"null", "absent"}) {
        bool flag = true;
        int64_t number = 7;
        uint32_t small = 8;
        float real = 0.5f;
        size_t bytes = 9;
        EXPECT_EQ(nullptr, openai_field(&x.f, name));
        EXPECT_FALSE(openai_field_bool(&x.f, name, &flag));
        EXPECT_FALSE(openai_field_int(&x.f, name, 0, 10, &number));
        EXPECT_FALSE(openai_field_u32(&x.f, name, 0, 10, &small));
        EXPECT_FALSE(openai_field_float(&x.f, name, 0, 10, &real));
        EXPECT_EQ(nullptr, openai_field_text(&x.f, name, &bytes));
        EXPECT_EQ(nullptr, openai_field_array(&x.f, name));
        EXPECT_EQ(nullptr, openai_field_object(&x.f, name));
        EXPECT_TRUE(flag && number == 7 && small == 8 && real == 0.5f && bytes == 9);
    }
    EXPECT_FALSE(x.refusal.refused);
}

TEST(OpenaiField, ReadsEveryKind)
{
    Fields x("{\"b\":false,\"i\":-9223372036854775808,\"u\":16.0,\"f\":1,\"t\":\"a\\u0000b\","
             "\"a\":[1],\"o\":{}}");
    bool flag = true;
    int64_t number;
    uint32_t small;
    float real;
    size_t bytes;
    EXPECT_TRUE(openai_field_bool(&x.f, "b", &flag));
    EXPECT_FALSE(flag);
    EXPECT_TRUE(openai_field_int(&x.f, "i", INT64_MIN, INT64_MAX, &number));
    EXPECT_EQ(INT64_MIN, number);
    EXPECT_TRUE(openai_field_u32(&x.f, "u", 0, 16, &small));
    EXPECT_EQ(16u, small);
    EXPECT_TRUE(openai_field_float(&x.f, "f", 0, 1, &real));
    EXPECT_EQ(1, real);
    const char *text = openai_field_text(&x.f, "t", &bytes);
    EXPECT_EQ(std::string("a\0b", 3), std::string(text, bytes));
    EXPECT_EQ(1u, json_array_size(openai_field_array(&x.f, "a")));
    EXPECT_NE(nullptr, openai_field_object(&x.f, "o"));
    EXPECT_FALSE(x.refusal.refused);
}

TEST(OpenaiField, TheWrongKindIsNamed)
{
    const struct {
        const char *body, *why;
        void (*read)(const struct openai_fields *f);
    } cases[] = {
        {"{\"x\":1}", "outer.x must be a boolean, not a number",
         [](const openai_fields *f) { bool b; openai_field_bool(f, "x", &b); }},
        {"{\"x\":true}", "outer.x must be a whole number, not a boolean",
         [](const openai_fields *f) { uint32_t n; openai_field_u32(f, "x", 0, 9, &n); }},
        {"{\"x\":1.5}", "outer.x is 1.5, must be a whole number from 0 to 9",
         [](const openai_fields *f) { uint32_t n; openai_field_u32(f, "x", 0, 9, &n); }},
        {"{\"x\":10}", "outer.x is 10, must be from 0 to 9",
         [](const openai_fields *f) { uint32_t n; openai_field_u32(f, "x", 0, 9, &n); }},
        {"{\"x\":1e300}", "outer.x is 1e+300, must be a whole number from 0 to 9",
         [](const openai_fields *f) { uint32_t n; openai_field_u32(f, "x", 0, 9, &n); }},
        {"{\"x\":\"1\"}", "outer.x must be a number, not a string",
         [](const openai_fields *f) { float n; openai_field_float(f, "x", 0, 9, &n); }},
        {"{\"x\":-0.5}", "outer.x is -0.5, must be from 0 to 9",
         [](const openai_fields *f) { float n; openai_field_float(f, "x", 0, 9, &n); }},
        {"{\"x\":[]}", "outer.x must be a string, not a list",
         [](const openai_fields *f) { size_t n; openai_field_text(f, "x", &n); }},
        {"{\"x\":{}}", "outer.x must be a list, not an object",
         [](const openai_fields *f) { openai_field_array(f, "x"); }},
        {"{\"x\":\"\"}", "outer.x must be an object, not a string",
         [](const openai_fields *f) { openai_field_object(f, "x"); }},
    };
    for (const auto &c : cases) {
        Fields x(c.body, "outer.");
        c.read(&x.f);
        EXPECT_TRUE(x.refusal.refused) << c.body;
        EXPECT_STREQ(c.why, x.refusal.why.text);
        EXPECT_STREQ("outer.x", x.refusal.param);
        EXPECT_EQ(HTTP_BAD_VALUE, x.refusal.problem);
    }
}

TEST(OpenaiField, TheFirstRefusalStays)
{
    Fields x("{\"a\":1,\"b\":\"text\"}");
    bool flag;
    size_t bytes;
    openai_field_bool(&x.f, "a", &flag);
    EXPECT_EQ(nullptr, openai_field_text(&x.f, "b", &bytes)) << "nothing is read after it";
    openai_refuse(&x.refusal, HTTP_INTERNAL, "c", "something else");
    EXPECT_STREQ("a", x.refusal.param);
    EXPECT_EQ(HTTP_BAD_VALUE, x.refusal.problem);
}

TEST(OpenaiField, SentencesStayUtf8WhenTheyAreCut)
{
    struct openai_refusal refusal = {};
    std::string name;
    for (int i = 0; i < 300; i++)
        name += "\xe2\x82\xac";
    openai_refuse(&refusal, HTTP_NO_MODEL, name.c_str(), "no model '%.127s'", name.c_str());
    EXPECT_TRUE(Json(json_string(refusal.why.text)));
    EXPECT_TRUE(Json(json_string(refusal.param)));
}

TEST(OpenaiField, TokenIdsAreBelowTheVocabulary)
{
    struct openai_refusal refusal = {};
    uint32_t count = 0;
    auto list = Parse("[0,1.0,95]");
    uint32_t *ids = openai_token_ids(list.get(), "prompt", 96, &count, &refusal);
    ASSERT_NE(nullptr, ids);
    EXPECT_EQ(std::vector<uint32_t>({0, 1, 95}), std::vector<uint32_t>(ids, ids + count));
    free(ids);
    const struct {
        const char *list, *shown;
    } bad[] = {{"[1,96]", "prompt[1] is 96"}, {"[-1]", "prompt[0] is -1"},
               {"[4294967297]", "prompt[0] is 4294967297"}, {"[\"a\"]", "prompt[0] is a string"},
               {"[1,null]", "prompt[1] is null"}, {"[true]", "prompt[0] is a boolean"},
               {"[0.5]", "prompt[0] is a number"}};
    for (const auto &c : bad) {
        refusal = {};
        list = Parse(c.list);
        EXPECT_EQ(nullptr, openai_token_ids(list.get(), "prompt", 96, &count, &refusal));
        EXPECT_EQ(0u, std::string(refusal.why.text).find(c.shown)) << refusal.why.text;
    }
}

bool Accepts(const std::string &text)
{
    struct openai_refusal refusal = {};
    Json body(openai_body(reinterpret_cast<const uint8_t *>(text.data()), text.size(), &refusal));
    EXPECT_EQ(!body, refusal.refused) << text;
    EXPECT_TRUE(body || refusal.problem == HTTP_BAD_VALUE);
    return body != nullptr;
}

TEST(OpenaiField, BodiesAreObjectsOfWellFormedJson)
{
    EXPECT_TRUE(Accepts("{}"));
    EXPECT_TRUE(Accepts(" {\"a\":\"\\u0000\"}\n"));
    EXPECT_FALSE(Accepts(""));
    EXPECT_FALSE(Accepts("[]"));
    EXPECT_FALSE(Accepts("{\"a\":1,\"a\":2}")) << "which of them would count?";
    EXPECT_FALSE(Accepts("{\"a\":1} x"));
    EXPECT_FALSE(Accepts("{'a':1}"));
    EXPECT_FALSE(Accepts("{\"a\":\"\xff\"}"));
    EXPECT_FALSE(Accepts("{\"a\":\"\\ud800\"}")) << "half a surrogate pair";
    EXPECT_FALSE(Accepts("{\"a\":9223372036854775808}"));
    EXPECT_FALSE(Accepts("{\"a\":" + std::string(3000, '[') + std::string(3000, ']') + "}"));
}

TEST(OpenaiField, UnsupportedFieldsMayAskForNothing)
{
    static const char *const names[] = {"suffix", "audio", nullptr};
    for (const char *nothing : {"{}", "{\"suffix\":null}", "{\"suffix\":\"\"}", "{\"audio\":{}}",
                                "{\"audio\":[]}", "{\"audio\":false}", "{\"audio\":0}",
                                "{\"audio\":0.0}"}) {
        Fields x(nothing);
        EXPECT_TRUE(openai_refuse_unsupported(&x.f, names)) << nothing;
    }
    for (const char *something : {"{\"audio\":\"x\"}", "{\"audio\":{\"a\":1}}", "{\"audio\":[0]}",
                                  "{\"audio\":true}", "{\"audio\":2}", "{\"audio\":0.5}"}) {
        Fields x(something);
        EXPECT_FALSE(openai_refuse_unsupported(&x.f, names)) << something;
        EXPECT_STREQ("audio", x.refusal.param);
        EXPECT_STREQ("audio is not supported by this server", x.refusal.why.text);
    }
}

} // namespace
