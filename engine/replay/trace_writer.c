/* See trace_writer.h. A step's rows lie in memory as the records of trace_spool.h, all ones until
 * something is known, so that committing is filling in who they belong to and one copy. */
#include "engine/replay/trace_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "engine/replay/trace_spool.h"
#include "memory/base/check.h"
#include "memory/base/log.h"

enum {
    BUFFER_BYTES = 256 << 10,
    HELD_ROWS_MAX = 64,  /* a killed run loses so many, and those of the step that reaches it */
    LEFT_MAX = 1000,     /* recordings of killed runs kept beside one trace */
};

struct trace_writer {
    uint32_t layers, experts, top_k, rows_max;
    uint32_t id_bytes;      /* 1 or 2 */
    size_t record_bytes;
    uint32_t column_count;
    struct {
        uint32_t layers, width;
        size_t offset;      /* in a record */
    } columns[TRACE_COLUMNS_MAX];
    uint8_t *step_rows;     /* [rows_max] records of the step under way */
    uint8_t *buffer;        /* [BUFFER_BYTES] */
    size_t buffered;
    uint32_t held_rows;     /* committed since the last flush */
    uint32_t rows;          /* of the step under way */
    uint32_t step;          /* its number */
    uint32_t parts;
    uint64_t tokens;
    int fd;
    bool stopped;           /* a failure was returned: nothing more is recorded */
    bool failed;            /* it was the file's: it is left as it is */
    char path[PATH_MAX], spool[PATH_MAX];
};

/* ---- the file ---- */

static enum status stop(struct trace_writer *w, enum status status, const char *why,
                        struct error *error)
{
    w->stopped = true;
    w->failed = status == STATUS_IO;
    return error_set(error, status, "%s: %s; recording stopped after %llu tokens%s", w->spool, why,
                     (unsigned long long)w->tokens,
                     w->failed ? ", and what reached the file stays there" : "");
}

