/* Three rooms change: host tier, device tier, KV pool. First everything is decided (sizes, budget,
 * whether the KV blocks in use fit), then what shrinks is changed, then what grows, so that what
 * one gives another can take. A step that fails takes those before it back, in reverse: rooms that
 * had grown shrink first, so the way back needs no more memory than was held at the beginning.
 * Pages that were thrown out meanwhile stay away until they are asked for; nothing else can be seen
 * of it. */
#include "engine/resize.h"

#include <string.h>

#include "engine/parts_plan.h"
#include "memory/base/bytes.h"
#include "memory/base/check.h"
#include "memory/base/log.h"
#include "memory/budget.h"

static const char *const flags[ENGINE_ROOMS] = {"--host-experts", "--device-experts",
                                                "--kv-cache-bytes"};
static const char *const terms[ENGINE_ROOMS] = {"host experts", "expert ring", "KV cache"};

/* Sizes of all rooms, as they were or as they are to be. */
struct rooms {
    struct tier_slots slots[MEMORY_TIERS];
    uint32_t kv_blocks;
    uint64_t bytes[ENGINE_ROOMS];
};

static const struct store *store_of(const struct resize *r)
{
    return memory_store(r->memory);
}

static uint64_t block_bytes(const struct resize *r)
{
    return kv_cache_bytes(r->kv) / kv_cache_blocks(r->kv);
}

static struct rooms present_rooms(const struct memory *memory, const struct kv_cache *kv)
{
    struct rooms rooms = {.kv_blocks = kv_cache_blocks(kv)};
    const struct store *store = memory_store(memory);
    for (int tier = 0; tier < MEMORY_TIERS; tier++) {
        for (uint32_t c = 0; c < store_classes(store); c++)
            rooms.slots[tier].of_class[c] = memory_slots(memory, (enum memory_tier)tier, c);
        rooms.bytes[tier] = budget_slots_bytes(store, &rooms.slots[tier]);
    }
    rooms.bytes[ENGINE_ROOM_KV] = kv_cache_bytes(kv);
    return rooms;
}

static struct engine_sizes sizes_of(const struct store *store, const struct rooms *rooms)
{
    struct engine_sizes sizes = {.kv_blocks = rooms->kv_blocks,
                                 .kv_bytes = rooms->bytes[ENGINE_ROOM_KV]};
    for (int tier = 0; tier < MEMORY_TIERS; tier++) {
        sizes.slots[tier] = budget_slots_count(store, &rooms->slots[tier]);
        sizes.slot_bytes[tier] = rooms->bytes[tier];
    }
    return sizes;
}

struct engine_sizes resize_sizes(const struct memory *memory, const struct kv_cache *kv)
{
    struct rooms rooms = present_rooms(memory, kv);
    return sizes_of(memory_store(memory), &rooms);
}

/* ---- what is to be ---- */

/* All that this room's memory could hold: what is free there and what our rooms in it hold. 0: not
 * known. */
static uint64_t total_for(const struct resize *r, enum engine_room room, const struct rooms *held)
{
    uint64_t device = held->bytes[ENGINE_ROOM_DEVICE] + held->bytes[ENGINE_ROOM_KV];
    uint64_t host = held->bytes[ENGINE_ROOM_HOST];
    if (r->one_memory)
        return r->host_available ? r->host_available + device + host : 0;
    if (room == ENGINE_ROOM_HOST)
        return r->host_available ? r->host_available + host : 0;
    return r->device_available ? r->device_available + device : 0;
}

static uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static enum status plan_kv(const struct resize *r, const struct engine_budget *asked,
                           const struct rooms *held, struct rooms *out, struct error *error)
{
    uint64_t block = block_bytes(r), one = kv_cache_blocks_for(r->max_model_len);
    uint64_t blocks = one * r->max_num_seqs, total = total_for(r, ENGINE_ROOM_KV, held);
    uint64_t share = less(total, held->bytes[ENGINE_ROOM_DEVICE]) / PLAN_SHARE_KV / block;
    if (asked->kv_bytes)
        blocks = asked->kv_bytes / block;
    else if (total && blocks > share)
        blocks = share > one ? share : one;
    if (blocks < one)
        return error_set(error, STATUS_INVALID,
                         "%s %llu: one sequence of --max-model-len %u needs %llu bytes",
                         flags[ENGINE_ROOM_KV], (unsigned long long)asked->kv_bytes,
                         r->max_model_len, (unsigned long long)(one * block));
    if (blocks > UINT32_MAX)
        return error_set(error, STATUS_NO_MEMORY,
                         "%s %llu: more than the %u blocks that can be counted",
                         flags[ENGINE_ROOM_KV], (unsigned long long)asked->kv_bytes, UINT32_MAX);
    out->kv_blocks = (uint32_t)blocks;
    out->bytes[ENGINE_ROOM_KV] = blocks * block;
    return STATUS_OK;
}

/* What auto means: all that is left in its memory beside the other rooms, less some for the
 * machine. */
static uint64_t auto_bytes(const struct resize *r, enum engine_room room, const struct rooms *held,
                           const struct rooms *planned)
{
    uint64_t total = total_for(r, room, held), others = 0;
    if (!total)
        return store_total_slot_bytes(store_of(r));
    for (int i = 0; i < ENGINE_ROOMS; i++) {
        bool shared = r->one_memory || (room == ENGINE_ROOM_HOST) == (i == ENGINE_ROOM_HOST);
        others += shared && i != (int)room ? planned->bytes[i] : 0;
    }
    uint64_t left = less(total, others);
    bool of_device = !r->one_memory && room != ENGINE_ROOM_HOST;
    return left - left / (of_device ? PLAN_SHARE_DEVICE : PLAN_SHARE_HOST);
}

static enum status plan_tier(const struct resize *r, enum engine_room room,
                             const struct room *asked, const struct rooms *held, struct rooms *out,
                             struct error *error)
{
    const struct store *store = store_of(r);
    if (held->bytes[room] == 0)
        return error_set(error, STATUS_INVALID,
                         "%s: the tier was not there at start and cannot be added later",
                         flags[room]);
    if (room == ENGINE_ROOM_HOST && r->one_memory && asked->kind == ROOM_AUTO)
        return error_set(
            error, STATUS_INVALID,
            "%s auto: means none on this machine, and the tier cannot be removed; name a "
            "size",
            flags[room]);
    enum status status = budget_slots(store, asked, auto_bytes(r, room, held, out), 1, flags[room],
                                      &out->slots[room], error);
    if (status == STATUS_OK)
        out->bytes[room] = budget_slots_bytes(store, &out->slots[room]);
    return status;
}

/* A memory in which we would hold more than now must have it. Less is never refused. */
static enum status check_memory(const struct resize *r, enum engine_room first,
                                const struct rooms *held, const struct rooms *planned,
                                struct error *error)
{
    struct budget budget = {.available = total_for(r, first, held)};
    uint64_t before = 0;
    for (int i = 0; i < ENGINE_ROOMS; i++)
        if (r->one_memory || (first == ENGINE_ROOM_HOST) == (i == ENGINE_ROOM_HOST)) {
            budget_add(&budget, terms[i], flags[i], planned->bytes[i]);
            before += held->bytes[i];
        }
    return budget_total(&budget) > before ? budget_check(&budget, error) : STATUS_OK;
}

static enum status plan_rooms(const struct resize *r, const struct engine_budget *asked,
                              const struct rooms *held, struct rooms *out, struct error *error)
{
    enum status status = STATUS_OK;
    *out = *held;
    if (asked->set[ENGINE_ROOM_KV])
        status = plan_kv(r, asked, held, out, error);
    if (status == STATUS_OK && asked->set[ENGINE_ROOM_HOST])
        status = plan_tier(r, ENGINE_ROOM_HOST, &asked->host_experts, held, out, error);
    if (status == STATUS_OK && asked->set[ENGINE_ROOM_DEVICE])
        status = plan_tier(r, ENGINE_ROOM_DEVICE, &asked->device_experts, held, out, error);
    if (status == STATUS_OK)
        status = check_memory(r, ENGINE_ROOM_DEVICE, held, out, error);
    if (status == STATUS_OK && !r->one_memory)
        status = check_memory(r, ENGINE_ROOM_HOST, held, out, error);
    return status;
}

