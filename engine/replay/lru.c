#include "engine/replay/lru.h"

#include <stdlib.h>

#include "memory/base/check.h"

/* A circle of resident pages: from the head on, the most recently used first. */
struct circle {
    uint32_t *newer, *older; /* [pages + 1]; newer[page] == page: not in it. The last is the head */
    uint32_t head;
};

static void take_out(struct circle *c, uint32_t page)
{
    c->newer[c->older[page]] = c->newer[page];
    c->older[c->newer[page]] = c->older[page];
    c->newer[page] = page;
}

static void put_first(struct circle *c, uint32_t page)
{
    uint32_t second = c->older[c->head];
    c->older[page] = second;
    c->newer[page] = c->head;
    c->newer[second] = page;
    c->older[c->head] = page;
}

enum status lru_hits(const page_id *requested, uint32_t count, uint32_t pages, uint32_t slots,
                     uint64_t *hits, struct error *error)
{
    CHECK(slots >= 1 && pages < UINT32_MAX);
    struct circle c = {.newer = malloc(sizeof(uint32_t) * ((size_t)pages + 1)),
                       .older = malloc(sizeof(uint32_t) * ((size_t)pages + 1)), .head = pages};
    uint32_t held = 0;
    enum status status = c.newer && c.older ? STATUS_OK : STATUS_NO_MEMORY;
    *hits = 0;
    for (uint32_t page = 0; status == STATUS_OK && page <= pages; page++)
        c.newer[page] = c.older[page] = page;
    for (uint32_t i = 0; status == STATUS_OK && i < count; i++) {
        uint32_t page = requested[i];
        if (c.newer[page] != page) {
            (*hits)++;
            take_out(&c, page);
        } else if (held == slots) {
            take_out(&c, c.newer[c.head]);
        } else {
            held++;
        }
        put_first(&c, page);
    }
    free(c.newer);
    free(c.older);
    return status == STATUS_OK ? status : error_set(error, status, "no memory to replay LRU");
}
