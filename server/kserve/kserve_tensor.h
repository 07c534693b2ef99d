/* One input tensor of the open inference protocol, from either of its two forms (raw bytes, or
 * typed lists) to values. What a tensor says of itself (data type, shape) is checked against what
 * it holds before an element is read. Pure apart from memory. */
#ifndef MOERING_SERVER_KSERVE_KSERVE_TENSOR_H
#define MOERING_SERVER_KSERVE_KSERVE_TENSOR_H

#include <inference/inference.pb-c.h>

#include "server/openai/openai_field.h"

#ifdef __cplusplus
extern "C" {
#endif

#define KSERVE_ELEMENTS_MAX 4096 /* of one input: stop texts and ids of a batch are the longest */
#define KSERVE_TOKENS_MAX                                                                          \
    (1u << 24) /* of a list of token ids; the message's size bounds it first */

struct kserve_tensor {
    const Inference__ModelInferRequest__InferInputTensor *input;
    const ProtobufCBinaryData *raw; /* NULL: the elements are in input->contents */
    int type;                       /* row of the table of data types */
    uint32_t count;                 /* elements */
};

/* The input number `i` of a request with at most `most` elements; everything is borrowed from it.
 * False: refused, naming the input. */
bool kserve_tensor_open(struct kserve_tensor *tensor, const Inference__ModelInferRequest *m,
                        size_t i, uint32_t most, struct openai_refusal *refusal);
/* Its elements as JSON: the value itself if there is one, a list of several. BYTES are strings,
 * which must be UTF-8. A new reference; NULL: refused. */
json_t *kserve_tensor_value(const struct kserve_tensor *tensor, struct openai_refusal *refusal);
/* Its elements, whole numbers, malloc'ed with room for at least one; what is negative or beyond
 * 32 bits is UINT32_MAX, which is no token id. NULL: refused. */
uint32_t *kserve_tensor_ids(const struct kserve_tensor *tensor, struct openai_refusal *refusal);

#ifdef __cplusplus
}
#endif
#endif
