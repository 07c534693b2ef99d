#include "server/kserve/kserve_prompt.h"

#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/detokenize.h"

typedef Inference__ModelInferRequest infer_request;

static const char text_name[] = KSERVE_TEXT_INPUT, ids_name[] = KSERVE_IDS_INPUT,
                  lengths_name[] = KSERVE_LENGTHS_INPUT;

bool kserve_prompts_has(const char *name)
{
    return strcmp(name, text_name) == 0 || strcmp(name, ids_name) == 0 ||
           strcmp(name, lengths_name) == 0;
}

/* ---- which there are, and how many rows ---- */

/* `tensor->input` stays NULL where there is none. */
static bool open_input(struct kserve_tensor *tensor, const infer_request *m, const char *name,
                       uint32_t most, struct openai_refusal *refusal)
{
    for (size_t i = 0; i < m->n_inputs; i++) {
        if (strcmp(m->inputs[i]->name, name) != 0)
            continue;
        if (tensor->input)
            return openai_refuse(refusal, HTTP_BAD_VALUE, name, "the input %s is there twice",
                                 name);
        if (!kserve_tensor_open(tensor, m, i, most, refusal))
            return false;
    }
    return true;
}

static bool count_rows(struct kserve_prompts *p, struct openai_refusal *refusal)
{
    bool texts = p->texts.input != NULL;
    const struct kserve_tensor *t = texts ? &p->texts : &p->ids;
    const int64_t *shape = t->input->shape;
    size_t dimensions = t->input->n_shape;
    const char *name = t->input->name;
    if (texts) {
        if (dimensions && shape[0] != t->count)
            return openai_refuse(refusal, HTTP_BAD_VALUE, name,
                                 "input '%s' must have the shape [B] or [B, 1]", name);
        p->rows = t->count;
    } else if (dimensions == 1 || dimensions == 2) {
        int64_t rows = dimensions == 1 ? 1 : shape[0];
        p->rows = rows > KSERVE_ROWS_MAX ? KSERVE_ROWS_MAX + 1 : (uint32_t)rows;
    } else {
        return openai_refuse(refusal, HTTP_BAD_VALUE, name,
                             "input '%s' must have the shape [n] or [B, n]", name);
    }
    if (p->rows >= 1 && p->rows <= KSERVE_ROWS_MAX)
        return true;
    return openai_refuse(refusal, HTTP_BAD_VALUE, name, "input '%s' has %s, 1 to %d are allowed",
                         name, p->rows ? "too many prompts" : "no prompt", KSERVE_ROWS_MAX);
}

bool kserve_prompts_open(struct kserve_prompts *p, const infer_request *m,
                         struct openai_refusal *refusal)
{
    *p = (struct kserve_prompts){.rows = 1};
    if (!open_input(&p->texts, m, text_name, KSERVE_ELEMENTS_MAX, refusal) ||
        !open_input(&p->ids, m, ids_name, KSERVE_TOKENS_MAX, refusal) ||
        !open_input(&p->lengths, m, lengths_name, KSERVE_ELEMENTS_MAX, refusal))
        return false;
    if (!p->texts.input && !p->ids.input)
        return openai_refuse(refusal, HTTP_BAD_VALUE, text_name, "the input %s is missing (or %s)",
                             text_name, ids_name);
    if (p->texts.input && p->ids.input)
        return openai_refuse(refusal, HTTP_BAD_VALUE, ids_name,
                             "%s and %s are both there: send one", text_name, ids_name);
    if (p->lengths.input && !p->ids.input)
        return openai_refuse(refusal, HTTP_BAD_VALUE, lengths_name, "%s goes with %s only",
                             lengths_name, ids_name);
    if (!count_rows(p, refusal))
        return false;
    if (p->lengths.input && p->lengths.count != p->rows)
        return openai_refuse(refusal, HTTP_BAD_VALUE, lengths_name,
                             "input '%s' has %u elements for %u prompts", lengths_name,
                             p->lengths.count, p->rows);
    return true;
}

/* ---- texts ---- */

static bool no_memory(const char *name, struct openai_refusal *refusal)
{
    return openai_refuse(refusal, HTTP_UNAVAILABLE, name, "out of memory for the prompt");
}

