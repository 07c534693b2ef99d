/* Reads `.mtrace` (trace.h). Everything that a replay relies on is checked here, once, so that the
 * accessors need no checks: sizes multiply to the file's length exactly, requests sum to the
 * tokens, every id is an expert or none. Sizes from the header are multiplied with overflow checks
 * before anything is compared or read, and nothing is allocated by a number from the header but the
 * list of requests, which has as many entries as the header has objects. Any thread; trace_parse is
 * what the fuzzer calls. */
#include "engine/replay/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "engine/replay/trace_spool.h"

struct reader {
    struct trace *trace;
    const uint8_t *bytes;
    uint64_t bytes_count;
    uint64_t at; /* the next block */
    struct error *error;
};

/* ---- fields of the header ---- */

/* Text from a file may be anything; a terminal gets printable characters of it. */
static const char *shown(const char *text, char out[48])
{
    size_t n = 0;
    for (; text[n] && n < 47; n++)
        out[n] = text[n] < 0x20 || text[n] > 0x7e ? '?' : text[n];
    out[n] = '\0';
    return out;
}

/* An integer field of `object`, which is called `where` ("" for the header itself). An absent one
 * is refused unless *out is within the range already: that is its default. */
static enum status read_count(struct reader *r, const json_t *object, const char *where,
                              const char *name, uint64_t min, uint64_t max, uint64_t *out)
{
    const json_t *value = json_object_get(object, name);
    const char *path = r->trace->path;
    if (!value && *out >= min && *out <= max)
        return STATUS_OK;
    if (!value)
        return error_set(r->error, STATUS_INVALID, "%s: %s%s is missing", path, where, name);
    if (!json_is_integer(value))
        return error_set(r->error, STATUS_INVALID, "%s: %s%s is not a whole number", path, where,
                         name);
    json_int_t n = json_integer_value(value);
    if (n < 0 || (uint64_t)n < min || (uint64_t)n > max)
        return error_set(r->error, STATUS_INVALID, "%s: %s%s is %lld, allowed are %llu to %llu",
                         path, where, name, (long long)n, (unsigned long long)min,
                         (unsigned long long)max);
    *out = (uint64_t)n;
    return STATUS_OK;
}

static enum status read_count32(struct reader *r, const json_t *object, const char *where,
                                const char *name, uint32_t min, uint32_t max, uint32_t *out)
{
    uint64_t wide = *out;
    enum status status = read_count(r, object, where, name, min, max, &wide);
    *out = (uint32_t)wide;
    return status;
}

/* An optional text; "" when it is not there. */
static enum status read_text(struct reader *r, const json_t *object, const char *where,
                             const char *name, const char **out)
{
    const json_t *value = json_object_get(object, name);
    *out = "";
    if (!value)
        return STATUS_OK;
    if (!json_is_string(value))
        return error_set(r->error, STATUS_INVALID, "%s: %s%s is not a text", r->trace->path, where,
                         name);
    *out = json_string_value(value);
    return STATUS_OK;
}

static enum status read_dtype(struct reader *r, const json_t *object, const char *where,
                              uint32_t bytes_max, uint32_t *value_bytes)
{
    const char *name;
    char text[48];
    enum status status = read_text(r, object, where, "dtype", &name);
    if (status != STATUS_OK)
        return status;
    *value_bytes = !strcmp(name, "u8")    ? 1
                   : !strcmp(name, "u16") ? 2
                   : !strcmp(name, "u32") ? 4
                                          : 0;
    if (*value_bytes == 0 || *value_bytes > bytes_max)
        return error_set(r->error, STATUS_UNSUPPORTED, "%s: %sdtype '%s' is none of: u8 u16%s",
                         r->trace->path, where, shown(name, text), bytes_max == 4 ? " u32" : "");
    return STATUS_OK;
}

/* ---- the parts of the header ---- */

static enum status read_format(struct reader *r, const json_t *header)
{
    const char *format, *path = r->trace->path;
    enum status status = read_text(r, header, "", "format", &format);
    uint64_t version = 0;
    if (status != STATUS_OK)
        return status;
    if (!strcmp(format, TRACE_SPOOL_FORMAT))
        return error_set(
            r->error, STATUS_INVALID,
            "%s: a recording that was not finished; `moering trace recover %s` makes a "
            "trace of it",
            path, path);
    if (strcmp(format, "moering-trace") != 0)
        return error_set(r->error, STATUS_INVALID, "%s: format is not \"moering-trace\"", path);
    status = read_count(r, header, "", "version", 1, INT64_MAX, &version);
    if (status == STATUS_OK && version != 1)
        status = error_set(r->error, STATUS_UNSUPPORTED, "%s: version %llu; this build reads 1",
                           path, (unsigned long long)version);
    return status;
}

