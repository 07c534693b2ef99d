/* See trace_spool.h. The sorted file is written through a mapping whose blocks are allocated before
 * (a full disk is an error then and not a signal), because rows of many parts arrive in turn and a
 * system call for each would dominate. Any thread; one finish per file at a time. */
#include "engine/replay/trace_spool.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "engine/replay/trace.h"

enum { HEADER_BYTES_MAX = 1 << 20 }; /* of a spool: it lists no requests */

struct part {
    uint64_t id, tokens, prefill;
    uint64_t next; /* where its next token goes */
};

struct finish {
    const char *spool_path;
    FILE *spool;
    json_t *header;
    struct trace *shape;   /* the header as a trace of no tokens: sizes and columns, checked */
    uint64_t records_at;   /* in the spool */
    size_t record_bytes, ids_bytes;
    uint8_t *record;       /* [record_bytes] */
    struct part *parts;
    uint32_t part_count, part_capacity;
    uint64_t tokens;
    char temporary[PATH_MAX];
    int fd;                /* of the temporary file; -1: none */
    uint8_t *map;          /* all of it */
    uint64_t map_bytes;
    struct error *error;
};

static enum status io_error(struct finish *f, const char *path)
{
    return error_set(f->error, STATUS_IO, "%s: %s", path, strerror(errno ? errno : EIO));
}

static enum status damaged(struct finish *f, const char *why)
{
    return error_set(f->error, STATUS_INVALID, "%s: damaged: %s at record %" PRIu64, f->spool_path,
                     why, f->tokens);
}

/* ---- the header ---- */

/* The spool's header is checked by the reader of traces: as one that has no tokens yet. */
static enum status read_shape(struct finish *f)
{
    json_error_t why;
    char *line = malloc(HEADER_BYTES_MAX);
    if (!line)
        return error_set(f->error, STATUS_NO_MEMORY, "%s: no memory for its header", f->spool_path);
    bool any = fgets(line, HEADER_BYTES_MAX, f->spool) != NULL;
    size_t n = any ? strlen(line) : 0;
    f->header = any ? json_loadb(line, n, JSON_REJECT_DUPLICATES, &why) : NULL;
    free(line);
    const char *format = json_string_value(json_object_get(f->header, "format"));
    if (!format || strcmp(format, TRACE_SPOOL_FORMAT) != 0)
        return error_set(f->error, STATUS_INVALID, "%s: not a recording of routing", f->spool_path);
    f->records_at = n;
    json_object_set_new(f->header, "format", json_string("moering-trace"));
    char *text = json_dumps(f->header, JSON_COMPACT);
    size_t bytes = text ? strlen(text) : 0;
    if (!text)
        return error_set(f->error, STATUS_NO_MEMORY, "%s: no memory for its header", f->spool_path);
    text[bytes] = '\n'; /* in place of the final zero */
    enum status status =
        trace_parse(&f->shape, f->spool_path, (uint8_t *)text, bytes + 1, f->error);
    free(text);
    if (status != STATUS_OK)
        return status;
    const struct trace *t = f->shape;
    if (t->tokens != 0 || !t->step || t->step != &t->columns[0])
        return error_set(f->error, STATUS_INVALID, "%s: its first column is not step",
                         f->spool_path);
    f->ids_bytes = (size_t)t->layers * t->top_k * t->id_bytes;
    f->record_bytes = sizeof(struct trace_spool_row) + f->ids_bytes;
    for (uint32_t i = 1; i < t->column_count; i++)
        f->record_bytes +=
            (size_t)t->columns[i].layers * t->columns[i].width * t->columns[i].value_bytes;
    f->record = malloc(f->record_bytes);
    return f->record ? STATUS_OK
                     : error_set(f->error, STATUS_NO_MEMORY, "%s: no memory for a row of %zu bytes",
                                 f->spool_path, f->record_bytes);
}

/* ---- the first pass: how many tokens each part has ---- */

static enum status next_record(struct finish *f, struct trace_spool_row *row, bool *end)
{
    *end = fread(f->record, 1, f->record_bytes, f->spool) != f->record_bytes;
    if (*end && ferror(f->spool))
        return io_error(f, f->spool_path);
    memcpy(row, f->record, sizeof *row);
    return STATUS_OK;
}

