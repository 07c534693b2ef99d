/* What one prompt of a request has been answered with and has not been sent: text, tokens and what
 * the model said of them. A stream sends and forgets it piece by piece, ModelInfer keeps it to the
 * end. Front thread. */
#ifndef MOERING_SERVER_KSERVE_KSERVE_ROW_H
#define MOERING_SERVER_KSERVE_KSERVE_ROW_H

#include "server/requests/request_event.h"

#ifdef __cplusplus
extern "C" {
#endif

struct kserve_row {
    char *text;
    size_t text_bytes, text_capacity;
    int32_t *ids;              /* as the wire has them: output_ids is INT32 */
    uint32_t id_count, id_capacity;
    float *log_probs;
    uint32_t log_prob_count, log_prob_capacity;
    double log_prob_sum;       /* of all tokens, the sent ones too */
    const char *finish_reason; /* "stop", "length"; NULL before the end */
    uint32_t input_tokens, output_tokens;
};

void kserve_row_reset(struct kserve_row *row); /* frees; accepts a zeroed one */
/* These answer false when memory has run out. */
bool kserve_row_add_text(struct kserve_row *row, const char *text, size_t bytes);
bool kserve_row_add_prompt(struct kserve_row *row, const uint32_t *ids, uint32_t count);
/* All that an event brings but a failure. */
bool kserve_row_add(struct kserve_row *row, const struct request_event *event);
/* Forgets what was sent, and keeps the room. */
void kserve_row_sent(struct kserve_row *row);

#ifdef __cplusplus
}
#endif
#endif
