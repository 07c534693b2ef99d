/* Numbers as people write them on a command line. Nothing but the number may stand in the text: no
 * spaces, no hexadecimal, no locale. Pure. Each returns false for a text that is none, or is out of
 * its range, and *out is unspecified then. */
#ifndef MOERING_CLIENTS_PROGRAM_NUMBER_H
#define MOERING_CLIENTS_PROGRAM_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

bool number_u64(const char *text, uint64_t most, uint64_t *out);
bool number_u32(const char *text, uint32_t least, uint32_t most, uint32_t *out);
bool number_i32(const char *text, int32_t *out);
/* "0.5", "-1e3", "inf"; never NaN. What overflows is infinite. */
bool number_real(const char *text, double *out);
/* The same, at least 0 and not infinite. */
bool number_size(const char *text, double *out);
/* The same, above 0; infinite only where `endless`. */
bool number_positive(const char *text, bool endless, double *out);
/* Seconds from 0 up to three years, in milliseconds, rounded up. */
bool number_seconds(const char *text, uint64_t *out_ms);

#ifdef __cplusplus
}
#endif
#endif
