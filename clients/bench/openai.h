/* The OpenAI API as a client sees it: bodies of requests, what a streamed chunk says, the sentence
 * in an error. Takes what servers are known to differ in: usage in the last chunk or in one of its
 * own, `reasoning_content` or `reasoning`, figures of experts under "experts" at the top, in
 * "usage" or in "timings". Pure. */
#ifndef MOERING_CLIENTS_BENCH_OPENAI_H
#define MOERING_CLIENTS_BENCH_OPENAI_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "clients/bench/prompt.h"
#include "clients/bench/record.h"
#include "clients/program/fault.h"

#ifdef __cplusplus
extern "C" {
#endif

struct openai_style {
    bool chat;
    const char *model;
    bool ignore_eos;
    bool has_temperature;
    double temperature;
    const json_t *extra; /* an object whose members are put in, over ours; NULL: none */
};

/* The JSON body, malloc'ed. NULL: out of memory, or a text that is not UTF-8. */
char *openai_body(const struct openai_style *style, const struct prompt *prompt);

struct openai_chunk {
    bool content;      /* it carries output */
    bool answer;       /* it has a choice */
    bool finished;     /* and a finish reason */
    const char *text;  /* valid until openai_chunk_close */
    size_t text_bytes;
    bool has_usage;
    uint32_t input_tokens, output_tokens;
    struct record_experts experts;
    json_t *root;
};

/* One event's data other than "[DONE]". False: not JSON, or an error of the server, which *fault
 * tells. */
bool openai_chunk_open(const char *data, size_t bytes, bool chat, struct openai_chunk *out,
                       struct fault *fault);
void openai_chunk_close(struct openai_chunk *chunk);

/* What the body of an HTTP error says, or its beginning. */
void openai_error(int status, const char *body, size_t bytes, struct fault *fault);
/* data[0].id of GET /v1/models, malloc'ed. NULL: *fault says why. */
char *openai_first_model(const char *body, size_t bytes, struct fault *fault);

#ifdef __cplusplus
}
#endif
#endif