static enum status read_sizes(struct reader *r, const json_t *header)
{
    struct trace *t = r->trace;
    enum status status = read_count32(r, header, "", "layers", 1, TRACE_LAYERS_MAX, &t->layers);
    if (status == STATUS_OK)
        status = read_count32(r, header, "", "experts", 1, TRACE_EXPERTS_MAX, &t->experts);
    if (status == STATUS_OK)
        status = read_count32(r, header, "", "top_k", 1, t->experts, &t->top_k);
    t->tokens = UINT64_MAX; /* no default */
    if (status == STATUS_OK)
        status = read_count(r, header, "", "tokens", 0, INT64_MAX, &t->tokens);
    if (status == STATUS_OK)
        status = read_dtype(r, header, "", 2, &t->id_bytes);
    /* 256 fit too, where the last one is never chosen: 255 reads as no expert. */
    if (status == STATUS_OK && t->id_bytes == 1 && t->experts > 256)
        status = error_set(r->error, STATUS_INVALID, "%s: dtype u8 cannot hold ids of %u experts",
                           t->path, t->experts);
    if (status == STATUS_OK)
        status = read_text(r, header, "", "model", &t->model);
    if (status == STATUS_OK)
        status = read_text(r, header, "", "phase", &t->phase);
    if (status == STATUS_OK)
        status = read_text(r, header, "", "source", &t->source);
    return status;
}

static enum status read_request(struct reader *r, const json_t *entry, uint32_t index,
                                uint64_t first)
{
    struct trace_request *q = &r->trace->requests[index];
    char where[48];
    snprintf(where, sizeof where, "requests[%u].", index);
    if (!json_is_object(entry))
        return error_set(r->error, STATUS_INVALID, "%s: requests[%u] is not an object",
                         r->trace->path, index);
    *q = (struct trace_request){.first = first, .tokens = UINT64_MAX, .id = index};
    enum status status =
        read_count(r, entry, where, "tokens", 0, r->trace->tokens - first, &q->tokens);
    if (status == STATUS_OK)
        status = read_count(r, entry, where, "prefill", 0, q->tokens, &q->prefill);
    if (status == STATUS_OK)
        status = read_count(r, entry, where, "id", 0, INT64_MAX, &q->id);
    if (status == STATUS_OK)
        status = read_text(r, entry, where, "label", &q->label);
    return status;
}

static enum status read_requests(struct reader *r, const json_t *header)
{
    struct trace *t = r->trace;
    const json_t *list = json_object_get(header, "requests");
    uint64_t sum = 0;
    if (!json_is_array(list))
        return error_set(r->error, STATUS_INVALID, "%s: requests is %s", t->path,
                         list ? "not a list" : "missing");
    size_t count = json_array_size(list);
    if (count > UINT32_MAX)
        return error_set(r->error, STATUS_INVALID, "%s: requests has %zu entries", t->path, count);
    t->requests = calloc(count ? count : 1, sizeof *t->requests);
    if (!t->requests)
        return error_set(r->error, STATUS_NO_MEMORY, "%s: no memory for %zu requests", t->path,
                         count);
    for (uint32_t i = 0; i < count; i++) {
        enum status status = read_request(r, json_array_get(list, i), i, sum);
        if (status != STATUS_OK)
            return status;
        sum += t->requests[i].tokens;
    }
    t->request_count = (uint32_t)count;
    if (sum != t->tokens)
        return error_set(r->error, STATUS_INVALID,
                         "%s: requests sum to %llu tokens, but tokens is %llu", t->path,
                         (unsigned long long)sum, (unsigned long long)t->tokens);
    return STATUS_OK;
}

/* ---- the blocks ---- */

/* The next block, [tokens][rows][width] of value_bytes. */
static enum status take_block(struct reader *r, const char *name, uint32_t rows, uint32_t width,
                              uint32_t value_bytes, const uint8_t **out)
{
    const struct trace *t = r->trace;
    uint64_t bytes;
    if (__builtin_mul_overflow((uint64_t)rows * width, value_bytes, &bytes) ||
        __builtin_mul_overflow(bytes, t->tokens, &bytes))
        return error_set(r->error, STATUS_INVALID,
                         "%s: %s of %llu tokens would be more than 64 bits can count", t->path,
                         name, (unsigned long long)t->tokens);
    if (bytes > r->bytes_count - r->at)
        return error_set(r->error, STATUS_INVALID,
                         "%s: truncated: %s takes %llu bytes from byte %llu, the file has %llu",
                         t->path, name, (unsigned long long)bytes, (unsigned long long)r->at,
                         (unsigned long long)r->bytes_count);
    *out = r->bytes + r->at;
    r->at += bytes;
    return STATUS_OK;
}

