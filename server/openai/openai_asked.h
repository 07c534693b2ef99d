/* What a generation of the OpenAI API asks for, checked: the fields that completions and chat
 * share, and the prompts. From one of these come the requests of all its choices.
 *
 * Decoding is pure apart from memory and runs on the front thread; completions_decode.h and
 * chat_decode.h fill it from a body, which must outlive it (a schema is borrowed until it is
 * compiled). */
#ifndef MOERING_SERVER_OPENAI_OPENAI_ASKED_H
#define MOERING_SERVER_OPENAI_OPENAI_ASKED_H

#include "server/openai/openai_grammar.h"
#include "server/openai/openai_parts.h"
#include "server/openai/openai_tools.h"
#include "server/requests/request.h"

#ifdef __cplusplus
extern "C" {
#endif

#define OPENAI_NAME_BYTES_MAX 128

/* What a request is checked against. */
struct openai_model {
    const char *name;                  /* as clients call it */
    const struct tokenizer *tokenizer; /* NULL: token ids only, no chat */
    uint32_t vocab;
    uint32_t max_model_len;
};

struct openai_limits {
    uint32_t n_max;       /* choices of one prompt */
    uint32_t prompts_max; /* in one request */
    uint32_t choices_max; /* prompts x n */
};
void openai_limits_init(struct openai_limits *limits);

struct openai_prompt {
    uint32_t *ids;      /* owned */
    uint32_t count;
    char *echo;         /* owned; its text, NULL unless it is echoed */
    size_t echo_bytes;
};

struct openai_asked {
    struct sampler_params sampling; /* without biases */
    bool has_max_tokens;
    uint32_t max_tokens, min_tokens;
    bool ignore_eos, keep_special, include_stop;
    struct stop_list stops;
    uint32_t stop_tokens[REQUEST_STOP_TOKENS_MAX];
    uint32_t stop_token_count;
    struct sampler_bias *bias;      /* owned */
    uint32_t bias_count;
    int32_t priority;
    uint64_t cache_salt;            /* as request_asked */
    struct openai_grammar grammar;
    struct openai_tools tools;
    struct openai_reading reading;  /* of what comes; its names are those of `tools` */
    uint32_t shown_special[REQUEST_SHOWN_SPECIAL_MAX]; /* tokens that `reading` looks for */
    uint32_t shown_special_count;
    uint32_t n;
    bool stream, include_usage, continuous_usage;
    bool return_token_ids;
    bool echo;
    char name[OPENAI_NAME_BYTES_MAX + 1]; /* request_id; "": none */
    struct openai_prompt *prompts;  /* owned */
    uint32_t prompt_count;
};
void openai_asked_init(struct openai_asked *asked);
void openai_asked_reset(struct openai_asked *asked); /* frees; accepts a zeroed one */

/* Reads every shared field but those of lengths and log-probabilities. False: refused. */
bool openai_asked_read(struct openai_asked *asked, const struct openai_fields *f,
                       const struct openai_model *model, const struct openai_limits *limits);
/* What can be judged once all fields and prompts are there: lengths, the number of choices.
 * `param` is the field that holds the prompt. False: refused. */
bool openai_asked_check(const struct openai_asked *asked, const struct openai_model *model,
                        const struct openai_limits *limits, const char *param,
                        struct openai_refusal *refusal);
/* Whether the field `model` names the one that is served; absent or "" does. False: refused. */
bool openai_asked_model(const struct openai_fields *f, const struct openai_model *model);
/* Room for `count` prompts. False: refused. */
bool openai_asked_prompts(struct openai_asked *asked, uint32_t count,
                          struct openai_refusal *refusal);
/* Nothing is computed for it: max_tokens 0 and no log-probabilities of the prompt. */
bool openai_asked_is_empty(const struct openai_asked *asked);
/* The choice number `i` (from 0, below n) of the prompt: seeds differ by i. `out` is of
 * request_open. False: refused, `out` may be half filled. */
bool openai_asked_fill(struct openai_asked *asked, const struct openai_prompt *prompt,
                       uint32_t i, struct request_asked *out, struct openai_refusal *refusal);

/* The names of all shared fields, known and refused ones; for openai_log_unknown. */
extern const char *const openai_asked_known[];

#ifdef __cplusplus
}
#endif
#endif
