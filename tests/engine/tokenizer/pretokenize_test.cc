#include "engine/tokenizer/pretokenize.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace {

struct pretokenize_step step_of(enum pretokenize_kind kind,
                                enum pretokenize_behavior behavior = BEHAVIOR_ISOLATED)
{
    struct pretokenize_step step = {};
    step.kind = kind;
    step.behavior = behavior;
    return step;
}

struct pretokenize_step split(const std::string &regex, enum pretokenize_behavior behavior,
                              bool invert = false)
{
    struct pretokenize_step step = step_of(PRETOKENIZE_SPLIT, behavior);
    step.invert = invert;
    EXPECT_EQ(STATUS_OK, pattern_open_regex(&step.pattern, regex.data(), regex.size(), nullptr));
    return step;
}

struct pretokenize_step metaspace(enum pretokenize_prepend prepend, bool cut)
{
    struct pretokenize_step step = step_of(PRETOKENIZE_METASPACE, BEHAVIOR_MERGED_WITH_NEXT);
    step.prepend = prepend;
    step.mark[0] = '_';
    step.mark_bytes = 1;
    step.split = cut;
    if (cut) {
        EXPECT_EQ(STATUS_OK, pattern_open_literal(&step.pattern, "_", 1));
    }
    return step;
}

std::string run(std::initializer_list<struct pretokenize_step> steps, const std::string &input,
                bool first = true)
{
    struct pretokenizer pretokenizer = {};
    struct pretokenize_scratch scratch = {};
    struct pattern_scratch patterns = {};
    struct text text = {};
    for (struct pretokenize_step step : steps)
        EXPECT_EQ(STATUS_OK, pretokenizer_add(&pretokenizer, &step));
    EXPECT_EQ(STATUS_OK, text_append(&text, input.data(), input.size()));
    EXPECT_EQ(STATUS_OK, pretokenizer_run(&pretokenizer, &scratch, &patterns, &text, first,
        nullptr));
    std::string out;
    for (uint32_t i = 0; i < text.spans.count; i++) {
        EXPECT_LT(text.spans.at[i].begin, text.spans.at[i].end);
        out += (i ? "|" : "") + std::string(text.data + text.spans.at[i].begin,
                                            text.spans.at[i].end - text.spans.at[i].begin);
    }
    text_reset(&text);
    pretokenize_scratch_reset(&scratch);
    pattern_scratch_reset(&patterns);
    pretokenizer_close(&pretokenizer);
    return out;
}

TEST(Pretokenize, EveryBehaviour)
{
    EXPECT_EQ("a|-|-|b|-", run({split("-", BEHAVIOR_ISOLATED)}, "a--b-"));
    EXPECT_EQ("a|b", run({split("-", BEHAVIOR_REMOVED)}, "a--b-"));
    EXPECT_EQ("a-|-|b-", run({split("-", BEHAVIOR_MERGED_WITH_PREVIOUS)}, "a--b-"));
    EXPECT_EQ("a|-|-b|-", run({split("-", BEHAVIOR_MERGED_WITH_NEXT)}, "a--b-"));
    EXPECT_EQ("a|--|b|-", run({split("-", BEHAVIOR_CONTIGUOUS)}, "a--b-"));
    EXPECT_EQ("-|-|-", run({split("-", BEHAVIOR_REMOVED, true)}, "a--b-"));
}

TEST(Pretokenize, NoStepsLeaveOneWordAndNothingLeavesNone)
{
    EXPECT_EQ("a b", run({}, "a b"));
    EXPECT_EQ("", run({}, ""));
    EXPECT_EQ("", run({split("a", BEHAVIOR_REMOVED)}, "aaa"));
}

TEST(Pretokenize, CharacterClasses)
{
    EXPECT_EQ("a|1|2|b", run({step_of(PRETOKENIZE_NUMBERS)}, "a12b"));
    EXPECT_EQ("a|12|b", run({step_of(PRETOKENIZE_NUMBERS, BEHAVIOR_CONTIGUOUS)}, "a12b"));
    EXPECT_EQ("a|b", run({step_of(PRETOKENIZE_SPACES, BEHAVIOR_REMOVED)}, " a \xE3\x80\x80 b "));
    EXPECT_EQ("a|.|。|b", run({step_of(PRETOKENIZE_PUNCTUATION)}, "a.。b"));
    struct pretokenize_step words = step_of(PRETOKENIZE_WORDS, BEHAVIOR_REMOVED);
    words.invert = true;
    EXPECT_EQ("it|'|s|--|a_1|!", run({words}, "it's -- a_1!"));
}

TEST(Pretokenize, TheByteAlphabetIsABijection)
{
    std::set<std::string> seen;
    for (int byte = 0; byte < 256; byte++) {
        char out[2];
        unsigned length = pretokenize_byte_char((unsigned char)byte, out), read = 0;
        EXPECT_EQ(length, text_valid_bytes(out, length));
        EXPECT_EQ(byte, pretokenize_char_byte(text_char(out, &read)));
        EXPECT_EQ(length, read);
        EXPECT_TRUE(seen.insert(std::string(out, length)).second);
    }
    for (uint32_t c : {0x20u, 0x7Fu, 0xADu, 0x144u, 0x2581u, 0x10FFFFu})
        EXPECT_EQ(-1, pretokenize_char_byte(c));
    EXPECT_EQ("Ġ", run({step_of(PRETOKENIZE_BYTE_LEVEL)}, " "));
    EXPECT_EQ("Ń", run({step_of(PRETOKENIZE_BYTE_LEVEL)}, "\xC2\xAD").substr(2));
}

TEST(Pretokenize, ByteLevelCutsAndPutsASpaceInFront)
{
    struct pretokenize_step step = step_of(PRETOKENIZE_BYTE_LEVEL);
    step.split = true;
    step.prepend = PREPEND_ALWAYS;
    ASSERT_EQ(STATUS_OK, pattern_open_regex(&step.pattern, pretokenize_byte_level_regex,
                                            strlen(pretokenize_byte_level_regex), nullptr));
    EXPECT_EQ("Ġit|'s|Ġ|Ġok|!|Ċ", run({step}, "it's  ok!\n"));
}

TEST(Pretokenize, MetaspacePrependsBySchemeAndCutsBeforeMarks)
{
    EXPECT_EQ("_a_b", run({metaspace(PREPEND_ALWAYS, false)}, "a b"));
    EXPECT_EQ("_a_b", run({metaspace(PREPEND_ALWAYS, false)}, " a b"));
    EXPECT_EQ("a|_b|_|_c", run({metaspace(PREPEND_NEVER, true)}, "a b  c"));
    EXPECT_EQ("_a|_b", run({metaspace(PREPEND_FIRST, true)}, "a b"));
    EXPECT_EQ("a|_b", run({metaspace(PREPEND_FIRST, true)}, "a b", false));
    EXPECT_EQ("_a|,|b", run({split(",", BEHAVIOR_ISOLATED), metaspace(PREPEND_FIRST, false)},
        "a,b"));
}

TEST(Pretokenize, EmptyFindsStillCut)
{
    EXPECT_EQ("a|kb|k", run({split("(?=k)", BEHAVIOR_ISOLATED)}, "akbk"));
}

} // namespace
