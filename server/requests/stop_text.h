/* Stop texts across chunk borders: which part of the output may be shown, and where it ends.
 *
 * Text comes in pieces of any length. A piece's end that might be the beginning of a stop text is
 * held back until it is known; nothing of a stop text is ever shown by accident. The result does
 * not depend on how the text was cut: the output ends at the first byte that completes any stop
 * text, and if it completes several, the longest of them is taken out.
 *
 * Pure and bounded: at most STOP_TEXT_BYTES_MAX - 1 bytes are held. Held text begins at a character
 * of a stop text that is valid UTF-8, so what is shown is never cut inside a character. */
#ifndef MOERING_SERVER_REQUESTS_STOP_TEXT_H
#define MOERING_SERVER_REQUESTS_STOP_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define STOP_TEXTS_MAX 16
#define STOP_TEXT_BYTES_MAX 256
#define STOP_TEXT_NONE (-1)

/* The stop texts of one request. Zero-initialise; stop_list_reset frees. */
struct stop_list {
    uint32_t count;
    uint32_t bytes_max; /* of the longest */
    struct {
        char *text;
        uint32_t bytes;
    } stop[STOP_TEXTS_MAX];
};
/* Copies `text`. INVALID: empty, longer than STOP_TEXT_BYTES_MAX, or one too many. NO_MEMORY. */
enum status stop_list_add(struct stop_list *list, const void *text, size_t bytes,
                          struct error *error);
void stop_list_reset(struct stop_list *list);

struct stop_text {
    const struct stop_list *list; /* borrowed */
    bool include;                 /* the stop text itself is shown too */
    uint32_t held_bytes;
    char held[STOP_TEXT_BYTES_MAX];
};
void stop_text_init(struct stop_text *s, const struct stop_list *list, bool include);
/* Takes `bytes` more text and writes what may be shown to `out`, which has room for
 * STOP_TEXT_BYTES_MAX + bytes; *shown is its length. Returns the index of the stop text that ended
 * the output, or STOP_TEXT_NONE. After a stop nothing more may be pushed. */
int stop_text_push(struct stop_text *s, const char *text, size_t bytes, char *out, size_t *shown);
/* The output has ended otherwise: writes what was held (room: STOP_TEXT_BYTES_MAX); its length. */
size_t stop_text_finish(struct stop_text *s, char *out);

#ifdef __cplusplus
}
#endif
#endif
