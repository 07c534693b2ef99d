#include "engine/paging/mover.h"

#include <string.h>

#include "memory/base/check.h"

void mover_init(struct mover *m, const struct mover_config *c)
{
    *m = (struct mover){.memory = c->memory, .policy = c->policy, .stream = c->stream,
                        .map = c->map, .layers = c->layers, .experts = c->experts,
                        .fence = c->fence, .evictions = c->evictions,
                        .loading_layer = STREAM_NONE};
}

void mover_resized(struct mover *m)
{
    m->loading_layer = STREAM_NONE;
    memset(m->full, 0, sizeof m->full);
}

static uint32_t class_of(const struct mover *m, page_id page)
{
    return store_page(memory_store(m->memory), page)->size_class;
}

void mover_resident(struct mover *m, enum memory_tier tier, page_id page, bool resident)
{
    policy_resident(m->policy, tier, page, resident);
    if (m->map)
        expert_map_resident(m->map, tier, page, resident);
}

/* ---- room ---- */

static bool allowed(void *arg, enum memory_tier tier, page_id page)
{
    const struct mover *m = arg;
    return memory_evictable(m->memory, tier, page);
}

/* The same, and not of a layer that was loaded whole and has not been computed yet. */
static bool allowed_beside_stream(void *arg, enum memory_tier tier, page_id page)
{
    const struct mover *m = arg;
    return memory_evictable(m->memory, tier, page) &&
           !(tier == MEMORY_DEVICE && stream_holds(m->stream, page / m->experts));
}

static evict_allowed_fn *rule(const struct mover *m)
{
    return m->stream ? allowed_beside_stream : allowed;
}

static void drop(struct mover *m, enum memory_tier tier, page_id page)
{
    if (tier == MEMORY_DEVICE)
        memory_evict_after(m->memory, page, m->fence[page / m->experts]);
    else
        memory_evict(m->memory, tier, page);
    mover_resident(m, tier, page, false);
    if (m->evictions)
        m->evictions[page / m->experts * MEMORY_TIERS + tier]++;
}

/* The policy knows what it was told. A page can be there without having been told of: in the host
 * tier because its journey to the device failed on the way, in either because it came before the
 * pager was opened. The hand finds it. */
static page_id untold(struct mover *m, enum memory_tier tier, uint32_t size_class)
{
    page_id page = memory_sweep(m->memory, tier, size_class);
    if (page != PAGE_NONE)
        mover_resident(m, tier, page, true);
    return page;
}

static page_id victim_for_demand(struct mover *m, enum memory_tier tier, uint32_t size_class)
{
    page_id victim = policy_victim(m->policy, tier, size_class, rule(m), m);
    if (victim == PAGE_NONE && m->stream) /* rather a page to come than none at all */
        victim = policy_victim(m->policy, tier, size_class, allowed, m);
    return victim != PAGE_NONE ? victim : untold(m, tier, size_class);
}

bool mover_demand(struct mover *m, page_id page, bool spare_live)
{
    uint32_t size_class = class_of(m, page);
    bool full = false;
    for (;;) {
        enum memory_tier lacking;
        enum status status =
            memory_fetch(m->memory, MEMORY_DEVICE, page, URGENCY_DEMAND, NULL, &lacking);
        full |= status == STATUS_FULL && lacking == MEMORY_DEVICE;
        m->full[size_class] = full;
        if (status == STATUS_OK)
            return true;
        CHECK(status == STATUS_FULL && lacking != MEMORY_TIERS);
        page_id victim = victim_for_demand(m, lacking, size_class);
        if (victim == PAGE_NONE)
            return false;
        if (spare_live && lacking == MEMORY_DEVICE && policy_live(m->policy, victim))
            return false;
        drop(m, lacking, victim);
    }
}

void mover_fence(struct mover *m, uint32_t layer, uint64_t fence)
{
    if (fence > m->fence[layer])
        m->fence[layer] = fence;
}

page_id mover_leaving(struct mover *m, uint32_t size_class)
{
    return m->full[size_class] ? policy_victim(m->policy, MEMORY_DEVICE, size_class, rule(m), m)
                               : PAGE_NONE;
}

/* ---- guesses ---- */

static void forget_guess(struct mover *m, page_id page)
{
    for (uint32_t i = 0; i < m->guesses; i++)
        if (m->guess[i].page == page) {
            m->guess[i] = m->guess[--m->guesses];
            return;
        }
}

