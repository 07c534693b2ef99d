/* What a loop is said to take is taken, byte by byte, and says what can be read off the pattern. */
#include "engine/grammar/loops.h"

#include "engine/grammar/characters.h"
#include "engine/grammar/grammar_parts.h"
#include "fixtures.h"

using namespace fixtures;
using scratch::Random;

namespace
{

/* The configurations of a pattern from its beginning. */
class Walk {
  public:
    explicit Walk(const std::string &pattern) : grammar_(regex(pattern))
    {
        EXPECT_TRUE(grammar_.get()) << grammar_.error;
        EXPECT_TRUE(configs_open(&configs_, grammar_.get()->automaton, &work_));
        at_ = configs_start(&configs_, grammar_.get()->automaton->root);
    }
    ~Walk()
    {
        loops_close(&loops_);
        configs_close(&configs_);
    }
    Walk(const Walk &) = delete;
    Walk &operator=(const Walk &) = delete;
    void Take(const std::string &text)
    {
        for (char byte : text)
            at_ = configs_step(&configs_, at_, (uint8_t)byte);
        ASSERT_NE(CONFIGS_DEAD, at_);
        ASSERT_NE(CONFIGS_FAILED, at_);
    }
    const struct loop *Loop(uint32_t length = 1000)
    {
        return loops_of(&loops_, &configs_, at_, length);
    }
    bool Takes(const struct subtree &below, uint8_t begun = 0, bool find = true)
    {
        return loops_take(&loops_, &configs_, at_, find, &below, begun);
    }
    /* Texts of the loop's characters, whole and cut, are alive to their end. */
    void CheckTexts(Random &r)
    {
        const struct loop *found = Loop();
        ASSERT_NE(nullptr, found);
        struct loop loop = *found;
        for (int round = 0; round < 200; round++) {
            uint32_t length = 1 + r.below(std::min(loop.length, 100u)), config = at_;
            std::string text;
            for (uint32_t i = 0; i < length; i++)
                text += Character(r, loop);
            if (text.size() > 1 && r.chance(30))
                text.pop_back();
            for (char byte : text) {
                config = configs_step(&configs_, config, (uint8_t)byte);
                ASSERT_NE(CONFIGS_DEAD, config) << text;
            }
        }
    }

