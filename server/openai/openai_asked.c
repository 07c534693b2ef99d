#include "server/openai/openai_asked.h"

#include <float.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const openai_asked_known[] = {"model",
                                          "stream",
                                          "stream_options",
                                          "n",
                                          "best_of",
                                          "seed",
                                          "temperature",
                                          "top_p",
                                          "top_k",
                                          "min_p",
                                          "presence_penalty",
                                          "frequency_penalty",
                                          "repetition_penalty",
                                          "logit_bias",
                                          "stop",
                                          "stop_token_ids",
                                          "max_tokens",
                                          "min_tokens",
                                          "ignore_eos",
                                          "skip_special_tokens",
                                          "include_stop_str_in_output",
                                          "add_special_tokens",
                                          "return_token_ids",
                                          "priority",
                                          "request_id",
                                          "cache_salt",
                                          "user",
                                          "logprobs",
                                          "response_format",
                                          "structured_outputs",
                                          "metadata",
                                          "store",
                                          "service_tier",
                                          "safety_identifier",
                                          "prompt_cache_key",
                                          "spaces_between_special_tokens",
                                          "detokenize",
                                          NULL};

/* Known, and this server cannot do it: silence would be a wrong answer. */
static const char *const unsupported[] = {
    "prompt_logprobs", "truncate_prompt_tokens", "guided_json", "guided_regex", "guided_choice",
    "guided_grammar", "grammar", "json_schema", "use_beam_search", "length_penalty",
    "logits_processors", "bad_words", "allowed_token_ids", "return_tokens_as_token_ids",
    "kv_transfer_params", "vllm_xargs", "mm_processor_kwargs", "prompt_embeds", NULL};

void openai_limits_init(struct openai_limits *limits)
{
    *limits = (struct openai_limits){.n_max = 128, .prompts_max = 1024, .choices_max = 1024};
}

void openai_asked_init(struct openai_asked *asked)
{
    *asked = (struct openai_asked){.n = 1};
    sampler_params_init(&asked->sampling);
}

void openai_asked_reset(struct openai_asked *asked)
{
    for (uint32_t i = 0; i < asked->prompt_count; i++) {
        free(asked->prompts[i].ids);
        free(asked->prompts[i].echo);
    }
    free(asked->prompts);
    free(asked->bias);
    stop_list_reset(&asked->stops);
    openai_grammar_reset(&asked->grammar);
    openai_tools_reset(&asked->tools);
    memset(asked, 0, sizeof *asked);
}

bool openai_asked_prompts(struct openai_asked *asked, uint32_t count,
                          struct openai_refusal *refusal)
{
    asked->prompts = calloc(count, sizeof *asked->prompts);
    if (!asked->prompts)
        return openai_refuse(refusal, HTTP_UNAVAILABLE, NULL, "out of memory for %u prompts",
                             count);
    asked->prompt_count = count;
    return true;
}

/* ---- reading ---- */

bool openai_asked_model(const struct openai_fields *f, const struct openai_model *model)
{
    size_t bytes;
    const char *name = openai_field_text(f, "model", &bytes);
    if (f->refusal->refused)
        return false;
    if (!name || !bytes || (bytes == strlen(model->name) && memcmp(name, model->name, bytes) == 0))
        return true;
    return openai_refuse(f->refusal, HTTP_NO_MODEL, "model",
                         "the model '%.128s' is not served here, '%s' is", name, model->name);
}

static void read_sampling(struct sampler_params *p, const struct openai_fields *f)
{
    int64_t number;
    openai_field_float(f, "temperature", 0, 1e4, &p->temperature);
    if (openai_field_float(f, "top_p", 0, 1, &p->top_p) && p->top_p == 0)
        p->top_p = FLT_MIN; /* as others take it: the likeliest token alone */
    if (openai_field_int(f, "top_k", -1, UINT32_MAX, &number))
        p->top_k = number < 0 ? 0 : (uint32_t)number;
    openai_field_float(f, "min_p", 0, 1, &p->min_p);
    openai_field_float(f, "presence_penalty", -2, 2, &p->presence_penalty);
    openai_field_float(f, "frequency_penalty", -2, 2, &p->frequency_penalty);
    openai_field_float(f, "repetition_penalty", 1e-4, 1e4, &p->repetition_penalty);
    p->has_seed = openai_field_int(f, "seed", INT64_MIN, INT64_MAX, &number);
    if (p->has_seed)
        p->seed = (uint64_t)number;
}

