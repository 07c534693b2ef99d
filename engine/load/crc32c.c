/* Eight bytes an instruction where the processor has one (SSE 4.2: some 7 GB/s, beside which
 * storage is slow), a table of 256 entries elsewhere. Both are the same function. Pure. */
#include "engine/load/crc32c.h"

#include <string.h>

#define POLYNOMIAL 0x82f63b78u /* reflected */

static uint32_t by_bits(uint32_t crc, const uint8_t *at, size_t bytes)
{
    uint32_t table[256];
    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++)
            table[i] = table[i] >> 1 ^ (table[i] & 1 ? POLYNOMIAL : 0);
    }
    for (; bytes; bytes--)
        crc = crc >> 8 ^ table[(crc ^ *at++) & 0xff];
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t by_words(uint32_t crc, const uint8_t *at,
                                                           size_t bytes)
{
    uint64_t wide = crc;
    for (; bytes >= sizeof wide; bytes -= sizeof wide, at += sizeof wide) {
        uint64_t word;
        memcpy(&word, at, sizeof word);
        wide = __builtin_ia32_crc32di(wide, word);
    }
    crc = (uint32_t)wide;
    for (; bytes; bytes--)
        crc = __builtin_ia32_crc32qi(crc, *at++);
    return crc;
}
#endif

uint32_t crc32c(uint32_t crc, const void *data, size_t bytes)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return ~by_words(~crc, data, bytes);
#endif
    return ~by_bits(~crc, data, bytes);
}
