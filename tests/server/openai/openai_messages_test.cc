#include "server/openai/openai_messages.h"

#include "tests/server/openai/openai_support.h"

namespace {

using openai_test::Dump;
using openai_test::Json;
using openai_test::Parse;

struct Messages {
    Json body, out;
    struct openai_refusal refusal = {};

    explicit Messages(const std::string &list, bool developer = false)
        : body(Parse("{\"messages\":" + list + "}"))
    {
        struct openai_fields f = {body.get(), "", &refusal};
        out.reset(openai_messages(&f, developer));
        EXPECT_EQ(!out, refusal.refused);
    }
};

TEST(OpenaiMessages, TextStaysAndPartsAreJoined)
{
    Messages m(R"([{"role":"system","content":"s"},
                   {"role":"user","name":"bob","content":[{"type":"text","text":"a"},"b",
                                             {"type":"text","text":"c\u0000"}]},
                   {"role":"assistant","content":[{"type":"refusal","refusal":"no"}]},
                   {"role":"user","content":[]}])");
    EXPECT_EQ(
        R"([{"role":"system","content":"s"},)"
        R"({"role":"user","name":"bob","content":"a\nb\nc\u0000"},)"
        R"({"role":"assistant","content":"no"},{"role":"user","content":""}])",
        Dump(m.out.get()))
        << m.refusal.why.text;
}

TEST(OpenaiMessages, AssistantsMaySayNothing)
{
    Messages m(R"([{"role":"assistant","content":null},{"role":"assistant"}])");
    EXPECT_EQ(R"([{"role":"assistant","content":""},{"role":"assistant","content":""}])",
              Dump(m.out.get()));
}

TEST(OpenaiMessages, ArgumentsOfToolCallsBecomeObjects)
{
    Messages m(R"([{"role":"assistant","tool_calls":[
        {"id":"1","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}},
        {"id":"2","type":"function","function":{"name":"g","arguments":"not json"}},
        {"id":"3","type":"function","function":{"name":"h","arguments":"[1]"}}]},
        {"role":"tool","tool_call_id":"1","content":"4"}])");
    EXPECT_EQ("{\"x\":1}",
              openai_test::Text(m.out.get(), {"0", "tool_calls", "0", "function", "arguments"}));
    EXPECT_EQ("\"not json\"",
              openai_test::Text(m.out.get(), {"0", "tool_calls", "1", "function", "arguments"}));
    EXPECT_EQ("\"[1]\"",
              openai_test::Text(m.out.get(), {"0", "tool_calls", "2", "function", "arguments"}));
    EXPECT_EQ("\"{\\\"x\\\":1}\"", openai_test::Text(m.body.get(), {"messages", "0", "tool_calls",
                                                                    "0", "function", "arguments"}));
}

TEST(OpenaiMessages, NoToolCallsAreNone)
{
    Messages m(R"([{"role":"assistant","content":"a","tool_calls":null},
                   {"role":"assistant","content":"b","tool_calls":[]}])");
    EXPECT_EQ(R"([{"role":"assistant","content":"a"},{"role":"assistant","content":"b"}])",
              Dump(m.out.get()));
}

TEST(OpenaiMessages, ThoughtsComeUnderTheNameThatTemplatesRead)
{
    Messages m(R"([{"role":"assistant","content":"a","reasoning":"r"},
                   {"role":"assistant","content":"b","reasoning":"r","reasoning_content":"s"},
                   {"role":"assistant","content":"c","reasoning":"r","reasoning_content":null},
                   {"role":"assistant","content":"d","reasoning":{}}])");
    auto thoughts = [&](const char *i) {
        return openai_test::Text(m.out.get(), {i, "reasoning_content"});
    };
    EXPECT_EQ("\"r\"", thoughts("0"));
    EXPECT_EQ("\"s\"", thoughts("1"));
    EXPECT_EQ("\"r\"", thoughts("2"));
    EXPECT_EQ("(nothing)", thoughts("3"));
}

TEST(OpenaiMessages, DevelopersAreTheSystemUnlessTheTemplateKnowsThem)
{
    const char *list = R"([{"role":"developer","content":"x"}])";
    EXPECT_EQ("\"system\"", openai_test::Text(Messages(list).out.get(), {"0", "role"}));
    EXPECT_EQ("\"developer\"", openai_test::Text(Messages(list, true).out.get(), {"0", "role"}));
}

TEST(OpenaiMessages, RefusalsNameThePlace)
{
    const struct {
        const char *list, *param, *why;
    } cases[] = {
        {"null", "messages", "messages is missing"},
        {"[]", "messages", "messages is empty"},
        {"{}", "messages", "messages must be a list, not an object"},
        {"[1]", "messages", "messages[0] must be an object"},
        {R"([{"content":"x"}])", "messages[0].role", "messages[0].role is missing"},
        {R"([{"role":"","content":"x"}])", "messages[0].role", "messages[0].role is missing"},
        {R"([{"role":1,"content":"x"}])", "messages[0].role",
         "messages[0].role must be a string, not a number"},
        {R"([{"role":"user"}])", "messages[0].content", "messages[0].content is missing"},
        {R"([{"role":"user","content":1}])", "messages[0].content",
         "messages[0].content must be a string or a list of parts, not a number"},
        {R"([{"role":"user","content":"ok"},
             {"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}])",
         "messages[1].content",
         "messages[1].content[0].type is 'image_url', this model reads text only"},
        {R"([{"role":"user","content":[{"type":"text"}]}])", "messages[0].content",
         "messages[0].content[0].text must be a string"},
        {R"([{"role":"user","content":[7]}])", "messages[0].content",
         "messages[0].content[0] must be an object with a type"},
    };
    for (const auto &c : cases) {
        Messages m(c.list);
        EXPECT_STREQ(c.param, m.refusal.param);
        EXPECT_STREQ(c.why, m.refusal.why.text);
    }
}

} // namespace
