/* A page is the unit that travels: the weights of one expert of one layer. memory/ knows it as a
 * number and a few stretches of files; what the numbers mean is engine/paging's business. */
#ifndef MOERING_MEMORY_PAGE_H
#define MOERING_MEMORY_PAGE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef uint32_t page_id; /* dense: 0 .. store_pages() - 1 */
#define PAGE_NONE UINT32_MAX
#define PAGE_PARTS_MAX 8
#define PAGE_PART_ALIGN 64 /* every part begins at a multiple of this in its slot */

/* One stretch of a checkpoint file, and where it lies in a slot once loaded. */
struct page_part {
    uint32_t file;        /* index of store_add_file */
    uint32_t slot_offset; /* bytes from the start of the slot; set by the store */
    uint64_t offset;      /* bytes from the start of the file */
    uint64_t bytes;       /* in the file */
    uint64_t slot_bytes;  /* in the slot; 0 given to the store: the same. Others need a landing */
};

/* What becomes of a part's bytes on their way into a slot: another order, another number format.
 * Without one they are what they are in the file. Called for each part of each page that is read,
 * on the thread that reads, at the same time for different pages; `from` and `to` do not overlap,
 * `from` has no alignment, `to` has PAGE_PART_ALIGN. Owned by the caller of store_set_landing,
 * which outlives the store. */
struct page_landing {
    void *self;
    void (*part)(void *self, page_id page, uint32_t part, uint8_t *to, const uint8_t *from);
};

struct page {
    uint32_t size_class; /* pages of one class fit the same slots */
    uint32_t parts;
    uint64_t slot_bytes; /* room it takes in a slot, padding included */
    uint64_t file_bytes; /* what is read for it: the sum of its parts */
    struct page_part part[PAGE_PARTS_MAX];
};

#ifdef __cplusplus
}
#endif
#endif
