/* The table of pages and the files they lie in. Everything a checkpoint could lie about is checked
 * while the table is built (bounds, overlap, sizes), so that the copies that follow need no checks:
 * after store_seal the table is immutable and IO threads read it without a lock.
 *
 * Owns the descriptors. Refuses to look at the bytes: formats are engine/load's business. Files are
 * held open so that a file replaced by another of its name keeps serving the old, right bytes. */
#include "memory/store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory/base/bytes.h"
#include "memory/base/check.h"

#define STORE_SLOT_ALIGN 4096

struct store_file {
    char *path;
    int fd;
    uint64_t bytes; /* when it was added */
};

struct store_class {
    uint64_t slot_bytes;
    uint32_t pages;
};

struct store {
    bool sealed;
    struct store_file *file;
    uint32_t files, files_room;
    struct page *page;
    uint32_t pages, pages_room;
    struct store_class size_class[STORE_CLASSES_MAX]; /* by ascending slot_bytes */
    uint32_t classes;
    uint64_t total_slot_bytes;
    struct page_landing landing;
};

enum status store_open(struct store **out, struct error *error)
{
    *out = calloc(1, sizeof **out);
    return *out ? STATUS_OK : error_set(error, STATUS_NO_MEMORY, "cannot make a page store");
}

void store_close(struct store *store)
{
    if (!store)
        return;
    for (uint32_t i = 0; i < store->files; i++) {
        close(store->file[i].fd);
        free(store->file[i].path);
    }
    free(store->file);
    free(store->page);
    free(store);
}

/* The array with room for one more item, doubled where it was full. NULL: no memory, and the array
 * is as before. */
static void *grow(void *items, uint32_t count, uint32_t *room, size_t item_bytes)
{
    if (count < *room)
        return items;
    uint32_t wanted = *room ? *room * 2 : 16;
    void *larger = wanted > *room ? reallocarray(items, wanted, item_bytes) : NULL;
    if (larger)
        *room = wanted;
    return larger;
}

enum status store_add_file(struct store *store, const char *path, uint32_t *file,
                           struct error *error)
{
    CHECK(!store->sealed);
    enum status status = STATUS_NO_MEMORY;
    char *path_copy = NULL;
    int fd = -1;
    struct store_file *files =
        grow(store->file, store->files, &store->files_room, sizeof *store->file);
    if (files)
        store->file = files;
    if (!files || !(path_copy = strdup(path))) {
        error_set(error, status, "cannot add '%s' to the page store: out of memory", path);
        goto fail;
    }
    do
        fd = open(path, O_RDONLY | O_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        status = errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO;
        error_set(error, status, "cannot open '%s': %s", path, strerror(errno));
        goto fail;
    }
    struct stat info;
    if (fstat(fd, &info) != 0) {
        status = error_set(error, STATUS_IO, "cannot stat '%s': %s", path, strerror(errno));
        goto fail;
    }
    if (!S_ISREG(info.st_mode)) {
        status = error_set(error, STATUS_IO, "'%s' is not a regular file", path);
        goto fail;
    }
    store->file[store->files] =
        (struct store_file){.path = path_copy, .fd = fd, .bytes = (uint64_t)info.st_size};
    *file = store->files++;
    return STATUS_OK;
fail:
    if (fd >= 0)
        close(fd);
    free(path_copy);
    return status;
}

static bool overlap(const struct page_part *a, const struct page_part *b)
{
    return a->file == b->file && a->offset < b->offset + b->bytes &&
           b->offset < a->offset + a->bytes;
}

/* Part `at` of `page`: its bounds, and that it shares no byte with the parts before it. */
static enum status check_part(const struct store *store, const struct page *page, uint32_t at,
                              struct error *error)
{
    const struct page_part *part = &page->part[at];
    CHECK(part->file < store->files);
    const struct store_file *file = &store->file[part->file];
    uint64_t end;
    if (part->bytes == 0)
        return error_set(error, STATUS_INVALID, "'%s': part %u of page %u is empty", file->path, at,
                         store->pages);
    if (!bytes_add(part->offset, part->bytes, &end) || end > file->bytes)
        return error_set(error, STATUS_INVALID,
                         "'%s': part %u of page %u, %" PRIu64 " bytes at offset %" PRIu64
                         ", ends beyond the file's %" PRIu64 " bytes",
                         file->path, at, store->pages, part->bytes, part->offset, file->bytes);
    for (uint32_t i = 0; i < at; i++)
        if (overlap(&page->part[i], part))
            return error_set(error, STATUS_INVALID,
                             "'%s': part %u of page %u, %" PRIu64 " bytes at offset %" PRIu64
                             ", overlaps part %u, %" PRIu64 " bytes at offset %" PRIu64,
                             file->path, at, store->pages, part->bytes, part->offset, i,
                             page->part[i].bytes, page->part[i].offset);
    return STATUS_OK;
}

