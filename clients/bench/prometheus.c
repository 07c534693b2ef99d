#include "clients/bench/prometheus.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool ends_with(const char *text, size_t bytes, const char *end)
{
    size_t n = strlen(end);
    return bytes >= n && memcmp(text + bytes - n, end, n) == 0;
}

static size_t name_bytes(const char *name)
{
    return strcspn(name, "{ \t");
}

/* One label `key="value"` of at most `size` bytes: its length with the closing quote, or 0. */
static size_t label_bytes(const char *text, size_t size)
{
    const char *quote = memchr(text, '"', size);
    if (!quote)
        return 0;
    for (size_t i = (size_t)(quote - text) + 1; i < size; i++) {
        if (text[i] == '\\')
            i++;
        else if (text[i] == '"')
            return i + 1;
    }
    return 0;
}

/* Writes name and labels but `layer` to `out`; *used is what they take of the line. */
static bool read_name(const char *line, size_t size, char *out, size_t *used)
{
    size_t name = 0, at, written;
    while (name < size && line[name] != '{' && line[name] != ' ' && line[name] != '\t')
        name++;
    if (name == 0 || name >= size || name >= PROMETHEUS_NAME_BYTES_MAX - 3 ||
        ends_with(line, name, "_bucket"))
        return false;
    memcpy(out, line, name);
    written = at = name;
    char separator = '{';
    while (line[at] == '{' || line[at] == ',') {
        at++;
        if (at < size && line[at] == '}')
            break;
        size_t label = label_bytes(line + at, size - at);
        if (label == 0 || at + label >= size || written + label + 3 > PROMETHEUS_NAME_BYTES_MAX)
            return false;
        if (strncmp(line + at, "layer=", 6) != 0) {
            out[written++] = separator;
            memcpy(out + written, line + at, label);
            written += label;
            separator = ',';
        }
        at += label;
    }
    if (at > name && line[at] != '}')
        return false;
    at += at > name;
    if (separator == ',')
        out[written++] = '}';
    out[written] = '\0';
    *used = at;
    return true;
}

static struct prometheus_series *find(const struct prometheus *page, const char *name)
{
    for (uint32_t i = 0; i < page->count; i++)
        if (strcmp(page->series[i].name, name) == 0)
            return &page->series[i];
    return NULL;
}

static void take_line(struct prometheus *page, const char *line, size_t size)
{
    char name[PROMETHEUS_NAME_BYTES_MAX], number[64];
    size_t used;
    if (size < 8 || memcmp(line, "moering_", 8) != 0 || !read_name(line, size, name, &used))
        return;
    size_t rest = size - used < sizeof number - 1 ? size - used : sizeof number - 1;
    snprintf(number, sizeof number, "%.*s", (int)rest, line + used);
    char *end;
    double value = strtod(number, &end);
    if (end == number)
        return;
    struct prometheus_series *series = find(page, name);
    if (!series && page->count < PROMETHEUS_SERIES_MAX) {
        series = &page->series[page->count++];
        strcpy(series->name, name);
        series->value = 0;
    }
    if (series)
        series->value += value;
}

bool prometheus_open(struct prometheus *out, const char *text, size_t bytes)
{
    out->count = 0;
    out->series = malloc(PROMETHEUS_SERIES_MAX * sizeof *out->series);
    for (size_t at = 0; out->series && at < bytes;) {
        const char *end = memchr(text + at, '\n', bytes - at);
        size_t size = end ? (size_t)(end - text) - at : bytes - at;
        take_line(out, text + at, size);
        at += size + 1;
    }
    return out->series != NULL;
}

void prometheus_close(struct prometheus *page)
{
    free(page->series);
    page->series = NULL;
    page->count = 0;
}

const struct prometheus_series *prometheus_find(const struct prometheus *page, const char *name)
{
    return find(page, name);
}

void prometheus_subtract(struct prometheus *after, const struct prometheus *before)
{
    for (uint32_t i = 0; i < after->count; i++) {
        struct prometheus_series *series = &after->series[i];
        size_t n = name_bytes(series->name);
        const struct prometheus_series *old = find(before, series->name);
        if (old && (ends_with(series->name, n, "_total") || ends_with(series->name, n, "_sum") ||
                    ends_with(series->name, n, "_count")))
            series->value -= old->value;
    }
}
