/* Methods of strings. Every text that a method of a `safe` string gives is safe again, and what
 * it puts into it is escaped, as MarkupSafe does. */
#include <string.h>

#include "engine/template/letter_case.h"
#include "engine/template/methods.h"
#include "engine/template/text_edit.h"
#include "engine/template/text_format.h"
#include "engine/template/value_text.h"

static struct value like(struct value self, struct text text)
{
    struct value v = value_text(text);
    v.markup = self.markup;
    return v;
}

/* An argument as it goes into a text of `self`'s kind. */
static struct text inserted(struct run *run, const char *what, struct value self, struct value v)
{
    struct text text = argument_text(run, what, v);
    if (!self.markup || v.markup)
        return text;
    struct writer w;
    writer_init(&w, run);
    value_write_escaped(&w, text);
    return writer_view(&w);
}

static struct value strip(struct run *run, const char *what, struct value self,
                          const struct arguments *arguments, bool left, bool right)
{
    static const char *const parameters[] = {"chars", NULL};
    struct value chars;
    struct text set = text_of(NULL, 0);
    arguments_bind(run, what, arguments, parameters, 0, &chars);
    if (value_given(chars) && chars.kind != VALUE_NONE)
        set = argument_text(run, what, chars);
    run_charge_search(run, 8 * self.text.size, set.size);
    return like(self, text_strip(self.text, set, left, right));
}

static struct value text_strip_both(struct run *run, struct value self, const struct arguments *a)
{
    return strip(run, "strip()", self, a, true, true);
}

static struct value text_lstrip(struct run *run, struct value self, const struct arguments *a)
{
    return strip(run, "lstrip()", self, a, true, false);
}

static struct value text_rstrip(struct run *run, struct value self, const struct arguments *a)
{
    return strip(run, "rstrip()", self, a, false, true);
}

static struct value split(struct run *run, const char *what, struct value self,
                          const struct arguments *arguments, bool right)
{
    static const char *const parameters[] = {"sep", "maxsplit", NULL};
    struct value bound[2];
    struct text separator = text_of(NULL, 0);
    arguments_bind(run, what, arguments, parameters, 0, bound);
    if (value_given(bound[0]) && bound[0].kind != VALUE_NONE)
        separator = argument_text(run, what, bound[0]);
    int64_t max = argument_integer(run, what, bound[1], -1);
    struct list *parts = right ? text_edit_split_right(run, self.text, separator, max)
                               : text_edit_split(run, self.text, separator, max);
    for (size_t i = 0; i < parts->count; i++)
        parts->items[i].markup = self.markup;
    return value_list(VALUE_LIST, parts);
}

static struct value text_split(struct run *run, struct value self, const struct arguments *a)
{
    return split(run, "split()", self, a, false);
}

static struct value text_rsplit(struct run *run, struct value self, const struct arguments *a)
{
    return split(run, "rsplit()", self, a, true);
}

static struct value text_splitlines(struct run *run, struct value self, const struct arguments *a)
{
    static const char *const parameters[] = {"keepends", NULL};
    struct value keep;
    arguments_bind(run, "splitlines()", a, parameters, 0, &keep);
    struct list *lines = text_edit_lines(run, self.text, argument_truth(keep, false));
    for (size_t i = 0; i < lines->count; i++)
        lines->items[i].markup = self.markup;
    return value_list(VALUE_LIST, lines);
}

/* startswith and endswith: the argument is a text or a tuple of texts. */
static bool touches(struct run *run, const char *what, struct value self,
                    const struct arguments *arguments,
                    bool (*test)(struct text text, struct text part))
{
    static const char *const parameters[] = {"prefix", NULL};
    struct value part;
    arguments_bind(run, what, arguments, parameters, 1, &part);
    if (part.kind != VALUE_TUPLE)
        return test(self.text, argument_text(run, what, part));
    for (size_t i = 0; i < part.list->count; i++) {
        run_charge(run, 1);
        if (test(self.text, argument_text(run, what, part.list->items[i])))
            return true;
    }
    return false;
}

