/* JSON from outside, parsed strictly: names used twice, NaN and Infinity literals, numbers that do
 * not fit, invalid UTF-8 and text after the end are refused. Only files of this folder that hold
 * JSON include this header (it shows jansson). */
#ifndef MOERING_ENGINE_LOAD_JSON_TEXT_H
#define MOERING_ENGINE_LOAD_JSON_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Parses an object. `file` is its name for errors. The caller owns *out (json_decref).
 * INVALID: malformed, or the top level is not an object; the error names the file, the line and,
 * where there is one, the key whose value could not be read. */
enum status json_text_parse(json_t **out, const char *file, const char *text, size_t bytes,
                            struct error *error);
/* The same from a file of at most bytes_max. Also NOT_FOUND, IO, NO_MEMORY. */
enum status json_text_read(json_t **out, const char *path, uint64_t bytes_max,
                           struct error *error);

/* A value as it looks in the file, cut to the room there is, without control characters: for
 * errors. Returns `out`. */
#define JSON_TEXT_SHOWN_BYTES 64
const char *json_text_show(const json_t *value, char out[JSON_TEXT_SHOWN_BYTES]);
/* "a number", "a string", ...: what a value of the wrong type is. */
const char *json_text_type(const json_t *value);

#ifdef __cplusplus
}
#endif
#endif
