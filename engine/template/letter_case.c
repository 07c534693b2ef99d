/* Case mapping. utf8proc knows the mappings of one letter to one; the table holds the others
 * (SpecialCasing of the Unicode standard, unconditional rows), the Greek letters with iota below,
 * 0x1F80 to 0x1FAF, follow a rule, and a capital sigma at the end of a word becomes the final
 * form. */
#include "engine/template/letter_case.h"

#include <utf8proc.h>

struct special {
    uint32_t from, upper[3], title[3];
};

static const struct special specials[] = {
    {0x00DF, {0x53, 0x53}, {0x53, 0x73}}, {0x0149, {0x2BC, 0x4E}, {0x2BC, 0x4E}},
    {0x01F0, {0x4A, 0x30C}, {0x4A, 0x30C}}, {0x0390, {0x399, 0x308, 0x301}, {0x399, 0x308, 0x301}},
    {0x03B0, {0x3A5, 0x308, 0x301}, {0x3A5, 0x308, 0x301}},
    {0x0587, {0x535, 0x552}, {0x535, 0x582}}, {0x1E96, {0x48, 0x331}, {0x48, 0x331}},
    {0x1E97, {0x54, 0x308}, {0x54, 0x308}}, {0x1E98, {0x57, 0x30A}, {0x57, 0x30A}},
    {0x1E99, {0x59, 0x30A}, {0x59, 0x30A}}, {0x1E9A, {0x41, 0x2BE}, {0x41, 0x2BE}},
    {0x1F50, {0x3A5, 0x313}, {0x3A5, 0x313}},
    {0x1F52, {0x3A5, 0x313, 0x300}, {0x3A5, 0x313, 0x300}},
    {0x1F54, {0x3A5, 0x313, 0x301}, {0x3A5, 0x313, 0x301}},
    {0x1F56, {0x3A5, 0x313, 0x342}, {0x3A5, 0x313, 0x342}},
    {0x1FB2, {0x1FBA, 0x399}, {0x1FBA, 0x345}}, {0x1FB3, {0x391, 0x399}, {0x1FBC}},
    {0x1FB4, {0x386, 0x399}, {0x386, 0x345}}, {0x1FB6, {0x391, 0x342}, {0x391, 0x342}},
    {0x1FB7, {0x391, 0x342, 0x399}, {0x391, 0x342, 0x345}}, {0x1FBC, {0x391, 0x399}, {0x1FBC}},
    {0x1FC2, {0x1FCA, 0x399}, {0x1FCA, 0x345}}, {0x1FC3, {0x397, 0x399}, {0x1FCC}},
    {0x1FC4, {0x389, 0x399}, {0x389, 0x345}}, {0x1FC6, {0x397, 0x342}, {0x397, 0x342}},
    {0x1FC7, {0x397, 0x342, 0x399}, {0x397, 0x342, 0x345}}, {0x1FCC, {0x397, 0x399}, {0x1FCC}},
    {0x1FD2, {0x399, 0x308, 0x300}, {0x399, 0x308, 0x300}},
    {0x1FD3, {0x399, 0x308, 0x301}, {0x399, 0x308, 0x301}},
    {0x1FD6, {0x399, 0x342}, {0x399, 0x342}},
    {0x1FD7, {0x399, 0x308, 0x342}, {0x399, 0x308, 0x342}},
    {0x1FE2, {0x3A5, 0x308, 0x300}, {0x3A5, 0x308, 0x300}},
    {0x1FE3, {0x3A5, 0x308, 0x301}, {0x3A5, 0x308, 0x301}},
    {0x1FE4, {0x3A1, 0x313}, {0x3A1, 0x313}}, {0x1FE6, {0x3A5, 0x342}, {0x3A5, 0x342}},
    {0x1FE7, {0x3A5, 0x308, 0x342}, {0x3A5, 0x308, 0x342}},
    {0x1FF2, {0x1FFA, 0x399}, {0x1FFA, 0x345}}, {0x1FF3, {0x3A9, 0x399}, {0x1FFC}},
    {0x1FF4, {0x38F, 0x399}, {0x38F, 0x345}}, {0x1FF6, {0x3A9, 0x342}, {0x3A9, 0x342}},
    {0x1FF7, {0x3A9, 0x342, 0x399}, {0x3A9, 0x342, 0x345}}, {0x1FFC, {0x3A9, 0x399}, {0x1FFC}},
    {0xFB00, {0x46, 0x46}, {0x46, 0x66}}, {0xFB01, {0x46, 0x49}, {0x46, 0x69}},
    {0xFB02, {0x46, 0x4C}, {0x46, 0x6C}}, {0xFB03, {0x46, 0x46, 0x49}, {0x46, 0x66, 0x69}},
    {0xFB04, {0x46, 0x46, 0x4C}, {0x46, 0x66, 0x6C}}, {0xFB05, {0x53, 0x54}, {0x53, 0x74}},
    {0xFB06, {0x53, 0x54}, {0x53, 0x74}}, {0xFB13, {0x544, 0x546}, {0x544, 0x576}},
    {0xFB14, {0x544, 0x535}, {0x544, 0x565}}, {0xFB15, {0x544, 0x53B}, {0x544, 0x56B}},
    {0xFB16, {0x54E, 0x546}, {0x54E, 0x576}}, {0xFB17, {0x544, 0x53D}, {0x544, 0x56D}},
};