static bool add_stop(struct openai_asked *a, const struct openai_fields *f, const json_t *text)
{
    struct error error = {{0}};
    if (!json_is_string(text))
        return openai_field_refuse(f, "stop", "stop must be a string or a list of strings, not %s",
                                   openai_json_kind(text));
    enum status status = stop_list_add(&a->stops, json_string_value(text), json_string_length(text),
                                       &error);
    return status == STATUS_OK || openai_refuse_status(f->refusal, status, "stop", &error);
}

static bool read_stops(struct openai_asked *a, const struct openai_fields *f,
                       const struct openai_model *model)
{
    const json_t *stop = openai_field(f, "stop");
    size_t i;
    json_t *text;
    if (json_is_array(stop)) {
        json_array_foreach((json_t *)stop, i, text)
            if (!add_stop(a, f, text))
                return false;
    } else if (stop && !add_stop(a, f, stop)) {
        return false;
    }
    const json_t *list = openai_field_array(f, "stop_token_ids");
    if (!list)
        return !f->refusal->refused;
    if (json_array_size(list) > REQUEST_STOP_TOKENS_MAX)
        return openai_field_refuse(f, "stop_token_ids",
                                   "stop_token_ids has %zu ids, at most %d are allowed",
                                   json_array_size(list), REQUEST_STOP_TOKENS_MAX);
    uint32_t *ids = openai_token_ids(list, "stop_token_ids", model->vocab, &a->stop_token_count,
                                     f->refusal);
    if (!ids)
        return false;
    memcpy(a->stop_tokens, ids, a->stop_token_count * sizeof *ids);
    free(ids);
    return true;
}

static bool parse_token(const char *text, uint32_t vocab, uint32_t *out)
{
    uint64_t id = 0;
    if (!*text)
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return false;
        id = 10 * id + (uint64_t)(*text - '0');
        if (id >= vocab)
            return false;
    }
    *out = (uint32_t)id;
    return true;
}

static bool read_bias(struct openai_asked *a, const struct openai_fields *f,
                      const struct openai_model *model)
{
    const json_t *map = openai_field_object(f, "logit_bias");
    const char *key;
    json_t *value;
    if (!map || !json_object_size(map))
        return !f->refusal->refused;
    if (json_object_size(map) > SAMPLER_BIAS_MAX)
        return openai_field_refuse(f, "logit_bias",
                                   "logit_bias has %zu entries, at most %d are allowed",
                                   json_object_size(map), SAMPLER_BIAS_MAX);
    a->bias = calloc(json_object_size(map), sizeof *a->bias);
    if (!a->bias)
        return openai_refuse(f->refusal, HTTP_UNAVAILABLE, "logit_bias", "out of memory");
    json_object_foreach((json_t *)map, key, value)
    {
        struct sampler_bias *b = &a->bias[a->bias_count++];
        if (!parse_token(key, model->vocab, &b->token))
            return openai_field_refuse(
                f, "logit_bias", "logit_bias has the key '%.32s', must be a token id below %u", key,
                model->vocab);
        double bias = json_number_value(value);
        if (!json_is_number(value) || !(bias >= -100 && bias <= 100))
            return openai_field_refuse(
                f, "logit_bias", "logit_bias['%.32s'] must be a number from -100 to 100", key);
        b->bias = (float)bias;
    }
    return true;
}

