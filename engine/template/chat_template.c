/* The front door: a run for the parse, whose arena the template keeps, and a run for each
 * rendering. The two functions that call setjmp hold nothing of their own, so the jump loses
 * nothing. */
#include "engine/template/chat_template.h"

#include <stdlib.h>
#include <string.h>

#include "engine/template/chat_template_parts.h"
#include "engine/template/parser.h"
#include "memory/base/check.h"

static bool read_source(struct run *run, struct text source, struct program *program)
{
    struct parser parser;
    if (setjmp(run->failed))
        return false;
    program->body = parser_read(&parser, run, source);
    program->loop = symbols_number(run, &parser.symbols, text_of("loop", 4));
    program->symbols = parser.symbols;
    return true;
}

enum status chat_template_open(struct chat_template **out, const char *name, const char *text,
                               size_t bytes, struct error *error)
{
    struct run_limits limits = run_limits_default();
    struct text source = text_of(text ? text : "", bytes);
    struct run run;
    *out = NULL;
    if (bytes > CHAT_TEMPLATE_BYTES_MAX)
        return error_set(error, STATUS_INVALID, "%s: %zu bytes; at most %zu are read", name, bytes,
                         CHAT_TEMPLATE_BYTES_MAX);
    if (!utf8_valid(source))
        return error_set(error, STATUS_INVALID, "%s: not UTF-8", name);
    struct chat_template *t = calloc(1, sizeof *t);
    if (t)
        t->name = strdup(name);
    if (!t || !t->name) {
        chat_template_close(t);
        return error_set(error, STATUS_NO_MEMORY, "%s: out of memory", name);
    }
    run_init(&run, t->name, &limits, error);
    bool read = read_source(&run, source, &t->program);
    t->arena = run.arena;
    if (!read) {
        chat_template_close(t);
        return run.status;
    }
    *out = t;
    return STATUS_OK;
}

void chat_template_close(struct chat_template *t)
{
    if (!t)
        return;
    arena_close(&t->arena);
    free(t->name);
    free(t);
}

static bool run_program(struct run *run, const struct program *program, const json_t *variables,
                        struct text *text)
{
    if (setjmp(run->failed))
        return false;
    *text = render_program(run, program, variables);
    return true;
}

enum status chat_template_render_within(const struct chat_template *t,
                                        const struct run_limits *limits, const json_t *variables,
                                        int64_t now_s, char **out, size_t *bytes,
                                        struct error *error)
{
    struct text text = {NULL, 0};
    struct run run;
    CHECK(json_is_object(variables));
    *out = NULL;
    *bytes = 0;
    run_init(&run, t->name, limits, error);
    run.now_s = now_s;
    enum status status = STATUS_OK;
    if (!run_program(&run, &t->program, variables, &text)) {
        status = run.status;
    } else if (!(*out = malloc(text.size + 1))) {
        status = error_set(error, STATUS_NO_MEMORY, "%s: out of memory", t->name);
    } else {
        memcpy(*out, text.bytes, text.size);
        (*out)[text.size] = 0;
        *bytes = text.size;
    }
    run_close(&run);
    return status;
}

enum status chat_template_render(const struct chat_template *t, const json_t *variables,
                                 int64_t now_s, char **out, size_t *bytes, struct error *error)
{
    struct run_limits limits = run_limits_default();
    return chat_template_render_within(t, &limits, variables, now_s, out, bytes, error);
}
