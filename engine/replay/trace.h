/* A routing trace in memory: which experts each token chose in each layer.
 *
 * The format `.mtrace`, version 1: one line of JSON ended by '\n', then the ids, then the columns.
 *
 *     {"format": "moering-trace", "version": 1, "model": "...", "layers": L, "experts": E,
 *      "top_k": K, "tokens": T, "dtype": "u8" | "u16", "phase": "...", "source": "...",
 *      "requests": [{"tokens": n, "label": "...", "id": i, "prefill": p}, ...],
 *      "columns": [{"name": "...", "dtype": "u8" | "u16" | "u32", "width": w, "layers": l,
 *                   "distance": d}, ...]}
 *     ids        [T][L][K]  dtype, little endian; all ones: no expert
 *     a column   [T][l][w]  its dtype, little endian; one block per column, in their order
 *
 * Requests follow each other; the tokens of one are consecutive positions of one sequence. The
 * first `prefill` of them (absent: none) are its prompt. `id` (absent: the place in the list) names
 * the client's request: one that lost its KV cache and was computed again is there twice, with one
 * id. `label` and `columns` may be absent, and "layers" of a column too (it is 1 then). Columns we
 * know:
 *
 *     step       u32, width 1: the number of the engine step that computed the token. Tokens of one
 *                step were one batch; steps ascend within a request.
 *     lookahead  distance d, layers L - d: what layer l's hidden state made the router of layer l +
 *                d choose, best first, all ones as with ids; l = 0 .. L - d - 1.
 *
 * A reader that knows version 1 only reads `tokens` and `label` of the requests and stops behind
 * the ids, so the additions are invisible to it.
 *
 * The file is read at once and checked whole (ids below `experts`), not mapped: what was checked
 * cannot change or vanish under a replay. It takes its size in memory. Read-only after open, so any
 * number of threads may read. */
#ifndef MOERING_ENGINE_REPLAY_TRACE_H
#define MOERING_ENGINE_REPLAY_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TRACE_NONE UINT32_MAX          /* of an id: no expert; of a distance: none given */
#define TRACE_LAYERS_MAX 4096
#define TRACE_EXPERTS_MAX 65535        /* an id fits u16 beside "no expert" */
#define TRACE_COLUMNS_MAX 16
#define TRACE_HEADER_BYTES_MAX (64u << 20)

struct trace_request {
    uint64_t first;      /* its first token in the trace */
    uint64_t tokens;     /* >= 0 */
    uint64_t prefill;    /* of them, from the front, prompt tokens */
    uint64_t id;         /* entries of one id: one request, computed again */
    const char *label;   /* "" when it has none */
};

struct trace_column {
    const char *name;
    uint32_t value_bytes; /* 1, 2, 4 */
    uint32_t layers;      /* rows of width per token, >= 1 */
    uint32_t width;       /* >= 1 */
    uint32_t distance;    /* TRACE_NONE: not given */
    const uint8_t *data;  /* [tokens][layers][width] little endian, any alignment */
};

struct trace {
    uint32_t layers, experts, top_k; /* all >= 1; top_k <= experts */
    uint64_t tokens;                 /* all requests; may be 0 */
    uint32_t id_bytes;               /* 1 or 2 */
    const uint8_t *ids;              /* [tokens][layers][top_k]; prefer the accessors */
    uint32_t request_count, column_count;
    struct trace_request *requests;  /* [request_count], in order; tokens sum to `tokens` */
    struct trace_column columns[TRACE_COLUMNS_MAX];
    const struct trace_column *step; /* NULL: not recorded */
    const char *model, *phase, *source; /* "" when not given */
    const char *path;                /* as opened, for sentences */
    void *json;                      /* owns the texts above */
    void *bytes;                     /* owns the blocks; NULL after trace_parse */
    char *path_copy;
};

/* NOT_FOUND, IO: cannot be read. INVALID: not a trace, truncated, or a field that cannot be right.
 * UNSUPPORTED: another version, an unknown dtype. NO_MEMORY. The sentence names file and field. */
enum status trace_open(struct trace **out, const char *path, struct error *error);
/* The same from memory, which must outlive the trace. `name` stands for the path. */
enum status trace_parse(struct trace **out, const char *name, const uint8_t *bytes,
                        uint64_t bytes_count, struct error *error);
void trace_close(struct trace *trace); /* accepts NULL */

/* Id number `i` of width `value_bytes` in a block; all ones become TRACE_NONE. */
static inline uint32_t trace_value(const uint8_t *block, uint32_t value_bytes, uint64_t i)
{
    const uint8_t *p = block + i * value_bytes;
    if (value_bytes == 1)
        return p[0] == UINT8_MAX ? TRACE_NONE : p[0];
    uint32_t low = (uint32_t)p[0] | (uint32_t)p[1] << 8;
    if (value_bytes == 2)
        return low == UINT16_MAX ? TRACE_NONE : low;
    return low | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* The `choice`-th expert, as stored; TRACE_NONE: no expert. */
static inline uint32_t trace_id(const struct trace *t, uint64_t token, uint32_t layer,
                                uint32_t choice)
{
    return trace_value(t->ids, t->id_bytes, (token * t->layers + layer) * t->top_k + choice);
}

/* The distinct experts of one token and layer, in stored order, into out[top_k]; returns how many.
 * Foreign traces may name an expert twice: it counts once. */
static inline uint32_t trace_experts(const struct trace *t, uint64_t token, uint32_t layer,
                                     uint32_t *out)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < t->top_k; i++) {
        uint32_t id = trace_id(t, token, layer, i), j = 0;
        while (j < count && out[j] != id)
            j++;
        if (id != TRACE_NONE && j == count)
            out[count++] = id;
    }
    return count;
}

/* Value `i` < width of a column's row for (token, layer < column->layers). */
static inline uint32_t trace_column_value(const struct trace_column *c, uint64_t token,
                                          uint32_t layer, uint32_t i)
{
    return trace_value(c->data, c->value_bytes, (token * c->layers + layer) * c->width + i);
}

/* The first column of this name and distance (TRACE_NONE: any); NULL: none. */
const struct trace_column *trace_find_column(const struct trace *trace, const char *name,
                                             uint32_t distance);

/* The engine step of a token; only where trace->step. */
static inline uint32_t trace_step(const struct trace *t, uint64_t token)
{
    return trace_column_value(t->step, token, 0, 0);
}

#ifdef __cplusplus
}
#endif
#endif