static bool read_stream(struct openai_asked *a, const struct openai_fields *f)
{
    openai_field_bool(f, "stream", &a->stream);
    const json_t *options = openai_field_object(f, "stream_options");
    if (!options)
        return !f->refusal->refused;
    if (!a->stream)
        return openai_field_refuse(f, "stream_options",
                                   "stream_options is allowed with stream true only");
    struct openai_fields inner = {options, "stream_options.", f->refusal};
    openai_field_bool(&inner, "include_usage", &a->include_usage);
    openai_field_bool(&inner, "continuous_usage_stats", &a->continuous_usage);
    a->continuous_usage = a->continuous_usage && a->include_usage;
    return !f->refusal->refused;
}

static bool read_count(struct openai_asked *a, const struct openai_fields *f,
                       const struct openai_limits *limits)
{
    int64_t best_of;
    openai_field_u32(f, "n", 1, limits->n_max, &a->n);
    if (openai_field_int(f, "best_of", 1, UINT32_MAX, &best_of) && best_of != a->n)
        return openai_field_refuse(f, "best_of",
                                   "best_of is %" PRId64
                                   ", must be n (%u) or left out: every choice "
                                   "that is computed is returned",
                                   best_of, a->n);
    return !f->refusal->refused;
}

static bool read_name(struct openai_asked *a, const struct openai_fields *f)
{
    size_t bytes;
    const char *name = openai_field_text(f, "request_id", &bytes);
    if (!name)
        return !f->refusal->refused;
    if (bytes > OPENAI_NAME_BYTES_MAX)
        return openai_field_refuse(f, "request_id",
                                   "request_id has %zu bytes, at most %d are allowed", bytes,
                                   OPENAI_NAME_BYTES_MAX);
    memcpy(a->name, name, bytes);
    return true;
}

static bool read_salt(struct openai_asked *a, const struct openai_fields *f)
{
    size_t bytes;
    const char *salt = openai_field_text(f, "cache_salt", &bytes);
    if (!salt)
        return !f->refusal->refused;
    if (!bytes)
        return openai_field_refuse(f, "cache_salt", "cache_salt must not be empty");
    a->cache_salt = request_salt(salt, bytes);
    return true;
}

/* Known fields that change nothing here, but for one of their values. */
static bool read_fixed(const struct openai_fields *f)
{
    bool on = false;
    if (openai_field_bool(f, "store", &on) && on)
        return openai_field_refuse(f, "store", "store is not supported: nothing is kept here");
    if (openai_field_bool(f, "detokenize", &on) && !on)
        return openai_field_refuse(f, "detokenize", "detokenize false is not supported");
    if (openai_field_bool(f, "spaces_between_special_tokens", &on) && !on)
        return openai_field_refuse(f, "spaces_between_special_tokens",
                                   "spaces_between_special_tokens false is not supported");
    return !f->refusal->refused;
}

bool openai_asked_read(struct openai_asked *a, const struct openai_fields *f,
                       const struct openai_model *model, const struct openai_limits *limits)
{
    bool skip_special = true;
    int64_t priority;
    if (!openai_asked_model(f, model) || !openai_refuse_unsupported(f, unsupported) ||
        !read_fixed(f) || !read_stream(a, f) || !read_count(a, f, limits))
        return false;
    read_sampling(&a->sampling, f);
    openai_field_u32(f, "min_tokens", 0, UINT32_MAX, &a->min_tokens);
    openai_field_bool(f, "ignore_eos", &a->ignore_eos);
    openai_field_bool(f, "skip_special_tokens", &skip_special);
    a->keep_special = !skip_special;
    openai_field_bool(f, "include_stop_str_in_output", &a->include_stop);
    openai_field_bool(f, "return_token_ids", &a->return_token_ids);
    if (openai_field_int(f, "priority", INT32_MIN, INT32_MAX, &priority))
        a->priority = (int32_t)priority;
    if (!read_name(a, f) || !read_salt(a, f) || !read_stops(a, f, model) ||
        !read_bias(a, f, model) || !openai_grammar_read(&a->grammar, f))
        return false;
    if (a->grammar.kind != OPENAI_GRAMMAR_NONE && !model->tokenizer)
        return openai_refuse(f->refusal, HTTP_BAD_VALUE, a->grammar.param,
                             "%s needs a tokenizer, the model '%s' has none", a->grammar.param,
                             model->name);
    return !f->refusal->refused;
}

