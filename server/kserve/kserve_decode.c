#include "server/kserve/kserve_decode.h"

#include <stdlib.h>
#include <string.h>

#include "server/kserve/kserve_tensor.h"

typedef Inference__ModelInferRequest infer_request;

enum { MAX_TOKENS_DEFAULT = 16 }; /* as the backends have it, and /v1/completions */

const char *const kserve_output_names[KSERVE_OUTPUTS] = {"text_output", "finish_reason",
                                                         "num_input_tokens", "num_output_tokens"};

const char *kserve_output_type(enum kserve_output output)
{
    return output == KSERVE_TEXT || output == KSERVE_FINISH_REASON ? "BYTES" : "UINT32";
}

static const char text_field[] = "text_input", json_field[] = "sampling_parameters";
static const char exclude_field[] = "exclude_input_in_output";
/* In the order of enum kserve_output. */
static const char *const return_fields[KSERVE_OUTPUTS] = {
    NULL, "return_finish_reason", "return_num_input_tokens", "return_num_output_tokens"};

/* Two rows may have one field: backends differ in what they call it. */
const struct kserve_setting kserve_settings[] = {
    {text_field, text_field, "BYTES", false},
    {"stream", "stream", "BOOL", false},
    {json_field, json_field, "BYTES", false},
    {exclude_field, exclude_field, "BOOL", false},
    {"return_finish_reason", "return_finish_reason", "BOOL", false},
    {"return_num_input_tokens", "return_num_input_tokens", "BOOL", false},
    {"return_num_output_tokens", "return_num_output_tokens", "BOOL", false},
    {"max_tokens", "max_tokens", "INT32", false},
    {"min_tokens", "min_tokens", "INT32", false},
    {"temperature", "temperature", "FP32", false},
    {"top_k", "top_k", "INT32", false},
    {"top_p", "top_p", "FP32", false},
    {"min_p", "min_p", "FP32", false},
    {"repetition_penalty", "repetition_penalty", "FP32", false},
    {"presence_penalty", "presence_penalty", "FP32", false},
    {"frequency_penalty", "frequency_penalty", "FP32", false},
    {"seed", "seed", "INT64", false},
    {"random_seed", "seed", "INT64", false},
    {"stop", "stop", "BYTES", true},
    {"stop_words", "stop", "BYTES", true},
    {"stop_token_ids", "stop_token_ids", "INT32", true},
    {"ignore_eos", "ignore_eos", "BOOL", false},
    {"skip_special_tokens", "skip_special_tokens", "BOOL", false},
    {"include_stop_str_in_output", "include_stop_str_in_output", "BOOL", false},
    {"add_special_tokens", "add_special_tokens", "BOOL", false},
    {NULL, NULL, NULL, false}};

/* Fields of sampling_parameters that no tensor has a name for. */
static const char *const json_only[] = {"logit_bias", "structured_outputs", "response_format", "priority",
                                        "request_id", NULL};

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
    case INFERENCE__INFER_PARAMETER__PARAMETER_CHOICE_BOOL_PARAM: return json_boolean(p->bool_param);
    case INFERENCE__INFER_PARAMETER__PARAMETER_CHOICE_INT64_PARAM:
        return json_integer(p->int64_param);
    case INFERENCE__INFER_PARAMETER__PARAMETER_CHOICE_STRING_PARAM: return json_string(p->string_param);
    case INFERENCE__INFER_PARAMETER__PARAMETER_CHOICE_DOUBLE_PARAM: return json_real(p->double_param);
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
        if (!s || !m->parameters[i]->value || strcmp(s->name, text_field) == 0)
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

static bool add_inputs(json_t *settings, const infer_request *m, struct openai_refusal *refusal)
{
    if (m->n_raw_input_contents && m->n_raw_input_contents != m->n_inputs)
        return openai_refuse(refusal, HTTP_BAD_VALUE, "raw_input_contents",
                             "raw_input_contents has %zu entries for %zu inputs",
                             m->n_raw_input_contents, m->n_inputs);
    for (size_t i = 0; i < m->n_inputs; i++) {
        const char *name = m->inputs[i]->name;
        const struct kserve_setting *s = find(name);
        struct kserve_tensor tensor;
        if (!s)
            return openai_refuse(refusal, HTTP_BAD_VALUE, name,
                                 "input '%.64s' is not known; ModelMetadata lists those that are", name);
        if (!kserve_tensor_open(&tensor, m, i, refusal))
            return false;
        if (!s->list && tensor.count != 1)
            return openai_refuse(refusal, HTTP_BAD_VALUE, name,
                                 "input '%s' has %u elements, must have 1: batches are separate requests",
                                 name, tensor.count);
        json_t *value = kserve_tensor_value(&tensor, refusal);
        if (!value || !put(settings, s->field, value, refusal))
            return false;
    }
    return true;
}

