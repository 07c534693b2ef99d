/* See stop_text.h. A stop text has at most 256 bytes and there are at most 16, so the plain search
 * (at each new byte, does any stop text end here?) costs less than the detokenizer before it. */
#include "server/requests/stop_text.h"

#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"

enum status stop_list_add(struct stop_list *list, const void *text, size_t bytes,
                          struct error *error)
{
    if (list->count == STOP_TEXTS_MAX)
        return error_set(error, STATUS_INVALID, "stop has more than %d texts", STOP_TEXTS_MAX);
    if (bytes == 0 || bytes > STOP_TEXT_BYTES_MAX)
        return error_set(error, STATUS_INVALID, "stop[%u] has %zu bytes, allowed are 1 to %d",
                         list->count, bytes, STOP_TEXT_BYTES_MAX);
    char *copy = malloc(bytes);
    if (!copy)
        return error_set(error, STATUS_NO_MEMORY, "out of memory for stop[%u]", list->count);
    memcpy(copy, text, bytes);
    list->stop[list->count].text = copy;
    list->stop[list->count].bytes = (uint32_t)bytes;
    list->count++;
    if (bytes > list->bytes_max)
        list->bytes_max = (uint32_t)bytes;
    return STATUS_OK;
}

void stop_list_reset(struct stop_list *list)
{
    for (uint32_t i = 0; i < list->count; i++)
        free(list->stop[i].text);
    memset(list, 0, sizeof *list);
}

void stop_text_init(struct stop_text *s, const struct stop_list *list, bool include)
{
    s->list = list;
    s->include = include;
    s->held_bytes = 0;
}

/* The longest stop text that is the end of text[0..bytes), or STOP_TEXT_NONE. */
static int stop_at_end(const struct stop_list *list, const char *text, size_t bytes)
{
    int found = STOP_TEXT_NONE;
    for (uint32_t i = 0; i < list->count; i++) {
        size_t n = list->stop[i].bytes;
        if (n > bytes || memcmp(text + bytes - n, list->stop[i].text, n) != 0)
            continue;
        if (found == STOP_TEXT_NONE || n > list->stop[found].bytes)
            found = (int)i;
    }
    return found;
}

/* Length of the longest end of the text that begins some stop text without completing it. */
static size_t unfinished(const struct stop_list *list, const char *text, size_t bytes)
{
    size_t n = list->bytes_max ? list->bytes_max - 1 : 0;
    for (n = n < bytes ? n : bytes; n > 0; n--)
        for (uint32_t i = 0; i < list->count; i++)
            if (list->stop[i].bytes > n &&
                memcmp(text + bytes - n, list->stop[i].text, n) == 0)
                return n;
    return 0;
}

int stop_text_push(struct stop_text *s, const char *text, size_t bytes, char *out, size_t *shown)
{
    memcpy(out, s->held, s->held_bytes);
    memcpy(out + s->held_bytes, text, bytes);
    size_t total = s->held_bytes + bytes;
    /* No stop text ends inside what was held, or the output would have ended there. */
    for (size_t end = s->held_bytes + 1; end <= total; end++) {
        int stop = stop_at_end(s->list, out, end);
        if (stop == STOP_TEXT_NONE)
            continue;
        *shown = s->include ? end : end - s->list->stop[stop].bytes;
        s->held_bytes = 0;
        return stop;
    }
    size_t hold = unfinished(s->list, out, total);
    CHECK(hold < STOP_TEXT_BYTES_MAX);
    memcpy(s->held, out + total - hold, hold);
    s->held_bytes = (uint32_t)hold;
    *shown = total - hold;
    return STOP_TEXT_NONE;
}

size_t stop_text_finish(struct stop_text *s, char *out)
{
    size_t n = s->held_bytes;
    memcpy(out, s->held, n);
    s->held_bytes = 0;
    return n;
}
