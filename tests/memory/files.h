/* The files of a store, opened for an io for as long as this lives. */
#ifndef MOERING_TESTS_MEMORY_FILES_H
#define MOERING_TESTS_MEMORY_FILES_H

#include <stdexcept>

#include "memory/io_files.h"

class Files {
public:
    explicit Files(const struct store *store, bool direct = false)
    {
        struct error error = {};
        if (io_files_open(&files_, store, direct, &error))
            throw std::runtime_error(error.text);
    }
    ~Files() { io_files_close(&files_); }
    Files(const Files &) = delete;
    Files &operator=(const Files &) = delete;
    const struct io_files *get() const { return &files_; }
    /* Whoever wants to see direct reads without such a file system: as if it had that alignment. */
    void pretend(uint32_t align)
    {
        for (uint32_t i = 0; i < files_.count; i++)
            files_.at[i].align = align;
        files_.direct = files_.count;
    }

private:
    struct io_files files_ = {};
};

#endif