static enum status add_part(struct finish *f, const struct trace_spool_row *row)
{
    if (row->part != f->part_count || row->part >= TRACE_PARTS_MAX || row->id_prefill >> 63)
        return damaged(f, "a part that cannot be");
    if (f->part_count == f->part_capacity) {
        uint32_t capacity = f->part_capacity ? 2 * f->part_capacity : 256;
        struct part *grown = realloc(f->parts, capacity * sizeof *grown);
        if (!grown)
            return error_set(f->error, STATUS_NO_MEMORY, "%s: no memory for its %u requests",
                             f->spool_path, capacity);
        f->parts = grown;
        f->part_capacity = capacity;
    }
    f->parts[f->part_count++] = (struct part){.id = row->id_prefill / 2};
    return STATUS_OK;
}

static enum status count_tokens(struct finish *f)
{
    struct trace_spool_row row;
    bool end;
    for (;;) {
        enum status status = next_record(f, &row, &end);
        if (status != STATUS_OK || end)
            return status;
        if (row.part >= f->part_count)
            status = add_part(f, &row);
        if (status != STATUS_OK)
            return status;
        struct part *p = &f->parts[row.part];
        bool prefill = row.id_prefill & 1;
        if (row.id_prefill / 2 != p->id || (prefill && p->prefill != p->tokens))
            return damaged(f, "a row of another request");
        p->tokens++;
        p->prefill += prefill;
        f->tokens++;
    }
}

/* ---- the second pass: each row to its place ---- */

/* The header of the trace, one line; the caller frees it. The requests may be many: they are
 * printed and not built as JSON. NULL: out of memory. */
