#include "server/kserve/kserve_decode.h"

#include <string.h>

#include "server/kserve/kserve_prompt.h"

typedef Inference__ModelInferRequest infer_request;

enum { MAX_TOKENS_DEFAULT = 16 }; /* as the backends have it, and /v1/completions */

const struct kserve_output_kind kserve_output_kinds[KSERVE_OUTPUTS] = {
    [KSERVE_TEXT] = {"text_output", "BYTES", NULL, false, true},
    [KSERVE_FINISH_REASON] = {"finish_reason", "BYTES", "return_finish_reason", false, false},
    [KSERVE_INPUT_TOKENS] = {"num_input_tokens", "UINT32", "return_num_input_tokens", false, false},
    [KSERVE_OUTPUT_TOKENS] = {"num_output_tokens", "UINT32", "return_num_output_tokens", false,
                              false},
    [KSERVE_IDS] = {"output_ids", "INT32", "return_token_ids", true, true},
    [KSERVE_LOG_PROBS] = {"output_log_probs", "FP32", "return_log_probs", true, true},
    [KSERVE_LOG_PROB_SUM] = {"cum_log_probs", "FP32", "return_log_probs", false, false},
    [KSERVE_CUMULATIVE] = {"cumulative_logprob", "FP32", "return_cumulative_logprob", false, false},
};
#define LOG_PROB_OUTPUTS                                                                           \
    (1u << KSERVE_LOG_PROBS | 1u << KSERVE_LOG_PROB_SUM | 1u << KSERVE_CUMULATIVE)

static const char json_field[] = "sampling_parameters", exclude_field[] = "exclude_input_in_output";

/* Two rows may have one field: backends differ in what they call it. */
const struct kserve_setting kserve_settings[] = {
    {KSERVE_TEXT_INPUT, KSERVE_TEXT_INPUT, "BYTES", KSERVE_LIST},
    {KSERVE_IDS_INPUT, KSERVE_IDS_INPUT, "INT32", KSERVE_ROWS},
    {KSERVE_LENGTHS_INPUT, KSERVE_LENGTHS_INPUT, "INT32", KSERVE_LIST},
    {"stream", "stream", "BOOL", KSERVE_ONE},
    {json_field, json_field, "BYTES", KSERVE_ONE},
    {exclude_field, exclude_field, "BOOL", KSERVE_ONE},
    {"return_finish_reason", "return_finish_reason", "BOOL", KSERVE_ONE},
    {"return_num_input_tokens", "return_num_input_tokens", "BOOL", KSERVE_ONE},
    {"return_num_output_tokens", "return_num_output_tokens", "BOOL", KSERVE_ONE},
    {"return_token_ids", "return_token_ids", "BOOL", KSERVE_ONE},
    {"return_log_probs", "return_log_probs", "BOOL", KSERVE_ONE},
    {"return_cumulative_logprob", "return_cumulative_logprob", "BOOL", KSERVE_ONE},
    {"max_tokens", "max_tokens", "INT32", KSERVE_ONE},
    {"min_tokens", "min_tokens", "INT32", KSERVE_ONE},
    {"temperature", "temperature", "FP32", KSERVE_ONE},
    {"top_k", "top_k", "INT32", KSERVE_ONE},
    {"top_p", "top_p", "FP32", KSERVE_ONE},
    {"min_p", "min_p", "FP32", KSERVE_ONE},
    {"repetition_penalty", "repetition_penalty", "FP32", KSERVE_ONE},
    {"presence_penalty", "presence_penalty", "FP32", KSERVE_ONE},
    {"frequency_penalty", "frequency_penalty", "FP32", KSERVE_ONE},
    {"seed", "seed", "INT64", KSERVE_ONE},
    {"random_seed", "seed", "INT64", KSERVE_ONE},
    {"stop", "stop", "BYTES", KSERVE_LIST},
    {"stop_words", "stop", "BYTES", KSERVE_LIST},
    {"stop_token_ids", "stop_token_ids", "INT32", KSERVE_LIST},
    {"ignore_eos", "ignore_eos", "BOOL", KSERVE_ONE},
    {"skip_special_tokens", "skip_special_tokens", "BOOL", KSERVE_ONE},
    {"include_stop_str_in_output", "include_stop_str_in_output", "BOOL", KSERVE_ONE},
    {"add_special_tokens", "add_special_tokens", "BOOL", KSERVE_ONE},
    {NULL, NULL, NULL, KSERVE_ONE}};

/* Fields of sampling_parameters that no tensor has a name for. */
static const char *const json_only[] = {"logit_bias", "structured_outputs", "response_format",
                                        "priority",   "request_id",         NULL};

static const struct kserve_setting *find(const char *name)
{
    const struct kserve_setting *s = kserve_settings;
    while (s->name && strcmp(s->name, name) != 0)
        s++;
    return s->name ? s : NULL;
}

static bool put(json_t *settings, const char *field, json_t *value, struct openai_refusal *refusal)
{
    if (json_object_set_new(settings, field, value) == 0)
        return true;
    return openai_refuse(refusal, HTTP_UNAVAILABLE, field, "out of memory for %s", field);
}

