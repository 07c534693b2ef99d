/* Filters that give texts. Their input may be any value: it is written out first, as Jinja does. */
#include <string.h>

#include "engine/template/filters.h"
#include "engine/template/letter_case.h"
#include "engine/template/subscript.h"
#include "engine/template/text_edit.h"
#include "engine/template/tojson.h"
#include "engine/template/value_text.h"

static struct value like(struct value input, struct text text)
{
    struct value v = value_text(text);
    v.markup = input.kind == VALUE_TEXT && input.markup;
    return v;
}

static struct value upper(struct run *run, struct value input, const struct arguments *arguments)
{
    arguments_none(run, "upper", arguments);
    return like(input, letter_case_upper(run, value_to_text(run, input)));
}

static struct value lower(struct run *run, struct value input, const struct arguments *arguments)
{
    arguments_none(run, "lower", arguments);
    return like(input, letter_case_lower(run, value_to_text(run, input)));
}

static struct value capitalize(struct run *run, struct value input,
                               const struct arguments *arguments)
{
    arguments_none(run, "capitalize", arguments);
    return like(input, letter_case_capitalize(run, value_to_text(run, input)));
}

static struct value title(struct run *run, struct value input, const struct arguments *arguments)
{
    arguments_none(run, "title", arguments);
    return value_text(letter_case_headline(run, value_to_text(run, input)));
}

static struct value trim(struct run *run, struct value input, const struct arguments *arguments)
{
    static const char *const parameters[] = {"chars", NULL};
    struct value chars;
    struct text text = value_to_text(run, input), set = text_of(NULL, 0);
    arguments_bind(run, "trim", arguments, parameters, 0, &chars);
    if (value_given(chars) && chars.kind != VALUE_NONE)
        set = argument_text(run, "trim", chars);
    run_charge_search(run, 8 * text.size, set.size);
    return like(input, text_strip(text, set, true, true));
}

static struct value replace(struct run *run, struct value input, const struct arguments *arguments)
{
    static const char *const parameters[] = {"old", "new", "count", NULL};
    struct value bound[3];
    arguments_bind(run, "replace", arguments, parameters, 2, bound);
    int64_t max = bound[2].kind == VALUE_NONE ? -1 : argument_integer(run, "replace", bound[2], -1);
    struct text text = value_to_text(run, input);
    struct text old = value_to_text(run, bound[0]), new_text = value_to_text(run, bound[1]);
    return value_text(text_edit_replace(run, text, old, new_text, max));
}

static struct value join(struct run *run, struct value input, const struct arguments *arguments)
{
    static const char *const parameters[] = {"d", "attribute", NULL};
    struct value bound[2];
    struct writer w;
    arguments_bind(run, "join", arguments, parameters, 0, bound);
    struct text between = value_given(bound[0]) ? value_to_text(run, bound[0]) : text_of("", 0);
    const struct list *items = value_items(run, input);
    writer_init(&w, run);
    for (size_t i = 0; i < items->count; i++) {
        struct value item = items->items[i];
        run_charge(run, 1);
        if (i)
            writer_text(&w, between);
        if (value_given(bound[1]) && bound[1].kind != VALUE_NONE)
            item = subscript_path(run, item, bound[1]);
        value_write(&w, item);
    }
    return value_text(writer_view(&w));
}

static struct value string(struct run *run, struct value input, const struct arguments *arguments)
{
    arguments_none(run, "string", arguments);
    return like(input, value_to_text(run, input));
}

static struct value safe(struct run *run, struct value input, const struct arguments *arguments)
{
    arguments_none(run, "safe", arguments);
    struct value v = value_text(value_to_text(run, input));
    v.markup = true;
    return v;
}

static struct value escape(struct run *run, struct value input, const struct arguments *arguments)
{
    struct writer w;
    arguments_none(run, "escape", arguments);
    if (input.kind == VALUE_TEXT && input.markup)
        return input;
    writer_init(&w, run);
    value_write_escaped(&w, value_to_text(run, input));
    struct value v = value_text(writer_view(&w));
    v.markup = true;
    return v;
}

static struct text spaces(struct run *run, struct value width, int64_t fallback)
{
    struct writer w;
    if (value_given(width) && width.kind == VALUE_TEXT)
        return width.text;
    int64_t count = argument_integer(run, "indent", width, fallback);
    writer_init(&w, run);
    writer_repeat(&w, ' ', count > 0 ? (size_t)count : 0);
    return writer_view(&w);
}

static struct value indent(struct run *run, struct value input, const struct arguments *arguments)
{
    static const char *const parameters[] = {"width", "first", "blank", NULL};
    struct value bound[3];
    struct writer w, line_end;
    arguments_bind(run, "indent", arguments, parameters, 0, bound);
    value_need_defined(run, input);
    struct text indention = spaces(run, bound[0], 4);
    bool first = argument_truth(bound[1], false), blank = argument_truth(bound[2], false);
    writer_init(&line_end, run); /* one line's end more, so that a last one is not lost */
    writer_text(&line_end, argument_text(run, "indent", input));
    writer_string(&line_end, "\n");
    const struct list *lines = text_edit_lines(run, writer_view(&line_end), false);
    writer_init(&w, run);
    if (first)
        writer_text(&w, indention);
    for (size_t i = 0; i < lines->count; i++) {
        struct text line = lines->items[i].text;
        if (i) {
            writer_string(&w, "\n");
            if (line.size || blank)
                writer_text(&w, indention);
        }
        writer_text(&w, line);
    }
    return like(input, writer_view(&w));
}

static void tojson_indent(struct run *run, struct value v, struct tojson_style *style)
{
    if (!value_given(v) || v.kind == VALUE_NONE)
        return;
    style->lines = true;
    style->between_items = text_of(",", 1);
    style->indent = spaces(run, v, 0);
}

static void tojson_separators(struct run *run, struct value v, struct tojson_style *style)
{
    if (!value_given(v) || v.kind == VALUE_NONE)
        return;
    const struct list *pair = value_items(run, v);
    if (pair->count != 2)
        run_fail(run, STATUS_INVALID, "tojson: separators are two strings");
    style->between_items = argument_text(run, "tojson", pair->items[0]);
    style->between_key_and_value = argument_text(run, "tojson", pair->items[1]);
}

static struct value tojson(struct run *run, struct value input, const struct arguments *arguments)
{
    static const char *const parameters[] = {"ensure_ascii", "indent", "separators", "sort_keys",
                                             NULL};
    struct value bound[4];
    struct writer w;
    arguments_bind(run, "tojson", arguments, parameters, 0, bound);
    struct tojson_style style = {
        .ascii = argument_truth(bound[0], false),
        .between_items = text_of(", ", 2),
        .between_key_and_value = text_of(": ", 2),
        .sort_keys = argument_truth(bound[3], false),
    };
    tojson_indent(run, bound[1], &style);
    tojson_separators(run, bound[2], &style);
    writer_init(&w, run);
    tojson_write(&w, input, &style);
    return value_text(writer_view(&w));
}

const struct filter *filters_of_text(void)
{
    static const struct filter table[] = {
        {"upper", upper},     {"lower", lower},   {"capitalize", capitalize}, {"title", title},
        {"trim", trim},       {"replace", replace}, {"join", join},           {"string", string},
        {"safe", safe},       {"escape", escape}, {"e", escape},              {"indent", indent},
        {"tojson", tojson},   {NULL, NULL},
    };
    return table;
}
