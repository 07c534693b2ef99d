#include "server/openai/openai_parts.h"

#include <random>

#include "tests/server/openai/openai_support.h"

namespace {

/* What came out, pieces of one kind put together: "thought(..)", "content(..)", "call f(..)". */
struct Told {
    std::string text;
    int kind = -1;
    size_t pieces = 0;

    static void Take(void *arg, const struct openai_part *part)
    {
        static_cast<Told *>(arg)->Add(*part);
    }
    void Add(const struct openai_part &part)
    {
        std::string said(part.text, part.bytes);
        EXPECT_LT(0u, part.bytes);
        pieces++;
        if (part.kind == OPENAI_PART_CALL) {
            Close();
            text += "call " + std::to_string(part.call) + " " + said + "(";
        } else if (part.kind == OPENAI_PART_ARGUMENTS) {
            EXPECT_TRUE(kind == OPENAI_PART_CALL || kind == OPENAI_PART_ARGUMENTS)
                << "no call: " << said;
            text += said;
        } else {
            if (kind != (int)part.kind) {
                Close();
                text += part.kind == OPENAI_PART_THOUGHT ? "thought(" : "content(";
            }
            text += said;
        }
        kind = part.kind;
    }
    void Close()
    {
        if (kind >= 0)
            text += ") ";
        kind = -1;
    }
};

const char *const names[] = {"f", "get_weather"};

struct openai_reading Reading(enum openai_tool_parser parser)
{
    struct openai_reading r = {};
    r.syntax = openai_syntax_find(parser, "");
    r.names = names;
    r.name_count = 2;
    return r;
}

std::string Read(const struct openai_reading &r, const std::vector<std::string> &pieces)
{
    Told told;
    struct openai_parts parts;
    openai_parts_init(&parts, &r);
    for (const auto &piece : pieces) {
        /* Memory of its own: reading behind it is caught. */
        std::vector<char> exact(piece.begin(), piece.end());
        openai_parts_push(&parts, exact.data(), exact.size(), Told::Take, &told);
    }
    openai_parts_finish(&parts, Told::Take, &told);
    EXPECT_FALSE(parts.failed);
    openai_parts_reset(&parts);
    told.Close();
    return told.text;
}

/* However the text is cut, the same comes out. */
void Expect(const std::string &wanted, const struct openai_reading &r, const std::string &text)
{
    EXPECT_EQ(wanted, Read(r, {text})) << text;
    std::vector<std::string> bytes;
    for (size_t i = 0; i < text.size(); i++) {
        bytes.push_back(text.substr(i, 1));
        EXPECT_EQ(wanted, Read(r, {text.substr(0, i), text.substr(i)})) << text << " cut at " << i;
    }
    EXPECT_EQ(wanted, Read(r, bytes)) << text << " byte by byte";
    std::minstd_rand random(1);
    for (int round = 0; round < 50; round++) {
        std::vector<std::string> pieces;
        for (size_t at = 0; at < text.size();) {
            size_t n = 1 + random() % 9;
            pieces.push_back(text.substr(at, n));
            at += n;
        }
        EXPECT_EQ(wanted, Read(r, pieces)) << text << " at random";
    }
}

TEST(OpenaiParts, ZeroedItIsAllContent)
{
    struct openai_reading r = {};
    Expect("content(<think>a</think> <tool_call>{} \n) ", r, "<think>a</think> <tool_call>{} \n");
    Expect("", r, "");
}

TEST(OpenaiParts, CallsOfHermes)
{
    auto r = Reading(OPENAI_TOOLS_HERMES);
    const struct {
        const char *wanted, *text;
    } cases[] = {
        {"content(Hello.\n) ", "Hello.\n"},
        {R"(call 0 f({"a": 1}) )",
         "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>"},
        {R"(content(Look:) call 0 f({}) call 1 g({"b":[{"c":"}"}]}) )",
         "Look:\n\n<tool_call>\n{\"name\":\"f\",\"arguments\":{}}\n</tool_call>\n<tool_call>"
         R"({"name":"g","arguments":{"b":[{"c":"}"}]}}</tool_call>)"
         "\n"},
        {R"(call 0 f({}) content( and so on) )",
         R"(<tool_call>{"name":"f","arguments":{}}</tool_call> and so on)"},
        /* The order of members, members nobody asked for, the other name of arguments. */
        {R"(call 0 f({"a":"</tool_call>"}) )",
         R"(<tool_call>{"arguments":{"a":"</tool_call>"},"name":"f"}</tool_call>)"},
        {R"(call 0 f({"name":"g"}) )",
         R"(<tool_call>{"id":[1,{"name":"x"}],)"
         R"("name":"f","parameters":{"name":"g"},"n":2.5e1}</tool_call>)"},
        /* Without arguments, with none, with JSON in a string. */
        {"call 0 f({}) ", R"(<tool_call>{"name":"f"}</tool_call>)"},
        {"call 0 f({}) ", R"(<tool_call>{"name":"f","arguments":null}</tool_call>)"},
        {R"(call 0 f({"a":"é"}) )",
         R"(<tool_call>{"name":"f","arguments":"{\"a\":\"\u00e9\"}"}</tool_call>)"},
        {"call 0 f({}) ", R"(<tool_call>{"name":"f","arguments":""}</tool_call>)"},
        {R"(call 0 f("\u0000") )", R"(<tool_call>{"name":"f","arguments":"\u0000"}</tool_call>)"},
        /* A list where one call was expected. */
        {"call 0 f({}) call 1 g({}) ",
         R"(<tool_call>[{"name":"f"}, {"name":"g","arguments":{}}]</tool_call>)"},
        /* The end of the mark, or of the object, is missing. */
        {R"(call 0 f({"a":1}) )", R"(<tool_call>{"name":"f","arguments":{"a":1}})"},
        {R"(call 0 f({"a":1}) )", R"(<tool_call>{"name":"f","arguments":{"a":1}}</tool)"},
        {R"(call 0 f({"a":1}) call 1 g({}) )",
         R"(<tool_call>{"name":"f","arguments":{"a":1}</tool_call>)"
         R"(<tool_call>{"name":"g"}</tool_call>)"},
        /* Cut while the arguments are being written. */
        {R"(call 0 f({"a": [1,) )", R"(<tool_call>{"name":"f","arguments":{"a": [1,)"},
        /* Arguments that are no JSON go on to the end of the call. */
        {R"(call 0 f({"a": yes, "b": 2}}) content( so) )",
         R"(<tool_call>{"name":"f","arguments":{"a": yes, "b": 2}}</tool_call> so)"},
    };
    for (const auto &c : cases)
        Expect(c.wanted, r, c.text);
}

