/* Sets of characters against a set of bits. */
#include "engine/grammar/characters.h"

#include <gtest/gtest.h>

#include <bitset>
#include <memory>

#include "tests/support/scratch.h"

namespace
{

using Bits = std::bitset<CHARACTER_MAX + 1>;

void expect_same(const struct characters &set, const Bits &bits)
{
    size_t total = 0;
    for (uint32_t i = 0; i < set.count; i++) {
        EXPECT_LE(set.ranges[i].first, set.ranges[i].last);
        if (i > 0) {
            EXPECT_GT(set.ranges[i].first, set.ranges[i - 1].last + 1);
        }
        for (uint32_t c = set.ranges[i].first; c <= set.ranges[i].last; c++, total++)
            EXPECT_TRUE(bits[c]) << c;
    }
    EXPECT_EQ(bits.count(), total);
    for (uint32_t c = 0; c <= CHARACTER_MAX; c += 37)
        EXPECT_EQ(bits[c], characters_has(&set, c)) << c;
}

TEST(Characters, SetsAreWhatTheirBitsSay)
{
    scratch::Random r(2);
    auto bits = std::make_unique<Bits>();
    for (int round = 0; round < 6; round++) {
        struct characters set = {};
        bits->reset();
        for (int i = 0; i < 20; i++) {
            uint32_t first = r.below(CHARACTER_MAX), last = first + r.below(20000);
            last = last > CHARACTER_MAX ? CHARACTER_MAX : last;
            characters_add(&set, first, last);
            for (uint32_t c = first; c <= last; c++)
                bits->set(c, c < 0xD800 || c > 0xDFFF);
        }
        characters_normalize(&set);
        expect_same(set, *bits);
        characters_remove(&set, 0x4000, 0x9000);
        for (uint32_t c = 0x4000; c <= 0x9000; c++)
            bits->reset(c);
        expect_same(set, *bits);
        characters_invert(&set);
        bits->flip();
        for (uint32_t c = 0xD800; c <= 0xDFFF; c++)
            bits->reset(c);
        expect_same(set, *bits);
        EXPECT_FALSE(set.failed);
        characters_reset(&set);
    }
}

TEST(Characters, ReadAndWriteAreUtf8)
{
    for (uint32_t c :
         {0u, 0x7Fu, 0x80u, 0x7FFu, 0x800u, 0xD7FFu, 0xE000u, 0xFFFFu, 0x10000u, 0x10FFFFu}) {
        uint8_t bytes[4];
        unsigned count = characters_write(c, bytes);
        size_t at = 0;
        uint32_t again;
        ASSERT_TRUE(characters_read((const char *)bytes, count, &at, &again));
        EXPECT_EQ(c, again);
        EXPECT_EQ(count, at);
        at = 0;
        EXPECT_FALSE(characters_read((const char *)bytes, count - 1, &at, &again));
        EXPECT_EQ(0u, at);
    }
}

} // namespace
