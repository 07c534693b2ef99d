/* The answer that is demanded is plain JSON, not the model's own syntax for calls: marks are
 * special tokens for many models, and those no grammar allows. A list of calls is
 * [{"name":..., "arguments":{...}}, ...]; the parameters of each tool stand in the list's schema
 * as $defs, so their references, which count from their own root, get that place in front. */
#include "server/openai/openai_tools.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_BYTES 64

/* ---- reading ---- */

static bool is_name(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        char c = text[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '_' || c == '-' || c == '.'))
            return false;
    }
    return bytes > 0;
}

static bool find_name(const struct openai_tools *t, const char *name, size_t bytes, uint32_t *out)
{
    for (uint32_t i = 0; i < t->count; i++)
        if (strlen(t->names[i]) == bytes && memcmp(t->names[i], name, bytes) == 0) {
            *out = i;
            return true;
        }
    return false;
}

static bool add_name(struct openai_tools *t, const struct openai_fields *function)
{
    size_t bytes = 0;
    uint32_t twin;
    const char *name = openai_field_text(function, "name", &bytes);
    if (function->refusal->refused)
        return false;
    if (!name)
        return openai_field_refuse(function, "name", "%sname is missing", function->path);
    if (bytes > OPENAI_TOOL_NAME_BYTES_MAX || !is_name(name, bytes))
        return openai_field_refuse(function, "name",
                                   "%sname is '%.80s', must be 1 to %d letters, digits, '_', '-' "
                                   "or '.'", function->path, name, OPENAI_TOOL_NAME_BYTES_MAX);
    if (find_name(t, name, bytes, &twin))
        return openai_field_refuse(function, "name", "%sname is '%s', as of tools[%u]",
                                   function->path, name, twin);
    t->names[t->count] = strdup(name);
    if (!t->names[t->count])
        return openai_refuse(function->refusal, HTTP_UNAVAILABLE, "tools", "out of memory");
    t->count++;
    return true;
}

static bool read_tool(struct openai_tools *t, const json_t *tool, size_t i,
                      struct openai_refusal *refusal)
{
    char path[PATH_BYTES], inner[PATH_BYTES];
    size_t bytes;
    bool strict;
    snprintf(path, sizeof path, "tools[%zu].", i);
    snprintf(inner, sizeof inner, "tools[%zu].function.", i);
    struct openai_fields f = {tool, path, refusal};
    if (!json_is_object(tool))
        return openai_refuse(refusal, HTTP_BAD_VALUE, "tools",
                             "tools[%zu] must be an object, not %s", i, openai_json_kind(tool));
    const char *type = openai_field_text(&f, "type", &bytes);
    if (type && strcmp(type, "function") != 0)
        return openai_field_refuse(&f, "type", "%stype is '%.40s', must be function", path, type);
    struct openai_fields function = {openai_field_object(&f, "function"), inner, refusal};
    if (!type || !function.object)
        return openai_field_refuse(&f, type ? "function" : "type", "%s%s is missing", path,
                                   type ? "function" : "type");
    openai_field_text(&function, "description", &bytes);
    openai_field_object(&function, "parameters");
    openai_field_bool(&function, "strict", &strict); /* README.md: what it means */
    return add_name(t, &function);
}

static bool read_named(struct openai_tools *t, const struct openai_fields *f, const json_t *choice)
{
    size_t bytes = 0;
    struct openai_fields outer = {choice, "tool_choice.", f->refusal};
    const char *type = openai_field_text(&outer, "type", &bytes);
    struct openai_fields inner = {openai_field_object(&outer, "function"), "tool_choice.function.",
                                  f->refusal};
    if (f->refusal->refused)
        return false;
    if (!type || strcmp(type, "function") != 0 || !inner.object)
        return openai_field_refuse(f, "tool_choice",
                                   "tool_choice, as an object, must be "
                                   "{\"type\":\"function\",\"function\":{\"name\":...}}");
    const char *name = openai_field_text(&inner, "name", &bytes);
    if (f->refusal->refused)
        return false;
    if (!name || !find_name(t, name, bytes, &t->named))
        return openai_field_refuse(f, "tool_choice",
                                   "tool_choice names %s%.80s%s, which tools does not have",
                                   name ? "'" : "nothing", name ? name : "", name ? "'" : "");
    t->choice = OPENAI_CHOICE_NAMED;
    return true;
}

