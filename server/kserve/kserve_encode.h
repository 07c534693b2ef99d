/* An answer of the open inference protocol: output tensors in the form that the client used
 * itself. Front thread. */
#ifndef MOERING_SERVER_KSERVE_KSERVE_ENCODE_H
#define MOERING_SERVER_KSERVE_KSERVE_ENCODE_H

#include "server/grpc/grpc.h"
#include "server/kserve/kserve_decode.h"
#include "server/kserve/kserve_row.h"

#ifdef __cplusplus
extern "C" {
#endif

struct kserve_answer {
    const char *model, *id;
    unsigned outputs;  /* bits that were asked for */
    bool raw;
    bool stream; /* wrapped for ModelStreamInfer, and says whether it is the last of its request */
    bool final;        /* all outputs; else those that grow */
    const char *error; /* NULL: none; else the last, without outputs (streams only) */
    const struct kserve_row *rows; /* [row_count] one for each prompt */
    uint32_t row_count;
};

/* What grpc_call_send returns, or NO_MEMORY. An answer that would hold nothing is not sent: OK.
 * Of rows that differ in length the shorter ones are filled up, with -1 and with 0. */
enum status kserve_send(struct grpc_call *call, const struct kserve_answer *answer);

#ifdef __cplusplus
}
#endif
#endif
