#include "server/moering_v1/generate_decode.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

typedef Moering__V1__GenerateRequest generate_request;
typedef Moering__V1__SamplingParams sampling_message;

static bool is_utf8(const ProtobufCBinaryData *text)
{
    for (size_t at = 0; at < text->len;) {
        utf8proc_int32_t code;
        utf8proc_ssize_t n = utf8proc_iterate(text->data + at, (utf8proc_ssize_t)(text->len - at),
                                              &code);
        if (n <= 0)
            return false;
        at += (size_t)n;
    }
    return true;
}

static enum status check_name(const char *field, const char *value, struct error *error)
{
    size_t bytes = strlen(value);
    if (bytes <= GENERATE_NAME_BYTES_MAX)
        return STATUS_OK;
    return error_set(error, STATUS_INVALID, "%s has %zu bytes, at most %d are allowed", field,
                     bytes, GENERATE_NAME_BYTES_MAX);
}

static enum status decode_sampling(const generate_request *m, struct sampler_params *out,
                                   struct error *error)
{
    const sampling_message *s = m->sampling;
    sampler_params_init(out);
    out->logprobs = m->logprobs || m->top_logprobs;
    out->top_logprobs = m->top_logprobs;
    if (s) {
        if (s->_temperature_case != MOERING__V1__SAMPLING_PARAMS___TEMPERATURE__NOT_SET)
            out->temperature = s->temperature;
        if (s->_top_p_case != MOERING__V1__SAMPLING_PARAMS___TOP_P__NOT_SET)
            out->top_p = s->top_p;
        if (s->_repetition_penalty_case !=
            MOERING__V1__SAMPLING_PARAMS___REPETITION_PENALTY__NOT_SET)
            out->repetition_penalty = s->repetition_penalty;
        out->has_seed = s->_seed_case != MOERING__V1__SAMPLING_PARAMS___SEED__NOT_SET;
        if (out->has_seed)
            out->seed = s->seed;
        out->top_k = s->top_k;
        out->min_p = s->min_p;
        out->presence_penalty = s->presence_penalty;
        out->frequency_penalty = s->frequency_penalty;
    }
    return sampler_params_check(out, error);
}

static enum status decode_ids(const generate_request *m, uint32_t vocab,
                              struct request_asked *asked, struct error *error)
{
    size_t n = m->tokens->n_ids;
    for (size_t i = 0; i < n; i++)
        if (m->tokens->ids[i] >= vocab)
            return error_set(error, STATUS_INVALID,
                             "prompt.tokens[%zu] is %u, the vocabulary has %u tokens", i,
                             m->tokens->ids[i], vocab);
    if (n > UINT32_MAX / 2)
        return error_set(error, STATUS_INVALID, "prompt.tokens has %zu ids", n);
    asked->prompt = malloc(n * sizeof *asked->prompt + 1);
    if (!asked->prompt)
        return error_set(error, STATUS_NO_MEMORY, "out of memory for %zu tokens", n);
    if (n)
        memcpy(asked->prompt, m->tokens->ids, n * sizeof *asked->prompt);
    asked->prompt_tokens = (uint32_t)n;
    return STATUS_OK;
}

static enum status decode_text(const struct generate_model *model, const generate_request *m,
                               struct request_asked *asked, struct error *error)
{
    if (!model->tokenizer)
        return error_set(error, STATUS_UNSUPPORTED,
                         "model '%s' has no tokenizer.json: send prompt.tokens instead of text",
                         model->name);
    bool add_special =
        m->_add_special_case == MOERING__V1__GENERATE_REQUEST___ADD_SPECIAL__NOT_SET ||
        m->add_special;
    struct token_list list = {0};
    enum status status = tokenizer_encode(model->tokenizer, (const char *)m->text.data, m->text.len,
                                          add_special, true, &list, error);
    if (status != STATUS_OK) {
        token_list_reset(&list);
        error_prefix(error, "prompt.text");
        return status;
    }
    asked->prompt = list.ids; /* ours now */
    asked->prompt_tokens = list.count;
    return STATUS_OK;
}

