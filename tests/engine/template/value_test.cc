/* Lists, dicts and JSON as values. */
#include "template_fixture.h"

using namespace templates;

namespace {

TEST(Value, JsonKeepsOrderAndKinds)
{
    EXPECT_EQ(R"({"z": 1, "a": [null, true, 2.5, "x"], "m": {}})",
              rendered("{{ v|tojson }}", R"({"v": {"z": 1, "a": [null, true, 2.5, "x"], "m": {}}})")
                  .output);
    EXPECT_EQ("3", rendered("{{ v|length }}", R"({"v": "a\u0000b"})").output);
    EXPECT_EQ("9223372036854775807", rendered("{{ v }}", R"({"v": 9223372036854775807})").output);
}

TEST(Value, KeysThatAreEqualAreOne)
{
    TestRun run;
    ASSERT_TRUE(run.tries([](struct run *r) {
        struct dict *dict = dict_new(r, 0);
        dict_set(r, dict, value_integer(1), value_string("a"));
        dict_set(r, dict, value_real(1), value_string("b"));
        dict_set(r, dict, value_bool(true), value_string("c"));
        EXPECT_EQ(1u, dict->count);
        EXPECT_EQ("c", str(dict_get(r, dict, value_integer(1))->text));
        EXPECT_EQ(nullptr, dict_get(r, dict, value_list(VALUE_LIST, list_new(r, 0))));
    }));
    EXPECT_FALSE(run.tries([](struct run *r) {
        dict_set(r, dict_new(r, 0), value_list(VALUE_LIST, list_new(r, 0)), value_none());
    }));
    EXPECT_EQ("test, line 1: a list cannot be a key", run.error());
}

TEST(Value, ManyMembersAreFound)
{
    std::string json = "{\"v\": {";
    for (int i = 0; i < 300; i++)
        json += (i ? ",\"k" : "\"k") + std::to_string(i) + "\": " + std::to_string(i);
    EXPECT_EQ("299 300", rendered("{{ v.k299 }} {{ v|length }}", json + "}}").output);
}

} // namespace
