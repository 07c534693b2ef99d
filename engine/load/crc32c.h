/* CRC-32C (Castagnoli polynomial, reflected), the checksum of storage and network protocols that
 * processors have an instruction for. RFC 3720, appendix B.4. */
#ifndef MOERING_ENGINE_LOAD_CRC32C_H
#define MOERING_ENGINE_LOAD_CRC32C_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Goes on from `crc` (0 at the start), so that a checksum may be taken in pieces. Any thread. */
uint32_t crc32c(uint32_t crc, const void *data, size_t bytes);

#ifdef __cplusplus
}
#endif
#endif
