/* Writes JSON text into one growing buffer: what streams send for every token, without a tree of
 * values.
 *
 * The writer puts commas and escapes; the caller says what opens and closes. Text that is not
 * valid UTF-8 comes out with U+FFFD for each byte that fits nowhere, numbers that JSON cannot
 * say come out as the caller chose. Memory that runs out is remembered (`failed`), so a whole
 * answer needs one look at the end. The buffer stays after a reset, so a stream allocates
 * nothing once it is under way. */
#ifndef MOERING_SERVER_JSONW_H
#define MOERING_SERVER_JSONW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Zero-initialise; jsonw_close frees. */
struct jsonw {
    char *data;
    size_t bytes, capacity;
    bool comma;  /* the next value of this list or object needs one before it */
    bool failed; /* out of memory: the text is not whole */
};
void jsonw_reset(struct jsonw *w); /* empty again, and not failed */
void jsonw_close(struct jsonw *w); /* frees, and leaves it zeroed */

void jsonw_object_open(struct jsonw *w);
void jsonw_object_end(struct jsonw *w);
void jsonw_array_open(struct jsonw *w);
void jsonw_array_end(struct jsonw *w);
/* A member's name, of the program's own: plain ASCII, not escaped. */
void jsonw_key(struct jsonw *w, const char *name);
/* A member's name of any bytes. */
void jsonw_key_bytes(struct jsonw *w, const char *name, size_t bytes);

void jsonw_bytes(struct jsonw *w, const char *text, size_t bytes);
void jsonw_text(struct jsonw *w, const char *text); /* NUL-terminated; NULL is null */
void jsonw_int(struct jsonw *w, int64_t value);
void jsonw_uint(struct jsonw *w, uint64_t value);
void jsonw_float(struct jsonw *w, float value, float otherwise); /* inf and NaN: `otherwise` */
/* With 3 digits behind the point; 0 for what is not finite or 1e15 and more. */
void jsonw_fixed(struct jsonw *w, double value);
void jsonw_bool(struct jsonw *w, bool value);
void jsonw_null(struct jsonw *w);
/* Text as it is: JSON made elsewhere (jsonw_value), or anything between values (jsonw_plain). */
void jsonw_value(struct jsonw *w, const char *json, size_t bytes);
void jsonw_plain(struct jsonw *w, const char *text, size_t bytes);

/* Length of the UTF-8 character that `text` begins with, or 0: it begins with none. */
size_t jsonw_utf8_length(const char *text, size_t bytes);

#ifdef __cplusplus
}
#endif
#endif
