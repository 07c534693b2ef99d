/* Lines become records as they are read, in any order; then the records are sorted by phase, tick
 * and layer, a gap or a repetition shows as a neighbour that does not fit, and the counts are laid
 * out in that order. Nothing is allocated by a number that a line states, only by what it holds. */
#include "engine/replay/load_log.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <jansson.h>

#include "memory/base/check.h"

struct record {
    uint64_t tick;
    uint32_t phase, layer, tokens, line;
    size_t at; /* in the pool of counts */
};

struct reader {
    const char *file;
    uint32_t line;
    struct load_log *log;
    struct record *records;
    size_t count, capacity;
    uint32_t *pool; /* [capacity x experts] */
    struct error *error;
};

/* ---- one line ---- */

static enum status refuse(struct reader *r, const char *field, const char *why)
{
    return error_set(r->error, STATUS_INVALID, "%s: line %u: %s %s", r->file, r->line, field, why);
}

/* An integer of the line in [min, max]. */
static enum status read_integer(struct reader *r, const json_t *line, const char *field,
                                uint64_t min, uint64_t max, uint64_t *out)
{
    const json_t *value = json_object_get(line, field);
    if (!json_is_integer(value))
        return refuse(r, field, value ? "is not an integer" : "is missing");
    json_int_t n = json_integer_value(value);
    if (n < 0 || (uint64_t)n < min || (uint64_t)n > max)
        return error_set(r->error, STATUS_INVALID, "%s: line %u: %s is %lld; it must be from %llu "
                         "to %llu", r->file, r->line, field, (long long)n, (unsigned long long)min,
                         (unsigned long long)max);
    *out = (uint64_t)n;
    return STATUS_OK;
}

static bool name_is_plain(const char *name, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (!((name[i] >= 'a' && name[i] <= 'z') || (name[i] >= 'A' && name[i] <= 'Z') ||
              (name[i] >= '0' && name[i] <= '9') || name[i] == '-' || name[i] == '_'))
            return false;
    return bytes > 0 && bytes < LOAD_LOG_PHASE_BYTES;
}

static enum status read_phase(struct reader *r, const json_t *line, uint32_t *phase)
{
    const json_t *value = json_object_get(line, "phase");
    struct load_log *log = r->log;
    if (!json_is_string(value))
        return refuse(r, "phase", value ? "is not a string" : "is missing");
    const char *name = json_string_value(value);
    if (!name_is_plain(name, json_string_length(value)))
        return refuse(r, "phase", "must be 1 to 31 letters, digits, '-' or '_'");
    for (*phase = 0; *phase < log->phase_count; ++*phase)
        if (strcmp(log->phases[*phase].name, name) == 0)
            return STATUS_OK;
    if (log->phase_count == LOAD_LOG_PHASES_MAX)
        return refuse(r, "phase", "is the ninth name; a log has at most 8");
    memcpy(log->phases[log->phase_count++].name, name, strlen(name) + 1);
    return STATUS_OK;
}

static enum status make_room(struct reader *r)
{
    if (r->count < r->capacity)
        return STATUS_OK;
    size_t capacity = r->capacity ? 2 * r->capacity : 64;
    struct record *records = realloc(r->records, capacity * sizeof *records);
    if (records)
        r->records = records;
    uint32_t *pool = realloc(r->pool, capacity * r->log->experts * sizeof *pool);
    if (pool)
        r->pool = pool;
    if (!records || !pool)
        return error_set(r->error, STATUS_NO_MEMORY, "%s: no memory for line %u", r->file, r->line);
    r->capacity = capacity;
    return STATUS_OK;
}

/* The list itself; r->log->experts is set by the first line. */
static enum status read_counts(struct reader *r, const json_t *line, uint64_t tokens,
                               uint32_t *counts)
{
    const json_t *list = json_object_get(line, "counts");
    uint64_t sum = 0;
    for (uint32_t e = 0; e < r->log->experts; e++) {
        const json_t *value = json_array_get(list, e);
        json_int_t n = json_is_integer(value) ? json_integer_value(value) : -1;
        if (n < 0 || n > UINT32_MAX)
            return error_set(r->error, STATUS_INVALID,
                             "%s: line %u: counts[%u] is not an integer from 0 to %u", r->file,
                             r->line, e, UINT32_MAX);
        counts[e] = (uint32_t)n;
        sum += counts[e];
    }
    if (sum != tokens)
        return error_set(r->error, STATUS_INVALID,
                         "%s: line %u: tokens is %llu; the counts sum to %llu", r->file, r->line,
                         (unsigned long long)tokens, (unsigned long long)sum);
    return STATUS_OK;
}

