/* Records routing while an engine runs; a file in the format of trace.h comes out at the end.
 *
 *     begin(rows) -> choices(row, layer, ...) and fill_column(...) in any order -> commit(items)
 *
 * Nothing of a step is written before its commit, so a step that failed and is tried again is there
 * once. A row is put together in memory and goes out through a buffer: a copy per layer and row, a
 * write per 64 rows or 256 KiB: a run that is killed loses 64 rows at most. Memory is sized at
 * open: the rows of one step and the buffer.
 *
 * The rows of a request that was preempted are computed again, and they are recorded again: as a
 * part of its own with the same id, in which everything known at that time counts as prompt. They
 * were routed, they cost pages, and a replay has to see them.
 *
 * A disk that fails stops the recording, not the engine: the failure is returned once, and all
 * later calls do nothing. What came before stays in FILE.part (trace_spool.h). Engine thread. */
#ifndef MOERING_ENGINE_REPLAY_TRACE_WRITER_H
#define MOERING_ENGINE_REPLAY_TRACE_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/replay/trace.h"

#ifdef __cplusplus
extern "C" {
#endif

struct trace_writer;

/* A column of expert ids beside the choices; values are written as the ids are. */
struct trace_writer_column {
    const char *name;
    uint32_t layers;    /* rows of `width` per token, >= 1 */
    uint32_t width;     /* >= 1 */
    uint32_t distance;  /* TRACE_NONE: says nothing about distance */
};

struct trace_writer_config {
    const char *path;   /* the trace; the recording is beside it with ".part" */
    const char *model;  /* its name */
    const char *source; /* who recorded it: "moering 0.1.0" */
    uint32_t layers, experts, top_k; /* within the limits of trace.h (CHECKed) */
    uint32_t rows_max;  /* rows of one step */
    const struct trace_writer_column *columns; /* may be NULL */
    uint32_t column_count;                     /* < TRACE_COLUMNS_MAX: `step` is one too */
};

/* Creates FILE.part with its header. One that is there and not empty is kept as the first free
 * FILE.left.N.part, N = 1, 2, ..., with a warning in the log. INVALID: FILE is there and no trace
 * (trace_spool_check_place); IO: cannot be written, or another process is recording there; FULL: no
 * N is free; NO_MEMORY. */
enum status trace_writer_open(struct trace_writer **out, const struct trace_writer_config *config,
                              struct error *error);
/* Sorts what was recorded into FILE. A failure that was returned before is not returned again.
 * Frees the writer in any case; accepts NULL. */
enum status trace_writer_close(struct trace_writer *writer, struct error *error);

/* Begins a step of `rows` <= rows_max; forgets one that was not committed. */
void trace_writer_begin(struct trace_writer *writer, uint32_t rows);
/* The experts of a row in one layer, best first; count <= top_k. */
void trace_writer_choices(struct trace_writer *writer, uint32_t row, uint32_t layer,
                          const uint32_t *experts, uint32_t count);
/* A row's values in column `column` of the configuration, at its `layer`; count <= width. Values
 * that are never given read as none. */
void trace_writer_fill_column(struct trace_writer *writer, uint32_t column, uint32_t row,
                              uint32_t layer, const uint32_t *experts, uint32_t count);

/* The next part's number: for the first rows of a request, and for its first after preemption; they
 * must be in the step that is committed next. */
uint32_t trace_writer_part(struct trace_writer *writer);

struct trace_writer_item {
    uint64_t id;       /* the request, < 2^62 */
    uint32_t part;     /* from trace_writer_part */
    uint32_t rows;     /* neighbours in the step, in order of position */
    uint32_t prefill;  /* the first of them that are prompt */
};
/* The step is done: its rows, item by item, sum to those of begin (CHECKed). IO: told once, the
 * recording ended; FULL: the same, there were TRACE_PARTS_MAX parts, and closing makes a trace of
 * what came before. */
enum status trace_writer_commit(struct trace_writer *writer, const struct trace_writer_item *items,
                                uint32_t count, struct error *error);
uint64_t trace_writer_tokens(const struct trace_writer *writer); /* committed so far */

#ifdef __cplusplus
}
#endif
#endif
