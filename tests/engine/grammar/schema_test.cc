/* Schemas: texts that are valid and texts that are not, keyword by keyword; refusals by place. */
#include "engine/grammar/schema.h"

#include "fixtures.h"

using namespace fixtures;

namespace
{

struct Case {
    const char *schema;
    std::vector<const char *> taken, refused;
};

void check(const Case &c)
{
    Opened g = schema(c.schema);
    ASSERT_EQ(STATUS_OK, g.status) << c.schema << ": " << g.error;
    for (const char *text : c.taken)
        EXPECT_TRUE(matches(g.get(), text)) << c.schema << " must take " << text;
    for (const char *text : c.refused)
        EXPECT_FALSE(matches(g.get(), text)) << c.schema << " must not take " << text;
}

TEST(Schema, TypesAndLiterals)
{
    check({R"({"type":"boolean"})", {"true", "false"}, {"null", "True", "tru", "true "}});
    check({R"({"type":["null","string"]})", {"null", "\"\"", "\"nul\""}, {"nul", "1"}});
    check({R"({"type":"string","nullable":true})", {"null", "\"a\""}, {"0"}});
    check({R"({"enum":["a","ab",1,2.5,null,{"x":[1,true]}]})",
           {"\"a\"", "\"ab\"", "1", "2.5", "null", "{\"x\":[1,true]}", "{\"x\": [1, true]}"},
           {"\"b\"", "\"abc\"", "2", "{\"x\":[1]}", "{}"}});
    check({R"({"enum":["a",1,null],"type":"integer"})", {"1"}, {"\"a\"", "null"}});
    check({R"({"const":"q\"\\\n\u0001é"})", {R"("q\"\\\n\u0001é")"}, {"\"q\""}});
    check({"true", {"1", "[]", "{\"a\":[{}]}", "\"x\""}, {"", "1 ", "nul", "[1,]"}});
    check({"{}", {"-0.5e+10", "[[],{}]", "{}"}, {"01", "1.", "--1", "+1", ".5", "1e100"}});
}

TEST(Schema, Objects)
{
    const char *three = R"({"type":"object","properties":{"a":{"type":"integer"},
        "b":{"type":"boolean"},"c":{"type":"null"}},"required":["b"]})";
    check({three,
           {R"({"a":1,"b":true,"c":null})", R"({"b":false})", R"({"b":true,"c":null})",
            R"({ "a": 1, "b": true })", "{\n  \"a\": 1,\n  \"b\": true\n}", "{\n\t\"b\": true\n}"},
           {"{}", R"({"a":1})", R"({"b":true,"a":1})", R"({"b":true,"d":1})", R"({"b":true,})",
            R"({"b" :true})", R"({"b":  true})", R"({"b":true}  )", "{\n\n\"b\":true}",
            R"({"b":true,"b":true})"}});
    check({R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"integer"}}})",
           {"{}", R"({"a":1})", R"({"b":1})", R"({"a":1,"b":2})"},
           {"{ }", R"({"b":1,"a":2})", R"({,"a":1})", R"({"c":1})"}});
    check({R"({"properties":{"ab":{"type":"integer"},"é":{"type":"null"}},"required":["ab"],
             "additionalProperties":{"type":"string"}})",
           {R"({"ab":1})", R"({"ab":1,"a":"x"})", R"({"ab":1,"é":null,"è":"x","abc":"","":"y"})"},
           {R"({"ab":1,"ab":"x"})", R"({"ab":1,"é":"x"})", R"({"ab":1,"a":2})", R"({"a":"x"})",
            R"({"ab":1,"\u0061b":"x"})"}});
    check({R"({"type":"object","required":["k"]})",
           {R"({"k":[1]})", R"({"k":1,"z":2})"},
           {"{}", R"({"z":2})", R"({"k":1,"k":2})"}});
    check({R"({"type":"object","additionalProperties":false})", {"{}"}, {R"({"a":1})"}});
    check({R"({"type":"object","additionalProperties":{"type":"integer"}})",
           {"{}", R"({"a":1,"b":2})"},
           {R"({"a":"x"})"}});
}