/* Every value of a block is an expert or all ones. */
static enum status check_ids(struct reader *r, const char *name, const uint8_t *block,
                             uint32_t value_bytes, uint64_t per_token)
{
    const struct trace *t = r->trace;
    for (uint64_t i = 0; i < per_token * t->tokens; i++) {
        uint32_t id = trace_value(block, value_bytes, i);
        if (id >= t->experts && id != TRACE_NONE)
            return error_set(r->error, STATUS_INVALID,
                             "%s: %s of token %llu has expert %u, but experts is %u", t->path, name,
                             (unsigned long long)(i / per_token), id, t->experts);
    }
    return STATUS_OK;
}

static enum status check_steps(struct reader *r)
{
    const struct trace *t = r->trace;
    for (uint32_t q = 0; q < t->request_count; q++)
        for (uint64_t i = 1; i < t->requests[q].tokens; i++) {
            uint64_t token = t->requests[q].first + i;
            if (trace_step(t, token) < trace_step(t, token - 1))
                return error_set(r->error, STATUS_INVALID,
                                 "%s: column step goes back from %u to %u at token %llu", t->path,
                                 trace_step(t, token - 1), trace_step(t, token),
                                 (unsigned long long)token);
        }
    return STATUS_OK;
}

/* What the columns that we know must look like. */
static enum status check_column(struct reader *r, const struct trace_column *c)
{
    struct trace *t = r->trace;
    if (!strcmp(c->name, "step")) {
        if (t->step || c->value_bytes != 4 || c->width != 1 || c->layers != 1)
            return error_set(r->error, STATUS_INVALID,
                             "%s: column step must be there once, of u32, width 1, layers 1",
                             t->path);
        t->step = c;
        return check_steps(r);
    }
    if (strcmp(c->name, "lookahead") != 0)
        return STATUS_OK;
    if (c->distance == 0 || c->distance >= t->layers || c->layers != t->layers - c->distance)
        return error_set(r->error, STATUS_INVALID,
                         "%s: column lookahead: distance %d with layers %u does not fit %u layers",
                         t->path, (int)c->distance, c->layers, t->layers);
    return check_ids(r, "column lookahead", c->data, c->value_bytes,
                     (uint64_t)c->layers * c->width);
}

static enum status read_column(struct reader *r, const json_t *entry, uint32_t index)
{
    struct trace *t = r->trace;
    struct trace_column *c = &t->columns[index];
    char where[48], name[48], block[64];
    snprintf(where, sizeof where, "columns[%u].", index);
    if (!json_is_object(entry))
        return error_set(r->error, STATUS_INVALID, "%s: columns[%u] is not an object", t->path,
                         index);
    *c = (struct trace_column){.layers = 1, .distance = TRACE_NONE};
    enum status status = read_text(r, entry, where, "name", &c->name);
    if (status == STATUS_OK)
        status = read_dtype(r, entry, where, 4, &c->value_bytes);
    if (status == STATUS_OK)
        status = read_count32(r, entry, where, "width", 1, TRACE_EXPERTS_MAX, &c->width);
    if (status == STATUS_OK)
        status = read_count32(r, entry, where, "layers", 1, TRACE_LAYERS_MAX, &c->layers);
    if (status == STATUS_OK)
        status = read_count32(r, entry, where, "distance", 0, UINT32_MAX, &c->distance);
    if (status != STATUS_OK)
        return status;
    snprintf(block, sizeof block, "column '%s'", shown(c->name, name));
    status = take_block(r, block, c->layers, c->width, c->value_bytes, &c->data);
    return status == STATUS_OK ? check_column(r, c) : status;
}