/* ---- from the three places to one object ---- */

static json_t *parameter_value(const Inference__InferParameter *p)
{
    switch (p->parameter_choice_case) {
    case INFERENCE__INFER_PARAMETER__PARAMETER_CHOICE_BOOL_PARAM:
        return json_boolean(p->bool_param);
    case INFERENCE__INFER_PARAMETER__PARAMETER_CHOICE_INT64_PARAM:
        return json_integer(p->int64_param);
    case INFERENCE__INFER_PARAMETER__PARAMETER_CHOICE_STRING_PARAM:
        return json_string(p->string_param);
    case INFERENCE__INFER_PARAMETER__PARAMETER_CHOICE_DOUBLE_PARAM:
        return json_real(p->double_param);
    case INFERENCE__INFER_PARAMETER__PARAMETER_CHOICE_UINT64_PARAM:
        return p->uint64_param > INT64_MAX ? json_real((double)p->uint64_param)
                                           : json_integer((json_int_t)p->uint64_param);
    default: return NULL;
    }
}

static bool add_parameters(json_t *settings, const infer_request *m, struct openai_refusal *refusal)
{
    for (size_t i = 0; i < m->n_parameters; i++) {
        const struct kserve_setting *s = find(m->parameters[i]->key);
        if (!s || !m->parameters[i]->value || kserve_prompts_has(s->name))
            continue;
        json_t *value = parameter_value(m->parameters[i]->value);
        if (!value)
            return openai_refuse(refusal, HTTP_BAD_VALUE, s->name, "the parameter %s has no value",
                                 s->name);
        if (!put(settings, s->field, value, refusal))
            return false;
    }
    return true;
}

/* Whether a setting has one value for each of the batch's `rows` prompts. */
static bool is_by_row(const struct kserve_setting *s, const struct kserve_tensor *t, uint32_t rows)
{
    if (rows == 1)
        return false;
    if (s->shape == KSERVE_ONE)
        return t->count == rows;
    return t->input->n_shape == 2 && t->input->shape[0] == rows;
}

/* Takes `list`, the elements of all rows, and returns those of the first; NULL: refused. */
static json_t *same_in_rows(json_t *list, const char *name, uint32_t rows,
                            struct openai_refusal *refusal)
{
    size_t width = json_array_size(list) / rows;
    json_t *first = width == 1 ? json_incref(json_array_get(list, 0)) : json_array();
    for (size_t i = 0; i < width && width != 1; i++)
        json_array_append(first, json_array_get(list, i));
    for (size_t i = width; i < json_array_size(list) && !refusal->refused; i++)
        if (!json_equal(json_array_get(list, i), json_array_get(list, i % width)))
            openai_refuse(refusal, HTTP_BAD_VALUE, name,
                          "input '%s' is not the same for all %u prompts: send separate requests",
                          name, rows);
    if (first && (width == 1 || json_array_size(first) == width) && !refusal->refused)
        goto done;
    json_decref(first);
    first = NULL;
    openai_refuse(refusal, HTTP_UNAVAILABLE, name, "out of memory for the input '%s'", name);
done:
    json_decref(list);
    return first;
}

static bool add_input(json_t *settings, const infer_request *m, size_t i, uint32_t rows,
                      struct openai_refusal *refusal)
{
    const char *name = m->inputs[i]->name;
    const struct kserve_setting *s = find(name);
    struct kserve_tensor tensor;
    if (!s)
        return openai_refuse(refusal, HTTP_BAD_VALUE, name,
                             "input '%.64s' is not known; ModelMetadata lists those that are",
                             name);
    if (kserve_prompts_has(name))
        return true;
    if (!kserve_tensor_open(&tensor, m, i, KSERVE_ELEMENTS_MAX, refusal))
        return false;
    bool by_row = is_by_row(s, &tensor, rows);
    if (s->shape == KSERVE_ONE && tensor.count != 1 && !by_row)
        return openai_refuse(refusal, HTTP_BAD_VALUE, name,
                             "input '%s' has %u elements, must have 1 or one for each prompt (%u)",
                             name, tensor.count, rows);
    json_t *value = kserve_tensor_value(&tensor, refusal);
    if (value && by_row)
        value = same_in_rows(value, name, rows, refusal);
    return value && put(settings, s->field, value, refusal);
}

static bool add_inputs(json_t *settings, const infer_request *m, uint32_t rows,
                       struct openai_refusal *refusal)
{
    bool ok = true;
    for (size_t i = 0; i < m->n_inputs && ok; i++)
        ok = add_input(settings, m, i, rows, refusal);
    return ok;
}

static bool known_in_json(const char *name)
{
    for (size_t i = 0; json_only[i]; i++)
        if (strcmp(json_only[i], name) == 0)
            return true;
    const struct kserve_setting *s = find(name);
    return s && !kserve_prompts_has(s->name) && strcmp(s->name, json_field) != 0;
}

