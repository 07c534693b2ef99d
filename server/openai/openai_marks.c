/* A stand-in is U+FDD0, the number in base 16 with the digits U+FDE0 .. U+FDEF, U+FDD1. Numbers
 * below `count` are special tokens, those from there on the 32 noncharacters themselves. Special
 * tokens are found by their first byte and then the longest that fits: nearly all begin with '<'
 * or '[', so text without these costs a look-up for each byte. */
#include "server/openai/openai_marks.h"

#include <stdlib.h>
#include <string.h>

#include "server/jsonw.h"

enum { BEGIN = 0x90, END = 0x91, DIGIT = 0xa0, NONCHARACTERS = 32 };

struct mark {
    const char *text;
    size_t bytes;
};

struct openai_marks {
    struct mark *mark; /* by first byte, then the longest first */
    uint32_t count;
    uint32_t first[257];
    char noncharacter[NONCHARACTERS][3];
};

static int by_first_and_length(const void *a, const void *b)
{
    const struct mark *x = a, *y = b;
    unsigned char first_x = (unsigned char)*x->text, first_y = (unsigned char)*y->text;
    if (first_x != first_y)
        return first_x < first_y ? -1 : 1;
    if (x->bytes != y->bytes)
        return x->bytes > y->bytes ? -1 : 1;
    return memcmp(x->text, y->text, x->bytes);
}

enum status openai_marks_open(struct openai_marks **out, const struct tokenizer *tokenizer,
                              struct error *error)
{
    uint32_t vocab = tokenizer_vocab_size(tokenizer), count = 0;
    struct openai_marks *m = calloc(1, sizeof *m);
    for (uint32_t id = 0; id < vocab; id++)
        count += tokenizer_is_special(tokenizer, id);
    if (m)
        m->mark = calloc(count + 1, sizeof *m->mark);
    if (!m || !m->mark) {
        openai_marks_close(m);
        return error_set(error, STATUS_NO_MEMORY, "out of memory for the special tokens");
    }
    for (uint32_t id = 0; id < vocab; id++) {
        const char *text = tokenizer_is_special(tokenizer, id) ? tokenizer_entry(tokenizer, id)
                                                               : NULL;
        if (text && *text)
            m->mark[m->count++] = (struct mark){text, strlen(text)};
    }
    qsort(m->mark, m->count, sizeof *m->mark, by_first_and_length);
    for (uint32_t i = 0, byte = 0; byte < 256; byte++) {
        while (i < m->count && (unsigned char)*m->mark[i].text == byte)
            i++;
        m->first[byte + 1] = i;
    }
    for (unsigned i = 0; i < NONCHARACTERS; i++) {
        char text[3] = {(char)0xef, (char)0xb7, (char)(0x90 + i)};
        memcpy(m->noncharacter[i], text, 3);
    }
    *out = m;
    return STATUS_OK;
}

void openai_marks_close(struct openai_marks *m)
{
    if (!m)
        return;
    free(m->mark);
    free(m);
}

/* ---- hiding ---- */

static bool is_noncharacter(const char *text, size_t bytes)
{
    const unsigned char *p = (const unsigned char *)text;
    return bytes >= 3 && p[0] == 0xef && p[1] == 0xb7 && p[2] >= 0x90 &&
           p[2] < 0x90 + NONCHARACTERS;
}

/* Number and length of what is special at the beginning of `text`; false: nothing. */
static bool find_mark(const struct openai_marks *m, const char *text, size_t bytes,
                      uint32_t *number, size_t *length)
{
    unsigned char first = (unsigned char)*text;
    for (uint32_t i = m->first[first]; i < m->first[first + 1]; i++)
        if (m->mark[i].bytes <= bytes && memcmp(m->mark[i].text, text, m->mark[i].bytes) == 0) {
            *number = i;
            *length = m->mark[i].bytes;
            return true;
        }
    if (!is_noncharacter(text, bytes))
        return false;
    *number = m->count + (unsigned char)text[2] - 0x90;
    *length = 3;
    return true;
}