static enum status flush(struct trace_writer *w, struct error *error)
{
    size_t done = 0;
    while (done < w->buffered) {
        ssize_t n = write(w->fd, w->buffer + done, w->buffered - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return stop(w, STATUS_IO, strerror(errno), error);
        done += (size_t)n;
    }
    w->buffered = 0;
    w->held_rows = 0;
    return STATUS_OK;
}

/* The first FILE.left.N.part that is free, so that no evidence replaces older evidence. The lock on
 * FILE.part keeps other writers of this trace away. */
static enum status free_name(const struct trace_writer *w, const char *path, char left[PATH_MAX],
                             struct error *error)
{
    struct stat info;
    for (uint32_t i = 1; i <= LEFT_MAX; i++) {
        int n = snprintf(left, PATH_MAX, "%s.left.%u" TRACE_SPOOL_SUFFIX, path, i);
        if (n < 0 || n >= PATH_MAX)
            return error_set(error, STATUS_INVALID, "'%.64s': not a path for a trace", path);
        if (lstat(left, &info) != 0 && errno == ENOENT)
            return STATUS_OK;
    }
    return error_set(error, STATUS_FULL,
                     "%s: %d recordings of runs that did not end are beside it; recover or remove "
                     "them first", w->spool, LEFT_MAX);
}

/* A file left by a run that was killed is evidence: it makes way under another name. */
static enum status make_way(struct trace_writer *w, const char *path, struct error *error)
{
    struct stat info;
    char left[PATH_MAX];
    if (fstat(w->fd, &info) != 0)
        return error_set(error, STATUS_IO, "%s: %s", w->spool, strerror(errno));
    if (!S_ISREG(info.st_mode))
        return error_set(error, STATUS_INVALID, "%s: not a regular file", w->spool);
    if (info.st_size == 0)
        return STATUS_OK;
    enum status status = free_name(w, path, left, error);
    if (status != STATUS_OK)
        return status;
    if (rename(w->spool, left) != 0)
        return error_set(error, STATUS_IO,
                         "%s: left by a run that did not end, and it cannot be moved away: %s",
                         w->spool, strerror(errno));
    log_warn("%s: left by a run that did not end; it is %s now, for `moering trace recover`",
             w->spool, left);
    close(w->fd);
    w->fd = open(w->spool, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (w->fd < 0 || flock(w->fd, LOCK_EX | LOCK_NB) != 0)
        return error_set(error, STATUS_IO, "%s: %s", w->spool, strerror(errno));
    return STATUS_OK;
}

static enum status open_spool(struct trace_writer *w, const char *path, struct error *error)
{
    int n = snprintf(w->path, sizeof w->path, "%s", path);
    int m = snprintf(w->spool, sizeof w->spool, "%s" TRACE_SPOOL_SUFFIX, path);
    if (n <= 0 || m < 0 || (size_t)m >= sizeof w->spool)
        return error_set(error, STATUS_INVALID, "'%.64s': not a path for a trace", path);
    enum status status = trace_spool_check_place(w->path, error);
    if (status != STATUS_OK)
        return status;
    w->fd = open(w->spool, O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0666);
    if (w->fd < 0)
        return error_set(error, STATUS_IO, "%s: %s", w->spool, strerror(errno));
    if (flock(w->fd, LOCK_EX | LOCK_NB) != 0)
        return error_set(error, STATUS_IO, "%s: %s", w->spool,
                         errno == EWOULDBLOCK ? "another process records there"
                                              : strerror(errno));
    return make_way(w, path, error);
}

/* ---- the header ---- */

/* {"name": ..., "dtype": ..., "width": ..., "layers": ..., "distance": ...} */
static json_t *describe_column(const struct trace_writer_column *c, const char *dtype)
{
    json_t *column = json_pack("{s:s, s:s, s:I, s:I}", "name", c->name, "dtype", dtype, "width",
                               (json_int_t)c->width, "layers", (json_int_t)c->layers);
    if (c->distance != TRACE_NONE)
        json_object_set_new(column, "distance", json_integer(c->distance));
    return column;
}

/* Goes out at once: without it no row can be recovered. */
static enum status put_header(struct trace_writer *w, const struct trace_writer_config *c,
                              struct error *error)
{
    static const struct trace_writer_column step = {.name = "step", .layers = 1, .width = 1,
                                                    .distance = TRACE_NONE};
    const char *dtype = w->id_bytes == 1 ? "u8" : "u16";
    json_t *columns = json_array();
    json_array_append_new(columns, describe_column(&step, "u32"));
    for (uint32_t i = 0; i < c->column_count; i++)
        json_array_append_new(columns, describe_column(&c->columns[i], dtype));
    json_t *header = json_pack(
        "{s:s, s:i, s:s%, s:I, s:I, s:I, s:i, s:s, s:s, s:s, s:[], s:o}", "format",
        TRACE_SPOOL_FORMAT, "version", 1, "model", c->model, strnlen(c->model, 256), "layers",
        (json_int_t)c->layers, "experts", (json_int_t)c->experts, "top_k", (json_int_t)c->top_k,
        "tokens", 0, "dtype", dtype, "phase", "prefill and decode", "source", c->source, "requests",
        "columns", columns);
    char *text = header ? json_dumps(header, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
    size_t bytes = text ? strlen(text) : 0;
    enum status status = STATUS_OK;
    if (!text || bytes >= BUFFER_BYTES)
        status = error_set(error, STATUS_NO_MEMORY, "%s: its header cannot be written as JSON",
                           w->spool);
    else {
        memcpy(w->buffer, text, bytes);
        w->buffer[bytes] = '\n';
        w->buffered = bytes + 1;
        status = flush(w, error);
    }
    free(text);
    json_decref(header);
    return status;
}

/* ---- opening and closing ---- */

static void lay_out(struct trace_writer *w, const struct trace_writer_config *c)
{
    CHECK(c->layers >= 1 && c->layers <= TRACE_LAYERS_MAX && c->rows_max >= 1);
    CHECK(c->experts >= 1 && c->experts <= TRACE_EXPERTS_MAX);
    CHECK(c->top_k >= 1 && c->top_k <= c->experts && c->column_count < TRACE_COLUMNS_MAX);
    w->layers = c->layers;
    w->experts = c->experts;
    w->top_k = c->top_k;
    w->rows_max = c->rows_max;
    w->column_count = c->column_count;
    w->id_bytes = c->experts <= UINT8_MAX ? 1 : 2;
    size_t bytes = sizeof(struct trace_spool_row) + (size_t)c->layers * c->top_k * w->id_bytes;
    for (uint32_t i = 0; i < c->column_count; i++) {
        const struct trace_writer_column *from = &c->columns[i];
        CHECK(from->layers >= 1 && from->layers <= TRACE_LAYERS_MAX);
        CHECK(from->width >= 1 && from->width <= TRACE_EXPERTS_MAX);
        w->columns[i].layers = from->layers;
        w->columns[i].width = from->width;
        w->columns[i].offset = bytes;
        bytes += (size_t)from->layers * from->width * w->id_bytes;
    }
    w->record_bytes = bytes;
}

static void destroy(struct trace_writer *w)
{
    if (w->fd >= 0)
        close(w->fd);
    free(w->step_rows);
    free(w->buffer);
    free(w);
}

enum status trace_writer_open(struct trace_writer **out, const struct trace_writer_config *config,
                              struct error *error)
{
    struct trace_writer *w = calloc(1, sizeof *w);
    *out = NULL;
    if (!w)
        return error_set(error, STATUS_NO_MEMORY, "%s: no memory to record a trace", config->path);
    w->fd = -1;
    lay_out(w, config);
    w->buffer = malloc(BUFFER_BYTES);
    w->step_rows = calloc(config->rows_max, w->record_bytes);
    enum status status = STATUS_OK;
    if (!w->buffer || !w->step_rows)
        status = error_set(error, STATUS_NO_MEMORY, "%s: no memory to record %u rows of %zu bytes",
                           config->path, config->rows_max, w->record_bytes);
    if (status == STATUS_OK)
        status = open_spool(w, config->path, error);
    if (status == STATUS_OK)
        status = put_header(w, config, error);
    if (status != STATUS_OK) {
        destroy(w);
        return status;
    }
    *out = w;
    return STATUS_OK;
}

enum status trace_writer_close(struct trace_writer *w, struct error *error)
{
    enum status status = STATUS_OK;
    if (!w)
        return STATUS_OK;
    if (!w->failed)
        status = flush(w, error);
    if (!w->failed)
        status = trace_spool_finish(w->spool, w->path, NULL, error);
    destroy(w);
    return status;
}

/* ---- a step ---- */

static uint8_t *row_at(struct trace_writer *w, uint32_t row)
{
    CHECK(row < w->rows);
    return w->step_rows + row * w->record_bytes;
}

/* Little endian, as the host is (CMakeLists.txt). */
static void put_ids(const struct trace_writer *w, uint8_t *to, const uint32_t *ids, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        CHECK(ids[i] < w->experts || ids[i] == TRACE_NONE);
        if (w->id_bytes == 1)
            to[i] = (uint8_t)ids[i];
        else
            memcpy(to + 2 * i, &(uint16_t){(uint16_t)ids[i]}, 2);
    }
}

void trace_writer_begin(struct trace_writer *w, uint32_t rows)
{
    CHECK(rows <= w->rows_max);
    w->rows = rows;
    if (!w->stopped)
        memset(w->step_rows, 0xff, rows * w->record_bytes);
}

void trace_writer_choices(struct trace_writer *w, uint32_t row, uint32_t layer,
                          const uint32_t *experts, uint32_t count)
{
    CHECK(layer < w->layers && count <= w->top_k);
    if (w->stopped)
        return;
    size_t at = sizeof(struct trace_spool_row) + (size_t)layer * w->top_k * w->id_bytes;
    put_ids(w, row_at(w, row) + at, experts, count);
}

void trace_writer_fill_column(struct trace_writer *w, uint32_t column, uint32_t row, uint32_t layer,
                              const uint32_t *experts, uint32_t count)
{
    CHECK(column < w->column_count && layer < w->columns[column].layers &&
          count <= w->columns[column].width);
    if (w->stopped)
        return;
    size_t at = w->columns[column].offset + (size_t)layer * w->columns[column].width * w->id_bytes;
    put_ids(w, row_at(w, row) + at, experts, count);
}

uint32_t trace_writer_part(struct trace_writer *w)
{
    return w->parts < UINT32_MAX ? w->parts++ : UINT32_MAX;
}

enum status trace_writer_commit(struct trace_writer *w, const struct trace_writer_item *items,
                                uint32_t count, struct error *error)
{
    uint32_t row = 0;
    enum status status = STATUS_OK;
    if (w->stopped)
        return STATUS_OK;
    for (uint32_t i = 0; i < count; i++)
        if (items[i].part >= TRACE_PARTS_MAX)
            return stop(w, STATUS_FULL, "it holds as many requests as a trace can", error);
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t r = 0; r < items[i].rows; r++, row++) {
            struct trace_spool_row head = {.id_prefill = 2 * items[i].id + (r < items[i].prefill),
                                           .part = items[i].part, .step = w->step};
            memcpy(row_at(w, row), &head, sizeof head);
        }
    CHECK(row == w->rows);
    const uint8_t *from = w->step_rows;
    for (size_t left = row * w->record_bytes; left && !w->stopped;) {
        size_t n = BUFFER_BYTES - w->buffered < left ? BUFFER_BYTES - w->buffered : left;
        memcpy(w->buffer + w->buffered, from, n);
        w->buffered += n;
        from += n;
        left -= n;
        if (w->buffered == BUFFER_BYTES)
            status = flush(w, error);
    }
    w->held_rows += row;
    if (!w->stopped && w->held_rows >= HELD_ROWS_MAX)
        status = flush(w, error);
    w->tokens += w->stopped ? 0 : row;
    w->step += w->step < UINT32_MAX - 1;
    w->rows = 0;
    return status;
}

uint64_t trace_writer_tokens(const struct trace_writer *w)
{
    return w->tokens;
}