TEST(Schema, Arrays)
{
    check({R"({"type":"array","items":{"type":"integer"}})",
           {"[]", "[1]", "[1,2, 3]", "[\n  1\n]"},
           {"[,]", "[1,]", "[\"a\"]", "[ ]", "[1  ]"}});
    check({R"({"type":"array","items":{"type":"integer"},"minItems":2,"maxItems":3})",
           {"[1,2]", "[1,2,3]"},
           {"[]", "[1]", "[1,2,3,4]"}});
    check({R"({"type":"array","items":{"type":"integer"},"minItems":2})",
           {"[1,2]", "[1,2,3,4,5]"},
           {"[]", "[1]"}});
    check({R"({"type":"array","items":{"type":"integer"},"maxItems":0})", {"[]"}, {"[1]"}});
    check({R"({"prefixItems":[{"type":"integer"},{"type":"string"}]})",
           {"[]", "[1]", "[1,\"a\"]"},
           {"[\"a\"]", "[1,2]", "[1,\"a\",1]"}});
    check({R"({"prefixItems":[{"type":"integer"}],"items":{"type":"null"},"minItems":1})",
           {"[1]", "[1,null,null]"},
           {"[]", "[null]", "[1,2]"}});
    check({R"({"prefixItems":[{"type":"integer"}],"minItems":3,"maxItems":3})",
           {"[1,2,\"x\"]"},
           {"[1,2]", "[1,2,3,4]"}});
}

TEST(Schema, Strings)
{
    check({R"({"type":"string","minLength":2,"maxLength":3})",
           {"\"ab\"", "\"abc\"", "\"é😀\"", R"("\n\u00e9\ud83d\ude00")"},
           {"\"a\"", "\"abcd\"", R"("\n")", R"("\ud83d\ude00")", "\"é\""}});
    check({R"({"type":"string","minLength":3})",
           {"\"abc\"", "\"abcdefghijklmnopqrst\""},
           {"\"ab\""}});
    check({R"({"type":"string"})",
           {"\"\"", R"("\\\"\/\b")", "\"\x7f\""},
           {"\"\n\"", R"("\x")", R"("\ud83d")", R"("\ude00")", R"("\u12g4")", "\"\xC0\x80\"",
            "\"\xED\xA0\x80\"", "\"\xFF\"", "\""}});
    check({R"({"type":"string","pattern":"^[A-Z]{2,3}-\\d+$"})",
           {"\"AB-1\"", "\"ABC-123\""},
           {"\"A-1\"", "\"AB-\"", "\"xAB-1\"", "\"AB-1x\""}});
    check({R"({"type":"string","pattern":"b+"})",
           {"\"b\"", "\"abc\"", R"("\nb\"")"},
           {"\"ac\"", "\"\""}});
    check({R"({"pattern":"^\"\\\\\n$"})", {R"("\"\\\n")"}, {"\"\"\""}});
    check({R"({"format":"date"})",
           {"\"2024-12-31\"", "\"2023-04-30\""},
           {"\"2024-13-01\"", "\"2024-04-31\"", "\"24-01-01\""}});
    check({R"({"format":"date-time"})",
           {"\"2024-12-31T23:59:59Z\"", "\"2024-12-31T00:00:00.5+02:00\""},
           {"\"2024-12-31\"", "\"2024-12-31T24:00:00Z\""}});
    check({R"({"format":"time"})", {"\"23:59:59Z\""}, {"\"23:60:00Z\""}});
    check({R"({"format":"uuid"})", {"\"123e4567-e89b-12d3-a456-426614174000\""}, {"\"123e4567\""}});
    check({R"({"format":"ipv4"})",
           {"\"0.0.0.0\"", "\"255.249.199.9\""},
           {"\"256.1.1.1\"", "\"01.1.1.1\""}});
    check({R"({"format":"email"})",
           {"\"a.b+c@x-y.example.org\""},
           {"\"a@b\"", "\"@b.org\"", "\"a..b@c.org\""}});
}

