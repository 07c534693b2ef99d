/* From what a client writes to an automaton: read it into rules, then compile those. */
#include "engine/grammar/grammar.h"

#include <stdlib.h>

#include "engine/grammar/gbnf.h"
#include "engine/grammar/grammar_parts.h"
#include "engine/grammar/json_rules.h"
#include "engine/grammar/regex.h"
#include "engine/grammar/schema.h"

/* Takes the rules' end into its hands, whatever `status` the reading of them had. */
static enum status compile(struct grammar **out, struct rules *rules, uint32_t root,
                           enum status status, struct error *error)
{
    struct grammar *grammar = NULL;
    *out = NULL;
    if (status == STATUS_OK) {
        grammar = calloc(1, sizeof *grammar);
        if (grammar)
            grammar->holders = 1;
        status = grammar ? automaton_open(&grammar->automaton, rules, root, error)
                         : error_set(error, STATUS_NO_MEMORY, "no memory for a grammar");
    }
    rules_close(rules);
    if (status != STATUS_OK) {
        grammar_close(grammar);
        return status;
    }
    *out = grammar;
    return STATUS_OK;
}

/* The rule that a text begins with is `expression`. */
static uint32_t add_root(struct rules *rules, uint32_t expression)
{
    uint32_t root = rules_add(rules, "root", 4);
    rules_define(rules, root, expression);
    return root;
}

enum status grammar_open_json_object(struct grammar **out, struct error *error)
{
    struct rules rules;
    struct json_rules json;
    rules_open(&rules);
    json_rules_open(&json, &rules);
    uint32_t root = add_root(&rules, json_rules_any_object(&json));
    return compile(out, &rules, root, STATUS_OK, error);
}

enum status grammar_open_json_schema(struct grammar **out, const json_t *schema,
                                     struct error *error)
{
    struct rules rules;
    uint32_t root = 0;
    rules_open(&rules);
    enum status status = schema_read(&rules, schema, &root, error);
    return compile(out, &rules, root, status, error);
}

enum status grammar_open_regex(struct grammar **out, const char *pattern, size_t bytes,
                               struct error *error)
{
    struct rules rules;
    uint32_t expression = RULES_NOTHING;
    rules_open(&rules);
    enum status status = regex_read(&rules, pattern, bytes, REGEX_WHOLE_TEXT, &expression, error);
    return compile(out, &rules, add_root(&rules, expression), status, error);
}

enum status grammar_open_choice(struct grammar **out, const char *const *texts, const size_t *bytes,
                                uint32_t count, struct error *error)
{
    struct rules rules;
    uint32_t *items = malloc(((size_t)count + 1) * sizeof *items);
    uint32_t root = 0;
    enum status status = STATUS_OK;
    rules_open(&rules);
    if (items) {
        for (uint32_t i = 0; i < count; i++)
            items[i] = rules_literal(&rules, texts[i], bytes[i]);
        root = add_root(&rules, rules_choice(&rules, items, count));
    } else {
        status = error_set(error, STATUS_NO_MEMORY, "no memory for a choice of %u texts", count);
    }
    free(items);
    return compile(out, &rules, root, status, error);
}

enum status grammar_open_gbnf(struct grammar **out, const char *text, size_t bytes,
                              struct error *error)
{
    struct rules rules;
    uint32_t root = 0;
    rules_open(&rules);
    enum status status = gbnf_read(&rules, text, bytes, &root, error);
    return compile(out, &rules, root, status, error);
}

struct grammar *grammar_keep(struct grammar *grammar)
{
    __atomic_fetch_add(&grammar->holders, 1, __ATOMIC_RELAXED);
    return grammar;
}

void grammar_close(struct grammar *grammar)
{
    if (!grammar || __atomic_fetch_sub(&grammar->holders, 1, __ATOMIC_ACQ_REL) > 1)
        return;
    automaton_close(grammar->automaton);
    free(grammar);
}