static bool read_text(const json_t *text, const struct openai_model *model,
                      const struct kserve_prompts_how *how, struct openai_prompt *out,
                      struct openai_refusal *refusal)
{
    struct token_list list = {0};
    struct error error = {{0}};
    size_t bytes = json_string_length(text);
    if (!json_is_string(text))
        return openai_refuse(refusal, HTTP_BAD_VALUE, text_name, "%s must be of the datatype BYTES",
                             text_name);
    enum status status = tokenizer_encode(model->tokenizer, json_string_value(text), bytes,
                                          how->add_special, true, &list, &error);
    out->ids = list.ids; /* ours now */
    out->count = list.count;
    if (status != STATUS_OK)
        return openai_refuse_status(refusal, status, text_name, &error);
    if (!how->echo)
        return true;
    out->echo = malloc(bytes + 1);
    if (!out->echo)
        return no_memory(text_name, refusal);
    memcpy(out->echo, json_string_value(text), bytes);
    out->echo_bytes = bytes;
    return true;
}

static bool read_texts(const struct kserve_prompts *p, const struct openai_model *model,
                       const struct kserve_prompts_how *how, struct openai_asked *asked,
                       struct openai_refusal *refusal)
{
    bool ok = true;
    if (!model->tokenizer)
        return openai_refuse(refusal, HTTP_BAD_VALUE, text_name,
                             "the model '%s' has no tokenizer: send %s", model->name, ids_name);
    json_t *texts = kserve_tensor_value(&p->texts, refusal);
    if (!texts)
        return false;
    for (uint32_t i = 0; i < p->rows && ok; i++)
        ok = read_text(json_is_array(texts) ? json_array_get(texts, i) : texts, model, how,
                       &asked->prompts[i], refusal);
    json_decref(texts);
    return ok;
}

/* ---- token ids ---- */

static bool read_length(const json_t *lengths, uint32_t i, uint32_t width, uint32_t *out,
                        struct openai_refusal *refusal)
{
    const json_t *value = json_is_array(lengths) ? json_array_get(lengths, i) : lengths;
    int64_t length;
    *out = width;
    if (!lengths)
        return true;
    if (!openai_json_int(value, 1, width, &length))
        return openai_refuse(refusal, HTTP_BAD_VALUE, lengths_name,
                             "input '%s': element %u must be 1 to %u, the ids that there are",
                             lengths_name, i, width);
    *out = (uint32_t)length;
    return true;
}

static bool copy_ids(const uint32_t *ids, uint32_t count, const struct openai_model *model,
                     const struct kserve_prompts_how *how, struct openai_prompt *out,
                     struct openai_refusal *refusal)
{
    out->ids = malloc((count + (size_t)1) * sizeof *out->ids);
    if (!out->ids)
        return no_memory(ids_name, refusal);
    if (count)
        memcpy(out->ids, ids, count * sizeof *ids);
    out->count = count;
    for (uint32_t i = 0; i < count; i++)
        if (ids[i] >= model->vocab)
            return openai_refuse(
                refusal, HTTP_BAD_VALUE, ids_name,
                "input '%s' has an element that is no token id: those are below %u", ids_name,
                model->vocab);
    if (!how->echo || !model->tokenizer)
        return true;
    out->echo = detokenize(model->tokenizer, ids, count, !how->keep_special, &out->echo_bytes);
    return out->echo || no_memory(ids_name, refusal);
}

static bool read_ids(const struct kserve_prompts *p, const struct openai_model *model,
                     const struct kserve_prompts_how *how, struct openai_asked *asked,
                     struct openai_refusal *refusal)
{
    uint32_t width = p->ids.count / p->rows;
    json_t *lengths = p->lengths.input ? kserve_tensor_value(&p->lengths, refusal) : NULL;
    uint32_t *ids = refusal->refused ? NULL : kserve_tensor_ids(&p->ids, refusal);
    bool ok = ids != NULL;
    for (uint32_t i = 0; i < p->rows && ok; i++) {
        uint32_t length;
        ok = read_length(lengths, i, width, &length, refusal) &&
             copy_ids(ids + (size_t)i * width, length, model, how, &asked->prompts[i], refusal);
    }
    free(ids);
    json_decref(lengths);
    return ok;
}

bool kserve_prompts_read(const struct kserve_prompts *p, const struct openai_model *model,
                         const struct kserve_prompts_how *how, struct openai_asked *asked,
                         struct openai_refusal *refusal)
{
    if (!openai_asked_prompts(asked, p->rows, refusal))
        return false;
    return p->texts.input ? read_texts(p, model, how, asked, refusal)
                          : read_ids(p, model, how, asked, refusal);
}
