#include "engine/tokenizer/normalize.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <utf8proc.h>

namespace {

struct normalize_step step_of(enum normalize_kind kind)
{
    struct normalize_step step = {};
    step.kind = kind;
    return step;
}

struct normalize_step step_with(enum normalize_kind kind, const std::string &content)
{
    struct normalize_step step = step_of(kind);
    step.content = (char *)malloc(content.size() + 1);
    memcpy(step.content, content.c_str(), content.size() + 1);
    step.content_bytes = content.size();
    return step;
}

std::string run(std::initializer_list<struct normalize_step> steps, const std::string &input,
                size_t bytes_max = 0)
{
    struct normalizer normalizer = {};
    struct normalize_scratch scratch = {};
    struct pattern_scratch patterns = {};
    struct text text = {};
    struct error error = {};
    text.bytes_max = bytes_max;
    for (struct normalize_step step : steps)
        EXPECT_EQ(STATUS_OK, normalizer_add(&normalizer, &step));
    EXPECT_EQ(STATUS_OK, text_append(&text, input.data(), input.size()));
    enum status status = normalizer_run(&normalizer, &scratch, &patterns, &text, &error);
    std::string out = status == STATUS_OK ? std::string(text.data ? text.data : "", text.bytes)
                                          : status_name(status);
    text_reset(&text);
    normalize_scratch_reset(&scratch);
    pattern_scratch_reset(&patterns);
    normalizer_close(&normalizer);
    return out;
}

TEST(Normalize, UnicodeForms)
{
    const std::string s = "e\xCC\x81 \xC3\xA9 \xEF\xAC\x81 \xE2\x84\xAB"; /* e+acute, e-acute, fi,
        angstrom */
    EXPECT_EQ("\xC3\xA9 \xC3\xA9 \xEF\xAC\x81 \xC3\x85", run({step_of(NORMALIZE_NFC)}, s));
    EXPECT_EQ("e\xCC\x81 e\xCC\x81 \xEF\xAC\x81 A\xCC\x8A", run({step_of(NORMALIZE_NFD)}, s));
    EXPECT_EQ("\xC3\xA9 \xC3\xA9 fi \xC3\x85", run({step_of(NORMALIZE_NFKC)}, s));
    EXPECT_EQ("e\xCC\x81 e\xCC\x81 fi A\xCC\x8A", run({step_of(NORMALIZE_NFKD)}, s));
    EXPECT_EQ("", run({step_of(NORMALIZE_NFKC)}, ""));
    EXPECT_EQ(std::string("a\0\xC3\xA9", 4), run({step_of(NORMALIZE_NFC)},
        std::string("a\0e\xCC\x81", 5)));
}

/* The own ordering of marks against the library's, on random runs of marks. */
TEST(Normalize, AgreesWithTheLibraryOnRandomMarks)
{
    const struct {
        enum normalize_kind kind;
        utf8proc_uint8_t *(*reference)(const utf8proc_uint8_t *);
    } forms[] = {{NORMALIZE_NFC, utf8proc_NFC}, {NORMALIZE_NFD, utf8proc_NFD},
                 {NORMALIZE_NFKC, utf8proc_NFKC}, {NORMALIZE_NFKD, utf8proc_NFKD}};
    srand(3);
    for (int round = 0; round < 2000; round++) {
        std::string text;
        for (int n = rand() % 12; n >= 0; n--) {
            static const uint32_t bases[] = {'a', 'q', 0x1100, 0x1161, 0x11A8, 0x5D0, 0x1E9B,
                0xFDFA};
            char bytes[4];
            uint32_t c = rand() % 3 ? 0x300 + (uint32_t)rand() % 0x70 : bases[rand() % 8];
            if (rand() % 9 == 0)
                c = 0x591 + (uint32_t)rand() % 0x30;
            text.append(bytes, text_put_char(bytes, c));
        }
        for (const auto &form : forms) {
            utf8proc_uint8_t *expected = form.reference((const utf8proc_uint8_t *)text.c_str());
            EXPECT_STREQ((const char *)expected, run({step_of(form.kind)}, text).c_str());
            free(expected);
        }
    }
}

TEST(Normalize, LowercasePrependStrip)
{
    EXPECT_EQ("äi\xCC\x87ß", run({step_of(NORMALIZE_LOWERCASE)}, "ÄİSS").substr(0, 5) + "ß");
    EXPECT_EQ("▁a", run({step_with(NORMALIZE_PREPEND, "▁")}, "a"));
    EXPECT_EQ("", run({step_with(NORMALIZE_PREPEND, "▁")}, ""));
    struct normalize_step strip = step_of(NORMALIZE_STRIP);
    EXPECT_EQ(" a ", run({strip}, " a "));
    strip.strip_left = true;
    EXPECT_EQ("a ", run({strip}, " \xE3\x80\x80 a "));
    strip.strip_right = true;
    EXPECT_EQ("a", run({strip}, "\ta \xC2\xA0\n"));
    EXPECT_EQ("", run({strip}, "   "));
}

TEST(Normalize, ReplaceAndItsLimit)
{
    struct normalize_step replace = step_with(NORMALIZE_REPLACE, "12345");
    ASSERT_EQ(STATUS_OK, pattern_open_literal(&replace.pattern, "a", 1));
    EXPECT_EQ("x1234512345", run({replace}, "xaa"));
    replace = step_with(NORMALIZE_REPLACE, "12345");
    ASSERT_EQ(STATUS_OK, pattern_open_literal(&replace.pattern, "a", 1));
    EXPECT_EQ("FULL", run({replace}, "aaa", 14));
    replace = step_with(NORMALIZE_REPLACE, "$0");
    ASSERT_EQ(STATUS_OK, pattern_open_regex(&replace.pattern, " {2,}", 5, nullptr));
    EXPECT_EQ("a$0b c", run({replace}, "a   b c"));
}

TEST(Normalize, StepsRunInOrder)
{
    struct normalize_step replace = step_with(NORMALIZE_REPLACE, "▁");
    ASSERT_EQ(STATUS_OK, pattern_open_literal(&replace.pattern, " ", 1));
    EXPECT_EQ("▁a▁b", run({step_with(NORMALIZE_PREPEND, "▁"), replace}, "a b"));
}

} // namespace
