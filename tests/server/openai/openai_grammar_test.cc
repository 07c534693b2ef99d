#include "server/openai/openai_grammar.h"

#include "tests/server/openai/openai_support.h"

namespace {

using openai_test::Json;
using openai_test::Parse;

struct Grammar {
    Json body;
    struct openai_refusal refusal = {};
    struct openai_grammar grammar = {};
    struct grammar *compiled = nullptr;
    bool read;

    explicit Grammar(const std::string &text) : body(Parse(text))
    {
        struct openai_fields f = {body.get(), "", &refusal};
        read = openai_grammar_read(&grammar, &f);
        EXPECT_EQ(read, !refusal.refused);
    }
    ~Grammar()
    {
        grammar_close(compiled);
        openai_grammar_reset(&grammar);
    }
    bool Compile()
    {
        bool ok = read && openai_grammar_compile(&grammar, &compiled, &refusal);
        EXPECT_EQ(ok, !refusal.refused) << refusal.why.text;
        return ok;
    }
};

TEST(OpenaiGrammar, NothingAndTextAreFree)
{
    for (const char *body : {"{}", R"({"response_format":null,"structured_outputs":null})",
                             R"({"response_format":{"type":"text"}})"}) {
        Grammar g(body);
        EXPECT_TRUE(g.Compile()) << body;
        EXPECT_EQ(OPENAI_GRAMMAR_NONE, g.grammar.kind);
        EXPECT_EQ(nullptr, g.compiled);
    }
}

TEST(OpenaiGrammar, ChoicesShareWhatWasCompiledOnce)
{
    Grammar g(R"({"response_format":{"type":"json_object"}})");
    ASSERT_TRUE(g.Compile());
    struct grammar *again = nullptr;
    ASSERT_TRUE(openai_grammar_compile(&g.grammar, &again, &g.refusal));
    EXPECT_EQ(g.compiled, again);
    grammar_close(again);
}

TEST(OpenaiGrammar, ASchemaOfTheServersOwn)
{
    Grammar g("{}");
    openai_grammar_take(&g.grammar, "tools", json_pack("{s:s}", "type", "object"));
    EXPECT_TRUE(g.Compile());
    EXPECT_NE(nullptr, g.compiled);
    Grammar bad("{}");
    openai_grammar_take(&bad.grammar, "tools", json_pack("{s:{}}", "not"));
    EXPECT_FALSE(openai_grammar_compile(&bad.grammar, &bad.compiled, &bad.refusal));
    EXPECT_STREQ("tools", bad.refusal.param);
}

TEST(OpenaiGrammar, EveryFormCompiles)
{
    const struct {
        enum openai_grammar_kind kind;
        const char *body;
    } cases[] = {
        {OPENAI_GRAMMAR_OBJECT, R"({"response_format":{"type":"json_object"}})"},
        {OPENAI_GRAMMAR_SCHEMA,
         R"({"response_format":{"type":"json_object","schema":{"type":"object"}}})"},
        {OPENAI_GRAMMAR_SCHEMA,
         R"({"response_format":{"type":"json_schema","json_schema":{"name":"n",
            "strict":true,"schema":{"type":"object","properties":{"a":{"type":"integer"}}}}}})"},
        {OPENAI_GRAMMAR_SCHEMA, R"({"structured_outputs":{"json":{"type":"boolean"}}})"},
        {OPENAI_GRAMMAR_SCHEMA, R"({"structured_outputs":{"json":"{\"type\":\"boolean\"}"}})"},
        {OPENAI_GRAMMAR_OBJECT, R"({"structured_outputs":{"json_object":true}})"},
        {OPENAI_GRAMMAR_REGEX, R"({"structured_outputs":{"regex":"[a-z]+","json_object":false}})"},
        {OPENAI_GRAMMAR_CHOICE, R"({"structured_outputs":{"choice":["yes","no"]}})"},
        {OPENAI_GRAMMAR_GBNF, R"({"structured_outputs":{"grammar":"root ::= \"a\" | \"b\""}})"},
        {OPENAI_GRAMMAR_CHOICE,
         R"({"response_format":{"type":"text"},"structured_outputs":{"choice":["a"]}})"},
    };
    for (const auto &c : cases) {
        Grammar g(c.body);
        EXPECT_EQ(c.kind, g.grammar.kind) << c.body << g.refusal.why.text;
        EXPECT_TRUE(g.Compile()) << c.body;
        EXPECT_NE(nullptr, g.compiled) << c.body;
    }
}

TEST(OpenaiGrammar, RefusalsNameTheField)
{
    const struct {
        const char *param, *body;
    } cases[] = {
        {"response_format", R"({"response_format":"json"})"},
        {"response_format", R"({"response_format":{}})"},
        {"response_format", R"({"response_format":{"type":"xml"}})"},
        {"response_format.json_schema", R"({"response_format":{"type":"json_schema"}})"},
        {"response_format.json_schema",
         R"({"response_format":{"type":"json_schema","json_schema":1}})"},
        {"response_format.json_schema.schema",
         R"({"response_format":{"type":"json_schema","json_schema":{"name":"x"}}})"},
        {"structured_outputs", R"({"structured_outputs":[]})"},
        {"structured_outputs", R"({"structured_outputs":{}})"},
        {"structured_outputs", R"({"structured_outputs":{"json_object":false}})"},
        {"structured_outputs", R"({"structured_outputs":{"regex":"a","choice":["b"]}})"},
        {"structured_outputs",
         R"({"response_format":{"type":"json_object"},"structured_outputs":{"regex":"a"}})"},
        {"structured_outputs.structural_tag",
         R"({"structured_outputs":{"structural_tag":"{...}"}})"},
        {"structured_outputs.regex", R"({"structured_outputs":{"regex":1}})"},
        {"structured_outputs.grammar", R"({"structured_outputs":{"grammar":[]}})"},
        {"structured_outputs.choice", R"({"structured_outputs":{"choice":"yes"}})"},
        {"structured_outputs.choice", R"({"structured_outputs":{"choice":[]}})"},
        {"structured_outputs.choice", R"({"structured_outputs":{"choice":["a",1]}})"},
        {"structured_outputs.json_object", R"({"structured_outputs":{"json_object":1}})"},
        {"structured_outputs.json", R"({"structured_outputs":{"json":"{"}})"},
    };
    for (const auto &c : cases) {
        Grammar g(c.body);
        EXPECT_FALSE(g.read) << c.body;
        EXPECT_STREQ(c.param, g.refusal.param) << c.body << ": " << g.refusal.why.text;
        EXPECT_EQ(HTTP_BAD_VALUE, g.refusal.problem);
    }
}

TEST(OpenaiGrammar, WhatTheGrammarRefusesIsTheClients)
{
    Grammar schema(R"({"response_format":{"type":"json_schema","json_schema":{"schema":
        {"type":"object","properties":{"a":{"type":"integer","multipleOf":7}}}}}})");
    EXPECT_FALSE(schema.Compile());
    EXPECT_EQ(HTTP_BAD_VALUE, schema.refusal.problem);
    EXPECT_STREQ("response_format", schema.refusal.param);
    EXPECT_NE(nullptr, strstr(schema.refusal.why.text, "multipleOf")) << schema.refusal.why.text;
    Grammar regex(R"({"structured_outputs":{"regex":"(a"}})");
    EXPECT_FALSE(regex.Compile());
    EXPECT_STREQ("structured_outputs", regex.refusal.param);
}

} // namespace