enum status store_add_page(struct store *store, const struct page_part *parts, uint32_t part_count,
                           page_id *page_out, struct error *error)
{
    CHECK(!store->sealed);
    if (part_count == 0 || part_count > PAGE_PARTS_MAX)
        return error_set(error, STATUS_INVALID, "page %u has %u parts; 1 to %d are possible",
                         store->pages, part_count, PAGE_PARTS_MAX);
    struct page page = {.parts = part_count};
    for (uint32_t i = 0; i < part_count; i++) {
        page.part[i] = parts[i];
        enum status status = check_part(store, &page, i, error);
        if (status)
            return status;
        /* Cannot wrap: eight parts, each within a file, whose size is below 2^63. */
        page.file_bytes += parts[i].bytes;
        struct page_part *part = &page.part[i];
        if (part->slot_bytes == 0)
            part->slot_bytes = part->bytes;
        if (part->slot_bytes > UINT32_MAX ||
            page.slot_bytes + part->slot_bytes > UINT32_MAX - PAGE_PART_ALIGN)
            return error_set(error, STATUS_INVALID,
                             "'%s': page %u exceeds 4 GiB with part %u of %" PRIu64 " bytes",
                             store->file[part->file].path, store->pages, i, part->slot_bytes);
        part->slot_offset = (uint32_t)page.slot_bytes;
        page.slot_bytes += bytes_align_up(part->slot_bytes, PAGE_PART_ALIGN);
    }
    struct page *pages =
        store->pages == PAGE_NONE
            ? NULL
            : grow(store->page, store->pages, &store->pages_room, sizeof *store->page);
    if (!pages)
        return error_set(error, STATUS_NO_MEMORY, "no memory for page %u", store->pages);
    store->page = pages;
    store->page[store->pages] = page;
    *page_out = store->pages++;
    return STATUS_OK;
}

/* Finds or inserts the class of a size, keeping the classes sorted. False: too many. */
static bool add_class(struct store *store, uint64_t slot_bytes)
{
    uint32_t at = 0;
    while (at < store->classes && store->size_class[at].slot_bytes < slot_bytes)
        at++;
    if (at < store->classes && store->size_class[at].slot_bytes == slot_bytes)
        return true;
    if (store->classes == STORE_CLASSES_MAX)
        return false;
    memmove(&store->size_class[at + 1], &store->size_class[at],
            (store->classes - at) * sizeof store->size_class[0]);
    store->size_class[at] = (struct store_class){.slot_bytes = slot_bytes};
    store->classes++;
    return true;
}

enum status store_seal(struct store *store, struct error *error)
{
    CHECK(!store->sealed);
    store->classes = 0;
    for (uint32_t i = 0; i < store->pages; i++)
        if (!add_class(store, bytes_align_up(store->page[i].slot_bytes, STORE_SLOT_ALIGN)))
            return error_set(error, STATUS_INVALID,
                             "'%s': page %u of %" PRIu64 " bytes is one page size too many; %d "
                             "different sizes are possible",
                             store->file[store->page[i].part[0].file].path, i,
                             store->page[i].slot_bytes, STORE_CLASSES_MAX);
    for (uint32_t i = 0; i < store->pages; i++) {
        struct page *page = &store->page[i];
        while (store->size_class[page->size_class].slot_bytes < page->slot_bytes)
            page->size_class++;
        struct store_class *size_class = &store->size_class[page->size_class];
        size_class->pages++;
        store->total_slot_bytes += size_class->slot_bytes;
    }
    store->sealed = true;
    return STATUS_OK;
}

void store_set_landing(struct store *store, struct page_landing landing)
{
    store->landing = landing;
}

const struct page_landing *store_landing(const struct store *store)
{
    return store->landing.part ? &store->landing : NULL;
}

uint32_t store_pages(const struct store *store)
{
    return store->pages;
}

const struct page *store_page(const struct store *store, page_id page)
{
    CHECK(page < store->pages);
    return &store->page[page];
}

uint32_t store_classes(const struct store *store)
{
    CHECK(store->sealed);
    return store->classes;
}

uint64_t store_class_slot_bytes(const struct store *store, uint32_t size_class)
{
    CHECK(size_class < store->classes);
    return store->size_class[size_class].slot_bytes;
}

uint32_t store_class_pages(const struct store *store, uint32_t size_class)
{
    CHECK(size_class < store->classes);
    return store->size_class[size_class].pages;
}

uint64_t store_total_slot_bytes(const struct store *store)
{
    CHECK(store->sealed);
    return store->total_slot_bytes;
}

uint32_t store_files(const struct store *store)
{
    return store->files;
}

int store_fd(const struct store *store, uint32_t file)
{
    CHECK(file < store->files);
    return store->file[file].fd;
}

const char *store_path(const struct store *store, uint32_t file)
{
    CHECK(file < store->files);
    return store->file[file].path;
}
