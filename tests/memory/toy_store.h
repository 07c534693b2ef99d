/* A store of toy pages over one scratch file of noise, and what every page must hold. */
#ifndef MOERING_TESTS_MEMORY_TOY_STORE_H
#define MOERING_TESTS_MEMORY_TOY_STORE_H

#include <gtest/gtest.h>

#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "memory/store.h"
#include "tests/memory/landing.h"
#include "tests/support/scratch.h"

struct ToyStore {
    scratch::Folder folder;
    std::vector<uint8_t> bytes; /* of the file */
    struct store *store = nullptr;
    Landing landing;

    /* pages_of_class[c] pages of about (c + 1) x 5000 bytes in three parts; the classes alternate
     * in the file and in the page numbers, the parts of a page do not follow each other in the
     * file. With `landed`, parts take twice their bytes in a slot and `landing` puts them there. */
    explicit ToyStore(const std::vector<uint32_t> &pages_of_class, uint64_t seed = 1,
                      bool landed = false)
    {
        std::vector<uint32_t> size_class;
        for (bool more = true; more;) {
            more = false;
            for (uint32_t c = 0; c < pages_of_class.size(); c++) {
                uint32_t have = 0;
                for (uint32_t other : size_class)
                    have += other == c;
                if (have < pages_of_class[c]) {
                    size_class.push_back(c);
                    more = true;
                }
            }
        }
        std::vector<std::vector<page_part>> pages(size_class.size());
        uint64_t offset = 13; /* nothing in a checkpoint is aligned */
        for (uint32_t part = 0; part < 3; part++)
            for (size_t page = 0; page < pages.size(); page++) {
                page_part added = {};
                added.offset = offset;
                added.bytes = (size_class[page] + 1) * (part == 1 ? 1001u : 2000u);
                added.slot_bytes = landed ? added.bytes * 2 : 0;
                offset += added.bytes + 7;
                pages[page].push_back(added);
            }
        bytes = scratch::noise(seed, offset);
        folder.write("weights", bytes);
        struct error error = {};
        uint32_t file;
        page_id page;
        must(store_open(&store, &error), error);
        must(store_add_file(store, folder.path("weights").c_str(), &file, &error), error);
        for (std::vector<page_part> &parts : pages) {
            for (page_part &part : parts)
                part.file = file;
            must(store_add_page(store, parts.data(), 3, &page, &error), error);
        }
        must(store_seal(store, &error), error);
        if (landed)
            landing.attach(store);
    }
    ~ToyStore() { store_close(store); }

    /* For whoever takes the store over. */
    struct store *release()
    {
        struct store *given = store;
        store = nullptr;
        return given;
    }

    /* Does a slot hold the page's bytes, every part in its place? */
    bool holds(const struct store *of, page_id page, const uint8_t *slot) const
    {
        const struct page *p = store_page(of, page);
        if (store_landing(of))
            return Landing::holds(p, page, slot, bytes.data());
        for (uint32_t i = 0; i < p->parts; i++)
            if (memcmp(slot + p->part[i].slot_offset, bytes.data() + p->part[i].offset,
                       p->part[i].bytes) != 0)
                return false;
        return true;
    }

    void truncate(uint64_t to) const { folder.truncate("weights", to); }
    void restore(uint64_t from) const
    {
        folder.append("weights", bytes.data() + from, bytes.size() - from);
    }

private:
    static void must(enum status status, const struct error &error)
    {
        if (status)
            throw std::runtime_error(error.text);
    }
};

#endif