static bool read_choice(struct openai_tools *t, const struct openai_fields *f)
{
    const json_t *choice = openai_field(f, "tool_choice");
    const char *word = json_string_value(choice);
    if (f->refusal->refused)
        return false;
    t->choice = t->count ? OPENAI_CHOICE_AUTO : OPENAI_CHOICE_NONE;
    if (json_is_object(choice))
        return read_named(t, f, choice);
    if (!choice || (word && strcmp(word, "auto") == 0))
        return true;
    if (word && strcmp(word, "none") == 0) {
        t->choice = OPENAI_CHOICE_NONE;
        return true;
    }
    if (!word || strcmp(word, "required") != 0)
        return openai_field_refuse(f, "tool_choice",
                                   "tool_choice must be none, auto, required or an object that "
                                   "names a function");
    if (!t->count)
        return openai_field_refuse(f, "tool_choice",
                                   "tool_choice is required, and there are no tools");
    t->choice = OPENAI_CHOICE_REQUIRED;
    return true;
}

bool openai_tools_read(struct openai_tools *out, const struct openai_fields *f)
{
    const json_t *list = openai_field_array(f, "tools");
    size_t n = json_array_size(list);
    bool parallel = true;
    openai_field_bool(f, "parallel_tool_calls", &parallel);
    *out = (struct openai_tools){.one_call = !parallel, .list = json_incref((json_t *)list)};
    if (n > OPENAI_TOOLS_MAX)
        return openai_field_refuse(f, "tools", "tools has %zu tools, at most %d are allowed", n,
                                   OPENAI_TOOLS_MAX);
    if (n && !(out->names = calloc(n, sizeof *out->names)))
        return openai_refuse(f->refusal, HTTP_UNAVAILABLE, "tools", "out of memory for %zu tools",
                             n);
    for (size_t i = 0; i < n; i++)
        if (!read_tool(out, json_array_get(list, i), i, f->refusal))
            return false;
    return read_choice(out, f);
}

void openai_tools_reset(struct openai_tools *t)
{
    for (uint32_t i = 0; i < t->count; i++)
        free(t->names[i]);
    free(t->names);
    json_decref(t->list);
    *t = (struct openai_tools){0};
}

/* ---- what is demanded ---- */

/* The parameters of a tool as a schema of their own; none are none. NULL: out of memory. */
static json_t *parameters(const json_t *list, uint32_t i)
{
    const json_t *function = json_object_get(json_array_get(list, i), "function");
    const json_t *given = json_object_get(function, "parameters");
    if (!json_is_object(given)) /* absent or null */
        return json_pack("{s:s, s:{}}", "type", "object", "properties");
    json_t *copy = openai_json_copy(given, true);
    if (copy && !json_object_get(copy, "type") &&
        json_object_set_new(copy, "type", json_string("object")) != 0) {
        json_decref(copy);
        return NULL;
    }
    return copy;
}

/* Puts `place` in front of all references within. False: out of memory. */
static bool move_references(json_t *schema, const char *place)
{
    const char *key;
    json_t *value;
    size_t i;
    bool ok = true;
    if (json_is_array(schema)) {
        json_array_foreach(schema, i, value)
            ok = ok && move_references(value, place);
        return ok;
    }
    json_object_foreach(schema, key, value)
        if (strcmp(key, "$ref") != 0)
            ok = ok && move_references(value, place);
    const char *reference = json_string_value(json_object_get(schema, "$ref"));
    if (!reference || *reference != '#')
        return ok;
    json_t *moved = json_sprintf("%s%s", place, reference + 1);
    return json_object_set_new(schema, "$ref", moved) == 0 && ok;
}