TEST(Schema, IntegersWithinBoundsAreExact)
{
    const int bounds[][2] = {{0, 0},    {3, 7},   {0, 9},  {5, 123},  {-12, 34},  {-250, -17},
                             {99, 101}, {10, 10}, {-1, 0}, {1, 1000}, {-999, 999}};
    for (const auto &b : bounds) {
        Opened g = schema("{\"type\":\"integer\",\"minimum\":" + std::to_string(b[0]) +
                          ",\"maximum\":" + std::to_string(b[1]) + "}");
        ASSERT_EQ(STATUS_OK, g.status) << g.error;
        for (int i = -1100; i <= 1100; i++)
            EXPECT_EQ(i >= b[0] && i <= b[1], matches(g.get(), std::to_string(i)))
                << i << " in " << b[0] << " to " << b[1];
        EXPECT_FALSE(matches(g.get(), "007"));
    }
    check({R"({"type":"integer","exclusiveMinimum":3,"exclusiveMaximum":5.5})",
           {"4", "5"},
           {"3", "6"}});
    check({R"({"type":"integer","minimum":1})",
           {"1", "999999999999999999"},
           {"0", "-1", "1000000000000000000"}});
    check({R"({"type":"integer","maximum":-5})", {"-5", "-999999999999999999"}, {"-4", "0", "5"}});
    check({R"({"type":"integer"})", {"0", "-7", "123"}, {"1.0", "1e3", "00", ""}});
}

TEST(Schema, NumbersWithinWholeBounds)
{
    check({R"({"type":"number","minimum":0,"maximum":10})",
           {"0", "0.0", "0.5", "9.99", "10", "7"},
           {"-0.5", "10.1", "10.0", "11", "-1", "1e1"}});
    check({R"({"type":"number","exclusiveMinimum":0,"exclusiveMaximum":2})",
           {"0.001", "1", "1.5", "1.999"},
           {"0", "0.0", "2", "2.0", "-0.1"}});
    check({R"({"type":"number","minimum":-2,"maximum":-1})",
           {"-1", "-1.5", "-2"},
           {"-0.5", "-2.1", "1.5", "0"}});
    check({R"({"type":"number","minimum":-1,"exclusiveMaximum":1})",
           {"-1", "-0.5", "0", "0.9"},
           {"1", "-1.1"}});
}

TEST(Schema, CombinationsAndReferences)
{
    check({R"({"anyOf":[{"type":"integer"},{"type":"string","maxLength":1}]})",
           {"1", "\"a\""},
           {"\"ab\"", "null"}});
    check({R"({"oneOf":[{"const":1},{"const":2}],"title":"t"})", {"1", "2"}, {"3"}});
    check({R"({"type":"object","properties":{"k":{"type":"string"}},"required":["k"],
             "anyOf":[{"properties":{"a":{"type":"null"}},"required":["a"]},
                      {"properties":{"b":{"type":"null"}},"required":["b"]}]})",
           {R"({"a":null,"k":"x"})", R"({"b":null,"k":""})"},
           {R"({"k":"x"})", R"({"a":null})"}});
    check(
        {R"({"allOf":[{"type":"integer","minimum":3},{"type":"number","minimum":1,"maximum":9}]})",
         {"3", "9"},
         {"2", "10", "3.5"}});
    check({R"({"$defs":{"n":{"type":"object","properties":{"v":{"type":"integer"},
             "next":{"anyOf":[{"$ref":"#/$defs/n"},{"type":"null"}]}},"required":["v","next"]}},
             "$ref":"#/$defs/n"})",
           {R"({"v":1,"next":null})", R"({"v":1,"next":{"v":2,"next":{"v":3,"next":null}}})"},
           {R"({"v":1})", R"({"v":1,"next":{}})", R"({"v":1,"next":{"v":2,"next":null})"}});
    check(
        {R"({"definitions":{"a/b":{"type":"null"}},)"
         R"("type":"array","items":{"$ref":"#/definitions/a~1b"}})",
         {"[null,null]"},
         {"[1]"}});
    check({R"({"type":"object","properties":{"self":{"$ref":"#"}}})",
           {"{}", R"({"self":{"self":{}}})"},
           {R"({"self":1})"}});
    check(
        {R"({"$defs":{"s":{"type":"string"}},"$ref":"#/$defs/s","maxLength":1,"description":"d"})",
         {"\"a\""},
         {"\"ab\""}});
    check({R"({"anyOf":[{"type":"integer"}],"nullable":true})", {"1", "null"}, {"\"\""}});
}

