#include "server/openai/openai_grammar.h"

#include <stdlib.h>
#include <string.h>

static bool equals(const json_t *text, const char *word)
{
    return json_string_length(text) == strlen(word) &&
           memcmp(json_string_value(text), word, strlen(word)) == 0;
}

static void ask(struct openai_grammar *g, enum openai_grammar_kind kind, const char *param,
                const json_t *value)
{
    g->kind = kind;
    g->param = param;
    g->value = value;
}

static bool read_json_schema(struct openai_grammar *g, const struct openai_fields *f,
                             const json_t *format)
{
    struct openai_fields outer = {format, "response_format.", f->refusal};
    const json_t *wrapper = openai_field_object(&outer, "json_schema");
    if (f->refusal->refused)
        return false;
    if (!wrapper)
        return openai_field_refuse(&outer, "json_schema", "response_format.json_schema is missing");
    struct openai_fields inner = {wrapper, "response_format.json_schema.", f->refusal};
    bool strict;
    size_t bytes;
    openai_field_bool(&inner, "strict", &strict); /* the output always follows the schema */
    openai_field_text(&inner, "name", &bytes);
    const json_t *schema = openai_field(&inner, "schema");
    if (f->refusal->refused)
        return false;
    if (!schema)
        return openai_field_refuse(&inner, "schema",
                                   "response_format.json_schema.schema is missing");
    ask(g, OPENAI_GRAMMAR_SCHEMA, "response_format", schema);
    return true;
}

static bool read_response_format(struct openai_grammar *g, const struct openai_fields *f)
{
    const json_t *format = openai_field_object(f, "response_format");
    if (!format)
        return !f->refusal->refused;
    const json_t *type = json_object_get(format, "type");
    if (!json_is_string(type))
        return openai_field_refuse(f, "response_format", "response_format.type must be a string");
    if (equals(type, "text"))
        return true;
    if (equals(type, "json_schema"))
        return read_json_schema(g, f, format);
    if (!equals(type, "json_object"))
        return openai_field_refuse(f, "response_format",
                                   "response_format.type is '%.40s', must be text, json_object or "
                                   "json_schema", json_string_value(type));
    const json_t *schema = json_object_get(format, "schema"); /* some clients put one here */
    if (json_is_object(schema))
        ask(g, OPENAI_GRAMMAR_SCHEMA, "response_format", schema);
    else
        ask(g, OPENAI_GRAMMAR_OBJECT, "response_format", NULL);
    return true;
}

static bool parse_schema(struct openai_grammar *g, const struct openai_fields *f,
                         const json_t *text)
{
    json_error_t error;
    g->parsed = json_loadb(json_string_value(text), json_string_length(text),
                           JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &error);
    if (!g->parsed)
        return openai_field_refuse(f, "json", "structured_outputs.json is not JSON: %s (line %d)",
                                   error.text, error.line);
    g->value = g->parsed;
    return true;
}

static bool read_choice(const struct openai_fields *f, const json_t *list)
{
    size_t i;
    json_t *text;
    if (!json_array_size(list))
        return openai_field_refuse(f, "choice", "structured_outputs.choice is empty");
    json_array_foreach((json_t *)list, i, text)
        if (!json_is_string(text))
            return openai_field_refuse(f, "choice",
                                       "structured_outputs.choice[%zu] must be a string, not %s", i,
                                       openai_json_kind(text));
    return true;
}

