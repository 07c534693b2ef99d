#include "server/openai/openai_tools.h"

#include "engine/tokenizer/tokenizer.h"
#include "tests/server/openai/openai_support.h"

namespace {

using openai_test::Json;
using openai_test::Parse;
using openai_test::Tokenizer;

struct Tools {
    Json body;
    struct openai_tools tools = {};
    struct openai_grammar grammar = {};
    struct openai_refusal refusal = {};

    explicit Tools(const std::string &text) : body(Parse(text)) {}
    ~Tools()
    {
        openai_tools_reset(&tools);
        openai_grammar_reset(&grammar);
    }
    Tools(const Tools &) = delete;
    Tools &operator=(const Tools &) = delete;
    bool Read()
    {
        struct openai_fields f = {body.get(), "", &refusal};
        bool ok = openai_tools_read(&tools, &f);
        EXPECT_EQ(ok, !refusal.refused) << refusal.why.text;
        return ok;
    }
    bool Demand()
    {
        bool ok = openai_tools_demand(&tools, &grammar, &refusal);
        EXPECT_EQ(ok, !refusal.refused) << refusal.why.text;
        return ok;
    }
};

std::string Function(const std::string &name, const std::string &parameters = "")
{
    return R"({"type":"function","function":{"name":")" + name + "\"" +
           (parameters.empty() ? "" : ",\"parameters\":" + parameters) + "}}";
}
std::string Body(const std::string &tools, const std::string &more = "")
{
    return "{\"tools\":[" + tools + "]" + (more.empty() ? "" : "," + more) + "}";
}

TEST(OpenaiTools, Choices)
{
    const struct {
        enum openai_tool_choice choice;
        std::string body;
    } cases[] = {
        {OPENAI_CHOICE_NONE, "{}"},
        {OPENAI_CHOICE_NONE, R"({"tools":null,"tool_choice":"auto"})"},
        {OPENAI_CHOICE_NONE, Body("", R"("tool_choice":"none")")},
        {OPENAI_CHOICE_AUTO, Body(Function("f"))},
        {OPENAI_CHOICE_AUTO, Body(Function("f"), R"("tool_choice":null)")},
        {OPENAI_CHOICE_AUTO, Body(Function("f"), R"("tool_choice":"auto")")},
        {OPENAI_CHOICE_NONE, Body(Function("f"), R"("tool_choice":"none")")},
        {OPENAI_CHOICE_REQUIRED, Body(Function("f"), R"("tool_choice":"required")")},
        {OPENAI_CHOICE_NAMED,
         Body(
             Function("a.b-c_D9") + "," + Function("g"),
             R"("tool_choice":{"type":"function","function":{"name":"g"}},)"
             R"("parallel_tool_calls":false)")},
    };
    for (const auto &c : cases) {
        Tools t(c.body);
        ASSERT_TRUE(t.Read()) << c.body << t.refusal.why.text;
        EXPECT_EQ(c.choice, t.tools.choice) << c.body;
    }
    Tools named(cases[8].body);
    ASSERT_TRUE(named.Read());
    ASSERT_EQ(2u, named.tools.count);
    EXPECT_EQ(1u, named.tools.named);
    EXPECT_STREQ("a.b-c_D9", named.tools.names[0]);
    EXPECT_TRUE(named.tools.one_call);
}

TEST(OpenaiTools, RefusalsNameTheField)
{
    const struct {
        std::string param, body;
    } cases[] = {
        {"tools", R"({"tools":{}})"},
        {"tools", Body("1")},
        {"tools[0].type", Body("{}")},
        {"tools[0].type", Body(R"({"type":"custom","custom":{"name":"f"}})")},
        {"tools[0].type", Body(R"({"type":1})")},
        {"tools[0].function", Body(R"({"type":"function"})")},
        {"tools[0].function", Body(R"({"type":"function","function":"f"})")},
        {"tools[1].function.name", Body(Function("f") + R"(,{"type":"function","function":{}})")},
        {"tools[1].function.name", Body(Function("f") + "," + Function("f"))},
        {"tools[0].function.name", Body(Function(""))},
        {"tools[0].function.name", Body(Function("two words"))},
        {"tools[0].function.name", Body(Function("a\\u0000b"))},
        {"tools[0].function.name", Body(Function("caf\xc3\xa9"))},
        {"tools[0].function.name", Body(Function(std::string(65, 'x')))},
        {"tools[0].function.parameters", Body(Function("f", "[]"))},
        {"tools[0].function.description",
         Body(R"({"type":"function","function":{"name":"f","description":1}})")},
        {"tools[0].function.strict",
         Body(R"({"type":"function","function":{"name":"f","strict":1}})")},
        {"tool_choice", Body("", R"("tool_choice":"required")")},
        {"tool_choice", Body(Function("f"), R"("tool_choice":"any")")},
        {"tool_choice", Body(Function("f"), R"("tool_choice":true)")},
        {"tool_choice", Body(Function("f"), R"("tool_choice":{})")},
        {"tool_choice", Body(Function("f"), R"("tool_choice":{"type":"allowed_tools"})")},
        {"tool_choice", Body(Function("f"), R"("tool_choice":{"type":"function","function":{}})")},
        {"tool_choice",
         Body(Function("f"), R"("tool_choice":{"type":"function","function":{"name":"g"}})")},
        {"tool_choice", Body("", R"("tool_choice":{"type":"function","function":{"name":"g"}})")},
        {"tool_choice.function.name",
         Body(Function("f"), R"("tool_choice":{"type":"function","function":{"name":1}})")},
        {"parallel_tool_calls", Body(Function("f"), R"("parallel_tool_calls":1)")},
    };
    for (const auto &c : cases) {
        Tools t(c.body);
        EXPECT_FALSE(t.Read()) << c.body;
        EXPECT_EQ(c.param, t.refusal.param) << c.body << t.refusal.why.text;
        EXPECT_EQ(HTTP_BAD_VALUE, t.refusal.problem);
    }
    std::string many = Function("f0");
    for (int i = 1; i <= OPENAI_TOOLS_MAX; i++)
        many += "," + Function("f" + std::to_string(i));
    Tools t(Body(many));
    EXPECT_FALSE(t.Read());
    EXPECT_STREQ("tools", t.refusal.param);
}

