/* POST /tokenize, /detokenize, /apply-template: text and tokens without a model's work.
 *
 * Two families of servers have these under one name. {"content"} is answered with {"tokens"},
 * {"prompt"} or {"messages"} with {"count","max_model_len","tokens"}; a text of tokens comes
 * under both names. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/jsonw.h"
#include "server/openai/openai_service.h"
#include "server/openai/openai_text.h"

/* ---- tokenize ---- */

/* A text if the bytes are one, else a list of numbers. */
static void put_piece(struct jsonw *w, const struct tokenizer *tokenizer, uint32_t token)
{
    size_t bytes;
    const char *text = openai_token_bytes(tokenizer, token, &bytes);
    if (openai_is_utf8(text, bytes)) {
        jsonw_bytes(w, text, bytes);
        return;
    }
    jsonw_array_open(w);
    for (size_t i = 0; i < bytes; i++)
        jsonw_uint(w, (unsigned char)text[i]);
    jsonw_array_end(w);
}

static void put_tokens(struct jsonw *w, const struct tokenizer *tokenizer,
                       const struct token_list *list, bool pieces)
{
    jsonw_key(w, "tokens");
    jsonw_array_open(w);
    for (uint32_t i = 0; i < list->count; i++) {
        if (!pieces) {
            jsonw_uint(w, list->ids[i]);
            continue;
        }
        jsonw_object_open(w);
        jsonw_key(w, "id");
        jsonw_uint(w, list->ids[i]);
        jsonw_key(w, "piece");
        put_piece(w, tokenizer, list->ids[i]);
        jsonw_object_end(w);
    }
    jsonw_array_end(w);
}

static void put_strings(struct jsonw *w, const struct tokenizer *tokenizer,
                        const struct token_list *list)
{
    jsonw_key(w, "token_strs");
    jsonw_array_open(w);
    for (uint32_t i = 0; i < list->count; i++)
        openai_token_name(w, tokenizer, list->ids[i], false);
    jsonw_array_end(w);
}

static bool encode_text(const struct openai_fields *f, const struct openai_model *model,
                        const char *field, bool add_special, bool parse_special,
                        struct token_list *list)
{
    size_t bytes;
    struct error error = {{0}};
    const char *text = openai_field_text(f, field, &bytes);
    if (!text)
        return openai_field_refuse(f, field, "%s is missing", field);
    enum status status = tokenizer_encode(model->tokenizer, text, bytes, add_special, parse_special,
                                          list, &error);
    return status == STATUS_OK || openai_refuse_status(f->refusal, status, field, &error);
}

static bool encode_content(const struct openai_fields *f, const struct openai_model *model,
                           struct token_list *list, struct jsonw *w)
{
    bool add_special = false, parse_special = true, pieces = false;
    openai_field_bool(f, "add_special", &add_special);
    openai_field_bool(f, "parse_special", &parse_special);
    openai_field_bool(f, "with_pieces", &pieces);
    if (!encode_text(f, model, "content", add_special, parse_special, list))
        return false;
    jsonw_object_open(w);
    put_tokens(w, model->tokenizer, list, pieces);
    jsonw_object_end(w);
    return true;
}

static bool encode_chat(struct openai *o, const struct openai_fields *f,
                        const struct openai_model *model, bool add_special, struct token_list *list)
{
    struct openai_rendered rendered = {0};
    const struct openai_template *chat = openai_chat_template(o, model, f->refusal);
    bool ok = chat && openai_template_render(chat, f, (int64_t)time(NULL), &rendered) &&
              openai_template_tokens(chat, &rendered, add_special, list, f->refusal);
    openai_rendered_reset(&rendered);
    return ok;
}