void mover_drop_late(struct mover *m)
{
    for (uint32_t i = m->guesses; i-- > 0;) {
        struct mover_guess guess = m->guess[i];
        if (policy_prefetch_late(m->policy, guess.page) &&
            memory_cancel(m->memory, guess.transfer) == STATUS_OK) {
            policy_prefetch_dropped(m->policy, guess.page);
            forget_guess(m, guess.page);
        }
    }
}

/* Is the page in the host tier, or can a page there leave for it, or is there no such tier? A free
 * slot is not asked for: then nothing has left that tier yet, and that is soon over. */
static bool host_has_room(struct mover *m, const struct prefetch_pick *pick, uint32_t size_class)
{
    return !memory_has_host(m->memory) ||
           memory_where(m->memory, MEMORY_HOST, pick->page) != SLOT_FREE ||
           policy_prefetch_victim(m->policy, pick, MEMORY_HOST, size_class, allowed, m) !=
               PAGE_NONE;
}

/* Room in every tier on the way, by displacing only what is worth less. */
static bool start_guess(struct mover *m, const struct prefetch_pick *pick)
{
    uint32_t size_class = class_of(m, pick->page);
    struct transfer transfer;
    page_id displaced = PAGE_NONE;
    for (;;) {
        enum memory_tier lacking;
        if (memory_fetch(m->memory, MEMORY_DEVICE, pick->page, URGENCY_PREFETCH, &transfer,
                         &lacking) == STATUS_OK)
            break;
        if (lacking == MEMORY_TIERS)
            return false;
        page_id victim = policy_prefetch_victim(m->policy, pick, lacking, size_class, rule(m), m);
        if (victim == PAGE_NONE ||
            (lacking == MEMORY_DEVICE && !host_has_room(m, pick, size_class)))
            return false; /* a page is not given up for a guess that cannot be had */
        drop(m, lacking, victim);
        if (lacking == MEMORY_DEVICE)
            displaced = victim;
    }
    policy_prefetch_issued(m->policy, pick, displaced);
    m->guess[m->guesses++] = (struct mover_guess){pick->page, transfer};
    return true;
}

void mover_guess(struct mover *m)
{
    struct prefetch_pick pick;
    while (m->guesses < MOVER_GUESSES_MAX && policy_prefetch_next(m->policy, &pick))
        if (memory_where(m->memory, MEMORY_DEVICE, pick.page) == SLOT_FREE)
            start_guess(m, &pick);
}

/* ---- whole layers ---- */

/* One page of a layer that is loaded whole. False: no room now. */
static bool start_load(struct mover *m, page_id page)
{
    uint32_t size_class = class_of(m, page);
    if (memory_where(m->memory, MEMORY_DEVICE, page) != SLOT_FREE)
        return true;
    for (;;) {
        enum memory_tier lacking;
        if (memory_fetch(m->memory, MEMORY_DEVICE, page, URGENCY_PREFETCH, NULL, &lacking) ==
            STATUS_OK)
            return true;
        if (lacking == MEMORY_TIERS)
            return false;
        page_id victim = policy_victim(m->policy, lacking, size_class, allowed_beside_stream, m);
        if (victim == PAGE_NONE)
            return false;
        drop(m, lacking, victim);
    }
}

void mover_stream(struct mover *m)
{
    if (!m->stream)
        return;
    for (;;) {
        if (m->loading_layer == STREAM_NONE) {
            m->loading_layer = stream_next_load(m->stream);
            m->loading_expert = 0;
        }
        if (m->loading_layer == STREAM_NONE)
            return;
        if (!stream_holds(m->stream, m->loading_layer)) { /* its turn is over */
            m->loading_layer = STREAM_NONE;
            continue;
        }
        for (; m->loading_expert < m->experts; m->loading_expert++)
            if (!start_load(m, m->loading_layer * m->experts + m->loading_expert))
                return; /* goes on when something has moved */
        m->loading_layer = STREAM_NONE;
    }
}

/* ---- ends ---- */

void mover_event(struct mover *m, const struct memory_event *event)
{
    bool came = event->status == STATUS_OK;
    if (event->tier == MEMORY_DEVICE) {
        forget_guess(m, event->page);
        if (!came)
            policy_prefetch_dropped(m->policy, event->page);
        m->arrived += came;
    }
    bool there = memory_where(m->memory, event->tier, event->page) == SLOT_READY;
    mover_resident(m, event->tier, event->page, there);
    /* The host stage of a journey to the device has no event of its own. */
    if (event->tier == MEMORY_DEVICE && memory_has_host(m->memory) &&
        memory_where(m->memory, MEMORY_HOST, event->page) == SLOT_READY)
        mover_resident(m, MEMORY_HOST, event->page, true);
}
