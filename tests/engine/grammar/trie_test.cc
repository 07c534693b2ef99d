/* The trie: every token is found under its bytes, and skipping leads past what is below. */
#include "engine/grammar/trie.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/support/scratch.h"

namespace
{

TEST(Trie, HoldsEachTokenUnderItsBytes)
{
    scratch::Random r(4);
    for (int round = 0; round < 20; round++) {
        std::vector<std::string> texts;
        std::map<std::string, std::set<uint32_t>> expected, found;
        for (uint32_t i = 0; i < 300; i++) {
            std::string text;
            for (uint32_t n = r.below(6); n > 0; n--)
                text += (char)(r.chance(80) ? 'a' + r.below(3) : r.below(256));
            texts.push_back(i == 7 ? std::string(TRIE_TOKEN_BYTES_MAX + 1, 'z') : text);
        }
        std::vector<struct trie_entry> entries;
        for (uint32_t i = 0; i < texts.size(); i++) {
            entries.push_back(
                {(const uint8_t *)texts[i].data(), (uint32_t)texts[i].size(), 1000 - i});
            if (!texts[i].empty() && texts[i].size() <= TRIE_TOKEN_BYTES_MAX)
                expected[texts[i]].insert(1000 - i);
        }
        struct trie trie;
        struct error error = {};
        ASSERT_EQ(STATUS_OK, trie_open(&trie, entries.data(), (uint32_t)entries.size(), &error));
        std::vector<uint32_t> ends; /* of the nodes above */
        std::string path;
        for (uint32_t i = 0; i < trie.node_count; i++) {
            const struct trie_node &node = trie.nodes[i];
            while (!ends.empty() && ends.back() == i)
                ends.pop_back();
            ASSERT_EQ(ends.size(), node.depth);
            if (node.depth) {
                path.resize(node.depth - 1);
                path += (char)node.byte;
                ASSERT_LE(node.skip, ends.back());
            }
            ASSERT_GT(node.skip, i);
            ends.push_back(node.skip);
            for (uint32_t t = node.first_token; t < trie.nodes[i + 1].first_token; t++)
                found[path].insert(trie.tokens[t]);
        }
        EXPECT_EQ(expected, found);
        trie_close(&trie);
    }
}

TEST(Trie, OfNothing)
{
    struct trie trie;
    struct error error = {};
    ASSERT_EQ(STATUS_OK, trie_open(&trie, nullptr, 0, &error));
    EXPECT_EQ(1u, trie.node_count);
    EXPECT_EQ(1u, trie.nodes[0].skip);
    trie_close(&trie);
    trie_close(&trie);
}

} // namespace