TEST(OpenaiParts, WhatIsNoCallIsContent)
{
    auto r = Reading(OPENAI_TOOLS_HERMES);
    for (const char *text : {
             "<tool_call", "a < b <tool_calls>", "<tool_call>", "x <tool_call> \n", "<tool_call>hm",
             "<tool_call>{\"name\"", "<tool_call>{\"name\":\"f\"", "<tool_call>[",
             "<tool_call>{\"name\":\"f\",\"arguments\":1}</tool_call>",
             "<tool_call>{\"name\":\"f\",\"arguments\":[{}]}</tool_call>",
             "<tool_call>{\"name\":1,\"arguments\":{}}</tool_call>",
             "<tool_call>{\"name\":\"\",\"arguments\":{}}</tool_call>",
             "<tool_call>{\"name\":\"\\u0000\",\"arguments\":{}}</tool_call>",
             "<tool_call>{\"name\":\"\\ud800\",\"arguments\":{}}</tool_call>",
             "<tool_call>{\"arguments\":{\"a\":1}}</tool_call>", "<tool_call>{}</tool_call>",
             "<tool_call>{name: \"f\"}</tool_call>", "<tool_call>[1]</tool_call>",
             "<tool_call><tool_call", "<function=f></function>",
         })
        Expect("content(" + std::string(text) + ") ", r, text);
    /* A mark within what was none. */
    Expect(R"(content(<tool_call>) call 0 f({}) )", r,
           R"(<tool_call> <tool_call>{"name":"f","arguments":{}}</tool_call>)");
    Expect(R"(content(<tool_call>{"name": oh) call 0 f({}) )", r,
           R"(<tool_call>{"name": oh <tool_call>{"name":"f"}</tool_call>)");
    /* In a list, what follows the calls that were. */
    Expect(R"(call 0 f({}) content(, 2]</tool_call>) )", r,
           R"(<tool_call>[{"name":"f"}, 2]</tool_call>)");
    Expect(R"(call 0 f({}) content(; no) )", r, R"(<tool_call>[{"name":"f"}; no)");
}

