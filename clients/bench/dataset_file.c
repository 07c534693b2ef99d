/* The data sets that lie in files. A file is read as a whole: the largest known one has some 700
 * MB, smaller than what jansson makes of it. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "clients/bench/dataset.h"

enum { BYTES_PER_TOKEN = 4, TRACE_BLOCK_TOKENS = 512 };
/* Conversations outside of these are left out, as other tools do: they would measure nothing, or
 * fit in few contexts. */
enum { SHAREGPT_TOKENS_MIN = 4, SHAREGPT_PROMPT_MAX = 1024, SHAREGPT_TOTAL_MAX = 2048 };

/* ---- texts ---- */

static uint32_t guess_tokens(size_t bytes)
{
    return (uint32_t)((bytes + BYTES_PER_TOKEN - 1) / BYTES_PER_TOKEN);
}

static bool set_text(struct prompt *p, const json_t *text, struct fault *fault)
{
    p->text_bytes = json_string_length(text);
    p->text = malloc(p->text_bytes + 1);
    if (!p->text)
        return fault_set(fault, "out of memory for a prompt of %zu bytes", p->text_bytes);
    memcpy(p->text, json_string_value(text), p->text_bytes + 1);
    p->input_tokens = guess_tokens(p->text_bytes);
    return true;
}

/* A whole number from `least` to 2^31 - 1. False: absent, or none. */
static bool get_count(const json_t *object, const char *key, uint32_t least, uint32_t *out)
{
    const json_t *value = json_object_get(object, key);
    double n = json_number_value(value);
    if (!json_is_number(value) || !(n >= least && n <= INT32_MAX) || n != floor(n))
        return false;
    *out = (uint32_t)n;
    return true;
}

/* ---- ShareGPT ---- */

static bool is_human(const json_t *turn)
{
    const char *from = json_string_value(json_object_get(turn, "from"));
    return from && (strcmp(from, "human") == 0 || strcmp(from, "user") == 0);
}

/* The first human turn and the one after it. False: there is no such pair. */
static bool first_pair(const json_t *conversation, const json_t **question, const json_t **answer)
{
    const json_t *turns = json_object_get(conversation, "conversations");
    size_t i = 0, count = json_array_size(turns);
    while (i < count && !is_human(json_array_get(turns, i)))
        i++;
    *question = json_object_get(json_array_get(turns, i), "value");
    *answer = json_object_get(json_array_get(turns, i + 1), "value");
    return json_is_string(*question) && json_is_string(*answer);
}

static bool read_sharegpt(struct dataset *d, const struct dataset_config *c, struct fault *fault)
{
    json_error_t why;
    json_t *root = json_load_file(c->path, JSON_ALLOW_NUL, &why);
    bool ok = json_is_array(root);
    if (!root)
        fault_set(fault, "%s: %s (line %d)", c->path, why.text, why.line);
    else if (!ok)
        fault_set(fault, "%s: not a list of conversations", c->path);
    for (size_t i = 0; ok && i < json_array_size(root); i++) {
        const json_t *question, *answer;
        if (!first_pair(json_array_get(root, i), &question, &answer))
            continue;
        uint32_t input = guess_tokens(json_string_length(question));
        uint32_t output = c->sharegpt_output_len ? c->sharegpt_output_len
                                                 : guess_tokens(json_string_length(answer));
        if (input < SHAREGPT_TOKENS_MIN || input > SHAREGPT_PROMPT_MAX ||
            output < SHAREGPT_TOKENS_MIN || input + output > SHAREGPT_TOTAL_MAX)
            continue;
        struct prompt *p = dataset_add(d, fault);
        ok = p && set_text(p, question, fault);
        if (ok)
            p->output_tokens = output;
    }
    json_decref(root);
    return ok;
}

/* ---- a JSON object per line ---- */

/* Prompts of a trace with hash_ids: block k is the same text wherever hash_ids[k] is the same. */
static bool invent_blocks(struct prompt *p, const json_t *hashes, uint32_t tokens,
                          const struct dataset_config *c, struct fault *fault)
{
    for (size_t k = 0; tokens > 0 && k < json_array_size(hashes); k++) {
        const json_t *hash = json_array_get(hashes, k);
        struct rng rng;
        uint32_t n = tokens < TRACE_BLOCK_TOKENS ? tokens : TRACE_BLOCK_TOKENS;
        if (!json_is_integer(hash))
            return fault_set(fault, "'hash_ids' has something other than whole numbers");
        rng_init(&rng, c->seed ^ (uint64_t)json_integer_value(hash) * 0x9e3779b97f4a7c15u);
        if (!dataset_invent(p, &rng, c->vocabulary, n, fault))
            return false;
        tokens -= n;
    }
    struct rng rng;
    rng_init(&rng, c->seed ^ ((uint64_t)p->at_ns << 20) ^ tokens);
    return dataset_invent(p, &rng, c->vocabulary, tokens, fault);
}

