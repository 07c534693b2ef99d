/* Fields are numbered by themselves or by the format, never both. */
#include "engine/template/text_format.h"

#include "engine/template/value_text.h"

struct fields {
    struct run *run;
    const struct arguments *arguments;
    size_t next; /* of the fields that number themselves */
    bool automatic, manual;
};

static struct value numbered(struct fields *f, size_t index)
{
    if (f->automatic && f->manual)
        run_fail(f->run, STATUS_INVALID, "format(): fields with and without numbers");
    if (index >= f->arguments->positional_count)
        run_fail(f->run, STATUS_INVALID, "format(): no argument for field %zu", index);
    return f->arguments->positional[index];
}

static struct value field_value(struct fields *f, struct text name)
{
    size_t index = 0, digits = 0;
    if (!name.size) {
        f->automatic = true;
        return numbered(f, f->next++);
    }
    for (; digits < name.size && digits < 9; digits++) {
        if (name.bytes[digits] < '0' || name.bytes[digits] > '9')
            break;
        index = 10 * index + (size_t)(name.bytes[digits] - '0');
    }
    if (digits == name.size) {
        f->manual = true;
        return numbered(f, index);
    }
    for (size_t i = 0; i < f->arguments->named_count; i++) {
        if (text_equal(f->arguments->named[i].name, name))
            return f->arguments->named[i].value;
    }
    run_fail(f->run, STATUS_INVALID, "format(): no argument for the field '%.*s'",
             (int)(name.size < 60 ? name.size : 60), name.bytes);
}

/* What stands between { and }. */
static void write_field(struct fields *f, struct writer *w, struct text field)
{
    bool quoted = field.size >= 2 && field.bytes[field.size - 2] == '!' &&
                  field.bytes[field.size - 1] == 'r';
    bool plain = field.size >= 2 && field.bytes[field.size - 2] == '!' &&
                 field.bytes[field.size - 1] == 's';
    if (quoted || plain)
        field.size -= 2;
    for (size_t i = 0; i < field.size; i++) {
        char c = field.bytes[i];
        if (c == ':' || c == '!' || c == '.' || c == '[' || c == '{')
            run_fail(f->run, STATUS_INVALID, "format(): '%c' in a field is outside the subset", c);
    }
    struct value v = field_value(f, field);
    if (quoted)
        value_write_repr(w, v);
    else
        value_write(w, v);
}

struct text text_format(struct run *run, struct text format, const struct arguments *arguments)
{
    struct fields f = {.run = run, .arguments = arguments, .next = 0};
    struct writer w;
    writer_init(&w, run);
    for (size_t at = 0; at < format.size; at++) {
        char c = format.bytes[at];
        bool twice = at + 1 < format.size && format.bytes[at + 1] == c;
        if ((c == '{' || c == '}') && twice) {
            writer_bytes(&w, &c, 1);
            at++;
        } else if (c == '}') {
            run_fail(run, STATUS_INVALID, "format(): a single '}'");
        } else if (c == '{') {
            size_t end = text_find(format, text_of("}", 1), at);
            if (end == SIZE_MAX)
                run_fail(run, STATUS_INVALID, "format(): a field without '}'");
            write_field(&f, &w, text_of(format.bytes + at + 1, end - at - 1));
            at = end;
        } else {
            writer_bytes(&w, &c, 1);
        }
    }
    return writer_view(&w);
}
