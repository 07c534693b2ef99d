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

/* The plain formats, then those of blocks with scales. What the bytes of a block mean is said
 * beside its decoder (block_32.c, block_256.c). */
enum dtype {
    DTYPE_F32, DTYPE_F16, DTYPE_BF16,
    DTYPE_Q8_0, DTYPE_Q4_0, DTYPE_Q4_1, DTYPE_Q5_0, DTYPE_Q5_1, /* 32 values */
    DTYPE_IQ4_NL, DTYPE_MXFP4,
    DTYPE_Q2_K, DTYPE_Q3_K, DTYPE_Q4_K, DTYPE_Q5_K, DTYPE_Q6_K, /* 256 values */
    DTYPE_COUNT
};

struct dtype_info {
    const char *name;      /* "F32", as checkpoint files spell it */
    uint32_t block_values;
    uint32_t block_bytes;
};
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow" /* C++ only: the function is called as the struct is */
const struct dtype_info *dtype_info(enum dtype dtype);
#pragma GCC diagnostic pop
static inline bool dtype_is_plain(enum dtype dtype)
{
    return dtype <= DTYPE_BF16;
}
/* By the name used in safetensors headers ("BF16"): plain formats only. False: none of them. */
bool dtype_parse(const char *name, enum dtype *out);
/* By any name above, upper or lower case ("q4_k"). */
bool dtype_parse_any(const char *name, enum dtype *out);
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

/* Decodes `values` numbers (a multiple of the block) from unaligned bytes: for every format the
 * exact value rounded once to f32. The two do not overlap. */
void dtype_decode(enum dtype dtype, const void *from, float *to, size_t values);
/* Plain formats, Q8_0, Q4_0 and Q4_K, the ones we make ourselves; dtype_encodes tells. Rounds to
 * the nearest code that the block's scales offer; how scales are found: beside each encoder. The
 * bytes are the same on every machine. A NaN or an infinity makes its whole block decode to NaN
 * (plain formats keep it where it is); finite values beyond a block's range saturate. The two do
 * not overlap. */
bool dtype_encodes(enum dtype dtype);
void dtype_encode(enum dtype dtype, const float *from, void *to, size_t values);

#ifdef __cplusplus
}
#endif
#endif
