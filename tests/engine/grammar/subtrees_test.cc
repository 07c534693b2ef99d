/* Summaries against reading every token below the node. */
#include "engine/grammar/subtrees.h"

#include <algorithm>

#include "engine/grammar/grammar_parts.h"
#include "fixtures.h"

using namespace fixtures;
using scratch::Random;

namespace
{

/* What is written along `bytes` behind a place in `state`. */
void read_on(const std::string &bytes, enum json_string_state state, struct subtree *to)
{
    uint16_t characters = 0;
    for (char c : bytes) {
        uint8_t byte = (uint8_t)c;
        characters += state == JSON_STRING_BETWEEN;
        enum json_string_state next = subtrees_step(state, byte);
        if (next == JSON_STRING_WRONG)
            to->malformed = true;
        else if (byte < 0x80)
            to->ascii[byte / 64] |= UINT64_C(1) << byte % 64;
        else if (state == JSON_STRING_BETWEEN)
            to->leads |= SUBTREES_LEAD(byte);
        state = next == JSON_STRING_WRONG ? JSON_STRING_BETWEEN : next;
    }
    to->characters = std::max(to->characters, characters);
}

enum json_string_state state_behind(const std::string &bytes)
{
    enum json_string_state state = JSON_STRING_BETWEEN;
    for (char byte : bytes) {
        state = subtrees_step(state, (uint8_t)byte);
        state = state == JSON_STRING_WRONG ? JSON_STRING_BETWEEN : state;
    }
    return state;
}

TEST(Subtrees, SayWhatTheTokensBelowSay)
{
    Random r(3);
    Model model = made(syllables(r, 3000));
    const struct trie &trie = model.vocab->trie;
    const struct subtrees &subtrees = model.vocab->subtrees;
    uint32_t large = 0, malformed = 0, inside = 0, deepest = 0;
    std::string path;
    for (uint32_t i = 0; i < trie.node_count; i++) {
        const struct trie_node &node = trie.nodes[i];
        path.resize(node.depth ? node.depth - 1 : 0);
        if (node.depth)
            path += (char)node.byte;
        EXPECT_EQ(node.skip - i > SUBTREES_LEAST, node.summary != 0);
        if (!node.summary)
            continue;
        ASSERT_LT(node.summary, subtrees.count);
        struct subtree expected = {};
        for (uint32_t t = trie.nodes[i + 1].first_token; t < trie.nodes[node.skip].first_token; t++)
            read_on(model.pieces[trie.tokens[t]].substr(node.depth), state_behind(path), &expected);
        const struct subtree &got = subtrees.items[node.summary];
        EXPECT_EQ(expected.ascii[0], got.ascii[0]) << path;
        EXPECT_EQ(expected.ascii[1], got.ascii[1]) << path;
        EXPECT_EQ(expected.leads, got.leads) << path;
        EXPECT_EQ(expected.malformed, got.malformed) << path;
        EXPECT_EQ(expected.characters, got.characters) << path;
        large++;
        malformed += got.malformed;
        inside += state_behind(path) != JSON_STRING_BETWEEN;
        deepest = std::max<uint32_t>(deepest, got.characters);
    }
    EXPECT_LT(100u, large);
    EXPECT_LT(0u, malformed);
    EXPECT_LT(malformed, large);
    EXPECT_LT(0u, inside);
    EXPECT_LT(8u, deepest);
}

TEST(Subtrees, AnEmptyTrieHasNone)
{
    struct trie trie;
    struct subtrees subtrees;
    ASSERT_EQ(STATUS_OK, trie_open(&trie, nullptr, 0, nullptr));
    ASSERT_EQ(STATUS_OK, subtrees_open(&subtrees, &trie, nullptr));
    EXPECT_EQ(0u, trie.nodes[0].summary);
    subtrees_close(&subtrees);
    subtrees_close(&subtrees);
    trie_close(&trie);
}

} // namespace
