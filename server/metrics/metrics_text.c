#include "server/metrics/metrics_text.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"

static const char total[] = "_total";

void metrics_text_format(char out[METRICS_NUMBER_BYTES], double value)
{
    if (isnan(value)) {
        strcpy(out, "NaN");
        return;
    }
    if (isinf(value)) {
        strcpy(out, value > 0 ? "+Inf" : "-Inf");
        return;
    }
    if (value == floor(value) && fabs(value) < 1e15) {
        snprintf(out, METRICS_NUMBER_BYTES, "%.0f", value);
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(out, METRICS_NUMBER_BYTES, "%.*g", digits, value);
        if (strtod(out, NULL) == value)
            return;
    }
}

/* Always to be seen as a float: "1.0", "1e+06". */
static void format_bound(char out[METRICS_NUMBER_BYTES], double value)
{
    if (value == floor(value) && fabs(value) < 1e6)
        snprintf(out, METRICS_NUMBER_BYTES, "%.1f", value);
    else if (value == floor(value) && fabs(value) < 1e15)
        snprintf(out, METRICS_NUMBER_BYTES, "%g", value);
    else
        metrics_text_format(out, value);
}

static void plain(struct metrics_text *t, const char *text)
{
    jsonw_plain(&t->out, text, strlen(text));
}

static void escaped(struct metrics_text *t, const char *text, bool quotes)
{
    for (; *text; text++) {
        if (*text == '\n')
            plain(t, "\\n");
        else if (*text == '\\')
            plain(t, "\\\\");
        else if (*text == '"' && quotes)
            plain(t, "\\\"");
        else
            jsonw_plain(&t->out, text, 1);
    }
}

void metrics_text_begin(struct metrics_text *t, bool openmetrics)
{
    jsonw_reset(&t->out);
    t->openmetrics = openmetrics;
    t->common = NULL;
    t->common_count = 0;
    t->family = NULL;
}

void metrics_text_family(struct metrics_text *t, const char *name, enum metrics_type type,
                         const char *help)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    size_t bytes = strlen(name), suffix = sizeof total - 1;
    if (type == METRICS_COUNTER) {
        CHECK(bytes > suffix && strcmp(name + bytes - suffix, total) == 0);
        bytes -= t->openmetrics ? suffix : 0;
    }
    plain(t, "# HELP ");
    jsonw_plain(&t->out, name, bytes);
    plain(t, " ");
    escaped(t, help, t->openmetrics);
    plain(t, "\n# TYPE ");
    jsonw_plain(&t->out, name, bytes);
    plain(t, " ");
    plain(t, types[type]);
    plain(t, "\n");
    t->family = name;
}

static void put_labels(struct metrics_text *t, const struct metrics_label *labels, uint32_t count,
                       const char **separator)
{
    for (uint32_t i = 0; i < count; i++) {
        plain(t, *separator);
        plain(t, labels[i].name);
        plain(t, "=\"");
        escaped(t, labels[i].value, true);
        plain(t, "\"");
        *separator = ",";
    }
}

static void sample(struct metrics_text *t, const char *suffix, const struct metrics_label *labels,
                   uint32_t count, const char *value)
{
    const char *separator = "{";
    plain(t, t->family);
    plain(t, suffix);
    put_labels(t, t->common, t->common_count, &separator);
    put_labels(t, labels, count, &separator);
    plain(t, *separator == ',' ? "} " : " ");
    plain(t, value);
    plain(t, "\n");
}

static void sample_count(struct metrics_text *t, const char *suffix,
                         const struct metrics_label *labels, uint32_t count, uint64_t value)
{
    char digits[METRICS_NUMBER_BYTES];
    snprintf(digits, sizeof digits, "%" PRIu64, value);
    sample(t, suffix, labels, count, digits);
}

void metrics_text_count(struct metrics_text *t, const struct metrics_label *labels, uint32_t count,
                        uint64_t value)
{
    sample_count(t, "", labels, count, value);
}

void metrics_text_number(struct metrics_text *t, const struct metrics_label *labels, uint32_t count,
                         double value)
{
    char digits[METRICS_NUMBER_BYTES];
    metrics_text_format(digits, value);
    sample(t, "", labels, count, digits);
}

void metrics_text_buckets(struct metrics_text *t, const double *bounds, uint32_t bounds_count,
                          const uint64_t *in, double sum)
{
    char text[METRICS_NUMBER_BYTES];
    uint64_t below = 0;
    for (uint32_t i = 0; i <= bounds_count; i++) {
        const struct metrics_label le = {"le", text};
        format_bound(text, i < bounds_count ? bounds[i] : (double)INFINITY);
        below += in[i];
        sample_count(t, "_bucket", &le, 1, below);
    }
    metrics_text_format(text, sum);
    sample(t, "_sum", NULL, 0, text);
    sample_count(t, "_count", NULL, 0, below);
}

void metrics_text_histogram(struct metrics_text *t, const struct histogram *h)
{
    metrics_text_buckets(t, h->bounds, h->count, h->in, h->sum);
}

void metrics_text_end(struct metrics_text *t)
{
    if (t->openmetrics)
        plain(t, "# EOF\n");
}

void metrics_text_close(struct metrics_text *t)
{
    jsonw_close(&t->out);
}
