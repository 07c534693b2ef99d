/* The heap against the definition: take the best pair, leftmost first, start again. */
#include "engine/tokenizer/bpe.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>
#include <vector>

namespace {

class Bpe : public testing::Test {
  protected:
    void open(const std::vector<std::string> &entries,
              const std::vector<std::pair<std::string, std::string>> &pairs)
    {
        ASSERT_EQ(STATUS_OK, vocab_open(&vocab, (uint32_t)entries.size(), (uint32_t)entries.size(),
            0));
        for (uint32_t i = 0; i < entries.size(); i++)
            ASSERT_EQ(STATUS_OK, vocab_add(&vocab, i, entries[i].data(), entries[i].size(),
                                           VOCAB_MODEL));
        ASSERT_EQ(STATUS_OK, bpe_open(&bpe, &vocab, (uint32_t)pairs.size()));
        for (uint32_t rank = 0; rank < pairs.size(); rank++)
            merge(pairs[rank].first, pairs[rank].second, rank);
    }
    uint32_t id(const std::string &text) { return vocab_find(&vocab, text.data(), text.size()); }
    void merge(const std::string &a, const std::string &b, uint32_t rank)
    {
        ASSERT_NE(TOKEN_NONE, id(a + b)) << a << b;
        bpe_add_merge(&bpe, id(a), id(b), rank, id(a + b));
        ranks[{id(a), id(b)}] = {rank, id(a + b)};
    }
    std::vector<uint32_t> encode(const std::string &word)
    {
        struct token_list list = {};
        EXPECT_EQ(STATUS_OK, bpe_encode(&bpe, &scratch, word.data(), word.size(), &list));
        std::vector<uint32_t> ids(list.ids, list.ids + list.count);
        token_list_reset(&list);
        return ids;
    }
    std::string spelled(const std::string &word)
    {
        std::string out;
        for (uint32_t i : encode(word))
            out += (out.empty() ? "" : "|") + std::string(vocab_text(&vocab, vocab_at(&vocab, i)));
        return out;
    }
    std::vector<uint32_t> by_definition(const std::string &word)
    {
        std::vector<uint32_t> ids;
        for (char c : word)
            ids.push_back(id(std::string(1, c)));
        for (;;) {
            size_t best = SIZE_MAX;
            for (size_t i = 0; i + 1 < ids.size(); i++) {
                auto found = ranks.find({ids[i], ids[i + 1]});
                if (found != ranks.end() &&
                    (best == SIZE_MAX || found->second.first < ranks[{ids[best],
                        ids[best + 1]}].first))
                    best = i;
            }
            if (best == SIZE_MAX)
                return ids;
            ids[best] = ranks[{ids[best], ids[best + 1]}].second;
            ids.erase(ids.begin() + (long)best + 1);
        }
    }
    void TearDown() override
    {
        bpe_scratch_reset(&scratch);
        bpe_close(&bpe);
        vocab_close(&vocab);
    }
    struct vocab vocab = {};
    struct bpe bpe = {};
    struct bpe_scratch scratch = {};
    std::map<std::pair<uint32_t, uint32_t>, std::pair<uint32_t, uint32_t>> ranks;
};

TEST_F(Bpe, MergesByRankThenFromTheLeft)
{
    open({"a", "b", "c", "ab", "bc", "aa", "abc"}, {{"b", "c"}, {"a", "b"}, {"a", "a"}, {"a",
        "bc"}});
    EXPECT_EQ("abc", spelled("abc"));
    EXPECT_EQ("ab", spelled("ab"));
    EXPECT_EQ("aa|a", spelled("aaa"));
    EXPECT_EQ("ab|ab|abc", spelled("abababc"));
    EXPECT_EQ("", spelled(""));
}

TEST_F(Bpe, AgreesWithTheDefinitionOnRandomTables)
{
    std::mt19937 random(7);
    for (int table = 0; table < 20; table++) {
        std::vector<std::string> entries = {"a", "b", "c"};
        std::vector<std::pair<std::string, std::string>> pairs;
        while (entries.size() < 40) {
            std::string a = entries[random() % entries.size()],
                b = entries[random() % entries.size()];
            if (std::find(pairs.begin(), pairs.end(), std::make_pair(a, b)) != pairs.end())
                continue;
            pairs.push_back({a, b});
            if (std::find(entries.begin(), entries.end(), a + b) == entries.end())
                entries.push_back(a + b);
        }
        open(entries, pairs);
        for (int round = 0; round < 100; round++) {
            std::string word;
            for (unsigned n = random() % 40; n > 0; n--)
                word += "abc"[random() % 3];
            ASSERT_EQ(by_definition(word), encode(word)) << word;
        }
        TearDown();
        ranks.clear();
    }
}

TEST_F(Bpe, TheLaterOfTwoEqualPairsCounts)
{
    open({"a", "b", "c", "ab", "bc"}, {{"a", "b"}, {"b", "c"}, {"a", "b"}});
    EXPECT_EQ("a|bc", spelled("abc"));
}

TEST_F(Bpe, UnknownCharactersVanishOrBecomeTheUnknownToken)
{
    open({"a", "<unk>"}, {});
    EXPECT_EQ("a|a", spelled("aéa"));
    bpe.unknown_id = 1;
    EXPECT_EQ("a|<unk>|<unk>|a", spelled("aéza"));
    bpe.fuse_unknown = true;
    EXPECT_EQ("a|<unk>|a|<unk>", spelled("aézaz"));
}

TEST_F(Bpe, ByteFallbackNeedsAllBytesOfACharacter)
{
    open({"a", "<unk>", "<0xC3>", "<0xA9>", "<0xE2>"}, {});
    bpe.unknown_id = 1;
    bpe.byte_fallback = true;
    EXPECT_EQ("a|<0xC3>|<0xA9>|a", spelled("aéa"));
    EXPECT_EQ("<unk>|a", spelled("€a"));
    EXPECT_EQ("<0xC3>|<0xA9>|<unk>|a", spelled("€éa"))
        << "an unknown run waits, as the reference's";
}

TEST_F(Bpe, IgnoreMergesTakesAWholeEntry)
{
    open({"a", "b", "ab"}, {});
    EXPECT_EQ("a|b", spelled("ab"));
    bpe.ignore_merges = true;
    EXPECT_EQ("ab", spelled("ab"));
    EXPECT_EQ("a|b|a", spelled("aba"));
}

} // namespace
