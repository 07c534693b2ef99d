/* Number formats of weights, scalar and exact: the truth that every fast kernel is tested against.
 *
 * A format is a block: so many values in so many bytes. The plain formats are blocks of one. */
#ifndef MOERING_ENGINE_QUANT_DTYPE_H
#define MOERING_ENGINE_QUANT_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

enum dtype { DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_COUNT };

struct dtype_info {
    const char *name;      /* "F32", as checkpoint files spell it */
    uint32_t block_values;
    uint32_t block_bytes;
};
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow" /* C++ only: the function is called as the struct is */
const struct dtype_info *dtype_info(enum dtype dtype);
#pragma GCC diagnostic pop
/* By the name used in safetensors headers ("BF16"); false: not a weight format we know. */
bool dtype_parse(const char *name, enum dtype *out);
/* Bytes of `values` numbers, a multiple of the block. False on overflow or a remainder. */
bool dtype_bytes(enum dtype dtype, uint64_t values, uint64_t *bytes);

/* Round to nearest even on the way down; NaN stays NaN; subnormals are kept both ways. */
float f16_to_f32(uint16_t h);
uint16_t f32_to_f16(float f);
static inline float bf16_to_f32(uint16_t b)
{
    uint32_t u = (uint32_t)b << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}
uint16_t f32_to_bf16(float f);

/* Decodes `values` numbers (a multiple of the block) from unaligned bytes. */
void dtype_decode(enum dtype dtype, const void *from, float *to, size_t values);
void dtype_encode(enum dtype dtype, const float *from, void *to, size_t values);

#ifdef __cplusplus
}
#endif
#endif
