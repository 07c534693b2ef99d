/* An event of a request to a GenerateChunk on the wire. Front thread. */
#ifndef MOERING_SERVER_MOERING_V1_GENERATE_ENCODE_H
#define MOERING_SERVER_MOERING_V1_GENERATE_ENCODE_H

#include "server/grpc/grpc.h"
#include "server/requests/request_event.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tokenizer;

/* Sends what is in the event; an event without text, tokens or end sends nothing. What
 * grpc_call_send returns, or NO_MEMORY. `tokenizer` may be NULL: pieces are left out. */
enum status generate_send(struct grpc_call *call, const struct request_event *event, bool logprobs,
                          const struct tokenizer *tokenizer);
/* A chunk of text alone: the echo of a prompt. */
enum status generate_send_text(struct grpc_call *call, const void *text, size_t bytes);

#ifdef __cplusplus
}
#endif
#endif