/* The members that say what to keep to; the rest tunes other servers' engines. */
static bool read_structured(struct openai_grammar *g, const struct openai_fields *outer,
                            const json_t *object)
{
    static const struct {
        const char *name;
        enum openai_grammar_kind kind;
    } kinds[] = {
        {"json", OPENAI_GRAMMAR_SCHEMA},  {"json_object", OPENAI_GRAMMAR_OBJECT},
        {"regex", OPENAI_GRAMMAR_REGEX},  {"choice", OPENAI_GRAMMAR_CHOICE},
        {"grammar", OPENAI_GRAMMAR_GBNF},
    };
    static const char *const unsupported[] = {"structural_tag", NULL};
    struct openai_fields f = {object, "structured_outputs.", outer->refusal};
    if (!openai_refuse_unsupported(&f, unsupported))
        return false;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        enum openai_grammar_kind kind = kinds[i].kind;
        const json_t *value = openai_field(&f, kinds[i].name);
        if (!value || (kind == OPENAI_GRAMMAR_OBJECT && json_is_false(value)))
            continue;
        if (g->kind != OPENAI_GRAMMAR_NONE)
            return openai_field_refuse(outer, "structured_outputs",
                                       "structured_outputs asks for more than one thing at once");
        ask(g, kind, "structured_outputs", value);
        bool wants_text = kind == OPENAI_GRAMMAR_REGEX || kind == OPENAI_GRAMMAR_GBNF;
        if ((wants_text && !json_is_string(value)) ||
            (kind == OPENAI_GRAMMAR_CHOICE && !json_is_array(value)) ||
            (kind == OPENAI_GRAMMAR_OBJECT && !json_is_true(value)))
            return openai_field_refuse(&f, kinds[i].name,
                                       "structured_outputs.%s must be %s, not %s", kinds[i].name,
                                       wants_text                      ? "a string"
                                       : kind == OPENAI_GRAMMAR_CHOICE ? "a list"
                                                                       : "a boolean",
                                       openai_json_kind(value));
        if (kind == OPENAI_GRAMMAR_CHOICE && !read_choice(&f, value))
            return false;
        if (kind == OPENAI_GRAMMAR_SCHEMA && json_is_string(value) && !parse_schema(g, &f, value))
            return false;
    }
    if (g->kind == OPENAI_GRAMMAR_NONE && !outer->refusal->refused)
        return openai_field_refuse(outer, "structured_outputs",
                                   "structured_outputs must have one of json, json_object, regex, "
                                   "choice, grammar");
    return !outer->refusal->refused;
}

bool openai_grammar_read(struct openai_grammar *out, const struct openai_fields *f)
{
    *out = (struct openai_grammar){.kind = OPENAI_GRAMMAR_NONE};
    if (!read_response_format(out, f))
        return false;
    const json_t *structured = openai_field_object(f, "structured_outputs");
    if (f->refusal->refused)
        return false;
    if (!structured)
        return true;
    if (out->kind != OPENAI_GRAMMAR_NONE)
        return openai_field_refuse(
            f, "structured_outputs",
            "structured_outputs and response_format ask for different things");
    return read_structured(out, f, structured);
}

void openai_grammar_take(struct openai_grammar *out, const char *param, json_t *schema)
{
    openai_grammar_reset(out);
    out->parsed = schema;
    ask(out, OPENAI_GRAMMAR_SCHEMA, param, schema);
}

static enum status open_choice(struct grammar **out, const json_t *list, struct error *error)
{
    size_t n = json_array_size(list), i;
    const char **texts = malloc(n * sizeof *texts);
    size_t *bytes = malloc(n * sizeof *bytes);
    enum status status = STATUS_NO_MEMORY;
    if (texts && bytes) {
        for (i = 0; i < n; i++) {
            texts[i] = json_string_value(json_array_get(list, i));
            bytes[i] = json_string_length(json_array_get(list, i));
        }
        status = grammar_open_choice(out, texts, bytes, (uint32_t)n, error);
    }
    free(texts);
    free(bytes);
    return status;
}

static enum status compile(const struct openai_grammar *g, struct grammar **out,
                           struct error *error)
{
    switch (g->kind) {
    case OPENAI_GRAMMAR_NONE:
        break;
    case OPENAI_GRAMMAR_OBJECT:
        return grammar_open_json_object(out, error);
    case OPENAI_GRAMMAR_SCHEMA:
        return grammar_open_json_schema(out, g->value, error);
    case OPENAI_GRAMMAR_REGEX:
        return grammar_open_regex(out, json_string_value(g->value), json_string_length(g->value),
                                  error);
    case OPENAI_GRAMMAR_CHOICE:
        return open_choice(out, g->value, error);
    case OPENAI_GRAMMAR_GBNF:
        return grammar_open_gbnf(out, json_string_value(g->value), json_string_length(g->value),
                                 error);
    }
    return STATUS_OK;
}

bool openai_grammar_compile(struct openai_grammar *g, struct grammar **out,
                            struct openai_refusal *refusal)
{
    struct error error = {{0}};
    *out = NULL;
    if (!g->compiled && compile(g, &g->compiled, &error) != STATUS_OK) {
        /* NO_MEMORY is also what a grammar beyond its bound is: asking again would not help. */
        error_prefix(&error, "%s", g->param);
        return openai_refuse(refusal, HTTP_BAD_VALUE, g->param, "%s", error.text);
    }
    if (g->compiled)
        *out = grammar_keep(g->compiled);
    return true;
}

void openai_grammar_reset(struct openai_grammar *g)
{
    json_decref(g->parsed);
    grammar_close(g->compiled);
    *g = (struct openai_grammar){.kind = OPENAI_GRAMMAR_NONE};
}