static struct value text_startswith(struct run *run, struct value self, const struct arguments *a)
{
    return value_bool(touches(run, "startswith()", self, a, text_edit_begins));
}

static struct value text_endswith(struct run *run, struct value self, const struct arguments *a)
{
    return value_bool(touches(run, "endswith()", self, a, text_edit_ends));
}

static struct text one_text(struct run *run, const char *what, const struct arguments *arguments)
{
    static const char *const parameters[] = {"text", NULL};
    struct value v;
    arguments_bind(run, what, arguments, parameters, 1, &v);
    return argument_text(run, what, v);
}

static struct value text_removeprefix(struct run *run, struct value self, const struct arguments *a)
{
    struct text part = one_text(run, "removeprefix()", a), text = self.text;
    if (text_edit_begins(text, part))
        text = text_of(text.bytes + part.size, text.size - part.size);
    return like(self, text);
}

static struct value text_removesuffix(struct run *run, struct value self, const struct arguments *a)
{
    struct text part = one_text(run, "removesuffix()", a), text = self.text;
    if (text_edit_ends(text, part))
        text.size -= part.size;
    return like(self, text);
}

/* Where a byte stands, in characters; -1: nowhere. */
static struct value place(struct run *run, struct text text, size_t at)
{
    run_charge_bytes(run, text.size);
    if (at == SIZE_MAX)
        return value_integer(-1);
    return value_integer((int64_t)utf8_count(text_of(text.bytes, at)));
}

static struct value text_find_first(struct run *run, struct value self, const struct arguments *a)
{
    return place(run, self.text, text_find(self.text, one_text(run, "find()", a), 0));
}

static struct value text_rfind(struct run *run, struct value self, const struct arguments *a)
{
    struct text part = one_text(run, "rfind()", a);
    run_charge_search(run, self.text.size, part.size);
    return place(run, self.text, text_find_last(self.text, part));
}

static struct value text_index(struct run *run, struct value self, const struct arguments *a)
{
    size_t at = text_find(self.text, one_text(run, "index()", a), 0);
    if (at == SIZE_MAX)
        run_fail(run, STATUS_INVALID, "index(): the substring is not there");
    return place(run, self.text, at);
}

static struct value text_count(struct run *run, struct value self, const struct arguments *a)
{
    return value_integer(text_edit_count(run, self.text, one_text(run, "count()", a)));
}

static struct value text_replace(struct run *run, struct value self, const struct arguments *a)
{
    static const char *const parameters[] = {"old", "new", "count", NULL};
    struct value bound[3];
    arguments_bind(run, "replace()", a, parameters, 2, bound);
    struct text old = inserted(run, "replace()", self, bound[0]);
    struct text new_text = inserted(run, "replace()", self, bound[1]);
    int64_t max = argument_integer(run, "replace()", bound[2], -1);
    return like(self, text_edit_replace(run, self.text, old, new_text, max));
}

static struct value text_join(struct run *run, struct value self, const struct arguments *a)
{
    static const char *const parameters[] = {"iterable", NULL};
    struct value items;
    struct writer w;
    arguments_bind(run, "join()", a, parameters, 1, &items);
    const struct list *list = value_items(run, items);
    writer_init(&w, run);
    for (size_t i = 0; i < list->count; i++) {
        run_charge(run, 1);
        if (i)
            writer_text(&w, self.text);
        writer_text(&w, inserted(run, "join()", self, list->items[i]));
    }
    return like(self, writer_view(&w));
}

static struct value text_formatted(struct run *run, struct value self, const struct arguments *a)
{
    if (self.markup)
        run_fail(run, STATUS_INVALID, "format() of a safe string is outside the subset");
    return value_text(text_format(run, self.text, a));
}

static struct value text_upper(struct run *run, struct value self, const struct arguments *a)
{
    arguments_none(run, "upper()", a);
    return like(self, letter_case_upper(run, self.text));
}

