/* GBNF: what its notation means, and what is refused, with the line. */
#include "engine/grammar/gbnf.h"

#include "fixtures.h"

using namespace fixtures;

namespace
{

const char json[] = R"gbnf(
# JSON as example grammars of this notation write it
root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws

object ::=
  "{" ws (
            string ":" ws value
    ("," ws string ":" ws value)*
  )? "}" ws

array  ::=
  "[" ws (
            value
    ("," ws value)*
  )? "]" ws

string ::=
  "\"" (
    [^"\\\x7F\x00-\x1F] |
    "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) # escapes
  )* "\"" ws

number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws
ws ::= | " " | "\n" [ \t]{0,20}
)gbnf";

TEST(Gbnf, AGrammarForJson)
{
    Opened g = gbnf(json);
    ASSERT_EQ(STATUS_OK, g.status) << g.error;
    EXPECT_TRUE(matches(g.get(), "{}"));
    EXPECT_TRUE(
        matches(g.get(), "{ \"a\": [1, -2.5e+1, {\"\xC3\xA9\": \"\\u12aF\\n\"}], \"b\":null}"));
    EXPECT_FALSE(matches(g.get(), "[]"));
    EXPECT_FALSE(matches(g.get(), "{\"a\": 01}"));
    EXPECT_FALSE(matches(g.get(), "{\"a\":1,}"));
    EXPECT_FALSE(matches(g.get(), "{\"a\xFF\":1}"));
}

TEST(Gbnf, Notation)
{
    const struct {
        const char *text;
        std::vector<const char *> taken, refused;
    } cases[] = {
        {"root ::= \"a\"? b{2,3} [^c-e\\]]* # x\nb ::= \"b\" | \"B\"",
         {"bb", "abBb", "bB\xC3\xA9zz"},
         {"b", "bbc", "bb]", "bbbbe"}},
        {"root ::= \"\\x41\\u00e9\\U0001F600\\t\\\"\\\\\"",
         {"A\xC3\xA9\xF0\x9F\x98\x80\t\"\\"},
         {"A"}},
        {"root ::= (\"a\" |\n  \"b\")\n  \"c\"", {"ac", "bc"}, {"a", "c"}},
        {"root ::= .", {"a", "\n", "\xE4\xB8\xAD"}, {"", "ab", "\xE4\xB8"}},
        {"root ::= \"x\" root | \"\"", {"", "x", "xxxxxxxx"}, {"y"}},
        {"root ::= \"(\" root \")\" | \"\"", {"", "()", "((()))"}, {"(", "(()", "())"}},
        {"root ::= a{,2} \"b\"\na ::= \"a\"", {"b", "aab"}, {"aaab"}},
        {"root ::= p q*\np ::= q | \"1\"\nq ::= \"2\" | empty \"3\"\nempty ::= ",
         {"2", "132", "3"},
         {"", "11"}},
        {"root ::= [a\\-z^]+", {"a-z^"}, {"b"}},
    };
    for (const auto &c : cases) {
        Opened g = gbnf(c.text);
        ASSERT_EQ(STATUS_OK, g.status) << c.text << ": " << g.error;
        for (const char *text : c.taken)
            EXPECT_TRUE(matches(g.get(), text)) << c.text << " must take " << text;
        for (const char *text : c.refused)
            EXPECT_FALSE(matches(g.get(), text)) << c.text << " must not take " << text;
    }
}

TEST(Gbnf, Refusals)
{
    const struct {
        const char *text;
        enum status status;
        const char *says;
    } cases[] = {
        {"", STATUS_INVALID, "\"root\" is not defined"},
        {"a ::= \"x\"", STATUS_INVALID, "\"root\" is not defined"},
        {"root ::= b", STATUS_INVALID, "\"b\" is not defined"},
        {"root ::= \"a\"\nroot ::= \"b\"", STATUS_INVALID, "defined twice"},
        {"root ::= \"a", STATUS_INVALID, "line 1"},
        {"root ::= \"a\"\n\nb ::= [a", STATUS_INVALID, "line 3"},
        {"root ::= (\"a\"", STATUS_INVALID, "not closed"},
        {"root ::= \"a\")", STATUS_INVALID, "not opened"},
        {"root ::= \"\\q\"", STATUS_INVALID, "escape"},
        {"root ::= \"a\"{3,1}", STATUS_INVALID, "braces"},
        {"root ::= \"a\"{1000000000}", STATUS_NO_MEMORY, "repetitions"},
        {"root ::= (\"abcdefgh\"){900000}", STATUS_NO_MEMORY, "large"},
        {"= x", STATUS_INVALID, "::="},
        {"root ::= root \"a\" | \"b\"", STATUS_INVALID, "\"root\" is left-recursive"},
        {"root ::= \"x\" a\na ::= b? c\nb ::= \"b\"\nc ::= a \"c\" | \"d\"", STATUS_INVALID,
         "is left-recursive"},
        {"root ::= \"a\" root", STATUS_INVALID, "no text"},
        {"root ::= [^\\x00-\\U0010FFFF]", STATUS_INVALID, "no text"},
    };
    for (const auto &c : cases) {
        Opened g = gbnf(c.text);
        EXPECT_EQ(c.status, g.status) << c.text << ": " << g.error;
        EXPECT_NE(std::string::npos, g.error.find(c.says)) << c.text << ": " << g.error;
    }
    std::string nested = "root ::= a0\n"; /* rules that multiply: sixteen to the 40th */
    for (int i = 0; i < 40; i++) {
        std::string next = " a" + std::to_string(i + 1);
        nested += "a" + std::to_string(i) + " ::= \"\"" + next + next + next + next + "\n";
    }
    Opened g = gbnf(nested + "a40 ::= \"\"\n");
    EXPECT_TRUE(g.status == STATUS_OK || g.status == STATUS_NO_MEMORY) << g.error;
    EXPECT_EQ(STATUS_INVALID, gbnf("root ::= " + std::string(10000, '(')).status);
}

} // namespace
