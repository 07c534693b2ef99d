/* Which bytes are read for a page. Gate, up and down of an expert lie side by side in files written
 * for it, and in three far places in others; in the first case one long read does, in the second
 * three. A direct read begins and ends at multiples of the alignment, so it brings some bytes of
 * the neighbours along: at 4 KiB on either end less than 1 % of an expert of 1 MiB. They are
 * counted apart, so that "bytes read = misses x page bytes" can still be checked to the byte.
 *
 * Pure; the sealed store is all that is looked at. Any thread. */
#include "memory/io_run.h"

#include <string.h>

#include "memory/base/bytes.h"
#include "memory/base/check.h"

static bool is_multiple(uint64_t n, uint32_t align)
{
    return (n & (align - 1)) == 0;
}

static uint64_t align_down(uint64_t n, uint32_t align)
{
    return n & ~((uint64_t)align - 1);
}

/* May this part be read into its slot, every byte to where it stays? */
static bool goes_straight(const struct io_file *file, const struct page_part *part,
                          const uint8_t *slot)
{
    if (file->align == 1)
        return true;
    uintptr_t to = (uintptr_t)slot + part->slot_offset;
    return slot && is_multiple(part->offset, file->align) &&
           is_multiple(part->bytes, file->align) && is_multiple(to, file->align);
}

/* Does the part lie close enough behind the run to be read with it? */
static bool joins(const struct io_run *run, const struct page_part *part)
{
    if (!run->staged || run->file != part->file)
        return false;
    uint64_t gap = part->offset - (run->offset + run->needed);
    bool near = gap < run->align || (gap < IO_RUN_GAP_BYTES && gap <= part->bytes / 8);
    return near && part->offset + part->bytes - run->offset <= IO_RUN_BYTES_MAX;
}

/* The parts' numbers by file and offset; a page has few. */
static void sort_parts(const struct page *page, uint8_t order[PAGE_PARTS_MAX])
{
    for (uint32_t i = 0; i < page->parts; i++) {
        const struct page_part *part = &page->part[i];
        uint32_t at = i;
        for (; at > 0; at--) {
            const struct page_part *before = &page->part[order[at - 1]];
            if (before->file < part->file ||
                (before->file == part->file && before->offset < part->offset))
                break;
            order[at] = order[at - 1];
        }
        order[at] = (uint8_t)i;
    }
}

void io_runs_of(const struct io_files *files, const struct page *page, const uint8_t *slot,
                struct io_runs *out)
{
    static const struct io_file direct = {.fd = -1, .align = IO_FILES_ALIGN};
    bool lands = store_landing(files->store) != NULL;
    uint8_t order[PAGE_PARTS_MAX];
    struct io_run *run = NULL;
    sort_parts(page, order);
    out->count = 0;
    for (uint32_t i = 0; i < page->parts; i++) {
        const struct page_part *part = &page->part[order[i]];
        const struct io_file *file = files->at ? &files->at[part->file] : &direct;
        bool staged = lands || !goes_straight(file, part, slot);
        if (!run || !staged || !joins(run, part)) {
            run = &out->run[out->count++];
            *run = (struct io_run){.offset = align_down(part->offset, file->align),
                                   .file = part->file,
                                   .align = file->align,
                                   .staged = staged};
        }
        run->part[run->parts++] = order[i];
        run->needed = part->offset + part->bytes - run->offset;
        run->bytes = bytes_align_up(run->needed, run->align);
    }
}

uint64_t io_run_stage_bytes(const struct io_files *files)
{
    const struct store *store = files->store;
    uint64_t longest = 0;
    struct io_runs runs;
    for (page_id page = 0; page < store_pages(store); page++) {
        const struct page *p = store_page(store, page);
        for (uint32_t i = 0; i < p->parts; i++)
            CHECK_MSG(store_landing(store) || p->part[i].slot_bytes == p->part[i].bytes,
                      "part %u of page %u changes its length without a landing", i, page);
        io_runs_of(files, p, NULL, &runs);
        for (uint32_t i = 0; i < runs.count; i++)
            if (runs.run[i].staged && runs.run[i].bytes > longest)
                longest = runs.run[i].bytes;
    }
    return longest;
}

void io_run_land(const struct io_run *run, const struct store *store, page_id page, uint8_t *slot,
                 const uint8_t *stage)
{
    const struct page_landing *landing = store_landing(store);
    const struct page *p = store_page(store, page);
    for (uint32_t i = 0; i < run->parts; i++) {
        const struct page_part *part = &p->part[run->part[i]];
        const uint8_t *from = stage + (part->offset - run->offset);
        if (landing)
            landing->part(landing->self, page, run->part[i], slot + part->slot_offset, from);
        else
            memcpy(slot + part->slot_offset, from, part->bytes);
    }
}

uint64_t io_run_advance(const struct io_run *run, uint64_t from, uint64_t n)
{
    uint64_t to = from + n;
    return to >= run->needed ? run->bytes : align_down(to, run->align);
}

uint64_t io_run_page_bytes(const struct io_run *run, const struct page *page, uint64_t from,
                           uint64_t to)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < run->parts; i++) {
        const struct page_part *part = &page->part[run->part[i]];
        uint64_t begin = part->offset - run->offset, end = begin + part->bytes;
        begin = begin > from ? begin : from;
        end = end < to ? end : to;
        bytes += begin < end ? end - begin : 0;
    }
    return bytes;
}

uint32_t io_run_locate(const struct io_run *run, const struct page *page, uint64_t at,
                       uint64_t *offset)
{
    *offset = run->offset + at;
    uint32_t i = 0;
    while (i + 1 < run->parts &&
           page->part[run->part[i]].offset + page->part[run->part[i]].bytes <= *offset)
        i++;
    const struct page_part *part = &page->part[run->part[i]];
    if (*offset < part->offset)
        *offset = part->offset; /* it failed in the bytes before, which were read for its sake */
    return run->part[i];
}
