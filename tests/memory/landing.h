/* A landing that turns the order of a part's bytes round and adds the page's and the part's number
 * to each, into twice the room: whatever is landed twice, not at all, or as another part's
 * shows. */
#ifndef MOERING_TESTS_MEMORY_LANDING_H
#define MOERING_TESTS_MEMORY_LANDING_H

#include <atomic>
#include <cstdint>

#include "memory/store.h"

class Landing {
public:
    /* Before the store's pages are read. */
    void attach(struct store *store)
    {
        store_ = store;
        store_set_landing(store, {this, [](void *self, page_id page, uint32_t part, uint8_t *to,
                                           const uint8_t *from) {
                                      static_cast<Landing *>(self)->land(page, part, to, from);
                                  }});
    }
    /* Does the slot hold what has landed of these bytes of the file? */
    static bool holds(const struct page *page, page_id number, const uint8_t *slot,
                      const uint8_t *file)
    {
        for (uint32_t i = 0; i < page->parts; i++)
            for (uint64_t at = 0; at < page->part[i].slot_bytes; at++)
                if (slot[page->part[i].slot_offset + at] !=
                    byte(page->part[i], number, i, file + page->part[i].offset, at))
                    return false;
        return true;
    }
    std::atomic<uint64_t> parts{0}; /* landed so far */

private:
    static uint8_t byte(const struct page_part &part, page_id page, uint32_t number,
                        const uint8_t *from, uint64_t at)
    {
        return (uint8_t)(from[part.bytes - 1 - at % part.bytes] + page + number);
    }
    void land(page_id page, uint32_t part, uint8_t *to, const uint8_t *from)
    {
        const struct page_part &p = store_page(store_, page)->part[part];
        for (uint64_t at = 0; at < p.slot_bytes; at++)
            to[at] = byte(p, page, part, from, at);
        parts++;
    }
    const struct store *store_ = nullptr;
};

#endif