static bool read_trace_line(struct prompt *p, const json_t *line, const struct dataset_config *c,
                            struct fault *fault)
{
    const json_t *prompt = json_object_get(line, "prompt");
    const json_t *at = json_object_get(line, "timestamp");
    double ms = json_number_value(at);
    uint32_t tokens = 0;
    if (!json_is_number(at) || !(ms >= 0 && ms < 1e12))
        return fault_set(fault, "'timestamp' is not a number of milliseconds");
    p->at_ns = (uint64_t)llround(ms * 1e6 / c->trace_speed);
    if (!get_count(line, "output_length", 1, &p->output_tokens) &&
        !get_count(line, "output_tokens", 1, &p->output_tokens))
        return fault_set(fault, "no whole 'output_length' of 1 or more");
    if (json_is_string(prompt))
        return set_text(p, prompt, fault);
    if (!get_count(line, "input_length", 1, &tokens))
        return fault_set(fault, "neither a 'prompt' nor a whole 'input_length' of 1 or more");
    return invent_blocks(p, json_object_get(line, "hash_ids"), tokens, c, fault);
}

static bool read_custom_line(struct prompt *p, const json_t *line, const struct dataset_config *c,
                             struct fault *fault)
{
    const json_t *prompt = json_object_get(line, "prompt");
    p->output_tokens = c->custom_output_len;
    if (!json_is_string(prompt))
        return fault_set(fault, "no text 'prompt'");
    if (json_object_get(line, "output_tokens") &&
        !get_count(line, "output_tokens", 1, &p->output_tokens))
        return fault_set(fault, "'output_tokens' is not a whole number of 1 or more");
    return set_text(p, prompt, fault);
}

static bool read_line(struct dataset *d, const struct dataset_config *c, const char *text,
                      struct fault *fault)
{
    if (text[strspn(text, " \t\r\n")] == '\0')
        return true;
    json_error_t why;
    json_t *line = json_loads(text, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &why);
    bool ok = json_is_object(line);
    if (!ok)
        fault_set(fault, "%s", line ? "not a JSON object" : why.text);
    struct prompt *p = ok ? dataset_add(d, fault) : NULL;
    ok = p && (c->kind == DATASET_TRACE ? read_trace_line : read_custom_line)(p, line, c, fault);
    json_decref(line);
    return ok;
}

/* A trace starts with its first request, and its lines are in order of time. */
static bool settle_times(struct dataset *d, const char *path, struct fault *fault)
{
    uint64_t first_ns = d->count ? d->prompts[0].at_ns : 0, before_ns = first_ns;
    for (uint32_t i = 0; i < d->count; i++) {
        uint64_t at_ns = d->prompts[i].at_ns;
        if (at_ns < before_ns)
            return fault_set(fault, "%s: request %u is earlier than the one before it", path,
                             i + 1);
        before_ns = at_ns;
        d->prompts[i].at_ns = at_ns - first_ns;
    }
    return true;
}

static bool read_lines(struct dataset *d, const struct dataset_config *c, struct fault *fault)
{
    FILE *file = fopen(c->path, "r");
    if (!file)
        return fault_set(fault, "%s: cannot be opened", c->path);
    char *line = NULL;
    size_t room = 0;
    bool ok = true;
    for (uint64_t number = 1; ok && getline(&line, &room, file) >= 0; number++) {
        struct fault why = {{0}};
        ok = read_line(d, c, line, &why);
        if (!ok)
            fault_set(fault, "%s:%llu: %.400s", c->path, (unsigned long long)number, why.text);
    }
    if (ok && ferror(file))
        ok = fault_set(fault, "%s: cannot be read", c->path);
    free(line);
    fclose(file);
    return ok && (!d->timed || settle_times(d, c->path, fault));
}

bool dataset_read_file(struct dataset *out, const struct dataset_config *c, struct fault *fault)
{
    return c->kind == DATASET_SHAREGPT ? read_sharegpt(out, c, fault) : read_lines(out, c, fault);
}