static struct value text_lower(struct run *run, struct value self, const struct arguments *a)
{
    arguments_none(run, "lower()", a);
    return like(self, letter_case_lower(run, self.text));
}

static struct value text_title(struct run *run, struct value self, const struct arguments *a)
{
    arguments_none(run, "title()", a);
    return like(self, letter_case_title(run, self.text));
}

static struct value text_capitalize(struct run *run, struct value self, const struct arguments *a)
{
    arguments_none(run, "capitalize()", a);
    return like(self, letter_case_capitalize(run, self.text));
}

static bool letter_or_digit(uint32_t c)
{
    return utf8_is_letter(c) || utf8_is_number(c);
}

/* Whether there are characters and `test` holds of all. */
static struct value all(struct run *run, const char *what, struct value self,
                        const struct arguments *a, bool (*test)(uint32_t c))
{
    const char *at = self.text.bytes, *end = at + self.text.size;
    arguments_none(run, what, a);
    run_charge_bytes(run, self.text.size);
    while (at < end) {
        if (!test(utf8_next(&at, end)))
            return value_bool(false);
    }
    return value_bool(self.text.size > 0);
}

static struct value text_isdigit(struct run *run, struct value self, const struct arguments *a)
{
    return all(run, "isdigit()", self, a, utf8_is_digit);
}

static struct value text_isalpha(struct run *run, struct value self, const struct arguments *a)
{
    return all(run, "isalpha()", self, a, utf8_is_letter);
}

static struct value text_isalnum(struct run *run, struct value self, const struct arguments *a)
{
    return all(run, "isalnum()", self, a, letter_or_digit);
}

static struct value text_isspace(struct run *run, struct value self, const struct arguments *a)
{
    return all(run, "isspace()", self, a, utf8_is_space);
}

static struct value text_isupper(struct run *run, struct value self, const struct arguments *a)
{
    arguments_none(run, "isupper()", a);
    return value_bool(letter_case_is_upper(self.text));
}

static struct value text_islower(struct run *run, struct value self, const struct arguments *a)
{
    arguments_none(run, "islower()", a);
    return value_bool(letter_case_is_lower(self.text));
}

const struct method_rule *methods_of_text(void)
{
    static const struct method_rule rules[] = {
        {"strip", text_strip_both, false},
        {"split", text_split, false},
        {"lstrip", text_lstrip, false},
        {"rstrip", text_rstrip, false},
        {"startswith", text_startswith, false},
        {"endswith", text_endswith, false},
        {"replace", text_replace, false},
        {"upper", text_upper, false},
        {"lower", text_lower, false},
        {"title", text_title, false},
        {"capitalize", text_capitalize, false},
        {"join", text_join, false},
        {"rsplit", text_rsplit, false},
        {"splitlines", text_splitlines, false},
        {"removeprefix", text_removeprefix, false},
        {"removesuffix", text_removesuffix, false},
        {"find", text_find_first, false},
        {"rfind", text_rfind, false},
        {"index", text_index, false},
        {"count", text_count, false},
        {"isdigit", text_isdigit, false},
        {"isalpha", text_isalpha, false},
        {"isalnum", text_isalnum, false},
        {"isspace", text_isspace, false},
        {"isupper", text_isupper, false},
        {"islower", text_islower, false},
        {"format", text_formatted, false},
        {"casefold", NULL, false},
        {"center", NULL, false},
        {"encode", NULL, false},
        {"expandtabs", NULL, false},
        {"format_map", NULL, false},
        {"isascii", NULL, false},
        {"isdecimal", NULL, false},
        {"isidentifier", NULL, false},
        {"isnumeric", NULL, false},
        {"isprintable", NULL, false},
        {"istitle", NULL, false},
        {"ljust", NULL, false},
        {"maketrans", NULL, false},
        {"partition", NULL, false},
        {"rindex", NULL, false},
        {"rjust", NULL, false},
        {"rpartition", NULL, false},
        {"swapcase", NULL, false},
        {"translate", NULL, false},
        {"zfill", NULL, false},
        {NULL, NULL, false},
    };
    return rules;
}
