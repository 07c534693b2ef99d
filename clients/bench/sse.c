#include "clients/bench/sse.h"

#include <stdlib.h>
#include <string.h>

void sse_init(struct sse *sse)
{
    memset(sse, 0, sizeof *sse);
}

void sse_close(struct sse *sse)
{
    free(sse->line);
    free(sse->data);
    sse_init(sse);
}

/* Adds and terminates. */
static bool append(char **text, size_t *bytes, size_t *room, const char *more, size_t size)
{
    if (size > (size_t)SSE_EVENT_BYTES_MAX - *bytes)
        return false;
    if (*bytes + size + 1 > *room) {
        size_t wanted = 2 * (*bytes + size) + 256;
        char *grown = realloc(*text, wanted);
        if (!grown)
            return false;
        *text = grown;
        *room = wanted;
    }
    memcpy(*text + *bytes, more, size);
    *bytes += size;
    (*text)[*bytes] = '\0';
    return true;
}

/* A whole line that is not empty. */
static bool take_line(struct sse *sse, const char *line, size_t size)
{
    const char *colon = memchr(line, ':', size);
    size_t name = colon ? (size_t)(colon - line) : size;
    if (name != 4 || memcmp(line, "data", 4) != 0)
        return true;
    size_t from = colon ? name + 1 : size;
    if (from < size && line[from] == ' ')
        from++;
    if (sse->has_data && !append(&sse->data, &sse->data_bytes, &sse->data_room, "\n", 1))
        return false;
    sse->has_data = true;
    return append(&sse->data, &sse->data_bytes, &sse->data_room, line + from, size - from);
}

/* The line's end has come; `rest` is what of it has not been put aside. */
static enum sse_status end_line(struct sse *sse, const char *rest, size_t size)
{
    if (sse->line_bytes) {
        if (!append(&sse->line, &sse->line_bytes, &sse->line_room, rest, size))
            return SSE_BAD;
        rest = sse->line;
        size = sse->line_bytes;
        sse->line_bytes = 0;
    }
    if (size)
        return take_line(sse, rest, size) ? SSE_MORE : SSE_BAD;
    return sse->has_data ? SSE_EVENT : SSE_MORE;
}

static size_t line_length(const char *bytes, size_t size)
{
    size_t n = 0;
    while (n < size && bytes[n] != '\n' && bytes[n] != '\r')
        n++;
    return n;
}

enum sse_status sse_feed(struct sse *sse, const char *bytes, size_t size, size_t *used,
                         const char **data, size_t *data_bytes)
{
    size_t at = 0;
    if (sse->handed_out) {
        sse->handed_out = sse->has_data = false;
        sse->data_bytes = 0;
    }
    while (at < size) {
        if (sse->after_cr && bytes[at] == '\n')
            at++;
        sse->after_cr = false;
        size_t n = line_length(bytes + at, size - at);
        if (at + n == size) {
            *used = size;
            bool kept = append(&sse->line, &sse->line_bytes, &sse->line_room, bytes + at, n);
            return kept ? SSE_MORE : SSE_BAD;
        }
        enum sse_status status = end_line(sse, bytes + at, n);
        sse->after_cr = bytes[at + n] == '\r';
        at += n + 1;
        if (status != SSE_MORE) {
            *used = at;
            sse->handed_out = status == SSE_EVENT;
            *data = sse->data;
            *data_bytes = sse->data_bytes;
            return status;
        }
    }
    *used = size;
    return SSE_MORE;
}