#define IOTA 0x399u

/* The full mapping of `c` into `to`; letters written. */
static int map_special(uint32_t c, bool title, uint32_t to[3])
{
    static const uint32_t greek[] = {0x1F08, 0x1F28, 0x1F68};
    if (c >= 0x1F80 && c <= 0x1FAF) {
        to[0] = title ? c | 8 : greek[(c - 0x1F80) / 16] + (c & 7);
        to[1] = IOTA;
        return title ? 1 : 2;
    }
    for (size_t i = 0; i < sizeof specials / sizeof *specials; i++) {
        const uint32_t *mapped = title ? specials[i].title : specials[i].upper;
        int count = 0;
        if (specials[i].from != c)
            continue;
        for (; count < 3 && mapped[count]; count++)
            to[count] = mapped[count];
        return count;
    }
    return 0;
}

static void put_upper(struct writer *w, uint32_t c, bool title)
{
    uint32_t to[3];
    int count = c < 0xDF ? 0 : map_special(c, title, to);
    for (int i = 0; i < count; i++)
        writer_point(w, to[i]);
    if (!count) {
        utf8proc_int32_t from = (utf8proc_int32_t)c;
        writer_point(w, (uint32_t)(title ? utf8proc_totitle(from) : utf8proc_toupper(from)));
    }
}

static bool cased(uint32_t c)
{
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL ||
           category == UTF8PROC_CATEGORY_LT;
}

/* Between a letter and the end of its word without ending it. */
static bool ignorable(uint32_t c)
{
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_ME ||
           category == UTF8PROC_CATEGORY_CF || category == UTF8PROC_CATEGORY_LM ||
           category == UTF8PROC_CATEGORY_SK || c == '\'' || c == '.' || c == ':' || c == 0xB7 ||
           c == 0x2019;
}

/* `before`: a cased letter stands before the sigma, whose successor is at `at`. */
static bool ends_word(bool before, const char *at, const char *end)
{
    while (before && at < end) {
        uint32_t c = utf8_next(&at, end);
        if (!ignorable(c))
            return !cased(c);
    }
    return before;
}

static void put_lower(struct writer *w, uint32_t c, bool before, const char *at, const char *end)
{
    if (c == 0x130) { /* I with a dot keeps it */
        writer_point(w, 'i');
        writer_point(w, 0x307);
    } else if (c == 0x3A3) {
        writer_point(w, ends_word(before, at, end) ? 0x3C2 : 0x3C3);
    } else {
        writer_point(w, (uint32_t)utf8proc_tolower((utf8proc_int32_t)c));
    }
}

enum letters { ALL_UPPER, ALL_LOWER, FIRST_TITLE, EACH_TITLE };

static struct text map(struct run *run, struct text text, enum letters letters)
{
    const char *at = text.bytes, *end = text.bytes + text.size;
    bool before = false, in_word = false, first = true; /* before: but for what is ignorable */
    struct writer w;
    writer_init(&w, run);
    while (at < end) {
        uint32_t c = utf8_next(&at, end);
        bool title = (letters == FIRST_TITLE && first) || (letters == EACH_TITLE && !in_word);
        if (letters == ALL_UPPER || title)
            put_upper(&w, c, title);
        else
            put_lower(&w, c, before, at, end);
        in_word = cased(c);
        if (!ignorable(c))
            before = in_word;
        first = false;
    }
    return writer_view(&w);
}

struct text letter_case_upper(struct run *run, struct text text)
{
    return map(run, text, ALL_UPPER);
}

struct text letter_case_lower(struct run *run, struct text text)
{
    return map(run, text, ALL_LOWER);
}

struct text letter_case_capitalize(struct run *run, struct text text)
{
    return map(run, text, FIRST_TITLE);
}

struct text letter_case_title(struct run *run, struct text text)
{
    return map(run, text, EACH_TITLE);
}

static bool between_words(uint32_t c)
{
    return utf8_is_space(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
}

struct text letter_case_headline(struct run *run, struct text text)
{
    const char *at = text.bytes, *end = text.bytes + text.size;
    struct writer w;
    writer_init(&w, run);
    while (at < end) {
        uint32_t c = utf8_next(&at, end);
        if (between_words(c)) {
            writer_point(&w, c);
            continue;
        }
        put_upper(&w, c, false);
        const char *word = at, *behind = at;
        for (; at < end; behind = at) {
            c = utf8_next(&at, end);
            if (between_words(c))
                break;
        }
        writer_text(&w, letter_case_lower(run, text_of(word, (size_t)(behind - word))));
        at = behind;
    }
    return writer_view(&w);
}

static bool all(struct text text, utf8proc_category_t wanted)
{
    const char *at = text.bytes, *end = text.bytes + text.size;
    bool any = false;
    while (at < end) {
        uint32_t c = utf8_next(&at, end);
        if (!cased(c))
            continue;
        if (utf8proc_category((utf8proc_int32_t)c) != wanted)
            return false;
        any = true;
    }
    return any;
}

bool letter_case_is_upper(struct text text)
{
    return all(text, UTF8PROC_CATEGORY_LU);
}

bool letter_case_is_lower(struct text text)
{
    return all(text, UTF8PROC_CATEGORY_LL);
}