  private:
    static std::string Character(Random &r, const struct loop &loop)
    {
        for (;;) {
            uint32_t c = r.chance(70) ? r.below(128) : r.below(CHARACTER_MAX + 1);
            uint8_t bytes[4];
            if (c >= 0xD800 && c < 0xE000)
                continue;
            unsigned n = characters_write(c, bytes);
            if (c < 0x80 ? loop.ascii[c / 64] >> c % 64 & 1
                         : (loop.leads & SUBTREES_LEAD(bytes[0])) != 0)
                return std::string((char *)bytes, n);
        }
    }
    Opened grammar_;
    uint64_t work_ = 1u << 30;
    struct configs configs_;
    struct loops loops_ = {};
    uint32_t at_ = 0;
};

/* A subtree of these ASCII characters, up to so many in a token. */
struct subtree Below(const std::string &ascii, uint16_t characters, uint64_t leads = 0)
{
    struct subtree below = {};
    for (char c : ascii)
        below.ascii[(uint8_t)c / 64] |= UINT64_C(1) << (uint8_t)c % 64;
    below.characters = characters;
    below.leads = leads;
    return below;
}

const uint64_t every_lead = SUBTREES_LEAD(0xF5) - SUBTREES_LEAD(0xC2); /* C2 to F4 */

bool Has(const struct loop *loop, char c)
{
    return loop->ascii[(uint8_t)c / 64] >> (uint8_t)c % 64 & 1;
}

TEST(Loops, AnEndlessOneIsItsClass)
{
    Walk w("[^x\\n]*!");
    EXPECT_FALSE(w.Takes(Below("a", 1), 0, false)) << "nobody has looked";
    const struct loop *loop = w.Loop();
    ASSERT_NE(nullptr, loop);
    EXPECT_TRUE(Has(loop, 'a') && Has(loop, '\0') && !Has(loop, 'x') && !Has(loop, '\n'));
    EXPECT_FALSE(Has(loop, '!')) << "leads elsewhere";
    EXPECT_EQ(every_lead, loop->leads);
    EXPECT_EQ(UINT32_MAX, loop->length);
    EXPECT_TRUE(w.Takes(Below("a", 1), 0, false));
    EXPECT_FALSE(w.Takes(Below("ax", 2)));
}

TEST(Loops, ACountedOneIsAsLongAsWhatIsLeft)
{
    Walk w(".{2,20}");
    ASSERT_NE(nullptr, w.Loop());
    EXPECT_EQ(20u, w.Loop()->length);
    w.Take("abc\xC3\xA9");
    EXPECT_EQ(16u, w.Loop()->length);
    w.Take("0123456789abcde");
    EXPECT_EQ(1u, w.Loop()->length);
    w.Take("f");
    EXPECT_EQ(nullptr, w.Loop());
    Walk more(".{2,200}");
    EXPECT_EQ(LOOPS_CHAIN_MAX, more.Loop()->length) << "as far as is looked";
    Walk end("[ab]{3}.*");
    EXPECT_EQ(UINT32_MAX, end.Loop()->length) << "what follows takes them, too";
    EXPECT_EQ(0u, end.Loop()->leads);
}

TEST(Loops, WhatTakesOneTextHasNone)
{
    Walk w("abc");
    ASSERT_NE(nullptr, w.Loop()) << "a class of one, once";
    EXPECT_EQ(1u, w.Loop()->length);
    w.Take("abc");
    EXPECT_EQ(nullptr, w.Loop());
}

TEST(Loops, TextsOfTheirCharactersAreTaken)
{
    Random r(9);
    for (const char *pattern :
         {".*", "[^x]{1,50}", "[a-z ]*", ".*fox.*", "(an|.)*", "([^o]|on)*", "[^a]{0,9}.{0,9}",
          "[a-z\\u0400-\\u04ff]*", "[^\\u4e00-\\u9fff]*", "(.*,){3}", "[\\x00-\\x7f]+"}) {
        SCOPED_TRACE(pattern);
        Walk w(pattern);
        for (int step = 0; step < 4; step++) {
            w.CheckTexts(r);
            w.Take("f");
        }
    }
}

TEST(Loops, ChainsAreFollowedAsFarAsTheyAreAskedFor)
{
    Walk w("[^\\n]{10}");
    EXPECT_TRUE(w.Takes(Below("ab", 3)));
    EXPECT_EQ(3u, w.Loop(0)->length);
    EXPECT_FALSE(w.Loop(0)->whole);
    EXPECT_TRUE(w.Takes(Below("ab", 9), 0xE4));
    EXPECT_EQ(10u, w.Loop(0)->length);
    EXPECT_FALSE(w.Takes(Below("ab", 10), 0xE4));
    EXPECT_FALSE(w.Takes(Below("ab", 11)));
    EXPECT_TRUE(w.Loop(0)->whole);
    EXPECT_EQ(10u, w.Loop(0)->length);
}

TEST(Loops, PartsOfOtherCharactersAreNotAllOfThem)
{
    Walk some("[^\\u4e2d]*"), all("[^5]*"),
        dot(".*"); /* a dot is no end of a line: E2 80 A8 is one */
    ASSERT_NE(nullptr, some.Loop());
    EXPECT_EQ(every_lead & ~SUBTREES_LEAD(0xE4), some.Loop()->leads);
    EXPECT_EQ(every_lead & ~SUBTREES_LEAD(0xE2), dot.Loop()->leads);
    EXPECT_TRUE(some.Takes(Below("A", 3)));
    EXPECT_TRUE(some.Takes(Below("A", 3), 0xE5));
    EXPECT_FALSE(some.Takes(Below("A", 3), 0xE4)) << "it may go on as what is left out";
    EXPECT_TRUE(some.Takes(Below("A", 3, SUBTREES_LEAD(0xC3))));
    EXPECT_FALSE(some.Takes(Below("A", 3, SUBTREES_LEAD(0xC3) | SUBTREES_LEAD(0xE4))));
    EXPECT_TRUE(all.Takes(Below("A", 3, every_lead), 0xF4));
    EXPECT_FALSE(all.Takes(Below("A5", 3, every_lead), 0xF4));
    struct subtree malformed = Below("A", 3);
    malformed.malformed = true;
    EXPECT_FALSE(all.Takes(malformed));
}

} // namespace
