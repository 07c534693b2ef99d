/* GET /v1/models, /v1/models/{id}, /version: what is served, and by what. */
#include <string.h>

#include "server/jsonw.h"
#include "server/openai/openai_service.h"

static void put_model(struct jsonw *w, const struct openai *o, const struct openai_model *model,
                      const struct engine *engine)
{
    jsonw_object_open(w);
    jsonw_key(w, "id");
    jsonw_text(w, model->name);
    jsonw_key(w, "object");
    jsonw_text(w, "model");
    jsonw_key(w, "created");
    jsonw_int(w, o->config.start_s);
    jsonw_key(w, "owned_by");
    jsonw_text(w, "moering");
    jsonw_key(w, "root"); /* the model's own name: the path is nobody's business */
    jsonw_text(w, engine_info(engine)->model_name);
    jsonw_key(w, "parent");
    jsonw_null(w);
    jsonw_key(w, "max_model_len");
    jsonw_uint(w, model->max_model_len);
    jsonw_object_end(w);
}

void openai_models(struct http_exchange *x)
{
    struct openai *o = http_context(x);
    struct openai_refusal refusal = {0};
    struct openai_model model;
    struct jsonw w = {0};
    const struct engine *engine = openai_engine(o, &model, &refusal);
    if (!engine) {
        openai_fail(x, &refusal);
        return;
    }
    jsonw_object_open(&w);
    jsonw_key(&w, "object");
    jsonw_text(&w, "list");
    jsonw_key(&w, "data");
    jsonw_array_open(&w);
    put_model(&w, o, &model, engine);
    jsonw_array_end(&w);
    jsonw_object_end(&w);
    openai_reply(x, 200, &w);
}

void openai_model_of(struct http_exchange *x)
{
    struct openai *o = http_context(x);
    struct openai_refusal refusal = {0};
    struct openai_model model;
    struct jsonw w = {0};
    const struct engine *engine = openai_engine(o, &model, &refusal);
    if (engine && strcmp(http_rest(x), model.name) != 0)
        openai_refuse(&refusal, HTTP_NO_MODEL, "model",
                      "the model '%.128s' is not served here, '%s' is", http_rest(x), model.name);
    if (refusal.refused) {
        openai_fail(x, &refusal);
        return;
    }
    put_model(&w, o, &model, engine);
    openai_reply(x, 200, &w);
}

void openai_version(struct http_exchange *x)
{
    struct jsonw w = {0};
    jsonw_object_open(&w);
    jsonw_key(&w, "version");
    jsonw_text(&w, MOERING_VERSION);
    jsonw_object_end(&w);
    openai_reply(x, 200, &w);
}
