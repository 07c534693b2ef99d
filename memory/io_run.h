/* What is read for a page: runs, stretches of a file that are read in one go, each for one part or
 * for several that lie side by side. Pure arithmetic on a page and the alignment of its files. */
#ifndef MOERING_MEMORY_IO_RUN_H
#define MOERING_MEMORY_IO_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "memory/io_files.h"
#include "memory/page.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Parts with less than this between them, and less than an eighth of the part, are read in one go:
 * at 1 GB/s it takes 64 us, about what one more read costs. */
#define IO_RUN_GAP_BYTES ((uint64_t)64 << 10)
/* A run of several parts is no longer than this: it is read at full rate, and room to stage it in
 * is held for each that is under way. A part of its own may be longer. */
#define IO_RUN_BYTES_MAX ((uint64_t)8 << 20)

struct io_run {
    uint64_t offset;  /* of the file; a multiple of its alignment */
    uint64_t bytes;   /* read; a multiple of it too, so the end may lie beyond the file's */
    uint64_t needed;  /* of these; once they are there the run is */
    uint32_t file;
    uint32_t align;
    bool staged;      /* read into memory of its own and landed from there; false: into the slot,
                       * and then it has one part */
    uint8_t parts;
    uint8_t part[PAGE_PARTS_MAX]; /* by their offsets */
};

struct io_runs {
    uint32_t count;
    struct io_run run[PAGE_PARTS_MAX];
};

/* The runs of a page that goes to `slot` (NULL: anywhere). Without a landing, a part goes straight
 * into the slot where its file is read through the page cache, or where file and slot agree with
 * the alignment; such parts are runs of their own. */
void io_runs_of(const struct io_files *files, const struct page *page, const uint8_t *slot,
                struct io_runs *out);
/* The longest run that any page may have to be staged for; 0: none. CHECKs that without a landing
 * every part takes as many bytes in its slot as in its file. */
uint64_t io_run_stage_bytes(const struct io_files *files);

/* From staging into the slot: the landing of each part, or its bytes as they are. */
void io_run_land(const struct io_run *run, const struct store *store, page_id page, uint8_t *slot,
                 const uint8_t *stage);

/* A read call was made for the bytes of a run that begin at `from`, and gave n > 0. Where the next
 * one begins: a direct read that came short goes back to a multiple of the alignment. run->bytes:
 * everything needed is there. `from` itself: no progress, the file ends here. */
uint64_t io_run_advance(const struct io_run *run, uint64_t from, uint64_t n);
/* How many of the run's bytes from..to belong to parts; the others are rounding and gaps. */
uint64_t io_run_page_bytes(const struct io_run *run, const struct page *page, uint64_t from,
                           uint64_t to);
/* Where a read that failed at byte `at` of the run failed: the part, and the offset in its file. */
uint32_t io_run_locate(const struct io_run *run, const struct page *page, uint64_t at,
                       uint64_t *offset);

#ifdef __cplusplus
}
#endif
#endif
