/* The number formats of tensors as GGUF files number them. */
#ifndef MOERING_ENGINE_LOAD_GGUF_TENSOR_TYPE_H
#define MOERING_ENGINE_LOAD_GGUF_TENSOR_TYPE_H

#include <stdint.h>

#include "engine/quant/dtype.h"

#ifdef __cplusplus
extern "C" {
#endif

struct gguf_tensor_type {
    uint32_t id;
    const char *name;
    uint32_t block_values, block_bytes;
    enum dtype dtype; /* DTYPE_COUNT: we do not compute with it */
};

/* NULL: an id whose block the format does not define, as those of relatives of the format. */
const struct gguf_tensor_type *gguf_tensor_type_find(uint32_t id);
/* Every dtype has one. */
const struct gguf_tensor_type *gguf_tensor_type_of(enum dtype dtype);

#ifdef __cplusplus
}
#endif
#endif
