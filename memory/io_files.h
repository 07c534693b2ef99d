/* The descriptors that an io reads a store's files through: its own, so that how it reads
 * (directly, or through the page cache without readahead) is nobody else's business. */
#ifndef MOERING_MEMORY_IO_FILES_H
#define MOERING_MEMORY_IO_FILES_H

#include <stdbool.h>
#include <stdint.h>

#include "memory/store.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a direct read is rounded to at the least, on both ends and in memory: one page of the host,
 * and as much as any disk sector. */
#define IO_FILES_ALIGN 4096
/* Files that want more are read through the page cache: chunks of reads are multiples of this. */
#define IO_FILES_ALIGN_MAX (64 << 10)

struct io_file {
    int fd;         /* of its own, or lent by the store */
    bool own;
    uint32_t align; /* offsets, lengths and memory of its reads are multiples of this; 1: any, the
                     * reads go through the page cache */
};

struct io_files {
    const struct store *store; /* lent */
    struct io_file *at;        /* NULL: none is open; runs are as if each were read directly */
    uint32_t count;
    uint32_t direct;           /* how many of them are read directly */
    char why_not[256];         /* one sentence about the first that is not; empty: all are, or
                                * nobody asked for it */
};

/* Opens each file of the store once more: with O_DIRECT if `direct` and the file system takes it,
 * else for reads through the page cache. Direct reading is tried out with one read of a file, since
 * some file systems refuse only then. NO_MEMORY. */
enum status io_files_open(struct io_files *files, const struct store *store, bool direct,
                          struct error *error);
/* Accepts a zeroed one. */
void io_files_close(struct io_files *files);

#ifdef __cplusplus
}
#endif
#endif