TEST(OpenaiParts, CallsOfMistral)
{
    auto r = Reading(OPENAI_TOOLS_MISTRAL);
    Expect(
        R"(call 0 f({"a": [1]}) call 1 f({}) )", r,
        R"([TOOL_CALLS] [{"name": "f", "arguments": {"a": [1]}}, {"name": "f", "arguments": {}}])");
    Expect(R"(content(So) call 0 f({}) )", r,
           R"(So[TOOL_CALLS][{"name":"f","arguments":{},"id":"a"}])");
    Expect("content([TOOL_CALL] [a]) ", r, "[TOOL_CALL] [a]");
    Expect(R"(call 0 f({"a":) )", r, R"([TOOL_CALLS] [{"name":"f","arguments":{"a":)");
}

TEST(OpenaiParts, CallsOfLlama)
{
    auto r = Reading(OPENAI_TOOLS_LLAMA3);
    Expect(R"(call 0 f({"a": 1}) )", r, R"( {"name": "f", "parameters": {"a": 1}})");
    Expect(R"(call 0 f({}) call 1 get_weather({"x":2}) )", r,
           R"({"name":"f","parameters":{}}; {"name":"get_weather","parameters":{"x":2}})");
    Expect(R"(call 0 other({}) )", r, R"(<|python_tag|>{"name":"other","parameters":{}})");
    /* JSON for its own sake, and calls that do not begin the answer. */
    for (const char *text :
         {R"({"name": "Bob", "parameters": {"a": 1}})", R"({"name": "Bob"})", R"({"a":1})",
          R"([{"name":"f","parameters":{}}])", R"(It is {"name":"f","parameters":{}})", " \n", "{"})
        Expect("content(" + std::string(text) + ") ", r, text);
}

TEST(OpenaiParts, CallsOfGranite)
{
    auto r = Reading(OPENAI_TOOLS_GRANITE);
    Expect(R"(call 0 f({"a":1}) call 1 f({}) )", r,
           R"(<|tool_call|>[{"name":"f","arguments":{"a":1}},{"name":"f","arguments":{}}])");
    Expect(R"(call 0 f({"a":1}) )", r, R"(<tool_call>[{"name":"f","arguments":{"a":1}}])");
    Expect(R"(call 0 f({"a":1}) )", r,
           "<tool_call>\n{\"name\":\"f\",\"arguments\":{\"a\":1}}\n</tool_call>");
    Expect("content(<|tool_cal|>) ", r, "<|tool_cal|>");
}

const char schema[] =
    R"([{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":)"
    R"({"city":{"type":"string"},"days":{"type":"integer"}}}}}])";

TEST(OpenaiParts, CallsOfQwenCoder)
{
    auto tools = openai_test::Parse(schema);
    auto r = Reading(OPENAI_TOOLS_QWEN3_CODER);
    r.tools = tools.get();
    const std::string open = "<tool_call>\n<function=f>\n", close = "\n</function>\n</tool_call>";
    auto field = [](const std::string &key, const std::string &value) {
        return "<parameter=" + key + ">\n" + value + "\n</parameter>\n";
    };
    Expect(R"(content(So) call 0 f({"city": "Rome\n\"x\"", "days": 3}) )", r,
           "So\n" + open + field("city", "Rome\n\"x\"") + field("days", "3") + close);
    Expect(R"(call 0 f({"city": "12"}) call 1 g({"a": {"b":[1]}, "c": "yes"}) )", r,
           open + field("city", "12") + close + "\n<tool_call><function=g>" +
               field("a", "{\"b\":[1]}") + field("c", "yes") + "</function></tool_call>");
    Expect("call 0 f({}) ", r, open + close);
    Expect("call 0 f({}) content( more) ", r, "<function=f></function> more");
    Expect(R"(call 0 f({"days": ""}) )", r, open + "<parameter=days></parameter></function>");
    Expect(R"(call 0 f({"city": "\n"}) )", r, open + field("city", "\n") + close);
    /* The end of the call is missing, or it is cut. */
    Expect(R"(call 0 f({"city": "a"}) )", r, open + field("city", "a") + "</tool_call>");
    Expect(R"(call 0 f({"city": "Ro) )", r, open + "<parameter=city>\nRo");
    Expect(R"(call 0 f({) )", r, open + "<parameter=ci");
    Expect(R"(call 0 f({}) content(oh) )", r, open + "oh");
    for (const char *text :
         {"<tool_call>\n<func", "<tool_call>{\"name\":\"f\"}</tool_call>", "<function=>",
          "<function=a b></function>", "<function=f", "<tool_call><tool_call>"})
        Expect("content(" + std::string(text) + ") ", r, text);
}