static char *make_header(struct finish *f, size_t *bytes)
{
    char *text = NULL, *start = NULL;
    json_object_del(f->header, "requests");
    json_object_set_new(f->header, "tokens", json_integer((json_int_t)f->tokens));
    start = json_dumps(f->header, JSON_COMPACT | JSON_ENSURE_ASCII);
    FILE *out = start ? open_memstream(&text, bytes) : NULL;
    if (!out) {
        free(start);
        return NULL;
    }
    fprintf(out, "%.*s,\"requests\":[", (int)strlen(start) - 1, start); /* less its brace */
    for (uint32_t i = 0; i < f->part_count; i++)
        fprintf(out, "%s{\"tokens\":%" PRIu64 ",\"prefill\":%" PRIu64 ",\"id\":%" PRIu64 "}",
                i ? "," : "", f->parts[i].tokens, f->parts[i].prefill, f->parts[i].id);
    fprintf(out, "]}\n");
    free(start);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

static enum status create_trace(struct finish *f, const char *trace_path, size_t *header_bytes)
{
    int n = snprintf(f->temporary, sizeof f->temporary, "%s.tmp", trace_path);
    if (n < 0 || (size_t)n >= sizeof f->temporary)
        return error_set(f->error, STATUS_INVALID, "'%.64s': not a path for a trace", trace_path);
    char *header = make_header(f, header_bytes);
    if (!header)
        return error_set(f->error, STATUS_NO_MEMORY, "%s: no memory for its header", trace_path);
    enum status status = STATUS_OK;
    f->map_bytes = *header_bytes + f->tokens * (f->record_bytes - sizeof(struct trace_spool_row) +
                                                sizeof(uint32_t));
    f->fd = open(f->temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (f->fd < 0)
        status = io_error(f, f->temporary);
    else if ((errno = posix_fallocate(f->fd, 0, (off_t)f->map_bytes)) != 0)
        status = io_error(f, f->temporary);
    else {
        void *map = mmap(NULL, f->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
        if (map == MAP_FAILED)
            status = io_error(f, f->temporary);
        else
            f->map = memcpy(map, header, *header_bytes);
    }
    free(header);
    return status;
}

/* One row to its place in each block: ids first, then the columns, of which `step` is in the row's
 * head and the others follow the ids. */
static void place_row(struct finish *f, const struct trace_spool_row *row, uint64_t token,
                      uint8_t *blocks)
{
    const struct trace *t = f->shape;
    const uint8_t *from = f->record + sizeof *row;
    memcpy(blocks + token * f->ids_bytes, from, f->ids_bytes);
    from += f->ids_bytes;
    blocks += f->tokens * f->ids_bytes;
    memcpy(blocks + token * sizeof row->step, &row->step, sizeof row->step);
    blocks += f->tokens * sizeof row->step;
    for (uint32_t i = 1; i < t->column_count; i++) {
        const struct trace_column *c = &t->columns[i];
        size_t bytes = (size_t)c->layers * c->width * c->value_bytes;
        memcpy(blocks + token * bytes, from, bytes);
        from += bytes;
        blocks += f->tokens * bytes;
    }
}

static enum status place_rows(struct finish *f, size_t header_bytes)
{
    struct trace_spool_row row;
    bool end;
    uint64_t first = 0;
    for (uint32_t i = 0; i < f->part_count; i++) {
        f->parts[i].next = first;
        first += f->parts[i].tokens;
    }
    if (fseeko(f->spool, (off_t)f->records_at, SEEK_SET) != 0)
        return io_error(f, f->spool_path);
    for (uint64_t i = 0; i < f->tokens; i++) {
        enum status status = next_record(f, &row, &end);
        if (status != STATUS_OK)
            return status;
        /* Counted before: anything else is another writer at work on it. */
        if (end || row.part >= f->part_count || f->parts[row.part].next >= f->tokens)
            return error_set(f->error, STATUS_IO, "%s: it changed while it was read",
                             f->spool_path);
        place_row(f, &row, f->parts[row.part].next++, f->map + header_bytes);
    }
    return STATUS_OK;
}

/* ---- all of it ---- */

/* Every trace of ours begins with its format; the spaces are those of other writers of JSON. */
static bool begins_like_a_trace(const char *text)
{
    static const char *const words[] = {"{", "\"format\"", ":", "\"moering-trace\""};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        size_t bytes = strlen(words[i]);
        text += strspn(text, " \t\r");
        if (strncmp(text, words[i], bytes) != 0)
            return false;
        text += bytes;
    }
    return true;
}

enum status trace_spool_check_place(const char *trace_path, struct error *error)
{
    char head[128] = {0};
    struct stat info;
    if (lstat(trace_path, &info) != 0)
        return errno == ENOENT ? STATUS_OK
                               : error_set(error, STATUS_IO, "%s: %s", trace_path, strerror(errno));
    if (!S_ISREG(info.st_mode))
        return error_set(error, STATUS_INVALID, "%s: not a regular file; it is left as it is",
                         trace_path);
    if (info.st_size == 0)
        return STATUS_OK;
    int fd = open(trace_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    ssize_t n = fd >= 0 ? read(fd, head, sizeof head - 1) : -1;
    int why = errno;
    if (fd >= 0)
        close(fd);
    if (n < 0)
        return error_set(error, STATUS_IO, "%s: %s", trace_path, strerror(why));
    if (!begins_like_a_trace(head))
        return error_set(error, STATUS_INVALID,
                         "%s: it is there already and is not a trace; it is left as it is",
                         trace_path);
    return STATUS_OK;
}

static enum status publish(struct finish *f, const char *trace_path)
{
    if (msync(f->map, f->map_bytes, MS_SYNC) != 0 || fsync(f->fd) != 0)
        return io_error(f, f->temporary);
    /* Again: it is long since the recording began. */
    enum status status = trace_spool_check_place(trace_path, f->error);
    if (status != STATUS_OK)
        return status;
    if (rename(f->temporary, trace_path) != 0)
        return io_error(f, trace_path);
    f->temporary[0] = '\0'; /* it is the trace now */
    unlink(f->spool_path);
    return STATUS_OK;
}

static void finish_close(struct finish *f)
{
    if (f->map)
        munmap(f->map, f->map_bytes);
    if (f->fd >= 0) {
        close(f->fd);
        if (f->temporary[0])
            unlink(f->temporary);
    }
    if (f->spool)
        fclose(f->spool);
    trace_close(f->shape);
    json_decref(f->header);
    free(f->record);
    free(f->parts);
}

enum status trace_spool_finish(const char *spool_path, const char *trace_path, uint64_t *tokens,
                               struct error *error)
{
    struct finish f = {.spool_path = spool_path, .fd = -1, .error = error};
    size_t header_bytes = 0;
    enum status status = STATUS_OK;
    f.spool = fopen(spool_path, "re");
    if (!f.spool)
        status = error_set(error, errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO, "%s: %s",
                           spool_path, strerror(errno));
    if (status == STATUS_OK)
        status = read_shape(&f);
    if (status == STATUS_OK)
        status = count_tokens(&f);
    if (status == STATUS_OK)
        status = create_trace(&f, trace_path, &header_bytes);
    if (status == STATUS_OK)
        status = place_rows(&f, header_bytes);
    if (status == STATUS_OK)
        status = publish(&f, trace_path);
    if (status == STATUS_OK && tokens)
        *tokens = f.tokens;
    finish_close(&f);
    return status;
}