/* Puts what the JSON text says under what is there already. */
static bool add_json(json_t *settings, struct openai_refusal *refusal)
{
    struct openai_fields f = {settings, "", refusal};
    size_t bytes;
    const char *key, *text = openai_field_text(&f, json_field, &bytes);
    json_t *value, *object;
    bool ok = true;
    if (!text)
        return !refusal->refused;
    object = json_loadb(text, bytes, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    if (!json_is_object(object))
        ok = openai_field_refuse(&f, json_field, "%s is not the text of a JSON object", json_field);
    json_object_foreach(object, key, value)
    {
        if (ok && !known_in_json(key))
            ok = openai_refuse(refusal, HTTP_BAD_VALUE, json_field,
                               "%s has '%.64s', which is not known", json_field, key);
        const struct kserve_setting *s = find(key);
        const char *field = s ? s->field : key;
        if (ok && !json_object_get(settings, field))
            ok = put(settings, field, json_incref(value), refusal);
    }
    json_decref(object);
    return ok;
}

/* ---- from the object to what is asked ---- */

static bool read_outputs(const infer_request *m, const struct openai_fields *f, unsigned *outputs)
{
    *outputs = m->n_outputs ? 0 : 1u << KSERVE_TEXT;
    for (size_t i = 0; i < m->n_outputs; i++) {
        const char *name = m->outputs[i]->name;
        unsigned at = 0;
        while (at < KSERVE_OUTPUTS && strcmp(kserve_output_kinds[at].name, name) != 0)
            at++;
        if (at == KSERVE_OUTPUTS)
            return openai_refuse(f->refusal, HTTP_BAD_VALUE, name,
                                 "output '%.64s' is not known; ModelMetadata lists those that are",
                                 name);
        *outputs |= 1u << at;
    }
    for (unsigned i = 0; i < KSERVE_OUTPUTS; i++) {
        bool on = false;
        if (kserve_output_kinds[i].field)
            openai_field_bool(f, kserve_output_kinds[i].field, &on);
        if (on && !m->n_outputs)
            *outputs |= 1u << i;
    }
    return !f->refusal->refused;
}

static bool read_prompts(const struct kserve_prompts *prompts, const struct openai_fields *f,
                         const struct openai_model *model, struct kserve_asked *out)
{
    struct kserve_prompts_how how = {.add_special = true, .keep_special = out->asked.keep_special};
    bool exclude = true;
    openai_field_bool(f, exclude_field, &exclude);
    openai_field_bool(f, "add_special_tokens", &how.add_special);
    how.echo = out->echo = !exclude;
    return !f->refusal->refused &&
           kserve_prompts_read(prompts, model, &how, &out->asked, f->refusal);
}

static bool check_message(const infer_request *m, const struct openai_model *model,
                        struct openai_refusal *refusal)
{
    if (*m->model_name && strcmp(m->model_name, model->name) != 0)
        return openai_refuse(refusal, HTTP_NO_MODEL, "model_name",
                             "the model '%.128s' is not served here, '%s' is", m->model_name,
                             model->name);
    if (*m->model_version && strcmp(m->model_version, KSERVE_VERSION) != 0)
        return openai_refuse(refusal, HTTP_NO_MODEL, "model_version",
                             "the model '%s' has the version " KSERVE_VERSION " only, not '%.32s'",
                             model->name, m->model_version);
    if (m->n_raw_input_contents && m->n_raw_input_contents != m->n_inputs)
        return openai_refuse(refusal, HTTP_BAD_VALUE, "raw_input_contents",
                             "raw_input_contents has %zu entries for %zu inputs",
                             m->n_raw_input_contents, m->n_inputs);
    return true;
}

bool kserve_decode(const infer_request *m, const struct openai_model *model,
                   struct kserve_asked *out, struct openai_refusal *refusal)
{
    json_t *settings = json_object();
    struct openai_fields f = {settings, "", refusal};
    struct openai_limits limits;
    struct kserve_prompts prompts;
    openai_limits_init(&limits);
    *out = (struct kserve_asked){.raw = m->n_raw_input_contents != 0, .settings = settings};
    openai_asked_init(&out->asked);
    struct openai_asked *asked = &out->asked;
    if (!settings)
        return openai_refuse(refusal, HTTP_UNAVAILABLE, NULL, "out of memory for the settings");
    if (!check_message(m, model, refusal) || !kserve_prompts_open(&prompts, m, refusal) ||
        !add_parameters(settings, m, refusal) || !add_inputs(settings, m, prompts.rows, refusal) ||
        !add_json(settings, refusal) || !openai_asked_read(asked, &f, model, &limits) ||
        !read_outputs(m, &f, &out->outputs))
        return false;
    asked->has_max_tokens = true;
    asked->max_tokens = MAX_TOKENS_DEFAULT;
    openai_field_u32(&f, "max_tokens", 0, UINT32_MAX, &asked->max_tokens);
    asked->sampling.logprobs = (out->outputs & LOG_PROB_OUTPUTS) != 0;
    return read_prompts(&prompts, &f, model, out) &&
           openai_asked_check(asked, model, &limits,
                              prompts.texts.input ? KSERVE_TEXT_INPUT : KSERVE_IDS_INPUT, refusal);
}

void kserve_asked_reset(struct kserve_asked *asked)
{
    openai_asked_reset(&asked->asked);
    json_decref(asked->settings);
    asked->settings = NULL;
}
