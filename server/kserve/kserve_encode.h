/* An answer of the open inference protocol: output tensors in the form that the client used
 * itself. Front thread. */
#ifndef MOERING_SERVER_KSERVE_KSERVE_ENCODE_H
#define MOERING_SERVER_KSERVE_KSERVE_ENCODE_H

#include "server/grpc/grpc.h"
#include "server/kserve/kserve_decode.h"

#ifdef __cplusplus
extern "C" {
#endif

struct kserve_answer {
    const char *model, *id;
    unsigned outputs;          /* bits that were asked for */
    bool raw;
    bool stream;               /* wrapped for ModelStreamInfer, and says whether it is the last of its request */
    bool final;                /* all outputs; else the text alone */
    const char *error;         /* NULL: none; else the last, without outputs (streams only) */
    const char *text;
    size_t text_bytes;
    const char *finish_reason; /* "stop", "length" */
    uint32_t input_tokens, output_tokens;
};

/* What grpc_call_send returns, or NO_MEMORY. An answer that would hold nothing is not sent: OK. */
enum status kserve_send(struct grpc_call *call, const struct kserve_answer *answer);

#ifdef __cplusplus
}
#endif
#endif
