/* Growing by doubling: pieces that were outgrown stay in the arena, at most as much again. */
#include "engine/template/writer.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void writer_init(struct writer *w, struct run *run)
{
    *w = (struct writer){.run = run, .bytes = NULL};
}

static void grow(struct writer *w, size_t more)
{
    size_t max = w->run->limits.text_bytes;
    if (more > max || w->size > max - more)
        run_fail(w->run, STATUS_INVALID, "a text of more than %zu bytes", max);
    size_t need = w->size + more;
    if (need <= w->room)
        return;
    size_t room = 2 * w->room > need ? 2 * w->room : need;
    if (room < 64)
        room = 64;
    char *bytes = run_alloc(w->run, room, 1);
    if (w->size)
        memcpy(bytes, w->bytes, w->size);
    w->bytes = bytes;
    w->room = room;
}

void writer_bytes(struct writer *w, const char *bytes, size_t size)
{
    if (!size)
        return;
    run_charge_bytes(w->run, size);
    grow(w, size);
    memcpy(w->bytes + w->size, bytes, size);
    w->size += size;
}

void writer_string(struct writer *w, const char *string)
{
    writer_bytes(w, string, strlen(string));
}

void writer_text(struct writer *w, struct text text)
{
    writer_bytes(w, text.bytes, text.size);
}

void writer_repeat(struct writer *w, char byte, size_t count)
{
    if (!count)
        return;
    run_charge_bytes(w->run, count);
    grow(w, count);
    memset(w->bytes + w->size, byte, count);
    w->size += count;
}

void writer_point(struct writer *w, uint32_t c)
{
    char bytes[4];
    writer_bytes(w, bytes, utf8_encode(c, bytes));
}

void writer_format(struct writer *w, const char *format, ...)
{
    char bytes[128]; /* numbers and escapes only */
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(bytes, sizeof bytes, format, arguments);
    va_end(arguments);
    writer_bytes(w, bytes, size < (int)sizeof bytes ? (size_t)size : sizeof bytes - 1);
}

struct text writer_view(const struct writer *w)
{
    return (struct text){w->size ? w->bytes : "", w->size};
}
