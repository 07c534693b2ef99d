/* A call as tags: the tool's name, then each argument's name and value between marks of their own.
 * The arguments are put together as JSON, one when its value has ended: what a value is, text or
 * JSON, is said by the tool's schema and by the value as a whole. There is no way back once the
 * name has come out, so where the tags go wrong the arguments end, and what follows is content. */
#include "server/openai/openai_parts_inside.h"

#include <stdlib.h>
#include <string.h>

#include "server/jsonw.h"

#define NAME_BYTES_MAX 256u

static const struct openai_tags *tags_of(const struct openai_parts *p)
{
    return p->reading->syntax->tags;
}

/* Moves to `mark`, wherever it stands. */
static enum parts_fit find(struct openai_parts *p, const char *mark)
{
    enum parts_fit fit = FIT_NO;
    for (; p->at < p->bytes && fit == FIT_NO; p->at += fit == FIT_NO)
        fit = p->data[p->at] == *mark ? parts_fits(p, mark) : FIT_NO;
    return fit;
}

/* ---- the name ---- */

static bool read_tag_open(struct openai_parts *p)
{
    const char *before = tags_of(p)->before_name;
    if (!parts_skip_space(p))
        return false;
    enum parts_fit fit = before ? parts_fits(p, before) : FIT_YES;
    if (fit == FIT_NO)
        return parts_give_back(p);
    if (fit == FIT_YES) {
        p->at += before ? strlen(before) : 0;
        p->member_from = p->at;
        p->state = PARTS_TAG_NAME;
    }
    return fit == FIT_YES;
}

static bool is_name_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("_-.:/", c));
}

/* A name ends with a mark, or before white space or the next tag. */
static bool read_tag_name(struct openai_parts *p)
{
    const char *behind = tags_of(p)->behind_name;
    while (p->at < p->bytes && is_name_byte(p->data[p->at]))
        p->at++;
    size_t length = p->at - p->member_from;
    if (p->at == p->bytes && length <= NAME_BYTES_MAX)
        return false;
    if (!length || length > NAME_BYTES_MAX)
        return parts_give_back(p);
    enum parts_fit fit = behind ? parts_fits(p, behind)
                         : strchr("< \n\r\t", p->data[p->at]) && p->data[p->at] ? FIT_YES
                                                                               : FIT_NO;
    if (fit != FIT_YES)
        return fit == FIT_NO && parts_give_back(p);
    p->name = strndup(p->data + p->member_from, length);
    if (!p->name) {
        p->failed = true;
        return false;
    }
    p->at += behind ? strlen(behind) : 0;
    p->sent = p->at;
    p->fields = 0;
    p->state = PARTS_TAG_FIELD;
    parts_begin_call(p, p->name);
    parts_tell(p, OPENAI_PART_ARGUMENTS, "{", 1);
    return true;
}

/* ---- arguments ---- */

static bool end_arguments(struct openai_parts *p)
{
    parts_tell(p, OPENAI_PART_ARGUMENTS, "}", 1);
    return parts_end_call(p);
}

static bool read_tag_field(struct openai_parts *p)
{
    const struct openai_tags *tags = tags_of(p);
    if (!parts_skip_space(p))
        return false;
    p->sent = p->at;
    enum parts_fit key = parts_fits(p, tags->before_key);
    enum parts_fit end = tags->behind_call ? parts_fits(p, tags->behind_call) : FIT_NO;
    if (key == FIT_YES) {
        p->at += strlen(tags->before_key);
        p->arguments_from = p->at;
        p->state = PARTS_TAG_KEY;
        return true;
    }
    if (end == FIT_YES)
        p->at += strlen(tags->behind_call);
    else if (key == FIT_MAYBE || end == FIT_MAYBE)
        return false;
    return end_arguments(p);
}