TEST(OpenaiParts, CallsOfGlm)
{
    auto tools = openai_test::Parse(schema);
    auto r = Reading(OPENAI_TOOLS_GLM);
    r.tools = tools.get();
    r.thinks = true;
    Expect(R"(thought(Hm) content(Look.) call 0 f({"city": "3", "days": 3}) call 1 g({}) )", r,
           "\n<think>Hm</think>\nLook.\n<tool_call>f\n<arg_key>city</arg_key>\n<arg_value>3</"
           "arg_value>\n"
           "<arg_key>days</arg_key>\n<arg_value>3</arg_value>\n</tool_call>\n<tool_call>g\n</"
           "tool_call>");
    Expect(R"(call 0 f({"a": [1, 2]}) )", r,
           "<tool_call>f<arg_key>a</arg_key><arg_value>[1, 2]</arg_value></tool_call>");
    Expect(R"(call 0 f({"a": "x"}) content(<arg_key>b</arg_key> c) )", r,
           "<tool_call>f<arg_key>a</arg_key><arg_value>x</arg_value><arg_key>b</arg_key> c");
    Expect("call 0 g({}) ", r, "<tool_call>g</tool_call>");
    Expect("content(<tool_call>{\"name\":\"f\"}) ", r, "<tool_call>{\"name\":\"f\"}");
}

TEST(OpenaiParts, AnswersThatAGrammarKeeps)
{
    auto list = Reading(OPENAI_TOOLS_NONE);
    list.syntax = &openai_syntax_list;
    Expect(R"(call 0 f({"a":1}) call 1 f({}) )", list,
           R"([{"name":"f","arguments":{"a":1}}, {"name":"f","arguments":{}}])");
    Expect(R"(content([{"name":"f") )", list, R"([{"name":"f")");
    auto named = Reading(OPENAI_TOOLS_NONE);
    named.named = "f";
    Expect(R"(call 0 f({"a": 1}) )", named, R"({"a": 1})");
    Expect("", named, "");
}

TEST(OpenaiParts, LaterCallsMayBeLeftOut)
{
    auto r = Reading(OPENAI_TOOLS_HERMES);
    r.one_call = true;
    Expect(
        R"(call 0 f({"a":1}) )", r,
        R"(<tool_call>{"name":"f","arguments":{"a":1}}</tool_call>)"
        R"(<tool_call>{"name":"g"}</tool_call>)"
        R"(<tool_call>{"name":"h","arguments":{"b":1}}</tool_call>)");
}

TEST(OpenaiParts, Thoughts)
{
    struct openai_reading r = {};
    r.thinks = true;
    Expect("thought(Let me see.) content(It is 4.) ", r,
           "<think>\nLet me see.\n</think>\n\nIt is 4.");
    Expect("content( It is <think>.) ", r, " It is <think>.");
    Expect("content(<thin) ", r, "<thin");
    Expect("content( \n) ", r, " \n");
    Expect("content(a</think>b) ", r, "a</think>b");
    Expect("thought(a < b </thin k) content(c <think>d</think>) ", r,
           "\n<think>a < b </thin k</think> c <think>d</think>");
    Expect("content(x) ", r, "<think>\n\n</think>\n\nx");
    Expect("thought(cut </th) ", r, "<think>cut </th");
    Expect("", r, "<think>\n");
    r.begun = true;
    Expect("thought(so) content(x) ", r, "\nso</think>x");
    Expect("thought(so) ", r, "so");
    Expect("content(x) ", r, "</think>\nx");
    r.hide_thoughts = true;
    Expect("content(x) ", r, "so</think>x");
}

