/* Reads every expert page of a file that was written by expert and compares its checksum. */
#include <stdlib.h>

#include "engine/load/crc32c.h"
#include "engine/load/gguf_value.h"
#include "engine/load/model_file.h"
#include "engine/model/convert.h"
#include "engine/model/convert_header.h"
#include "engine/model/model.h"

static enum status read_page(const struct store *store, const struct page *page, uint8_t *to,
                             uint32_t *crc, struct error *error)
{
    *crc = 0;
    for (uint32_t i = 0; i < page->parts; i++) {
        const struct page_part *part = &page->part[i];
        const struct model_file file = {.fd = store_fd(store, part->file)};
        enum status status = model_file_read(&file, store_path(store, part->file), part->offset,
                                             part->bytes, to, error);
        if (status != STATUS_OK)
            return status;
        *crc = crc32c(*crc, to, part->bytes);
    }
    return STATUS_OK;
}

static uint64_t largest_part(const struct store *store)
{
    uint64_t largest = 0;
    for (page_id p = 0; p < store_pages(store); p++)
        for (uint32_t i = 0; i < store_page(store, p)->parts; i++)
            if (store_page(store, p)->part[i].bytes > largest)
                largest = store_page(store, p)->part[i].bytes;
    return largest;
}

static enum status compare(const struct checkpoint *checkpoint, const struct store *store,
                           const struct hparams *h, const int32_t *want, uint64_t count,
                           struct error *error)
{
    if (count != store_pages(store))
        return error_set(error, STATUS_INVALID, "%s: \"%s\" has %llu checksums for %u pages",
                         checkpoint_path(checkpoint), CONVERT_CRC_KEY, (unsigned long long)count,
                         store_pages(store));
    uint8_t *bytes = malloc(largest_part(store));
    enum status status = bytes ? STATUS_OK
                               : error_set(error, STATUS_NO_MEMORY, "no memory for a page");
    for (page_id p = 0; p < store_pages(store) && status == STATUS_OK; p++) {
        uint32_t crc;
        status = read_page(store, store_page(store, p), bytes, &crc, error);
        if (status == STATUS_OK && crc != (uint32_t)want[p])
            status = error_set(error, STATUS_INVALID,
                               "%s: layer %u, expert %u: checksum %08x, but its bytes give %08x",
                               checkpoint_path(checkpoint), p / h->experts, p % h->experts,
                               (uint32_t)want[p], crc);
    }
    free(bytes);
    return status;
}

enum status convert_verify(const struct checkpoint *checkpoint, uint64_t *pages,
                           struct error *error)
{
    const struct gguf *gguf = checkpoint_gguf(checkpoint);
    const int32_t *want;
    struct store *store = NULL;
    struct model_plan plan;
    if (!gguf || !gguf_find(gguf, CONVERT_CRC_KEY))
        return error_set(error, STATUS_NOT_FOUND,
                         "%s: has no checksums; `moering repack` writes files with them",
                         checkpoint_path(checkpoint));
    enum status status = gguf_value_i32_array(gguf, CONVERT_CRC_KEY, true, &want, pages, error);
    if (status == STATUS_OK)
        status = store_open(&store, error);
    if (status == STATUS_OK)
        status = model_plan(checkpoint, store, DTYPE_COUNT, &plan, error);
    if (status == STATUS_OK)
        status = compare(checkpoint, store, &plan.hparams, want, *pages, error);
    store_close(store);
    return status;
}
