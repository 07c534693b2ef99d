/* Checked arithmetic and little-endian reads for code that handles sizes from files. */
#ifndef MOERING_MEMORY_BASE_BYTES_H
#define MOERING_MEMORY_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BYTES_KIB ((uint64_t)1 << 10)
#define BYTES_MIB ((uint64_t)1 << 20)
#define BYTES_GIB ((uint64_t)1 << 30)

static inline bool bytes_add(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

static inline bool bytes_mul(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

/* `align` is a power of two; the caller has made sure that the sum fits. */
static inline uint64_t bytes_align_up(uint64_t n, uint64_t align)
{
    return (n + align - 1) & ~(align - 1);
}

static inline uint32_t bytes_le32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v; /* the supported hosts are little-endian; CMake refuses others */
}

static inline uint64_t bytes_le64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* "1.5 GiB", "48.0 KiB", "17 B": for people. Writes into `out` (at least 16 bytes), returns it. */
const char *bytes_format(uint64_t n, char *out, size_t out_bytes);

#ifdef __cplusplus
}
#endif
#endif
