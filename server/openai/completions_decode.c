/* A prompt is a string, a list of strings, a list of token ids or a list of such lists:
 * evaluation tools send batches of ids. An empty list of prompts is refused: it would be an
 * answer without choices. */
#include "server/openai/completions_decode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/openai/openai_text.h"

#define MAX_TOKENS_DEFAULT 16

static const char *const known[] = {"prompt", "echo", "suffix", NULL};
static const char *const unsupported[] = {"suffix", NULL};

struct decoder {
    const struct openai_model *model;
    struct openai_asked *asked;
    struct openai_refusal *refusal;
    bool add_special;
};

static bool no_memory(const struct decoder *d)
{
    return openai_refuse(d->refusal, HTTP_UNAVAILABLE, "prompt", "out of memory for the prompt");
}

static bool decode_text(const struct decoder *d, const json_t *text, const char *name,
                        struct openai_prompt *out)
{
    struct token_list list = {0};
    struct error error = {{0}};
    const char *bytes = json_string_value(text);
    size_t size = json_string_length(text);
    if (!d->model->tokenizer)
        return openai_refuse(d->refusal, HTTP_BAD_VALUE, "prompt",
                             "%s is text and the model '%s' has no tokenizer: send token ids", name,
                             d->model->name);
    enum status status = tokenizer_encode(d->model->tokenizer, bytes, size, d->add_special, true,
                                          &list, &error);
    if (status != STATUS_OK) {
        token_list_reset(&list);
        error_prefix(&error, "%s", name);
        return openai_refuse_status(d->refusal, status, "prompt", &error);
    }
    out->ids = list.ids; /* ours now */
    out->count = list.count;
    if (!d->asked->echo)
        return true;
    out->echo = malloc(size + 1);
    if (!out->echo)
        return no_memory(d);
    memcpy(out->echo, bytes, size);
    out->echo_bytes = size;
    return true;
}

static bool decode_ids(const struct decoder *d, const json_t *list, const char *name,
                       struct openai_prompt *out)
{
    out->ids = openai_token_ids(list, name, d->model->vocab, &out->count, d->refusal);
    if (!out->ids)
        return false;
    if (!d->asked->echo || !d->model->tokenizer)
        return true;
    out->echo = detokenize(d->model->tokenizer, out->ids, out->count, !d->asked->keep_special,
                           &out->echo_bytes);
    return out->echo || no_memory(d);
}

static bool decode_one(const struct decoder *d, const json_t *prompt, const char *name,
                       struct openai_prompt *out)
{
    if (json_is_string(prompt))
        return decode_text(d, prompt, name, out);
    if (json_is_array(prompt))
        return decode_ids(d, prompt, name, out);
    return openai_refuse(d->refusal, HTTP_BAD_VALUE, "prompt",
                         "%s must be a string or a list of token ids, not %s", name,
                         openai_json_kind(prompt));
}

static bool decode_prompts(const struct decoder *d, const struct openai_fields *f,
                           const struct openai_limits *limits)
{
    const json_t *prompt = openai_field(f, "prompt");
    if (f->refusal->refused)
        return false;
    if (!prompt)
        return openai_field_refuse(f, "prompt", "prompt is missing");
    const json_t *first = json_array_get(prompt, 0);
    bool batch = json_is_array(prompt) && !json_is_number(first);
    size_t count = batch ? json_array_size(prompt) : 1;
    if (!count)
        return openai_field_refuse(f, "prompt", "prompt is an empty list");
    if (count > limits->prompts_max)
        return openai_field_refuse(f, "prompt", "prompt is a list of %zu, at most %u are allowed",
                                   count, limits->prompts_max);
    if (!openai_asked_prompts(d->asked, (uint32_t)count, f->refusal))
        return false;
    for (size_t i = 0; i < count; i++) {
        char name[32] = "prompt";
        if (batch)
            snprintf(name, sizeof name, "prompt[%zu]", i);
        if (!decode_one(d, batch ? json_array_get(prompt, i) : prompt, name,
                        &d->asked->prompts[i]))
            return false;
    }
    return true;
}

bool completions_decode(const json_t *body, const struct openai_model *model,
                        const struct openai_limits *limits, struct openai_asked *asked,
                        struct openai_refusal *refusal)
{
    struct openai_fields f = {body, "", refusal};
    struct decoder d = {model, asked, refusal, true};
    openai_log_unknown(body, known, openai_asked_known);
    if (!openai_refuse_unsupported(&f, unsupported) ||
        !openai_asked_read(asked, &f, model, limits))
        return false;
    asked->has_max_tokens = true;
    asked->max_tokens = MAX_TOKENS_DEFAULT;
    openai_field_u32(&f, "max_tokens", 0, UINT32_MAX, &asked->max_tokens);
    openai_field_bool(&f, "echo", &asked->echo);
    openai_field_bool(&f, "add_special_tokens", &d.add_special);
    asked->sampling.logprobs = openai_field_u32(&f, "logprobs", 0, SAMPLER_TOP_LOGPROBS_MAX,
                                                &asked->sampling.top_logprobs);
    return decode_prompts(&d, &f, limits) && openai_asked_check(asked, model, limits, "prompt",
                                                               refusal);
}