TEST(Schema, RefusalsNameThePlace)
{
    const struct {
        const char *schema, *says;
        enum status status;
    } cases[] = {
        {R"({"properties":{"a":{"items":{"uniqueItems":true}}}})",
         "$.properties.a.items.uniqueItems: ", STATUS_UNSUPPORTED},
        {R"({"type":"number","multipleOf":2})", "$.multipleOf: ", STATUS_UNSUPPORTED},
        {R"({"not":{}})", "$.not: ", STATUS_UNSUPPORTED},
        {R"({"anyOf":[{},{"if":1}]})", "$.anyOf[1].if: ", STATUS_UNSUPPORTED},
        {R"({"format":"hostname"})", "$.format: ", STATUS_UNSUPPORTED},
        {R"~({"type":"string","pattern":"(?=a)"})~", "$.pattern: ", STATUS_UNSUPPORTED},
        {R"({"type":"string","pattern":"a("})", "$.pattern: ", STATUS_INVALID},
        {R"({"type":"string","pattern":"a","maxLength":3})", "$.pattern: ", STATUS_UNSUPPORTED},
        {R"({"type":"sting"})", "$.type: ", STATUS_INVALID},
        {R"({"type":"integer","minimum":3,"maximum":2})", "$.minimum: ", STATUS_INVALID},
        {R"({"type":"integer","minimum":"3"})", "$.minimum: ", STATUS_INVALID},
        {R"({"type":"number","minimum":0.5})", "$.minimum: ", STATUS_UNSUPPORTED},
        {R"({"minLength":3,"maxLength":2})", "$.minLength: ", STATUS_INVALID},
        {R"({"minLength":-1})", "$.minLength: ", STATUS_INVALID},
        {R"({"minItems":3,"maxItems":2})", "$.minItems: ", STATUS_INVALID},
        {R"({"items":[{}]})", "$.items: ", STATUS_UNSUPPORTED},
        {R"({"$ref":"#/$defs/x"})", "$.$ref: ", STATUS_UNSUPPORTED},
        {R"({"$ref":"other.json"})", "$.$ref: ", STATUS_UNSUPPORTED},
        {R"({"enum":[1],"type":"string"})", "$.enum: ", STATUS_INVALID},
        {R"({"enum":["a"],"minLength":1})", "$.minLength: ", STATUS_UNSUPPORTED},
        {R"({"required":["a"],"additionalProperties":false})", "$.required: ", STATUS_INVALID},
        {R"({"allOf":[{"type":"string"},{"type":"null"}]})", "$.type: ", STATUS_INVALID},
        {R"({"allOf":[{"pattern":"a"},{"pattern":"b"}]})", "$.pattern: ", STATUS_UNSUPPORTED},
        {R"({"properties":{"a":1}})", "$.properties.a: ", STATUS_INVALID},
        {"[]", "$: ", STATUS_INVALID},
        {"false", "", STATUS_INVALID},
        {R"({"properties":{"a":{"$ref":"#"}},"required":["a"]})", "", STATUS_INVALID},
        {R"({"type":"array","maxItems":60000000,"items":{"type":"string"}})", "", STATUS_NO_MEMORY},
        {R"({"$ref":"#"})", "", STATUS_INVALID},
        {R"({"$ref":"#","minLength":1})", "", STATUS_UNSUPPORTED},
    };
    for (const auto &c : cases) {
        Opened g = schema(c.schema);
        EXPECT_EQ(c.status, g.status) << c.schema << ": " << g.error;
        EXPECT_EQ(0u, g.error.find(c.says)) << c.schema << ": " << g.error;
    }
}

TEST(Schema, LargeOnesStayWithinBounds)
{
    std::string many = "{\"type\":\"object\",\"properties\":{";
    for (int i = 0; i < 500; i++)
        many +=
            (i ? ",\"p" : "\"p") + std::to_string(i) + "\":{\"type\":\"string\",\"maxLength\":200}";
    Opened g = schema(many + "}}");
    ASSERT_EQ(STATUS_OK, g.status) << g.error;
    EXPECT_TRUE(matches(g.get(), R"({"p3":"a","p77":"b","p499":"c"})"));
    EXPECT_FALSE(matches(g.get(), R"({"p77":"a","p3":"b"})"));
    std::string values = "{\"enum\":[";
    for (int i = 0; i < 5000; i++)
        values += (i ? ",\"value " : "\"value ") + std::to_string(i * 7) + "\"";
    g = schema(values + "]}");
    ASSERT_EQ(STATUS_OK, g.status) << g.error;
    EXPECT_TRUE(matches(g.get(), "\"value 34993\""));
    EXPECT_FALSE(matches(g.get(), "\"value 34992\""));
}

} // namespace
