/* A trace while it is being recorded: FILE.part, and how it becomes FILE.
 *
 * A step computes rows of many requests, a trace wants them request by request. So rows are written
 * in the order in which they happen, and sorted once at the end:
 *
 *     one line of JSON   a trace's header with format TRACE_SPOOL_FORMAT, tokens 0 and no requests
 *     records            struct trace_spool_row, ids [layers][top_k], each column's row after
 *                        `step`
 *
 * A *part* is one computing of one request from its first token on. Finishing reads the records
 * twice: to count each part's tokens, which gives every part its place (a counting sort), and to
 * put each row there. Memory: one entry per part. The new file is written beside FILE and renamed,
 * so FILE is always a whole trace or what it was before; the disk holds the recording twice
 * meanwhile.
 *
 * A run that was killed leaves FILE.part, less what the writer still held back; finishing it later
 * does the same, and a torn last record is dropped. */
#ifndef MOERING_ENGINE_REPLAY_TRACE_SPOOL_H
#define MOERING_ENGINE_REPLAY_TRACE_SPOOL_H

#include <stdint.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TRACE_SPOOL_FORMAT "moering-trace-spool"
#define TRACE_SPOOL_SUFFIX ".part"
#define TRACE_PARTS_MAX (1u << 18) /* parts in one recording: their header stays readable */

struct trace_spool_row {
    uint64_t id_prefill; /* the request's id times 2, plus 1 for a token of its prompt */
    uint32_t part;       /* ascending from 0 in order of first rows */
    uint32_t step;
};

/* Whether a trace may take the place of what is at `trace_path`: nothing, an empty file, or a
 * trace. INVALID: anything else, links and devices too: a slip of the hand must not cost a model.
 * IO. */
enum status trace_spool_check_place(const char *trace_path, struct error *error);
/* Makes `trace_path` of the records in `spool_path` and removes that. *tokens (may be NULL): how
 * many it holds. NOT_FOUND, IO: a file; INVALID: not a recording, or a damaged one; NO_MEMORY. On
 * failure the spool stays and `trace_path` is as it was; its place is checked as above. */
enum status trace_spool_finish(const char *spool_path, const char *trace_path, uint64_t *tokens,
                               struct error *error);

#ifdef __cplusplus
}
#endif
#endif
