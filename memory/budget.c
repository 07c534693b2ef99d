/* Arithmetic of rooms and terms, and one look at what the host has left.
 *
 * Sharing a room among size classes: a class's fair share is (its pages / all pages) of the slots
 * asked for, or the same fraction of the bytes, which is the same ratio of slots to pages in each
 * class. Slots are whole, so they are given one by one to the class that is furthest below its
 * share; that is the method of largest remainders, and it extends to minimum and maximum counts
 * without cases of its own. */
#include "memory/budget.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "memory/base/bytes.h"
#include "memory/base/check.h"
#include "memory/host_room.h"

/* --- Rooms ---------------------------------------------------------------------------------- */

/* "12" or "12.5", digits only: no sign, exponent, hex, infinity or locale. The end, or NULL. */
static const char *parse_number(const char *text, double *out)
{
    double value = 0, scale = 1;
    const char *p = text;
    for (; *p >= '0' && *p <= '9'; p++)
        value = value * 10 + (*p - '0');
    if (p == text)
        return NULL;
    if (*p == '.') {
        const char *fraction = ++p;
        for (; *p >= '0' && *p <= '9'; p++)
            value += (*p - '0') * (scale /= 10);
        if (p == fraction)
            return NULL;
    }
    *out = value;
    return p;
}

/* 0: not a unit. */
static double unit_bytes(const char *name)
{
    static const struct {
        const char *name;
        double bytes;
    } units[] = {
        {"B", 1},     {"kB", 1e3},        {"MB", 1e6},        {"GB", 1e9},
        {"TB", 1e12}, {"KiB", 1024.0},    {"MiB", 1048576.0}, {"GiB", 1073741824.0},
        {"TiB", 1099511627776.0},
    };
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (strcasecmp(units[i].name, name) == 0)
            return units[i].bytes;
    return 0;
}

enum status room_parse(const char *flag, const char *text, struct room *out, struct error *error)
{
    double value;
    const char *rest;
    struct room room = {.kind = ROOM_AUTO};
    if (strcmp(text, "auto") == 0) {
        *out = room;
        return STATUS_OK;
    }
    if (!(rest = parse_number(text, &value)))
        goto fail;
    bool whole = strchr(text, '.') == NULL;
    if (*rest == ' ')
        rest++;
    if (strcmp(rest, "%") == 0) {
        if (value > 100)
            return error_set(error, STATUS_INVALID, "%s: '%s' is above 100%%, all expert pages",
                             flag, text);
        room.kind = ROOM_PERCENT;
        room.percent = value;
    } else if (*rest == 0 && whole) {
        if (value > UINT32_MAX)
            return error_set(error, STATUS_INVALID,
                             "%s: '%s' expert pages are more than any model has; for bytes add a "
                             "unit, as in '%sB'",
                             flag, text, text);
        room.kind = ROOM_PAGES;
        room.pages = (uint64_t)value;
    } else if (unit_bytes(rest) > 0) {
        value *= unit_bytes(rest);
        if (value >= 0x1p63)
            return error_set(error, STATUS_INVALID, "%s: '%s' is more bytes than can be addressed",
                             flag, text);
        room.kind = ROOM_BYTES;
        room.bytes = (uint64_t)value;
    } else {
        goto fail;
    }
    *out = room;
    return STATUS_OK;
fail:
    return error_set(error, STATUS_INVALID,
                     "%s: '%s' is not a size; write bytes with a unit (4GiB, 1500MB), a number of "
                     "expert pages (512), a part of them (25%%) or auto",
                     flag, text);
}

/* --- Sharing -------------------------------------------------------------------------------- */

/* What is being shared: slots (each costs 1) or bytes (each costs its class's slot). */
struct shares {
    const struct store *store;
    bool in_bytes;
    uint64_t amount;
};

static uint64_t cost_of(const struct shares *shares, uint32_t size_class)
{
    return shares->in_bytes ? store_class_slot_bytes(shares->store, size_class) : 1;
}

/* The class that is furthest below its fair share and can take one more slot at a cost of at most
 * `left`; STORE_CLASSES_MAX: none. Equal classes go in order. */
static uint32_t neediest(const struct shares *shares, const struct tier_slots *given, uint64_t left)
{
    const struct store *store = shares->store;
    uint64_t all = shares->in_bytes ? store_total_slot_bytes(store) : store_pages(store);
    uint32_t best = STORE_CLASSES_MAX;
    double best_need = 0;
    for (uint32_t c = 0; c < store_classes(store); c++) {
        if (given->of_class[c] >= store_class_pages(store, c) || cost_of(shares, c) > left)
            continue;
        double fair = (double)shares->amount * store_class_pages(store, c) / (double)all;
        double need = fair - given->of_class[c];
        if (best == STORE_CLASSES_MAX || need > best_need) {
            best = c;
            best_need = need;
        }
    }
    return best;
}

static struct shares shares_of(const struct store *store, const struct room *room,
                               uint64_t auto_bytes)
{
    struct shares shares = {.store = store, .in_bytes = true};
    switch (room->kind) {
    case ROOM_AUTO:
        shares.amount = auto_bytes;
        break;
    case ROOM_BYTES:
        shares.amount = room->bytes;
        break;
    case ROOM_PAGES:
        shares.in_bytes = false;
        shares.amount = room->pages;
        break;
    case ROOM_PERCENT:
        shares.in_bytes = false;
        shares.amount = (uint64_t)llround(room->percent / 100 * store_pages(store));
        break;
    }
    uint64_t all = shares.in_bytes ? store_total_slot_bytes(store) : store_pages(store);
    if (shares.amount > all)
        shares.amount = all;
    return shares;
}

