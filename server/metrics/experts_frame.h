/* Maps of the experts as bytes: whole (JSON, binary) and as what has changed since the last look.
 * The formats are those of server/ui/FORMATS.md. Pure; knows neither engine nor sockets. */
#ifndef MOERING_SERVER_METRICS_EXPERTS_FRAME_H
#define MOERING_SERVER_METRICS_EXPERTS_FRAME_H

#include "server/jsonw.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One look at all cells (engine_expert_map). */
struct experts_frame {
    uint32_t layers, experts;
    uint64_t tick;        /* 1, 2, ... */
    uint64_t now_ns;
    const uint8_t *cells; /* [layers][experts] */
};

/* All of these append to `out`. */
void experts_frame_json(struct jsonw *out, const struct experts_frame *frame);

#define EXPERTS_FRAME_HEAD_BYTES 32
void experts_frame_binary(struct jsonw *out, const struct experts_frame *frame);

/* Events of a stream. */
void experts_frame_map(struct jsonw *out, const struct experts_frame *frame);
void experts_frame_delta(struct jsonw *out, const struct experts_frame *frame,
                         const uint8_t *changes, size_t bytes);

/* Pairs of (LEB128: unchanged cells to skip, new byte) that turn `before` into `now`, written to
 * changes[count]. Returns their bytes: 0, nothing has changed; above `count`, they are longer than
 * the map and not all there. */
size_t experts_frame_changes(const uint8_t *before, const uint8_t *now, size_t count,
                             uint8_t *changes);

#ifdef __cplusplus
}
#endif
#endif
