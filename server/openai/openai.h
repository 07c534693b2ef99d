/* The OpenAI HTTP API: /v1/completions, /v1/chat/completions, /v1/models, and what stands beside
 * them in servers that offer it (/tokenize, /detokenize, /apply-template, /health, /livez,
 * /readyz, /version, /ping).
 *
 *     http ──► openai_generate ──► completions_decode, chat_decode ──► openai_asked
 *                                       openai_template                    │ one request a choice
 *              openai_exchange ◄── events ◄── requests ◄───────────────────┘
 *                └─► completions_encode, chat_encode ──► http
 *
 * Front thread only. The names of fields, objects and errors are those that stock clients
 * expect; the rows of what breaks them have a test each (README.md). */
#ifndef MOERING_SERVER_OPENAI_OPENAI_H
#define MOERING_SERVER_OPENAI_OPENAI_H

#include "server/http/http.h"
#include "server/openai/openai_asked.h"
#include "server/requests/requests.h"

#ifdef __cplusplus
extern "C" {
#endif

struct openai;

enum openai_phase { OPENAI_LOADING, OPENAI_SERVING, OPENAI_DRAINING, OPENAI_FAILED };

/* How the server is, for health checks. */
struct openai_state {
    enum openai_phase phase;
    double progress;                 /* of loading, 0..1 */
    char detail[REQUESTS_WHY_BYTES]; /* a sentence; "": none */
};

struct openai_config {
    const char *chat_template; /* a text or the name of a built-in one; NULL: the model's own.
                                  Borrowed */
    enum openai_tool_parser tool_parser; /* how answers are read; AUTO: by the template */
    enum openai_reasoning_parser reasoning_parser;
    struct openai_limits limits;
    int64_t start_s;                 /* since the epoch: when models were "created" */
    /* How the server is now. `out` is zeroed before. */
    void (*state)(void *arg, struct openai_state *out);
    void *arg;                       /* of `state` */
};

/* NO_MEMORY. */
enum status openai_open(struct openai **out, const struct openai_config *config,
                        struct error *error);
/* Writes the routes to out[OPENAI_ROUTES]; their number. */
#define OPENAI_ROUTES 13
uint32_t openai_routes(struct openai *openai, struct http_route *out);
/* Before the event loop runs. Both are borrowed. */
void openai_attach(struct openai *openai, struct http_server *server, struct requests *requests);
/* Now and then: streams that have been silent for 15 s say so, which keeps proxies from closing
 * them. */
void openai_tick(struct openai *openai, uint64_t now_ns);
uint32_t openai_exchanges(const struct openai *openai); /* answers under way */
/* After the http server, which ends every exchange. Accepts NULL. */
void openai_close(struct openai *openai);

#ifdef __cplusplus
}
#endif
#endif