/* ---- judging ---- */

bool openai_asked_check(const struct openai_asked *a, const struct openai_model *model,
                        const struct openai_limits *limits, const char *param,
                        struct openai_refusal *refusal)
{
    if ((uint64_t)a->prompt_count * a->n > limits->choices_max)
        return openai_refuse(
            refusal, HTTP_BAD_VALUE, "n",
            "%u prompts with n = %u are %" PRIu64 " choices, at most %u are allowed",
            a->prompt_count, a->n, (uint64_t)a->prompt_count * a->n, limits->choices_max);
    if (a->has_max_tokens && a->min_tokens > a->max_tokens)
        return openai_refuse(refusal, HTTP_BAD_VALUE, "min_tokens",
                             "min_tokens is %u, must not be more than max_tokens (%u)",
                             a->min_tokens, a->max_tokens);
    bool samples = !a->has_max_tokens || a->max_tokens > 0;
    for (uint32_t i = 0; i < a->prompt_count; i++) {
        uint32_t count = a->prompts[i].count;
        if (!count)
            return openai_refuse(refusal, HTTP_BAD_VALUE, param, "%s has no tokens", param);
        if (count > model->max_model_len || (samples && count == model->max_model_len))
            return openai_refuse(refusal, HTTP_CONTEXT_LENGTH, param,
                                 "%s has %u tokens, this model's context is %u tokens (prompt and "
                                 "answer together)", param, count, model->max_model_len);
    }
    return true;
}

bool openai_asked_is_empty(const struct openai_asked *a)
{
    return a->has_max_tokens && a->max_tokens == 0 && !(a->echo && a->sampling.logprobs);
}

/* ---- a request ---- */

static bool fill_lists(const struct openai_asked *a, struct request_asked *out)
{
    for (uint32_t i = 0; i < a->stops.count; i++)
        if (stop_list_add(&out->stops, a->stops.stop[i].text, a->stops.stop[i].bytes, NULL) !=
            STATUS_OK)
            return false;
    memcpy(out->stop_tokens, a->stop_tokens, sizeof out->stop_tokens);
    out->stop_token_count = a->stop_token_count;
    memcpy(out->shown_special, a->shown_special, sizeof out->shown_special);
    out->shown_special_count = a->shown_special_count;
    if (!a->bias_count)
        return true;
    out->bias = malloc(a->bias_count * sizeof *out->bias);
    if (!out->bias)
        return false;
    memcpy(out->bias, a->bias, a->bias_count * sizeof *out->bias);
    out->sampling.bias = out->bias;
    out->sampling.bias_count = a->bias_count;
    return true;
}

bool openai_asked_fill(struct openai_asked *a, const struct openai_prompt *prompt, uint32_t i,
                       struct request_asked *out, struct openai_refusal *refusal)
{
    out->sampling = a->sampling;
    out->sampling.seed += i; /* the choices of one prompt are not to be the same */
    out->has_max_tokens = a->has_max_tokens;
    out->max_tokens = a->max_tokens;
    out->min_tokens = a->min_tokens;
    out->ignore_eos = a->ignore_eos;
    out->keep_special = a->keep_special;
    out->include_stop = a->include_stop;
    out->priority = a->priority;
    out->cache_salt = a->cache_salt;
    out->choices = i == 0 ? a->n : 0;
    out->prompt_logprobs = a->echo && a->sampling.logprobs;
    out->prompt = malloc(prompt->count * sizeof *out->prompt);
    if (!out->prompt || !fill_lists(a, out))
        return openai_refuse(refusal, HTTP_UNAVAILABLE, NULL, "out of memory for the request");
    memcpy(out->prompt, prompt->ids, prompt->count * sizeof *out->prompt);
    out->prompt_tokens = prompt->count;
    return openai_grammar_compile(&a->grammar, &out->grammar, refusal);
}