static bool encode_prompt(struct openai *o, const struct openai_fields *f,
                          const struct openai_model *model, struct token_list *list,
                          struct jsonw *w)
{
    const json_t *messages = openai_field_array(f, "messages");
    bool add_special = !messages, strings = false;
    openai_field_bool(f, "add_special_tokens", &add_special);
    openai_field_bool(f, "return_token_strs", &strings);
    if (!openai_asked_model(f, model))
        return false;
    if (messages ? !encode_chat(o, f, model, add_special, list)
                 : !encode_text(f, model, "prompt", add_special, true, list))
        return false;
    jsonw_object_open(w);
    jsonw_key(w, "count");
    jsonw_uint(w, list->count);
    jsonw_key(w, "max_model_len");
    jsonw_uint(w, model->max_model_len);
    put_tokens(w, model->tokenizer, list, false);
    if (strings)
        put_strings(w, model->tokenizer, list);
    jsonw_object_end(w);
    return true;
}

/* ---- the other way ---- */

static bool decode_tokens(const struct openai_fields *f, const struct openai_model *model,
                          struct jsonw *w)
{
    uint32_t count = 0;
    size_t bytes;
    const json_t *list = openai_field_array(f, "tokens");
    if (!list)
        return openai_field_refuse(f, "tokens", "tokens is missing");
    uint32_t *ids = openai_token_ids(list, "tokens", tokenizer_vocab_size(model->tokenizer), &count,
                                     f->refusal);
    if (!ids)
        return false;
    char *text = detokenize(model->tokenizer, ids, count, false, &bytes);
    free(ids);
    if (!text)
        return openai_refuse(f->refusal, HTTP_UNAVAILABLE, NULL, "out of memory for the text");
    jsonw_object_open(w);
    jsonw_key(w, "content");
    jsonw_bytes(w, text, bytes);
    jsonw_key(w, "prompt");
    jsonw_bytes(w, text, bytes);
    jsonw_object_end(w);
    free(text);
    return true;
}

static bool apply_template(struct openai *o, const struct openai_fields *f,
                           const struct openai_model *model, struct jsonw *w)
{
    struct openai_rendered rendered = {0};
    size_t bytes = 0;
    char *text = NULL;
    const struct openai_template *chat = openai_chat_template(o, model, f->refusal);
    if (chat && openai_template_render(chat, f, (int64_t)time(NULL), &rendered)) {
        text = openai_template_text(chat, &rendered, &bytes);
        if (!text)
            openai_refuse(f->refusal, HTTP_UNAVAILABLE, NULL, "out of memory for the text");
    }
    openai_rendered_reset(&rendered);
    if (!text)
        return false;
    jsonw_object_open(w);
    jsonw_key(w, "prompt");
    jsonw_bytes(w, text, bytes);
    jsonw_object_end(w);
    free(text);
    return true;
}

/* ---- handlers ---- */

enum what { TOKENIZE, DETOKENIZE, APPLY };

static void answer(struct http_exchange *x, enum what what)
{
    struct openai *o = http_context(x);
    struct openai_refusal refusal = {0};
    struct openai_model model;
    struct token_list list = {0};
    struct jsonw w = {0};
    json_t *body = openai_request(o, x, &model, &refusal);
    struct openai_fields f = {body, "", &refusal};
    if (body && !model.tokenizer)
        openai_refuse(&refusal, HTTP_BAD_VALUE, NULL, "the model '%s' has no tokenizer",
                      model.name);
    if (!refusal.refused && what == DETOKENIZE)
        decode_tokens(&f, &model, &w);
    else if (!refusal.refused && what == APPLY)
        apply_template(o, &f, &model, &w);
    else if (!refusal.refused && openai_field(&f, "content"))
        encode_content(&f, &model, &list, &w);
    else if (!refusal.refused)
        encode_prompt(o, &f, &model, &list, &w);
    if (refusal.refused)
        openai_fail(x, &refusal);
    else
        openai_reply(x, 200, &w);
    jsonw_close(&w);
    token_list_reset(&list);
    json_decref(body);
}

void openai_tokenize(struct http_exchange *x)
{
    answer(x, TOKENIZE);
}

void openai_detokenize(struct http_exchange *x)
{
    answer(x, DETOKENIZE);
}

void openai_apply_template(struct http_exchange *x)
{
    answer(x, APPLY);
}
