#include "engine/tokenizer/detokenize.h"

#include <string.h>

#include <random>

#include "fixtures.h"

using namespace fixtures;

namespace {

/* Byte tokens 0..255 in the byte-level alphabet or as "<0xE2>", then "▁a" (256) and "b" (257). */
std::string byte_tokens(bool byte_level)
{
    std::string vocab;
    for (int byte = 0; byte < 256; byte++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", byte);
        std::string entry = text;
        if (byte_level) {
            uint32_t c = (uint32_t)byte;
            if (byte <= 0x20)
                c = 0x100u + c;
            else if (byte >= 0x7F && byte <= 0xA0)
                c = 0x121u + c - 0x7F;
            else if (byte == 0xAD)
                c = 0x143;
            snprintf(text, sizeof text, "\\u%04X", c);
            entry = text;
        }
        vocab += "\"" + entry + "\":" + std::to_string(byte) + ",";
    }
    return R"({"model":{"type":"BPE","vocab":{)" + vocab +
           R"("▁a":256,"bb":257},"merges":[]},)"
           R"("added_tokens":[{"id":258,"content":"<s>","special":true}],
           "decoder":)" +
           (byte_level ? R"({"type":"ByteLevel"}})" : R"({"type":"Sequence","decoders":[
               {"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},
               {"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]}})");
}

#define FFFD "\xEF\xBF\xBD"

TEST(Detokenize, AByteLevelBeginningThatFailsIsOneReplacement)
{
    Tokenizer t = open_text(byte_tokens(true));
    EXPECT_EQ("\xE2\x82\xAC", decode(t.get(), {0xE2, 0x82, 0xAC}));
    EXPECT_EQ(FFFD "a", decode(t.get(), {0xE2, 0x82, 'a'}));
    EXPECT_EQ(FFFD FFFD, decode(t.get(), {0xE0, 0x80}));
    EXPECT_EQ(FFFD FFFD FFFD, decode(t.get(), {0xED, 0xA0, 0x80}));
    EXPECT_EQ(FFFD "\xC3\xA9", decode(t.get(), {0xF0, 0x9F, 0x98, 0xC3, 0xA9}));
    EXPECT_EQ(FFFD FFFD FFFD FFFD, decode(t.get(), {0xF4, 0x90, 0x80, 0x80}));
    EXPECT_EQ(FFFD FFFD, decode(t.get(), {0xFF, 0xC0}));
    EXPECT_EQ(FFFD, decode(t.get(), {0xF0, 0x9F, 0x98}));
}

TEST(Detokenize, AByteTokenThatFitsNowhereIsOneReplacementEach)
{
    Tokenizer t = open_text(byte_tokens(false));
    EXPECT_EQ("\xE2\x82\xAC", decode(t.get(), {0xE2, 0x82, 0xAC}));
    EXPECT_EQ(FFFD FFFD "bb", decode(t.get(), {0xE2, 0x82, 257}));
    EXPECT_EQ(FFFD FFFD FFFD, decode(t.get(), {0xF0, 0x9F, 0x98}));
}

TEST(Detokenize, TheFirstSpaceGoesAndOnlyTheFirst)
{
    Tokenizer t = open_text(byte_tokens(false));
    EXPECT_EQ("a a", decode(t.get(), {256, 256}));
    EXPECT_EQ("bb a", decode(t.get(), {257, 256}));
    EXPECT_EQ(" a", decode(t.get(), {' ', 256}));
    EXPECT_EQ(" bb", decode(t.get(), {' ', ' ', 257}));
    EXPECT_EQ("<s> a", decode(t.get(), {258, 256}, false));
    EXPECT_EQ("a", decode(t.get(), {258, 256}, true));
}

TEST(Detokenize, WhatContinuesATextKeepsItsSpace)
{
    for (const char *first : {"Strip", "Metaspace"}) {
        Tokenizer t = strcmp(first, "Strip") == 0 ? open_text(byte_tokens(false))
                                                  : open_golden("metaspace_first");
        uint32_t word = strcmp(first, "Strip") == 0 ? 256 : tokenizer_token_id(t.get(), "▁a");
        ASSERT_NE(TOKEN_NONE, word);
        for (bool goes_on : {false, true}) {
            struct detokenizer d;
            detokenizer_init(&d, t.get(), true);
            if (goes_on)
                detokenizer_continue(&d);
            std::vector<char> room(detokenizer_room(t.get()));
            size_t n = detokenizer_push(&d, word, room.data(), room.size());
            EXPECT_EQ(goes_on ? " a" : "a", std::string(room.data(), n)) << first;
        }
    }
}

TEST(Detokenize, PushesGiveWholeCharactersAsSoonAsTheyAreThere)
{
    Tokenizer t = open_text(byte_tokens(true));
    struct detokenizer d;
    std::vector<char> room(detokenizer_room(t.get()));
    detokenizer_init(&d, t.get(), true);
    size_t lengths[] = {0, 0, 0, 4, 1, 0};
    uint32_t ids[] = {0xF0, 0x9F, 0x98, 0x80, 'x', 0xC3};
    for (int i = 0; i < 6; i++)
        EXPECT_EQ(lengths[i], detokenizer_push(&d, ids[i], room.data(), room.size())) << i;
    EXPECT_EQ(0u, detokenizer_push(&d, 258, room.data(), room.size())) << "special, skipped";
    EXPECT_EQ(2u, detokenizer_push(&d, 0xA9, room.data(), room.size())) << "still held";
    EXPECT_EQ(0u, detokenizer_finish(&d, room.data(), room.size()));
}

/* Whatever the ids, the text is UTF-8 and each push stays within the room. */
TEST(Detokenize, RandomIdsAlwaysGiveText)
{
    std::mt19937 random(5);
    for (const char *family : {"qwen2", "mixtral", "metaspace_first", "metaspace_always"}) {
        Tokenizer t = open_golden(family);
        for (int round = 0; round < 300; round++) {
            std::vector<uint32_t> ids;
            for (unsigned n = random() % 30; n > 0; n--)
                ids.push_back(random() % (tokenizer_vocab_size(t.get()) + 3));
            std::string text = decode(t.get(), ids, round & 1);
            struct token_list list = {};
            EXPECT_EQ(STATUS_OK, tokenizer_encode(t.get(), text.data(), text.size(), false, true,
                                                  &list, nullptr));
            token_list_reset(&list);
        }
    }
}

} // namespace
