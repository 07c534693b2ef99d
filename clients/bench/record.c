#include "clients/bench/record.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void record_init(struct record *r, uint64_t planned_ns, uint32_t input_tokens, bool keep_text)
{
    memset(r, 0, sizeof *r);
    r->planned_ns = planned_ns;
    r->input_tokens = input_tokens;
    r->keep_text = keep_text;
}

void record_close(struct record *r)
{
    free(r->content_ns);
    free(r->text);
    free(r->error);
    memset(r, 0, sizeof *r);
}

void record_sent(struct record *r, uint64_t now_ns)
{
    r->state = RECORD_UNDER_WAY;
    r->sent_ns = r->last_ns = now_ns;
}

static bool keep_text(struct record *r, const char *text, size_t bytes)
{
    if (!r->keep_text || bytes == 0)
        return true;
    if (r->text_bytes + bytes + 1 > r->text_room) {
        size_t room = 2 * (r->text_bytes + bytes) + 64;
        char *grown = realloc(r->text, room);
        if (!grown)
            return false;
        r->text = grown;
        r->text_room = room;
    }
    memcpy(r->text + r->text_bytes, text, bytes);
    r->text_bytes += bytes;
    r->text[r->text_bytes] = '\0';
    return true;
}

void record_content(struct record *r, uint64_t now_ns, const char *text, size_t bytes)
{
    if (r->state != RECORD_UNDER_WAY)
        return;
    if (r->content_count == r->content_room) {
        uint32_t room = r->content_room ? 2 * r->content_room : 32;
        uint64_t *grown = realloc(r->content_ns, room * sizeof *grown);
        if (!grown) {
            record_failed(r, "out of memory for the times of %u chunks", room);
            return;
        }
        r->content_ns = grown;
        r->content_room = room;
    }
    r->content_ns[r->content_count++] = now_ns;
    r->last_ns = now_ns;
    if (!keep_text(r, text, bytes))
        record_failed(r, "out of memory for the text");
}

void record_chunk(struct record *r, uint64_t now_ns)
{
    if (r->state == RECORD_UNDER_WAY)
        r->last_ns = now_ns;
}

void record_usage(struct record *r, uint32_t input_tokens, uint32_t output_tokens)
{
    r->counted = true;
    r->input_tokens = input_tokens;
    r->output_tokens = output_tokens;
}

void record_completed(struct record *r)
{
    if (r->state != RECORD_UNDER_WAY)
        return;
    r->state = RECORD_COMPLETED;
    if (!r->counted)
        r->output_tokens = r->content_count;
}

void record_failed(struct record *r, const char *format, ...)
{
    if (r->state == RECORD_COMPLETED || r->state == RECORD_FAILED)
        return;
    va_list args;
    va_start(args, format);
    if (vasprintf(&r->error, format, args) < 0)
        r->error = NULL;
    va_end(args);
    r->state = RECORD_FAILED;
}

static double seconds(uint64_t from_ns, uint64_t to_ns)
{
    return to_ns > from_ns ? (double)(to_ns - from_ns) * 1e-9 : 0;
}

double record_ttft_s(const struct record *r)
{
    return seconds(r->sent_ns, r->content_count ? r->content_ns[0] : r->last_ns);
}

double record_e2el_s(const struct record *r)
{
    return seconds(r->sent_ns, r->last_ns);
}

double record_tpot_s(const struct record *r)
{
    if (r->output_tokens < 2)
        return 0;
    return (record_e2el_s(r) - record_ttft_s(r)) / (r->output_tokens - 1);
}

double record_queue_s(const struct record *r)
{
    return seconds(r->planned_ns, r->sent_ns);
}