TEST(OpenaiParts, ThoughtsBeforeCalls)
{
    auto r = Reading(OPENAI_TOOLS_HERMES);
    r.thinks = true;
    Expect(R"(thought(<tool_call>{"name":"no"}</tool_call>) call 0 f({}) )", r,
           "<think>\n<tool_call>{\"name\":\"no\"}</tool_call>\n</think>\n\n<tool_call>\n"
           R"({"name":"f","arguments":{}})" "\n</tool_call>");
    auto bare = Reading(OPENAI_TOOLS_LLAMA3);
    bare.thinks = true;
    Expect(R"(thought(a) call 0 f({}) )", bare, R"(<think>a</think> {"name":"f","parameters":{}})");
    Expect(R"(call 0 f({}) )", bare, R"({"name":"f","parameters":{}})");
}

/* Nothing that is known waits: a stream shows words as they come, and arguments too. */
TEST(OpenaiParts, WhatIsKnownComesAtOnce)
{
    auto r = Reading(OPENAI_TOOLS_HERMES);
    Told told;
    struct openai_parts parts;
    openai_parts_init(&parts, &r);
    auto push = [&](const std::string &text) {
        told.text.clear();
        told.pieces = 0;
        openai_parts_push(&parts, text.data(), text.size(), Told::Take, &told);
        return told.text;
    };
    EXPECT_EQ("content(One", push("One "));
    EXPECT_EQ(" two", push("two"));
    EXPECT_EQ("", push("\n<tool"));
    EXPECT_EQ("", push("_call>\n{\"name\": \"f\", \"arguments\":"));
    EXPECT_EQ(") call 0 f({\"a\"", push(" {\"a\""));
    EXPECT_EQ(": \"long", push(": \"long"));
    EXPECT_EQ(1u, told.pieces);
    EXPECT_EQ(" text\"}", push(" text\"}}\n</tool_call>"));
    openai_parts_reset(&parts);
}

/* White space is held up to a bound, so an answer of new lines neither waits nor grows. */
TEST(OpenaiParts, LongWhiteSpaceComesOut)
{
    auto r = Reading(OPENAI_TOOLS_HERMES);
    std::string space(100, '\n');
    Expect("content(a" + space.substr(64) + ") call 0 f({}) ", r,
           "a" + space + R"(<tool_call>{"name":"f"}</tool_call>)");
    Expect("content(a" + space + "b) ", r, "a" + space + "b");
}

/* What waits for its name is bounded; a text in which each mark begins an object that only the end
 * shows to be none is read again and again, but not for long. */
TEST(OpenaiParts, HeadsAreBounded)
{
    auto r = Reading(OPENAI_TOOLS_HERMES);
    std::string head = R"(<tool_call>{"x":")", tail = R"(","name":"f"}</tool_call>)",
                fits(60000, 'x'), long_one(70000, 'x');
    EXPECT_EQ("call 0 f({}) ", Read(r, {head + fits + tail}));
    EXPECT_EQ("content(" + head + long_one + tail + ") ", Read(r, {head + long_one + tail}));
    EXPECT_EQ("content(" + head + long_one + tail + ") ", Read(r, {head, long_one, tail}));
    EXPECT_EQ(R"(call 0 f({"a":")" + long_one + "\"}) ",
              Read(r, {R"(<tool_call>{"name":"f","arguments":{"a":")" + long_one +
                       R"("}}</tool_call>)"}));
    std::string marks = R"(<tool_call>{"a":")";
    while (marks.size() < 20000)
        marks += R"(<tool_call>{",":",":")"; /* names and values are read either way round */
    EXPECT_EQ("content(" + marks + "\n) ", Read(r, {marks + "\n"}));
}

TEST(OpenaiParts, BufferedBytesAreForgottenOnceTheyAreOut)
{
    auto r = Reading(OPENAI_TOOLS_HERMES);
    Told told;
    struct openai_parts parts;
    openai_parts_init(&parts, &r);
    std::string text = R"(<tool_call>{"name":"f","arguments":{"a":")";
    openai_parts_push(&parts, text.data(), text.size(), Told::Take, &told);
    for (int i = 0; i < 1000; i++)
        openai_parts_push(&parts, "words, words ", 13, Told::Take, &told);
    EXPECT_EQ(0u, parts.bytes);
    EXPECT_GE(256u, parts.capacity);
    openai_parts_reset(&parts);
}

} // namespace