/* ---- demands ---- */

/* Whether the text can be the whole answer: pushed token by token, as it would be sampled. */
bool Allows(const struct grammar *grammar, const Tokenizer &tokenizer, const std::string &text)
{
    struct grammar_vocab *vocab = nullptr;
    struct grammar_state *state = nullptr;
    struct error error = {};
    uint32_t eos = tokenizer.id("<|im_end|>");
    bool ok = grammar_vocab_open(&vocab, tokenizer.get(), 512, &eos, 1, &error) == STATUS_OK &&
              grammar_state_open(&state, grammar, vocab, &error) == STATUS_OK;
    EXPECT_TRUE(ok) << error.text;
    for (uint32_t token : tokenizer.encode(text))
        ok = ok && grammar_state_push(state, token);
    ok = ok && grammar_state_may_end(state);
    grammar_state_close(state);
    grammar_vocab_close(vocab);
    return ok;
}

const char weather[] =
    R"({"type":"object","properties":{"city":{"type":"string"},"days":{"$ref":"#/$defs/n"}},)"
    R"("required":["city"],"$defs":{"n":{"type":"integer","minimum":1,"maximum":7}}})";
const char tree[] = R"({"properties":{"left":{"$ref":"#"},"v":{"enum":[0,1]}},"required":["v"]})";

TEST(OpenaiTools, ARequiredAnswerIsAListOfCalls)
{
    Tokenizer tokenizer;
    Tools t(
        Body(Function("weather", weather) + "," + Function("tree", tree) + "," + Function("now"),
             R"("tool_choice":"required")"));
    ASSERT_TRUE(t.Read() && t.Demand()) << t.refusal.why.text;
    const std::pair<bool, std::string> cases[] = {
        {true, R"([{"name":"weather","arguments":{"city":"Rome"}}])"},
        {true, R"([{"name": "weather", "arguments": {"city": "Rome", "days": 7}}])"},
        {false, R"([{"name":"weather","arguments":{"city":"Rome","days":8}}])"},
        {false, R"([{"name":"weather","arguments":{}}])"},
        {true, R"([{"name":"tree","arguments":{"left":{"left":{"v":0},"v":1},"v":0}}])"},
        {false, R"([{"name":"tree","arguments":{"left":{"v":2},"v":0}}])"},
        {false, R"([{"name":"tree","arguments":{"city":"Rome"}}])"},
        {true, R"([{"name":"now","arguments":{}},{"name":"now","arguments":{}}])"},
        {false, R"([{"name":"now","arguments":{"a":1}}])"},
        {false, R"([{"name":"other","arguments":{}}])"},
        {false, R"([{"name":"now"}])"},
        {false, "[]"},
        {false, "{}"},
    };
    for (const auto &c : cases)
        EXPECT_EQ(c.first, Allows(t.grammar.compiled, tokenizer, c.second)) << c.second;
}

TEST(OpenaiTools, OneCallIsOne)
{
    Tokenizer tokenizer;
    Tools t(Body(Function("now"), R"("tool_choice":"required","parallel_tool_calls":false)"));
    ASSERT_TRUE(t.Read() && t.Demand()) << t.refusal.why.text;
    EXPECT_TRUE(Allows(t.grammar.compiled, tokenizer, R"([{"name":"now","arguments":{}}])"));
    EXPECT_FALSE(Allows(t.grammar.compiled, tokenizer,
                        R"([{"name":"now","arguments":{}},{"name":"now","arguments":{}}])"));
}

TEST(OpenaiTools, ANamedAnswerIsItsArguments)
{
    Tokenizer tokenizer;
    Tools t(Body(Function("now") + "," + Function("tree", tree) + "," +
                     Function("bad", R"({"not":{}})"),
                 R"("tool_choice":{"type":"function","function":{"name":"tree"}})"));
    ASSERT_TRUE(t.Read() && t.Demand()) << "of the others nothing is asked: " << t.refusal.why.text;
    EXPECT_TRUE(Allows(t.grammar.compiled, tokenizer, R"({"left":{"v":1},"v":0})"));
    EXPECT_FALSE(Allows(t.grammar.compiled, tokenizer, R"({"left":1,"v":0})"));
    EXPECT_FALSE(Allows(t.grammar.compiled, tokenizer, "1"));
}

TEST(OpenaiTools, ParametersOutsideTheSubsetAreNamed)
{
    const struct {
        std::string parameters, word;
    } cases[] = {
        {R"({"type":"object","properties":{"a":{"not":{}}}})", "$.properties.a.not"},
        {R"({"type":"object","properties":{"a":{"$ref":"#/$defs/gone"}}})", "$ref"},
        {R"({"type":"string"})", "must be object"},
        {R"({"type":["object","null"]})", "must be object"},
    };
    for (const auto &c : cases) {
        Tools t(Body(Function("ok") + "," + Function("f", c.parameters),
                     R"("tool_choice":"required")"));
        ASSERT_TRUE(t.Read());
        EXPECT_FALSE(t.Demand()) << c.parameters;
        EXPECT_STREQ("tools[1].function.parameters", t.refusal.param);
        EXPECT_NE(std::string::npos, std::string(t.refusal.why.text).find(c.word))
            << t.refusal.why.text;
    }
}

} // namespace
