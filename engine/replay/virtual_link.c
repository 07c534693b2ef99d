#include "engine/replay/virtual_link.h"

#include "memory/base/check.h"

void virtual_link_init(struct virtual_link *link, double page_ns)
{
    CHECK(page_ns > 0);
    *link = (struct virtual_link){.page_ns = page_ns};
}

void virtual_link_queue(struct virtual_link *link, page_id page)
{
    CHECK(link->queued < VIRTUAL_LINK_QUEUE);
    link->page[link->queued] = page;
    link->rest_ns[link->queued++] = link->page_ns;
}

uint32_t virtual_link_find(const struct virtual_link *link, page_id page)
{
    for (uint32_t i = 0; i < link->queued; i++)
        if (link->page[i] == page)
            return i;
    return VIRTUAL_LINK_QUEUE;
}

double virtual_link_take(struct virtual_link *link, uint32_t at)
{
    CHECK(at < link->queued);
    double rest_ns = link->rest_ns[at];
    for (link->queued--; at < link->queued; at++) {
        link->page[at] = link->page[at + 1];
        link->rest_ns[at] = link->rest_ns[at + 1];
    }
    return rest_ns;
}

page_id virtual_link_idle(struct virtual_link *link, double *idle_ns)
{
    if (!link->queued)
        return PAGE_NONE;
    double spent_ns = link->rest_ns[0] < *idle_ns ? link->rest_ns[0] : *idle_ns;
    page_id page = link->page[0];
    link->busy_ns += spent_ns;
    *idle_ns -= spent_ns;
    link->rest_ns[0] -= spent_ns;
    if (link->rest_ns[0] > 0)
        return PAGE_NONE;
    virtual_link_take(link, 0);
    return page;
}
