/* Metadata and the textual parts of gRPC headers: an ordered list of name/value pairs, base64 for
 * names ending in "-bin", percent-encoding of grpc-message, grpc-timeout. Text in, text out; no IO.
 *
 * The list keeps all text in one block and refers to it by offset, so a list of twenty headers is
 * two allocations. Any thread; one list belongs to one. */
#ifndef MOERING_SERVER_GRPC_GRPC_METADATA_H
#define MOERING_SERVER_GRPC_GRPC_METADATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct grpc_metadata_entry {
    uint32_t name, name_bytes;   /* offsets into text; both parts end with a NUL besides */
    uint32_t value, value_bytes;
};

struct grpc_metadata {
    struct grpc_metadata_entry *entries;
    uint32_t count, capacity;
    char *text;
    uint32_t text_bytes, text_capacity_bytes;
};

/* Zero-initialised is empty. Frees everything; accepts an empty one. */
void grpc_metadata_reset(struct grpc_metadata *metadata);
/* Appends a pair as it is. NO_MEMORY. */
enum status grpc_metadata_add(struct grpc_metadata *metadata, const char *name, size_t name_bytes,
                              const char *value, size_t value_bytes);
/* Appends a header as received: a "-bin" value is split at commas and each part decoded from
 * base64, padded or not. INVALID: not base64; NO_MEMORY. */
enum status grpc_metadata_receive(struct grpc_metadata *metadata, const char *name,
                                  size_t name_bytes, const char *value, size_t value_bytes);
/* Appends a pair of the application, encoded for the wire ("-bin" to unpadded base64).
 * INVALID: a name that is not [0-9a-z_.-]+ or is reserved ("grpc-..." and HTTP's own), a value with
 * bytes outside 0x20-0x7e; NO_MEMORY. */
enum status grpc_metadata_send(struct grpc_metadata *metadata, const char *name, const void *value,
                               size_t value_bytes);
/* The i-th value of `name`, or NULL. Valid until the list changes. `bytes` may be NULL. */
const char *grpc_metadata_find(const struct grpc_metadata *metadata, const char *name, unsigned i,
                               size_t *bytes);
const char *grpc_metadata_name(const struct grpc_metadata *metadata, uint32_t i, size_t *bytes);
const char *grpc_metadata_value(const struct grpc_metadata *metadata, uint32_t i, size_t *bytes);

/* grpc-timeout: 1 to 8 digits and one of H M S m u n. Longer than a uint64_t of nanoseconds is
 * UINT64_MAX. INVALID: anything else. */
enum status grpc_timeout_parse(const char *text, size_t bytes, uint64_t *timeout_ns);
/* The text of grpc-message: `%` and all bytes outside 0x20-0x7e become %XX. Returns the length
 * written; `out` has room for 3 * bytes. */
size_t grpc_percent_encode(const char *text, size_t bytes, char *out);
/* Unpadded base64. Returns the length written; `out` has room for (bytes * 4 + 2) / 3. */
size_t grpc_base64_encode(const void *bytes, size_t size, char *out);
/* Padded or unpadded. `out` has room for bytes * 3 / 4. False: not base64. */
bool grpc_base64_decode(const char *text, size_t bytes, void *out, size_t *out_bytes);
/* "application/grpc", "application/grpc+proto", either with ";parameters". */
bool grpc_content_type_ok(const char *text, size_t bytes);
/* True when the comma-separated list `text` holds `token`. */
bool grpc_list_has(const char *text, size_t bytes, const char *token);

#ifdef __cplusplus
}
#endif
#endif