/* ---- putting it in force ---- */

static enum status change_tier(const struct resize *r, enum engine_room room,
                               const struct rooms *to, struct error *error)
{
    uint64_t fence = r->backend->ops->fence(r->backend);
    enum status status = memory_resize(r->memory, (enum memory_tier)room, &to->slots[room], fence,
                                       error);
    if (status != STATUS_OK) {
        error_prefix(error, "%s", flags[room]);
        return status;
    }
    struct error why = {0};
    if (pager_resized(r->pager, &why) != STATUS_OK)
        log_warn("%s: %s", flags[room], why.text); /* it goes on, only less cleverly */
    return STATUS_OK;
}

static enum status change(const struct resize *r, enum engine_room room, const struct rooms *to,
                          struct error *error)
{
    return room == ENGINE_ROOM_KV ? kv_cache_resize(r->kv, to->kv_blocks, error)
                                  : change_tier(r, room, to, error);
}

static bool shrinks(const struct rooms *from, const struct rooms *to, int room)
{
    return to->bytes[room] < from->bytes[room];
}

/* The same bytes may be shared otherwise among the size classes. */
static bool differs(const struct rooms *from, const struct rooms *to, int room)
{
    return room == ENGINE_ROOM_KV ? from->kv_blocks != to->kv_blocks
                                  : memcmp(&from->slots[room], &to->slots[room],
                                           sizeof from->slots[room]) != 0;
}

/* Rooms that differ, those that shrink first. */
static uint32_t order(const struct rooms *from, const struct rooms *to,
                      enum engine_room list[ENGINE_ROOMS])
{
    uint32_t count = 0;
    for (int i = 0; i < ENGINE_ROOMS; i++)
        if (shrinks(from, to, i))
            list[count++] = (enum engine_room)i;
    for (int i = 0; i < ENGINE_ROOMS; i++)
        if (!shrinks(from, to, i) && differs(from, to, i))
            list[count++] = (enum engine_room)i;
    return count;
}

static enum status change_all(const struct resize *r, const struct rooms *from,
                              const struct rooms *to, struct error *error)
{
    enum engine_room list[ENGINE_ROOMS];
    uint32_t count = order(from, to, list), done = 0;
    enum status status = STATUS_OK;
    while (done < count && (status = change(r, list[done], to, error)) == STATUS_OK)
        done++;
    while (status != STATUS_OK && done-- > 0) {
        struct error why = {0};
        if (change(r, list[done], from, &why) != STATUS_OK)
            log_error("the old size could not be restored: %s", why.text);
    }
    return status;
}

enum status resize_apply(const struct resize *r, const struct engine_budget *asked,
                         struct engine_budget_result *got, struct error *error)
{
    const struct store *store = store_of(r);
    struct rooms held = present_rooms(r->memory, r->kv), planned;
    *got = (struct engine_budget_result){.before = sizes_of(store, &held)};
    got->after = got->before;
    enum status status = plan_rooms(r, asked, &held, &planned, error);
    if (status != STATUS_OK)
        return status;
    uint32_t used = held.kv_blocks - kv_cache_free_blocks(r->kv);
    if (used > planned.kv_blocks) {
        got->after = sizes_of(store, &planned);
        got->kv_blocks_over = used - planned.kv_blocks;
        return error_set(error, STATUS_FULL,
                         "%s: %u KV blocks are in use, %u more than the pool is to have",
                         flags[ENGINE_ROOM_KV], used, got->kv_blocks_over);
    }
    status = change_all(r, &held, &planned, error);
    got->after = resize_sizes(r->memory, r->kv);
    return status;
}