static bool read_tag_key(struct openai_parts *p)
{
    const struct openai_tags *tags = tags_of(p);
    if (find(p, tags->behind_key) != FIT_YES)
        return false;
    p->arguments_to = p->at;
    p->at += strlen(tags->behind_key);
    p->member_from = p->at;
    p->state = tags->before_value ? PARTS_TAG_BETWEEN : PARTS_TAG_VALUE;
    return true;
}

static bool read_tag_between(struct openai_parts *p)
{
    const char *before = tags_of(p)->before_value;
    if (!parts_skip_space(p))
        return false;
    enum parts_fit fit = parts_fits(p, before);
    if (fit == FIT_NO) {
        p->at = p->sent; /* the argument's name becomes content */
        return end_arguments(p);
    }
    if (fit == FIT_YES) {
        p->at += strlen(before);
        p->member_from = p->at;
        p->state = PARTS_TAG_VALUE;
    }
    return fit == FIT_YES;
}

/* The type that the tool's schema gives the argument; NULL: it does not say. */
static const json_t *type_of(const struct openai_parts *p, const char *key, size_t bytes)
{
    size_t i;
    json_t *tool;
    json_array_foreach((json_t *)p->reading->tools, i, tool)
    {
        const json_t *function = json_object_get(tool, "function");
        const char *name = json_string_value(json_object_get(function, "name"));
        if (!name || strcmp(name, p->name) != 0)
            continue;
        const json_t *all = json_object_get(json_object_get(function, "parameters"), "properties");
        return json_object_get(json_object_getn(all, key, bytes), "type");
    }
    return NULL;
}

static bool is_text(const json_t *type)
{
    return json_string_length(type) == 6 && memcmp(json_string_value(type), "string", 6) == 0;
}

static bool is_json(const char *text, size_t bytes)
{
    json_t *value = json_loadb(text, bytes, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    json_decref(value);
    return value != NULL;
}

/* `, "key": value` of what stands between `from` and `to`; `whole`: the value has ended. */
static void tell_field(struct openai_parts *p, size_t from, size_t to, bool whole)
{
    struct jsonw w = {0};
    const char *key = p->data + p->arguments_from;
    size_t key_bytes = p->arguments_to - p->arguments_from;
    if (tags_of(p)->lines && from < to && p->data[from] == '\n')
        from++;
    if (tags_of(p)->lines && whole && from < to && p->data[to - 1] == '\n')
        to--;
    const char *value = p->data + from;
    jsonw_plain(&w, ", ", p->fields++ ? 2 : 0);
    jsonw_bytes(&w, key, key_bytes);
    jsonw_plain(&w, ": ", 2);
    w.comma = false;
    if (whole && !is_text(type_of(p, key, key_bytes)) && is_json(value, to - from))
        jsonw_value(&w, value, to - from);
    else
        jsonw_bytes(&w, value, to - from);
    p->failed = p->failed || w.failed;
    if (!w.failed)
        parts_tell(p, OPENAI_PART_ARGUMENTS, w.data, w.bytes - !whole); /* no end of a text */
    jsonw_close(&w);
}

static bool read_tag_value(struct openai_parts *p)
{
    const char *behind = tags_of(p)->behind_value;
    if (find(p, behind) != FIT_YES)
        return false;
    tell_field(p, p->member_from, p->at, true);
    p->at += strlen(behind);
    p->sent = p->at;
    p->state = PARTS_TAG_FIELD;
    return true;
}

/* ---- the whole ---- */

bool parts_step_tagged(struct openai_parts *p)
{
    switch (p->state) {
    case PARTS_TAG_OPEN: return read_tag_open(p);
    case PARTS_TAG_NAME: return read_tag_name(p);
    case PARTS_TAG_FIELD: return read_tag_field(p);
    case PARTS_TAG_KEY: return read_tag_key(p);
    case PARTS_TAG_BETWEEN: return read_tag_between(p);
    default: return read_tag_value(p);
    }
}

void parts_finish_tagged(struct openai_parts *p)
{
    if (p->state == PARTS_TAG_VALUE && p->member_from < p->bytes)
        tell_field(p, p->member_from, p->bytes, false);
}