static enum status check_experts(struct reader *r, const json_t *line)
{
    const json_t *list = json_object_get(line, "counts");
    if (!json_is_array(list))
        return refuse(r, "counts", list ? "is not a list" : "is missing");
    size_t n = json_array_size(list);
    if (r->log->experts == 0 && n >= 1 && n <= LOAD_LOG_EXPERTS_MAX)
        r->log->experts = (uint32_t)n;
    if (r->log->experts == 0)
        return error_set(r->error, STATUS_INVALID,
                         "%s: line %u: counts has %zu numbers; a model has 1 to %u experts",
                         r->file, r->line, n, LOAD_LOG_EXPERTS_MAX);
    if (n != r->log->experts)
        return error_set(r->error, STATUS_INVALID,
                         "%s: line %u: counts has %zu numbers; the lines before have %u", r->file,
                         r->line, n, r->log->experts);
    return STATUS_OK;
}

static enum status read_object(struct reader *r, const json_t *line)
{
    uint64_t tick = 0, layer = 0, tokens = 0;
    uint32_t phase = 0;
    if (!json_is_object(line))
        return refuse(r, "it", "is not an object");
    enum status status = read_integer(r, line, "tick", 0, INT64_MAX, &tick);
    if (status == STATUS_OK)
        status = read_phase(r, line, &phase);
    if (status == STATUS_OK)
        status = read_integer(r, line, "layer", 0, LOAD_LOG_LAYERS_MAX - 1, &layer);
    if (status == STATUS_OK)
        status = read_integer(r, line, "tokens", 1, UINT32_MAX, &tokens);
    if (status == STATUS_OK)
        status = check_experts(r, line);
    if (status == STATUS_OK)
        status = make_room(r);
    if (status != STATUS_OK)
        return status;
    size_t at = r->count * r->log->experts;
    status = read_counts(r, line, tokens, r->pool + at);
    if (status != STATUS_OK)
        return status;
    r->records[r->count++] = (struct record){
        tick, phase, (uint32_t)layer, (uint32_t)tokens, r->line, at};
    if (layer + 1 > r->log->layers)
        r->log->layers = (uint32_t)layer + 1;
    return STATUS_OK;
}

static bool is_blank(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (text[i] != ' ' && text[i] != '\t' && text[i] != '\r')
            return false;
    return true;
}

static enum status read_line(struct reader *r, const char *text, size_t bytes)
{
    json_error_t cause;
    if (is_blank(text, bytes))
        return STATUS_OK;
    json_t *line = json_loadb(text, bytes, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &cause);
    if (!line && json_error_code(&cause) == json_error_out_of_memory)
        return error_set(r->error, STATUS_NO_MEMORY, "%s: no memory for line %u", r->file, r->line);
    if (!line) {
        for (char *c = cause.text; *c; c++) /* it quotes the file, which may be no text at all */
            *c = *c < 0x20 || *c > 0x7e ? '?' : *c;
        return error_set(r->error, STATUS_INVALID, "%s: line %u: malformed JSON: %s", r->file,
                         r->line, cause.text);
    }
    enum status status = read_object(r, line);
    json_decref(line);
    return status;
}

/* ---- the whole ---- */

static int by_place(const void *a, const void *b)
{
    const struct record *x = a, *y = b;
    if (x->phase != y->phase)
        return x->phase < y->phase ? -1 : 1;
    if (x->tick != y->tick)
        return x->tick < y->tick ? -1 : 1;
    if (x->layer != y->layer)
        return x->layer < y->layer ? -1 : 1;
    return x->line < y->line ? -1 : x->line > y->line;
}

static enum status missing(struct reader *r, const struct record *of, uint32_t layer)
{
    return error_set(r->error, STATUS_INVALID,
                     "%s: layer: tick %llu of phase %s (line %u) has no line for layer %u of %u",
                     r->file, (unsigned long long)of->tick, r->log->phases[of->phase].name,
                     of->line, layer, r->log->layers);
}

/* Sorted records: every tick of every phase has each layer once. */
static enum status check_complete(struct reader *r)
{
    uint32_t expected = 0; /* layer of the next record, 0 at the first of a tick */
    for (size_t i = 0; i < r->count; i++) {
        const struct record *x = &r->records[i], *left = i ? x - 1 : x;
        bool same = x->phase == left->phase && x->tick == left->tick;
        if (i && same && x->layer == left->layer)
            return error_set(r->error, STATUS_INVALID,
                             "%s: line %u: tick %llu of phase %s, layer %u is in line %u already",
                             r->file, x->line, (unsigned long long)x->tick,
                             r->log->phases[x->phase].name, x->layer, left->line);
        if (expected && !same)
            return missing(r, left, expected);
        if (x->layer != expected)
            return missing(r, x, expected);
        expected = expected + 1 < r->log->layers ? expected + 1 : 0;
    }
    return expected ? missing(r, &r->records[r->count - 1], expected) : STATUS_OK;
}