enum status generate_check_prompt(const struct generate_model *model,
                                  const struct request_asked *asked, struct error *error)
{
    if (!asked->prompt_tokens)
        return error_set(error, STATUS_INVALID, "prompt has no tokens");
    if (asked->prompt_tokens >= model->max_model_len)
        return error_set(error, STATUS_INVALID,
                         "prompt has %u tokens, the context of %u (--max-model-len) leaves no room "
                         "for an answer", asked->prompt_tokens, model->max_model_len);
    return STATUS_OK;
}

static enum status decode_prompt(const struct generate_model *model, const generate_request *m,
                                 struct request_asked *asked, struct error *error)
{
    enum status status;
    switch (m->prompt_case) {
    case MOERING__V1__GENERATE_REQUEST__PROMPT_TEXT:
        status = decode_text(model, m, asked, error);
        break;
    case MOERING__V1__GENERATE_REQUEST__PROMPT_TOKENS:
        status = decode_ids(m, model->vocab, asked, error);
        break;
    default:
        return error_set(error, STATUS_INVALID, "prompt is missing: send text or tokens");
    }
    return status == STATUS_OK ? generate_check_prompt(model, asked, error) : status;
}

static enum status decode_ends(const generate_request *m, uint32_t vocab,
                               struct request_asked *asked, struct error *error)
{
    asked->has_max_tokens =
        m->_max_tokens_case != MOERING__V1__GENERATE_REQUEST___MAX_TOKENS__NOT_SET;
    asked->max_tokens = asked->has_max_tokens ? m->max_tokens : 0;
    asked->min_tokens = m->min_tokens;
    asked->ignore_eos = m->ignore_eos;
    asked->include_stop = m->include_stop;
    asked->keep_special = m->keep_special;
    if (asked->has_max_tokens && asked->min_tokens > asked->max_tokens)
        return error_set(error, STATUS_INVALID, "min_tokens %u is more than max_tokens %u",
                         asked->min_tokens, asked->max_tokens);
    if (m->n_stop_token_ids > REQUEST_STOP_TOKENS_MAX)
        return error_set(error, STATUS_INVALID,
                         "stop_token_ids has %zu ids, at most %d are allowed",
                         m->n_stop_token_ids, REQUEST_STOP_TOKENS_MAX);
    for (size_t i = 0; i < m->n_stop_token_ids; i++) {
        if (m->stop_token_ids[i] >= vocab)
            return error_set(error, STATUS_INVALID,
                             "stop_token_ids[%zu] is %u, the vocabulary has %u tokens", i,
                             m->stop_token_ids[i], vocab);
        asked->stop_tokens[asked->stop_token_count++] = m->stop_token_ids[i];
    }
    for (size_t i = 0; i < m->n_stop; i++) {
        if (!is_utf8(&m->stop[i]))
            return error_set(error, STATUS_INVALID, "stop[%zu] is not UTF-8", i);
        enum status status = stop_list_add(&asked->stops, m->stop[i].data, m->stop[i].len, error);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

enum status generate_decode_settings(const struct generate_model *model, const generate_request *m,
                                     struct request *request, struct error *error)
{
    struct request_asked *asked = &request->asked;
    enum status status = check_name("model", m->model, error);
    if (status == STATUS_OK)
        status = check_name("request_id", m->request_id, error);
    if (status == STATUS_OK)
        status = check_name("cache_salt", m->cache_salt, error);
    if (status != STATUS_OK)
        return status;
    if (*m->model && strcmp(m->model, model->name) != 0)
        return error_set(error, STATUS_NOT_FOUND, "model '%s' is not served here, '%s' is",
                         m->model, model->name);
    asked->priority = m->priority;
    asked->cache_salt = request_salt(m->cache_salt, strlen(m->cache_salt));
    status = decode_sampling(m, &asked->sampling, error);
    return status == STATUS_OK ? decode_ends(m, model->vocab, asked, error) : status;
}

enum status generate_decode(const struct generate_model *model, const generate_request *m,
                            struct request *request, struct error *error)
{
    enum status status = generate_decode_settings(model, m, request, error);
    return status == STATUS_OK ? decode_prompt(model, m, &request->asked, error) : status;
}
