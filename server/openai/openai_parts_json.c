/* A call as an object {"name":..., "arguments":{...}}, or a list of such objects, behind a mark or
 * bare. Its members are looked at where they stand in the buffer, which keeps the object until its
 * name is known and its arguments begin. */
#include "server/openai/openai_parts_inside.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* Of an object whose name, or what its arguments are, is not known yet. What is no call is read
 * again from behind its mark, which this keeps cheap where a text is full of marks. */
#define HEAD_BYTES_MAX 65536u

enum member { OTHER, NAME, ARGUMENT };

/* ---- its object ---- */

static void begin_object(struct openai_parts *p)
{
    openai_scan_init(&p->scan);
    p->member = OTHER;
    p->arguments_from = p->arguments_to = 0;
    p->state = PARTS_HEAD;
}

static bool read_open(struct openai_parts *p)
{
    if (!parts_skip_space(p))
        return false;
    if (p->data[p->at] == '[' && !p->list && p->state == PARTS_OPEN) {
        p->list = true;
        p->state = PARTS_ITEM;
        p->at++;
        return true;
    }
    if (p->data[p->at] != '{')
        return parts_give_back(p);
    begin_object(p);
    return true;
}

static bool equals(const struct openai_parts *p, size_t from, size_t end, const char *word)
{
    return end - from == strlen(word) && memcmp(p->data + from, word, end - from) == 0;
}

static enum member member_of(const struct openai_parts *p, size_t from, size_t end)
{
    if (!p->name && equals(p, from, end, "name"))
        return NAME;
    if (p->arguments_from == p->arguments_to &&
        (equals(p, from, end, "arguments") || equals(p, from, end, "parameters")))
        return ARGUMENT;
    return OTHER;
}

/* The string, with its quotation marks, at [from, end): malloc'ed. NULL: it is none, or empty, or
 * holds a NUL, or `failed`. */
static char *read_string(struct openai_parts *p, size_t from, size_t end)
{
    json_t *value = json_loadb(p->data + from, end - from, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    const char *text = json_string_value(value);
    char *copy = NULL;
    if (text && *text && strlen(text) == json_string_length(value)) {
        copy = strdup(text);
        p->failed = p->failed || !copy;
    }
    json_decref(value);
    return copy;
}

static bool is_tool(const struct openai_reading *r, const char *name)
{
    for (uint32_t i = 0; i < r->name_count; i++)
        if (strcmp(r->names[i], name) == 0)
            return true;
    return false;
}

/* An answer without a mark may be JSON for its own sake. */
static bool may_call(const struct openai_parts *p)
{
    return p->name && (!p->bare || is_tool(p->reading, p->name));
}

/* Arguments begin. They are passed on as they come if they are an object and it is known whose. */
static bool begin_arguments(struct openai_parts *p)
{
    char byte = p->data[p->at];
    if (byte != '{' && byte != '"' && byte != 'n')
        return false;
    if (byte == 'n') { /* null: as if they were not there */
        p->member = OTHER;
        return true;
    }
    p->arguments_from = p->at;
    if (byte != '{' || !p->name)
        return true;
    if (!may_call(p))
        return false;
    parts_begin_call(p, p->name);
    p->sent = p->at;
    p->state = PARTS_ARGUMENTS;
    return true;
}

static bool end_value(struct openai_parts *p)
{
    if (p->member == NAME) {
        p->name = read_string(p, p->member_from, p->at + 1);
        return p->name != NULL;
    }
    if (p->member == ARGUMENT)
        p->arguments_to = p->at + 1;
    return true;
}

/* The object has ended, and its arguments had to wait: for the name, or because they are JSON
 * within a string. */
static bool end_head(struct openai_parts *p)
{
    bool none = p->arguments_from == p->arguments_to;
    size_t from = p->arguments_from, to = p->arguments_to;
    if (!may_call(p))
        return false;
    parts_begin_call(p, p->name);
    char *inner = !none && p->data[from] == '"' ? read_string(p, from, to) : NULL;
    if (inner)
        parts_tell(p, OPENAI_PART_ARGUMENTS, inner, strlen(inner));
    else if (none || to - from == 2) /* "" or {} */
        parts_tell(p, OPENAI_PART_ARGUMENTS, "{}", 2);
    else
        parts_tell(p, OPENAI_PART_ARGUMENTS, p->data + from, to - from);
    free(inner);
    return true;
}

static bool read_head(struct openai_parts *p)
{
    bool ok = true;
    for (; p->at < p->bytes && ok && p->state == PARTS_HEAD; p->at++) {
        switch (openai_scan_push(&p->scan, p->data[p->at])) {
        case OPENAI_SCAN_NAME_BEGINS:
            p->member_from = p->at + 1;
            break;
        case OPENAI_SCAN_NAME_ENDS:
            p->member = member_of(p, p->member_from, p->at);
            break;
        case OPENAI_SCAN_VALUE_BEGINS:
            p->member_from = p->at;
            ok = p->member != ARGUMENT || begin_arguments(p);
            ok = ok && (p->member != NAME || p->data[p->at] == '"');
            break;
        case OPENAI_SCAN_VALUE_ENDS:
            ok = end_value(p);
            break;
        case OPENAI_SCAN_ENDS:
            ok = end_head(p);
            p->at++;
            return ok ? parts_end_call(p) : parts_give_back(p);
        case OPENAI_SCAN_BROKEN:
            ok = false;
            break;
        case OPENAI_SCAN_MORE:
            ok = p->at - p->mark < HEAD_BYTES_MAX;
            break;
        }
    }
    return ok ? p->state != PARTS_HEAD : parts_give_back(p);
}

static bool read_arguments(struct openai_parts *p)
{
    enum openai_scan_step step = OPENAI_SCAN_MORE;
    while (p->at < p->bytes && step == OPENAI_SCAN_MORE) {
        step = openai_scan_push(&p->scan, p->data[p->at]);
        p->at += step != OPENAI_SCAN_BROKEN;
    }
    parts_tell_until(p, OPENAI_PART_ARGUMENTS, p->at);
    if (step == OPENAI_SCAN_MORE)
        return false;
    p->state = step == OPENAI_SCAN_BROKEN ? PARTS_RUINED : PARTS_TAIL;
    return true;
}

static bool read_tail(struct openai_parts *p)
{
    while (p->at < p->bytes) {
        enum openai_scan_step step = openai_scan_push(&p->scan, p->data[p->at]);
        if (step == OPENAI_SCAN_BROKEN)
            return parts_end_call(p);
        p->sent = ++p->at;
        if (step == OPENAI_SCAN_ENDS)
            return parts_end_call(p);
    }
    return false;
}

/* ---- behind one of a list ---- */

static bool read_next(struct openai_parts *p)
{
    if (!parts_skip_space(p))
        return false;
    char byte = p->data[p->at];
    if (byte == ',') {
        p->at++;
        p->state = PARTS_ITEM;
        p->mark = p->sent;
    } else if (byte == ']') {
        p->sent = ++p->at;
        p->state = PARTS_CLOSE;
    } else {
        p->at = p->sent;
        p->state = PARTS_CONTENT;
    }
    return true;
}

bool parts_step_json(struct openai_parts *p)
{
    switch (p->state) {
    case PARTS_HEAD: return read_head(p);
    case PARTS_ARGUMENTS: return read_arguments(p);
    case PARTS_TAIL: return read_tail(p);
    case PARTS_NEXT: return read_next(p);
    default: return read_open(p);
    }
}
