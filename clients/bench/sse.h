/* Server-sent events out of bytes that come in any pieces (WHATWG HTML, section 9.2). Only `data`
 * matters here: other fields and comments (pings) are passed over. Lines may end in LF, CR or CR
 * LF. Pure. */
#ifndef MOERING_CLIENTS_BENCH_SSE_H
#define MOERING_CLIENTS_BENCH_SSE_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { SSE_EVENT_BYTES_MAX = 16 << 20 }; /* of one event's data, and of one line */

struct sse {
    char *line, *data; /* the line and the event under way */
    size_t line_bytes, line_room, data_bytes, data_room;
    bool has_data;     /* the event has a data field, if perhaps an empty one */
    bool after_cr;     /* an LF now belongs to the CR before it */
    bool handed_out;   /* data was given to the caller and starts anew */
};

enum sse_status { SSE_MORE, SSE_EVENT, SSE_BAD };

void sse_init(struct sse *sse);
void sse_close(struct sse *sse);
/* Takes bytes up to the end of an event; *used says how many. SSE_EVENT: *data, terminated too, is
 * valid until the next call; there may be more in the rest. SSE_MORE: all was taken. SSE_BAD: an
 * event above the limit, or no memory. An event that lacks its empty line at the end of a stream is
 * no event. */
enum sse_status sse_feed(struct sse *sse, const char *bytes, size_t size, size_t *used,
                         const char **data, size_t *data_bytes);

#ifdef __cplusplus
}
#endif
#endif
