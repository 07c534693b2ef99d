#include "server/openai/openai_scan.h"

#include <random>

#include "tests/server/openai/openai_support.h"

namespace {

/* One letter for each byte: what it is. Stops at the end or at what is wrong. */
std::string Scan(const std::string &text)
{
    struct openai_scan scan;
    std::string out;
    openai_scan_init(&scan);
    for (char byte : text) {
        enum openai_scan_step step = openai_scan_push(&scan, byte);
        out += ".nNvVEX"[step];
        if (step >= OPENAI_SCAN_ENDS)
            break;
    }
    return out;
}

TEST(OpenaiScan, EveryByteIsSomething)
{
    EXPECT_EQ(".E", Scan("{}"));
    EXPECT_EQ(".n.N..vV..n.N.vVE", Scan(R"({"a": "", "b":[]})"));
    EXPECT_EQ(".n.N.v................V.E", Scan(R"({"a":{"b":[1,{"c":""}]} })"));
    EXPECT_EQ(".nN.v..n.N.v...E", Scan(R"({"":1, "b":true})"));
}

TEST(OpenaiScan, WhatCannotStandThereIsBroken)
{
    for (const char *text : {"[",
                             " ",
                             "x",
                             "{,",
                             "{1",
                             "{\"a\"}",
                             "{\"a\",",
                             "{\"a\":}",
                             "{\"a\":,",
                             "{\"a\":1 2",
                             "{\"a\":1,}",
                             "{\"a\":[1,]",
                             "{\"a\":[}",
                             "{\"a\":{]",
                             "{\"a\":01",
                             "{\"a\":-}",
                             "{\"a\":-a",
                             "{\"a\":1.}",
                             "{\"a\":.",
                             "{\"a\":1e}",
                             "{\"a\":1e+}",
                             "{\"a\":1.5.",
                             "{\"a\":+",
                             "{\"a\":tru}",
                             "{\"a\":nul,",
                             "{\"a\":\"\\x",
                             "{\"a\":\"\\u12g",
                             "{\"a\":\"\n",
                             "{\"\t",
                             "{\"a\":1]",
                             "{\"a\":N",
                             "{\"a\":'",
                             "{\"a\":00",
                             "{\"a\":1e5.",
                             "{\"a\":-0e1e"}) {
        std::string steps = Scan(text);
        EXPECT_EQ('X', steps.back()) << text << " " << steps;
        EXPECT_EQ(strlen(text), steps.size()) << "the last byte is wrong, not one before: " << text;
    }
}

TEST(OpenaiScan, DepthIsBounded)
{
    std::string in = "{\"a\":", deep = in + std::string(OPENAI_SCAN_DEPTH_MAX - 2, '[');
    EXPECT_NE('X', Scan(deep).back());
    EXPECT_EQ('X', Scan(deep + "[").back());
    EXPECT_EQ('X', Scan(deep + "{").back());
    std::string closed = deep + std::string(OPENAI_SCAN_DEPTH_MAX - 2, ']') + "}";
    EXPECT_EQ('E', Scan(closed).back());
}

/* Mutations of valid objects: the scanner and a parser agree on what is one. */
TEST(OpenaiScan, AgreesWithTheParser)
{
    const std::string seeds[] = {
        R"({"a":{"b":[1,2.5,-0.1e+10,"x\n\u00e9",true,false,null],"c":{}},"d":"","e":0})",
        R"({"name": "f", "arguments": {"city": "Paris", "days": 3}})",
        R"({"":[[],[{}],{"":{"":[]}}]})",
    };
    const std::string bytes = "{}[]\",:\\ 0123456789.eE+-truefalsnu\n\tx";
    std::minstd_rand random(7);
    int valid = 0;
    for (int round = 0; round < 60000; round++) {
        std::string text = seeds[random() % 3];
        for (int edits = random() % 3; edits > 0; edits--) {
            size_t at = random() % text.size();
            char byte = bytes[random() % bytes.size()];
            switch (random() % 3) {
            case 0: text[at] = byte; break;
            case 1: text.insert(at, 1, byte); break;
            default: text.erase(at, 1); break;
            }
        }
        std::string steps = Scan(text);
        bool whole = !steps.empty() && steps.back() == 'E' && steps.size() == text.size();
        json_error_t error = {};
        json_t *parsed = json_loadb(text.data(), text.size(), JSON_ALLOW_NUL, &error);
        bool object = json_is_object(parsed) && text[0] == '{';
        /* The parser reads white space behind the object, and refuses numbers beyond its range. */
        bool bounded = strstr(error.text, "overflow") || strstr(error.text, "too big") ||
                       strstr(error.text, "Unicode") || strstr(error.text, "surrogate");
        bool ends_there = text.find_last_not_of(" \n\t") + 1 == text.size();
        EXPECT_TRUE(whole || !object || !ends_there) << text << " " << steps;
        EXPECT_TRUE(object || !whole || bounded) << text << ": " << error.text;
        valid += whole;
        json_decref(parsed);
    }
    EXPECT_LT(6000, valid);
}

} // namespace