static enum status lay_out(struct reader *r)
{
    const size_t layers = r->log->layers, experts = r->log->experts;
    size_t i = 0;
    for (uint32_t p = 0; p < r->log->phase_count; p++) {
        struct load_log_phase *phase = &r->log->phases[p];
        size_t first = i;
        while (i < r->count && r->records[i].phase == p)
            i++;
        phase->ticks = (uint32_t)((i - first) / layers);
        uint64_t *tick = calloc(phase->ticks, sizeof *tick);
        uint32_t *tokens = calloc(i - first, sizeof *tokens);
        uint32_t *counts = calloc((i - first) * experts, sizeof *counts);
        phase->tick = tick;
        phase->tokens = tokens;
        phase->counts = counts;
        if (!tick || !tokens || !counts)
            return error_set(r->error, STATUS_NO_MEMORY, "%s: no memory for %zu lines", r->file,
                             r->count);
        for (size_t j = first; j < i; j++) {
            const struct record *x = &r->records[j];
            tick[(j - first) / layers] = x->tick;
            tokens[j - first] = x->tokens;
            memcpy(counts + (j - first) * experts, r->pool + x->at, experts * sizeof *counts);
        }
    }
    return STATUS_OK;
}

static enum status read_lines(struct reader *r, const char *text, size_t bytes)
{
    size_t at = 0;
    while (at < bytes) {
        const char *end = memchr(text + at, '\n', bytes - at);
        size_t length = end ? (size_t)(end - text) - at : bytes - at;
        r->line++;
        enum status status = read_line(r, text + at, length);
        if (status != STATUS_OK)
            return status;
        at += length + 1;
    }
    if (r->count == 0)
        return error_set(r->error, STATUS_INVALID, "%s: no line of loads in it", r->file);
    return STATUS_OK;
}

enum status load_log_parse(struct load_log **out, const char *file, const char *text, size_t bytes,
                           struct error *error)
{
    struct reader r = {.file = file, .error = error};
    *out = NULL;
    r.log = calloc(1, sizeof *r.log);
    if (!r.log)
        return error_set(error, STATUS_NO_MEMORY, "%s: no memory to read it", file);
    enum status status = read_lines(&r, text, bytes);
    if (status == STATUS_OK) {
        qsort(r.records, r.count, sizeof *r.records, by_place);
        status = check_complete(&r);
    }
    if (status == STATUS_OK)
        status = lay_out(&r);
    free(r.records);
    free(r.pool);
    if (status != STATUS_OK) {
        load_log_close(r.log);
        return status;
    }
    *out = r.log;
    return STATUS_OK;
}

enum status load_log_read(struct load_log **out, const char *path, struct error *error)
{
    char *text = NULL;
    struct stat info;
    enum status status;
    *out = NULL;
    FILE *file = fopen(path, "rb");
    if (!file)
        return error_set(error, errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO, "%s: %s", path,
                         strerror(errno));
    if (fstat(fileno(file), &info) != 0)
        status = error_set(error, STATUS_IO, "%s: %s", path, strerror(errno));
    else if (!S_ISREG(info.st_mode))
        status = error_set(error, STATUS_INVALID, "%s: not a regular file", path);
    else if ((uint64_t)info.st_size > LOAD_LOG_BYTES_MAX)
        status = error_set(error, STATUS_INVALID, "%s: %lld bytes are more than the %llu allowed",
                           path, (long long)info.st_size, (unsigned long long)LOAD_LOG_BYTES_MAX);
    else if (!(text = malloc((size_t)info.st_size + 1)))
        status = error_set(error, STATUS_NO_MEMORY, "%s: no memory to read it", path);
    else if (fread(text, 1, (size_t)info.st_size, file) != (size_t)info.st_size)
        status = error_set(error, STATUS_IO, "%s: cannot be read to its end", path);
    else
        status = load_log_parse(out, path, text, (size_t)info.st_size, error);
    free(text);
    fclose(file);
    return status;
}

void load_log_close(struct load_log *log)
{
    if (!log)
        return;
    for (uint32_t p = 0; p < log->phase_count; p++) {
        free((void *)log->phases[p].tick);
        free((void *)log->phases[p].tokens);
        free((void *)log->phases[p].counts);
    }
    free(log);
}

const struct load_log_phase *load_log_find(const struct load_log *log, const char *name)
{
    const struct load_log_phase *found = NULL;
    for (uint32_t p = 0; p < log->phase_count; p++) {
        const struct load_log_phase *phase = &log->phases[p];
        if (name ? strcmp(phase->name, name) == 0 : !found || phase->ticks > found->ticks)
            found = phase;
    }
    return found;
}

void load_log_shares(const struct load_log *log, const struct load_log_phase *phase, float *share)
{
    const size_t rows = (size_t)phase->ticks * log->layers;
    for (size_t row = 0; row < rows; row++)
        for (size_t e = 0; e < log->experts; e++) {
            size_t at = row * log->experts + e;
            share[at] = (float)((double)phase->counts[at] / phase->tokens[row]);
        }
}
