#include "server/metrics/experts_frame.h"

#include <string.h>

#include "server/grpc/grpc_metadata.h"
#include "server/metrics/stats_json.h"

static void put_when(struct jsonw *w, const struct experts_frame *f)
{
    jsonw_key(w, "tick");
    jsonw_uint(w, f->tick);
    jsonw_key(w, "now_ms");
    stats_json_number(w, (double)f->now_ns / 1e6);
}

static void put_size(struct jsonw *w, const struct experts_frame *f)
{
    jsonw_key(w, "layers");
    jsonw_uint(w, f->layers);
    jsonw_key(w, "experts");
    jsonw_uint(w, f->experts);
}

void experts_frame_json(struct jsonw *w, const struct experts_frame *f)
{
    jsonw_object_open(w);
    jsonw_key(w, "object");
    jsonw_text(w, "moering.experts");
    put_size(w, f);
    put_when(w, f);
    jsonw_key(w, "cells");
    jsonw_array_open(w);
    for (uint32_t l = 0; l < f->layers; l++) {
        jsonw_array_open(w);
        for (uint32_t e = 0; e < f->experts; e++)
            jsonw_uint(w, f->cells[(size_t)l * f->experts + e]);
        jsonw_array_end(w);
    }
    jsonw_array_end(w);
    jsonw_object_end(w);
}

/* ---- binary ---- */

static void put_little(uint8_t *to, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        to[i] = (uint8_t)(value >> 8 * i);
}

void experts_frame_binary(struct jsonw *w, const struct experts_frame *f)
{
    enum { VERSION = 1 };
    uint8_t head[EXPERTS_FRAME_HEAD_BYTES] = "MOEX";
    double now_ms = (double)f->now_ns / 1e6;
    uint64_t now_bits;
    memcpy(&now_bits, &now_ms, sizeof now_bits);
    put_little(head + 4, VERSION, 4);
    put_little(head + 8, f->layers, 4);
    put_little(head + 12, f->experts, 4);
    put_little(head + 16, f->tick, 8);
    put_little(head + 24, now_bits, 8);
    jsonw_plain(w, (const char *)head, sizeof head);
    jsonw_plain(w, (const char *)f->cells, (size_t)f->layers * f->experts);
}

/* ---- events ---- */

/* Standard base64 with padding, as a JSON string; in pieces, so that it needs no memory of its
 * own. */
static void put_base64(struct jsonw *w, const uint8_t *bytes, size_t count)
{
    enum { PIECE = 768 }; /* a multiple of 3: padding comes at the end alone */
    char text[PIECE / 3 * 4];
    jsonw_value(w, "\"", 1);
    for (size_t at = 0; at < count; at += PIECE) {
        size_t piece = count - at < PIECE ? count - at : PIECE;
        jsonw_plain(w, text, grpc_base64_encode(bytes + at, piece, text));
    }
    jsonw_plain(w, "==", (3 - count % 3) % 3);
    jsonw_plain(w, "\"", 1);
}

static void begin_event(struct jsonw *w, const char *event)
{
    jsonw_plain(w, event, strlen(event));
    w->comma = false;
    jsonw_object_open(w);
}

static void end_event(struct jsonw *w)
{
    jsonw_object_end(w);
    jsonw_plain(w, "\n\n", 2);
}

void experts_frame_map(struct jsonw *w, const struct experts_frame *f)
{
    begin_event(w, "event: map\ndata: ");
    put_size(w, f);
    put_when(w, f);
    jsonw_key(w, "cells");
    put_base64(w, f->cells, (size_t)f->layers * f->experts);
    end_event(w);
}

void experts_frame_delta(struct jsonw *w, const struct experts_frame *f, const uint8_t *changes,
                         size_t bytes)
{
    begin_event(w, "event: delta\ndata: ");
    put_when(w, f);
    jsonw_key(w, "changes");
    put_base64(w, changes, bytes);
    end_event(w);
}

/* ---- what has changed ---- */

size_t experts_frame_changes(const uint8_t *before, const uint8_t *now, size_t count,
                             uint8_t *changes)
{
    enum { PAIR_BYTES_MAX = 11 }; /* 64 bits by 7, and the cell */
    size_t used = 0, from = 0;    /* the next cell that a skip of 0 would mean */
    for (size_t i = 0; i < count; i++) {
        uint8_t pair[PAIR_BYTES_MAX];
        size_t bytes = 0, skip = i - from;
        if (before[i] == now[i])
            continue;
        for (; skip > 127; skip >>= 7)
            pair[bytes++] = (uint8_t)(skip | 128);
        pair[bytes++] = (uint8_t)skip;
        pair[bytes++] = now[i];
        if (used + bytes > count)
            return count + 1;
        memcpy(changes + used, pair, bytes);
        used += bytes;
        from = i + 1;
    }
    return used;
}