enum status budget_slots(const struct store *store, const struct room *room, uint64_t auto_bytes,
                         uint32_t least, const char *flag, struct tier_slots *out,
                         struct error *error)
{
    struct shares shares = shares_of(store, room, auto_bytes);
    struct tier_slots given = {{0}};
    uint64_t taken = 0;
    for (uint32_t c = 0; c < store_classes(store); c++) {
        uint32_t pages = store_class_pages(store, c);
        given.of_class[c] = least < pages ? least : pages;
        taken += given.of_class[c] * cost_of(&shares, c);
    }
    if (taken > shares.amount) {
        uint64_t bytes = budget_slots_bytes(store, &given);
        char text[32];
        return error_set(error, STATUS_INVALID,
                         "%s: %" PRIu64 " %s are too few; this model takes at least %u expert "
                         "pages (%u of each page size): %" PRIu64 "B (%s)",
                         flag, shares.amount, shares.in_bytes ? "bytes" : "pages",
                         budget_slots_count(store, &given), least, bytes,
                         bytes_format(bytes, text, sizeof text));
    }
    uint32_t c;
    while ((c = neediest(&shares, &given, shares.amount - taken)) != STORE_CLASSES_MAX) {
        given.of_class[c]++;
        taken += cost_of(&shares, c);
    }
    *out = given;
    return STATUS_OK;
}

uint64_t budget_slots_bytes(const struct store *store, const struct tier_slots *slots)
{
    uint64_t bytes = 0;
    for (uint32_t c = 0; c < store_classes(store); c++)
        bytes += slots->of_class[c] * store_class_slot_bytes(store, c);
    return bytes;
}

uint32_t budget_slots_count(const struct store *store, const struct tier_slots *slots)
{
    uint32_t count = 0;
    for (uint32_t c = 0; c < store_classes(store); c++)
        count += slots->of_class[c];
    return count;
}

/* --- Terms ---------------------------------------------------------------------------------- */

void budget_add(struct budget *budget, const char *name, const char *flag, uint64_t bytes)
{
    CHECK(budget->terms < BUDGET_TERMS_MAX);
    struct budget_term term = {.name = name, .flag = flag, .bytes = bytes};
    budget->term[budget->terms++] = term;
}

/* Terms may come from a model file's figures, so their sum saturates instead of wrapping. */
uint64_t budget_total(const struct budget *budget)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < budget->terms; i++)
        if (!bytes_add(total, budget->term[i].bytes, &total))
            return UINT64_MAX;
    return total;
}

void budget_print(const struct budget *budget, void (*line)(const char *text, void *arg),
                  void *arg)
{
    char text[160], bytes[32], available[32];
    for (uint32_t i = 0; i < budget->terms; i++) {
        const struct budget_term *term = &budget->term[i];
        snprintf(text, sizeof text, "%-28s %12s%s%s", term->name,
                 bytes_format(term->bytes, bytes, sizeof bytes), term->flag ? "  " : "",
                 term->flag ? term->flag : "");
        line(text, arg);
    }
    bytes_format(budget_total(budget), bytes, sizeof bytes);
    if (budget->available)
        snprintf(text, sizeof text, "%-28s %12s  of %s available", "total", bytes,
                 bytes_format(budget->available, available, sizeof available));
    else
        snprintf(text, sizeof text, "%-28s %12s", "total", bytes);
    line(text, arg);
    if (budget->available && budget->why)
        line(budget->why, arg);
}

enum status budget_check(const struct budget *budget, struct error *error)
{
    uint64_t total = budget_total(budget);
    if (budget->available == 0 || total <= budget->available)
        return STATUS_OK;
    const struct budget_term *largest = NULL;
    for (uint32_t i = 0; i < budget->terms; i++)
        if (budget->term[i].flag && (!largest || budget->term[i].bytes > largest->bytes))
            largest = &budget->term[i];
    char need[32], have[32], part[32];
    bytes_format(total, need, sizeof need);
    bytes_format(budget->available, have, sizeof have);
    if (!largest)
        return error_set(error, STATUS_NO_MEMORY,
                         "the model needs %" PRIu64 " bytes (%s), %" PRIu64 " (%s) are available",
                         total, need, budget->available, have);
    return error_set(error, STATUS_NO_MEMORY,
                     "%" PRIu64 " bytes (%s) are needed, %" PRIu64 " (%s) are available; lower %s: "
                     "the %s takes %" PRIu64 " bytes (%s)",
                     total, need, budget->available, have, largest->flag, largest->name,
                     largest->bytes, bytes_format(largest->bytes, part, sizeof part));
}

uint64_t budget_reserve(uint64_t room)
{
    uint64_t reserve = room / 32;
    if (reserve < 64 * BYTES_MIB)
        reserve = 64 * BYTES_MIB;
    if (reserve > BYTES_GIB)
        reserve = BYTES_GIB;
    return reserve < room / 2 ? reserve : room / 2;
}

void budget_host(struct budget_host_room *out)
{
    char text[32];
    struct host_room room;
    host_room_look("", &room);
    *out = (struct budget_host_room){.reserve = budget_reserve(room.bytes)};
    out->available = room.bytes - out->reserve;
    if (room.bytes)
        snprintf(out->why, sizeof out->why, "%s; %s kept free", room.why,
                 bytes_format(out->reserve, text, sizeof text));
}

uint64_t budget_host_available(void)
{
    struct budget_host_room room;
    budget_host(&room);
    return room.available;
}