/* {"name":`name`,"arguments":what the definition number `i` says} */
static json_t *call_schema(const char *name, uint32_t i)
{
    char place[PATH_BYTES];
    snprintf(place, sizeof place, "#/$defs/%u", i);
    return json_pack("{s:s, s:{s:{s:s}, s:{s:s}}, s:[s,s], s:b}", "type", "object", "properties",
                     "name", "const", name, "arguments", "$ref", place, "required", "name",
                     "arguments", "additionalProperties", 0);
}

static json_t *list_schema(const struct openai_tools *t)
{
    json_t *calls = json_array(), *definitions = json_object();
    bool ok = calls && definitions;
    for (uint32_t i = 0; ok && i < t->count; i++) {
        char key[16], place[PATH_BYTES];
        snprintf(key, sizeof key, "%u", i);
        snprintf(place, sizeof place, "#/$defs/%u", i);
        json_t *one = parameters(t->list, i);
        ok = one && move_references(one, place);
        ok = json_object_set_new(definitions, key, one) == 0 && ok;
        ok = ok && json_array_append_new(calls, call_schema(t->names[i], i)) == 0;
    }
    if (!ok) {
        json_decref(calls);
        json_decref(definitions);
        return NULL;
    }
    json_t *schema = json_pack("{s:s, s:i, s:{s:o}, s:o}", "type", "array", "minItems", 1, "items",
                               "anyOf", calls, "$defs", definitions);
    if (schema && t->one_call && json_object_set_new(schema, "maxItems", json_integer(1)) != 0) {
        json_decref(schema);
        return NULL;
    }
    return schema;
}

/* False: the parameters of a tool are no object, or no schema that grammars can keep to; `compiles`
 * looks into the latter. */
static bool check_tool(const json_t *list, uint32_t i, bool compiles,
                       struct openai_refusal *refusal)
{
    char param[PATH_BYTES];
    struct error error = {{0}};
    struct grammar *alone = NULL;
    json_t *schema = parameters(list, i);
    const char *type = json_string_value(json_object_get(schema, "type"));
    snprintf(param, sizeof param, "tools[%u].function.parameters", i);
    if (!schema)
        return openai_refuse(refusal, HTTP_UNAVAILABLE, "tools", "out of memory for the tools");
    if (!type || strcmp(type, "object") != 0)
        error_set(&error, STATUS_INVALID, "$.type: must be object");
    else if (compiles)
        grammar_open_json_schema(&alone, schema, &error);
    grammar_close(alone);
    json_decref(schema);
    return !*error.text ||
           openai_refuse(refusal, HTTP_BAD_VALUE, param, "%s: %s", param, error.text);
}

bool openai_tools_demand(const struct openai_tools *t, struct openai_grammar *out,
                         struct openai_refusal *refusal)
{
    bool named = t->choice == OPENAI_CHOICE_NAMED;
    uint32_t first = named ? t->named : 0, end = named ? t->named + 1 : t->count;
    struct openai_refusal whole = {0};
    struct grammar *compiled = NULL;
    for (uint32_t i = first; i < end; i++)
        if (!check_tool(t->list, i, false, refusal))
            return false;
    json_t *schema = named ? parameters(t->list, t->named) : list_schema(t);
    if (!schema)
        return openai_refuse(refusal, HTTP_UNAVAILABLE, "tools", "out of memory for the tools");
    openai_grammar_take(out, "tools", schema);
    if (openai_grammar_compile(out, &compiled, &whole)) {
        grammar_close(compiled); /* `out` holds it too */
        return true;
    }
    for (uint32_t i = first; i < end; i++) /* which one is it? */
        if (!check_tool(t->list, i, true, refusal))
            return false;
    return openai_refuse(refusal, whole.problem, "tools", "%s", whole.why.text);
}
