/* The report with plots: one HTML file that needs nothing else, neither network nor fonts. Its data
 * is one JSON element that a script draws; the script writes text as text (never as markup), and
 * '<' in the JSON is escaped, so that names, errors and models may hold anything. Reduced in C to
 * what can be seen: 200 quantiles, 300 bins, some thousand requests. */
#ifndef MOERING_CLIENTS_BENCH_REPORT_H
#define MOERING_CLIENTS_BENCH_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "clients/bench/result.h"
#include "clients/program/fault.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { REPORT_BINS = 300, REPORT_QUANTILES = 200, REPORT_REQUESTS_MAX = 2000 };

/* The page around the data (report_page.c). */
extern const char *const report_page_head, *const report_page_tail;

/* results[count], count >= 1; more than one: points of a sweep. False: out of memory, or the file
 * cannot be written. */
bool report_write(const struct result *results, uint32_t count, const char *server, FILE *out,
                  struct fault *fault);

#ifdef __cplusplus
}
#endif
#endif
