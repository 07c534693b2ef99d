/* The inside of the service, shared by the files that answer its routes. */
#ifndef MOERING_SERVER_OPENAI_OPENAI_SERVICE_H
#define MOERING_SERVER_OPENAI_OPENAI_SERVICE_H

#include "server/openai/openai.h"
#include "server/openai/openai_template.h"

#ifdef __cplusplus
extern "C" {
#endif

struct openai_exchange;

struct openai {
    struct openai_config config;
    struct http_server *server;
    struct requests *requests;
    struct openai_template *chat;      /* made for the first chat; NULL: not yet */
    struct openai_exchange *exchanges; /* answers under way */
    uint64_t nonce, last_id;           /* of ids: no two servers are to give the same */
};

/* ---- openai.c: what several routes do ---- */

/* The engine if it can work, and the model that requests are checked against; else refuses. */
const struct engine *openai_engine(struct openai *o, struct openai_model *model,
                                   struct openai_refusal *refusal);
/* The same, and the body, to be given back with json_decref. NULL: refused. */
json_t *openai_request(struct openai *o, struct http_exchange *x, struct openai_model *model,
                       struct openai_refusal *refusal);
/* The chat template of the model; NULL: it has no tokenizer, or refused. */
const struct openai_template *openai_chat_template(struct openai *o,
                                                   const struct openai_model *model,
                                                   struct openai_refusal *refusal);
/* Ends the exchange with what `refusal` says. */
void openai_fail(struct http_exchange *x, const struct openai_refusal *refusal);
/* Ends it with a JSON text; 503 if it is not whole. Empties the writer. */
struct jsonw;
void openai_reply(struct http_exchange *x, int code, struct jsonw *w);

/* ---- handlers ---- */

void openai_completions(struct http_exchange *x);  /* openai_generate.c */
void openai_chat(struct http_exchange *x);
void openai_models(struct http_exchange *x);       /* openai_models.c */
void openai_model_of(struct http_exchange *x);
void openai_version(struct http_exchange *x);
void openai_tokenize(struct http_exchange *x);     /* openai_tokenize.c */
void openai_detokenize(struct http_exchange *x);
void openai_apply_template(struct http_exchange *x);
void openai_health(struct http_exchange *x);       /* openai_health.c */
void openai_livez(struct http_exchange *x);
void openai_readyz(struct http_exchange *x);

#ifdef __cplusplus
}
#endif
#endif
