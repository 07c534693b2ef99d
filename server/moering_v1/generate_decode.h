/* GenerateRequest to struct request: every limit of moering.proto is checked here, and what is
 * refused is named by its field. Pure apart from memory; runs on the front thread. */
#ifndef MOERING_SERVER_MOERING_V1_GENERATE_DECODE_H
#define MOERING_SERVER_MOERING_V1_GENERATE_DECODE_H

#include <moering/v1/moering.pb-c.h>

#include "server/requests/request.h"

#ifdef __cplusplus
extern "C" {
#endif

#define GENERATE_NAME_BYTES_MAX 128

/* What a request is checked against. */
struct generate_model {
    const char *name;                  /* as clients call it */
    const struct tokenizer *tokenizer; /* NULL: token ids only */
    uint32_t vocab;
    uint32_t max_model_len;
};

/* Fills request->asked (deadline excepted). INVALID: the field and its range; NOT_FOUND: another
 * model; UNSUPPORTED: text for a model without a tokenizer; NO_MEMORY. `request` may be half filled
 * then. max_tokens of 0 is left at 0: the caller answers without the engine. */
enum status generate_decode(const struct generate_model *model,
                            const Moering__V1__GenerateRequest *message, struct request *request,
                            struct error *error);
/* The two halves of it, for who has a prompt from elsewhere: everything but the prompt, and what a
 * prompt must be. */
enum status generate_decode_settings(const struct generate_model *model,
                                     const Moering__V1__GenerateRequest *message,
                                     struct request *request, struct error *error);
enum status generate_check_prompt(const struct generate_model *model,
                                  const struct request_asked *asked, struct error *error);

#ifdef __cplusplus
}
#endif
#endif
