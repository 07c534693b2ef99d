/* The storage tier: which bytes of which file make up a page. Complete by definition, so it is not
 * a cache: it never evicts and holds no weights. Built once at open, immutable after store_seal.
 *
 * Size classes: a model of mixed quantisation has a handful of page sizes. Every distinct size,
 * rounded up to 4 KiB, is a class with slots of its own in each tier. Packing pages of many sizes
 * into one ring would fragment it; equal slots of the largest size would waste up to a third. */
#ifndef MOERING_MEMORY_STORE_H
#define MOERING_MEMORY_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "memory/base/status.h"
#include "memory/page.h"

#ifdef __cplusplus
extern "C" {
#endif

#define STORE_CLASSES_MAX 16

struct store;

enum status store_open(struct store **out, struct error *error);
void store_close(struct store *store);

/* Opens a file for reading and keeps it open. IO, NOT_FOUND: the error names the path. */
enum status store_add_file(struct store *store, const char *path, uint32_t *file,
                           struct error *error);
/* Adds the page numbered store_pages(); its parts' file, offset, bytes and slot_bytes are given,
 * slot_offset is filled in the order given. INVALID: a part beyond the end of its file, empty, or
 * overlapping another part of the page; too many parts. The error names the file and the bytes. */
enum status store_add_page(struct store *store, const struct page_part *parts, uint32_t part_count,
                           page_id *page, struct error *error);
/* Before memory_open. `part` NULL, as at open: none; then every part has as many bytes in its slot
 * as in its file (memory_open CHECKs it). */
void store_set_landing(struct store *store, struct page_landing landing);
const struct page_landing *store_landing(const struct store *store); /* NULL: none */
/* Assigns size classes. INVALID: more than STORE_CLASSES_MAX distinct sizes. */
enum status store_seal(struct store *store, struct error *error);

uint32_t store_pages(const struct store *store);
const struct page *store_page(const struct store *store, page_id page);
uint32_t store_classes(const struct store *store);
uint64_t store_class_slot_bytes(const struct store *store, uint32_t size_class); /* of 4 KiB */
uint32_t store_class_pages(const struct store *store, uint32_t size_class);
uint64_t store_total_slot_bytes(const struct store *store); /* everything resident */
uint32_t store_files(const struct store *store);
int store_fd(const struct store *store, uint32_t file);
const char *store_path(const struct store *store, uint32_t file);

#ifdef __cplusplus
}
#endif
#endif
