/* Tables of strings against running each token through the machine of strings. */
#include "engine/grammar/string_table.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "tests/support/scratch.h"

namespace
{

TEST(StringTable, SaysOfEachTokenWhatItDoes)
{
    static const char *const pieces[] = {"a",    "\"",   "\\",   "n",   "\\u", "d8",
                                         "3d",   "\xC3", "\xA9", "0",   " ",   "\xF0\x9F",
                                         "\x98", "\x80", "bcd",  "\x01"};
    scratch::Random r(8);
    std::vector<std::string> tokens;
    std::vector<struct trie_entry> entries;
    for (uint32_t i = 0; i < 2000; i++) {
        std::string text;
        for (uint32_t n = 1 + r.below(5); n > 0; n--)
            text += pieces[r.below(16)];
        tokens.push_back(text);
    }
    for (uint32_t i = 0; i < tokens.size(); i++)
        entries.push_back({(const uint8_t *)tokens[i].data(), (uint32_t)tokens[i].size(), i});
    struct trie trie;
    struct string_table tables[JSON_STRING_STATES];
    struct error error = {};
    const uint32_t vocab = 2000, words = (vocab + 31) / 32;
    ASSERT_EQ(STATUS_OK, trie_open(&trie, entries.data(), vocab, &error));
    ASSERT_EQ(STATUS_OK, string_table_open(tables, &trie, vocab, &error));
    for (int state = 0; state < JSON_STRING_STATES; state++) {
        std::vector<uint32_t> need(vocab, UINT32_MAX); /* those that stay inside */
        size_t ends = 0;
        for (uint32_t i = 0; i < vocab; i++) {
            auto at = (enum json_string_state)state;
            uint32_t count = 0;
            for (size_t b = 0; b < tokens[i].size() && at < JSON_STRING_END; b++) {
                at = json_string_step(at, (uint8_t)tokens[i][b]);
                count += at == JSON_STRING_BETWEEN;
            }
            if (at < JSON_STRING_END)
                need[i] = count + (at != JSON_STRING_BETWEEN);
            ends += at == JSON_STRING_END;
        }
        EXPECT_EQ(ends > 0, tables[state].end_count > 0) << state;
        for (uint32_t most : {0u, 1u, 2u, 3u, 5u, 8u, UINT32_MAX}) {
            std::vector<uint32_t> bits(words), scratch(words);
            string_table_mark(&tables[state], most, bits.data(), scratch.data(), words);
            for (uint32_t i = 0; i < vocab; i++)
                EXPECT_EQ(need[i] != UINT32_MAX && need[i] <= most, bits[i / 32] >> i % 32 & 1)
                    << tokens[i] << " in state " << state << " with " << most;
        }
    }
    string_table_close(tables);
    trie_close(&trie);
}

} // namespace
