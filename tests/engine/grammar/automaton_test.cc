/* Automata: classes of characters are exactly those characters in UTF-8, what leads nowhere is cut
 * off, left recursion is found wherever it hides, and bounds hold. */
#include "engine/grammar/automaton.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/scratch.h"

namespace
{

struct Rules : rules {
    Rules() { rules_open(this); }
    ~Rules() { rules_close(this); }
    uint32_t sequence(std::vector<uint32_t> items)
    {
        return rules_sequence(this, items.data(), (uint32_t)items.size());
    }
    uint32_t choice(std::vector<uint32_t> items)
    {
        return rules_choice(this, items.data(), (uint32_t)items.size());
    }
};

enum status open(const Rules &rules, uint32_t root, struct automaton **out,
                 std::string *says = nullptr)
{
    struct error error = {};
    enum status status = automaton_open(out, &rules, root, &error);
    EXPECT_EQ(status == STATUS_OK, *out != nullptr);
    EXPECT_EQ(status == STATUS_OK, error.text[0] == 0);
    if (says)
        *says = error.text;
    return status;
}

/* Follows bytes through nodes that only have edges; true: RETURN was reached with the last one. */
bool follows(const struct automaton *a, const uint8_t *bytes, unsigned count)
{
    uint32_t at = a->root;
    for (unsigned i = 0; i < count; i++) {
        const struct automaton_node &n = a->nodes[at];
        uint32_t next = UINT32_MAX;
        if (n.kind != AUTOMATON_EDGES)
            return false;
        for (uint32_t e = n.a; e < n.a + n.b; e++)
            if (a->edges[e].first <= bytes[i] && bytes[i] <= a->edges[e].last)
                next = a->edges[e].to;
        if (next == UINT32_MAX)
            return false;
        at = next;
    }
    return a->nodes[at].kind == AUTOMATON_RETURN;
}

TEST(Automaton, ClassesAreTheirCharactersAndNoOtherBytes)
{
    scratch::Random r(6);
    for (int round = 0; round < 12; round++) {
        Rules rules;
        struct characters set = {};
        for (uint32_t n = 1 + r.below(8); n > 0; n--) {
            static const uint32_t tops[] = {0x7F, 0x900, 0x11000, CHARACTER_MAX};
            uint32_t first = r.below(tops[r.below(4)]);
            uint32_t last = first + r.below(r.chance(50) ? 40 : 70000);
            characters_add(&set, first, last > CHARACTER_MAX ? CHARACTER_MAX : last);
        }
        if (round == 0)
            characters_add(&set, 0, CHARACTER_MAX);
        characters_normalize(&set);
        uint32_t root = rules_add(&rules, "root", 4);
        rules_define(&rules, root, rules_class(&rules, &set));
        struct automaton *a;
        ASSERT_EQ(STATUS_OK, open(rules, root, &a));
        for (uint32_t c = 0; c <= CHARACTER_MAX; c += 1 + (c > 0x3000) * r.below(5)) {
            uint8_t bytes[4];
            if (c >= 0xD800 && c <= 0xDFFF)
                continue;
            unsigned count = characters_write(c, bytes);
            ASSERT_EQ(characters_has(&set, c), follows(a, bytes, count)) << c;
            if (count > 1) {
                ASSERT_FALSE(follows(a, bytes, count - 1)) << c;
            }
        }
        const uint8_t overlong[] = {0xC0, 0x80}, surrogate[] = {0xED, 0xA0, 0x80};
        const uint8_t beyond[] = {0xF4, 0x90, 0x80, 0x80};
        EXPECT_FALSE(follows(a, overlong, 2));
        EXPECT_FALSE(follows(a, surrogate, 3));
        EXPECT_FALSE(follows(a, beyond, 4));
        automaton_close(a);
        characters_reset(&set);
    }
}

TEST(Automaton, LeftRecursionIsFoundBehindWhatMayBeEmpty)
{
    Rules rules;
    std::string says;
    struct automaton *a;
    uint32_t root = rules_add(&rules, "root", 4), maybe = rules_add(&rules, "maybe", 5);
    uint32_t inner = rules_add(&rules, "inner", 5);
    rules_define(&rules, maybe, rules_optional(&rules, rules_text(&rules, "x")));
    rules_define(
        &rules, inner,
        rules.choice({rules.sequence({rules_reference(&rules, maybe),
                                      rules_reference(&rules, inner), rules_text(&rules, "y")}),
                      rules_text(&rules, "z")}));
    rules_define(&rules, root,
                 rules.sequence({rules_text(&rules, "a"), rules_reference(&rules, inner)}));
    EXPECT_EQ(STATUS_INVALID, open(rules, root, &a, &says));
    EXPECT_NE(std::string::npos, says.find("\"inner\" is left-recursive")) << says;
}

TEST(Automaton, WhatLeadsNowhereIsCutOff)
{
    Rules rules;
    struct automaton *a;
    uint32_t root = rules_add(&rules, "root", 4), endless = rules_add(&rules, "endless", 7);
    rules_define(&rules, endless,
                 rules.sequence({rules_text(&rules, "e"), rules_reference(&rules, endless)}));
    rules_define(
        &rules, root,
        rules.choice({rules.sequence({rules_text(&rules, "b"), rules_reference(&rules, endless)}),
                      rules_text(&rules, "c")}));
    ASSERT_EQ(STATUS_OK, open(rules, root, &a));
    for (uint32_t i = 0; i < a->node_count; i++) /* no node is left that takes b or e */
        for (uint32_t e = 0; a->nodes[i].kind == AUTOMATON_EDGES && e < a->nodes[i].b; e++)
            EXPECT_EQ('c', a->edges[a->nodes[i].a + e].first);
    automaton_close(a);
    automaton_close(nullptr);
    rules_define(&rules, root, rules_reference(&rules, endless));
    EXPECT_EQ(STATUS_INVALID, open(rules, root, &a));
    uint32_t lost = rules_add(&rules, "lost", 4);
    rules_define(&rules, root, rules_reference(&rules, lost));
    std::string says;
    EXPECT_EQ(STATUS_INVALID, open(rules, root, &a, &says));
    EXPECT_NE(std::string::npos, says.find("\"lost\"")) << says;
}

TEST(Automaton, BytesOfAClassAreTreatedAlike)
{
    Rules rules;
    struct automaton *a;
    uint32_t root = rules_add(&rules, "root", 4);
    rules_define(&rules, root,
                 rules.sequence({rules_text(&rules, "ab"), rules_json_string(&rules, 0, 3)}));
    ASSERT_EQ(STATUS_OK, open(rules, root, &a));
    EXPECT_LT(a->class_count, 64u);
    EXPECT_NE(a->class_of['a'], a->class_of['b']);
    EXPECT_NE(a->class_of['"'], a->class_of['!']);
    EXPECT_EQ(a->class_of['x'], a->class_of['z']);
    automaton_close(a);
}

TEST(Automaton, FailuresOfTheRulesAreTold)
{
    Rules rules;
    struct automaton *a;
    uint32_t root = rules_add(&rules, "root", 4);
    std::string large(RULES_BYTES_MAX, 'x');
    rules_literal(&rules, large.data(), large.size());
    EXPECT_EQ(RULES_NOTHING, rules_literal(&rules, "y", 1));
    EXPECT_EQ(STATUS_NO_MEMORY, rules.status);
    EXPECT_EQ(STATUS_NO_MEMORY, open(rules, root, &a));
}

} // namespace