static enum status read_columns(struct reader *r, const json_t *header)
{
    struct trace *t = r->trace;
    const json_t *list = json_object_get(header, "columns");
    if (!list)
        return STATUS_OK;
    if (!json_is_array(list) || json_array_size(list) > TRACE_COLUMNS_MAX)
        return error_set(r->error, STATUS_INVALID, "%s: columns is not a list of at most %d",
                         t->path, TRACE_COLUMNS_MAX);
    for (; t->column_count < json_array_size(list); t->column_count++) {
        enum status status = read_column(r, json_array_get(list, t->column_count), t->column_count);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

static enum status read_blocks(struct reader *r, const json_t *header)
{
    struct trace *t = r->trace;
    enum status status = take_block(r, "ids", t->layers, t->top_k, t->id_bytes, &t->ids);
    if (status == STATUS_OK)
        status = check_ids(r, "ids", t->ids, t->id_bytes, (uint64_t)t->layers * t->top_k);
    if (status == STATUS_OK)
        status = read_columns(r, header);
    if (status == STATUS_OK && r->at != r->bytes_count)
        status = error_set(r->error, STATUS_INVALID,
                           "%s: tokens x layers x top_k and the columns end at byte %llu, the file "
                           "has %llu", t->path, (unsigned long long)r->at,
                           (unsigned long long)r->bytes_count);
    return status;
}

/* ---- opening ---- */

static enum status parse_header(struct reader *r, json_t **out)
{
    uint64_t most = r->bytes_count;
    if (most > TRACE_HEADER_BYTES_MAX)
        most = TRACE_HEADER_BYTES_MAX;
    const uint8_t *end = most ? memchr(r->bytes, '\n', most) : NULL;
    json_error_t why;
    if (!end)
        return error_set(r->error, STATUS_INVALID,
                         "%s: no line of JSON in its first %llu bytes: not a routing trace",
                         r->trace->path, (unsigned long long)most);
    r->at = (uint64_t)(end - r->bytes) + 1;
    *out = json_loadb((const char *)r->bytes, (size_t)(end - r->bytes), JSON_REJECT_DUPLICATES,
                      &why);
    if (!json_is_object(*out)) {
        char text[48];
        return error_set(r->error, STATUS_INVALID, "%s: its first line is not a JSON object: %s",
                         r->trace->path, *out ? "something else" : shown(why.text, text));
    }
    return STATUS_OK;
}

enum status trace_parse(struct trace **out, const char *name, const uint8_t *bytes,
                        uint64_t bytes_count, struct error *error)
{
    enum status status = STATUS_NO_MEMORY;
    struct trace *t = calloc(1, sizeof *t);
    json_t *header = NULL;
    *out = NULL;
    if (!t)
        goto fail;
    t->path_copy = strdup(name);
    if (!t->path_copy)
        goto fail;
    t->path = t->path_copy;
    struct reader r = {.trace = t, .bytes = bytes, .bytes_count = bytes_count, .error = error};
    status = parse_header(&r, &header);
    t->json = header;
    if (status == STATUS_OK)
        status = read_format(&r, header);
    if (status == STATUS_OK)
        status = read_sizes(&r, header);
    if (status == STATUS_OK)
        status = read_requests(&r, header);
    if (status == STATUS_OK)
        status = read_blocks(&r, header);
    if (status != STATUS_OK)
        goto fail;
    *out = t;
    return STATUS_OK;
fail:
    trace_close(t);
    return error_set(error, status, "%s: no memory to read it", name);
}

/* All of a regular file. The caller frees *out. */
static enum status read_file(const char *path, uint8_t **out, uint64_t *bytes, struct error *error)
{
    struct stat info;
    enum status status = STATUS_OK;
    uint8_t *data = NULL;
    uint64_t done = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hang it */
    if (fd < 0)
        return error_set(error, errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO, "%s: %s", path,
                         strerror(errno));
    if (fstat(fd, &info) != 0)
        status = error_set(error, STATUS_IO, "%s: %s", path, strerror(errno));
    else if (!S_ISREG(info.st_mode))
        status = error_set(error, STATUS_INVALID, "%s: not a regular file", path);
    else if (!(data = malloc((size_t)info.st_size + 1)))
        status = error_set(error, STATUS_NO_MEMORY, "%s: no memory for its %lld bytes", path,
                           (long long)info.st_size);
    while (status == STATUS_OK && done < (uint64_t)info.st_size) {
        ssize_t n = read(fd, data + done, (size_t)((uint64_t)info.st_size - done));
        if (n > 0)
            done += (uint64_t)n;
        else if (n == 0)
            status = error_set(error, STATUS_IO, "%s: it ended after %llu of %lld bytes", path,
                               (unsigned long long)done, (long long)info.st_size);
        else if (errno != EINTR)
            status = error_set(error, STATUS_IO, "%s: %s", path, strerror(errno));
    }
    close(fd);
    if (status != STATUS_OK) {
        free(data);
        return status;
    }
    *out = data;
    *bytes = done;
    return STATUS_OK;
}

enum status trace_open(struct trace **out, const char *path, struct error *error)
{
    uint8_t *bytes = NULL;
    uint64_t count = 0;
    *out = NULL;
    enum status status = read_file(path, &bytes, &count, error);
    if (status == STATUS_OK)
        status = trace_parse(out, path, bytes, count, error);
    if (status == STATUS_OK)
        (*out)->bytes = bytes;
    else
        free(bytes);
    return status;
}

void trace_close(struct trace *t)
{
    if (!t)
        return;
    json_decref(t->json);
    free(t->requests);
    free(t->bytes);
    free(t->path_copy);
    free(t);
}

const struct trace_column *trace_find_column(const struct trace *t, const char *name,
                                             uint32_t distance)
{
    for (uint32_t i = 0; i < t->column_count; i++) {
        const struct trace_column *c = &t->columns[i];
        if (!strcmp(c->name, name) && (distance == TRACE_NONE || c->distance == distance))
            return c;
    }
    return NULL;
}