static bool known_in_json(const char *name)
{
    for (size_t i = 0; json_only[i]; i++)
        if (strcmp(json_only[i], name) == 0)
            return true;
    const struct kserve_setting *s = find(name);
    return s && strcmp(s->name, text_field) != 0 && strcmp(s->name, json_field) != 0;
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
            ok = openai_refuse(refusal, HTTP_BAD_VALUE, json_field, "%s has '%.64s', which is not known",
                               json_field, key);
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
        while (at < KSERVE_OUTPUTS && strcmp(kserve_output_names[at], name) != 0)
            at++;
        if (at == KSERVE_OUTPUTS)
            return openai_refuse(f->refusal, HTTP_BAD_VALUE, name,
                                 "output '%.64s' is not known; ModelMetadata lists those that are", name);
        *outputs |= 1u << at;
    }
    for (unsigned i = KSERVE_FINISH_REASON; i < KSERVE_OUTPUTS; i++) {
        bool on = false;
        openai_field_bool(f, return_fields[i], &on);
        if (on && !m->n_outputs)
            *outputs |= 1u << i;
    }
    return !f->refusal->refused;
}

static bool read_prompt(const struct openai_fields *f, const struct openai_model *model,
                        struct openai_asked *asked)
{
    struct token_list list = {0};
    struct error error = {{0}};
    size_t bytes;
    bool exclude = true, add_special = true;
    const char *text = openai_field_text(f, text_field, &bytes);
    openai_field_bool(f, exclude_field, &exclude);
    openai_field_bool(f, "add_special_tokens", &add_special);
    if (f->refusal->refused)
        return false;
    if (!text)
        return openai_field_refuse(f, text_field, "the input %s is missing", text_field);
    if (!model->tokenizer)
        return openai_field_refuse(f, text_field, "the model '%s' has no tokenizer", model->name);
    if (!openai_asked_prompts(asked, 1, f->refusal))
        return false;
    enum status status = tokenizer_encode(model->tokenizer, text, bytes, add_special, true, &list, &error);
    struct openai_prompt *prompt = &asked->prompts[0];
    prompt->ids = list.ids; /* ours now */
    prompt->count = list.count;
    if (status != STATUS_OK)
        return openai_refuse_status(f->refusal, status, text_field, &error);
    asked->echo = !exclude;
    if (exclude)
        return true;
    prompt->echo = malloc(bytes + 1);
    if (!prompt->echo)
        return openai_refuse(f->refusal, HTTP_UNAVAILABLE, text_field, "out of memory for the prompt");
    memcpy(prompt->echo, text, bytes);
    prompt->echo_bytes = bytes;
    return true;
}

static bool check_names(const infer_request *m, const struct openai_model *model,
                        struct openai_refusal *refusal)
{
    if (*m->model_name && strcmp(m->model_name, model->name) != 0)
        return openai_refuse(refusal, HTTP_NO_MODEL, "model_name",
                             "the model '%.128s' is not served here, '%s' is", m->model_name, model->name);
    if (*m->model_version && strcmp(m->model_version, KSERVE_VERSION) != 0)
        return openai_refuse(refusal, HTTP_NO_MODEL, "model_version",
                             "the model '%s' has the version " KSERVE_VERSION " only, not '%.32s'",
                             model->name, m->model_version);
    return true;
}

bool kserve_decode(const infer_request *m, const struct openai_model *model, struct kserve_asked *out,
                   struct openai_refusal *refusal)
{
    json_t *settings = json_object();
    struct openai_fields f = {settings, "", refusal};
    struct openai_limits limits;
    openai_limits_init(&limits);
    *out = (struct kserve_asked){.raw = m->n_raw_input_contents != 0, .settings = settings};
    openai_asked_init(&out->asked);
    struct openai_asked *asked = &out->asked;
    if (!settings)
        return openai_refuse(refusal, HTTP_UNAVAILABLE, NULL, "out of memory for the settings");
    bool ok = check_names(m, model, refusal) && add_parameters(settings, m, refusal) &&
              add_inputs(settings, m, refusal) && add_json(settings, refusal) &&
              openai_asked_read(asked, &f, model, &limits) && read_outputs(m, &f, &out->outputs);
    asked->has_max_tokens = true;
    asked->max_tokens = MAX_TOKENS_DEFAULT;
    openai_field_u32(&f, "max_tokens", 0, UINT32_MAX, &asked->max_tokens);
    return ok && !refusal->refused && read_prompt(&f, model, asked) &&
           openai_asked_check(asked, model, &limits, text_field, refusal);
}

void kserve_asked_reset(struct kserve_asked *asked)
{
    openai_asked_reset(&asked->asked);
    json_decref(asked->settings);
    asked->settings = NULL;
}