static void put_stand_in(struct jsonw *w, uint32_t number)
{
    char one[3] = {(char)0xef, (char)0xb7, (char)BEGIN};
    jsonw_plain(w, one, sizeof one);
    for (int shift = 28; shift >= 0; shift -= 4) {
        if (shift && number >> shift == 0)
            continue;
        one[2] = (char)(DIGIT + (number >> shift & 15));
        jsonw_plain(w, one, sizeof one);
    }
    one[2] = (char)END;
    jsonw_plain(w, one, sizeof one);
}

/* The text with stand-ins in `out`; false: there is nothing to hide in it. */
static bool hide_text(const struct openai_marks *m, const char *text, size_t bytes,
                      struct jsonw *out)
{
    size_t done = 0, length;
    uint32_t number;
    bool any = false;
    for (size_t at = 0; at < bytes;) {
        if (!find_mark(m, text + at, bytes - at, &number, &length)) {
            at++;
            continue;
        }
        any = true;
        jsonw_plain(out, text + done, at - done);
        put_stand_in(out, number);
        done = at += length;
    }
    if (any)
        jsonw_plain(out, text + done, bytes - done);
    return any;
}

static json_t *hide_string(const struct openai_marks *m, const json_t *value)
{
    struct jsonw w = {0};
    json_t *hidden = NULL;
    if (!hide_text(m, json_string_value(value), json_string_length(value), &w))
        hidden = json_incref((json_t *)value);
    else if (!w.failed)
        hidden = json_stringn(w.data, w.bytes);
    jsonw_close(&w);
    return hidden;
}

static bool add_member(const struct openai_marks *m, json_t *object, const char *key,
                       const json_t *value)
{
    struct jsonw w = {0};
    bool renamed = hide_text(m, key, strlen(key), &w);
    jsonw_plain(&w, "", 1);
    json_t *hidden = w.failed ? NULL : openai_marks_hide(m, value);
    bool ok = hidden &&
              json_object_set_new_nocheck(object, renamed ? w.data : key, hidden) == 0;
    jsonw_close(&w);
    return ok;
}

json_t *openai_marks_hide(const struct openai_marks *m, const json_t *value)
{
    json_t *copy, *item;
    const char *key;
    size_t i;
    bool ok = true;
    if (json_is_string(value))
        return hide_string(m, value);
    if (json_is_array(value)) {
        copy = json_array();
        json_array_foreach((json_t *)value, i, item)
            ok = ok && copy && json_array_append_new(copy, openai_marks_hide(m, item)) == 0;
    } else if (json_is_object(value)) {
        copy = json_object();
        json_object_foreach((json_t *)value, key, item)
            ok = ok && copy && add_member(m, copy, key, item);
    } else {
        return json_incref((json_t *)value);
    }
    if (ok)
        return copy;
    json_decref(copy);
    return NULL;
}

/* ---- cutting ---- */

/* The stand-in that `text` begins with; its length, or 0: none. */
static size_t read_stand_in(const struct openai_marks *m, const char *text, size_t bytes,
                            struct openai_piece *out)
{
    size_t at = 3;
    uint64_t number = 0;
    if (!is_noncharacter(text, bytes) || (unsigned char)text[2] != BEGIN)
        return 0;
    for (; is_noncharacter(text + at, bytes - at); at += 3) {
        unsigned char c = (unsigned char)text[at + 2];
        if (c == END && at > 3)
            break;
        if (c < DIGIT || number > UINT32_MAX / 16)
            return 0;
        number = number << 4 | (c & 15);
    }
    if (!is_noncharacter(text + at, bytes - at) || number >= (uint64_t)m->count + NONCHARACTERS)
        return 0;
    if (number < m->count)
        *out = (struct openai_piece){m->mark[number].text, m->mark[number].bytes, true};
    else
        *out = (struct openai_piece){m->noncharacter[number - m->count], 3, true};
    return at + 3;
}

bool openai_marks_next(const struct openai_marks *m, const char *text, size_t bytes, size_t *at,
                       struct openai_piece *out)
{
    struct openai_piece ahead;
    size_t end = *at;
    if (end >= bytes)
        return false;
    size_t length = read_stand_in(m, text + end, bytes - end, out);
    if (length) {
        *at += length;
        return true;
    }
    do
        end++;
    while (end < bytes && !read_stand_in(m, text + end, bytes - end, &ahead));
    *out = (struct openai_piece){text + *at, end - *at, false};
    *at = end;
    return true;
}
