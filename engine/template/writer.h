/* A text that grows at its end, in the arena of a run. */
#ifndef MOERING_ENGINE_TEMPLATE_WRITER_H
#define MOERING_ENGINE_TEMPLATE_WRITER_H

#include "engine/template/run.h"
#include "engine/template/utf8.h"

#ifdef __cplusplus
extern "C" {
#endif

struct writer {
    struct run *run;
    char *bytes;
    size_t size, room;
};

void writer_init(struct writer *w, struct run *run);
/* Fails the run past its limit for one text. */
void writer_bytes(struct writer *w, const char *bytes, size_t size);
void writer_string(struct writer *w, const char *string);
void writer_text(struct writer *w, struct text text);
void writer_repeat(struct writer *w, char byte, size_t count);
/* The code point `c` as UTF-8. */
void writer_point(struct writer *w, uint32_t c);
__attribute__((format(printf, 2, 3))) void writer_format(struct writer *w, const char *format, ...);
/* What was written; valid until more is. */
struct text writer_view(const struct writer *w);

#ifdef __cplusplus
}
#endif
#endif
